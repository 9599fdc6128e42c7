/* pairs: the list of cases in cases.txt, made and checked.
 *
 *   e2e_pairs --write FILE [VALUE…]
 *                            greedy all-pairs over the factors below, then more at random;
 *                            with values (sm_75 template=fwd_mma): of cases that have these
 *   e2e_pairs --check FILE [VALUE…]
 *                            every pair of values of every two factors is in some case, or
 *                            named as one that no case can have
 *   e2e_pairs --legal FILE   the library takes every case, and together they use every
 *                            schedule that is legal in any of them
 *   e2e_pairs --mend FILE [VALUE…]
 *                            after a change of what is legal, or with more values: cases
 * that have a schedule which is not legal get another, pairs and schedules that none has a
 * case
 *
 * A case is text: each factor gives a piece of it, by one of its values, and a piece may
 * have alternatives, `a|b`, of which one is drawn.  What goes together is asked of
 * attnc_schedules: no rule of legality is written here.  Two values of which no case was
 * found in TRIES attempts are listed in FILE, and the diff is reviewed.
 * Deterministic: the same program and library write the same file.  The check reads the
 * cases as the runner does and knows nothing of how they were chosen. */
#include "tests/e2e/legal.h"
#include "tests/e2e/number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  DRAWN = 860, /* cases by pairs and at random; then those of schedules that none has */
  MOST_CASES = 2000,
  CANDIDATES = 40,
  TRIES = 200,
  MOST_DRAWS = 20000,
  MAX_VALUES = 20,
  PIECE = 256
};

/* A piece of a spec, and of the words behind it.  Empty: it says nothing. */
typedef struct Value {
  const char *field, *words;
} Value;

/* Name; values: in braces what is added to the spec, behind it words.  In the order in
 * which a case has them.  Lengths are around the edges of tiles. */
