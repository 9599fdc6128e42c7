/* mask_class.h: what the mask does to a box of queries and keys, by intervals.
 *
 * The same test as kernels make of a tile (compiler/tile/tile_interval.c), on the CPU and
 * with every size known: for pictures, cost models, and tests that hold the two together.
 * EMPTY and FULL are proved, so that a box may be PARTIAL which brute force finds to be
 * one of them. */
#ifndef ATTNC_COMPILER_MASK_CLASS_H
#define ATTNC_COMPILER_MASK_CLASS_H

#include "compiler/spec/spec.h"

#include <attnc/attnc.h>

typedef enum MaskClass { MASK_EMPTY, MASK_PARTIAL, MASK_FULL } MaskClass;

/* One problem, or a part of its batch and heads. */
typedef struct MaskProblem {
  const Spec *spec;
  int64_t sq, sk;
  ExprRange b, h, hk;      /* inclusive */
  const ExprTable *tables; /* i32 elements are int32_t; NULL, or without data: unknown */
  ExprRange *ranges;       /* by mask_problem */
} MaskProblem;

/* Of batch 0 and head 0, without tables; its scratch memory is the arena's. */
MaskProblem mask_problem(const Spec *, int64_t sq, int64_t sk, Arena *);
/* Queries q.lo … q.hi and keys k.lo … k.hi, inclusive, all below sq and sk. */
MaskClass mask_tile_class(const MaskProblem *, ExprRange q, ExprRange k);

/* Tiles of bm queries by bn keys, from the first ones on. */
typedef MaskClass MaskTile(void *user, ExprRange q, ExprRange k);
/* q_tiles and kv_tiles are given; counts each tile's class, and puts its character into the
 * map, if there is one (attnc_tiles). */
void mask_tiles(MaskTile *, void *user, int64_t sq, int64_t sk, int bm, int bn,
                attnc_tile_counts *, char *map);

/* How a loop over keys follows from the mask, and why so: sentences, each a line. */
void mask_why(const Spec *, Str *);

#endif
