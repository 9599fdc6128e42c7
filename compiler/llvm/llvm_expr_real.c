/* Operators of f32: within the bounds that docs/expressions.md gives, in as few
 * instructions as PTX has for them, or near: a few units in the last place of fp32,
 * whatever that takes. Subnormal numbers are 0 in both. */
#include "compiler/llvm/llvm_lower.h"

#include <math.h>

static const double LOG2E = 1.4426950408889634, LN2 = 0.6931471805599453;

static V
approximate(Lo *lo, const char *text, V x)
{
  return asm_1(lo, ASM_PURE, text, "=f,f", lo->f32, &x, 1);
}

static V
times(Lo *lo, V x, double k)
{
  return LLVMBuildFMul(lo->b, x, kf(lo, k), "");
}

static V
more(Lo *lo, V x, double k)
{
  return LLVMBuildFAdd(lo->b, x, kf(lo, k), "");
}

static V
fma_(Lo *lo, V a, V b, V c)
{
  V in[3] = {a, b, c};
  return f32_call(lo, "llvm.fma", in, 3);
}

static V
fabs_(Lo *lo, V x)
{
  return f32_call(lo, "llvm.fabs", &x, 1);
}

static V
power_of_2(Lo *lo, V x)
{
  return approximate(lo, "ex2.approx.ftz.f32 $0, $1;", x);
}

/* 1 / (1 + x); 0 for infinity. */
static V
inverse_of_more(Lo *lo, V x)
{
  return approximate(lo, "rcp.approx.ftz.f32 $0, $1;", more(lo, x, 1));
}

/* tanh x is 1 − 2 / (1 + e^2x): 1 and −1 are exact from where e^2x is infinite or 0. */
V
expr_tanh_part(Lo *lo, V x)
{
  return inverse_of_more(lo, power_of_2(lo, x));
}

/* Of a number above 2^126 it is subnormal, and counts. */
V
expr_inverse(Lo *lo, V x)
{
  return approximate(lo, "rcp.approx.f32 $0, $1;", x);
}

/* A product and a sum of it may become one instruction. */
static V
fusible(V x)
{
  if (LLVMIsAInstruction(x))
    LLVMSetFastMathFlags(x, LLVMFastMathAllowContract);
  return x;
}

V
expr_product(Lo *lo, V x, V y, bool small)
{
  V in[2] = {x, y};
  if (!small)
    return fusible(LLVMBuildFMul(lo->b, x, y, ""));
  return asm_1(lo, ASM_PURE, "mul.f32 $0, $1, $2;", "=f,f,f", lo->f32, in, 2);
}

/* By a constant whose inverse is an ordinary number: one product. */
static V
quotient(Lo *lo, const Expr *e, V *x)
{
  const Expr *by = e->arg[1];
  double size = fabs((double)by->f);
  if (by->op == EXPR_OP_CONST && size >= 0x1p-126 && size <= 0x1p126)
    return times(lo, x[0], 1 / (double)by->f);
  return asm_1(lo, ASM_PURE, "div.full.ftz.f32 $0, $1, $2;", "=f,f,f", lo->f32, x, 2);
}

V
expr_size(Lo *lo, V x)
{
  bool real = LLVMTypeOf(x) == lo->f32;
  return fabs_(lo, real ? x : LLVMBuildSIToFP(lo->b, x, lo->f32, ""));
}

V
expr_real(Lo *lo, const Expr *e, V *x)
{
  V two[2] = {x[0], kf(lo, 0)};
  switch (e->op) {
  case EXPR_OP_ADD:
    return fusible(LLVMBuildFAdd(lo->b, x[0], x[1], ""));
  case EXPR_OP_SUB:
    return fusible(LLVMBuildFSub(lo->b, x[0], x[1], ""));
  case EXPR_OP_MUL:
    return fusible(LLVMBuildFMul(lo->b, x[0], x[1], ""));
  case EXPR_OP_DIV:
    return quotient(lo, e, x);
  case EXPR_OP_NEG:
    return LLVMBuildFNeg(lo->b, x[0], "");
  case EXPR_OP_ABS:
    return fabs_(lo, x[0]);
  case EXPR_OP_MIN: /* of NaN and a number the number */
    return f32_call(lo, "llvm.minnum", x, 2);
  case EXPR_OP_MAX:
    return f32_call(lo, "llvm.maxnum", x, 2);
  case EXPR_OP_RELU:
    return f32_call(lo, "llvm.maxnum", two, 2);
  case EXPR_OP_FLOOR:
    return f32_call(lo, "llvm.floor", x, 1);
  case EXPR_OP_EXP:
    return power_of_2(lo, times(lo, x[0], LOG2E));
  case EXPR_OP_EXP2:
    return power_of_2(lo, x[0]);
  case EXPR_OP_LOG2:
    return approximate(lo, "lg2.approx.ftz.f32 $0, $1;", x[0]);
  case EXPR_OP_SIGMOID:
    return inverse_of_more(lo, power_of_2(lo, times(lo, x[0], -LOG2E)));
  case EXPR_OP_SQRT:
    return approximate(lo, "sqrt.approx.ftz.f32 $0, $1;", x[0]);
  default:
    lower_fail(lo, "operator %d of f32 has no lowering", (int)e->op);
  }
}

