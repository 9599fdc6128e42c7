/* Which parameters an entry reads: those that no operation reaches have no place in its
 * signature.  A single entry keeps all of the call's, in one order for every schedule. */
#include "compiler/tile/tile_prog.h"

typedef struct Reach {
  Program *prog;
  bool *seen; /* nodes, by id */
} Reach;

static void
reach_idx(Reach *r, Idx x)
{
  if (!x.node || r->seen[x.node->id])
    return;
  r->seen[x.node->id] = true;
  reach_idx(r, x.node->a);
  reach_idx(r, x.node->b);
  reach_idx(r, x.node->c);
}

static void
reach_pointer(Reach *r, ParamKind kind, int slot)
{
  for (int i = 0; i < r->prog->params.n; i++) {
    const Param *p = &r->prog->params.at[i];
    if (p->kind == kind && p->slot == slot)
      r->seen[p->node->id] = true;
  }
}

static void
reach_lookup(Reach *r, const Lookup *x)
{
  reach_pointer(r, x->workspace ? PARAM_WORKSPACE : PARAM_TENSOR, x->slot);
  reach_idx(r, x->first);
  for (int i = 0; i < x->n_axes; i++) {
    reach_idx(r, x->length[i]);
    reach_idx(r, x->stride[i]);
  }
}

static void
reach_view(Reach *r, const View *v)
{
  const Tensor *x = v->x;
  if (!x)
    return;
  reach_pointer(r, x->workspace ? PARAM_WORKSPACE : PARAM_TENSOR, x->slot);
  const Idx parts[] = {x->rows,   x->stride[0], x->stride[1], x->stride[2], v->b,
                       v->h,      v->origin,    v->row,       v->end,       v->col,
                       v->behind, v->table_row, v->page_size, v->nth,       x->each};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    reach_idx(r, parts[i]);
  if (v->pages)
    reach_lookup(r, v->pages);
}

static void
reach_steps(Reach *r, const Op *op)
{
  const ExprSteps *s = op->steps;
  const Idx parts[] = {op->at.b, op->at.h, op->at.hk, s->mods->sq, s->mods->sk};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    reach_idx(r, parts[i]);
  for (int i = 0; i < s->step.n; i++)
    if (s->step.at[i].kind == STEP_BASE)
      reach_lookup(r, &s->mods->tables[s->step.at[i].e->i]);
}

static void
reach_search(Reach *r, const SequenceSearch *s)
{
  reach_lookup(r, s->first);
  reach_idx(r, s->n);
  reach_idx(r, s->block);
}

static void
reach_rope(Reach *r, const RopeArgs *rope)
{
  reach_lookup(r, rope->cos);
  reach_lookup(r, rope->sin);
  reach_idx(r, rope->at);
}

static void
reach_region(Reach *r, const Region *region)
{
  const Idx parts[] = {region->cond,       region->loop.lo,      region->loop.hi,
                       region->loop.step,  region->next,         region->span.lo,
                       region->span.hi,    region->span.full_lo, region->span.full_hi,
                       region->is_partial, region->tile,         region->is_whole,
                       region->none};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    reach_idx(r, parts[i]);
  reach_idx(r, region->entered);
  reach_idx(r, region->more);
  if (region->seek)
    reach_region(r, region->seek);
  for (const Op *op = region->first; op; op = op->next) {
    const Idx own[] = {op->when,       op->at.q,     op->at.k,       op->smem.row,
                       op->smem.panel, op->left.row, op->left.panel, op->word,
                       op->bound,      op->at_word,  op->first};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
      reach_idx(r, own[i]);
    reach_view(r, &op->view);
    if (op->mask) {
      reach_idx(r, op->mask->sq);
      reach_idx(r, op->mask->sk);
    }
    if (op->steps)
      reach_steps(r, op);
    if (op->search)
      reach_search(r, op->search);
    if (op->list) {
      reach_lookup(r, op->list);
      reach_idx(r, op->at.b);
      reach_idx(r, op->at.h);
    }
    if (op->rope)
      reach_rope(r, op->rope);
    if (op->body)
      reach_region(r, op->body);
  }
}

void
tile_drop_params(Tb *t)
{
  Program *p = t->prog;
  Reach r = {.prog = p, .seen = NEW_N(t->arena, bool, p->idx.nodes.n + 1)};
  reach_region(&r, p->top);
  p->n_places = 0;
  for (int i = 0; i < p->params.n; i++) {
    Param *x = &p->params.at[i];
    /* A map or a scalar is made by the word that reads it. */
    bool read = x->kind == PARAM_MAP || x->kind == PARAM_SCALAR || r.seen[x->node->id];
    x->place = read ? p->n_places++ : -1;
  }
}
