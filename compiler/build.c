/* The builder of a kernel: the call as host and entries see it, entries, steps. */
#include "compiler/kernel.h"

#include "compiler/spec/signature.h"
#include "compiler/tile/tile_prog.h"

#include <limits.h>

/* ---- the call's tensors, sizes and constants, as the words see them ---- */

_Static_assert((int)SPECIALIZE_STRIDES == SIZE_COUNT, "sizes have one order");

/* What the kernel knows when it is compiled; what the host evaluates is open. */
static void
specialise(Tb *t, const BuildArgs *a)
{
  const Signature *call = a->spec->call[a->op];
  for (int i = 0; i < SIZE_COUNT; i++)
    if (a->problem && spec_specializes(a->spec, (Specialize)i))
      t->known[i] = size_get(&a->problem->sizes, (SizeId)i);
  if (a->problem && spec_specializes(a->spec, SPECIALIZE_STRIDES))
    t->strides = a->problem->tensors;
  t->scalars = 0;
  for (int i = 0; i < call->n_scalars; i++) {
    const SignatureScalar *x = &call->scalars[i];
    t->scalars |= 1u << x->slot;
    if (x->constant)
      t->prog->scalar[x->slot] = x->initial;
  }
}

static Idx
axis(Tb *t, const CallAxis *a)
{
  if (a->n)
    return i_int(a->n);
  Idx size = tile_size(t, a->size);
  return a->by > 1 ? i_cdiv(size, a->by) : i_add(size, a->more);
}

/* Of a tensor of heads, rows and, unless a row has one element, its elements: is there a
 * batch before them, from axis `at` on? */
static int
batches(const CallTensor *c, int at)
{
  SizeId first = c->axes[at].size;
  return !c->axes[at].n && (first == SIZE_B || first == SIZE_BC || first == SIZE_PAGES);
}

static void
pack(Tb *t, const CallTensor *c, int batch, Tensor *x)
{
  Idx step = axis(t, &c->axes[batch + 1]);
  x->stride[2] = i_int(1);
  x->stride[1] = step;
  x->stride[0] = batch ? i_mul64(axis(t, &c->axes[1]), step) : i_int(0);
}

/* That of the last axis is 1, of rows of one element too. */
static Idx
row_stride(Tb *t, const CallTensor *c, int axis)
{
  return axis == c->n_axes - 1 ? i_int(1) : tile_stride(t, c->slot, axis);
}

static const Tensor *
tensor(Tb *t, const CallTensor *c)
{
  Tensor *x = NEW(t->arena, Tensor);
  int parts = c->axes[0].size == SIZE_PARTS, batch = batches(c, parts),
      rows = parts + batch + 1;
  *x = (Tensor){.name = c->name,
                .slot = c->slot,
                .ty = c->dtype,
                .no_batch = !batch,
                .cols = c->n_axes > rows + 1 ? (int)c->axes[rows + 1].n : 1,
                .rows = axis(t, &c->axes[rows])};
  tile_param(t, PARAM_TENSOR, c->slot, 0);
  if (c->contiguous)
    pack(t, c, batch, x);
  for (int i = parts; !c->contiguous && i <= rows; i++)
    x->stride[2 - rows + i] = row_stride(t, c, i);
  if (parts)
    x->each = tile_stride(t, c->slot, 0);
  return x;
}

static Lookup
lookup(Tb *t, const CallTensor *c)
{
  Lookup x = {.name = c->name, .slot = c->slot, .ty = c->dtype, .n_axes = c->n_axes};
  tile_param(t, PARAM_TENSOR, c->slot, 0);
  for (int i = 0; i < c->n_axes; i++) {
    bool last = i == c->n_axes - 1;
    x.length[i] = axis(t, &c->axes[i]);
    x.stride[i] = last ? i_int(1) : tile_stride(t, c->slot, i);
  }
  return x;
}

static const Lookup *
lookups(Tb *t, const Spec *s, const Signature *call)
{
  Lookup *all = NEW_N(t->arena, Lookup, s->tables.n + 1);
  for (int i = 0; i < s->tables.n; i++)
    for (int j = 0; j < call->n_tensors; j++)
      if (call->tensors[j].slot == s->tables.at[i].slot && spec_reads_table(s, i))
        all[i] = lookup(t, &call->tensors[j]);
  return all;
}

