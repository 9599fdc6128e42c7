/* Into the shared memory of another CTA of the cluster, or one's own: bulk copies and
 * reductions from shared memory, and stores and reductions of registers (st.async,
 * red.async).  All of them complete on an mbarrier there: PTX ISA, "Data Movement and
 * Conversion Instructions: Asynchronous copy", st.async, red.async. */
#include "emulator/exec/atom.h"
#include "emulator/async/bulk_part.h"
#include "emulator/check/layout.h"
#include "emulator/exec/steps.h"

#include <string.h>

enum { BULK_ALIGN = 16 };

typedef struct Send {
  Cta *from; /* NULL: the bytes are here */
  uint32_t from_off, off, bytes;
  AtomOp op; /* of a reduction, else bytes is 0 */
  uint8_t value[16];
} Send;

static void
land_send(Exec *x, Cta *to, const void *data)
{
  const Send *c = data;
  (void)x;
  const uint8_t *from = c->from ? c->from->shared + c->from_off : c->value;
  if (c->op.bytes)
    atom_reduce(&c->op, to->shared + c->off, from, c->bytes);
  else
    memmove(to->shared + c->off, from, c->bytes);
  layout_set(to, c->off, c->bytes, LAYOUT_UNKNOWN);
}

static AtomOp
operation(const Insn *i)
{
  if (i->bulk.op == A_OPS)
    return (AtomOp){0};
  return (AtomOp){.sub = i->bulk.op, .bytes = i->bulk.element, .sign = i->bulk.sign};
}

static BulkCopy
copy_of(const Insn *i, int lane, const Send *c)
{
  return (BulkCopy){.insn = i,
                    .lane = lane,
                    .off = c->off,
                    .bytes = c->bytes,
                    .land = land_send,
                    .data = c,
                    .data_bytes = sizeof *c,
                    .from = c->from,
                    .from_off = c->from_off,
                    .reduces = c->op.bytes != 0,
                    .lanes_own = !c->from};
}

/* a and imm the destination, b and imm2 the source. */
static Stop
send_lane(Exec *x, Warp *w, const Insn *i, int lane)
{
  Stop s;
  Send c = {.from = w->cta, .bytes = row32(w, i->c)[lane], .op = operation(i)};
  uint64_t to = mbar_address(w, i, lane);
  uint64_t from =
      (i->bulk.from64 ? row64(w, i->b)[lane] : row32(w, i->b)[lane]) + (uint64_t)i->imm2;
  if (to % BULK_ALIGN || from % BULK_ALIGN || c.bytes % BULK_ALIGN || !c.bytes)
    return report_fatal(x, w, i, CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned", lane,
                        "addresses and size of a bulk copy are multiples of %d",
                        BULK_ALIGN);
  if (!cluster_find(x, w, i, lane, from, false, c.bytes, &c.from_off, &s) ||
      !cluster_find(x, w, i, lane, to, true, c.bytes, &c.off, &s))
    return s;
  BulkCopy copy = copy_of(i, lane, &c);
  return bulk_load_at(x, w, &copy, to, true, bulk_listed_mbar(x, w, i, lane));
}

Stop
step_bulk_send(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = GO;
  for (uint32_t m = mask; m && s == GO; m &= m - 1)
    s = send_lane(x, w, i, __builtin_ctz(m));
  return s;
}

/* The list: the mbarrier's address and offset, then the values. */
static Stop
store_lane(Exec *x, Warp *w, const Insn *i, int lane)
{
  Stop s;
  uint32_t each = i->mem.bytes, n = i->mem.n;
  const uint32_t *row = x->kernel->lists + i->list;
  Send c = {.bytes = each * n, .op = operation(i)};
  uint64_t to = mbar_address(w, i, lane);
  for (uint32_t k = 0; k < n; k++)
    memcpy(c.value + k * each,
           i->flags & F_WIDE ? (const void *)&row64(w, row[2 + k])[lane]
                             : (const void *)&row32(w, row[2 + k])[lane],
           each);
  if (to % c.bytes)
    return report_fatal(x, w, i, CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned", lane,
                        "address 0x%llx is no multiple of %u", (unsigned long long)to,
                        c.bytes);
  if (!cluster_find(x, w, i, lane, to, true, c.bytes, &c.off, &s))
    return s;
  BulkCopy copy = copy_of(i, lane, &c);
  uint64_t mbar = bulk_listed_mbar(x, w, i, lane);
  mbar -= i->mem.space == SPACE_GENERIC ? WINDOW_SHARED : 0;
  return bulk_load_at(x, w, &copy, to, true, mbar);
}

Stop
step_st_async(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = GO;
  for (uint32_t m = mask; m && s == GO; m &= m - 1)
    s = store_lane(x, w, i, __builtin_ctz(m));
  return s;
}
