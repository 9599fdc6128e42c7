/* fwd_wgmma: one warp feeds Q, K and V by TMA; warpgroups of 64 queries each compute.
 * Shah et al., FlashAttention-3 (2024): inside a warpgroup QKᵀ of the next tile runs beside
 * PV of this one, and the warpgroups take turns at the tensor cores. */
#include "templates/beside.h"
#include "templates/cascade.h"
#include "templates/sched_wgmma.h"
#include "templates/softmax.h"

typedef struct Cta {
  const Call *p;
  const Hopper *s;
  Partition part;
  const WorkTile *only; /* where this is the one block of the CTA; NULL: there are more */
  Ring *q, *k, *v;
  Beside beside;
  Smem pw; /* P on its way to the tensor cores, where registers cannot hold it */
  OrderBarrier *order;
} Cta;

typedef struct Consumer { /* what one warpgroup has of one block of work */
  WorkTile w;
  Idx q0; /* its first query */
  Slot slot;
  Smem q; /* its 64 rows of Q, which O takes in the end */
  Softmax sm;
  Tile *acc, *pw; /* O; the weights P of the tile before */
  Idx begun;      /* has O a value? */
  Tile drops;     /* NULL: no weight is dropped */
} Consumer;

static WorkTile
work_tile(Tb *t, const Cta *c, const TileScheduler *all, Idx i)
{
  return c->only ? *c->only : partition_work_tile(t, &c->part, all, i);
}

/* ---- the warp that loads ---- */

/* This warpgroup's rows of what all have. */
static Smem
team_rows(Tb *t, Smem s, int cols)
{
  Idx row = i_mul(i_team(t), wgmma_rows());
  return s_cols(s_rows(s, row, wgmma_rows()), cols);
}

/* A part of the block of work, which may be past the end as a whole unless blocks (of a
 * cluster) come out even. */
static View
rows(const Cta *c, const Tensor *x, const WorkTile *w, Idx row, int n)
{
  View v = seq_queries(&w->seq, x, w->h, row, n);
  if (!i_multiple(w->seq.call->sq, c->s->bm * c->s->cluster))
    v = v_predicated(v);
  return c->s->pack_gqa ? v_pack(v, c->part.pack) : v;
}

/* Behind the end of a sequence K has what it has: those scores are replaced. */
static View
keys(const Cta *c, const Tensor *x, const WorkTile *w, TileIter j)
{
  return seq_keys_by_tma(&w->seq, x, w->hk, j.k0, c->s->bn);
}

/* Is there a block of work that is nobody's? */
static bool
may_be_none(const WorkTile *w)
{
  int64_t k;
  return !i_known(w->is, &k);
}

/* Where the mask leaves tiles out, K's stage says which one it is.  ids: of rows in pages,
 * if they are known. */
static void
fetch_k(Tb *t, const Cta *c, const WorkTile *w, const Walk *kv, TileIter j, Tile ids)
{
  Idx word = kv->test ? w_word(kv, j) : i_int(0);
  View k = v_page_ids(keys(c, c->p->k, w, j), ids);
  t_producer_load(t, c->k, .src = k, .hint = HINT_KEEP, .word = kv->test ? &word : NULL);
}

/* The tile of the table.  Without keys its map, too, has one that nobody may see. */
static void
fetch_table(Tb *t, const Cta *c, const WorkTile *w, TileIter j)
{
  if (!c->beside.load)
    return;
  Idx col = i_max(j.k0, i_sub(1, c->p->sk));
  t_producer_load(t, c->beside.ring, .src = beside_view(&c->beside, w, col, c->s->bm));
}

static void
fetch_v(Tb *t, const Cta *c, const WorkTile *w, TileIter j, Tile ids)
{
  View v = v_page_ids(w_seen(keys(c, c->p->v, w, j), j), ids);
  t_producer_load(t, c->v, .src = v, .hint = HINT_KEEP);
}

/* Of rows in pages the ids of two tiles: whose K comes next, and whose V.  Those of K are
 * looked up a tile ahead; those of V are K's of the tile before, or V's own. */
