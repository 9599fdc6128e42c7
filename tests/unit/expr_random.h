/* expr_random.h: random well-typed expressions and inputs, the same for the same seed. */
#ifndef ATTNC_TESTS_EXPR_RANDOM_H
#define ATTNC_TESTS_EXPR_RANDOM_H

#include "compiler/expr/expr.h"

typedef struct Random {
  uint64_t seed;
  bool whole; /* expressions have no f32 in them */
} Random;
uint64_t random_next(Random *);
int random_below(Random *, int n);

/* `doc` i32 [2 axes], `start` i32 [1], `table` f32 [2]; `cap`, `gain`. */
extern const ExprNames random_names;

/* At most `depth` operators deep; `score` only with_score. */
const Expr *random_expr(Random *, ExprGraph *, ExprType, int depth, bool with_score);
/* A mask of comparisons of sums of indices and sizes, and-ed, or-ed, chosen. */
const Expr *random_affine(Random *, ExprGraph *, int depth);

/* What a call may have: indices below their sizes, tables of 0 to 6 elements an axis. */
typedef struct RandomInput {
  ExprInput in;
  double scalars[2];
  ExprTable tables[3];
  double data[64];
} RandomInput;
void random_input(Random *, RandomInput *);

#endif
