/* Lane arithmetic: bounds and special values of the PTX ISA's tables, roundings against the
 * neighbours in bit order, sums of halves against 128-bit integers, every SIMD build alike.
 */
#include "emulator/exec/arith.h"
#include "emulator/exec/simd.h"

#include <fenv.h>
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

__extension__ typedef __int128 Big;

static uint64_t seed = 1;

static uint32_t
rnd(void)
{
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 32);
}

/* Special values often, else any bits. */
static uint32_t
rnd_f32(void)
{
  static const uint32_t special[] = {0,          0x80000000, 0x7f800000, 0xff800000,
                                     0x7fc00000, 1,          0x80000001, 0x007fffff,
                                     0x3f800000, 0x00800000, 0x7f7fffff, 0xff7fffff};
  return rnd() % 4 ? rnd() : special[rnd() % 12];
}

static void
run1(ArMath m, ArType t, unsigned mods, const uint32_t *a, const uint32_t *b,
     const uint32_t *c, uint32_t *d)
{
  ArOp op;
  assert_true(ar_math(&op, m, t, mods));
  op.fn(&op, d, a, b, c);
}

static uint32_t
one_f32(ArMath m, unsigned mods, uint32_t x)
{
  uint32_t a[32], d[32];
  for (int i = 0; i < 32; i++)
    a[i] = x;
  run1(m, AR_F32, mods, a, NULL, NULL, d);
  for (int i = 1; i < 32; i++)
    assert_int_equal(d[i], d[0]);
  return d[0];
}

#define PZ   0u
#define NZ   0x80000000u
#define PI_  0x7f800000u
#define NI   0xff800000u
#define QN   0x7fffffffu
#define ONE  0x3f800000u
#define MONE 0xbf800000u

/* Inputs -Inf, -subnormal, -0, +0, +subnormal, +Inf, NaN; ANY: not looked at. */
#define ANY 0x12345678u
typedef struct Specials {
  ArMath m;
  unsigned mods;
  uint32_t want[7];
} Specials;

static const Specials tables[] = {
    {AR_EX2, AR_APPROX | AR_FTZ, {PZ, ONE, ONE, ONE, ONE, PI_, QN}},
    {AR_EX2, AR_APPROX, {PZ, ONE, ONE, ONE, ONE, PI_, QN}},
    {AR_LG2, AR_APPROX | AR_FTZ, {QN, NI, NI, NI, NI, PI_, QN}},
    {AR_LG2, AR_APPROX, {QN, QN, NI, NI, ANY, PI_, QN}},
    {AR_RCP, AR_APPROX | AR_FTZ, {NZ, NI, NI, PI_, PI_, PZ, QN}},
    {AR_RCP, AR_APPROX, {NZ, ANY, NI, PI_, ANY, PZ, QN}},
    {AR_SQRT, AR_APPROX | AR_FTZ, {QN, NZ, NZ, PZ, PZ, PI_, QN}},
    {AR_SQRT, AR_APPROX, {QN, QN, NZ, PZ, ANY, PI_, QN}},
    {AR_RSQRT, AR_APPROX | AR_FTZ, {QN, NI, NI, PI_, PI_, PZ, QN}},
    {AR_RSQRT, AR_APPROX, {QN, QN, NI, PI_, ANY, PZ, QN}},
    {AR_SIN, AR_APPROX | AR_FTZ, {QN, NZ, NZ, PZ, PZ, QN, QN}},
    {AR_COS, AR_APPROX | AR_FTZ, {QN, ONE, ONE, ONE, ONE, QN, QN}},
    {AR_TANH, AR_APPROX, {MONE, 0x80001234, NZ, PZ, 0x1234, ONE, QN}},
};

static void
test_special_values(void **state)
{
  (void)state;
  const uint32_t in[7] = {NI, 0x80001234, NZ, PZ, 0x1234, PI_, 0xffc00001};
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
    for (int j = 0; j < 7; j++)
      if (tables[i].want[j] != ANY)
        assert_int_equal(one_f32(tables[i].m, tables[i].mods, in[j]), tables[i].want[j]);
  assert_int_equal(one_f32(AR_LG2, AR_APPROX, MONE), QN);
  assert_int_equal(one_f32(AR_RSQRT, AR_APPROX, MONE), QN);
}

static long double
exact(ArMath m, long double x)
{
  switch (m) {
  case AR_EX2:
    return exp2l(x);
  case AR_LG2:
    return log2l(x);
  case AR_RCP:
    return 1 / x;
  case AR_SQRT:
    return sqrtl(x);
  case AR_RSQRT:
    return 1 / sqrtl(x);
  case AR_SIN:
    return sinl(x);
  case AR_COS:
    return cosl(x);
  default:
    return tanhl(x);
  }
}

/* Inputs uniform in [lo, hi], or with a uniform exponent if log; bound relative or
 * absolute. */
typedef struct Bound {
  ArMath m;
  bool log, absolute;
  double lo, hi, most;
} Bound;

