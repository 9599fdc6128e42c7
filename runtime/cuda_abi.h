/* cuda_abi.h: the CUDA driver's binary interface as far as attnc uses it, in our own words,
 * so that no toolkit is needed to build.  Shared by the runtime, which calls these entry
 * points, and the emulator, which exports them.  Where a real cuda.h is found, a test
 * includes that first, defines CUDA_ABI_TABLES_ONLY, and asserts every constant and
 * signature here against it.
 *
 * Source: CUDA Driver API reference 13.0.  Handles are opaque pointers; CUdeviceptr is an
 * address, 64 bits. */
#ifndef ATTNC_RUNTIME_CUDA_ABI_H
#define ATTNC_RUNTIME_CUDA_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifndef CUDA_ABI_TABLES_ONLY
typedef int CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
#endif

/* A tensor map is 128 opaque bytes whose address is a multiple of 64: that is what
 * cuTensorMapEncodeTiled asks for; the type in cuda.h has been aligned to 64 and to 128. */
enum { CUDA_TENSOR_MAP_BYTES = 128, CUDA_TENSOR_MAP_ALIGN = 64 };

/* CUresult: name, value */
#define CUDA_RESULT_TABLE(X)                                                               \
  X(CUDA_SUCCESS, 0)                                                                       \
  X(CUDA_ERROR_INVALID_VALUE, 1)                                                           \
  X(CUDA_ERROR_OUT_OF_MEMORY, 2)                                                           \
  X(CUDA_ERROR_NOT_INITIALIZED, 3)                                                         \
  X(CUDA_ERROR_NO_DEVICE, 100)                                                             \
  X(CUDA_ERROR_INVALID_DEVICE, 101)                                                        \
  X(CUDA_ERROR_INVALID_IMAGE, 200)                                                         \
  X(CUDA_ERROR_INVALID_CONTEXT, 201)                                                       \
  X(CUDA_ERROR_NO_BINARY_FOR_GPU, 209)                                                     \
  X(CUDA_ERROR_INVALID_PTX, 218)                                                           \
  X(CUDA_ERROR_JIT_COMPILER_NOT_FOUND, 221)                                                \
  X(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, 222)                                               \
  X(CUDA_ERROR_INVALID_HANDLE, 400)                                                        \
  X(CUDA_ERROR_NOT_FOUND, 500)                                                             \
  X(CUDA_ERROR_NOT_READY, 600)                                                             \
  X(CUDA_ERROR_ILLEGAL_ADDRESS, 700)                                                       \
  X(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, 701)                                               \
  X(CUDA_ERROR_LAUNCH_TIMEOUT, 702)                                                        \
  X(CUDA_ERROR_MISALIGNED_ADDRESS, 716)                                                    \
  X(CUDA_ERROR_LAUNCH_FAILED, 719)                                                         \
  X(CUDA_ERROR_NOT_SUPPORTED, 801)                                                         \
  X(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, 900)                                            \
  X(CUDA_ERROR_INVALID_CLUSTER_SIZE, 912)                                                  \
  X(CUDA_ERROR_UNKNOWN, 999)

/* CUdevice_attribute */
#define CUDA_DEVICE_ATTRIBUTE_TABLE(X)                                                     \
  X(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1)                                          \
  X(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, 8)                                    \
  X(CU_DEVICE_ATTRIBUTE_WARP_SIZE, 10)                                                     \
  X(CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, 12)                                       \
  X(CU_DEVICE_ATTRIBUTE_CLOCK_RATE, 13)                                                    \
  X(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 16)                                          \
  X(CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, 36)                                             \
  X(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 38)                                                 \
  X(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, 39)                                \
  X(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 75)                                      \
  X(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 76)                                      \
  X(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, 81)                          \
  X(CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, 82)                              \
  X(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 97)                             \
  X(CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK, 111)

/* CUfunction_attribute */
#define CUDA_FUNC_ATTRIBUTE_TABLE(X)                                                       \
  X(CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 0)                                            \
  X(CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, 1)                                                \
  X(CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES, 2)                                                 \
  X(CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, 3)                                                 \
  X(CU_FUNC_ATTRIBUTE_NUM_REGS, 4)                                                         \
  X(CU_FUNC_ATTRIBUTE_PTX_VERSION, 5)                                                      \
  X(CU_FUNC_ATTRIBUTE_BINARY_VERSION, 6)                                                   \
  X(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 8)                                    \
  X(CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, 9)                                 \
  X(CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET, 10)                                        \
  X(CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, 11)                                          \
  X(CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT, 12)                                         \
  X(CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH, 13)                                          \
  X(CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 14)

