/* cubin.h: the kernels in what ptxas writes.
 *
 * A cubin is an ELF64 file of the host's byte order; the code of kernel K is the section
 * .text.K, 16 bytes an instruction.  Nothing else of it is read, and nothing of it is
 * believed: every offset is checked against the file's size, and a file that is not an ELF
 * file of a GPU is ATTNC_ERR_INTERNAL with the reason, since only ptxas wrote it.
 * Names are in the arena, code stays in the caller's bytes. */
#ifndef ATTNC_CLI_CUBIN_H
#define ATTNC_CLI_CUBIN_H

#include "base/arena.h"

#include <attnc/attnc_rt.h>

#include <stdint.h>

enum { CUBIN_INSTRUCTION = 16 };

typedef struct CubinKernel {
  const char *name;
  const char *code;
  int n; /* instructions, the padding behind the last one too */
} CubinKernel;

typedef struct Cubin {
  int sm; /* 80, 90, …: of the ELF flags */
  CubinKernel *kernels;
  int n;
} Cubin;

attnc_status cubin_read(const char *bytes, size_t n, Arena *, Cubin *, attnc_error *);

/* The i-th instruction as two words, the one with the opcode first. */
typedef struct Instruction {
  uint64_t lo, hi;
} Instruction;
Instruction cubin_instruction(const CubinKernel *, int i);

#endif
