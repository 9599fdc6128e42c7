/* spawn: runs a command and says what it took.
 *
 *   spawn COMMAND [ARGUMENT…]
 *
 * After what the command wrote, one more line on stdout: {"seconds": …, "cpu": seconds,
 * "max_rss": bytes, "exit": …}, of the command and the processes it waited for.  A program
 * of its own because Linux counts the memory that a process had before it called exec: a
 * large caller's children all look large. */
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double
now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double
seconds(struct timeval t)
{
  return (double)t.tv_sec + 1e-6 * (double)t.tv_usec;
}

int
main(int argc, char **argv)
{
  pid_t child;
  int status, code;
  struct rusage use;
  if (argc < 2)
    return fprintf(stderr, "usage: spawn COMMAND [ARGUMENT...]\n"), 2;
  double start = now();
  code = posix_spawnp(&child, argv[1], NULL, NULL, argv + 1, environ);
  if (code)
    return fprintf(stderr, "%s: %s\n", argv[1], strerror(code)), 2;
  if (wait4(child, &status, 0, &use) != child)
    return perror("wait4"), 2;
  printf("{\"seconds\": %.6f, \"cpu\": %.6f, \"max_rss\": %ld, \"exit\": %d}\n",
         now() - start, seconds(use.ru_utime) + seconds(use.ru_stime), use.ru_maxrss * 1024,
         WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  return 0;
}
