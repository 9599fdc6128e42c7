/* A kernel: the entry and the functions that it may call, and where its variables are. */
#include "emulator/ptx/decode.h"

/* ---- variables ---- */

static bool
uses(const Ast *a, const Var *v)
{
  for (int i = 0; i < a->stmts.n; i++)
    for (int j = 0; j < a->stmts.at[i].n; j++)
      if (a->stmts.at[i].opnds[j].var == v)
        return true;
  return false;
}

/* The entry uses it, or one of the functions that it may call. */
static bool
kernel_uses(const Dec *d, const Var *v)
{
  bool does = uses(d->ast, v);
  for (int i = 0; i < d->functions.n && !does; i++)
    does = uses(d->functions.at[i].ast, v);
  return does;
}

static void
place_shared(const Ast *a, uint64_t *at)
{
  for (int i = 0; i < a->locals.n; i++)
    if (a->locals.at[i]->space == SPACE_SHARED)
      dec_place(at, a->locals.at[i]);
}

static void
lay_out_shared(Dec *d)
{
  uint64_t shared = 0, dynamic;
  place_shared(d->ast, &shared);
  for (int i = 0; i < d->functions.n; i++)
    place_shared(d->functions.at[i].ast, &shared);
  for (int i = 0; i < d->ptx->vars.n; i++) {
    Var *v = d->ptx->vars.at[i];
    if (v->space == SPACE_SHARED && !v->is_extern && kernel_uses(d, v))
      dec_place(&shared, v);
  }
  d->k->shared_bytes = (uint32_t)shared;
  d->k->dynamic_at = (uint32_t)shared;
  for (int i = 0; i < d->ptx->vars.n; i++) {
    Var *v = d->ptx->vars.at[i];
    if (v->space == SPACE_SHARED && v->is_extern && kernel_uses(d, v)) {
      dynamic = shared;
      d->k->dynamic_at = (uint32_t)dec_place(&dynamic, v);
    }
  }
}

static void
lay_out(Dec *d)
{
  uint32_t align;
  uint64_t local = dec_frame(d->ast, &align);
  lay_out_shared(d);
  if (d->k->shared_bytes > 227 << 10 || local > MAX_LOCAL)
    ptx_fail(d->ptx, d->ast->line, "%s has too many bytes of .shared or .local",
             d->ast->name);
  d->k->frame = d->k->local_bytes = (uint32_t)local;
  for (int i = 0; i < d->ast->params.n; i++) {
    const Var *v = d->ast->params.at[i];
    d->k->param_bytes = (uint32_t)(v->offset + v->bytes);
  }
}

/* ---- the kernel ---- */

static void
finish(Dec *d)
{
  Kernel *k = d->k;
  *vec_push(d->ptx->arena, &d->lists) = ROW_ZERO; /* none is no array */
  k->code = d->code.at;
  k->n_code = d->code.n;
  k->lists = d->lists.at;
  k->fills = d->fills.at;
  k->n_fills = d->fills.n;
  k->rows = d->rows;
  k->preds = d->preds;
  k->row_name = d->row_names.at;
  k->row_wide = d->row_wide.at;
  k->pred_name = d->pred_names.at;
  k->def0 = NEW_N(d->ptx->arena, uint32_t, k->rows);
  for (uint32_t i = 0; i < ROW_FIRST; i++)
    k->def0[i] = FULL;
  for (int i = 0; i < k->n_fills; i++)
    k->def0[k->fills[i].row] = FULL;
}

Kernel *
decode_kernel(Ptx *ptx, const Ast *ast)
{
  Dec *d = NEW(ptx->arena, Dec);
  d->known = NEW_N(ptx->arena, Known, KNOWN);
  d->ptx = ptx;
  d->ast = ast;
  d->k = NEW(ptx->arena, Kernel);
  d->k->ptx = ptx;
  d->k->ast = ast;
  d->k->name = ast->name;
  for (int i = 0; i < ROW_FIRST; i++)
    dec_temp(d, false);
  for (int i = 0; i < PRED_FIRST; i++)
    dec_temp_pred(d);
  dec_find_functions(d);
  lay_out(d);
  dec_code(d, ast);
  dec_functions(d);
  if (d->preds > UINT16_MAX)
    ptx_fail(ptx, ast->line, "more than 65535 predicates");
  finish(d);
  return d->k;
}

void
decode_unused(Ptx *ptx)
{
  bool any = false;
  for (int i = 0; i < ptx->funcs.n; i++)
    any |= ptx->funcs.at[i]->has_body && !ptx->funcs.at[i]->used;
  if (!any)
    return;
  Ast *caller = NEW(ptx->arena, Ast);
  caller->name = "functions that nobody calls";
  caller->is_func = true;
  *vec_push(ptx->arena, &caller->scopes) = 0;
  decode_kernel(ptx, caller);
}
