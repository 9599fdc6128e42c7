/* Conversions of 4, 6 and 8 bits against every value that a format has, rounding by random
 * bits against integers, cvt.pack, fma.oob, min and max of magnitudes. */
#include "emulator/exec/arith.h"
#include "emulator/exec/simd.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t seed = 3;

static uint32_t
rnd(void)
{
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 32);
}

/* Exponent and fraction bits, bias, encodings without a sign that are numbers. */
typedef struct Format {
  ArType pair;
  int exponent, fraction, bias, numbers, nan;
} Format;

static const Format formats[] = {
    {AR_E4M3X2, 4, 3, 7, 127, 0x7f}, {AR_E5M2X2, 5, 2, 15, 124, 0x7f},
    {AR_E2M3X2, 2, 3, 1, 32, 0x1f},  {AR_E3M2X2, 3, 2, 3, 32, 0x1f},
    {AR_E2M1X2, 2, 1, 1, 8, 0x7},
};
enum { FORMATS = sizeof formats / sizeof *formats };

static double
value(const Format *f, int code)
{
  int e = code >> f->fraction, m = code & ((1 << f->fraction) - 1);
  double x = (double)m / (1 << f->fraction);
  return e ? (1 + x) * pow(2, e - f->bias) : x * pow(2, 1 - f->bias);
}

/* The nearest of all numbers, of two the even one; beyond the last one that. */
static int
nearest(const Format *f, double x, bool relu)
{
  int sign = signbit(x) ? 1 << (f->exponent + f->fraction) : 0, best = 0;
  double mag = fabs(x);
  if (x != x)
    return f->nan;
  for (int code = 1; code < f->numbers; code++) {
    double now = fabs(value(f, code) - mag), then = fabs(value(f, best) - mag);
    if (now < then || (now == then && !(code & 1)))
      best = code;
  }
  if (mag > value(f, f->numbers - 1))
    best = f->numbers - 1;
  return relu && sign ? 0 : best | sign;
}

static float
draw(const Format *f)
{
  static const float special[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e-30f, -1e30f};
  uint32_t r = rnd();
  if (r % 8 == 0)
    return special[r / 8 % 7];
  if (r % 8 < 4) { /* a number of the format, or half way to the next */
    int code = (int)(rnd() % (uint32_t)(f->numbers - 1));
    double x = (value(f, code) + value(f, code + (int)(r / 8 % 2))) / 2;
    x = r / 64 % 4 == 0 ? nextafterf((float)x, 1e9f) : x;
    return (float)(r / 16 % 2 ? -x : x);
  }
  uint32_t u = (rnd() & 0x807fffff) | (127 - 18 + rnd() % 36) << 23;
  return float_of(u);
}

static int
width(const Format *f)
{
  return f->pair == AR_E2M1X2 ? 4 : 8;
}

static void
test_from_f32(void **state)
{
  (void)state;
  for (int k = 0; k < FORMATS; k++)
    for (int rep = 0; rep < 400; rep++) {
      const Format *f = &formats[k];
      float a[32], b[32];
      uint32_t d[32];
      ArOp op;
      bool relu = rep & 1;
      for (int i = 0; i < 32; i++)
        a[i] = draw(f), b[i] = draw(f);
      assert_true(
          ar_cvt(&op, f->pair, AR_F32, AR_RN | AR_SATFINITE | (relu ? AR_RELU : 0)));
      op.fn(&op, d, a, b, NULL);
      for (int i = 0; i < 32; i++) {
        int want =
            nearest(f, (double)a[i], relu) << width(f) | nearest(f, (double)b[i], relu);
        if ((int)d[i] != want)
          fail_msg("format %d: %a, %a: %x, not %x", k, (double)a[i], (double)b[i], d[i],
                   want);
      }
    }
}

/* By the bits of f16, which has all these values. */
static double
f16_value(uint32_t h)
{
  int e = h >> 10 & 31, m = h & 1023;
  double x = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
  return h >> 15 & 1 ? -x : x;
}

