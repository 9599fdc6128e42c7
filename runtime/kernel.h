/* kernel.h: a kernel by its key: from memory, from disk, from another process that is at
 * it, or compiled here and stored.
 *
 * One thread of a context makes a kernel, the others wait for it (flight.h).  Of several
 * processes that want the same one at the same moment one compiles, the others wait for its
 * lock (cache.h) and find the entry; where there are no locks each compiles, and they store
 * the same. */
#ifndef ATTNC_RUNTIME_KERNEL_H
#define ATTNC_RUNTIME_KERNEL_H

#include "runtime/context.h"

/* A kernel, and how it was come by. */
typedef struct Found {
  Entry *entry;      /* a reference */
  const char *layer; /* memory, disk, readonly, miss */
  double compile;    /* seconds */
} Found;

attnc_status kernel_get(attnc_context *, const JitRequest *, const JitResolved *, Found *,
                        attnc_error *);

/* Compiled, in this process or in another, as the context has it; dumps are written. */
attnc_status kernel_make(const attnc_context *, const JitRequest *, const JitResolved *,
                         Entry **, attnc_error *);

#endif
