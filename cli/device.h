/* device.h: the command line's own access to a driver library: which one, its entry points,
 * memory, events, and the emulator's additions.
 *
 * `auto` takes the GPU where libcuda is found and has a device, and the emulator (the
 * libattnc-emu.so beside this program, or in ../lib) elsewhere; ATTNC_LIBCUDA decides for
 * both.  libattnc is given the same path, so that both speak to one library.  A Device is
 * used from one thread; its primary context is current there from open to close. */
#ifndef ATTNC_CLI_DEVICE_H
#define ATTNC_CLI_DEVICE_H

#include "abi/cuda.h"

#include <attnc/attnc_emu.h>
#include <attnc/attnc_rt.h>

#include <limits.h>
#include <stdbool.h>

typedef struct Device {
  void *library;
  char path[PATH_MAX]; /* for attnc_options.libcuda */
  bool emulated;
  char name[128];
  int cc, sms, driver; /* 80; multiprocessors; 13000 is 13.0 */
  size_t memory;
  CUdevice ordinal;
  CUcontext context;
#define X(need, name, args) CUresult(*name) args;
  CUDA_ENTRY_TABLE(X)
#undef X
  int (*emu_configure)(const char *, char *, size_t); /* these: NULL on a real driver */
  void (*emu_get_stats)(attncEmuStats *);
  void (*emu_reset_stats)(void);
  size_t (*emu_take_findings)(char *, size_t);
  size_t (*emu_profile)(char *, size_t);
} Device;

/* which: "auto" (or NULL), "emu", "cuda".  arch: what the emulator is to emulate, NULL for
 * its default; a GPU ignores it, the compiler does not.  ATTNC_ERR_NO_DEVICE says what was
 * looked for. */
attnc_status device_open(Device *, const char *which, const char *arch, attnc_error *);
void device_close(Device *);
/* The directory of the emulator's library, or of this program. */
bool device_beside(const char *file, char path[PATH_MAX]);

attnc_status device_result(const Device *, const char *call, CUresult, attnc_error *);
attnc_status device_alloc(const Device *, size_t bytes, CUdeviceptr *, attnc_error *);
attnc_status device_sync(const Device *, attnc_error *);
/* The findings of the emulator since the last call, malloc'd; NULL if there are none. */
char *device_findings(const Device *);
/* Counts of each instruction of the last launch as JSON, malloc'd; NULL on a GPU. */
char *device_profile(const Device *);

#endif
