#include "runtime/cache_keep.h"

#include "base/file.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STALE_SECONDS = 3600, NAME_BYTES = 96 };

/* ---- directories and files ---- */

int
keep_root(const char *dir, bool own, const char **why)
{
  struct stat st;
  *why = NULL;
  int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    *why = errno == ENOENT    ? "there is no such directory"
           : errno == ENOTDIR ? "it is not a directory"
                              : "it cannot be opened";
    return -1;
  }
  if (fstat(fd, &st))
    *why = "its owner cannot be told";
  else if (own && st.st_uid != geteuid())
    *why = "it belongs to another user";
  else if (st.st_mode & S_IWOTH)
    *why = "everybody may write to it";
  if (!*why)
    return fd;
  close(fd);
  return -1;
}

static Entry *
read_open(const CacheIo *io, int fd, const char **why)
{
  struct stat st;
  *why = "it is not a file of a possible size";
  if (io->fstat(fd, &st)) {
    *why = strerrordesc_np(errno);
    return NULL;
  }
  if (!S_ISREG(st.st_mode) || st.st_size < 0 || st.st_size > ENTRY_MAX)
    return NULL;
  Entry *x = entry_room((size_t)st.st_size);
  size_t n = 0;
  *why = "out of memory";
  while (x && n < x->n) {
    ssize_t got = io->read(fd, x->bytes + n, x->n - n);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0) {
      *why = strerrordesc_np(errno);
      entry_release(x);
      return NULL;
    }
    if (!got)
      break;
    n += (size_t)got;
  }
  if (x)
    x->n = n; /* shorter than it was: entry_check will say so */
  return x;
}

Entry *
keep_read(const CacheIo *io, int root, const char *path, const char **why, bool *absent)
{
  int fd = io->openat(root, path, FILE_READ_FLAGS | O_NOFOLLOW, 0);
  *absent = fd < 0 && errno == ENOENT;
  if (fd < 0) {
    *why = strerrordesc_np(errno);
    return NULL;
  }
  Entry *x = read_open(io, fd, why);
  io->close(fd);
  return x;
}

void
keep_aside(const CacheIo *io, int root, const char *path)
{
  char to[NAME_BYTES];
  struct timespec now;
  const char *name = strrchr(path, '/');
  clock_gettime(CLOCK_REALTIME, &now);
  snprintf(to, sizeof to, "corrupt/%.62s.%09ld", name ? name + 1 : path, now.tv_nsec);
  io->mkdirat(root, "corrupt", 0700);
  if (io->renameat(root, path, root, to))
    io->unlinkat(root, path, 0);
}

/* ---- walking ---- */

typedef struct File {
  const char *path; /* from the root */
  time_t stamp;
  uint64_t bytes;
} File;
typedef void OnFile(void *user, int root, const File *);

