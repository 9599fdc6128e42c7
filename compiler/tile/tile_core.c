/* The builder: where operations, values and variables are made. */
#include "compiler/tile/tile_prog.h"

#include "base/err.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

const char *const op_names[OP_COUNT] = {
#define X(id, text) text,
    OP_TABLE(X)
#undef X
};

static void
graph_fault(void *owner, const char *what)
{
  t_fail(owner, "%s", what);
}

Tb *
tile_new(Arena *arena, jmp_buf *fail, attnc_error *err, const Target *target, int warps)
{
  Tb *t = NEW(arena, Tb);
  t->arena = arena;
  t->fail = fail;
  t->err = err;
  t->prog = NEW(arena, Program);
  t->prog->idx = (IdxGraph){.arena = arena, .owner = t, .fail = graph_fault};
  t->prog->target = target;
  t->prog->warps = warps;
  t->prog->warps_n = 1;
  t->prog->top = NEW(arena, Region);
  t->prog->bars = 1;
  for (int i = 0; i < CALL_SCALARS; i++)
    t->prog->scalar[i] = NAN;
  t->scalars = ~0u; /* who builds by hand has them all */
  for (int i = 0; i < SIZE_COUNT; i++)
    t->known[i] = -1;
  t->here = t->prog->top;
  return t;
}

void
t_fail(Tb *t, const char *fmt, ...)
{
  char text[400];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  err_set(t->err, ATTNC_ERR_INTERNAL, "tile program: %s", text);
  longjmp(*t->fail, 2);
}

Op *
tile_op(Tb *t, OpKind kind)
{
  Op *op = NEW(t->arena, Op);
  op->kind = kind;
  if (t->here->last)
    t->here->last->next = op;
  else
    t->here->first = op;
  t->here->last = op;
  return op;
}

Val *
tile_val(Tb *t, int rows, int cols, Dtype ty, Lay lay)
{
  Val *v = NEW(t->arena, Val);
  v->id = ++t->prog->n_vals;
  v->rows = rows;
  v->cols = cols;
  v->ty = ty;
  v->lay = lay;
  v->warps = tile_warps(t) / tile_warps_n(t);
  v->warps_n = lay == LAY_FRAG && !t->prog->by_keys ? tile_warps_n(t) : 1;
  v->home = t->here;
  return v;
}

const Target *
t_target(const Tb *t)
{
  return t->prog->target;
}

Arena *
t_arena(const Tb *t)
{
  return t->arena;
}

const Role *
tile_role(const Tb *t)
{
  return t->here->role;
}

int
tile_warps(const Tb *t)
{
  return t->here->role ? t->here->role->warps : t->prog->warps;
}

int
tile_warps_n(const Tb *t)
{
  return t->here->role ? 1 : t->prog->warps_n;
}

const ProductInfo *
tile_product(const Tb *t)
{
  return target_product(t->prog->target, tile_role(t) != NULL);
}

bool
tile_in(const Tb *t, OpKind kind)
{
  for (const Region *r = t->here; r; r = r->parent)
    if (r->kind == kind && r->parent)
      return true;
  return false;
}

View
v_rows(const Tensor *x, Idx b, Idx h, Idx row, int n)
{
  View v = {.x = x, .b = b, .h = h, .row = row, .n = n};
  int64_t rows;
  bool none = i_known(x->rows, &rows) && rows == 0;
  v.in_bounds = !none && i_multiple(x->rows, n) && i_multiple(row, n);
  return v;
}

View
v_in_bounds(View v)
{
  v.in_bounds = true;
  v.cut = false;
  return v;
}

View
v_predicated(View v)
{
  v.in_bounds = false;
  return v;
}

View
v_until(View v, Idx end)
{
  v.cut = true;
  v.end = end;
  v.in_bounds = false;
  return v;
}

View
v_nth(View v, Idx i)
{
  v.nth = i;
  return v;
}

View
v_paged(View v, const Lookup *table, Idx b, Idx page_size)
{
  v.pages = table;
  v.table_row = b;
  v.page_size = page_size;
  return v;
}

View
v_page_ids(View v, Tile ids)
{
  v.ids = ids;
  return v;
}

View
v_uncut(View v)
{
  v.cut = false;
  return v;
}

View
v_from(View v, Idx origin)
{
  v.origin = origin;
  v.in_bounds = false;
  return v;
}

View
v_cols(View v, Idx col, bool aligned)
{
  v.part = true;
  v.aligned = aligned;
  v.col = col;
  return v;
}

View
v_cols_until(View v, Idx behind)
{
  v.ragged = true;
  v.behind = behind;
  return v;
}

View
v_pack(View v, int group)
{
  v.pack = group;
  v.in_bounds = false;
  return v;
}

Smem
s_rows(Smem s, Idx row, int n)
{
  s.row = i_add(s.row, row);
  s.rows = n;
  return s;
}

Smem
s_panel(Smem s, Idx panel, int cols)
{
  s.panel = i_add(s.panel, panel);
  s.cols = cols;
  return s;
}

