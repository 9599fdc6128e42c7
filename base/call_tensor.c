/* What the tables of attnc_rt.h say of tensors and scalars, and the checks of a call's. */
#include "base/call.h"
#include "base/err.h"
#include "base/rules.h"

#include <stdio.h>
#include <string.h>

enum { STRIDED = true, CONTIGUOUS = false };

const TensorInfo tensor_info[ATTNC_SLOT_COUNT] = {
#define X(id, name, access, dtype, axes, kind, field, align)                               \
  {name, access, dtype, axes, field, kind, align},
    ATTNC_TENSOR_TABLE(X)
#undef X
};

const ScalarInfo scalar_info[ATTNC_SCALAR_COUNT] = {
#define X(id, name, ops, field, bounds) {name, ops, #field, RULE_##bounds},
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
  return slot < ATTNC_SLOT_COUNT && tensor_info[slot].dtype[0] == 0;
}

int
tensor_like(int slot)
{
  if (slot == ATTNC_O_PARTS) /* whose type is a field's */
    return ATTNC_O;
  if (slot >= ATTNC_SLOT_COUNT)
    return -1;
  const char *dtype = tensor_info[slot].dtype;
  return tensor_is_typed(slot)      ? slot
         : strncmp(dtype, "as ", 3) ? -1
                                    : tensor_find(dtype + 3);
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

/* -1: it is no size of a call. */
static int
find_size(const char *text, size_t n)
{
  for (int i = 0; i < SIZE_COUNT; i++)
    if (strlen(size_names[i]) == n && !strncmp(size_names[i], text, n))
      return i;
  return -1;
}

/* Digits alone, n of them; 0: it is no such number, or is above the sizes of calls. */
static int64_t
read_count(const char *text, size_t n)
{
  int64_t value = 0;
  for (size_t i = 0; i < n && value <= CALL_MAX_SIZE; i++) {
    if (text[i] < '0' || text[i] > '9')
      return 0;
    value = value * 10 + (text[i] - '0');
  }
  return value <= CALL_MAX_SIZE ? value : 0;
}

bool
axis_read(const char *word, size_t n, CallAxis *a)
{
  size_t name = 0;
  while (name < n && word[name] != '+' && word[name] != '/')
    name++;
  int size = find_size(word, name);
  int64_t number = name < n ? read_count(word + name + 1, n - name - 1) : 0;
  *a = (CallAxis){.size = (SizeId)(size < 0 ? 0 : size)};
  if (name < n && word[name] == '+')
    a->more = (int)number;
  else
    a->by = number;
  return size >= 0 && (name == n || (number > 0 && a->by != 1 && a->more < 10));
}

int64_t
axis_length(const CallAxis *a, const attnc_sizes *s)
{
  int64_t n = a->n ? a->n : size_get(s, a->size) + a->more;
  return a->by > 1 ? n / a->by + (n % a->by != 0) : n;
}

void
axis_print(const CallAxis *a, char text[AXIS_TEXT])
{
  const char *name = size_names[a->size];
  if (a->by > 1)
    snprintf(text, AXIS_TEXT, "%s/%lld", name, (long long)a->by);
  else if (a->more)
    snprintf(text, AXIS_TEXT, "%s+%d", name, a->more);
  else
    snprintf(text, AXIS_TEXT, "%s", name);
}

static RuleTensor
rule_of(const CallTensor *t, const attnc_sizes *s, const int64_t *constant,
        int64_t length[CALL_STRIDES])
{
  for (int i = 0; i < t->n_axes; i++)
    length[i] = axis_length(&t->axes[i], s);
  return (RuleTensor){.n = t->n_axes,
                      .bytes = dtype_bytes(t->dtype),
                      .align = t->align,
                      .out = (t->access & ACCESS_OUT) != 0,
                      .contiguous = t->contiguous,
                      .constant = constant};
}

bool
tensor_is_empty(const CallTensor *t, const attnc_sizes *s)
{
  int64_t length[CALL_STRIDES];
  const RuleTensor r = rule_of(t, s, NULL, length);
  return rule_is_empty(&r, length);
}

void
tensor_pack(const CallTensor *t, const attnc_sizes *s, int64_t stride[CALL_STRIDES])
{
  int64_t length[CALL_STRIDES];
  const RuleTensor r = rule_of(t, s, NULL, length);
  rule_pack(&r, length, stride);
}

/* ---- the words of what is broken ---- */

static attnc_status
stride_fault(const CallTensor *t, const RuleTensor *r, const int64_t *length,
             const attnc_tensor *x, const RuleFault *f, attnc_error *e)
{
  int i = f->at, j = f->other;
  long long stride = x->stride[i], n = i < t->n_axes ? length[i] : 1;
  switch (f->what) {
  case RULE_STRIDE_LAST:
    return err_set(e, ATTNC_ERR_SHAPE, "%s: stride[%d] must be 1, not %lld", t->name, i,
                   stride);
  case RULE_STRIDE_RESERVED:
    return err_set(e, ATTNC_ERR_SHAPE, "%s: stride[%d] must be 0, not %lld", t->name, i,
                   stride);
  case RULE_STRIDE_ALIGN:
    return err_set(e, ATTNC_ERR_ALIGN,
                   "%s: stride[%d] of %lld elements is not a multiple of %d bytes", t->name,
                   i, stride, t->align);
  case RULE_STRIDE_SPAN:
    return err_set(e, ATTNC_ERR_SHAPE,
                   "%s: stride[%d] of %lld elements over a length of %lld leaves the "
                   "address space",
                   t->name, i, stride, n);
  case RULE_STRIDE_ZERO:
    return err_set(e, ATTNC_ERR_SHAPE,
                   "%s: stride[%d] is 0 over a length of %lld: an output has an address "
                   "for each element",
                   t->name, i, n);
  case RULE_STRIDE_TWICE:
    return err_set(e, ATTNC_ERR_SHAPE,
                   "%s: strides %lld and %lld of axes %d and %d address elements "
                   "twice: an output has an address for each",
                   t->name, (long long)x->stride[j], stride, j, i);
  case RULE_STRIDE_CONSTANT:
    return err_set(e, ATTNC_ERR_SHAPE,
                   "%s: stride[%d] is %lld; this kernel is specialised for %lld", t->name,
                   i, stride, (long long)r->constant[i]);
  default:
    return err_set(e, ATTNC_ERR_INTERNAL, "%s: rule %d is broken", t->name, (int)f->what);
  }
}

static attnc_status
tensor_fault(const CallTensor *t, const RuleTensor *r, const int64_t *length,
             const attnc_tensor *x, const RuleFault *f, attnc_error *e)
{
  if (f->what == RULE_NULL)
    return err_set(e, ATTNC_ERR_USAGE, "tensor %s (slot %d) is NULL", t->name, t->slot);
  if (f->what == RULE_ADDRESS)
    return err_set(e, ATTNC_ERR_ALIGN, "%s: the address %p is not a multiple of %d bytes",
                   t->name, x->data, t->align);
  return stride_fault(t, r, length, x, f, e);
}

attnc_status
tensor_check(const CallTensor *t, const attnc_sizes *s, attnc_tensor *x, attnc_error *e)
{
  int64_t length[CALL_STRIDES];
  const RuleTensor r = rule_of(t, s, NULL, length);
  RuleFault f;
  return rule_strides(&r, length, x->stride, &f) ? ATTNC_OK
                                                 : tensor_fault(t, &r, length, x, &f, e);
}

attnc_status
tensor_check_call(const CallTensor *t, const attnc_sizes *s, const int64_t *constant,
                  attnc_tensor *x, attnc_error *e)
{
  int64_t length[CALL_STRIDES];
  const RuleTensor r = rule_of(t, s, constant, length);
  RuleFault f;
  return rule_tensor(&r, length, (uintptr_t)x->data, x->stride, &f)
             ? ATTNC_OK
             : tensor_fault(t, &r, length, x, &f, e);
}

/* ---- scalars ---- */

attnc_status
scalar_check(const char *name, double value, RuleBounds bounds, attnc_error *e)
{
  RuleFault f;
  if (rule_scalar(value, bounds, &f))
    return ATTNC_OK;
  if (f.what == RULE_SCALAR_SHARE)
    return err_set(e, ATTNC_ERR_USAGE,
                   "%s is %g; it must be at least 0 and below 1, as fp32", name, value);
  if (f.what == RULE_SCALAR)
    return err_set(e, ATTNC_ERR_USAGE,
                   "%s is %g; it must be finite and above zero, a normal number of fp32 "
                   "below 2^127",
                   name, value);
  return err_set(e, ATTNC_ERR_USAGE, "%s is %g; it must be finite", name, value);
}
