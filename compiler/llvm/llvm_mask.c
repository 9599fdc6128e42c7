/* Masks: which elements of a tile of scores become −inf. */
#include "compiler/llvm/llvm_lower.h"

#include <limits.h>
#include <math.h>

/* Limits of one row, relative to the tile's first key and this lane's first column:
 * column c of the lane is kept iff lo <= c < hi. */
typedef struct Limits {
  V hi, from; /* from NULL: no lower one */
} Limits;

static V
smaller(Lo *lo, V a, V b)
{
  V c = LLVMBuildICmp(lo->b, LLVMIntSLT, a, b, "");
  return LLVMBuildSelect(lo->b, c, a, b, "");
}

enum { WORD_BITS = 32 };

/* How many of a lane's columns of an accumulator, pairs of each 8, are left of a limit; at
 * most 0 of one below 0. */
static V
columns_before(Lo *lo, V limit)
{
  V pairs =
      LLVMBuildShl(lo->b, LLVMBuildAShr(lo->b, limit, k32(lo, 3), ""), k32(lo, 1), "");
  V rest = smaller(lo, LLVMBuildAnd(lo->b, limit, k32(lo, 7), ""), k32(lo, 2));
  return LLVMBuildAdd(lo->b, pairs, rest, "");
}

/* All ones, shifted by n, which may be negative (0) or large (no bit is left; LLVM's own
 * shifts are poison there). */
static V
shifted(Lo *lo, const char *shift, V n)
{
  V in = pick(lo->b, LLVMIntSGT, n, k32(lo, 0));
  return asm_1(lo, ASM_PURE, shift, "=r,r", lo->i32, &in, 1);
}

/* The columns begin … end - 1 of a row, a bit each: of 32 from `first` on. */
static V
kept(Lo *lo, V begin, V end, int first)
{
  V n = LLVMBuildSub(lo->b, k32(lo, first + WORD_BITS), end, "");
  V word = shifted(lo, "shr.u32 $0, 0xffffffff, $1;", n);
  n = LLVMBuildSub(lo->b, begin, k32(lo, first), "");
  return LLVMBuildAnd(lo->b, word, shifted(lo, "shl.b32 $0, 0xffffffff, $1;", n), "");
}

/* A row of an accumulator with a limit on either side: bits are tested against constants,
 * of which ptxas moves many to predicates at once (R2P), where two comparisons and two
 * selections a score would be.  With one limit it gains little: 24 of 533 instructions of a
 * causal PARTIAL tile of 128x112, for 3 more of a FULL one; and where elements are asked as
 * well, theirs and these predicates together spilled (ptxas 13.0, sm_90a). */
static void
mask_between(Lo *lo, const Op *op, Limits l, int r, const V *x, V *out)
{
  V end = columns_before(lo, l.hi), begin = columns_before(lo, l.from);
  V word = NULL, hidden = kf(lo, -INFINITY);
  for (int c = 0; c < place_columns(op->out); c++) {
    int reg = place_register(op->out, r, c);
    if (c % WORD_BITS == 0)
      word = kept(lo, begin, end, c);
    V bit = LLVMBuildAnd(lo->b, word, k32(lo, (int32_t)(1u << c % WORD_BITS)), "");
    bit = LLVMBuildICmp(lo->b, LLVMIntNE, bit, k32(lo, 0), "");
    out[reg] = LLVMBuildSelect(lo->b, bit, x[reg], hidden, "");
  }
}

static V
masked(Lo *lo, V x, V hi, V from, int col)
{
  V c = k32(lo, col);
  V keep = LLVMBuildICmp(lo->b, LLVMIntSLT, c, hi, "");
  x = LLVMBuildSelect(lo->b, keep, x, kf(lo, -INFINITY), "");
  if (!from)
    return x;
  keep = LLVMBuildICmp(lo->b, LLVMIntSGE, c, from, "");
  return LLVMBuildSelect(lo->b, keep, x, kf(lo, -INFINITY), "");
}

/* Row r of this thread, from the tile's first column on.  Of a sequence of its own length
 * each row that stands before the loop is a register more, as nothing of it is uniform:
 * there the others are counted from the first. */
