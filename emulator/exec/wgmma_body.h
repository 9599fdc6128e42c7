/* wgmma_body.h: the sums of wgmma, included behind mma_body.h once per kind of CPU.
 *
 * The model is mma.h's, all of k in one pass: 16 products of 16 bits, 8 of tf32, 32 of 8
 * bits.  Its arithmetic is arranged for speed: elements are whole floats and their products
 * exact; exponents are compared in 16 bits, half a vector each; an output's alignment is
 * one power of two, found once and multiplied into every product; the conversion to int
 * then truncates.  This is exact while no product leaves the range of a float and no output
 * is so small that its power of two does: other rows and outputs take the slow way, in
 * double. C comes from the registers, which have the fragments of mma.sync's m16n8 side by
 * side. */

enum {
  WIDE_FAR = 124,  /* exponents of a product up to this are a float's */
  EXP_ZERO = -126, /* of a zero, as of f32's subnormals */
  EXP_BAD = 128,   /* of Inf and NaN */
};

typedef struct WideLeft { /* k rows of 16 */
  _Alignas(64) float v[WIDE_K * MMA_M];
  _Alignas(64) int16_t e[WIDE_K * MMA_M];
  uint32_t some[MMA_M]; /* which of k are not zero */
  int top;              /* the largest exponent */
  bool bad;             /* Inf or NaN */
} WideLeft;

typedef struct WideRight { /* eight columns of k */
  float v[MMA_N * WIDE_K];
  int16_t e[MMA_N * WIDE_K];
  int top;
  bool bad;
} WideRight;

/* ---- numbers ---- */

static inline int16_t
exp_of(uint32_t field, int bias, bool zero)
{
  int e = field ? (int)field - bias : 1 - bias;
  return (int16_t)(zero ? EXP_ZERO : e);
}

/* Elements as MmaWide has them: floats, and f16 or e4m3 in the low bits. */
static inline void
numbers(uint8_t type, int n, const uint32_t *u, float *v, int16_t *e)
{
  switch (type) {
  case MMA_F16:
  case MMA_E5M2:
    for (int i = 0; i < n; i++) {
      v[i] = f16_value(u[i]);
      e[i] = exp_of(u[i] >> 10 & 31, 15, !(u[i] & 0x7fff));
    }
    break;
  case MMA_E4M3:
    for (int i = 0; i < n; i++) {
      v[i] = e4m3_value(u[i]);
      e[i] = exp_of(u[i] >> 3 & 15, 7, !(u[i] & 0x7f));
    }
    break;
  default:
    for (int i = 0; i < n; i++) {
      v[i] = float_of(u[i]);
      e[i] = exp_of(u[i] >> 23 & 255, 127, false);
    }
  }
}

/* The largest exponent, and whether something is Inf or NaN. */
static inline int
survey(int n, const float *v, const int16_t *e, bool *bad)
{
  int16_t top = EXP_ZERO;
  uint32_t worst_bits = 0;
  for (int i = 0; i < n; i++) {
    uint32_t u = bits_of(v[i]) & 0x7fffffff;
    top = e[i] > top ? e[i] : top;
    worst_bits = u > worst_bits ? u : worst_bits;
  }
  *bad = worst_bits >= 0x7f800000;
  return top;
}

static void
left_numbers(const MmaWide *w, WideLeft *l)
{
  numbers(w->ta, w->k * MMA_M, w->a, l->v, l->e);
  l->top = survey(w->k * MMA_M, l->v, l->e, &l->bad);
  memset(l->some, 0, sizeof l->some);
  for (int k = 0; k < w->k; k++)
    ROWS l->some[i] |= (uint32_t)(l->v[k * MMA_M + i] != 0) << k;
}

static inline void
halves(uint8_t type, int n, const uint8_t *from, uint32_t *to)
{
  uint16_t h[MMA_N * MMA_K];
  memcpy(h, from, (size_t)n * sizeof *h);
  int up = type == MMA_BF16 ? 16 : 0;
  for (int i = 0; i < n; i++)
    to[i] = (uint32_t)h[i] << up;
}

/* Eight columns from n0 on, each with its k elements side by side. */
static inline void
unpack_right(const MmaWide *w, int n0, uint32_t *to)
{
  const uint8_t *from = w->b + (size_t)n0 * 32;
  uint32_t row[MMA_N];
  if (w->rows) {
    for (int k = 0; k < w->k; k++) {
      halves(w->tb, MMA_N, w->b + 2 * (k * w->n + n0), row);
      for (int n = 0; n < MMA_N; n++)
        to[n * w->k + k] = row[n];
    }
  } else if (w->k == WIDE_K) {
    for (int i = 0; i < MMA_N * WIDE_K; i++)
      to[i] = (uint32_t)from[i] << (w->tb == MMA_E5M2 ? 8 : 0);
  } else if (w->tb == MMA_TF32) {
    memcpy(to, from, MMA_N * 32);
    for (int i = 0; i < MMA_N * 8; i++)
      to[i] &= 0xffffe000;
  } else {
    halves(w->tb, MMA_N * MMA_K, from, to);
  }
}

