/* merge: states of attention over parts of the keys, made one by their LSEs: a row a warp,
 * one part after the other, in fp32.
 *
 * A part that saw no key has an LSE of −inf (+inf, as FlashAttention 2 writes it, is taken
 * for the same): it weighs nothing, and its output may be anything. */
#include "templates/merge.h"

#include "templates/row_blocks.h"

#include <float.h>
#include <math.h>

static const double LOG2E = 1.4426950408889634, LN2 = 0.6931471805599453;

extern const Template merge;

static bool
applicable(const Case *c, Why *why)
{
  (void)c;
  (void)why;
  return true;
}

static Sched
plain(void)
{
  return row_plain(&merge);
}

/* Instructions of a row's part, and of the row. */
enum { PART_SLOTS = 50, ROW_SLOTS = 60 };

static SchedCost
cost(const Case *c, const Sched *s)
{
  double parts = c->parts ? (double)c->parts : 2;
  return row_cost(c, s, c->h, c->sq, ROW_SLOTS + parts * PART_SLOTS);
}

static Sched
initial(const Case *c)
{
  (void)c;
  return plain();
}

static Tile
weight(Tb *t, const MergeState *s, Tile lse, Tile m)
{
  Tile x = t_sub(t, lse, m);
  x = t_mul(t, x, s->c);
  return s->near ? t_exp2_near(t, x) : t_exp2(t, x);
}

MergeState
merge_new(Tb *t, const Call *p, int rows)
{
  MergeState s = {.near = p->o->ty == DT_F32};
  Tile m = t_rows(t, rows, -FLT_MAX), none = t_rows(t, rows, 0);
  s.m = t_var(t, m);
  s.l = t_var(t, none);
  Tile zero = t_zero_lanes(t, rows, p->dv);
  s.o = t_var(t, zero);
  s.c = t_const(t, p->spec->lse_base == LSE_BASE_E ? LOG2E : 1);
  return s;
}

void
merge_part(Tb *t, const MergeState *s, Tile lse, Tile o)
{
  Tile nothing = t_const(t, -INFINITY);
  lse = t_select_gt(t, lse, nothing, lse, FLT_MAX);
  Tile m = t_max(t, *s->m, lse);
  Tile w = weight(t, s, lse, m), correction = weight(t, s, *s->m, m);
  *s->m = m;
  *s->l = t_fma(t, *s->l, correction, w);
  o = t_select_nonzero(t, w, o);
  o = t_mul(t, o, w);
  *s->o = t_fma(t, *s->o, correction, o);
}

Tile
merge_output(Tb *t, const MergeState *s)
{
  Tile inv = t_rcp(t, *s->l);
  inv = t_select_nonzero(t, *s->l, inv);
  return t_mul(t, *s->o, inv);
}

Tile
merge_lse(Tb *t, const Call *p, const MergeState *s)
{
  Tile log = t_log2(t, *s->l);
  if (p->spec->lse_base == LSE_BASE_E) {
    Tile ln2 = t_const(t, LN2);
    log = t_mul(t, log, ln2);
  }
  return t_add(t, *s->m, log);
}

static void
merge_rows(Tb *t, const Call *p, const RowBlock *r, int n)
{
  MergeState s = merge_new(t, p, n);
  const Span parts = {i_int(0), call_size(p, SIZE_PARTS), i_int(1)};
  T_FOR (t, i, parts) {
    Tile lse = t_load_rows(t, v_nth(row_view(r, p->at[ATTNC_LSE_PARTS], n), i));
    Tile o = t_load(t, v_nth(row_view(r, p->at[ATTNC_O_PARTS], n), i));
    merge_part(t, &s, lse, o);
  }
  Tile o = merge_output(t, &s);
  t_store(t, row_view(r, p->o, n), o);
  if (p->lse) {
    Tile lse = merge_lse(t, p, &s);
    t_store_rows(t, row_view(r, p->lse, n), lse);
  }
}

static void
forward(Tb *t, const Call *p, int warps)
{
  bool packed = p->o->no_batch;
  const RowSource rows = {.heads = SIZE_H,
                          .rows = packed ? SIZE_TOTAL_Q : SIZE_SQ,
                          .offsets = ATTNC_CU_SEQLENS_Q,
                          .all = packed};
  RowBlock r = row_block_of_cta(t, p, &rows, warps);
  T_WORK (t, r.is)
    merge_rows(t, p, &r, warps);
}

static void
emit(Build *b, const Call *call, const Sched *s)
{
  (void)call;
  T_ENTRY (b, t, NULL, .warps = s->warps)
    forward(t, t_call(t), s->warps);
}

static void
print(const Sched *s, Str *out)
{
  str_printf(out, "merge %d rows, a warp each", s->bm);
}

const Template merge = {
    .name = "merge",
    .what = "states of attention made one by their LSEs: a row a warp",
    .op = ATTNC_OP_MERGE,
    .revision = 1,
    .applicable = applicable,
    .axes = row_axes,
    .plain = plain,
    .refuse = row_refuse,
    .cost = cost,
    .initial = initial,
    .emit = emit,
    .print = print,
    .codegen_level = 2,
};
