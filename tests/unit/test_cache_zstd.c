/* Compressed entries: as good as the others, found when they are damaged, and left alone by
 * who cannot read them. */
#include "tests/unit/cache_kit.h"

#include "runtime/zstd.h"

static Cache *
open_level(const char *dir, int level)
{
  Cache *c = NULL;
  CacheConfig config = {
      .dir = dir, .mode = CACHE_WRITE, .max_bytes = 1 << 30, .level = level};
  assert_int_equal(cache_open(&config, &c, NULL), ATTNC_OK);
  return c;
}

static off_t
size_of(const char *dir, int i)
{
  char path[512];
  struct stat st;
  path_of(dir, i, path);
  assert_int_equal(stat(path, &st), 0);
  return st.st_size;
}

static CacheUsage
verified(const char *dir, size_t bad_ones)
{
  const char *why;
  json_t *bad = json_array();
  CacheUsage u = {0};
  int root = below_root(dir, true, &why);
  gc_verify(root, dir, bad, &u);
  assert_int_equal(json_array_size(bad), bad_ones);
  gc_stat(root, &u);
  close(root);
  json_decref(bad);
  return u;
}

static void
test_both_kinds_are_read(void **state)
{
  (void)state;
  char *dir = rt_scratch();
  Cache *raw = open_level(dir, 0), *packs = open_level(dir, 3);
  put(raw, 1);
  put(packs, 2);
  assert_in_range(size_of(dir, 2), 100, size_of(dir, 1) / 3);
  for (int i = 1; i <= 2; i++) {
    assert_string_equal(get(raw, i), "disk");
    assert_string_equal(get(packs, i), "disk");
  }
  CacheUsage u = verified(dir, 0);
  assert_int_equal(u.entries, 2);
  assert_int_equal(u.packed, 1);
  assert_int_equal(u.contents, 2 * size_of(dir, 1));
  put(packs, 1); /* replaces */
  put(raw, 2);
  assert_string_equal(get(raw, 1), "disk");
  assert_string_equal(get(packs, 2), "disk");
  cache_close(raw);
  cache_close(packs);
  rt_remove(dir);
}

/* Every bit of a packed entry, and every length. */
static void
test_damage_is_found(void **state)
{
  (void)state;
  Entry *x = entry_of(1), *p = entry_packed(x, 3);
  assert_non_null(p);
  for (size_t bit = 0; bit < 8 * p->n; bit++) {
    Entry *y = copy_of(p, p->n);
    y->bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    Entry *z = y;
    assert_non_null(entry_open(&z, x->key));
    assert_ptr_equal(z, y);
    entry_release(y);
  }
  for (size_t n = 0; n <= p->n + 1; n++) {
    Entry *y = copy_of(p, n), *z = y;
    const char *why = entry_open(&z, x->key);
    if (n == p->n) {
      assert_null(why);
      assert_true(same(z, x));
      entry_release(z);
      continue;
    }
    assert_non_null(why);
    entry_release(y);
  }
  unsigned char other[32];
  key_of(2, other);
  Entry *y = copy_of(p, p->n);
  assert_string_equal(entry_open(&y, other), "the entry of another key");
  entry_release(y);
  entry_release(x);
  entry_release(p);
}

/* One whose checksum is right and whose length is a lie: what a fault of the writer would
 * be. */
static void
test_a_lie_about_the_length(void **state)
{
  static const int64_t lies[] = {-1, 1, 1 << 20, INT64_MAX / 2};
  (void)state;
  Entry *x = entry_of(1), *p = entry_packed(x, 3);
  for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
    Entry *y = copy_of(p, p->n), *z = y;
    const uint64_t n = (uint64_t)((int64_t)x->n + lies[i]);
    Sha256 s;
    memcpy(y->bytes + 8, &n, sizeof n);
    sha256_start(&s);
    sha256_add(&s, y->bytes, 48);
    sha256_add(&s, y->bytes + 80, y->n - 80);
    sha256_end(&s, y->bytes + 48);
    assert_non_null(entry_open(&z, x->key));
    entry_release(y);
  }
  entry_release(x);
  entry_release(p);
}

static void
test_damaged_ones_are_quarantined(void **state)
{
  (void)state;
  char *dir = rt_scratch();
  Cache *c = open_level(dir, 3);
  put(c, 1);
  put(c, 2);
  damage(dir, 1, 90);
  assert_null(get(c, 1));
  assert_int_equal(cache_counters(c).corrupt, 1);
  damage(dir, 2, 50);
  CacheUsage u = verified(dir, 1);
  assert_int_equal(u.entries, 0);
  assert_int_equal(u.corrupt, 2);
  put(c, 1);
  assert_string_equal(get(c, 1), "disk");
  cache_close(c);
  rt_remove(dir);
}

/* What does not get smaller is not packed. */
static void
test_what_is_not_packed(void **state)
{
  unsigned char key[32], noise[4096];
  (void)state;
  key_of(1, key);
  unsigned seed = 3;
  for (size_t i = 0; i < sizeof noise; i++)
    noise[i] = (unsigned char)rand_r(&seed);
  Entry *x = entry_make(key, "", "", (const char *)noise, sizeof noise), *y = entry_of(1);
  assert_null(entry_packed(x, 3));
  assert_null(entry_packed(y, 0));
  entry_release(x);
  entry_release(y);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_both_kinds_are_read),
      cmocka_unit_test(test_damage_is_found),
      cmocka_unit_test(test_a_lie_about_the_length),
      cmocka_unit_test(test_damaged_ones_are_quarantined),
      cmocka_unit_test(test_what_is_not_packed),
  };
  if (!zstd_there()) {
    puts("no libzstd.so.1");
    return 77;
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
