#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/hash.h"
#include "base/hash_block.h"

#include <string.h>

static unsigned char data[4096];

static int
setup(void **state)
{
  uint32_t x = 1;
  (void)state;
  for (size_t i = 0; i < sizeof data; i++)
    data[i] = (unsigned char)((x = x * 1664525u + 1013904223u) >> 24);
  return 0;
}

static void
test_the_cpus_way_is_the_plain_way(void **state)
{
  (void)state;
  for (size_t at = 0; at < 64; at++) {
    uint32_t a[8] = {1, 2, 3, 4, 5, 6, 7, (uint32_t)at}, b[8];
    memcpy(b, a, sizeof b);
    sha256_blocks(a, data + at, 1 + at % 9);
    sha256_blocks_plain(b, data + at, 1 + at % 9);
    assert_memory_equal(a, b, sizeof a);
  }
}

static void
test_pieces_make_the_whole(void **state)
{
  char whole[65], pieces[65];
  (void)state;
  for (size_t n = 0; n < 1500; n += 1 + n / 7) {
    sha256_hex(data, n, whole);
    for (size_t step = 1; step < 200; step += 13) {
      Sha256 s;
      unsigned char digest[32];
      sha256_start(&s);
      for (size_t at = 0; at < n; at += step)
        sha256_add(&s, data + at, n - at < step ? n - at : step);
      sha256_end(&s, digest);
      sha256_digest_hex(digest, pieces);
      assert_string_equal(whole, pieces);
    }
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_the_cpus_way_is_the_plain_way),
      cmocka_unit_test(test_pieces_make_the_whole),
  };
  return cmocka_run_group_tests(tests, setup, NULL);
}
