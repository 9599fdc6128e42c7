#include "runtime/recipe.h"

#include "base/err.h"
#include "base/str.h"
#include "runtime/recipe_read.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 16 << 20, MAX_SUM = 16 };

const char *const size_names[SIZE_COUNT] = {
#define X(name) #name,
  RECIPE_SIZE_TABLE(X)
#undef X
};

int64_t
size_get(const attnc_sizes *s, SizeId id)
{
  switch (id) {
#define X(name)                                                                          \
  case SIZE_##name:                                                                      \
    return s->name;
    RECIPE_SIZE_TABLE(X)
#undef X
  case SIZE_COUNT:
    break;
  }
  return 0;
}

/* ---- axes ---- */

static bool
term_value(const Term *t, const attnc_sizes *s, int sms, int64_t *out)
{
  int64_t least = INT64_MAX, one;
  switch (t->kind) {
  case TERM_CONST:
    *out = t->value;
    return true;
  case TERM_SIZE:
    *out = size_get(s, t->size);
    return true;
  case TERM_CEIL_DIV:
    one = size_get(s, t->size);
    *out = one / t->value + (one % t->value != 0);
    return true;
  case TERM_SMS:
    *out = sms;
    return true;
  case TERM_MIN:
    for (int i = 0; i < t->n_of; i++) {
      if (!axis_value(&t->of[i], s, sms, &one))
        return false;
      least = one < least ? one : least;
    }
    *out = least;
    return true;
  }
  return false;
}

bool
axis_value(const Axis *a, const attnc_sizes *s, int sms, int64_t *out)
{
  int64_t product = 1, factor;
  for (int i = 0; i < a->n; i++)
    if (!term_value(&a->terms[i], s, sms, &factor) ||
        __builtin_mul_overflow(product, factor, &product))
      return false;
  *out = product;
  return true;
}

/* ---- tensors, scalars, requirements, workspace ---- */

static attnc_status
read_tensor(Reader *rd, json_t *v)
{
  static const char *const keys[] = { "name", "slot", "dtype", "access", NULL };
  static const struct {
    const char *name;
    int bytes;
  } dtypes[] = { { "fp16", 2 }, { "bf16", 2 }, { "fp32", 4 } };
  const char *name = NULL, *dtype = NULL, *access = NULL;
  int slot = 0, bytes = 0;
  TRY(read_object(rd, v, keys));
  TRY(read_text(rd, v, "name", &name));
  TRY(read_text(rd, v, "dtype", &dtype));
  TRY(read_text(rd, v, "access", &access));
  TRY(read_int(rd, v, "slot", 0, RECIPE_SLOTS - 1, &slot));
  for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
    if (!strcmp(dtype, dtypes[i].name))
      bytes = dtypes[i].bytes;
  if (!bytes)
    return read_bad(rd, "unknown dtype '%.40s'", dtype);
  if (strcmp(access, "in") && strcmp(access, "out"))
    return read_bad(rd, "'access': in or out is due");
  if (rd->r->tensors[slot].name)
    return read_bad(rd, "slot %d is taken", slot);
  rd->r->tensors[slot] =
      (RecipeTensor){ .name = name, .bytes = bytes, .out = access[0] == 'o' };
  if (slot >= rd->r->n_slots)
    rd->r->n_slots = slot + 1;
  return ATTNC_OK;
}

static attnc_status
read_tensors(Reader *rd, json_t *list)
{
  TRY(read_array(rd, list, "tensors", 1, RECIPE_SLOTS));
  for (size_t i = 0; i < json_array_size(list); i++) {
    snprintf(rd->at, sizeof rd->at, "tensors[%zu]", i);
    TRY(read_tensor(rd, json_array_get(list, i)));
  }
  rd->at[0] = 0;
  return ATTNC_OK;
}

