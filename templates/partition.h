/* partition.h: which CTA has which blocks of queries (the tile scheduler).
 *
 * The blocks of a call are numbered.  Without a diagonal: the blocks of queries of a head
 * follow each other, then the heads.  With one: the longest first, inside sections of heads
 * whose K and V, what a row sees of them, fit into the L2 cache together.  A cluster's CTAs
 * have adjacent blocks of a head, and walk over the same key tiles.  A grid may have this
 * order by its own axes (SCHED_SECTIONS), which saves every CTA the divisions.
 *
 * Where sequences have fewer queries than the call's sq, blocks past their ends are
 * nobody's work.  Where they stand one behind the other, numbers run through all of a
 * head's sequences (t_sequence), from the last down where there is a diagonal, and each
 * sequence has a block or two that are nobody's.  With a list (items.h) the n-th block is
 * the list's, of all heads of a section before the next one. */
#ifndef ATTNC_TEMPLATES_PARTITION_H
#define ATTNC_TEMPLATES_PARTITION_H

#include "compiler/template.h"
#include "compiler/tile/walk.h"
#include "templates/deal.h"
#include "templates/sequence.h"

/* Who does the block of a number.  All but the last are values of an option `scheduler`.
 */
typedef enum Scheduler {
  SCHED_GRID,       /* a CTA each */
  SCHED_PERSISTENT, /* each CTA strides over them: one CTA a multiprocessor */
  SCHED_LPT,        /* dealt at compile time, in their order, to whoever has least to do */
  SCHED_DYNAMIC,    /* each CTA begins with the block of its number, and draws tickets for
                       more; without workspace it has that one */
  SCHED_ASIDE,      /* a CTA each; heads along y and batches along z of the grid, as far as
                       those reach; a section is a head */
  SCHED_SECTIONS, /* a CTA each; heads of a section along x, blocks along y, sections along
                     z: for masks that make blocks unequal, and sequences of one length */
} Scheduler;

/* A list of blocks of work that is made on the device (items.h): their number, and of each
 * its batch and the first row of its cluster. */
enum { ITEM_B, ITEM_ROW, ITEM_WORDS };
typedef struct WorkItems {
  const WorkRegion *count, *list;
} WorkItems;

/* Lists of the tiles that each block of queries visits, made on the device (classes.h): how
 * many, and which; before that the class of each tile.  For each batch, each head, or one
 * for all. */
typedef struct TileLists {
  const WorkRegion *classes, *tile, *count;
  bool by_b, by_h;
} TileLists;

/* What a template says of its blocks. */
typedef struct Partition {
  const Call *call;
  int bm, bn;  /* rows of a block of a CTA, keys of a tile */
  int pack;    /* heads of a group whose rows stand side by side, or 1 */
  int cluster; /* CTAs that share key tiles, or 1 */
  Scheduler scheduler;
  const WorkRegion *tickets; /* partition_counter */
  const WorkItems *items;    /* NULL: blocks have the batch's order */
  bool listed;               /* for cost models, who have no list: there is one */
  bool in_step;              /* tiles begin at multiples of bn, as boxes in pages do */
  const TileLists *classes;  /* NULL: tiles' classes are those that intervals know */
  bool by_step;              /* for cost models: there are such lists */
} Partition;

/* A block of queries: batch, query head (key head where heads are packed), key head, first
 * query; `all` is the first query of its cluster.  T_WORK (t, w.is) stands around what is
 * done of it. */
typedef struct WorkTile {
  Idx b, h, hk, q0, all;
  Idx is; /* is there such a block? */
  Seq seq;
} WorkTile;

bool partition_one_each(const Partition *); /* a CTA has one block */

/* The blocks of this CTA, by number: T_FOR over `span`.  Where tickets are drawn, one lane
 * does so with partition_draw, shortly before its block ends, and sends each block's number
 * to the others with its Q; behind the last one it sends the end of the span. */
typedef struct TileScheduler {
  Span span;
  const Table *list; /* of an lpt schedule: head and block of each, from `first` on */
  int first;
  bool draws;
} TileScheduler;

/* That of a template whose CTAs have one block each, of one head: SCHED_ASIDE. */
Partition partition_aside(const Call *, const Sched *);
/* Is a call of the spec one for SCHED_SECTIONS? */
bool partition_has_sections(const Spec *);
WorkTile partition_alone(Tb *, const Partition *); /* its block; declares the grid */

/* How many heads of all batches there are, and blocks of one of them. */
Idx partition_heads(const Partition *);
Idx partition_blocks(const Partition *);
/* Of which one batch has blocks of its own: query heads, or key heads where packed. */
Idx partition_heads_of_batch(const Partition *);
/* The block of sequence b from this row on, of a head. */
WorkTile partition_rows_from(Tb *, const Partition *, Idx b, Idx row, Idx head);

/* The counter of a dynamic scheduler; NULL for others. */
const WorkRegion *partition_counter(Build *, Scheduler);
TileScheduler partition_scheduler(Tb *, const Partition *); /* declares the grid */
/* In the loop of who draws: the number of its next block, or one past the end. */
void partition_draw(Tb *, const Partition *, const TileScheduler *);
WorkTile partition_work_tile(Tb *, const Partition *, const TileScheduler *, Idx i);
Idx partition_next_tile(const TileScheduler *,
                        Idx i); /* after the last: one that there is */
/* Blocks of a head, of all batches, and that of a number, of head 0: `is` there one? */
Idx partition_slots(const Partition *);
WorkTile partition_slot(Tb *, const Partition *, Idx slot);
/* The block's rows of a tensor of queries.  Rows behind the last whole position are
 * nobody's. */
View partition_rows(const Partition *, const WorkTile *, const Tensor *);
Idx partition_rows_there(const Partition *, const WorkTile *); /* how many are somebody's */
/* The key tiles of a block. */
Walk partition_keys(Tb *, const Partition *, const WorkTile *);
/* The same walk, by the lists of classes.c. */
Walk classes_walk(Tb *, const Partition *, const WorkTile *, const Walk *);
/* The same blocks by number as the host deals them: every size is a constant.  A block
 * weighs its key tiles and one more. */
Tickets partition_tickets(Tb *, const Partition *);
/* The same order of a case, whose sizes are all known, without weights; `call` is not asked
 * for.  SCHED_ASIDE: of a head. */
Tickets partition_order(const Case *, const Partition *);

#endif
