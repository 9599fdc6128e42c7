/* deal.h: blocks of work dealt to workers in the order of their tickets, in numbers: what
 * cost models charge for, what exact schedules list, and what tests measure.
 *
 * Heads come in sections.  Of a section, the blocks of one number of all its heads follow
 * each other, then those of the next number: a run of blocks of equal weight.  A section of
 * one head is all blocks of a head, then the next head.  Heads that fill no section are the
 * last one, or the first. */
#ifndef ATTNC_TEMPLATES_DEAL_H
#define ATTNC_TEMPLATES_DEAL_H

#include <stdbool.h>
#include <stdint.h>

typedef struct Tickets {
  int64_t heads, section, blocks; /* heads of all batches; of a section; blocks of a head */
  bool short_first;               /* the section that has fewer heads than others is */
  bool last_first;                /* blocks are numbered from the last of a head down */
  int64_t step;         /* adjacent blocks of a head that are taken to weigh the same */
  const double *weight; /* of blocks 0 … step - 1, step … 2 step - 1, … */
} Tickets;

enum { DEAL_WORKERS = 8192 }; /* more are taken for so many */

/* What workers have in the end, in the unit of the weights. */
typedef struct Dealt {
  double mean, busiest;
} Dealt;

double deal_mean(const Tickets *, int workers);
/* Each block to whoever is free first.  Of many blocks the last ones alone are dealt one by
 * one: those before come out even. */
Dealt deal_first_free(const Tickets *, int workers);
/* Block i to worker i modulo their number.  Of many sections a sample. */
Dealt deal_stride(const Tickets *, int workers);
/* The worker of each block, that is first free; of those the one of the lowest number. */
void deal_owners(const Tickets *, int workers, int32_t *owner);

#endif
