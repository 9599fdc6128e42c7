#include "harness/pages.h"

#include "harness/append.h"
#include "harness/random.h"
#include "harness/seqlens.h"

static bool
has(const CallInfo *call, int slot)
{
  return call->at[slot].t.name != NULL;
}

bool
pages_are_in(const CallInfo *call)
{
  return has(call, ATTNC_PAGE_TABLE);
}

enum { PAGE_SIZE = 16 }; /* where nobody says another */

void
pages_sizes(const CallInfo *call, attnc_sizes *z)
{
  if (!pages_are_in(call)) {
    z->pages = z->page_size = z->max_pages = z->max_prefix_pages = 0;
    return;
  }
  z->page_size = z->page_size ? z->page_size : PAGE_SIZE;
  int64_t most = (z->sk + z->page_size - 1) / z->page_size;
  z->max_pages = most + 1;
  bool shares = has(call, ATTNC_PREFIX_PAGES);
  z->max_prefix_pages = shares ? (z->sp + z->page_size - 1) / z->page_size + 1 : 0;
  z->pages = z->b * most + z->max_prefix_pages + 2;
}

static int64_t
table_slot(const CallInfo *call, int slot)
{
  return slot == ATTNC_V && has(call, ATTNC_PAGE_TABLE_V) ? ATTNC_PAGE_TABLE_V
                                                          : ATTNC_PAGE_TABLE;
}

static int32_t *
entries(const Tensors *t, int table, int64_t row)
{
  return (int32_t *)t->host[table].data + row * t->host[table].row;
}

int64_t
pages_id(const Tensors *t, int slot, int64_t table_row, int64_t row)
{
  int table = (int)table_slot(&t->call, slot);
  return entries(t, table, table_row)[row / t->sizes.page_size];
}

int64_t
pages_prefix_id(const Tensors *t, int64_t row)
{
  return entries(t, ATTNC_PREFIX_PAGES, 0)[row / t->sizes.page_size];
}

/* What is no page, entry after entry another. */
static void
fill_rubbish(Tensors *t, int table)
{
  const int32_t none[] = {-1, INT32_MAX, (int32_t)t->sizes.pages, INT32_MIN, 0x5a5a5a5a};
  int64_t rows = t->host[table].rank > 1 ? t->host[table].shape[0] : 1;
  int64_t n = rows * t->host[table].row;
  for (int64_t i = 0; i < n; i++)
    entries(t, table, 0)[i] = none[i % 5];
}

/* The i-th of all pages in an order of its own: a step that has no factor of n. */
static int64_t
divisor(int64_t a, int64_t b)
{
  return b ? divisor(b, a % b) : a;
}

static void
fill_table(Tensors *t, int table, uint64_t seed)
{
  Random r;
  random_seed(&r, seed + (uint64_t)table);
  int64_t n = t->sizes.pages, used = 0;
  int64_t from = (int64_t)(random_bits(&r) % (uint64_t)n);
  int64_t step = 1 + (int64_t)(random_bits(&r) % (uint64_t)n);
  while (divisor(step, n) != 1)
    step++;
  SequenceRows first = seqlens_rows(t, 0);
  fill_rubbish(t, table);
  for (int64_t b = 0; b < t->sizes.b; b++) {
    SequenceRows s = seqlens_rows(t, b);
    int32_t *to = entries(t, table, s.batch);
    int64_t size = t->sizes.page_size, at = s.from / size;
    bool shares = b % 2 && s.from < s.to && first.from < first.to &&
                  at == first.from / size && !append_is_in(&t->call);
    for (int64_t i = at; i * size < s.to && s.from < s.to; i++)
      to[i] = (int32_t)((from + step * used++) % n);
    if (shares)
      to[at] = entries(t, table, first.batch)[at];
  }
  if (!has(&t->call, ATTNC_PREFIX_PAGES))
    return;
  fill_rubbish(t, ATTNC_PREFIX_PAGES);
  for (int64_t i = 0; i * t->sizes.page_size < t->sizes.sp; i++)
    entries(t, ATTNC_PREFIX_PAGES, 0)[i] = (int32_t)((from + step * used++) % n);
}

void
pages_fill(Tensors *t, uint64_t seed)
{
  static const int tables[] = {ATTNC_PAGE_TABLE, ATTNC_PAGE_TABLE_V};
  for (int i = 0; i < 2; i++)
    if (has(&t->call, tables[i]))
      fill_table(t, tables[i], seed);
}
