/* cuda_graph.h: streams, copies, graphs, capture, cooperative launches and occupancy of
 * the CUDA driver, as cuda_more.h has the rest of what programs other than ours call.
 *
 * Source: CUDA Driver API reference 13.0. */
#ifndef ATTNC_EMULATOR_CUDA_ABI_GRAPH_H
#define ATTNC_EMULATOR_CUDA_ABI_GRAPH_H

#include "abi/cuda_more.h"

#ifndef CUDA_ABI_TABLES_ONLY
typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphNode_st *CUgraphNode;
typedef struct CUgraphExec_st *CUgraphExec;
typedef size_t (*CUoccupancyB2DSize)(int block);
#endif

/* CUgraphNodeType */
#define CUDA_NODE_TYPE_TABLE(X)                                                            \
  X(CU_GRAPH_NODE_TYPE_KERNEL, 0)                                                          \
  X(CU_GRAPH_NODE_TYPE_MEMCPY, 1)                                                          \
  X(CU_GRAPH_NODE_TYPE_MEMSET, 2)                                                          \
  X(CU_GRAPH_NODE_TYPE_HOST, 3)                                                            \
  X(CU_GRAPH_NODE_TYPE_GRAPH, 4)                                                           \
  X(CU_GRAPH_NODE_TYPE_EMPTY, 5)                                                           \
  X(CU_GRAPH_NODE_TYPE_WAIT_EVENT, 6)                                                      \
  X(CU_GRAPH_NODE_TYPE_EVENT_RECORD, 7)                                                    \
  X(CU_GRAPH_NODE_TYPE_EXT_SEMAS_SIGNAL, 8)                                                \
  X(CU_GRAPH_NODE_TYPE_EXT_SEMAS_WAIT, 9)                                                  \
  X(CU_GRAPH_NODE_TYPE_MEM_ALLOC, 10)                                                      \
  X(CU_GRAPH_NODE_TYPE_MEM_FREE, 11)                                                       \
  X(CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, 12)                                                   \
  X(CU_GRAPH_NODE_TYPE_CONDITIONAL, 13)

/* CUstreamUpdateCaptureDependencies_flags */
#define CUDA_CAPTURE_UPDATE_TABLE(X)                                                       \
  X(CU_STREAM_ADD_CAPTURE_DEPENDENCIES, 0)                                                 \
  X(CU_STREAM_SET_CAPTURE_DEPENDENCIES, 1)

/* CUgraphDependencyType */
#define CUDA_DEPENDENCY_TABLE(X)                                                           \
  X(CU_GRAPH_DEPENDENCY_TYPE_DEFAULT, 0)                                                   \
  X(CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC, 1)

/* Where an edge leaves a kernel: macros in cuda.h */
enum { KERNEL_PORT_DEFAULT, KERNEL_PORT_PROGRAMMATIC, KERNEL_PORT_LAUNCH_ORDER };

/* CUgraphExecUpdateResult */
#define CUDA_GRAPH_UPDATE_TABLE(X)                                                         \
  X(CU_GRAPH_EXEC_UPDATE_SUCCESS, 0)                                                       \
  X(CU_GRAPH_EXEC_UPDATE_ERROR, 1)                                                         \
  X(CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED, 2)                                        \
  X(CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED, 3)                                       \
  X(CU_GRAPH_EXEC_UPDATE_ERROR_FUNCTION_CHANGED, 4)                                        \
  X(CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED, 5)                                      \
  X(CU_GRAPH_EXEC_UPDATE_ERROR_NOT_SUPPORTED, 6)                                           \
  X(CU_GRAPH_EXEC_UPDATE_ERROR_UNSUPPORTED_FUNCTION_CHANGE, 7)                             \
  X(CU_GRAPH_EXEC_UPDATE_ERROR_ATTRIBUTES_CHANGED, 8)

/* CUgraphInstantiate_flags */
#define CUDA_INSTANTIATE_FLAG_TABLE(X)                                                     \
  X(CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH, 1)                                    \
  X(CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD, 2)                                                 \
  X(CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH, 4)                                          \
  X(CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY, 8)

