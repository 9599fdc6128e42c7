/* cuda_more.h: what programs other than ours call of the CUDA driver.  attnc itself
 * needs cuda.h alone; a CUDA runtime that starts on the emulator needs these as well,
 * which the emulator exports and cuGetProcAddress finds.  Checked against a real cuda.h by
 * the same test.
 *
 * Source: CUDA Driver API reference 13.0. */
#ifndef ATTNC_EMULATOR_CUDA_ABI_MORE_H
#define ATTNC_EMULATOR_CUDA_ABI_MORE_H

#include "abi/cuda.h"

#ifndef CUDA_ABI_TABLES_ONLY
typedef struct CUlib_st *CUlibrary;
typedef struct CUkern_st *CUkernel;
typedef struct CUmemPoolHandle_st *CUmemoryPool;
typedef struct CUarray_st *CUarray;
typedef struct CUexecAffinityParam_st CUexecAffinityParam;
typedef struct CUctxCigParam_st CUctxCigParam;
typedef void (*CUhostFn)(void *);
typedef void (*CUstreamCallback)(CUstream, CUresult, void *);
#endif

/* CUdriverProcAddress_flags, CUdriverProcAddressQueryResult */
#define CUDA_PROC_FLAG_TABLE(X)                                                            \
  X(CU_GET_PROC_ADDRESS_DEFAULT, 0)                                                        \
  X(CU_GET_PROC_ADDRESS_LEGACY_STREAM, 1)                                                  \
  X(CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM, 2)
#define CUDA_PROC_RESULT_TABLE(X)                                                          \
  X(CU_GET_PROC_ADDRESS_SUCCESS, 0)                                                        \
  X(CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND, 1)                                               \
  X(CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT, 2)

/* CUctx_flags */
#define CUDA_CTX_FLAG_TABLE(X)                                                             \
  X(CU_CTX_SCHED_AUTO, 0)                                                                  \
  X(CU_CTX_SCHED_SPIN, 1)                                                                  \
  X(CU_CTX_SCHED_YIELD, 2)                                                                 \
  X(CU_CTX_SCHED_BLOCKING_SYNC, 4)                                                         \
  X(CU_CTX_SCHED_MASK, 7)                                                                  \
  X(CU_CTX_MAP_HOST, 8)                                                                    \
  X(CU_CTX_FLAGS_MASK, 255)

/* CUlimit */
#define CUDA_LIMIT_TABLE(X)                                                                \
  X(CU_LIMIT_STACK_SIZE, 0)                                                                \
  X(CU_LIMIT_PRINTF_FIFO_SIZE, 1)                                                          \
  X(CU_LIMIT_MALLOC_HEAP_SIZE, 2)                                                          \
  X(CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH, 3)                                                    \
  X(CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT, 4)                                          \
  X(CU_LIMIT_MAX_L2_FETCH_GRANULARITY, 5)                                                  \
  X(CU_LIMIT_PERSISTING_L2_CACHE_SIZE, 6)

/* CUfunc_cache */
#define CUDA_FUNC_CACHE_TABLE(X)                                                           \
  X(CU_FUNC_CACHE_PREFER_NONE, 0)                                                          \
  X(CU_FUNC_CACHE_PREFER_SHARED, 1)                                                        \
  X(CU_FUNC_CACHE_PREFER_L1, 2)                                                            \
  X(CU_FUNC_CACHE_PREFER_EQUAL, 3)

/* CUmoduleLoadingMode, CUfunctionLoadingState, CUlibraryOption */
#define CUDA_LOADING_TABLE(X)                                                              \
  X(CU_MODULE_EAGER_LOADING, 1)                                                            \
  X(CU_MODULE_LAZY_LOADING, 2)
#define CUDA_LOADING_STATE_TABLE(X)                                                        \
  X(CU_FUNCTION_LOADING_STATE_UNLOADED, 0)                                                 \
  X(CU_FUNCTION_LOADING_STATE_LOADED, 1)
#define CUDA_LIBRARY_OPTION_TABLE(X)                                                       \
  X(CU_LIBRARY_HOST_UNIVERSAL_FUNCTION_AND_DATA_TABLE, 0)                                  \
  X(CU_LIBRARY_BINARY_IS_PRESERVED, 1)

