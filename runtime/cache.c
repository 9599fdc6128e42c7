#include "runtime/cache.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "runtime/cache_gc.h"
#include "runtime/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { MAX_LAYERS = 8, RENEW_SECONDS = 3600, TEMP_TRIES = 8 };

struct Cache {
  char *dir, *refusal;
  CacheMode mode;
  uint64_t max_bytes;
  const CacheIo *io;
  void (*log)(void *user, int level, const char *message);
  void *log_user;
  Below own; /* its root is -1 where it is not used */
  Below layers[MAX_LAYERS];
  int n_layers;
  attnc_stats *stats, own_stats;
  int lock_ms, level;
  uint64_t bytes;              /* atomic: on disk, as far as this process knows */
  int seeded, sweeping, temps; /* atomic */
  unsigned warned;             /* atomic: bits 1u << Trouble that were told */
};

/* Each is told once: a full disk would otherwise be told once a kernel. */
typedef enum Trouble { TROUBLE_READ, TROUBLE_BAD, TROUBLE_STORE } Trouble;

/* openat is variadic in libc. */
static int
real_openat(int dir, const char *path, int flags, mode_t mode)
{
  return openat(dir, path, flags, mode);
}

/* Of the open file, not of the process: threads and contexts of one process exclude each
 * other too. */
static int
real_lock(int fd, struct flock *l)
{
  return fcntl(fd, F_OFD_SETLK, l);
}

const CacheIo cache_io = {
    .openat = real_openat,
    .fstat = fstat,
    .read = read,
    .write = write,
    .fsync = fsync,
    .close = close,
    .futimens = futimens,
    .mkdirat = mkdirat,
    .renameat = renameat,
    .unlinkat = unlinkat,
    .lock = real_lock,
};

