/* docs/support.md: which templates take which specs on which targets, asked of the
 * templates themselves; and that a template which takes a spec has a default schedule that
 * is legal. */
#include "compiler/sched.h"
#include "compiler/spec/spec_load.h"
#include "tests/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { DIM_STEP = 8, DIM_MOST = 512, DIMS = DIM_MOST / DIM_STEP };

/* The templates that take a spec: bit i is of template_table[i]. */
typedef unsigned Takers;

static bool
is_slow(int i)
{
  return strncmp(template_table[i]->name, "ref_", 4) == 0;
}

static attnc_spec *
load(const char *fields)
{
  char text[1024];
  attnc_spec *s = NULL;
  snprintf(text, sizeof text, "attnc: 1\nname: x\n%s", fields);
  if (attnc_spec_load(text, strlen(text), "t", &s, NULL) != ATTNC_OK)
    fail_msg("%s", text);
  return s;
}

static Takers
takers(const attnc_spec *s, const Target *t)
{
  Case c = sched_case(s, NULL, t);
  Takers bits = 0;
  for (int i = 0; i < n_templates; i++)
    bits |= (Takers)(template_is_asked(template_table[i], &c) &&
                     template_table[i]->applicable(&c, NULL))
            << i;
  return bits;
}

/* Those that take anything on the target at all. */
static Takers
on_target(const Target *t)
{
  attnc_spec *s = load("dtype: fp16\nhead_dim: 64\n");
  Takers bits = takers(s, t);
  attnc_spec_release(s);
  return bits;
}

/* The fast ones; where there is none that the slow one is alone, and why. */
static void
put_takers(Str *out, Takers bits)
{
  const char *comma = "";
  for (int i = 0; i < n_templates; i++)
    if (bits >> i & 1u && !is_slow(i)) {
      str_printf(out, "%s`%s`", comma, template_table[i]->name);
      comma = ", ";
    }
  for (int i = 0; i < n_templates && !*comma; i++)
    if (bits >> i & 1u) {
      str_printf(out, "**only `%s`**", template_table[i]->name);
      return;
    }
  if (!*comma)
    str_put(out, "**none**");
}

static const struct {
  int code;
  const char *meaning;
} codes[REASON_COUNT] = {
#define X(id, code, meaning) [REASON_##id] = {code, meaning},
    REASON_TABLE(X)
#undef X
};

static void
put_reasons(Str *out, const attnc_spec *s, const Target *t)
{
  Case c = sched_case(s, NULL, t);
  const char *gap = "";
  for (int i = 0; i < n_templates; i++) {
    Why why = {.text = ""};
    if (!(on_target(t) >> i & 1u) || template_table[i]->applicable(&c, &why))
      continue;
    for (int k = 0; k < why.n; k++) {
      str_printf(out, "%s`%s` A%04d: %s", gap, template_table[i]->name,
                 codes[why.at[k].reason].code, why.at[k].why);
      gap = "; ";
    }
  }
}

static bool
is_fast(Takers bits)
{
  for (int i = 0; i < n_templates; i++)
    if (bits >> i & 1u && !is_slow(i))
      return true;
  return false;
}

/* ---- head dims ---- */

static const char *const dtypes[][2] = {
    {"fp16", "fp16"},
    {"bf16", "bf16"},
    {"fp32", "fp32"},
    {"{q: bf16, k: bf16, v: fp16, o: fp32}", "mixed"},
};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

/* [head_dim / 8 − 1][head_dim_v / 8 − 1]; a head_dim that there is not has no takers. */
typedef struct DimTable {
  Takers at[DIMS][DIMS];
  int first; /* the first target that has the same table */
} DimTable;

static attnc_spec *
of_dims(int dtype, int i, int k)
{
  char fields[256];
  snprintf(fields, sizeof fields, "dtype: %s\nhead_dim: %d\nhead_dim_v: %d\n",
           dtypes[dtype][0], (i + 1) * DIM_STEP, (k + 1) * DIM_STEP);
  return load(fields);
}

static bool
is_head_dim(int i)
{
  const Field *f = spec_field("head_dim");
  int d = (i + 1) * DIM_STEP;
  return (d >= f->lo && d <= f->hi) || d == atoi(spec_int_more(f));
}

static void
fill(int dtype, DimTable *tables)
{
  for (int i = 0; i < DIMS; i++)
    for (int k = 0; is_head_dim(i) && k < DIMS; k++) {
      attnc_spec *s = of_dims(dtype, i, k);
      for (int t = 0; t < n_targets; t++)
        tables[t].at[i][k] = takers(s, &targets[t]);
      attnc_spec_release(s);
    }
  for (int t = 0; t < n_targets; t++) {
    int same = 0;
    while (memcmp(tables[same].at, tables[t].at, sizeof tables[t].at) != 0)
      same++;
    tables[t].first = same;
  }
}

