/* lanes_body.h: the loops, included once per kind of CPU after its pragma. */
#include "emulator/exec/lanes.h"
#include "emulator/exec/simd.h"

#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed" /* division has no vector form */
#define LOOP                                                                               \
  _Pragma("clang loop vectorize(assume_safety)") for (int l = 0; l < AR_LANES; l++)
#else
#define LOOP _Pragma("GCC ivdep") for (int l = 0; l < AR_LANES; l++)
#endif

__extension__ typedef unsigned __int128 u128;
__extension__ typedef __int128 s128;
typedef uint16_t u16;
typedef int16_t s16;
typedef uint32_t u32;
typedef int32_t s32;
typedef uint64_t u64;
typedef int64_t s64;

/* d[l] = (D)(R) of an expression in x, y, z: lanes of rows A, B, C taken as X, Y, Z. */
#define FN(name, D, A, B, C, X, Y, Z, R, expr)                                             \
  static void name(const ArOp *op, void *dv, const void *av, const void *bv,               \
                   const void *cv)                                                         \
  {                                                                                        \
    D *d = dv;                                                                             \
    const A *a = av;                                                                       \
    const B *b = bv;                                                                       \
    const C *c = cv;                                                                       \
    (void)op;                                                                              \
    LOOP                                                                                   \
    {                                                                                      \
      const X x = (X)a[l];                                                                 \
      const Y y = (Y)b[l];                                                                 \
      const Z z = (Z)c[l];                                                                 \
      (void)y;                                                                             \
      (void)z;                                                                             \
      d[l] = (D)(R)(expr);                                                                 \
    }                                                                                      \
  }