/* CUjit_option */
#define CUDA_JIT_OPTION_TABLE(X)                                                           \
  X(CU_JIT_MAX_REGISTERS, 0)                                                               \
  X(CU_JIT_THREADS_PER_BLOCK, 1)                                                           \
  X(CU_JIT_WALL_TIME, 2)                                                                   \
  X(CU_JIT_INFO_LOG_BUFFER, 3)                                                             \
  X(CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES, 4)                                                  \
  X(CU_JIT_ERROR_LOG_BUFFER, 5)                                                            \
  X(CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, 6)                                                 \
  X(CU_JIT_LOG_VERBOSE, 12)

/* Flags of events and streams */
#define CUDA_FLAG_TABLE(X)                                                                 \
  X(CU_EVENT_DEFAULT, 0)                                                                   \
  X(CU_EVENT_DISABLE_TIMING, 2)                                                            \
  X(CU_STREAM_NON_BLOCKING, 1)

/* CUstreamCaptureStatus */
#define CUDA_CAPTURE_TABLE(X)                                                              \
  X(CU_STREAM_CAPTURE_STATUS_NONE, 0)                                                      \
  X(CU_STREAM_CAPTURE_STATUS_ACTIVE, 1)                                                    \
  X(CU_STREAM_CAPTURE_STATUS_INVALIDATED, 2)

/* CUtensorMapDataType, as far as elements of attention have it */
#define CUDA_TENSOR_MAP_DATA_TYPE_TABLE(X)                                                 \
  X(CU_TENSOR_MAP_DATA_TYPE_UINT8, 0)                                                      \
  X(CU_TENSOR_MAP_DATA_TYPE_UINT16, 1)                                                     \
  X(CU_TENSOR_MAP_DATA_TYPE_UINT32, 2)                                                     \
  X(CU_TENSOR_MAP_DATA_TYPE_INT32, 3)                                                      \
  X(CU_TENSOR_MAP_DATA_TYPE_UINT64, 4)                                                     \
  X(CU_TENSOR_MAP_DATA_TYPE_INT64, 5)                                                      \
  X(CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 6)                                                    \
  X(CU_TENSOR_MAP_DATA_TYPE_FLOAT32, 7)                                                    \
  X(CU_TENSOR_MAP_DATA_TYPE_FLOAT64, 8)                                                    \
  X(CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 9)                                                   \
  X(CU_TENSOR_MAP_DATA_TYPE_FLOAT32_FTZ, 10)                                               \
  X(CU_TENSOR_MAP_DATA_TYPE_TFLOAT32, 11)                                                  \
  X(CU_TENSOR_MAP_DATA_TYPE_TFLOAT32_FTZ, 12)

/* CUtensorMapInterleave */
#define CUDA_TENSOR_MAP_INTERLEAVE_TABLE(X)                                                \
  X(CU_TENSOR_MAP_INTERLEAVE_NONE, 0)                                                      \
  X(CU_TENSOR_MAP_INTERLEAVE_16B, 1)                                                       \
  X(CU_TENSOR_MAP_INTERLEAVE_32B, 2)

/* CUtensorMapSwizzle: 16-byte chunks within that span */
#define CUDA_TENSOR_MAP_SWIZZLE_TABLE(X)                                                   \
  X(CU_TENSOR_MAP_SWIZZLE_NONE, 0)                                                         \
  X(CU_TENSOR_MAP_SWIZZLE_32B, 1)                                                          \
  X(CU_TENSOR_MAP_SWIZZLE_64B, 2)                                                          \
  X(CU_TENSOR_MAP_SWIZZLE_128B, 3)

/* CUtensorMapL2promotion */
#define CUDA_TENSOR_MAP_L2_PROMOTION_TABLE(X)                                              \
  X(CU_TENSOR_MAP_L2_PROMOTION_NONE, 0)                                                    \
  X(CU_TENSOR_MAP_L2_PROMOTION_L2_64B, 1)                                                  \
  X(CU_TENSOR_MAP_L2_PROMOTION_L2_128B, 2)                                                 \
  X(CU_TENSOR_MAP_L2_PROMOTION_L2_256B, 3)

/* CUtensorMapFloatOOBfill */
#define CUDA_TENSOR_MAP_OOB_FILL_TABLE(X)                                                  \
  X(CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE, 0)                                                  \
  X(CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA, 1)

/* CUlaunchAttributeID */
#define CUDA_LAUNCH_ATTRIBUTE_TABLE(X)                                                     \
  X(CU_LAUNCH_ATTRIBUTE_IGNORE, 0)                                                         \
  X(CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, 4)                                              \
  X(CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION, 6)

