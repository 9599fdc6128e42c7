/* Roles, TMA rings, products in flight, branches: what the words refuse, and the walk that
 * leaves the first tile out against the one that has it. */
#include "compiler/tile/tile_prog.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct Bench {
  Arena *arena;
  jmp_buf fail;
  attnc_error err;
  Tb *t;
} Bench;

static void
bench_open(Bench *b)
{
  memset(b, 0, sizeof *b);
  b->arena = arena_new(0);
  b->t = tile_new(b->arena, &b->fail, &b->err, target_find("sm_90a"), 12);
}

static const Tensor *
a_tensor(Tb *t)
{
  static Tensor x;
  x = (Tensor){.name = "k", .slot = 1, .ty = DT_F16, .cols = 64};
  x.rows = tile_size(t, SIZE_SK);
  return &x;
}

static Walk
a_walk(Tb *t)
{
  Mask m = {.band = {INT_MIN, INT_MAX, true},
            .sq = tile_size(t, SIZE_SQ),
            .sk = tile_size(t, SIZE_SK)};
  return w_keys(t, &m, &(WalkRows){.n = 128}, 64);
}

/* ---- a kernel in small, and its faults ---- */

typedef struct Small {
  Ring *q, *k;
  Smem own; /* the team's rows of Q */
  Opnd left;
} Small;

static Small
small(Tb *t)
{
  Small s;
  s.q = t_ring(t, .name = "q", .fill = FILL_TMA, .ty = DT_F16, .rows = 128, .cols = 64,
               .stages = 1, .consumers = 8);
  s.k = t_ring(t, .name = "k", .fill = FILL_TMA, .ty = DT_F16, .rows = 64, .cols = 64,
               .stages = 2, .consumers = 8);
  return s;
}

#define TEAMS  .name = "mma", .teams = 2, .warps = 4
#define LOADER .name = "load", .teams = 1, .warps = 4

static void
skip_loader(Tb *t)
{
  T_ROLE (t, LOADER)
    t_fence_async(t);
}

static Tile
first_scores(Tb *t, Small *s, Slot *k)
{
  Slot q = t_consumer_wait(t, s->q);
  *k = t_consumer_wait(t, s->k);
  s->own = s_rows(q.s, i_mul(i_team(t), 64), 64);
  Tile x = t_dot(t, s->own, s_trans(k->s));
  t_consumer_release(t, q);
  return x;
}

static void
read_in_flight(Tb *t)
{
  Small s = small(t);
  Slot k;
  skip_loader(t);
  T_ROLE (t, TEAMS) {
    Slot q = t_consumer_wait(t, s.q);
    k = t_consumer_wait(t, s.k);
    Tile x = t_dot(t, s_rows(q.s, i_int(0), 64), s_trans(k.s));
    t_exp2(t, x);
  }
}

static void
released_in_flight(Tb *t)
{
  Small s = small(t);
  Slot k;
  skip_loader(t);
  T_ROLE (t, TEAMS)
    first_scores(t, &s, &k);
}

static void
flies_out_of_loop(Tb *t)
{
  Small s = small(t);
  Walk w = a_walk(t);
  skip_loader(t);
  T_ROLE (t, TEAMS) {
    Slot q = t_consumer_wait(t, s.q);
    Slot k = t_consumer_wait(t, s.k);
    T_FOR_TILES (t, j, &w)
      t_dot(t, s_rows(q.s, i_int(0), 64), s_trans(k.s));
  }
}

static void
converted_too_early(Tb *t)
{
  Small s = small(t);
  skip_loader(t);
  T_ROLE (t, TEAMS) {
    Slot k = t_consumer_wait(t, s.k);
    Tile p = t_zero(t, 64, 64);
    Tile half = t_cvt(t, p, DT_F16);
    t_dot(t, half, k.s);
    t_cvt(t, p, DT_F16);
  }
}

