#include "harness/signature.h"

#include "base/err.h"
#include "base/str.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

static int
index_of(const json_t *word, const char *const *words, int n)
{
  const char *text = json_string_value(word);
  for (int i = 0; text && i < n; i++)
    if (str_eq(text, words[i]))
      return i;
  return -1;
}

/* The library's own text: what is no size is a length. */
static int
read_axes(const json_t *list, CallAxis axes[CALL_STRIDES])
{
  int n = (int)json_array_size(list);
  for (int i = 0; i < n && i < CALL_STRIDES; i++) {
    const json_t *v = json_array_get(list, (size_t)i);
    axes[i] = (CallAxis){.n = (int64_t)json_integer_value(v)};
    if (json_is_string(v))
      axis_read(json_string_value(v), json_string_length(v), &axes[i]);
  }
  return n < CALL_STRIDES ? n : CALL_STRIDES;
}

static void
read_tensor(const json_t *j, Arena *arena, CallInfo *to)
{
  int slot = (int)json_integer_value(json_object_get(j, "slot"));
  const char *dtype = json_string_value(json_object_get(j, "dtype"));
  if (slot < 0 || slot >= CALL_SLOTS || !dtype)
    return;
  ShapedTensor *x = &to->at[slot];
  to->n_slots = slot >= to->n_slots ? slot + 1 : to->n_slots;
  x->t.name = arena_strdup(arena, json_string_value(json_object_get(j, "name")));
  x->t.slot = slot;
  x->t.dtype = (Dtype)dtype_find(dtype);
  x->t.access =
      (Access)index_of(json_object_get(j, "access"), access_names, ACCESS_INOUT + 1);
  x->t.contiguous = json_is_true(json_object_get(j, "contiguous"));
  x->t.align = (int)json_integer_value(json_object_get(j, "align"));
  x->t.n_axes = read_axes(json_object_get(j, "axes"), x->t.axes);
  read_axes(json_object_get(j, "shape"), x->shape);
  x->t.table = json_is_true(json_object_get(j, "longer"));
  x->monotone = json_is_true(json_object_get(j, "monotone"));
  x->of_mask = json_is_true(json_object_get(j, "mask"));
}

static void
read_number(const json_t *j, Arena *arena, CallInfo *to)
{
  int slot = (int)json_integer_value(json_object_get(j, "slot"));
  const json_t *initial = json_object_get(j, "default");
  if (slot < 0 || slot >= CALL_SCALARS)
    return;
  to->numbers[slot] = (CallNumber){
      .name = arena_strdup(arena, json_string_value(json_object_get(j, "name"))),
      .initial = json_is_number(initial) ? json_number_value(initial) : (double)NAN};
}

attnc_status
signature_read(const attnc_spec *spec, int op, Arena *arena, CallInfo *to, attnc_error *e)
{
  size_t i;
  json_t *t, *j = json_loads(attnc_spec_signature(spec, op), 0, NULL);
  *to = (CallInfo){.op = op};
  if (!j)
    return err_set(e, ATTNC_ERR_INTERNAL, "attnc_spec_signature: not JSON");
  json_array_foreach(json_object_get(j, "tensors"), i, t) read_tensor(t, arena, to);
  json_array_foreach(json_object_get(j, "scalars"), i, t) read_number(t, arena, to);
  json_decref(j);
  return ATTNC_OK;
}

static bool
same_axis(const CallAxis *a, const CallAxis *b)
{
  return a->n == b->n && a->size == b->size && a->by == b->by;
}

int64_t
signature_row(const ShapedTensor *x, const attnc_sizes *z)
{
  int64_t n = axis_length(&x->shape[x->t.n_axes - 1], z);
  int64_t step = x->t.align / dtype_bytes(x->t.dtype);
  return x->t.table && x->t.n_axes > 1 && step > 1 ? (n + step - 1) / step * step : n;
}

void
signature_pack(const ShapedTensor *x, const attnc_sizes *z, int64_t stride[CALL_STRIDES])
{
  CallTensor file = x->t; /* its axes as in files */
  int64_t packed[CALL_STRIDES];
  memcpy(file.axes, x->shape, sizeof file.axes);
  if (signature_row(x, z))
    file.axes[x->t.n_axes - 1] = (CallAxis){.n = signature_row(x, z)};
  tensor_pack(&file, z, packed);
  memset(stride, 0, CALL_STRIDES * sizeof *stride);
  bool taken[CALL_STRIDES] = {false}; /* an axis may stand twice in a tensor */
  for (int i = 0; i < x->t.n_axes; i++) {
    int j = 0;
    while (j < x->t.n_axes && (taken[j] || !same_axis(&x->t.axes[i], &x->shape[j])))
      j++;
    if (j == x->t.n_axes)
      continue;
    taken[j] = true;
    stride[i] = packed[j];
  }
}

const char *
signature_names(const CallInfo *call, Access access, Arena *arena)
{
  Str s = str_new(arena);
  for (int i = 0; i < call->n_slots; i++)
    if (call->at[i].t.access & access)
      str_printf(&s, "%s%s", s.n ? ", " : "", call->at[i].t.name);
  return s.p;
}
