/* assembler.h: who makes machine code of PTX while a program runs.
 *
 *   driver      the CUDA driver's linker (cuLink…), which is the compiler that it would
 * load PTX by; wants a current context nvjitlink   libnvJitLink.so of a CUDA toolkit, found
 * by the loader ptxas       the toolkit's program (sass/ptxas.h), in a process of its own
 *
 * Each has a name with a version, which is a part of the cache's key, and is asked for code
 * of one architecture.  What it says goes with the code, whose registers and spills nobody
 * tells later. */
#ifndef ATTNC_RUNTIME_ASSEMBLER_H
#define ATTNC_RUNTIME_ASSEMBLER_H

#include "runtime/drv.h"

enum { ASSEMBLER_ID = 160 };

typedef struct Assembly {
  void *cubin; /* malloc'd */
  size_t n;
  char *log; /* malloc'd, NULL: it said nothing */
} Assembly;

typedef struct Assembler {
  const char *word;
  /* The name with its version; false: there is none here. */
  bool (*identify)(const Driver *, char id[ASSEMBLER_ID]);
  /* arch: "sm_90a".  The PTX has a 0 behind its n bytes. */
  attnc_status (*run)(const Driver *, const char *ptx, size_t n, const char *arch,
                      Assembly *, attnc_error *);
} Assembler;

extern const Assembler assembler_driver, assembler_nvjitlink, assembler_ptxas;

enum { ASSEMBLERS = 3 };
/* Those that a text like "nvjitlink,driver" names, in its order; a "none" in it is nobody.
 * Their number, -1: a word is none of them, *bad of n bytes. */
int assemblers_read(const char *text, const Assembler *out[ASSEMBLERS], const char **bad,
                    int *n);

#endif
