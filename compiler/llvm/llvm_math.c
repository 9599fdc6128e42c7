/* Arithmetic on registers: elementwise with broadcast, rows, conversions. */
#include "compiler/llvm/llvm_lower.h"

#include <string.h>

void
lower_const(Lo *lo, const Op *op)
{
  int n;
  V *out = lower_regs(lo, op->out, &n);
  for (int i = 0; i < n; i++)
    out[i] = kf(lo, op->k);
}

void
lower_unset(Lo *lo, const Op *op)
{
  int n;
  V *out = lower_regs(lo, op->out, &n);
  for (int i = 0; i < n; i++)
    out[i] = LLVMGetUndef(lo->f32);
}

void
lower_scalar(Lo *lo, const Op *op)
{
  int n;
  V *out = lower_regs(lo, op->out, &n);
  V x = param_value(lo, PARAM_SCALAR, op->slot, 0);
  out[0] = LLVMBuildFMul(lo->b, x, kf(lo, op->k), "");
}

/* The register of `x` that goes with register i of a result of layout `as`. */
static V
broadcast(Lo *lo, const Val *x, const Val *as, int i)
{
  V *regs = lo->vals[x->id];
  if (x->lay == as->lay)
    return regs[i];
  if (x->lay == LAY_SCALAR || as->lay == LAY_WARP_ROW)
    return regs[0];
  int per_m = val_cols(as) / 8 * 4; /* FRAG: [m][n8][half][e] → row value [m][half] */
  if (x->lay == LAY_COL)
    return regs[i % per_m / 4 * 2 + i % 2]; /* … → column value [n8][e] */
  return regs[2 * (i / per_m) + i % 4 / 2];
}

V
f32_call(Lo *lo, const char *name, V *in, int n_in)
{
  LLVMTypeRef f32 = lo->f32;
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  V fn = LLVMGetIntrinsicDeclaration(lo->m, id, &f32, 1);
  LLVMTypeRef type = LLVMIntrinsicGetType(lo->cx, id, &f32, 1);
  return LLVMBuildCall2(lo->b, type, fn, in, (unsigned)n_in, "");
}

static V
fma_(Lo *lo, V a, V b, V c)
{
  V in[3] = {a, b, c};
  return f32_call(lo, "llvm.fma", in, 3);
}

/* NaN where one of them is: max.NaN. */
static V
fmax_(Lo *lo, V a, V b)
{
  V in[2] = {a, b};
  return f32_call(lo, "llvm.maximum", in, 2);
}

/* NaN where one of them is, as far as the target has that in one instruction: else the
 * other one, and a weight of NaN tells the row. */
static V
greater(Lo *lo, V a, V b)
{
  V in[2] = {a, b};
  return lo->p->target->max_nan ? fmax_(lo, a, b) : f32_call(lo, "llvm.maxnum", in, 2);
}

static V
fmin_(Lo *lo, V a, V b)
{
  V in[2] = {a, b};
  return f32_call(lo, "llvm.minnum", in, 2);
}

static V
fabs_(Lo *lo, V x)
{
  return f32_call(lo, "llvm.fabs", &x, 1);
}

/* 2^x without the special function unit: Cody and Waite's reduction and a polynomial of
 * degree 3 on [0, 1), relative error below 1e-4.  x is rounded down to a whole number by
 * adding 1.5 · 2^23, whose low bits then are that number; what is below −127 becomes 0. */
static V
polynomial(Lo *lo, V x)
{
  static const double c[] = {0.077119089663028717, 0.227564394474029541,
                             0.695146143436431885, 1.0};
  V magic = kf(lo, 12582912.0), in[2];
  in[0] = fmax_(lo, x, kf(lo, -127));
  in[1] = magic;
  V t = asm_1(lo, ASM_PURE, "add.rm.ftz.f32 $0, $1, $2;", "=f,f,f", lo->f32, in, 2);
  V whole = LLVMBuildFSub(lo->b, t, magic, "");
  V f = LLVMBuildFSub(lo->b, in[0], whole, ""), p = kf(lo, c[0]);
  for (int i = 1; i < 4; i++)
    p = fma_(lo, p, f, kf(lo, c[i]));
  V bits = LLVMBuildBitCast(lo->b, t, lo->i32, "");
  V shifted = LLVMBuildShl(lo->b, bits, k32(lo, 23), "");
  V mantissa = LLVMBuildBitCast(lo->b, p, lo->i32, "");
  return LLVMBuildBitCast(lo->b, LLVMBuildAdd(lo->b, mantissa, shifted, ""), lo->f32, "");
}

/* 2^x to an ulp: x is rounded to a whole number by adding 1.5 · 2^23, what is left of it is
 * within 1/2: a polynomial of degree 6, relative error 2^-28 (Chebyshev's of 2^x there).
 * What is below −127 becomes 0, NaN stays. */
