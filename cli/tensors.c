#include "cli/tensors.h"

#include "cli/random.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

static const char *const slot_names[ATTNC_SLOT_COUNT] = {
    [ATTNC_Q] = "q", [ATTNC_K] = "k", [ATTNC_V] = "v", [ATTNC_O] = "o", [ATTNC_LSE] = "lse",
};

/* ---- shapes ---- */

typedef struct Dims {
  int64_t h, s, d;
} Dims;

static Dims
dims_of(const SpecInfo *s, const attnc_sizes *z, int slot)
{
  bool query = slot == ATTNC_Q || slot == ATTNC_O;
  bool value = slot == ATTNC_V || slot == ATTNC_O;
  return (Dims){query ? z->h : z->hk, query ? z->sq : z->sk,
                value ? s->head_dim_v : s->head_dim};
}

void
tensor_strides(const SpecInfo *s, const attnc_sizes *z, int slot, int64_t stride[5])
{
  memset(stride, 0, 5 * sizeof *stride);
  if (slot == ATTNC_LSE) {
    stride[0] = z->h * z->sq;
    stride[1] = z->sq;
    stride[2] = stride[3] = 1;
    return;
  }
  Dims n = dims_of(s, z, slot);
  bool heads_first = str_eq(s->layout[slot], "bhsd");
  stride[0] = n.h * n.s * n.d;
  stride[1] = heads_first ? n.s * n.d : n.d;
  stride[2] = heads_first ? n.d : n.h * n.d;
  stride[3] = 1;
}

static StDtype
dtype_of(const SpecInfo *s, int slot)
{
  if (slot == ATTNC_LSE)
    return ST_F32;
  return str_eq(s->dtype[slot], "fp16")   ? ST_F16
         : str_eq(s->dtype[slot], "fp32") ? ST_F32
                                          : ST_BF16;
}

static StTensor
shaped(const SpecInfo *s, const attnc_sizes *z, int slot)
{
  StTensor t = {.name = slot_names[slot], .dtype = dtype_of(s, slot), .rank = 4};
  Dims n = dims_of(s, z, slot);
  t.shape[0] = z->b;
  if (slot == ATTNC_LSE) {
    t.rank = 3;
    t.shape[1] = z->h;
    t.shape[2] = z->sq;
  } else {
    bool heads_first = str_eq(s->layout[slot], "bhsd");
    t.shape[1] = heads_first ? n.h : n.s;
    t.shape[2] = heads_first ? n.s : n.h;
    t.shape[3] = n.d;
  }
  return t;
}

static bool
bytes_of(StTensor *t)
{
  size_t bytes = (size_t)st_dtype_bytes(t->dtype);
  for (int i = 0; i < t->rank; i++)
    if (__builtin_mul_overflow(bytes, (size_t)t->shape[i], &bytes))
      return false;
  t->bytes = bytes;
  return bytes < (size_t)1 << 46;
}

/* ---- on the host ---- */

attnc_status
tensors_new(const SpecInfo *s, const attnc_sizes *z, Tensors *t, attnc_error *e)
{
  *t = (Tensors){.sizes = *z, .n = s->return_lse ? ATTNC_SLOT_COUNT : ATTNC_LSE};
  for (int i = 0; i < t->n; i++) {
    StTensor *h = &t->host[i];
    *h = shaped(s, z, i);
    tensor_strides(s, z, i, t->stride[i]);
    if (!bytes_of(h)) {
      err_set(e, ATTNC_ERR_SHAPE, "%s: the tensor would be too large", h->name);
      tensors_free(t); /* and with it the name */
      return ATTNC_ERR_SHAPE;
    }
    t->data[i] = aligned_alloc(64, (h->bytes + 64) / 64 * 64);
    h->data = t->data[i];
    if (!t->data[i]) {
      err_set(e, ATTNC_ERR_NOMEM, "%s: %zu bytes: out of memory", h->name, h->bytes);
      tensors_free(t);
      return ATTNC_ERR_NOMEM;
    }
  }
  return ATTNC_OK;
}

