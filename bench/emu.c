/* emu: how fast the emulator is: one causal bf16 forward, B1 H2 S256 D64, every check on,
 * one thread.
 *
 *   bench_emu [--limit MS] [--runs N] [EMULATOR.so]
 *
 * Prints milliseconds a launch, of the clock and of the processor, which other programs on
 * the machine do not lengthen: median, least and greatest; and the million thread
 * instructions a second of the processor's median.  Exit 1 if that median is above the
 * limit, or at a finding. */
#include <attnc/attnc.h>
#include <attnc/attnc_emu.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { B = 1, H = 2, S = 256, D = 64, ELEMENTS = B * H * S * D, RUNS_MAX = 1000 };

static const char yaml[] = "attnc: 1\nname: emu\ndtype: bf16\nhead_dim: 64\ncausal: true\n";

/* The driver functions used here, as the CUDA Driver API names them. */
#define DRIVER(X)                                                                          \
  X(cuInit, (unsigned))                                                                    \
  X(cuDevicePrimaryCtxRetain, (void **, int))                                              \
  X(cuCtxSetCurrent, (void *))                                                             \
  X(cuCtxSynchronize, (void))                                                              \
  X(cuMemAlloc_v2, (unsigned long long *, size_t))                                         \
  X(cuMemcpyHtoD_v2, (unsigned long long, const void *, size_t))                           \
  X(attncEmuConfigure, (const char *, char *, size_t))

typedef struct Driver {
#define X(name, args) int(*name) args;
  DRIVER(X)
#undef X
  void (*stats)(attncEmuStats *);
  void (*reset)(void);
} Driver;

static void
resolve(void *lib, const char *name, void *entry, size_t n)
{
  void *p = dlsym(lib, name);
  if (!p) {
    fprintf(stderr, "%s is missing\n", name);
    exit(6);
  }
  memcpy(entry, &p, n);
}

static Driver
open_driver(const char *path)
{
  Driver d;
  void *lib = dlopen(path, RTLD_NOW);
  if (!lib) {
    fprintf(stderr, "%s\n", dlerror());
    exit(6);
  }
#define X(name, args) resolve(lib, #name, &d.name, sizeof d.name);
  DRIVER(X)
#undef X
  resolve(lib, "attncEmuGetStats", &d.stats, sizeof d.stats);
  resolve(lib, "attncEmuResetStats", &d.reset, sizeof d.reset);
  return d;
}

static void
need(int status, const char *what, const char *why)
{
  if (status) {
    fprintf(stderr, "%s: %d %s\n", what, status, why);
    exit(1);
  }
}

/* bf16 numbers in [-2, 2), not all alike. */
static void *
tensor(const Driver *d, unsigned seed)
{
  static unsigned short x[ELEMENTS];
  unsigned long long p = 0;
  for (int i = 0; i < ELEMENTS; i++) {
    seed = seed * 1664525u + 1013904223u;
    float f = (float)(seed >> 8) * 0x1p-22f - 2.0f;
    unsigned u;
    memcpy(&u, &f, 4);
    x[i] = (unsigned short)(u >> 16);
  }
  need(d->cuMemAlloc_v2(&p, sizeof x), "cuMemAlloc", "");
  need(d->cuMemcpyHtoD_v2(p, x, sizeof x), "cuMemcpyHtoD", "");
  return (void *)(uintptr_t)p;
}

static const attnc_sizes sizes = {
    .size = sizeof sizes, .b = B, .h = H, .hk = H, .sq = S, .sk = S};

static attnc_plan *
make_plan(const char *path, attnc_context **ctx, attnc_spec **spec)
{
  attnc_error e = {0};
  attnc_plan *plan = NULL;
  const attnc_options o = {
      .size = sizeof o, .libcuda = path, .cache = 1, .target = "sm_80"};
  const attnc_problem p = {.size = sizeof p, .sizes = &sizes};
  need((int)attnc_spec_load(yaml, sizeof yaml - 1, "emu", spec, NULL), "attnc_spec_load",
       "");
  need((int)attnc_context_create(&o, ctx, &e), "attnc_context_create", e.message);
  need((int)attnc_plan_get(*ctx, *spec, &p, &plan, &e), "attnc_plan_get", e.message);
  return plan;
}

