/* A CUDA runtime over the driver, small and slow, for the programs here: rt.h.  It is
 * linked in NVIDIA's place, so what it has is checked by what nvcc makes of them. */
#include "tests/cuda/rt.h"

#include "abi/cuda_more.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODULES = 8, NAMES = 64 };

/* Code that was registered, or read from a file: a library of the driver's. */
typedef struct Module {
  const void *image;
  CUlibrary library;
} Module;

/* A kernel or a variable: `host` stands for it in the program. */
typedef struct Name {
  const void *host;
  const char *name;
  int module;
  void **managed; /* where its address is wanted */
} Name;

static Module modules[MODULES];
static Name names[NAMES];
static int n_modules, n_names;
static cudaError_t last;
static void *driver;

/* ---- the driver ---- */

static void
fail(const char *what)
{
  fprintf(stderr, "%s\n", what);
  exit(1);
}

/* A function of the driver, as the runtime's own would find it. */
static void *
entry(const char *name)
{
  static CUresult (*get)(const char *, void **, int, uint64_t,
                         CUdriverProcAddressQueryResult *);
  void *p = NULL;
  if (!driver) {
    driver = dlopen("libcuda.so.1", RTLD_NOW);
    if (!driver)
      fail(dlerror());
    *(void **)&get = dlsym(driver, "cuGetProcAddress_v2");
  }
  if (!get || get(name, &p, 13000, 0, NULL) || !p)
    fail(name);
  return p;
}

#define CALL(type, name, ...) ((CUresult(*) type)entry(#name))(__VA_ARGS__)

static void
load(Module *m)
{
  if (m->library)
    return;
  CUresult r = CALL((CUlibrary *, const void *, CUjit_option *, void **, unsigned,
                     CUlibraryOption *, void **, unsigned),
                    cuLibraryLoadData, &m->library, m->image, NULL, NULL, 0, NULL, NULL, 0);
  if (r)
    last = r;
}

/* Where a managed variable is, for its host's side. */
static void
place(const Name *n)
{
  CUdeviceptr p = 0;
  size_t bytes;
  if (n->managed && modules[n->module].library &&
      !CALL((CUdeviceptr *, size_t *, CUlibrary, const char *), cuLibraryGetManaged, &p,
            &bytes, modules[n->module].library, n->name))
    *n->managed = (void *)p;
}

static void
start(void)
{
  static int started;
  CUcontext c;
  if (started++)
    return;
  CUresult r = CALL((unsigned), cuInit, 0);
  r = r ? r : CALL((CUcontext *, CUdevice), cuDevicePrimaryCtxRetain, &c, 0);
  r = r ? r : CALL((CUcontext), cuCtxSetCurrent, c);
  if (r)
    fail("the driver does not start");
  for (int i = 0; i < n_modules; i++)
    load(&modules[i]);
  for (int i = 0; i < n_names; i++)
    place(&names[i]);
}

static cudaError_t
done(CUresult r)
{
  if (r)
    last = r;
  return r;
}

#define RT(type, name, ...) (start(), done(CALL(type, name, __VA_ARGS__)))

/* ---- names ---- */

static Name *
add(const void *host, const char *name, int module)
{
  if (n_names == NAMES)
    fail("too many names");
  names[n_names] = (Name){host, name, module, NULL};
  return &names[n_names++];
}

static const Name *
find(const void *host)
{
  for (int i = 0; i < n_names; i++)
    if (names[i].host == host)
      return &names[i];
  return NULL;
}

static CUkernel
kernel_of(const void *host)
{
  CUkernel k = NULL;
  const Name *n = find(host);
  start();
  if (!n || !modules[n->module].library ||
      CALL((CUkernel *, CUlibrary, const char *), cuLibraryGetKernel, &k,
           modules[n->module].library, n->name))
    last = last ? last : cudaErrorInvalidDeviceFunction;
  return k;
}

static CUdeviceptr
address_of(const void *symbol)
{
  CUdeviceptr p = 0;
  size_t bytes;
  const Name *n = find(symbol);
  start();
  CUlibrary library = n ? modules[n->module].library : NULL;
  if (!n || (CALL((CUdeviceptr *, size_t *, CUlibrary, const char *), cuLibraryGetGlobal,
                  &p, &bytes, library, n->name) &&
             CALL((CUdeviceptr *, size_t *, CUlibrary, const char *), cuLibraryGetManaged,
                  &p, &bytes, library, n->name)))
    last = cudaErrorInvalidSymbol;
  return p;
}

void
rt_program(const char *path)
{
  FILE *f = fopen(path, "rb");
  char *text = calloc(1, 1 << 20);
  if (!f || !text || !fread(text, 1, (1 << 20) - 1, f))
    fail(path);
  fclose(f);
  modules[n_modules++] = (Module){text, NULL};
}

static const void *
by_name(const char *name)
{
  for (int i = 0; i < n_names; i++)
    if (!strcmp(names[i].name, name))
      return names[i].host;
  Name *n = add(NULL, name, 0);
  n->host = n;
  return n;
}

const void *
rt_kernel(const char *name)
{
  return by_name(name);
}

