/* What of a spec is part of its kernel: for every row of spec_fields.def two specs that
 * differ in it, and in nothing else, have other hashes and keys exactly if the row says so;
 * and the specs of the tree keep the hashes that they had. */
#include "base/str.h"
#include "tests/golden.h"

#include <attnc/attnc.h>

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

typedef enum Identity { ID_VALUE, ID_PRESENCE, ID_NOTHING } Identity;
typedef struct Row {
  const char *key, *initial, *example;
  Identity identity;
} Row;
static const Row rows[] = {
#define NOWHERE  0
#define AT(what) 0
#define SPEC_FIELD(key, type, required, initial, lo, hi, step, words, at, identity, doc,   \
                   example)                                                                \
  {#key, initial, example, ID_##identity},
#include "compiler/spec/spec_fields.def"
#undef SPEC_FIELD
};
enum { N_ROWS = sizeof rows / sizeof *rows };

/* Values of the required rows that are not their examples. */
static const char *const base[][2] = {
    {"attnc", "1"}, {"name", "x"}, {"dtype", "fp16"}, {"head_dim", "96"}};
enum { N_BASE = sizeof base / sizeof *base };

static attnc_spec *
load(const char *text)
{
  attnc_spec *s = NULL;
  if (attnc_spec_load(text, strlen(text), "t", &s, NULL) != ATTNC_OK)
    fail_msg("%s", text);
  return s;
}

/* The base with `key` given as `value` (NULL: left as it is), and `more` lines. */
static attnc_spec *
variant(const char *key, const char *value, const char *more)
{
  char text[2048];
  bool own = false;
  int n = 0;
  for (int i = 0; i < N_BASE; i++) {
    bool it = value && str_eq(base[i][0], key);
    own = own || it;
    n += snprintf(text + n, sizeof text - (size_t)n, "%s: %s\n", base[i][0],
                  it ? value : base[i][1]);
  }
  if (value && !own)
    n += snprintf(text + n, sizeof text - (size_t)n, "%s: %s\n", key, value);
  snprintf(text + n, sizeof text - (size_t)n, "%s", more);
  return load(text);
}

