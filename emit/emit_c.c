#include "emit/emit_c.h"

#include "base/err.h"

#include "rules_text.h"

#include <jansson.h>
#include <string.h>

void
emit_c_start(EmitC *c, Arena *arena, const char *name)
{
  *c = (EmitC){.arena = arena,
               .name = name,
               .args = str_new(arena),
               .defaults = str_new(arena),
               .body = str_new(arena)};
}

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

/* ---- the arguments ---- */

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

static void
put_args(EmitC *c, const json_t *recipe)
{
  size_t i;
  json_t *t;
  if (c->args.n)
    return;
  str_put(&c->args, "  long long b, h, hk, sq, sk;\n");
  json_array_foreach(json_object_get(recipe, "tensors"), i, t)
  {
    const char *name = text_of(t, "name");
    str_printf(&c->args, "  CUdeviceptr %s; /* %s, %s */\n", name, text_of(t, "dtype"),
               text_of(t, "access"));
    if (!json_is_true(json_object_get(t, "contiguous")))
      str_printf(&c->args, "  long long %s_stride[5];\n", name);
  }
  json_array_foreach(json_object_get(recipe, "scalars"), i, t)
  {
    const char *name = text_of(t, "name");
    double value = json_number_value(json_object_get(t, "default"));
    if (json_is_true(json_object_get(t, "constant")))
      continue;
    str_printf(&c->args, "  float %s; /* the spec's is %s_%s; NaN stands for it */\n", name,
               c->name, name);
    str_printf(&c->defaults, "#define %s_%s ((float)%.17g)\n", c->name, name, value);
  }
}

/* ---- expressions ---- */

static attnc_status put_axis(Str *, const json_t *, attnc_error *);

/* what of n factors: what(a, what(b, c)). */
static attnc_status
put_nested(Str *s, const char *what, const json_t *list, attnc_error *e)
{
  size_t n = json_array_size(list);
  for (size_t i = 0; i + 1 < n; i++) {
    str_printf(s, "%s(", what);
    TRY(put_axis(s, json_array_get(list, i), e));
    str_put(s, ", ");
  }
  if (n)
    TRY(put_axis(s, json_array_get(list, n - 1), e));
  else
    str_put(s, "1");
  for (size_t i = 0; i + 1 < n; i++)
    str_put(s, ")");
  return ATTNC_OK;
}

static attnc_status
put_axis(Str *s, const json_t *v, attnc_error *e)
{
  const json_t *of;
  if (json_is_integer(v))
    str_printf(s, "%lldLL", (long long)json_integer_value(v));
  else if (json_is_string(v) && str_eq(json_string_value(v), "sm_count"))
    str_put(s, "k->sm_count");
  else if ((of = json_object_get(v, "sms")))
    str_printf(s, "whole(k->sm_count, %lldLL)", (long long)json_integer_value(of));
  else if ((of = json_object_get(v, "size")))
    str_printf(s, "a->%s", json_string_value(of));
  else if ((of = json_object_get(v, "ceil_div")))
    str_printf(s, "ceil_div(a->%s, %lldLL)", json_string_value(json_array_get(of, 0)),
               (long long)json_integer_value(json_array_get(of, 1)));
  else if ((of = json_object_get(v, "aside")))
    str_printf(s, "aside(a->%s, a->%s)", json_string_value(json_array_get(of, 0)),
               json_string_value(json_array_get(of, 1)));
  else if ((of = json_object_get(v, "along")))
    str_printf(s, "along(a->%s, a->%s)", json_string_value(json_array_get(of, 0)),
               json_string_value(json_array_get(of, 1)));
  else if ((of = json_object_get(v, "mul")))
    return put_nested(s, "times", of, e);
  else if ((of = json_object_get(v, "min")) && json_array_size(of) > 0)
    return put_nested(s, "least", of, e);
  else
    return cannot(e, "a grid axis of a kind that this version does not know");
  return ATTNC_OK;
}

