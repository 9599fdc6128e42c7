/* The tools of the end-to-end tests, themselves tested: numbers, the notation, mutants, and
 * that a Call notices what it must notice. */
#include "tests/e2e/call.h"
#include "tests/e2e/mutant.h"
#include "tests/e2e/number.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
halves(void **state)
{
  (void)state;
  for (uint32_t u = 0; u < 65536; u++) {
    uint16_t h = (uint16_t)u;
    float f = f32_of_f16(h), g = f32_of_bf16(h);
    assert_true(isnan(f) ? isnan(f32_of_f16(f16_of(f))) : f16_of(f) == h);
    assert_true(isnan(g) ? isnan(f32_of_bf16(bf16_of(g))) : bf16_of(g) == h);
  }
  assert_int_equal(f16_of(1.0f), 0x3c00);
  assert_int_equal(f16_of(1.0f + 0x1p-11f), 0x3c00); /* ties go to even */
  assert_int_equal(f16_of(1.0f + 0x3p-11f), 0x3c02);
  assert_int_equal(f16_of(0x1p-25f), 0);
  assert_int_equal(f16_of(0x1.8p-25f), 1);
  assert_int_equal(f16_of(65519.996f), 0x7bff);
  assert_int_equal(f16_of(65520.0f), 0x7c00);
  assert_int_equal(bf16_of(1.0f + 0x1p-8f), 0x3f80);
  assert_int_equal(bf16_of(1.0f + 0x3p-8f), 0x3f82);
  assert_int_equal(bf16_of(-INFINITY), 0xff80);
}

static void
normals(void **state)
{
  enum { N = 100000 };
  Random r = {3};
  double sum = 0, squares = 0, fourth = 0;
  (void)state;
  for (int i = 0; i < N; i++) {
    double x = (double)number_normal(&r);
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
  }
  assert_true(fabs(sum / N) < 0.02);
  assert_true(fabs(squares / N - 1) < 0.03);
  assert_true(fabs(fourth / N - 3) < 0.15);
}

static void
notation(void **state)
{
  static const char *const good[] = {
      "{dtype: bf16, head_dim: 128, window: [31, 0]} b2 h8/2 sq1 sk7 padded sm_86 "
      "template=fwd_mma seed=7",
      "{dtype: {q: fp16, k: fp16, v: fp16, o: fp32}, head_dim: 64} h3 s9 packed "
      "softmax_scale=0.5 sm_120 template=ref_fwd,block_m=16,num_stages=1 seed=14",
      "{}",
  };
  static const char *const bad[] = {
      "bf16 b1",
      "{head_dim: 64 b1",
      "{} h8/3",
      "{} b0",
      "{} d64",
      "{} causal",
      "{} sq64x",
      "{} template=fwd_mma, block_m=1",
      "{} no_scalar=1",
      "{} softmax_scale=x",
      "{} softmax_scale=",
      "{} seed=",
  };
  char why[200];
  Case c;
  (void)state;
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    assert_true(case_parse(good[i], &c, why, sizeof why));
    assert_string_equal(c.text, good[i]);
  }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_false(case_parse(bad[i], &c, why, sizeof why));
}

