/* The tile program as text, one line an operation: what people read, and the golden that
 * does not move with LLVM. */
#include "compiler/tile/tile_prog.h"

/* ---- index expressions: what is not simple is named once, above its uses ---- */

static void
use(Idx x, const Node **used)
{
  if (!x.node || used[x.node->id])
    return;
  used[x.node->id] = x.node;
  use(x.node->a, used);
  use(x.node->b, used);
  use(x.node->c, used);
}

static void
print_names(Str *s, const Program *p, const Node **used)
{
  for (int i = 1; i <= p->idx.nodes.n; i++) {
    Idx x = {.node = used[i]};
    if (!used[i] || idx_simple(x))
      continue;
    str_printf(s, "  i%d = ", i);
    idx_print(s, x, tile_leaf_print);
    str_put(s, "\n");
  }
}

static void
print_idx(Str *s, Idx x)
{
  if (idx_simple(x))
    idx_print(s, x, tile_leaf_print);
  else
    str_printf(s, "i%d", x.node->id);
}

static void
use_span(const TileSpan *s, const Node **used)
{
  use(s->lo, used);
  use(s->hi, used);
  use(s->full_lo, used);
  use(s->full_hi, used);
}

static void
use_region(const Region *r, const Node **used)
{
  for (const Op *op = r->first; op; op = op->next) {
    if (op->view.x) {
      use(op->view.b, used);
      use(op->view.h, used);
      use(op->view.nth, used);
      use(op->view.origin, used);
      use(op->view.row, used);
      use(op->view.end, used);
      use(op->view.col, used);
      use(op->view.behind, used);
      use(op->view.table_row, used);
      use(op->view.page_size, used);
    }
    if (op->rope)
      use(op->rope->at, used);
    use(op->when, used);
    use(op->word, used);
    use(op->bound, used);
    use(op->at_word, used);
    if (op->search) {
      use(op->search->n, used);
      use(op->search->block, used);
    }
    if (op->set)
      use(*op->set, used);
    use(op->at.q, used);
    use(op->at.k, used);
    if (op->steps || op->list) {
      use(op->at.b, used);
      use(op->at.h, used);
      use(op->at.hk, used);
    }
    use(op->left.row, used);
    use(op->smem.row, used);
    use(op->left.panel, used);
    use(op->smem.panel, used);
    use(op->first, used);
    if (op->body) {
      const Region *b = op->body;
      const Idx idx[] = {b->loop.lo,    b->loop.hi, b->loop.step, b->next, b->cond,
                         b->is_partial, b->tile,    b->is_whole,  b->none};
      use_span(&b->span, used);
      for (size_t i = 0; i < sizeof idx / sizeof *idx; i++)
        use(idx[i], used);
      use(b->entered, used);
      use(b->more, used);
      use_region(b, used);
    }
  }
}

/* ---- operations ---- */

static void
indent(Str *s, int depth)
{
  for (int i = 0; i < depth; i++)
    str_put(s, "  ");
}

static void
print_val(Str *s, const Val *v)
{
  static const char *const lay[] = {"",         " rows",  " lanes", " one",  " of a copy",
                                    " columns", " words", " boxes", " dealt"};
  if (v->lay == LAY_SCALAR) {
    str_printf(s, "%%%d = %s", v->id, dtype_name(v->ty));
    return;
  }
  str_printf(s, "%%%d = %s[%dx%d]%s%s", v->id, dtype_name(v->ty), v->rows, v->cols,
             lay[v->lay], v->per_thread ? " per_thread" : "");
  if (v->warps_n > 1)
    str_printf(s, " over %d warps", v->warps_n);
}

static void
print_smem(Str *s, const Smem *m)
{
  str_printf(s, " %s", m->mem->name);
  if (m->wait_id)
    str_printf(s, "#%d", m->wait_id);
  int64_t row;
  if (!i_known(m->row, &row) || row) {
    str_put(s, "@");
    print_idx(s, m->row);
  }
  str_printf(s, "[%dx%d]%s", m->rows, m->cols, m->trans ? "'" : "");
}

