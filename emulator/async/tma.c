#include "emulator/async/tma.h"

#include <string.h>

enum { CHUNK = 16 };

TmaWalk
tma_walk(const TmaMap *m, const int32_t *coord)
{
  TmaWalk w = {.map = m};
  for (int i = 0; i < (m->gather ? TMA_RANK : m->rank); i++)
    w.coord[i] = coord[i];
  return w;
}

/* To the next row: the odometer of the outer dimensions. */
static void
advance(TmaWalk *w)
{
  w->at += tma_row_bytes(w->map);
  for (int k = 1; k < w->map->rank; k++) {
    if (++w->i[k] < w->map->count[k])
      return;
    w->i[k] = 0;
  }
  w->done = true;
}

/* The part of the row that lies inside along dimension 0, in elements. */
static void
clip(const TmaMap *m, int64_t first, TmaRow *r)
{
  int64_t count = m->count[0], dim = (int64_t)m->dim[0];
  int64_t from = first < 0 ? -first : 0, to = dim - first < count ? dim - first : count;
  from = from < count ? from : count;
  r->before = (uint32_t)from * m->elem;
  r->bytes = to > from ? (uint32_t)(to - from) * m->elem : 0;
}

bool
tma_next(TmaWalk *w, TmaRow *r)
{
  const TmaMap *m = w->map;
  if (w->done)
    return false;
  bool inside = true;
  uint64_t global = m->address;
  for (int k = 1; k < m->rank; k++) {
    int64_t at = m->gather ? w->coord[k + (int)w->i[k]]
                           : (int64_t)w->coord[k] + (int64_t)w->i[k] * m->step[k];
    inside &= at >= 0 && at < (int64_t)m->dim[k];
    global += (uint64_t)at * m->stride[k];
  }
  *r = (TmaRow){.at = w->at};
  if (inside)
    clip(m, w->coord[0], r);
  else
    r->before = tma_row_bytes(m);
  if (r->bytes)
    r->global = global + (uint64_t)((int64_t)w->coord[0] * m->elem + r->before);
  advance(w);
  return true;
}

/* The OOB NaN: the ISA names no bits; all but the sign are set here, as in a NaN result of
 * arithmetic. */
static void
fill(const TmaMap *m, uint8_t *row, uint32_t n)
{
  memset(row, m->nan_fill ? 0xff : 0, n);
  for (uint32_t i = m->elem; m->nan_fill && i <= n; i += m->elem)
    row[i - 1] = 0x7f;
}

void
tma_load_row(const TmaMap *m, const TmaRow *r, uint8_t *shared, uint32_t base,
             const uint8_t *source)
{
  uint8_t row[TMA_ROW];
  uint32_t n = tma_row_bytes(m);
  if (r->bytes < n)
    fill(m, row, n);
  if (r->bytes)
    memcpy(row + r->before, source, r->bytes);
  for (uint32_t i = 0; i < n; i += CHUNK)
    memcpy(shared + tma_swizzle(m->swizzle, base + r->at + i), row + i, CHUNK);
}

void
tma_gather_row(const TmaMap *m, const TmaRow *r, const uint8_t *shared, uint32_t base,
               uint8_t *out)
{
  uint8_t row[TMA_ROW];
  uint32_t n = tma_row_bytes(m);
  for (uint32_t i = 0; i < n; i += CHUNK)
    memcpy(row + i, shared + tma_swizzle(m->swizzle, base + r->at + i), CHUNK);
  memcpy(out, row + r->before, r->bytes);
}