static inline void
right_numbers(const MmaWide *w, int n0, WideRight *r)
{
  uint32_t u[MMA_N * WIDE_K];
  unpack_right(w, n0, u);
  numbers(w->tb, w->k * MMA_N, u, r->v, r->e);
  r->top = survey(w->k * MMA_N, r->v, r->e, &r->bad);
}

/* ---- one column ---- */

enum { BLOCK = MMA_N * MMA_M };

typedef struct Block { /* eight columns: C, and what comes out */
  float c[BLOCK];
  int16_t e[BLOCK], top[BLOCK];
  float scale[BLOCK];
  int32_t sum[BLOCK];
  int32_t far[BLOCK]; /* negative: not for the quick way */
  double d[BLOCK];    /* exact sums of truncated terms */
} Block;

static inline void
load_block(const uint32_t *c, bool half, Block *o)
{
  if (half)
    for (int i = 0; i < BLOCK; i++) {
      o->c[i] = f16_value(c[i]);
      int16_t e = exp_of(c[i] >> 10 & 31, 15, !(c[i] & 0x7fff));
      o->e[i] = e > 15 ? EXP_BAD : e;
    }
  else
    for (int i = 0; i < BLOCK; i++) {
      o->c[i] = float_of(c[i]);
      o->e[i] = exp_of(c[i] >> 23 & 255, 127, false);
    }
}

static inline __attribute__((always_inline)) void
tops(const int16_t *l, const int16_t *r, int k, Block *o)
{
  for (int n = 0; n < MMA_N; n++)
    ROWS
    {
      int16_t t = o->e[n * MMA_M + i];
#pragma GCC unroll 32
      for (int j = 0; j < k; j++) {
        int16_t e = (int16_t)(l[j * MMA_M + i] + r[n * k + j]);
        t = e > t ? e : t;
      }
      o->top[n * MMA_M + i] = t;
    }
}

static inline int32_t
scales(int fraction, Block *o)
{
  int32_t far = 0;
  for (int i = 0; i < BLOCK; i++) {
    int32_t t = o->top[i] - (fraction - 127);
    o->far[i] = (t - 2) | (127 - o->top[i]);
    far |= o->far[i];
    t = t < 0 ? 0 : t;
    o->scale[i] = float_of((uint32_t)(254 - t) << 23);
  }
  return far;
}

static inline __attribute__((always_inline)) void
products(const float *l, const float *r, int k, Block *o)
{
  for (int n = 0; n < MMA_N; n++)
    ROWS
    {
      int32_t sum = 0;
      float s = o->scale[n * MMA_M + i];
#pragma GCC unroll 32
      for (int j = 0; j < k; j++)
        sum += (int32_t)(l[j * MMA_M + i] * r[n * k + j] * s);
      o->sum[n * MMA_M + i] = sum;
    }
}

static inline void
totals(int fraction, Block *o)
{
  for (int i = 0; i < BLOCK; i++) {
    int32_t last = (int32_t)(o->c[i] * o->scale[i]), t = o->top[i];
    double unit = double_of((uint64_t)(uint32_t)(t - fraction + 1023) << 52);
    o->d[i] = ((double)o->sum[i] + (double)last) * unit;
  }
}

/* ---- the slow way ---- */

static inline double
cut(double x, int unit)
{
  return (double)(int64_t)(x * double_of((uint64_t)(uint32_t)(1023 - unit) << 52));
}

/* One output as the model has it.  Not finite: the plain sum says which of the two. */
static double
slow_sum(const WideLeft *l, int m, const float *b, const int16_t *eb, const Block *o,
         int at, int k, int fraction)
{
  int top = o->e[at];
  double sum = 0, plain = (double)o->c[at];
  for (int j = 0; j < k; j++) {
    int e = l->e[j * MMA_M + m] + eb[j];
    top = e > top ? e : top;
    plain += (double)l->v[j * MMA_M + m] * (double)b[j];
  }
  if (plain - plain != 0)
    return plain;
  int unit = top - fraction;
  for (int j = 0; j < k; j++)
    sum += cut((double)l->v[j * MMA_M + m] * (double)b[j], unit);
  sum += cut((double)o->c[at], unit);
  return sum * double_of((uint64_t)(uint32_t)(unit + 1023) << 52);
}

/* all: every output, not only those that are far; then zeros are no short cut: 0 * Inf. */
static __attribute__((noinline)) void
slow_block(const MmaWide *w, const WideLeft *l, const WideRight *r, bool all, Block *o)
{
  for (int n = 0; n < MMA_N; n++) {
    const float *b = r->v + n * w->k;
    const int16_t *eb = r->e + n * w->k;
    uint32_t some = 0;
    for (int j = 0; j < w->k; j++)
      some |= (uint32_t)(b[j] != 0) << j;
    for (int m = 0; m < MMA_M; m++) {
      int at = n * MMA_M + m;
      if (!all && o->far[at] >= 0)
        continue;
      bool zero = !all && !(l->some[m] & some) && o->c[at] == 0;
      o->d[at] = zero ? 0 : slow_sum(l, m, b, eb, o, at, w->k, w->fraction);
    }
  }
}

