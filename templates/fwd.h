/* fwd.h: what every forward template is given: the tensors of the call, the mask, and how
 * the blocks of a grid share the work. */
#ifndef ATTNC_TEMPLATES_FWD_H
#define ATTNC_TEMPLATES_FWD_H

#include "compiler/template.h"

/* Which block of queries a block of threads has: batch, query head, key head, first query;
 * `all` is that of its cluster. */
typedef struct Work {
  Idx b, h, hk, q0, all;
} Work;

/* Grid: x over blocks of queries, y over query heads, z over batches.  Causal: the blocks
 * with most keys (the last queries) start first. */
Work fwd_work(Tb *, const Fwd *, int bm);

/* Bytes of shared memory, in the words of tile.h. */
int fwd_row_bytes(Dtype, int cols);
/* Expected tiles, FULL and PARTIAL, of the whole grid: what cost models multiply. */
typedef struct FwdTiles {
  double full, partial, blocks;
} FwdTiles;
FwdTiles fwd_tiles(const Case *, int bm, int bn);
/* Sizes of the case, with a middling problem where nothing is known. */
Case fwd_assume(const Case *);

#endif
