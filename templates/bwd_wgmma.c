/* bwd_wgmma: gradients by wgmma and TMA: a pass over blocks of keys, which keep dK and dV
 * of their rows in registers while queries go by, and one over blocks of queries for dQ,
 * each of which computes the scores again; or all in one, which adds to dQ in workspace.
 * Shah et al., FlashAttention-3 (2024): one warp feeds warpgroups of 64 rows each, that of
 * the scores and that of dO Vᵀ run beside each other, and so do the two that are made of
 * them.
 *
 * In the pass over keys scores are Sᵀ = K Qᵀ: Pᵀ and dSᵀ are left operands as they stand in
 * registers, and a warpgroup needs nothing that another one has.  Query heads that share a
 * key head follow each other in one CTA. */
#include "templates/bwd_sums.h"
#include "templates/fwd.h"
#include "templates/partition.h"
#include "templates/sched_bwd_wgmma.h"

enum { ROWS = 64, WARPS = 4 }; /* of a warpgroup */

/* Rows that go by, and a column of their statistics beside them. */
typedef struct Stream {
  const Tensor *x, *column; /* column NULL: none */
  Ring *ring, *columns;
} Stream;

/* This warpgroup's rows of what all have. */
static Smem
team_rows(Tb *t, Smem s, int cols)
{
  return s_cols(s_rows(s, i_mul(i_team(t), ROWS), ROWS), cols);
}

static Idx
team_first(Tb *t, Idx first)
{
  return i_add(first, i_mul(i_team(t), ROWS));
}

/* A tensor without rows is mapped as one of a single row, which nobody may see. */
static View
queries_by_tma(const Seq *s, const Tensor *x, Idx h, Idx row, int n)
{
  return seq_queries(s, x, h, i_max(row, i_sub(1, x->rows)), n);
}

/* ---- dK and dV ---- */

typedef struct Keys {
  const Call *p; /* as the block's sequence sees it */
  const BwdHopper *s;
  Pass pass;
  KeyBlock w;
  Mask mask;
  Ring *k, *v; /* v NULL: nothing is multiplied with it */
  Stream q, dout;
  Smem ds;            /* of all in one pass: dSᵀ of all warpgroups … */
  const Tensor *sums; /* … and what dQ is added up in; else NULL */
} Keys;

/* The tiles of queries that see the block, of a query head. */
static Walk
queries_of(Tb *t, const Keys *c, Idx h)
{
  const WalkRows keys = {.q0 = c->w.k0, .b = c->w.b, .h = h, .hk = c->w.hk, .n = c->s->bn};
  return w_queries(t, &c->mask, &keys, c->s->bm);
}

/* The query heads that share the key head. */
static Span
group_heads(const Keys *c)
{
  Idx group = fwd_group(c->p), first = i_mul(c->w.hk, group);
  return (Span){first, i_add(first, group), i_int(1)};
}

static void
load_rows(Tb *t, const Keys *c, const Stream *s, Idx h, TileIter j, const Idx *word)
{
  int n = c->s->bm;
  View v = w_seen(queries_by_tma(&c->w.seq, s->x, h, j.k0, n), j);
  t_producer_load(t, s->ring, .src = v, .word = word);
  if (!s->columns)
    return;
  View column = w_tile(seq_queries(&c->w.seq, s->column, h, j.k0, n), j);
  t_producer_load(t, s->columns, .src = w_seen(column, j));
}

/* What is behind the end of a sequence is in rows of dk and dv that are nobody's; but dQ is
 * a sum over all rows: there it is zeros. */
static View
keys_by_tma(const Keys *c, const Tensor *x)
{
  const Seq *seq = &c->w.seq;
  if (!c->sums)
    return seq_keys_by_tma(seq, x, c->w.hk, c->w.k0, c->s->bn);
  Idx first = i_max(c->w.k0, i_sub(1, x->rows));
  return seq_keys(seq, x, c->w.hk, first, c->s->bn);
}

static void
load_keys(Tb *t, const Keys *c)
{
  t_producer_load(t, c->k, .src = keys_by_tma(c, c->p->k));
  if (c->v)
    t_producer_load(t, c->v, .src = keys_by_tma(c, c->p->v));
  T_FOR (t, i, group_heads(c)) {
    Walk of_head = queries_of(t, c, i), walk = t_walk(t, &of_head, 1);
    T_FOR_TILES (t, j, &walk) {
      Idx word = walk.test ? w_word(&walk, j) : i_int(0);
      load_rows(t, c, &c->q, i, j, walk.test ? &word : NULL);
      load_rows(t, c, &c->dout, i, j, NULL);
    }
  }
}

