#include "tests/unit/get_kit.h"
#include "runtime/entry.h"

#include <jansson.h>
#include <math.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* ---- layers ---- */

static void
test_layers(void **state)
{
  (void)state;
  attnc_context *c = context();
  attnc_plan *p = get(c), *q = get(c), *r = get_on(c, 1, NULL);
  assert_told(p, "layer", "miss");
  assert_told(p, "source", "model");
  assert_ptr_equal(p, q);
  assert_ptr_not_equal(p, r);
  assert_told(r, "layer", "memory");
  assert_told(r, "device", "Stub 1");
  assert_int_equal(fake.compiles, 1);
  attnc_plan_release(p);
  attnc_plan_release(q);
  attnc_plan_release(r);
  attnc_context_release(c);
  c = context();
  p = get(c);
  assert_told(p, "layer", "disk");
  assert_int_equal(fake.compiles, 1);
  attnc_plan_release(p);
  attnc_context_release(c);
  c = context_with(1, NULL);
  p = get(c);
  assert_told(p, "layer", "miss");
  attnc_plan_release(p);
  attnc_context_release(c);
  assert_int_equal(fake.compiles, 2);
  assert_int_equal(n_compiled, 2);
}

static void
test_plan_outlives_its_context(void **state)
{
  (void)state;
  attnc_context *c = context();
  attnc_plan *p = get(c);
  attnc_context_release(c);
  assert_int_equal(stub.stub_modules(), 1);
  assert_int_equal(attnc_plan_slot(p, "q"), 0);
  attnc_plan_release(p);
}

static void
test_a_change_of_the_compiler_is_a_miss(void **state)
{
  (void)state;
  attnc_context *c = context();
  attnc_plan_release(get(c));
  fake.revision = 1;
  attnc_plan_release(get(c));
  assert_int_equal(fake.compiles, 2);
  fake.revision = 0;
  attnc_plan_release(get(c));
  assert_int_equal(fake.compiles, 2);
  attnc_context_release(c);
}

static void
test_a_recipe_that_cannot_be_read_is_a_miss(void **state)
{
  (void)state;
  fake.recipe = "{\"schema\":\"attnc.kernel/0\"}";
  attnc_context *c = context();
  attnc_plan *p = NULL;
  attnc_error e = {0};
  assert_int_equal(attnc_plan_get(c, spec, NULL, &p, &e), ATTNC_ERR_UNSUPPORTED);
  attnc_context_release(c);
  fake.recipe = NULL;
  c = context();
  p = get(c);
  assert_told(p, "layer", "miss");
  attnc_plan_release(p);
  attnc_context_release(c);
}

/* The file of the one entry. */
static void
entry_file(char path[400])
{
  char command[400];
  snprintf(command, sizeof command, "ls %s/entries/*/*", dir);
  FILE *f = popen(command, "r");
  assert_non_null(fgets(path, 400, f));
  pclose(f);
  path[strcspn(path, "\n")] = 0;
}

/* Asked for with this file in the entry's place, the kernel is compiled anew. */
static void
assert_recompiled(const char *path, const char *bytes, size_t n)
{
  FILE *f = fopen(path, "w");
  assert_int_equal(fwrite(bytes, 1, n, f), n);
  fclose(f);
  attnc_context *c = context();
  attnc_plan *p = get(c);
  assert_told(p, "layer", "miss");
  attnc_plan_release(p);
  attnc_context_release(c);
}

/* Every byte of an entry's header and every seventh behind it flipped, one bit, and as many
 * lengths: none is accepted, all of them compile, and what is stored then is what was
 * there.  That the check itself sees every byte is test_cache's to say. */