/* What is no list that is read element by element. */
static bool
has_heads(const CallTensor *c)
{
  bool has = false;
  for (int i = 0; i < c->n_axes; i++)
    has =
        has || (!c->axes[i].n && (c->axes[i].size == SIZE_H || c->axes[i].size == SIZE_HK));
  return has;
}

/* Which of spec->grads has its gradient in the slot; -1: none. */
static int
gradient_of(const Spec *s, int slot)
{
  for (int i = 0; i < s->grads.n; i++)
    if (s->grads.at[i].slot == slot)
      return i;
  return -1;
}

static const Lookup *
gradients(Tb *t, const Spec *s, const Signature *call)
{
  Lookup *all = NEW_N(t->arena, Lookup, s->grads.n + 1);
  for (int i = 0; i < call->n_tensors; i++)
    if (gradient_of(s, call->tensors[i].slot) >= 0)
      all[gradient_of(s, call->tensors[i].slot)] = lookup(t, &call->tensors[i]);
  return all;
}

static void
add_tensor(Tb *t, const CallTensor *x, Call *c)
{
  if (x->table || gradient_of(c->spec, x->slot) >= 0)
    return;
  if (has_heads(x) && x->slot != ATTNC_KEEP) { /* that has an element for each key */
    c->at[x->slot] = tensor(t, x);
    return;
  }
  Lookup *list = NEW(t->arena, Lookup);
  *list = lookup(t, x);
  c->lengths[x->slot] = list;
}

/* That of a slot among the tables. */
static Lookup
table_of(const Spec *s, const Lookup *tables, int slot)
{
  int i = 0;
  while (s->tables.at[i].slot != slot)
    i++;
  return tables[i];
}

/* NULL: the call has none. */
static const BlockLists *
block_lists(Tb *t, const Spec *s, const Lookup *tables)
{
  static const int n[] = {ATTNC_FULL_KV_NUM_BLOCKS, ATTNC_KV_NUM_BLOCKS};
  static const int at[] = {ATTNC_FULL_KV_INDICES, ATTNC_KV_INDICES};
  if (!spec_has_lists(s))
    return NULL;
  BlockLists *l = NEW(t->arena, BlockLists);
  l->rows = s->block_list.rows[0];
  l->keys = s->block_list.rows[1];
  for (int i = 0; i < LIST_KINDS; i++) {
    l->n[i] = table_of(s, tables, n[i]);
    l->at[i] = table_of(s, tables, at[i]);
  }
  return l;
}

static Call *
call_of(Tb *t, const BuildArgs *a, const Call *host)
{
  const Spec *s = a->spec;
  const Signature *call = s->call[a->op];
  Call *c = NEW(t->arena, Call);
  *c = (Call){.host = host ? host : c,
              .tb = t,
              .spec = s,
              .d = s->head_dim,
              .dv = s->head_dim_v,
              .dt = s->dtype[ATTNC_Q]};
  c->h = tile_size(t, SIZE_H);
  c->hk = tile_size(t, SIZE_HK);
  c->sq = tile_size(t, SIZE_SQ);
  c->sk = tile_size(t, SIZE_SK);
  for (int i = 0; i < call->n_tensors; i++)
    add_tensor(t, &call->tensors[i], c);
  c->tables = lookups(t, s, call);
  c->gradients = gradients(t, s, call);
  c->q = c->at[ATTNC_Q];
  c->k = c->at[ATTNC_K];
  c->v = c->at[ATTNC_V];
  c->o = c->at[ATTNC_O];
  c->lse = c->at[ATTNC_LSE];
  c->mods =
      (Mods){.spec = s, .near = s->dtype[ATTNC_V] == DT_F32, .sq = c->sq, .sk = c->sk};
  c->mods.tables = c->tables;
  c->mask = (Mask){.band = spec_band(s),
                   .sq = c->sq,
                   .sk = c->sk,
                   .mods = s->mask_mod.n ? &c->mods : NULL,
                   .aligned = s->dropout,
                   .lists = block_lists(t, s, c->tables)};
  c->end = mask_of_end(&c->mask);
  return c;
}

Idx
call_size(const Call *c, SizeId size)
{
  return c->set >> size & 1u ? c->size[size] : tile_size(c->tb, size);
}

