#include "tests/e2e/device.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef BUILD_DIR
#define BUILD_DIR "."
#endif

const char *
device_emulator(void)
{
  const char *path = getenv("ATTNC_TEST_EMU");
  return path && *path ? path : BUILD_DIR "/lib/libattnc-emu.so";
}

/* ISO C has no cast from an object pointer to a function pointer; the bytes are the same.
 */
static bool
resolve(void *lib, const char *name, void *entry, size_t n)
{
  void *p = dlsym(lib, name);
  memcpy(entry, &p, n);
  return p != NULL;
}

static bool
load(Device *d, const char *path, char *why, size_t n)
{
  snprintf(d->path, sizeof d->path, "%s", path);
  d->lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!d->lib) {
    snprintf(why, n, "%s", dlerror());
    return false;
  }
#define X(need, name, args)                                                                \
  if (!resolve(d->lib, #name, &d->name, sizeof d->name) && (need)) {                       \
    snprintf(why, n, "%s has no " #name, path);                                            \
    return false;                                                                          \
  }
  CUDA_ENTRY_TABLE(X)
#undef X
  resolve(d->lib, "attncEmuConfigure", &d->configure, sizeof d->configure);
  resolve(d->lib, "attncEmuGetStats", &d->stats, sizeof d->stats);
  resolve(d->lib, "attncEmuResetStats", &d->reset, sizeof d->reset);
  resolve(d->lib, "attncEmuTakeFindings", &d->findings, sizeof d->findings);
  resolve(d->lib, "attncEmuProfile", &d->profile, sizeof d->profile);
  d->emulator = d->configure && d->stats && d->reset && d->findings && d->profile;
  return true;
}

static CUresult
start(Device *d)
{
  CUresult r = d->cuInit(0);
  int major = 0, minor = 0;
  if (!r)
    r = d->cuDeviceGet(&d->device, 0);
  if (!r)
    r = d->cuDeviceGetName(d->name, (int)sizeof d->name, d->device);
  if (!r)
    r = d->cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                                d->device);
  if (!r)
    r = d->cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                                d->device);
  d->cc = 10 * major + minor;
  if (!r)
    r = d->cuDevicePrimaryCtxRetain(&d->context, d->device);
  if (!r)
    r = d->cuCtxSetCurrent(d->context);
  return r;
}

bool
device_open(Device *d, const char *lib, const char *settings, char *why, size_t n)
{
  const char *path = lib ? lib : getenv("ATTNC_LIBCUDA");
  memset(d, 0, sizeof *d);
  if (!load(d, path && *path ? path : device_emulator(), why, n))
    return false;
  if (settings && d->emulator && d->configure(settings, why, n))
    return false;
  CUresult r = start(d);
  if (r)
    snprintf(why, n, "%s: %s", d->path, device_result(d, r));
  return r == CUDA_SUCCESS;
}

/* The library stays mapped: a driver is not made to be unloaded. */
void
device_close(Device *d)
{
  if (d->context)
    d->cuDevicePrimaryCtxRelease_v2(d->device);
  d->context = NULL;
}

const char *
device_result(const Device *d, CUresult r)
{
  const char *name = NULL;
  if (!d->cuGetErrorName || d->cuGetErrorName(r, &name) || !name)
    return "an unknown result";
  return name;
}

size_t
device_findings(const Device *d, char *text, size_t n)
{
  size_t lines = 0;
  text[0] = 0;
  if (!d->emulator)
    return 0;
  size_t need = d->findings(text, n);
  if (need >= n) { /* too many to show: forget them, keep the first */
    char *all = malloc(need + 1);
    if (all) {
      d->findings(all, need + 1);
      memcpy(text, all, n - 1);
      for (const char *p = all; *p; p++)
        lines += *p == '\n';
      free(all);
    }
    text[n - 1] = 0;
    return lines ? lines : 1;
  }
  for (const char *p = text; *p; p++)
    lines += *p == '\n';
  return lines ? lines : need > 0;
}
