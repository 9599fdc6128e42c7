/* ptxas.h: NVIDIA's assembler, where one is installed: never needed, only asked. */
#ifndef ATTNC_CLI_PTXAS_H
#define ATTNC_CLI_PTXAS_H

#include "base/arena.h"

#include <attnc/attnc_rt.h>

#include <stdbool.h>

typedef struct Assembled {
  char *cubin; /* malloc'd */
  size_t bytes;
  int registers, spill_stores, spill_loads, barriers; /* of the largest entry */
  int stack,
      shared;      /* bytes; shared: what is declared with a size, so not a kernel's own */
  const char *log; /* in the arena */
} Assembled;

/* $ATTNC_PTXAS, or on PATH, in $CUDA_HOME/bin or /usr/local/cuda/bin; in the arena, NULL if
 * there is none. */
const char *ptxas_find(Arena *);
/* ATTNC_ERR_UNSUPPORTED where there is no ptxas, ATTNC_ERR_COMPILE with its words.
 * May be called by several threads at once, each with its own arena. */
attnc_status ptxas_run(const char *ptx, size_t n, const char *target, Arena *, Assembled *,
                       attnc_error *);
/* "Cuda compilation tools, release 13.0, V13.0.88", NULL if it does not say. */
const char *ptxas_version(const char *path, Arena *);
/* The n-th remark of the family C75xx in a log: ptxas could not do what the kernel asks for
 * (wgmma serialised, setmaxnreg ignored); NULL past the last.  In the arena. */
const char *ptxas_remark(const char *log, int n, Arena *);

/* Runs a program, both of its outputs to *log.  The exit status, -1 if it cannot start. */
int program_run(char *const argv[], Arena *, const char **log);

#endif
