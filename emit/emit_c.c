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

/* ---- names ---- */

/* Words that C, C++ or the headers of either give a meaning of their own; only in small
 * letters, as names of specs are. */
static const char *const taken_words[] = {"alignas",
                                          "alignof",
                                          "and",
                                          "and_eq",
                                          "asm",
                                          "auto",
                                          "bitand",
                                          "bitor",
                                          "bool",
                                          "break",
                                          "case",
                                          "catch",
                                          "char",
                                          "char16_t",
                                          "char32_t",
                                          "char8_t",
                                          "class",
                                          "co_await",
                                          "co_return",
                                          "co_yield",
                                          "compl",
                                          "concept",
                                          "const",
                                          "const_cast",
                                          "consteval",
                                          "constexpr",
                                          "constinit",
                                          "continue",
                                          "decltype",
                                          "default",
                                          "delete",
                                          "do",
                                          "double",
                                          "dynamic_cast",
                                          "else",
                                          "enum",
                                          "explicit",
                                          "export",
                                          "extern",
                                          "false",
                                          "float",
                                          "for",
                                          "friend",
                                          "goto",
                                          "i386",
                                          "if",
                                          "inline",
                                          "int",
                                          "linux",
                                          "long",
                                          "mutable",
                                          "namespace",
                                          "new",
                                          "noexcept",
                                          "not",
                                          "not_eq",
                                          "nullptr",
                                          "operator",
                                          "or",
                                          "or_eq",
                                          "private",
                                          "protected",
                                          "public",
                                          "register",
                                          "reinterpret_cast",
                                          "requires",
                                          "restrict",
                                          "return",
                                          "short",
                                          "signed",
                                          "sizeof",
                                          "static",
                                          "static_assert",
                                          "static_cast",
                                          "struct",
                                          "switch",
                                          "template",
                                          "this",
                                          "thread_local",
                                          "throw",
                                          "true",
                                          "try",
                                          "typedef",
                                          "typeid",
                                          "typename",
                                          "typeof",
                                          "typeof_unqual",
                                          "union",
                                          "unix",
                                          "unsigned",
                                          "using",
                                          "virtual",
                                          "void",
                                          "volatile",
                                          "wchar_t",
                                          "while",
                                          "workspace_bytes",
                                          "xor",
                                          "xor_eq"};

/* Is `name` the member of the arguments that has the strides of a tensor? */
static bool
is_strides(const json_t *tensors, const char *name)
{
  size_t i;
  json_t *t;
  json_array_foreach((json_t *)(uintptr_t)tensors, i, t)
  {
    size_t n = strlen(text_of(t, "name"));
    if (!strncmp(name, text_of(t, "name"), n) && str_eq(name + n, "_stride"))
      return true;
  }
  return false;
}

static attnc_status
check_names(const json_t *recipe, const char *list, attnc_error *e)
{
  size_t i;
  json_t *x;
  json_array_foreach(json_object_get(recipe, list), i, x)
  {
    const char *name = text_of(x, "name");
    bool taken =
        !strncmp(name, "__", 2) || is_strides(json_object_get(recipe, "tensors"), name);
    for (size_t w = 0; w < sizeof taken_words / sizeof *taken_words; w++)
      taken = taken || str_eq(name, taken_words[w]);
    if (taken)
      return err_set(e, ATTNC_ERR_UNSUPPORTED,
                     "--emit c: %s cannot be the name of an argument in C", name);
  }
  return ATTNC_OK;
}

/* ---- the arguments ---- */

static void
put_args(EmitC *c, const json_t *recipe)
{
  size_t i;
  json_t *t;
  if (c->args.n)
    return;
  for (int s = 0; s < SIZE_COUNT; s++)
    if (emit_c_has_size(recipe, (SizeId)s) && !size_is_choice((SizeId)s))
      str_printf(&c->args, "%s%s", s ? ", " : "  long long ", size_names[s]);
  str_put(&c->args, ";\n");
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
    if (json_is_null(json_object_get(t, "default"))) {
      str_printf(&c->args, "  float %s; /* the spec has none: not NaN */\n", name);
      continue;
    }
    str_printf(&c->args, "  float %s; /* the spec's is %s_%s; NaN stands for it */\n", name,
               c->name, name);
    str_printf(&c->defaults, "#define %s_%s ((float)%.17g)\n", c->name, name, value);
  }
  str_put(&c->args, "  CUdeviceptr workspace; /* of as many bytes as below; 0: none */\n"
                    "  size_t workspace_bytes;\n"
                    "  long long num_splits, max_items; /* 0: by the kernel's rule */\n");
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

