/* beside.h: the tile of a table beside that of the scores (t_score_beside).
 *
 * `bias`, or another table that score_mod reads for each query and key (spec_score_tile),
 * comes tile by tile through a ring of its own, and is read as the accumulator lies.  The
 * template says which load has a tile: who loads by cp.async can bring rows that begin
 * anywhere, TMA those of `bias`, whose rows are 16 bytes apart or a multiple.  Where none
 * has, elements are read where they stand. */
#ifndef ATTNC_TEMPLATES_BESIDE_H
#define ATTNC_TEMPLATES_BESIDE_H

#include "templates/fwd.h"
#include "templates/layout.h"
#include "templates/partition.h"

typedef struct Beside {
  const Expr *load; /* NULL: no table has a tile, and the rest is nothing */
  const Tensor *rows;
  Ring *ring;
} Beside;

/* Declares the ring: PART_TABLE of the layout. */
Beside beside_new(Tb *, const Call *, const Expr *load, const SmemLayout *);
/* n rows from the block's first query on, of a tile's keys from key `k` on.  What is past
 * the last key is in it: v_cols_until, unless the table's map ends there. */
View beside_view(const Beside *, const WorkTile *, Idx k, int n);
/* fwd_scores, of n rows from row `from` of the block on; the stage is released. */
Tile beside_scores(Tb *, const Beside *, const Call *, Tile x, At, TileIter, Idx from,
                   int n);

#endif