static void
test_damaged_entries(void **state)
{
  static char whole[65536], now[65536];
  char path[400];
  int tried = 0;
  (void)state;
  attnc_context *c = context();
  attnc_plan_release(get(c));
  attnc_context_release(c);
  entry_file(path);
  FILE *f = fopen(path, "r");
  size_t n = fread(whole, 1, sizeof whole, f);
  fclose(f);
  assert_in_range(n, 1000, sizeof whole - 1);
  for (size_t i = 0; i < n; i += i < ENTRY_HEADER ? 1 : 7, tried++) {
    whole[i] ^= (char)(1 << i % 8);
    assert_recompiled(path, whole, n);
    whole[i] ^= (char)(1 << i % 8);
    assert_recompiled(path, whole, i); /* a truncation */
  }
  assert_recompiled(path, whole, n + 1);
  f = fopen(path, "r");
  assert_int_equal(fread(now, 1, sizeof now, f), n);
  fclose(f);
  assert_memory_equal(whole, now, n);
  print_message("%d flips, %d truncations\n", tried, tried);
}

/* ---- targets and devices ---- */

/* The target that a context chooses or is given; "" with the reason in e. */
static void
target_of(const char *given, char out[32], attnc_error *e)
{
  char *json = NULL;
  attnc_context *c = context_with(1, given);
  out[0] = 0;
  if (attnc_key_explain(c, spec, NULL, NULL, &json, e) == ATTNC_OK) {
    json_t *j = json_loads(json, 0, NULL);
    snprintf(out, 32, "%s",
             json_string_value(json_object_get(json_object_get(j, "fields"), "target")));
    json_decref(j);
  }
  free(json);
  attnc_context_release(c);
}

static void
test_targets(void **state)
{
  static const struct {
    int cc, driver;
    const char *given, *target;
  } cases[] = {
      {80, 13000, NULL, "sm_80"},      {86, 13000, NULL, "sm_86"},
      {87, 13000, NULL, "sm_86"},      {90, 13000, NULL, "sm_90a"},
      {90, 11080, NULL, "sm_90"},      {89, 11070, NULL, "sm_86"},
      {100, 13000, NULL, "sm_90"},     {90, 13000, "sm_80", "sm_80"},
      {80, 13000, "sm_90a", "sm_90a"}, /* the key of a kernel for another device */
      {75, 13000, NULL, ""},           {80, 13000, "sm_1", ""},
  };
  attnc_error e = {0};
  attnc_plan *p = NULL;
  char target[32];
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    stub.stub_cc(0, cases[i].cc);
    stub.stub_version(cases[i].driver);
    target_of(cases[i].given, target, &e);
    assert_string_equal(target, cases[i].target);
  }
  assert_string_equal(e.message, "unknown target sm_1");
  stub.stub_cc(0, 80);
  attnc_context *c = context_with(1, "sm_90a");
  assert_int_equal(attnc_plan_get(c, spec, NULL, &p, &e), ATTNC_ERR_UNSUPPORTED);
  assert_string_equal(e.message, "a kernel for sm_90a does not run on Stub 0, sm_80");
  attnc_context_release(c);
}

static void
test_no_device(void **state)
{
  attnc_context *c = NULL;
  attnc_plan *p = NULL;
  attnc_error e = {0};
  char *json = NULL;
  attnc_options o = {.size = sizeof o, .libcuda = "/nowhere.so", .cache = 1};
  (void)state;
  assert_int_equal(attnc_context_create(&o, &c, NULL), ATTNC_OK);
  assert_int_equal(attnc_plan_get(c, spec, NULL, &p, &e), ATTNC_ERR_NO_DEVICE);
  assert_int_equal(attnc_key_explain(c, spec, NULL, NULL, &json, &e), ATTNC_ERR_NO_DEVICE);
  assert_null(json);
  attnc_context_release(c);
  o.target = "sm_90"; /* with a target, a key needs no device */
  assert_int_equal(attnc_context_create(&o, &c, NULL), ATTNC_OK);
  assert_int_equal(attnc_key_explain(c, spec, NULL, NULL, &json, &e), ATTNC_OK);
  assert_non_null(strstr(json, "\"target\": \"sm_90\""));
  assert_non_null(strstr(json, "\"source\": \"model\""));
  free(json);
  attnc_context_release(c);
}

