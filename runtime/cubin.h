/* cubin.h: machine code of a kernel, from the cache, or assembled and kept there.
 *
 * A cubin is an entry of its own beside that of its PTX.  Its key is of the PTX, of who
 * assembled it (assembler.h) and of the architecture; its recipe's place has what that
 * assembler said.  It is asked for while a plan is loaded, with the device's context
 * current, and is only ever an alternative: where there is none, or where the driver
 * refuses it, the driver is given the PTX, and the log says so. */
#ifndef ATTNC_RUNTIME_CUBIN_H
#define ATTNC_RUNTIME_CUBIN_H

#include "runtime/context.h"
#include "runtime/plan.h"

typedef struct Cubin {
  PlanCubin plan; /* what the plan is loaded with; first, so that it is the Cubin */
  attnc_context *ctx;
  const char *ptx;
  Entry *entry; /* a reference */
  json_t *said; /* its JSON */
  char id[ASSEMBLER_ID];
} Cubin;

void cubin_start(Cubin *, attnc_context *, const char *ptx);
/* After the load, whatever became of it: counts and tells what was refused. */
void cubin_end(Cubin *);

#endif
