/* random.h: seeded normal numbers for tensors.  The same seed gives the same numbers on
 * every machine whose libm rounds log, sin and cos alike.
 *
 * Source: xoshiro256** of Blackman and Vigna, seeded by splitmix64; Box-Muller. */
#ifndef ATTNC_HARNESS_RANDOM_H
#define ATTNC_HARNESS_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct Random {
  uint64_t s[4];
  double spare;
  bool has_spare;
} Random;

void random_seed(Random *, uint64_t seed);
uint64_t random_bits(Random *);
double random_normal(Random *); /* mean 0, variance 1 */

/* Round to nearest even, as the hardware does. */
uint16_t float_to_bf16(float);
uint16_t float_to_f16(float);
float bf16_to_float(uint16_t);
float f16_to_float(uint16_t);

#endif
