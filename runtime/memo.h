/* memo.h: which plan a request came to, so that asking again skips the cost model.
 *
 * A fixed number of slots, each replaced by the next request that falls into it: a memo
 * may forget, and never holds a plan, only its key. */
#ifndef ATTNC_RUNTIME_MEMO_H
#define ATTNC_RUNTIME_MEMO_H

#include "runtime/flight.h"

typedef struct Memo Memo;

Memo *memo_new(void);
void memo_free(Memo *); /* NULL is fine */
bool memo_find(Memo *, const FlightKey *request, FlightKey *plan);
void memo_put(Memo *, const FlightKey *request, const FlightKey *plan);
void memo_fork(Memo *, ForkStep);

#endif
