/* Lists of blocks: what a walk makes of them, whatever they hold, by brute force over its
 * own index expressions; and the reference against the oracle of tests/. */
#include "compiler/tile/tile_prog.h"

#include "tests/unit/expr_random.h"
#include "tests/unit/ref_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { B = 2, H = 4, ROWS = 3, BLOCKS = 3, EACH = 16, WIDTH = BLOCKS + 1 };

/* What the four tensors hold; a row of entries is one wider than what is read. */
typedef struct Lists {
  int32_t n[LIST_KINDS][B * H * ROWS], at[LIST_KINDS][B * H * ROWS * WIDTH];
} Lists;

static int
row_of(int b, int h, int row)
{
  return (b * H + h) * ROWS + row;
}

/* How often the list names the block in what is looked at of it; *room: what is left. */
static int
times(const Lists *l, ListKind kind, int row, int block, int *room)
{
  int n = l->n[kind][row], found = 0;
  n = n < 0 ? 0 : n > *room ? *room : n;
  *room -= n;
  for (int i = 0; i < n; i++)
    found += l->at[kind][row * WIDTH + i] == block;
  return found;
}

/* Anything at all, or what lists should be: each block once, in any order. */
static void
fill(Lists *l, Random *r, bool hostile)
{
  static const int32_t odd[] = {-1, INT32_MAX, INT32_MIN, BLOCKS, BLOCKS + 1, 0};
  for (int row = 0; row < B * H * ROWS; row++) {
    int n[LIST_KINDS] = {0, 0};
    for (int i = 0; i < LIST_KINDS * WIDTH; i++)
      l->at[i % LIST_KINDS][row * WIDTH + i / LIST_KINDS] = odd[random_below(r, 6)];
    for (int i = 0, first = random_below(r, BLOCKS); i < BLOCKS; i++) {
      int kind = random_below(r, LIST_KINDS + 1);
      if (kind < LIST_KINDS)
        l->at[kind][row * WIDTH + n[kind]++] = (first + i) % BLOCKS;
    }
    for (int kind = 0; kind < LIST_KINDS; kind++)
      l->n[kind][row] = hostile ? odd[random_below(r, 6)] : n[kind];
  }
}

/* ---- the walk ---- */

typedef struct Bench {
  const Lists *lists;
  Arena *arena;
  jmp_buf fail;
  attnc_error err;
  Tb *t;
  int64_t sk, b, h, block, place;
} Bench;

static const int sizes[] = {B, H, H, ROWS *EACH, 0}; /* by SizeId, but sk */

/* The tables' slots: lengths by kind, then entries. */
static int64_t
element(const Bench *x, int slot, int64_t at)
{
  bool entries = slot >= LIST_KINDS;
  assert_in_range(at, 0, B * H * ROWS * (entries ? WIDTH : 1) - 1);
  return entries ? x->lists->at[slot - LIST_KINDS][at] : x->lists->n[slot][at];
}

static int64_t
leaf(void *user, const Node *n)
{
  const Bench *x = user;
  if (n->kind == NODE_ELEMENT && !idx_eval(n->c, leaf, user))
    return 0;
  if (n->kind == NODE_ELEMENT)
    return element(x, n->n, idx_eval(n->a, leaf, user));
  if (n->kind == NODE_LOOP)
    return x->place;
  if (n->kind == NODE_CTA)
    return n->n == 0 ? x->block : n->n == 1 ? x->h : x->b;
  int size = x->t->prog->params.at[n->n].slot;
  return size == SIZE_SK ? x->sk : sizes[size];
}

static int64_t
value(const Bench *x, Idx i)
{
  return idx_eval(i, leaf, (void *)(uintptr_t)x);
}

static Lookup
lookup(const Bench *x, int slot, int width)
{
  Lookup l = {.name = "list", .slot = slot, .n_axes = width > 1 ? 4 : 3};
  l.length[0] = i_int(B);
  l.length[1] = i_int(H);
  l.length[2] = i_int(ROWS);
  l.stride[0] = i_int(H * ROWS * width);
  l.stride[1] = i_int(ROWS * width);
  l.stride[2] = i_int(width);
  if (width > 1) {
    l.length[3] = i_cdiv(tile_size(x->t, SIZE_SK), EACH);
    l.stride[3] = i_int(1);
  }
  return l;
}

/* Of the tile's pairs those that a causal mask, from the bottom right, leaves. */
static int
left_of(const Bench *x, int64_t first, int bn)
{
  int n = 0;
  for (int64_t q = x->block * EACH; q < (x->block + 1) * EACH; q++)
    for (int64_t k = first; k < first + bn && k < x->sk; k++)
      n += k <= q + x->sk - ROWS * EACH;
  return n;
}

/* Every place is asked: the tiles that there are, each as often as its block is named, but
 * for those that are not whole and that the mask hides. */
static void
check_row(Bench *x, const Walk *w, const Mask *m)
{
  int64_t places = value(x, w->tiles.hi), blocks = (x->sk + EACH - 1) / EACH;
  int seen[BLOCKS][2] = {{0}}, row = row_of((int)x->b, (int)x->h, (int)x->block);
  bool masks = m->band.hi != INT32_MAX;
  for (x->place = 0; x->place < places; x->place++) {
    Idx place = tile_loop_var(x->t, x->t->prog->top);
    ListTile at = list_tile(w->listed, place);
    if (value(x, w_empty(w, place)))
      continue;
    int64_t tile = value(x, at.tile), first = tile * w->bn;
    assert_in_range(first, 0, x->sk - 1);
    bool whole = value(x, at.whole), ragged = first + w->bn > x->sk;
    bool all = !masks || left_of(x, first, w->bn) == EACH * w->bn;
    assert_int_equal(value(x, w_partial(w, place)) != 0, ragged || (!all && !whole));
    if (first % EACH == 0)
      seen[first / EACH][whole ? LIST_FULL : LIST_PARTIAL]++;
  }
  int room = (int)blocks;
  for (int kind = 0; kind < LIST_KINDS; kind++)
    for (int i = 0, before = room; i < blocks; i++) {
      room = before;
      int named = times(x->lists, (ListKind)kind, row, i, &room);
      bool hidden = masks && kind == LIST_PARTIAL && !left_of(x, i * EACH, w->bn);
      assert_int_equal(seen[i][kind], hidden ? 0 : named);
    }
}

