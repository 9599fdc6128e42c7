/* Tensor maps of a call: the shape that the arguments give each, checked, and encoded by
 * the driver where it is not the one that is there already. */
#include "base/err.h"
#include "base/str.h"
#include "runtime/launch.h"

#include <stdio.h>
#include <string.h>

/* CUDA Driver API reference, cuTensorMapEncodeTiled. */
#define MAX_COUNT  ((int64_t)1 << 32)
#define MAX_STRIDE ((int64_t)1 << 40)
enum { LINE = 16, TEXT = 320 };

/* A map's tensor, for messages: "k: stride[2]". */
typedef struct Place {
  const char *tensor;
  int stride;
} Place;

static attnc_status
byte_stride(const Place *at, int64_t elements, int64_t times, int bytes, uint64_t *out,
            attnc_error *e)
{
  int64_t scaled;
  if (elements < 0)
    return err_set(e, ATTNC_ERR_SHAPE,
                   "%s: stride[%d] is %lld; a tensor map takes none "
                   "below 0",
                   at->tensor, at->stride, (long long)elements);
  if (__builtin_mul_overflow(elements, times * bytes, &scaled) || scaled >= MAX_STRIDE)
    return err_set(e, ATTNC_ERR_SHAPE,
                   "%s: stride[%d] of %lld elements is 2^40 bytes or "
                   "more, which a tensor map does not take",
                   at->tensor, at->stride, (long long)elements);
  if (scaled % LINE)
    return err_set(e, ATTNC_ERR_ALIGN,
                   "%s: stride[%d] of %lld elements is not a multiple of "
                   "%d bytes, which a tensor map needs",
                   at->tensor, at->stride, (long long)elements, LINE);
  *out = (uint64_t)scaled;
  return ATTNC_OK;
}

/* So many elements along it, or as many as divide the size that they fit. */
static int64_t
fitted(const MapDim *d, const attnc_sizes *sizes, int64_t n)
{
  int64_t size = d->fits ? size_get(sizes, d->size) : 0, low = size & -size;
  return size > 0 && low < n ? low : n;
}

static int64_t
count_of(const MapDim *d, const attnc_sizes *sizes)
{
  return d->n ? fitted(d, sizes, d->n) : size_get(sizes, d->size);
}

static int64_t
before(const MapDim *d, const attnc_sizes *sizes)
{
  return d->before ? fitted(d, sizes, d->before) : 0;
}

static bool
holds_nothing(const TensorMap *m, const attnc_sizes *sizes)
{
  for (int i = 0; i < m->n_dims; i++)
    if (count_of(&m->dim[i], sizes) == 0)
      return true;
  return false;
}

/* A dimension of one element, or any of a tensor without elements, is never stepped along,
 * and its stride in the tensor may be anything: what is encoded is that of rows without a
 * gap. */
static uint64_t
any_stride(const MapShape *s, int bytes)
{
  uint64_t row = s->count[0] * (uint64_t)bytes;
  return (row + LINE - 1) / LINE * LINE;
}

static attnc_status
shape_dim(const Recipe *r, const TensorMap *m, int i, const LaunchArgs *a, bool steps,
          MapShape *s, attnc_error *e)
{
  const MapDim *d = &m->dim[i];
  const CallTensor *t = &r->tensors[m->slot];
  const Place at = {t->name, d->stride};
  int64_t n = count_of(d, &a->sizes), along = n; /* elements that the stride leads along */
  if (d->slides)
    along = count_of(d + 1, &a->sizes);
  if (n > MAX_COUNT)
    return err_set(e, ATTNC_ERR_SHAPE, "%s: %s is %lld, more than the 2^32 of a tensor map",
                   t->name, d->n ? "a dimension" : size_names[d->size], (long long)n);
  /* The driver takes no dimension without elements; the kernel does not look at this one.
   */
  s->count[i] = (n < 1 ? 1 : (uint64_t)n) + (uint64_t)before(d, &a->sizes);
  s->box[i] = (uint32_t)fitted(d, &a->sizes, m->box[i]);
  if (i == 0)
    return ATTNC_OK;
  if (along > 1 && steps)
    return byte_stride(&at, a->tensors[m->slot].stride[d->stride], d->times,
                       dtype_bytes(t->dtype), &s->stride[i - 1], e);
  s->stride[i - 1] = any_stride(s, dtype_bytes(t->dtype));
  return ATTNC_OK;
}

/* Where a tensor without elements has no memory, that of another of the call. */
static void *
address(const Recipe *r, const TensorMap *m, const LaunchArgs *a)
{
  void *data = a->tensors[m->slot].data;
  for (int i = 0; !data && i < r->n_slots; i++)
    if (r->tensors[i].name)
      data = a->tensors[i].data;
  return data;
}

