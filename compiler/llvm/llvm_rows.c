/* Straight between registers and global memory: one value a row, and the lane layout of
 * ref_fwd (a row a warp, eight columns of each 256 a lane). */
#include "compiler/llvm/llvm_lower.h"

#include <stdio.h>

static void
store_half(Lo *lo, Dtype ty, V address, V x, V want)
{
  V both = pack_pair(lo, ty, x, x);
  V in[3] = {address, both, as_i32(lo, lo->b, want)};
  asm_call(lo, ASM_EFFECT,
           "{ .reg .pred p; .reg .b16 a, b; mov.b32 {a, b}, $1; setp.ne.s32 p, $2, 0; "
           "@p st.global.b16 [$0], a; }",
           "l,r,r", in, 3, lo->none, NULL, 0);
}

static void
store_one(Lo *lo, Dtype ty, V address, V x, V want)
{
  if (ty != DT_F32) {
    store_half(lo, ty, address, x, want);
    return;
  }
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
  if (x->rows == x->warps)
    return lane_value(lo, LANE_WARP);
  V first =
      LLVMBuildMul(lo->b, lane_value(lo, LANE_WARP_M), k32(lo, 8 * val_row_values(x)), "");
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
  if (lo->p->warps_n > 1) { /* of those that have the rows, one */
    V first = LLVMBuildICmp(lo->b, LLVMIntEQ, lane_value(lo, LANE_WARP_N), k32(lo, 0), "");
    writer = LLVMBuildAnd(lo->b, writer, first, "");
  }
  V mine = first_row(lo, x);
  for (int i = 0; i < val_row_values(x); i++) {
    V row = LLVMBuildAdd(lo->b, mine, k32(lo, 8 * i), "");
    V want = bool_and(lo->b, writer, row_inside(lo, &op->view, row));
    store_one(lo, op->view.x->ty, row_address(lo, &op->view, row), lo->vals[x->id][i],
              want);
  }
}

/* ---- accumulators ---- */

/* Bytes from a row's first element to this lane's first pair of columns. */
static V
first_pair(Lo *lo, const Val *x)
{
  V own = first_column(lo, x), col = lane_value(lo, LANE_COL);
  if (own)
    col = LLVMBuildAdd(lo->b, col, own, "");
  return LLVMBuildShl(lo->b, col, k32(lo, 2), "");
}

/* Four lanes store the eight columns of a block: a sector.  Of the last warp that has a
 * part of the columns some may be behind the tensor's. */
static void
store_row_sums(Lo *lo, const Op *op, V row, V address, V column, int r)
{
  const Val *x = op->in[0];
  V inside = row_inside(lo, &op->view, row);
  int cols = op->view.x->cols;
  for (int c = 0; c < place_columns(x); c += 2) {
    int at = place_column(c) * REG_BYTES;
    V want = inside;
    if (x->warps_n > 1 || place_column(c) + 8 > cols) {
      V left = k32(lo, cols * REG_BYTES - at);
      want = bool_and(lo->b, want, LLVMBuildICmp(lo->b, LLVMIntSLT, column, left, ""));
    }
    V *pair = lo->vals[x->id] + place_register(x, r, c);
    V in[4] = {address, pair[0], pair[1],
               as_i32(lo, lo->b, want ? want : LLVMConstInt(lo->i1, 1, 0))};
    char text[120];
    snprintf(
        text, sizeof text,
        "{ .reg .pred p; setp.ne.s32 p, $3, 0; @p st.global.v2.f32 [$0+%d], {$1,$2}; }",
        at);
    asm_call(lo, ASM_EFFECT, text, "l,f,f,r", in, 4, lo->none, NULL, 0);
  }
}