#ifndef CUDA_ABI_TABLES_ONLY
#define X(name, value) name = value,
enum { CUDA_RESULT_TABLE(X) };
enum { CUDA_FLAG_TABLE(X) };
typedef enum { CUDA_DEVICE_ATTRIBUTE_TABLE(X) } CUdevice_attribute;
typedef enum { CUDA_FUNC_ATTRIBUTE_TABLE(X) } CUfunction_attribute;
typedef enum { CUDA_JIT_OPTION_TABLE(X) } CUjit_option;
typedef enum { CUDA_CAPTURE_TABLE(X) } CUstreamCaptureStatus;
typedef enum { CUDA_TENSOR_MAP_DATA_TYPE_TABLE(X) } CUtensorMapDataType;
typedef enum { CUDA_TENSOR_MAP_INTERLEAVE_TABLE(X) } CUtensorMapInterleave;
typedef enum { CUDA_TENSOR_MAP_SWIZZLE_TABLE(X) } CUtensorMapSwizzle;
typedef enum { CUDA_TENSOR_MAP_L2_PROMOTION_TABLE(X) } CUtensorMapL2promotion;
typedef enum { CUDA_TENSOR_MAP_OOB_FILL_TABLE(X) } CUtensorMapFloatOOBfill;
typedef enum { CUDA_LAUNCH_ATTRIBUTE_TABLE(X) } CUlaunchAttributeID;
#undef X

typedef struct CUtensorMap_st {
  _Alignas(CUDA_TENSOR_MAP_ALIGN) uint64_t opaque[CUDA_TENSOR_MAP_BYTES / 8];
} CUtensorMap;

typedef union CUlaunchAttributeValue_union {
  char pad[64];
  struct {
    unsigned x, y, z;
  } clusterDim; /* in blocks; divides the grid */
  int programmaticStreamSerializationAllowed;
} CUlaunchAttributeValue;

typedef struct CUlaunchAttribute_st {
  CUlaunchAttributeID id;
  char pad[4];
  CUlaunchAttributeValue value;
} CUlaunchAttribute;

typedef struct CUlaunchConfig_st {
  unsigned gridDimX, gridDimY, gridDimZ;
  unsigned blockDimX, blockDimY, blockDimZ;
  unsigned sharedMemBytes;
  CUstream hStream;
  CUlaunchAttribute *attrs;
  unsigned numAttrs;
} CUlaunchConfig;
#endif

/* Layout of the structs that cross the border: type, member, offset, bytes */
#define CUDA_LAYOUT_TABLE(X)                                                               \
  X(CUtensorMap, opaque, 0, 128)                                                           \
  X(CUlaunchAttributeValue, pad, 0, 64)                                                    \
  X(CUlaunchAttributeValue, clusterDim.x, 0, 4)                                            \
  X(CUlaunchAttributeValue, clusterDim.y, 4, 4)                                            \
  X(CUlaunchAttributeValue, clusterDim.z, 8, 4)                                            \
  X(CUlaunchAttributeValue, programmaticStreamSerializationAllowed, 0, 4)                  \
  X(CUlaunchAttribute, id, 0, 4)                                                           \
  X(CUlaunchAttribute, value, 8, 64)                                                       \
  X(CUlaunchConfig, gridDimX, 0, 4)                                                        \
  X(CUlaunchConfig, gridDimY, 4, 4)                                                        \
  X(CUlaunchConfig, gridDimZ, 8, 4)                                                        \
  X(CUlaunchConfig, blockDimX, 12, 4)                                                      \
  X(CUlaunchConfig, blockDimY, 16, 4)                                                      \
  X(CUlaunchConfig, blockDimZ, 20, 4)                                                      \
  X(CUlaunchConfig, sharedMemBytes, 24, 4)                                                 \
  X(CUlaunchConfig, hStream, 32, 8)                                                        \
  X(CUlaunchConfig, attrs, 40, 8)                                                          \
  X(CUlaunchConfig, numAttrs, 48, 4)
/* type, bytes */
#define CUDA_SIZE_TABLE(X)                                                                 \
  X(CUtensorMap, 128)                                                                      \
  X(CUlaunchAttributeValue, 64)                                                            \
  X(CUlaunchAttribute, 72)                                                                 \
  X(CUlaunchConfig, 56)