const void *
rt_symbol(const char *name)
{
  return by_name(name);
}

/* ---- what nvcc's code calls ---- */

typedef struct Wrapper {
  int magic, version;
  const void *data;
  void *other;
} Wrapper;

typedef struct Configuration {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
} Configuration;
static Configuration next;

void **__cudaRegisterFatBinary(void *fat_binary);
void __cudaRegisterFatBinaryEnd(void **);
void __cudaUnregisterFatBinary(void **);
void __cudaRegisterFunction(void **, const char *host, char *device, const char *name, int,
                            void *, void *, dim3 *, dim3 *, int *);
void __cudaRegisterVar(void **, char *host, char *device, const char *name, int, size_t,
                       int, int);
void __cudaRegisterManagedVar(void **, void **host, char *device, const char *name, int,
                              size_t, int, int);
char __cudaInitModule(void **);
unsigned __cudaPushCallConfiguration(dim3, dim3, size_t, cudaStream_t);
cudaError_t __cudaPopCallConfiguration(dim3 *, dim3 *, size_t *, void *stream);
cudaError_t __cudaGetKernel(cudaKernel_t *, const void *host);
cudaError_t __cudaLaunchKernel(cudaKernel_t, dim3, dim3, void **, size_t, cudaStream_t);

void **
__cudaRegisterFatBinary(void *fat_binary)
{
  if (n_modules == MODULES)
    fail("too many modules");
  modules[n_modules++] = (Module){fat_binary, NULL};
  return (void **)&modules[n_modules - 1];
}

void
__cudaRegisterFatBinaryEnd(void **handle)
{
  (void)handle;
}

void
__cudaUnregisterFatBinary(void **handle)
{
  (void)handle; /* the process ends */
}

static int
number_of(void **handle)
{
  return (int)((Module *)(void *)handle - modules);
}

void
__cudaRegisterFunction(void **handle, const char *host, char *device, const char *name,
                       int limit, void *tid, void *bid, dim3 *block, dim3 *grid, int *warp)
{
  (void)device, (void)limit, (void)tid, (void)bid, (void)block, (void)grid, (void)warp;
  add(host, name, number_of(handle));
}

void
__cudaRegisterVar(void **handle, char *host, char *device, const char *name, int ext,
                  size_t bytes, int constant, int global)
{
  (void)device, (void)ext, (void)bytes, (void)constant, (void)global;
  add(host, name, number_of(handle));
}

void
__cudaRegisterManagedVar(void **handle, void **host, char *device, const char *name,
                         int ext, size_t bytes, int constant, int global)
{
  (void)device, (void)ext, (void)bytes, (void)constant, (void)global;
  add(host, name, number_of(handle))->managed = host;
}

char
__cudaInitModule(void **handle)
{
  (void)handle;
  start();
  return 1;
}

unsigned
__cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream)
{
  next = (Configuration){grid, block, shared, stream};
  return 0;
}

cudaError_t
__cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream)
{
  *grid = next.grid;
  *block = next.block;
  *shared = next.shared;
  *(cudaStream_t *)stream = next.stream;
  return cudaSuccess;
}

cudaError_t
__cudaGetKernel(cudaKernel_t *kernel, const void *host)
{
  *kernel = kernel_of(host);
  return *kernel ? cudaSuccess : last;
}

static cudaError_t
launch(const char *how, CUkernel k, dim3 g, dim3 b, void **args, size_t shared,
       cudaStream_t stream)
{
  if (!k)
    return last;
  if (strcmp(how, "cuLaunchKernel"))
    return RT((CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
               unsigned, CUstream, void **),
              cuLaunchCooperativeKernel, (CUfunction)k, g.x, g.y, g.z, b.x, b.y, b.z,
              (unsigned)shared, stream, args);
  return RT((CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
             unsigned, CUstream, void **, void **),
            cuLaunchKernel, (CUfunction)k, g.x, g.y, g.z, b.x, b.y, b.z, (unsigned)shared,
            stream, args, NULL);
}

cudaError_t
__cudaLaunchKernel(cudaKernel_t k, dim3 grid, dim3 block, void **args, size_t shared,
                   cudaStream_t stream)
{
  return launch("cuLaunchKernel", k, grid, block, args, shared, stream);
}

/* ---- the runtime's functions ---- */

cudaError_t
cudaGetLastError(void)
{
  cudaError_t e = last;
  last = cudaSuccess;
  return e;
}

const char *
cudaGetErrorString(cudaError_t e)
{
  const char *text = NULL;
  CALL((CUresult, const char **), cuGetErrorString, e, &text);
  return text ? text : "an error of the runtime";
}

cudaError_t
cudaMalloc(void **p, size_t n)
{
  return RT((CUdeviceptr *, size_t), cuMemAlloc, (CUdeviceptr *)p, n);
}

cudaError_t
cudaMallocHost(void **p, size_t n)
{
  return RT((void **, size_t), cuMemAllocHost, p, n);
}

cudaError_t
cudaMallocManaged(void **p, size_t n, unsigned flags)
{
  return RT((CUdeviceptr *, size_t, unsigned), cuMemAllocManaged, (CUdeviceptr *)p, n,
            flags);
}