static void
print_view(Str *s, const View *v)
{
  str_printf(s, " %s[b ", v->x->name);
  print_idx(s, v->b);
  str_put(s, ", h ");
  print_idx(s, v->h);
  str_put(s, ", rows ");
  if (v->origin.node || v->origin.k) {
    print_idx(s, v->origin);
    str_put(s, " + ");
  }
  print_idx(s, v->row);
  str_printf(s, " +%d", v->n);
  if (v->nth.node || v->nth.k) {
    str_put(s, " of number ");
    print_idx(s, v->nth);
  }
  if (v->cut) {
    str_put(s, " until ");
    print_idx(s, v->end);
  }
  if (v->pages) {
    str_put(s, ", pages of ");
    print_idx(s, v->page_size);
    str_printf(s, " by %s[", v->pages->name);
    print_idx(s, v->table_row);
    str_put(s, "]");
  }
  if (v->part) {
    str_put(s, ", columns ");
    print_idx(s, v->col);
    str_printf(s, " +%d%s", v->x->cols, v->aligned ? " aligned" : "");
  }
  if (v->ragged) {
    str_put(s, " until ");
    print_idx(s, v->behind);
  }
  str_printf(s, "]%s", v->in_bounds ? " in_bounds" : "");
  if (v->pack > 1)
    str_printf(s, " of %d heads", v->pack);
}

static void
print_mods(Str *s, const Spec *spec, const SpecExprs *mods)
{
  for (int i = 0; i < mods->n; i++) {
    str_put(s, i ? "; " : " by ");
    expr_print(spec->graph, mods->at[i], s);
  }
}

static void
print_steps(Str *s, const Op *op)
{
  const Spec *spec = op->steps->mods->spec;
  str_put(s, ", b ");
  print_idx(s, op->at.b);
  str_put(s, ", h ");
  print_idx(s, op->at.h);
  print_mods(s, spec,
             op->kind == OP_SCORE   ? &spec->score_mod
             : op->kind == OP_SINK  ? &spec->sink_logit
             : op->kind == OP_SLOPE ? &spec->score_slope
                                    : &spec->mask_mod);
}

static void
print_search(Str *s, const SequenceSearch *search)
{
  str_put(s, " ");
  print_idx(s, search->block);
  str_printf(s, " of %d rows, of ", search->rows);
  print_idx(s, search->n);
  str_printf(s, " by %s%s", search->first->name, search->alone ? ", alone" : "");
}

static void
print_rope(Str *s, const RopeArgs *r)
{
  str_printf(s, "  %d turned%s by %s, %s of ", r->dim, r->interleaved ? " in pairs" : "",
             r->cos->name, r->sin->name);
  print_idx(s, r->at);
  str_put(s, r->same ? "" : " + row");
}

static void
print_when(Str *s, Idx when)
{
  str_put(s, " when ");
  print_idx(s, when);
}

static void
print_list(Str *s, const Op *op)
{
  bool add = op->kind == OP_BINS_ADD, take = op->kind == OP_BINS_TAKE;
  bool store = op->kind == OP_STORE_WORD;
  bool word = !take || op->word.node || op->word.k != 1;
  if (op->bins)
    str_printf(s, "  of %d", op->bins->n);
  if (store)
    str_printf(s, "  %s", op->list->name);
  if (!add && !take && !store)
    return;
  str_put(s, store ? "[" : ", bin ");
  print_idx(s, op->at_word);
  str_put(s, store ? "] = " : add || word ? ", " : "");
  if (word)
    print_idx(s, op->word);
  print_when(s, op->when);
}

