/* The emitting words: each checks its operands and appends one operation. */
#include "compiler/tile/tile_prog.h"

#include <math.h>

/* ---- checks that every word shares ---- */

static void
stands_here(Tb *t, Tile x)
{
  if (x->in_flight)
    t_fail(t, "%%%d is in flight: it must be waited for", x->id);
  for (const Region *r = t->here; r; r = r->parent)
    if (r == x->home)
      return;
  t_fail(t, "%%%d is used outside the loop that made it: it must be a variable", x->id);
}

static void
reachable(Tb *t, Tile x)
{
  if (x->unset)
    t_fail(t, "%%%d has no value yet", x->id);
  stands_here(t, x);
}

void
tile_reachable(Tb *t, Tile x)
{
  reachable(t, x);
}

static Op *
emit1(Tb *t, OpKind kind, Tile a)
{
  reachable(t, a);
  Op *op = tile_op(t, kind);
  op->in[0] = a;
  return op;
}

static Tile
result(Tb *t, Op *op, int rows, int cols, Dtype ty, Lay lay)
{
  t->last = tile_val(t, rows, cols, ty, lay);
  op->out = t->last;
  return op->out;
}

/* The same elements of it, of another value. */
static Tile
like(Tb *t, Op *op, Tile x, Dtype ty)
{
  Tile y = result(t, op, x->rows, x->cols, ty, x->lay);
  t->last->warps_n = x->warps_n;
  t->last->narrow = x->narrow;
  return y;
}

static void
need_fp32(Tb *t, Tile x, const char *word)
{
  if (x->ty != DT_F32)
    t_fail(t, "%s takes fp32, %%%d is %s", word, x->id, dtype_name(x->ty));
}

/* ---- constants, variables ---- */

static Tile
constant(Tb *t, int rows, int cols, double k, Lay lay)
{
  Op *op = tile_op(t, OP_CONST);
  op->k = k;
  return result(t, op, rows, cols, DT_F32, lay);
}

Tile
t_zero(Tb *t, int rows, int cols)
{
  if (rows % (16 * (tile_warps(t) / tile_warps_n(t))))
    t_fail(t, "%d rows are not a multiple of 16 a warp", rows);
  return constant(t, rows, cols, 0, LAY_FRAG);
}

Tile
t_unset(Tb *t, int rows, int cols)
{
  if (rows % (16 * tile_warps(t)))
    t_fail(t, "%d rows are not a multiple of 16 a warp", rows);
  Op *op = tile_op(t, OP_UNSET);
  Val *v = tile_val(t, rows, cols, DT_F32, LAY_FRAG);
  v->unset = true;
  op->out = v;
  return v;
}

Tile
t_zero_lanes(Tb *t, int rows, int cols)
{
  if (rows != t->prog->warps || cols > LANE_COLS_MOST)
    t_fail(t, "a lane tile has a row a warp and up to %d columns", LANE_COLS_MOST);
  return constant(t, rows, cols, 0, LAY_WARP_ROW);
}

Tile
t_rows(Tb *t, int rows, double k)
{
  return constant(t, rows, 1, k, LAY_ROW);
}

Tile
t_thread_sums(Tb *t, int rows)
{
  Op *op = tile_op(t, OP_CONST);
  Val *v = tile_val(t, rows, 1, DT_F32, LAY_ROW);
  v->per_thread = rows != tile_warps(t);
  op->out = v;
  return v;
}

Tile
t_const(Tb *t, double k)
{
  return constant(t, 1, 1, k, LAY_SCALAR);
}

bool
t_has_scalar(const Tb *t, int slot)
{
  return t->scalars >> slot & 1u;
}

Tile
t_scalar(Tb *t, int slot, double k)
{
  if (!t_has_scalar(t, slot))
    t_fail(t, "the call has no %s",
           slot < ATTNC_SCALAR_COUNT ? scalar_info[slot].name : "such number");
  if (!isnan(t->prog->scalar[slot]))
    return constant(t, 1, 1, t->prog->scalar[slot] * k, LAY_SCALAR);
  tile_param(t, PARAM_SCALAR, slot, 0);
  Op *op = tile_op(t, OP_SCALAR);
  op->slot = slot;
  op->k = k;
  return result(t, op, 1, 1, DT_F32, LAY_SCALAR);
}