static double
seconds(clockid_t clock)
{
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int
by_size(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double
middle(double *ms, int n)
{
  qsort(ms, (size_t)n, sizeof *ms, by_size);
  return 0.5 * (ms[(n - 1) / 2] + ms[n / 2]);
}

static attnc_args
arguments(const Driver *d, attnc_tensor t[ATTNC_SLOT_COUNT])
{
  for (unsigned i = 0; i < ATTNC_SLOT_COUNT; i++)
    t[i] = (attnc_tensor){tensor(d, i + 1), {H * S * D, D, H * D, 1, 0}};
  return (attnc_args){.size = sizeof(attnc_args),
                      .tensors = t,
                      .n_tensors = ATTNC_SLOT_COUNT,
                      .sizes = &sizes,
                      .tensor_size = sizeof *t};
}

int
main(int argc, char **argv)
{
  const char *path = "libattnc-emu.so";
  double limit = 0, wall[RUNS_MAX], cpu[RUNS_MAX];
  int runs = 20;
  for (int i = 1; i < argc; i++)
    if (strcmp(argv[i], "--limit") == 0 && i + 1 < argc)
      limit = atof(argv[++i]);
    else if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc)
      runs = atoi(argv[++i]);
    else
      path = argv[i];
  if (runs < 1 || runs > RUNS_MAX)
    return fprintf(stderr, "usage: bench_emu [--limit MS] [--runs N] [EMULATOR.so]\n"), 2;

  Driver d = open_driver(path);
  char why[200] = "";
  void *context = NULL;
  attnc_error e = {0};
  need(d.attncEmuConfigure("arch=sm_80,threads=1,checks=all,mma=bit", why, sizeof why),
       "attncEmuConfigure", why);
  need(d.cuInit(0), "cuInit", "");
  need(d.cuDevicePrimaryCtxRetain(&context, 0), "cuDevicePrimaryCtxRetain", "");
  need(d.cuCtxSetCurrent(context), "cuCtxSetCurrent", "");
  attnc_context *ctx;
  attnc_spec *spec;
  attnc_plan *plan = make_plan(path, &ctx, &spec);
  attnc_tensor tensors[ATTNC_SLOT_COUNT];
  const attnc_args args = arguments(&d, tensors);
  for (int i = -1; i < runs; i++) { /* the first is not counted */
    if (i == 0)
      d.reset();
    double start = seconds(CLOCK_MONOTONIC), busy = seconds(CLOCK_PROCESS_CPUTIME_ID);
    need((int)attnc_launch(plan, &args, NULL, NULL, &e), "attnc_launch", e.message);
    need(d.cuCtxSynchronize(), "cuCtxSynchronize", "");
    if (i >= 0) {
      wall[i] = 1e3 * (seconds(CLOCK_MONOTONIC) - start);
      cpu[i] = 1e3 * (seconds(CLOCK_PROCESS_CPUTIME_ID) - busy);
    }
  }
  attncEmuStats s = {.size = sizeof s};
  d.stats(&s);
  double by_clock = middle(wall, runs), by_cpu = middle(cpu, runs);
  double each = (double)s.thread_instructions / runs;
  printf("bf16 b%d h%d s%d d%d causal, all checks, 1 thread: median %.2f ms (%.2f-%.2f), "
         "of the processor %.2f ms (%.2f-%.2f); %.2f M thread instructions, %.0f M/s\n",
         B, H, S, D, by_clock, wall[0], wall[runs - 1], by_cpu, cpu[0], cpu[runs - 1],
         1e-6 * each, each / by_cpu * 1e-3);
  attnc_plan_release(plan);
  attnc_context_release(ctx);
  attnc_spec_release(spec);
  if (s.findings)
    return fprintf(stderr, "%llu findings\n", (unsigned long long)s.findings), 1;
  return limit > 0 && by_cpu > limit;
}
