/* sched.h: cases and schedules between the public structs and the templates. */
#ifndef ATTNC_COMPILER_SCHED_H
#define ATTNC_COMPILER_SCHED_H

#include "base/call.h"
#include "compiler/template.h"

#include <attnc/attnc.h>

Case sched_case(const Spec *, const ProblemCopy *, const Target *);
/* Does the schedule have what `want` asks for? */
bool sched_matches(const Sched *, const attnc_schedule *want);
/* What the API says of it: fields that the template does not use are 0. */
attnc_schedule sched_public(const Sched *);
/* Does it set every field of the template that it names? */
bool sched_complete(const attnc_schedule *);
/* A complete schedule as a template's; ATTNC_ERR_UNSUPPORTED with the limit if illegal. */
attnc_status sched_exact(const Case *, const attnc_schedule *, Sched *, attnc_error *);

#endif
