/* Op append: new keys and values in the cache that k and v are.
 *
 * A value is right when it is the new one; a key, when it is no further from the turned one
 * in fp64 than half an ulp of its type and a few roundings of fp32.  Everything else that k
 * and v hold must be what it was. */
#include "reference/judge.h"

#include "base/err.h"

#include <math.h>
#include <string.h>

/* Of a turned element: of both products and their sum, of what is as large as the two. */
static const double TURNED = 0x1p-22;

/* A sequence's new rows, and where they go. */
typedef struct New {
  int64_t b, first, n; /* rows of k_new and v_new: from `first` on, so many */
  int64_t at;          /* keys that it had */
  int64_t kb;          /* its batch of k and v, or row of the page table */
  int64_t position;    /* of its first row */
} New;

static bool
has(const Ref *r, int slot)
{
  for (int i = 0; i < r->call->n_tensors; i++)
    if (r->call->tensors[i].slot == slot)
      return r->t[slot].data != NULL;
  return false;
}

static int64_t
number(const Ref *r, int slot, int64_t i, int64_t absent)
{
  return has(r, slot) ? ((const int32_t *)r->t[slot].data)[i * r->t[slot].stride[0]]
                      : absent;
}

static bool
is_packed(const Ref *r)
{
  return spec_has_tensor(r->spec, ATTNC_CU_SEQLENS_K_NEW);
}

static New
new_of(const Ref *r, int64_t b)
{
  New x = {.b = b, .first = number(r, ATTNC_CU_SEQLENS_K_NEW, b, 0)};
  x.n = number(r, ATTNC_CU_SEQLENS_K_NEW, b + 1, r->n.s_new) - x.first;
  x.at = number(r, ATTNC_APPEND_AT, b, 0);
  x.kb = number(r, ATTNC_CACHE_BATCH_IDX, b, b);
  x.position = number(r, ATTNC_ROTARY_AT, b, r->n.sp + x.at);
  return x;
}

/* Rows of it that there is room for. */
static int64_t
kept(const Ref *r, const New *x)
{
  int64_t room = r->n.sk - x->at;
  return room < 0 ? 0 : x->n < room ? x->n : room;
}

/* ---- what the numbers must be ---- */

static attnc_status
out_of_range(int slot, int64_t i, int64_t n, int64_t most, attnc_error *e)
{
  return err_set(e, ATTNC_ERR_SHAPE, "reference: %s[%lld] is %lld, not from 0 to %lld",
                 tensor_info[slot].name, (long long)i, (long long)n, (long long)most);
}

static attnc_status
check_offsets(const Ref *r, int64_t b, attnc_error *e)
{
  int64_t from = number(r, ATTNC_CU_SEQLENS_K_NEW, b, 0);
  int64_t to = number(r, ATTNC_CU_SEQLENS_K_NEW, b + 1, 0);
  if (!is_packed(r))
    return ATTNC_OK;
  if (b == 0 && from)
    return err_set(e, ATTNC_ERR_SHAPE, "reference: cu_seqlens_k_new[0] is %lld, not 0",
                   (long long)from);
  if (to < from || to > r->n.total_new)
    return err_set(e, ATTNC_ERR_SHAPE,
                   "reference: cu_seqlens_k_new[%lld] is %lld, not from %lld to the %lld "
                   "rows there are",
                   (long long)b + 1, (long long)to, (long long)from,
                   (long long)r->n.total_new);
  return ATTNC_OK;
}

static attnc_status
check_place(const Ref *r, const New *x, attnc_error *e)
{
  int64_t most = r->n.rotary_len - 1;
  if (x->at < 0)
    return out_of_range(ATTNC_APPEND_AT, x->b, x->at, r->n.sk, e);
  if (has(r, ATTNC_CACHE_BATCH_IDX) && (x->kb < 0 || x->kb >= r->n.bc))
    return out_of_range(ATTNC_CACHE_BATCH_IDX, x->b, x->kb, r->n.bc - 1, e);
  int64_t last = x->position + kept(r, x) - 1;
  if (r->spec->rope.dim && last >= x->position && (x->position < 0 || last > most))
    return err_set(e, ATTNC_ERR_SHAPE,
                   "reference: rows of sequence %lld stand at %lld to %lld, and rotary_cos "
                   "has positions to %lld",
                   (long long)x->b, (long long)x->position, (long long)last,
                   (long long)most);
  return ATTNC_OK;
}

