/* The fp64 reference, straight from the definition, and the accuracy contract.
 *
 * Each row's scores, softmax and output are computed twice in one walk over the keys that
 * the mask lets it see: in fp64, which is the reference, and *plainly*, as simple correct
 * code of the spec's precision would (fp32 scores, P rounded to v's type, fp32
 * accumulation, O rounded).  A result is right when no element is further from the
 * reference than twice the largest error that the plain computation makes in the same head,
 * plus one ulp of the output type.  Rows that see no key are exactly 0 and -inf. */
#include "base/arena.h"
#include "base/err.h"
#include "compiler/spec.h"

#include <limits.h>
#include <math.h>
#include <string.h>

/* Wider vectors where the processor has them. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__)
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif

enum { KEYS = 64, SAMPLED_ROWS = 256, EDGE = 64 };
static const double LARGE_MACS = 1073741824.0; /* above it, rows are sampled */
static const double LSE_BOUND = 1e-3;

/* ---- element types ---- */

static float
float_of_bits(uint32_t u)
{
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}

static uint32_t
bits_of_float(float f)
{
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  return u;
}

/* IEEE 754 binary16. */
static float
float_of_half(uint16_t h)
{
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fffu;
  if (rest >= 0x7c00) /* infinity, NaN */
    return float_of_bits(sign | 0x7f800000 | (rest & 0x3ff) << 13);
  if (rest >= 0x400)
    return float_of_bits(sign | ((rest << 13) + (112u << 23)));
  return float_of_bits(sign | bits_of_float((float)rest * 0x1p-24f));
}

/* Bits of significand after the first, and the exponent of the least normal number. */
typedef struct Format {
  int bits, emin;
  double max;
} Format;
static const Format formats[DT_COUNT] = {
    [DT_F16] = {10, -14, 65504},
    [DT_BF16] = {7, -126, 0x1.fep127},
    [DT_F32] = {23, -126, 0x1.fffffep127},
};

static double
ulp(double x, Dtype ty)
{
  int e = x == 0 || !isfinite(x) ? INT_MIN : ilogb(x);
  return ldexp(1, (e < formats[ty].emin ? formats[ty].emin : e) - formats[ty].bits);
}

/* To nearest, ties to even; beyond the largest number, infinity. */
static float
rounded(float x, Dtype ty)
{
  if (ty == DT_F32 || !isfinite(x))
    return x;
  double step = ulp(x, ty), r = rint(x / step) * step;
  return fabs(r) > formats[ty].max ? copysignf(INFINITY, x) : (float)r;
}

static float
element(const void *data, int64_t i, Dtype ty)
{
  if (ty == DT_F32)
    return ((const float *)data)[i];
  uint16_t u = ((const uint16_t *)data)[i];
  return ty == DT_F16 ? float_of_half(u) : float_of_bits((uint32_t)u << 16);
}

/* ---- what is asked ---- */

typedef struct Ref {
  const Spec *spec;
  attnc_sizes n;
  attnc_tensor t[ATTNC_SLOT_COUNT];
  Dtype ty[ATTNC_LSE];
  double scale;
  Band band;
  Arena *arena;
  /* Of the current key head: keys in blocks [d][KEYS], values [sk][dv]. */
  float *keys, *values;
  /* Of the current row. */
  float *q;
  double *s64, *o64;
  float *s32, *o32;
} Ref;

static attnc_status
check_sizes(const Spec *s, const attnc_sizes *n, attnc_error *err)
{
  if (n->b < 0 || n->h < 0 || n->hk < 0 || n->sq < 0 || n->sk < 0)
    return err_set(err, ATTNC_ERR_SHAPE, "reference: a size is negative");
  if (n->hk ? n->h % n->hk != 0 : n->h != 0)
    return err_set(err, ATTNC_ERR_SHAPE, "reference: h %lld is not a multiple of hk %lld",
                   (long long)n->h, (long long)n->hk);
  if (s->group_size && n->h != n->hk * s->group_size)
    return err_set(err, ATTNC_ERR_SHAPE, "reference: the spec pins h / hk to %d",
                   s->group_size);
  if (n->sk > INT32_MAX || n->sq > INT32_MAX)
    return err_set(err, ATTNC_ERR_SHAPE, "reference: a length is 2^31 or more");
  return ATTNC_OK;
}