#define HEAD_DIMS "`8|16|24|40|64|72|80|96|112|128|136|160|192|200|256`"
#define EDGES     "`0|1|15|16|33|64|100`"
#define TOP_LEFT  "`|, align: top_left`"
typedef struct Factor {
  const char *name;
  Value at[MAX_VALUES]; /* ends with one that is {NULL, NULL} */
} Factor;
static Factor factors[] = {
    {"dtype", {{"dtype: fp16", ""}, {"dtype: bf16", ""}, {"dtype: fp32", ""}}},
    {"head_dim",
     {{"head_dim: 8", ""},
      {"head_dim: 16", ""},
      {"head_dim: 24", ""},
      {"head_dim: 40", ""},
      {"head_dim: 64", ""},
      {"head_dim: 72", ""},
      {"head_dim: 80", ""},
      {"head_dim: 96", ""},
      {"head_dim: 112", ""},
      {"head_dim: 128", ""},
      {"head_dim: 136", ""},
      {"head_dim: 160", ""},
      {"head_dim: 192", ""},
      {"head_dim: 200", ""},
      {"head_dim: 256", ""},
      {"head_dim: 512", ""}}},
    {"head_dim_v",
     {{"", ""}, {"head_dim_v: " HEAD_DIMS, ""}, {"head_dim_v: `264|392|512`", ""}}},
    {"mask",
     {{"", ""},
      {"causal: true", ""},
      {"causal: true, align: top_left", ""},
      {"window: [" EDGES ", " EDGES "]" TOP_LEFT, ""},
      {"causal: true, window: [" EDGES ", `-1|0`]" TOP_LEFT, ""},
      {"window: [" EDGES ", -1]" TOP_LEFT, ""},
      {"causal: true, prefix_len: true" TOP_LEFT, ""},
      {"attention_chunk: `7|16|64`" TOP_LEFT, ""},
      {"causal: true, attention_chunk: `7|16|64`" TOP_LEFT, ""}}},
    /* Documents, a prefix of a batch, sinks, dilated, chunks, per head, a pattern by rows.
     */
    {"mask_mod",
     {{"", ""},
      {"mask_mod: \"doc[b, q_idx] == doc[b, kv_idx]\"", ""},
      {"mask_mod: \"kv_idx <= q_idx || kv_idx < 20 * few[b]\"", ""},
      {"mask_mod: \"kv_idx < 5 || abs(q_idx + sk - sq - kv_idx) <= 30\"", ""},
      {"mask_mod: \"(q_idx - kv_idx) % 3 == 0 && abs(q_idx - kv_idx) < 90\"", ""},
      {"mask_mod: \"q_idx // 24 == kv_idx // 24\"", ""},
      {"mask_mod: [\"h % 2 == 0 ? kv_idx <= q_idx : kv_idx >= q_idx - 9\", \"(kv_idx ^ "
       "q_idx) "
       "% 5 != 0\"]",
       ""}}},
    {"mask_bits", {{"", ""}, {"mask_bits: true", ""}, {"mask_bits: new", ""}}},
    {"block_list",
     {{"", ""},
      {"block_list: {block: [`64|128`, `64|128`]}", ""},
      {"block_list: {block: [`192|256|384`, `32|96|256`]}", ""}}},
    {"softcap",
     {{"", ""}, {"softcap: 1.5", ""}, {"softcap: 20.0", ""}, {"softcap: 1e-3", ""}}},
    {"alibi", {{"", ""}, {"alibi_slopes: h", ""}, {"alibi_slopes: bh", ""}}},
    {"bias",
     {{"", ""},
      {"bias: {axes: [b, h, q, kv], dtype: `fp16|bf16|fp32`}", ""},
      {"bias: {axes: [`h|b`, kv], dtype: `fp16|bf16|fp32`}", ""},
      {"bias: {axes: [`h, |`q, kv], dtype: `fp16|bf16|fp32`}", ""},
      {"bias: {axes: [`b, |h, |`q], dtype: `fp16|bf16|fp32`}", ""}}},
    {"score_mod",
     {{"", ""},
      {"score_mod: \"score * gain - 0.125 * f32(h)\"", ""},
      {"score_mod: \"score + rel[h, kv_idx - q_idx + 4]\"", ""},
      {"score_mod: [\"score / (1 + abs(score))\", \"q_idx == kv_idx ? score + 1 : score\"]",
       ""}}},
    {"sink", {{"", ""}, {"sink: `fp16|bf16|fp32`", ""}}},
    {"declared",
     {{"", ""},
      {"tensors: {doc: {dtype: i32, axes: [b, kv], monotone: true}, few: {dtype: i32, "
       "axes: "
       "[b]}, rel: {dtype: `fp16|bf16|fp32`, axes: [h, 9]}}, scalars: {gain: 0.75}",
       ""},
      {"tensors: {rel: {dtype: fp32, axes: [h, 9]}, doc: {dtype: i32, axes: [b, kv]}, few: "
       "{dtype: i32, axes: [b]}}, scalars: {gain: 0.75}",
       ""}}},
    {"seqlens",
     {{"", ""},
      {"seqlens: [cu_seqlens_q, cu_seqlens_k]", ""},
      {"seqlens: [`seqused_q, |`seqused_k]", ""},
      {"seqlens: [cu_seqlens_q, seqused_k, leftpad_k`|, cache_batch_idx`]", ""},
      {"seqlens: [seqused_q, `leftpad_k|cache_batch_idx`]", ""},
      {"seqlens: [`cu_seqlens_k, |`seqused_q, seqused_k, leftpad_k]", ""}}},
    {"lse", {{"", ""}, {"return_lse: true", ""}, {"return_lse: true, lse_base: 2", ""}}},
    {"special",
     {{"", ""},
      {"specialize: [sq, sk]", ""},
      {"specialize: [strides]", ""},
      {"specialize: [b, h, hk, sq, sk, strides]", ""}}},
    {"heads",
     {{"", "b`2|1` h`3|2|1`"},
      {"", "b`2|1` h`8/2|4/1|8/1`"},
      {"", "b`2|1` h`7/1|3/1|2/1`"}}},
    {"sq",
     {{"", "sq0"},
      {"", "sq1"},
      {"", "sq7"},
      {"", "sq64"},
      {"", "sq65"},
      {"", "sq100"},
      {"", "sq127"},
      {"", "sq128"},
      {"", "sq129"},
      {"", "sq200"},
      {"", "sq255"},
      {"", "sq256"},
      {"", "sq300"}}},
    {"sk",
     {{"", "sk0"},
      {"", "sk1"},
      {"", "sk7"},
      {"", "sk64"},
      {"", "sk65"},
      {"", "sk100"},
      {"", "sk127"},
      {"", "sk128"},
      {"", "sk129"},
      {"", "sk200"},
      {"", "sk255"},
      {"", "sk256"},
      {"", "sk300"}}},
    {"layout",
     {{"", ""}, {"layout: bhsd", ""}, {"", "padded"}, {"", "packed"}, {"", "shared"}}},
    {"scale", {{"", ""}, {"softmax_scale: 0.078125", ""}, {"", "softmax_scale=0.078125"}}},
    {"target",
     {{"", "sm_80"},
      {"", "sm_86"},
      {"", "sm_89"},
      {"", "sm_90"},
      {"", "sm_90a"},
      {"", "sm_120"},
      {"", "sm_75"}}},
    {"template",
     {{"", "template=ref_fwd"}, {"", "template=fwd_mma"}, {"", "template=fwd_wgmma"}}},
};
enum { FACTORS = sizeof factors / sizeof *factors };

