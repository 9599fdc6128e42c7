/* attnc_compile from outside: models against programs, determinism, the choice of a
 * schedule, and every bad request answered by a status and a reason. */
#include "compiler/gen.h"
#include "compiler/sched.h"
#include "compiler/space.h"

#include "schedule/schedule_json.h"

#include <attnc/attnc.h>

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static attnc_spec *
spec(const char *more)
{
  char text[1024];
  attnc_spec *s = NULL;
  snprintf(text, sizeof text, "attnc: 1\nname: t\n%s\n", more);
  assert_int_equal(attnc_spec_load(text, strlen(text), "t", &s, NULL), ATTNC_OK);
  return s;
}

static const char *const variants[] = {
    "dtype: bf16\nhead_dim: 16",
    "dtype: fp16\nhead_dim: 40\ncausal: true",
    "dtype: bf16\nhead_dim: 64\nwindow: [100, 0]\nreturn_lse: true",
    "dtype: fp16\nhead_dim: 96\nhead_dim_v: 128\ncausal: true",
    "dtype: bf16\nhead_dim: 128\ncausal: true\nreturn_lse: true",
    "dtype: bf16\nhead_dim: 192\nhead_dim_v: 128",
    "dtype: fp16\nhead_dim: 256\nwindow: [64, 64]\nalign: top_left",
    "dtype: {q: fp16, k: bf16, v: fp32, o: bf16}\nhead_dim: 72\ncausal: true",
};

/* Every legal schedule compiles, and its kernel is launched with the shared memory that the
 * list of schedules has. */
static void
test_models(void **state)
{
  (void)state;
  int compiled = 0;
  for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
    attnc_spec *s = spec(variants[i]);
    char *text;
    attnc_error e = {0};
    const char *target = i % 2 ? "sm_86" : "sm_80";
    assert_int_equal(attnc_schedules(s, NULL, target, 0, &text, &e), ATTNC_OK);
    json_t *list = json_loads(text, 0, NULL);
    assert_true(json_array_size(list) >= 1);
    for (size_t n = 0; n < json_array_size(list); n += 5) {
      json_t *x = json_array_get(list, n);
      char options[SCHED_TEXT];
      Schedule named = {.n = 0};
      int shared;
      attnc_kernel *k;
      assert_int_equal(json_unpack(x, "{s:i}", "shared", &shared), 0);
      assert_true(sched_read_json(&named, x));
      const attnc_schedule w = sched_struct(&named, options);
      if (attnc_compile(s, NULL, target, &w, &k, &e) != ATTNC_OK)
        fail_msg("%s: %s", variants[i], e.message);
      json_t *recipe = json_loads(attnc_kernel_json(k), 0, NULL);
      assert_non_null(recipe);
      json_t *launch =
          json_object_get(json_array_get(json_object_get(recipe, "steps"), 0), "launch");
      assert_int_equal(json_integer_value(json_object_get(launch, "shared")), shared);
      json_decref(recipe);
      attnc_kernel_release(k);
      compiled++;
    }
    json_decref(list);
    attnc_text_free(text);
    attnc_spec_release(s);
  }
  assert_true(compiled > 30);
}

static void
test_deterministic(void **state)
{
  (void)state;
  attnc_spec *s = spec(variants[4]);
  attnc_kernel *a, *b;
  assert_int_equal(attnc_compile(s, NULL, "sm_80", NULL, &a, NULL), ATTNC_OK);
  assert_int_equal(attnc_compile(s, NULL, "sm_80", NULL, &b, NULL), ATTNC_OK);
  assert_string_equal(attnc_kernel_ptx(a, NULL), attnc_kernel_ptx(b, NULL));
  assert_string_equal(attnc_kernel_json(a), attnc_kernel_json(b));
  attnc_kernel_release(a);
  attnc_kernel_release(b);
  attnc_spec_release(s);
}

