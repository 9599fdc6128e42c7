/* Addresses of rows of tensors, in global memory, and which rows there are. */
#include "compiler/llvm/llvm_lower.h"

MemoKey
view_key(Memoised what, const View *v)
{
  return (MemoKey){.what = what,
                   .x = v->x,
                   .batch = v->b,
                   .head = v->h,
                   .origin = v->origin,
                   .nth = v->nth,
                   .pack = v->pack};
}

V
view_base(Lo *lo, const View *v)
{
  MemoKey key = view_key(MEMO_VIEW_BASE, v);
  V have = memo_find(lo, &key);
  if (have)
    return have;
  LLVMBuilderRef b = idx_builder(lo, v->b) == lo->b ? lo->b : idx_builder(lo, v->h);
  b = b == lo->b ? b : idx_builder(lo, v->origin);
  b = b == lo->b ? b : idx_builder(lo, v->nth);
  ParamKind kind = v->x->workspace ? PARAM_WORKSPACE : PARAM_TENSOR;
  V base = param_value(lo, kind, v->x->slot, 0);
  V batch = idx_value64(lo, v->b), head = idx_value64(lo, v->h);
  if (v->pack > 1)
    head = LLVMBuildMul(b, head, k64(lo, v->pack), "");
  V by_b = LLVMBuildMul(b, batch, idx_value64(lo, v->x->stride[0]), "");
  V by_h = LLVMBuildMul(b, head, idx_value64(lo, v->x->stride[1]), "");
  V at = LLVMBuildAdd(b, by_b, by_h, "");
  if (v->origin.node || v->origin.k) {
    V by_row = idx_value64(lo, v->x->stride[2]);
    by_row = LLVMBuildMul(b, idx_value64(lo, v->origin), by_row, "");
    at = LLVMBuildAdd(b, at, by_row, "");
  }
  if (v->nth.node || v->nth.k) {
    V by_one = idx_value64(lo, v->x->each);
    at = LLVMBuildAdd(b, at, LLVMBuildMul(b, idx_value64(lo, v->nth), by_one, ""), "");
  }
  at = LLVMBuildMul(b, at, k64(lo, dtype_bytes(v->x->ty)), "");
  base = LLVMBuildAdd(b, base, at, "");
  return b == lo->hb ? memo_keep(lo, &key, base) : base;
}

V
row_pitch(Lo *lo, const Tensor *x)
{
  MemoKey key = {.what = MEMO_ROW_PITCH, .x = x};
  V have = memo_find(lo, &key);
  if (have)
    return have;
  V pitch =
      LLVMBuildMul(lo->hb, idx_value64(lo, x->stride[2]), k64(lo, dtype_bytes(x->ty)), "");
  return memo_keep(lo, &key, pitch);
}

/* In the tensor: the row, or position where heads are packed. */
static V
tensor_row(Lo *lo, const View *v, V at)
{
  if (v->pack > 1)
    at = LLVMBuildUDiv(lo->b, at, k32(lo, v->pack), "");
  return LLVMBuildAdd(lo->b, idx_value(lo, v->row), at, "");
}

V
row_address(Lo *lo, const View *v, V at)
{
  int bytes = dtype_bytes(v->x->ty);
  V pitch = LLVMBuildMul(lo->b, idx_value64(lo, v->x->stride[2]), k64(lo, bytes), "");
  V sum = LLVMBuildMul(lo->b, to64(lo->b, lo, tensor_row(lo, v, at)), pitch, "");
  if (v->pack > 1) {
    V head = LLVMBuildURem(lo->b, at, k32(lo, v->pack), "");
    V by = LLVMBuildMul(lo->b, idx_value64(lo, v->x->stride[1]), k64(lo, bytes), "");
    V of = LLVMBuildMul(lo->b, to64(lo->b, lo, head), by, "");
    sum = LLVMBuildAdd(lo->b, sum, of, "");
  }
  return LLVMBuildAdd(lo->b, view_base(lo, v), sum, "");
}

V
row_inside(Lo *lo, const View *v, V at)
{
  if (v->in_bounds)
    return NULL;
  V row = tensor_row(lo, v, at), end = idx_value(lo, v->cut ? v->end : v->x->rows);
  return LLVMBuildICmp(lo->b, LLVMIntSLT, row, end, "");
}
