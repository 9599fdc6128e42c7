#include "emulator/dev.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STACK = 32, DRIVER_VERSION = 13000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Device devices[MAX_DEVICES];
static int n_devices;
static bool started;

/* The context stack of this thread. */
static _Thread_local CUcontext stack[MAX_STACK];
static _Thread_local int depth;

/* ---- forks ---- */

__attribute__((constructor)) static void
make_locks(void)
{
  for (int i = 0; i < MAX_DEVICES; i++)
    pthread_mutex_init(&devices[i].busy, NULL);
}

/* A fork waits for the kernels that run, so that a child has devices that are whole. */
static void
on_fork(ForkStep step)
{
  for (int i = 0; i < MAX_DEVICES; i++)
    fork_mutex(&devices[i].busy, step);
  fork_mutex(&lock, step);
  settings_fork(step);
  stats_fork(step);
  report_fork(step);
}
FORK_HANDLER(on_fork);

/* ---- start ---- */

static CUresult
start(void)
{
  if (!settings_freeze())
    return CUDA_ERROR_INVALID_VALUE;
  Settings s = settings_get();
  for (n_devices = 0; n_devices < s.devices; n_devices++) {
    Device *d = &devices[n_devices];
    d->ordinal = n_devices;
    d->chip = chip_find(s.arch);
    d->context.device = d;
    d->next_address = GLOBAL_BASE + ((uint64_t)n_devices << 40);
  }
  started = true;
  return CUDA_SUCCESS;
}

CUresult
cuInit(unsigned flags)
{
  if (flags)
    return CUDA_ERROR_INVALID_VALUE;
  pthread_mutex_lock(&lock);
  CUresult r = started ? CUDA_SUCCESS : start();
  pthread_mutex_unlock(&lock);
  return r;
}

bool
dev_started(void)
{
  pthread_mutex_lock(&lock);
  bool is = started;
  pthread_mutex_unlock(&lock);
  return is;
}

int
dev_count(void)
{
  return dev_started() ? n_devices : 0;
}

Device *
dev_get(int ordinal)
{
  return ordinal >= 0 && ordinal < dev_count() ? &devices[ordinal] : NULL;
}

CUresult
cuDriverGetVersion(int *version)
{
  if (!version)
    return CUDA_ERROR_INVALID_VALUE;
  *version = DRIVER_VERSION;
  return CUDA_SUCCESS;
}

/* ---- results ---- */

typedef struct ResultName {
  CUresult result;
  const char *name;
} ResultName;

static const ResultName results[] = {
#define X(name, value) {value, #name},
    CUDA_RESULT_TABLE(X)
#undef X
};

CUresult
cuGetErrorName(CUresult r, const char **name)
{
  if (!name)
    return CUDA_ERROR_INVALID_VALUE;
  *name = NULL;
  for (size_t i = 0; i < sizeof results / sizeof *results; i++)
    if (results[i].result == r)
      *name = results[i].name;
  return *name ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* Before the start only cuInit itself has invalid values: those of the settings. */
CUresult
cuGetErrorString(CUresult r, const char **text)
{
  const char *wrong =
      r == CUDA_ERROR_INVALID_VALUE && !dev_started() ? settings_wrong() : NULL;
  if (!wrong || !text)
    return cuGetErrorName(r, text);
  *text = wrong;
  return CUDA_SUCCESS;
}

/* ---- devices ---- */

static CUresult
need_device(CUdevice ordinal, Device **d)
{
  if (!dev_started())
    return CUDA_ERROR_NOT_INITIALIZED;
  *d = dev_get(ordinal);
  return *d ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult
cuDeviceGetCount(int *n)
{
  if (!n)
    return CUDA_ERROR_INVALID_VALUE;
  if (!dev_started())
    return CUDA_ERROR_NOT_INITIALIZED;
  *n = n_devices;
  return CUDA_SUCCESS;
}

CUresult
cuDeviceGet(CUdevice *device, int ordinal)
{
  Device *d;
  CUresult r = device ? need_device(ordinal, &d) : CUDA_ERROR_INVALID_VALUE;
  if (!r)
    *device = ordinal;
  return r;
}

CUresult
cuDeviceGetName(char *name, int n, CUdevice device)
{
  Device *d;
  CUresult r = name && n > 0 ? need_device(device, &d) : CUDA_ERROR_INVALID_VALUE;
  if (!r)
    snprintf(name, (size_t)n, "attnc emulated %s", d->chip->name);
  return r;
}

static int
attribute(const Chip *c, CUdevice_attribute a)
{
  switch (a) {
  case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    return 1024;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
    return c->smem_block;
  case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
    return LANES;
  case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
  case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR:
    return c->regs_sm;
  case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:
  case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE:
    return 1000000; /* kHz; it has no clock */
  case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
    return c->sms;
  case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
    return c->l2_size;
  case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR:
    return c->threads_sm;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
    return c->cc / 10;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
    return c->cc % 10;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
    return c->smem_sm;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
    return c->smem_optin;
  case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK:
    return chip_reserved(c);
  }
  return -1;
}

CUresult
cuDeviceGetAttribute(int *value, CUdevice_attribute a, CUdevice device)
{
  Device *d;
  CUresult r = value ? need_device(device, &d) : CUDA_ERROR_INVALID_VALUE;
  if (r)
    return r;
  int v = attribute(d->chip, a);
  if (v < 0)
    return CUDA_ERROR_INVALID_VALUE;
  *value = v;
  return CUDA_SUCCESS;
}

CUresult
cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
  Device *d;
  CUresult r = bytes ? need_device(device, &d) : CUDA_ERROR_INVALID_VALUE;
  if (!r)
    *bytes = DEVICE_MEMORY;
  return r;
}

/* ---- contexts ---- */

CUresult
cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
  Device *d;
  CUresult r = context ? need_device(device, &d) : CUDA_ERROR_INVALID_VALUE;
  if (r)
    return r;
  pthread_mutex_lock(&lock);
  d->context.retained++;
  pthread_mutex_unlock(&lock);
  *context = &d->context;
  return CUDA_SUCCESS;
}

