/* launches.h: how many launches the plans of a context have made.
 *
 * A plan may outlive its context and is launched by any thread, so that the count is a
 * thing with owners of its own, and is made of several, each on a line of the cache for
 * itself: threads that launch different plans do not wait for each other's.  A launch adds
 * one, relaxed.  Whoever has none has a NULL, and passes that. */
#ifndef ATTNC_RUNTIME_LAUNCHES_H
#define ATTNC_RUNTIME_LAUNCHES_H

#include <stdint.h>

typedef struct Launches Launches;

Launches *launches_new(void); /* NULL: out of memory */
Launches *launches_retain(Launches *);
void launches_release(Launches *);
/* Where the plan of that serial counts. */
uint64_t *launches_of(Launches *, uint64_t serial);
uint64_t launches_read(const Launches *);

#endif