static const Bound bounds[] = {
    {AR_EX2, false, false, -126, 127.99, 0x1p-22},
    {AR_EX2, false, false, -1, 1, 0x1p-22},
    {AR_LG2, false, true, 0.5, 2, 0x1p-22},
    {AR_LG2, true, false, 2.0001, 1e38, 0x1p-22},
    {AR_LG2, true, false, 1.2e-38, 0.4999, 0x1p-22},
    {AR_RCP, true, false, 1.2e-38, 8e37, 0x1p-23},
    {AR_SQRT, true, false, 1.2e-38, 3e38, 0x1p-23},
    {AR_RSQRT, true, false, 1.2e-38, 3e38, 0x1p-22},
    {AR_SIN, false, true, -6.2831, 6.2831, 0x1p-20},
    {AR_COS, false, true, -6.2831, 6.2831, 0x1p-20},
    {AR_SIN, false, true, -314, 314, 0x1p-14},
    {AR_COS, false, true, -314, 314, 0x1p-14},
    {AR_SIN, false, true, -1e9, 1e9, 0x1p-14},
    {AR_TANH, false, false, -10, 10, 0x1p-11},
    {AR_TANH, true, false, 1.2e-38, 20, 0x1p-11},
};

static void
test_error_bounds(void **state)
{
  (void)state;
  for (size_t k = 0; k < sizeof bounds / sizeof *bounds; k++) {
    const Bound *w = &bounds[k];
    for (int rep = 0; rep < 2000; rep++) {
      uint32_t a[32], d[32];
      for (int i = 0; i < 32; i++) {
        double u = (double)rnd() / 4294967296.0;
        a[i] = bits_of(
            (float)(w->log ? w->lo * pow(w->hi / w->lo, u) : w->lo + u * (w->hi - w->lo)));
      }
      run1(w->m, AR_F32, AR_APPROX | (w->m == AR_TANH ? 0 : AR_FTZ), a, NULL, NULL, d);
      for (int i = 0; i < 32; i++) {
        long double want = exact(w->m, (long double)float_of(a[i]));
        long double err = fabsl((long double)float_of(d[i]) - want);
        assert_true(err <= (long double)w->most * (w->absolute ? 1 : fabsl(want)));
      }
    }
  }
}

/* Integers go in, powers of two come out. */
static void
test_ex2_of_integers(void **state)
{
  (void)state;
  for (int n = -126; n <= 127; n++)
    assert_int_equal(one_f32(AR_EX2, AR_APPROX | AR_FTZ, bits_of((float)n)),
                     (uint32_t)(n + 127) << 23);
  assert_int_equal(one_f32(AR_EX2, AR_APPROX, bits_of(-149)), 1);
  assert_int_equal(one_f32(AR_EX2, AR_APPROX | AR_FTZ, bits_of(-127)), 0);
  assert_int_equal(one_f32(AR_EX2, AR_APPROX, bits_of(128)), PI_);
}

static float
flushed(float x)
{
  return x != 0 && fabsf(x) < FLT_MIN ? copysignf(0, x) : x;
}

static float
host(ArMath m, float x, float y, float z)
{
  volatile float a = x, b = y, r;
  switch (m) {
  case AR_ADD:
    r = a + b;
    break;
  case AR_SUB:
    r = a - b;
    break;
  case AR_MUL:
    r = a * b;
    break;
  case AR_FMA:
    r = fmaf(a, b, z);
    break;
  case AR_DIV:
    r = a / b;
    break;
  case AR_RCP:
    r = 1 / a;
    break;
  default:
    r = sqrtf(a);
  }
  return r;
}

/* The host's own roundings; values near each other and near the ends of the range. */
static void
test_f32_roundings(void **state)
{
  (void)state;
  static const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
  static const ArMath ops[] = {AR_ADD, AR_SUB, AR_MUL, AR_FMA, AR_DIV, AR_RCP, AR_SQRT};
  for (int s = SIMD_BASE; s < SIMD_COUNT; s++) {
    if (!simd_force((Simd)s))
      continue;
    for (size_t k = 0; k < sizeof ops / sizeof *ops; k++)
      for (unsigned mode = 0; mode < 4; mode++)
        for (int rep = 0; rep < 600; rep++) {
          uint32_t a[32], b[32], c[32], d[32];
          unsigned flags = (rep & 1 ? AR_FTZ : 0) | (rep % 3 == 0 && k < 4 ? AR_SAT : 0);
          for (int i = 0; i < 32; i++) {
            a[i] = rnd_f32(), b[i] = rnd_f32(), c[i] = rnd_f32();
            if (rep & 2)
              b[i] = a[i] ^ (rnd() & 0x80ffffff), c[i] = b[i] ^ (rnd() & 0x80ffff01);
            if (rep & 4)
              c[i] = bits_of(-float_of(a[i]) * float_of(b[i])) ^ (rnd() & 1);
          }
          run1(ops[k], AR_F32, mode | flags, a, b, c, d);
          for (int i = 0; i < 32; i++) {
            float x = float_of(a[i]), y = float_of(b[i]), z = float_of(c[i]);
            if (flags & AR_FTZ)
              x = flushed(x), y = flushed(y), z = flushed(z);
            fesetround(modes[mode]);
            float r = host(ops[k], x, y, z);
            fesetround(FE_TONEAREST);
            if (flags & AR_SAT)
              r = r >= 1 ? 1 : r > 0 ? r : 0;
            if (flags & AR_FTZ)
              r = flushed(r);
            assert_int_equal(d[i], r != r ? QN : bits_of(r));
          }
        }
  }
  simd_force(simd_best());
}

