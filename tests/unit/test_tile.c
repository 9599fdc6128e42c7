/* The tile vocabulary without LLVM: folding of index expressions, walks against brute
 * force over the mask's definition, and that misuse of a word is refused in words. */
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
bench_open(Bench *b, const char *target, int warps)
{
  memset(b, 0, sizeof *b);
  b->arena = arena_new(0);
  b->t = tile_new(b->arena, &b->fail, &b->err, target_find(target), warps);
}

/* ---- index expressions ---- */

static void
test_folding(void **state)
{
  (void)state;
  Bench b;
  int64_t k;
  bench_open(&b, "sm_80", 4);
  Idx x = i_cta(b.t, 0), y = tile_size(b.t, SIZE_SQ);
  assert_true(i_known(i_add(2, 3), &k) && k == 5);
  assert_true(i_known(i_div(-1, 64), &k) && k == -1);
  assert_true(i_known(i_cdiv(65, 64), &k) && k == 2);
  assert_ptr_equal(i_add(x, 0).node, x.node);
  assert_ptr_equal(i_mul(x, 1).node, x.node);
  assert_true(i_known(i_mul(x, 0), &k) && k == 0);
  assert_true(i_known(i_sub(y, y), &k) && k == 0);
  assert_ptr_equal(i_add(x, y).node, i_add(x, y).node);
  assert_ptr_equal(i_add(i_add(x, 3), 4).node, i_add(x, 7).node);
  assert_ptr_equal(i_max(0, y).node, y.node);
  assert_true(i_known(i_min(0, y), &k) && k == 0);
  assert_true(i_multiple(i_mul(x, 128), 64));
  assert_false(i_multiple(i_add(i_mul(x, 128), 1), 64));
  assert_true(tile_stride(b.t, 0, 1).node->wide);
  arena_free(b.arena);
}

/* ---- walks ---- */

typedef struct Shape {
  Band band;
  int64_t sq, sk;
  int bm, bn;
} Shape;

static bool
visible(const Shape *s, int64_t q, int64_t k)
{
  int64_t rel = k - (q + (s->band.bottom_right ? s->sk - s->sq : 0));
  return (s->band.hi == INT_MAX || rel <= s->band.hi) &&
         (s->band.lo == INT_MIN || rel >= s->band.lo);
}

/* Pairs of block i and keys [from, to) that are visible; *all: how many there are. */
static int64_t
brute_seen(const Shape *s, int64_t i, int64_t from, int64_t to, int64_t *all)
{
  int64_t seen = 0;
  *all = 0;
  for (int64_t q = i * s->bm; q < (i + 1) * s->bm && q < s->sq; q++)
    for (int64_t k = from; k < to; k++, ++*all)
      seen += k < s->sk && visible(s, q, k);
  return seen;
}

/* Of the tile that begins with key k0: 0 no pair of it is visible, 2 all of a whole tile
 * are, 1 otherwise. */
static int
brute_class(const Shape *s, int64_t i, int64_t k0)
{
  int64_t all, seen = brute_seen(s, i, k0, k0 + s->bn, &all);
  return seen == 0 ? 0 : seen == all ? 2 : 1;
}

/* Keys that a row of block i sees are in [start, end), and both ends are such keys. */
static void
check_ends(const Shape *s, int64_t i, int64_t start, int64_t end)
{
  int64_t all;
  assert_int_equal(brute_seen(s, i, 0, start < s->sk ? start : s->sk, &all), 0);
  assert_int_equal(brute_seen(s, i, end, s->sk, &all), 0);
  if (end <= start)
    return;
  for (int64_t k = start; k < end; k++) /* and all between them */
    assert_true(brute_seen(s, i, k, k + 1, &all) > 0);
}

typedef struct Sizes {
  int64_t cta, sq, sk, tile;
  const Program *prog;
} Sizes;

static int64_t
leaf(void *user, const Node *n)
{
  const Sizes *s = user;
  if (n->kind == NODE_CTA)
    return s->cta;
  if (n->kind == NODE_LOOP)
    return s->tile;
  return s->prog->params.at[n->n].slot == SIZE_SQ ? s->sq : s->sk;
}

/* The class that the walk gives tile j of block i; −1: not visited.  `visit` is that of the
 * loop over it, whose condition says the same. */