static void
on_name(int root, const char *dir, const char *name, OnFile *fn, void *user)
{
  char path[NAME_BYTES];
  struct stat st;
  int n = snprintf(path, sizeof path, "%s/%s", dir, name);
  if (n < 0 || (size_t)n >= sizeof path)
    return; /* no name of ours is that long */
  if (fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
    return;
  fn(user, root,
     &(File){.path = path, .stamp = st.st_mtime, .bytes = (uint64_t)st.st_blocks * 512});
}

static void
each_in(int root, const char *dir, OnFile *fn, void *user)
{
  int fd = openat(root, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d) {
    if (fd >= 0)
      close(fd);
    return;
  }
  for (struct dirent *at; (at = readdir(d));)
    if (at->d_name[0] != '.')
      on_name(root, dir, at->d_name, fn, user);
  closedir(d);
}

static void
each_entry(int root, OnFile *fn, void *user)
{
  for (int i = 0; i < 256; i++) {
    char dir[16];
    snprintf(dir, sizeof dir, "entries/%02x", i);
    each_in(root, dir, fn, user);
  }
}

/* ---- counting ---- */

static void
count_entry(void *user, int root, const File *f)
{
  Upkeep *u = user;
  (void)root;
  u->entries++;
  u->bytes += f->bytes;
}

static void
count_file(void *user, int root, const File *f)
{
  uint64_t *n = user;
  (void)root;
  (void)f;
  ++*n;
}

void
keep_count(int root, Upkeep *u)
{
  u->entries = u->bytes = u->corrupt = u->temporary = 0;
  each_entry(root, count_entry, u);
  each_in(root, "corrupt", count_file, &u->corrupt);
  each_in(root, "tmp", count_file, &u->temporary);
}

/* ---- making room ---- */

static void
remove_file(void *user, int root, const File *f)
{
  Upkeep *u = user;
  if (!unlinkat(root, f->path, 0))
    u->removed++;
}

/* A younger one may still be written to. */
static void
remove_stale(void *user, int root, const File *f)
{
  if (time(NULL) - f->stamp > STALE_SECONDS)
    remove_file(user, root, f);
}

typedef struct Aged {
  char path[NAME_BYTES];
  time_t stamp;
  uint64_t bytes;
} Aged;

typedef struct AgedList {
  Aged *at;
  size_t n, cap;
} AgedList;

static void
collect(void *user, int root, const File *f)
{
  AgedList *l = user;
  (void)root;
  if (l->n == l->cap) {
    size_t cap = l->cap ? l->cap * 2 : 256;
    Aged *at = realloc(l->at, cap * sizeof *at);
    if (!at)
      return; /* what was collected is a sample to evict from */
    l->at = at;
    l->cap = cap;
  }
  Aged *a = &l->at[l->n++];
  snprintf(a->path, sizeof a->path, "%s", f->path);
  a->stamp = f->stamp;
  a->bytes = f->bytes;
}

/* Oldest first; the path decides among equals, so that a sweep is the same anywhere. */
static int
by_age(const void *a, const void *b)
{
  const Aged *x = a, *y = b;
  if (x->stamp != y->stamp)
    return x->stamp < y->stamp ? -1 : 1;
  return strcmp(x->path, y->path);
}

static void
evict(int root, uint64_t max_bytes, Upkeep *u)
{
  AgedList l = {0};
  uint64_t bytes = u->bytes;
  each_entry(root, collect, &l);
  if (l.n)
    qsort(l.at, l.n, sizeof *l.at, by_age);
  for (size_t i = 0; i < l.n && bytes > max_bytes; i++) {
    if (unlinkat(root, l.at[i].path, 0))
      continue;
    u->removed++;
    u->evicted++;
    bytes -= l.at[i].bytes < bytes ? l.at[i].bytes : bytes;
  }
  free(l.at);
}

void
keep_room(int root, uint64_t max_bytes, Upkeep *u)
{
  each_in(root, "corrupt", remove_file, u);
  each_in(root, "tmp", remove_stale, u);
  keep_count(root, u);
  if (u->bytes > max_bytes) {
    evict(root, max_bytes, u);
    keep_count(root, u);
  }
}

void
keep_clear(int root, Upkeep *u)
{
  each_entry(root, remove_file, u);
  each_in(root, "corrupt", remove_file, u);
  each_in(root, "tmp", remove_file, u);
  keep_count(root, u);
}

/* ---- verifying ---- */

typedef struct Check {
  const char *dir;
  json_t *bad;
} Check;

static bool
named_by_key(const Entry *x, const char *path)
{
  char name[80];
  int n = snprintf(name, sizeof name, "entries/");
  for (int i = 0; i < 32; i++)
    n += snprintf(name + n, sizeof name - (size_t)n, i == 0 ? "%02x/" : "%02x", x->key[i]);
  return str_eq(name, path);
}

static void
check_entry(void *user, int root, const File *f)
{
  Check *c = user;
  const char *why;
  bool absent;
  Entry *x = keep_read(&cache_io, root, f->path, &why, &absent);
  if (x)
    why = entry_check(x, NULL);
  if (x && !why && !named_by_key(x, f->path))
    why = "the entry of another key";
  entry_release(x);
  if (!why || absent)
    return;
  json_array_append_new(c->bad,
                        json_pack("{s:o, s:s}", "path",
                                  json_sprintf("%s/%s", c->dir, f->path), "reason", why));
  keep_aside(&cache_io, root, f->path);
}

void
keep_verify(int root, const char *dir, json_t *bad, Upkeep *u)
{
  each_entry(root, check_entry, &(Check){.dir = dir, .bad = bad});
  keep_count(root, u);
}