/* The cubin as words, so that it is aligned as they are; the hosts of GPUs are
 * little-endian. */
static void
put_cubin(EmitC *c, const char *target, const char *cubin, size_t n)
{
  str_printf(&c->body, "static const unsigned long long cubin_%s[] = {", target);
  for (size_t i = 0; i < n; i += 8) {
    unsigned long long word = 0;
    for (size_t b = 0; b < 8 && i + b < n; b++)
      word |= (unsigned long long)(unsigned char)cubin[i + b] << (8 * b);
    str_printf(&c->body, "%s0x%llxu,", i % 32 ? " " : "\n  ", word);
  }
  str_put(&c->body, "\n};\n\n");
}

/* The entries of a target, in the order of their steps. */
static void
put_entries(EmitC *c, const json_t *steps, const char *target)
{
  size_t i;
  json_t *step;
  int n = 0;
  str_printf(&c->body, "static const Entry entries_%s[] = {\n", target);
  json_array_foreach((json_t *)(uintptr_t)steps, i, step)
  {
    const json_t *launch = json_object_get(step, "launch");
    if (!launch)
      continue;
    str_printf(&c->body, "  {\"%s\", %lld},\n", text_of(launch, "entry"),
               (long long)json_integer_value(json_object_get(launch, "shared")));
    n++;
  }
  str_put(&c->body, "};\n\n");
  c->entries[c->n] = n;
  c->most_entries = n > c->most_entries ? n : c->most_entries;
}

static attnc_status
put_kernel(EmitC *c, const json_t *recipe, const EmitImages *images, attnc_error *e)
{
  const char *target = text_of(recipe, "target");
  if (c->n == EMIT_C_TARGETS)
    return err_set(e, ATTNC_ERR_UNSUPPORTED, "--emit c: there are too many targets");
  TRY(check_names(recipe, "tensors", e));
  TRY(check_names(recipe, "scalars", e));
  long long zeroed = emit_c_zeroed(recipe);
  c->zeroed = zeroed > c->zeroed ? zeroed : c->zeroed;
  put_args(c, recipe);
  if (images->ptx)
    put_ptx(c, target, images->ptx);
  if (images->cubin)
    put_cubin(c, target, images->cubin, images->cubin_n);
  TRY(emit_c_steps(c, recipe, target, e));
  put_entries(c, json_object_get(recipe, "steps"), target);
  c->ptx[c->n] = images->ptx;
  c->cubin[c->n] = images->cubin;
  c->exact[c->n] = json_is_true(json_object_get(recipe, "exact"));
  c->targets[c->n++] = arena_strdup(c->arena, target);
  return ATTNC_OK;
}

attnc_status
emit_c_kernel(EmitC *c, const char *json, const EmitImages *images, attnc_error *e)
{
  json_t *recipe = json_loads(json, 0, NULL);
  if (!recipe)
    return err_set(e, ATTNC_ERR_INTERNAL, "attnc_kernel_json: not JSON");
  attnc_status st = put_kernel(c, recipe, images, e);
  json_decref(recipe);
  return st;
}

/* ---- the files ---- */

/* What of a workspace the caller has to see to. */
static void
put_zeroed(const EmitC *c, Str *s)
{
  if (!c->zeroed)
    return;
  str_printf(
      s,
      "/* The first bytes of a workspace that must be zero before its first launch, and\n"
      " * again after anything else wrote there: counters, which every launch leaves at\n"
      " * zero.  Without workspace, blocks are dealt as a grid deals them. */\n"
      "enum { %s_zeroed = %lld };\n",
      c->name, c->zeroed);
}

