/* The driver's functions as a program meets them: every result, handles, limits, counters.
 */
#include "tests/unit/emu_kit.h"

#include <unistd.h>

#include <pthread.h>

static const char kernel[] =
    KIT_HEAD("7.0", "sm_80") ".extern .shared .align 16 .b8 dyn[];\n"
                             ".visible .entry k(.param .u64 p) .maxntid 64, 2, 1 {\n.reg "
                             ".b64 %rd<3>; .reg .b32 %r<3>;\n"
                             ".shared .b8 fixed[1024];\n"
                             "ld.param.u64 %rd1, [p]; mov.u32 %r1, 7; mov.u32 %r2, dyn; "
                             "mov.u32 %r2, fixed;\n"
                             "st.global.u32 [%rd1], %r1;\nret;\n}\n"
                             ".visible .entry req() .reqntid 32, 2 { ret; }\n";

/* A mistake in the environment: no default is taken instead, and the reason can be had. */
static void
wrong_environment(void)
{
  static const char *const bad[] = {
      "arch=bogus", "archh=sm_80", "fuel=99999999999999999999", "threads=2,mma", "regs=12"};
  const char *text;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    setenv("ATTNC_EMU", bad[i], 1);
    assert_int_equal(cuInit(0), CUDA_ERROR_INVALID_VALUE);
    OK(cuGetErrorString(CUDA_ERROR_INVALID_VALUE, &text));
    assert_non_null(strstr(text, "ATTNC_EMU: '"));
    assert_non_null(strstr(text, i == 3   ? "'mma' has no value"
                                 : i == 1 ? "archh"
                                          : bad[i]));
    OK(cuGetErrorName(CUDA_ERROR_INVALID_VALUE, &text));
    assert_string_equal(text, "CUDA_ERROR_INVALID_VALUE");
    OK(cuGetErrorString(CUDA_ERROR_NOT_INITIALIZED, &text));
    assert_string_equal(text, "CUDA_ERROR_NOT_INITIALIZED");
  }
  setenv("ATTNC_EMU", "fuel=18446744073709551615", 1);
}

/* Runs before cuInit. */
static void
before_init(void)
{
  int n;
  CUcontext c;
  CUdeviceptr p;
  CUmodule m;
  char why[160] = "";
  assert_int_equal(cuDeviceGetCount(&n), CUDA_ERROR_NOT_INITIALIZED);
  assert_int_equal(cuDevicePrimaryCtxRetain(&c, 0), CUDA_ERROR_NOT_INITIALIZED);
  assert_int_equal(cuCtxGetCurrent(&c), CUDA_ERROR_NOT_INITIALIZED);
  assert_int_equal(cuCtxSetCurrent(NULL), CUDA_ERROR_NOT_INITIALIZED);
  assert_int_equal(cuMemAlloc_v2(&p, 16), CUDA_ERROR_NOT_INITIALIZED);
  assert_int_equal(cuModuleLoadDataEx(&m, kernel, 0, NULL, NULL),
                   CUDA_ERROR_NOT_INITIALIZED);
  assert_int_equal(attncEmuConfigure("arch=sm_80a", why, sizeof why), -1);
  assert_string_equal(why,
                      "'arch=sm_80a' is not one of sm_75|sm_80|sm_86|sm_87|sm_89|sm_90|"
                      "sm_100|sm_103|sm_110|sm_120|sm_121");
  assert_int_equal(cuInit(1), CUDA_ERROR_INVALID_VALUE);
  kit_set("arch=sm_86,devices=2,threads=1");
}

static void
settings(void **state)
{
  static const char *const bad[] = {"arch",      "foo",         "devices=0",
                                    "devices=9", "checks=some", "threads=-1",
                                    "fuel=0",    "seed=x",      "seed=18446744073709551616",
                                    "regs=100",  "async=late",  "mma="};
  char why[160];
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_int_equal(attncEmuConfigure(bad[i], why, sizeof why), -1);
    assert_non_null(strstr(why, bad[i]));
  }
  assert_int_equal(attncEmuConfigure("arch=sm_80", why, sizeof why), -1);
  assert_string_equal(why, "arch and devices are chosen before cuInit");
  assert_int_equal(attncEmuConfigure("arch=sm_86,checks=all,", why, sizeof why), 0);
  assert_int_equal(attncEmuConfigure(NULL, why, sizeof why), 0);
}

