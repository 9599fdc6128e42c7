/* A mutation fuzzer of the parser and checker of expressions, in process and deterministic:
 * the same seed gives the same texts.  They begin as random well-typed expressions, or as
 * masks and scores that people write.
 *
 *   fuzz_expr [--runs N] [--seed N]
 *
 * Whatever the text: there is a node, or there are faults with a place within it and words
 * that can be printed; and a node is what its text is read as, and its normal form's too.
 */
#include "tests/fuzz/fuzz_args.h"
#include "tests/unit/expr_random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 6000 };

typedef struct Fuzz {
  Random r;
  char text[MAX_TEXT + 1];
  size_t n;
  ExprKind kind;
  long accepted, refused, faults;
} Fuzz;

static const char *const corpus[] = {
    "q_idx + sk - sq >= kv_idx",
    "kv_idx < 4 || q_idx - kv_idx <= 4095 && q_idx >= kv_idx",
    "doc[b, q_idx] == doc[b, kv_idx] && q_idx >= kv_idx",
    "(q_idx // 64 == kv_idx // 64) | (kv_idx % 128 >= 120)",
    "abs(q_idx - kv_idx) <= 32 ? true : h % 2 == 1",
    "score + table[h, max(-16, min(16, kv_idx - q_idx)) + 16]",
    "cap * tanh(score / cap) - gain * abs(q_idx - kv_idx)",
    "start[q_idx] <= kv_idx ? score * sigmoid(score) : -inf",
    "relu(score) ** 2",
    "score * exp2(-0x7f * f32(b ^ h) / 1.5e-3)"};

static void
replace(Fuzz *f, size_t at, size_t gone, const char *with, size_t n)
{
  if (f->n - gone + n > MAX_TEXT)
    return;
  memmove(f->text + at + n, f->text + at + gone, f->n - at - gone);
  memcpy(f->text + at, with, n);
  f->n += n - gone;
}

static size_t
somewhere(Fuzz *f)
{
  return (size_t)random_below(&f->r, (int)f->n + 1);
}

static void
put_word(Fuzz *f)
{
  static const char *const words[] = {"q_idx",      " kv_idx ",
                                      "score",      "doc",
                                      "start[",     "table[b, h]",
                                      "cap",        "min(",
                                      "max",        "i32(",
                                      "f32",        "exp2(1)",
                                      "inf",        "true",
                                      "and",        "<=",
                                      "==",         "=",
                                      "&&",         "||",
                                      "//",         "**",
                                      "?",          ":",
                                      "!",          "~",
                                      "-",          "-2147483648",
                                      "0x8",        "1e39",
                                      "2147483648", "0.0 / 0",
                                      ")",          "(((((",
                                      "]",          "[[",
                                      ",",          "\xe2\x80\xa8",
                                      "\xff",       "1.5f",
                                      "é"};
  const char *word = words[random_below(&f->r, (int)(sizeof words / sizeof *words))];
  replace(f, somewhere(f), 0, word, strlen(word));
}

static void
put_byte(Fuzz *f)
{
  char c = (char)(1 + random_below(&f->r, 255));
  replace(f, somewhere(f), 0, &c, 1);
}

static void
cut(Fuzz *f)
{
  size_t at = somewhere(f), n = (size_t)random_below(&f->r, 8);
  replace(f, at, n > f->n - at ? f->n - at : n, "", 0);
}

static void
twice(Fuzz *f)
{
  char part[64];
  size_t at = somewhere(f), n = f->n - at < sizeof part ? f->n - at : sizeof part;
  memcpy(part, f->text + at, n);
  replace(f, somewhere(f), 0, part, n);
}

