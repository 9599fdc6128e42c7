/* The builder of kernels: expressions of the host as a recipe says them, what entries share
 * and what not, and what ends a compile. */
#include "compiler/kernel.h"
#include "compiler/tile/tile_prog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

typedef struct Bench {
  Arena *arena;
  jmp_buf fail;
  attnc_error err;
  attnc_spec *spec;
  Build *b;
  const Call *host;
} Bench;

static void
bench_open(Bench *x, const char *target)
{
  static const char yaml[] = "attnc: 1\nname: t\ndtype: fp16\nhead_dim: 64\n";
  memset(x, 0, sizeof *x);
  x->arena = arena_new(0);
  assert_int_equal(attnc_spec_load(yaml, strlen(yaml), "t", &x->spec, NULL), ATTNC_OK);
  BuildArgs args = {.arena = x->arena,
                    .fail = &x->fail,
                    .err = &x->err,
                    .name = "toy",
                    .target = target_find(target),
                    .spec = x->spec};
  x->b = build_new(&args);
  x->host = x->b->call;
}

static void
bench_close(Bench *x)
{
  attnc_spec_release(x->spec);
  arena_free(x->arena);
}

/* ---- axes ---- */

static Idx
product(Bench *x)
{
  Idx blocks = i_cdiv(x->host->sq, 64), all = i_mul(i_mul(blocks, 2), x->host->h);
  return i_mul(3, all);
}

static Idx
fewer(Bench *x)
{
  Idx all = product(x), sms = i_sms(x->host, 4);
  return i_min(sms, i_min(all, 7));
}

static Idx
along(Bench *x)
{
  Idx b = call_size(x->host, SIZE_B);
  return i_mul(i_along(x->host->h, b), x->host->sk);
}

static Idx
aside(Bench *x)
{
  return i_aside(call_size(x->host, SIZE_B), x->host->h);
}

static Idx
sections(Bench *x)
{
  Idx heads = i_mul(x->host->h, call_size(x->host, SIZE_B));
  Idx some = i_aside(i_quotient(heads, i_quotient(x->host->sk, 100)), x->host->sq);
  return i_quotient(heads, some);
}

static Idx
by_nothing(Bench *x)
{
  return i_quotient(x->host->sq, 0);
}

static Idx
one(Bench *x)
{
  (void)x;
  return i_int(1);
}

static Idx
rounded_down(Bench *x)
{
  return i_mul(2, i_div(x->host->sq, 64));
}

static Idx
of_sizes(Bench *x)
{
  return i_cdiv(x->host->h, x->host->hk);
}

static Idx
sum(Bench *x)
{
  return i_add(i_mul(x->host->sq, x->host->h), x->host->sk);
}

static Idx
behind(Bench *x)
{
  return i_sub(x->host->sq, 1);
}

static Idx
stride(Bench *x)
{
  return x->host->q->stride[0];
}

static Idx
huge(Bench *x)
{
  return i_mul(i_mul(x->host->sq, INT32_MAX), 2);
}

static Idx
of_products(Bench *x)
{
  return i_along(i_mul(x->host->h, 2), x->host->hk);
}

static Idx
choice(Bench *x)
{
  Idx rule = i_min(32, i_cdiv(x->host->sk, 512));
  return i_mul(i_or_else(call_size(x->host, SIZE_NUM_SPLITS), rule), x->host->hk);
}

static Idx
no_choice(Bench *x)
{
  return i_or_else(x->host->sq, x->host->sk);
}