/* Multiply-adds of a case: what the emulator does in a second or so. */
static const double mac_limit = 4e7, mac_limit_ref = 1e7;

typedef struct Choice {
  int v[FACTORS]; /* -1: open */
} Choice;
typedef struct Cover {
  unsigned char seen[FACTORS][MAX_VALUES][FACTORS][MAX_VALUES];  /* some case has both */
  unsigned char never[FACTORS][MAX_VALUES][FACTORS][MAX_VALUES]; /* no case can */
} Cover;
static int sizes[FACTORS];
static bool fixed; /* a factor has the one value that was asked for */

static void
count_values(void)
{
  for (int f = 0; f < FACTORS; f++)
    while (sizes[f] < MAX_VALUES && factors[f].at[sizes[f]].field)
      sizes[f]++;
}

/* ---- pieces with alternatives ---- */

/* Behind the alternative that begins at p: at its | or the closing quote. */
static const char *
alternative_end(const char *p)
{
  return p + strcspn(p, "|`");
}

/* One of the alternatives of each `a|b`; `least`: the last, which is the smallest. */
static void
draw(const char *piece, Random *r, bool least, char *out)
{
  while (*piece) {
    if (*piece != '`') {
      *out++ = *piece++;
      continue;
    }
    const char *at[MAX_VALUES];
    int n = 0;
    const char *end = strchr(piece + 1, '`');
    for (const char *p = piece; p != end; p = alternative_end(p + 1))
      at[n++] = p + 1;
    const char *chosen = at[least ? n - 1 : (int)number_below(r, (uint32_t)n)];
    size_t len = (size_t)(alternative_end(chosen) - chosen);
    memcpy(out, chosen, len);
    out += len;
    piece = alternative_end(at[n - 1]) + 1;
  }
  *out = 0;
}

/* How many characters of the text the piece is, -1: the text does not begin so.  Longer
 * alternatives first is no matter: what follows decides. */
static int
match(const char *piece, const char *text)
{
  if (*piece == 0)
    return 0;
  if (*piece != '`') {
    int rest = *piece == *text ? match(piece + 1, text + 1) : -1;
    return rest < 0 ? -1 : rest + 1;
  }
  const char *end = strchr(piece + 1, '`');
  int best = -1;
  for (const char *p = piece; p != end; p = alternative_end(p + 1)) {
    size_t len = (size_t)(alternative_end(p + 1) - (p + 1));
    if (strncmp(p + 1, text, len) != 0)
      continue;
    int rest = match(end + 1, text + len);
    if (rest >= 0 && rest + (int)len > best)
      best = rest + (int)len;
  }
  return best;
}

/* Whether the list, separated by `gap`, goes on with the piece; *text moves behind it. */
static bool
take(const char **text, const char *piece, const char *gap)
{
  size_t n = strlen(gap);
  int len = *piece ? match(piece, *text) : 0;
  if (len < 0)
    return false;
  const char *end = *text + len;
  if (*piece && *end && strncmp(end, gap, n) != 0)
    return false;
  *text = *piece && *end ? end + n : end;
  return true;
}

/* ---- choices and cases ---- */