/* ---- near ---- */

static V
below(Lo *lo, V x, double k)
{
  return LLVMBuildFCmp(lo->b, LLVMRealOLT, x, kf(lo, k), "");
}

/* The polynomial knows no infinity: what is at least 2^127, and NaN, is the unit's. */
static V
near_power(Lo *lo, V x)
{
  V high = power_of_2(lo, x), near = f32_exp2_near(lo, x);
  return LLVMBuildSelect(lo->b, below(lo, x, 127), near, high, "");
}

/* e^x = 2^(y + left), y = x · log2 e rounded.  Where y is infinite, left is no number. */
static V
near_exp(Lo *lo, V x)
{
  V high = kf(lo, (float)LOG2E), y = LLVMBuildFMul(lo->b, x, high, "");
  V left = fma_(lo, x, high, LLVMBuildFNeg(lo->b, y, ""));
  left = fma_(lo, x, kf(lo, LOG2E - (float)LOG2E), left);
  V is = below(lo, fabs_(lo, y), 128), power = near_power(lo, y);
  left = fma_(lo, power, times(lo, left, LN2), power);
  return LLVMBuildSelect(lo->b, is, left, power, "");
}

/* A step of Newton's behind the unit's: y + (x · 2^−y − 1) · log2 e. */
static V
near_log2(Lo *lo, V x)
{
  V y = approximate(lo, "lg2.approx.ftz.f32 $0, $1;", x);
  V is = below(lo, fabs_(lo, y), 126); /* else 2^−y is no ordinary number */
  V power = near_power(lo, LLVMBuildFNeg(lo->b, y, ""));
  V off = fma_(lo, x, power, kf(lo, -1));
  return LLVMBuildSelect(lo->b, is, fma_(lo, off, kf(lo, LOG2E), y), y, "");
}

static V
near_quotient(Lo *lo, V x, V y)
{
  V in[2] = {x, y};
  return asm_1(lo, ASM_PURE, "div.rn.ftz.f32 $0, $1, $2;", "=f,f,f", lo->f32, in, 2);
}

/* Below 0.6 x + x³ · p(x²), where 1 − 2 / (1 + e^2x) would lose what is small: p is of
 * degree 4, through Chebyshev's points, relative error 2^−26. */
static V
near_tanh(Lo *lo, V x)
{
  static const double c[] = {-0.006269119728489186, 0.02111095905764215,
                             -0.053873948851243345, 0.13332915367021367,
                             -0.3333333033273309};
  V square = LLVMBuildFMul(lo->b, x, x, ""), p = kf(lo, c[0]);
  for (int i = 1; i < 5; i++)
    p = fma_(lo, p, square, kf(lo, c[i]));
  V cube = LLVMBuildFMul(lo->b, x, square, "");
  V low = fma_(lo, cube, p, x);
  V sum = more(lo, near_exp(lo, times(lo, x, 2)), 1);
  V part = near_quotient(lo, kf(lo, 2), sum);
  V high = LLVMBuildFSub(lo->b, kf(lo, 1), part, "");
  return LLVMBuildSelect(lo->b, below(lo, fabs_(lo, x), 0.6), low, high, "");
}

V
expr_real_near(Lo *lo, const Expr *e, V *x)
{
  switch (e->op) {
  case EXPR_OP_DIV:
    return near_quotient(lo, x[0], x[1]);
  case EXPR_OP_EXP:
    return near_exp(lo, x[0]);
  case EXPR_OP_EXP2:
    return near_power(lo, x[0]);
  case EXPR_OP_LOG2:
    return near_log2(lo, x[0]);
  case EXPR_OP_TANH:
    return near_tanh(lo, x[0]);
  case EXPR_OP_SIGMOID: {
    V power = near_exp(lo, LLVMBuildFNeg(lo->b, x[0], ""));
    return near_quotient(lo, kf(lo, 1), more(lo, power, 1));
  }
  case EXPR_OP_SQRT:
    return approximate(lo, "sqrt.rn.ftz.f32 $0, $1;", x[0]);
  default:
    return expr_real(lo, e, x);
  }
}
