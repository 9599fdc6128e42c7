/* cuda.h: the CUDA driver's binary interface as far as attnc uses it, in our own words,
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
  X(CUDA_ERROR_DEINITIALIZED, 4)                                                           \
  X(CUDA_ERROR_PROFILER_DISABLED, 5)                                                       \
  X(CUDA_ERROR_PROFILER_NOT_INITIALIZED, 6)                                                \
  X(CUDA_ERROR_PROFILER_ALREADY_STARTED, 7)                                                \
  X(CUDA_ERROR_PROFILER_ALREADY_STOPPED, 8)                                                \
  X(CUDA_ERROR_STUB_LIBRARY, 34)                                                           \
  X(CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER, 36)                                             \
  X(CUDA_ERROR_DEVICE_UNAVAILABLE, 46)                                                     \
  X(CUDA_ERROR_NO_DEVICE, 100)                                                             \
  X(CUDA_ERROR_INVALID_DEVICE, 101)                                                        \
  X(CUDA_ERROR_DEVICE_NOT_LICENSED, 102)                                                   \
  X(CUDA_ERROR_INVALID_IMAGE, 200)                                                         \
  X(CUDA_ERROR_INVALID_CONTEXT, 201)                                                       \
  X(CUDA_ERROR_CONTEXT_ALREADY_CURRENT, 202)                                               \
  X(CUDA_ERROR_MAP_FAILED, 205)                                                            \
  X(CUDA_ERROR_UNMAP_FAILED, 206)                                                          \
  X(CUDA_ERROR_ARRAY_IS_MAPPED, 207)                                                       \
  X(CUDA_ERROR_ALREADY_MAPPED, 208)                                                        \
  X(CUDA_ERROR_NO_BINARY_FOR_GPU, 209)                                                     \
  X(CUDA_ERROR_ALREADY_ACQUIRED, 210)                                                      \
  X(CUDA_ERROR_NOT_MAPPED, 211)                                                            \
  X(CUDA_ERROR_NOT_MAPPED_AS_ARRAY, 212)                                                   \
  X(CUDA_ERROR_NOT_MAPPED_AS_POINTER, 213)                                                 \
  X(CUDA_ERROR_ECC_UNCORRECTABLE, 214)                                                     \
  X(CUDA_ERROR_UNSUPPORTED_LIMIT, 215)                                                     \
  X(CUDA_ERROR_CONTEXT_ALREADY_IN_USE, 216)                                                \
  X(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED, 217)                                               \
  X(CUDA_ERROR_INVALID_PTX, 218)                                                           \
  X(CUDA_ERROR_INVALID_GRAPHICS_CONTEXT, 219)                                              \
  X(CUDA_ERROR_NVLINK_UNCORRECTABLE, 220)                                                  \
  X(CUDA_ERROR_JIT_COMPILER_NOT_FOUND, 221)                                                \
  X(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, 222)                                               \
  X(CUDA_ERROR_JIT_COMPILATION_DISABLED, 223)                                              \
  X(CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY, 224)                                             \
  X(CUDA_ERROR_UNSUPPORTED_DEVSIDE_SYNC, 225)                                              \
  X(CUDA_ERROR_CONTAINED, 226)                                                             \
  X(CUDA_ERROR_INVALID_SOURCE, 300)                                                        \
  X(CUDA_ERROR_FILE_NOT_FOUND, 301)                                                        \
  X(CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND, 302)                                        \
  X(CUDA_ERROR_SHARED_OBJECT_INIT_FAILED, 303)                                             \
  X(CUDA_ERROR_OPERATING_SYSTEM, 304)                                                      \
  X(CUDA_ERROR_INVALID_HANDLE, 400)                                                        \
  X(CUDA_ERROR_ILLEGAL_STATE, 401)                                                         \
  X(CUDA_ERROR_LOSSY_QUERY, 402)                                                           \
  X(CUDA_ERROR_NOT_FOUND, 500)                                                             \
  X(CUDA_ERROR_NOT_READY, 600)                                                             \
  X(CUDA_ERROR_ILLEGAL_ADDRESS, 700)                                                       \
  X(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, 701)                                               \
  X(CUDA_ERROR_LAUNCH_TIMEOUT, 702)                                                        \
  X(CUDA_ERROR_LAUNCH_INCOMPATIBLE_TEXTURING, 703)                                         \
  X(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, 704)                                           \
  X(CUDA_ERROR_PEER_ACCESS_NOT_ENABLED, 705)                                               \
  X(CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE, 708)                                                \
  X(CUDA_ERROR_CONTEXT_IS_DESTROYED, 709)                                                  \
  X(CUDA_ERROR_ASSERT, 710)                                                                \
  X(CUDA_ERROR_TOO_MANY_PEERS, 711)                                                        \
  X(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, 712)                                        \
  X(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, 713)                                            \
  X(CUDA_ERROR_HARDWARE_STACK_ERROR, 714)                                                  \
  X(CUDA_ERROR_ILLEGAL_INSTRUCTION, 715)                                                   \
  X(CUDA_ERROR_MISALIGNED_ADDRESS, 716)                                                    \
  X(CUDA_ERROR_INVALID_ADDRESS_SPACE, 717)                                                 \
  X(CUDA_ERROR_INVALID_PC, 718)                                                            \
  X(CUDA_ERROR_LAUNCH_FAILED, 719)                                                         \
  X(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, 720)                                          \
  X(CUDA_ERROR_TENSOR_MEMORY_LEAK, 721)                                                    \
  X(CUDA_ERROR_NOT_PERMITTED, 800)                                                         \
  X(CUDA_ERROR_NOT_SUPPORTED, 801)                                                         \
  X(CUDA_ERROR_SYSTEM_NOT_READY, 802)                                                      \
  X(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, 803)                                                \
  X(CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE, 804)                                        \
  X(CUDA_ERROR_MPS_CONNECTION_FAILED, 805)                                                 \
  X(CUDA_ERROR_MPS_RPC_FAILURE, 806)                                                       \
  X(CUDA_ERROR_MPS_SERVER_NOT_READY, 807)                                                  \
  X(CUDA_ERROR_MPS_MAX_CLIENTS_REACHED, 808)                                               \
  X(CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED, 809)                                           \
  X(CUDA_ERROR_MPS_CLIENT_TERMINATED, 810)                                                 \
  X(CUDA_ERROR_CDP_NOT_SUPPORTED, 811)                                                     \
  X(CUDA_ERROR_CDP_VERSION_MISMATCH, 812)                                                  \
  X(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, 900)                                            \
  X(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, 901)                                            \
  X(CUDA_ERROR_STREAM_CAPTURE_MERGE, 902)                                                  \
  X(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, 903)                                              \
  X(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, 904)                                               \
  X(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, 905)                                              \
  X(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, 906)                                               \
  X(CUDA_ERROR_CAPTURED_EVENT, 907)                                                        \
  X(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, 908)                                           \
  X(CUDA_ERROR_TIMEOUT, 909)                                                               \
  X(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE, 910)                                             \
  X(CUDA_ERROR_EXTERNAL_DEVICE, 911)                                                       \
  X(CUDA_ERROR_INVALID_CLUSTER_SIZE, 912)                                                  \
  X(CUDA_ERROR_FUNCTION_NOT_LOADED, 913)                                                   \
  X(CUDA_ERROR_INVALID_RESOURCE_TYPE, 914)                                                 \
  X(CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION, 915)                                        \
  X(CUDA_ERROR_KEY_ROTATION, 916)                                                          \
  X(CUDA_ERROR_UNKNOWN, 999)

/* CUdevice_attribute */
#define CUDA_DEVICE_ATTRIBUTE_TABLE(X)                                                     \
  X(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1)                                          \
  X(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, 2)                                                \
  X(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, 3)                                                \
  X(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 4)                                                \
  X(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, 5)                                                 \
  X(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 6)                                                 \
  X(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, 7)                                                 \
  X(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, 8)                                    \
  X(CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY, 9)                                          \
  X(CU_DEVICE_ATTRIBUTE_WARP_SIZE, 10)                                                     \
  X(CU_DEVICE_ATTRIBUTE_MAX_PITCH, 11)                                                     \
  X(CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, 12)                                       \
  X(CU_DEVICE_ATTRIBUTE_CLOCK_RATE, 13)                                                    \
  X(CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT, 14)                                             \
  X(CU_DEVICE_ATTRIBUTE_GPU_OVERLAP, 15)                                                   \
  X(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 16)                                          \
  X(CU_DEVICE_ATTRIBUTE_KERNEL_EXEC_TIMEOUT, 17)                                           \
  X(CU_DEVICE_ATTRIBUTE_INTEGRATED, 18)                                                    \
  X(CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 19)                                           \
  X(CU_DEVICE_ATTRIBUTE_COMPUTE_MODE, 20)                                                  \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_WIDTH, 21)                                       \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_WIDTH, 22)                                       \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_HEIGHT, 23)                                      \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_WIDTH, 24)                                       \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_HEIGHT, 25)                                      \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_DEPTH, 26)                                       \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_WIDTH, 27)                               \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_HEIGHT, 28)                              \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_LAYERS, 29)                              \
  X(CU_DEVICE_ATTRIBUTE_SURFACE_ALIGNMENT, 30)                                             \
  X(CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS, 31)                                            \
  X(CU_DEVICE_ATTRIBUTE_ECC_ENABLED, 32)                                                   \
  X(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID, 33)                                                    \
  X(CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID, 34)                                                 \
  X(CU_DEVICE_ATTRIBUTE_TCC_DRIVER, 35)                                                    \
  X(CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, 36)                                             \
  X(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, 37)                                       \
  X(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 38)                                                 \
  X(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, 39)                                \
  X(CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT, 40)                                            \
  X(CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 41)                                            \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LAYERED_WIDTH, 42)                               \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LAYERED_LAYERS, 43)                              \
  X(CU_DEVICE_ATTRIBUTE_CAN_TEX2D_GATHER, 44)                                              \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_GATHER_WIDTH, 45)                                \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_GATHER_HEIGHT, 46)                               \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_WIDTH_ALTERNATE, 47)                             \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_HEIGHT_ALTERNATE, 48)                            \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_DEPTH_ALTERNATE, 49)                             \
  X(CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID, 50)                                                 \
  X(CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT, 51)                                       \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_WIDTH, 52)                                  \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_LAYERED_WIDTH, 53)                          \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_LAYERED_LAYERS, 54)                         \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE1D_WIDTH, 55)                                       \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_WIDTH, 56)                                       \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_HEIGHT, 57)                                      \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE3D_WIDTH, 58)                                       \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE3D_HEIGHT, 59)                                      \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE3D_DEPTH, 60)                                       \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE1D_LAYERED_WIDTH, 61)                               \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE1D_LAYERED_LAYERS, 62)                              \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_LAYERED_WIDTH, 63)                               \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_LAYERED_HEIGHT, 64)                              \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_LAYERED_LAYERS, 65)                              \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACECUBEMAP_WIDTH, 66)                                  \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACECUBEMAP_LAYERED_WIDTH, 67)                          \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACECUBEMAP_LAYERED_LAYERS, 68)                         \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LINEAR_WIDTH, 69)                                \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_WIDTH, 70)                                \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_HEIGHT, 71)                               \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_PITCH, 72)                                \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_MIPMAPPED_WIDTH, 73)                             \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_MIPMAPPED_HEIGHT, 74)                            \
  X(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 75)                                      \
  X(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 76)                                      \
  X(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_MIPMAPPED_WIDTH, 77)                             \
  X(CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED, 78)                                   \
  X(CU_DEVICE_ATTRIBUTE_GLOBAL_L1_CACHE_SUPPORTED, 79)                                     \
  X(CU_DEVICE_ATTRIBUTE_LOCAL_L1_CACHE_SUPPORTED, 80)                                      \
  X(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, 81)                          \
  X(CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, 82)                              \
  X(CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY, 83)                                                \
  X(CU_DEVICE_ATTRIBUTE_MULTI_GPU_BOARD, 84)                                               \
  X(CU_DEVICE_ATTRIBUTE_MULTI_GPU_BOARD_GROUP_ID, 85)                                      \
  X(CU_DEVICE_ATTRIBUTE_HOST_NATIVE_ATOMIC_SUPPORTED, 86)                                  \
  X(CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO, 87)                         \
  X(CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS, 88)                                        \
  X(CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS, 89)                                     \
  X(CU_DEVICE_ATTRIBUTE_COMPUTE_PREEMPTION_SUPPORTED, 90)                                  \
  X(CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM, 91)                       \
  X(CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_MEM_OPS_V1, 92)                                     \
  X(CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS_V1, 93)                              \
  X(CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR_V1, 94)                              \
  X(CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, 95)                                            \
  X(CU_DEVICE_ATTRIBUTE_COOPERATIVE_MULTI_DEVICE_LAUNCH, 96)                               \
  X(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 97)                             \
  X(CU_DEVICE_ATTRIBUTE_CAN_FLUSH_REMOTE_WRITES, 98)                                       \
  X(CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED, 99)                                       \
  X(CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES, 100)                 \
  X(CU_DEVICE_ATTRIBUTE_DIRECT_MANAGED_MEM_ACCESS_FROM_HOST, 101)                          \
  X(CU_DEVICE_ATTRIBUTE_VIRTUAL_ADDRESS_MANAGEMENT_SUPPORTED, 102)                         \
  X(CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED, 103)                  \
  X(CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_WIN32_HANDLE_SUPPORTED, 104)                           \
  X(CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_WIN32_KMT_HANDLE_SUPPORTED, 105)                       \
  X(CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR, 106)                                \
  X(CU_DEVICE_ATTRIBUTE_GENERIC_COMPRESSION_SUPPORTED, 107)                                \
  X(CU_DEVICE_ATTRIBUTE_MAX_PERSISTING_L2_CACHE_SIZE, 108)                                 \
  X(CU_DEVICE_ATTRIBUTE_MAX_ACCESS_POLICY_WINDOW_SIZE, 109)                                \
  X(CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED, 110)                      \
  X(CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK, 111)                             \
  X(CU_DEVICE_ATTRIBUTE_SPARSE_CUDA_ARRAY_SUPPORTED, 112)                                  \
  X(CU_DEVICE_ATTRIBUTE_READ_ONLY_HOST_REGISTER_SUPPORTED, 113)                            \
  X(CU_DEVICE_ATTRIBUTE_TIMELINE_SEMAPHORE_INTEROP_SUPPORTED, 114)                         \
  X(CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 115)                                       \
  X(CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_SUPPORTED, 116)                                    \
  X(CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_FLUSH_WRITES_OPTIONS, 117)                         \
  X(CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WRITES_ORDERING, 118)                              \
  X(CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES, 119)                               \
  X(CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH, 120)                                               \
  X(CU_DEVICE_ATTRIBUTE_DEFERRED_MAPPING_CUDA_ARRAY_SUPPORTED, 121)                        \
  X(CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS, 122)                                \
  X(CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR, 123)                                \
  X(CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED, 124)                                            \
  X(CU_DEVICE_ATTRIBUTE_IPC_EVENT_SUPPORTED, 125)                                          \
  X(CU_DEVICE_ATTRIBUTE_MEM_SYNC_DOMAIN_COUNT, 126)                                        \
  X(CU_DEVICE_ATTRIBUTE_TENSOR_MAP_ACCESS_SUPPORTED, 127)                                  \
  X(CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_FABRIC_SUPPORTED, 128)                                 \
  X(CU_DEVICE_ATTRIBUTE_UNIFIED_FUNCTION_POINTERS, 129)                                    \
  X(CU_DEVICE_ATTRIBUTE_NUMA_CONFIG, 130)                                                  \
  X(CU_DEVICE_ATTRIBUTE_NUMA_ID, 131)                                                      \
  X(CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED, 132)                                          \
  X(CU_DEVICE_ATTRIBUTE_MPS_ENABLED, 133)                                                  \
  X(CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID, 134)                                                 \
  X(CU_DEVICE_ATTRIBUTE_D3D12_CIG_SUPPORTED, 135)                                          \
  X(CU_DEVICE_ATTRIBUTE_MEM_DECOMPRESS_ALGORITHM_MASK, 136)                                \
  X(CU_DEVICE_ATTRIBUTE_MEM_DECOMPRESS_MAXIMUM_LENGTH, 137)                                \
  X(CU_DEVICE_ATTRIBUTE_VULKAN_CIG_SUPPORTED, 138)                                         \
  X(CU_DEVICE_ATTRIBUTE_GPU_PCI_DEVICE_ID, 139)                                            \
  X(CU_DEVICE_ATTRIBUTE_GPU_PCI_SUBSYSTEM_ID, 140)                                         \
  X(CU_DEVICE_ATTRIBUTE_HOST_NUMA_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 141)                \
  X(CU_DEVICE_ATTRIBUTE_HOST_NUMA_MEMORY_POOLS_SUPPORTED, 142)                             \
  X(CU_DEVICE_ATTRIBUTE_HOST_NUMA_MULTINODE_IPC_SUPPORTED, 143)                            \
  X(CU_DEVICE_ATTRIBUTE_HOST_MEMORY_POOLS_SUPPORTED, 144)                                  \
  X(CU_DEVICE_ATTRIBUTE_HOST_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 145)                     \
  X(CU_DEVICE_ATTRIBUTE_HOST_ALLOC_DMA_BUF_SUPPORTED, 146)                                 \
  X(CU_DEVICE_ATTRIBUTE_ONLY_PARTIAL_HOST_NATIVE_ATOMIC_SUPPORTED, 147)

