/* What the tables of attnc_rt.h say of tensors and scalars, and the checks of a call's. */
#include "base/call.h"
#include "base/err.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Device addresses have 49 bits (CUDA C++ programming guide, unified addressing): a tensor
 * that spans more than this many bytes is none. */
#define MAX_SPAN ((int64_t)1 << 48)

enum { STRIDED = true, CONTIGUOUS = false, POSITIVE = true, ANY = false };

const TensorInfo tensor_info[ATTNC_SLOT_COUNT] = {
#define X(id, name, access, dtype, axes, kind, field, align)                               \
  {name, access, dtype, axes, field, kind, align},
    ATTNC_TENSOR_TABLE(X)
#undef X
};

const ScalarInfo scalar_info[ATTNC_SCALAR_COUNT] = {
#define X(id, name, ops, field, bounds) {name, ops, #field, bounds},
    ATTNC_SCALAR_TABLE(X)
#undef X
};

const char *const op_words[ATTNC_OP_COUNT] = {
#define X(id, name, what) name,
    ATTNC_OP_TABLE(X)
#undef X
};

const char *const access_names[] = {"", "in", "out", "inout"};

int
tensor_find(const char *name)
{
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    if (!strcmp(tensor_info[i].name, name))
      return i;
  return -1;
}

bool
tensor_is_typed(int slot)
{
  return tensor_info[slot].dtype[0] == 0;
}

const char *
op_word_in(const char *list, int op, size_t *len)
{
  size_t n = strlen(op_words[op]);
  for (const char *p = list; *p; p += strspn(p, " ")) {
    size_t word = strcspn(p, " ");
    if (word >= n && !strncmp(p, op_words[op], n) && (word == n || p[n] == ':')) {
      *len = word == n ? 0 : word - n - 1;
      return p + word - *len;
    }
    p += word;
  }
  return NULL;
}

/* ---- shapes ---- */

int64_t
axis_length(const CallAxis *a, const attnc_sizes *s)
{
  return a->n ? a->n : size_get(s, a->size);
}

bool
tensor_is_empty(const CallTensor *t, const attnc_sizes *s)
{
  for (int i = 0; i < t->n_axes; i++)
    if (axis_length(&t->axes[i], s) == 0)
      return true;
  return false;
}

/* Lengths were checked before: a product that leaves int64 is of a tensor that nobody has.
 */
void
tensor_pack(const CallTensor *t, const attnc_sizes *s, int64_t stride[CALL_STRIDES])
{
  int64_t step = 1;
  memset(stride, 0, CALL_STRIDES * sizeof *stride);
  for (int i = t->n_axes - 1; i >= 0; i--) {
    stride[i] = step;
    if (__builtin_mul_overflow(step, axis_length(&t->axes[i], s), &step))
      step = INT64_MAX;
  }
}

/* ---- strides ---- */

static attnc_status
check_ends(const CallTensor *t, const attnc_tensor *x, attnc_error *e)
{
  for (int i = t->n_axes - 1; i < CALL_STRIDES; i++) {
    int want = i == t->n_axes - 1;
    if (x->stride[i] != want)
      return err_set(e, ATTNC_ERR_SHAPE, "%s: stride[%d] must be %d, not %lld", t->name, i,
                     want, (long long)x->stride[i]);
  }
  return ATTNC_OK;
}

static attnc_status
check_stride(const CallTensor *t, int i, int64_t length, int64_t stride, int64_t *span,
             attnc_error *e)
{
  int bytes = dtype_bytes(t->dtype);
  int64_t reach, size = stride < 0 ? -(stride + 1) : stride; /* |stride|, or 1 less */
  if (stride % t->align * bytes % t->align)
    return err_set(e, ATTNC_ERR_ALIGN,
                   "%s: stride[%d] of %lld elements is not a multiple of %d bytes", t->name,
                   i, (long long)stride, t->align);
  if (__builtin_mul_overflow(length - 1, size, &reach) ||
      __builtin_add_overflow(*span, reach, span) || *span > MAX_SPAN / bytes)
    return err_set(e, ATTNC_ERR_SHAPE,
                   "%s: stride[%d] of %lld elements over a length of %lld leaves the "
                   "address space",
                   t->name, i, (long long)stride, (long long)length);
  return ATTNC_OK;
}