/* The map begins before the tensor, at elements that no box reaches. */
static attnc_status
start_before(const Recipe *r, const TensorMap *m, int i, int64_t rows, MapShape *s,
             attnc_error *e)
{
  uint64_t ahead = (uint64_t)rows * s->stride[i - 1];
  if ((uintptr_t)s->address < ahead)
    return err_set(e, ATTNC_ERR_SHAPE,
                   "%s: stride[%d] of %llu bytes leads from %p to below address 0 in %lld "
                   "rows, where its tensor map would begin",
                   r->tensors[m->slot].name, m->dim[i].stride,
                   (unsigned long long)s->stride[i - 1], s->address, (long long)rows);
  s->address = (void *)((uintptr_t)s->address - (uintptr_t)ahead);
  return ATTNC_OK;
}

static attnc_status
shape_of(const Recipe *r, const TensorMap *m, const LaunchArgs *a, MapShape *s,
         attnc_error *e)
{
  bool steps = !holds_nothing(m, &a->sizes);
  memset(s, 0, sizeof *s);
  s->address = address(r, m, a);
  for (int i = 0; i < m->n_dims; i++) {
    TRY(shape_dim(r, m, i, a, steps, s, e));
    if (m->dim[i].before)
      TRY(start_before(r, m, i, before(&m->dim[i], &a->sizes), s, e));
  }
  return ATTNC_OK;
}

/* ---- what the driver refuses ---- */

static void
put_list(char *text, const char *name, const uint64_t *v, int n)
{
  size_t used = strlen(text);
  for (int i = 0; i < n && used < TEXT; i++) {
    int more = snprintf(text + used, TEXT - used, "%s%llu", i ? " " : name,
                        (unsigned long long)v[i]);
    used += more > 0 ? (size_t)more : 0;
  }
}

/* A dimension that repeats the same elements, or -1. */
static int
repeated(const TensorMap *m, const MapShape *s)
{
  for (int i = 1; i < m->n_dims; i++)
    if (s->count[i] > 1 && s->stride[i - 1] == 0)
      return m->dim[i].stride;
  return -1;
}

static attnc_status
refused(const attnc_plan *p, const TensorMap *m, const MapShape *s, CUresult code,
        attnc_error *e)
{
  const char *tensor = p->recipe->tensors[m->slot].name;
  int zero = repeated(m, s);
  char text[TEXT];
  if (zero >= 0)
    return err_driver(e, ATTNC_ERR_SHAPE, code,
                      "%s: stride[%d] is 0, and cuTensorMapEncodeTiled of %s takes no "
                      "dimension that repeats its elements",
                      tensor, zero, p->drv->path);
  snprintf(text, sizeof text, "tensor map of %s", tensor);
  put_list(text, ": dimensions ", s->count, m->n_dims);
  put_list(text, ", strides in bytes ", s->stride, m->n_dims - 1);
  return drv_fail(p->drv, code, "cuTensorMapEncodeTiled", text, e);
}

/* ---- encoding ---- */

static CUtensorMapSwizzle
swizzle_of(int bytes)
{
  return bytes == 128  ? CU_TENSOR_MAP_SWIZZLE_128B
         : bytes == 64 ? CU_TENSOR_MAP_SWIZZLE_64B
         : bytes == 32 ? CU_TENSOR_MAP_SWIZZLE_32B
                       : CU_TENSOR_MAP_SWIZZLE_NONE;
}

static CUtensorMapL2promotion
promotion_of(int bytes)
{
  return bytes == 256   ? CU_TENSOR_MAP_L2_PROMOTION_L2_256B
         : bytes == 128 ? CU_TENSOR_MAP_L2_PROMOTION_L2_128B
         : bytes == 64  ? CU_TENSOR_MAP_L2_PROMOTION_L2_64B
                        : CU_TENSOR_MAP_L2_PROMOTION_NONE;
}

static const CUtensorMapDataType map_types[DT_COUNT] = {
#define X(id, name, bytes, map, mma) CU_TENSOR_MAP_DATA_TYPE_##map,
    DTYPE_TABLE(X)
#undef X
};

static attnc_status
encode(const attnc_plan *p, const TensorMap *m, const MapShape *s, CUtensorMap *out,
       attnc_error *e)
{
  static const uint32_t ones[MAP_DIMS] = {1, 1, 1, 1, 1};
  CUresult code = p->drv->cuTensorMapEncodeTiled(
      out, map_types[p->recipe->tensors[m->slot].dtype], (uint32_t)m->n_dims, s->address,
      s->count, s->stride, s->box, ones, CU_TENSOR_MAP_INTERLEAVE_NONE,
      swizzle_of(m->swizzle), promotion_of(m->l2), CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return code == CUDA_SUCCESS ? ATTNC_OK : refused(p, m, s, code, e);
}

attnc_status
launch_map(const attnc_plan *p, const Param *q, const LaunchArgs *a, Packed *out,
           attnc_error *e)
{
  MapShape now, *have = &out->shapes[q->index];
  TRY(shape_of(p->recipe, q->map, a, &now, e));
  if (have->address && !memcmp(&now, have, sizeof now))
    return ATTNC_OK;
  have->address = NULL;
  TRY(encode(p, q->map, &now, &out->maps[q->index], e));
  *have = now;
  return ATTNC_OK;
}
