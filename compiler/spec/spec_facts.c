/* What a checked spec says, asked for by whoever needs it. */
#include "compiler/spec/spec_load.h"

#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

bool
spec_tensors_agree(const unsigned v[ATTNC_SLOT_COUNT])
{
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    if (tensor_is_typed(i) && v[i] != v[0])
      return false;
  return true;
}

/* Of FT_SCALE: a number, or the one formula; NaN: the row has none. */
static double
scale_default(Member m)
{
  if (!m.f->initial)
    return NAN;
  return str_eq(m.f->initial, "1/sqrt(head_dim)") ? 1 / sqrt(m.s->head_dim)
                                                  : str_real(m.f->initial);
}

double
spec_member_number(Member m)
{
  double v = *(const double *)m.at;
  return isnan(v) ? scale_default(m) : v;
}

static bool
is_word(const Field *f, unsigned i, const char *word)
{
  size_t n;
  const char *p = spec_word(f, (int)i, &n);
  return strlen(word) == n && !strncmp(word, p, n);
}

static bool
int_is_default(Member m)
{
  const Field *same = m.f->initial ? spec_field(m.f->initial) : NULL;
  return spec_member_int(m) == (same ? spec_member_int(spec_member(m.s, same)) : 0);
}

static bool
has_constants(const SpecScalars *all)
{
  for (int i = 0; i < all->n; i++)
    if (all->at[i].constant)
      return true;
  return false;
}

bool
spec_is_default(Member m)
{
  const int *pair = m.at;
  const unsigned *words = m.at;
  if (m.f->required)
    return false;
  switch (m.f->type) {
  case FT_INT:
    return int_is_default(m);
  case FT_BOOL:
    return *(const bool *)m.at == str_eq(m.f->initial, "true");
  case FT_SWITCH:
    return *words == 0;
  case FT_ENUM:
    return is_word(m.f, *words, m.f->initial);
  case FT_DTYPES:
  case FT_LAYOUTS:
    return spec_tensors_agree(words) && is_word(m.f, *words, m.f->initial);
  case FT_WINDOW:
    return pair[0] < 0 && pair[1] < 0;
  case FT_SCALE:
    return isnan(*(const double *)m.at) || spec_member_number(m) == scale_default(m);
  case FT_NAMES:
    return *words == 0 && !has_constants(&m.s->scalars);
  case FT_TENSORS:
  case FT_GRADS:
    return *words == 0;
  case FT_EXPRS:
    return ((const SpecExprs *)m.at)->n == 0;
  case FT_BIAS:
    return ((const SpecBias *)m.at)->axes.n == 0;
  case FT_BLOCKS:
    return ((const SpecBlocks *)m.at)->rows[0] == 0;
  case FT_ROPE:
    return ((const SpecRope *)m.at)->dim == 0;
  case FT_TABLES:
    return ((const SpecTables *)m.at)->n == 0;
  case FT_SCALARS:
    return ((const SpecScalars *)m.at)->n == 0;
  default:
    return false;
  }
}

bool
spec_has(const Spec *s, const char *key)
{
  const Field *f = spec_field(key);
  return f && !spec_is_default(spec_member(s, f));
}

/* Which field has a tensor of a slot, looked up by name once. */
typedef struct SlotField {
  const Field *f; /* NULL: every spec has the tensor */
  int word;       /* of a switch, or of a list; -1: the field is there */
  bool of_switch;
} SlotField;

static SlotField slot_fields[ATTNC_SLOT_COUNT];

static int
word_of(const Field *f, const char *word)
{
  int n = f ? spec_words(f) : 0, i = 0;
  while (i < n && !is_word(f, (unsigned)i, word))
    i++;
  return i;
}

