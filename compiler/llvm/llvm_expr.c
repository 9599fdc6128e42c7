/* Expressions over the elements of a tile that a thread holds: each step once, once a row,
 * a column, an element, as its grade says.  Elements are taken column by column, so that
 * what belongs to a column lives no longer than the column, and a thread has few rows. */
#include "compiler/llvm/llvm_lower.h"

#include <math.h>

/* Bits of a row, of the columns from `first` on; shifted so that bit i is column first + i
 * of this lane. */
typedef struct Word {
  V bits; /* NULL: none yet */
  int first;
} Word;

struct Exprs {
  Lo *lo;
  const Op *op;
  const ExprSteps *s;
  LLVMBuilderRef outer;
  V **row;           /* by step: of GRADE_ROW its rows' values, of NEITHER one */
  V *now;            /* by step: of the column and element at hand */
  V from, along;     /* which key, or query, the first column is; the column at hand */
  int column;        /* that at hand */
  struct Word *word; /* by step and row: of a STEP_BIT */
  V *first;          /* by step and row: of a STEP_ALONG at the first column */
  V score;           /* of the element at hand, before softmax_scale; NULL: it has none */
  V beside; /* of the element at hand, of the table that has a tile; NULL: none has */
};

static V
value(const Exprs *x, int step, int r)
{
  switch (x->s->step.at[step].grade) {
  case GRADE_NEITHER:
    return x->row[step][0];
  case GRADE_ROW:
    return x->row[step][r];
  default:
    return x->now[step];
  }
}

static V
variable(Exprs *x, ExprVar v, int r)
{
  Lo *lo = x->lo;
  const At *at = &x->op->at;
  switch (v) {
  case EXPR_Q_IDX:
    return at->turned ? x->along : place_row(lo, x->op, r);
  case EXPR_KV_IDX:
    return at->turned ? place_row(lo, x->op, r) : x->along;
  case EXPR_SQ:
    return idx_value(lo, x->s->mods->sq);
  case EXPR_SK:
    return idx_value(lo, x->s->mods->sk);
  case EXPR_B:
    return idx_value(lo, at->b);
  case EXPR_H:
    return place_head(lo, x->op, r);
  case EXPR_HK:
    return idx_value(lo, at->hk);
  default:
    lower_fail(lo, "variable %d has no step of its own", (int)v);
  }
}

static V
constant(Lo *lo, const Expr *e)
{
  if (e->type == EXPR_F32)
    return kf(lo, (double)e->f);
  return e->type == EXPR_I32 ? k32(lo, e->i) : LLVMConstInt(lo->i1, e->i != 0, 0);
}

static V
number(Exprs *x, int slot)
{
  double known = x->lo->p->scalar[slot];
  return isnan(known) ? param_value(x->lo, PARAM_SCALAR, slot, 0) : kf(x->lo, known);
}

/* ---- loads ---- */

static const Lookup *
table_of(const Exprs *x, const Expr *load)
{
  return &x->s->mods->tables[load->i];
}

/* The address of its first element. */
static V
base(Exprs *x, const Lookup *t)
{
  Lo *lo = x->lo;
  V at = param_value(lo, PARAM_TENSOR, t->slot, 0);
  if (!t->first.node && !t->first.k)
    return at;
  V by = LLVMBuildMul(lo->b, idx_value64(lo, t->first), k64(lo, dtype_bytes(t->ty)), "");
  return LLVMBuildAdd(lo->b, at, by, "");
}

/* Bytes from one element of the axis to the next, where they are a constant; else 0. */
static int64_t
step_bytes(const Lookup *t, int axis)
{
  int64_t bytes = t->stride[axis].node ? 0 : t->stride[axis].k * dtype_bytes(t->ty);
  return bytes == (int32_t)bytes ? bytes : 0;
}

/* Bytes from the first element of an axis to the one at the index, or the nearest: as i64,
 * or, of a constant step, the index itself, which `moved` multiplies. */
