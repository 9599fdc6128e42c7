/* ref_bwd: gradients of q, k and v, in fp32 registers and two launches: of k and v by one
 * warp a key, which goes through all queries that may see it; of q a row a warp, a key at a
 * time.  Slow and always applicable, as ref_fwd is.  Each element is the sum of one thread,
 * in one order: the same bits in every call.
 *
 * With p = exp(score − lse), D = Σ do · o − dlse and `slope` the score's derivative by the
 * scaled product: dv = Σ p do, ds = p (do · v − D) slope, dq = scale Σ ds k and
 * dk = scale Σ ds q (Dao et al., FlashAttention, 2022, appendix B.4). */
#include "templates/bwd.h"
#include "templates/cost.h"
#include "templates/fwd.h"
#include "templates/partition.h"
#include "templates/row_blocks.h"

#include <float.h>

static const double LOG2E = 1.4426950408889634;

enum { GRADS = CALL_STEPS - 2 }; /* launches of a kernel that are left for them */

extern const Template ref_bwd;

static bool
applicable(const Case *c, Why *why)
{
  const Rule rules[] = {
      {c->spec->grads.n <= GRADS, "grad of more than six tables", REASON_FIELD},
      {!c->spec->grads.n || !spec_has_lists(c->spec),
       "gradients of tables with block_list are not computed", REASON_FIELD},
  };
  bool takes = rules_hold(rules, (int)(sizeof rules / sizeof *rules), why);
  takes = fwd_takes(c->spec, why) && takes;
  return bwd_takes_lists(c->spec, why) && takes;
}

static bool
refuse(const Case *c, const Sched *s, Why *why)
{
  return row_refuse(c, s, why) || fwd_refuse_lists(c->spec, s, why);
}

static Sched
plain(void)
{
  return row_plain(&ref_bwd);
}

/* Instructions of a query and key in both launches. */
enum { PAIR_SLOTS = 90 + 120 };

static SchedCost
cost(const Case *c, const Sched *s)
{
  Case k = cost_assume(c);
  Partition p = partition_aside(NULL, s);
  SchedCost r = {.regs = 64, .ctas_sm = c->target->threads_sm / (32 * s->warps)};
  r.cycles = PAIR_SLOTS / 4.0 * s->warps * cost_tiles(&k, &p) / k.sms;
  return r;
}

static Sched
initial(const Case *c)
{
  (void)c;
  return plain();
}

/* What of a row of queries does not depend on the key. */
typedef struct Query {
  int n; /* rows */
  Tile q, dout;
  Tile lse; /* in nats; of a row that sees no key so high that no weight is left */
  Tile sum; /* D */
} Query;

/* ln or log2, as the spec has it, to ln. */
static Tile
in_nats(Tb *t, const Call *p, Tile x)
{
  if (p->spec->lse_base != LSE_BASE_2)
    return x;
  Tile unit = t_const(t, 1 / LOG2E);
  return t_mul(t, x, unit);
}

/* One that is NaN stays so. */
static Tile
without_nothing(Tb *t, Tile lse)
{
  Tile none = t_const(t, 0), most = t_const(t, FLT_MAX);
  Tile below = t_sub(t, none, lse);
  return t_select_gt(t, below, most, lse, FLT_MAX);
}

static Tile
row_sum(Tb *t, const Seq *s, Idx h, Idx row, int n, Tile dout, Tile o)
{
  const Call *p = s->call;
  Tile sum = t_row_dot(t, dout, o);
  if (p->at[ATTNC_O_LO]) {
    Tile rest = t_load(t, seq_queries(s, p->at[ATTNC_O_LO], h, row, n));
    rest = t_row_dot(t, dout, rest);
    sum = t_add(t, sum, rest);
  }
  if (!p->at[ATTNC_DLSE])
    return sum;
  Tile dlse = t_load_rows(t, seq_queries(s, p->at[ATTNC_DLSE], h, row, n));
  if (p->spec->lse_base == LSE_BASE_2) {
    Tile unit = t_const(t, LOG2E);
    dlse = t_mul(t, dlse, unit);
  }
  return t_sub(t, sum, dlse);
}

