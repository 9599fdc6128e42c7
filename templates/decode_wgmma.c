/* decode_wgmma: up to 64 rows, positions and the heads of a group, whose keys are read at
 * the memory's speed: what mma.sync does of more than 16 rows takes longer than the memory.
 *
 * A warpgroup multiplies by wgmma, one tile of keys after the other: S, weights, PV, each
 * waited for.  What it leaves idle the other CTA of the multiprocessor fills.  One warp
 * feeds it by TMA, through stages enough for the memory's latency; it does not wait for the
 * end of an item, and has the next one's keys on their way while this one's rows leave.
 *
 * Q comes by cp.async and O leaves through the same rows: heads of a group of any size.
 * Parts of a row's keys are dealt out as in decode_mma.c (splits.h, item_parts.h). */
#include "templates/cascade.h"
#include "templates/fwd.h"
#include "templates/item_parts.h"
#include "templates/sched_decode_wgmma.h"
#include "templates/softmax.h"

typedef struct Cta {
  const Call *p;
  const Sched *s;
  const Partition *part;
  const ItemParts *parts;
  const WorkTile *only; /* the one block of the CTA; NULL: it has items, … */
  Span mine;            /* … of these numbers */
  Ring *k, *v;
  Smem qs; /* Q in shared memory; O leaves through it */
} Cta;

/* A block of rows, and which of its keys. */
typedef struct Block {
  WorkTile w;
  SplitItem item;
  Walk kv;
} Block;

static View
rows_of(const Cta *c, const Block *b, const Tensor *x)
{
  return partition_rows(c->part, &b->w, x);
}

static At
place(const Cta *c, const Block *b, Idx k0)
{
  return (At){.q = b->w.q0,
              .k = k0,
              .b = b->w.b,
              .h = b->w.h,
              .hk = b->w.hk,
              .pack = c->part->pack};
}

/* ---- the warp that loads ---- */

static View
keys_of(const Cta *c, const Block *b, const Tensor *x, TileIter j)
{
  return seq_keys_by_tma(&b->w.seq, x, b->w.hk, j.k0, c->s->bn);
}

/* Ids of the pages of a tile of K, and of V where they are not the same: those of the next
 * tile come while this one's stages are waited for. */
typedef struct Ids {
  Tile *k, *v; /* NULL: no pages; no table of its own */
} Ids;

static Tile
page_ids(Tb *t, const Cta *c, const Block *b, const Tensor *x, TileIter j)
{
  return t_page_ids(t, keys_of(c, b, x, j), j.is);
}

static Ids
first_ids(Tb *t, const Cta *c, const Block *b, TileIter j)
{
  Ids ids = {.k = NULL};
  if (!seq_has_pages(c->p))
    return ids;
  Tile of_k = page_ids(t, c, b, c->p->k, j);
  ids.k = t_var(t, of_k);
  if (seq_shares_pages(c->p))
    return ids;
  Tile of_v = page_ids(t, c, b, c->p->v, j);
  ids.v = t_var(t, of_v);
  return ids;
}

static void
next_ids(Tb *t, const Cta *c, const Block *b, const Ids *ids, TileIter j)
{
  if (ids->k)
    *ids->k = page_ids(t, c, b, c->p->k, j);
  if (ids->v)
    *ids->v = page_ids(t, c, b, c->p->v, j);
}

/* Where the mask leaves tiles out, K's stage says which one it is. */
static void
load(Tb *t, const Cta *c, const Block *b)
{
  Walk kv = t_walk(t, &b->kv, 1);
  Ids ids = first_ids(t, c, b, w_first(&kv));
  T_FOR_TILES (t, j, &kv) {
    Tile of_k = ids.k ? *ids.k : NULL, of_v = ids.v ? *ids.v : of_k;
    next_ids(t, c, b, &ids, w_ahead(&kv, j, 1));
    Idx word = kv.test ? w_word(&kv, j) : i_int(0);
    View k = keys_of(c, b, c->p->k, j), v = w_seen(keys_of(c, b, c->p->v, j), j);
    t_producer_load(t, c->k, .src = v_page_ids(k, of_k), .word = kv.test ? &word : NULL);
    t_producer_load(t, c->v, .src = v_page_ids(v, of_v));
  }
}

/* ---- the warpgroup that computes ---- */

typedef struct Sums { /* of one block */
  Smem q;
  Softmax sm;
  Tile *acc;
} Sums;

/* What threads have copied the products read. */
static void
load_rows(Tb *t, const Cta *c, const Block *b)
{
  t_copy(t, c->qs, rows_of(c, b, c->p->q));
  t_copy_wait(t);
  t_fence_async(t);
  t_sync(t);
}