static void
make_text(Fuzz *f)
{
  static void (*const mutations[])(Fuzz *) = {put_word, put_word, put_byte, cut, twice};
  Arena *arena = arena_new(0);
  ExprGraph *g = expr_graph(arena, &random_names);
  const char *from = corpus[random_below(&f->r, (int)(sizeof corpus / sizeof *corpus))];
  f->kind = random_below(&f->r, 2) ? EXPR_IS_MASK : EXPR_IS_SCORE;
  if (random_below(&f->r, 2)) {
    bool score = f->kind == EXPR_IS_SCORE;
    Str s = str_new(arena);
    expr_print(
        g,
        random_expr(&f->r, g, score ? EXPR_F32 : EXPR_BOOL, random_below(&f->r, 6), score),
        &s);
    from = s.p;
  }
  f->n = strlen(from) < MAX_TEXT ? strlen(from) : MAX_TEXT;
  memcpy(f->text, from, f->n);
  for (int i = random_below(&f->r, 5); i > 0; i--)
    mutations[random_below(&f->r, 5)](f);
  f->text[f->n] = 0;
  arena_free(arena);
}

/* ---- what must hold ---- */

static int
broken(const Fuzz *f, const char *what)
{
  fprintf(stderr, "fuzz_expr: %s: %s\n", what, f->text);
  return 1;
}

static bool
printable(const char *p)
{
  for (; p && *p; p++)
    if ((unsigned char)*p < 0x20 || *p == 0x7f)
      return false;
  return true;
}

static int
check_faults(const Fuzz *f, const ExprParse *p)
{
  for (int i = 0; i < p->faults.n; i++) {
    const ExprFault *x = &p->faults.at[i];
    if (x->at > f->n || !x->width || (x->width > 1 && x->at + x->width > f->n))
      return broken(f, "a fault without a place in the text");
    if (!printable(x->message) || !printable(x->help) || x->what >= EXPR_ERRORS)
      return broken(f, "a fault that cannot be said");
  }
  return 0;
}

/* Of a long text the normal form may be longer than one text may be. */
static int
check_again(const Fuzz *f, ExprGraph *g, const Expr *e, bool normal)
{
  ExprParse again;
  Str s = str_new(g->arena);
  expr_print(g, e, &s);
  expr_parse(g, s.p, f->kind, &again);
  if (normal && !again.root && again.faults.at[0].what == EXPR_ERR_SIZE)
    return 0;
  return again.root == e ? 0 : broken(f, "a node that is read as another");
}

static int
run_one(Fuzz *f)
{
  Arena *arena = arena_new(0);
  ExprGraph *g = expr_graph(arena, &random_names);
  ExprParse p;
  /* A copy of the exact size: reading past its end is seen by AddressSanitizer. */
  char *exact = malloc(f->n + 1);
  if (!arena || !exact)
    return broken(f, "out of memory");
  memcpy(exact, f->text, f->n + 1);
  expr_parse(g, exact, f->kind, &p);
  int bad = check_faults(f, &p);
  if (!bad && !p.root != (p.faults.n > 0))
    bad = broken(f, "a node and faults");
  if (!bad && p.root) {
    const Expr *n = expr_normal(g, p.root);
    bad = check_again(f, g, p.root, false) || check_again(f, g, n, true);
    if (!bad && expr_normal(g, n) != n)
      bad = broken(f, "a normal form that is not normal");
  }
  f->accepted += p.root != NULL;
  f->refused += p.root == NULL;
  f->faults += p.faults.n;
  arena_free(arena);
  free(exact);
  return bad;
}

int
main(int argc, char **argv)
{
  static Fuzz f;
  FuzzArgs args = {.runs = 20000, .seed = 1};
  if (!fuzz_args(&args, argc, argv) || args.keep)
    return broken(&f, "usage: fuzz_expr [--runs N] [--seed N]");
  long runs = args.runs;
  f.r.seed = args.seed;
  for (long i = 0; i < runs; i++) {
    make_text(&f);
    if (run_one(&f)) {
      fprintf(stderr, "fuzz_expr: run %ld\n", i);
      return 1;
    }
  }
  printf("fuzz_expr: %ld texts: %ld accepted, %ld refused with %ld faults\n", runs,
         f.accepted, f.refused, f.faults);
  return 0;
}
