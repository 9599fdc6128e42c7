/* mma_body.h: fragments and the arithmetic of one step, included once per kind of CPU.
 *
 * Operands are split into a significand, a float of magnitude below 2 with its sign, and an
 * exponent; a subnormal keeps the type's least exponent, zero has -126.  A product is
 * float * float, exact (11 × 11 bits); its alignment is a multiplication by a power of two,
 * exact or so small that it truncates to 0; truncation toward zero is the conversion to
 * int. 16 products below 4·2^25 stay below 2^31; C is added in double, exact.  No variable
 * shifts, so the baseline keeps up. */
#include "emulator/exec/mma_num.h"

#define ROWS for (int i = 0; i < MMA_M; i++)

/* Register r: rows g + 8(r % 2), the next 8 (tf32: 4) of k from register 2 on. */
static inline void
gather_a(const MmaForm *f, const uint32_t *const *a, MmaOperands *o)
{
  bool tf32 = f->a == MMA_TF32;
  V8 v[4];
  for (int r = 0; r < f->k / (tf32 ? 2 : 4); r++) {
    lanes_to_columns(a[r], v);
    for (int t = 0; t < 4; t++) {
      int k = tf32 ? t + r / 2 * 4 : 2 * t + r / 2 * 8;
      uint32_t *row = o->a + k * MMA_M + r % 2 * 8;
      store_half(f->a, 0, &v[t], row);
      if (!tf32)
        store_half(f->a, 1, &v[t], row + MMA_M);
    }
  }
}

static inline void
gather_b(const MmaForm *f, const uint32_t *const *b, MmaOperands *o)
{
  bool tf32 = f->a == MMA_TF32;
  V8 v;
  for (int r = 0; r < f->k / (tf32 ? 4 : 8); r++)
    for (int l = 0; l < 32; l += 8) {
      load8(b[r] + l, &v);
      store_half(f->a, 0, &v, o->b + (tf32 ? r : 2 * r) * 32 + l);
      if (!tf32)
        store_half(f->a, 1, &v, o->b + (2 * r + 1) * 32 + l);
    }
}

/* out: eight columns of 16 rows. */
static inline void
gather_c(uint8_t type, const uint32_t *const *c, uint32_t *out)
{
  V8 v[4];
  for (int r = 0; r < (type == MMA_F16 ? 2 : 4); r++) {
    lanes_to_columns(c[r], v);
    for (int t = 0; t < 4; t++)
      if (type == MMA_F16) {
        store_half(MMA_F16, 0, &v[t], out + 2 * t * MMA_M + r * 8);
        store_half(MMA_F16, 1, &v[t], out + (2 * t + 1) * MMA_M + r * 8);
      } else {
        store8(&v[t], out + (2 * t + r % 2) * MMA_M + r / 2 * 8);
      }
  }
}

static void
gather(const MmaForm *f, const uint32_t *const *a, const uint32_t *const *b,
       const uint32_t *const *c, MmaOperands *o)
{
  gather_a(f, a, o);
  gather_b(f, b, o);
  gather_c(f->c, c, o->c);
}

static inline void
scatter_c(uint8_t type, const uint32_t *c, uint32_t *const *d)
{
  V8 v[4], high;
  for (int r = 0; r < (type == MMA_F16 ? 2 : 4); r++) {
    for (int t = 0; t < 4; t++)
      if (type == MMA_F16) {
        load8(c + 2 * t * MMA_M + r * 8, &v[t]);
        load8(c + (2 * t + 1) * MMA_M + r * 8, &high);
        v[t] |= high << 16;
      } else {
        load8(c + (2 * t + r % 2) * MMA_M + r / 2 * 8, &v[t]);
      }
    columns_to_lanes(v, d[r]);
  }
}

static void
scatter(const MmaForm *f, const MmaOperands *o, uint32_t *const *d)
{
  scatter_c(f->d, o->c, d);
}

/* Exponents are kept shifted by 22, one bit below where a float has them: they differ by up
 * to 506.  2^(exp - zero), where zero is the exponent of the bit pattern 0; 0 when far too
 * small. */
static inline float
align(int32_t exp, int32_t zero)
{
  int32_t e = exp - zero;
  e = e > 0 ? e : 0;
  return float_of((uint32_t)e << 1);
}

typedef struct Split {
  float a[MMA_K * MMA_M], b[4 * 32], c[MMA_N * MMA_M];
  int32_t ea[MMA_K * MMA_M], eb[4 * 32], ec[MMA_N * MMA_M];
} Split;

/* Column n: d[i] = the exact sum of truncated terms. */
static inline __attribute__((always_inline)) void
column_sum(const Split *s, bool tf32, int k0, int k, int fraction, int n, double *d)
{
  const float *b = s->b + mma_b_at(tf32, k0, n);
  const int32_t *eb = s->eb + mma_b_at(tf32, k0, n);
  const float *a = s->a + k0 * MMA_M;
  const int32_t *ea = s->ea + k0 * MMA_M;
  ROWS
  {
    int32_t top = s->ec[n * MMA_M + i];
#pragma GCC unroll 16
    for (int j = 0; j < k; j++) {
      int32_t e = ea[j * MMA_M + i] + eb[mma_b_at(tf32, j, 0)];
      top = e > top ? e : top;
    }
    int32_t zero = top - (fraction + 127) * (1 << EXP_SHIFT), sum = 0;
#pragma GCC unroll 16
    for (int j = 0; j < k; j++) {
      float p = a[j * MMA_M + i] * b[mma_b_at(tf32, j, 0)];
      sum += (int32_t)(p * align(ea[j * MMA_M + i] + eb[mma_b_at(tf32, j, 0)], zero));
    }
    int32_t c = (int32_t)(s->c[n * MMA_M + i] * align(s->ec[n * MMA_M + i], zero));
    int32_t unit = (top >> EXP_SHIFT) - fraction;
    double scale = double_of((uint64_t)(uint32_t)(unit + 1023) << 52);
    d[i] = ((double)sum + (double)c) * scale;
  }
}

