/* options.h: the commands and options of `attnc`, in one table that feeds parsing, --help,
 * --help --json, shell completion and docs/cli.md.
 *
 * An option is written --name VALUE, --name=VALUE or -x VALUE; `--` ends options, and they
 * may stand anywhere among the arguments.  An option that a command does not take is an
 * error with the nearest name that it does take; given twice, the last one counts.
 * Values stay pointers into argv; nothing here prints. */
#ifndef ATTNC_CLI_OPTIONS_H
#define ATTNC_CLI_OPTIONS_H

#include "base/str.h"

#include <attnc/attnc_rt.h>

#include <stdbool.h>
#include <stdint.h>

/* id, name, arguments, least and most of them (-1: any), words that the first argument is
 * one of, what it does, examples (one a line) */
#define COMMAND_TABLE(X)                                                                   \
  X(CHECK, "check", "SPEC…", 1, -1, NULL,                                                  \
    "parse and check specs; every error at once, and what no target can do",               \
    "attnc check specs/*.attn.yaml\n"                                                      \
    "attnc check mine.attn.yaml --arch sm_80,sm_90a")                                      \
  X(COMPILE, "compile", "SPEC… [FILE]", 1, -1, NULL,                                       \
    "compile specs into a directory that attnc_rt.h launches from",                        \
    "attnc compile specs/llama3_8b_prefill.attn.yaml --arch sm_80,sm_90 -o kernels\n"      \
    "attnc compile mine.attn.yaml --arch sm_80 -o out --emit ptx,json,ll\n"                \
    "attnc compile mine.attn.yaml --arch sm_80 -o out --from=ptx edited.ptx")              \
  X(RUN, "run", "SPEC…", 1, -1, NULL,                                                      \
    "run specs on a GPU or on the emulator, on random or given tensors",                   \
    "attnc run specs/llama3_8b_prefill.attn.yaml --verify\n"                               \
    "attnc run mine.attn.yaml --shape \"b2 h8/2 sq128 sk256\" --verify --stats\n"          \
    "attnc run mine.attn.yaml --input in.safetensors --output out.safetensors\n"           \
    "attnc run specs/*.attn.yaml --brief --verify")                                        \
  X(TUNE, "tune", "SPEC…", 1, -1, NULL,                                                    \
    "compile, verify and time every legal schedule; keep the best",                        \
    "attnc tune specs/llama3_8b_prefill.attn.yaml --shape \"b1 h32/8 s4096\"\n"            \
    "attnc tune mine.attn.yaml --shape \"b1 h8 s1024\" -j 4 --rank\n"                      \
    "attnc tune specs/*.attn.yaml --shapes specs/shapes.txt --csv all.csv")                \
  X(TUNE_LIST, "tune list", "[SPEC]", 0, 1, NULL,                                          \
    "the records of the tuning tables that count",                                         \
    "attnc tune list\n"                                                                    \
    "attnc tune list mine.attn.yaml --on \"NVIDIA H200\" --json")                          \
  X(TUNE_EXPORT, "tune export", "[SPEC]", 0, 1, NULL,                                      \
    "write them as a table of their own", "attnc tune export -o tuned.jsonl")              \
  X(TUNE_IMPORT, "tune import", "FILE…", 1, -1, NULL,                                      \
    "add the lines of tables to the user's own", "attnc tune import tuned.jsonl")          \
  X(TUNE_MERGE, "tune merge", "FILE…", 1, -1, NULL,                                        \
    "write one table of several, each record once",                                        \
    "attnc tune merge shard-*.jsonl -o tuned.jsonl")                                       \
  X(TUNE_FORGET, "tune forget", "[SPEC]", 0, 1, NULL,                                      \
    "have records count no more, those of the system's tables as well",                    \
    "attnc tune forget mine.attn.yaml\n"                                                   \
    "attnc tune forget --on \"NVIDIA H200\"\n"                                             \
    "attnc tune forget --all")                                                             \
  X(EXPLAIN, "explain", "SPEC|FILE.ptx", 1, 1, NULL,                                       \
    "mask, tile classes, schedule, shared memory, registers and cost of a spec",           \
    "attnc explain specs/mistral_7b_window.attn.yaml --shape \"b1 h32/8 s8192\"\n"         \
    "attnc explain mine.attn.yaml --arch sm_90 --all\n"                                    \
    "attnc explain mine.attn.yaml --dump=tile,ptx\n"                                       \
    "attnc explain anybodys.ptx --arch sm_90a")                                            \
  X(TILES, "tiles", "SPEC…", 1, -1, NULL,                                                  \
    "which tiles a mask hides, as loops decide and as it is, and why",                     \
    "attnc tiles specs/mistral_7b_window.attn.yaml --shape \"b1 h32/8 s8192\"\n"           \
    "attnc tiles mine.attn.yaml --tile 128x64 --head 3 --svg mask.svg")                    \
  X(KEY, "key", "SPEC", 1, 1, NULL, "print the key of a kernel's cache entry",             \
    "attnc key mine.attn.yaml --arch sm_80\n"                                              \
    "attnc key mine.attn.yaml --arch sm_80 --explain")                                     \
  X(DOCTOR, "doctor", "", 0, 0, NULL, "what attnc finds on this machine, and a self-test", \
    "attnc doctor\n"                                                                       \
    "attnc doctor --device emu --json")                                                    \
  X(CACHE, "cache", "stat|verify|gc|clear", 1, 1, "stat verify gc clear",                  \
    "look at the disk cache, check it, make it smaller, empty it",                         \
    "attnc cache stat\n"                                                                   \
    "attnc cache verify --json")                                                           \
  X(PACK, "pack", "create SPEC…|verify PACK|ls PACK|unpack PACK", 2, -1,                   \
    "create verify ls unpack",                                                             \
    "kernels in one file that attnc_rt.h launches from: make it, check it, look into it",  \
    "attnc pack create specs/llama3_8b_prefill.attn.yaml --arch sm_80,sm_90a -o "          \
    "llama.attncpack\n"                                                                    \
    "attnc pack create mine.attn.yaml --arch sm_90a --emit cubin -o mine.attncpack\n"      \
    "attnc pack verify mine.attncpack --public-key attnc.pub\n"                            \
    "attnc pack unpack mine.attncpack -o kernels")                                         \
  X(DEVICE, "device", "dump", 1, 1, "dump",                                                \
    "describe the device that is here, for packs that are made elsewhere",                 \
    "attnc device dump > h200.json")                                                       \
  X(TARGETS, "targets", "", 0, 0, NULL,                                                    \
    "the targets that kernels are compiled for, and the devices that they run on",         \
    "attnc targets\n"                                                                      \
    "attnc targets --json")                                                                \
  X(SCHEMA, "schema", "", 0, 0, NULL, "print the JSON Schema of specs",                    \
    "attnc schema > attention-spec-v1.schema.json")                                        \
  X(BENCH, "bench", "compile [SPEC]", 1, 2, "compile",                                     \
    "time attnc itself: the stages of a compile, and a hit of the disk cache",             \
    "attnc bench compile\n"                                                                \
    "attnc bench compile mine.attn.yaml --arch sm_80 --repeat 20 --json")                  \
  X(COMPLETION, "completion", "bash|zsh|fish", 1, 1, "bash zsh fish",                      \
    "print a shell's completion script",                                                   \
    "attnc completion bash > /etc/bash_completion.d/attnc")                                \
  X(HELP, "help", "[COMMAND]", 0, 2, NULL, "what --help prints",                           \
    "attnc help run\n"                                                                     \
    "attnc help --man > attnc.1")                                                          \
  X(VERSION, "version", "", 0, 0, NULL, "what --version prints", "attnc version --json")   \
  X(TUNE_WORKER, "tune-worker", "", 0, 0, NULL, NULL, NULL) /* hidden: no text */

