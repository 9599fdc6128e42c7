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
    double x = (double)random_normal(&r);
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
      "bf16 b2 h8/2 sq1 sk7 d128/64 causal top_left window=31,0 padded sm_86 fwd_mma "
      "seed=7",
      "fp16 b1 h3 sq9 sk255 d192 packed nolse special=sizes scale=arg sm_120 ref_fwd "
      "seed=14",
      "fp16 b1 h1 sq64 sk64 d64 window=5,-1 bhsd scale=spec sm_80 ref_fwd:16x16s1w4Q "
      "seed=1",
      "bf16 b1 h1 sq64 sk64 d64 bshd sm_80 fwd_mma:128x64s2w8q seed=1",
      "fp16 b1 h1 sq64 sk64 d64 bshd sm_90a fwd_wgmma:block_m=128,block_n=96,num_stages=2,"
      "num_warps=12,p_in_smem=false,overlap=true,scheduler=persistent,q_stages=2,poly_exp2="
      "0 "
      "seed=1",
  };
  static const char *const bad[] = {
      "bf17",
      "bf16 h8/3",
      "b0",
      "d20",
      "d264",
      "window=1",
      "sq64x",
      "fwd_mma:128x64",
      "sm_70",
      "sq0 special=sizes",
      "fwd_mma:1x1s1w1z",
      "fwd_wgmma:block_m",
      "fwd_wgmma:block_m=x",
      "fwd_wgmma:blocks=1",
  };
  char why[200], text[TRIAL_TEXT];
  Trial t;
  (void)state;
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    assert_true(trial_parse(good[i], &t, why, sizeof why));
    trial_print(&t, text);
    assert_string_equal(text, good[i]);
  }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_false(trial_parse(bad[i], &t, why, sizeof why));
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

/* A launch that wrote every element and nothing else. */
static void
write_all(Call *c, int slot)
{
  const Trial *t = &c->trial;
  const int64_t *st = c->host[slot].stride;
  int width = slot == ATTNC_LSE ? 4 : 2 * t->dv;
  for (int64_t b = 0; b < t->b; b++)
    for (int64_t h = 0; h < t->h; h++)
      for (int64_t s = 0; s < t->sq; s++)
        memset((char *)c->host[slot].data +
                   (b * st[0] + h * st[1] + s * st[2]) * (slot == ATTNC_LSE ? 4 : 2),
               0, (size_t)width);
}

static void
traps(void **state)
{
  static const char *const cases[] = {
      "b2 h3 sq5 sk9 d24/40 bshd", "b2 h2/1 sq3 sk3 d16 packed",
      "bf16 b2 h2 sq4 sk7 d16 padded", "b2 h2 sq4 sk7 d16 bhsd nolse"};
  char why[200];
  Trial t;
  Call c;
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    assert_true(trial_parse(cases[i], &t, why, sizeof why) && call_build(&c, &t));
    assert_false(call_intact(&c, why, sizeof why)); /* nothing was written */
    write_all(&c, ATTNC_O);
    if (t.lse)
      write_all(&c, ATTNC_LSE);
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

/* Tensors of a call do not overlap, lie in their buffer, and are 16-byte aligned. */
static void
placement(void **state)
{
  static const char *const layouts[] = {"bshd", "bhsd", "padded", "packed"};
  (void)state;
  for (int i = 0; i < 8; i++) {
    char text[100], why[100];
    Trial t;
    Call c;
    snprintf(text, sizeof text, "b2 h4/2 sq%d sk6 d24/40 %s seed=%d", i < 4 ? 6 : 5,
             layouts[i % 4], i);
    assert_true(trial_parse(text, &t, why, sizeof why) && call_build(&c, &t));
    for (int slot = 0; slot < ATTNC_SLOT_COUNT; slot++) {
      const int64_t *st = c.host[slot].stride;
      bool rows = slot == ATTNC_K || slot == ATTNC_V;
      int64_t last = st[0] + (rows ? 1 : 3) * st[1] + (rows ? 6 : t.sq) * st[2] - st[2];
      size_t each = slot == ATTNC_LSE ? 4 : 2;
      assert_true(c.start[slot] + (size_t)last * each <
                  c.buffers[c.home[slot]].bytes - 512);
      assert_true(c.start[slot] % 16 == 0);
      for (int k = 0; k < 3 && slot != ATTNC_LSE; k++)
        assert_int_equal(st[k] % 8, 0);
    }
    call_free(&c, NULL);
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(halves),  cmocka_unit_test(normals), cmocka_unit_test(notation),
      cmocka_unit_test(mutants), cmocka_unit_test(traps),   cmocka_unit_test(placement),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