/* What the words become; a schedule is the spec's pins, and can be changed. */
static void
meaning(void **state)
{
  char why[200], name[32];
  Case c;
  (void)state;
  assert_true(case_parse("{dtype: bf16, head_dim: 64}  h8/2 sq3 sk4  packed sm_86 "
                         "softmax_scale=0.25 template=fwd_mma,block_m=64 seed=9",
                         &c, why, sizeof why));
  assert_string_equal(c.spec, "{attnc: 1, name: case, schedule: {template: fwd_mma, "
                              "block_m: 64}, dtype: bf16, head_dim: 64}");
  assert_int_equal(c.sizes.b, 1);
  assert_int_equal(c.sizes.h, 8);
  assert_int_equal(c.sizes.hk, 2);
  assert_int_equal(c.sizes.sq, 3);
  assert_int_equal(c.sizes.sk, 4);
  assert_int_equal(c.memory, MEMORY_PACKED);
  assert_true(c.has_scalars && c.scalars[ATTNC_SOFTMAX_SCALE] == 0.25);
  assert_int_equal(c.seed, 9);
  assert_string_equal(c.target, "sm_86");
  assert_int_equal(case_pinned(&c, "block_m"), 64);
  assert_int_equal(case_pinned(&c, "block_n"), 0);
  case_template(&c, name, sizeof name);
  assert_string_equal(name, "fwd_mma");
  assert_true(case_pin(&c, "template=ref_fwd,block_n=2", why, sizeof why));
  assert_string_equal(c.text, "{dtype: bf16, head_dim: 64} h8/2 sq3 sk4 packed sm_86 "
                              "softmax_scale=0.25 template=ref_fwd,block_n=2 seed=9");
  assert_true(case_parse("{} sm_90 seed=4", &c, why, sizeof why));
  assert_true(isnan(c.scalars[ATTNC_SOFTMAX_SCALE]) && !c.has_scalars);
  assert_true(case_pin(&c, "template=a", why, sizeof why));
  assert_string_equal(c.text, "{} sm_90 template=a seed=4");
}

/* A case whose spec is loaded. */
static void
build(const char *text, Call *c)
{
  char why[300] = "";
  Case parsed;
  attnc_spec *spec = NULL;
  if (!case_parse(text, &parsed, why, sizeof why) ||
      !call_load(c, &parsed, &spec, why, sizeof why))
    fail_msg("%s: %s", text, why);
  attnc_spec_release(spec);
}

/* What the library says of a spec. */
static void
facts(void **state)
{
  Call c;
  (void)state;
  build(
      "{dtype: {q: bf16, k: bf16, v: fp16, o: fp32}, head_dim: 40, head_dim_v: 24, causal: "
      "true, window: [7, -1], align: top_left, layout: {q: bhsd, k: bshd, v: bshd, o: "
      "bhsd}, softmax_scale: 0.25}",
      &c);
  const Facts *f = &c.facts;
  assert_true(f->d == 40 && f->dv == 24 && f->scale == 0.25);
  assert_true(f->causal && f->top_left && f->left == 7 && f->right == 0);
  assert_true(f->tensor[ATTNC_Q].type == ORACLE_BF16 &&
              f->tensor[ATTNC_V].type == ORACLE_FP16);
  assert_true(f->tensor[ATTNC_O].type == ORACLE_FP32 && !f->tensor[ATTNC_LSE].present);
  assert_true(f->tensor[ATTNC_Q].heads_first && !f->tensor[ATTNC_K].heads_first);
  assert_true(f->tensor[ATTNC_O].present && f->plain);
  assert_true(c.home[ATTNC_LSE] == -1 && c.device_args.n_tensors == ATTNC_O + 1);
  call_free(&c, NULL);
  build("{dtype: fp32, head_dim: 16, return_lse: true}", &c);
  assert_true(c.facts.tensor[ATTNC_K].type == ORACLE_FP32 && c.facts.scale == 0.25);
  assert_true(!c.facts.causal && c.facts.left == -1 && c.facts.tensor[ATTNC_LSE].present);
  call_free(&c, NULL);
}

