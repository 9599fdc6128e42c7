/* What orders work of different streams, and what does not; cooperative launches and the
 * attributes of launches. */
#include "tests/unit/emu_kit.h"

enum { THREADS = 32, BYTES = 4 * THREADS };

static const char add_one[] =
    KIT_HEAD("8.0", "sm_90") KIT_ENTRY "ld.global.u32 %r2, [%rd2];\nadd.u32 %r2, %r2, 1;\n"
                                       "st.global.u32 [%rd2], %r2;\nret;\n}\n";
static const char read_only[] =
    KIT_HEAD("8.0", "sm_90") KIT_ENTRY "ld.global.u32 %r2, [%rd2];\nret;\n}\n";
static const char count[] =
    KIT_HEAD("8.0", "sm_90") KIT_ENTRY "red.global.add.u32 [%rd2], 1;\nret;\n}\n";

static CUmodule modules[3];
static CUfunction adds, reads, counts;

static CUresult
launch(CUfunction f, CUstream s, CUdeviceptr p)
{
  return cuLaunchKernel(f, 1, 1, 1, THREADS, 1, 1, 0, s, (void *[]){&p}, NULL);
}

/* ---- order ---- */

typedef enum Between {
  NOTHING,
  EVENT,        /* of the first, for which the second waits */
  EARLY_EVENT,  /* that was recorded before the first's work */
  SYNC_FIRST,   /* the host waits for the first stream, */
  SYNC_SECOND,  /* the second, */
  QUERY_FIRST,  /* asks the first whether it is ready, */
  SYNC_EVENT,   /* waits for the event, */
  SYNC_CONTEXT, /* for everything, */
  FREE,         /* or frees memory, which waits as well */
  LEGACY_WORK,  /* something in the legacy stream */
  THIRD_STREAM, /* event to a third stream, and from there to the second */
} Between;

typedef enum Kind { BLOCKING, FREE_RUNNING, LEGACY, THREAD } Kind;

static const struct {
  Kind first, second;
  Between between;
  bool found;
} rows[] = {
    {FREE_RUNNING, FREE_RUNNING, NOTHING, true},
    {FREE_RUNNING, FREE_RUNNING, EVENT, false},
    {FREE_RUNNING, FREE_RUNNING, EARLY_EVENT, true},
    {FREE_RUNNING, FREE_RUNNING, SYNC_FIRST, false},
    {FREE_RUNNING, FREE_RUNNING, SYNC_SECOND, true},
    {FREE_RUNNING, FREE_RUNNING, QUERY_FIRST, false},
    {FREE_RUNNING, FREE_RUNNING, SYNC_EVENT, false},
    {FREE_RUNNING, FREE_RUNNING, SYNC_CONTEXT, false},
    {FREE_RUNNING, FREE_RUNNING, FREE, false},
    {FREE_RUNNING, FREE_RUNNING, LEGACY_WORK, true},
    {FREE_RUNNING, FREE_RUNNING, THIRD_STREAM, false},
    {BLOCKING, BLOCKING, NOTHING, true},
    {BLOCKING, BLOCKING, LEGACY_WORK, false},
    {BLOCKING, FREE_RUNNING, LEGACY_WORK, true},
    {BLOCKING, LEGACY, NOTHING, false},
    {LEGACY, BLOCKING, NOTHING, false},
    {LEGACY, FREE_RUNNING, NOTHING, true},
    {FREE_RUNNING, LEGACY, NOTHING, true},
    {LEGACY, THREAD, NOTHING, false},
    {THREAD, LEGACY, NOTHING, false},
    {THREAD, BLOCKING, NOTHING, true},
    {THREAD, BLOCKING, LEGACY_WORK, false},
};

static CUstream
make(Kind k)
{
  CUstream s = k == LEGACY ? NULL : (CUstream)(uintptr_t)2;
  if (k <= FREE_RUNNING)
    OK(cuStreamCreate(&s, k == BLOCKING ? 0 : CU_STREAM_NON_BLOCKING));
  return s;
}

