/* bwd_mma: gradients by mma.sync, without atomics: a pass over blocks of keys, which keep
 * dK and dV of their rows in registers while queries go by, and one over blocks of queries
 * for dQ, each of which computes the scores again (Dao, FlashAttention-2, 2023, algorithm
 * 2, in two).  Each element is the sum of one thread in one order.
 *
 * A warp has 16 rows, or a multiple, of its block: keys in the pass over keys, where scores
 * are Sᵀ = K Qᵀ, so that Pᵀ and dSᵀ are left operands as they stand, and no warp needs what
 * another one has.  Query heads that share a key head follow each other in one CTA. */
#include "templates/bwd.h"
#include "templates/bwd_sums.h"
#include "templates/fwd.h"
#include "templates/partition.h"
#include "templates/sched_bwd.h"

static const SchedField options[] = {BWD_OPTIONS(SCHED_ROW)};

/* ---- what goes by: a tensor's tiles, and a column of its rows' statistics beside each
 * ---- */

typedef struct Stream {
  const Tensor *x, *column; /* column NULL: none */
  Ring *ring, *columns;
} Stream;

/* A tile of it in hand. */
typedef struct Held {
  Slot box, column;
  bool both;
} Held;

static Held
take(Tb *t, const Stream *s)
{
  Held h = {.box = t_consumer_wait(t, s->ring), .both = s->columns != NULL};
  if (h.both) /* the older copy */
    h.column = t_consumer_wait(t, s->columns);
  return h;
}

static void
give(Tb *t, const Held *h)
{
  if (h->both)
    t_consumer_release(t, h->column);
  t_consumer_release(t, h->box);
}

/* ---- dK and dV ---- */

typedef struct Keys {
  const Call *p; /* as the block's sequence sees it */
  const Bwd *s;
  Pass pass;
  KeyBlock w;
  Idx h; /* the query head at hand */
  Mask mask;
  Walk walk; /* the tiles of queries that see the block */
  Stream q, dout;
  Smem k, v;
  Smem ds;            /* of all in one pass: dSᵀ of all warps … */
  const Tensor *sums; /* … and what dQ is added up in; else NULL */
  Tile *dk, *dv;
  Tile drops; /* NULL: no weight is dropped */
} Keys;

static void
fetch_rows(Tb *t, const Keys *c, const Stream *s, TileIter j)
{
  int n = c->s->bm;
  const Seq *seq = &c->w.seq;
  if (s->columns) {
    View v = w_tile(seq_queries(seq, s->column, c->h, j.k0, n), j);
    t_producer_load(t, s->columns, .src = w_seen(v, j), .when = &j.is);
  }
  View v = w_tile(seq_queries(seq, s->x, c->h, j.k0, n), j);
  t_producer_load(t, s->ring, .src = w_seen(v, j), .when = &j.is);
}

static At
place(const Keys *c, TileIter j)
{
  return (At){
      .q = j.k0, .k = c->w.k0, .b = c->w.b, .h = c->h, .hk = c->w.hk, .turned = true};
}

static Tile
dropped(Tb *t, const Keys *c, TileIter j)
{
  return fwd_drop(t, c->drops, c->s->bn, c->s->bm, place(c, j));
}

/* Of a tile of queries. */
static BwdWeights
weights(Tb *t, const Keys *c, const Held *q, TileIter j, Tile drop)
{
  Tile x = t_dot(t, c->k, s_trans(q->box.s));
  Tile lse = t_cols(t, q->column.s);
  return bwd_weights(t, c->p, &c->mask, x, place(c, j), j, lse, drop);
}

static void
add_dk(Tb *t, const Keys *c, Tile ds, const Held *q)
{
  Tile w = t_cvt(t, ds, c->p->dt);
  *c->dk = t_dot_acc(t, *c->dk, w, q->box.s);
}

/* Both at once, from tiles that are held to the end of the step: the next ones are on their
 * way into the stages of those before. */