/* What one warpgroup has of the block. */
typedef struct Mine {
  Smem k, v;
  Smem all;      /* K of the whole block */
  Tile *dk, *dv; /* NULL: not of this pass */
  Idx h;         /* the query head at hand */
  Tile drops;    /* NULL: no weight is dropped */
} Mine;

static At
place(Tb *t, const Keys *c, const Mine *my, TileIter j)
{
  return (At){.q = j.k0,
              .k = team_first(t, c->w.k0),
              .b = c->w.b,
              .h = my->h,
              .hk = c->w.hk,
              .turned = true};
}

/* One number a column, of the tile of queries whose turn it is. */
static Tile
column(Tb *t, const Stream *s)
{
  Slot slot = t_consumer_wait(t, s->columns);
  Tile x = t_cols(t, slot.s);
  t_consumer_release(t, slot);
  return x;
}

/* dSᵀ of the warpgroup's keys, for all of them, once nobody reads the tile's before. */
static void
share(Tb *t, const Keys *c, Tile ds)
{
  t_sync_role(t);
  t_put(t, team_rows(t, c->ds, c->s->bm), ds);
}

/* Of the tile's part of dQ this warpgroup's: 64 queries, and where there are fewer of those
 * than warpgroups a panel of the columns. */
typedef struct Part {
  Idx rows, panel;
  int cols;
} Part;

static Part
part_of(Tb *t, const Keys *c)
{
  int n = bwd_wgmma_teams(c->s, c->pass) * ROWS / c->s->bm; /* that share rows */
  Idx team = i_team(t), rows = i_div(team, n), panel = i_mod(team, n);
  return (Part){.rows = rows, .panel = panel, .cols = n > 1 ? ROWS : c->p->d};
}

/* In flight. */
static Tile
product_of_dq(Tb *t, const Keys *c, const Mine *my)
{
  Part part = part_of(t, c);
  t_fence_async(t);
  t_sync_role(t);
  Smem ds = s_trans(s_panel(c->ds, part.rows, ROWS));
  return t_dot(t, ds, s_panel(my->all, part.panel, part.cols));
}

static void
add_dq(Tb *t, const Keys *c, const Mine *my, TileIter j, Tile dq)
{
  Part part = part_of(t, c);
  Idx row = i_add(j.k0, i_mul(part.rows, ROWS)), first = i_mul(part.panel, ROWS);
  View v = bwd_sum_rows(&c->w.seq, c->sums, c->w.b, my->h, row, ROWS);
  t_reduce_cols(t, v, dq, first);
}

/* Sᵀ beside V dOᵀ; then dV += Pᵀ dO beside dK += dSᵀ Q, and between them where all is one
 * pass dQ = dS K.  What is multiplied from registers is ready before the first begins. */
static void
step_keys(Tb *t, const Keys *c, const Mine *my, Walk *walk, TileIter j)
{
  Tile dp = NULL, ds = NULL, dq = NULL;
  Slot q = t_consumer_wait(t, c->q.ring);
  j = t_told(t, walk, q, j);
  At at = place(t, c, my, j);
  Tile x = t_dot(t, my->k, s_trans(q.s));
  Slot dout = t_consumer_wait(t, c->dout.ring);
  if (my->dk)
    dp = t_dot(t, my->v, s_trans(dout.s));
  Tile drop = fwd_drop(t, my->drops, ROWS, c->s->bm, at);
  Tile lse = column(t, &c->q);
  x = t_wait(t, x);
  BwdWeights w = bwd_weights(t, c->p, &c->mask, x, at, j, lse, my->dv ? drop : NULL);
  if (my->dk) {
    Tile delta = column(t, &c->dout);
    dp = t_wait(t, dp);
    ds = bwd_slopes(t, w.steep, dp, delta, j, drop);
    if (c->sums)
      ds = bwd_finite_behind(t, c->p, ds, i_add(at.k, ROWS));
    ds = t_cvt(t, ds, c->p->dt);
  }
  if (c->sums)
    share(t, c, ds);
  if (my->dv)
    *my->dv = t_dot_acc(t, *my->dv, w.p, dout.s);
  if (c->sums)
    dq = product_of_dq(t, c, my);
  if (my->dk)
    *my->dk = t_dot_acc(t, *my->dk, ds, q.s);
  if (my->dv)
    *my->dv = t_wait(t, *my->dv);
  t_consumer_release(t, dout);
  if (c->sums) {
    dq = t_wait(t, dq);
    add_dq(t, c, my, j, dq);
  }
  if (my->dk)
    *my->dk = t_wait(t, *my->dk);
  t_consumer_release(t, q);
}

