#include "runtime/cache_gc.h"

#include "base/file.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STALE_SECONDS = 3600, KEPT_SECONDS = 7 * 86400, NAME_BYTES = 96 };

static Below
own(int root)
{
  return (Below){.io = &cache_io, .root = root, .own = true};
}

/* ---- walking ---- */

/* A name in an open directory. */
typedef struct File {
  int at;
  const char *name, *path; /* the path is from the root */
  const char *why; /* what is there is no file or directory of a cache; NULL: it is */
  time_t stamp;
  uint64_t bytes;
} File;
typedef void OnFile(void *user, const File *);

static void
on_name(int at, const char *dir, const char *name, OnFile *fn, void *user)
{
  char path[NAME_BYTES];
  struct stat st;
  int n = snprintf(path, sizeof path, "%s/%s", dir, name);
  if (n < 0 || (size_t)n >= sizeof path)
    return; /* no name of ours is that long */
  if (!fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW))
    fn(user, &(File){.at = at,
                     .name = name,
                     .path = path,
                     .why = S_ISREG(st.st_mode) ? NULL : "it is not a file",
                     .stamp = st.st_mtime,
                     .bytes = (uint64_t)st.st_blocks * 512});
}

/* Closes the directory. */
static void
each_name(int fd, const char *dir, OnFile *fn, void *user)
{
  DIR *d = fdopendir(fd);
  if (!d) {
    close(fd);
    return;
  }
  for (struct dirent *e; (e = readdir(d));)
    if (e->d_name[0] != '.')
      on_name(fd, dir, e->d_name, fn, user);
  closedir(d);
}

/* What is in a directory; the directory itself where it is none to be trusted. */
static void
each_in(const Below *b, const char *dir, OnFile *fn, void *user)
{
  const char *why, *leaf, *ignored;
  int fd = below_dir(b, dir, &why);
  if (fd >= 0) {
    each_name(fd, dir, fn, user);
    return;
  }
  int at = errno == ENOENT ? -1 : below_parent(b, dir, &leaf, &ignored);
  if (at < 0)
    return;
  fn(user, &(File){.at = at, .name = leaf, .path = dir, .why = why});
  close(at);
}

/* Whose entries cannot be opened for the one reason of their parent is told once. */
static void
each_entry(const Below *b, OnFile *fn, void *user)
{
  char dir[16];
  const char *why;
  int fd = below_dir(b, "entries", &why);
  if (fd < 0) {
    each_in(b, "entries", fn, user);
    return;
  }
  close(fd);
  for (int i = 0; i < 256; i++) {
    snprintf(dir, sizeof dir, "entries/%02x", i);
    each_in(b, dir, fn, user);
  }
}

/* ---- counting ---- */

static void
count_entry(void *user, const File *f)
{
  CacheUsage *u = user;
  u->entries += !f->why;
  u->bytes += f->bytes;
}

typedef struct Count {
  uint64_t n, bytes;
} Count;

static void
count_file(void *user, const File *f)
{
  Count *c = user;
  c->n++;
  c->bytes += f->bytes;
}

void
gc_count(int root, CacheUsage *u)
{
  const Below b = own(root);
  Count corrupt = {0}, temporary = {0}, failed = {0};
  u->entries = u->bytes = 0;
  each_entry(&b, count_entry, u);
  each_in(&b, "corrupt", count_file, &corrupt);
  each_in(&b, "tmp", count_file, &temporary);
  each_in(&b, "failed", count_file, &failed);
  u->corrupt = corrupt.n;
  u->temporary = temporary.n;
  u->bytes += corrupt.bytes + temporary.bytes + failed.bytes;
}

/* Reads the beginning of an entry. */
static void
weigh_entry(void *user, const File *f)
{
  CacheUsage *u = user;
  unsigned char head[ENTRY_PACKED];
  struct stat st;
  int fd = f->why ? -1 : openat(f->at, f->name, FILE_READ_FLAGS | O_NOFOLLOW);
  if (fd < 0)
    return;
  if (!fstat(fd, &st) && read(fd, head, sizeof head) == sizeof head) {
    uint64_t bytes = entry_bytes(head, (uint64_t)st.st_size);
    u->packed += bytes != (uint64_t)st.st_size;
    u->contents += bytes;
  }
  close(fd);
}

