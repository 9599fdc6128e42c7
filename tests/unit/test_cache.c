#include "tests/unit/rt.h"

#include "runtime/cache.h"
#include "runtime/cache_keep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

enum { PTX_BYTES = 3000 };

/* ---- entries ---- */

static void
key_of(int i, unsigned char key[32])
{
  Sha256 s;
  sha256_start(&s);
  sha256_add(&s, &i, sizeof i);
  sha256_end(&s, key);
}

/* The kernel of key i: its texts can be told from every other's. */
static Entry *
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

static bool
same(const Entry *a, const Entry *b)
{
  return a->n == b->n && !memcmp(a->bytes, b->bytes, a->n) && !strcmp(a->spec, b->spec) &&
         !strcmp(a->json, b->json) && !strcmp(a->ptx, b->ptx);
}

static Entry *
copy_of(const Entry *x, size_t n)
{
  Entry *y = entry_room(n);
  memcpy(y->bytes, x->bytes, n < x->n ? n : x->n);
  return y;
}

static void
test_entry_round_trip(void **state)
{
  (void)state;
  Entry *x = entry_of(1), *y = copy_of(x, x->n);
  assert_null(entry_check(y, x->key));
  assert_true(same(x, y));
  assert_int_equal(y->ptx_n, PTX_BYTES);
  entry_release(y);
  y = copy_of(x, x->n);
  assert_null(entry_check(y, NULL));
  assert_memory_equal(y->key, x->key, 32);
  entry_release(y);
  unsigned char other[32];
  key_of(2, other);
  y = copy_of(x, x->n);
  assert_string_equal(entry_check(y, other), "the entry of another key");
  entry_release(y);
  entry_release(x);
}

static void
test_every_flipped_bit_is_seen(void **state)
{
  (void)state;
  Entry *x = entry_of(1);
  for (size_t at = 0; at < x->n; at++)
    for (int bit = 0; bit < 8; bit += at < ENTRY_HEADER ? 1 : 7) {
      Entry *y = copy_of(x, x->n);
      y->bytes[at] ^= (unsigned char)(1 << bit);
      if (!entry_check(y, x->key))
        fail_msg("byte %zu, bit %d", at, bit);
      entry_release(y);
    }
  entry_release(x);
}

static void
test_every_other_length_is_seen(void **state)
{
  (void)state;
  Entry *x = entry_of(1);
  for (size_t n = 0; n < x->n + 40; n++) {
    if (n == x->n)
      continue;
    Entry *y = copy_of(x, n);
    assert_non_null(entry_check(y, x->key));
    entry_release(y);
  }
  entry_release(x);
}

/* ---- a cache ---- */

static char said[8][512];
static int n_said;

static void
listen(void *user, int level, const char *message)
{
  assert_ptr_equal(user, said);
  assert_int_equal(level, 1);
  snprintf(said[n_said++ % 8], sizeof said[0], "%s", message);
}

static Cache *
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

static Cache *
open_cache(const char *dir)
{
  return open_with(dir, CACHE_WRITE, 1 << 30, NULL, NULL);
}

static void
put(Cache *c, int i)
{
  Entry *x = entry_of(i);
  cache_put(c, x);
  entry_release(x);
}

/* The layer that had the right entry, NULL if none had any. */
static const char *
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

static void
path_of(const char *dir, int i, char path[512])
{
  unsigned char key[32];
  char hex[65];
  key_of(i, key);
  sha256_digest_hex(key, hex);
  snprintf(path, 512, "%s/entries/%.2s/%s", dir, hex, hex + 2);
}

static int
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

static void
test_put_and_get(void **state)
{
  (void)state;
  char *dir = rt_scratch();
  Cache *c = open_cache(dir);
  assert_null(get(c, 1));
  put(c, 1);
  assert_string_equal(get(c, 1), "disk");
  assert_null(get(c, 2));
  put(c, 1);
  CacheCounters k = cache_counters(c);
  assert_int_equal(k.hits, 1);
  assert_int_equal(k.misses, 2);
  assert_int_equal(k.stored, 2);
  assert_int_equal(files_in(dir, "tmp"), 0);
  cache_close(c);
  c = open_cache(dir); /* another process would see the same */
  assert_string_equal(get(c, 1), "disk");
  assert_int_equal(n_said, 0);
  cache_close(c);
  rt_remove(dir);
}