Smem
s_trans(Smem s)
{
  s.trans = !s.trans;
  return s;
}

Smem
s_cols(Smem s, int cols)
{
  s.cols = cols;
  return s;
}

static int
panels(Dtype ty, int cols)
{
  int width = dtype_in(ty, PANEL_BYTES);
  return round_up(cols, width) / width;
}

int
s_bytes(Dtype ty, int rows, int cols)
{
  if (cols == 1)
    return round_up(rows * dtype_bytes(ty), PANEL_BYTES);
  return round_up(panels(ty, cols) * rows * PANEL_BYTES, 1024);
}

static void
declare(Tb *t, SmemDecl *d, const char *name, Dtype ty, int rows, int cols)
{
  if (rows % 8)
    t_fail(t, "%s: %d rows are not a multiple of 8", name, rows);
  d->name = name;
  d->ty = ty;
  d->rows = rows;
  d->cols = cols;
  d->panels = panels(ty, cols);
  d->stages = 1;
  d->bytes = s_bytes(ty, rows, cols);
  d->id = t->prog->smem.n + 1;
  *vec_push(t->arena, &t->prog->smem) = d;
}

static Smem
box(Tb *t, const SmemDecl *over, const char *name, Dtype ty, int rows, int cols)
{
  SmemDecl *d = NEW(t->arena, SmemDecl);
  declare(t, d, name, ty, rows, cols);
  d->over = over;
  return (Smem){.mem = d, .rows = rows, .cols = cols};
}

Smem
t_smem(Tb *t, const char *name, Dtype ty, int rows, int cols)
{
  return box(t, NULL, name, ty, rows, cols);
}

Smem
t_smem_over(Tb *t, const Ring *first, const char *name, Dtype ty, int rows, int cols)
{
  return box(t, &first->mem, name, ty, rows, cols);
}

enum {
  MBARRIERS = 16, /* bytes of a stage's two, where they guard it: full and empty */
  WORD = 8        /* of its word, with what keeps mbarriers aligned */
};

int
ring_bytes(const RingArgs *a)
{
  int box = s_bytes(a->ty, a->rows, a->cols);
  int barriers = fill_is_guarded(a->fill) ? MBARRIERS : 0, word = a->word ? WORD : 0;
  return a->stages * (box + barriers + word);
}

Ring *
t_ring_(Tb *t, const RingArgs *a)
{
  Ring *r = NEW(t->arena, Ring);
  if (a->stages < 1)
    t_fail(t, "ring %s: %d stages", a->name, a->stages);
  /* What is on its way is in registers then, which one stage of a ring has. */
  if (a->fill == FILL_COPY && a->stages > 1 && !t->prog->target->cp_async)
    t_fail(t, "ring %s: %d stages, %s has no cp.async", a->name, a->stages,
           t->prog->target->name);
  declare(t, &r->mem, a->name, a->ty, a->rows, a->cols);
  r->mem.stages = a->stages;
  r->fill = a->fill;
  r->consumers = a->consumers;
  r->cluster = a->cluster;
  r->word = a->word;
  if (fill_is_guarded(a->fill) &&
      (a->consumers < 1 || a->rows / (a->cluster ? a->cluster : 1) > 256))
    t_fail(t, "ring %s: %d consumers, boxes of %d rows", a->name, a->consumers, a->rows);
  if (a->word && (a->fill != FILL_TMA || a->cluster > 1))
    t_fail(t, "ring %s: words go with stages of one block that TMA fills", a->name);
  r->id = t->prog->rings.n + 1;
  *vec_push(t->arena, &t->prog->rings) = r;
  return r;
}

/* Panels begin at multiples of what their swizzle repeats after; what lies in one piece is
 * behind them. */
static int
place_boxes(Tb *t, bool columns, int at)
{
  for (int i = 0; i < t->prog->smem.n; i++) {
    SmemDecl *d = t->prog->smem.at[i];
    if (d->over || smem_is_column(d) != columns)
      continue;
    d->offset = at;
    at += d->bytes * d->stages;
  }
  return at;
}

/* Boxes over others end where they do, or behind all that there is. */
static int
place_over(Tb *t, int at)
{
  for (int i = 0; i < t->prog->smem.n; i++) {
    SmemDecl *d = t->prog->smem.at[i];
    if (!d->over)
      continue;
    d->offset = d->over->offset;
    at = d->offset + d->bytes > at ? d->offset + d->bytes : at;
  }
  return at;
}

void
tile_plan(Tb *t)
{
  int at = place_boxes(t, false, 0);
  at = place_over(t, place_boxes(t, true, at));
  for (int i = 0; i < t->prog->rings.n; i++) {
    Ring *r = t->prog->rings.at[i];
    if (!fill_is_guarded(r->fill))
      continue;
    r->full_at = at;
    r->empty_at = at + MBARRIERS / 2 * r->mem.stages;
    at += MBARRIERS * r->mem.stages;
    r->word_at = at;
    at += r->word ? WORD * r->mem.stages : 0;
  }
  t->prog->smem_bytes = at;
}
