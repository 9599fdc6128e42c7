/* What a library goes through in years, in minutes, with the real compiler and the emulated
 * device; every result is compared bit by bit with one that used no cache.
 *
 *   torture storm N    processes with one disk cache, of which most are killed at a random
 *                      moment, while entries are deleted under them: N launches
 *   torture threads N  16 threads in one context, then 12 in two contexts on two devices
 *                      beside upkeep of their cache: N launches each; built with the
 *                      preset tsan it is what ThreadSanitizer looks at
 *   torture cc N       16 threads whose kernels are compiled by attnc-cc, of which one is
 *                      killed now and then: N launches; with tsan as well
 *   torture helpers N  4 threads on two devices launch kernels of many CTAs with changing
 *                      numbers of host threads, while the process forks: N launches each
 *
 * Prints what was done; exit 1 where anything was lost, torn or wrong. */
#include "runtime/drv.h"

#include <attnc/attnc.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  S = 16,
  D = 16,
  N = S * D,
  KEYS = 40,
  STORMERS = 16,
  THREADS = 16,
  PER_PROCESS = 40,
  KILLED_PERCENT = 60,
  LIFE_MS = 400,
  STUCK_SECONDS = 120,
};

static const attnc_sizes sizes = {
    .size = sizeof sizes, .b = 1, .h = 1, .hk = 1, .sq = S, .sk = S};

/* In memory that all processes share; atomic. */
typedef struct Tally {
  int launches, failed, wrong, killed, processes;
} Tally;
static Tally *tally;
static uint16_t expected[KEYS][N];
static const char *cc = "0"; /* where contexts compile */
static char dir[] = "/tmp/attnc-torture-XXXXXX";