static void
devices(void **state)
{
  int n, v;
  CUdevice d;
  char name[64], small[6];
  size_t bytes;
  (void)state;
  OK(cuDriverGetVersion(&v));
  assert_int_equal(v, 13000);
  OK(cuDeviceGetCount(&n));
  assert_int_equal(n, 2);
  OK(cuDeviceGet(&d, 1));
  assert_int_equal(cuDeviceGet(&d, 2), CUDA_ERROR_INVALID_DEVICE);
  assert_int_equal(cuDeviceGet(&d, -1), CUDA_ERROR_INVALID_DEVICE);
  OK(cuDeviceGetName(name, sizeof name, 0));
  assert_string_equal(name, "attnc emulated sm_86");
  OK(cuDeviceGetName(small, sizeof small, 0));
  assert_string_equal(small, "attnc");
  OK(cuDeviceTotalMem_v2(&bytes, 0));
  assert_true(bytes > 0);
  assert_int_equal(cuDeviceTotalMem_v2(NULL, 0), CUDA_ERROR_INVALID_VALUE);
}

static void
attributes(void **state)
{
  static const struct {
    CUdevice_attribute a;
    int want;
  } rows[] = {{CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 8},
              {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 6},
              {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 84},
              {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 99 * 1024},
              {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, 48 * 1024},
              {CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32},
              {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024}};
  int v;
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    OK(cuDeviceGetAttribute(&v, rows[i].a, 0));
    assert_int_equal(v, rows[i].want);
  }
#define X(name, value) OK(cuDeviceGetAttribute(&v, name, 1));
  CUDA_DEVICE_ATTRIBUTE_TABLE(X)
#undef X
  assert_int_equal(cuDeviceGetAttribute(&v, (CUdevice_attribute)9999, 0),
                   CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuDeviceGetAttribute(&v, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 5),
                   CUDA_ERROR_INVALID_DEVICE);
}

