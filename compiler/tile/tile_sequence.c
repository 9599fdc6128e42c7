/* Which sequence of a packed batch a block of rows belongs to. */
#include "compiler/tile/tile_prog.h"

/* Does each thread look for a block of its own? */
static bool
by_thread(Idx x)
{
  const Node *n = x.node;
  return n &&
         (n->kind == NODE_THREAD || by_thread(n->a) || by_thread(n->b) || by_thread(n->c));
}

Idx
t_sequence(Tb *t, const Lookup *first, Idx n, Idx block, int rows)
{
  int depth = block.node ? block.node->depth : 0;
  if (tile_in(t, OP_LOOP) || depth == LATE)
    t_fail(t, "sequence: a block is found outside of tiles, by what is known before them");
  if (first->n_axes != 1 || first->ty != DT_I32 || rows < 1)
    t_fail(t, "sequence: blocks of %d rows by %s", rows, first->name);
  SequenceSearch *s = NEW(t->arena, SequenceSearch);
  *s = (SequenceSearch){.first = first, .n = n, .block = block, .rows = rows};
  const Region *warp = region_warp(t->here);
  s->alone = (warp && !warp->whole) || by_thread(block);
  tile_param(t, PARAM_TENSOR, first->slot, 0);
  Op *op = tile_op(t, OP_SEQUENCE);
  op->search = s;
  op->found = tile_found_early(t, depth);
  return op->found;
}
