/* Counters by which a block of threads sorts: the words of t_bins. */
#include "compiler/tile/tile_prog.h"

static void
outside(Tb *t, const char *what)
{
  if (t->here != t->prog->top)
    t_fail(t, "%s: the whole block meets here, in no loop, branch or role", what);
}

static Op *
bins_op(Tb *t, OpKind kind, const Bins *bins)
{
  if (tile_in(t, OP_IF))
    t_fail(t, "%s: all threads of a warp stand here, and say when", op_names[kind]);
  Op *op = tile_op(t, kind);
  op->bins = bins;
  return op;
}

Bins *
t_bins(Tb *t, int n)
{
  Bins *b = NEW(t->arena, Bins);
  *b = (Bins){.n = n, .warps = t->prog->warps};
  outside(t, "bins");
  if (n < BINS_TRIP || n % BINS_TRIP || n > BINS_MOST)
    t_fail(t, "bins: %d are no multiple of %d up to %d", n, BINS_TRIP, BINS_MOST);
  int words = dtype_in(DT_I32, PANEL_BYTES), rows = n * b->warps / words;
  b->mem = t_smem(t, "bins", DT_I32, rows + BINS_SUMS, words).mem;
  bins_op(t, OP_BINS, b);
  return b;
}

void
t_bins_add(Tb *t, const Bins *b, Idx bin, Idx by, Idx when)
{
  Op *op = bins_op(t, OP_BINS_ADD, b);
  op->at_word = bin;
  op->word = by;
  op->when = when;
}

Idx
t_bins_scan(Tb *t, const Bins *b)
{
  outside(t, "bins scan");
  Op *op = bins_op(t, OP_BINS_SCAN, b);
  op->found = tile_found(t, true);
  return op->found;
}

Idx
t_bins_take(Tb *t, const Bins *b, Idx bin, Idx when)
{
  return t_bins_take_n(t, b, bin, i_int(1), when);
}

Idx
t_bins_take_n(Tb *t, const Bins *b, Idx bin, Idx n, Idx when)
{
  Op *op = bins_op(t, OP_BINS_TAKE, b);
  op->at_word = bin;
  op->word = n;
  op->when = when;
  op->found = tile_found(t, true);
  return op->found;
}

void
t_store_word(Tb *t, const Lookup *list, Idx at, Idx value, Idx when)
{
  if (!list->workspace || list->ty != DT_I32)
    t_fail(t, "store_word: %s is no i32 region of workspace", list->name);
  Op *op = tile_op(t, OP_STORE_WORD);
  op->list = list;
  op->at_word = at;
  op->word = value;
  op->when = when;
}