/* CUdevice_P2PAttribute */
#define CUDA_P2P_TABLE(X)                                                                  \
  X(CU_DEVICE_P2P_ATTRIBUTE_PERFORMANCE_RANK, 1)                                           \
  X(CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, 2)                                           \
  X(CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED, 3)                                    \
  X(CU_DEVICE_P2P_ATTRIBUTE_CUDA_ARRAY_ACCESS_SUPPORTED, 4)

/* CUmemorytype */
#define CUDA_MEMORY_TYPE_TABLE(X)                                                          \
  X(CU_MEMORYTYPE_HOST, 1)                                                                 \
  X(CU_MEMORYTYPE_DEVICE, 2)                                                               \
  X(CU_MEMORYTYPE_ARRAY, 3)                                                                \
  X(CU_MEMORYTYPE_UNIFIED, 4)

/* Flags of host and managed memory */
#define CUDA_MEMORY_FLAG_TABLE(X)                                                          \
  X(CU_MEMHOSTALLOC_PORTABLE, 1)                                                           \
  X(CU_MEMHOSTALLOC_DEVICEMAP, 2)                                                          \
  X(CU_MEMHOSTALLOC_WRITECOMBINED, 4)                                                      \
  X(CU_MEMHOSTREGISTER_PORTABLE, 1)                                                        \
  X(CU_MEMHOSTREGISTER_DEVICEMAP, 2)                                                       \
  X(CU_MEMHOSTREGISTER_READ_ONLY, 8)                                                       \
  X(CU_MEM_ATTACH_GLOBAL, 1)                                                               \
  X(CU_MEM_ATTACH_HOST, 2)                                                                 \
  X(CU_MEM_ATTACH_SINGLE, 4)

/* CUmem_advise */
#define CUDA_ADVISE_TABLE(X)                                                               \
  X(CU_MEM_ADVISE_SET_READ_MOSTLY, 1)                                                      \
  X(CU_MEM_ADVISE_UNSET_READ_MOSTLY, 2)                                                    \
  X(CU_MEM_ADVISE_SET_PREFERRED_LOCATION, 3)                                               \
  X(CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION, 4)                                             \
  X(CU_MEM_ADVISE_SET_ACCESSED_BY, 5)                                                      \
  X(CU_MEM_ADVISE_UNSET_ACCESSED_BY, 6)

/* CUpointer_attribute */
#define CUDA_POINTER_ATTRIBUTE_TABLE(X)                                                    \
  X(CU_POINTER_ATTRIBUTE_CONTEXT, 1)                                                       \
  X(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, 2)                                                   \
  X(CU_POINTER_ATTRIBUTE_DEVICE_POINTER, 3)                                                \
  X(CU_POINTER_ATTRIBUTE_HOST_POINTER, 4)                                                  \
  X(CU_POINTER_ATTRIBUTE_P2P_TOKENS, 5)                                                    \
  X(CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, 6)                                                   \
  X(CU_POINTER_ATTRIBUTE_BUFFER_ID, 7)                                                     \
  X(CU_POINTER_ATTRIBUTE_IS_MANAGED, 8)                                                    \
  X(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, 9)                                                \
  X(CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE, 10)                                   \
  X(CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, 11)                                             \
  X(CU_POINTER_ATTRIBUTE_RANGE_SIZE, 12)                                                   \
  X(CU_POINTER_ATTRIBUTE_MAPPED, 13)                                                       \
  X(CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES, 14)                                         \
  X(CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE, 15)                                   \
  X(CU_POINTER_ATTRIBUTE_ACCESS_FLAGS, 16)                                                 \
  X(CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, 17)                                               \
  X(CU_POINTER_ATTRIBUTE_MAPPING_SIZE, 18)                                                 \
  X(CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR, 19)                                            \
  X(CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID, 20)

/* CUmemAllocationType, CUmemAllocationHandleType, CUmemLocationType, CUmemAccess_flags */
#define CUDA_ALLOCATION_TYPE_TABLE(X)                                                      \
  X(CU_MEM_ALLOCATION_TYPE_INVALID, 0)                                                     \
  X(CU_MEM_ALLOCATION_TYPE_PINNED, 1)