void
call_set_size(Call *c, SizeId size, Idx x)
{
  c->set |= 1u << size;
  c->size[size] = x;
}

Idx
i_sms(const Call *host, int multiple)
{
  return tile_sms(host->tb, multiple);
}

Idx
i_aside(Idx one, Idx other)
{
  return idx_of_host(NODE_ASIDE, one, other);
}

Idx
i_along(Idx one, Idx other)
{
  return idx_of_host(NODE_ALONG, one, other);
}

Idx
i_quotient_(Idx a, Idx b)
{
  return idx_of_host(NODE_QUOTIENT, a, b);
}

Idx
i_or_else(Idx size, Idx other)
{
  return i_select(i_lt(0, size), size, other);
}

/* ---- the kernel ---- */

Build *
build_new(const BuildArgs *a)
{
  Build *b = NEW(a->arena, Build);
  b->args = *a;
  b->host = tile_new(a->arena, a->fail, a->err, a->target, 0);
  b->host->build = b;
  b->call = call_of(b->host, a, NULL);
  return b;
}

static void
change(Tb *t, Call *c, const OtherCall *other)
{
  if (!other || !other->change)
    return;
  change(t, c, other->inside);
  other->change(t, c, other->user);
}

const OtherCall *
b_call_now(const Build *b)
{
  return &b->other;
}

const Call *
b_other_call(Build *b, const OtherCall *other)
{
  b->other = *other;
  b->other_host = b->call;
  if (other->change) {
    Call *c = call_of(b->host, &b->args, NULL);
    change(b->host, c, other);
    b->other_host = c;
  }
  return b->other_host;
}

static const char *
symbol(const Build *b, const char *name)
{
  const BuildArgs *a = &b->args;
  const char *call = b->other.change ? b->other.name : NULL;
  if (call)
    name = arena_printf(a->arena, "%s_%s", call, name);
  return name ? arena_printf(a->arena, "attnc_%s_%s_%s", a->name, name, a->target->name)
              : arena_printf(a->arena, "attnc_%s_%s", a->name, a->target->name);
}

Tb *
b_entry_begin(Build *b, const char *name, const EntryArgs *e)
{
  const BuildArgs *a = &b->args;
  if (!name && (b->kernel.entries.n || b->other.change)) /* it is not alone */
    name = "forward";
  Tb *t = tile_new(a->arena, a->fail, a->err, a->target, e->warps);
  t->build = b;
  t->prog->entry = symbol(b, name);
  t->prog->cluster = e->cluster > 1 ? e->cluster : 1;
  t->prog->by_keys = e->warps_k > 1;
  t->prog->warps_n = e->warps_k ? e->warps_k : e->warps_n ? e->warps_n : 1;
  t->prog->dependent = e->dependent && a->target->dependent;
  specialise(t, a);
  if (b->open)
    t_fail(t, "%s is opened inside %s", t->prog->entry, b->open->prog->entry);
  for (int i = 0; i < b->kernel.entries.n; i++)
    if (str_eq(b->kernel.entries.at[i]->prog->entry, t->prog->entry))
      t_fail(t, "%s is opened twice", t->prog->entry);
  b->open = t;
  b->several = name != NULL;
  *vec_push(a->arena, &b->kernel.entries) = t;
  return t;
}

Tb *
b_entry_end(Tb *t)
{
  Build *b = t->build;
  KernelStep *s = vec_push(t->arena, &b->kernel.steps);
  *s = (KernelStep){.launch = t->prog};
  tile_plan(t);
  tile_verify(t);
  if (b->several)
    tile_drop_params(t);
  if (!t->prog->has_grid)
    t_fail(t, "%s has no grid", t->prog->entry);
  if (t->prog->dependent && !t->prog->waits)
    t_fail(t, "%s is dependent and never waits", t->prog->entry);
  b->open = NULL;
  return NULL;
}

const Call *
t_call(Tb *t)
{
  if (!t->call) {
    Build *b = t->build;
    Call *c = call_of(t, &b->args, b->other.change ? b->other_host : b->call);
    if (b->turned)
      c->q = c->at[ATTNC_Q] = t_region(t, b->turned);
    change(t, c, &b->other);
    t->call = c;
  }
  return t->call;
}

