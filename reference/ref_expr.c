/* mask_mod and score_mod of the reference: scores in fp64, and plainly in fp32. */
#include "reference/ref.h"

#include "base/err.h"

#include <math.h>
#include <string.h>

typedef struct RefExprs {
  ExprValue *values; /* room for every list, … */
  double *errors;    /* … for their errors, … */
  double *slopes;    /* … and for their slopes */
  double *by;        /* of the score at hand by each table of the spec's grads */
  bool *hidden;      /* by key */
  ExprInput in;
} RefExprs;

/* Is something asked of each key? */
static bool
asks_keys(const Spec *s)
{
  return spec_has_expressions(s) || spec_has_lists(s);
}

/* ---- what the call gives ---- */

static void
take_table(Ref *r, int i)
{
  const SpecTable *t = &r->spec->tables.at[i];
  const attnc_tensor *given = &r->t[t->slot];
  ExprTable *to = &r->tables[i];
  to->data = given->data;
  for (int a = 0; a < t->axes.n; a++) {
    to->length[a] = spec_axis_length(&t->axes.at[a], &r->n);
    to->stride[a] = given->stride[a];
  }
}

/* The sequence's rows of a packed axis. */
static void
enter_axis(const Ref *r, const SpecTable *t, int a, ExprTable *to)
{
  SizeId size = t->axes.at[a].size;
  bool queries = size == SIZE_TOTAL_Q;
  if (!t->axes.at[a].name || (!queries && size != SIZE_TOTAL_K) || !to->data)
    return;
  int64_t first = queries ? r->seq.q_first : r->seq.k_first;
  int bytes = dtype_bytes(spec_table_dtype(t));
  to->data = (const char *)to->data + first * to->stride[a] * bytes;
  to->length[a] = queries ? r->seq.sq : r->seq.sk;
}

void
ref_enter_tables(Ref *r)
{
  const SpecTables *all = &r->spec->tables;
  if (!asks_keys(r->spec))
    return;
  for (int i = 0; i < all->n; i++) {
    take_table(r, i);
    for (int a = 0; a < all->at[i].axes.n; a++)
      enter_axis(r, &all->at[i], a, &r->tables[i]);
  }
}

/* Indices and sizes are i32 that do not wrap where sizes are those of kernels. */
static attnc_status
check_sizes(const Ref *r, attnc_error *err)
{
  for (int i = 0; i < SIZE_COUNT; i++)
    if (size_get(&r->n, (SizeId)i) > SIZE_LIMIT)
      return err_set(err, ATTNC_ERR_SHAPE,
                     "reference: %s is above 2^30: expressions count to there",
                     size_names[i]);
  return ATTNC_OK;
}

attnc_status
ref_take_tables(Ref *r, attnc_error *err)
{
  if (!asks_keys(r->spec))
    return ATTNC_OK;
  TRY(check_sizes(r, err));
  for (int i = 0; i < r->spec->tables.n; i++)
    take_table(r, i);
  for (int i = 0; i < r->spec->numbers.n; i++)
    r->numbers[i] = (double)(float)r->scalar[r->spec->numbers.at[i].slot];
  return ATTNC_OK;
}

/* ---- of a thread ---- */

static ExprValue
element(const void *user, int tensor, const void *data, int64_t at)
{
  Dtype ty = spec_table_dtype(&((const Spec *)user)->tables.at[tensor]);
  if (ty == DT_I32 || ty == DT_U32)
    return (ExprValue){.i = ((const int32_t *)data)[at]};
  return (ExprValue){.f = (double)ref_element(data, at, ty)};
}

bool
ref_exprs_open(Ref *r)
{
  const Spec *s = r->spec;
  Arena *a = r->arena;
  if (!asks_keys(s))
    return true;
  RefExprs *x = r->exprs = NEW(a, RefExprs);
  if (!x || !(x->hidden = ref_room(a, r->n.sp + r->n.sk, 1, sizeof(bool))) ||
      !(x->values = ref_room(a, s->graph->nodes.n, 1, sizeof(ExprValue))) ||
      !(x->errors = ref_room(a, s->graph->nodes.n, 1, sizeof(double))) ||
      !(x->slopes = ref_room(a, s->graph->nodes.n, 1, sizeof(double))) ||
      !(x->by = ref_room(a, s->grads.n + 1, 1, sizeof(double))))
    return false;
  x->in = (ExprInput){
      .scalars = r->numbers, .tables = r->tables, .element = element, .user = s};
  return true;
}

static ExprValue
value_of(RefExprs *x, const ExprList *list)
{
  expr_eval_list(list, &x->in, x->values);
  return x->values[list->n - 1];
}

