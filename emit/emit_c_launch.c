/* What of a recipe needs more than cuLaunchKernel: tensor maps, clusters, programmatic
 * serialization. */
#include "emit/emit_c.h"

#include "base/dtype.h"
#include "base/err.h"

#include <string.h>

int
emit_c_bytes(const char *dtype)
{
  int i = dtype_find(dtype);
  return i < 0 ? 0 : dtype_bytes((Dtype)i);
}

/* As runtime/launch_map.c has it. */
const char emit_c_fit_text[] =
    "/* n, or the largest power of 2 that divides the size, if that is less. */\n"
    "static long long\n"
    "fitted(long long n, long long size)\n"
    "{\n"
    "  return size > 0 && (size & -size) < n ? size & -size : n;\n"
    "}\n\n";

const char emit_c_map_text[] =
    "/* A dimension of one element may have any stride; a tensor without elements may "
    "have\n"
    " * no memory: nothing is read through its map, which is then of other memory. */\n"
    "static CUresult\n"
    "encode_map(CUtensorMap *map, CUtensorMapDataType type, int bytes, unsigned rank,\n"
    "           CUdeviceptr data, CUdeviceptr other, const long long *n,\n"
    "           const long long *stride, const long long *times, const long long *before,\n"
    "           const uint32_t *box,\n"
    "           CUtensorMapSwizzle swizzle, CUtensorMapL2promotion l2)\n"
    "{\n"
    "  static const uint32_t ones[5] = {1, 1, 1, 1, 1};\n"
    "  const uint64_t row = ((uint64_t)n[0] * (unsigned)bytes + 15) / 16 * 16;\n"
    "  uint64_t dims[5], strides[4];\n"
    "  int empty = 0;\n"
    "  data = data ? data : other;\n"
    "  for (unsigned i = 0; i < rank; i++) {\n"
    "    empty |= n[i] == 0;\n"
    "    dims[i] = (n[i] == 0 ? 1 : (uint64_t)n[i]) + (uint64_t)before[i];\n"
    "  }\n"
    "  for (unsigned i = 1; i < rank; i++) {\n"
    "    if (empty || n[i + (i + 1 < rank && before[i + 1])] == 1) {\n"
    "      strides[i - 1] = row ? row : 16;\n"
    "    } else {\n"
    "      if (stride[i] < 0 || stride[i] > ((1LL << 40) - 1) / (bytes * times[i]) ||\n"
    "          stride[i] * times[i] * bytes % 16 != 0)\n"
    "        return CUDA_ERROR_INVALID_VALUE;\n"
    "      strides[i - 1] = (uint64_t)(stride[i] * times[i] * bytes);\n"
    "    }\n"
    "    if (data < (uint64_t)before[i] * strides[i - 1])\n"
    "      return CUDA_ERROR_INVALID_VALUE;\n"
    "    data -= (uint64_t)before[i] * strides[i - 1];\n"
    "  }\n"
    "  return cuTensorMapEncodeTiled(map, type, rank, (void *)(uintptr_t)data, dims, "
    "strides,\n"
    "                                box, ones, CU_TENSOR_MAP_INTERLEAVE_NONE,\n"
    "                                swizzle, l2, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);\n"
    "}\n\n";

/* ---- maps ---- */

static long long
number(const json_t *o, const char *key, long long absent)
{
  const json_t *v = json_object_get(o, key);
  return v ? (long long)json_integer_value(v) : absent;
}

/* The arrays that encode_map takes: counts, strides (in elements; of the innermost
 * dimension: 1), their factors, elements that are counted before the tensor's, and those of
 * a box. */
typedef struct DimLists {
  Str n, stride, times, before, box;
  const char *fit; /* a size, or NULL */
  const json_t *boxes;
  size_t at; /* the dimension of the map */
} DimLists;

/* So many, or as many as divide the size that the dimension fits. */
static void
put_fitted(Str *s, const DimLists *l, const json_t *dim, long long n)
{
  const char *size = json_string_value(json_object_get(dim, "size"));
  if (n && l->fit && size && str_eq(size, l->fit))
    str_printf(s, "fitted(%lldLL, a->%s)", n, size);
  else
    str_printf(s, "%lldLL", n);
}