/* A value of the call against a constant of the kernel. */
static attnc_status
choose_scale(Ref *r, const attnc_args *args, attnc_error *err)
{
  float given = args->n_scalars > ATTNC_SOFTMAX_SCALE && args->scalars
                    ? args->scalars[ATTNC_SOFTMAX_SCALE]
                    : NAN;
  r->scale = isnan(given) ? spec_scale(r->spec) : given;
  bool constant = spec_specializes(r->spec, SPECIALIZE_SOFTMAX_SCALE);
  if (constant && (float)r->scale != (float)spec_scale(r->spec))
    return err_set(err, ATTNC_ERR_USAGE,
                   "reference: softmax_scale is specialised to %g, the call gives %g",
                   spec_scale(r->spec), r->scale);
  return ATTNC_OK;
}

static attnc_status
take_tensors(Ref *r, const attnc_args *args, uint32_t slots, attnc_error *err)
{
  static const char *const names[ATTNC_SLOT_COUNT] = {"q", "k", "v", "o", "lse"};
  const attnc_sizes *n = &r->n;
  for (uint32_t i = 0; i < slots; i++) {
    bool used = n->b && n->h && (i == ATTNC_K || i == ATTNC_V ? n->sk : n->sq);
    bool there = args->tensors && i < args->n_tensors && args->tensors[i].data;
    if (used && !there)
      return err_set(err, ATTNC_ERR_USAGE, "reference: tensor %s is missing", names[i]);
    if (there)
      r->t[i] = args->tensors[i];
  }
  return ATTNC_OK;
}

static attnc_status
take_args(Ref *r, const Spec *s, const attnc_args *args, uint32_t slots, attnc_error *err)
{
  if (!s || !args || args->size < sizeof *args)
    return err_set(err, ATTNC_ERR_USAGE,
                   "reference: no spec, or attnc_args.size is not set");
  *r = (Ref){.spec = s, .n = args->sizes, .band = spec_band(s)};
  r->ty[ATTNC_Q] = s->q;
  r->ty[ATTNC_K] = s->k;
  r->ty[ATTNC_V] = s->v;
  r->ty[ATTNC_O] = s->o;
  TRY(check_sizes(s, &r->n, err));
  TRY(choose_scale(r, args, err));
  return take_tensors(r, args, slots, err);
}

/* NULL when the product is beyond memory. */
static void *
room(Arena *a, int64_t n, int64_t m, size_t size)
{
  int64_t total;
  if (__builtin_mul_overflow(n, m, &total) || total > INT64_MAX / 16)
    return NULL;
  return arena_alloc(a, (size_t)total * size);
}

static attnc_status
take_memory(Ref *r, attnc_error *err)
{
  int d = r->spec->head_dim, dv = r->spec->head_dim_v;
  int64_t sk = (r->n.sk + KEYS - 1) / KEYS * KEYS;
  r->arena = arena_new(0);
  Arena *a = r->arena;
  bool whole =
      a && (r->keys = room(a, sk, d, sizeof(float))) &&
      (r->values = room(a, sk, dv, sizeof(float))) &&
      (r->s64 = room(a, sk, 1, sizeof(double))) &&
      (r->s32 = room(a, sk, 1, sizeof(float))) && (r->q = room(a, d, 1, sizeof(float))) &&
      (r->o64 = room(a, dv, 1, sizeof(double))) && (r->o32 = room(a, dv, 1, sizeof(float)));
  if (whole)
    return ATTNC_OK;
  arena_free(a);
  return err_set(err, ATTNC_ERR_NOMEM, "reference: out of memory for sk %lld",
                 (long long)r->n.sk);
}

/* ---- one row ---- */