typedef struct Ids {
  Tile *k, *v; /* NULL: no pages */
} Ids;

static Tile
page_ids(Tb *t, const Cta *c, const Tensor *x, const WorkTile *w, TileIter j)
{
  return t_page_ids(t, keys(c, x, w, j), j.is);
}

static Ids
first_ids(Tb *t, const Cta *c, const WorkTile *w, const Walk *kv, Tile *first)
{
  Ids ids = {.k = NULL};
  TileIter j = w_first(kv);
  *first = NULL;
  if (!seq_has_pages(c->p))
    return ids;
  *first = page_ids(t, c, c->p->k, w, j);
  Tile of_v = seq_shares_pages(c->p) ? *first : page_ids(t, c, c->p->v, w, j);
  ids.v = t_var(t, of_v);
  Tile second = page_ids(t, c, c->p->k, w, w_ahead(kv, j, 1));
  ids.k = t_var(t, second);
  return ids;
}

/* K(j), and V of the tile before. */
static void
load_tile(Tb *t, const Cta *c, const WorkTile *w, const Walk *ahead, TileIter j,
          TileIter before, const Ids *ids)
{
  Tile of_k = ids->k ? *ids->k : NULL, of_v = ids->v ? *ids->v : NULL;
  if (ids->k)
    *ids->k = page_ids(t, c, c->p->k, w, w_ahead(ahead, j, 1));
  fetch_k(t, c, w, ahead, j, of_k);
  fetch_table(t, c, w, j);
  fetch_v(t, c, w, before, of_v);
  if (ids->v)
    *ids->v = seq_shares_pages(c->p) ? of_k : page_ids(t, c, c->p->v, w, j);
}

/* What a block of work begins with.  Where tickets are drawn its number goes with Q. */
static void
load_first(Tb *t, const Cta *c, const TileScheduler *all, const WorkTile *w, Idx i,
           const Walk *kv, Tile ids)
{
  fetch_k(t, c, w, kv, w_first(kv), ids);
  View q = v_uncut(rows(c, c->p->q, w, w->q0, c->s->bm));
  t_producer_load(t, c->q, .src = q, .hint = HINT_ONCE, .word = all->draws ? &i : NULL);
}

/* What a block of work begins with where it is begun in the one before. */
static void
load_next(Tb *t, const Cta *c, const TileScheduler *all, Idx i)
{
  WorkTile w = work_tile(t, c, all, i);
  Walk kv = partition_keys(t, &c->part, &w);
  load_first(t, c, all, &w, i, &kv, NULL);
}

/* Stages of V through which O leaves. */
static void
lend(Tb *t, const Cta *c)
{
  for (int i = 0; i < wgmma_o_stages(c->s); i++)
    t_producer_lend(t, c->v);
}

/* K and the table run one tile ahead of V, as those who compute take them. */
static void
load_tiles(Tb *t, const Cta *c, const TileScheduler *all, const WorkTile *w, Idx i)
{
  Walk keys = partition_keys(t, &c->part, w);
  Walk kv = t_walk(t, &keys, 2), rest = w_rest(&kv);
  Walk ahead = kv.test ? rest : w_plain(&rest);
  Tile of_first;
  Ids ids = first_ids(t, c, w, &kv, &of_first);
  if (!c->s->cross_tile)
    load_first(t, c, all, w, i, &kv, of_first);
  fetch_table(t, c, w, w_first(&kv));
  if (c->s->o_in_v) /* that of the block before; behind what this one begins with */
    T_IF (t, i_lt(all->span.lo, i))
      lend(t, c);
  T_FOR_TILES (t, j, &ahead)
    load_tile(t, c, w, &ahead, j, w_ahead(&kv, j, -1), &ids);
  if (c->s->cross_tile)
    load_next(t, c, all, partition_next_tile(all, i));
  if (!may_be_none(w))
    partition_draw(t, &c->part, all); /* late, or this CTA would hold others' work */
  fetch_v(t, c, w, w_last(&kv), ids.v ? *ids.v : NULL);
}

/* Where tickets are drawn the number of a block goes with its Q, and of one that is none
 * alone. */
