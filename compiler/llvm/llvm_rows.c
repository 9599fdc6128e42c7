/* Straight between registers and global memory: one value a row, and the lane layout of
 * ref_fwd (a row a warp, eight columns a lane). */
#include "compiler/llvm/llvm_lower.h"

#include <stdio.h>

static void
store_one(Lo *lo, V address, V x, V want)
{
  V in[3] = {address, x, as_i32(lo, lo->b, want)};
  asm_call(lo, ASM_EFFECT,
           "{ .reg .pred p; setp.ne.s32 p, $2, 0; @p st.global.f32 [$0], $1; }", "l,f,r",
           in, 3, lo->none, NULL, 0);
}

static void
load_one(Lo *lo, V address, V want, V *out)
{
  V in[2] = {address, as_i32(lo, lo->b, want)};
  asm_call(lo, ASM_EFFECT,
           "{ .reg .pred p; setp.ne.s32 p, $2, 0; mov.f32 $0, 0f00000000; "
           "@p ld.global.f32 $0, [$1]; }",
           "=&f,l,r", in, 2, lo->f32, out, 1);
}

/* The first of a thread's rows: in FRAG a row's values are equal in four lanes, and rows of
 * a thread are eight apart; where a warp has a row, in all of the warp. */
static V
first_row(Lo *lo, const Val *x)
{
  V warp = lane_value(lo, LANE_WARP);
  if (x->rows == x->warps)
    return warp;
  V first = LLVMBuildMul(lo->b, warp, k32(lo, 8 * val_row_values(x)), "");
  return LLVMBuildAdd(lo->b, first, lane_value(lo, LANE_ROW), "");
}

/* The lanes of column 0 write. */
void
lower_store_rows(Lo *lo, const Op *op)
{
  const Val *x = op->in[0];
  bool lanes = x->rows == x->warps;
  V writer = LLVMBuildICmp(lo->b, LLVMIntEQ, lane_value(lo, lanes ? LANE_LANE : LANE_COL),
                           k32(lo, 0), "");
  V mine = first_row(lo, x);
  for (int i = 0; i < val_row_values(x); i++) {
    V row = LLVMBuildAdd(lo->b, mine, k32(lo, 8 * i), "");
    V want = bool_and(lo->b, writer, row_inside(lo, &op->view, row));
    store_one(lo, row_address(lo, &op->view, row), lo->vals[x->id][i], want);
  }
}

void
lower_load_rows(Lo *lo, const Op *op)
{
  int n;
  V *out = lower_regs(lo, op->out, &n), mine = first_row(lo, op->out);
  for (int i = 0; i < n; i++) {
    V row = LLVMBuildAdd(lo->b, mine, k32(lo, 8 * i), "");
    V want = row_inside(lo, &op->view, row);
    if (!want)
      want = LLVMConstInt(lo->i1, 1, 0);
    load_one(lo, row_address(lo, &op->view, row), want, &out[i]);
  }
}

/* ---- the lane layout ---- */

static V
has_columns(Lo *lo, int cols)
{
  return LLVMBuildICmp(lo->b, LLVMIntULT, lane_value(lo, LANE_LANE), k32(lo, cols / 8), "");
}

static V
lane_row(Lo *lo, bool same)
{
  return same ? k32(lo, 0) : lane_value(lo, LANE_WARP);
}

static V
lane_address(Lo *lo, const View *v, V row)
{
  V lane = LLVMBuildZExt(lo->b, lane_value(lo, LANE_LANE), lo->i64, "");
  V col = LLVMBuildMul(lo->b, lane, k64(lo, 8 * dtype_bytes(v->x->ty)), "");
  return LLVMBuildAdd(lo->b, row_address(lo, v, row), col, "");
}

static void
load_v4(Lo *lo, V address, int at, V want, V out[4])
{
  char text[256];
  V in[2] = {address, want};
  snprintf(text, sizeof text,
           "{ .reg .pred p; setp.ne.s32 p, $5, 0; mov.b32 $0, 0; mov.b32 $1, 0; "
           "mov.b32 $2, 0; mov.b32 $3, 0; @p ld.global.v4.b32 {$0,$1,$2,$3}, [$4+%d]; }",
           at);
  asm_call(lo, ASM_EFFECT, text, "=&r,=&r,=&r,=&r,l,r", in, 2, lo->i32, out, 4);
}

/* The two 16-bit elements of a register, as fp32. */
static void
unpack(Lo *lo, Dtype ty, V word, V out[2])
{
  if (ty == DT_BF16) {
    V low = LLVMBuildShl(lo->b, word, k32(lo, 16), "");
    V high = LLVMBuildAnd(lo->b, word, k32(lo, (int32_t)0xffff0000), "");
    out[0] = LLVMBuildBitCast(lo->b, low, lo->f32, "");
    out[1] = LLVMBuildBitCast(lo->b, high, lo->f32, "");
    return;
  }
  V in = word;
  asm_call(lo, ASM_PURE,
           "{ .reg .b16 a, b; mov.b32 {a, b}, $2; cvt.f32.f16 $0, a; cvt.f32.f16 $1, b; }",
           "=&f,=f,r", &in, 1, lo->f32, out, 2);
}

void
lower_load(Lo *lo, const Op *op)
{
  const View *v = &op->view;
  int n;
  V *out = lower_regs(lo, op->out, &n), word[4];
  V row = lane_row(lo, op->kind == OP_LOAD_ONE);
  V columns = has_columns(lo, v->x->cols);
  V want = bool_and(lo->b, columns, row_inside(lo, v, row));
  V address = lane_address(lo, v, row), bit = as_i32(lo, lo->b, want);
  for (int half = 0; half < (v->x->ty == DT_F32 ? 2 : 1); half++) {
    load_v4(lo, address, 16 * half, bit, word);
    for (int i = 0; i < 4; i++) {
      if (v->x->ty == DT_F32)
        out[4 * half + i] = LLVMBuildBitCast(lo->b, word[i], lo->f32, "");
      else
        unpack(lo, v->x->ty, word[i], &out[2 * i]);
    }
  }
}

static void
store_v4(Lo *lo, V address, int at, V *word, V want)
{
  char text[128];
  V in[6] = {address, word[0], word[1], word[2], word[3], want};
  snprintf(text, sizeof text,
           "{ .reg .pred p; setp.ne.s32 p, $5, 0; @p st.global.v4.b32 [$0+%d], "
           "{$1,$2,$3,$4}; }",
           at);
  asm_call(lo, ASM_EFFECT, text, "l,r,r,r,r,r", in, 6, lo->none, NULL, 0);
}

void
lower_store(Lo *lo, const Op *op)
{
  const View *v = &op->view;
  V *x = lo->vals[op->in[0]->id], word[8];
  bool wide = v->x->ty == DT_F32;
  V row = lane_row(lo, false);
  V columns = has_columns(lo, v->x->cols);
  V want = as_i32(lo, lo->b, bool_and(lo->b, columns, row_inside(lo, v, row)));
  V address = lane_address(lo, v, row);
  for (int i = 0; i < (wide ? 8 : 4); i++)
    word[i] = wide ? LLVMBuildBitCast(lo->b, x[i], lo->i32, "")
                   : pack_pair(lo, v->x->ty, x[2 * i], x[2 * i + 1]);
  store_v4(lo, address, 0, word, want);
  if (wide)
    store_v4(lo, address, 16, word + 4, want);
}
