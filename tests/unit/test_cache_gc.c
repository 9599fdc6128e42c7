/* The upkeep of a cache's directory: what is in it, is it sound, making room; and what of
 * it is not trusted. */
#include "tests/unit/cache_kit.h"

static int
kept(const CacheUsage *u, json_t *bad, const char *path)
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
      CacheUsage u = {0};
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
        gc_verify(root, dir, bad, &u);
        assert_int_equal(json_array_size(bad), 1);
        assert_int_equal(kept(&u, bad, path), 1);
        assert_int_equal(u.corrupt, 1);
      } else if (way == 1) {
        gc_evict(root, 1 << 30, &u);
        assert_int_equal(u.removed, 1);
        assert_int_equal(u.entries, 1);
      } else {
        gc_clear(root, &u);
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
    CacheUsage u = {0};
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
    gc_verify(root, dir, bad, &u);
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
  CacheUsage u = {0};
  Cache *c = open_cache(dir);
  for (int i = 0; i < BELOW_CORRUPT + 20; i++) {
    put(c, i);
    damage(dir, i, 200);
    assert_null(get(c, i));
  }
  assert_int_equal(files_in(dir, "corrupt"), BELOW_CORRUPT);
  int root = below_root(dir, true, &why);
  gc_count(root, &u);
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
  snprintf(path, sizeof path, "%s/failed", dir);
  mkdir(path, 0700);
  rt_write(dir, "failed/young", "x", 1);
  rt_write(dir, "failed/old", "x", 1);
  struct timespec t[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
  for (int i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "%s/%s/old", dir, i ? "failed" : "tmp");
    utimensat(AT_FDCWD, path, t, 0);
  }
  int root = below_root(dir, true, &why);
  CacheUsage u = {0};
  gc_count(root, &u);
  assert_int_equal(u.entries, 4);
  assert_int_equal(u.temporary, 2);
  json_t *bad = json_array();
  gc_verify(root, dir, bad, &u);
  assert_int_equal(json_array_size(bad), 1);
  assert_string_equal(json_string_value(json_object_get(json_array_get(bad, 0), "reason")),
                      "the checksum is wrong");
  assert_int_equal(u.entries, 3);
  assert_int_equal(u.corrupt, 1);
  json_decref(bad);
  u = (CacheUsage){0};
  gc_evict(root, 1 << 30, &u);
  assert_int_equal(u.removed, 3); /* the corrupt one and the two old files */
  assert_int_equal(u.temporary, 1);
  assert_int_equal(u.entries, 3);
  u = (CacheUsage){0};
  gc_clear(root, &u);
  assert_int_equal(u.removed, 5);
  assert_int_equal(u.entries + u.corrupt + u.temporary, 0);
  close(root);
  cache_close(c);
  rt_remove(dir);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_upkeep_of_what_is_no_file),
      cmocka_unit_test(test_directories_below_the_root),
      cmocka_unit_test(test_corrupt_has_a_bound),
      cmocka_unit_test(test_every_trouble_is_told),
      cmocka_unit_test(test_least_recently_used_go_first),
      cmocka_unit_test(test_hits_renew_at_most_hourly),
      cmocka_unit_test(test_upkeep),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