static attnc_status
check_pages(const Ref *r, const New *x, int slot, attnc_error *e)
{
  if (!r->spec->page_table)
    return ATTNC_OK;
  for (int64_t i = 0; i < kept(r, x); i++) {
    int64_t page = (x->at + i) / r->n.page_size, id = ref_page(r, slot, x->kb, page);
    if (id < 0 || id >= r->n.pages)
      return err_set(e, ATTNC_ERR_SHAPE,
                     "reference: the table of %s has at [%lld, %lld] %lld, not from 0 to "
                     "%lld",
                     tensor_info[slot].name, (long long)x->kb, (long long)page,
                     (long long)id, (long long)r->n.pages - 1);
  }
  return ATTNC_OK;
}

attnc_status
ref_take_append(Ref *r, attnc_error *e)
{
  if (spec_has_tensor(r->spec, ATTNC_CU_SEQLENS_K))
    return err_set(e, ATTNC_ERR_UNSUPPORTED,
                   "append: keys that cu_seqlens_k packs are no cache");
  for (int64_t b = 0; b < r->n.b; b++) {
    TRY(check_offsets(r, b, e));
    New x = new_of(r, b);
    TRY(check_place(r, &x, e));
    TRY(check_pages(r, &x, ATTNC_K, e));
    TRY(check_pages(r, &x, ATTNC_V, e));
  }
  return ATTNC_OK;
}

/* ---- elements ---- */

/* Where a row of the cache is: its batch, or page, and row there. */
typedef struct Spot {
  int64_t batch, row;
} Spot;

static Spot
spot_of(const Ref *r, const New *x, int slot, int64_t i)
{
  int64_t row = x->at + i, size = r->n.page_size;
  if (!r->spec->page_table)
    return (Spot){x->kb, row};
  return (Spot){ref_page(r, slot, x->kb, row / size), row % size};
}

static int64_t
place(const Ref *r, int slot, Spot at, int64_t h, int64_t d)
{
  const int64_t *st = r->t[slot].stride;
  return at.batch * st[0] + h * st[1] + at.row * st[2] + d * st[3];
}

static double
new_element(const Ref *r, int slot, const New *x, int64_t h, int64_t i, int64_t d)
{
  const attnc_tensor *t = &r->t[slot];
  const int64_t *st = t->stride + !is_packed(r);
  int64_t b = is_packed(r) ? 0 : x->b * t->stride[0];
  int64_t at = b + h * st[0] + (x->first + i) * st[1] + d * st[2];
  return (double)ref_element(t->data, at, r->ty[slot]);
}

static double
angle(const Ref *r, int slot, int64_t position, int64_t i)
{
  const attnc_tensor *t = &r->t[slot];
  return (double)ref_element(t->data, position * t->stride[0] + i, r->ty[slot]);
}

/* Element d of a new key or value, as the cache should have it; *size: what its terms come
 * to without their signs, 0 where it is what it was. */
static double
wanted(const Ref *r, int slot, const New *x, int64_t h, int64_t i, int64_t d, double *size)
{
  const SpecRope *rope = &r->spec->rope;
  int from = slot == ATTNC_K ? ATTNC_K_NEW : ATTNC_V_NEW, half = rope->dim / 2;
  double own = new_element(r, from, x, h, i, d);
  *size = 0;
  if (slot == ATTNC_V || d >= rope->dim)
    return own;
  bool low = rope->interleaved ? d % 2 == 0 : d < half;
  int64_t step = rope->interleaved ? 1 : half;
  int64_t pair = rope->interleaved ? d / 2 : low ? d : d - half;
  double other = new_element(r, from, x, h, i, low ? d + step : d - step);
  double cosine = angle(r, ATTNC_ROTARY_COS, x->position + i, pair);
  double sine = angle(r, ATTNC_ROTARY_SIN, x->position + i, pair);
  *size = fabs(own * cosine) + fabs(other * sine);
  return low ? own * cosine - other * sine : own * cosine + other * sine;
}

int64_t
ref_keys_before(const Ref *r, int64_t b)
{
  return new_of(r, b).at;
}

int64_t
ref_keys_with_new(const Ref *r, int64_t b)
{
  New x = new_of(r, b);
  return x.at + kept(r, &x);
}

float
ref_new_key(const Ref *r, int slot, int64_t b, int64_t hk, int64_t row, int64_t d)
{
  New x = new_of(r, b);
  double size;
  return ref_rounded((float)wanted(r, slot, &x, hk, row - x.at, d, &size), r->ty[slot]);
}

/* Where query q of the sequence in hand stands. */
static int64_t
query_position(const Ref *r, int64_t q)
{
  const Spec *s = r->spec;
  int64_t first = r->seq.sk - r->seq.sq + r->seq.k_pad;
  bool alike = !s->causal && s->window[0] < 0 && s->window[1] < 0;
  first = s->append ? r->n.sp + new_of(r, r->seq.b).at : first;
  return number(r, ATTNC_ROTARY_AT, r->seq.b, first) + (alike ? 0 : q);
}