static int
walk_class(const Walk *w, const TileIter *visit, Sizes *s, int64_t j)
{
  const TileSpan *t = &w->tiles;
  if (j < idx_eval(t->lo, leaf, s) || j >= idx_eval(t->hi, leaf, s))
    return -1;
  bool full = idx_eval(t->full_lo, leaf, s) <= j && j < idx_eval(t->full_hi, leaf, s);
  assert_true(span_has(t, full ? TILE_FULL : TILE_PARTIAL));
  s->tile = j;
  assert_true(visit->masked || full);
  assert_int_equal(idx_eval(visit->partial, leaf, s) != 0, !full);
  return full ? 2 : 1;
}

static void
check_walk(const Shape *s, bool known)
{
  Bench b;
  bench_open(&b, "sm_80", 4);
  if (known) {
    b.t->known[SIZE_SQ] = s->sq;
    b.t->known[SIZE_SK] = s->sk;
  }
  Mask m = {.band = s->band, .sq = tile_size(b.t, SIZE_SQ), .sk = tile_size(b.t, SIZE_SK)};
  WalkRows rows = {.q0 = i_mul(i_cta(b.t, 0), s->bm), .n = s->bm};
  Walk w = w_keys(b.t, &m, &rows, s->bn);
  Sizes at = {.sq = s->sq, .sk = s->sk, .prog = b.t->prog};
  TileIter visit = {0};
  T_FOR_TILES (b.t, j, &w)
    visit = j;
  for (int64_t i = 0; i * s->bm < s->sq; i++) {
    int64_t visited = 0, any = 0, tiles = (s->sk + s->bn - 1) / s->bn;
    at.cta = i;
    int64_t start = idx_eval(w.start, leaf, &at), end = idx_eval(w.end, leaf, &at);
    check_ends(s, i, start, end);
    for (int64_t j = 0; j <= tiles + 250; j++) {
      int got = walk_class(&w, &visit, &at, j), want = brute_class(s, i, start + j * s->bn);
      visited += got > 0;
      any += want > 0;
      if (want > 0) /* every visible tile, with exactly its class */
        assert_int_equal(got, want);
      else
        assert_int_not_equal(got, 2);
    }
    assert_int_equal(visited,
                     any ? any : 1); /* no EMPTY tile but the one of an empty row */
  }
  arena_free(b.arena);
}

static int
pick(unsigned *seed, int n)
{
  *seed = *seed * 1664525u + 1013904223u;
  return (int)((*seed >> 8) % (unsigned)n);
}

static void
test_walks(void **state)
{
  (void)state;
  static const int bms[] = {32, 64, 128, 4}, bns[] = {16, 32, 64, 96, 1};
  unsigned seed = 7;
  for (int n = 0; n < 600; n++) {
    Shape s = {.sq = 1 + pick(&seed, 200), .sk = pick(&seed, 200)};
    s.bm = bms[pick(&seed, 4)];
    s.bn = bns[pick(&seed, 5)];
    int kind = pick(&seed, 5);
    s.band = (Band){.lo = INT_MIN, .hi = INT_MAX, .bottom_right = pick(&seed, 2)};
    if (kind & 1)
      s.band.hi = pick(&seed, 3) ? 0 : pick(&seed, 60);
    if (kind & 2)
      s.band.lo = -pick(&seed, 90);
    check_walk(&s, pick(&seed, 2));
  }
}

/* ---- misuse ---- */

static void
outside_loop(Tb *t)
{
  Mask m = {.band = {INT_MIN, INT_MAX, true},
            .sq = tile_size(t, SIZE_SQ),
            .sk = tile_size(t, SIZE_SK)};
  Walk w = w_keys(t, &m, &(WalkRows){.n = 64}, 64);
  Tile inner = NULL;
  T_FOR_TILES (t, j, &w)
    inner = t_zero(t, 64, 64);
  t_exp2(t, inner);
}

static void
nothing_loaded(Tb *t)
{
  Ring *r = t_ring(t, .name = "k", .ty = DT_F16, .rows = 64, .cols = 64, .stages = 1);
  t_consumer_wait(t, r);
}

