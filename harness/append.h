/* append.h: new keys and values for calls of ours, and states to merge: how many, and where
 * they go. */
#ifndef ATTNC_HARNESS_APPEND_H
#define ATTNC_HARNESS_APPEND_H

#include "harness/seqlens.h"

/* Has the call new keys and values? */
bool append_is_in(const CallInfo *);
/* The sizes that b, sq and sk leave open: s_new, sq where it is 0, or total_new of as many
 * at most; rotary_len; parts, 3 where it is 0, and total_q of states whose rows are packed.
 */
void append_sizes(const CallInfo *, attnc_sizes *);
/* Fills append_at, cu_seqlens_k_new and rotary_at: the first sequence has most new rows,
 * and ends with the cache.  Of states to merge some LSEs become −inf, and their outputs
 * NaN. */
void append_fill(struct Tensors *, uint64_t seed);
/* New rows of all sequences. */
int64_t append_count(const struct Tensors *);
/* Where the new rows of sequence i go in its rows of keys. */
SequenceRows append_place(const struct Tensors *, int64_t i);

#endif
