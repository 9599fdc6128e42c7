/* What every lowering stands on: constants, the registers of values, and how it ends where
 * the program has what cannot be lowered. */
#include "compiler/llvm/llvm_lower.h"

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

V
k32(Lo *lo, int64_t k)
{
  return LLVMConstInt(lo->i32, (unsigned long long)k, 1);
}

V
k64(Lo *lo, int64_t k)
{
  return LLVMConstInt(lo->i64, (unsigned long long)k, 1);
}

V
kf(Lo *lo, double k)
{
  return LLVMConstReal(lo->f32, k);
}

V
to64(LLVMBuilderRef b, Lo *lo, V x)
{
  return LLVMTypeOf(x) == lo->i64 ? x : LLVMBuildSExt(b, x, lo->i64, "");
}

V
bool_and(LLVMBuilderRef b, V x, V y)
{
  if (!x)
    return y;
  return y ? LLVMBuildAnd(b, x, y, "") : x;
}

V
as_i32(Lo *lo, LLVMBuilderRef b, V bit)
{
  return LLVMBuildZExt(b, bit, lo->i32, "");
}

int
lower_count(const Val *v)
{
  switch (v->lay) {
  case LAY_FRAG:
    return val_tiles_m(v) * (val_cols(v) / 8) * 4 * dtype_bytes(v->ty) / REG_BYTES;
  case LAY_DEALT:
    return val_tiles_m(v) * (val_dealt_cols(v) / 8) * 4;
  case LAY_WARP_ROW:
    return LANE_COLS * lane_groups(v->cols);
  case LAY_ROW:
    return val_row_values(v);
  case LAY_COPY_ROW:
    return val_copy_values(v);
  case LAY_COL:
    return val_col_values(v);
  case LAY_WORDS:
    return v->cols;
  default:
    return 1;
  }
}

V *
lower_regs(Lo *lo, const Val *v, int *n)
{
  *n = lower_count(v);
  lo->vals[v->id] = NEW_N(lo->arena, V, *n);
  return lo->vals[v->id];
}

void
lower_fail(Lo *lo, const char *fmt, ...)
{
  char text[sizeof lo->err->message];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  err_set(lo->err, ATTNC_ERR_INTERNAL, "%s: %s", lo->p->entry, text);
  longjmp(*lo->fail, 1);
}

void
lower_missing(Lo *lo, const Op *op)
{
  static const char *const names[OP_COUNT] = {
#define X(id, text) [OP_##id] = text,
      OP_TABLE(X)
#undef X
  };
  bool known = (unsigned)op->kind < OP_COUNT;
  lower_fail(lo, "operation %d (%s) has no lowering", (int)op->kind,
             known ? names[op->kind] : "unknown");
}
