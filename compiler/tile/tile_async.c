/* The words that move data and order teams: rings, copies, barriers, turns. */
#include "compiler/tile/tile_prog.h"

/* What was released before may be filled again: by the warp alone where rings are its own.
 */
static void
stages_free(Tb *t)
{
  for (int i = 0; i < t->prog->rings.n; i++)
    t->prog->rings.at[i]->barrier_released = t->prog->rings.at[i]->released;
}

void
tile_barrier_passed(Tb *t)
{
  for (int i = 0; i < EXCHANGE_PARTS; i++)
    t->exchanged[i] = false;
  stages_free(t);
}

/* Drops the groups up to index `last`, which have arrived and are visible: to the block, or
 * to the warp that copied them. */
static void
arrived(Tb *t, int last, bool block)
{
  for (int i = 0; i <= last; i++)
    if (t->groups.at[i].dest && block)
      t->groups.at[i].dest->ready = true;
    else if (t->groups.at[i].dest)
      t_fail(t, "consumer_wait: %s was copied before, and is not waited for",
             t->groups.at[i].dest->name);
  for (int i = last + 1; i < t->groups.n; i++)
    t->groups.at[i - last - 1] = t->groups.at[i];
  t->groups.n -= last + 1;
  if (block)
    tile_barrier_passed(t);
  else
    stages_free(t);
}

static void
fits(Tb *t, const SmemDecl *d, int rows, View v)
{
  if (v.n != rows || v.x->cols > d->cols || v.x->ty != d->ty)
    t_fail(t, "%s: %d rows of %s do not fit", d->name, v.n, v.x->name);
  if (smem_is_column(d) && (v.pages || v.pack > 1))
    t_fail(t, "%s: a column is copied from rows in a series", d->name);
}

/* A column comes by all threads of a block, or by the lanes of a warp. */
static void
fits_ring(Tb *t, const Ring *r, View v)
{
  bool column = smem_is_column(&r->mem), lanes = r->fill == FILL_LANES;
  fits(t, &r->mem, r->mem.rows, v);
  if (lanes && (!column || v.x->ty != DT_F32))
    t_fail(t, "%s: the lanes of a warp fill boxes of one column of fp32", r->mem.name);
  if (column && !lanes && (r->fill == FILL_TMA || t->prog->by_keys || tile_role(t)))
    t_fail(t, "%s: a column is copied by a block without roles, or by the lanes of a warp",
           r->mem.name);
}

/* A part of rows: rings alone are filled with it. */
static void
whole_rows(Tb *t, View v, const char *word)
{
  if (v.part || v.ragged)
    t_fail(t, "%s %s: of a part of its rows", word, v.x->name);
}

SmemDecl *
tile_decl(Tb *t, Smem s)
{
  return t->prog->smem.at[s.mem->id - 1];
}

/* Whose rows are in pages is for loads and rings. */
static void
no_pages(Tb *t, View v, const char *word)
{
  if (v.pages)
    t_fail(t, "%s %s: its rows are in pages", word, v.x->name);
}

/* Rows in pages come by boxes that all lanes of the warp know of. */
static void
by_boxes(Tb *t, View v, const char *word)
{
  if (!region_warp(t->here)->whole || !v.cut)
    t_fail(t, "%s %s: boxes in pages are a whole warp's, of rows that have an end", word,
           v.x->name);
}

Tile
t_page_ids(Tb *t, View v, Idx is)
{
  if (!v.pages || v.pages->n_axes != 2 || v.pages->ty != DT_I32)
    t_fail(t, "page_ids %s: no table lists its pages", v.x->name);
  if (!v.in_bounds && !v.cut)
    t_fail(t, "page_ids %s: its rows have no end", v.x->name);
  if (region_warp(t->here))
    by_boxes(t, v, "page_ids");
  Op *op = tile_op(t, OP_PAGE_IDS);
  op->view = v;
  op->when = is;
  op->out = tile_val(t, v.n, 1, DT_I32, region_warp(t->here) ? LAY_BOX : LAY_COPY_ROW);
  return op->out;
}

