/* tunetab.h: the best schedules known, measured on devices of one name.
 *
 * A table is a file of JSON lines, DIR/<device name>.jsonl, appended to with one write a
 * line; merging two tables is concatenating them.  Each line carries a checksum of itself,
 * and one that is torn, foreign or not understood is skipped, which the log is told.  Of
 * several lines those count for which the most was tried (their level), and of these the
 * one with the least value, for each unit of work where they were measured at different
 * sizes; a later line about the same schedule replaces an earlier one of no higher level.
 *
 * A problem is a spec_hash, an op and a shape bucket: log2, rounded, of b * h, of sq and
 * of sk.  tune_find answers "exact" from the same bucket or "near" from the closest one
 * within NEAR octaves in all; sizes that the problem leaves open fit any bucket, but are
 * never exact.  What is found is advice: the caller says which schedules are legal, and
 * the next best is found where one is not.
 *
 * A table is read when first asked and again when its file has grown.  No lock is held
 * while reading or writing. */
#ifndef ATTNC_RUNTIME_TUNETAB_H
#define ATTNC_RUNTIME_TUNETAB_H

#include "base/fork.h"
#include "schedule/schedule.h"

#include <attnc/attnc.h>

#include <stdbool.h>

enum { TUNE_NEAR = 4, TUNE_UNKNOWN = -1, TUNE_OCTAVES = 126 };

typedef struct TuneProblem {
  const char *spec_hash, *op;
  attnc_sizes sizes; /* 0: open */
} TuneProblem;

typedef struct TuneFound {
  Schedule schedule;
  const char *source; /* "exact" or "near" */
  double value;
  int level; /* ATTNC_TUNE_…: how much was tried for it */
} TuneFound;

typedef struct TuneTable TuneTable;

attnc_status tune_open(const char *dir, const char *device, TuneTable **, attnc_error *);
void tune_close(TuneTable *); /* NULL is fine */
const char *tune_path(const TuneTable *);
const char *tune_device(const TuneTable *);

/* Whether the caller can use what was found. */
typedef bool TuneAccept(void *user, const TuneFound *);
/* The best that is accepted; accept NULL: the best. */
bool tune_find(TuneTable *, const TuneProblem *, TuneAccept *, void *user, TuneFound *);
/* What was measured. */
typedef struct TuneMeasure {
  double value;
  const char *unit;
  int level; /* ATTNC_TUNE_… */
} TuneMeasure;
extern const char *const tune_level_names[ATTNC_TUNE_LEVEL_COUNT];
/* ATTNC_ERR_USAGE: a value that is none, sizes or a unit that cannot be. */
attnc_status tune_record(TuneTable *, const TuneProblem *, const Schedule *,
                         const TuneMeasure *, attnc_error *);

/* Told of lines that are skipped and of what is recorded; before any other call. */
typedef void TuneLog(void *user, const char *message);
void tune_listen(TuneTable *, TuneLog *, void *user);
void tune_fork(TuneTable *, ForkStep);

/* Changes when the table's file does: its bytes. */
int64_t tune_stamp(const TuneTable *);

/* Octaves of b * h, sq, sk; TUNE_UNKNOWN where open. */
void tune_bucket(const attnc_sizes *, int bucket[3]);

#endif