static void
come_between(Between what, CUevent e, CUstream first, CUstream second, CUdeviceptr other)
{
  CUstream third;
  CUdeviceptr p;
  if (what == EVENT || what == SYNC_EVENT || what == THIRD_STREAM)
    OK(cuEventRecord(e, first));
  if (what == EVENT || what == EARLY_EVENT)
    OK(cuStreamWaitEvent(second, e, 0));
  if (what == SYNC_EVENT)
    OK(cuEventSynchronize(e));
  if (what == SYNC_FIRST || what == SYNC_SECOND)
    OK(cuStreamSynchronize(what == SYNC_FIRST ? first : second));
  if (what == QUERY_FIRST)
    OK(cuStreamQuery(first));
  if (what == SYNC_CONTEXT)
    OK(cuCtxSynchronize());
  if (what == LEGACY_WORK)
    OK(launch(adds, NULL, other));
  if (what == FREE) {
    OK(cuMemAlloc_v2(&p, 4));
    OK(cuMemFree_v2(p));
  }
  if (what == THIRD_STREAM) {
    OK(cuStreamCreate(&third, CU_STREAM_NON_BLOCKING));
    OK(cuStreamWaitEvent(third, e, 0));
    OK(cuEventRecord(e, third));
    OK(cuStreamWaitEvent(second, e, 0));
    OK(cuStreamDestroy_v2(third));
  }
}

static void
order(void **state)
{
  CUevent e;
  CUdeviceptr p, other;
  (void)state;
  OK(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
  OK(cuMemAlloc_v2(&p, BYTES));
  OK(cuMemAlloc_v2(&other, BYTES));
  OK(cuMemsetD8_v2(p, 0, BYTES));
  OK(cuMemsetD8_v2(other, 0, BYTES));
  OK(cuCtxSynchronize());
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    CUstream first = make(rows[i].first), second = make(rows[i].second);
    OK(cuEventRecord(e, first));
    OK(launch(adds, first, p));
    come_between(rows[i].between, e, first, second, other);
    OK(launch(adds, second, p));
    const char *text = kit_findings();
    if (rows[i].found ? !strstr(text, "error[stream-order]: reads global memory") : *text)
      fail_msg("row %zu: %s", i, text);
    if (rows[i].first <= FREE_RUNNING)
      OK(cuStreamDestroy_v2(first));
    if (rows[i].second <= FREE_RUNNING)
      OK(cuStreamDestroy_v2(second));
    OK(cuCtxSynchronize());
  }
  OK(cuEventDestroy_v2(e));
  OK(cuMemFree_v2(p));
  OK(cuMemFree_v2(other));
}

/* ---- what is a conflict ---- */

typedef enum Does { ADD, READ, COUNT, SET, TAKE, PUT, LOOK, HOST_TAKE, HOST_PUT } Does;

/* In a stream: kernels, memset, copies of the device and of the host; by the host: copies
 * that it waits for. */
static void
act(Does what, CUstream s, CUdeviceptr p, CUdeviceptr q)
{
  static uint32_t words[THREADS];
  CUfunction f = what == ADD ? adds : what == READ ? reads : counts;
  if (what <= COUNT)
    OK(launch(f, s, p));
  if (what == SET)
    OK(cuMemsetD32Async(p, 1, THREADS, s));
  if (what == TAKE)
    OK(cuMemcpyDtoDAsync_v2(q, p, BYTES, s));
  if (what == PUT)
    OK(cuMemcpyHtoDAsync_v2(p, words, BYTES, s));
  if (what == LOOK)
    OK(cuMemcpyDtoHAsync_v2(words, p, BYTES, s));
  if (what == HOST_TAKE)
    OK(cuMemcpyDtoH_v2(words, p, BYTES));
  if (what == HOST_PUT)
    OK(cuMemcpyHtoD_v2(p, words, BYTES));
}

/* One of each pair writes, and not both are atomic. */
static bool
conflict(Does a, Does b)
{
  bool reads_a = a == READ || a == TAKE || a == LOOK || a == HOST_TAKE;
  bool reads_b = b == READ || b == TAKE || b == LOOK || b == HOST_TAKE;
  return !(reads_a && reads_b) && !(a == COUNT && b == COUNT);
}

