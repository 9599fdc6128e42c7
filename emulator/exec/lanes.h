/* lanes.h: integer operations, comparisons, selections on rows of 32 lanes.
 *
 * Functions have the shape of arith.h's: all lanes are computed, d may be a source, 16-bit
 * values lie zero-extended in 32-bit lanes.  Unlike there every operand points to a row.
 * What PTX leaves to the machine is fixed here: a division by zero gives all ones, the
 * remainder the dividend. */
#ifndef ATTNC_EMULATOR_LANES_H
#define ATTNC_EMULATOR_LANES_H

#include "emulator/exec/arith.h"
#include "emulator/ptx/ptx.h"

typedef enum LaneOp {
#define LANE(id) L_##id,
#include "emulator/exec/lanes.def"
#undef LANE
  LANE_OPS
} LaneOp;

/* Ordered comparisons, then those that are true when an operand is NaN. */
typedef enum Compare {
  C_EQ,
  C_NE,
  C_LT,
  C_LE,
  C_GT,
  C_GE,
  C_EQU,
  C_NEU,
  C_LTU,
  C_LEU,
  C_GTU,
  C_GEU,
  C_NUM,
  C_NAN,
  COMPARES
} Compare;

typedef enum CompareType {
  CT_U16,
  CT_S16,
  CT_U32,
  CT_S32,
  CT_U64,
  CT_S64,
  CT_F32,
  CT_F32_FTZ,
  CT_F64,
  CT_F16,
  CT_F16_FTZ,
  CT_BF16,
  CT_F16_HIGH, /* the upper half of a pair */
  CT_F16_HIGH_FTZ,
  CT_BF16_HIGH,
  COMPARE_TYPES
} CompareType;

typedef enum Test {
  TEST_FINITE,
  TEST_INFINITE,
  TEST_NUMBER,
  TEST_NAN,
  TEST_NORMAL,
  TEST_SUBNORMAL,
  TESTS
} Test;

typedef uint32_t LaneCompare(const void *a, const void *b); /* one bit a lane */

enum { LANE_TYPES = 6 }; /* u16 s16 u32 s32 u64 s64 */

typedef struct LaneCode LaneCode;
struct LaneCode {
  ArFn *fn[LANE_OPS][LANE_TYPES]; /* NULL: there is none */
  LaneCompare *compare[COMPARES][COMPARE_TYPES];
  LaneCompare *test[TESTS][2];                /* f32, f64 */
  void (*expand)(uint32_t *k, uint32_t mask); /* 0 or all ones a lane */
  void (*blend32)(uint32_t *d, const uint32_t *s, const uint32_t *k);
  void (*blend64)(uint64_t *d, const uint64_t *s, const uint32_t *k);
  /* d = k ? a : b */
  void (*select32)(uint32_t *d, const uint32_t *a, const uint32_t *b, const uint32_t *k);
  void (*select64)(uint64_t *d, const uint64_t *a, const uint64_t *b, const uint32_t *k);
};

extern const LaneCode lanes_base, lanes_avx2, lanes_avx512;
const LaneCode *lanes_code(void); /* of simd_current() */
ArFn *lanes_find(LaneOp, Type);   /* NULL: no such form */

#endif
