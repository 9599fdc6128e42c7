#include "runtime/assembler.h"

#include "base/arena.h"
#include "base/err.h"
#include "sass/ptxas.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
assemblers_read(const char *text, const Assembler *out[ASSEMBLERS], const char **bad,
                int *n)
{
  static const Assembler *const all[ASSEMBLERS] = {&assembler_driver, &assembler_nvjitlink,
                                                   &assembler_ptxas};
  int count = 0;
  for (const char *p = text; *p; p += *p == ',') {
    const Assembler *found = NULL;
    *bad = p;
    *n = (int)strcspn(p, ",");
    p += *n;
    for (int i = 0; i < ASSEMBLERS; i++)
      if (strlen(all[i]->word) == (size_t)*n && !memcmp(all[i]->word, *bad, (size_t)*n))
        found = all[i];
    bool none = *n == 4 && !memcmp(*bad, "none", 4);
    if ((!found && !none) || count == ASSEMBLERS)
      return -1;
    if (found)
      out[count++] = found;
  }
  return count;
}

static attnc_status
take(Assembly *out, const void *cubin, size_t n, const char *log, attnc_error *e)
{
  out->cubin = malloc(n + 1);
  out->log = strdup(log);
  out->n = n;
  if (!out->cubin || !out->log || !n) {
    free(out->cubin);
    free(out->log);
    *out = (Assembly){0};
    return n ? err_set(e, ATTNC_ERR_NOMEM, "assembler: out of memory")
             : err_set(e, ATTNC_ERR_COMPILE, "the assembler gave no code");
  }
  memcpy(out->cubin, cubin, n);
  return ATTNC_OK;
}

/* ---- the driver ---- */

enum { LOG_BYTES = 65536 };

/* The kernel module's version says more than that of CUDA, where it can be read. */
static bool
driver_identify(const Driver *d, char id[ASSEMBLER_ID])
{
  char release[64] = "";
  FILE *f = fopen("/sys/module/nvidia/version", "re");
  if (f) {
    if (!fgets(release, sizeof release, f))
      release[0] = 0;
    fclose(f);
    release[strcspn(release, "\n")] = 0;
  }
  snprintf(id, ASSEMBLER_ID, "driver %d.%d%s%s", d->version / 1000, d->version % 1000 / 10,
           *release ? ", " : "", release);
  return d->cuLinkCreate_v2 && d->cuLinkAddData_v2 && d->cuLinkComplete && d->cuLinkDestroy;
}

/* CUjit_target: "sm_90a" is the accelerated 90 (CU_COMPUTE_ACCELERATED_TARGET_BASE). */
static unsigned
jit_target(const char *arch)
{
  enum { ACCELERATED = 0x10000 };
  char *end;
  unsigned cc = (unsigned)strtoul(arch + strlen("sm_"), &end, 10);
  return *end == 'a' ? cc + ACCELERATED : cc;
}

typedef struct LinkLog {
  char info[LOG_BYTES], error[LOG_BYTES];
} LinkLog;

static attnc_status
link_here(const Driver *d, CUlinkState state, const char *ptx, size_t n, LinkLog *log,
          Assembly *out, attnc_error *e)
{
  void *cubin = NULL;
  size_t bytes = 0;
  CUresult code = d->cuLinkAddData_v2(state, CU_JIT_INPUT_PTX, (void *)(uintptr_t)ptx,
                                      n + 1, "attnc.ptx", 0, NULL, NULL);
  if (code != CUDA_SUCCESS)
    return drv_fail(d, code, "cuLinkAddData", log->error, e);
  code = d->cuLinkComplete(state, &cubin, &bytes);
  log->info[LOG_BYTES - 1] = log->error[LOG_BYTES - 1] = 0;
  if (code != CUDA_SUCCESS)
    return drv_fail(d, code, "cuLinkComplete", log->error, e);
  return take(out, cubin, bytes, log->info, e);
}