static void
step_both(Tb *t, const Keys *c, TileIter j)
{
  TileIter ahead = w_ahead(&c->walk, j, c->s->stages - 1);
  Held dout = take(t, &c->dout); /* the younger copy: with it Q is here */
  Held q = take(t, &c->q);
  fetch_rows(t, c, &c->q, ahead);
  fetch_rows(t, c, &c->dout, ahead);
  Tile drop = dropped(t, c, j);
  BwdWeights w = weights(t, c, &q, j, drop);
  *c->dv = t_dot_acc(t, *c->dv, w.p, dout.box.s);
  Tile dp = t_dot(t, c->v, s_trans(dout.box.s));
  Tile delta = t_cols(t, dout.column.s);
  Tile ds = bwd_slopes(t, w.steep, dp, delta, j, drop);
  add_dk(t, c, ds, &q);
  give(t, &q);
  give(t, &dout);
}

/* All at once.  Each warp has put its keys' dSᵀ down before the barrier, behind which dQ is
 * made of all of them, and the next tiles come into the stages that nobody reads any more;
 * whoever waits for those has passed another barrier. */
static void
step_fused(Tb *t, const Keys *c, TileIter j)
{
  TileIter far = w_ahead(&c->walk, j, c->s->stages);
  Held dout = take(t, &c->dout); /* the younger copy */
  Held q = take(t, &c->q);
  Tile drop = dropped(t, c, j);
  BwdWeights w = weights(t, c, &q, j, drop);
  *c->dv = t_dot_acc(t, *c->dv, w.p, dout.box.s);
  Tile dp = t_dot(t, c->v, s_trans(dout.box.s));
  Tile delta = t_cols(t, dout.column.s);
  Tile ds = bwd_slopes(t, w.steep, dp, delta, j, drop);
  ds = t_cvt(t, ds, c->p->dt);
  t_put(t, c->ds, ds);
  *c->dk = t_dot_acc(t, *c->dk, ds, q.box.s);
  give(t, &q);
  give(t, &dout);
  t_sync(t);
  fetch_rows(t, c, &c->q, far);
  fetch_rows(t, c, &c->dout, far);
  Tile dq = t_dot_dealt(t, s_trans(c->ds), c->k);
  t_reduce_out(t, bwd_sum_rows(&c->w.seq, c->sums, c->w.b, c->h, j.k0, c->s->bm), dq);
}

/* Once Q(j) is here, dO(j+n−1) may go where dO(j−1) was, and so on. */
static void
step_dv(Tb *t, const Keys *c, TileIter j)
{
  int n = c->s->stages;
  TileIter near = w_ahead(&c->walk, j, n - 1), far = w_ahead(&c->walk, j, n);
  Held q = take(t, &c->q);
  fetch_rows(t, c, &c->dout, near);
  Tile drop = dropped(t, c, j);
  BwdWeights w = weights(t, c, &q, j, drop);
  give(t, &q);
  Held dout = take(t, &c->dout);
  fetch_rows(t, c, &c->q, far);
  *c->dv = t_dot_acc(t, *c->dv, w.p, dout.box.s);
  give(t, &dout);
}

static void
step_dk(Tb *t, const Keys *c, TileIter j)
{
  int n = c->s->stages;
  TileIter near = w_ahead(&c->walk, j, n - 1), far = w_ahead(&c->walk, j, n);
  Held dout = take(t, &c->dout);
  fetch_rows(t, c, &c->q, near);
  Tile dp = t_dot(t, c->v, s_trans(dout.box.s));
  Tile delta = t_cols(t, dout.column.s);
  give(t, &dout);
  Held q = take(t, &c->q);
  fetch_rows(t, c, &c->dout, far);
  Tile drop = dropped(t, c, j);
  BwdWeights w = weights(t, c, &q, j, NULL);
  Tile ds = bwd_slopes(t, w.steep, dp, delta, j, drop);
  add_dk(t, c, ds, &q);
  give(t, &q);
}

static void
step_keys(Tb *t, const Keys *c, TileIter j)
{
  static void (*const steps[])(Tb *, const Keys *, TileIter) = {[PASS_DKDV] = step_both,
                                                                [PASS_DV] = step_dv,
                                                                [PASS_DK] = step_dk,
                                                                [PASS_FUSED] = step_fused};
  steps[c->pass](t, c, j);
}

/* Of a pass that gives one of the two: the stream that its steps wait for first. */
static void
streams(const Keys *c, const Stream **first, const Stream **second)
{
  *first = c->pass == PASS_DV ? &c->q : &c->dout;
  *second = c->pass == PASS_DV ? &c->dout : &c->q;
}

