#include "emulator/exec/cvt.h"

#include "emulator/exec/arith_num.h"
#include "emulator/exec/round64.h"

#include <math.h>

typedef struct TypeInfo {
  uint8_t bytes, bits; /* of a lane; of an integer */
  bool is_float, is_signed;
} TypeInfo;

static const TypeInfo types[AR_TYPES] = {
    [AR_U8] = {4, 8, false, false},    [AR_S8] = {4, 8, false, true},
    [AR_U16] = {4, 16, false, false},  [AR_S16] = {4, 16, false, true},
    [AR_U32] = {4, 32, false, false},  [AR_S32] = {4, 32, false, true},
    [AR_U64] = {8, 64, false, false},  [AR_S64] = {8, 64, false, true},
    [AR_F16] = {4, 16, true, true},    [AR_BF16] = {4, 16, true, true},
    [AR_F16X2] = {4, 32, true, true},  [AR_BF16X2] = {4, 32, true, true},
    [AR_E4M3] = {4, 8, true, true},    [AR_E5M2] = {4, 8, true, true},
    [AR_E2M3] = {4, 8, true, true},    [AR_E3M2] = {4, 8, true, true},
    [AR_E2M1] = {4, 4, true, true},    [AR_UE8M0] = {4, 8, true, false},
    [AR_E4M3X2] = {4, 16, true, true}, [AR_E5M2X2] = {4, 16, true, true},
    [AR_E2M3X2] = {4, 16, true, true}, [AR_E3M2X2] = {4, 16, true, true},
    [AR_E2M1X2] = {4, 8, true, true},  [AR_UE8M0X2] = {4, 16, true, false},
    [AR_TF32] = {4, 32, true, true},   [AR_F32] = {4, 32, true, true},
    [AR_F32X2] = {8, 64, true, true},  [AR_F64] = {8, 64, true, true},
};

bool
cvt_is_float(ArType t)
{
  return types[t].is_float;
}

bool
cvt_is_small(ArType t)
{
  return t >= AR_E4M3 && t <= AR_UE8M0X2;
}

int
ar_bytes(ArType t)
{
  return types[t].bits / 8;
}

static uint64_t
get(ArType t, const void *row, int lane)
{
  return types[t].bytes == 8 ? ((const uint64_t *)row)[lane]
                             : ((const uint32_t *)row)[lane];
}

static void
set(ArType t, void *row, int lane, uint64_t v)
{
  if (types[t].bytes == 8)
    ((uint64_t *)row)[lane] = v;
  else
    ((uint32_t *)row)[lane] = (uint32_t)v;
}

static uint64_t
low_bits(int n)
{
  return n == 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1;
}

static uint64_t
extended(ArType t, uint64_t v)
{
  int n = types[t].bits;
  v &= low_bits(n);
  bool minus = types[t].is_signed && v >> (n - 1) & 1;
  return minus ? v | ~low_bits(n) : v;
}

static uint64_t
int_to_int(const ArOp *op, uint64_t v)
{
  const TypeInfo *to = &types[op->to];
  if (op->mods & AR_SAT) {
    bool minus = types[op->from].is_signed && v >> 63;
    uint64_t most = low_bits(to->bits - to->is_signed);
    if (minus)
      v = !to->is_signed ? 0 : (int64_t)v < -(int64_t)most - 1 ? ~most : v;
    else
      v = v > most ? most : v;
  }
  return v & low_bits(to->bits);
}

/* Up to 64 bits into 53, the rest ored into the last. */
static double
odd_double(uint64_t mag)
{
  if (mag >> 53) {
    uint64_t rest = mag & 0x7ff;
    mag = (mag >> 11 | (rest != 0)) << 11;
  }
  return (double)mag;
}

/* Exact or odd, but for f64: rounded. */
static double
int_to_double(const ArOp *op, uint64_t v)
{
  bool minus = types[op->from].is_signed && v >> 63;
  uint64_t mag = minus ? 0 - v : v;
  if (op->to == AR_F64)
    return double_of(round64_int(minus, mag, op->mods & AR_ROUND));
  return minus ? -odd_double(mag) : odd_double(mag);
}

/* OCP 8-bit Floating Point Specification 1.0 and Microscaling Formats 1.0.  E5M2 has an
 * infinity; E4M3 has none, and of its largest exponent all but one value; those of 4 and 6
 * bits have neither that nor NaN, in whose place PTX has the largest value. */
typedef struct Small {
  NumFormat format;
  uint8_t sign, nan; /* bit; encoding */
  double most;
} Small;

static const Small smalls[AR_TYPES] = {
    [AR_E4M3] = {{3, -6, 8}, 7, 0x7f, 448}, [AR_E5M2] = {{2, -14, 15}, 7, 0x7f, 57344},
    [AR_E2M3] = {{3, 0, 2}, 5, 0x1f, 7.5},  [AR_E3M2] = {{2, -2, 4}, 5, 0x1f, 28},
    [AR_E2M1] = {{1, 0, 2}, 3, 0x07, 6},
};

