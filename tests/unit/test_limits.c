/* Sizes at the limits of 16, 30 and 31 bits: every index expression of every template's
 * program, evaluated in 64 bits at the corners of the largest problems that a launch lets
 * through, is what 32 bits hold, or is computed in 64; and no divisor is 0. */
#include "compiler/gen.h"
#include "compiler/kernel.h"
#include "compiler/sched.h"
#include "compiler/tile/tile_prog.h"
#include "templates/sched_wgmma.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_REGIONS = 64, SMS = 132, ASIDE = 65535 };
#define BLOCKS ((int64_t)INT32_MAX)

typedef struct Bench {
  Arena *arena;
  jmp_buf fail;
  attnc_error err;
  const Kernel *kernel;
  Tb *t; /* the entry that is looked at */
  const Sched *s;
  int64_t n[SIZE_COUNT]; /* sizes of the call */
  int64_t grid[3], blocks, cta[3], ctas, team;
  int64_t var[MAX_REGIONS]; /* of the loops; −1: not in it */
  bool right;               /* of a loop's two ends, the upper */
  const char *what;
} Bench;

static bool
dies(const Node *n, const Bench *b)
{
  return n->kind == NODE_LOOP && b->var[n->n] < 0;
}

static int64_t
leaf(void *user, const Node *n)
{
  const Bench *b = user;
  if (n->kind == NODE_LOOP)
    return b->var[n->n];
  if (n->kind == NODE_CTA)
    return b->cta[n->n];
  if (n->kind == NODE_CTAS)
    return b->ctas;
  if (n->kind == NODE_TEAM)
    return b->team;
  if (n->kind == NODE_THREAD)
    return b->right ? 32 * b->t->prog->warps - 1 : 0;
  if (n->kind == NODE_ANY || n->kind == NODE_FOUND) /* past the end it is unsigned */
    return 1;
  if (n->kind == NODE_ELEMENT) /* of a list: its first block */
    return 0;
  const Param *p = &b->t->prog->params.at[n->n];
  return p->kind == PARAM_SIZE ? b->n[p->slot] : 1;
}

/* Does it hang on a loop that makes no trip? */
static bool
dead(Idx x, const Bench *b)
{
  if (!x.node)
    return false;
  return dies(x.node, b) || dead(x.node->a, b) || dead(x.node->b, b) || dead(x.node->c, b);
}

static int64_t
value(Idx x, Bench *b)
{
  return idx_eval(x, leaf, b);
}

static void
check_node(const Node *n, Bench *b)
{
  Idx x = {.node = n};
  if (n->kind == NODE_PARAM || dead(x, b))
    return;
  if (n->kind == NODE_DIV && value(n->b, b) == 0)
    fail_msg("%s: node %d divides by 0 at block %lld", b->what, n->id,
             (long long)b->cta[0]);
  int64_t v = value(x, b);
  if (!n->wide && v != (int32_t)v)
    fail_msg("%s: node %d is %lld at block %lld of b%lld h%lld/%lld sq%lld sk%lld", b->what,
             n->id, (long long)v, (long long)b->cta[0], (long long)b->n[SIZE_B],
             (long long)b->n[SIZE_H], (long long)b->n[SIZE_HK], (long long)b->n[SIZE_SQ],
             (long long)b->n[SIZE_SK]);
}

/* Sets the loops inside to one end each. */
static void
enter(const Region *r, Bench *b)
{
  for (const Op *op = r->first; op; op = op->next) {
    const Region *in = op->body;
    if (!in)
      continue;
    if (in->kind == OP_FOR || (in->kind == OP_LOOP && !in->once)) {
      bool tiles = in->kind == OP_LOOP;
      Idx from = tiles ? in->span.lo : in->loop.lo, to = tiles ? in->span.hi : in->loop.hi;
      int64_t lo = -1, hi = -1;
      if (!dead(from, b) && !dead(to, b)) {
        lo = value(from, b);
        hi = value(to, b);
      }
      int64_t step = tiles ? 1 : value(in->loop.step, b), last = hi - 1;
      if (hi > lo && !tiles && step) /* of step 0: any number may come next */
        last = lo + (hi - 1 - lo) / step * step;
      b->var[in->id] = hi <= lo ? -1 : b->right ? last : lo;
    }
    enter(in, b);
  }
}

/* What a launch makes of an expression of the host; *fits: no product in it is above the
 * launch's bound. */