static void
test_min_max(void **state)
{
  (void)state;
  const uint32_t nan = 0xffc12345;
  const struct {
    ArMath m;
    unsigned mods;
    uint32_t a, b, want;
  } rows[] = {
      {AR_MIN, 0, NZ, PZ, NZ},
      {AR_MIN, 0, PZ, NZ, NZ},
      {AR_MAX, 0, NZ, PZ, PZ},
      {AR_MAX, 0, nan, ONE, ONE},
      {AR_MAX, 0, ONE, nan, ONE},
      {AR_MIN, 0, nan, nan, QN},
      {AR_MAX, AR_NAN, ONE, nan, QN},
      {AR_MIN, AR_NAN, nan, ONE, QN},
      {AR_MIN, 0, MONE, ONE, MONE},
      {AR_MAX, 0, NI, MONE, MONE},
      {AR_MAX, 0, MONE, 0xc0000000, MONE},
      {AR_MIN, AR_XORSIGN, 0xc0000000, 0x40400000, 0xc0000000},
      {AR_MAX, AR_FTZ, 0x80000001, 0x80000002, NZ},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    uint32_t a[32], b[32], d[32];
    for (int l = 0; l < 32; l++)
      a[l] = rows[i].a, b[l] = rows[i].b;
    run1(rows[i].m, AR_F32, rows[i].mods, a, b, NULL, d);
    assert_int_equal(d[7], rows[i].want);
    for (int l = 0; l < 32; l++) /* bf16 has the same upper half */
      a[l] = rows[i].a >> 16 | 0x40000, b[l] = rows[i].b >> 16 | 0x90000;
    if (!(rows[i].mods & AR_FTZ)) {
      run1(rows[i].m, AR_BF16, rows[i].mods, a, b, NULL, d);
      assert_int_equal(d[7], rows[i].want >> 16);
    }
  }
}

/* ---- halves ---- */

typedef struct Half {
  ArType t, packed;
  int frac, bias;
  uint32_t inf;
} Half;
static const Half halves[2] = {{AR_F16, AR_F16X2, 10, 15, 0x7c00},
                               {AR_BF16, AR_BF16X2, 7, 127, 0x7f80}};

static double
half_value(const Half *h, uint32_t u)
{
  int e = (int)((u & 0x7fff) >> h->frac);
  uint32_t m = u & ((1u << h->frac) - 1);
  double mag = ldexp((double)(e ? m | 1u << h->frac : m), (e ? e : 1) - h->bias - h->frac);
  if ((u & 0x7fff) >= h->inf)
    mag = (u & 0x7fff) == h->inf ? (double)INFINITY : (double)NAN;
  return u & 0x8000 ? -mag : mag;
}

/* The halves just below or at |x| and just above, and which of them the mode takes. */
static uint32_t
half_of(const Half *h, double x, unsigned mode, bool satfinite)
{
  uint32_t sign = signbit(x) ? 0x8000 : 0;
  double mag = fabs(x);
  if (x != x)
    return 0x7fff;
  if (isinf(x))
    return sign | (satfinite ? h->inf - 1 : h->inf);
  uint32_t lo = 0, hi = h->inf;
  while (hi - lo > 1) {
    uint32_t mid = (lo + hi) / 2;
    if (half_value(h, mid) <= mag)
      lo = mid;
    else
      hi = mid;
  }
  double a = half_value(h, lo), b = a + (a - half_value(h, lo - 1));
  b = hi < h->inf ? half_value(h, hi) : b;
  uint32_t r = lo;
  if (mode == AR_RN && (mag - a > b - mag || (mag - a == b - mag && (lo & 1))))
    r = hi;
  if (mag > a && ((mode == AR_RP && !sign) || (mode == AR_RM && sign)))
    r = hi;
  if (satfinite && r == h->inf)
    r--;
  return sign | r;
}

static void
test_half_values(void **state)
{
  (void)state;
  for (int k = 0; k < 2; k++)
    for (uint32_t u = 0; u < 0x10000; u += 32) {
      uint32_t a[32], d[32];
      ArOp op;
      for (uint32_t i = 0; i < 32; i++)
        a[i] = (u + i) | 0xabcd0000;
      assert_true(ar_cvt(&op, AR_F32, halves[k].t, 0));
      op.fn(&op, d, a, NULL, NULL);
      for (int i = 0; i < 32; i++) {
        double want = half_value(&halves[k], a[i] & 0xffff);
        assert_int_equal(d[i], want != want ? QN : bits_of((float)want));
      }
    }
}

