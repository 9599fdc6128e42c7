#include "tests/golden.h"

#include "base/file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
full_path(char out[512], const char *path)
{
  snprintf(out, 512, "%s/%s", SOURCE_DIR, path);
}

char *
golden_read(const char *path, size_t *n)
{
  char full[512], *text = NULL;
  full_path(full, path);
  return file_read(full, 1 << 24, &text, n, NULL) == ATTNC_OK ? text : NULL;
}

static void
show_line(const char *what, const char *text)
{
  fprintf(stderr, "  %s: %.*s\n", what, (int)strcspn(text, "\n"), text);
}

static void
show_difference(const char *path, const char *want, const char *got)
{
  int line = 1;
  size_t i = 0, start = 0;
  for (; want[i] && want[i] == got[i]; i++)
    if (want[i] == '\n') {
      line++;
      start = i + 1;
    }
  fprintf(stderr, "%s:%d: differs (ATTNC_UPDATE=1 rewrites it)\n", path, line);
  show_line("file", want + start);
  show_line("now ", got + start);
}

bool
golden_same(const char *path, const char *text)
{
  char full[512];
  const char *update = getenv("ATTNC_UPDATE");
  full_path(full, path);
  if (update && strcmp(update, "1") == 0)
    return file_write(full, text, strlen(text), NULL) == ATTNC_OK;
  size_t n = 0;
  char *want = golden_read(path, &n);
  bool same = want && strcmp(want, text) == 0;
  if (!same)
    show_difference(path, want ? want : "", text);
  free(want);
  return same;
}

static int
by_name(const void *a, const void *b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

char **
golden_list(const char *folder, const char *suffix, int *n)
{
  char full[512], **names = NULL;
  full_path(full, folder);
  DIR *dir = opendir(full);
  *n = 0;
  for (struct dirent *e; dir && (e = readdir(dir));) {
    size_t len = strlen(e->d_name), end = strlen(suffix);
    if (len <= end || strcmp(e->d_name + len - end, suffix) != 0)
      continue;
    names = realloc(names, (size_t)(*n + 1) * sizeof *names);
    names[(*n)++] = strndup(e->d_name, len - end);
  }
  if (dir)
    closedir(dir);
  qsort(names, (size_t)*n, sizeof *names, by_name);
  return names;
}

void
golden_list_free(char **names, int n)
{
  for (int i = 0; i < n; i++)
    free(names[i]);
  free(names);
}