/* The value whose pieces are longest; -1: none fits. */
static int
value_of(int f, const char **fields, const char **words)
{
  const char *best_fields = NULL, *best_words = NULL;
  int best = -1;
  for (int v = 0; v < sizes[f]; v++) {
    const char *a = *fields, *b = *words;
    if (!take(&a, factors[f].at[v].field, ", ") || !take(&b, factors[f].at[v].words, " "))
      continue;
    if (best < 0 || a > best_fields || b > best_words) {
      best = v;
      best_fields = a;
      best_words = b;
    }
  }
  if (best >= 0) {
    *fields = best_fields;
    *words = best_words;
  }
  return best;
}

/* What of the table a case is made of; -1 where it is of no value. */
static Choice
choice_of(const Case *c)
{
  char inside[CASE_PART], behind[CASE_TEXT];
  const char *fields = inside, *words = behind;
  Choice x;
  size_t n = strlen(c->fields);
  snprintf(inside, sizeof inside, "%.*s", (int)n - 2, c->fields + 1);
  snprintf(behind, sizeof behind, "%s", c->text + n + 1);
  for (char *p = behind; (p = strchr(p, ',')) != NULL;) /* the template is the factor */
    *p = ' ';
  for (int f = 0; f < FACTORS; f++)
    x.v[f] = value_of(f, &fields, &words);
  if (*fields)
    x.v[0] = -1;
  return x;
}

/* Is it made of the table's values? */
static bool
is_whole(const Choice *c)
{
  for (int f = 0; f < FACTORS; f++)
    if (c->v[f] < 0)
      return false;
  return true;
}

/* The line of a choice; heads and batches the smallest where it would be too large. */
static void
line_of(const Choice *c, int number, bool least, char line[CASE_TEXT])
{
  Random r = {(uint64_t)number * 77 + 5};
  char fields[CASE_PART] = "", words[CASE_PART] = "", piece[PIECE];
  for (int f = 0; f < FACTORS; f++) {
    const Value *v = &factors[f].at[c->v[f]];
    draw(v->field, &r, false, piece);
    snprintf(fields + strlen(fields), sizeof fields - strlen(fields), "%s%s",
             *fields && *piece ? ", " : "", piece);
    draw(v->words, &r, least, piece);
    snprintf(words + strlen(words), sizeof words - strlen(words), "%s%s", *piece ? " " : "",
             piece);
  }
  snprintf(line, CASE_TEXT, "{%s}%s seed=%d", fields, words, number + 1);
}

static bool
small_enough(const Case *c)
{
  Facts f;
  attnc_spec *spec = NULL;
  double limit = strstr(c->schedule, "ref_fwd") ? mac_limit_ref : mac_limit;
  bool ok = !attnc_spec_load(c->spec, strlen(c->spec), "case", &spec, NULL) &&
            facts_read(spec, &f) && facts_macs(&f, &c->sizes) <= limit;
  attnc_spec_release(spec);
  return ok;
}

/* A case with a schedule that the library takes; false: there is none. */
static bool
case_of(const Choice *choice, int number, Legal *legal, Case *c)
{
  char line[CASE_TEXT], why[300];
  for (int least = 0; least < 2; least++) {
    line_of(choice, number, least != 0, line);
    if (!case_parse(line, c, why, sizeof why)) {
      fprintf(stderr, "%s: %s\n", line, why);
      abort(); /* a fault of the table */
    }
    if (least || small_enough(c))
      return legal_pick(legal, c);
  }
  return false;
}

/* ---- greedy all-pairs ---- */

static bool
open_pair(const Cover *k, int f, int a, int g, int b)
{
  return !k->seen[f][a][g][b] && !k->never[f][a][g][b];
}

static int
cover_gain(const Cover *k, const Choice *c, int f)
{
  int gain = 0;
  for (int g = 0; g < FACTORS; g++)
    if (g != f && c->v[g] >= 0) {
      if (k->never[f][c->v[f]][g][c->v[g]])
        return -1;
      gain += open_pair(k, f, c->v[f], g, c->v[g]);
    }
  return gain;
}

