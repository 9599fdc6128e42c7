/* merge.h: states of attention over parts of a row's keys, each an output and an LSE, added
 * up in fp32, one part after the other: a row a warp. */
#ifndef ATTNC_TEMPLATES_MERGE_H
#define ATTNC_TEMPLATES_MERGE_H

#include "compiler/template.h"

/* A row's state so far: its output is o / l, its LSE m + log l. */
typedef struct MergeState {
  Tile *m, *l, *o;
  Tile c;    /* log2 of the base of the LSEs */
  bool near; /* to a few ulp of fp32 */
} MergeState;

MergeState merge_new(Tb *, const Call *, int rows);
void merge_part(Tb *, const MergeState *, Tile lse, Tile o);
Tile merge_output(Tb *, const MergeState *);
Tile merge_lse(Tb *, const Call *, const MergeState *);

#endif
