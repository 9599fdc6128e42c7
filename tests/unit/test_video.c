/* Video instructions against the same in floating point of 64 bits, and by bytes in memory.
 */
#include "emulator/exec/video.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

__extension__ typedef __int128 Big;

static uint64_t seed = 5;

static uint32_t
rnd(void)
{
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 32);
}

static uint32_t
draw(void)
{
  static const uint32_t special[] = {0,          1,          0xffffffff, 0x80000000,
                                     0x7fffffff, 0x7f80ff01, 0x00ff8000, 31};
  return rnd() % 3 ? rnd() : special[rnd() % 8];
}

/* A byte, half or all of it, from memory. */
static long double
taken(uint32_t v, int part, bool sign)
{
  uint8_t m[4];
  memcpy(m, &v, 4);
  if (part == PART_ALL)
    return sign ? (long double)(int32_t)v : (long double)v;
  if (part < PART_H0)
    return sign ? (long double)(int8_t)m[part] : (long double)m[part];
  uint16_t h;
  memcpy(&h, m + 2 * (part - PART_H0), 2);
  return sign ? (long double)(int16_t)h : (long double)h;
}

static long double
limited(long double v, int bits, bool sign)
{
  long double most = powl(2, bits - sign) - 1, least = sign ? -powl(2, bits - 1) : 0;
  return fminl(fmaxl(v, least), most);
}

/* Modulo 2^32. */
static uint32_t
wrapped(long double v)
{
  long double m = fmodl(v, 0x1p32L);
  return (uint32_t)(uint64_t)(m < 0 ? m + 0x1p32L : m);
}

static long double
result(int op, long double a, long double b)
{
  long double n = op == V_SHL_WRAP || op == V_SHR_WRAP ? fmodl(b, 32) : fminl(b, 32);
  switch (op) {
  case V_ADD:
    return a + b;
  case V_SUB:
    return a - b;
  case V_ABSDIFF:
    return fabsl(a - b);
  case V_AVRG: /* half of it, away from zero for positive ones, down for others */
    return a + b >= 0 ? ceill((a + b) / 2) : floorl((a + b) / 2);
  case V_MIN:
    return fminl(a, b);
  case V_MAX:
    return fmaxl(a, b);
  case V_SHL_CLAMP:
  case V_SHL_WRAP:
    return a * powl(2, n);
  case V_SHR_CLAMP:
  case V_SHR_WRAP:
    return floorl(a / powl(2, n));
  default:
    break;
  }
  const bool is[6] = {a == b, a != b, a<b, a <= b, a> b, a >= b};
  return is[op - V_EQ];
}

static VideoForm
random_form(void)
{
  VideoForm f = {.op = (uint8_t)(rnd() % V_MAD), .elements = 1, .flags = rnd() % 16};
  if (f.op >= V_SHL_CLAMP && f.op <= V_SHR_WRAP)
    f.flags &= (uint8_t)~VIDEO_B_SIGNED;
  return f;
}

static void
test_scalar(void **state)
{
  (void)state;
  for (int rep = 0; rep < 200000; rep++) {
    VideoForm f = random_form();
    uint32_t a = draw(), b = draw(), c = draw();
    if (f.op >= V_SHL_CLAMP && f.op <= V_SHR_WRAP && rnd() % 2)
      b = rnd() % 40;
    f.d = rnd() % 2 ? PART_ALL : (uint8_t)(rnd() % 7);
    f.second = f.d == PART_ALL ? (uint8_t)(rnd() % 4) : SECOND_NONE;
    f.a[0] = (uint8_t)(rnd() % 7), f.b[0] = (uint8_t)(rnd() % 7);
    long double x = taken(a, f.a[0], f.flags & VIDEO_A_SIGNED);
    long double y = taken(b, f.b[0], f.flags & VIDEO_B_SIGNED);
    bool sign = f.flags & VIDEO_D_SIGNED;
    long double v = result(f.op, x, y), third = taken(c, PART_ALL, sign);
    if (f.flags & VIDEO_SAT)
      v = limited(v, f.d == PART_ALL ? 32 : f.d >= PART_H0 ? 16 : 8, sign);
    uint32_t want = wrapped(v), low = want;
    if (f.second == SECOND_ADD)
      want = wrapped(v + third);
    if (f.second == SECOND_MIN)
      want = wrapped(fminl(v, third));
    if (f.second == SECOND_MAX)
      want = wrapped(fmaxl(v, third));
    if (f.d != PART_ALL) {
      want = c;
      memcpy((uint8_t *)&want + (f.d >= PART_H0 ? 2 * (f.d - PART_H0) : f.d), &low,
             f.d >= PART_H0 ? 2 : 1);
    }
    if (video_run(&f, a, b, c) != want)
      fail_msg("op %d flags %d parts %d %d %d second %d: %x %x %x: %x, not %x", f.op,
               f.flags, f.d, f.a[0], f.b[0], f.second, a, b, c, video_run(&f, a, b, c),
               want);
  }
}

