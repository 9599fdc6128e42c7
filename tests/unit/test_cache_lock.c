/* The lock that spares compiles: who waits, for whom, how long, and what happens where
 * there are no locks.  That of several processes one compiles is test_get's to say. */
#include "tests/unit/cache_kit.h"

static CacheLock
lock_key(Cache *c, int i)
{
  unsigned char key[32];
  key_of(i, key);
  return cache_lock(c, key);
}

static Cache *
patient(const char *dir, int ms, const CacheIo *io)
{
  Cache *c = NULL;
  CacheConfig config = {
      .dir = dir, .mode = CACHE_WRITE, .max_bytes = 1 << 20, .io = io, .lock_ms = ms};
  assert_int_equal(cache_open(&config, &c, NULL), ATTNC_OK);
  return c;
}

static void
test_a_key_excludes_itself_alone(void **state)
{
  (void)state;
  char *dir = rt_scratch();
  Cache *a = patient(dir, 0, NULL), *b = patient(dir, 30, NULL);
  CacheLock one = lock_key(a, 1), two = lock_key(b, 2);
  assert_true(one.fd >= 0 && one.look_again);
  assert_true(two.fd >= 0);
  assert_int_equal(cache_counters(b).lock_waits, 0);
  CacheLock again = lock_key(b, 1);
  assert_int_equal(again.fd, -1);
  assert_true(again.look_again); /* whoever was waited for may have stored it */
  assert_int_equal(cache_counters(b).lock_waits, 1);
  assert_int_equal(cache_counters(b).lock_timeouts, 1);
  assert_in_range(cache_counters(b).lock_us, 30000, 5000000);
  cache_unlock(b, &again); /* of none */
  cache_unlock(a, &one);
  again = lock_key(b, 1);
  assert_true(again.fd >= 0);
  assert_int_equal(cache_counters(b).lock_waits, 1);
  cache_unlock(b, &again);
  cache_unlock(b, &two);
  put(a, 1); /* the file of locks is in nobody's way, and no upkeep removes it */
  CacheUsage u = {0};
  const char *why;
  int root = below_root(dir, true, &why);
  gc_clear(root, &u);
  close(root);
  char path[512];
  snprintf(path, sizeof path, "%s/locks", dir);
  assert_int_equal(access(path, F_OK), 0);
  cache_close(a);
  cache_close(b);
  rt_remove(dir);
}

/* A process that has the lock of key 1 once this returns. */
static pid_t
holder(const char *dir)
{
  int fds[2];
  char byte;
  assert_int_equal(pipe(fds), 0);
  pid_t pid = fork();
  if (pid == 0) {
    CacheLock l = lock_key(patient(dir, 0, NULL), 1);
    if (l.fd < 0 || write(fds[1], "x", 1) != 1)
      _exit(1);
    for (;;)
      pause();
  }
  close(fds[1]);
  assert_int_equal(read(fds[0], &byte, 1), 1);
  close(fds[0]);
  return pid;
}

static void
test_who_is_killed_has_no_lock(void **state)
{
  (void)state;
  char *dir = rt_scratch();
  Cache *c = patient(dir, 20000, NULL);
  pid_t pid = holder(dir);
  pid_t killer = fork();
  if (killer == 0) {
    usleep(50000);
    _exit(kill(pid, SIGKILL) != 0);
  }
  CacheLock l = lock_key(c, 1);
  assert_true(l.fd >= 0);
  assert_int_equal(cache_counters(c).lock_waits, 1);
  assert_int_equal(cache_counters(c).lock_timeouts, 0);
  assert_in_range(cache_counters(c).lock_us, 1000, 10000000);
  cache_unlock(c, &l);
  waitpid(pid, NULL, 0);
  waitpid(killer, NULL, 0);
  cache_close(c);
  rt_remove(dir);
}

/* One that stops without ending is not waited for longer than the cache says. */
static void
test_who_is_stopped_is_not_waited_for(void **state)
{
  (void)state;
  char *dir = rt_scratch();
  Cache *c = patient(dir, 40, NULL);
  pid_t pid = holder(dir);
  kill(pid, SIGSTOP);
  CacheLock l = lock_key(c, 1);
  assert_int_equal(l.fd, -1);
  assert_int_equal(cache_counters(c).lock_timeouts, 1);
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  cache_close(c);
  rt_remove(dir);
}

/* A copy of the descriptor in a child keeps nobody waiting. */
static void
test_a_fork_keeps_no_lock(void **state)
{
  (void)state;
  char *dir = rt_scratch();
  Cache *a = patient(dir, 0, NULL), *b = patient(dir, 30, NULL);
  CacheLock l = lock_key(a, 1);
  pid_t pid = fork();
  if (pid == 0)
    for (;;)
      pause();
  cache_unlock(a, &l);
  CacheLock m = lock_key(b, 1);
  assert_true(m.fd >= 0);
  cache_unlock(b, &m);
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  cache_close(a);
  cache_close(b);
  rt_remove(dir);
}

/* ---- where there are no locks ---- */

static int lock_code; /* what they fail with; 0: they work */

static int
no_lock(int fd, struct flock *l)
{
  if (!lock_code)
    return cache_io.lock(fd, l);
  errno = lock_code;
  return -1;
}

static void
test_without_locks(void **state)
{
  static const int codes[] = {ENOLCK, EINVAL, ENOSYS, EOPNOTSUPP, EIO, ESTALE};
  (void)state;
  char *dir = rt_scratch();
  CacheIo io = cache_io;
  io.lock = no_lock;
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
    lock_code = codes[i];
    Cache *c = patient(dir, 20000, &io);
    CacheLock l = lock_key(c, 1);
    assert_int_equal(l.fd, -1);
    assert_false(l.look_again);
    cache_unlock(c, &l);
    put(c, 1);
    assert_string_equal(get(c, 1), "disk");
    assert_int_equal(cache_counters(c).lock_waits, 0);
    cache_close(c);
  }
  lock_code = 0;
  rt_remove(dir);
}

/* Neither a cache that is only read, nor one that is off, nor one whose file of locks is no
 * file. */
static void
test_not_asked_for(void **state)
{
  (void)state;
  char *dir = rt_scratch(), path[512];
  static const CacheMode modes[] = {CACHE_OFF, CACHE_READ};
  for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
    Cache *c = open_with(dir, modes[i], 1 << 20, NULL, NULL);
    assert_int_equal(lock_key(c, 1).fd, -1);
    cache_close(c);
    assert_int_equal(files_in(dir, "."), 0);
  }
  Cache *c = open_cache(dir);
  snprintf(path, sizeof path, "%s/locks", dir);
  assert_int_equal(symlink("/etc/passwd", path), 0);
  assert_int_equal(lock_key(c, 1).fd, -1);
  unlink(path);
  assert_int_equal(mkdir(path, 0700), 0);
  assert_int_equal(lock_key(c, 1).fd, -1);
  put(c, 1);
  assert_string_equal(get(c, 1), "disk");
  cache_close(c);
  rt_remove(dir);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_key_excludes_itself_alone),
      cmocka_unit_test(test_who_is_killed_has_no_lock),
      cmocka_unit_test(test_who_is_stopped_is_not_waited_for),
      cmocka_unit_test(test_a_fork_keeps_no_lock),
      cmocka_unit_test(test_without_locks),
      cmocka_unit_test(test_not_asked_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