/* The key of a fixed schedule, so that a pin is no other kernel. */
static void
key_of(attnc_context *c, const attnc_spec *s, char key[65])
{
  attnc_schedule want = {.size = sizeof want,
                         .template_name = "ref_fwd",
                         .block_m = 4,
                         .block_n = 1,
                         .num_stages = 1,
                         .num_warps = 4};
  attnc_problem p = {
      .size = sizeof p,
      .sizes = &(attnc_sizes){
          .size = sizeof(attnc_sizes), .b = 1, .h = 8, .hk = 2, .sq = 64, .sk = 128}};
  attnc_error e = {0};
  char *text = NULL;
  attnc_tensor tensors[4] = {0};
  for (int i = 0; i < 4; i++)
    tensors[i].stride[3] = 1;
  p.tensors = tensors;
  p.tensor_size = sizeof *tensors;
  p.n_tensors = 4;
  if (attnc_key_explain(c, s, &p, &want, &text, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  json_t *j = json_loads(text, 0, NULL);
  snprintf(key, 65, "%s", json_string_value(json_object_get(j, "key")));
  json_decref(j);
  attnc_text_free(text);
}

static bool
value_differs(const attnc_spec *a, const attnc_spec *b, const char *key)
{
  json_t *ja = json_loads(attnc_spec_json(a), 0, NULL);
  json_t *jb = json_loads(attnc_spec_json(b), 0, NULL);
  bool differs = !json_equal(json_object_get(ja, key), json_object_get(jb, key));
  json_decref(ja);
  json_decref(jb);
  return differs;
}

/* What no template computes has a hash and no key. */
static bool
is_computed(const attnc_spec *s)
{
  return attnc_spec_check(s, "sm_80", NULL) == ATTNC_OK;
}

static void
compare(attnc_context *c, const Row *r, attnc_spec *a, attnc_spec *b, bool other)
{
  char ka[65], kb[65];
  if (!value_differs(a, b, r->key))
    fail_msg("%s: the row's example is no other value than its default", r->key);
  if (str_eq(attnc_spec_hash(a), attnc_spec_hash(b)) == other)
    fail_msg("%s: the hashes are%s the same", r->key, other ? "" : " not");
  if (is_computed(b)) {
    key_of(c, a, ka);
    key_of(c, b, kb);
    if (str_eq(ka, kb) == other)
      fail_msg("%s: the keys are%s the same", r->key, other ? "" : " not");
  }
  attnc_spec_release(a);
  attnc_spec_release(b);
}

/* Lines without which a row has no effect. */
static const char *
beside(const Row *r)
{
  static const char *const others[][2] = {
      {"align", "causal: true\n"},
#define SPEC_NEEDS(key, other) {#key, #other ": true\n"},
#include "compiler/spec/spec_fields.def"
#undef SPEC_NEEDS
  };
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (str_eq(r->key, others[i][0]))
      return others[i][1];
  return "";
}

static void
every_row(void **state)
{
  attnc_options o = {.size = sizeof o, .target = "sm_80", .cache = 1};
  attnc_context *c = NULL;
  (void)state;
  assert_int_equal(attnc_context_create(&o, &c, NULL), ATTNC_OK);
  for (int i = 0; i < N_ROWS; i++) {
    const Row *r = &rows[i];
    char constant[128];
    if (str_eq(r->key, "attnc")) /* has one value: no two specs differ in it */
      continue;
    attnc_spec *a = variant(r->key, NULL, beside(r));
    attnc_spec *b = variant(r->key, r->example, beside(r));
    /* A number that is always there is no part of the kernel, one that is not is by that.
     */
    compare(c, r, a, b,
            r->identity == ID_VALUE || (r->identity == ID_PRESENCE && !r->initial));
    if (r->identity != ID_PRESENCE)
      continue;
    snprintf(constant, sizeof constant, "specialize: [%s]\n", r->key);
    compare(c, r, variant(r->key, "0.75", constant), variant(r->key, r->example, constant),
            true);
    compare(c, r, variant(r->key, "0.75", ""), variant(r->key, r->example, ""), false);
  }
  attnc_context_release(c);
}

/* Only the version's row cannot be flipped: another one is not read. */
static void
one_version(void **state)
{
  attnc_spec *s = load("attnc: 1\nname: x\ndtype: fp16\nhead_dim: 96\n");
  static const char two[] = "attnc: 2\nname: x\ndtype: fp16\nhead_dim: 96\n";
  (void)state;
  assert_non_null(strstr(attnc_spec_canonical(s), "attnc: 1\n"));
  attnc_spec_release(s);
  assert_int_equal(attnc_spec_load(two, strlen(two), "t", &s, NULL), ATTNC_ERR_SPEC);
}

static void
check_hash(const char *name, const char *hash)
{
  char path[256];
  size_t n;
  snprintf(path, sizeof path, "specs/%s", name);
  char *text = golden_read(path, &n);
  if (!text)
    fail_msg("%s: not there", path);
  attnc_spec *s = load(text);
  if (!str_eq(attnc_spec_hash(s), hash))
    fail_msg("%s: the hash is %s, was %s: caches and tuning tables lose it; canonical text:"
             "\n%s",
             path, attnc_spec_hash(s), hash, attnc_spec_canonical(s));
  attnc_spec_release(s);
  free(text);
}

/* tests/hashes.txt: a spec and its hash a line.  Lines are added, never changed. */
static void
committed_hashes(void **state)
{
  size_t n;
  char *text = golden_read("tests/hashes.txt", &n), *rest = text, *line;
  int listed = 0, there = 0;
  DIR *d = opendir(SOURCE_DIR "/specs");
  (void)state;
  assert_non_null(text);
  assert_non_null(d);
  while ((line = strsep(&rest, "\n")) != NULL && *line) {
    char *hash = strchr(line, ' ');
    assert_non_null(hash);
    *hash++ = 0;
    check_hash(line, hash);
    listed++;
  }
  for (struct dirent *f; (f = readdir(d)) != NULL;)
    there += strstr(f->d_name, ".attn.yaml") != NULL;
  closedir(d);
  free(text);
  assert_int_equal(listed, there);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_row),
      cmocka_unit_test(one_version),
      cmocka_unit_test(committed_hashes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
