/* sched_wgmma.h: what schedules fwd_wgmma has, what they take and cost.  The template
 * itself is fwd_wgmma.c. */
#ifndef ATTNC_TEMPLATES_SCHED_WGMMA_H
#define ATTNC_TEMPLATES_SCHED_WGMMA_H

#include "templates/classes.h"
#include "templates/items.h"
#include "templates/layout.h"
#include "templates/partition.h"

/* The options of its schedules, beside what every template has. */
#define HOPPER_OPTIONS(X)                                                                  \
  X(p_in_smem, BOOL, 0, 1, NULL, KEEP, "false",                                            \
    "Weights go through shared memory, not registers.")                                    \
  X(intra_wg_overlap, BOOL, 0, 1, NULL, VARY, "true",                                      \
    "QK of the next tile runs beside PV of this one.")                                     \
  X(pingpong, BOOL, 0, 1, NULL, VARY, "true",                                              \
    "Warpgroups take turns at the tensor cores.")                                          \
  X(scheduler, ENUM, 0, 3, "grid persistent lpt dynamic", KEEP, "persistent",              \
    "Blocks of work: one a CTA; as a CTA strides over them; a list for each CTA; to "      \
    "whoever is free.")                                                                    \
  X(cluster, INT, 1, 2, NULL, VARY, "2", "CTAs that share k and v by multicast.")          \
  X(pack_gqa, BOOL, 0, 1, NULL, KEEP, "true", "Rows are positions and heads of a group.")  \
  X(tma_store, BOOL, 0, 1, NULL, VARY, "true",                                             \
    "o leaves by TMA, not by stores of the threads.")                                      \
  X(q_stages, INT, 1, 2, NULL, KEEP, "2", "Blocks of q in shared memory.")                 \
  X(cross_tile, BOOL, 0, 1, NULL, VARY, "true",                                            \
    "A block's first QK runs beside the last PV before.")                                  \
  X(lazy_rescale, BOOL, 0, 1, NULL, VARY, "true",                                          \
    "o is rescaled only when a maximum grows by 2^8.")                                     \
  X(poly_exp2, INT, 0, 16, NULL, VARY, "4", "Of 16 exp2, how many by polynomial.")         \
  X(narrow_diagonal, BOOL, 0, 1, NULL, VARY, "true",                                       \
    "Narrower products where the diagonal cuts a tile.")                                   \
  X(private_epilogue, BOOL, 0, 1, NULL, VARY, "true",                                      \
    "Each warpgroup sends its rows of o by itself.")                                       \
  X(o_in_v, BOOL, 0, 1, NULL, VARY, "true",                                                \
    "o leaves through stages of v, and the next q loads meanwhile.")                       \
  ITEMS_OPTION(X)                                                                          \
  CLASSES_OPTION(X)
SCHED_TYPE(Hopper, HOPPER_OPTIONS, hopper_of, hopper_sched)

bool wgmma_applicable(const Case *, Why *);
const SpaceAxis *const *wgmma_axes(const Case *);
Sched wgmma_plain(void);
bool wgmma_refuse(const Case *, const Sched *, Why *);
SchedCost wgmma_cost(const Case *, const Sched *);
Sched wgmma_initial(const Case *);
SmemLayout wgmma_layout(const Spec *, const Hopper *);
/* The load whose table comes tile by tile, with K; NULL: there is none, or TMA cannot bring
 * it, and each element is read where it stands. */
const Expr *wgmma_beside(const Spec *, const Hopper *);
Partition wgmma_partition(const Spec *, const Hopper *); /* without the call */
/* How many stages of V a block's rows of O take. */
int wgmma_o_stages(const Hopper *);

/* A team of those that compute. */
static inline int
wgmma_rows(void)
{
  return product_info[WGMMA].rows;
}
static inline int
wgmma_warps(void)
{
  return product_info[WGMMA].warps;
}

/* Registers a thread of the loading and of the computing warpgroups (setmaxnreg): together
 * what the block was launched with. */
int load_regs(const Spec *, const Hopper *);
int mma_regs(const Spec *, const Hopper *);

#endif
