/* What is made from the field table and kept in the tree: the JSON Schema, specs/README.md,
 * and the canonical texts of specs/.  ATTNC_UPDATE=1 rewrites them. */
#include "compiler/spec/spec_load.h"
#include "tests/golden.h"

#include <attnc/attnc.h>

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#define SCHEMA "schema/attention-spec-v1.schema.json"
#define BASE   "attnc: 1\nname: x\ndtype: bf16\nhead_dim: 64\n"

static attnc_spec *
load_named(const char *name)
{
  char path[256], report[4096] = "";
  size_t n = 0;
  snprintf(path, sizeof path, "specs/%s.attn.yaml", name);
  char *text = golden_read(path, &n);
  attnc_spec *s = NULL;
  attnc_diags *d = NULL;
  assert_non_null(text);
  assert_int_equal(attnc_diags_create(&d), ATTNC_OK);
  attnc_status status = attnc_spec_load(text, n, path, &s, d);
  attnc_diags_format(d, 0, report, sizeof report);
  assert_string_equal(report, "");
  assert_int_equal(status, ATTNC_OK);
  attnc_diags_release(d);
  free(text);
  return s;
}

/* ---- the schema ---- */

static void
schema_is_committed(void **state)
{
  (void)state;
  assert_true(golden_same(SCHEMA, attnc_spec_schema()));
  assert_ptr_equal(attnc_spec_schema(), attnc_spec_schema());
}

/* The properties of a schema object are the keys of the table, in any order. */
static void
check_keys(const json_t *object, const Field *fields, int n)
{
  const json_t *properties = json_object_get(object, "properties");
  assert_int_equal((int)json_object_size(properties), n);
  assert_true(json_is_false(json_object_get(object, "additionalProperties")));
  for (int i = 0; i < n; i++) {
    const json_t *p = json_object_get(properties, fields[i].key);
    assert_non_null(p);
    assert_string_equal(json_string_value(json_object_get(p, "description")),
                        fields[i].doc);
  }
}

static void
schema_has_the_tables_keys(void **state)
{
  int n_pins;
  Arena *pin_arena = arena_new(0);
  const Field *pins = spec_pin_fields(pin_arena, &n_pins);
  json_error_t e;
  json_t *schema = json_loads(attnc_spec_schema(), 0, &e);
  (void)state;
  assert_non_null(schema);
  check_keys(schema, spec_fields, n_spec_fields);
  check_keys(json_object_get(json_object_get(schema, "definitions"), "schedule"), pins,
             n_pins);
  check_keys(json_object_get(json_object_get(schema, "definitions"), "tensor"),
             spec_table_fields, SPEC_TABLE_FIELD_COUNT);
  check_keys(json_object_get(json_object_get(schema, "definitions"), "bias"),
             spec_bias_fields, SPEC_BIAS_FIELD_COUNT);
  check_keys(json_object_get(json_object_get(schema, "definitions"), "block_list"),
             spec_blocks_fields, SPEC_BLOCKS_FIELD_COUNT);
  check_keys(json_object_get(json_object_get(schema, "definitions"), "rope"),
             spec_rope_fields, SPEC_ROPE_FIELD_COUNT);
  int required = 0;
  for (int i = 0; i < n_spec_fields; i++)
    required += spec_fields[i].required;
  assert_int_equal((int)json_array_size(json_object_get(schema, "required")), required);
  json_decref(schema);
  arena_free(pin_arena);
}

/* ---- the table's examples and defaults ---- */

static bool
loads(const char *text)
{
  attnc_spec *s = NULL;
  attnc_status status = attnc_spec_load(text, strlen(text), "t", &s, NULL);
  attnc_spec_release(s);
  return status == ATTNC_OK;
}

/* BASE with `key: value`, in place of its own line for the key. */
static void
with_field(char out[512], const char *key, const char *value)
{
  size_t n = strlen(key), used = 0;
  for (const char *line = BASE; *line; line = strchr(line, '\n') + 1)
    if (strncmp(line, key, n) != 0 || line[n] != ':')
      used += (size_t)snprintf(out + used, 512 - used, "%.*s\n", (int)strcspn(line, "\n"),
                               line);
  used += (size_t)snprintf(out + used, 512 - used, "%s: %s\n", key, value);
  const Field *other = spec_field_needs(key);
  if (other && !str_eq(value, spec_field(key)->initial))
    snprintf(out + used, 512 - used, "%s: %s\n", other->key, other->example);
}

