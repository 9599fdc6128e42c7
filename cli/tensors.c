#include "cli/tensors.h"

#include "cli/random.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- shapes ---- */

static const StDtype st_dtypes[DT_COUNT] = {[DT_F16] = ST_F16,
                                            [DT_BF16] = ST_BF16,
                                            [DT_F32] = ST_F32,
                                            [DT_E4M3] = ST_U8,
                                            [DT_E5M2] = ST_U8};

static StTensor
shaped(const ShapedTensor *x, const attnc_sizes *z)
{
  StTensor t = {.name = x->t.name, .dtype = st_dtypes[x->t.dtype], .rank = x->t.n_axes};
  for (int i = 0; i < t.rank; i++)
    t.shape[i] = axis_length(&x->shape[i], z);
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

static attnc_status
tensor_new(Tensors *t, int slot, attnc_error *e)
{
  StTensor *h = &t->host[slot];
  *h = shaped(&t->call.at[slot], &t->sizes);
  signature_pack(&t->call.at[slot], &t->sizes, t->view[slot].stride);
  if (!bytes_of(h))
    return err_set(e, ATTNC_ERR_SHAPE, "%s: the tensor would be too large", h->name);
  t->data[slot] = aligned_alloc(64, (h->bytes + 64) / 64 * 64);
  if (!t->data[slot])
    return err_set(e, ATTNC_ERR_NOMEM, "%s: %zu bytes: out of memory", h->name, h->bytes);
  h->data = t->view[slot].data = t->data[slot];
  return ATTNC_OK;
}

attnc_status
tensors_new(const SpecInfo *s, const attnc_sizes *z, Tensors *t, attnc_error *e)
{
  attnc_status st = ATTNC_OK;
  *t = (Tensors){.sizes = *z, .call = s->call};
  for (int i = 0; i < ATTNC_SLOT_COUNT && st == ATTNC_OK; i++)
    if (s->call.at[i].t.name)
      st = tensor_new(t, i, e);
  if (st != ATTNC_OK)
    tensors_free(t);
  return st;
}

void
tensors_free(Tensors *t)
{
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
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
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    if (t->call.at[i].t.access & ACCESS_IN)
      fill_random(&t->host[i], t->data[i], &r);
}

void
tensors_poison(Tensors *t)
{
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    if (t->call.at[i].t.access == ACCESS_OUT)
      memset(t->data[i], 0xff, t->host[i].bytes);
}

attnc_args
tensors_args(Tensors *t)
{
  return (attnc_args){.size = sizeof(attnc_args),
                      .sizes = &t->sizes,
                      .tensors = t->view,
                      .tensor_size = sizeof *t->view,
                      .n_tensors = ATTNC_SLOT_COUNT};
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
      tensor_info[v->all.slot].name, o->max_error, o->bound, (long long)v->all.bad_rows);
}

/* ---- files ---- */

static attnc_status
find_input(const ShapedTensor *x, const StFile *f, const StTensor **out, attnc_error *e)
{
  const StTensor *t = *out = st_find(f, x->t.name);
  StDtype want = st_dtypes[x->t.dtype];
  if (!t)
    return err_set(e, ATTNC_ERR_USAGE, "the input has no tensor %s", x->t.name);
  if (t->dtype != want)
    return err_set(e, ATTNC_ERR_USAGE, "the input's %s is %s, the spec's %s", x->t.name,
                   st_dtype_name(t->dtype), st_dtype_name(want));
  if (t->rank != x->t.n_axes)
    return err_set(e, ATTNC_ERR_SHAPE, "the input's %s has %d dimensions, not %d",
                   x->t.name, t->rank, x->t.n_axes);
  return ATTNC_OK;
}

static void
put_shape(const StTensor *t, char *text, size_t room)
{
  size_t used = 0;
  for (int i = 0; i < t->rank && used < room; i++) {
    int n =
        snprintf(text + used, room - used, "%s%lld", i ? ", " : "", (long long)t->shape[i]);
    used += n > 0 ? (size_t)n : 0;
  }
}

