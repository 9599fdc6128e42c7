/* i_div_often and i_mod_often in kernels: quotient and remainder by a number whose
 * reciprocal a role computes once, against C's own, where they are most likely to be one
 * off: around multiples of the divisor, and at both ends of what 31 bits hold. */
#include "abi/cuda.h"
#include "compiler/backend.h"
#include "compiler/tile/tile_prog.h"

#include <attnc/attnc_emu.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define X(need, name, args) CUresult name args;
CUDA_ENTRY_TABLE(X)
#undef X
#define OK(call) assert_int_equal(call, CUDA_SUCCESS)

enum {
  DIGIT = 256, /* an i32 is written as four digits: a one in the row of its value */
  DIGITS = 4,
  WARPS = 4, /* each stores a row */
  ROWS = DIGIT * WARPS,
  MOST = 400, /* numerators */
};

/* ---- the numbers ---- */

static const int32_t divisors[] = {
    1,         2,         3,          5,          7,           10,      64,        127,
    128,       641,       65535,      65536,      65537,       1 << 20, 6700417,   46341,
    (1 << 30), 715827883, 1431655765, 2147483629, INT_MAX - 1, INT_MAX, 1073741825};
enum { DIVISORS = sizeof divisors / sizeof *divisors };

static int
numerators(int32_t *at)
{
  static const int32_t edges[] = {0,     1,     2,       3,           65535,
                                  65536, 65537, 1 << 30, INT_MAX - 1, INT_MAX};
  int n = sizeof edges / sizeof *edges;
  memcpy(at, edges, sizeof edges);
  srand(1);
  for (int i = 0; i < DIVISORS; i++) {
    int64_t y = divisors[i], most = INT_MAX / y, times[] = {1, most, 1 + rand() % most};
    for (int k = 0; k < 3; k++)
      for (int64_t x = y * times[k] - 1; x <= y * times[k] + 1 && x <= INT_MAX; x++)
        at[n++] = (int32_t)x;
    at[n++] = (int32_t)(((uint32_t)rand() << 12 ^ (uint32_t)rand()) & INT_MAX);
  }
  assert_true(n <= MOST);
  return n;
}

/* ---- the kernel ---- */

typedef struct Bench {
  Arena *arena;
  jmp_buf fail;
  attnc_error err;
  Tb *t;
  Tensor o; /* by numerator; four digits of the quotient, four of the remainder */
} Bench;

static void
bench_open(Bench *b)
{
  memset(b, 0, sizeof *b);
  b->arena = arena_new(0);
  b->t = tile_new(b->arena, &b->fail, &b->err, target_find("sm_90a"), WARPS);
  b->t->prog->entry = "k";
  b->o = (Tensor){.name = "o", .slot = ATTNC_O, .ty = DT_F32, .cols = 1};
  b->o.rows = i_int(ROWS);
  tile_param(b->t, PARAM_TENSOR, ATTNC_O, 0);
  b->o.stride[0] = i_int(2 * DIGITS * ROWS);
  b->o.stride[1] = i_int(ROWS);
  b->o.stride[2] = i_int(1);
}

/* In the last row of its digit, and the three before. */
static void
write_number(Bench *b, Idx i, Idx x, int first, Tile one)
{
  for (int k = 0; k < DIGITS; k++) {
    Idx digit = i_mod(i_div(x, 1 << 8 * k), DIGIT);
    t_store_rows(b->t, v_rows(&b->o, i, i_int(first + k), i_mul(digit, WARPS), WARPS), one);
  }
}

/* The first half of the numerators by sq, the others by sk: one of two reciprocals. */
static void
divide(Bench *b, const int32_t *x, int n)
{
  Tb *t = b->t;
  const Table *list = t_table(t, x, n);
  T_ROLE (t, .name = "all", .teams = 1, .warps = WARPS) {
    Tile one = t_rows(t, WARPS, 1);
    T_FOR (t, i, ((Span){i_int(0), i_int(n), i_int(1)})) {
      Idx a = i_entry(list, i);
      Idx y = i_select(i_lt(i, n / 2), tile_size(t, SIZE_SQ), tile_size(t, SIZE_SK));
      write_number(b, i, i_div_often(a, y), 0, one);
      write_number(b, i, i_mod_often(a, y), DIGITS, one);
    }
  }
}