static float
tensor_at(const Ref *r, int slot, int64_t b, int64_t h, int64_t s, int64_t d)
{
  const attnc_tensor *t = &r->t[slot];
  int64_t i = b * t->stride[0] + h * t->stride[1] + s * t->stride[2] + d * t->stride[3];
  return element(t->data, i, r->ty[slot]);
}

static void
load_key_head(Ref *r, int64_t b, int64_t hk)
{
  int d = r->spec->head_dim, dv = r->spec->head_dim_v;
  for (int64_t j = 0; j < r->n.sk; j++) {
    float *block = r->keys + j / KEYS * KEYS * d + j % KEYS;
    for (int i = 0; i < d; i++)
      block[i * KEYS] = tensor_at(r, ATTNC_K, b, hk, j, i);
    for (int i = 0; i < dv; i++)
      r->values[j * dv + i] = tensor_at(r, ATTNC_V, b, hk, j, i);
  }
}

/* q · k for the KEYS keys of a block, in both precisions. */
WIDE static void
score_block(const float *restrict block, const float *restrict q, int d,
            double *restrict s64, float *restrict s32)
{
  memset(s64, 0, KEYS * sizeof *s64);
  memset(s32, 0, KEYS * sizeof *s32);
  for (int i = 0; i < d; i++)
    for (int j = 0; j < KEYS; j++) {
      float k = block[i * KEYS + j];
      s64[j] += (double)q[i] * k;
      s32[j] += q[i] * k;
    }
}

/* o += p V over n keys, in both precisions. */
WIDE static void
add_values(const float *restrict v, int64_t n, int dv, const double *restrict p64,
           const float *restrict p32, double *restrict o64, float *restrict o32)
{
  for (int64_t j = 0; j < n; j++, v += dv)
    for (int i = 0; i < dv; i++) {
      o64[i] += p64[j] * v[i];
      o32[i] += p32[j] * v[i];
    }
}

typedef struct Range {
  int64_t from, to; /* keys [from, to) */
} Range;

/* The keys that row q sees: contiguous, since the mask is a band. */
static Range
visible(const Ref *r, int64_t q)
{
  int64_t at = q + (r->band.bottom_right ? r->n.sk - r->n.sq : 0);
  int64_t from = r->band.lo == INT_MIN ? 0 : at + r->band.lo;
  int64_t to = r->band.hi == INT_MAX ? r->n.sk : at + r->band.hi + 1;
  Range keys = {from < 0 ? 0 : from, to > r->n.sk ? r->n.sk : to};
  return keys.from < keys.to ? keys : (Range){0, 0};
}

/* Scores → unnormalised probabilities, in place; returns max + ln(sum), sums in l. */
static double
softmax(Ref *r, Range keys, double *l64, float *l32)
{
  double *s = r->s64, m64 = -INFINITY;
  float *f = r->s32, m32 = -INFINITY, scale32 = (float)r->scale;
  for (int64_t j = keys.from; j < keys.to; j++) {
    s[j] *= r->scale;
    f[j] *= scale32;
    m64 = s[j] > m64 || isnan(s[j]) ? s[j] : m64;
    m32 = f[j] > m32 || isnan(f[j]) ? f[j] : m32;
  }
  *l64 = 0;
  *l32 = 0;
  for (int64_t j = keys.from; j < keys.to; j++) {
    s[j] = exp(s[j] - m64);
    f[j] = expf(f[j] - m32);
    *l64 += s[j];
    *l32 += f[j];
    f[j] = rounded(f[j], r->ty[ATTNC_V]);
  }
  return m64 + log(*l64);
}