static Query
load_query(Tb *t, const Seq *s, Idx h, Idx row, int n)
{
  const Call *p = s->call;
  Query r = {.n = n, .q = t_load(t, seq_queries(s, p->q, h, row, n))};
  r.dout = t_load(t, seq_queries(s, p->at[ATTNC_DO], h, row, n));
  Tile o = t_load(t, seq_queries(s, p->o, h, row, n));
  Tile lse = t_load_rows(t, seq_queries(s, p->lse, h, row, n));
  lse = without_nothing(t, lse);
  r.lse = in_nats(t, p, lse);
  r.sum = row_sum(t, s, h, row, n, r.dout, o);
  return r;
}

/* The weight of a pair, 0 of one that is masked, and its score's gradient. */
typedef struct Pair {
  Tile p, ds;
} Pair;

/* Its score as it is weighed, and what a change of its product is worth in it (NULL: as
 * much); whether its weight is dropped (NULL: none is). */
typedef struct Score {
  Tile x, slope, drop;
} Score;

static Tile
slope_of(Tb *t, const Call *p, Tile x, At at)
{
  return spec_score_has_slope(p->spec) ? t_score_slope(t, &p->mods, x, at) : NULL;
}

static Pair
pair(Tb *t, const Call *p, const Query *r, const Score *s, Tile dp)
{
  bool near = p->v->ty == DT_F32, scaled = !spec_score_is_plain(p->spec);
  Pair a;
  Tile scale = scaled ? t_const(t, 1) : t_scalar(t, ATTNC_SOFTMAX_SCALE, 1);
  Tile e = t_fms(t, s->x, scale, r->lse); /* rounded once, relative to itself */
  Tile log2e = t_const(t, LOG2E);
  e = t_mul(t, e, log2e);
  a.p = near ? t_exp2_near(t, e) : t_exp2(t, e);
  if (s->drop) {
    Tile kept = t_kept_factor(t);
    dp = t_mul(t, dp, kept);
    dp = t_keep(t, s->drop, dp);
  }
  Tile over = t_sub(t, dp, r->sum);
  if (s->slope)
    over = t_mul(t, over, s->slope);
  over = t_select_nonzero(t, a.p, over);
  a.ds = t_mul(t, a.p, over);
  return a;
}

/* What nobody weighs adds nothing, be it NaN. */
static void
add(Tb *t, Tile *sum, Tile weight, Tile p, Tile x)
{
  x = t_select_nonzero(t, p, x);
  *sum = t_fma(t, x, weight, *sum);
}

static void
store_scaled(Tb *t, View to, Tile sum)
{
  Tile scale = t_scalar(t, ATTNC_SOFTMAX_SCALE, 1);
  Tile x = t_mul(t, sum, scale);
  t_store(t, to, x);
}

/* ---- of q ---- */

static void
add_key(Tb *t, const WorkTile *w, const Query *r, Tile state, TileIter j, Tile *dq)
{
  const Call *p = w->seq.call;
  At at = {.q = w->q0, .k = j.k0, .b = w->b, .h = w->h, .hk = w->hk};
  Tile k = t_load_one(t, w_tile(seq_keys(&w->seq, p->k, w->hk, j.k0, 1), j));
  Tile v = t_load_one(t, w_tile(seq_keys(&w->seq, p->v, w->hk, j.k0, 1), j));
  Tile x = t_row_dot(t, r->q, k);
  Tile dp = t_row_dot(t, r->dout, v);
  Score s = {.slope = slope_of(t, p, x, at)};
  s.x = fwd_scores(t, p, x, at, j, NULL);
  s.drop = fwd_drop(t, state, r->n, 1, at);
  Pair a = pair(t, p, r, &s, dp);
  add(t, dq, a.ds, a.p, k);
}