static uint32_t
rnd_near_half(const Half *h)
{
  uint32_t base = rnd() & 0xffff;
  if (rnd() % 4 == 0)
    base = (rnd() & 0x83ff) | (rnd() % 2 ? 0 : h->inf - 0x400);
  double x = half_value(h, base);
  double y = half_value(h, base ^ 1);
  return rnd() % 2 ? bits_of((float)((x + y) / 2)) + rnd() % 3 - 1 : rnd_f32();
}

static void
test_cvt_halves(void **state)
{
  (void)state;
  for (int s = SIMD_BASE; s < SIMD_COUNT; s++) {
    if (!simd_force((Simd)s))
      continue;
    for (int rep = 0; rep < 4000; rep++) {
      const Half *h = &halves[rep & 1];
      unsigned mode = rep % 16 >= 8 ? (unsigned)rep / 2 % 4 : 0,
               relu = rep & 32 ? AR_RELU : 0;
      unsigned fin = rep & 64 ? AR_SATFINITE : 0;
      uint32_t a[32], b[32], d[32], p[32];
      ArOp op;
      for (int i = 0; i < 32; i++)
        a[i] = rnd_near_half(h), b[i] = rnd_near_half(h);
      assert_true(ar_cvt(&op, h->t, AR_F32, mode | relu | fin));
      op.fn(&op, d, a, NULL, NULL);
      assert_true(ar_cvt(&op, h->packed, AR_F32, mode | relu | fin));
      op.fn(&op, p, a, b, NULL);
      for (int i = 0; i < 32; i++)
        for (int half = 0; half < 2; half++) {
          uint32_t in = half ? a[i] : b[i];
          uint32_t want = half_of(h, (double)float_of(in), mode, fin);
          if (relu && (want & 0x8000))
            want = 0;
          assert_int_equal(half ? p[i] >> 16 : p[i] & 0xffff, want);
          if (half)
            assert_int_equal(d[i], want);
        }
    }
  }
  simd_force(simd_best());
}

/* f16: everything is an integer in units of 2^-48, up to 2^81. */
static Big
fixed(uint32_t u)
{
  int e = (int)(u >> 10 & 31);
  Big m = (u & 0x3ff) | (e ? 0x400 : 0);
  m = m * ((Big)1 << (e ? e - 1 : 0));
  return u & 0x8000 ? -m : m; /* in 2^-24 */
}

static uint32_t
f16_of_fixed(Big v, bool minus_zero)
{
  Big mag = v < 0 ? -v : v;
  uint32_t lo = 0, hi = 0x7c00;
  const Big unit = (Big)1 << 24;
  while (hi - lo > 1) {
    uint32_t mid = (lo + hi) / 2;
    if (fixed(mid) * unit <= mag)
      lo = mid;
    else
      hi = mid;
  }
  Big a = fixed(lo) * unit, b = (hi == 0x7c00 ? (Big)1 << 40 : fixed(hi)) * unit;
  uint32_t r = mag - a > b - mag || (mag - a == b - mag && (lo & 1)) ? hi : lo;
  return r | (v < 0 || (v == 0 && minus_zero) ? 0x8000 : 0);
}

static bool
f16_finite(uint32_t u)
{
  return (u & 0x7c00) != 0x7c00;
}

static void
test_f16_arithmetic(void **state)
{
  (void)state;
  static const ArMath ops[] = {AR_ADD, AR_SUB, AR_MUL, AR_FMA};
  for (int rep = 0; rep < 4000; rep++) {
    uint32_t a[32], b[32], c[32], d[32];
    for (int i = 0; i < 32; i++) {
      a[i] = rnd(), b[i] = rnd(), c[i] = rnd();
      if (rep & 4)
        b[i] = a[i] ^ (rnd() & 0x83ff83ff);
    }
    ArMath m = ops[rep % 4];
    run1(m, AR_F16X2, 0, a, b, c, d);
    for (int i = 0; i < 64; i++) {
      int sh = i & 1 ? 16 : 0;
      uint32_t x = a[i / 2] >> sh & 0xffff, y = b[i / 2] >> sh & 0xffff;
      uint32_t z = c[i / 2] >> sh & 0xffff;
      if (!f16_finite(x) || !f16_finite(y) || !f16_finite(z))
        continue;
      if (m == AR_SUB)
        y ^= 0x8000;
      Big one_ = (Big)1 << 24, v = 0;
      bool mz = false; /* an exact zero is -0 if all its terms are */
      if (m == AR_ADD || m == AR_SUB)
        v = (fixed(x) + fixed(y)) * one_, mz = x == 0x8000 && y == 0x8000;
      if (m == AR_MUL)
        v = fixed(x) * fixed(y), mz = (x ^ y) >> 15;
      if (m == AR_FMA) {
        v = fixed(x) * fixed(y) + fixed(z) * one_;
        mz = fixed(x) * fixed(y) == 0 && ((x ^ y) >> 15) && z == 0x8000;
      }
      assert_int_equal(d[i / 2] >> sh & 0xffff, f16_of_fixed(v, mz));
    }
  }
}

