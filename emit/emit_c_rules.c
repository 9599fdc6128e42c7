/* What a recipe requires of a call, as C that checks it by the rules of base/rules.h: the
 * same that attnc_launch checks by, in the same order. */
#include "emit/emit_c.h"

#include "base/call.h"
#include "base/err.h"

#include <string.h>

static const char *
text_of(const json_t *o, const char *key)
{
  const char *s = json_string_value(json_object_get(o, key));
  return s ? s : "";
}

static long long
number_of(const json_t *o, const char *key, long long absent)
{
  const json_t *v = json_object_get(o, key);
  return v ? (long long)json_integer_value(v) : absent;
}

static void
put_rule(EmitC *c, const char *rule)
{
  str_printf(&c->body, "  if (!%s)\n    return CUDA_ERROR_INVALID_VALUE;\n", rule);
}

/* ---- sizes ---- */

bool
emit_c_has_size(const json_t *recipe, SizeId size)
{
  size_t i, k;
  json_t *t, *axis;
  json_array_foreach(json_object_get(recipe, "tensors"), i, t)
  {
    json_array_foreach(json_object_get(t, "axes"), k, axis)
    {
      CallAxis a;
      if (json_is_string(axis) &&
          axis_read(json_string_value(axis), json_string_length(axis), &a) &&
          (a.size == size ||
           (size == SIZE_SP && a.size == SIZE_MAX_PREFIX_PAGES))) /* of which sp count */
        return true;
    }
  }
  return size <= SIZE_SK || size_is_choice(size);
}

/* Is it named in a step or a region? */
static bool
is_read(const json_t *v, const char *size)
{
  size_t i;
  const char *key;
  json_t *part;
  if (json_is_string(v))
    return str_eq(json_string_value(v), size);
  json_array_foreach((json_t *)(uintptr_t)v, i, part) if (is_read(part, size)) return true;
  json_object_foreach((json_t *)(uintptr_t)v, key,
                      part) if (is_read(part, size)) return true;
  return false;
}

/* What the size must be, -1: anything.  A kernel that does not ask for a choice has none.
 */
static long long
constant_of(const json_t *recipe, SizeId size)
{
  const json_t *sizes = json_object_get(json_object_get(recipe, "requires"), "sizes");
  bool read = is_read(json_object_get(recipe, "steps"), size_names[size]) ||
              is_read(json_object_get(recipe, "workspace"), size_names[size]);
  return number_of(sizes, size_names[size], size_is_choice(size) && !read ? 0 : -1);
}

void
emit_c_sizes(EmitC *c, const json_t *recipe)
{
  const json_t *r = json_object_get(recipe, "requires");
  Str constant = str_new(c->arena);
  str_put(&c->body, "  RuleFault fault;\n  const int64_t size[] = {");
  int n = 0;
  for (int i = 0; i < SIZE_COUNT; i++) {
    if (!emit_c_has_size(recipe, (SizeId)i))
      continue;
    str_printf(&c->body, "%sa->%s", n ? ", " : "", size_names[i]);
    str_printf(&constant, "%s%lld", n++ ? ", " : "", constant_of(recipe, (SizeId)i));
  }
  str_printf(
      &c->body,
      "};\n  static const int64_t constant[] = {%s};\n"
      "  static const RuleSizes sizes = {%d, %d, %d, %lldLL, %lldLL, 0, constant};\n",
      constant.p, n, SIZE_H, SIZE_HK, number_of(r, "max_size", INT64_MAX),
      number_of(r, "group_size", 0));
  put_rule(c, "rule_sizes(&sizes, size, &fault)");
  if (emit_c_has_size(recipe, SIZE_MAX_PAGES))
    put_rule(c, "rule_pages(a->sk, a->page_size, a->max_pages, &fault)");
  if (emit_c_has_size(recipe, SIZE_MAX_PREFIX_PAGES))
    put_rule(c, "rule_pages(a->sp, a->page_size, a->max_prefix_pages, &fault)");
  if (emit_c_has_size(recipe, SIZE_SP) && !emit_c_has_size(recipe, SIZE_TOTAL_Q))
    put_rule(c, "rule_prefix(a->b, a->sq, &fault)");
}

/* ---- scalars ---- */

static const char *
bounds_of(const json_t *scalar)
{
  return json_is_true(json_object_get(scalar, "share"))      ? "RULE_SHARE"
         : json_is_true(json_object_get(scalar, "positive")) ? "RULE_POSITIVE"
                                                             : "RULE_ANY";
}