static void warn(const Cache *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void
warn(const Cache *c, const char *fmt, ...)
{
  char text[512];
  va_list args;
  if (!c->log)
    return;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  c->log(c->log_user, 1, text);
}

static bool
first(Cache *c, Trouble t)
{
  unsigned bit = 1u << t;
  return !(__atomic_fetch_or(&c->warned, bit, __ATOMIC_RELAXED) & bit);
}

/* ---- open and close ---- */

static void
open_root(Cache *c)
{
  const char *why = NULL;
  attnc_error error = {0};
  if (c->mode == CACHE_OFF)
    return;
  if (c->mode == CACHE_WRITE && file_mkdirs(c->dir, &error) != ATTNC_OK)
    why = error.message;
  else
    c->own.root = below_root(c->dir, true, &why);
  if (!why)
    return;
  c->refusal = strdup(why);
  warn(c, "cache %s is not used: %s", c->dir, why);
}

static void
open_layers(Cache *c, const char *list)
{
  char *copy = list && c->mode != CACHE_OFF ? strdup(list) : NULL, *save;
  for (char *dir = copy ? strtok_r(copy, ":", &save) : NULL;
       dir && c->n_layers < MAX_LAYERS; dir = strtok_r(NULL, ":", &save)) {
    const char *why;
    int fd = below_root(dir, false, &why);
    if (fd < 0)
      warn(c, "cache %s is not used: %s", dir, why);
    else
      c->layers[c->n_layers++] = (Below){.io = c->io, .root = fd};
  }
  free(copy);
}

attnc_status
cache_open(const CacheConfig *config, Cache **out, attnc_error *e)
{
  Cache *c = calloc(1, sizeof *c);
  if (c)
    c->dir = strdup(config->dir);
  if (!c || !c->dir) {
    free(c);
    return err_set(e, ATTNC_ERR_NOMEM, "cache: out of memory");
  }
  c->mode = config->mode;
  c->max_bytes = config->max_bytes;
  c->io = config->io ? config->io : &cache_io;
  c->log = config->log;
  c->log_user = config->log_user;
  c->stats = config->stats ? config->stats : &c->own_stats;
  c->level = config->level;
  c->lock_ms = config->lock_ms ? config->lock_ms : LOCK_MS;
  c->own = (Below){.io = c->io, .root = -1, .own = true};
  open_root(c);
  open_layers(c, config->readonly);
  *out = c;
  return ATTNC_OK;
}

void
cache_close(Cache *c)
{
  if (!c)
    return;
  if (c->own.root >= 0)
    close(c->own.root);
  for (int i = 0; i < c->n_layers; i++)
    close(c->layers[i].root);
  free(c->dir);
  free(c->refusal);
  free(c);
}

/* ---- reading ---- */

enum { PATH_BYTES = 96 };

static void
entry_path(const unsigned char key[32], char path[PATH_BYTES])
{
  char hex[65];
  sha256_digest_hex(key, hex);
  snprintf(path, PATH_BYTES, "entries/%.2s/%s", hex, hex + 2);
}

/* What is not an entry of this key is no answer. */
static Entry *
bad(Cache *c, const Below *b, const char *path, const char *why)
{
  stats_add(c->stats, corrupt, 1);
  if (first(c, TROUBLE_BAD))
    warn(c, "cache: %s is not used: %s", path, why);
  if (b->own && c->mode == CACHE_WRITE)
    below_quarantine(b, path);
  return NULL;
}

static Entry *
unread(Cache *c, const char *path, const char *why)
{
  stats_add(c->stats, read_errors, 1);
  if (first(c, TROUBLE_READ))
    warn(c, "cache: read %s: %s", path, why);
  return NULL;
}

/* A failure leaves the entry to look older than it is, no more. */
static void
renew(const Below *b, const char *path)
{
  const char *leaf, *why;
  int at = below_parent(b, path, &leaf, &why);
  if (at < 0)
    return;
  int fd = b->io->openat(at, leaf, FILE_READ_FLAGS | O_NOFOLLOW, 0);
  if (fd >= 0) {
    b->io->futimens(fd, NULL);
    b->io->close(fd);
  }
  b->io->close(at);
}

/* One layer's answer. */
static Entry *
layer_get(Cache *c, const Below *b, const unsigned char key[32])
{
  char path[PATH_BYTES];
  BelowFile file;
  entry_path(key, path);
  switch (below_read(b, path, &file)) {
  case BELOW_ABSENT:
    return NULL;
  case BELOW_FAILED:
    return unread(c, path, file.why);
  case BELOW_BAD:
    return bad(c, b, path, file.why);
  case BELOW_READ:
    break;
  }
  const char *why = entry_open(&file.entry, key);
  if (why) {
    entry_release(file.entry);
    return why == entry_needs_zstd ? unread(c, path, why) : bad(c, b, path, why);
  }
  if (b->own && c->mode == CACHE_WRITE && time(NULL) - file.stamp > RENEW_SECONDS)
    renew(b, path);
  return file.entry;
}

Entry *
cache_get(Cache *c, const unsigned char key[32], const char **layer)
{
  const char *which = "disk";
  Entry *x = c->own.root >= 0 ? layer_get(c, &c->own, key) : NULL;
  if (x)
    stats_add(c->stats, disk_hits, 1);
  for (int i = 0; !x && i < c->n_layers; i++) {
    x = layer_get(c, &c->layers[i], key);
    which = "readonly";
    if (x)
      stats_add(c->stats, readonly_hits, 1);
  }
  if (!x)
    stats_add(c->stats, misses, 1);
  if (layer)
    *layer = which;
  return x;
}

Entry *
cache_peek(Cache *c, const unsigned char key[32])
{
  Entry *x = c->own.root >= 0 ? layer_get(c, &c->own, key) : NULL;
  for (int i = 0; !x && i < c->n_layers; i++)
    x = layer_get(c, &c->layers[i], key);
  return x;
}

/* ---- writing ---- */

static int
write_all(const CacheIo *io, int fd, const unsigned char *p, size_t n)
{
  while (n) {
    ssize_t put = io->write(fd, p, n);
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      return -1;
    p += put;
    n -= (size_t)put;
  }
  return 0;
}

/* Where an entry is written and where it goes: descriptors. */
typedef struct Way {
  int tmp, shard;
  const char *leaf;      /* in the shard */
  char temp[PATH_BYTES]; /* in tmp */
  const char *failed;    /* the step that did, NULL: none */
  const char *why;       /* static */
} Way;

static bool
fail(Way *w, const char *step)
{
  w->failed = step;
  w->why = strerrordesc_np(errno);
  return false;
}

/* The name is no secret and need not be unique in the world: O_EXCL decides. */
static int
open_temp(Cache *c, Way *w)
{
  for (int i = 0; i < TEMP_TRIES; i++) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(w->temp, sizeof w->temp, "%ld.%d.%09ld", (long)getpid(),
             __atomic_add_fetch(&c->temps, 1, __ATOMIC_RELAXED), now.tv_nsec);
    int fd = c->io->openat(w->tmp, w->temp,
                           O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 || errno != EEXIST)
      return fd;
  }
  return -1;
}

