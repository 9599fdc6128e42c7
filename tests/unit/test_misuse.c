/* Every public function with a pointer missing, and every struct in another version's size:
 * no call crashes, and each says what is wrong. */
#include "tests/unit/rt.h"

#include <attnc/attnc.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { S = 16, D = 16 };
static const char yaml[] = "attnc: 1\nname: m\ndtype: fp32\nhead_dim: 16\n";

/* One of everything, valid. */
static struct {
  attnc_spec *spec;
  attnc_diags *diags;
  attnc_kernel *kernel;
  attnc_context *context;
  attnc_plan *plan;
  attnc_sizes sizes;
  attnc_tensor tensors[ATTNC_SLOT_COUNT];
  attnc_args args;
  attnc_problem problem;
  attnc_schedule schedule;
} all;

static int
setup(void **state)
{
  static float memory[ATTNC_SLOT_COUNT][S * D];
  const attnc_options o = {
      .size = sizeof o, .libcuda = EMULATOR, .cache = 1, .target = "sm_80"};
  (void)state;
  all.sizes =
      (attnc_sizes){.size = sizeof all.sizes, .b = 1, .h = 1, .hk = 1, .sq = S, .sk = S};
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    all.tensors[i] = (attnc_tensor){memory[i], {S * D, S * D, D, 1, 0}};
  all.args = (attnc_args){.size = sizeof all.args,
                          .sizes = &all.sizes,
                          .tensors = all.tensors,
                          .tensor_size = sizeof *all.tensors,
                          .n_tensors = ATTNC_SLOT_COUNT};
  all.problem = (attnc_problem){.size = sizeof all.problem, .sizes = &all.sizes};
  all.schedule = (attnc_schedule){.size = sizeof all.schedule};
  return attnc_diags_create(&all.diags) ||
         attnc_spec_load(yaml, strlen(yaml), "m", &all.spec, all.diags) ||
         attnc_compile(all.spec, &all.problem, "sm_80", NULL, &all.kernel, NULL) ||
         attnc_context_create(&o, &all.context, NULL) ||
         attnc_plan_get(all.context, all.spec, &all.problem, &all.plan, NULL);
}

static int
teardown(void **state)
{
  (void)state;
  attnc_plan_release(all.plan);
  attnc_context_release(all.context);
  attnc_kernel_release(all.kernel);
  attnc_spec_release(all.spec);
  attnc_diags_release(all.diags);
  return 0;
}

/* ---- pointers ---- */

