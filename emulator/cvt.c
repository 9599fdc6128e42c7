#include "emulator/cvt.h"

#include "emulator/arith_num.h"

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
    [AR_E4M3X2] = {4, 16, true, true}, [AR_E5M2X2] = {4, 16, true, true},
    [AR_TF32] = {4, 32, true, true},   [AR_F32] = {4, 32, true, true},
    [AR_F64] = {8, 64, true, true},
};

bool
cvt_is_float(ArType t)
{
  return types[t].is_float;
}

bool
cvt_is_f8(ArType t)
{
  return t >= AR_E4M3 && t <= AR_E5M2X2;
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

static double
int_to_double(ArType from, uint64_t v)
{
  if (types[from].is_signed && v >> 63)
    return -odd_double(0 - v);
  return odd_double(v);
}

/* OCP 8-bit Floating Point Specification 1.0: E5M2 is the upper half of an f16; E4M3 has no
 * infinity, and of its largest exponent all but one value. */
static double
f8_value(ArType t, uint32_t u)
{
  if (t == AR_E5M2)
    return num_f16_value(u << 8);
  uint32_t e = u >> 3 & 15, m = u & 7;
  double mag = (u & 127) == 127 ? (double)NAN
               : e              ? ldexp(8 + m, (int)e - 10)
                                : ldexp(m, -9);
  return u >> 7 & 1 ? -mag : mag;
}

static uint32_t
encode_f8(ArType t, double r)
{
  double most = t == AR_E4M3 ? 448 : 57344, mag = num_abs(r);
  int fraction = t == AR_E4M3 ? 3 : 2, least = t == AR_E4M3 ? -6 : -14, e;
  if (r != r)
    return 0x7f;
  mag = mag > most ? most : mag;
  frexp(mag, &e);
  e = mag == 0 || e - 1 < least ? least : e - 1;
  uint32_t units =
      (uint32_t)ldexp(mag, fraction - e); /* with the leading one of normal values */
  return (uint32_t)signbit(r) << 7 | (((uint32_t)(e - least) << fraction) + units);
}

static double
float_to_double(ArType from, uint64_t v, unsigned mods)
{
  switch (from) {
  case AR_E4M3:
  case AR_E5M2:
    return f8_value(from, (uint32_t)v & 0xff);
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
    return encode_f8(to, r);
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

static double
rounded(ArType to, double x, unsigned mods)
{
  unsigned mode = mods & AR_ROUND;
  bool finite = mods & AR_SATFINITE;
  switch (to) {
  case AR_E4M3:
    return num_round(x, (NumFormat){3, -6, 8}, mode, finite);
  case AR_E5M2:
    return num_round(x, (NumFormat){2, -14, 15}, mode, finite);
  case AR_F16:
  case AR_F16X2:
    return num_round(x, num_f16, mode, finite);
  case AR_BF16:
  case AR_BF16X2:
    return num_round(x, num_bf16, mode, finite);
  case AR_TF32:
    return num_round(x, num_tf32, mode, finite);
  case AR_F32:
    return num_round(x, num_f32, mode, finite);
  default:
    return x;
  }
}

static uint64_t
double_to_float(const ArOp *op, double x)
{
  if (op->mods & AR_INTEGRAL)
    x = integral(x, op->mods & AR_ROUND);
  double r = rounded(op->to, x, op->mods);
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
  double x =
      from_float ? float_to_double(op->from, v, op->mods) : int_to_double(op->from, v);
  return to_float ? double_to_float(op, x) : float_to_int(op, x);
}

/* Of what a pair is one. */
static const uint8_t halves[AR_TYPES] = {[AR_F16X2] = AR_F16,
                                         [AR_BF16X2] = AR_BF16,
                                         [AR_E4M3X2] = AR_E4M3,
                                         [AR_E5M2X2] = AR_E5M2};

static void
get_pair(const ArOp *op, const void *a, const void *b, int lane, uint64_t v[2])
{
  int bits = types[op->from].bits / 2;
  v[1] = get(op->from, a, lane);
  v[0] = b && !halves[op->from] ? get(op->from, b, lane) : v[1] & low_bits(bits);
  v[1] = halves[op->from] ? v[1] >> bits & low_bits(bits) : v[1];
}

void
cvt_any(const ArOp *op, void *d, const void *a, const void *b, const void *c)
{
  (void)c;
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
    r[i] = one(&half, v[1]) << types[half.to].bits | one(&half, v[0]);
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
  return types[t].is_float ? float_to_double(t, bits, 0)
                           : int_to_double(t, extended(t, bits));
}