void
t_prefetch(Tb *t, View v, Idx is)
{
  if (tile_role(t) || v.pack > 1 || v.part)
    t_fail(t, "prefetch %s: whole rows, by a block without roles", v.x->name);
  Op *op = tile_op(t, OP_PREFETCH);
  op->view = v;
  op->when = is;
}

/* ---- rings ---- */

static void
push_by_copy(Tb *t, Ring *r, Op *op, const ProducerArgs *a)
{
  if (r->produced - r->barrier_released >= r->mem.stages)
    t_fail(t, "producer_load %s: no stage was released before the last barrier",
           r->mem.name);
  if (a->src.part && !t->prog->target->cp_async)
    whole_rows(t, a->src, "producer_load");
  op->when = a->when ? *a->when : i_int(1);
  op->in[0] = a->src.ids;
  op->ahead = r->produced - r->consumed;
  r->produced++;
  vec_push(t->arena, &t->groups)->ring = r;
}

static void
one_lane(Tb *t, const Ring *r, const char *word)
{
  if (t->here->kind != OP_WARP && !(t->here->parent && tile_in(t, OP_WARP)))
    t_fail(t, "%s %s: TMA is one lane's work", word, r->mem.name);
}

/* One lane produces and other roles consume: the barriers of the stages count, not this. */
static void
push_by_tma(Tb *t, const Ring *r, Op *op, const ProducerArgs *a)
{
  one_lane(t, r, "producer_load");
  if (a->src.ragged || (a->src.part && (a->src.cut || a->src.pack > 1)))
    t_fail(t, "producer_load %s: the map of %s ends with the tensor", r->mem.name,
           a->src.x->name);
  if (a->src.pages)
    by_boxes(t, a->src, "producer_load by TMA");
  if (a->src.pages && r->cluster > 1)
    t_fail(t, "producer_load %s: a cluster shares no boxes in pages", r->mem.name);
  op->in[0] = a->src.ids;
  if (a->when)
    t_fail(t, "producer_load %s: TMA has no condition", r->mem.name);
  op->when = i_int(1);
  op->hint = a->hint;
  if (a->word)
    op->word = *a->word;
  if (a->src.x)
    tile_map(t, &a->src, r->mem.rows / (r->cluster ? r->cluster : 1));
}

static void
push_by_lanes(Tb *t, const Ring *r, Op *op, const ProducerArgs *a)
{
  const Region *warp = region_warp(t->here);
  if (!warp || !warp->whole)
    t_fail(t, "producer_load %s: a column is a whole warp's work", r->mem.name);
  if (a->when || a->hint || a->src.part)
    t_fail(t, "producer_load %s: a column has no condition, hint or part", r->mem.name);
  op->when = i_int(1);
}

static void
still_open(Tb *t, const Ring *r)
{
  if (r->closed)
    t_fail(t, "ring %s: a block of work has left stages filled", r->mem.name);
}

void
t_producer_load_(Tb *t, Ring *r, const ProducerArgs *a)
{
  still_open(t, r);
  if (r->word != (a->word != NULL))
    t_fail(t, "producer_load %s: %s", r->mem.name,
           r->word ? "a stage without its word" : "the ring has no words");
  if (a->src.x || !r->word)
    fits_ring(t, r, a->src);
  Op *op = tile_op(t, OP_PRODUCER_LOAD);
  op->ring = r;
  op->view = a->src;
  if (r->fill == FILL_TMA)
    push_by_tma(t, r, op, a);
  else if (r->fill == FILL_LANES)
    push_by_lanes(t, r, op, a);
  else
    push_by_copy(t, r, op, a);
}

void
t_producer_lend(Tb *t, Ring *r)
{
  if (r->fill != FILL_TMA)
    t_fail(t, "producer_lend %s: only stages that mbarriers guard are lent", r->mem.name);
  one_lane(t, r, "producer_lend");
  tile_op(t, OP_PRODUCER_LEND)->ring = r;
}