static void
examples_load(void **state)
{
  int n_pins;
  Arena *pin_arena = arena_new(0);
  const Field *pins = spec_pin_fields(pin_arena, &n_pins);
  char text[512], pin[256];
  (void)state;
  for (int i = 0; i < n_spec_fields; i++) {
    with_field(text, spec_fields[i].key, spec_fields[i].example);
    assert_true(loads(text));
  }
  for (int i = 0; i < n_pins; i++) {
    snprintf(pin, sizeof pin, "{num_stages: 2, %s: %s}", pins[i].key, pins[i].example);
    if (!str_eq(pins[i].key, "num_stages")) {
      with_field(text, "schedule", pin);
      assert_true(loads(text));
    }
  }
  arena_free(pin_arena);
}

/* Writing a default out changes nothing. */
static void
defaults_are_the_defaults(void **state)
{
  attnc_spec *base = NULL, *s = NULL;
  char text[512];
  (void)state;
  assert_int_equal(attnc_spec_load(BASE, strlen(BASE), "t", &base, NULL), ATTNC_OK);
  for (int i = 0; i < n_spec_fields; i++) {
    const Field *f = &spec_fields[i];
    if (!f->initial)
      continue;
    const char *value = str_eq(f->initial, "head_dim")           ? "64"
                        : str_eq(f->initial, "1/sqrt(head_dim)") ? "0.125"
                                                                 : f->initial;
    with_field(text, f->key, value);
    assert_int_equal(attnc_spec_load(text, strlen(text), "t", &s, NULL), ATTNC_OK);
    assert_string_equal(attnc_spec_json(s), attnc_spec_json(base));
    attnc_spec_release(s);
  }
  attnc_spec_release(base);
}

/* The row of `specialize` names what may be listed. */
static void
specialize_is_documented(void **state)
{
  (void)state;
  for (int i = 0; i < n_spec_fields; i++)
    for (int k = 0; spec_fields[i].type == FT_NAMES && k < SPECIALIZE_COUNT; k++)
      assert_non_null(strstr(spec_fields[i].doc, specialize_names[k]));
}

/* Every other name is refused, names ours, and is not a key itself. */
static void
other_names_are_suggested(void **state)
{
  static const char *const names[][2] = {
#define SPEC_ALIAS(name, key, note) {name, key},
#include "compiler/spec/spec_fields.def"
#undef SPEC_ALIAS
  };
  (void)state;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char text[512];
    attnc_spec *s = NULL;
    attnc_diags *d = NULL;
    assert_int_equal(attnc_diags_create(&d), ATTNC_OK);
    snprintf(text, sizeof text, "%s%s: 1\n", BASE, names[i][0]);
    assert_int_equal(attnc_spec_load(text, strlen(text), "t", &s, d), ATTNC_ERR_SPEC);
    assert_int_equal(attnc_diags_count(d), 1);
    assert_int_equal(attnc_diags_get(d, 0)->code, spec_errors[SE_OTHER_NAME].code);
    assert_non_null(strstr(attnc_diags_get(d, 0)->message, names[i][1]));
    assert_non_null(strstr(attnc_diags_get(d, 0)->help, names[i][1]));
    attnc_diags_release(d);
  }
}

/* ---- specs/ ---- */

static void
specs_canonical_texts(void **state)
{
  int n = 0;
  char **names = golden_list("specs", ".attn.yaml", &n);
  Arena *arena = arena_new(0);
  Str out = str_new(arena);
  (void)state;
  assert_true(n >= 12);
  for (int i = 0; i < n; i++) {
    attnc_spec *s = load_named(names[i]);
    assert_string_equal(attnc_spec_name(s), names[i]);
    assert_true(*s->doc != 0);
    str_printf(&out, "# %s\n# %s\n%s\n", names[i], attnc_spec_hash(s),
               attnc_spec_canonical(s));
    attnc_spec_release(s);
  }
  assert_true(golden_same("tests/golden/specs.txt", out.p));
  arena_free(arena);
  golden_list_free(names, n);
}

