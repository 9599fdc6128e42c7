/* Gradients of the reference: of q, k and v, given that of o (and of the LSE).
 *
 * With p the weights of a row, o its output and D = Σ do · o − dlse (in nats):
 *   dv += pᵀ do,   ds = p (do · v − D) slope,   dq += scale ds k,   dk += scale dsᵀ q,
 * where `slope` says how much score_mod makes of a change of the scaled score (Dao et al.,
 * FlashAttention, 2022, appendix B.4; an LSE's derivative by a score is its weight).
 * With dropout `do · v` and p in dv are 0, or divided by what is kept.
 * In fp64 o and the weights are the reference's own, not the call's.  Plainly: P by the
 * plain computation's LSE, S, P, dP and all sums in fp32, P and dS rounded to the type of
 * what they multiply, o and the results to that of theirs.
 *
 * Beside both, what these roundings are worth in each element: their variances, as if they
 * were independent and even over a step (a row whose plain error is one draw says little
 * of what errors are like: D's is one number for all its keys), and the fp32 roundings
 * that the plain computation does not make as kernels do, at their worst. */
#include "reference/judge.h"

#include "base/err.h"

#include <math.h>
#include <string.h>

/* Of the head in hand dq, [sq][d]; of its key head dk, [sk][d], and dv, [sk][dv]. */
typedef struct RefSums {
  RefPair dq, dk, dv;
  double *dp64, *most;      /* by key: do · v, and its terms without their signs */
  double *by_d;             /* of the row: what dq changes by with D */
  float *dp32, *dout, *key; /* by key; of the row; of a key */
  bool broken;              /* of the key head: what some pair reads is no finite number */
} RefSums;

/* Kernels have no subnormal numbers: weights, scores' gradients and products below it are
 * 0. */
static const double FLUSHED = 0x1p-126;

attnc_status
ref_take_gradients(Ref *r, attnc_error *err)
{
  const Spec *s = r->spec;
  const char *what = s->page_table                               ? "page_table"
                     : spec_has_tensor(s, ATTNC_CACHE_BATCH_IDX) ? "cache_batch_idx"
                     : s->append                                 ? "append"
                     : s->shared_prefix                          ? "shared_prefix"
                     : s->rope.dim                               ? "rope"
                                                                 : NULL;
  return what ? err_set(err, ATTNC_ERR_UNSUPPORTED, "reference: no gradients with %s", what)
              : ATTNC_OK;
}

static bool
take_pair(Ref *r, RefPair *to, int64_t rows, int cols)
{
  to->cols = cols;
  return (to->wide = ref_room(r->arena, rows, cols, sizeof *to->wide)) &&
         (to->plain = ref_room(r->arena, rows, cols, sizeof *to->plain)) &&
         (to->seen = ref_room(r->arena, rows, 1, sizeof *to->seen));
}

static bool
take_slack(Ref *r, RefPair *to, int64_t rows)
{
  return (to->slack = ref_room(r->arena, rows, to->cols, sizeof *to->slack)) &&
         (to->variance = ref_room(r->arena, rows, to->cols, sizeof *to->variance));
}

static bool
take_sums(Ref *r, RefSums *s)
{
  int d = r->spec->head_dim, dv = r->spec->head_dim_v;
  Arena *a = r->arena;
  return (s->dp64 = ref_room(a, r->n.sk, 1, sizeof *s->dp64)) &&
         (s->most = ref_room(a, r->n.sk, 1, sizeof *s->most)) &&
         (s->by_d = ref_room(a, d, 1, sizeof *s->by_d)) &&
         (s->dp32 = ref_room(a, r->n.sk, 1, sizeof *s->dp32)) &&
         (s->dout = ref_room(a, dv, 1, sizeof *s->dout)) &&
         (s->key = ref_room(a, d, 1, sizeof *s->key)) && take_pair(r, &s->dq, r->n.sq, d) &&
         take_pair(r, &s->dk, r->n.sk, d) && take_pair(r, &s->dv, r->n.sk, dv) &&
         take_slack(r, &s->dq, r->n.sq) && take_slack(r, &s->dk, r->n.sk) &&
         take_slack(r, &s->dv, r->n.sk);
}

