/* tune_snapshot.h: what the files of the tuning tables say, at one moment.
 *
 * A layer is a directory with a file DIR/<device name>.jsonl for each device, the system's
 * first and the user's last, or one file, which then is the only layer.  All layers are one
 * table, as if their files were concatenated in that order, those of a directory by their
 * names.  Lines that are torn, foreign or not understood are left out and told; a line
 * replaces an earlier one about the same schedule, unless less was tried for it; lines that
 * forget are followed.  Immutable once read. */
#ifndef ATTNC_RUNTIME_TUNE_SNAPSHOT_H
#define ATTNC_RUNTIME_TUNE_SNAPSHOT_H

#include "runtime/tune_line.h"

#include <stdint.h>

typedef struct TuneLayer {
  const char *path;
  bool user;    /* the one that is written to */
  bool is_file; /* else a directory */
} TuneLayer;

typedef struct TuneSnapshot {
  Arena *arena;
  VEC(TuneLine) lines; /* records and lines that forget; with `trials`, those too */
  bool texts, trials;  /* asked for: the text of each line, and trials */
  int skipped;
  int refs; /* guarded by the table's lock */
  int64_t stamp;
} TuneSnapshot;

typedef void TuneLog(void *user, const char *message);
/* A line that is left out, or a file: which, and why. */
typedef struct TuneTold {
  TuneLog *log; /* NULL: nobody listens */
  void *user;
} TuneTold;

/* Changes when a file of the layers does. */
int64_t tune_layers_stamp(const TuneLayer *, int n);
/* NULL: out of memory. */
TuneSnapshot *tune_snapshot_read(const TuneLayer *, int n, bool texts, TuneTold);
/* Of a text; name: of the file, for what is told.  *rest (may be NULL): bytes behind the
 * last whole line. */
TuneSnapshot *tune_snapshot_parse(const char *text, size_t n, const char *name,
                                  size_t *rest, TuneTold);
void tune_snapshot_free(TuneSnapshot *); /* NULL is fine */

#endif
