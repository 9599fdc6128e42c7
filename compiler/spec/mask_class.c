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

/* Is it one of two neighbours, of a table that is indexed by what another one holds? */
static bool
of_two(const MaskProblem *p, int tensor, ExprRange index)
{
  int64_t first = index.lo > 0 ? index.lo : 0; /* below that it is the first */
  return index.hi - first < 2 && spec_mask_indexes_by_element(p->spec, tensor);
}

/* A monotone row of a table lies between its end points; of two neighbours of another it is
 * the one or the other, where the kernel asks for both; of any other element, and of rows
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
    if (index[i].lo != index[i].hi &&
        (i < n - 1 || !(t->monotone || of_two(p, tensor, index[i]))))
      return EXPR_ANY;
  int64_t a = element(x, index, n, index[n - 1].lo);
  int64_t b = element(x, index, n, index[n - 1].hi);
  return a <= b ? (ExprRange){a, b} : (ExprRange){b, a};
}

/* Of a table that is not monotone an element is known, or one of two. */
static bool
is_an_end(const void *user, int tensor)
{
  const MaskProblem *p = user;
  return !p->spec->tables.at[tensor].monotone;
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
  box.ends = is_an_end;
  box.user = p;
  return box;
}

/* ---- blocks that a call lists ---- */

/* NULL: it is not known. */
static const ExprTable *
list_of(const MaskProblem *p, int slot)
{
  const SpecTables *all = &p->spec->tables;
  for (int i = 0; i < all->n; i++)
    if (all->at[i].slot == slot && p->tables && p->tables[i].data)
      return &p->tables[i];
  return NULL;
}

/* Is the block in the list of such a slot, of its first `most` entries? */
static bool
is_listed(const ExprTable *n, const ExprTable *at, const int64_t row[3], int64_t block,
          int64_t most, int64_t *length)
{
  const int32_t *entries = at->data;
  int64_t first = 0, where = 0;
  for (int i = 0; i < 3; i++) {
    where += row[i] * n->stride[i];
    first += row[i] * at->stride[i];
  }
  int64_t have = ((const int32_t *)n->data)[where];
  *length = have < 0 ? 0 : have < most ? have : most;
  for (int64_t i = 0; i < *length; i++)
    if (entries[first + i * at->stride[3]] == block)
      return true;
  return false;
}

/* Of a block of queries and a block of keys. */
static MaskClass
block_class(const MaskProblem *p, int64_t i, int64_t j)
{
  const ExprTable *full_n = list_of(p, ATTNC_FULL_KV_NUM_BLOCKS),
                  *full = list_of(p, ATTNC_FULL_KV_INDICES),
                  *n = list_of(p, ATTNC_KV_NUM_BLOCKS), *at = list_of(p, ATTNC_KV_INDICES);
  if (!full_n || !full || !n || !at)
    return MASK_PARTIAL;
  int keys = p->spec->block_list.rows[1];
  int64_t row[3] = {p->b.lo, p->h.lo, i}, most = (p->sk + keys - 1) / keys, many;
  if (is_listed(full_n, full, row, j, most, &many))
    return MASK_FULL;
  if (!is_listed(n, at, row, j, most - many, &many))
    return MASK_EMPTY;
  return mask_hides_in_blocks(p->spec) ? MASK_PARTIAL : MASK_FULL;
}

static MaskClass by_masks(const MaskProblem *, ExprRange q, ExprRange k);

/* What of the box is in a block. */
static ExprRange
within(ExprRange r, int64_t i, int n)
{
  int64_t lo = i * n, hi = lo + n - 1;
  return (ExprRange){r.lo > lo ? r.lo : lo, r.hi < hi ? r.hi : hi};
}

/* Of all blocks that the box has a part of. */
static MaskClass
listed_class(const MaskProblem *p, ExprRange q, ExprRange k)
{
  const int *rows = p->spec->block_list.rows;
  bool all = true, any = false;
  for (int64_t i = q.lo / rows[0]; i <= q.hi / rows[0]; i++)
    for (int64_t j = k.lo / rows[1]; j <= k.hi / rows[1]; j++) {
      MaskClass its = block_class(p, i, j);
      if (its == MASK_PARTIAL)
        its = by_masks(p, within(q, i, rows[0]), within(k, j, rows[1]));
      all = all && its == MASK_FULL;
      any = any || its != MASK_EMPTY;
    }
  return all ? MASK_FULL : any ? MASK_PARTIAL : MASK_EMPTY;
}

static MaskClass
by_masks(const MaskProblem *p, ExprRange q, ExprRange k)
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

MaskClass
mask_tile_class(const MaskProblem *p, ExprRange q, ExprRange k)
{
  return spec_has_lists(p->spec) ? listed_class(p, q, k) : by_masks(p, q, k);
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
