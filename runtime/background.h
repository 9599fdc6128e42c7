/* background.h: work that is done on threads of our own while the caller goes on.
 *
 * Work has a key; asking twice for the same key queues it once.  When it has failed, the
 * next who polls gets the error, and the one after that may start it anew.  A few threads
 * start when there is work and end with background_free, which waits for what runs and
 * drops what has not begun. */
#ifndef ATTNC_RUNTIME_BEHIND_H
#define ATTNC_RUNTIME_BEHIND_H

#include "runtime/flight.h"

enum { BACKGROUND_THREADS = 4 };

typedef struct BackgroundTask {
  attnc_status (*run)(void *user, attnc_error *);
  void (*drop)(void *user); /* called once, after run or instead of it */
  void *user;
} BackgroundTask;

typedef enum BackgroundState {
  BACKGROUND_IDLE,
  BACKGROUND_PENDING,
  BACKGROUND_FAILED
} BackgroundState;

typedef struct Background Background;

Background *background_new(void);
void background_free(Background *);
/* FAILED fills the error and forgets it. */
BackgroundState background_poll(Background *, const FlightKey *, attnc_error *);
/* Takes over `work`, whatever comes of it. */
attnc_status background_start(Background *, const FlightKey *, BackgroundTask work,
                              attnc_error *);
/* In a child there are no threads; what they ran is leaked, half done as it is. */
void background_fork(Background *, ForkStep);

#endif
