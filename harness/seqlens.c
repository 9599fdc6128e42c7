#include "harness/seqlens.h"

#include "harness/append.h"
#include "harness/pages.h"
#include "harness/random.h"
#include "harness/tensors.h"

#include "base/err.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

static bool
has(const CallInfo *call, int slot)
{
  return call->at[slot].t.name != NULL;
}

bool
seqlens_have(int slot)
{
  return slot < ATTNC_SLOT_COUNT && !strcmp(tensor_info[slot].field, "seqlens");
}

bool
seqlens_are_in(const CallInfo *call)
{
  for (int slot = 0; slot < ATTNC_SLOT_COUNT; slot++)
    if (seqlens_have(slot) && has(call, slot))
      return true;
  return false;
}

bool
seqlens_leave_open(const CallInfo *call)
{
  return seqlens_are_in(call) || pages_are_in(call);
}

/* ---- lengths as text ---- */

/* "3/20" or "3"; *p is behind it. */
static bool
take_pair(const char **p, int64_t *q, int64_t *k)
{
  if (!str_whole(p, q) || *q < 0 || *q > CALL_MAX_SIZE)
    return false;
  *k = *q;
  if (**p != '/')
    return true;
  ++*p;
  return str_whole(p, k) && *k >= 0 && *k <= CALL_MAX_SIZE;
}

attnc_status
seqlens_check(const CallInfo *call, const char *text, attnc_error *e)
{
  int64_t q, k;
  if (!seqlens_are_in(call))
    return err_set(e, ATTNC_ERR_USAGE, "seqlens: the spec has no `seqlens`");
  for (const char *p = text;; p++) {
    if (!take_pair(&p, &q, &k) || (*p && *p != ','))
      return err_set(e, ATTNC_ERR_USAGE,
                     "seqlens: %.60s: lengths are 3,0,17, or with keys 3/20,0/5", text);
    if (!*p)
      return ATTNC_OK;
  }
}

/* The i-th pair; false: there are not so many. */
static bool
pair_of(const char *text, int64_t i, int64_t *q, int64_t *k)
{
  for (const char *p = text;; p++) {
    take_pair(&p, q, k);
    if (i-- == 0)
      return true;
    if (!*p)
      return false;
  }
}

void
seqlens_shape(const char *text, attnc_sizes *z)
{
  int64_t q, k;
  z->b = z->sq = z->sk = 0;
  for (; pair_of(text, z->b, &q, &k); z->b++) {
    z->sq = q > z->sq ? q : z->sq;
    z->sk = k > z->sk ? k : z->sk;
  }
}

void
seqlens_means(const char *text, int64_t *q, int64_t *k)
{
  int64_t n = 0, at[2], sum[2] = {0, 0};
  for (; pair_of(text, n, &at[0], &at[1]); n++)
    for (int i = 0; i < 2; i++)
      sum[i] += at[i];
  *q = sum[0] > n ? (sum[0] + n - 1) / n : 1;
  *k = sum[1] > n ? (sum[1] + n - 1) / n : 1;
}

/* ---- one sequence ---- */

typedef struct Lengths {
  int64_t sq, sk, pad;    /* that count; rows before the first key */
  int64_t q_room, k_room; /* rows of its own */
} Lengths;

static int64_t
drawn(Random *r, int64_t most)
{
  return (int64_t)(random_bits(r) % (uint64_t)(most + 1));
}

