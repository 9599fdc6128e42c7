/* What whoever operates the library sees: counters, why a kernel was compiled, and that
 * many processes compile it once. */
#include "tests/unit/get_kit.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

/* ---- several processes, one cold key ---- */

enum { PROCESSES = 6 };

/* A process that asks for the plan once `go` is closed by all who write to it, and tells
 * what it counted. */
static pid_t
asker(int go, int not_mine, int tell)
{
  char byte;
  pid_t pid = fork();
  if (pid)
    return pid;
  close(not_mine);
  attnc_context *c = context();
  while (read(go, &byte, 1) > 0)
    continue;
  attnc_plan_release(get(c));
  attnc_stats s = stats_of(c);
  attnc_context_release(c);
  _exit(write(tell, &s, sizeof s) != sizeof s);
}

/* The sum over PROCESSES that ask at once. */
static attnc_stats
all_ask(void)
{
  int go[2], told_by[2];
  pid_t pids[PROCESSES];
  attnc_stats one, sum = {0};
  assert_int_equal(pipe(go), 0);
  assert_int_equal(pipe(told_by), 0);
  for (int i = 0; i < PROCESSES; i++)
    pids[i] = asker(go[0], go[1], told_by[1]);
  close(go[1]);
  for (int i = 0; i < PROCESSES; i++) {
    int status = 1;
    waitpid(pids[i], &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(read(told_by[0], &one, sizeof one), sizeof one);
#define X(name, text) sum.name += one.name;
    ATTNC_STATS_TABLE(X)
#undef X
  }
  close(go[0]);
  close(told_by[0]);
  close(told_by[1]);
  return sum;
}

static void
test_of_many_processes_one_compiles(void **state)
{
  (void)state;
  fake.delay_ms = 100;
  attnc_stats sum = all_ask();
  assert_int_equal(sum.compiles, 1);
  assert_int_equal(sum.stored, 1);
  assert_int_equal(sum.disk_hits + sum.lock_hits, PROCESSES - 1);
  assert_int_equal(sum.loads, PROCESSES);
  assert_int_equal(sum.lock_timeouts, 0);
  assert_in_range(sum.lock_waits, 1, PROCESSES);
  sum = all_ask();
  assert_int_equal(sum.compiles, 0);
  assert_int_equal(sum.disk_hits, PROCESSES);
  assert_int_equal(sum.lock_waits, 0);
}

/* Somebody compiles. */
static void
wait_until_locked(void)
{
  struct flock all = {.l_type = F_UNLCK};
  char path[400];
  snprintf(path, sizeof path, "%s/locks", dir);
  while (all.l_type == F_UNLCK) {
    int fd = open(path, O_RDWR | O_CLOEXEC);
    all = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fd < 0 || fcntl(fd, F_OFD_GETLK, &all))
      all.l_type = F_UNLCK;
    if (fd >= 0)
      close(fd);
    usleep(2000);
  }
}

/* Killed while it compiles, it leaves the lock to the next. */
static void
test_a_compile_that_is_killed(void **state)
{
  (void)state;
  int go[2], tell[2];
  fake.delay_ms = 30000;
  assert_int_equal(pipe(go), 0);
  assert_int_equal(pipe(tell), 0);
  pid_t pid = asker(go[0], go[1], tell[1]);
  close(go[1]);
  wait_until_locked();
  fake.delay_ms = 0;
  pid_t killer = fork();
  if (killer == 0) {
    usleep(100000);
    _exit(kill(pid, SIGKILL) != 0);
  }
  attnc_context *c = context();
  attnc_plan_release(get(c));
  attnc_stats s = stats_of(c);
  assert_int_equal(s.compiles, 1);
  assert_int_equal(s.lock_waits, 1);
  assert_int_equal(s.lock_hits, 0);
  attnc_context_release(c);
  waitpid(pid, NULL, 0);
  waitpid(killer, NULL, 0);
  close(go[0]);
  close(tell[0]);
  close(tell[1]);
}

/* ---- counters ---- */

