/* Rotary embedding on the way in, in the lane layout: a row a warp, eight columns of each
 * 256 a lane.
 *
 * Of a pair (x, y) at an angle come x cos − y sin and y cos + x sin, in fp32.  Pairs of
 * neighbours lie in one lane; of pairs that are half of the embedding apart a lane reads
 * the other halves from memory again.  Both, and the angles, come 16 bytes at once where
 * the rows allow it, else element by element. */
#include "compiler/llvm/llvm_lower.h"

/* What the lane's eight columns of a group have. */
typedef struct Turn {
  const RopeArgs *r;
  const View *v;
  V row, want;        /* address of the row; is it wanted, i1 */
  V cos_row, sin_row; /* addresses of its angles */
  V some;             /* are there angles at all, i1 */
  V first;            /* column of the group's first */
} Turn;

/* ---- elements ---- */

static V
element(Lo *lo, Dtype ty, V address, V want)
{
  V in[2] = {address, as_i32(lo, lo->b, want)};
  if (ty == DT_F32)
    return asm_1(lo, ASM_EFFECT,
                 "{ .reg .pred p; setp.ne.s32 p, $2, 0; mov.f32 $0, 0f00000000; "
                 "@p ld.global.f32 $0, [$1]; }",
                 "=&f,l,r", lo->f32, in, 2);
  if (ty == DT_F16)
    return asm_1(lo, ASM_EFFECT,
                 "{ .reg .pred p; .reg .b16 h; setp.ne.s32 p, $2, 0; mov.b16 h, 0; "
                 "@p ld.global.b16 h, [$1]; cvt.f32.f16 $0, h; }",
                 "=&f,l,r", lo->f32, in, 2);
  return asm_1(lo, ASM_EFFECT,
               "{ .reg .pred p; .reg .b16 h, z; setp.ne.s32 p, $2, 0; mov.b16 h, 0; "
               "mov.b16 z, 0; @p ld.global.b16 h, [$1]; mov.b32 $0, {z, h}; }",
               "=&f,l,r", lo->f32, in, 2);
}

static V
at_column(Lo *lo, V row, V column, Dtype ty)
{
  V by = LLVMBuildZExt(lo->b, column, lo->i64, "");
  return LLVMBuildAdd(lo->b, row, LLVMBuildMul(lo->b, by, k64(lo, dtype_bytes(ty)), ""),
                      "");
}

/* ---- where the angles of a row are ---- */

/* The position nearest in the table. */
static V
nearest(Lo *lo, V position, V length)
{
  V last = LLVMBuildSub(lo->b, length, k32(lo, 1), "");
  position = pick(lo->b, LLVMIntSLT, position, last);
  return pick(lo->b, LLVMIntSGT, position, k32(lo, 0));
}

static V
angle_row(Lo *lo, const Lookup *x, V position)
{
  V base = param_value(lo, PARAM_TENSOR, x->slot, 0);
  V at = LLVMBuildZExt(lo->b, position, lo->i64, "");
  at = LLVMBuildMul(lo->b, at, idx_value64(lo, x->stride[0]), "");
  at = LLVMBuildMul(lo->b, at, k64(lo, dtype_bytes(x->ty)), "");
  return LLVMBuildAdd(lo->b, base, at, "");
}

static void
find_angles(Lo *lo, Turn *x, V row)
{
  const RopeArgs *r = x->r;
  V position = idx_value(lo, r->at), length = idx_value(lo, r->cos->length[0]);
  if (!r->same)
    position = LLVMBuildAdd(lo->b, position, row, "");
  position = nearest(lo, position, length);
  x->some = LLVMBuildICmp(lo->b, LLVMIntSGT, length, k32(lo, 0), "");
  x->cos_row = angle_row(lo, r->cos, position);
  x->sin_row = angle_row(lo, r->sin, position);
}

/* ---- eight columns ---- */

/* Do rows of angles begin, and a lane's angles in them, at whole pieces of memory? */
static bool
in_pieces(const RopeArgs *r)
{
  int half = r->dim / 2, bytes = half * dtype_bytes(r->cos->ty);
  bool chunks = r->interleaved ? r->dim % LANE_COLS == 0 : half % LANE_COLS == 0;
  return chunks && bytes % CHUNK_BYTES == 0;
}

/* Column e of the lane, whether it is turned, the other of its pair, and its angle. */
typedef struct Column {
  V turned, low, other, angle;
} Column;

static Column
column(Lo *lo, const Turn *x, int e)
{
  const RopeArgs *r = x->r;
  V c = LLVMBuildAdd(lo->b, x->first, k32(lo, e), ""), half = k32(lo, r->dim / 2);
  Column k = {.turned = LLVMBuildICmp(lo->b, LLVMIntSLT, c, k32(lo, r->dim), "")};
  if (r->interleaved) {
    k.angle = LLVMBuildLShr(lo->b, c, k32(lo, 1), "");
    return k;
  }
  k.low = LLVMBuildICmp(lo->b, LLVMIntSLT, c, half, "");
  V up = LLVMBuildAdd(lo->b, c, half, ""), down = LLVMBuildSub(lo->b, c, half, "");
  k.other = LLVMBuildSelect(lo->b, k.low, up, down, "");
  k.angle = LLVMBuildSelect(lo->b, k.low, c, down, "");
  return k;
}

