#include "harness/tensors.h"

#include "harness/append.h"
#include "harness/lists.h"
#include "harness/pages.h"
#include "harness/random.h"
#include "harness/seqlens.h"

#include "base/err.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- shapes ---- */

HostTensor
tensor_shaped(const ShapedTensor *x, const attnc_sizes *z)
{
  HostTensor t = {.name = x->t.name, .dtype = x->t.dtype, .rank = x->t.n_axes};
  for (int i = 0; i < t.rank; i++)
    t.shape[i] = axis_length(&x->shape[i], z);
  t.row = signature_row(x, z);
  return t;
}

static bool
bytes_of(HostTensor *t)
{
  size_t bytes = (size_t)dtype_bytes(t->dtype);
  for (int i = 0; i < t->rank; i++) {
    int64_t n = i < t->rank - 1 ? t->shape[i] : t->row;
    if (__builtin_mul_overflow(bytes, (size_t)n, &bytes))
      return false;
  }
  t->bytes = bytes;
  return bytes < (size_t)1 << 46;
}

/* ---- on the host ---- */

static attnc_status
tensor_new(Tensors *t, int slot, attnc_error *e)
{
  HostTensor *h = &t->host[slot];
  *h = tensor_shaped(&t->call.at[slot], &t->sizes);
  signature_pack(&t->call.at[slot], &t->sizes, t->view[slot].stride);
  if (!bytes_of(h))
    return err_set(e, ATTNC_ERR_SHAPE, "%s: the tensor would be too large", h->name);
  h->data = t->view[slot].data = aligned_alloc(64, (h->bytes + 64) / 64 * 64);
  if (!h->data)
    return err_set(e, ATTNC_ERR_NOMEM, "%s: %zu bytes: out of memory", h->name, h->bytes);
  return ATTNC_OK;
}

attnc_status
tensors_new(const CallInfo *call, const attnc_sizes *z, Tensors *t, attnc_error *e)
{
  attnc_status st = ATTNC_OK;
  *t = (Tensors){.sizes = *z, .call = *call};
  for (int i = 0; i < CALL_SCALARS; i++)
    t->scalars[i] = NAN;
  for (int i = 0; i < call->n_slots && st == ATTNC_OK; i++)
    if (call->at[i].t.name)
      st = tensor_new(t, i, e);
  if (st != ATTNC_OK)
    tensors_free(t);
  return st;
}

void
tensors_free(Tensors *t)
{
  for (int i = 0; i < CALL_SLOTS; i++) {
    free(t->host[i].data);
    free(t->before[i]);
  }
  *t = (Tensors){0};
}

/* ---- on the host: numbers ---- */

static void
write_f16(void *data, size_t i, float x)
{
  ((uint16_t *)data)[i] = float_to_f16(x);
}

static void
write_bf16(void *data, size_t i, float x)
{
  ((uint16_t *)data)[i] = float_to_bf16(x);
}

static void
write_f32(void *data, size_t i, float x)
{
  ((float *)data)[i] = x;
}

static void
write_i32(void *data, size_t i, float x)
{
  ((int32_t *)data)[i] = (int32_t)x;
}

/* All bits of a word are drawn: 24 of a float's are its own, the rest are made of them. */
static void
write_u32(void *data, size_t i, float x)
{
  ((uint32_t *)data)[i] = (uint32_t)x * 0x9e3779b1u;
}

/* Likewise. */
static void
write_u64(void *data, size_t i, float x)
{
  ((uint64_t *)data)[i] = (uint64_t)x * 0x9e3779b97f4a7c15u;
}

/* Element i of a tensor of this type; NULL: there is no rounding to it. */
typedef void (*Writer)(void *data, size_t i, float);
static const Writer writers[DT_COUNT] = {
    [DT_F16] = write_f16, [DT_BF16] = write_bf16, [DT_F32] = write_f32,
    [DT_I32] = write_i32, [DT_U32] = write_u32,   [DT_U64] = write_u64};

enum { IDS = 8 }; /* whole numbers of a row; of a monotone one, about */

/* A row of a monotone table: along a size of the call ids, which rise by one; along a
 * number offsets, from 0 to sk. */
static float
risen(const ShapedTensor *x, Random *r, size_t at, size_t row, int64_t sk, float last)
{
  size_t run = row / IDS > 1 ? row / IDS : 1;
  double most = (double)sk, rise;
  if (at == 0)
    return 0;
  if (!x->shape[x->t.n_axes - 1].n)
    return last + (random_bits(r) % run == 0 ? 1.0f : 0);
  rise = (double)(random_bits(r) >> 11) * 0x1p-53 * 2 * most / (double)(row - 1);
  if (at == row - 1 || (double)last + rise > most)
    return (float)most;
  return floorf(last + (float)rise);
}

/* Element `at` of a row, behind `last`. */
static float
draw(const ShapedTensor *x, Random *r, size_t at, size_t row, int64_t sk, float last)
{
  if (x->monotone)
    return risen(x, r, at, row, sk, last);
  if (x->t.dtype == DT_I32)
    return (float)(random_bits(r) % IDS);
  if (x->t.dtype == DT_U32 || x->t.dtype == DT_U64)
    return (float)(random_bits(r) >> 40);
  return (float)random_normal(r);
}

