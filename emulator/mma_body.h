/* mma_body.h: fragments and the arithmetic of one step, included once per kind of CPU.
 *
 * Operands are split into a significand, a float of magnitude below 2 with its sign, and an
 * exponent; a subnormal keeps the type's least exponent, zero has -126.  A product is
 * float * float, exact (11 × 11 bits); its alignment is a multiplication by a power of two,
 * exact or so small that it truncates to 0; truncation toward zero is the conversion to
 * int. 16 products below 4·2^25 stay below 2^31; C is added in double, exact.  No variable
 * shifts, so the baseline keeps up. */
#include "emulator/mma_part.h"

#define ROWS for (int i = 0; i < MMA_M; i++)

enum { EXP_SHIFT = 22 }; /* of exponents that are added and compared */

typedef uint32_t V8 __attribute__((vector_size(32)));

/* Vectors travel by pointer: by value their ABI depends on the CPU. */
static inline void
load8(const uint32_t *p, V8 *v)
{
  memcpy(v, p, sizeof *v);
}

static inline void
store8(const V8 *v, uint32_t *p)
{
  memcpy(p, v, sizeof *v);
}

/* The element that half h of a register holds, as MmaOperands wants it. */
static inline void
store_half(uint8_t type, int h, const V8 *v, uint32_t *p)
{
  V8 x = *v;
  if (type == MMA_TF32)
    x &= 0xffffe000;
  else if (type == MMA_BF16)
    x = h ? x & 0xffff0000 : x << 16;
  else if (type == MMA_F16)
    x = h ? x >> 16 : x & 0xffff;
  store8(&x, p);
}

/* Four vectors, each two rows of four, to and from four columns of eight. */
static inline void
transpose4(V8 *v)
{
  V8 x0 = __builtin_shufflevector(v[0], v[1], 0, 8, 1, 9, 4, 12, 5, 13);
  V8 x1 = __builtin_shufflevector(v[0], v[1], 2, 10, 3, 11, 6, 14, 7, 15);
  V8 y0 = __builtin_shufflevector(v[2], v[3], 0, 8, 1, 9, 4, 12, 5, 13);
  V8 y1 = __builtin_shufflevector(v[2], v[3], 2, 10, 3, 11, 6, 14, 7, 15);
  v[0] = __builtin_shufflevector(x0, y0, 0, 1, 8, 9, 4, 5, 12, 13);
  v[1] = __builtin_shufflevector(x0, y0, 2, 3, 10, 11, 6, 7, 14, 15);
  v[2] = __builtin_shufflevector(x1, y1, 0, 1, 8, 9, 4, 5, 12, 13);
  v[3] = __builtin_shufflevector(x1, y1, 2, 3, 10, 11, 6, 7, 14, 15);
}

/* A register: lane 4g + t.  out[t] = the eight g. */
static inline void
lanes_to_columns(const uint32_t *reg, V8 *out)
{
  V8 v[4];
  for (int i = 0; i < 4; i++)
    load8(reg + 8 * i, &v[i]);
  out[0] = __builtin_shufflevector(v[0], v[2], 0, 1, 2, 3, 8, 9, 10, 11);
  out[1] = __builtin_shufflevector(v[0], v[2], 4, 5, 6, 7, 12, 13, 14, 15);
  out[2] = __builtin_shufflevector(v[1], v[3], 0, 1, 2, 3, 8, 9, 10, 11);
  out[3] = __builtin_shufflevector(v[1], v[3], 4, 5, 6, 7, 12, 13, 14, 15);
  transpose4(out);
}

static inline void
columns_to_lanes(V8 *in, uint32_t *reg)
{
  transpose4(in);
  V8 v[4];
  v[0] = __builtin_shufflevector(in[0], in[1], 0, 1, 2, 3, 8, 9, 10, 11);
  v[1] = __builtin_shufflevector(in[2], in[3], 0, 1, 2, 3, 8, 9, 10, 11);
  v[2] = __builtin_shufflevector(in[0], in[1], 4, 5, 6, 7, 12, 13, 14, 15);
  v[3] = __builtin_shufflevector(in[2], in[3], 4, 5, 6, 7, 12, 13, 14, 15);
  for (int i = 0; i < 4; i++)
    store8(&v[i], reg + 8 * i);
}

