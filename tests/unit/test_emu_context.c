/* Devices and contexts: what a device says of itself on every chip, and what belongs to
 * which context. */
#include "tests/unit/emu_kit.h"

static const char module_text[] = KIT("");

static void
attributes(void **state)
{
  static const struct {
    CUdevice_attribute a;
    int want;
  } rows[] = {{CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 64},
              {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, INT32_MAX},
              {CU_DEVICE_ATTRIBUTE_PCI_BUS_ID, 2},
              {CU_DEVICE_ATTRIBUTE_NUMA_ID, -1},
              {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1},
              {CU_DEVICE_ATTRIBUTE_VIRTUAL_ADDRESS_MANAGEMENT_SUPPORTED, 0},
              {CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO, 2},
              {CU_DEVICE_ATTRIBUTE_MAX_PERSISTING_L2_CACHE_SIZE, 39321600},
              {CU_DEVICE_ATTRIBUTE_TENSOR_MAP_ACCESS_SUPPORTED, 1},
              {CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH, 1}};
  int v, major, minor;
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    OK(cuDeviceGetAttribute(&v, rows[i].a, 1));
    if (v != rows[i].want)
      fail_msg("attribute %d is %d, not %d", (int)rows[i].a, v, rows[i].want);
  }
#define X(name, value)                                                                     \
  if (cuDeviceGetAttribute(&v, name, 0))                                                   \
    fail_msg(#name);
  CUDA_DEVICE_ATTRIBUTE_TABLE(X)
#undef X
  OK(cuDeviceComputeCapability(&major, &minor, 0));
  assert_int_equal(major * 10 + minor, 90);
}

static void
identity(void **state)
{
  CUuuid a, b;
  CUdevice d;
  char text[20], small[5];
  int can;
  (void)state;
  OK(cuDeviceGetUuid(&a, 0));
  OK(cuDeviceGetUuid_v2(&b, 0));
  assert_memory_equal(&a, &b, sizeof a);
  OK(cuDeviceGetUuid_v2(&b, 1));
  assert_memory_not_equal(&a, &b, sizeof a);
  assert_int_equal(cuDeviceGetUuid_v2(&b, 2), CUDA_ERROR_INVALID_DEVICE);
  OK(cuDeviceGetPCIBusId(text, sizeof text, 1));
  assert_string_equal(text, "0000:02:00.0");
  OK(cuDeviceGetPCIBusId(small, sizeof small, 1));
  assert_string_equal(small, "0000");
  OK(cuDeviceGetByPCIBusId(&d, text));
  assert_int_equal(d, 1);
  OK(cuDeviceGetByPCIBusId(&d, "1:0.0"));
  assert_int_equal(d, 0);
  OK(cuDeviceGetByPCIBusId(&d, "0000:02:00"));
  assert_int_equal(d, 1);
  assert_int_equal(cuDeviceGetByPCIBusId(&d, "0000:03:00.0"), CUDA_ERROR_INVALID_DEVICE);
  assert_int_equal(cuDeviceGetByPCIBusId(&d, "bus"), CUDA_ERROR_INVALID_VALUE);
  OK(cuDeviceCanAccessPeer(&can, 0, 1));
  assert_int_equal(can, 0);
  OK(cuDeviceGetP2PAttribute(&can, CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, 0, 1));
  assert_int_equal(can, 0);
  assert_int_equal(cuDeviceGetP2PAttribute(&can, (CUdevice_P2PAttribute)9, 0, 1),
                   CUDA_ERROR_INVALID_VALUE);
}

/* What a created context owns goes with it, and nothing else. */
static void
created(void **state)
{
  CUcontext first, c, was;
  CUdeviceptr kept, p;
  CUmodule m, n;
  CUstream s;
  CUevent e;
  CUfunction f;
  uint32_t word = 7;
  (void)state;
  OK(cuCtxGetCurrent(&first));
  OK(cuMemAlloc_v2(&kept, 4));
  OK(cuMemcpyHtoD_v2(kept, &word, 4));
  OK(cuModuleLoadDataEx(&m, module_text, 0, NULL, NULL));
  OK(cuCtxCreate_v2(&c, CU_CTX_SCHED_SPIN, 0));
  OK(cuCtxGetCurrent(&was));
  assert_true(was == c && c != first);
  OK(cuMemAlloc_v2(&p, 4));
  OK(cuMemcpyHtoD_v2(p, &word, 4));
  OK(cuModuleLoadDataEx(&n, module_text, 0, NULL, NULL));
  OK(cuStreamCreate(&s, 0));
  OK(cuEventCreate(&e, 0));
  OK(cuCtxDestroy_v2(c));
  OK(cuCtxGetCurrent(&was));
  assert_true(was == first);
  assert_int_equal(cuMemcpyDtoH_v2(&word, p, 4), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuModuleGetFunction(&f, n, "k"), CUDA_ERROR_INVALID_HANDLE);
  assert_int_equal(cuStreamSynchronize(s), CUDA_ERROR_INVALID_HANDLE);
  assert_int_equal(cuEventSynchronize(e), CUDA_ERROR_INVALID_HANDLE);
  assert_int_equal(cuCtxSetCurrent(c), CUDA_ERROR_INVALID_CONTEXT);
  assert_int_equal(cuCtxDestroy_v2(c), CUDA_ERROR_INVALID_CONTEXT);
  OK(cuMemcpyDtoH_v2(&word, kept, 4));
  OK(cuModuleGetFunction(&f, m, "k"));
  OK(cuModuleUnload(m));
  OK(cuMemFree_v2(kept));
  assert_int_equal(cuCtxDestroy_v2(first), CUDA_ERROR_INVALID_CONTEXT); /* a primary one */
}

