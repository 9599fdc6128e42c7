/* A mutation fuzzer of attnc_spec_load, in process and deterministic: the same seed gives
 * the same texts.  The corpus is specs/ and tests/bad/.
 *
 *   fuzz_spec [--runs N] [--seed N] [--keep FILE]
 *
 * Whatever the text, loading ends with OK or ERR_SPEC, errors have a place within the text,
 * and a spec that is accepted says the same of itself when its canonical text is loaded
 * again.  --keep writes each text to FILE before it is loaded, so that a crash leaves it.
 */
#include "base/diag.h"
#include "base/file.h"
#include "tests/fuzz/fuzz_args.h"
#include "tests/golden.h"

#include <attnc/attnc.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 70000, MAX_CORPUS = 512 };

typedef struct Text {
  char *p;
  size_t n;
} Text;

typedef struct Fuzz {
  uint64_t seed;
  Text corpus[MAX_CORPUS];
  int n_corpus, n_good; /* good ones first */
  Text now;             /* room for MAX_TEXT */
  long accepted, refused, diagnostics;
  const char *keep;
} Fuzz;

/* splitmix64. */
static uint64_t
next(Fuzz *f)
{
  uint64_t z = f->seed += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

static size_t
below(Fuzz *f, size_t n)
{
  return n ? (size_t)(next(f) % n) : 0;
}

/* ---- corpus ---- */

static void
add_folder(Fuzz *f, const char *folder)
{
  int n = 0;
  char **names = golden_list(folder, ".attn.yaml", &n);
  for (int i = 0; i < n && f->n_corpus < MAX_CORPUS; i++) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s.attn.yaml", folder, names[i]);
    Text t = {0};
    t.p = golden_read(path, &t.n);
    if (t.p)
      f->corpus[f->n_corpus++] = t;
  }
  golden_list_free(names, n);
}

/* ---- mutations ---- */

static void
replace(Fuzz *f, size_t at, size_t gone, const char *with, size_t n)
{
  Text *t = &f->now;
  if (t->n - gone + n > MAX_TEXT)
    return;
  memmove(t->p + at + n, t->p + at + gone, t->n - at - gone);
  memcpy(t->p + at, with, n);
  t->n = t->n - gone + n;
}

static void
flip_bit(Fuzz *f)
{
  if (f->now.n)
    f->now.p[below(f, f->now.n)] ^= (char)(1 << below(f, 8));
}

static void
put_byte(Fuzz *f)
{
  static const char special[] = "\n:{}[],&*!|>'\"%@`#?-~<. \t\r0129_+e\x80\xc2\xe2\xff";
  char c = special[below(f, sizeof special)];
  replace(f, below(f, f->now.n + 1), 0, &c, 1);
}

static void
cut_range(Fuzz *f)
{
  size_t at = below(f, f->now.n + 1), n = below(f, 1 + (f->now.n - at) / 2);
  replace(f, at, n, "", 0);
}

static void
put_token(Fuzz *f)
{
  static const char *const tokens[] = {"attnc: 1\n",
                                       "name: x\n",
                                       "dtype: bf16\n",
                                       "head_dim: 64\n",
                                       "causal: true\n",
                                       "window: [1, 2]\n",
                                       "align: top_left\n",
                                       "schedule: {block_m: 64}\n",
                                       "specialize: [sq]\n",
                                       "layout: {q: bhsd}\n",
                                       "softmax_scale: 1e-3\n",
                                       "return_lse: ",
                                       "mask_mod: \"kv_idx <= q_idx\"\n",
                                       "mask_mod: [\"q_idx - kv_idx <= 5\", \"h == 0\"]\n",
                                       "score_mod: score * 2 + doc[b, kv_idx]\n",
                                       "score_mod: |-\n  gain *\n    score\n",
                                       "tensors: {doc: {dtype: i32, axes: [b, kv]}}\n",
                                       "scalars: {gain: run_time}\n",
                                       " && kv_idx",
                                       " >= sk - sq",
                                       "min(",
                                       "no",
                                       "010",
                                       "0x1f",
                                       "1e3",
                                       "null",
                                       "~",
                                       "<<: ",
                                       "---\n",
                                       "...\n",
                                       "&a ",
                                       "*a",
                                       "!!str ",
                                       "%YAML 1.1\n",
                                       "{",
                                       "}",
                                       "[",
                                       "]",
                                       ": ",
                                       "- ",
                                       "? ",
                                       "'",
                                       "\"",
                                       "\\0",
                                       "\\x41",
                                       "\xef\xbb\xbf",
                                       "\xe2\x80\xa8",
                                       "99999999999999999999",
                                       "-1",
                                       ".inf"};
  const char *token = tokens[below(f, sizeof tokens / sizeof *tokens)];
  replace(f, below(f, f->now.n + 1), 0, token, strlen(token));
}

/* A range of another text of the corpus. */
static void
splice(Fuzz *f)
{
  const Text *other = &f->corpus[below(f, (size_t)f->n_corpus)];
  size_t from = below(f, other->n + 1), n = below(f, other->n - from + 1);
  if (n > 400)
    n = 400;
  replace(f, below(f, f->now.n + 1), 0, other->p + from, n);
}

static size_t
line_start(const Text *t, size_t at)
{
  while (at > 0 && t->p[at - 1] != '\n')
    at--;
  return at;
}

