/* Products whose blocks are dealt to the warps, each of which reads what all have put into
 * shared memory, and sums of them in workspace, to which any CTAs add. */
#include "compiler/tile/tile_prog.h"

/* Warps along the rows, the others along the columns: those with which a warp reads least
 * of both operands.  0: the blocks do not come out even. */
int
deal_rows(int warps, int rows, int cols)
{
  int best = 0, least = 0;
  for (int r = 1; r <= warps; r *= 2) {
    int reads = rows / r + cols / (warps / r);
    bool even = warps % r == 0 && rows % (16 * r) == 0 && cols % (8 * (warps / r)) == 0;
    if (!even || (best && reads >= least))
      continue;
    best = r;
    least = reads;
  }
  return best;
}

bool
deal_is_even(int warps, int rows, int cols)
{
  bool power = (warps & (warps - 1)) == 0;
  return power && deal_rows(warps, rows, cols) > 0;
}

Tile
t_dot_dealt(Tb *t, Smem a, Smem b)
{
  const ProductInfo *p = tile_product(t);
  int warps = tile_warps(t), rows = a.cols, cols = b.cols;
  if (tile_role(t) || tile_warps_n(t) > 1 || a.wait_id || b.wait_id)
    t_fail(t, "dot_dealt is of boxes in no ring, and of warps that share nothing");
  if (!a.trans || b.trans || a.mem->ty != b.mem->ty || !product_takes(p, b.mem->ty, true))
    t_fail(t, "dot_dealt: %s has no %s · %s", p->name, a.mem->name, b.mem->name);
  if (a.rows != b.rows || a.rows % 32 || !deal_is_even(warps, rows, cols))
    t_fail(t, "dot_dealt: %dx%d · %dx%d for %d warps", rows, a.rows, b.rows, cols, warps);
  tile_readable(t, a);
  tile_readable(t, b);
  Op *op = tile_op(t, OP_DOT_DEALT);
  op->left = a;
  op->smem = b;
  op->product = p;
  Val *x = tile_val(t, rows, cols, DT_F32, LAY_DEALT);
  x->warps = deal_rows(warps, rows, cols);
  x->warps_n = warps / x->warps;
  op->out = x;
  return x;
}

int
sum_cols(int cols)
{
  return 16 * cols;
}

static void
need_sums_of(Tb *t, const View *v, int rows, int cols, const char *word)
{
  if (!v->x->workspace || v->x->ty != DT_F32 || v->n != rows / 16 || rows % 16 ||
      cols % 8 || v->x->cols < sum_cols(cols))
    t_fail(t, "%s: %dx%d in %d rows of %s", word, rows, cols, v->n, v->x->name);
}

void
t_reduce_cols(Tb *t, View v, Tile x, Idx first)
{
  bool team = x->lay == LAY_FRAG && x->ty == DT_F32 && x->warps_n == 1;
  if (x->lay != LAY_DEALT && !team)
    t_fail(t, "reduce_out: %%%d is no accumulator", x->id);
  need_sums_of(t, &v, x->rows, x->cols, "reduce_out");
  tile_reachable(t, x);
  Op *op = tile_op(t, OP_REDUCE_OUT);
  op->in[0] = x;
  op->view = v;
  op->first = first;
}

void
t_reduce_out(Tb *t, View v, Tile x)
{
  t_reduce_cols(t, v, x, i_int(0));
}

Tile
t_load_sums(Tb *t, View v, int rows, int cols)
{
  need_sums_of(t, &v, rows, cols, "load_sums");
  if (rows % (16 * tile_warps(t)) || tile_warps_n(t) > 1)
    t_fail(t, "load_sums: %d rows are not a multiple of 16 a warp", rows);
  Op *op = tile_op(t, OP_LOAD_SUMS);
  op->view = v;
  op->out = tile_val(t, rows, cols, DT_F32, LAY_FRAG);
  return op->out;
}