/* Without a score_mod nothing else sets the slopes. */
static bool
take_slopes(const Ref *r, RefGrad *g)
{
  int64_t n = r->n.sk;
  int grads = r->spec->grads.n;
  g->by64 = NEW_N(r->arena, double *, grads + 1);
  g->by32 = NEW_N(r->arena, float *, grads + 1);
  for (int i = 0; i < grads; i++)
    if (!(g->by64[i] = ref_room(r->arena, n, 1, sizeof **g->by64)) ||
        !(g->by32[i] = ref_room(r->arena, n, 1, sizeof **g->by32)))
      return false;
  if (!(g->s32 = ref_room(r->arena, n, 1, sizeof *g->s32)) ||
      !(g->slope64 = ref_room(r->arena, n, 1, sizeof *g->slope64)) ||
      !(g->slope32 = ref_room(r->arena, n, 1, sizeof *g->slope32)))
    return false;
  for (int64_t j = 0; j < n; j++)
    g->slope64[j] = g->slope32[j] = 1;
  return true;
}

bool
ref_grad_open(Ref *r)
{
  if (r->call->op != ATTNC_OP_BWD)
    return true;
  RefGrad *g = NEW(r->arena, RefGrad);
  g->sums = NEW(r->arena, RefSums);
  r->grad = g;
  return take_slopes(r, g) && take_sums(r, g->sums);
}

static void
clear(RefPair *p, int64_t rows)
{
  size_t n = (size_t)rows * (size_t)p->cols;
  memset(p->wide, 0, n * sizeof *p->wide);
  memset(p->plain, 0, n * sizeof *p->plain);
  memset(p->slack, 0, n * sizeof *p->slack);
  memset(p->variance, 0, n * sizeof *p->variance);
  memset(p->seen, 0, (size_t)rows * sizeof *p->seen);
}

/* What a row of a sum is multiplied by, in both precisions; how far at most it is off by
 * roundings of fp32; the variance of what it is off by those of narrower types. */
typedef struct Weight {
  double wide;
  float plain;
  double slack, variance;
} Weight;

/* A row of a sum grows by a weight of what it is a sum of. */
static void
add_row(RefPair *p, int64_t row, const Weight *w, const float *by)
{
  int64_t at = row * p->cols;
  for (int i = 0; i < p->cols; i++) {
    p->wide[at + i] += w->wide * by[i];
    p->plain[at + i] += w->plain * by[i];
    p->slack[at + i] += w->slack * fabs((double)by[i]) + FLUSHED;
    p->variance[at + i] += w->variance * by[i] * by[i];
  }
}

/* do · v of a key. */
static void
product_with_v(const Ref *r, int64_t j)
{
  RefSums *s = r->grad->sums;
  s->dp64[j] = s->most[j] = 0;
  s->dp32[j] = 0;
  for (int i = 0; i < r->spec->head_dim_v; i++) {
    double term = (double)s->dout[i] * ref_value(r, j, i);
    s->dp64[j] += term;
    s->most[j] += fabs(term);
    s->dp32[j] += s->dout[i] * ref_value(r, j, i);
  }
}

static double
nats(const Ref *r)
{
  return r->spec->lse_base == LSE_BASE_2 ? 1.4426950408889634 : 1;
}

/* What of the scores' gradient does not depend on the key. */
typedef struct RowSum {
  double variance;   /* of what rounding o, and P of o, is worth in `wide` */
  double wide, most; /* most: its terms without their signs */
  double of_scores;  /* what o's terms of errors of scores (ref_slack.c) are worth in it */
  float plain, lse;  /* lse: plain, a natural logarithm */
} RowSum;

static double
square(double x)
{
  return x * x;
}

/* Of a number that is rounded: errors are as likely anywhere in a step of its type. */
static double
rounded_variance(double x, Dtype ty)
{
  return square(ref_ulp(x, ty)) / 12;
}