typedef enum CommandId {
#define X(id, name, usage, least, most, words, text, examples) CMD_##id,
  COMMAND_TABLE(X)
#undef X
      CMD_COUNT
} CommandId;

typedef struct Command {
  const char *name, *usage;
  int least, most;
  const char *words; /* separated by spaces */
  const char *text, *examples;
} Command;
extern const Command command_table[CMD_COUNT];

#define CMD_BIT(id) (1u << CMD_##id)
#define CMD_ALL     (~0u)
#define CMD_SHAPED                                                                         \
  (CMD_BIT(COMPILE) | CMD_BIT(RUN) | CMD_BIT(TUNE) | CMD_BIT(EXPLAIN) | CMD_BIT(KEY) |     \
   CMD_BIT(TILES) | CMD_BIT(BENCH) | CMD_BIT(PACK))
#define CMD_RECORDS (CMD_BIT(TUNE_LIST) | CMD_BIT(TUNE_EXPORT) | CMD_BIT(TUNE_FORGET))
#define CMD_PINNED  (CMD_BIT(COMPILE) | CMD_BIT(RUN) | CMD_BIT(EXPLAIN) | CMD_BIT(KEY))
#define CMD_ON_DEVICE                                                                      \
  (CMD_BIT(RUN) | CMD_BIT(TUNE) | CMD_BIT(EXPLAIN) | CMD_BIT(KEY) | CMD_BIT(DOCTOR) |      \
   CMD_BIT(BENCH) | CMD_BIT(DEVICE))

