/* Where the elements of a tile of scores are that a thread holds: its rows are queries, its
 * columns keys, or where it is turned the other way round. */
#include "compiler/llvm/llvm_lower.h"

int
place_columns(const Val *x)
{
  return x->lay == LAY_FRAG ? val_cols(x) / 8 * 2 : 1;
}

int
place_column(int c)
{
  return c / 2 * 8 + c % 2;
}

int
place_register(const Val *x, int r, int c)
{
  return x->lay == LAY_FRAG ? (r / 2 * (val_cols(x) / 8) + c / 2) * 4 + r % 2 * 2 + c % 2
                            : r;
}

/* The first row of this thread in its team's tile, of which a warp has one, or blocks of
 * 16. */
static V
first_row(Lo *lo, const Val *x)
{
  bool blocks = x->lay == LAY_FRAG || (x->lay == LAY_ROW && x->rows != x->warps);
  V row = lane_value(lo, blocks ? LANE_WARP_M : LANE_WARP);
  if (!blocks)
    return row;
  row = LLVMBuildMul(lo->hb, row, k32(lo, 16 * val_tiles_m(x)), "");
  return LLVMBuildAdd(lo->hb, row, lane_value(lo, LANE_ROW), "");
}

Idx
place_rows(const Op *op)
{
  return op->at.turned ? op->at.k : op->at.q;
}

/* Row r of this thread, and with a packed group its position, in the whole tensor. */
V
place_row(Lo *lo, const Op *op, int r)
{
  V row = first_row(lo, op->out);
  LLVMBuilderRef b = idx_builder(lo, place_rows(op));
  V first = idx_value(lo, place_rows(op));
  if (op->at.pack > 1) {
    row = LLVMBuildAdd(lo->hb, row, k32(lo, 8 * r), "");
    row = LLVMBuildUDiv(lo->hb, row, k32(lo, op->at.pack), "");
    return LLVMBuildAdd(b, first, row, "");
  }
  row = LLVMBuildAdd(b, first, row, "");
  return r ? LLVMBuildAdd(b, row, k32(lo, 8 * r), "") : row;
}

V
place_head(Lo *lo, const Op *op, int r)
{
  if (op->at.pack <= 1)
    return idx_value(lo, op->at.h);
  LLVMBuilderRef b = idx_builder(lo, op->at.hk);
  V row = LLVMBuildAdd(lo->hb, first_row(lo, op->out), k32(lo, 8 * r), "");
  row = LLVMBuildURem(lo->hb, row, k32(lo, op->at.pack), "");
  V first = LLVMBuildMul(b, idx_value(lo, op->at.hk), k32(lo, op->at.pack), "");
  return LLVMBuildAdd(b, first, row, "");
}

/* What all rows share: the first key (or query) of the tile and this lane's column.  LLVM
 * must not see that it moves with the loop: its strength reduction would give each row's
 * limits a variable of its own, stepped on every trip, and spend most of the code
 * generator's time on it. */
V
place_origin(Lo *lo, const Op *op)
{
  V k = idx_value(lo, op->at.turned ? op->at.q : op->at.k);
  k = asm_1(lo, ASM_EFFECT, "", "=r,0", lo->i32, &k, 1);
  if (op->out->lay != LAY_FRAG)
    return k;
  k = LLVMBuildAdd(lo->b, k, lane_value(lo, LANE_COL), "");
  V first = first_column(lo, op->out);
  return first ? LLVMBuildAdd(lo->b, k, first, "") : k;
}