static void
test_to_and_from_f16(void **state)
{
  (void)state;
  for (int k = 0; k < FORMATS; k++) {
    const Format *f = &formats[k];
    ArOp up, down;
    bool six = f->pair == AR_E2M3X2 || f->pair == AR_E3M2X2;
    int w = width(f), sign = 1 << (f->exponent + f->fraction);
    assert_true(ar_cvt(&up, AR_F16X2, f->pair, AR_RN));
    assert_int_equal(ar_cvt(&down, f->pair, AR_F16X2, AR_RN | AR_SATFINITE), !six);
    for (int code = 0; code < 2 * sign; code++) {
      uint32_t a[32], d[32], back[32];
      int other = (code * 7 + 3) % (2 * sign);
      for (int i = 0; i < 32; i++)
        a[i] = (uint32_t)(code << w | other);
      up.fn(&up, d, a, NULL, NULL);
      for (int h = 0; h < 2; h++) {
        int c = h ? code : other, number = c & (sign - 1);
        double got = f16_value(d[5] >> 16 * h & 0xffff);
        if (number < f->numbers)
          assert_true(got == (c & sign ? -value(f, c & (sign - 1)) : value(f, number)));
        else
          assert_true(f->pair == AR_E5M2X2 && number == 124 ? isinf(got) : got != got);
      }
      if (six)
        continue;
      down.fn(&down, back, d, NULL, NULL);
      int want = nearest(f, f16_value(d[5] >> 16), false) << w |
                 nearest(f, f16_value(d[5] & 0xffff), false);
      assert_int_equal(back[5], want);
    }
  }
}

/* The largest power of two at most the magnitude, or the least at least it. */
static uint32_t
scale_of(double x, bool up, bool finite)
{
  double mag = fabs(x);
  if (x != x)
    return 255;
  for (int e = 0; e < 255; e++) {
    double at = pow(2, e - 127);
    if (up ? at >= mag : at * 2 > mag)
      return (uint32_t)e;
  }
  return finite ? 254 : 255;
}

static void
test_scales(void **state)
{
  (void)state;
  for (int rep = 0; rep < 600; rep++)
    for (int k = 0; k < 8; k++) {
      bool up = k & 1, finite = k & 2, bf16 = k & 4;
      uint32_t a[32], b[32], d[32];
      ArOp op;
      for (int i = 0; i < 32; i++) {
        a[i] = rnd() & (rnd() % 2 ? 0xffffffff : 0xff800000);
        b[i] = rnd() % 4 ? rnd() : (rnd() & 0x807fffff) | (rnd() % 2 ? 0x7f000000 : 0);
      }
      assert_true(ar_cvt(&op, AR_UE8M0X2, bf16 ? AR_BF16X2 : AR_F32,
                         (up ? AR_RP : AR_RZ) | (finite ? AR_SATFINITE : 0)));
      op.fn(&op, d, a, bf16 ? NULL : b, NULL);
      for (int i = 0; i < 32; i++) {
        double high = (double)float_of(bf16 ? a[i] & 0xffff0000 : a[i]);
        double low = (double)float_of(bf16 ? a[i] << 16 : b[i]);
        assert_int_equal(d[i], scale_of(high, up, finite) << 8 | scale_of(low, up, finite));
      }
    }
  ArOp op;
  assert_true(ar_cvt(&op, AR_BF16X2, AR_UE8M0X2, AR_RN));
  for (uint32_t u = 0; u < 256; u++) {
    uint32_t a[32] = {u << 8 | (255 - u)}, d[32];
    op.fn(&op, d, a, NULL, NULL);
    float high = float_of(d[0] & 0xffff0000), low = float_of(d[0] << 16);
    assert_true(u == 255 ? high != high : (double)high == pow(2, (int)u - 127));
    assert_true(u == 0 ? low != low : (double)low == pow(2, 128 - (int)u));
  }
}

