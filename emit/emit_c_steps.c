/* Steps of a recipe as C: grids, workspace and parameters of all of them first, so that
 * nothing is launched where one of them is refused; then launch after launch. */
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

static attnc_status
cannot(attnc_error *e, const char *what)
{
  return err_set(e, ATTNC_ERR_UNSUPPORTED, "--emit c: the recipe has %s", what);
}

static const json_t *
in_slot(const json_t *list, json_int_t slot)
{
  size_t i;
  const json_t *item;
  json_array_foreach((json_t *)(uintptr_t)list, i,
                     item) if (json_integer_value(json_object_get(item, "slot")) ==
                               slot) return item;
  return NULL;
}

/* ---- expressions ---- */

/* `least` names the minimum: of a grid's axis it counts what it leaves out, too. */
static attnc_status put_axis(Str *, const json_t *, const char *least, attnc_error *);

/* what of n factors: what(a, what(b, c)). */
static attnc_status
put_nested(Str *s, const char *what, const json_t *list, const char *least, attnc_error *e)
{
  size_t n = json_array_size(list);
  for (size_t i = 0; i + 1 < n; i++) {
    str_printf(s, "%s(", what);
    TRY(put_axis(s, json_array_get(list, i), least, e));
    str_put(s, ", ");
  }
  if (n)
    TRY(put_axis(s, json_array_get(list, n - 1), least, e));
  else
    str_put(s, "1");
  for (size_t i = 0; i + 1 < n; i++)
    str_put(s, ")");
  return ATTNC_OK;
}

static attnc_status
put_axis(Str *s, const json_t *v, const char *least, attnc_error *e)
{
  const json_t *of;
  if (json_is_integer(v))
    str_printf(s, "%lldLL", (long long)json_integer_value(v));
  else if (json_is_string(v) && str_eq(json_string_value(v), "sm_count"))
    str_put(s, "k->sm_count");
  else if (json_is_string(v)) /* a size of a pair */
    str_printf(s, "a->%s", json_string_value(v));
  else if ((of = json_object_get(v, "sms")))
    str_printf(s, "whole(k->sm_count, %lldLL)", (long long)json_integer_value(of));
  else if ((of = json_object_get(v, "size")))
    str_printf(s, "a->%s", json_string_value(of));
  else if ((of = json_object_get(v, "ceil_div")))
    str_printf(s, "ceil_div(a->%s, %lldLL)", json_string_value(json_array_get(of, 0)),
               (long long)json_integer_value(json_array_get(of, 1)));
  else if ((of = json_object_get(v, "quotient")) && json_array_size(of) == 2)
    return put_nested(s, "quotient", of, "smaller", e);
  else if ((of = json_object_get(v, "aside")) && json_array_size(of) == 2)
    return put_nested(s, "aside", of, "smaller", e);
  else if ((of = json_object_get(v, "along")))
    str_printf(s, "along(a->%s, a->%s)", json_string_value(json_array_get(of, 0)),
               json_string_value(json_array_get(of, 1)));
  else if ((of = json_object_get(v, "or"))) {
    str_printf(s, "or_else(a->%s, ", json_string_value(json_array_get(of, 0)));
    TRY(put_axis(s, json_array_get(of, 1), least, e));
    str_put(s, ")");
  } else if ((of = json_object_get(v, "mul")))
    return put_nested(s, "times", of, least, e);
  else if ((of = json_object_get(v, "add")) && json_array_size(of) > 0)
    return put_nested(s, "plus", of, least, e);
  else if ((of = json_object_get(v, "min")) && json_array_size(of) > 0)
    return put_nested(s, least, of, least, e);
  else
    return cannot(e, "a grid axis of a kind that this version does not know");
  return ATTNC_OK;
}

/* ---- workspace ---- */

