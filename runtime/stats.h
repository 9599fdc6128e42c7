/* stats.h: what a context counts.
 *
 * The counters are an attnc_stats, the struct that callers are given, of which each is
 * added to atomically and by itself: no lock, and no moment at which all agree.  Whoever
 * counts has a pointer to it: the context, its cache, its plans' makers. */
#ifndef ATTNC_RUNTIME_STATS_H
#define ATTNC_RUNTIME_STATS_H

#include <attnc/attnc.h>

#include <jansson.h>

#define stats_add(stats, name, by)                                                         \
  ((void)__atomic_add_fetch(&(stats)->name, (uint64_t)(by), __ATOMIC_RELAXED))
/* Adds what has passed since `start`, of clock_seconds. */
#define stats_since(stats, name, start)                                                    \
  stats_add(stats, name, (clock_seconds() - (start)) * 1e6)

/* Each counter as it is now. */
attnc_stats stats_read(const attnc_stats *);
/* An object of all counters of a context by name. */
json_t *stats_json(const attnc_context *);

#endif