V
f32_exp2_near(Lo *lo, V x)
{
  static const double c[] = {0.00015461444696461719,
                             0.0013400428177419153,
                             0.0096180566785260893,
                             0.055503272266709439,
                             0.24022650922288827,
                             0.69314720670283214,
                             1};
  V magic = kf(lo, 12582912.0), low = fmax_(lo, x, kf(lo, -127));
  V t = LLVMBuildFAdd(lo->b, low, magic, "");
  V f = LLVMBuildFSub(lo->b, low, LLVMBuildFSub(lo->b, t, magic, ""), "");
  V p = kf(lo, c[0]);
  for (int i = 1; i < 7; i++)
    p = fma_(lo, p, f, kf(lo, c[i]));
  V bits = LLVMBuildShl(lo->b, LLVMBuildBitCast(lo->b, t, lo->i32, ""), k32(lo, 23), "");
  bits = LLVMBuildAdd(lo->b, bits, k32(lo, 0x3f800000), "");
  return LLVMBuildFMul(lo->b, p, LLVMBuildBitCast(lo->b, bits, lo->f32, ""), "");
}

/* ---- one element of an operation, from the elements x of its operands ---- */

static V
approx(Lo *lo, const char *text, V x)
{
  return asm_1(lo, ASM_PURE, text, "=f,f", lo->f32, &x, 1);
}

static V
element_add(Lo *lo, const Op *op, const V *x)
{
  (void)op;
  return LLVMBuildFAdd(lo->b, x[0], x[1], "");
}

static V
element_sub(Lo *lo, const Op *op, const V *x)
{
  (void)op;
  return LLVMBuildFSub(lo->b, x[0], x[1], "");
}

static V
element_mul(Lo *lo, const Op *op, const V *x)
{
  (void)op;
  return LLVMBuildFMul(lo->b, x[0], x[1], "");
}

static V
element_max(Lo *lo, const Op *op, const V *x)
{
  (void)op;
  return greater(lo, x[0], x[1]);
}

static V
element_min(Lo *lo, const Op *op, const V *x)
{
  (void)op;
  return fmin_(lo, x[0], x[1]);
}

static V
element_fma(Lo *lo, const Op *op, const V *x) /* FMS: x[2] comes negated */
{
  (void)op;
  return fma_(lo, x[0], x[1], x[2]);
}

static V
element_exp2(Lo *lo, const Op *op, const V *x)
{
  (void)op;
  return approx(lo, "ex2.approx.ftz.f32 $0, $1;", x[0]);
}

static V
element_exp2_near(Lo *lo, const Op *op, const V *x)
{
  (void)op;
  return f32_exp2_near(lo, x[0]);
}

static V
element_log2(Lo *lo, const Op *op, const V *x)
{
  (void)op;
  return approx(lo, "lg2.approx.ftz.f32 $0, $1;", x[0]);
}

static V
element_rcp(Lo *lo, const Op *op, const V *x)
{
  (void)op;
  return approx(lo, "rcp.approx.ftz.f32 $0, $1;", x[0]);
}

static V
element_select_nonzero(Lo *lo, const Op *op, const V *x)
{
  (void)op;
  V hit = LLVMBuildFCmp(lo->b, LLVMRealOEQ, x[0], kf(lo, 0), "");
  return LLVMBuildSelect(lo->b, hit, kf(lo, 0), x[1], "");
}

static V
element_select_gt(Lo *lo, const Op *op, const V *x)
{
  V is = LLVMBuildFCmp(lo->b, LLVMRealOGT, x[0], kf(lo, op->k), "");
  return LLVMBuildSelect(lo->b, is, x[1], x[2], "");
}

static V
element_select_abs_gt(Lo *lo, const Op *op, const V *x)
{
  V is = LLVMBuildFCmp(lo->b, LLVMRealOGT, fabs_(lo, x[0]), kf(lo, op->k), "");
  return LLVMBuildSelect(lo->b, is, x[1], x[2], "");
}

static V
element_residual(Lo *lo, const Op *op, const V *x)
{
  V bits = pack_pair(lo, op->narrow, x[0], kf(lo, 0)), wide;
  if (op->narrow == DT_BF16)
    wide = LLVMBuildBitCast(lo->b, LLVMBuildShl(lo->b, bits, k32(lo, 16), ""), lo->f32, "");
  else
    wide = asm_1(lo, ASM_PURE, "{ .reg .b16 a, b; mov.b32 {a, b}, $1; cvt.f32.f16 $0, a; }",
                 "=f,r", lo->f32, &bits, 1);
  return LLVMBuildFSub(lo->b, x[0], wide, "");
}

