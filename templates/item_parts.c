#include "templates/item_parts.h"

#include "templates/fwd.h"

#include <math.h>

enum { OF_ROW = 3 }; /* numbers of a row: g, b, l */

ItemParts
item_parts_entry(Build *b, const Partition *host, const ItemPartsArgs *x)
{
  ItemParts p = {.plan = splits_entry(b, host, x->keys), .combined = x->combined};
  Idx room = splits_room(host, p.plan);
  int dv = host->call->dv;
  if (p.combined)
    p.o = b_region(b, .name = "o_parts", .ty = DT_F32, .h = room, .rows = i_int(host->bm),
                   .cols = dv);
  else
    p.o = b_region(b, .name = "o_parts", .ty = DT_F32, .h = room,
                   .cols = part_cols(x->warps, host->bm, dv));
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

/* For a step rows alone that are somebody's. */
static void
store_rows(Tb *t, const ItemSums *x, Tile o)
{
  const Tile rows[OF_ROW] = {*x->sm->g, *x->sm->b, *x->sm->l};
  int n = x->rows;
  Idx own = x->item->own, there = partition_rows_there(x->part, &x->item->w);
  t_store_sums(t, v_until(part_of(t, x->parts->o, own, 0, n), there), o);
  for (int k = 0; k < OF_ROW; k++) {
    View v = part_of(t, x->parts->rows, own, k * n, n);
    t_store_rows(t, v_until(v, i_add(there, k * n)), rows[k]);
  }
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
  void (*store)(Tb *, const ItemSums *, Tile) =
      x->parts->combined ? store_rows : store_part;
  T_IF (t, i_lt(1, x->item->parts))
    store(t, x, o);
}

Idx
item_sums_last(Tb *t, const ItemSums *x)
{
  const Tensor *counters = t_region(t, x->parts->plan->come);
  View come = v_rows(counters, i_int(0), i_int(0), x->item->first, 1);
  return t_last(t, come, x->item->parts);
}

/* Its number among all; the rows' numbers are loaded. */
static Idx
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
  return i;
}

static void
begin_with(const Softmax *sm, const SoftmaxPart *rows)
{
  *sm->g = rows->g;
  *sm->b = rows->b;
  *sm->l = rows->l;
}

static void
add_parts(Tb *t, const ItemSums *x, Tile *o)
{
  SoftmaxPart rows;
  Softmax *sm = x->sm;
  T_IF (t, i_lt(1, x->item->parts)) {
    Idx first = part_rows(t, x, i_int(0), &rows);
    *o = t_load_part(t, part_of(t, x->parts->o, first, 0, 1), x->rows, x->cols);
    begin_with(sm, &rows);
  }
  Span others = {i_int(1), x->item->parts, i_int(1)};
  T_FOR (t, i, others) {
    Tile own, its;
    Idx nth = part_rows(t, x, i, &rows);
    softmax_add_part(t, sm, &rows, &own, &its);
    *o = t_add_part(t, part_of(t, x->parts->o, nth, 0, 1), *o, own, its);
  }
}

/* Rows for whose parts there was no room are NaN. */
void
item_sums_spoil(Tb *t, const ItemSums *x)
{
  T_RARE (t, i_not(x->item->has_room))
    *x->sm->l = t_rows(t, x->rows, NAN);
}

void
item_sums_add(Tb *t, const ItemSums *x, Tile *o)
{
  add_parts(t, x, o);
  item_sums_spoil(t, x);
}

/* ---- a launch that adds them up: a row a warp ---- */

enum { FEW_HEADS = 16 }; /* of a group: 16 rows are whole positions, else 32 */

int
item_parts_combined_rows(int pack)
{
  return pack <= FEW_HEADS ? FEW_HEADS : 2 * FEW_HEADS;
}

/* Rows of a block that a CTA adds up: those of whole positions. */
typedef struct Rows {
  const ItemParts *parts;
  const Partition *part;
  SplitItem item;
  Softmax *sm;
  int n;         /* a warp each */
  Idx q0, first; /* the first one's position, and which of the block's rows it is … */
  Idx there;     /* … of so many */
} Rows;

/* Parts that are on their way at once: registers for the columns of a lane. */
static int
parts_at_once(const Rows *x)
{
  return x->part->call->dv <= 256 ? 4 : 2;
}

/* Of block `nth` of the region's, from its row `from` on: those that are somebody's. */
static View
rows_of_part(Tb *t, const Rows *x, const WorkRegion *r, Idx nth, int from)
{
  const Tensor *region = t_region(t, r);
  Idx first = i_add(x->first, from);
  View v = v_rows(region, i_int(0), nth, first, x->n);
  return v_until(v, i_add(x->there, from));
}