/* As kernels take positions: the nearest that the tables have. */
static int64_t
nearest(const Ref *r, int64_t position)
{
  int64_t last = r->n.rotary_len - 1;
  position = position > last ? last : position;
  return position < 0 ? 0 : position;
}

float
ref_query(const Ref *r, int64_t h, int64_t q, int64_t d)
{
  const SpecRope *rope = &r->spec->rope;
  float own = ref_of_query(r, ATTNC_Q, h, q, d);
  int half = rope->dim / 2;
  if (d >= rope->dim || r->n.rotary_len < 1)
    return d >= rope->dim ? own : 0;
  bool low = rope->interleaved ? d % 2 == 0 : d < half;
  int64_t step = rope->interleaved ? 1 : half;
  int64_t pair = rope->interleaved ? d / 2 : low ? d : d - half;
  int64_t at = nearest(r, query_position(r, q));
  double other = (double)ref_of_query(r, ATTNC_Q, h, q, low ? d + step : d - step);
  double cosine = angle(r, ATTNC_ROTARY_COS, at, pair);
  double sine = angle(r, ATTNC_ROTARY_SIN, at, pair);
  double x = (double)own * cosine + (low ? -other : other) * sine;
  return ref_rounded((float)x, r->ty[ATTNC_Q]);
}

/* ---- the reference ---- */

/* Strides of the packed output: batches or pages, heads, rows, elements. */
static int64_t
index_of(const Ref *r, int slot, Spot at, int64_t h, int64_t d)
{
  int64_t rows = r->spec->page_table ? r->n.page_size : r->n.sk;
  int64_t cols = slot == ATTNC_K ? r->spec->head_dim : r->spec->head_dim_v;
  return ((at.batch * r->n.hk + h) * rows + at.row) * cols + d;
}

static int64_t
batches(const Ref *r)
{
  bool chosen = spec_has_tensor(r->spec, ATTNC_CACHE_BATCH_IDX);
  return r->spec->page_table ? r->n.pages : chosen ? r->n.bc : r->n.b;
}

typedef void Each(const Ref *, int slot, Spot, int64_t h, void *user);

/* Every row of the cache of every head. */
static void
each_row(const Ref *r, int slot, Each *what, void *user)
{
  int64_t rows = r->spec->page_table ? r->n.page_size : r->n.sk;
  for (int64_t b = 0; b < batches(r); b++)
    for (int64_t h = 0; h < r->n.hk; h++)
      for (int64_t i = 0; i < rows; i++)
        what(r, slot, (Spot){b, i}, h, user);
}

static int
columns(const Ref *r, int slot)
{
  return slot == ATTNC_K ? r->spec->head_dim : r->spec->head_dim_v;
}

static void
as_it_was(const Ref *r, int slot, Spot at, int64_t h, void *user)
{
  double *to = user;
  for (int d = 0; d < columns(r, slot); d++)
    to[index_of(r, slot, at, h, d)] =
        (double)ref_element(r->t[slot].data, place(r, slot, at, h, d), r->ty[slot]);
}

static void
write_new(const Ref *r, int slot, double *to)
{
  double size;
  for (int64_t b = 0; b < r->n.b; b++) {
    New x = new_of(r, b);
    for (int64_t h = 0; h < r->n.hk; h++)
      for (int64_t i = 0; i < kept(r, &x); i++)
        for (int d = 0; d < columns(r, slot); d++)
          to[index_of(r, slot, spot_of(r, &x, slot, i), h, d)] =
              wanted(r, slot, &x, h, i, d, &size);
  }
}

attnc_status
ref_append(Ref *r, double *const *outputs, uint32_t n, attnc_error *e)
{
  static const int slots[] = {ATTNC_K, ATTNC_V};
  (void)e;
  for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
    int slot = slots[i];
    if (!outputs || (uint32_t)slot >= n || !outputs[slot])
      continue;
    each_row(r, slot, as_it_was, outputs[slot]);
    write_new(r, slot, outputs[slot]);
  }
  return ATTNC_OK;
}

/* ---- the judge ---- */

typedef struct Check {
  Judge *all;
  const void *before; /* of the tensor */
  bool *written;      /* of each row of a batch or page */
} Check;

/* An output type that cannot hold the result holds infinity. */
static double
error_of(double got, double want, Dtype ty)
{
  bool beyond = isinf(got) && isfinite(want) && isinf(ref_rounded((float)want, ty));
  return beyond && (got > 0) == (want > 0) ? 0 : judge_distance(got, want);
}

