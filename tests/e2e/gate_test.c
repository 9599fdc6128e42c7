/* The gate can fail: what it compares, without an assembler. */
#include "tests/e2e/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static const GateSpec spec = {.name = "one", .head_dim = 128};
static const Job job = {.spec = &spec, .target = "sm_90a", .tag = "default"};

static Part
part(int all, int tensor, int mov)
{
  Part p = {.all = all};
  p.n[COLUMN_tensor] = tensor;
  p.n[COLUMN_mov] = mov;
  p.n[COLUMN_warpgroup] = 4;
  return p;
}

/* A kernel with a loop of PARTIAL tiles and one of two FULL tiles a trip. */
static Result
result(void)
{
  return (Result){.outcome = DONE,
                  .schedule = "fwd_wgmma:128x128:w12:s2",
                  .regs = 168,
                  .lines = 2000,
                  .n_parts = 3,
                  .parts = {part(2000, 48, 40), part(600, 16, 4), part(900, 32, 6)},
                  .head_dim = 128,
                  .block_n = 128,
                  .num_warps = 12};
}

/* The baselines of these kernels alone, from the files. */
static Baseline *
written(const Job *jobs, const Result *r, int n)
{
  mkdir(SOURCE_DIR, 0700);
  mkdir(SOURCE_DIR "/tests", 0700);
  Baseline *b = baseline_new();
  assert_non_null(b);
  baseline_put(b, "V1", jobs, r, n);
  assert_true(baseline_write(b));
  baseline_free(b);
  b = baseline_read();
  assert_non_null(b);
  return b;
}

/* Is it worse than what was written just before?  Says so with these words. */
static void
expect(const Result *now, bool same, const char *words)
{
  char why[200] = "";
  Result was = result();
  Baseline *b = written(&job, &was, 1);
  assert_string_equal(baseline_assembler(b), "V1");
  assert_int_equal(baseline_worse(b, &job, now, same, why, sizeof why), words != NULL);
  if (words)
    assert_non_null(strstr(why, words));
  baseline_free(b);
}

static void
test_the_same_is_no_worse(void **state)
{
  (void)state;
  Result r = result();
  expect(&r, true, NULL);
  r.regs += 4;
  r.lines += 20;
  r.parts[2].all += 10;
  r.parts[2].n[COLUMN_mov] += 2;
  r.parts[2].n[COLUMN_mufu] = 0;
  expect(&r, true, NULL);
}

static void
test_each_that_is_worse(void **state)
{
  (void)state;
  Result r;
  r = result(), r.regs += 5;
  expect(&r, true, "173 registers");
  expect(&r, false, NULL); /* another assembler's registers are not judged */
  r = result(), r.lines += 80;
  expect(&r, false, "2080 lines");
  r = result(), snprintf(r.schedule, sizeof r.schedule, "fwd_mma");
  expect(&r, false, "another schedule; it was fwd_wgmma");
  r = result(), r.parts[2].n[COLUMN_tensor]++;
  expect(&r, true, "part 2: 33 tensor");
  r = result(), r.parts[1].n[COLUMN_mufu]++;
  expect(&r, true, "part 1: 1 mufu");
  r = result(), r.parts[1].n[COLUMN_warpgroup] = 64; /* serialised */
  expect(&r, true, "64 warpgroup");
  r = result(), r.parts[0].n[COLUMN_local] = 1;
  expect(&r, true, "1 local");
  r = result(), r.parts[0].n[COLUMN_unknown] = 1;
  expect(&r, true, "1 unknown");
  r = result(), r.parts[2].n[COLUMN_mov] += 3;
  expect(&r, true, "9 moves");
  r = result(), r.parts[0].all += 60;
  expect(&r, true, "2060 instructions");
  r = result(), r.n_parts = 2;
  expect(&r, true, "it had more");
  r = result(), r.n_parts = 4;
  expect(&r, true, "part 3 is not in");
}

static void
test_a_kernel_that_is_new(void **state)
{
  (void)state;
  GateSpec other = {.name = "other"};
  Job j = {.spec = &other, .target = "sm_90a"};
  Result was = result();
  char why[200];
  Baseline *b = written(&job, &was, 1);
  assert_true(baseline_worse(b, &j, &was, true, why, sizeof why));
  assert_string_equal(why, "is not in the baseline");
  was.regs--;
  assert_true(baseline_note(b, &job, &was, why, sizeof why));
  baseline_free(b);
}

static const char *const files[] = {SOURCE_DIR "/tests/baseline.txt",
                                    SOURCE_DIR "/tests/opcodes.txt"};

static void
read_files(char text[2][8000])
{
  for (int i = 0; i < 2; i++) {
    FILE *f = fopen(files[i], "r");
    assert_non_null(f);
    text[i][fread(text[i], 1, sizeof text[i] - 1, f)] = 0;
    fclose(f);
  }
}

/* Rows of one spec are replaced, where they were; the others stay what they were. */
static void
test_rows_of_one_spec(void **state)
{
  (void)state;
  enum { N = 6 };
  static char some[2][8000], whole[2][8000];
  GateSpec specs[] = {{.name = "a"}, {.name = "m"}, {.name = "z"}};
  Job jobs[N];
  Result r[N];
  for (int i = 0; i < N; i++) {
    jobs[i] = (Job){.spec = &specs[i / 2], .target = i % 2 ? "sm_90a" : "sm_80"};
    r[i] = result();
    r[i].regs += 10 * i;
  }
  Baseline *b = written(jobs, r, N);
  for (int i = 2; i < 4; i++) {
    r[i].regs = 100 + i;
    r[i].n_parts = 2;
  }
  baseline_put(b, "V1", jobs + 2, r + 2, 2);
  assert_true(baseline_write(b));
  read_files(some);
  baseline_free(b);
  baseline_free(written(jobs, r, N));
  read_files(whole);
  for (int i = 0; i < 2; i++)
    assert_string_equal(some[i], whole[i]);
}

static void
test_full_tiles(void **state)
{
  (void)state;
  Result r = result();
  assert_int_equal(gate_full(&r), 2);
  assert_int_equal(gate_tiles(&r, 2), 2);
  assert_int_equal(gate_tiles(&r, 1), 1);
  r.n_parts = 1;
  assert_int_equal(gate_full(&r), 0);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_the_same_is_no_worse),
      cmocka_unit_test(test_each_that_is_worse),
      cmocka_unit_test(test_a_kernel_that_is_new),
      cmocka_unit_test(test_rows_of_one_spec),
      cmocka_unit_test(test_full_tiles),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
