/* cascade.h: attention over a prefix that all sequences share (`shared_prefix`), in three
 * steps: of each sequence over its own keys; of all queries at once, as rows of one
 * sequence, over the prefix, which is so read once for the batch; and both states of each
 * row made one by their LSEs (merge.h).
 *
 * The first two are a template's own attention of another call: that of each sequence's own
 * keys has its outputs in workspace; that of the prefix has one batch, the keys of the
 * prefix for k and v, and no mask.  Queries that are not packed are gathered ahead of both
 * into rows that are (append.h).  Outputs in workspace have o's type, as those that op
 * merge reads. */
#ifndef ATTNC_TEMPLATES_CASCADE_H
#define ATTNC_TEMPLATES_CASCADE_H

#include "compiler/template.h"

/* What stands ahead of attention, once for all steps. */
typedef struct Ahead {
  struct Cascade *steps; /* NULL: there is one */
  bool done;
} Ahead;
/* Where a template has the entries that attention reads from: append_ahead, unless it has
 * been. */
void attend_ahead(Build *, const Call *host, Ahead *);
/* The template's `attend`, which says attend_ahead before the first entry that reads
 * queries: of a spec without shared_prefix of the caller's call alone. */
void cascade_emit(Build *, const Call *host, const Sched *);

/* All queries, of the host or of an entry; and a region of so many rows of each head with
 * rows of each batch, where they are not packed. */
Idx cascade_row_count(const Call *);
const Tensor *cascade_rows(Tb *, const Call *, const Tensor *);

#endif
