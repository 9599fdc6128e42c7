#include "cli/files.h"

#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define MANIFEST "MANIFEST.sha256"
enum { MAX_MANIFEST = 16 << 20 };

attnc_status
output_open(OutputDir *d, Arena *arena, const char *path, attnc_error *e)
{
  *d = (OutputDir){.arena = arena, .path = path};
  return file_mkdirs(path, e);
}

static WrittenFile *
entry_for(OutputDir *d, const char *name)
{
  for (int i = 0; i < d->files.n; i++)
    if (str_eq(d->files.at[i].name, name))
      return &d->files.at[i];
  WrittenFile *f = vec_push(d->arena, &d->files);
  f->name = arena_strdup(d->arena, name);
  return f;
}

static bool
known(const OutputDir *d, const char *name)
{
  for (int i = 0; i < d->files.n; i++)
    if (str_eq(d->files.at[i].name, name))
      return true;
  return false;
}

attnc_status
output_write(OutputDir *d, const char *name, const void *data, size_t n, attnc_error *e)
{
  TRY(file_write(arena_printf(d->arena, "%s/%s", d->path, name), data, n, e));
  WrittenFile *f = entry_for(d, name);
  sha256_hex(data, n, f->hash);
  f->bytes = n;
  return ATTNC_OK;
}

/* "<64 hex digits>  name", as sha256sum writes it. */
static attnc_status
keep_line(OutputDir *d, const char *line, attnc_error *e)
{
  if (strspn(line, "0123456789abcdef") != 64 || line[64] != ' ' || line[65] != ' ' ||
      !line[66] || strchr(line + 66, '/'))
    return err_set(e, ATTNC_ERR_IO, "%s/" MANIFEST ": not a line of sha256sum: %.80s",
                   d->path, line);
  if (known(d, line + 66))
    return ATTNC_OK;
  WrittenFile *f = entry_for(d, line + 66);
  memcpy(f->hash, line, 64);
  return ATTNC_OK;
}

static attnc_status
keep_old(OutputDir *d, const char *path, attnc_error *e)
{
  char *text, *line;
  size_t n;
  if (access(path, F_OK) != 0)
    return ATTNC_OK;
  TRY(file_read(path, MAX_MANIFEST, &text, &n, e));
  char *rest = text;
  attnc_status st = ATTNC_OK;
  while (st == ATTNC_OK && (line = strsep(&rest, "\n")) != NULL)
    if (*line)
      st = keep_line(d, line, e);
  free(text);
  return st;
}

static int
by_name(const void *a, const void *b)
{
  return strcmp(((const WrittenFile *)a)->name, ((const WrittenFile *)b)->name);
}

/* The directory's lock, to be closed: whoever merges has it alone.  Where the file system
 * has no locks (errno says so, not that another has it) one does without. */
static attnc_status
lock_directory(const char *path, int *fd, attnc_error *e)
{
  char reason[128];
  *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (*fd < 0)
    return err_set(e, ATTNC_ERR_IO, "open %s: %s", path,
                   strerror_r(errno, reason, sizeof reason));
  while (flock(*fd, LOCK_EX) && errno == EINTR)
    continue;
  return ATTNC_OK;
}

static attnc_status
merge_manifest(OutputDir *d, attnc_error *e)
{
  const char *path = arena_printf(d->arena, "%s/" MANIFEST, d->path);
  TRY(keep_old(d, path, e));
  if (d->files.n > 1)
    qsort(d->files.at, (size_t)d->files.n, sizeof *d->files.at, by_name);
  Str s = str_new(d->arena);
  for (int i = 0; i < d->files.n; i++)
    str_printf(&s, "%s  %s\n", d->files.at[i].hash, d->files.at[i].name);
  return file_write(path, s.p, s.n, e);
}

attnc_status
output_manifest(OutputDir *d, attnc_error *e)
{
  int fd;
  TRY(lock_directory(d->path, &fd, e));
  attnc_status status = merge_manifest(d, e);
  close(fd);
  return status;
}