static void
waited_twice(Tb *t)
{
  Small s = small(t);
  skip_loader(t);
  T_ROLE (t, TEAMS) {
    Slot k = t_consumer_wait(t, s.k);
    Slot q = t_consumer_wait(t, s.q);
    Tile x = t_dot(t, s_rows(q.s, i_int(0), 64), s_trans(k.s));
    t_wait(t, x);
    t_wait(t, x);
  }
}

static void
still_held(Tb *t)
{
  Small s = small(t);
  skip_loader(t);
  T_ROLE (t, TEAMS)
    t_consumer_wait(t, s.k);
}

static void
held_after_loop(Tb *t)
{
  Small s = small(t);
  Walk w = a_walk(t);
  skip_loader(t);
  T_ROLE (t, TEAMS)
    T_FOR_TILES (t, j, &w)
      t_consumer_wait(t, s.k);
}

static void
pushed_by_all(Tb *t)
{
  Small s = small(t);
  T_ROLE (t, LOADER)
    t_producer_load(t, s.k, .src = v_rows(a_tensor(t), i_int(0), i_int(0), i_int(0), 64));
}

static void
pushed_on_condition(Tb *t)
{
  Small s = small(t);
  Idx when = i_int(1);
  T_ROLE (t, LOADER)
    T_WARP (t, 0)
      t_producer_load(t, s.k, .src = v_rows(a_tensor(t), i_int(0), i_int(0), i_int(0), 64),
                      .when = &when);
}

static void
too_many_warps(Tb *t)
{
  T_ROLE (t, .name = "mma", .teams = 4, .warps = 4)
    t_sync(t);
}

static void
odd_registers(Tb *t)
{
  T_ROLE (t, .name = "load", .teams = 1, .warps = 4, .regs = 30)
    t_sync(t);
}

static void
role_in_role(Tb *t)
{
  T_ROLE (t, LOADER)
    T_ROLE (t, LOADER)
      t_sync(t);
}

static void
no_such_warp(Tb *t)
{
  T_ROLE (t, LOADER)
    T_WARP (t, 4)
      t_fence_async(t);
}

static void
turn_of_others(Tb *t)
{
  OrderBarrier *turn = t_order_barrier(t, 3);
  skip_loader(t);
  T_ROLE (t, TEAMS)
    t_order_wait(t, turn);
}

static void
too_many_barriers(Tb *t)
{
  for (int i = 0; i < 8; i++)
    t_order_barrier(t, 2);
}

static void
sync_outside(Tb *t)
{
  t_sync_role(t);
}

static void
wide_product(Tb *t)
{
  Ring *k = t_ring(t, .name = "k", .fill = FILL_TMA, .ty = DT_F16, .rows = 64, .cols = 320,
                   .stages = 1, .consumers = 8);
  skip_loader(t);
  T_ROLE (t, TEAMS) {
    Tile p = t_zero(t, 64, 64);
    Tile half = t_cvt(t, p, DT_F16);
    Slot s = t_consumer_wait(t, k);
    t_dot(t, half, s.s);
  }
}

static void
half_a_warpgroup(Tb *t)
{
  Small s = small(t);
  skip_loader(t);
  T_ROLE (t, .name = "mma", .teams = 2, .warps = 2) {
    Slot q = t_consumer_wait(t, s.q);
    Slot k = t_consumer_wait(t, s.k);
    t_dot(t, s_rows(q.s, i_int(0), 64), s_trans(k.s));
  }
}

static void
nobody_takes(Tb *t)
{
  t_ring(t, .name = "k", .fill = FILL_TMA, .ty = DT_F16, .rows = 64, .cols = 64,
         .stages = 1);
}

static void
type_changes_in_branch(Tb *t)
{
  Tile zero = t_zero_lanes(t, 12, 64);
  Tile *v = t_var(t, zero);
  T_IF (t, i_lt(tile_size(t, SIZE_SQ), 5))
    *v = t_rows(t, 12, 1);
}

