/* layout.h: the shared memory of a schedule, declared once by its template: legality and
 * cost count it, `emit` places the same parts in the same order. */
#ifndef ATTNC_TEMPLATES_LAYOUT_H
#define ATTNC_TEMPLATES_LAYOUT_H

#include "compiler/template.h"

/* Boxes of the forward's tensors, of the weights P and of a table that has a tile for each
 * of scores, and room to exchange (t_exchange); of the backward's dO, and columns of the
 * statistics of rows. */
enum {
  PART_Q,
  PART_K,
  PART_V,
  PART_P,
  PART_TABLE,
  PART_EXCHANGE,
  PART_DO,
  PART_LSE,
  PART_DELTA,
  LAYOUT_PARTS
};

typedef struct SmemLayout {
  /* A part of no rows is not of this schedule, one of no stages is in no ring. */
  RingArgs part[LAYOUT_PARTS];
} SmemLayout;

/* Rows of one of the call's tensors, as many columns wide as `like` has. */
RingArgs layout_rows(const Spec *, int slot, int rows, int cols);
RingArgs layout_column(const char *name, int rows); /* one fp32 a row */
/* A tile of the table that a load of the score_mod reads (spec_score_tile). */
RingArgs layout_table(const Spec *, const Expr *load, int rows, int cols);
/* Room for warps that share rows, of weights of rows x cols. */
RingArgs layout_exchange(const Spec *, int warps_n, int rows, int cols);
/* Room of so many bytes to exchange what it may be. */
RingArgs layout_room(int bytes);
int layout_bytes(const SmemLayout *);    /* with the mbarriers of its rings */
int layout_box(const SmemLayout *, int); /* bytes of a part, or of one stage of it */
Ring *layout_ring(Tb *, const SmemLayout *, int part);
Smem layout_smem(Tb *, const SmemLayout *, int part);

#endif
