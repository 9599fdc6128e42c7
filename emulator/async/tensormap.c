#include "emulator/async/tensormap.h"

#include <stdio.h>
#include <string.h>

enum { MAX_BOX = 256, MAX_STEP = 8, LINE = 16 };
#define MAX_DIM    ((uint64_t)1 << 32)
#define MAX_STRIDE ((uint64_t)1 << 40)
#define MARK       0x70616d61746e7461u /* "atntamap" */

/* ---- element types ---- */

typedef struct TypeRow {
  const char *name;
  uint8_t bytes;
  bool is_float, converted;
} TypeRow;

#define NAME(id)     (&#id[sizeof "CU_TENSOR_MAP_DATA_TYPE_" - 1])
#define ROW(id, ...) [id] = {NAME(id), __VA_ARGS__}
static const TypeRow types[] = {
    ROW(CU_TENSOR_MAP_DATA_TYPE_UINT8, 1, false, false),
    ROW(CU_TENSOR_MAP_DATA_TYPE_UINT16, 2, false, false),
    ROW(CU_TENSOR_MAP_DATA_TYPE_UINT32, 4, false, false),
    ROW(CU_TENSOR_MAP_DATA_TYPE_INT32, 4, false, false),
    ROW(CU_TENSOR_MAP_DATA_TYPE_UINT64, 8, false, false),
    ROW(CU_TENSOR_MAP_DATA_TYPE_INT64, 8, false, false),
    ROW(CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2, true, false),
    ROW(CU_TENSOR_MAP_DATA_TYPE_FLOAT32, 4, true, false),
    ROW(CU_TENSOR_MAP_DATA_TYPE_FLOAT64, 8, true, false),
    ROW(CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, true, false),
    ROW(CU_TENSOR_MAP_DATA_TYPE_FLOAT32_FTZ, 4, true, true),
    ROW(CU_TENSOR_MAP_DATA_TYPE_TFLOAT32, 4, true, true),
    ROW(CU_TENSOR_MAP_DATA_TYPE_TFLOAT32_FTZ, 4, true, true),
};
enum { TYPES = sizeof types / sizeof *types };

const char *
tma_type_name(int type)
{
  return types[type].name;
}

bool
tma_type_is_float(int type)
{
  return types[type].is_float;
}

/* ---- the checks ---- */

typedef struct Why {
  char *text;
  size_t n;
} Why;

#define REFUSE(...)                                                                        \
  do {                                                                                     \
    snprintf(why->text, why->n, __VA_ARGS__);                                              \
    return CUDA_ERROR_INVALID_VALUE;                                                       \
  } while (0)
#define LL(x) ((unsigned long long)(x))

static CUresult
check_kinds(const CUtensorMap *map, const TmaArgs *a, const Why *why)
{
  bool interleaved = a->interleave != CU_TENSOR_MAP_INTERLEAVE_NONE;
  if (!map || (uintptr_t)map % CUDA_TENSOR_MAP_ALIGN)
    REFUSE("the map's address is no multiple of 64");
  if ((unsigned)a->type >= TYPES)
    REFUSE("%d is no element type", (int)a->type);
  if (a->rank < 1 || a->rank > TMA_RANK)
    REFUSE("a rank of %u, not 1 to 5", a->rank);
  if (interleaved && a->rank < 3)
    REFUSE("an interleaved tensor of rank %u, which is less than 3", a->rank);
  if ((unsigned)a->interleave > CU_TENSOR_MAP_INTERLEAVE_32B)
    REFUSE("%d is no interleave", (int)a->interleave);
  if ((unsigned)a->swizzle > CU_TENSOR_MAP_SWIZZLE_128B)
    REFUSE("%d is no swizzle", (int)a->swizzle);
  if ((unsigned)a->promotion > CU_TENSOR_MAP_L2_PROMOTION_L2_256B)
    REFUSE("%d is no promotion", (int)a->promotion);
  if ((unsigned)a->fill > CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA)
    REFUSE("%d is no fill", (int)a->fill);
  if (a->fill && !types[a->type].is_float)
    REFUSE("elements of type %s cannot be filled with NaN", types[a->type].name);
  return CUDA_SUCCESS;
}

static CUresult
check_tensor(const TmaArgs *a, const Why *why)
{
  uint64_t line = a->interleave == CU_TENSOR_MAP_INTERLEAVE_32B ? 2 * LINE : LINE;
  if (!a->dims || (a->rank > 1 && !a->byte_strides))
    REFUSE("no dimensions, or no strides");
  if (a->address % line)
    REFUSE("the tensor's address 0x%llx is no multiple of %llu", LL(a->address), LL(line));
  for (uint32_t i = 0; i < a->rank; i++)
    if (!a->dims[i] || a->dims[i] > MAX_DIM)
      REFUSE("dimension %u of %llu elements, not 1 to 2^32", i, LL(a->dims[i]));
  for (uint32_t i = 0; i + 1 < a->rank; i++) {
    if (a->byte_strides[i] % line)
      REFUSE("the stride of dimension %u, %llu bytes, is no multiple of %llu", i + 1,
             LL(a->byte_strides[i]), LL(line));
    if (a->byte_strides[i] >= MAX_STRIDE)
      REFUSE("the stride of dimension %u, %llu bytes, is 2^40 or more", i + 1,
             LL(a->byte_strides[i]));
  }
  return CUDA_SUCCESS;
}