static Ring *
ring_of_words(Tb *t, Fill fill, int cluster)
{
  return t_ring(t, .name = "w", .fill = fill, .ty = DT_F16, .rows = 64, .cols = 64,
                .stages = 1, .consumers = 4, .cluster = cluster, .word = true);
}

static void
words_without_tma(Tb *t)
{
  ring_of_words(t, FILL_COPY, 1);
}

static void
words_of_a_cluster(Tb *t)
{
  ring_of_words(t, FILL_TMA, 2);
}

static void
load(Tb *t, Ring *r, const Idx *word)
{
  Idx zero = i_int(0);
  T_ROLE (t, LOADER)
    T_WARP (t, 0)
      t_producer_load(t, r, .src = v_rows(a_tensor(t), zero, zero, zero, 64), .word = word);
}

static void
stage_without_word(Tb *t)
{
  load(t, ring_of_words(t, FILL_TMA, 1), NULL);
}

static void
word_for_none(Tb *t)
{
  Idx zero = i_int(0);
  load(t, small(t).k, &zero);
}

static void
word_of_none(Tb *t)
{
  Small s = small(t);
  skip_loader(t);
  T_ROLE (t, TEAMS)
    t_stage_word(t, t_consumer_peek(t, s.k));
}

/* ---- a column by the lanes of a warp ---- */

static Ring *
column_ring(Tb *t, Dtype ty, int cols)
{
  return t_ring(t, .name = "c", .fill = FILL_LANES, .ty = ty, .rows = 64, .cols = cols,
                .stages = 1, .consumers = 8);
}

static View
column(Tb *t)
{
  Tensor *x = NEW(t_arena(t), Tensor);
  *x = *a_tensor(t);
  x->ty = DT_F32;
  x->cols = 1;
  return v_rows(x, i_int(0), i_int(0), i_int(0), 64);
}

static void
column_of_one_lane(Tb *t)
{
  Ring *c = column_ring(t, DT_F32, 1);
  T_ROLE (t, LOADER)
    T_WARP (t, 0)
      t_producer_load(t, c, .src = column(t));
}

static void
lanes_of_a_box(Tb *t)
{
  Ring *c = column_ring(t, DT_F16, 64);
  T_ROLE (t, LOADER)
    T_WHOLE_WARP(t, 0)
  t_producer_load(t, c, .src = v_rows(a_tensor(t), i_int(0), i_int(0), i_int(0), 64));
}

static void
column_by_tma(Tb *t)
{
  Ring *c = t_ring(t, .name = "c", .fill = FILL_TMA, .ty = DT_F32, .rows = 64, .cols = 1,
                   .stages = 1, .consumers = 8);
  T_ROLE (t, LOADER)
    T_WARP (t, 0)
      t_producer_load(t, c, .src = column(t));
}

static void
column_if(Tb *t)
{
  Ring *c = column_ring(t, DT_F32, 1);
  Idx when = i_int(1);
  T_ROLE (t, LOADER)
    T_WHOLE_WARP(t, 0)
  t_producer_load(t, c, .src = column(t), .when = &when);
}

/* ---- columns from a panel on ---- */

static void
put_in_a_panel(Tb *t)
{
  Smem box = t_smem(t, "box", DT_F16, 64, 128);
  skip_loader(t);
  T_ROLE (t, .name = "mma", .teams = 1, .warps = 4) {
    Tile zero = t_zero(t, 64, 64);
    Tile half = t_cvt(t, zero, DT_F16);
    t_put(t, s_panel(box, i_int(1), 64), half);
  }
}

static void
left_of_two_panels(Tb *t)
{
  Smem box = t_smem(t, "box", DT_F16, 64, 128);
  skip_loader(t);
  T_ROLE (t, .name = "mma", .teams = 1, .warps = 4)
    t_dot(t, s_trans(box), box);
}