static uint64_t
common_divisor(uint64_t a, uint64_t b)
{
  while (b) {
    uint64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/* Steps along two axes lead to one address twice: i * a == j * b with 0 < i < length of a,
 * 0 < j < length of b. */
static bool
meet(uint64_t a, int64_t length_a, uint64_t b, int64_t length_b)
{
  if (length_a < 2 || length_b < 2)
    return false;
  uint64_t g = common_divisor(a, b);
  return g == 0 || (b / g < (uint64_t)length_a && a / g < (uint64_t)length_b);
}

/* Axes by the length of their steps: each steps over all that the shorter ones reach, as in
 * every tensor that was cut out of a dense one. */
static bool
is_nested(const CallTensor *t, const attnc_sizes *s, const attnc_tensor *x)
{
  int64_t step[CALL_STRIDES], length[CALL_STRIDES], reach = 0;
  int n = 0;
  for (int i = 0; i < t->n_axes; i++) {
    int64_t its = axis_length(&t->axes[i], s), size = llabs(x->stride[i]);
    int at = n++;
    if (its < 2) {
      n--;
      continue;
    }
    for (; at > 0 && step[at - 1] > size; at--) {
      step[at] = step[at - 1];
      length[at] = length[at - 1];
    }
    step[at] = size;
    length[at] = its;
  }
  for (int i = 0; i < n; i++) {
    if (step[i] <= reach)
      return false;
    reach += (length[i] - 1) * step[i];
  }
  return true;
}

static attnc_status
check_output(const CallTensor *t, const attnc_sizes *s, const attnc_tensor *x,
             attnc_error *e)
{
  if (is_nested(t, s, x))
    return ATTNC_OK;
  for (int i = 0; i < t->n_axes; i++) {
    int64_t n = axis_length(&t->axes[i], s), step = x->stride[i];
    if (n > 1 && step == 0)
      return err_set(e, ATTNC_ERR_SHAPE,
                     "%s: stride[%d] is 0 over a length of %lld: an output has an address "
                     "for each element",
                     t->name, i, (long long)n);
    for (int j = 0; j < i; j++)
      if (meet((uint64_t)llabs(step), n, (uint64_t)llabs(x->stride[j]),
               axis_length(&t->axes[j], s)))
        return err_set(e, ATTNC_ERR_SHAPE,
                       "%s: strides %lld and %lld of axes %d and %d address elements "
                       "twice: an output has an address for each",
                       t->name, (long long)x->stride[j], (long long)step, j, i);
  }
  return ATTNC_OK;
}

attnc_status
tensor_check(const CallTensor *t, const attnc_sizes *s, attnc_tensor *x, attnc_error *e)
{
  int64_t span = 0;
  if (t->contiguous) {
    tensor_pack(t, s, x->stride);
    return ATTNC_OK;
  }
  TRY(check_ends(t, x, e));
  for (int i = 0; i + 1 < t->n_axes; i++) {
    int64_t n = axis_length(&t->axes[i], s);
    if (n < 2)
      x->stride[i] = 0;
    else
      TRY(check_stride(t, i, n, x->stride[i], &span, e));
  }
  return t->access & ACCESS_OUT && !tensor_is_empty(t, s) ? check_output(t, s, x, e)
                                                          : ATTNC_OK;
}

/* ---- scalars ---- */

attnc_status
scalar_check(const char *name, double value, bool positive, attnc_error *e)
{
  float stored = (float)value;
  if (positive && !(stored >= FLT_MIN && stored <= FLT_MAX))
    return err_set(e, ATTNC_ERR_USAGE,
                   "%s is %g; it must be finite and above zero, a normal number of fp32",
                   name, value);
  if (!isfinite(stored))
    return err_set(e, ATTNC_ERR_USAGE, "%s is %g; it must be finite", name, value);
  return ATTNC_OK;
}
