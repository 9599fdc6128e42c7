/* Orders of CTAs: which start first, who may wait for whom, and that all of it comes again
 * from the seed, whatever the number of host threads. */
#include "tests/unit/emu_kit.h"

enum { MOST = 2048 };
static uint32_t out[MOST];
static const char *const orders[] = {"ctas=forward", "ctas=reverse", "ctas=random"};

/* %r2 = CTA, %r3 = CTAs. */
#define CTA "mov.u32 %r2, %ctaid.x; mov.u32 %r3, %nctaid.x;\n"
/* [%rd1] counts tickets, ticket %r4's place is %rd3. */
#define TICKET                                                                             \
  "atom.global.add.u32 %r4, [%rd1], 1; mul.wide.u32 %rd3, %r4, 4;\n"                       \
  "add.s64 %rd3, %rd1, %rd3;\n"

static CUresult
run(const char *ptx, unsigned ctas)
{
  memset(out, 0, sizeof out);
  return kit_run(ptx, ctas, 32, 0, out, sizeof out);
}

/* ---- the order ---- */

static void
each_once(void **state)
{
  static const uint64_t sizes[] = {1, 2, 3, 5, 16, 17, 100, 1000, 1024, 1025};
  static uint8_t seen[1100];
  (void)state;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    for (int order = CTAS_FORWARD; order <= CTAS_RANDOM; order++)
      for (uint64_t seed = 0; seed < 5; seed++) {
        Launch l = {
            .clusters = sizes[i], .ctas_order = (CtaOrder)order, .order_seed = seed};
        memset(seen, 0, sizeof seen);
        for (uint64_t p = 0; p < sizes[i]; p++) {
          uint64_t cluster = order_cluster(&l, p);
          assert_true(cluster < sizes[i] && !seen[cluster]);
          seen[cluster] = 1;
        }
      }
}

/* A grid of more CTAs than anybody can list. */
static void
large(void **state)
{
  Launch l = {.clusters = (uint64_t)INT32_MAX * 65535 * 65535, .ctas_order = CTAS_RANDOM};
  uint64_t above = 0;
  (void)state;
  for (uint64_t p = 0; p < 1000; p++) {
    assert_true(order_cluster(&l, p) < l.clusters);
    above += order_cluster(&l, p) >= l.clusters / 2;
  }
  assert_in_range(above, 400, 600);
}

static const char tickets[] = KIT(CTA "setp.ne.u32 %p1, %r1, 0; @%p1 bra DONE;\n" TICKET
                                      "st.global.u32 [%rd3+4], %r2;\nDONE:\n");

static void
first_come(void **state)
{
  static uint32_t last[MOST];
  (void)state;
  for (int i = 0; i < 3; i++) {
    kit_set(orders[i]);
    for (int threads = 1; threads <= 5; threads += 2) {
      char set[40];
      snprintf(set, sizeof set, "threads=%d,seed=3", threads);
      kit_set(set);
      OK(run(tickets, 50));
      kit_no_findings();
      for (uint32_t t = 0; t < 50 && i < 2; t++)
        assert_int_equal(out[1 + t], i ? 49 - t : t);
      if (threads > 1)
        assert_memory_equal(out, last, sizeof out);
      memcpy(last, out, sizeof out);
    }
  }
  kit_set("seed=4");
  OK(run(tickets, 50));
  assert_memory_not_equal(out, last, sizeof out);
  kit_set("ctas=forward,threads=0,seed=0");
}

/* CTAs that stay until there are no more tickets: each draws some. */
static void
all_draw(void **state)
{
  static const char draws[] =
      KIT(CTA "setp.ne.u32 %p1, %r1, 0; @%p1 bra DONE;\nNEXT:\n" TICKET
              "setp.ge.u32 %p1, %r4, 200; @%p1 bra DONE;\n"
              "st.global.u32 [%rd3+4], %r2; bra NEXT;\nDONE:\n");
  (void)state;
  for (int i = 0; i < 3; i++) {
    int drawn[4] = {0};
    kit_set(orders[i]);
    OK(run(draws, 4));
    kit_no_findings();
    for (int t = 0; t < 200; t++)
      drawn[out[1 + t] & 3]++;
    for (int k = 0; k < 4; k++)
      assert_in_range(drawn[k], 20, 120);
  }
  kit_set("ctas=forward");
}

