#include "templates/item_parts.h"

#include <math.h>

enum { OF_ROW = 3 }; /* numbers of a row: g, b, l */

ItemParts
item_parts_entry(Build *b, const Partition *host, int keys, int o_cols)
{
  ItemParts p = {.plan = splits_entry(b, host, keys)};
  Idx room = splits_room(host, p.plan);
  p.o = b_region(b, .name = "o_parts", .ty = DT_F32, .h = room, .cols = o_cols);
  p.rows = b_region(b, .name = "rows_of_parts", .ty = DT_F32, .h = room,
                    .rows = i_int(OF_ROW * host->bm), .cols = 1);
  return p;
}

/* The row of a region in which part i of all items is. */
static View
part_of(Tb *t, const WorkRegion *r, Idx i, int row, int n)
{
  return v_rows(t_region(t, r), i_int(0), i, i_int(row), n);
}

static void
store_part(Tb *t, const ItemSums *x, Tile o)
{
  const Tile rows[OF_ROW] = {*x->sm->g, *x->sm->b, *x->sm->l};
  int n = x->rows;
  View v = part_of(t, x->parts->o, x->item->own, 0, 1);
  t_store_part(t, v, o);
  for (int k = 0; k < OF_ROW; k++) {
    v = part_of(t, x->parts->rows, x->item->own, k * n, n);
    t_store_rows(t, v, rows[k]);
  }
}

void
item_sums_store(Tb *t, const ItemSums *x, Tile o)
{
  T_IF (t, i_lt(1, x->item->parts))
    store_part(t, x, o);
}

Idx
item_sums_last(Tb *t, const ItemSums *x)
{
  const Tensor *counters = t_region(t, x->parts->plan->come);
  View come = v_rows(counters, i_int(0), i_int(0), x->item->first, 1);
  return t_last(t, come, x->item->parts);
}

/* Its O; the rows' numbers are loaded. */
static View
part_rows(Tb *t, const ItemSums *x, Idx part, SoftmaxPart *rows)
{
  Idx heads = partition_heads_of_batch(x->part);
  Idx i = i_add(x->item->first, i_mul(part, heads));
  Tile *to[OF_ROW] = {&rows->g, &rows->b, &rows->l};
  int n = x->rows;
  for (int k = 0; k < OF_ROW; k++) {
    View v = part_of(t, x->parts->rows, i, k * n, n);
    *to[k] = t_load_rows(t, v);
  }
  return part_of(t, x->parts->o, i, 0, 1);
}

static void
add_parts(Tb *t, const ItemSums *x, Tile *o)
{
  SoftmaxPart rows;
  Softmax *sm = x->sm;
  T_IF (t, i_lt(1, x->item->parts)) {
    View v = part_rows(t, x, i_int(0), &rows);
    *o = t_load_part(t, v, x->rows, x->cols);
    *sm->g = rows.g;
    *sm->b = rows.b;
    *sm->l = rows.l;
  }
  Span others = {i_int(1), x->item->parts, i_int(1)};
  T_FOR (t, i, others) {
    Tile own, its;
    View v = part_rows(t, x, i, &rows);
    softmax_add_part(t, sm, &rows, &own, &its);
    *o = t_add_part(t, v, *o, own, its);
  }
}

/* Rows for whose parts there was no room are NaN. */
static void
spoil(Tb *t, const ItemSums *x)
{
  T_RARE (t, i_not(x->item->has_room))
    *x->sm->l = t_rows(t, x->rows, NAN);
}

void
item_sums_add(Tb *t, const ItemSums *x, Tile *o)
{
  add_parts(t, x, o);
  spoil(t, x);
}
