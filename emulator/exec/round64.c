#include "emulator/exec/round64.h"

#include <string.h>

__extension__ typedef unsigned __int128 u128;

enum { FRACTION = 52, BIAS = 1023, LEAST = -1074, TOP = 124 };
#define NAN64  0x7ff8000000000000u
#define INF64  0x7ff0000000000000u
#define SIGN64 0x8000000000000000u

/* (-1)^minus × mag × 2^exp */
typedef struct Wide {
  bool minus;
  int exp;
  u128 mag;
} Wide;

static int
top_bit(u128 x)
{
  uint64_t high = (uint64_t)(x >> 64), low = (uint64_t)x;
  return high ? 127 - __builtin_clzll(high) : 63 - __builtin_clzll(low);
}

/* What falls out is kept in the last bit. */
static u128
shift_right(u128 x, int n)
{
  if (n >= 128)
    return x != 0;
  return n ? x >> n | ((x << (128 - n)) != 0) : x;
}

static bool
is_nan(uint64_t u)
{
  return (u & ~SIGN64) > INF64;
}

static bool
is_inf(uint64_t u)
{
  return (u & ~SIGN64) == INF64;
}

static Wide
unpack(uint64_t u)
{
  int e = (int)(u >> FRACTION & 0x7ff);
  uint64_t m = u & (((uint64_t)1 << FRACTION) - 1);
  return (Wide){u >> 63, e ? e - BIAS - FRACTION : LEAST,
                e ? m | (uint64_t)1 << FRACTION : m};
}

static uint64_t
signed_bits(bool minus, uint64_t u)
{
  return minus ? u | SIGN64 : u;
}

/* Away from zero, by what is left of the magnitude below the last bit: of 2, 3 bits. */
static bool
goes_up(bool minus, bool odd, uint64_t rest, unsigned mode)
{
  switch (mode) {
  case AR_RZ:
    return false;
  case AR_RM:
    return minus && rest;
  case AR_RP:
    return !minus && rest;
  default:
    return rest > 2 || (rest == 2 && odd);
  }
}

static uint64_t
pack(Wide w, unsigned mode)
{
  if (!w.mag)
    return signed_bits(w.minus, 0);
  int e = w.exp + top_bit(w.mag) - FRACTION; /* of the last bit of the result */
  e = e < LEAST ? LEAST : e;
  /* two bits more than the result has, and whether anything is below */
  int drop = e - w.exp - 2;
  u128 m = drop > 0 ? shift_right(w.mag, drop) : w.mag << -drop;
  uint64_t kept = (uint64_t)(m >> 2), rest = (uint64_t)(m & 3);
  kept += goes_up(w.minus, kept & 1, rest, mode);
  if (kept >> (FRACTION + 1)) {
    kept >>= 1;
    e++;
  }
  bool normal = kept >> FRACTION;
  int field = normal ? e + FRACTION + BIAS : 0;
  if (field >= 0x7ff) {
    bool infinite = mode == AR_RN || mode == (w.minus ? AR_RM : AR_RP);
    return signed_bits(w.minus, infinite ? INF64 : INF64 - 1);
  }
  uint64_t fraction = kept & (((uint64_t)1 << FRACTION) - 1);
  return signed_bits(w.minus, (uint64_t)field << FRACTION | fraction);
}

/* The larger one's top bit goes to TOP: what the smaller one loses is below all that a
 * difference can lift into the result, since one that cancels is at most a bit away. */
static Wide
sum(Wide a, Wide b, unsigned mode)
{
  if (!a.mag && !b.mag)
    return (Wide){a.minus == b.minus ? a.minus : mode == AR_RM, 0, 0};
  if (!a.mag || (b.mag && a.exp + top_bit(a.mag) < b.exp + top_bit(b.mag))) {
    Wide other = a;
    a = b;
    b = other;
  }
  int up = TOP - top_bit(a.mag);
  a.mag <<= up;
  a.exp -= up;
  int down = a.exp - b.exp;
  b.mag = !b.mag ? 0 : down >= 0 ? shift_right(b.mag, down) : b.mag << -down;
  bool swap = b.mag > a.mag;
  Wide r = {swap ? b.minus : a.minus, a.exp,
            a.minus == b.minus ? a.mag + b.mag
            : swap             ? b.mag - a.mag
                               : a.mag - b.mag};
  if (!r.mag)
    r.minus = mode == AR_RM;
  return r;
}

static uint64_t
add(uint64_t a, uint64_t b, unsigned mode)
{
  if (is_nan(a) || is_nan(b) || (is_inf(a) && is_inf(b) && a != b))
    return NAN64;
  if (is_inf(a) || is_inf(b))
    return is_inf(a) ? a : b;
  return pack(sum(unpack(a), unpack(b), mode), mode);
}