static void
put_header(const EmitC *c, Str *s)
{
  str_printf(
      s,
      "/* %s.h: written by attnc.  Attention kernel %s over the CUDA Driver API.\n"
      " *\n"
      " * Load once for the current context, launch from any thread, unload when done.\n"
      " * Strides are in elements, of (b, h, s, d), of other tensors in the order of "
      "their\n"
      " * axes; that of the last is 1, and that of an axis of\n"
      " * length 0 or 1 is not looked at.  What attnc_launch refuses, sizes, addresses,\n"
      " * strides and scalars that the kernel was not made for, is\n"
      " * CUDA_ERROR_INVALID_VALUE, and nothing is launched; a device that no target fits\n"
      " * is CUDA_ERROR_NO_BINARY_FOR_GPU. */\n"
      "#ifndef %s_H\n#define %s_H\n\n#include <cuda.h>\n\n"
      "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n"
      "%s%stypedef struct %s_args {\n%s} %s_args;\n\n"
      "typedef struct %s_kernel {\n  CUmodule module;\n  CUfunction functions[%d];\n"
      "  int target;   /* index of the target chosen */\n  int sm_count;\n} %s_kernel;\n\n",
      c->name, c->name, c->name, c->name, c->defaults.p, c->defaults.n ? "\n" : "", c->name,
      c->args.p, c->name, c->name, c->most_entries, c->name);
  put_zeroed(c, s);
  str_printf(
      s,
      "CUresult %s_load(%s_kernel *);\n"
      "/* Bytes of workspace that a launch of these sizes needs, or of smaller ones.\n"
      " * Its content may be anything%s; two launches at a time need one each. */\n"
      "CUresult %s_workspace(const %s_kernel *, const %s_args *, size_t *);\n"
      "CUresult %s_launch(const %s_kernel *, const %s_args *, CUstream);\n"
      "CUresult %s_unload(%s_kernel *);\n\n"
      "#ifdef __cplusplus\n}\n#endif\n#endif\n",
      c->name, c->name, c->zeroed ? ", but for what is said above" : "", c->name, c->name,
      c->name, c->name, c->name, c->name, c->name, c->name);
}

static void
put_table(const EmitC *c, Str *s)
{
  str_printf(s,
             "typedef CUresult Launch(const %s_kernel *, const %s_args *, CUstream);\n"
             "typedef long long Workspace(const %s_kernel *, const %s_args *);\n"
             "static const struct {\n  int cc, exact, n;\n"
             "  const void *cubin, *ptx; /* either may be 0 */\n  const Entry *entries;\n  "
             "Launch *launch;\n"
             "  Workspace *workspace;\n} targets[] = {\n",
             c->name, c->name, c->name, c->name);
  for (int i = 0; i < c->n; i++) {
    const char *t = c->targets[i];
    int cc = 0;
    for (const char *p = t + 3; *p >= '0' && *p <= '9'; p++)
      cc = cc * 10 + (*p - '0');
    str_printf(s, "  {%d, %d, %d, %s%s, %s%s, entries_%s, launch_%s, workspace_%s},\n", cc,
               c->exact[i], c->entries[i], c->cubin[i] ? "cubin_" : "0",
               c->cubin[i] ? t : "", c->ptx[i] ? "ptx_" : "0", c->ptx[i] ? t : "", t, t, t);
  }
  str_put(s, "};\nenum { N_TARGETS = sizeof targets / sizeof *targets };\n\n");
}

/* The best target for a device: its own, else the highest plain one below it, of those that
 * have an image for it. */
static const char choose_text[] =
    "static int\n"
    "runs_cubin(int i, int cc)\n"
    "{\n"
    "  return targets[i].cubin && rule_runs_cubin(targets[i].cc, targets[i].exact, cc);\n"
    "}\n\n"
    "static int\n"
    "choose(int cc)\n"
    "{\n"
    "  int best = -1;\n"
    "  for (int i = 0; i < N_TARGETS; i++) {\n"
    "    if (!(targets[i].ptx && rule_runs(targets[i].cc, targets[i].exact, cc)) &&\n"
    "        !runs_cubin(i, cc))\n"
    "      continue;\n"
    "    if (best < 0 || rule_suits(targets[i].cc, targets[i].exact) >\n"
    "                        rule_suits(targets[best].cc, targets[best].exact))\n"
    "      best = i;\n"
    "  }\n"
    "  return best;\n"
    "}\n\n";

static const char entry_text[] =
    "static CUresult\n"
    "get_entry(CUfunction *f, CUmodule module, const Entry *entry)\n"
    "{\n"
    "  CUresult r = cuModuleGetFunction(f, module, entry->name);\n"
    "  if (r == CUDA_SUCCESS && entry->shared > 0)\n"
    "    r = cuFuncSetAttribute(*f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,\n"
    "                           entry->shared);\n"
    "  return r;\n"
    "}\n\n";