static inline float
value(uint8_t type, uint32_t u)
{
  return type == MMA_F16 || type == MMA_E5M2 ? f16_value(u)
         : type == MMA_E4M3                  ? e4m3_value(u)
                                             : float_of(u);
}

/* An output that an Inf or a NaN takes part in: the sum in double says which of the two. */
static inline void
not_finite(double sum, bool half, uint32_t *out)
{
  if (sum != sum)
    *out = half ? 0x7fff : 0x7fffffff;
  else if (sum - sum != 0)
    *out = half ? (sum < 0 ? 0xfc00 : 0x7c00) : (sum < 0 ? 0xff800000 : 0x7f800000);
}

static void
put_not_finite(const MmaOperands *o, const MmaStep *s, const uint32_t *c, uint32_t *out)
{
  bool tf32 = s->ab == MMA_TF32;
  for (int m = 0; m < MMA_M * MMA_N; m++) {
    double sum = 0;
    for (int k = s->k0; k < s->k0 + s->k; k++)
      sum += (double)value(s->ab, o->a[k * MMA_M + m % MMA_M]) *
             (double)value(s->ab, o->b[mma_b_at(tf32, k, m / MMA_M)]);
    not_finite(sum + (double)value(s->cd, c[m]), s->cd == MMA_F16, &out[m]);
  }
}

static inline __attribute__((always_inline)) void
sums(const Split *sp, const MmaStep *s, bool tf32, int k, double *d)
{
  for (int n = 0; n < MMA_N; n++)
    column_sum(sp, tf32, s->k0, k, s->fraction, n, d + n * MMA_M);
}

static void
bit_step(MmaOperands *o, const MmaStep *s)
{
  Split sp;
  double d[MMA_N * MMA_M];
  uint32_t *out = o->c, c[MMA_N * MMA_M];
  bool tf32 = s->ab == MMA_TF32;
  int kb = tf32 ? s->k / 4 * 32 : s->k / 8 * 64, b0 = mma_b_at(tf32, s->k0, 0);
  uint32_t bad = worst(s->ab, s->k * MMA_M, o->a + s->k0 * MMA_M) |
                 worst(s->ab, kb, o->b + b0) | worst(s->cd, MMA_N * MMA_M, o->c);
  split(s->ab, s->k * MMA_M, o->a + s->k0 * MMA_M, sp.a + s->k0 * MMA_M,
        sp.ea + s->k0 * MMA_M);
  split(s->ab, kb, o->b + b0, sp.b + b0, sp.eb + b0);
  split(s->cd, MMA_N * MMA_M, o->c, sp.c, sp.ec);
  if (bad)
    memcpy(c, o->c, sizeof c);
  if (tf32 && s->k == 4)
    sums(&sp, s, true, 4, d);
  else if (tf32)
    sums(&sp, s, true, 8, d);
  else if (s->k == 8)
    sums(&sp, s, false, 8, d);
  else
    sums(&sp, s, false, 16, d);
  if (s->cd == MMA_F16)
    for (int i = 0; i < MMA_N * MMA_M; i++)
      out[i] = f16_of_double(d[i]);
  else
    round_f32(MMA_N * MMA_M, d, out);
  if (bad)
    put_not_finite(o, s, c, out);
}

static inline void
values(uint8_t type, int n, const uint32_t *u, float *x)
{
  if (type == MMA_F16 || type == MMA_E5M2)
    for (int i = 0; i < n; i++)
      x[i] = f16_value(u[i]);
  else if (type == MMA_E4M3)
    for (int i = 0; i < n; i++)
      x[i] = e4m3_value(u[i]);
  else
    memcpy(x, u, (size_t)n * sizeof *x);
}

static inline __attribute__((always_inline)) void
fast_sums(const float *a, const float *b, float *c, bool tf32, int k)
{
  for (int n = 0; n < MMA_N; n++)
    ROWS
    {
      float sum = c[n * MMA_M + i];
#pragma GCC unroll 16
      for (int j = 0; j < k; j++)
        sum += a[j * MMA_M + i] * b[mma_b_at(tf32, j, n)];
      c[n * MMA_M + i] = sum;
    }
}

static void
fast_step(MmaOperands *o, const MmaStep *s)
{
  float a[MMA_K * MMA_M], b[4 * 32], c[MMA_N * MMA_M];
  bool tf32 = s->ab == MMA_TF32;
  values(s->ab, s->k * MMA_M, o->a, a);
  values(s->ab, tf32 ? s->k / 4 * 32 : s->k / 8 * 64, o->b, b);
  values(s->cd, MMA_N * MMA_M, o->c, c);
  if (tf32 && s->k == 4)
    fast_sums(a, b, c, true, 4);
  else if (tf32)
    fast_sums(a, b, c, true, 8);
  else if (s->k == 8)
    fast_sums(a, b, c, false, 8);
  else
    fast_sums(a, b, c, false, 16);
  uint32_t *out = o->c;
  if (s->cd == MMA_F16)
    for (int i = 0; i < MMA_N * MMA_M; i++)
      out[i] = c[i] != c[i] ? 0x7fff : f16_of_double((double)c[i]);
  else
    for (int i = 0; i < MMA_N * MMA_M; i++)
      out[i] = c[i] != c[i] ? 0x7fffffff : bits_of(c[i]);
}