/* Register r: rows g + 8(r % 2), the next 8 (tf32: 4) of k from register 2 on. */
static inline void
gather_a(const MmaForm *f, const uint32_t *const *a, MmaOperands *o)
{
  bool tf32 = f->ab == MMA_TF32;
  V8 v[4];
  for (int r = 0; r < f->k / (tf32 ? 2 : 4); r++) {
    lanes_to_columns(a[r], v);
    for (int t = 0; t < 4; t++) {
      int k = tf32 ? t + r / 2 * 4 : 2 * t + r / 2 * 8;
      uint32_t *row = o->a + k * MMA_M + r % 2 * 8;
      store_half(f->ab, 0, &v[t], row);
      if (!tf32)
        store_half(f->ab, 1, &v[t], row + MMA_M);
    }
  }
}

static inline void
gather_b(const MmaForm *f, const uint32_t *const *b, MmaOperands *o)
{
  bool tf32 = f->ab == MMA_TF32;
  V8 v;
  for (int r = 0; r < f->k / (tf32 ? 4 : 8); r++)
    for (int l = 0; l < 32; l += 8) {
      load8(b[r] + l, &v);
      store_half(f->ab, 0, &v, o->b + (tf32 ? r : 2 * r) * 32 + l);
      if (!tf32)
        store_half(f->ab, 1, &v, o->b + (2 * r + 1) * 32 + l);
    }
}

static void
gather(const MmaForm *f, const uint32_t *const *a, const uint32_t *const *b,
       const uint32_t *const *c, MmaOperands *o)
{
  gather_a(f, a, o);
  gather_b(f, b, o);
  V8 v[4];
  for (int r = 0; r < (f->c == MMA_F16 ? 2 : 4); r++) {
    lanes_to_columns(c[r], v);
    for (int t = 0; t < 4; t++)
      if (f->c == MMA_F16) {
        store_half(MMA_F16, 0, &v[t], o->c + 2 * t * MMA_M + r * 8);
        store_half(MMA_F16, 1, &v[t], o->c + (2 * t + 1) * MMA_M + r * 8);
      } else {
        store8(&v[t], o->c + (2 * t + r % 2) * MMA_M + r / 2 * 8);
      }
  }
}

static void
scatter(const MmaForm *f, const MmaOperands *o, uint32_t *const *d)
{
  V8 v[4], high;
  for (int r = 0; r < (f->d == MMA_F16 ? 2 : 4); r++) {
    for (int t = 0; t < 4; t++)
      if (f->d == MMA_F16) {
        load8(o->c + 2 * t * MMA_M + r * 8, &v[t]);
        load8(o->c + (2 * t + 1) * MMA_M + r * 8, &high);
        v[t] |= high << 16;
      } else {
        load8(o->c + (2 * t + r % 2) * MMA_M + r / 2 * 8, &v[t]);
      }
    columns_to_lanes(v, d[r]);
  }
}

static inline void
split_f16(uint32_t h, float *sig, int32_t *exp)
{
  uint32_t e = h >> 10 & 31, m = h & 0x3ff;
  float one = float_of(0x3f800000 | m << 13) - (e ? 0.0f : 1.0f);
  *sig = float_of(bits_of(one) | (h & 0x8000) << 16);
  int32_t normal = e ? (int32_t)e - 15 : -14;
  *exp = ((h & 0x7fff) ? normal : -126) * (1 << EXP_SHIFT);
}

static inline void
split_f32(uint32_t u, float *sig, int32_t *exp)
{
  uint32_t e = u >> 23 & 255;
  float one = float_of(0x3f800000 | (u & 0x7fffff)) - (e ? 0.0f : 1.0f);
  *sig = float_of(bits_of(one) | (u & 0x80000000));
  *exp = (e ? (int32_t)e - 127 : -126) * (1 << EXP_SHIFT);
}

static inline void
split(uint8_t type, int n, const uint32_t *u, float *sig, int32_t *exp)
{
  if (type == MMA_F16)
    for (int i = 0; i < n; i++)
      split_f16(u[i], &sig[i], &exp[i]);
  else
    for (int i = 0; i < n; i++)
      split_f32(u[i], &sig[i], &exp[i]);
}

