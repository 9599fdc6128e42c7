/* Node tree → Spec: every field of the table is read by the reader of its type, and every
 * fault is reported before the load fails. */
#include "compiler/spec/spec_load.h"

#include "compiler/sched.h"
#include "compiler/target.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- the tables ---- */

#define NOWHERE    0
#define AT(member) offsetof(Pin, member)
static const Field own_pin_fields[] = {
#define PIN_FIELD(key, type, required, initial, lo, hi, step, words, at, ...)              \
  {#key, FT_##type, required, initial, lo, hi, step, words, at, ID_NOTHING, __VA_ARGS__},
#include "compiler/spec/spec_fields.def"
#undef PIN_FIELD
};
#undef AT

enum { N_PIN = (int)(sizeof own_pin_fields / sizeof *own_pin_fields) };

const Field *
spec_pin_fields(Arena *arena, int *n)
{
  static const FieldType types[] = {
      [SK_INT] = FT_SCHED_INT, [SK_BOOL] = FT_SCHED_BOOL, [SK_ENUM] = FT_SCHED_ENUM};
  const SchedField *list[SCHED_MAX];
  int count = sched_fields(list);
  Field *fields = NEW_N(arena, Field, N_PIN + count);
  memcpy(fields, own_pin_fields, sizeof own_pin_fields);
  for (int i = 0; i < count; i++)
    fields[N_PIN + i] = (Field){.key = list[i]->name,
                                .type = types[list[i]->kind],
                                .lo = list[i]->min,
                                .hi = list[i]->max,
                                .step = 1,
                                .words = list[i]->names,
                                .at = offsetof(Pin, how),
                                .identity = ID_NOTHING,
                                .doc = list[i]->what,
                                .example = list[i]->example};
  *n = N_PIN + count;
  return fields;
}

typedef struct Alias {
  const char *name, *key, *note;
} Alias;

static const Alias spec_aliases[] = {
#define SPEC_ALIAS(name, key, note) {name, key, note},
#include "compiler/spec/spec_fields.def"
#undef SPEC_ALIAS
    {NULL, NULL, NULL}};
static const Alias pin_aliases[] = {
#define PIN_ALIAS(name, key, note) {name, key, note},
#include "compiler/spec/spec_fields.def"
#undef PIN_ALIAS
    {NULL, NULL, NULL}};
static const Alias no_aliases[] = {{NULL, NULL, NULL}};
static const Alias later[] = {
#define SPEC_LATER(name, what) {name, NULL, what},
#include "compiler/spec/spec_fields.def"
#undef SPEC_LATER
    {NULL, NULL, NULL}};
static const Alias sizes[] = {
#define SPEC_SIZE(name, what) {name, NULL, what},
#include "compiler/spec/spec_fields.def"
#undef SPEC_SIZE
    {NULL, NULL, NULL}};

static const Alias *
find_alias(const Alias *table, const char *name)
{
  for (; table->name; table++)
    if (!strcasecmp(table->name, name))
      return table;
  return NULL;
}

static const Field *
find_field(const Field *fields, int n, const char *key)
{
  for (int i = 0; i < n; i++)
    if (!strcasecmp(fields[i].key, key))
      return &fields[i];
  return NULL;
}

/* A set of keys that a map may have. */
typedef struct Keys {
  const Field *fields;
  int n;
  const Alias *aliases;
  const char *where; /* "" or " in `schedule`" */
} Keys;
static const Keys spec_keys = {spec_fields, SPEC_FIELD_COUNT, spec_aliases, ""};

/* ---- unknown keys ---- */

enum {
  MAX_KEYS = SPEC_FIELD_COUNT > N_PIN + SCHED_MAX ? SPEC_FIELD_COUNT : N_PIN + SCHED_MAX
};

static const char *
nearest_key(const Keys *keys, const char *word)
{
  const char *names[MAX_KEYS];
  for (int i = 0; i < keys->n; i++)
    names[i] = keys->fields[i].key;
  return str_nearest(word, names, keys->n);
}

/* A name that others use, or our own in another case. */
static bool
refuse_other_name(SpecLoad *l, const Keys *keys, const DocNode *node, const char *shown)
{
  const Alias *alias = find_alias(keys->aliases, node->key);
  const Field *same = find_field(keys->fields, keys->n, node->key);
  if (!alias && !same)
    return false;
  const char *ours = same ? same->key : alias->key;
  const char *help =
      alias && alias->note ? alias->note : arena_printf(l->arena, "write `%s`", ours);
  spec_fault(l, node->key_place, SE_OTHER_NAME, help, "`%s` is called `%s` here", shown,
             ours);
  return true;
}

/* A key of the other map: schedule fields at the top, spec fields in a schedule. */
static bool
refuse_misplaced(SpecLoad *l, const Keys *keys, const DocNode *node, const char *shown)
{
  const Keys *other = keys == &spec_keys ? l->pin_keys : &spec_keys;
  bool known = find_field(other->fields, other->n, node->key) ||
               find_alias(other->aliases, node->key);
  if (known && other == l->pin_keys)
    spec_fault(l, node->key_place, SE_MISPLACED, "put it under `schedule:`",
               "`%s` is a key of `schedule`", shown);
  else if (known)
    spec_fault(l, node->key_place, SE_MISPLACED, "put it at the top of the spec",
               "`%s` is not a key of `schedule`", shown);
  return known;
}

static void
refuse_key(SpecLoad *l, const Keys *keys, const DocNode *node)
{
  const char *shown = spec_shown(l, node->key);
  if (refuse_other_name(l, keys, node, shown))
    return;
  const Alias *known = find_alias(later, node->key), *size = find_alias(sizes, node->key);
  if (known) {
    spec_fault(l, node->key_place, SE_LATER, NULL, "`%s` (%s) is not in spec version 1",
               shown, known->note);
  } else if (size) {
    spec_fault(l, node->key_place, SE_RUN_TIME, size->note, "`%s` is not part of a spec",
               shown);
  } else if (!refuse_misplaced(l, keys, node, shown)) {
    const char *near = nearest_key(keys, node->key);
    spec_fault(l, node->key_place, SE_UNKNOWN_KEY,
               near ? arena_printf(l->arena, "did you mean `%s`?", near) : NULL,
               "unknown key `%s`%s", shown, keys->where);
  }
}

/* ---- readers, one a type ---- */

typedef void Reader(SpecLoad *, const Field *, const DocNode *, void *to);
static Reader *const readers[FT_COUNT];

/* Each known key is read into `to` + the field's offset; missing ones are reported. */
static void
read_fields(SpecLoad *l, const Keys *keys, const DocNode *map, void *to)
{
  bool seen[MAX_KEYS] = {false};
  for (const DocNode *node = map->first; node; node = node->next) {
    const Field *f = find_field(keys->fields, keys->n, node->key);
    if (!f || !str_eq(f->key, node->key)) {
      refuse_key(l, keys, node);
      if (f) /* in another case: meant, so not missing */
        seen[f - keys->fields] = true;
      continue;
    }
    seen[f - keys->fields] = true;
    l->within = f->key;
    readers[f->type](l, f, node, (char *)to + f->at);
  }
  for (int i = 0; i < keys->n; i++)
    if (keys->fields[i].required && !seen[i])
      spec_fault(l, map->place, SE_MISSING,
                 arena_printf(l->arena, "for example `%s: %s`", keys->fields[i].key,
                              keys->fields[i].example),
                 "`%s` is missing", keys->fields[i].key);
}

static void
read_version(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  const Field any = {.key = f->key, .lo = INT32_MIN, .hi = INT32_MAX, .step = 1};
  int version = 0;
  (void)to; /* a checked spec is of version 1 */
  if (spec_value_int(l, node, &any, &version) && version != 1)
    spec_fault(l, node->place, SE_VERSION, NULL, "unknown spec version %s",
               spec_shown(l, node->text));
}

static void
read_name(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  const char *text = NULL;
  if (!spec_value_text(l, node, &text))
    return;
  size_t n = strlen(text);
  if (n < (size_t)f->lo || n > (size_t)f->hi ||
      strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") != n)
    spec_fault(l, node->place, SE_NAME, "1 to 64 of a-z, 0-9 and `_`",
               "`%s` does not take `%s`", f->key, spec_shown(l, text));
  *(const char **)to = text;
}

static void
read_text(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  (void)f;
  spec_value_text(l, node, to);
}

static void
read_int(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  spec_value_int(l, node, f, to);
}

static void
read_bool(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  (void)f;
  spec_value_bool(l, node, to);
}

enum { MAX_WORDS = 8 };

static int
split_words(SpecLoad *l, const Field *f, const char *words[MAX_WORDS])
{
  int n = 0;
  size_t len;
  for (const char *p; n < MAX_WORDS && (p = spec_word(f, n, &len)); n++)
    words[n] = arena_strndup(l->arena, p, len);
  return n;
}

/* Enumerations are read as the index of the word, which is the enumerator. */
static void
read_enum(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  const char *words[MAX_WORDS];
  int n = split_words(l, f, words), index = 0;
  if (spec_value_word(l, node, words, n, &index))
    *(unsigned *)to = (unsigned)index;
}

/* false, true, or behind them a word of its row. */
static void
read_switch(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  const char *words[SWITCH_WORDS + MAX_WORDS] = {"false", "true"};
  int n = SWITCH_WORDS + split_words(l, f, words + SWITCH_WORDS), index = 0;
  bool on = false;
  if (node->kind == DOC_SCALAR && spec_look(node->text) != LOOK_WORD)
    index = spec_value_bool(l, node, &on) && on;
  else if (!spec_value_word(l, node, words, n, &index))
    return;
  *(unsigned *)to = (unsigned)index;
}

/* The fields of schedules are kept as text. */
static void
read_sched_int(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  int n = 0;
  if (spec_value_int(l, node, f, &n))
    sched_set(to, f->key, arena_printf(l->arena, "%d", n));
}

static void
read_sched_bool(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  bool on = false;
  if (spec_value_bool(l, node, &on))
    sched_set(to, f->key, on ? "true" : "false");
}

static void
read_sched_enum(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  const char *words[MAX_WORDS];
  int n = split_words(l, f, words), index = 0;
  if (spec_value_word(l, node, words, n, &index))
    sched_set(to, f->key, words[index]);
}

/* "`q`, `k`, `v`, `o`": what a map over tensors may have. */
static const char *
typed_names(Arena *a)
{
  Str s = str_new(a);
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    if (tensor_is_typed(i))
      str_printf(&s, "%s`%s`", s.n ? ", " : "", tensor_info[i].name);
  return s.p;
}

static void
refuse_tensor(SpecLoad *l, const Field *f, const DocNode *node)
{
  spec_fault(l, node->key_place, SE_UNKNOWN_KEY,
             arena_printf(l->arena, "the keys are %s", typed_names(l->arena)),
             "unknown key `%s` in `%s`", spec_shown(l, node->key), f->key);
}

static void
read_tensor_map(SpecLoad *l, const Field *f, const DocNode *node, unsigned *to)
{
  bool seen[ATTNC_SLOT_COUNT] = {false};
  for (const DocNode *n = node->first; n; n = n->next) {
    int i = tensor_find(n->key);
    if (i < 0 || !tensor_is_typed(i)) {
      refuse_tensor(l, f, n);
      continue;
    }
    read_enum(l, f, n, &to[i]);
    seen[i] = true;
  }
  for (int i = 0; !f->initial && i < ATTNC_SLOT_COUNT; i++)
    if (tensor_is_typed(i) && !seen[i])
      spec_fault(l, node->key_place, SE_INCOMPLETE,
                 arena_printf(l->arena, "give all of %s", typed_names(l->arena)),
                 "`%s` lacks `%s`", f->key, tensor_info[i].name);
}

/* A word for all tensors that have none of their own, or a map; to[i] is of slot i.  What a
 * map leaves out has the default. */
static void
read_per_tensor(SpecLoad *l, const Field *f, const DocNode *node, void *at)
{
  unsigned *to = at, all = 0;
  if (node->kind == DOC_MAP) {
    read_tensor_map(l, f, node, to);
    return;
  }
  read_enum(l, f, node, &all);
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    to[i] = all;
}

_Static_assert(sizeof(Dtype) == sizeof(unsigned) && sizeof(Layout) == sizeof(unsigned),
               "fields over tensors are arrays of one type");

/* `due` is what it takes, `help` what to write. */
static void
two_of(SpecLoad *l, const Field *f, const DocNode *node, const char *due, const char *help,
       int out[2])
{
  int i = 0;
  if (!spec_value_is(l, node, DOC_LIST, due))
    return;
  if (node->n != 2) {
    spec_fault(l, node->place, SE_LENGTH, help, "`%s` has two elements, not %d", f->key,
               node->n);
    return;
  }
  for (const DocNode *n = node->first; n; n = n->next)
    spec_value_int(l, n, f, &out[i++]);
}

static void
read_window(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  two_of(l, f, node, "`[left, right]`", "write `[left, right]`, -1 for unbounded", to);
}

static void
read_pair(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  two_of(l, f, node, "`[queries, keys]`",
         arena_printf(l->arena, "for example `%s`", f->example), to);
}

static void
read_scale(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  if (!f->initial && node->kind == DOC_SCALAR && str_eq(node->text, "run_time"))
    *(double *)to = SPEC_RUN_TIME;
  else
    spec_value_scale(l, node, f, to);
}

/* Read when the names are known. */
static void
read_names(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  (void)f;
  (void)to;
  l->specialize = node;
}

static void
refuse_constant(SpecLoad *l, const DocNode *n, const char *name, const char *help)
{
  spec_fault(l, n->place, SE_NULL_VALUE, help,
             "`%s` is `run_time`: it has no value that could be a constant", name);
}

/* A number that the spec declares becomes a constant; true: it was one already. */
static bool
make_constant(SpecLoad *l, const DocNode *n, SpecScalar *s)
{
  bool again = s->constant;
  s->constant = true;
  if (isnan(s->initial))
    refuse_constant(l, n, s->name, "give it a number in `scalars`");
  return again;
}

/* Of a field that is the run-time number `name`. */
static void
check_constant(SpecLoad *l, const DocNode *n, const char *name)
{
  if (!spec_has(l->spec, name) && isnan(spec_number(l->spec, name)))
    spec_fault(l, n->place, SE_NEEDS, arena_printf(l->arena, "give `%s` a value", name),
               "the spec has no `%s`", name);
  else if (isnan(spec_number(l->spec, name)))
    refuse_constant(l, n, name, arena_printf(l->arena, "give `%s` a number", name));
}

/* Names of sizes and fields, and of numbers that the spec declares. */
static void
read_specialize(SpecLoad *l)
{
  Spec *s = l->spec;
  int n_words = SPECIALIZE_COUNT + s->scalars.n;
  const char **words = NEW_N(l->arena, const char *, n_words);
  memcpy(words, specialize_names, sizeof specialize_names);
  for (int i = 0; i < s->scalars.n; i++)
    words[SPECIALIZE_COUNT + i] = s->scalars.at[i].name;
  l->within = "specialize";
  if (!l->specialize || !spec_value_is(l, l->specialize, DOC_LIST, "a list of names"))
    return;
  for (const DocNode *n = l->specialize->first; n; n = n->next) {
    int i = 0;
    if (!spec_value_word(l, n, words, n_words, &i))
      continue;
    bool fixed = i < SPECIALIZE_COUNT;
    bool again = fixed ? s->specialize >> i & 1u
                       : make_constant(l, n, &s->scalars.at[i - SPECIALIZE_COUNT]);
    if (i > (int)SPECIALIZE_STRIDES && fixed)
      check_constant(l, n, words[i]);
    if (again)
      spec_fault(l, n->place, SE_REPEATED, NULL, "`%s` is listed twice", words[i]);
    s->specialize |= fixed ? 1u << i : 0;
  }
}

/* Tensors of the call, as bits of the field's words. */
static void
read_tensors(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  const char *words[MAX_WORDS];
  unsigned *listed = to;
  int n = split_words(l, f, words), i = 0;
  if (!spec_value_is(l, node, DOC_LIST, "a list of tensors"))
    return;
  for (const DocNode *x = node->first; x; x = x->next) {
    if (!spec_value_word(l, x, words, n, &i))
      continue;
    if (*listed >> i & 1u)
      spec_fault(l, x->place, SE_REPEATED, NULL, "`%s` is listed twice", words[i]);
    *listed |= 1u << i;
  }
}

/* Read when the names are known. */
static void
read_grads(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  (void)f;
  (void)to;
  l->grad = node;
}

/* Words of the field, and tensors that the spec declares. */
static void
read_grad(SpecLoad *l)
{
  Spec *s = l->spec;
  const Field *f = spec_field("grad");
  const char *words[MAX_WORDS + SPEC_TABLES];
  int n = split_words(l, f, words), i = 0;
  for (int t = 0; t < s->tensors.n; t++)
    words[n++] = s->tensors.at[t].name;
  l->within = f->key;
  if (!l->grad || !spec_value_is(l, l->grad, DOC_LIST, "a list of names"))
    return;
  for (const DocNode *x = l->grad->first; x; x = x->next) {
    if (!spec_value_word(l, x, words, n, &i))
      continue;
    if (s->grad >> i & 1u)
      spec_fault(l, x->place, SE_REPEATED, NULL, "`%s` is listed twice", words[i]);
    s->grad |= 1u << i;
  }
}

static void
read_arch(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  const char *const *names = attnc_targets();
  int i = 0;
  (void)f;
  if (spec_value_word(l, node, names, n_targets, &i))
    *(const char **)to = names[i];
}

/* ---- schedules ---- */

/* Taken for everything that `b` is for. */
static bool
covers(const Pin *a, const Pin *b)
{
  bool arch = !a->arch || (b->arch && str_eq(a->arch, b->arch));
  bool name =
      !a->template_name || (b->template_name && str_eq(a->template_name, b->template_name));
  return arch && name;
}

static void
take_template(SpecLoad *l, const DocNode *node, Pin *p)
{
  const char *name = p->template_name;
  if (name && strlen(name) < SCHED_NAME)
    memcpy(p->how.template_name, name, strlen(name));
  else if (name)
    spec_fault(l, node->place, SE_NAME, "attnc has no template of that name",
               "there is no template `%s`", spec_shown(l, name));
}

/* Reads map i; a faulty one keeps line 0 and is not compared with. */
static void
read_pin(SpecLoad *l, const DocNode *node, Pin *pins, int i)
{
  int before = l->errors;
  if (!spec_value_is(l, node, DOC_MAP, "a map"))
    return;
  read_fields(l, l->pin_keys, node, &pins[i]);
  if (l->errors == before)
    take_template(l, node, &pins[i]);
  if (l->errors == before && !sched_is_set(&pins[i].how))
    spec_fault(l, node->place, SE_PINS_NOTHING, NULL, "a schedule that pins nothing");
  if (l->errors != before)
    return;
  pins[i].place = node->place;
  for (int j = 0; j < i; j++)
    if (pins[j].place.line && covers(&pins[j], &pins[i])) {
      spec_fault(l, node->place, SE_SHADOWED, NULL,
                 "never taken: the schedule on line %d fits whenever this one does",
                 pins[j].place.line);
      return;
    }
}

static void
read_pins(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  if (node->kind == DOC_BAD)
    return;
  bool list = node->kind == DOC_LIST;
  if (!list && !spec_value_is(l, node, DOC_MAP, "a map or a list of maps"))
    return;
  if (list && !node->n)
    spec_fault(l, node->place, SE_LENGTH, "remove it to leave everything to tuning",
               "`%s` is an empty list", f->key);
  int n = list ? node->n : 1, i = 0;
  Pin *pins = NEW_N(l->arena, Pin, n);
  const DocNode *each = list ? node->first : node;
  for (; i < n; i++, each = each->next) {
    l->within = f->key;
    read_pin(l, each, pins, i);
  }
  *(const Pin **)to = pins;
  l->spec->n_pins = n;
}

/* ---- what expressions read ---- */

static const Keys table_keys = {spec_table_fields, SPEC_TABLE_FIELD_COUNT, no_aliases,
                                " of a tensor"};

/* `kv/32` is the name before the slash, and the number behind it; false, reported: there is
 * no such number. */
static bool
axis_parts(SpecLoad *l, DocNode *node, int *by)
{
  const char *slash = node->kind == DOC_SCALAR ? strchr(node->text, '/') : NULL;
  char *end;
  if (!slash)
    return true;
  long n = slash[1] >= '1' && slash[1] <= '9' ? strtol(slash + 1, &end, 10) : 0;
  if (n < 2 || n > SIZE_LIMIT || *end) {
    spec_fault(l, node->place, SE_RANGE, "for example `kv/32`, of 32 keys an element",
               "a size of `axes` is divided by 2 to %d, which `%s` is not", (int)SIZE_LIMIT,
               spec_shown(l, node->text));
    return false;
  }
  if (slash > node->text && node->text[0] == 't') {
    spec_fault(l, node->place, SE_RANGE, "for example `kv/32`",
               "packed axes have no blocks, `%s`", spec_shown(l, node->text));
    return false;
  }
  *by = (int)n;
  node->text = arena_strndup(l->arena, node->text, (size_t)(slash - node->text));
  return true;
}

static void
read_axis(SpecLoad *l, const Field *f, const DocNode *node, SpecAxis *to)
{
  static const SizeId sizes_of[] = {SIZE_B,  SIZE_H,       SIZE_HK,     SIZE_SQ,
                                    SIZE_SK, SIZE_TOTAL_Q, SIZE_TOTAL_K};
  const char *words[MAX_WORDS];
  int n = split_words(l, f, words), i = 0, by = 0;
  DocNode size = *node;
  if (node->kind == DOC_SCALAR && spec_look(node->text) != LOOK_WORD)
    spec_value_int(l, node, f, &to->n);
  else if (axis_parts(l, &size, &by) && spec_value_word(l, &size, words, n, &i))
    *to = (SpecAxis){.name = words[i], .size = sizes_of[i], .by = by};
}

static void
read_axes(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  SpecAxes *axes = to;
  if (!spec_value_is(l, node, DOC_LIST, "a list of axes"))
    return;
  if (node->n < 1 || node->n > EXPR_AXES) {
    spec_fault(l, node->place, SE_LENGTH, "for example `[b, kv]`",
               "`%s` has 1 to %d elements, not %d", f->key, EXPR_AXES, node->n);
    return;
  }
  for (const DocNode *n = node->first; n; n = n->next)
    read_axis(l, f, n, &axes->at[axes->n++]);
}

/* The named values of a map, at most `most`; false: it is none. */
static bool
is_declaration(SpecLoad *l, const Field *f, const DocNode *node, int most, const char *due)
{
  if (!spec_value_is(l, node, DOC_MAP, due))
    return false;
  if (node->n >= 1 && node->n <= most)
    return true;
  spec_fault(l, node->place, SE_LENGTH, "remove it, or declare what expressions read",
             "`%s` has 1 to %d names, not %d", f->key, most, node->n);
  return false;
}

static void
read_tables(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  SpecTables *tables = to;
  if (!is_declaration(l, f, node, SPEC_TABLES, "a map of names"))
    return;
  SpecTable *at = NEW_N(l->arena, SpecTable, node->n);
  tables->at = at;
  for (const DocNode *n = node->first; n; n = n->next) {
    l->within = f->key;
    if (!spec_name_is_free(l, n) || !spec_value_is(l, n, DOC_MAP, "a map"))
      continue;
    at[tables->n].name = n->key;
    at[tables->n].slot = ATTNC_SLOT_COUNT + tables->n;
    read_fields(l, &table_keys, n, &at[tables->n++]);
  }
}

static void
read_scalars(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  SpecScalars *scalars = to;
  if (!is_declaration(l, f, node, SPEC_SCALARS, "a map of names and numbers"))
    return;
  SpecScalar *at = NEW_N(l->arena, SpecScalar, node->n);
  scalars->at = at;
  for (const DocNode *n = node->first; n; n = n->next) {
    if (!spec_name_is_free(l, n))
      continue;
    SpecScalar *s = &at[scalars->n];
    *s = (SpecScalar){
        .name = n->key, .initial = NAN, .slot = ATTNC_SCALAR_COUNT + scalars->n++};
    if (n->kind != DOC_SCALAR || !str_eq(n->text, "run_time"))
      spec_value_real(l, n, &s->initial);
  }
}

/* Read when the names are known. */
static void
read_exprs(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  (void)f;
  *(to == &l->spec->own_mask ? &l->mask_mod : &l->score_mod) = node;
}

static const Keys bias_keys = {spec_bias_fields, SPEC_BIAS_FIELD_COUNT, no_aliases,
                               " of `bias`"};

/* Sizes of the call but hk, in the order of a score's axes. */
static void
check_bias(SpecLoad *l, const DocNode *node, const SpecAxes *axes)
{
  static const int order[SIZE_COUNT] = {
      [SIZE_B] = 1,  [SIZE_H] = 2,       [SIZE_SQ] = 3,
      [SIZE_SK] = 4, [SIZE_TOTAL_Q] = 3, [SIZE_TOTAL_K] = 4};
  int before = 0;
  bool good = true;
  for (int i = 0; i < axes->n; i++) {
    const SpecAxis *a = &axes->at[i];
    good = good && a->name && !a->by && order[a->size] > before;
    before = order[a->size];
  }
  if (!good)
    spec_fault(l, node->place, SE_WORD, "for example `[h, q, kv]`",
               "the axes of `bias` are some of b, h, q or tq, kv or tk, in this order");
}

static void
read_bias(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  SpecBias *b = to;
  int before = l->errors;
  (void)f;
  if (!spec_value_is(l, node, DOC_MAP, "`{axes: […], dtype: …}`"))
    return;
  read_fields(l, &bias_keys, node, b);
  for (const DocNode *n = node->first; n && l->errors == before; n = n->next)
    if (str_eq(n->key, "axes"))
      check_bias(l, n, &b->axes);
}

static const Keys blocks_keys = {spec_blocks_fields, SPEC_BLOCKS_FIELD_COUNT, no_aliases,
                                 " of `block_list`"};

static void
read_blocks(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  (void)f;
  if (spec_value_is(l, node, DOC_MAP, "`{block: [queries, keys]}`"))
    read_fields(l, &blocks_keys, node, to);
}

static const Keys rope_keys = {spec_rope_fields, SPEC_ROPE_FIELD_COUNT, no_aliases,
                               " of `rope`"};

static void
read_rope(SpecLoad *l, const Field *f, const DocNode *node, void *to)
{
  (void)f;
  if (spec_value_is(l, node, DOC_MAP, "`{dim: 64, interleaved: false}`"))
    read_fields(l, &rope_keys, node, to);
}

/* When head_dim is known. */
static void
check_rope(SpecLoad *l, const DocNode *rope)
{
  const Spec *s = l->spec;
  for (const DocNode *n = rope && rope->kind == DOC_MAP ? rope->first : NULL; n;
       n = n->next)
    if (str_eq(n->key, "dim") && s->head_dim && s->rope.dim > s->head_dim)
      spec_fault(l, n->place, SE_RANGE, "a part of the head, or all of it",
                 "`rope` of %d elements, and head_dim is %d", s->rope.dim, s->head_dim);
}

static Reader *const readers[FT_COUNT] = {
    [FT_VERSION] = read_version,
    [FT_NAME] = read_name,
    [FT_TEXT] = read_text,
    [FT_DTYPES] = read_per_tensor,
    [FT_INT] = read_int,
    [FT_BOOL] = read_bool,
    [FT_SWITCH] = read_switch,

    [FT_ENUM] = read_enum,
    [FT_WINDOW] = read_window,
    [FT_SCALE] = read_scale,
    [FT_LAYOUTS] = read_per_tensor,
    [FT_NAMES] = read_names,
    [FT_PINS] = read_pins,
    [FT_EXPRS] = read_exprs,
    [FT_TABLES] = read_tables,
    [FT_SCALARS] = read_scalars,
    [FT_AXES] = read_axes,
    [FT_BIAS] = read_bias,
    [FT_BLOCKS] = read_blocks,
    [FT_ROPE] = read_rope,
    [FT_PAIR] = read_pair,
    [FT_TENSORS] = read_tensors,
    [FT_GRADS] = read_grads,
    [FT_ARCH] = read_arch,
    [FT_SCHED_INT] = read_sched_int,
    [FT_SCHED_BOOL] = read_sched_bool,
    [FT_SCHED_ENUM] = read_sched_enum,
};

/* ---- defaults ---- */

/* What a field is before it is read: 0 but where the type says otherwise. */
static void
initialise(const Field *f, void *at)
{
  int *pair = at;
  size_t n;
  switch (f->type) {
  case FT_NAME:
  case FT_TEXT:
    *(const char **)at = "";
    break;
  case FT_SCALE:
    *(double *)at = NAN;
    break;
  case FT_WINDOW:
    pair[0] = pair[1] = -1;
    break;
  case FT_BOOL:
    *(bool *)at = str_eq(f->initial, "true");
    break;
  case FT_ENUM:
    for (unsigned i = 0; spec_word(f, (int)i, &n); i++)
      if (strlen(f->initial) == n && !strncmp(f->initial, spec_word(f, (int)i, &n), n))
        *(unsigned *)at = i;
    break;
  default:
    break;
  }
}

/* An integer whose default is another field has that one's value. */
static void
take_defaults(Spec *s)
{
  for (int i = 0; i < SPEC_FIELD_COUNT; i++) {
    const Field *f = &spec_fields[i];
    const Field *from =
        f->initial ? find_field(spec_fields, SPEC_FIELD_COUNT, f->initial) : NULL;
    int *at = (int *)(void *)((char *)s + f->at);
    if (f->type == FT_INT && from && !*at)
      *at = *(const int *)(const void *)((const char *)s + from->at);
  }
}

/* ---- the whole ---- */

static const DocNode *
value_of(const DocNode *map, const char *key)
{
  for (const DocNode *n = map->first; n; n = n->next)
    if (str_eq(n->key, key))
      return n;
  return NULL;
}

/* Legal, and surely not what was meant. */
static void
warn(SpecLoad *l, const DocNode *root)
{
  const Spec *s = l->spec;
  const DocNode *align = value_of(root, "align"), *window = value_of(root, "window");
  bool bounded = s->window[0] >= 0 || s->window[1] >= 0;
  if (align && s->align == ALIGN_TOP_LEFT && !s->causal && !bounded && !s->attention_chunk)
    spec_warn(l, align->key_place, SE_ALIGN_UNUSED, NULL,
              "`align` has no effect without `causal`, `window` or `attention_chunk`");
  if (window && s->causal && !s->prefix_len && s->window[1] > 0)
    spec_warn(l, window->place, SE_WINDOW_UNUSED, "write 0 for the right bound",
              "`causal` hides the keys to the right that the window lets in");
}

static void
check_needs(SpecLoad *l, const DocNode *root)
{
  for (const DocNode *n = root->first; n; n = n->next) {
    const Field *other = spec_field_needs(n->key);
    if (other && spec_has(l->spec, n->key) && !spec_has(l->spec, other->key))
      spec_fault(l, n->key_place, SE_NEEDS,
                 arena_printf(l->arena, "add `%s: %s`", other->key, other->example),
                 "`%s` has no meaning without `%s`", n->key, other->key);
  }
}

static void
check_o_lo(SpecLoad *l, const DocNode *n)
{
  if (n && l->spec->return_o_lo && l->spec->dtype[ATTNC_O] == DT_F32)
    spec_fault(l, n->key_place, SE_NEEDS, "o of 16 bits has what rounding left out",
               "`%s` has no meaning where o is fp32", n->key);
}

void
spec_check_document(SpecLoad *l, const DocNode *root)
{
  Spec *s = l->spec;
  for (int i = 0; i < SPEC_FIELD_COUNT; i++)
    initialise(&spec_fields[i], (char *)s + spec_fields[i].at);
  if (root->kind == DOC_SCALAR && !*root->text) {
    spec_fault(l, (Place){0, 0, 1}, SE_EMPTY, NULL, "the document is empty");
    return;
  }
  if (root->kind != DOC_MAP) {
    if (root->kind != DOC_BAD)
      spec_fault(l, root->place, SE_NOT_A_MAP, NULL, "a spec is a map of `key: value`");
    return;
  }
  int n_pin;
  const Field *pins = spec_pin_fields(l->arena, &n_pin);
  const Keys pin_keys = {pins, n_pin, pin_aliases, " in `schedule`"};
  l->pin_keys = &pin_keys;
  read_fields(l, &spec_keys, root, s);
  l->pin_keys = NULL;
  take_defaults(s);
  read_specialize(l);
  read_grad(l);
  check_needs(l, root);
  spec_check_seqlens(l, root);
  check_rope(l, value_of(root, "rope"));
  check_o_lo(l, value_of(root, "return_o_lo"));
  if (!l->errors)
    warn(l, root);
  spec_read_exprs(l);
}