static void
block_of_queries(Tb *t, const Partition *part, const WorkTile *w)
{
  const Call *p = w->seq.call;
  Query r = load_query(t, &w->seq, w->h, w->q0, part->bm);
  Walk keys = partition_keys(t, part, w);
  Walk kv = t_walk(t, &keys, 0);
  Tile zero = t_zero_lanes(t, part->bm, p->d);
  Tile *dq = t_var(t, zero);
  Tile state = fwd_drop_state(t, p, w->b, w->h);
  T_FOR_TILES (t, j, &kv)
    add_key(t, w, &r, state, j, dq);
  store_scaled(t, seq_queries(&w->seq, p->at[ATTNC_DQ], w->h, w->q0, part->bm), *dq);
}

static void
of_queries(Tb *t, const Call *p, const Sched *s)
{
  Partition part = partition_aside(p, s);
  WorkTile w = partition_alone(t, &part);
  T_WORK (t, w.is)
    block_of_queries(t, &part, &w);
}

/* ---- of k and v ---- */

/* A key, and what comes of it so far. */
typedef struct Key {
  Idx b, hk, row;
  Tile k, v, *dk, *dv;
} Key;

/* whole: no mask hides the key. */
static void
add_query(Tb *t, const Seq *s, const Key *of, Tile state, Idx h, Idx row, bool whole)
{
  const Call *p = s->call;
  At at = {.q = row, .k = of->row, .b = of->b, .h = h, .hk = of->hk};
  Query r = load_query(t, s, h, row, 1);
  Tile x = t_row_dot(t, r.q, of->k);
  Tile dp = t_row_dot(t, r.dout, of->v);
  Score own = {.x = x, .slope = slope_of(t, p, x, at)};
  if (!spec_score_is_plain(p->spec))
    own.x = t_score(t, &p->mods, x, at);
  if (!whole && !mask_is_full(p->spec))
    own.x = t_mask(t, &p->mask, own.x, at);
  own.drop = fwd_drop(t, state, 1, 1, at);
  Pair a = pair(t, p, &r, &own, dp);
  Tile weight = fwd_keep(t, own.drop, a.p);
  add(t, of->dv, weight, weight, r.dout);
  add(t, of->dk, a.ds, a.p, r.q);
}

static void
add_rows_of(Tb *t, const Seq *s, const Key *of, Tile state, Idx h, Span rows, bool whole)
{
  T_FOR (t, i, rows)
    add_query(t, s, of, state, h, i, whole);
}

/* Rows of blocks of queries whose list, as far as it goes, has the key's block. */
static void
add_listed(Tb *t, const Seq *s, const Key *of, Tile state, Idx h, Idx block, ListKind kind)
{
  const BlockLists *l = s->call->mask.lists;
  Idx at[EXPR_AXES] = {of->b, h, block}, blocks = i_cdiv(s->call->sk, l->keys);
  Idx full = i_element(t, &l->n[LIST_FULL], at);
  full = i_max(0, i_min(full, blocks));
  Idx partial = i_element(t, &l->n[LIST_PARTIAL], at);
  partial = i_max(0, i_min(partial, i_sub(blocks, full)));
  const Span entries = {i_int(0), kind == LIST_FULL ? full : partial, i_int(1)};
  Idx first = i_mul(block, l->rows);
  const Span rows = {first, i_min(i_add(first, l->rows), s->call->sq), i_int(1)};
  T_FOR (t, i, entries) {
    Idx entry[EXPR_AXES] = {of->b, h, block, i};
    Idx which = i_element(t, &l->at[kind], entry);
    Idx own = i_div(of->row, l->keys);
    Idx above = i_le(own, which), below = i_le(which, own);
    T_IF (t, i_and(above, below))
      add_rows_of(t, s, of, state, h, rows, kind == LIST_FULL);
  }
}

