/* tune_pool.c: the parent's side of the worker process. */
#include "cli/interrupt.h"
#include "cli/tune.h"

#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* How the speech with a worker went on. */
typedef enum Talk { TALK_OK, TALK_TIMEOUT, TALK_ENDED, TALK_INTERRUPTED } Talk;

/* ---- the process ---- */

static bool
spawn(Worker *w)
{
  int to[2], from[2];
  char self[] = "/proc/self/exe", command[] = "tune-worker";
  char *argv[] = {self, command, NULL};
  posix_spawn_file_actions_t actions;
  if (pipe2(to, O_CLOEXEC) != 0)
    return false;
  if (pipe2(from, O_CLOEXEC) != 0) {
    close(to[0]);
    close(to[1]);
    return false;
  }
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, from[1], STDOUT_FILENO);
  int rc = posix_spawn(&w->pid, self, &actions, NULL, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(to[0]);
  close(from[1]);
  w->in = to[1];
  w->out = from[0];
  w->used = 0;
  fcntl(w->in, F_SETFL, O_NONBLOCK);
  if (rc != 0) {
    close(w->in);
    close(w->out);
    w->pid = 0;
  }
  return rc == 0;
}

/* Ends the worker, which may be beyond listening; its wait status. */
static int
put_down(Worker *w, bool by_force)
{
  int status = 0;
  if (!w->pid)
    return 0;
  close(w->in);
  if (by_force)
    kill(w->pid, SIGKILL);
  while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
    continue;
  close(w->out);
  w->pid = 0;
  return status;
}

void
worker_end(Worker *w)
{
  put_down(w, true);
  free(w->buffer);
  w->buffer = NULL;
  w->used = w->room = 0;
}

/* ---- speech ---- */

static Talk
wait_for(int fd, short events, double until)
{
  for (;;) {
    double left = until - clock_seconds();
    if (interrupt_seen())
      return TALK_INTERRUPTED;
    if (left <= 0)
      return TALK_TIMEOUT;
    struct pollfd p = {.fd = fd, .events = events};
    int rc = poll(&p, 1, left > 0.2 ? 200 : (int)(left * 1000) + 1);
    if (rc > 0)
      return TALK_OK;
    if (rc < 0 && errno != EINTR)
      return TALK_ENDED;
  }
}

static Talk
tell(Worker *w, json_t *message)
{
  char *text = json_dumps(message, JSON_COMPACT);
  size_t n = text ? strlen(text) : 0, at = 0;
  double until = clock_seconds() + (double)w->tune->timeout;
  Talk talk = text ? TALK_OK : TALK_ENDED;
  json_decref(message);
  if (text)
    text[n++] = '\n'; /* in place of the final 0 */
  while (talk == TALK_OK && at < n) {
    if ((talk = wait_for(w->in, POLLOUT, until)) != TALK_OK)
      break;
    ssize_t put = write(w->in, text + at, n - at);
    if (put > 0)
      at += (size_t)put;
    else if (put < 0 && errno != EAGAIN && errno != EINTR)
      talk = TALK_ENDED;
  }
  free(text);
  return talk;
}

static bool
make_room(Worker *w)
{
  if (w->used < w->room)
    return true;
  size_t room = w->room ? w->room * 2 : 4096;
  char *more = realloc(w->buffer, room);
  if (!more)
    return false;
  w->buffer = more;
  w->room = room;
  return true;
}

/* The next line of the worker, within the time limit. */
static Talk
hear(Worker *w, json_t **message)
{
  double until = clock_seconds() + (double)w->tune->timeout;
  for (;;) {
    char *end = w->used ? memchr(w->buffer, '\n', w->used) : NULL;
    if (end) {
      size_t n = (size_t)(end + 1 - w->buffer);
      *message = json_loadb(w->buffer, n, 0, NULL);
      memmove(w->buffer, end + 1, w->used - n);
      w->used -= n;
      return *message ? TALK_OK : TALK_ENDED;
    }
    Talk talk = wait_for(w->out, POLLIN, until);
    if (talk != TALK_OK)
      return talk;
    if (!make_room(w))
      return TALK_ENDED;
    ssize_t got = read(w->out, w->buffer + w->used, w->room - w->used);
    if (got == 0 || (got < 0 && errno != EINTR))
      return TALK_ENDED;
    w->used += got > 0 ? (size_t)got : 0;
  }
}

