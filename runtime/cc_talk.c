#include "runtime/cc_talk.h"

#include "base/clock.h"
#include "base/err.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LAST_SECONDS = 2 };

/* ---- speech ---- */

/* Sends (POLLOUT) or receives (POLLIN) the whole of it, until a moment. */
static Talk
move_all(const CcWorker *w, short way, void *bytes, size_t n, double until)
{
  for (size_t at = 0; at < n;) {
    double left = until - clock_seconds();
    Talk talk = left > 0 ? process_wait(&w->process, way, left) : TALK_TIMEOUT;
    if (talk == TALK_TIMEOUT && left > 0)
      continue; /* a signal's handler ran, or now the time is up */
    if (talk != TALK_OK)
      return talk;
    char *rest = (char *)bytes + at;
    ssize_t moved = way == POLLIN ? process_receive(&w->process, rest, n - at)
                                  : process_send(&w->process, rest, n - at);
    if (moved < 0)
      return TALK_ENDED;
    at += (size_t)moved;
  }
  return TALK_OK;
}

#define TRY_TALK(call)                                                                     \
  do {                                                                                     \
    Talk try_talk_ = (call);                                                               \
    if (try_talk_ != TALK_OK)                                                              \
      return try_talk_;                                                                    \
  } while (0)

void
cc_answer_free(CcAnswer *a)
{
  json_decref(a->json);
  entry_release(a->entry);
  *a = (CcAnswer){0};
}

static Talk
hear_json(const CcWorker *w, size_t n, double until, CcAnswer *a)
{
  char *text = malloc(n + 1);
  Talk talk = text ? move_all(w, POLLIN, text, n, until) : TALK_ENDED;
  a->json = talk == TALK_OK ? json_loadb(text, n, 0, NULL) : NULL;
  free(text);
  return talk == TALK_OK && !a->json ? TALK_ENDED : talk;
}

static Talk
hear_entry(const CcWorker *w, size_t n, double until, CcAnswer *a)
{
  a->entry = n ? entry_room(n) : NULL;
  if (n && !a->entry)
    return TALK_ENDED;
  return n ? move_all(w, POLLIN, a->entry->bytes, n, until) : TALK_OK;
}

/* What is no message of ours is the end of the speech. */
static Talk
hear_parts(const CcWorker *w, double until, CcAnswer *a)
{
  unsigned char head[CC_HEAD];
  CcHead h;
  TRY_TALK(move_all(w, POLLIN, head, sizeof head, until));
  if (!cc_head_get(head, &h))
    return TALK_ENDED;
  TRY_TALK(hear_json(w, h.json_n, until, a));
  return hear_entry(w, h.bytes_n, until, a);
}

static Talk
hear(const CcWorker *w, double until, CcAnswer *a)
{
  *a = (CcAnswer){0};
  Talk talk = hear_parts(w, until, a);
  if (talk != TALK_OK)
    cc_answer_free(a);
  return talk;
}

static Talk
ask(const CcWorker *w, const char *request, double until)
{
  unsigned char head[CC_HEAD];
  const CcHead h = {.json_n = strlen(request)};
  cc_head_put(head, &h);
  TRY_TALK(move_all(w, POLLOUT, head, sizeof head, until));
  return move_all(w, POLLOUT, (void *)(uintptr_t)request, h.json_n, until);
}

static Talk
hear_taken(const CcWorker *w, double until, bool *taken)
{
  CcAnswer a;
  TRY_TALK(hear(w, until, &a));
  *taken = json_is_true(json_object_get(a.json, "taken"));
  cc_answer_free(&a);
  return *taken ? TALK_OK : TALK_ENDED;
}

CcOutcome
cc_worker_ask(CcWorker *w, const char *request, double seconds, CcAnswer *a)
{
  const double until = clock_seconds() + seconds;
  bool taken = false;
  w->compiles++;
  Talk talk = ask(w, request, until);
  if (talk == TALK_OK)
    talk = hear_taken(w, until, &taken);
  if (talk == TALK_OK)
    talk = hear(w, until, a);
  if (talk == TALK_OK) {
    w->resident = (uint64_t)json_integer_value(json_object_get(a->json, "resident"));
    return CC_ANSWERED;
  }
  return talk == TALK_TIMEOUT ? CC_LATE : taken ? CC_DIED : CC_UNTAKEN;
}

/* ---- beginning and ending ---- */

static attnc_status
greet(CcWorker *w, const char *program, double seconds, bool *killed, attnc_error *e)
{
  CcAnswer hello;
  if (hear(w, clock_seconds() + seconds, &hello) != TALK_OK) {
    CcEnd end = cc_worker_end(w, false);
    *killed = end.killed;
    return err_set(e, ATTNC_ERR_IO, "%s %s and does not speak as attnc-cc does%s%s",
                   program, end.how, *end.said ? ": " : "", end.said);
  }
  attnc_status status = cc_hello_check(hello.json, program, e);
  cc_answer_free(&hello);
  if (status != ATTNC_OK)
    cc_worker_end(w, true);
  return status;
}

attnc_status
cc_worker_start(CcWorker *w, const char *program, double seconds, bool *killed,
                attnc_error *e)
{
  const char *const argv[] = {program, "--worker", NULL};
  *killed = false;
  w->compiles = w->resident = 0;
  w->err = memfd_create("attnc-cc", MFD_CLOEXEC);
  attnc_status status = process_start(&w->process, argv, w->err, "attnc-cc", e);
  if (status == ATTNC_OK)
    return greet(w, program, seconds, killed, e);
  if (w->err >= 0)
    close(w->err);
  return status;
}

/* The first line that is not empty. */
static void
read_said(int fd, char *said, size_t n)
{
  ssize_t got = fd >= 0 ? pread(fd, said, n - 1, 0) : 0;
  said[got > 0 ? got : 0] = 0;
  size_t blank = strspn(said, "\n\r ");
  memmove(said, said + blank, strlen(said + blank) + 1);
  said[strcspn(said, "\n\r")] = 0;
  for (char *p = said; *p; p++)
    if (*p < ' ' || *p > '~')
      *p = '?';
}

/* By somebody else, or by a system that wants memory back: a compile does not kill itself
 * by these. */
static bool
was_killed(int status)
{
  static const int signals[] = {SIGKILL, SIGTERM, SIGINT, SIGHUP, SIGQUIT};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    if (WIFSIGNALED(status) && WTERMSIG(status) == signals[i])
      return true;
  return status == -1;
}

CcEnd
cc_worker_end(CcWorker *w, bool by_force)
{
  CcEnd end;
  int status = process_end(&w->process, by_force ? 0 : LAST_SECONDS);
  end.killed = was_killed(status);
  process_how(status, end.how, sizeof end.how);
  read_said(w->err, end.said, sizeof end.said);
  if (w->err >= 0)
    close(w->err);
  w->err = -1;
  return end;
}