static void
cover_add(Cover *k, const Choice *c)
{
  for (int f = 0; f < FACTORS; f++)
    for (int g = 0; g < FACTORS; g++)
      k->seen[f][c->v[f]][g][c->v[g]] = 1;
}

static void
never(Cover *k, int f, int a, int g, int b)
{
  k->never[f][a][g][b] = k->never[g][b][f][a] = 1;
}

/* The last pair that no case has and none is known not to; false: there is none.  Targets
 * and templates come last, and decide most. */
static bool
last_open(const Cover *k, int p[4])
{
  for (p[0] = FACTORS - 1; p[0] >= 0; p[0]--)
    for (p[2] = FACTORS - 1; p[2] > p[0]; p[2]--)
      for (p[1] = 0; p[1] < sizes[p[0]]; p[1]++)
        for (p[3] = 0; p[3] < sizes[p[2]]; p[3]++)
          if (open_pair(k, p[0], p[1], p[2], p[3]))
            return true;
  return false;
}

/* Fills the open factors in a random order, each with the value that covers most with those
 * already chosen; equals are drawn.  -1: some factor has none. */
static int
complete(const Cover *k, Choice *c, Random *r)
{
  int order[FACTORS], gain = 0;
  for (int f = 0; f < FACTORS; f++) {
    int j = (int)number_below(r, (uint32_t)f + 1);
    order[f] = order[j];
    order[j] = f;
  }
  for (int i = 0; i < FACTORS; i++) {
    int f = order[i], best = -1, best_gain = -1;
    uint32_t equals = 0;
    if (c->v[f] >= 0)
      continue;
    for (int a = 0; a < sizes[f]; a++) {
      c->v[f] = a;
      int gained = cover_gain(k, c, f);
      if (gained > best_gain)
        equals = 0;
      if (gained >= 0 && gained >= best_gain && number_below(r, ++equals) == 0)
        best = a;
      best_gain = gained > best_gain ? gained : best_gain;
    }
    c->v[f] = best;
    if (best < 0)
      return -1;
    gain += best_gain;
  }
  return gain;
}

static Choice
around(const int pair[4])
{
  Choice c;
  for (int f = 0; f < FACTORS; f++)
    c.v[f] = f == pair[0] ? pair[1] : f == pair[2] ? pair[3] : -1;
  return c;
}

/* The candidate that covers most, with the first open pair in it. */
static bool
next(const Cover *k, const int pair[4], Random *r, Choice *best)
{
  int best_gain = -1;
  for (int i = 0; i < CANDIDATES; i++) {
    Choice c = around(pair);
    int gain = complete(k, &c, r);
    if (gain > best_gain) {
      *best = c;
      best_gain = gain;
    }
  }
  return best_gain >= 0;
}

/* Fills the open factors at random; false: with what cannot be. */
static bool
any(const Cover *k, Random *r, Choice *c)
{
  for (int f = 0; f < FACTORS; f++)
    if (c->v[f] < 0)
      c->v[f] = (int)number_below(r, (uint32_t)sizes[f]);
  for (int f = 0; f < FACTORS; f++)
    if (cover_gain(k, c, f) < 0)
      return false;
  return true;
}

/* A case for the pair, or the note that there is none. */
static bool
cover_pair(Cover *k, const int pair[4], int number, Legal *legal, Random *r, Case *c,
           Choice *choice)
{
  if (next(k, pair, r, choice) && case_of(choice, number, legal, c))
    return true;
  for (int i = 0; i < TRIES; i++) {
    *choice = around(pair);
    if (any(k, r, choice) && case_of(choice, number, legal, c))
      return true;
  }
  never(k, pair[0], pair[1], pair[2], pair[3]);
  return false;
}

static const char *
said(int f, int v)
{
  const Value *x = &factors[f].at[v];
  return *x->field ? x->field : *x->words ? x->words : "nothing";
}

static void
write_never(FILE *f, const Cover *k)
{
  for (int a = 0; a < FACTORS; a++)
    for (int b = a + 1; b < FACTORS; b++)
      for (int x = 0; x < sizes[a]; x++)
        for (int y = 0; y < sizes[b]; y++)
          if (k->never[a][x][b][y])
            fprintf(f, "# never %s: %s; %s: %s\n", factors[a].name, said(a, x),
                    factors[b].name, said(b, y));
}

