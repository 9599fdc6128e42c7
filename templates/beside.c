#include "templates/beside.h"

/* Batches, heads: an axis that the table has not is stepped over in place. */
static const Tensor *
table_rows(Tb *t, const Call *p, const Expr *load, int cols)
{
  const Lookup *x = &p->tables[load->i];
  Tensor *r = NEW(t_arena(t), Tensor);
  *r = (Tensor){.name = x->name,
                .slot = x->slot,
                .ty = x->ty,
                .cols = cols,
                .rows = p->sq,
                .no_batch = true,
                .no_head = true};
  for (int i = 0; i < load->n - 1; i++) {
    const Expr *index = load->arg[i];
    int dim = index->i == EXPR_B ? 0 : index->i == EXPR_Q_IDX ? 2 : 1;
    r->stride[dim] = x->stride[i];
    r->no_batch = r->no_batch && dim != 0;
    r->no_head = r->no_head && dim != 1;
  }
  return r;
}

Beside
beside_new(Tb *t, const Call *p, const Expr *load, const SmemLayout *l)
{
  if (!load)
    return (Beside){.load = NULL};
  Beside x = {.load = load, .ring = layout_ring(t, l, PART_TABLE)};
  x.rows = table_rows(t, p, load, l->part[PART_TABLE].cols);
  return x;
}

static bool
by_key_head(const Expr *load)
{
  for (int i = 0; i < load->n; i++)
    if (load->arg[i]->i == EXPR_HK)
      return true;
  return false;
}

View
beside_view(const Beside *x, const WorkTile *w, Idx k, int n)
{
  Idx h = by_key_head(x->load) ? w->hk : w->h;
  bool aligned = x->rows->slot == ATTNC_BIAS; /* as its signature says */
  return v_cols(v_rows(x->rows, w->b, h, w->q0, n), k, aligned);
}

Tile
beside_scores(Tb *t, const Beside *x, const Call *p, Tile s, At at, TileIter j, Idx from,
              int n)
{
  if (!x->load)
    return fwd_scores(t, p, s, at, j, NULL);
  Slot slot = t_consumer_wait(t, x->ring);
  TableTile tile = {.load = x->load, .s = s_rows(slot.s, from, n)};
  s = fwd_scores(t, p, s, at, j, &tile);
  t_consumer_release(t, slot);
  return s;
}