static void
mutants(void **state)
{
  static const char ptx[] = "{\n"
                            "  // bar.sync 9;\n"
                            "  @!%p1 bar.sync 0;\n"
                            "L: cp.async.wait_group 2; bar.warp.sync -1;\n"
                            "  foo.bar.sync 1;\n"
                            "  membar.gl;\n"
                            "}\n";
  static const char *const want[] = {
      "{\n  // bar.sync 9;\n  \nL: cp.async.wait_group 2; bar.warp.sync -1;\n"
      "  foo.bar.sync 1;\n  membar.gl;\n}\n",
      "{\n  // bar.sync 9;\n  @!%p1 bar.sync 0;\nL:  bar.warp.sync -1;\n"
      "  foo.bar.sync 1;\n  membar.gl;\n}\n",
      "{\n  // bar.sync 9;\n  @!%p1 bar.sync 0;\nL: cp.async.wait_group 3; bar.warp.sync "
      "-1;\n"
      "  foo.bar.sync 1;\n  membar.gl;\n}\n",
      "{\n  // bar.sync 9;\n  @!%p1 bar.sync 0;\nL: cp.async.wait_group 2; \n"
      "  foo.bar.sync 1;\n  membar.gl;\n}\n",
      "{\n  // bar.sync 9;\n  @!%p1 bar.sync 0;\nL: cp.async.wait_group 2; bar.warp.sync "
      "-1;\n"
      "  foo.bar.sync 1;\n  \n}\n",
  };
  Mutant m[MUTANT_MAX];
  (void)state;
  assert_int_equal(mutant_list(ptx, m), 5);
  for (int i = 0; i < 5; i++) {
    char *text = mutant_make(ptx, &m[i]);
    assert_non_null(text);
    assert_string_equal(text, want[i]);
    free(text);
  }
  assert_int_equal(m[1].line, 4);
  assert_string_equal(m[1].what, "cp.async.wait_group 2");
}

/* What counts is not taken away, but loses its order. */
static void
mutants_of_atomics(void **state)
{
  static const char ptx[] =
      "{ @p atom.acq_rel.gpu.global.inc.u32 a, [b], c; }\n"
      "atom.global.add.u32 a, [b], 1; atom.relaxed.gpu.add.u32 a, [b], 1;\n"
      "red.release.gpu.global.add.u32 [b], 1;\n";
  static const char *const want[] = {
      "{ @p atom.relaxed.gpu.global.inc.u32 a, [b], c; }\n"
      "atom.global.add.u32 a, [b], 1; atom.relaxed.gpu.add.u32 a, [b], 1;\n"
      "red.release.gpu.global.add.u32 [b], 1;\n",
      "{ @p atom.acq_rel.gpu.global.inc.u32 a, [b], c; }\n"
      "atom.global.add.u32 a, [b], 1; atom.relaxed.gpu.add.u32 a, [b], 1;\n"
      "red.relaxed.gpu.global.add.u32 [b], 1;\n",
  };
  Mutant m[MUTANT_MAX];
  (void)state;
  assert_int_equal(mutant_list(ptx, m), 2);
  for (int i = 0; i < 2; i++) {
    char *text = mutant_make(ptx, &m[i]);
    assert_non_null(text);
    assert_string_equal(text, want[i]);
    free(text);
  }
}

/* A launch that wrote every element and nothing else. */
static void
write_all(Call *c, int slot)
{
  const Shape x = facts_shape(&c->facts, &c->c.sizes, slot);
  const int64_t *st = c->host[slot].stride;
  int64_t each = facts_bytes(c->facts.tensor[slot].type);
  for (int64_t b = 0; b < x.b; b++)
    for (int64_t h = 0; h < x.h; h++)
      for (int64_t s = 0; s < x.s; s++)
        memset((char *)c->host[slot].data + (b * st[0] + h * st[1] + s * st[2]) * each, 0,
               (size_t)(each * x.d));
}

static void
traps(void **state)
{
  static const char *const cases[] = {
      "{dtype: fp16, head_dim: 24, head_dim_v: 40, return_lse: true} b2 h3 sq5 sk9",
      "{dtype: fp16, head_dim: 16, return_lse: true} b2 h2/1 s3 packed",
      "{dtype: bf16, head_dim: 16, return_lse: true} b2 h2 sq4 sk7 padded",
      "{dtype: fp16, head_dim: 16, layout: bhsd} b2 h2 sq4 sk7",
      "{dtype: fp32, head_dim: 16, return_lse: true} b2 h2 sq4 sk7 padded",
      "{dtype: {q: fp16, k: bf16, v: bf16, o: fp32}, head_dim: 16} b2 h2 s4 packed"};
  char why[200];
  Call c;
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    build(cases[i], &c);
    assert_false(call_intact(&c, why, sizeof why)); /* nothing was written */
    for (int slot = 0; slot < ATTNC_SLOT_COUNT; slot++)
      if (c.facts.tensor[slot].output && c.home[slot] >= 0)
        write_all(&c, slot);
    assert_true(call_intact(&c, why, sizeof why));
    for (int b = 0; b < c.n_buffers; b++) { /* one byte too many, at either end, or in q */
      Buffer *u = &c.buffers[b];
      size_t places[] = {0, u->bytes - 1, 512 + 8};
      for (int p = 0; p < (b == c.home[ATTNC_Q] ? 3 : 2); p++) {
        u->host[places[p]] ^= 1;
        assert_false(call_intact(&c, why, sizeof why));
        u->host[places[p]] ^= 1;
      }
    }
    assert_true(call_intact(&c, why, sizeof why));
    call_free(&c, NULL);
  }
}

