/* What the driver's compiler says against a kernel is told, and kept for the loads at which
 * the driver is silent because it compiled before. */
#include "tests/unit/fake_compiler.h"
#include "tests/unit/stub.h"

#include <jansson.h>

#define SERIALISED                                                                         \
  "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are "  \
  "serialized due to insufficient register resources"
#define RAN "ptxas info    : Used 168 registers\n"
#define RECIPE(target, exact)                                                              \
  RT_RECIPE_OF(target, exact, RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",                    \
               RT_STEPS(RT_PARAMS, RT_GRID))

static char *dir;
static attnc_spec *spec;
static char warning[512]; /* the last */
static int n_warnings;

static void
listen(void *user, int level, const char *message)
{
  (void)user;
  if (level != 1)
    return;
  snprintf(warning, sizeof warning, "%s", message);
  n_warnings++;
}

static int
setup(void **state)
{
  (void)state;
  stub_find();
  stub.stub_reset();
  stub.stub_cc(0, 90);
  stub_use(0);
  memset(&fake, 0, sizeof fake);
  fake.recipe = RECIPE("sm_90a", "true");
  n_warnings = 0;
  warning[0] = 0;
  dir = rt_scratch();
  spec = fake_spec("by_hand", "head_dim: 64\n");
  return 0;
}

static int
teardown(void **state)
{
  (void)state;
  attnc_spec_release(spec);
  rt_remove(dir);
  return stub.stub_modules() || stub.stub_primaries(0) || fake_specs();
}

/* Diagnostics that a plan of a context of its own has, -1: another one than SERIALISED. */
static int
diagnostics(int cache)
{
  attnc_context *c = NULL;
  attnc_plan *p = NULL;
  attnc_error e = {0};
  attnc_options o = {.size = sizeof o,
                     .libcuda = STUB_LIBCUDA,
                     .cache_dir = dir,
                     .cache = cache,
                     .tune_dir = dir,
                     .log = listen,
                     .assembler = "none"}; /* the driver compiles, and says so once */
  n_warnings = 0;
  assert_int_equal(attnc_context_create(&o, &c, &e), ATTNC_OK);
  if (attnc_plan_get(c, spec, NULL, &p, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  json_t *j = json_loads(attnc_plan_json(p), 0, NULL), *v;
  json_t *list = json_object_get(j, "diagnostics"), *notes = json_object_get(j, "notes");
  assert_true(json_is_array(list));
  assert_true(json_array_size(notes) >= json_array_size(list));
  int n = (int)json_array_size(list);
  size_t i;
  json_array_foreach(list, i, v) if (strcmp(json_string_value(v), SERIALISED) != 0) n = -1;
  json_decref(j);
  attnc_plan_release(p);
  attnc_context_release(c);
  return n;
}

static void
test_told(void **state)
{
  (void)state;
  stub.stub_logs(RAN SERIALISED "\n", "");
  assert_int_equal(diagnostics(1), 1);
  assert_int_equal(n_warnings, 1);
  assert_string_equal(warning, "by_hand for sm_90a: " SERIALISED);
  stub.stub_logs("", SERIALISED "\n"); /* in either log */
  assert_int_equal(diagnostics(1), 1);
  stub.stub_logs(RAN, "");
  assert_int_equal(diagnostics(1), 0);
  assert_int_equal(n_warnings, 0);
}

/* C7500 to C7520 and nothing else. */
static void
test_which_remarks(void **state)
{
  static const struct {
    const char *code;
    int n;
  } cases[] = {{"C7499", 0},  {"C7500", -1}, {"C7508", -1}, {"C7516", -1},
               {"C7520", -1}, {"C7521", 0},  {"C75", 0},    {"C7600", 0}};
  char line[128];
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    snprintf(line, sizeof line, "ptxas info    : (%s) something\n", cases[i].code);
    stub.stub_logs(line, "");
    assert_int_equal(diagnostics(1), cases[i].n);
  }
}

static void
test_kept(void **state)
{
  (void)state;
  stub.stub_logs(RAN SERIALISED "\n", "");
  assert_int_equal(diagnostics(3), 1);
  stub.stub_logs("", ""); /* from the driver's cache */
  assert_int_equal(diagnostics(3), 1);
  assert_int_equal(n_warnings, 1);
  assert_int_equal(diagnostics(2), 1);
  assert_int_equal(diagnostics(1), 0); /* nothing to keep it in */
  assert_int_equal(fake.compiles, 2);  /* the kernel itself was there as before */
  stub.stub_version(13010);            /* another compiler */
  assert_int_equal(diagnostics(3), 0);
  stub.stub_version(13000);
  stub.stub_logs(RAN, ""); /* what is said now counts */
  assert_int_equal(diagnostics(3), 0);
}

/* A plain target has nothing that could be serialised: nothing is looked for. */
static void
test_plain_targets(void **state)
{
  (void)state;
  stub.stub_cc(0, 80);
  fake.recipe = RECIPE("sm_80", "false");
  stub.stub_logs(RAN SERIALISED "\n", "");
  assert_int_equal(diagnostics(3), 1);
  stub.stub_logs("", "");
  assert_int_equal(diagnostics(3), 0);
}

/* The record is an entry like any other, to those who keep the cache. */
static void
test_the_cache_knows_it(void **state)
{
  attnc_context *c = NULL;
  char *text = NULL;
  (void)state;
  stub.stub_logs(RAN SERIALISED "\n", "");
  assert_int_equal(diagnostics(3), 1);
  attnc_options o = {.size = sizeof o, .cache_dir = dir, .cache = 3, .tune_dir = dir};
  assert_int_equal(attnc_context_create(&o, &c, NULL), ATTNC_OK);
  assert_int_equal(attnc_cache_verify(c, &text, NULL), ATTNC_OK);
  json_t *j = json_loads(text, 0, NULL);
  assert_int_equal(json_integer_value(json_object_get(j, "entries")), 2);
  json_decref(j);
  free(text);
  attnc_context_release(c);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
      TEST(test_told),          TEST(test_which_remarks),      TEST(test_kept),
      TEST(test_plain_targets), TEST(test_the_cache_knows_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
