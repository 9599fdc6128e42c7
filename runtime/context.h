/* context.h: what a process keeps: the driver, the caches, the tables.
 *
 * Settings are read from the options and the environment once, when the context is made,
 * and are constant afterwards.  The driver is opened at first need, so that a context
 * serves to look after the cache and the tuning tables on a machine without a device. */
#ifndef ATTNC_RUNTIME_CONTEXT_H
#define ATTNC_RUNTIME_CONTEXT_H

#include "base/arena.h"
#include "runtime/assembler.h"
#include "runtime/background.h"
#include "runtime/cache.h"
#include "runtime/cc.h"
#include "runtime/drv.h"
#include "runtime/flight.h"
#include "runtime/jit.h"
#include "runtime/launches.h"
#include "runtime/memo.h"
#include "runtime/miss.h"
#include "runtime/stats.h"
#include "runtime/trace.h"

#include <pthread.h>

/* Values kept in memory: plans hold modules on a device, kernels about 100 KB each. */
enum { KEPT_PLANS = 512, KEPT_KERNELS = 64 };

typedef struct Text {
  struct Text *next;
  char *json;
} Text;

struct attnc_context {
  Arena *arena; /* of the settings; constant once made */
  const char *libcuda, *target, *load_ptx, *dump_dir;
  const char *tune_dir, *tune_readonly, *tune_table; /* as TuneConfig has them */
  const Device *elsewhere;              /* of attnc_options.device; NULL: none, … */
  const Driver *elsewhere_drv;          /* … of which nothing is called */
  const attnc_compile_options *compile; /* NULL: none */
  const char *cc_program;               /* as attnc_options.cc; NULL: in the process */
  CcLimits cc_limits;
  const Assembler *assemblers[ASSEMBLERS]; /* the first that is there makes cubins */
  int n_assemblers;
  bool dumps; /* entries are not read: a hit has none */
  void (*log)(void *user, int level, const char *message);
  void *log_user;
  int pid;
  Cache *cache;
  Flights *plans, *kernels;
  Cc *cc; /* NULL: kernels are compiled here */
  Background *background;
  Memo *memo;
  TuneTable *table;
  attnc_stats stats; /* atomic, each; but launches, which the plans count: */
  Launches *launches;
  Trace *trace; /* NULL: none */

  struct attnc_context *next; /* of all, for forks */

  pthread_mutex_t lock; /* of what follows */
  const Driver *drv;    /* NULL: not opened yet */
  Text *texts;          /* of attnc_context_json; newest first */
  Misses misses;
};

/* The driver, opened at the first call. */
attnc_status context_driver(attnc_context *, const Driver **, attnc_error *);
void context_log(const attnc_context *, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
