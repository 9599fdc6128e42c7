#include "compiler/spec/signature.h"

#include <math.h>
#include <string.h>

/* Axes that are no size of the call but the spec's, or a number. */
static bool
spec_axis(const Spec *s, const char *name, size_t n, int64_t *length)
{
  const struct {
    const char *name;
    int length;
  } dims[] = {{"d", s->head_dim}, {"dv", s->head_dim_v}, {"rd", s->rope.dim / 2}};
  for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
    if (strlen(dims[i].name) == n && !strncmp(dims[i].name, name, n)) {
      *length = dims[i].length;
      return true;
    }
  *length = name[0] >= '0' && name[0] <= '9' ? name[0] - '0' : 0;
  return n == 1 && *length > 0;
}

static void
read_axes(const Spec *s, const char *list, CallTensor *t)
{
  for (const char *p = list; *p; p += strspn(p, " ")) {
    size_t n = strcspn(p, " ");
    CallAxis *a = &t->axes[t->n_axes++];
    if (!spec_axis(s, p, n, &a->n))
      axis_read(p, n, a);
    p += n;
  }
}

/* Index of an axis; -1: the tensor has none of this size. */
static int
axis_of(const CallTensor *t, SizeId size)
{
  for (int i = 0; i < t->n_axes; i++)
    if (!t->axes[i].n && !t->axes[i].more && t->axes[i].size == size)
      return i;
  return -1;
}

/* Rows of all sequences in one axis, where those of each had their own. */
static void
pack_rows(CallTensor *t, SizeId rows, SizeId total)
{
  int b = axis_of(t, SIZE_B), at = axis_of(t, rows);
  t->axes[at].size = total;
  t->n_axes--;
  for (int i = b; i < t->n_axes; i++)
    t->axes[i] = t->axes[i + 1];
  t->axes[t->n_axes] = (CallAxis){0};
}

static void
put_size(CallTensor *t, SizeId size, SizeId by)
{
  int at = axis_of(t, size);
  if (at >= 0)
    t->axes[at].size = by;
}

/* Of k, v and the tables that say where their rows are: pages, in tables for each batch, or
 * for those among which batches choose. */
static void
apply_pages(const Spec *s, CallTensor *t)
{
  bool rows = axis_of(t, SIZE_SK) >= 0;
  if (rows)
    put_size(t, SIZE_B, SIZE_PAGES);
  put_size(t, SIZE_SK, SIZE_PAGE_SIZE);
  if (axis_of(t, SIZE_MAX_PAGES) >= 0 && spec_has_tensor(s, ATTNC_CACHE_BATCH_IDX))
    put_size(t, SIZE_B, SIZE_BC);
}

/* What sequences of lengths of their own, and pages, make of the axes of the table. */
static void
apply_seqlens(const Spec *s, CallTensor *t)
{
  if (t->slot == ATTNC_KEEP)
    return;
  if (axis_of(t, SIZE_S_NEW) >= 0 && spec_has_tensor(s, ATTNC_CU_SEQLENS_K_NEW))
    pack_rows(t, SIZE_S_NEW, SIZE_TOTAL_NEW);
  if (s->page_table)
    apply_pages(s, t);
  if (axis_of(t, SIZE_SQ) >= 0 && spec_has_tensor(s, ATTNC_CU_SEQLENS_Q))
    pack_rows(t, SIZE_SQ, SIZE_TOTAL_Q);
  if (axis_of(t, SIZE_SK) >= 0 && spec_has_tensor(s, ATTNC_CU_SEQLENS_K))
    pack_rows(t, SIZE_SK, SIZE_TOTAL_K);
  else if (axis_of(t, SIZE_SK) >= 0 && spec_has_tensor(s, ATTNC_CACHE_BATCH_IDX))
    t->axes[axis_of(t, SIZE_B)].size = SIZE_BC;
}

static Access
access_of(const char *list, int op)
{
  size_t n = 0;
  const char *word = op_word_in(list, op, &n);
  for (int i = ACCESS_IN; word && i <= ACCESS_INOUT; i++)
    if (strlen(access_names[i]) == n && !strncmp(access_names[i], word, n))
      return (Access)i;
  return ACCESS_NONE;
}

static void
add_table(const SpecTable *table, int align, Signature *to)
{
  int bytes = dtype_bytes(spec_table_dtype(table));
  CallTensor *t = &to->tensors[to->n_tensors++];
  *t = (CallTensor){.name = table->name,
                    .slot = table->slot,
                    .dtype = spec_table_dtype(table),
                    .access = ACCESS_IN,
                    .align = align > bytes ? align : bytes,
                    .n_axes = table->axes.n,
                    .table = true};
  for (int i = 0; i < t->n_axes; i++) {
    const SpecAxis *a = &table->axes.at[i];
    t->axes[i] = (CallAxis){.size = a->size, .n = a->name ? 0 : a->n, .by = a->by};
  }
}

