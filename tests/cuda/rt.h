/* rt.h: the CUDA runtime's functions as far as the programs here call them, in our own
 * words, over the driver's.  rt.c has them; programs that nvcc makes link with it instead
 * of with NVIDIA's runtime, and programs whose host part a C compiler makes include this.
 *
 * Numbers, structs and names are the CUDA Runtime API's, 13.0; what nvcc's code calls
 * besides is declared in its crt/host_runtime.h. */
#ifndef ATTNC_TESTS_CUDA_RT_H
#define ATTNC_TESTS_CUDA_RT_H

#include <stddef.h>

typedef int cudaError_t;
enum {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidSymbol = 13,
  cudaErrorInvalidDeviceFunction = 98,
  cudaErrorAssert = 710,
  cudaErrorNotSupported = 801,
  cudaErrorUnknown = 999,
};
enum {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault,
};
enum { cudaMemAttachGlobal = 1 };
enum { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum { cudaStreamCaptureModeGlobal = 0 };

typedef struct dim3 {
  unsigned x, y, z;
} dim3;
typedef struct CUstream_st *cudaStream_t;
typedef struct CUgraph_st *cudaGraph_t;
typedef struct CUgraphExec_st *cudaGraphExec_t;
typedef struct CUkern_st *cudaKernel_t;

#define RT_TABLE(X)                                                                        \
  X(cudaGetLastError, (void))                                                              \
  X(cudaMalloc, (void **, size_t))                                                         \
  X(cudaMallocHost, (void **, size_t))                                                     \
  X(cudaMallocManaged, (void **, size_t, unsigned))                                        \
  X(cudaFree, (void *))                                                                    \
  X(cudaFreeHost, (void *))                                                                \
  X(cudaMemset, (void *, int, size_t))                                                     \
  X(cudaMemsetAsync, (void *, int, size_t, cudaStream_t))                                  \
  X(cudaMemcpy, (void *, const void *, size_t, int))                                       \
  X(cudaMemcpyAsync, (void *, const void *, size_t, int, cudaStream_t))                    \
  X(cudaMemcpyToSymbol, (const void *, const void *, size_t, size_t, int))                 \
  X(cudaMemcpyFromSymbol, (void *, const void *, size_t, size_t, int))                     \
  X(cudaGetSymbolAddress, (void **, const void *))                                         \
  X(cudaDeviceSynchronize, (void))                                                         \
  X(cudaStreamCreate, (cudaStream_t *))                                                    \
  X(cudaStreamDestroy, (cudaStream_t))                                                     \
  X(cudaStreamSynchronize, (cudaStream_t))                                                 \
  X(cudaStreamBeginCapture, (cudaStream_t, int))                                           \
  X(cudaStreamEndCapture, (cudaStream_t, cudaGraph_t *))                                   \
  X(cudaGraphInstantiate, (cudaGraphExec_t *, cudaGraph_t, unsigned long long))            \
  X(cudaGraphLaunch, (cudaGraphExec_t, cudaStream_t))                                      \
  X(cudaGraphExecDestroy, (cudaGraphExec_t))                                               \
  X(cudaGraphDestroy, (cudaGraph_t))                                                       \
  X(cudaFuncSetAttribute, (const void *, int, int))                                        \
  X(cudaLaunchKernel, (const void *, dim3, dim3, void **, size_t, cudaStream_t))           \
  X(cudaLaunchCooperativeKernel, (const void *, dim3, dim3, void **, size_t, cudaStream_t))

#define X(name, args) cudaError_t name args;
RT_TABLE(X)
#undef X
const char *cudaGetErrorString(cudaError_t);

/* What stands for a kernel or a variable where no compiler has registered it: by name, in
 * the PTX text of the program, whose file main names. */
void rt_program(const char *ptx_file);
const void *rt_kernel(const char *name);
const void *rt_symbol(const char *name);

#endif
