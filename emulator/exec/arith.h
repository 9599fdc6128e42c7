/* arith.h: arithmetic of one warp instruction, 32 lanes at a time.
 *
 * ar_math and ar_cvt look a PTX form up once, at decode, and fill an ArOp; running it is
 * op.fn(&op, d, a, b, c).  A form that PTX does not have gives false: the decoder then
 * refuses the instruction.  All 32 lanes are computed, the caller blends under its mask.
 * Lanes are uint32_t[32] for types of up to 32 bits and uint64_t[32] for 64-bit ones; an 8-
 * or 16-bit value lies in the low bits, the rest is ignored on the way in and zero on the
 * way out (PTX lets a narrow signed value be read from a wider register; that extension is
 * the caller's).  d may be one of the sources.  Operands an operation lacks may be NULL.
 * IEEE operations are exact in the rounding named; a NaN result is 0x7fffffff (f16, bf16:
 * 0x7fff; f64: 0x7ff8…0) as on the chip.  Approximations are our own polynomials in double,
 * within the bounds of the PTX ISA and not the bits of any chip, equal on every build and
 * CPU (simd.h chooses the code when an ArOp is filled). */
#ifndef ATTNC_EMULATOR_ARITH_H
#define ATTNC_EMULATOR_ARITH_H

#include <stdbool.h>
#include <stdint.h>

enum { AR_LANES = 32 };

typedef enum ArType {
  AR_U8,
  AR_S8,
  AR_U16,
  AR_S16,
  AR_U32,
  AR_S32,
  AR_U64,
  AR_S64,
  AR_F16,
  AR_BF16,
  AR_F16X2,
  AR_BF16X2,
  AR_E4M3, /* this and the next four: packed alone */
  AR_E5M2,
  AR_E2M3,
  AR_E3M2,
  AR_E2M1,
  AR_UE8M0,
  AR_E4M3X2,
  AR_E5M2X2,
  AR_E2M3X2, /* six bits in the low part of eight */
  AR_E3M2X2,
  AR_E2M1X2,
  AR_UE8M0X2,
  AR_TF32,
  AR_F32,
  AR_F32X2,
  AR_F64,
  AR_TYPES
} ArType;

typedef enum ArMath {
  AR_ADD,
  AR_SUB,
  AR_MUL,
  AR_FMA,
  AR_MIN,
  AR_MAX,
  AR_DIV, /* mods: a rounding, or AR_APPROX (| AR_FULL) */
  AR_RCP, /* this and the next two: a rounding or AR_APPROX */
  AR_SQRT,
  AR_RSQRT,
  AR_EX2, /* this and the rest: always approximate */
  AR_LG2,
  AR_SIN,
  AR_COS,
  AR_TANH,
  AR_NEG,
  AR_ABS,
  AR_MATHS
} ArMath;

/* One rounding, or-ed with flags.  Integer roundings (.rni …) are the same four modes. */
enum {
  AR_RN = 0,
  AR_RZ = 1,
  AR_RM = 2,
  AR_RP = 3,
  AR_RNA = 4, /* nearest, ties away: tf32 only */
  AR_RS = 5,  /* up if random bits carry out of what is cut off: cvt of f32 to pairs */
  AR_ROUND = 7,
  AR_FTZ = 8,
  AR_SAT = 16,       /* float: to [0, 1], NaN to 0 */
  AR_RELU = 32,      /* negative and -0 to 0 */
  AR_SATFINITE = 64, /* overflow to the largest finite value */
  AR_NAN = 128,      /* min, max: a NaN operand gives NaN */
  AR_XORSIGN = 256,  /* min, max: .xorsign.abs */
  AR_APPROX = 512,
  AR_FULL = 1024,      /* div.full, with AR_APPROX */
  AR_INTEGRAL = 2048,  /* cvt.rni/rzi/rmi/rpi from a float type to itself */
  AR_OOB = 4096,       /* fma: an operand of all ones but the sign gives 0 */
  AR_MAGNITUDE = 8192, /* min, max of f32: of absolute values */
};

typedef struct ArOp ArOp;
typedef void ArFn(const ArOp *, void *d, const void *a, const void *b, const void *c);

struct ArOp {
  ArFn *fn;
  uint8_t to, from; /* ArType */
  uint16_t mods;
};

/* d = op(a, b, c) in one type. */
bool ar_math(ArOp *, ArMath, ArType, unsigned mods);
/* d = cvt.to.from a.  A pair from AR_F32 is the packed form: a is the PTX ISA's first
 * source and goes to the upper half, b to the lower; a pair from a pair has both in a.
 * Integer to integer saturates with AR_SAT and truncates without.  AR_RS: c has the random
 * bits: of f16x2 and bf16x2 its upper half for a and its lower for b, of others its lower
 * half for both. */
bool ar_cvt(ArOp *, ArType to, ArType from, unsigned mods);
int ar_bytes(ArType); /* 1 2 4 8 */

/* One value, for constants and tests: exact double to the type's bits, and back. */
uint64_t ar_from_double(ArType, double, unsigned mods);
double ar_to_double(ArType, uint64_t bits);

#endif
