/* The fp64 reference, straight from the definition. */
#include "reference/judge.h"

#include "base/err.h"

#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

/* Wider vectors where the processor has them; the sanitizers are not up yet when the choice
 * is made. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__) &&          \
    !defined(__SANITIZE_THREAD__)
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif

enum { KEYS = 64, MAX_THREADS = 16 };
static const double SMALL_MACS = 4e6; /* a few milliseconds: not worth a thread */

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

static float
half_at(const void *data, int64_t i)
{
  return float_of_half(((const uint16_t *)data)[i]);
}

static float
bf16_at(const void *data, int64_t i)
{
  return float_of_bits((uint32_t)((const uint16_t *)data)[i] << 16);
}

static float
float_at(const void *data, int64_t i)
{
  return ((const float *)data)[i];
}

/* How an element is read; bits of significand after the first, the exponent of the least
 * normal number, and the greatest.  A type without a row is refused. */
typedef struct Format {
  float (*at)(const void *data, int64_t i);
  int bits, emin;
  double max;
} Format;
static const Format formats[DT_COUNT] = {
    [DT_F16] = {half_at, 10, -14, 65504},
    [DT_BF16] = {bf16_at, 7, -126, 0x1.fep127},
    [DT_F32] = {float_at, 23, -126, 0x1.fffffep127},
};

double
ref_ulp(double x, Dtype ty)
{
  int e = x == 0 || !isfinite(x) ? INT_MIN : ilogb(x);
  return ldexp(1, (e < formats[ty].emin ? formats[ty].emin : e) - formats[ty].bits);
}

/* To nearest, ties to even; beyond the largest number, infinity. */
float
ref_rounded(float x, Dtype ty)
{
  if (ty == DT_F32 || !isfinite(x))
    return x;
  double step = ref_ulp(x, ty), r = rint(x / step) * step;
  return fabs(r) > formats[ty].max ? copysignf(INFINITY, x) : (float)r;
}

float
ref_element(const void *data, int64_t i, Dtype ty)
{
  return formats[ty].at(data, i);
}

/* ---- what is asked ---- */

static attnc_status
check_sizes(const Spec *s, const Signature *call, const attnc_sizes *n, attnc_error *err)
{
  const SizeRules rules = {.most = INT32_MAX, .group = s->group_size};
  TRY(sizes_check(n, &rules, err));
  TRY(sizes_check_had(n, call->tensors, call->n_tensors, err));
  return sizes_check_pages(n, call->tensors, call->n_tensors, err);
}

/* A number of the call, as launches take it: fp32, by slot, its default where it has none.
 */
static attnc_status
choose_scalars(Ref *r, const attnc_args *args, bool needed, attnc_error *err)
{
  for (int i = 0; i < r->call->n_scalars; i++) {
    const SignatureScalar *s = &r->call->scalars[i];
    double given = (uint32_t)s->slot < args->n_scalars ? args->scalars[s->slot] : NAN;
    if (!isnan(given))
      TRY(scalar_check(s->name, given, s->bounds, err));
    if (needed && isnan(given) && isnan(s->initial))
      return err_set(err, ATTNC_ERR_USAGE, "reference: the number %s is missing", s->name);
    r->scalar[s->slot] = isnan(given) ? s->initial : (double)(float)given;
    if (s->constant && (float)r->scalar[s->slot] != (float)s->initial)
      return err_set(err, ATTNC_ERR_USAGE,
                     "reference: %s is specialised to %g, the call gives %g", s->name,
                     s->initial, given);
  }
  return ATTNC_OK;
}

static bool
is_whole(Dtype ty)
{
  return ty == DT_I32 || ty == DT_U32 || ty == DT_U64 || ty == DT_U8;
}

