/* splits.h: parts of a row's keys, planned on the device.
 *
 * A block of rows has one part for each `keys` keys that it sees, twice as many keys as
 * often as it takes for at most 32 parts; or num_splits, a size of the call, parts of
 * equal length.  How many depends on nothing but the block's own key tiles, so that its
 * sums have the same bits whatever else is in the batch.
 *
 * A first launch of one CTA lists the items of a key head, a part of a block each, those
 * with most keys first, and zeroes the counters of who comes last; the launch behind it has
 * a grid of as many CTAs as the device holds, which stride over items and heads.  There is
 * room for what the call's sizes allow, or for max_items, another size of it.  Blocks of
 * which a part is past the room are marked, in a list of their own: who finds one there
 * writes NaN; nothing is written past the room, and `faults`, the first word of the
 * workspace, counts the items that had none. */
#ifndef ATTNC_TEMPLATES_SPLITS_H
#define ATTNC_TEMPLATES_SPLITS_H

#include "templates/items.h"

enum { SPLITS_MOST = 32 }; /* parts of a block, by the rule */

/* Of an item: its block's batch and first row; which part it is of how many, 0: nobody's;
 * key tiles of a part, 0: the block had no room. */
enum { SPLIT_B, SPLIT_ROW, SPLIT_PART, SPLIT_PARTS, SPLIT_TILES, SPLIT_WORDS };

typedef struct Splits {
  int keys; /* of a part */
  const WorkRegion *faults, *count, *list, *come;
} Splits;

/* One item, of one head: where it is, and which part of its block's keys. */
typedef struct SplitItem {
  WorkTile w;
  Idx is;       /* is it anybody's? */
  Idx has_room; /* else its rows are NaN */
  Idx part, parts, tiles;
  Idx own, first; /* the numbers of its part and of its block's first one, over all heads */
} SplitItem;

/* The regions and the entry that fills them, in front of the others. */
const Splits *splits_entry(Build *, const Partition *, int keys);
/* Items over all heads that there is room for, by the sizes of the call: of the host for
 * regions and grids, of an entry. */
Idx splits_room(const Partition *, const Splits *);
/* The numbers of items over all heads of this CTA; declares a grid of so many for each
 * multiprocessor, and so many beside each other, which have the same numbers. */
typedef struct SplitsGrid {
  int ctas, beside;
} SplitsGrid;
Span splits_mine(Tb *, const Partition *, const Splits *, const SplitsGrid *);
SplitItem splits_item(Tb *, const Partition *, const Splits *, Idx i);
/* The item's tiles of those that its block sees. */
Walk splits_walk(const SplitItem *, const Walk *all);

#endif