static void
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

static void
test_corrupt_entries_are_moved_aside(void **state)
{
  (void)state;
  char *dir = rt_scratch();
  Cache *c = open_cache(dir);
  static const size_t where[] = {3, 9, 20, 50, 80, 110, 125, 1000}; /* each region */
  for (int i = 0; i < 8; i++) {
    put(c, i);
    damage(dir, i, where[i]);
    assert_null(get(c, i));
    assert_int_equal(files_in(dir, "corrupt"), i + 1);
    assert_null(get(c, i)); /* an ordinary miss now */
    put(c, i);
    assert_string_equal(get(c, i), "disk");
  }
  assert_int_equal(cache_counters(c).corrupt, 8);
  assert_int_equal(n_said, 1); /* told once */
  cache_close(c);
  rt_remove(dir);
}

static void
test_truncated_files_are_misses(void **state)
{
  (void)state;
  char *dir = rt_scratch(), path[512];
  Cache *c = open_cache(dir);
  Entry *x = entry_of(1);
  path_of(dir, 1, path);
  for (size_t n = 0; n < x->n; n += n < 300 ? 1 : 37) {
    put(c, 1);
    assert_int_equal(truncate(path, (off_t)n), 0);
    assert_null(get(c, 1));
  }
  entry_release(x);
  cache_close(c);
  rt_remove(dir);
}

static void
test_what_is_not_a_file_is_a_miss(void **state)
{
  (void)state;
  char *dir = rt_scratch(), path[512], other[600];
  Cache *c = open_cache(dir);
  put(c, 1);
  path_of(dir, 1, path);
  snprintf(other, sizeof other, "%s/elsewhere", dir);
  assert_int_equal(rename(path, other), 0);
  assert_int_equal(symlink(other, path), 0); /* links are not followed */
  assert_null(get(c, 1));
  assert_int_equal(access(path, F_OK), -1); /* moved aside */
  assert_int_equal(mkdir(path, 0700), 0);
  assert_null(get(c, 1));
  put(c, 1);
  assert_string_equal(get(c, 1), "disk");
  unlink(path);
  assert_int_equal(mkdir(path, 0700), 0);
  snprintf(other, sizeof other, "%s/inside", path);
  assert_int_equal(mkdir(other, 0700), 0);
  put(c, 1); /* without having been read: replaced all the same */
  assert_string_equal(get(c, 1), "disk");
  assert_int_equal(chmod(path, 0660), 0); /* who may write to it might have */
  assert_null(get(c, 1));
  assert_int_equal(cache_counters(c).store_errors, 0);
  assert_int_equal(cache_counters(c).corrupt, 3);
  cache_close(c);
  rt_remove(dir);
}

static int
kept(const Upkeep *u, json_t *bad, const char *path)
{
  for (size_t i = 0; i < json_array_size(bad); i++) {
    const char *p = json_string_value(json_object_get(json_array_get(bad, i), "path"));
    if (strstr(p, path))
      return (int)u->entries;
  }
  fail_msg("%s is not among the bad", path);
  return -1;
}

/* Whatever is in an entry's place, or in that of a directory of them, is seen by verify,
 * goes with gc and clear, and the key is stored again. */
static void
test_upkeep_of_what_is_no_file(void **state)
{
  static const char *const kinds[] = {
      "mkdir -p '%s/with/more'",
      "mkfifo '%s'",
      "ln -s /dev/zero '%s'",
      "mkdir '%s' && mkfifo '%s/x'",
  };
  (void)state;
  for (int way = 0; way < 3; way++)
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
      char *dir = rt_scratch(), path[512], command[1200];
      const char *why;
      Upkeep u = {0};
      json_t *bad = json_array();
      Cache *c = open_cache(dir);
      put(c, 1);
      put(c, 2);
      path_of(dir, 1, path);
      unlink(path);
      snprintf(command, sizeof command, kinds[i], path, path);
      assert_int_equal(system(command), 0);
      int root = below_root(dir, true, &why);
      alarm(30);
      if (way == 0) {
        keep_verify(root, dir, bad, &u);
        assert_int_equal(json_array_size(bad), 1);
        assert_int_equal(kept(&u, bad, path), 1);
        assert_int_equal(u.corrupt, 1);
      } else if (way == 1) {
        keep_room(root, 1 << 30, &u);
        assert_int_equal(u.removed, 1);
        assert_int_equal(u.entries, 1);
      } else {
        keep_clear(root, &u);
        assert_int_equal(u.removed, 2);
      }
      alarm(0);
      struct stat st;
      assert_int_equal(lstat(path, &st), -1);
      put(c, 1);
      assert_string_equal(get(c, 1), "disk");
      json_decref(bad);
      close(root);
      cache_close(c);
      rt_remove(dir);
    }
}