static RowSum
row_sum(const Ref *r, int64_t h, int64_t q)
{
  const RefSums *s = r->grad->sums;
  bool has = r->t[ATTNC_DLSE].data && spec_has_tensor(r->spec, ATTNC_DLSE);
  float dlse = has ? ref_of_query(r, ATTNC_DLSE, h, q, 0) : 0;
  RowSum x = {.wide = -dlse * nats(r), .plain = -dlse * (float)nats(r)};
  x.lse = r->lse32 / (float)nats(r);
  x.most = fabs(x.wide);
  for (int i = 0; i < r->spec->head_dim_v; i++) {
    double o = r->o64[i], rest = ref_ulp(o, r->ty[ATTNC_O]) / 2;
    x.variance +=
        square(s->dout[i]) * rounded_variance(r->o_fp32 ? rest : o, r->ty[ATTNC_O]);
    x.wide += s->dout[i] * r->o64[i];
    x.most += fabs(s->dout[i] * r->o64[i]);
    x.of_scores += r->o_slack ? fabs((double)s->dout[i]) * r->o_slack[i] : 0;
    x.plain += s->dout[i] * r->o32[i];
    if (r->o_fp32)
      x.plain += s->dout[i] * ref_rounded(r->o_fp32[i] - r->o32[i], r->ty[ATTNC_O]);
  }
  return x;
}

/* Of the LSE, its product with log2 e, the score's, and their difference, relative to
 * itself: each half a step of 2^-23. */
static const double LSE_ROUNDINGS = 0x1p-22;

/* Of a score's gradient, relative to what its terms come to without their signs: both sums
 * are rounded to fp32, and tensor cores round toward zero as accuracy.c says. */
static double
rounding(const Ref *r)
{
  double sums = r->ty[ATTNC_Q] != DT_F32 ? ceil(r->spec->head_dim_v / 8.0) : 0;
  return (sums + 2) * 0x1p-23;
}

/* ---- of tables ---- */

static const SpecTable *
table_of(const Ref *r, int grad)
{
  return &r->spec->tables.at[r->spec->grads.at[grad].table];
}

/* The element of a pair, in the order of the axes; j -1: of a row. */
static int64_t
element_of(const Ref *r, int grad, int64_t h, int64_t q, int64_t j)
{
  const SpecTable *t = table_of(r, grad);
  int64_t at = 0;
  for (int i = 0; i < t->axes.n; i++) {
    SizeId size = t->axes.at[i].size;
    int64_t own = size == SIZE_B         ? r->seq.b
                  : size == SIZE_H       ? h
                  : size == SIZE_HK      ? h / (r->n.h / r->n.hk)
                  : size == SIZE_SQ      ? q
                  : size == SIZE_TOTAL_Q ? r->seq.q_first + q
                  : size == SIZE_SK      ? j
                                         : r->seq.k_first + j;
    at = at * spec_axis_length(&t->axes.at[i], &r->n) + own;
  }
  return at;
}

static void
add_element(RefTableGrad *to, int64_t at, double wide, float plain, double slack)
{
  to->wide[at] += wide;
  to->plain[at] += plain;
  to->slack[at] += slack;
  to->seen[at] = true;
}

/* Of a pair whose score's gradient, before its slope, is known. */
static void
add_tables(Ref *r, int64_t h, int64_t q, int64_t j, double ds64, float ds32, double slack)
{
  const RefGrad *g = r->grad;
  for (int i = 0; i < r->spec->grads.n; i++)
    if (r->spec->grads.at[i].lists)
      add_element(&r->table_grads[i], element_of(r, i, h, q, j), ds64 * g->by64[i][j],
                  ds32 * g->by32[i][j], slack * fabs(g->by64[i][j]));
}

static bool
has_keys(const SpecTable *t)
{
  for (int i = 0; i < t->axes.n; i++)
    if (t->axes.at[i].size == SIZE_SK || t->axes.at[i].size == SIZE_TOTAL_K)
      return true;
  return false;
}

/* Of a row all of whose pairs are there: D is off by the same in all of them, which add up
 * where they read one element. */
static void
add_variance(Ref *r, int64_t h, int64_t q, Range keys, const RowSum *sum)
{
  const RefGrad *g = r->grad;
  for (int i = 0; i < r->spec->grads.n; i++) {
    RefTableGrad *to = &r->table_grads[i];
    bool own = has_keys(table_of(r, i));
    double by = 0;
    for (int64_t j = keys.from; r->spec->grads.at[i].lists && j < keys.to; j++) {
      double x =
          ref_is_hidden(r, j) || r->l64 == 0 ? 0 : r->s64[j] / r->l64 * g->by64[i][j];
      by += x;
      if (own && x != 0)
        to->variance[element_of(r, i, h, q, j)] += x * x * sum->variance;
    }
    if (!own && by != 0)
      to->variance[element_of(r, i, h, q, 0)] += by * by * sum->variance;
  }
}

