/* Memory of every kind: the device's, the host's that kernels reach, pools; and what is
 * known of an address. */
#include "tests/unit/emu_kit.h"

#include <unistd.h>

static const char add_one[] = KIT("ld.global.u32 %r5, [%rd2]; add.u32 %r5, %r5, 1; "
                                  "st.global.u32 [%rd2], %r5;\n");
static const char overrun[] = KIT("ld.global.u32 %r5, [%rd1 + 8192];\n");

/* One launch over an address, of 32 words. */
static CUresult
launch(const char *ptx, CUdeviceptr p)
{
  CUmodule m;
  CUfunction f = kit_function(ptx, &m);
  CUresult r = cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, 0, NULL, (void *[]){&p}, NULL);
  OK(cuModuleUnload(m));
  return r;
}

static void
ranges(void **state)
{
  CUdeviceptr p, base;
  size_t pitch, bytes, free_bytes, less, total;
  (void)state;
  OK(cuMemGetInfo_v2(&free_bytes, &total));
  OK(cuMemAllocPitch_v2(&p, &pitch, 1000, 7, 4));
  assert_int_equal(pitch % 512, 0);
  assert_true(pitch >= 1000);
  OK(cuMemGetAddressRange_v2(&base, &bytes, p + 3 * pitch));
  assert_true(base == p);
  assert_int_equal(bytes, 7 * pitch);
  OK(cuMemGetInfo_v2(&less, &total));
  assert_int_equal(free_bytes - less, 7 * pitch);
  assert_int_equal(cuMemGetAddressRange_v2(&base, &bytes, p + 7 * pitch),
                   CUDA_ERROR_NOT_FOUND);
  OK(cuMemFree_v2(p));
  OK(cuMemGetInfo_v2(&less, &total));
  assert_int_equal(free_bytes, less);
  assert_int_equal(cuMemAllocPitch_v2(&p, &pitch, 1000, 7, 3), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuMemAllocPitch_v2(&p, &pitch, 1 << 30, 1 << 30, 4),
                   CUDA_ERROR_OUT_OF_MEMORY);
}

/* A kernel and the host see each other's writes, at one address. */
static void
check_host(uint32_t *host, CUdeviceptr device)
{
  assert_true((uintptr_t)host == device);
  for (uint32_t i = 0; i < 32; i++)
    host[i] = i;
  OK(launch(add_one, device));
  for (uint32_t i = 0; i < 32; i++)
    assert_int_equal(host[i], i + 1);
  kit_no_findings();
}

