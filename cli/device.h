/* device.h: which driver library the command line uses.
 *
 * `auto` takes the GPU where libcuda is found and has a device, and the emulator (the
 * libattnc-emu.so beside this program, or beside libattnc) elsewhere; ATTNC_LIBCUDA decides
 * for both. */
#ifndef ATTNC_CLI_DEVICE_H
#define ATTNC_CLI_DEVICE_H

#include "harness/device.h"

/* which: "auto" (or NULL), "emu", "cuda".  arch: what the emulator is to emulate, NULL for
 * its default; a GPU ignores it, the compiler does not.  ATTNC_ERR_NO_DEVICE says what was
 * looked for. */
attnc_status device_open(Device *, const char *which, const char *arch, attnc_error *);
/* The path of a file beside this program, or beside libattnc. */
bool device_beside(const char *file, char path[PATH_MAX]);

#endif
