/* assemble.h: a kernel as the files that bundles and packs are of: PTX, what ptxas makes of
 * it (a cubin), and the recipe, which names the cubin that it was made with. */
#ifndef ATTNC_CLI_ASSEMBLE_H
#define ATTNC_CLI_ASSEMBLE_H

#include "base/arena.h"

#include <attnc/attnc.h>

#include <stdbool.h>

typedef struct KernelFiles {
  const char *json, *ptx;
  size_t json_n, ptx_n;
  const char *cubin; /* NULL: it was not asked for */
  size_t cubin_n;
} KernelFiles;

/* Points into the kernel and the arena.  ATTNC_ERR_UNSUPPORTED where a cubin is asked for
 * and there is no ptxas. */
attnc_status kernel_files(const attnc_kernel *, const char *target, bool cubin, Arena *,
                          KernelFiles *, attnc_error *);

#endif