static const Tensor *
a_tensor(Tb *t)
{
  static Tensor x;
  x = (Tensor){.name = "k", .slot = 1, .ty = DT_F16, .cols = 64};
  x.rows = tile_size(t, SIZE_SK);
  return &x;
}

static void
stages_without_copies(Tb *t)
{
  t_ring(t, .name = "v", .ty = DT_F16, .rows = 64, .cols = 64, .stages = 2);
}

static void
product_of(Tb *t, Dtype left, Dtype right)
{
  Smem q = t_smem(t, "q", left, 64, 64);
  Smem k = t_smem(t, "k", right, 32, 64);
  t_dot(t, q, s_trans(k));
}

static void
product_of_f16(Tb *t)
{
  product_of(t, DT_F16, DT_F16);
}

static void
product_of_bf16(Tb *t)
{
  product_of(t, DT_BF16, DT_BF16);
}

static void
product_of_fp32(Tb *t)
{
  product_of(t, DT_F32, DT_F32);
}

static void
product_of_two_types(Tb *t)
{
  product_of(t, DT_F16, DT_BF16);
}

static void
deeper_on_the_right(Tb *t)
{
  Smem q = t_smem(t, "q", DT_F16, 64, 64);
  Smem v = t_smem(t, "v", DT_F16, 32, 64);
  t_dot(t, q, v);
}

static void
cvt_to_fp32(Tb *t)
{
  t_cvt(t, t_zero(t, 64, 64), DT_F32);
}

static void
no_stage_free(Tb *t)
{
  Ring *r = t_ring(t, .name = "k", .ty = DT_F16, .rows = 64, .cols = 64, .stages = 1);
  const Tensor *x = a_tensor(t);
  t_producer_load(t, r, .src = v_rows(x, i_int(0), i_int(0), i_int(0), 64));
  t_producer_load(t, r, .src = v_rows(x, i_int(0), i_int(0), i_int(64), 64));
}

static void
ring_not_as_found(Tb *t)
{
  Ring *r = t_ring(t, .name = "k", .ty = DT_F16, .rows = 64, .cols = 64, .stages = 2);
  const Tensor *x = a_tensor(t);
  Mask m = {.band = {INT_MIN, INT_MAX, true}, .sq = tile_size(t, SIZE_SQ), .sk = x->rows};
  Walk w = w_keys(t, &m, &(WalkRows){.n = 64}, 64);
  t_producer_load(t, r, .src = v_rows(x, i_int(0), i_int(0), i_int(0), 64));
  T_FOR_TILES (t, j, &w) {
    Slot s = t_consumer_wait(t, r);
    t_consumer_release(t, s);
  }
}

static void
read_too_early(Tb *t)
{
  Smem q = t_smem(t, "q", DT_F16, 64, 64);
  t_copy(t, q, v_rows(a_tensor(t), i_int(0), i_int(0), i_int(0), 64));
  t_get(t, q);
}

static void
shapes_differ(Tb *t)
{
  Tile a = t_zero(t, 64, 64);
  Tile b = t_zero(t, 64, 32);
  t_add(t, a, b);
}

static void
uneven_rows(Tb *t)
{
  t_zero(t, 40, 64);
}

static void
type_changes(Tb *t)
{
  Mask m = {.band = {INT_MIN, INT_MAX, true},
            .sq = tile_size(t, SIZE_SQ),
            .sk = tile_size(t, SIZE_SK)};
  Walk w = w_keys(t, &m, &(WalkRows){.n = 64}, 64);
  Tile zero = t_zero(t, 64, 64);
  Tile *v = t_var(t, zero);
  T_FOR_TILES (t, j, &w)
    *v = t_zero(t, 64, 32);
}

static void
left_open(Tb *t)
{
  Mask m = {.band = {INT_MIN, INT_MAX, true},
            .sq = tile_size(t, SIZE_SQ),
            .sk = tile_size(t, SIZE_SK)};
  Walk w = w_keys(t, &m, &(WalkRows){.n = 64}, 64);
  T_FOR_TILES (t, j, &w)
    break;
}

static void
too_much_shared(Tb *t)
{
  t_smem(t, "q", DT_F16, 1024, 256);
}

