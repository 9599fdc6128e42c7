/* sched_decode_wgmma.h: what schedules decode_wgmma has, what they take and cost.  The
 * template itself is decode_wgmma.c. */
#ifndef ATTNC_TEMPLATES_SCHED_DECODE_WGMMA_H
#define ATTNC_TEMPLATES_SCHED_DECODE_WGMMA_H

#include "templates/sched_decode.h"
#include "templates/sched_wgmma.h"

SCHED_TYPE(DecodeWgmma, DECODE_ITEM_OPTIONS, decode_wgmma_of, decode_wgmma_sched)

bool decode_wgmma_applicable(const Case *, Why *);
bool decode_wgmma_meant(const Case *);
const SpaceAxis *const *decode_wgmma_axes(const Case *);
Sched decode_wgmma_plain(void);
bool decode_wgmma_refuse(const Case *, const Sched *, Why *);
/* CTAs that share a multiprocessor: what ptxas is told, and the grid. */
int decode_wgmma_resident(const Spec *, const Target *, const Sched *);
SchedCost decode_wgmma_cost(const Case *, const Sched *);
Sched decode_wgmma_initial(const Case *);
SmemLayout decode_wgmma_layout(const Spec *, const Sched *);
Partition decode_wgmma_partition(const Call *, const Spec *, const Sched *);

#endif
