/* decode_mma: few rows, whose keys are read at the memory's speed.  The rows of a block are
 * positions and the heads of a group, up to 32 of them; mma.sync.
 *
 * The warps of a CTA stand side by side on the keys of a tile.  Each has its own 16 or 32
 * keys, which it copies, waits for and multiplies with by itself: in the loop over tiles no
 * warp waits for another one.  Each so has maxima, sums and an O of its own keys; what they
 * have is merged at the end, in the order of the warps (softmax_merge).  Through the memory
 * of the rings, which are empty then.
 *
 * Dao et al., "Flash-Decoding" (2023), has the parts of the keys in CTAs; here they are in
 * warps, as in FlashInfer's decode kernels (Ye et al., arXiv 2501.01005, section 3.2). */
#include "templates/cascade.h"
#include "templates/fwd.h"
#include "templates/item_parts.h"
#include "templates/sched_decode.h"
#include "templates/softmax.h"

static const SchedField options[] = {DECODE_OPTIONS(SCHED_ROW)};

/* ---- emit ---- */

typedef struct Cta {
  const Call *p; /* as the block's sequence sees it */
  const Sched *s;
  const Partition *part;
  int pack;   /* heads of a row's position, or 1 */
  WorkTile w; /* which block: batch, heads, first query */
  const ItemParts *parts;
  SplitItem item; /* which part of its keys, if there are parts */
  SplitItem next; /* … and which the one behind it, … */
  Idx more;       /* … if there is one */
  Walk kv;        /* the key tiles that it sees */
  Ring *k, *v;
  Smem qs;   /* Q in shared memory; O leaves through it */
  Smem room; /* what the warps merge O through */
  Opnd q;    /* qs, or registers */
  Softmax sm;
  Tile *acc;
} Cta;

static View
keys_of(const Cta *c, const Tensor *x, TileIter j)
{
  View v = seq_keys(&c->w.seq, x, c->w.hk, j.k0, c->s->bn);
  return j.in_bounds ? v_in_bounds(v) : v;
}

static View
rows_of(const Cta *c, const Tensor *x)
{
  return partition_rows(c->part, &c->w, x);
}

static At
place(const Cta *c, Idx k0)
{
  return (At){
      .q = c->w.q0, .k = k0, .b = c->w.b, .h = c->w.h, .hk = c->w.hk, .pack = c->pack};
}

static void
fetch_k(Tb *t, const Cta *c, TileIter j)
{
  t_producer_load(t, c->k, .src = keys_of(c, c->p->k, j), .when = &j.is);
}

static void
fetch_v(Tb *t, const Cta *c, TileIter j)
{
  t_producer_load(t, c->v, .src = w_seen(keys_of(c, c->p->v, j), j), .when = &j.is);
}

/* S = QKᵀ, online softmax, O += PV, of each warp's keys of a tile: as in fwd_mma, but that
 * no warp waits for another one. */
static void
step(Tb *t, Cta *c, TileIter j)
{
  int n = c->s->stages;
  Tile correction;

  Slot k = t_consumer_wait(t, c->k);
  fetch_v(t, c, w_ahead(&c->kv, j, n - 1));
  Tile x = t_dot(t, c->q, s_trans(k.s));
  t_consumer_release(t, k);
  Slot v = t_consumer_wait(t, c->v);
  fetch_k(t, c, w_ahead(&c->kv, j, n));
  x = fwd_scores(t, c->p, x, place(c, j.k0), j, NULL);
  Tile w = softmax_step(t, &c->sm, x, fwd_may_hide(c->p, j), &correction);
  Tile o = t_mul(t, *c->acc, correction);
  w = t_cvt(t, w, c->p->dt);
  if (decode_shares_rows(c->s))
    w = t_allgather_cols(t, w);
  *c->acc = t_dot_acc(t, o, w, v.s);
  t_consumer_release(t, v);
}

/* Q, and the first tiles: K(0), V(0), K(1), V(1), … as far as there are stages. */
static void
start(Tb *t, Cta *c)
{
  TileIter j = w_first(&c->kv);
  Smem q = s_cols(c->qs, c->p->d);
  t_copy(t, c->qs, rows_of(c, c->p->q));
  fetch_k(t, c, j);
  for (int i = 1; i < c->s->stages; i++) {
    fetch_v(t, c, w_ahead(&c->kv, j, i - 1));
    fetch_k(t, c, w_ahead(&c->kv, j, i));
  }
  t_copy_wait(t);
  c->q = OP(q);
  if (decode_of(c->s)->q_in_regs) {
    Tile x = t_get(t, q);
    c->q = OP(x);
  }
}