/* No directory below the root is trusted that is a link, or that others may write to. */
static void
test_directories_below_the_root(void **state)
{
  (void)state;
  static const char *const spoils[] = {
      "mv %s/entries/%.2s %s/away && ln -s ../away %s/entries/%.2s",
      "chmod 0777 %s/entries/%.2s",
      "chmod 0770 %s/entries/%.2s",
      "mv %s/entries %s/away && ln -s away %s/entries; : %.2s",
      "chmod 0770 %s/entries; : %.2s",
  };
  for (size_t i = 0; i < sizeof spoils / sizeof *spoils; i++) {
    char *dir = rt_scratch(), path[512], command[1200];
    const char *why;
    Upkeep u = {0};
    json_t *bad = json_array();
    Cache *c = open_cache(dir);
    put(c, 1);
    path_of(dir, 1, path);
    const char *hex = path + strlen(dir) + strlen("/entries/");
    if (i == 0)
      snprintf(command, sizeof command, spoils[i], dir, hex, dir, dir, hex);
    else if (i == 3)
      snprintf(command, sizeof command, spoils[i], dir, dir, dir, hex);
    else
      snprintf(command, sizeof command, spoils[i], dir, hex);
    assert_int_equal(system(command), 0);
    assert_null(get(c, 1)); /* nothing is read from there */
    put(c, 1);              /* nor written there */
    assert_int_equal(cache_counters(c).store_errors, 1);
    assert_int_equal(n_said, 2); /* each kind of trouble once */
    int root = below_root(dir, true, &why);
    keep_verify(root, dir, bad, &u);
    assert_int_equal(json_array_size(bad), 1);
    put(c, 1);
    assert_string_equal(get(c, 1), "disk");
    json_decref(bad);
    close(root);
    cache_close(c);
    rt_remove(dir);
  }
}

/* What is kept for inspection counts, and has a bound. */
static void
test_corrupt_has_a_bound(void **state)
{
  (void)state;
  char *dir = rt_scratch();
  const char *why;
  Upkeep u = {0};
  Cache *c = open_cache(dir);
  for (int i = 0; i < BELOW_CORRUPT + 20; i++) {
    put(c, i);
    damage(dir, i, 200);
    assert_null(get(c, i));
  }
  assert_int_equal(files_in(dir, "corrupt"), BELOW_CORRUPT);
  int root = below_root(dir, true, &why);
  keep_count(root, &u);
  assert_int_equal(u.entries, 0);
  assert_int_equal(u.bytes, BELOW_CORRUPT * 4096);
  close(root);
  cache_close(c);
  rt_remove(dir);
}

/* A refused layer is told beside a refused directory. */
static void
test_every_trouble_is_told(void **state)
{
  (void)state;
  char *dir = rt_scratch(), *shared = rt_scratch();
  chmod(dir, 0770);
  chmod(shared, 0777);
  Cache *c = open_with(dir, CACHE_WRITE, 1 << 30, shared, NULL);
  assert_int_equal(n_said, 2);
  assert_non_null(strstr(said[0], "its group may write to it"));
  assert_non_null(strstr(said[1], "everybody may write to it"));
  cache_close(c);
  chmod(dir, 0700);
  chmod(shared, 0770); /* a layer's group is its owner's affair */
  c = open_with(dir, CACHE_WRITE, 1 << 30, shared, NULL);
  assert_int_equal(n_said, 0);
  cache_close(c);
  rt_remove(dir);
  rt_remove(shared);
}