cudaError_t
cudaFree(void *p)
{
  return RT((CUdeviceptr), cuMemFree, (CUdeviceptr)p);
}

cudaError_t
cudaFreeHost(void *p)
{
  return RT((void *), cuMemFreeHost, p);
}

cudaError_t
cudaMemset(void *p, int value, size_t n)
{
  return RT((CUdeviceptr, unsigned char, size_t), cuMemsetD8, (CUdeviceptr)p,
            (unsigned char)value, n);
}

cudaError_t
cudaMemsetAsync(void *p, int value, size_t n, cudaStream_t stream)
{
  return RT((CUdeviceptr, unsigned char, size_t, CUstream), cuMemsetD8Async, (CUdeviceptr)p,
            (unsigned char)value, n, stream);
}

cudaError_t
cudaMemcpy(void *to, const void *from, size_t n, int kind)
{
  switch (kind) {
  case cudaMemcpyHostToDevice:
    return RT((CUdeviceptr, const void *, size_t), cuMemcpyHtoD, (CUdeviceptr)to, from, n);
  case cudaMemcpyDeviceToHost:
    return RT((void *, CUdeviceptr, size_t), cuMemcpyDtoH, to, (CUdeviceptr)from, n);
  case cudaMemcpyDefault:
    return RT((CUdeviceptr, CUdeviceptr, size_t), cuMemcpy, (CUdeviceptr)to,
              (CUdeviceptr)from, n);
  default:
    return RT((CUdeviceptr, CUdeviceptr, size_t), cuMemcpyDtoD, (CUdeviceptr)to,
              (CUdeviceptr)from, n);
  }
}

cudaError_t
cudaMemcpyAsync(void *to, const void *from, size_t n, int kind, cudaStream_t stream)
{
  (void)kind; /* an address says itself where it is */
  return RT((CUdeviceptr, CUdeviceptr, size_t, CUstream), cuMemcpyAsync, (CUdeviceptr)to,
            (CUdeviceptr)from, n, stream);
}

cudaError_t
cudaMemcpyToSymbol(const void *symbol, const void *from, size_t n, size_t at, int kind)
{
  CUdeviceptr p = address_of(symbol);
  return p ? cudaMemcpy((void *)(p + at), from, n, kind) : last;
}

cudaError_t
cudaMemcpyFromSymbol(void *to, const void *symbol, size_t n, size_t at, int kind)
{
  CUdeviceptr p = address_of(symbol);
  return p ? cudaMemcpy(to, (const void *)(p + at), n, kind) : last;
}

cudaError_t
cudaGetSymbolAddress(void **p, const void *symbol)
{
  *p = (void *)address_of(symbol);
  return *p ? cudaSuccess : last;
}

cudaError_t
cudaDeviceSynchronize(void)
{
  start();
  CUresult r = ((CUresult(*)(void))dlsym(driver, "cuCtxSynchronize"))();
  return r ? done(r) : last;
}

cudaError_t
cudaStreamCreate(cudaStream_t *stream)
{
  return RT((CUstream *, unsigned), cuStreamCreate, stream, 0);
}

cudaError_t
cudaStreamDestroy(cudaStream_t stream)
{
  return RT((CUstream), cuStreamDestroy, stream);
}

cudaError_t
cudaStreamSynchronize(cudaStream_t stream)
{
  return RT((CUstream), cuStreamSynchronize, stream);
}

cudaError_t
cudaStreamBeginCapture(cudaStream_t stream, int mode)
{
  return RT((CUstream, int), cuStreamBeginCapture, stream, mode);
}

cudaError_t
cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
  return RT((CUstream, cudaGraph_t *), cuStreamEndCapture, stream, graph);
}

cudaError_t
cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
  return RT((cudaGraphExec_t *, cudaGraph_t, unsigned long long),
            cuGraphInstantiateWithFlags, exec, graph, flags);
}

cudaError_t
cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
  return RT((cudaGraphExec_t, CUstream), cuGraphLaunch, exec, stream);
}

cudaError_t
cudaGraphExecDestroy(cudaGraphExec_t exec)
{
  return RT((cudaGraphExec_t), cuGraphExecDestroy, exec);
}

cudaError_t
cudaGraphDestroy(cudaGraph_t graph)
{
  return RT((cudaGraph_t), cuGraphDestroy, graph);
}

cudaError_t
cudaFuncSetAttribute(const void *kernel, int attribute, int value)
{
  CUkernel k = kernel_of(kernel);
  return k ? RT((int, int, CUkernel, CUdevice), cuKernelSetAttribute, attribute, value, k,
                0)
           : last;
}

cudaError_t
cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **args, size_t shared,
                 cudaStream_t stream)
{
  return launch("cuLaunchKernel", kernel_of(kernel), grid, block, args, shared, stream);
}

cudaError_t
cudaLaunchCooperativeKernel(const void *kernel, dim3 grid, dim3 block, void **args,
                            size_t shared, cudaStream_t stream)
{
  return launch("cuLaunchCooperativeKernel", kernel_of(kernel), grid, block, args, shared,
                stream);
}