static void
add_head(Tb *t, const Seq *s, const Key *of, Idx h)
{
  const BlockLists *l = s->call->mask.lists;
  Tile state = fwd_drop_state(t, s->call, of->b, h);
  const Span all = {i_int(0), l ? i_cdiv(s->call->sq, l->rows) : s->call->sq, i_int(1)};
  T_FOR (t, i, all) {
    if (l) {
      add_listed(t, s, of, state, h, i, LIST_FULL);
      add_listed(t, s, of, state, h, i, LIST_PARTIAL);
    } else {
      add_query(t, s, of, state, h, i, false);
    }
  }
}

static void
one_key(Tb *t, const Seq *s, Key *of)
{
  const Call *p = s->call;
  Tile none = t_zero_lanes(t, 1, p->d);
  of->dk = t_var(t, none);
  none = t_zero_lanes(t, 1, p->dv);
  of->dv = t_var(t, none);
  of->k = t_load(t, seq_keys(s, p->k, of->hk, of->row, 1));
  of->v = t_load(t, seq_keys(s, p->v, of->hk, of->row, 1));
  Idx group = fwd_group(p), first = i_mul(of->hk, group);
  const Span heads = {first, i_add(first, group), i_int(1)};
  T_FOR (t, i, heads)
    add_head(t, s, of, i);
  store_scaled(t, seq_keys(s, p->at[ATTNC_DK], of->hk, of->row, 1), *of->dk);
  Tile dv = *of->dv;
  if (p->spec->dropout) {
    Tile kept = t_kept_factor(t);
    dv = t_mul(t, dv, kept);
  }
  t_store(t, seq_keys(s, p->at[ATTNC_DV], of->hk, of->row, 1), dv);
}

static void
of_keys(Tb *t, const Call *p)
{
  const RowSource rows = {.heads = SIZE_HK,
                          .rows = SIZE_SK,
                          .total = SIZE_TOTAL_K,
                          .offsets = ATTNC_CU_SEQLENS_K};
  RowBlock r = row_block_of_cta(t, p, &rows, 1);
  T_WORK (t, r.is) {
    Seq s = sequence(t, p, r.b);
    Key of = {.b = r.b, .hk = r.h, .row = r.row};
    T_IF (t, i_lt(r.row, s.call->sk))
      one_key(t, &s, &of);
  }
}

/* ---- of tables ---- */

/* The pairs that an element of a table is of, or a row of the sink: what the table has no
 * axis of is all of it. */
typedef struct Pairs {
  int grad;     /* of spec->grads */
  bool q, k;    /* it has these axes, */
  Span b, h;    /* all batches and query heads, or one of either, … */
  Idx row, key; /* … and the query and key where it has their axes */
  Tile *sum;
} Pairs;

/* The n-th of a number's parts: its axis, of which the rest goes on to the next one. */
static Idx
part_of(Idx *rest, Idx n)
{
  Idx own = i_mod(*rest, n);
  *rest = i_div(*rest, n);
  return own;
}

static Span
one_of(bool is, Idx at, Idx all)
{
  Idx lo = is ? at : i_int(0);
  return (Span){lo, is ? i_add(at, 1) : all, i_int(1)};
}

static bool
has_axis(const SpecTable *x, SizeId size, SizeId packed)
{
  for (int i = 0; i < x->axes.n; i++)
    if (x->axes.at[i].size == size || x->axes.at[i].size == packed)
      return true;
  return false;
}

static bool
is_packed(const SpecTable *x)
{
  return has_axis(x, SIZE_TOTAL_Q, SIZE_TOTAL_K);
}

