/* The texts of a checked spec, from the field table: canonical (what spec_hash is over) and
 * JSON.  A field's type says how its value is written, its row whether it is. */
#include "compiler/spec/signature.h"
#include "compiler/spec/mask_class.h"
#include "compiler/spec/spec_load.h"

#include "base/hash.h"
#include "compiler/sched.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- values, one writer a type: as YAML (in the canonical text), or as JSON ---- */

/* The fewest digits that read back as the same double, with a point in every locale. */
static void
put_number(Str *out, double v)
{
  char text[40] = "";
  locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  locale_t before = uselocale(c);
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, v);
    if (strtod(text, NULL) == v)
      break;
  }
  uselocale(before);
  if (c)
    freelocale(c);
  str_put(out, text);
}

static void
put_version(Member m, Str *out, bool json)
{
  (void)m;
  (void)json;
  str_put(out, "1");
}

static void
put_text(Member m, Str *out, bool json)
{
  (void)json; /* a JSON string is YAML too */
  str_json(out, *(const char *const *)m.at);
}

static void
put_int(Member m, Str *out, bool json)
{
  (void)json;
  if (spec_member_int(m))
    str_printf(out, "%d", spec_member_int(m));
  else
    str_put(out, "null"); /* left open */
}

static void
put_bool(Member m, Str *out, bool json)
{
  (void)json;
  str_put(out, *(const bool *)m.at ? "true" : "false");
}

static void
put_word(const Field *f, unsigned i, Str *out, bool json)
{
  size_t n;
  const char *word = spec_word(f, (int)i, &n), *quote = json ? "\"" : "";
  str_printf(out, "%s%.*s%s", quote, (int)n, word, quote);
}

static void
put_enum(Member m, Str *out, bool json)
{
  put_word(m.f, *(const unsigned *)m.at, out, json);
}

/* The words of a switch are not its own two. */
static void
put_switch(Member m, Str *out, bool json)
{
  unsigned v = *(const unsigned *)m.at;
  if (v < SWITCH_WORDS)
    str_put(out, v ? "true" : "false");
  else
    put_word(m.f, v - SWITCH_WORDS, out, json);
}

static void
put_per_tensor(Member m, Str *out, bool json)
{
  const unsigned *v = m.at;
  if (!json && spec_tensors_agree(v)) {
    put_word(m.f, v[0], out, json);
    return;
  }
  const char *comma = "{";
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++) {
    if (!tensor_is_typed(i))
      continue;
    str_printf(out, json ? "%s\"%s\": " : "%s%s: ", comma, tensor_info[i].name);
    put_word(m.f, v[i], out, json);
    comma = ", ";
  }
  str_put(out, "}");
}

static void
put_window(Member m, Str *out, bool json)
{
  const int *v = m.at;
  (void)json;
  str_printf(out, "[%d, %d]", v[0], v[1]);
}

static void
put_scale(Member m, Str *out, bool json)
{
  double v = spec_member_number(m);
  if (isnan(v))
    str_put(out, "null");
  else if (isinf(v))
    str_put(out, json ? "\"run_time\"" : "run_time");
  else
    put_number(out, v);
}

static void
put_names(Member m, Str *out, bool json)
{
  const char *comma = "", *quote = json ? "\"" : "";
  const SpecScalars *declared = &m.s->scalars;
  str_put(out, "[");
  for (int i = 0; i < SPECIALIZE_COUNT + declared->n; i++) {
    const SpecScalar *s = i < SPECIALIZE_COUNT ? NULL : &declared->at[i - SPECIALIZE_COUNT];
    if (!(s ? s->constant : *(const unsigned *)m.at >> i & 1u))
      continue;
    str_printf(out, "%s%s%s%s", comma, quote, s ? s->name : specialize_names[i], quote);
    comma = ", ";
  }
  str_put(out, "]");
}

static void
put_grads(Member m, Str *out, bool json)
{
  const char *comma = "", *quote = json ? "\"" : "";
  unsigned listed = *(const unsigned *)m.at;
  size_t n;
  str_put(out, "[");
  for (int i = 0; listed >> i; i++) {
    int declared = i - spec_words(m.f);
    const char *word =
        declared < 0 ? spec_word(m.f, i, &n) : m.s->tensors.at[declared].name;
    if (!(listed >> i & 1u))
      continue;
    n = declared < 0 ? n : strlen(word);
    str_printf(out, "%s%s%.*s%s", comma, quote, (int)n, word, quote);
    comma = ", ";
  }
  str_put(out, "]");
}

static void
put_tensors(Member m, Str *out, bool json)
{
  const char *comma = "";
  unsigned listed = *(const unsigned *)m.at;
  str_put(out, "[");
  for (unsigned i = 0; listed >> i; i++) {
    if (!(listed >> i & 1u))
      continue;
    str_put(out, comma);
    put_word(m.f, i, out, json);
    comma = ", ";
  }
  str_put(out, "]");
}