static V
term(Exprs *x, const ExprStep *s, int r)
{
  Lo *lo = x->lo;
  const Lookup *t = table_of(x, s->e);
  V index = value(x, s->arg[0], r);
  if (!s->inside) {
    V last = LLVMBuildSub(lo->b, idx_value(lo, t->length[s->axis]), k32(lo, 1), "");
    index = pick(lo->b, LLVMIntSLT, index, last);
  }
  if (!s->nonneg)
    index = pick(lo->b, LLVMIntSGT, index, k32(lo, 0));
  if (step_bytes(t, s->axis))
    return index;
  V stride = idx_value64(lo, t->stride[s->axis]), at = to64(lo->b, lo, index);
  at = LLVMBuildMul(lo->b, at, stride, "");
  return LLVMBuildMul(lo->b, at, k64(lo, dtype_bytes(t->ty)), "");
}

/* An address and a term.  A product and a sum in one, which LLVM must not see either: with
 * one a column its strength reduction takes most of the code generator's time. */
static V
moved(Exprs *x, V address, int step, int r)
{
  Lo *lo = x->lo;
  const ExprStep *s = &x->s->step.at[step];
  int64_t bytes = step_bytes(table_of(x, s->e), s->axis);
  V by = value(x, step, r);
  if (!bytes)
    return LLVMBuildAdd(lo->b, address, by, "");
  V in[3] = {by, k32(lo, bytes), address};
  return asm_1(lo, ASM_PURE, "mad.wide.s32 $0, $1, $2, $3;", "=l,r,n,l", lo->i64, in, 3);
}

/* Has every axis an element?  NULL: it is known to have. */
static V
some_elements(Lo *lo, const ExprStep *s, const Lookup *t)
{
  V all = NULL;
  for (int i = 0; i < t->n_axes; i++) {
    if (!(s->may_be_empty >> i & 1u))
      continue;
    V length = idx_value(lo, t->length[i]);
    all = bool_and(lo->b, all, LLVMBuildICmp(lo->b, LLVMIntSGT, length, k32(lo, 0), ""));
  }
  return all;
}

/* The bits of an element, in the low end of a register; 0 of an empty tensor, whose memory
 * is not touched.  Nobody writes a table while a kernel runs. */
static V
load_bits(Lo *lo, const ExprStep *s, const Lookup *t, V address)
{
  bool half = dtype_bytes(t->ty) == 2;
  V in[2] = {address, some_elements(lo, s, t)};
  if (!in[1])
    return asm_1(lo, ASM_PURE,
                 half ? "{ .reg .b16 x; ld.global.nc.b16 x, [$1]; cvt.u32.u16 $0, x; }"
                      : "ld.global.nc.b32 $0, [$1];",
                 "=r,l", lo->i32, in, 1);
  in[1] = as_i32(lo, lo->b, in[1]);
  return asm_1(lo, ASM_PURE,
               half ? "{ .reg .pred p; .reg .b16 x; setp.ne.s32 p, $2, 0; mov.b16 x, 0; "
                      "@p ld.global.nc.b16 x, [$1]; cvt.u32.u16 $0, x; }"
                    : "{ .reg .pred p; setp.ne.s32 p, $2, 0; mov.b32 $0, 0; "
                      "@p ld.global.nc.b32 $0, [$1]; }",
               "=&r,l,r", lo->i32, in, 2);
}

static V
from_bits(Lo *lo, const Lookup *t, V bits)
{
  switch (t->ty) {
  case DT_I32:
  case DT_U32:
    return bits;
  case DT_F32:
    return LLVMBuildBitCast(lo->b, bits, lo->f32, "");
  case DT_BF16:
    return LLVMBuildBitCast(lo->b, LLVMBuildShl(lo->b, bits, k32(lo, 16), ""), lo->f32, "");
  case DT_F16:
    return asm_1(lo, ASM_PURE, "{ .reg .b16 a, b; mov.b32 {a, b}, $1; cvt.f32.f16 $0, a; }",
                 "=f,r", lo->f32, &bits, 1);
  default:
    lower_fail(lo, "table %s of %s has no lowering", t->name, dtype_name(t->ty));
  }
}

