/* The few functions of the CUDA runtime that FlashAttention-3's host code calls, on those
 * of the driver: so its kernels, as PTX in a file, are launched on whatever driver this is
 * linked with, the emulated one as well.  CUDA Runtime API, and crt/host_runtime.h for the
 * names with __. */
#define _GNU_SOURCE /* RTLD_DEFAULT */
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "bench/fa3/cudart.h"

enum { MAX_KERNELS = 16 };

static struct {
  const void *host; /* the host's function that stands for the kernel */
  const char *name;
  CUfunction f;
} kernels[MAX_KERNELS];
static int kernel_count;
static CUmodule module;
static struct {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
} configuration;
static cudaError_t last;

static cudaError_t
kept(CUresult r)
{
  last = r ? (cudaError_t)r : last;
  return (cudaError_t)r;
}

int
cudart_open(const char *ptx, char *log, size_t n)
{
  CUdevice device;
  CUcontext context;
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {log, (void *)n};
  CUresult r = cuInit(0);
  r = r ? r : cuDeviceGet(&device, 0);
  r = r ? r : cuDevicePrimaryCtxRetain(&context, device);
  r = r ? r : cuCtxSetCurrent(context);
  return (int)(r ? r : cuModuleLoadDataEx(&module, ptx, 2, options, values));
}

static CUfunction
function_of(const void *host)
{
  for (int i = 0; i < kernel_count; i++)
    if (kernels[i].host == host) {
      if (!kernels[i].f)
        kept(cuModuleGetFunction(&kernels[i].f, module, kernels[i].name));
      return kernels[i].f;
    }
  return NULL;
}

void **
__cudaRegisterFatBinary(void *binary)
{
  (void)binary; /* its PTX comes from the file */
  return (void **)&module;
}

void
__cudaRegisterFatBinaryEnd(void **handle)
{
  (void)handle;
}

void
__cudaUnregisterFatBinary(void **handle)
{
  (void)handle;
}

void
__cudaRegisterFunction(void **handle, const char *host, char *device, const char *name,
                       int limit, uint3 *tid, uint3 *bid, dim3 *block, dim3 *grid,
                       int *size)
{
  (void)handle, (void)device, (void)limit, (void)tid, (void)bid, (void)block, (void)grid,
      (void)size;
  if (kernel_count == MAX_KERNELS)
    abort();
  kernels[kernel_count].host = host;
  kernels[kernel_count++].name = name;
}

void
__cudaRegisterVar(void **handle, char *host, char *device, const char *name, int ext,
                  size_t size, int constant, int global)
{
  (void)handle, (void)host, (void)device, (void)name, (void)ext, (void)size;
  (void)constant, (void)global; /* the host never sets one */
}

unsigned
__cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared,
                            struct CUstream_st *stream)
{
  configuration.grid = grid, configuration.block = block;
  configuration.shared = shared, configuration.stream = stream;
  return 0;
}

cudaError_t
__cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream)
{
  *grid = configuration.grid, *block = configuration.block, *shared = configuration.shared;
  memcpy(stream, &configuration.stream, sizeof configuration.stream);
  return cudaSuccess;
}

static cudaError_t
launch(const void *host, CUlaunchConfig c, void **args)
{
  CUfunction f = function_of(host);
  return kept(f ? cuLaunchKernelEx(&c, f, args, NULL) : CUDA_ERROR_NOT_FOUND);
}

static CUlaunchConfig
config_of(dim3 grid, dim3 block, size_t shared, cudaStream_t stream)
{
  return (CUlaunchConfig){.gridDimX = grid.x,
                          .gridDimY = grid.y,
                          .gridDimZ = grid.z,
                          .blockDimX = block.x,
                          .blockDimY = block.y,
                          .blockDimZ = block.z,
                          .sharedMemBytes = (unsigned)shared,
                          .hStream = stream};
}

/* A kernel's handle is the address of its host function. */
cudaError_t
__cudaGetKernel(cudaKernel_t *kernel, const void *host)
{
  *kernel = (cudaKernel_t)host;
  return cudaSuccess;
}

cudaError_t
__cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **args, size_t shared,
                   cudaStream_t stream)
{
  return launch(kernel, config_of(grid, block, shared, stream), args);
}

/* Of the attributes those that both interfaces number alike: they are the driver's. */
cudaError_t
cudaLaunchKernelExC(const cudaLaunchConfig_t *c, const void *host, void **args)
{
  CUlaunchConfig d = config_of(c->gridDim, c->blockDim, c->dynamicSmemBytes, c->stream);
  d.attrs = (CUlaunchAttribute *)c->attrs;
  d.numAttrs = c->numAttrs;
  return launch(host, d, args);
}

cudaError_t
cudaFuncSetAttribute(const void *host, enum cudaFuncAttribute attribute, int value)
{
  CUfunction f = function_of(host);
  return f ? kept(cuFuncSetAttribute(f, (CUfunction_attribute)attribute, value))
           : kept(CUDA_ERROR_NOT_FOUND);
}

cudaError_t
cudaGetDevice(int *device)
{
  *device = 0;
  return cudaSuccess;
}

cudaError_t
cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device)
{
  return kept(cuDeviceGetAttribute(value, (CUdevice_attribute)attribute, device));
}

cudaError_t
cudaDriverGetVersion(int *version)
{
  return kept(cuDriverGetVersion(version));
}

cudaError_t
cudaGetDriverEntryPointByVersion(const char *name, void **f, unsigned version,
                                 unsigned long long flags,
                                 enum cudaDriverEntryPointQueryResult *status)
{
  (void)version, (void)flags;
  *f = dlsym(RTLD_DEFAULT, name);
  if (status)
    *status = *f ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return kept(*f ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND);
}

const char *
cudaGetErrorString(cudaError_t e)
{
  const char *text = NULL;
  return cuGetErrorString((CUresult)e, &text) || !text ? "an error without a name" : text;
}

cudaError_t
cudaGetLastError(void)
{
  cudaError_t e = last;
  last = cudaSuccess;
  return e;
}