/* Of a pass that gives several: tiles that are on their way when a step begins. */
static int
pairs_ahead(const Keys *c)
{
  return c->s->stages - (c->pass == PASS_DKDV);
}

/* The first tiles, as far as there are stages; of both at once Q first, and of two
 * gradients a stage is left free. */
static void
start_head(Tb *t, const Keys *c)
{
  const Stream *first, *second;
  TileIter j = w_first(&c->walk);
  streams(c, &first, &second);
  bool both = c->pass == PASS_DKDV || c->pass == PASS_FUSED;
  if (!both)
    fetch_rows(t, c, first, j);
  for (int i = 0; i < (both ? pairs_ahead(c) : c->s->stages - 1); i++) {
    fetch_rows(t, c, second, w_ahead(&c->walk, j, i));
    fetch_rows(t, c, first, w_ahead(&c->walk, j, both ? i : i + 1));
  }
}

/* Stages that were filled with nothing: the next head finds the rings as this one did. */
static void
drop(Tb *t, const Stream *s)
{
  Held h = take(t, s);
  give(t, &h);
}

static void
end_head(Tb *t, const Keys *c)
{
  const Stream *first, *second;
  streams(c, &first, &second);
  bool both = c->pass == PASS_DKDV || c->pass == PASS_FUSED;
  if (!both)
    drop(t, first);
  for (int i = 0; i < (both ? pairs_ahead(c) : c->s->stages - 1); i++) {
    drop(t, both ? first : second);
    drop(t, both ? second : first);
  }
}

static void
head(Tb *t, Keys *c)
{
  const WalkRows keys = {
      .q0 = c->w.k0, .b = c->w.b, .h = c->h, .hk = c->w.hk, .n = c->s->bn};
  Walk walk = w_queries(t, &c->mask, &keys, c->s->bm);
  c->walk = t_walk(t, &walk, c->s->stages);
  c->drops = fwd_drop_state(t, c->p, c->w.b, c->h);
  start_head(t, c);
  T_FOR_TILES (t, j, &c->walk)
    step_keys(t, c, j);
  end_head(t, c);
}

static void
put_out(Tb *t, const Keys *c, const Tensor *to, Smem through, Tile x)
{
  x = t_cvt(t, x, c->p->dt);
  t_put(t, through, x); /* over its own rows, which no other warp reads */
  t_copy_out(t, seq_keys(&c->w.seq, to, c->w.hk, c->w.k0, c->s->bn), through);
}

static void
finish_keys(Tb *t, const Keys *c)
{
  const Call *p = c->p;
  if (c->pass != PASS_DV) {
    Tile dk = bwd_scaled(t, *c->dk);
    put_out(t, c, p->at[ATTNC_DK], s_cols(c->k, p->d), dk);
  }
  if (c->pass != PASS_DK) {
    Tile dv = bwd_kept(t, p, *c->dv);
    put_out(t, c, p->at[ATTNC_DV], s_cols(c->pass == PASS_DV ? c->k : c->v, p->dv), dv);
  }
}

static void
block_of_keys(Tb *t, Keys *c)
{
  const Call *p = c->p;
  c->mask = mask_turned(&p->mask);
  if (c->sums) {
    c->mask.step = SUM_ROWS;
    c->mask.rows_end = true;
  }
  t_copy(t, c->k, seq_keys(&c->w.seq, p->k, c->w.hk, c->w.k0, c->s->bn));
  if (c->pass != PASS_DV)
    t_copy(t, c->v, seq_keys(&c->w.seq, p->v, c->w.hk, c->w.k0, c->s->bn));
  if (c->pass != PASS_DV) {
    Tile zero = t_zero(t, c->s->bn, p->d);
    c->dk = t_var(t, zero);
  }
  if (c->pass != PASS_DK) {
    Tile zero = t_zero(t, c->s->bn, p->dv);
    c->dv = t_var(t, zero);
  }
  Idx group = fwd_group(p), first = i_mul(c->w.hk, group);
  const Span heads = {first, i_add(first, group), i_int(1)};
  c->k = s_cols(c->k, p->d);
  T_FOR (t, i, heads) {
    c->h = i;
    t_sync(t); /* the rings are empty */
    head(t, c);
  }
  finish_keys(t, c);
}