/* The sum over all warps' keys, of which each warp then has a part of the columns. */
static Tile
merge(Tb *t, Cta *c)
{
  if (decode_shares_rows(c->s)) { /* as it has by then */
    *c->sm.l = t_row_allreduce(t, *c->sm.l);
    return *c->acc;
  }
  Tile by = softmax_merge(t, &c->sm, c->s->warps);
  Tile o = t_mul(t, *c->acc, by);
  return t_merge_cols(t, o, c->room);
}

/* ---- the end of a block ---- */

static void
write_out(Tb *t, Cta *c, Tile o)
{
  Tile lse, inv = fwd_end(t, c->p, &c->sm, c->s->bm, place(c, i_int(0)), &lse);
  o = t_mul(t, o, inv);
  if (!fwd_state_out(t, c->p, rows_of(c, c->p->o), o)) {
    o = t_cvt(t, o, c->p->dt);
    t_put(t, c->qs, o);
    t_copy_out(t, rows_of(c, c->p->o), c->qs);
  }
  if (c->p->lse)
    t_store_rows(t, rows_of(c, c->p->lse), lse);
}

static void
finish(Tb *t, Cta *c)
{
  Tile o = merge(t, c);
  ItemSums mine = {c->parts, c->part, &c->item, &c->sm, c->s->bm, c->p->dv};
  if (!c->parts->plan) {
    write_out(t, c, o);
    return;
  }
  item_sums_store(t, &mine, o);
  if (c->parts->combined) {
    T_WORK (t, i_lt(c->item.parts, 2)) {
      item_sums_spoil(t, &mine);
      write_out(t, c, o);
    }
    return;
  }
  Idx last = item_sums_last(t, &mine);
  T_WORK (t, i_lt(0, last)) {
    Tile *all = t_var(t, o);
    item_sums_add(t, &mine, all);
    write_out(t, c, *all);
  }
}

/* What was fetched behind the last tile is nothing, and counts. */
static void
drain(Tb *t, const Cta *c)
{
  for (int i = 0; i < c->s->stages; i++) {
    Slot k = t_consumer_wait(t, c->k);
    t_consumer_release(t, k);
    if (i + 1 == c->s->stages)
      break;
    Slot v = t_consumer_wait(t, c->v);
    t_consumer_release(t, v);
  }
}

/* The first tiles of the item behind this one, as many as the rings have stages, are on
 * their way from memory while this one's sums meet: into the L2 cache, since the warps add
 * up through the rings. */
static void
run_ahead(Tb *t, const Cta *c)
{
  const WorkTile *w = &c->next.w;
  Walk all = partition_keys(t, c->part, w), kv = splits_walk(&c->next, &all);
  TileIter first = w_first(&kv);
  for (int i = 0; i < c->s->stages; i++) {
    TileIter j = i ? w_ahead(&kv, first, i) : first;
    Idx is = i_and(c->more, j.is), k0 = i_max(0, j.k0); /* a page that there is */
    const Tensor *of[] = {c->p->k, c->p->v};
    for (int x = 0; x < 2; x++)
      t_prefetch(t, seq_keys(&w->seq, of[x], w->hk, k0, c->s->bn), is);
  }
}

static void
block(Tb *t, Cta *c)
{
  c->p = c->w.seq.call;
  c->kv = t_walk(t, &c->kv, c->s->stages);
  start(t, c);
  c->sm = softmax_new(t, c->s->bm, !spec_score_is_plain(c->p->spec));
  Tile zero = t_zero(t, c->s->bm, c->p->dv);
  c->acc = t_var(t, zero);
  T_FOR_TILES (t, j, &c->kv)
    step(t, c, j);
  if (c->parts->plan) {
    drain(t, c);
    if (!c->kv.test)
      run_ahead(t, c);
  }
  finish(t, c);
}

