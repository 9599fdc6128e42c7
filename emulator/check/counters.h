/* counters.h: words of device memory that kernels count in, of all devices, until somebody
 * looks at them: what atomic additions, exchanges and comparisons of whole numbers change.
 * Thread-safe. */
#ifndef ATTNC_EMULATOR_COUNTERS_H
#define ATTNC_EMULATOR_COUNTERS_H

#include "base/fork.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Counter {
  uint64_t address;
  int bytes, line; /* of the instruction that was there first */
  char kernel[64];
} Counter;

void counters_note(const Counter *); /* beyond some thousand words: forgotten */
/* Takes one out for which `wanted` holds; false: there is none. */
bool counters_take(bool (*wanted)(const Counter *, void *user), void *user, Counter *);
void counters_fork(ForkStep);

#endif
