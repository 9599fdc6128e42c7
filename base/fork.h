/* fork.h: what a fork finds whole, so that a child never waits for a thread that it has
 * not.
 *
 * A lock that another thread holds while the process forks stays taken in the child for
 * ever.  So whoever has locks tells fork of them: before it they are all taken, each in the
 * order in which it is taken elsewhere, behind it given back in both processes.  A
 * condition variable remembers its waiters, who are not in the child: there it is made
 * anew.
 *
 * Work that takes locks of others, LLVM's or the loader's, passes the gate: a fork waits
 * for those inside, and who wants in waits for the fork.  Inside nobody calls back to a
 * user, nor a driver, whose own locks a fork may hold. */
#ifndef ATTNC_BASE_FORK_H
#define ATTNC_BASE_FORK_H

#include <pthread.h>

typedef enum ForkStep { FORK_PREPARE, FORK_PARENT, FORK_CHILD } ForkStep;

/* Taken in FORK_PREPARE, given back in the others. */
void fork_mutex(pthread_mutex_t *, ForkStep);
/* Made anew in FORK_CHILD. */
void fork_cond(pthread_cond_t *, ForkStep);

/* Has `on` called with each step from when the library is loaded. */
#define FORK_HANDLER(on)                                                                   \
  static void on##_prepare(void)                                                           \
  {                                                                                        \
    on(FORK_PREPARE);                                                                      \
  }                                                                                        \
  static void on##_parent(void)                                                            \
  {                                                                                        \
    on(FORK_PARENT);                                                                       \
  }                                                                                        \
  static void on##_child(void)                                                             \
  {                                                                                        \
    on(FORK_CHILD);                                                                        \
  }                                                                                        \
  __attribute__((constructor)) static void on##_register(void)                             \
  {                                                                                        \
    pthread_atfork(on##_prepare, on##_parent, on##_child);                                 \
  }                                                                                        \
  typedef int on##_is_registered /* takes the semicolon */

void fork_gate_enter(void);
void fork_gate_leave(void);

#endif