static double
host_value(Idx x, const Bench *b, bool *fits)
{
  if (!x.node)
    return (double)x.k;
  const Node *n = x.node;
  if (n->kind == NODE_PARAM) {
    const Tb *host = n->graph->owner;
    return (double)b->n[host->prog->params.at[n->n].slot];
  }
  if (n->kind == NODE_SMS)
    return SMS / n->n * n->n;
  if (n->kind == NODE_SELECT) /* of a choice: 0 here */
    return host_value(n->b, b, fits);
  double one = host_value(n->a, b, fits), other = host_value(n->b, b, fits), v = 0;
  bool aside = one <= ASIDE && other <= ASIDE;
  switch (n->kind) {
  case NODE_ADD:
    return one + other;
  case NODE_DIV:
    return floor(one / other);
  case NODE_MIN:
    return one < other ? one : other;
  case NODE_ASIDE:
    return aside ? one : 1;
  case NODE_MUL:
  case NODE_ALONG:
    v = n->kind == NODE_ALONG && aside ? 1 : one * other;
    *fits = *fits && v <= (double)BLOCKS;
    return v;
  default:
    fail_msg("%s: node %d of a grid", b->what, n->id);
  }
  return 0;
}

/* Grids of all entries are bound before the first is launched. */
static bool
all_fit(const Bench *b)
{
  bool fits = true;
  for (int i = 0; i < b->kernel->entries.n; i++)
    for (int k = 0; k < 3; k++)
      host_value(b->kernel->entries.at[i]->prog->grid[k], b, &fits);
  return fits;
}

/* The grid, and the launch's bound on it: false where it refuses. */
static bool
launches(Bench *b)
{
  bool fits = all_fit(b);
  b->blocks = 1;
  for (int i = 0; i < 3; i++) {
    double v = host_value(b->t->prog->grid[i], b, &fits);
    if (!fits)
      return false;
    b->grid[i] = (int64_t)v;
    b->blocks *= b->grid[i];
  }
  b->ctas = b->grid[0];
  return true;
}

/* Of all blocks in the order of the grid: x first. */
static void
place_cta(Bench *b, int64_t i)
{
  b->cta[0] = i % b->grid[0];
  b->cta[1] = i / b->grid[0] % b->grid[1];
  b->cta[2] = i / b->grid[0] / b->grid[1];
}

/* Blocks at both ends and in the middle, both ends of their loops, first and last team. */
static bool
check_sizes(Bench *b)
{
  if (!launches(b))
    return false;
  const int64_t ctas[] = {0, 1 % b->blocks, b->blocks / 2, b->blocks - 1};
  for (int i = 0; i < 16; i++) {
    place_cta(b, ctas[i / 4]);
    b->right = i & 1;
    b->team = i & 2 ? b->s->bm / 64 - 1 : 0;
    b->team = b->team < 0 ? 0 : b->team;
    for (int j = 0; j < MAX_REGIONS; j++)
      b->var[j] = -1;
    enter(b->t->prog->top, b);
    for (int j = 0; j < b->t->prog->idx.nodes.n; j++)
      check_node(b->t->prog->idx.nodes.at[j], b);
  }
  return true;
}

static const int64_t extremes[][SIZE_COUNT] = {
    /* b, h, hk, sq, sk */
    {1, 46341, 46341, 1, 1},     {1, 46342, 46342, 1, 1},
    {1, 65536, 65536, 1, 1},     {65536, 1, 1, 1, 1},
    {65536, 32767, 32767, 1, 1}, {1, 1 << 30, 1 << 30, 1, 1},
    {1, 1 << 30, 1, 1, 1},       {1, 1 << 30, 1 << 28, 1, 1 << 30},
    {1 << 30, 1, 1, 1, 1 << 30}, {1, 1 << 20, 1 << 18, 1, 1},
    {32768, 32768, 8192, 64, 1}, {2, 46344, 46344, 46344, 46344},
    {1, 1, 1, 1 << 30, 1 << 30}, {1, 1, 1, 1 << 30, 1},
    {1, 1, 1, 1, 1 << 30},       {1, 64, 16, 1 << 29, 1 << 30},
    {1, 64, 16, 1 << 30, 0},     {3, 4, 4, (1 << 30) - 1, (1 << 30) - 65},
    {1, 4, 4, 1 << 16, 1 << 16}, {1 << 15, 4, 4, (1 << 16) + 1, (1 << 16) + 1},
};

static const struct {
  const char *target, *fields;
  Hopper more; /* over the default of fwd_wgmma, where that is the template */
} kinds[] = {
    {"sm_80", "", {.bm = 0}},
    {"sm_80", "causal: true\n", {.bm = 0}},
    {"sm_80", "window: [1073741824, 1073741824]\n", {.bm = 0}},
    {"sm_80", "window: [1073741823, 1073741823]\nalign: top_left\n", {.bm = 0}},
    {"sm_80", "window: [1073741823, 1073741823]\n", {.bm = 0}},
    {"sm_80", "dtype: fp32\ncausal: true\n", {.bm = 0}},
    {"sm_90a", "", {.scheduler = SCHED_GRID}},
    {"sm_90a", "", {.scheduler = SCHED_PERSISTENT}},
    {"sm_90a", "", {.scheduler = SCHED_DYNAMIC}},
    {"sm_90a", "causal: true\n", {.scheduler = SCHED_DYNAMIC}},
    {"sm_90a", "", {.scheduler = SCHED_PERSISTENT, .cluster = 2}},
    {"sm_90a", "causal: true\n", {.scheduler = SCHED_PERSISTENT, .cluster = 2}},
    {"sm_90a", "causal: true\n", {.scheduler = SCHED_PERSISTENT, .cross_tile = true}},
    {"sm_90a",
     "causal: true\ngroup_size: 4\n",
     {.scheduler = SCHED_GRID, .pack_gqa = true}},
    {"sm_90a",
     "causal: true\ngroup_size: 4\n",
     {.scheduler = SCHED_PERSISTENT, .pack_gqa = true, .cluster = 2, .cross_tile = true}},
    {"sm_90a",
     "window: [1073741823, 1073741823]\nalign: top_left\n",
     {.scheduler = SCHED_PERSISTENT, .narrow_diagonal = true}},
};

