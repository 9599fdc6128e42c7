#include "cli/assemble.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/str.h"
#include "sass/ptxas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The driver that an assembler's code needs: the first of its major version (CUDA
 * Compatibility, "Minor Version Compatibility"). */
static int
driver_of(const char *version)
{
  int major = 0;
  return version && sscanf(version, "release %d.", &major) == 1 ? major * 1000 : 0;
}

/* The recipe with one key more, its last. */
static const char *
with_cubin(const char *json, const KernelFiles *k, const char *target, Arena *arena)
{
  char hash[65];
  const char *version = ptxas_version(ptxas_find(arena), arena), *end = strrchr(json, '}');
  Str s = str_new(arena);
  sha256_hex(k->cubin, k->cubin_n, hash);
  str_putn(&s, json, (size_t)(end - json));
  str_printf(&s,
             ",\"cubin\":{\"sha256\":\"%s\",\"target\":\"%s\",\"min_driver\":%d,"
             "\"assembler\":",
             hash, target, driver_of(version));
  str_json(&s, arena_printf(arena, "ptxas %s", version ? version : "of unknown version"));
  str_printf(&s, "}%s", end);
  return s.p;
}

attnc_status
kernel_files(const attnc_kernel *kernel, const char *target, bool cubin, Arena *arena,
             KernelFiles *out, attnc_error *e)
{
  Assembled a;
  *out = (KernelFiles){.json = attnc_kernel_json(kernel)};
  out->ptx = attnc_kernel_ptx(kernel, &out->ptx_n);
  if (cubin) {
    TRY(ptxas_run(out->ptx, out->ptx_n, target, arena, &a, e));
    char *copy = NEW_N(arena, char, a.bytes + 1);
    memcpy(copy, a.cubin, a.bytes);
    free(a.cubin);
    out->cubin = copy;
    out->cubin_n = a.bytes;
    out->json = with_cubin(out->json, out, target, arena);
  }
  out->json_n = strlen(out->json);
  return ATTNC_OK;
}