/* Specialised sizes leave no trace in the parameters, and need their values. */
static void
test_specialise(void **state)
{
  (void)state;
  attnc_spec *s = spec("dtype: bf16\nhead_dim: 64\nspecialize: [sq, sk, softmax_scale]");
  attnc_problem p = {.size = sizeof p,
                     .sizes =
                         &(attnc_sizes){.size = sizeof(attnc_sizes), .sq = 256, .sk = 512}};
  attnc_kernel *k;
  attnc_error e = {0};
  assert_int_equal(attnc_compile(s, NULL, "sm_80", NULL, &k, &e), ATTNC_ERR_USAGE);
  assert_non_null(strstr(e.message, "'sq' is specialised"));
  assert_int_equal(attnc_compile(s, &p, "sm_80", NULL, &k, &e), ATTNC_OK);
  const char *json = attnc_kernel_json(k);
  assert_null(strstr(json, "{\"type\":\"i32\",\"size\":\"sq\"}"));
  assert_null(strstr(json, "{\"type\":\"f32\""));
  assert_non_null(strstr(json, "\"sizes\":{\"sq\":256,\"sk\":512}"));
  attnc_kernel_release(k);
  attnc_spec_release(s);
}

typedef struct Bad {
  const char *target;
  attnc_schedule want;
  attnc_compile_options options;
  attnc_status status;
  const char *says;
} Bad;

static const char broken_ll[] = "define void @k( {";
static const char other_ll[] = "define ptx_kernel void @k() {\n  ret void\n}\n";
static const char unselectable[] =
    "target triple = \"nvptx64-nvidia-cuda\"\n"
    "declare void @llvm.nvvm.setmaxnreg.inc.sync.aligned.u32(i32)\n"
    "define ptx_kernel void @k() {\n"
    "  call void @llvm.nvvm.setmaxnreg.inc.sync.aligned.u32(i32 64)\n  ret void\n}\n";

static const Bad bads[] = {
    {"sm_81", {0}, {0}, ATTNC_ERR_UNSUPPORTED, "unknown target sm_81"},
    {"sm_80", {.template_name = "nope"}, {0}, ATTNC_ERR_UNSUPPORTED, "no template 'nope'"},
    {"sm_86",
     {.template_name = "fwd_mma",
      .block_m = 128,
      .block_n = 128,
      .num_stages = 4,
      .num_warps = 8,
      .options = "q_in_regs=false"},
     {0},
     ATTNC_ERR_UNSUPPORTED,
     "bytes of shared memory, sm_86 has 101376"},
    {"sm_80",
     {.template_name = "fwd_mma",
      .block_m = 128,
      .block_n = 128,
      .num_stages = 1,
      .num_warps = 4,
      .options = "q_in_regs=true"},
     {0},
     ATTNC_ERR_UNSUPPORTED,
     "registers a thread"},
    {"sm_80",
     {.template_name = "fwd_mma",
      .block_m = 100,
      .block_n = 64,
      .num_stages = 1,
      .num_warps = 4,
      .options = "q_in_regs=false"},
     {0},
     ATTNC_ERR_UNSUPPORTED,
     "block_m 100"},
    {"sm_80",
     {.template_name = "fwd_mma", .options = "pingpong=true"},
     {0},
     ATTNC_ERR_UNSUPPORTED,
     "fwd_mma: it has no option 'pingpong'"},
    {"sm_90a",
     {.template_name = "fwd_wgmma", .options = "q_in_regs=false"},
     {0},
     ATTNC_ERR_UNSUPPORTED,
     "fwd_wgmma: it has no option 'q_in_regs'"},
    {"sm_80",
     {.template_name = "ref_fwd", .options = "scheduler=grid"},
     {0},
     ATTNC_ERR_UNSUPPORTED,
     "ref_fwd: it has no option 'scheduler'"},
    {"sm_80",
     {.options = "q_in_regs=3"},
     {0},
     ATTNC_ERR_USAGE,
     "q_in_regs=3 is not true or false"},
    {"sm_80", {.block_m = -64}, {0}, ATTNC_ERR_USAGE, "block_m is -64"},
    {"sm_80",
     {.block_m = 5000},
     {0},
     ATTNC_ERR_USAGE,
     "block_m=5000 is not a number from 1 to 4096"},
    {"sm_90a",
     {.options = "scheduler=fast"},
     {0},
     ATTNC_ERR_USAGE,
     "scheduler=fast is not one of grid persistent lpt dynamic"},
    {"sm_90a", {.options = "poly_exp2=17"}, {0}, ATTNC_ERR_USAGE, "a number from 0 to 16"},
    {"sm_90a",
     {.options = "intra_wg_ovrlap=true"},
     {0},
     ATTNC_ERR_USAGE,
     "there is no field intra_wg_ovrlap; did you mean intra_wg_overlap?"},
    {"sm_90a", {.options = "blok_m=64"}, {0}, ATTNC_ERR_USAGE, "did you mean block_m?"},
    {"sm_90a",
     {.options = "intra_wg_overlap"},
     {0},
     ATTNC_ERR_USAGE,
     "'intra_wg_overlap' is not name=value"},
    {"sm_80", {0}, {.dump = "tile,nope"}, ATTNC_ERR_USAGE, "no stage 'nope'"},
    {"sm_80", {0}, {.ptx_version = "6.4"}, ATTNC_ERR_UNSUPPORTED, "at least 7.0"},
    {"sm_80", {0}, {.ptx_version = "x"}, ATTNC_ERR_USAGE, "no PTX version"},
    {"sm_80", {0}, {.ptx_version = "7.9"}, ATTNC_ERR_UNSUPPORTED, "no PTX 7.9"},
    {"sm_80", {0}, {.from = "tile", .text = ""}, ATTNC_ERR_USAGE, "not 'tile'"},
    {"sm_80", {0}, {.from = "ll", .text = broken_ll}, ATTNC_ERR_COMPILE, "does not parse"},
    {"sm_80", {0}, {.from = "ll", .text = unselectable}, ATTNC_ERR_COMPILE, "LLVM"},
    {"sm_80", {0}, {.from = "ll", .text = other_ll}, ATTNC_ERR_USAGE, "has no entry"},
    {"sm_80", {0}, {.from = "ptx", .text = ""}, ATTNC_ERR_USAGE, "has no entry"},
};