/* Whoever asks for a key does not wait at a FIFO in the place of its entry. */
static void
test_a_fifo_is_a_miss(void **state)
{
  (void)state;
  char *dir = rt_scratch(), *shared = rt_scratch(), path[512];
  Cache *c = open_cache(shared);
  put(c, 2);
  cache_close(c);
  path_of(shared, 2, path);
  unlink(path);
  assert_int_equal(mkfifo(path, 0644), 0);
  c = open_with(dir, CACHE_WRITE, 1 << 30, shared, NULL);
  put(c, 1);
  path_of(dir, 1, path);
  unlink(path);
  assert_int_equal(mkfifo(path, 0600), 0);
  alarm(30);
  assert_null(get(c, 1));
  assert_null(get(c, 2));
  alarm(0);
  put(c, 1);
  assert_string_equal(get(c, 1), "disk");
  cache_close(c);
  rt_remove(dir);
  rt_remove(shared);
}

static void
test_readonly_layers(void **state)
{
  (void)state;
  char *dir = rt_scratch(), *shared = rt_scratch(), list[600], path[512];
  Cache *c = open_cache(shared);
  put(c, 1);
  put(c, 2);
  cache_close(c);
  snprintf(list, sizeof list, "/nowhere/at/all:%s", shared);
  c = open_with(dir, CACHE_WRITE, 1 << 30, list, NULL);
  assert_int_equal(n_said, 1); /* the one that is not there */
  assert_string_equal(get(c, 1), "readonly");
  damage(shared, 2, 200);
  assert_null(get(c, 2));
  path_of(shared, 2, path);
  assert_int_equal(access(path, F_OK), 0); /* not ours to move */
  put(c, 1);
  assert_string_equal(get(c, 1), "disk");
  assert_int_equal(cache_counters(c).readonly_hits, 1);
  cache_close(c);
  rt_remove(dir);
  rt_remove(shared);
}

static void
test_modes(void **state)
{
  (void)state;
  char *dir = rt_scratch();
  Cache *c = open_with(dir, CACHE_READ, 1 << 30, NULL, NULL);
  put(c, 1);
  assert_null(get(c, 1));
  assert_int_equal(files_in(dir, ""), 0);
  cache_close(c);
  c = open_cache(dir);
  put(c, 1);
  cache_close(c);
  c = open_with(dir, CACHE_READ, 1 << 30, NULL, NULL);
  assert_string_equal(get(c, 1), "disk");
  cache_close(c);
  c = open_with(dir, CACHE_OFF, 1 << 30, dir, NULL);
  assert_null(get(c, 1));
  cache_close(c);
  rt_remove(dir);
}

static void
test_directories_that_are_refused(void **state)
{
  (void)state;
  char *dir = rt_scratch(), path[512];
  assert_int_equal(chmod(dir, 0777), 0);
  Cache *c = open_cache(dir);
  assert_non_null(strstr(cache_refusal(c), "everybody may write"));
  put(c, 1);
  assert_null(get(c, 1));
  assert_int_equal(files_in(dir, ""), 0);
  assert_int_equal(n_said, 1);
  cache_close(c);
  chmod(dir, 0700);
  if (geteuid() == 0) { /* only root can give a directory away */
    assert_int_equal(chown(dir, 12345, 12345), 0);
    c = open_cache(dir);
    assert_non_null(strstr(cache_refusal(c), "another user"));
    cache_close(c);
    assert_int_equal(chown(dir, 0, 0), 0);
  }
  rt_write(dir, "file", "", 0);
  snprintf(path, sizeof path, "%s/file/cache", dir);
  c = open_cache(path);
  assert_non_null(cache_refusal(c));
  put(c, 1);
  assert_null(get(c, 1));
  cache_close(c);
  rt_remove(dir);
}

static void
test_removed_while_open(void **state)
{
  (void)state;
  char *dir = rt_scratch();
  Cache *c = open_cache(dir);
  put(c, 1);
  char command[600];
  snprintf(command, sizeof command, "rm -rf %s", dir);
  assert_int_equal(system(command), 0);
  assert_null(get(c, 1));
  put(c, 2);
  put(c, 3);
  assert_int_equal(cache_counters(c).store_errors, 2);
  assert_int_equal(n_said, 1);
  cache_close(c);
  rt_remove(dir);
}