static V
row_from(Lo *lo, const Op *op, V from, int r)
{
  const Mask *m = op->mask;
  bool counted = m->cut && op->at.pack <= 1;
  V q = place_row(lo, op, counted ? 0 : r);
  if (m->band.bottom_right) {
    V sk = idx_value(lo, m->sk), sq = idx_value(lo, m->sq);
    LLVMBuilderRef b = idx_builder(lo, place_rows(op));
    V shift = LLVMBuildSub(lo->hb, sk, sq, "");
    q = LLVMBuildAdd(b, q, shift, "");
  }
  q = LLVMBuildSub(lo->b, q, from, "");
  return counted && r ? LLVMBuildAdd(lo->b, q, k32(lo, 8 * r), "") : q;
}

static Limits
limits(Lo *lo, const Op *op, V from, V end, int r)
{
  const Mask *m = op->mask;
  Limits l = {.hi = end};
  if (m->band.hi == INT_MAX && m->band.lo == INT_MIN)
    return l;
  V q = row_from(lo, op, from, r);
  if (m->band.hi != INT_MAX) {
    V hi = LLVMBuildAdd(lo->b, q, k32(lo, (int64_t)m->band.hi + 1), "");
    l.hi = smaller(lo, hi, end);
  }
  if (m->band.lo != INT_MIN)
    l.from = LLVMBuildAdd(lo->b, q, k32(lo, m->band.lo), "");
  return l;
}

/* The same with the limits that mask_mod sets to row r: any i32, so that they are brought
 * into 0 … sk before anything is added to them.  What does not move with the tile is
 * computed outside of the loop. */
static Limits
modified(Lo *lo, const Op *op, Exprs *mods, V from, int r, Limits l)
{
  V first = exprs_root(mods, ROOT_FIRST, r), last = exprs_root(mods, ROOT_LAST, r);
  V sk = idx_value(lo, op->mask->sk);
  LLVMBuilderRef b = exprs_outer(mods);
  if (last) {
    V end = LLVMBuildAdd(b, pick(b, LLVMIntSGT, last, k32(lo, -1)), k32(lo, 1), "");
    end = pick(b, LLVMIntULT, end, sk); /* INT32_MAX + 1 is beyond any sk */
    l.hi = smaller(lo, LLVMBuildSub(lo->b, end, from, ""), l.hi);
  }
  if (first) {
    V begin = pick(b, LLVMIntSGT, first, k32(lo, 0));
    begin = LLVMBuildSub(lo->b, pick(b, LLVMIntSLT, begin, sk), from, "");
    l.from = l.from ? pick(lo->b, LLVMIntSGT, begin, l.from) : begin;
  }
  return l;
}

/* What of mask_mod is asked of each element. */
static void
mask_elements(Lo *lo, const Op *op, Exprs *mods, V *x)
{
  V hidden = kf(lo, -INFINITY);
  for (int c = 0; c < place_columns(op->out); c++) {
    exprs_column(mods, c);
    for (int r = 0; r < val_row_values(op->out); r++) {
      V *at = &x[place_register(op->out, r, c)];
      exprs_element(mods, r, NULL);
      *at = LLVMBuildSelect(lo->b, exprs_root(mods, ROOT_REST, r), *at, hidden, "");
    }
  }
}

/* One past the last column of row r: of a row behind the end none is kept. */
static V
row_end(Lo *lo, const Op *op, V end, int r)
{
  if (!op->mask->rows_end)
    return end;
  V row = LLVMBuildAdd(lo->b, place_row(lo, op, 0), k32(lo, 8 * r), "");
  V is = LLVMBuildICmp(lo->b, LLVMIntSLT, row, idx_value(lo, op->mask->sq), "");
  return LLVMBuildSelect(lo->b, is, end, k32(lo, 0), "");
}

void
lower_mask(Lo *lo, const Op *op)
{
  int n;
  V *out = lower_regs(lo, op->out, &n), *x = lo->vals[op->in[0]->id];
  V from = place_origin(lo, op);
  V end = LLVMBuildSub(lo->b, idx_value(lo, op->mask->sk), from, "");
  Exprs *mods = op->steps ? exprs_open(lo, op, from) : NULL;
  bool asked = mods && op->steps->root[ROOT_REST] >= 0;
  for (int r = 0; r < val_row_values(op->out); r++) {
    Limits l = limits(lo, op, from, row_end(lo, op, end, r), r);
    if (mods)
      l = modified(lo, op, mods, from, r, l);
    if (l.from && !asked && op->out->lay == LAY_FRAG) {
      mask_between(lo, op, l, r, x, out);
      continue;
    }
    for (int c = 0; c < place_columns(op->out); c++) {
      int reg = place_register(op->out, r, c);
      out[reg] = masked(lo, x[reg], l.hi, l.from, place_column(c));
    }
  }
  if (asked)
    mask_elements(lo, op, mods, out);
}