static CUresult
check_box(const TmaArgs *a, const Why *why)
{
  if (!a->box || !a->element_strides)
    REFUSE("no box, or no element strides");
  for (uint32_t i = 0; i < a->rank; i++) {
    if (!a->box[i] || a->box[i] > MAX_BOX)
      REFUSE("the box has %u elements along dimension %u, not 1 to 256", a->box[i], i);
    if (!a->element_strides[i] || a->element_strides[i] > MAX_STEP)
      REFUSE("the element stride along dimension %u is %u, not 1 to 8", i,
             a->element_strides[i]);
  }
  uint32_t inner = a->box[0] * types[a->type].bytes, span = 16u << a->swizzle;
  if (a->interleave == CU_TENSOR_MAP_INTERLEAVE_32B &&
      a->swizzle != CU_TENSOR_MAP_SWIZZLE_32B)
    REFUSE("an interleave of 32 bytes goes with a swizzle of 32 bytes alone");
  if (a->interleave)
    return CUDA_SUCCESS;
  if (inner % LINE)
    REFUSE("rows of the box have %u bytes, no multiple of 16", inner);
  if (a->swizzle && inner > span)
    REFUSE("rows of the box have %u bytes, more than the swizzle's %u", inner, span);
  return CUDA_SUCCESS;
}

/* What a driver takes and this one does not. */
static CUresult
check_emulated(const TmaArgs *a, const Why *why)
{
  uint32_t inner = a->box[0] * types[a->type].bytes, span = 16u << a->swizzle;
  const char *what = a->interleave                ? "interleaved layouts"
                     : types[a->type].converted   ? "element types that are converted"
                     : a->swizzle && inner < span ? "swizzles wider than the box's rows"
                                                  : NULL;
  if (!what)
    return CUDA_SUCCESS;
  snprintf(why->text, why->n, "%s are not emulated", what);
  return CUDA_ERROR_NOT_SUPPORTED;
}

/* ---- the bytes ---- */

/* The second word stays 0: of small tensors' maps CUTLASS clears its bit 21, for the sake
 * of real drivers (cute/atom/copy_traits_sm90_tma.hpp). */
typedef struct Bytes {
  uint64_t mark, nothing, address;
  uint64_t stride[TMA_RANK - 1];
  uint32_t last[TMA_RANK]; /* dimension less 1 */
  uint16_t box[TMA_RANK];
  uint8_t step[TMA_RANK];
  uint8_t rank, type, swizzle, promotion, fill;
  uint8_t interleave, replaced; /* replaced: to be checked again; NO_DIM as well */
  uint8_t zero[22];
  uint64_t sum;
} Bytes;
_Static_assert(sizeof(Bytes) == CUDA_TENSOR_MAP_BYTES, "a map has 128 bytes");

enum { REPLACED = 1, NO_DIM = 2 };

static uint64_t
sum_of(const Bytes *b)
{
  uint64_t words[CUDA_TENSOR_MAP_BYTES / 8], h = 0xcbf29ce484222325u;
  memcpy(words, b, sizeof words);
  for (int i = 0; i < CUDA_TENSOR_MAP_BYTES / 8 - 1; i++)
    h = (h ^ words[i]) * 0x100000001b3u, h ^= h >> 29;
  return h;
}

CUresult
tma_encode(CUtensorMap *map, const TmaArgs *a, char *text, size_t n)
{
  const Why why = {text, n};
  CUresult r = check_kinds(map, a, &why);
  r = r ? r : check_tensor(a, &why);
  r = r ? r : check_box(a, &why);
  r = r ? r : check_emulated(a, &why);
  if (r)
    return r;
  Bytes b = {.mark = MARK,
             .address = a->address,
             .rank = (uint8_t)a->rank,
             .type = (uint8_t)a->type,
             .swizzle = (uint8_t)a->swizzle,
             .promotion = (uint8_t)a->promotion,
             .fill = (uint8_t)a->fill};
  for (uint32_t i = 0; i < a->rank; i++) {
    b.last[i] = (uint32_t)(a->dims[i] - 1);
    b.box[i] = (uint16_t)a->box[i];
    b.step[i] = (uint8_t)a->element_strides[i];
  }
  for (uint32_t i = 0; i + 1 < a->rank; i++)
    b.stride[i] = a->byte_strides[i];
  b.sum = sum_of(&b);
  memcpy(map, &b, sizeof b);
  return CUDA_SUCCESS;
}