static void
print_attributes(Str *s, const Op *op)
{
  int64_t k;
  if (op->poly)
    str_printf(s, "  %d of 16 by polynomial", op->poly);
  if (op->kind == OP_SELECT_GT)
    str_printf(s, " above %.9g", op->k);
  if (op->kind == OP_SELECT_ABS_GT)
    str_printf(s, " beyond %.9g", op->k);
  if (op->kind == OP_RESIDUAL)
    str_printf(s, " of %s", dtype_name(op->narrow));
  if (op->kind == OP_CONST)
    str_printf(s, " %.9g", op->k);
  if (op->kind == OP_SCALAR)
    str_printf(s, " %d * %.9g", op->slot, op->k);
  if (op->ring)
    str_printf(s, " %s", op->ring->mem.name);
  if (op->wait_id)
    str_printf(s, "#%d", op->wait_id);
  if (op->view.x)
    print_view(s, &op->view);
  if ((op->kind == OP_CONSUMER_WAIT || op->kind == OP_COPY_WAIT) && op->pending >= 0)
    str_printf(s, "  %d pending", op->pending);
  if (op->kind == OP_WAIT)
    str_printf(s, "  %d pending", op->pending);
  if (op->fence)
    str_put(s, "  fence");
  if (op->hint)
    str_put(s, op->hint == HINT_ONCE ? "  once" : "  keep");
  if (op->kind == OP_PRODUCER_LOAD && op->ring->word) {
    str_put(s, "  word ");
    print_idx(s, op->word);
  }
  if (op->kind == OP_PREFETCH)
    print_when(s, op->when);
  if (op->kind == OP_TICKET) {
    str_put(s, "  modulo ");
    print_idx(s, op->bound);
  }
  if (op->search)
    print_search(s, op->search);
  if (op->rope)
    print_rope(s, op->rope);
  print_list(s, op);
  if (op->found.node) {
    str_put(s, "  ");
    print_idx(s, op->found);
  }
  if (op->cond.node) {
    str_put(s, "  ");
    print_idx(s, op->cond);
  }
  if (op->kind == OP_PRODUCER_LOAD && op->ring->fill == FILL_COPY) {
    str_printf(s, "  stage +%d", op->ahead);
    if (!i_known(op->when, &k))
      print_when(s, op->when);
  }
  if (op->set) {
    str_put(s, "  if ");
    print_idx(s, *op->set);
  }
  if (op->kind == OP_DROP_STATE) {
    str_printf(s, "  %s, b ", op->list->name);
    print_idx(s, op->at.b);
    str_put(s, ", h ");
    print_idx(s, op->at.h);
    str_put(s, " of ");
    print_idx(s, op->word);
  }
  if (op->kind == OP_MASK || op->steps || op->kind == OP_DROP ||
      op->kind == OP_STORE_KEEP) {
    str_put(s, "  q ");
    print_idx(s, op->at.q);
    str_put(s, ", k ");
    print_idx(s, op->at.k);
    str_put(s, op->at.turned ? ", turned" : "");
  }
  if (op->steps)
    print_steps(s, op);
}

static void print_region(Str *, const Region *, int depth);

static void
print_carries(Str *s, const Region *r, bool results)
{
  bool any = false;
  for (int i = 0; i < r->n_carry; i++) {
    const Carry *c = &r->carry[i];
    if (c->yield == c->arg || c->result == c->init)
      continue;
    str_put(s, any ? ", " : results ? "  leaves " : "  carries ");
    any = true;
    if (results)
      str_printf(s, "%%%d", c->result->id);
    else
      str_printf(s, "%%%d = %%%d then %%%d", c->arg->id, c->init->id, c->yield->id);
  }
}

static void
print_head(Str *s, const Region *r)
{
  if (r->kind == OP_ROLE) {
    str_printf(s, "role %s: %d team%s of %d warps", r->role->name, r->role->teams,
               r->role->teams == 1 ? "" : "s", r->role->warps);
    if (r->role->regs)
      str_printf(s, ", %d registers", r->role->regs);
  } else if (r->kind == OP_WARP) {
    str_printf(s, "one lane of warp %d", r->warp);
  } else if (r->kind == OP_IF) {
    str_put(s, r->rare      ? "rarely if "
               : r->partial ? "if PARTIAL: "
               : r->work    ? "work if "
                            : "if ");
    print_idx(s, r->cond);
  } else {
    str_printf(s, "for j%d from ", r->id);
    print_idx(s, r->loop.lo);
    str_put(s, " below ");
    print_idx(s, r->loop.hi);
    str_put(s, r->has_next ? " then " : " by ");
    print_idx(s, r->has_next ? r->next : r->loop.step);
  }
}

static void
print_range(Str *s, Idx lo, Idx hi)
{
  str_put(s, "[");
  print_idx(s, lo);
  str_put(s, ", ");
  print_idx(s, hi);
  str_put(s, ")");
}

static void
print_span(Str *s, const TileSpan *span)
{
  bool full = span_has(span, TILE_FULL), partial = span_has(span, TILE_PARTIAL);
  print_range(s, span->lo, span->hi);
  str_put(s, full && partial ? ", FULL in " : full ? " FULL" : " PARTIAL");
  if (full && partial)
    print_range(s, span->full_lo, span->full_hi);
}