/* id, name, letter (0: none), value (NULL: a flag), commands, what it does (NULL: hidden).
 * A name may stand in several rows for disjoint commands. */
#define OPTION_TABLE(X)                                                                    \
  X(ARCH_LIST, "arch", 0, "A,…", CMD_BIT(CHECK) | CMD_BIT(COMPILE) | CMD_BIT(PACK),        \
    "targets: sm_80, sm_90, sm_90a, sm_120, …, or all; check: all unless given")           \
  X(ARCH, "arch", 0, "A",                                                                  \
    CMD_BIT(RUN) | CMD_BIT(TUNE) | CMD_BIT(EXPLAIN) | CMD_BIT(KEY) | CMD_BIT(BENCH),       \
    "target: what the emulator emulates (sm_80), or what to compile for on a GPU")         \
  X(OUTPUT_DIR, "output", 'o', "DIR", CMD_BIT(COMPILE), "where to write (required)")       \
  X(OUTPUT_PACK, "output", 'o', "PATH", CMD_BIT(PACK),                                     \
    "the pack to create, the directory to unpack into")                                    \
  X(EMIT_PACK, "emit", 0, "LIST", CMD_BIT(PACK),                                           \
    "images to pack: ptx,cubin (ptx, and cubin where there is a ptxas)")                   \
  X(DEVICE_FILE, "device", 0, "FILE", CMD_BIT(PACK),                                       \
    "of attnc device dump: its tuning table decides, and is in the pack")                  \
  X(PUBLIC_KEY, "public-key", 0, "KEY", CMD_BIT(PACK),                                     \
    "minisign's, or the file with it: whose signature there must be")                      \
  X(SIGNATURE, "signature", 0, "FILE", CMD_BIT(PACK), "minisign's (PACK.minisig)")         \
  X(EMIT, "emit", 0, "LIST", CMD_BIT(COMPILE),                                             \
    "what to write: ptx,json,ll,cubin,c (ptx,json)")                                       \
  X(FROM, "from", 0, "ll|ptx", CMD_BIT(COMPILE),                                           \
    "start from the text in FILE, the last argument, instead of generating it")            \
  X(PTX_VERSION, "ptx-version", 0, "V", CMD_BIT(COMPILE),                                  \
    "PTX version to write, 7.0 or above (the lowest that suffices)")                       \
  X(SHAPE, "shape", 0, "SIZES", CMD_SHAPED,                                                \
    "sizes, as in \"b2 h8/2 sq128 sk256\"; s sets sq and sk")                              \
  X(OP, "op", 0, "OP",                                                                     \
    CMD_BIT(RUN) | CMD_BIT(COMPILE) | CMD_BIT(TUNE) | CMD_BIT(PACK) | CMD_BIT(EXPLAIN) |   \
        CMD_BIT(KEY),                                                                      \
    "what of the spec is computed: fwd, bwd, append, merge, dropout_mask (fwd)")           \
  X(SCHEDULE, "schedule", 0, "S", CMD_PINNED,                                              \
    "pin the schedule: template=fwd_mma,block_m=64,block_n=64,num_stages=2,…")             \
  X(WITHIN, "schedule", 0, "S", CMD_BIT(TUNE),                                             \
    "try only schedules with these values: template=fwd_mma,block_m=64,…")                 \
  X(DEVICE, "device", 0, "auto|emu|cuda", CMD_ON_DEVICE,                                   \
    "auto: a GPU where a driver finds one, else the emulator")                             \
  X(INPUT, "input", 0, "FILE", CMD_BIT(RUN),                                               \
    "read the inputs of the call, q, k, v, …, from a safetensors file")                    \
  X(SEQLENS, "seqlens", 0, "N,…",                                                          \
    CMD_BIT(RUN) | CMD_BIT(TUNE) | CMD_BIT(EXPLAIN) | CMD_BIT(KEY) | CMD_BIT(TILES),       \
    "lengths of the sequences, 3,0,17, or with keys 3/20,0/5 (drawn)")                     \
  X(SCALAR, "scalar", 0, "N=X,…", CMD_BIT(RUN),                                            \
    "numbers of the call, as in softmax_scale=0.1,cap=50; else the spec's")                \
  X(OUTPUT, "output", 'o', "FILE", CMD_BIT(RUN), "write o and lse as safetensors")         \
  X(VERIFY, "verify", 0, NULL, CMD_BIT(RUN),                                               \
    "compare with the fp64 reference; exit 1 if it differs")                               \
  X(BRIEF, "brief", 0, NULL, CMD_BIT(RUN), "one line a spec")                              \
  X(REPEAT, "repeat", 0, "N", CMD_BIT(RUN) | CMD_BIT(TUNE) | CMD_BIT(BENCH),               \
    "measurements to take, on a GPU or of the compiler (20)")                              \
  X(SEED, "seed", 0, "N",                                                                  \
    CMD_BIT(RUN) | CMD_BIT(TUNE) | CMD_BIT(TILES) | CMD_BIT(EXPLAIN),                      \
    "of the random tensors (1)")                                                           \
  X(TILE, "tile", 0, "MxN", CMD_BIT(TILES), "queries and keys of a tile (64x64)")          \
  X(BATCH, "batch", 0, "N", CMD_BIT(TILES) | CMD_BIT(EXPLAIN), "whose mask it is (0)")     \
  X(HEAD, "head", 0, "N", CMD_BIT(TILES) | CMD_BIT(EXPLAIN),                               \
    "the query head whose mask it is (0)")                                                 \
  X(SVG, "svg", 0, "FILE", CMD_BIT(TILES) | CMD_BIT(EXPLAIN),                              \
    "write the picture of the mask, with all its tiles")                                   \
  X(STATS, "stats", 0, NULL, CMD_BIT(RUN), "the emulator's counters")                      \
  X(PROFILE, "profile", 0, NULL, CMD_BIT(RUN),                                             \
    "the emulator's counts for each PTX instruction")                                      \
  X(NO_CACHE, "no-cache", 0, NULL, CMD_BIT(RUN), "leave the disk cache alone")             \
  X(JOBS, "jobs", 'j', "N", CMD_BIT(TUNE), "compile N at a time (the processors)")         \
  X(LEVEL, "level", 0, "L", CMD_BIT(TUNE),                                                 \
    "how much is tried: estimate, measure, patient, exhaustive (exhaustive)")              \
  X(L2, "l2", 0, "warm|cold", CMD_BIT(TUNE),                                               \
    "what the L2 cache holds of the call when a timed launch begins (warm)")               \
  X(SHAPES, "shapes", 0, "FILE", CMD_BIT(TUNE),                                            \
    "tune at each line of sizes, which may begin with a spec's name")                      \
  X(TOP, "top", 0, "N", CMD_BIT(TUNE), "try only the N best by the cost model (all)")      \
  X(BUDGET, "budget", 0, "S", CMD_BIT(TUNE),                                               \
    "seconds after which no further schedule is begun (none)")                             \
  X(RESUME, "resume", 0, NULL, CMD_BIT(TUNE),                                              \
    "take what earlier, unfinished sweeps measured of the same kernels")                   \
  X(SHARD, "shard", 0, "I/N", CMD_BIT(TUNE),                                               \
    "part I of N, from 0: of a list, else of the candidates; auto: the launcher's")        \
  X(DRY_RUN, "dry-run", 0, NULL, CMD_BIT(TUNE), "keep nothing")                            \
  X(CSV, "csv", 0, "FILE", CMD_BIT(TUNE), "write every candidate as a row")                \
  X(SWEEP_SVG, "svg", 0, "FILE", CMD_BIT(TUNE),                                            \
    "write pictures: by block_m and block_n, and in the cost model's order")               \
  X(RANK, "rank", 0, NULL, CMD_BIT(TUNE),                                                  \
    "rank correlation of the cost model with what was measured")                           \
  X(TIMEOUT, "timeout", 0, "S", CMD_BIT(RUN),                                              \
    "seconds after which it ends with exit code 124 (none)")                               \
  X(PATIENCE, "timeout", 0, "S", CMD_BIT(TUNE),                                            \
    "seconds that each step of a candidate may take (60)")                                 \
  X(INJECT, "inject", 0, "KIND", CMD_BIT(TUNE), NULL)                                      \
  X(ALL, "all", 0, NULL, CMD_BIT(EXPLAIN), "every schedule, the refused ones with why")    \
  X(ON, "on", 0, "NAME", CMD_RECORDS, "only records of devices of this name")              \
  X(OF_SHAPE, "shape", 0, "SIZES", CMD_RECORDS,                                            \
    "only records for sizes like these: \"b2 h8 sq128 sk256\"")                            \
  X(FORGET_ALL, "all", 0, NULL, CMD_BIT(TUNE_FORGET), "all records of all devices")        \
  X(TABLE_OUT, "output", 'o', "FILE", CMD_BIT(TUNE_EXPORT) | CMD_BIT(TUNE_MERGE),          \
    "where to write (standard output)")                                                    \
  X(DUMP, "dump", 0, "LIST", CMD_BIT(EXPLAIN),                                             \
    "print stages: spec,spans,sched,tile,ll,opt,ptx")                                      \
  X(SASS, "sass", 0, NULL, CMD_BIT(EXPLAIN),                                               \
    "registers and spills as ptxas allots them, where it is found")                        \
  X(SASS_STATS, "sass-stats", 0, NULL, CMD_BIT(EXPLAIN),                                   \
    "machine instructions of the kernel and of its main loops, by ptxas")                  \
  X(EXPLAIN, "explain", 0, NULL, CMD_BIT(KEY), "the fields that the key is the hash of")   \
  X(MAN, "man", 0, NULL, CMD_BIT(HELP), "print the manual page, for man")                  \
  X(JSON, "json", 0, NULL, CMD_ALL, "print one JSON object instead of text")               \
  X(COLOR, "color", 0, "auto|always|never", CMD_ALL,                                       \
    "colour messages (auto: on a terminal, unless NO_COLOR is set)")                       \
  X(QUIET, "quiet", 'q', NULL, CMD_ALL, "no notes and no progress on stderr")              \
  X(HELP, "help", 'h', NULL, CMD_ALL, "print this")                                        \
  X(VERSION, "version", 'V', NULL, CMD_ALL, "print the version")