static V
load(Exprs *x, const ExprStep *s, V address)
{
  const Lookup *t = table_of(x, s->e);
  return from_bits(x->lo, t, load_bits(x->lo, s, t, address));
}

/* ---- bits of packed words ---- */

enum { WORD_BITS = 32, WORD_SHIFT = 5 };

/* Word `at`, or the nearest. */
static V
load_word(Exprs *x, const ExprStep *s, V address, V at)
{
  Lo *lo = x->lo;
  const Lookup *t = table_of(x, s->e);
  V last = LLVMBuildSub(lo->b, idx_value(lo, t->length[s->axis]), k32(lo, 1), "");
  at = pick(lo->b, LLVMIntSLT, at, last);
  if (!s->nonneg)
    at = pick(lo->b, LLVMIntSGT, at, k32(lo, 0));
  V in[3] = {at, k32(lo, dtype_bytes(t->ty)), address};
  address = asm_1(lo, ASM_PURE, "mad.wide.s32 $0, $1, $2, $3;", "=l,r,n,l", lo->i64, in, 3);
  return load_bits(lo, s, t, address);
}

/* Do the tile's columns of this warp begin with the first bit of a word? */
static bool
is_aligned(const Exprs *x, const ExprStep *s)
{
  const Val *out = x->op->out;
  bool warps = first_column(x->lo, out) == NULL || val_cols(out) % WORD_BITS == 0;
  return s->whole && warps;
}

/* Of 32 columns from that at hand on, of which this lane has some: two words, where they
 * are not one. */
static V
row_bits(Exprs *x, const ExprStep *s, int r)
{
  Lo *lo = x->lo;
  V address = value(x, s->arg[0], r), at = value(x, s->arg[1], r);
  bool shared = x->op->out->lay == LAY_FRAG;
  if (shared)
    at = LLVMBuildSub(lo->b, at, lane_value(lo, LANE_COL), "");
  V word = LLVMBuildAShr(lo->b, at, k32(lo, WORD_SHIFT), "");
  V bits = load_word(x, s, address, word);
  if (!is_aligned(x, s)) {
    V next = LLVMBuildAdd(lo->b, word, k32(lo, 1), "");
    V in[3] = {bits, load_word(x, s, address, next), at};
    bits =
        asm_1(lo, ASM_PURE, "shf.r.wrap.b32 $0, $1, $2, $3;", "=r,r,r,r", lo->i32, in, 3);
  }
  return shared ? LLVMBuildLShr(lo->b, bits, lane_value(lo, LANE_COL), "") : bits;
}

/* Tested one by one against constants, so that ptxas moves many to predicates at once. */
static V
bit(Exprs *x, int step, int r)
{
  Lo *lo = x->lo;
  Word *w = &x->word[step * val_row_values(x->op->out) + r];
  int at = place_column(x->column);
  if (!w->bits || at >= w->first + WORD_BITS)
    *w = (Word){row_bits(x, &x->s->step.at[step], r), at};
  V one = LLVMBuildAnd(lo->b, w->bits, k32(lo, (int32_t)(1u << (at - w->first))), "");
  return LLVMBuildICmp(lo->b, LLVMIntNE, one, k32(lo, 0), "");
}

/* ---- steps ---- */

static V
node(Exprs *x, const ExprStep *s, int r)
{
  V arg[EXPR_AXES];
  bool nonneg[EXPR_AXES];
  switch (s->e->op) {
  case EXPR_OP_CONST:
    return constant(x->lo, s->e);
  case EXPR_OP_VAR:
    return variable(x, (ExprVar)s->e->i, r);
  case EXPR_OP_SCALAR:
    return number(x, x->s->mods->spec->numbers.at[s->e->i].slot);
  case EXPR_OP_LOAD:
    return load(x, s, value(x, s->arg[0], r));
  default:
    break;
  }
  for (int k = 0; k < s->e->n; k++) {
    arg[k] = value(x, s->arg[k], r);
    nonneg[k] = x->s->step.at[s->arg[k]].nonneg;
  }
  return expr_operator(x->lo, s->e, arg, nonneg, x->s->mods->near);
}