static void
judge_new(const Ref *r, int slot, const New *x, int64_t h, int64_t i, Judge *row)
{
  Spot at = spot_of(r, x, slot, i);
  for (int d = 0; d < columns(r, slot); d++) {
    double size, want = wanted(r, slot, x, h, i, d, &size);
    double got =
        (double)ref_element(r->t[slot].data, place(r, slot, at, h, d), r->ty[slot]);
    double bound = size > 0 ? 0.5 * ref_ulp(want, r->ty[slot]) + TURNED * size : 0;
    if (size > 0 && r->ty[slot] == DT_F32)
      bound += ref_ulp(want, DT_F32);
    judge_output(row, slot, error_of(got, want, r->ty[slot]), bound);
  }
}

static void
judge_sequence(const Ref *r, const New *x, bool *const written[2], Judge *all)
{
  int64_t rows = r->spec->page_table ? r->n.page_size : r->n.sk;
  for (int64_t i = 0; i < kept(r, x); i++) {
    Spot k = spot_of(r, x, ATTNC_K, i), v = spot_of(r, x, ATTNC_V, i);
    written[0][k.batch * rows + k.row] = true;
    written[1][v.batch * rows + v.row] = true;
    for (int64_t h = 0; h < r->n.hk; h++) {
      Judge row = {.v = {.b = x->b, .h = h, .q = i}};
      judge_new(r, ATTNC_K, x, h, i, &row);
      judge_new(r, ATTNC_V, x, h, i, &row);
      judge_add(all, &row);
    }
  }
}

/* A row that no new key or value went to, by its bytes. */
static void
judge_old(const Ref *r, int slot, Spot at, int64_t h, void *user)
{
  const Check *c = user;
  int64_t rows = r->spec->page_table ? r->n.page_size : r->n.sk;
  int bytes = dtype_bytes(r->ty[slot]), changed = 0;
  if (c->written[at.batch * rows + at.row])
    return;
  for (int d = 0; d < columns(r, slot); d++) {
    int64_t i = place(r, slot, at, h, d) * bytes;
    changed |= memcmp((const char *)r->t[slot].data + i, (const char *)c->before + i,
                      (size_t)bytes) != 0;
  }
  if (!changed)
    return;
  Judge row = {.v = {.b = at.batch, .h = h, .q = at.row}};
  judge_output(&row, slot, INFINITY, 0);
  judge_add(c->all, &row);
}

/* Two sequences that write one row: which one wins nobody says. */
static attnc_status
check_once(const Ref *r, int slot, bool *seen, attnc_error *e)
{
  int64_t rows = r->spec->page_table ? r->n.page_size : r->n.sk;
  for (int64_t b = 0; b < r->n.b; b++) {
    New x = new_of(r, b);
    for (int64_t i = 0; i < kept(r, &x); i++) {
      Spot at = spot_of(r, &x, slot, i);
      if (seen[at.batch * rows + at.row])
        return err_set(e, ATTNC_ERR_SHAPE,
                       "reference: new row %lld of sequence %lld goes where another goes, "
                       "to row %lld of %lld of %s",
                       (long long)i, (long long)b, (long long)at.row, (long long)at.batch,
                       tensor_info[slot].name);
      seen[at.batch * rows + at.row] = true;
    }
  }
  return ATTNC_OK;
}

attnc_status
ref_append_judge(Ref *r, const void *const *before, size_t n, Judge *all, attnc_error *e)
{
  static const int slots[] = {ATTNC_K, ATTNC_V};
  int64_t rows = r->spec->page_table ? r->n.page_size : r->n.sk;
  Arena *arena = arena_new(0);
  bool *written[2] = {NULL, NULL};
  for (int i = 0; arena && i < 2; i++)
    written[i] = ref_room(arena, batches(r) * rows + 1, 1, sizeof(bool));
  attnc_status st = written[0] && written[1]
                        ? ATTNC_OK
                        : err_set(e, ATTNC_ERR_NOMEM, "verify: out of memory");
  for (int i = 0; i < 2 && st == ATTNC_OK; i++)
    st = check_once(r, slots[i], written[i], e);
  for (int64_t b = 0; b < r->n.b && st == ATTNC_OK; b++) {
    New x = new_of(r, b);
    judge_sequence(r, &x, written, all);
  }
  for (int i = 0; i < 2 && st == ATTNC_OK; i++) {
    size_t slot = (size_t)slots[i];
    Check c = {.all = all, .before = slot < n ? before[slot] : NULL, .written = written[i]};
    if (c.before)
      each_row(r, slots[i], judge_old, &c);
  }
  arena_free(arena);
  return st;
}