/* A product on the tie of bf16, and a third operand far below it that decides. */
static void
test_bf16_fma_decides_ties(void **state)
{
  (void)state;
  uint32_t a[32], b[32], c[32], d[32];
  for (int i = 0; i < 32; i++) {
    a[i] = 0x3f88; /* 1.0625 · 1.0625 = 1.12890625: bf16 ulp 2^-7, a tie at 2^-8 */
    b[i] = 0x3f88;
    c[i] = i & 1 ? 0x0080 : 0x8080; /* ± 2^-126 */
  }
  run1(AR_FMA, AR_BF16, 0, a, b, c, d);
  double p = 1.0625 * 1.0625;
  assert_true(p * 256 == floor(p * 256) && fmod(p * 256, 2) == 1);
  assert_int_equal(d[1], half_of(&halves[1], nextafter(p, 2), AR_RN, false));
  assert_int_equal(d[0], half_of(&halves[1], nextafter(p, 0), AR_RN, false));
  assert_int_not_equal(d[0], d[1]);
}

static void
test_half_flags(void **state)
{
  (void)state;
  uint32_t a[32], b[32], c[32], d[32];
  for (int i = 0; i < 32; i++)
    a[i] = 0x3c00bc00, b[i] = 0x42004200, c[i] = 0; /* 1, -1; 3, 3 */
  run1(AR_FMA, AR_F16X2, AR_RELU, a, b, c, d);
  assert_int_equal(d[0], 0x42000000);
  run1(AR_FMA, AR_F16X2, AR_SAT, a, b, c, d);
  assert_int_equal(d[0], 0x3c000000);
  for (int i = 0; i < 32; i++)
    a[i] = 0x0001bc00; /* subnormal */
  run1(AR_ADD, AR_F16X2, AR_FTZ, a, c, NULL, d);
  assert_int_equal(d[0], 0x0000bc00);
  run1(AR_ADD, AR_F16X2, 0, a, c, NULL, d);
  assert_int_equal(d[0], 0x0001bc00);
  for (int i = 0; i < 32; i++)
    a[i] = 0xfe01fc00, c[i] = 0x7c007c00; /* NaN, -Inf; + Inf */
  run1(AR_ADD, AR_F16X2, 0, a, c, NULL, d);
  assert_int_equal(d[0], 0x7fff7fff);
}

static void
test_half_functions(void **state)
{
  (void)state;
  for (int k = 0; k < 2; k++)
    for (uint32_t u = 0; u < 0x10000; u += 32) {
      uint32_t a[32], d[32];
      for (uint32_t i = 0; i < 32; i++)
        a[i] = u + i;
      for (int f = 0; f < 2; f++) {
        run1(f ? AR_TANH : AR_EX2, halves[k].t, AR_APPROX, a, NULL, NULL, d);
        for (int i = 0; i < 32; i++) {
          double x = half_value(&halves[k], a[i]);
          double want = f ? tanh(x) : exp2(x);
          uint32_t near = half_of(&halves[k], want, AR_RN, false);
          assert_true(d[i] == near || (want == want && abs((int)d[i] - (int)near) <= 1));
        }
      }
    }
}

/* ---- other conversions ---- */

static void
cvt1(ArType to, ArType from, unsigned mods, uint64_t in, uint64_t want)
{
  uint64_t a[32], d[32] = {0};
  ArOp op;
  bool wide = ar_bytes(from) == 8;
  for (int i = 0; i < 32; i++)
    if (wide)
      a[i] = in;
    else
      ((uint32_t *)a)[i] = (uint32_t)in;
  assert_true(ar_cvt(&op, to, from, mods));
  op.fn(&op, d, a, NULL, NULL);
  for (int i = 0; i < 32; i++) {
    uint64_t got = ar_bytes(to) == 8 ? d[i] : ((uint32_t *)d)[i];
    assert_int_equal(got, want);
  }
}

