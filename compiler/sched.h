/* sched.h: schedules between named values and what templates see. */
#ifndef ATTNC_COMPILER_SCHED_H
#define ATTNC_COMPILER_SCHED_H

#include "base/call.h"
#include "compiler/sched_fields.h"

#include <attnc/attnc.h>

/* ATTNC_ERR_USAGE: a name or a value that no template has, with the name that was meant;
 * ATTNC_ERR_UNSUPPORTED: a template that there is not. */
attnc_status sched_check(const Schedule *, attnc_error *);

Case sched_case(const Spec *, const ProblemCopy *, const Target *);
/* Does it set every field of the template that it names? */
bool sched_complete(const Schedule *);

#endif