static void
sums_of_halves(Tb *t)
{
  Tensor *x = NEW(t_arena(t), Tensor);
  *x = *a_tensor(t);
  x->workspace = true;
  View v = v_rows(x, i_int(0), i_int(0), i_int(0), 4);
  skip_loader(t);
  T_ROLE (t, .name = "mma", .teams = 1, .warps = 4) {
    Tile zero = t_zero(t, 64, 64);
    Tile half = t_cvt(t, zero, DT_F16);
    t_reduce_cols(t, v, half, i_int(0));
  }
}

/* By TMA a row's part ends where the tensor does. */
static void
part_until(Tb *t)
{
  Small s = small(t);
  Idx zero = i_int(0);
  View v = v_cols(v_rows(a_tensor(t), zero, zero, zero, 64), i_int(16), true);
  T_ROLE (t, LOADER)
    T_WARP (t, 0)
      t_producer_load(t, s.k, .src = v_cols_until(v, i_int(40)));
}

static void
loop_without_next(Tb *t)
{
  Span s = {i_cta(t, 0), i_int(9), i_int(0)};
  T_FOR (t, i, s)
    (void)i;
}

static void
two_nexts(Tb *t)
{
  Span s = {i_cta(t, 0), i_int(9), i_int(0)};
  T_FOR (t, i, s) {
    t_for_next(t, i_add(i, 1));
    t_for_next(t, i_add(i, 2));
  }
}

static void
next_of_a_count(Tb *t)
{
  Span s = {i_cta(t, 0), i_int(9), i_int(1)};
  T_FOR (t, i, s)
    t_for_next(t, i_add(i, 1));
}

static void
next_in_a_branch(Tb *t)
{
  Span s = {i_cta(t, 0), i_int(9), i_int(0)};
  T_FOR (t, i, s)
    T_IF (t, i_lt(i, 3))
      t_for_next(t, i_add(i, 1));
}

static void
lent_by_all(Tb *t)
{
  Small s = small(t);
  T_ROLE (t, LOADER)
    t_producer_lend(t, s.k);
}

static void
either_of_two_rings(Tb *t)
{
  Small s = small(t);
  skip_loader(t);
  T_ROLE (t, TEAMS) {
    Slot q = t_consumer_wait(t, s.q), k = q;
    k = t_consumer_wait(t, s.k);
    t_consumer_either(t, i_team(t), q, k);
  }
}

static void
used_without_a_value(Tb *t)
{
  skip_loader(t);
  T_ROLE (t, TEAMS) {
    Tile none = t_unset(t, 64, 64);
    t_exp2(t, none);
  }
}

static void
added_to_without_a_value(Tb *t)
{
  Small s = small(t);
  skip_loader(t);
  T_ROLE (t, TEAMS) {
    Slot k = t_consumer_wait(t, s.k);
    Tile none = t_unset(t, 64, 64), zero = t_zero(t, 64, 64);
    Tile half = t_cvt(t, zero, DT_F16);
    t_dot_acc_if(t, none, i_int(1), half, k.s); /* it is said to have one */
  }
}

/* ---- rows in pages ---- */

static View
in_pages(Tb *t, bool ends)
{
  static Lookup table;
  table = (Lookup){.name = "page_table", .ty = DT_I32, .n_axes = 2};
  Idx zero = i_int(0), end = i_cta(t, 1);
  View v = v_paged(v_rows(a_tensor(t), zero, zero, zero, 64), &table, zero, i_int(16));
  return ends ? v_until(v, end) : v;
}

static void
pages_by_one_lane(Tb *t)
{
  Small s = small(t);
  T_ROLE (t, LOADER)
    T_WARP (t, 0)
      t_producer_load(t, s.k, .src = in_pages(t, true));
}

static void
pages_without_end(Tb *t)
{
  Small s = small(t);
  T_ROLE (t, LOADER)
    T_WHOLE_WARP(t, 0)
  t_producer_load(t, s.k, .src = in_pages(t, false));
}

