#include "runtime/recipe.h"

#include "base/err.h"
#include "base/str.h"
#include "runtime/recipe_read.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 16 << 20 };

/* ---- tensors, scalars, requirements, workspace ---- */

static attnc_status
read_axes(Reader *rd, json_t *list, CallTensor *t)
{
  TRY(read_array(rd, list, "axes", 1, CALL_STRIDES));
  t->n_axes = (int)json_array_size(list);
  for (int i = 0; i < t->n_axes; i++) {
    json_t *v = json_array_get(list, (size_t)i);
    if (!json_is_string(v))
      TRY(read_int_in(rd, v, "axes", 1, INT_MAX, &t->axes[i].n));
    else if (!axis_read(json_string_value(v), json_string_length(v), &t->axes[i]))
      return read_bad(rd, "expected a size: one of the call's, b+1, sk/32");
  }
  return ATTNC_OK;
}

static attnc_status
read_tensor(Reader *rd, json_t *v)
{
  static const char *const keys[] = {"name", "slot",       "dtype", "access",
                                     "axes", "contiguous", "align", NULL};
  CallTensor t = {0};
  const char *dtype = NULL, *access = NULL;
  TRY(read_object(rd, v, keys));
  TRY(read_text(rd, v, "name", &t.name));
  TRY(read_text(rd, v, "dtype", &dtype));
  TRY(read_text(rd, v, "access", &access));
  TRY(read_int(rd, v, "slot", 0, RECIPE_SLOTS - 1, &t.slot));
  TRY(read_int(rd, v, "align", 1, 4096, &t.align));
  TRY(read_bool(rd, v, "contiguous", &t.contiguous));
  TRY(read_axes(rd, json_object_get(v, "axes"), &t));
  int type = dtype_find(dtype), way = read_name(access, access_names, ACCESS_INOUT + 1);
  if (type < 0)
    return read_bad(rd, "unknown dtype '%.40s'", dtype);
  if (way < ACCESS_IN)
    return read_bad(rd, "'access': expected in, out or inout");
  if (rd->r->tensors[t.slot].name)
    return read_bad(rd, "slot %d is taken", t.slot);
  t.dtype = (Dtype)type;
  t.access = (Access)way;
  rd->r->tensors[t.slot] = t;
  if (t.slot >= rd->r->n_slots)
    rd->r->n_slots = t.slot + 1;
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

/* A constant of the kernel has its slot too, so that a caller who passes another value is
 * told. */
static attnc_status
read_scalar(Reader *rd, json_t *v)
{
  static const char *const keys[] = {"name",  "slot",     "default", "positive",
                                     "share", "constant", NULL};
  RecipeScalar s = {0};
  bool positive = false, share = false;
  int slot = 0;
  json_t *initial = json_object_get(v, "default");
  TRY(read_object(rd, v, keys));
  TRY(read_text(rd, v, "name", &s.name));
  TRY(read_int(rd, v, "slot", 0, RECIPE_SCALARS - 1, &slot));
  TRY(read_bool(rd, v, "positive", &positive));
  if (json_object_get(v, "share"))
    TRY(read_bool(rd, v, "share", &share));
  s.bounds = share ? RULE_SHARE : positive ? RULE_POSITIVE : RULE_ANY;
  TRY(read_bool(rd, v, "constant", &s.fixed));
  if (!json_is_number(initial) && (s.fixed || !json_is_null(initial)))
    return read_bad(rd, "'default': expected a number");
  if (rd->r->scalars[slot].name)
    return read_bad(rd, "slot %d is taken", slot);
  s.initial = json_is_null(initial) ? NAN : json_number_value(initial);
  rd->r->scalars[slot] = s;
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
    return read_bad(rd, "'sizes': expected an object");
  json_object_foreach(v, key, value)
  {
    int i = read_name(key, size_names, SIZE_COUNT);
    if (i < 0)
      return read_bad(rd, "'sizes': unknown size '%.40s'", key);
    if (!size_is_had(rd->r->tensors, rd->r->n_slots, (SizeId)i))
      return read_bad(rd, "'sizes': no tensor has the axis '%s'", key);
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
    return read_bad(rd, "'strides': expected an object");
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

static attnc_status
read_requires(Reader *rd, json_t *v)
{
  static const char *const keys[] = {"align",    "group_size", "sizes",
                                     "max_size", "strides",    NULL};
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
  rd->at[0] = 0;
  return ATTNC_OK;
}

static bool
constant(const Axis *a)
{
  for (int i = 0; i < a->n; i++)
    if (a->terms[i].kind != TERM_CONST)
      return false;
  return true;
}

/* aside and along fall where the other size grows, a quotient where its divisor does. */
static bool
grows(const Axis *a)
{
  for (int i = 0; i < a->n; i++) {
    const Term *t = &a->terms[i];
    if (t->kind == TERM_ASIDE || t->kind == TERM_ALONG ||
        (t->kind == TERM_QUOTIENT && !constant(&t->of[1])))
      return false;
    for (int j = 0; j < t->n_of; j++)
      if (!grows(&t->of[j]))
        return false;
  }
  return true;
}

static attnc_status
read_region(Reader *rd, json_t *v, bool first, RecipeRegion *r)
{
  static const char *const keys[] = {"name", "bytes", "zero", NULL};
  json_t *zero = json_object_get(v, "zero");
  TRY(read_object(rd, v, keys));
  TRY(read_text(rd, v, "name", &r->name));
  TRY(read_axis(rd, json_object_get(v, "bytes"), 0, &r->bytes));
  if (!grows(&r->bytes))
    return read_bad(rd, "'bytes': does not grow with the sizes");
  if (zero && !json_is_boolean(zero))
    return read_bad(rd, "'zero': expected true or false");
  r->zero = json_is_true(zero);
  if (r->zero && (!first || !constant(&r->bytes)))
    return read_bad(rd, "'zero': expected a constant size, ahead of regions that are not");
  return ATTNC_OK;
}

/* Before schema 3 there were offsets instead of regions; no kernel had any. */
static attnc_status
read_workspace(Reader *rd, json_t *v, int schema)
{
  Recipe *r = rd->r;
  if (json_is_integer(v) && json_integer_value(v) == 0)
    return ATTNC_OK;
  if (schema < 3)
    return err_set(rd->e, ATTNC_ERR_UNSUPPORTED,
                   "kernel recipe: a workspace of schema attnc.kernel/%d: compile the "
                   "kernel again with this version",
                   schema);
  snprintf(rd->at, sizeof rd->at, "workspace");
  TRY(read_array(rd, v, "workspace", 0, RECIPE_REGIONS));
  int n = (int)json_array_size(v);
  RecipeRegion *all = NEW_N(r->arena, RecipeRegion, n);
  if (!all)
    return read_no_memory(rd);
  for (int i = 0; i < n; i++) {
    snprintf(rd->at, sizeof rd->at, "workspace[%d]", i);
    bool first = !i || all[i - 1].zero;
    TRY(read_region(rd, json_array_get(v, (size_t)i), first, &all[i]));
  }
  r->regions = all;
  r->n_regions = n;
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
    return read_bad(rd, "'target': expected sm_NN");
  if (!json_is_boolean(exact))
    return read_bad(rd, "'exact': expected true or false");
  r->cc = (int)cc;
  r->exact = json_is_true(exact);
  return read_int(rd, root, "min_driver", 0, INT_MAX, &r->min_driver);
}

/* What schema 2 could say and its compilers wrote is read as it was. */
static attnc_status
read_schema(Reader *rd, json_t *root, int *schema)
{
  const char *text = NULL;
  TRY(read_text(rd, root, "schema", &text));
  *schema = str_eq(text, "attnc.kernel/3") ? 3 : str_eq(text, "attnc.kernel/2") ? 2 : 0;
  if (*schema)
    return ATTNC_OK;
  return err_set(rd->e, ATTNC_ERR_UNSUPPORTED,
                 "kernel recipe: schema '%.60s' is not attnc.kernel/3", text);
}

/* The machine code that an assembler made of the PTX: {"sha256", "min_driver", …}. */
static attnc_status
read_cubin(Reader *rd, json_t *cubin)
{
  if (!cubin)
    return ATTNC_OK;
  TRY(read_text(rd, cubin, "sha256", &rd->r->cubin_sha256));
  return read_int(rd, cubin, "min_driver", 0, INT_MAX, &rd->r->cubin_driver);
}

/* A kernel that does not ask for a choice has none. */
static void
close_choices(Recipe *r)
{
  for (int i = 0; i < SIZE_COUNT; i++)
    if (size_is_choice((SizeId)i) && !r->reads[i] && r->sizes[i] < 0)
      r->sizes[i] = 0;
}

static attnc_status
read_root(Reader *rd, json_t *root)
{
  Recipe *r = rd->r;
  int schema = 0;
  if (!json_is_object(root))
    return read_bad(rd, "expected an object");
  TRY(read_schema(rd, root, &schema));
  TRY(read_text(rd, root, "name", &r->name));
  TRY(read_text(rd, root, "op", &r->op));
  TRY(read_text(rd, root, "ptx_sha256", &r->ptx_sha256));
  if (!json_object_get(root, "mark"))
    return read_bad(rd, "'mark': is missing: compile the kernel again with this version");
  TRY(read_text(rd, root, "mark", &r->mark));
  TRY(read_cubin(rd, json_object_get(root, "cubin")));
  TRY(read_target(rd, root));
  TRY(read_tensors(rd, json_object_get(root, "tensors")));
  TRY(read_scalars(rd, json_object_get(root, "scalars")));
  TRY(read_requires(rd, json_object_get(root, "requires")));
  TRY(read_workspace(rd, json_object_get(root, "workspace"), schema));
  TRY(read_steps(rd, json_object_get(root, "steps")));
  close_choices(r);
  return ATTNC_OK;
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
  Reader rd = {.r = r, .e = e};
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
