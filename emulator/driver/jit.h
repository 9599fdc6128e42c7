/* jit.h: the options of what loads code (CUjit_option): where to log, and others that have
 * nothing to change here. */
#ifndef ATTNC_EMULATOR_JIT_H
#define ATTNC_EMULATOR_JIT_H

#include "abi/cuda.h"

#include <stdbool.h>

enum { JIT_LOG = 600 };

typedef struct Jit {
  char *buffer[2]; /* info, error */
  size_t size[2];
  void **size_out[2];
} Jit;

/* false: one of them is not known, or they are missing. */
bool jit_read(Jit *, unsigned n, const CUjit_option *, void **values);
/* The error goes to the log; what was filled in goes back through the size options.  One
 * that nobody asked for becomes a finding, or it would be lost. */
void jit_write(Jit *, const char *error);

#endif
