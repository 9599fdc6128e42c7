/* pick.h: which legal schedule a case runs with.
 *
 * Cases that name only a template get, in the order of the list, the legal schedule which
 * was used least so far, of those the one that is legal in the fewest cases.  So the list
 * as a whole uses every schedule that is legal anywhere in it, and the choice does not
 * depend on shards or jobs.  A template that does not take the problem gives way to one
 * that does.  fwd_wgmma has thousands of schedules: each case has one drawn, by its seed.
 */
#ifndef ATTNC_TESTS_PICK_H
#define ATTNC_TESTS_PICK_H

#include "tests/e2e/trial.h"

enum { PICK_MAX = 1024 };

typedef struct Pick {
  Trial used[PICK_MAX];                 /* only the template and the schedule */
  int times[PICK_MAX], legal[PICK_MAX]; /* cases that use it, cases that could */
  int n;
} Pick;

/* Fills in the schedules of the n cases.  false: no schedule of a case is legal, or the
 * library failed; *bad is the case. */
bool pick_all(Pick *, Trial *, int n, int *bad, char *why, size_t size);
/* The same for one case. */
bool pick_schedule(Trial *, char *why, size_t size);
int pick_unused(const Pick *);
/* The i-th schedule as text, "fwd_mma:128x64s2w8q". */
void pick_text(const Pick *, int i, char *text, size_t n);

#endif
