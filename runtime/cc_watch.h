/* cc_watch.h: a thread that sleeps until a process that waits for work has ended, so that
 * somebody waits for it: until then it would be a zombie of the host's, perhaps for days.
 */
#ifndef ATTNC_RUNTIME_CC_WATCH_H
#define ATTNC_RUNTIME_CC_WATCH_H

#include "base/fork.h"

#include <stddef.h>

typedef struct CcWatch CcWatch;

/* Called by the thread, which has no lock of its own. */
typedef struct CcWatched {
  size_t (*list)(void *user, int *fds, size_t room); /* the sockets of those that wait */
  void (*ended)(void *user);                         /* one of them hung up */
  void *user;
} CcWatched;

/* NULL: there are no means for it. */
CcWatch *cc_watch_new(const CcWatched *);
void cc_watch_free(CcWatch *); /* nothing is called any more; NULL is fine */
/* The list is another one. */
void cc_watch_again(CcWatch *);
/* In a child there is no such thread; all that is left to do with it is to free it. */
void cc_watch_fork(CcWatch *, ForkStep);

#endif
