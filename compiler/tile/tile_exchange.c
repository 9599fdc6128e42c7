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
  if (warps_n == 1 || t->prog->by_keys)
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

/* ---- between warps that have keys of their own ---- */

int
share_bytes(int warps_k, int rows)
{
  return SHARED_ROWS * tile_exchange_rows(warps_k, rows);
}

int
merge_bytes(int warps_k, int cols)
{
  return warps_k * 16 * cols * dtype_bytes(DT_F32);
}

static void
need_barrier(Tb *t, const char *word)
{
  if (t->here->kind == OP_IF && !t->here->work)
    t_fail(t, "%s is a barrier, in a branch", word);
  if (tile_in(t, OP_LOOP))
    t_fail(t, "%s is a barrier, in a loop over tiles", word);
}

static void
need_own_keys(Tb *t, const char *word)
{
  if (!t->prog->by_keys)
    t_fail(t, "%s: the warps have no keys of their own", word);
  need_barrier(t, word);
}

void
t_share_rows(Tb *t, const SharedRows *x)
{
  need_own_keys(t, "share_rows");
  if (x->n < 1 || x->n > SHARED_ROWS)
    t_fail(t, "share_rows: %d values a row", x->n);
  for (int i = 0; i < x->n; i++)
    if (x->of[i]->lay != LAY_ROW || x->of[i]->per_thread ||
        x->of[i]->rows != x->of[0]->rows)
      t_fail(t, "share_rows: %%%d has no value a row", x->of[i]->id);
  if (!t->exchange.mem ||
      share_bytes(tile_warps_n(t), x->of[0]->rows) > t->exchange.mem->bytes)
    t_fail(t, "share_rows of %%%d has no room to exchange", x->of[0]->id);
  if (t->exchanged[EXCHANGE_ROWS])
    t_fail(t, "share_rows of %%%d: no barrier since the last exchange", x->of[0]->id);
  Op *op = tile_op(t, OP_SHARE_ROWS);
  for (int i = 0; i < x->n; i++)
    op->in[i] = x->of[i];
  op->smem = t->exchange;
  tile_barrier_passed(t);
  t->exchanged[EXCHANGE_ROWS] = true;
}

Tile
t_peer_rows(Tb *t, const SharedRows *x, int value, int warp)
{
  need_own_keys(t, "peer_rows");
  if (value < 0 || value >= x->n || warp < 0 || warp >= tile_warps_n(t))
    t_fail(t, "peer_rows: value %d of warp %d", value, warp);
  if (!t->exchanged[EXCHANGE_ROWS])
    t_fail(t, "peer_rows: nothing is shared");
  Op *op = tile_op(t, OP_PEER_ROWS);
  op->value = value;
  op->peer = warp;
  op->smem = t->exchange;
  op->out = tile_val(t, x->of[value]->rows, 1, DT_F32, LAY_ROW);
  return op->out;
}

Tile
t_merge_cols(Tb *t, Tile x, Smem room)
{
  need_own_keys(t, "merge_cols");
  if (x->lay != LAY_FRAG || x->ty != DT_F32 || x->warps_n > 1)
    t_fail(t, "merge_cols of %%%d, which is no sum of a warp's own", x->id);
  if (merge_bytes(tile_warps_n(t), x->cols) > room.mem->bytes)
    t_fail(t, "merge_cols of %%%d: %s is too small", x->id, room.mem->name);
  Op *op = tile_op(t, OP_MERGE_COLS);
  op->in[0] = x;
  op->smem = room;
  Val *v = tile_val(t, x->rows, x->cols, DT_F32, LAY_FRAG);
  v->warps_n = tile_warps_n(t);
  op->out = v;
  tile_barrier_passed(t);
  return v;
}

/* ---- between CTAs that have parts of the keys ---- */

int
part_cols(int warps_k, int rows, int cols)
{
  Val x = {.rows = rows, .cols = cols, .warps = 1, .warps_n = warps_k};
  return rows * val_cols(&x) * warps_k;
}

/* The team has all rows of the CTA. */
static void
need_one_team(Tb *t, const char *word)
{
  const Role *r = tile_role(t);
  if (r && r->teams != 1)
    t_fail(t, "%s: several teams have the rows of the block", word);
}

static void
need_part(Tb *t, const View *v, int rows, int cols)
{
  need_one_team(t, "part");
  if (!v->x->workspace || v->x->ty != DT_F32 || v->n != 1 ||
      v->x->cols != part_cols(tile_warps_n(t), rows, cols))
    t_fail(t, "part: %dx%d in a row of %s", rows, cols, v->x->name);
}

static void
need_sums(Tb *t, Tile x, const char *word)
{
  if (x->lay != LAY_FRAG || x->ty != DT_F32 || x->warps_n != tile_warps_n(t))
    t_fail(t, "%s: %%%d is no sum over the warps", word, x->id);
}

void
t_store_part(Tb *t, View v, Tile x)
{
  need_part(t, &v, x->rows, x->cols);
  need_sums(t, x, "store_part");
  Op *op = tile_op(t, OP_STORE_PART);
  op->in[0] = x;
  op->view = v;
}

Tile
t_load_part(Tb *t, View v, int rows, int cols)
{
  need_part(t, &v, rows, cols);
  Op *op = tile_op(t, OP_LOAD_PART);
  op->view = v;
  Val *x = tile_val(t, rows, cols, DT_F32, LAY_FRAG);
  x->warps_n = tile_warps_n(t);
  op->out = x;
  return x;
}

Tile
t_add_part(Tb *t, View v, Tile x, Tile own, Tile its)
{
  need_part(t, &v, x->rows, x->cols);
  need_sums(t, x, "add_part");
  if (own->lay != LAY_ROW || its->lay != LAY_ROW || own->per_thread || its->per_thread)
    t_fail(t, "add_part: %%%d and %%%d are no values of rows", own->id, its->id);
  Op *op = tile_op(t, OP_ADD_PART);
  op->view = v;
  op->in[0] = x;
  op->in[1] = own;
  op->in[2] = its;
  Val *sum = tile_val(t, x->rows, x->cols, DT_F32, LAY_FRAG);
  sum->warps_n = x->warps_n;
  op->out = sum;
  return sum;
}

Idx
t_last(Tb *t, View counter, Idx n)
{
  need_one_team(t, "last");
  need_barrier(t, "last");
  if (!counter.x->workspace || counter.x->cols != 1 || counter.n != 1)
    t_fail(t, "last: %s has no counters", counter.x->name);
  if (!t->exchange.mem)
    t_fail(t, "last has no room to exchange");
  Op *op = tile_op(t, OP_LAST);
  op->view = counter;
  op->bound = n;
  op->smem = t->exchange;
  op->found = tile_found(t, true);
  tile_barrier_passed(t);
  t->exchanged[EXCHANGE_ROWS] = true;
  return op->found;
}