static V
raw(const Exprs *x)
{
  if (!x->score)
    lower_fail(x->lo, "score where there is none");
  return x->score;
}

static V
multiply_add(Exprs *x, const ExprStep *s, int r)
{
  V in[3];
  for (int k = 0; k < 3; k++)
    in[k] = value(x, s->arg[k], r);
  return f32_call(x->lo, "llvm.fma", in, 3);
}

/* A sum with a constant, from the second column on. */
static V
along(Exprs *x, int step, int r)
{
  Lo *lo = x->lo;
  const ExprStep *s = &x->s->step.at[step];
  V *first = &x->first[step * val_row_values(x->op->out) + r];
  if (x->column == 0)
    return *first = LLVMBuildSIToFP(lo->b, value(x, s->arg[0], r), lo->f32, "");
  return LLVMBuildFAdd(lo->b, *first, kf(lo, s->k * place_column(x->column)), "");
}

static V
compute(Exprs *x, int step, int r)
{
  const ExprStep *s = &x->s->step.at[step];
  switch (s->kind) {
  case STEP_NODE:
    return node(x, s, r);
  case STEP_RAW:
    return raw(x);
  case STEP_NUMBER:
    return kf(x->lo, s->k);
  case STEP_SCALE:
    return number(x, ATTNC_SOFTMAX_SCALE);
  case STEP_PRODUCT:
    return expr_product(x->lo, value(x, s->arg[0], r), value(x, s->arg[1], r), s->small);
  case STEP_PLUS:
    return LLVMBuildFAdd(x->lo->b, value(x, s->arg[0], r), value(x, s->arg[1], r), "");
  case STEP_INVERSE:
    return expr_inverse(x->lo, value(x, s->arg[0], r));
  case STEP_TANH_PART:
    return expr_tanh_part(x->lo, value(x, s->arg[0], r));
  case STEP_TANH:
    return multiply_add(x, s, r);
  case STEP_SIZE:
    return expr_size(x->lo, value(x, s->arg[0], r));
  case STEP_ALONG:
    return along(x, step, r);
  case STEP_BASE:
    return base(x, table_of(x, s->e));
  case STEP_TERM:
    return term(x, s, r);
  case STEP_TILE:
    return from_bits(x->lo, table_of(x, s->e), x->beside);
  case STEP_BIT:
    return bit(x, step, r);
  case STEP_SUM:
    return moved(x, value(x, s->arg[0], r), s->arg[1], r);
  }
  lower_fail(x->lo, "a step of kind %d has no lowering", (int)s->kind);
}

/* Outside of the loop over tiles, unless where the block is changes inside of it. */
static LLVMBuilderRef
outer(Lo *lo, const Op *op)
{
  const At *at = &op->at;
  const Idx parts[] = {place_rows(op), at->b, at->h, at->hk};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (idx_builder(lo, parts[i]) == lo->b)
      return lo->b;
  return lo->hb;
}

static void
compute_rows(Exprs *x)
{
  Lo *lo = x->lo;
  LLVMBuilderRef here = lo->b;
  int rows = val_row_values(x->op->out);
  for (int i = 0; i < x->s->step.n; i++) {
    ExprGrade grade = x->s->step.at[i].grade;
    if (!x->s->step.at[i].used)
      continue;
    int n = grade == GRADE_NEITHER ? 1 : grade == GRADE_ROW ? rows : 0;
    lo->b = x->outer;
    x->row[i] = NEW_N(lo->arena, V, n + 1);
    for (int r = 0; r < n; r++)
      x->row[i][r] = compute(x, i, r);
    lo->b = here;
  }
}