/* Fills o64 (the reference) and o32 (plain, rounded); returns the LSE. */
static double
row(Ref *r, int64_t b, int64_t h, int64_t q)
{
  int d = r->spec->head_dim, dv = r->spec->head_dim_v;
  Range keys = visible(r, q);
  memset(r->o64, 0, (size_t)dv * sizeof *r->o64);
  memset(r->o32, 0, (size_t)dv * sizeof *r->o32);
  if (keys.from == keys.to)
    return -INFINITY;
  for (int i = 0; i < d; i++)
    r->q[i] = tensor_at(r, ATTNC_Q, b, h, q, i);
  for (int64_t j = keys.from / KEYS * KEYS; j < keys.to; j += KEYS)
    score_block(r->keys + j * d, r->q, d, r->s64 + j, r->s32 + j);
  double l64;
  float l32;
  double lse = softmax(r, keys, &l64, &l32);
  add_values(r->values + keys.from * dv, keys.to - keys.from, dv, r->s64 + keys.from,
             r->s32 + keys.from, r->o64, r->o32);
  for (int i = 0; i < dv; i++) {
    r->o64[i] /= l64;
    r->o32[i] = rounded(r->o32[i] / l32, r->ty[ATTNC_O]);
  }
  return lse;
}

/* ---- the reference ---- */

static void
write_head(Ref *r, int64_t b, int64_t h, const int64_t *rows, int64_t n, double *o,
           double *lse)
{
  int dv = r->spec->head_dim_v;
  int64_t base = (b * r->n.h + h) * n;
  for (int64_t i = 0; i < n; i++) {
    double l = row(r, b, h, rows ? rows[i] : i);
    if (o)
      memcpy(o + (base + i) * dv, r->o64, (size_t)dv * sizeof *o);
    if (lse)
      lse[base + i] = l;
  }
}

attnc_status
attnc_reference(const attnc_spec *spec, const attnc_args *args, const int64_t *rows,
                size_t n_rows, double *o, double *lse, attnc_error *err)
{
  Ref r;
  err_clear(err);
  TRY(take_args(&r, spec, args, ATTNC_V + 1, err));
  for (size_t i = 0; rows && i < n_rows; i++)
    if (rows[i] < 0 || rows[i] >= r.n.sq)
      return err_set(err, ATTNC_ERR_USAGE, "reference: no row %lld", (long long)rows[i]);
  TRY(take_memory(&r, err));
  int64_t n = rows ? (int64_t)n_rows : r.n.sq, group = r.n.hk ? r.n.h / r.n.hk : 0;
  for (int64_t b = 0; b < r.n.b; b++)
    for (int64_t h = 0; h < r.n.h; h++) {
      if (h % group == 0)
        load_key_head(&r, b, h / group);
      write_head(&r, b, h, rows, n, o, lse);
    }
  arena_free(r.arena);
  return ATTNC_OK;
}

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

/* ---- the contract ---- */

/* What is kept of a row until the head's plain error is known. */
typedef struct RowError {
  double error;  /* largest of an element */
  double excess; /* largest of error - ulp: at most twice the plain error when right */
  double ulp;    /* of the element with that */
  double lse;    /* |lse - reference| */
} RowError;

/* |got - want|, where anything that is no number is infinitely wrong. */
static double
distance(double got, double want)
{
  double e = got == want ? 0 : fabs(got - want);
  return isnan(e) ? INFINITY : e;
}

/* An output type that cannot hold the result holds infinity. */
static bool
overflowed(double got, double want, Dtype ty)
{
  return isinf(got) && isfinite(want) && isinf(rounded((float)want, ty)) &&
         (got > 0) == (want > 0);
}

static RowError
row_error(Ref *r, int64_t b, int64_t h, int64_t q, double lse, double *plain)
{
  RowError e = {.excess = -INFINITY};
  for (int i = 0; i < r->spec->head_dim_v; i++) {
    double got = tensor_at(r, ATTNC_O, b, h, q, i), want = r->o64[i];
    double error = overflowed(got, want, r->ty[ATTNC_O]) ? 0 : distance(got, want);
    double one = lse == -INFINITY ? 0 : ulp(want, r->ty[ATTNC_O]);
    double own = distance(r->o32[i], want);
    if (isfinite(own) && own > *plain)
      *plain = own;
    if (error > e.error)
      e.error = error;
    if (error - one > e.excess) {
      e.excess = error - one;
      e.ulp = one;
    }
  }
  if (r->spec->return_lse) {
    const float *at = r->t[ATTNC_LSE].data;
    e.lse = distance(at[(b * r->n.h + h) * r->n.sq + q], lse);
  }
  return e;
}

