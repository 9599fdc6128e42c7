/* tune_line.h: a line of a tuning table.
 *
 * "attnc.tune/1": a schedule, what it measured, and where; "attnc.forget/1": the lines
 * above it that it fits count no more, so that a table which is only appended to, and one
 * that cannot be written, can be told to forget; "attnc.trial/1": what a sweep measured, no
 * advice for plans.  A line of another schema or that cannot be is refused with its reason.
 *
 * A problem is a spec_hash, an op and a bucket of shapes: log2, rounded, of b * h, of sq
 * and of sk. */
#ifndef ATTNC_RUNTIME_TUNE_LINE_H
#define ATTNC_RUNTIME_TUNE_LINE_H

#include "base/arena.h"
#include "schedule/schedule.h"

#include <attnc/attnc.h>

#include <jansson.h>
#include <stdbool.h>

enum { TUNE_UNKNOWN = -1, TUNE_OCTAVES = 126 };

typedef struct TuneDevice {
  const char *name;
  int capability, sms; /* 90 is 9.0; multiprocessors; 0: not known */
  bool emulated;
} TuneDevice;

typedef struct TuneProblem {
  const char *spec_hash, *op;
  const char *name;  /* of the spec, for whoever reads the table; NULL: none */
  attnc_sizes sizes; /* 0: open */
  TuneDevice device;
} TuneProblem;

/* What was measured. */
typedef struct TuneMeasure {
  double value;
  const char *unit;
  int level; /* ATTNC_TUNE_… */
} TuneMeasure;
extern const char *const tune_level_names[ATTNC_TUNE_LEVEL_COUNT];

typedef enum TuneKind { TUNE_RECORD, TUNE_FORGET, TUNE_TRIAL } TuneKind;

typedef struct TuneLine {
  TuneKind kind;
  bool gone; /* forgotten, or another line of its schedule counts */
  const char *device, *name, *spec_hash, *op, *unit; /* "": not said; TUNE_FORGET: any */
  attnc_sizes sizes;
  int bucket[3]; /* octaves, TUNE_UNKNOWN where open */
  bool any_bucket;
  int capability, sms;
  const char *ptx;      /* TUNE_TRIAL: the hash of what was measured */
  const char *schedule; /* as sched_parse reads it: a Schedule is long, a table too */
  int level;
  double value, work; /* work: b * h * sq * sk of the sizes that it was measured at */
  const char *text;   /* NULL: not kept */
  int layer, number;  /* where it stands */
} TuneLine;

/* NULL, or why the line is not taken. */
const char *tune_line_read(Arena *, const json_t *, TuneLine *);
json_t *tune_line_record(const TuneProblem *, const Schedule *, const TuneMeasure *);
/* Of one device; spec_hash NULL: any, sizes NULL: any. */
json_t *tune_line_forget(const char *device, const char *spec_hash,
                         const attnc_sizes *sizes);
/* Does a line that forgets mean this one? */
bool tune_line_means(const TuneLine *forget, const TuneLine *);

/* Octaves of b * h, sq, sk; TUNE_UNKNOWN where open. */
void tune_bucket(const attnc_sizes *, int bucket[3]);

#endif