static bool
same_row(const DimTable *t, int i, int k)
{
  return memcmp(t->at[i], t->at[k], sizeof t->at[i]) == 0;
}

/* "8 … 256, 512": the head_dims whose rows are that of i. */
static void
put_head_dims(Str *out, const DimTable *t, int i)
{
  const char *comma = "";
  for (int k = i; k < DIMS; k++) {
    int from = k;
    if (!is_head_dim(k) || !same_row(t, i, k))
      continue;
    while (k + 1 < DIMS && is_head_dim(k + 1) && same_row(t, i, k + 1))
      k++;
    str_printf(out, "%s%d", comma, (from + 1) * DIM_STEP);
    if (k > from)
      str_printf(out, " … %d", (k + 1) * DIM_STEP);
    comma = ", ";
  }
}

static bool
seen_before(const DimTable *t, int i)
{
  for (int k = 0; k < i; k++)
    if (is_head_dim(k) && same_row(t, k, i))
      return true;
  return false;
}

static void
put_targets_like(Str *out, const DimTable *tables, int first)
{
  const char *comma = "";
  for (int t = 0; t < n_targets; t++)
    if (tables[t].first == first) {
      str_printf(out, "%s%s", comma, targets[t].name);
      comma = ", ";
    }
}

/* The runs of head_dim_v that have the same takers, of the head_dims whose rows are i's. */
static void
put_row(Str *out, const DimTable *tables, int target, int dtype, int i)
{
  const DimTable *t = &tables[target];
  for (int k = 0, to; k < DIMS; k = to) {
    for (to = k + 1; to < DIMS && t->at[i][to] == t->at[i][k];)
      to++;
    str_put(out, "| ");
    put_targets_like(out, tables, target);
    str_printf(out, " | %s | ", dtypes[dtype][1]);
    put_head_dims(out, t, i);
    str_printf(out, " | %d … %d | ", (k + 1) * DIM_STEP, to * DIM_STEP);
    put_takers(out, t->at[i][k]);
    str_put(out, " | ");
    if (!is_fast(t->at[i][k])) {
      attnc_spec *s = of_dims(dtype, i, k);
      put_reasons(out, s, &targets[target]);
      attnc_spec_release(s);
    }
    str_put(out, " |\n");
  }
}

static void
put_dims(Str *out)
{
  str_put(out,
          "| targets | dtype | head_dim | head_dim_v | templates | why none is fast |\n"
          "|---|---|---|---|---|---|\n");
  DimTable *tables = NEW_N(out->arena, DimTable, n_targets);
  for (int dtype = 0; dtype < DTYPES; dtype++) {
    memset(tables, 0, (size_t)n_targets * sizeof *tables);
    fill(dtype, tables);
    for (int t = 0; t < n_targets; t++)
      for (int i = 0; tables[t].first == t && i < DIMS; i++)
        if (is_head_dim(i) && !seen_before(&tables[t], i))
          put_row(out, tables, t, dtype, i);
  }
}

/* ---- fields ---- */

/* Lines without which a field's example says nothing. */
static const char *
beside(const Field *f)
{
  static char line[64];
  const Field *other =
      strcmp(f->key, "align") == 0 ? spec_field("causal") : spec_field_needs(f->key);
  if (!other)
    return "";
  snprintf(line, sizeof line, "%s: %s\n", other->key, other->example);
  return line;
}

/* What changes the kernel and has no table of its own. */
static bool
is_feature(const Field *f)
{
  static const char *const others[] = {"attnc", "dtype", "head_dim", "head_dim_v"};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (strcmp(f->key, others[i]) == 0)
      return false;
  return f->identity != ID_NOTHING;
}

/* What stands in the way, by target; the same for neighbours is said once. */
typedef struct Slow {
  Str out, targets, why; /* lines; the targets that have the reasons, and these */
} Slow;

static void
end_reasons(Slow *slow, const char *key)
{
  if (slow->targets.n)
    str_printf(&slow->out, "| `%s` | %s | %s |\n", key, slow->targets.p, slow->why.p);
  slow->targets = str_new(slow->out.arena);
  slow->why = str_new(slow->out.arena);
}

static void
add_reasons(Slow *slow, const char *key, const attnc_spec *s, const Target *t)
{
  Str why = str_new(slow->out.arena);
  put_reasons(&why, s, t);
  if (!slow->why.n || strcmp(why.p, slow->why.p) != 0)
    end_reasons(slow, key);
  str_printf(&slow->targets, "%s%s", slow->targets.n ? ", " : "", t->name);
  slow->why = why;
}