/* Elements of a packed axis are numbered by batch and row. */
static Idx
elements(const Call *p, const SpecTable *x)
{
  Idx n = i_int(1);
  if (has_axis(x, SIZE_SK, SIZE_TOTAL_K))
    n = i_mul(n, p->sk);
  if (has_axis(x, SIZE_SQ, SIZE_TOTAL_Q))
    n = i_mul(n, p->sq);
  if (has_axis(x, SIZE_HK, SIZE_HK))
    n = i_mul(n, p->hk);
  if (has_axis(x, SIZE_H, SIZE_H))
    n = i_mul(n, p->h);
  return has_axis(x, SIZE_B, SIZE_B) || is_packed(x) ? i_mul(n, call_size(p, SIZE_B)) : n;
}

static Pairs
pairs_of(const Call *p, const SpecTable *x, Idx number)
{
  Idx rest = number, group = fwd_group(p), b = call_size(p, SIZE_B);
  Pairs r = {.q = has_axis(x, SIZE_SQ, SIZE_TOTAL_Q),
             .k = has_axis(x, SIZE_SK, SIZE_TOTAL_K)};
  bool own_b = has_axis(x, SIZE_B, SIZE_B) || is_packed(x);
  r.key = r.k ? part_of(&rest, p->sk) : i_int(0);
  r.row = r.q ? part_of(&rest, p->sq) : i_int(0);
  r.h = one_of(false, i_int(0), p->h);
  if (has_axis(x, SIZE_HK, SIZE_HK)) {
    Idx first = i_mul(part_of(&rest, p->hk), group);
    r.h = (Span){first, i_add(first, group), i_int(1)};
  } else if (has_axis(x, SIZE_H, SIZE_H)) {
    r.h = one_of(true, part_of(&rest, p->h), i_int(0));
  }
  r.b = one_of(own_b, own_b ? rest : i_int(0), b);
  return r;
}

/* What a pair makes of the element. */
static void
add_pair(Tb *t, const Seq *s, const Pairs *of, const Query *r, Tile state, At at)
{
  const Call *p = s->call;
  Tile k = t_load(t, seq_keys(s, p->k, at.hk, at.k, 1));
  Tile v = t_load(t, seq_keys(s, p->v, at.hk, at.k, 1));
  Tile x = t_row_dot(t, r->q, k);
  Tile dp = t_row_dot(t, r->dout, v);
  Score own = {.slope = t_score_slope_by(t, &p->mods, x, at, of->grad)};
  own.x = t_score(t, &p->mods, x, at);
  if (!mask_is_full(p->spec))
    own.x = t_mask(t, &p->mask, own.x, at);
  own.drop = fwd_drop(t, state, 1, 1, at);
  Pair a = pair(t, p, r, &own, dp);
  *of->sum = t_add(t, *of->sum, a.ds);
}

/* What a row makes of the sink: nothing where its LSE is none. */
static void
add_sink(Tb *t, const Seq *s, const Pairs *of, const Query *r, At at)
{
  const Call *p = s->call;
  bool near = p->v->ty == DT_F32;
  Tile sink = t_sink(t, &p->mods, 1, at), log2e = t_const(t, LOG2E), none = t_const(t, 0);
  Tile e = t_sub(t, sink, r->lse);
  e = t_mul(t, e, log2e);
  Tile w = near ? t_exp2_near(t, e) : t_exp2(t, e);
  Tile down = t_sub(t, none, r->sum);
  down = t_select_nonzero(t, w, down);
  *of->sum = t_fma(t, w, down, *of->sum);
}

static void
add_row(Tb *t, const Seq *s, const Pairs *of, Tile state, At at)
{
  const Call *p = s->call;
  Query r = load_query(t, s, at.h, at.q, 1);
  if (!p->spec->grads.at[of->grad].lists) {
    add_sink(t, s, of, &r, at);
    return;
  }
  Span keys = one_of(of->k, of->key, p->sk);
  keys.hi = i_min(keys.hi, p->sk);
  T_FOR (t, i, keys) {
    At own = at;
    own.k = i;
    add_pair(t, s, of, &r, state, own);
  }
}

