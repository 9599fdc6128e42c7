#include "emulator/check/findings.h"

#include "emulator/export.h"

#include <attnc/attnc_emu.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LINES = 200 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *lines[MAX_LINES];
static size_t n_lines, dropped;

static bool
known(const char *text)
{
  for (size_t i = 0; i < n_lines; i++)
    if (!strcmp(lines[i], text))
      return true;
  return false;
}

void
findings_keep(const char *text, bool tell)
{
  pthread_mutex_lock(&lock);
  if (!known(text)) {
    char *copy = n_lines < MAX_LINES ? strdup(text) : NULL;
    if (copy)
      lines[n_lines++] = copy;
    else
      dropped++;
    if (copy && tell)
      fprintf(stderr, "%s\n", text);
  }
  pthread_mutex_unlock(&lock);
}

static size_t
append(char *buf, size_t n, size_t at, const char *text)
{
  size_t len = strlen(text);
  if (at < n)
    snprintf(buf + at, n - at, "%s\n", text);
  return at + len + 1;
}

static void
forget(void)
{
  for (size_t i = 0; i < n_lines; i++)
    free(lines[i]);
  n_lines = dropped = 0;
}

EXPORT size_t
attncEmuTakeFindings(char *buf, size_t n)
{
  size_t at = 0;
  if (n)
    *buf = 0;
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < n_lines; i++)
    at = append(buf, n, at, lines[i]);
  if (dropped) {
    char more[80];
    snprintf(more, sizeof more, "ptx:0: error[more]: %zu more findings", dropped);
    at = append(buf, n, at, more);
  }
  if (at < n)
    forget();
  pthread_mutex_unlock(&lock);
  return at;
}

/* The library goes. */
__attribute__((destructor)) static void
forget_at_end(void)
{
  pthread_mutex_lock(&lock);
  forget();
  pthread_mutex_unlock(&lock);
}

void
findings_fork(ForkStep step)
{
  fork_mutex(&lock, step);
}
