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
 * is added, what is computed least often first.  So is what is divided by something that is
 * computed less often: a product with its inverse; a bit of packed words, of which one is
 * loaded for all columns of a row that are in it; and tanh, whose factors on both sides,
 * softmax_scale with them, are one product before it and a multiply-add behind it.  (Not in
 * kernels whose functions are near.) */
typedef enum StepKind {
  STEP_NODE,      /* of a load: from the address arg[0] */
  STEP_BASE,      /* address of the tensor's first element */
  STEP_TERM,      /* bytes from it, by the index arg[0] of an axis */
  STEP_SUM,       /* of address arg[0] and bytes arg[1] */
  STEP_RAW,       /* f32, as the following: what the tile holds, before softmax_scale */
  STEP_NUMBER,    /* k */
  STEP_SCALE,     /* softmax_scale */
  STEP_PRODUCT,   /* arg[0] · arg[1] */
  STEP_INVERSE,   /* 1 / arg[0] */
  STEP_TANH_PART, /* 1 / (1 + 2^arg[0]) */
  STEP_TANH,      /* arg[0] · arg[1] + arg[2]: of the part, −2 f and f */
  STEP_SIZE,      /* |arg[0]| as f32, of an i32 that is not −2^31, or of an f32 */
  STEP_ALONG,     /* arg[0] as f32, of an i32 that grows by k with each key: see along_of */
  STEP_TILE,      /* of a load: what the tile of its table beside the scores holds */
  STEP_PLUS,      /* arg[0] + arg[1] */
  STEP_BIT        /* bool: bit arg[1] of the words that begin at address arg[0] */
} StepKind;

typedef struct ExprStep {
  StepKind kind;
  const Expr *e; /* NODE; of all steps of a load, and BIT: the load; else NULL */
  double k;      /* NUMBER, ALONG */
  int axis;      /* TERM, BIT */
  int arg[EXPR_AXES];
  ExprGrade grade;
  bool used;             /* a root needs it */
  bool nonneg;           /* of an i32: proved */
  bool small;            /* PRODUCT, INVERSE: it may be subnormal, and counts */
  bool inside;           /* TERM: the index is proved to be below the axis' length */
  bool whole;            /* BIT: arg[1] is 0 modulo 32 where a tile begins */
  unsigned may_be_empty; /* of a load, NODE, BIT: bits 1u << axis */
} ExprStep;

/* Steps that are wanted for themselves: of a score the last mod, of a mask the limits of
 * its rows and what is asked of each element.  −1: there is none. */
typedef enum ExprRoot { ROOT_SCORE, ROOT_FIRST, ROOT_LAST, ROOT_REST, EXPR_ROOTS } ExprRoot;

typedef struct ExprSteps {
  const Mods *mods;
  VEC(ExprStep) step;
  int root[EXPR_ROOTS];
} ExprSteps;

/* At: of the tile; beside: the load whose elements stand in shared memory, or NULL. */
const ExprSteps *tile_score_steps(Tb *, const Mods *, const At *, const Expr *beside);
/* The derivative of the score by the scaled one that no mod has changed, as a score. */
const ExprSteps *tile_slope_steps(Tb *, const Mods *, const At *);
/* That by the element of the table of one of spec->grads. */
const ExprSteps *tile_slope_by_steps(Tb *, const Mods *, const At *, int grad);
/* The logit of the spec's sink, as a score. */
const ExprSteps *tile_sink_steps(Tb *, const Mods *, const At *);
const ExprSteps *tile_mask_steps(Tb *, const Mods *, const At *); /* NULL: no mask_mod */

#endif