#define REFUSED(call)                                                                      \
  do {                                                                                     \
    attnc_status got_ = (call);                                                            \
    if (got_ != ATTNC_ERR_USAGE)                                                           \
      fail_msg("%s: %s", #call, attnc_status_name(got_));                                  \
  } while (0)

static void
pointers_of_specs(void **state)
{
  attnc_spec *spec;
  attnc_kernel *kernel;
  char *json;
  (void)state;
  REFUSED(attnc_diags_create(NULL));
  REFUSED(attnc_spec_load(yaml, strlen(yaml), "m", NULL, NULL));
  assert_int_equal(attnc_spec_load(NULL, 0, NULL, &spec, NULL), ATTNC_ERR_SPEC);
  REFUSED(attnc_spec_load(NULL, 5, NULL, &spec, NULL));
  REFUSED(attnc_spec_check(NULL, "sm_80", NULL));
  REFUSED(attnc_spec_check(all.spec, NULL, NULL));
  REFUSED(attnc_spec_templates(NULL, "sm_80", &json, NULL));
  REFUSED(attnc_spec_templates(all.spec, "sm_80", NULL, NULL));
  REFUSED(attnc_spec_templates(all.spec, NULL, &json, NULL));
  REFUSED(attnc_compile(NULL, NULL, "sm_80", NULL, &kernel, NULL));
  REFUSED(attnc_compile(all.spec, NULL, "sm_80", NULL, NULL, NULL));
  REFUSED(attnc_compile(all.spec, NULL, NULL, NULL, &kernel, NULL));
  REFUSED(attnc_compile_with(NULL, NULL, "sm_80", NULL, NULL, &kernel, NULL));
  REFUSED(attnc_schedules(NULL, NULL, "sm_80", 0, &json, NULL));
  REFUSED(attnc_schedules(all.spec, NULL, "sm_80", 0, NULL, NULL));
  REFUSED(attnc_schedules(all.spec, NULL, NULL, 0, &json, NULL));
  REFUSED(attnc_schedule_check(NULL, NULL));
}

static void
pointers_of_calls(void **state)
{
  attnc_tile_counts counts = {.size = sizeof counts};
  attnc_verdict verdict = {.size = sizeof verdict};
  size_t bytes;
  (void)state;
  REFUSED(attnc_tiles(NULL, &all.sizes, 64, 64, &counts, NULL, 0, NULL));
  REFUSED(attnc_tiles(all.spec, NULL, 64, 64, &counts, NULL, 0, NULL));
  REFUSED(attnc_tiles(all.spec, &all.sizes, 64, 64, NULL, NULL, 0, NULL));
  REFUSED(attnc_tiles(all.spec, &all.sizes, 0, 64, &counts, NULL, 0, NULL));
  attnc_tile_choice x = {.size = sizeof x, .block_m = 64, .block_n = 64}, bad = x;
  REFUSED(attnc_tiles_of(NULL, &all.args, &x, &counts, NULL, 0, NULL));
  REFUSED(attnc_tiles_of(all.spec, NULL, &x, &counts, NULL, 0, NULL));
  REFUSED(attnc_tiles_of(all.spec, &all.args, NULL, &counts, NULL, 0, NULL));
  REFUSED(attnc_tiles_of(all.spec, &all.args, &x, NULL, NULL, 0, NULL));
  bad.block_n = 0;
  REFUSED(attnc_tiles_of(all.spec, &all.args, &bad, &counts, NULL, 0, NULL));
  bad.block_n = 64;
  bad.exact = 2;
  REFUSED(attnc_tiles_of(all.spec, &all.args, &bad, &counts, NULL, 0, NULL));
  bad.exact = 0;
  bad.h = all.sizes.h;
  REFUSED(attnc_tiles_of(all.spec, &all.args, &bad, &counts, NULL, 0, NULL));
  REFUSED(attnc_reference(NULL, ATTNC_OP_FWD, &all.args, NULL, 0, NULL, 0, NULL));
  REFUSED(attnc_reference(all.spec, ATTNC_OP_FWD, NULL, NULL, 0, NULL, 0, NULL));
  REFUSED(attnc_verify(NULL, ATTNC_OP_FWD, &all.args, &verdict, NULL));
  REFUSED(attnc_verify(all.spec, ATTNC_OP_FWD, NULL, &verdict, NULL));
  REFUSED(attnc_verify(all.spec, ATTNC_OP_FWD, &all.args, NULL, NULL));
  REFUSED(attnc_launch(NULL, &all.args, NULL, NULL, NULL));
  REFUSED(attnc_launch(all.plan, NULL, NULL, NULL, NULL));
  REFUSED(attnc_plan_workspace(NULL, &all.sizes, &bytes));
  REFUSED(attnc_plan_workspace(all.plan, NULL, &bytes));
  REFUSED(attnc_plan_workspace(all.plan, &all.sizes, NULL));
}

static void
pointers_of_contexts(void **state)
{
  attnc_bundle *bundle;
  attnc_plan *plan;
  attnc_tuning *tuning;
  char *json;
  (void)state;
  REFUSED(attnc_context_create(NULL, NULL, NULL));
  REFUSED(attnc_plan_get(NULL, all.spec, NULL, &plan, NULL));
  REFUSED(attnc_plan_get(all.context, NULL, NULL, &plan, NULL));
  REFUSED(attnc_plan_get(all.context, all.spec, NULL, NULL, NULL));
  REFUSED(attnc_key_explain(NULL, all.spec, NULL, NULL, &json, NULL));
  REFUSED(attnc_key_explain(all.context, NULL, NULL, NULL, &json, NULL));
  REFUSED(attnc_key_explain(all.context, all.spec, NULL, NULL, NULL, NULL));
  REFUSED(attnc_tune_record(NULL, all.spec, &all.problem, &all.schedule, 1, "ms", NULL));
  REFUSED(attnc_tune_record(all.context, NULL, &all.problem, &all.schedule, 1, "ms", NULL));
  REFUSED(attnc_tune_record(all.context, all.spec, NULL, &all.schedule, 1, "ms", NULL));
  REFUSED(attnc_tune_record(all.context, all.spec, &all.problem, NULL, 1, "ms", NULL));
  REFUSED(
      attnc_tune_record(all.context, all.spec, &all.problem, &all.schedule, 1, NULL, NULL));
  REFUSED(attnc_tune(NULL, all.spec, &all.problem, NULL, &tuning, NULL));
  REFUSED(attnc_tune(all.context, NULL, &all.problem, NULL, &tuning, NULL));
  REFUSED(attnc_tune(all.context, all.spec, NULL, NULL, &tuning, NULL));
  REFUSED(attnc_tune(all.context, all.spec, &all.problem, NULL, NULL, NULL));
  REFUSED(attnc_cache_stat(NULL, &json, NULL));
  REFUSED(attnc_cache_verify(NULL, &json, NULL));
  REFUSED(attnc_cache_gc(NULL, &json, NULL));
  REFUSED(attnc_cache_clear(NULL, &json, NULL));
  REFUSED(attnc_bundle_open(NULL, &bundle, NULL));
  REFUSED(attnc_bundle_open("/nowhere", NULL, NULL));
  REFUSED(attnc_bundle_plan(NULL, "m", &plan, NULL));
}

/* Text of nothing is NULL, its size 0; releasing nothing is fine. */
static void
texts_of_nothing(void **state)
{
  size_t bytes = 1;
  (void)state;
  assert_null(attnc_spec_name(NULL));
  assert_null(attnc_spec_canonical(NULL));
  assert_null(attnc_spec_hash(NULL));
  assert_null(attnc_spec_json(NULL));
  assert_null(attnc_spec_why(NULL));
  assert_null(attnc_kernel_ptx(NULL, &bytes));
  assert_int_equal(bytes, 0);
  assert_non_null(attnc_kernel_ptx(all.kernel, NULL));
  assert_null(attnc_kernel_json(NULL));
  assert_null(attnc_kernel_dump(NULL, "ptx"));
  assert_null(attnc_kernel_dump(all.kernel, NULL));
  assert_true(attnc_kernel_seconds(NULL, "total") == 0);
  assert_true(attnc_kernel_seconds(all.kernel, NULL) == 0);
  assert_null(attnc_plan_json(NULL));
  assert_null(attnc_context_json(NULL));
  assert_null(attnc_diags_get(NULL, 0));
  assert_null(attnc_diags_get(all.diags, 0));
  assert_int_equal(attnc_diags_count(NULL), 0);
  assert_int_equal(attnc_diags_format(NULL, 0, NULL, 10), 0);
  assert_int_equal(attnc_diags_format(all.diags, 0, NULL, 10), 0);
  assert_int_equal(attnc_plan_state_bytes(NULL), 0);
  assert_int_equal(attnc_plan_zeroed_bytes(NULL), 0);
  assert_int_equal(attnc_plan_faults(NULL, NULL, NULL, NULL), ATTNC_ERR_USAGE);
  assert_int_equal(attnc_plan_slot(NULL, "o"), -1);
  assert_int_equal(attnc_plan_slot(all.plan, NULL), -1);
  assert_int_equal(attnc_plan_slot(all.plan, "lse"), -1);
  assert_int_equal(attnc_plan_slot(all.plan, "o"), ATTNC_O);
  assert_int_equal(attnc_plan_scalar(NULL, "softmax_scale"), -1);
  assert_int_equal(attnc_plan_scalar(all.plan, NULL), -1);
  assert_int_equal(attnc_plan_scalar(all.plan, "o"), -1);
  assert_int_equal(attnc_plan_scalar(all.plan, "softmax_scale"), ATTNC_SOFTMAX_SCALE);
  attnc_diags_release(NULL);
  attnc_spec_release(NULL);
  attnc_kernel_release(NULL);
  attnc_context_release(NULL);
  attnc_plan_retain(NULL);
  attnc_plan_release(NULL);
  attnc_bundle_release(NULL);
  attnc_text_free(NULL);
  assert_null(attnc_tuning_json(NULL));
  assert_null(attnc_tuning_get(NULL, 0));
  assert_int_equal(attnc_tuning_count(NULL), 0);
  attnc_tuning_release(NULL);
}

/* ---- structs of other versions ---- */

enum { MORE = 64 };

static attnc_status
with_sizes(void *x)
{
  attnc_problem p = all.problem;
  attnc_args a = all.args;
  size_t bytes;
  attnc_kernel *k = NULL;
  p.sizes = a.sizes = x;
  attnc_status s = attnc_compile(all.spec, &p, "sm_80", NULL, &k, NULL);
  attnc_kernel_release(k);
  assert_int_equal(attnc_reference(all.spec, ATTNC_OP_FWD, &a, NULL, 0, NULL, 0, NULL), s);
  assert_int_equal(attnc_plan_workspace(all.plan, x, &bytes), s);
  return s;
}

static attnc_status
with_args(void *x)
{
  return attnc_reference(all.spec, ATTNC_OP_FWD, x, NULL, 0, NULL, 0, NULL);
}

static attnc_status
with_problem(void *x)
{
  attnc_kernel *k = NULL;
  attnc_plan *plan = NULL;
  char *json = NULL;
  attnc_status s = attnc_compile(all.spec, x, "sm_80", NULL, &k, NULL);
  assert_int_equal(attnc_schedules(all.spec, x, "sm_80", 0, &json, NULL), s);
  assert_int_equal(attnc_plan_get(all.context, all.spec, x, &plan, NULL), s);
  attnc_kernel_release(k);
  attnc_text_free(json);
  attnc_plan_release(plan);
  return s;
}

static attnc_status
with_schedule(void *x)
{
  attnc_kernel *k = NULL;
  attnc_status s = attnc_compile(all.spec, NULL, "sm_80", x, &k, NULL);
  attnc_kernel_release(k);
  return s;
}

static attnc_status
with_compile_options(void *x)
{
  attnc_kernel *k = NULL;
  attnc_status s = attnc_compile_with(all.spec, NULL, "sm_80", NULL, x, &k, NULL);
  attnc_kernel_release(k);
  return s;
}

static attnc_status
with_options(void *x)
{
  attnc_context *c = NULL;
  attnc_status s = attnc_context_create(x, &c, NULL);
  attnc_context_release(c);
  return s;
}

/* A struct, its size, and a call that is given it. */
static const struct {
  const char *name;
  const void *valid;
  size_t size, least; /* of this version, of the first */
  attnc_status (*give)(void *);
} structs[] = {
    {"attnc_sizes", &all.sizes, sizeof all.sizes, offsetof(attnc_sizes, total_q),
     with_sizes},
    {"attnc_args", &all.args, sizeof all.args, sizeof all.args, with_args},
    {"attnc_problem", &all.problem, sizeof all.problem, offsetof(attnc_problem, stream),
     with_problem},
    {"attnc_schedule", &all.schedule, sizeof all.schedule, sizeof all.schedule,
     with_schedule},
    {"attnc_compile_options",
     &(attnc_compile_options){.size = sizeof(attnc_compile_options)},
     sizeof(attnc_compile_options), sizeof(attnc_compile_options), with_compile_options},
    {"attnc_options", &(attnc_options){.size = sizeof(attnc_options), .cache = 1},
     sizeof(attnc_options), offsetof(attnc_options, tune_readonly), with_options},
};

static void
expect(int i, size_t size, bool marked, attnc_status want)
{
  _Alignas(16) char bytes[512] = {0};
  memcpy(bytes, structs[i].valid, structs[i].size);
  memcpy(bytes, &size, sizeof size);
  if (marked)
    bytes[structs[i].size + 8] = 1;
  attnc_status got = structs[i].give(bytes);
  if (got != want)
    fail_msg("%s of %zu bytes%s: %s", structs[i].name, size, marked ? ", one set" : "",
             attnc_status_name(got));
}

static void
structs_of_other_versions(void **state)
{
  (void)state;
  for (int i = 0; i < (int)(sizeof structs / sizeof *structs); i++) {
    const size_t n = structs[i].size;
    expect(i, n, false, ATTNC_OK);
    expect(i, n + MORE, false, ATTNC_OK);
    expect(i, n + MORE, true, ATTNC_ERR_USAGE);
    expect(i, n, true, ATTNC_OK); /* behind its end: nothing of it */
    expect(i, 0, false, ATTNC_ERR_USAGE);
    expect(i, structs[i].least - 8, false, ATTNC_ERR_USAGE);
    expect(i, SIZE_MAX, false, ATTNC_ERR_USAGE);
    expect(i, SIZE_MAX / 16 * 8, false, ATTNC_ERR_USAGE);
  }
}

/* Structs that are written: as many bytes as the caller has, unknown ones zero. */
static void
answers_of_other_versions(void **state)
{
  struct {
    attnc_tile_counts n;
    int64_t more, behind;
  } t = {.n.size = offsetof(__typeof__(t), behind), .more = 7, .behind = 7};
  struct {
    attnc_output_verdict v;
    double more;
  } of[ATTNC_SLOT_COUNT + 2];
  attnc_verdict v = {.size = sizeof v,
                     .outputs = &of[0].v,
                     .output_size = sizeof *of,
                     .n_outputs = ATTNC_SLOT_COUNT + 1};
  (void)state;
  assert_int_equal(attnc_tiles(all.spec, &all.sizes, 8, 8, &t.n, NULL, 0, NULL), ATTNC_OK);
  assert_int_equal(t.n.full, 4);
  assert_int_equal(t.more, 0);
  assert_int_equal(t.behind, 7);
  t.n.size = 0;
  REFUSED(attnc_tiles(all.spec, &all.sizes, 8, 8, &t.n, NULL, 0, NULL));
  memset(of, 0xff, sizeof of);
  assert_int_equal(attnc_verify(all.spec, ATTNC_OP_FWD, &all.args, &v, NULL), ATTNC_OK);
  assert_int_equal(v.pass, 1);
  assert_true(of[ATTNC_O].more == 0 && of[ATTNC_SLOT_COUNT].v.bound == 0);
  assert_true(isnan(of[ATTNC_SLOT_COUNT + 1].v.bound));
  v.output_size = 8;
  REFUSED(attnc_verify(all.spec, ATTNC_OP_FWD, &all.args, &v, NULL));
}

/* Arrays of tensors: by the caller's step. */
static void
tensors_of_other_versions(void **state)
{
  struct {
    attnc_tensor t;
    uint64_t more;
  } longer[ATTNC_SLOT_COUNT] = {0};
  attnc_args a = all.args;
  (void)state;
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    longer[i].t = all.tensors[i];
  a.tensors = &longer[0].t;
  a.tensor_size = sizeof *longer;
  assert_int_equal(with_args(&a), ATTNC_OK);
  longer[2].more = 1;
  assert_int_equal(with_args(&a), ATTNC_ERR_USAGE);
  a = all.args;
  static const size_t bad[] = {0, 8, sizeof(attnc_tensor) - 8, sizeof(attnc_tensor) + 4,
                               SIZE_MAX};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    a.tensor_size = bad[i];
    assert_int_equal(with_args(&a), ATTNC_ERR_USAGE);
  }
}

