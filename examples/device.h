/* device.h: as much of the CUDA driver as the examples need, found with dlopen so that they
 * build without a toolkit.  A program that has <cuda.h> calls the same functions by their
 * names.  ATTNC_LIBCUDA may name another driver library: the emulator. */
#ifndef EXAMPLES_DEVICE_H
#define EXAMPLES_DEVICE_H

#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

typedef unsigned long long DevicePtr;

static struct {
  int (*init)(unsigned flags);
  int (*retain)(void **context, int device);
  int (*set_current)(void *context);
  int (*synchronize)(void);
  int (*alloc)(DevicePtr *, size_t);
  int (*to_device)(DevicePtr, const void *, size_t);
  int (*to_host)(void *, DevicePtr, size_t);
  int (*reason)(int result, const char **text);
} cu;

typedef struct CuSymbol {
  const char *symbol;
  void *function;
} CuSymbol;

static const CuSymbol cu_symbols[] = {
    {"cuInit", &cu.init},
    {"cuDevicePrimaryCtxRetain", &cu.retain},
    {"cuCtxSetCurrent", &cu.set_current},
    {"cuCtxSynchronize", &cu.synchronize},
    {"cuMemAlloc_v2", &cu.alloc},
    {"cuMemcpyHtoD_v2", &cu.to_device},
    {"cuMemcpyDtoH_v2", &cu.to_host},
    {"cuGetErrorString", &cu.reason},
};

/* The functions by their names; 0 if all are there. */
static int
device_find(const CuSymbol *symbols, size_t n)
{
  const char *path = getenv("ATTNC_LIBCUDA");
  void *library = dlopen(path && *path ? path : "libcuda.so.1", RTLD_NOW);
  for (size_t i = 0; library && i < n; i++) {
    void *symbol = dlsym(library, symbols[i].symbol);
    *(void **)symbols[i].function = symbol;
    library = symbol ? library : NULL;
  }
  if (!library)
    fprintf(stderr, "%s\n", dlerror());
  return library ? 0 : -1;
}

/* Makes the primary context of device 0 current; 0 if that worked. */
static int
device_open(void)
{
  void *context;
  if (device_find(cu_symbols, sizeof cu_symbols / sizeof *cu_symbols))
    return -1;
  int failed = cu.init(0);
  failed = failed ? failed : cu.retain(&context, 0);
  failed = failed ? failed : cu.set_current(context);
  const char *text = NULL;
  if (failed && !cu.reason(failed, &text))
    fprintf(stderr, "driver: %s\n", text);
  return failed;
}

/* Device memory with a copy of `n` bytes of the host's; 0: there is none left. */
static DevicePtr
device_copy(const void *host, size_t n)
{
  DevicePtr p = 0;
  return cu.alloc(&p, n) || cu.to_device(p, host, n) ? 0 : p;
}

#endif
