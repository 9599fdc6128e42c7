/* sequence.h: the sequences of a batch, each with its own number of queries and keys.
 *
 * A block of work belongs to one of them, and sees the call as if it were of that sequence
 * alone: `call` has the sequence's own sq and sk, the mask and the expressions with them,
 * and tables that begin with its own rows.  Views of q, k, v, o and LSE count rows from the
 * sequence's first one and end with its last: what is behind is another sequence's, or
 * nobody's, is zeros on the way in and not written on the way out.
 *
 * Where no field of the spec gives sequences lengths of their own, all of it is what the
 * call has, and nothing is computed. */
#ifndef ATTNC_TEMPLATES_SEQUENCE_H
#define ATTNC_TEMPLATES_SEQUENCE_H

#include "compiler/template.h"

typedef struct Seq {
  const Call *call;
  Idx q_row, k_row;  /* its first row in q, o and LSE, in k and v */
  Idx k_first;       /* that of its own rows, which may begin with some that are no keys */
  Idx k_pad;         /* so many rows before its first key are its own, and none */
  Idx q_b, k_b;      /* its batch in them, of k and v in pages its row of their table */
  bool q_own, k_own; /* has it an end of its own in them? */
} Seq;

Seq sequence(Tb *, const Call *, Idx b);
/* n rows of q, o or LSE, of k or v, from the sequence's row `row` on. */
View seq_queries(const Seq *, const Tensor *, Idx h, Idx row, int n);
View seq_keys(const Seq *, const Tensor *, Idx hk, Idx row, int n);
/* The same as TMA brings them: what is behind the end of a sequence comes as it is, but of
 * rows in pages, where no page may be. */
View seq_keys_by_tma(const Seq *, const Tensor *, Idx hk, Idx row, int n);
/* Are k and v in pages; are those of v the same? */
bool seq_has_pages(const Call *);
bool seq_shares_pages(const Call *);

/* Do sequences stand one behind the other in q, in k? */
bool seq_packs_queries(const Call *);
/* May a sequence have fewer queries than the call's sq? */
bool seq_has_queries(const Call *);

#endif