/* ---- numbers ---- */

/* Sizes as hints: the same check at every door; 0 is open. */
static void
absurd_sizes(void **state)
{
  static const struct {
    int64_t b, h, hk, sq, sk;
    attnc_status want;
  } cases[] = {
      {0, 0, 0, 0, 0, ATTNC_OK},
      {1, 3, 0, 5, 0, ATTNC_OK},
      {1, 4, 2, INT64_C(1) << 30, 1, ATTNC_OK},
      {1, 3, 2, 1, 1, ATTNC_ERR_SHAPE},
      {-1, 1, 1, 1, 1, ATTNC_ERR_SHAPE},
      {1, INT64_MIN, 1, 1, 1, ATTNC_ERR_SHAPE},
      {1, 1, 1, INT64_MAX, 1, ATTNC_ERR_SHAPE},
      {1, 1, 1, 1, (INT64_C(1) << 30) + 1, ATTNC_ERR_SHAPE},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    attnc_sizes n = {.size = sizeof n,
                     .b = cases[i].b,
                     .h = cases[i].h,
                     .hk = cases[i].hk,
                     .sq = cases[i].sq,
                     .sk = cases[i].sk};
    attnc_problem p = {.size = sizeof p, .sizes = &n};
    attnc_tile_counts t = {.size = sizeof t};
    char *json = NULL;
    assert_int_equal(with_problem(&p), cases[i].want);
    assert_int_equal(attnc_key_explain(all.context, all.spec, &p, NULL, &json, NULL),
                     cases[i].want);
    attnc_text_free(json);
    if (cases[i].sq < 1 << 20)
      assert_int_equal(attnc_tiles(all.spec, &n, 64, 64, &t, NULL, 0, NULL), cases[i].want);
  }
}

