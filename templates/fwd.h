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

/* The CTA's block, one a CTA: all blocks of queries of a head, then the next head.  Causal:
 * the blocks with most keys (the last queries) start first. */
Work fwd_work(Tb *, const Call *, int bm);
/* Scores of a tile, −inf where the mask hides them. */
Tile fwd_mask(Tb *, const Mask *, Tile x, At, Visit);
/* How many query heads share a key head.  By it a head has its key head without a product:
 * h_idx * hk / h would need 64 bits from 46,342 heads on. */
Idx fwd_group(const Call *);

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