static void
put_box(DimLists *l, const json_t *dim)
{
  long long n = (long long)json_integer_value(json_array_get(l->boxes, l->at));
  str_put(&l->box, l->at ? ", (uint32_t)" : "(uint32_t)");
  put_fitted(&l->box, l, dim, n);
  l->at++;
}

static void
put_dim(DimLists *l, const json_t *d, const char *tensor, long long before)
{
  bool first = l->at == 0;
  const char *comma = first ? "" : ", ";
  if (first)
    str_put(&l->stride, "1");
  else
    str_printf(&l->stride, ", %s_stride[%lld]", tensor, number(d, "stride", 0));
  str_printf(&l->times, "%s%lldLL", comma, number(d, "times", 1));
  str_put(&l->before, comma);
  put_fitted(&l->before, l, d, before);
  put_box(l, d);
}

/* A dimension over which a box slides is two: runtime/recipe.h, MapDim. */
static void
put_dims(EmitC *c, const json_t *map, const char *tensor, size_t p)
{
  size_t i;
  json_t *d, *dims = json_object_get(map, "dims");
  DimLists l = {.n = str_new(c->arena),
                .stride = str_new(c->arena),
                .times = str_new(c->arena),
                .before = str_new(c->arena),
                .box = str_new(c->arena)};
  l.fit = json_string_value(json_object_get(map, "fit"));
  l.boxes = json_object_get(map, "box");
  c->fits = c->fits || l.fit;
  json_array_foreach(dims, i, d)
  {
    const char *comma = i ? ", " : "",
               *size = json_string_value(json_object_get(d, "size"));
    long long slide = number(d, "slide", 0);
    if (slide) {
      str_put(&l.n, comma);
      put_fitted(&l.n, &l, d, slide);
      put_dim(&l, d, tensor, 0);
    }
    if (size)
      str_printf(&l.n, "%sa->%s", comma, size);
    else
      str_printf(&l.n, "%s%lldLL", comma, number(d, "n", 1));
    put_dim(&l, d, tensor, slide);
  }
  str_printf(&c->body,
             "  const long long n%zu[] = {%s}, stride%zu[] = {%s}, times%zu[] = {%s},\n"
             "                  before%zu[] = {%s};\n"
             "  const uint32_t box%zu[] = {%s};\n",
             p, l.n.p, p, l.stride.p, p, l.times.p, p, l.before.p, p, l.box.p);
}

/* "64B" of 64, `none` of 0. */
static const char *
bytes_word(EmitC *c, const char *before, long long bytes)
{
  return bytes ? arena_printf(c->arena, "%s%lldB", before, bytes) : "NONE";
}

attnc_status
emit_c_map(EmitC *c, const json_t *tensor, const char *other, const json_t *map, size_t p,
           attnc_error *e)
{
  const char *name = json_string_value(json_object_get(tensor, "name"));
  const char *dtype = json_string_value(json_object_get(tensor, "dtype"));
  const json_t *box = json_object_get(map, "box");
  int ty = dtype ? dtype_find(dtype) : -1;
  if (!name || ty < 0)
    return err_set(e, ATTNC_ERR_UNSUPPORTED,
                   "--emit c: the recipe has a map of a tensor of an unknown dtype");
  c->maps = true;
  put_dims(c, map, name, p);
  str_printf(&c->body,
             "  CUtensorMap p%zu;\n"
             "  if ((r = encode_map(&p%zu, CU_TENSOR_MAP_DATA_TYPE_%s, %d, %zu, a->%s,\n"
             "                      a->%s, n%zu, stride%zu, times%zu, before%zu, box%zu,\n"
             "                      CU_TENSOR_MAP_SWIZZLE_%s,\n"
             "                      CU_TENSOR_MAP_L2_PROMOTION_%s)) != CUDA_SUCCESS)\n"
             "    return r;\n",
             p, p, dtype_info[ty].map, dtype_info[ty].bytes, json_array_size(box), name,
             other, p, p, p, p, p, bytes_word(c, "", number(map, "swizzle", 0)),
             bytes_word(c, "L2_", number(map, "l2", 0)));
  return ATTNC_OK;
}