static void
test_cvt_integers(void **state)
{
  (void)state;
  cvt1(AR_S32, AR_F32, AR_RZ, bits_of(-2.9f), (uint32_t)-2);
  cvt1(AR_S32, AR_F32, AR_RN, bits_of(2.5f), 2);
  cvt1(AR_S32, AR_F32, AR_RN, bits_of(-3.5f), (uint32_t)-4);
  cvt1(AR_S32, AR_F32, AR_RM, bits_of(-2.1f), (uint32_t)-3);
  cvt1(AR_S32, AR_F32, AR_RP, bits_of(2.1f), 3);
  cvt1(AR_S32, AR_F32, AR_RZ, bits_of(1e20f), 0x7fffffff);
  cvt1(AR_S32, AR_F32, AR_RN, bits_of(-1e20f), 0x80000000);
  cvt1(AR_S32, AR_F32, AR_RZ, QN, 0);
  cvt1(AR_U32, AR_F32, AR_RZ, bits_of(-1.5f), 0);
  cvt1(AR_U32, AR_F32, AR_RZ, bits_of(4e9f), 4000000000u);
  cvt1(AR_U8, AR_F32, AR_RN, bits_of(300), 255);
  cvt1(AR_S8, AR_F32, AR_RN, bits_of(-300), 0x80);
  cvt1(AR_U64, AR_F64, AR_RZ, bits_of_d(1.8446744073709550e19), 18446744073709549568u);
  cvt1(AR_S64, AR_F64, AR_RZ, bits_of_d(-1e300), (uint64_t)1 << 63);
  cvt1(AR_F32, AR_U64, AR_RN, 0xffffff8000000000u, 0x5f800000);
  cvt1(AR_F32, AR_U64, AR_RN, 0xffffff7fffffffffu, 0x5f7fffff);
  cvt1(AR_F32, AR_U64, AR_RP, 0x8000000000000001u, 0x5f000001);
  cvt1(AR_F32, AR_S64, AR_RM, (uint64_t)-0x7fffffffffffffff, 0xdf000000);
  cvt1(AR_F32, AR_S32, AR_RN, 16777217, 0x4b800000);
  cvt1(AR_F32, AR_U32, AR_RN, 0xffffffff, 0x4f800000);
  cvt1(AR_F32, AR_U32, AR_RZ, 0xffffffff, 0x4f7fffff);
  cvt1(AR_F32, AR_S8, AR_RN, 0xff, MONE);
  cvt1(AR_F16, AR_S32, AR_RN, (uint32_t)-70000, 0xfc00);
  cvt1(AR_S64, AR_S32, 0, 0xfffffff0, 0xfffffffffffffff0u);
  cvt1(AR_U64, AR_U32, 0, 0xfffffff0, 0xfffffff0u);
  cvt1(AR_U8, AR_S32, AR_SAT, (uint32_t)-5, 0);
  cvt1(AR_U8, AR_S32, 0, (uint32_t)-5, 0xfb);
  cvt1(AR_S8, AR_S32, AR_SAT, (uint32_t)-500, 0x80);
  cvt1(AR_S8, AR_U32, AR_SAT, 0xffffffff, 0x7f);
  cvt1(AR_S32, AR_U64, AR_SAT, 0xffffffffffu, 0x7fffffff);
  cvt1(AR_U32, AR_S64, AR_SAT, 0x1ffffffffu, 0xffffffff);
}

static void
test_cvt_floats(void **state)
{
  (void)state;
  cvt1(AR_TF32, AR_F32, AR_RNA, 0x3f801000, 0x3f802000);
  cvt1(AR_TF32, AR_F32, AR_RN, 0x3f801000, 0x3f800000);
  cvt1(AR_TF32, AR_F32, AR_RN, 0x3f803000, 0x3f804000);
  cvt1(AR_TF32, AR_F32, AR_RNA, 0x3f800fff, 0x3f800000);
  cvt1(AR_TF32, AR_F32, AR_RNA, 0x7fffffff, 0x7fffffff);
  cvt1(AR_F32, AR_F32, AR_INTEGRAL | AR_RN, bits_of(-2.5f), bits_of(-2));
  cvt1(AR_F32, AR_F32, AR_INTEGRAL | AR_RM, bits_of(-2.5f), bits_of(-3));
  cvt1(AR_F32, AR_F32, AR_INTEGRAL | AR_RZ, bits_of(-0.5f), NZ);
  cvt1(AR_F32, AR_F32, AR_SAT, bits_of(-2.5f), 0);
  cvt1(AR_F32, AR_F32, AR_FTZ, 0x80000005, NZ);
  cvt1(AR_F32, AR_F64, AR_RN, bits_of_d(1 + 0x1p-24), ONE);
  cvt1(AR_F32, AR_F64, AR_RP, bits_of_d(1 + 0x1p-50), ONE + 1);
  cvt1(AR_F32, AR_F64, AR_RZ, bits_of_d(-1e300), 0xff7fffff);
  cvt1(AR_F32, AR_F64, AR_RM, bits_of_d(-1e300), NI);
  cvt1(AR_F64, AR_F32, 0, 0xffc00000, 0x7ff8000000000000u);
  cvt1(AR_F64, AR_F32, 0, 1, bits_of_d(0x1p-149));
  cvt1(AR_BF16, AR_F64, AR_RN, bits_of_d(1 + 0x1p-8 + 0x1p-40), 0x3f81);
  cvt1(AR_F16, AR_F64, AR_RN, bits_of_d(0x1p-25), 0);
  cvt1(AR_F16, AR_F64, AR_RP, bits_of_d(0x1p-25), 1);
}