static void
put_open_text(Str *out, const char *key, const char *text)
{
  str_printf(out, ", \"%s\": ", key);
  if (text)
    str_json(out, text);
  else
    str_put(out, "null");
}

/* All fields; null is open. */
static void
put_pin(Str *out, const Pin *p)
{
  const SchedField *list[SCHED_MAX];
  int n = sched_fields(list);
  str_printf(out, "{\"line\": %d", p->place.line);
  put_open_text(out, "arch", p->arch);
  put_open_text(out, "template", p->template_name);
  for (int i = 0; i < n; i++) {
    const char *value = sched_get(&p->how, list[i]->name);
    const char *quote = value && list[i]->kind == SK_ENUM ? "\"" : "";
    str_printf(out, ", \"%s\": %s%s%s", list[i]->name, quote, value ? value : "null",
               quote);
  }
  str_put(out, "}");
}

static void
put_pins(Member m, Str *out, bool json)
{
  (void)json;
  str_put(out, "[");
  for (int i = 0; i < m.s->n_pins; i++) {
    str_put(out, i ? ", " : "");
    put_pin(out, &m.s->pins[i]);
  }
  str_put(out, "]");
}

/* One is a text, several are a list; none is null. */
static void
put_exprs(Member m, Str *out, bool json)
{
  const SpecExprs *e = m.at;
  bool list = e->n > 1;
  (void)json; /* a JSON string is YAML too */
  if (!e->n)
    str_put(out, "null");
  str_put(out, list ? "[" : "");
  for (int i = 0; i < e->n; i++) {
    Str text = str_new(out->arena);
    expr_print(m.s->graph, e->at[i], &text);
    str_put(out, i ? ", " : "");
    str_json(out, text.p);
  }
  str_put(out, list ? "]" : "");
}

static void
put_axes(const SpecAxes *axes, const char *quote, Str *out)
{
  str_put(out, "[");
  for (int i = 0; i < axes->n; i++) {
    const SpecAxis *a = &axes->at[i];
    str_put(out, i ? ", " : "");
    if (a->by)
      str_printf(out, "%s%s/%d%s", quote, a->name, a->by, quote);
    else if (a->name)
      str_printf(out, "%s%s%s", quote, a->name, quote);
    else
      str_printf(out, "%d", a->n);
  }
  str_put(out, "]");
}

static void
put_tables(Member m, Str *out, bool json)
{
  const SpecTables *tables = m.at;
  const char *quote = json ? "\"" : "";
  for (int i = 0; i < tables->n; i++) {
    const SpecTable *t = &tables->at[i];
    str_printf(out, "%s%s%s%s: {%sdtype%s: ", i ? ", " : "{", quote, t->name, quote, quote,
               quote);
    put_word(&spec_table_fields[0], t->dtype, out, json);
    str_printf(out, ", %saxes%s: ", quote, quote);
    put_axes(&t->axes, quote, out);
    if (json || t->monotone)
      str_printf(out, ", %smonotone%s: %s", quote, quote, t->monotone ? "true" : "false");
    str_put(out, "}");
  }
  str_put(out, tables->n ? "}" : "null");
}

static void
put_bias(Member m, Str *out, bool json)
{
  const SpecBias *b = m.at;
  const char *quote = json ? "\"" : "";
  if (!b->axes.n) {
    str_put(out, "null");
    return;
  }
  str_printf(out, "{%saxes%s: ", quote, quote);
  put_axes(&b->axes, quote, out);
  str_printf(out, ", %sdtype%s: ", quote, quote);
  put_word(&spec_bias_fields[1], b->dtype, out, json);
  str_put(out, "}");
}

static void
put_blocks(Member m, Str *out, bool json)
{
  const SpecBlocks *b = m.at;
  const char *quote = json ? "\"" : "";
  if (b->rows[0])
    str_printf(out, "{%sblock%s: [%d, %d]}", quote, quote, b->rows[0], b->rows[1]);
  else
    str_put(out, "null");
}

static void
put_rope(Member m, Str *out, bool json)
{
  const SpecRope *r = m.at;
  const char *quote = json ? "\"" : "";
  if (!r->dim) {
    str_put(out, "null");
    return;
  }
  str_printf(out, "{%sdim%s: %d", quote, quote, r->dim);
  if (json || r->interleaved)
    str_printf(out, ", %sinterleaved%s: %s", quote, quote,
               r->interleaved ? "true" : "false");
  if (json || r->dtype) {
    str_printf(out, ", %sdtype%s: ", quote, quote);
    put_word(&spec_rope_fields[2], r->dtype, out, json);
  }
  str_put(out, "}");
}

