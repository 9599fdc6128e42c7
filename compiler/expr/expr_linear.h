/* expr_linear.h: sums of i32 atoms, for expr_norm.c and expr_rows.c.
 *
 * A node is the sum of its terms modulo 2^32.  It is *exact* where the sum itself, without
 * wrapping, is an i32 for whatever a call has: then it may be moved over a comparison. */
#ifndef ATTNC_COMPILER_EXPR_LINEAR_H
#define ATTNC_COMPILER_EXPR_LINEAR_H

#include "compiler/expr/expr.h"

typedef struct Norm {
  ExprGraph *g;
  ExprBox box;
  VEC(ExprRange) ranges; /* by node */
} Norm;

typedef struct Term {
  const Expr *atom;
  int64_t k;
} Term;

typedef struct Linear {
  Term *at; /* by expr_order, no k is 0 */
  int n;
  int64_t c;
} Linear;

/* In every graph the same: variables, scalars, loads, operators, constants. */
int expr_order(const Expr *, const Expr *);

void norm_open(Norm *, ExprGraph *);
ExprRange norm_range(Norm *, const Expr *);

/* Of a node whose operands are in normal form. */
Linear linear_of(Norm *, const Expr *);
Linear linear_sum(Norm *, const Linear *a, const Linear *b, int64_t times_b);
/* Without the term of this atom, times k (1 or −1). */
Linear linear_without(Norm *, const Linear *, const Expr *atom, int64_t k);
int64_t linear_factor(const Linear *, const Expr *atom); /* 0: it is not in it */
/* Of the sum without wrapping; false: it is too large to say. */
bool linear_range(Norm *, const Linear *, ExprRange *);
bool linear_is_exact(Norm *, const Linear *);
const Expr *linear_node(Norm *, const Linear *);

#endif