static void
conflicts(void **state)
{
  CUdeviceptr p, q[2];
  CUstream s, t;
  (void)state;
  OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
  OK(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
  OK(cuMemAlloc_v2(&p, BYTES));
  OK(cuMemAlloc_v2(&q[0], BYTES));
  OK(cuMemAlloc_v2(&q[1], BYTES));
  OK(cuMemsetD8_v2(p, 0, BYTES));
  for (Does a = ADD; a <= LOOK; a++)
    for (Does b = ADD; b <= HOST_PUT; b++) {
      OK(cuCtxSynchronize());
      act(a, s, p, q[0]);
      act(b, t, p, q[1]);
      const char *text = kit_findings();
      if (conflict(a, b) ? !strstr(text, "error[stream-order]") : *text)
        fail_msg("%d and %d: %s", (int)a, (int)b, text);
    }
  /* beside each other in an allocation is no conflict */
  OK(cuCtxSynchronize());
  OK(cuMemsetD8Async(p, 0, BYTES / 2, s));
  OK(cuMemsetD8Async(p + BYTES / 2, 0, BYTES / 2, t));
  kit_no_findings();
  OK(cuStreamDestroy_v2(s));
  OK(cuStreamDestroy_v2(t));
  OK(cuMemFree_v2(p));
  OK(cuMemFree_v2(q[0]));
  OK(cuMemFree_v2(q[1]));
}

/* What is known reaches over the last 1024 launches: no finding where there is order, and
 * one where there is none, before and after the numbers come round. */
static void
many(void **state)
{
  CUdeviceptr p;
  CUstream s, t;
  CUevent e;
  (void)state;
  OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
  OK(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
  OK(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
  OK(cuMemAlloc_v2(&p, BYTES));
  OK(cuMemsetD8_v2(p, 0, BYTES));
  OK(cuCtxSynchronize());
  for (int i = 0; i < 1300; i++) {
    CUstream a = i % 2 ? s : t, b = i % 2 ? t : s;
    OK(launch(adds, a, p));
    OK(cuEventRecord(e, a));
    OK(cuStreamWaitEvent(b, e, 0));
    kit_no_findings();
  }
  int found = 0;
  for (int i = 0; i < 1300; i++) {
    OK(launch(adds, i % 2 ? s : t, p));
    found += *kit_findings() != 0;
  }
  assert_true(found >= 1296); /* one is lost where the numbers come round */
  OK(cuStreamDestroy_v2(s));
  OK(cuStreamDestroy_v2(t));
  OK(cuEventDestroy_v2(e));
  OK(cuMemFree_v2(p));
}

/* ---- attributes ---- */

static CUresult
with(const CUlaunchAttribute *a, unsigned n, CUstream s, CUdeviceptr p)
{
  CUlaunchConfig c = {.gridDimX = 4,
                      .gridDimY = 1,
                      .gridDimZ = 1,
                      .blockDimX = THREADS,
                      .blockDimY = 1,
                      .blockDimZ = 1,
                      .hStream = s,
                      .attrs = (CUlaunchAttribute *)(uintptr_t)a,
                      .numAttrs = n};
  return cuLaunchKernelEx(&c, reads, (void *[]){&p}, NULL);
}

static void
attributes(void **state)
{
  static const struct {
    CUlaunchAttribute a;
    CUresult want;
  } each[] = {
      {{.id = CU_LAUNCH_ATTRIBUTE_IGNORE}, CUDA_SUCCESS},
      {{.id = CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW}, CUDA_SUCCESS},
      {{.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE, .value.cooperative = 1}, CUDA_SUCCESS},
      {{.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, .value.clusterDim = {2, 1, 1}},
       CUDA_SUCCESS},
      {{.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, .value.clusterDim = {2, 0, 1}},
       CUDA_ERROR_INVALID_VALUE},
      {{.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE,
        .value.clusterSchedulingPolicyPreference = 2},
       CUDA_SUCCESS},
      {{.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE,
        .value.clusterSchedulingPolicyPreference = 3},
       CUDA_ERROR_INVALID_VALUE},
      {{.id = CU_LAUNCH_ATTRIBUTE_PRIORITY, .value.priority = -2}, CUDA_SUCCESS},
      {{.id = CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP, .value.memSyncDomainMap = {0, 3}},
       CUDA_SUCCESS},
      {{.id = CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP, .value.memSyncDomainMap = {0, 4}},
       CUDA_ERROR_INVALID_VALUE},
      {{.id = CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN, .value.memSyncDomain = 1}, CUDA_SUCCESS},
      {{.id = CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN, .value.memSyncDomain = 2},
       CUDA_ERROR_INVALID_VALUE},
      {{.id = CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION,
        .value.preferredClusterDim = {4, 1, 1}},
       CUDA_SUCCESS},
      {{.id = CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION,
        .value.preferredClusterDim = {3, 1, 1}},
       CUDA_ERROR_INVALID_VALUE},
      {{.id = CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT,
        .value.sharedMemCarveout = 100},
       CUDA_SUCCESS},
      {{.id = CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT,
        .value.sharedMemCarveout = 101},
       CUDA_ERROR_INVALID_VALUE},
      {{.id = CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT}, CUDA_ERROR_INVALID_VALUE},
      {{.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT}, CUDA_ERROR_NOT_SUPPORTED},
      {{.id = CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY}, CUDA_ERROR_NOT_SUPPORTED},
      {{.id = CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE}, CUDA_ERROR_NOT_SUPPORTED},
      {{.id = (CUlaunchAttributeID)99}, CUDA_ERROR_NOT_SUPPORTED},
  };
  CUdeviceptr p;
  (void)state;
  OK(cuMemAlloc_v2(&p, BYTES));
  OK(cuMemsetD8_v2(p, 0, BYTES));
  for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
    CUresult r = with(&each[i].a, 1, NULL, p);
    if (r != each[i].want)
      fail_msg("row %zu: %d", i, r);
  }
  const char *text = kit_findings();
  assert_non_null(strstr(text, "error[launch-attribute]: CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_"
                               "EVENT is not emulated"));
  assert_non_null(strstr(text, "error[launch-attribute]: attribute 99 is not emulated"));
  OK(cuMemFree_v2(p));
}

/* It tells that the kernel has begun, and so that what came before it is over; the kernel
 * itself may not be. */
static void
launch_completion(void **state)
{
  CUdeviceptr p, q;
  CUstream s, t;
  CUevent e, timing;
  CUlaunchAttribute a = {.id = CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT};
  (void)state;
  OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
  OK(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
  OK(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
  OK(cuEventCreate(&timing, CU_EVENT_DEFAULT));
  OK(cuMemAlloc_v2(&p, BYTES));
  OK(cuMemAlloc_v2(&q, BYTES));
  OK(cuMemsetD8Async(p, 0, BYTES, s));
  OK(cuMemsetD8Async(q, 0, BYTES, s));
  a.value.launchCompletionEvent.event = timing;
  assert_int_equal(with(&a, 1, s, q), CUDA_ERROR_INVALID_VALUE);
  a.value.launchCompletionEvent.event = e;
  OK(with(&a, 1, s, q));
  OK(cuStreamWaitEvent(t, e, 0));
  OK(cuMemsetD8Async(p, 1, BYTES, t));
  kit_no_findings();
  OK(cuMemsetD8Async(q, 1, BYTES, t));
  kit_found("error[stream-order]: ");
  OK(cuStreamDestroy_v2(s));
  OK(cuStreamDestroy_v2(t));
  OK(cuEventDestroy_v2(e));
  OK(cuEventDestroy_v2(timing));
  OK(cuMemFree_v2(p));
  OK(cuMemFree_v2(q));
}

/* ---- cooperative launches ---- */

/* Each CTA writes its word, meets all others, and takes the word of the one before it. */
static const char meeting[] = KIT_HEAD(
    "8.0",
    "sm_90") ".visible .entry k(.param .u64 p) {\n"
             ".reg .pred %p<4>; .reg .b32 %r<20>; .reg .b64 %rd<20>;\n"
             "ld.param.u64 %rd1, [p]; mov.u32 %r1, %ctaid.x; mov.u32 %r2, %nctaid.x;\n"
             "mov.u32 %r9, %tid.x; setp.ne.u32 %p1, %r9, 0; @%p1 bra END;\n"
             "mul.wide.u32 %rd2, %r1, 4; add.s64 %rd2, %rd1, %rd2;\n"
             "add.u32 %r3, %r1, 1000;\nst.global.u32 [%rd2 + 64], %r3;\n"
             "fence.acq_rel.gpu;\natom.relaxed.gpu.global.add.u32 %r4, [%rd1], 1;\n"
             "AGAIN: ld.relaxed.gpu.global.u32 %r4, [%rd1];\nsetp.lt.u32 %p2, %r4, %r2;\n"
             "@%p2 bra AGAIN;\nfence.acq_rel.gpu;\n"
             "add.u32 %r5, %r1, %r2; sub.u32 %r5, %r5, 1; rem.u32 %r5, %r5, %r2;\n"
             "mul.wide.u32 %rd3, %r5, 4; add.s64 %rd3, %rd1, %rd3;\n"
             "ld.global.u32 %r6, [%rd3 + 64];\n"
             "mul.wide.u32 %rd4, %r2, 4; add.s64 %rd4, %rd2, %rd4;\n"
             "st.global.u32 [%rd4 + 64], %r6;\nEND: ret;\n}\n";

enum { CTAS = 300 };

static void
cooperative(void **state)
{
  static const char *const settings[] = {"threads=1", "threads=4"};
  static uint32_t words[16 + 2 * CTAS];
  CUmodule m;
  CUdeviceptr p;
  (void)state;
  CUfunction f = kit_function(meeting, &m);
  OK(cuMemAlloc_v2(&p, sizeof words));
  for (int i = 0; i < 4; i++) {
    kit_set(settings[i % 2]);
    memset(words, 0, sizeof words);
    OK(cuMemcpyHtoD_v2(p, words, sizeof words));
    /* in a stream, and as a node */
    CUstream s;
    CUgraph g;
    CUgraphExec e;
    OK(cuStreamCreate(&s, 0));
    if (i >= 2)
      OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(cuLaunchCooperativeKernel(f, CTAS, 1, 1, 64, 1, 1, 0, s, (void *[]){&p}));
    if (i >= 2) {
      OK(cuStreamEndCapture(s, &g));
      OK(cuGraphInstantiateWithFlags(&e, g, 0));
      OK(cuGraphLaunch(e, s));
      OK(cuGraphDestroy(g));
      OK(cuGraphExecDestroy(e));
    }
    OK(cuStreamDestroy_v2(s));
    OK(cuCtxSynchronize());
    OK(cuMemcpyDtoH_v2(words, p, sizeof words));
    for (uint32_t k = 0; k < CTAS; k++)
      assert_int_equal(words[16 + CTAS + k], 1000 + (k + CTAS - 1) % CTAS);
    kit_no_findings();
  }
  kit_set("threads=0");
  OK(cuMemFree_v2(p));
  OK(cuModuleUnload(m));
}

/* As many CTAs as fit on all multiprocessors, and one more. */
static void
residency(void **state)
{
  int blocks, sms, n;
  CUdeviceptr p;
  (void)state;
  OK(cuMemAlloc_v2(&p, 4 * 1024));
  OK(cuMemsetD8_v2(p, 0, 4 * 1024));
  OK(cuDeviceGetAttribute(&sms, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 0));
  OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, reads, 1024, 0));
  assert_int_equal(blocks, 2);
  unsigned most = (unsigned)(blocks * sms);
  OK(cuLaunchCooperativeKernel(reads, most, 1, 1, 1024, 1, 1, 0, NULL, (void *[]){&p}));
  assert_int_equal(
      cuLaunchCooperativeKernel(reads, most + 1, 1, 1, 1024, 1, 1, 0, NULL, (void *[]){&p}),
      CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
  OK(cuLaunchKernel(reads, most + 1, 1, 1, 1024, 1, 1, 0, NULL, (void *[]){&p}, NULL));
  assert_int_equal(
      cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(&n, reads, 64, 0, 2),
      CUDA_ERROR_INVALID_VALUE);
  OK(cuMemFree_v2(p));
}

static size_t
bytes_of(int block)
{
  return (size_t)block * 400;
}

static void
occupancy_queries(void **state)
{
  int grid, block, n;
  size_t dynamic;
  CUlaunchAttribute a = {.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
                         .value.clusterDim = {4, 1, 1}};
  CUlaunchConfig c = {.gridDimX = 8,
                      .gridDimY = 1,
                      .gridDimZ = 1,
                      .blockDimX = 1024,
                      .blockDimY = 1,
                      .blockDimZ = 1,
                      .attrs = &a,
                      .numAttrs = 1};
  (void)state;
  OK(cuOccupancyMaxPotentialBlockSize(&grid, &block, reads, NULL, 0, 0));
  assert_int_equal(block, 1024);
  assert_int_equal(grid, 2 * 132);
  OK(cuOccupancyMaxPotentialBlockSize(&grid, &block, reads, NULL, 0, 600));
  assert_true(block <= 600 && block % 32 == 0);
  /* 400 bytes a thread: 228 KB, less 1 KB a CTA, are for 576 threads at most */
  OK(cuOccupancyMaxPotentialBlockSize(&grid, &block, reads, bytes_of, 0, 0));
  assert_int_equal(grid / 132 * block, 576);
  OK(cuOccupancyAvailableDynamicSMemPerBlock(&dynamic, reads, 4, 128));
  assert_int_equal(dynamic, 228 * 1024 / 4 - 1024);
  OK(cuOccupancyMaxPotentialClusterSize(&n, reads, &c));
  assert_int_equal(n, 8);
  OK(cuOccupancyMaxActiveClusters(&n, reads, &c));
  assert_int_equal(n, 64); /* 8 groups, 16 multiprocessors, 2 CTAs, by 4 */
}

/* Events reach over devices, streams and their records do not. */
static void
two_devices(void **state)
{
  CUcontext other;
  CUevent e;
  CUstream s, t;
  (void)state;
  OK(cuStreamCreate(&s, 0));
  OK(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
  OK(cuEventRecord(e, s));
  OK(cuDevicePrimaryCtxRetain(&other, 1));
  OK(cuCtxPushCurrent_v2(other));
  OK(cuStreamCreate(&t, 0));
  OK(cuStreamWaitEvent(t, e, 0));
  OK(cuEventSynchronize(e));
  OK(cuEventQuery(e));
  assert_int_equal(cuEventRecord(e, t), CUDA_ERROR_INVALID_HANDLE);
  assert_int_equal(cuStreamWaitEvent(s, e, 0), CUDA_ERROR_INVALID_HANDLE);
  OK(cuStreamDestroy_v2(t));
  OK(cuCtxPopCurrent_v2(NULL));
  OK(cuDevicePrimaryCtxRelease_v2(1));
  OK(cuEventDestroy_v2(e));
  assert_int_equal(cuStreamWaitEvent(s, e, 0), CUDA_ERROR_INVALID_HANDLE);
  OK(cuStreamDestroy_v2(s));
}

static int
load(void **state)
{
  (void)state;
  adds = kit_function(add_one, &modules[0]);
  reads = kit_function(read_only, &modules[1]);
  counts = kit_function(count, &modules[2]);
  return 0;
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(order),
      cmocka_unit_test(conflicts),
      cmocka_unit_test(many),
      cmocka_unit_test(attributes),
      cmocka_unit_test(launch_completion),
      cmocka_unit_test(cooperative),
      cmocka_unit_test(residency),
      cmocka_unit_test(occupancy_queries),
      cmocka_unit_test(two_devices),
  };
  kit_start("arch=sm_90,devices=2");
  return cmocka_run_group_tests(tests, load, NULL);
}