/* ---- who waits for whom ---- */

/* Each CTA waits for the one above, or below, and adds one to what it has written. */
#define CHAIN(next, end)                                                                   \
  KIT(CTA "setp.ne.u32 %p1, %r1, 0; @%p1 bra DONE; mul.wide.u32 %rd3, %r2, 4;\n"           \
          "add.s64 %rd3, %rd1, %rd3; mov.u32 %r5, 0; sub.u32 %r6, %r3, 1;\n"               \
          "setp.eq.u32 %p2, %r2, " end "; @%p2 bra GO;\n"                                  \
          "WAIT: ld.acquire.gpu.global.u32 %r5, [%rd3+" next "];\n"                        \
          "setp.eq.u32 %p3, %r5, 0; @%p3 bra WAIT;\n"                                      \
          "GO: add.u32 %r5, %r5, 1; st.release.gpu.global.u32 [%rd3], %r5;\nDONE:\n")
static const char upwards[] = CHAIN("4", "%r6"), downwards[] = CHAIN("-4", "0");

static void
chains(void **state)
{
  static const char *const warps[] = {"sched=block", "sched=rr", "sched=random"};
  (void)state;
  for (int i = 0; i < 3; i++)
    for (int k = 0; k < 3; k++)
      for (uint32_t n = 1; n < 200; n = n * 3 + 1) {
        kit_set(orders[i]);
        kit_set(warps[k]);
        OK(run(upwards, n));
        for (uint32_t j = 0; j < n; j++)
          assert_int_equal(out[j], n - j);
        OK(run(downwards, n));
        for (uint32_t j = 0; j < n; j++)
          assert_int_equal(out[j], j + 1);
        kit_no_findings();
      }
  kit_set("ctas=forward,sched=block");
}

/* All arrive, then all look: a barrier of the grid, three times. */
static const char barrier[] =
    KIT(CTA "setp.ne.u32 %p1, %r1, 0; mov.u32 %r10, 0; mov.u32 %r11, 0;\n"
            "AGAIN: add.u32 %r10, %r10, %r3; add.u32 %r11, %r11, 1;\n"
            "@%p1 bra SYNC; atom.acq_rel.gpu.global.add.u32 %r4, [%rd1], 1;\n"
            "WAIT: ld.acquire.gpu.global.u32 %r5, [%rd1];\n"
            "setp.lt.u32 %p2, %r5, %r10; @%p2 bra WAIT;\n"
            "SYNC: bar.sync 0; setp.lt.u32 %p2, %r11, 3; @%p2 bra AGAIN;\n");

static void
grid_barrier(void **state)
{
  (void)state;
  for (int i = 0; i < 3; i++)
    for (uint32_t n = 1; n <= 100; n += 33) {
      kit_set(orders[i]);
      OK(run(barrier, n));
      kit_no_findings();
      assert_int_equal(out[0], 3 * n);
    }
  kit_set("ctas=forward");
}

/* ---- faults ---- */

/* CTAs 5 and 9 of 12 leave the buffer, others take long. */
#define FAULTY(work)                                                                       \
  KIT(CTA "setp.eq.u32 %p1, %r2, 5; setp.eq.u32 %p2, %r2, 9;\n"                            \
          "@%p1 st.global.u32 [%rd2+80000], %r1; @%p2 st.global.u32 [%rd2+80000], %r1;\n"  \
          "mov.u32 %r4, 0; LOOP: add.u32 %r4, %r4, 1; setp.lt.u32 %p3, %r4, " work ";\n"   \
          "@%p3 bra LOOP;\n")

