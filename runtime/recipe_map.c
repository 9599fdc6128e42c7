/* Tensor maps of a recipe: what cuTensorMapEncodeTiled would refuse whatever the call's
 * sizes are is refused here. */
#include "runtime/recipe_read.h"

#include "base/err.h"
#include "base/rules.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* CUDA Driver API reference, cuTensorMapEncodeTiled. */
enum { MAX_BOX = 256, MAX_TIMES = 1 << 20, LINE = 16 };

/* One of these words of bytes. */
static attnc_status
read_bytes(Reader *rd, json_t *v, const char *key, const int64_t *allowed, int n, int *out)
{
  int64_t bytes = 0;
  TRY(read_int_in(rd, json_object_get(v, key), key, 0, INT_MAX, &bytes));
  *out = (int)bytes;
  for (int i = 0; i < n; i++)
    if (allowed[i] == bytes)
      return ATTNC_OK;
  return read_bad(rd, "'%s': %lld is not one of 0, %lld, %lld, %lld", key, (long long)bytes,
                  (long long)allowed[1], (long long)allowed[2], (long long)allowed[3]);
}

/* {"n": 128} or {"size": "sq"}. */
static attnc_status
read_count(Reader *rd, json_t *v, MapDim *d)
{
  json_t *n = json_object_get(v, "n"), *size = json_object_get(v, "size");
  if (!n == !size)
    return read_bad(rd, "a dimension has either 'n' or 'size'");
  return n ? read_int_in(rd, n, "n", 1, INT_MAX, &d->n) : read_size(rd, size, &d->size);
}

/* The dimension of boxes that slide over this one comes before it. */
static attnc_status
add_slide(Reader *rd, json_t *v, TensorMap *m)
{
  MapDim *d = &m->dim[m->n_dims];
  json_t *slide = json_object_get(v, "slide");
  if (!slide)
    return ATTNC_OK;
  if (m->n_dims + 2 > MAP_DIMS)
    return read_bad(rd, "'slide': more than %d dimensions", MAP_DIMS);
  TRY(read_int_in(rd, slide, "slide", 1, MAX_BOX, &d->before));
  d[1] = d[0];
  d[0] = (MapDim){
      .n = d[1].before, .stride = d[1].stride, .times = d[1].times, .slides = true};
  m->n_dims++;
  return ATTNC_OK;
}

static attnc_status
read_dim(Reader *rd, json_t *v, bool innermost, MapDim *d)
{
  static const char *const keys[] = {"n", "size", "stride", "times", "slide", NULL};
  json_t *stride = json_object_get(v, "stride"), *times = json_object_get(v, "times");
  int64_t index = 0;
  TRY(read_object(rd, v, keys));
  TRY(read_count(rd, v, d));
  d->stride = -1;
  d->times = 1;
  if (innermost)
    return stride || times || json_object_get(v, "slide")
               ? read_bad(rd, "the innermost dimension has no stride")
               : ATTNC_OK;
  TRY(read_int_in(rd, stride, "stride", 0, 2, &index));
  d->stride = (int)index;
  return times ? read_int_in(rd, times, "times", 1, MAX_TIMES, &d->times) : ATTNC_OK;
}

static attnc_status
read_dims(Reader *rd, json_t *list, TensorMap *m)
{
  char at[sizeof rd->at];
  memcpy(at, rd->at, sizeof at);
  TRY(read_array(rd, list, "dims", 1, MAP_DIMS));
  for (size_t i = 0; i < json_array_size(list); i++) {
    json_t *v = json_array_get(list, i);
    snprintf(rd->at, sizeof rd->at, "%.64s.dims[%zu]", at, i);
    if (m->n_dims == MAP_DIMS)
      return read_bad(rd, "more than %d dimensions", MAP_DIMS);
    TRY(read_dim(rd, v, i == 0, &m->dim[m->n_dims]));
    TRY(add_slide(rd, v, m));
    m->n_dims++;
  }
  memcpy(rd->at, at, sizeof at);
  return ATTNC_OK;
}

/* Of a size that is a dimension's: boxes along it, and what they slide over.  Powers of 2,
 * so that what is left of them is one. */
static attnc_status
read_fit(Reader *rd, json_t *v, TensorMap *m)
{
  SizeId size;
  int found = 0;
  if (!v)
    return ATTNC_OK;
  TRY(read_size(rd, v, &size));
  for (int i = 0; i < m->n_dims; i++) {
    MapDim *d = &m->dim[i];
    d->fits = !d->n && d->size == size;
    if (d->fits && d->before) {
      d[-1].fits = true;
      d[-1].size = size;
      if (d->before & (d->before - 1))
        return read_bad(rd, "'fit': 'slide' of %lld is no power of 2",
                        (long long)d->before);
    }
    if (d->fits && m->box[i] & (m->box[i] - 1) && !d->before)
      return read_bad(rd, "'fit': a box of %u is no power of 2", m->box[i]);
    found += d->fits;
  }
  return found == 1 ? ATTNC_OK : read_bad(rd, "'fit': it is no dimension's size");
}

static attnc_status
read_box(Reader *rd, json_t *list, TensorMap *m)
{
  size_t n = (size_t)m->n_dims;
  int64_t v = 0, row;
  TRY(read_array(rd, list, "box", n, n));
  for (size_t i = 0; i < n; i++) {
    TRY(read_int_in(rd, json_array_get(list, i), "box", 1, MAX_BOX, &v));
    m->box[i] = (unsigned)v;
  }
  row = (int64_t)m->box[0] * dtype_bytes(rd->r->tensors[m->slot].dtype);
  if (row % LINE)
    return read_bad(rd, "'box': a row of %lld bytes is not a multiple of %d",
                    (long long)row, LINE);
  if (m->swizzle && row > m->swizzle)
    return read_bad(rd, "'box': a row of %lld bytes is more than the swizzle's %d",
                    (long long)row, m->swizzle);
  return ATTNC_OK;
}

/* Strides of a contiguous tensor are not read from a call. */
static attnc_status
read_slot(Reader *rd, json_t *v, TensorMap *m)
{
  TRY(read_int(rd, v, "tensor", 0, RECIPE_SLOTS - 1, &m->slot));
  if (!rd->r->tensors[m->slot].name)
    return read_bad(rd, "no tensor in slot %d", m->slot);
  if (rd->r->tensors[m->slot].contiguous)
    return read_bad(rd, "a contiguous tensor has no tensor map");
  if (rd->r->tensors[m->slot].align % LINE)
    return read_bad(rd, "a tensor map requires 'align' of %d", LINE);
  if (!rule_has(RULE_CC_MAPS, rd->r->cc))
    return read_bad(rd, "%s has no tensor maps", rd->r->target);
  return ATTNC_OK;
}

attnc_status
read_map(Reader *rd, json_t *v, TensorMap *m)
{
  static const char *const keys[] = {"type",    "tensor", "dims", "box",
                                     "swizzle", "l2",     "fit",  NULL};
  static const int64_t swizzles[] = {0, 32, 64, 128}, l2[] = {0, 64, 128, 256};
  TRY(read_object(rd, v, keys));
  TRY(read_slot(rd, v, m));
  TRY(read_bytes(rd, v, "swizzle", swizzles, 4, &m->swizzle));
  TRY(read_bytes(rd, v, "l2", l2, 4, &m->l2));
  TRY(read_dims(rd, json_object_get(v, "dims"), m));
  TRY(read_box(rd, json_object_get(v, "box"), m));
  return read_fit(rd, json_object_get(v, "fit"), m);
}