static void
test_the_current_context_decides(void **state)
{
  (void)state;
  attnc_context *c = context();
  attnc_plan *p = NULL;
  stub_use(1);
  assert_int_equal(attnc_plan_get(c, spec, NULL, &p, NULL), ATTNC_OK);
  assert_told(p, "device", "Stub 1");
  attnc_plan_release(p);
  stub.cuCtxSetCurrent(NULL);
  assert_int_equal(attnc_plan_get(c, spec, NULL, &p, NULL), ATTNC_OK);
  assert_told(p, "device", "Stub 0");
  CUcontext current = (CUcontext)0x1;
  stub.cuCtxGetCurrent(&current);
  assert_null(current); /* as it was */
  attnc_plan_release(p);
  attnc_context_release(c);
}

/* ---- usage ---- */

static void
test_usage(void **state)
{
  attnc_plan *p = NULL;
  attnc_error e = {0};
  (void)state;
  attnc_context *c = context();
  attnc_problem problem = {.size = sizeof problem};
  attnc_schedule want = {.size = sizeof want, .block_m = 100};
  assert_int_equal(attnc_plan_get(NULL, spec, NULL, &p, NULL), ATTNC_ERR_USAGE);
  assert_int_equal(attnc_plan_get(c, NULL, NULL, &p, NULL), ATTNC_ERR_USAGE);
  assert_int_equal(attnc_plan_get(c, spec, NULL, NULL, NULL), ATTNC_ERR_USAGE);
  problem.flags = 2;
  assert_int_equal(attnc_plan_get(c, spec, &problem, &p, NULL), ATTNC_ERR_USAGE);
  problem.flags = 0;
  problem.op = ATTNC_OP_COUNT;
  assert_int_equal(attnc_plan_get(c, spec, &problem, &p, NULL), ATTNC_ERR_UNSUPPORTED);
  problem.op = 0;
  problem.device = 3;
  assert_int_equal(attnc_plan_get(c, spec, &problem, &p, &e), ATTNC_ERR_NO_DEVICE);
  problem.device = 0;
  problem.size = 4;
  assert_int_equal(attnc_plan_get(c, spec, &problem, &p, NULL), ATTNC_ERR_USAGE);
  assert_int_equal(attnc_plan_get_with(c, spec, NULL, &want, &p, &e),
                   ATTNC_ERR_UNSUPPORTED);
  assert_non_null(strstr(e.message, "block_m 100"));
  want.size = 0;
  assert_int_equal(attnc_plan_get_with(c, spec, NULL, &want, &p, &e), ATTNC_ERR_USAGE);
  spec->specialize = 1u << SPECIALIZE_SQ;
  assert_int_equal(attnc_plan_get(c, spec, NULL, &p, &e), ATTNC_ERR_USAGE);
  assert_non_null(strstr(e.message, "sq is specialised"));
  assert_int_equal(fake.compiles, 0);
  attnc_context_release(c);
}

static void
test_after_a_fork(void **state)
{
  (void)state;
  attnc_context *c = context();
  pid_t pid = fork();
  if (pid == 0) {
    attnc_plan *p = NULL;
    attnc_error e = {0};
    attnc_status status = attnc_plan_get(c, spec, NULL, &p, &e);
    _exit(status == ATTNC_ERR_USAGE && strstr(e.message, "fork") ? 0 : 1);
  }
  int status = 1;
  waitpid(pid, &status, 0);
  assert_int_equal(status, 0);
  attnc_context_release(c);
}

/* ---- single flight ---- */

enum { THREADS = 8 };

typedef struct Racer {
  pthread_t thread;
  attnc_context *c;
  int device;
  attnc_plan *plan;
  attnc_status status;
  attnc_error e;
} Racer;

static void *
race(void *arg)
{
  Racer *r = arg;
  attnc_problem problem = {.size = sizeof problem, .device = r->device + 1};
  r->status = attnc_plan_get(r->c, spec, &problem, &r->plan, &r->e);
  return NULL;
}

static void
run_races(Racer racers[THREADS], attnc_context *c, int devices)
{
  for (int i = 0; i < THREADS; i++) {
    racers[i] = (Racer){.c = c, .device = i % devices};
    assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
  }
  for (int i = 0; i < THREADS; i++)
    pthread_join(racers[i].thread, NULL);
}

