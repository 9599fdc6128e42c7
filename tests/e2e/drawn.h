/* drawn.h: what `seqlens` and `block_list` put into a call: lengths and lists that agree
 * with each other, drawn by the harness of `attnc run`; the sizes that follow from them,
 * and the rows that no launch may read for a product or write. */
#ifndef ATTNC_TESTS_DRAWN_H
#define ATTNC_TESTS_DRAWN_H

#include <attnc/attnc.h>

#include <stdbool.h>

typedef struct Drawn Drawn;

/* Of a call whose sizes are b, h, hk, sq and sk; those that these leave open are set.
 * *drawn NULL: the spec has neither.  false: the harness refuses. */
bool drawn_new(const attnc_spec *, unsigned seed, attnc_sizes *, Drawn **drawn);
/* The sizes alone. */
bool drawn_sizes(const attnc_spec *, attnc_sizes *);
void drawn_free(Drawn *);
/* Is it a slot whose elements are drawn?  The element at these indices of its axes. */
bool drawn_has(const Drawn *, int slot);
int32_t drawn_at(const Drawn *, int slot, const int64_t at[4]);
/* Is a row of q, k, v, o or lse of no sequence, or of a block that no list of its head
 * names?  Indices of batches (0 where rows are packed), heads, rows. */
bool drawn_dead(const Drawn *, int slot, const int64_t at[3]);

#endif