static void
ids_of_one_lane(Tb *t)
{
  T_ROLE (t, LOADER)
    T_WARP (t, 0)
      t_page_ids(t, in_pages(t, true), i_int(1));
}

static void
no_whole_warp(Tb *t)
{
  T_ROLE (t, LOADER)
    T_WHOLE_WARP(t, 4)
  t_fence_async(t);
}

/* ---- parts of a row's keys ---- */

static void
last_of_two_teams(Tb *t)
{
  static Tensor come;
  come = (Tensor){.name = "come", .workspace = true, .ty = DT_I32, .cols = 1};
  skip_loader(t);
  T_ROLE (t, TEAMS)
    t_last(t, v_rows(&come, i_int(0), i_int(0), i_int(0), 1), i_int(2));
}

static const struct {
  void (*emit)(Tb *);
  const char *says;
} misuses[] = {
    {pages_by_one_lane, "boxes in pages are a whole warp's, of rows that have an end"},
    {pages_without_end, "boxes in pages are a whole warp's, of rows that have an end"},
    {ids_of_one_lane, "boxes in pages are a whole warp's, of rows that have an end"},
    {no_whole_warp, "warp 4 is none of"},
    {last_of_two_teams, "last: several teams have the rows of the block"},
    {lent_by_all, "TMA is one lane's work"},
    {column_of_one_lane, "producer_load c: a column is a whole warp's work"},
    {lanes_of_a_box, "c: the lanes of a warp fill boxes of one column of fp32"},
    {column_by_tma, "c: a column is copied by a block without roles, or by the lanes of a "
                    "warp"},
    {column_if, "producer_load c: a column has no condition, hint or part"},
    {put_in_a_panel, "put: columns of box from a panel on"},
    {left_of_two_panels, "dot: box across its rows is no left operand of wgmma"},
    {sums_of_halves, "is no accumulator"},
    {part_until, "producer_load k: the map of k ends with the tensor"},
    {either_of_two_rings, "two stages of one ring"},
    {used_without_a_value, "has no value yet"},
    {added_to_without_a_value, "has no value yet"},
    {words_without_tma, "words go with stages"},
    {words_of_a_cluster, "words go with stages"},
    {stage_without_word, "a stage without its word"},
    {word_for_none, "the ring has no words"},
    {word_of_none, "stage_word k: the ring has no words"},
    {loop_without_next, "does not say what comes next"},
    {two_nexts, "no loop that asks for it"},
    {next_of_a_count, "no loop that asks for it"},
    {next_in_a_branch, "no loop that asks for it"},
    {read_in_flight, "is in flight: it must be waited for"},
    {released_in_flight, "is still reading it"},
    {flies_out_of_loop, "in flight at the end of a for tiles"},
    {converted_too_early, "reads its left operand from registers"},
    {waited_twice, "was waited for before"},
    {still_held, "0 stages filled and 1 held"},
    {held_after_loop, "0 stages filled and 1 held"},
    {pushed_by_all, "TMA is one lane's work"},
    {pushed_on_condition, "TMA has no condition"},
    {too_many_warps, "warps 0 … 15 of 12"},
    {odd_registers, "30 registers"},
    {role_in_role, "roles stand at the top"},
    {no_such_warp, "warp 4 is none of"},
    {turn_of_others, "3 teams take turns here"},
    {too_many_barriers, "a block has 16"},
    {sync_outside, "no roles here"},
    {wide_product, "wgmma has no 64x320"},
    {half_a_warpgroup, "wgmma is of 4 warps, the team has 2"},
    {nobody_takes, "0 consumers"},
    {type_changes_in_branch, "changes its type in a if"},
};