static void
put_feature(Str *out, const Field *f, Slow *slow)
{
  char fields[512];
  snprintf(fields, sizeof fields, "dtype: fp16\nhead_dim: 64\n%s%s: %s\n", beside(f),
           f->key, f->example);
  attnc_spec *s = load(fields);
  str_printf(out, "| `%s: %s` |", f->key, f->example);
  for (int t = 0; t < n_targets; t++) {
    Takers bits = takers(s, &targets[t]);
    str_put(out, " ");
    put_takers(out, bits);
    str_put(out, " |");
    if (!is_fast(bits))
      add_reasons(slow, f->key, s, &targets[t]);
  }
  end_reasons(slow, f->key);
  str_put(out, "\n");
  attnc_spec_release(s);
}

static void
put_features(Str *out)
{
  Slow slow = {str_new(out->arena), str_new(out->arena), str_new(out->arena)};
  str_put(out, "| field |");
  for (int t = 0; t < n_targets; t++)
    str_printf(out, " %s |", targets[t].name);
  str_put(out, "\n|---|");
  for (int t = 0; t < n_targets; t++)
    str_put(out, "---|");
  str_put(out, "\n");
  for (int i = 0; i < SPEC_FIELD_COUNT; i++)
    if (is_feature(&spec_fields[i]))
      put_feature(out, &spec_fields[i], &slow);
  if (slow.out.n)
    str_printf(
        out,
        "\nWhy no fast template takes it:\n\n| field | target | why |\n|---|---|---|\n%s",
        slow.out.p);
}

/* ---- the page ---- */

static const char intro[] =
    "# What runs where\n\n"
    "Which templates take a spec on a target. `ATTNC_UPDATE=1 ctest -R '^support$'` makes "
    "this page, by\nasking each template; a test holds it to what they answer. Of one "
    "spec: "
    "`attnc check SPEC --arch all`.\n\n"
    "`ref_fwd` takes everything and is slow: it has no tensor cores. It is named where "
    "nothing else\ntakes a spec.\n\n";

static void
the_page_is_what_the_templates_say(void **state)
{
  Arena *arena = arena_new(0);
  Str out = str_new(arena);
  (void)state;
  str_put(&out, intro);
  str_put(&out, "## Head dims\n\nOf every head_dim and head_dim_v of that dtype; any "
                "group_size. `mixed` is any map of dtypes\nthat are not all one.\n\n");
  put_dims(&out);
  str_put(&out, "\n## Fields\n\nOf fp16, head_dim 64, each by its example in "
                "[specs/README.md](../specs/README.md); fields that are not\npart of the "
                "kernel (`layout`, `schedule` …) are left out.\n\n");
  put_features(&out);
  str_put(&out, "\n## Codes\n\n| code | meaning |\n|---|---|\n");
  for (int i = 0; i < REASON_COUNT; i++)
    str_printf(&out, "| A%04d | %s |\n", codes[i].code, codes[i].meaning);
  bool same = golden_same("docs/support.md", out.p);
  arena_free(arena);
  assert_true(same);
}

/* ---- default schedules ---- */

/* Of every head_dim, and of a sixth of the head_dim_v, others for each. */
static void
defaults_are_legal(void **state)
{
  static const char *const masks[] = {"", "causal: true\nwindow: [100, 30]\n"};
  (void)state;
  for (int i = 0; i < DIMS; i++)
    for (int k = i % 6; is_head_dim(i) && k < DIMS; k += 6)
      for (size_t m = 0; m < sizeof masks / sizeof *masks; m++) {
        char fields[256];
        snprintf(fields, sizeof fields, "dtype: %s\nhead_dim: %d\nhead_dim_v: %d\n%s",
                 k % 2 ? "bf16" : "fp16", (i + 1) * DIM_STEP, (k + 1) * DIM_STEP, masks[m]);
        attnc_spec *s = load(fields);
        for (int t = 0; t < n_targets; t++)
          for (int n = 0; n < n_templates; n++) {
            Case c = sched_case(s, NULL, &targets[t]);
            Why why = {.text = ""};
            if (!template_table[n]->applicable(&c, NULL))
              continue;
            Sched initial = template_table[n]->initial(&c);
            if (template_table[n]->refuse(&c, &initial, &why))
              fail_msg("%s on %s: the default of\n%sis refused: %s",
                       template_table[n]->name, targets[t].name, fields, why.text);
          }
        attnc_spec_release(s);
      }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_page_is_what_the_templates_say),
      cmocka_unit_test(defaults_are_legal),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
