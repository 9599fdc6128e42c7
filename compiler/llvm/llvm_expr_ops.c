/* One operator of an expression on registers: docs/expressions.md says what each gives. */
#include "compiler/llvm/llvm_lower.h"

/* ---- i32 ---- */

static V
negative(Lo *lo, V x)
{
  return LLVMBuildICmp(lo->b, LLVMIntSLT, x, k32(lo, 0), "");
}

static V
is(Lo *lo, V x, int32_t k)
{
  return LLVMBuildICmp(lo->b, LLVMIntEQ, x, k32(lo, k), "");
}

/* Which bit is the only one of a constant; −1: of no constant, or of several. */
static int
power_of(V y)
{
  if (!LLVMIsConstant(y))
    return -1;
  unsigned long long k = LLVMConstIntGetZExtValue(y) & 0xffffffffu;
  return k && k < 0x80000000u && !(k & (k - 1)) ? __builtin_ctzll(k) : -1;
}

/* Divisors that LLVM leaves undefined become 1; what comes out is replaced. */
static V
divisor(Lo *lo, V y)
{
  V zero = is(lo, y, 0), minus = is(lo, y, -1);
  V odd = LLVMBuildOr(lo->b, zero, minus, "");
  return LLVMBuildSelect(lo->b, odd, k32(lo, 1), y, "");
}

/* Does the remainder have another sign than the divisor? */
static V
wrong_side(Lo *lo, V rest, V y)
{
  V some = LLVMBuildICmp(lo->b, LLVMIntNE, rest, k32(lo, 0), "");
  V other = negative(lo, LLVMBuildXor(lo->b, rest, y, ""));
  return LLVMBuildAnd(lo->b, some, other, "");
}

static V
by_zero_is_zero(Lo *lo, V y, V x)
{
  return LLVMBuildSelect(lo->b, is(lo, y, 0), k32(lo, 0), x, "");
}

static V
floor_div(Lo *lo, V x, V y, const bool *nonneg)
{
  int bit = power_of(y);
  if (bit >= 0)
    return LLVMBuildAShr(lo->b, x, k32(lo, bit), "");
  V safe = divisor(lo, y), minus = LLVMBuildSub(lo->b, k32(lo, 0), x, "");
  if (nonneg[0] && nonneg[1])
    return by_zero_is_zero(lo, y, LLVMBuildUDiv(lo->b, x, safe, ""));
  V q = LLVMBuildSDiv(lo->b, x, safe, "");
  V rest = LLVMBuildSub(lo->b, x, LLVMBuildMul(lo->b, q, safe, ""), "");
  V less = as_i32(lo, lo->b, wrong_side(lo, rest, safe));
  q = LLVMBuildSub(lo->b, q, less, "");
  q = LLVMBuildSelect(lo->b, is(lo, y, -1), minus, q, "");
  return by_zero_is_zero(lo, y, q);
}

/* Of −1 the remainder is that of 1: 0. */
static V
floor_mod(Lo *lo, V x, V y, const bool *nonneg)
{
  int bit = power_of(y);
  if (bit >= 0)
    return LLVMBuildAnd(lo->b, x, k32(lo, (1ll << bit) - 1), "");
  V safe = divisor(lo, y);
  if (nonneg[0] && nonneg[1])
    return by_zero_is_zero(lo, y, LLVMBuildURem(lo->b, x, safe, ""));
  V rest = LLVMBuildSRem(lo->b, x, safe, "");
  V up = LLVMBuildAdd(lo->b, rest, safe, "");
  rest = LLVMBuildSelect(lo->b, wrong_side(lo, rest, safe), up, rest, "");
  return by_zero_is_zero(lo, y, rest);
}

static V
count_of(Lo *lo, V y)
{
  return LLVMBuildAnd(lo->b, y, k32(lo, 31), "");
}

static V
magnitude(Lo *lo, V x)
{
  V minus = LLVMBuildSub(lo->b, k32(lo, 0), x, "");
  return LLVMBuildSelect(lo->b, negative(lo, x), minus, x, "");
}

