/* Forks of a busy process, with the real compiler and an emulated device: threads compile,
 * launch and ask behind while the process forks.  Each child makes a context of its own,
 * compiles, launches and finds the right result, and gives back what it inherited; none
 * ever waits for a thread that it has not.  The argument is the number of forks. */
#include "tests/unit/rt.h"

#include "runtime/drv.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

enum { H = 1, S = 16, D = 16, N = H * S * D, THREADS = 3, CHILD_SECONDS = 60 };

static int forks = 20;
static attnc_context *ctx;
static int busy, stop;            /* atomic */
static const char *parent_failed; /* atomic: what a thread of the parent could not do */

static attnc_context *
make_context(attnc_error *e)
{
  attnc_context *c = NULL;
  attnc_options o = {.size = sizeof o, .libcuda = EMULATOR, .cache = 1};
  return attnc_context_create(&o, &c, e) == ATTNC_OK ? c : NULL;
}

/* Another kernel for each i: the scale is a constant of it. */
static attnc_spec *
make_spec(int i)
{
  char text[200];
  attnc_spec *spec = NULL;
  int n =
      snprintf(text, sizeof text,
               "attnc: 1\nname: f\ndtype: fp16\nhead_dim: 16\nspecialize: "
               "[softmax_scale]\nsoftmax_scale: 0.%04d\nschedule: {template: ref_fwd}\n",
               i % 9000 + 1000);
  return attnc_spec_load(text, (size_t)n, "f", &spec, NULL) == ATTNC_OK ? spec : NULL;
}

static const attnc_sizes sizes = {
    .size = sizeof sizes, .b = 1, .h = H, .hk = H, .sq = S, .sk = S};

static attnc_status
plan_for(attnc_context *c, const attnc_spec *spec, uint32_t flags, attnc_plan **p,
         attnc_error *e)
{
  attnc_problem problem = {.size = sizeof problem, .device = 1, .flags = flags};
  problem.sizes = &sizes;
  return attnc_plan_get(c, spec, &problem, p, e);
}

/* ---- a launch and its result ---- */

typedef struct Run {
  const Driver *drv;
  uint16_t host[4][N];
  attnc_tensor tensors[4];
} Run;

static bool
fill(Run *r)
{
  for (int t = 0; t < 4; t++) {
    CUdeviceptr at = 0;
    for (int i = 0; i < N; i++)
      r->host[t][i] = (uint16_t)(0x3400 + (i * 37 + t * 11) % 900); /* 0.25 … 0.5 */
    if (r->drv->cuMemAlloc_v2(&at, sizeof r->host[t]) ||
        r->drv->cuMemcpyHtoD_v2(at, r->host[t], sizeof r->host[t]))
      return false;
    r->tensors[t] = (attnc_tensor){(void *)(uintptr_t)at, {N, S * D, D, 1, 0}};
  }
  return true;
}

static bool
right(Run *r, const attnc_spec *spec)
{
  attnc_verdict verdict = {.size = sizeof verdict};
  attnc_tensor host[4];
  attnc_args args = {.size = sizeof args, .tensors = host, .n_tensors = 4};
  args.sizes = &sizes;
  args.tensor_size = sizeof *args.tensors;
  CUdeviceptr o = (CUdeviceptr)(uintptr_t)r->tensors[3].data;
  for (int t = 0; t < 4; t++) {
    host[t] = r->tensors[t];
    host[t].data = r->host[t];
  }
  return !r->drv->cuMemcpyDtoH_v2(r->host[3], o, sizeof r->host[3]) &&
         attnc_verify(spec, ATTNC_OP_FWD, &args, &verdict, NULL) == ATTNC_OK &&
         verdict.pass;
}

static bool
launch(const attnc_plan *p, Run *r, const attnc_spec *spec)
{
  attnc_args args = {.size = sizeof args, .tensors = r->tensors, .n_tensors = 4};
  args.sizes = &sizes;
  args.tensor_size = sizeof *args.tensors;
  return attnc_launch(p, &args, NULL, NULL, NULL) == ATTNC_OK &&
         !r->drv->cuCtxSynchronize() && right(r, spec);
}

/* Compile, load, launch, verify.  NULL, or what failed. */
static const char *
work_once(attnc_context *c, int i)
{
  static _Thread_local Run r;
  CUcontext context;
  attnc_plan *p = NULL;
  attnc_spec *spec = make_spec(i);
  const char *failed = NULL;
  if (!spec || drv_open(EMULATOR, &r.drv, NULL) != ATTNC_OK)
    return "open";
  if (r.drv->cuDevicePrimaryCtxRetain(&context, 0) || r.drv->cuCtxSetCurrent(context))
    failed = "context";
  else if (!fill(&r))
    failed = "fill";
  else if (plan_for(c, spec, 0, &p, NULL) != ATTNC_OK)
    failed = "plan";
  else if (!launch(p, &r, spec))
    failed = "launch";
  attnc_plan_release(p);
  for (int t = 0; t < 4; t++)
    r.drv->cuMemFree_v2((CUdeviceptr)(uintptr_t)r.tensors[t].data);
  r.drv->cuCtxSetCurrent(NULL);
  r.drv->cuDevicePrimaryCtxRelease_v2(0);
  drv_close(r.drv);
  attnc_spec_release(spec);
  return failed;
}