static attnc_status
driver_run(const Driver *d, const char *ptx, size_t n, const char *arch, Assembly *out,
           attnc_error *e)
{
  LinkLog *log = calloc(1, sizeof *log);
  CUlinkState state;
  if (!log)
    return err_set(e, ATTNC_ERR_NOMEM, "assembler: out of memory");
  CUjit_option options[] = {CU_JIT_TARGET,
                            CU_JIT_INFO_LOG_BUFFER,
                            CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
                            CU_JIT_ERROR_LOG_BUFFER,
                            CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
                            CU_JIT_LOG_VERBOSE};
  /* By the driver's convention an integer travels as the pointer itself. */
  void *values[] = {(void *)(uintptr_t)jit_target(arch), log->info,
                    (void *)(uintptr_t)LOG_BYTES,        log->error,
                    (void *)(uintptr_t)LOG_BYTES,        (void *)(uintptr_t)1};
  attnc_status status = DRV(d, e, cuLinkCreate_v2, 6, options, values, &state);
  if (status == ATTNC_OK) {
    status = link_here(d, state, ptx, n, log, out, e);
    d->cuLinkDestroy(state);
  }
  free(log);
  return status;
}

const Assembler assembler_driver = {"driver", driver_identify, driver_run};

/* ---- nvJitLink (CUDA Toolkit, nvJitLink API) ---- */

typedef struct nvJitLink *Link;
#define LINK_TABLE(X)                                                                      \
  X(nvJitLinkVersion, (unsigned *major, unsigned *minor))                                  \
  X(nvJitLinkCreate, (Link *, uint32_t n, const char **options))                           \
  X(nvJitLinkDestroy, (Link *))                                                            \
  X(nvJitLinkAddData, (Link, int kind, const void *, size_t, const char *name))            \
  X(nvJitLinkComplete, (Link))                                                             \
  X(nvJitLinkGetLinkedCubinSize, (Link, size_t *))                                         \
  X(nvJitLinkGetLinkedCubin, (Link, void *))                                               \
  X(nvJitLinkGetErrorLogSize, (Link, size_t *))                                            \
  X(nvJitLinkGetErrorLog, (Link, char *))                                                  \
  X(nvJitLinkGetInfoLogSize, (Link, size_t *))                                             \
  X(nvJitLinkGetInfoLog, (Link, char *))
enum { NVJITLINK_PTX = 2 }; /* NVJITLINK_INPUT_PTX */

static struct {
  bool there;
  unsigned major, minor;
#define X(name, args) int(*name) args;
  LINK_TABLE(X)
#undef X
} nvjitlink;

static void
find_nvjitlink(void)
{
  static const char *const names[] = {"libnvJitLink.so.13", "libnvJitLink.so.12"};
  void *handle = NULL;
  for (size_t i = 0; !handle && i < sizeof names / sizeof *names; i++)
    handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!handle)
    return;
  nvjitlink.there = true;
#define X(name, args)                                                                      \
  *(void **)&nvjitlink.name = dlsym(handle, #name);                                        \
  nvjitlink.there = nvjitlink.there && nvjitlink.name;
  LINK_TABLE(X)
#undef X
  dlclose(handle); /* stays mapped */
  nvjitlink.there =
      nvjitlink.there && !nvjitlink.nvJitLinkVersion(&nvjitlink.major, &nvjitlink.minor);
}

static bool
nvjitlink_identify(const Driver *d, char id[ASSEMBLER_ID])
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  (void)d;
  pthread_once(&once, find_nvjitlink);
  if (nvjitlink.there)
    snprintf(id, ASSEMBLER_ID, "nvJitLink %u.%u", nvjitlink.major, nvjitlink.minor);
  return nvjitlink.there;
}

/* One of its two logs, malloc'd; NULL: none. */
static char *
link_log(Link link, int (*size)(Link, size_t *), int (*get)(Link, char *))
{
  size_t n = 0;
  char *log = size(link, &n) ? NULL : calloc(1, n + 1);
  if (log && get(link, log))
    log[0] = 0;
  return log;
}

static attnc_status
link_failed(Link link, const char *call, int code, attnc_error *e)
{
  char *log =
      link_log(link, nvjitlink.nvJitLinkGetErrorLogSize, nvjitlink.nvJitLinkGetErrorLog);
  err_set(e, ATTNC_ERR_COMPILE, "%s: %d: %.300s", call, code, log ? log : "");
  free(log);
  return ATTNC_ERR_COMPILE;
}

