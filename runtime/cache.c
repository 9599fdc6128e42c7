#include "runtime/cache.h"

#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "runtime/cache_keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_LAYERS = 8, RENEW_SECONDS = 3600, TEMP_TRIES = 8 };

struct Cache {
  char *dir, *refusal;
  CacheMode mode;
  uint64_t max_bytes;
  const CacheIo *io;
  void (*log)(void *user, int level, const char *message);
  void *log_user;
  int root; /* -1: not used */
  int layers[MAX_LAYERS], n_layers;
  CacheCounters counters;              /* atomic, each */
  uint64_t bytes;                      /* atomic: on disk, as far as this process knows */
  int seeded, sweeping, warned, temps; /* atomic */
};

/* openat is variadic in libc. */
static int
real_openat(int dir, const char *path, int flags, mode_t mode)
{
  return openat(dir, path, flags, mode);
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
};

static void
count(uint64_t *counter)
{
  __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

/* The first trouble only: a full disk would otherwise be told once a kernel. */
static void warn_once(Cache *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void
warn_once(Cache *c, const char *fmt, ...)
{
  char text[512];
  va_list args;
  if (!c->log || __atomic_exchange_n(&c->warned, 1, __ATOMIC_RELAXED))
    return;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  c->log(c->log_user, 1, text);
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
    c->root = keep_root(c->dir, true, &why);
  if (!why)
    return;
  c->refusal = strdup(why);
  warn_once(c, "cache %s is not used: %s", c->dir, why);
}

static void
open_layers(Cache *c, const char *list)
{
  char *copy = list && c->mode != CACHE_OFF ? strdup(list) : NULL, *save;
  for (char *dir = copy ? strtok_r(copy, ":", &save) : NULL;
       dir && c->n_layers < MAX_LAYERS; dir = strtok_r(NULL, ":", &save)) {
    const char *why;
    int fd = keep_root(dir, false, &why);
    if (fd < 0)
      warn_once(c, "cache %s is not used: %s", dir, why);
    else
      c->layers[c->n_layers++] = fd;
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
  c->root = -1;
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
  if (c->root >= 0)
    close(c->root);
  for (int i = 0; i < c->n_layers; i++)
    close(c->layers[i]);
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

/* One layer's answer; what is not an entry of this key is no answer. */
static Entry *
layer_get(Cache *c, int root, bool writable, const unsigned char key[32])
{
  char path[PATH_BYTES];
  const char *why = NULL;
  bool absent;
  entry_path(key, path);
  Entry *x = keep_read(c->io, root, path, &why, &absent);
  if (!x) {
    if (!absent) {
      count(&c->counters.read_errors);
      warn_once(c, "cache: read %s: %s", path, why);
    }
    return NULL;
  }
  why = entry_check(x, key);
  if (!why)
    return x;
  entry_release(x);
  count(&c->counters.corrupt);
  warn_once(c, "cache: %s is not used: %s", path, why);
  if (writable)
    keep_aside(c->io, root, path);
  return NULL;
}

/* A failure leaves the entry to look older than it is, no more. */
static void
renew(Cache *c, const unsigned char key[32])
{
  char path[PATH_BYTES];
  struct stat st;
  entry_path(key, path);
  int fd = c->io->openat(c->root, path, FILE_READ_FLAGS | O_NOFOLLOW, 0);
  if (fd < 0)
    return;
  if (!c->io->fstat(fd, &st) && time(NULL) - st.st_mtime > RENEW_SECONDS)
    c->io->futimens(fd, NULL);
  c->io->close(fd);
}

Entry *
cache_get(Cache *c, const unsigned char key[32], const char **layer)
{
  const char *which = "disk";
  Entry *x = c->root >= 0 ? layer_get(c, c->root, c->mode == CACHE_WRITE, key) : NULL;
  if (x && c->mode == CACHE_WRITE)
    renew(c, key);
  if (x)
    count(&c->counters.hits);
  for (int i = 0; !x && i < c->n_layers; i++) {
    x = layer_get(c, c->layers[i], false, key);
    which = "readonly";
    if (x)
      count(&c->counters.readonly_hits);
  }
  if (!x)
    count(&c->counters.misses);
  if (layer)
    *layer = which;
  return x;
}

Entry *
cache_peek(Cache *c, const unsigned char key[32])
{
  Entry *x = c->root >= 0 ? layer_get(c, c->root, c->mode == CACHE_WRITE, key) : NULL;
  for (int i = 0; !x && i < c->n_layers; i++)
    x = layer_get(c, c->layers[i], false, key);
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

/* The name is no secret and need not be unique in the world: O_EXCL decides. */
static int
open_temp(Cache *c, char temp[PATH_BYTES])
{
  for (int i = 0; i < TEMP_TRIES; i++) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(temp, PATH_BYTES, "tmp/%ld.%d.%09ld", (long)getpid(),
             __atomic_add_fetch(&c->temps, 1, __ATOMIC_RELAXED), now.tv_nsec);
    int fd = c->io->openat(c->root, temp,
                           O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 || errno != EEXIST)
      return fd;
  }
  return -1;
}

/* The call that failed, errno saying how; NULL: done. */
static const char *
write_temp(Cache *c, const char *temp, int fd, const Entry *x, const char *path)
{
  const CacheIo *io = c->io;
  const char *failed = NULL;
  if (write_all(io, fd, x->bytes, x->n))
    failed = "write";
  else if (io->fsync(fd))
    failed = "fsync";
  int code = errno;
  if (io->close(fd) && !failed) {
    failed = "close";
    code = errno;
  }
  if (!failed && io->renameat(c->root, temp, c->root, path)) {
    failed = "rename";
    code = errno;
  }
  if (failed)
    io->unlinkat(c->root, temp, 0);
  errno = code;
  return failed;
}

static const char *
make_dirs(Cache *c, const char *path)
{
  char parent[PATH_BYTES] = "entries/ab";
  memcpy(parent, path, strlen(parent));
  const char *const dirs[] = {"tmp", "entries", parent};
  for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
    if (c->io->mkdirat(c->root, dirs[i], 0700) && errno != EEXIST)
      return "mkdir";
  return NULL;
}

static const char *
store(Cache *c, const Entry *x)
{
  char path[PATH_BYTES], temp[PATH_BYTES];
  entry_path(x->key, path);
  const char *failed = make_dirs(c, path);
  if (failed)
    return failed;
  int fd = open_temp(c, temp);
  return fd < 0 ? "create" : write_temp(c, temp, fd, x, path);
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
  Upkeep u = {0};
  if (!seeded)
    keep_count(c->root, &u);
  /* To nine tenths, so that the next entry does not sweep again. */
  if (seeded || u.bytes > c->max_bytes)
    keep_room(c->root, c->max_bytes - c->max_bytes / 10, &u);
  __atomic_store_n(&c->bytes, u.bytes, __ATOMIC_RELAXED);
  __atomic_add_fetch(&c->counters.evicted, u.evicted, __ATOMIC_RELAXED);
  __atomic_store_n(&c->seeded, 1, __ATOMIC_RELEASE);
  __atomic_store_n(&c->sweeping, 0, __ATOMIC_RELEASE);
}

void
cache_put(Cache *c, const Entry *x)
{
  if (c->root < 0 || c->mode != CACHE_WRITE)
    return;
  const char *failed = store(c, x);
  if (failed) {
    char reason[128];
    int code = errno;
    count(&c->counters.store_errors);
    warn_once(c, "cache %s: %s: %s; kernels are kept in memory only", c->dir, failed,
              strerror_r(code, reason, sizeof reason));
    return;
  }
  count(&c->counters.stored);
  make_room(c, x->n);
}

/* ---- asking ---- */

CacheCounters
cache_counters(const Cache *c)
{
  CacheCounters k;
#define X(name, text) k.name = __atomic_load_n(&c->counters.name, __ATOMIC_RELAXED);
  CACHE_COUNTER_TABLE(X)
#undef X
  return k;
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
