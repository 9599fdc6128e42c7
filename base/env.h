/* env.h: every environment variable that attnc reads, in one table, which `attnc doctor`,
 * --help and docs/ print.  Read when a context is created, never on the launch path. */
#ifndef ATTNC_BASE_ENV_H
#define ATTNC_BASE_ENV_H

/* id, name, default as a person would say it, what it does */
#define ENV_TABLE(X)                                                                       \
  X(LIBCUDA, "ATTNC_LIBCUDA", "libcuda.so.1", "driver library to load")                    \
  X(EMU, "ATTNC_EMU", "", "settings of the emulator: arch=sm_80,threads=2,…")              \
  X(CACHE, "ATTNC_CACHE", "rw", "disk cache: 0 (off), ro, rw")                             \
  X(CACHE_DIR, "ATTNC_CACHE_DIR", "$XDG_CACHE_HOME/attnc", "where the disk cache is")      \
  X(CACHE_READONLY, "ATTNC_CACHE_READONLY", "", "more caches to read, colon-separated")    \
  X(CACHE_MAX, "ATTNC_CACHE_MAX_SIZE", "2G", "bytes the disk cache may take")              \
  X(CACHE_ZSTD, "ATTNC_CACHE_ZSTD", "3",                                                   \
    "level at which entries are compressed, where libzstd.so.1 is; 0: not at all")         \
  X(TUNE_DIR, "ATTNC_TUNE_DIR", "$XDG_DATA_HOME/attnc/tune", "where tuning tables are")    \
  X(TUNE_READONLY, "ATTNC_TUNE_READONLY", "share/attnc/tune beside the library",           \
    "more tuning tables to read, colon-separated directories")                             \
  X(TUNE_TABLE, "ATTNC_TUNE_TABLE", "",                                                    \
    "the only tuning table to read, a file; it is never written")                          \
  X(TUNE_WORKER, "ATTNC_TUNE_WORKER", "attnc beside the library",                          \
    "program that tuning runs candidates in")                                              \
  X(CC, "ATTNC_CC", "0",                                                                   \
    "where kernels are compiled: 0 (in the process), 1 (in attnc-cc), or its path")        \
  X(CC_LIMITS, "ATTNC_CC_LIMITS", "seconds=120,memory=4G,compiles=500,workers=2",          \
    "limits of attnc-cc")                                                                  \
  X(CC_FAULT, "ATTNC_CC_FAULT", "",                                                        \
    "for tests: attnc-cc fails, as abort, exit, garbage, hang or memory, or as KIND:NAME") \
  X(LOAD_PTX, "ATTNC_LOAD_PTX", "", "run this PTX file instead of the generated one")      \
  X(LLVM, "ATTNC_LLVM", "", "path of libattnc_llvm.so")                                    \
  X(ASSEMBLER, "ATTNC_ASSEMBLER", "driver",                                                \
    "who makes the cubins that are cached: driver, nvjitlink, ptxas, or none; a list")     \
  X(PTXAS, "ATTNC_PTXAS", "", "ptxas to use, not one of PATH, CUDA_HOME, /usr/local/cuda") \
  X(DUMP, "ATTNC_DUMP", "", "stages to dump: spec,spans,sched,tile,ll,opt,ptx,all")        \
  X(DUMP_DIR, "ATTNC_DUMP_DIR", ".", "where dumps are written")                            \
  X(TRACE, "ATTNC_TRACE", "",                                                              \
    "file that compiles, loads and launches are appended to, for Chrome's trace viewer")   \
  X(LOG, "ATTNC_LOG", "", "info or debug: what the command line logs on stderr")

typedef enum EnvVar {
#define X(id, name, def, text) ENV_##id,
  ENV_TABLE(X)
#undef X
      ENV_COUNT
} EnvVar;

typedef struct EnvInfo {
  const char *name, *initial, *text;
} EnvInfo;

extern const EnvInfo env_table[ENV_COUNT];
/* NULL when unset or empty, and in a program that runs with more rights than its caller:
 * some of them choose code. */
const char *env_get(EnvVar);

#endif