static void
test_single_flight(void **state)
{
  Racer racers[THREADS];
  (void)state;
  fake.delay_ms = 50;
  attnc_context *c = context();
  run_races(racers, c, 2);
  assert_int_equal(fake.compiles, 1);                         /* one for both devices */
  assert_int_equal(stub.stub_calls("cuModuleLoadDataEx"), 2); /* one for each */
  for (int i = 0; i < THREADS; i++) {
    assert_int_equal(racers[i].status, ATTNC_OK);
    assert_ptr_equal(racers[i].plan, racers[i % 2].plan);
    attnc_plan_release(racers[i].plan);
  }
  attnc_context_release(c);
}

static void
test_failures_are_shared_and_forgotten(void **state)
{
  Racer racers[THREADS];
  (void)state;
  fake.delay_ms = 100;
  fake.fail = ATTNC_ERR_COMPILE;
  attnc_context *c = context();
  run_races(racers, c, 1);
  for (int i = 0; i < THREADS; i++) {
    assert_int_equal(racers[i].status, ATTNC_ERR_COMPILE);
    assert_string_equal(racers[i].e.message, "the fake compiler was told to fail");
    assert_null(racers[i].plan);
  }
  assert_int_equal(fake.compiles, 1);
  fake.fail = ATTNC_OK;
  attnc_plan_release(get(c));
  assert_int_equal(fake.compiles, 2);
  attnc_context_release(c);
}

static void
test_a_load_that_fails(void **state)
{
  (void)state;
  attnc_plan *p = NULL;
  attnc_error e = {0};
  attnc_context *c = context();
  stub.stub_fail("cuModuleLoadDataEx", 1, CUDA_ERROR_OUT_OF_MEMORY);
  assert_int_equal(attnc_plan_get(c, spec, NULL, &p, &e), ATTNC_ERR_DEVICE);
  assert_int_equal(e.driver_code, CUDA_ERROR_OUT_OF_MEMORY);
  attnc_plan_release(get(c));
  assert_int_equal(fake.compiles, 1); /* the kernel was kept */
  attnc_context_release(c);
}

/* ---- behind ---- */

static attnc_status
ask(attnc_context *c, attnc_plan **p, attnc_error *e)
{
  attnc_problem problem = {.size = sizeof problem, .flags = ATTNC_NOWAIT};
  return attnc_plan_get(c, spec, &problem, p, e);
}

static attnc_status
ask_until_done(attnc_context *c, attnc_plan **p, attnc_error *e)
{
  attnc_status status = ATTNC_ERR_PENDING;
  for (int i = 0; i < 2000 && status == ATTNC_ERR_PENDING; i++) {
    usleep(2000);
    status = ask(c, p, e);
  }
  return status;
}

static void
test_nowait(void **state)
{
  struct timespec a, b;
  attnc_plan *p = NULL;
  attnc_error e = {0};
  (void)state;
  fake.delay_ms = 200;
  attnc_context *c = context();
  attnc_plan_release(NULL);
  clock_gettime(CLOCK_MONOTONIC, &a);
  for (int i = 0; i < 10; i++) {
    assert_int_equal(ask(c, &p, &e), ATTNC_ERR_PENDING);
    assert_null(p);
  }
  clock_gettime(CLOCK_MONOTONIC, &b);
  double waited = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
  assert_true(waited < 0.15);
  assert_int_equal(ask_until_done(c, &p, &e), ATTNC_OK);
  assert_told(p, "layer", "miss");
  assert_int_equal(fake.compiles, 1);
  attnc_plan_release(p);
  attnc_context_release(c);
}

static void
test_nowait_tells_failures_once(void **state)
{
  attnc_plan *p = NULL;
  attnc_error e = {0};
  (void)state;
  fake.fail = ATTNC_ERR_COMPILE;
  attnc_context *c = context();
  assert_int_equal(ask(c, &p, &e), ATTNC_ERR_PENDING);
  assert_int_equal(ask_until_done(c, &p, &e), ATTNC_ERR_COMPILE);
  assert_string_equal(e.message, "the fake compiler was told to fail");
  fake.fail = ATTNC_OK;
  assert_int_equal(ask(c, &p, &e), ATTNC_ERR_PENDING); /* anew */
  assert_int_equal(ask_until_done(c, &p, &e), ATTNC_OK);
  attnc_plan_release(p);
  attnc_context_release(c);
}