/* Through the warpgroup's own rows of what it alone has read. */
static void
put_out(Tb *t, const Keys *c, const Tensor *to, Smem through, Tile x)
{
  x = t_cvt(t, x, c->p->dt);
  t_put(t, through, x);
  Idx first = team_first(t, c->w.k0);
  t_copy_out(t, seq_keys(&c->w.seq, to, c->w.hk, first, ROWS), through);
}

static void
finish_keys(Tb *t, const Keys *c, const Mine *my)
{
  const Call *p = c->p;
  if (c->sums)
    t_sync_role(t); /* of K all have read all rows */
  if (my->dk) {
    Tile dk = bwd_scaled(t, *my->dk);
    put_out(t, c, p->at[ATTNC_DK], my->k, dk);
  }
  if (my->dv) {
    Tile dv = bwd_kept(t, p, *my->dv);
    put_out(t, c, p->at[ATTNC_DV], my->v, dv);
  }
}

/* dV alone leaves through the rows of K, as V is not there. */
static void
compute_keys(Tb *t, const Keys *c)
{
  const Call *p = c->p;
  Slot k = t_consumer_wait(t, c->k), v = k;
  if (c->v)
    v = t_consumer_wait(t, c->v);
  Mine my = {.k = team_rows(t, k.s, p->d)};
  my.v = team_rows(t, v.s, p->dv);
  my.all = s_cols(k.s, p->d);
  if (c->pass != PASS_DV) {
    Tile zero = t_zero(t, ROWS, p->d);
    my.dk = t_var(t, zero);
  }
  if (c->pass != PASS_DK) {
    Tile zero = t_zero(t, ROWS, p->dv);
    my.dv = t_var(t, zero);
  }
  T_FOR (t, i, group_heads(c)) {
    Walk of_head = queries_of(t, c, i), walk = w_told(&of_head);
    my.h = i;
    my.drops = fwd_drop_state(t, p, c->w.b, i);
    T_FOR_TILES (t, j, &walk)
      step_keys(t, c, &my, &walk, j);
  }
  finish_keys(t, c, &my);
  t_consumer_release(t, k);
  if (c->v)
    t_consumer_release(t, v);
}

static void
block_of_keys(Tb *t, const Keys *c)
{
  const Spec *spec = c->p->spec;
  T_ROLE (t, .name = "load", .teams = 1, .warps = WARPS,
          .regs = bwd_wgmma_load_regs(spec, c->s, c->pass))
    T_WHOLE_WARP(t, 0)
  load_keys(t, c);
  T_ROLE (t, .name = "mma", .teams = bwd_wgmma_teams(c->s, c->pass), .warps = WARPS,
          .regs = bwd_wgmma_mma_regs(spec, c->s, c->pass))
    compute_keys(t, c);
}

static void
of_keys(Tb *t, const Call *p, const BwdHopper *s, Pass pass, const BwdRows *rows,
        const WorkRegion *sums)
{
  Keys c = {.s = s, .pass = pass, .w = bwd_keys_of_cta(t, p, s->bn)};
  SmemLayout l = bwd_wgmma_layout(p->spec, s, pass);
  c.k = layout_ring(t, &l, PART_K);
  c.v = pass == PASS_DV ? NULL : layout_ring(t, &l, PART_V);
  c.q = (Stream){.x = p->q, .column = t_region(t, rows->lse)};
  c.q.ring = layout_ring(t, &l, PART_Q);
  c.dout = (Stream){.x = p->at[ATTNC_DO]};
  c.dout.ring = layout_ring(t, &l, PART_DO);
  c.q.columns = layout_ring(t, &l, PART_LSE);
  if (pass != PASS_DV) {
    c.dout.column = t_region(t, rows->delta);
    c.dout.columns = layout_ring(t, &l, PART_DELTA);
  }
  if (sums) {
    c.ds = layout_smem(t, &l, PART_P);
    c.sums = t_region(t, sums);
  }
  T_WORK (t, c.w.is) {
    c.w.seq = sequence(t, p, c.w.b);
    c.p = c.w.seq.call;
    c.mask = mask_turned(&c.p->mask);
    c.mask.step = sums ? SUM_ROWS : 0;
    block_of_keys(t, &c);
  }
}

