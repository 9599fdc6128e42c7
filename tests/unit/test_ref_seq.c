/* The reference of sequences of lengths of their own: of each sequence it is bit for bit
 * that of a dense call over the rows that count, whatever stands in the others. */
#include "base/call.h"
#include "tests/oracle.h"

#include <attnc/attnc.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { B = 5, H = 4, HK = 2, D = 16, DV = 8, ROOM_Q = 13, ROOM_K = 17, BC = 7 };
enum { FIRST = ATTNC_CU_SEQLENS_Q, KINDS = 1 << 6, MOST = B * (ROOM_Q + ROOM_K) };

typedef struct One {
  int sq, sk, q_room, k_room, pad, kb;
} One;

/* A call of one mix of tensors, of which each sequence is one dense call. */
typedef struct Seqs {
  unsigned kinds; /* bits, from cu_seqlens_q on */
  One of[B];
  attnc_spec *spec, *dense;
  attnc_sizes sizes;
  attnc_tensor t[ATTNC_SLOT_COUNT + 2];
  int32_t told[6][B + 1], ids[MOST];
  float slopes[H];
  double *o, *lse;
} Seqs;

static bool
has(const Seqs *s, int slot)
{
  return s->kinds >> (slot - FIRST) & 1u;
}

static int
drawn(uint64_t *r, int most)
{
  return (int)(oracle_random(r) % (unsigned)(most + 1));
}

static One
draw(const Seqs *s, int i, uint64_t *r)
{
  bool packed_q = has(s, ATTNC_CU_SEQLENS_Q), packed_k = has(s, ATTNC_CU_SEQLENS_K);
  One n = {.q_room = packed_q ? drawn(r, ROOM_Q) : ROOM_Q,
           .k_room = packed_k ? drawn(r, ROOM_K) : ROOM_K,
           .kb = has(s, ATTNC_CACHE_BATCH_IDX) ? drawn(r, BC - 1) : i};
  int used = has(s, ATTNC_SEQUSED_K) ? drawn(r, n.k_room) : n.k_room;
  n.sq = has(s, ATTNC_SEQUSED_Q) ? drawn(r, n.q_room) : n.q_room;
  n.pad = has(s, ATTNC_LEFTPAD_K) ? drawn(r, used) : 0;
  n.sk = used - n.pad;
  return n;
}

static void
tell(Seqs *s)
{
  for (int i = 0; i < B; i++) {
    s->told[0][i + 1] = s->told[0][i] + s->of[i].q_room;
    s->told[1][i + 1] = s->told[1][i] + s->of[i].k_room;
    s->told[2][i] = s->of[i].sq;
    s->told[3][i] = s->of[i].pad + s->of[i].sk;
    s->told[4][i] = s->of[i].pad;
    s->told[5][i] = s->of[i].kb;
  }
  for (int k = 0; k < 6; k++)
    if (has(s, FIRST + k))
      s->t[FIRST + k] = (attnc_tensor){.data = s->told[k], .stride = {1}};
}

/* [b, rows, heads, d], or [rows, heads, d] where they are packed. */
static attnc_tensor
rows_new(bool packed, int batches, int rows, int heads, int d, uint64_t *r)
{
  size_t n = (size_t)batches * (size_t)rows * (size_t)heads * (size_t)d + 1;
  float *p = malloc(n * sizeof *p);
  for (size_t i = 0; i < n; i++)
    p[i] = (float)oracle_normal(r);
  attnc_tensor t = {.data = p, .stride = {rows * heads * d, d, heads * d, 1}};
  if (packed)
    memmove(t.stride, t.stride + 1, 4 * sizeof *t.stride);
  return t;
}

static attnc_spec *
load(const Seqs *s, bool dense, const char *mask)
{
  char text[1024], list[256] = "";
  bool tk = has(s, ATTNC_CU_SEQLENS_K) && !dense;
  for (int k = 0; k < 6 && !dense; k++)
    if (has(s, FIRST + k)) {
      strcat(list, *list ? ", " : "");
      strcat(list, tensor_info[FIRST + k].name);
    }
  snprintf(text, sizeof text,
           "attnc: 1\nname: t\ndtype: fp32\nhead_dim: %d\nhead_dim_v: %d\n"
           "return_lse: true\nalibi_slopes: h\nseqlens: [%s]\n%s\n"
           "tensors: {ids: {dtype: i32, axes: [%s]}}\n"
           "score_mod: \"ids[kv_idx] == 1 ? score + 1.0 : score\"\n",
           D, DV, list, mask, tk ? "tk" : "kv");
  attnc_spec *spec = NULL;
  assert_int_equal(attnc_spec_load(text, strlen(text), "t", &spec, NULL), ATTNC_OK);
  return spec;
}

