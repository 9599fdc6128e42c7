/* attnc_spec_load and what a spec says of itself: fields, canonical text, hash, JSON. */
#include "compiler/spec/spec_load.h"

#include "schedule/schedule_json.h"
#include "compiler/sched.h"
#include "compiler/target.h"
#include "tests/golden.h"

#include <attnc/attnc.h>

#include <limits.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#define BASE "attnc: 1\nname: x\ndtype: bf16\nhead_dim: 64\n"

static attnc_spec *
load(const char *text)
{
  attnc_spec *spec = NULL;
  attnc_diags *diags = NULL;
  char all[4096];
  assert_int_equal(attnc_diags_create(&diags), ATTNC_OK);
  attnc_status status = attnc_spec_load(text, strlen(text), "t.yaml", &spec, diags);
  attnc_diags_format(diags, 0, all, sizeof all);
  if (status != ATTNC_OK)
    fprintf(stderr, "%s", all);
  assert_int_equal(status, ATTNC_OK);
  assert_int_equal(attnc_diags_count(diags), 0);
  attnc_diags_release(diags);
  return spec;
}

/* The code of the only diagnostic that `text` gives; its error flag in *error. */
static int
only_code(const char *text, attnc_status want, int *error)
{
  attnc_spec *spec = NULL;
  attnc_diags *diags = NULL;
  assert_int_equal(attnc_diags_create(&diags), ATTNC_OK);
  assert_int_equal(attnc_spec_load(text, strlen(text), "t.yaml", &spec, diags), want);
  assert_int_equal(attnc_diags_count(diags), 1);
  int code = attnc_diags_get(diags, 0)->code;
  *error = attnc_diags_get(diags, 0)->error;
  attnc_spec_release(spec);
  attnc_diags_release(diags);
  return code;
}

/* Expressions that are fields, and fields that are the same in other words: one canonical
 * text, so one hash and one kernel. */
static void
masks_have_one_text(void **state)
{
  static const char *const same[][2] = {
      {"mask_mod: \"q_idx + sk - sq >= kv_idx\"", "causal: true"},
      {"mask_mod: q_idx >= kv_idx", "causal: true\nalign: top_left"},
      {"mask_mod: \"!(kv_idx > q_idx) && true\"", "causal: true\nalign: top_left"},
      {"mask_mod: [q_idx >= kv_idx, \"q_idx - kv_idx < 128\"]",
       "window: [127, 0]\nalign: top_left"},
      {"mask_mod: \"abs(q_idx + sk - sq - kv_idx) <= 64\"", "window: [64, 64]"},
      {"causal: true\nmask_mod: q_idx + sk - sq - kv_idx <= 4095", "window: [4095, 0]"},
      {"causal: true", "window: [-1, 0]"},
      {"causal: true\nwindow: [4095, -1]", "window: [4095, 0]"},
      {"causal: true\nwindow: [4095, 7]", "window: [4095, 0]"},
      {"window: [-1, -1]\nalign: top_left", ""},
      {"window: [1073741824, 5]", "window: [-1, 5]"},
      {"mask_mod: kv_idx < sk", ""},
      {"score_mod: score", ""},
      {"score_mod: [score * 2, score]", "score_mod: score * 2.0"},
      {"mask_mod: [h == 0, b == 1]", "mask_mod: \"1 == b && h == 0 && h == 0\""},
      /* A bound of the other alignment is a mask. */
      {"causal: true\nmask_mod: q_idx >= kv_idx",
       "mask_mod: [kv_idx <= q_idx, kv_idx <= q_idx + sk - sq]"},
      {"causal: true\nalign: top_left\nmask_mod: q_idx + sk - sq >= kv_idx",
       "mask_mod: [kv_idx <= q_idx, kv_idx <= q_idx + sk - sq]"},
      {"scalars: {gain: 2.0}\nscore_mod: score * gain",
       "scalars: {gain: 3.0}\nscore_mod: score * gain"}};
  (void)state;
  for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
    char text[2][512];
    attnc_spec *s[2];
    for (int k = 0; k < 2; k++) {
      snprintf(text[k], sizeof text[k],
               "attnc: 1\nname: x\ndtype: bf16\nhead_dim: 64\n%s\n", same[i][k]);
      if (attnc_spec_load(text[k], strlen(text[k]), "t", &s[k], NULL) != ATTNC_OK)
        fail_msg("%s", text[k]);
    }
    assert_string_equal(attnc_spec_canonical(s[0]), attnc_spec_canonical(s[1]));
    assert_string_equal(attnc_spec_hash(s[0]), attnc_spec_hash(s[1]));
    attnc_spec_release(s[0]);
    attnc_spec_release(s[1]);
  }
}