Tile *
t_var(Tb *t, Tile x)
{
  if (!x->in_flight)
    stands_here(t, x);
  Var *v = NEW(t->arena, Var);
  v->now = x;
  v->home = t->here;
  v->id = t->vars.n + 1;
  *vec_push(t->arena, &t->vars) = v;
  return &v->now;
}

/* ---- elementwise ---- */

/* The operand whose shape the result has: the others are broadcast to it. */
static Tile
widest(Tb *t, Tile a, Tile b)
{
  static const int rank[] = {
      [LAY_FRAG] = 3, [LAY_WARP_ROW] = 3, [LAY_ROW] = 2, [LAY_COL] = 2, [LAY_SCALAR] = 1};
  Tile w = rank[a->lay] >= rank[b->lay] ? a : b;
  Tile o = w == a ? b : a;
  bool column = o->lay == LAY_COL;
  bool fits_rows = o->lay == LAY_SCALAR || column || o->rows == w->rows;
  bool fits_cols =
      (o->lay != w->lay && !column) || (o->cols == w->cols && o->warps_n == w->warps_n);
  bool alike = rank[a->lay] != rank[b->lay] || a->lay == b->lay;
  if (!fits_rows || !fits_cols || !alike || (column && w->lay == LAY_WARP_ROW))
    t_fail(t, "%%%d and %%%d have different shapes", a->id, b->id);
  return w;
}

static Tile
elementwise(Tb *t, OpKind kind, int n, const Tile *in)
{
  Tile w = in[0];
  for (int i = 0; i < n; i++) {
    reachable(t, in[i]);
    need_fp32(t, in[i], op_names[kind]);
    w = widest(t, w, in[i]);
  }
  Op *op = tile_op(t, kind);
  for (int i = 0; i < n; i++)
    op->in[i] = in[i];
  Val *v = tile_val(t, w->rows, w->cols, DT_F32, w->lay);
  v->warps_n = w->warps_n;
  v->narrow = w->narrow;
  for (int i = 0; i < n; i++) {
    v->per_thread = v->per_thread || in[i]->per_thread;
    v->same = in[i]->lay == LAY_WARP_ROW && in[i]->same && (i == 0 || v->same);
  }
  op->out = v;
  return v;
}

#define WORD1(name, kind)                                                                  \
  Tile name(Tb *t, Tile a)                                                                 \
  {                                                                                        \
    return elementwise(t, kind, 1, (Tile[]){a});                                           \
  }
#define WORD2(name, kind)                                                                  \
  Tile name(Tb *t, Tile a, Tile b)                                                         \
  {                                                                                        \
    return elementwise(t, kind, 2, (Tile[]){a, b});                                        \
  }
#define WORD3(name, kind)                                                                  \
  Tile name(Tb *t, Tile a, Tile b, Tile c)                                                 \
  {                                                                                        \
    return elementwise(t, kind, 3, (Tile[]){a, b, c});                                     \
  }
WORD2(t_add, OP_ADD)
WORD2(t_sub, OP_SUB)
WORD2(t_mul, OP_MUL)
WORD2(t_max, OP_MAX)
WORD2(t_min, OP_MIN)
WORD3(t_fma, OP_FMA)
WORD3(t_fms, OP_FMS)
WORD1(t_exp2, OP_EXP2)
WORD1(t_exp2_near, OP_EXP2_NEAR)
WORD1(t_log2, OP_LOG2)
WORD1(t_rcp, OP_RCP)
WORD2(t_select_nonzero, OP_SELECT_NONZERO)