static void
scalar_of_another_call(Tb *t)
{
  t->scalars = 0;
  assert_false(t_has_scalar(t, ATTNC_SOFTMAX_SCALE));
  t_scalar(t, ATTNC_SOFTMAX_SCALE, 1);
}

/* Pairs of the four warps have the same 16 of 32 rows. */
static void
share_rows(Tb *t, int cols)
{
  int bytes = exchange_bytes(2, 32, cols, DT_F16);
  t->prog->warps_n = 2;
  t_exchange(t, t_smem(t, "exchange", DT_F32, round_up(bytes, 1024) / 128, 32));
}

static void
no_room_to_exchange(Tb *t)
{
  t->prog->warps_n = 2;
  Tile x = t_zero(t, 32, 64);
  t_row_max(t, x);
}

static void
too_little_room(Tb *t)
{
  share_rows(t, 32);
  Tile x = t_cvt(t, t_zero(t, 32, 128), DT_F16);
  t_allgather_cols(t, x);
}

static void
exchanged_twice(Tb *t)
{
  share_rows(t, 64);
  Tile x = t_zero(t, 32, 64);
  t_row_max(t, x);
  t_row_max(t, x);
}

/* Each part's exchange is a barrier that the other one needs. */
static void
exchanged_in_turn(Tb *t)
{
  share_rows(t, 64);
  Tile x = t_zero(t, 32, 64), half = t_cvt(t, x, DT_F16);
  for (int i = 0; i < 3; i++) {
    t_row_max(t, x);
    t_allgather_cols(t, half);
  }
  t_fail(t, "each in its turn is right");
}

static void
exchanged_in_a_loop(Tb *t)
{
  Mask m = {.band = {INT_MIN, INT_MAX, true},
            .sq = tile_size(t, SIZE_SQ),
            .sk = tile_size(t, SIZE_SK)};
  Walk w = w_keys(t, &m, &(WalkRows){.n = 32}, 64);
  share_rows(t, 64);
  T_FOR_TILES (t, j, &w)
    t_row_max(t, t_zero(t, 32, 64));
}

static void
exchanged_in_a_branch(Tb *t)
{
  share_rows(t, 64);
  T_IF (t, i_lt(i_cta(t, 0), 3))
    t_row_max(t, t_zero(t, 32, 64));
}

static void
a_part_of_the_depth(Tb *t)
{
  share_rows(t, 64);
  Smem v = t_smem(t, "v", DT_F16, 64, 64);
  Tile w = t_cvt(t, t_zero(t, 32, 64), DT_F16);
  t_dot(t, w, v);
}

static void
keys_that_do_not_come_out_even(Tb *t)
{
  share_rows(t, 64);
  Smem q = t_smem(t, "q", DT_F16, 32, 64), k = t_smem(t, "k", DT_F16, 48, 64);
  t_dot(t, q, s_trans(k));
}

/* The four warps have the same 16 rows, and keys of their own. */
static void
own_keys(Tb *t, int rows)
{
  t->prog->warps_n = 4;
  t->prog->by_keys = true;
  t_exchange(t, t_smem(t, "exchange", DT_F32, rows, 32));
}

static void
shared_without_keys(Tb *t)
{
  share_rows(t, 64);
  t_share_rows(t, &(SharedRows){.n = 1, .of = {t_rows(t, 32, 0)}});
}

static void
shared_in_no_room(Tb *t)
{
  own_keys(t, 8);
  t_share_rows(t, &(SharedRows){.n = 1, .of = {t_rows(t, 32, 0)}});
}

static void
shared_twice(Tb *t)
{
  own_keys(t, 16);
  SharedRows all = {.n = 1, .of = {t_rows(t, 16, 0)}};
  t_share_rows(t, &all);
  t_share_rows(t, &all);
}

static void
shared_sums_of_lanes(Tb *t)
{
  own_keys(t, 16);
  t_share_rows(t, &(SharedRows){.n = 1, .of = {t_thread_sums(t, 16)}});
}

static void
of_a_fifth_warp(Tb *t)
{
  own_keys(t, 16);
  SharedRows all = {.n = 1, .of = {t_rows(t, 16, 0)}};
  t_share_rows(t, &all);
  t_peer_rows(t, &all, 0, 4);
}