static attnc_status
same_shape(const StTensor *have, const StTensor *want, attnc_error *e)
{
  char its[128] = "", due[128] = "";
  if (!memcmp(have->shape, want->shape, (size_t)want->rank * sizeof *want->shape))
    return ATTNC_OK;
  put_shape(have, its, sizeof its);
  put_shape(want, due, sizeof due);
  return err_set(e, ATTNC_ERR_SHAPE, "the input's %s is [%s], not [%s]", want->name, its,
                 due);
}

/* A size is that of the first input that has it. */
static void
take_sizes(const ShapedTensor *x, const StTensor *t, bool known[SIZE_COUNT], attnc_sizes *z)
{
  for (int i = 0; i < t->rank; i++) {
    SizeId size = x->shape[i].size;
    if (x->shape[i].n || known[size])
      continue;
    size_set(z, size, t->shape[i]);
    known[size] = true;
  }
}

attnc_status
tensors_file_sizes(const SpecInfo *s, const StFile *f, attnc_sizes *z, attnc_error *e)
{
  const StTensor *t[ATTNC_SLOT_COUNT] = {NULL};
  bool known[SIZE_COUNT] = {false};
  *z = (attnc_sizes){.size = sizeof *z};
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    if (s->call.at[i].t.access & ACCESS_IN) {
      TRY(find_input(&s->call.at[i], f, &t[i], e));
      take_sizes(&s->call.at[i], t[i], known, z);
    }
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    if (t[i]) {
      StTensor want = shaped(&s->call.at[i], z);
      TRY(same_shape(t[i], &want, e));
    }
  return ATTNC_OK;
}

attnc_status
tensors_from_file(const StFile *f, Tensors *t, attnc_error *e)
{
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++) {
    if (!(t->call.at[i].t.access & ACCESS_IN))
      continue;
    const StTensor *in = st_find(f, t->host[i].name);
    if (!in || in->bytes != t->host[i].bytes)
      return err_set(e, ATTNC_ERR_INTERNAL, "%s: not of the file's sizes", t->host[i].name);
    memcpy(t->data[i], in->data, in->bytes);
  }
  return ATTNC_OK;
}

attnc_status
tensors_to_file(const Tensors *t, const char *path, attnc_error *e)
{
  StTensor out[ATTNC_SLOT_COUNT];
  int n = 0;
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    if (t->call.at[i].t.access & ACCESS_OUT)
      out[n++] = t->host[i];
  return st_write(path, out, n, e);
}

/* ---- on the device ---- */

attnc_status
device_tensors_new(const Device *d, const Tensors *t, DeviceTensors *out, attnc_error *e)
{
  *out = (DeviceTensors){.device = d};
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++) {
    if (!t->host[i].name)
      continue;
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
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    if (h->host[i].bytes)
      TRY(device_result(t->device, "cuMemcpyHtoD_v2",
                        t->device->cuMemcpyHtoD_v2(t->at[i], h->data[i], h->host[i].bytes),
                        e));
  return ATTNC_OK;
}

attnc_status
device_tensors_download(const DeviceTensors *t, Tensors *h, attnc_error *e)
{
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    if (h->host[i].bytes && h->call.at[i].t.access & ACCESS_OUT)
      TRY(device_result(t->device, "cuMemcpyDtoH_v2",
                        t->device->cuMemcpyDtoH_v2(h->data[i], t->at[i], h->host[i].bytes),
                        e));
  return ATTNC_OK;
}

attnc_args
device_tensors_args(DeviceTensors *t, const Tensors *h)
{
  memcpy(t->view, h->view, sizeof t->view);
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    t->view[i].data = (void *)(uintptr_t)t->at[i];
  return (attnc_args){.size = sizeof(attnc_args),
                      .sizes = &h->sizes,
                      .tensors = t->view,
                      .tensor_size = sizeof *t->view,
                      .n_tensors = ATTNC_SLOT_COUNT};
}