Tile
t_residual(Tb *t, Tile a, Dtype ty)
{
  if (ty != DT_F16 && ty != DT_BF16)
    t_fail(t, "residual: of %s", dtype_name(ty));
  Tile x = elementwise(t, OP_RESIDUAL, 1, (Tile[]){a});
  t->here->last->narrow = ty;
  return x;
}

Tile
t_exp2_mixed(Tb *t, Tile a, int poly)
{
  Tile x = t_exp2(t, a);
  if (poly < 0 || poly > 16)
    t_fail(t, "exp2: %d of 16 by polynomial", poly);
  t->here->last->poly = poly;
  return x;
}

static Tile
select_where(Tb *t, OpKind kind, Tile c, Tile a, Tile b, double k)
{
  Tile x = elementwise(t, kind, 3, (Tile[]){c, a, b});
  t->here->last->k = k;
  return x;
}

Tile
t_select_gt(Tb *t, Tile c, Tile a, Tile b, double k)
{
  return select_where(t, OP_SELECT_GT, c, a, b, k);
}

Tile
t_select_abs_gt(Tb *t, Tile c, Tile a, Tile b, double k)
{
  return select_where(t, OP_SELECT_ABS_GT, c, a, b, k);
}

/* ---- rows ---- */

static Tile
per_row(Tb *t, OpKind kind, Tile x, bool per_thread)
{
  need_fp32(t, x, op_names[kind]);
  if (x->lay == LAY_ROW && !x->per_thread)
    return x; /* one column already */
  if (x->lay != LAY_FRAG)
    t_fail(t, "%s of %%%d, which is no accumulator", op_names[kind], x->id);
  Op *op = emit1(t, kind, x);
  if (!per_thread)
    tile_exchange(t, op, EXCHANGE_ROWS);
  Val *v = tile_val(t, x->rows, 1, DT_F32, LAY_ROW);
  v->per_thread = per_thread;
  op->out = v;
  return v;
}

Tile
t_row_max(Tb *t, Tile x)
{
  return per_row(t, OP_ROW_MAX, x, false);
}

Tile
t_row_thread_sum(Tb *t, Tile x)
{
  return per_row(t, OP_ROW_THREAD_SUM, x, true);
}

Tile
t_row_allreduce(Tb *t, Tile x)
{
  if (!x->per_thread)
    return x;
  Op *op = emit1(t, OP_ROW_ALLREDUCE, x);
  tile_exchange(t, op, EXCHANGE_ROWS);
  return result(t, op, x->rows, 1, DT_F32, LAY_ROW);
}

/* ---- products ---- */

Tile
t_cvt(Tb *t, Tile x, Dtype ty)
{
  need_fp32(t, x, "cvt");
  if (x->lay != LAY_FRAG || !product_takes(tile_product(t), ty, false))
    t_fail(t, "cvt: %%%d to %s", x->id, dtype_name(ty));
  for (int i = 0; i < t->in_flight.n; i++)
    if (t->in_flight.at[i].from_regs)
      t_fail(t, "cvt of %%%d while product %%%d reads its left operand from registers",
             x->id, t->in_flight.at[i].x->id);
  Op *op = emit1(t, OP_CVT, x);
  op->tie = t->waited;
  return like(t, op, x, ty);
}

Tile
t_concat_cols(Tb *t, Tile a, Tile b)
{
  need_fp32(t, a, "concat_cols");
  need_fp32(t, b, "concat_cols");
  if (a->lay != LAY_FRAG || b->lay != LAY_FRAG || a->rows != b->rows || a->warps_n > 1)
    t_fail(t, "concat_cols: %%%d has %d rows, %%%d has %d", a->id, a->rows, b->id, b->rows);
  reachable(t, b);
  Op *op = emit1(t, OP_CONCAT_COLS, a);
  op->in[1] = b;
  return result(t, op, a->rows, a->cols + b->cols, DT_F32, LAY_FRAG);
}

