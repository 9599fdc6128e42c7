/* attnc-cc: the process that compiles for a program with ATTNC_CC or attnc_options.cc.
 *
 * Everything is in libattnc (attnc_compile_worker): here is what a program needs to be one
 * that hosts may start: it keeps nothing of theirs open, and its folder is nobody's. */
#include <attnc/attnc.h>

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { REQUEST_MAX = 128 << 20 };

static const char usage[] =
    "usage: attnc-cc --replay FILE   compile again what was given up; the PTX is printed\n"
    "       attnc-cc --worker        for libattnc, which starts it\n";

/* Descriptors of the host that it has without close-on-exec: a socket that it listens on
 * must not live on in here. */
static void
close_inherited(void)
{
  if (!syscall(SYS_close_range, 3u, ~0u, 0u))
    return;
  DIR *d = opendir("/proc/self/fd");
  for (struct dirent *x; d && (x = readdir(d)) != NULL;) {
    int fd = atoi(x->d_name);
    if (fd > STDERR_FILENO && fd != dirfd(d))
      close(fd);
  }
  if (d)
    closedir(d);
}

static int
fail(const char *what, const char *why)
{
  fprintf(stderr, "attnc-cc: %s%s%s\n", what, *why ? ": " : "", why);
  return 1;
}

static int
worker(void)
{
  attnc_error e = {0};
  close_inherited();
  if (attnc_compile_worker(&e) != ATTNC_OK)
    return fail(e.message, "");
  _exit(0); /* what LLVM would give back one by one goes with the process */
}

static int
replay(const char *path)
{
  attnc_error e = {0};
  char *ptx;
  FILE *f = fopen(path, "re");
  char *text = f ? malloc(REQUEST_MAX) : NULL;
  if (!text)
    return fail(path, strerror(errno));
  size_t n = fread(text, 1, REQUEST_MAX, f);
  fclose(f);
  attnc_status st = attnc_compile_replay(text, n, &ptx, &e);
  free(text);
  if (st != ATTNC_OK)
    return fail(attnc_status_name(st), e.message);
  int rc = fputs(ptx, stdout) < 0 || fflush(stdout) ? fail("stdout", strerror(errno)) : 0;
  attnc_text_free(ptx);
  return rc;
}

int
main(int argc, char **argv)
{
  if (argc == 2 && !strcmp(argv[1], "--worker") && !isatty(STDIN_FILENO))
    return worker();
  if (argc == 3 && !strcmp(argv[1], "--replay"))
    return replay(argv[2]);
  bool asked = argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"));
  fputs(usage, asked ? stdout : stderr);
  return asked ? 0 : 2;
}
