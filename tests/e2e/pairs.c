/* pairs: the list of cases in cases.txt, made and checked.
 *
 *   e2e_pairs --write FILE   greedy all-pairs over the factors below, then more at random
 *   e2e_pairs --check FILE   every pair of values of every two factors is in some case
 *
 * Deterministic: the same program writes the same file.  The check reads the cases as the
 * runner does and knows nothing of how they were chosen. */
#include "tests/e2e/number.h"
#include "tests/e2e/trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CASES = 420, CANDIDATES = 40, MAX_VALUES = 14 };
static const double mac_limit[TRIAL_TEMPLATE_COUNT] = {1.5e7, 6e7, 6e7}; /* a case's size */

static const int head_dims[] = {16, 24, 40, 64, 72, 80, 96, 112, 128, 160, 192, 256};
static const int lengths[] = {0, 1, 7, 64, 65, 100, 127, 128, 129, 200, 255, 256, 300};
static const int windows[] = {0, 1, 15, 16, 33, 64, 100};
#define COUNT(a) ((int)(sizeof(a) / sizeof(a)[0]))

enum {
  MASK_NONE,
  MASK_CAUSAL,
  MASK_TOP_LEFT,
  MASK_BOTH,
  MASK_CAUSAL_WINDOW,
  MASK_LEFT,
  MASK_COUNT
};
enum { HEADS_MHA, HEADS_GQA4, HEADS_MQA, HEADS_COUNT };

/* factor, number of values */
#define FACTORS(X)                                                                         \
  X(DTYPE, TRIAL_DTYPE_COUNT)                                                              \
  X(HEAD_DIM, COUNT(head_dims))                                                            \
  X(HEAD_DIM_V, 2) /* the same, another */                                                 \
  X(MASK, MASK_COUNT)                                                                      \
  X(HEADS, HEADS_COUNT)                                                                    \
  X(SQ, COUNT(lengths))                                                                    \
  X(SK, COUNT(lengths))                                                                    \
  X(LAYOUT, TRIAL_LAYOUT_COUNT)                                                            \
  X(TEMPLATE, TRIAL_TEMPLATE_COUNT)                                                        \
  X(TARGET, TRIAL_TARGET_COUNT)                                                            \
  X(LSE, 2)                                                                                \
  X(SPECIAL, TRIAL_SPECIAL_COUNT)                                                          \
  X(SCALE, TRIAL_SCALE_COUNT)
#define X(id, n) F_##id,
enum { FACTORS(X) FACTOR_COUNT };
#undef X
#define X(id, n) #id,
static const char *const factor_names[] = {FACTORS(X)};
#undef X
#define X(id, n) n,
static const int factor_sizes[] = {FACTORS(X)};
#undef X

typedef struct Choice {
  int v[FACTOR_COUNT];
} Choice;
typedef struct Cover {
  unsigned char seen[FACTOR_COUNT][MAX_VALUES][FACTOR_COUNT][MAX_VALUES];
} Cover;

/* ---- what goes together ---- */

static bool
values_fit(int f, int a, int g, int b)
{
  bool empty = (f == F_SQ || f == F_SK) && lengths[a] == 0;
  bool sizes = g == F_SPECIAL && (b == SPECIAL_SIZES || b == SPECIAL_ALL);
  bool wgmma = f == F_TEMPLATE && a == TRIAL_FWD_WGMMA,
       other = g == F_TARGET && b != TRIAL_SM_90A;
  return !(empty && sizes) && /* a size of 0 is a size that was not given */
         !(wgmma && other);
}

static bool
fits(int f, int a, int g, int b)
{
  return values_fit(f, a, g, b) && values_fit(g, b, f, a);
}

static bool
allowed(const Choice *c, int upto)
{
  for (int f = 0; f < upto; f++)
    if (c->v[f] >= 0 && c->v[upto] >= 0 && !fits(f, c->v[f], upto, c->v[upto]))
      return false;
  return true;
}

/* ---- choices and cases ---- */

static int
index_of(const int *list, int n, int x)
{
  for (int i = 0; i < n; i++)
    if (list[i] == x)
      return i;
  return -1;
}

static int
mask_of(const Trial *t)
{
  if (t->causal)
    return t->left >= 0 ? MASK_CAUSAL_WINDOW : t->top_left ? MASK_TOP_LEFT : MASK_CAUSAL;
  if (t->left < 0)
    return MASK_NONE;
  return t->right >= 0 ? MASK_BOTH : MASK_LEFT;
}

