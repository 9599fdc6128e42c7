/* tunetab.h: the best schedules known, and which of them a problem takes.
 *
 * The layers are the directories that are only read (the system's), then the user's, which
 * is written to, DIR/<device name>.jsonl, with one write a line; or one file alone (the
 * pinned table), read once and never written, so that every process which is given it
 * chooses alike.  tune_snapshot.h says which lines count.  Of those the most tried (their
 * level) counts first, and of these the least value, for each unit of work where they were
 * measured at different sizes.
 *
 * tune_find answers "exact" from the same bucket of shapes on a device of this name, else
 * "near" from the closest bucket within NEAR octaves in all, else "family": of a device of
 * the same major compute capability, at the sizes that give each of its multiprocessors as
 * much to do.  Sizes that the problem leaves open fit any bucket, but are never exact. What
 * is found is advice: the caller says which schedules are legal, and the next best is found
 * where one is not.
 *
 * The files are read when first asked and again when they have changed.  No lock is held
 * while reading or writing. */
#ifndef ATTNC_RUNTIME_TUNETAB_H
#define ATTNC_RUNTIME_TUNETAB_H

#include "base/fork.h"
#include "runtime/tune_snapshot.h"

enum { TUNE_NEAR = 4 };

typedef struct TuneFound {
  Schedule schedule;
  const char *source, *device; /* "exact", "near", "family"; device: for the callback */
  double value;
  int level; /* ATTNC_TUNE_…: how much was tried for it */
} TuneFound;

typedef struct TuneTable TuneTable;

typedef struct TuneConfig {
  const char *dir;      /* the user's; NULL: none */
  const char *readonly; /* directories, separated by colons; NULL: none */
  const char *pinned;   /* a file, the only layer; NULL: none */
  TuneTold told;        /* of what is skipped and what is recorded */
} TuneConfig;

/* ATTNC_ERR_IO: there is no pinned table. */
attnc_status tune_open(const TuneConfig *, TuneTable **, attnc_error *);
void tune_close(TuneTable *); /* NULL is fine */
/* ATTNC_ERR_IO, ATTNC_ERR_USAGE: there is no directory to write to, or the table is pinned.
 */
attnc_status tune_writable(const TuneTable *, attnc_error *);
/* DIR/<device name><end>, in the arena; the table is writable. */
const char *tune_path(const TuneTable *, const char *device, const char *end, Arena *);
const TuneLayer *tune_layers(const TuneTable *, int *n);
/* SHA-256 of the pinned table's file; NULL: none is. */
const char *tune_pinned_hash(const TuneTable *);

/* Whether the caller can use what was found. */
typedef bool TuneAccept(void *user, const TuneFound *);
/* The best that is accepted; accept NULL: the best. */
bool tune_find(TuneTable *, const TuneProblem *, TuneAccept *, void *user, TuneFound *);
/* ATTNC_ERR_USAGE: a value that is none, sizes or a unit that cannot be. */
attnc_status tune_record(TuneTable *, const TuneProblem *, const Schedule *,
                         const TuneMeasure *, attnc_error *);

void tune_fork(TuneTable *, ForkStep);
/* Changes when the layers do. */
int64_t tune_stamp(const TuneTable *);
/* All layers with the text of each line, given back with tune_drop; NULL: out of memory. */
TuneSnapshot *tune_texts(TuneTable *);
void tune_drop(TuneTable *, TuneSnapshot *); /* NULL is fine */

#endif
