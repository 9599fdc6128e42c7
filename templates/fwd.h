/* fwd.h: what forward templates have in common: the mask, and rules of legality. */
#ifndef ATTNC_TEMPLATES_FWD_H
#define ATTNC_TEMPLATES_FWD_H

#include "compiler/template.h"
#include "compiler/tile/walk.h"
#include "templates/softmax.h"

/* Scores of a tile after all that the spec makes of them, −inf where the mask hides them.
 * Where score_mod changes them they are scaled, else softmax_scale is still to come.  NULL:
 * no table has a tile beside them. */
Tile fwd_scores(Tb *, const Call *, Tile x, At, TileIter, const TableTile *);
/* softmax_end with what the spec says of it; `at` is where the rows lie. */
Tile fwd_end(Tb *, const Call *, Softmax *, int rows, At, Tile *lse);
/* O of a block of rows: where it is a state of fp32 that another step reads (cascade.h)
 * from registers to memory; else nothing is done, and false. */
bool fwd_state_out(Tb *, const Call *, View rows, Tile o);
/* With dropout: what tells which weights of a batch and query head are dropped; which of
 * those of a tile are; and weights as they are multiplied with V, 0 where they
 * are, behind the sums that the LSE is of.  Without it the first two are NULL. */
Tile fwd_drop_state(Tb *, const Call *, Idx b, Idx h);
Tile fwd_drop(Tb *, Tile state, int rows, int cols, At);
Tile fwd_keep(Tb *, Tile drop, Tile w);
/* May a row have no score but −inf in this tile? */
bool fwd_may_hide(const Call *, TileIter);
/* How many query heads share a key head.  By it a head has its key head without a product:
 * h_idx * hk / h would need 64 bits from 46,342 heads on. */
Idx fwd_group(const Call *);

/* Registers a thread with so many rows of what expressions keep from tile to tile, and of
 * what they load. */
int fwd_mod_regs(const Spec *, int rows);
/* Of them those of tables beside a load and the one that tells its place. */
int fwd_beside_regs(const Spec *);
/* Instructions an element of a tile that expressions take; `beside`: the load whose table
 * has a tile beside it, or NULL. */
double fwd_mod_slots(const Spec *, bool masked, const Expr *beside);
/* Of dropout: registers a thread of `blocks` of 16 rows a warp, of so many columns, and
 * instructions an element. */
int fwd_drop_regs(const Spec *, int blocks, int cols);
double fwd_drop_slots(const Spec *);
int fwd_table_bytes(const Spec *, const Expr *load); /* of an element */

/* Rules of legality that templates share. */
bool fwd_takes(const Spec *, Why *);
/* What TMA takes of rows in pages: boxes of 8 rows or more that lie in one.  A call whose
 * pages are others has smaller boxes, and is right all the same. */
bool fwd_takes_pages_by_tma(const Case *, Why *);
/* Does a tile, or a block of rows, lie in two blocks of the call's lists? */
bool fwd_refuse_lists(const Spec *, const Sched *, Why *);
bool fwd_refuse_keys(const Spec *, int block_n, int num_stages, Why *);
bool fwd_refuse_shared(const Case *, int bytes, Why *);
/* Registers a thread of a left operand of so many columns: `blocks` of 16 rows a warp. */
int fwd_left_regs(Dtype, int blocks, int cols);

#endif
