#include "runtime/process.h"

#include "base/clock.h"
#include "base/err.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

bool
process_beside(const char *const *places, size_t n, char *path, size_t room)
{
  static const char here; /* a thing of this library */
  Dl_info info;
  if (!dladdr(&here, &info) || !info.dli_fname)
    return false;
  const char *slash = strrchr(info.dli_fname, '/');
  int dir = slash ? (int)(slash + 1 - info.dli_fname) : 0;
  for (size_t i = 0; i < n; i++) {
    int length = *places[i] == '/'
                     ? snprintf(path, room, "%s", places[i])
                     : snprintf(path, room, "%.*s%s", dir, info.dli_fname, places[i]);
    if (length > 0 && (size_t)length < room && access(path, X_OK) == 0)
      return true;
  }
  return false;
}

/* ---- beginning ---- */

static int
spawn(pid_t *pid, int fd, int err, const char *const *argv)
{
  posix_spawn_file_actions_t files;
  posix_spawnattr_t how;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  int rc = posix_spawn_file_actions_init(&files);
  if (rc)
    return rc;
  rc = posix_spawnattr_init(&how);
  if (!rc) {
    posix_spawn_file_actions_adddup2(&files, fd, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, fd, STDOUT_FILENO);
    if (err >= 0)
      posix_spawn_file_actions_adddup2(&files, err, STDERR_FILENO);
    posix_spawnattr_setsigmask(&how, &none);
    posix_spawnattr_setsigdefault(&how, &all);
    posix_spawnattr_setpgroup(&how, 0);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                       POSIX_SPAWN_SETPGROUP);
    rc = posix_spawnp(pid, argv[0], &files, &how, (char *const *)(uintptr_t)argv, environ);
    posix_spawnattr_destroy(&how);
  }
  posix_spawn_file_actions_destroy(&files);
  return rc;
}

/* Above the standard streams, which the file actions put things in the place of: a program
 * that has closed its own would otherwise be given their numbers. */
static int
above_streams(int fd)
{
  if (fd > STDERR_FILENO || fd < 0)
    return fd;
  int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  close(fd);
  return higher;
}

attnc_status
process_start(Process *p, const char *const *argv, int err, const char *who, attnc_error *e)
{
  char reason[128];
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
    return err_set(e, ATTNC_ERR_IO, "%s: socketpair: %s", who,
                   strerror_r(errno, reason, sizeof reason));
  pair[0] = above_streams(pair[0]);
  pair[1] = above_streams(pair[1]);
  int rc = pair[0] < 0 || pair[1] < 0 ? EMFILE : spawn(&p->pid, pair[1], err, argv);
  if (pair[1] >= 0)
    close(pair[1]);
  if (!rc) {
    p->fd = pair[0];
    return ATTNC_OK;
  }
  p->pid = 0;
  if (pair[0] >= 0)
    close(pair[0]);
  return err_set(e, ATTNC_ERR_IO, "%s: the worker %.300s: %s", who, argv[0],
                 strerror_r(rc, reason, sizeof reason));
}

/* ---- ending ---- */

/* The pid once it has ended, 0 while it runs, -1 where nobody can say. */
static pid_t
ask(pid_t pid, int *status, int flags)
{
  pid_t got;
  do
    got = waitpid(pid, status, flags);
  while (got < 0 && errno == EINTR);
  return got;
}

int
process_end(Process *p, double seconds)
{
  const struct timespec pause = {0, 2000000};
  const double until = clock_seconds() + seconds;
  int status = 0;
  pid_t gone;
  if (!p->pid)
    return 0;
  shutdown(p->fd, SHUT_RDWR); /* a thread that polls it would keep it open */
  close(p->fd);
  while ((gone = ask(p->pid, &status, WNOHANG)) == 0 && clock_seconds() < until)
    nanosleep(&pause, NULL);
  if (gone == 0) {
    kill(p->pid, SIGKILL);
    gone = ask(p->pid, &status, 0);
  }
  p->pid = 0;
  return gone > 0 ? status : -1;
}

void
process_how(int status, char *text, size_t n)
{
  if (status == -1)
    snprintf(text, n, "is gone");
  else if (WIFSIGNALED(status))
    snprintf(text, n, "died of signal %d (SIG%s)", WTERMSIG(status),
             sigabbrev_np(WTERMSIG(status)));
  else
    snprintf(text, n, "ended with %d", WEXITSTATUS(status));
}

/* ---- speech ---- */

Talk
process_wait(const Process *p, short events, double seconds)
{
  struct pollfd one = {.fd = p->fd, .events = events};
  int rc = poll(&one, 1, seconds > 0 ? (int)(seconds * 1000) + 1 : 0);
  if (rc > 0)
    return TALK_OK;
  return rc == 0 || errno == EINTR ? TALK_TIMEOUT : TALK_ENDED;
}

bool
process_hung_up(const Process *p)
{
  struct pollfd one = {.fd = p->fd};
  return poll(&one, 1, 0) > 0 && one.revents & (POLLHUP | POLLERR);
}

static ssize_t
done(ssize_t n)
{
  if (n > 0)
    return n;
  return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

ssize_t
process_send(const Process *p, const void *bytes, size_t n)
{
  return done(send(p->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL));
}

ssize_t
process_receive(const Process *p, void *bytes, size_t n)
{
  return done(recv(p->fd, bytes, n, MSG_DONTWAIT));
}