static const struct {
  Idx (*make)(Bench *);
  const char *says; /* NULL: cannot, and … */
  const char *why;
} axes[] = {
    {product, "{\"mul\":[6,{\"ceil_div\":[\"sq\",64]},{\"size\":\"h\"}]}", NULL},
    {fewer,
     "{\"mul\":[{\"min\":[{\"mul\":[{\"sms\":4}]},"
     "{\"mul\":[6,{\"ceil_div\":[\"sq\",64]},{\"size\":\"h\"}]},{\"mul\":[7]}]}]}",
     NULL},
    {along, "{\"mul\":[{\"along\":[\"h\",\"b\"]},{\"size\":\"sk\"}]}", NULL},
    {aside, "{\"mul\":[{\"aside\":[\"b\",\"h\"]}]}", NULL},
    {sections,
     "{\"mul\":[{\"quotient\":[{\"mul\":[{\"size\":\"h\"},{\"size\":\"b\"}]},"
     "{\"mul\":[{\"aside\":[{\"mul\":[{\"quotient\":[{\"mul\":[{\"size\":\"h\"},"
     "{\"size\":\"b\"}]},{\"mul\":[{\"quotient\":[{\"mul\":[{\"size\":\"sk\"}]},"
     "{\"mul\":[100]}]}]}]}]},\"sq\"]}]}]}]}",
     NULL},
    {by_nothing, NULL, "cannot say quotient(sq, 0): a divisor is not positive"},
    {one, "{\"mul\":[1]}", NULL},
    {rounded_down, NULL, "a recipe cannot say (sq / 64): of quotients"},
    {of_sizes, NULL, "cannot say (((h + hk) + -1) / hk): of quotients"},
    {sum,
     "{\"mul\":[{\"add\":[{\"mul\":[{\"size\":\"sq\"},{\"size\":\"h\"}]},"
     "{\"mul\":[{\"size\":\"sk\"}]}]}]}",
     NULL},
    {behind, NULL, "a constant is negative or too large"},
    {stride, NULL, "cannot say q.stride.b: it is no size"},
    {huge, NULL, "a constant is negative or too large"},
    {of_products, NULL, "these are no sizes"},
    {choice,
     "{\"mul\":[{\"or\":[\"num_splits\",{\"mul\":[{\"min\":[{\"mul\":[32]},"
     "{\"mul\":[{\"ceil_div\":[\"sk\",512]}]}]}]}]},{\"size\":\"hk\"}]}",
     NULL},
    {no_choice, NULL, "of selections it knows a size that is a choice"},
};

static void
test_axes(void **state)
{
  (void)state;
  for (volatile size_t i = 0; i < sizeof axes / sizeof *axes; i++) {
    Bench x;
    bench_open(&x, "sm_80");
    if (setjmp(x.fail) == 0) {
      Str s = str_new(x.arena);
      recipe_axis(&s, axes[i].make(&x));
      if (!axes[i].says)
        fail_msg("axis %zu is said: %s", i, s.p);
      assert_string_equal(s.p, axes[i].says);
    } else if (axes[i].says || !strstr(x.err.message, axes[i].why)) {
      fail_msg("axis %zu: %s", i, x.err.message);
    } else {
      assert_int_equal(x.err.status, ATTNC_ERR_INTERNAL);
    }
    bench_close(&x);
  }
}

/* ---- entries, steps, regions ---- */

static void
entry(Bench *x, const char *name)
{
  T_ENTRY (x->b, t, name, .warps = 4)
    t_grid(t, 1, 1, 1);
}

/* Steps stand in the order of the words, and an entry has the parameters that it asks for.
 */
static void
test_steps(void **state)
{
  Bench x;
  (void)state;
  bench_open(&x, "sm_90a");
  if (setjmp(x.fail))
    fail_msg("%s", x.err.message);
  const WorkRegion *first = b_region(x.b, .name = "first", .ty = DT_F32, .cols = 1);
  const WorkRegion *second =
      b_region(x.b, .name = "second", .ty = DT_F16, .b = call_size(x.host, SIZE_B),
               .h = x.host->h, .rows = i_cdiv(x.host->sq, 8), .cols = 24);
  entry(&x, "one");
  b_memset(x.b, first, 255);
  T_ENTRY (x.b, t, "two", .warps = 8, .cluster = 2, .dependent = true) {
    const Tensor *w = t_region(t, second);
    t_grid_wait(t);
    t_grid(t, 2, i_sms(x.host, 1), 1);
    assert_true(w->workspace && w->slot == 1 && w->cols == 24);
    assert_true(w->stride[1].node->wide && w->stride[0].node->wide);
    assert_ptr_equal(t, w->rows.node->graph->owner);
  }
  const Kernel *k = build_kernel(x.b);
  assert_int_equal(k->entries.n, 2);
  assert_int_equal(k->steps.n, 3);
  assert_string_equal(k->steps.at[0].launch->entry, "attnc_toy_one_sm_90a");
  assert_null(k->steps.at[1].launch);
  assert_ptr_equal(k->steps.at[1].region, first);
  const Program *p = k->steps.at[2].launch;
  assert_int_equal(k->steps.at[0].launch->params.n, 0);
  assert_int_equal(p->params.n, 3); /* sq and h of the rows and strides, the region */
  assert_int_equal(p->params.at[2].kind, PARAM_WORKSPACE);
  assert_int_equal(p->cluster, 2);
  assert_true(p->dependent);
  Str s = str_new(x.arena);
  recipe_axis(&s, second->bytes);
  assert_string_equal(s.p, "{\"mul\":[48,{\"size\":\"b\"},{\"size\":\"h\"},"
                           "{\"ceil_div\":[\"sq\",8]}]}");
  bench_close(&x);
}

