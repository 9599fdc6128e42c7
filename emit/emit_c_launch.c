/* What of a recipe needs more than cuLaunchKernel: tensor maps, clusters, programmatic
 * serialization. */
#include "emit/emit_c.h"

#include "base/err.h"

#include <string.h>

static const struct {
  const char *name, *type;
  int bytes;
} dtypes[] = {{"fp16", "FLOAT16", 2},
              {"bf16", "BFLOAT16", 2},
              {"fp32", "FLOAT32", 4},
              {"e4m3", "UINT8", 1},
              {"e5m2", "UINT8", 1}};

static int
dtype_index(const char *name)
{
  for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
    if (str_eq(dtypes[i].name, name))
      return (int)i;
  return -1;
}

int
emit_c_bytes(const char *dtype)
{
  int i = dtype_index(dtype);
  return i < 0 ? 0 : dtypes[i].bytes;
}

/* As runtime/launch_map.c has it. */
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
 * dimension: 1), their factors, and elements that are counted before the tensor's. */
typedef struct DimLists {
  Str n, stride, times, before;
} DimLists;

static void
put_dim(DimLists *l, const json_t *d, const char *tensor, bool first, long long before)
{
  const char *comma = first ? "" : ", ";
  if (first)
    str_put(&l->stride, "1");
  else
    str_printf(&l->stride, ", %s_stride[%lld]", tensor, number(d, "stride", 0));
  str_printf(&l->times, "%s%lldLL", comma, number(d, "times", 1));
  str_printf(&l->before, "%s%lldLL", comma, before);
}

/* A dimension over which a box slides is two: runtime/recipe.h, MapDim. */
static void
put_dims(EmitC *c, const json_t *dims, const char *tensor, size_t p)
{
  size_t i;
  json_t *d;
  DimLists l = {str_new(c->arena), str_new(c->arena), str_new(c->arena), str_new(c->arena)};
  json_array_foreach((json_t *)(uintptr_t)dims, i, d)
  {
    const char *comma = i ? ", " : "",
               *size = json_string_value(json_object_get(d, "size"));
    long long slide = number(d, "slide", 0);
    if (slide) {
      str_printf(&l.n, "%s%lldLL", comma, slide);
      put_dim(&l, d, tensor, i == 0, 0);
    }
    if (size)
      str_printf(&l.n, "%sa->%s", comma, size);
    else
      str_printf(&l.n, "%s%lldLL", comma, number(d, "n", 1));
    put_dim(&l, d, tensor, i == 0, slide);
  }
  str_printf(&c->body,
             "  const long long n%zu[] = {%s}, stride%zu[] = {%s}, times%zu[] = {%s},\n"
             "                  before%zu[] = {%s};\n",
             p, l.n.p, p, l.stride.p, p, l.times.p, p, l.before.p);
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
  const json_t *dims = json_object_get(map, "dims"), *box = json_object_get(map, "box");
  int ty = dtype ? dtype_index(dtype) : -1;
  if (!name || ty < 0)
    return err_set(e, ATTNC_ERR_UNSUPPORTED,
                   "--emit c: the recipe has a map of a tensor of an unknown dtype");
  c->maps = true;
  put_dims(c, dims, name, p);
  str_printf(&c->body, "  static const uint32_t box%zu[] = {", p);
  for (size_t i = 0; i < json_array_size(box); i++)
    str_printf(&c->body, "%s%lld", i ? ", " : "",
               (long long)json_integer_value(json_array_get(box, i)));
  str_printf(&c->body,
             "};\n  CUtensorMap p%zu;\n"
             "  if ((r = encode_map(&p%zu, CU_TENSOR_MAP_DATA_TYPE_%s, %d, %zu, a->%s,\n"
             "                      a->%s, n%zu, stride%zu, times%zu, before%zu, box%zu,\n"
             "                      CU_TENSOR_MAP_SWIZZLE_%s,\n"
             "                      CU_TENSOR_MAP_L2_PROMOTION_%s)) != CUDA_SUCCESS)\n"
             "    return r;\n",
             p, p, dtypes[ty].type, dtypes[ty].bytes, json_array_size(box), name, other, p,
             p, p, p, p, bytes_word(c, "", number(map, "swizzle", 0)),
             bytes_word(c, "L2_", number(map, "l2", 0)));
  return ATTNC_OK;
}

/* ---- the call ---- */

static void
put_plain(EmitC *c, const long long *block, long long shared)
{
  str_printf(&c->body,
             "  return cuLaunchKernel(k->function, (unsigned)grid[0], (unsigned)grid[1],\n"
             "                        (unsigned)grid[2], %lldu, %lldu, %lldu, %lldu,\n"
             "                        stream, params, 0);\n}\n\n",
             block[0], block[1], block[2], shared);
}

static void
put_cluster(EmitC *c, const long long *cluster)
{
  str_printf(&c->body,
             "  if (grid[0] %% %lldLL != 0 || grid[1] %% %lldLL != 0 ||\n"
             "      grid[2] %% %lldLL != 0)\n"
             "    return CUDA_ERROR_INVALID_VALUE;\n"
             "  attributes[config.numAttrs].id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;\n"
             "  attributes[config.numAttrs].value.clusterDim.x = %lldu;\n"
             "  attributes[config.numAttrs].value.clusterDim.y = %lldu;\n"
             "  attributes[config.numAttrs++].value.clusterDim.z = %lldu;\n",
             cluster[0], cluster[1], cluster[2], cluster[0], cluster[1], cluster[2]);
}

static void
put_extended(EmitC *c, const long long *block, long long shared, const long long *cluster,
             bool serialization)
{
  static const char *const axes = "XYZ";
  str_put(&c->body, "  CUlaunchAttribute attributes[2];\n"
                    "  CUlaunchConfig config = {0};\n");
  for (int i = 0; i < 3; i++)
    str_printf(&c->body,
               "  config.gridDim%c = (unsigned)grid[%d];\n  config.blockDim%c = %lldu;\n",
               axes[i], i, axes[i], block[i]);
  str_printf(&c->body,
             "  config.sharedMemBytes = %lldu;\n  config.hStream = stream;\n"
             "  config.attrs = attributes;\n",
             shared);
  if (cluster[0] * cluster[1] * cluster[2] != 1)
    put_cluster(c, cluster);
  if (serialization)
    str_put(
        &c->body,
        "  attributes[config.numAttrs].id =\n"
        "      CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;\n"
        "  attributes[config.numAttrs++].value.programmaticStreamSerializationAllowed = "
        "1;\n");
  str_put(&c->body, "  return cuLaunchKernelEx(&config, k->function, params, 0);\n}\n\n");
}

void
emit_c_call(EmitC *c, const json_t *launch)
{
  const json_t *list = json_object_get(launch, "block");
  const json_t *given = json_object_get(launch, "cluster");
  long long block[3], cluster[3] = {1, 1, 1}, shared = number(launch, "shared", 0);
  bool serialization = json_is_true(json_object_get(launch, "serialization"));
  for (size_t i = 0; i < 3; i++) {
    block[i] = (long long)json_integer_value(json_array_get(list, i));
    if (given)
      cluster[i] = (long long)json_integer_value(json_array_get(given, i));
  }
  if (serialization || cluster[0] * cluster[1] * cluster[2] != 1)
    put_extended(c, block, shared, cluster, serialization);
  else
    put_plain(c, block, shared);
}