static void
of_peers_unshared(Tb *t)
{
  own_keys(t, 16);
  SharedRows all = {.n = 1, .of = {t_rows(t, 16, 0)}};
  t_peer_rows(t, &all, 0, 1);
}

static void
merged_in_little_room(Tb *t)
{
  own_keys(t, 16);
  Tile x = t_zero(t, 16, 64);
  t_merge_cols(t, x, t_smem(t, "sums", DT_F32, 64, 32));
}

static void
merged_in_a_branch(Tb *t)
{
  own_keys(t, 16);
  Tile x = t_zero(t, 16, 64);
  Smem room = t_smem(t, "sums", DT_F32, 128, 32);
  T_IF (t, i_lt(i_cta(t, 0), 3))
    t_merge_cols(t, x, room);
}

static void
added_to_no_region(Tb *t)
{
  own_keys(t, 16);
  Tensor o = {.name = "o", .slot = ATTNC_O, .ty = DT_F32, .cols = 1024, .rows = i_int(16)};
  Tile x = t_zero(t, 16, 64), by = t_rows(t, 16, 1);
  t_add_part(t, v_rows(&o, i_int(0), i_int(0), i_int(0), 1), x, by, by);
}

static void
all_of_the_depth(Tb *t)
{
  own_keys(t, 16);
  Smem v = t_smem(t, "v", DT_F16, 64, 64);
  Tile w = t_cvt(t, t_zero(t, 16, 64), DT_F16);
  t_dot(t, w, v);
}

static void
three_warps_a_row(Tb *t)
{
  t->prog->warps_n = 3;
}

static void
product_on_condition(Tb *t)
{
  Smem k = t_smem(t, "k", DT_F16, 64, 64);
  Tile none = t_unset(t, 64, 64);
  t_dot_acc_if(t, none, i_int(0), k, k);
}

static void
part_of_rows(Tb *t)
{
  Tensor x = {.name = "x", .ty = DT_F16, .cols = 64, .rows = tile_size(t, SIZE_SQ)};
  View v = v_rows(&x, i_int(0), i_int(0), i_int(0), 64);
  t_copy(t, t_smem(t, "box", DT_F16, 64, 64), v_cols(v, i_int(8), true));
}

static void
table_of_another_shape(Tb *t)
{
  Spec spec = {.score_mod = {.n = 1}};
  Mods mods = {.spec = &spec};
  TableTile table = {.s = t_smem(t, "table", DT_F16, 64, 32)};
  Tile x = t_zero(t, 64, 64);
  t_score_beside(t, &mods, x, (At){.k = i_int(0)}, &table);
}

/* ---- of blocks of work and sequences ---- */

static Lookup
lengths(Tb *t, int axes)
{
  Lookup x = {.name = "cu_seqlens_q",
              .slot = ATTNC_CU_SEQLENS_Q,
              .ty = DT_I32,
              .n_axes = axes,
              .length = {i_add(tile_size(t, SIZE_B), 1)},
              .stride = {i_int(1), i_int(1)}};
  return x;
}

static void
filled_and_gone_on(Tb *t)
{
  Ring *r = t_ring(t, .name = "k", .ty = DT_F16, .rows = 64, .cols = 64, .stages = 2);
  View v = v_rows(a_tensor(t), i_int(0), i_int(0), i_int(0), 64);
  T_WORK (t, i_lt(i_cta(t, 0), 3))
    t_producer_load(t, r, .src = v);
  t_producer_load(t, r, .src = v);
}

static void
work_holds(Tb *t)
{
  Ring *r = t_ring(t, .name = "k", .ty = DT_F16, .rows = 64, .cols = 64, .stages = 2);
  View v = v_rows(a_tensor(t), i_int(0), i_int(0), i_int(0), 64);
  T_WORK (t, i_lt(i_cta(t, 0), 3)) {
    t_producer_load(t, r, .src = v);
    t_consumer_wait(t, r);
  }
}

static void
in_tiles(Tb *t, bool work)
{
  const Tensor *x = a_tensor(t);
  Mask m = {.band = {INT_MIN, INT_MAX, true}, .sq = tile_size(t, SIZE_SQ), .sk = x->rows};
  Walk w = w_keys(t, &m, &(WalkRows){.n = 64}, 64);
  Lookup first = lengths(t, 1);
  T_FOR_TILES (t, j, &w) {
    if (!work)
      t_sequence(t, &first, tile_size(t, SIZE_B), i_int(3), 64);
    T_WORK (t, i_lt(i_cta(t, 0), 3))
      t_zero(t, 64, 64);
  }
}

