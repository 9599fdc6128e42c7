/* sched_fields.h: the fields that a template's schedules have, SCHED_COMMON_TABLE and its
 * own options, by number and by name. */
#ifndef ATTNC_COMPILER_SCHED_FIELDS_H
#define ATTNC_COMPILER_SCHED_FIELDS_H

#include "compiler/template.h"

int sched_n_fields(const Template *);
const SchedField *sched_field_of(const Template *, int);
/* The field of that name, of attnc_schedule or of any template; NULL: there is none. */
const SchedField *sched_field(const char *name);
/* All of them: those of attnc_schedule, then the options in the order of the templates. */
int sched_fields(const SchedField *list[SCHED_MAX]);
bool sched_has(const Template *, const char *name);
/* All values of a schedule, by name. */
Schedule sched_named(const Sched *);

#endif