/* Outputs only where they are judged; data aligned to elements is enough here. */
static attnc_status
check_tensors(Ref *r, RefNeed need, attnc_error *err)
{
  for (int i = 0; i < r->call->n_tensors; i++) {
    CallTensor t = r->call->tensors[i];
    attnc_tensor *x = &r->t[t.slot];
    t.align = dtype_bytes(t.dtype);
    r->ty[t.slot] = t.dtype;
    if (!formats[t.dtype].at && !is_whole(t.dtype))
      return err_set(err, ATTNC_ERR_UNSUPPORTED, "reference: numbers of %s",
                     dtype_name(t.dtype));
    if ((need == REF_INPUTS && !(t.access & ACCESS_IN)) ||
        (need == REF_NOTHING && !x->data))
      continue;
    if (!x->data && !tensor_is_empty(&t, &r->n))
      return err_set(err, ATTNC_ERR_USAGE, "reference: tensor %s is missing", t.name);
    if ((uintptr_t)x->data % (uintptr_t)t.align)
      return err_set(err, ATTNC_ERR_ALIGN,
                     "reference: %s: the address %p is not a multiple of an element's %d "
                     "bytes",
                     t.name, x->data, t.align);
    if (x->data)
      TRY(tensor_check(&t, &r->n, x, err));
  }
  return ATTNC_OK;
}

attnc_status
ref_open(Ref *r, const Spec *s, int op, const attnc_args *from, RefNeed need,
         attnc_error *err)
{
  attnc_args args;
  if (!s)
    return err_set(err, ATTNC_ERR_USAGE, "reference: the spec is NULL");
  if (op < 0 || op >= ATTNC_OP_COUNT)
    return err_set(err, ATTNC_ERR_UNSUPPORTED, "op %d is not one that attnc knows", op);
  TRY(struct_take(&args, sizeof args, from, SIZE_UPTO(attnc_args, workspace_bytes),
                  "attnc_args", err));
  if (args.n_scalars && !args.scalars)
    return err_set(err, ATTNC_ERR_USAGE, "reference: scalars is NULL");
  *r = (Ref){.spec = s, .call = s->call[op], .band = spec_band(s)};
  TRY(sizes_take(&r->n, args.sizes, err));
  TRY(tensors_take(r->t, CALL_SLOTS, args.tensors, args.tensor_size, args.n_tensors, err));
  r->n_rows = ref_is_packed(r) ? r->n.total_q : r->n.sq;
  TRY(check_sizes(s, r->call, &r->n, err));
  TRY(choose_scalars(r, &args, need != REF_NOTHING, err));
  TRY(check_tensors(r, need, err));
  if (op == ATTNC_OP_APPEND || (op == ATTNC_OP_FWD && s->append && need != REF_NOTHING))
    TRY(ref_take_append(r, err));
  if (op == ATTNC_OP_BWD)
    TRY(ref_take_gradients(r, err));
  if (op == ATTNC_OP_DROPOUT_MASK && !s->dropout)
    return err_set(err, ATTNC_ERR_UNSUPPORTED, "dropout_mask: the spec has no dropout");
  if (op != ATTNC_OP_FWD && op != ATTNC_OP_BWD)
    return ATTNC_OK;
  TRY(ref_take_sequences(r, err));
  return ref_take_tables(r, err);
}

void
ref_enter(Ref *r, int64_t b)
{
  r->seq = ref_sequence(r, b);
  ref_enter_tables(r);
}

/* NULL when the product is beyond memory. */
void *
ref_room(Arena *a, int64_t n, int64_t m, size_t size)
{
  int64_t total;
  if (__builtin_mul_overflow(n, m, &total) || total > INT64_MAX / 16)
    return NULL;
  return arena_alloc(a, (size_t)total * size);
}

static bool
take_slack(Ref *r)
{
  if (!r->judged || !r->spec->score_mod.n)
    return true;
  return (r->score_error = ref_room(r->arena, r->n.sp + r->n.sk, 1, sizeof(double))) &&
         (r->o_slack = ref_room(r->arena, r->spec->head_dim_v, 1, sizeof(double)));
}

static bool
take_o_lo(Ref *r)
{
  if (!r->spec->return_o_lo)
    return true;
  return (r->o_fp32 = ref_room(r->arena, r->spec->head_dim_v, 1, sizeof *r->o_fp32));
}