static void
test_stats(void **state)
{
  (void)state;
  attnc_context *c = context();
  attnc_plan_release(get(c));
  attnc_plan_release(get(c));
  attnc_plan_release(get_on(c, 1, NULL));
  attnc_stats s = stats_of(c);
  assert_int_equal(s.size, sizeof s);
  assert_int_equal(s.plan_hits, 1);
  assert_int_equal(s.kernel_hits, 1);
  assert_int_equal(s.misses, 1);
  assert_int_equal(s.compiles, 1);
  assert_int_equal(s.stored, 1);
  assert_int_equal(s.loads, 2);
  fake.fail = ATTNC_ERR_COMPILE;
  fake.revision = 1;
  attnc_plan *p = NULL;
  assert_int_equal(attnc_plan_get(c, spec, NULL, &p, NULL), ATTNC_ERR_COMPILE);
  fake.fail = ATTNC_OK;
  stub.stub_fail("cuModuleLoadDataEx", 1, CUDA_ERROR_OUT_OF_MEMORY);
  assert_int_equal(attnc_plan_get(c, spec, NULL, &p, NULL), ATTNC_ERR_DEVICE);
  s = stats_of(c);
  assert_int_equal(s.compile_errors, 1);
  assert_int_equal(s.compiles, 2);
  assert_int_equal(s.load_errors, 1);
  attnc_context_release(c);
}

static attnc_status
launch_once(const attnc_plan *p, int64_t b)
{
  attnc_sizes sizes = {.size = sizeof sizes, .b = b, .h = 8, .hk = 8, .sq = 64, .sk = 64};
  attnc_tensor t[5] = {0};
  for (int i = 0; i < 5; i++)
    t[i] = (attnc_tensor){.data = (void *)(uintptr_t)(0x10000 * (i + 1)),
                          .stride = {8 * 64 * 64, 64 * 64, 64, 1}};
  const attnc_args a = {.size = sizeof a,
                        .sizes = &sizes,
                        .tensors = t,
                        .tensor_size = sizeof *t,
                        .n_tensors = 5};
  return attnc_launch(p, &a, NULL, NULL, NULL);
}

enum { LAUNCHES = 500 };

static void *
launch_often(void *plan)
{
  stub_use(0);
  for (intptr_t i = 0; i < LAUNCHES; i++)
    if (launch_once(plan, 1) != ATTNC_OK)
      return (void *)(i + 1);
  return NULL;
}

/* Of all plans and threads; what reaches no driver is none.  Plans that outlive their
 * context launch as before. */
static void
test_launches(void **state)
{
  enum { THREADS = 4 };
  pthread_t threads[THREADS];
  void *bad;
  (void)state;
  attnc_context *c = context(), *other = context();
  attnc_plan *p = get(c), *q = get_on(c, 1, NULL), *elsewhere = get(other);
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, launch_often, p), 0);
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], &bad);
    assert_null(bad);
  }
  assert_int_equal(stats_of(c).launches, THREADS * LAUNCHES);
  assert_int_equal(launch_once(p, 0), ATTNC_OK);         /* an empty grid */
  assert_int_equal(launch_once(p, -1), ATTNC_ERR_SHAPE); /* refused */
  assert_int_equal(launch_once(q, 1), ATTNC_ERR_CONTEXT);
  stub.stub_fail("cuLaunchKernel", 1, CUDA_ERROR_LAUNCH_FAILED);
  assert_int_equal(launch_once(p, 1), ATTNC_ERR_DEVICE);
  stub_use(1);
  assert_int_equal(launch_once(q, 1), ATTNC_OK);
  stub_use(0);
  assert_int_equal(stats_of(c).launches, THREADS * LAUNCHES + 1);
  assert_int_equal(stats_of(other).launches, 0);
  attnc_context_release(c);
  assert_int_equal(launch_once(p, 1), ATTNC_OK);
  attnc_plan_release(p);
  attnc_plan_release(q);
  attnc_plan_release(elsewhere);
  attnc_context_release(other);
}