static void
check(const Lists *l, int64_t sk, int bn, bool causal)
{
  Bench x = {.lists = l, .arena = arena_new(0), .sk = sk};
  x.t = tile_new(x.arena, &x.fail, &x.err, target_find("sm_80"), 4);
  if (setjmp(x.fail))
    fail_msg("%s", x.err.message);
  BlockLists lists = {.rows = EACH, .keys = EACH};
  for (int i = 0; i < LIST_KINDS; i++) {
    lists.n[i] = lookup(&x, i, 1);
    lists.at[i] = lookup(&x, LIST_KINDS + i, WIDTH);
  }
  Mask m = {.band = {INT32_MIN, causal ? 0 : INT32_MAX, true}, .lists = &lists};
  m.sq = tile_size(x.t, SIZE_SQ);
  m.sk = tile_size(x.t, SIZE_SK);
  WalkRows rows = {.q0 = i_mul(i_cta(x.t, 0), EACH), .n = EACH};
  rows.h = rows.hk = i_cta(x.t, 1);
  rows.b = i_cta(x.t, 2);
  Walk w = w_keys(x.t, &m, &rows, bn);
  for (x.b = 0; x.b < B; x.b++)
    for (x.h = 0; x.h < H; x.h++)
      for (x.block = 0; x.block < ROWS; x.block++)
        check_row(&x, &w, &m);
  arena_free(x.arena);
}

/* Lengths and entries of any value: no read outside of the tables, no tile outside of the
 * keys, and none but those that are named. */
static void
walks_visit_what_is_listed(void **state)
{
  static const int64_t keys[] = {BLOCKS * EACH, BLOCKS * EACH - 5, EACH + 1, 1, 0};
  Random r = {.seed = 5};
  Lists l;
  (void)state;
  for (int n = 0; n < 60; n++) {
    fill(&l, &r, n % 3 == 0);
    check(&l, keys[n % 5], n % 2 ? EACH : EACH / 2, n % 4 == 1);
  }
}

/* ---- the reference ---- */

typedef struct Seen {
  OracleCase c;
  const Lists *lists;
  bool causal;
} Seen;

static bool
sees(const void *user, OracleAt a)
{
  const Seen *s = user;
  int row = row_of(a.b, a.h, a.q_idx / EACH), room = (s->c.sk + EACH - 1) / EACH;
  if (times(s->lists, LIST_FULL, row, a.kv_idx / EACH, &room))
    return true;
  if (!times(s->lists, LIST_PARTIAL, row, a.kv_idx / EACH, &room))
    return false;
  return !s->causal || a.kv_idx <= a.q_idx + s->c.sk - s->c.sq;
}

static void
give(Problem *p, Lists *l)
{
  static const int n[] = {ATTNC_FULL_KV_NUM_BLOCKS, ATTNC_KV_NUM_BLOCKS};
  static const int at[] = {ATTNC_FULL_KV_INDICES, ATTNC_KV_INDICES};
  for (int kind = 0; kind < LIST_KINDS; kind++) {
    p->t[n[kind]] = (attnc_tensor){.data = l->n[kind], .stride = {H * ROWS, ROWS, 1}};
    p->t[at[kind]] = (attnc_tensor){.data = l->at[kind],
                                    .stride = {H * ROWS * WIDTH, ROWS * WIDTH, WIDTH, 1}};
  }
}

static void
take_back(Problem *p)
{
  for (int slot = ATTNC_KV_NUM_BLOCKS; slot <= ATTNC_FULL_KV_INDICES; slot++)
    p->t[slot].data = NULL;
}

static void
check_reference_of(Lists *l, int sq, int sk, bool causal, OracleType type)
{
  char more[128];
  Problem p = {.c = ORACLE(B, H, 2, sq, sk, 32, 16, false, false, -1, -1, 0), .type = type};
  snprintf(more, sizeof more, "return_lse: true\nblock_list: {block: [%d, %d]}\n", EACH,
           EACH);
  Seen s = {.c = p.c, .lists = l, .causal = causal};
  p.c.causal = causal; /* of the spec; of the oracle `sees` is */
  problem_open(&p, type, more);
  p.c.causal = false;
  p.c.sees = sees;
  p.c.user = &s;
  give(&p, l);
  problem_solve(&p);
  check_reference(&p);
  assert_true(verify(&p).pass);
  set_output(&p, 1, 1, sq - 1, 3, 9);
  assert_int_equal(verify(&p).bad_rows, 1);
  take_back(&p);
  problem_close(&p);
}

static void
the_reference_is_the_oracles(void **state)
{
  static const int lengths[][2] = {{33, 41}, {41, 33}, {1, 41}, {48, 48}};
  Random r = {.seed = 9};
  Lists l;
  (void)state;
  for (int n = 0; n < 24; n++) {
    fill(&l, &r, n % 5 == 4);
    check_reference_of(&l, lengths[n % 4][0], lengths[n % 4][1], n % 2,
                       (OracleType)(n % 3));
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(walks_visit_what_is_listed),
      cmocka_unit_test(the_reference_is_the_oracles),
  };
  return cmocka_run_group_tests_name("block_lists", tests, NULL, NULL);
}
