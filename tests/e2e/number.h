/* number.h: 16-bit floats and reproducible random numbers for tests, written apart from the
 * code under test.  Conversions round to nearest even and keep NaN and infinity. */
#ifndef ATTNC_TESTS_NUMBER_H
#define ATTNC_TESTS_NUMBER_H

#include <stdint.h>

uint16_t bf16_of(float);
uint16_t f16_of(float);
float f32_of_bf16(uint16_t);
float f32_of_f16(uint16_t);

typedef struct Random {
  uint64_t state;
} Random;
uint64_t number_bits(Random *);              /* SplitMix64 */
uint32_t number_below(Random *, uint32_t n); /* 0 … n-1 */
float number_normal(Random *);               /* mean 0, variance 1 (Box and Muller) */

#endif
