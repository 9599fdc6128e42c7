/* space.h: the schedules of a template, numbered: its core, of which the cost model
 * chooses, is every point of its axes (the first runs fastest); behind it, for tuning,
 * stand its variations: all of the core with one option changed, then with the next.  Legal
 * or not. */
#ifndef ATTNC_COMPILER_SPACE_H
#define ATTNC_COMPILER_SPACE_H

#include "compiler/template.h"

int space_core(const Template *, const Case *); /* points */
/* The n-th point; false past the last. */
bool space_point(const Template *, const Case *, int n, Sched *);

#endif
