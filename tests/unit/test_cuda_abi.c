/* cuda.h against a real cuda.h, which comes first, so that our tables are read with its
 * types: every constant has its value, every entry point its signature.  All of it is
 * asserted while compiling. */
#include <cuda.h>
#include <cudaTypedefs.h>
#include <cudaProfilerTypedefs.h>

#define CUDA_ABI_TABLES_ONLY
#include "abi/cuda_graph.h"
#include "abi/cuda_load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define X(name, value) _Static_assert((long long)name == value, #name " is " #value);
CUDA_RESULT_TABLE(X)
CUDA_DEVICE_ATTRIBUTE_TABLE(X)
CUDA_FUNC_ATTRIBUTE_TABLE(X)
CUDA_JIT_OPTION_TABLE(X)
CUDA_FLAG_TABLE(X)
CUDA_CAPTURE_TABLE(X)
CUDA_TENSOR_MAP_DATA_TYPE_TABLE(X)
CUDA_TENSOR_MAP_INTERLEAVE_TABLE(X)
CUDA_TENSOR_MAP_SWIZZLE_TABLE(X)
CUDA_TENSOR_MAP_L2_PROMOTION_TABLE(X)
CUDA_TENSOR_MAP_OOB_FILL_TABLE(X)
CUDA_LAUNCH_ATTRIBUTE_TABLE(X)
#undef X

/* CUDA_LAYOUT_TABLE and CUDA_SIZE_TABLE were asserted by the header, with cuda.h's types.
 */
_Static_assert(_Alignof(CUtensorMap) % CUDA_TENSOR_MAP_ALIGN == 0, "alignment");
_Static_assert(CU_TENSOR_MAP_NUM_QWORDS * 8 == CUDA_TENSOR_MAP_BYTES, "bytes of a map");

#define X(need, name, args)                                                                \
  _Static_assert(__builtin_types_compatible_p(__typeof__(&name), CUresult(*) args),        \
                 #name #args);
CUDA_ENTRY_TABLE(X)
#undef X

#define X(name, args)                                                                      \
  _Static_assert(__builtin_types_compatible_p(__typeof__(&name), CUresult(*) args),        \
                 #name #args);
CUDA_LOAD_ENTRY_TABLE(X)
#undef X

/* cuda.h declares the newest version of a function alone, its companion all of them. */
#define X(name, value) _Static_assert((long long)name == value, #name " is " #value);
CUDA_PROC_FLAG_TABLE(X)
CUDA_PROC_RESULT_TABLE(X)
CUDA_CTX_FLAG_TABLE(X)
CUDA_LIMIT_TABLE(X)
CUDA_FUNC_CACHE_TABLE(X)
CUDA_LOADING_TABLE(X)
CUDA_LOADING_STATE_TABLE(X)
CUDA_LIBRARY_OPTION_TABLE(X)
CUDA_P2P_TABLE(X)
CUDA_MEMORY_TYPE_TABLE(X)
CUDA_MEMORY_FLAG_TABLE(X)
CUDA_ADVISE_TABLE(X)
CUDA_POINTER_ATTRIBUTE_TABLE(X)
CUDA_ALLOCATION_TYPE_TABLE(X)
CUDA_HANDLE_TYPE_TABLE(X)
CUDA_LOCATION_TABLE(X)
CUDA_ACCESS_TABLE(X)
CUDA_POOL_ATTRIBUTE_TABLE(X)
CUDA_NODE_TYPE_TABLE(X)
CUDA_CAPTURE_MODE_TABLE(X)
CUDA_JIT_INPUT_TABLE(X)
CUDA_CAPTURE_UPDATE_TABLE(X)
CUDA_DEPENDENCY_TABLE(X)
CUDA_GRAPH_UPDATE_TABLE(X)
CUDA_INSTANTIATE_FLAG_TABLE(X)
CUDA_INSTANTIATE_RESULT_TABLE(X)
CUDA_OCCUPANCY_FLAG_TABLE(X)
CUDA_EVENT_FLAG_TABLE(X)
#undef X
_Static_assert(KERNEL_PORT_DEFAULT == CU_GRAPH_KERNEL_NODE_PORT_DEFAULT &&
                   KERNEL_PORT_PROGRAMMATIC == CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC &&
                   KERNEL_PORT_LAUNCH_ORDER == CU_GRAPH_KERNEL_NODE_PORT_LAUNCH_ORDER,
               "ports of a kernel");
#define X(since, name, symbol, args)                                                       \
  _Static_assert(__builtin_types_compatible_p(PFN_##name##_v##since, CUresult(*) args),    \
                 #symbol #args);
CUDA_MORE_ENTRY_TABLE(X)
CUDA_STREAM_ENTRY_TABLE(X)
CUDA_GRAPH_ENTRY_TABLE(X)
#undef X
#define X(since, name, symbol)                                                             \
  _Static_assert(__builtin_types_compatible_p(PFN_##name##_v##since, __typeof__(&symbol)), \
                 #symbol " since " #since);
CUDA_SINCE_TABLE(X)
#undef X

/* Our own typedefs, as far as a binary interface sees them. */
_Static_assert(sizeof(CUresult) == sizeof(int), "CUresult is an int");
_Static_assert(sizeof(CUdevice_attribute) == sizeof(int), "enums are ints");
_Static_assert(__builtin_types_compatible_p(CUdevice, int), "CUdevice is an int");
_Static_assert(__builtin_types_compatible_p(CUdeviceptr, unsigned long long),
               "CUdeviceptr is 64 bits");
#define HANDLE(type, tag)                                                                  \
  _Static_assert(__builtin_types_compatible_p(type, struct tag *), #type)
HANDLE(CUcontext, CUctx_st);
HANDLE(CUmodule, CUmod_st);
HANDLE(CUfunction, CUfunc_st);
HANDLE(CUstream, CUstream_st);
HANDLE(CUevent, CUevent_st);

/* What is left to see at run time: that the table is not empty. */
static void
test_entries(void **state)
{
  int n = 0;
  (void)state;
#define X(need, name, args) n++;
  CUDA_ENTRY_TABLE(X)
#undef X
  assert_true(n > 30);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_entries)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