/* ---- steps ---- */

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
  if ((of = json_object_get(p, "size")))
    return arena_printf(c->arena, "a->%s", json_string_value(of));
  if ((of = json_object_get(p, "scalar")))
    return text_of(in_slot(json_object_get(recipe, "scalars"), json_integer_value(of)),
                   "name");
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

static bool
has_map(const json_t *params)
{
  size_t i;
  json_t *p;
  json_array_foreach((json_t *)(uintptr_t)params, i,
                     p) if (str_eq(text_of(p, "type"), "map")) return true;
  return false;
}

static attnc_status
put_grid(EmitC *c, const json_t *grid, attnc_error *e)
{
  str_put(&c->body, "  long long grid[3] = {");
  for (size_t i = 0; i < 3; i++) {
    str_put(&c->body, i ? ", " : "");
    TRY(put_axis(&c->body, json_array_get(grid, i), e));
  }
  str_put(&c->body, "};\n"
                    "  if (grid[0] > 2147483647 || grid[1] > 65535 || grid[2] > 65535)\n"
                    "    return CUDA_ERROR_INVALID_VALUE;\n");
  return ATTNC_OK;
}

static attnc_status
put_launch(EmitC *c, const json_t *recipe, const json_t *launch, const char *target,
           attnc_error *e)
{
  json_t *params = json_object_get(launch, "params"), *p;
  size_t i;
  str_printf(&c->body,
             "static CUresult\nlaunch_%s(const %s_kernel *k, const %s_args *a, CUstream "
             "stream)\n{\n",
             target, c->name, c->name);
  if (has_map(params))
    str_put(&c->body, "  CUresult r;\n");
  emit_c_sizes(c, recipe);
  TRY(put_grid(c, json_object_get(launch, "grid"), e));
  emit_c_scalars(c, recipe);
  str_put(&c->body, "  if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0)\n"
                    "    return CUDA_SUCCESS;\n");
  TRY(emit_c_tensors(c, recipe, e));
  json_array_foreach(params, i, p) TRY(put_param(c, recipe, p, i, e));
  str_put(&c->body, "  void *params[] = {");
  for (i = 0; i < json_array_size(params); i++)
    str_printf(&c->body, "%s&p%zu", i ? ", " : "", i);
  str_put(&c->body, "};\n");
  emit_c_call(c, launch);
  return ATTNC_OK;
}

/* The PTX as one string literal, a source line a PTX line. */
static void
put_ptx(EmitC *c, const char *target, const char *ptx)
{
  str_printf(&c->body, "static const char ptx_%s[] =\n", target);
  for (const char *p = ptx; *p;) {
    size_t n = strcspn(p, "\n");
    str_put(&c->body, "    \"");
    for (size_t i = 0; i < n; i++) {
      if (p[i] == '"' || p[i] == '\\')
        str_put(&c->body, "\\");
      if (p[i] == '\t')
        str_put(&c->body, "\\t");
      else
        str_putn(&c->body, p + i, 1);
    }
    str_put(&c->body, "\\n\"\n");
    p += n + (p[n] == '\n');
  }
  str_put(&c->body, "    \"\";\n\n");
}

static attnc_status
put_kernel(EmitC *c, const json_t *recipe, const char *ptx, attnc_error *e)
{
  const json_t *steps = json_object_get(recipe, "steps");
  const json_t *launch = json_object_get(json_array_get(steps, 0), "launch");
  const json_t *workspace = json_object_get(recipe, "workspace");
  const char *target = text_of(recipe, "target");
  if (json_array_size(steps) != 1 || !launch)
    return cannot(e, "more than one launch");
  if (json_array_size(workspace) || json_integer_value(workspace))
    return cannot(e, "a workspace");
  if (c->n == EMIT_C_TARGETS)
    return cannot(e, "too many targets");
  put_args(c, recipe);
  put_ptx(c, target, ptx);
  TRY(put_launch(c, recipe, launch, target, e));
  str_printf(&c->body, "#define ENTRY_%s \"%s\"\n#define SHARED_%s %lld\n\n", target,
             text_of(launch, "entry"), target,
             (long long)json_integer_value(json_object_get(launch, "shared")));
  c->exact[c->n] = json_is_true(json_object_get(recipe, "exact"));
  c->targets[c->n++] = arena_strdup(c->arena, target);
  return ATTNC_OK;
}