/* CUfunction_attribute */
#define CUDA_FUNC_ATTRIBUTE_TABLE(X)                                                       \
  X(CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 0)                                            \
  X(CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, 1)                                                \
  X(CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES, 2)                                                 \
  X(CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, 3)                                                 \
  X(CU_FUNC_ATTRIBUTE_NUM_REGS, 4)                                                         \
  X(CU_FUNC_ATTRIBUTE_PTX_VERSION, 5)                                                      \
  X(CU_FUNC_ATTRIBUTE_BINARY_VERSION, 6)                                                   \
  X(CU_FUNC_ATTRIBUTE_CACHE_MODE_CA, 7)                                                    \
  X(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 8)                                    \
  X(CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, 9)                                 \
  X(CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET, 10)                                        \
  X(CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, 11)                                          \
  X(CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT, 12)                                         \
  X(CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH, 13)                                          \
  X(CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 14)                               \
  X(CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE, 15)

/* CUjit_option */
#define CUDA_JIT_OPTION_TABLE(X)                                                           \
  X(CU_JIT_MAX_REGISTERS, 0)                                                               \
  X(CU_JIT_THREADS_PER_BLOCK, 1)                                                           \
  X(CU_JIT_WALL_TIME, 2)                                                                   \
  X(CU_JIT_INFO_LOG_BUFFER, 3)                                                             \
  X(CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES, 4)                                                  \
  X(CU_JIT_ERROR_LOG_BUFFER, 5)                                                            \
  X(CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, 6)                                                 \
  X(CU_JIT_OPTIMIZATION_LEVEL, 7)                                                          \
  X(CU_JIT_TARGET_FROM_CUCONTEXT, 8)                                                       \
  X(CU_JIT_TARGET, 9)                                                                      \
  X(CU_JIT_GENERATE_DEBUG_INFO, 11)                                                        \
  X(CU_JIT_LOG_VERBOSE, 12)                                                                \
  X(CU_JIT_GENERATE_LINE_INFO, 13)                                                         \
  X(CU_JIT_CACHE_MODE, 14)

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