static void
load(Tb *t, const Cta *c, const TileScheduler *all, Idx i)
{
  WorkTile w = work_tile(t, c, all, i);
  T_WORK (t, w.is)
    load_tiles(t, c, all, &w, i);
  if (!may_be_none(&w))
    return;
  if (all->draws)
    T_IF (t, i_not(w.is))
      t_producer_load(t, c->q, .word = &i);
  partition_draw(t, &c->part, all);
}

/* ---- the warpgroups that compute ---- */

static At
place(const Cta *c, const Consumer *my, TileIter j)
{
  return (At){.q = my->q0,
              .k = j.k0,
              .b = my->w.b,
              .h = my->w.h,
              .hk = my->w.hk,
              .pack = c->part.pack};
}

/* Which weights of the tile are dropped: beside the product that its scores are. */
static Tile
dropped(Tb *t, const Cta *c, const Consumer *my, TileIter j)
{
  return fwd_drop(t, my->drops, wgmma_rows(), c->s->bn, place(c, my, j));
}

/* Scores become weights; m and l move on. */
static Tile
weigh(Tb *t, const Cta *c, Consumer *my, Tile x, TileIter j, Tile *correction)
{
  At at = place(c, my, j);
  Idx row = i_mul(i_team(t), wgmma_rows());
  x = beside_scores(t, &c->beside, my->w.seq.call, x, at, j, row, wgmma_rows());
  return softmax_step(t, &my->sm, x, fwd_may_hide(c->p, j), correction);
}

/* Weights as the next product's left operand: in registers, or through shared memory. */
static void
keep(Tb *t, const Cta *c, Consumer *my, Tile w, Tile drop)
{
  Tile half = t_cvt(t, w, c->p->dt);
  half = fwd_keep(t, drop, half);
  if (my->pw)
    *my->pw = half;
  else if (!c->s->p_in_smem)
    my->pw = t_var(t, half);
  if (!c->s->p_in_smem)
    return;
  t_put(t, team_rows(t, c->pw, c->s->bn), half);
  t_fence_async(t);
  t_sync(t);
}

static Opnd
left(Tb *t, const Cta *c, const Consumer *my)
{
  if (!c->s->p_in_smem)
    return OP(*my->pw);
  Smem own = team_rows(t, c->pw, c->s->bn);
  return OP(own);
}

static void
rescale(Tb *t, const Cta *c, Consumer *my, Tile correction)
{
  Idx due = c->s->lazy_rescale ? t_any_not1(t, correction) : i_int(1);
  T_IF (t, due)
    *my->acc = t_mul(t, *my->acc, correction);
}

static Tile
scores(Tb *t, Smem q, Smem k)
{
  Tile x = t_dot(t, q, s_trans(k));
  return t_wait(t, x);
}

/* The first half of the keys, and the second one where a row of this warpgroup sees it:
 * where none does, they are masked in any case. */
static Tile
narrow_scores(Tb *t, const Cta *c, const Consumer *my, Smem k, TileIter j)
{
  int bn = c->s->bn;
  const Call *own = my->w.seq.call;
  Idx end = i_sub(own->sq, 1),
      q = i_min(i_add(my->q0, wgmma_rows() / c->part.pack - 1), end);
  Idx seen = i_sub(w_end(&own->mask, q), j.k0);
  Tile near = scores(t, my->q, s_rows(k, i_int(0), bn / 2)),
       none = t_zero(t, wgmma_rows(), bn / 2);
  Tile *far = t_var(t, none);
  T_IF (t, i_lt(bn / 2, seen))
    *far = scores(t, my->q, s_rows(k, i_int(bn / 2), bn / 2));
  return t_concat_cols(t, near, *far);
}

/* The first tile's scores. */
static Tile
first(Tb *t, const Cta *c, const Consumer *my, Walk *kv, TileIter *j)
{
  Slot k = t_consumer_wait(t, c->k);
  bool narrow = c->s->narrow_diagonal && j->masked && mask_cuts_right(c->p->spec);
  *j = t_told(t, kv, k, *j);
  Tile x = narrow ? narrow_scores(t, c, my, k.s, *j) : scores(t, my->q, k.s);
  t_consumer_release(t, k);
  return x;
}

