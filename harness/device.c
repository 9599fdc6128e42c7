#include "harness/device.h"

#include "base/err.h"
#include "base/str.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
symbol(const Device *d, const char *name, void *where)
{
  void *p = dlsym(d->library, name);
  memcpy(where, &p, sizeof p); /* ISO C has no cast from object to function pointers */
}

/* Opens `path` and resolves everything; the driver is not started. */
static attnc_status
open_library(Device *d, const char *path, attnc_error *e)
{
  int n = snprintf(d->path, sizeof d->path, "%s", path);
  if (n < 0 || n >= (int)sizeof d->path)
    return err_set(e, ATTNC_ERR_USAGE, "the path of the driver library is too long");
  d->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!d->library)
    return err_set(e, ATTNC_ERR_NO_DEVICE, "dlopen: %s", dlerror());
#define X(need, name, args)                                                                \
  symbol(d, #name, &d->name);                                                              \
  if (need && !d->name)                                                                    \
    return err_set(e, ATTNC_ERR_NO_DEVICE, "%s has no " #name, path);
  CUDA_ENTRY_TABLE(X)
#undef X
  symbol(d, "attncEmuConfigure", &d->emu_configure);
  symbol(d, "attncEmuGetStats", &d->emu_get_stats);
  symbol(d, "attncEmuResetStats", &d->emu_reset_stats);
  symbol(d, "attncEmuTakeFindings", &d->emu_take_findings);
  symbol(d, "attncEmuSectorsRead", &d->emu_sectors_read);
  symbol(d, "attncEmuProfile", &d->emu_profile);
  d->emulated = d->emu_configure != NULL;
  return ATTNC_OK;
}

attnc_status
device_result(const Device *d, const char *call, CUresult r, attnc_error *e)
{
  if (r == CUDA_SUCCESS)
    return ATTNC_OK;
  const char *name = NULL, *text = NULL;
  d->cuGetErrorName(r, &name);
  d->cuGetErrorString(r, &text);
  attnc_status st = r == CUDA_ERROR_NO_DEVICE ? ATTNC_ERR_NO_DEVICE : ATTNC_ERR_DEVICE;
  if (text && name && str_eq(text, name)) /* a driver that has no more to say */
    text = NULL;
  return err_driver(e, st, r, "%s: %s (%d)%s%s", call, name ? name : "unknown error", r,
                    text ? ": " : "", text ? text : "");
}

#define CU(d, e, name, args) TRY(device_result((d), #name, (d)->name args, (e)))

static attnc_status
describe(Device *d, attnc_error *e)
{
  int major, minor;
  CU(d, e, cuDriverGetVersion, (&d->driver));
  CU(d, e, cuDeviceGetName, (d->name, sizeof d->name, d->ordinal));
  CU(d, e, cuDeviceTotalMem_v2, (&d->memory, d->ordinal));
  CU(d, e, cuDeviceGetAttribute,
     (&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, d->ordinal));
  CU(d, e, cuDeviceGetAttribute,
     (&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, d->ordinal));
  CU(d, e, cuDeviceGetAttribute,
     (&d->sms, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, d->ordinal));
  d->cc = major * 10 + minor;
  return ATTNC_OK;
}

static attnc_status
start(Device *d, const char *arch, int ordinal, attnc_error *e)
{
  if (d->emulated && arch) {
    char settings[64], reason[200] = "";
    size_t n = strlen(arch);
    n -= n && arch[n - 1] == 'a'; /* sm_90a is what the chip sm_90 alone runs */
    snprintf(settings, sizeof settings, "arch=%.*s", n < 40 ? (int)n : 40, arch);
    if (d->emu_configure(settings, reason, sizeof reason) != 0)
      return err_set(e, ATTNC_ERR_UNSUPPORTED, "the emulator refuses %s: %s", settings,
                     reason);
  }
  int count = 0;
  CU(d, e, cuInit, (0));
  CU(d, e, cuDeviceGetCount, (&count));
  if (count <= ordinal)
    return err_set(e, ATTNC_ERR_NO_DEVICE, ordinal ? "%s: no device %d" : "%s: no device",
                   d->path, ordinal);
  CU(d, e, cuDeviceGet, (&d->ordinal, ordinal));
  TRY(describe(d, e));
  CU(d, e, cuDevicePrimaryCtxRetain, (&d->context, d->ordinal));
  CU(d, e, cuCtxSetCurrent, (d->context));
  return ATTNC_OK;
}

attnc_status
device_open_at(Device *d, const char *path, const char *arch, int ordinal, attnc_error *e)
{
  *d = (Device){0};
  attnc_status st = open_library(d, path, e);
  if (st == ATTNC_OK)
    st = start(d, arch, ordinal, e);
  if (st != ATTNC_OK)
    device_close(d);
  return st;
}

void
device_close(Device *d)
{
  if (d->context)
    d->cuDevicePrimaryCtxRelease_v2(d->ordinal);
  if (d->library)
    dlclose(d->library);
  *d = (Device){0};
}

attnc_status
device_alloc(const Device *d, size_t bytes, CUdeviceptr *out, attnc_error *e)
{
  char call[64];
  snprintf(call, sizeof call, "cuMemAlloc_v2(%zu bytes)", bytes);
  return device_result(d, call, d->cuMemAlloc_v2(out, bytes ? bytes : 16), e);
}

attnc_status
device_sync(const Device *d, attnc_error *e)
{
  CU(d, e, cuCtxSynchronize, ());
  return ATTNC_OK;
}

static char *
take_text(size_t (*get)(char *, size_t))
{
  if (!get)
    return NULL;
  size_t n = get(NULL, 0);
  char *text = n ? malloc(n + 1) : NULL;
  if (text)
    get(text, n + 1);
  return text;
}

char *
device_findings(const Device *d)
{
  return take_text(d->emu_take_findings);
}

char *
device_profile(const Device *d)
{
  return take_text(d->emu_profile);
}