static attnc_status
read_scalar(Reader *rd, json_t *v)
{
  static const char *const keys[] = { "name", "slot", "default", "positive", NULL };
  const char *name = NULL;
  int slot = 0;
  json_t *initial = json_object_get(v, "default");
  TRY(read_object(rd, v, keys));
  TRY(read_text(rd, v, "name", &name));
  TRY(read_int(rd, v, "slot", 0, RECIPE_SCALARS - 1, &slot));
  json_t *positive = json_object_get(v, "positive");
  if (!json_is_number(initial))
    return read_bad(rd, "'default': a number is due");
  if (positive && !json_is_boolean(positive))
    return read_bad(rd, "'positive': true or false is due");
  if (rd->r->scalars[slot].name)
    return read_bad(rd, "slot %d is taken", slot);
  rd->r->scalars[slot] =
      (RecipeScalar){ .name = name, .initial = (float)json_number_value(initial),
                      .positive = json_is_true(positive) };
  return ATTNC_OK;
}

static attnc_status
read_scalars(Reader *rd, json_t *list)
{
  TRY(read_array(rd, list, "scalars", 0, RECIPE_SCALARS));
  for (size_t i = 0; i < json_array_size(list); i++) {
    snprintf(rd->at, sizeof rd->at, "scalars[%zu]", i);
    TRY(read_scalar(rd, json_array_get(list, i)));
  }
  rd->at[0] = 0;
  return ATTNC_OK;
}

static attnc_status
read_fixed_sizes(Reader *rd, json_t *v)
{
  const char *key;
  json_t *value;
  if (!json_is_object(v))
    return read_bad(rd, "'sizes': an object is due");
  json_object_foreach(v, key, value)
  {
    int i = read_name(key, size_names, SIZE_COUNT);
    if (i < 0)
      return read_bad(rd, "'sizes': unknown size '%.40s'", key);
    TRY(read_int_in(rd, value, key, 0, INT64_MAX, &rd->r->sizes[i]));
  }
  return ATTNC_OK;
}

static int
slot_named(const Recipe *r, const char *name)
{
  for (int i = 0; i < r->n_slots; i++)
    if (r->tensors[i].name && !strcmp(r->tensors[i].name, name))
      return i;
  return -1;
}

static attnc_status
read_fixed_strides(Reader *rd, json_t *v)
{
  const char *key;
  json_t *value;
  if (!json_is_object(v))
    return read_bad(rd, "'strides': an object is due");
  json_object_foreach(v, key, value)
  {
    int slot = slot_named(rd->r, key);
    if (slot < 0)
      return read_bad(rd, "'strides': no tensor '%.40s'", key);
    TRY(read_array(rd, value, key, 5, 5));
    rd->r->has_strides[slot] = true;
    for (size_t i = 0; i < 5; i++)
      TRY(read_int_in(rd, json_array_get(value, i), key, INT64_MIN, INT64_MAX,
                 &rd->r->strides[slot][i]));
  }
  return ATTNC_OK;
}

/* Constants of the kernel that were scalars: by slot, so that a caller who passes another
 * value is told. */
static attnc_status
read_fixed_scalars(Reader *rd, json_t *v)
{
  static const char *const names[] = { "softmax_scale" };
  const char *key;
  json_t *value;
  if (!json_is_object(v))
    return read_bad(rd, "'scalars': an object is due");
  json_object_foreach(v, key, value)
  {
    int slot = read_name(key, names, 1);
    if (slot < 0 || !json_is_number(value) || rd->r->scalars[slot].name)
      return read_bad(rd, "'scalars': '%.40s' is not a constant here", key);
    rd->r->scalars[slot] = (RecipeScalar){ .name = names[slot],
                                           .initial = (float)json_number_value(value),
                                           .fixed = true };
  }
  return ATTNC_OK;
}

static attnc_status
read_requires(Reader *rd, json_t *v)
{
  static const char *const keys[] = { "align",   "group_size", "sizes", "max_size",
                                      "strides", "scalars",    NULL };
  Recipe *r = rd->r;
  json_t *part;
  snprintf(rd->at, sizeof rd->at, "requires");
  TRY(read_object(rd, v, keys));
  TRY(read_int(rd, v, "align", 1, 4096, &r->align));
  if ((part = json_object_get(v, "group_size")))
    TRY(read_int_in(rd, part, "group_size", 0, INT_MAX, &r->group_size));
  if ((part = json_object_get(v, "max_size")))
    TRY(read_int_in(rd, part, "max_size", 0, INT64_MAX, &r->max_size));
  if ((part = json_object_get(v, "sizes")))
    TRY(read_fixed_sizes(rd, part));
  if ((part = json_object_get(v, "strides")))
    TRY(read_fixed_strides(rd, part));
  if ((part = json_object_get(v, "scalars")))
    TRY(read_fixed_scalars(rd, part));
  rd->at[0] = 0;
  return ATTNC_OK;
}

