/* Random masks: no tile that the intervals call EMPTY is seen, none that they call FULL has
 * a pair that is not, by trying every pair.  Deterministic: the same seed gives the same
 * masks.
 *
 *   fuzz_mask [--runs N] [--seed N]
 *
 * Half are random well-typed expressions and comparisons of sums; half are made of what
 * masks are made of: bands, blocks, periods, neighbourhoods, documents.  Tables have random
 * contents, sorted where they are declared so, shorter and longer than the indices. */
#include "compiler/spec/mask_class.h"
#include "tests/fuzz/fuzz_args.h"
#include "tests/unit/expr_random.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 40, HEADS = 2, TABLE = 64 };

typedef struct Fuzz {
  Random r;
  Arena *arena;
  Spec *spec;
  int sq, sk, bm, bn;
  int32_t whole[TABLE];
  float real[TABLE];
  ExprTable tables[SPEC_TABLES];
  double scalars[SPEC_SCALARS];
  ExprValue *values;
  bool seen[HEADS][MOST][MOST];
  long masks, refused, tiles, empty, full, proved_empty, proved_full;
} Fuzz;

/* ---- masks ---- */

static const char *
small(Fuzz *f)
{
  return arena_printf(f->arena, "%d", random_below(&f->r, 12) - 2);
}

static const char *
side(Fuzz *f)
{
  static const char *const index[] = {"q_idx", "kv_idx", "q_idx + sk - sq",
                                      "kv_idx + 2 * h"};
  const char *x = index[random_below(&f->r, 4)];
  int n = 1 + random_below(&f->r, 9);
  switch (random_below(&f->r, 8)) {
  case 0:
    return arena_printf(f->arena, "(%s) // %d", x, n);
  case 1:
    return arena_printf(f->arena, "(%s) %% %d", x, n);
  case 2:
    return arena_printf(f->arena, "(%s) // %d %% %d", x, n, 1 + random_below(&f->r, 5));
  case 3:
    return arena_printf(f->arena, "start[(%s) // %d]", x, n);
  case 4:
    return arena_printf(f->arena, "doc[b, %s]", x);
  case 5:
    return arena_printf(f->arena, "min(max(%s, %s), %d)", x, small(f), n * 3);
  default:
    return x;
  }
}

static const char *
atom(Fuzz *f)
{
  static const char *const compare[] = {"==", "!=", "<", "<=", ">", ">="};
  const char *op = compare[random_below(&f->r, 6)];
  const char *a = side(f), *b = random_below(&f->r, 4) ? side(f) : small(f);
  switch (random_below(&f->r, 5)) {
  case 0:
    return arena_printf(f->arena, "abs(%s - %s) <= %d", a, b, random_below(&f->r, 12));
  case 1:
    return "doc[b, q_idx] == doc[b, kv_idx]";
  case 2:
    return arena_printf(f->arena, "%s - %s %s %s", a, b, op, small(f));
  default:
    return arena_printf(f->arena, "%s %s %s", a, op, b);
  }
}

static const char *
mask(Fuzz *f, int depth)
{
  if (!depth || random_below(&f->r, 4) == 0)
    return atom(f);
  const char *a = mask(f, depth - 1), *b = mask(f, depth - 1);
  switch (random_below(&f->r, 6)) {
  case 0:
    return arena_printf(f->arena, "!(%s)", a);
  case 1:
    return arena_printf(f->arena, "(%s ? %s : %s)", atom(f), a, b);
  case 2:
    return arena_printf(f->arena, "(%s || %s)", a, b);
  case 3:
    return arena_printf(f->arena, "((%s) == (%s))", a, b);
  default:
    return arena_printf(f->arena, "(%s && %s)", a, b);
  }
}

static const char *
make_mask(Fuzz *f)
{
  int kind = random_below(&f->r, 4);
  if (kind < 2)
    return mask(f, random_below(&f->r, 4));
  ExprGraph *g = expr_graph(f->arena, &random_names);
  Str s = str_new(f->arena);
  expr_print(g,
             kind == 2
                 ? random_affine(&f->r, g, 3)
                 : random_expr(&f->r, g, EXPR_BOOL, 1 + random_below(&f->r, 5), false),
             &s);
  return s.p;
}

