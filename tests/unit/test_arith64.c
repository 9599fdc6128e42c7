/* Lane arithmetic of 64 bits: f64 in every rounding against the CPU's own, whole numbers to
 * f64, the approximations of f64's upper half, pairs of f32. */
#include "emulator/exec/arith.h"
#include "emulator/exec/round64.h"
#include "emulator/exec/simd.h"

#include <fenv.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t seed = 7;

static uint64_t
rnd(void)
{
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return seed >> 32 | seed << 32;
}

static const uint64_t special[] = {
    0,
    0x8000000000000000,
    0x7ff0000000000000,
    0xfff0000000000000,
    0x7ff8000000000000,
    0xfff0000000000001,
    1,
    0x8000000000000001,
    0x000fffffffffffff,
    0x0010000000000000,
    0x8010000000000001,
    0x3ff0000000000000,
    0xbff0000000000000,
    0x3fefffffffffffff,
    0x7fefffffffffffff,
    0xffefffffffffffff,
    0x7fe0000000000000,
    0x4340000000000001,
    0x3ca0000000000000,
    0x0340000000000000,
};
enum { SPECIALS = sizeof special / sizeof *special };

/* Any bits; near one; a special value; close to another number, or its negative. */
static uint64_t
draw(uint64_t near)
{
  uint64_t r = rnd(), sign = r << 63;
  switch (r >> 1 & 7) {
  case 0:
  case 1:
    return special[rnd() % SPECIALS];
  case 2:
  case 3:
    return sign | (0x3f0 + (r >> 8) % 32) << 52 | rnd() >> 12;
  case 4:
    return sign ^ near ^ (rnd() & 3);
  case 5:
    return sign | (rnd() & 0xffff); /* subnormal */
  default:
    return rnd();
  }
}

static const int modes[4] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};

/* What the CPU computes: the operands and the result are beyond the compiler's reach. */
static double
cpu(ArMath m, int mode, double x, double y, double z)
{
  volatile double a = x, b = y, c = z, r;
  fesetround(mode);
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
  case AR_DIV:
    r = a / b;
    break;
  case AR_RCP:
    r = 1 / a;
    break;
  case AR_SQRT:
    r = sqrt(a);
    break;
  default:
    r = fma(a, b, c);
  }
  fesetround(FE_TONEAREST);
  return r;
}

static void
one_row(ArMath m, unsigned mode, bool through_find)
{
  uint64_t a[32], b[32], c[32], d[32];
  ArOp op = {.mods = (uint16_t)mode};
  if (through_find)
    op.fn = round64_find(m);
  else
    assert_true(ar_math(&op, m, AR_F64, mode));
  for (int i = 0; i < 32; i++) {
    a[i] = draw(0);
    b[i] = draw(a[i]);
    double p = double_of(a[i]) * double_of(b[i]);
    c[i] = draw(bits_of_d(p));
  }
  op.fn(&op, d, a, b, c);
  for (int i = 0; i < 32; i++) {
    double r = cpu(m, modes[mode], double_of(a[i]), double_of(b[i]), double_of(c[i]));
    uint64_t want = r != r ? 0x7ff8000000000000 : bits_of_d(r);
    if (d[i] != want)
      fail_msg("%d %u: %016llx %016llx %016llx: %016llx, not %016llx", m, mode,
               (unsigned long long)a[i], (unsigned long long)b[i], (unsigned long long)c[i],
               (unsigned long long)d[i], (unsigned long long)want);
  }
}

static void
test_roundings(void **state)
{
  static const ArMath all[] = {AR_ADD, AR_SUB, AR_MUL, AR_FMA, AR_DIV, AR_RCP, AR_SQRT};
  (void)state;
  for (size_t k = 0; k < sizeof all / sizeof *all; k++)
    for (unsigned mode = AR_RN; mode <= AR_RP; mode++)
      for (int rep = 0; rep < 2000; rep++) {
        one_row(all[k], mode, true);
        if (rep < 100)
          one_row(all[k], mode, false);
      }
  assert_null(round64_find(AR_MIN));
}