/* ---- system calls that fail ---- */

static struct {
  const char *call; /* NULL: none fails */
  int nth, count, code;
  bool short_counts; /* reads and writes of at most 7 bytes */
} fault;

static bool
fails(const char *call)
{
  if (!fault.call || strcmp(call, fault.call) != 0 || ++fault.count != fault.nth)
    return false;
  errno = fault.code;
  return true;
}

static size_t
few(size_t n)
{
  return fault.short_counts && n > 7 ? 7 : n;
}

static int
f_openat(int d, const char *p, int f, mode_t m)
{
  return fails("openat") ? -1 : cache_io.openat(d, p, f, m);
}
static int
f_fstat(int fd, struct stat *st)
{
  return fails("fstat") ? -1 : fstat(fd, st);
}
static ssize_t
f_read(int fd, void *p, size_t n)
{
  return fails("read") ? -1 : read(fd, p, few(n));
}
static ssize_t
f_write(int fd, const void *p, size_t n)
{
  return fails("write") ? -1 : write(fd, p, few(n));
}
static int
f_fsync(int fd)
{
  return fails("fsync") ? -1 : fsync(fd);
}
static int
f_close(int fd)
{
  int r = close(fd);
  return fails("close") ? -1 : r;
}
static int
f_futimens(int fd, const struct timespec t[2])
{
  return fails("futimens") ? -1 : futimens(fd, t);
}
static int
f_mkdirat(int d, const char *p, mode_t m)
{
  return fails("mkdirat") ? -1 : mkdirat(d, p, m);
}
static int
f_renameat(int d, const char *a, int e, const char *b)
{
  return fails("renameat") ? -1 : renameat(d, a, e, b);
}
static int
f_unlinkat(int d, const char *p, int f)
{
  return fails("unlinkat") ? -1 : unlinkat(d, p, f);
}
static const CacheIo faulty = {
#define X(type, name, args) .name = f_##name,
    CACHE_IO_TABLE(X)
#undef X
};

/* Whatever fails, and whenever: the caller sees a hit with the right bytes or a miss, and
 * once the trouble is over the cache works. */
static void
test_every_call_failing(void **state)
{
  static const char *const calls[] = {
#define X(type, name, args) #name,
      CACHE_IO_TABLE(X)
#undef X
  };
  static const int codes[] = {ENOSPC, EDQUOT, EROFS, ESTALE, EACCES, EIO, EBUSY, EINTR};
  (void)state;
  int tried = 0;
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
    for (size_t j = 0; j < sizeof codes / sizeof *codes; j++)
      for (int nth = 1; nth <= 3; nth++, tried++) {
        char *dir = rt_scratch();
        Cache *c = open_with(dir, CACHE_WRITE, 1 << 30, NULL, &faulty);
        fault.call = calls[i];
        fault.nth = nth;
        fault.code = codes[j];
        fault.count = 0;
        put(c, 1);
        get(c, 1);
        put(c, 2);
        get(c, 2);
        assert_true(n_said <= 1);
        fault.call = NULL;
        put(c, 1);
        assert_string_equal(get(c, 1), "disk");
        cache_close(c);
        rt_remove(dir);
      }
  print_message("%d ways to fail\n", tried);
}

static void
test_failures_are_counted(void **state)
{
  (void)state;
  char *dir = rt_scratch();
  Cache *c = open_with(dir, CACHE_WRITE, 1 << 30, NULL, &faulty);
  fault.call = "write";
  fault.nth = 1;
  fault.code = ENOSPC;
  fault.count = 0;
  put(c, 1);
  fault.call = NULL;
  assert_int_equal(cache_counters(c).store_errors, 1);
  assert_int_equal(files_in(dir, "tmp"), 0); /* the half-written file is gone */
  assert_int_equal(n_said, 1);
  assert_non_null(strstr(said[0], "write: No space left on device"));
  put(c, 1);
  fault.call = "read";
  fault.code = ESTALE;
  fault.count = 0;
  assert_null(get(c, 1));
  fault.call = NULL;
  assert_int_equal(cache_counters(c).read_errors, 1);
  assert_int_equal(cache_counters(c).corrupt, 0); /* not the file's fault */
  assert_string_equal(get(c, 1), "disk");
  cache_close(c);
  rt_remove(dir);
}