/* Of an entry that looks at the call, and at two regions: sizes and the region that it
 * reads, in one row; one without a name, ahead of which no other is, has all. */
static void
test_places(void **state)
{
  Bench x;
  (void)state;
  bench_open(&x, "sm_80");
  if (setjmp(x.fail))
    fail_msg("%s", x.err.message);
  const RegionArgs rows = {.ty = DT_F32, .h = x.host->h, .rows = x.host->sq, .cols = 1};
  const WorkRegion *read = b_region_(x.b, &rows), *other = b_region_(x.b, &rows);
  Idx none = i_int(0);
  T_ENTRY (x.b, t, NULL, .warps = 4) {
    t_grid(t, 1, 1, 1);
    t_call(t);
  }
  T_ENTRY (x.b, t, "one", .warps = 4) {
    t_grid(t, 1, 1, 1);
    t_call(t);
    t_region(t, other);
    View v = v_rows(t_region(t, read), none, none, none, 4);
    Tile sums = t_load_rows(t, v);
    t_store_rows(t, v, sums);
  }
  const Kernel *k = build_kernel(x.b);
  const Program *all = k->steps.at[0].launch, *p = k->steps.at[1].launch;
  int places = 0;
  for (int i = 0; i < p->params.n; i++) {
    const Param *q = &p->params.at[i];
    bool reads = (q->kind == PARAM_SIZE && (q->slot == SIZE_H || q->slot == SIZE_SQ)) ||
                 (q->kind == PARAM_WORKSPACE && q->slot == 0);
    assert_int_equal(q->place, reads ? places++ : -1);
  }
  assert_int_equal(places, 3);
  assert_int_equal(p->n_places, 3);
  assert_int_equal(all->n_places, all->params.n);
  assert_in_range(all->params.n, 12, 40);
  bench_close(&x);
}

/* A counter is drawn from by one lane, and an entry that draws has the region. */
static Idx
drawn(Tb *t, const WorkRegion *r)
{
  Idx found = i_int(0);
  T_ROLE (t, .name = "one", .teams = 1, .warps = 4)
    T_WARP (t, 0)
      found = t_ticket(t, r, 7);
  return found;
}

static void
test_tickets(void **state)
{
  Bench x;
  (void)state;
  bench_open(&x, "sm_90a");
  if (setjmp(x.fail))
    fail_msg("%s", x.err.message);
  const WorkRegion *r =
      b_region(x.b, .name = "tickets", .ty = DT_F32, .cols = 1, .zero = true);
  b_region(x.b, .name = "rows", .ty = DT_F32, .cols = 1, .rows = x.host->sq);
  T_ENTRY (x.b, t, "one", .warps = 4) {
    t_grid(t, i_sms(x.host, 1), 1, 1);
    t_grid_without_workspace(t, call_size(x.host, SIZE_B), 1, 1);
    assert_int_equal(drawn(t, r).node->kind, NODE_FOUND);
  }
  const Program *p = build_kernel(x.b)->steps.at[0].launch;
  assert_true(p->has_grid_without_workspace);
  assert_int_equal(p->n_places, 1);
  assert_int_equal(p->params.at[0].kind, PARAM_WORKSPACE);
  bench_close(&x);
}