/* The sink's weight is in the LSE, and it has no value. */
static void
add_sink(Ref *r, int64_t h, double lse, const RowSum *sum)
{
  const attnc_tensor *t = &r->t[ATTNC_SINK];
  for (int i = 0; i < r->spec->grads.n; i++) {
    if (r->spec->grads.at[i].lists)
      continue;
    float sink = ref_element(t->data, h * t->stride[0], r->ty[ATTNC_SINK]);
    double p = exp((double)sink - lse / nats(r));
    r->table_grads[i].variance[h] += p * p * sum->variance;
    add_element(&r->table_grads[i], h, -p * sum->wide, -expf(sink - sum->lse) * sum->plain,
                p * sum->most * 0x1p-22);
  }
}

static bool
take_tables(Ref *r, Arena *a)
{
  r->alone = r->spec->grads.n > 0;
  r->table_grads = NEW_N(a, RefTableGrad, r->spec->grads.n + 1);
  for (int g = 0; g < r->spec->grads.n; g++) {
    RefTableGrad *x = &r->table_grads[g];
    const SpecTable *t = table_of(r, g);
    x->n = 1;
    for (int i = 0; i < t->axes.n; i++)
      x->n *= spec_axis_length(&t->axes.at[i], &r->n);
    if (!(x->wide = ref_room(a, x->n, 1, sizeof *x->wide)) ||
        !(x->slack = ref_room(a, x->n, 1, sizeof *x->slack)) ||
        !(x->variance = ref_room(a, x->n, 1, sizeof *x->variance)) ||
        !(x->plain = ref_room(a, x->n, 1, sizeof *x->plain)) ||
        !(x->seen = ref_room(a, x->n, 1, sizeof *x->seen)))
      return false;
  }
  return true;
}

/* Rounding P for its product with V moves o, and D with it. */
static double
weights_variance(const Ref *r, Range keys)
{
  const RefSums *s = r->grad->sums;
  double sum = 0;
  for (int64_t j = keys.from; r->l64 != 0 && j < keys.to; j++)
    if (!ref_is_hidden(r, j) && r->s64[j] != 0 && ref_kept(r, j) != 0)
      sum += square(ref_kept(r, j) * s->dp64[j] / r->l64) *
             rounded_variance(r->s64[j], r->ty[ATTNC_V]);
  return sum;
}

static double
finite_or_0(double x)
{
  return isfinite(x) ? x : 0;
}

/* A pair's weight and its score's gradient; by_d: how much of that is D's, with its
 * sign turned; of_weight: what the weight is off by, relative to itself: by the roundings
 * of the LSE, and by what a score_mod's are worth in this score and in the LSE. */
typedef struct PairOf {
  double p64, kept, ds64, by_d, of_weight, slack;
  float p32, ds32;
} PairOf;

static PairOf
pair_of(Ref *r, int64_t j, const RowSum *sum)
{
  const RefGrad *g = r->grad;
  const RefSums *s = g->sums;
  PairOf x = {.kept = ref_kept(r, j)};
  x.p64 = r->l64 == 0 ? 0 : r->s64[j] / r->l64;
  x.p32 = g->s32[j] == -INFINITY ? 0 : expf(g->s32[j] - sum->lse);
  double dp64 = x.kept == 0 ? 0 : x.kept * s->dp64[j];
  float dp32 = x.kept == 0 ? 0 : (float)x.kept * s->dp32[j];
  x.ds64 = x.p64 * (dp64 - sum->wide);
  x.ds32 = x.p32 * (dp32 - sum->plain);
  x.by_d = x.p64;
  x.of_weight = LSE_ROUNDINGS * fabs((double)sum->lse);
  if (r->score_error)
    x.of_weight += finite_or_0(r->score_error[j]) + r->lse_slack / nats(r);
  x.slack =
      x.p64 * (rounding(r) * (fabs(x.kept) * s->most[j] + sum->most) + sum->of_scores) +
      x.of_weight * fabs(x.ds64) + FLUSHED * (fabs(dp64 - sum->wide) + 1);
  return x;
}

/* Of its score, before score_mod. */
static void
times_slope(Ref *r, PairOf *x, int64_t j)
{
  const RefGrad *g = r->grad;
  x->ds64 *= g->slope64[j];
  x->ds32 = ref_rounded(x->ds32 * g->slope32[j], r->ty[ATTNC_K]);
  x->by_d *= g->slope64[j];
  x->slack *= fabs(g->slope64[j]);
}