/* Of whole numbers by the CPU's extended type, which has all 64 bits. */
static void
test_integers(void **state)
{
  (void)state;
  for (int rep = 0; rep < 20000; rep++) {
    uint64_t v = rnd() >> rnd() % 64, a[32] = {v, 0 - v, UINT64_MAX, 1ull << 63}, d[32];
    for (unsigned mode = AR_RN; mode <= AR_RP; mode++)
      for (int sign = 0; sign < 2; sign++) {
        ArOp op;
        assert_true(ar_cvt(&op, AR_F64, sign ? AR_S64 : AR_U64, mode));
        op.fn(&op, d, a, NULL, NULL);
        for (int i = 0; i < 4; i++) {
          volatile long double x = sign ? (long double)(int64_t)a[i] : (long double)a[i];
          fesetround(modes[mode]);
          volatile double want = (double)x;
          fesetround(FE_TONEAREST);
          assert_int_equal(d[i], bits_of_d(want));
        }
      }
  }
}

/* PTX ISA, rcp and rsqrt.approx.ftz.f64. */
static void
test_upper_half(void **state)
{
  static const uint64_t in[] = {
      0xfff0000000000000, 0x800fffffffffffff, 0x8000000000000000, 0,
      0x0000000000000001, 0x7ff0000000000000, 0x7ff8000000000001};
  static const uint64_t want[2][7] = {
      {0x8000000000000000, 0xfff0000000000000, 0xfff0000000000000, 0x7ff0000000000000,
       0x7ff0000000000000, 0, 0x7ff8000000000000},
      {0x7ff8000000000000, 0xfff0000000000000, 0xfff0000000000000, 0x7ff0000000000000,
       0x7ff0000000000000, 0, 0x7ff8000000000000}};
  (void)state;
  for (int f = 0; f < 2; f++) {
    ArOp op;
    uint64_t a[32] = {0}, d[32];
    assert_true(ar_math(&op, f ? AR_RSQRT : AR_RCP, AR_F64, AR_APPROX | AR_FTZ));
    memcpy(a, in, sizeof in);
    a[7] = 0x7fe0000000000001; /* whose reciprocal is subnormal */
    a[8] = 0x7ff0000000000001; /* whose upper half is infinity's */
    op.fn(&op, d, a, NULL, NULL);
    for (int i = 0; i < 7; i++)
      assert_int_equal(d[i], want[f][i]);
    assert_int_equal(d[8], 0);
    if (!f)
      assert_int_equal(d[7], 0);
    for (int rep = 0; rep < 1000; rep++) {
      for (int i = 0; i < 32; i++)
        a[i] = (rnd() >> 1) % 0x7fc0000000000000 + 0x0020000000000000;
      op.fn(&op, d, a, NULL, NULL);
      for (int i = 0; i < 32; i++) {
        long double x = double_of(a[i]), r = f ? 1 / sqrtl(x) : 1 / x;
        assert_int_equal(d[i] & 0xffffffff, 0);
        assert_true(double_of(a[i]) > 0x1p1021 ||
                    fabsl(double_of(d[i]) - r) <= r * 0x1p-19L);
      }
    }
  }
}

/* Each half of a pair is what f32 gives. */
static void
test_pairs(void **state)
{
  static const ArMath all[] = {AR_ADD, AR_SUB, AR_MUL, AR_FMA};
  (void)state;
  for (int rep = 0; rep < 200; rep++)
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
      for (unsigned mods = 0; mods < 8; mods++) {
        uint64_t in[3][32], d[32];
        uint32_t half[3][32], want[2][32];
        ArOp op, one;
        unsigned m = mods / 2 | (mods & 1 ? AR_FTZ : 0);
        assert_true(ar_math(&op, all[k], AR_F32X2, m));
        assert_true(ar_math(&one, all[k], AR_F32, m));
        for (int i = 0; i < 96; i++)
          in[i / 32][i % 32] = draw(0) >> (rnd() % 2 * 8);
        op.fn(&op, d, in[0], in[1], in[2]);
        for (int h = 0; h < 2; h++) {
          for (int i = 0; i < 96; i++)
            half[i / 32][i % 32] = (uint32_t)(in[i / 32][i % 32] >> 32 * h);
          one.fn(&one, want[h], half[0], half[1], half[2]);
        }
        for (int i = 0; i < 32; i++)
          assert_int_equal(d[i], (uint64_t)want[1][i] << 32 | want[0][i]);
      }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_roundings),
      cmocka_unit_test(test_integers),
      cmocka_unit_test(test_upper_half),
      cmocka_unit_test(test_pairs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
