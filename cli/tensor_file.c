#include "cli/tensor_file.h"

#include "cli/run_forward.h"

#include "base/err.h"

#include <stdio.h>
#include <string.h>

static const StDtype st_dtypes[DT_COUNT] = {
    [DT_F16] = ST_F16, [DT_BF16] = ST_BF16, [DT_F32] = ST_F32,
    [DT_E4M3] = ST_U8, [DT_E5M2] = ST_U8,   [DT_I32] = ST_I32,
    [DT_U32] = ST_U32, [DT_U64] = ST_U64,   [DT_U8] = ST_U8};

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

/* Computed, and in no file. */
static bool
is_made(const CallInfo *call, const StFile *f, int slot)
{
  return forward_writes(slot) && forward_is_due(call, f);
}

static void
put_shape(const int64_t *shape, int rank, char *text, size_t room)
{
  size_t used = 0;
  for (int i = 0; i < rank && used < room; i++) {
    int n =
        snprintf(text + used, room - used, "%s%lld", i ? ", " : "", (long long)shape[i]);
    used += n > 0 ? (size_t)n : 0;
  }
}

/* An axis of a table that is a size of the call may be longer. */
static bool
fits(const ShapedTensor *x, const int64_t *have, const int64_t *want)
{
  for (int i = 0; i < x->t.n_axes; i++) {
    bool longer = x->t.table && !x->shape[i].n && have[i] > want[i];
    if (have[i] != want[i] && !longer)
      return false;
  }
  return true;
}

static attnc_status
same_shape(const ShapedTensor *x, const StTensor *have, const HostTensor *want,
           attnc_error *e)
{
  char its[128] = "", due[128] = "";
  if (fits(x, have->shape, want->shape))
    return ATTNC_OK;
  put_shape(have->shape, have->rank, its, sizeof its);
  put_shape(want->shape, want->rank, due, sizeof due);
  return err_set(e, ATTNC_ERR_SHAPE, "the input's %s is [%s], not [%s]", want->name, its,
                 due);
}

/* A size is that of the first input that has it and may not be longer. */
static void
take_sizes(const ShapedTensor *x, const StTensor *t, bool known[SIZE_COUNT], attnc_sizes *z)
{
  for (int i = 0; i < t->rank && !x->t.table; i++) {
    SizeId size = x->shape[i].size;
    if (x->shape[i].n || known[size])
      continue;
    size_set(z, size, t->shape[i] - x->shape[i].more);
    known[size] = true;
  }
}

/* Of packed rows the length of the longest sequence, by its offsets. */
static void
take_longest(const StTensor *offsets, int64_t *longest)
{
  for (int64_t i = 0; offsets && i + 1 < offsets->shape[0]; i++) {
    int32_t at[2]; /* the file's are not aligned */
    memcpy(at, (const char *)offsets->data + (size_t)i * sizeof *at, sizeof at);
    *longest = (int64_t)at[1] - at[0] > *longest ? (int64_t)at[1] - at[0] : *longest;
  }
}

attnc_status
tensors_file_sizes(const SpecInfo *s, const StFile *f, attnc_sizes *z, attnc_error *e)
{
  const StTensor *t[CALL_SLOTS] = {NULL};
  bool known[SIZE_COUNT] = {false};
  *z = (attnc_sizes){.size = sizeof *z};
  for (int i = 0; i < s->call.n_slots; i++)
    if (s->call.at[i].t.access & ACCESS_IN && !is_made(&s->call, f, i)) {
      TRY(find_input(&s->call.at[i], f, &t[i], e));
      take_sizes(&s->call.at[i], t[i], known, z);
    }
  take_longest(t[ATTNC_CU_SEQLENS_Q], &z->sq);
  take_longest(t[ATTNC_CU_SEQLENS_K], &z->sk);
  if (known[SIZE_MAX_PAGES])
    z->sk = z->max_pages * z->page_size;
  if (known[SIZE_MAX_PREFIX_PAGES])
    z->sp = z->max_prefix_pages * z->page_size;
  for (int i = 0; i < s->call.n_slots; i++)
    if (t[i]) {
      HostTensor want = tensor_shaped(&s->call.at[i], z);
      TRY(same_shape(&s->call.at[i], t[i], &want, e));
    }
  return ATTNC_OK;
}

/* Rows of the last axis, of a tensor that may be longer along any. */
static void
copy_box(HostTensor *to, const StTensor *from)
{
  size_t element = (size_t)dtype_bytes(to->dtype);
  size_t row = (size_t)to->shape[to->rank - 1] * element;
  int64_t at[CALL_STRIDES] = {0};
  for (size_t done = 0; done < to->bytes; done += (size_t)to->row * element) {
    int64_t first = 0;
    for (int i = 0; i < to->rank; i++)
      first = first * from->shape[i] + at[i];
    memcpy((char *)to->data + done, (const char *)from->data + (size_t)first * element,
           row);
    for (int i = to->rank - 2; i >= 0 && ++at[i] == to->shape[i]; i--)
      at[i] = 0;
  }
}

attnc_status
tensors_from_file(const StFile *f, Tensors *t, attnc_error *e)
{
  for (int i = 0; i < t->call.n_slots; i++) {
    if (!(t->call.at[i].t.access & ACCESS_IN) || is_made(&t->call, f, i))
      continue;
    const StTensor *in = st_find(f, t->host[i].name);
    if (!in || !fits(&t->call.at[i], in->shape, t->host[i].shape))
      return err_set(e, ATTNC_ERR_INTERNAL, "%s: not of the file's sizes", t->host[i].name);
    copy_box(&t->host[i], in);
  }
  return ATTNC_OK;
}

static StTensor
as_file(const HostTensor *h)
{
  StTensor t = {.name = h->name,
                .dtype = st_dtypes[h->dtype],
                .rank = h->rank,
                .data = h->data,
                .bytes = h->bytes};
  memcpy(t.shape, h->shape, (size_t)h->rank * sizeof *h->shape);
  return t;
}

attnc_status
tensors_to_file(const Tensors *t, const char *path, attnc_error *e)
{
  StTensor out[CALL_SLOTS];
  int n = 0;
  for (int i = 0; i < t->call.n_slots; i++)
    if (t->call.at[i].t.access & ACCESS_OUT ||
        (t->forward && t->host[i].name && forward_writes(i)))
      out[n++] = as_file(&t->host[i]);
  return st_write(path, out, n, e);
}