/* What the loader refuses is too long, or nested too deep. */
static bool
load(Fuzz *f, const char *text)
{
  attnc_spec *spec = NULL;
  const char *yaml = arena_printf(
      f->arena,
      "attnc: 1\nname: random\ndtype: fp16\nhead_dim: 64\n"
      "tensors: {doc: {dtype: i32, axes: [b, kv]%s}, start: {dtype: i32, axes: [q]%s}, "
      "table: {dtype: fp32, axes: [h, 8]}}\n"
      "scalars: {cap: 1.0, gain: 2.0}\nmask_mod: \"%s\"\n",
      random_below(&f->r, 2) ? ", monotone: true" : "",
      random_below(&f->r, 2) ? ", monotone: true" : "", text);
  attnc_status s = attnc_spec_load(yaml, strlen(yaml), "random", &spec, NULL);
  f->spec = spec;
  return s == ATTNC_OK;
}

/* ---- a problem ---- */

static void
fill_row(Fuzz *f, int32_t *row, int n, bool sorted)
{
  int32_t now = random_below(&f->r, 4) - 1;
  for (int i = 0; i < n; i++) {
    if (random_below(&f->r, 5) == 0)
      now = sorted ? now + 1 + random_below(&f->r, 9) : random_below(&f->r, 50) - 3;
    row[i] = now;
  }
}

static void
make_problem(Fuzz *f)
{
  static const int tiles[][2] = {{8, 4}, {4, 8}, {16, 16}, {5, 3}, {1, 7}};
  const int *tile = tiles[random_below(&f->r, 5)];
  f->bm = tile[0];
  f->bn = tile[1];
  f->sq = 1 + random_below(&f->r, MOST);
  f->sk = random_below(&f->r, 3) ? 1 + random_below(&f->r, MOST) : f->sq;
  for (int i = 0; i < TABLE; i++)
    f->real[i] = (float)(random_below(&f->r, 80) - 20) / 4;
  for (int t = 0; t < f->spec->tables.n; t++) {
    const SpecTable *at = &f->spec->tables.at[t];
    ExprTable *x = &f->tables[t];
    int length = random_below(&f->r, 9) ? 1 + random_below(&f->r, MOST) : 0;
    *x = (ExprTable){.data = at->dtype ? (const void *)f->real : (const void *)f->whole};
    for (int a = 0; a < at->axes.n; a++) {
      bool last = a == at->axes.n - 1;
      x->length[a] = !last ? 1 : at->dtype ? 8 : length;
      x->stride[a] = 1;
    }
    if (!at->dtype) {
      int32_t *row = NEW_N(f->arena, int32_t, MOST);
      fill_row(f, row, length, at->monotone);
      x->data = row;
    }
  }
  f->scalars[0] = 1;
  f->scalars[1] = 2;
}

static ExprValue
element(const void *user, int tensor, const void *data, int64_t at)
{
  const Spec *s = user;
  if (s->tables.at[tensor].dtype)
    return (ExprValue){.f = (double)((const float *)data)[at]};
  return (ExprValue){.i = ((const int32_t *)data)[at]};
}

static bool
in_band(const Fuzz *f, int q, int k)
{
  Band b = spec_band(f->spec);
  int64_t rel = k - (q + (b.bottom_right ? f->sk - f->sq : 0));
  return (b.hi == INT_MAX || rel <= b.hi) && (b.lo == INT_MIN || rel >= b.lo);
}

static void
see(Fuzz *f)
{
  const SpecExprs *mod = &f->spec->mask_mod;
  ExprInput in = {.tables = f->tables,
                  .element = element,
                  .user = f->spec,
                  .scalars = f->scalars,
                  .width = EXPR_NARROW};
  in.var[EXPR_SQ] = f->sq;
  in.var[EXPR_SK] = f->sk;
  for (int h = 0; h < HEADS; h++)
    for (int q = 0; q < f->sq; q++)
      for (int k = 0; k < f->sk; k++) {
        bool seen = in_band(f, q, k);
        in.var[EXPR_H] = in.var[EXPR_HK] = h;
        in.var[EXPR_Q_IDX] = q;
        in.var[EXPR_KV_IDX] = k;
        if (seen && mod->n) {
          expr_eval_list(&mod->lists[0], &in, f->values);
          seen = f->values[mod->lists[0].n - 1].i;
        }
        f->seen[h][q][k] = seen;
      }
}