Tile
t_allgather_cols(Tb *t, Tile x)
{
  if (x->warps_n == 1)
    return x;
  if (x->lay != LAY_FRAG || dtype_in(x->ty, REG_BYTES) != 2)
    t_fail(t, "allgather_cols: %%%d is no left operand", x->id);
  Op *op = emit1(t, OP_ALLGATHER_COLS, x);
  tile_exchange(t, op, EXCHANGE_COLS);
  Tile whole = result(t, op, x->rows, x->cols, x->ty, LAY_FRAG);
  t->last->warps_n = 1;
  return whole;
}

static void
readable(Tb *t, Smem s)
{
  const SmemDecl *d = tile_decl(t, s);
  if (d->copied && !d->ready)
    t_fail(t, "%s is read before its copy was waited for", d->name);
}

void
tile_readable(Tb *t, Smem s)
{
  readable(t, s);
  tile_decl(t, s)->touched = true;
}

/* Columns from a panel on are operands of products alone. */
static void
from_first_panel(Tb *t, Smem s, const char *word)
{
  if (s.panel.node || s.panel.k)
    t_fail(t, "%s: columns of %s from a panel on", word, s.mem->name);
}

Tile
t_get(Tb *t, Smem s)
{
  from_first_panel(t, s, "get");
  readable(t, s);
  tile_decl(t, s)->touched = true;
  Op *op = tile_op(t, OP_GET);
  op->smem = s;
  int cols = round_up(s.cols, dtype_in(s.mem->ty, STEP_BYTES));
  Tile x = result(t, op, s.rows, cols, s.mem->ty, LAY_FRAG);
  t->last->warps_n = 1;
  return x;
}

void
t_put(Tb *t, Smem s, Tile x)
{
  from_first_panel(t, s, "put");
  if (x->lay != LAY_FRAG || x->ty != s.mem->ty || dtype_in(x->ty, REG_BYTES) != 2 ||
      x->rows != s.rows || x->cols > s.mem->cols)
    t_fail(t, "put: %%%d does not fit %s", x->id, s.mem->name);
  Op *op = emit1(t, OP_PUT, x);
  tile_decl(t, s)->touched = true;
  op->smem = s;
}

Tile
t_cols(Tb *t, Smem s)
{
  if (!smem_is_column(s.mem) || s.mem->ty != DT_F32 || s.rows % 8 || tile_warps_n(t) > 1)
    t_fail(t, "cols: %s is no column of fp32", s.mem->name);
  readable(t, s);
  tile_decl(t, s)->touched = true;
  Op *op = tile_op(t, OP_COLS);
  op->smem = s;
  return result(t, op, 1, s.rows, DT_F32, LAY_COL);
}

/* The product is in flight from here on. */
static void
issue(Tb *t, Op *op)
{
  const Val *x = op->out;
  const ProductInfo *p = op->product;
  int cols = x->cols;
  if (x->warps != p->warps)
    t_fail(t, "%s: %s is of %d warps, the team has %d", op_names[op->kind], p->name,
           p->warps, x->warps);
  if (x->rows != p->rows || cols < p->cols_least || cols > p->cols_most ||
      cols % p->cols_least)
    t_fail(t, "%s: %s has no %dx%d", op_names[op->kind], p->name, x->rows, cols);
  Val *v = t->last;
  v->in_flight = true;
  *vec_push(t->arena, &t->in_flight) =
      (InFlight){.x = x,
                 .from_regs = op->in[1] != NULL,
                 .wait_id = {op->left.wait_id, op->smem.wait_id}};
}

Tile
t_wait(Tb *t, Tile x)
{
  int at = 0;
  if (!x->in_flight)
    return x;
  while (at < t->in_flight.n && t->in_flight.at[at].x != x)
    at++;
  if (at == t->in_flight.n)
    t_fail(t, "wait: %%%d was waited for before", x->id);
  Op *op = tile_op(t, OP_WAIT);
  op->in[0] = x;
  op->pending = t->in_flight.n - 1 - at;
  t->waited = true;
  for (int i = at + 1; i < t->in_flight.n; i++)
    t->in_flight.at[i - at - 1] = t->in_flight.at[i];
  t->in_flight.n -= at + 1;
  return result(t, op, x->rows, x->cols, x->ty, x->lay);
}

