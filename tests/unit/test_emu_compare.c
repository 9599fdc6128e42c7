/* One launch under several orders of CTAs: what comes out differently is named. */
#include "tests/unit/emu_kit.h"

enum { CTAS = 24, WORDS = 32 };

typedef struct Run {
  uint32_t counts[WORDS], sums[WORDS];
  CUresult result;
} Run;

/* counts[lane] += 1, and what `op` does to sums[lane] with a float of the CTA, but for the
 * first lanes; both in one allocation, one behind the other. */
static Run
run(const char *op)
{
  char ptx[2000];
  Run r;
  CUmodule m;
  CUdeviceptr in, out;
  uint32_t n = CTAS, floats[CTAS];
  for (int i = 0; i < CTAS; i++) { /* of very different sizes */
    float f = (i % 2 ? -1.0f : 1.0f) * (1.0f + (float)i / 16) * (float)(1 << i % 24);
    memcpy(&floats[i], &f, 4);
  }
  snprintf(ptx, sizeof ptx,
           KIT_HEAD("7.8", "sm_80") //
           ".visible .entry k(.param .u64 in, .param .u32 n, .param .u64 counts,\n"
           ".param .u64 sums) {\n.reg .b32 %%r<9>; .reg .b64 %%rd<9>; .reg .f32 %%f<9>;\n"
           "ld.param.u64 %%rd1, [in]; ld.param.u64 %%rd2, [counts];\n"
           "ld.param.u64 %%rd3, [sums]; mov.u32 %%r1, %%tid.x; mov.u32 %%r2, %%ctaid.x;\n"
           "mul.wide.u32 %%rd4, %%r2, 4; add.s64 %%rd1, %%rd1, %%rd4;\n"
           "ld.global.b32 %%r4, [%%rd1]; mul.wide.u32 %%rd4, %%r1, 4;\n"
           "add.s64 %%rd2, %%rd2, %%rd4; add.s64 %%rd3, %%rd3, %%rd4;\n"
           "red.global.add.u32 [%%rd2], 1; mov.b32 %%f1, %%r4;\n"
           "setp.lt.u32 %%p1, %%r1, 8; @%%p1 bra DONE;\n%s\nDONE: ret;\n}\n",
           op);
  CUfunction f =
      kit_function(replaced(ptx, ".reg .b32", ".reg .pred %p<3>; .reg .b32"), &m);
  OK(cuMemAlloc_v2(&in, sizeof floats));
  OK(cuMemAlloc_v2(&out, 4 * WORDS + 64 + 4 * WORDS));
  OK(cuMemcpyHtoD_v2(in, floats, sizeof floats));
  OK(cuMemsetD8_v2(out, 0, 4 * WORDS + 64 + 4 * WORDS));
  CUdeviceptr sums = out + 4 * WORDS + 64;
  r.result = cuLaunchKernel(f, CTAS, 1, 1, WORDS, 1, 1, 0, NULL,
                            (void *[]){&in, &n, &out, &sums}, NULL);
  OK(cuMemcpyDtoH_v2(r.counts, out, sizeof r.counts));
  OK(cuMemcpyDtoH_v2(r.sums, sums, sizeof r.sums));
  OK(cuMemFree_v2(in));
  OK(cuMemFree_v2(out));
  OK(cuModuleUnload(m));
  return r;
}

#define FLOATS  "red.global.add.f32 [%rd3], %f1;"
#define WHOLE   "red.global.add.u32 [%rd3], %r4;"
#define LARGEST "red.global.max.s32 [%rd3], %r4;"

/* The sums, from lane 8 on; not the counts, which lie in the same allocation. */
static void
floats_differ(void **state)
{
  static const char *const orders[] = {"ctas=forward", "ctas=reverse", "ctas=random"};
  (void)state;
  for (int i = 0; i < 3; i++) {
    kit_set(orders[i]);
    kit_set("orders=1,seed=2");
    Run alone = run(FLOATS);
    kit_no_findings();
    kit_set("orders=6");
    Run several = run(FLOATS);
    OK(several.result);
    assert_memory_equal(&alone, &several, sizeof alone);
    const char *text = kit_findings();
    int line = 0, end = 0;
    unsigned is, was, elements, some;
    if (sscanf(
            text,
            "ptx:%d: error[order-dependent]: parameter 3 (sums), byte 32, element 8 of 4 "
            "bytes: 0x%x (%*[^)]) under ctas=%*[^,], 0x%x (%*[^)]) under ctas=%*[^;]; %u "
            "elements of it differ, and under %u of 5 other orders some do (k): %n",
            &line, &is, &was, &elements, &some, &end) != 5 ||
        !end || strncmp(text + end, FLOATS, strlen(FLOATS)) != 0)
      fail_msg("%s", text);
    assert_int_equal(strchr(text, '\n') - text + 1, strlen(text)); /* alone */
    assert_true(is != was);
    assert_int_equal(elements, 24);
    assert_in_range(some, 1, 5);
  }
  kit_set("ctas=forward,orders=1,seed=0");
}

