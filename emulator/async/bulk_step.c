/* Bulk copies without a tensor, and the groups of stores: what the instructions check
 * before they hand a copy to the engine of bulk.c, and how its bytes move. */
#include "emulator/exec/atom.h"
#include "emulator/async/bulk_part.h"
#include "emulator/check/layout.h"
#include "emulator/exec/steps.h"

#include <stdlib.h>
#include <string.h>

enum { BULK_ALIGN = 16, READ_MOST = 64 }; /* of stores that have been read, the newest */

/* ---- copies ---- */

typedef struct Linear {
  uint64_t global;
  uint32_t off, bytes;
  AtomOp op; /* of a reduction, else bytes is 0 */
} Linear;

static void
land_linear_load(Exec *x, Cta *to, const void *data)
{
  const Linear *c = data;
  memcpy(to->shared + c->off, mem_host(x, c->global), c->bytes);
  layout_set(to, c->off, c->bytes, LAYOUT_UNKNOWN);
}

static void
land_linear_store(Exec *x, Cta *from, const void *data)
{
  const Linear *c = data;
  uint8_t *to = mem_host(x, c->global);
  if (c->op.bytes)
    atom_reduce(&c->op, to, from->shared + c->off, c->bytes);
  else
    memcpy(to, from->shared + c->off, c->bytes);
}

/* Addresses: a and imm in shared memory, b in global memory; c is the size. */
static Stop
linear(Exec *x, Warp *w, const Insn *i, int lane, ShadowOp op, Linear *c)
{
  uint8_t *host;
  Stop s;
  uint64_t addr = mbar_address(w, i, lane);
  c->bytes = row32(w, i->c)[lane];
  c->global = row64(w, i->b)[lane] + (uint64_t)i->imm2;
  if (addr % BULK_ALIGN || c->global % BULK_ALIGN || c->bytes % BULK_ALIGN || !c->bytes)
    return report_fatal(x, w, i, CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned", lane,
                        "addresses and size of a bulk copy are multiples of %d",
                        BULK_ALIGN);
  if (!cluster_find(x, w, i, lane, addr, i->mem.space == SPACE_CLUSTER, c->bytes, &c->off,
                    &s))
    return s;
  return mem_span(x, w, i, lane, c->global, c->bytes, op, &host);
}

static BulkCopy
copy_of(const Insn *i, int lane, const Linear *c, Land *how)
{
  return (BulkCopy){.insn = i,
                    .lane = lane,
                    .off = c->off,
                    .bytes = c->bytes,
                    .land = how,
                    .data = c,
                    .data_bytes = sizeof *c};
}

static Stop
load_lane(Exec *x, Warp *w, const Insn *i, int lane)
{
  Linear c = {0};
  Stop s = linear(x, w, i, lane, SHADOW_COPY, &c);
  if (s != GO)
    return s;
  BulkCopy copy = copy_of(i, lane, &c, land_linear_load);
  uint64_t mbar = bulk_listed_mbar(x, w, i, lane);
  uint32_t ctas = row32(w, x->kernel->lists[i->list + 2])[lane] & 0xffff;
  if (i->bulk.multicast)
    return bulk_multicast(x, w, &copy, mbar, ctas);
  return bulk_load_at(x, w, &copy, mbar_address(w, i, lane), i->mem.space == SPACE_CLUSTER,
                      mbar);
}

Stop
step_bulk_load(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = GO;
  for (uint32_t m = mask; m && s == GO; m &= m - 1)
    s = load_lane(x, w, i, __builtin_ctz(m));
  return s;
}

