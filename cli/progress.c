#include "cli/progress.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
progress_start(Progress *p, const char *what, int total, bool quiet)
{
  const char *term = getenv("TERM");
  bool dumb = term && strcmp(term, "dumb") == 0;
  *p = (Progress){.on = !quiet && !dumb && isatty(STDERR_FILENO),
                  .what = what,
                  .total = total,
                  .started = clock_seconds()};
}

void
progress_step(Progress *p, int done, const char *detail)
{
  double now = clock_seconds();
  if (!p->on || now - p->last < 0.1)
    return;
  p->last = now;
  p->shown = true;
  double elapsed = now - p->started;
  fprintf(stderr, "\r\033[K%s %d/%d", p->what, done, p->total);
  if (done > 0 && done < p->total)
    fprintf(stderr, ", %.0f s left", elapsed / done * (p->total - done));
  fprintf(stderr, "%s%.60s", detail ? "  " : "", detail ? detail : "");
  fflush(stderr);
}

void
progress_end(Progress *p)
{
  if (p->shown)
    fputs("\r\033[K", stderr);
  p->on = p->shown = false;
}
