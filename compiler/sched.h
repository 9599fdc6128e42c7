/* sched.h: schedules between named values and what templates see; the fields there are. */
#ifndef ATTNC_COMPILER_SCHED_H
#define ATTNC_COMPILER_SCHED_H

#include "base/call.h"
#include "compiler/template.h"

#include <attnc/attnc.h>

/* The field of that name, of attnc_schedule or of any template; NULL: there is none. */
const SchedField *sched_field(const char *name);
/* All of them: those of attnc_schedule, then the options in the order of the templates. */
int sched_fields(const SchedField *list[SCHED_MOST]);
bool sched_has(const Template *, const char *name);
/* ATTNC_ERR_USAGE: a name or a value that no template has, with the name that was meant;
 * ATTNC_ERR_UNSUPPORTED: a template that there is not. */
attnc_status sched_check(const Schedule *, attnc_error *);

Case sched_case(const Spec *, const ProblemCopy *, const Target *);
/* All values of a schedule, by name. */
Schedule sched_named(const Sched *);
/* Does it set every field of the template that it names? */
bool sched_complete(const Schedule *);

#endif
