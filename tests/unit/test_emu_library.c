/* Libraries and kernels, modules' functions and variables. */
#include "tests/unit/emu_kit.h"

static const char text[] = KIT_HEAD(
    "7.0",
    "sm_80") ".global .align 4 .u32 counter = 5; .const .align 8 .b8 table[24];\n"
             ".global .attribute(.managed) .align 4 .u32 shared_with_host = 9;\n"
             ".visible .entry k(.param .u64 p, .param .align 4 .b8 q[12], .param .u8 r) {\n"
             ".reg .b64 %rd<4>; .reg .b32 %r<4>;\n"
             "ld.param.u64 %rd1, [p]; mov.u64 %rd2, counter; ld.global.u32 %r1, [%rd2];\n"
             "st.global.u32 [%rd1], %r1; mov.u64 %rd3, shared_with_host;\n"
             "ld.global.u32 %r2, [%rd3]; st.global.u32 [%rd1+4], %r2;\n"
             "add.u32 %r2, %r2, 1; st.global.u32 [%rd3], %r2; ret; }\n"
             ".visible .entry other() .reqntid 32 { ret; }\n";
static const char unknown[] = KIT("what.is.this %r1, %r2;\n");

static void
functions(void **state)
{
  CUmodule m, of;
  CUfunction f[3] = {NULL}, g;
  CUfunctionLoadingState loaded;
  unsigned n;
  const char *name;
  size_t at, bytes;
  (void)state;
  OK(cuModuleLoadData(&m, text));
  OK(cuModuleGetFunctionCount(&n, m));
  assert_int_equal(n, 2);
  OK(cuModuleEnumerateFunctions(f, 3, m));
  assert_true(f[0] && f[1] && !f[2]);
  OK(cuModuleGetFunction(&g, m, "other"));
  assert_ptr_equal(g, f[1]);
  OK(cuFuncGetName(&name, g));
  assert_string_equal(name, "other");
  OK(cuFuncGetModule(&of, g));
  assert_ptr_equal(of, m);
  OK(cuFuncGetParamInfo(f[0], 1, &at, &bytes));
  assert_int_equal(at, 8);
  assert_int_equal(bytes, 12);
  OK(cuFuncGetParamInfo(f[0], 2, &at, NULL));
  assert_int_equal(at, 20);
  assert_int_equal(cuFuncGetParamInfo(f[0], 3, &at, &bytes), CUDA_ERROR_INVALID_VALUE);
  OK(cuFuncIsLoaded(&loaded, g));
  assert_int_equal(loaded, CU_FUNCTION_LOADING_STATE_LOADED);
  OK(cuFuncSetCacheConfig(g, CU_FUNC_CACHE_PREFER_SHARED));
  assert_int_equal(cuFuncSetCacheConfig(g, (CUfunc_cache)7), CUDA_ERROR_INVALID_VALUE);
  OK(cuModuleUnload(m));
  assert_int_equal(cuModuleGetFunctionCount(&n, m), CUDA_ERROR_INVALID_HANDLE);
  assert_int_equal(cuFuncGetName(&name, g), CUDA_ERROR_INVALID_HANDLE);
}

static void
variables(void **state)
{
  CUmodule m;
  CUdeviceptr p;
  size_t bytes;
  uint32_t v;
  CUmoduleLoadingMode mode;
  (void)state;
  OK(cuModuleLoadData(&m, text));
  OK(cuModuleGetGlobal_v2(&p, &bytes, m, "counter"));
  assert_int_equal(bytes, 4);
  OK(cuMemcpyDtoH_v2(&v, p, 4));
  assert_int_equal(v, 5);
  OK(cuModuleGetGlobal_v2(NULL, &bytes, m, "table"));
  assert_int_equal(bytes, 24);
  OK(cuModuleGetGlobal_v2(&p, NULL, m, "shared_with_host"));
  assert_int_equal(*(uint32_t *)p, 9); /* the host's own memory */
  assert_int_equal(cuModuleGetGlobal_v2(&p, &bytes, m, "k"), CUDA_ERROR_NOT_FOUND);
  assert_int_equal(cuModuleGetGlobal_v2(&p, &bytes, m, NULL), CUDA_ERROR_INVALID_VALUE);
  OK(cuModuleUnload(m));
  assert_int_equal(cuModuleGetGlobal_v2(&p, &bytes, m, "counter"),
                   CUDA_ERROR_INVALID_HANDLE);
  OK(cuModuleGetLoadingMode(&mode));
  assert_int_equal(mode, CU_MODULE_LAZY_LOADING);
}

