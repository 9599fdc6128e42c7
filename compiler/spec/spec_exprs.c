/* mask_mod and score_mod: parsed and checked when the names of a spec are known, put into
 * normal form, and made one with the band that causal, window and align say. */
#include "compiler/spec/spec_load.h"

#include <string.h>

/* ---- places ---- */

static bool
is_blank(char c)
{
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Where the scalar's own characters begin. */
static const char *
source_of(const SpecLoad *l, const DocNode *node)
{
  const char *p = l->text;
  for (int line = 1; line < node->place.line && (p = strchr(p, '\n')); line++)
    p++;
  for (int col = 1; p && col < node->place.col && *p; col++)
    p += str_utf8(p);
  if (p && (*p == '|' || *p == '>'))
    return strchr(p, '\n');
  return p && (*p == '"' || *p == '\'') ? p + 1 : p;
}

/* Byte `at` of the text in the source: but for blanks the text's characters are the
 * source's, in order.  NULL: they are not (escapes). */
static const char *
source_at(const SpecLoad *l, const DocNode *node, size_t at)
{
  const char *p = source_of(l, node);
  for (size_t i = 0; p && i <= at; i++) {
    char c = node->text[i];
    if (!c || is_blank(c))
      continue;
    while (is_blank(*p))
      p++;
    if (*p != c)
      return NULL;
    if (i < at)
      p++;
  }
  return p;
}

Place
spec_place_within(const SpecLoad *l, const DocNode *node, size_t at, size_t width)
{
  const char *p = source_at(l, node, at), *line = l->text;
  Place place = {1, 1, 1};
  if (!p)
    return node->place;
  for (const char *q = l->text; q < p; q++)
    if (*q == '\n') {
      place.line++;
      line = q + 1;
    }
  for (const char *q = line; q < p; q++)
    place.col += ((unsigned char)*q & 0xc0) != 0x80;
  for (size_t i = 1; i < width && p[i] && p[i] != '\n' && p[i] != '\r'; i++)
    place.width += ((unsigned char)p[i] & 0xc0) != 0x80;
  return place;
}

/* ---- names ---- */

/* What the name is already; NULL: nothing. */
static const char *
taken_by(const Spec *s, const char *name)
{
  if (tensor_find(name) >= 0)
    return "a tensor of every call";
  for (int i = 0; i < SIZE_COUNT; i++)
    if (str_eq(size_names[i], name))
      return "a size of the call";
  for (int i = 0; i < ATTNC_SCALAR_COUNT; i++)
    if (str_eq(scalar_info[i].name, name))
      return "a number of the call";
  for (int i = 0; i < EXPR_VARS; i++)
    if (str_eq(expr_vars[i].name, name))
      return "a variable of expressions";
  for (int i = 0; i < EXPR_OPS; i++)
    if (expr_ops[i].form == FORM_CALL && str_eq(expr_ops[i].text, name))
      return "a function of expressions";
  if (str_eq(name, "stream") || str_eq(name, "workspace"))
    return "an argument of every launch";
  if (str_eq(name, "true") || str_eq(name, "false") || str_eq(name, "inf"))
    return "a constant of expressions";
  for (int i = 0; i < s->tensors.n; i++)
    if (str_eq(s->tensors.at[i].name, name))
      return "declared in `tensors`";
  for (int i = 0; i < s->scalars.n; i++)
    if (str_eq(s->scalars.at[i].name, name))
      return "declared in `scalars`";
  return NULL;
}

bool
spec_name_is_free(SpecLoad *l, const DocNode *node)
{
  const char *name = node->key, *shown = spec_shown(l, name);
  size_t n = strlen(name);
  bool digit = name[0] >= '0' && name[0] <= '9';
  if (!n || n > 64 || digit || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != n) {
    spec_fault(l, node->key_place, SE_DECLARED,
               "1 to 64 of a-z, 0-9 and `_`, no digit first",
               "`%s` cannot be a name of expressions", shown);
    return false;
  }
  const char *what = taken_by(l->spec, name);
  if (what)
    spec_fault(l, node->key_place, SE_DECLARED, "take another name", "`%s` is %s", shown,
               what);
  return !what;
}

/* What expressions may read, in this order. */
static const ExprNames *
names_of(Spec *s)
{
  spec_collect_tables(s);
  spec_collect_numbers(s);
  ExprNames *names = NEW(s->arena, ExprNames);
  ExprTensor *tensors = NEW_N(s->arena, ExprTensor, s->tables.n + 1);
  const char **scalars = NEW_N(s->arena, const char *, s->numbers.n + 1);
  for (int i = 0; i < s->tables.n; i++) {
    const SpecTable *t = &s->tables.at[i];
    Dtype dtype = spec_table_dtype(t);
    ExprType type = dtype == DT_I32 || dtype == DT_U32 ? EXPR_I32 : EXPR_F32;
    tensors[i] = (ExprTensor){t->name, type, t->axes.n};
  }
  for (int i = 0; i < s->numbers.n; i++)
    scalars[i] = s->numbers.at[i].name;
  *names = (ExprNames){tensors, s->tables.n, scalars, s->numbers.n};
  return names;
}

/* ---- one expression ---- */

_Static_assert(SE_EXPR_SIZE - SE_EXPR_TOKEN == EXPR_ERR_SIZE - EXPR_ERR_TOKEN,
               "faults of expressions are codes of specs");

static const Expr *
read_one(SpecLoad *l, ExprGraph *g, const DocNode *node, ExprKind kind)
{
  const char *text = NULL;
  ExprParse p;
  bool named = node->kind == DOC_MAP;
  if (named ? !(text = spec_mod_text(l, node, kind)) : !spec_value_text(l, node, &text))
    return NULL;
  expr_parse(g, text, kind, &p);
  for (int i = 0; i < p.faults.n; i++) {
    const ExprFault *f = &p.faults.at[i];
    if (named && i && str_eq(f->message, f[-1].message))
      continue; /* a parameter that stands there twice */
    Place at = named ? node->place : spec_place_within(l, node, f->at, f->width);
    spec_fault(l, at, (SpecError)(SE_EXPR_TOKEN + (int)f->what), f->help, "%s", f->message);
  }
  return p.root ? expr_normal(g, p.root) : NULL;
}

static void
read_all(SpecLoad *l, ExprGraph *g, const char *key, const DocNode *node, ExprKind kind,
         ExprSet *out)
{
  bool list = node && node->kind == DOC_LIST;
  l->within = key;
  if (!node || node->kind == DOC_BAD)
    return;
  if (list && !node->n)
    spec_fault(l, node->place, SE_LENGTH, "remove it", "`%s` is an empty list", key);
  for (const DocNode *n = list ? node->first : node; n; n = list ? n->next : NULL) {
    const Expr *e = read_one(l, g, n, kind);
    if (e)
      *vec_push(l->arena, out) = e;
  }
}

/* The canonical text has it as one: it must be short enough to be read again. */
static void
check_length(SpecLoad *l, ExprGraph *g, const DocNode *node, const Expr *e, ExprKind kind)
{
  ExprParse again;
  Str text = str_new(l->arena);
  expr_print(g, e, &text);
  expr_parse(g, text.p, kind, &again);
  if (!again.root)
    spec_fault(l, node->place, SE_EXPR_SIZE, "write less, or read a tensor",
               "its normal form has too many words, or is nested too deep");
}

/* ---- masks and the band ---- */

/* The tightest of each alignment (0: top-left) and side (0: left); -1: none. */
typedef struct Bounds {
  int64_t at[2][2];
} Bounds;

static void
tighten(Bounds *to, ExprBound b)
{
  int64_t *at = &to->at[b.bottom_right][b.right];
  if (b.bound < SIZE_LIMIT && (*at < 0 || b.bound < *at))
    *at = b.bound;
}

static void
bounds_of_fields(const Spec *s, Bounds *to)
{
  bool corner = s->align == ALIGN_BOTTOM_RIGHT;
  if (s->causal && !s->prefix_len)
    tighten(to, (ExprBound){true, corner, 0});
  for (int side = 0; side < 2; side++)
    if (s->window[side] >= 0)
      tighten(to, (ExprBound){side == 1, corner, s->window[side]});
}

/* Of one alignment, the other's are masks. */
static void
bounds_to_fields(Spec *s, ExprGraph *g, const Bounds *from, int corner, ExprSet *rest)
{
  int left = (int)from->at[corner][0], right = (int)from->at[corner][1];
  for (int side = 0; side < 2; side++)
    if (from->at[!corner][side] >= 0)
      *vec_push(s->arena, rest) =
          expr_of_bound(g, (ExprBound){side == 1, !corner, from->at[!corner][side]});
  s->window[0] = left;
  s->window[1] = right;
  if (s->prefix_len)
    return; /* `causal` is no bound then */
  s->causal = right == 0;
  s->window[1] = left < 0 && right == 0 ? -1 : right;
}

static SpecExprs
with_lists(ExprGraph *g, const Expr *const *at, int n)
{
  ExprList *lists = NEW_N(g->arena, ExprList, n + 1);
  for (int i = 0; i < n; i++) {
    lists[i] = expr_list(g, &at[i], 1, g->arena);
    expr_known_ranges(g, &lists[i]);
  }
  return (SpecExprs){at, lists, n};
}

static ExprList
list_of(ExprGraph *g, const Expr *e)
{
  ExprList list = expr_list(g, &e, e != NULL, g->arena);
  expr_known_ranges(g, &list);
  return list;
}

static SpecKeys
keys_of(ExprGraph *g, const Expr *mask)
{
  ExprRows rows;
  SpecKeys k = {.one_range = expr_rows(g, mask, &rows)};
  k.first = rows.first;
  k.last = rows.last;
  k.of_first = list_of(g, k.first);
  k.of_last = list_of(g, k.last);
  return k;
}

static const Expr *
tighter(ExprGraph *g, ExprOp op, const Expr *a, const Expr *b)
{
  return a && b ? expr_normal(g, expr_op(g, op, a, b, NULL)) : a ? a : b;
}

/* Conjuncts that limit rows are taken out of what is asked of each element. */
static SpecMask
mask_parts(ExprGraph *g, const ExprSet *conjuncts)
{
  SpecMask parts = {NULL, NULL, NULL};
  ExprSet rest = {0};
  for (int i = 0; i < conjuncts->n; i++) {
    ExprRows rows;
    if (!expr_rows(g, conjuncts->at[i], &rows)) {
      *vec_push(g->arena, &rest) = conjuncts->at[i];
      continue;
    }
    parts.first = tighter(g, EXPR_OP_MAX, parts.first, rows.first);
    parts.last = tighter(g, EXPR_OP_MIN, parts.last, rows.last);
  }
  if (rest.n)
    parts.rest = expr_all(g, &rest);
  return parts;
}

/* What all masks come to, part by part. */
typedef struct Masks {
  Bounds bounds;
  ExprSet rest;
  int chunk[2]; /* of each alignment, as in Bounds; 0: none */
} Masks;

static void
take_part(const Spec *s, ExprGraph *g, const Expr *e, Masks *to)
{
  ExprBound b;
  if (expr_is_bound(g, e, &b)) {
    tighten(&to->bounds, b);
    return;
  }
  for (int corner = 1; corner >= 0; corner--) {
    int n = to->chunk[corner] ? 0 : spec_is_chunk(s, g, e, corner);
    to->chunk[corner] += n;
    if (n)
      return;
  }
  *vec_push(g->arena, &to->rest) = e;
}

/* The alignment whose bounds and chunk are fields: that of prefix_len; else bottom-right
 * where anything is. */
static int
corner_of(const Spec *s, const Masks *m)
{
  if (s->prefix_len)
    return s->align == ALIGN_BOTTOM_RIGHT;
  return m->bounds.at[1][0] >= 0 || m->bounds.at[1][1] >= 0 || m->chunk[1];
}

static const SpecExprs *
one_mask(ExprGraph *g, const Expr *mask)
{
  const Expr **at = NEW(g->arena, const Expr *);
  SpecExprs *e = NEW(g->arena, SpecExprs);
  *at = mask;
  *e = mask == expr_bool(g, true) ? (SpecExprs){0} : with_lists(g, at, 1);
  return e;
}

/* The fields as the canonical text has them, and the masks that are none. */
static void
masks_to_fields(Spec *s, ExprGraph *g, Masks *m)
{
  int corner = corner_of(s, m);
  bounds_to_fields(s, g, &m->bounds, corner, &m->rest);
  if (m->chunk[!corner])
    *vec_push(s->arena, &m->rest) = spec_sugar_chunk(s, g, m->chunk[!corner], !corner);
  s->attention_chunk = m->chunk[corner];
  bool aligned = s->causal || s->window[0] >= 0 || s->window[1] >= 0 || m->chunk[corner];
  s->align = aligned && !corner ? ALIGN_TOP_LEFT : ALIGN_BOTTOM_RIGHT;
}

static void
take_masks(SpecLoad *l, ExprGraph *g, ExprSet *masks)
{
  Spec *s = l->spec;
  Masks m = {.bounds = {{{-1, -1}, {-1, -1}}}};
  ExprSet parts = {0};
  bool corner = s->align == ALIGN_BOTTOM_RIGHT;
  const Expr *prefix = s->prefix_len ? spec_sugar_prefix(s, g) : NULL;
  const Expr *bits = spec_sugar_bits(s, g);
  bounds_of_fields(s, &m.bounds);
  if (s->attention_chunk)
    *vec_push(l->arena, masks) = spec_sugar_chunk(s, g, s->attention_chunk, corner);
  expr_conjuncts(g, expr_all(g, masks), &parts);
  for (int i = 0; i < parts.n; i++)
    if (parts.at[i] != prefix && parts.at[i] != bits)
      take_part(s, g, parts.at[i], &m);
  masks_to_fields(s, g, &m);
  s->own_mask = *one_mask(g, expr_all(g, &m.rest));
  if (s->attention_chunk)
    *vec_push(l->arena, &m.rest) =
        spec_sugar_chunk(s, g, s->attention_chunk, s->align == ALIGN_BOTTOM_RIGHT);
  if (prefix)
    *vec_push(l->arena, &m.rest) = prefix;
  if (bits)
    *vec_push(l->arena, &m.rest) = bits;
  s->mask_mod = *one_mask(g, expr_all(g, &m.rest));
  if (s->mask_mod.n)
    s->keys = keys_of(g, s->mask_mod.at[0]);
  s->mask = mask_parts(g, &m.rest);
  if (l->mask_mod && s->own_mask.n)
    check_length(l, g, l->mask_mod, s->own_mask.at[0], EXPR_IS_MASK);
}

static SpecExprs
slopes_of(ExprGraph *g, const SpecExprs *mods)
{
  const Expr **at = NEW_N(g->arena, const Expr *, mods->n + 1);
  ExprList *lists = NEW_N(g->arena, ExprList, mods->n + 1);
  for (int i = 0; i < mods->n; i++) {
    at[i] = expr_normal(g, expr_derive(g, mods->at[i], expr_var(g, EXPR_SCORE)));
    const Expr *both[2] = {mods->at[i], at[i]};
    lists[i] = expr_list(g, both, 2, g->arena);
    expr_known_ranges(g, &lists[i]);
  }
  return (SpecExprs){at, lists, mods->n};
}

static void
take_scores(SpecLoad *l, ExprGraph *g, const ExprSet *own)
{
  Spec *s = l->spec;
  ExprSet all = {0};
  spec_sugar_scores(s, g, &all);
  int sugar = all.n;
  for (int i = 0; i < own->n; i++) {
    if (own->at[i] == expr_var(g, EXPR_SCORE))
      continue;
    *vec_push(l->arena, &all) = own->at[i];
    check_length(l, g, l->score_mod, own->at[i], EXPR_IS_SCORE);
  }
  s->score_mod = with_lists(g, all.at, all.n);
  s->own_score = with_lists(g, all.at + sugar, all.n - sugar);
}

static void
take_sink(Spec *s, ExprGraph *g)
{
  const Expr **at = NEW(g->arena, const Expr *);
  *at = spec_sugar_sink(s, g);
  if (*at)
    s->sink_logit = with_lists(g, at, 1);
}

/* ---- what op bwd differentiates besides ---- */

/* By the variable that stands for it: each element is that of pairs that are known. */
static bool
is_plain_load(const Expr *e, const SpecTable *t)
{
  static const ExprVar of[SIZE_COUNT] = {
      [SIZE_B] = EXPR_B,           [SIZE_H] = EXPR_H,           [SIZE_HK] = EXPR_HK,
      [SIZE_SQ] = EXPR_Q_IDX,      [SIZE_TOTAL_Q] = EXPR_Q_IDX, [SIZE_SK] = EXPR_KV_IDX,
      [SIZE_TOTAL_K] = EXPR_KV_IDX};
  for (int i = 0; i < e->n; i++) {
    const SpecAxis *a = &t->axes.at[i];
    bool same = a->name && a->by <= 1 && e->arg[i]->op == EXPR_OP_VAR &&
                e->arg[i]->i == (int)of[a->size];
    if (!same)
      return false;
  }
  return true;
}

/* The only way in which scores read the table; NULL: they do not, or by another index. */
static const Expr *
plain_load(const Spec *s, int table)
{
  const Expr *found = NULL;
  for (int i = 0; i < s->score_mod.n; i++) {
    const ExprList *list = &s->score_mod.lists[i];
    for (int k = 0; k < list->n; k++) {
      const Expr *e = list->at[k];
      if (e->op != EXPR_OP_LOAD || e->i != table)
        continue;
      if (!is_plain_load(e, &s->tables.at[table]))
        return NULL;
      found = e;
    }
  }
  return found;
}

/* The place in the list, for messages. */
static const DocNode *
listed(const SpecLoad *l, const char *name)
{
  const DocNode *n = l->grad->first;
  while (n && !str_eq(n->text, name))
    n = n->next;
  return n ? n : l->grad;
}

static void
take_lists(Spec *s, ExprGraph *g, const Expr *load, SpecGrad *to)
{
  const SpecExprs *mods = &s->score_mod;
  const Expr **by = NEW_N(g->arena, const Expr *, mods->n + 1);
  ExprList *lists = NEW_N(g->arena, ExprList, mods->n + 1);
  for (int i = 0; i < mods->n; i++) {
    by[i] = expr_normal(g, expr_derive(g, mods->at[i], load));
    const Expr *all[3] = {mods->at[i], s->score_slope.at[i], by[i]};
    lists[i] = expr_list(g, all, 3, g->arena);
    expr_known_ranges(g, &lists[i]);
  }
  to->by = by;
  to->lists = lists;
}

static void
take_grad(SpecLoad *l, ExprGraph *g, int table, SpecGrad *to)
{
  Spec *s = l->spec;
  const SpecTable *t = &s->tables.at[table];
  Dtype ty = spec_table_dtype(t);
  const Expr *load = plain_load(s, table);
  to->name = arena_printf(l->arena, "d%s", t->name);
  to->table = table;
  if (ty == DT_I32 || ty == DT_U32)
    spec_fault(l, listed(l, t->name)->place, SE_WORD, "gradients are of f32",
               "`%s` holds whole numbers", t->name);
  else if (t->slot != ATTNC_SINK && !load)
    spec_fault(l, listed(l, t->name)->place, SE_WORD,
               "its indices are `b`, `h`, `hk`, `q_idx` and `kv_idx`, as its axes say",
               "no score reads `%s`, or by another index", t->name);
  else if (t->slot != ATTNC_SINK)
    take_lists(s, g, load, to);
}

/* The table of a word of the field, or of a declared tensor; -1: the spec has none. */
static int
table_named(const Spec *s, const char *name, size_t n)
{
  for (int i = 0; i < s->tables.n; i++)
    if (strlen(s->tables.at[i].name) == n && !strncmp(s->tables.at[i].name, name, n))
      return i;
  return -1;
}

static void
take_grads(SpecLoad *l, ExprGraph *g)
{
  Spec *s = l->spec;
  const Field *f = spec_field("grad");
  int fixed = spec_words(f), n = 0;
  SpecGrad *at = NEW_N(l->arena, SpecGrad, fixed + s->tensors.n + 1);
  for (int i = 0; i < fixed + s->tensors.n; i++) {
    size_t len;
    const char *word = i < fixed ? spec_word(f, i, &len) : s->tensors.at[i - fixed].name;
    len = i < fixed ? len : strlen(word);
    if (!(s->grad >> i & 1u) || (len == 3 && !strncmp(word, "lse", 3)))
      continue;
    int table = table_named(s, word, len);
    if (table < 0) {
      spec_fault(l, l->grad->place, SE_NEEDS, NULL,
                 "`grad` of `%.*s`, which the spec has not", (int)len, word);
      continue;
    }
    at[n].slot = i < fixed ? tensor_find(arena_printf(l->arena, "d%.*s", (int)len, word))
                           : ATTNC_SLOT_COUNT + s->tensors.n + i - fixed;
    take_grad(l, g, table, &at[n++]);
  }
  s->grads = (SpecGrads){at, n};
}

void
spec_read_exprs(SpecLoad *l)
{
  ExprSet masks = {0}, scores = {0};
  for (int i = 0; i < l->spec->tensors.n; i++)
    if (!l->spec->tensors.at[i].axes.n)
      return; /* reported; what reads it cannot be checked */
  ExprGraph *g = expr_graph(l->arena, names_of(l->spec));
  l->spec->graph = g;
  read_all(l, g, "mask_mod", l->mask_mod, EXPR_IS_MASK, &masks);
  read_all(l, g, "score_mod", l->score_mod, EXPR_IS_SCORE, &scores);
  if (l->errors)
    return;
  take_masks(l, g, &masks);
  take_scores(l, g, &scores);
  take_sink(l->spec, g);
  l->spec->score_slope = slopes_of(g, &l->spec->score_mod);
  take_grads(l, g);
  l->spec->mask_cost = expr_cost(g, &l->spec->mask.rest, l->spec->mask.rest != NULL);
  l->spec->score_cost = expr_cost(g, l->spec->score_mod.at, l->spec->score_mod.n);
}