/* Of each region `at`, and `end` of them all. */
static attnc_status
put_regions(EmitC *c, const json_t *recipe, attnc_error *e)
{
  const json_t *list = json_object_get(recipe, "workspace");
  size_t i;
  json_t *region;
  str_put(&c->body, "  long long end = 0;\n");
  json_array_foreach((json_t *)(uintptr_t)list, i, region)
  {
    str_printf(&c->body, "  const long long size%zu = ", i);
    TRY(put_axis(&c->body, json_object_get(region, "bytes"), "smaller", e));
    str_printf(&c->body, ";\n  const long long at%zu = region(&end, size%zu);\n", i, i);
  }
  return ATTNC_OK;
}

static attnc_status
put_workspace(EmitC *c, const json_t *recipe, const char *target, attnc_error *e)
{
  size_t n = json_array_size(json_object_get(recipe, "workspace"));
  str_printf(&c->body,
             "static long long\nworkspace_%s(const %s_kernel *k, const %s_args *a)\n{\n"
             "  (void)k;\n  (void)a;\n",
             target, c->name, c->name);
  TRY(put_regions(c, recipe, e));
  for (size_t i = 0; i < n; i++)
    str_printf(&c->body, "  (void)at%zu;\n", i);
  str_put(&c->body, "  return end;\n}\n\n");
  return ATTNC_OK;
}

/* May it be launched without the workspace that it has a use for? */
static bool
runs_without(const json_t *recipe)
{
  size_t i;
  json_t *step;
  json_array_foreach(json_object_get(recipe, "steps"), i,
                     step) if (json_object_get(json_object_get(step, "launch"),
                                               "grid_without_workspace")) return true;
  return false;
}

static attnc_status
check_workspace(EmitC *c, const json_t *recipe, attnc_error *e)
{
  const json_t *align = json_object_get(json_object_get(recipe, "requires"), "align");
  if (!json_array_size(json_object_get(recipe, "workspace")))
    return ATTNC_OK;
  TRY(put_regions(c, recipe, e));
  const char *wanted = runs_without(recipe) ? "a->workspace != 0" : "end > 0";
  str_printf(&c->body,
             "  if (%s && (a->workspace == 0 || end == LLONG_MAX ||\n"
             "                  a->workspace_bytes < (unsigned long long)end ||\n"
             "                  a->workspace %% %lld != 0))\n"
             "    return CUDA_ERROR_INVALID_VALUE;\n",
             wanted, (long long)json_integer_value(align));
  return ATTNC_OK;
}

/* Of the first regions, whose sizes are constants; 0: none need to be zero. */
long long
emit_c_zeroed(const json_t *recipe)
{
  const json_t *list = json_object_get(recipe, "workspace");
  long long end = 0;
  size_t i, k;
  json_t *region, *factor;
  json_array_foreach((json_t *)(uintptr_t)list, i, region)
  {
    const json_t *bytes = json_object_get(region, "bytes");
    const json_t *mul = json_object_get(bytes, "mul");
    long long size = (long long)json_integer_value(bytes);
    if (!json_is_true(json_object_get(region, "zero")))
      break;
    json_array_foreach((json_t *)(uintptr_t)mul, k, factor) size =
        (k ? size : 1) * (long long)json_integer_value(factor);
    end = (end + CALL_REGION_ALIGN - 1) / CALL_REGION_ALIGN * CALL_REGION_ALIGN + size;
  }
  return end;
}

/* ---- parameters ---- */

