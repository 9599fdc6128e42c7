/* What a whole program must satisfy, beyond what each word checked as it was called. */
#include "compiler/tile/tile_prog.h"

static void
verify_region(Tb *t, const Region *r)
{
  for (const Op *op = r->first; op; op = op->next) {
    if (op->body) {
      if (op->body->parent != r)
        t_fail(t, "region %d hangs in another region", op->body->id);
      verify_region(t, op->body);
    }
    if (op->out && (op->out->rows <= 0 || op->out->cols <= 0))
      t_fail(t, "%%%d is empty", op->out->id);
    if (op->out && op->out->lay == LAY_FRAG && op->out->rows % (16 * op->out->warps))
      t_fail(t, "%%%d: %d rows over %d warps", op->out->id, op->out->rows, op->out->warps);
    if (op->product && !t->prog->by_keys && val_part_depth(op->in[1]))
      t_fail(t, "%%%d: a left operand of which a warp has a part", op->in[1]->id);
  }
}

void
tile_verify(Tb *t)
{
  if (t->here != t->prog->top || t->entry)
    t_fail(t, "a region was left open");
  for (int i = 0; i < t->prog->rings.n; i++) {
    const Ring *r = t->prog->rings.at[i];
    if (r->consumed != r->released)
      t_fail(t, "ring %s: %d stages are still held at the end", r->mem.name,
             r->consumed - r->released);
  }
  if (t->prog->smem_bytes > t->prog->target->smem_block)
    t_fail(t, "%d bytes of shared memory, %s has %d", t->prog->smem_bytes,
           t->prog->target->name, t->prog->target->smem_block);
  if (t->prog->warps_n != 1 && t->prog->warps_n != 2 && t->prog->warps_n != 4)
    t_fail(t, "%d warps have the same rows: not 1, 2 or 4", t->prog->warps_n);
  if (t->prog->warps % t->prog->warps_n)
    t_fail(t, "%d of %d warps have the same rows", t->prog->warps_n, t->prog->warps);
  verify_region(t, t->prog->top);
}
