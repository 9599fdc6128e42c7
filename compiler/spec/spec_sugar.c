/* Fields that are sugar over expressions: each is a text that is read as a mask_mod or
 * score_mod of the spec would be, so that there is one meaning and one lowering of both. */
#include "compiler/spec/spec_load.h"

#include <string.h>

/* ---- what the texts read ---- */

/* Indices of `dtype` in SpecTable. */
enum { WORD_I32, WORD_FP32, WORD_U32 = 4 };

static SpecTable
alibi_slopes(const Spec *s)
{
  const SpecAxis b = {.name = "b", .size = SIZE_B}, h = {.name = "h", .size = SIZE_H};
  SpecTable t = {.name = "alibi_slopes", .dtype = WORD_FP32};
  if (s->alibi_slopes == ALIBI_BH)
    t.axes.at[t.axes.n++] = b;
  t.axes.at[t.axes.n++] = h;
  return t;
}

static SpecTable
bias(const Spec *s)
{
  return (SpecTable){
      .name = "bias", .dtype = WORD_FP32 + s->bias.dtype, .axes = s->bias.axes};
}

static SpecTable
prefix_len(const Spec *s)
{
  (void)s;
  return (SpecTable){.name = "prefix_len",
                     .dtype = WORD_I32,
                     .axes = {.at = {{.name = "b", .size = SIZE_B}}, .n = 1}};
}

static SpecTable
sink(const Spec *s)
{
  return (SpecTable){.name = "sink",
                     .dtype = WORD_FP32 + s->sink - 1,
                     .axes = {.at = {{.name = "h", .size = SIZE_H}}, .n = 1}};
}

/* By the names that declared tensors have for them, which are in the order of the sizes. */
static SpecAxis
axis_of(const Spec *s, SizeId size, int by)
{
  size_t n;
  const char *name = spec_word(&spec_table_fields[1], (int)size, &n);
  return (SpecAxis){.name = arena_strndup(s->arena, name, n), .size = size, .by = by};
}

static SpecTable
mask_bits(const Spec *s)
{
  SizeId of = s->mask_bits == MASK_BITS_NEW ? SIZE_SQ : SIZE_SK;
  SpecTable t = {.name = "mask_bits", .dtype = WORD_U32, .axes = {.n = 3}};
  t.axes.at[0] = axis_of(s, SIZE_B, 0);
  t.axes.at[1] = axis_of(s, SIZE_SQ, 0);
  t.axes.at[2] = axis_of(s, of, 32);
  return t;
}

/* Lists of blocks: how many of a row of blocks, … */
static SpecTable
list_lengths(const Spec *s, const char *name)
{
  SpecTable t = {.name = name, .dtype = WORD_I32, .axes = {.n = 3}};
  t.axes.at[0] = axis_of(s, SIZE_B, 0);
  t.axes.at[1] = axis_of(s, SIZE_H, 0);
  t.axes.at[2] = axis_of(s, SIZE_SQ, s->block_list.rows[0]);
  return t;
}

/* … and which. */
static SpecTable
list_entries(const Spec *s, const char *name)
{
  SpecTable t = list_lengths(s, name);
  t.axes.at[t.axes.n++] = axis_of(s, SIZE_SK, s->block_list.rows[1]);
  return t;
}

static SpecTable
kv_num_blocks(const Spec *s)
{
  return list_lengths(s, "kv_num_blocks");
}

static SpecTable
kv_indices(const Spec *s)
{
  return list_entries(s, "kv_indices");
}

static SpecTable
full_kv_num_blocks(const Spec *s)
{
  return list_lengths(s, "full_kv_num_blocks");
}

static SpecTable
full_kv_indices(const Spec *s)
{
  return list_entries(s, "full_kv_indices");
}

static const struct {
  int slot;
  SpecTable (*make)(const Spec *);
} own_tables[] = {{ATTNC_ALIBI_SLOPES, alibi_slopes},
                  {ATTNC_BIAS, bias},
                  {ATTNC_PREFIX_LEN, prefix_len},
                  {ATTNC_SINK, sink},
                  {ATTNC_MASK_BITS, mask_bits},
                  {ATTNC_KV_NUM_BLOCKS, kv_num_blocks},
                  {ATTNC_KV_INDICES, kv_indices},
                  {ATTNC_FULL_KV_NUM_BLOCKS, full_kv_num_blocks},
                  {ATTNC_FULL_KV_INDICES, full_kv_indices}};

/* Those of fields first, in the order of their slots. */
void
spec_collect_tables(Spec *s)
{
  enum { OWN = sizeof own_tables / sizeof *own_tables };
  SpecTable *at = NEW_N(s->arena, SpecTable, OWN + s->tensors.n);
  int n = 0;
  for (int i = 0; i < OWN; i++)
    if (spec_has(s, tensor_info[own_tables[i].slot].field)) {
      at[n] = own_tables[i].make(s);
      at[n++].slot = own_tables[i].slot;
    }
  for (int i = 0; i < s->tensors.n; i++)
    at[n++] = s->tensors.at[i];
  s->tables = (SpecTables){at, n};
}