#define X(type, member, at, bytes)                                                         \
  _Static_assert(offsetof(type, member) == at && sizeof(((type *)0)->member) == bytes,     \
                 #type "." #member);
CUDA_LAYOUT_TABLE(X)
#undef X
#define X(type, bytes) _Static_assert(sizeof(type) == bytes, #type);
CUDA_SIZE_TABLE(X)
#undef X

/* Entry points: need (1: a driver without it is refused, 0: a capability), symbol as
 * exported, arguments.  All return CUresult. */
#define CUDA_ENTRY_TABLE(X)                                                                \
  X(1, cuInit, (unsigned flags))                                                           \
  X(1, cuDriverGetVersion, (int *version))                                                 \
  X(1, cuGetErrorName, (CUresult, const char **))                                          \
  X(1, cuGetErrorString, (CUresult, const char **))                                        \
  X(1, cuDeviceGetCount, (int *))                                                          \
  X(1, cuDeviceGet, (CUdevice *, int ordinal))                                             \
  X(1, cuDeviceGetName, (char *, int n, CUdevice))                                         \
  X(1, cuDeviceGetAttribute, (int *, CUdevice_attribute, CUdevice))                        \
  X(1, cuDeviceTotalMem_v2, (size_t *, CUdevice))                                          \
  X(1, cuDevicePrimaryCtxRetain, (CUcontext *, CUdevice))                                  \
  X(1, cuDevicePrimaryCtxRelease_v2, (CUdevice))                                           \
  X(1, cuCtxGetCurrent, (CUcontext *))                                                     \
  X(1, cuCtxSetCurrent, (CUcontext))                                                       \
  X(1, cuCtxPushCurrent_v2, (CUcontext))                                                   \
  X(1, cuCtxPopCurrent_v2, (CUcontext *))                                                  \
  X(1, cuCtxGetDevice, (CUdevice *))                                                       \
  X(1, cuCtxSynchronize, (void))                                                           \
  X(1, cuModuleLoadDataEx,                                                                 \
    (CUmodule *, const void *image, unsigned n, CUjit_option *, void **values))            \
  X(1, cuModuleUnload, (CUmodule))                                                         \
  X(1, cuModuleGetFunction, (CUfunction *, CUmodule, const char *))                        \
  X(1, cuFuncGetAttribute, (int *, CUfunction_attribute, CUfunction))                      \
  X(1, cuFuncSetAttribute, (CUfunction, CUfunction_attribute, int))                        \
  X(0, cuFuncLoad, (CUfunction))                                                           \
  X(0, cuOccupancyMaxActiveBlocksPerMultiprocessor,                                        \
    (int *, CUfunction, int block, size_t dynamic_smem))                                   \
  X(1, cuMemAlloc_v2, (CUdeviceptr *, size_t))                                             \
  X(1, cuMemFree_v2, (CUdeviceptr))                                                        \
  X(1, cuMemcpyHtoD_v2, (CUdeviceptr, const void *, size_t))                               \
  X(1, cuMemcpyDtoH_v2, (void *, CUdeviceptr, size_t))                                     \
  X(1, cuMemsetD8_v2, (CUdeviceptr, unsigned char, size_t))                                \
  X(1, cuMemsetD32_v2, (CUdeviceptr, unsigned, size_t))                                    \
  X(1, cuMemsetD8Async, (CUdeviceptr, unsigned char, size_t, CUstream))                    \
  X(1, cuStreamCreate, (CUstream *, unsigned flags))                                       \
  X(1, cuStreamDestroy_v2, (CUstream))                                                     \
  X(1, cuStreamSynchronize, (CUstream))                                                    \
  X(0, cuStreamIsCapturing, (CUstream, CUstreamCaptureStatus *))                           \
  X(1, cuEventCreate, (CUevent *, unsigned flags))                                         \
  X(1, cuEventDestroy_v2, (CUevent))                                                       \
  X(1, cuEventRecord, (CUevent, CUstream))                                                 \
  X(1, cuEventSynchronize, (CUevent))                                                      \
  X(1, cuEventElapsedTime, (float *ms, CUevent, CUevent))                                  \
  X(1, cuLaunchKernel,                                                                     \
    (CUfunction, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,          \
     unsigned bz, unsigned smem, CUstream, void **params, void **extra))                   \
  X(0, cuLaunchKernelEx,                                                                   \
    (const CUlaunchConfig *, CUfunction, void **params, void **extra))                     \
  X(0, cuTensorMapEncodeTiled,                                                             \
    (CUtensorMap *, CUtensorMapDataType, uint32_t rank, void *address,                     \
     const uint64_t *dims, const uint64_t *byte_strides, const uint32_t *box,              \
     const uint32_t *element_strides, CUtensorMapInterleave, CUtensorMapSwizzle,           \
     CUtensorMapL2promotion, CUtensorMapFloatOOBfill))

#endif
