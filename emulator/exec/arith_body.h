/* arith_body.h: lane loops of arithmetic, included once per kind of CPU.
 *
 * f32 runs in f32 where that rounds once; everything else (f16, bf16, fma without the
 * instruction, other roundings, approximations) runs in double and rounds at the end.
 * No libm function is called but for huge arguments of sin and cos. */
#include "emulator/exec/arith_num.h"
#include "emulator/exec/arith_part.h"

/* d may be a source: element i depends on element i alone. */
#ifdef __clang__
#define LANES                                                                              \
  _Pragma("clang loop vectorize(assume_safety)") for (int i = 0; i < AR_LANES; i++)
#else
#define LANES _Pragma("GCC ivdep") for (int i = 0; i < AR_LANES; i++)
#endif

/* Where speed does not matter and vector code is not possible. */
#define EACH_LANE for (int i = 0; i < AR_LANES; i++)

#define ARGS const ArOp *op, void *d_, const void *a_, const void *b_, const void *c_
#define ROWS(T)                                                                            \
  T *d = d_;                                                                               \
  const T *a = a_, *b = b_, *c = c_;                                                       \
  const unsigned mods = op->mods;                                                          \
  (void)a, (void)b, (void)c, (void)mods

static inline uint32_t
finish32(float r, unsigned mods)
{
  uint32_t u = bits_of(r);
  u = r != r ? 0x7fffffff : u;
  if (mods & AR_SAT)
    u = r >= 1.0f ? 0x3f800000 : r > 0.0f ? u : 0;
  return num_flush32(u, num_keep32(mods));
}

#define IN32(x) float_of(num_flush32((x), keep))

#ifdef __FMA__
#define FUSED(x, y, z) __builtin_fmaf(x, y, z)
#else
#define FUSED(x, y, z) (float)num_add((double)(x) * (double)(y), (double)(z))
#endif

#define F32_OP(name, expr)                                                                 \
  static void name(ARGS)                                                                   \
  {                                                                                        \
    ROWS(uint32_t);                                                                        \
    const uint32_t keep = num_keep32(mods);                                                \
    if (mods & AR_SAT)                                                                     \
      LANES d[i] = finish32((expr), AR_SAT | (mods & AR_FTZ));                             \
    else                                                                                   \
      LANES                                                                                \
      {                                                                                    \
        float r = (expr);                                                                  \
        d[i] = num_flush32(r != r ? 0x7fffffff : bits_of(r), keep);                        \
      }                                                                                    \
  }

F32_OP(f32_add, IN32(a[i]) + IN32(b[i]))
F32_OP(f32_sub, IN32(a[i]) - IN32(b[i]))
F32_OP(f32_mul, IN32(a[i]) * IN32(b[i]))
F32_OP(f32_fma, FUSED(IN32(a[i]), IN32(b[i]), IN32(c[i])))
F32_OP(f32_div, IN32(a[i]) / IN32(b[i]))

/* Beyond 2^126 the reciprocal is a subnormal, which div.approx takes for 0. */
static inline float
div_approx(float x, float y)
{
  float mag = float_of(bits_of(y) & 0x7fffffff);
  float zero = float_of(bits_of(y) & 0x80000000);
  return mag > 0x1p126f && mag < INFINITY ? x * zero : x / y;
}
F32_OP(f32_div_approx, div_approx(IN32(a[i]), IN32(b[i])))

/* Other roundings: exact or odd in double, then once to f32. */
#define F32_DIRECTED(name, expr)                                                           \
  static void name(ARGS)                                                                   \
  {                                                                                        \
    ROWS(uint32_t);                                                                        \
    const uint32_t keep = num_keep32(mods);                                                \
    EACH_LANE                                                                              \
    {                                                                                      \
      double r = num_round((expr), num_f32, mods & AR_ROUND, false);                       \
      d[i] = finish32((float)r, mods);                                                     \
    }                                                                                      \
  }