static void
expressions_are_in_the_text(void **state)
{
  static const char text[] =
      "attnc: 1\nname: x\ndtype: bf16\nhead_dim: 64\n"
      "tensors: {doc: {axes: [b, kv], dtype: i32}, t: {dtype: fp16, axes: [h, 32], "
      "monotone: true}}\n"
      "scalars: {gain: 0.5, cap: run_time}\n"
      "mask_mod: |\n  q_idx + sk - sq >= kv_idx &&\n  doc[b, kv_idx] == doc[b, q_idx]\n"
      "score_mod:\n  - score * gain\n  - cap * tanh(score / cap) + t[h, 3]\n";
  static const char canonical[] =
      "attnc: 1\ncausal: true\ndtype: bf16\nhead_dim: 64\n"
      "mask_mod: \"doc[b, q_idx] == doc[b, kv_idx]\"\n"
      "scalars: {gain: run_time, cap: run_time}\n"
      "score_mod: [\"score * gain\", \"cap * tanh(score / cap) + t[h, 3]\"]\n"
      "tensors: {doc: {dtype: i32, axes: [b, kv]}, "
      "t: {dtype: fp16, axes: [h, 32], monotone: true}}\n";
  attnc_spec *s = NULL;
  (void)state;
  assert_int_equal(attnc_spec_load(text, strlen(text), "t", &s, NULL), ATTNC_OK);
  assert_string_equal(attnc_spec_canonical(s), canonical);
  json_t *j = json_loads(attnc_spec_json(s), 0, NULL);
  assert_non_null(j);
  assert_int_equal((int)json_array_size(json_object_get(j, "score_mod")), 2);
  assert_true(json_is_string(json_object_get(j, "mask_mod")));
  json_t *scalars = json_object_get(j, "scalars");
  assert_true(json_real_value(json_object_get(scalars, "gain")) == 0.5);
  assert_true(json_is_null(json_object_get(scalars, "cap")));
  json_decref(j);
  attnc_spec_release(s);
}

/* What the n-th of a list in the signature says, of this slot. */
static void
says(const json_t *list, size_t n, int slot, const char *want)
{
  json_t *due = json_loads(want, 0, NULL), *has = json_array_get(list, n);
  assert_non_null(due);
  json_object_set_new(due, "slot", json_integer(slot));
  if (!json_equal(has, due)) {
    char *text = json_dumps(has, 0);
    fail_msg("%s\nis not %s", text, want);
  }
  json_decref(due);
}

static void
what_is_declared_is_in_the_signature(void **state)
{
  (void)state;
  attnc_spec *s = load(BASE "specialize: [cap, sk]\nscalars: {gain: run_time, cap: 0.5}\n"
                            "tensors: {doc: {dtype: i32, axes: [b, kv], monotone: true}, "
                            "t: {dtype: bf16, axes: [h, 32]}}\n");
  json_t *j = json_loads(attnc_spec_signature(s, ATTNC_OP_FWD), 0, NULL);
  const json_t *tensors = json_object_get(j, "tensors");
  const json_t *scalars = json_object_get(j, "scalars");
  assert_int_equal((int)json_array_size(tensors), 6);
  says(tensors, 4, ATTNC_SLOT_COUNT,
       "{\"name\":\"doc\",\"dtype\":\"i32\",\"access\":\"in\","
       "\"axes\":[\"b\",\"sk\"],\"contiguous\":false,\"align\":4,"
       "\"shape\":[\"b\",\"sk\"],\"longer\":true,\"monotone\":true}");
  says(tensors, 5, ATTNC_SLOT_COUNT + 1,
       "{\"name\":\"t\",\"dtype\":\"bf16\",\"access\":\"in\","
       "\"axes\":[\"h\",32],\"contiguous\":false,\"align\":2,"
       "\"shape\":[\"h\",32],\"longer\":true}");
  assert_int_equal((int)json_array_size(scalars), 3);
  says(scalars, 1, ATTNC_SCALAR_COUNT,
       "{\"name\":\"gain\",\"default\":null,\"positive\":false,"
       "\"constant\":false}");
  says(scalars, 2, ATTNC_SCALAR_COUNT + 1,
       "{\"name\":\"cap\",\"default\":0.5,\"positive\":false,"
       "\"constant\":true}");
  json_decref(j);
  assert_string_equal(
      attnc_spec_canonical(s),
      "attnc: 1\ndtype: bf16\nhead_dim: 64\nscalars: {gain: run_time, cap: 0.5}\n"
      "specialize: [sk, cap]\n"
      "tensors: {doc: {dtype: i32, axes: [b, kv], monotone: true}, "
      "t: {dtype: bf16, axes: [h, 32]}}\n");
  attnc_spec_release(s);
}

