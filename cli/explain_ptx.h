/* explain_ptx.h: the part of `attnc explain` that takes PTX in the place of a spec:
 * registers, spills, remarks and machine instructions of its kernels, for comparing others'
 * with ours. */
#ifndef ATTNC_CLI_EXPLAIN_PTX_H
#define ATTNC_CLI_EXPLAIN_PTX_H

#include "cli/cli.h"

bool is_ptx(const char *path);
int explain_ptx(Cli *);

#endif