static void
set_grid(Tb *t, const Idx axes[3], Idx *grid, bool *has)
{
  if (*has)
    t_fail(t, "%s has two grids", t->prog->entry);
  for (int i = 0; i < 3; i++) {
    if (axes[i].node && t->build && axes[i].node->graph != &t->build->host->prog->idx)
      t_fail(t, "a grid of %s is no expression of the host", t->prog->entry);
    if (!axes[i].node && (axes[i].k < 1 || axes[i].k > INT_MAX))
      t_fail(t, "%s: %lld blocks along %c", t->prog->entry, (long long)axes[i].k, "xyz"[i]);
    grid[i] = axes[i];
  }
  *has = true;
}

void
t_resident(Tb *t, int blocks)
{
  t->prog->resident = blocks;
}

void
t_grid_(Tb *t, Idx x, Idx y, Idx z)
{
  const Idx axes[3] = {x, y, z};
  set_grid(t, axes, t->prog->grid, &t->prog->has_grid);
}

void
t_grid_without_workspace_(Tb *t, Idx x, Idx y, Idx z)
{
  const Idx axes[3] = {x, y, z};
  set_grid(t, axes, t->prog->grid_without_workspace, &t->prog->has_grid_without_workspace);
}

/* ---- workspace ---- */

/* Multiprocessors are the device's; i_aside and i_along fall where the other size grows,
 * i_quotient where the divisor does. */
static bool
grows(Idx x)
{
  if (!x.node || x.node->kind == NODE_SMS || x.node->kind == NODE_PARAM)
    return true;
  switch (x.node->kind) {
  case NODE_ADD:
  case NODE_MUL:
  case NODE_MIN:
    return grows(x.node->a) && grows(x.node->b);
  case NODE_DIV:
    return grows(x.node->a) && !x.node->b.node;
  case NODE_SELECT: /* i_or_else, which a caller who chooses does not change */
    return grows(x.node->b);
  default:
    return false;
  }
}

static void
check_axis(const Build *b, const RegionArgs *a, Idx axis)
{
  if (axis.node && axis.node->graph != &b->host->prog->idx)
    t_fail(b->host, "region %s: an axis is no expression of the host", a->name);
  if (!grows(axis) || (!axis.node && axis.k < 1))
    t_fail(b->host, "region %s: an axis does not grow with the sizes of the call", a->name);
}

static void
check_zero(const Build *b, const RegionArgs *a)
{
  int ahead = b->kernel.regions.n;
  if (!a->zero)
    return;
  if (a->b.node || a->h.node || a->rows.node)
    t_fail(b->host, "region %s is zero and its size depends on the call's", a->name);
  if (ahead && !b->kernel.regions.at[ahead - 1]->args.zero)
    t_fail(b->host, "region %s is zero and stands behind one that is not", a->name);
}

static Idx
or_one(Idx x)
{
  return !x.node && x.k == 0 ? i_int(1) : x;
}

const WorkRegion *
b_region_(Build *b, const RegionArgs *a)
{
  WorkRegion *r = NEW(b->args.arena, WorkRegion);
  *r = (WorkRegion){.args = *a, .number = b->kernel.regions.n};
  r->args.b = or_one(a->b);
  r->args.h = or_one(a->h);
  r->args.rows = or_one(a->rows);
  if (a->cols < 1)
    t_fail(b->host, "region %s has %d columns", a->name, a->cols);
  check_zero(b, &r->args);
  check_axis(b, a, r->args.b);
  check_axis(b, a, r->args.h);
  check_axis(b, a, r->args.rows);
  Idx rows = i_mul(i_mul(r->args.b, r->args.h), r->args.rows);
  r->bytes = i_mul(rows, a->cols * dtype_bytes(a->ty));
  *vec_push(b->args.arena, &b->kernel.regions) = r;
  return r;
}

void
b_turned(Build *b, const WorkRegion *q)
{
  b->turned = q;
}

void
b_memset(Build *b, const WorkRegion *r, int byte)
{
  if (b->open)
    t_fail(b->open, "a memset inside %s", b->open->prog->entry);
  KernelStep *s = vec_push(b->args.arena, &b->kernel.steps);
  *s = (KernelStep){.region = r, .byte = byte};
}

