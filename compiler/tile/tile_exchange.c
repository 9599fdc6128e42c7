/* What warps that have the same rows of a tile, each a part of its columns, give each other
 * through shared memory: a value a row, or all columns of a left operand.
 *
 * Each of the two has its part of the room, is written before a barrier of the block and
 * read behind it.  A part may be written again once another barrier was passed, which is
 * the other part's exchange, too. */
#include "compiler/tile/tile_prog.h"

int
exchange_bytes(int warps_n, int rows, int cols, Dtype ty)
{
  if (warps_n == 1)
    return 0;
  return tile_exchange_rows(warps_n, rows) + rows * cols * dtype_bytes(ty);
}

void
t_exchange(Tb *t, Smem s)
{
  if (t->exchange.mem)
    t_fail(t, "%s: a kernel has one room to exchange", s.mem->name);
  t->exchange = s;
}

void
tile_exchange(Tb *t, Op *op, ExchangePart part)
{
  const Val *x = op->in[0];
  int warps_n = tile_warps_n(t), cols = part == EXCHANGE_COLS ? x->cols : 0;
  if (warps_n == 1)
    return;
  if (!t->exchange.mem ||
      exchange_bytes(warps_n, x->rows, cols, x->ty) > t->exchange.mem->bytes)
    t_fail(t, "%s of %%%d has no room to exchange", op_names[op->kind], x->id);
  if (t->here->kind == OP_IF && !t->here->work)
    t_fail(t, "%s of %%%d is a barrier, in a branch", op_names[op->kind], x->id);
  if (t->exchanged[part])
    t_fail(t, "%s of %%%d: no barrier since the last exchange", op_names[op->kind], x->id);
  op->smem = t->exchange;
  for (int i = 0; i < EXCHANGE_PARTS; i++)
    t->exchanged[i] = i == (int)part;
}