/* "key:word" is of a switch. */
static SlotField
find_slot(int slot)
{
  const TensorInfo *t = &tensor_info[slot];
  const char *colon = strchr(t->field, ':');
  char key[64];
  snprintf(key, sizeof key, "%.*s", (int)strcspn(t->field, ":"), t->field);
  SlotField x = {.f = spec_field(key), .word = -1, .of_switch = colon != NULL};
  if (colon)
    x.word = word_of(x.f, colon + 1);
  else if (x.f && (x.f->type == FT_TENSORS || x.f->type == FT_GRADS))
    x.word = word_of(x.f, t->name + str_eq(key, "grad")); /* dlse: of lse */
  return x;
}

static void
find_slots(void)
{
  for (int slot = 0; slot < ATTNC_SLOT_COUNT; slot++)
    slot_fields[slot] = find_slot(slot);
}

static bool
switch_says(const Spec *s, const SlotField *x)
{
  unsigned at = x->f ? *(const unsigned *)spec_member(s, x->f).at : 0;
  return at >= SWITCH_WORDS && (int)(at - SWITCH_WORDS) == x->word;
}

/* A prefix is rows of its own, or pages among the others. */
static bool
is_where_keys_are(const Spec *s, int slot)
{
  bool rows = slot == ATTNC_K_PREFIX || slot == ATTNC_V_PREFIX;
  return s->page_table ? !rows : slot != ATTNC_PREFIX_PAGES;
}

bool
spec_has_tensor(const Spec *s, int slot)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, find_slots);
  const SlotField *x = &slot_fields[slot];
  if (x->of_switch)
    return switch_says(s, x);
  if (!is_where_keys_are(s, slot))
    return false;
  if (!x->f || x->word < 0)
    return !x->f || !spec_is_default(spec_member(s, x->f));
  unsigned listed = *(const unsigned *)spec_member(s, x->f).at;
  return x->word < 32 && (listed >> x->word & 1u);
}

bool
spec_score_has_slope(const Spec *s)
{
  for (int i = 0; i < s->score_slope.n; i++) {
    const Expr *e = s->score_slope.at[i];
    if (e->op != EXPR_OP_CONST || e->f != 1)
      return true;
  }
  return false;
}

bool
spec_has_seqlens(const Spec *s)
{
  return s->seqlens != 0;
}

bool
spec_has_lengths(const Spec *s)
{
  static const int slots[] = {ATTNC_CU_SEQLENS_Q, ATTNC_CU_SEQLENS_K, ATTNC_SEQUSED_Q,
                              ATTNC_SEQUSED_K, ATTNC_LEFTPAD_K};
  for (size_t i = 0; spec_has_seqlens(s) && i < sizeof slots / sizeof *slots; i++)
    if (spec_has_tensor(s, slots[i]))
      return true;
  return false;
}

double
spec_number(const Spec *s, const char *key)
{
  const Field *f = spec_field(key);
  double v = f && f->type == FT_SCALE ? spec_member_number(spec_member(s, f)) : NAN;
  return isinf(v) ? NAN : v;
}

bool
spec_is_constant(const Spec *s, const char *key)
{
  for (int i = 0; i < SPECIALIZE_COUNT; i++)
    if (str_eq(specialize_names[i], key))
      return spec_specializes(s, (Specialize)i);
  return false;
}

bool
spec_one_dtype(const Spec *s)
{
  return spec_tensors_agree((const unsigned *)s->dtype);
}

double
spec_scale(const Spec *s)
{
  return isnan(s->softmax_scale) ? 1 / sqrt(s->head_dim) : s->softmax_scale;
}

bool
spec_specializes(const Spec *s, Specialize what)
{
  return s->specialize >> what & 1u;
}

static bool
pin_fits(const char *pinned, const char *asked)
{
  return !pinned || !asked || str_eq(pinned, asked);
}

const Pin *
spec_pin(const Spec *s, const char *target, const char *template_name)
{
  for (int i = 0; i < s->n_pins; i++)
    if (pin_fits(s->pins[i].arch, target) &&
        pin_fits(s->pins[i].template_name, template_name))
      return &s->pins[i];
  return NULL;
}