void
emit_c_scalars(EmitC *c, const json_t *recipe)
{
  size_t i;
  json_t *s;
  json_array_foreach(json_object_get(recipe, "scalars"), i, s)
  {
    const char *name = text_of(s, "name");
    if (json_is_true(json_object_get(s, "constant")))
      continue;
    if (json_is_null(json_object_get(s, "default")))
      str_printf(&c->body, "  const float %s_value = a->%s;\n", name, name);
    else
      str_printf(&c->body,
                 "  const float %s_value = a->%s == a->%s ? a->%s : (float)%.17g;\n", name,
                 name, name, name, json_number_value(json_object_get(s, "default")));
    put_rule(
        c, arena_printf(c->arena, "rule_scalar(%s_value, %s, &fault)", name, bounds_of(s)));
  }
}

/* ---- tensors ---- */

/* Of an axis that is a size of the call. */
static void
put_length(const CallAxis *a, Str *s)
{
  const char *name = size_names[a->size];
  if (a->by > 1)
    str_printf(s, "(a->%s + %lld) / %lld", name, (long long)a->by - 1, (long long)a->by);
  else if (a->more)
    str_printf(s, "a->%s + %d", name, a->more);
  else
    str_printf(s, "a->%s", name);
}

static void
put_lengths(EmitC *c, const json_t *tensor, const char *name)
{
  size_t i;
  json_t *axis;
  str_printf(&c->body, "  const int64_t %s_length[] = {", name);
  json_array_foreach(json_object_get(tensor, "axes"), i, axis)
  {
    str_put(&c->body, i ? ", " : "");
    CallAxis a;
    if (json_is_string(axis) &&
        axis_read(json_string_value(axis), json_string_length(axis), &a))
      put_length(&a, &c->body);
    else
      str_printf(&c->body, "%lld", (long long)json_integer_value(axis));
  }
  str_put(&c->body, "};\n");
}

/* The strides that the rules look at, and that the kernel is given afterwards. */
static void
put_strides(EmitC *c, const char *name, bool contiguous)
{
  str_printf(&c->body, "  int64_t %s_stride[RULE_AXES]", name);
  for (int i = 0; i < 5; i++) {
    str_put(&c->body, i ? ", " : " = {");
    if (contiguous)
      str_put(&c->body, "0");
    else
      str_printf(&c->body, "a->%s_stride[%d]", name, i);
  }
  str_put(&c->body, "};\n");
}

static const char *
put_constant(EmitC *c, const json_t *strides, const char *name)
{
  const json_t *list = json_object_get(strides, name);
  if (!list)
    return "0";
  str_printf(&c->body, "  static const int64_t %s_constant[] = {", name);
  for (size_t i = 0; i < json_array_size(list); i++)
    str_printf(&c->body, "%s%lldLL", i ? ", " : "",
               (long long)json_integer_value(json_array_get(list, i)));
  str_put(&c->body, "};\n");
  return arena_printf(c->arena, "%s_constant", name);
}

static attnc_status
put_tensor(EmitC *c, const json_t *recipe, const json_t *t, attnc_error *e)
{
  const char *name = text_of(t, "name");
  const json_t *strides = json_object_get(json_object_get(recipe, "requires"), "strides");
  bool contiguous = json_is_true(json_object_get(t, "contiguous"));
  int bytes = emit_c_bytes(text_of(t, "dtype"));
  size_t axes = json_array_size(json_object_get(t, "axes"));
  if (!axes || !bytes)
    return err_set(e, ATTNC_ERR_UNSUPPORTED,
                   "--emit c: the recipe's %s has no axes or dtype", name);
  put_lengths(c, t, name);
  put_strides(c, name, contiguous);
  const char *constant = put_constant(c, strides, name);
  str_printf(&c->body, "  static const RuleTensor %s_rule = {%zu, %d, %lld, %d, %d, %s};\n",
             name, axes, bytes, number_of(t, "align", 1),
             strstr(text_of(t, "access"), "out") != 0, contiguous, constant);
  put_rule(c, arena_printf(c->arena,
                           "rule_tensor(&%s_rule, %s_length, a->%s, %s_stride, &fault)",
                           name, name, name, name));
  return ATTNC_OK;
}

attnc_status
emit_c_tensors(EmitC *c, const json_t *recipe, attnc_error *e)
{
  size_t i;
  json_t *t;
  json_array_foreach(json_object_get(recipe, "tensors"), i, t)
      TRY(put_tensor(c, recipe, t, e));
  return ATTNC_OK;
}