#define CUDA_HANDLE_TYPE_TABLE(X) X(CU_MEM_HANDLE_TYPE_NONE, 0)
#define CUDA_LOCATION_TABLE(X)                                                             \
  X(CU_MEM_LOCATION_TYPE_INVALID, 0)                                                       \
  X(CU_MEM_LOCATION_TYPE_DEVICE, 1)                                                        \
  X(CU_MEM_LOCATION_TYPE_HOST, 2)                                                          \
  X(CU_MEM_LOCATION_TYPE_HOST_NUMA, 3)                                                     \
  X(CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT, 4)
#define CUDA_ACCESS_TABLE(X)                                                               \
  X(CU_MEM_ACCESS_FLAGS_PROT_NONE, 0)                                                      \
  X(CU_MEM_ACCESS_FLAGS_PROT_READ, 1)                                                      \
  X(CU_MEM_ACCESS_FLAGS_PROT_READWRITE, 3)

/* CUmemPool_attribute */
#define CUDA_POOL_ATTRIBUTE_TABLE(X)                                                       \
  X(CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES, 1)                                    \
  X(CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC, 2)                                          \
  X(CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES, 3)                                  \
  X(CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, 4)                                                  \
  X(CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, 5)                                               \
  X(CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH, 6)                                                  \
  X(CU_MEMPOOL_ATTR_USED_MEM_CURRENT, 7)                                                   \
  X(CU_MEMPOOL_ATTR_USED_MEM_HIGH, 8)

#ifndef CUDA_ABI_TABLES_ONLY
#define X(name, value) name = value,
enum { CUDA_PROC_FLAG_TABLE(X) };
enum { CUDA_CTX_FLAG_TABLE(X) };
enum { CUDA_MEMORY_FLAG_TABLE(X) };
typedef enum { CUDA_PROC_RESULT_TABLE(X) } CUdriverProcAddressQueryResult;
typedef enum { CUDA_LIMIT_TABLE(X) } CUlimit;
typedef enum { CUDA_FUNC_CACHE_TABLE(X) } CUfunc_cache;
typedef enum { CUDA_LOADING_TABLE(X) } CUmoduleLoadingMode;
typedef enum { CUDA_LOADING_STATE_TABLE(X) } CUfunctionLoadingState;
typedef enum { CUDA_LIBRARY_OPTION_TABLE(X) } CUlibraryOption;
typedef enum { CUDA_P2P_TABLE(X) } CUdevice_P2PAttribute;
typedef enum { CUDA_MEMORY_TYPE_TABLE(X) } CUmemorytype;
typedef enum { CUDA_ADVISE_TABLE(X) } CUmem_advise;
typedef enum { CUDA_POINTER_ATTRIBUTE_TABLE(X) } CUpointer_attribute;
typedef enum { CUDA_ALLOCATION_TYPE_TABLE(X) } CUmemAllocationType;
typedef enum { CUDA_HANDLE_TYPE_TABLE(X) } CUmemAllocationHandleType;
typedef enum { CUDA_LOCATION_TABLE(X) } CUmemLocationType;
typedef enum { CUDA_ACCESS_TABLE(X) } CUmemAccess_flags;
typedef enum { CUDA_POOL_ATTRIBUTE_TABLE(X) } CUmemPool_attribute;
#undef X

typedef struct CUuuid_st {
  char bytes[16];
} CUuuid;

typedef struct CUctxCreateParams_st {
  CUexecAffinityParam *execAffinityParams;
  int numExecAffinityParams;
  CUctxCigParam *cigParams;
} CUctxCreateParams;

typedef struct CUmemLocation_st {
  CUmemLocationType type;
  int id;
} CUmemLocation;

typedef struct CUmemAccessDesc_st {
  CUmemLocation location;
  CUmemAccess_flags flags;
} CUmemAccessDesc;

typedef struct CUmemPoolProps_st {
  CUmemAllocationType allocType;
  CUmemAllocationHandleType handleTypes;
  CUmemLocation location;
  void *win32SecurityAttributes;
  size_t maxSize;
  unsigned short usage;
  unsigned char reserved[54];
} CUmemPoolProps;