static int
write_list(const char *path, const Cover *k, char lines[][CASE_TEXT], int n)
{
  FILE *f = fopen(path, "w");
  if (!f)
    return perror(path), 2;
  fprintf(f, "# Written by `e2e_pairs --write`: every pair of values of two factors, but "
             "for\n# those that no case can have.\n");
  write_never(f, k);
  for (int i = 0; i < n; i++)
    fprintf(f, "%s\n", lines[i]);
  return fclose(f) ? 2 : 0;
}

static int
write_cases(const char *path)
{
  static Cover k;
  static char lines[MOST_CASES][CASE_TEXT];
  Legal *legal = legal_new();
  Random r = {2026};
  int n = 0, pair[4], covered = 0, used = 0;
  Case c;
  Choice choice;
  while (last_open(&k, pair) && n < MOST_CASES)
    if (cover_pair(&k, pair, n, legal, &r, &c, &choice)) {
      cover_add(&k, &choice);
      memcpy(lines[n++], c.text, sizeof c.text);
    }
  covered = n;
  while (n < DRAWN && !fixed) {
    choice = around((const int[]){-1, 0, -1, 0});
    if (any(&k, &r, &choice) && case_of(&choice, n, legal, &c))
      memcpy(lines[n++], c.text, sizeof c.text);
  }
  while (n < MOST_CASES && legal_unused_case(legal, &c))
    memcpy(lines[n++], c.text, sizeof c.text);
  used = n;
  int failed = write_list(path, &k, lines, n);
  fprintf(stderr, "%s: all pairs after %d cases, every schedule after %d, %d unused\n",
          path, covered, used, legal_unused(legal, false));
  legal_free(legal);
  return failed;
}

/* ---- the check ---- */

/* "# never mask: …; sk: …" lines; how many are not understood. */
static int
read_never(const char *path, Cover *k)
{
  FILE *f = fopen(path, "r");
  char line[CASE_TEXT], wanted[CASE_TEXT];
  int bad = 0;
  while (f && fgets(line, sizeof line, f)) {
    bool met = strncmp(line, "# never ", 8) != 0;
    for (int a = 0; !met && a < FACTORS; a++)
      for (int b = a + 1; !met && b < FACTORS; b++)
        for (int x = 0; !met && x < sizes[a]; x++)
          for (int y = 0; !met && y < sizes[b]; y++) {
            snprintf(wanted, sizeof wanted, "# never %s: %s; %s: %s\n", factors[a].name,
                     said(a, x), factors[b].name, said(b, y));
            met = strcmp(wanted, line) == 0;
            if (met)
              never(k, a, x, b, y);
          }
    if (!met)
      bad += fprintf(stderr, "no values of the table: %s", line) > 0;
  }
  if (f)
    fclose(f);
  return bad;
}

/* Pairs that should be in a case and are not, and the other way round. */
static int
cover_wrong(const Cover *k)
{
  int wrong = 0;
  for (int f = 0; f < FACTORS; f++)
    for (int g = f + 1; g < FACTORS; g++)
      for (int a = 0; a < sizes[f]; a++)
        for (int b = 0; b < sizes[g]; b++)
          if (k->seen[f][a][g][b] == k->never[f][a][g][b] && wrong++ < 20)
            fprintf(stderr, "%s: %s; %s: %s: %s\n", factors[f].name, said(f, a),
                    factors[g].name, said(g, b),
                    k->seen[f][a][g][b] ? "a case has what none can have" : "no case");
  return wrong;
}

static int
check_cases(const char *path)
{
  static Cover k;
  Case *cases;
  char why[300];
  int n = case_read(path, &cases, why, sizeof why), bad = 0;
  if (n < 0)
    return fprintf(stderr, "%s\n", why), 2;
  for (int i = 0; i < n; i++) {
    Choice c = choice_of(&cases[i]);
    if (!is_whole(&c))
      bad += fprintf(stderr, "not of the table: %s\n", cases[i].text) > 0;
    else
      cover_add(&k, &c);
    if (!legal_plan(&cases[i], why, sizeof why))
      bad += fprintf(stderr, "refused: %s: %s\n", why, cases[i].text) > 0;
  }
  free(cases);
  bad += read_never(path, &k);
  int wrong = cover_wrong(&k);
  printf("%d cases, %d pairs wrong\n", n, wrong);
  return n >= (fixed ? 150 : 1000) && !wrong && !bad ? 0 : 1;
}

