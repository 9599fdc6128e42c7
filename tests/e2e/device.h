/* device.h: the driver, bare: what the end-to-end tests launch on without the runtime.
 *
 * dlopens one driver library, the emulator unless another is named, and makes device 0's
 * primary context current.  The table is the runtime's declarations, the code is not: a
 * mistake of the runtime's own loader does not hide here.  Nothing is checked for the
 * caller; every cu* result is the caller's to look at.  A Device belongs to one thread. */
#ifndef ATTNC_TESTS_DEVICE_H
#define ATTNC_TESTS_DEVICE_H

#include "abi/cuda.h"

#include <attnc/attnc_emu.h>

#include <stdbool.h>

typedef struct Device {
  void *lib;
  char path[512]; /* what was opened: the libcuda of attnc_options too */
#define X(need, name, args) CUresult(*name) args;
  CUDA_ENTRY_TABLE(X)
#undef X
  bool emulator;
  int (*configure)(const char *, char *, size_t); /* these five: NULL on a real driver */
  void (*stats)(attncEmuStats *);
  void (*reset)(void);
  size_t (*findings)(char *, size_t);
  size_t (*profile)(char *, size_t);
  CUdevice device;
  CUcontext context;
  int cc; /* 80 */
  char name[128];
} Device;

/* lib NULL: $ATTNC_LIBCUDA, else the emulator of this build.  settings go to the emulator
 * before cuInit (NULL: none).  false, and why. */
bool device_open(Device *, const char *lib, const char *settings, char *why, size_t n);
void device_close(Device *);
/* The path of the emulator: $ATTNC_TEST_EMU, else of this build. */
const char *device_emulator(void);
/* Name of a result, "CUDA_ERROR_…". */
const char *device_result(const Device *, CUresult);
/* Findings since the last call, at most n bytes, and how many lines; 0 on a real driver. */
size_t device_findings(const Device *, char *text, size_t n);

#endif