static double
small_value(ArType t, uint32_t u)
{
  const Small *s = &smalls[t];
  int fraction = s->format.fraction, least = s->format.least;
  if (t == AR_E5M2)
    return num_f16_value(u << 8);
  if (t == AR_E4M3 && (u & 127) == 127)
    return (double)NAN;
  int one = 1 << fraction, m = (int)u & (one - 1);
  int e = (int)(u & (((uint32_t)1 << s->sign) - 1)) >> fraction;
  double mag = e ? ldexp(one + m, e + least - 1 - fraction) : ldexp(m, least - fraction);
  return u >> s->sign & 1 ? -mag : mag;
}

static uint32_t
encode_small(ArType t, double r)
{
  const Small *s = &smalls[t];
  double mag = num_abs(r);
  int fraction = s->format.fraction, least = s->format.least, e;
  if (r != r)
    return s->nan;
  mag = mag > s->most ? s->most : mag;
  frexp(mag, &e);
  e = mag == 0 || e - 1 < least ? least : e - 1;
  uint32_t units =
      (uint32_t)ldexp(mag, fraction - e); /* with the leading one of normal values */
  return (uint32_t)signbit(r) << s->sign | (((uint32_t)(e - least) << fraction) + units);
}

/* OCP Microscaling Formats 1.0, E8M0: powers of two from 2^-127 to 2^127, 255 is NaN. */
static uint32_t
encode_scale(double x, unsigned mods)
{
  double mag = num_abs(x);
  int e;
  if (x != x)
    return 255;
  if (mag <= 0x1p-127)
    return 0;
  double m = frexp(mag, &e); /* mag = m × 2^e, m from 0.5 on */
  e += 126 + (m > 0.5 && (mods & AR_ROUND) == AR_RP);
  if (mag == (double)INFINITY || e > 254)
    return mods & AR_SATFINITE ? 254 : 255;
  return (uint32_t)e;
}

static double
float_to_double(ArType from, uint64_t v, unsigned mods)
{
  switch (from) {
  case AR_E4M3:
  case AR_E5M2:
  case AR_E2M3:
  case AR_E3M2:
  case AR_E2M1:
    return small_value(from, (uint32_t)v);
  case AR_UE8M0:
    return v == 255 ? (double)NAN : ldexp(1, (int)v - 127);
  case AR_F16:
    return num_f16_value((uint32_t)v & 0xffff);
  case AR_BF16:
    return num_bf16_value((uint32_t)v & 0xffff);
  case AR_F64:
    return double_of(v);
  default:
    return (double)float_of(num_flush32((uint32_t)v, num_keep32(mods)));
  }
}

static double
integral(double x, unsigned mode)
{
  switch (mode) {
  case AR_RZ:
    return trunc(x);
  case AR_RM:
    return floor(x);
  case AR_RP:
    return ceil(x);
  default:
    return num_abs(x) < 0x1p52 ? num_sign_of(num_abs(x) + 0x1p52 - 0x1p52, x) : x;
  }
}

static uint64_t
float_to_int(const ArOp *op, double x)
{
  const TypeInfo *to = &types[op->to];
  uint64_t most = low_bits(to->bits - to->is_signed);
  if (x != x)
    return 0;
  x = integral(x, op->mods & AR_ROUND);
  double limit = ldexp(1, to->bits - to->is_signed);
  if (x >= limit)
    return most;
  if (x < 0 && !to->is_signed)
    return 0;
  if (x < -limit)
    return (most + 1) & low_bits(to->bits);
  return (x < 0 ? (uint64_t)(int64_t)x : (uint64_t)x) & low_bits(to->bits);
}

static uint64_t
encode(ArType to, double r)
{
  switch (to) {
  case AR_E4M3:
  case AR_E5M2:
  case AR_E2M3:
  case AR_E3M2:
  case AR_E2M1:
    return encode_small(to, r);
  case AR_F16:
  case AR_F16X2:
    return num_encode_f16(r);
  case AR_BF16:
  case AR_BF16X2:
    return num_encode_bf16(r);
  case AR_F64:
    return r != r ? 0x7ff8000000000000 : bits_of_d(r);
  default:
    return num_encode_f32(r);
  }
}

static const NumFormat *
format_of(ArType to)
{
  switch (to) {
  case AR_F16:
  case AR_F16X2:
    return &num_f16;
  case AR_BF16:
  case AR_BF16X2:
    return &num_bf16;
  case AR_TF32:
    return &num_tf32;
  case AR_F32:
    return &num_f32;
  default:
    return cvt_is_small(to) ? &smalls[to].format : NULL;
  }
}