typedef V Element(Lo *, const Op *, const V *x);

static Element *const elements[OP_COUNT] = {
    [OP_ADD] = element_add,
    [OP_SUB] = element_sub,
    [OP_MUL] = element_mul,
    [OP_MAX] = element_max,
    [OP_MIN] = element_min,
    [OP_FMA] = element_fma,
    [OP_FMS] = element_fma,
    [OP_EXP2] = element_exp2,
    [OP_LOG2] = element_log2,
    [OP_RESIDUAL] = element_residual,
    [OP_RCP] = element_rcp,
    [OP_SELECT_NONZERO] = element_select_nonzero,
    [OP_SELECT_GT] = element_select_gt,
    [OP_SELECT_ABS_GT] = element_select_abs_gt,
    [OP_EXP2_NEAR] = element_exp2_near,
};

void
lower_elementwise(Lo *lo, const Op *op)
{
  Element *element = elements[op->kind];
  int n, n_minus = 0;
  if (!element)
    lower_missing(lo, op);
  V *out = lower_regs(lo, op->out, &n), *minus = NULL;
  if (op->kind == OP_FMS) { /* negated once a register of c, not once an element */
    n_minus = lower_count(op->in[2]);
    minus = NEW_N(lo->arena, V, n_minus);
    for (int i = 0; i < n_minus; i++)
      minus[i] = LLVMBuildFNeg(lo->b, lo->vals[op->in[2]->id][i], "");
  }
  V *keep = minus ? lo->vals[op->in[2]->id] : NULL;
  if (minus)
    lo->vals[op->in[2]->id] = minus;
  for (int i = 0; i < n; i++) {
    V x[3] = {NULL};
    for (int j = 0; j < 3 && op->in[j]; j++)
      x[j] = broadcast(lo, op->in[j], op->out, i);
    out[i] = i % 16 < op->poly ? polynomial(lo, x[0]) : element(lo, op, x);
  }
  if (minus)
    lo->vals[op->in[2]->id] = keep;
}

/* ---- rows ---- */

static V
shuffle_xor(Lo *lo, V x, int mask)
{
  static const char *const text[] = {
      [1] = "shfl.sync.bfly.b32 $0, $1, 1, 31, -1;",
      [2] = "shfl.sync.bfly.b32 $0, $1, 2, 31, -1;",
      [4] = "shfl.sync.bfly.b32 $0, $1, 4, 31, -1;",
      [8] = "shfl.sync.bfly.b32 $0, $1, 8, 31, -1;",
      [16] = "shfl.sync.bfly.b32 $0, $1, 16, 31, -1;",
  };
  return asm_1(lo, ASM_EFFECT, text[mask], "=f,f", lo->f32, &x, 1);
}

/* The registers of one row of FRAG, folded in `chains` chains: two where a thread has few
 * rows, so that one add or max need not wait for the last. */
static V
fold_row(Lo *lo, const Val *x, int m, int half, V (*fold)(Lo *, V, V))
{
  V *regs = lo->vals[x->id] + m * (val_cols(x) / 8) * 4 + 2 * half;
  int n = val_cols(x) / 8 * 2, chains = val_row_values(x) >= 4 ? 1 : 2;
  V chain[2] = {NULL, NULL};
  for (int i = 0; i < n; i++) {
    V v = regs[i / 2 * 4 + i % 2];
    V *c = &chain[i % chains];
    *c = *c ? fold(lo, *c, v) : v;
  }
  return chains == 2 ? fold(lo, chain[0], chain[1]) : chain[0];
}

static V
fadd_(Lo *lo, V a, V b)
{
  return LLVMBuildFAdd(lo->b, a, b, "");
}

void
lower_row_max(Lo *lo, const Op *op)
{
  int n;
  V *out = lower_regs(lo, op->out, &n);
  for (int i = 0; i < n; i++) {
    V x = fold_row(lo, op->in[0], i / 2, i % 2, greater);
    x = greater(lo, x, shuffle_xor(lo, x, 1));
    out[i] = greater(lo, x, shuffle_xor(lo, x, 2));
  }
  exchange_rows(lo, op, out, greater);
}

void
lower_row_thread_sum(Lo *lo, const Op *op)
{
  int n;
  V *out = lower_regs(lo, op->out, &n);
  for (int i = 0; i < n; i++)
    out[i] = fold_row(lo, op->in[0], i / 2, i % 2, fadd_);
}

void
lower_row_allreduce(Lo *lo, const Op *op)
{
  int n;
  V *out = lower_regs(lo, op->out, &n);
  for (int i = 0; i < n; i++) {
    V x = lo->vals[op->in[0]->id][i];
    x = fadd_(lo, x, shuffle_xor(lo, x, 1));
    out[i] = fadd_(lo, x, shuffle_xor(lo, x, 2));
  }
  exchange_rows(lo, op, out, fadd_);
}

