/* lengths.h: how long the sequences of a batch are taken to be by cost models, where only
 * the device knows.
 *
 * Of the longest, which the call's sq and sk are, a share of ((2i + 1) / 2b)^p has the i-th
 * of b sequences by length: many short ones and few long ones.  Their mean is 1 / (p + 1)
 * of the longest; p is 3, a quarter, unless the call's hints say how many rows a packed
 * batch has.  Long and short ones are mixed in the batch, the longest about its middle. */
#ifndef ATTNC_TEMPLATES_LENGTHS_H
#define ATTNC_TEMPLATES_LENGTHS_H

#include "compiler/template.h"

enum { LENGTHS_MOST = 16 };

typedef struct Lengths {
  int n;       /* sequences, in the order of the batch … */
  double each; /* … of which each stands for so many */
  struct {
    int64_t q, k;
  } of[LENGTHS_MOST];
} Lengths;

/* Of a case whose sizes are all known; all alike where the spec gives none of their own. */
Lengths lengths_assumed(const Case *);

#endif