static Choice
choice_of(const Trial *t)
{
  Choice c;
  c.v[F_DTYPE] = t->dtype;
  c.v[F_HEAD_DIM] = index_of(head_dims, COUNT(head_dims), t->d);
  c.v[F_HEAD_DIM_V] = t->d != t->dv;
  c.v[F_MASK] = mask_of(t);
  c.v[F_HEADS] = t->h == t->hk       ? HEADS_MHA
                 : t->h == 4 * t->hk ? HEADS_GQA4
                 : t->hk == 1        ? HEADS_MQA
                                     : -1;
  c.v[F_SQ] = index_of(lengths, COUNT(lengths), t->sq);
  c.v[F_SK] = index_of(lengths, COUNT(lengths), t->sk);
  c.v[F_LAYOUT] = t->layout;
  c.v[F_TEMPLATE] = t->template_id;
  c.v[F_TARGET] = t->target;
  c.v[F_LSE] = t->lse;
  c.v[F_SPECIAL] = t->special;
  c.v[F_SCALE] = t->scale;
  return c;
}

static void
mask_set(Trial *t, int mask, Random *r)
{
  t->causal = mask == MASK_CAUSAL || mask == MASK_TOP_LEFT || mask == MASK_CAUSAL_WINDOW;
  t->top_left = mask == MASK_TOP_LEFT ||
                (mask != MASK_NONE && mask != MASK_CAUSAL && random_below(r, 4) == 0);
  t->left = t->right = -1;
  if (mask == MASK_BOTH || mask == MASK_CAUSAL_WINDOW || mask == MASK_LEFT)
    t->left = windows[random_below(r, COUNT(windows))];
  if (mask == MASK_BOTH)
    t->right = windows[random_below(r, COUNT(windows))];
}

/* As many heads and batches as the limit lets: the smallest of each kind always goes. */
static void
heads_set(Trial *t, int heads, Random *r)
{
  static const int many[HEADS_COUNT][3][2] = {
      {{3, 3}, {2, 2}, {1, 1}}, {{8, 2}, {4, 1}, {4, 1}}, {{7, 1}, {3, 1}, {2, 1}}};
  int start = (int)random_below(r, 2);
  t->b = 1 + (int)random_below(r, 2);
  for (int i = start; i < 3; i++) {
    t->h = many[heads][i][0];
    t->hk = many[heads][i][1];
    if (trial_macs(t) <= mac_limit[t->template_id])
      return;
  }
  t->b = 1;
}

static Trial
trial_of(const Choice *c, int number)
{
  Random r = {(uint64_t)number * 77 + 5};
  Trial t = {.dtype = c->v[F_DTYPE],
             .sq = lengths[c->v[F_SQ]],
             .sk = lengths[c->v[F_SK]],
             .d = head_dims[c->v[F_HEAD_DIM]],
             .layout = c->v[F_LAYOUT],
             .lse = c->v[F_LSE] != 0,
             .special = c->v[F_SPECIAL],
             .scale = c->v[F_SCALE],
             .target = c->v[F_TARGET],
             .template_id = c->v[F_TEMPLATE],
             .seed = (unsigned)number + 1};
  t.dv = t.d;
  while (c->v[F_HEAD_DIM_V] && t.dv == t.d)
    t.dv = head_dims[random_below(&r, COUNT(head_dims))];
  mask_set(&t, c->v[F_MASK], &r);
  heads_set(&t, c->v[F_HEADS], &r);
  return t;
}

/* ---- greedy all-pairs ---- */

static int
cover_gain(const Cover *k, const Choice *c, int f)
{
  int gain = 0;
  for (int g = 0; g < FACTOR_COUNT; g++)
    if (g != f && c->v[g] >= 0)
      gain += !k->seen[f][c->v[f]][g][c->v[g]];
  return gain;
}

static void
cover_add(Cover *k, const Choice *c)
{
  for (int f = 0; f < FACTOR_COUNT; f++)
    for (int g = 0; g < FACTOR_COUNT; g++)
      k->seen[f][c->v[f]][g][c->v[g]] = 1;
}

static int
cover_missing(const Cover *k, int report)
{
  int missing = 0;
  for (int f = 0; f < FACTOR_COUNT; f++)
    for (int g = f + 1; g < FACTOR_COUNT; g++)
      for (int a = 0; a < factor_sizes[f]; a++)
        for (int b = 0; b < factor_sizes[g]; b++)
          if (fits(f, a, g, b) && !k->seen[f][a][g][b] && missing++ < report)
            fprintf(stderr, "no case has %s %d with %s %d\n", factor_names[f], a,
                    factor_names[g], b);
  return missing;
}