/* The text behind the mark of the kernel that would be compiled; the caller frees it. */
static char *
marked(const attnc_spec *s, const char *target, const char *text)
{
  attnc_kernel *k;
  assert_int_equal(attnc_compile(s, NULL, target, NULL, &k, NULL), ATTNC_OK);
  const char *ptx = attnc_kernel_ptx(k, NULL);
  size_t line = strcspn(ptx, "\n") + 1;
  char *out = malloc(line + strlen(text) + 1);
  memcpy(out, ptx, line);
  memcpy(out, ";;", 2); /* in LLVM IR the comment sign is another */
  strcpy(out + line, text);
  attnc_kernel_release(k);
  return out;
}

static void
test_bad_requests(void **state)
{
  (void)state;
  attnc_spec *s = spec(variants[4]);
  for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) {
    const Bad *b = &bads[i];
    attnc_kernel *k;
    attnc_error e = {0};
    attnc_schedule want = b->want;
    attnc_compile_options options = b->options;
    want.size = sizeof want;
    options.size = sizeof options;
    char *text = options.text ? marked(s, b->target, options.text) : NULL;
    options.text = text;
    attnc_status got = attnc_compile_with(s, NULL, b->target, &want, &options, &k, &e);
    free(text);
    if (got != b->status || !strstr(e.message, b->says))
      fail_msg("%zu: %s: %s", i, attnc_status_name(got), e.message);
    assert_null(k);
  }
  attnc_spec_release(s);
}

/* The driver that a recipe asks for is the one that came with its PTX version. */
static void
test_min_driver(void **state)
{
  (void)state;
  static const struct {
    const char *version;
    int driver;
  } cases[] = {{"7.0", 11000}, {"7.4", 11040}, {"8.5", 12050}, {"8.6", 12070}};
  attnc_spec *s = spec(variants[0]);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    attnc_compile_options o = {.size = sizeof o, .ptx_version = cases[i].version};
    attnc_kernel *k;
    assert_int_equal(attnc_compile_with(s, NULL, "sm_80", NULL, &o, &k, NULL), ATTNC_OK);
    json_t *recipe = json_loads(attnc_kernel_json(k), 0, NULL);
    json_int_t driver = json_integer_value(json_object_get(recipe, "min_driver"));
    assert_int_equal(driver, cases[i].driver);
    json_decref(recipe);
    attnc_kernel_release(k);
  }
  attnc_spec_release(s);
}