static Idx
any(Tb *t, OpKind kind, Tile x, Tile k)
{
  need_fp32(t, x, op_names[kind]);
  if (x->lay != LAY_ROW || x->per_thread)
    t_fail(t, "%s of %%%d, which has no value a row", op_names[kind], x->id);
  Op *op = emit1(t, kind, x);
  op->in[1] = k;
  op->cond = tile_any(t, ++t->prog->n_any);
  return op->cond;
}

Idx
t_any_not1(Tb *t, Tile x)
{
  return any(t, OP_ANY_NOT1, x, NULL);
}

Idx
t_any_abs_gt(Tb *t, Tile x, Tile k)
{
  if (k->lay != LAY_SCALAR)
    t_fail(t, "any_abs_gt: %%%d is not one value", k->id);
  reachable(t, k);
  return any(t, OP_ANY_ABS_GT, x, k);
}

static int
panel_cols(Dtype ty)
{
  return dtype_in(ty, PANEL_BYTES);
}

/* set: NULL, or whether acc has a value. */
static Tile
product(Tb *t, Tile acc, const Idx *set, Opnd a, Smem b)
{
  OpKind kind = acc ? OP_DOT_ACC : OP_DOT;
  const ProductInfo *p = tile_product(t);
  bool across = !a.tile && a.smem.trans; /* its columns are the rows */
  int rows = a.tile ? a.tile->rows : across ? a.smem.cols : a.smem.rows;
  int depth = a.tile ? a.tile->cols : across ? a.smem.rows : a.smem.cols;
  Dtype ty = a.tile ? a.tile->ty : a.smem.mem->ty;
  int step = dtype_in(ty, STEP_BYTES);
  int depth_a = round_up(depth, step);
  int depth_b = smem_depth(&b);
  int cols = b.trans ? b.rows : b.cols;
  if (ty != b.mem->ty || !product_takes(p, ty, !b.trans))
    t_fail(t, "%s: %s has no %s · %s%s", op_names[kind], p->name, dtype_name(ty),
           dtype_name(b.mem->ty), b.trans ? "" : " across its rows");
  if (across && (!p->async || rows > panel_cols(ty)))
    t_fail(t, "%s: %s across its rows is no left operand of %s", op_names[kind],
           a.smem.mem->name, p->name);
  if (depth_a != depth_b || b.rows % (b.trans ? 16 : step))
    t_fail(t, "%s: %dx%d · %dx%d", op_names[kind], rows, depth_a, depth_b, cols);
  if (acc && (acc->rows != rows || acc->cols != cols || acc->lay != p->acc))
    t_fail(t, "%s: %%%d is not %dx%d", op_names[kind], acc->id, rows, cols);
  bool own = t->prog->by_keys && !b.trans; /* a warp multiplies with its own keys */
  if (own != val_part_depth(a.tile))
    t_fail(t, "%s: a warp has %s of the left operand", op_names[kind],
           own ? "all columns" : "a part of the columns");
  int n = tile_warps_n(t);
  bool narrow = b.trans && n > 1 && cols == 8 * n && !t->prog->by_keys;
  if (b.trans && n > 1 && cols % (16 * n) && !narrow)
    t_fail(t, "%s: %d columns are not 8, or pairs of 8, for each of %d warps",
           op_names[kind], cols, n);
  if (a.tile)
    reachable(t, a.tile);
  else
    readable(t, a.smem);
  readable(t, b);
  if (acc && set)
    stands_here(t, acc);
  else if (acc)
    reachable(t, acc);
  Op *op = tile_op(t, kind);
  op->in[0] = acc;
  op->set = set;
  op->in[1] = a.tile;
  op->left = a.smem;
  op->smem = b;
  op->product = p;
  op->out = result(t, op, rows, cols, DT_F32, p->acc);
  if (t->prog->by_keys && b.trans)
    t->last->warps_n = n;
  t->last->narrow = narrow;
  if (p->async)
    issue(t, op);
  return op->out;
}