/* One key's part of all three, of a row whose weights are there. */
static void
add_key(Ref *r, int64_t h, int64_t q, int64_t j, const RowSum *sum)
{
  RefSums *s = r->grad->sums;
  double scale = r->scalar[ATTNC_SOFTMAX_SCALE];
  PairOf x = pair_of(r, j, sum);
  s->dq.seen[q] = s->dk.seen[j] = s->dv.seen[j] = true;
  if (x.p64 == 0 && x.p32 == 0)
    return;
  add_tables(r, h, q, j, x.ds64, x.ds32, x.slack);
  times_slope(r, &x, j);
  for (int i = 0; i < r->spec->head_dim; i++) {
    s->key[i] = ref_key(r, j, i);
    s->by_d[i] += x.by_d * scale * s->key[i];
  }
  s->broken = s->broken || !isfinite(x.ds64) || !isfinite(x.p64);
  Weight dv = {.wide = x.p64 * x.kept,
               .plain = ref_rounded(x.p32, r->ty[ATTNC_DO]) * (float)x.kept,
               .slack = (x.of_weight * x.p64 + FLUSHED) * fabs(x.kept),
               .variance = square(x.kept) * rounded_variance(x.p64, r->ty[ATTNC_DO])};
  if (x.kept != 0)
    add_row(&s->dv, j, &dv, s->dout);
  double own = square(scale) * rounded_variance(x.ds64, r->ty[ATTNC_K]);
  Weight ds = {x.ds64 * scale, x.ds32, x.slack * scale, own};
  add_row(&s->dq, q, &ds, s->key);
  ds.variance += square(scale * x.by_d) * sum->variance;
  add_row(&s->dk, j, &ds, r->q);
}

/* Of a row whose keys are all in dq: D is off by the same for all of them. */
static void
add_common(Ref *r, int64_t q, const RowSum *sum)
{
  RefSums *s = r->grad->sums;
  for (int i = 0; i < s->dq.cols; i++)
    s->dq.variance[q * s->dq.cols + i] += square(s->by_d[i]) * sum->variance;
}

static void
add_query(Ref *r, int64_t b, int64_t h, int64_t q)
{
  RefSums *s = r->grad->sums;
  double lse = ref_row(r, b, h, q);
  Range keys = ref_visible(r, q);
  memset(s->by_d, 0, (size_t)s->dq.cols * sizeof *s->by_d);
  for (int i = 0; i < r->spec->head_dim_v; i++)
    s->dout[i] = ref_of_query(r, ATTNC_DO, h, q, i);
  RowSum sum = row_sum(r, h, q);
  if (r->n_seen) {
    for (int64_t j = keys.from; j < keys.to; j++)
      if (!ref_is_hidden(r, j))
        product_with_v(r, j);
    sum.variance += weights_variance(r, keys);
  }
  if (lse != -INFINITY)
    add_sink(r, h, lse, &sum);
  if (!r->n_seen)
    return;
  for (int64_t j = keys.from; j < keys.to; j++)
    if (!ref_is_hidden(r, j))
      add_key(r, h, q, j, &sum);
  add_common(r, q, &sum);
  add_variance(r, h, q, keys, &sum);
}

/* ---- heads ---- */

typedef struct Grads {
  RefGiven *given;
  void *user;
} Grads;

/* Plain sums become what is written. */
static void
finish(RefPair *p, int64_t rows, float scale, Dtype ty)
{
  for (int64_t i = 0; i < rows * p->cols; i++)
    p->plain[i] = ref_rounded(p->plain[i] * scale, ty);
}

static void
give(Ref *r, const Grads *to, int slot, int64_t b, int64_t head)
{
  RefSums *s = r->grad->sums;
  RefPair *p = slot == ATTNC_DQ ? &s->dq : slot == ATTNC_DK ? &s->dk : &s->dv;
  int64_t rows = slot == ATTNC_DQ ? r->seq.sq : r->seq.sk;
  float scale = slot == ATTNC_DV ? 1 : (float)r->scalar[ATTNC_SOFTMAX_SCALE];
  p->broken = s->broken;
  finish(p, rows, scale, r->ty[slot]);
  to->given(r, to->user, slot, b, head, rows, p);
}