/* A refusal is explained by the templates that could be meant, and by no other. */
static void
test_reasons(void **state)
{
  static const struct {
    const char *more, *target;
    attnc_schedule want;
    const char *says;
  } cases[] = {
      {"dtype: bf16",
       "sm_80",
       {.block_m = 48},
       "no legal schedule on sm_80: fwd_mma: block_m 48 is not 1 to 4 times 16 rows for "
       "each of 4 warps; ref_fwd: block_m must be num_warps (4): a row a warp"},
      {"dtype: fp32",
       "sm_80",
       {.block_m = 48},
       "no legal schedule on sm_80: ref_fwd: block_m must be num_warps (4): a row a warp"},
      {"dtype: bf16",
       "sm_80",
       {.template_name = "fwd_mma", .block_n = 8},
       "no legal schedule on sm_80: fwd_mma: block_n 8 is not a multiple of 16 up to 256"},
      {"dtype: bf16",
       "sm_80",
       {.options = "intra_wg_overlap=true"},
       "no legal schedule on sm_80: fwd_wgmma: the target has no wgmma"},
      {"dtype: fp32",
       "sm_80",
       {.options = "intra_wg_overlap=true"},
       "no legal schedule on sm_80: fwd_wgmma: the target has no wgmma; wgmma does not "
       "multiply this dtype in full precision"},
      {"dtype: bf16",
       "sm_90a",
       {.options = "cluster=2,q_in_regs=true"},
       "no legal schedule on sm_90a: fwd_wgmma: it has no option 'q_in_regs'; fwd_mma: "
       "it has no option 'cluster'; ref_fwd: it has no option 'cluster'"},
      {"dtype: bf16",
       "sm_90a",
       {.block_m = 100, .options = "cluster=2"},
       "no legal schedule on sm_90a: fwd_wgmma: block_m 100 is not 64, 128 or 192: a "
       "warpgroup has 64 rows"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char more[64];
    attnc_kernel *k;
    attnc_error e = {0};
    attnc_schedule want = cases[i].want;
    snprintf(more, sizeof more, "%s\nhead_dim: 64", cases[i].more);
    attnc_spec *s = spec(more);
    want.size = sizeof want;
    assert_int_equal(attnc_compile(s, NULL, cases[i].target, &want, &k, &e),
                     ATTNC_ERR_UNSUPPORTED);
    assert_string_equal(e.message, cases[i].says);
    attnc_spec_release(s);
  }
}

/* Reasons are joined, cut where there is no room, and not needed for a refusal. */
static void
test_refused(void **state)
{
  Why why = {.text = ""};
  (void)state;
  assert_true(refused(NULL, "a"));
  assert_true(refused(&why, "a %d", 1));
  assert_true(refused(&why, "b"));
  assert_string_equal(why.text, "a 1; b");
  for (int i = 0; i < 300; i++)
    refused(&why, "%d", i);
  assert_true(strlen(why.text) < sizeof why.text);
}

/* Mixed dtypes go to the template that takes them, and the reasons are told. */
static void
test_choice(void **state)
{
  (void)state;
  attnc_spec *s = spec(variants[7]);
  Sched out;
  const char *source;
  attnc_error e = {0};
  const Target *t = target_find("sm_80");
  assert_int_equal(gen_schedule(s, NULL, t, NULL, &out, &source, &e), ATTNC_OK);
  assert_string_equal(out.tmpl->name, "ref_fwd");
  Schedule want = {.template_name = "fwd_mma"};
  assert_int_equal(gen_schedule(s, NULL, t, &want, &out, &source, &e),
                   ATTNC_ERR_UNSUPPORTED);
  assert_non_null(strstr(e.message, "one dtype"));
  attnc_spec_release(s);
  s = spec(variants[4]);
  ProblemCopy p = {.sizes = {.b = 1, .h = 8, .hk = 8, .sq = 2048, .sk = 2048}};
  assert_int_equal(gen_schedule(s, &p, t, NULL, &out, &source, &e), ATTNC_OK);
  assert_string_equal(source, "model");
  assert_string_equal(out.tmpl->name, "fwd_mma");
  attnc_spec_release(s);
}

static void
assert_chosen(const attnc_spec *s, const char *target, const char *asked,
              const char *fields)
{
  Sched out;
  Schedule want;
  const char *source;
  attnc_error e = {0};
  char text[512] = "";
  Arena *a = arena_new(0);
  if (sched_parse(&want, asked, &e) != ATTNC_OK ||
      gen_schedule(s, NULL, target_find(target), &want, &out, &source, &e) != ATTNC_OK)
    fail_msg("%s: %s", fields, e.message);
  Str all = str_new(a);
  want = sched_named(&out);
  sched_list(&all, &want, false);
  snprintf(text, sizeof text, " %s ", all.p);
  arena_free(a);
  if (!strstr(text, fields))
    fail_msg("%s: no%s", text, fields);
  assert_string_equal(source, "pinned");
}

/* What is pinned need not lie in the space that is searched, whatever else is left open; a
 * template's schedule has the fields that it uses, and no other. */
static void
test_pins_beyond_the_space(void **state)
{
  static const char *const cases[][3] = {
      {"sm_90a", " cluster=2 ", "cluster=2"},
      {"sm_90a", " poly_exp2=4 ", "poly_exp2=4"},
      {"sm_90a", " poly_exp2=0 ", "poly_exp2=0"},
      {"sm_90a", " lazy_rescale=true ", "lazy_rescale=true"},
      {"sm_90a", " tma_store=false ", "tma_store=false"},
      {"sm_90a", " block_n=32 ", "template=fwd_wgmma,block_n=32"},
      {"sm_80", " block_n=16 ", "template=fwd_mma,block_n=16"},
  };
  (void)state;
  attnc_spec *s = spec("dtype: bf16\nhead_dim: 128");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_chosen(s, cases[i][0], cases[i][2], cases[i][1]);
  }
  attnc_spec_release(s);
}