typedef enum OptionId {
#define X(id, name, letter, value, commands, text) OPT_##id,
  OPTION_TABLE(X)
#undef X
      OPT_COUNT
} OptionId;

typedef struct Option {
  const char *name;
  char letter;
  const char *value;
  unsigned commands;
  const char *text;
} Option;
extern const Option option_table[OPT_COUNT];

typedef struct ExitCode {
  int code;
  const char *text;
} ExitCode;
enum { N_EXIT_CODES = 12 };
extern const ExitCode exit_codes[N_EXIT_CODES];

typedef struct Options {
  int command;                  /* CommandId, or -1: none given */
  const char *value[OPT_COUNT]; /* NULL: not given; "" for a flag */
  const char **args;            /* in the arena */
  int n_args;
} Options;

/* ATTNC_ERR_USAGE names the argument at fault; what was read until then is in *out, so that
 * the caller still knows the command and --json.  With --help or --version given, arguments
 * are not counted. */
attnc_status options_parse(int argc, char **argv, Arena *, Options *out, attnc_error *);
bool options_has(const Options *, OptionId);
/* A whole number in [least, most]; `initial` when not given. */
attnc_status options_int(const Options *, OptionId, int64_t initial, int64_t least,
                         int64_t most, int64_t *out, attnc_error *);
/* Does this row show in the help of the command (-1: of attnc itself)? */
bool option_applies(OptionId, int command);
/* The command of a name, -1 with the nearest one in the message. */
int command_named(const char *, attnc_error *);
bool command_visible(int command);

/* --help of a command, or of attnc itself (-1), as text and as JSON. */
void options_help(int command, Str *);
void options_help_json(int command, Str *);
/* "-j, --jobs N", as help has it on the left. */
void option_left(const Option *, Str *);
void options_man(Str *); /* the manual page attnc(1), for man */
/* The completion script of a shell, false if there is none for it. */
bool options_completion(const char *shell, Str *);

#endif