/* CUstreamCaptureMode */
#define CUDA_CAPTURE_MODE_TABLE(X)                                                         \
  X(CU_STREAM_CAPTURE_MODE_GLOBAL, 0)                                                      \
  X(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL, 1)                                                \
  X(CU_STREAM_CAPTURE_MODE_RELAXED, 2)

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
  X(CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW, 1)                                           \
  X(CU_LAUNCH_ATTRIBUTE_COOPERATIVE, 2)                                                    \
  X(CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY, 3)                                         \
  X(CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, 4)                                              \
  X(CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE, 5)                           \
  X(CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION, 6)                              \
  X(CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT, 7)                                             \
  X(CU_LAUNCH_ATTRIBUTE_PRIORITY, 8)                                                       \
  X(CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP, 9)                                            \
  X(CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN, 10)                                               \
  X(CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION, 11)                                   \
  X(CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT, 12)                                       \
  X(CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE, 13)                                  \
  X(CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, 14)

#ifndef CUDA_ABI_TABLES_ONLY
#define X(name, value) name = value,
enum { CUDA_RESULT_TABLE(X) };
enum { CUDA_FLAG_TABLE(X) };
typedef enum { CUDA_DEVICE_ATTRIBUTE_TABLE(X) } CUdevice_attribute;
typedef enum { CUDA_FUNC_ATTRIBUTE_TABLE(X) } CUfunction_attribute;
typedef enum { CUDA_JIT_OPTION_TABLE(X) } CUjit_option;
typedef enum { CUDA_CAPTURE_TABLE(X) } CUstreamCaptureStatus;
typedef enum { CUDA_CAPTURE_MODE_TABLE(X) } CUstreamCaptureMode;
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
  int cooperative, priority, syncPolicy, clusterSchedulingPolicyPreference, memSyncDomain;
  struct {
    unsigned char default_, remote;
  } memSyncDomainMap;
  struct {
    unsigned x, y, z;
  } preferredClusterDim;
  struct {
    CUevent event;
    int flags;
  } launchCompletionEvent;
  unsigned sharedMemCarveout; /* percent */
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