/* What is not pinned stays off where the default has it off, whatever the model thinks of
 * it. */
static void
test_pins_turn_nothing_else_on(void **state)
{
  static const char *const off[] = {
      " lazy_rescale=false ",    " poly_exp2=0 ",    " cluster=1 ",   " cross_tile=false ",
      " narrow_diagonal=false ", " pack_gqa=false ", " o_in_v=false "};
  static const char *const on[] = {" intra_wg_overlap=true ", " pingpong=true ",
                                   " tma_store=true ", " private_epilogue=true "};
  static const char *const wants[] = {"template=fwd_wgmma,block_n=128",
                                      "block_m=128,num_stages=2",
                                      "template=fwd_wgmma,q_stages=2", "block_n=48"};
  (void)state;
  attnc_spec *s = spec("dtype: bf16\nhead_dim: 128\ncausal: true");
  for (size_t w = 0; w < sizeof wants / sizeof *wants; w++) {
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
      assert_chosen(s, "sm_90a", wants[w], off[i]);
    for (size_t i = 0; i < sizeof on / sizeof *on; i++)
      assert_chosen(s, "sm_90a", wants[w], on[i]);
  }
  attnc_spec_release(s);
}

/* Fields of a spec that the template takes: some want what they are for. */
static const char *
taken_by(const Template *t)
{
  return strstr(t->name, "mixed")
             ? "dtype: bf16\nhead_dim: 128\nseqlens: [cu_seqlens_q, cu_seqlens_k]"
         : t->op == ATTNC_OP_DROPOUT_MASK ? "dtype: bf16\nhead_dim: 128\ndropout: true"
                                          : "dtype: bf16\nhead_dim: 128";
}

static void
test_fields_in_use(void **state)
{
  (void)state;
  for (int i = 0; i < n_templates; i++) {
    const Template *t = template_table[i];
    attnc_spec *s = spec(taken_by(t));
    const char *target = strstr(t->name, "_wgmma") ? "sm_90a" : "sm_80";
    attnc_schedule want = {.size = sizeof want, .template_name = t->name};
    const attnc_problem p = {.size = sizeof p, .op = t->op};
    attnc_kernel *k;
    assert_int_equal(attnc_compile(s, &p, target, &want, &k, NULL), ATTNC_OK);
    json_t *recipe = json_loads(attnc_kernel_json(k), 0, NULL);
    json_t *schedule = json_object_get(recipe, "schedule"), *value;
    const char *name;
    const char *last = "";
    int n = 0;
    json_object_foreach(schedule, name, value)
    {
      assert_true(strcmp(last, name) < 0); /* sorted */
      assert_true(sched_has(t, name));
      last = name;
      n++;
    }
    assert_int_equal(n, SCHED_COMMON + t->n_options);
    json_decref(recipe);
    attnc_kernel_release(k);
    attnc_spec_release(s);
  }
}