Stop
step_bulk_store(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = GO;
  bool reduces = i->bulk.op != A_OPS;
  for (uint32_t m = mask; m && s == GO; m &= m - 1) {
    int lane = __builtin_ctz(m);
    Linear c = {0};
    s = linear(x, w, i, lane, reduces ? SHADOW_ATOMIC : SHADOW_WRITE, &c);
    if (s != GO)
      return s;
    if (reduces) {
      c.op = (AtomOp){
          .op = i->op, .sub = i->bulk.op, .bytes = i->mem.bytes, .sign = i->bulk.sign};
    }
    BulkCopy copy = copy_of(i, lane, &c, land_linear_store);
    copy.first = c.global;
    copy.end = c.global + c.bytes;
    copy.reduces = reduces;
    s = bulk_store(x, w, &copy);
  }
  return s;
}

/* ---- groups ---- */

Stop
step_bulk_commit(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Bulk *b = w->cta->bulk;
  int warp = w->id;
  (void)x;
  (void)i;
  for (uint32_t m = mask; m; m &= m - 1)
    b->groups[warp][__builtin_ctz(m)].last++;
  for (int k = 0; k < b->n; k++) {
    Pending *p = &b->at[k];
    if (p->mbar < 0 && p->warp == warp && !p->group && mask >> p->lane & 1)
      p->group = b->groups[warp][p->lane].last;
  }
  return GO;
}

/* Stores of the warp up to this number have been read: none older is left. */
static uint32_t
read_up_to(const Bulk *b, int warp)
{
  uint32_t least = b->stores[warp];
  for (int k = 0; k < b->n; k++)
    if (b->at[k].mbar < 0 && b->at[k].warp == warp && !b->at[k].read &&
        b->at[k].number <= least)
      least = b->at[k].number - 1;
  return least;
}

/* Is it in a group that a wait of these lanes is for? */
static bool
covered(const Bulk *b, const Pending *p, const Insn *i, int warp, uint32_t mask)
{
  return p->mbar < 0 && p->warp == warp && mask >> p->lane & 1 && p->group &&
         p->group + (uint64_t)i->imm <= b->groups[warp][p->lane].last;
}

/* A wait without .read: what it covers has been written, and so has what was forgotten,
 * which is older than all that is left. */
static void
tell_written(const Warp *w, const Insn *i, int warp, uint32_t mask)
{
  const Bulk *b = w->cta->bulk;
  uint32_t oldest = b->stores[warp] + 1;
  for (int k = 0; k < b->n; k++) {
    const Pending *p = &b->at[k];
    if (p->mbar >= 0 || p->warp != warp)
      continue;
    oldest = p->number < oldest ? p->number : oldest;
    if (covered(b, p, i, warp, mask))
      shadow_bulk_written(w->cta->shadow, warp, p->number, p->number + 1);
  }
  shadow_bulk_written(w->cta->shadow, warp, 0, oldest);
}

/* All but the newest imm groups of each lane have landed.  Behind .read they may still
 * be writing, as far as anybody knows. */
Stop
step_bulk_wait(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Bulk *b = w->cta->bulk;
  int warp = w->id, n = 0;
  for (int k = 0; k < b->n; k++) {
    Pending *p = &b->at[k];
    if (!p->read && covered(b, p, i, warp, mask)) {
      bulk_land(x, w->cta, p);
      p->read = true;
      b->n_read++;
    }
  }
  if (!i->group.read)
    tell_written(w, i, warp, mask);
  for (int k = 0; k < b->n; k++) {
    Pending *p = &b->at[k];
    bool over = !i->group.read && covered(b, p, i, warp, mask);
    if (over || (p->read && b->n_read > READ_MOST)) {
      b->n_read--;
      free(p->data);
    } else {
      b->at[n++] = *p;
    }
  }
  b->n = n;
  shadow_bulk_done(w->cta->shadow, warp, read_up_to(b, warp));
  return GO;
}

/* ---- fences ---- */

Stop
step_fence_proxy(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  (void)x;
  (void)mask;
  if (i->proxy.mbar_init)
    shadow_mbar_fence(w->cta->shadow, w->id);
  else if (i->mem.space !=
           SPACE_GLOBAL) /* what device memory holds is not followed so far */
    shadow_proxy_fence(w->cta->shadow, w->id);
  return GO;
}
