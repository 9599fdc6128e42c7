#include "emulator/check/counters.h"
#include "emulator/check/findings.h"
#include "emulator/driver/device.h"
#include "emulator/exec/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Device devices[MAX_DEVICES];
static int n_devices;
static bool started;

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
  context_fork(step);
  library_fork(step);
  host_fork(step);
  fork_mutex(&lock, step);
  pool_fork(step);
  spare_fork(step);
  settings_fork(step);
  stats_fork(step);
  findings_fork(step);
  counters_fork(step);
  print_fork(step);
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
    context_init(&d->context, d);
    d->next_address = GLOBAL_BASE + ((uint64_t)n_devices << DEVICE_SHIFT);
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

CUresult
cuGetErrorName(CUresult r, const char **name)
{
  if (!name)
    return CUDA_ERROR_INVALID_VALUE;
  *name = launch_result_name(r);
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

CUresult
dev_need(CUdevice ordinal, Device **d)
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
  CUresult r = device ? dev_need(ordinal, &d) : CUDA_ERROR_INVALID_VALUE;
  if (!r)
    *device = ordinal;
  return r;
}