#define D32(x) (double)IN32(x)
/* An exact zero sum of opposite terms is -0 when rounding down. */
static inline double
sum_signed(double a, double b, unsigned mods)
{
  double s = num_add(a, b);
  return s == 0 && a == -b && (mods & AR_ROUND) == AR_RM && bits_of_d(a) != bits_of_d(b)
             ? -0.0
             : s;
}
F32_DIRECTED(f32_add_directed, sum_signed(D32(a[i]), D32(b[i]), mods))
F32_DIRECTED(f32_sub_directed, sum_signed(D32(a[i]), -D32(b[i]), mods))
F32_DIRECTED(f32_mul_directed, D32(a[i]) * D32(b[i]))
F32_DIRECTED(f32_fma_directed, sum_signed(D32(a[i]) * D32(b[i]), D32(c[i]), mods))
F32_DIRECTED(f32_div_directed, D32(a[i]) / D32(b[i]))
F32_DIRECTED(f32_rcp_directed, 1.0 / D32(a[i]))
F32_DIRECTED(f32_sqrt_directed, __builtin_sqrt(D32(a[i])))

/* Two numbers a lane, the lower one first: rows of 64 of them. */
#define HALF_OF(p) ((p) ? (const uint32_t *)(p) + AR_LANES : NULL)
#define F32_PAIR(name)                                                                     \
  static void name##_x2(ARGS)                                                              \
  {                                                                                        \
    name(op, d_, a_, b_, c_);                                                              \
    name(op, (uint32_t *)d_ + AR_LANES, HALF_OF(a_), HALF_OF(b_), HALF_OF(c_));            \
  }
F32_PAIR(f32_add)
F32_PAIR(f32_sub)
F32_PAIR(f32_mul)
F32_PAIR(f32_fma)
F32_PAIR(f32_add_directed)
F32_PAIR(f32_sub_directed)
F32_PAIR(f32_mul_directed)
F32_PAIR(f32_fma_directed)

/* 2^x, |x| at most 1100: the integer part is added to the exponent in two halves, the rest
 * is the series of exp to the 7th power (relative error below 2^-27 on [-0.5, 0.5]). */
static inline double
exp2_of(double x)
{
  const double magic = 0x1.8p52;
  double n = x + magic - magic, f = (x - n) * 0.693147180559945309417;
  double p = 1 / 5040.0;
  p = p * f + 1 / 720.0;
  p = p * f + 1 / 120.0;
  p = p * f + 1 / 24.0;
  p = p * f + 1 / 6.0;
  p = p * f + 0.5;
  p = p * f + 1;
  p = p * f + 1;
  int64_t k = (int64_t)(bits_of_d(n + magic) - bits_of_d(magic));
  return p * double_of((uint64_t)(k + 1023) << 52);
}

static inline double
clamped(double x, double most)
{
  double y = x > most ? most : x;
  return y < -most ? -most : y;
}

static inline double
ex2(double x)
{
  double r = exp2_of(x == x ? clamped(x, 300) : 0);
  return x == x ? r : x;
}

/* log2 of a finite x > 0 (any f32 is a normal double): e + 2/ln2 atanh((m-1)/(m+1)) with m
 * in [0.707, 1.414]; the next term of the series is below 2^-36 of the sum. */
static inline double
log2_of(double x)
{
  uint64_t u = bits_of_d(x) + (0x3ff0000000000000 - 0x3fe6a09e00000000);
  double e = double_of((u >> 52) + 0x4330000000000000) - (0x1p52 + 1023);
  double m = double_of((u & 0xfffffffffffff) + 0x3fe6a09e00000000);
  double s = (m - 1) / (m + 1), z = s * s;
  double p = 1 / 13.0;
  p = p * z + 1 / 11.0;
  p = p * z + 1 / 9.0;
  p = p * z + 1 / 7.0;
  p = p * z + 1 / 5.0;
  p = p * z + 1 / 3.0;
  p = p * z + 1;
  return e + s * p * 2.88539008177792681472;
}

static inline double
lg2(double x)
{
  double r = log2_of(x > 0 && x < (double)INFINITY ? x : 1);
  r = x == 0 ? -(double)INFINITY : r;
  r = x == (double)INFINITY ? x : r;
  return x < 0 || x != x ? (double)NAN : r;
}

/* 1 - 2/(e^2|x| + 1); near 0 the series, relative error below 2^-40 there. */
static inline double
tanh_of(double x)
{
  double mag = num_abs(x), t = mag < 20 ? mag : 20, z = x * x;
  double far = 1 - 2 / (exp2_of(t * 2.88539008177792681472) + 1);
  double near = mag * (1 + z * (-1 / 3.0 + z * (2 / 15.0 - z * (17 / 315.0))));
  double r = mag < 0x1p-5 ? near : far;
  return x == x ? num_sign_of(r, x) : x;
}