/* A kernel's handle is good for a launch, as a function's is. */
static void
launched(void **state)
{
  CUlibrary l;
  CUkernel k;
  CUdeviceptr p, global;
  size_t bytes;
  uint32_t v[2], q[3] = {0};
  uint8_t r = 0;
  int n;
  (void)state;
  OK(cuLibraryLoadData(&l, text, NULL, NULL, 0, NULL, NULL, 0));
  OK(cuLibraryGetKernel(&k, l, "k"));
  OK(cuLibraryGetGlobal(&global, &bytes, l, "counter"));
  assert_int_equal(bytes, 4);
  v[0] = 77;
  OK(cuMemcpyHtoD_v2(global, v, 4));
  OK(cuMemAlloc_v2(&p, 8));
  for (int i = 0; i < 2; i++) {
    OK(cuLaunchKernel((CUfunction)k, 1, 1, 1, 1, 1, 1, 0, NULL, (void *[]){&p, q, &r},
                      NULL));
    OK(cuMemcpyDtoH_v2(v, p, 8));
    assert_int_equal(v[0], 77);
    assert_int_equal(v[1], 9 + i);
  }
  OK(cuLibraryGetManaged(&global, &bytes, l, "shared_with_host"));
  assert_int_equal(*(uint32_t *)global, 11);
  assert_int_equal(cuLibraryGetManaged(&global, &bytes, l, "counter"),
                   CUDA_ERROR_NOT_FOUND);
  OK(cuFuncGetAttribute(&n, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, (CUfunction)k));
  assert_int_equal(n, 1024);
  OK(cuMemFree_v2(p));
  OK(cuLibraryUnload(l));
  assert_int_equal(cuLibraryUnload(l), CUDA_ERROR_INVALID_HANDLE);
  assert_int_equal(cuLaunchKernel((CUfunction)k, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL),
                   CUDA_ERROR_INVALID_HANDLE);
  kit_no_findings();
}

static void
kernels(void **state)
{
  CUlibrary l, of;
  CUkernel k[3] = {NULL}, other;
  CUfunction f, g;
  CUmodule m;
  unsigned n;
  int v;
  const char *name;
  size_t at, bytes;
  (void)state;
  OK(cuLibraryLoadData(&l, text, NULL, NULL, 0, NULL, NULL, 0));
  OK(cuLibraryGetKernelCount(&n, l));
  assert_int_equal(n, 2);
  OK(cuLibraryEnumerateKernels(k, 3, l));
  assert_true(k[0] && k[1] && !k[2]);
  OK(cuLibraryGetKernel(&other, l, "other"));
  assert_ptr_equal(other, k[1]);
  assert_int_equal(cuLibraryGetKernel(&other, l, "third"), CUDA_ERROR_NOT_FOUND);
  OK(cuKernelGetName(&name, other));
  assert_string_equal(name, "other");
  OK(cuKernelGetLibrary(&of, other));
  assert_ptr_equal(of, l);
  OK(cuKernelGetFunction(&f, other));
  OK(cuLibraryGetModule(&m, l));
  OK(cuModuleGetFunction(&g, m, "other"));
  assert_ptr_equal(f, g);
  OK(cuKernelGetParamInfo(k[0], 1, &at, &bytes));
  assert_int_equal(at, 8);
  OK(cuKernelGetAttribute(&v, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, other, 0));
  assert_int_equal(v, 32);
  OK(cuKernelSetAttribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 60000, k[0], 0));
  OK(cuKernelGetAttribute(&v, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, k[0], 0));
  assert_int_equal(v, 60000);
  CUfunction_attribute policy = CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE;
  OK(cuKernelSetAttribute(policy, 2, k[0], 0));
  OK(cuKernelGetAttribute(&v, policy, k[0], 0));
  assert_int_equal(v, 2);
  assert_int_equal(cuKernelSetAttribute(policy, 3, k[0], 0), CUDA_ERROR_INVALID_VALUE);
  OK(cuKernelSetCacheConfig(k[0], CU_FUNC_CACHE_PREFER_L1, 0));
  assert_int_equal(cuKernelGetAttribute(&v, CU_FUNC_ATTRIBUTE_NUM_REGS, k[0], 1),
                   CUDA_ERROR_INVALID_CONTEXT); /* nobody retains that device's */
  assert_int_equal(cuKernelGetName(&name, (CUkernel)&v), CUDA_ERROR_INVALID_HANDLE);
  OK(cuLibraryUnload(l));
}