static void
test_several(void **state)
{
  (void)state;
  for (int rep = 0; rep < 200000; rep++) {
    VideoForm f = random_form();
    uint32_t in[3] = {draw(), draw(), draw()}, sum = in[2], merged = in[2];
    int n = rnd() % 2 ? 2 : 4, bytes = 4 / n;
    if (f.op >= V_SHL_CLAMP && f.op <= V_SHR_WRAP)
      continue;
    f.elements = (uint8_t)n;
    f.d = (uint8_t)(rnd() % (1u << n));
    f.second = rnd() % 2 ? SECOND_ADD : SECOND_NONE;
    f.flags &= f.second ? (uint8_t)~VIDEO_SAT : 0xff;
    for (int i = 0; i < n; i++) {
      f.a[i] = (uint8_t)(rnd() % (2 * (unsigned)n)),
      f.b[i] = (uint8_t)(rnd() % (2 * (unsigned)n));
      uint32_t x = 0, y = 0;
      memcpy(&x, (uint8_t *)in + f.a[i] * bytes, (size_t)bytes);
      memcpy(&y, (uint8_t *)in + f.b[i] * bytes, (size_t)bytes);
      int part = n == 2 ? PART_H0 : PART_B0;
      long double v = result(f.op, taken(x, part, f.flags & VIDEO_A_SIGNED),
                             taken(y, part, f.flags & VIDEO_B_SIGNED));
      if (f.flags & VIDEO_SAT)
        v = limited(v, 8 * bytes, f.flags & VIDEO_D_SIGNED);
      uint32_t low = wrapped(v);
      if (f.d >> i & 1) {
        sum += low;
        memcpy((uint8_t *)&merged + i * bytes, &low, (size_t)bytes);
      }
    }
    assert_int_equal(video_run(&f, in[0], in[1], in[2]), f.second ? sum : merged);
  }
}

static void
test_mad(void **state)
{
  (void)state;
  for (int rep = 0; rep < 200000; rep++) {
    static const uint8_t signs[] = {0, VIDEO_MINUS, VIDEO_MINUS_C, VIDEO_PLUS_ONE};
    static const uint8_t shifts[] = {0, 7, 15};
    uint32_t a = draw(), b = draw(), c = draw();
    int k = (int)(rnd() % 4);
    VideoForm f = {.op = V_MAD,
                   .elements = 1,
                   .d = PART_ALL,
                   .flags = (uint8_t)(rnd() % 16 | signs[k]),
                   .shift = shifts[rnd() % 3],
                   .a = {(uint8_t)(rnd() % 7)},
                   .b = {(uint8_t)(rnd() % 7)}};
    bool sign = f.flags & (VIDEO_A_SIGNED | VIDEO_B_SIGNED) || k == 1 || k == 2;
    Big v = (Big)taken(a, f.a[0], f.flags & VIDEO_A_SIGNED) *
            (Big)taken(b, f.b[0], f.flags & VIDEO_B_SIGNED);
    Big third = sign ? (Big)(int32_t)c : (Big)c;
    v = (k == 1 ? -v : v) + (k == 2 ? -third : third) + (k == 3);
    Big unit = (Big)1 << f.shift, q = v / unit - (v % unit < 0);
    Big most = sign ? INT32_MAX : UINT32_MAX, least = sign ? INT32_MIN : 0;
    if (f.flags & VIDEO_SAT)
      q = q > most ? most : q < least ? least : q;
    assert_int_equal(video_run(&f, a, b, c), (uint32_t)q);
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_scalar),
      cmocka_unit_test(test_several),
      cmocka_unit_test(test_mad),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
