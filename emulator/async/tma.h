/* tma.h: the bytes that one tensor copy moves, row by row.
 *
 * A box is walked in rows along the innermost dimension, in the order in which they lie in
 * shared memory (PTX ISA, "Tensors": dimension 0 fastest, no gaps).  Each row says which
 * part of it lies inside the tensor and where in global memory; the rest is filled on a
 * load and left out on a store.  Shared memory is swizzled by its own addresses: 16-byte
 * chunks trade places within a span by bits 7 and up of the address, so that where a tile
 * begins decides the pattern.  Pure: no shadow, no bounds; the caller has checked both
 * memories. */
#ifndef ATTNC_EMULATOR_TMA_H
#define ATTNC_EMULATOR_TMA_H

#include "emulator/async/tensormap.h"

enum { TMA_ROW = 256 * 8 }; /* bytes, at most */

typedef struct TmaRow {
  uint32_t at;            /* in the box, without the swizzle */
  uint32_t before, bytes; /* outside the tensor, then inside; the rest is outside again */
  uint64_t global;        /* address of the first byte inside; bytes 0: none */
} TmaRow;

typedef struct TmaWalk {
  const TmaMap *map;
  int32_t coord[TMA_RANK];
  uint32_t i[TMA_RANK]; /* element of the box that is next, [0] unused */
  uint32_t at;
  bool done;
} TmaWalk;

/* coord: of the map's rank; of gathered rows the column, then each row's. */
TmaWalk tma_walk(const TmaMap *, const int32_t *coord);
bool tma_next(TmaWalk *, TmaRow *);

static inline uint32_t
tma_row_bytes(const TmaMap *m)
{
  return m->count[0] * m->elem;
}

/* Where the byte of that shared address is after the swizzle; an involution. */
static inline uint32_t
tma_swizzle(int swizzle, uint32_t address)
{
  uint32_t chunks = (1u << swizzle) - 1; /* of the span, less 1 */
  return address ^ ((address >> 7 & chunks) << 4);
}

/* shared: host memory of a CTA, which begins at a shared address that is a multiple of
 * 1024; base: offset of the box in it; source: what row->global points to. */
void tma_load_row(const TmaMap *, const TmaRow *, uint8_t *shared, uint32_t base,
                  const uint8_t *source);
/* The bytes of the row that lie inside the tensor, gathered into out. */
void tma_gather_row(const TmaMap *, const TmaRow *, const uint8_t *shared, uint32_t base,
                    uint8_t *out);

#endif
