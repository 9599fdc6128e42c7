/* hopper.h: what schedules fwd_wgmma has, what they take and cost, and how the blocks of
 * work are shared out.  The template itself is fwd_wgmma.c. */
#ifndef ATTNC_TEMPLATES_HOPPER_H
#define ATTNC_TEMPLATES_HOPPER_H

#include "templates/fwd.h"

enum { HOPPER_CORE = 3 * 9 * 2 * 2 * 2 * 2 };

bool hopper_applicable(const Case *, Why *);
bool hopper_space(const Case *, int n, Sched *);
bool hopper_refuse(const Case *, const Sched *, Why *);
SchedCost hopper_cost(const Case *, const Sched *);
Sched hopper_initial(const Case *);

/* Registers a thread of the loading and of the computing warpgroups (setmaxnreg): together
 * what the block was launched with. */
int load_regs(const Spec *, const Sched *);
int mma_regs(const Spec *, const Sched *);

/* Blocks of work of this CTA, by number; and one of them.  A cluster's CTAs have adjacent
 * blocks of a head, and walk over the same key tiles.  Without a diagonal: the blocks of
 * queries of a head follow each other, then the heads.  With one: the longest first, inside
 * sections of heads whose K and V fit into the L2 cache together.  An exact schedule deals
 * the same order out at compile time, each block to whoever has least to do. */
typedef struct Works {
  Span span;
  const Table *list; /* of an exact schedule: head and block of each, from `first` on */
  int first;
} Works;
Works works(Tb *, const Fwd *, const Sched *);
Work work(Tb *, const Fwd *, const Sched *, const Works *, Idx i);
Idx works_next(const Works *, Idx i); /* after the last: one that there is */
/* The key tiles of a block. */
Walk work_keys(const Fwd *, const Sched *, const Work *);

#endif
