/* ATTNC_TRACE: what is written, by threads and processes at once, and that it can be read.
 */
#include "tests/unit/get_kit.h"

#include <pthread.h>

static char path[400];

static void
silent(void *user, int level, const char *message)
{
  (void)user;
  (void)level;
  (void)message;
}

static int
trace_setup(void **state)
{
  setup(state);
  log_of_contexts = silent;
  snprintf(path, sizeof path, "%s/trace.json", dir);
  setenv("ATTNC_TRACE", path, 1);
  return 0;
}

static int
trace_teardown(void **state)
{
  unsetenv("ATTNC_TRACE");
  return teardown(state);
}

/* The file as JSON: what its viewers make of it. */
static json_t *
events(void)
{
  static char text[1 << 20];
  FILE *f = fopen(path, "r");
  assert_non_null(f);
  size_t n = fread(text, 1, sizeof text - 2, f);
  fclose(f);
  assert_in_range(n, 3, sizeof text - 3);
  assert_memory_equal(text, "[\n", 2);
  assert_memory_equal(text + n - 2, ",\n", 2);
  strcpy(text + n - 2, "]");
  json_error_t error;
  json_t *j = json_loads(text, 0, &error);
  if (!j)
    fail_msg("%s at line %d", error.text, error.line);
  return j;
}

/* Events of that name, each whole and of a time that can be. */
static int
count(const json_t *list, const char *name)
{
  int n = 0;
  size_t i;
  json_t *e;
  json_array_foreach(list, i, e)
  {
    assert_string_equal(json_string_value(json_object_get(e, "ph")), "X");
    assert_true(json_real_value(json_object_get(e, "ts")) > 0);
    assert_true(json_real_value(json_object_get(e, "dur")) >= 0);
    assert_true(json_integer_value(json_object_get(e, "pid")) > 0);
    assert_true(json_integer_value(json_object_get(e, "tid")) > 0);
    n += !strcmp(json_string_value(json_object_get(e, "name")), name);
  }
  return n;
}

static int
launches(const attnc_plan *p)
{
  attnc_sizes sizes = {.size = sizeof sizes, .b = 2, .h = 8, .hk = 8, .sq = 64, .sk = 64};
  attnc_tensor t[5] = {0};
  for (int i = 0; i < 5; i++)
    t[i] = (attnc_tensor){.data = (void *)(uintptr_t)(0x10000 * (i + 1)),
                          .stride = {8 * 64 * 64, 64 * 64, 64, 1}};
  attnc_args a = {.size = sizeof a,
                  .sizes = &sizes,
                  .tensors = t,
                  .tensor_size = sizeof *t,
                  .n_tensors = 5};
  int good = 0;
  for (int i = 0; i < 50; i++)
    good += attnc_launch(p, &a, NULL, NULL, NULL) == ATTNC_OK;
  return good;
}

static void *
launch_on(void *plan)
{
  stub_use(0);
  return (void *)(intptr_t)launches(plan);
}

static void
test_what_is_written(void **state)
{
  (void)state;
  assembler = "driver";
  attnc_context *c = context();
  attnc_plan *p = get(c);
  attnc_context_release(c); /* a plan that outlives it goes on tracing */
  assert_int_equal(launches(p), 50);
  attnc_plan_release(p);
  json_t *j = events();
  assert_int_equal(count(j, "compile by_hand"), 1);
  assert_int_equal(count(j, "assemble by_hand"), 1);
  assert_int_equal(count(j, "load by_hand"), 1);
  assert_int_equal(count(j, "launch by_hand"), 50);
  json_decref(j);
}

static void
test_threads_and_processes(void **state)
{
  enum { THREADS = 4 };
  pid_t pids[3];
  (void)state;
  for (int i = 0; i < 3; i++) {
    pids[i] = fork();
    if (pids[i])
      continue;
    pthread_t threads[THREADS];
    void *good;
    int bad = 0;
    attnc_context *c = context();
    attnc_plan *p = get(c);
    for (int k = 0; k < THREADS; k++)
      pthread_create(&threads[k], NULL, launch_on, p);
    for (int k = 0; k < THREADS; k++) {
      pthread_join(threads[k], &good);
      bad += (intptr_t)good != 50;
    }
    _exit(bad);
  }
  for (int i = 0; i < 3; i++) {
    int status = 1;
    waitpid(pids[i], &status, 0);
    assert_int_equal(status, 0);
  }
  json_t *j = events();
  assert_int_equal(count(j, "launch by_hand"), 3 * THREADS * 50);
  assert_int_equal(count(j, "load by_hand"), 3);
  assert_int_equal(count(j, "compile by_hand"), 1);
  json_decref(j);
}

static void
test_names_are_escaped(void **state)
{
  (void)state;
  attnc_spec_release(spec);
  spec = fake_spec("a \"b\"\\\n", "head_dim: 64\n");
  attnc_options o = {
      .size = sizeof o, .libcuda = STUB_LIBCUDA, .cache = 1, .assembler = "none"};
  attnc_context *c = NULL;
  assert_int_equal(attnc_context_create(&o, &c, NULL), ATTNC_OK);
  attnc_plan_release(get(c));
  attnc_context_release(c);
  json_t *j = events();
  assert_int_equal(count(j, "load a \"b\"\\\n"), 1);
  json_decref(j);
}

static void
test_it_cannot_be_written(void **state)
{
  (void)state;
  attnc_options o = {.size = sizeof o, .cache = 1};
  attnc_context *c = NULL;
  attnc_error e = {0};
  setenv("ATTNC_TRACE", "/nowhere/trace.json", 1);
  assert_int_equal(attnc_context_create(&o, &c, &e), ATTNC_ERR_IO);
  assert_string_equal(e.message,
                      "ATTNC_TRACE: /nowhere/trace.json: No such file or directory");
  setenv("ATTNC_TRACE", "/dev/full", 1); /* opens, and takes nothing */
  o = (attnc_options){
      .size = sizeof o, .libcuda = STUB_LIBCUDA, .cache = 1, .assembler = "none"};
  assert_int_equal(attnc_context_create(&o, &c, &e), ATTNC_OK);
  attnc_plan *p = get(c);
  assert_int_equal(launches(p), 50);
  attnc_plan_release(p);
  attnc_context_release(c);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_what_is_written, trace_setup, trace_teardown),
      cmocka_unit_test_setup_teardown(test_threads_and_processes, trace_setup,
                                      trace_teardown),
      cmocka_unit_test_setup_teardown(test_names_are_escaped, trace_setup, trace_teardown),
      cmocka_unit_test_setup_teardown(test_it_cannot_be_written, trace_setup,
                                      trace_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