static json_t *
greeting(const Tune *t)
{
  const attnc_sizes *z = &t->sizes;
  const char *device = t->device.emulated ? "emu" : "cuda";
  return json_pack("{s:s, s:s%, s:[I,I,I,I,I], s:s, s:s, s:I, s:I, s:b}", "name",
                   t->spec.path, "spec", t->spec_text, t->spec_bytes, "sizes",
                   (json_int_t)z->b, (json_int_t)z->h, (json_int_t)z->hk, (json_int_t)z->sq,
                   (json_int_t)z->sk, "device", device, "target", t->target, "seed",
                   (json_int_t)t->seed, "repeat", (json_int_t)t->repeat, "arch",
                   options_has(&t->c->opt, OPT_ARCH));
}

static Talk
ready(Worker *w)
{
  if (w->pid)
    return TALK_OK;
  return spawn(w) ? tell(w, greeting(w->tune)) : TALK_ENDED;
}

/* ---- one candidate ---- */

static void
reject(Worker *w, Candidate *c, Talk talk, const char *stage)
{
  int status = put_down(w, talk == TALK_TIMEOUT);
  c->state = CANDIDATE_REJECTED;
  if (talk == TALK_TIMEOUT)
    err_set(&c->error, ATTNC_ERR_TIMEOUT, "%s: no end within %lld s, killed", stage,
            (long long)w->tune->timeout);
  else if (WIFSIGNALED(status))
    err_set(&c->error, ATTNC_ERR_DEVICE, "%s: the worker died of signal %d (%s)", stage,
            WTERMSIG(status), strsignal(WTERMSIG(status)));
  else
    err_set(&c->error, ATTNC_ERR_DEVICE, "%s: the worker ended with %d", stage,
            WEXITSTATUS(status));
}

static double
real_of(const json_t *j, const char *key)
{
  return json_number_value(json_object_get(j, key));
}

static void
take_result(Candidate *c, const json_t *j)
{
  const char *reason = json_string_value(json_object_get(j, "reason"));
  c->max_error = real_of(j, "max_error");
  c->bound = real_of(j, "bound");
  c->registers = (int)json_integer_value(json_object_get(j, "registers"));
  c->spilled = (int)json_integer_value(json_object_get(j, "spilled_bytes"));
  if (reason) {
    c->state = CANDIDATE_REJECTED;
    err_set(&c->error, ATTNC_ERR_CHECK, "%s", reason);
    return;
  }
  c->state = CANDIDATE_MEASURED;
  c->value = real_of(j, "value");
  c->spread = real_of(j, "spread");
}

bool
worker_measure(Worker *w, Candidate *c)
{
  const char *stage = "start";
  char name[32];
  json_t *answer;
  Talk talk = ready(w);
  if (talk == TALK_OK)
    talk = tell(w, json_pack("{s:i, s:o, s:s}", "id", c->id, "schedule",
                             schedule_json(&c->schedule), "ptx", c->ptx));
  while (talk == TALK_OK && (talk = hear(w, &answer)) == TALK_OK) {
    const char *next = json_string_value(json_object_get(answer, "stage"));
    if (!next) {
      bool ends = json_is_true(json_object_get(answer, "ends"));
      take_result(c, answer);
      json_decref(answer);
      if (ends)
        put_down(w, false);
      return true;
    }
    snprintf(name, sizeof name, "%s", next);
    stage = name;
    json_decref(answer);
  }
  if (talk == TALK_INTERRUPTED)
    return false;
  reject(w, c, talk, stage);
  return true;
}

bool
worker_again(Worker *w, const Candidate *c, double *value)
{
  json_t *answer;
  if (!w->pid || tell(w, json_pack("{s:i, s:b}", "id", c->id, "again", 1)) != TALK_OK ||
      hear(w, &answer) != TALK_OK)
    return false;
  const json_t *v = json_object_get(answer, "value");
  bool ok = json_is_number(v);
  *value = ok ? json_number_value(v) : 0;
  json_decref(answer);
  return ok;
}
