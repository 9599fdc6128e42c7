/* The JSON Schema (draft-07) of spec version 1, from the field table. */
#include "compiler/spec/spec_load.h"

#include "compiler/target.h"

#include <pthread.h>
#include <string.h>

/* ---- parts ---- */

static void
put_words(Str *out, const char *words)
{
  const char *comma = "";
  str_put(out, "\"enum\": [");
  for (const char *p = words; *p;) {
    size_t n = strcspn(p, " ");
    str_printf(out, "%s\"%.*s\"", comma, (int)n, p);
    comma = ", ";
    p += n + (p[n] == ' ');
  }
  str_put(out, "]");
}

static void
put_list(Str *out, const char *const *words, int n)
{
  str_put(out, "\"enum\": [");
  for (int i = 0; i < n; i++)
    str_printf(out, "%s\"%s\"", i ? ", " : "", words[i]);
  str_put(out, "]");
}

static void
put_typed_names(Str *out)
{
  const char *comma = "";
  str_put(out, "\"required\": [");
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    if (tensor_is_typed(i)) {
      str_printf(out, "%s\"%s\"", comma, tensor_info[i].name);
      comma = ", ";
    }
  str_put(out, "], ");
}

/* A word, or a map over the tensors that have no dtype of their own. */
static void
put_per_tensor(Str *out, const char *words, bool all)
{
  str_put(out, "\"oneOf\": [{");
  put_words(out, words);
  str_put(out, "}, {\"type\": \"object\", \"additionalProperties\": false, ");
  const char *comma = "";
  if (all)
    put_typed_names(out);
  str_put(out, "\"properties\": {");
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++) {
    if (!tensor_is_typed(i))
      continue;
    str_printf(out, "%s\"%s\": {", comma, tensor_info[i].name);
    put_words(out, words);
    str_put(out, "}");
    comma = ", ";
  }
  str_put(out, "}}]");
}

static void
put_range(Str *out, const Field *f)
{
  str_printf(out, "\"minimum\": %d, \"maximum\": %d", f->lo, f->hi);
  if (f->step > 1)
    str_printf(out, ", \"multipleOf\": %d", f->step);
}

static void
put_integer(Str *out, const Field *f)
{
  str_put(out, "\"type\": \"integer\", ");
  put_range(out, f);
}

/* Of which the field may have one more, above the others. */
static void
put_integer_or(Str *out, const Field *f)
{
  str_put(out, "\"type\": \"integer\", \"anyOf\": [{");
  put_range(out, f);
  str_printf(out, "}, {\"const\": %s}]", f->words);
}

static void put_fields(Str *out, const Field *fields, int n, const char *indent);

static void
put_pins(Str *out)
{
  str_put(out, "\"oneOf\": [{\"$ref\": \"#/definitions/schedule\"}, {\"type\": \"array\", "
               "\"minItems\": 1, \"items\": {\"$ref\": \"#/definitions/schedule\"}}]");
}

static void
put_exprs(Str *out, const Field *f)
{
  const char *mod = f->at == offsetof(Spec, own_mask) ? "mask" : "score";
  str_printf(out,
             "\"oneOf\": [{\"$ref\": \"#/definitions/%s_mod\"}, {\"type\": \"array\", "
             "\"minItems\": 1, \"items\": {\"$ref\": \"#/definitions/%s_mod\"}}]",
             mod, mod);
}

#define DECLARED_NAME "^[a-z_][a-z0-9_]{0,63}$"

/* A map of names, whose values are `what`. */
static void
put_declarations(Str *out, int most, const char *what)
{
  str_printf(out,
             "\"type\": \"object\", \"minProperties\": 1, \"maxProperties\": %d, "
             "\"propertyNames\": {\"pattern\": \"" DECLARED_NAME "\"}, "
             "\"additionalProperties\": {%s}",
             most, what);
}

/* A size in blocks, of axes that are not packed. */
static void
put_blocks(Str *out, const char *words)
{
  const char *bar = "";
  str_put(out, "}, {\"type\": \"string\", \"pattern\": \"^(");
  for (size_t n; *words; words += n + (words[n] == ' ')) {
    n = strcspn(words, " ");
    if (words[0] == 't')
      continue;
    str_printf(out, "%s%.*s", bar, (int)n, words);
    bar = "|";
  }
  str_put(out, ")/([2-9]|[1-9][0-9]{1,9})$\"");
}

static void
put_axes(Str *out, const Field *f)
{
  str_printf(
      out,
      "\"type\": \"array\", \"minItems\": 1, \"maxItems\": %d, \"items\": {\"oneOf\": [{",
      EXPR_AXES);
  put_words(out, f->words);
  if (f == &spec_table_fields[1])
    put_blocks(out, f->words);
  str_put(out, "}, {");
  put_integer(out, f);
  str_put(out, "}]}");
}

