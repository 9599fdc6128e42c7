#include "compiler/spec/mask_class.h"

#include <limits.h>

static int
larger(int a, int b)
{
  return a > b ? a : b;
}

MaskProblem
mask_problem(const Spec *s, int64_t sq, int64_t sk, Arena *arena)
{
  int most = larger(s->keys.of_first.n, s->keys.of_last.n);
  for (int i = 0; i < s->mask_mod.n; i++)
    most = larger(s->mask_mod.lists[i].n, most);
  return (MaskProblem){
      .spec = s, .sq = sq, .sk = sk, .ranges = NEW_N(arena, ExprRange, most + 1)};
}

/* ---- tables ---- */

static int64_t
element(const ExprTable *x, const ExprRange *index, int n, int64_t last)
{
  int64_t at = 0;
  for (int i = 0; i < n; i++)
    at += expr_nearest(i < n - 1 ? index[i].lo : last, x->length[i]) * x->stride[i];
  return ((const int32_t *)x->data)[at];
}

/* A monotone row of a table lies between its end points; of any other element, and of rows
 * that differ, nothing is known. */
static ExprRange
loads(const void *user, int tensor, const ExprRange *index)
{
  const MaskProblem *p = user;
  const SpecTable *t = &p->spec->tables.at[tensor];
  int n = t->axes.n;
  if (!p->tables || t->dtype)
    return EXPR_ANY;
  const ExprTable *x = &p->tables[tensor];
  for (int i = 0; i < n; i++)
    if (!x->length[i])
      return (ExprRange){0, 0};
  if (!x->data)
    return EXPR_ANY;
  for (int i = 0; i < n; i++)
    if (index[i].lo != index[i].hi && (i < n - 1 || !t->monotone))
      return EXPR_ANY;
  return (ExprRange){element(x, index, n, index[n - 1].lo),
                     element(x, index, n, index[n - 1].hi)};
}

/* ---- limits of the rows ---- */

/* Keys [start, end) that some row of the box may see, and [full_start, full_end) that all
 * do as far as the limits say. */
typedef struct Limits {
  int64_t start, end, full_start, full_end;
} Limits;

static void
cut_left(Limits *to, int64_t least, int64_t most)
{
  to->start = least > to->start ? least : to->start;
  to->full_start = most > to->full_start ? most : to->full_start;
}

static void
cut_right(Limits *to, int64_t least, int64_t most)
{
  to->end = most + 1 < to->end ? most + 1 : to->end;
  to->full_end = least + 1 < to->full_end ? least + 1 : to->full_end;
}

static ExprRange
range_of(const MaskProblem *p, const ExprList *list, const ExprBox *box)
{
  expr_interval_list(list, box, p->ranges);
  return p->ranges[list->n - 1];
}

static Limits
limits_of(const MaskProblem *p, const ExprBox *box)
{
  Limits to = {0, p->sk, 0, p->sk};
  Band b = spec_band(p->spec);
  const SpecKeys *keys = &p->spec->keys;
  int64_t shift = b.bottom_right ? p->sk - p->sq : 0;
  ExprRange q = box->var[EXPR_Q_IDX];
  if (b.lo != INT_MIN)
    cut_left(&to, q.lo + shift + b.lo, q.hi + shift + b.lo);
  if (b.hi != INT_MAX)
    cut_right(&to, q.lo + shift + b.hi, q.hi + shift + b.hi);
  if (keys->first) {
    ExprRange r = range_of(p, &keys->of_first, box);
    cut_left(&to, r.lo, r.hi);
  }
  if (keys->last) {
    ExprRange r = range_of(p, &keys->of_last, box);
    cut_right(&to, r.lo, r.hi);
  }
  return to;
}

/* ---- both ---- */

static ExprBox
box_of(const MaskProblem *p, ExprRange q, ExprRange k)
{
  ExprBox box = expr_any_box();
  box.var[EXPR_Q_IDX] = q;
  box.var[EXPR_KV_IDX] = k;
  box.var[EXPR_SQ] = (ExprRange){p->sq, p->sq};
  box.var[EXPR_SK] = (ExprRange){p->sk, p->sk};
  box.var[EXPR_B] = p->b;
  box.var[EXPR_H] = p->h;
  box.var[EXPR_HK] = p->hk;
  box.loads = loads;
  box.user = p;
  return box;
}

MaskClass
mask_tile_class(const MaskProblem *p, ExprRange q, ExprRange k)
{
  ExprBox box = box_of(p, q, k);
  const SpecExprs *mod = &p->spec->mask_mod;
  Limits n = limits_of(p, &box);
  if (k.hi < n.start || k.lo >= n.end || n.start >= n.end)
    return MASK_EMPTY;
  bool full = k.lo >= n.full_start && k.hi < n.full_end;
  ExprRange r = mod->n ? range_of(p, &mod->lists[0], &box) : (ExprRange){1, 1};
  if (!r.hi)
    return MASK_EMPTY;
  return full && (r.lo || p->spec->keys.one_range) ? MASK_FULL : MASK_PARTIAL;
}

/* ---- all tiles ---- */

static ExprRange
part(int64_t i, int n, int64_t size)
{
  return (ExprRange){i * n, (i + 1) * n < size ? (i + 1) * n - 1 : size - 1};
}

void
mask_tiles(MaskTile *class_of, void *user, int64_t sq, int64_t sk, int bm, int bn,
           attnc_tile_counts *c, char *map)
{
  static const char shown[] = {[MASK_EMPTY] = ' ', [MASK_PARTIAL] = '+', [MASK_FULL] = '#'};
  for (int64_t i = 0; i < c->q_tiles; i++) {
    int64_t of[] = {0, 0, 0};
    for (int64_t j = 0; j < c->kv_tiles; j++) {
      MaskClass its = class_of(user, part(i, bm, sq), part(j, bn, sk));
      of[its]++;
      if (map)
        map[i * c->kv_tiles + j] = shown[its];
    }
    c->empty += of[MASK_EMPTY];
    c->partial += of[MASK_PARTIAL];
    c->full += of[MASK_FULL];
    c->visited += of[MASK_PARTIAL] + of[MASK_FULL] ? of[MASK_PARTIAL] + of[MASK_FULL] : 1;
  }
}