void
spec_collect_numbers(Spec *s)
{
  SpecScalar *at = NEW_N(s->arena, SpecScalar, 1 + s->scalars.n);
  int n = 0;
  if (spec_has(s, "softcap"))
    at[n++] = (SpecScalar){.name = "softcap",
                           .initial = spec_number(s, "softcap"),
                           .constant = spec_is_constant(s, "softcap"),
                           .slot = ATTNC_SOFTCAP};
  for (int i = 0; i < s->scalars.n; i++)
    at[n++] = s->scalars.at[i];
  s->numbers = (SpecScalars){at, n};
}

/* ---- scores ---- */

static void
put_index(Str *out, const SpecAxis *a, const char *comma)
{
  static const char *const variables[] = {
      [SIZE_B] = "b",           [SIZE_H] = "h",       [SIZE_HK] = "hk",
      [SIZE_SQ] = "q_idx",      [SIZE_SK] = "kv_idx", [SIZE_TOTAL_Q] = "q_idx",
      [SIZE_TOTAL_K] = "kv_idx"};
  str_printf(out, "%s%s", comma, variables[a->size]);
}

/* Its element for this pair. */
static const char *
element_of(const Spec *s, const char *table)
{
  Str out = str_new(s->arena);
  str_printf(&out, "%s[", table);
  for (int i = 0; i < s->tables.n; i++)
    for (int a = 0; str_eq(s->tables.at[i].name, table) && a < s->tables.at[i].axes.n; a++)
      put_index(&out, &s->tables.at[i].axes.at[a], a ? ", " : "");
  str_put(&out, "]");
  return out.p;
}

/* A text of our own. */
static const Expr *
read(ExprGraph *g, const char *text, ExprKind kind)
{
  ExprParse p;
  expr_parse(g, text, kind, &p);
  return p.root ? expr_normal(g, p.root) : NULL;
}

static void
add(ExprGraph *g, const char *text, ExprKind kind, ExprSet *to)
{
  const Expr *e = read(g, text, kind);
  if (e)
    *vec_push(g->arena, to) = e;
}

/* In the order in which they are applied, before score_mod. */
void
spec_sugar_scores(const Spec *s, ExprGraph *g, ExprSet *to)
{
  if (spec_has(s, "softcap"))
    add(g, "softcap * tanh(score / softcap)", EXPR_IS_SCORE, to);
  if (spec_has(s, "alibi_slopes"))
    add(g,
        arena_printf(s->arena, "score - %s * abs(q_idx + sk - sq - kv_idx)",
                     element_of(s, "alibi_slopes")),
        EXPR_IS_SCORE, to);
  if (spec_has(s, "bias"))
    add(g, arena_printf(s->arena, "score + %s", element_of(s, "bias")), EXPR_IS_SCORE, to);
}

const Expr *
spec_sugar_sink(const Spec *s, ExprGraph *g)
{
  return spec_has(s, "sink") ? read(g, element_of(s, "sink"), EXPR_IS_SCORE) : NULL;
}

/* ---- masks ---- */

static const char *
position(bool bottom_right)
{
  return bottom_right ? "(q_idx + sk - sq)" : "q_idx";
}

const Expr *
spec_sugar_chunk(const Spec *s, ExprGraph *g, int chunk, bool bottom_right)
{
  return read(g,
              arena_printf(s->arena, "%s // %d == kv_idx // %d", position(bottom_right),
                           chunk, chunk),
              EXPR_IS_MASK);
}

/* The only constant that a chunk of this form can have; 0: it has not the form. */
static int
divisor_of(const Expr *e)
{
  for (int i = 0; e->op == EXPR_OP_EQ && i < e->n; i++)
    if (e->arg[i]->op == EXPR_OP_FLOOR_DIV && e->arg[i]->arg[1]->op == EXPR_OP_CONST)
      return e->arg[i]->arg[1]->i;
  return e->op == EXPR_OP_EQ ? 1 : 0; /* x // 1 is x */
}

int
spec_is_chunk(const Spec *s, ExprGraph *g, const Expr *e, bool bottom_right)
{
  int n = divisor_of(e);
  return n > 0 && n <= SIZE_LIMIT && e == spec_sugar_chunk(s, g, n, bottom_right) ? n : 0;
}

const Expr *
spec_sugar_prefix(const Spec *s, ExprGraph *g)
{
  return read(g,
              arena_printf(s->arena, "%s >= kv_idx || kv_idx < %s",
                           position(s->align == ALIGN_BOTTOM_RIGHT),
                           element_of(s, "prefix_len")),
              EXPR_IS_MASK);
}

const Expr *
spec_sugar_bits(const Spec *s, ExprGraph *g)
{
  static const char *const texts[] = {
      [MASK_BITS_ALL] = "(mask_bits[b, q_idx, kv_idx // 32] >> kv_idx & 1) == 1",
      [MASK_BITS_NEW] =
          "kv_idx < sk - sq || (mask_bits[b, q_idx, (kv_idx - (sk - sq)) // 32] "
          ">> (kv_idx - (sk - sq)) & 1) == 1"};
  return s->mask_bits ? read(g, texts[s->mask_bits], EXPR_IS_MASK) : NULL;
}