typedef struct CUDA_MEMCPY2D_st {
  size_t srcXInBytes, srcY;
  CUmemorytype srcMemoryType;
  const void *srcHost;
  CUdeviceptr srcDevice;
  CUarray srcArray;
  size_t srcPitch;
  size_t dstXInBytes, dstY;
  CUmemorytype dstMemoryType;
  void *dstHost;
  CUdeviceptr dstDevice;
  CUarray dstArray;
  size_t dstPitch;
  size_t WidthInBytes, Height;
} CUDA_MEMCPY2D;

#define CUDA_MEMCPY3D_MEMBERS(src_last, dst_last)                                          \
  size_t srcXInBytes, srcY, srcZ, srcLOD;                                                  \
  CUmemorytype srcMemoryType;                                                              \
  const void *srcHost;                                                                     \
  CUdeviceptr srcDevice;                                                                   \
  CUarray srcArray;                                                                        \
  src_last;                                                                                \
  size_t srcPitch, srcHeight;                                                              \
  size_t dstXInBytes, dstY, dstZ, dstLOD;                                                  \
  CUmemorytype dstMemoryType;                                                              \
  void *dstHost;                                                                           \
  CUdeviceptr dstDevice;                                                                   \
  CUarray dstArray;                                                                        \
  dst_last;                                                                                \
  size_t dstPitch, dstHeight;                                                              \
  size_t WidthInBytes, Height, Depth;

typedef struct CUDA_MEMCPY3D_st {
  CUDA_MEMCPY3D_MEMBERS(void *reserved0, void *reserved1)
} CUDA_MEMCPY3D;

typedef struct CUDA_MEMCPY3D_PEER_st {
  CUDA_MEMCPY3D_MEMBERS(CUcontext srcContext, CUcontext dstContext)
} CUDA_MEMCPY3D_PEER;
#endif

/* As CUDA_LAYOUT_TABLE and CUDA_SIZE_TABLE. */
#define CUDA_MORE_LAYOUT_TABLE(X)                                                          \
  X(CUuuid, bytes, 0, 16)                                                                  \
  X(CUctxCreateParams, execAffinityParams, 0, 8)                                           \
  X(CUctxCreateParams, numExecAffinityParams, 8, 4)                                        \
  X(CUctxCreateParams, cigParams, 16, 8)                                                   \
  X(CUmemLocation, type, 0, 4)                                                             \
  X(CUmemLocation, id, 4, 4)                                                               \
  X(CUmemAccessDesc, flags, 8, 4)                                                          \
  X(CUmemPoolProps, handleTypes, 4, 4)                                                     \
  X(CUmemPoolProps, location, 8, 8)                                                        \
  X(CUmemPoolProps, maxSize, 24, 8)                                                        \
  X(CUDA_MEMCPY2D, srcMemoryType, 16, 4)                                                   \
  X(CUDA_MEMCPY2D, srcHost, 24, 8)                                                         \
  X(CUDA_MEMCPY2D, srcPitch, 48, 8)                                                        \
  X(CUDA_MEMCPY2D, dstMemoryType, 72, 4)                                                   \
  X(CUDA_MEMCPY2D, dstPitch, 104, 8)                                                       \
  X(CUDA_MEMCPY2D, Height, 120, 8)                                                         \
  X(CUDA_MEMCPY3D, srcMemoryType, 32, 4)                                                   \
  X(CUDA_MEMCPY3D, srcPitch, 72, 8)                                                        \
  X(CUDA_MEMCPY3D, dstMemoryType, 120, 4)                                                  \
  X(CUDA_MEMCPY3D, dstHeight, 168, 8)                                                      \
  X(CUDA_MEMCPY3D, Depth, 192, 8)                                                          \
  X(CUDA_MEMCPY3D_PEER, srcContext, 64, 8)                                                 \
  X(CUDA_MEMCPY3D_PEER, dstContext, 152, 8)
#define CUDA_MORE_SIZE_TABLE(X)                                                            \
  X(CUuuid, 16)                                                                            \
  X(CUctxCreateParams, 24)                                                                 \
  X(CUmemLocation, 8)                                                                      \
  X(CUmemAccessDesc, 12)                                                                   \
  X(CUmemPoolProps, 88)                                                                    \
  X(CUDA_MEMCPY2D, 128)                                                                    \
  X(CUDA_MEMCPY3D, 200)                                                                    \
  X(CUDA_MEMCPY3D_PEER, 200)