/* ---- dQ ---- */

typedef struct Queries {
  const Call *p; /* as the block's sequence sees it */
  const BwdHopper *s;
  const Partition *part;
  WorkTile w;
  Ring *q, *dout, *k, *v;
  const BwdRows *rows;
} Queries;

static View
whole_rows(const Queries *c, const Tensor *x)
{
  View v = queries_by_tma(&c->w.seq, x, c->w.h, c->w.q0, c->s->dq_block_m);
  return v_uncut(v); /* what is behind the end of a sequence is nobody's row */
}

static View
keys_of(const Queries *c, const Tensor *x, TileIter j)
{
  return seq_keys_by_tma(&c->w.seq, x, c->w.hk, j.k0, c->s->dq_block_n);
}

static void
load_queries(Tb *t, const Queries *c)
{
  Walk keys = partition_keys(t, c->part, &c->w), walk = t_walk(t, &keys, 1);
  t_producer_load(t, c->q, .src = whole_rows(c, c->p->q));
  t_producer_load(t, c->dout, .src = whole_rows(c, c->p->at[ATTNC_DO]));
  T_FOR_TILES (t, j, &walk) {
    Idx word = walk.test ? w_word(&walk, j) : i_int(0);
    View k = w_seen(keys_of(c, c->p->k, j), j);
    t_producer_load(t, c->k, .src = k, .word = walk.test ? &word : NULL);
    t_producer_load(t, c->v, .src = keys_of(c, c->p->v, j));
  }
}

/* What one warpgroup has of the block. */
typedef struct Rows {
  Idx q0;
  Smem q, dout;
  Tile lse, delta; /* one a row */
  Tile *dq;
  Tile drops; /* NULL: no weight is dropped */
} Rows;

static View
own_rows(const Queries *c, const Rows *my, const Tensor *x)
{
  return seq_queries(&c->w.seq, x, c->w.h, my->q0, ROWS);
}

/* S beside dO Vᵀ, then dQ += dS K. */
static void
step_queries(Tb *t, const Queries *c, const Rows *my, Walk *walk, TileIter j)
{
  Slot k = t_consumer_wait(t, c->k);
  j = t_told(t, walk, k, j);
  At at = {.q = my->q0, .k = j.k0, .b = c->w.b, .h = c->w.h, .hk = c->w.hk};
  Tile x = t_dot(t, my->q, s_trans(k.s));
  Slot v = t_consumer_wait(t, c->v);
  Tile dp = t_dot(t, my->dout, s_trans(v.s));
  Tile drop = fwd_drop(t, my->drops, ROWS, c->s->dq_block_n, at);
  x = t_wait(t, x);
  BwdWeights p = bwd_weights(t, c->p, &c->p->mask, x, at, j, my->lse, NULL);
  dp = t_wait(t, dp);
  t_consumer_release(t, v);
  Tile ds = bwd_slopes(t, p.steep, dp, my->delta, j, drop);
  Tile w = t_cvt(t, ds, c->p->dt);
  *my->dq = t_dot_acc(t, *my->dq, w, k.s);
  *my->dq = t_wait(t, *my->dq);
  t_consumer_release(t, k);
}

static void
compute_queries(Tb *t, const Queries *c)
{
  const Call *p = c->p;
  Walk keys = partition_keys(t, c->part, &c->w), walk = w_told(&keys);
  Rows my = {.q0 = team_first(t, c->w.q0)};
  my.lse = t_load_rows(t, own_rows(c, &my, t_region(t, c->rows->lse)));
  my.delta = t_load_rows(t, own_rows(c, &my, t_region(t, c->rows->delta)));
  Slot q = t_consumer_wait(t, c->q), dout = t_consumer_wait(t, c->dout);
  my.q = team_rows(t, q.s, p->d);
  my.dout = team_rows(t, dout.s, p->dv);
  Tile zero = t_zero(t, ROWS, p->d);
  my.dq = t_var(t, zero);
  my.drops = fwd_drop_state(t, p, c->w.b, c->w.h);
  T_FOR_TILES (t, j, &walk)
    step_queries(t, c, &my, &walk, j);
  Tile dq = bwd_scaled(t, *my.dq);
  dq = t_cvt(t, dq, p->dt);
  t_put(t, my.q, dq);
  t_copy_out(t, own_rows(c, &my, p->at[ATTNC_DQ]), my.q);
  t_consumer_release(t, q);
  t_consumer_release(t, dout);
}

