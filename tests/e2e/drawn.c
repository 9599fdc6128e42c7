#include "tests/e2e/drawn.h"

#include "harness/lists.h"
#include "harness/seqlens.h"

#include <stdlib.h>
#include <string.h>

struct Drawn {
  Arena *arena;
  Tensors t; /* inputs as `attnc run` draws them */
};

bool
drawn_sizes(const attnc_spec *spec, attnc_sizes *z)
{
  CallInfo call;
  Arena *arena = arena_new(0);
  bool ok = arena && signature_read(spec, ATTNC_OP_FWD, arena, &call, NULL) == ATTNC_OK;
  if (ok && seqlens_are_in(&call))
    seqlens_sizes(&call, NULL, z);
  arena_free(arena);
  return ok;
}

/* Lists and lengths in one call are refused: no template takes both. */
bool
drawn_new(const attnc_spec *spec, unsigned seed, attnc_sizes *z, Drawn **drawn)
{
  Drawn *d = calloc(1, sizeof *d);
  CallInfo call;
  *drawn = NULL;
  if (!d || !(d->arena = arena_new(0)) ||
      signature_read(spec, ATTNC_OP_FWD, d->arena, &call, NULL) != ATTNC_OK)
    return drawn_free(d), false;
  bool lengths = seqlens_are_in(&call), lists = lists_are_in(&call);
  if (!lengths && !lists)
    return drawn_free(d), true;
  if (lengths)
    seqlens_sizes(&call, NULL, z);
  if ((lengths && lists) || tensors_new(&call, z, &d->t, NULL) != ATTNC_OK ||
      tensors_random(&d->t, seed, NULL) != ATTNC_OK)
    return drawn_free(d), false;
  *drawn = d;
  return true;
}

void
drawn_free(Drawn *d)
{
  if (!d)
    return;
  tensors_free(&d->t);
  arena_free(d->arena);
  free(d);
}

bool
drawn_has(const Drawn *d, int slot)
{
  return d && (seqlens_have(slot) ||
               (slot >= ATTNC_KV_NUM_BLOCKS && slot <= ATTNC_FULL_KV_INDICES));
}

int32_t
drawn_at(const Drawn *d, int slot, const int64_t at[4])
{
  const int32_t *element = d->t.host[slot].data;
  for (int i = 0; i < d->t.host[slot].rank; i++)
    element += at[i] ? at[i] * d->t.view[slot].stride[i] : 0;
  return *element;
}

/* Rows that are nobody's have all bits set in the harness's q, k and v; those of o and lse
 * are where q's are. */
bool
drawn_dead(const Drawn *d, int slot, const int64_t at[3])
{
  if (!d)
    return false;
  int of = slot == ATTNC_K || slot == ATTNC_V ? slot : ATTNC_Q;
  const HostTensor *t = &d->t.host[of];
  const int64_t *stride = d->t.view[of].stride;
  int packed = t->rank == 3;
  size_t size = (size_t)dtype_bytes(t->dtype);
  int64_t row = (packed ? 0 : at[0] * stride[0]) + at[1] * stride[1 - packed] +
                at[2] * stride[2 - packed];
  uint32_t bits = 0;
  memcpy(&bits, (const char *)t->data + (size_t)row * size, size);
  return bits == (size == 4 ? UINT32_MAX : UINT16_MAX);
}