/* Where the target has no dependent launches nobody waits, and the recipe says nothing. */
static void
test_not_dependent(void **state)
{
  Bench x;
  (void)state;
  bench_open(&x, "sm_80");
  if (setjmp(x.fail))
    fail_msg("%s", x.err.message);
  T_ENTRY (x.b, t, NULL, .warps = 4, .dependent = true)
    t_grid(t, 1, 1, 1);
  const Program *p = build_kernel(x.b)->steps.at[0].launch;
  assert_string_equal(p->entry, "attnc_toy_sm_80");
  assert_false(p->dependent);
  bench_close(&x);
}

/* ---- misuse ---- */

static void
no_grid(Bench *x)
{
  T_ENTRY (x->b, t, "one", .warps = 4)
    (void)t;
}

static void
two_grids(Bench *x)
{
  T_ENTRY (x->b, t, "one", .warps = 4) {
    t_grid(t, 1, 1, 1);
    t_grid(t, 1, 1, 1);
  }
}

static void
grid_of_the_entry(Bench *x)
{
  T_ENTRY (x->b, t, "one", .warps = 4)
    t_grid(t, t_call(t)->sq, 1, 1);
}

static void
no_blocks(Bench *x)
{
  T_ENTRY (x->b, t, "one", .warps = 4)
    t_grid(t, 1, 0, 1);
}

static void
one_name(Bench *x)
{
  entry(x, "one");
  entry(x, "one");
}

static void
nested(Bench *x)
{
  T_ENTRY (x->b, t, "one", .warps = 4)
    entry(x, "two");
}

static void
of_another(Bench *x)
{
  Idx sq = i_int(0);
  T_ENTRY (x->b, t, "one", .warps = 4) {
    sq = t_call(t)->sq;
    t_grid(t, 1, 1, 1);
  }
  T_ENTRY (x->b, u, "two", .warps = 4)
    i_add(sq, t_call(u)->sk);
}

static void
of_the_host(Bench *x)
{
  T_ENTRY (x->b, t, "one", .warps = 4)
    i_add(x->host->sq, t_call(t)->sk);
}

static void
never_waits(Bench *x)
{
  T_ENTRY (x->b, t, "one", .warps = 4, .dependent = true)
    t_grid(t, 1, 1, 1);
}

static void
nothing(Bench *x)
{
  b_memset(x->b, b_region(x->b, .name = "r", .cols = 1), 0);
}

static void
memset_inside(Bench *x)
{
  const WorkRegion *r = b_region(x->b, .name = "r", .cols = 1);
  T_ENTRY (x->b, t, "one", .warps = 4)
    b_memset(t->build, r, 0);
}

static void
no_columns(Bench *x)
{
  b_region(x->b, .name = "r", .rows = x->host->sq);
}

static void
shrinks(Bench *x)
{
  b_region(x->b, .name = "r", .cols = 1, .rows = aside(x));
}

static void
shrinks_by_quotient(Bench *x)
{
  b_region(x->b, .name = "r", .cols = 1, .rows = i_quotient(x->host->sq, x->host->h));
}

static void
region_of_an_entry(Bench *x)
{
  T_ENTRY (x->b, t, "one", .warps = 4)
    b_region(x->b, .name = "r", .cols = 1, .rows = t_call(t)->sq);
}

static void
rows_of_the_device(Bench *x)
{
  const WorkRegion *r = b_region(x->b, .name = "r", .cols = 1, .rows = i_sms(x->host, 1));
  T_ENTRY (x->b, t, "one", .warps = 4)
    t_region(t, r);
}

static void
map_of_workspace(Bench *x)
{
  const WorkRegion *r =
      b_region(x->b, .name = "r", .ty = DT_F16, .cols = 64, .rows = i_int(64));
  T_ENTRY (x->b, t, "one", .warps = 8) {
    Ring *ring = t_ring(t, .name = "ring", .fill = FILL_TMA, .ty = DT_F16, .rows = 64,
                        .cols = 64, .stages = 1, .consumers = 4);
    Idx zero = i_int(0);
    View v = v_rows(t_region(t, r), zero, zero, zero, 64);
    T_ROLE (t, .name = "load", .teams = 1, .warps = 4)
      T_WARP (t, 0)
        t_producer_load(t, ring, .src = v);
  }
}

static void
zero_of_a_size(Bench *x)
{
  b_region(x->b, .name = "r", .cols = 1, .rows = x->host->sq, .zero = true);
}