static void
count(int *counter)
{
  __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

static int
counted(const int *counter)
{
  return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void
complain(const char *what, const char *why)
{
  fprintf(stderr, "%s: %s\n", what, why);
  count(&tally->failed);
}

/* ---- one launch ---- */

static attnc_context *
make_context(int cache)
{
  attnc_context *c = NULL;
  attnc_error e = {0};
  attnc_options o = {.size = sizeof o,
                     .libcuda = EMULATOR,
                     .cache = cache,
                     .cache_dir = dir,
                     .tune_dir = dir,
                     .cc = cc,
                     .cc_limits = "workers=3,compiles=20"};
  if (attnc_context_create(&o, &c, &e) != ATTNC_OK)
    complain("context", e.message);
  return c;
}

/* Another kernel for each key: the scale is a constant of it. */
static attnc_spec *
make_spec(int key)
{
  char text[200];
  attnc_spec *spec = NULL;
  int n = snprintf(text, sizeof text,
                   "attnc: 1\nname: k%d\ndtype: fp16\nhead_dim: 16\nspecialize: "
                   "[softmax_scale]\nsoftmax_scale: 0.%04d\n"
                   "schedule: {template: ref_fwd}\n",
                   key, key * 200 + 1000);
  if (attnc_spec_load(text, (size_t)n, "k", &spec, NULL) != ATTNC_OK)
    complain("spec", text);
  return spec;
}

static attnc_status
get(attnc_context *c, int key, int device, uint32_t flags, attnc_plan **p, attnc_error *e)
{
  attnc_problem problem = {
      .size = sizeof problem, .device = device + 1, .sizes = &sizes, .flags = flags};
  attnc_spec *spec = make_spec(key);
  attnc_status status = attnc_plan_get(c, spec, &problem, p, e);
  attnc_spec_release(spec);
  return status;
}

/* The device's memory of one caller. */
typedef struct Run {
  const Driver *drv;
  int device;
  CUcontext context;
  attnc_tensor tensors[4];
} Run;

static bool
open_run(Run *r, int device)
{
  uint16_t host[N];
  r->device = device;
  if (drv_open(EMULATOR, &r->drv, NULL) != ATTNC_OK ||
      r->drv->cuDevicePrimaryCtxRetain(&r->context, device) ||
      r->drv->cuCtxSetCurrent(r->context))
    return false;
  for (int t = 0; t < 4; t++) {
    CUdeviceptr at = 0;
    for (int i = 0; i < N; i++)
      host[i] = (uint16_t)(0x3400 + (i * 37 + t * 11) % 900); /* 0.25 … 0.5 */
    if (r->drv->cuMemAlloc_v2(&at, sizeof host) ||
        r->drv->cuMemcpyHtoD_v2(at, host, sizeof host))
      return false;
    r->tensors[t] = (attnc_tensor){(void *)(uintptr_t)at, {N, N, D, 1, 0}};
  }
  return true;
}

static void
close_run(Run *r)
{
  for (int t = 0; t < 4; t++)
    r->drv->cuMemFree_v2((CUdeviceptr)(uintptr_t)r->tensors[t].data);
  r->drv->cuCtxSetCurrent(NULL);
  r->drv->cuDevicePrimaryCtxRelease_v2(r->device);
  drv_close(r->drv);
}

static bool
launch(Run *r, const attnc_plan *p, uint16_t o[N])
{
  attnc_error e = {0};
  attnc_args a = {.size = sizeof a,
                  .sizes = &sizes,
                  .tensors = r->tensors,
                  .tensor_size = sizeof *r->tensors,
                  .n_tensors = 4};
  CUdeviceptr at = (CUdeviceptr)(uintptr_t)r->tensors[ATTNC_O].data;
  memset(o, 0xff, N * sizeof *o);
  if (r->drv->cuMemcpyHtoD_v2(at, o, N * sizeof *o) ||
      attnc_launch(p, &a, NULL, NULL, &e) != ATTNC_OK || r->drv->cuCtxSynchronize() ||
      r->drv->cuMemcpyDtoH_v2(o, at, N * sizeof *o)) {
    complain("launch", e.message);
    return false;
  }
  return true;
}

/* Gets, waiting or not, launches, compares. */
static void
try_key(attnc_context *c, Run *r, int key, uint32_t flags)
{
  uint16_t o[N];
  attnc_plan *p = NULL;
  attnc_error e = {0};
  attnc_status status = get(c, key, r->device, flags, &p, &e);
  for (int i = 0; status == ATTNC_ERR_PENDING && i < STUCK_SECONDS * 1000; i++) {
    usleep(1000);
    status = get(c, key, r->device, flags, &p, &e);
  }
  if (status != ATTNC_OK) {
    complain("plan", e.message);
    return;
  }
  if (launch(r, p, o)) {
    count(&tally->launches);
    if (memcmp(o, expected[key], sizeof o) != 0)
      count(&tally->wrong);
  }
  attnc_plan_release(p);
}

static void
expect(int keys)
{
  Run r;
  attnc_context *c = make_context(1);
  if (!open_run(&r, 0))
    complain("device", "cannot be used");
  for (int k = 0; k < keys; k++) {
    attnc_plan *p = NULL;
    if (get(c, k, 0, 0, &p, NULL) == ATTNC_OK)
      launch(&r, p, expected[k]);
    attnc_plan_release(p);
  }
  close_run(&r);
  attnc_context_release(c);
}

/* ---- the storm ---- */

static int
storm(unsigned seed)
{
  Run r;
  alarm(STUCK_SECONDS);
  if (!open_run(&r, 0))
    return 1;
  for (int i = 0; i < PER_PROCESS; i++) {
    attnc_context *c = make_context(3); /* a new one has nothing in memory */
    try_key(c, &r, (int)(rand_r(&seed) % KEYS), 0);
    attnc_context_release(c);
  }
  close_run(&r);
  return 0;
}

typedef struct Process {
  pid_t pid;
  int ms; /* left to live; 0: as long as it takes */
} Process;

static void
start(Process *p, unsigned *seed)
{
  unsigned its = (unsigned)rand_r(seed);
  bool doomed = rand_r(seed) % 100 < KILLED_PERCENT;
  *p = (Process){.ms = doomed ? 1 + rand_r(seed) % LIFE_MS : 0};
  p->pid = fork();
  if (p->pid == 0)
    _exit(storm(its));
  count(&tally->processes);
}

/* A step of `ms`; true: it has ended. */
static bool
watch(Process *p, int ms)
{
  int status;
  if (p->ms && (p->ms -= ms) <= 0) {
    p->ms = 0;
    kill(p->pid, SIGKILL);
  }
  if (waitpid(p->pid, &status, WNOHANG) != p->pid)
    return false;
  p->pid = 0;
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
    count(&tally->killed);
  else if (status)
    complain("process", WIFSIGNALED(status) ? "ended by a signal" : "failed");
  return true;
}

static void
delete_half(void)
{
  char command[200];
  snprintf(command, sizeof command,
           "find %s/entries -type f -name '*[02468ace]' -delete 2>/dev/null", dir);
  if (system(command) < 0)
    complain("find", strerror(errno));
}

static void
run_storm(int launches)
{
  enum { STEP_MS = 5, DELETE_MS = 5000 };
  Process all[STORMERS] = {0};
  unsigned seed = 20;
  int busy = 0, clock = 0;
  expect(KEYS);
  do {
    busy = 0;
    for (int i = 0; i < STORMERS; i++) {
      if (all[i].pid && watch(&all[i], STEP_MS))
        all[i].pid = 0;
      if (!all[i].pid && counted(&tally->launches) < launches)
        start(&all[i], &seed);
      busy += all[i].pid != 0;
    }
    usleep(STEP_MS * 1000);
    if ((clock += STEP_MS) % DELETE_MS == 0)
      delete_half();
  } while (busy);
  printf("storm: %d processes, %d killed, ", tally->processes, tally->killed);
}

/* ---- threads ---- */

typedef struct Worker {
  pthread_t thread;
  attnc_context *c;
  int number, device, launches;
} Worker;

/* What reads and writes the tuning table beside those that look up in it. */
static void
tune_key(attnc_context *c, int key)
{
  static const attnc_schedule schedule = {.size = sizeof schedule,
                                          .template_name = "ref_fwd"};
  attnc_problem problem = {.size = sizeof problem, .device = 1, .sizes = &sizes};
  attnc_spec *spec = make_spec(key);
  char *json = NULL, *list = NULL;
  if (attnc_tune_record(c, spec, &problem, &schedule, 1 + key, "est_cycles", NULL) ||
      attnc_key_explain(c, spec, &problem, NULL, &json, NULL) ||
      attnc_tune_list(c, NULL, &list, NULL))
    complain("tuning table", "could not be used");
  attnc_text_free(json);
  attnc_text_free(list);
  attnc_spec_release(spec);
}

static void *
work(void *arg)
{
  Worker *w = arg;
  Run r;
  if (!open_run(&r, w->device)) {
    complain("device", "cannot be used");
    return NULL;
  }
  for (int i = 0; i < w->launches; i++) {
    char *json = NULL;
    try_key(w->c, &r, i % 3 ? (w->number + i) % 12 : 0,
            (w->number + i) % 2 ? ATTNC_NOWAIT : 0);
    if (i % 8 == 0 && !attnc_context_json(w->c))
      complain("context_json", "NULL");
    if (i % 8 == 4 && attnc_cache_stat(w->c, &json, NULL) != ATTNC_OK)
      complain("cache_stat", "failed");
    attnc_text_free(json);
    if (i % 16 == 2)
      tune_key(w->c, (w->number + i) % 12);
  }
  close_run(&r);
  return NULL;
}

static int over; /* atomic */

static void *
look_after(void *arg)
{
  static attnc_status (*const verbs[])(attnc_context *, char **, attnc_error *) = {
      attnc_cache_gc, attnc_cache_verify, attnc_cache_clear};
  attnc_context *c = arg;
  for (int i = 0; !__atomic_load_n(&over, __ATOMIC_RELAXED); i++) {
    attnc_error e = {0};
    if (verbs[i % 3](c, NULL, &e) != ATTNC_OK)
      complain("upkeep", e.message);
    usleep(2000);
  }
  return NULL;
}

static void
run_workers(int n, attnc_context *const contexts[], int n_contexts, int devices,
            int launches)
{
  Worker all[THREADS];
  for (int i = 0; i < n; i++) {
    all[i] = (Worker){.c = contexts[i % n_contexts],
                      .number = i,
                      .device = i / n_contexts % devices,
                      .launches = (launches + n - 1) / n};
    if (pthread_create(&all[i].thread, NULL, work, &all[i]))
      complain("thread", "not started");
  }
  for (int i = 0; i < n; i++)
    pthread_join(all[i].thread, NULL);
}

static void
run_threads(int launches)
{
  pthread_t keeper;
  expect(12);
  attnc_context *one = make_context(3);
  run_workers(16, &one, 1, 1, launches);
  attnc_context_release(one);
  attnc_context *two[] = {make_context(3), make_context(3)}, *upkeep = make_context(3);
  if (pthread_create(&keeper, NULL, look_after, upkeep))
    complain("thread", "not started");
  run_workers(12, two, 2, 2, launches);
  __atomic_store_n(&over, 1, __ATOMIC_RELAXED);
  pthread_join(keeper, NULL);
  attnc_context_release(upkeep);
  attnc_context_release(two[0]);
  attnc_context_release(two[1]);
  printf("threads: ");
}

/* ---- compiling elsewhere ---- */

/* Ends a child of this process, the first of the first thread that has one. */
static void
kill_one(void)
{
  int pid = 0;
  DIR *tasks = opendir("/proc/self/task");
  for (struct dirent *t; tasks && !pid && (t = readdir(tasks)) != NULL;) {
    char path[100];
    snprintf(path, sizeof path, "/proc/self/task/%.20s/children", t->d_name);
    FILE *f = fopen(path, "r");
    if (f && fscanf(f, "%d", &pid) != 1)
      pid = 0;
    if (f)
      fclose(f);
  }
  if (tasks)
    closedir(tasks);
  if (pid > 0 && !kill(pid, SIGKILL))
    count(&tally->killed);
}

/* At moments up to twenty times as far apart as a plan by a new process takes. */
static void *
kill_workers(void *arg)
{
  const double *seconds = arg;
  unsigned seed = 15;
  while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
    usleep((useconds_t)(*seconds * 2e4 * (rand_r(&seed) % 1000)));
    kill_one();
  }
  return NULL;
}

static double
seconds_of_a_plan(void)
{
  struct timespec a, b;
  attnc_plan *p = NULL;
  attnc_context *c = make_context(1);
  clock_gettime(CLOCK_MONOTONIC, &a);
  if (get(c, 0, 0, 0, &p, NULL) != ATTNC_OK)
    complain("plan", "none by attnc-cc");
  clock_gettime(CLOCK_MONOTONIC, &b);
  attnc_plan_release(p);
  attnc_context_release(c);
  return (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9;
}

/* Nothing is kept in the cache, so that each of the contexts compiles every key. */
static void
run_cc(int launches)
{
  pthread_t killer;
  expect(12);
  cc = "1";
  double seconds = seconds_of_a_plan();
  if (pthread_create(&killer, NULL, kill_workers, &seconds))
    complain("thread", "not started");
  for (int i = 0; i < 4; i++) {
    attnc_context *c = make_context(1);
    run_workers(16, &c, 1, 2, launches / 4 + 1);
    attnc_context_release(c);
  }
  __atomic_store_n(&over, 1, __ATOMIC_RELAXED);
  pthread_join(killer, NULL);
  if (waitpid(-1, NULL, WNOHANG) >= 0)
    complain("attnc-cc", "a process is left");
  printf("cc: %d processes killed, ", tally->killed);
}

/* ---- helpers ---- */

enum { CTAS = 40, WORDS = 32 * CTAS, LAUNCHERS = 4 };

static const char triple[] =
    ".version 7.0\n.target sm_80\n.address_size 64\n"
    ".visible .entry k(.param .u64 p) {\n.reg .b32 %r<9>; .reg .b64 %rd<9>;\n"
    "ld.param.u64 %rd1, [p]; mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x;\n"
    "mov.u32 %r3, %ntid.x; mad.lo.u32 %r4, %r2, %r3, %r1; mul.wide.u32 %rd2, %r4, 4;\n"
    "add.s64 %rd1, %rd1, %rd2; ld.global.u32 %r5, [%rd1]; mul.lo.u32 %r5, %r5, 3;\n"
    "st.global.u32 [%rd1], %r5; ret;\n}\n";

static bool
launch_triple(const Driver *d, CUfunction f, CUdeviceptr at)
{
  uint32_t all[WORDS];
  for (uint32_t i = 0; i < WORDS; i++)
    all[i] = i;
  if (d->cuMemcpyHtoD_v2(at, all, sizeof all) ||
      d->cuLaunchKernel(f, CTAS, 1, 1, 32, 1, 1, 0, NULL, (void *[]){&at}, NULL) ||
      d->cuMemcpyDtoH_v2(all, at, sizeof all))
    return false;
  for (uint32_t i = 0; i < WORDS; i++)
    if (all[i] != 3 * i)
      return false;
  return true;
}

static void
count_triple(const Driver *d, CUfunction f, CUdeviceptr at)
{
  count(&tally->launches);
  if (!launch_triple(d, f, at))
    count(&tally->wrong);
}

static void
child_of(const Driver *d, CUfunction f, CUdeviceptr at)
{
  int status = -1;
  pid_t pid = fork();
  if (!pid) {
    alarm(STUCK_SECONDS);
    _exit(!(launch_triple(d, f, at) && launch_triple(d, f, at)));
  }
  if (waitpid(pid, &status, 0) != pid || status)
    complain("child", "failed");
}

static void *
launch_often(void *arg)
{
  const Worker *w = arg;
  Run r;
  CUmodule m;
  CUfunction f;
  CUdeviceptr at;
  if (!open_run(&r, w->device) || r.drv->cuModuleLoadDataEx(&m, triple, 0, NULL, NULL) ||
      r.drv->cuModuleGetFunction(&f, m, "k") || r.drv->cuMemAlloc_v2(&at, 4 * WORDS)) {
    complain("device", "cannot be used");
    return NULL;
  }
  for (int i = 0; i < w->launches; i++) {
    char set[40], why[100];
    snprintf(set, sizeof set, "threads=%d", (i + w->number) % 7);
    if (i % 5 == 0 && r.drv->attncEmuConfigure(set, why, sizeof why))
      complain(set, why);
    count_triple(r.drv, f, at);
    if (i % 50 == 0)
      child_of(r.drv, f, at);
  }
  r.drv->cuMemFree_v2(at);
  r.drv->cuModuleUnload(m);
  close_run(&r);
  return NULL;
}

static void
run_helpers(int launches)
{
  Worker all[LAUNCHERS];
  for (int i = 0; i < LAUNCHERS; i++) {
    all[i] = (Worker){.number = i, .device = i % 2, .launches = launches};
    if (pthread_create(&all[i].thread, NULL, launch_often, &all[i]))
      complain("thread", "not started");
  }
  for (int i = 0; i < LAUNCHERS; i++)
    pthread_join(all[i].thread, NULL);
  printf("helpers: ");
}

/* ---- the end ---- */

/* Nothing torn may be left: every entry is sound. */
static void
check_cache(void)
{
  attnc_error e = {0};
  char *json = NULL, command[100];
  attnc_context *c = make_context(3);
  if (attnc_cache_verify(c, &json, &e) != ATTNC_OK)
    complain("verify", json ? json : e.message);
  attnc_text_free(json);
  attnc_context_release(c);
  snprintf(command, sizeof command, "rm -rf %s", dir);
  if (system(command))
    complain("rm", dir);
}

int
main(int argc, char **argv)
{
  int launches = argc > 2 ? atoi(argv[2]) : 100;
  tally =
      mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  setenv("ATTNC_EMU", "devices=2", 1);
  if (tally == MAP_FAILED || !mkdtemp(dir) || argc < 2)
    return 2;
  if (!strcmp(argv[1], "storm"))
    run_storm(launches);
  else if (!strcmp(argv[1], "threads"))
    run_threads(launches);
  else if (!strcmp(argv[1], "cc"))
    run_cc(launches);
  else if (!strcmp(argv[1], "helpers"))
    run_helpers(launches);
  else
    return 2;
  check_cache();
  printf("%d launches, %d wrong, %d failed\n", tally->launches, tally->wrong,
         tally->failed);
  return tally->wrong || tally->failed || tally->launches < launches;
}