/* ---- 8 bits, in pairs ---- */

/* OCP 8-bit Floating Point Specification 1.0, tables 1 and 2; of a magnitude. */
static double
f8_of(ArType t, uint32_t c)
{
  int m = t == AR_E4M3X2 ? 3 : 2, bias = t == AR_E4M3X2 ? 7 : 15;
  uint32_t e = c >> m, f = c & ((1u << m) - 1);
  return ldexp((double)(e ? f | 1u << m : f), (int)(e ? e : 1) - bias - m);
}

static uint32_t
to_f8(ArType t, float high, float low, unsigned mods)
{
  static uint32_t a[AR_LANES], b[AR_LANES], d[AR_LANES];
  ArOp op;
  assert_true(ar_cvt(&op, t, AR_F32, AR_RN | AR_SATFINITE | mods));
  for (int i = 0; i < AR_LANES; i++)
    a[i] = bits_of(high), b[i] = bits_of(low);
  op.fn(&op, d, a, b, NULL);
  return d[AR_LANES - 1];
}

static void
check_f8(ArType t, uint32_t most)
{
  uint32_t a[AR_LANES], d[AR_LANES];
  ArOp up;
  assert_true(ar_cvt(&up, AR_F16X2, t, AR_RN));
  for (uint32_t c = 0; c <= most; c++) {
    float x = (float)f8_of(t, c), next = (float)f8_of(t, c + 1), mid = (x + next) / 2;
    for (int i = 0; i < AR_LANES; i++)
      a[i] = c << 8 | c | 0x80;
    up.fn(&up, d, a, NULL, NULL);
    uint32_t h = (uint32_t)ar_from_double(AR_F16, (double)x, 0);
    assert_int_equal(d[7], h << 16 | h | 0x8000);
    assert_int_equal(to_f8(t, -x, x, 0), (c | 0x80) << 8 | c);
    uint32_t above = c < most ? c + 1 : c;
    assert_int_equal(to_f8(t, mid, nextafterf(mid, 0), 0), (c & 1 ? above : c) << 8 | c);
    assert_int_equal(to_f8(t, nextafterf(mid, INFINITY), -mid, AR_RELU), above << 8);
  }
  assert_int_equal(to_f8(t, INFINITY, -1e30f, 0), most << 8 | most | 0x80);
  assert_int_equal(to_f8(t, NAN, 0, 0), 0x7f00);
}

static void
test_f8(void **state)
{
  ArOp op;
  (void)state;
  check_f8(AR_E4M3X2, 0x7e);
  check_f8(AR_E5M2X2, 0x7b);
  assert_false(ar_cvt(&op, AR_E4M3X2, AR_F32, AR_RN)); /* without satfinite */
  assert_false(ar_cvt(&op, AR_E4M3X2, AR_F32, AR_RZ | AR_SATFINITE));
  assert_false(ar_cvt(&op, AR_E4M3, AR_F32, AR_RN | AR_SATFINITE));
  assert_false(ar_cvt(&op, AR_F32, AR_E4M3X2, AR_RN));
}

static void
test_illegal(void **state)
{
  (void)state;
  ArOp op;
  assert_false(ar_math(&op, AR_ADD, AR_S32, 0));
  assert_false(ar_math(&op, AR_ADD, AR_F16, AR_RZ));
  assert_false(ar_math(&op, AR_ADD, AR_BF16X2, AR_FTZ));
  assert_false(ar_math(&op, AR_TANH, AR_F32, AR_APPROX | AR_FTZ));
  assert_false(ar_math(&op, AR_LG2, AR_F16, AR_APPROX));
  assert_false(ar_math(&op, AR_DIV, AR_F32, AR_APPROX | AR_RZ));
  assert_false(ar_math(&op, AR_FMA, AR_F32, AR_RELU));
  assert_false(ar_math(&op, AR_MUL, AR_F64, AR_SAT));
  assert_false(ar_math(&op, AR_RCP, AR_F64, AR_RZ | AR_FTZ));
  assert_false(ar_math(&op, AR_RCP, AR_F64, AR_APPROX));
  assert_false(ar_math(&op, AR_MIN, AR_F32X2, 0));
  assert_false(ar_math(&op, AR_MIN, AR_F16, AR_MAGNITUDE));
  assert_false(ar_math(&op, AR_ADD, AR_F16, AR_OOB));
  assert_false(ar_cvt(&op, AR_BF16X2, AR_F16, 0));
  assert_false(ar_cvt(&op, AR_F32, AR_F16X2, 0));
  assert_false(ar_cvt(&op, AR_S32, AR_F32, AR_RELU));
  assert_false(ar_cvt(&op, AR_F16, AR_F32, AR_RNA));
  assert_false(ar_cvt(&op, AR_F32, AR_F16, AR_INTEGRAL));
}