static void
of_keys(Tb *t, const Call *p, const Bwd *s, Pass pass, const BwdRows *rows,
        const WorkRegion *sums)
{
  Keys c = {.s = s, .pass = pass, .w = bwd_keys_of_cta(t, p, s->bn)};
  SmemLayout l = bwd_layout(p->spec, s, pass);
  t_resident(t, bwd_resident(p->spec, t_target(t), s, pass));
  c.k = layout_smem(t, &l, PART_K);
  if (pass != PASS_DV)
    c.v = layout_smem(t, &l, PART_V);
  c.q = (Stream){.x = p->q, .column = t_region(t, rows->lse)};
  c.q.ring = layout_ring(t, &l, PART_Q);
  c.dout = (Stream){.x = p->at[ATTNC_DO]};
  c.dout.ring = layout_ring(t, &l, PART_DO);
  c.q.columns = layout_ring(t, &l, PART_LSE);
  if (pass != PASS_DV) {
    c.dout.column = t_region(t, rows->delta);
    c.dout.columns = layout_ring(t, &l, PART_DELTA);
  }
  if (pass == PASS_FUSED) {
    c.ds = layout_smem(t, &l, PART_P);
    c.sums = t_region(t, sums);
  }
  T_WORK (t, c.w.is) {
    c.w.seq = sequence(t, p, c.w.b);
    c.p = c.w.seq.call;
    block_of_keys(t, &c);
  }
}

/* ---- dQ ---- */

typedef struct Queries {
  const Call *p; /* as the block's sequence sees it */
  const Bwd *s;
  WorkTile w;
  Walk walk; /* the tiles of keys that the block sees */
  Stream k, v;
  Smem q, dout;
  Tile lse, delta; /* one a row */
  Tile *dq;
  Tile drops; /* NULL: no weight is dropped */
} Queries;

static void
fetch_keys(Tb *t, const Queries *c, const Stream *s, TileIter j)
{
  View v = w_tile(seq_keys(&c->w.seq, s->x, c->w.hk, j.k0, c->s->dq_block_n), j);
  t_producer_load(t, s->ring, .src = w_seen(v, j), .when = &j.is);
}

static View
queries(const Queries *c, const Tensor *x)
{
  return seq_queries(&c->w.seq, x, c->w.h, c->w.q0, c->s->dq_block_m);
}

/* Once V(j) is here, K(j+n−1) may go where K(j−1) was, and so on. */
static void
step_queries(Tb *t, const Queries *c, TileIter j)
{
  int n = c->s->dq_stages;
  TileIter near = w_ahead(&c->walk, j, n - 1), far = w_ahead(&c->walk, j, n);
  At at = {.q = c->w.q0, .k = j.k0, .b = c->w.b, .h = c->w.h, .hk = c->w.hk};
  Held v = take(t, &c->v);
  fetch_keys(t, c, &c->k, near);
  Tile dp = t_dot(t, c->dout, s_trans(v.box.s));
  give(t, &v);
  Held k = take(t, &c->k);
  fetch_keys(t, c, &c->v, far);
  Tile x = t_dot(t, c->q, s_trans(k.box.s));
  Tile drop = fwd_drop(t, c->drops, c->s->dq_block_m, c->s->dq_block_n, at);
  BwdWeights p = bwd_weights(t, c->p, &c->p->mask, x, at, j, c->lse, NULL);
  Tile ds = bwd_slopes(t, p.steep, dp, c->delta, j, drop);
  Tile w = t_cvt(t, ds, c->p->dt);
  *c->dq = t_dot_acc(t, *c->dq, w, k.box.s);
  give(t, &k);
}

static void
start_queries(Tb *t, const Queries *c)
{
  TileIter j = w_first(&c->walk);
  t_copy(t, c->q, queries(c, c->p->q));
  t_copy(t, c->dout, queries(c, c->p->at[ATTNC_DO]));
  fetch_keys(t, c, &c->v, j);
  for (int i = 0; i < c->s->dq_stages - 1; i++) {
    fetch_keys(t, c, &c->k, w_ahead(&c->walk, j, i));
    fetch_keys(t, c, &c->v, w_ahead(&c->walk, j, i + 1));
  }
}

