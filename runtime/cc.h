/* cc.h: compiling in another process, attnc-cc, so that whatever LLVM does happens there.
 *
 * A compile is a pure function: what is asked goes out as JSON, the bytes of the entry come
 * back, with the notes of jit.h.  A pool of at most `workers` processes serves all threads
 * of a context; one is kept warm, and is replaced after so many compiles, or when it has
 * grown.  Each limits its own memory and time and dies of what is beyond.
 *
 * A worker that is killed while it waits is waited for at once, by a thread that does
 * nothing else (cc_watch.h).
 *
 * What becomes of a compile whose worker does not answer:
 *   it was gone before it took the request        another worker is asked
 *   it was killed from outside (SIGKILL, SIGTERM)  another worker is asked, a few times
 *   it died of the compile, and was not new        a new worker is asked: what was left of
 *                                                  earlier compiles may have been the cause
 *   it died of the compile, new, or was too late   that is the answer
 * The last is an error with the command that repeats it, and is remembered for a while
 * (cc_failed.h), so that whoever asks again is not made to wait for the same.
 *
 * There is no way back to compiling here: a host that asked for another process has its
 * reasons. */
#ifndef ATTNC_RUNTIME_CC_H
#define ATTNC_RUNTIME_CC_H

#include "base/fork.h"
#include "runtime/cache.h"
#include "runtime/jit.h"
#include "runtime/stats.h"

/* Limits by name, as $ATTNC_CC_LIMITS has them: name, default, least, what is limited.
 * Memory is in bytes and may be written as 4G. */
#define CC_LIMIT_TABLE(X)                                                                  \
  X(seconds, 120, 1, "of a compile, by the clock and of the processor")                    \
  X(memory, 4294967296, 67108864, "bytes of address space of a worker")                    \
  X(compiles, 500, 1, "of a worker, before a new one takes its place")                     \
  X(workers, 2, 1, "at once")
typedef struct CcLimits {
#define X(name, initial, least, what) uint64_t name;
  CC_LIMIT_TABLE(X)
#undef X
} CcLimits;
/* "seconds=30,memory=2G"; what is not named has its default.  ATTNC_ERR_USAGE. */
attnc_status cc_limits_read(const char *text, CcLimits *, attnc_error *);

typedef struct CcConfig {
  const char *program; /* "1": attnc-cc of the installation; else a path; lives as long */
  CcLimits limits;
  const Cache *cache; /* where requests that failed are kept; outlives the Cc */
  void (*log)(void *user, int level, const char *message); /* NULL: silent */
  void *log_user;
  attnc_stats *stats; /* its rows cc_… are counted */
} CcConfig;

typedef struct Cc Cc;

/* Starts nothing yet. */
attnc_status cc_new(const CcConfig *, Cc **, attnc_error *);
void cc_free(Cc *); /* nobody compiles; ends the workers; NULL is fine */
/* As jit_compile, from any thread. */
attnc_status cc_compile(Cc *, const JitRequest *, const JitResolved *, Entry **,
                        json_t **notes, attnc_error *);
const char *cc_program(const Cc *); /* its path */
/* In a child there are no workers. */
void cc_fork(Cc *, ForkStep);

#endif
