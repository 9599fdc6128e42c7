/* drv.h: the CUDA driver, found at run time.
 *
 * drv_open loads the driver library named by its path (NULL: $ATTNC_LIBCUDA, else
 * libcuda.so.1), resolves CUDA_ENTRY_TABLE with dlsym, calls cuInit and lists the devices.
 * A required entry point that is missing refuses the library; an optional one, as all of
 * CUDA_LOAD_ENTRY_TABLE are, is NULL.
 * The emulator's own functions (attnc_emu.h) are resolved where they are present.
 *
 * There is one Driver per path in a process, counted by references and immutable once
 * open; the library itself stays mapped, since a driver does not survive being unloaded.
 * No lock is held while the library is loaded: a second caller waits for the first.
 *
 * Errors read "cuModuleLoadDataEx: CUDA_ERROR_INVALID_PTX: …", the driver's own text
 * behind the name of the code. */
#ifndef ATTNC_RUNTIME_DRV_H
#define ATTNC_RUNTIME_DRV_H

#include "abi/cuda_load.h"

#include <attnc/attnc_emu.h>
#include <attnc/attnc_rt.h>

#include <stdbool.h>

#define EMU_ENTRY_TABLE(X)                                                                 \
  X(int, attncEmuConfigure, (const char *settings, char *reason, size_t n))                \
  X(void, attncEmuGetStats, (attncEmuStats *))                                             \
  X(void, attncEmuResetStats, (void))                                                      \
  X(size_t, attncEmuTakeFindings, (char *buf, size_t n))                                   \
  X(size_t, attncEmuProfile, (char *buf, size_t n))

typedef struct Device {
  int ordinal;
  CUdevice handle;
  int cc;         /* compute capability: 90 */
  int sms;        /* multiprocessors */
  int smem_block; /* bytes of shared memory a block may opt in to */
  char name[128];
} Device;

typedef struct Driver {
  const char *path;
  int version;   /* cuDriverGetVersion: 12040 */
  bool emulated; /* has the emulator's entry points */
  const Device *devices;
  int n_devices;
#define X(need, name, args) CUresult(*name) args;
  CUDA_ENTRY_TABLE(X)
#undef X
#define X(name, args) CUresult(*name) args;
  CUDA_LOAD_ENTRY_TABLE(X)
#undef X
#define X(type, name, args) type(*name) args;
  EMU_ENTRY_TABLE(X)
#undef X
} Driver;

attnc_status drv_open(const char *path, const Driver **, attnc_error *);
void drv_retain(const Driver *);
void drv_close(const Driver *); /* NULL is fine */

/* The device of that ordinal; -1: of the current context, else device 0. */
attnc_status drv_device(const Driver *, int ordinal, const Device **, attnc_error *);

/* The status and message of a call that returned `code`; detail (may be NULL) replaces the
 * driver's sentence. */
attnc_status drv_fail(const Driver *, CUresult code, const char *call, const char *detail,
                      attnc_error *);

/* Calls an entry point; its value is an attnc_status. */
#define DRV(drv, e, name, ...) drv_check((drv), (drv)->name(__VA_ARGS__), #name, (e))
static inline attnc_status
drv_check(const Driver *drv, CUresult code, const char *call, attnc_error *e)
{
  return code == CUDA_SUCCESS ? ATTNC_OK : drv_fail(drv, code, call, NULL, e);
}

#endif
