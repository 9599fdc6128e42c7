/* attnc_tune on the emulated device: what it finds is what later plans use; candidates that
 * are wrong, crash or hang are rejected and the sweep goes on; it can be stopped.
 * The test is its own worker where it is started with --worker. */
#include "tests/unit/rt.h"

#include <jansson.h>
#include <math.h>

static const char text[] =
    "attnc: 1\nname: tuned\ndtype: fp16\nhead_dim: 128\ncausal: true\n"
    "softmax_scale: 0.3\nschedule: {block_n: 64}\n";
static const attnc_sizes sizes = {
    .size = sizeof sizes, .b = 1, .h = 2, .hk = 1, .sq = 64, .sk = 64};
static const attnc_problem problem = {.size = sizeof problem, .sizes = &sizes};
static const char *const self[] = {"/proc/self/exe", "--worker", NULL};

static attnc_context *ctx;
static attnc_spec *spec;
static char *dir;

static int
setup(void **state)
{
  (void)state;
  dir = rt_scratch();
  attnc_options o = {
      .size = sizeof o, .libcuda = EMULATOR, .cache_dir = dir, .cache = 3, .tune_dir = dir};
  assert_int_equal(attnc_spec_load(text, strlen(text), "tuned", &spec, NULL), ATTNC_OK);
  return attnc_context_create(&o, &ctx, NULL) != ATTNC_OK;
}

static int
teardown(void **state)
{
  (void)state;
  attnc_context_release(ctx);
  attnc_spec_release(spec);
  rt_remove(dir);
  return 0;
}