/* Of what `grad` lists: as the table that it is of, written. */
static void
add_gradient(const Spec *s, const SpecGrad *grad, Signature *to)
{
  add_table(&s->tables.at[grad->table], 1, to);
  CallTensor *t = &to->tensors[to->n_tensors - 1];
  t->name = grad->name;
  t->slot = grad->slot;
  t->access = ACCESS_OUT;
  t->table = false;
}

static void
add_gradients(const Spec *s, bool declared, Signature *to)
{
  for (int i = 0; to->op == ATTNC_OP_BWD && i < s->grads.n; i++)
    if ((s->grads.at[i].slot >= ATTNC_SLOT_COUNT) == declared)
      add_gradient(s, &s->grads.at[i], to);
}

/* NULL: the tensor is none that expressions read. */
static const SpecTable *
table_in(const Spec *s, int slot)
{
  for (int i = 0; i < s->tables.n; i++)
    if (s->tables.at[i].slot == slot)
      return &s->tables.at[i];
  return NULL;
}

/* The field's words of a type that is given by a field of its own. */
static Dtype
dtype_of_field(const Spec *s, int slot)
{
  static const Dtype types[] = {DT_F32, DT_F16, DT_BF16};
  return types[slot == ATTNC_O_PARTS ? s->o_parts : s->rope.dtype];
}

static Dtype
dtype_in_call(const Spec *s, int slot)
{
  const char *word = tensor_info[slot].dtype;
  if (!strcmp(word, "field"))
    return dtype_of_field(s, slot);
  return tensor_like(slot) < 0 ? (Dtype)dtype_find(word) : s->dtype[tensor_like(slot)];
}

/* At least an element's; rows of cosines are read in pieces of 16 bytes where they have
 * whole ones. */
static int
align_of(const Spec *s, const CallTensor *t, int align)
{
  int bytes = dtype_bytes(t->dtype), row = s->rope.dim / 2 * bytes;
  bool cosines = t->slot == ATTNC_ROTARY_COS || t->slot == ATTNC_ROTARY_SIN;
  if (cosines && row % CALL_ALIGN == 0)
    return CALL_ALIGN;
  return align > bytes ? align : bytes;
}

/* Of the forward pass what is for new keys is there only with `append`, by which k and v
 * become outputs. */
static Access
access_in(const Spec *s, int slot, int op)
{
  Access access = access_of(tensor_info[slot].access, op);
  bool new = slot == ATTNC_K_NEW || slot == ATTNC_V_NEW || slot == ATTNC_APPEND_AT ||
             slot == ATTNC_CU_SEQLENS_K_NEW;
  bool cache = slot == ATTNC_K || slot == ATTNC_V;
  if (op != ATTNC_OP_FWD || (!new && !cache))
    return access;
  return cache && s->append ? ACCESS_INOUT : new && !s->append ? ACCESS_NONE : access;
}

/* A backward pass has the LSE, whether or not the forward pass of others writes it. */
static bool
is_in_call(const Spec *s, int slot, int op)
{
  return spec_has_tensor(s, slot) || (slot == ATTNC_LSE && op == ATTNC_OP_BWD);
}

static void
add_tensor(const Spec *s, int slot, Signature *to)
{
  const SpecTable *table = table_in(s, slot);
  const TensorInfo *info = &tensor_info[slot];
  Access access = access_in(s, slot, to->op);
  if (access == ACCESS_NONE || !is_in_call(s, slot, to->op))
    return;
  if (table) {
    add_table(table, info->align, to);
    return;
  }
  CallTensor *t = &to->tensors[to->n_tensors++];
  *t = (CallTensor){.name = info->name,
                    .slot = slot,
                    .dtype = dtype_in_call(s, slot),
                    .access = access,
                    .contiguous = !info->strided};
  t->align = align_of(s, t, info->align);
  read_axes(s, info->axes, t);
  apply_seqlens(s, t);
}

static void
add_scalar(const Spec *s, int slot, Signature *to)
{
  const ScalarInfo *info = &scalar_info[slot];
  size_t n;
  double initial = spec_number(s, info->field);
  bool given = spec_has(s, info->field) || !isnan(initial);
  if (!op_word_in(info->ops, to->op, &n) || !given)
    return;
  to->scalars[to->n_scalars++] =
      (SignatureScalar){.name = info->name,
                        .slot = slot,
                        .initial = initial,
                        .bounds = info->bounds,
                        .constant = spec_is_constant(s, info->field)};
}

