/* What the roundings and functions of a score_mod may be off by, as docs/expressions.md
 * promises them, and what that is worth in a row.
 *
 * The plain computation rounds each function once, kernels come within the promise; and of
 * a few rows the plain computation's roundings may all be small by chance, where others'
 * are not.  So the promise is part of the contract, as an error of every score, carried
 * through the operators behind it by their derivatives.  What is no derivative (a
 * comparison, floor, a conversion to i32) carries nothing. */
#include "reference/ref.h"

#include <math.h>

/* ---- of a value ---- */

/* At most (of_result + of_operand |x|) |r| + absolute; r: the right value. */
typedef struct Promise {
  double of_result, absolute, of_operand;
} Promise;

/* One rounding to nearest. */
static const double ROUNDING = 0x1p-24;
#define EXACTLY_ROUNDED                                                                    \
  [EXPR_OP_ADD] = {0x1p-24, 0, 0}, [EXPR_OP_SUB] = {0x1p-24, 0, 0},                        \
  [EXPR_OP_MUL] = {0x1p-24, 0, 0}

/* "How kernels compute f32", in the order of its table. */
static const Promise approximate[EXPR_OPS] = {
    EXACTLY_ROUNDED,
    [EXPR_OP_DIV] = {0x1p-21, 0, 0},
    [EXPR_OP_EXP2] = {0x1p-21, 0, 0},
    [EXPR_OP_EXP] = {0x1p-21, 0, 0x1p-23},
    [EXPR_OP_LOG2] = {0x1p-22, 0x1p-22, 0},
    [EXPR_OP_TANH] = {0, 0x1p-21, 0},
    [EXPR_OP_SIGMOID] = {0x1p-21, 0, 0x1p-23},
    [EXPR_OP_SQRT] = {0x1p-22, 0, 0},
};
/* "Kernels whose V is fp32". */
static const Promise near[EXPR_OPS] = {
    EXACTLY_ROUNDED,
    [EXPR_OP_DIV] = {0x1p-21, 0, 0},
    [EXPR_OP_EXP2] = {0x1p-21, 0, 0},
    [EXPR_OP_EXP] = {0x1p-21, 0, 0},
    [EXPR_OP_LOG2] = {0x1p-21, 0x1p-21, 0},
    [EXPR_OP_TANH] = {0x1p-21, 0, 0},
    [EXPR_OP_SIGMOID] = {0x1p-21, 0, 0},
    [EXPR_OP_SQRT] = {0x1p-21, 0, 0},
};

static const Promise *
promises(const Ref *r)
{
  return r->ty[ATTNC_V] == DT_F32 ? near : approximate;
}

/* What errors e of the operands x are worth in the result r. */
static double
carried(ExprOp op, const double *x, const double *e, double r)
{
  static const double ln2 = 0.6931471805599453;
  switch (op) {
  case EXPR_OP_ADD:
  case EXPR_OP_SUB:
    return e[0] + e[1];
  case EXPR_OP_MUL:
    return fabs(x[0]) * e[1] + fabs(x[1]) * e[0];
  case EXPR_OP_DIV:
    return (e[0] + fabs(r) * e[1]) / fabs(x[1]);
  case EXPR_OP_MIN:
  case EXPR_OP_MAX:
    return fmax(e[0], e[1]);
  case EXPR_OP_NEG:
  case EXPR_OP_ABS:
  case EXPR_OP_RELU:
    return e[0];
  case EXPR_OP_EXP:
    return r * e[0];
  case EXPR_OP_EXP2:
    return r * ln2 * e[0];
  case EXPR_OP_LOG2:
    return e[0] / (fabs(x[0]) * ln2);
  case EXPR_OP_TANH:
    return (1 - r * r) * e[0];
  case EXPR_OP_SIGMOID:
    return r * (1 - r) * e[0];
  case EXPR_OP_SQRT:
    return e[0] / (2 * r);
  default:
    return 0;
  }
}

static double
error_of(const Promise *promise, const Expr *e, const ExprList *list,
         const ExprValue *values, const double *errors, double result)
{
  double x[EXPR_AXES] = {0}, of[EXPR_AXES] = {0};
  for (int k = 0; k < e->n; k++) {
    int at = list->where[e->arg[k]->id];
    x[k] = values[at].f;
    of[k] = errors[at];
  }
  if (e->op == EXPR_OP_COND)
    return values[list->where[e->arg[0]->id]].i ? of[1] : of[2];
  const Promise *p = &promise[e->op];
  double own = (p->of_result + p->of_operand * fabs(x[0])) * fabs(result) + p->absolute;
  double all = own + carried(e->op, x, of, result);
  return isfinite(all) ? all : 0; /* an infinity or NaN is one in kernels too */
}

double
ref_score_error(const Ref *r, const ExprList *list, const ExprValue *values, double before,
                double *errors)
{
  const Promise *promise = promises(r);
  for (int i = 0; i < list->n; i++) {
    const Expr *e = list->at[i];
    bool score = e->op == EXPR_OP_VAR && e->i == EXPR_SCORE;
    errors[i] = score                                ? before
                : e->op == EXPR_OP_LOAD || e->n == 0 ? 0
                : e->type == EXPR_F32
                    ? error_of(promise, e, list, values, errors, values[i].f)
                    : 0;
  }
  return errors[list->n - 1];
}

double
ref_scaled_error(double score)
{
  return isfinite(score) ? fabs(score) * ROUNDING : 0;
}

/* ---- of a row ---- */

/* A weight p whose score is off by e changes the output by p e (v - o), the LSE by p e;
 * with dropout v is multiplied by what is kept of p. */
void
ref_row_slack(Ref *r, Range keys, double l64)
{
  int dv = r->spec->head_dim_v;
  for (int64_t j = keys.from; j < keys.to; j++) {
    double worth = r->s64[j] / l64 * r->score_error[j];
    if (!(worth > 0) || !isfinite(worth))
      continue; /* hidden, a row without weights, infinities */
    r->lse_slack += worth;
    double kept = ref_kept(r, j);
    for (int i = 0; i < dv; i++) {
      double far = worth * fabs(kept * (double)ref_value(r, j, i) - r->o64[i]);
      r->o_slack[i] += isfinite(far) ? far : 0;
    }
  }
}
