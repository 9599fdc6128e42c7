#include "runtime/below.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_BYTES = 96, MAX_DEPTH = 16, MAX_LISTED = 4096 };

/* ---- trust ---- */

/* Why it is not to be trusted, or NULL. */
static const char *
distrust(const struct stat *st, bool own)
{
  if (own && st->st_uid != geteuid())
    return "it belongs to another user";
  if (st->st_mode & S_IWOTH)
    return "everybody may write to it";
  if (own && st->st_mode & S_IWGRP)
    return "its group may write to it (chmod g-w)";
  return NULL;
}

/* The descriptor, or -1 with *why and errno if it is not to be trusted. */
static int
trusted(const Below *b, int fd, const char **why)
{
  struct stat st;
  *why = b->io->fstat(fd, &st) ? "its owner cannot be told" : distrust(&st, b->own);
  if (!*why)
    return fd;
  b->io->close(fd);
  errno = EPERM;
  return -1;
}

int
below_root(const char *dir, bool own, const char **why)
{
  const Below b = {.io = &cache_io, .own = own};
  int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0)
    return trusted(&b, fd, why);
  *why = errno == ENOENT    ? "there is no such directory"
         : errno == ENOTDIR ? "it is not a directory"
                            : "it cannot be opened";
  return -1;
}

/* ---- opening ---- */

static int
open_dir(const Below *b, int at, const char *name, const char **why)
{
  int fd = b->io->openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, 0);
  if (fd >= 0)
    return trusted(b, fd, why);
  *why =
      errno == ELOOP || errno == ENOTDIR ? "it is not a directory" : strerrordesc_np(errno);
  return -1;
}

/* Closes `at` unless it is the root, and keeps errno. */
static void
leave(const Below *b, int at)
{
  int code = errno;
  if (at >= 0 && at != b->root)
    b->io->close(at);
  errno = code;
}

int
below_parent(const Below *b, const char *path, const char **leaf, const char **why)
{
  char name[NAME_BYTES];
  int at = b->root;
  for (const char *slash; (slash = strchr(path, '/')); path = slash + 1) {
    snprintf(name, sizeof name, "%.*s", (int)(slash - path), path);
    int next = open_dir(b, at, name, why);
    leave(b, at);
    if (next < 0)
      return -1;
    at = next;
  }
  *leaf = path;
  return at == b->root ? open_dir(b, b->root, ".", why) : at;
}

int
below_dir(const Below *b, const char *path, const char **why)
{
  const char *leaf;
  int at = below_parent(b, path, &leaf, why);
  if (at < 0)
    return -1;
  int fd = open_dir(b, at, leaf, why);
  leave(b, at);
  return fd;
}

/* ---- reading ---- */

static BelowRead
failed(BelowFile *out)
{
  out->why = strerrordesc_np(errno);
  return BELOW_FAILED;
}

static BelowRead
read_whole(const Below *b, int fd, size_t size, BelowFile *out)
{
  Entry *x = entry_room(size);
  size_t n = 0;
  errno = ENOMEM;
  while (x && n < size) {
    ssize_t got = b->io->read(fd, x->bytes + n, size - n);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0) {
      entry_release(x);
      return failed(out);
    }
    if (!got)
      break;
    n += (size_t)got;
  }
  if (!x)
    return failed(out);
  x->n = n; /* shorter than it was: entry_check will say so */
  out->entry = x;
  return BELOW_READ;
}

static BelowRead
read_open(const Below *b, int fd, BelowFile *out)
{
  struct stat st;
  if (b->io->fstat(fd, &st))
    return failed(out);
  out->stamp = st.st_mtime;
  out->why = !S_ISREG(st.st_mode)                       ? "it is not a file"
             : st.st_size < 0 || st.st_size > ENTRY_MAX ? "it is not of a possible size"
                                                        : distrust(&st, b->own);
  return out->why ? BELOW_BAD : read_whole(b, fd, (size_t)st.st_size, out);
}

static BelowRead
read_at(const Below *b, int at, const char *leaf, BelowFile *out)
{
  int fd = b->io->openat(at, leaf, FILE_READ_FLAGS | O_NOFOLLOW, 0);
  if (fd < 0 && errno == ENOENT)
    return BELOW_ABSENT;
  if (fd < 0 && (errno == ELOOP || errno == ENXIO)) { /* a link; a socket */
    out->why = "it is not a file";
    return BELOW_BAD;
  }
  if (fd < 0)
    return failed(out);
  BelowRead got = read_open(b, fd, out);
  b->io->close(fd);
  return got;
}

BelowRead
below_read(const Below *b, const char *path, BelowFile *out)
{
  const char *leaf;
  *out = (BelowFile){0};
  int at = below_parent(b, path, &leaf, &out->why);
  if (at < 0)
    return errno == ENOENT ? BELOW_ABSENT : BELOW_FAILED;
  BelowRead got = read_at(b, at, leaf, out);
  leave(b, at);
  return got;
}

/* ---- quarantine, removing ---- */

static bool
remove_tree(int at, const char *name, int depth)
{
  if (!unlinkat(at, name, 0) || errno == ENOENT)
    return true;
  int fd = depth ? openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;
  DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d) {
    if (fd >= 0)
      close(fd);
    return false;
  }
  for (struct dirent *e; (e = readdir(d));)
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
      remove_tree(fd, e->d_name, depth - 1);
  closedir(d);
  return !unlinkat(at, name, AT_REMOVEDIR);
}

bool
below_remove(int at, const char *name)
{
  return remove_tree(at, name, MAX_DEPTH);
}

/* The name that has been in an open directory for longest, of how many. */
static int
oldest_in(int at, char name[NAME_BYTES])
{
  int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0;
  DIR *d = fd < 0 ? NULL : fdopendir(fd);
  struct timespec oldest = {0};
  struct stat st;
  for (struct dirent *e; d && (e = readdir(d));) {
    if (e->d_name[0] == '.' || strlen(e->d_name) >= NAME_BYTES ||
        fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW))
      continue;
    bool older =
        !n || st.st_ctim.tv_sec < oldest.tv_sec ||
        (st.st_ctim.tv_sec == oldest.tv_sec && st.st_ctim.tv_nsec < oldest.tv_nsec);
    if (older) {
      oldest = st.st_ctim; /* a rename renews it */
      memcpy(name, e->d_name, strlen(e->d_name) + 1);
    }
    n++;
  }
  if (d)
    closedir(d);
  else if (fd >= 0)
    close(fd);
  return n;
}

static void
trim(int corrupt)
{
  char name[NAME_BYTES];
  for (int i = 0; i < MAX_LISTED && oldest_in(corrupt, name) > BELOW_CORRUPT; i++)
    below_remove(corrupt, name);
}

void
below_quarantine(const Below *b, const char *path)
{
  char name[NAME_BYTES];
  struct timespec now;
  const char *leaf, *why;
  int from = below_parent(b, path, &leaf, &why);
  if (from < 0)
    return;
  clock_gettime(CLOCK_REALTIME, &now);
  snprintf(name, sizeof name, "%.62s.%09ld", leaf, now.tv_nsec);
  b->io->mkdirat(b->root, "corrupt", 0700);
  int to = open_dir(b, b->root, "corrupt", &why);
  if (to < 0 || b->io->renameat(from, leaf, to, name))
    below_remove(from, leaf);
  else
    trim(to);
  leave(b, to);
  leave(b, from);
}