static attnc_status
read_workspace(Reader *rd, json_t *v)
{
  static const char *const keys[] = { "product", NULL };
  snprintf(rd->at, sizeof rd->at, "workspace");
  size_t n = json_array_size(v);
  bool none = json_is_integer(v) && json_integer_value(v) == 0;
  if (!none)
    TRY(read_array(rd, v, "workspace", 0, MAX_SUM));
  Axis *sum = NEW_N(rd->r->arena, Axis, n);
  if (!sum)
    return read_no_memory(rd);
  for (size_t i = 0; i < n; i++) {
    json_t *one = json_array_get(v, i);
    TRY(read_object(rd, one, keys));
    TRY(read_product(rd, json_object_get(one, "product"), 0, &sum[i]));
  }
  rd->r->workspace = sum;
  rd->r->n_workspace = (int)n;
  rd->at[0] = 0;
  return ATTNC_OK;
}

/* ---- steps ---- */

static attnc_status
param_slot(Reader *rd, json_t *v, Param *p)
{
  int64_t slot = 0;
  TRY(read_int_in(rd, v, "slot", 0, RECIPE_SLOTS - 1, &slot));
  if (!rd->r->tensors[slot].name)
    return read_bad(rd, "no tensor in slot %d", (int)slot);
  p->slot = (int)slot;
  return ATTNC_OK;
}

static attnc_status
param_stride(Reader *rd, json_t *v, Param *p)
{
  int64_t dim = 0;
  TRY(read_array(rd, v, "stride", 2, 2));
  TRY(read_int_in(rd, json_array_get(v, 1), "dim", 0, 4, &dim));
  p->dim = (int)dim;
  return param_slot(rd, json_array_get(v, 0), p);
}

static attnc_status
param_scalar(Reader *rd, json_t *v, Param *p)
{
  int64_t slot = 0;
  TRY(read_int_in(rd, v, "scalar", 0, RECIPE_SCALARS - 1, &slot));
  if (!rd->r->scalars[slot].name || rd->r->scalars[slot].fixed)
    return read_bad(rd, "no scalar in slot %d", (int)slot);
  p->slot = (int)slot;
  return ATTNC_OK;
}

static attnc_status
param_size(Reader *rd, json_t *v, Param *p)
{
  return read_size(rd, v, &p->size);
}

static attnc_status
param_workspace(Reader *rd, json_t *v, Param *p)
{
  return read_int_in(rd, v, "workspace", 0, INT64_MAX, &p->offset);
}

/* Key, kind, reader, types allowed. */
static const struct {
  const char *key;
  ParamKind kind;
  attnc_status (*read)(Reader *, json_t *, Param *);
  unsigned types;
} param_kinds[] = {
  { "tensor", PARAM_TENSOR, param_slot, 1u << PARAM_PTR },
  { "workspace", PARAM_WORKSPACE, param_workspace, 1u << PARAM_PTR },
  { "stride", PARAM_STRIDE, param_stride, 1u << PARAM_I64 | 1u << PARAM_I32 },
  { "size", PARAM_SIZE, param_size, 1u << PARAM_I64 | 1u << PARAM_I32 },
  { "scalar", PARAM_SCALAR, param_scalar, 1u << PARAM_F32 },
};

static attnc_status
read_param(Reader *rd, json_t *v, Param *p)
{
  static const char *const types[] = { "ptr", "i64", "i32", "f32" };
  int type = read_name(json_string_value(json_object_get(v, "type")), types, 4);
  if (type < 0)
    return read_bad(rd, "'type': ptr, i64, i32 or f32 is due");
  if (json_object_size(v) != 2)
    return read_bad(rd, "'type' and one source are due");
  p->type = (ParamType)type;
  for (size_t i = 0; i < sizeof param_kinds / sizeof *param_kinds; i++) {
    json_t *of = json_object_get(v, param_kinds[i].key);
    if (!of)
      continue;
    if (!(param_kinds[i].types >> type & 1))
      return read_bad(rd, "'%s' cannot be %s", param_kinds[i].key, types[type]);
    p->kind = param_kinds[i].kind;
    return param_kinds[i].read(rd, of, p);
  }
  return read_bad(rd, "unknown source");
}

