/* tile_interval.h: what expressions can be over a box of queries and keys, as index
 * expressions: bounds that the kernel computes for each tile.
 *
 * expr_known_ranges, for whatever a call has, comes first: what may wrap is any i32 here
 * too, and bounds are whole numbers only where nothing wraps (expr.h says why the graphs
 * differ). Each bound lies within that interval, so that nothing here wraps either.
 * Operators without a row of their own keep the interval's constants: right, and wider. */
#ifndef ATTNC_COMPILER_TILE_INTERVAL_H
#define ATTNC_COMPILER_TILE_INTERVAL_H

#include "compiler/tile/tile.h"

typedef struct IdxRange {
  Idx lo, hi; /* inclusive */
} IdxRange;
typedef struct IdxBox {
  IdxRange var[EXPR_VARS]; /* all but `score` */
  const Spec *spec;
  const Lookup *tables; /* its tables in this call; NULL: not to be read */
} IdxBox;

/* Of an i32: it is in [lo, hi].  Of a bool: it is surely true, surely false. */
typedef struct IdxBounds {
  Idx lo, hi;
  Idx yes, no;
  bool point; /* exact: lo is hi, or one of yes and no is true */
  Idx ends;   /* of an i32, a condition: it is lo or hi, and nothing between them */
} IdxBounds;

/* Of the last node of the list, which is i32 or bool. */
IdxBounds i_bounds(Tb *, const ExprList *, const IdxBox *);

#endif