/* Fields that are sugar are what masks come to, and masks that are one are the field. */
static void
sugar_has_one_text(void **state)
{
#define BR(n) "(q_idx + sk - sq) // " #n " == kv_idx // " #n
#define TL(n) "q_idx // " #n " == kv_idx // " #n
  static const struct {
    const char *spec, *want; /* behind the base, in alphabetical order */
  } cases[] = {
      {"mask_mod: " BR(64) "\n", "attention_chunk: 64\n"},
      {"mask_mod: " TL(64) "\n", "align: top_left\nattention_chunk: 64\n"},
      {"mask_mod: q_idx == kv_idx\n", "align: top_left\nattention_chunk: 1\n"},
      {"causal: true\nmask_mod: " TL(64) "\n", "causal: true\nmask_mod: \"" TL(64) "\"\n"},
      {"causal: true\nalign: top_left\nmask_mod: " TL(64) "\n",
       "align: top_left\nattention_chunk: 64\ncausal: true\n"},
      {"attention_chunk: 48\nmask_mod: [" BR(32) ", " TL(64) "]\n",
       "attention_chunk: 32\nmask_mod: \"" TL(
           64) " && kv_idx // 48 == (q_idx + sk - sq) // 48\"\n"},
      {"align: top_left\nattention_chunk: 64\nmask_mod: q_idx + sk - sq >= kv_idx\n",
       "causal: true\nmask_mod: \"" TL(64) "\"\n"},
      {"causal: true\nprefix_len: true\nwindow: [-1, 0]\n",
       "causal: true\nprefix_len: true\nwindow: [-1, 0]\n"},
      {"causal: true\nprefix_len: true\nmask_mod: q_idx + sk - sq >= kv_idx\n",
       "causal: true\nprefix_len: true\nwindow: [-1, 0]\n"},
      {"causal: true\nalign: top_left\nprefix_len: true\nwindow: [9, 2]\n"
       "mask_mod: [q_idx + sk - sq >= kv_idx, " BR(8) "]\n",
       "align: top_left\ncausal: true\n"
       "mask_mod: \"kv_idx // 8 == (q_idx + sk - sq) // 8 && kv_idx <= q_idx + sk - sq\"\n"
       "prefix_len: true\nwindow: [9, 2]\n"},
      {"alibi_slopes: bh\nbias: {axes: [q], dtype: bf16}\nscore_mod: score + 1.0\n",
       "alibi_slopes: bh\nbias: {axes: [q], dtype: bf16}\nscore_mod: \"score + 1.0\"\n"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[512];
    snprintf(text, sizeof text, BASE "%s", cases[i].spec);
    attnc_spec *a = load(text);
    snprintf(text, sizeof text, BASE "%s", cases[i].want);
    attnc_spec *b = load(text);
    snprintf(text, sizeof text, "name: x\n%s", attnc_spec_canonical(a));
    attnc_spec *c = load(text);
    assert_string_equal(attnc_spec_canonical(a), attnc_spec_canonical(b));
    assert_string_equal(attnc_spec_canonical(a), attnc_spec_canonical(c));
    for (const char *line = cases[i].want; *line; line = strchr(line, '\n') + 1) {
      snprintf(text, sizeof text, "%.*s", (int)strcspn(line, "\n") + 1, line);
      if (!strstr(attnc_spec_canonical(a), text))
        fail_msg("%s\nis not in\n%s", text, attnc_spec_canonical(a));
    }
    attnc_spec_release(a);
    attnc_spec_release(b);
    attnc_spec_release(c);
  }
#undef BR
#undef TL
}

static void
canonical_text(void **state)
{
  static const struct {
    const char *more, *want;
  } cases[] = {
      {"", "attnc: 1\ndtype: bf16\nhead_dim: 64\n"},
      {"doc: a text\nlayout: bhsd\nschedule: {block_m: 64}\n",
       "attnc: 1\ndtype: bf16\nhead_dim: 64\n"},
      {"causal: false\nalign: bottom_right\nwindow: [-1, -1]\nreturn_lse: false\n"
       "head_dim_v: 64\nspecialize: []\nsoftmax_scale: 0.125\n",
       "attnc: 1\ndtype: bf16\nhead_dim: 64\n"},
      {"softmax_scale: 0.25\n", "attnc: 1\ndtype: bf16\nhead_dim: 64\n"},
      {"softmax_scale: 0.25\nspecialize: [softmax_scale]\n",
       "attnc: 1\ndtype: bf16\nhead_dim: 64\nsoftmax_scale: 0.25\n"
       "specialize: [softmax_scale]\n"},
      {"softmax_scale: 125e-3\nspecialize: [softmax_scale]\n",
       "attnc: 1\ndtype: bf16\nhead_dim: 64\nspecialize: [softmax_scale]\n"},
      {"window: [0, -1]\nreturn_lse: true\ngroup_size: 4\nhead_dim_v: 32\ncausal: true\n"
       "align: top_left\nspecialize: [strides, sk, b]\n",
       "align: top_left\nattnc: 1\ncausal: true\ndtype: bf16\ngroup_size: 4\nhead_dim: 64\n"
       "head_dim_v: 32\nreturn_lse: true\nspecialize: [b, sk, strides]\nwindow: [0, 0]\n"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[1024];
    snprintf(text, sizeof text, "%s%s", BASE, cases[i].more);
    attnc_spec *s = load(text);
    assert_string_equal(attnc_spec_canonical(s), cases[i].want);
    attnc_spec_release(s);
  }
}

/* A run-time number without a default is part of the kernel by being there. */
static void
presence(void **state)
{
  static const Field given = {.key = "head_scale",
                              .type = FT_SCALE,
                              .at = offsetof(Spec, softmax_scale),
                              .identity = ID_PRESENCE};
  attnc_spec *s = load(BASE "softmax_scale: 0.25\n"), *open = load(BASE);
  Arena *a = arena_new(0);
  Str out = str_new(a);
  (void)state;
  spec_put_line(open, &given, &out);
  assert_string_equal(out.p, "");
  spec_put_line(s, &given, &out);
  assert_string_equal(out.p, "head_scale: run_time\n");
  arena_free(a);
  attnc_spec_release(s);
  attnc_spec_release(open);
}

/* The default of a number is what its row says: the row's own, or 1/sqrt(head_dim). */
static void
number_defaults(void **state)
{
  static const struct {
    const char *initial;
    double want;
  } rows[] = {{NULL, NAN}, {"1", 1}, {"0.5", 0.5}, {"1/sqrt(head_dim)", 0.125}};
  attnc_spec *open = load(BASE), *half = load(BASE "softmax_scale: 0.5\n");
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const Field f = {.key = "number",
                     .type = FT_SCALE,
                     .initial = rows[i].initial,
                     .at = offsetof(Spec, softmax_scale)};
    double got = spec_member_number(spec_member(open, &f));
    assert_true(got == rows[i].want || (isnan(got) && isnan(rows[i].want)));
    assert_true(spec_is_default(spec_member(open, &f)));
    assert_true(spec_member_number(spec_member(half, &f)) == 0.5);
    assert_int_equal(spec_is_default(spec_member(half, &f)), rows[i].want == 0.5);
  }
  attnc_spec_release(open);
  attnc_spec_release(half);
}

/* The hash is over the canonical text alone; the canonical text is a spec's but its name.
 */
static void
hash_of_canonical(void **state)
{
  attnc_spec *a = load(BASE "doc: one\n");
  attnc_spec *b = load("{head_dim: 64, name: other, attnc: 1, dtype: "
                       "{q: bf16, k: bf16, v: bf16, o: bf16}}");
  attnc_spec *c = load(BASE "causal: true\n");
  (void)state;
  assert_string_equal(attnc_spec_hash(a), attnc_spec_hash(b));
  assert_string_not_equal(attnc_spec_hash(a), attnc_spec_hash(c));
  /* printf 'attnc: 1\ndtype: bf16\nhead_dim: 64\n' | sha256sum */
  assert_string_equal(attnc_spec_hash(a),
                      "74410ef42cefe23ec683ccde953bf7684f739e1c1d1104b5346d4e30bf819522");
  char again[512];
  snprintf(again, sizeof again, "name: x\n%s", attnc_spec_canonical(c));
  attnc_spec *d = load(again);
  assert_string_equal(attnc_spec_canonical(c), attnc_spec_canonical(d));
  attnc_spec_release(a);
  attnc_spec_release(b);
  attnc_spec_release(c);
  attnc_spec_release(d);
}

static void
fields_and_defaults(void **state)
{
  attnc_spec *s = load(BASE);
  (void)state;
  assert_string_equal(attnc_spec_name(s), "x");
  assert_string_equal(s->doc, "");
  assert_string_equal(s->file, "t.yaml");
  assert_int_equal(s->head_dim_v, 64);
  assert_int_equal(s->group_size, 0);
  assert_false(s->causal);
  assert_int_equal(s->window[0], -1);
  assert_int_equal(s->window[1], -1);
  assert_true(isnan(s->softmax_scale));
  assert_true(spec_scale(s) == 0.125);
  assert_int_equal(s->n_pins, 0);
  attnc_spec_release(s);
  s = load(BASE "layout: {k: bhsd}\nsoftmax_scale: .5\ngroup_size: 8\nreturn_lse: true\n"
                "specialize: [hk, softmax_scale]\nalign: top_left\nwindow: [3, 2]\n"
                "doc: |\n  two\n  lines\n");
  assert_string_equal(s->doc, "two\nlines\n");
  assert_int_equal(s->layout[0], LAYOUT_BSHD);
  assert_int_equal(s->layout[1], LAYOUT_BHSD);
  assert_true(spec_scale(s) == 0.5);
  assert_int_equal(s->group_size, 8);
  assert_true(s->return_lse);
  assert_true(spec_specializes(s, SPECIALIZE_HK));
  assert_false(spec_specializes(s, SPECIALIZE_H));
  assert_int_equal(s->align, ALIGN_TOP_LEFT);
  assert_int_equal(s->window[0], 3);
  assert_int_equal(s->window[1], 2);
  attnc_spec_release(s);
}

static void
dtype_map(void **state)
{
  attnc_spec *s = load("attnc: 1\nname: x\nhead_dim: 64\n"
                       "dtype: {o: fp32, v: bf16, k: fp16, q: bf16}\n");
  (void)state;
  assert_int_equal(s->dtype[ATTNC_Q], DT_BF16);
  assert_int_equal(s->dtype[ATTNC_K], DT_F16);
  assert_int_equal(s->dtype[ATTNC_V], DT_BF16);
  assert_int_equal(s->dtype[ATTNC_O], DT_F32);
  assert_string_equal(
      attnc_spec_canonical(s),
      "attnc: 1\ndtype: {q: bf16, k: fp16, v: bf16, o: fp32}\nhead_dim: 64\n");
  attnc_spec_release(s);
  for (int i = 0; i <= DT_F32; i++) {
    char text[128];
    snprintf(text, sizeof text, "attnc: 1\nname: x\nhead_dim: 64\ndtype: %s\n",
             dtype_name((Dtype)i));
    s = load(text);
    assert_int_equal(s->dtype[ATTNC_Q], i);
    assert_int_equal(s->dtype[ATTNC_O], i);
    attnc_spec_release(s);
    assert_int_equal(dtype_bytes((Dtype)i), i == DT_F32 ? 4 : 2);
  }
}

/* Every head_dim and head_dim_v of the promise, and none between. */
static void
head_dims(void **state)
{
  (void)state;
  for (int d = 0; d <= 600; d++) {
    char text[128];
    attnc_spec *s = NULL;
    bool is_v = d >= 8 && d <= 512 && d % 8 == 0, is = is_v && (d <= 256 || d == 512);
    snprintf(text, sizeof text, "attnc: 1\nname: x\ndtype: fp16\nhead_dim: %d\n", d);
    attnc_status status = attnc_spec_load(text, strlen(text), "t", &s, NULL);
    assert_int_equal(status, is ? ATTNC_OK : ATTNC_ERR_SPEC);
    if (s)
      assert_int_equal(s->head_dim, d);
    attnc_spec_release(s);
    snprintf(text, sizeof text,
             "attnc: 1\nname: x\ndtype: fp16\nhead_dim: 64\nhead_dim_v: %d\n", d);
    status = attnc_spec_load(text, strlen(text), "t", &s, NULL);
    assert_int_equal(status, is_v ? ATTNC_OK : ATTNC_ERR_SPEC);
    if (s)
      assert_int_equal(s->head_dim_v, d);
    attnc_spec_release(s);
  }
}

static void
pins(void **state)
{
  attnc_spec *s = load(BASE "schedule:\n"
                            "  - {arch: sm_90, template: fwd_mma, block_m: 128}\n"
                            "  - {arch: sm_90, block_n: 32, q_in_regs: false}\n"
                            "  - {num_warps: 8, num_stages: 3, q_in_regs: true}\n");
  (void)state;
  assert_int_equal(s->n_pins, 3);
  assert_int_equal(sched_int(&spec_pin(s, "sm_90", "fwd_mma")->how, "block_m"), 128);
  assert_int_equal(spec_pin(s, "sm_90", "fwd_mma")->place.line, 6);
  assert_int_equal(sched_int(&spec_pin(s, "sm_90", NULL)->how, "block_m"), 128);
  assert_int_equal(sched_int(&spec_pin(s, "sm_90", "ref_fwd")->how, "block_n"), 32);
  assert_string_equal(sched_get(&spec_pin(s, "sm_90", "ref_fwd")->how, "q_in_regs"),
                      "false");
  assert_int_equal(sched_int(&spec_pin(s, "sm_80", "fwd_mma")->how, "num_warps"), 8);
  assert_int_equal(sched_int(&spec_pin(s, "sm_80", "fwd_mma")->how, "num_stages"), 3);
  assert_string_equal(sched_get(&spec_pin(s, "sm_80", "fwd_mma")->how, "q_in_regs"),
                      "true");
  assert_int_equal(sched_int(&spec_pin(s, "sm_80", "fwd_mma")->how, "block_m"), 0);
  attnc_spec_release(s);
  s = load(BASE "schedule: {arch: sm_80, block_m: 64}\n");
  assert_null(spec_pin(s, "sm_86", NULL));
  assert_int_equal(sched_int(&spec_pin(s, "sm_80", "any")->how, "block_m"), 64);
  attnc_spec_release(s);
}

/* Every value of every field of a schedule, as the templates declare it; none besides. */
static void
pins_of_every_value(void **state)
{
  const SchedField *list[SCHED_MAX];
  int n = sched_fields(list);
  (void)state;
  for (int i = 0; i < n; i++)
    for (int v = list[i]->min; v <= list[i]->max; v += 1 + v / 8) {
      char text[256], value[SCHED_VALUE];
      sched_text(list[i], v, value);
      snprintf(text, sizeof text, BASE "schedule: {%s: %s}\n", list[i]->name, value);
      attnc_spec *s = load(text);
      const Schedule *how = &spec_pin(s, "sm_80", NULL)->how;
      assert_string_equal(sched_get(how, list[i]->name), value);
      assert_int_equal(how->n, 1);
      json_t *j = json_loads(attnc_spec_json(s), 0, NULL);
      Schedule back = {.n = 0};
      assert_true(
          sched_read_json(&back, json_array_get(json_object_get(j, "schedule"), 0)));
      assert_memory_equal(&back, how, sizeof back);
      json_decref(j);
      attnc_spec_release(s);
    }
}

/* A name has one type and one meaning in all templates, and none that stands for something
 * else beside it. */
static void
schedule_fields_are_one(void **state)
{
  (void)state;
  for (int i = 0; i < n_templates; i++)
    for (int k = 0; k < template_table[i]->n_options; k++) {
      const SchedField *f = &template_table[i]->options[k], *first = sched_field(f->name);
      int value;
      assert_int_equal(f->kind, first->kind);
      assert_int_equal(f->min, first->min);
      assert_int_equal(f->max, first->max);
      assert_string_equal(f->what, first->what);
      assert_int_equal(f->names != NULL, f->kind == SK_ENUM);
      if (f->names)
        assert_string_equal(f->names, first->names);
      assert_true(sched_value(f, f->example, &value));
      assert_false(sched_is_beside(f->name));
      for (int c = 0; c < SCHED_COMMON; c++)
        assert_string_not_equal(f->name, sched_common[c].name);
    }
  const SchedField *list[SCHED_MAX];
  assert_true(sched_fields(list) < SCHED_MAX); /* none was left out */
}

static void
bands(void **state)
{
  static const struct {
    const char *more;
    Band want;
  } cases[] = {
      {"", {INT_MIN, INT_MAX, true}},
      {"causal: true\n", {INT_MIN, 0, true}},
      {"causal: true\nalign: top_left\n", {INT_MIN, 0, false}},
      {"window: [5, 7]\n", {-5, 7, true}},
      {"window: [5, -1]\n", {-5, INT_MAX, true}},
      {"window: [-1, 7]\n", {INT_MIN, 7, true}},
      {"window: [0, 0]\n", {0, 0, true}},
      {"causal: true\nwindow: [5, -1]\n", {-5, 0, true}},
      {"causal: true\nwindow: [1073741823, 0]\n", {-1073741823, 0, true}},
      {"window: [1073741824, 1073741823]\n", {INT_MIN, 1073741823, true}},
      {"window: [5, 1073741824]\n", {-5, INT_MAX, true}},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[256];
    snprintf(text, sizeof text, "%s%s", BASE, cases[i].more);
    attnc_spec *s = load(text);
    Band b = spec_band(s), w = cases[i].want;
    assert_int_equal(b.lo, w.lo);
    assert_int_equal(b.hi, w.hi);
    assert_int_equal(b.bottom_right, w.bottom_right);
    attnc_spec_release(s);
  }
}

static void
warnings(void **state)
{
  int error = 1;
  (void)state;
  assert_int_equal(only_code(BASE "align: top_left\n", ATTNC_OK, &error), 180);
  assert_int_equal(error, 0);
  assert_int_equal(only_code(BASE "causal: true\nwindow: [4, 1]\n", ATTNC_OK, &error), 181);
  assert_int_equal(error, 0);
}

/* ---- texts of several shapes ---- */

static void
line_ends_and_marks(void **state)
{
  static const char *const same[] = {
      BASE,
      "\xef\xbb\xbf" BASE,
      "attnc: 1\r\nname: x\r\ndtype: bf16\r\nhead_dim: 64\r\n",
      "attnc: 1\nname: x\ndtype: bf16\nhead_dim: 64",
      "---\n" BASE "...\n",
      "{\"attnc\": 1, \"name\": \"x\", \"dtype\": \"bf16\", \"head_dim\": 64}",
      "# a comment\n\n  attnc: 1 # one\n  name:   'x'\n  dtype: \"bf16\"\n  head_dim: 64\n",
  };
  attnc_spec *first = load(same[0]);
  (void)state;
  for (size_t i = 1; i < sizeof same / sizeof *same; i++) {
    attnc_spec *s = load(same[i]);
    assert_string_equal(attnc_spec_json(s), attnc_spec_json(first));
    attnc_spec_release(s);
  }
  attnc_spec_release(first);
}

/* Exactly the limit is read; one byte more is not. */
static void
largest_document(void **state)
{
  char *text = malloc(SPEC_MAX_BYTES + 1);
  size_t n = strlen(BASE);
  attnc_spec *s = NULL;
  (void)state;
  memset(text, '#', SPEC_MAX_BYTES + 1);
  memcpy(text, BASE, n);
  assert_int_equal(attnc_spec_load(text, SPEC_MAX_BYTES, "t", &s, NULL), ATTNC_OK);
  attnc_spec_release(s);
  assert_int_equal(attnc_spec_load(text, SPEC_MAX_BYTES + 1, "t", &s, NULL),
                   ATTNC_ERR_SPEC);
  free(text);
}

/* The text is not read past n: under AddressSanitizer a read of the guard is seen. */
static void
text_without_end(void **state)
{
  size_t n = strlen(BASE);
  attnc_spec *s = NULL;
  char *text = malloc(n);
  (void)state;
  memcpy(text, BASE, n);
  assert_int_equal(attnc_spec_load(text, n, NULL, &s, NULL), ATTNC_OK);
  assert_string_equal(s->file, "");
  attnc_spec_release(s);
  for (size_t cut = 0; cut < n - 2; cut++) {
    char *part = malloc(cut + 1);
    memcpy(part, BASE, cut);
    assert_int_equal(attnc_spec_load(part, cut, "t", &s, NULL), ATTNC_ERR_SPEC);
    free(part);
  }
  free(text);
}

static void
misuse(void **state)
{
  attnc_spec *s = NULL;
  (void)state;
  assert_int_equal(attnc_spec_load(BASE, strlen(BASE), "t", NULL, NULL), ATTNC_ERR_USAGE);
  assert_int_equal(attnc_spec_load(NULL, 3, "t", &s, NULL), ATTNC_ERR_USAGE);
  assert_int_equal(attnc_spec_load(NULL, 0, "t", &s, NULL), ATTNC_ERR_SPEC);
  attnc_spec_release(NULL);
}

/* Whatever limit memory has, loading ends with a status and leaks nothing. */
static void
out_of_memory(void **state)
{
  size_t n = 0, failed = 0, limit = 64;
  char *text = golden_read("tests/bad/many_at_once.attn.yaml", &n);
  attnc_spec *s = NULL;
  (void)state;
  assert_non_null(text);
  for (; spec_load_limited(text, n, "t", limit, &s, NULL) == ATTNC_ERR_NOMEM; limit += 64)
    failed++;
  assert_true(failed > 20);
  free(text);
  for (limit = 64, failed = 0;
       spec_load_limited(BASE, strlen(BASE), "t", limit, &s, NULL) == ATTNC_ERR_NOMEM;
       limit += 16)
    failed++;
  assert_true(failed > 20);
  assert_non_null(s);
  attnc_spec_release(s);
}

/* ---- JSON ---- */

static void
json_has_all_fields(void **state)
{
  attnc_spec *s = load(BASE "doc: \"quote \\\" and \\\\ and é\"\nschedule:\n"
                            "  - {arch: sm_80, num_warps: 4, q_in_regs: false}\n");
  json_t *j = json_loads(attnc_spec_json(s), 0, NULL);
  (void)state;
  assert_non_null(j);
  for (int i = 0; i < n_spec_fields; i++)
    assert_non_null(json_object_get(j, spec_fields[i].key));
  assert_int_equal((int)json_object_size(j), n_spec_fields + 2);
  assert_string_equal(json_string_value(json_object_get(j, "doc")),
                      "quote \" and \\ and é");
  assert_string_equal(json_string_value(json_object_get(j, "hash")), attnc_spec_hash(s));
  assert_true(json_real_value(json_object_get(j, "softmax_scale")) == 0.125);
  assert_true(json_is_null(json_object_get(j, "group_size")));
  json_t *pin = json_array_get(json_object_get(j, "schedule"), 0);
  int n_pins;
  const Field *pins = spec_pin_fields(s->arena, &n_pins);
  for (int i = 0; i < n_pins; i++)
    assert_non_null(json_object_get(pin, pins[i].key));
  assert_true(json_is_false(json_object_get(pin, "q_in_regs")));
  assert_int_equal((int)json_integer_value(json_object_get(pin, "line")), 7);
  json_decref(j);
  attnc_spec_release(s);
}

/* A host application's decimal comma changes neither what is read nor what is written. */
static void
decimal_comma(void **state)
{
  static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8",
                                      "fr_FR.utf8",  "de_DE",      "nl_NL.UTF-8"};
  const char *text = BASE "softmax_scale: 0.5\nspecialize: [softmax_scale]\n";
  const char *set = NULL;
  (void)state;
  for (size_t i = 0; !set && i < sizeof names / sizeof *names; i++)
    set = setlocale(LC_ALL, names[i]);
  if (!set) {
    printf("no locale with a decimal comma is installed: skipped\n");
    skip();
  }
  attnc_spec *s = load(text);
  assert_true(spec_scale(s) == 0.5);
  assert_non_null(strstr(attnc_spec_canonical(s), "softmax_scale: 0.5\n"));
  attnc_spec_release(s);
  setlocale(LC_ALL, "C");
}

