/* items.h: the list of a call's blocks of work that its first launch makes on the device,
 * those with most keys first.
 *
 * Where sequences have lengths of their own, blocks in the order of the batch leave the
 * longest to whoever comes last; and their grid has blocks that are nobody's.  An entry of
 * one CTA looks at all of them, counts by work classes (tiles of keys between the block's
 * first and last, as its mask says), and writes who there is, class by class, the longest
 * first; in a class they keep the batch's order, so that the list is the same at each
 * launch.  The launch behind it has the n-th of the list as its n-th block.
 *
 * The list has room for all blocks that the grid has without it, so that any lengths up to
 * the call's sizes fit, and a graph that was captured once is right for them. */
#ifndef ATTNC_TEMPLATES_ITEMS_H
#define ATTNC_TEMPLATES_ITEMS_H

#include "templates/partition.h"

/* The row of its option in a template's table. */
#define ITEMS_OPTION(X)                                                                    \
  X(device_items, BOOL, 0, 1, NULL, KEEP, "true",                                          \
    "A first launch lists the blocks of work, those with most keys first.")

/* What a thread of an entry of one CTA looks at: blocks of one head, in the order of the
 * batch; a warp has some that follow each other, 32 at once: T_FOR over `mine`. */
enum { ITEMS_WARPS = 8, ITEMS_CLASSES = 256 };
typedef struct ItemsScan {
  const Partition *part;
  Idx slots, lane;
  Span mine; /* the warp's, in steps of 32 */
} ItemsScan;
/* A block, if it is one, and its key tiles. */
typedef struct ItemsFound {
  WorkTile w;
  Idx is, slot, tiles;
} ItemsFound;
ItemsScan items_scan(Tb *, const Partition *);
/* Behind the last slot a lane looks at that once more, and counts nothing. */
ItemsFound items_look(Tb *, const ItemsScan *, Idx first);
/* The class of what has so many key tiles: the first has most, and the longest sequence of
 * the call. */
Idx items_class(const Partition *, Idx tiles);

/* The list, and the entry that makes it, in front of the others; the partition is the
 * host's.  NULL: `wanted` is false. */
const WorkItems *items_entry(Build *, const Partition *, bool wanted);
/* Of what has blocks of one length alone. */
bool items_refuse(const Spec *, bool wanted, Why *);

#endif