static bool
take_memory(Ref *r)
{
  int d = r->spec->head_dim, dv = r->spec->head_dim_v;
  int64_t sk = (r->n.sp + r->n.sk + KEYS - 1) / KEYS * KEYS;
  Arena *a = r->arena = arena_new(0);
  return a && (r->keys = ref_room(a, sk, d, sizeof(float))) &&
         (r->values = ref_room(a, sk, dv, sizeof(float))) &&
         (r->s64 = ref_room(a, sk, 1, sizeof(double))) &&
         (r->s32 = ref_room(a, sk, 1, sizeof(float))) &&
         (r->q = ref_room(a, d, 1, sizeof(float))) &&
         (r->o64 = ref_room(a, dv, 1, sizeof(double))) &&
         (r->o32 = ref_room(a, dv, 1, sizeof(float))) && take_o_lo(r) &&
         (r->per_row = ref_room(a, r->n_rows, 1, r->row_bytes)) && take_slack(r) &&
         ref_exprs_open(r) && ref_lists_open(r) && ref_dropout_open(r) && ref_grad_open(r);
}

/* ---- one row ---- */

/* Of a tensor whose axes are b, heads, rows and elements; packed rows have no b. */
static float
element(const Ref *r, int slot, bool packed, int64_t b, int64_t h, int64_t row, int64_t d)
{
  const attnc_tensor *t = &r->t[slot];
  const int64_t *st = t->stride + !packed;
  int64_t i = (packed ? 0 : b * t->stride[0]) + h * st[0] + row * st[1] + d * st[2];
  return ref_element(t->data, i, r->ty[slot]);
}

float
ref_of_query(const Ref *r, int slot, int64_t h, int64_t q, int64_t d)
{
  return element(r, slot, ref_is_packed(r), r->seq.b, h, r->seq.q_first + q, d);
}

/* A key of the prefix that all sequences share. */
static float
of_prefix(const Ref *r, int slot, int64_t hk, int64_t j, int64_t d)
{
  const attnc_tensor *pages = &r->t[ATTNC_PREFIX_PAGES];
  int64_t rows = r->n.page_size;
  if (!r->spec->page_table)
    return element(r, slot == ATTNC_K ? ATTNC_K_PREFIX : ATTNC_V_PREFIX, true, 0, hk, j, d);
  return element(r, slot, false, ((const int32_t *)pages->data)[j / rows], hk, j % rows, d);
}

static float
of_key(const Ref *r, int slot, int64_t hk, int64_t j, int64_t d)
{
  if (j < r->n.sp)
    return of_prefix(r, slot, hk, j, d);
  j -= r->n.sp;
  int64_t at = r->seq.k_pad + j, rows = r->n.page_size;
  if (r->fresh && at >= ref_keys_before(r, r->seq.b))
    return ref_new_key(r, slot, r->seq.b, hk, at, d);
  if (r->spec->page_table)
    return element(r, slot, false, ref_page(r, slot, r->seq.kb, at / rows), hk, at % rows,
                   d);
  return element(r, slot, spec_has_tensor(r->spec, ATTNC_CU_SEQLENS_K), r->seq.kb, hk,
                 r->seq.k_first + r->seq.k_pad + j, d);
}

bool
ref_rows_are_packed(const Ref *r, int slot)
{
  return slot == ATTNC_DQ ? ref_is_packed(r) : spec_has_tensor(r->spec, ATTNC_CU_SEQLENS_K);
}

float
ref_of_gradient(const Ref *r, int slot, int64_t head, int64_t row, int64_t d)
{
  int64_t first = slot == ATTNC_DQ ? r->seq.q_first : r->seq.k_first + r->seq.k_pad;
  return element(r, slot, ref_rows_are_packed(r, slot), r->seq.b, head, first + row, d);
}

static void
load_key_head(Ref *r, int64_t hk)
{
  int d = r->spec->head_dim, dv = r->spec->head_dim_v;
  for (int64_t j = 0; j < r->seq.sk; j++) {
    float *block = r->keys + j / KEYS * KEYS * d + j % KEYS;
    for (int i = 0; i < d; i++)
      block[i * KEYS] = of_key(r, ATTNC_K, hk, j, i);
    for (int i = 0; i < dv; i++)
      r->values[j * dv + i] = of_key(r, ATTNC_V, hk, j, i);
  }
}