Dtype
spec_table_dtype(const SpecTable *t)
{
  /* The field's words. */
  static const Dtype types[] = {DT_I32, DT_F32, DT_F16, DT_BF16, DT_U32};
  return types[t->dtype];
}

int64_t
spec_axis_length(const SpecAxis *a, const attnc_sizes *s)
{
  return axis_length(&(CallAxis){.size = a->size, .n = a->name ? 0 : a->n, .by = a->by}, s);
}

static bool
reads(const SpecExprs *all, int table)
{
  for (int i = 0; i < all->n; i++)
    for (int j = 0; j < all->lists[i].n; j++) {
      const Expr *e = all->lists[i].at[j];
      if (e->op == EXPR_OP_LOAD && e->i == table)
        return true;
    }
  return false;
}

static bool
is_list(int slot)
{
  return slot < ATTNC_SLOT_COUNT && str_eq(tensor_info[slot].field, "block_list");
}

bool
spec_mask_reads(const Spec *s, int table)
{
  return reads(&s->mask_mod, table) || is_list(s->tables.at[table].slot);
}

bool
spec_mask_indexes_by_element(const Spec *s, int table)
{
  const SpecExprs *all = &s->mask_mod;
  for (int i = 0; i < all->n; i++)
    for (int j = 0; j < all->lists[i].n; j++) {
      const Expr *e = all->lists[i].at[j];
      if (e->op == EXPR_OP_LOAD && e->i == table && e->n &&
          e->arg[e->n - 1]->op == EXPR_OP_LOAD)
        return true;
    }
  return false;
}

enum { LEAST_BLOCK = 16, LEAST_SHIFT = 4 };

bool
spec_index_is_block(const Expr *index)
{
  const Expr *by = index->n == 2 ? index->arg[1] : NULL;
  if (!by || by->op != EXPR_OP_CONST)
    return false;
  return (index->op == EXPR_OP_FLOOR_DIV && by->i >= LEAST_BLOCK) ||
         (index->op == EXPR_OP_SHR && by->i >= LEAST_SHIFT && by->i < 31);
}

/* Is it another one for other queries or keys of a tile? */
static bool
varies(const Expr *e)
{
  if (e->op == EXPR_OP_VAR)
    return e->i == EXPR_Q_IDX || e->i == EXPR_KV_IDX;
  for (int i = 0; i < e->n; i++)
    if (varies(e->arg[i]))
      return true;
  return false;
}

static bool
is_open_table(const Spec *s, const Expr *load)
{
  const SpecTable *x = &s->tables.at[load->i];
  for (int i = 0; i < load->n; i++) {
    const Expr *index = load->arg[i];
    bool last = i == load->n - 1, is = spec_index_is_block(index);
    bool two = last && index->op == EXPR_OP_LOAD;
    if (varies(index) && !is && !two && !(last && x->monotone))
      return true;
  }
  return load->type != EXPR_I32 || spec_table_dtype(x) != DT_I32;
}

/* Low bits alone are a remainder. */
static bool
is_remainder(const Expr *e)
{
  for (int i = 0; i < 2; i++)
    if (e->arg[i]->op == EXPR_OP_CONST && (e->arg[i]->i & (e->arg[i]->i + 1)) == 0)
      return true;
  return false;
}

static bool
is_open(const Spec *s, const Expr *e)
{
  switch (e->op) {
  case EXPR_OP_LOAD:
    return is_open_table(s, e);
  case EXPR_OP_BIT_AND:
    return varies(e) && !is_remainder(e);
  case EXPR_OP_BIT_OR:
  case EXPR_OP_BIT_XOR:
    return varies(e);
  default:
    return e->type != EXPR_F32 && e->n && e->arg[e->n > 2 ? 1 : 0]->type == EXPR_F32;
  }
}