static void
names(void **state)
{
  const char *s;
  (void)state;
  OK(cuGetErrorString(CUDA_ERROR_INVALID_VALUE, &s));
  assert_string_equal(s, "CUDA_ERROR_INVALID_VALUE"); /* once started */
#define X(name, value)                                                                     \
  OK(cuGetErrorName(name, &s));                                                            \
  assert_string_equal(s, #name);                                                           \
  OK(cuGetErrorString(name, &s));                                                          \
  assert_non_null(s);
  CUDA_RESULT_TABLE(X)
#undef X
  assert_int_equal(cuGetErrorName(12345, &s), CUDA_ERROR_INVALID_VALUE);
  assert_null(s);
}

static void *
fresh_thread(void *arg)
{
  CUcontext c = arg;
  CUdeviceptr p;
  OK(cuCtxGetCurrent(&c));
  assert_null(c);
  assert_int_equal(cuMemAlloc_v2(&p, 4), CUDA_ERROR_INVALID_CONTEXT);
  assert_int_equal(cuCtxPopCurrent_v2(&c), CUDA_ERROR_INVALID_CONTEXT);
  return NULL;
}

/* The stack of contexts is the thread's; memory belongs to its device. */
static void
contexts(void **state)
{
  CUcontext a, b, c;
  CUdevice d;
  CUdeviceptr p, q;
  uint32_t v = 5;
  pthread_t t;
  (void)state;
  OK(cuCtxGetCurrent(&a));
  assert_int_equal(cuCtxSetCurrent((CUcontext)&v), CUDA_ERROR_INVALID_CONTEXT);
  OK(cuDevicePrimaryCtxRetain(&b, 1));
  assert_true(a != b);
  OK(cuMemAlloc_v2(&p, 4));
  OK(cuCtxPushCurrent_v2(b));
  OK(cuCtxGetDevice(&d));
  assert_int_equal(d, 1);
  OK(cuMemAlloc_v2(&q, 4));
  assert_int_equal(cuMemcpyHtoD_v2(p, &v, 4), CUDA_ERROR_INVALID_VALUE);
  OK(cuCtxPopCurrent_v2(&c));
  assert_true(c == b);
  OK(cuCtxGetDevice(&d));
  assert_int_equal(d, 0);
  OK(cuMemcpyHtoD_v2(p, &v, 4));
  OK(cuMemFree_v2(p));
  OK(pthread_create(&t, NULL, fresh_thread, NULL));
  OK(pthread_join(t, NULL));
  OK(cuDevicePrimaryCtxRelease_v2(1));
  assert_int_equal(cuCtxPushCurrent_v2(b), CUDA_ERROR_INVALID_CONTEXT);
  assert_int_equal(cuDevicePrimaryCtxRelease_v2(1), CUDA_ERROR_INVALID_CONTEXT);
  OK(cuCtxSynchronize());
}

static void
memory(void **state)
{
  CUdeviceptr p, q;
  uint8_t bytes[64];
  uint32_t words[16];
  (void)state;
  assert_int_equal(cuMemAlloc_v2(&p, 0), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuMemAlloc_v2(NULL, 4), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuMemAlloc_v2(&p, SIZE_MAX), CUDA_ERROR_OUT_OF_MEMORY);
  OK(cuMemAlloc_v2(&p, 64));
  OK(cuMemAlloc_v2(&q, 64));
  assert_int_equal(p % 256, 0);
  assert_true(q > p + 64);
  OK(cuMemsetD8_v2(p, 7, 64));
  OK(cuMemsetD32_v2(p + 8, 0x01020304, 2));
  OK(cuMemsetD8Async(p + 20, 9, 1, NULL));
  OK(cuMemcpyDtoH_v2(bytes, p, 64));
  assert_int_equal(bytes[7], 7);
  assert_int_equal(bytes[8], 4);
  assert_int_equal(bytes[15], 1);
  assert_int_equal(bytes[16], 7);
  assert_int_equal(bytes[20], 9);
  assert_int_equal(cuMemsetD32_v2(p + 2, 1, 1), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuMemsetD32_v2(p, 1, 17), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuMemsetD32_v2(p, 1, SIZE_MAX / 2), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuMemcpyHtoD_v2(p + 4, words, 64), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuMemcpyDtoH_v2(words, p - 1, 4), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuMemcpyDtoH_v2(NULL, p, 4), CUDA_ERROR_INVALID_VALUE);
  OK(cuMemcpyDtoH_v2(NULL, 0, 0));
  assert_int_equal(cuMemFree_v2(p + 4), CUDA_ERROR_INVALID_VALUE);
  OK(cuMemFree_v2(0));
  OK(cuMemFree_v2(p));
  assert_int_equal(cuMemFree_v2(p), CUDA_ERROR_INVALID_VALUE);
  OK(cuMemFree_v2(q));
}

static void
handles(void **state)
{
  CUstream s;
  CUevent e, f;
  CUstreamCaptureStatus status;
  float ms;
  (void)state;
  OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
  assert_int_equal(cuStreamCreate(&s, 7), CUDA_ERROR_INVALID_VALUE);
  OK(cuStreamIsCapturing(s, &status));
  assert_int_equal(status, CU_STREAM_CAPTURE_STATUS_NONE);
  OK(cuEventCreate(&e, CU_EVENT_DEFAULT));
  OK(cuEventCreate(&f, CU_EVENT_DISABLE_TIMING));
  OK(cuEventRecord(e, s));
  OK(cuEventSynchronize(e));
  assert_int_equal(cuEventElapsedTime(&ms, e, e), CUDA_ERROR_NOT_SUPPORTED);
  assert_int_equal(cuEventElapsedTime(&ms, e, f), CUDA_ERROR_INVALID_HANDLE);
  OK(cuStreamDestroy_v2(s));
  assert_int_equal(cuStreamSynchronize(s), CUDA_ERROR_INVALID_HANDLE);
  assert_int_equal(cuStreamDestroy_v2(s), CUDA_ERROR_INVALID_HANDLE);
  assert_int_equal(cuEventRecord(e, s), CUDA_ERROR_INVALID_HANDLE);
  OK(cuEventDestroy_v2(e));
  OK(cuEventDestroy_v2(f));
  assert_int_equal(cuEventDestroy_v2(f), CUDA_ERROR_INVALID_HANDLE);
  assert_int_equal(cuEventSynchronize(e), CUDA_ERROR_INVALID_HANDLE);
}

static void
modules(void **state)
{
  CUmodule m;
  CUfunction f, g;
  int v;
  CUjit_option odd[] = {(CUjit_option)77};
  void *values[] = {NULL};
  (void)state;
  assert_int_equal(cuModuleLoadDataEx(&m, NULL, 0, NULL, NULL), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuModuleLoadDataEx(&m, kernel, 1, odd, values),
                   CUDA_ERROR_INVALID_VALUE);
  OK(cuModuleLoadDataEx(&m, kernel, 0, NULL, NULL));
  OK(cuModuleGetFunction(&f, m, "k"));
  assert_int_equal(cuModuleGetFunction(&g, m, "other"), CUDA_ERROR_NOT_FOUND);
  OK(cuFuncLoad(f));
  OK(cuFuncGetAttribute(&v, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, f));
  assert_int_equal(v, 128);
  OK(cuFuncGetAttribute(&v, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, f));
  assert_int_equal(v, 1024);
  OK(cuFuncGetAttribute(&v, CU_FUNC_ATTRIBUTE_BINARY_VERSION, f));
  assert_int_equal(v, 86);
#define X(name, value) OK(cuFuncGetAttribute(&v, name, f));
  CUDA_FUNC_ATTRIBUTE_TABLE(X)
#undef X
  OK(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, 100));
  assert_int_equal(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_NUM_REGS, 8),
                   CUDA_ERROR_INVALID_VALUE);
  OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&v, f, 128, 40 * 1024));
  assert_int_equal(v, 2);
  OK(cuModuleUnload(m));
  assert_int_equal(cuModuleUnload(m), CUDA_ERROR_INVALID_HANDLE);
  assert_int_equal(cuModuleGetFunction(&g, m, "k"), CUDA_ERROR_INVALID_HANDLE);
  assert_int_equal(cuFuncLoad(f), CUDA_ERROR_INVALID_HANDLE);
  assert_int_equal(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL),
                   CUDA_ERROR_INVALID_HANDLE);
}

