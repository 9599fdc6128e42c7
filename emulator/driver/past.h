/* past.h: what is known to be over when work of a stream or a graph starts.
 *
 * Everything happens when it is asked for; which of it might have happened at once, or the
 * other way round, is judged by sets of launch numbers.  Of work that is behind other work
 * (by a stream, an event, an edge) its Past is what that lets it know; of work that has
 * been done its Past is what those behind it learn.  Both have three sets, since a
 * programmatic launch may start when the one ahead of it has triggered. */
#ifndef ATTNC_EMULATOR_PAST_H
#define ATTNC_EMULATOR_PAST_H

#include "emulator/check/shadow.h"

typedef struct Past {
  ShadowSet start; /* over when it starts; once done: when those behind it may start */
  ShadowSet wait;  /* over behind its griddepcontrol.wait; once done: behind theirs */
  ShadowSet all;   /* ahead of it, over or not; once done: over for who waits for its end */
} Past;

void set_add(ShadowSet *, uint64_t number);
void set_join(ShadowSet *, const ShadowSet *);
/* The set, or nothing where it is of an earlier epoch. */
ShadowSet set_at(const ShadowSet *, uint64_t epoch);

/* Work is behind what has been done: behind its end, or by a programmatic dependency. */
void past_join(Past *, const Past *done, bool programmatic);
/* What those behind work learn.  waited, early: all CTAs of a kernel have executed
 * griddepcontrol.wait, and launch_dependents before it. */
Past past_done(const Past *ahead, uint64_t number, bool waited, bool early);
/* Of those issued, who may still run when work with that Past runs, at its start and behind
 * its wait; false: nobody. */
bool past_late(const Past *ahead, uint64_t number, const ShadowSet *issued,
               const ShadowSet *over, ShadowSet late[2]);

#endif
