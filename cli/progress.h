/* progress.h: one line on stderr that says how far a long command is: only on a terminal,
 * at most ten times a second, erased when done. */
#ifndef ATTNC_CLI_PROGRESS_H
#define ATTNC_CLI_PROGRESS_H

#include <stdbool.h>

typedef struct Progress {
  bool on, shown;
  const char *what;
  int total;
  double started, last;
} Progress;

void progress_start(Progress *, const char *what, int total, bool quiet);
void progress_step(Progress *, int done, const char *detail); /* detail may be NULL */
void progress_end(Progress *);

#endif
