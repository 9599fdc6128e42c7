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
context(void)
{
  attnc_context *c = NULL;
  attnc_error e = {0};
  attnc_options o = {.size = sizeof o,
                     .libcuda = STUB_LIBCUDA,
                     .cache_dir = dir,
                     .cache = 3,
                     .tune_dir = dir};
  if (attnc_context_create(&o, &c, &e) != ATTNC_OK)
    fail_msg("%s", e.message);
  return c;
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
  attnc_problem problem = {.size = sizeof problem,
                           .sizes = {sizeof problem.sizes, 1, 8, 2, 1024, 1024}};
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
  attnc_args a = {.size = sizeof a,
                  .sizes = {sizeof a.sizes, 1, 8, 2, 1024, 1024},
                  .tensors = t,
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
  } cases[] = {
      {text, "ref_fwd", 4},
      {text, "fwd_mma", 4},
      {"attnc: 1\nname: a\ndtype: fp16\nhead_dim: 64\nwindow: [128, 0]\nreturn_lse: true\n"
       "specialize: [sq, softmax_scale]\n",
       "fwd_mma", 5},
  };
  (void)state;
  attnc_context *c = context();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    attnc_schedule want = {.size = sizeof want, .template_name = cases[i].template_name};
    attnc_spec *spec = load(cases[i].yaml);
    attnc_plan *p = get(c, spec, &want);
    launch(p, cases[i].slots);
    StubLaunch l = stub.stub_launch_at((int)i);
    assert_int_equal(l.grid[1], 8);
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
  float scale = 0.25f;
  (void)state;
  attnc_context *c = context();
  attnc_spec *spec = load("attnc: 1\nname: c\ndtype: bf16\nhead_dim: 64\n"
                          "softmax_scale: 0.25\nspecialize: [softmax_scale]\n");
  attnc_plan *p = get(c, spec, NULL);
  for (int i = 0; i < 4; i++)
    t[i] = (attnc_tensor){memory, {0, 0, 64, 1, 0}};
  attnc_args a = {.size = sizeof a,
                  .sizes = {sizeof a.sizes, 1, 2, 2, 64, 64},
                  .tensors = t,
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
      cmocka_unit_test_setup_teardown(test_disk_hit, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