static void
refused(void (*emit)(Tb *), const char *says)
{
  Bench b;
  bench_open(&b);
  if (setjmp(b.fail) == 0) {
    emit(b.t);
    tile_plan(b.t);
    tile_verify(b.t);
    fail_msg("'%s' was not refused", says);
  }
  assert_int_equal(b.err.status, ATTNC_ERR_INTERNAL);
  if (!strstr(b.err.message, says))
    fail_msg("'%s' is not in: %s", says, b.err.message);
  arena_free(b.arena);
}

static void
test_misuse(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof misuses / sizeof *misuses; i++)
    refused(misuses[i].emit, misuses[i].says);
}

/* ---- the walk without its first tile ---- */

static int64_t
no_leaf(void *user, const Node *n)
{
  (void)n;
  return *(int64_t *)user;
}

/* Tiles and classes in the order of the visit; PARTIAL where it is not FULL. */
static int
visits(const Walk *w, int64_t block, int64_t *tile, bool *full)
{
  int n = 0;
  const TileSpan *s = &w->tiles;
  int64_t lo = idx_eval(s->lo, no_leaf, &block), hi = idx_eval(s->hi, no_leaf, &block);
  int64_t from = idx_eval(s->full_lo, no_leaf, &block);
  int64_t to = idx_eval(s->full_hi, no_leaf, &block);
  for (int64_t k = hi - 1; k >= lo; k--, n++) {
    tile[n] = k;
    full[n] = from <= k && k < to;
  }
  return n;
}

static void
compare_rest(Band band, int64_t sq, int64_t sk)
{
  Bench b;
  int64_t all[64], rest[64];
  bool full[64], full_rest[64];
  bench_open(&b);
  Idx block = i_cta(b.t, 0);
  Mask m = {.band = band, .sq = i_int(sq), .sk = i_int(sk)};
  Walk w = w_keys(b.t, &m, &(WalkRows){.q0 = i_mul(block, 32), .n = 32}, 16),
       r = w_rest(&w);
  for (int64_t k = 0; k * 32 < sq; k++) {
    int n = visits(&w, k, all, full), n_rest = visits(&r, k, rest, full_rest);
    TileIter first = w_first(&w), last = w_last(&w);
    assert_int_equal(n_rest, n - 1);
    assert_int_equal(idx_eval(first.n, no_leaf, &k), all[0]);
    assert_int_equal(idx_eval(last.n, no_leaf, &k), all[n - 1]);
    assert_true(first.masked || full[0]);
    for (int i = 0; i < n_rest; i++) {
      assert_int_equal(rest[i], all[i + 1]);
      assert_int_equal(full_rest[i], full[i + 1]);
    }
  }
  arena_free(b.arena);
}

static void
test_rest(void **state)
{
  static const Band bands[] = {{INT_MIN, INT_MAX, true}, {INT_MIN, 0, true},
                               {INT_MIN, 0, false},      {-40, 0, true},
                               {-20, 25, true},          {-40, INT_MAX, false}};
  static const int64_t sizes[][2] = {{64, 64}, {70, 100}, {100, 70},
                                     {1, 200}, {128, 16}, {33, 1}};
  (void)state;
  for (size_t i = 0; i < sizeof bands / sizeof *bands; i++)
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
      compare_rest(bands[i], sizes[k][0], sizes[k][1]);
}

/* ---- tables ---- */

static void
test_tables(void **state)
{
  static const int32_t numbers[] = {3, 1, 4, 1, 5};
  (void)state;
  Bench b;
  int64_t k, at = 4;
  bench_open(&b);
  const Table *x = t_table(b.t, numbers, 5);
  assert_true(i_known(i_entry(x, i_int(2)), &k) && k == 4);
  Idx e = i_entry(x, i_cta(b.t, 0));
  assert_ptr_equal(e.node, i_entry(x, i_cta(b.t, 0)).node);
  assert_int_equal(idx_eval(e, no_leaf, &at), 5);
  assert_true(e.node->nonneg);
  arena_free(b.arena);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_misuse),
      cmocka_unit_test(test_rest),
      cmocka_unit_test(test_tables),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