static void
page_locked(void **state)
{
  uint32_t *p, *q, words[32];
  CUdeviceptr d;
  CUcontext c;
  unsigned flags;
  (void)state;
  OK(cuMemHostAlloc((void **)&p, 128, CU_MEMHOSTALLOC_WRITECOMBINED));
  OK(cuMemAllocHost_v2((void **)&q, 128));
  OK(cuMemHostGetDevicePointer_v2(&d, p, 0));
  check_host(p, d);
  OK(cuMemHostGetFlags(&flags, p));
  assert_int_equal(flags, CU_MEMHOSTALLOC_WRITECOMBINED);
  OK(cuMemHostGetDevicePointer_v2(&d, q + 4, 0));
  assert_true(d == (uintptr_t)(q + 4));
  OK(cuMemcpyDtoH_v2(words, (uintptr_t)p, 128)); /* it is device memory as well */
  assert_int_equal(words[31], 32);
  assert_int_equal(launch(overrun, (uintptr_t)p), CUDA_ERROR_ILLEGAL_ADDRESS);
  kit_findings();
  OK(cuDevicePrimaryCtxRetain(&c, 1)); /* of every device */
  OK(cuCtxPushCurrent_v2(c));
  check_host(q, (uintptr_t)q);
  OK(cuCtxPopCurrent_v2(&c));
  OK(cuDevicePrimaryCtxRelease_v2(1));
  OK(cuMemFreeHost(p));
  assert_int_equal(cuMemFreeHost(p), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(launch(add_one, (uintptr_t)p), CUDA_ERROR_ILLEGAL_ADDRESS);
  kit_findings();
  assert_int_equal(cuMemFree_v2((uintptr_t)q), CUDA_ERROR_INVALID_VALUE);
  OK(cuMemFreeHost(q));
  OK(cuMemFreeHost(NULL));
  assert_int_equal(cuMemHostAlloc((void **)&p, 128, 8), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuMemHostAlloc((void **)&p, 0, 0), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuMemHostGetDevicePointer_v2(&d, words, 0), CUDA_ERROR_INVALID_VALUE);
}

static void
registered(void **state)
{
  static uint32_t p[64]; /* the heap of a sanitizer lies where device memory does */
  CUdeviceptr d;
  unsigned flags;
  (void)state;
  assert_int_equal(launch(add_one, (uintptr_t)p), CUDA_ERROR_ILLEGAL_ADDRESS);
  kit_findings();
  OK(cuMemHostRegister_v2(p, 128, CU_MEMHOSTREGISTER_PORTABLE));
  OK(cuMemHostGetDevicePointer_v2(&d, p, 0));
  check_host(p, d);
  assert_int_equal(cuMemHostGetFlags(&flags, p), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuMemHostRegister_v2(p + 8, 128, 0),
                   CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
  assert_int_equal(cuMemFreeHost(p), CUDA_ERROR_INVALID_VALUE);
  OK(cuMemHostUnregister(p));
  assert_int_equal(cuMemHostUnregister(p), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
  assert_int_equal(cuMemHostRegister_v2((void *)GLOBAL_BASE, 128, 0),
                   CUDA_ERROR_NOT_SUPPORTED);
  assert_int_equal(cuMemHostRegister_v2(p, 128, CU_MEMHOSTREGISTER_READ_ONLY),
                   CUDA_ERROR_NOT_SUPPORTED);
}

static void
managed(void **state)
{
  CUdeviceptr p;
  const CUmemLocation device = {CU_MEM_LOCATION_TYPE_DEVICE, 0},
                      host = {CU_MEM_LOCATION_TYPE_HOST, 0},
                      none = {CU_MEM_LOCATION_TYPE_DEVICE, 7};
  (void)state;
  OK(cuMemAllocManaged(&p, 128, CU_MEM_ATTACH_GLOBAL));
  check_host((uint32_t *)p, p);
  OK(cuMemPrefetchAsync_v2(p, 128, device, 0, NULL));
  OK(cuMemPrefetchAsync_v2(p + 64, 64, host, 0, NULL));
  assert_int_equal(cuMemPrefetchAsync_v2(p + 64, 65, host, 0, NULL),
                   CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuMemPrefetchAsync_v2(p, 64, none, 0, NULL), CUDA_ERROR_INVALID_DEVICE);
  OK(cuMemAdvise_v2(p, 128, CU_MEM_ADVISE_SET_READ_MOSTLY, device));
  OK(cuMemAdvise(p, 128, CU_MEM_ADVISE_UNSET_READ_MOSTLY, -1));
  OK(cuMemPrefetchAsync(p, 128, 1, NULL));
  assert_int_equal(cuMemPrefetchAsync(p, 128, 2, NULL), CUDA_ERROR_INVALID_DEVICE);
  assert_int_equal(cuMemAdvise_v2(p, 128, (CUmem_advise)9, device),
                   CUDA_ERROR_INVALID_VALUE);
  OK(cuMemFree_v2(p));
  assert_int_equal(cuMemFree_v2(p), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuMemAllocManaged(&p, 128, 3), CUDA_ERROR_INVALID_VALUE);
}

/* With a context goes what it has of the host's. */
static void
of_a_context(void **state)
{
  CUcontext c;
  void *p;
  CUdeviceptr d;
  (void)state;
  OK(cuCtxCreate_v2(&c, 0, 0));
  OK(cuMemHostAlloc(&p, 128, 0));
  OK(cuCtxDestroy_v2(c));
  assert_int_equal(cuMemHostGetDevicePointer_v2(&d, p, 0), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuMemFreeHost(p), CUDA_ERROR_INVALID_VALUE);
}

/* ---- pools ---- */

/* What has no node in a graph is refused in a capture, and ends it. */
static void
captured(void **state)
{
  CUstream s;
  CUgraph g;
  CUdeviceptr p;
  (void)state;
  OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
  OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
  assert_int_equal(cuMemAllocAsync(&p, 100, s), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  assert_int_equal(cuStreamEndCapture(s, &g), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  OK(cuMemAllocAsync(&p, 100, s));
  OK(cuMemFreeAsync(p, s));
  OK(cuStreamDestroy_v2(s));
}

static uint64_t
pool_value(CUmemoryPool pool, CUmemPool_attribute a)
{
  uint64_t v = 0;
  OK(cuMemPoolGetAttribute(pool, a, &v));
  return v;
}

static void
ordered(void **state)
{
  CUmemoryPool pool, now;
  CUdeviceptr p, q;
  CUstream s;
  uint64_t zero = 0;
  (void)state;
  OK(cuDeviceGetDefaultMemPool(&pool, 0));
  OK(cuDeviceGetMemPool(&now, 0));
  assert_ptr_equal(pool, now);
  OK(cuStreamCreate(&s, 0));
  OK(cuMemAllocAsync(&p, 100, s));
  OK(cuMemAllocAsync(&q, 50, NULL));
  assert_int_equal(launch(add_one, p), CUDA_ERROR_ILLEGAL_ADDRESS);
  kit_found("out-of-bounds"); /* of 100 bytes */
  assert_int_equal(pool_value(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT), 150);
  OK(cuMemFreeAsync(p, s));
  assert_int_equal(pool_value(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT), 50);
  assert_int_equal(pool_value(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH), 150);
  OK(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH, &zero));
  assert_int_equal(pool_value(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH), 50);
  OK(cuMemFree_v2(q));
  assert_int_equal(pool_value(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT), 0);
  assert_int_equal(cuMemFreeAsync(q, s), CUDA_ERROR_INVALID_VALUE);
  OK(cuStreamDestroy_v2(s));
  assert_int_equal(cuMemAllocAsync(&p, 100, s), CUDA_ERROR_INVALID_HANDLE);
}

static void
pools(void **state)
{
  CUmemPoolProps props = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                          .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0},
                          .maxSize = 1000};
  CUmemoryPool pool, first, now;
  CUdeviceptr p, q;
  uint64_t threshold = 4096;
  int reuse = 0;
  CUmemAccess_flags access;
  CUmemAccessDesc map = {{CU_MEM_LOCATION_TYPE_DEVICE, 1},
                         CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  (void)state;
  OK(cuMemPoolCreate(&pool, &props));
  OK(cuMemAllocFromPoolAsync(&p, 600, pool, NULL));
  assert_int_equal(cuMemAllocFromPoolAsync(&q, 600, pool, NULL), CUDA_ERROR_OUT_OF_MEMORY);
  OK(cuDeviceSetMemPool(0, pool));
  OK(cuMemAllocAsync(&q, 400, NULL));
  OK(cuPointerGetAttribute(&now, CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, q));
  assert_ptr_equal(now, pool);
  OK(cuMemPoolTrimTo(pool, 0));
  OK(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &threshold));
  assert_int_equal(pool_value(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD), 4096);
  OK(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC, &reuse));
  OK(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC, &reuse));
  assert_int_equal(reuse, 0);
  assert_int_equal(
      cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &threshold),
      CUDA_ERROR_INVALID_VALUE);
  OK(cuMemPoolGetAccess(&access, pool, &props.location));
  assert_int_equal(access, CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
  assert_int_equal(cuMemPoolSetAccess(pool, &map, 1), CUDA_ERROR_INVALID_DEVICE);
  map.location.id = 0;
  OK(cuMemPoolSetAccess(pool, &map, 1));
  OK(cuMemPoolDestroy(pool));
  OK(cuMemsetD8_v2(p, 1, 600)); /* what was taken from it stays */
  OK(cuDeviceGetMemPool(&now, 0));
  OK(cuDeviceGetDefaultMemPool(&first, 0));
  assert_ptr_equal(now, first);
  assert_int_equal(cuMemPoolDestroy(pool), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuMemPoolDestroy(first), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuMemAllocFromPoolAsync(&q, 1, pool, NULL), CUDA_ERROR_INVALID_VALUE);
  OK(cuMemFree_v2(p));
  OK(cuMemFreeAsync(q, NULL));
  props.location.type = CU_MEM_LOCATION_TYPE_HOST;
  assert_int_equal(cuMemPoolCreate(&pool, &props), CUDA_ERROR_NOT_SUPPORTED);
}