/* Its weights.  Its PV belongs to the next step. */
static void
begin(Tb *t, const Cta *c, Consumer *my, Tile x, TileIter j)
{
  Tile correction, drop = dropped(t, c, my, j);
  Tile w = weigh(t, c, my, x, j, &correction);
  keep(t, c, my, w, drop);
}

/* S = Q·K(j)ᵀ beside O += P·V(j−1). */
static void
step(Tb *t, const Cta *c, Consumer *my, Walk *kv, TileIter j)
{
  Tile correction;
  Slot k = t_consumer_wait(t, c->k);
  j = t_told(t, kv, k, j);
  t_order_wait(t, c->order);
  Tile x = t_dot(t, my->q, s_trans(k.s)); /* in flight */
  Slot v = t_consumer_wait(t, c->v);
  *my->acc = t_dot_acc_if(t, *my->acc, my->begun, left(t, c, my), v.s); /* in flight too */
  t_order_arrive(t, c->order);
  Tile drop = dropped(t, c, my, j);
  x = t_wait(t, x); /* S is here, PV runs on */
  t_consumer_release(t, k);
  Tile w = weigh(t, c, my, x, j, &correction);
  *my->acc = t_wait(t, *my->acc);
  t_consumer_release(t, v);
  keep(t, c, my, w, drop);
  rescale(t, c, my, correction);
}

static void
last(Tb *t, const Cta *c, Consumer *my)
{
  Slot v = t_consumer_wait(t, c->v);
  *my->acc = t_dot_acc_if(t, *my->acc, my->begun, left(t, c, my), v.s);
  *my->acc = t_wait(t, *my->acc);
  t_consumer_release(t, v);
}

/* The last PV beside the first scores of the next block of work: after the last one, of one
 * that nobody needs, so that no branch stands around the products. */
static void
last_and_first(Tb *t, const Cta *c, Consumer *my, Tile *next)
{
  Slot q = t_consumer_peek(t, c->q), k = t_consumer_wait(t, c->k);
  Smem mine = team_rows(t, q.s, c->p->d);
  t_order_wait(t, c->order);
  Tile x = t_dot(t, mine, s_trans(k.s));
  Slot v = t_consumer_wait(t, c->v);
  *my->acc = t_dot_acc_if(t, *my->acc, my->begun, left(t, c, my), v.s);
  t_order_arrive(t, c->order);
  *next = t_wait(t, x);
  t_consumer_release(t, k);
  *my->acc = t_wait(t, *my->acc);
  t_consumer_release(t, v);
}

/* One tile after the other: the other warpgroups are what fills the gaps. */
static void
plain(Tb *t, const Cta *c, Consumer *my, Walk *kv, TileIter j)
{
  Tile correction;
  Slot k = t_consumer_wait(t, c->k);
  j = t_told(t, kv, k, j);
  t_order_wait(t, c->order);
  Tile x = t_dot(t, my->q, s_trans(k.s));
  t_order_arrive(t, c->order);
  Tile drop = dropped(t, c, my, j);
  x = t_wait(t, x);
  t_consumer_release(t, k);
  Tile w = weigh(t, c, my, x, j, &correction);
  keep(t, c, my, w, drop);
  rescale(t, c, my, correction);
  last(t, c, my);
}

/* The rows of all warpgroups at once, when the last of them is there. */
static void
send_joined(Tb *t, const Cta *c, const Consumer *my)
{
  t_fence_async(t);
  t_sync_role(t);
  T_IF (t, i_lt(i_team(t), 1)) {
    View out = rows(c, c->p->o, &my->w, my->w.q0, c->s->bm);
    t_send_out(t, out, s_cols(my->slot.s, c->p->d));
    t_out_wait(t);
  }
}

/* O of the block, and its LSE. */
static Tile
ended(Tb *t, const Cta *c, Consumer *my, Tile *lse)
{
  At at = {.q = my->q0, .b = my->w.b, .h = my->w.h, .hk = my->w.hk, .pack = c->part.pack};
  Tile inv = fwd_end(t, my->w.seq.call, &my->sm, wgmma_rows(), at, lse);
  Tile o = t_mul(t, *my->acc, inv);
  return t_cvt(t, o, c->p->dt);
}