static void
put_scale(Str *out, const Field *f)
{
  str_put(out, f->initial ? "\"type\": \"number\", \"exclusiveMinimum\": 0"
                          : "\"oneOf\": [{\"type\": \"number\", \"exclusiveMinimum\": 0}, "
                            "{\"const\": \"run_time\"}]");
}

static void
put_names(Str *out)
{
  str_put(out, "\"type\": \"array\", \"uniqueItems\": true, \"items\": {");
  str_put(out, "\"anyOf\": [{");
  put_list(out, specialize_names, SPECIALIZE_COUNT);
  str_put(out, "}, {\"pattern\": \"" DECLARED_NAME "\"}]}");
}

static void
put_switch(Str *out, const char *words)
{
  str_put(out, "\"oneOf\": [{\"type\": \"boolean\"}, {");
  put_words(out, words);
  str_put(out, "}]");
}

/* declared: or names that the spec declares. */
static void
put_set(Str *out, const char *words, bool declared)
{
  str_put(out, "\"type\": \"array\", \"uniqueItems\": true, \"items\": {");
  str_put(out, declared ? "\"anyOf\": [{" : "");
  put_words(out, words);
  str_put(out, declared ? "}, {\"pattern\": \"" DECLARED_NAME "\"}]}" : "}");
}

static void
put_type(Str *out, const Field *f)
{
  switch (f->type) {
  case FT_VERSION:
    str_put(out, "\"const\": 1");
    break;
  case FT_NAME:
    str_printf(out, "\"type\": \"string\", \"pattern\": \"^[a-z0-9_]{%d,%d}$\"", f->lo,
               f->hi);
    break;
  case FT_TEXT:
    str_put(out, "\"type\": \"string\"");
    break;
  case FT_DTYPES:
  case FT_LAYOUTS:
    put_per_tensor(out, f->words, f->type == FT_DTYPES);
    break;
  case FT_INT:
  case FT_SCHED_INT:
    if (spec_int_more(f))
      put_integer_or(out, f);
    else
      put_integer(out, f);
    break;
  case FT_BOOL:
  case FT_SCHED_BOOL:
    str_put(out, "\"type\": \"boolean\"");
    break;
  case FT_SWITCH:
    put_switch(out, f->words);
    break;
  case FT_ENUM:
  case FT_SCHED_ENUM:
    put_words(out, f->words);
    break;
  case FT_WINDOW:
  case FT_PAIR:
    str_put(out, "\"type\": \"array\", \"minItems\": 2, \"maxItems\": 2, \"items\": {");
    put_integer(out, f);
    str_put(out, "}");
    break;
  case FT_SCALE:
    put_scale(out, f);
    break;
  case FT_NAMES:
    put_names(out);
    break;
  case FT_TENSORS:
  case FT_GRADS:
    put_set(out, f->words, f->type == FT_GRADS);
    break;
  case FT_PINS:
    put_pins(out);
    break;
  case FT_ARCH:
    put_list(out, attnc_targets(), n_targets);
    break;
  case FT_EXPRS:
    put_exprs(out, f);
    break;
  case FT_TABLES:
    put_declarations(out, SPEC_TABLES, "\"$ref\": \"#/definitions/tensor\"");
    break;
  case FT_SCALARS:
    put_declarations(out, SPEC_SCALARS,
                     "\"oneOf\": [{\"type\": \"number\"}, {\"const\": \"run_time\"}]");
    break;
  case FT_AXES:
    put_axes(out, f);
    break;
  case FT_BIAS:
  case FT_BLOCKS:
  case FT_ROPE: /* maps, which have their fields' names */
    str_printf(out, "\"$ref\": \"#/definitions/%s\"", f->key);
    break;
  case FT_COUNT:
    break;
  }
}

/* Whether what the table writes as YAML is JSON as it stands. */
static bool
is_json(FieldType t)
{
  return t == FT_VERSION || t == FT_INT || t == FT_BOOL || t == FT_SCHED_BOOL ||
         t == FT_SWITCH || t == FT_SCHED_INT || t == FT_WINDOW || t == FT_PAIR ||
         t == FT_SCALE;
}

static bool
is_word(FieldType t)
{
  return t == FT_NAME || t == FT_TEXT || t == FT_DTYPES || t == FT_ENUM ||
         t == FT_SCHED_ENUM || t == FT_LAYOUTS || t == FT_ARCH;
}