static Sums
begin(Tb *t, const Cta *c)
{
  Sums my = {.q = s_cols(c->qs, c->p->d)};
  my.sm = softmax_new(t, wgmma_rows(), !spec_score_is_plain(c->p->spec));
  Tile zero = t_zero(t, wgmma_rows(), c->p->dv);
  my.acc = t_var(t, zero);
  return my;
}

/* S = QKᵀ, online softmax, O += PV. */
static void
step(Tb *t, const Cta *c, const Block *b, Sums *my, Walk *kv, TileIter j)
{
  const Call *own = b->w.seq.call;
  Tile correction;
  Slot k = t_consumer_wait(t, c->k);
  j = t_told(t, kv, k, j);
  Tile x = t_dot(t, my->q, s_trans(k.s));
  x = t_wait(t, x);
  t_consumer_release(t, k);
  x = fwd_scores(t, own, x, place(c, b, j.k0), j, NULL);
  Tile w = softmax_step(t, &my->sm, x, fwd_may_hide(own, j), &correction);
  *my->acc = t_mul(t, *my->acc, correction);
  w = t_cvt(t, w, c->p->dt);
  Slot v = t_consumer_wait(t, c->v);
  *my->acc = t_dot_acc(t, *my->acc, w, v.s);
  *my->acc = t_wait(t, *my->acc);
  t_consumer_release(t, v);
}

static void
write_out(Tb *t, const Cta *c, const Block *b, Sums *my, Tile o)
{
  const Call *own = b->w.seq.call;
  Tile lse, inv = fwd_end(t, own, &my->sm, wgmma_rows(), place(c, b, i_int(0)), &lse);
  o = t_mul(t, o, inv);
  if (!fwd_state_out(t, c->p, rows_of(c, b, c->p->o), o)) {
    o = t_cvt(t, o, c->p->dt);
    t_put(t, c->qs, o);
    t_copy_out(t, rows_of(c, b, c->p->o), c->qs);
  }
  if (c->p->lse)
    t_store_rows(t, rows_of(c, b, c->p->lse), lse);
}

static void
finish(Tb *t, const Cta *c, const Block *b, Sums *my)
{
  ItemSums sums = {c->parts, c->part, &b->item, &my->sm, wgmma_rows(), c->p->dv};
  if (!c->parts->plan) {
    write_out(t, c, b, my, *my->acc);
    return;
  }
  softmax_reduce(t, &my->sm);
  item_sums_store(t, &sums, *my->acc);
  if (c->parts->combined) {
    T_WORK (t, i_lt(b->item.parts, 2)) {
      item_sums_spoil(t, &sums);
      write_out(t, c, b, my, *my->acc);
    }
    return;
  }
  Idx last = item_sums_last(t, &sums);
  T_WORK (t, i_lt(0, last)) {
    t_sync(t); /* what t_last said has been read: it stands where O leaves */
    item_sums_add(t, &sums, my->acc);
    write_out(t, c, b, my, *my->acc);
  }
}

static void
compute(Tb *t, const Cta *c, const Block *b)
{
  Walk kv = w_told(&b->kv);
  load_rows(t, c, b);
  Sums my = begin(t, c);
  T_FOR_TILES (t, j, &kv)
    step(t, c, b, &my, &kv, j);
  finish(t, c, b, &my);
}

/* ---- the kernel ---- */

static Block
block_of(Tb *t, const Cta *c, const WorkTile *w)
{
  Block b = {.w = *w};
  b.kv = partition_keys(t, c->part, &b.w);
  return b;
}

static Block
item_of(Tb *t, const Cta *c, const SplitItem *item)
{
  Block b = block_of(t, c, &item->w);
  b.item = *item;
  b.kv = splits_walk(&b.item, &b.kv);
  return b;
}

static void
load_all(Tb *t, const Cta *c)
{
  if (c->only) {
    Block b = block_of(t, c, c->only);
    load(t, c, &b);
    return;
  }
  T_FOR (t, i, c->mine) {
    SplitItem item = splits_item(t, c->part, c->parts->plan, i);
    T_WORK (t, item.is) {
      Block b = item_of(t, c, &item);
      load(t, c, &b);
    }
  }
}

static void
compute_all(Tb *t, const Cta *c)
{
  if (c->only) {
    Block b = block_of(t, c, c->only);
    compute(t, c, &b);
    return;
  }
  T_FOR (t, i, c->mine) {
    t_sync(t); /* O of the item before has left */
    SplitItem item = splits_item(t, c->part, c->parts->plan, i);
    T_WORK (t, item.is) {
      Block b = item_of(t, c, &item);
      compute(t, c, &b);
    }
  }
}

