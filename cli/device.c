#include "cli/device.h"

#include "base/env.h"
#include "base/err.h"
#include "base/str.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* DIR/FILE, where DIR is that of another file; false if there is none. */
static bool
beside(const char *other, const char *file, char path[PATH_MAX])
{
  const char *slash = strrchr(other, '/');
  if (!slash)
    return false;
  int n = snprintf(path, PATH_MAX, "%.*s/%s", (int)(slash - other), other, file);
  return n > 0 && n < PATH_MAX && access(path, R_OK) == 0;
}

bool
device_beside(const char *file, char path[PATH_MAX])
{
  char self[PATH_MAX];
  Dl_info library;
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  if (n > 0) {
    self[n] = 0;
    if (beside(self, file, path))
      return true;
  }
  const void *of_library = dlsym(RTLD_DEFAULT, "attnc_spec_load");
  return of_library && dladdr(of_library, &library) && library.dli_fname &&
         beside(library.dli_fname, file, path);
}

static attnc_status
open_emulator(Device *d, const char *arch, attnc_error *e)
{
  char path[PATH_MAX];
  if (!device_beside("libattnc-emu.so", path))
    return err_set(e, ATTNC_ERR_NO_DEVICE,
                   "no libattnc-emu.so beside this program, nor beside libattnc");
  return device_open_at(d, path, arch, 0, e);
}

/* The library of ATTNC_LIBCUDA is the user's choice: what is wrong with it is an error. */
static attnc_status
open_chosen(Device *d, const char *path, const char *which, const char *arch,
            attnc_error *e)
{
  TRY(device_open_at(d, path, arch, 0, e));
  if ((str_eq(which, "emu") && !d->emulated) || (str_eq(which, "cuda") && d->emulated)) {
    device_close(d);
    return err_set(e, ATTNC_ERR_NO_DEVICE, "--device %s, but ATTNC_LIBCUDA is %.300s",
                   which, path);
  }
  return ATTNC_OK;
}

attnc_status
device_open(Device *d, const char *which, const char *arch, attnc_error *e)
{
  *d = (Device){0};
  which = which ? which : "auto";
  bool any = str_eq(which, "auto");
  if (!any && !str_eq(which, "emu") && !str_eq(which, "cuda"))
    return err_set(e, ATTNC_ERR_USAGE, "--device: %.40s is not one of auto, emu, cuda",
                   which);
  const char *chosen = env_get(ENV_LIBCUDA);
  if (chosen)
    return open_chosen(d, chosen, which, arch, e);
  if (str_eq(which, "emu"))
    return open_emulator(d, arch, e);
  attnc_status st = device_open_at(d, "libcuda.so.1", arch, 0, e);
  if (st == ATTNC_OK || !any)
    return st;
  attnc_error why;
  if ((st = open_emulator(d, arch, &why)) == ATTNC_ERR_NO_DEVICE)
    return err_set(e, st, "no GPU (%.200s) and no emulator (%.200s)", e ? e->message : "",
                   why.message);
  if (st != ATTNC_OK && e)
    *e = why;
  return st;
}