static bool
write_temp(Cache *c, Way *w, const unsigned char *bytes, size_t n)
{
  int fd = open_temp(c, w);
  if (fd < 0)
    return fail(w, "create");
  if (write_all(c->io, fd, bytes, n))
    fail(w, "write");
  else if (c->io->fsync(fd))
    fail(w, "fsync");
  if (c->io->close(fd) && !w->failed)
    fail(w, "close");
  if (w->failed)
    c->io->unlinkat(w->tmp, w->temp, 0);
  return !w->failed;
}

/* A directory in the entry's place, which no rename replaces, is quarantined. */
static bool
put_in_place(Cache *c, Way *w, const char *path)
{
  for (int i = 0; i < 2; i++) {
    if (!c->io->renameat(w->tmp, w->temp, w->shard, w->leaf))
      return true;
    fail(w, "rename");
    if (errno != EISDIR && errno != ENOTEMPTY && errno != EEXIST)
      break;
    below_quarantine(&c->own, path);
  }
  c->io->unlinkat(w->tmp, w->temp, 0);
  return false;
}

static bool
make_dirs(Cache *c, Way *w, const char *path)
{
  char parent[PATH_BYTES] = "entries/ab";
  memcpy(parent, path, strlen(parent));
  const char *const dirs[] = {"tmp", "entries", parent};
  for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
    if (c->io->mkdirat(c->own.root, dirs[i], 0700) && errno != EEXIST)
      return fail(w, "mkdir");
  w->tmp = below_dir(&c->own, "tmp", &w->why);
  if (w->tmp < 0)
    w->failed = "open tmp";
  else
    w->shard = below_parent(&c->own, path, &w->leaf, &w->why);
  if (!w->failed && w->shard < 0)
    w->failed = "open its directory";
  return !w->failed;
}

/* The way that it took; failed: it did not get there.  key: of the entry in the bytes. */
static Way
store(Cache *c, const unsigned char key[32], const unsigned char *bytes, size_t n)
{
  char path[PATH_BYTES];
  Way w = {.tmp = -1, .shard = -1};
  entry_path(key, path);
  if (make_dirs(c, &w, path) && write_temp(c, &w, bytes, n) && put_in_place(c, &w, path))
    w.failed = NULL;
  if (w.tmp >= 0)
    c->io->close(w.tmp);
  if (w.shard >= 0)
    c->io->close(w.shard);
  return w;
}

/* One thread sweeps at a time; the others carry on. */
static void
make_room(Cache *c, size_t added)
{
  uint64_t bytes = __atomic_add_fetch(&c->bytes, added, __ATOMIC_RELAXED);
  int seeded = __atomic_load_n(&c->seeded, __ATOMIC_ACQUIRE);
  if ((seeded && bytes <= c->max_bytes) ||
      __atomic_exchange_n(&c->sweeping, 1, __ATOMIC_ACQUIRE))
    return;
  CacheUsage u = {0};
  if (!seeded)
    gc_count(c->own.root, &u);
  /* To nine tenths, so that the next entry does not sweep again. */
  if (seeded || u.bytes > c->max_bytes)
    gc_evict(c->own.root, c->max_bytes - c->max_bytes / 10, &u);
  __atomic_store_n(&c->bytes, u.bytes, __ATOMIC_RELAXED);
  stats_add(c->stats, evicted, u.evicted);
  __atomic_store_n(&c->seeded, 1, __ATOMIC_RELEASE);
  __atomic_store_n(&c->sweeping, 0, __ATOMIC_RELEASE);
}

