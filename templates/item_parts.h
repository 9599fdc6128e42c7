/* item_parts.h: sums of parts of a block's keys (splits.h), on their way from the CTAs that
 * have them to the one that comes last.
 *
 * Of each item O, and its rows' references and sums, have a place in workspace.  Whoever
 * has stored its own counts itself; who counts last adds up all of them in the order of
 * their numbers, so that the bits do not depend on who that is. */
#ifndef ATTNC_TEMPLATES_ITEM_PARTS_H
#define ATTNC_TEMPLATES_ITEM_PARTS_H

#include "templates/softmax.h"
#include "templates/splits.h"

typedef struct ItemParts {
  const Splits *plan; /* NULL: a CTA has all keys of a block */
  const WorkRegion *o, *rows;
} ItemParts;

/* The plan's entry and all regions; items of `keys` keys, o_cols: part_cols of an O. */
ItemParts item_parts_entry(Build *, const Partition *host, int keys, int o_cols);

/* What a CTA has of an item: O is rows x cols, the sums are those of softmax_merge. */
typedef struct ItemSums {
  const ItemParts *parts;
  const Partition *part;
  const SplitItem *item;
  Softmax *sm;
  int rows, cols;
} ItemSums;

void item_sums_store(Tb *, const ItemSums *, Tile o);
/* Is this the last CTA of the item's block?  With barriers of the team. */
Idx item_sums_last(Tb *, const ItemSums *);
/* All parts in their order, whoever is the last; rows that had no room are NaN. */
void item_sums_add(Tb *, const ItemSums *, Tile *o);

#endif