typedef struct Shape {
  unsigned grid[3], block[3], smem;
  CUresult want;
} Shape;

static const Shape shapes[] = {
    {{1, 1, 1}, {64, 2, 1}, 0, CUDA_SUCCESS},
    {{2, 3, 4}, {1, 1, 1}, 0, CUDA_SUCCESS},
    {{0, 1, 1}, {1, 1, 1}, 0, CUDA_ERROR_INVALID_VALUE},
    {{1, 65536, 1}, {1, 1, 1}, 0, CUDA_ERROR_INVALID_VALUE},
    {{1, 1, 1}, {1, 1, 0}, 0, CUDA_ERROR_INVALID_VALUE},
    {{1, 1, 1}, {129, 1, 1}, 0, CUDA_ERROR_INVALID_VALUE}, /* .maxntid 64, 2, 1 */
    {{1, 1, 1}, {1, 1, 65}, 0, CUDA_ERROR_INVALID_VALUE},
    {{1, 1, 1}, {32, 1, 1}, 47 * 1024, CUDA_SUCCESS},
    {{1, 1, 1}, {32, 1, 1}, 47 * 1024 + 1, CUDA_ERROR_INVALID_VALUE},
};

static void
launches(void **state)
{
  CUmodule m;
  CUdeviceptr p;
  CUfunction req, f = kit_function(kernel, &m);
  void *params[] = {&p};
  (void)state;
  OK(cuMemAlloc_v2(&p, 4));
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    const Shape *s = &shapes[i];
    CUresult r = cuLaunchKernel(f, s->grid[0], s->grid[1], s->grid[2], s->block[0],
                                s->block[1], s->block[2], s->smem, NULL, params, NULL);
    if (r != s->want)
      fail_msg("row %zu gives %d", i, r);
  }
  kit_findings(); /* CTAs that write one word */
  assert_int_equal(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL),
                   CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, params, params),
                   CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, (CUstream)&p, params, NULL),
                   CUDA_ERROR_INVALID_HANDLE);
  OK(cuModuleGetFunction(&req, m, "req"));
  OK(cuLaunchKernel(req, 1, 1, 1, 32, 2, 1, 0, NULL, NULL, NULL));
  assert_int_equal(cuLaunchKernel(req, 1, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL),
                   CUDA_ERROR_INVALID_VALUE);
  OK(cuMemFree_v2(p));
  OK(cuModuleUnload(m));
  kit_no_findings();
}

/* More than 48 KB of shared memory is asked for first. */
static void
opt_in(void **state)
{
  CUmodule m;
  CUdeviceptr p;
  CUfunction f = kit_function(kernel, &m);
  CUfunction_attribute a = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
  int v;
  (void)state;
  OK(cuMemAlloc_v2(&p, 4));
  assert_int_equal(cuFuncSetAttribute(f, a, 98 * 1024 + 1), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuFuncSetAttribute(f, a, -1), CUDA_ERROR_INVALID_VALUE);
  OK(cuFuncSetAttribute(f, a, 98 * 1024));
  OK(cuFuncGetAttribute(&v, a, f));
  assert_int_equal(v, 98 * 1024);
  OK(cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, 98 * 1024, NULL, (void *[]){&p}, NULL));
  assert_int_equal(
      cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, 98 * 1024 + 1, NULL, (void *[]){&p}, NULL),
      CUDA_ERROR_INVALID_VALUE);
  OK(cuMemFree_v2(p));
  OK(cuModuleUnload(m));
}