static void
zero_behind(Bench *x)
{
  b_region(x->b, .name = "r", .cols = 1);
  b_region(x->b, .name = "z", .cols = 1, .zero = true);
}

static void
no_counter(Bench *x)
{
  const WorkRegion *r = b_region(x->b, .name = "r", .ty = DT_F32, .cols = 1);
  T_ENTRY (x->b, t, "one", .warps = 4)
    drawn(t, r);
}

static void
all_draw(Bench *x)
{
  const WorkRegion *r = b_region(x->b, .name = "r", .ty = DT_F32, .cols = 1, .zero = true);
  T_ENTRY (x->b, t, "one", .warps = 4)
    t_ticket(t, r, 7);
}

static void
draws_early(Bench *x)
{
  const WorkRegion *r = b_region(x->b, .name = "r", .ty = DT_F32, .cols = 1, .zero = true);
  T_ENTRY (x->b, t, "one", .warps = 4, .dependent = true)
    drawn(t, r);
}

static void
half_without(Bench *x)
{
  const WorkRegion *r = b_region(x->b, .name = "r", .ty = DT_F32, .cols = 1, .zero = true);
  T_ENTRY (x->b, t, "one", .warps = 4) {
    t_grid(t, 1, 1, 1);
    t_grid_without_workspace(t, 1, 1, 1);
  }
  T_ENTRY (x->b, u, "two", .warps = 4) {
    t_grid(u, 1, 1, 1);
    drawn(u, r);
  }
}

static void
many_steps(Bench *x)
{
  const WorkRegion *r = b_region(x->b, .name = "r", .cols = 1);
  entry(x, "one");
  for (int i = 0; i < CALL_STEPS; i++)
    b_memset(x->b, r, 0);
}

static void
many_regions(Bench *x)
{
  entry(x, "one");
  for (int i = 0; i <= CALL_REGIONS; i++)
    b_region(x->b, .name = "r", .cols = 1);
}

static const struct {
  void (*build)(Bench *);
  const char *why;
} misuses[] = {
    {no_grid, "attnc_toy_one_sm_90a has no grid"},
    {two_grids, "has two grids"},
    {grid_of_the_entry, "is no expression of the host"},
    {no_blocks, "0 blocks along y"},
    {one_name, "attnc_toy_one_sm_90a is opened twice"},
    {nested, "is opened inside attnc_toy_one_sm_90a"},
    {of_another, "an index expression of two programs"},
    {of_the_host, "an index expression of two programs"},
    {never_waits, "is dependent and never waits"},
    {nothing, "a kernel without an entry"},
    {many_steps, "9 steps and 1 regions"},
    {many_regions, "1 steps and 25 regions"},
    {memset_inside, "a memset inside attnc_toy_one_sm_90a"},
    {no_columns, "region r has 0 columns"},
    {shrinks, "region r: an axis does not grow"},
    {shrinks_by_quotient, "region r: an axis does not grow"},
    {region_of_an_entry, "region r: an axis is no expression of the host"},
    {rows_of_the_device, "what an entry does not have"},
    {map_of_workspace, "r: workspace has no tensor map"},
    {zero_of_a_size, "region r is zero and its size depends"},
    {zero_behind, "region z is zero and stands behind"},
    {no_counter, "ticket: r is no counter"},
    {all_draw, "ticket: one lane draws"},
    {draws_early, "the launch ahead may still be drawing"},
    {half_without, "1 steps need workspace, and 1 have a grid without"},
};

static void
test_misuse(void **state)
{
  (void)state;
  for (volatile size_t i = 0; i < sizeof misuses / sizeof *misuses; i++) {
    Bench x;
    bench_open(&x, "sm_90a");
    if (setjmp(x.fail) == 0) {
      misuses[i].build(&x);
      build_kernel(x.b);
      fail_msg("misuse %zu is taken", i);
    }
    if (!strstr(x.err.message, misuses[i].why))
      fail_msg("misuse %zu: %s", i, x.err.message);
    assert_int_equal(x.err.status, ATTNC_ERR_INTERNAL);
    bench_close(&x);
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_axes),   cmocka_unit_test(test_steps),
      cmocka_unit_test(test_places), cmocka_unit_test(test_not_dependent),
      cmocka_unit_test(test_misuse), cmocka_unit_test(test_tickets),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