void
tensors_free(Tensors *t)
{
  for (int i = 0; i < t->n; i++)
    free(t->data[i]);
  *t = (Tensors){0};
}

static void
fill_random(const StTensor *t, void *data, Random *r)
{
  size_t n = t->bytes / (size_t)st_dtype_bytes(t->dtype);
  for (size_t i = 0; i < n; i++) {
    float x = (float)random_normal(r);
    if (t->dtype == ST_F32)
      ((float *)data)[i] = x;
    else
      ((uint16_t *)data)[i] = t->dtype == ST_F16 ? float_to_f16(x) : float_to_bf16(x);
  }
}

void
tensors_random(Tensors *t, uint64_t seed)
{
  Random r;
  random_seed(&r, seed);
  for (int i = ATTNC_Q; i <= ATTNC_V; i++)
    fill_random(&t->host[i], t->data[i], &r);
}

void
tensors_poison(Tensors *t)
{
  for (int i = ATTNC_O; i < t->n; i++)
    memset(t->data[i], 0xff, t->host[i].bytes);
}

attnc_args
tensors_args(Tensors *t)
{
  for (int i = 0; i < t->n; i++) {
    t->view[i].data = t->data[i];
    memcpy(t->view[i].stride, t->stride[i], sizeof t->view[i].stride);
  }
  return (attnc_args){.size = sizeof(attnc_args),
                      .sizes = &t->sizes,
                      .tensors = t->view,
                      .tensor_size = sizeof *t->view,
                      .n_tensors = (uint32_t)t->n};
}

attnc_status
tensors_verify(Tensors *t, const attnc_spec *spec, Verdict *v, attnc_error *e)
{
  const attnc_args args = tensors_args(t);
  *v = (Verdict){.all = {.size = sizeof v->all,
                         .outputs = v->of,
                         .output_size = sizeof *v->of,
                         .n_outputs = ATTNC_SLOT_COUNT}};
  attnc_status status = attnc_verify(spec, ATTNC_OP_FWD, &args, &v->all, e);
  v->all.outputs = NULL; /* the verdict is copied */
  return status;
}

attnc_status
verdict_error(const Verdict *v, attnc_error *e)
{
  const attnc_output_verdict *o = &v->of[v->all.slot];
  if (v->all.pass)
    return ATTNC_OK;
  return err_set(
      e, ATTNC_ERR_CHECK, "wrong result: error of %s %.3g, bound %.3g, %lld rows",
      slot_names[v->all.slot], o->max_error, o->bound, (long long)v->all.bad_rows);
}

/* ---- files ---- */

static attnc_status
find_input(const SpecInfo *s, const StFile *f, int slot, const StTensor **out,
           attnc_error *e)
{
  const StTensor *t = *out = st_find(f, slot_names[slot]);
  StDtype want = dtype_of(s, slot);
  if (!t)
    return err_set(e, ATTNC_ERR_USAGE, "the input has no tensor %s", slot_names[slot]);
  if (t->dtype != want)
    return err_set(e, ATTNC_ERR_USAGE, "the input's %s is %s, the spec's %s",
                   slot_names[slot], st_dtype_name(t->dtype), st_dtype_name(want));
  if (t->rank != 4)
    return err_set(e, ATTNC_ERR_SHAPE, "the input's %s has %d dimensions, not 4",
                   slot_names[slot], t->rank);
  return ATTNC_OK;
}

static attnc_status
same_shape(const StTensor *have, const StTensor *want, attnc_error *e)
{
  for (int i = 0; i < want->rank; i++)
    if (have->shape[i] != want->shape[i])
      return err_set(e, ATTNC_ERR_SHAPE,
                     "the input's %s is [%lld, %lld, %lld, %lld], not [%lld, %lld, %lld, "
                     "%lld]",
                     want->name, (long long)have->shape[0], (long long)have->shape[1],
                     (long long)have->shape[2], (long long)have->shape[3],
                     (long long)want->shape[0], (long long)want->shape[1],
                     (long long)want->shape[2], (long long)want->shape[3]);
  return ATTNC_OK;
}

