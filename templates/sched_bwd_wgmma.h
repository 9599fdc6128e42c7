/* sched_bwd_wgmma.h: what schedules bwd_wgmma has, what they take and cost.  The template
 * itself is bwd_wgmma.c. */
#ifndef ATTNC_TEMPLATES_SCHED_BWD_WGMMA_H
#define ATTNC_TEMPLATES_SCHED_BWD_WGMMA_H

#include "templates/bwd.h"
#include "templates/layout.h"

#define BWD_WGMMA_OPTIONS(X)                                                               \
  BWD_PASSES_OPTION(X)                                                                     \
  BWD_QUERIES_OPTIONS(X)
SCHED_TYPE(BwdHopper, BWD_WGMMA_OPTIONS, bwd_hopper_of, bwd_hopper_sched)

bool bwd_wgmma_applicable(const Case *, Why *);
const SpaceAxis *const *bwd_wgmma_axes(const Case *);
Sched bwd_wgmma_plain(void);
bool bwd_wgmma_refuse(const Case *, const Sched *, Why *);
SchedCost bwd_wgmma_cost(const Case *, const Sched *);
Sched bwd_wgmma_initial(const Case *);

/* Of the pass's block the rows that stay, of those that go by a tile's, and warpgroups that
 * have 64 of the former each. */
int bwd_wgmma_stays(const BwdHopper *, Pass);
int bwd_wgmma_passes_by(const BwdHopper *, Pass);
int bwd_wgmma_teams(const BwdHopper *, Pass);
/* What stays has a ring of one stage each. */
SmemLayout bwd_wgmma_layout(const Spec *, const BwdHopper *, Pass);
/* Does a tile's number go with what goes by first, Q, or K? */
bool bwd_wgmma_tells(const Spec *, Pass);

/* Registers a thread of the loading and of the computing warpgroups (setmaxnreg); 0: as
 * launched. */
int bwd_wgmma_load_regs(const Spec *, const BwdHopper *, Pass);
int bwd_wgmma_mma_regs(const Spec *, const BwdHopper *, Pass);

#endif
