/* behind.h: work that is done on threads of our own while the caller goes on.
 *
 * Work has a key; asking twice for the same key queues it once.  When it has failed, the
 * next who polls gets the error, and the one after that may start it anew.  A few threads
 * start when there is work and end with behind_free, which waits for what runs and drops
 * what has not begun. */
#ifndef ATTNC_RUNTIME_BEHIND_H
#define ATTNC_RUNTIME_BEHIND_H

#include "runtime/flight.h"

enum { BEHIND_THREADS = 4 };

typedef struct Work {
  attnc_status (*run)(void *user, attnc_error *);
  void (*drop)(void *user); /* called once, after run or instead of it */
  void *user;
} Work;

typedef enum BehindState { BEHIND_IDLE, BEHIND_PENDING, BEHIND_FAILED } BehindState;

typedef struct Behind Behind;

Behind *behind_new(void);
void behind_free(Behind *);
/* FAILED fills the error and forgets it. */
BehindState behind_poll(Behind *, const FlightKey *, attnc_error *);
/* Takes over `work`, whatever comes of it. */
attnc_status behind_start(Behind *, const FlightKey *, Work work, attnc_error *);
/* In a child there are no threads; what they ran is leaked, half done as it is. */
void behind_fork(Behind *, ForkStep);

#endif
