/* seqlens.h: sequences of lengths of their own for calls of ours: which lengths, what the
 * tensors that say them hold, and the rows that are of no sequence. */
#ifndef ATTNC_HARNESS_SEQLENS_H
#define ATTNC_HARNESS_SEQLENS_H

#include "harness/signature.h"

struct Tensors; /* harness/tensors.h */

/* Is it a slot of a tensor that `seqlens` may name? */
bool seqlens_have(int slot);
/* Have the call's sequences lengths, or pages, of their own: are there sizes which
 * seqlens_sizes says? */
bool seqlens_leave_open(const CallInfo *);
/* Have they lengths of their own? */
bool seqlens_are_in(const CallInfo *);
/* Lengths as text: "3,0,17" queries and as many keys; "3/20,0/5" queries and keys. */
attnc_status seqlens_check(const CallInfo *, const char *text, attnc_error *);
/* b, sq and sk of the text. */
void seqlens_shape(const char *text, attnc_sizes *);
/* Queries and keys of a sequence of the text, in the mean, 1 at least. */
void seqlens_means(const char *text, int64_t *q, int64_t *k);
/* The sizes that b, sq and sk leave open: total_q, total_k, bc, and those of pages. Lengths
 * are those of the text, which fit; NULL: drawn from the sizes alone, the first the
 * longest. */
void seqlens_sizes(const CallInfo *, const char *text, attnc_sizes *);
/* The text must fit b, sq and sk, and the sizes that these leave open be 0, or what
 * seqlens_sizes says, which they become. */
attnc_status seqlens_fit(const CallInfo *, const char *text, attnc_sizes *, attnc_error *);
/* Fills the tensors of `seqlens` of a call of such sizes; text: t->seqlens. */
void seqlens_fill(struct Tensors *);
/* Of all sequences, with `seqlens` or without. */
int64_t seqlens_queries(const struct Tensors *);
int64_t seqlens_keys(const struct Tensors *);
/* The rows of keys of sequence i: its batch of k and v, or row of the table of their pages,
 * and rows [from, to) of those. */
typedef struct SequenceRows {
  int64_t batch, from, to;
} SequenceRows;
SequenceRows seqlens_rows(const struct Tensors *, int64_t i);
/* Rows of q, k, v, do and dlse that are of no sequence become NaN. */
void seqlens_kill(struct Tensors *);
/* Rows of outputs that are of no sequence hold the poison still; ATTNC_ERR_CHECK names one
 * that does not. */
attnc_status seqlens_unwritten(const struct Tensors *, attnc_error *);

#endif