void
lower_store_sums(Lo *lo, const Op *op)
{
  const Val *x = op->in[0];
  V mine = first_row(lo, x), column = first_pair(lo, x);
  V column64 = LLVMBuildZExt(lo->b, column, lo->i64, "");
  for (int r = 0; r < val_row_values(x); r++) {
    V row = LLVMBuildAdd(lo->b, mine, k32(lo, 8 * r), "");
    V address = row_address(lo, &op->view, row);
    address = LLVMBuildAdd(lo->b, address, column64, "");
    store_row_sums(lo, op, row, address, column, r);
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

/* ---- into the L2 cache ---- */

/* A line a thread; of rows that begin inside a line the last one may be left out. */
void
lower_prefetch(Lo *lo, const Op *op)
{
  enum { LINE = 128 };
  const View *v = &op->view;
  int lines = (v->x->cols * dtype_bytes(v->x->ty) + LINE - 1) / LINE;
  int all = v->n * lines, threads = 32 * lo->p->warps;
  V when = idx_value(lo, op->when);
  for (int first = 0; first < all; first += threads) {
    V unit = LLVMBuildAdd(lo->b, lane_value(lo, LANE_TID), k32(lo, first), "");
    V row = LLVMBuildUDiv(lo->b, unit, k32(lo, lines), "");
    V line = LLVMBuildURem(lo->b, unit, k32(lo, lines), ""), want = when;
    if (first + threads > all)
      want =
          bool_and(lo->b, want, LLVMBuildICmp(lo->b, LLVMIntULT, unit, k32(lo, all), ""));
    want = bool_and(lo->b, want, row_inside(lo, v, row));
    V at = v->pages ? page_row_address(lo, v, row) : row_address(lo, v, row);
    V column = LLVMBuildMul(lo->b, line, k32(lo, LINE), "");
    column = to64(lo->b, lo, column);
    V in[2] = {LLVMBuildAdd(lo->b, at, column, ""), NULL};
    in[1] = as_i32(lo, lo->b, want);
    asm_call(lo, ASM_EFFECT,
             "{ .reg .pred p; setp.ne.s32 p, $1, 0; @p prefetch.global.L2 [$0]; }", "l,r",
             in, 2, lo->none, NULL, 0);
  }
}

/* ---- the lane layout ---- */

V
lane_has_columns(Lo *lo, int cols, int group)
{
  int lanes = (cols - WARP_COLS * group) / LANE_COLS;
  return LLVMBuildICmp(lo->b, LLVMIntULT, lane_value(lo, LANE_LANE), k32(lo, lanes), "");
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
  V first = v->pages ? page_row_address(lo, v, row) : row_address(lo, v, row);
  return LLVMBuildAdd(lo->b, first, col, "");
}

/* n registers from byte `at` on; zeros where nothing is wanted. */
static void
load_words(Lo *lo, V address, int at, int n, V want, V *out)
{
  Str text = str_new(lo->arena), how = str_new(lo->arena);
  V in[2] = {address, want};
  str_printf(&text, "{ .reg .pred p; setp.ne.s32 p, $%d, 0; ", n + 1);
  for (int i = 0; i < n; i++)
    str_printf(&text, "mov.b32 $%d, 0; ", i);
  str_printf(&text, "@p ld.global.v%d.b32 ", n);
  asm_registers(&text, 0, n);
  str_printf(&text, ", [$%d+%d]; }", n, at);
  asm_constraint(&how, "=&r", n);
  str_put(&how, ",l,r");
  asm_call(lo, ASM_EFFECT, text.p, how.p, in, 2, lo->i32, out, n);
}

/* ---- a register's elements, as fp32, and back ---- */

static void
from_f32(Lo *lo, V word, V *out)
{
  out[0] = LLVMBuildBitCast(lo->b, word, lo->f32, "");
}

static V
to_f32(Lo *lo, Dtype ty, const V *x)
{
  (void)ty;
  return LLVMBuildBitCast(lo->b, x[0], lo->i32, "");
}

static void
from_bf16(Lo *lo, V word, V *out)
{
  V low = LLVMBuildShl(lo->b, word, k32(lo, 16), "");
  V high = LLVMBuildAnd(lo->b, word, k32(lo, (int32_t)0xffff0000), "");
  out[0] = LLVMBuildBitCast(lo->b, low, lo->f32, "");
  out[1] = LLVMBuildBitCast(lo->b, high, lo->f32, "");
}

static void
from_f16(Lo *lo, V word, V *out)
{
  asm_call(lo, ASM_PURE,
           "{ .reg .b16 a, b; mov.b32 {a, b}, $2; cvt.f32.f16 $0, a; cvt.f32.f16 $1, b; }",
           "=&f,=f,r", &word, 1, lo->f32, out, 2);
}

static V
to_pair(Lo *lo, Dtype ty, const V *x)
{
  return pack_pair(lo, ty, x[0], x[1]);
}

/* Of a type without a row no lane tile is loaded or stored. */
static const struct {
  void (*from)(Lo *, V word, V *out);
  V (*to)(Lo *, Dtype, const V *x);
} words_of[DT_COUNT] = {
    [DT_F16] = {from_f16, to_pair},
    [DT_BF16] = {from_bf16, to_pair},
    [DT_F32] = {from_f32, to_f32},
};

/* Registers of so many of a lane's columns. */
static int
lane_words(Lo *lo, Dtype ty, int n)
{
  if (!words_of[ty].from)
    lower_fail(lo, "columns of %s have no lowering", dtype_name(ty));
  return n * dtype_bytes(ty) / REG_BYTES;
}

/* A load or store has four of them at most. */
enum { WORDS = CHUNK_BYTES / REG_BYTES };

static int
least(int a, int b)
{
  return a < b ? a : b;
}

void
lane_load(Lo *lo, Dtype ty, V address, int at, int n, V bit, V *out)
{
  V word[WORDS];
  for (int i = 0, words = lane_words(lo, ty, n); i < words; i += WORDS) {
    int here = least(words - i, WORDS);
    load_words(lo, address, at + i * REG_BYTES, here, bit, word);
    for (int k = 0; k < here; k++)
      words_of[ty].from(lo, word[k], out + (i + k) * dtype_in(ty, REG_BYTES));
  }
}

void
lower_load(Lo *lo, const Op *op)
{
  const View *v = &op->view;
  Dtype ty = v->x->ty;
  int n;
  V *out = lower_regs(lo, op->out, &n);
  V row = lane_row(lo, op->kind == OP_LOAD_ONE), address = NULL;
  for (int g = 0; g < lane_groups(v->x->cols); g++) {
    V columns = lane_has_columns(lo, v->x->cols, g);
    V want = bool_and(lo->b, columns, row_inside(lo, v, row));
    if (!address)
      address = lane_address(lo, v, row);
    lane_load(lo, ty, address, g * WARP_COLS * dtype_bytes(ty), LANE_COLS,
              as_i32(lo, lo->b, want), out + g * LANE_COLS);
  }
}

static void
store_words(Lo *lo, V address, int at, int n, const V *word, V want)
{
  Str text = str_new(lo->arena), how = str_new(lo->arena);
  V in[WORDS + 2] = {address};
  for (int i = 0; i < n; i++)
    in[1 + i] = word[i];
  in[1 + n] = want;
  str_printf(&text, "{ .reg .pred p; setp.ne.s32 p, $%d, 0; @p st.global.v%d.b32 [$0+%d], ",
             n + 1, n, at);
  asm_registers(&text, 1, n);
  str_put(&text, "; }");
  str_put(&how, "l");
  asm_constraint(&how, "r", n + 1);
  asm_call(lo, ASM_EFFECT, text.p, how.p, in, n + 2, lo->none, NULL, 0);
}

static void
store_group(Lo *lo, Dtype ty, V address, int at, V want, const V *x)
{
  int words = lane_words(lo, ty, LANE_COLS);
  V *word = NEW_N(lo->arena, V, words);
  for (int i = 0; i < words; i++)
    word[i] = words_of[ty].to(lo, ty, x + i * dtype_in(ty, REG_BYTES));
  for (int i = 0; i < words; i += WORDS)
    store_words(lo, address, at + i * REG_BYTES, least(words - i, WORDS), word + i, want);
}

void
lower_store(Lo *lo, const Op *op)
{
  const View *v = &op->view;
  Dtype ty = v->x->ty;
  V row = lane_row(lo, false), address = NULL;
  for (int g = 0; g < lane_groups(v->x->cols); g++) {
    V columns = lane_has_columns(lo, v->x->cols, g);
    V want = as_i32(lo, lo->b, bool_and(lo->b, columns, row_inside(lo, v, row)));
    if (!address)
      address = lane_address(lo, v, row);
    store_group(lo, ty, address, g * WARP_COLS * dtype_bytes(ty), want,
                lo->vals[op->in[0]->id] + g * LANE_COLS);
  }
}
