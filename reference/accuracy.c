/* The accuracy contract: a result is right when no element is further from the fp64
 * reference than twice the largest error that the plain computation makes in the same head,
 * plus one ulp of the output type; the LSE the same way, plus four roundings of fp32 and
 * what tensor cores lose of the scores, or within 1e-3; rows that see no key exactly 0 and,
 * without a sink, -inf.  To both comes what it is worth that the operations of a score_mod
 * are off by what docs/expressions.md allows them (ref_slack.c).
 *
 * Where the reference is NaN the result must be, where it is infinite it must be that or
 * NaN (a weight that underflows times infinity).  It need not be finite where the plain
 * computation is not, nor where a value of V is not that other rows of the same block see.
 */
#include "reference/judge.h"

#include "base/call.h"
#include "base/err.h"

#include <math.h>
#include <string.h>

enum { SAMPLED_ROWS = 256, EDGE = 64 };
enum { VERDICT_LEAST = SIZE_UPTO(attnc_verdict, n_outputs), MAX_OUTPUT = 4096 };
static const double LARGE_MACS = 1073741824.0; /* above it, rows are sampled */
static const double LSE_BOUND = 1e-3, LSE_ROUNDINGS = 0x1p-22;
/* Tensor cores add 8 products (mma.sync of 16-bit types on sm_80) or more to the fp32 sum
 * at once and round toward zero: docs/emulator-unproven.md, "The tensor cores". */
static const double PRODUCTS_AT_ONCE = 8, TOWARD_ZERO = 0x1p-23;
/* Beside a sink that is far above its scores a row is next to nothing, and kernels have no
 * subnormal numbers: weights below 2^-126 are 0, of however many keys and whatever values.
 */
static const double FLUSHED = 0x1p-96;
/* Of queries: 16 warps of fwd_mma with 64 each; fwd_wgmma's clusters have at most 384. */
enum { BLOCK_ROWS = 1024 };

/* ---- which rows are checked ---- */

static bool
has_row(const int64_t *rows, int n, int64_t q)
{
  for (int i = 0; i < n; i++)
    if (rows[i] == q)
      return true;
  return false;
}

static int
add_row(int64_t *rows, int n, int64_t q, int64_t sq)
{
  if (q >= 0 && q < sq && !has_row(rows, n, q))
    rows[n++] = q;
  return n;
}

/* SAMPLED_ROWS different rows of more than that many: first, last, both sides of tile edges
 * spread over the whole, and rows in between, spread by the golden ratio. */
static void
sample_rows(int64_t sq, int64_t rows[SAMPLED_ROWS])
{
  enum { EDGES = 48 }; /* three rows each */
  int64_t edges = (sq - 1) / EDGE, take = edges < EDGES ? edges : EDGES;
  int n = add_row(rows, 0, 0, sq);
  n = add_row(rows, n, sq - 1, sq);
  for (int64_t i = 0; i < take; i++)
    for (int64_t side = -1; side <= 1; side++)
      n = add_row(rows, n, (i * edges / take + 1) * EDGE + side, sq);
  int64_t step = (int64_t)((double)sq * 0.6180339887), q = step;
  for (; n < SAMPLED_ROWS; q = (q + step) % sq) {
    while (has_row(rows, n, q))
      q = (q + 1) % sq;
    n = add_row(rows, n, q, sq);
  }
}

/* ---- the error of a row ---- */

/* What is kept of a row until the head's plain error is known. */
typedef struct RowError {
  int64_t q;
  double error;     /* largest of an element */
  double excess;    /* largest of error - own: at most twice the plain error when right */
  double own;       /* an ulp, and what a score_mod is worth, of the element with that */
  double lse;       /* |lse - reference|, and … */
  double lse_slack; /* … what rounding is worth at its magnitude */
  double rest;      /* of o and o_lo together: largest error, … */
  double rest_own; /* … and what rounding o_lo is worth, of the element with the largest */
  bool empty;      /* the row sees no key, … */
  bool no_lse;     /* … and there is nothing else whose logarithm it were */
} RowError;

/* Largest errors of the plain computation in a head. */
typedef struct Plain {
  double o, lse, rest; /* rest: of o before it is rounded */
} Plain;

double
judge_distance(double got, double want)
{
  bool same = got == want || (isnan(want) && isnan(got));
  double e = same ? 0 : fabs(got - want);
  return isnan(e) ? INFINITY : e;
}

static void
keep_largest(double *most, double error)
{
  if (isfinite(error) && error > *most)
    *most = error;
}

