#include "runtime/trace.h"

#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct Trace {
  int refs; /* atomic */
  int fd;
};

/* Makes the file with its first line, whole, unless it is there already: of processes that
 * start at once one writes it, before any event. */
static void
begin(const char *path)
{
  static const char head[] = "[\n";
  const size_t room = strlen(path) + 32;
  char *temp = malloc(room);
  if (!temp)
    return;
  snprintf(temp, room, "%s.%ld", path, (long)getpid());
  int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd >= 0) {
    if (write(fd, head, strlen(head)) == (ssize_t)strlen(head) && link(temp, path))
      errno = 0; /* it is there */
    close(fd);
    unlink(temp);
  }
  free(temp);
}

attnc_status
trace_open(const char *path, Trace **out, attnc_error *e)
{
  *out = NULL;
  if (!path)
    return ATTNC_OK;
  if (access(path, F_OK))
    begin(path);
  int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY);
  if (fd < 0)
    return err_set(e, ATTNC_ERR_IO, "ATTNC_TRACE: %s: %s", path, strerrordesc_np(errno));
  Trace *t = calloc(1, sizeof *t);
  if (!t) {
    close(fd);
    return err_set(e, ATTNC_ERR_NOMEM, "ATTNC_TRACE: out of memory");
  }
  t->refs = 1;
  t->fd = fd;
  *out = t;
  return ATTNC_OK;
}

Trace *
trace_retain(Trace *t)
{
  if (t)
    __atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
  return t;
}

void
trace_release(Trace *t)
{
  if (t && __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL) == 0) {
    close(t->fd);
    free(t);
  }
}

/* The line, malloc'd; NULL: out of memory, or what is no UTF-8. */
static char *
event(const char *what, const char *name, const char *detail, double start)
{
  json_t *o = json_pack("{s:s+++, s:s, s:s, s:f, s:f, s:i, s:i, s:{s:s}}", "name", what,
                        " ", name, "", "cat", "attnc", "ph", "X", "ts", start * 1e6, "dur",
                        (clock_seconds() - start) * 1e6, "pid", (int)getpid(), "tid",
                        (int)gettid(), "args", "detail", detail);
  char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
  json_decref(o);
  char *line = NULL;
  if (!text || asprintf(&line, "%s,\n", text) < 0)
    line = NULL;
  free(text);
  return line;
}

/* One call a line: what a full disk cuts off stands at the end of the file. */
void
trace_span(Trace *t, const char *what, const char *name, const char *detail, double start)
{
  char *line = t ? event(what, name, detail, start) : NULL;
  if (line && write(t->fd, line, strlen(line)) < 0)
    errno = 0; /* a trace is not worth a failure */
  free(line);
}
