/* mask_kit.h: masks of every kind, a problem of each, and what they mean, pair by pair. */
#ifndef ATTNC_TESTS_MASK_KIT_H
#define ATTNC_TESTS_MASK_KIT_H

#include "compiler/spec/spec.h"

typedef struct KitMask {
  const char *name, *yaml; /* the lines behind head_dim */
  bool exact;              /* intervals find every EMPTY and FULL tile of 64 keys or 32 */
  bool one_range;          /* a row's keys are one range, and its limits are known */
} KitMask;
extern const KitMask kit_masks[];
extern const int kit_masks_n;

Spec *kit_spec(const KitMask *); /* fails the test where it is refused */

/* The contents of every declared table, each axis as long as the problem has it; i32
 * elements that do not decrease along the last axis where it is `monotone`. */
typedef struct KitTables {
  ExprTable at[SPEC_TABLES];
  int64_t count[SPEC_TABLES]; /* elements */
} KitTables;
KitTables kit_tables(const Spec *, int64_t b, int64_t h, int64_t sq, int64_t sk,
                     uint64_t seed, Arena *);

/* Does query q of (b, h, hk) see key k? */
typedef struct KitCall {
  const Spec *spec;
  const KitTables *tables;
  int32_t b, h, hk, sq, sk;
  ExprValue *values; /* scratch, by kit_call */
} KitCall;
KitCall kit_call(const Spec *, const KitTables *, int64_t sq, int64_t sk, Arena *);
bool kit_sees(const KitCall *, int64_t q, int64_t k);
/* Of a box, bounds inclusive: 0 EMPTY, 1 PARTIAL, 2 FULL. */
int kit_class(const KitCall *, ExprRange q, ExprRange k);

#endif