/* ---- tiles ---- */

static MaskClass
truth(const Fuzz *f, ExprRange h, ExprRange q, ExprRange k)
{
  bool any = false, all = true;
  for (int64_t x = h.lo; x <= h.hi; x++)
    for (int64_t i = q.lo; i <= q.hi; i++)
      for (int64_t j = k.lo; j <= k.hi; j++) {
        any |= f->seen[x][i][j];
        all &= f->seen[x][i][j];
      }
  return all ? MASK_FULL : any ? MASK_PARTIAL : MASK_EMPTY;
}

static ExprRange
part(int i, int n, int size)
{
  return (ExprRange){i * n, (i + 1) * n < size ? (i + 1) * n - 1 : size - 1};
}

static int
check_tiles(Fuzz *f, ExprRange h, const char *text)
{
  MaskProblem p = mask_problem(f->spec, f->sq, f->sk, f->arena);
  p.h = p.hk = h;
  p.tables = random_below(&f->r, 4) ? f->tables : NULL;
  for (int i = 0; i * f->bm < f->sq; i++)
    for (int j = 0; j * f->bn < f->sk; j++) {
      ExprRange q = part(i, f->bm, f->sq), k = part(j, f->bn, f->sk);
      MaskClass want = truth(f, h, q, k), got = mask_tile_class(&p, q, k);
      f->tiles++;
      f->empty += want == MASK_EMPTY;
      f->full += want == MASK_FULL;
      f->proved_empty += got == MASK_EMPTY;
      f->proved_full += got == MASK_FULL;
      if (got == want || got == MASK_PARTIAL)
        continue;
      fprintf(stderr,
              "fuzz_mask: heads %d to %d, sq %d, sk %d: tile %d, %d of %dx%d is called %d "
              "and is %d: %s\n%s",
              (int)h.lo, (int)h.hi, f->sq, f->sk, i, j, f->bm, f->bn, (int)got, (int)want,
              text, attnc_spec_canonical(f->spec));
      return 1;
    }
  return 0;
}

static int
run_one(Fuzz *f)
{
  f->arena = arena_new(0);
  const char *text = make_mask(f);
  int bad = 0;
  if (load(f, text)) {
    const SpecExprs *mod = &f->spec->mask_mod;
    f->values = NEW_N(f->arena, ExprValue, mod->n ? mod->lists[0].n : 1);
    make_problem(f);
    see(f);
    for (int h = 0; h < HEADS && !bad; h++)
      bad = check_tiles(f, (ExprRange){h, h}, text);
    bad = bad || check_tiles(f, (ExprRange){0, HEADS - 1}, text);
    f->masks++;
    attnc_spec_release(f->spec);
  } else {
    f->refused++;
  }
  arena_free(f->arena);
  return bad;
}

int
main(int argc, char **argv)
{
  static Fuzz f;
  FuzzArgs args = {.runs = 1500, .seed = 1};
  if (!fuzz_args(&args, argc, argv) || args.keep)
    return fprintf(stderr, "usage: fuzz_mask [--runs N] [--seed N]\n"), 1;
  long runs = args.runs;
  f.r.seed = args.seed;
  unsigned long long seed = f.r.seed;
  for (long i = 0; i < runs; i++)
    if (run_one(&f)) {
      fprintf(stderr, "fuzz_mask: seed %llu, run %ld\n", seed, i);
      return 1;
    }
  if (f.refused * 4 > runs)
    return fprintf(stderr, "fuzz_mask: %ld of %ld masks were refused\n", f.refused, runs),
           1;
  printf(
      "fuzz_mask: seed %llu, %ld masks, %ld refused, %ld tiles: %ld of %ld empty ones and "
      "%ld of %ld full ones are proved, none wrongly\n",
      seed, f.masks, f.refused, f.tiles, f.proved_empty, f.empty, f.proved_full, f.full);
  return 0;
}