static void
work_in_tiles(Tb *t)
{
  in_tiles(t, true);
}

static void
sequence_in_tiles(Tb *t)
{
  in_tiles(t, false);
}

static void
sequence_by_a_table(Tb *t)
{
  Lookup first = lengths(t, 2);
  t_sequence(t, &first, tile_size(t, SIZE_B), i_cta(t, 0), 64);
}

static void
length_of_a_table(Tb *t)
{
  Lookup first = lengths(t, 2);
  i_length(t, &first, i_cta(t, 0));
}

static void
bins_that_are_uneven(Tb *t)
{
  t_bins(t, 100);
}

static void
bins_in_a_branch(Tb *t)
{
  T_IF (t, i_lt(i_cta(t, 0), 3))
    t_bins(t, 128);
}

static void
places_in_a_branch(Tb *t)
{
  const Bins *bins = t_bins(t, 128);
  T_IF (t, i_lt(i_thread(t), 3))
    t_bins_take(t, bins, i_int(0), i_int(1));
}

static void
word_of_a_tensor(Tb *t)
{
  Lookup first = lengths(t, 1);
  t_store_word(t, &first, i_int(0), i_int(0), i_int(1));
}

static void
columns_of_panels(Tb *t)
{
  t_cols(t, t_smem(t, "q", DT_F16, 64, 64));
}

static void
columns_of_too_few(Tb *t)
{
  Tile c = t_cols(t, t_smem(t, "lse", DT_F32, 32, 1));
  Tile x = t_zero(t, 64, 64);
  t_sub(t, x, c);
}

static void
column_of_rows(Tb *t)
{
  Tile c = t_cols(t, t_smem(t, "lse", DT_F32, 64, 1));
  Tile x = t_rows(t, 64, 0);
  t_sub(t, x, c);
}

static void
turned_one_way(Tb *t)
{
  Mask m = {.band = {INT_MIN, INT_MAX, true}};
  m.sq = tile_size(t, SIZE_SQ);
  m.sk = tile_size(t, SIZE_SK);
  Tile x = t_zero(t, 64, 64);
  t_mask(t, &m, x, (At){.turned = true});
}

static void
queries_of_a_mask_of_keys(Tb *t)
{
  Mask m = {.band = {INT_MIN, INT_MAX, true}};
  m.sq = tile_size(t, SIZE_SQ);
  m.sk = tile_size(t, SIZE_SK);
  w_queries(t, &m, &(WalkRows){.n = 64}, 64);
}

