/* cache_kit.h: what the tests of the disk cache share: entries that can be told apart, a
 * cache that listens to what it says, and damage. */
#ifndef ATTNC_TESTS_CACHE_KIT_H
#define ATTNC_TESTS_CACHE_KIT_H

#include "tests/unit/rt.h"

#include "runtime/cache.h"
#include "runtime/cache_gc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

enum { PTX_BYTES = 3000 };

static inline void
key_of(int i, unsigned char key[32])
{
  Sha256 s;
  sha256_start(&s);
  sha256_add(&s, &i, sizeof i);
  sha256_end(&s, key);
}

/* The kernel of key i: its texts can be told from every other's. */
static inline Entry *
entry_of(int i)
{
  unsigned char key[32];
  char spec[64], json[64], ptx[PTX_BYTES + 1];
  key_of(i, key);
  snprintf(spec, sizeof spec, "spec %d", i);
  snprintf(json, sizeof json, "{\"kernel\":%d}", i);
  for (int j = 0; j < PTX_BYTES; j++)
    ptx[j] = (char)('a' + (i * 7 + j) % 26);
  ptx[PTX_BYTES] = 0;
  Entry *x = entry_make(key, spec, json, ptx, PTX_BYTES);
  assert_non_null(x);
  return x;
}

static inline bool
same(const Entry *a, const Entry *b)
{
  return a->n == b->n && !memcmp(a->bytes, b->bytes, a->n) && !strcmp(a->spec, b->spec) &&
         !strcmp(a->json, b->json) && !strcmp(a->ptx, b->ptx);
}

static inline Entry *
copy_of(const Entry *x, size_t n)
{
  Entry *y = entry_room(n);
  memcpy(y->bytes, x->bytes, n < x->n ? n : x->n);
  return y;
}

static char said[8][512];
static int n_said;

static inline void
listen(void *user, int level, const char *message)
{
  assert_ptr_equal(user, said);
  assert_int_equal(level, 1);
  snprintf(said[n_said++ % 8], sizeof said[0], "%s", message);
}

static inline Cache *
open_with(const char *dir, CacheMode mode, uint64_t max, const char *readonly,
          const CacheIo *io)
{
  Cache *c = NULL;
  CacheConfig config = {.dir = dir,
                        .readonly = readonly,
                        .mode = mode,
                        .max_bytes = max,
                        .io = io,
                        .log = listen,
                        .log_user = said};
  n_said = 0;
  assert_int_equal(cache_open(&config, &c, NULL), ATTNC_OK);
  return c;
}

static inline Cache *
open_cache(const char *dir)
{
  return open_with(dir, CACHE_WRITE, 1 << 30, NULL, NULL);
}

static inline void
put(Cache *c, int i)
{
  Entry *x = entry_of(i);
  cache_put(c, x);
  entry_release(x);
}

/* The layer that had the right entry, NULL if none had any. */
static inline const char *
get(Cache *c, int i)
{
  unsigned char key[32];
  const char *layer = NULL;
  key_of(i, key);
  Entry *x = cache_get(c, key, &layer);
  if (!x)
    return NULL;
  Entry *y = entry_of(i);
  assert_true(same(x, y));
  entry_release(x);
  entry_release(y);
  return layer;
}

static inline void
path_of(const char *dir, int i, char path[512])
{
  unsigned char key[32];
  char hex[65];
  key_of(i, key);
  sha256_digest_hex(key, hex);
  snprintf(path, 512, "%s/entries/%.2s/%s", dir, hex, hex + 2);
}

static inline int
files_in(const char *dir, const char *leaf)
{
  char path[512];
  int n = 0;
  snprintf(path, sizeof path, "%s/%s", dir, leaf);
  DIR *d = opendir(path);
  for (struct dirent *at; d && (at = readdir(d));)
    n += at->d_name[0] != '.';
  if (d)
    closedir(d);
  return n;
}

static inline void
damage(const char *dir, int i, size_t at)
{
  char path[512], byte;
  path_of(dir, i, path);
  int fd = open(path, O_RDWR);
  assert_true(fd >= 0);
  assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
  byte ^= 4;
  assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
  close(fd);
}

#endif