static void
block_of_queries(Tb *t, const Queries *c)
{
  const Spec *spec = c->p->spec;
  T_ROLE (t, .name = "load", .teams = 1, .warps = WARPS,
          .regs = bwd_wgmma_load_regs(spec, c->s, PASS_DQ))
    T_WARP (t, 0)
      load_queries(t, c);
  T_ROLE (t, .name = "mma", .teams = bwd_wgmma_teams(c->s, PASS_DQ), .warps = WARPS,
          .regs = bwd_wgmma_mma_regs(spec, c->s, PASS_DQ))
    compute_queries(t, c);
}

static void
of_queries(Tb *t, const Call *p, const BwdHopper *s, const BwdRows *rows)
{
  Partition part = {.call = p,
                    .bm = s->dq_block_m,
                    .bn = s->dq_block_n,
                    .pack = 1,
                    .cluster = 1,
                    .scheduler = SCHED_ASIDE};
  Queries c = {.s = s, .part = &part, .rows = rows, .w = partition_alone(t, &part)};
  c.p = c.w.seq.call;
  SmemLayout l = bwd_wgmma_layout(p->spec, s, PASS_DQ);
  c.q = layout_ring(t, &l, PART_Q);
  c.dout = layout_ring(t, &l, PART_DO);
  c.k = layout_ring(t, &l, PART_K);
  c.v = layout_ring(t, &l, PART_V);
  T_WORK (t, c.w.is)
    block_of_queries(t, &c);
}

/* ---- emit ---- */

static int
warps_of(const BwdHopper *s, Pass pass)
{
  return WARPS * (1 + bwd_wgmma_teams(s, pass));
}

static void
emit(Build *b, const Call *call, const Sched *sched)
{
  const BwdHopper *s = bwd_hopper_of(sched);
  BwdRows rows = bwd_rows(b, call);
  bool fused = s->passes == 1;
  const WorkRegion *sums = fused ? bwd_sums(b, call) : NULL;
  for (int i = PASS_DKDV; i <= PASS_FUSED; i++)
    if (bwd_is_of((Pass)i, s->passes))
      T_ENTRY (b, t, bwd_pass_names[i], .warps = warps_of(s, (Pass)i))
        of_keys(t, t_call(t), s, (Pass)i, &rows, sums);
  if (fused)
    bwd_sums_out(b, sums);
  else
    T_ENTRY (b, t, bwd_pass_names[PASS_DQ], .warps = warps_of(s, PASS_DQ))
      of_queries(t, t_call(t), s, &rows);
}

static void
print(const Sched *sched, Str *out)
{
  const BwdHopper *s = bwd_hopper_of(sched);
  static const char *const gives[] = {[1] = "fused", [2] = "dk and dv", [3] = "dv, dk"};
  str_printf(out, "bwd_wgmma %s %dx%d, %d warpgroups, %d stage%s", gives[s->passes], s->bm,
             s->bn, s->bn / ROWS, s->stages, s->stages == 1 ? "" : "s");
  if (s->passes > 1)
    str_printf(out, "; dq %dx%d, %d warpgroups, %d stage%s", s->dq_block_m, s->dq_block_n,
               s->dq_block_m / ROWS, s->dq_stages, s->dq_stages == 1 ? "" : "s");
}

/* Additions of four numbers at once. */
static int
ptx(const Target *g, const Sched *sched)
{
  (void)g;
  return bwd_hopper_of(sched)->passes == 1 ? 81 : 0;
}

static const SchedField options[] = {BWD_WGMMA_OPTIONS(SCHED_ROW)};

const Template bwd_wgmma = {
    .name = "bwd_wgmma",
    .what = "gradients, FlashAttention-3 on wgmma and TMA, in passes or in one: sm_90a",
    .op = ATTNC_OP_BWD,
    .revision = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .applicable = bwd_wgmma_applicable,
    .axes = bwd_wgmma_axes,
    .plain = bwd_wgmma_plain,
    .refuse = bwd_wgmma_refuse,
    .cost = bwd_wgmma_cost,
    .initial = bwd_wgmma_initial,
    .emit = emit,
    .print = print,
    .ptx = ptx,
    .codegen_level = 2,
};
