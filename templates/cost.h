/* cost.h: from what a block of queries costs to what a problem costs: its blocks, in the
 * kernel's own order (partition.h), dealt to the multiprocessors as its scheduler deals
 * them.  The busiest one counts. */
#ifndef ATTNC_TEMPLATES_COST_H
#define ATTNC_TEMPLATES_COST_H

#include "templates/partition.h"

/* Clocks around the tiles of a block, from a simulation of our kernels by the stall counts
 * of ptxas 13.0, which comes within 10 % of what is published for kernels of mma.sync.  A
 * block's first products, softmax and end have nothing beside them: of fwd_wgmma 128x128
 * with q_stages 2, and as much of fwd_mma.  A CTA's first instruction behind one that has
 * ended, the first bytes of a copy by TMA and of cp.async are what the simulation assumes.
 */
enum { COST_BLOCK = 900, COST_LAUNCH = 700, COST_TMA = 750, COST_GLOBAL = 600 };

/* Of a launch that lists blocks (items.h), estimated: the gap between two launches, and
 * some six loads that wait for each other; and its instructions for each 256 blocks more.
 */
enum { COST_ITEMS = 6000, COST_ITEMS_MORE = 1000 };
/* Of the two that list a mask's tiles (classes.h), likewise: their gaps; and of each tile
 * and element that the first looks at the slots besides those of the mask. */
enum { COST_CLASSES = 10000, COST_CLASSES_TILE = 8192, COST_CLASSES_EACH = 6 };

/* Clocks that a block takes of its multiprocessor, which others may share with it. */
typedef struct BlockClocks {
  double full, partial; /* a key tile of each class, computed */
  double key;           /* a key of a tile, fetched beside: the longer of both counts */
  double block;         /* beginning and ending a block */
  double start;         /* starting a CTA, which goes on to its next block without it */
  double empty;         /* a block that is nobody's: finding out */
} BlockClocks;

/* Sizes of the case, with the default problem size where nothing is known. */
Case cost_assume(const Case *);
/* How many CTAs share a multiprocessor of `fit` that fit on one. */
int cost_resident(const Case *, const Partition *, int fit);
/* Of the busiest multiprocessor. */
double cost_clocks(const Case *, const Partition *, const BlockClocks *);
/* Expected key tiles, of each class, of all blocks. */
double cost_tiles(const Case *, const Partition *);

#endif