/* What a plan takes its schedule from: "exact" is the tuning table. */
static char *
source(void)
{
  attnc_plan *plan = NULL;
  attnc_error e = {0};
  if (attnc_plan_get(ctx, spec, &problem, &plan, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  json_t *j = json_loads(attnc_plan_json(plan), 0, NULL);
  char *text_of = strdup(json_string_value(json_object_get(j, "source")));
  json_decref(j);
  attnc_plan_release(plan);
  return text_of;
}

static void
expect_source(const char *want)
{
  char *have = source();
  assert_string_equal(have, want);
  free(have);
}

static attnc_tuning *
tune(attnc_tune_options o, attnc_status want)
{
  attnc_tuning *t = NULL;
  attnc_error e = {0};
  o.size = sizeof o;
  attnc_status st = attnc_tune(ctx, spec, &problem, &o, &t, &e);
  if (st != want)
    fail_msg("%s, not %s: %s", attnc_status_name(st), attnc_status_name(want), e.message);
  assert_int_equal(e.status, want);
  return t;
}

static json_t *
json_of(const attnc_tuning *t)
{
  json_t *j = json_loads(attnc_tuning_json(t), 0, NULL);
  assert_non_null(j);
  return j;
}

static const attnc_tuned *
injected(const attnc_tuning *t, const char *fault)
{
  for (size_t i = 0; i < attnc_tuning_count(t); i++) {
    const attnc_tuned *x = attnc_tuning_get(t, i);
    if (x->injected && !strcmp(x->injected, fault))
      return x;
  }
  return NULL;
}

static int
count(const attnc_tuning *t, int tuned_state)
{
  int n = 0;
  for (size_t i = 0; i < attnc_tuning_count(t); i++)
    n += attnc_tuning_get(t, i)->state == tuned_state;
  return n;
}

/* ---- what is found ---- */

static void
best_is_first(const attnc_tuning *t)
{
  const attnc_tuned *best = attnc_tuning_get(t, 0);
  int defaults = 0;
  assert_int_equal(best->state, ATTNC_TUNED_BEST);
  for (size_t i = 0; i < attnc_tuning_count(t); i++) {
    const attnc_tuned *x = attnc_tuning_get(t, i);
    if (!x->injected)
      assert_int_equal(x->schedule->block_n, 64); /* which the spec pins */
    defaults += x->is_default;
    if (x->state != ATTNC_TUNED_MEASURED)
      continue;
    assert_true(x->value >= best->value);
    assert_true(x->max_error <= x->bound && x->bound > 0);
  }
  assert_int_equal(defaults, 1);
}

static void
found_and_used(void **state)
{
  (void)state;
  expect_source("pinned");
  attnc_tuning *t = tune((attnc_tune_options){.top = 5, .jobs = 2}, ATTNC_OK);
  assert_int_equal(attnc_tuning_count(t), 5);
  assert_null(attnc_tuning_get(t, 5));
  assert_int_equal(count(t, ATTNC_TUNED_MEASURED), 4);
  best_is_first(t);
  json_t *j = json_of(t), *list = json_object_get(j, "candidates");
  assert_string_equal(json_string_value(json_object_get(j, "schema")), "attnc.tune/1");
  assert_string_equal(json_string_value(json_object_get(j, "unit")), "est_cycles");
  assert_true(json_is_true(json_object_get(j, "recorded")));
  assert_true(json_integer_value(json_object_get(j, "pinned_away")) > 0);
  assert_int_equal(json_array_size(list), 5);
  expect_source("exact");
  char *key;
  assert_int_equal(attnc_key_explain(ctx, spec, &problem, NULL, &key, NULL), ATTNC_OK);
  json_t *k = json_loads(key, 0, NULL), *used = json_object_get(k, "schedule");
  json_t *best = json_object_get(json_array_get(list, 0), "schedule");
  json_object_set(used, "template", json_object_get(best, "template"));
  assert_true(json_equal(used, best));
  json_decref(k);
  attnc_text_free(key);
  json_decref(j);
  attnc_tuning_release(t);
}

static void
levels(void **state)
{
  (void)state;
  attnc_tune_options o = {.level = ATTNC_TUNE_ESTIMATE, .dry = 1};
  attnc_tuning *t = tune(o, ATTNC_OK);
  assert_int_equal(attnc_tuning_count(t), 4);
  best_is_first(t);
  json_t *j = json_of(t);
  assert_string_equal(json_string_value(json_object_get(j, "level")), "estimate");
  assert_true(json_is_false(json_object_get(j, "recorded")));
  assert_string_equal(json_string_value(json_object_get(j, "why_not")), "a dry run");
  json_decref(j);
  attnc_tuning_release(t);
  expect_source("pinned");
  o.budget = 1e-9; /* nothing but the default, which is measured whatever ends a sweep */
  t = tune(o, ATTNC_OK);
  assert_int_equal(count(t, ATTNC_TUNED_BEST), 1);
  assert_int_equal(count(t, ATTNC_TUNED_NOT_REACHED), 3);
  assert_true(attnc_tuning_get(t, 0)->is_default);
  attnc_tuning_release(t);
}

static void
within(void **state)
{
  (void)state;
  attnc_schedule two = {.size = sizeof two, .num_stages = 2};
  attnc_tune_options o = {.top = 6, .within = &two, .dry = 1};
  attnc_tuning *t = tune(o, ATTNC_OK);
  for (size_t i = 0; i < attnc_tuning_count(t); i++) {
    const attnc_tuned *x = attnc_tuning_get(t, i);
    assert_true(x->schedule->num_stages == 2 || x->is_default);
  }
  json_t *j = json_of(t);
  assert_true(json_integer_value(json_object_get(j, "outside")) > 0);
  json_decref(j);
  attnc_tuning_release(t);
}

/* ---- what goes wrong ---- */

static void
faults_are_rejected(void **state)
{
  (void)state;
  setenv("ATTNC_EMU", "fuel=1000000000000000", 1);
  attnc_tuning *t = tune((attnc_tune_options){.top = 3,
                                              .timeout = 5,
                                              .inject = "crash,wrong,hang,crash,oversized"},
                         ATTNC_OK);
  unsetenv("ATTNC_EMU");
  assert_int_equal(attnc_tuning_count(t), 8);
  best_is_first(t);
  assert_int_equal(count(t, ATTNC_TUNED_MEASURED), 2);
  assert_int_equal(count(t, ATTNC_TUNED_REJECTED), 4);
  assert_int_equal(count(t, ATTNC_TUNED_REFUSED), 1);
  assert_string_equal(injected(t, "crash")->reason,
                      "launch: the worker died of signal 9 (SIGKILL)");
  assert_string_equal(injected(t, "hang")->reason, "launch: no end within 5 s, killed");
  assert_non_null(strstr(injected(t, "wrong")->reason, "wrong result: error of o"));
  assert_non_null(strstr(injected(t, "oversized")->reason, "shared memory"));
  assert_int_equal(injected(t, "oversized")->state, ATTNC_TUNED_REFUSED);
  assert_true(isnan(injected(t, "crash")->cost));
  attnc_tuning_release(t);
  expect_source("exact");
}

typedef struct Stop {
  const char *stage;
  int calls, after;
} Stop;

static int
stop_after(void *user, const attnc_tune_progress *p)
{
  Stop *s = user;
  assert_true(p->size >= sizeof *p && p->done <= p->total && p->seconds >= 0);
  s->calls++;
  return !strcmp(p->stage, s->stage) && p->done >= s->after;
}

static void
stopped(void **state)
{
  (void)state;
  Stop s = {.stage = "measure", .after = 2};
  attnc_tune_options o = {.top = 5, .progress = stop_after, .user = &s};
  attnc_tuning *t = tune(o, ATTNC_ERR_CANCELLED);
  assert_non_null(t);
  assert_int_equal(count(t, ATTNC_TUNED_NOT_REACHED), 3);
  json_t *j = json_of(t);
  assert_true(json_is_false(json_object_get(j, "recorded")));
  json_decref(j);
  attnc_tuning_release(t);
  expect_source("pinned");
  s = (Stop){.stage = "compile"};
  t = tune(o, ATTNC_ERR_CANCELLED);
  assert_int_equal(count(t, ATTNC_TUNED_NOT_REACHED), 5);
  assert_int_equal(s.calls, 1); /* it is not asked again */
  attnc_tuning_release(t);
}

static void
hanging_is_stopped(void **state)
{
  (void)state;
  setenv("ATTNC_EMU", "fuel=1000000000000000", 1);
  Stop s = {.stage = "measure", .after = 1};
  attnc_tune_options o = {
      .top = 1, .progress = stop_after, .user = &s, .inject = "hang", .timeout = 3600};
  attnc_tuning *t = tune(o, ATTNC_ERR_CANCELLED);
  unsetenv("ATTNC_EMU");
  attnc_tuning_release(t);
}

static void
workers(void **state)
{
  (void)state;
  static const char *const absent[] = {"/nowhere/attnc", "tune-worker", NULL};
  static const char *const deaf[] = {"true", NULL};
  static const char *const other[] = {"sh", "-c", "echo {}; cat >/dev/null", NULL};
  static const char *const none[] = {NULL};
  attnc_tuning *t =
      tune((attnc_tune_options){.top = 2, .dry = 1, .worker = self}, ATTNC_OK);
  best_is_first(t);
  attnc_tuning_release(t);
  const struct {
    const char *const *worker;
    attnc_status status;
  } bad[] = {{absent, ATTNC_ERR_IO},
             {deaf, ATTNC_ERR_DEVICE},
             {other, ATTNC_ERR_USAGE},
             {none, ATTNC_ERR_USAGE}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    t = tune((attnc_tune_options){.top = 2, .worker = bad[i].worker}, bad[i].status);
    assert_int_equal(count(t, ATTNC_TUNED_NOT_REACHED), 2);
    attnc_tuning_release(t);
  }
  setenv("ATTNC_TUNE_WORKER", "/nowhere/at/all", 1);
  attnc_tuning_release(tune((attnc_tune_options){.top = 1}, ATTNC_ERR_IO));
  unsetenv("ATTNC_TUNE_WORKER");
  expect_source("pinned");
}

static void
refused(void **state)
{
  (void)state;
  attnc_schedule bad = {.size = sizeof bad, .options = "no_such=1"};
  const attnc_tune_options cases[] = {
      {.level = ATTNC_TUNE_LEVEL_COUNT},
      {.level = -1},
      {.top = -1},
      {.jobs = -1},
      {.repeat = -1},
      {.timeout = -1},
      {.budget = NAN},
      {.within = &bad},
      {.inject = "weed"},
      {.inject = "wrong,"},
      {.shard = 1},
      {.shard = 2, .shards = 2},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_null(tune(cases[i], ATTNC_ERR_USAGE));
  attnc_tuning *t;
  attnc_error e;
  attnc_tune_options o = {.size = 4};
  assert_int_equal(attnc_tune(ctx, spec, &problem, &o, &t, &e), ATTNC_ERR_USAGE);
  attnc_sizes open = sizes;
  attnc_problem p = {.size = sizeof p, .sizes = &open};
  open.sq = 0;
  assert_int_equal(attnc_tune(ctx, spec, &p, NULL, &t, &e), ATTNC_ERR_USAGE);
  assert_string_equal(e.message, "attnc_tune: the problem does not say sq");
}

/* ---- effort, resuming, shards ---- */

/* What was found with more effort stays. */
static void
less_replaces_nothing(void **state)
{
  (void)state;
  static const char few[] = "attnc: 1\nname: few\ndtype: fp16\nhead_dim: 32\n"
                            "schedule: {block_m: 64, num_warps: 4, num_stages: 2}\n";
  attnc_spec_release(spec);
  assert_int_equal(attnc_spec_load(few, strlen(few), "few", &spec, NULL), ATTNC_OK);
  attnc_tuning_release(
      tune((attnc_tune_options){.level = ATTNC_TUNE_EXHAUSTIVE}, ATTNC_OK));
  attnc_tuning *t = tune((attnc_tune_options){.level = ATTNC_TUNE_ESTIMATE}, ATTNC_OK);
  json_t *j = json_of(t);
  assert_string_equal(json_string_value(json_object_get(j, "level")), "estimate");
  assert_true(json_is_false(json_object_get(j, "recorded")));
  assert_string_equal(json_string_value(json_object_get(j, "why_not")),
                      "the tuning table has a record of level exhaustive");
  json_decref(j);
  attnc_tuning_release(t);
}

static int
resumed(const attnc_tuning *t)
{
  int n = 0;
  for (size_t i = 0; i < attnc_tuning_count(t); i++)
    n += attnc_tuning_get(t, i)->resumed;
  return n;
}

/* The candidates of a tuning without what says how it came about. */
static json_t *
values_of(const attnc_tuning *t)
{
  json_t *j = json_of(t), *item, *list = json_incref(json_object_get(j, "candidates"));
  size_t i;
  json_decref(j);
  json_array_foreach(list, i, item) json_object_del(item, "resumed");
  return list;
}

static void
same_values(const attnc_tuning *a, const attnc_tuning *b)
{
  json_t *x = values_of(a), *y = values_of(b);
  assert_true(json_equal(x, y));
  json_decref(x);
  json_decref(y);
}

static void
goes_on(void **state)
{
  (void)state;
  Stop s = {.stage = "measure", .after = 3};
  attnc_tune_options o = {.top = 6, .progress = stop_after, .user = &s};
  attnc_tuning_release(tune(o, ATTNC_ERR_CANCELLED));
  o.progress = NULL;
  o.resume = 1;
  attnc_tuning *t = tune(o, ATTNC_OK);
  assert_int_equal(resumed(t), 3);
  assert_int_equal(count(t, ATTNC_TUNED_MEASURED), 5);
  best_is_first(t);
  expect_source("exact");
  o.worker = (const char *const[]){"/nowhere", NULL}; /* which is not needed any more */
  attnc_tuning *all = tune(o, ATTNC_OK);
  assert_int_equal(resumed(all), 6);
  same_values(all, t);
  attnc_tuning_release(all);
  attnc_tuning_release(t);
  o = (attnc_tune_options){.top = 6, .dry = 1}; /* who does not ask measures anew */
  t = tune(o, ATTNC_OK);
  assert_int_equal(resumed(t), 0);
  attnc_tuning_release(t);
}

static void
shards_meet(void **state)
{
  (void)state;
  attnc_tuning *whole = tune((attnc_tune_options){.top = 9, .dry = 1}, ATTNC_OK);
  size_t measured = 0;
  for (int i = 0; i < 3; i++) {
    attnc_tuning *t =
        tune((attnc_tune_options){.top = 9, .shard = i, .shards = 3}, ATTNC_OK);
    json_t *j = json_of(t);
    assert_true(json_is_false(json_object_get(j, "recorded")));
    assert_int_equal((size_t)json_integer_value(json_object_get(j, "elsewhere")) +
                         attnc_tuning_count(t),
                     9);
    measured += attnc_tuning_count(t);
    json_decref(j);
    attnc_tuning_release(t);
  }
  assert_int_equal(measured, 9 + 2); /* the default thrice, each other once */
  expect_source("pinned");
  static const char *const none[] = {"/nowhere", NULL};
  attnc_tuning *met =
      tune((attnc_tune_options){.top = 9, .resume = 1, .worker = none}, ATTNC_OK);
  same_values(met, whole);
  expect_source("exact");
  attnc_tuning_release(met);
  attnc_tuning_release(whole);
}

/* Kernels with the strides of packed tensors in them are tuned, others cannot be. */
static void
strides(void **state)
{
  (void)state;
  static const char special[] = "attnc: 1\nname: special\ndtype: fp16\nhead_dim: 32\n"
                                "specialize: [strides]\n";
  attnc_tensor tensors[4] = {{NULL, {64 * 64, 32, 64, 1}},
                             {NULL, {64 * 32, 32, 32, 1}},
                             {NULL, {64 * 32, 32, 32, 1}},
                             {NULL, {64 * 64, 32, 64, 1}}};
  attnc_problem p = {.size = sizeof p,
                     .sizes = &sizes,
                     .tensors = tensors,
                     .tensor_size = sizeof *tensors,
                     .n_tensors = 4};
  attnc_tune_options o = {.size = sizeof o, .top = 1, .dry = 1};
  attnc_spec *s;
  attnc_tuning *t;
  attnc_error e = {0};
  assert_int_equal(attnc_spec_load(special, strlen(special), "s", &s, NULL), ATTNC_OK);
  if (attnc_tune(ctx, s, &p, &o, &t, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  attnc_tuning_release(t);
  tensors[ATTNC_K].stride[2] = 40;
  assert_int_equal(attnc_tune(ctx, s, &p, &o, &t, &e), ATTNC_ERR_UNSUPPORTED);
  assert_non_null(strstr(e.message, "the strides of k are constants"));
  attnc_spec_release(s);
}

/* Candidates of a context that compiles in attnc-cc are compiled there, to the same. */
static void
compiled_elsewhere(void **state)
{
  (void)state;
  attnc_tune_options o = {.top = 3, .dry = 1, .inject = "oversized"};
  attnc_tuning *here = tune(o, ATTNC_OK);
  attnc_context_release(ctx);
  attnc_options there = {.size = sizeof there,
                         .libcuda = EMULATOR,
                         .cache_dir = dir,
                         .cache = 1,
                         .tune_dir = dir,
                         .cc = "1"};
  assert_int_equal(attnc_context_create(&there, &ctx, NULL), ATTNC_OK);
  attnc_tuning *t = tune(o, ATTNC_OK);
  attnc_stats stats = {.size = sizeof stats};
  attnc_context_stats(ctx, &stats, NULL);
  assert_int_equal(stats.cc_compiled, 3);
  same_values(t, here);
  assert_int_equal(injected(t, "oversized")->state, ATTNC_TUNED_REFUSED);
  attnc_tuning_release(here);
  attnc_tuning_release(t);
}

int
main(int argc, char **argv)
{
  if (argc > 1 && !strcmp(argv[1], "--worker"))
    return attnc_tune_worker(NULL) != ATTNC_OK;
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(found_and_used),
      TEST(levels),
      TEST(within),
      TEST(faults_are_rejected),
      TEST(stopped),
      TEST(workers),
      TEST(refused),
      TEST(hanging_is_stopped),
      TEST(strides),
      TEST(less_replaces_nothing),
      TEST(goes_on),
      TEST(shards_meet),
      TEST(compiled_elsewhere),
  };
  return cmocka_run_group_tests_name("tune", tests, NULL, NULL);
}
