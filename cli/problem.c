#include "cli/problem.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

typedef enum Word {
  W_B,
  W_H,
  W_SQ,
  W_SK,
  W_S,
  W_D,
  W_WINDOW,
  W_PAGE,
  W_S_NEW,
  W_PARTS,
  W_SPLITS,
  W_ITEMS,
  W_SP,
  W_COUNT
} Word;

/* prefix, separator of a second number (0: there is none), least value */
static const struct {
  const char *prefix;
  char second;
  int64_t least;
} words[W_COUNT] = {
    [W_B] = {"b", 0, 0},
    [W_H] = {"h", '/', 1},
    [W_SQ] = {"sq", 0, 0},
    [W_SK] = {"sk", 0, 0},
    [W_S] = {"s", 0, 0},
    [W_D] = {"d", '/', 1},
    [W_WINDOW] = {"w", ',', -1},
    [W_PAGE] = {"page_size", 0, 1},
    [W_S_NEW] = {"s_new", 0, 0},
    [W_PARTS] = {"parts", 0, 0},
    [W_SPLITS] = {"num_splits", 0, 1},
    [W_ITEMS] = {"max_items", 0, 1},
    [W_SP] = {"sp", 0, 0},
};

static bool
number(const char **p, int64_t least, int64_t *out)
{
  return str_whole(p, out) && *out >= least && *out <= PROBLEM_MAX_SIZE;
}

/* "h8/2": which word it is, with its one or two numbers; W_COUNT if it is none. */
static Word
numbered(const char *text, int64_t v[2])
{
  for (int w = 0; w < W_COUNT; w++) {
    const char *p = text + strlen(words[w].prefix);
    v[1] = -2;
    if (!str_starts(text, words[w].prefix) || !number(&p, words[w].least, &v[0]))
      continue;
    if (*p && *p == words[w].second) {
      p++;
      if (!number(&p, words[w].least, &v[1]))
        continue;
    }
    if (*p == 0)
      return (Word)w;
  }
  return W_COUNT;
}

static void
store(Problem *p, Word w, const int64_t v[2])
{
  switch (w) {
  case W_B:
    p->sizes.b = v[0];
    break;
  case W_H:
    p->sizes.h = v[0];
    p->sizes.hk = v[1] == -2 ? 0 : v[1];
    break;
  case W_S:
    p->sizes.sq = p->sizes.sk = v[0];
    break;
  case W_SQ:
    p->sizes.sq = v[0];
    break;
  case W_SK:
    p->sizes.sk = v[0];
    break;
  case W_D:
    p->head_dim = (int)v[0];
    p->head_dim_v = (int)(v[1] == -2 ? v[0] : v[1]);
    break;
  case W_PAGE:
    p->sizes.page_size = v[0];
    break;
  case W_S_NEW:
    p->sizes.s_new = v[0];
    break;
  case W_PARTS:
    p->sizes.parts = v[0];
    break;
  case W_SPLITS:
    p->sizes.num_splits = v[0];
    break;
  case W_ITEMS:
    p->sizes.max_items = v[0];
    break;
  case W_SP:
    p->sizes.sp = v[0];
    break;
  case W_WINDOW:
    p->has_window = true;
    p->window[0] = v[0];
    p->window[1] = v[1];
    break;
  default:
    break;
  }
}

enum { SEEN_DTYPE = W_COUNT, SEEN_MASK, SEEN_ALIGN };

/* Marks a kind of word; false if it was there before. */
static bool
first(unsigned *seen, int kind)
{
  unsigned bits = 1u << kind;
  if (kind == W_S)
    bits = 1u << W_SQ | 1u << W_SK;
  bool fresh = !(*seen & bits);
  *seen |= bits;
  return fresh;
}

static attnc_status
take(Problem *p, const char *text, unsigned *seen, attnc_error *e)
{
  int64_t v[2];
  Word w = numbered(text, v);
  int kind = (int)w;
  if (w != W_COUNT) {
    if (w == W_WINDOW && v[1] == -2)
      return err_set(e, ATTNC_ERR_USAGE, "%s: a window is wLEFT,RIGHT", text);
    store(p, w, v);
  } else if (str_eq(text, "bf16") || str_eq(text, "fp16") || str_eq(text, "fp32")) {
    kind = SEEN_DTYPE;
    strcpy(p->dtype, text);
  } else if (str_eq(text, "causal") || str_eq(text, "full")) {
    kind = SEEN_MASK;
    p->causal = str_eq(text, "causal") ? 2 : 1;
  } else if (str_eq(text, "top_left")) {
    kind = SEEN_ALIGN;
    p->top_left = true;
  } else {
    return err_set(e, ATTNC_ERR_USAGE,
                   "%s is no word of a problem: b2 h8/2 sq128 sk256 s128 bf16 d64 "
                   "causal full top_left w128,0, sizes up to %d",
                   text, PROBLEM_MAX_SIZE);
  }
  if (!first(seen, kind))
    return err_set(e, ATTNC_ERR_USAGE, "%s: said twice", text);
  return ATTNC_OK;
}

attnc_status
problem_parse(const char *text, Problem *p, attnc_error *e)
{
  unsigned seen = 0;
  p->sizes.size = sizeof p->sizes;
  if (!text[strspn(text, " \t\r\n")])
    return err_set(e, ATTNC_ERR_USAGE,
                   "the shape says nothing: b2 h8/2 sq128 sk256 is one");
  while (*(text += strspn(text, " \t\r\n"))) {
    size_t n = strcspn(text, " \t\r\n");
    char word[48];
    if (n >= sizeof word)
      return err_set(e, ATTNC_ERR_USAGE, "%.40s… is no word of a problem", text);
    memcpy(word, text, n);
    word[n] = 0;
    TRY(take(p, word, &seen, e));
    text += n;
  }
  return ATTNC_OK;
}

void
problem_print(const attnc_sizes *z, Str *s)
{
  str_printf(s, "b%lld h%lld", (long long)z->b, (long long)z->h);
  if (z->hk != z->h)
    str_printf(s, "/%lld", (long long)z->hk);
  if (z->sq == z->sk)
    str_printf(s, " s%lld", (long long)z->sq);
  else
    str_printf(s, " sq%lld sk%lld", (long long)z->sq, (long long)z->sk);
  const struct {
    const char *name;
    int64_t n;
  } more[] = {{"total_q", z->total_q},
              {"total_k", z->total_k},
              {"bc", z->bc},
              {"pages", z->pages},
              {"page_size", z->page_size},
              {"max_pages", z->max_pages},
              {"s_new", z->s_new},
              {"total_new", z->total_new},
              {"rotary_len", z->rotary_len},
              {"parts", z->parts},
              {"num_splits", z->num_splits},
              {"max_items", z->max_items},
              {"sp", z->sp},
              {"max_prefix_pages", z->max_prefix_pages}};
  for (size_t i = 0; i < sizeof more / sizeof *more; i++)
    if (more[i].n)
      str_printf(s, " %s%lld", more[i].name, (long long)more[i].n);
}

const char *
problem_of(const char *text, const char *name, Arena *arena)
{
  size_t len = strlen(name);
  for (const char *line = text; *line;) {
    size_t n = strcspn(line, "\n");
    size_t used = strcspn(line, "#\n");
    const char *p = line + strspn(line, " \t");
    size_t word = strcspn(p, " \t\n#");
    if (word == len && !memcmp(p, name, len) && p + word < line + used)
      return arena_strndup(arena, p + word, (size_t)(line + used - (p + word)));
    line += n + (line[n] == '\n');
  }
  return NULL;
}