/* In another context it is another module, with variables of its own; in one that is gone
 * it is none, and is loaded again where it is asked for again. */
static void
contexts(void **state)
{
  CUlibrary l;
  CUdeviceptr a, b, c;
  CUcontext other;
  uint32_t v = 1;
  (void)state;
  OK(cuLibraryLoadData(&l, text, NULL, NULL, 0, NULL, NULL, 0));
  OK(cuLibraryGetGlobal(&a, NULL, l, "counter"));
  OK(cuMemcpyHtoD_v2(a, &v, 4));
  for (int i = 0; i < 2; i++) {
    OK(cuCtxCreate_v2(&other, 0, i));
    OK(cuLibraryGetGlobal(&b, NULL, l, "counter"));
    assert_true(a != b);
    OK(cuMemcpyDtoH_v2(&v, b, 4));
    assert_int_equal(v, 5);
    OK(cuCtxDestroy_v2(other));
  }
  OK(cuLibraryGetGlobal(&c, NULL, l, "counter"));
  assert_true(a == c);
  OK(cuDevicePrimaryCtxReset_v2(0));
  OK(cuLibraryGetGlobal(&c, NULL, l, "counter"));
  OK(cuMemcpyDtoH_v2(&v, c, 4));
  assert_int_equal(v, 5);
  OK(cuLibraryUnload(l));
}

static void
refused(void **state)
{
  CUlibrary l;
  CUlibraryOption kept[] = {CU_LIBRARY_BINARY_IS_PRESERVED},
                  table[] = {CU_LIBRARY_HOST_UNIVERSAL_FUNCTION_AND_DATA_TABLE};
  void *values[] = {NULL};
  char log[300] = "";
  CUjit_option o[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *v[] = {log, (void *)sizeof log};
  (void)state;
  assert_int_equal(cuLibraryLoadData(&l, unknown, o, v, 2, NULL, NULL, 0),
                   CUDA_ERROR_INVALID_PTX);
  assert_non_null(strstr(log, "what.is.this"));
  kit_no_findings();
  assert_int_equal(cuLibraryLoadData(&l, ".version", NULL, NULL, 0, NULL, NULL, 0),
                   CUDA_ERROR_INVALID_PTX);
  kit_found("error[load]: ptx:1: error");
  assert_int_equal(cuLibraryLoadData(&l, text, NULL, NULL, 0, table, values, 1),
                   CUDA_ERROR_INVALID_VALUE);
  OK(cuLibraryLoadData(&l, text, NULL, NULL, 0, kept, values, 1));
  OK(cuLibraryUnload(l));
  assert_int_equal(cuLibraryLoadFromFile(&l, "/nowhere", NULL, NULL, 0, NULL, NULL, 0),
                   CUDA_ERROR_FILE_NOT_FOUND);
}

/* Without a context it is read, and what nobody executes is said where it is loaded. */
static void
without_a_context(void **state)
{
  CUlibrary l;
  CUkernel k;
  CUfunction f;
  CUcontext c;
  (void)state;
  OK(cuCtxPopCurrent_v2(&c));
  OK(cuLibraryLoadData(&l, unknown, NULL, NULL, 0, NULL, NULL, 0));
  OK(cuLibraryGetKernel(&k, l, "k"));
  assert_int_equal(cuKernelGetFunction(&f, k), CUDA_ERROR_INVALID_CONTEXT);
  OK(cuCtxPushCurrent_v2(c));
  assert_int_equal(cuKernelGetFunction(&f, k), CUDA_ERROR_INVALID_PTX);
  kit_found("error[load]: ptx:9: error: the instruction what");
  OK(cuLibraryUnload(l));
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(functions),         cmocka_unit_test(variables),
      cmocka_unit_test(launched),          cmocka_unit_test(kernels),
      cmocka_unit_test(contexts),          cmocka_unit_test(refused),
      cmocka_unit_test(without_a_context),
  };
  kit_start("arch=sm_80,devices=2");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