static void
roles(Tb *t, const Cta *c)
{
  T_ROLE (t, .name = "mma", .teams = 1, .warps = wgmma_warps())
    compute_all(t, c);
  bool pages = seq_has_pages(c->p);
  T_ROLE (t, .name = "load", .teams = 1, .warps = 1) {
    if (pages)
      T_WHOLE_WARP(t, 0)
    load_all(t, c);
    else T_WARP (t, 0) load_all(t, c);
  }
}

static void
memory(Tb *t, Cta *c, const Spec *p)
{
  SmemLayout l = decode_wgmma_layout(p, c->s);
  c->qs = layout_smem(t, &l, PART_Q);
  c->k = layout_ring(t, &l, PART_K);
  c->v = layout_ring(t, &l, PART_V);
}

/* A CTA has one block. */
static void
decode(Tb *t, const Call *p, const Sched *s, const ItemParts *none)
{
  Partition part = decode_wgmma_partition(p, p->spec, s);
  Cta c = {.p = p, .s = s, .part = &part, .parts = none};
  WorkTile w = partition_alone(t, &part), only = w;
  memory(t, &c, p->spec);
  only.is = i_int(1);
  c.only = &only;
  T_WORK (t, w.is)
    roles(t, &c);
}

/* Parts of blocks, one after the other. */
static void
decode_items(Tb *t, const Call *p, const Sched *s, const ItemParts *parts)
{
  Partition part = decode_wgmma_partition(p, p->spec, s);
  Cta c = {.p = p, .s = s, .part = &part, .parts = parts};
  memory(t, &c, p->spec);
  t_exchange(t, c.qs); /* what t_last says, when nobody reads Q any more */
  SplitsGrid grid = {decode_wgmma_resident(p->spec, t_target(t), s), 1};
  c.mine = splits_mine(t, &part, parts->plan, &grid);
  roles(t, &c);
}

static void
say_resident(Tb *t, const Call *call, const Sched *s)
{
  t_resident(t, decode_wgmma_resident(call->spec, t_target(t), s));
}

static void
attend(Build *b, const Call *call, const Sched *s, Ahead *ahead)
{
  ItemParts parts = {.plan = NULL};
  int keys = decode_wgmma_of(s)->split_keys;
  if (!keys) {
    attend_ahead(b, call, ahead);
    T_ENTRY (b, t, NULL, .warps = s->warps) {
      say_resident(t, call, s);
      decode(t, t_call(t), s, &parts);
    }
    return;
  }
  Partition host = decode_wgmma_partition(call, call->spec, s);
  parts = item_parts_entry(b, &host,
                           &(ItemPartsArgs){
                               .keys = keys,
                               .warps = 1,
                               .combined = decode_wgmma_of(s)->combine,
                           });
  attend_ahead(b, call, ahead);
  T_ENTRY (b, t, "decode", .warps = s->warps) {
    say_resident(t, call, s);
    decode_items(t, t_call(t), s, &parts);
  }
  if (parts.combined)
    item_parts_combine(b, &host, &parts);
}

static void
print(const Sched *s, Str *out)
{
  str_printf(out, "decode_wgmma %dx%d, %d stage%s", s->bm, s->bn, s->stages,
             s->stages == 1 ? "" : "s");
  if (decode_wgmma_of(s)->pack_gqa)
    str_printf(out, ", packed heads");
  if (decode_wgmma_of(s)->split_keys)
    str_printf(out, ", items of %d keys%s", decode_wgmma_of(s)->split_keys,
               decode_wgmma_of(s)->combine ? ", added up by a step" : "");
}

static const SchedField options[] = {DECODE_ITEM_OPTIONS(SCHED_ROW)};

const Template decode_wgmma = {
    .name = "decode_wgmma",
    .what = "up to 64 rows on wgmma and TMA: sm_90a",
    .revision = 2,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .applicable = decode_wgmma_applicable,
    .meant = decode_wgmma_meant,
    .axes = decode_wgmma_axes,
    .plain = decode_wgmma_plain,
    .refuse = decode_wgmma_refuse,
    .cost = decode_wgmma_cost,
    .alike = 0.05, /* how full last tiles are is the lengths' chance */
    .initial = decode_wgmma_initial,
    .emit = cascade_emit,
    .attend = attend,
    .print = print,
    .codegen_level = 2,
};