static void
memory(Tb *t, Cta *c, const Spec *p)
{
  SmemLayout l = decode_layout(p, c->s);
  c->qs = layout_smem(t, &l, PART_Q);
  t_exchange(t, layout_smem(t, &l, PART_EXCHANGE));
  c->k = layout_ring(t, &l, PART_K);
  c->v = layout_ring(t, &l, PART_V);
  if (decode_shares_rows(c->s))
    return;
  RingArgs room = decode_merge_room(p, c->s);
  c->room = t_smem_over(t, c->k, "sums", room.ty, room.rows, room.cols);
}

/* A CTA has one block. */
static void
decode(Tb *t, const Call *p, const Sched *s, const ItemParts *none)
{
  Partition part = decode_partition(p, p->spec, s);
  Cta c = {.s = s, .part = &part, .pack = part.pack, .parts = none};
  c.w = partition_alone(t, &part);
  memory(t, &c, p->spec);
  T_WORK (t, c.w.is) {
    c.kv = partition_keys(t, &part, &c.w);
    block(t, &c);
  }
}

/* Parts of blocks, one after the other. */
static void
decode_items(Tb *t, const Call *p, const Sched *s, const ItemParts *parts)
{
  Partition part = decode_partition(p, p->spec, s);
  Cta c = {.s = s, .part = &part, .pack = part.pack, .parts = parts};
  memory(t, &c, p->spec);
  SplitsGrid grid = {decode_resident(p->spec, t_target(t), s), 1};
  Span mine = splits_mine(t, &part, parts->plan, &grid);
  int told = decode_told(p->spec, t_target(t), s);
  if (told)
    t_resident(t, told);
  T_FOR (t, i, mine) {
    t_sync(t); /* what the one before left in shared memory has been read */
    c.item = splits_item(t, &part, parts->plan, i);
    c.w = c.item.w;
    Idx behind = i_add(i, mine.step);
    c.next = splits_item(t, &part, parts->plan, i_min(behind, i_sub(mine.hi, 1)));
    c.more = i_and(i_lt(behind, mine.hi), c.next.is);
    T_WORK (t, c.item.is) {
      Walk all = partition_keys(t, &part, &c.w);
      c.kv = splits_walk(&c.item, &all);
      block(t, &c);
    }
  }
}

static void
attend(Build *b, const Call *call, const Sched *s, Ahead *ahead)
{
  int shared = decode_of(s)->warps_n, own = shared > 1 ? 0 : s->warps;
  ItemParts parts = {.plan = NULL};
  if (!decode_of(s)->split_keys) {
    attend_ahead(b, call, ahead);
    T_ENTRY (b, t, NULL, .warps = s->warps, .warps_k = own, .warps_n = shared)
      decode(t, t_call(t), s, &parts);
    return;
  }
  Partition host = decode_partition(call, call->spec, s);
  parts = item_parts_entry(b, &host,
                           &(ItemPartsArgs){.keys = decode_of(s)->split_keys,
                                            .warps = shared > 1 ? shared : s->warps,
                                            .combined = decode_of(s)->combine});
  attend_ahead(b, call, ahead);
  T_ENTRY (b, t, "decode", .warps = s->warps, .warps_k = own, .warps_n = shared)
    decode_items(t, t_call(t), s, &parts);
  if (parts.combined)
    item_parts_combine(b, &host, &parts);
}

static void
print(const Sched *s, Str *out)
{
  str_printf(out, "decode_mma %dx%d, %d warps on keys, %d stage%s, Q in %s", s->bm, s->bn,
             s->warps, s->stages, s->stages == 1 ? "" : "s",
             decode_of(s)->q_in_regs ? "registers" : "shared memory");
  if (decode_shares_rows(s))
    str_put(out, ", warps share rows");
  if (decode_of(s)->pack_gqa)
    str_printf(out, ", packed heads");
  if (decode_of(s)->split_keys)
    str_printf(out, ", items of %d keys%s", decode_of(s)->split_keys,
               decode_of(s)->combine ? ", added up by a step" : "");
}

const Template decode_mma = {
    .name = "decode_mma",
    .what = "few rows, whose keys warps share out: sm_75 and up",
    .revision = 3,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .applicable = decode_applicable,
    .meant = decode_meant,
    .axes = decode_axes,
    .plain = decode_plain,
    .refuse = decode_refuse,
    .cost = decode_cost,
    .initial = decode_initial,
    .emit = cascade_emit,
    .attend = attend,
    .print = print,
    .codegen_level = 2,
};