/* Waiting for what is made behind makes nothing twice; a context goes with work queued. */
static void
test_nowait_and_waiting(void **state)
{
  attnc_plan *p = NULL;
  attnc_error e = {0};
  (void)state;
  fake.delay_ms = 100;
  attnc_context *c = context();
  assert_int_equal(ask(c, &p, &e), ATTNC_ERR_PENDING);
  p = get(c);
  assert_int_equal(fake.compiles, 1);
  attnc_plan_release(p);
  for (int i = 1; i <= 12; i++) {
    attnc_schedule want = {.size = sizeof want, .block_m = 16 * i};
    attnc_problem problem = {.size = sizeof problem, .flags = ATTNC_NOWAIT};
    assert_int_equal(attnc_plan_get_with(c, spec, &problem, &want, &p, &e),
                     ATTNC_ERR_PENDING);
  }
  attnc_context_release(c);
  assert_true(fake.compiles < 13);
}

/* ---- tuning ---- */

static const attnc_problem big = {
    .size = sizeof big,
    .sizes = &(attnc_sizes){
        .size = sizeof(attnc_sizes), .b = 2, .h = 8, .hk = 8, .sq = 4096, .sk = 4096}};

static attnc_plan *
get_for(attnc_context *c, int64_t sq)
{
  attnc_plan *p = NULL;
  attnc_error e = {0};
  attnc_problem problem = big;
  const attnc_sizes n = {.size = sizeof n, .b = 2, .h = 8, .hk = 8, .sq = sq, .sk = sq};
  problem.sizes = &n;
  if (attnc_plan_get(c, spec, &problem, &p, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  return p;
}

static void
assert_source(attnc_context *c, int64_t sq, const char *source)
{
  attnc_plan *p = get_for(c, sq);
  assert_told(p, "source", source);
  attnc_plan_release(p);
}

static void
test_tuned_schedules_are_consulted(void **state)
{
  attnc_schedule best = {.size = sizeof best,
                         .template_name = "fake",
                         .block_m = 64,
                         .block_n = 32,
                         .num_stages = 3,
                         .num_warps = 8,
                         .options = "q_in_regs=false"};
  attnc_error e = {0};
  (void)state;
  attnc_context *c = context();
  assert_source(c, 4096, "model");
  assert_int_equal(attnc_tune_record(c, spec, &big, &best, 0.4, "ms", &e), ATTNC_OK);
  assert_source(c, 4096, "exact");
  assert_source(c, 4000, "exact"); /* the same bucket */
  assert_source(c, 8192, "near");
  assert_source(c, 128, "model"); /* too far */
  attnc_plan *p = get_on(c, 1, NULL);
  assert_told(p, "source", "family"); /* another device's name */
  attnc_plan_release(p);
  fake.pinned_m = 128; /* a pin is not tuned away */
  assert_source(c, 4096, "pinned");
  fake.pinned_m = 64;
  assert_source(c, 4096, "exact");
  fake.pinned_m = 0;
  best.block_m = 100; /* what is not legal here is not used, but the next best is */
  assert_int_equal(attnc_tune_record(c, spec, &big, &best, 0.2, "ms", &e), ATTNC_OK);
  assert_non_null(strstr(said, "recorded in"));
  assert_source(c, 4096, "exact");
  attnc_context_release(c);
  c = context(); /* another process */
  best.block_m = 32;
  assert_int_equal(attnc_tune_record(c, spec, &big, &best, 0.3, "ms", &e), ATTNC_OK);
  assert_source(c, 4096, "exact");
  attnc_context_release(c);
}

/* What no table can use is refused when it is recorded, for the reason. */
static void
test_records_that_are_refused(void **state)
{
  attnc_schedule s = {.size = sizeof s, .template_name = "fake", .block_m = 64};
  attnc_problem negative = big;
  attnc_error e = {0};
  (void)state;
  attnc_context *c = context();
  const struct {
    const char *template_name;
    double value;
    const char *unit, *says;
    attnc_status status;
  } cases[] = {
      {"zz", 1, "ms", "no template 'zz'", ATTNC_ERR_UNSUPPORTED},
      {"fake", -1, "ms", "above zero", ATTNC_ERR_USAGE},
      {"fake", 0, "ms", "above zero", ATTNC_ERR_USAGE},
      {"fake", NAN, "ms", "above zero", ATTNC_ERR_USAGE},
      {"fake", INFINITY, "ms", "above zero", ATTNC_ERR_USAGE},
      {"fake", 1, "\xff", "not UTF-8", ATTNC_ERR_USAGE},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    s.template_name = cases[i].template_name;
    assert_int_equal(
        attnc_tune_record(c, spec, &big, &s, cases[i].value, cases[i].unit, &e),
        cases[i].status);
    assert_non_null(strstr(e.message, cases[i].says));
  }
  negative.sizes = &(attnc_sizes){
      .size = sizeof(attnc_sizes), .b = 2, .h = 8, .hk = 8, .sq = -1, .sk = 4096};
  s.template_name = "fake";
  assert_int_not_equal(attnc_tune_record(c, spec, &negative, &s, 1, "ms", &e), ATTNC_OK);
  assert_source(c, 4096, "model");
  attnc_context_release(c);
}

/* Where a kernel and its schedule came from, for who looks. */
static void
test_hits_and_rejections_are_told(void **state)
{
  attnc_schedule s = {.size = sizeof s,
                      .template_name = "fake",
                      .block_m = 100,
                      .block_n = 32,
                      .num_stages = 3,
                      .num_warps = 8,
                      .options = "q_in_regs=false"};
  attnc_error e = {0};
  (void)state;
  attnc_context *c = context();
  attnc_plan_release(get(c));
  attnc_plan_release(get(c));
  assert_string_equal(said, "hit: by_hand for sm_80 is loaded on device 0");
  attnc_context_release(c);
  c = context();
  attnc_plan_release(get(c));
  assert_string_equal(said, "hit: by_hand for sm_80 is in the cache (disk)");
  assert_int_equal(attnc_tune_record(c, spec, &big, &s, 1, "ms", &e), ATTNC_OK);
  assert_source(c, 4096, "model"); /* a hit: what is said before it is looked at below */
  char *json = NULL;
  assert_int_equal(attnc_key_explain(c, spec, &big, NULL, &json, &e), ATTNC_OK);
  assert_string_equal(said, "tuning table: exact fake of value 1 on Stub 0 for by_hand: "
                            "block_m 100 is not a multiple of 16");
  free(json);
  attnc_context_release(c);
}

static void
test_wanted_schedules(void **state)
{
  attnc_schedule best = {.size = sizeof best,
                         .template_name = "fake",
                         .block_m = 64,
                         .block_n = 32,
                         .num_stages = 3,
                         .num_warps = 8,
                         .options = "q_in_regs=false"};
  attnc_schedule want = {.size = sizeof want, .block_m = 64};
  attnc_plan *p = NULL;
  (void)state;
  attnc_context *c = context();
  assert_int_equal(attnc_tune_record(c, spec, &big, &best, 0.4, "ms", NULL), ATTNC_OK);
  assert_int_equal(attnc_plan_get_with(c, spec, &big, &want, &p, NULL), ATTNC_OK);
  assert_told(p, "source", "exact"); /* agrees with what is wanted */
  attnc_plan_release(p);
  want.block_m = 128;
  assert_int_equal(attnc_plan_get_with(c, spec, &big, &want, &p, NULL), ATTNC_OK);
  assert_told(p, "source", "pinned");
  attnc_plan_release(p);
  assert_int_equal(attnc_plan_get_with(c, spec, &big, &best, &p, NULL), ATTNC_OK);
  assert_told(p, "source", "pinned"); /* nothing was left open */
  attnc_plan_release(p);
  attnc_context_release(c);
}

/* A later version's member and options that are not of the form are not overlooked, nor is
 * a schedule recorded that nobody has. */
static void
test_schedules_of_other_versions(void **state)
{
  union {
    attnc_schedule s;
    char bytes[sizeof(attnc_schedule) + 8];
  } u = {.bytes = {0}};
  attnc_error e = {0};
  attnc_plan *p = NULL;
  (void)state;
  attnc_context *c = context();
  u.s = (attnc_schedule){.size = sizeof u,
                         .template_name = "fake",
                         .block_m = 64,
                         .block_n = 32,
                         .num_stages = 3,
                         .num_warps = 8,
                         .options = "q_in_regs=false"};
  assert_int_equal(attnc_plan_get_with(c, spec, &big, &u.s, &p, NULL), ATTNC_OK);
  assert_told(p, "source", "pinned");
  attnc_plan_release(p);
  u.bytes[sizeof u - 1] = 1;
  assert_int_equal(attnc_plan_get_with(c, spec, &big, &u.s, &p, &e), ATTNC_ERR_USAGE);
  assert_non_null(strstr(e.message, "does not know"));
  u.s = (attnc_schedule){.size = sizeof u.s, .options = "intra_wg_overlap"};
  assert_int_equal(attnc_tune_record(c, spec, &big, &u.s, 1, "ms", &e), ATTNC_ERR_USAGE);
  assert_non_null(strstr(e.message, "'intra_wg_overlap' is not name=value"));
  u.s = (attnc_schedule){.size = sizeof u.s, .template_name = "nobodys"};
  assert_int_equal(attnc_tune_record(c, spec, &big, &u.s, 1, "ms", &e),
                   ATTNC_ERR_UNSUPPORTED);
  assert_non_null(strstr(e.message, "no template 'nobodys'"));
  attnc_context_release(c);
}

/* ---- the environment ---- */

static void
test_load_ptx(void **state)
{
  char path[300];
  attnc_error e = {0};
  attnc_plan *p = NULL;
  (void)state;
  rt_write(dir, "edited.ptx", "\n// edited\n" RT_PTX, strlen("\n// edited\n" RT_PTX));
  snprintf(path, sizeof path, "%s/edited.ptx", dir);
  setenv("ATTNC_LOAD_PTX", path, 1);
  attnc_context *c = context();
  p = get(c);
  assert_non_null(strstr(attnc_plan_json(p), "the PTX is that of ATTNC_LOAD_PTX"));
  attnc_plan_release(p);
  attnc_context_release(c);
  unlink(path);
  assert_int_equal(mkfifo(path, 0600), 0);
  c = context();
  alarm(30);
  assert_int_equal(attnc_plan_get(c, spec, NULL, &p, &e), ATTNC_ERR_IO);
  alarm(0);
  assert_non_null(strstr(e.message, "not a regular file"));
  attnc_context_release(c);
  setenv("ATTNC_LOAD_PTX", "/nowhere.ptx", 1);
  c = context();
  assert_int_equal(attnc_plan_get(c, spec, NULL, &p, &e), ATTNC_ERR_IO);
  assert_non_null(strstr(e.message, "/nowhere.ptx"));
  attnc_context_release(c);
}

static void
test_dumps(void **state)
{
  char path[300];
  (void)state;
  attnc_context *c = context();
  attnc_plan_release(get(c));
  attnc_context_release(c);
  setenv("ATTNC_DUMP", "spec", 1);
  snprintf(path, sizeof path, "%s/dumps", dir);
  setenv("ATTNC_DUMP_DIR", path, 1);
  c = context();
  attnc_plan_release(get(c));
  assert_int_equal(fake.compiles, 2); /* a hit would have none */
  attnc_context_release(c);
  snprintf(path, sizeof path, "%s/dumps/by_hand.sm_80.spec", dir);
  assert_int_equal(access(path, F_OK), 0);
}

/* ---- JSON, cache verbs ---- */

static void
test_context_json(void **state)
{
  (void)state;
  attnc_context *c = context();
  const char *first = attnc_context_json(c);
  assert_ptr_equal(first, attnc_context_json(c));
  attnc_plan_release(get(c));
  attnc_plan_release(get(c));
  const char *second = attnc_context_json(c);
  assert_ptr_not_equal(first, second);
  json_t *j = json_loads(second, 0, NULL), *k = json_object_get(j, "stats");
  assert_int_equal(json_integer_value(json_object_get(k, "compiles")), 1);
  assert_int_equal(json_integer_value(json_object_get(k, "plan_hits")), 1);
  assert_int_equal(json_integer_value(json_object_get(j, "plans")), 1);
  assert_int_equal(json_integer_value(json_object_get(k, "misses")), 1);
  assert_int_equal(json_integer_value(json_object_get(k, "stored")), 1);
  k = json_object_get(j, "cache");
  assert_string_equal(json_string_value(json_object_get(k, "mode")), "rw");
  json_decref(j);
  j = json_loads(first, 0, NULL); /* still there */
  assert_non_null(j);
  json_decref(j);
  assert_null(attnc_context_json(NULL));
  attnc_context_release(c);
}

static json_int_t
upkeep(attnc_status (*verb)(attnc_context *, char **, attnc_error *), attnc_context *c,
       attnc_status want, const char *key)
{
  char *text = NULL;
  assert_int_equal(verb(c, &text, NULL), want);
  json_t *j = json_loads(text, 0, NULL);
  json_int_t v = json_integer_value(json_object_get(j, key));
  json_decref(j);
  free(text);
  return v;
}

static void
test_cache_verbs(void **state)
{
  char command[400];
  (void)state;
  attnc_context *c = context();
  for (int i = 1; i <= 3; i++) {
    attnc_schedule want = {.size = sizeof want, .block_m = 16 * i};
    attnc_plan_release(get_on(c, 0, &want));
  }
  assert_int_equal(upkeep(attnc_cache_stat, c, ATTNC_OK, "entries"), 3);
  assert_int_equal(upkeep(attnc_cache_verify, c, ATTNC_OK, "entries"), 3);
  snprintf(command, sizeof command,
           "for f in %s/entries/*/*; do printf x | dd of=$f bs=1 seek=300 conv=notrunc "
           "2>/dev/null; break; done",
           dir);
  assert_int_equal(system(command), 0);
  assert_int_equal(upkeep(attnc_cache_verify, c, ATTNC_ERR_CHECK, "entries"), 2);
  assert_int_equal(upkeep(attnc_cache_gc, c, ATTNC_OK, "removed"), 1);
  assert_int_equal(upkeep(attnc_cache_clear, c, ATTNC_OK, "removed"), 2);
  assert_int_equal(upkeep(attnc_cache_stat, c, ATTNC_OK, "entries"), 0);
  assert_int_equal(attnc_cache_stat(c, NULL, NULL), ATTNC_OK);
  assert_int_equal(attnc_cache_stat(NULL, NULL, NULL), ATTNC_ERR_USAGE);
  attnc_context_release(c);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
      TEST(test_layers),
      TEST(test_plan_outlives_its_context),
      TEST(test_a_change_of_the_compiler_is_a_miss),
      TEST(test_a_recipe_that_cannot_be_read_is_a_miss),
      TEST(test_damaged_entries),
      TEST(test_targets),
      TEST(test_no_device),
      TEST(test_the_current_context_decides),
      TEST(test_usage),
      TEST(test_after_a_fork),
      TEST(test_single_flight),
      TEST(test_failures_are_shared_and_forgotten),
      TEST(test_a_load_that_fails),
      TEST(test_nowait),
      TEST(test_nowait_tells_failures_once),
      TEST(test_nowait_and_waiting),
      TEST(test_tuned_schedules_are_consulted),
      TEST(test_records_that_are_refused),
      TEST(test_hits_and_rejections_are_told),
      TEST(test_wanted_schedules),
      TEST(test_schedules_of_other_versions),
      TEST(test_load_ptx),
      TEST(test_dumps),
      TEST(test_context_json),
      TEST(test_cache_verbs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