/* One candidate: factors in a random order, each the value that covers most with those
 * already chosen; equals are drawn. */
static int
candidate(const Cover *k, Choice *c, Random *r)
{
  int order[FACTOR_COUNT], gain = 0;
  for (int f = 0; f < FACTOR_COUNT; f++) {
    int j = (int)random_below(r, (uint32_t)f + 1);
    order[f] = order[j];
    order[j] = f;
    c->v[f] = -1;
  }
  for (int i = 0; i < FACTOR_COUNT; i++) {
    int f = order[i], best = -1, best_gain = -1;
    uint32_t equals = 0;
    for (int a = 0; a < factor_sizes[f]; a++) {
      c->v[f] = a;
      bool ok = true;
      for (int g = 0; g < FACTOR_COUNT; g++)
        ok &= g == f || c->v[g] < 0 || fits(f, a, g, c->v[g]);
      int gained = ok ? cover_gain(k, c, f) : -1;
      if (gained > best_gain)
        equals = 0;
      if (ok && gained >= best_gain && random_below(r, ++equals) == 0)
        best = a;
      best_gain = gained > best_gain ? gained : best_gain;
    }
    c->v[f] = best;
    gain += best_gain;
  }
  return gain;
}

static Choice
next(const Cover *k, Random *r)
{
  Choice best, c;
  int best_gain = -1;
  for (int i = 0; i < CANDIDATES; i++) {
    int gain = candidate(k, &c, r);
    if (gain > best_gain) {
      best = c;
      best_gain = gain;
    }
  }
  return best;
}

/* Every fourth is small: the largest tiles fit in registers with small head dims only. */
static Choice
any(Random *r)
{
  bool small = random_below(r, 4) == 0;
  Choice c;
  for (int f = 0; f < FACTOR_COUNT; f++)
    do
      c.v[f] = (int)random_below(r, (uint32_t)factor_sizes[f]);
    while (!allowed(&c, f));
  if (small) {
    c.v[F_HEAD_DIM] = c.v[F_HEAD_DIM_V] = 0;
    c.v[F_TEMPLATE] = TRIAL_FWD_MMA;
  }
  return c;
}

static int
write_cases(const char *path)
{
  static Cover k;
  Random r = {2026};
  FILE *f = fopen(path, "w");
  int covered = 0;
  if (!f)
    return perror(path), 2;
  fprintf(
      f,
      "# Written by `e2e_pairs --write`: covers every pair of the factors in pairs.c.\n");
  for (int i = 0; i < CASES || !covered; i++) {
    covered = covered ? covered : cover_missing(&k, 0) == 0 ? i : 0;
    Choice c = covered ? any(&r) : next(&k, &r);
    Trial t = trial_of(&c, i);
    char text[TRIAL_TEXT];
    cover_add(&k, &c);
    trial_print(&t, text);
    fprintf(f, "%s\n", text);
  }
  fprintf(stderr, "%s: all pairs after %d cases\n", path, covered);
  return fclose(f) ? 2 : 0;
}

static int
check_cases(const char *path)
{
  static Cover k;
  Trial *cases;
  char why[300], text[TRIAL_TEXT];
  int n = trial_read(path, &cases, why, sizeof why), bad = 0;
  if (n < 0)
    return fprintf(stderr, "%s\n", why), 2;
  for (int i = 0; i < n; i++) {
    Choice c = choice_of(&cases[i]);
    trial_print(&cases[i], text);
    for (int f = 0; f < FACTOR_COUNT; f++)
      if (c.v[f] < 0) {
        fprintf(stderr, "%s: not a value of the matrix: %s\n", factor_names[f], text);
        bad++;
      }
    if (!bad)
      cover_add(&k, &c);
  }
  free(cases);
  int missing = cover_missing(&k, 20);
  printf("%d cases, %d pairs missing\n", n, missing);
  return n >= 300 && !missing && !bad ? 0 : 1;
}

int
main(int argc, char **argv)
{
  if (argc == 3 && strcmp(argv[1], "--write") == 0)
    return write_cases(argv[2]);
  if (argc == 3 && strcmp(argv[1], "--check") == 0)
    return check_cases(argv[2]);
  fprintf(stderr, "usage: e2e_pairs --write FILE | --check FILE\n");
  return 2;
}
