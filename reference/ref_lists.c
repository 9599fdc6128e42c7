/* The blocks that a call lists (`block_list`), as its own words say: a query sees the keys
 * of blocks that the lists of its row of blocks name. */
#include "reference/ref.h"

/* One row of blocks of a batch and head, with what its lists make of each block of keys. */
typedef struct RefLists {
  int64_t b, h, row; /* row −1: none yet */
  RefBlock *of;
} RefLists;

static int64_t
blocks(int64_t rows, int each)
{
  return (rows + each - 1) / each;
}

bool
ref_lists_open(Ref *r)
{
  const Spec *s = r->spec;
  if (!spec_has_lists(s))
    return true;
  int64_t n = blocks(r->n.sk, s->block_list.rows[1]);
  RefLists *x = r->lists = NEW(r->arena, RefLists);
  if (!x || !(x->of = ref_room(r->arena, n, 1, sizeof *x->of)))
    return false;
  x->row = -1;
  return true;
}

static int32_t
element(const Ref *r, int slot, int64_t b, int64_t h, int64_t row, int64_t i)
{
  const attnc_tensor *t = &r->t[slot];
  int64_t at = b * t->stride[0] + h * t->stride[1] + row * t->stride[2];
  return ((const int32_t *)t->data)[at + (i ? i * t->stride[3] : 0)];
}

/* Blocks of a list, `room` at most, become such; how many entries were looked at. */
static int64_t
take(const Ref *r, const int slots[2], RefBlock how, int64_t room)
{
  const RefLists *x = r->lists;
  int64_t n = room ? element(r, slots[0], x->b, x->h, x->row, 0) : 0;
  n = n < 0 ? 0 : n > room ? room : n;
  int64_t most = blocks(r->n.sk, r->spec->block_list.rows[1]);
  for (int64_t i = 0; i < n; i++) {
    int32_t block = element(r, slots[1], x->b, x->h, x->row, i);
    if (block >= 0 && block < most)
      x->of[block] = how;
  }
  return n;
}

void
ref_lists_enter(Ref *r, int64_t b, int64_t h, int64_t q)
{
  static const int full[] = {ATTNC_FULL_KV_NUM_BLOCKS, ATTNC_FULL_KV_INDICES},
                   partial[] = {ATTNC_KV_NUM_BLOCKS, ATTNC_KV_INDICES};
  RefLists *x = r->lists;
  if (!x)
    return;
  int64_t row = q / r->spec->block_list.rows[0];
  if (x->row == row && x->b == b && x->h == h)
    return;
  *x = (RefLists){.b = b, .h = h, .row = row, .of = x->of};
  int64_t n = blocks(r->n.sk, r->spec->block_list.rows[1]);
  for (int64_t i = 0; i < n; i++)
    x->of[i] = REF_BLOCK_UNSEEN;
  int64_t used = take(r, full, REF_BLOCK_FULL, n);
  take(r, partial, REF_BLOCK_PARTIAL, n - used);
}

RefBlock
ref_block(const Ref *r, int64_t key)
{
  return r->lists ? r->lists->of[key / r->spec->block_list.rows[1]] : REF_BLOCK_PARTIAL;
}