/* CUgraphInstantiateResult */
#define CUDA_INSTANTIATE_RESULT_TABLE(X)                                                   \
  X(CUDA_GRAPH_INSTANTIATE_SUCCESS, 0)                                                     \
  X(CUDA_GRAPH_INSTANTIATE_ERROR, 1)                                                       \
  X(CUDA_GRAPH_INSTANTIATE_INVALID_STRUCTURE, 2)                                           \
  X(CUDA_GRAPH_INSTANTIATE_NODE_OPERATION_NOT_SUPPORTED, 3)                                \
  X(CUDA_GRAPH_INSTANTIATE_MULTIPLE_CTXS_NOT_SUPPORTED, 4)

/* Flags of occupancy */
#define CUDA_OCCUPANCY_FLAG_TABLE(X)                                                       \
  X(CU_OCCUPANCY_DEFAULT, 0)                                                               \
  X(CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE, 1)

/* Flags of events: of their making, of a wait for them, of their recording */
#define CUDA_EVENT_FLAG_TABLE(X)                                                           \
  X(CU_EVENT_BLOCKING_SYNC, 1)                                                             \
  X(CU_EVENT_INTERPROCESS, 4)                                                              \
  X(CU_EVENT_WAIT_DEFAULT, 0)                                                              \
  X(CU_EVENT_WAIT_EXTERNAL, 1)                                                             \
  X(CU_EVENT_RECORD_DEFAULT, 0)                                                            \
  X(CU_EVENT_RECORD_EXTERNAL, 1)

#ifndef CUDA_ABI_TABLES_ONLY
#define X(name, value) name = value,
typedef enum { CUDA_NODE_TYPE_TABLE(X) } CUgraphNodeType;
typedef enum { CUDA_GRAPH_UPDATE_TABLE(X) } CUgraphExecUpdateResult;
typedef enum { CUDA_INSTANTIATE_RESULT_TABLE(X) } CUgraphInstantiateResult;
enum { CUDA_CAPTURE_UPDATE_TABLE(X) };
enum { CUDA_DEPENDENCY_TABLE(X) };
enum { CUDA_INSTANTIATE_FLAG_TABLE(X) };
enum { CUDA_EVENT_FLAG_TABLE(X) };
enum { CUDA_OCCUPANCY_FLAG_TABLE(X) };
#undef X

typedef struct CUDA_KERNEL_NODE_PARAMS_st {
  CUfunction func;
  unsigned gridDimX, gridDimY, gridDimZ;
  unsigned blockDimX, blockDimY, blockDimZ;
  unsigned sharedMemBytes;
  void **kernelParams, **extra;
} CUDA_KERNEL_NODE_PARAMS_v1;

typedef struct CUDA_KERNEL_NODE_PARAMS_v2_st {
  CUfunction func;
  unsigned gridDimX, gridDimY, gridDimZ;
  unsigned blockDimX, blockDimY, blockDimZ;
  unsigned sharedMemBytes;
  void **kernelParams, **extra;
  CUkernel kern; /* instead of func */
  CUcontext ctx;
} CUDA_KERNEL_NODE_PARAMS_v2;

typedef struct CUDA_MEMSET_NODE_PARAMS_st {
  CUdeviceptr dst;
  size_t pitch;
  unsigned value, elementSize;
  size_t width, height; /* elements, rows */
} CUDA_MEMSET_NODE_PARAMS;

typedef struct CUDA_HOST_NODE_PARAMS_st {
  CUhostFn fn;
  void *userData;
} CUDA_HOST_NODE_PARAMS;

typedef struct CUgraphEdgeData_st {
  unsigned char from_port, to_port, type, reserved[5];
} CUgraphEdgeData;

typedef struct CUDA_GRAPH_INSTANTIATE_PARAMS_st {
  uint64_t flags;
  CUstream hUploadStream;
  CUgraphNode hErrNode_out;
  CUgraphInstantiateResult result_out;
} CUDA_GRAPH_INSTANTIATE_PARAMS;

typedef struct CUgraphExecUpdateResultInfo_st {
  CUgraphExecUpdateResult result;
  CUgraphNode errorNode, errorFromNode;
} CUgraphExecUpdateResultInfo;
#endif