static Sched
schedule(const Case *c, const Hopper *more)
{
  const Template *t = NULL;
  for (int i = 0; i < n_templates && !t; i++)
    if (template_table[i]->applicable(c, NULL))
      t = template_table[i];
  Sched s = t->initial(c);
  if (!str_eq(t->name, "fwd_wgmma"))
    return s;
  Hopper h = *hopper_of(&s);
  h.scheduler = more->scheduler;
  h.cluster = more->cluster ? more->cluster : 1;
  h.pack_gqa = more->pack_gqa;
  h.cross_tile = more->cross_tile;
  h.narrow_diagonal = more->narrow_diagonal;
  h.q_stages = more->cross_tile ? 2 : h.q_stages;
  return hopper_sched(h);
}

static void
check_entry(Bench *b, const attnc_spec *spec)
{
  int ran = 0;
  for (size_t i = 0; i < sizeof extremes / sizeof *extremes; i++) {
    memcpy(b->n, extremes[i], sizeof b->n);
    if (spec->group_size && b->n[SIZE_H] != b->n[SIZE_HK] * spec->group_size)
      continue;
    ran += check_sizes(b);
  }
  bool split = b->kernel->entries.n > 1; /* a grid of parts is refused sooner */
  assert_true(ran >= (split ? 1 : spec->group_size ? 3 : 12));
}

static void
check_kind(size_t k)
{
  char yaml[256];
  attnc_spec *spec = NULL;
  Bench b;
  memset(&b, 0, sizeof b);
  b.what = kinds[k].fields[0] ? kinds[k].fields : kinds[k].target;
  snprintf(yaml, sizeof yaml, "attnc: 1\nname: a\n%shead_dim: 64\nreturn_lse: true\n%s",
           strstr(kinds[k].fields, "dtype") ? "" : "dtype: bf16\n", kinds[k].fields);
  assert_int_equal(attnc_spec_load(yaml, strlen(yaml), "a", &spec, NULL), ATTNC_OK);
  Case c = {.spec = spec, .target = target_find(kinds[k].target)};
  Sched s = schedule(&c, &kinds[k].more);
  b.s = &s;
  b.arena = arena_new(0);
  if (setjmp(b.fail))
    fail_msg("%s", b.err.message);
  BuildArgs args = {.arena = b.arena,
                    .fail = &b.fail,
                    .err = &b.err,
                    .name = s.tmpl->name,
                    .target = c.target,
                    .spec = spec};
  Build *build = build_new(&args);
  s.tmpl->emit(build, build->call, &s);
  b.kernel = build_kernel(build);
  for (int i = 0; i < b.kernel->entries.n; i++) {
    b.t = b.kernel->entries.at[i];
    assert_true(b.t->prog->n_regions < MAX_REGIONS);
    check_entry(&b, spec);
  }
  arena_free(b.arena);
  attnc_spec_release(spec);
}

static void
test_indices(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    check_kind(i);
}

/* Hints that a caller may give: no cost is negative, infinite or NaN, and none takes long.
 */
static void
test_costs(void **state)
{
  (void)state;
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    char yaml[256];
    attnc_spec *spec = NULL;
    snprintf(yaml, sizeof yaml, "attnc: 1\nname: a\n%shead_dim: 64\n%s",
             strstr(kinds[k].fields, "dtype") ? "" : "dtype: bf16\n", kinds[k].fields);
    assert_int_equal(attnc_spec_load(yaml, strlen(yaml), "a", &spec, NULL), ATTNC_OK);
    Case c = {.spec = spec, .target = target_find(kinds[k].target), .sms = SMS};
    Sched s = schedule(&c, &kinds[k].more);
    c.b = c.h = c.hk = c.sq = c.sk = INT64_MAX;
    SchedCost cost = s.tmpl->cost(&c, &s);
    assert_true(cost.cycles > 1e18 && cost.cycles < 1e90);
    attnc_spec_release(spec);
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_indices),
      cmocka_unit_test(test_costs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