Tile
t_dot_(Tb *t, Opnd a, Smem b)
{
  return product(t, NULL, NULL, a, b);
}

Tile
t_dot_acc_(Tb *t, Tile acc, Opnd a, Smem b)
{
  need_fp32(t, acc, "dot_acc");
  return product(t, acc, NULL, a, b);
}

Tile
t_dot_acc_if_(Tb *t, Tile acc, Idx set, Opnd a, Smem b)
{
  int64_t known;
  if (!tile_product(t)->async)
    t_fail(t, "dot_acc_if: %s adds to an accumulator in any case", tile_product(t)->name);
  need_fp32(t, acc, "dot_acc_if");
  if (i_known(set, &known) && known)
    return product(t, acc, NULL, a, b);
  Idx *own = NEW(t->arena, Idx);
  *own = set;
  return product(t, acc, own, a, b);
}

Tile
t_mask(Tb *t, const Mask *mask, Tile x, At at)
{
  need_fp32(t, x, "mask");
  if (mask->turned != at.turned)
    t_fail(t, "mask: its rows are not those of the scores");
  Op *op = emit1(t, OP_MASK, x);
  Mask *own = NEW(t->arena, Mask); /* the caller's may be gone when it is lowered */
  *own = *mask;
  op->mask = own;
  op->at = at;
  if (mask->mods)
    op->steps = tile_mask_steps(t, mask->mods, &at);
  return like(t, op, x, DT_F32);
}

static void
need_beside(Tb *t, Tile x, const TableTile *beside)
{
  const Smem *s = &beside->s;
  if (x->lay != LAY_FRAG || x->warps_n > 1 || s->rows != x->rows || s->cols != x->cols)
    t_fail(t, "score: %s is no tile of a table beside %%%d", s->mem->name, x->id);
  tile_decl(t, *s)->touched = true;
}

Tile
t_score_beside(Tb *t, const Mods *mods, Tile x, At at, const TableTile *beside)
{
  need_fp32(t, x, "score");
  if (!mods->spec->score_mod.n)
    t_fail(t, "score: the spec has no score_mod");
  if (beside)
    need_beside(t, x, beside);
  Op *op = emit1(t, OP_SCORE, x);
  op->steps = tile_score_steps(t, mods, &at, beside ? beside->load : NULL);
  op->at = at;
  if (beside)
    op->smem = beside->s;
  return like(t, op, x, DT_F32);
}

Tile
t_score_slope(Tb *t, const Mods *mods, Tile x, At at)
{
  need_fp32(t, x, "slope");
  if (!spec_score_has_slope(mods->spec))
    t_fail(t, "slope: scores change as their scaled products do");
  Op *op = emit1(t, OP_SLOPE, x);
  op->steps = tile_slope_steps(t, mods, &at);
  op->at = at;
  return like(t, op, x, DT_F32);
}

Tile
t_score_slope_by(Tb *t, const Mods *mods, Tile x, At at, int grad)
{
  need_fp32(t, x, "slope");
  if (!mods->spec->grads.at[grad].lists)
    t_fail(t, "slope: no score reads %s", mods->spec->grads.at[grad].name);
  Op *op = emit1(t, OP_SLOPE, x);
  op->steps = tile_slope_by_steps(t, mods, &at, grad);
  op->at = at;
  return like(t, op, x, DT_F32);
}

Tile
t_score(Tb *t, const Mods *mods, Tile x, At at)
{
  return t_score_beside(t, mods, x, at, NULL);
}

Tile
t_sink(Tb *t, const Mods *mods, int rows, At at)
{
  if (!mods->spec->sink_logit.n)
    t_fail(t, "sink: the spec has none");
  Tile none = t_rows(t, rows, 0);
  Op *op = emit1(t, OP_SINK, none);
  op->steps = tile_sink_steps(t, mods, &at);
  op->at = at;
  return result(t, op, rows, 1, DT_F32, LAY_ROW);
}