static attnc_status
read_params(Reader *rd, json_t *list, int step, Launch *l)
{
  TRY(read_array(rd, list, "params", 0, (size_t)(RECIPE_PARAMS - rd->r->n_params)));
  int n = (int)json_array_size(list);
  Param *params = NEW_N(rd->r->arena, Param, n);
  if (!params)
    return read_no_memory(rd);
  for (int i = 0; i < n; i++) {
    snprintf(rd->at, sizeof rd->at, "steps[%d].launch.params[%d]", step, i);
    TRY(read_param(rd, json_array_get(list, (size_t)i), &params[i]));
  }
  l->params = params;
  l->n_params = n;
  rd->r->n_params += n;
  return ATTNC_OK;
}

static attnc_status
read_block(Reader *rd, json_t *list, const char *what, int64_t hi, unsigned out[3])
{
  int64_t v = 0, all = 1;
  TRY(read_array(rd, list, what, 3, 3));
  for (size_t i = 0; i < 3; i++) {
    TRY(read_int_in(rd, json_array_get(list, i), what, 1, hi, &v));
    out[i] = (unsigned)v;
    all *= v;
  }
  if (all > hi)
    return read_bad(rd, "'%s': more than %d in all", what, (int)hi);
  return ATTNC_OK;
}

static attnc_status
read_grid(Reader *rd, json_t *list, Launch *l)
{
  TRY(read_array(rd, list, "grid", 3, 3));
  for (size_t i = 0; i < 3; i++)
    TRY(read_axis(rd, json_array_get(list, i), 0, &l->grid[i]));
  return ATTNC_OK;
}

static attnc_status
read_launch(Reader *rd, json_t *v, int step, Launch *l)
{
  static const char *const keys[] = { "entry", "params",  "grid", "block",
                                      "cluster", "shared", NULL };
  json_t *cluster = json_object_get(v, "cluster");
  unsigned clusters[3] = { 1, 1, 1 };
  int shared = 0;
  snprintf(rd->at, sizeof rd->at, "steps[%d].launch", step);
  TRY(read_object(rd, v, keys));
  TRY(read_text(rd, v, "entry", &l->entry));
  if (!*l->entry || strlen(l->entry) >= RECIPE_ENTRY)
    return read_bad(rd, "'entry': a name is due");
  TRY(read_grid(rd, json_object_get(v, "grid"), l));
  TRY(read_block(rd, json_object_get(v, "block"), "block", 1024, l->block));
  if (cluster)
    TRY(read_block(rd, cluster, "cluster", 16, clusters));
  if (clusters[0] * clusters[1] * clusters[2] != 1)
    return err_set(rd->e, ATTNC_ERR_UNSUPPORTED,
                   "kernel recipe: clusters need a later version of attnc");
  TRY(read_int(rd, v, "shared", 0, INT_MAX, &shared));
  l->shared = (unsigned)shared;
  return read_params(rd, json_object_get(v, "params"), step, l);
}

static attnc_status
read_memset(Reader *rd, json_t *v, int step, Memset *m)
{
  static const char *const keys[] = { "workspace", "bytes", "value", NULL };
  int value = 0;
  snprintf(rd->at, sizeof rd->at, "steps[%d].memset", step);
  TRY(read_object(rd, v, keys));
  TRY(read_int_in(rd, json_object_get(v, "workspace"), "workspace", 0, INT64_MAX, &m->offset));
  TRY(read_int(rd, v, "value", 0, 255, &value));
  m->value = (unsigned char)value;
  return read_axis(rd, json_object_get(v, "bytes"), 0, &m->bytes);
}

static attnc_status
read_step(Reader *rd, json_t *v, int i, Step *s)
{
  json_t *launch = json_object_get(v, "launch"), *set = json_object_get(v, "memset");
  if (json_object_size(v) != 1 || (!launch && !set))
    return read_bad(rd, "launch or memset is due");
  s->is_launch = launch != NULL;
  return launch ? read_launch(rd, launch, i, &s->launch)
                : read_memset(rd, set, i, &s->memset);
}