/* An output type that cannot hold the result holds infinity. */
static bool
overflowed(double got, double want, Dtype ty)
{
  return isinf(got) && isfinite(want) && isinf(ref_rounded((float)want, ty)) &&
         (got > 0) == (want > 0);
}

/* A block of rows is of one row of blocks: that in hand. */
static bool
tainted_by_lists(const Ref *r, int i)
{
  for (int64_t j = 0; j < r->seq.sk; j++)
    if (ref_block(r, j) != REF_BLOCK_UNSEEN && !isfinite(ref_value(r, j, i)))
      return true;
  return false;
}

/* Can row q's block see a key that q does not, whose V is no finite number in column i?
 * Ranges of later rows end no earlier, so each key is looked at once. */
static bool
tainted(const Ref *r, int64_t q, int i)
{
  if (r->lists)
    return tainted_by_lists(r, i);
  int64_t first = q < BLOCK_ROWS ? 0 : q - BLOCK_ROWS + 1;
  int64_t last = q + BLOCK_ROWS > r->seq.sq ? r->seq.sq - 1 : q + BLOCK_ROWS - 1;
  Range own = r->exprs && r->spec->mask_mod.n ? (Range){0, 0} : ref_visible(r, q);
  int64_t done = 0;
  for (int64_t row = first; row <= last; row++) {
    Range keys = ref_visible(r, row);
    for (int64_t j = keys.from > done ? keys.from : done; j < keys.to; j++)
      if ((j < own.from || j >= own.to) && !isfinite(ref_value(r, j, i)))
        return true;
    done = keys.to > done ? keys.to : done;
  }
  return false;
}

static double
element_error(const Ref *r, int64_t q, int i, double got)
{
  double want = r->o64[i];
  Dtype ty = r->ty[ATTNC_O];
  if (overflowed(got, want, ty) || (isinf(want) && isnan(got)))
    return 0;
  bool fits =
      isfinite(ref_rounded((float)want, ty)); /* false too where want is not finite */
  bool excused = fits && !isfinite(got) && (!isfinite(r->o32[i]) || tainted(r, q, i));
  return excused ? 0 : judge_distance(got, want);
}

/* What roundings of the LSE and of the scores are worth, where both are numbers. */
static double
lse_slack(const Ref *r, int64_t q, double lse)
{
  bool tensor_cores = r->ty[ATTNC_Q] != DT_F32;
  double sums = tensor_cores ? ceil(r->spec->head_dim / PRODUCTS_AT_ONCE) * TOWARD_ZERO : 0;
  double slack = LSE_ROUNDINGS * fabs(lse) + sums * ref_magnitude(r, ref_visible(r, q));
  return isfinite(slack) ? slack : 0;
}

/* What o and o_lo come to is o as fp32 has it, but for the rounding of o_lo, which is at
 * most half a step of o. */
static void
rest_error(const Ref *r, int64_t h, int64_t q, bool empty, RowError *e, Plain *plain)
{
  Dtype ty = r->ty[ATTNC_O];
  for (int i = 0; i < r->spec->head_dim_v; i++) {
    double want = r->o64[i], o = ref_of_query(r, ATTNC_O, h, q, i);
    double lo = ref_of_query(r, ATTNC_O_LO, h, q, i);
    double own = empty ? 0 : ref_ulp(ref_ulp(want, ty) / 2, ty) + ref_ulp(want, DT_F32);
    keep_largest(&plain->rest, judge_distance((double)r->o_fp32[i], want));
    if (!isfinite(o) || !isfinite(want)) /* which o's own bound is about */
      continue;
    double error = judge_distance(o + lo, want);
    if (error >= e->rest) {
      e->rest = error;
      e->rest_own = own;
    }
  }
}

static RowError
row_error(Ref *r, int64_t h, int64_t q, double lse, Plain *plain)
{
  RowError e = {.excess = -INFINITY};
  for (int i = 0; i < r->spec->head_dim_v; i++) {
    double got = ref_of_query(r, ATTNC_O, h, q, i), want = r->o64[i];
    double error = element_error(r, q, i, got);
    double one = lse == -INFINITY ? 0 : ref_ulp(want, r->ty[ATTNC_O]);
    if (one > 0 && one < FLUSHED && r->spec->sink_logit.n)
      one = FLUSHED;
    if (r->o_slack)
      one += r->o_slack[i];
    keep_largest(&plain->o, judge_distance(r->o32[i], want));
    if (error > e.error)
      e.error = error;
    if (error - one > e.excess) {
      e.excess = error - one;
      e.own = one;
    }
  }
  if (r->o_fp32)
    rest_error(r, h, q, lse == -INFINITY, &e, plain);
  if (r->spec->return_lse) {
    float got = ref_of_query(r, ATTNC_LSE, h, q, 0);
    bool excused = isfinite(lse) && !isfinite(got) && !isfinite(r->lse32);
    e.lse = excused ? 0 : judge_distance(got, lse);
    e.lse_slack = lse_slack(r, q, lse) + r->lse_slack;
    keep_largest(&plain->lse, judge_distance(r->lse32, lse));
  }
  return e;
}

