/* From spec text to a launch with the real compiler and the driver that records: what the
 * compiler writes, the runtime reads; and a disk hit's time. */
#include "tests/unit/stub.h"

#include <jansson.h>

static const char text[] =
    "attnc: 1\nname: llama\ndtype: bf16\nhead_dim: 128\ncausal: true\n";

static char *dir;

static int
setup(void **state)
{
  (void)state;
  setenv("ATTNC_ASSEMBLER", "none", 1); /* the stub reads parameters in PTX */
  stub_find();
  stub.stub_reset();
  stub_use(0);
  dir = rt_scratch();
  return 0;
}

static int
teardown(void **state)
{
  (void)state;
  rt_remove(dir);
  return stub.stub_modules() || stub.stub_primaries(0);
}

static attnc_context *
context_with(int cache)
{
  attnc_context *c = NULL;
  attnc_error e = {0};
  attnc_options o = {.size = sizeof o,
                     .libcuda = STUB_LIBCUDA,
                     .cache_dir = dir,
                     .cache = cache,
                     .tune_dir = dir};
  if (attnc_context_create(&o, &c, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  return c;
}

static attnc_context *
context(void)
{
  return context_with(3);
}

static attnc_spec *
load(const char *yaml)
{
  attnc_spec *spec = NULL;
  assert_int_equal(attnc_spec_load(yaml, strlen(yaml), "test", &spec, NULL), ATTNC_OK);
  return spec;
}

static attnc_plan *
get(attnc_context *c, const attnc_spec *spec, const attnc_schedule *want)
{
  attnc_plan *p = NULL;
  attnc_error e = {0};
  attnc_problem problem = {
      .size = sizeof problem,
      .sizes = &(attnc_sizes){
          .size = sizeof(attnc_sizes), .b = 1, .h = 8, .hk = 2, .sq = 1024, .sk = 1024}};
  if (attnc_plan_get_with(c, spec, &problem, want, &p, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  return p;
}

static double
seconds(const attnc_plan *p, const char *part, const char *layer)
{
  json_t *j = json_loads(attnc_plan_json(p), 0, NULL);
  assert_string_equal(json_string_value(json_object_get(j, "layer")), layer);
  double s = json_real_value(json_object_get(json_object_get(j, "seconds"), part));
  json_decref(j);
  return s;
}

static void
launch(const attnc_plan *p, int slots)
{
  static _Alignas(16) char memory[16];
  attnc_tensor t[5];
  attnc_error e = {0};
  for (int i = 0; i < 5; i++)
    t[i] = (attnc_tensor){memory, {8 * 1024 * 128, 128, 8 * 128, 1, 0}};
  attnc_args a = {
      .size = sizeof a,
      .sizes =
          &(attnc_sizes){
              .size = sizeof(attnc_sizes), .b = 1, .h = 8, .hk = 2, .sq = 1024, .sk = 1024},
      .tensors = t,
      .tensor_size = sizeof(attnc_tensor),
      .n_tensors = (uint32_t)slots};
  if (attnc_launch(p, &a, NULL, NULL, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
}

static void
test_what_the_compiler_writes(void **state)
{
  static const struct {
    const char *yaml, *template_name;
    int slots;
    unsigned
        grid[3]; /* of 8 heads of 1024 rows: rows, heads; and heads of a section, rows */
  } cases[] = {
      {text, "ref_fwd", 4, {256, 8, 1}},
      {text, "fwd_mma", 4, {8, 16, 1}},
      {"attnc: 1\nname: a\ndtype: fp16\nhead_dim: 64\nwindow: [128, 0]\nreturn_lse: true\n"
       "specialize: [sq, softmax_scale]\n",
       "fwd_mma",
       5,
       {8, 16, 1}},
  };
  (void)state;
  attnc_context *c = context();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    attnc_schedule want = {.size = sizeof want, .template_name = cases[i].template_name};
    attnc_spec *spec = load(cases[i].yaml);
    attnc_plan *p = get(c, spec, &want);
    launch(p, cases[i].slots);
    StubLaunch l = stub.stub_launch_at((int)i);
    for (int a = 0; a < 3; a++)
      assert_int_equal(l.grid[a], cases[i].grid[a]);
    assert_true(l.n_params > 10 && l.block[0] >= 32);
    attnc_plan_release(p);
    attnc_spec_release(spec);
  }
  attnc_context_release(c);
}

/* A scale that is a constant of the kernel may be named again, not changed. */
static void
test_a_constant_scale(void **state)
{
  static _Alignas(16) char memory[16];
  attnc_tensor t[4];
  attnc_error e = {0};
  double scale = 0.25;
  (void)state;
  attnc_context *c = context();
  attnc_spec *spec = load("attnc: 1\nname: c\ndtype: bf16\nhead_dim: 64\n"
                          "softmax_scale: 0.25\nspecialize: [softmax_scale]\n");
  attnc_plan *p = get(c, spec, NULL);
  for (int i = 0; i < 4; i++)
    t[i] = (attnc_tensor){memory, {64 * 128, 64, 128, 1, 0}};
  attnc_args a = {
      .size = sizeof a,
      .sizes =
          &(attnc_sizes){
              .size = sizeof(attnc_sizes), .b = 1, .h = 2, .hk = 2, .sq = 64, .sk = 64},
      .tensors = t,
      .tensor_size = sizeof(attnc_tensor),
      .n_tensors = 4,
      .scalars = &scale,
      .n_scalars = 1};
  assert_int_equal(attnc_launch(p, &a, NULL, NULL, &e), ATTNC_OK);
  scale = 0.5f;
  assert_int_equal(attnc_launch(p, &a, NULL, NULL, &e), ATTNC_ERR_SHAPE);
  assert_string_equal(e.message,
                      "softmax_scale is 0.5; this kernel is specialised for 0.25");
  attnc_plan_release(p);
  attnc_spec_release(spec);
  attnc_context_release(c);
}

/* ---- what is beside the key ---- */

#define BARE(name) "attnc: 1\nname: " name "\ndtype: fp16\nhead_dim: 64\n"

/* Pairs that differ in one field that is no part of what is computed, or of which the
 * number is none. */
static const char *const shadows[][2] = {
    {BARE("one"), BARE("two")},
    {BARE("a"), BARE("a") "doc: of one\n"},
    {BARE("a"), BARE("a") "layout: bhsd\n"},
    {BARE("a"), BARE("a") "softmax_scale: 1.0\n"},
    {BARE("a") "softmax_scale: 0.5\n", BARE("b") "softmax_scale: 0.25\n"},
    {BARE("a"), BARE("a") "schedule: {block_m: 64}\n"},
    {BARE("a") "schedule: {block_m: 64}\nsoftmax_scale: 2.0\n",
     BARE("a") "schedule: [{arch: sm_90, block_m: 128}, {block_m: 64}]\n"},
};

/* All that a plan says and hands to the driver, but where it was found. */
typedef struct Told {
  char *json;
  StubLaunch launch;
} Told;

static Told
tell(attnc_plan *p)
{
  static const char *const ways[] = {"layer", "seconds"};
  Told t;
  json_t *j = json_loads(attnc_plan_json(p), 0, NULL);
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
    json_object_del(j, ways[i]);
  t.json = json_dumps(j, JSON_INDENT(1));
  json_decref(j);
  stub.stub_reset();
  stub_use(0);
  launch(p, 4);
  t.launch = stub.stub_launch_at(0);
  attnc_plan_release(p);
  return t;
}

/* By a thread behind, waited for. */
static attnc_plan *
get_behind(attnc_context *c, const attnc_spec *spec)
{
  attnc_plan *p = NULL;
  attnc_error e = {0};
  attnc_problem problem = {
      .size = sizeof problem,
      .flags = ATTNC_NOWAIT,
      .sizes = &(attnc_sizes){
          .size = sizeof(attnc_sizes), .b = 1, .h = 8, .hk = 2, .sq = 1024, .sk = 1024}};
  attnc_status status = ATTNC_ERR_PENDING;
  for (int i = 0; i < 30000 && status == ATTNC_ERR_PENDING; i++) {
    status = attnc_plan_get(c, spec, &problem, &p, &e);
    usleep(1000);
  }
  if (status != ATTNC_OK)
    fail_msg("%s", e.message);
  return p;
}

typedef attnc_plan *Getter(attnc_context *, const attnc_spec *);

static attnc_plan *
get_now(attnc_context *c, const attnc_spec *spec)
{
  return get(c, spec, NULL);
}

static Told
told_alone(const attnc_spec *spec)
{
  attnc_context *c = context_with(1);
  Told t = tell(get_now(c, spec));
  attnc_context_release(c);
  return t;
}

/* The second of two, asked for after the first: through one context, or through the disk.
 */
static Told
told_after(const attnc_spec *first, const attnc_spec *second, int cache, bool one_context,
           Getter *getter)
{
  attnc_context *c = context_with(cache);
  attnc_plan *kept =
      getter(c, first); /* held, so that it is there to be taken for another */
  if (!one_context) {
    attnc_context_release(c);
    c = context_with(cache);
  }
  attnc_plan *p = getter(c, second);
  attnc_plan_release(kept);
  Told t = tell(p);
  attnc_context_release(c);
  return t;
}

static void
check_alike(Told *a, const Told *b)
{
  assert_string_equal(a->json, b->json);
  assert_memory_equal(&a->launch, &b->launch, sizeof a->launch);
  free(a->json);
}

static void
check_order(const char *first, const char *second)
{
  attnc_spec *a = load(first), *b = load(second);
  Told alone = told_alone(b);
  for (int way = 0; way < 2; way++) {
    Getter *getter = way ? get_behind : get_now;
    Told memory = told_after(a, b, 3, true, getter),
         off = told_after(a, b, 1, true, getter);
    check_alike(&memory, &alone);
    check_alike(&off, &alone);
    Told disk = told_after(a, b, 3, false, getter);
    check_alike(&disk, &alone);
  }
  free(alone.json);
  attnc_spec_release(a);
  attnc_spec_release(b);
}

static void
test_what_is_beside_the_key_is_the_specs_own(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof shadows / sizeof *shadows; i++) {
    check_order(shadows[i][0], shadows[i][1]);
    assert_int_equal(teardown(NULL) + setup(NULL), 0); /* an empty cache */
    check_order(shadows[i][1], shadows[i][0]);
    assert_int_equal(teardown(NULL) + setup(NULL), 0);
  }
}

/* What a disk hit saves is nearly all of a compile.  How long it takes is bench/cpu's to
 * say: a machine may be busy, or the build one that checks itself. */
static void
test_disk_hit(void **state)
{
  double best = 1;
  (void)state;
  attnc_spec *spec = load(text);
  attnc_context *c = context();
  attnc_plan *p = get(c, spec, NULL);
  double cold = seconds(p, "compile", "miss");
  attnc_plan_release(p);
  attnc_context_release(c);
  for (int i = 0; i < 20; i++) {
    c = context();
    p = get(c, spec, NULL);
    double s = seconds(p, "lookup", "disk");
    best = s < best ? s : best;
    attnc_plan_release(p);
    attnc_context_release(c);
  }
  print_message("cold %.1f ms; disk hit up to the load call %.3f ms\n", cold * 1e3,
                best * 1e3);
  assert_true(best < cold / 10);
  attnc_spec_release(spec);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_what_the_compiler_writes, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_constant_scale, setup, teardown),
      cmocka_unit_test_setup_teardown(test_what_is_beside_the_key_is_the_specs_own, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(test_disk_hit, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