/* Cooperative groups' barrier of a grid works on two words whose address a kernel has in
 * %envreg1 and 2; other launches have nothing there, nor in the other registers. */
static void
workspace(void **state)
{
  static const char text[] =
      KIT("mov.u32 %r2, %envreg1; mov.u32 %r3, %envreg2; mov.u32 %r4, %envreg31;\n"
          "st.global.u32 [%rd1], %r2; st.global.u32 [%rd1+4], %r3;\n"
          "st.global.u32 [%rd1+8], %r4; or.b32 %r5, %r2, %r3; setp.eq.u32 %p1, %r5, 0;\n"
          "@%p1 ret; cvt.u64.u32 %rd3, %r3; cvt.u64.u32 %rd4, %r2;\n"
          "bfi.b64 %rd5, %rd4, %rd3, 32, 32; atom.global.add.u32 %r6, [%rd5+4], 7;\n"
          "atom.global.add.u32 %r7, [%rd5+4], 7; st.global.u32 [%rd1+12], %r7;\n");
  uint32_t v[4];
  CUmodule m;
  CUdeviceptr p;
  CUfunction f = kit_function(text, &m);
  (void)state;
  OK(cuMemAlloc_v2(&p, sizeof v));
  OK(cuMemsetD8_v2(p, 9, sizeof v));
  OK(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, (void *[]){&p}, NULL));
  OK(cuMemcpyDtoH_v2(v, p, sizeof v));
  assert_true(!v[0] && !v[1] && !v[2]);
  for (int again = 0; again < 2; again++) { /* each launch finds zeros */
    OK(cuLaunchCooperativeKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, (void *[]){&p}));
    OK(cuMemcpyDtoH_v2(v, p, sizeof v));
    assert_true(v[0] && v[1] && !v[2]);
    assert_int_equal(v[3], 7);
  }
  uint64_t address = (uint64_t)v[0] << 32 | v[1];
  assert_int_equal(cuMemsetD8_v2(address, 0, 4), CUDA_ERROR_INVALID_VALUE); /* gone */
  OK(cuMemFree_v2(p));
  OK(cuModuleUnload(m));
  kit_no_findings();
}

/* ---- counters ---- */

static const char counted[] =
    KIT(".shared .align 16 .b8 s[8192]; mov.u32 %r2, s;\n"
        "shl.b32 %r3, %r1, 7; add.u32 %r3, %r3, %r2;\n"
        "st.shared.u32 [%r3], %r1;\n"
        "ld.global.u32 %r5, [%rd2];\n"
        "setp.lt.u32 %p1, %r1, 8; @%p1 add.u32 %r5, %r5, 1;\n"
        "bar.sync %r40;\n"
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f2,%f3,%f4,%f5}, "
        "{%r5,%r5,%r5,%r5}, {%r5,%r5}, {%f0,%f0,%f0,%f0};\n");

static void
counters(void **state)
{
  attncEmuStats s = {.size = sizeof s};
  uint32_t data[32] = {0};
  (void)state;
  attncEmuResetStats();
  OK(kit_run(counted, 1, 32, 0, data, sizeof data));
  kit_found("reads register %r40");
  attncEmuGetStats(&s);
  assert_int_equal(s.size, sizeof s);
  assert_int_equal(s.launches, 1);
  assert_int_equal(s.ctas, 1);
  assert_int_equal(s.warp_instructions, 15);
  assert_int_equal(s.thread_instructions, 14 * 32 + 8);
  assert_int_equal(s.mma, 1);
  assert_int_equal(s.macs, 16 * 8 * 16);
  assert_int_equal(s.shared_accesses, 1);
  assert_int_equal(s.bank_conflicts, 31);
  assert_int_equal(s.global_sectors, 4);
  assert_int_equal(s.global_sectors_ideal, 4);
  assert_int_equal(s.barriers, 1);
  assert_int_equal(s.est_cycles, 32); /* passes of the shared memory are most */
  assert_true(s.findings > 0);
  assert_true(s.host_seconds > 0);
  attncEmuResetStats();
  attncEmuGetStats(&s);
  assert_int_equal(s.launches, 0);
}