/* ---- straight to and from tensors ---- */

void
t_store_rows(Tb *t, View v, Tile x)
{
  need_fp32(t, x, "store_rows");
  bool real = v.x->ty == DT_F32 || v.x->ty == DT_F16 || v.x->ty == DT_BF16;
  if (x->lay != LAY_ROW || x->per_thread || v.n != x->rows || !real)
    t_fail(t, "store_rows: %%%d to %s", x->id, v.x->name);
  Op *op = emit1(t, OP_STORE_ROWS, x);
  op->view = v;
}

void
t_store_sums(Tb *t, View v, Tile x)
{
  need_fp32(t, x, "store_sums");
  if (x->lay != LAY_FRAG || v.n != x->rows || v.x->cols > x->cols || v.x->ty != DT_F32 ||
      v.pages)
    t_fail(t, "store_sums: %%%d to %s", x->id, v.x->name);
  Op *op = emit1(t, OP_STORE_SUMS, x);
  op->view = v;
}

/* In the layout of accumulators' rows, or a row a warp. */
Tile
t_load_rows(Tb *t, View v)
{
  int warps = tile_warps(t) / tile_warps_n(t);
  if (v.x->cols != 1 || v.x->ty != DT_F32 || (v.n != warps && v.n % (16 * warps)))
    t_fail(t, "load_rows: %d rows of %s", v.n, v.x->name);
  Op *op = tile_op(t, OP_LOAD_ROWS);
  op->view = v;
  return result(t, op, v.n, 1, DT_F32, LAY_ROW);
}

static Tile
load(Tb *t, OpKind kind, View v)
{
  if (v.x->cols > LANE_COLS_MOST || (kind != OP_LOAD_ONE && v.n != tile_warps(t)))
    t_fail(t, "load: %d rows of %s", v.n, v.x->name);
  Op *op = tile_op(t, kind);
  op->view = v;
  Val *x = tile_val(t, tile_warps(t), v.x->cols, DT_F32, LAY_WARP_ROW);
  x->same = kind == OP_LOAD_ONE;
  op->out = x;
  return x;
}

Tile
t_load(Tb *t, View v)
{
  return load(t, OP_LOAD, v);
}

Tile
t_load_one(Tb *t, View v)
{
  return load(t, OP_LOAD_ONE, v);
}

static void
need_rope(Tb *t, View v, const RopeArgs *r)
{
  const Lookup *tables[] = {r->cos, r->sin};
  if (v.pages || r->dim < 2 || r->dim % 2 || r->dim > v.x->cols)
    t_fail(t, "load_rope: %d elements of %s", r->dim, v.x->name);
  for (int i = 0; i < 2; i++)
    if (tables[i]->n_axes != 2 || tables[i]->ty == DT_I32)
      t_fail(t, "load_rope: %s is no table of angles", tables[i]->name);
}

Tile
t_load_rope(Tb *t, View v, const RopeArgs *rope)
{
  RopeArgs *own = NEW(t->arena, RopeArgs);
  *own = *rope;
  need_rope(t, v, rope);
  Tile x = load(t, OP_LOAD_ROPE, v);
  t->here->last->rope = own;
  return x;
}

void
t_store(Tb *t, View v, Tile x)
{
  need_fp32(t, x, "store");
  if (x->lay != LAY_WARP_ROW || v.n != x->rows || v.x->cols != x->cols)
    t_fail(t, "store: %%%d to %s", x->id, v.x->name);
  Op *op = emit1(t, OP_STORE, x);
  op->view = v;
}

Tile
t_row_dot(Tb *t, Tile a, Tile b)
{
  if (a->lay != LAY_WARP_ROW || b->lay != LAY_WARP_ROW || a->cols != b->cols)
    t_fail(t, "row_dot: %%%d and %%%d", a->id, b->id);
  reachable(t, b);
  Op *op = emit1(t, OP_ROW_DOT, a);
  op->in[1] = b;
  return result(t, op, a->rows, 1, DT_F32, LAY_ROW);
}