/* ---- pointers ---- */

static void
kinds(void **state)
{
  CUdeviceptr d, m;
  void *h, *back;
  unsigned type;
  int ordinal;
  bool is;
  size_t bytes;
  CUcontext c, now;
  (void)state;
  OK(cuCtxGetCurrent(&now));
  OK(cuMemAlloc_v2(&d, 64));
  OK(cuMemHostAlloc(&h, 64, 0));
  OK(cuMemAllocManaged(&m, 64, CU_MEM_ATTACH_GLOBAL));
  const CUdeviceptr all[] = {d, (uintptr_t)h, m};
  for (int i = 0; i < 3; i++) {
    OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, all[i] + 8));
    assert_int_equal(type, i == 1 ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE);
    OK(cuPointerGetAttribute(&is, CU_POINTER_ATTRIBUTE_IS_MANAGED, all[i]));
    assert_int_equal(is, i == 2);
    OK(cuPointerGetAttribute(&c, CU_POINTER_ATTRIBUTE_CONTEXT, all[i]));
    assert_ptr_equal(c, now);
    CUresult r =
        cuPointerGetAttribute(&back, CU_POINTER_ATTRIBUTE_HOST_POINTER, all[i] + 8);
    assert_int_equal(r, i ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
    assert_true(!i || (uintptr_t)back == all[i] + 8);
    OK(cuPointerGetAttribute(&bytes, CU_POINTER_ATTRIBUTE_RANGE_SIZE, all[i]));
    assert_int_equal(bytes, 64);
    OK(cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, all[i]));
    assert_int_equal(ordinal, 0);
  }
  assert_int_equal(cuPointerGetAttribute(&c, CU_POINTER_ATTRIBUTE_P2P_TOKENS, d),
                   CUDA_ERROR_NOT_SUPPORTED);
  OK(cuMemFree_v2(d));
  assert_int_equal(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, d),
                   CUDA_ERROR_INVALID_VALUE);
  OK(cuMemFreeHost(h));
  OK(cuMemFree_v2(m));
}

