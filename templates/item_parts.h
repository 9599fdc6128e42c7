/* item_parts.h: sums of parts of a block's keys (splits.h), on their way from the CTAs that
 * have them to the one that comes last.
 *
 * Of each item O, and its rows' references and sums, have a place in workspace.  Whoever
 * has stored its own counts itself; who counts last adds up all of them in the order of
 * their numbers, so that the bits do not depend on who that is.
 *
 * Or a launch of its own adds them up (`combined`), in the same order and to the same bits:
 * a warp has a row, and some of its parts on their way at once, where the last CTA has them
 * one behind the other. */
#ifndef ATTNC_TEMPLATES_ITEM_PARTS_H
#define ATTNC_TEMPLATES_ITEM_PARTS_H

#include "templates/softmax.h"
#include "templates/splits.h"

typedef struct ItemParts {
  const Splits *plan; /* NULL: a CTA has all keys of a block */
  const WorkRegion *o, *rows;
  bool combined;
} ItemParts;

/* Items of `keys` keys; O's columns are shared out to so many warps. */
typedef struct ItemPartsArgs {
  int keys, warps;
  bool combined;
} ItemPartsArgs;
/* The plan's entry and all regions, which are the first. */
ItemParts item_parts_entry(Build *, const Partition *host, const ItemPartsArgs *);
/* The entry that adds up the parts of blocks that have several, behind that which makes
 * them: of `pack` heads a position, item_parts_combined_rows rows a CTA. */
enum { ITEM_PARTS_HEADS_MOST = 32 }; /* of a position */
int item_parts_combined_rows(int pack);
void item_parts_combine(Build *, const Partition *host, const ItemParts *);

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
void item_sums_spoil(Tb *, const ItemSums *); /* the latter alone */

#endif
