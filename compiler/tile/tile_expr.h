/* tile_expr.h: expressions of a spec as the steps in which an operation computes them.
 *
 * A step is a node of an expression, numbered so that operands come before their users, and
 * each node is one step however many expressions have it.  Its grade says how often it is
 * computed: once, once a row, a column, an element of the tile.  A score_mod's `score` is
 * the step of the mod before it.  All that asks the graph of expressions is done here; what
 * lowers the steps needs nothing else (compiler/llvm/llvm_expr.c). */
#ifndef ATTNC_COMPILER_TILE_EXPR_H
#define ATTNC_COMPILER_TILE_EXPR_H

#include "compiler/tile/tile.h"

/* A load is several steps: the address of its tensor, to which what each index moves it by
 * is added, what is computed least often first. */
typedef enum StepKind {
  STEP_NODE, /* of a load: from the address arg[0] */
  STEP_BASE, /* address of the tensor's first element */
  STEP_TERM, /* bytes from it, by the index arg[0] of an axis */
  STEP_SUM   /* of address arg[0] and bytes arg[1] */
} StepKind;

typedef struct ExprStep {
  StepKind kind;
  const Expr *e; /* of all steps of a load: the load */
  int axis;      /* TERM */
  int arg[EXPR_AXES];
  ExprGrade grade;
  bool nonneg;           /* of an i32: proved */
  bool inside;           /* TERM: the index is proved to be below the axis' length */
  unsigned may_be_empty; /* of a load, NODE: bits 1u << axis */
} ExprStep;

/* Steps that are wanted for themselves: of a score the last mod, of a mask the limits of
 * its rows and what is asked of each element.  −1: there is none. */
typedef enum ExprRoot { ROOT_SCORE, ROOT_FIRST, ROOT_LAST, ROOT_REST, EXPR_ROOTS } ExprRoot;

typedef struct ExprSteps {
  const Mods *mods;
  VEC(ExprStep) step;
  int root[EXPR_ROOTS];
} ExprSteps;

/* pack: of the rows' At. */
const ExprSteps *tile_score_steps(Tb *, const Mods *, int pack);
/* The logit of the spec's sink, as a score. */
const ExprSteps *tile_sink_steps(Tb *, const Mods *, int pack);
const ExprSteps *tile_mask_steps(Tb *, const Mods *, int pack); /* NULL: no mask_mod */

#endif
