/* get_kit.h: what the tests of attnc_plan_get share: a context with the stub driver, a
 * cache of its own and the compiler that counts; what plans and contexts tell. */
#ifndef ATTNC_TESTS_GET_KIT_H
#define ATTNC_TESTS_GET_KIT_H

#include "tests/unit/fake_compiler.h"
#include "tests/unit/stub.h"

#include <jansson.h>
#include <sys/wait.h>

static char *dir;                                          /* of cache and tuning tables */
static const char *assembler = "none";                     /* of the next contexts */
static void (*log_of_contexts)(void *, int, const char *); /* their log; NULL: listen */
static attnc_spec *spec;
static int n_compiled;               /* atomic: messages of a compile */
static _Thread_local char said[600]; /* the last message */
static char *miss_heard;             /* 600 bytes for the last "miss: …"; NULL: none */

static inline void
listen(void *user, int level, const char *message)
{
  assert_null(user);
  snprintf(said, sizeof said, "%s", message);
  if (miss_heard && !strncmp(message, "miss: ", 6))
    snprintf(miss_heard, 600, "%s", message);
  if (level == 3 || (level == 1 && !strncmp(message, "cache: ", 7)))
    return;
  assert_int_equal(level, 2);
  assert_non_null(strstr(message, "compiled by_hand for sm_80"));
  __atomic_add_fetch(&n_compiled, 1, __ATOMIC_RELAXED);
}

static inline int
setup(void **state)
{
  (void)state;
  stub_find();
  stub.stub_reset();
  stub_use(0);
  memset(&fake, 0, sizeof fake);
  n_compiled = 0;
  assembler = "none";
  setenv("ATTNC_CACHE_ZSTD", "0", 1); /* tests look into entries */
  dir = rt_scratch();
  spec = fake_spec("by_hand", "head_dim: 64\n");
  return 0;
}

static inline int
teardown(void **state)
{
  (void)state;
  attnc_spec_release(spec);
  rt_remove(dir);
  unsetenv("ATTNC_LOAD_PTX");
  unsetenv("ATTNC_DUMP");
  unsetenv("ATTNC_DUMP_DIR");
  unsetenv("ATTNC_CACHE_ZSTD");
  /* Whatever was loaded or retained has been given back. */
  return stub.stub_modules() || stub.stub_primaries(0) || stub.stub_primaries(1) ||
         fake_specs();
}

static inline attnc_context *
context_with(int cache, const char *target)
{
  char tune[300];
  attnc_context *c = NULL;
  attnc_error e = {0};
  snprintf(tune, sizeof tune, "%s/tune", dir);
  attnc_options o = {.size = sizeof o,
                     .libcuda = STUB_LIBCUDA,
                     .cache_dir = dir,
                     .cache = cache,
                     .tune_dir = tune,
                     .log = log_of_contexts ? log_of_contexts : listen,
                     .target = target,
                     .assembler = assembler};
  if (attnc_context_create(&o, &c, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  return c;
}

static inline attnc_context *
context(void)
{
  return context_with(3, NULL);
}

static inline attnc_plan *
get_on(attnc_context *c, int device, const attnc_schedule *want)
{
  attnc_plan *p = NULL;
  attnc_error e = {0};
  attnc_problem problem = {.size = sizeof problem, .device = device + 1};
  if (attnc_plan_get_with(c, spec, &problem, want, &p, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  return p;
}

static inline attnc_plan *
get(attnc_context *c)
{
  return get_on(c, 0, NULL);
}

/* A member of a plan's JSON; the text is the test's to free. */
static inline char *
told(const attnc_plan *p, const char *key)
{
  json_t *j = json_loads(attnc_plan_json(p), 0, NULL);
  const char *s = json_string_value(json_object_get(j, key));
  char *copy = strdup(s ? s : "");
  json_decref(j);
  return copy;
}

#define assert_told(plan, key, value)                                                      \
  do {                                                                                     \
    char *told_ = told(plan, key);                                                         \
    assert_string_equal(told_, value);                                                     \
    free(told_);                                                                           \
  } while (0)

static inline attnc_stats
stats_of(attnc_context *c)
{
  attnc_stats s = {.size = sizeof s};
  assert_int_equal(attnc_context_stats(c, &s, NULL), ATTNC_OK);
  return s;
}

#define GET_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
