/* shadow_lore.h: up to when the warps of the CTAs of a grid are known, as a value.
 *
 * A Lore holds a time for each warp of each CTA, 0 for those of which nothing is known.  It
 * never changes and is shared and counted, so that a flag, a barrier and the warps that
 * learnt from it have one.  It is a tree of 16 branches a level over the CTAs' numbers:
 * what two have in common they share, and a join looks at what is not. A CTA whose warps
 * are all known up to the same time takes one number.  Thread-safe. */
#ifndef ATTNC_EMULATOR_SHADOW_LORE_H
#define ATTNC_EMULATOR_SHADOW_LORE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct Lore Lore; /* NULL: nothing is known of anybody */

enum { LORE_LEVELS_MAX = 8 };
/* Levels of a tree of so many CTAs; 0 CTAs: as many as there can be. */
int lore_levels(uint64_t ctas);
Lore *lore_keep(Lore *);
void lore_drop(Lore *);
uint32_t lore_time(const Lore *, int levels, uint32_t cta, int warp);
/* *to knows what `from` knows besides; false: out of memory, and it does not. */
bool lore_join(Lore **to, Lore *from);
/* And of that CTA's warps up to time[0 … n). */
bool lore_tell(Lore **to, int levels, uint32_t cta, const uint32_t *time, int n);

#endif