static void
open_seqs(Seqs *s, unsigned kinds, const char *mask, uint64_t *r)
{
  int total_q = 3, total_k = 2; /* rows behind all sequences */
  *s = (Seqs){.kinds = kinds};
  for (int i = 0; i < B; i++) {
    s->of[i] = draw(s, i, r);
    total_q += s->of[i].q_room;
    total_k += s->of[i].k_room;
  }
  tell(s);
  bool pq = has(s, ATTNC_CU_SEQLENS_Q), pk = has(s, ATTNC_CU_SEQLENS_K);
  bool chosen = has(s, ATTNC_CACHE_BATCH_IDX);
  s->sizes = (attnc_sizes){.size = sizeof s->sizes,
                           .b = B,
                           .h = H,
                           .hk = HK,
                           .sq = ROOM_Q,
                           .sk = ROOM_K,
                           .total_q = pq ? total_q : 0,
                           .total_k = pk ? total_k : 0,
                           .bc = chosen ? BC : 0};
  s->t[ATTNC_Q] = rows_new(pq, pq ? 1 : B, pq ? total_q : ROOM_Q, H, D, r);
  s->t[ATTNC_K] = rows_new(pk, pk ? 1 : BC, pk ? total_k : ROOM_K, HK, D, r);
  s->t[ATTNC_V] = rows_new(pk, pk ? 1 : BC, pk ? total_k : ROOM_K, HK, DV, r);
  for (int i = 0; i < MOST; i++)
    s->ids[i] = drawn(r, 1);
  for (int i = 0; i < H; i++)
    s->slopes[i] = 0.25f * (float)(i + 1);
  s->t[ATTNC_ALIBI_SLOPES] = (attnc_tensor){.data = s->slopes, .stride = {1}};
  s->t[ATTNC_SLOT_COUNT] = (attnc_tensor){.data = s->ids, .stride = {1}};
  s->spec = load(s, false, mask);
  s->dense = load(s, true, mask);
  s->o = malloc(sizeof *s->o * H * (MOST + B * ROOM_Q) * DV);
  s->lse = malloc(sizeof *s->lse * H * (MOST + B * ROOM_Q));
}

static void
close_seqs(Seqs *s)
{
  for (int slot = ATTNC_Q; slot <= ATTNC_V; slot++)
    free(s->t[slot].data);
  free(s->o);
  free(s->lse);
  attnc_spec_release(s->spec);
  attnc_spec_release(s->dense);
}

static attnc_status
solve(const attnc_spec *spec, const attnc_sizes *z, const attnc_tensor *t, double *o,
      double *lse, attnc_error *e)
{
  double *outputs[ATTNC_SLOT_COUNT] = {[ATTNC_O] = o, [ATTNC_LSE] = lse};
  const attnc_args args = {.size = sizeof args,
                           .sizes = z,
                           .tensors = t,
                           .tensor_size = sizeof *t,
                           .n_tensors = ATTNC_SLOT_COUNT + 1};
  return attnc_reference(spec, ATTNC_OP_FWD, &args, NULL, 0, outputs, ATTNC_SLOT_COUNT, e);
}

/* Its rows from `first` on, as a tensor of one batch. */
static attnc_tensor
part(const attnc_tensor *t, bool packed, int b, int64_t first)
{
  attnc_tensor x = *t;
  if (packed)
    memcpy(x.stride, (int64_t[]){0, t->stride[0], t->stride[1], t->stride[2], 0},
           sizeof x.stride);
  x.data = (float *)t->data + (packed ? 0 : b * t->stride[0]) + first * x.stride[2];
  x.stride[0] = 0;
  return x;
}