/* The fields as data: every one of every template, with the templates that have it. */
static void
test_fields_json(void **state)
{
  json_t *list = json_loads(attnc_schedule_fields(), 0, NULL), *field, *of;
  size_t i, k;
  (void)state;
  assert_non_null(list);
  const SchedField *fields[SCHED_MAX];
  assert_int_equal(json_array_size(list), sched_fields(fields));
  json_array_foreach(list, i, field)
  {
    const char *name = json_string_value(json_object_get(field, "name"));
    assert_string_equal(name, fields[i]->name);
    int n = 0;
    for (int t = 0; t < n_templates; t++)
      n += sched_has(template_table[t], name);
    json_array_foreach(json_object_get(field, "templates"), k, of)
        assert_true(sched_has(template_find(json_string_value(of)), name));
    assert_int_equal(k, n);
    if (fields[i]->kind == SK_ENUM)
      assert_int_equal(json_array_size(json_object_get(field, "names")),
                       fields[i]->max + 1);
  }
  json_decref(list);
}

/* The axes of a space are run through once, each point a new one. */
static void
test_spaces(void **state)
{
  Sched *seen = calloc(16384, sizeof *seen);
  attnc_spec *specs[] = {spec("dtype: fp16\nhead_dim: 128"),
                         spec("dtype: fp16\nhead_dim: 512")};
  (void)state;
  for (int i = 0; i < 2 * n_templates * n_targets; i++) {
    Case c = {.spec = specs[i % 2], .target = &targets[i / 2 / n_templates]};
    const Template *t = template_table[i / 2 % n_templates];
    int n = 0;
    for (; space_point(t, &c, n, &seen[n]); n++)
      for (int k = 0; k < n; k++)
        if (k / 500 == n / 500 && !memcmp(&seen[k], &seen[n], sizeof *seen))
          fail_msg("%s on %s: points %d and %d are the same", t->name, c.target->name, k,
                   n);
    assert_true(n >= space_core(t, &c) && n < 16384);
  }
  free(seen);
  attnc_spec_release(specs[0]);
  attnc_spec_release(specs[1]);
}

/* Counts of the picture are those of the definition, for a case worked out by hand. */
static void
test_tiles(void **state)
{
  (void)state;
  attnc_spec *s = spec("dtype: bf16\nhead_dim: 128\ncausal: true");
  attnc_sizes n = {.size = sizeof n, .b = 1, .h = 1, .hk = 1, .sq = 256, .sk = 256};
  attnc_tile_counts c = {.size = sizeof c};
  char map[9] = "";
  assert_int_equal(attnc_tiles(s, &n, 128, 64, &c, map, 8, NULL), ATTNC_OK);
  assert_memory_equal(map, "++  ##++", 8);
  assert_int_equal(c.empty, 2);
  assert_int_equal(c.partial, 4);
  assert_int_equal(c.full, 2);
  assert_int_equal(c.visited, 6);
  n.sk = 64; /* the first 192 queries see no key */
  assert_int_equal(attnc_tiles(s, &n, 128, 64, &c, NULL, 0, NULL), ATTNC_OK);
  assert_int_equal(c.empty, 1);
  assert_int_equal(c.partial, 1);
  assert_int_equal(c.visited, 2);
  assert_int_equal(attnc_tiles(s, &n, 128, 64, &c, map, 1, NULL), ATTNC_ERR_USAGE);
  attnc_spec_release(s);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_models),
      cmocka_unit_test(test_deterministic),
      cmocka_unit_test(test_specialise),
      cmocka_unit_test(test_bad_requests),
      cmocka_unit_test(test_reasons),
      cmocka_unit_test(test_refused),
      cmocka_unit_test(test_choice),
      cmocka_unit_test(test_min_driver),
      cmocka_unit_test(test_pins_beyond_the_space),
      cmocka_unit_test(test_pins_turn_nothing_else_on),
      cmocka_unit_test(test_fields_in_use),
      cmocka_unit_test(test_fields_json),
      cmocka_unit_test(test_spaces),
      cmocka_unit_test(test_tiles),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