static void
take_copied(Tb *t, Ring *r, Op *op)
{
  int at = 0, flying = 0;
  if (r->produced == r->consumed)
    t_fail(t, "consumer_wait %s: nothing was loaded", r->mem.name);
  for (int i = 0; i < t->groups.n; i++)
    flying += t->groups.at[i].ring == r;
  if (flying < r->produced - r->consumed)
    return; /* the oldest came with a younger copy that was waited for */
  while (at < t->groups.n && t->groups.at[at].ring != r)
    at++;
  op->pending = at < t->groups.n ? t->groups.n - 1 - at : -1;
  if (op->pending >= 0)
    arrived(t, at, !t->prog->by_keys);
}

static Op *
take_word(Tb *t, Ring *r, OpKind kind)
{
  still_open(t, r);
  Op *op = tile_op(t, kind);
  op->ring = r;
  op->wait_id = ++t->prog->n_waits;
  op->pending = -1;
  return op;
}

static Slot
slot_of(const Op *op)
{
  Ring *r = op->ring;
  Smem s = {
      .mem = &r->mem, .rows = r->mem.rows, .cols = r->mem.cols, .wait_id = op->wait_id};
  return (Slot){.s = s, .ring = r, .wait_id = op->wait_id};
}

Slot
t_consumer_wait(Tb *t, Ring *r)
{
  Op *op = take_word(t, r, OP_CONSUMER_WAIT);
  if (r->fill == FILL_COPY)
    take_copied(t, r, op);
  r->consumed++;
  return slot_of(op);
}

Slot
t_consumer_peek(Tb *t, Ring *r)
{
  if (r->fill != FILL_TMA)
    t_fail(t, "consumer_peek %s: only what TMA fills can be looked at twice", r->mem.name);
  return slot_of(take_word(t, r, OP_CONSUMER_PEEK));
}

Idx
t_stage_word(Tb *t, Slot slot)
{
  if (!slot.ring->word)
    t_fail(t, "stage_word %s: the ring has no words", slot.ring->mem.name);
  Op *op = tile_op(t, OP_STAGE_WORD);
  op->ring = slot.ring;
  op->wait_id = slot.wait_id;
  op->found = tile_found(t, true);
  return op->found;
}

Slot
t_consumer_either(Tb *t, Idx is_second, Slot first, Slot second)
{
  if (first.ring != second.ring || first.ring->fill != FILL_TMA)
    t_fail(t, "consumer_either %s: two stages of one ring that TMA fills",
           first.ring->mem.name);
  Op *op = take_word(t, first.ring, OP_CONSUMER_EITHER);
  op->of[0] = first.wait_id;
  op->of[1] = second.wait_id;
  op->when = is_second;
  return slot_of(op);
}

void
t_consumer_release(Tb *t, Slot slot)
{
  Op *op = tile_op(t, OP_CONSUMER_RELEASE);
  op->ring = slot.ring;
  op->wait_id = slot.wait_id;
  if (slot.ring->released == slot.ring->consumed)
    t_fail(t, "consumer_release %s: nothing is held", slot.ring->mem.name);
  for (int i = 0; i < t->in_flight.n; i++)
    if (t->in_flight.at[i].wait_id[0] == slot.wait_id ||
        t->in_flight.at[i].wait_id[1] == slot.wait_id)
      t_fail(t, "consumer_release %s: product %%%d is still reading it",
             slot.ring->mem.name, t->in_flight.at[i].x->id);
  op->fence = slot.ring->mem.touched || slot.ring->word;
  slot.ring->mem.touched = false;
  slot.ring->released++;
}

/* ---- copies that are in no ring ---- */

void
t_copy(Tb *t, Smem s, View v)
{
  SmemDecl *d = tile_decl(t, s);
  fits(t, d, d->rows, v);
  whole_rows(t, v, "copy");
  no_pages(t, v, "copy");
  Op *op = tile_op(t, OP_COPY);
  op->smem = s;
  op->view = v;
  d->copied = true;
  vec_push(t->arena, &t->groups)->dest = d;
}