static void
load_pieces(Lo *lo, const Turn *x, V *other, V *cos, V *sin)
{
  const RopeArgs *r = x->r;
  Column k = column(lo, x, 0);
  V want = LLVMBuildAnd(lo->b, x->want, k.turned, "");
  V bit = as_i32(lo, lo->b, want);
  V angles = as_i32(lo, lo->b, LLVMBuildAnd(lo->b, want, x->some, ""));
  int n = r->interleaved ? LANE_COLS / 2 : LANE_COLS;
  if (!r->interleaved)
    lane_load(lo, x->v->x->ty, at_column(lo, x->row, k.other, x->v->x->ty), 0, LANE_COLS,
              bit, other);
  lane_load(lo, r->cos->ty, at_column(lo, x->cos_row, k.angle, r->cos->ty), 0, n, angles,
            cos);
  lane_load(lo, r->sin->ty, at_column(lo, x->sin_row, k.angle, r->sin->ty), 0, n, angles,
            sin);
  for (int e = LANE_COLS - 1; r->interleaved && e >= 0; e--) {
    cos[e] = cos[e / 2];
    sin[e] = sin[e / 2];
  }
}

static void
load_elements(Lo *lo, const Turn *x, V *other, V *cos, V *sin)
{
  const RopeArgs *r = x->r;
  Dtype ty = x->v->x->ty;
  for (int e = 0; e < LANE_COLS; e++) {
    Column k = column(lo, x, e);
    V want = LLVMBuildAnd(lo->b, x->want, k.turned, "");
    V angle = LLVMBuildAnd(lo->b, want, x->some, "");
    if (!r->interleaved)
      other[e] = element(lo, ty, at_column(lo, x->row, k.other, ty), want);
    cos[e] = element(lo, r->cos->ty, at_column(lo, x->cos_row, k.angle, r->cos->ty), angle);
    sin[e] = element(lo, r->sin->ty, at_column(lo, x->sin_row, k.angle, r->sin->ty), angle);
  }
}

static V
turned(Lo *lo, V own, V other, V cos, V sin, V low)
{
  V against = LLVMBuildFNeg(lo->b, sin, "");
  V by = LLVMBuildSelect(lo->b, low, against, sin, "");
  V in[3] = {other, by, LLVMBuildFMul(lo->b, own, cos, "")};
  return f32_call(lo, "llvm.fma", in, 3);
}

static void
turn(Lo *lo, const Turn *x, V *own)
{
  V other[LANE_COLS], cos[LANE_COLS], sin[LANE_COLS], out[LANE_COLS];
  if (in_pieces(x->r))
    load_pieces(lo, x, other, cos, sin);
  else
    load_elements(lo, x, other, cos, sin);
  for (int e = 0; e < LANE_COLS; e++) {
    Column k = column(lo, x, e);
    V low = k.low ? k.low : LLVMConstInt(lo->i1, e % 2 == 0, 0);
    V new =
        turned(lo, own[e], x->r->interleaved ? own[e ^ 1] : other[e], cos[e], sin[e], low);
    out[e] = LLVMBuildSelect(lo->b, k.turned, new, own[e], "");
  }
  for (int e = 0; e < LANE_COLS; e++)
    own[e] = out[e];
}

void
lower_load_rope(Lo *lo, const Op *op)
{
  const View *v = &op->view;
  int n, bytes = WARP_COLS * dtype_bytes(v->x->ty);
  V *out = lower_regs(lo, op->out, &n), row = lane_value(lo, LANE_WARP);
  Turn x = {.r = op->rope, .v = v, .row = row_address(lo, v, row)};
  V inside = row_inside(lo, v, row);
  find_angles(lo, &x, row);
  for (int g = 0; g < lane_groups(v->x->cols); g++) {
    V lane = LLVMBuildMul(lo->b, lane_value(lo, LANE_LANE), k32(lo, LANE_COLS), "");
    x.first = LLVMBuildAdd(lo->b, lane, k32(lo, g * WARP_COLS), "");
    x.want = bool_and(lo->b, lane_has_columns(lo, v->x->cols, g), inside);
    V own = at_column(lo, x.row, lane, v->x->ty);
    lane_load(lo, v->x->ty, own, g * bytes, LANE_COLS, as_i32(lo, lo->b, x.want),
              out + g * LANE_COLS);
    if (g * WARP_COLS < op->rope->dim)
      turn(lo, &x, out + g * LANE_COLS);
  }
}
