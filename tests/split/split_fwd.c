/* split_fwd: the smallest template of several launches, for tests alone: the forward with
 * its keys split in two.
 *
 * `partial` is ref_fwd's algorithm with two CTAs a block of queries, each over half of its
 * key tiles: O of a half, divided by its own sums, and their logarithm go to workspace.
 * `combine` weighs the halves by those logarithms and adds them up.  Beside them a region
 * that a memset fills, which `combine` adds to every row's logarithm: it must be zero. */
#include "templates/cost.h"
#include "templates/fwd.h"
#include "templates/partition.h"
#include "templates/softmax.h"

static bool
applicable(const Case *c, Why *why)
{
  const Spec *s = c->spec;
  const Rule rules[] = {
      {s->dtype[ATTNC_V] != DT_F32, "v must have 16 bits", REASON_DTYPE},
      {!s->sink_logit.n, "a sink would be added to each half", REASON_FIELD},
      {s->lse_base == LSE_BASE_E, "halves are put together by natural logarithms",
       REASON_FIELD}};
  return rules_hold(rules, 3, why);
}

extern const Template split_fwd;

static const SpaceAxis rows = {{"block_m", "num_warps"}, 2, {{4, 4}, {8, 8}}};

static const SpaceAxis *const *
axes(const Case *c)
{
  static const SpaceAxis *const all[] = {&rows, NULL};
  (void)c;
  return all;
}

static Sched
plain(void)
{
  return (Sched){.tmpl = &split_fwd, .bm = 4, .bn = 1, .stages = 1, .warps = 4};
}

static bool
refuse(const Case *c, const Sched *s, Why *why)
{
  (void)c;
  if (s->bm != s->warps || s->warps < 1 || s->warps > 32 || s->bn != 1 || s->stages != 1)
    return refused(why, "it takes block_m = num_warps, block_n 1, num_stages 1");
  return false;
}

static SchedCost
cost(const Case *c, const Sched *s)
{
  Case k = cost_assume(c);
  Partition p = partition_aside(NULL, s);
  SchedCost r = {.regs = 48, .ctas_sm = c->target->threads_sm / (32 * s->warps)};
  r.cycles = 80.0 / 4 * s->warps * cost_tiles(&k, &p) / k.sms;
  return r;
}

static Sched
initial(const Case *c)
{
  (void)c;
  return plain();
}

/* What the launches share. */
typedef struct Parts {
  const WorkRegion *o, *lse, *zeros;
} Parts;

/* ---- the first launch ---- */

/* Two CTAs a block of queries: 2i and 2i + 1. */
static WorkTile
block_of(Tb *t, const Call *p, int bm)
{
  Idx blocks = i_cdiv(p->host->sq, bm), batches = call_size(p->host, SIZE_B);
  t_grid(t, i_mul(blocks, 2), p->host->h, batches);
  WorkTile w = {.b = i_cta(t, 2)};
  w.h = i_cta(t, 1);
  w.hk = i_div(w.h, fwd_group(p));
  w.q0 = i_mul(i_div(i_cta(t, 0), 2), bm);
  return w;
}

/* The lower or the upper half of the tiles: none, where there is one in all. */
static Walk
half_of(const Walk *all, Idx half)
{
  Walk w = *all;
  Idx low = all->tiles.lo, high = all->tiles.hi;
  Idx middle = i_add(low, i_div(i_sub(high, low), 2));
  w.tiles.lo = i_add(low, i_mul(half, i_sub(middle, low)));
  w.tiles.hi = i_add(middle, i_mul(half, i_sub(high, middle)));
  return w;
}

static void
step(Tb *t, const Call *p, const WorkTile *w, Softmax *sm, Tile q, Tile *o, TileIter j)
{
  At at = {.q = w->q0, .k = j.k0, .b = w->b, .h = w->h, .hk = w->hk};
  Tile correction, k = t_load_one(t, v_rows(p->k, w->b, w->hk, j.k0, 1));
  Tile x = t_row_dot(t, q, k);
  x = fwd_scores(t, p, x, at, j, NULL);
  Tile weight = softmax_step(t, sm, x, fwd_may_hide(p, j), &correction);
  Tile v = t_load_one(t, w_seen(v_rows(p->v, w->b, w->hk, j.k0, 1), j));
  Tile before = t_mul(t, *o, correction);
  *o = t_fma(t, v, weight, before);
}

