/* The functions that an entry may call: their frames, their instructions, and how much
 * stack a thread needs. */
#include "emulator/ptx/decode.h"

/* ---- frames ---- */

uint64_t
dec_place(uint64_t *at, Var *v)
{
  *at = (*at + v->align - 1) / v->align * v->align;
  v->offset = *at;
  *at += v->bytes;
  return v->offset;
}

static void
place_formals(uint64_t *at, uint32_t *align, Formal *f, int n)
{
  for (int i = 0; i < n; i++)
    if (f[i].var) {
      dec_place(at, f[i].var);
      *align = f[i].var->align > *align ? f[i].var->align : *align;
    }
}

/* Arguments that are declared in scopes beside each other may share their place. */
static uint64_t
place_arguments(const Ast *a, uint64_t from)
{
  uint64_t most = from, end[256];
  for (int scope = 0; scope < a->scopes.n; scope++) {
    uint64_t at = scope && a->scopes.at[scope] < 256 ? end[a->scopes.at[scope]] : from;
    if (scope && a->scopes.at[scope] >= 256)
      at = most;
    for (int i = 0; i < a->locals.n; i++)
      if (a->locals.at[i]->in_frame && a->locals.at[i]->scope == scope)
        dec_place(&at, a->locals.at[i]);
    if (scope < 256)
      end[scope] = at;
    most = at > most ? at : most;
  }
  return most;
}

uint64_t
dec_frame(const Ast *a, uint32_t *align)
{
  uint64_t at = 0;
  *align = 16;
  place_formals(&at, align, a->proto.out.at, a->proto.out.n);
  place_formals(&at, align, a->proto.in.at, a->proto.in.n);
  for (int i = 0; i < a->locals.n; i++) {
    Var *v = a->locals.at[i];
    if (v->space == SPACE_SHARED)
      continue;
    if (!v->in_frame)
      dec_place(&at, v);
    *align = v->align > *align ? v->align : *align;
  }
  return (place_arguments(a, at) + 15) / 16 * 16;
}

/* ---- the functions ---- */

static Place *
formal_places(Dec *d, const Formal *f, int n)
{
  Place *p = NEW_N(d->ptx->arena, Place, n + 1);
  for (int i = 0; i < n; i++) {
    p[i].bytes = dec_formal_bytes(&f[i]);
    if (f[i].var)
      p[i].at = (uint32_t)f[i].var->offset;
    else
      p[i].row =
          dec_dest(d, &(Opnd){.kind = O_REG, .reg = f[i].reg}, f[i].reg->type, false);
  }
  return p;
}

static void
decode_function(Dec *d, Function *f)
{
  const Ast *a = f->ast;
  for (int i = 0; i < a->regs.n; i++)
    for (int j = 0; j < a->regs.at[i].n; j++)
      a->regs.at[i].at[j].row = -1;
  uint64_t frame = dec_frame(a, &f->align);
  if (frame > MAX_LOCAL)
    ptx_fail(d->ptx, a->line, "%s has too many bytes of .local", a->name);
  f->frame = frame ? (uint32_t)frame : 16;
  d->function = f;
  d->ptx->funcs.at[a->number]->used = true;
  f->entry = d->code.n;
  f->row = d->rows;
  f->pred = d->preds;
  f->base = dec_temp(d, true);
  f->in = formal_places(d, a->proto.in.at, f->n_in = a->proto.in.n);
  f->out = formal_places(d, a->proto.out.at, f->n_out = a->proto.out.n);
  dec_code(d, a);
  f->end_row = d->rows;
  f->end_pred = d->preds;
  d->code.at[f->entry].flags |= F_LEADER;
}

/* Bytes of the deepest calls from a function on; -1: it is among its own callers, or nobody
 * knows what is called. */
typedef struct Depth {
  int64_t bytes;
  bool here, known;
} Depth;

static int64_t
depth_of(Dec *d, Depth *depth, int function)
{
  Depth *own = &depth[function + 1];
  if (own->here || own->known)
    return own->known ? own->bytes : -1;
  const Function *f = function < 0 ? NULL : &d->functions.at[function];
  int64_t most = 0;
  own->here = true;
  for (int i = 0; i < d->edges.n && most >= 0; i++) {
    const CallEdge *e = &d->edges.at[i];
    if (e->from != function)
      continue;
    int64_t below = e->to < 0 ? -1 : depth_of(d, depth, e->to);
    most = below < 0 ? -1 : below > most ? below : most;
  }
  own->here = false;
  own->known = true;
  own->bytes = most < 0 || !f ? most : most + f->frame + (f->align > 16 ? f->align : 0);
  return own->bytes;
}

static void
find_depth(Dec *d)
{
  Depth *depth = NEW_N(d->ptx->arena, Depth, d->functions.n + 1);
  int64_t below = depth_of(d, depth, -1);
  uint64_t all = 0;
  for (int i = 0; i < d->functions.n; i++)
    all += d->functions.at[i].frame + d->functions.at[i].align;
  d->k->deep |= below < 0;
  uint64_t most = d->k->local_bytes + (below < 0 ? all : (uint64_t)below);
  if (most > MAX_LOCAL)
    ptx_fail(d->ptx, d->ast->line, "too many bytes of .local in all functions");
  d->k->local_bytes = (uint32_t)((most + 15) / 16 * 16);
}

void
dec_functions(Dec *d)
{
  const Ast *entry = d->ast;
  Kernel *k = d->k;
  for (int i = 0; i < d->functions.n; i++)
    decode_function(d, &d->functions.at[i]);
  d->function = NULL;
  d->ast = entry;
  k->calls = d->sites.n || k->deep;
  if (d->sites.n)
    find_depth(d);
  k->functions = d->functions.at;
  k->n_functions = d->functions.n;
  k->sites = d->sites.at;
}
