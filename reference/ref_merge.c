/* Op merge: states of attention over parts of the keys made one, in fp64.
 *
 * An element is right when it is no further from that than half an ulp of its type and a
 * few roundings of fp32 of what is as large as the parts' weighted elements; an LSE, when
 * it is within a few roundings of fp32. */
#include "reference/judge.h"

#include "base/err.h"

#include <math.h>

static const double MERGED = 0x1p-20, MERGED_LSE = 0x1p-21;

typedef struct Row {
  int64_t b, h, q;
} Row;

static double
part_element(const Ref *r, int slot, int64_t part, Row w, int64_t d)
{
  const attnc_tensor *t = &r->t[slot];
  bool packed = ref_is_packed(r);
  const int64_t *st = t->stride + 1 + !packed;
  int64_t at = part * t->stride[0] + (packed ? 0 : w.b * t->stride[1]);
  at += w.h * st[0] + w.q * st[1] + (slot == ATTNC_O_PARTS ? d * st[2] : 0);
  return (double)ref_element(t->data, at, r->ty[slot]);
}

/* In natural logarithms; what no key was seen of: −inf. */
static double
lse_of(const Ref *r, int64_t part, Row w)
{
  double x = part_element(r, ATTNC_LSE_PARTS, part, w, 0);
  x = r->spec->lse_base == LSE_BASE_2 ? x * 0.6931471805599453 : x;
  return x == INFINITY ? -INFINITY : x;
}

typedef struct Merged {
  double most, sum; /* the LSE is most + log(sum) */
} Merged;

static Merged
merged(const Ref *r, Row w)
{
  Merged m = {.most = -INFINITY};
  for (int64_t i = 0; i < r->n.parts; i++) {
    double x = lse_of(r, i, w);
    m.most = x > m.most || isnan(x) ? x : m.most;
  }
  for (int64_t i = 0; i < r->n.parts && m.most != -INFINITY; i++)
    m.sum += exp(lse_of(r, i, w) - m.most);
  return m;
}

/* *size: what its terms come to without their signs. */
static double
merged_element(const Ref *r, const Merged *m, Row w, int64_t d, double *size)
{
  double o = 0;
  *size = 0;
  for (int64_t i = 0; i < r->n.parts && m->most != -INFINITY; i++) {
    double weight = exp(lse_of(r, i, w) - m->most) / m->sum;
    double x = weight == 0 ? 0 : weight * part_element(r, ATTNC_O_PARTS, i, w, d);
    o += x;
    *size += fabs(x);
  }
  return o;
}

static double
merged_lse(const Ref *r, const Merged *m)
{
  double x = m->most == -INFINITY ? -INFINITY : m->most + log(m->sum);
  return r->spec->lse_base == LSE_BASE_2 ? x * 1.4426950408889634 : x;
}

static int64_t
batches(const Ref *r)
{
  return ref_is_packed(r) ? 1 : r->n.b;
}

static int64_t
row_index(const Ref *r, int64_t i)
{
  return r->rows ? r->rows[i] : i;
}

attnc_status
ref_merge(Ref *r, double *const *outputs, uint32_t n, attnc_error *e)
{
  double *o = outputs && n > ATTNC_O ? outputs[ATTNC_O] : NULL, size;
  double *lse = outputs && n > ATTNC_LSE ? outputs[ATTNC_LSE] : NULL;
  int dv = r->spec->head_dim_v;
  int64_t at = 0;
  (void)e;
  for (int64_t b = 0; b < batches(r); b++)
    for (int64_t h = 0; h < r->n.h; h++)
      for (int64_t i = 0; i < r->n_rows; i++, at++) {
        Row w = {b, h, row_index(r, i)};
        Merged m = merged(r, w);
        for (int d = 0; o && d < dv; d++)
          o[at * dv + d] = merged_element(r, &m, w, d, &size);
        if (lse)
          lse[at] = merged_lse(r, &m);
      }
  return ATTNC_OK;
}

/* ---- the judge ---- */

static int64_t
output_at(const Ref *r, int slot, Row w, int64_t d)
{
  const int64_t *own = r->t[slot].stride;
  bool packed = ref_is_packed(r);
  if (slot == ATTNC_LSE) /* contiguous */
    return ((packed ? 0 : w.b * r->n.h) + w.h) * r->n_rows + w.q;
  const int64_t *st = own + !packed;
  return (packed ? 0 : w.b * own[0]) + w.h * st[0] + w.q * st[1] + d * st[2];
}

static double
output(const Ref *r, int slot, Row w, int64_t d)
{
  return (double)ref_element(r->t[slot].data, output_at(r, slot, w, d), r->ty[slot]);
}

static void
judge_o(const Ref *r, const Merged *m, Row w, Judge *row)
{
  Dtype ty = r->ty[ATTNC_O];
  for (int d = 0; d < r->spec->head_dim_v; d++) {
    double size, want = merged_element(r, m, w, d, &size);
    double got = output(r, ATTNC_O, w, d), error = judge_distance(got, want);
    bool beyond = isinf(got) && isfinite(want) && isinf(ref_rounded((float)want, ty)) &&
                  (got > 0) == (want > 0);
    double bound = size == 0 ? 0 : ref_ulp(want, ty) + MERGED * size;
    judge_output(row, ATTNC_O, beyond ? 0 : error, bound);
  }
}

attnc_status
ref_merge_judge(Ref *r, Judge *all, attnc_error *e)
{
  (void)e;
  for (int64_t b = 0; b < batches(r); b++)
    for (int64_t h = 0; h < r->n.h; h++)
      for (int64_t q = 0; q < r->n_rows; q++) {
        Row w = {b, h, q};
        Merged m = merged(r, w);
        Judge row = {.v = {.b = b, .h = h, .q = q}};
        judge_o(r, &m, w, &row);
        if (r->spec->return_lse) {
          double want = merged_lse(r, &m),
                 error = judge_distance(output(r, ATTNC_LSE, w, 0), want);
          double bound = isfinite(want) ? MERGED_LSE * (1 + fabs(want)) : 0;
          judge_output(&row, ATTNC_LSE, error, bound);
        }
        judge_add(all, &row);
      }
  return ATTNC_OK;
}