/* sin(x + quarter·π/2) for |x| below 2^20: π/2 in two parts, the first of 33 bits. */
static inline double
sine(double x, int64_t quarter)
{
  const double magic = 0x1.8p52;
  double t = clamped(x, 0x1p20);
  double n = t * 0.636619772367581343076 + magic - magic;
  double r = (t - n * 0x1.921fb544p0) - n * 0x1.0b4611a626331p-34, z = r * r;
  double s = 1 / 6227020800.0;
  s = s * z - 1 / 39916800.0;
  s = s * z + 1 / 362880.0;
  s = s * z - 1 / 5040.0;
  s = s * z + 1 / 120.0;
  s = s * z - 1 / 6.0;
  s = r * (1 + z * s);
  double c = 1 / 479001600.0;
  c = c * z - 1 / 3628800.0;
  c = c * z + 1 / 40320.0;
  c = c * z - 1 / 720.0;
  c = c * z + 1 / 24.0;
  c = c * z - 0.5;
  c = 1 + z * c;
  int64_t q = (int64_t)(bits_of_d(n + magic) - bits_of_d(magic)) + quarter;
  double v = q & 1 ? c : s;
  return q & 2 ? -v : v;
}

#define F32_APPROX(name, expr)                                                             \
  static void name(ARGS)                                                                   \
  {                                                                                        \
    ROWS(uint32_t);                                                                        \
    const uint32_t keep = num_keep32(mods);                                                \
    LANES                                                                                  \
    {                                                                                      \
      float r = (float)(expr);                                                             \
      d[i] = num_flush32(r != r ? 0x7fffffff : bits_of(r), keep);                          \
    }                                                                                      \
  }
F32_APPROX(f32_ex2, ex2(D32(a[i])))
F32_APPROX(f32_lg2, lg2(D32(a[i])))
F32_APPROX(f32_rcp, 1.0 / D32(a[i]))
F32_APPROX(f32_sqrt, __builtin_sqrt(D32(a[i])))
F32_APPROX(f32_rsqrt, 1.0 / __builtin_sqrt(D32(a[i])))
F32_APPROX(f32_tanh, tanh_of(D32(a[i])))

/* Huge arguments, of which the ISA promises nothing, take libm. */
static void
f32_wave(uint32_t *d, const uint32_t *a, uint32_t keep, int64_t quarter)
{
  uint32_t in[AR_LANES], huge = 0;
  memcpy(in, a, sizeof in);
  LANES
  {
    double x = D32(in[i]);
    float r = (float)sine(x, quarter);
    d[i] = num_abs(x) < (double)INFINITY ? num_flush32(bits_of(r), keep) : 0x7fffffff;
    huge |= num_abs(x) > 0x1p20 && num_abs(x) < (double)INFINITY;
  }
  for (int i = 0; huge && i < AR_LANES; i++) {
    double x = (double)float_of(in[i]);
    if (num_abs(x) > 0x1p20 && num_abs(x) < (double)INFINITY)
      d[i] = bits_of((float)(quarter ? cos(x) : sin(x)));
  }
}

static void
f32_sin(ARGS)
{
  ROWS(uint32_t);
  f32_wave(d, a, num_keep32(mods), 0);
}

static void
f32_cos(ARGS)
{
  ROWS(uint32_t);
  f32_wave(d, a, num_keep32(mods), 1);
}

/* Bits in the order of their values, -0 below +0. */
static inline int32_t
order32(uint32_t u)
{
  return (int32_t)(u ^ ((uint32_t)((int32_t)u >> 31) & 0x7fffffff));
}

static inline uint32_t
pick(uint32_t x, uint32_t y, bool xnan, bool ynan, bool first, unsigned mods, uint32_t nan)
{
  uint32_t r = first ? x : y;
  r = xnan ? y : ynan ? x : r;
  bool bad = mods & AR_NAN ? xnan || ynan : xnan && ynan;
  return bad ? nan : r;
}