/* With the last release everything that the context had is gone. */
CUresult
cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
  Device *d;
  CUresult r = need_device(device, &d);
  if (r)
    return r;
  pthread_mutex_lock(&lock);
  bool was = d->context.retained > 0, last = d->context.retained == 1;
  d->context.retained -= was;
  pthread_mutex_unlock(&lock);
  if (last) {
    pthread_mutex_lock(&d->busy);
    dev_free_all(d);
    pthread_mutex_unlock(&d->busy);
  }
  return was ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

/* NULL is a context as well: none. */
static bool
is_context(CUcontext c)
{
  bool is = !c;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < n_devices; i++)
    is |= c == &devices[i].context && c->retained;
  pthread_mutex_unlock(&lock);
  return is;
}

static CUcontext
current(void)
{
  return depth ? stack[depth - 1] : NULL;
}

CUresult
cuCtxGetCurrent(CUcontext *context)
{
  if (!context)
    return CUDA_ERROR_INVALID_VALUE;
  if (!dev_started())
    return CUDA_ERROR_NOT_INITIALIZED;
  *context = current();
  return CUDA_SUCCESS;
}

CUresult
cuCtxSetCurrent(CUcontext context)
{
  if (!dev_started())
    return CUDA_ERROR_NOT_INITIALIZED;
  if (!is_context(context))
    return CUDA_ERROR_INVALID_CONTEXT;
  if (!depth)
    depth = 1;
  stack[depth - 1] = context;
  return CUDA_SUCCESS;
}

CUresult
cuCtxPushCurrent_v2(CUcontext context)
{
  if (!dev_started())
    return CUDA_ERROR_NOT_INITIALIZED;
  if (!context || !is_context(context))
    return CUDA_ERROR_INVALID_CONTEXT;
  if (depth == MAX_STACK)
    return CUDA_ERROR_OUT_OF_MEMORY;
  stack[depth++] = context;
  return CUDA_SUCCESS;
}

CUresult
cuCtxPopCurrent_v2(CUcontext *context)
{
  if (!dev_started())
    return CUDA_ERROR_NOT_INITIALIZED;
  if (!depth)
    return CUDA_ERROR_INVALID_CONTEXT;
  depth--;
  if (context)
    *context = stack[depth];
  return CUDA_SUCCESS;
}

Device *
dev_enter(CUresult *r)
{
  CUcontext c = current();
  *r = !dev_started()         ? CUDA_ERROR_NOT_INITIALIZED
       : !c || !is_context(c) ? CUDA_ERROR_INVALID_CONTEXT
                              : CUDA_SUCCESS;
  if (*r)
    return NULL;
  pthread_mutex_lock(&c->device->busy);
  return c->device;
}

void
dev_leave(Device *d)
{
  pthread_mutex_unlock(&d->busy);
}

CUresult
cuCtxGetDevice(CUdevice *device)
{
  CUresult r;
  Device *d = device ? dev_enter(&r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (d) {
    *device = d->ordinal;
    dev_leave(d);
  }
  return r;
}

CUresult
cuCtxSynchronize(void)
{
  CUresult r;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  stream_settle_all(d);
  dev_leave(d);
  return r;
}