static void
put_load(const EmitC *c, Str *s)
{
  str_printf(
      s,
      "CUresult\n%s_load(%s_kernel *k)\n{\n"
      "  CUdevice device;\n  CUmodule module = 0;\n  CUresult r;\n  int major, minor;\n"
      "  if (!k)\n    return CUDA_ERROR_INVALID_VALUE;\n"
      "  k->module = 0; /* not loaded, until all of it is */\n"
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
      "  r = CUDA_ERROR_NO_BINARY_FOR_GPU;\n"
      "  if (runs_cubin(k->target, major * 10 + minor))\n"
      "    r = cuModuleLoadDataEx(&module, targets[k->target].cubin, 0, 0, 0);\n"
      "  if (r != CUDA_SUCCESS && targets[k->target].ptx)\n"
      "    r = cuModuleLoadDataEx(&module, targets[k->target].ptx, 0, 0, 0);\n"
      "  if (r != CUDA_SUCCESS)\n    return r;\n"
      "  for (int i = 0; i < targets[k->target].n && r == CUDA_SUCCESS; i++)\n"
      "    r = get_entry(&k->functions[i], module, &targets[k->target].entries[i]);\n"
      "  if (r == CUDA_SUCCESS)\n    k->module = module;\n"
      "  else\n    cuModuleUnload(module);\n"
      "  return r;\n}\n\n",
      c->name, c->name);
}

static void
put_uses(const EmitC *c, Str *s)
{
  str_printf(
      s,
      "CUresult\n%s_workspace(const %s_kernel *k, const %s_args *a, size_t *bytes)\n{\n"
      "  const long long n = k && k->module && a && bytes\n"
      "                          ? targets[k->target].workspace(k, a)\n"
      "                          : LLONG_MAX;\n"
      "  if (n == LLONG_MAX)\n    return CUDA_ERROR_INVALID_VALUE;\n"
      "  *bytes = (size_t)n;\n  return CUDA_SUCCESS;\n}\n\n"
      "CUresult\n%s_launch(const %s_kernel *k, const %s_args *a, CUstream stream)\n{\n"
      "  return k && k->module && a ? targets[k->target].launch(k, a, stream)\n"
      "                             : CUDA_ERROR_INVALID_VALUE;\n}\n\n"
      "CUresult\n%s_unload(%s_kernel *k)\n{\n"
      "  const CUresult r =\n"
      "      k && k->module ? cuModuleUnload(k->module) : CUDA_ERROR_INVALID_VALUE;\n"
      "  if (r == CUDA_SUCCESS)\n    k->module = 0;\n  return r;\n}\n",
      c->name, c->name, c->name, c->name, c->name, c->name, c->name, c->name);
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
                  "static long long\nquotient(long long a, long long b)\n{\n"
                  "  if (a == LLONG_MAX || b == LLONG_MAX)\n    return LLONG_MAX;\n"
                  "  return b > 1 ? ceil_div(a, b) : a;\n}\n\n"
                  "/* Of sizes; what is too much to count is the most there is. */\n"
                  "static long long\ntimes(long long a, long long b)\n{\n"
                  "  return a > 0 && b > LLONG_MAX / a ? LLONG_MAX : a * b;\n}\n\n"
                  "static long long\nplus(long long a, long long b)\n{\n"
                  "  return b > LLONG_MAX - a ? LLONG_MAX : a + b;\n}\n\n"
                  "static long long\nsmaller(long long a, long long b)\n{\n"
                  "  return a < b ? a : b;\n}\n\n"
                  "/* Where a region of workspace lies, which begins behind `end`. */\n"
                  "static long long\nregion(long long *end, long long bytes)\n{\n"
                  "  long long at = *end > LLONG_MAX - 255 ? LLONG_MAX"
                  " : (*end + 255) / 256 * 256;\n"
                  "  *end = bytes > LLONG_MAX - at ? LLONG_MAX : at + bytes;\n"
                  "  return at;\n}\n\n"
                  "typedef struct Entry {\n  const char *name;\n  int shared;\n} Entry;\n\n"
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
                  "/* A choice, or what is without it. */\n"
                  "static long long\nor_else(long long a, long long b)\n{\n"
                  "  return a ? a : b;\n}\n\n"
                  "/* n rounded down to a multiple, but not to none. */\n"
                  "static long long\nwhole(long long n, long long of)\n{\n"
                  "  return n < of ? of : n / of * of;\n}\n\n");
  str_put(source, rules_text);
  if (c->maps)
    str_put(source, emit_c_map_text);
  if (c->fits)
    str_put(source, emit_c_fit_text);
  str_put(source, c->body.p);
  put_table(c, source);
  str_put(source, choose_text);
  str_put(source, entry_text);
  put_load(c, source);
  put_uses(c, source);
}