static void
several(void **state)
{
  CUpointer_attribute a[] = {
      CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_HOST_POINTER,
      CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR};
  unsigned type = 9;
  void *host = a;
  int ordinal = 9;
  uint64_t start = 9;
  bool sync = true;
  void *data[] = {&type, &host, &ordinal, &start};
  CUdeviceptr p;
  (void)state;
  OK(cuMemAlloc_v2(&p, 64));
  OK(cuPointerGetAttributes(4, a, data, p + 5));
  assert_int_equal(type, CU_MEMORYTYPE_DEVICE);
  assert_null(host);
  assert_int_equal(ordinal, 0);
  assert_true(start == p);
  OK(cuPointerGetAttributes(4, a, data, (uintptr_t)a)); /* nobody's */
  assert_int_equal(type, 0);
  assert_int_equal(ordinal, -2);
  assert_int_equal(start, 0);
  OK(cuPointerSetAttribute(&sync, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, p));
  assert_int_equal(cuPointerSetAttribute(&sync, CU_POINTER_ATTRIBUTE_MAPPED, p),
                   CUDA_ERROR_INVALID_VALUE);
  OK(cuMemFree_v2(p));
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ranges),  cmocka_unit_test(page_locked),
      cmocka_unit_test(managed), cmocka_unit_test(registered),
      cmocka_unit_test(ordered), cmocka_unit_test(of_a_context),
      cmocka_unit_test(pools),   cmocka_unit_test(kinds),
      cmocka_unit_test(several), cmocka_unit_test(captured),
  };
  kit_start("arch=sm_80,devices=2");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