bool
spec_mask_is_open(const Spec *s)
{
  const SpecExprs *all = &s->mask_mod;
  for (int i = 0; i < all->n; i++)
    for (int j = 0; j < all->lists[i].n; j++)
      if (is_open(s, all->lists[i].at[j]))
        return true;
  return false;
}

bool
spec_mask_asks(const Spec *s, ExprVar v)
{
  const SpecExprs *all = &s->mask_mod;
  for (int i = 0; i < all->n; i++)
    for (int j = 0; j < all->lists[i].n; j++) {
      const Expr *e = all->lists[i].at[j];
      if (e->op == EXPR_OP_VAR && e->i == (int)v)
        return true;
    }
  return false;
}

bool
spec_reads_table(const Spec *s, int table)
{
  return spec_mask_reads(s, table) || reads(&s->score_mod, table) ||
         reads(&s->sink_logit, table);
}

bool
spec_has_expressions(const Spec *s)
{
  return s->mask_mod.n || s->score_mod.n;
}

bool
spec_score_is_plain(const Spec *s)
{
  return !s->score_mod.n;
}

Band
spec_band(const Spec *s)
{
  int left = s->window[0], right = s->window[1];
  Band b = {.lo = left < 0 || left >= SIZE_LIMIT ? INT_MIN : -left,
            .hi = right < 0 || right >= SIZE_LIMIT ? INT_MAX : right,
            .bottom_right = s->align == ALIGN_BOTTOM_RIGHT};
  if (s->causal && !s->prefix_len && b.hi > 0)
    b.hi = 0;
  return b;
}

bool
spec_has_lists(const Spec *s)
{
  return s->block_list.rows[0] != 0;
}

bool
mask_hides_in_blocks(const Spec *s)
{
  Band b = spec_band(s);
  return b.lo != INT_MIN || b.hi != INT_MAX || s->mask_mod.n;
}

bool
mask_is_full(const Spec *s)
{
  return !mask_hides_in_blocks(s) && !spec_has_lists(s);
}

bool
mask_is_one_range(const Spec *s)
{
  return !spec_has_lists(s) && (!s->mask_mod.n || s->keys.one_range);
}

bool
mask_cuts_left(const Spec *s)
{
  return spec_band(s).lo != INT_MIN || s->keys.first;
}

bool
mask_cuts_right(const Spec *s)
{
  return spec_band(s).hi != INT_MAX || s->keys.last;
}

/* ---- tables that have a tile beside that of the scores ---- */

static bool
is_var_of(const Expr *e, ExprVar var, const SpecAxis *axis, SizeId size)
{
  return e->op == EXPR_OP_VAR && e->i == (int)var && axis->name && axis->size == size;
}

static bool
has_tile(const Spec *s, const Expr *e)
{
  const SpecAxis *axis = s->tables.at[e->i].axes.at;
  int n = e->n, at = 0;
  if (n < 2 || !is_var_of(e->arg[n - 2], EXPR_Q_IDX, &axis[n - 2], SIZE_SQ) ||
      !is_var_of(e->arg[n - 1], EXPR_KV_IDX, &axis[n - 1], SIZE_SK))
    return false;
  if (at < n - 2 && is_var_of(e->arg[at], EXPR_B, &axis[at], SIZE_B))
    at++;
  if (at < n - 2 && (is_var_of(e->arg[at], EXPR_H, &axis[at], SIZE_H) ||
                     is_var_of(e->arg[at], EXPR_HK, &axis[at], SIZE_HK)))
    at++;
  return at == n - 2;
}

const Expr *
spec_score_tile(const Spec *s)
{
  for (int i = 0; i < s->score_mod.n; i++)
    for (int k = 0; k < s->score_mod.lists[i].n; k++) {
      const Expr *e = s->score_mod.lists[i].at[k];
      if (e->op == EXPR_OP_LOAD && has_tile(s, e))
        return e;
    }
  return NULL;
}