/* Each spec has exactly one line in shapes.txt, in the notation of --shape. */
static void
specs_have_shapes(void **state)
{
  int n = 0, lines = 0;
  size_t bytes = 0;
  char **names = golden_list("specs", ".attn.yaml", &n);
  char *text = golden_read("specs/shapes.txt", &bytes), *rest = NULL;
  (void)state;
  assert_non_null(text);
  for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    char name[65];
    int b, h, hk, sq, sk;
    if (*line == '#')
      continue;
    bool grouped =
        sscanf(line, "%64s b%d h%d/%d sq%d sk%d", name, &b, &h, &hk, &sq, &sk) == 6;
    if (!grouped) {
      assert_int_equal(sscanf(line, "%64s b%d h%d sq%d sk%d", name, &b, &h, &sq, &sk), 5);
      hk = h;
    }
    assert_true(lines < n);
    assert_string_equal(name, names[lines++]);
    attnc_spec *s = load_named(name);
    double macs = (double)b * h * sq * sk * s->head_dim;
    assert_true(h % hk == 0 && (!s->group_size || h == hk * s->group_size));
    assert_true(macs > 5e7 && macs < 3e8);
    attnc_spec_release(s);
  }
  assert_int_equal(lines, n);
  free(text);
  golden_list_free(names, n);
}

/* ---- specs/README.md ---- */

static const char *
type_text(const Field *f, char buf[128])
{
  static const char *const fixed[FT_COUNT] = {
      [FT_VERSION] = "1",
      [FT_NAME] = "name",
      [FT_TEXT] = "text",
      [FT_BOOL] = "true, false",
      [FT_SCHED_BOOL] = "true, false",
      [FT_WINDOW] = "[integer, integer]",
      [FT_SCALE] = "number > 0",
      [FT_NAMES] = "list of names",
      [FT_PINS] = "map or list of maps",
      [FT_ARCH] = "a target",
      [FT_EXPRS] = "expression, mod, or list of them",
      [FT_TABLES] = "map of names",
      [FT_SCALARS] = "map of names and numbers",
      [FT_AXES] = "list of axes",
      [FT_BIAS] = "map",
      [FT_BLOCKS] = "map",
      [FT_ROPE] = "map",
      [FT_TENSORS] = "list of tensors",
  };
  const char *also =
      f->type == FT_DTYPES || f->type == FT_LAYOUTS ? ", or {q, k, v, o}" : "";
  bool number = f->type == FT_INT || f->type == FT_SCHED_INT;
  if (fixed[f->type])
    return fixed[f->type];
  if (f->type == FT_INT && f->step > 1)
    snprintf(buf, 128, "integer, %d to %d, multiple of %d%s%s", f->lo, f->hi, f->step,
             spec_int_more(f) ? "; or " : "", spec_int_more(f) ? spec_int_more(f) : "");
  else if (number)
    snprintf(buf, 128, "integer, %d to %d", f->lo, f->hi);
  else if (f->type == FT_PAIR)
    snprintf(buf, 128, "two integers, %d to %d, multiples of %d", f->lo, f->hi, f->step);
  else if (f->type == FT_SWITCH)
    snprintf(buf, 128, "true, false, %s", f->words);
  else
    snprintf(buf, 128, "%s%s", f->words, also);
  bool slashes = !number && f->type != FT_SWITCH && f->type != FT_PAIR;
  for (char *p = buf; slashes && p < buf + strlen(f->words); p++)
    if (*p == ' ')
      *p = '/';
  return buf;
}

static void
put_fields(Str *out, const Field *fields, int n)
{
  str_put(out, "| key | type | default | meaning | example |\n|---|---|---|---|---|\n");
  for (int i = 0; i < n; i++) {
    const Field *f = &fields[i];
    char buf[128];
    const char *initial = f->required ? "*required*" : f->initial ? f->initial : "open";
    const char *tick = f->required || !f->initial ? "" : "`";
    str_printf(out, "| `%s` | %s | %s%s%s | %s | `%s` |\n", f->key, type_text(f, buf), tick,
               initial, tick, f->doc, f->example);
  }
}

static void
put_errors(Str *out)
{
  str_put(out, "| code | meaning |\n|---|---|\n");
  for (int i = 0; i < SE_COUNT; i++)
    str_printf(out, "| A%04d | %s |\n", spec_errors[i].code, spec_errors[i].meaning);
}