/* The cases of a file, each with a schedule that is legal; -1: one has none. */
static int
mend_schedules(Case *cases, int n, Legal *legal, char lines[][CASE_TEXT])
{
  int changed = 0, bad = 0;
  for (int i = 0; i < n; i++) {
    LegalMend m = legal_mend(legal, &cases[i]);
    changed += m != LEGAL_AS_IT_WAS;
    if (m == LEGAL_NOT)
      bad += fprintf(stderr, "has no legal schedule: %s\n", cases[i].text) > 0;
    memcpy(lines[i], cases[i].text, sizeof cases[i].text);
  }
  return bad ? -1 : changed;
}

static int
mend_cases(const char *path)
{
  static Cover k;
  static char lines[MOST_CASES][CASE_TEXT];
  Case *cases, c;
  Choice choice;
  char why[300];
  int n = case_read(path, &cases, why, sizeof why), all = n, pair[4];
  Random r = {2027};
  Legal *legal = legal_new();
  if (n < 0 || n > MOST_CASES || read_never(path, &k))
    return fprintf(stderr, "%s\n", n < 0 ? why : path), 2;
  int changed = mend_schedules(cases, n, legal, lines);
  for (int i = 0; i < n; i++) {
    choice = choice_of(&cases[i]);
    if (is_whole(&choice))
      cover_add(&k, &choice);
  }
  free(cases);
  while (last_open(&k, pair) && all < MOST_CASES)
    if (cover_pair(&k, pair, all, legal, &r, &c, &choice)) {
      cover_add(&k, &choice);
      memcpy(lines[all++], c.text, sizeof c.text);
    }
  while (all < MOST_CASES && legal_unused_case(legal, &c))
    memcpy(lines[all++], c.text, sizeof c.text);
  int failed = write_list(path, &k, lines, all);
  fprintf(stderr, "%s: %d cases have another schedule, %d more\n", path, changed, all - n);
  legal_free(legal);
  return changed < 0 ? 2 : failed;
}

static int
check_legal(const char *path)
{
  Case *cases;
  char why[300];
  int n = case_read(path, &cases, why, sizeof why), bad = 0;
  Legal *legal = legal_new();
  if (n < 0)
    return fprintf(stderr, "%s\n", why), 2;
  for (int i = 0; i < n; i++)
    if (!legal_has(legal, &cases[i]))
      bad += printf("FAIL  its schedule is not legal: %s\n", cases[i].text) > 0;
  int unused = legal_unused(legal, true);
  printf("%d cases, %d not legal, %d legal schedules unused\n", n, bad, unused);
  legal_free(legal);
  free(cases);
  return bad || unused;
}

/* The factor that has the value keeps it alone; false: none has it. */
static bool
fix(const char *value)
{
  for (int f = 0; f < FACTORS; f++)
    for (int v = 0; v < sizes[f]; v++)
      if (strcmp(said(f, v), value) == 0) {
        factors[f].at[0] = factors[f].at[v];
        sizes[f] = 1;
        fixed = true;
        return true;
      }
  fprintf(stderr, "no factor has the value %s\n", value);
  return false;
}

int
main(int argc, char **argv)
{
  count_values();
  for (int i = 3; i < argc; i++)
    if (!fix(argv[i]))
      return 2;
  if (argc >= 3 && strcmp(argv[1], "--write") == 0)
    return write_cases(argv[2]);
  if (argc >= 3 && strcmp(argv[1], "--check") == 0)
    return check_cases(argv[2]);
  if (argc == 3 && strcmp(argv[1], "--legal") == 0)
    return check_legal(argv[2]);
  if (argc >= 3 && strcmp(argv[1], "--mend") == 0)
    return mend_cases(argv[2]);
  fprintf(stderr, "usage: e2e_pairs --write FILE [VALUE…] | --check FILE [VALUE…] | "
                  "--legal FILE | --mend FILE [VALUE…]\n");
  return 2;
}