static void
block_of_queries(Tb *t, const Partition *part, Queries *c, const BwdRows *rows)
{
  const Call *p = c->p;
  Walk keys = partition_keys(t, part, &c->w);
  c->walk = t_walk(t, &keys, c->s->dq_stages);
  start_queries(t, c);
  c->lse = t_load_rows(t, queries(c, t_region(t, rows->lse)));
  c->delta = t_load_rows(t, queries(c, t_region(t, rows->delta)));
  Tile zero = t_zero(t, c->s->dq_block_m, p->d);
  c->dq = t_var(t, zero);
  c->drops = fwd_drop_state(t, p, c->w.b, c->w.h);
  T_FOR_TILES (t, j, &c->walk)
    step_queries(t, c, j);
  Tile dq = bwd_scaled(t, *c->dq);
  dq = t_cvt(t, dq, p->dt);
  t_put(t, c->q, dq);
  t_copy_out(t, queries(c, p->at[ATTNC_DQ]), c->q);
}

static void
of_queries(Tb *t, const Call *p, const Bwd *s, const BwdRows *rows)
{
  Queries c = {.s = s};
  Partition part = {.call = p,
                    .bm = s->dq_block_m,
                    .bn = s->dq_block_n,
                    .pack = 1,
                    .cluster = 1,
                    .scheduler = SCHED_ASIDE};
  c.w = partition_alone(t, &part);
  c.p = c.w.seq.call;
  SmemLayout l = bwd_layout(p->spec, s, PASS_DQ);
  t_resident(t, bwd_resident(p->spec, t_target(t), s, PASS_DQ));
  c.q = layout_smem(t, &l, PART_Q);
  c.dout = layout_smem(t, &l, PART_DO);
  c.k = (Stream){.x = p->k};
  c.k.ring = layout_ring(t, &l, PART_K);
  c.v = (Stream){.x = p->v};
  c.v.ring = layout_ring(t, &l, PART_V);
  T_WORK (t, c.w.is)
    block_of_queries(t, &part, &c, rows);
}

/* ---- emit ---- */

static void
emit(Build *b, const Call *call, const Sched *sched)
{
  const Bwd *s = bwd_of(sched);
  BwdRows rows = bwd_rows(b, call);
  bool fused = bwd_has_pass(s, PASS_FUSED);
  const WorkRegion *sums = fused ? bwd_sums(b, call) : NULL;
  for (int i = PASS_DKDV; i <= PASS_FUSED; i++)
    if (bwd_has_pass(s, (Pass)i))
      T_ENTRY (b, t, bwd_pass_names[i], .warps = s->warps)
        of_keys(t, t_call(t), s, (Pass)i, &rows, sums);
  if (fused)
    bwd_sums_out(b, sums);
  else
    T_ENTRY (b, t, bwd_pass_names[PASS_DQ], .warps = s->dq_warps)
      of_queries(t, t_call(t), s, &rows);
}

static void
print(const Sched *sched, Str *out)
{
  const Bwd *s = bwd_of(sched);
  static const char *const gives[] = {[1] = "fused", [2] = "dk and dv", [3] = "dv, dk"};
  str_printf(out, "bwd_mma %s %dx%d, %d warps, %d stage%s", gives[s->passes], s->bm, s->bn,
             s->warps, s->stages, s->stages == 1 ? "" : "s");
  if (s->passes > 1)
    str_printf(out, "; dq %dx%d, %d warps, %d stage%s", s->dq_block_m, s->dq_block_n,
               s->dq_warps, s->dq_stages, s->dq_stages == 1 ? "" : "s");
}

/* Additions of four numbers at once. */
static int
ptx(const Target *g, const Sched *sched)
{
  return bwd_of(sched)->passes == 1 && g->red_four ? RED_FOUR_PTX : 0;
}

const Template bwd_mma = {
    .name = "bwd_mma",
    .what =
        "gradients, FlashAttention-2 on mma.sync in passes without atomics: sm_75 and up",
    .op = ATTNC_OP_BWD,
    .revision = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .applicable = bwd_applicable,
    .axes = bwd_axes,
    .plain = bwd_plain,
    .refuse = bwd_refuse,
    .cost = bwd_cost,
    .initial = bwd_initial,
    .emit = emit,
    .print = print,
    .ptx = ptx,
    .codegen_level = 2,
};