attnc_status
tensors_file_sizes(const SpecInfo *s, const StFile *f, attnc_sizes *z, attnc_error *e)
{
  const StTensor *t[3];
  for (int i = ATTNC_Q; i <= ATTNC_V; i++)
    TRY(find_input(s, f, i, &t[i], e));
  int qh = str_eq(s->layout[ATTNC_Q], "bhsd") ? 1 : 2,
      kh = str_eq(s->layout[ATTNC_K], "bhsd") ? 1 : 2;
  *z = (attnc_sizes){sizeof *z,       t[0]->shape[0],      t[0]->shape[qh],
                     t[1]->shape[kh], t[0]->shape[3 - qh], t[1]->shape[3 - kh]};
  for (int i = ATTNC_Q; i <= ATTNC_V; i++) {
    StTensor want = shaped(s, z, i);
    TRY(same_shape(t[i], &want, e));
  }
  return ATTNC_OK;
}

attnc_status
tensors_from_file(const StFile *f, Tensors *t, attnc_error *e)
{
  for (int i = ATTNC_Q; i <= ATTNC_V; i++) {
    const StTensor *in = st_find(f, slot_names[i]);
    if (!in || in->bytes != t->host[i].bytes)
      return err_set(e, ATTNC_ERR_INTERNAL, "%s: not of the file's sizes", slot_names[i]);
    memcpy(t->data[i], in->data, in->bytes);
  }
  return ATTNC_OK;
}

attnc_status
tensors_to_file(const Tensors *t, const SpecInfo *s, const char *path, attnc_error *e)
{
  return st_write(path, &t->host[ATTNC_O], s->return_lse ? 2 : 1, e);
}

/* ---- on the device ---- */

attnc_status
device_tensors_new(const Device *d, const Tensors *t, DeviceTensors *out, attnc_error *e)
{
  *out = (DeviceTensors){.device = d};
  for (int i = 0; i < t->n; i++) {
    attnc_status st = device_alloc(d, t->host[i].bytes, &out->at[i], e);
    if (st != ATTNC_OK) {
      device_tensors_free(out);
      return st;
    }
  }
  return ATTNC_OK;
}

void
device_tensors_free(DeviceTensors *t)
{
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    if (t->at[i])
      t->device->cuMemFree_v2(t->at[i]);
  *t = (DeviceTensors){0};
}

attnc_status
device_tensors_upload(const DeviceTensors *t, const Tensors *h, attnc_error *e)
{
  for (int i = 0; i < h->n; i++)
    if (h->host[i].bytes)
      TRY(device_result(t->device, "cuMemcpyHtoD_v2",
                        t->device->cuMemcpyHtoD_v2(t->at[i], h->data[i], h->host[i].bytes),
                        e));
  return ATTNC_OK;
}

attnc_status
device_tensors_download(const DeviceTensors *t, Tensors *h, attnc_error *e)
{
  for (int i = ATTNC_O; i < h->n; i++)
    if (h->host[i].bytes)
      TRY(device_result(t->device, "cuMemcpyDtoH_v2",
                        t->device->cuMemcpyDtoH_v2(h->data[i], t->at[i], h->host[i].bytes),
                        e));
  return ATTNC_OK;
}

attnc_args
device_tensors_args(DeviceTensors *t, const Tensors *h)
{
  for (int i = 0; i < h->n; i++) {
    t->view[i].data = (void *)(uintptr_t)t->at[i];
    memcpy(t->view[i].stride, h->stride[i], sizeof t->view[i].stride);
  }
  return (attnc_args){.size = sizeof(attnc_args),
                      .sizes = &h->sizes,
                      .tensors = t->view,
                      .tensor_size = sizeof *t->view,
                      .n_tensors = (uint32_t)h->n};
}