static void
same_as_dense(const Seqs *s, int i)
{
  const One *n = &s->of[i];
  bool pq = has(s, ATTNC_CU_SEQLENS_Q), pk = has(s, ATTNC_CU_SEQLENS_K);
  int64_t q = pq ? s->told[0][i] : 0, k = pk ? s->told[1][i] : 0;
  int64_t rows = pq ? s->sizes.total_q : ROOM_Q, row = pq ? q : i * H * ROOM_Q;
  attnc_tensor t[ATTNC_SLOT_COUNT + 2];
  const attnc_sizes z = {
      .size = sizeof z, .b = 1, .h = H, .hk = HK, .sq = n->sq, .sk = n->sk};
  double o[H * ROOM_Q * DV], lse[H * ROOM_Q];
  memcpy(t, s->t, sizeof t);
  memset(&t[FIRST], 0, 6 * sizeof *t);
  t[ATTNC_Q] = part(&s->t[ATTNC_Q], pq, i, q);
  t[ATTNC_K] = part(&s->t[ATTNC_K], pk, n->kb, k + n->pad);
  t[ATTNC_V] = part(&s->t[ATTNC_V], pk, n->kb, k + n->pad);
  t[ATTNC_SLOT_COUNT].data = (int32_t *)s->t[ATTNC_SLOT_COUNT].data + k;
  assert_int_equal(solve(s->dense, &z, t, o, lse, NULL), ATTNC_OK);
  for (int h = 0; h < H; h++) {
    assert_memory_equal(&s->lse[h * rows + row], &lse[h * n->sq],
                        (size_t)n->sq * sizeof *lse);
    assert_memory_equal(&s->o[(h * rows + row) * DV], &o[h * n->sq * DV],
                        (size_t)(n->sq * DV) * sizeof *o);
  }
}

static void
test_each_sequence_is_a_dense_call(void **state)
{
  static const char *const masks[] = {"", "causal: true", "window: [3, 2]",
                                      "causal: true\nalign: top_left\nattention_chunk: 4"};
  uint64_t r = 11;
  (void)state;
  for (unsigned kinds = 0; kinds < KINDS; kinds++) {
    Seqs s = {.kinds = kinds};
    if (has(&s, ATTNC_CU_SEQLENS_K) && has(&s, ATTNC_CACHE_BATCH_IDX))
      continue;
    open_seqs(&s, kinds, masks[kinds % 4], &r);
    assert_int_equal(solve(s.spec, &s.sizes, s.t, s.o, s.lse, NULL), ATTNC_OK);
    for (int i = 0; i < B; i++)
      same_as_dense(&s, i);
    close_seqs(&s);
  }
}

/* What is of no sequence is neither written nor looked at. */
static void
test_rows_of_no_sequence(void **state)
{
  const double mark = -7.25;
  uint64_t r = 12;
  Seqs s;
  (void)state;
  open_seqs(&s, 1u | 4u, "", &r); /* cu_seqlens_q, seqused_q */
  int64_t rows = s.sizes.total_q;
  for (int64_t i = 0; i < H * rows; i++)
    s.lse[i] = mark;
  for (int i = 0; i < B; i++)
    for (int row = s.of[i].sq; row < s.of[i].q_room; row++)
      ((float *)s.t[ATTNC_Q].data)[(s.told[0][i] + row) * H * D] = NAN;
  assert_int_equal(solve(s.spec, &s.sizes, s.t, NULL, s.lse, NULL), ATTNC_OK);
  for (int64_t row = 0; row < rows; row++) {
    bool live = false;
    for (int i = 0; i < B; i++)
      live |= row >= s.told[0][i] && row < s.told[0][i] + s.of[i].sq;
    for (int h = 0; h < H; h++) {
      double x = s.lse[h * rows + row];
      assert_true(live ? isfinite(x) : x >= mark && x <= mark);
    }
  }
  close_seqs(&s);
}

static void
test_lengths_that_no_call_has(void **state)
{
  static const struct {
    int kind, at, value;
    const char *said;
  } wrong[] = {{0, 0, 1, "cu_seqlens_q[0] is 1, not 0"},
               {0, 2, -1, "cu_seqlens_q[2] is -1"},
               {0, 5, 999, "cu_seqlens_q[5] is 999"},
               {1, 3, 500, "cu_seqlens_k[3] is 500"},
               {2, 1, 99, "seqused_q[1] is 99"},
               {3, 4, -2, "seqused_k[4] is -2"},
               {4, 0, 88, "leftpad_k[0] is 88"},
               {5, 2, BC, "cache_batch_idx[2] is 7, not from 0 to 6"}};
  uint64_t r = 13;
  (void)state;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    Seqs s;
    attnc_error e;
    open_seqs(&s, 1u << wrong[i].kind | (wrong[i].kind == 5 ? 0 : 4u | 8u | 16u), "", &r);
    s.told[wrong[i].kind][wrong[i].at] = wrong[i].value;
    assert_int_equal(solve(s.spec, &s.sizes, s.t, s.o, NULL, &e), ATTNC_ERR_SHAPE);
    if (!strstr(e.message, wrong[i].said))
      fail_msg("%s: %s", wrong[i].said, e.message);
    close_seqs(&s);
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_sequence_is_a_dense_call),
                                     cmocka_unit_test(test_rows_of_no_sequence),
                                     cmocka_unit_test(test_lengths_that_no_call_has)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
