/* sched_bwd.h: what schedules bwd_mma has, what they take and cost.  The template itself is
 * bwd_mma.c. */
#ifndef ATTNC_TEMPLATES_SCHED_BWD_H
#define ATTNC_TEMPLATES_SCHED_BWD_H

#include "templates/bwd.h"
#include "templates/layout.h"

#define BWD_OPTIONS(X)                                                                     \
  BWD_PASSES_OPTION(X)                                                                     \
  BWD_QUERIES_OPTIONS(X)                                                                   \
  X(dq_warps, INT, 0, 16, NULL, KEEP, "8", "Warps of a block of the pass for dq.")
SCHED_TYPE(Bwd, BWD_OPTIONS, bwd_of, bwd_sched)

bool bwd_has_pass(const Bwd *, Pass);

bool bwd_applicable(const Case *, Why *);
const SpaceAxis *const *bwd_axes(const Case *);
Sched bwd_plain(void);
bool bwd_refuse(const Case *, const Sched *, Why *);
SchedCost bwd_cost(const Case *, const Sched *);
Sched bwd_initial(const Case *);
SmemLayout bwd_layout(const Spec *, const Bwd *, Pass);
/* CTAs of a pass that share a multiprocessor.  ptxas is told: it does not know what shared
 * memory allows, and spilled a few bytes to make room for one more. */
int bwd_resident(const Spec *, const Target *, const Bwd *, Pass);

#endif
