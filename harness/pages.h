/* pages.h: pages of k and v for calls of ours: how many, and what the tables say. */
#ifndef ATTNC_HARNESS_PAGES_H
#define ATTNC_HARNESS_PAGES_H

#include "harness/tensors.h"

/* Are k and v pages? */
bool pages_are_in(const CallInfo *);
/* max_pages and pages, and page_size, 16 where it is not known, for b sequences of up to sk
 * rows: the table is one longer than they need, and there are more pages than are used. */
void pages_sizes(const CallInfo *, attnc_sizes *);
/* Fills the tables: pages in random order, every other sequence's first one that of the
 * first sequence.  Where a sequence has no rows (seqlens_rows) there is what no page is:
 * -1, 2^31 - 1, the number of pages and others. */
void pages_fill(Tensors *, uint64_t seed);
/* The page that holds row `row` of a sequence, by the table that k or v has. */
int64_t pages_id(const Tensors *, int slot, int64_t table_row, int64_t row);

/* The page that has a row of the prefix that all sequences share. */
int64_t pages_prefix_id(const struct Tensors *, int64_t row);

#endif