/* ---- targets ---- */

static void
targets_table(void **state)
{
  (void)state;
  const char *const *names = attnc_targets();
  int n = 0;
  for (; names[n]; n++) {
    const Target *t = target_find(names[n]);
    assert_non_null(t);
    assert_string_equal(t->name, names[n]);
    assert_true(t->smem_block + t->smem_reserved <= t->smem_sm);
  }
  assert_int_equal(n, n_targets);
  assert_null(target_find("sm_70"));
  assert_null(target_for_cc(70));
  assert_string_equal(target_for_cc(75)->name, "sm_75");
  assert_string_equal(target_for_cc(80)->name, "sm_80");
  assert_string_equal(target_for_cc(87)->name, "sm_86");
  assert_string_equal(target_for_cc(90)->name, "sm_90a"); /* exact before plain */
  assert_string_equal(target_for_cc(100)->name, "sm_90");
  assert_string_equal(target_for_cc(121)->name, "sm_120");
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(canonical_text),
      cmocka_unit_test(masks_have_one_text),
      cmocka_unit_test(expressions_are_in_the_text),
      cmocka_unit_test(what_is_declared_is_in_the_signature),
      cmocka_unit_test(sugar_has_one_text),
      cmocka_unit_test(presence),
      cmocka_unit_test(number_defaults),
      cmocka_unit_test(hash_of_canonical),
      cmocka_unit_test(fields_and_defaults),
      cmocka_unit_test(dtype_map),
      cmocka_unit_test(head_dims),
      cmocka_unit_test(pins),
      cmocka_unit_test(pins_of_every_value),
      cmocka_unit_test(schedule_fields_are_one),
      cmocka_unit_test(bands),
      cmocka_unit_test(warnings),
      cmocka_unit_test(line_ends_and_marks),
      cmocka_unit_test(largest_document),
      cmocka_unit_test(text_without_end),
      cmocka_unit_test(misuse),
      cmocka_unit_test(out_of_memory),
      cmocka_unit_test(json_has_all_fields),
      cmocka_unit_test(decimal_comma),
      cmocka_unit_test(targets_table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