static void
absurd_problems(void **state)
{
  attnc_problem p = all.problem;
  attnc_verdict v = {.size = sizeof v};
  (void)state;
  for (int op = -1; op <= ATTNC_OP_COUNT; op++) {
    bool known = op >= 0 && op < ATTNC_OP_COUNT;
    attnc_status want = known ? ATTNC_OK : ATTNC_ERR_UNSUPPORTED;
    p.op = op;
    if (op == ATTNC_OP_DROPOUT_MASK) { /* the spec has no dropout */
      attnc_kernel *k = NULL;
      assert_int_equal(attnc_compile(all.spec, &p, "sm_80", NULL, &k, NULL),
                       ATTNC_ERR_UNSUPPORTED);
      assert_null(k);
    } else
      assert_int_equal(with_problem(&p), want);
    attnc_status of_call = attnc_verify(all.spec, op, &all.args, &v, NULL);
    attnc_status of_ref = attnc_reference(all.spec, op, &all.args, NULL, 0, NULL, 0, NULL);
    if (known && op != ATTNC_OP_FWD && op != ATTNC_OP_BWD) { /* other shapes, or no field */
      assert_int_not_equal(of_call, ATTNC_OK);
      assert_int_not_equal(of_ref, ATTNC_OK);
    } else {
      assert_int_equal(of_call, want);
      assert_int_equal(of_ref, want);
    }
  }
  p.op = ATTNC_OP_FWD;
  p.flags = 0xdead;
  assert_int_equal(with_problem(&p), ATTNC_ERR_USAGE);
  p.flags = 0;
  p.device = -1;
  assert_int_equal(with_problem(&p), ATTNC_ERR_USAGE);
}

/* Data at an address that is no multiple of an element's size. */
static void
odd_addresses(void **state)
{
  attnc_tensor t[ATTNC_SLOT_COUNT];
  attnc_args a = all.args;
  (void)state;
  memcpy(t, all.tensors, sizeof t);
  t[ATTNC_K].data = (char *)t[ATTNC_K].data + 2;
  a.tensors = t;
  assert_int_equal(with_args(&a), ATTNC_ERR_ALIGN);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pointers_of_specs),
      cmocka_unit_test(pointers_of_calls),
      cmocka_unit_test(pointers_of_contexts),
      cmocka_unit_test(texts_of_nothing),
      cmocka_unit_test(structs_of_other_versions),
      cmocka_unit_test(answers_of_other_versions),
      cmocka_unit_test(tensors_of_other_versions),
      cmocka_unit_test(absurd_sizes),
      cmocka_unit_test(absurd_problems),
      cmocka_unit_test(odd_addresses),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