static const struct {
  void (*emit)(Tb *);
  const char *says;
} misuses[] = {
    {columns_of_panels, "q is no column of fp32"},
    {columns_of_too_few, "different shapes"},
    {column_of_rows, "different shapes"},
    {turned_one_way, "its rows are not those of the scores"},
    {queries_of_a_mask_of_keys, "is of a mask that is turned"},
    {bins_that_are_uneven, "100 are no multiple of 128"},
    {bins_in_a_branch, "the whole block meets here"},
    {places_in_a_branch, "all threads of a warp stand here"},
    {word_of_a_tensor, "cu_seqlens_q is no i32 region"},
    {part_of_rows, "copy x: of a part of its rows"},
    {table_of_another_shape, "table is no tile of a table"},
    {filled_and_gone_on, "ring k: a block of work has left stages filled"},
    {work_holds, "a block of work leaves ring k with 1 stages held, found 0"},
    {work_in_tiles, "a block of work inside tiles"},
    {sequence_in_tiles, "a block is found outside of tiles"},
    {sequence_by_a_table, "blocks of 64 rows by cu_seqlens_q"},
    {length_of_a_table, "cu_seqlens_q is no list of lengths"},
    {product_on_condition, "mma adds to an accumulator in any case"},
    {no_room_to_exchange, "has no room to exchange"},
    {too_little_room, "has no room to exchange"},
    {exchanged_twice, "no barrier since the last exchange"},
    {exchanged_in_turn, "each in its turn is right"},
    {exchanged_in_a_loop, "no barrier since the last exchange"},
    {exchanged_in_a_branch, "is a barrier, in a branch"},
    {a_part_of_the_depth, "a warp has a part of the columns"},
    {keys_that_do_not_come_out_even,
     "48 columns are not 8, or pairs of 8, for each of 2 warps"},
    {shared_without_keys, "the warps have no keys of their own"},
    {shared_in_no_room, "has no room to exchange"},
    {shared_twice, "no barrier since the last exchange"},
    {shared_sums_of_lanes, "has no value a row"},
    {of_a_fifth_warp, "value 0 of warp 4"},
    {of_peers_unshared, "nothing is shared"},
    {merged_in_little_room, "sums is too small"},
    {merged_in_a_branch, "is a barrier, in a branch"},
    {added_to_no_region, "part: 16x64 in a row of o"},
    {all_of_the_depth, "a warp has all columns of the left operand"},
    {three_warps_a_row, "3 warps have the same rows"},
    {outside_loop, "must be a variable"},
    {nothing_loaded, "nothing was loaded"},
    {product_of_fp32, "mma has no fp32 · fp32"},
    {product_of_two_types, "mma has no fp16 · bf16"},
    {deeper_on_the_right, "dot: 64x64 · 32x64"},
    {cvt_to_fp32, "to fp32"},
    {no_stage_free, "no stage was released"},
    {ring_not_as_found, "leaves ring k with 0 stages filled"},
    {read_too_early, "read before its copy was waited for"},
    {shapes_differ, "different shapes"},
    {uneven_rows, "not a multiple of 16 a warp"},
    {type_changes, "changes its type"},
    {left_open, "left open"},
    {too_much_shared, "bytes of shared memory"},
    {scalar_of_another_call, "the call has no softmax_scale"},
};

static void
refused(const char *target, void (*emit)(Tb *), const char *says)
{
  Bench b;
  bench_open(&b, target, 4);
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
    refused("sm_80", misuses[i].emit, misuses[i].says);
  refused("sm_75", product_of_bf16, "mma has no bf16 · bf16");
  refused("sm_75", stages_without_copies, "ring v: 2 stages, sm_75 has no cp.async");
}

/* ---- counts ---- */

/* 64 x 32 on four warps, 64 deep: 4 blocks of columns and 128 bytes of depth a warp; four
 * times a step the left operand, two times four the right one. */
static void
test_counts(void **state)
{
  (void)state;
  static const struct {
    const char *target;
    int64_t mma;
  } want[] = {{"sm_75", 4 * 8}, {"sm_80", 4 * 4}, {"sm_90a", 4 * 4}};
  for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
    Bench b;
    bench_open(&b, want[i].target, 4);
    product_of_f16(b.t);
    TileCount c = tile_count(b.t->prog, -1);
    assert_int_equal(c.mma, want[i].mma);
    assert_int_equal(c.ldmatrix, 4 + 2 * 4);
    assert_int_equal(c.wgmma, 0); /* no role's */
    arena_free(b.arena);
  }
}

/* 32 x 40 of two by two warps: each has 32 of the columns, whole pairs of 8, of which the
 * second's are mostly past the end; 64 deep. */
static void
test_shared_rows(void **state)
{
  (void)state;
  Bench b;
  bench_open(&b, "sm_80", 4);
  share_rows(b.t, 64);
  Smem v = t_smem(b.t, "v", DT_F16, 64, 40);
  Tile w = t_cvt(b.t, t_zero(b.t, 32, 64), DT_F16);
  w = t_allgather_cols(b.t, w);
  Tile o = t_dot(b.t, w, v);
  assert_int_equal(w->warps_n, 1);
  assert_int_equal(o->warps_n, 2);
  assert_int_equal(val_tiles_m(o), 1);
  assert_int_equal(val_cols(o), 32);
  assert_int_equal(tile_count(b.t->prog, -1).mma, 4 * 4);
  tile_plan(b.t);
  tile_verify(b.t);
  arena_free(b.arena);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_folding),     cmocka_unit_test(test_walks),
      cmocka_unit_test(test_misuse),      cmocka_unit_test(test_counts),
      cmocka_unit_test(test_shared_rows),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
