/* ref_fwd: one row of queries a warp, one key at a time, everything in fp32 registers.
 * Slow and always applicable: any mixture of fp16, bf16 and fp32, any head_dim that is a
 * multiple of 8 up to 512, no shared memory, no tensor cores.  Loads where it uses. */
#include "templates/cascade.h"
#include "templates/cost.h"
#include "templates/fwd.h"
#include "templates/partition.h"
#include "templates/softmax.h"

#define OPTIONS(X) X(q_in_regs, BOOL, 0, 1, NULL, KEEP, "true", "Keep q in registers.")
SCHED_TYPE(Ref, OPTIONS, ref_of, sched_of)
static const SchedField options[] = {OPTIONS(SCHED_ROW)};

static bool
applicable(const Case *c, Why *why)
{
  return fwd_takes(c->spec, why);
}

extern const Template ref_fwd;

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
  return sched_of((Ref){.tmpl = &ref_fwd, .bm = 4, .bn = 1, .stages = 1, .warps = 4});
}

static bool
refuse(const Case *c, const Sched *s, Why *why)
{
  if (s->bm != s->warps)
    return refused(why, "block_m must be num_warps (%d): a row a warp", s->warps);
  if (s->warps < 1 || s->warps > 32)
    return refused(why, "num_warps %d is not in 1 … 32", s->warps);
  if (s->bn != 1)
    return refused(why, "block_n must be 1: a key at a time");
  if (s->stages != 1)
    return refused(why, "num_stages must be 1: nothing is staged");
  if (ref_of(s)->q_in_regs)
    return refused(why, "q_in_regs has no meaning here: Q is never elsewhere");
  return fwd_refuse_lists(c->spec, s, why);
}

/* About 60 instructions a key and row, one issued a clock by each of four schedulers. */
static SchedCost
cost(const Case *c, const Sched *s)
{
  Case k = cost_assume(c);
  Partition p = partition_aside(NULL, s);
  SchedCost r = {.regs = 48, .ctas_sm = c->target->threads_sm / (32 * s->warps)};
  r.cycles = 60.0 / 4 * s->warps * cost_tiles(&k, &p) / k.sms;
  return r;
}

static Sched
initial(const Case *c)
{
  (void)c;
  return plain();
}

/* O, and where weights are near what its roundings left out. */
typedef struct Acc {
  Tile *o, *lost;
} Acc;

static void
add(Tb *t, const Acc *acc, bool near, Tile correction, Tile v, Tile weight)
{
  Tile o = t_mul(t, *acc->o, correction);
  if (!near) {
    *acc->o = t_fma(t, v, weight, o);
    return;
  }
  Tile x = t_mul(t, v, weight);
  Tile left = t_fms(t, v, weight, x);
  *acc->lost = t_fma(t, *acc->lost, correction, left);
  *acc->o = softmax_add(t, o, x, acc->lost);
}

static void
step(Tb *t, const WorkTile *w, Softmax *sm, Tile state, Tile q, const Acc *acc, int bm,
     TileIter j)
{
  const Call *p = w->seq.call;
  At at = {.q = w->q0, .k = j.k0, .b = w->b, .h = w->h, .hk = w->hk};
  View row = w_tile(seq_keys(&w->seq, p->k, w->hk, j.k0, 1), j);
  Tile correction, k = t_load_one(t, row);
  Tile x = t_row_dot(t, q, k);
  x = fwd_scores(t, p, x, at, j, NULL);
  Tile weight = softmax_step(t, sm, x, fwd_may_hide(p, j), &correction);
  row = w_tile(seq_keys(&w->seq, p->v, w->hk, j.k0, 1), j);
  Tile v = t_load_one(t, w_seen(row, j));
  Tile drop = fwd_drop(t, state, bm, 1, at);
  weight = fwd_keep(t, drop, weight);
  add(t, acc, sm->near, correction, v, weight);
}

static void
block(Tb *t, const Partition *part, const WorkTile *w)
{
  const Call *p = w->seq.call;
  int bm = part->bm;
  Walk keys = partition_keys(t, part, w);
  Walk kv = t_walk(t, &keys, 0);
  Tile lse, q = t_load(t, seq_queries(&w->seq, p->q, w->h, w->q0, bm));
  Softmax sm = softmax_new(t, bm, !spec_score_is_plain(p->spec));
  sm.near = p->v->ty == DT_F32;
  Tile zero = t_zero_lanes(t, bm, p->dv);
  Acc acc = {.o = t_var(t, zero)};
  acc.lost = t_var(t, zero);
  Tile state = fwd_drop_state(t, p, w->b, w->h);
  T_FOR_TILES (t, j, &kv)
    step(t, w, &sm, state, q, &acc, bm, j);
  At at = {.q = w->q0, .b = w->b, .h = w->h, .hk = w->hk};
  Tile inv = fwd_end(t, p, &sm, bm, at, &lse);
  Tile o = sm.near ? t_add(t, *acc.o, *acc.lost) : *acc.o;
  o = t_mul(t, o, inv);
  t_store(t, seq_queries(&w->seq, p->o, w->h, w->q0, bm), o);
  if (p->at[ATTNC_O_LO]) {
    Tile rest = t_residual(t, o, p->o->ty);
    t_store(t, seq_queries(&w->seq, p->at[ATTNC_O_LO], w->h, w->q0, bm), rest);
  }
  if (p->lse)
    t_store_rows(t, seq_queries(&w->seq, p->lse, w->h, w->q0, bm), lse);
}

static void
forward(Tb *t, const Call *p, const Sched *s)
{
  Partition part = partition_aside(p, s);
  WorkTile w = partition_alone(t, &part);
  T_WORK (t, w.is)
    block(t, &part, &w);
}

static void
attend(Build *b, const Call *call, const Sched *s, Ahead *ahead)
{
  attend_ahead(b, call, ahead);
  T_ENTRY (b, t, NULL, .warps = s->warps)
    forward(t, t_call(t), s);
}

static void
print(const Sched *s, Str *out)
{
  str_printf(out, "ref_fwd %d rows, a warp each", s->bm);
}

const Template ref_fwd = {
    .name = "ref_fwd",
    .what = "slow, always applicable: a row a warp, a key at a time",
    .revision = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .applicable = applicable,
    .axes = axes,
    .plain = plain,
    .refuse = refuse,
    .cost = cost,
    .initial = initial,
    .emit = cascade_emit,
    .attend = attend,
    .print = print,
    .codegen_level = 2,
};