/* The checks of a new map on what was put in its place. */
static CUresult
check_replaced(const Bytes *b, const Why *why)
{
  uint64_t dims[TMA_RANK];
  uint32_t box[TMA_RANK], steps[TMA_RANK];
  _Alignas(CUDA_TENSOR_MAP_ALIGN) CUtensorMap somewhere;
  for (int i = 0; i < TMA_RANK; i++) {
    dims[i] = (uint64_t)b->last[i] + 1;
    box[i] = b->box[i];
    steps[i] = b->step[i];
  }
  const TmaArgs a = {.type = (CUtensorMapDataType)b->type,
                     .rank = b->rank,
                     .address = b->address,
                     .dims = dims,
                     .byte_strides = b->stride,
                     .box = box,
                     .element_strides = steps,
                     .interleave = (CUtensorMapInterleave)b->interleave,
                     .swizzle = (CUtensorMapSwizzle)b->swizzle,
                     .fill = (CUtensorMapFloatOOBfill)b->fill};
  if (b->replaced & NO_DIM)
    REFUSE("a dimension of no elements");
  CUresult r = check_kinds(&somewhere, &a, why);
  r = r ? r : check_tensor(&a, why);
  r = r ? r : check_box(&a, why);
  return r ? r : check_emulated(&a, why);
}

static bool
is_map(const Bytes *b)
{
  return b->mark == MARK && b->sum == sum_of(b);
}

bool
tma_is_wrong(const void *bytes, char *text, size_t n)
{
  const Why why = {text, n};
  Bytes b;
  memcpy(&b, bytes, sizeof b);
  return is_map(&b) && b.replaced && check_replaced(&b, &why);
}

/* PTX ISA, tensormap.replace, table of .elemtype. */
static const uint8_t elemtypes[] = {
    CU_TENSOR_MAP_DATA_TYPE_UINT8,        CU_TENSOR_MAP_DATA_TYPE_UINT16,
    CU_TENSOR_MAP_DATA_TYPE_UINT32,       CU_TENSOR_MAP_DATA_TYPE_INT32,
    CU_TENSOR_MAP_DATA_TYPE_UINT64,       CU_TENSOR_MAP_DATA_TYPE_INT64,
    CU_TENSOR_MAP_DATA_TYPE_FLOAT16,      CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
    CU_TENSOR_MAP_DATA_TYPE_FLOAT32_FTZ,  CU_TENSOR_MAP_DATA_TYPE_FLOAT64,
    CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,     CU_TENSOR_MAP_DATA_TYPE_TFLOAT32,
    CU_TENSOR_MAP_DATA_TYPE_TFLOAT32_FTZ,
};

static uint64_t
at_most(uint64_t v, uint64_t most)
{
  return v < most ? v : most;
}

static void
replace_dim(Bytes *b, uint32_t ordinal, uint32_t v)
{
  b->last[ordinal] = v - 1;
  b->replaced |= v ? 0 : NO_DIM;
}

bool
tma_replace(void *bytes, TmaField field, uint32_t ordinal, uint64_t v)
{
  Bytes b;
  memcpy(&b, bytes, sizeof b);
  if (!is_map(&b))
    return false;
  b.replaced |= REPLACED;
  switch (field) {
  case TMA_ADDRESS:
    b.address = v;
    break;
  case TMA_RANK_LESS_1:
    b.rank = (uint8_t)(at_most(v, 100) + 1);
    break;
  case TMA_BOX:
    b.box[ordinal] = (uint16_t)at_most(v, UINT16_MAX);
    break;
  case TMA_DIM:
    replace_dim(&b, ordinal, (uint32_t)v);
    break;
  case TMA_STRIDE:
    b.stride[ordinal] = v;
    break;
  case TMA_STEP:
    b.step[ordinal] = (uint8_t)at_most(v, UINT8_MAX);
    break;
  case TMA_TYPE:
    b.type = v < sizeof elemtypes ? elemtypes[v] : UINT8_MAX;
    break;
  case TMA_INTERLEAVE:
    b.interleave = (uint8_t)v;
    break;
  case TMA_SWIZZLE:
    b.swizzle = (uint8_t)v;
    break;
  case TMA_FILL:
    b.fill = (uint8_t)v;
    break;
  }
  b.sum = sum_of(&b);
  memcpy(bytes, &b, sizeof b);
  return true;
}

/* Without an interleave the innermost dimension has no element stride (Driver API). */
bool
tma_decode(TmaMap *m, const void *bytes)
{
  Bytes b;
  memcpy(&b, bytes, sizeof b);
  char text[200];
  const Why why = {text, sizeof text};
  if (!is_map(&b) || (b.replaced && check_replaced(&b, &why)))
    return false;
  *m = (TmaMap){.address = b.address,
                .rank = b.rank,
                .type = b.type,
                .elem = types[b.type].bytes,
                .swizzle = b.swizzle,
                .nan_fill = b.fill != 0};
  for (int i = 0; i < TMA_RANK; i++) {
    bool in = i < b.rank;
    m->dim[i] = (uint64_t)b.last[i] + 1;
    m->stride[i] = i ? b.stride[i - 1] : m->elem;
    m->step[i] = in && i ? b.step[i] : 1;
    m->count[i] = in ? (b.box[i] + m->step[i] - 1) / m->step[i] : 1;
  }
  return true;
}

uint32_t
tma_box_bytes(const TmaMap *m)
{
  uint32_t n = m->elem;
  for (int i = 0; i < TMA_RANK; i++)
    n *= m->count[i];
  return n;
}
