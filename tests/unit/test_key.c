#include "tests/unit/rt.h"

#include "runtime/key.h"

#include <jansson.h>

/* Every field has a value of its own. */
static KeyFields
filled(void)
{
  KeyFields k;
#define X(field, text) k.field = "value of " #field;
  KEY_TABLE(X)
#undef X
  return k;
}

static void
test_every_field_flips_the_key(void **state)
{
  KeyFields base = filled();
  unsigned char keys[32][32];
  int n = 0;
  (void)state;
  key_hash(&base, keys[n++]);
#define X(field, text)                                                                     \
  {                                                                                        \
    KeyFields k = base;                                                                    \
    k.field = "another";                                                                   \
    key_hash(&k, keys[n++]);                                                               \
    k.field = NULL;                                                                        \
    key_hash(&k, keys[n++]);                                                               \
  }
  KEY_TABLE(X)
#undef X
  assert_true(n >= 2 * 12 + 1);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < i; j++)
      assert_memory_not_equal(keys[i], keys[j], 32);
}

static void
test_shifted_borders_do_not_collide(void **state)
{
  KeyFields a = filled(), b = filled();
  unsigned char x[32], y[32];
  (void)state;
  a.op = "fwd";
  a.values = "sq=1";
  b.op = "fwdsq";
  b.values = "=1";
  key_hash(&a, x);
  key_hash(&b, y);
  assert_memory_not_equal(x, y, 32);
  a = b = filled();
  a.sm_count = "1";
  a.entered = "";
  b.sm_count = "";
  b.entered = "1";
  key_hash(&a, x);
  key_hash(&b, y);
  assert_memory_not_equal(x, y, 32);
}

static void
test_null_is_empty(void **state)
{
  KeyFields a = filled(), b = filled();
  unsigned char x[32], y[32];
  (void)state;
  a.values = NULL;
  b.values = "";
  key_hash(&a, x);
  key_hash(&b, y);
  assert_memory_equal(x, y, 32);
}

static void
test_explained(void **state)
{
  KeyFields k = filled();
  unsigned char key[32];
  char hex[65], *text;
  Schedule how;
  (void)state;
  assert_int_equal(sched_parse(&how, "template=t,block_m=64,intra_wg_overlap=true", NULL),
                   ATTNC_OK);
  key_hash(&k, key);
  sha256_digest_hex(key, hex);
  assert_int_equal(key_json(&k, &how, "model", json_null(), &text, NULL), ATTNC_OK);
  json_t *j = json_loads(text, 0, NULL), *fields = json_object_get(j, "fields");
  assert_string_equal(json_string_value(json_object_get(j, "key")), hex);
  assert_string_equal(json_string_value(json_object_get(j, "source")), "model");
#define X(field, text)                                                                     \
  assert_string_equal(json_string_value(json_object_get(fields, #field)), k.field);
  KEY_TABLE(X)
#undef X
  json_t *said =
      json_pack("{s:s, s:i, s:b}", "template", "t", "block_m", 64, "intra_wg_overlap", 1);
  assert_true(json_equal(json_object_get(j, "schedule"), said));
  json_decref(said);
  json_decref(j);
  free(text);
}

/* The key is part of what is on disk: it changes only with the schema. */
static void
test_fixed(void **state)
{
  KeyFields k = filled();
  unsigned char key[32];
  char hex[65];
  (void)state;
  key_hash(&k, key);
  sha256_digest_hex(key, hex);
  assert_string_equal(hex,
                      "8e1c4084f85543c6934cd2bbbea81a6e758dcc17633f079db91d6610dbe745b2");
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_field_flips_the_key),
      cmocka_unit_test(test_shifted_borders_do_not_collide),
      cmocka_unit_test(test_null_is_empty),
      cmocka_unit_test(test_explained),
      cmocka_unit_test(test_fixed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