/* ---- rounding by random bits ---- */

/* In integers, for results that are normal: the random bits are added to what is cut off.
 */
static uint32_t
carried(uint32_t u, int cut, uint32_t random, int bits)
{
  uint32_t mag = u & 0x7fffffff, add = random << (cut - bits);
  return (uint32_t)(((uint64_t)mag + add) >> cut << cut) | (u & 0x80000000);
}

static void
test_random_halves(void **state)
{
  (void)state;
  for (int rep = 0; rep < 600; rep++)
    for (int k = 0; k < 2; k++) {
      uint32_t a[32], b[32], r[32], d[32];
      ArOp op;
      for (int i = 0; i < 32; i++) {
        a[i] = (rnd() & 0x807fffff) | (115 + rnd() % 20) << 23;
        b[i] = (rnd() & 0x807fffff) | (115 + rnd() % 20) << 23;
        r[i] = rnd() % 8 ? rnd() : rnd() % 2 ? 0 : 0xffffffff;
      }
      assert_true(ar_cvt(&op, k ? AR_BF16X2 : AR_F16X2, AR_F32, AR_RS));
      op.fn(&op, d, a, b, r);
      for (int i = 0; i < 32; i++) {
        uint32_t keep = k ? 0xffff : 0x1fff;
        float high = float_of(carried(a[i], k ? 16 : 13, r[i] >> 16 & keep, k ? 16 : 13));
        float low = float_of(carried(b[i], k ? 16 : 13, r[i] & keep, k ? 16 : 13));
        double got[2] = {f16_value(d[i] & 0xffff), f16_value(d[i] >> 16)};
        if (k)
          got[0] = (double)float_of(d[i] << 16),
          got[1] = (double)float_of(d[i] & 0xffff0000);
        assert_true(got[1] == (double)high && got[0] == (double)low);
      }
    }
}

static void
test_random_small(void **state)
{
  (void)state;
  for (int rep = 0; rep < 600; rep++)
    for (int k = 0; k < FORMATS; k++) {
      const Format *f = &formats[k];
      uint32_t a[32], b[32], r[32], d[32];
      int least = 128 - f->bias, span = (1 << f->exponent) - 2;
      span = span < 1 ? 1 : span;
      ArOp op;
      for (int i = 0; i < 32; i++) {
        a[i] = (rnd() & 0x807fffff) | ((uint32_t)least + rnd() % (uint32_t)span) << 23;
        b[i] = (rnd() & 0x807fffff) | ((uint32_t)least + rnd() % (uint32_t)span) << 23;
        r[i] = rnd();
      }
      assert_true(ar_cvt(&op, f->pair, AR_F32, AR_RS | AR_SATFINITE));
      op.fn(&op, d, a, b, r);
      for (int i = 0; i < 32; i++) {
        int cut = 23 - f->fraction;
        float high = float_of(carried(a[i], cut, r[i] & 0xffff, 16));
        float low = float_of(carried(b[i], cut, r[i] & 0xffff, 16));
        int want =
            nearest(f, (double)high, false) << width(f) | nearest(f, (double)low, false);
        assert_int_equal(d[i], want);
      }
    }
}

/* Of all random bits as many round up as the part that is cut off says, subnormals too. */
static void
test_random_shares(void **state)
{
  static const struct {
    double x, lower, share; /* between lower and the next number */
  } cases[] = {{0.125, 0, 0.25},  {0.3, 0, 0.6}, {0.75, 0.5, 0.5}, {1.1, 1, 0.2},
               {-2.25, -2, 0.25}, {5, 4, 0.5},   {0, 0, 0}};
  (void)state;
  ArOp op;
  assert_true(ar_cvt(&op, AR_E2M1X2, AR_F32, AR_RS | AR_SATFINITE));
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    int ups = 0, stays = nearest(&formats[4], cases[k].lower, false);
    for (uint32_t r = 0; r < 65536; r += 32) {
      uint32_t a[32], random[32], d[32];
      for (uint32_t i = 0; i < 32; i++)
        a[i] = bits_of((float)cases[k].x), random[i] = r + i;
      op.fn(&op, d, a, a, random);
      for (int i = 0; i < 32; i++)
        ups += (int)(d[i] & 15) != (stays | (cases[k].x < 0 ? 8 : 0));
    }
    assert_int_equal(ups, (int)floor((double)(float)cases[k].share * 65536 + 1e-3));
  }
}