/* Those from `first` on of what a search finds. */
static void
print_found(Str *s, const Region *r, int first, int n)
{
  for (int i = first; i < first + n; i++) {
    str_put(s, i > first ? ", " : "");
    print_idx(s, r->found[i]);
  }
}

static void
print_seek(Str *s, const Region *r)
{
  print_found(s, r, 0, r->n_found);
  str_put(s, " = first tiles from ");
  print_idx(s, r->span.hi);
  str_put(s, " down to ");
  print_idx(s, r->span.lo);
  str_printf(s, ", j%d EMPTY where ", r->id);
  print_idx(s, r->cond);
  str_put(s, ", PARTIAL where ");
  print_idx(s, r->is_partial);
  if (r->has_whole) {
    str_put(s, ", whole where ");
    print_idx(s, r->is_whole);
  }
  if (r->listed) {
    str_put(s, ", its tile ");
    print_idx(s, r->tile);
    str_put(s, ", or ");
    print_idx(s, r->none);
  }
  str_put(s, "\n");
}

/* Tiles of a walk with a test. */
static void
print_listed(Str *s, const Region *r)
{
  str_put(s, ", from ");
  print_found(s, r->seek, r->skip, r->ahead + 1);
  str_printf(s, " on, as j%d is found", r->seek->id);
}

static void
print_loop(Str *s, const Region *r, int depth)
{
  if (r->kind == OP_SEEK) {
    print_seek(s, r);
    return;
  }
  if (r->kind != OP_LOOP) {
    print_head(s, r);
    print_carries(s, r, false);
    print_carries(s, r, true);
    str_put(s, "\n");
    print_region(s, r, depth + 1);
    return;
  }
  str_printf(s, "for tiles j%d in ", r->id);
  print_span(s, &r->span);
  str_put(s, r->once ? ", once" : ", high to low");
  if (r->seek)
    print_listed(s, r);
  if (r->told) {
    str_put(s, ", as they are told: the first if ");
    print_idx(s, r->entered);
    str_put(s, ", another while ");
    print_idx(s, r->more);
  }
  print_carries(s, r, false);
  print_carries(s, r, true);
  str_put(s, "\n");
  print_region(s, r, depth + 1);
}

static void
print_op(Str *s, const Op *op, int depth)
{
  indent(s, depth);
  if (op->body) {
    print_loop(s, op->body, depth);
    return;
  }
  if (op->out) {
    print_val(s, op->out);
    str_put(s, " ");
  }
  str_put(s, op_names[op->kind]);
  for (int i = 0; i < 3; i++)
    if (op->in[i])
      str_printf(s, " %%%d", op->in[i]->id);
  if (op->left.mem)
    print_smem(s, &op->left);
  if (op->smem.mem)
    print_smem(s, &op->smem);
  print_attributes(s, op);
  str_put(s, "\n");
}

static void
print_region(Str *s, const Region *r, int depth)
{
  for (const Op *op = r->first; op; op = op->next)
    print_op(s, op, depth);
}

void
tile_print(const Program *p, Str *s)
{
  str_printf(s, "kernel %s  %s  %d warps  %d bytes shared\n", p->entry, p->target->name,
             p->warps, p->smem_bytes);
  for (int i = 0; i < p->smem.n; i++) {
    const SmemDecl *d = p->smem.at[i];
    str_printf(s, "  shared %s %s[%dx%d]", d->name, dtype_name(d->ty), d->rows, d->cols);
    if (d->stages > 1)
      str_printf(s, " x %d stages", d->stages);
    str_printf(s, " at %d, %d bytes\n", d->offset, d->bytes * d->stages);
  }
  const Node **used = NEW_N(s->arena, const Node *, p->idx.nodes.n + 1);
  use_region(p->top, used);
  print_names(s, p, used);
  print_region(s, p->top, 1);
}

void
tile_print_spans(const Program *p, const Walk *w, Str *s)
{
  const Node **used = NEW_N(s->arena, const Node *, p->idx.nodes.n + 1);
  use_span(&w->tiles, used);
  print_names(s, p, used);
  str_put(s, "tiles ");
  print_span(s, &w->tiles);
  str_printf(s, ", of %d keys, highest first%s\n", w->bn, w->even_k ? ", none ragged" : "");
}