static int64_t
least(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

/* How many rows before the first key: packed ones have a few; where keys end with the
 * tensor, all others. */
static int64_t
pad_of(const CallInfo *call, Random *r, int64_t rest)
{
  if (!has(call, ATTNC_LEFTPAD_K))
    return 0;
  if (has(call, ATTNC_CU_SEQLENS_K))
    return drawn(r, least(rest, 5));
  return has(call, ATTNC_SEQUSED_K) ? drawn(r, rest) : rest;
}

/* The longest first, then any; queries and keys alike where they may be. */
static Lengths
draw(const CallInfo *call, const attnc_sizes *z, int64_t i, Random *r)
{
  Lengths n = {.sq = z->sq, .sk = z->sk};
  bool queries = has(call, ATTNC_CU_SEQLENS_Q) || has(call, ATTNC_SEQUSED_Q);
  bool keys = has(call, ATTNC_CU_SEQLENS_K) || has(call, ATTNC_SEQUSED_K) ||
              has(call, ATTNC_LEFTPAD_K);
  if (i && queries)
    n.sq = drawn(r, z->sq);
  if (i && keys)
    n.sk = queries && z->sq == z->sk ? n.sq : drawn(r, z->sk);
  return n;
}

static Lengths
lengths_of(const CallInfo *call, const char *text, const attnc_sizes *z, int64_t i)
{
  Random r;
  random_seed(&r, (uint64_t)i * 0x9e3779b97f4a7c15u + (uint64_t)(z->sq * 65537 + z->sk));
  Lengths n = draw(call, z, i, &r);
  if (text)
    pair_of(text, i, &n.sq, &n.sk);
  n.pad = pad_of(call, &r, z->sk - n.sk);
  int64_t used = n.pad + n.sk;
  bool more_q = has(call, ATTNC_SEQUSED_Q), more_k = has(call, ATTNC_SEQUSED_K);
  n.q_room = more_q ? least(z->sq, n.sq + drawn(&r, 3)) : n.sq;
  n.k_room = more_k ? least(z->sk, used + drawn(&r, 3)) : used;
  return n;
}

void
seqlens_sizes(const CallInfo *call, const char *text, attnc_sizes *z)
{
  z->bc = has(call, ATTNC_CACHE_BATCH_IDX) ? z->b + 1 : 0;
  z->total_q = z->total_k = 0;
  for (int64_t i = 0; i < z->b; i++) {
    Lengths n = lengths_of(call, text, z, i);
    z->total_q += has(call, ATTNC_CU_SEQLENS_Q) ? n.q_room : 0;
    z->total_k += has(call, ATTNC_CU_SEQLENS_K) ? n.k_room : 0;
  }
  append_sizes(call, z);
  pages_sizes(call, z);
}

attnc_status
seqlens_fit(const CallInfo *call, const char *text, attnc_sizes *z, attnc_error *e)
{
  attnc_sizes own = *z;
  TRY(seqlens_check(call, text, e));
  seqlens_shape(text, &own);
  if (own.b != z->b || own.sq > z->sq || own.sk > z->sk)
    return err_set(e, ATTNC_ERR_SHAPE,
                   "seqlens: %lld sequences of up to %lld queries and %lld keys do not "
                   "fit the sizes",
                   (long long)own.b, (long long)own.sq, (long long)own.sk);
  own = *z;
  seqlens_sizes(call, text, &own);
  for (int i = SIZE_SK + 1; i < SIZE_COUNT; i++)
    if (size_get(z, (SizeId)i) && size_get(z, (SizeId)i) != size_get(&own, (SizeId)i))
      return err_set(e, ATTNC_ERR_SHAPE, "seqlens: %s is %lld, with these lengths %lld",
                     size_names[i], (long long)size_get(z, (SizeId)i),
                     (long long)size_get(&own, (SizeId)i));
  *z = own;
  return ATTNC_OK;
}

static void
put(Tensors *t, int slot, int64_t i, int64_t value)
{
  if (has(&t->call, slot))
    ((int32_t *)t->host[slot].data)[i] = (int32_t)value;
}

void
seqlens_fill(Tensors *t)
{
  int64_t q = 0, k = 0;
  put(t, ATTNC_CU_SEQLENS_Q, 0, 0);
  put(t, ATTNC_CU_SEQLENS_K, 0, 0);
  for (int64_t i = 0; i < t->sizes.b; i++) {
    Lengths n = lengths_of(&t->call, t->seqlens, &t->sizes, i);
    put(t, ATTNC_CU_SEQLENS_Q, i + 1, q += n.q_room);
    put(t, ATTNC_CU_SEQLENS_K, i + 1, k += n.k_room);
    put(t, ATTNC_SEQUSED_Q, i, n.sq);
    put(t, ATTNC_SEQUSED_K, i, n.pad + n.sk);
    put(t, ATTNC_LEFTPAD_K, i, n.pad);
    put(t, ATTNC_CACHE_BATCH_IDX, i, t->sizes.bc - 1 - i);
  }
}

/* ---- rows of no sequence ---- */

static int64_t
number(const Tensors *t, int slot, int64_t i, int64_t absent)
{
  return has(&t->call, slot) ? ((const int32_t *)t->host[slot].data)[i] : absent;
}

/* The rows of a tensor that are sequence i's. */
static SequenceRows
rows_of(const Tensors *t, bool keys, int64_t i)
{
  int offsets = keys ? ATTNC_CU_SEQLENS_K : ATTNC_CU_SEQLENS_Q;
  int64_t most = keys ? t->sizes.sk : t->sizes.sq, first = number(t, offsets, i, 0);
  int64_t room = number(t, offsets, i + 1, most) - first;
  int64_t used = number(t, keys ? ATTNC_SEQUSED_K : ATTNC_SEQUSED_Q, i, room);
  bool packed = has(&t->call, offsets);
  int64_t batch = packed ? 0 : keys ? number(t, ATTNC_CACHE_BATCH_IDX, i, i) : i;
  int64_t pad = keys ? number(t, ATTNC_LEFTPAD_K, i, 0) : 0;
  if (keys && append_is_in(&t->call))
    return (SequenceRows){batch, pad, append_place(t, i).to};
  return (SequenceRows){batch, first + pad, first + used};
}

SequenceRows
seqlens_rows(const Tensors *t, int64_t i)
{
  if (t->call.op == ATTNC_OP_APPEND)
    return append_place(t, i);
  return rows_of(t, true, i);
}

int64_t
seqlens_queries(const Tensors *t)
{
  int64_t n = 0;
  for (int64_t i = 0; i < t->sizes.b; i++) {
    SequenceRows r = rows_of(t, false, i);
    n += r.to - r.from;
  }
  return n;
}

int64_t
seqlens_keys(const Tensors *t)
{
  int64_t n = 0;
  for (int64_t i = 0; i < t->sizes.b; i++) {
    SequenceRows r = rows_of(t, true, i);
    n += r.to - r.from;
  }
  return n;
}

static bool
is_of_keys(int slot)
{
  return slot == ATTNC_K || slot == ATTNC_V || slot == ATTNC_DK || slot == ATTNC_DV;
}

/* Is a row, of so many in a batch or page, some sequence's? */
static void
mark_live(const Tensors *t, int slot, int64_t rows, bool *live)
{
  bool paged = is_of_keys(slot) && pages_are_in(&t->call);
  for (int64_t i = 0; i < t->sizes.b; i++) {
    SequenceRows r = rows_of(t, is_of_keys(slot), i);
    if (is_of_keys(slot) && append_is_in(&t->call)) /* before the launch */
      r.to = append_place(t, i).from;
    for (int64_t row = r.from; row < r.to; row++) {
      int64_t batch = paged ? pages_id(t, slot, r.batch, row) : r.batch;
      live[batch * rows + (paged ? row % rows : row)] = true;
    }
  }
  bool shares = is_of_keys(slot) && has(&t->call, ATTNC_PREFIX_PAGES);
  for (int64_t row = 0; shares && row < t->sizes.sp; row++)
    live[pages_prefix_id(t, row) * rows + row % rows] = true;
}

/* Axes of a tensor of rows: batches (1 where they are packed), heads, rows, and the
 * elements of a row. */
typedef struct Box {
  int64_t n[4], stride[4];
} Box;

static Box
box_of(const Tensors *t, int slot)
{
  const CallTensor *x = &t->call.at[slot].t;
  Box b = {.n = {1, 1, 1, 1}};
  int skip = has(&t->call, is_of_keys(slot) ? ATTNC_CU_SEQLENS_K : ATTNC_CU_SEQLENS_Q);
  for (int i = 0; i < x->n_axes; i++) {
    b.n[i + skip] = axis_length(&x->axes[i], &t->sizes);
    b.stride[i + skip] = t->view[slot].stride[i];
  }
  return b;
}

typedef attnc_status Dead(const Tensors *, int slot, const Box *, int64_t batch,
                          int64_t row, attnc_error *);

static attnc_status
each_dead(const Tensors *t, int slot, Dead *what, attnc_error *e)
{
  Box b = box_of(t, slot);
  attnc_status st = ATTNC_OK;
  bool *live = calloc((size_t)(b.n[0] * b.n[2]) + 1, sizeof *live);
  if (!live)
    return err_set(e, ATTNC_ERR_NOMEM, "out of memory");
  mark_live(t, slot, b.n[2], live);
  for (int64_t i = 0; i < b.n[0] * b.n[2] && st == ATTNC_OK; i++)
    if (!live[i])
      st = what(t, slot, &b, i / b.n[2], i % b.n[2], e);
  free(live);
  return st;
}

static unsigned char *
row_at(const Tensors *t, int slot, const Box *b, int64_t batch, int64_t h, int64_t row)
{
  int64_t at = batch * b->stride[0] + h * b->stride[1] + row * b->stride[2];
  return (unsigned char *)t->host[slot].data + at * dtype_bytes(t->host[slot].dtype);
}

static attnc_status
kill(const Tensors *t, int slot, const Box *b, int64_t batch, int64_t row, attnc_error *e)
{
  (void)e;
  for (int64_t h = 0; h < b->n[1]; h++)
    memset(row_at(t, slot, b, batch, h, row), 0xff,
           (size_t)(b->n[3] * dtype_bytes(t->host[slot].dtype)));
  return ATTNC_OK;
}

static attnc_status
is_poisoned(const Tensors *t, int slot, const Box *b, int64_t batch, int64_t row,
            attnc_error *e)
{
  size_t n = (size_t)(b->n[3] * dtype_bytes(t->host[slot].dtype));
  for (int64_t h = 0; h < b->n[1]; h++) {
    const unsigned char *p = row_at(t, slot, b, batch, h, row);
    for (size_t i = 0; i < n; i++)
      if (p[i] != 0xff)
        return err_set(e, ATTNC_ERR_CHECK,
                       "%s: row %lld of batch %lld, head %lld, is of no sequence and was "
                       "written",
                       t->host[slot].name, (long long)row, (long long)batch, (long long)h);
  }
  return ATTNC_OK;
}

void
seqlens_kill(Tensors *t)
{
  static const int slots[] = {ATTNC_Q, ATTNC_K, ATTNC_V, ATTNC_DO, ATTNC_DLSE};
  for (size_t i = 0; i < sizeof slots / sizeof *slots; i++)
    if (has(&t->call, slots[i]))
      each_dead(t, slots[i], kill, NULL);
}

/* Gradients of tables have none of a sequence. */
static bool
has_rows(int slot)
{
  return strcmp(tensor_info[slot].field, "grad") != 0;
}

attnc_status
seqlens_unwritten(const Tensors *t, attnc_error *e)
{
  for (int slot = 0; slot < ATTNC_SLOT_COUNT; slot++)
    if (has(&t->call, slot) && t->call.at[slot].t.access == ACCESS_OUT && has_rows(slot))
      TRY(each_dead(t, slot, is_poisoned, e));
  return ATTNC_OK;
}