static attnc_status
fill_random(const ShapedTensor *x, const HostTensor *t, int64_t sk, Random *r,
            attnc_error *e)
{
  size_t n = t->bytes / (size_t)dtype_bytes(t->dtype);
  size_t row = (size_t)t->row;
  const Writer write = writers[t->dtype];
  float last = 0;
  if (!write)
    return err_set(e, ATTNC_ERR_UNSUPPORTED, "%s: no random numbers of type %s", t->name,
                   dtype_name(t->dtype));
  for (size_t i = 0; i < n; i++) {
    last = draw(x, r, i % row, row, sk, last);
    write(t->data, i, last);
  }
  return ATTNC_OK;
}

/* FNV-1a. */
static uint64_t
hash_of(const char *name)
{
  uint64_t h = 0xcbf29ce484222325u;
  for (; *name; name++)
    h = (h ^ (unsigned char)*name) * 0x100000001b3u;
  return h;
}

/* A table's numbers are the same whatever else the call, or a call of a later version, has.
 */
static attnc_status
fill_table(Tensors *t, int slot, uint64_t seed, attnc_error *e)
{
  Random r;
  random_seed(&r, seed + hash_of(t->host[slot].name));
  return fill_random(&t->call.at[slot], &t->host[slot], t->sizes.sk, &r, e);
}

attnc_status
tensors_random(Tensors *t, uint64_t seed, attnc_error *e)
{
  Random r;
  random_seed(&r, seed);
  for (int i = 0; i < t->call.n_slots; i++)
    if (t->call.at[i].t.table)
      TRY(fill_table(t, i, seed, e));
    else if (t->call.at[i].t.access & ACCESS_IN)
      TRY(fill_random(&t->call.at[i], &t->host[i], t->sizes.sk, &r, e));
  if (seqlens_are_in(&t->call))
    seqlens_fill(t);
  append_fill(t, seed);
  if (pages_are_in(&t->call))
    pages_fill(t, seed);
  bool open = seqlens_leave_open(&t->call) || append_is_in(&t->call);
  if (open && (t->call.op == ATTNC_OP_FWD || t->call.op == ATTNC_OP_BWD))
    seqlens_kill(t);
  if (lists_are_in(&t->call)) {
    lists_fill(t, seed);
    if (!pages_are_in(&t->call))
      lists_kill(t);
  }
  return ATTNC_OK;
}

attnc_status
tensors_tables(const CallInfo *call, const attnc_sizes *z, const char *lengths,
               uint64_t seed, Tensors *t, attnc_error *e)
{
  attnc_status st = ATTNC_OK;
  *t = (Tensors){.sizes = *z, .call = *call, .seqlens = lengths};
  for (int i = 0; i < CALL_SCALARS; i++)
    t->scalars[i] = NAN;
  for (int i = 0; i < call->n_slots && st == ATTNC_OK; i++)
    if (call->at[i].t.name && (call->at[i].of_mask || seqlens_have(i))) {
      st = tensor_new(t, i, e);
      if (st == ATTNC_OK && call->at[i].of_mask)
        st = fill_table(t, i, seed, e);
    }
  if (st == ATTNC_OK)
    seqlens_fill(t);
  if (st == ATTNC_OK && lists_are_in(call))
    lists_fill(t, seed);
  if (st != ATTNC_OK)
    tensors_free(t);
  return st;
}

void
tensors_poison(Tensors *t)
{
  for (int i = 0; i < CALL_SLOTS; i++) {
    if (t->call.at[i].t.access == ACCESS_OUT)
      memset(t->host[i].data, 0xff, t->host[i].bytes);
    if (t->call.at[i].t.access == ACCESS_INOUT && !t->before[i])
      t->before[i] = malloc(t->host[i].bytes + 1);
    if (t->before[i])
      memcpy(t->before[i], t->host[i].data, t->host[i].bytes);
  }
}

attnc_args
tensors_args(Tensors *t)
{
  return (attnc_args){.size = sizeof(attnc_args),
                      .sizes = &t->sizes,
                      .tensors = t->view,
                      .tensor_size = sizeof *t->view,
                      .n_tensors = (uint32_t)t->call.n_slots,
                      .scalars = t->scalars,
                      .n_scalars = CALL_SCALARS};
}

attnc_status
tensors_verify(Tensors *t, const attnc_spec *spec, Verdict *v, attnc_error *e)
{
  const attnc_args args = tensors_args(t);
  *v = (Verdict){.all = {.size = sizeof v->all,
                         .outputs = v->of,
                         .output_size = sizeof *v->of,
                         .n_outputs = CALL_SLOTS,
                         .before = (const void *const *)t->before,
                         .n_before = CALL_SLOTS}};
  attnc_status status = attnc_verify(spec, t->call.op, &args, &v->all, e);
  v->all.outputs = NULL; /* the verdict is copied */
  v->worst = t->call.at[v->all.slot].t.name;
  v->all.before = NULL;
  if (status == ATTNC_OK && seqlens_are_in(&t->call))
    status = seqlens_unwritten(t, e);
  return status;
}

attnc_status
verdict_error(const Verdict *v, attnc_error *e)
{
  const attnc_output_verdict *o = &v->of[v->all.slot];
  if (v->all.pass)
    return ATTNC_OK;
  return err_set(e, ATTNC_ERR_CHECK,
                 "wrong result: error of %s %.3g, bound %.3g, %lld rows", v->worst,
                 o->max_error, o->bound, (long long)v->all.bad_rows);
}