static void
put_example(Str *out, const Field *f)
{
  if (!is_json(f->type) && !is_word(f->type))
    return;
  str_put(out, ", \"examples\": [");
  if (is_word(f->type))
    str_json(out, f->example);
  else
    str_put(out, f->example);
  str_put(out, "]");
}

static void
put_fields(Str *out, const Field *fields, int n, const char *indent)
{
  str_put(out, "\"properties\": {");
  for (int i = 0; i < n; i++) {
    str_printf(out, "%s\n%s  \"%s\": {", i ? "," : "", indent, fields[i].key);
    put_type(out, &fields[i]);
    str_put(out, ", \"description\": ");
    str_json(out, fields[i].doc);
    put_example(out, &fields[i]);
    str_put(out, "}");
  }
  str_printf(out, "\n%s}", indent);
}

static void
put_required(Str *out, const Field *fields, int n)
{
  const char *comma = "";
  str_put(out, "\"required\": [");
  for (int i = 0; i < n; i++) {
    if (!fields[i].required)
      continue;
    str_printf(out, "%s\"%s\"", comma, fields[i].key);
    comma = ", ";
  }
  str_put(out, "]");
}

/* A text, or a mod by its name. */
static void
put_mods(Str *out, const char *name, ExprKind kind)
{
  const char *comma = "";
  str_printf(out,
             "    \"%s\": {\"oneOf\": [{\"type\": \"string\"}, {\n      \"type\": "
             "\"object\", \"additionalProperties\": false, \"required\": [\"use\"],\n"
             "      \"properties\": {\n        \"use\": {\"enum\": [",
             name);
  for (int i = 0; i < n_spec_mods; i++) {
    if (spec_mods[i].kind != kind)
      continue;
    str_printf(out, "%s\"%s\"", comma, spec_mods[i].name);
    comma = ", ";
  }
  str_put(out, "]},\n        \"with\": {\"type\": \"object\", \"additionalProperties\": "
               "{\"oneOf\": [{\"type\": \"number\"}, {\"type\": \"string\", "
               "\"pattern\": \"" DECLARED_NAME "\"}]}}\n      }\n    }]}");
}

/* A map of so many keys. */
static void
put_map(Str *out, const char *name, const Field *fields, int n)
{
  str_printf(out,
             "    \"%s\": {\n      \"type\": \"object\",\n"
             "      \"additionalProperties\": false,\n      ",
             name);
  put_required(out, fields, n);
  str_put(out, ",\n      ");
  put_fields(out, fields, n, "      ");
  str_put(out, "\n    },\n");
}

/* ---- the whole ---- */

static void
put_schema(Str *out, Arena *arena)
{
  int n;
  str_put(out, "{\n  \"$schema\": \"http://json-schema.org/draft-07/schema#\",\n"
               "  \"$id\": \"attention-spec-v1.schema.json\",\n"
               "  \"title\": \"attnc attention spec, version 1\",\n"
               "  \"type\": \"object\",\n  \"additionalProperties\": false,\n  ");
  put_required(out, spec_fields, n_spec_fields);
  str_put(out, ",\n  ");
  put_fields(out, spec_fields, n_spec_fields, "  ");
  str_put(out, ",\n  \"definitions\": {\n    \"schedule\": {\n      \"type\": \"object\",\n"
               "      \"additionalProperties\": false,\n      ");
  const Field *pins = spec_pin_fields(arena, &n);
  put_fields(out, pins, n, "      ");
  str_put(out, "\n    },\n");
  put_map(out, "tensor", spec_table_fields, SPEC_TABLE_FIELD_COUNT);
  put_map(out, "bias", spec_bias_fields, SPEC_BIAS_FIELD_COUNT);
  put_map(out, "block_list", spec_blocks_fields, SPEC_BLOCKS_FIELD_COUNT);
  put_map(out, "rope", spec_rope_fields, SPEC_ROPE_FIELD_COUNT);
  put_mods(out, "mask_mod", EXPR_IS_MASK);
  str_put(out, ",\n");
  put_mods(out, "score_mod", EXPR_IS_SCORE);
  str_put(out, "\n  }\n}\n");
}

/* Made once, kept for the life of the process. */
static char schema_text[64 << 10];
static pthread_once_t schema_once = PTHREAD_ONCE_INIT;

static void
make_schema(void)
{
  Arena *arena = arena_new(0);
  if (!arena)
    return;
  Str out = str_new(arena);
  put_schema(&out, arena);
  if (out.n < sizeof schema_text)
    memcpy(schema_text, out.p, out.n + 1);
  arena_free(arena);
}

const char *
attnc_spec_schema(void)
{
  pthread_once(&schema_once, make_schema);
  return schema_text;
}