static void
first_fault(void **state)
{
  (void)state;
  for (int i = 0; i < 2; i++)
    for (int repeat = 0; repeat < 50; repeat++) {
      char set[40];
      snprintf(set, sizeof set, "threads=%d", 1 + repeat % 8);
      kit_set(orders[i]);
      kit_set(set);
      assert_int_equal(run(FAULTY("100"), 12), CUDA_ERROR_ILLEGAL_ADDRESS);
      const char *text = kit_findings();
      assert_non_null(strstr(text, i ? "cta 9,0,0" : "cta 5,0,0"));
      assert_int_equal(strchr(text, '\n') - text + 1, strlen(text)); /* one */
    }
  kit_set("ctas=forward,threads=0");
}

/* What comes behind a fault ends at once. */
static void
ends_at_fault(void **state)
{
  attncEmuStats s = {.size = sizeof s};
  (void)state;
  for (int resident = 1; resident <= 12; resident += 11) {
    char set[60];
    snprintf(set, sizeof set, "ctas=reverse,threads=2,resident=%d", resident);
    kit_set(set);
    attncEmuResetStats();
    assert_int_equal(run(FAULTY("30000000"), 10), CUDA_ERROR_ILLEGAL_ADDRESS);
    kit_found("cta 9,0,0");
    attncEmuGetStats(&s);
    assert_in_range(s.warp_instructions, 1, 1000000);
  }
  kit_set("ctas=forward,threads=0,resident=1");
}

/* Every CTA does wrong: the first one is told of, whoever met it first. */
static void
first_finding(void **state)
{
  static const char wrong[] =
      ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p) {\n"
      ".reg .b32 %r<9>; .reg .b64 %rd<9>; .shared .u32 s[32];\nld.param.u64 %rd1, [p];\n"
      "mov.u32 %r1, %ctaid.x; mul.wide.u32 %rd2, %r1, 4; add.s64 %rd1, %rd1, %rd2;\n"
      "ld.shared.u32 %r2, [s];\nst.global.u32 [%rd1], %r2;\nret;\n}\n";
  (void)state;
  for (int i = 0; i < 2; i++)
    for (int repeat = 0; repeat < 30; repeat++) {
      kit_set(orders[i]);
      kit_set(repeat ? "threads=6" : "threads=1");
      OK(run(wrong, 40));
      const char *text = kit_findings();
      assert_non_null(strstr(text, "error[uninitialised-shared]"));
      assert_non_null(strstr(text, i ? "cta 39" : "cta 0"));
      assert_int_equal(strchr(text, '\n') - text + 1, strlen(text));
    }
  kit_set("ctas=forward,threads=0");
}

/* A copy that nobody waits for: what is read is chance, and comes again from the seed. */
static void
chance_comes_again(void **state)
{
  static const char copies[] =
      ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p) {\n"
      ".reg .b32 %r<9>; .reg .b64 %rd<9>; .shared .align 16 .u32 s[4];\n"
      "ld.param.u64 %rd1, [p]; mov.u32 %r1, %ctaid.x; mul.wide.u32 %rd2, %r1, 16;\n"
      "add.s64 %rd1, %rd1, %rd2; cp.async.ca.shared.global [s], [%rd1], 16;\n"
      "ld.shared.u32 %r2, [s]; st.global.u32 [%rd1+4], %r2; ret;\n}\n";
  static uint32_t first[MOST];
  (void)state;
  kit_set("async=random,seed=11,checks=none");
  for (int threads = 1; threads <= 6; threads++) {
    char set[40];
    snprintf(set, sizeof set, "threads=%d", threads);
    kit_set(set);
    OK(run(copies, 400));
    if (threads == 1)
      memcpy(first, out, sizeof out);
    assert_memory_equal(out, first, sizeof out);
  }
  kit_set("seed=12");
  OK(run(copies, 400));
  assert_memory_not_equal(out, first, sizeof out);
  kit_set("async=lazy,seed=0,checks=all,threads=0");
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_once),     cmocka_unit_test(large),
      cmocka_unit_test(first_come),    cmocka_unit_test(all_draw),
      cmocka_unit_test(chains),        cmocka_unit_test(grid_barrier),
      cmocka_unit_test(first_fault),   cmocka_unit_test(ends_at_fault),
      cmocka_unit_test(first_finding), cmocka_unit_test(chance_comes_again),
  };
  kit_start("arch=sm_90");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