/* ---- the verdict ---- */

double
judge_ratio(double error, double bound)
{
  return error <= bound ? (bound > 0 ? error / bound : 0)
         : bound > 0    ? error / bound
                        : INFINITY;
}

void
judge_output(Judge *row, int slot, double error, double bound)
{
  attnc_output_verdict *of = &row->of[slot];
  double ratio = judge_ratio(error, bound);
  bool bad = error > bound;
  of->bad_rows |= bad;
  row->v.bad_rows |= bad;
  row->v.rows = 1;
  if (ratio >= row->worst) {
    row->worst = ratio;
    row->v.slot = slot;
  }
  if (error >= of->max_error) {
    of->max_error = error;
    of->bound = bound;
  }
}

/* Rows that see nothing have e->own 0 and no use for the head's bound. */
static Judge
judge_row(const RowError *e, const Plain *plain, bool empty)
{
  double bound = empty ? 0 : 2 * plain->o + e->own;
  double relative = 2 * plain->lse + e->lse_slack;
  double lse_bound = e->no_lse ? 0 : relative > LSE_BOUND ? relative : LSE_BOUND;
  bool o_good = e->excess <= (empty ? 0 : 2 * plain->o), lse_good = e->lse <= lse_bound;
  double o_ratio = judge_ratio(e->excess + e->own, bound),
         lse_ratio = judge_ratio(e->lse, lse_bound);
  Judge one = {.v = {.rows = 1,
                     .bad_rows = !o_good || !lse_good,
                     .slot = o_ratio >= lse_ratio ? ATTNC_O : ATTNC_LSE},
               .of[ATTNC_O] = {e->error, bound, !o_good},
               .of[ATTNC_LSE] = {e->lse, lse_bound, !lse_good},
               .worst = o_ratio > lse_ratio ? o_ratio : lse_ratio};
  double rest_bound = empty ? 0 : 2 * plain->rest + e->rest_own;
  if (e->rest > 0)
    judge_output(&one, ATTNC_O_LO, e->rest, rest_bound);
  return one;
}

static void
merge_output(attnc_output_verdict *all, const attnc_output_verdict *one, bool first)
{
  all->bad_rows += one->bad_rows;
  if (first || one->max_error > all->max_error) {
    all->max_error = one->max_error;
    all->bound = one->bound;
  }
}

void
judge_add(Judge *all, const Judge *one)
{
  bool first = all->v.rows == 0;
  all->v.rows += one->v.rows;
  all->v.bad_rows += one->v.bad_rows;
  for (int i = 0; i < CALL_SLOTS; i++)
    merge_output(&all->of[i], &one->of[i], first);
  if (first || one->worst > all->worst) {
    all->worst = one->worst;
    all->v.slot = one->v.slot;
    all->v.b = one->v.b;
    all->v.h = one->v.h;
    all->v.q = one->v.q;
  }
}

/* Rows of the head that are checked: how many, in per_row. */
static int64_t
rows_of_head(Ref *r, int64_t b, int64_t h, Plain *plain)
{
  RowError *errors = r->per_row;
  int64_t n = 0;
  for (int64_t i = 0; i < r->n_rows; i++) {
    int64_t q = ref_row_index(r, i);
    if (q < 0)
      continue;
    double lse = ref_row(r, b, h, q);
    errors[n] = row_error(r, h, q, lse, plain);
    errors[n].q = q;
    errors[n].empty = r->n_seen == 0;
    errors[n].no_lse = errors[n].empty && lse == -INFINITY;
    n++;
  }
  return n;
}