/* Zeros in the rows of O and the LSE, which are packed: somebody's alone, or nobody's too.
 * How many are nobody's. */
static int
write_packed(Call *c, bool nobodys)
{
  const Shape x = facts_shape(&c->facts, &c->c.sizes, ATTNC_O);
  const int64_t *st = c->host[ATTNC_O].stride;
  int dead = 0;
  for (int64_t h = 0; h < x.h; h++)
    for (int64_t s = 0; s < x.s; s++) {
      bool is = drawn_dead(c->drawn, ATTNC_O, (int64_t[3]){0, h, s});
      dead += is;
      if (is && !nobodys)
        continue;
      memset((uint16_t *)c->host[ATTNC_O].data + h * st[0] + s * st[1], 0,
             (size_t)x.d * sizeof(uint16_t));
      memset((float *)c->host[ATTNC_LSE].data + h * x.s + s, 0, sizeof(float));
    }
  return dead;
}

/* Rows of no sequence: of keys and queries they hold what is no number, of outputs they are
 * left alone. */
static void
rows_of_nobody(void **state)
{
  char why[200];
  Call c;
  (void)state;
  build("{dtype: fp16, head_dim: 16, return_lse: true, seqlens: [cu_seqlens_q, seqused_q, "
        "seqused_k, cache_batch_idx]} b7 h2/1 sq9 sk30 padded seed=3",
        &c);
  const Shape q = facts_shape(&c.facts, &c.c.sizes, ATTNC_Q);
  const Shape k = facts_shape(&c.facts, &c.c.sizes, ATTNC_K);
  assert_true(q.b == 1 && q.h == 2 && q.s == c.sizes.total_q && q.s > 9 && q.s < 7 * 9);
  assert_true(k.b == 8 && k.h == 1 && k.s == 30 && c.sizes.bc == 8);
  int dead[2] = {0, 0};
  for (int64_t b = 0; b < k.b; b++)
    for (int64_t s = 0; s < k.s; s++) {
      const int64_t *st = c.host[ATTNC_K].stride;
      bool is = drawn_dead(c.drawn, ATTNC_K, (int64_t[3]){b, 0, s});
      uint16_t bits;
      memcpy(&bits, (uint16_t *)c.host[ATTNC_K].data + b * st[0] + s * st[2], sizeof bits);
      assert_int_equal(is, (bits & 0x7c00) == 0x7c00);
      dead[is]++;
    }
  assert_true(dead[0] > 30 && dead[1] > 30);
  assert_true(write_packed(&c, false) > 2);
  assert_true(call_intact(&c, why, sizeof why));
  write_packed(&c, true);
  assert_false(call_intact(&c, why, sizeof why));
  call_free(&c, NULL);
}

/* Lists of blocks are what the harness draws; what none of them names is no number. */
static void
lists_of_blocks(void **state)
{
  Call c;
  bool whole = false, nothing = false;
  (void)state;
  build("{dtype: fp16, head_dim: 16, block_list: {block: [64, 64]}} b2 h4/2 sq300 sk300 "
        "padded seed=1",
        &c);
  const attnc_tensor *t = &c.host[ATTNC_KV_NUM_BLOCKS];
  for (int64_t i = 0; i < 5; i++)
    for (int64_t h = 0; h < 4; h++) {
      int32_t n = ((int32_t *)t->data)[h * t->stride[1] + i * t->stride[2]];
      assert_int_equal(n, drawn_at(c.drawn, ATTNC_KV_NUM_BLOCKS, (int64_t[4]){0, h, i, 0}));
      assert_true(n >= 0 && n <= 5);
      whole |= n > 1;
      nothing |= n == 0;
    }
  assert_true(whole && nothing && !drawn_dead(c.drawn, ATTNC_Q, (int64_t[3]){1, 3, 299}));
  call_free(&c, NULL);
}