static void
gradients_of_head(Ref *r, void *user, int64_t b, int64_t h)
{
  const Grads *to = user;
  RefSums *s = r->grad->sums;
  int64_t group = r->n.h / r->n.hk;
  if (h % group == 0) {
    clear(&s->dk, r->seq.sk);
    clear(&s->dv, r->seq.sk);
    s->broken = false;
  }
  clear(&s->dq, r->seq.sq);
  for (int64_t q = 0; q < r->seq.sq; q++)
    add_query(r, b, h, q);
  give(r, to, ATTNC_DQ, b, h);
  if ((h + 1) % group == 0) {
    give(r, to, ATTNC_DK, b, h / group);
    give(r, to, ATTNC_DV, b, h / group);
  }
}

/* Those of tables are then in table_grads, which the arena has. */
static attnc_status
gradients(Ref *r, Arena *arena, RefGiven *given, void *user, attnc_error *err)
{
  Grads to = {given, user};
  if (!arena || !take_tables(r, arena))
    return err_set(err, ATTNC_ERR_NOMEM, "reference: out of memory");
  return ref_each_head(r, true, gradients_of_head, &to, err);
}

/* ---- the reference ---- */

/* Row `row` of a head of an output, among packed or padded rows of all. */
static int64_t
row_number(const Ref *r, int slot, int64_t b, int64_t head, int64_t row)
{
  bool q = slot == ATTNC_DQ, packed = ref_rows_are_packed(r, slot);
  int64_t heads = q ? r->n.h : r->n.hk, first = q ? r->seq.q_first : r->seq.k_first;
  int64_t pad = q ? 0 : r->seq.k_pad;
  int64_t rows = q ? (packed ? r->n.total_q : r->n.sq) : packed ? r->n.total_k : r->n.sk;
  return ((packed ? 0 : b) * heads + head) * rows + first + pad + row;
}

static void
write_rows(Ref *r, void *user, int slot, int64_t b, int64_t head, int64_t rows,
           const RefPair *p)
{
  double *const *outputs = user;
  size_t bytes = (size_t)p->cols * sizeof(double);
  for (int64_t i = 0; outputs[slot] && i < rows; i++)
    memcpy(outputs[slot] + row_number(r, slot, b, head, i) * p->cols, p->wide + i * p->cols,
           bytes);
}

attnc_status
ref_gradients(Ref *r, double *const *outputs, uint32_t n, attnc_error *err)
{
  double *all[CALL_SLOTS] = {NULL};
  Arena *arena = arena_new(0);
  for (uint32_t i = 0; outputs && i < n && i < CALL_SLOTS; i++)
    all[i] = outputs[i];
  attnc_status status = gradients(r, arena, write_rows, all, err);
  for (int i = 0; status == ATTNC_OK && i < r->spec->grads.n; i++) {
    const RefTableGrad *x = &r->table_grads[i];
    double *to = all[r->spec->grads.at[i].slot];
    if (to)
      memcpy(to, x->wide, (size_t)x->n * sizeof *to);
  }
  arena_free(arena);
  return status;
}

/* ---- the contract ---- */

/* An output type that cannot hold the result holds infinity. */
static bool
is_excused(const RefPair *p, int64_t at, double got, Dtype ty)
{
  double want = p->wide[at], most = (double)ref_rounded((float)want, ty);
  bool over = isinf(got) && isfinite(want) && isinf(most) && (got > 0) == (want > 0);
  bool none = !isfinite(want) && !isnan(want) && !isfinite(got);
  bool own = isfinite(want) && !isfinite(got) && (p->broken || !isfinite(p->plain[at]));
  return over || none || own;
}

/* Twice the plain computation's largest error, the head's.  Of few elements, or of a row
 * whose errors are all D's, that is too few draws to be what such errors come to: four
 * standard deviations of the element's own, which is less than twice the largest of a dozen
 * draws. */
static const double SIGMAS = 4;

static double
allowed(double plain, double variance)
{
  return fmax(2 * plain, SIGMAS * finite_or_0(sqrt(variance)));
}

static double
plain_error(const RefPair *p, int64_t n)
{
  double most = 0;
  for (int64_t i = 0; i < n; i++) {
    double e = judge_distance((double)p->plain[i], p->wide[i]);
    most = isfinite(e) && e > most ? e : most;
  }
  return most;
}