static void
test_short_reads_and_writes(void **state)
{
  (void)state;
  char *dir = rt_scratch();
  Cache *c = open_with(dir, CACHE_WRITE, 1 << 30, NULL, &faulty);
  fault.short_counts = true;
  put(c, 1);
  assert_string_equal(get(c, 1), "disk");
  fault.short_counts = false;
  assert_string_equal(get(c, 1), "disk");
  cache_close(c);
  rt_remove(dir);
}

/* ---- size ---- */

static void
set_age(const char *dir, int i, int seconds)
{
  char path[512];
  path_of(dir, i, path);
  struct timespec t[2] = {{.tv_sec = time(NULL) - seconds},
                          {.tv_sec = time(NULL) - seconds}};
  assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
}

static bool
exists(const char *dir, int i)
{
  char path[512];
  path_of(dir, i, path);
  return access(path, F_OK) == 0;
}

static void
test_least_recently_used_go_first(void **state)
{
  (void)state;
  char *dir = rt_scratch();
  Cache *c = open_cache(dir);
  for (int i = 0; i < 10; i++) {
    put(c, i);
    set_age(dir, i, 20000 - 1000 * i);
  }
  assert_string_equal(get(c, 0), "disk"); /* used: now the youngest */
  cache_close(c);
  /* 4096 bytes each on disk; room for 5, to be cut to 4. */
  c = open_with(dir, CACHE_WRITE, 5 * 4096, NULL, NULL);
  put(c, 10);
  assert_true(exists(dir, 10));
  assert_true(exists(dir, 0));
  assert_true(exists(dir, 9));
  assert_false(exists(dir, 1));
  assert_false(exists(dir, 5));
  assert_int_equal(cache_counters(c).evicted, 7);
  cache_close(c);
  c = open_with(dir, CACHE_WRITE, 0, NULL, NULL); /* nothing may stay */
  put(c, 11);
  assert_false(exists(dir, 11));
  cache_close(c);
  rt_remove(dir);
}

static void
test_hits_renew_at_most_hourly(void **state)
{
  struct stat before, after;
  char path[512];
  (void)state;
  char *dir = rt_scratch();
  Cache *c = open_cache(dir);
  put(c, 1);
  path_of(dir, 1, path);
  set_age(dir, 1, 1800);
  stat(path, &before);
  get(c, 1);
  stat(path, &after);
  assert_int_equal(before.st_mtime, after.st_mtime);
  set_age(dir, 1, 7200);
  get(c, 1);
  stat(path, &after);
  assert_true(time(NULL) - after.st_mtime < 100);
  set_age(dir, 1, -7200); /* a clock that was set back */
  assert_string_equal(get(c, 1), "disk");
  cache_close(c);
  rt_remove(dir);
}