/* Our key, then what others call it. */
static void
put_other_names(Str *out)
{
  static const char *const names[][2] = {
#define SPEC_ALIAS(name, key, note) {name, key},
#define PIN_ALIAS(name, key, note)  {name, key},
#include "compiler/spec/spec_fields.def"
#undef SPEC_ALIAS
#undef PIN_ALIAS
  };
  const char *last = "";
  str_put(out, "| here | elsewhere |\n|---|---|");
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    bool same = str_eq(names[i][1], last);
    if (same)
      str_printf(out, ", %s", names[i][0]);
    else
      str_printf(out, "%s| %s | %s", i ? " |\n" : "\n", names[i][1], names[i][0]);
    last = names[i][1];
  }
  str_put(out, " |\n");
}

static void
put_specs(Str *out)
{
  int n = 0;
  char **names = golden_list("specs", ".attn.yaml", &n);
  str_put(out, "| spec | dtype | head_dim | mask | scores | what it is "
               "|\n|---|---|---|---|---|---|\n");
  for (int i = 0; i < n; i++) {
    attnc_spec *s = load_named(names[i]);
    str_printf(out, "| [%s](%s.attn.yaml) | %s | %d", names[i], names[i],
               dtype_name(s->dtype[ATTNC_Q]), s->head_dim);
    if (s->head_dim_v != s->head_dim)
      str_printf(out, "/%d", s->head_dim_v);
    bool window = s->window[0] >= 0;
    str_printf(out, " | %s", s->causal ? "causal" : "");
    if (window)
      str_printf(out, "%swindow [%d, %d]", s->causal ? ", " : "", s->window[0],
                 s->window[1]);
    if (s->mask_mod.n)
      str_printf(out, "%s`mask_mod`", s->causal || window ? ", " : "");
    if (spec_has_lists(s))
      str_printf(out, "%s`block_list`", mask_hides_in_blocks(s) ? ", " : "");
    str_printf(out, "%s%s | %s | %s |\n", mask_is_full(s) ? "none" : "",
               s->align == ALIGN_TOP_LEFT ? ", top-left" : "",
               s->score_mod.n ? "`score_mod`" : "", s->doc);
    attnc_spec_release(s);
  }
  golden_list_free(names, n);
}

static const char intro[] =
    "# Attention specs, version 1\n\n"
    "A spec says *what* is computed: softmax(scale q k^T + mask) v for every batch and "
    "head,\n"
    "never for which sizes. This page is made from `compiler/spec/spec_fields.def`; "
    "editors "
    "find\n"
    "the same in [`schema/attention-spec-v1.schema.json`](../" SCHEMA ").\n\n"
    "```yaml\nattnc: 1\nname: my_attention\ndtype: bf16\nhead_dim: 128\ncausal: "
    "true\n```\n\n"
    "A file is UTF-8, one document, at most 64 KiB; JSON is YAML and may be used as well.\n"
    "Anchors, aliases, tags, merge keys and unknown keys are errors; booleans are `true` "
    "and\n"
    "`false`, integers are plain decimal. Every error of a file is reported at once, with\n"
    "its place.\n\n";

static const char semantics[] =
    "\n## Semantics\n\n"
    "With `i = q_idx + sk - sq` (`align: bottom_right`) or `i = q_idx` (`top_left`), a "
    "query\n"
    "sees the key `kv_idx` when `kv_idx <= i` (`causal`), `kv_idx >= i - left` and\n"
    "`kv_idx <= i + right` (`window`, unless -1), `i // n == kv_idx // n` "
    "(`attention_chunk`), and\n"
    "every `mask_mod` holds. With `prefix_len` the keys before it are seen whatever "
    "`causal` "
    "says.\n"
    "A query that sees no key\n"
    "gives o = 0 and lse = -inf. Query head `x` reads key head `x / (h / hk)`.\n"
    "\n"
    "Scores are fp32: a product beyond their range is infinite. A score of -inf weighs\n"
    "nothing, even where its row has no other; one of +inf or NaN makes its row NaN.\n"
    "Scaled scores are changed by `softcap`, then `alibi_slopes`, `bias` and `score_mod`; "
    "the\n"
    "LSE is that of what comes of it, and of `sink[h]`, one more logit of each row, "
    "where there\n"
    "is one: a row without a key then has its LSE. What expressions mean is on\n"
    "[their page](../docs/expressions.md).\n";