/* As CUDA_LAYOUT_TABLE and CUDA_SIZE_TABLE. */
#define CUDA_GRAPH_LAYOUT_TABLE(X)                                                         \
  X(CUDA_KERNEL_NODE_PARAMS_v1, func, 0, 8)                                                \
  X(CUDA_KERNEL_NODE_PARAMS_v1, gridDimX, 8, 4)                                            \
  X(CUDA_KERNEL_NODE_PARAMS_v1, blockDimX, 20, 4)                                          \
  X(CUDA_KERNEL_NODE_PARAMS_v1, sharedMemBytes, 32, 4)                                     \
  X(CUDA_KERNEL_NODE_PARAMS_v1, kernelParams, 40, 8)                                       \
  X(CUDA_KERNEL_NODE_PARAMS_v1, extra, 48, 8)                                              \
  X(CUDA_KERNEL_NODE_PARAMS_v2, kernelParams, 40, 8)                                       \
  X(CUDA_KERNEL_NODE_PARAMS_v2, kern, 56, 8)                                               \
  X(CUDA_KERNEL_NODE_PARAMS_v2, ctx, 64, 8)                                                \
  X(CUDA_MEMSET_NODE_PARAMS, dst, 0, 8)                                                    \
  X(CUDA_MEMSET_NODE_PARAMS, pitch, 8, 8)                                                  \
  X(CUDA_MEMSET_NODE_PARAMS, value, 16, 4)                                                 \
  X(CUDA_MEMSET_NODE_PARAMS, elementSize, 20, 4)                                           \
  X(CUDA_MEMSET_NODE_PARAMS, width, 24, 8)                                                 \
  X(CUDA_MEMSET_NODE_PARAMS, height, 32, 8)                                                \
  X(CUDA_HOST_NODE_PARAMS, fn, 0, 8)                                                       \
  X(CUDA_HOST_NODE_PARAMS, userData, 8, 8)                                                 \
  X(CUgraphEdgeData, from_port, 0, 1)                                                      \
  X(CUgraphEdgeData, to_port, 1, 1)                                                        \
  X(CUgraphEdgeData, type, 2, 1)                                                           \
  X(CUDA_GRAPH_INSTANTIATE_PARAMS, flags, 0, 8)                                            \
  X(CUDA_GRAPH_INSTANTIATE_PARAMS, hUploadStream, 8, 8)                                    \
  X(CUDA_GRAPH_INSTANTIATE_PARAMS, hErrNode_out, 16, 8)                                    \
  X(CUDA_GRAPH_INSTANTIATE_PARAMS, result_out, 24, 4)                                      \
  X(CUgraphExecUpdateResultInfo, result, 0, 4)                                             \
  X(CUgraphExecUpdateResultInfo, errorNode, 8, 8)                                          \
  X(CUgraphExecUpdateResultInfo, errorFromNode, 16, 8)
#define CUDA_GRAPH_SIZE_TABLE(X)                                                           \
  X(CUDA_KERNEL_NODE_PARAMS_v1, 56)                                                        \
  X(CUDA_KERNEL_NODE_PARAMS_v2, 72)                                                        \
  X(CUDA_MEMSET_NODE_PARAMS, 40)                                                           \
  X(CUDA_HOST_NODE_PARAMS, 16)                                                             \
  X(CUgraphEdgeData, 8)                                                                    \
  X(CUDA_GRAPH_INSTANTIATE_PARAMS, 32)                                                     \
  X(CUgraphExecUpdateResultInfo, 24)

