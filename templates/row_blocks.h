/* row_blocks.h: which CTA has which rows of a tensor of heads and rows, for steps that take
 * rows one by one: a row a warp, and as many rows a block as it has warps.
 *
 * Rows of a batch of sequences are numbered block by block as partition.h numbers blocks of
 * queries: padded, of each batch alike; packed, through all sequences, where a sequence has
 * a block or two that are nobody's. */
#ifndef ATTNC_TEMPLATES_ROW_BLOCKS_H
#define ATTNC_TEMPLATES_ROW_BLOCKS_H

#include "compiler/template.h"

/* What is dealt out: rows of all heads of a call. */
typedef struct RowSource {
  SizeId heads, rows, total; /* total: of all sequences, where they are packed */
  int offsets;               /* the slot that says where each begins */
  bool all;                  /* rows of all sequences are one, and nobody asks whose */
} RowSource;

/* Those of this CTA: T_WORK (t, is) stands around what is done of them. */
typedef struct RowBlock {
  Idx b, h, row; /* batch, head, first row of the sequence's */
  Idx first;     /* the tensor's row that is the sequence's first */
  Idx n;         /* rows that the sequence has */
  Idx batch;     /* of the tensor: 0 where rows are packed */
  Idx is;
} RowBlock;

/* The block of a number, and by the host how many numbers there are. */
RowBlock row_block(Tb *, const Call *, const RowSource *, int rows, Idx number);
Idx row_blocks(const Call *, const RowSource *, int rows);
/* That of this CTA; declares the grid. */
RowBlock row_block_of_cta(Tb *, const Call *, const RowSource *, int rows);
/* n rows of a tensor that the source describes. */
View row_view(const RowBlock *, const Tensor *, int n);

/* Schedules of templates whose blocks these are: as many rows as warps. */
enum { ROW_WARPS = 4 }; /* where nobody says another number */
const SpaceAxis *const *row_axes(const Case *);
Sched row_plain(const Template *);
bool row_refuse(const Case *, const Sched *, Why *);
/* Of b batches of so many heads, each of so many rows, of so many instructions each; 0
 * where a hint is missing. */
SchedCost row_cost(const Case *, const Sched *, int64_t heads, int64_t rows, double slots);

#endif
