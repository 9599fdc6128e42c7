/* classes.h: lists of the tiles that a call's mask leaves, made by its first launches
 * (`classes: step`).
 *
 * Intervals know the class of a tile without looking at its elements, and of some masks too
 * little: bits of an index, elements of a table that is not monotone.  With the step one
 * entry finds the class of each tile by asking the mask of each element, with the very
 * operation that hides scores, where intervals do not decide; and another lists those that
 * are not EMPTY, for each block of queries, from the lowest up.  The walk behind them
 * visits what is listed: EMPTY tiles are not loaded and not looked at, FULL ones not
 * masked.
 *
 * Of a mask that is the same for all batches, or all heads, there is one list for all of
 * them.  A row of the lists has room for every tile of the keys, so that nothing is written
 * past it, and a graph that was captured once is right for whatever tables hold later. */
#ifndef ATTNC_TEMPLATES_CLASSES_H
#define ATTNC_TEMPLATES_CLASSES_H

#include "templates/partition.h"

/* The values of the option, and its row in a template's table. */
typedef enum Classes { CLASSES_INTERVALS, CLASSES_STEP } Classes;
#define CLASSES_OPTION(X)                                                                  \
  X(classes, ENUM, 0, 1, "intervals step", KEEP, "step",                                   \
    "Which tiles a mask hides: by intervals alone, or listed by a first launch.")

/* The lists, and the entries that make them, in front of the others; the partition is the
 * host's.  NULL: by intervals alone. */
const TileLists *classes_entries(Build *, const Partition *, Classes);
/* Are there tiles whose class intervals cannot know, of a mask that the step takes? */
bool classes_are_open(const Spec *);
/* Of what has no use for it, or has not been proved with it. */
bool classes_refuse(const Spec *, const Sched *, Classes, int pack, Why *);

#endif