typedef struct Judge {
  attnc_verdict *v;
  double worst; /* largest error over its bound so far */
} Judge;

static double
ratio(double error, double bound)
{
  return error <= bound ? (bound > 0 ? error / bound : 0)
         : bound > 0    ? error / bound
                        : INFINITY;
}

/* Rows that see nothing have e->ulp 0 and no use for the head's bound. */
static void
judge_row(Judge *judge, const RowError *e, double plain, bool empty, int64_t b, int64_t h,
          int64_t q)
{
  attnc_verdict *v = judge->v;
  double bound = empty ? 0 : 2 * plain + e->ulp;
  double lse_bound = empty ? 0 : LSE_BOUND;
  bool good = e->excess <= (empty ? 0 : 2 * plain) && e->lse <= lse_bound;
  double o_ratio = ratio(e->excess + e->ulp, bound), lse_ratio = ratio(e->lse, lse_bound);
  double worse = o_ratio > lse_ratio ? o_ratio : lse_ratio;
  v->rows++;
  v->bad_rows += !good;
  v->lse_error = e->lse > v->lse_error ? e->lse : v->lse_error;
  if (v->rows == 1 || e->error > v->max_error) {
    v->max_error = e->error;
    v->bound = bound;
  }
  if (v->rows == 1 || worse > judge->worst) {
    judge->worst = worse;
    v->b = b;
    v->h = h;
    v->q = q;
  }
}

static void
judge_head(Ref *r, Judge *judge, int64_t b, int64_t h, const int64_t *rows, int64_t n,
           RowError *errors)
{
  double plain = 0;
  for (int64_t i = 0; i < n; i++) {
    int64_t q = rows ? rows[i] : i;
    double lse = row(r, b, h, q);
    errors[i] = row_error(r, b, h, q, lse, &plain);
  }
  for (int64_t i = 0; i < n; i++) {
    int64_t q = rows ? rows[i] : i;
    Range keys = visible(r, q);
    judge_row(judge, &errors[i], plain, keys.from == keys.to, b, h, q);
  }
}

attnc_status
attnc_verify(const attnc_spec *spec, const attnc_args *host, attnc_verdict *verdict,
             attnc_error *err)
{
  Ref r;
  int64_t sampled[SAMPLED_ROWS];
  err_clear(err);
  if (!verdict || verdict->size < sizeof *verdict)
    return err_set(err, ATTNC_ERR_USAGE, "verify: attnc_verdict.size is not set");
  TRY(take_args(&r, spec, host, ATTNC_O + 1u + (spec && spec->return_lse), err));
  double macs = (double)r.n.b * (double)r.n.h * (double)r.n.sq * (double)r.n.sk *
                (spec->head_dim + spec->head_dim_v);
  bool all = macs <= LARGE_MACS || r.n.sq <= SAMPLED_ROWS;
  int64_t n = all ? r.n.sq : SAMPLED_ROWS;
  if (!all)
    sample_rows(r.n.sq, sampled);
  TRY(take_memory(&r, err));
  RowError *errors = room(r.arena, n, 1, sizeof *errors);
  Judge judge = {verdict, 0};
  *verdict = (attnc_verdict){.size = verdict->size};
  for (int64_t b = 0; errors && b < r.n.b; b++)
    for (int64_t h = 0; h < r.n.h; h++) {
      int64_t group = r.n.h / r.n.hk;
      if (h % group == 0)
        load_key_head(&r, b, h / group);
      judge_head(&r, &judge, b, h, all ? NULL : sampled, n, errors);
    }
  verdict->pass = verdict->bad_rows == 0;
  arena_free(r.arena);
  return errors ? ATTNC_OK : err_set(err, ATTNC_ERR_NOMEM, "verify: out of memory");
}