static V
of_whole(Lo *lo, const Expr *e, V *x, const bool *nonneg)
{
  LLVMBuilderRef b = lo->b;
  switch (e->op) {
  case EXPR_OP_ADD:
    return LLVMBuildAdd(b, x[0], x[1], "");
  case EXPR_OP_SUB:
    return LLVMBuildSub(b, x[0], x[1], "");
  case EXPR_OP_MUL:
    return LLVMBuildMul(b, x[0], x[1], "");
  case EXPR_OP_FLOOR_DIV:
    return floor_div(lo, x[0], x[1], nonneg);
  case EXPR_OP_MOD:
    return floor_mod(lo, x[0], x[1], nonneg);
  case EXPR_OP_BIT_AND:
    return LLVMBuildAnd(b, x[0], x[1], "");
  case EXPR_OP_BIT_OR:
    return LLVMBuildOr(b, x[0], x[1], "");
  case EXPR_OP_BIT_XOR:
    return LLVMBuildXor(b, x[0], x[1], "");
  case EXPR_OP_BIT_NOT:
    return LLVMBuildXor(b, x[0], k32(lo, -1), "");
  case EXPR_OP_SHL:
    return LLVMBuildShl(b, x[0], count_of(lo, x[1]), "");
  case EXPR_OP_SHR:
    return LLVMBuildAShr(b, x[0], count_of(lo, x[1]), "");
  case EXPR_OP_NEG:
    return LLVMBuildSub(b, k32(lo, 0), x[0], "");
  case EXPR_OP_ABS:
    return magnitude(lo, x[0]);
  case EXPR_OP_MIN:
    return pick(b, LLVMIntSLT, x[0], x[1]);
  case EXPR_OP_MAX:
    return pick(b, LLVMIntSGT, x[0], x[1]);
  default:
    lower_fail(lo, "operator %d of i32 has no lowering", (int)e->op);
  }
}

/* ---- bool, conversions ---- */

/* With NaN only != holds. */
static V
compare(Lo *lo, const Expr *e, V *x)
{
  static const struct {
    LLVMIntPredicate whole;
    LLVMRealPredicate real;
  } of[EXPR_OPS] = {
      [EXPR_OP_EQ] = {LLVMIntEQ, LLVMRealOEQ},  [EXPR_OP_NE] = {LLVMIntNE, LLVMRealUNE},
      [EXPR_OP_LT] = {LLVMIntSLT, LLVMRealOLT}, [EXPR_OP_LE] = {LLVMIntSLE, LLVMRealOLE},
      [EXPR_OP_GT] = {LLVMIntSGT, LLVMRealOGT}, [EXPR_OP_GE] = {LLVMIntSGE, LLVMRealOGE},
  };
  if (e->arg[0]->type == EXPR_F32)
    return LLVMBuildFCmp(lo->b, of[e->op].real, x[0], x[1], "");
  return LLVMBuildICmp(lo->b, of[e->op].whole, x[0], x[1], "");
}

static V
logic(Lo *lo, const Expr *e, V *x)
{
  if (e->op == EXPR_OP_NOT)
    return LLVMBuildNot(lo->b, x[0], "");
  return e->op == EXPR_OP_OR ? LLVMBuildOr(lo->b, x[0], x[1], "")
                             : LLVMBuildAnd(lo->b, x[0], x[1], "");
}

V
expr_operator(Lo *lo, const Expr *e, V *x, const bool *nonneg, bool near)
{
  switch (e->op) {
  case EXPR_OP_COND:
    return LLVMBuildSelect(lo->b, x[0], x[1], x[2], "");
  case EXPR_OP_OR:
  case EXPR_OP_AND:
  case EXPR_OP_NOT:
    return logic(lo, e, x);
  case EXPR_OP_EQ:
  case EXPR_OP_NE:
  case EXPR_OP_LT:
  case EXPR_OP_LE:
  case EXPR_OP_GT:
  case EXPR_OP_GE:
    return compare(lo, e, x);
  case EXPR_OP_I32: /* saturates, NaN is 0 (PTX ISA, cvt) */
    return asm_1(lo, ASM_PURE, "cvt.rzi.ftz.s32.f32 $0, $1;", "=r,f", lo->i32, x, 1);
  case EXPR_OP_F32:
    return LLVMBuildSIToFP(lo->b, x[0], lo->f32, "");
  default:
    if (e->type == EXPR_I32)
      return of_whole(lo, e, x, nonneg);
    return near ? expr_real_near(lo, e, x) : expr_real(lo, e, x);
  }
}