static attnc_status
read_steps(Reader *rd, json_t *list)
{
  TRY(read_array(rd, list, "steps", 1, RECIPE_STEPS));
  rd->r->n_steps = (int)json_array_size(list);
  rd->r->steps = NEW_N(rd->r->arena, Step, rd->r->n_steps);
  if (!rd->r->steps)
    return read_no_memory(rd);
  for (int i = 0; i < rd->r->n_steps; i++) {
    snprintf(rd->at, sizeof rd->at, "steps[%d]", i);
    TRY(read_step(rd, json_array_get(list, (size_t)i), i, &rd->r->steps[i]));
  }
  rd->at[0] = 0;
  return ATTNC_OK;
}

/* ---- the whole ---- */

/* "sm_90a": 90 */
static attnc_status
read_target(Reader *rd, json_t *root)
{
  Recipe *r = rd->r;
  json_t *exact = json_object_get(root, "exact");
  char *end;
  TRY(read_text(rd, root, "target", &r->target));
  long cc = str_starts(r->target, "sm_") ? strtol(r->target + 3, &end, 10) : 0;
  if (cc < 10 || cc > 9999)
    return read_bad(rd, "'target': sm_NN is due");
  if (!json_is_boolean(exact))
    return read_bad(rd, "'exact': true or false is due");
  r->cc = (int)cc;
  r->exact = json_is_true(exact);
  return read_int(rd, root, "min_driver", 0, INT_MAX, &r->min_driver);
}

static attnc_status
read_root(Reader *rd, json_t *root)
{
  Recipe *r = rd->r;
  const char *schema = NULL;
  if (!json_is_object(root))
    return read_bad(rd, "an object is due");
  TRY(read_text(rd, root, "schema", &schema));
  if (!str_eq(schema, "attnc.kernel/1"))
    return err_set(rd->e, ATTNC_ERR_UNSUPPORTED,
                   "kernel recipe: schema '%.60s' is not attnc.kernel/1", schema);
  TRY(read_text(rd, root, "name", &r->name));
  TRY(read_text(rd, root, "op", &r->op));
  TRY(read_text(rd, root, "ptx_sha256", &r->ptx_sha256));
  TRY(read_target(rd, root));
  TRY(read_tensors(rd, json_object_get(root, "tensors")));
  TRY(read_scalars(rd, json_object_get(root, "scalars")));
  TRY(read_requires(rd, json_object_get(root, "requires")));
  TRY(read_workspace(rd, json_object_get(root, "workspace")));
  return read_steps(rd, json_object_get(root, "steps"));
}

static Recipe *
recipe_new(void)
{
  Arena *arena = arena_new(0);
  Recipe *r = arena ? NEW(arena, Recipe) : NULL;
  if (!r) {
    arena_free(arena);
    return NULL;
  }
  r->arena = arena;
  for (int i = 0; i < SIZE_COUNT; i++)
    r->sizes[i] = -1;
  r->max_size = INT64_MAX;
  return r;
}

attnc_status
recipe_parse(const char *text, size_t n, Recipe **out, attnc_error *e)
{
  json_error_t why;
  Recipe *r = recipe_new();
  if (!r)
    return err_set(e, ATTNC_ERR_NOMEM, "kernel recipe: out of memory");
  Reader rd = { .r = r, .e = e };
  attnc_status status;
  r->json = n <= MAX_TEXT ? json_loadb(text, n, JSON_REJECT_DUPLICATES, &why) : NULL;
  if (n > MAX_TEXT)
    status = read_bad(&rd, "larger than %d bytes", MAX_TEXT);
  else if (!r->json)
    status = read_bad(&rd, "line %d: %s", why.line, why.text);
  else
    status = read_root(&rd, r->json);
  if (status != ATTNC_OK) {
    recipe_free(r);
    return status;
  }
  *out = r;
  return ATTNC_OK;
}

void
recipe_free(Recipe *r)
{
  if (!r)
    return;
  json_decref(r->json);
  arena_free(r->arena);
}