static inline uint32_t
least32(uint32_t x, uint32_t y, unsigned mods, bool most)
{
  uint32_t keep = num_keep32(mods), sign = 0;
  x = num_flush32(x, keep), y = num_flush32(y, keep);
  if (mods & AR_MAGNITUDE)
    x &= 0x7fffffff, y &= 0x7fffffff;
  if (mods & AR_XORSIGN) {
    sign = (x ^ y) & 0x80000000;
    x &= 0x7fffffff, y &= 0x7fffffff;
  }
  bool first = most ? order32(x) > order32(y) : order32(x) < order32(y);
  uint32_t r = pick(x, y, (x & 0x7fffffff) > 0x7f800000, (y & 0x7fffffff) > 0x7f800000,
                    first, mods, 0x7fffffff);
  return r == 0x7fffffff ? r : r | sign;
}

static void
f32_min(ARGS)
{
  ROWS(uint32_t);
  LANES d[i] = least32(a[i], b[i], mods, false);
}

static void
f32_max(ARGS)
{
  ROWS(uint32_t);
  LANES d[i] = least32(a[i], b[i], mods, true);
}

static void
f32_neg(ARGS)
{
  ROWS(uint32_t);
  LANES d[i] = num_flush32(a[i], num_keep32(mods)) ^ 0x80000000;
}

static void
f32_abs(ARGS)
{
  ROWS(uint32_t);
  LANES d[i] = num_flush32(a[i], num_keep32(mods)) & 0x7fffffff;
}

/* ---- f16 and bf16: one lane loop over low halves, a second over high ones if packed ----
 */

static inline uint32_t
flush_half(uint32_t h, uint32_t exponent, unsigned mods)
{
  return (mods & AR_FTZ) && !(h & exponent) ? h & 0x8000 : h;
}

static inline double
f16_in(uint32_t h, unsigned mods)
{
  return num_f16_value(flush_half(h & 0xffff, 0x7c00, mods));
}

static inline double
bf16_in(uint32_t h, unsigned mods)
{
  return num_bf16_value(flush_half(h & 0xffff, 0x7f80, mods));
}

static inline double
limited(double r, unsigned mods)
{
  if (mods & AR_SAT)
    r = r > 0 ? (r > 1 ? 1 : r) : 0;
  if (mods & AR_RELU)
    r = r > 0 || r != r ? r : 0;
  return r;
}

static inline uint32_t
f16_out(double r, unsigned mods)
{
  uint32_t h = num_encode_f16(limited(num_round(r, num_f16, AR_RN, false), mods));
  return flush_half(h, 0x7c00, mods);
}

static inline uint32_t
bf16_out(double r, unsigned mods)
{
  uint32_t h = num_encode_bf16(limited(num_round(r, num_bf16, AR_RN, false), mods));
  return flush_half(h, 0x7f80, mods);
}

/* expr in x, y, z (doubles) */
#define HALF_OP(name, in, out, expr)                                                       \
  static void name(ARGS)                                                                   \
  {                                                                                        \
    ROWS(uint32_t);                                                                        \
    uint32_t r[AR_LANES];                                                                  \
    const bool packed = op->to == AR_F16X2 || op->to == AR_BF16X2;                         \
    b = b ? b : a, c = c ? c : a;                                                          \
    LANES                                                                                  \
    {                                                                                      \
      double x = in(a[i], mods), y = in(b[i], mods), z = in(c[i], mods);                   \
      (void)y, (void)z;                                                                    \
      r[i] = out((expr), mods);                                                            \
    }                                                                                      \
    if (packed)                                                                            \
      LANES                                                                                \
      {                                                                                    \
        double x = in(a[i] >> 16, mods), y = in(b[i] >> 16, mods),                         \
               z = in(c[i] >> 16, mods);                                                   \
        (void)y, (void)z;                                                                  \
        r[i] |= out((expr), mods) << 16;                                                   \
      }                                                                                    \
    memcpy(d, r, sizeof r);                                                                \
  }
#define HALF_OPS(X)                                                                        \
  X(add, num_add(x, y))                                                                    \
  X(sub, num_add(x, -y))                                                                   \
  X(mul, x *y)                                                                             \
  X(fma, num_add(x *y, z))                                                                 \
  X(ex2, ex2(x))                                                                           \
  X(tanh, tanh_of(x))