/* Tensors of a call do not overlap, lie in their buffer, and are 16-byte aligned. */
static void
placement(void **state)
{
  static const char *const memory[] = {"", "", "padded", "packed"};
  (void)state;
  for (int i = 0; i < 8; i++) {
    char text[200];
    Call c;
    snprintf(text, sizeof text,
             "{dtype: %s, head_dim: 24, head_dim_v: 40, return_lse: true%s} b2 h4/2 sq%d "
             "sk6 %s seed=%d",
             i % 3 ? "fp16" : "fp32", i % 4 == 1 ? ", layout: bhsd" : "", i < 4 ? 6 : 5,
             memory[i % 4], i);
    build(text, &c);
    for (int slot = 0; slot < ATTNC_SLOT_COUNT; slot++) {
      const int64_t *st = c.host[slot].stride;
      const Shape x = facts_shape(&c.facts, &c.c.sizes, slot);
      int64_t last = (x.b - 1) * st[0] + (x.h - 1) * st[1] + (x.s - 1) * st[2] + x.d - 1;
      size_t each = (size_t)facts_bytes(c.facts.tensor[slot].type);
      assert_true(c.start[slot] + (size_t)last * each <
                  c.buffers[c.home[slot]].bytes - 512);
      assert_true(c.start[slot] % 16 == 0);
      for (int k = 0; k < 3 && slot != ATTNC_LSE; k++)
        assert_int_equal(st[k] % 8, 0);
    }
    call_free(&c, NULL);
  }
}

/* ---- the oracle's callbacks, against what its fields say ---- */

static bool
before(const void *user, OracleAt at)
{
  return at.kv_idx <= at.q_idx + *(const int *)user;
}

static long double
doubled(const void *user, OracleAt at, long double x)
{
  (void)user;
  return at.h == 1 ? 2 * x : x;
}

static void
callbacks(void **state)
{
  enum { S = 5, K = 7, D = 3 };
  const int shift = K - S;
  double q[2 * S * D], k[2 * K * D], o[2][2 * S * D], lse[2][2 * S];
  uint64_t seed = 1;
  OracleCase fields = {.b = 1,
                       .h = 2,
                       .hk = 2,
                       .sq = S,
                       .sk = K,
                       .d = D,
                       .dv = D,
                       .causal = true,
                       .left = -1,
                       .right = -1,
                       .scale = 0.5};
  OracleCase own = fields;
  (void)state;
  own.causal = false;
  own.sees = before;
  own.score = doubled;
  own.user = &shift;
  for (int i = 0; i < 2 * S * D; i++)
    q[i] = oracle_normal(&seed);
  for (int i = 0; i < 2 * K * D; i++)
    k[i] = oracle_normal(&seed);
  oracle_attention(&own, q, k, k, o[0], lse[0]);
  for (int i = S * D; i < 2 * S * D; i++) /* head 1 */
    q[i] *= 2;
  oracle_attention(&fields, q, k, k, o[1], lse[1]);
  for (int i = 0; i < 2 * S; i++)
    assert_true(fabs(lse[0][i] - lse[1][i]) < 1e-12);
  for (int i = 0; i < 2 * S * D; i++)
    assert_true(fabs(o[0][i] - o[1][i]) < 1e-12);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(halves),          cmocka_unit_test(normals),
      cmocka_unit_test(notation),        cmocka_unit_test(meaning),
      cmocka_unit_test(facts),           cmocka_unit_test(mutants),
      cmocka_unit_test(traps),           cmocka_unit_test(placement),
      cmocka_unit_test(callbacks),       cmocka_unit_test(rows_of_nobody),
      cmocka_unit_test(lists_of_blocks), cmocka_unit_test(mutants_of_atomics),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