/* O leaves through stages of V that the loader has lent, a second one where the first has
 * no room for all warpgroups. */
static void
finish_in_v(Tb *t, const Cta *c, Consumer *my)
{
  const Call *p = c->p;
  int each = c->s->bn / wgmma_rows();
  bool two = wgmma_o_stages(c->s) > 1;
  Tile lse, o = ended(t, c, my, &lse);
  Slot first = t_consumer_wait(t, c->v), second = first, mine = first;
  if (two) {
    second = t_consumer_wait(t, c->v);
    mine = t_consumer_either(t, i_le(each, i_team(t)), first, second);
  }
  Idx row = i_mul(i_mod(i_team(t), each), wgmma_rows());
  Smem out = s_rows(mine.s, row, wgmma_rows());
  t_put(t, out, o);
  t_send_out(t, rows(c, p->o, &my->w, my->q0, wgmma_rows()), out);
  if (p->lse)
    t_store_rows(t, rows(c, p->lse, &my->w, my->q0, wgmma_rows()), lse);
  t_out_wait(t);
  t_consumer_release(t, first);
  if (two)
    t_consumer_release(t, second);
}

/* O out of shared memory.  A box that TMA sends knows no end of a sequence: where one is
 * inside, threads send the rows. */
static void
send(Tb *t, const Cta *c, const Consumer *my)
{
  const Seq *own = &my->w.seq;
  View out = rows(c, c->p->o, &my->w, my->q0, wgmma_rows());
  Idx behind = i_add(my->q0, wgmma_rows() / c->part.pack);
  Idx whole = own->q_own ? i_le(behind, own->call->sq) : i_int(1);
  T_IF (t, whole)
    t_send_out(t, v_uncut(out), my->q);
  T_IF (t, i_not(whole)) {
    t_copy_out(t, out, my->q);
    t_fence_async(t);
  }
}

/* O leaves through the rows of Q, which this warpgroup alone reads. */
static void
finish(Tb *t, const Cta *c, Consumer *my)
{
  if (c->s->o_in_v) {
    finish_in_v(t, c, my);
    return;
  }
  const Call *p = c->p;
  bool private = c->s->private_epilogue;
  Tile lse, o = ended(t, c, my, &lse);
  t_put(t, my->q, o);
  View out = rows(c, p->o, &my->w, my->q0, wgmma_rows());
  if (!c->s->tma_store)
    t_copy_out(t, out, my->q);
  else if (private)
    send(t, c, my);
  if (p->lse)
    t_store_rows(t, rows(c, p->lse, &my->w, my->q0, wgmma_rows()), lse);
  if (!c->s->tma_store)
    t_fence_async(t); /* before TMA brings the next Q here */
  else if (private)
    t_out_wait(t);
  else
    send_joined(t, c, my);
  t_consumer_release(t, my->slot);
}

/* May O be without a value until its first PV?  Zeros take an instruction for each of its
 * registers and block of work.  (192x192, weights in shared memory, head_dim 64, causal:
 * ptxas 13.0 then spills 32 bytes.)  Not where tiles are told: which is the first is not
 * known by its number. */
static bool
starts_unset(const Cta *c)
{
  return mask_is_one_range(c->p->spec) && (c->s->bm < 192 || !c->s->p_in_smem);
}

/* In the step of tile n of a walk: has one before it given O a value?  Tiles come from the
 * highest down, and each has its step. */
static Idx
begun(const Cta *c, const Walk *kv, Idx n)
{
  return starts_unset(c) ? i_lt(n, w_first(kv).n) : i_int(1);
}