#define X(name, expr)                                                                      \
  HALF_OP(f16_##name, f16_in, f16_out, expr)                                               \
  HALF_OP(bf16_##name, bf16_in, bf16_out, expr)
HALF_OPS(X)
#undef X

/* PTX ISA, fma.oob: what the tensor copies fill with where they are told to. */
enum { OOB = 0x7fff };
static void
half_fma_oob(ARGS)
{
  ROWS(uint32_t);
  uint32_t r[AR_LANES];
  const bool packed = op->to == AR_F16X2 || op->to == AR_BF16X2;
  const bool bf16 = op->to == AR_BF16 || op->to == AR_BF16X2;
  (bf16 ? bf16_fma : f16_fma)(op, r, a, b, c);
  LANES
  {
    bool low = (a[i] & 0xffff) == OOB || (b[i] & 0xffff) == OOB || (c[i] & 0xffff) == OOB;
    bool high = packed && (a[i] >> 16 == OOB || b[i] >> 16 == OOB || c[i] >> 16 == OOB);
    r[i] &= (low ? 0xffff0000 : 0xffffffff) & (high ? 0x0000ffff : 0xffffffff);
  }
  memcpy(d, r, sizeof r);
}

static inline uint32_t
least16(uint32_t x, uint32_t y, uint32_t exponent, unsigned mods, bool most)
{
  uint32_t sign = 0;
  x = flush_half(x & 0xffff, exponent, mods), y = flush_half(y & 0xffff, exponent, mods);
  if (mods & AR_XORSIGN) {
    sign = (x ^ y) & 0x8000;
    x &= 0x7fff, y &= 0x7fff;
  }
  int32_t ox = order32(x << 16), oy = order32(y << 16);
  bool first = most ? ox > oy : ox < oy;
  uint32_t r =
      pick(x, y, (x & 0x7fff) > exponent, (y & 0x7fff) > exponent, first, mods, 0x7fff);
  return r == 0x7fff ? r : r | sign;
}

static inline uint32_t
neg16(uint32_t x, uint32_t y, uint32_t exponent, unsigned mods, bool abs)
{
  (void)y;
  x = flush_half(x & 0xffff, exponent, mods);
  return abs ? x & 0x7fff : x ^ 0x8000;
}

#define HALF_BITS(name, fn, exponent, flag)                                                \
  static void name(ARGS)                                                                   \
  {                                                                                        \
    ROWS(uint32_t);                                                                        \
    const uint32_t high = op->to == AR_F16X2 || op->to == AR_BF16X2 ? 0xffff0000 : 0;      \
    b = b ? b : a;                                                                         \
    LANES d[i] = fn(a[i], b[i], exponent, mods, flag) |                                    \
                 ((fn(a[i] >> 16, b[i] >> 16, exponent, mods, flag) << 16) & high);        \
  }
HALF_BITS(f16_min, least16, 0x7c00, false)
HALF_BITS(f16_max, least16, 0x7c00, true)
HALF_BITS(bf16_min, least16, 0x7f80, false)
HALF_BITS(bf16_max, least16, 0x7f80, true)
HALF_BITS(f16_neg, neg16, 0x7c00, false)
HALF_BITS(f16_abs, neg16, 0x7c00, true)
HALF_BITS(bf16_neg, neg16, 0x7f80, false)
HALF_BITS(bf16_abs, neg16, 0x7f80, true)

/* ---- f64, to nearest even; other roundings: round64.c ---- */

#define F64_OP(name, expr)                                                                 \
  static void name(ARGS)                                                                   \
  {                                                                                        \
    ROWS(double);                                                                          \
    LANES                                                                                  \
    {                                                                                      \
      double r = (expr);                                                                   \
      d[i] = r != r ? double_of(0x7ff8000000000000) : r;                                   \
    }                                                                                      \
  }
F64_OP(f64_add, a[i] + b[i])
F64_OP(f64_sub, a[i] - b[i])
F64_OP(f64_mul, a[i] * b[i])
F64_OP(f64_fma, __builtin_fma(a[i], b[i], c[i]))
F64_OP(f64_div, a[i] / b[i])
F64_OP(f64_rcp, 1 / a[i])
F64_OP(f64_sqrt, __builtin_sqrt(a[i]))
F64_OP(f64_rsqrt, 1 / __builtin_sqrt(a[i]))
F64_OP(f64_neg, -a[i])
F64_OP(f64_abs, num_abs(a[i]))

/* PTX ISA, rcp and rsqrt.approx.ftz.f64: of the upper 32 bits alone, on both sides. */
static inline double
upper(double x)
{
  return double_of(bits_of_d(x) & 0xffffffff00000000);
}

static inline double
flushed(double x)
{
  return num_abs(x) < 0x1p-1022 ? num_sign_of(0, x) : x;
}

static inline double
rounded_upper(double x)
{
  double r = upper(double_of(bits_of_d(x) + 0x80000000));
  return num_abs(x) < (double)INFINITY ? flushed(r) : x;
}
F64_OP(f64_rcp_ftz, rounded_upper(1 / flushed(upper(a[i]))))
F64_OP(f64_rsqrt_ftz, rounded_upper(1 / __builtin_sqrt(flushed(upper(a[i])))))

static inline double
least64(double x, double y, bool most)
{
  bool minus = bits_of_d(x) >> 63; /* among zeros, -0 is the lesser */
  bool first = x == y ? minus != most : most ? x > y : x < y;
  return x != x ? y : y != y ? x : first ? x : y;
}
F64_OP(f64_min, least64(a[i], b[i], false))
F64_OP(f64_max, least64(a[i], b[i], true))

/* ---- conversions worth a loop ---- */

static inline uint32_t
bf16_of(uint32_t u, unsigned mods)
{
  uint32_t r = (u + 0x7fff + (u >> 16 & 1)) >> 16;
  if (mods & AR_SATFINITE)
    r = (r & 0x7fff) == 0x7f80 ? r - 1 : r;
  if (mods & AR_RELU)
    r = r & 0x8000 ? 0 : r;
  return (u & 0x7fffffff) > 0x7f800000 ? 0x7fff : r;
}

static inline uint32_t
f16_of(uint32_t u, unsigned mods)
{
  float mag = float_of(u & 0x7fffffff);
  uint32_t e = u >> 23 & 255;
  e = e < 113 ? 113 : e > 143 ? 143 : e;
  float big = float_of((e + 13) << 23), r = mag + big - big; /* 10 of 23 bits stay */
  uint32_t normal = (bits_of(r) - 0x38000000) >> 13;
  uint32_t tiny = (uint32_t)(int32_t)(r < 0x1p-14f ? r * 0x1p24f : 0);
  uint32_t h = r < 0x1p-14f ? tiny : normal;
  h = mag >= 65520.0f ? (mods & AR_SATFINITE ? 0x7bff : 0x7c00) : h;
  h |= u >> 16 & 0x8000;
  if (mods & AR_RELU)
    h = h & 0x8000 ? 0 : h;
  return (u & 0x7fffffff) > 0x7f800000 ? 0x7fff : h;
}

/* a goes to the upper half, b to the lower. */
#define PACK(name, of)                                                                     \
  static void name##x2(ARGS)                                                               \
  {                                                                                        \
    ROWS(uint32_t);                                                                        \
    const uint32_t keep = num_keep32(mods);                                                \
    LANES d[i] =                                                                           \
        of(num_flush32(a[i], keep), mods) << 16 | of(num_flush32(b[i], keep), mods);       \
  }                                                                                        \
  static void name##x1(ARGS)                                                               \
  {                                                                                        \
    ROWS(uint32_t);                                                                        \
    const uint32_t keep = num_keep32(mods);                                                \
    LANES d[i] = of(num_flush32(a[i], keep), mods);                                        \
  }
PACK(cvt_bf16, bf16_of)
PACK(cvt_f16, f16_of)

static void
cvt_f32_bf16(ARGS)
{
  ROWS(uint32_t);
  LANES d[i] = finish32(float_of(a[i] << 16), mods);
}

static void
cvt_f32_f16(ARGS)
{
  ROWS(uint32_t);
  LANES d[i] = finish32((float)num_f16_value(a[i] & 0xffff), mods);
}

static void
cvt_f32_s32(ARGS)
{
  ROWS(uint32_t);
  LANES d[i] = bits_of((float)(int32_t)a[i]);
}

static void
cvt_f32_u32(ARGS)
{
  ROWS(uint32_t);
  LANES d[i] = bits_of((float)(double)a[i]);
}

static void
cvt_s32_f32(ARGS)
{
  ROWS(uint32_t);
  const uint32_t keep = num_keep32(mods);
  const double magic = (mods & AR_ROUND) == AR_RN ? 0x1.8p52 : 0;
  LANES
  {
    double x = D32(a[i]) + magic - magic;
    x = x == x ? x : 0;
    x = x > 2147483647.0 ? 2147483647.0 : x < -2147483648.0 ? -2147483648.0 : x;
    d[i] = (uint32_t)(int32_t)x;
  }
}

#define AR_CODE                                                                            \
  {                                                                                        \
    .math =                                                                                \
        {                                                                                  \
            [AR_ADD] = {f32_add, f16_add, bf16_add, f64_add, f32_add_x2},                  \
            [AR_SUB] = {f32_sub, f16_sub, bf16_sub, f64_sub, f32_sub_x2},                  \
            [AR_MUL] = {f32_mul, f16_mul, bf16_mul, f64_mul, f32_mul_x2},                  \
            [AR_FMA] = {f32_fma, f16_fma, bf16_fma, f64_fma, f32_fma_x2},                  \
            [AR_MIN] = {f32_min, f16_min, bf16_min, f64_min},                              \
            [AR_MAX] = {f32_max, f16_max, bf16_max, f64_max},                              \
            [AR_DIV] = {f32_div, NULL, NULL, f64_div},                                     \
            [AR_RCP] = {f32_rcp, NULL, NULL, f64_rcp},                                     \
            [AR_SQRT] = {f32_sqrt, NULL, NULL, f64_sqrt},                                  \
            [AR_RSQRT] = {f32_rsqrt, NULL, NULL, f64_rsqrt},                               \
            [AR_EX2] = {f32_ex2, f16_ex2, bf16_ex2, NULL},                                 \
            [AR_LG2] = {f32_lg2, NULL, NULL, NULL},                                        \
            [AR_SIN] = {f32_sin, NULL, NULL, NULL},                                        \
            [AR_COS] = {f32_cos, NULL, NULL, NULL},                                        \
            [AR_TANH] = {f32_tanh, f16_tanh, bf16_tanh, NULL},                             \
            [AR_NEG] = {f32_neg, f16_neg, bf16_neg, f64_neg},                              \
            [AR_ABS] = {f32_abs, f16_abs, bf16_abs, f64_abs},                              \
        },                                                                                 \
    .div_approx = f32_div_approx, .fma_oob = half_fma_oob, .rcp_ftz64 = f64_rcp_ftz,       \
    .rsqrt_ftz64 = f64_rsqrt_ftz,                                                          \
    .directed =                                                                            \
        {                                                                                  \
            {[AR_ADD] = f32_add_directed,                                                  \
             [AR_SUB] = f32_sub_directed,                                                  \
             [AR_MUL] = f32_mul_directed,                                                  \
             [AR_FMA] = f32_fma_directed,                                                  \
             [AR_DIV] = f32_div_directed,                                                  \
             [AR_RCP] = f32_rcp_directed,                                                  \
             [AR_SQRT] = f32_sqrt_directed},                                               \
            {[AR_ADD] = f32_add_directed_x2,                                               \
             [AR_SUB] = f32_sub_directed_x2,                                               \
             [AR_MUL] = f32_mul_directed_x2,                                               \
             [AR_FMA] = f32_fma_directed_x2},                                              \
        },                                                                                 \
    .quick = {                                                                             \
        [QUICK_BF16X2] = cvt_bf16x2,     [QUICK_F16X2] = cvt_f16x2,                        \
        [QUICK_BF16] = cvt_bf16x1,       [QUICK_F16] = cvt_f16x1,                          \
        [QUICK_F32_BF16] = cvt_f32_bf16, [QUICK_F32_F16] = cvt_f32_f16,                    \
        [QUICK_F32_S32] = cvt_f32_s32,   [QUICK_F32_U32] = cvt_f32_u32,                    \
        [QUICK_S32_F32] = cvt_s32_f32,                                                     \
    },                                                                                     \
  }