static void
test_upkeep(void **state)
{
  const char *why;
  (void)state;
  char *dir = rt_scratch(), path[512];
  Cache *c = open_cache(dir);
  for (int i = 0; i < 4; i++)
    put(c, i);
  damage(dir, 3, 500);
  rt_write(dir, "tmp/young", "x", 1);
  rt_write(dir, "tmp/old", "x", 1);
  snprintf(path, sizeof path, "%s/tmp/old", dir);
  struct timespec t[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
  utimensat(AT_FDCWD, path, t, 0);
  int root = below_root(dir, true, &why);
  Upkeep u = {0};
  keep_count(root, &u);
  assert_int_equal(u.entries, 4);
  assert_int_equal(u.temporary, 2);
  json_t *bad = json_array();
  keep_verify(root, dir, bad, &u);
  assert_int_equal(json_array_size(bad), 1);
  assert_string_equal(json_string_value(json_object_get(json_array_get(bad, 0), "reason")),
                      "the checksum is wrong");
  assert_int_equal(u.entries, 3);
  assert_int_equal(u.corrupt, 1);
  json_decref(bad);
  u = (Upkeep){0};
  keep_room(root, 1 << 30, &u);
  assert_int_equal(u.removed, 2); /* the corrupt one and the old temporary file */
  assert_int_equal(u.temporary, 1);
  assert_int_equal(u.entries, 3);
  u = (Upkeep){0};
  keep_clear(root, &u);
  assert_int_equal(u.removed, 4);
  assert_int_equal(u.entries + u.corrupt + u.temporary, 0);
  close(root);
  cache_close(c);
  rt_remove(dir);
}

/* ---- many processes, some of them killed ---- */

enum { PROCESSES = 16, KEYS = 40, ROUNDS = 12 };

/* Puts and gets until killed or done; 1: an entry was not what was put. */
static int
worker(const char *dir, unsigned seed)
{
  Cache *c = NULL;
  CacheConfig config = {.dir = dir, .mode = CACHE_WRITE, .max_bytes = 30 * 8192};
  if (cache_open(&config, &c, NULL) != ATTNC_OK)
    return 2;
  for (int n = 0; n < 400; n++) {
    unsigned char key[32];
    int i = (int)(rand_r(&seed) % KEYS);
    Entry *want = entry_of(i);
    key_of(i, key);
    Entry *x = cache_get(c, key, NULL);
    if (x && !same(x, want))
      return 1;
    if (!x)
      cache_put(c, want);
    entry_release(x);
    entry_release(want);
  }
  return cache_counters(c).corrupt ? 3 : 0;
}

static pid_t
start(const char *dir, unsigned seed)
{
  pid_t pid = fork();
  if (pid == 0)
    _exit(worker(dir, seed));
  assert_true(pid > 0);
  return pid;
}

static void
test_killed_writers_leave_nothing_torn(void **state)
{
  (void)state;
  char *dir = rt_scratch();
  unsigned seed = 7;
  int killed = 0;
  for (int round = 0; round < ROUNDS; round++) {
    pid_t pids[PROCESSES];
    for (int i = 0; i < PROCESSES; i++)
      pids[i] = start(dir, (unsigned)rand_r(&seed));
    for (int i = 0; i < PROCESSES; i += 2) {
      usleep((unsigned)rand_r(&seed) % 3000);
      kill(pids[i], SIGKILL);
    }
    for (int i = 0; i < PROCESSES; i++) {
      int status = 0;
      waitpid(pids[i], &status, 0);
      killed += WIFSIGNALED(status);
      if (WIFEXITED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
    }
  }
  assert_true(killed > 0);
  Cache *c = open_cache(dir);
  int found = 0;
  for (int i = 0; i < KEYS; i++)
    found += get(c, i) != NULL;
  assert_int_equal(cache_counters(c).corrupt, 0);
  print_message("%d of %d processes killed, %d temporary files left, %d keys present\n",
                killed, PROCESSES * ROUNDS, files_in(dir, "tmp"), found);
  cache_close(c);
  rt_remove(dir);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_entry_round_trip),
      cmocka_unit_test(test_every_flipped_bit_is_seen),
      cmocka_unit_test(test_every_other_length_is_seen),
      cmocka_unit_test(test_put_and_get),
      cmocka_unit_test(test_corrupt_entries_are_moved_aside),
      cmocka_unit_test(test_truncated_files_are_misses),
      cmocka_unit_test(test_what_is_not_a_file_is_a_miss),
      cmocka_unit_test(test_upkeep_of_what_is_no_file),
      cmocka_unit_test(test_directories_below_the_root),
      cmocka_unit_test(test_corrupt_has_a_bound),
      cmocka_unit_test(test_every_trouble_is_told),
      cmocka_unit_test(test_a_fifo_is_a_miss),
      cmocka_unit_test(test_readonly_layers),
      cmocka_unit_test(test_modes),
      cmocka_unit_test(test_directories_that_are_refused),
      cmocka_unit_test(test_removed_while_open),
      cmocka_unit_test(test_every_call_failing),
      cmocka_unit_test(test_failures_are_counted),
      cmocka_unit_test(test_short_reads_and_writes),
      cmocka_unit_test(test_least_recently_used_go_first),
      cmocka_unit_test(test_hits_renew_at_most_hourly),
      cmocka_unit_test(test_upkeep),
      cmocka_unit_test(test_killed_writers_leave_nothing_torn),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
