/* sched_decode.h: what schedules decode_mma has, what they take and cost.  The template
 * itself is decode_mma.c. */
#ifndef ATTNC_TEMPLATES_SCHED_DECODE_H
#define ATTNC_TEMPLATES_SCHED_DECODE_H

#include "templates/layout.h"
#include "templates/partition.h"

/* Of whoever deals out parts of a row's keys. */
#define DECODE_ITEM_OPTIONS(X)                                                             \
  X(pack_gqa, BOOL, 0, 1, NULL, KEEP, "true", "Rows are positions and heads of a group.")  \
  X(split_keys, INT, 0, 65536, NULL, KEEP, "512",                                          \
    "Keys of an item, doubled as often as makes 32 items of a row; 0: a row is one "       \
    "CTA's.")                                                                              \
  X(combine, BOOL, 0, 1, NULL, KEEP, "true",                                               \
    "A launch of its own adds up the items of a row; else their last CTA does.")
#define DECODE_OPTIONS(X)                                                                  \
  X(q_in_regs, BOOL, 0, 1, NULL, KEEP, "true", "Keep q in registers.")                     \
  X(warps_n, INT, 1, 4, NULL, KEEP, "2",                                                   \
    "Warps that have the same rows: parts of a tile's keys, and of head_dim_v.")           \
  DECODE_ITEM_OPTIONS(X)
SCHED_TYPE(Decode, DECODE_OPTIONS, decode_of, decode_sched)

enum {
  ROWS_MOST = 32, /* of a block */
};

bool decode_applicable(const Case *, Why *);
bool decode_meant(const Case *);
const SpaceAxis *const *decode_axes(const Case *);
Sched decode_plain(void);
bool decode_refuse(const Case *, const Sched *, Why *);
/* Have all warps the same keys of a tile, and each a part of O's columns?  Else each has
 * keys of its own, and all of O. */
bool decode_shares_rows(const Sched *);
/* Has a warp room for all columns of O, and of K, by itself? */
bool decode_own_columns(const Case *);
/* CTAs that share a multiprocessor. */
int decode_resident(const Spec *, const Target *, const Sched *);
/* That many blocks ptxas is told of, 0: of none.  Where four of them need a few registers
 * less ptxas 13.0 spills for the fourth: 16 bytes, head_dims 248/304, sm_90. */
int decode_told(const Spec *, const Target *, const Sched *);
SchedCost decode_cost(const Case *, const Sched *);
/* The sizes of the case as cost models of few rows take them: where keys are split, into
 * items of `split_keys` that are doubled, each part costs what a batch of so many keys
 * would. */
Case decode_assume(const Case *, int split_keys);
/* Clocks of bringing a tile of so many bytes while `flight` bytes are on their way to the
 * multiprocessor. */
double decode_memory_clocks(const Target *, double tile, double flight);
/* Keys of an item, and who adds them up, of either template of few rows. */
typedef struct DecodeItems {
  int keys;
  bool combine;
} DecodeItems;
/* What a block's start and end wait for. */
double decode_block_waits(DecodeItems);
/* Clocks in which the parts of a block of the case are added up, once all have come. */
double decode_items_end(const Case *, DecodeItems);
extern const SpaceAxis decode_split_axis;
bool decode_refuse_items(const Case *, DecodeItems, int bm, bool packs, Why *);
Sched decode_initial(const Case *);
SmemLayout decode_layout(const Spec *, const Sched *);
Partition decode_partition(const Call *, const Spec *, const Sched *);
/* What the warps merge O through: the memory of the rings, and more where that is less. */
RingArgs decode_merge_room(const Spec *, const Sched *);

#endif
