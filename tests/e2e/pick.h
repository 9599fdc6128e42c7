/* pick.h: which legal schedule a case runs with.
 *
 * Cases that name only a template get, in the order of the list, the legal schedule which
 * was used least so far (equals by the case's seed); a template that does not take the
 * problem gives way to one that does.  So the list as a whole uses every schedule that is
 * legal anywhere in it, and the choice does not depend on shards or jobs. */
#ifndef ATTNC_TESTS_PICK_H
#define ATTNC_TESTS_PICK_H

#include "tests/e2e/trial.h"

enum { PICK_MAX = 1024 };

typedef struct Pick {
  Trial used[PICK_MAX]; /* only the schedule's fields */
  int times[PICK_MAX];
  int n;
} Pick;

/* Fills in the schedule of *t.  false: no schedule is legal, or the library failed. */
bool pick_schedule(Pick *, Trial *t, char *why, size_t n);
int pick_unused(const Pick *);
/* The i-th schedule as text, "fwd_mma:128x64s2w8q". */
void pick_text(const Pick *, int i, char *text, size_t n);

#endif
