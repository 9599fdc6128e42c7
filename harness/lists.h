/* lists.h: lists of blocks (`block_list`) for calls of ours: random ones that agree with
 * each other, whose unused entries are no blocks. */
#ifndef ATTNC_HARNESS_LISTS_H
#define ATTNC_HARNESS_LISTS_H

#include "harness/tensors.h"

/* Does the call list blocks? */
bool lists_are_in(const CallInfo *);
/* Fills the four tensors.  Of a row of blocks each block is unseen, masked or whole, in any
 * order; some rows have no block, some one kind alone, some name a block that there is not.
 * Entries behind the lengths are numbers of no block. */
void lists_fill(Tensors *, uint64_t seed);
/* Keys and values of blocks that no list of their heads names become NaN. */
void lists_kill(Tensors *);

#endif