static void
put_mods(Str *out)
{
  str_put(
      out,
      "\n## Named mods\n\nTexts that specs use by their names: `mask_mod: {use: "
      "same_block, with: {n: 64}}`, also as\nelements of a list. What a parameter has is a "
      "number, or the name of a tensor or scalar of\n`tensors` and `scalars`. The text is "
      "read in their place, so that hash and kernel are its own.\nThey stand in "
      "[mods.def](mods/mods.def).\n\n| name | field | with | meaning | from |\n"
      "|---|---|---|---|---|\n");
  for (int i = 0; i < n_spec_mods; i++) {
    const SpecMod *m = &spec_mods[i];
    str_printf(out, "| `%s` | `%s` | `%s` | %s | %s |\n", m->name,
               m->kind == EXPR_IS_MASK ? "mask_mod" : "score_mod", m->example, m->doc,
               m->source);
  }
}

/* Each by its example, alone and as an element of a list: the same spec twice. */
static void
mods_load(void **state)
{
  static const char *const forms[] = {"%s: {use: %s, with: %s}\n",
                                      "%s: [{use: %s, with: %s}]\n"};
  (void)state;
  for (int i = 0; i < n_spec_mods; i++) {
    const SpecMod *m = &spec_mods[i];
    char hash[2][65];
    for (int k = 0; k < 2; k++) {
      char text[1024];
      int n = snprintf(text, sizeof text, "%s",
                       "attnc: 1\nname: x\ndtype: bf16\nhead_dim: 64\n"
                       "tensors: {document: {dtype: i32, axes: [b, kv]}}\n");
      snprintf(text + n, sizeof text - (size_t)n, forms[k],
               m->kind == EXPR_IS_MASK ? "mask_mod" : "score_mod", m->name, m->example);
      attnc_spec *s = NULL;
      if (attnc_spec_load(text, strlen(text), m->name, &s, NULL) != ATTNC_OK)
        fail_msg("%s is refused:\n%s", m->name, text);
      memcpy(hash[k], attnc_spec_hash(s), 65);
      attnc_spec_release(s);
    }
    assert_string_equal(hash[0], hash[1]);
  }
}

static void
readme_is_committed(void **state)
{
  int n_pins;
  Arena *pin_arena = arena_new(0);
  const Field *pins = spec_pin_fields(pin_arena, &n_pins);
  Arena *arena = arena_new(0);
  Str out = str_new(arena);
  (void)state;
  str_put(&out, intro);
  put_fields(&out, spec_fields, n_spec_fields);
  str_put(&out, "\n## A tensor of `tensors`\n\n");
  put_fields(&out, spec_table_fields, SPEC_TABLE_FIELD_COUNT);
  str_put(&out, "\n## `bias`\n\n");
  put_fields(&out, spec_bias_fields, SPEC_BIAS_FIELD_COUNT);
  str_put(&out, "\n## `block_list`\n\n");
  put_fields(&out, spec_blocks_fields, SPEC_BLOCKS_FIELD_COUNT);
  str_put(&out, "\n## `rope`\n\n");
  put_fields(&out, spec_rope_fields, SPEC_ROPE_FIELD_COUNT);
  str_put(&out, "\n## `schedule`\n\n");
  put_fields(&out, pins, n_pins);
  put_mods(&out);
  str_put(&out, semantics);
  str_put(&out, "\n## The specs here\n\n");
  put_specs(&out);
  str_put(&out,
          "\n`shapes.txt` has the problem that `scripts/demo` runs each of them on.\n"
          "\n## Other names\n\nNot accepted, but understood by the error message.\n\n");
  put_other_names(&out);
  str_put(&out, "\n## Errors\n\n");
  put_errors(&out);
  assert_true(golden_same("specs/README.md", out.p));
  arena_free(arena);
  arena_free(pin_arena);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(schema_is_committed),
      cmocka_unit_test(schema_has_the_tables_keys),
      cmocka_unit_test(examples_load),
      cmocka_unit_test(defaults_are_the_defaults),
      cmocka_unit_test(specialize_is_documented),
      cmocka_unit_test(other_names_are_suggested),
      cmocka_unit_test(specs_canonical_texts),
      cmocka_unit_test(specs_have_shapes),
      cmocka_unit_test(mods_load),
      cmocka_unit_test(readme_is_committed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
