/* mask_class.h: what the mask does to a box of queries and keys, by intervals.
 *
 * The same test as kernels make of a tile (compiler/tile/tile_interval.c), on the CPU and
 * with every size known: for pictures, cost models, and tests that hold the two together.
 * EMPTY and FULL are proved, so that a box may be PARTIAL which brute force finds to be
 * one of them. */
#ifndef ATTNC_COMPILER_MASK_CLASS_H
#define ATTNC_COMPILER_MASK_CLASS_H

#include "compiler/spec/spec.h"

typedef enum MaskClass { MASK_EMPTY, MASK_PARTIAL, MASK_FULL } MaskClass;

/* One problem, or a part of its batch and heads. */
typedef struct MaskProblem {
  const Spec *spec;
  int64_t sq, sk;
  ExprRange b, h, hk;      /* inclusive */
  const ExprTable *tables; /* i32 elements are int32_t; NULL: their contents are unknown */
  ExprRange *ranges;       /* by mask_problem */
} MaskProblem;

/* Of batch 0 and head 0, without tables; its scratch memory is the arena's. */
MaskProblem mask_problem(const Spec *, int64_t sq, int64_t sk, Arena *);
/* Queries q.lo … q.hi and keys k.lo … k.hi, inclusive, all below sq and sk. */
MaskClass mask_tile_class(const MaskProblem *, ExprRange q, ExprRange k);

#endif