/* ---- the busy parent ---- */

static void *
be_busy(void *arg)
{
  int mine = *(int *)arg;
  for (int i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
    if (!__atomic_load_n(&busy, __ATOMIC_RELAXED)) {
      usleep(500);
      continue;
    }
    attnc_plan *p = NULL;
    attnc_spec *spec = make_spec(mine * 1000 + i);
    const char *failed = work_once(ctx, i % 3 ? mine : mine * 1000 + i);
    if (failed)
      __atomic_store_n(&parent_failed, failed, __ATOMIC_RELAXED);
    plan_for(ctx, spec, ATTNC_NOWAIT, &p, NULL);
    attnc_plan_release(p);
    attnc_spec_release(spec);
  }
  return NULL;
}

/* In a child: its own work, then what it inherited.  The exit status says what failed. */
static int
be_a_child(int i, const attnc_plan *inherited)
{
  attnc_error e = {0};
  attnc_plan *p = NULL;
  alarm(CHILD_SECONDS); /* ends a child that hangs */
  attnc_spec *spec = make_spec(i);
  if (plan_for(ctx, spec, 0, &p, &e) != ATTNC_ERR_USAGE || !strstr(e.message, "fork"))
    return 2;
  if (plan_for(ctx, spec, ATTNC_NOWAIT, &p, &e) != ATTNC_ERR_USAGE)
    return 3;
  attnc_context *own = make_context(&e);
  if (!own)
    return 4;
  const char *failed = work_once(own, 7000 + i);
  if (failed) {
    fprintf(stderr, "child %d: %s\n", i, failed);
    return 5;
  }
  if (!attnc_context_json(ctx) || !attnc_plan_json(inherited))
    return 6;
  attnc_plan_release((attnc_plan *)inherited);
  attnc_context_release(ctx);
  attnc_context_release(own);
  attnc_spec_release(spec);
  return 0;
}

static void
test_forks_of_a_busy_process(void **state)
{
  pthread_t threads[THREADS];
  int numbers[THREADS];
  attnc_plan *held = NULL;
  (void)state;
#if defined(__SANITIZE_ADDRESS__)
  skip(); /* gcc 12's own allocator keeps its locks over a fork: the child's malloc hangs */
#endif
  attnc_spec *spec = make_spec(1);
  ctx = make_context(NULL);
  assert_non_null(ctx);
  assert_int_equal(plan_for(ctx, spec, 0, &held, NULL), ATTNC_OK);
  for (int i = 0; i < THREADS; i++) {
    numbers[i] = i;
    assert_int_equal(pthread_create(&threads[i], NULL, be_busy, &numbers[i]), 0);
  }
  for (int i = 0; i < forks; i++) {
    int status = -1;
    __atomic_store_n(&busy, 1, __ATOMIC_RELAXED);
    usleep((useconds_t)(5000 + i * 7919 % 40000)); /* at another moment each time */
    pid_t pid = fork();
    if (pid == 0)
      _exit(be_a_child(i, held));
    __atomic_store_n(&busy, 0, __ATOMIC_RELAXED); /* the child has the processor */
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status)
      fail_msg("child %d: %s %d", i, WIFSIGNALED(status) ? "signal" : "exit",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  }
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  if (parent_failed)
    fail_msg("%s", parent_failed);
  attnc_plan_release(held);
  attnc_context_release(ctx);
  attnc_spec_release(spec);
}

/* Threads behind that wait for work are not in the child. */
static void
test_release_after_nowait(void **state)
{
  attnc_plan *p = NULL;
  attnc_spec *spec = make_spec(2);
  attnc_status status = ATTNC_ERR_PENDING;
  int code = -1;
  (void)state;
  attnc_context *c = make_context(NULL);
  while (status == ATTNC_ERR_PENDING) {
    status = plan_for(c, spec, ATTNC_NOWAIT, &p, NULL);
    usleep(1000);
  }
  assert_int_equal(status, ATTNC_OK);
  attnc_plan_release(p);
  pid_t pid = fork();
  if (pid == 0) {
    alarm(CHILD_SECONDS);
    attnc_context_release(c);
    _exit(0);
  }
  assert_int_equal(waitpid(pid, &code, 0), pid);
  assert_int_equal(code, 0);
  attnc_context_release(c);
  attnc_spec_release(spec);
}

int
main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_release_after_nowait),
      cmocka_unit_test(test_forks_of_a_busy_process),
  };
  if (argc > 1)
    forks = atoi(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
