/* The leaves of a tile program's index expressions: parameters of the kernel, the place of
 * a block in the grid and of a team in its role, and what loops and votes define. */
#include "compiler/tile/tile_prog.h"

static Idx
leaf(Tb *t, const Node *n)
{
  return idx_share(&t->prog->idx, n);
}

Idx
i_cta(Tb *t, int axis)
{
  Node n = {.kind = NODE_CTA, .n = axis, .nonneg = true};
  return leaf(t, &n);
}

Idx
i_ctas(Tb *t, int axis)
{
  Node n = {.kind = NODE_CTAS, .n = axis, .nonneg = true};
  return leaf(t, &n);
}

Idx
i_team(Tb *t)
{
  const Role *r = tile_role(t);
  if (!r || r->teams == 1)
    return i_int(0);
  Node n = {.kind = NODE_TEAM, .n = r->first, .nonneg = true};
  return leaf(t, &n);
}

Idx
i_thread(Tb *t)
{
  Node n = {.kind = NODE_THREAD, .nonneg = true};
  if (tile_role(t))
    t_fail(t, "a thread of the block is counted in an entry without roles");
  return leaf(t, &n);
}

Idx
tile_any(Tb *t, int id)
{
  Node n = {.kind = NODE_ANY, .n = id, .nonneg = true, .depth = LATE};
  return leaf(t, &n);
}

Idx
tile_found(Tb *t, bool nonneg)
{
  Node n = {.kind = NODE_FOUND, .n = ++t->prog->n_found, .nonneg = nonneg, .depth = LATE};
  return leaf(t, &n);
}

Idx
tile_found_early(Tb *t, int depth)
{
  Node n = {.kind = NODE_FOUND, .n = ++t->prog->n_found, .nonneg = true, .depth = depth};
  return leaf(t, &n);
}

Idx
tile_loop_var(Tb *t, const Region *r)
{
  Node n = {.kind = NODE_LOOP, .n = r->id, .nonneg = true, .depth = r->id};
  return leaf(t, &n);
}

Idx
tile_visited(const Region *r)
{
  return r->visited;
}

Idx
tile_ahead(const Region *r, int by, TileFact what)
{
  Node n = {.kind = NODE_AHEAD, .a = i_int(by), .b = i_int(what), .n = r->id};
  n.depth = r->id;
  n.nonneg = what != TILE_NUMBER;
  return by || what ? idx_share(r->var.node->graph, &n) : r->var;
}

Idx
tile_param(Tb *t, ParamKind kind, int slot, int dim)
{
  Program *p = t->prog;
  for (int i = 0; i < p->params.n; i++) {
    const Param *have = &p->params.at[i];
    if (have->kind == kind && have->slot == slot && have->dim == dim)
      return (Idx){.node = have->node};
  }
  Node n = {.kind = NODE_PARAM, .n = p->params.n};
  n.nonneg = kind == PARAM_SIZE;
  n.wide = kind == PARAM_STRIDE || kind == PARAM_TENSOR || kind == PARAM_WORKSPACE;
  Idx x = leaf(t, &n);
  Param *q = vec_push(t->arena, &p->params);
  *q = (Param){
      .kind = kind, .slot = slot, .dim = dim, .node = x.node, .place = p->n_places++};
  return x;
}

Idx
tile_size(Tb *t, SizeId name)
{
  if (t->known[name] >= 0)
    return i_int(t->known[name]);
  return tile_param(t, PARAM_SIZE, (int)name, 0);
}

Idx
i_element(Tb *t, const Lookup *x, const Idx *index)
{
  Idx at = x->first, some = i_int(1);
  int64_t k;
  for (int i = 0; i < x->n_axes; i++) {
    Idx last = i_sub(x->length[i], 1), nearest = i_max(0, i_min(index[i], last));
    at = i_add(at, i_mul64(nearest, x->stride[i]));
    some = i_and(some, i_lt(0, x->length[i]));
  }
  if (i_known(some, &k) && !k)
    return i_int(0);
  Node n = {.kind = NODE_ELEMENT, .a = at, .c = some, .n = x->slot};
  n.b = tile_param(t, PARAM_TENSOR, x->slot, 0);
  n.depth = at.node ? at.node->depth : 0;
  return leaf(t, &n);
}

Idx
i_length(Tb *t, const Lookup *x, Idx index)
{
  if (x->n_axes != 1 || x->ty != DT_I32)
    t_fail(t, "%s is no list of lengths", x->name);
  Node n = {.kind = NODE_ELEMENT,
            .a = i_add(x->first, i_mul64(index, x->stride[0])),
            .c = i_int(1),
            .n = x->slot,
            .nonneg = true};
  n.b = tile_param(t, x->workspace ? PARAM_WORKSPACE : PARAM_TENSOR, x->slot, 0);
  n.depth = index.node ? index.node->depth : 0;
  return leaf(t, &n);
}

Idx
tile_sms(Tb *t, int multiple)
{
  Node n = {.kind = NODE_SMS, .n = multiple, .nonneg = true};
  return leaf(t, &n);
}

Idx
tile_stride(Tb *t, int slot, int dim)
{
  if (t->strides)
    return i_int(t->strides[slot].stride[dim]);
  return tile_param(t, PARAM_STRIDE, slot, dim);
}

void
tile_map(Tb *t, const View *v, int rows)
{
  if (v->x->workspace)
    t_fail(t, "%s: workspace has no tensor map", v->x->name);
  tile_param(t, PARAM_MAP, v->x->slot, map_dim(v, rows));
}

const Table *
t_table(Tb *t, const int32_t *at, int n)
{
  return idx_table(&t->prog->idx, at, n);
}

/* Of a table its axes have no names of their own. */
static void
put_stride(Str *s, const Param *p)
{
  static const char *const dims[] = {"b", "h", "s"};
  if (p->slot < ATTNC_SLOT_COUNT)
    str_printf(s, "%s.stride.%s", tensor_info[p->slot].name, dims[p->dim]);
  else
    str_printf(s, "tensor%d.stride.%d", p->slot, p->dim);
}

void
tile_leaf_print(Str *s, const Node *n)
{
  static const char *const facts[] = {"", " is PARTIAL", " is there", " is whole"};
  if (n->kind == NODE_CTA || n->kind == NODE_CTAS) {
    str_printf(s, n->kind == NODE_CTA ? "cta.%c" : "ctas.%c", "xyz"[n->n]);
    return;
  }
  if (n->kind == NODE_LOOP || n->kind == NODE_AHEAD) {
    str_printf(s, "j%d", n->n);
    if (n->kind == NODE_AHEAD)
      str_printf(s, "+%lld%s", (long long)n->a.k, facts[n->b.k]);
    return;
  }
  if (n->kind == NODE_ANY) {
    str_printf(s, "any%d", n->n);
    return;
  }
  if (n->kind == NODE_FOUND) {
    str_printf(s, "found%d", n->n);
    return;
  }
  if (n->kind == NODE_SMS) {
    str_printf(s, "sms/%d", n->n);
    return;
  }
  if (n->kind != NODE_PARAM) {
    str_put(s, n->kind == NODE_TEAM ? "team" : "thread");
    return;
  }
  const Tb *t = n->graph->owner;
  const Param *p = &t->prog->params.at[n->n];
  if (p->kind == PARAM_SIZE)
    str_put(s, size_names[p->slot]);
  else if (p->kind == PARAM_STRIDE)
    put_stride(s, p);
  else
    str_printf(s, "param%d", n->n);
}