#define SAME(name, S, T, R, expr) FN(name, S, S, S, S, T, T, T, R, expr)
/* Sign does not matter: one each for 16, 32, 64 bits, computed in 32 or 64. */
#define BITS(name, expr)                                                                   \
  SAME(name##_u16, u32, u32, u16, expr)                                                    \
  SAME(name##_u32, u32, u32, u32, expr)                                                    \
  SAME(name##_u64, u64, u64, u64, expr)
/* It does: six. */
#define INTS(name, expr)                                                                   \
  SAME(name##_u16, u32, u16, u16, expr)                                                    \
  SAME(name##_s16, u32, s16, u16, expr)                                                    \
  SAME(name##_u32, u32, u32, u32, expr)                                                    \
  SAME(name##_s32, u32, s32, u32, expr)                                                    \
  SAME(name##_u64, u64, u64, u64, expr)                                                    \
  SAME(name##_s64, u64, s64, u64, expr)

static inline s32
clamp_s32(s64 x)
{
  return (s32)(x > INT32_MAX ? INT32_MAX : x < INT32_MIN ? INT32_MIN : x);
}

BITS(add, x + y)
BITS(sub, x - y)
SAME(add_sat_s32, u32, s32, u32, clamp_s32((s64)x + y))
SAME(sub_sat_s32, u32, s32, u32, clamp_s32((s64)x - y))
BITS(mul_lo, x *y)
BITS(mad_lo, x *y + z)
SAME(mul_hi_u16, u32, u32, u16, x *y >> 16)
SAME(mul_hi_s16, u32, s16, u16, (s32)x *y >> 16)
SAME(mul_hi_u32, u32, u32, u32, (u64)x *y >> 32)
SAME(mul_hi_s32, u32, s32, u32, (s64)x *y >> 32)
SAME(mul_hi_u64, u64, u64, u64, (u128)x *y >> 64)
SAME(mul_hi_s64, u64, s64, u64, (s128)x *y >> 64)
SAME(mad_hi_u16, u32, u32, u16, (x * y >> 16) + z)
SAME(mad_hi_s16, u32, s16, u16, ((s32)x * y >> 16) + z)
SAME(mad_hi_u32, u32, u32, u32, (u32)((u64)x *y >> 32) + z)
SAME(mad_hi_s32, u32, s32, u32, (u32)((s64)x *y >> 32) + (u32)z)
SAME(mad_hi_u64, u64, u64, u64, (u64)((u128)x *y >> 64) + z)
SAME(mad_hi_s64, u64, s64, u64, (u64)((s128)x *y >> 64) + (u64)z)
SAME(mul_wide_u16, u32, u32, u32, (x & 0xffff) * (y & 0xffff))
SAME(mul_wide_s16, u32, s16, u32, (s32)x *y)
FN(mul_wide_u32, u64, u32, u32, u32, u64, u64, u64, u64, x *y)
FN(mul_wide_s32, u64, u32, u32, u32, s32, s32, s32, u64, (s64)x *y)
FN(mad_wide_u16, u32, u32, u32, u32, u32, u32, u32, u32, (x & 0xffff) * (y & 0xffff) + z)
FN(mad_wide_s16, u32, u32, u32, u32, s16, s16, u32, u32, (u32)((s32)x *y) + z)
FN(mad_wide_u32, u64, u32, u32, u64, u64, u64, u64, u64, x *y + z)
FN(mad_wide_s32, u64, u32, u32, u64, s32, s32, u64, u64, (u64)((s64)x *y) + z)
/* PTX ISA, mul24, mad24: 24 bits of each, and of 48 bits the low or the high 32. */
static inline s64
mul24(u32 x, u32 y, bool sign)
{
  s64 a = sign ? (s32)(x << 8) >> 8 : (s32)(x & 0xffffff);
  s64 b = sign ? (s32)(y << 8) >> 8 : (s32)(y & 0xffffff);
  return a * b;
}
SAME(mad_hi_sat_s32, u32, s32, u32, clamp_s32(((s64)x * y >> 32) + z))
SAME(mul24_lo_u32, u32, u32, u32, mul24(x, y, false))
SAME(mul24_lo_s32, u32, u32, u32, mul24(x, y, true))
SAME(mul24_hi_u32, u32, u32, u32, mul24(x, y, false) >> 16)
SAME(mul24_hi_s32, u32, u32, u32, mul24(x, y, true) >> 16)
SAME(mad24_lo_u32, u32, u32, u32, (u32)mul24(x, y, false) + z)
SAME(mad24_lo_s32, u32, u32, u32, (u32)mul24(x, y, true) + z)
SAME(mad24_hi_u32, u32, u32, u32, (u32)(mul24(x, y, false) >> 16) + z)
SAME(mad24_hi_s32, u32, u32, u32, (u32)(mul24(x, y, true) >> 16) + z)
SAME(mad24_hi_sat_s32, u32, u32, u32, clamp_s32((mul24(x, y, true) >> 16) + (s32)z))

/* PTX ISA, dp4a, dp2a: a sum of products, modulo 2^32.  X: 8 or 16 bits, signed or not. */
#define DOT4(X, Y)                                                                         \
  (z + (u32)((X)x * (Y)y) + (u32)((X)(x >> 8) * (Y)(y >> 8)) +                             \
   (u32)((X)(x >> 16) * (Y)(y >> 16)) + (u32)((X)(x >> 24) * (Y)(y >> 24)))
SAME(dp4a_uu_u32, u32, u32, u32, DOT4(uint8_t, uint8_t))
SAME(dp4a_us_u32, u32, u32, u32, DOT4(uint8_t, int8_t))
SAME(dp4a_su_u32, u32, u32, u32, DOT4(int8_t, uint8_t))
SAME(dp4a_ss_u32, u32, u32, u32, DOT4(int8_t, int8_t))
#define DOT2(X, Y, at)                                                                     \
  (z + (u32)((X)x * (Y)(y >> (at))) + (u32)((X)(x >> 16) * (Y)(y >> ((at) + 8))))
#define DOT2S(name, X, Y)                                                                  \
  SAME(dp2a_lo_##name##_u32, u32, u32, u32, DOT2(X, Y, 0))                                 \
  SAME(dp2a_hi_##name##_u32, u32, u32, u32, DOT2(X, Y, 16))
DOT2S(uu, u16, uint8_t)
DOT2S(us, u16, int8_t)
DOT2S(su, s16, uint8_t)
DOT2S(ss, s16, int8_t)

/* PTX ISA, add, min, max of .u16x2 and .s16x2: each half by itself. */
#define HALVES(name, T, expr)                                                              \
  static inline u32 name##_half(T x, T y)                                                  \
  {                                                                                        \
    return (u16)(expr);                                                                    \
  }                                                                                        \
  SAME(name, u32, u32, u32,                                                                \
       name##_half((T)x, (T)y) | name##_half((T)(x >> 16), (T)(y >> 16)) << 16)
HALVES(add_x2_u32, u16, x + y)
HALVES(min_x2_u32, u16, x < y ? x : y)
HALVES(min_x2_s32, s16, x < y ? x : y)
HALVES(max_x2_u32, u16, x > y ? x : y)
HALVES(max_x2_s32, s16, x > y ? x : y)
HALVES(min_relu_x2_s32, s16, x < y ? (x > 0 ? x : 0) : (y > 0 ? y : 0))
HALVES(max_relu_x2_s32, s16, x > y ? (x > 0 ? x : 0) : (y > 0 ? y : 0))

/* PTX ISA, szext: bits from n on repeat bit n - 1, or are 0; n is 5 bits or at most 32. */
static inline u32
extend(u32 x, u32 n, bool sign)
{
  u32 keep = n < 32 ? ((u32)1 << n) - 1 : ~(u32)0;
  bool ones = sign && n && x >> (n - 1) & 1;
  return (x & keep) | (ones ? ~keep : 0);
}
SAME(szext_wrap_u32, u32, u32, u32, extend(x, y & 31, false))
SAME(szext_wrap_s32, u32, u32, u32, extend(x, y & 31, true))
SAME(szext_clamp_u32, u32, u32, u32, extend(x, y < 32 ? y : 32, false))
SAME(szext_clamp_s32, u32, u32, u32, extend(x, y < 32 ? y : 32, true))

/* PTX ISA, bmsk: len ones from bit pos on. */
static inline u32
bit_mask(u32 pos, u32 len)
{
  u32 ones = len < 32 ? ((u32)1 << len) - 1 : ~(u32)0;
  return pos < 32 ? ones << pos : 0;
}
SAME(bmsk_wrap_u32, u32, u32, u32, bit_mask(x & 31, y & 31))
SAME(bmsk_clamp_u32, u32, u32, u32, bit_mask(x, y))

/* PTX ISA, fns: the nth set bit from `base` on, upward for n > 0 and downward for n < 0;
 * n = 0: `base` itself if it is set.  All ones: there is none. */
static inline u32
find_nth(u32 mask, u32 base, s32 n)
{
  s64 step = n < 0 ? -1 : 1, left = n < 0 ? -(s64)n : n ? n : 1;
  for (s64 at = base; at >= 0 && at < 32; at += step) {
    if (mask >> at & 1 && !--left)
      return (u32)at;
    if (!n)
      break;
  }
  return ~(u32)0;
}
SAME(fns_u32, u32, u32, u32, find_nth(x, y, (s32)z))

SAME(div_u16, u32, u16, u16, y ? x / y : 0xffff)
SAME(div_s16, u32, s16, u16, y ? x / y : -1)
SAME(div_u32, u32, u32, u32, y ? x / y : ~(u32)0)
SAME(div_s32, u32, s32, u32, y ? (s64)x / y : -1)
SAME(div_u64, u64, u64, u64, y ? x / y : ~(u64)0)
SAME(div_s64, u64, s64, u64, y == -1 ? 0 - (u64)x : y ? (u64)(x / y) : ~(u64)0)
SAME(rem_u16, u32, u16, u16, y ? x % y : x)
SAME(rem_s16, u32, s16, u16, y ? x % y : x)
SAME(rem_u32, u32, u32, u32, y ? x % y : x)
SAME(rem_s32, u32, s32, u32, y ? (s64)x % y : x)
SAME(rem_u64, u64, u64, u64, y ? x % y : x)
SAME(rem_s64, u64, s64, u64, y == -1 ? 0 : y ? x % y : x)
SAME(sad_u16, u32, u16, u16, z + (x > y ? x - y : y - x))
SAME(sad_s16, u32, s16, u16, z + (x > y ? x - y : y - x))
SAME(sad_u32, u32, u32, u32, z + (x > y ? x - y : y - x))
SAME(sad_s32, u32, s32, u32, (u32)z + (x > y ? (u32)x - (u32)y : (u32)y - (u32)x))
SAME(sad_u64, u64, u64, u64, z + (x > y ? x - y : y - x))
SAME(sad_s64, u64, s64, u64, (u64)z + (x > y ? (u64)x - (u64)y : (u64)y - (u64)x))
INTS(min, x < y ? x : y)
INTS(max, x > y ? x : y)
SAME(min_relu_s32, u32, s32, u32, x < y ? (x > 0 ? x : 0) : (y > 0 ? y : 0))
SAME(max_relu_s32, u32, s32, u32, x > y ? (x > 0 ? x : 0) : (y > 0 ? y : 0))
SAME(abs_s16, u32, s16, u16, x < 0 ? -x : x)
SAME(abs_s32, u32, s32, u32, x < 0 ? 0 - (u32)x : (u32)x)
SAME(abs_s64, u64, s64, u64, x < 0 ? 0 - (u64)x : (u64)x)
BITS(neg, 0 - x)

FN(popc_u32, u32, u32, u32, u32, u32, u32, u32, u32, __builtin_popcount(x))
FN(popc_u64, u32, u64, u32, u32, u64, u32, u32, u32, __builtin_popcountll(x))
FN(clz_u32, u32, u32, u32, u32, u32, u32, u32, u32, x ? __builtin_clz(x) : 32)
FN(clz_u64, u32, u64, u32, u32, u64, u32, u32, u32, x ? __builtin_clzll(x) : 64)

/* The most significant bit that is not the sign; -1 if there is none. */
static inline u32
find_bit(u64 x, int bits, bool shift)
{
  if (!x)
    return ~(u32)0;
  int at = 63 - __builtin_clzll(x);
  return (u32)(shift ? bits - 1 - at : at);
}

#define FIND(name, S, T, bits, shift)                                                      \
  FN(name, u32, S, u32, u32, T, u32, u32, u32,                                             \
     find_bit(x < 0 ? (u64)(S) ~(S)x : (u64)(S)x, bits, shift))
#define FIND_U(name, S, bits, shift)                                                       \
  FN(name, u32, S, u32, u32, S, u32, u32, u32, find_bit(x, bits, shift))
FIND_U(bfind_u32, u32, 32, false)
FIND(bfind_s32, u32, s32, 32, false)
FIND_U(bfind_u64, u64, 64, false)
FIND(bfind_s64, u64, s64, 64, false)
FIND_U(bfind_shift_u32, u32, 32, true)
FIND(bfind_shift_s32, u32, s32, 32, true)
FIND_U(bfind_shift_u64, u64, 64, true)
FIND(bfind_shift_s64, u64, s64, 64, true)

static inline u64
reverse(u64 x)
{
  x = (x >> 1 & 0x5555555555555555) | (x & 0x5555555555555555) << 1;
  x = (x >> 2 & 0x3333333333333333) | (x & 0x3333333333333333) << 2;
  x = (x >> 4 & 0x0f0f0f0f0f0f0f0f) | (x & 0x0f0f0f0f0f0f0f0f) << 4;
  return __builtin_bswap64(x);
}

SAME(brev_u32, u32, u32, u32, reverse(x) >> 32)
SAME(brev_u64, u64, u64, u64, reverse(x))

/* PTX ISA, bfe: pos and len are 8 bits; bits past the value repeat its sign. */
static inline u64
field(u64 x, u32 pos, u32 len, u32 bits, bool sign)
{
  pos &= 255;
  len &= 255;
  u32 top = pos + len - 1 < bits - 1 ? pos + len - 1 : bits - 1;
  u64 fill = sign && len && (x >> top & 1) ? ~(u64)0 : 0;
  u64 v = pos < bits ? x >> pos : 0;
  u32 have = pos < bits ? bits - pos : 0;
  have = len < have ? len : have;
  u64 keep = have < 64 ? ((u64)1 << have) - 1 : ~(u64)0;
  return (v & keep) | (fill & ~keep);
}

#define FIELD(name, S, bits, sign)                                                         \
  FN(name, S, S, u32, u32, S, u32, u32, S, field(x, y, z, bits, sign))
FIELD(bfe_u32, u32, 32, false)
FIELD(bfe_s32, u32, 32, true)
FIELD(bfe_u64, u64, 64, false)
FIELD(bfe_s64, u64, 64, true)

BITS(and, x &y)
BITS(or, x | y)
BITS(xor, x ^ y)
BITS(not, ~x)
SAME(cnot_u16, u32, u16, u16, x == 0)
SAME(cnot_u32, u32, u32, u32, x == 0)
SAME(cnot_u64, u64, u64, u64, x == 0)

#define SHIFT(name, S, T, R, expr) FN(name, S, S, u32, u32, T, u32, u32, R, expr)
SHIFT(shl_u16, u32, u32, u16, y < 16 ? x << (y & 15) : 0)
SHIFT(shl_u32, u32, u32, u32, y < 32 ? x << (y & 31) : 0)
SHIFT(shl_u64, u64, u64, u64, y < 64 ? x << (y & 63) : 0)
SHIFT(shr_u16, u32, u32, u16, y < 16 ? x >> (y & 15) : 0)
SHIFT(shr_u32, u32, u32, u32, y < 32 ? x >> (y & 31) : 0)
SHIFT(shr_u64, u64, u64, u64, y < 64 ? x >> (y & 63) : 0)
SHIFT(shr_s16, u32, s16, u16, x >> (y < 15 ? y : 15))
SHIFT(shr_s32, u32, s32, u32, x >> (y < 31 ? y : 31))
SHIFT(shr_s64, u64, s64, u64, x >> (y < 63 ? y : 63))

static inline u32
least(u32 x, u32 y)
{
  return x < y ? x : y;
}

/* Funnel of y:x; left gives the upper word. */
#define FUNNEL ((u64)y << 32 | x)
SAME(shf_l_wrap_u32, u32, u32, u32, FUNNEL << (z & 31) >> 32)
SAME(shf_l_clamp_u32, u32, u32, u32, FUNNEL << least(z, 32) >> 32)
SAME(shf_r_wrap_u32, u32, u32, u32, FUNNEL >> (z & 31))
SAME(shf_r_clamp_u32, u32, u32, u32, FUNNEL >> least(z, 32))

static void
lop3_u32(const ArOp *op, void *dv, const void *av, const void *bv, const void *cv)
{
  u32 *d = dv, k[8];
  const u32 *a = av, *b = bv, *c = cv;
  for (int i = 0; i < 8; i++)
    k[i] = op->mods >> i & 1 ? ~(u32)0 : 0;
  LOOP
  {
    u32 x = a[l], y = b[l], z = c[l];
    u32 high = (y & z & k[7]) | (y & ~z & k[6]) | (~y & z & k[5]) | (~y & ~z & k[4]);
    u32 low = (y & z & k[3]) | (y & ~z & k[2]) | (~y & z & k[1]) | (~y & ~z & k[0]);
    d[l] = (x & high) | (~x & low);
  }
}

/* PTX ISA, cvt.pack: the second value lowest, then the first, then c's lower bits. */
static inline u32
pack_bits(u32 a, u32 b, u32 c, u32 mods)
{
  u32 n = mods & 255, keep = ((u32)1 << n) - 1;
  s32 most = (s32)(mods & 256 ? keep >> 1 : keep), least_of = mods & 256 ? -most - 1 : 0;
  s32 x = (s32)a < least_of ? least_of : (s32)a > most ? most : (s32)a;
  s32 y = (s32)b < least_of ? least_of : (s32)b > most ? most : (s32)b;
  return ((u32)x & keep) << n | ((u32)y & keep) | (n < 16 ? c << 2 * n : 0);
}
SAME(cvt_pack_u32, u32, u32, u32, pack_bits(x, y, z, op->mods))

/* Nibbles of the selector choose bytes of y:x; bit 3 spreads the byte's sign. */
static inline u32
permute(u32 x, u32 y, u32 sel)
{
  u64 v = (u64)y << 32 | x;
  u32 r = 0;
  for (int i = 0; i < 4; i++) {
    u32 s = sel >> (4 * i);
    u32 byte = (u32)(v >> (8 * (s & 7))) & 255;
    byte = s & 8 ? (byte & 128 ? 255 : 0) : byte;
    r |= byte << (8 * i);
  }
  return r;
}

/* The modes with a name, as selectors by the two low bits of z (PTX ISA, prmt). */
static const u32 prmt_table[6][4] = {
    {0x3210, 0x4321, 0x5432, 0x6543}, /* f4e */
    {0x5670, 0x6701, 0x7012, 0x0123}, /* b4e */
    {0x0000, 0x1111, 0x2222, 0x3333}, /* rc8 */
    {0x3210, 0x3211, 0x3222, 0x3333}, /* ecl */
    {0x0000, 0x1110, 0x2210, 0x3210}, /* ecr */
    {0x1010, 0x3232, 0x1010, 0x3232}, /* rc16 */
};

SAME(prmt_u32, u32, u32, u32, permute(x, y, z))
SAME(prmt_f4e_u32, u32, u32, u32, permute(x, y, prmt_table[0][z & 3]))
SAME(prmt_b4e_u32, u32, u32, u32, permute(x, y, prmt_table[1][z & 3]))
SAME(prmt_rc8_u32, u32, u32, u32, permute(x, y, prmt_table[2][z & 3]))
SAME(prmt_ecl_u32, u32, u32, u32, permute(x, y, prmt_table[3][z & 3]))
SAME(prmt_ecr_u32, u32, u32, u32, permute(x, y, prmt_table[4][z & 3]))
SAME(prmt_rc16_u32, u32, u32, u32, permute(x, y, prmt_table[5][z & 3]))
SAME(copysign_u32, u32, u32, u32, (y & 0x7fffffff) | (x & 0x80000000))
SAME(copysign_u64, u64, u64, u64, (y & 0x7fffffffffffffff) | (x & 0x8000000000000000))

SAME(mov_u16, u32, u32, u16, x)
SAME(mov_u32, u32, u32, u32, x)
SAME(mov_u64, u64, u64, u64, x)
SAME(sext8_u16, u32, u32, u16, (s32)(int8_t)x)
SAME(sext8_u32, u32, u32, u32, (s32)(int8_t)x)
SAME(sext16_u32, u32, u32, u32, (s32)(int16_t)x)
FN(widen_u32, u64, u32, u32, u32, u32, u32, u32, u64, x)
FN(widen_s32, u64, u32, u32, u32, s32, u32, u32, u64, (s64)x)
FN(narrow_u64, u32, u64, u32, u32, u64, u32, u32, u32, x)
FN(pack_u32, u32, u32, u32, u32, u32, u32, u32, u32, (x & 0xffff) | y << 16)
FN(pack_u64, u64, u32, u32, u32, u32, u32, u32, u64, (u64)x | (u64)y << 32)
FN(high_u64, u32, u64, u32, u32, u64, u32, u32, u32, x >> 32)
FN(part0_u32, u32, u32, u32, u32, u32, u32, u32, u16, x)
FN(part1_u32, u32, u32, u32, u32, u32, u32, u32, u16, x >> 16)
FN(part0_u64, u32, u64, u32, u32, u64, u32, u32, u16, x)
FN(part1_u64, u32, u64, u32, u32, u64, u32, u32, u16, x >> 16)
FN(part2_u64, u32, u64, u32, u32, u64, u32, u32, u16, x >> 32)
FN(part3_u64, u32, u64, u32, u32, u64, u32, u32, u16, x >> 48)

/* ---- comparisons ---- */

#define COMPARE(name, S, X, load, expr)                                                    \
  static u32 name(const void *av, const void *bv)                                          \
  {                                                                                        \
    const S *a = av, *b = bv;                                                              \
    u32 m = 0;                                                                             \
    for (int l = 0; l < AR_LANES; l++) {                                                   \
      const X x = load(a[l]), y = load(b[l]);                                              \
      m |= (u32)(expr) << l;                                                               \
    }                                                                                      \
    return m;                                                                              \
  }

#define AS_U16(v) ((u16)(v))
#define AS_S16(v) ((s16)(v))
#define AS_IS(v)  (v)
#define AS_S32(v) ((s32)(v))
#define AS_S64(v) ((s64)(v))

static inline float
flush(u32 u)
{
  return float_of((u & 0x7f800000) ? u : u & 0x80000000);
}

static inline float
half(u32 u)
{
  u32 mag = (u & 0x7fff) << 13;
  float f = float_of(mag) * 0x1p112f;
  f = (u & 0x7c00) == 0x7c00 ? float_of(mag | 0x7f800000) : f;
  return float_of(bits_of(f) | (u & 0x8000) << 16);
}

static inline float
half_flush(u32 u)
{
  return half((u & 0x7c00) ? u : u & 0x8000);
}

static inline float
half_high(u32 u)
{
  return half(u >> 16);
}

static inline float
half_high_flush(u32 u)
{
  return half_flush(u >> 16);
}

static inline float
brain(u32 u)
{
  return float_of(u << 16);
}

static inline float
brain_high(u32 u)
{
  return float_of(u & 0xffff0000);
}

#define ORDER(t, S, X, load)                                                               \
  COMPARE(eq_##t, S, X, load, x == y)                                                      \
  COMPARE(lt_##t, S, X, load, x < y)                                                       \
  COMPARE(le_##t, S, X, load, x <= y)                                                      \
  COMPARE(gt_##t, S, X, load, x > y)                                                       \
  COMPARE(ge_##t, S, X, load, x >= y)
#define ORDER_INT(t, S, X, load)                                                           \
  ORDER(t, S, X, load)                                                                     \
  COMPARE(ne_##t, S, X, load, x != y)
#define ORDER_FLOAT(t, S, X, load)                                                         \
  ORDER(t, S, X, load)                                                                     \
  COMPARE(ne_##t, S, X, load, (x < y) | (x > y))                                           \
  COMPARE(equ_##t, S, X, load, !((x < y) | (x > y)))                                       \
  COMPARE(neu_##t, S, X, load, !(x == y))                                                  \
  COMPARE(ltu_##t, S, X, load, !(x >= y))                                                  \
  COMPARE(leu_##t, S, X, load, !(x > y))                                                   \
  COMPARE(gtu_##t, S, X, load, !(x <= y))                                                  \
  COMPARE(geu_##t, S, X, load, !(x < y))                                                   \
  COMPARE(num_##t, S, X, load, (x == x) & (y == y))                                        \
  COMPARE(nan_##t, S, X, load, (x != x) | (y != y))

ORDER_INT(u16, u32, u16, AS_U16)
ORDER_INT(s16, u32, s16, AS_S16)
ORDER_INT(u32, u32, u32, AS_IS)
ORDER_INT(s32, u32, s32, AS_S32)
ORDER_INT(u64, u64, u64, AS_IS)
ORDER_INT(s64, u64, s64, AS_S64)
ORDER_FLOAT(f32, u32, float, float_of)
ORDER_FLOAT(f32z, u32, float, flush)
ORDER_FLOAT(f64, u64, double, double_of)
ORDER_FLOAT(f16, u32, float, half)
ORDER_FLOAT(f16z, u32, float, half_flush)
ORDER_FLOAT(bf16, u32, float, brain)
ORDER_FLOAT(f16h, u32, float, half_high)
ORDER_FLOAT(f16hz, u32, float, half_high_flush)
ORDER_FLOAT(bf16h, u32, float, brain_high)

#define ABS32(x) ((x)&0x7fffffff)
#define ABS64(x) ((x)&0x7fffffffffffffff)
#define TEST(name, expr32, expr64)                                                         \
  static u32 name##_f32(const void *av, const void *bv)                                    \
  {                                                                                        \
    const u32 *a = av, top = 0x7f800000, least_normal = 0x00800000;                        \
    u32 m = 0;                                                                             \
    (void)bv;                                                                              \
    (void)top;                                                                             \
    (void)least_normal;                                                                    \
    for (int l = 0; l < AR_LANES; l++) {                                                   \
      u32 x = ABS32(a[l]);                                                                 \
      m |= (u32)(expr32) << l;                                                             \
    }                                                                                      \
    return m;                                                                              \
  }                                                                                        \
  static u32 name##_f64(const void *av, const void *bv)                                    \
  {                                                                                        \
    const u64 *a = av, top = 0x7ff0000000000000, least_normal = 0x0010000000000000;        \
    u32 m = 0;                                                                             \
    (void)bv;                                                                              \
    (void)top;                                                                             \
    (void)least_normal;                                                                    \
    for (int l = 0; l < AR_LANES; l++) {                                                   \
      u64 x = ABS64(a[l]);                                                                 \
      m |= (u32)(expr64) << l;                                                             \
    }                                                                                      \
    return m;                                                                              \
  }
#define TEST_(name, expr) TEST(name, expr, expr)
TEST_(finite, x < top)
TEST_(infinite, x == top)
TEST_(number, x <= top)
TEST_(notanumber, x > top)
TEST_(normal, x >= least_normal && x < top)
TEST_(subnormal, x &&x < least_normal)

/* ---- selections ---- */

static void
expand(u32 *k, u32 mask)
{
  LOOP k[l] = 0 - (mask >> l & 1);
}

static void
blend32(u32 *d, const u32 *s, const u32 *k)
{
  LOOP d[l] = (d[l] & ~k[l]) | (s[l] & k[l]);
}

static void
blend64(u64 *d, const u64 *s, const u32 *k)
{
  LOOP
  {
    u64 w = (u64)(s64)(s32)k[l];
    d[l] = (d[l] & ~w) | (s[l] & w);
  }
}

static void
select32(u32 *d, const u32 *a, const u32 *b, const u32 *k)
{
  LOOP d[l] = (b[l] & ~k[l]) | (a[l] & k[l]);
}

static void
select64(u64 *d, const u64 *a, const u64 *b, const u32 *k)
{
  LOOP
  {
    u64 w = (u64)(s64)(s32)k[l];
    d[l] = (b[l] & ~w) | (a[l] & w);
  }
}

/* ---- the table ---- */

#define T_BITS(n)                                                                          \
  {                                                                                        \
    n##_u16, n##_u16, n##_u32, n##_u32, n##_u64, n##_u64                                   \
  }
#define T_INTS(n)                                                                          \
  {                                                                                        \
    n##_u16, n##_s16, n##_u32, n##_s32, n##_u64, n##_s64                                   \
  }
#define T_U32(n)                                                                           \
  {                                                                                        \
    NULL, NULL, n##_u32, NULL, NULL, NULL                                                  \
  }
#define T_S32(n)                                                                           \
  {                                                                                        \
    NULL, NULL, NULL, n##_s32, NULL, NULL                                                  \
  }
#define T_32(n)                                                                            \
  {                                                                                        \
    NULL, NULL, n##_u32, n##_s32, NULL, NULL                                               \
  }
#define T_ANY_32(n)                                                                        \
  {                                                                                        \
    NULL, NULL, n##_u32, n##_u32, NULL, NULL                                               \
  }
#define T_32_64(n)                                                                         \
  {                                                                                        \
    NULL, NULL, n##_u32, NULL, n##_u64, NULL                                               \
  }
#define T_4(n)                                                                             \
  {                                                                                        \
    NULL, NULL, n##_u32, n##_s32, n##_u64, n##_s64                                         \
  }
#define T_WIDE(n)                                                                          \
  {                                                                                        \
    n##_u16, n##_s16, n##_u32, n##_s32, NULL, NULL                                         \
  }
#define T_SIGN(n)                                                                          \
  {                                                                                        \
    NULL, n##_s16, NULL, n##_s32, NULL, n##_s64                                            \
  }

#define C_INT(n) n##_u16, n##_s16, n##_u32, n##_s32, n##_u64, n##_s64
#define C_NONE   NULL, NULL, NULL, NULL, NULL, NULL
#define C_FLOAT(n)                                                                         \
  n##_f32, n##_f32z, n##_f64, n##_f16, n##_f16z, n##_bf16, n##_f16h, n##_f16hz, n##_bf16h

const LaneCode LANES_TABLE = {
    .fn =
        {
            [L_ADD] = T_BITS(add),
            [L_ADD_SAT] = T_S32(add_sat),
            [L_SUB] = T_BITS(sub),
            [L_SUB_SAT] = T_S32(sub_sat),
            [L_MUL_LO] = T_BITS(mul_lo),
            [L_MUL_HI] = T_INTS(mul_hi),
            [L_MUL_WIDE] = T_WIDE(mul_wide),
            [L_MAD_LO] = T_BITS(mad_lo),
            [L_MAD_HI] = T_INTS(mad_hi),
            [L_MAD_WIDE] = T_WIDE(mad_wide),
            [L_MAD_HI_SAT] = T_S32(mad_hi_sat),
            [L_MUL24_LO] = T_32(mul24_lo),
            [L_MUL24_HI] = T_32(mul24_hi),
            [L_MAD24_LO] = T_32(mad24_lo),
            [L_MAD24_HI] = T_32(mad24_hi),
            [L_MAD24_HI_SAT] = T_S32(mad24_hi_sat),
            [L_DP4A_UU] = T_ANY_32(dp4a_uu),
            [L_DP4A_US] = T_ANY_32(dp4a_us),
            [L_DP4A_SU] = T_ANY_32(dp4a_su),
            [L_DP4A_SS] = T_ANY_32(dp4a_ss),
            [L_DP2A_LO_UU] = T_ANY_32(dp2a_lo_uu),
            [L_DP2A_LO_US] = T_ANY_32(dp2a_lo_us),
            [L_DP2A_LO_SU] = T_ANY_32(dp2a_lo_su),
            [L_DP2A_LO_SS] = T_ANY_32(dp2a_lo_ss),
            [L_DP2A_HI_UU] = T_ANY_32(dp2a_hi_uu),
            [L_DP2A_HI_US] = T_ANY_32(dp2a_hi_us),
            [L_DP2A_HI_SU] = T_ANY_32(dp2a_hi_su),
            [L_DP2A_HI_SS] = T_ANY_32(dp2a_hi_ss),
            [L_ADD_X2] = T_ANY_32(add_x2),
            [L_MIN_X2] = T_32(min_x2),
            [L_MAX_X2] = T_32(max_x2),
            [L_MIN_RELU_X2] = T_S32(min_relu_x2),
            [L_MAX_RELU_X2] = T_S32(max_relu_x2),
            [L_SZEXT_WRAP] = T_32(szext_wrap),
            [L_SZEXT_CLAMP] = T_32(szext_clamp),
            [L_BMSK_WRAP] = T_U32(bmsk_wrap),
            [L_BMSK_CLAMP] = T_U32(bmsk_clamp),
            [L_FNS] = T_U32(fns),
            [L_CNOT] = T_BITS(cnot),
            [L_CVT_PACK] = T_U32(cvt_pack),
            [L_DIV] = T_INTS(div),
            [L_REM] = T_INTS(rem),
            [L_SAD] = T_INTS(sad),
            [L_MIN] = T_INTS(min),
            [L_MAX] = T_INTS(max),
            [L_MIN_RELU] = T_S32(min_relu),
            [L_MAX_RELU] = T_S32(max_relu),
            [L_ABS] = T_SIGN(abs),
            [L_NEG] = T_BITS(neg),
            [L_POPC] = T_32_64(popc),
            [L_CLZ] = T_32_64(clz),
            [L_BFIND] = T_4(bfind),
            [L_BFIND_SHIFT] = T_4(bfind_shift),
            [L_BREV] = T_32_64(brev),
            [L_BFE] = T_4(bfe),
            [L_AND] = T_BITS(and),
            [L_OR] = T_BITS(or),
            [L_XOR] = T_BITS(xor),
            [L_NOT] = T_BITS(not ),
            [L_SHL] = T_BITS(shl),
            [L_SHR] = T_INTS(shr),
            [L_SHF_L_WRAP] = T_U32(shf_l_wrap),
            [L_SHF_L_CLAMP] = T_U32(shf_l_clamp),
            [L_SHF_R_WRAP] = T_U32(shf_r_wrap),
            [L_SHF_R_CLAMP] = T_U32(shf_r_clamp),
            [L_LOP3] = T_U32(lop3),
            [L_PRMT] = T_U32(prmt),
            [L_PRMT_F4E] = T_U32(prmt_f4e),
            [L_PRMT_B4E] = T_U32(prmt_b4e),
            [L_PRMT_RC8] = T_U32(prmt_rc8),
            [L_PRMT_ECL] = T_U32(prmt_ecl),
            [L_PRMT_ECR] = T_U32(prmt_ecr),
            [L_PRMT_RC16] = T_U32(prmt_rc16),
            [L_COPYSIGN] = T_32_64(copysign),
            [L_MOV] = T_BITS(mov),
            [L_SEXT8] = {sext8_u16, sext8_u16, sext8_u32, sext8_u32, NULL, NULL},
            [L_SEXT16] = {NULL, NULL, sext16_u32, sext16_u32, NULL, NULL},
            [L_WIDEN] = {NULL, NULL, widen_u32, widen_s32, NULL, NULL},
            [L_NARROW] = {NULL, NULL, NULL, NULL, narrow_u64, narrow_u64},
            [L_PACK] = T_32_64(pack),
            [L_PART0] = T_32_64(part0),
            [L_PART1] = T_32_64(part1),
            [L_PART2] = {NULL, NULL, NULL, NULL, part2_u64, NULL},
            [L_PART3] = {NULL, NULL, NULL, NULL, part3_u64, NULL},
            [L_HIGH] = {NULL, NULL, NULL, NULL, high_u64, NULL},
        },
    .compare =
        {
            [C_EQ] = {C_INT(eq), C_FLOAT(eq)},
            [C_NE] = {C_INT(ne), C_FLOAT(ne)},
            [C_LT] = {C_INT(lt), C_FLOAT(lt)},
            [C_LE] = {C_INT(le), C_FLOAT(le)},
            [C_GT] = {C_INT(gt), C_FLOAT(gt)},
            [C_GE] = {C_INT(ge), C_FLOAT(ge)},
            [C_EQU] = {C_NONE, C_FLOAT(equ)},
            [C_NEU] = {C_NONE, C_FLOAT(neu)},
            [C_LTU] = {C_NONE, C_FLOAT(ltu)},
            [C_LEU] = {C_NONE, C_FLOAT(leu)},
            [C_GTU] = {C_NONE, C_FLOAT(gtu)},
            [C_GEU] = {C_NONE, C_FLOAT(geu)},
            [C_NUM] = {C_NONE, C_FLOAT(num)},
            [C_NAN] = {C_NONE, C_FLOAT(nan)},
        },
    .test =
        {
            [TEST_FINITE] = {finite_f32, finite_f64},
            [TEST_INFINITE] = {infinite_f32, infinite_f64},
            [TEST_NUMBER] = {number_f32, number_f64},
            [TEST_NAN] = {notanumber_f32, notanumber_f64},
            [TEST_NORMAL] = {normal_f32, normal_f64},
            [TEST_SUBNORMAL] = {subnormal_f32, subnormal_f64},
        },
    .expand = expand,
    .blend32 = blend32,
    .blend64 = blend64,
    .select32 = select32,
    .select64 = select64,
};