static void
numbers_do_not(void **state)
{
  static const char *const ops[] = {WHOLE, LARGEST};
  (void)state;
  for (int i = 0; i < 2; i++) {
    attncEmuStats s = {.size = sizeof s};
    kit_set("orders=1");
    Run alone = run(ops[i]);
    kit_set("orders=20");
    attncEmuResetStats();
    Run several = run(ops[i]);
    kit_no_findings();
    OK(several.result);
    assert_memory_equal(&alone, &several, sizeof alone);
    attncEmuGetStats(&s);
    assert_int_equal(s.launches, 1);
    assert_int_equal(s.ctas, CTAS);
    assert_int_equal(s.findings, 0);
  }
  kit_set("orders=1");
}

/* Every order starts with the same memory: what is written in place, and what never was. */
static void
same_start(void **state)
{
  static const char adds[] = KIT(
      "mov.u32 %r2, %ctaid.x; mad.lo.u32 %r2, %r2, 32, %r1; mul.wide.u32 %rd3, %r2, 4;\n"
      "add.s64 %rd3, %rd1, %rd3; ld.global.u32 %r3, [%rd3]; add.u32 %r3, %r3, 5;\n"
      "st.global.u32 [%rd3], %r3;\n");
  uint32_t all[32 * 100];
  CUmodule m;
  CUdeviceptr p;
  (void)state;
  kit_set("orders=7,threads=3");
  for (uint32_t i = 0; i < 3200; i++)
    all[i] = i;
  OK(kit_run(adds, 100, 32, 0, all, sizeof all));
  kit_no_findings();
  for (uint32_t i = 0; i < 3200; i++)
    assert_int_equal(all[i], i + 5);
  CUfunction f = kit_function(adds, &m);
  attncEmuStats s = {.size = sizeof s};
  OK(cuMemAlloc_v2(&p, sizeof all));
  OK(cuMemsetD8_v2(p, 0, sizeof all - 4)); /* but for one word */
  attncEmuResetStats();
  OK(cuLaunchKernel(f, 100, 1, 1, 32, 1, 1, 0, NULL, (void *[]){&p}, NULL));
  attncEmuGetStats(&s);
  kit_found("error[uninitialised-global]");
  assert_in_range(s.findings, 7, 14); /* in every order */
  OK(cuMemcpyDtoH_v2(all, p, sizeof all));
  assert_int_equal(all[3199], 4); /* 0xffffffff + 5 */
  OK(cuMemFree_v2(p));
  OK(cuModuleUnload(m));
  kit_set("orders=1,threads=0");
}

/* Who comes last: which CTA, of a variable; plain stores are conflicts besides. */
static void
last_one(void **state)
{
  static const char variable[] = KIT_HEAD("7.8", "sm_80") //
      ".visible .global .align 8 .b16 last[64];\n" KIT_ENTRY
      "mov.u32 %r2, %ctaid.x; cvt.u16.u32 %rs1, %r2; mov.u64 %rd3, last;\n"
      "mul.wide.u32 %rd4, %r1, 2; add.s64 %rd3, %rd3, %rd4;\n"
      "st.global.u16 [%rd3+64], %rs1;\nret;\n}\n";
  uint32_t none[1] = {0};
  (void)state;
  kit_set("orders=2,threads=1");
  OK(kit_run(variable, 10, 4, 0, none, sizeof none));
  const char *text = kit_findings();
  assert_non_null(strstr(text, "error[cross-cta-conflict]"));
  if (!strstr(text,
              "error[order-dependent]: variable last, byte 64, element 32 of 2 bytes: "
              "0x0009 under ctas=forward, 0x0000 under ctas=reverse; 4 elements"))
    fail_msg("%s", text);
  kit_set("orders=1,threads=0");
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(floats_differ),
      cmocka_unit_test(numbers_do_not),
      cmocka_unit_test(same_start),
      cmocka_unit_test(last_one),
  };
  kit_start("arch=sm_80");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
