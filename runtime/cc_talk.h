/* cc_talk.h: one worker, as its context sees it; it belongs to one thread at a time. */
#ifndef ATTNC_RUNTIME_CC_TALK_H
#define ATTNC_RUNTIME_CC_TALK_H

#include "runtime/cc_message.h"
#include "runtime/process.h"

typedef struct CcWorker {
  Process process;
  int err;           /* what it writes on its standard error, in memory; -1: nowhere */
  uint64_t compiles; /* that it was asked for */
  uint64_t resident; /* bytes, as it said last */
  bool busy;         /* the pool's */
} CcWorker;

/* How a worker ended: "died of signal 6 (SIGABRT)", and the first line that it had written
 * on its standard error, in plain ASCII. */
typedef struct CcEnd {
  bool killed; /* from outside, or nobody knows */
  char how[64], said[200];
} CcEnd;
/* Ends it: at once, or as it does by itself. */
CcEnd cc_worker_end(CcWorker *, bool by_force);

/* Starts it and hears its greeting.  ATTNC_ERR_IO: it does not start, or is of another
 * build; *killed: it might have. */
attnc_status cc_worker_start(CcWorker *, const char *program, double seconds, bool *killed,
                             attnc_error *);

typedef enum CcOutcome {
  CC_ANSWERED, /* the answer is there: of a kernel, or of a request that is refused */
  CC_UNTAKEN,  /* it was gone before it took the request */
  CC_DIED,     /* it ended before the answer */
  CC_LATE      /* time was up */
} CcOutcome;

typedef struct CcAnswer {
  json_t *json;
  Entry *entry; /* unchecked; NULL: none */
} CcAnswer;
void cc_answer_free(CcAnswer *);

/* Asks and waits.  Of any outcome but ANSWERED the worker is to be ended. */
CcOutcome cc_worker_ask(CcWorker *, const char *request, double seconds, CcAnswer *);

#endif