static inline float
f16_value(uint32_t h)
{
  uint32_t normal = ((h & 0x7fff) << 13) + 0x38000000;
  float tiny = float_of(0x38800000 | (h & 0x3ff) << 13) - 0x1p-14f;
  uint32_t u = (h & 0x7c00) ? normal : bits_of(tiny);
  u = (h & 0x7c00) == 0x7c00 ? u + 0x38000000 : u;
  return float_of(u | (h & 0x8000) << 16);
}

/* Nearest even, of a value that is no NaN; a zero is +0.  Adding a power of two puts the
 * last bit of f16 at the last bit of the double. */
static inline uint32_t
f16_of_double(double x)
{
  double mag = double_of(bits_of_d(x) & 0x7fffffffffffffff);
  uint64_t e = bits_of_d(mag) >> 52;
  e = e < 1023 - 14 ? 1023 - 14 : e;
  double ulp = double_of((e + 42) << 52);
  double r = mag + ulp - ulp;
  uint32_t normal = (bits_of((float)r) - 0x38000000) >> 13;
  uint32_t tiny = (uint32_t)(int32_t)(r < 0x1p-14 ? r * 0x1p24 : 0);
  uint32_t h = r < 0x1p-14 ? tiny : normal;
  h = r >= 65520.0 ? 0x7c00 : h;
  return h | (h ? (uint32_t)(bits_of_d(x) >> 48 & 0x8000) : 0);
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

/* Toward zero; what is below the least subnormal is +0.  Only bits that f32 has are left
 * before the conversion, which is then exact where the result is normal. */
static inline void
round_f32(int n, const double *d, uint32_t *out)
{
  uint64_t tiny = 0;
  for (int i = 0; i < n; i++) {
    uint64_t u = bits_of_d(d[i]);
    out[i] = bits_of((float)double_of(u & 0xffffffffe0000000));
    /* 0 < |d| < 2^-126: the subtraction borrows */
    tiny |= ((u & 0x7fffffffffffffff) - 1) - (bits_of_d(0x1p-126) - 1);
  }
  if (!(tiny >> 63))
    return;
  for (int i = 0; i < n; i++) {
    double mag = double_of(bits_of_d(d[i]) & 0x7fffffffffffffff);
    if (mag < 0x1p-126) {
      uint32_t m = (uint32_t)(mag * 0x1p126 * 0x1p23);
      out[i] = m | (m && d[i] < 0 ? 0x80000000 : 0);
    }
  }
}

static inline uint32_t
worst(uint8_t type, int n, const uint32_t *u)
{
  uint32_t mask = type == MMA_F16 ? 0x7c00 : 0x7f800000, bad = 0;
  for (int i = 0; i < n; i++)
    bad |= (u[i] & mask) == mask ? 1 : 0;
  return bad;
}

static inline float
value(uint8_t type, uint32_t u)
{
  return type == MMA_F16 ? f16_value(u) : float_of(u);
}

/* Outputs that an Inf or a NaN takes part in: the sum in double says which of the two. */
static void
put_not_finite(const MmaOperands *o, const MmaStep *s, const uint32_t *c, uint32_t *out)
{
  bool half = s->cd == MMA_F16, tf32 = s->ab == MMA_TF32;
  for (int m = 0; m < MMA_M * MMA_N; m++) {
    double sum = 0;
    for (int k = s->k0; k < s->k0 + s->k; k++)
      sum += (double)value(s->ab, o->a[k * MMA_M + m % MMA_M]) *
             (double)value(s->ab, o->b[mma_b_at(tf32, k, m / MMA_M)]);
    sum += (double)value(s->cd, c[m]);
    if (sum != sum)
      out[m] = half ? 0x7fff : 0x7fffffff;
    else if (sum - sum != 0)
      out[m] = half ? (sum < 0 ? 0xfc00 : 0x7c00) : (sum < 0 ? 0xff800000 : 0x7f800000);
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
  if (type == MMA_F16)
    for (int i = 0; i < n; i++)
      x[i] = f16_value(u[i]);
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