void
lower_row_dot(Lo *lo, const Op *op)
{
  int n, columns = lower_count(op->in[0]);
  V *out = lower_regs(lo, op->out, &n), *a = lo->vals[op->in[0]->id],
    *b = lo->vals[op->in[1]->id];
  V x = LLVMBuildFMul(lo->b, a[0], b[0], "");
  for (int i = 1; i < columns; i++)
    x = fma_(lo, a[i], b[i], x);
  for (int mask = 16; mask; mask /= 2)
    x = fadd_(lo, x, shuffle_xor(lo, x, mask));
  out[0] = x;
}

void
lower_concat_cols(Lo *lo, const Op *op)
{
  int n, a = op->in[0]->cols / 8 * 4, b = op->in[1]->cols / 8 * 4;
  V *out = lower_regs(lo, op->out, &n);
  const V *left = lo->vals[op->in[0]->id], *right = lo->vals[op->in[1]->id];
  for (int i = 0; i < n; i++) {
    int row = i / (a + b), col = i % (a + b);
    out[i] = col < a ? left[row * a + col] : right[row * b + col - a];
  }
}

/* To the nearest, ties to even, by whole numbers: NaN is 0x7fff, as cvt has it. */
static V
bf16_bits(Lo *lo, V x)
{
  V bits = LLVMBuildBitCast(lo->b, x, lo->i32, "");
  V odd = LLVMBuildAnd(lo->b, LLVMBuildLShr(lo->b, bits, k32(lo, 16), ""), k32(lo, 1), "");
  V up = LLVMBuildAdd(lo->b, bits, k32(lo, 0x7fff), "");
  up = LLVMBuildLShr(lo->b, LLVMBuildAdd(lo->b, up, odd, ""), k32(lo, 16), "");
  V nan = LLVMBuildFCmp(lo->b, LLVMRealUNO, x, x, "");
  return LLVMBuildSelect(lo->b, nan, k32(lo, 0x7fff), up, "");
}

V
pack_pair(Lo *lo, Dtype ty, V low, V high)
{
  bool pairs = lo->p->target->cvt_pair;
  V in[2] = {high, low}; /* the second source lands in the low half */
  if (ty != DT_F16 && ty != DT_BF16)
    lower_fail(lo, "a pair of %s has no lowering", dtype_name(ty));
  if (ty == DT_BF16 && !pairs) {
    V upper = LLVMBuildShl(lo->b, bf16_bits(lo, high), k32(lo, 16), "");
    return LLVMBuildOr(lo->b, upper, bf16_bits(lo, low), "");
  }
  const char *text = ty == DT_BF16 ? "cvt.rn.bf16x2.f32 $0, $1, $2;"
                     : pairs       ? "cvt.rn.f16x2.f32 $0, $1, $2;"
                                   : "{ .reg .b16 a, b; cvt.rn.f16.f32 b, $1; "
                                     "cvt.rn.f16.f32 a, $2; mov.b32 $0, {a, b}; }";
  return asm_1(lo, ASM_PURE, text, "=r,f,f", lo->i32, in, 2);
}

/* fp32 pairs of neighbouring columns become one register: the A operand as it stands. */
void
lower_cvt(Lo *lo, const Op *op)
{
  int n;
  if (op->tie)
    lower_tie(lo, op->in[0]);
  V *out = lower_regs(lo, op->out, &n), *x = lo->vals[op->in[0]->id];
  for (int i = 0; i < n; i++)
    out[i] = pack_pair(lo, op->out->ty, x[2 * i], x[2 * i + 1]);
}

/* The same answer in the whole warp: who branches on it stays together. */
void
lower_any(Lo *lo, const Op *op)
{
  V any = NULL, k = op->in[1] ? lo->vals[op->in[1]->id][0] : kf(lo, 1);
  for (int i = 0; i < lower_count(op->in[0]); i++) {
    V x = lo->vals[op->in[0]->id][i];
    V is = op->kind == OP_ANY_ABS_GT
               ? LLVMBuildFCmp(lo->b, LLVMRealOGT, fabs_(lo, x), k, "")
               : LLVMBuildFCmp(lo->b, LLVMRealUNE, x, k, "");
    any = any ? LLVMBuildOr(lo->b, any, is, "") : is;
  }
  V bit = as_i32(lo, lo->b, any);
  V voted = asm_1(lo, ASM_EFFECT,
                  "{ .reg .pred p; setp.ne.u32 p, $1, 0; vote.sync.any.pred p, p, -1; "
                  "selp.b32 $0, 1, 0, p; }",
                  "=r,r", lo->i32, &bit, 1);
  lo->any[op->cond.node->n] = voted;
}