static char *
ptx_of(Bench *b)
{
  const LlvmModule *m;
  const Program *prog = b->t->prog;
  LlvmRequest q = {.progs = &prog,
                   .n = 1,
                   .target = prog->target,
                   .ptx = 80,
                   .level = 2,
                   .passes =
                       "function(early-cse,instcombine<no-verify-fixpoint>,simplifycfg)"};
  LlvmResult r;
  tile_plan(b->t);
  if (backend_open(&m, &b->err) != ATTNC_OK || m->compile(&q, &r, &b->err) != ATTNC_OK)
    fail_msg("%s", b->err.message);
  char *text = strdup(r.ptx);
  m->release(&r);
  return text;
}

/* ---- a launch ---- */

static void
start(void)
{
  CUcontext context;
  char why[200] = "";
  if (attncEmuConfigure("arch=sm_90a", why, sizeof why))
    fail_msg("%s", why);
  OK(cuInit(0));
  OK(cuDevicePrimaryCtxRetain(&context, 0));
  OK(cuCtxSetCurrent(context));
}

static void
launch(const Bench *b, CUfunction f, CUdeviceptr out, int32_t sq, int32_t sk)
{
  static char found[65536];
  const Program *prog = b->t->prog;
  void *args[8];
  assert_true(prog->params.n <= 8);
  for (int i = 0; i < prog->params.n; i++) {
    const Param *p = &prog->params.at[i];
    void *size = p->slot == SIZE_SQ ? &sq : &sk;
    args[p->place] = p->kind == PARAM_TENSOR ? (void *)&out : size;
  }
  OK(cuLaunchKernel(f, 1, 1, 1, 32 * WARPS, 1, 1, 0, NULL, args, NULL));
  attncEmuTakeFindings(found, sizeof found);
  assert_string_equal(found, "");
}

/* The number whose digits begin at `at`, each of which stands in one row alone. */
static int64_t
number(const float *at)
{
  int64_t x = 0;
  for (int k = 0; k < DIGITS; k++) {
    int found = -1;
    for (int i = 0; i < DIGIT; i++)
      if (at[k * ROWS + i * WARPS] == 1) {
        assert_int_equal(found, -1);
        found = i;
      }
    assert_int_not_equal(found, -1);
    x += (int64_t)found << 8 * k;
  }
  return x;
}

static void
check(const int32_t *x, int n, const float *out, int32_t sq, int32_t sk)
{
  for (int i = 0; i < n; i++, out += 2 * DIGITS * ROWS) {
    int32_t y = i < n / 2 ? sq : sk;
    int64_t q = number(out), r = number(out + DIGITS * ROWS);
    if (q != x[i] / y || r != x[i] % y)
      fail_msg("%d / %d is %lld rest %lld, not %d rest %d", x[i], y, (long long)q,
               (long long)r, x[i] / y, x[i] % y);
  }
}

static void
test_quotients(void **state)
{
  (void)state;
  static int32_t x[MOST];
  int n = numerators(x);
  Bench b;
  CUmodule m;
  CUfunction f;
  CUdeviceptr out;
  size_t bytes = (size_t)n * 2 * DIGITS * ROWS * sizeof(float);
  float *got = malloc(bytes);
  bench_open(&b);
  if (setjmp(b.fail))
    fail_msg("%s", b.err.message);
  divide(&b, x, n);
  char *ptx = ptx_of(&b);
  assert_non_null(strstr(ptx, "0xffffffff")); /* it is by reciprocals */
  OK(cuModuleLoadDataEx(&m, ptx, 0, NULL, NULL));
  OK(cuModuleGetFunction(&f, m, "k"));
  OK(cuMemAlloc_v2(&out, bytes));
  for (int i = 0; i < DIVISORS; i++) {
    int32_t sq = divisors[i], sk = divisors[(i + DIVISORS / 2) % DIVISORS];
    OK(cuMemsetD8_v2(out, 0, bytes));
    launch(&b, f, out, sq, sk);
    OK(cuMemcpyDtoH_v2(got, out, bytes));
    check(x, n, got, sq, sk);
  }
  OK(cuMemFree_v2(out));
  OK(cuModuleUnload(m));
  free(got);
  free(ptx);
  arena_free(b.arena);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_quotients)};
  start();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
