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

static Limits
limits(Lo *lo, const Op *op, V from, V end, int r)
{
  const Mask *m = op->mask;
  Limits l = {.hi = end};
  if (m->band.hi == INT_MAX && m->band.lo == INT_MIN)
    return l;
  V q = place_query(lo, op, r);
  if (m->band.bottom_right) {
    V sk = idx_value(lo, m->sk), sq = idx_value(lo, m->sq);
    LLVMBuilderRef b = idx_builder(lo, op->at.q);
    V shift = LLVMBuildSub(lo->hb, sk, sq, "");
    q = LLVMBuildAdd(b, q, shift, "");
  }
  q = LLVMBuildSub(lo->b, q, from, "");
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

void
lower_mask(Lo *lo, const Op *op)
{
  int n;
  V *out = lower_regs(lo, op->out, &n), *x = lo->vals[op->in[0]->id];
  V from = place_origin(lo, op);
  V end = LLVMBuildSub(lo->b, idx_value(lo, op->mask->sk), from, "");
  Exprs *mods = op->steps ? exprs_open(lo, op, from) : NULL;
  for (int r = 0; r < val_row_values(op->out); r++) {
    Limits l = limits(lo, op, from, end, r);
    if (mods)
      l = modified(lo, op, mods, from, r, l);
    for (int c = 0; c < place_columns(op->out); c++) {
      int reg = place_register(op->out, r, c);
      out[reg] = masked(lo, x[reg], l.hi, l.from, place_column(c));
    }
  }
  if (mods && op->steps->root[ROOT_REST] >= 0)
    mask_elements(lo, op, mods, out);
}
