#include "tests/unit/cache_kit.h"

#include <signal.h>
#include <sys/wait.h>

/* ---- entries ---- */

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
  attnc_stats k = cache_counters(c);
  assert_int_equal(k.disk_hits, 1);
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
test_corrupt_entries_are_quarantined(void **state)
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
  assert_int_equal(access(path, F_OK), -1); /* quarantined */
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

static unsigned rate; /* of 1000 calls so many fail; 0: `fault` says */
static unsigned rate_seed;
static int injected;

static bool
fails(const char *call)
{
  static const int codes[] = {EIO,    EINTR,  ESTALE, EMFILE, ENOSPC, EROFS,
                              EACCES, EDQUOT, EBUSY,  ENOMEM, ENFILE, EPERM};
  if (rate) {
    if ((unsigned)rand_r(&rate_seed) % 1000 >= rate)
      return false;
    errno = codes[(unsigned)rand_r(&rate_seed) % (sizeof codes / sizeof *codes)];
    injected++;
    return true;
  }
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
static int
f_lock(int fd, struct flock *l)
{
  return fails("lock") ? -1 : cache_io.lock(fd, l);
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

/* Faults without end, at every rate: never a wrong entry, never a torn one, and the cache
 * works once they are over. */
static void
test_ten_thousand_faults(void **state)
{
  enum { FAULTS = 12000, KEYS_HERE = 12 };
  (void)state;
  char *dir = rt_scratch();
  const char *why;
  CacheUsage u = {0};
  json_t *bad = json_array();
  int calls = 0;
  injected = 0;
  rate_seed = 11;
  for (unsigned i = 0; injected < FAULTS; i++) {
    rate = 0;
    Cache *c = open_with(dir, CACHE_WRITE, 8 * 4096, dir, &faulty);
    fault.short_counts = i % 2;
    rate = 5 + i * 37 % 600;
    for (int n = 0; n < 60; n++, calls++) {
      int key = (int)((unsigned)rand_r(&rate_seed) % KEYS_HERE);
      if (!get(c, key)) /* compares what it finds */
        put(c, key);
    }
    rate = 0;
    assert_int_equal(cache_counters(c).corrupt, 0);
    cache_close(c);
  }
  fault.short_counts = false;
  int root = below_root(dir, true, &why);
  gc_verify(root, dir, bad, &u);
  assert_int_equal(json_array_size(bad), 0);
  close(root);
  json_decref(bad);
  Cache *c = open_cache(dir);
  for (int key = 0; key < KEYS_HERE; key++) {
    put(c, key);
    assert_string_equal(get(c, key), "disk");
  }
  cache_close(c);
  print_message("%d faults in %d gets and puts\n", injected, calls);
  rt_remove(dir);
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
      cmocka_unit_test(test_corrupt_entries_are_quarantined),
      cmocka_unit_test(test_truncated_files_are_misses),
      cmocka_unit_test(test_what_is_not_a_file_is_a_miss),
      cmocka_unit_test(test_a_fifo_is_a_miss),
      cmocka_unit_test(test_readonly_layers),
      cmocka_unit_test(test_modes),
      cmocka_unit_test(test_directories_that_are_refused),
      cmocka_unit_test(test_removed_while_open),
      cmocka_unit_test(test_every_call_failing),
      cmocka_unit_test(test_ten_thousand_faults),
      cmocka_unit_test(test_failures_are_counted),
      cmocka_unit_test(test_short_reads_and_writes),
      cmocka_unit_test(test_killed_writers_leave_nothing_torn),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
