/* ptxas_notes.h: what the driver's compiler said against a kernel, for as long as the
 * kernel is kept.
 *
 * The driver compiles a text once and takes the result from its own cache afterwards, in
 * silence.  So the diagnostics of a load that had any are written to attnc's cache, under a
 * key of their own (text, driver version, capability), and a load of an exact target (only
 * those have what is diagnosed) at which the driver says nothing reads them back.  Either
 * way the plan's JSON has them, and each is a warning in the context's log.
 *
 * As with all of the cache, what cannot be read or written is left out. */
#ifndef ATTNC_RUNTIME_PTXAS_NOTES_H
#define ATTNC_RUNTIME_PTXAS_NOTES_H

#include "runtime/context.h"
#include "runtime/plan.h"

/* For a plan that nobody else has yet; `ptx` is what it was loaded from. */
attnc_status ptxas_notes_settle(attnc_context *, const char *ptx, attnc_plan *,
                                attnc_error *);

#endif