static Consumer
consumer(Tb *t, const Cta *c, const WorkTile *w)
{
  Consumer my = {.w = *w,
                 .q0 = i_add(w->q0, i_mul(i_team(t), wgmma_rows() / c->part.pack))};
  my.slot = t_consumer_wait(t, c->q);
  my.q = team_rows(t, my.slot.s, c->p->d);
  my.sm = softmax_new(t, wgmma_rows(), !spec_score_is_plain(c->p->spec));
  my.sm.lazy = c->s->lazy_rescale;
  my.sm.poly = c->s->poly_exp2;
  Tile o = starts_unset(c) ? t_unset(t, wgmma_rows(), c->p->dv)
                           : t_zero(t, wgmma_rows(), c->p->dv);
  my.acc = t_var(t, o);
  my.drops = fwd_drop_state(t, c->p, w->b, w->h);
  return my;
}

/* A block of work; *ready are the scores of its first tile if the block before made them.
 */
static void
compute(Tb *t, const Cta *c, const WorkTile *w, Tile *ready)
{
  Walk keys = partition_keys(t, &c->part, w), kv = w_told(&keys), rest = w_rest(&kv);
  Consumer my = consumer(t, c, w);
  TileIter j0 = w_first(&kv);
  Tile x = ready ? *ready : first(t, c, &my, &kv, &j0);
  rest.more = kv.more;
  begin(t, c, &my, x, j0);
  T_FOR_TILES (t, j, &rest) {
    my.begun = begun(c, &rest, j.n);
    step(t, c, &my, &rest, j);
  }
  my.begun = begun(c, &kv, kv.tiles.lo);
  if (c->s->o_in_v) /* nobody reads Q any more */
    t_consumer_release(t, my.slot);
  if (ready)
    last_and_first(t, c, &my, ready);
  else
    last(t, c, &my);
  finish(t, c, &my);
}

static void
compute_plain(Tb *t, const Cta *c, const WorkTile *w)
{
  Walk keys = partition_keys(t, &c->part, w), kv = w_told(&keys);
  Consumer my = consumer(t, c, w);
  T_FOR_TILES (t, j, &kv) {
    my.begun = begun(c, &kv, j.n);
    plain(t, c, &my, &kv, j);
  }
  if (c->s->o_in_v)
    t_consumer_release(t, my.slot);
  finish(t, c, &my);
}

/* A block that is none has its stage all the same where numbers come with them. */
static void
skip(Tb *t, const Cta *c, const TileScheduler *all, const WorkTile *w)
{
  if (!all->draws)
    return;
  T_IF (t, i_not(w->is)) {
    Slot q = t_consumer_wait(t, c->q);
    t_consumer_release(t, q);
  }
}

/* The number of the next block, or of none. */
static void
next_block(Tb *t, const Cta *c, const TileScheduler *all)
{
  if (!all->draws)
    return;
  Slot q = t_consumer_peek(t, c->q);
  t_for_next(t, t_stage_word(t, q));
}

/* Turns at the tensor cores, block after block. */
static void
compute_all(Tb *t, const Cta *c, const TileScheduler *all)
{
  Tile *ready = NULL;
  t_order_init(t, c->order);
  if (c->s->cross_tile) {
    Slot q = t_consumer_peek(t, c->q), k = t_consumer_wait(t, c->k);
    Tile x = scores(t, team_rows(t, q.s, c->p->d), k.s);
    t_consumer_release(t, k);
    ready = t_var(t, x);
  }
  T_FOR (t, i, all->span) {
    WorkTile w = work_tile(t, c, all, i);
    T_WORK (t, w.is) {
      if (c->s->intra_wg_overlap)
        compute(t, c, &w, ready);
      else
        compute_plain(t, c, &w);
    }
    skip(t, c, all, &w);
    next_block(t, c, all);
  }
}

static void
load_all(Tb *t, const Cta *c, const TileScheduler *all)
{
  if (c->s->cross_tile)
    load_next(t, c, all, all->span.lo);
  T_FOR (t, i, all->span)
    load(t, c, all, i);
  if (all->draws)
    t_producer_load(t, c->q, .word = &all->span.hi);
  if (c->s->o_in_v)
    T_IF (t, i_lt(all->span.lo, all->span.hi))
      lend(t, c);
}

/* ---- the kernel ---- */

