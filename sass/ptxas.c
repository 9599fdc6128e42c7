#include "sass/ptxas.h"

#include "base/env.h"
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const char *
program_in(Arena *arena, const char *dir, size_t n)
{
  const char *path = arena_printf(arena, "%.*s/ptxas", (int)n, dir);
  return access(path, X_OK) == 0 ? path : NULL;
}

const char *
ptxas_find(Arena *arena)
{
  const char *path = secure_getenv("PATH"), *home = secure_getenv("CUDA_HOME"),
             *found = NULL;
  const char *named = env_get(ENV_PTXAS);
  if (named)
    return access(named, X_OK) == 0 ? arena_strdup(arena, named) : NULL;
  while (path && *path && !found) {
    size_t n = strcspn(path, ":");
    found = n ? program_in(arena, path, n) : NULL;
    path += n + (path[n] == ':');
  }
  if (!found && home && *home) {
    const char *bin = arena_printf(arena, "%s/bin", home);
    found = program_in(arena, bin, strlen(bin));
  }
  const char *usual = "/usr/local/cuda/bin";
  return found ? found : program_in(arena, usual, strlen(usual));
}

static const char *
read_all(int fd, Arena *arena)
{
  Str s = str_new(arena);
  char buf[4096];
  ssize_t n;
  while ((n = read(fd, buf, sizeof buf)) > 0 || (n < 0 && errno == EINTR))
    if (n > 0)
      str_putn(&s, buf, (size_t)n);
  return s.p;
}

int
program_run(char *const argv[], Arena *arena, const char **log)
{
  int fds[2], status = -1;
  pid_t pid;
  posix_spawn_file_actions_t actions;
  *log = "";
  if (pipe2(fds, O_CLOEXEC) != 0)
    return -1;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, fds[1], STDERR_FILENO);
  int rc = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(fds[1]);
  if (rc == 0) {
    *log = read_all(fds[0], arena);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
      continue;
    status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  close(fds[0]);
  return status;
}

const char *
ptxas_version(const char *path, Arena *arena)
{
  const char *log;
  char *argv[] = {(char *)(uintptr_t)path, (char *)(uintptr_t) "--version", NULL};
  if (program_run(argv, arena, &log) != 0)
    return NULL;
  const char *p = strstr(log, "release ");
  return p ? arena_strndup(arena, p, strcspn(p, "\n")) : NULL;
}

/* The largest number before `what` in the log: "Used 168 registers". */
static int
largest(const char *log, const char *what)
{
  int most = 0;
  for (const char *p = log; (p = strstr(p, what)) != NULL; p += strlen(what)) {
    const char *digits = p;
    while (digits > log && digits[-1] >= '0' && digits[-1] <= '9')
      digits--;
    int v = atoi(digits);
    most = v > most ? v : most;
  }
  return most;
}

const char *
ptxas_remark(const char *log, int n, Arena *arena)
{
  for (const char *p = log; (p = strstr(p, "(C75")) != NULL; p++)
    if (n-- == 0)
      return arena_strndup(arena, p, strcspn(p, "\n"));
  return NULL;
}

static attnc_status
assemble(const char *program, const char *dir, const char *ptx, size_t n,
         const char *target, Arena *arena, Assembled *out, attnc_error *e)
{
  char *in = arena_printf(arena, "%s/kernel.ptx", dir);
  char *cubin = arena_printf(arena, "%s/kernel.cubin", dir);
  char *arch = arena_printf(arena, "-arch=%s", target);
  char verbose[] = "-v", output[] = "-o";
  char *argv[] = {arena_strdup(arena, program), arch, verbose, in, output, cubin, NULL};
  TRY(file_write(in, ptx, n, e));
  int rc = program_run(argv, arena, &out->log);
  attnc_status st = ATTNC_OK;
  if (rc != 0)
    st = err_set(e, ATTNC_ERR_COMPILE, "ptxas -arch=%s: exit %d: %.300s", target, rc,
                 out->log);
  else
    st = file_read(cubin, (size_t)256 << 20, &out->cubin, &out->bytes, e);
  unlink(in);
  unlink(cubin);
  return st;
}

attnc_status
ptxas_run(const char *ptx, size_t n, const char *target, Arena *arena, Assembled *out,
          attnc_error *e)
{
  *out = (Assembled){.log = ""};
  const char *program = ptxas_find(arena);
  if (!program)
    return err_set(e, ATTNC_ERR_UNSUPPORTED,
                   "no ptxas: not in $ATTNC_PTXAS, on PATH, in $CUDA_HOME/bin or in "
                   "/usr/local/cuda/bin");
  const char *tmp = secure_getenv("TMPDIR");
  char *dir = arena_printf(arena, "%s/attnc-XXXXXX", tmp && *tmp ? tmp : "/tmp");
  if (!mkdtemp(dir))
    return err_set(e, ATTNC_ERR_IO, "mkdtemp %s: %s", dir, strerror(errno));
  attnc_status st = assemble(program, dir, ptx, n, target, arena, out, e);
  rmdir(dir);
  out->registers = largest(out->log, " registers");
  out->spill_stores = largest(out->log, " bytes spill stores");
  out->spill_loads = largest(out->log, " bytes spill loads");
  out->barriers = largest(out->log, " barriers");
  out->stack = largest(out->log, " bytes stack frame");
  out->shared = largest(out->log, " bytes smem");
  return st;
}