static void
add_number(const SpecScalar *number, Signature *to)
{
  to->scalars[to->n_scalars++] = (SignatureScalar){.name = number->name,
                                                   .slot = number->slot,
                                                   .initial = number->initial,
                                                   .constant = number->constant};
}

void
signature_make(const Spec *s, int op, Signature *to)
{
  *to = (Signature){.op = op};
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    if (i != ATTNC_DALIBI_SLOPES && i != ATTNC_DBIAS && i != ATTNC_DSINK)
      add_tensor(s, i, to);
  add_gradients(s, false, to);
  for (int i = 0; i < ATTNC_SCALAR_COUNT; i++)
    add_scalar(s, i, to);
  for (int i = 0; i < s->tensors.n; i++)
    add_table(&s->tensors.at[i], 1, to);
  add_gradients(s, true, to);
  for (int i = 0; i < s->scalars.n; i++)
    add_number(&s->scalars.at[i], to);
}

/* ---- as JSON ---- */

static void
put_axis(const CallAxis *a, const char *comma, Str *s)
{
  char text[AXIS_TEXT];
  axis_print(a, text);
  if (a->n)
    str_printf(s, "%s%lld", comma, (long long)a->n);
  else
    str_printf(s, "%s\"%s\"", comma, text);
}

/* The layout names the order of axes (b, h, s, d); packed tensors are (rows, h, d) whatever
 * the layout; tensors without one are as their table row says. */
static void
put_shape(const CallTensor *t, const Spec *spec, Str *s)
{
  int like = tensor_like(t->slot);
  bool packed = like >= 0 && t->n_axes == 3;
  bool swap = packed || (like >= 0 && spec->layout[like] == LAYOUT_BSHD);
  int h = t->n_axes - 3, rows = h + 1;
  str_put(s, ",\"shape\":[");
  for (int i = 0; i < t->n_axes; i++)
    put_axis(&t->axes[swap && i == h ? rows : swap && i == rows ? h : i], i ? "," : "", s);
  str_put(s, "]");
}

static void
put_table(const SpecTable *table, const Spec *spec, Str *s)
{
  bool mask = spec_mask_reads(spec, (int)(table - spec->tables.at));
  str_printf(s, ",\"longer\":true%s%s", table->monotone ? ",\"monotone\":true" : "",
             mask ? ",\"mask\":true" : "");
}

static void
put_tensor(const CallTensor *t, const Spec *spec, Str *s)
{
  str_printf(s, "{\"name\":\"%s\",\"slot\":%d,\"dtype\":\"%s\",\"access\":\"%s\"", t->name,
             t->slot, dtype_name(t->dtype), access_names[t->access]);
  str_put(s, ",\"axes\":[");
  for (int i = 0; i < t->n_axes; i++)
    put_axis(&t->axes[i], i ? "," : "", s);
  str_printf(s, "],\"contiguous\":%s,\"align\":%d", t->contiguous ? "true" : "false",
             t->align);
  if (spec)
    put_shape(t, spec, s);
  if (spec && t->table)
    put_table(table_in(spec, t->slot), spec, s);
  str_put(s, "}");
}

void
signature_put_tensors(const Signature *x, const Spec *spec, Str *s)
{
  str_put(s, "\"tensors\":[");
  for (int i = 0; i < x->n_tensors; i++) {
    str_put(s, i ? "," : "");
    put_tensor(&x->tensors[i], spec, s);
  }
  str_put(s, "]");
}

void
signature_put_scalars(const Signature *x, bool defaults, Str *s)
{
  str_put(s, "\"scalars\":[");
  for (int i = 0; i < x->n_scalars; i++) {
    const SignatureScalar *v = &x->scalars[i];
    str_printf(s, "%s{\"name\":\"%s\",\"slot\":%d", i ? "," : "", v->name, v->slot);
    if ((defaults || v->constant) && isnan(v->initial))
      str_put(s, ",\"default\":null");
    else if (defaults || v->constant)
      str_printf(s, ",\"default\":%.17g", v->initial);
    str_printf(s, ",\"positive\":%s%s,\"constant\":%s}",
               v->bounds == RULE_POSITIVE ? "true" : "false",
               v->bounds == RULE_SHARE ? ",\"share\":true" : "",
               v->constant ? "true" : "false");
  }
  str_put(s, "]");
}