/* What a launch costs that fails in its first block does not depend on its grid. */
static void
failures_end_a_launch(void **state)
{
  attncEmuStats s = {.size = sizeof s};
  uint32_t data[32] = {0};
  (void)state;
  attncEmuResetStats();
  alarm(60);
  assert_int_equal(kit_run(KIT("mov.u64 %rd3, 0; ld.u32 %r5, [%rd3];\n"), 16 << 20, 32, 0,
                           data, sizeof data),
                   CUDA_ERROR_ILLEGAL_ADDRESS);
  alarm(0);
  kit_found("where nothing is allocated");
  attncEmuGetStats(&s);
  assert_int_equal(s.launches, 1);
  assert_int_equal(s.est_cycles, 0);
}

/* A caller that knows fewer fields gets those. */
static void
short_stats(void **state)
{
  attncEmuStats s = {.size = 3 * sizeof(uint64_t), .warp_instructions = 77};
  (void)state;
  attncEmuGetStats(&s);
  assert_int_equal(s.size, 3 * sizeof(uint64_t));
  assert_int_equal(s.warp_instructions, 77);
}

static void
profile(void **state)
{
  char text[8192], cut[20];
  uint32_t data[32] = {0};
  (void)state;
  OK(kit_run(counted, 1, 32, 0, data, sizeof data));
  kit_findings();
  size_t n = attncEmuProfile(text, sizeof text);
  assert_int_equal(n, strlen(text));
  assert_non_null(strstr(text,
                         "{\"line\": 11, \"count\": 1, \"text\": \"st.shared.u32 [%r3], "
                         "%r1;\", \"conflicts\": 31, \"sectors\": 0, \"ideal\": 0}"));
  assert_non_null(strstr(text, "\"ld.global.u32 %r5, [%rd2];\", \"conflicts\": 0, "
                               "\"sectors\": 4, \"ideal\": 4}"));
  assert_int_equal(attncEmuProfile(cut, sizeof cut), n);
  assert_int_equal(strlen(cut), sizeof cut - 1);
}

/* Findings stay until they fit. */
static void
findings(void **state)
{
  char small[10], *all;
  uint32_t data[32] = {0};
  (void)state;
  OK(kit_run(counted, 1, 32, 0, data, sizeof data));
  size_t n = attncEmuTakeFindings(NULL, 0);
  assert_true(n > 40);
  assert_int_equal(attncEmuTakeFindings(small, sizeof small), n);
  assert_non_null(all = malloc(n + 1));
  assert_int_equal(attncEmuTakeFindings(all, n + 1), n);
  assert_int_equal(strlen(all), n);
  assert_int_equal(all[n - 1], '\n');
  assert_int_equal(attncEmuTakeFindings(all, n + 1), 0);
  free(all);
}

/* With findings=stderr each goes there as well, once. */
static void
told_at_once(void **state)
{
  static const char wrong[] = KIT("st.global.u32 [%rd1 + 4096], %r1;\n");
  char told[4000] = "";
  uint32_t data[32] = {0};
  FILE *f = tmpfile();
  int kept = dup(STDERR_FILENO);
  (void)state;
  assert_true(f && kept >= 0);
  kit_findings();
  kit_set("findings=stderr");
  fflush(stderr);
  dup2(fileno(f), STDERR_FILENO);
  for (int i = 0; i < 2; i++)
    kit_run(wrong, 1, 32, 0, data, sizeof data);
  fflush(stderr);
  dup2(kept, STDERR_FILENO);
  close(kept);
  rewind(f);
  assert_true(fread(told, 1, sizeof told - 1, f) > 0);
  fclose(f);
  kit_set("findings=keep");
  assert_non_null(strstr(told, "error[out-of-bounds]"));
  assert_string_equal(told, kit_findings());
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(settings),
      cmocka_unit_test(devices),
      cmocka_unit_test(attributes),
      cmocka_unit_test(names),
      cmocka_unit_test(contexts),
      cmocka_unit_test(memory),
      cmocka_unit_test(handles),
      cmocka_unit_test(modules),
      cmocka_unit_test(launches),
      cmocka_unit_test(opt_in),
      cmocka_unit_test(workspace),
      cmocka_unit_test(told_at_once),
      cmocka_unit_test(counters),
      cmocka_unit_test(short_stats),
      cmocka_unit_test(failures_end_a_launch),
      cmocka_unit_test(profile),
      cmocka_unit_test(findings),
  };
  wrong_environment();
  before_init();
  kit_start("");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