typedef struct RowsPart {
  SoftmaxPart rows;
  Tile o;
} RowsPart;

static RowsPart
load_rows(Tb *t, const Rows *x, Idx part)
{
  RowsPart r;
  Tile *to[OF_ROW] = {&r.rows.g, &r.rows.b, &r.rows.l};
  int bm = x->part->bm;
  Idx heads = partition_heads_of_batch(x->part);
  Idx nth = i_add(x->item.first, i_mul(part, heads));
  for (int k = 0; k < OF_ROW; k++) {
    View v = rows_of_part(t, x, x->parts->rows, nth, k * bm);
    *to[k] = t_load_rows(t, v);
  }
  r.o = t_load(t, rows_of_part(t, x, x->parts->o, nth, 0));
  return r;
}

/* Parts i, i + 1, … as far as there are: all are loaded before the first is added, and
 * where there are fewer the last one again. */
static void
add_some(Tb *t, const Rows *x, Tile *o, Idx i)
{
  enum { MOST = 4 };
  RowsPart some[MOST];
  int n = parts_at_once(x);
  Idx last = i_sub(x->item.parts, 1);
  for (int k = 0; k < n; k++) {
    Idx part = i_add(i, k);
    some[k] = load_rows(t, x, i_min(part, last));
  }
  for (int k = 0; k < n; k++)
    T_IF (t, i_lt(i_add(i, k), x->item.parts)) {
      Tile own, its;
      softmax_add_part(t, x->sm, &some[k].rows, &own, &its);
      Tile more = t_mul(t, some[k].o, its);
      *o = t_fma(t, *o, own, more);
    }
}

static View
rows_out(const Rows *x, const Tensor *of)
{
  const WorkTile *w = &x->item.w;
  const Partition *p = x->part;
  Idx behind = i_add(w->q0, p->bm / p->pack), own = i_add(x->q0, x->n / p->pack);
  View v = seq_queries(&w->seq, of, w->h, x->q0, x->n);
  v = v_until(v, i_min(i_min(own, behind), w->seq.call->sq));
  return p->pack == 1 ? v : v_pack(v, p->pack);
}

static void
write_rows(Tb *t, const Rows *x, Tile o)
{
  const WorkTile *w = &x->item.w;
  const Call *p = w->seq.call;
  At at = {.q = x->q0, .b = w->b, .h = w->h, .hk = w->hk, .pack = x->part->pack};
  Tile lse, inv = fwd_end(t, p, x->sm, x->n, at, &lse);
  o = t_mul(t, o, inv);
  t_store(t, rows_out(x, p->o), o);
  if (p->lse)
    t_store_rows(t, rows_out(x, p->lse), lse);
}

static void
combine_rows(Tb *t, const Rows *x)
{
  RowsPart first = load_rows(t, x, i_int(0));
  Tile *o = t_var(t, first.o);
  begin_with(x->sm, &first.rows);
  Span others = {i_int(1), x->item.parts, i_int(parts_at_once(x))};
  T_FOR (t, i, others)
    add_some(t, x, o, i);
  write_rows(t, x, *o);
}

static void
combine(Tb *t, const Partition *part, const ItemParts *parts, int n)
{
  enum { RESIDENT = 2 }; /* CTAs of a multiprocessor that look for blocks */
  int each = n / part->pack, groups = (part->bm / part->pack + each - 1) / each;
  Rows x = {.parts = parts, .part = part, .n = n};
  Span all = splits_mine(t, part, parts->plan, &(SplitsGrid){RESIDENT, groups});
  Idx group = groups > 1 ? i_cta(t, 1) : i_int(0);
  x.first = i_mul(group, each * part->pack);
  T_FOR (t, i, all) {
    x.item = splits_item(t, part, parts->plan, i);
    Idx before = i_mul(group, each);
    x.q0 = i_add(x.item.w.q0, before);
    x.there = partition_rows_there(part, &x.item.w);
    Idx leads = i_lt(x.item.part, 1), several = i_lt(1, x.item.parts);
    several = i_and(leads, several);
    T_WORK (t, i_and(x.item.is, several)) {
      Softmax sm = softmax_new(t, n, !spec_score_is_plain(part->call->spec));
      x.sm = &sm;
      combine_rows(t, &x);
    }
  }
}

void
item_parts_combine(Build *b, const Partition *host, const ItemParts *parts)
{
  int n = item_parts_combined_rows(host->pack);
  T_ENTRY (b, t, "combine", .warps = n) {
    Partition part = *host;
    part.call = t_call(t);
    combine(t, &part, parts, n);
  }
}