/* ---- fma.oob; magnitudes ---- */

static void
test_oob(void **state)
{
  static const ArType types[] = {AR_F16, AR_F16X2, AR_BF16, AR_BF16X2};
  (void)state;
  for (int rep = 0; rep < 500; rep++)
    for (int k = 0; k < 4; k++) {
      uint32_t in[3][32], d[32], plain[32];
      bool packed = k & 1;
      ArOp with, without;
      unsigned mods = rep & 1 ? AR_RELU : 0;
      assert_true(ar_math(&with, AR_FMA, types[k], mods | AR_OOB));
      assert_true(ar_math(&without, AR_FMA, types[k], mods));
      for (int i = 0; i < 96; i++) {
        uint32_t u = rnd();
        u = rnd() % 6 ? u : (u & 0xffff0000) | 0x7fff;
        u = rnd() % 6 || !packed ? u : (u & 0xffff) | 0x7fff0000;
        in[i / 32][i % 32] = packed ? u : u & 0xffff;
      }
      with.fn(&with, d, in[0], in[1], in[2]);
      without.fn(&without, plain, in[0], in[1], in[2]);
      for (int i = 0; i < 32; i++)
        for (int h = 0; h < 1 + packed; h++) {
          bool out = false;
          for (int j = 0; j < 3; j++)
            out |= (in[j][i] >> 16 * h & 0xffff) == 0x7fff;
          assert_int_equal(d[i] >> 16 * h & 0xffff, out ? 0 : plain[i] >> 16 * h & 0xffff);
        }
    }
}

static void
test_magnitudes(void **state)
{
  (void)state;
  for (int rep = 0; rep < 500; rep++)
    for (int k = 0; k < 8; k++) {
      uint32_t a[32], b[32], d[32];
      bool max = k & 1, nan = k & 2, ftz = k & 4;
      ArOp op;
      for (int i = 0; i < 32; i++) {
        a[i] = rnd() % 8 ? rnd() : (rnd() & 0x80000000) | 0x7fc00000;
        b[i] = rnd() % 8 ? rnd() : rnd() & 0x807fffff;
      }
      assert_true(ar_math(&op, max ? AR_MAX : AR_MIN, AR_F32,
                          AR_MAGNITUDE | (nan ? AR_NAN : 0) | (ftz ? AR_FTZ : 0)));
      op.fn(&op, d, a, b, NULL);
      for (int i = 0; i < 32; i++) {
        float x = fabsf(float_of(a[i])), y = fabsf(float_of(b[i]));
        x = ftz && x < 0x1p-126f ? 0 : x, y = ftz && y < 0x1p-126f ? 0 : y;
        float want = x != x ? y : y != y ? x : (x > y) == max ? x : y;
        if ((nan && (x != x || y != y)) || (x != x && y != y))
          assert_int_equal(d[i], 0x7fffffff);
        else
          assert_int_equal(d[i], bits_of(want));
      }
    }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_from_f32),     cmocka_unit_test(test_to_and_from_f16),
      cmocka_unit_test(test_scales),       cmocka_unit_test(test_random_halves),
      cmocka_unit_test(test_random_small), cmocka_unit_test(test_random_shares),
      cmocka_unit_test(test_oob),          cmocka_unit_test(test_magnitudes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