/* A caller of an older or newer header, and none. */
static void
test_stats_of_other_versions(void **state)
{
  (void)state;
  struct {
    attnc_stats known;
    uint64_t later;
  } wide = {.known.size = sizeof wide, .later = 7};
  attnc_stats few = {.misses = 99};
  attnc_context *c = context();
  attnc_plan_release(get(c));
  few.size = offsetof(attnc_stats, misses);
  assert_int_equal(attnc_context_stats(c, &few, NULL), ATTNC_OK);
  assert_int_equal(few.misses, 99); /* not theirs */
  assert_int_equal(attnc_context_stats(c, &wide.known, NULL), ATTNC_OK);
  assert_int_equal(wide.known.misses, 1);
  assert_int_equal(wide.later, 0);
  attnc_error e = {0};
  few.size = 0;
  assert_int_equal(attnc_context_stats(c, &few, &e), ATTNC_ERR_USAGE);
  assert_int_equal(attnc_context_stats(c, NULL, &e), ATTNC_ERR_USAGE);
  assert_int_equal(attnc_context_stats(NULL, &few, &e), ATTNC_ERR_USAGE);
  assert_int_equal(attnc_stats_prometheus(&few, NULL, 0), 0);
  assert_int_equal(attnc_stats_prometheus(NULL, NULL, 0), 0);
  attnc_context_release(c);
}

static void
test_prometheus(void **state)
{
  (void)state;
  static const attnc_stats s = {.size = sizeof s, .disk_hits = 3, .compile_us = 1000042};
  char text[8192];
  size_t n = attnc_stats_prometheus(&s, text, sizeof text);
  assert_int_equal(n, strlen(text));
  assert_non_null(
      strstr(text, "# HELP attnc_disk_hits_total kernels found in the directory of the "
                   "cache\n# TYPE attnc_disk_hits_total counter\n"
                   "attnc_disk_hits_total 3\n"));
  assert_non_null(strstr(text, "\nattnc_compile_seconds_total 1.000042\n"));
  int lines = 0;
  for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++)
    lines++;
  assert_int_equal(lines, 3 * (sizeof(attnc_stats) / sizeof(uint64_t) - 1));
  char small[101];
  memset(small, 'x', sizeof small);
  assert_int_equal(attnc_stats_prometheus(&s, small, 100), n);
  assert_memory_equal(small, text, 99);
  assert_int_equal(small[99], 0);
  assert_int_equal(small[100], 'x');
}

/* ---- while a stream is captured ---- */

static attnc_status
get_for(attnc_context *c, void *stream, unsigned flags, attnc_error *e)
{
  attnc_plan *p = NULL;
  attnc_problem problem = {.size = sizeof problem, .stream = stream, .flags = flags};
  attnc_status status = attnc_plan_get(c, spec, &problem, &p, e);
  attnc_plan_release(p);
  return status;
}

static void
test_not_prepared(void **state)
{
  static const CUstreamCaptureStatus captured[] = {CU_STREAM_CAPTURE_STATUS_ACTIVE,
                                                   CU_STREAM_CAPTURE_STATUS_INVALIDATED};
  int stream;
  (void)state;
  attnc_context *c = context();
  attnc_error e = {0};
  for (size_t i = 0; i < 2; i++)
    for (unsigned flags = 0; flags <= ATTNC_NOWAIT; flags++) {
      stub.stub_capturing(captured[i]);
      assert_int_equal(get_for(c, &stream, flags, &e), ATTNC_ERR_NOT_PREPARED);
      assert_non_null(strstr(e.message, "by_hand is not loaded"));
    }
  assert_int_equal(fake.compiles, 0);
  assert_int_equal(stub.stub_calls("cuModuleLoadDataEx"), 0);
  assert_int_equal(stub.stub_calls("cuDevicePrimaryCtxRetain"), 1); /* stub_use's */
  assert_int_equal(stats_of(c).not_prepared, 4);
  assert_int_equal(attnc_prepare(c, spec, NULL, NULL, &e), ATTNC_OK);
  int asked = stub.stub_calls("cuStreamIsCapturing");
  assert_int_equal(get_for(c, &stream, 0, &e), ATTNC_OK);
  assert_int_equal(stub.stub_calls("cuStreamIsCapturing"),
                   asked); /* the request is known */
  attnc_context_release(c);
}