static Wide
product(uint64_t a, uint64_t b)
{
  Wide x = unpack(a), y = unpack(b);
  return (Wide){x.minus != y.minus, x.exp + y.exp, x.mag * y.mag};
}

/* a × b has no finite value: *r is it. */
static bool
product_is_special(uint64_t a, uint64_t b, uint64_t *r)
{
  if (!is_nan(a) && !is_nan(b) && !is_inf(a) && !is_inf(b))
    return false;
  bool zero = !(a & ~SIGN64) || !(b & ~SIGN64);
  *r = is_nan(a) || is_nan(b) || zero ? NAN64 : signed_bits((a ^ b) >> 63, INF64);
  return true;
}

static uint64_t
multiply(uint64_t a, uint64_t b, unsigned mode)
{
  uint64_t r;
  return product_is_special(a, b, &r) ? r : pack(product(a, b), mode);
}

static uint64_t
fused(uint64_t a, uint64_t b, uint64_t c, unsigned mode)
{
  uint64_t r;
  if (product_is_special(a, b, &r))
    return add(r, c, mode);
  if (is_nan(c) || is_inf(c))
    return is_nan(c) ? NAN64 : c;
  return pack(sum(product(a, b), unpack(c), mode), mode);
}

static uint64_t
divide(uint64_t a, uint64_t b, unsigned mode)
{
  bool minus = (a ^ b) >> 63, zero = !(a & ~SIGN64), by_zero = !(b & ~SIGN64);
  if (is_nan(a) || is_nan(b) || (zero && by_zero) || (is_inf(a) && is_inf(b)))
    return NAN64;
  if (zero || is_inf(b))
    return signed_bits(minus, 0);
  if (by_zero || is_inf(a))
    return signed_bits(minus, INF64);
  Wide x = unpack(a), y = unpack(b);
  int up = TOP - top_bit(x.mag);
  u128 n = x.mag << up, q = n / y.mag;
  return pack((Wide){minus, x.exp - up - y.exp, q | (q * y.mag != n)}, mode);
}

/* Bit by bit: the largest r with r × r <= n. */
static u128
root(u128 n)
{
  u128 r = 0;
  for (u128 bit = (u128)1 << 62; bit; bit >>= 1)
    if ((r | bit) * (r | bit) <= n)
      r |= bit;
  return r;
}

static uint64_t
square_root(uint64_t a, unsigned mode)
{
  if (!(a & ~SIGN64))
    return a;
  if (is_nan(a) || a >> 63)
    return NAN64;
  if (is_inf(a))
    return a;
  Wide x = unpack(a);
  int up = TOP - top_bit(x.mag);
  up -= (x.exp - up) & 1;
  u128 n = x.mag << up, r = root(n);
  return pack((Wide){false, (x.exp - up) / 2 - 1, r << 1 | (r * r != n)}, mode);
}

uint64_t
round64_int(bool minus, uint64_t mag, unsigned mode)
{
  return pack((Wide){minus, 0, mag}, mode);
}

/* d may be a source. */
#define ROUND64(name, expr)                                                                \
  static void round64_##name(const ArOp *op, void *d_, const void *a_, const void *b_,     \
                             const void *c_)                                               \
  {                                                                                        \
    uint64_t *d = d_;                                                                      \
    const uint64_t *a = a_, *b = b_, *c = c_;                                              \
    const unsigned mode = op->mods & AR_ROUND;                                             \
    (void)b, (void)c;                                                                      \
    for (int i = 0; i < AR_LANES; i++)                                                     \
      d[i] = (expr);                                                                       \
  }
ROUND64(add, add(a[i], b[i], mode))
ROUND64(sub, add(a[i], is_nan(b[i]) ? b[i] : b[i] ^ SIGN64, mode))
ROUND64(mul, multiply(a[i], b[i], mode))
ROUND64(fma, fused(a[i], b[i], c[i], mode))
ROUND64(div, divide(a[i], b[i], mode))
ROUND64(rcp, divide(0x3ff0000000000000u, a[i], mode))
ROUND64(sqrt, square_root(a[i], mode))

ArFn *
round64_find(ArMath m)
{
  static ArFn *const all[AR_MATHS] = {
      [AR_ADD] = round64_add,   [AR_SUB] = round64_sub, [AR_MUL] = round64_mul,
      [AR_FMA] = round64_fma,   [AR_DIV] = round64_div, [AR_RCP] = round64_rcp,
      [AR_SQRT] = round64_sqrt,
  };
  return all[m];
}
