/* What a trip through a program's regions executes, per warp: products exactly, the rest
 * as the lowering emits it.  `explain` prints it; a test holds mma against the emulator. */
#include "compiler/tile_prog.h"

static int64_t
values(const Val *v)
{
  switch (v->lay) {
  case LAY_FRAG:
    return (int64_t)val_tiles_m(v) * (v->cols / 8) * 4;
  case LAY_LANE:
    return 8;
  case LAY_ROW:
    return val_row_values(v);
  default:
    return 1;
  }
}

static void
count_product(const Op *op, TileCount *c)
{
  const Val *o = op->out;
  int m = val_tiles_m(o);
  int depth = op->smem.trans ? round_up(op->smem.cols, 16) : op->smem.rows;
  if (o->flying) {
    c->wgmma += depth / 16;
    return;
  }
  c->mma += (int64_t)m * (o->cols / 8) * (depth / 16);
  c->ldmatrix += (int64_t)(round_up(o->cols, 16) / 16) * (depth / 16);
  if (!op->in[1])
    c->ldmatrix += (int64_t)m * (depth / 16);
}

static int64_t
copies(const Program *p, const SmemDecl *d)
{
  return (int64_t)d->panels * d->rows / (4 * p->warps);
}

static void count_region(const Program *, const Region *, TileCount *);

static void
count_op(const Program *p, const Op *op, TileCount *c)
{
  switch (op->kind) {
  case OP_DOT:
  case OP_DOT_ACC:
    count_product(op, c);
    break;
  case OP_GET:
    c->ldmatrix += (int64_t)val_tiles_m(op->out) * op->out->cols / 16;
    break;
  case OP_PUSH:
    c->cp_async += op->ring->fill == FILL_COPY ? copies(p, &op->ring->mem) : 0;
    break;
  case OP_COPY:
    c->cp_async += copies(p, op->smem.mem);
    break;
  case OP_EXP2:
    c->ex2 += values(op->out);
    break;
  case OP_MASK:
    c->fp32 += 2 * values(op->out);
    break;
  case OP_ROW_MAX:
  case OP_ROW_PART:
    c->fp32 += values(op->in[0]);
    c->shuffles += op->kind == OP_ROW_MAX ? 2 * values(op->out) : 0;
    break;
  case OP_ROW_JOIN:
    c->shuffles += 2 * values(op->out);
    break;
  case OP_CVT:
    c->fp32 += values(op->in[0]) / 2;
    break;
  case OP_ROW_DOT:
    c->fp32 += 8;
    c->shuffles += 5;
    break;
  case OP_TAKE:
  case OP_COPY_WAIT:
    c->barriers += op->pending >= 0;
    break;
  case OP_COPY_OUT:
  case OP_SEND_OUT:
  case OP_SYNC:
  case OP_SYNC_ROLE:
  case OP_TURN_TAKE:
  case OP_TURN_PASS:
    c->barriers++;
    break;
  case OP_IF:
    count_region(p, op->body, c);
    break;
  case OP_WAIT:
  case OP_PEEK:
  case OP_OUT_WAIT:
  case OP_FENCE_ASYNC:
  case OP_TURN_START:
  case OP_FOR:
  case OP_ROLE:
  case OP_WARP:
  case OP_CONST:
  case OP_BESIDE:
  case OP_SCALAR:
  case OP_RELEASE:
  case OP_LOOP:
    break;
  default:
    c->fp32 += op->out ? values(op->out) : 0;
  }
}

static void
count_region(const Program *p, const Region *r, TileCount *c)
{
  for (const Op *op = r->first; op; op = op->next)
    count_op(p, op, c);
}

/* Does this body compute, or does it only fetch what another role computes with? */
static bool
computes(const Region *r)
{
  for (const Op *op = r->first; op; op = op->next)
    if (op->out)
      return true;
  return false;
}

/* The first body of the class that computes. */
static const Region *
find_body(const Region *r, int cls)
{
  const Region *found = NULL;
  for (const Op *op = r->first; op && !found; op = op->next)
    if (op->kind == OP_LOOP)
      found = (int)op->body->span.cls == cls && computes(op->body) ? op->body : NULL;
    else if (op->body)
      found = find_body(op->body, cls);
  return found;
}

TileCount
tile_count(const Program *p, int cls)
{
  TileCount c = {0};
  const Region *r = cls >= 0 ? find_body(p->top, cls) : p->top;
  if (r)
    count_region(p, r, &c);
  return c;
}