/* Of the regions' batches the first are the lower halves'. */
static void
partial(Tb *t, const Call *p, const Sched *s, const Parts *parts)
{
  t_grid_trigger(t);
  WorkTile w = block_of(t, p, s->bm);
  Idx half = i_mod(i_cta(t, 0), 2), at = i_add(w.b, i_mul(half, call_size(p, SIZE_B)));
  WalkRows own = {.q0 = w.q0, .b = w.b, .h = w.h, .hk = w.hk, .n = s->bm};
  Walk all = w_keys(t, &p->mask, &own, s->bn), kv = half_of(&all, half);
  Tile lse, q = t_load(t, v_rows(p->q, w.b, w.h, w.q0, s->bm));
  Softmax sm = softmax_new(t, s->bm, !spec_score_is_plain(p->spec));
  Tile zero = t_zero_lanes(t, s->bm, p->dv);
  Tile *o = t_var(t, zero);
  T_FOR_TILES (t, j, &kv)
    step(t, p, &w, &sm, q, o, j);
  Tile inv = fwd_end(t, p, &sm, s->bm, (At){.q = w.q0}, &lse);
  Tile x = t_mul(t, *o, inv);
  t_store(t, v_rows(t_region(t, parts->o), at, w.h, w.q0, s->bm), x);
  t_store_rows(t, v_rows(t_region(t, parts->lse), at, w.h, w.q0, s->bm), lse);
}

/* ---- the second launch ---- */

/* Of the half from batch `at` on: O, and its rows' logarithms. */
static Tile
half(Tb *t, const Parts *parts, const WorkTile *w, Idx at, int n, Tile *lse)
{
  const Tensor *x = t_region(t, parts->o), *y = t_region(t, parts->lse);
  const Tensor *z = t_region(t, parts->zeros);
  Tile zeros = t_load_rows(t, v_rows(z, w->b, w->h, w->q0, n));
  Tile own = t_load_rows(t, v_rows(y, at, w->h, w->q0, n));
  *lse = t_add(t, own, zeros);
  return t_load(t, v_rows(x, at, w->h, w->q0, n));
}

/* exp(lse − most), 0 for a half without keys. */
static Tile
share(Tb *t, Tile lse, Tile most)
{
  Tile log2e = t_const(t, 1.4426950408889634);
  Tile below = t_sub(t, lse, most);
  Tile power = t_mul(t, below, log2e);
  return t_exp2(t, power);
}

static void
combine(Tb *t, const Call *p, const Sched *s, const Parts *parts)
{
  Partition part = partition_aside(p, s);
  WorkTile w = partition_alone(t, &part);
  Tile lse0, lse1, least = t_const(t, -1e30);
  Tile o0 = half(t, parts, &w, w.b, s->bm, &lse0);
  Tile o1 = half(t, parts, &w, i_add(w.b, call_size(p, SIZE_B)), s->bm, &lse1);
  Tile most = t_max(t, lse0, lse1);
  most = t_max(t, most, least); /* −inf would make NaN of −inf */
  Tile w0 = share(t, lse0, most), w1 = share(t, lse1, most);
  Tile sum = t_add(t, w0, w1);
  Tile rcp = t_rcp(t, sum), inv = t_select_nonzero(t, sum, rcp);
  Tile o = t_mul(t, o0, w0);
  o = t_fma(t, o1, w1, o);
  o = t_mul(t, o, inv);
  t_store(t, v_rows(p->o, w.b, w.h, w.q0, s->bm), o);
  if (!p->lse)
    return;
  Tile ln2 = t_const(t, 0.69314718055994531), log = t_log2(t, sum);
  Tile lse = t_fma(t, log, ln2, most);
  t_store_rows(t, v_rows(p->lse, w.b, w.h, w.q0, s->bm), lse);
}

static void
emit(Build *b, const Call *call, const Sched *s)
{
  Idx batches = call_size(call, SIZE_B), twice = i_mul(batches, 2);
  Parts parts = {.o = b_region(b, .name = "o_parts", .ty = DT_F32, .b = twice, .h = call->h,
                               .rows = call->sq, .cols = call->dv)};
  parts.lse = b_region(b, .name = "lse_parts", .ty = DT_F32, .b = twice, .h = call->h,
                       .rows = call->sq, .cols = 1);
  parts.zeros = b_region(b, .name = "zeros", .ty = DT_F32, .b = batches, .h = call->h,
                         .rows = call->sq, .cols = 1);
  b_memset(b, parts.zeros, 0);
  T_ENTRY (b, t, "partial", .warps = s->warps)
    partial(t, t_call(t), s, &parts);
  T_ENTRY (b, t, "combine", .warps = s->warps, .dependent = true) {
    const Call *p = t_call(t);
    t_grid_wait(t);
    combine(t, p, s, &parts);
  }
}

static void
print(const Sched *s, Str *out)
{
  str_printf(out, "split_fwd %d rows, a warp each, keys in two halves", s->bm);
}

const Template split_fwd = {
    .name = "split_fwd",
    .what = "two launches: halves of the keys, then their sum",
    .revision = 1,
    .applicable = applicable,
    .axes = axes,
    .plain = plain,
    .refuse = refuse,
    .cost = cost,
    .initial = initial,
    .emit = emit,
    .print = print,
    .codegen_level = 2,
};