/* Their numbers are arguments of a call, no part of the kernel but where they are
 * constants of it. */
static void
put_scalars(Member m, Str *out, bool json)
{
  const SpecScalars *scalars = m.at;
  const char *quote = json ? "\"" : "";
  for (int i = 0; i < scalars->n; i++) {
    const SpecScalar *s = &scalars->at[i];
    str_printf(out, "%s%s%s%s: ", i ? ", " : "{", quote, s->name, quote);
    if (!json && !s->constant)
      str_put(out, "run_time");
    else if (isnan(s->initial))
      str_put(out, "null");
    else
      put_number(out, s->initial);
  }
  str_put(out, scalars->n ? "}" : "null");
}

typedef void Writer(Member, Str *, bool json);
static Writer *const writers[FT_COUNT] = {
    [FT_VERSION] = put_version,    [FT_NAME] = put_text,       [FT_TEXT] = put_text,
    [FT_DTYPES] = put_per_tensor,  [FT_INT] = put_int,         [FT_BOOL] = put_bool,
    [FT_ENUM] = put_enum,          [FT_WINDOW] = put_window,   [FT_SCALE] = put_scale,
    [FT_LAYOUTS] = put_per_tensor, [FT_NAMES] = put_names,     [FT_PINS] = put_pins,
    [FT_EXPRS] = put_exprs,        [FT_TABLES] = put_tables,   [FT_SCALARS] = put_scalars,
    [FT_BIAS] = put_bias,          [FT_TENSORS] = put_tensors, [FT_SWITCH] = put_switch,
    [FT_BLOCKS] = put_blocks,      [FT_ROPE] = put_rope,       [FT_GRADS] = put_grads,
};

/* ---- canonical text ---- */

void
spec_put_line(const Spec *s, const Field *f, Str *out)
{
  Member m = spec_member(s, f);
  bool run_time = f->identity == ID_PRESENCE && !spec_is_constant(s, f->key);
  /* The number is no part of it; that there is one is not news where there always is. */
  if (f->identity == ID_NOTHING || spec_is_default(m) || (run_time && f->initial))
    return;
  str_printf(out, "%s: ", f->key);
  if (run_time)
    str_put(out, "run_time");
  else
    writers[f->type](m, out, false);
  str_put(out, "\n");
}

static int
by_key(const void *a, const void *b)
{
  return strcmp((*(const Field *const *)a)->key, (*(const Field *const *)b)->key);
}

/* One line a field, in the order of the alphabet. */
static const char *
canonical(const Spec *s)
{
  Str out = str_new(s->arena);
  const Field **order = NEW_N(s->arena, const Field *, n_spec_fields);
  for (int i = 0; i < n_spec_fields; i++)
    order[i] = &spec_fields[i];
  qsort(order, (size_t)n_spec_fields, sizeof *order, by_key);
  for (int i = 0; i < n_spec_fields; i++)
    spec_put_line(s, order[i], &out);
  return out.p;
}

/* ---- JSON ---- */

static const char *
json(const Spec *s)
{
  Str out = str_new(s->arena);
  for (int i = 0; i < n_spec_fields; i++) {
    const Field *f = &spec_fields[i];
    str_printf(&out, "%s\"%s\": ", i ? ", " : "{", f->key);
    writers[f->type](spec_member(s, f), &out, true);
  }
  put_open_text(&out, "canonical", s->canonical);
  put_open_text(&out, "hash", s->hash);
  str_put(&out, "}");
  return out.p;
}

static void
print_call(Spec *s, int op)
{
  Signature *x = NEW(s->arena, Signature);
  Str text = str_new(s->arena);
  signature_make(s, op, x);
  str_printf(&text, "{\"op\":\"%s\",\"sizes\":[", op_words[op]);
  for (int i = 0; i < SIZE_COUNT; i++)
    if (!size_is_choice((SizeId)i) && size_is_had(x->tensors, x->n_tensors, (SizeId)i))
      str_printf(&text, "%s\"%s\"", i ? "," : "", size_names[i]);
  str_put(&text, "],");
  signature_put_tensors(x, s, &text);
  str_put(&text, ",");
  signature_put_scalars(x, true, &text);
  str_put(&text, "}");
  s->call[op] = x;
  s->call_json[op] = text.p;
}

static const char *
why(const Spec *s)
{
  Str text = str_new(s->arena);
  mask_why(s, &text);
  return text.p;
}

void
spec_print(Spec *s)
{
  s->canonical = canonical(s);
  Str text = str_new(s->arena);
  str_put(&text, s->canonical);
  sha256_hex(text.p, text.n, s->hash);
  s->json = json(s);
  sha256_hex(s->json, strlen(s->json), s->json_hash);
  s->why = why(s);
  for (int op = 0; op < ATTNC_OP_COUNT; op++)
    print_call(s, op);
}