/* Where a parameter's value stands in the function; NULL: it is of an unknown kind. */
static const char *
source_of(EmitC *c, const json_t *recipe, const json_t *p)
{
  const json_t *tensors = json_object_get(recipe, "tensors"), *of;
  if ((of = json_object_get(p, "tensor")))
    return arena_printf(c->arena, "a->%s",
                        text_of(in_slot(tensors, json_integer_value(of)), "name"));
  if ((of = json_object_get(p, "stride")))
    return arena_printf(
        c->arena, "%s_stride[%lld]",
        text_of(in_slot(tensors, json_integer_value(json_array_get(of, 0))), "name"),
        (long long)json_integer_value(json_array_get(of, 1)));
  if ((of = json_object_get(p, "workspace")))
    return arena_printf(c->arena,
                        runs_without(recipe)
                            ? "(a->workspace ? a->workspace + (CUdeviceptr)at%lld : 0)"
                            : "(a->workspace + (CUdeviceptr)at%lld)",
                        (long long)json_integer_value(of));
  if ((of = json_object_get(p, "size")))
    return arena_printf(c->arena, "a->%s", json_string_value(of));
  if ((of = json_object_get(p, "scalar")))
    return arena_printf(
        c->arena, "%s_value",
        text_of(in_slot(json_object_get(recipe, "scalars"), json_integer_value(of)),
                "name"));
  return NULL;
}

static attnc_status
put_param(EmitC *c, const json_t *recipe, const json_t *p, size_t i, attnc_error *e)
{
  static const struct {
    const char *type, *c;
  } types[] = {
      {"ptr", "CUdeviceptr"}, {"i64", "long long"}, {"i32", "int"}, {"f32", "float"}};
  const json_t *tensors = json_object_get(recipe, "tensors");
  const char *type = NULL, *from = source_of(c, recipe, p);
  if (str_eq(text_of(p, "type"), "map"))
    return emit_c_map(c, in_slot(tensors, json_integer_value(json_object_get(p, "tensor"))),
                      text_of(json_array_get(tensors, 0), "name"), p, i, e);
  for (size_t t = 0; t < sizeof types / sizeof *types; t++)
    if (str_eq(text_of(p, "type"), types[t].type))
      type = types[t].c;
  if (!type)
    return cannot(e, "a parameter of an unknown type");
  if (!from)
    return cannot(e, "a parameter that is no tensor, stride, size or scalar");
  if (str_eq(type, "int"))
    str_printf(&c->body,
               "  if (%s < INT32_MIN || %s > INT32_MAX)\n"
               "    return CUDA_ERROR_INVALID_VALUE;\n",
               from, from);
  str_printf(&c->body, "  %s p%zu = (%s)%s;\n", type, i, type, from);
  return ATTNC_OK;
}

static attnc_status
put_params(EmitC *c, const json_t *recipe, const json_t *launch, size_t step, size_t *n,
           attnc_error *e)
{
  const json_t *params = json_object_get(launch, "params");
  size_t i, first = *n;
  json_t *p;
  json_array_foreach((json_t *)(uintptr_t)params, i, p)
      TRY(put_param(c, recipe, p, (*n)++, e));
  str_printf(&c->body, "  void *params%zu[] = {", step);
  for (i = first; i < *n; i++)
    str_printf(&c->body, "%s&p%zu", i > first ? ", " : "", i);
  str_put(&c->body, i > first ? "};\n" : "0};\n");
  return ATTNC_OK;
}

static attnc_status
put_memset_bytes(EmitC *c, const json_t *set, size_t step, attnc_error *e)
{
  str_printf(&c->body, "  const long long bytes%zu = ", step);
  TRY(put_axis(&c->body, json_object_get(set, "bytes"), "smaller", e));
  str_printf(&c->body,
             ";\n  if (bytes%zu > size%lld)\n    return CUDA_ERROR_INVALID_VALUE;\n", step,
             (long long)json_integer_value(json_object_get(set, "workspace")));
  return ATTNC_OK;
}

/* ---- steps ---- */

