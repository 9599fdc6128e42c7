/* pages.h: the host's memory behind device memory.  Of large blocks a page is the host's
 * when something is written there, and not before. */
#ifndef ATTNC_EMULATOR_PAGES_H
#define ATTNC_EMULATOR_PAGES_H

#include <stdbool.h>
#include <stdint.h>

/* At a multiple of 512 bytes; filled with zeros, or else with 0xff, which is NaN whatever
 * the type.  NULL: out of memory. */
uint8_t *pages_new(uint64_t bytes, bool zeros);
void pages_free(uint8_t *, uint64_t bytes);

#endif