static attnc_status
take_linked(Link link, Assembly *out, attnc_error *e)
{
  size_t n = 0;
  int code = nvjitlink.nvJitLinkGetLinkedCubinSize(link, &n);
  void *cubin = code ? NULL : malloc(n + 1);
  char *log =
      link_log(link, nvjitlink.nvJitLinkGetInfoLogSize, nvjitlink.nvJitLinkGetInfoLog);
  if (cubin)
    code = nvjitlink.nvJitLinkGetLinkedCubin(link, cubin);
  attnc_status status = code || !cubin
                            ? link_failed(link, "nvJitLinkGetLinkedCubin", code, e)
                            : take(out, cubin, n, log ? log : "", e);
  free(cubin);
  free(log);
  return status;
}

static attnc_status
nvjitlink_run(const Driver *d, const char *ptx, size_t n, const char *arch, Assembly *out,
              attnc_error *e)
{
  char target[32];
  const char *options[] = {target, "-Xptxas=-v"};
  Link link = NULL;
  (void)d;
  snprintf(target, sizeof target, "-arch=%s", arch);
  int code = nvjitlink.nvJitLinkCreate(&link, 2, options);
  if (code)
    return err_set(e, ATTNC_ERR_COMPILE, "nvJitLinkCreate %s: %d", target, code);
  const char *call = "nvJitLinkAddData";
  code = nvjitlink.nvJitLinkAddData(link, NVJITLINK_PTX, ptx, n + 1, "attnc.ptx");
  if (!code) {
    call = "nvJitLinkComplete";
    code = nvjitlink.nvJitLinkComplete(link);
  }
  attnc_status status = code ? link_failed(link, call, code, e) : take_linked(link, out, e);
  nvjitlink.nvJitLinkDestroy(&link);
  return status;
}

const Assembler assembler_nvjitlink = {"nvjitlink", nvjitlink_identify, nvjitlink_run};

/* ---- ptxas ---- */

typedef struct PtxasAsked {
  const char *ptx, *arch; /* NULL: who are you? */
  size_t n;
  char *id;
  Assembly *out;
  attnc_error *e;
} PtxasAsked;

static attnc_status
ask_ptxas(const PtxasAsked *a, Arena *arena)
{
  Assembled made = {0};
  if (!a->ptx) {
    const char *path = ptxas_find(arena);
    const char *version = path ? ptxas_version(path, arena) : NULL;
    snprintf(a->id, ASSEMBLER_ID, "ptxas %s", version ? version : "");
    return version ? ATTNC_OK : ATTNC_ERR_UNSUPPORTED;
  }
  TRY(ptxas_run(a->ptx, a->n, a->arch, arena, &made, a->e));
  attnc_status status = take(a->out, made.cubin, made.bytes, made.log, a->e);
  free(made.cubin);
  return status;
}

static attnc_status
with_arena(const PtxasAsked *a)
{
  jmp_buf exhausted;
  Arena *arena = arena_new(0);
  if (!arena)
    return err_set(a->e, ATTNC_ERR_NOMEM, "assembler: out of memory");
  attnc_status status = ATTNC_OK;
  if (setjmp(exhausted) == 0) {
    arena_catch(arena, &exhausted);
    status = ask_ptxas(a, arena);
  } else {
    status = err_set(a->e, ATTNC_ERR_NOMEM, "assembler: out of memory");
  }
  arena_free(arena);
  return status;
}

/* Asked at each kernel: what is installed may be another one tomorrow. */
static bool
ptxas_identify(const Driver *d, char id[ASSEMBLER_ID])
{
  (void)d;
  return with_arena(&(PtxasAsked){.id = id}) == ATTNC_OK;
}

static attnc_status
ptxas_assemble(const Driver *d, const char *ptx, size_t n, const char *arch, Assembly *out,
               attnc_error *e)
{
  (void)d;
  return with_arena(&(PtxasAsked){.ptx = ptx, .n = n, .arch = arch, .out = out, .e = e});
}

const Assembler assembler_ptxas = {"ptxas", ptxas_identify, ptxas_assemble};