/* error: what the result may be off by; slope: its derivative by the score; NULL: nobody
 * asks. */
static double
changed(const Ref *r, RefExprs *x, double score, ExprWidth width, double *error,
        double *slope)
{
  x->in.width = width;
  x->in.score = score;
  if (slope)
    *slope = 1;
  for (int g = 0; slope && g < r->spec->grads.n; g++)
    x->by[g] = 0;
  for (int i = 0; i < r->spec->score_mod.n; i++) {
    const ExprList *list = &r->spec->score_mod.lists[i];
    x->in.score = value_of(x, list).f;
    if (error)
      *error = ref_score_error(r, list, x->values, *error, x->errors);
    if (slope && *slope != 0)
      *slope *= ref_slope(list, x->values, 1, -1, x->slopes);
    for (int g = 0; slope && g < r->spec->grads.n; g++)
      x->by[g] =
          ref_slope(list, x->values, x->by[g], r->spec->grads.at[g].table, x->slopes);
  }
  return x->in.score;
}

/* In fp64, with its error. */
static double
changed_wide(const Ref *r, RefExprs *x, int64_t key)
{
  double *error = r->score_error ? &r->score_error[key] : NULL;
  double *slope = r->grad ? &r->grad->slope64[key] : NULL;
  if (error)
    *error = ref_scaled_error(r->s64[key]);
  double s = changed(r, x, r->s64[key], EXPR_WIDE, error, slope);
  for (int g = 0; slope && g < r->spec->grads.n; g++)
    r->grad->by64[g][key] = x->by[g];
  return s;
}

/* Plainly. */
static float
changed_narrow(const Ref *r, RefExprs *x, int64_t key)
{
  double slope = 1, *wanted = r->grad ? &slope : NULL;
  double s = changed(r, x, (double)r->s32[key], EXPR_NARROW, NULL, wanted);
  if (r->grad)
    r->grad->slope32[key] = (float)slope;
  for (int g = 0; r->grad && g < r->spec->grads.n; g++)
    r->grad->by32[g][key] = (float)x->by[g];
  return (float)s;
}

static void
set_row(const Ref *r, RefExprs *x, int64_t b, int64_t h, int64_t q)
{
  int32_t *var = x->in.var;
  var[EXPR_B] = (int32_t)b;
  var[EXPR_H] = (int32_t)h;
  var[EXPR_HK] = (int32_t)(h / (r->n.h / r->n.hk));
  var[EXPR_SQ] = (int32_t)r->seq.sq;
  var[EXPR_SK] = (int32_t)r->seq.sk;
  var[EXPR_Q_IDX] = (int32_t)q;
}

/* Does the mask let the row in hand see key j, which its band is asked of, too? */
static bool
seen(const Ref *r, RefExprs *x, Range band, int64_t j)
{
  RefBlock block = ref_block(r, j);
  if (block != REF_BLOCK_PARTIAL)
    return block == REF_BLOCK_FULL;
  if (j < band.from || j >= band.to)
    return false;
  x->in.var[EXPR_KV_IDX] = (int32_t)j;
  x->in.width = EXPR_WIDE;
  return !r->spec->mask_mod.n || value_of(x, r->spec->mask_mod.lists).i;
}

void
ref_exprs_apply(Ref *r, Range keys, int64_t b, int64_t h, int64_t q)
{
  RefExprs *x = r->exprs;
  Range band = ref_in_band(r, q);
  ref_lists_enter(r, b, h, q);
  set_row(r, x, b, h, q);
  for (int64_t j = keys.from; j < keys.to; j++) {
    x->in.var[EXPR_KV_IDX] = (int32_t)j;
    x->hidden[j] = !seen(r, x, band, j);
    r->n_seen -= x->hidden[j];
    r->s64[j] = x->hidden[j] ? (double)-INFINITY : changed_wide(r, x, j);
    r->s32[j] = x->hidden[j] ? -INFINITY : changed_narrow(r, x, j);
  }
}

bool
ref_is_hidden(const Ref *r, int64_t key)
{
  return r->exprs && r->exprs->hidden[key];
}

bool
ref_sees(Ref *r, int64_t b, int64_t h, int64_t q, int64_t k)
{
  Range band = ref_in_band(r, q);
  if (!r->exprs)
    return k >= band.from && k < band.to;
  ref_lists_enter(r, b, h, q);
  set_row(r, r->exprs, b, h, q);
  return seen(r, r->exprs, band, k);
}

bool
ref_table_is_empty(const Ref *r, int table)
{
  for (int i = 0; i < r->spec->tables.at[table].axes.n; i++)
    if (!r->tables[table].length[i])
      return true;
  return false;
}
