/* Derivatives by numbers, of expressions whose values are known: an oracle for those that
 * the compiler makes as expressions (expr_derive). */
#include "reference/ref.h"

#include <math.h>

/* a · b where nothing that does not change becomes NaN. */
static double
times(double slope, double by)
{
  return slope == 0 ? 0 : slope * by;
}

/* Of an operator: operands x with slopes s, its value r. */
static double
slope_of(ExprOp op, const double *x, const double *s, double r)
{
  static const double ln2 = 0.6931471805599453;
  switch (op) {
  case EXPR_OP_ADD:
    return s[0] + s[1];
  case EXPR_OP_SUB:
    return s[0] - s[1];
  case EXPR_OP_NEG:
    return -s[0];
  case EXPR_OP_MUL:
    return times(s[0], x[1]) + times(s[1], x[0]);
  case EXPR_OP_DIV:
    return times(s[0], 1 / x[1]) - times(s[1], r / x[1]);
  case EXPR_OP_MIN:
    return x[0] <= x[1] || isnan(x[1]) ? s[0] : s[1];
  case EXPR_OP_MAX:
    return x[0] >= x[1] || isnan(x[1]) ? s[0] : s[1];
  case EXPR_OP_ABS:
    return x[0] > 0 ? s[0] : x[0] < 0 ? -s[0] : 0;
  case EXPR_OP_RELU:
    return x[0] > 0 ? s[0] : 0;
  case EXPR_OP_EXP:
    return times(s[0], r);
  case EXPR_OP_EXP2:
    return times(s[0], r * ln2);
  case EXPR_OP_LOG2:
    return times(s[0], 1 / (x[0] * ln2));
  case EXPR_OP_TANH:
    return times(s[0], 1 - r * r);
  case EXPR_OP_SIGMOID:
    return times(s[0], r * (1 - r));
  case EXPR_OP_SQRT:
    return times(s[0], 1 / (2 * r));
  default: /* a step, or nothing that changes */
    return 0;
  }
}

static double
slope_at(const Expr *e, const ExprList *list, const ExprValue *values, const double *slopes,
         double result)
{
  double x[EXPR_AXES] = {0}, s[EXPR_AXES] = {0};
  for (int k = 0; k < e->n; k++) {
    int at = list->where[e->arg[k]->id];
    x[k] = values[at].f;
    s[k] = slopes[at];
  }
  if (e->op == EXPR_OP_COND)
    return values[list->where[e->arg[0]->id]].i ? s[1] : s[2];
  return slope_of(e->op, x, s, result);
}

double
ref_slope(const ExprList *list, const ExprValue *values, double of_score, int table,
          double *slopes)
{
  for (int i = 0; i < list->n; i++) {
    const Expr *e = list->at[i];
    bool score = e->op == EXPR_OP_VAR && e->i == EXPR_SCORE;
    bool changes = e->type == EXPR_F32 && e->n > 0 && e->op != EXPR_OP_LOAD;
    bool read = e->op == EXPR_OP_LOAD && e->i == table;
    slopes[i] = score     ? of_score
                : read    ? 1
                : changes ? slope_at(e, list, values, slopes, values[i].f)
                          : 0;
  }
  return slopes[list->n - 1];
}