Exprs *
exprs_open(Lo *lo, const Op *op, V from)
{
  Exprs *x = NEW(lo->arena, Exprs);
  *x = (Exprs){.lo = lo, .op = op, .s = op->steps, .from = from};
  x->outer = outer(lo, op);
  x->row = NEW_N(lo->arena, V *, x->s->step.n + 1);
  x->now = NEW_N(lo->arena, V, x->s->step.n + 1);
  x->word = NEW_N(lo->arena, Word, x->s->step.n * val_row_values(op->out) + 1);
  x->first = NEW_N(lo->arena, V, x->s->step.n * val_row_values(op->out) + 1);
  compute_rows(x);
  return x;
}

LLVMBuilderRef
exprs_outer(const Exprs *x)
{
  return x->outer;
}

void
exprs_column(Exprs *x, int c)
{
  Lo *lo = x->lo;
  x->column = c;
  x->along = LLVMBuildAdd(lo->b, x->from, k32(lo, place_column(c)), "");
  for (int i = 0; i < x->s->step.n; i++)
    if (x->s->step.at[i].used && x->s->step.at[i].grade == GRADE_COLUMN)
      x->now[i] = compute(x, i, 0);
}

void
exprs_element(Exprs *x, int r, V score)
{
  x->score = score;
  for (int i = 0; i < x->s->step.n; i++)
    if (x->s->step.at[i].used && x->s->step.at[i].grade == GRADE_BOTH)
      x->now[i] = compute(x, i, r);
}

V
exprs_root(Exprs *x, ExprRoot root, int r)
{
  int step = x->s->root[root];
  return step < 0 ? NULL : value(x, step, r);
}

/* ---- a tile of a table beside that of the scores ---- */

/* What of it the columns at hand take: of 16 bits a step of a left operand, 16 columns; of
 * 32 bits pairs of columns. */
typedef struct Beside {
  const Smem *s;
  int bytes; /* of an element; 0: there is no tile */
  V (*reg)[4];
} Beside;

static Beside
beside(Lo *lo, const Op *op)
{
  Beside x = {.s = &op->smem};
  if (op->smem.mem)
    x.bytes = dtype_bytes(op->smem.mem->ty);
  x.reg = arena_alloc(lo->arena, sizeof *x.reg * (size_t)val_row_values(op->out));
  return x;
}

static void
beside_column(Lo *lo, const Op *op, const Beside *x, int c)
{
  int mt = val_tiles_m(op->out), rows = val_row_values(op->out);
  for (int m = 0; x->bytes == 2 && c % 4 == 0 && m < mt; m++)
    load_left(lo, x->s, mt, m, c / 4, x->reg[m]);
  for (int r = 0; x->bytes == 4 && c % 2 == 0 && r < rows; r++)
    load_pair(lo, x->s, mt, r, c / 2, x->reg[r]);
}

/* The element's bits, in the low end of a register; NULL: there is no tile. */
static V
beside_element(Lo *lo, const Beside *x, int r, int c)
{
  if (x->bytes != 2)
    return x->bytes ? x->reg[r][c % 2] : NULL;
  V pair = x->reg[r / 2][c / 2 % 2 * 2 + r % 2];
  return c % 2 ? LLVMBuildLShr(lo->b, pair, k32(lo, 16), "") : pair;
}

void
lower_score(Lo *lo, const Op *op)
{
  int n;
  V *out = lower_regs(lo, op->out, &n), *in = lo->vals[op->in[0]->id];
  Exprs *x = exprs_open(lo, op, place_origin(lo, op));
  Beside tile = beside(lo, op);
  for (int c = 0; c < place_columns(op->out); c++) {
    exprs_column(x, c);
    beside_column(lo, op, &tile, c);
    for (int r = 0; r < val_row_values(op->out); r++) {
      int reg = place_register(op->out, r, c);
      x->beside = beside_element(lo, &tile, r, c);
      exprs_element(x, r, in[reg]);
      out[reg] = exprs_root(x, ROOT_SCORE, r);
    }
  }
}