/* Every version of the function; what asks for MPS or for graphics has none. */
static void
created_by_version(void **state)
{
  CUcontext c;
  unsigned version, flags;
  CUctxCreateParams p = {.numExecAffinityParams = 1};
  (void)state;
  OK(cuCtxCreate_v3(&c, NULL, 0, CU_CTX_MAP_HOST, 1));
  OK(cuCtxGetApiVersion(c, &version));
  assert_int_equal(version, 11040);
  OK(cuCtxGetFlags(&flags));
  assert_int_equal(flags, CU_CTX_MAP_HOST);
  OK(cuCtxSetFlags(CU_CTX_SCHED_YIELD));
  OK(cuCtxGetFlags(&flags));
  assert_int_equal(flags, CU_CTX_SCHED_YIELD);
  OK(cuCtxDestroy_v2(c));
  OK(cuCtxCreate_v4(&c, NULL, 0, 0));
  OK(cuCtxDestroy_v2(c));
  assert_int_equal(cuCtxCreate_v4(&c, &p, 0, 0), CUDA_ERROR_NOT_SUPPORTED);
  assert_int_equal(cuCtxCreate_v3(&c, NULL, 1, 0, 0), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuCtxCreate_v2(&c, 3, 0), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuCtxCreate_v2(&c, 256, 0), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuCtxCreate_v2(&c, 0, 2), CUDA_ERROR_INVALID_DEVICE);
}

static void
primary(void **state)
{
  CUcontext c;
  CUdeviceptr p;
  unsigned flags;
  int active;
  (void)state;
  OK(cuDevicePrimaryCtxGetState(1, &flags, &active));
  assert_int_equal(active, 0);
  OK(cuDevicePrimaryCtxSetFlags_v2(1, CU_CTX_SCHED_BLOCKING_SYNC));
  assert_int_equal(cuDevicePrimaryCtxSetFlags_v2(1, 7), CUDA_ERROR_INVALID_VALUE);
  OK(cuDevicePrimaryCtxRetain(&c, 1));
  OK(cuDevicePrimaryCtxGetState(1, &flags, &active));
  assert_int_equal(active, 1);
  assert_int_equal(flags, CU_CTX_SCHED_BLOCKING_SYNC);
  OK(cuCtxPushCurrent_v2(c));
  OK(cuMemAlloc_v2(&p, 4));
  OK(cuMemsetD32_v2(p, 1, 1));
  OK(cuDevicePrimaryCtxReset_v2(1));
  assert_int_equal(cuMemsetD32_v2(p, 1, 1), CUDA_ERROR_INVALID_VALUE);
  OK(cuCtxPopCurrent_v2(NULL));
  OK(cuDevicePrimaryCtxRelease_v2(1));
}

static void
properties(void **state)
{
  CUcontext first, other;
  CUfunc_cache cache;
  CUdevice d;
  size_t v;
  int least = 9, greatest = 9;
  unsigned long long id, id2;
  (void)state;
  OK(cuCtxGetCurrent(&first));
  OK(cuDevicePrimaryCtxRetain(&other, 1));
  OK(cuCtxGetDevice_v2(&d, other));
  assert_int_equal(d, 1);
  OK(cuCtxSynchronize_v2(other));
  OK(cuCtxGetId(NULL, &id));
  OK(cuCtxGetId(other, &id2));
  assert_true(id != id2);
  OK(cuCtxSetLimit(CU_LIMIT_STACK_SIZE, 4096));
  OK(cuCtxGetLimit(&v, CU_LIMIT_STACK_SIZE));
  assert_int_equal(v, 4096);
  assert_int_equal(cuCtxGetLimit(&v, (CUlimit)99), CUDA_ERROR_NOT_SUPPORTED);
  OK(cuCtxSetCacheConfig(CU_FUNC_CACHE_PREFER_L1));
  OK(cuCtxGetCacheConfig(&cache));
  assert_int_equal(cache, CU_FUNC_CACHE_PREFER_L1);
  assert_int_equal(cuCtxSetCacheConfig((CUfunc_cache)4), CUDA_ERROR_INVALID_VALUE);
  OK(cuCtxGetStreamPriorityRange(&least, &greatest));
  assert_int_equal(least, 0);
  assert_true(greatest < 0);
  OK(cuCtxGetStreamPriorityRange(NULL, NULL));
  OK(cuCtxResetPersistingL2Cache());
  OK(cuProfilerStart());
  OK(cuProfilerStop());
  assert_int_equal(cuCtxEnablePeerAccess(other, 0), CUDA_ERROR_PEER_ACCESS_UNSUPPORTED);
  assert_int_equal(cuCtxEnablePeerAccess(first, 0), CUDA_ERROR_INVALID_DEVICE);
  assert_int_equal(cuCtxDisablePeerAccess(other), CUDA_ERROR_PEER_ACCESS_NOT_ENABLED);
  OK(cuDevicePrimaryCtxRelease_v2(1));
  assert_int_equal(cuCtxGetDevice_v2(&d, other), CUDA_ERROR_INVALID_CONTEXT);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(attributes), cmocka_unit_test(identity),
      cmocka_unit_test(created),    cmocka_unit_test(created_by_version),
      cmocka_unit_test(primary),    cmocka_unit_test(properties),
  };
  kit_start("arch=sm_90,devices=2");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