void
cache_put(Cache *c, const Entry *x)
{
  if (c->own.root < 0 || c->mode != CACHE_WRITE)
    return;
  Entry *packed = entry_packed(x, c->level);
  const Entry *file = packed ? packed : x;
  const size_t n = file->n;
  Way w = store(c, x->key, file->bytes, n);
  entry_release(packed);
  if (w.failed) {
    stats_add(c->stats, store_errors, 1);
    if (first(c, TROUBLE_STORE))
      warn(c, "cache %s: %s: %s; kernels are kept in memory only", c->dir, w.failed, w.why);
    return;
  }
  stats_add(c->stats, stored, 1);
  make_room(c, n);
}

/* ---- locks ---- */

/* One file for all keys, which is never removed: a lock on a file that somebody has
 * unlinked meanwhile excludes nobody.  Each key has its own byte of it. */
static off_t
lock_at(const unsigned char key[32])
{
  uint64_t at = 0;
  for (int i = 0; i < 8; i++)
    at = at << 8 | key[i];
  return (off_t)(at >> 2);
}

/* The server of a network file system may not answer at all, and a lock of it may be good
 * for one machine alone; nfs(5), "local_lock". */
static bool
has_locks(int root)
{
  enum { NFS = 0x6969 }; /* statfs(2) */
  struct statfs fs;
  return !fstatfs(root, &fs) && fs.f_type != NFS;
}

typedef enum Try { TRY_OURS, TRY_TAKEN, TRY_NO_LOCKS } Try;

static Try
try_lock(Cache *c, const CacheLock *l)
{
  struct flock want = {
      .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = l->at, .l_len = 1};
  return !c->io->lock(l->fd, &want)           ? TRY_OURS
         : errno == EAGAIN || errno == EACCES ? TRY_TAKEN
                                              : TRY_NO_LOCKS;
}

static Try
wait_for_lock(Cache *c, const CacheLock *l)
{
  enum { MOST_MS = 32 };
  const double start = clock_seconds();
  Try got = TRY_TAKEN;
  stats_add(c->stats, lock_waits, 1);
  for (long ms = 1; got == TRY_TAKEN; ms = ms < MOST_MS ? 2 * ms : ms) {
    if (clock_seconds() - start > c->lock_ms / 1e3) {
      stats_add(c->stats, lock_timeouts, 1);
      break;
    }
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
    got = try_lock(c, l);
  }
  stats_since(c->stats, lock_us, start);
  return got;
}

CacheLock
cache_lock(Cache *c, const unsigned char key[32])
{
  CacheLock l = {.fd = -1, .at = lock_at(key)};
  if (c->own.root < 0 || c->mode != CACHE_WRITE || !has_locks(c->own.root))
    return l;
  l.fd = c->io->openat(c->own.root, "locks",
                       O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
  if (l.fd < 0)
    return l;
  Try got = try_lock(c, &l);
  l.look_again = got != TRY_NO_LOCKS;
  if (got == TRY_TAKEN)
    got = wait_for_lock(c, &l);
  if (got != TRY_OURS) {
    c->io->close(l.fd);
    l.fd = -1;
  }
  return l;
}

/* Closing alone would not do where a fork has left a copy of the descriptor. */
void
cache_unlock(Cache *c, CacheLock *l)
{
  struct flock none = {
      .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = l->at, .l_len = 1};
  if (l->fd < 0)
    return;
  c->io->lock(l->fd, &none);
  c->io->close(l->fd);
  l->fd = -1;
}

/* ---- asking ---- */

attnc_stats
cache_counters(const Cache *c)
{
  return stats_read(c->stats);
}

const char *
cache_dir(const Cache *c)
{
  return c->dir;
}

CacheMode
cache_mode(const Cache *c)
{
  return c->mode;
}

uint64_t
cache_max_bytes(const Cache *c)
{
  return c->max_bytes;
}

const char *
cache_refusal(const Cache *c)
{
  return c->refusal;
}
