/* Between warps that have the same rows of a tile, each a part of its columns: through
 * shared memory, with a barrier of the team between what they write and what they read.
 *
 * A row's values are fp32, [warp][row].  A left operand goes as it stands in registers,
 * four of each lane for a block of 16 rows and 16 columns, [block of rows][pair of 8
 * columns] [lane]: no bank is met twice, and no swizzle is needed.
 *
 * Warps that have keys of their own share rows' values as [value][warp][row], and sums as
 * [warp][8 columns][lane], four numbers each, one block of 16 rows after the other. */
#include "compiler/llvm/llvm_lower.h"

#include <stdio.h>

static V
room(Lo *lo, const Op *op, V at)
{
  V base = LLVMBuildAdd(lo->b, lane_value(lo, LANE_SMEM), at, "");
  return LLVMBuildAdd(lo->b, base, k32(lo, op->smem.mem->offset), "");
}

/* Of the four lanes that have a row, the first. */
static void
put_row(Lo *lo, V address, int at, V x)
{
  char text[112];
  V in[3] = {address, x, lane_value(lo, LANE_COL)};
  snprintf(text, sizeof text,
           "{ .reg .pred p; setp.eq.s32 p, $2, 0; @p st.shared.f32 [$0+%d], $1; }", at);
  asm_call(lo, ASM_EFFECT, text, "r,f,r", in, 3, lo->none, NULL, 0);
}

static V
get_row(Lo *lo, V address, int at)
{
  char text[48];
  snprintf(text, sizeof text, "ld.shared.f32 $0, [$1+%d];", at);
  return asm_1(lo, ASM_EFFECT, text, "=f,r", lo->f32, &address, 1);
}

/* The first row of a thread that has so many values of ROW. */
static V
rows_room(Lo *lo, const Op *op, int values)
{
  V row = LLVMBuildMul(lo->b, lane_value(lo, LANE_WARP_M), k32(lo, 8 * values), "");
  row = LLVMBuildAdd(lo->b, row, lane_value(lo, LANE_ROW), "");
  return room(lo, op, LLVMBuildShl(lo->b, row, k32(lo, 2), ""));
}

void
exchange_rows(Lo *lo, const Op *op, V *x, V (*fold)(Lo *, V, V))
{
  const Val *v = op->out;
  int n = lo->p->warps_n, values = val_row_values(v),
      stride = v->rows * dtype_bytes(DT_F32);
  if (!op->smem.mem)
    return;
  V all = rows_room(lo, op, values);
  V mine = LLVMBuildMul(lo->b, lane_value(lo, LANE_WARP_N), k32(lo, stride), "");
  mine = LLVMBuildAdd(lo->b, all, mine, "");
  for (int i = 0; i < values; i++)
    put_row(lo, mine, 8 * i * dtype_bytes(DT_F32), x[i]);
  team_barrier(lo);
  for (int i = 0; i < values; i++) {
    x[i] = get_row(lo, all, 8 * i * dtype_bytes(DT_F32));
    for (int w = 1; w < n; w++)
      x[i] = fold(lo, x[i], get_row(lo, all, 8 * i * dtype_bytes(DT_F32) + w * stride));
  }
}

static void
put_fragment(Lo *lo, V address, int at, const V x[4])
{
  char text[64];
  V in[5] = {address, x[0], x[1], x[2], x[3]};
  snprintf(text, sizeof text, "st.shared.v4.b32 [$0+%d], {$1,$2,$3,$4};", at);
  asm_call(lo, ASM_EFFECT, text, "r,r,r,r,r", in, 5, lo->none, NULL, 0);
}

static void
get_fragment(Lo *lo, V address, int at, V out[4])
{
  char text[64];
  snprintf(text, sizeof text, "ld.shared.v4.b32 {$0,$1,$2,$3}, [$4+%d];", at);
  asm_call(lo, ASM_EFFECT, text, "=r,=r,=r,=r,r", &address, 1, lo->i32, out, 4);
}

enum { FRAGMENT = 32 * 4 * REG_BYTES }; /* of a warp */

/* Of eight columns two registers of each lane: rows g and g + 8. */
static void
put_half(Lo *lo, V address, int at, const V x[2])
{
  char text[64];
  V in[3] = {address, x[0], x[1]};
  snprintf(text, sizeof text, "st.shared.v2.b32 [$0+%d], {$1,$2};", at);
  asm_call(lo, ASM_EFFECT, text, "r,r,r", in, 3, lo->none, NULL, 0);
}

/* Where the warp's first columns go: fragments have 16, so that two warps with 8 each have
 * halves of one. */
static V
own_columns(Lo *lo, const Val *x)
{
  V at = LLVMBuildMul(lo->b, lane_value(lo, LANE_WARP_N),
                      k32(lo, val_cols(x) / 8 * FRAGMENT / 2), "");
  if (!x->narrow)
    return at;
  V odd = LLVMBuildAnd(lo->b, at, k32(lo, FRAGMENT / 2), "");
  V back = LLVMBuildSub(lo->b, at, odd, "");
  odd = LLVMBuildLShr(lo->b, odd, k32(lo, 5), ""); /* half of a lane's 16 bytes */
  return LLVMBuildAdd(lo->b, back, odd, "");
}