/* The same expression in the entry's own sizes. */
static Idx
in_entry(Tb *t, Idx x)
{
  if (!x.node)
    return x;
  const Node *n = x.node;
  if (n->kind == NODE_PARAM) {
    const Param *p = &t->build->host->prog->params.at[n->n];
    if (p->kind != PARAM_SIZE)
      t_fail(t, "a row of workspace is counted in what is no size");
    return tile_size(t, (SizeId)p->slot);
  }
  Idx a = in_entry(t, n->a), b = in_entry(t, n->b);
  switch (n->kind) {
  case NODE_ADD:
    return i_add(a, b);
  case NODE_MUL:
    return i_mul(a, b);
  case NODE_DIV:
    return i_div(a, b);
  case NODE_MIN:
    return i_min(a, b);
  case NODE_SELECT:
    return i_or_else(a, b);
  default:
    t_fail(t, "a row of workspace is counted in what an entry does not have");
  }
}

const Tensor *
t_region(Tb *t, const WorkRegion *r)
{
  const RegionArgs *a = &r->args;
  Tensor *x = NEW(t->arena, Tensor);
  Idx rows = in_entry(t, a->rows), h = in_entry(t, a->h);
  tile_param(t, PARAM_WORKSPACE, r->number, 0);
  *x = (Tensor){.name = a->name,
                .slot = r->number,
                .workspace = true,
                .ty = a->ty,
                .cols = a->cols,
                .rows = rows};
  x->stride[2] = i_int(a->cols);
  x->stride[1] = i_mul64(rows, a->cols);
  x->stride[0] = i_mul64(h, x->stride[1]);
  return x;
}

const Lookup *
t_region_words(Tb *t, const WorkRegion *r, int col)
{
  Lookup *x = NEW(t->arena, Lookup);
  if (r->args.ty != DT_I32 || col < 0 || col >= r->args.cols)
    t_fail(t, "region %s has no column %d of i32", r->args.name, col);
  tile_param(t, PARAM_WORKSPACE, r->number, 0);
  *x = (Lookup){.name = r->args.name,
                .slot = r->number,
                .workspace = true,
                .ty = DT_I32,
                .n_axes = 1,
                .first = i_int(col)};
  x->stride[0] = i_int(r->args.cols);
  return x;
}

Idx
t_ticket_(Tb *t, const WorkRegion *r, Idx n)
{
  if (!r->args.zero || r->bytes.node || r->bytes.k != 4)
    t_fail(t, "ticket: %s is no counter of four bytes that are zero", r->args.name);
  if (!tile_in(t, OP_WARP))
    t_fail(t, "ticket: one lane draws");
  if (t->prog->dependent && !t->prog->waits)
    t_fail(t,
           "ticket: the launch ahead may still be drawing, and nobody has waited for it");
  Op *op = tile_op(t, OP_TICKET);
  op->view = v_rows(t_region(t, r), i_int(0), i_int(0), i_int(0), 1);
  op->bound = n;
  op->found = tile_found(t, true);
  return op->found;
}

static bool
has_workspace(const Program *p)
{
  for (int i = 0; i < p->params.n; i++)
    if (p->params.at[i].kind == PARAM_WORKSPACE && p->params.at[i].place >= 0)
      return true;
  return false;
}

/* A launch without workspace has a grid for each entry that is given some, and fills none.
 */
static void
check_grids(const Build *b)
{
  int with = 0, without = 0;
  for (int i = 0; i < b->kernel.steps.n; i++) {
    const Program *p = b->kernel.steps.at[i].launch;
    with += !p || (has_workspace(p) && !p->has_grid_without_workspace);
    without += p && p->has_grid_without_workspace;
  }
  if (with && without)
    t_fail(b->host, "%d steps need workspace, and %d have a grid without", with, without);
}

const Kernel *
build_kernel(Build *b)
{
  if (b->open)
    t_fail(b->open, "%s was left open", b->open->prog->entry);
  if (!b->kernel.entries.n)
    t_fail(b->host, "a kernel without an entry");
  if (b->kernel.steps.n > CALL_STEPS || b->kernel.regions.n > CALL_REGIONS)
    t_fail(b->host, "%d steps and %d regions, a recipe has %d and %d", b->kernel.steps.n,
           b->kernel.regions.n, CALL_STEPS, CALL_REGIONS);
  check_grids(b);
  return &b->kernel;
}
