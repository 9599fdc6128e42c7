/* pool.h: host threads that help with launches, kept from one launch to the next: made when
 * first wanted, asleep between launches, ended when the library is unloaded.
 *
 * A child of fork has none, and makes its own; whoever forks does so while no work runs
 * (device.c waits for that).  They take no signals of the program. */
#ifndef ATTNC_EMULATOR_POOL_H
#define ATTNC_EMULATOR_POOL_H

#include "base/fork.h"

enum { POOL_MOST = 63 };

typedef void PoolWork(void *arg);
/* Calls work(arg) here, and at the same time on up to `helpers` other threads, as many as
 * come before the call here has returned; returns when all of them have.  Helpers that
 * cannot be started are done without. */
void pool_run(int helpers, PoolWork *, void *arg);
void pool_fork(ForkStep);

#endif
