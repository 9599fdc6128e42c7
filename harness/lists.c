#include "harness/lists.h"

#include "harness/random.h"

#include <stdlib.h>
#include <string.h>

bool
lists_are_in(const CallInfo *call)
{
  return call->at[ATTNC_KV_NUM_BLOCKS].t.name != NULL;
}

/* ---- a row of blocks ---- */

typedef enum Kind { FULL, PARTIAL, KINDS, UNSEEN = KINDS } Kind;
static const int lengths[KINDS] = {ATTNC_FULL_KV_NUM_BLOCKS, ATTNC_KV_NUM_BLOCKS};
static const int entries[KINDS] = {ATTNC_FULL_KV_INDICES, ATTNC_KV_INDICES};

/* Axes of the entries: batches, heads, rows of blocks, blocks of keys. */
typedef struct Axes {
  int64_t n[4];
} Axes;

static Axes
axes_of(const Tensors *t)
{
  Axes a;
  for (int i = 0; i < 4; i++)
    a.n[i] = axis_length(&t->call.at[ATTNC_KV_INDICES].t.axes[i], &t->sizes);
  return a;
}

static int32_t *
element(const Tensors *t, int slot, const int64_t row[3], int64_t i)
{
  const int64_t *stride = t->view[slot].stride;
  int64_t at = row[0] * stride[0] + row[1] * stride[1] + row[2] * stride[2];
  return (int32_t *)t->host[slot].data + at + (i ? i * stride[3] : 0);
}

/* What no block is called. */
static int32_t
nothing(Random *r, int64_t blocks)
{
  const int32_t some[] = {-1, INT32_MAX, INT32_MIN, (int32_t)blocks};
  return some[random_bits(r) % 4];
}

/* Of a row: what its blocks may be. */
static Kind
drawn(Random *r, uint64_t row)
{
  uint64_t x = random_bits(r) % 8;
  switch (row % 8) {
  case 0:
    return UNSEEN;
  case 1:
    return FULL;
  case 2:
    return PARTIAL;
  default:
    return x < 3 ? UNSEEN : x < 6 ? PARTIAL : FULL;
  }
}

static void
shuffle(int32_t *at, int64_t n, Random *r)
{
  for (int64_t i = n - 1; i > 0; i--) {
    int64_t j = (int64_t)(random_bits(r) % (uint64_t)(i + 1));
    int32_t x = at[i];
    at[i] = at[j];
    at[j] = x;
  }
}

static void
fill_row(const Tensors *t, const int64_t row[3], int64_t blocks, Random *r)
{
  uint64_t how = random_bits(r) >> 8, order = random_bits(r) % 2,
           wrong = random_bits(r) % 8;
  int64_t n[KINDS] = {0, 0};
  for (int64_t i = 0; i < blocks; i++) {
    Kind kind = drawn(r, how);
    if (kind != UNSEEN)
      *element(t, entries[kind], row, n[kind]++) = (int32_t)i;
  }
  for (int kind = 0; kind < KINDS; kind++) {
    for (int64_t i = n[kind]; i < blocks; i++)
      *element(t, entries[kind], row, i) = nothing(r, blocks);
    if (order && blocks)
      shuffle(element(t, entries[kind], row, 0), n[kind], r);
    if (!wrong && n[kind])
      *element(t, entries[kind], row, n[kind] / 2) = nothing(r, blocks);
    *element(t, lengths[kind], row, 0) = (int32_t)n[kind];
  }
}

void
lists_fill(Tensors *t, uint64_t seed)
{
  Random r;
  Axes a = axes_of(t);
  random_seed(&r, seed ^ 0x626c6f636b73u);
  for (int64_t b = 0; b < a.n[0]; b++)
    for (int64_t h = 0; h < a.n[1]; h++)
      for (int64_t i = 0; i < a.n[2]; i++)
        fill_row(t, (int64_t[3]){b, h, i}, a.n[3], &r);
}

/* ---- keys of no block ---- */

static bool
names(const Tensors *t, const int64_t row[3], int64_t block)
{
  for (int kind = 0; kind < KINDS; kind++)
    for (int64_t i = 0; i < *element(t, lengths[kind], row, 0); i++)
      if (*element(t, entries[kind], row, i) == block)
        return true;
  return false;
}

/* By any head of the group, in any row. */
static bool
is_seen(const Tensors *t, const Axes *a, int64_t b, int64_t hk, int64_t block)
{
  int64_t group = t->sizes.h / t->sizes.hk;
  for (int64_t h = hk * group; h < (hk + 1) * group; h++)
    for (int64_t i = 0; i < a->n[2]; i++)
      if (names(t, (int64_t[3]){b, h, i}, block))
        return true;
  return false;
}

static void
kill_rows(const Tensors *t, int slot, int64_t b, int64_t hk, int64_t from, int64_t to)
{
  const CallTensor *x = &t->call.at[slot].t;
  const int64_t *stride = t->view[slot].stride;
  size_t bytes = (size_t)dtype_bytes(x->dtype);
  size_t row = (size_t)axis_length(&x->axes[3], &t->sizes) * bytes;
  for (int64_t i = from; i < to; i++) {
    int64_t at = b * stride[0] + hk * stride[1] + i * stride[2];
    memset((char *)t->host[slot].data + at * (int64_t)bytes, 0xff, row);
  }
}

void
lists_kill(Tensors *t)
{
  Axes a = axes_of(t);
  int64_t each = t->call.at[ATTNC_KV_INDICES].t.axes[3].by, sk = t->sizes.sk;
  for (int64_t b = 0; b < t->sizes.b; b++)
    for (int64_t hk = 0; hk < t->sizes.hk; hk++)
      for (int64_t i = 0; i < a.n[3]; i++) {
        int64_t to = (i + 1) * each < sk ? (i + 1) * each : sk;
        if (is_seen(t, &a, b, hk, i))
          continue;
        kill_rows(t, ATTNC_K, b, hk, i * each, to);
        kill_rows(t, ATTNC_V, b, hk, i * each, to);
      }
}