void
gc_stat(int root, CacheUsage *u)
{
  const Below b = own(root);
  gc_count(root, u);
  each_entry(&b, weigh_entry, u);
}

/* ---- making room ---- */

static void
remove_file(void *user, const File *f)
{
  CacheUsage *u = user;
  u->removed += below_remove(f->at, f->name);
}

/* What is in an entry's place and none. */
static void
remove_stranger(void *user, const File *f)
{
  if (f->why)
    remove_file(user, f);
}

/* A younger one may still be written to. */
static void
remove_stale(void *user, const File *f)
{
  if (time(NULL) - f->stamp > STALE_SECONDS)
    remove_file(user, f);
}

/* A request that was given up, which nobody looked at. */
static void
remove_old(void *user, const File *f)
{
  if (f->why || time(NULL) - f->stamp > KEPT_SECONDS)
    remove_file(user, f);
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
collect(void *user, const File *f)
{
  AgedList *l = user;
  if (f->why)
    return;
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

static bool
remove_path(const Below *b, const char *path)
{
  const char *leaf, *why;
  int at = below_parent(b, path, &leaf, &why);
  if (at < 0)
    return false;
  bool done = !unlinkat(at, leaf, 0);
  close(at);
  return done;
}

static void
evict(const Below *b, uint64_t max_bytes, CacheUsage *u)
{
  AgedList l = {0};
  uint64_t bytes = u->bytes;
  each_entry(b, collect, &l);
  if (l.n)
    qsort(l.at, l.n, sizeof *l.at, by_age);
  for (size_t i = 0; i < l.n && bytes > max_bytes; i++) {
    if (!remove_path(b, l.at[i].path))
      continue;
    u->removed++;
    u->evicted++;
    bytes -= l.at[i].bytes < bytes ? l.at[i].bytes : bytes;
  }
  free(l.at);
}

void
gc_evict(int root, uint64_t max_bytes, CacheUsage *u)
{
  const Below b = own(root);
  each_in(&b, "corrupt", remove_file, u);
  each_in(&b, "tmp", remove_stale, u);
  each_in(&b, "failed", remove_old, u);
  each_entry(&b, remove_stranger, u);
  gc_count(root, u);
  if (u->bytes > max_bytes) {
    evict(&b, max_bytes, u);
    gc_count(root, u);
  }
}

void
gc_clear(int root, CacheUsage *u)
{
  const Below b = own(root);
  each_entry(&b, remove_file, u);
  each_in(&b, "corrupt", remove_file, u);
  each_in(&b, "tmp", remove_file, u);
  each_in(&b, "failed", remove_file, u);
  gc_count(root, u);
}

/* ---- verifying ---- */

typedef struct Check {
  const Below *below;
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

/* NULL: it is sound, or gone meanwhile. */
static const char *
wrong_with(const Check *c, const File *f)
{
  BelowFile file;
  if (f->why)
    return f->why;
  if (below_read(c->below, f->path, &file) == BELOW_ABSENT)
    return NULL;
  if (!file.entry)
    return file.why;
  const char *why = entry_open(&file.entry, NULL);
  bool sealed = why == entry_needs_zstd; /* its checksum is right */
  if (!why && !named_by_key(file.entry, f->path))
    why = "the entry of another key";
  entry_release(file.entry);
  return sealed ? NULL : why;
}

static void
check_entry(void *user, const File *f)
{
  const Check *c = user;
  const char *why = wrong_with(c, f);
  if (!why)
    return;
  json_array_append_new(c->bad,
                        json_pack("{s:o, s:s}", "path",
                                  json_sprintf("%s/%s", c->dir, f->path), "reason", why));
  below_quarantine(c->below, f->path);
}

void
gc_verify(int root, const char *dir, json_t *bad, CacheUsage *u)
{
  const Below b = own(root);
  each_entry(&b, check_entry, &(Check){.below = &b, .dir = dir, .bad = bad});
  gc_count(root, u);
}
