/* device.h: a driver library as those who judge kernels use it: its entry points, memory,
 * events, and the emulator's additions.
 *
 * libattnc is given the same path, so that both speak to one library.  A Device is used
 * from one thread; its primary context is current there from open to close. */
#ifndef ATTNC_HARNESS_DEVICE_H
#define ATTNC_HARNESS_DEVICE_H

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
  int (*emu_sectors_read)(uint64_t address, uint64_t *sectors);
  size_t (*emu_profile)(char *, size_t);
} Device;

/* The device of that ordinal of the library at `path`.  arch: what the emulator is to
 * emulate, NULL for its default; a GPU ignores it.  ATTNC_ERR_NO_DEVICE: no such library,
 * or it has no such device; then nothing is to be closed. */
attnc_status device_open_at(Device *, const char *path, const char *arch, int ordinal,
                            attnc_error *);
void device_close(Device *);

attnc_status device_result(const Device *, const char *call, CUresult, attnc_error *);
attnc_status device_alloc(const Device *, size_t bytes, CUdeviceptr *, attnc_error *);
attnc_status device_sync(const Device *, attnc_error *);
/* The findings of the emulator since the last call, malloc'd; NULL if there are none. */
char *device_findings(const Device *);
/* Counts of each instruction of the last launch as JSON, malloc'd; NULL on a GPU. */
char *device_profile(const Device *);

#endif