/* PTX ISA, cvt.rs: away from zero where random bits, added to what is cut off, carry. */
static double
stochastic(double x, const NumFormat *f, uint32_t random, int bits)
{
  double mag = num_abs(x);
  int64_t e = (int64_t)(bits_of_d(mag) >> 52) - 1023;
  if (!(mag < (double)INFINITY))
    return x;
  e = e < f->least ? f->least : e;
  double lsb = num_pow2((int)e - f->fraction), down = trunc(mag / lsb);
  bool up = mag / lsb - down + ldexp(random, -bits) >= 1;
  return num_sign_of((down + up) * lsb, x);
}

static uint64_t
double_to_float(const ArOp *op, double x)
{
  if (op->to == AR_UE8M0)
    return encode_scale(x, op->mods);
  if (op->mods & AR_INTEGRAL)
    x = integral(x, op->mods & AR_ROUND);
  const NumFormat *f = format_of(op->to);
  double r = f ? num_round(x, *f, op->mods & AR_ROUND, op->mods & AR_SATFINITE) : x;
  if (op->mods & AR_SAT)
    r = r > 0 ? (r > 1 ? 1 : r) : 0;
  if (op->mods & AR_RELU)
    r = r > 0 || r != r ? r : 0;
  uint64_t u = encode(op->to, r);
  if (op->to == AR_F32 || op->to == AR_TF32)
    u = num_flush32((uint32_t)u, num_keep32(op->mods));
  return u;
}

static uint64_t
one(const ArOp *op, uint64_t v)
{
  bool from_float = types[op->from].is_float, to_float = types[op->to].is_float;
  if (!from_float)
    v = extended(op->from, v);
  if (!from_float && !to_float)
    return int_to_int(op, v);
  double x = from_float ? float_to_double(op->from, v, op->mods) : int_to_double(op, v);
  return to_float ? double_to_float(op, x) : float_to_int(op, x);
}

/* Of what a pair is one. */
static const uint8_t halves[AR_TYPES] = {
    [AR_F16X2] = AR_F16,   [AR_BF16X2] = AR_BF16,  [AR_E4M3X2] = AR_E4M3,
    [AR_E5M2X2] = AR_E5M2, [AR_E2M3X2] = AR_E2M3,  [AR_E3M2X2] = AR_E3M2,
    [AR_E2M1X2] = AR_E2M1, [AR_UE8M0X2] = AR_UE8M0};

static void
get_pair(const ArOp *op, const void *a, const void *b, int lane, uint64_t v[2])
{
  int bits = types[op->from].bits / 2;
  v[1] = get(op->from, a, lane);
  v[0] = b && !halves[op->from] ? get(op->from, b, lane) : v[1] & low_bits(bits);
  v[1] = halves[op->from] ? v[1] >> bits & low_bits(bits) : v[1];
}

/* f32, rounded by random bits: of f16x2 13 bits for each. */
static uint64_t
one_random(const ArOp *half, uint64_t v, uint32_t random)
{
  int bits = half->to == AR_F16 ? 13 : 16;
  ArOp near = *half;
  near.mods &= (uint16_t)~AR_ROUND; /* AR_RN: what is left to do is exact, or overflows */
  double x = stochastic(float_to_double(half->from, v, half->mods), format_of(half->to),
                        random & (uint32_t)low_bits(bits), bits);
  return double_to_float(&near, x);
}

static uint64_t
pair(const ArOp *half, const uint64_t v[2], const uint32_t *random)
{
  int bits = types[half->to].bits;
  if ((half->mods & AR_ROUND) != AR_RS)
    return one(half, v[1]) << bits | one(half, v[0]);
  bool shared = cvt_is_small(half->to);
  return one_random(half, v[1], shared ? *random : *random >> 16) << bits |
         one_random(half, v[0], *random);
}

void
cvt_any(const ArOp *op, void *d, const void *a, const void *b, const void *c)
{
  ArOp half = *op;
  bool packed = halves[op->to];
  uint64_t r[AR_LANES], v[2];
  half.to = packed ? halves[op->to] : op->to;
  half.from = halves[op->from] ? halves[op->from] : op->from;
  for (int i = 0; i < AR_LANES; i++) {
    if (!packed) {
      r[i] = one(op, get(op->from, a, i));
      continue;
    }
    get_pair(op, a, b, i, v);
    r[i] = pair(&half, v, c ? (const uint32_t *)c + i : NULL);
  }
  for (int i = 0; i < AR_LANES; i++)
    set(op->to, d, i, r[i]);
}

uint64_t
ar_from_double(ArType t, double x, unsigned mods)
{
  ArOp op = {.to = (uint8_t)t, .from = AR_F64, .mods = (uint16_t)mods};
  return types[t].is_float ? double_to_float(&op, x) : float_to_int(&op, x);
}

double
ar_to_double(ArType t, uint64_t bits)
{
  ArOp op = {.to = AR_F64, .from = (uint8_t)t};
  return types[t].is_float ? float_to_double(t, bits, 0)
                           : int_to_double(&op, extended(t, bits));
}