static void
judge_head(Ref *r, void *user, int64_t b, int64_t h)
{
  Judge *judge = (Judge *)user + b * r->n.h + h;
  const RowError *errors = r->per_row;
  int64_t sampled[SAMPLED_ROWS], all = r->n_rows;
  Plain plain = {0};
  if (r->sampled && r->seq.sq > SAMPLED_ROWS) {
    sample_rows(r->seq.sq, sampled);
    for (int i = 0; i < SAMPLED_ROWS; i++)
      sampled[i] += r->seq.q_first;
    r->rows = sampled;
    r->n_rows = SAMPLED_ROWS;
  }
  int64_t n = rows_of_head(r, b, h, &plain);
  r->rows = NULL;
  r->n_rows = all;
  for (int64_t i = 0; i < n; i++) {
    Judge one = judge_row(&errors[i], &plain, errors[i].empty);
    one.v.b = b;
    one.v.h = h;
    one.v.q = errors[i].q;
    judge_add(judge, &one);
  }
}

/* Into the caller's array, of the caller's size of an element. */
static void
give_outputs(const attnc_verdict *to, const Judge *all)
{
  const size_t step = to->output_size, own = sizeof *all->of;
  for (size_t i = 0; to->outputs && i < to->n_outputs; i++) {
    char *one = (char *)to->outputs + i * step;
    memset(one, 0, step);
    if (i < CALL_SLOTS)
      memcpy(one, &all->of[i], step < own ? step : own);
  }
}

static attnc_status
give(attnc_verdict *to, const attnc_verdict *asked, Judge *all, attnc_error *err)
{
  all->v.pass = all->v.bad_rows == 0;
  all->v.outputs = asked->outputs;
  all->v.output_size = asked->output_size;
  all->v.n_outputs = asked->n_outputs;
  all->v.before = asked->before;
  all->v.n_before = asked->n_before;
  give_outputs(asked, all);
  return struct_give(to, &all->v, sizeof all->v, VERDICT_LEAST, "attnc_verdict", err);
}

static attnc_status
judge_all(Ref *r, Arena *arena, Judge *all, attnc_error *err)
{
  Judge *heads = arena ? ref_room(arena, r->n.b, r->n.h, sizeof *heads) : NULL;
  if (!heads)
    return err_set(err, ATTNC_ERR_NOMEM, "verify: out of memory");
  TRY(ref_each_head(r, false, judge_head, heads, err));
  for (int64_t i = 0; i < r->n.b * r->n.h; i++)
    if (heads[i].v.rows)
      judge_add(all, &heads[i]);
  return ATTNC_OK;
}

static attnc_status
check_verdict(attnc_verdict *own, const attnc_verdict *theirs, attnc_error *err)
{
  TRY(struct_take(own, sizeof *own, theirs, VERDICT_LEAST, "attnc_verdict", err));
  if (own->outputs && (own->output_size < SIZE_UPTO(attnc_output_verdict, bad_rows) ||
                       own->output_size > MAX_OUTPUT || own->output_size % sizeof(double)))
    return err_set(err, ATTNC_ERR_USAGE,
                   "attnc_verdict.output_size is not sizeof(attnc_output_verdict)");
  return ATTNC_OK;
}

static attnc_status
judge_forward(Ref *r, Judge *all, attnc_error *err)
{
  double macs = ref_pairs(r) * (r->spec->head_dim + r->spec->head_dim_v);
  r->row_bytes = sizeof(RowError);
  r->judged = true;
  r->sampled = macs > LARGE_MACS;
  Arena *arena = arena_new(0);
  attnc_status status = judge_all(r, arena, all, err);
  arena_free(arena);
  return status;
}

static attnc_status
judge_op(Ref *r, const attnc_verdict *asked, Judge *all, attnc_error *err)
{
  switch (r->call->op) {
  case ATTNC_OP_APPEND:
    return ref_append_judge(r, asked->before, asked->before ? asked->n_before : 0, all,
                            err);
  case ATTNC_OP_MERGE:
    return ref_merge_judge(r, all, err);
  case ATTNC_OP_DROPOUT_MASK:
    return ref_dropout_mask_judge(r, all, err);
  case ATTNC_OP_BWD:
    return ref_gradients_judge(r, all, err);
  default:
    if (r->spec->append)
      TRY(ref_append_judge(r, asked->before, asked->before ? asked->n_before : 0, all,
                           err));
    return judge_forward(r, all, err);
  }
}

attnc_status
attnc_verify(const attnc_spec *spec, int op, const attnc_args *host, attnc_verdict *verdict,
             attnc_error *err)
{
  Ref r;
  attnc_verdict asked;
  Judge all = {.v = {.size = sizeof all.v}};
  err_clear(err);
  TRY(check_verdict(&asked, verdict, err));
  TRY(ref_open(&r, spec, op, host, REF_ALL, err));
  attnc_status status = judge_op(&r, &asked, &all, err);
  return status == ATTNC_OK ? give(verdict, &asked, &all, err) : status;
}