void
t_copy_wait(Tb *t)
{
  int last = -1;
  for (int i = 0; i < t->groups.n; i++)
    if (!t->groups.at[i].ring)
      last = i;
  if (last < 0)
    t_fail(t, "copy_wait: no copy is on its way");
  Op *op = tile_op(t, OP_COPY_WAIT);
  op->pending = t->groups.n - 1 - last;
  arrived(t, last, true);
}

void
t_copy_out(Tb *t, View v, Smem s)
{
  fits(t, s.mem, s.rows, v);
  whole_rows(t, v, "copy_out");
  no_pages(t, v, "copy_out");
  Op *op = tile_op(t, OP_COPY_OUT);
  tile_decl(t, s)->touched = true;
  op->smem = s;
  op->view = v;
  tile_barrier_passed(t);
}

void
t_send_out(Tb *t, View v, Smem s)
{
  fits(t, s.mem, s.rows, v);
  whole_rows(t, v, "send_out");
  no_pages(t, v, "send_out");
  if (!tile_role(t))
    t_fail(t, "send_out %s: only a team of a role sends", v.x->name);
  Op *op = tile_op(t, OP_SEND_OUT);
  op->smem = s;
  op->view = v;
  tile_map(t, &v, s.rows);
}

/* ---- barriers ---- */

static void
role_word(Tb *t, OpKind kind)
{
  if (!tile_role(t))
    t_fail(t, "%s: the kernel has no roles here", op_names[kind]);
  tile_op(t, kind);
}

void
t_out_wait(Tb *t)
{
  role_word(t, OP_OUT_WAIT);
}

void
t_grid_wait(Tb *t)
{
  t->prog->waits = true;
  tile_op(t, OP_GRID_WAIT);
}

void
t_grid_trigger(Tb *t)
{
  tile_op(t, OP_GRID_TRIGGER);
}

void
t_sync(Tb *t)
{
  if (t->prog->roles.n) {
    role_word(t, OP_SYNC);
    if (tile_role(t)->teams == 1)
      tile_barrier_passed(t); /* of all who exchange anything */
    return;
  }
  if ((t->here->kind == OP_IF && !t->here->work) ||
      (t->prog->by_keys && tile_in(t, OP_LOOP)))
    t_fail(t, "%s of the block, in a branch, or a loop over a warp's own tiles",
           op_names[OP_SYNC]);
  tile_op(t, OP_SYNC);
  tile_barrier_passed(t);
}

void
t_sync_role(Tb *t)
{
  role_word(t, OP_SYNC_ROLE);
}

void
t_fence_async(Tb *t)
{
  role_word(t, OP_FENCE_ASYNC);
}

int
tile_bars(Tb *t, int n)
{
  int first = t->prog->bars;
  t->prog->bars += n;
  if (t->prog->bars > 16)
    t_fail(t, "%d named barriers, a block has 16", t->prog->bars);
  return first;
}

OrderBarrier *
t_order_barrier(Tb *t, int teams)
{
  OrderBarrier *order = NEW(t->arena, OrderBarrier);
  order->teams = teams;
  order->bar = teams > 1 ? tile_bars(t, teams) : 0;
  return order;
}

static void
order_word(Tb *t, OpKind kind, const OrderBarrier *order)
{
  const Role *r = tile_role(t);
  if (!order || order->teams == 1)
    return;
  if (!r || r->teams != order->teams)
    t_fail(t, "%s: %d teams take turns here", op_names[kind], order->teams);
  tile_op(t, kind)->order = order;
}

void
t_order_init(Tb *t, OrderBarrier *order)
{
  order_word(t, OP_ORDER_INIT, order);
}

void
t_order_wait(Tb *t, OrderBarrier *order)
{
  order_word(t, OP_ORDER_WAIT, order);
}

void
t_order_arrive(Tb *t, OrderBarrier *order)
{
  order_word(t, OP_ORDER_ARRIVE, order);
}