static Judge
judge_row(const Ref *r, int slot, int64_t head, int64_t row, const RefPair *p, double plain)
{
  Judge one = {.v = {.rows = 1, .slot = slot, .q = row}};
  for (int i = 0; i < p->cols; i++) {
    int64_t at = row * p->cols + i;
    double want = p->wide[at], got = ref_of_gradient(r, slot, head, row, i);
    double error = is_excused(p, at, got, r->ty[slot]) ? 0 : judge_distance(got, want);
    double own = ref_ulp(want, r->ty[slot]) + finite_or_0(p->slack[at]);
    double bound = p->seen[row] ? allowed(plain, p->variance[at]) + own : 0;
    judge_output(&one, slot, error, bound);
  }
  return one;
}

static void
judge_rows(Ref *r, void *user, int slot, int64_t b, int64_t head, int64_t rows,
           const RefPair *p)
{
  bool q = slot == ATTNC_DQ;
  Judge *judge = (Judge *)user + b * r->n.h + (q ? head : head * (r->n.h / r->n.hk));
  double plain = plain_error(p, rows * p->cols);
  for (int64_t i = 0; i < rows; i++) {
    Judge one = judge_row(r, slot, head, i, p, plain);
    one.v.b = b;
    one.v.h = head;
    judge_add(judge, &one);
  }
}

static float
table_element(const Ref *r, int grad, int64_t i)
{
  const SpecTable *t = table_of(r, grad);
  const attnc_tensor *x = &r->t[r->spec->grads.at[grad].slot];
  int64_t at = 0;
  for (int a = t->axes.n - 1; a >= 0; a--) {
    int64_t n = spec_axis_length(&t->axes.at[a], &r->n);
    at += i % n * x->stride[a];
    i /= n;
  }
  return ref_element(x->data, at, r->ty[r->spec->grads.at[grad].slot]);
}

static bool
is_packed(const SpecTable *t)
{
  for (int i = 0; i < t->axes.n; i++)
    if (t->axes.at[i].size == SIZE_TOTAL_Q || t->axes.at[i].size == SIZE_TOTAL_K)
      return true;
  return false;
}

/* All elements of one are one row of the verdict.  Rows of a packed axis that are of no
 * sequence are not written. */
static void
judge_table(const Ref *r, int grad, Judge *all)
{
  RefTableGrad *x = &r->table_grads[grad];
  int slot = r->spec->grads.at[grad].slot;
  Judge one = {.v = {.rows = 1, .slot = slot}};
  double plain = 0;
  for (int64_t i = 0; i < x->n; i++) {
    x->plain[i] = ref_rounded(x->plain[i], r->ty[slot]);
    double e = judge_distance((double)x->plain[i], x->wide[i]);
    plain = isfinite(e) && e > plain ? e : plain;
  }
  for (int64_t i = 0; i < x->n; i++) {
    double got = table_element(r, grad, i), want = x->wide[i];
    if (!x->seen[i] && isnan(got) && is_packed(table_of(r, grad)))
      continue;
    bool none = (!isfinite(want) && !isnan(want)) || !isfinite(x->plain[i]);
    double own = ref_ulp(want, r->ty[slot]) + finite_or_0(x->slack[i]);
    judge_output(&one, slot, none && !isfinite(got) ? 0 : judge_distance(got, want),
                 x->seen[i] ? allowed(plain, x->variance[i]) + own : 0);
  }
  judge_add(all, &one);
}

attnc_status
ref_gradients_judge(Ref *r, Judge *all, attnc_error *err)
{
  Arena *arena = arena_new(0);
  r->judged = true;
  Judge *heads = arena ? ref_room(arena, r->n.b, r->n.h, sizeof *heads) : NULL;
  attnc_status status = heads ? gradients(r, arena, judge_rows, heads, err)
                              : err_set(err, ATTNC_ERR_NOMEM, "verify: out of memory");
  for (int64_t i = 0; status == ATTNC_OK && i < r->n.b * r->n.h; i++)
    if (heads[i].v.rows)
      judge_add(all, &heads[i]);
  for (int i = 0; status == ATTNC_OK && i < r->spec->grads.n; i++)
    judge_table(r, i, all);
  arena_free(arena);
  return status;
}