float
ref_key(const Ref *r, int64_t key, int i)
{
  return r->keys[key / KEYS * KEYS * r->spec->head_dim + i * KEYS + key % KEYS];
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

/* What the band has of it. */
Range
ref_in_band(const Ref *r, int64_t q)
{
  int64_t at = q + (r->band.bottom_right ? r->seq.sk - r->seq.sq : 0);
  int64_t from = r->band.lo == INT_MIN ? 0 : at + r->band.lo;
  int64_t to = r->band.hi == INT_MAX ? r->seq.sk : at + r->band.hi + 1;
  Range keys = {from < 0 ? 0 : from, to > r->seq.sk ? r->seq.sk : to};
  if (keys.to < r->n.sp) /* all of the prefix is seen, whose from is 0 */
    keys.to = r->n.sp;
  return keys.from < keys.to ? keys : (Range){0, 0};
}

Range
ref_visible(const Ref *r, int64_t q)
{
  return spec_has_lists(r->spec) ? (Range){0, r->seq.sk} : ref_in_band(r, q);
}

/* A score is an fp32 number: beyond their range it is infinite. */
static double
score(double s)
{
  return fabs(s) >= 0x1.ffffffp127 ? copysign(INFINITY, s) : s;
}

static void
scale(Ref *r, Range keys)
{
  double *s = r->s64;
  float *f = r->s32, scale32 = (float)r->scalar[ATTNC_SOFTMAX_SCALE];
  for (int64_t j = keys.from; j < keys.to; j++) {
    s[j] = score(s[j]) * r->scalar[ATTNC_SOFTMAX_SCALE];
    f[j] *= scale32;
  }
}

/* The one more logit of a row of this head; without one it weighs nothing. */
static double
sink_of(const Ref *r, int64_t h)
{
  const attnc_tensor *t = &r->t[ATTNC_SINK];
  return r->spec->sink_logit.n
             ? (double)ref_element(t->data, h * t->stride[0], r->ty[ATTNC_SINK])
             : (double)-INFINITY;
}

/* Scores → unnormalised probabilities, in place; returns max + ln(sum), sums in l.  Scores
 * of −inf weigh nothing, even where there are no others. */
static double
softmax(Ref *r, Range keys, double sink, double *l64, float *l32)
{
  double *s = r->s64, m64 = sink;
  float *f = r->s32, m32 = (float)sink;
  for (int64_t j = keys.from; j < keys.to; j++) {
    m64 = s[j] > m64 || isnan(s[j]) ? s[j] : m64;
    m32 = f[j] > m32 || isnan(f[j]) ? f[j] : m32;
  }
  *l64 = sink == -INFINITY ? 0 : exp(sink - m64);
  *l32 = sink == -INFINITY ? 0 : expf((float)sink - m32);
  for (int64_t j = keys.from; j < keys.to; j++) {
    if (r->grad)
      r->grad->s32[j] = f[j];
    s[j] = s[j] == -INFINITY ? 0 : exp(s[j] - m64);
    f[j] = f[j] == -INFINITY ? 0 : expf(f[j] - m32);
    *l64 += s[j];
    *l32 += f[j];
    f[j] = ref_rounded(f[j], r->ty[ATTNC_V]);
  }
  r->lse32 = m32 + logf(*l32);
  return m64 + log(*l64);
}

/* Runs of keys that no mask hides: what is hidden has no value, not even NaN. */
static void
add_seen(Ref *r, Range keys)
{
  int dv = r->spec->head_dim_v;
  const double *p64 = r->p64 ? r->p64 : r->s64;
  const float *p32 = r->p32 ? r->p32 : r->s32;
  for (int64_t j = keys.from, to; j < keys.to; j = to) {
    bool hidden = ref_is_hidden(r, j);
    for (to = j + 1; to < keys.to && ref_is_hidden(r, to) == hidden; to++)
      ;
    if (!hidden)
      add_values(r->values + j * dv, to - j, dv, p64 + j, p32 + j, r->o64, r->o32);
  }
}

/* A natural logarithm to the base of the spec. */
static double
in_base(const Ref *r, double natural)
{
  return r->spec->lse_base == LSE_BASE_2 ? natural * 1.4426950408889634 : natural;
}

/* Fills o64 (the reference), o32 (plain, rounded) and lse32; returns the LSE. */
double
ref_row(Ref *r, int64_t b, int64_t h, int64_t q)
{
  int d = r->spec->head_dim, dv = r->spec->head_dim_v;
  Range keys = ref_visible(r, q);
  memset(r->o64, 0, (size_t)dv * sizeof *r->o64);
  memset(r->o32, 0, (size_t)dv * sizeof *r->o32);
  if (r->o_fp32)
    memset(r->o_fp32, 0, (size_t)dv * sizeof *r->o_fp32);
  r->lse32 = -INFINITY;
  r->lse_slack = 0;
  for (int i = 0; r->o_slack && i < dv; i++)
    r->o_slack[i] = 0;
  r->n_seen = keys.to - keys.from;
  double sink = sink_of(r, h);
  if (keys.from == keys.to && sink == -INFINITY)
    return -INFINITY;
  for (int i = 0; i < d; i++)
    r->q[i] = ref_query(r, h, q, i);
  for (int64_t j = keys.from / KEYS * KEYS; j < keys.to; j += KEYS)
    score_block(r->keys + j * d, r->q, d, r->s64 + j, r->s32 + j);
  scale(r, keys);
  if (r->exprs)
    ref_exprs_apply(r, keys, b, h, q);
  double lse = softmax(r, keys, sink, &r->l64, &r->l32);
  if (r->kept)
    ref_drop(r, keys, b, h, q);
  add_seen(r, keys);
  double kept = ref_dropout_factor(r);
  for (int i = 0; i < dv; i++) {
    r->o64[i] *= r->l64 == 0 ? 0 : kept / r->l64;
    float o = r->l32 == 0 ? r->o32[i] * 0 : r->o32[i] / r->l32 * (float)kept;
    if (r->o_fp32)
      r->o_fp32[i] = o;
    r->o32[i] = ref_rounded(o, r->ty[ATTNC_O]);
  }
  if (r->score_error)
    ref_row_slack(r, keys, r->l64);
  r->lse_slack = in_base(r, r->lse_slack);
  r->lse32 *= (float)in_base(r, 1);
  return in_base(r, lse);
}

double
ref_magnitude(const Ref *r, Range keys)
{
  int d = r->spec->head_dim;
  int64_t top = keys.from;
  double sum = 0;
  for (int64_t j = keys.from; j < keys.to; j++)
    top = r->s64[j] > r->s64[top] ? j : top; /* weights now */
  const float *key = r->keys + top / KEYS * KEYS * d + top % KEYS;
  for (int i = 0; keys.from < keys.to && i < d; i++)
    sum += fabs((double)r->q[i] * key[i * KEYS]);
  return sum * r->scalar[ATTNC_SOFTMAX_SCALE];
}

int64_t
ref_row_index(const Ref *r, int64_t i)
{
  int64_t q = (r->rows ? r->rows[i] : i) - r->seq.q_first;
  return q >= 0 && q < r->seq.sq ? q : -1;
}

/* ---- all heads ---- */

/* Query heads are taken by number, `at_once` of them; `done` counts those that were
 * finished. */
typedef struct Team {
  const Ref *base;
  RefHead *head;
  void *user;
  int64_t next, done, units, at_once;
} Team;

static void
work_on(Team *team, Ref *r, int64_t first, int64_t *loaded)
{
  for (int64_t unit = first; unit < first + team->at_once; unit++) {
    int64_t b = unit / r->n.h, h = unit % r->n.h;
    int64_t hk = h / (r->n.h / r->n.hk), key_head = b * r->n.hk + hk;
    if (key_head != *loaded) {
      ref_enter(r, b);
      load_key_head(r, hk);
    }
    *loaded = key_head;
    team->head(r, team->user, b, h);
  }
}

static void *
work(void *user)
{
  Team *team = user;
  Ref r = *team->base;
  int64_t n = team->at_once, loaded = -1, unit;
  if (take_memory(&r))
    while ((unit = __atomic_fetch_add(&team->next, n, __ATOMIC_RELAXED)) < team->units) {
      work_on(team, &r, unit, &loaded);
      __atomic_fetch_add(&team->done, n, __ATOMIC_RELEASE);
    }
  arena_free(r.arena);
  return NULL;
}

/* How many threads beside the caller's are worth it. */
static int
helpers(const Ref *r, int64_t units)
{
  double macs = ref_pairs(r) * (r->spec->head_dim + r->spec->head_dim_v);
  long most = sysconf(_SC_NPROCESSORS_ONLN);
  if (most > MAX_THREADS)
    most = MAX_THREADS;
  if (most > units)
    most = (long)units;
  return macs < SMALL_MACS || most < 1 ? 0 : (int)most - 1;
}

/* The caller works too, so a thread that cannot be had is only time lost. */
attnc_status
ref_each_head(Ref *r, bool by_key_head, RefHead *head, void *user, attnc_error *err)
{
  int64_t units = r->n.b * r->n.h;
  if (units == 0)
    return ATTNC_OK;
  int64_t at_once = by_key_head ? r->n.h / r->n.hk : 1;
  Team team = {.base = r, .head = head, .user = user, .units = units, .at_once = at_once};
  pthread_t threads[MAX_THREADS];
  int n = r->alone ? 0 : helpers(r, units), started = 0;
  while (started < n && pthread_create(&threads[started], NULL, work, &team) == 0)
    started++;
  work(&team);
  for (int i = 0; i < started; i++)
    pthread_join(threads[i], NULL);
  if (__atomic_load_n(&team.done, __ATOMIC_ACQUIRE) == units)
    return ATTNC_OK;
  return err_set(err, ATTNC_ERR_NOMEM, "reference: out of memory for sk %lld",
                 (long long)r->n.sk);
}

/* ---- the reference ---- */

typedef struct Written {
  double *o, *lse, *o_lo; /* each may be NULL */
} Written;

static void
write_o_lo(const Ref *r, double *to)
{
  for (int i = 0; i < r->spec->head_dim_v; i++)
    to[i] = r->o64[i] - (double)ref_rounded((float)r->o64[i], r->ty[ATTNC_O]);
}

static void
write_head(Ref *r, void *user, int64_t b, int64_t h)
{
  const Written *to = user;
  int dv = r->spec->head_dim_v;
  int64_t base = ((ref_is_packed(r) ? 0 : b * r->n.h) + h) * r->n_rows;
  for (int64_t i = 0; i < r->n_rows; i++) {
    int64_t q = ref_row_index(r, i);
    if (q < 0)
      continue;
    double l = ref_row(r, b, h, q);
    if (to->o)
      memcpy(to->o + (base + i) * dv, r->o64, (size_t)dv * sizeof *to->o);
    if (to->lse)
      to->lse[base + i] = l;
    if (to->o_lo)
      write_o_lo(r, to->o_lo + (base + i) * dv);
  }
}

static double *
wanted(double *const *outputs, uint32_t n, uint32_t slot)
{
  return outputs && slot < n ? outputs[slot] : NULL;
}

attnc_status
attnc_reference(const attnc_spec *spec, int op, const attnc_args *args, const int64_t *rows,
                size_t n_rows, double *const *outputs, uint32_t n_outputs, attnc_error *err)
{
  Ref r;
  err_clear(err);
  TRY(ref_open(&r, spec, op, args, REF_INPUTS, err));
  for (size_t i = 0; rows && i < n_rows; i++)
    if (rows[i] < 0 || rows[i] >= r.n_rows)
      return err_set(err, ATTNC_ERR_USAGE, "reference: no row %lld", (long long)rows[i]);
  r.rows = rows;
  r.n_rows = rows ? (int64_t)n_rows : r.n_rows;
  if ((op == ATTNC_OP_APPEND || op == ATTNC_OP_BWD) && rows)
    return err_set(err, ATTNC_ERR_USAGE, "reference: op %s has no rows of queries",
                   op_words[op]);
  if (op == ATTNC_OP_BWD)
    return ref_gradients(&r, outputs, n_outputs, err);
  if (op == ATTNC_OP_APPEND)
    return ref_append(&r, outputs, n_outputs, err);
  if (op == ATTNC_OP_MERGE)
    return ref_merge(&r, outputs, n_outputs, err);
  if (op == ATTNC_OP_DROPOUT_MASK)
    return ref_dropout_mask(&r, outputs, n_outputs, err);
  r.fresh = spec->append;
  Written to = {wanted(outputs, n_outputs, ATTNC_O), wanted(outputs, n_outputs, ATTNC_LSE),
                wanted(outputs, n_outputs, ATTNC_O_LO)};
  return ref_each_head(&r, false, write_head, &to, err);
}