/* A line twice, or moved. */
static void
copy_line(Fuzz *f)
{
  size_t from = line_start(&f->now, below(f, f->now.n + 1)), to = from;
  while (to < f->now.n && f->now.p[to] != '\n')
    to++;
  to += to < f->now.n;
  char line[256];
  size_t n = to - from < sizeof line ? to - from : sizeof line;
  memcpy(line, f->now.p + from, n);
  if (below(f, 2))
    replace(f, from, to - from, "", 0);
  replace(f, line_start(&f->now, below(f, f->now.n + 1)), 0, line, n);
}

static void
nest(Fuzz *f)
{
  char deep[64];
  size_t n = 1 + below(f, sizeof deep);
  memset(deep, below(f, 2) ? '[' : '{', n);
  replace(f, below(f, f->now.n + 1), 0, deep, n);
}

typedef void Mutation(Fuzz *);
static Mutation *const mutations[] = {flip_bit,  put_byte, put_byte,  cut_range, put_token,
                                      put_token, splice,   copy_line, nest};

static void
make_text(Fuzz *f)
{
  const Text *from = &f->corpus[below(f, (size_t)(below(f, 2) ? f->n_good : f->n_corpus))];
  /* Long texts cost the most and say the least. */
  f->now.n = from->n > 2000 && below(f, 64) ? 2000 : from->n;
  if (f->now.n > MAX_TEXT)
    f->now.n = MAX_TEXT;
  memcpy(f->now.p, from->p, f->now.n);
  for (size_t i = below(f, 6); i-- > 0;)
    mutations[below(f, sizeof mutations / sizeof *mutations)](f);
}

/* ---- what must hold ---- */

static int
broken(const char *what)
{
  fprintf(stderr, "fuzz_spec: %s\n", what);
  return 1;
}

static int
check_places(const Fuzz *f, const attnc_diags *diags)
{
  int lines = 1;
  for (size_t i = 0; i < f->now.n; i++)
    lines += f->now.p[i] == '\n';
  for (size_t i = 0; i < attnc_diags_count(diags); i++) {
    const attnc_diag *d = attnc_diags_get(diags, i);
    if (d->line < 0 || d->line > lines || d->width < 1 || d->code < 101 || d->code > 199)
      return broken("a diagnostic without a place in the text");
  }
  return 0;
}

/* A spec is named in no hash, so a name completes its canonical text to a spec. */
static int
check_again(const attnc_spec *s)
{
  static char text[MAX_TEXT];
  attnc_spec *again = NULL;
  int n = snprintf(text, sizeof text, "name: again\n%s", attnc_spec_canonical(s));
  if (n < 0 || (size_t)n >= sizeof text)
    return broken("an endless canonical text");
  if (attnc_spec_load(text, (size_t)n, "again", &again, NULL) != ATTNC_OK)
    return broken("a canonical text that is no spec");
  int same = strcmp(attnc_spec_hash(s), attnc_spec_hash(again)) == 0;
  attnc_spec_release(again);
  return same ? 0 : broken("a canonical text of another hash");
}

static int
run_one(Fuzz *f)
{
  attnc_spec *s = NULL;
  attnc_diags *diags = NULL;
  char report[64];
  /* A copy of the exact size: reading past its end is seen by AddressSanitizer. */
  char *exact = malloc(f->now.n + 1);
  if (!exact || attnc_diags_create(&diags) != ATTNC_OK)
    return broken("out of memory");
  memcpy(exact, f->now.p, f->now.n);
  attnc_status status = attnc_spec_load(exact, f->now.n, "fuzz", &s, diags);
  int bad = 0;
  if (status != ATTNC_OK && status != ATTNC_ERR_SPEC)
    bad = broken("a status that is neither OK nor ERR_SPEC");
  else if ((status == ATTNC_OK) != (s != NULL) ||
           (status == ATTNC_OK) != !diags_errors(diags))
    bad = broken("status, spec and diagnostics disagree");
  else
    bad = check_places(f, diags) || (s && check_again(s));
  attnc_diags_format(diags, 1, report, sizeof report);
  f->accepted += s != NULL;
  f->refused += s == NULL;
  f->diagnostics += (long)attnc_diags_count(diags);
  attnc_spec_release(s);
  attnc_diags_release(diags);
  free(exact);
  return bad;
}

static int
run_all(Fuzz *f, long runs)
{
  for (long i = 0; i < runs; i++) {
    make_text(f);
    if (f->keep)
      file_write(f->keep, f->now.p, f->now.n, NULL);
    if (run_one(f)) {
      file_write("fuzz_spec.bad", f->now.p, f->now.n, NULL);
      fprintf(stderr, "fuzz_spec: run %ld, the text is in fuzz_spec.bad\n", i);
      return 1;
    }
  }
  printf("fuzz_spec: %ld texts: %ld accepted, %ld refused with %ld diagnostics\n", runs,
         f->accepted, f->refused, f->diagnostics);
  return 0;
}

int
main(int argc, char **argv)
{
  static Fuzz f;
  FuzzArgs args = {.runs = 20000, .seed = 1};
  if (!fuzz_args(&args, argc, argv))
    return broken("usage: fuzz_spec [--runs N] [--seed N] [--keep FILE]");
  long runs = args.runs;
  f.seed = args.seed;
  f.keep = args.keep;
  add_folder(&f, "specs");
  f.n_good = f.n_corpus;
  add_folder(&f, "tests/bad");
  f.now.p = malloc(MAX_TEXT);
  if (!f.now.p || f.n_corpus < 60)
    return broken("no corpus");
  int status = run_all(&f, runs);
  for (int i = 0; i < f.n_corpus; i++)
    free(f.corpus[i].p);
  free(f.now.p);
  return status;
}
