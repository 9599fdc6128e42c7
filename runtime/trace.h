/* trace.h: what took how long, as Chrome's trace viewer and Perfetto read it.
 *
 * A file that is only appended to: an event a line, each written with one call, so that
 * threads and processes may share it and a process that dies leaves whole lines.  It begins
 * with a bracket that nobody closes, which the format ("Trace Event Format", JSON array)
 * allows.  Times are of the monotonic clock, the same for all processes of a machine.
 *
 * Whoever has no trace has a NULL, and passes that. */
#ifndef ATTNC_RUNTIME_TRACE_H
#define ATTNC_RUNTIME_TRACE_H

#include <attnc/attnc_rt.h>

typedef struct Trace Trace;

/* path NULL: *out is NULL.  ATTNC_ERR_IO: it cannot be written. */
attnc_status trace_open(const char *path, Trace **out, attnc_error *);
Trace *trace_retain(Trace *);
void trace_release(Trace *);
/* From `start`, of clock_seconds, to now: "compile gpt2", and what more there is to say. */
void trace_span(Trace *, const char *what, const char *name, const char *detail,
                double start);

#endif
