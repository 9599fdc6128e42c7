/* `seqlens` and `page_table`: the tensors that they may not bring together, and what means
 * nothing without one of them. */
#include "compiler/spec/spec_load.h"

#include <string.h>

static const DocNode *
value_of(const DocNode *map, const char *key)
{
  for (const DocNode *n = map ? map->first : NULL; n; n = n->next)
    if (n->key && str_eq(n->key, key))
      return n;
  return NULL;
}

/* NULL: the list has no such word. */
static const DocNode *
word_in(const DocNode *list, const char *word)
{
  for (const DocNode *n = list ? list->first : NULL; n; n = n->next)
    if (n->kind == DOC_SCALAR && str_eq(n->text, word))
      return n;
  return NULL;
}

/* Two tensors that exclude each other, and why. */
static const struct {
  int slot, other;
  const char *why;
} apart[] = {
    {ATTNC_CU_SEQLENS_K, ATTNC_CACHE_BATCH_IDX,
     "packed keys have no batches to choose from"},
};

/* A table says where keys are, and so do offsets. */
static void
check_pages(SpecLoad *l, const DocNode *list)
{
  const DocNode *n = word_in(list, tensor_info[ATTNC_CU_SEQLENS_K].name);
  if (n && l->spec->page_table)
    spec_fault(l, n->place, SE_APART, "`seqused_k` says how many keys of its pages count",
               "`%s` and `page_table` exclude each other: pages are not packed", n->text);
}

static void
check_mixes(SpecLoad *l, const DocNode *list)
{
  for (size_t i = 0; i < sizeof apart / sizeof *apart; i++) {
    const char *one = tensor_info[apart[i].slot].name;
    const char *other = tensor_info[apart[i].other].name;
    if (word_in(list, one) && word_in(list, other))
      spec_fault(l, word_in(list, other)->place, SE_APART,
                 arena_printf(l->arena, "remove `%s` or `%s`", one, other),
                 "`%s` and `%s` exclude each other: %s", one, other, apart[i].why);
  }
}

/* How many keys there are follows from append_at, and packed ones are no cache. */
static void
check_append(SpecLoad *l, const DocNode *list)
{
  static const int slots[] = {ATTNC_SEQUSED_K, ATTNC_CU_SEQLENS_K};
  for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
    const DocNode *n = word_in(list, tensor_info[slots[i]].name);
    if (n && l->spec->append)
      spec_fault(l, n->place, SE_APART, "append_at says how many keys there were",
                 "`%s` and `append` exclude each other", n->text);
  }
}

/* What is asked of the place of a key in the prefix is no question of one sequence, and the
 * prefix is read once for all of them. */
static const char *const of_places[] = {"prefix_len", "attention_chunk", "mask_mod",
                                        "mask_bits",  "block_list",      "alibi_slopes",
                                        "bias",       "score_mod",       "dropout"};

static void
apart_from_prefix(SpecLoad *l, const char *key, const DocNode *n, const char *why)
{
  if (n)
    spec_fault(l, n->place, SE_APART, why, "`%s` and `shared_prefix` exclude each other",
               key);
}

static void
check_prefix(SpecLoad *l, const DocNode *root)
{
  const Spec *s = l->spec;
  if (!s->shared_prefix)
    return;
  for (size_t i = 0; i < sizeof of_places / sizeof *of_places; i++)
    if (spec_has(s, of_places[i]))
      apart_from_prefix(l, of_places[i], value_of(root, of_places[i]),
                        "all queries see all keys of the prefix, with scores that no place "
                        "is part of");
  if (s->window[0] >= 0)
    apart_from_prefix(l, "window", value_of(root, "window"),
                      "a window that is bounded to the left ends in the prefix");
  if (s->align == ALIGN_TOP_LEFT)
    apart_from_prefix(l, "align", value_of(root, "align"),
                      "the first query stands behind the prefix");
  if (s->page_table == PAGE_TABLE_KV)
    apart_from_prefix(l, "page_table", value_of(root, "page_table"),
                      "`prefix_pages` says the pages of both: `page_table: true`");
}

/* Where the first row stands is a question of the embedding alone. */
static void
check_positions(SpecLoad *l, const DocNode *list)
{
  const DocNode *n = word_in(list, tensor_info[ATTNC_ROTARY_AT].name);
  if (n && !l->spec->rope.dim)
    spec_fault(l, n->place, SE_NEEDS, "add `rope: {dim: 64}`",
               "`%s` has no meaning without `rope`", n->text);
}

/* Words that are sizes of packed rows and of a cache, as axes and as constants of a kernel;
 * the tensor that brings each. */
static const struct {
  const char *word;
  int slot;
} brought[] = {{"tq", ATTNC_CU_SEQLENS_Q},
               {"tk", ATTNC_CU_SEQLENS_K},
               {"total_q", ATTNC_CU_SEQLENS_Q},
               {"total_k", ATTNC_CU_SEQLENS_K},
               {"bc", ATTNC_CACHE_BATCH_IDX},
               {"pages", ATTNC_PAGE_TABLE},
               {"page_size", ATTNC_PAGE_TABLE},
               {"max_pages", ATTNC_PAGE_TABLE},
               {"max_prefix_pages", ATTNC_PREFIX_PAGES}};

static void
check_brought(SpecLoad *l, const DocNode *list)
{
  for (size_t i = 0; i < sizeof brought / sizeof *brought; i++) {
    const DocNode *n = word_in(list, brought[i].word);
    const char *tensor = tensor_info[brought[i].slot].name;
    bool pages = brought[i].slot == ATTNC_PAGE_TABLE;
    if (n && !spec_has_tensor(l->spec, brought[i].slot))
      spec_fault(
          l, n->place, SE_NEEDS,
          arena_printf(l->arena, pages ? "add `%s: true`" : "add `seqlens: [%s]`", tensor),
          "`%s` has no meaning without `%s`", n->text, tensor);
  }
}

void
spec_check_seqlens(SpecLoad *l, const DocNode *root)
{
  const DocNode *tables = value_of(root, "tensors");
  check_mixes(l, value_of(root, "seqlens"));
  check_pages(l, value_of(root, "seqlens"));
  check_positions(l, value_of(root, "seqlens"));
  check_append(l, value_of(root, "seqlens"));
  check_prefix(l, root);
  check_brought(l, value_of(root, "specialize"));
  check_brought(l, value_of(value_of(root, "bias"), "axes"));
  for (const DocNode *n = tables ? tables->first : NULL; n; n = n->next)
    check_brought(l, value_of(n, "axes"));
}