attnc_status
emit_c_kernel(EmitC *c, const attnc_kernel *kernel, attnc_error *e)
{
  json_t *recipe = json_loads(attnc_kernel_json(kernel), 0, NULL);
  if (!recipe)
    return err_set(e, ATTNC_ERR_INTERNAL, "attnc_kernel_json: not JSON");
  attnc_status st = put_kernel(c, recipe, attnc_kernel_ptx(kernel, NULL), e);
  json_decref(recipe);
  return st;
}

/* ---- the files ---- */

static void
put_header(const EmitC *c, Str *s)
{
  str_printf(
      s,
      "/* %s.h: written by attnc.  Attention kernel %s over the CUDA Driver API.\n"
      " *\n"
      " * Load once for the current context, launch from any thread, unload when done.\n"
      " * Strides are in elements, of (b, h, s, d); that of d is 1, and that of an axis "
      "of\n"
      " * length 0 or 1 is not looked at.  What attnc_launch refuses, sizes, addresses,\n"
      " * strides and scalars that the kernel was not made for, is\n"
      " * CUDA_ERROR_INVALID_VALUE, and nothing is launched; a device that no target fits\n"
      " * is CUDA_ERROR_NO_BINARY_FOR_GPU. */\n"
      "#ifndef %s_H\n#define %s_H\n\n#include <cuda.h>\n\n"
      "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n"
      "%s%stypedef struct %s_args {\n%s} %s_args;\n\n"
      "typedef struct %s_kernel {\n  CUmodule module;\n  CUfunction function;\n"
      "  int target;   /* index of the target chosen */\n  int sm_count;\n} %s_kernel;\n\n",
      c->name, c->name, c->name, c->name, c->defaults.p, c->defaults.n ? "\n" : "", c->name,
      c->args.p, c->name, c->name, c->name);
  str_printf(s,
             "CUresult %s_load(%s_kernel *);\n"
             "CUresult %s_launch(const %s_kernel *, const %s_args *, CUstream);\n"
             "CUresult %s_unload(%s_kernel *);\n\n"
             "#ifdef __cplusplus\n}\n#endif\n#endif\n",
             c->name, c->name, c->name, c->name, c->name, c->name, c->name);
}

static void
put_table(const EmitC *c, Str *s)
{
  str_printf(s,
             "typedef CUresult Launch(const %s_kernel *, const %s_args *, CUstream);\n"
             "static const struct {\n  int cc, exact, shared;\n"
             "  const char *ptx, *entry;\n  Launch *launch;\n} targets[] = {\n",
             c->name, c->name);
  for (int i = 0; i < c->n; i++) {
    const char *t = c->targets[i];
    int cc = 0;
    for (const char *p = t + 3; *p >= '0' && *p <= '9'; p++)
      cc = cc * 10 + (*p - '0');
    str_printf(s, "  {%d, %d, SHARED_%s, ptx_%s, ENTRY_%s, launch_%s},\n", cc, c->exact[i],
               t, t, t, t);
  }
  str_put(s, "};\nenum { N_TARGETS = sizeof targets / sizeof *targets };\n\n");
}

/* The best target for a device: its own, else the highest plain one below it. */
static const char choose_text[] =
    "static int\n"
    "choose(int cc)\n"
    "{\n"
    "  int best = -1;\n"
    "  for (int i = 0; i < N_TARGETS; i++) {\n"
    "    if (!rule_runs(targets[i].cc, targets[i].exact, cc))\n"
    "      continue;\n"
    "    if (best < 0 || rule_suits(targets[i].cc, targets[i].exact) >\n"
    "                        rule_suits(targets[best].cc, targets[best].exact))\n"
    "      best = i;\n"
    "  }\n"
    "  return best;\n"
    "}\n\n";