/* ---- eight columns ---- */

static inline void
round_columns(const MmaWide *w, const double *d, uint32_t *out)
{
  if (w->cd == MMA_F16)
    for (int i = 0; i < BLOCK; i++)
      out[i] = f16_of_double(d[i]);
  else
    round_f32(MMA_N * MMA_M, d, out);
  if (w->cd == MMA_F16 || !w->cut)
    return;
  uint32_t keep = ~0u << (23 - w->fraction);
  for (int i = 0; i < BLOCK; i++) {
    uint32_t u = out[i] & keep;
    out[i] = (u & 0x7fffffff) ? u : 0;
  }
}

static inline void
wide_c(const MmaWide *w, uint32_t *const *regs, uint32_t *c)
{
  if (w->zero)
    memset(c, 0, MMA_N * MMA_M * sizeof *c);
  else
    gather_c(w->cd, (const uint32_t *const *)regs, c);
}

/* True: some took the slow way. */
static inline __attribute__((always_inline)) bool
sum_block(const MmaWide *w, const WideLeft *l, const WideRight *r, int k, Block *o)
{
  bool all = l->bad || r->bad || l->top + r->top > WIDE_FAR, some = all;
  if (!all) {
    tops(l->e, r->e, k, o);
    some = scales(w->fraction, o) < 0;
    products(l->v, r->v, k, o);
    totals(w->fraction, o);
  }
  if (some)
    slow_block(w, l, r, all, o);
  return some;
}

static inline void
wide_block(const MmaWide *w, const WideLeft *l, int n0, uint32_t *const *regs)
{
  WideRight r;
  Block o;
  uint32_t c[BLOCK], out[BLOCK];
  bool slow;
  right_numbers(w, n0, &r);
  wide_c(w, regs, c);
  load_block(c, w->cd == MMA_F16, &o);
  if (w->k == 8)
    slow = sum_block(w, l, &r, 8, &o);
  else if (w->k == WIDE_K)
    slow = sum_block(w, l, &r, WIDE_K, &o);
  else
    slow = sum_block(w, l, &r, MMA_K, &o);
  round_columns(w, o.d, out);
  for (int i = 0; slow && i < BLOCK; i++)
    not_finite(o.d[i], w->cd == MMA_F16, &out[i]);
  scatter_c(w->cd, out, regs);
}

static void
wide(const MmaWide *w)
{
  WideLeft l;
  int each = w->cd == MMA_F16 ? 2 : 4;
  left_numbers(w, &l);
  for (int n = 0; n < w->n; n += MMA_N)
    wide_block(w, &l, n, w->cd_rows + n / MMA_N * each);
}

/* ---- fast ---- */

static inline __attribute__((always_inline)) void
plain_block(const float *a, const float *b, float *c, int k)
{
  for (int n = 0; n < MMA_N; n++)
    ROWS
    {
      float sum = c[n * MMA_M + i];
#pragma GCC unroll 32
      for (int j = 0; j < k; j++)
        sum += a[j * MMA_M + i] * b[n * k + j];
      c[n * MMA_M + i] = sum;
    }
}

static void
wide_fast_block(const MmaWide *w, const float *a, int n0, uint32_t *const *regs)
{
  uint32_t u[WIDE_K * MMA_N], out[MMA_N * MMA_M];
  float b[WIDE_K * MMA_N], c[MMA_N * MMA_M];
  unpack_right(w, n0, u);
  wide_c(w, regs, out);
  values(w->tb, w->k * MMA_N, u, b);
  values(w->cd, MMA_N * MMA_M, out, c);
  if (w->k == 8)
    plain_block(a, b, c, 8);
  else if (w->k == WIDE_K)
    plain_block(a, b, c, WIDE_K);
  else
    plain_block(a, b, c, MMA_K);
  for (int i = 0; i < BLOCK; i++)
    if (w->cd == MMA_F16)
      out[i] = c[i] != c[i] ? 0x7fff : f16_of_double((double)c[i]);
    else
      out[i] = c[i] != c[i] ? 0x7fffffff : bits_of(c[i]);
  scatter_c(w->cd, out, regs);
}

static void
wide_fast(const MmaWide *w)
{
  float a[WIDE_K * MMA_M];
  int each = w->cd == MMA_F16 ? 2 : 4;
  values(w->ta, w->k * MMA_M, w->a, a);
  for (int n = 0; n < w->n; n += MMA_N)
    wide_fast_block(w, a, n, w->cd_rows + n / MMA_N * each);
}