/* ---- the call ---- */

static void
put_plain(EmitC *c, const long long *block, long long shared, size_t step, size_t function)
{
  str_printf(
      &c->body,
      "  if (runs%zu &&\n"
      "      (r = cuLaunchKernel(k->functions[%zu], (unsigned)grid%zu[0],\n"
      "                          (unsigned)grid%zu[1], (unsigned)grid%zu[2], %lldu,\n"
      "                          %lldu, %lldu, %lldu, stream, params%zu, 0)) !=\n"
      "          CUDA_SUCCESS)\n    return r;\n",
      step, function, step, step, step, block[0], block[1], block[2], shared, step);
}

/* What a launch says of blocks; false: no cluster. */
static bool
cluster_of(const json_t *launch, long long cluster[3])
{
  const json_t *given = json_object_get(launch, "cluster");
  for (size_t i = 0; i < 3; i++)
    cluster[i] = given ? (long long)json_integer_value(json_array_get(given, i)) : 1;
  return cluster[0] * cluster[1] * cluster[2] != 1;
}

void
emit_c_cluster(EmitC *c, const json_t *launch, size_t step)
{
  long long cluster[3];
  if (!cluster_of(launch, cluster))
    return;
  str_printf(&c->body,
             "  if (grid%zu[0] %% %lldLL != 0 || grid%zu[1] %% %lldLL != 0 ||\n"
             "      grid%zu[2] %% %lldLL != 0)\n"
             "    return CUDA_ERROR_INVALID_VALUE;\n",
             step, cluster[0], step, cluster[1], step, cluster[2]);
}

static void
put_attributes(EmitC *c, const json_t *launch)
{
  long long cluster[3];
  if (cluster_of(launch, cluster))
    str_printf(
        &c->body,
        "    attributes[config.numAttrs].id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;\n"
        "    attributes[config.numAttrs].value.clusterDim.x = %lldu;\n"
        "    attributes[config.numAttrs].value.clusterDim.y = %lldu;\n"
        "    attributes[config.numAttrs++].value.clusterDim.z = %lldu;\n",
        cluster[0], cluster[1], cluster[2]);
  if (json_is_true(json_object_get(launch, "serialization")))
    str_put(&c->body, "    attributes[config.numAttrs].id =\n"
                      "        CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;\n"
                      "    attributes[config.numAttrs++]\n"
                      "        .value.programmaticStreamSerializationAllowed = 1;\n");
}

static void
put_extended(EmitC *c, const json_t *launch, const long long *block, long long shared,
             size_t step, size_t function)
{
  static const char *const axes = "XYZ";
  str_printf(&c->body,
             "  if (runs%zu) {\n    CUlaunchAttribute attributes[2];\n"
             "    CUlaunchConfig config = {0};\n",
             step);
  for (int i = 0; i < 3; i++)
    str_printf(&c->body,
               "    config.gridDim%c = (unsigned)grid%zu[%d];\n"
               "    config.blockDim%c = %lldu;\n",
               axes[i], step, i, axes[i], block[i]);
  str_printf(&c->body,
             "    config.sharedMemBytes = %lldu;\n    config.hStream = stream;\n"
             "    config.attrs = attributes;\n",
             shared);
  put_attributes(c, launch);
  str_printf(&c->body,
             "    r = cuLaunchKernelEx(&config, k->functions[%zu], params%zu, 0);\n"
             "    if (r != CUDA_SUCCESS)\n      return r;\n  }\n",
             function, step);
}

void
emit_c_call(EmitC *c, const json_t *launch, size_t step, size_t function)
{
  const json_t *list = json_object_get(launch, "block");
  long long block[3], cluster[3], shared = number(launch, "shared", 0);
  for (size_t i = 0; i < 3; i++)
    block[i] = (long long)json_integer_value(json_array_get(list, i));
  if (cluster_of(launch, cluster) || json_is_true(json_object_get(launch, "serialization")))
    put_extended(c, launch, block, shared, step, function);
  else
    put_plain(c, block, shared, step, function);
}