static void
roles(Tb *t, const Cta *c, const TileScheduler *all)
{
  const Spec *spec = c->p->spec;
  int groups = c->s->bm / wgmma_rows();
  bool pages = seq_has_pages(c->p);
  T_ROLE (t, .name = "load", .teams = 1, .warps = 4, .regs = load_regs(spec, c->s)) {
    if (pages)
      T_WHOLE_WARP(t, 0)
    load_all(t, c, all);
    else T_WARP (t, 0) load_all(t, c, all);
  }
  T_ROLE (t, .name = "mma", .teams = groups, .warps = 4, .regs = mma_regs(spec, c->s))
    compute_all(t, c, all);
}

/* A CTA of one block finds out first whether there is one. */
static void
only_block(Tb *t, Cta *c, const TileScheduler *all)
{
  WorkTile w = partition_work_tile(t, &c->part, all, all->span.lo), only = w;
  only.is = i_int(1);
  c->only = &only;
  T_WORK (t, w.is)
    roles(t, c, all);
}

static void
forward(Tb *t, const Call *p, const Hopper *s, const Partition *part)
{
  int groups = s->bm / wgmma_rows();
  Cta c = {.p = p, .s = s, .part = *part};
  c.order = s->pingpong ? t_order_barrier(t, groups) : NULL;
  SmemLayout l = wgmma_layout(p->spec, s);
  c.q = layout_ring(t, &l, PART_Q);
  c.k = layout_ring(t, &l, PART_K);
  c.v = layout_ring(t, &l, PART_V);
  c.beside = beside_new(t, p, wgmma_beside(p->spec, s), &l);
  if (s->p_in_smem)
    c.pw = layout_smem(t, &l, PART_P);
  TileScheduler all = partition_scheduler(t, &c.part);
  if (s->scheduler == SCHED_GRID)
    only_block(t, &c, &all);
  else if (!part->items)
    roles(t, &c, &all);
  else /* the list may be shorter than there are CTAs */
    T_WORK (t, i_lt(all.span.lo, all.span.hi))
      roles(t, &c, &all);
}

static void
attend(Build *b, const Call *call, const Sched *s, Ahead *ahead)
{
  const Hopper *own = hopper_of(s);
  attend_ahead(b, call, ahead);
  const WorkRegion *tickets = partition_counter(b, (Scheduler)own->scheduler);
  Partition host = wgmma_partition(call->spec, own);
  host.call = call;
  host.tickets = tickets;
  host.items = items_entry(b, &host, own->device_items);
  host.classes = classes_entries(b, &host, (Classes)own->classes);
  const char *name = host.items || host.classes ? "forward" : NULL;
  T_ENTRY (b, t, name, .warps = s->warps, .cluster = own->cluster) {
    Partition part = host;
    part.call = t_call(t);
    forward(t, t_call(t), own, &part);
  }
}

static void
print(const Sched *sched, Str *out)
{
  const Hopper *s = hopper_of(sched);
  str_printf(out, "fwd_wgmma %dx%d, %d warpgroups, %d stages%s%s%s%s", s->bm, s->bn,
             s->bm / wgmma_rows(), s->stages, s->intra_wg_overlap ? ", overlap" : "",
             s->pingpong ? ", pingpong" : "", s->p_in_smem ? ", P in shared memory" : "",
             s->scheduler == SCHED_PERSISTENT ? ", persistent"
             : s->scheduler == SCHED_DYNAMIC  ? ", dynamic"
                                              : "");
  if (s->device_items)
    str_put(out, ", longest blocks first");
  if (s->classes == CLASSES_STEP)
    str_put(out, ", tiles listed by a first step");
}

static const SchedField options[] = {HOPPER_OPTIONS(SCHED_ROW)};

const Template fwd_wgmma = {
    .name = "fwd_wgmma",
    .what = "FlashAttention-3 on wgmma and TMA: sm_90a",
    .revision = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .applicable = wgmma_applicable,
    .axes = wgmma_axes,
    .plain = wgmma_plain,
    .refuse = wgmma_refuse,
    .cost = wgmma_cost,
    .alike = 0.008,
    .initial = wgmma_initial,
    .emit = cascade_emit,
    .attend = attend,
    .print = print,
    .codegen_level = 2,
};