#define X(type, member, at, bytes)                                                         \
  _Static_assert(offsetof(type, member) == at && sizeof(((type *)0)->member) == bytes,     \
                 #type "." #member);
CUDA_MORE_LAYOUT_TABLE(X)
#undef X
#define X(type, bytes) _Static_assert(sizeof(type) == bytes, #type);
CUDA_MORE_SIZE_TABLE(X)
#undef X

/* The version of CUDA that brought it (13000 is 13.0), its name without a version, the
 * symbol as exported, arguments.  All return CUresult. */
#define CUDA_MORE_ENTRY_TABLE(X)                                                           \
  X(4000, cuProfilerStart, cuProfilerStart, (void))                                        \
  X(4000, cuProfilerStop, cuProfilerStop, (void))                                          \
  X(8000, cuMemPrefetchAsync, cuMemPrefetchAsync,                                          \
    (CUdeviceptr, size_t, CUdevice, CUstream))                                             \
  X(8000, cuMemAdvise, cuMemAdvise, (CUdeviceptr, size_t, CUmem_advise, CUdevice))         \
  X(11030, cuGetProcAddress, cuGetProcAddress, (const char *, void **, int, uint64_t))     \
  X(12000, cuGetProcAddress, cuGetProcAddress_v2,                                          \
    (const char *, void **, int, uint64_t, CUdriverProcAddressQueryResult *))              \
  X(3000, cuGetExportTable, cuGetExportTable, (const void **, const CUuuid *))             \
  X(9020, cuDeviceGetUuid, cuDeviceGetUuid, (CUuuid *, CUdevice))                          \
  X(11040, cuDeviceGetUuid, cuDeviceGetUuid_v2, (CUuuid *, CUdevice))                      \
  X(4010, cuDeviceGetPCIBusId, cuDeviceGetPCIBusId, (char *, int, CUdevice))               \
  X(4010, cuDeviceGetByPCIBusId, cuDeviceGetByPCIBusId, (CUdevice *, const char *))        \
  X(2000, cuDeviceComputeCapability, cuDeviceComputeCapability, (int *, int *, CUdevice))  \
  X(4000, cuDeviceCanAccessPeer, cuDeviceCanAccessPeer, (int *, CUdevice, CUdevice))       \
  X(8000, cuDeviceGetP2PAttribute, cuDeviceGetP2PAttribute,                                \
    (int *, CUdevice_P2PAttribute, CUdevice, CUdevice))                                    \
  X(11020, cuDeviceGetDefaultMemPool, cuDeviceGetDefaultMemPool,                           \
    (CUmemoryPool *, CUdevice))                                                            \
  X(11020, cuDeviceGetMemPool, cuDeviceGetMemPool, (CUmemoryPool *, CUdevice))             \
  X(11020, cuDeviceSetMemPool, cuDeviceSetMemPool, (CUdevice, CUmemoryPool))               \
  X(7000, cuDevicePrimaryCtxGetState, cuDevicePrimaryCtxGetState,                          \
    (CUdevice, unsigned *, int *))                                                         \
  X(11000, cuDevicePrimaryCtxSetFlags, cuDevicePrimaryCtxSetFlags_v2,                      \
    (CUdevice, unsigned))                                                                  \
  X(11000, cuDevicePrimaryCtxReset, cuDevicePrimaryCtxReset_v2, (CUdevice))                \
  X(3020, cuCtxCreate, cuCtxCreate_v2, (CUcontext *, unsigned, CUdevice))                  \
  X(11040, cuCtxCreate, cuCtxCreate_v3,                                                    \
    (CUcontext *, CUexecAffinityParam *, int, unsigned, CUdevice))                         \
  X(12050, cuCtxCreate, cuCtxCreate_v4,                                                    \
    (CUcontext *, CUctxCreateParams *, unsigned, CUdevice))                                \
  X(4000, cuCtxDestroy, cuCtxDestroy_v2, (CUcontext))                                      \
  X(7000, cuCtxGetFlags, cuCtxGetFlags, (unsigned *))                                      \
  X(12010, cuCtxSetFlags, cuCtxSetFlags, (unsigned))                                       \
  X(12000, cuCtxGetId, cuCtxGetId, (CUcontext, unsigned long long *))                      \
  X(3010, cuCtxGetLimit, cuCtxGetLimit, (size_t *, CUlimit))                               \
  X(3010, cuCtxSetLimit, cuCtxSetLimit, (CUlimit, size_t))                                 \
  X(3020, cuCtxGetCacheConfig, cuCtxGetCacheConfig, (CUfunc_cache *))                      \
  X(3020, cuCtxSetCacheConfig, cuCtxSetCacheConfig, (CUfunc_cache))                        \
  X(3020, cuCtxGetApiVersion, cuCtxGetApiVersion, (CUcontext, unsigned *))                 \
  X(5050, cuCtxGetStreamPriorityRange, cuCtxGetStreamPriorityRange, (int *, int *))        \
  X(11000, cuCtxResetPersistingL2Cache, cuCtxResetPersistingL2Cache, (void))               \
  X(4000, cuCtxEnablePeerAccess, cuCtxEnablePeerAccess, (CUcontext, unsigned))             \
  X(4000, cuCtxDisablePeerAccess, cuCtxDisablePeerAccess, (CUcontext))                     \
  X(13000, cuCtxGetDevice, cuCtxGetDevice_v2, (CUdevice *, CUcontext))                     \
  X(13000, cuCtxSynchronize, cuCtxSynchronize_v2, (CUcontext))                             \
  X(2000, cuModuleLoad, cuModuleLoad, (CUmodule *, const char *))                          \
  X(2000, cuModuleLoadData, cuModuleLoadData, (CUmodule *, const void *))                  \
  X(2000, cuModuleLoadFatBinary, cuModuleLoadFatBinary, (CUmodule *, const void *))        \
  X(12040, cuModuleGetFunctionCount, cuModuleGetFunctionCount, (unsigned *, CUmodule))     \
  X(12040, cuModuleEnumerateFunctions, cuModuleEnumerateFunctions,                         \
    (CUfunction *, unsigned, CUmodule))                                                    \
  X(3020, cuModuleGetGlobal, cuModuleGetGlobal_v2,                                         \
    (CUdeviceptr *, size_t *, CUmodule, const char *))                                     \
  X(11070, cuModuleGetLoadingMode, cuModuleGetLoadingMode, (CUmoduleLoadingMode *))        \
  X(12000, cuLibraryLoadData, cuLibraryLoadData,                                           \
    (CUlibrary *, const void *, CUjit_option *, void **, unsigned, CUlibraryOption *,      \
     void **, unsigned))                                                                   \
  X(12000, cuLibraryLoadFromFile, cuLibraryLoadFromFile,                                   \
    (CUlibrary *, const char *, CUjit_option *, void **, unsigned, CUlibraryOption *,      \
     void **, unsigned))                                                                   \
  X(12000, cuLibraryUnload, cuLibraryUnload, (CUlibrary))                                  \
  X(12000, cuLibraryGetKernel, cuLibraryGetKernel, (CUkernel *, CUlibrary, const char *))  \
  X(12040, cuLibraryGetKernelCount, cuLibraryGetKernelCount, (unsigned *, CUlibrary))      \
  X(12040, cuLibraryEnumerateKernels, cuLibraryEnumerateKernels,                           \
    (CUkernel *, unsigned, CUlibrary))                                                     \
  X(12000, cuLibraryGetModule, cuLibraryGetModule, (CUmodule *, CUlibrary))                \
  X(12000, cuLibraryGetGlobal, cuLibraryGetGlobal,                                         \
    (CUdeviceptr *, size_t *, CUlibrary, const char *))                                    \
  X(12000, cuLibraryGetManaged, cuLibraryGetManaged,                                       \
    (CUdeviceptr *, size_t *, CUlibrary, const char *))                                    \
  X(12000, cuKernelGetFunction, cuKernelGetFunction, (CUfunction *, CUkernel))             \
  X(12050, cuKernelGetLibrary, cuKernelGetLibrary, (CUlibrary *, CUkernel))                \
  X(12030, cuKernelGetName, cuKernelGetName, (const char **, CUkernel))                    \
  X(12000, cuKernelGetAttribute, cuKernelGetAttribute,                                     \
    (int *, CUfunction_attribute, CUkernel, CUdevice))                                     \
  X(12000, cuKernelSetAttribute, cuKernelSetAttribute,                                     \
    (CUfunction_attribute, int, CUkernel, CUdevice))                                       \
  X(12000, cuKernelSetCacheConfig, cuKernelSetCacheConfig,                                 \
    (CUkernel, CUfunc_cache, CUdevice))                                                    \
  X(12040, cuKernelGetParamInfo, cuKernelGetParamInfo,                                     \
    (CUkernel, size_t, size_t *, size_t *))                                                \
  X(11000, cuFuncGetModule, cuFuncGetModule, (CUmodule *, CUfunction))                     \
  X(12030, cuFuncGetName, cuFuncGetName, (const char **, CUfunction))                      \
  X(12040, cuFuncGetParamInfo, cuFuncGetParamInfo,                                         \
    (CUfunction, size_t, size_t *, size_t *))                                              \
  X(12040, cuFuncIsLoaded, cuFuncIsLoaded, (CUfunctionLoadingState *, CUfunction))         \
  X(3000, cuFuncSetCacheConfig, cuFuncSetCacheConfig, (CUfunction, CUfunc_cache))          \
  X(3020, cuMemAllocPitch, cuMemAllocPitch_v2,                                             \
    (CUdeviceptr *, size_t *, size_t, size_t, unsigned))                                   \
  X(3020, cuMemAllocHost, cuMemAllocHost_v2, (void **, size_t))                            \
  X(2020, cuMemHostAlloc, cuMemHostAlloc, (void **, size_t, unsigned))                     \
  X(2000, cuMemFreeHost, cuMemFreeHost, (void *))                                          \
  X(6050, cuMemHostRegister, cuMemHostRegister_v2, (void *, size_t, unsigned))             \
  X(4000, cuMemHostUnregister, cuMemHostUnregister, (void *))                              \
  X(3020, cuMemHostGetDevicePointer, cuMemHostGetDevicePointer_v2,                         \
    (CUdeviceptr *, void *, unsigned))                                                     \
  X(2030, cuMemHostGetFlags, cuMemHostGetFlags, (unsigned *, void *))                      \
  X(6000, cuMemAllocManaged, cuMemAllocManaged, (CUdeviceptr *, size_t, unsigned))         \
  X(12020, cuMemPrefetchAsync, cuMemPrefetchAsync_v2,                                      \
    (CUdeviceptr, size_t, CUmemLocation, unsigned, CUstream))                              \
  X(12020, cuMemAdvise, cuMemAdvise_v2,                                                    \
    (CUdeviceptr, size_t, CUmem_advise, CUmemLocation))                                    \
  X(3020, cuMemGetInfo, cuMemGetInfo_v2, (size_t *, size_t *))                             \
  X(3020, cuMemGetAddressRange, cuMemGetAddressRange_v2,                                   \
    (CUdeviceptr *, size_t *, CUdeviceptr))                                                \
  X(4000, cuPointerGetAttribute, cuPointerGetAttribute,                                    \
    (void *, CUpointer_attribute, CUdeviceptr))                                            \
  X(7000, cuPointerGetAttributes, cuPointerGetAttributes,                                  \
    (unsigned, CUpointer_attribute *, void **, CUdeviceptr))                               \
  X(6000, cuPointerSetAttribute, cuPointerSetAttribute,                                    \
    (const void *, CUpointer_attribute, CUdeviceptr))                                      \
  X(11020, cuMemAllocAsync, cuMemAllocAsync, (CUdeviceptr *, size_t, CUstream))            \
  X(11020, cuMemFreeAsync, cuMemFreeAsync, (CUdeviceptr, CUstream))                        \
  X(11020, cuMemAllocFromPoolAsync, cuMemAllocFromPoolAsync,                               \
    (CUdeviceptr *, size_t, CUmemoryPool, CUstream))                                       \
  X(11020, cuMemPoolCreate, cuMemPoolCreate, (CUmemoryPool *, const CUmemPoolProps *))     \
  X(11020, cuMemPoolDestroy, cuMemPoolDestroy, (CUmemoryPool))                             \
  X(11020, cuMemPoolTrimTo, cuMemPoolTrimTo, (CUmemoryPool, size_t))                       \
  X(11020, cuMemPoolSetAttribute, cuMemPoolSetAttribute,                                   \
    (CUmemoryPool, CUmemPool_attribute, void *))                                           \
  X(11020, cuMemPoolGetAttribute, cuMemPoolGetAttribute,                                   \
    (CUmemoryPool, CUmemPool_attribute, void *))                                           \
  X(11020, cuMemPoolSetAccess, cuMemPoolSetAccess,                                         \
    (CUmemoryPool, const CUmemAccessDesc *, size_t))                                       \
  X(11020, cuMemPoolGetAccess, cuMemPoolGetAccess,                                         \
    (CUmemAccess_flags *, CUmemoryPool, CUmemLocation *))

/* The same of those in CUDA_ENTRY_TABLE, whose arguments stand there. */
#define CUDA_SINCE_TABLE(X)                                                                \
  X(2000, cuInit, cuInit)                                                                  \
  X(2020, cuDriverGetVersion, cuDriverGetVersion)                                          \
  X(6000, cuGetErrorName, cuGetErrorName)                                                  \
  X(6000, cuGetErrorString, cuGetErrorString)                                              \
  X(2000, cuDeviceGetCount, cuDeviceGetCount)                                              \
  X(2000, cuDeviceGet, cuDeviceGet)                                                        \
  X(2000, cuDeviceGetName, cuDeviceGetName)                                                \
  X(2000, cuDeviceGetAttribute, cuDeviceGetAttribute)                                      \
  X(3020, cuDeviceTotalMem, cuDeviceTotalMem_v2)                                           \
  X(7000, cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain)                              \
  X(11000, cuDevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2)                        \
  X(4000, cuCtxGetCurrent, cuCtxGetCurrent)                                                \
  X(4000, cuCtxSetCurrent, cuCtxSetCurrent)                                                \
  X(4000, cuCtxPushCurrent, cuCtxPushCurrent_v2)                                           \
  X(4000, cuCtxPopCurrent, cuCtxPopCurrent_v2)                                             \
  X(2000, cuCtxGetDevice, cuCtxGetDevice)                                                  \
  X(2000, cuCtxSynchronize, cuCtxSynchronize)                                              \
  X(2010, cuModuleLoadDataEx, cuModuleLoadDataEx)                                          \
  X(2000, cuModuleUnload, cuModuleUnload)                                                  \
  X(2000, cuModuleGetFunction, cuModuleGetFunction)                                        \
  X(2020, cuFuncGetAttribute, cuFuncGetAttribute)                                          \
  X(9000, cuFuncSetAttribute, cuFuncSetAttribute)                                          \
  X(12040, cuFuncLoad, cuFuncLoad)                                                         \
  X(6050, cuOccupancyMaxActiveBlocksPerMultiprocessor,                                     \
    cuOccupancyMaxActiveBlocksPerMultiprocessor)                                           \
  X(3020, cuMemAlloc, cuMemAlloc_v2)                                                       \
  X(3020, cuMemFree, cuMemFree_v2)                                                         \
  X(3020, cuMemcpyHtoD, cuMemcpyHtoD_v2)                                                   \
  X(3020, cuMemcpyDtoH, cuMemcpyDtoH_v2)                                                   \
  X(3020, cuMemsetD8, cuMemsetD8_v2)                                                       \
  X(3020, cuMemsetD32, cuMemsetD32_v2)                                                     \
  X(3020, cuMemsetD8Async, cuMemsetD8Async)                                                \
  X(2000, cuStreamCreate, cuStreamCreate)                                                  \
  X(4000, cuStreamDestroy, cuStreamDestroy_v2)                                             \
  X(2000, cuStreamSynchronize, cuStreamSynchronize)                                        \
  X(10000, cuStreamIsCapturing, cuStreamIsCapturing)                                       \
  X(2000, cuEventCreate, cuEventCreate)                                                    \
  X(4000, cuEventDestroy, cuEventDestroy_v2)                                               \
  X(2000, cuEventRecord, cuEventRecord)                                                    \
  X(2000, cuEventSynchronize, cuEventSynchronize)                                          \
  X(2000, cuEventElapsedTime, cuEventElapsedTime)                                          \
  X(4000, cuLaunchKernel, cuLaunchKernel)                                                  \
  X(11060, cuLaunchKernelEx, cuLaunchKernelEx)                                             \
  X(12000, cuTensorMapEncodeTiled, cuTensorMapEncodeTiled)

#endif
