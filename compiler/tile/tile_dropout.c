/* The words of dropout: which weights of a tile are dropped (docs/dropout.md). */
#include "compiler/tile/tile_prog.h"

enum { BLOCK = 16 }; /* positions whose random bytes a lane has are in blocks of so many */

Tile
t_drop_state(Tb *t, const Lookup *rng_state, Idx b, Idx h, Idx heads)
{
  if (!rng_state || !t_has_scalar(t, ATTNC_DROPOUT_P))
    t_fail(t, "the call has no dropout");
  tile_param(t, PARAM_SCALAR, ATTNC_DROPOUT_P, 0);
  Op *op = tile_op(t, OP_DROP_STATE);
  op->list = rng_state;
  op->at = (At){.b = b, .h = h};
  op->word = heads;
  op->out = tile_val(t, 1, DROP_WORDS, DT_U32, LAY_WORDS);
  return op->out;
}

/* Of accumulators, whose lanes have columns of pairs; or of a row a warp and one column. */
Tile
t_drop(Tb *t, Tile state, int rows, int cols, At at)
{
  tile_reachable(t, state);
  bool one = cols == 1;
  if (state->lay != LAY_WORDS)
    t_fail(t, "%%%d is no state of dropout", state->id);
  if (at.pack > 1 || (one && at.turned))
    t_fail(t, "dropout of packed heads has no words");
  if (!one && (!i_multiple(at.k, BLOCK) || cols % BLOCK))
    t_fail(t, "a tile of dropout begins and ends at keys that are multiples of %d", BLOCK);
  Op *op = tile_op(t, OP_DROP);
  op->in[0] = state;
  op->at = at;
  op->whole = i_multiple(at.k, 2 * BLOCK);
  op->out = tile_val(t, rows, cols, DT_U8, one ? LAY_ROW : LAY_FRAG);
  return op->out;
}

Tile
t_keep(Tb *t, Tile drop, Tile x)
{
  tile_reachable(t, drop);
  tile_reachable(t, x);
  bool alike = drop->lay == x->lay && drop->rows == x->rows && drop->cols == x->cols &&
               drop->warps_n == x->warps_n;
  if (drop->ty != DT_U8 || !alike || (x->ty != DT_F32 && dtype_in(x->ty, REG_BYTES) != 2))
    t_fail(t, "%%%d does not say what of %%%d is kept", drop->id, x->id);
  Op *op = tile_op(t, OP_KEEP);
  op->in[0] = x;
  op->in[1] = drop;
  Val *kept = tile_val(t, x->rows, x->cols, x->ty, x->lay);
  kept->warps_n = x->warps_n;
  op->out = kept;
  return kept;
}

Tile
t_kept_factor(Tb *t)
{
  Tile one = t_const(t, 1);
  Tile p = t_scalar(t, ATTNC_DROPOUT_P, 1);
  Tile kept = t_sub(t, one, p);
  return t_rcp(t, kept);
}

void
t_store_keep(Tb *t, const Lookup *keep, Tile drop, At at)
{
  tile_reachable(t, drop);
  if (drop->ty != DT_U8 || drop->lay != LAY_FRAG || keep->n_axes != 4)
    t_fail(t, "%%%d is not what is kept of a tile", drop->id);
  Op *op = tile_op(t, OP_STORE_KEEP);
  op->in[0] = drop;
  op->list = keep;
  op->at = at;
}