static void
put_load(const EmitC *c, Str *s)
{
  str_printf(
      s,
      "CUresult\n%s_load(%s_kernel *k)\n{\n"
      "  CUdevice device;\n  CUresult r;\n  int major, minor;\n"
      "  if ((r = cuCtxGetDevice(&device)) != CUDA_SUCCESS ||\n"
      "      (r = cuDeviceGetAttribute(&major, "
      "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,\n"
      "                                device)) != CUDA_SUCCESS ||\n"
      "      (r = cuDeviceGetAttribute(&minor, "
      "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,\n"
      "                                device)) != CUDA_SUCCESS ||\n"
      "      (r = cuDeviceGetAttribute(&k->sm_count,\n"
      "                                CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device)) "
      "!=\n"
      "          CUDA_SUCCESS)\n"
      "    return r;\n"
      "  if ((k->target = choose(major * 10 + minor)) < 0)\n"
      "    return CUDA_ERROR_NO_BINARY_FOR_GPU;\n"
      "  r = cuModuleLoadDataEx(&k->module, targets[k->target].ptx, 0, 0, 0);\n"
      "  if (r != CUDA_SUCCESS)\n    return r;\n"
      "  r = cuModuleGetFunction(&k->function, k->module, targets[k->target].entry);\n"
      "  if (r == CUDA_SUCCESS && targets[k->target].shared > 0)\n"
      "    r = cuFuncSetAttribute(k->function,\n"
      "                           CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,\n"
      "                           targets[k->target].shared);\n"
      "  if (r != CUDA_SUCCESS)\n    cuModuleUnload(k->module);\n"
      "  return r;\n}\n\n",
      c->name, c->name);
  str_printf(
      s,
      "CUresult\n%s_launch(const %s_kernel *k, const %s_args *a, CUstream stream)\n{\n"
      "  return targets[k->target].launch(k, a, stream);\n}\n\n"
      "CUresult\n%s_unload(%s_kernel *k)\n{\n  return cuModuleUnload(k->module);\n}\n",
      c->name, c->name, c->name, c->name, c->name);
}

void
emit_c_finish(EmitC *c, Str *source, Str *header)
{
  put_header(c, header);
  str_printf(source,
             "/* %s.c: written by attnc.  See %s.h. */\n#include \"%s.h\"\n\n"
             "#include <limits.h>\n#include <stdint.h>\n\n",
             c->name, c->name, c->name);
  str_put(source, "#if defined(__GNUC__)\n"
                  "#pragma GCC diagnostic ignored \"-Woverlength-strings\"\n"
                  "#pragma GCC diagnostic ignored \"-Wunused-function\"\n#endif\n\n"
                  "static long long\nceil_div(long long a, long long b)\n{\n"
                  "  return a / b + (a % b != 0);\n}\n\n"
                  "/* Of sizes; what is too much to count is the most there is. */\n"
                  "static long long\ntimes(long long a, long long b)\n{\n"
                  "  return a > 0 && b > LLONG_MAX / a ? LLONG_MAX : a * b;\n}\n\n"
                  "/* The kernel counts in 32 bits also what a smaller grid shares. */\n"
                  "static long long\nleast(long long a, long long b)\n{\n"
                  "  if (a > 2147483647 || b > 2147483647)\n    return LLONG_MAX;\n"
                  "  return a < b ? a : b;\n}\n\n"
                  "/* Sizes along y and z where both fit, else along x. */\n"
                  "static int\nfit(long long a, long long b)\n{\n"
                  "  return a <= 65535 && b <= 65535;\n}\n\n"
                  "static long long\naside(long long a, long long b)\n{\n"
                  "  return fit(a, b) ? a : 1;\n}\n\n"
                  "static long long\nalong(long long a, long long b)\n{\n"
                  "  return fit(a, b) ? 1 : times(a, b);\n}\n\n"
                  "/* n rounded down to a multiple, but not to none. */\n"
                  "static long long\nwhole(long long n, long long of)\n{\n"
                  "  return n < of ? of : n / of * of;\n}\n\n");
  str_put(source, rules_text);
  if (c->maps)
    str_put(source, emit_c_map_text);
  str_put(source, c->body.p);
  put_table(c, source);
  str_put(source, choose_text);
  put_load(c, source);
}