static void
test_div_approx(void **state)
{
  (void)state;
  uint32_t a[32], b[32], d[32];
  for (int i = 0; i < 32; i++)
    a[i] = i & 1 ? bits_of(3) : PI_, b[i] = bits_of(i & 2 ? 0x1p127f : 0x1p126f);
  run1(AR_DIV, AR_F32, AR_APPROX, a, b, NULL, d);
  assert_int_equal(d[0], PI_);
  assert_true(float_of(d[1]) == 3 * 0x1p-126f);
  assert_int_equal(d[2], QN);
  assert_int_equal(d[3], 0);
  run1(AR_DIV, AR_F32, AR_APPROX | AR_FULL, a, b, NULL, d);
  assert_true(float_of(d[3]) == 3 * 0x1p-127f);
}

/* ---- every build gives the same bits, in place too ---- */

static void
fill(uint32_t (*r)[64])
{
  for (int k = 0; k < 3; k++)
    for (int i = 0; i < 64; i++)
      r[k][i] = rnd_f32() ^ (rnd() % 2 ? rnd() & 0xffff : 0);
}

static void
same_on_all(void (*look)(ArOp *, int), int which)
{
  uint32_t in[3][64], first[64], again[64];
  for (int rep = 0; rep < 40; rep++) {
    fill(in);
    for (int s = SIMD_BASE; s < SIMD_COUNT; s++) {
      if (!simd_force((Simd)s))
        continue;
      ArOp op = {0};
      look(&op, which);
      if (!op.fn)
        continue;
      uint32_t *out = s == SIMD_BASE ? first : again;
      memset(out, 0, sizeof first);
      op.fn(&op, out, in[0], in[1], in[2]);
      if (s != SIMD_BASE)
        assert_memory_equal(first, again, sizeof first);
      memcpy(again, in[0], sizeof again);
      op.fn(&op, again, again, in[1], in[2]);
      assert_memory_equal(first, again, ar_bytes((ArType)op.to) == 8 ? 256 : 128);
    }
    simd_force(simd_best());
  }
}

static void
look_math(ArOp *op, int which)
{
  static const unsigned mods[] = {0,
                                  AR_FTZ,
                                  AR_RZ,
                                  AR_RM | AR_FTZ,
                                  AR_RP | AR_SAT,
                                  AR_APPROX,
                                  AR_APPROX | AR_FTZ,
                                  AR_NAN,
                                  AR_XORSIGN,
                                  AR_RELU,
                                  AR_SAT,
                                  AR_OOB,
                                  AR_OOB | AR_RELU,
                                  AR_MAGNITUDE | AR_FTZ,
                                  AR_MAGNITUDE | AR_NAN};
  int m = which % AR_MATHS, t = which / AR_MATHS % 8, k = which / AR_MATHS / 8;
  static const ArType ts[] = {AR_F32,    AR_F16, AR_F16X2, AR_BF16,
                              AR_BF16X2, AR_F64, AR_TF32,  AR_F32X2};
  if (!ar_math(op, (ArMath)m, ts[t], mods[k]))
    op->fn = NULL;
}

static void
look_cvt(ArOp *op, int which)
{
  static const unsigned mods[] = {0, AR_FTZ, AR_RZ, AR_RM, AR_SAT, AR_RELU, AR_SATFINITE};
  int to = which % AR_TYPES, from = which / AR_TYPES % AR_TYPES;
  if (!ar_cvt(op, (ArType)to, (ArType)from, mods[which / AR_TYPES / AR_TYPES]))
    op->fn = NULL;
  else if (ar_bytes((ArType)to) != ar_bytes((ArType)from) &&
           (ar_bytes((ArType)to) == 8 || ar_bytes((ArType)from) == 8))
    op->fn = NULL; /* not in place */
}

static void
test_builds_alike(void **state)
{
  (void)state;
  for (int i = 0; i < AR_MATHS * 7 * 11; i++)
    same_on_all(look_math, i);
  for (int i = 0; i < AR_TYPES * AR_TYPES * 7; i++)
    same_on_all(look_cvt, i);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_special_values),
      cmocka_unit_test(test_error_bounds),
      cmocka_unit_test(test_ex2_of_integers),
      cmocka_unit_test(test_f32_roundings),
      cmocka_unit_test(test_min_max),
      cmocka_unit_test(test_half_values),
      cmocka_unit_test(test_cvt_halves),
      cmocka_unit_test(test_f16_arithmetic),
      cmocka_unit_test(test_bf16_fma_decides_ties),
      cmocka_unit_test(test_half_flags),
      cmocka_unit_test(test_f8),
      cmocka_unit_test(test_half_functions),
      cmocka_unit_test(test_cvt_integers),
      cmocka_unit_test(test_cvt_floats),
      cmocka_unit_test(test_illegal),
      cmocka_unit_test(test_div_approx),
      cmocka_unit_test(test_builds_alike),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