void
lower_allgather_cols(Lo *lo, const Op *op)
{
  const Val *x = op->in[0];
  int n, mt = val_tiles_m(x), steps = val_steps(op->out), own = steps / x->warps_n;
  V *out = lower_regs(lo, op->out, &n);
  V block =
      LLVMBuildMul(lo->b, lane_value(lo, LANE_WARP_M), k32(lo, mt * steps * FRAGMENT), "");
  V lane = LLVMBuildShl(lo->b, lane_value(lo, LANE_LANE), k32(lo, 4), "");
  V all = room(lo, op, LLVMBuildAdd(lo->b, block, lane, ""));
  V mine = own_columns(lo, x);
  int at = tile_exchange_rows(x->warps_n, x->rows);
  mine = LLVMBuildAdd(lo->b, all, mine, "");
  for (int m = 0; m < mt && x->narrow; m++)
    put_half(lo, mine, at + m * steps * FRAGMENT, lo->vals[x->id] + 2 * m);
  for (int m = 0; m < mt; m++)
    for (int ks = 0; ks < own; ks++)
      put_fragment(lo, mine, at + (m * steps + ks) * FRAGMENT,
                   lo->vals[x->id] + (m * own + ks) * 4);
  team_barrier(lo);
  for (int i = 0; i < mt * steps; i++)
    get_fragment(lo, all, at + i * FRAGMENT, out + 4 * i);
}

/* ---- between warps that have keys of their own ---- */

void
lower_share_rows(Lo *lo, const Op *op)
{
  const Val *v = op->in[0];
  int values = val_row_values(v), warp = v->rows * dtype_bytes(DT_F32);
  V mine = LLVMBuildMul(lo->b, lane_value(lo, LANE_WARP_N), k32(lo, warp), "");
  mine = LLVMBuildAdd(lo->b, rows_room(lo, op, values), mine, "");
  for (int k = 0; k < SHARED_ROWS && op->in[k]; k++)
    for (int i = 0; i < values; i++)
      put_row(lo, mine, k * lo->p->warps_n * warp + 8 * i * dtype_bytes(DT_F32),
              lo->vals[op->in[k]->id][i]);
  team_barrier(lo);
}

void
lower_peer_rows(Lo *lo, const Op *op)
{
  int n, warp = op->out->rows * dtype_bytes(DT_F32);
  V *out = lower_regs(lo, op->out, &n), all = rows_room(lo, op, n);
  for (int i = 0; i < n; i++)
    out[i] = get_row(lo, all,
                     (op->value * lo->p->warps_n + op->peer) * warp +
                         8 * i * dtype_bytes(DT_F32));
}

static void
put_sums(Lo *lo, V address, int at, const V x[4])
{
  char text[64];
  V in[5] = {address, x[0], x[1], x[2], x[3]};
  snprintf(text, sizeof text, "st.shared.v4.f32 [$0+%d], {$1,$2,$3,$4};", at);
  asm_call(lo, ASM_EFFECT, text, "r,f,f,f,f", in, 5, lo->none, NULL, 0);
}

static void
add_sums(Lo *lo, V address, int at, V sum[4])
{
  char text[64];
  V x[4];
  snprintf(text, sizeof text, "ld.shared.v4.f32 {$0,$1,$2,$3}, [$4+%d];", at);
  asm_call(lo, ASM_EFFECT, text, "=f,=f,=f,=f,r", &address, 1, lo->f32, x, 4);
  for (int i = 0; i < 4; i++)
    sum[i] = sum[i] ? LLVMBuildFAdd(lo->b, sum[i], x[i], "") : x[i];
}

/* Of columns past the tile's end a warp reads the last ones again: nobody writes them. */
static V
sums_of(Lo *lo, const Op *op, V lane, int i)
{
  const Val *x = op->out;
  int last = x->cols / 8 - 1;
  V at = LLVMBuildMul(lo->b, lane_value(lo, LANE_WARP_N), k32(lo, val_cols(x) / 8), "");
  at = LLVMBuildAdd(lo->b, at, k32(lo, i), "");
  if (val_cols(x) * x->warps_n > x->cols)
    at = pick(lo->b, LLVMIntSLT, at, k32(lo, last));
  return LLVMBuildAdd(lo->b, lane, LLVMBuildMul(lo->b, at, k32(lo, FRAGMENT), ""), "");
}

void
lower_merge_cols(Lo *lo, const Op *op)
{
  const Val *x = op->in[0];
  int n, n8 = x->cols / 8, mt = val_tiles_m(x), own = val_cols(op->out) / 8;
  int warp = n8 * FRAGMENT;
  V *out = lower_regs(lo, op->out, &n), *in = lo->vals[x->id];
  V lane = room(lo, op, LLVMBuildShl(lo->b, lane_value(lo, LANE_LANE), k32(lo, 4), ""));
  V mine = LLVMBuildMul(lo->b, lane_value(lo, LANE_WARP_N), k32(lo, warp), "");
  mine = LLVMBuildAdd(lo->b, lane, mine, "");
  for (int m = 0; m < mt; m++) {
    if (m) /* the block before has been read */
      team_barrier(lo);
    for (int i = 0; i < n8; i++)
      put_sums(lo, mine, i * FRAGMENT, in + 4 * (m * n8 + i));
    team_barrier(lo);
    for (int i = 0; i < own; i++) {
      V from = sums_of(lo, op, lane, i);
      for (int w = 0; w < lo->p->warps_n; w++)
        add_sums(lo, from, w * warp, out + 4 * (m * own + i));
    }
  }
}