/* By another request, one that has not been seen: a schedule that says what is chosen. */
static void
test_prepared_by_another_request(void **state)
{
  int stream;
  (void)state;
  attnc_context *c = context();
  attnc_sizes sizes = {.size = sizeof sizes, .b = 1};
  attnc_problem problem = {.size = sizeof problem, .sizes = &sizes, .stream = &stream};
  attnc_plan *p = NULL;
  assert_int_equal(attnc_prepare(c, spec, NULL, NULL, NULL), ATTNC_OK);
  stub.stub_capturing(CU_STREAM_CAPTURE_STATUS_ACTIVE);
  assert_int_equal(attnc_plan_get(c, spec, &problem, &p, NULL), ATTNC_OK);
  attnc_plan_release(p);
  assert_int_equal(stats_of(c).plan_hits, 1);
  assert_int_equal(stats_of(c).loads, 1);
  attnc_context_release(c);
}

/* Streams that are not captured: none named, the default one, a stream of no capture. */
static void
test_not_captured(void **state)
{
  int stream;
  (void)state;
  attnc_context *c = context();
  assert_int_equal(get_for(c, &stream, 0, NULL), ATTNC_OK);
  fake.revision++;
  stub.stub_capturing(CU_STREAM_CAPTURE_STATUS_ACTIVE);
  assert_int_equal(get_for(c, NULL, 0, NULL), ATTNC_OK);
  fake.revision++;
  assert_int_equal(get_for(c, (void *)1 /* CU_STREAM_LEGACY */, 0, NULL), ATTNC_OK);
  assert_int_equal(stub.stub_calls("cuStreamIsCapturing"), 1);
  fake.revision++;
  attnc_error e = {0};
  stub.stub_fail("cuStreamIsCapturing", 1, CUDA_ERROR_INVALID_HANDLE);
  assert_int_equal(get_for(c, &stream, 0, &e), ATTNC_ERR_DEVICE);
  assert_int_equal(e.driver_code, CUDA_ERROR_INVALID_HANDLE);
  attnc_context_release(c);
}

/* A load disturbs no capture of another thread, and the thread is afterwards as it was. */
static void
test_loads_are_relaxed(void **state)
{
  (void)state;
  attnc_context *c = context();
  assert_int_equal(stub.stub_loaded_in_mode(), -1);
  attnc_plan_release(get(c));
  assert_int_equal(stub.stub_loaded_in_mode(), CU_STREAM_CAPTURE_MODE_RELAXED);
  assert_int_equal(stub.stub_calls("cuThreadExchangeStreamCaptureMode"), 2);
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  stub.cuThreadExchangeStreamCaptureMode(&mode);
  assert_int_equal(mode, CU_STREAM_CAPTURE_MODE_GLOBAL);
  attnc_context_release(c);
}

/* ---- why it is a miss ---- */

static void
test_a_miss_says_why(void **state)
{
  (void)state;
  attnc_context *c = context();
  char why[600] = "";
  miss_heard = why;
  attnc_plan_release(get(c));
  assert_string_equal(why, "miss: by_hand for sm_80 is in no cache, the first of that name "
                           "here");
  fake.revision = 1;
  attnc_plan_release(get(c));
  assert_non_null(strstr(why, "unlike the last that was not: options=["));
  assert_null(strstr(why, "target"));
  attnc_schedule want = {.size = sizeof want, .block_m = 32};
  attnc_plan_release(get_on(c, 0, &want));
  assert_non_null(strstr(why, "unlike the last that was not: schedule=["));
  assert_null(strstr(why, "options"));
  miss_heard = NULL;
  attnc_context_release(c);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      GET_TEST(test_of_many_processes_one_compiles),
      GET_TEST(test_a_compile_that_is_killed),
      GET_TEST(test_stats),
      GET_TEST(test_launches),
      GET_TEST(test_stats_of_other_versions),
      GET_TEST(test_prometheus),
      GET_TEST(test_not_prepared),
      GET_TEST(test_prepared_by_another_request),
      GET_TEST(test_not_captured),
      GET_TEST(test_loads_are_relaxed),
      GET_TEST(test_a_miss_says_why),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