static void
add_rows(Tb *t, const Seq *s, const Pairs *of, At at)
{
  const Call *p = s->call;
  Span rows = one_of(of->q, of->row, p->sq);
  Tile state = fwd_drop_state(t, p, at.b, at.h);
  rows.hi = i_min(rows.hi, p->sq);
  T_FOR (t, i, rows) {
    At own = at;
    own.q = i;
    add_row(t, s, of, state, own);
  }
}

static void
add_heads(Tb *t, const Call *p, const Pairs *of, Idx b)
{
  Seq s = sequence(t, p, b);
  T_FOR (t, i, of->h) {
    At at = {.b = b, .h = i, .hk = i_div(i, fwd_group(p))};
    add_rows(t, &s, of, at);
  }
}

/* The element as one row of one column; of a packed axis the sequence's rows are counted
 * from its first one, and it has no more. */
static void
store_element(Tb *t, const Call *p, const Pairs *of, const SpecTable *x, Tile sum)
{
  const Lookup *to = &p->gradients[of->grad];
  Tensor *one = NEW(t_arena(t), Tensor);
  Idx at = i_int(0), is = i_int(1), b = of->b.lo;
  *one = (Tensor){.name = to->name, .slot = to->slot, .ty = to->ty, .cols = 1};
  Seq s = sequence(t, p, b);
  for (int i = 0; i < x->axes.n; i++) {
    SizeId size = x->axes.at[i].size;
    bool q = size == SIZE_SQ || size == SIZE_TOTAL_Q;
    bool k = size == SIZE_SK || size == SIZE_TOTAL_K;
    Idx own = q ? of->row : k ? of->key : size == SIZE_B ? b : of->h.lo;
    if (size == SIZE_HK)
      own = i_div(own, fwd_group(p));
    if (size == SIZE_TOTAL_Q) {
      is = i_and(is, i_lt(own, s.call->sq));
      own = i_add(own, s.q_row);
    }
    if (size == SIZE_TOTAL_K) {
      is = i_and(is, i_lt(own, s.call->sk));
      own = i_add(own, s.k_first);
    }
    at = i_add(at, i_mul64(own, to->stride[i]));
  }
  one->rows = i_int(1);
  one->stride[0] = at;
  T_IF (t, is)
    t_store_rows(t, v_in_bounds(v_rows(one, i_int(1), i_int(0), i_int(0), 1)), sum);
}

static void
of_table(Tb *t, const Call *p, int grad)
{
  const SpecTable *x = &p->spec->tables.at[p->spec->grads.at[grad].table];
  const Call *host = p->host;
  t_grid(t, elements(host, x), i_int(1), i_int(1));
  Pairs of = pairs_of(p, x, i_cta(t, 0));
  of.grad = grad;
  Tile none = t_rows(t, 1, 0);
  of.sum = t_var(t, none);
  T_FOR (t, i, of.b)
    add_heads(t, p, &of, i);
  store_element(t, p, &of, x, *of.sum);
}

static void
emit(Build *b, const Call *call, const Sched *s)
{
  T_ENTRY (b, t, "dkdv", .warps = 1)
    of_keys(t, t_call(t));
  T_ENTRY (b, t, "dq", .warps = s->warps)
    of_queries(t, t_call(t), s);
  for (int i = 0; i < call->spec->grads.n; i++)
    T_ENTRY (b, t, call->spec->grads.at[i].name, .warps = 1)
      of_table(t, t_call(t), i);
}

static void
print(const Sched *s, Str *out)
{
  str_printf(out, "ref_bwd %d rows, a warp each", s->bm);
}

const Template ref_bwd = {
    .name = "ref_bwd",
    .what = "gradients, slow, always applicable: a row a warp, one row at a time",
    .op = ATTNC_OP_BWD,
    .revision = 1,
    .applicable = applicable,
    .axes = row_axes,
    .plain = plain,
    .refuse = refuse,
    .cost = cost,
    .initial = initial,
    .emit = emit,
    .print = print,
    .codegen_level = 2,
};