#define X(type, member, at, bytes)                                                         \
  _Static_assert(offsetof(type, member) == at && sizeof(((type *)0)->member) == bytes,     \
                 #type "." #member);
CUDA_GRAPH_LAYOUT_TABLE(X)
#undef X
#define X(type, bytes) _Static_assert(sizeof(type) == bytes, #type);
CUDA_GRAPH_SIZE_TABLE(X)
#undef X

/* Entry points: CUDA version that has it, name, symbol as exported, arguments. */
#define CUDA_STREAM_ENTRY_TABLE(X)                                                         \
  X(5050, cuStreamCreateWithPriority, cuStreamCreateWithPriority,                          \
    (CUstream *, unsigned, int))                                                           \
  X(5050, cuStreamGetPriority, cuStreamGetPriority, (CUstream, int *))                     \
  X(5050, cuStreamGetFlags, cuStreamGetFlags, (CUstream, unsigned *))                      \
  X(12000, cuStreamGetId, cuStreamGetId, (CUstream, unsigned long long *))                 \
  X(9020, cuStreamGetCtx, cuStreamGetCtx, (CUstream, CUcontext *))                         \
  X(12080, cuStreamGetDevice, cuStreamGetDevice, (CUstream, CUdevice *))                   \
  X(3020, cuStreamWaitEvent, cuStreamWaitEvent, (CUstream, CUevent, unsigned))             \
  X(2000, cuStreamQuery, cuStreamQuery, (CUstream))                                        \
  X(5000, cuStreamAddCallback, cuStreamAddCallback,                                        \
    (CUstream, CUstreamCallback, void *, unsigned))                                        \
  X(6000, cuStreamAttachMemAsync, cuStreamAttachMemAsync,                                  \
    (CUstream, CUdeviceptr, size_t, unsigned))                                             \
  X(10000, cuLaunchHostFunc, cuLaunchHostFunc, (CUstream, CUhostFn, void *))               \
  X(2000, cuEventQuery, cuEventQuery, (CUevent))                                           \
  X(12080, cuEventElapsedTime, cuEventElapsedTime_v2, (float *, CUevent, CUevent))         \
  X(11010, cuEventRecordWithFlags, cuEventRecordWithFlags, (CUevent, CUstream, unsigned))  \
  X(4000, cuMemcpy, cuMemcpy, (CUdeviceptr, CUdeviceptr, size_t))                          \
  X(4000, cuMemcpyAsync, cuMemcpyAsync, (CUdeviceptr, CUdeviceptr, size_t, CUstream))      \
  X(3020, cuMemcpyHtoDAsync, cuMemcpyHtoDAsync_v2,                                         \
    (CUdeviceptr, const void *, size_t, CUstream))                                         \
  X(3020, cuMemcpyDtoHAsync, cuMemcpyDtoHAsync_v2,                                         \
    (void *, CUdeviceptr, size_t, CUstream))                                               \
  X(3020, cuMemcpyDtoD, cuMemcpyDtoD_v2, (CUdeviceptr, CUdeviceptr, size_t))               \
  X(3020, cuMemcpyDtoDAsync, cuMemcpyDtoDAsync_v2,                                         \
    (CUdeviceptr, CUdeviceptr, size_t, CUstream))                                          \
  X(4000, cuMemcpyPeer, cuMemcpyPeer,                                                      \
    (CUdeviceptr, CUcontext, CUdeviceptr, CUcontext, size_t))                              \
  X(4000, cuMemcpyPeerAsync, cuMemcpyPeerAsync,                                            \
    (CUdeviceptr, CUcontext, CUdeviceptr, CUcontext, size_t, CUstream))                    \
  X(3020, cuMemcpy2D, cuMemcpy2D_v2, (const CUDA_MEMCPY2D *))                              \
  X(3020, cuMemcpy2DUnaligned, cuMemcpy2DUnaligned_v2, (const CUDA_MEMCPY2D *))            \
  X(3020, cuMemcpy2DAsync, cuMemcpy2DAsync_v2, (const CUDA_MEMCPY2D *, CUstream))          \
  X(3020, cuMemcpy3D, cuMemcpy3D_v2, (const CUDA_MEMCPY3D *))                              \
  X(3020, cuMemcpy3DAsync, cuMemcpy3DAsync_v2, (const CUDA_MEMCPY3D *, CUstream))          \
  X(4000, cuMemcpy3DPeer, cuMemcpy3DPeer, (const CUDA_MEMCPY3D_PEER *))                    \
  X(4000, cuMemcpy3DPeerAsync, cuMemcpy3DPeerAsync,                                        \
    (const CUDA_MEMCPY3D_PEER *, CUstream))                                                \
  X(3020, cuMemsetD16, cuMemsetD16_v2, (CUdeviceptr, unsigned short, size_t))              \
  X(3020, cuMemsetD16Async, cuMemsetD16Async,                                              \
    (CUdeviceptr, unsigned short, size_t, CUstream))                                       \
  X(3020, cuMemsetD32Async, cuMemsetD32Async, (CUdeviceptr, unsigned, size_t, CUstream))   \
  X(3020, cuMemsetD2D8, cuMemsetD2D8_v2,                                                   \
    (CUdeviceptr, size_t, unsigned char, size_t, size_t))                                  \
  X(3020, cuMemsetD2D8Async, cuMemsetD2D8Async,                                            \
    (CUdeviceptr, size_t, unsigned char, size_t, size_t, CUstream))                        \
  X(3020, cuMemsetD2D16, cuMemsetD2D16_v2,                                                 \
    (CUdeviceptr, size_t, unsigned short, size_t, size_t))                                 \
  X(3020, cuMemsetD2D16Async, cuMemsetD2D16Async,                                          \
    (CUdeviceptr, size_t, unsigned short, size_t, size_t, CUstream))                       \
  X(3020, cuMemsetD2D32, cuMemsetD2D32_v2,                                                 \
    (CUdeviceptr, size_t, unsigned, size_t, size_t))                                       \
  X(3020, cuMemsetD2D32Async, cuMemsetD2D32Async,                                          \
    (CUdeviceptr, size_t, unsigned, size_t, size_t, CUstream))
#define CUDA_GRAPH_ENTRY_TABLE(X)                                                          \
  X(9000, cuLaunchCooperativeKernel, cuLaunchCooperativeKernel,                            \
    (CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,     \
     CUstream, void **))                                                                   \
  X(7000, cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags,                            \
    cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags,                                  \
    (int *, CUfunction, int, size_t, unsigned))                                            \
  X(6050, cuOccupancyMaxPotentialBlockSize, cuOccupancyMaxPotentialBlockSize,              \
    (int *, int *, CUfunction, CUoccupancyB2DSize, size_t, int))                           \
  X(7000, cuOccupancyMaxPotentialBlockSizeWithFlags,                                       \
    cuOccupancyMaxPotentialBlockSizeWithFlags,                                             \
    (int *, int *, CUfunction, CUoccupancyB2DSize, size_t, int, unsigned))                 \
  X(10020, cuOccupancyAvailableDynamicSMemPerBlock,                                        \
    cuOccupancyAvailableDynamicSMemPerBlock, (size_t *, CUfunction, int, int))             \
  X(11070, cuOccupancyMaxPotentialClusterSize, cuOccupancyMaxPotentialClusterSize,         \
    (int *, CUfunction, const CUlaunchConfig *))                                           \
  X(11070, cuOccupancyMaxActiveClusters, cuOccupancyMaxActiveClusters,                     \
    (int *, CUfunction, const CUlaunchConfig *))                                           \
  X(10010, cuStreamBeginCapture, cuStreamBeginCapture_v2, (CUstream, CUstreamCaptureMode)) \
  X(12030, cuStreamBeginCaptureToGraph, cuStreamBeginCaptureToGraph,                       \
    (CUstream, CUgraph, const CUgraphNode *, const CUgraphEdgeData *, size_t,              \
     CUstreamCaptureMode))                                                                 \
  X(10000, cuStreamEndCapture, cuStreamEndCapture, (CUstream, CUgraph *))                  \
  X(10010, cuThreadExchangeStreamCaptureMode, cuThreadExchangeStreamCaptureMode,           \
    (CUstreamCaptureMode *))                                                               \
  X(10010, cuStreamGetCaptureInfo, cuStreamGetCaptureInfo,                                 \
    (CUstream, CUstreamCaptureStatus *, uint64_t *))                                       \
  X(11030, cuStreamGetCaptureInfo, cuStreamGetCaptureInfo_v2,                              \
    (CUstream, CUstreamCaptureStatus *, uint64_t *, CUgraph *, const CUgraphNode **,       \
     size_t *))                                                                            \
  X(12030, cuStreamGetCaptureInfo, cuStreamGetCaptureInfo_v3,                              \
    (CUstream, CUstreamCaptureStatus *, uint64_t *, CUgraph *, const CUgraphNode **,       \
     const CUgraphEdgeData **, size_t *))                                                  \
  X(11030, cuStreamUpdateCaptureDependencies, cuStreamUpdateCaptureDependencies,           \
    (CUstream, CUgraphNode *, size_t, unsigned))                                           \
  X(12030, cuStreamUpdateCaptureDependencies, cuStreamUpdateCaptureDependencies_v2,        \
    (CUstream, CUgraphNode *, const CUgraphEdgeData *, size_t, unsigned))                  \
  X(10000, cuGraphCreate, cuGraphCreate, (CUgraph *, unsigned))                            \
  X(10000, cuGraphDestroy, cuGraphDestroy, (CUgraph))                                      \
  X(10000, cuGraphClone, cuGraphClone, (CUgraph *, CUgraph))                               \
  X(10000, cuGraphNodeFindInClone, cuGraphNodeFindInClone,                                 \
    (CUgraphNode *, CUgraphNode, CUgraph))                                                 \
  X(10000, cuGraphDestroyNode, cuGraphDestroyNode, (CUgraphNode))                          \
  X(10000, cuGraphAddKernelNode, cuGraphAddKernelNode,                                     \
    (CUgraphNode *, CUgraph, const CUgraphNode *, size_t,                                  \
     const CUDA_KERNEL_NODE_PARAMS_v1 *))                                                  \
  X(12000, cuGraphAddKernelNode, cuGraphAddKernelNode_v2,                                  \
    (CUgraphNode *, CUgraph, const CUgraphNode *, size_t,                                  \
     const CUDA_KERNEL_NODE_PARAMS_v2 *))                                                  \
  X(10000, cuGraphAddMemcpyNode, cuGraphAddMemcpyNode,                                     \
    (CUgraphNode *, CUgraph, const CUgraphNode *, size_t, const CUDA_MEMCPY3D *,           \
     CUcontext))                                                                           \
  X(10000, cuGraphAddMemsetNode, cuGraphAddMemsetNode,                                     \
    (CUgraphNode *, CUgraph, const CUgraphNode *, size_t, const CUDA_MEMSET_NODE_PARAMS *, \
     CUcontext))                                                                           \
  X(10000, cuGraphAddHostNode, cuGraphAddHostNode,                                         \
    (CUgraphNode *, CUgraph, const CUgraphNode *, size_t, const CUDA_HOST_NODE_PARAMS *))  \
  X(10000, cuGraphAddChildGraphNode, cuGraphAddChildGraphNode,                             \
    (CUgraphNode *, CUgraph, const CUgraphNode *, size_t, CUgraph))                        \
  X(10000, cuGraphAddEmptyNode, cuGraphAddEmptyNode,                                       \
    (CUgraphNode *, CUgraph, const CUgraphNode *, size_t))                                 \
  X(11010, cuGraphAddEventRecordNode, cuGraphAddEventRecordNode,                           \
    (CUgraphNode *, CUgraph, const CUgraphNode *, size_t, CUevent))                        \
  X(11010, cuGraphAddEventWaitNode, cuGraphAddEventWaitNode,                               \
    (CUgraphNode *, CUgraph, const CUgraphNode *, size_t, CUevent))                        \
  X(10000, cuGraphKernelNodeGetParams, cuGraphKernelNodeGetParams,                         \
    (CUgraphNode, CUDA_KERNEL_NODE_PARAMS_v1 *))                                           \
  X(12000, cuGraphKernelNodeGetParams, cuGraphKernelNodeGetParams_v2,                      \
    (CUgraphNode, CUDA_KERNEL_NODE_PARAMS_v2 *))                                           \
  X(10000, cuGraphKernelNodeSetParams, cuGraphKernelNodeSetParams,                         \
    (CUgraphNode, const CUDA_KERNEL_NODE_PARAMS_v1 *))                                     \
  X(12000, cuGraphKernelNodeSetParams, cuGraphKernelNodeSetParams_v2,                      \
    (CUgraphNode, const CUDA_KERNEL_NODE_PARAMS_v2 *))                                     \
  X(10000, cuGraphMemcpyNodeGetParams, cuGraphMemcpyNodeGetParams,                         \
    (CUgraphNode, CUDA_MEMCPY3D *))                                                        \
  X(10000, cuGraphMemcpyNodeSetParams, cuGraphMemcpyNodeSetParams,                         \
    (CUgraphNode, const CUDA_MEMCPY3D *))                                                  \
  X(10000, cuGraphMemsetNodeGetParams, cuGraphMemsetNodeGetParams,                         \
    (CUgraphNode, CUDA_MEMSET_NODE_PARAMS *))                                              \
  X(10000, cuGraphMemsetNodeSetParams, cuGraphMemsetNodeSetParams,                         \
    (CUgraphNode, const CUDA_MEMSET_NODE_PARAMS *))                                        \
  X(10000, cuGraphHostNodeGetParams, cuGraphHostNodeGetParams,                             \
    (CUgraphNode, CUDA_HOST_NODE_PARAMS *))                                                \
  X(10000, cuGraphHostNodeSetParams, cuGraphHostNodeSetParams,                             \
    (CUgraphNode, const CUDA_HOST_NODE_PARAMS *))                                          \
  X(11010, cuGraphEventRecordNodeGetEvent, cuGraphEventRecordNodeGetEvent,                 \
    (CUgraphNode, CUevent *))                                                              \
  X(11010, cuGraphEventRecordNodeSetEvent, cuGraphEventRecordNodeSetEvent,                 \
    (CUgraphNode, CUevent))                                                                \
  X(11010, cuGraphEventWaitNodeGetEvent, cuGraphEventWaitNodeGetEvent,                     \
    (CUgraphNode, CUevent *))                                                              \
  X(11010, cuGraphEventWaitNodeSetEvent, cuGraphEventWaitNodeSetEvent,                     \
    (CUgraphNode, CUevent))                                                                \
  X(11010, cuGraphExecEventRecordNodeSetEvent, cuGraphExecEventRecordNodeSetEvent,         \
    (CUgraphExec, CUgraphNode, CUevent))                                                   \
  X(11010, cuGraphExecEventWaitNodeSetEvent, cuGraphExecEventWaitNodeSetEvent,             \
    (CUgraphExec, CUgraphNode, CUevent))                                                   \
  X(11000, cuGraphKernelNodeCopyAttributes, cuGraphKernelNodeCopyAttributes,               \
    (CUgraphNode, CUgraphNode))                                                            \
  X(11000, cuGraphKernelNodeGetAttribute, cuGraphKernelNodeGetAttribute,                   \
    (CUgraphNode, CUlaunchAttributeID, CUlaunchAttributeValue *))                          \
  X(11000, cuGraphKernelNodeSetAttribute, cuGraphKernelNodeSetAttribute,                   \
    (CUgraphNode, CUlaunchAttributeID, const CUlaunchAttributeValue *))                    \
  X(11030, cuGraphDebugDotPrint, cuGraphDebugDotPrint, (CUgraph, const char *, unsigned))  \
  X(10000, cuGraphChildGraphNodeGetGraph, cuGraphChildGraphNodeGetGraph,                   \
    (CUgraphNode, CUgraph *))                                                              \
  X(10000, cuGraphNodeGetType, cuGraphNodeGetType, (CUgraphNode, CUgraphNodeType *))       \
  X(10000, cuGraphGetNodes, cuGraphGetNodes, (CUgraph, CUgraphNode *, size_t *))           \
  X(10000, cuGraphGetRootNodes, cuGraphGetRootNodes, (CUgraph, CUgraphNode *, size_t *))   \
  X(10000, cuGraphGetEdges, cuGraphGetEdges,                                               \
    (CUgraph, CUgraphNode *, CUgraphNode *, size_t *))                                     \
  X(12030, cuGraphGetEdges, cuGraphGetEdges_v2,                                            \
    (CUgraph, CUgraphNode *, CUgraphNode *, CUgraphEdgeData *, size_t *))                  \
  X(10000, cuGraphNodeGetDependencies, cuGraphNodeGetDependencies,                         \
    (CUgraphNode, CUgraphNode *, size_t *))                                                \
  X(12030, cuGraphNodeGetDependencies, cuGraphNodeGetDependencies_v2,                      \
    (CUgraphNode, CUgraphNode *, CUgraphEdgeData *, size_t *))                             \
  X(10000, cuGraphNodeGetDependentNodes, cuGraphNodeGetDependentNodes,                     \
    (CUgraphNode, CUgraphNode *, size_t *))                                                \
  X(12030, cuGraphNodeGetDependentNodes, cuGraphNodeGetDependentNodes_v2,                  \
    (CUgraphNode, CUgraphNode *, CUgraphEdgeData *, size_t *))                             \
  X(10000, cuGraphAddDependencies, cuGraphAddDependencies,                                 \
    (CUgraph, const CUgraphNode *, const CUgraphNode *, size_t))                           \
  X(12030, cuGraphAddDependencies, cuGraphAddDependencies_v2,                              \
    (CUgraph, const CUgraphNode *, const CUgraphNode *, const CUgraphEdgeData *, size_t))  \
  X(10000, cuGraphRemoveDependencies, cuGraphRemoveDependencies,                           \
    (CUgraph, const CUgraphNode *, const CUgraphNode *, size_t))                           \
  X(12030, cuGraphRemoveDependencies, cuGraphRemoveDependencies_v2,                        \
    (CUgraph, const CUgraphNode *, const CUgraphNode *, const CUgraphEdgeData *, size_t))  \
  X(11040, cuGraphInstantiateWithFlags, cuGraphInstantiateWithFlags,                       \
    (CUgraphExec *, CUgraph, unsigned long long))                                          \
  X(12000, cuGraphInstantiateWithParams, cuGraphInstantiateWithParams,                     \
    (CUgraphExec *, CUgraph, CUDA_GRAPH_INSTANTIATE_PARAMS *))                             \
  X(12000, cuGraphExecGetFlags, cuGraphExecGetFlags, (CUgraphExec, uint64_t *))            \
  X(11010, cuGraphUpload, cuGraphUpload, (CUgraphExec, CUstream))                          \
  X(10000, cuGraphLaunch, cuGraphLaunch, (CUgraphExec, CUstream))                          \
  X(10000, cuGraphExecDestroy, cuGraphExecDestroy, (CUgraphExec))                          \
  X(10020, cuGraphExecUpdate, cuGraphExecUpdate,                                           \
    (CUgraphExec, CUgraph, CUgraphNode *, CUgraphExecUpdateResult *))                      \
  X(12000, cuGraphExecUpdate, cuGraphExecUpdate_v2,                                        \
    (CUgraphExec, CUgraph, CUgraphExecUpdateResultInfo *))                                 \
  X(10010, cuGraphExecKernelNodeSetParams, cuGraphExecKernelNodeSetParams,                 \
    (CUgraphExec, CUgraphNode, const CUDA_KERNEL_NODE_PARAMS_v1 *))                        \
  X(12000, cuGraphExecKernelNodeSetParams, cuGraphExecKernelNodeSetParams_v2,              \
    (CUgraphExec, CUgraphNode, const CUDA_KERNEL_NODE_PARAMS_v2 *))                        \
  X(10020, cuGraphExecMemcpyNodeSetParams, cuGraphExecMemcpyNodeSetParams,                 \
    (CUgraphExec, CUgraphNode, const CUDA_MEMCPY3D *, CUcontext))                          \
  X(10020, cuGraphExecMemsetNodeSetParams, cuGraphExecMemsetNodeSetParams,                 \
    (CUgraphExec, CUgraphNode, const CUDA_MEMSET_NODE_PARAMS *, CUcontext))                \
  X(10020, cuGraphExecHostNodeSetParams, cuGraphExecHostNodeSetParams,                     \
    (CUgraphExec, CUgraphNode, const CUDA_HOST_NODE_PARAMS *))                             \
  X(11010, cuGraphExecChildGraphNodeSetParams, cuGraphExecChildGraphNodeSetParams,         \
    (CUgraphExec, CUgraphNode, CUgraph))                                                   \
  X(11060, cuGraphNodeSetEnabled, cuGraphNodeSetEnabled,                                   \
    (CUgraphExec, CUgraphNode, unsigned))                                                  \
  X(11060, cuGraphNodeGetEnabled, cuGraphNodeGetEnabled,                                   \
    (CUgraphExec, CUgraphNode, unsigned *))

#endif
