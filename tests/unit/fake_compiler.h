/* fake_compiler.h: a compiler for the runtime's tests: it answers what jit.c asks, at
 * once or slowly, and counts.  The kernel is the one of rt.h; its name says the block_m it
 * was made for. */
#ifndef ATTNC_TESTS_FAKE_COMPILER_H
#define ATTNC_TESTS_FAKE_COMPILER_H

#include "compiler/spec/spec.h"

#include <attnc/attnc.h>

typedef struct FakeCompiler {
  int compiles;       /* atomic: since the start */
  int delay_ms;       /* that one takes */
  attnc_status fail;  /* what the next ones answer */
  int pinned_m;       /* block_m of the spec's pin, 0: none */
  const char *recipe; /* NULL: that of rt.h */
  int revision;       /* in gen_options, so that a test can change the compiler */
} FakeCompiler;
extern FakeCompiler fake;

/* A spec by hand; released with attnc_spec_release. */
attnc_spec *fake_spec(const char *name, const char *canonical);
int fake_specs(void); /* not released yet */

#endif