static attnc_status
put_grid(EmitC *c, const json_t *launch, size_t step, attnc_error *e)
{
  const json_t *grid = json_object_get(launch, "grid");
  const json_t *without = json_object_get(launch, "grid_without_workspace");
  str_printf(&c->body, "  long long grid%zu[3] = {", step);
  for (size_t i = 0; i < 3; i++) {
    str_put(&c->body, i ? ", " : "");
    if (without) {
      str_put(&c->body, "a->workspace == 0 ? ");
      TRY(put_axis(&c->body, json_array_get(without, i), "least", e));
      str_put(&c->body, " : ");
    }
    TRY(put_axis(&c->body, json_array_get(grid, i), "least", e));
  }
  str_printf(&c->body,
             "};\n"
             "  if (grid%zu[0] > 2147483647 || grid%zu[1] > 65535 || grid%zu[2] > 65535)\n"
             "    return CUDA_ERROR_INVALID_VALUE;\n",
             step, step, step);
  emit_c_cluster(c, launch, step);
  str_printf(&c->body,
             "  const int runs%zu = grid%zu[0] > 0 && grid%zu[1] > 0 && grid%zu[2] > 0;\n",
             step, step, step, step);
  return ATTNC_OK;
}

/* Nothing to launch: nothing more is looked at. */
static attnc_status
put_grids(EmitC *c, const json_t *recipe, attnc_error *e)
{
  size_t i;
  json_t *step;
  Str any = str_new(c->arena);
  json_array_foreach(json_object_get(recipe, "steps"), i, step)
  {
    const json_t *launch = json_object_get(step, "launch");
    if (!launch)
      continue;
    TRY(put_grid(c, launch, i, e));
    str_printf(&any, "%sruns%zu", any.n ? " && !" : "!", i);
  }
  emit_c_scalars(c, recipe);
  str_printf(&c->body, "  if (%s)\n    return CUDA_SUCCESS;\n", any.n ? any.p : "1");
  return ATTNC_OK;
}

static attnc_status
pack_steps(EmitC *c, const json_t *recipe, attnc_error *e)
{
  size_t i, n = 0;
  json_t *step;
  json_array_foreach(json_object_get(recipe, "steps"), i, step)
  {
    const json_t *launch = json_object_get(step, "launch");
    const json_t *set = json_object_get(step, "memset");
    if (launch)
      TRY(put_params(c, recipe, launch, i, &n, e));
    else if (set)
      TRY(put_memset_bytes(c, set, i, e));
    else
      return cannot(e, "a step that is neither launch nor memset");
  }
  return ATTNC_OK;
}

static void
put_memset(EmitC *c, const json_t *set, size_t step)
{
  str_printf(&c->body,
             "  if (bytes%zu > 0 &&\n"
             "      (r = cuMemsetD8Async(a->workspace + (CUdeviceptr)at%lld, %lldu,\n"
             "                           (size_t)bytes%zu, stream)) != CUDA_SUCCESS)\n"
             "    return r;\n",
             step, (long long)json_integer_value(json_object_get(set, "workspace")),
             (long long)json_integer_value(json_object_get(set, "value")), step);
}

static void
run_steps(EmitC *c, const json_t *steps)
{
  size_t i, function = 0;
  json_t *step;
  json_array_foreach((json_t *)(uintptr_t)steps, i, step)
  {
    const json_t *launch = json_object_get(step, "launch");
    if (launch)
      emit_c_call(c, launch, i, function++);
    else
      put_memset(c, json_object_get(step, "memset"), i);
  }
}

attnc_status
emit_c_steps(EmitC *c, const json_t *recipe, const char *target, attnc_error *e)
{
  const json_t *steps = json_object_get(recipe, "steps");
  TRY(put_workspace(c, recipe, target, e));
  str_printf(&c->body,
             "static CUresult\nlaunch_%s(const %s_kernel *k, const %s_args *a, CUstream "
             "stream)\n{\n  CUresult r;\n",
             target, c->name, c->name);
  emit_c_sizes(c, recipe);
  TRY(put_grids(c, recipe, e));
  TRY(emit_c_tensors(c, recipe, e));
  TRY(check_workspace(c, recipe, e));
  TRY(pack_steps(c, recipe, e));
  run_steps(c, steps);
  str_put(&c->body, "  return CUDA_SUCCESS;\n}\n\n");
  return ATTNC_OK;
}
