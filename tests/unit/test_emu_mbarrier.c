/* mbarriers: phases, counts, states and parities; and what is told of wrong ones. */
#include "tests/unit/emu_async_kit.h"

static uint32_t
neighbour(uint32_t t) /* of the other warp, what it left in phase 3 */
{
  return (t ^ 32) + 300;
}

/* Each thread leaves its number plus a hundred a phase, and finds the other warp's. */
#define ROUND(n, add, parity)                                                              \
  "add.u32 %r20, %r1, " add "; st.shared.u32 [%r11], %r20;\n" ARRIVE("bar")                \
      TRY("W" n, "bar",                                                                    \
          parity) "xor.b32 %r21, %r11, 128; ld.shared.u32 %r20, [%r21];\n" ARRIVE("bar+8") \
          TRY("E" n, "bar+8", parity)
static void
phases(void **state)
{
  (void)state;
  right(ASYNC(MAKE("bar", "64") MAKE("bar+8", "64") "bar.sync 0;\n" ROUND("0", "0", "0")
                  ROUND("1", "100", "1") ROUND("2", "200", "0") ROUND("3", "300", "1") OUT),
        64, 64, neighbour);
}

static uint32_t
other(uint32_t t)
{
  return t ^ 32;
}

#define LEAVE "st.shared.u32 [%r11], %r1;\n"
#define FIND  "xor.b32 %r21, %r11, 128; ld.shared.u32 %r20, [%r21];\n" OUT
static void
ways_to_arrive(void **state)
{
  (void)state;
  static const char *const ways[] = {
      ASYNC(INIT("128") LEAVE
            "mbarrier.arrive.shared.b64 %rd9, [bar], 2;\n"
            "W: mbarrier.test_wait.shared.b64 %p9, [bar], %rd9;\n@!%p9 bra W;\n" FIND),
      ASYNC(INIT("192") LEAVE
            "mbarrier.arrive.noComplete.shared.b64 %rd8, [bar], 2;\n" ARRIVE(
                "bar") "W: mbarrier.try_wait.shared::cta.b64 %p9, [bar], %rd9, 20;\n@!%p9 "
                       "bra W;\n" FIND),
      ASYNC(INIT("2") LEAVE "bar.warp.sync 0xffffffff;\n@%p4 " ARRIVE("bar")
                TRY("W", "bar", "0") FIND),
      ASYNC(INIT("64") LEAVE
            "mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 %rd9, [bar], 8;\n"
            "mbarrier.complete_tx.shared::cta.b64 [bar], 8;\n" TRY("W", "bar", "0") FIND),
      ASYNC(INIT("64") LEAVE
            "mbarrier.expect_tx.relaxed.cta.shared.b64 [bar], 32;\n"
            "mbarrier.complete_tx.relaxed.cta.shared.b64 [bar], 32;\n" ARRIVE(
                "bar") "W: mbarrier.test_wait.parity.acquire.cta.shared.b64 %p9, [bar], "
                       "0;\n@!%p9 bra W;\n" FIND),
      /* half of a warp waits for the other half, which is at another place */
      ASYNC(INIT("64") LEAVE "setp.lt.u32 %p5, %r3, 16;\n@%p5 bra HALF;\n" ARRIVE(
          "bar") "bra ALL;\n"
                 "HALF: " ARRIVE("bar") TRY("W0", "bar", "0") "ALL: " TRY("W1", "bar", "0")
                     FIND),
      ASYNC(INIT("64") LEAVE "setp.lt.u32 %p5, %r3, 16;\n@%p5 bra HALF;\n" TRY(
          "W0", "bar", "0") "bra ALL;\nHALF: mbarrier.arrive.shared.b64 %rd9, [bar], "
                            "2;\n" TRY("W1", "bar", "0") "ALL: " FIND),
      /* who waits first yields to who has much to do */
      ASYNC(INIT("32") "@%p3 bra LATE;\n" TRY(
          "W0", "bar",
          "0") "bra ALL;\n"
               "LATE: mov.u32 %r22, 0;\nMORE: add.u32 %r22, %r22, 1; setp.lt.u32 %p5, "
               "%r22, 9999;\n"
               "@%p5 bra MORE;\n" LEAVE ARRIVE("bar") "ALL: @%p2 xor.b32 %r11, %r11, 128;\n"
                                                      "@%p2 ld.shared.u32 %r20, [%r11]; "
                                                      "@%p3 xor.b32 %r20, %r1, 32;\n" OUT),
  };
  for (size_t k = 0; k < sizeof ways / sizeof *ways; k++)
    right(ways[k], 64, 64, other);
}

/* An mbarrier that is no more is memory as any other, and may become one again. */
static void
invalidated(void **state)
{
  (void)state;
  right(ASYNC(INIT("64") ARRIVE("bar") TRY(
            "W0", "bar",
            "0") "bar.sync 0;\n@%p1 mbarrier.inval.shared.b64 [bar];\n@%p1 st.shared.u32 "
                 "[bar+4], 7;\n"
                 "@%p1 mbarrier.init.shared.b64 [bar], 64;\nbar.sync 0;\n" LEAVE ARRIVE(
                     "bar") TRY("W1", "bar", "0") FIND),
        64, 64, other);
}

/* ---- cp.async that arrive ---- */

#define COPY        "cp.async.ca.shared.global [%r11], [%rd2], 4;\n"
#define LATER       "cp.async.ca.shared.global [%r11+1024], [%rd2], 4;\n"
#define LANDED(bar) "cp.async.mbarrier.arrive.noinc.shared.b64 [" bar "];\n"

static const char one_copy[] =
    ASYNC(INIT("64") COPY LANDED("bar") TRY("W", "bar", "0") FIND);
/* two stages: the first is read while the second is on its way */
static const char two_stages[] = ASYNC(
    MAKE("bar", "64") MAKE("bar+8",
                           "64") "bar.sync 0;\n" COPY LANDED("bar") LATER LANDED("bar+8")
        TRY("W", "bar", "0") "xor.b32 %r21, %r11, 128; ld.shared.u32 %r20, [%r21];\n" TRY(
            "V", "bar+8", "0") "ld.shared.u32 %r22, [%r21+1024];\n"
                               "sub.u32 %r22, %r20, %r22; add.u32 %r20, %r20, %r22;\n" OUT);

static void
copies(void **state)
{
  (void)state;
  static const char *const ways[] = {
      one_copy,
      two_stages,
      ASYNC(INIT("64") COPY "cp.async.mbarrier.arrive.shared.b64 [bar];\n" ARRIVE("bar")
                TRY("W", "bar", "0") FIND),
      /* the same, at a generic address */
      ASYNC(INIT("64") COPY
            "mov.u64 %rd8, bar; cvta.shared.u64 %rd8, %rd8;\n"
            "cp.async.mbarrier.arrive.noinc.b64 [%rd8];\n" TRY("W", "bar", "0") FIND),
      /* warp 1 alone copies, both read */
      ASYNC(INIT("32") "@%p2 bra READ;\n" COPY LANDED("bar") "READ:\n" TRY(
          "W", "bar",
          "0") "@%p2 ld.shared.u32 %r20, [%r11+128];\n@%p3 xor.b32 %r20, %r1, 32;\n" OUT),
  };
  for (size_t k = 0; k < sizeof ways / sizeof *ways; k++)
    right(ways[k], 64, 64, other);
}

static void
wrong_copies(void **state)
{
  (void)state;
  static const Fault cases[] = {
      {one_copy, TRY("W", "bar", "0"), "", CUDA_SUCCESS,
       "ptx:{ld.shared.u32 %r20, [%r21]}: error[async-read-before-wait]"},
      {one_copy, LANDED("bar"), ARRIVE("bar"), CUDA_SUCCESS,
       "ptx:{ld.shared.u32 %r20, [%r21]}: error[async-read-before-wait]"},
      {one_copy, "[bar], 64", "[bar], 65", CUDA_ERROR_LAUNCH_TIMEOUT,
       "warp 1 waits at line {W: mbarrier} for the mbarrier at byte 4096, phase 0, 1 of 65 "
       "arrivals and 0 bytes are pending"},
      /* other writes of the thread are not told by its copies */
      {one_copy, COPY, LEAVE, CUDA_SUCCESS,
       "ptx:{ld.shared.u32 %r20, [%r21]}: error[race]"},
      /* one stage's mbarrier tells nothing of the other's copies */
      {two_stages, TRY("V", "bar+8", "0"), "", CUDA_SUCCESS,
       "ptx:{ld.shared.u32 %r22}: error[async-read-before-wait]"},
      {two_stages, TRY("V", "bar+8", "0"), TRY("V", "bar", "0"), CUDA_SUCCESS,
       "ptx:{ld.shared.u32 %r22}: error[async-read-before-wait]"},
  };
  FAULTS(cases, 64);
}

/* ---- what is told ---- */

static const char exchange[] =
    ASYNC(INIT("64") LEAVE ARRIVE("bar") TRY("W", "bar", "0") FIND);
static const char announced[] =
    ASYNC(INIT("64") LEAVE
          "mbarrier.arrive.expect_tx.shared.b64 %rd9, [bar], 16;\n"
          "mbarrier.complete_tx.shared.b64 [bar], 16;\n" TRY("W", "bar", "0") FIND);
/* 64 of them, which is as many as there may be */
static const char many[] =
    ASYNC("mov.u32 %r20, 0;\nNEXT: shl.b32 %r21, %r20, 3; add.u32 %r21, %r21, %r10;\n"
          "@%p1 mbarrier.init.shared.b64 [%r21], 1;\nadd.u32 %r20, %r20, 1;\n"
          "setp.lt.u32 %p5, %r20, 64; @%p5 bra NEXT;\n");
/* Each lane of warp 1 arrives once, of warp 0 twice in one. */
static const char uneven[] =
    ASYNC(INIT("96") LEAVE
          "mov.u32 %r22, 2; @%p3 mov.u32 %r22, 1;\n"
          "mbarrier.arrive.shared.b64 %rd9, [bar], %r22;\n" TRY("W", "bar", "0") FIND);

static void
misused(void **state)
{
  (void)state;
#define AT   "ptx:{mbarrier.arrive}: error[mbarrier-misuse]: "
#define MADE "ptx:{@%p1 mbarrier.init}: error[mbarrier-misuse]: "
  static const Fault cases[] = {
      {exchange, MAKE("bar", "64"), "", CUDA_ERROR_LAUNCH_FAILED,
       AT "there is no mbarrier: none was initialised, at byte 4096"},
      {exchange, "%rd9, [bar]", "%rd9, [bar+8]", CUDA_ERROR_LAUNCH_FAILED,
       AT "there is no mbarrier"},
      {exchange, "%rd9, [bar]", "%rd9, [bar+4]", CUDA_ERROR_ILLEGAL_ADDRESS,
       AT "no mbarrier can be at 0x1404"},
      {exchange, "%rd9, [bar]", "%rd9, [bar+4096]", CUDA_ERROR_ILLEGAL_ADDRESS,
       "ptx:{mbarrier.arrive}: error[out-of-bounds]"},
      {exchange, "[bar], 64", "[bar], 0", CUDA_ERROR_LAUNCH_FAILED,
       MADE "an mbarrier for an impossible number of arrivals"},
      {exchange, "[bar], 64", "[bar], 1048576", CUDA_ERROR_LAUNCH_FAILED,
       MADE "an mbarrier for an impossible number of arrivals"},
      {exchange, "[bar], 0;", "[bar], 2;", CUDA_ERROR_LAUNCH_FAILED,
       "ptx:{W: mbarrier}: error[mbarrier-misuse]: a parity that is not 0 or 1"},
      {exchange, "%rd9, [bar]", "%rd9, [bar], 0", CUDA_ERROR_LAUNCH_FAILED,
       AT "an arrival of nobody"},
      {exchange, ARRIVE("bar"), "mbarrier.arrive.noComplete.shared.b64 %rd9, [bar], 1;\n",
       CUDA_ERROR_LAUNCH_FAILED, AT "an arrival with .noComplete completes the phase"},
      {exchange, MAKE("bar", "64"), MAKE("bar", "64") MAKE("bar", "64"), CUDA_SUCCESS,
       "error[mbarrier-reinit]: the mbarrier at byte 4096, of line {@%p1 mbarrier.init}, "
       "is "
       "initialised again"},
      {announced, "%rd9, [bar], 16", "%rd9, [bar], 1048576", CUDA_ERROR_LAUNCH_FAILED,
       AT "more bytes than an mbarrier counts"},
      {announced, "%rd9, [bar], 16", "%rd9, [bar], 32767", CUDA_ERROR_LAUNCH_FAILED,
       AT "more bytes than an mbarrier counts"},
      {uneven, "[bar], 96", "[bar], 97", CUDA_ERROR_LAUNCH_TIMEOUT,
       "phase 0, 1 of 97 arrivals and 0 bytes are pending"},
      {many, "%r20, 64", "%r20, 65", CUDA_ERROR_LAUNCH_FAILED,
       MADE "more mbarriers than the emulator keeps"},
  };
  FAULTS(cases, 64);
}

/* Arrivals that nobody is due. */
static void
overrun(void **state)
{
  (void)state;
  static const char by_three[] = ASYNC(
      INIT("192") "mbarrier.arrive.shared.b64 %rd9, [bar], 3;\n" TRY("W", "bar", "0"));
  static const Fault cases[] = {
      {announced, "[bar], 64", "[bar], 63", CUDA_ERROR_LAUNCH_FAILED,
       "ptx:{mbarrier.arrive}: error[mbarrier-overrun]: 1 arrivals, 0 of 63 are pending in "
       "phase 0"},
      {by_three, "[bar], 192", "[bar], 70", CUDA_ERROR_LAUNCH_FAILED,
       "ptx:{mbarrier.arrive}: error[mbarrier-overrun]: 3 arrivals, 1 of 70 are pending in "
       "phase 0"},
  };
  FAULTS(cases, 64);
}

/* Order that is missing, whatever the values were. */
static void
unordered(void **state)
{
  (void)state;
#define SPIN                                                                               \
  "mov.u32 %r20, 0;\nSPIN: add.u32 %r20, %r20, 1; setp.lt.u32 %p5, %r20, 999; "            \
  "@%p5 bra SPIN;\n"
  static const char late[] = ASYNC(MAKE("bar", "64") "bar.sync 0;\n" SPIN ARRIVE("bar"));
  static const char twice[] =
      ASYNC(LEAVE INIT("64") LEAVE ARRIVE("bar") TRY("W", "bar", "0") FIND);
  static const char place[] = ASYNC("@%p3 st.shared.u32 [bar], 1;\nbar.sync 0;\n"
                                    "@%p1 mbarrier.init.shared.b64 [bar], 64;\n");
  static const Fault cases[] = {
      {late, "bar.sync 0;\n", "@%p3 bar.sync 1, 32;\n", CUDA_SUCCESS,
       "ptx:{mbarrier.arrive}: error[mbarrier-race]: nothing orders the mbarrier.init of "
       "line "
       "{@%p1 mbarrier.init} (warp 0) before this"},
      /* no wait */
      {exchange, TRY("W", "bar", "0"), "", CUDA_SUCCESS, "ptx:{ld.shared}: error[race]"},
      /* written behind the arrival */
      {exchange, LEAVE ARRIVE("bar"), ARRIVE("bar") LEAVE, CUDA_SUCCESS, "error[race]"},
      /* a phase too early: its parity is that of the phase before the first */
      {exchange, "64;\n" FENCED LEAVE ARRIVE("bar") TRY("W", "bar", "0"),
       "65;\n" FENCED LEAVE ARRIVE("bar") TRY("W", "bar", "1"), CUDA_SUCCESS,
       "ptx:{ld.shared}: error[race]"},
      /* one warp's arrival is missing: it tells nothing of what that one wrote */
      {twice, "64;\n" FENCED LEAVE, "32;\n" FENCED LEAVE "@%p3 ", CUDA_SUCCESS,
       "error[race]"},
      /* data, then an mbarrier at the same place, without order between */
      {place, "bar.sync 0;\n", "", CUDA_SUCCESS, "error[race]"},
  };
  FAULTS(cases, 64);
}

/* A warp that saw phase 0 sleeps through more. */
static void
lapped(void **state)
{
  (void)state;
  static const char one[] = ASYNC(INIT("32") "@%p2 " ARRIVE("bar") "@%p2 bra ON;\n" TRY(
      "W", "bar",
      "0") "ON: bar.sync 0;\n@%p3 bra BEHIND;\n" ARRIVE("bar") "BEHIND: bar.sync 0;\n"
                                                               "@%p2 bra END;\n" TRY(
                                                                   "V", "bar",
                                                                   "1") "END: ");
#define LAP ARRIVE("bar") "BEHIND"
  static const Fault cases[] = {
      {one, LAP, ARRIVE("bar") ARRIVE("bar") LAP, CUDA_SUCCESS,
       "ptx:{V: mbarrier}: error[mbarrier-lapped]: the warp last saw phase 0 of the "
       "mbarrier "
       "at byte 4096 complete; it is in phase 4 by now"},
      {one, LAP, ARRIVE("bar") LAP, CUDA_ERROR_LAUNCH_TIMEOUT,
       "warp 1 waits at line {V: mbarrier} for the mbarrier at byte 4096, phase 3"},
  };
  FAULTS(cases, 64);
}

static void
objects(void **state)
{
  (void)state;
#define HERE(text) "ptx:{" text "}: error[mbarrier-object]: "
#define LIVES(at)                                                                          \
  " shared memory at byte " at ", where the mbarrier of line {@%p1 mbarrier.init} "
  /* A neighbour is data as any other; HOLE is where the faults go. */
  static const char one[] =
      ASYNC(INIT("64") "@%p1 st.shared.u64 [bar+8], 0;\n@%p1 fence.proxy.async;\nHOLE:\n");
  static const char second[] = ASYNC(MAKE("bar+8", "64") FENCED "HOLE:\n");
  static const char bulk[] = ASYNC(MAKE("bar", "1") FENCED EXPECT(
      "bar", "16") "@%p1 cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes "
                   "[bar+32], [%rd1], 16, "
                   "[bar];\n" TRY("W", "bar", "0"));
  static const Fault cases[] = {
      {one, "HOLE:", "ld.shared.u32 %r20, [bar+4];", CUDA_SUCCESS,
       HERE("ld.shared") "reads" LIVES("4096")},
      {one, "HOLE:", "@%p1 st.shared.u8 [bar+7], 1;", CUDA_SUCCESS,
       HERE("st.shared.u8") "writes" LIVES("4096")},
      {one, "HOLE:", "atom.shared.add.u32 %r20, [bar], 1;", CUDA_SUCCESS,
       HERE("atom.shared") "updates" LIVES("4096")},
      {one, "HOLE:", "@%p1 st.shared.v4.u32 [bar], {%r1, %r1, %r1, %r1};", CUDA_SUCCESS,
       HERE("st.shared.v4") "writes" LIVES("4096")},
      {second, "HOLE:", "@%p1 st.shared.v4.u32 [bar], {%r1, %r1, %r1, %r1};", CUDA_SUCCESS,
       HERE("st.shared.v4") "writes" LIVES("4104")},
      {one, "HOLE:", "@%p1 cp.async.ca.shared.global [bar], [%rd2], 8;", CUDA_SUCCESS,
       HERE("cp.async.ca") "copies into" LIVES("4096")},
      {bulk, "[bar+32]", "[bar]", CUDA_SUCCESS,
       HERE("cp.async.bulk") "copies into" LIVES("4096")},
      {one, "HOLE:",
       "@%p1 cp.async.bulk.global.shared::cta.bulk_group [%rd1], [bar], 16;\n"
       "@%p1 cp.async.bulk.commit_group;\n@%p1 cp.async.bulk.wait_group 0;",
       CUDA_SUCCESS, HERE("cp.async.bulk.global") "reads" LIVES("4096")},
  };
  FAULTS(cases, 64);
}

/* Every warp's line, and what it waits for. */
static void
deadlock(void **state)
{
  (void)state;
  static const char split[] =
      ASYNC(INIT("64") ARRIVE("bar") "@%p3 bra OTHER;\nbar.sync 1, 32;\n"
                                     "OTHER: " TRY("W", "bar", "0"));
  static const Fault cases[] = {
      {split, "bar.sync 1, 32", "bar.sync 1, 64", CUDA_ERROR_LAUNCH_TIMEOUT,
       "ptx:{bar.sync 1}: error[deadlock]: no warp can go on; warp 0 waits at line "
       "{bar.sync 1} for barrier 1, 32 of 64"},
      {split, "64;\n" FENCED, "65;\n" FENCED, CUDA_ERROR_LAUNCH_TIMEOUT,
       "error[deadlock]: no warp can go on; warp 0 waits at line {W: mbarrier} for the "
       "mbarrier at byte 4096, phase 0, 1 of 65 arrivals and 0 bytes are pending; warp 1 "
       "waits "
       "at "
       "line {W: mbarrier} for the mbarrier at byte 4096, phase 0, 1 of 65 arrivals and 0 "
       "bytes "
       "are pending"},
      {exchange, LEAVE, "@%p2 ret;\n", CUDA_ERROR_LAUNCH_TIMEOUT,
       "; warp 0 has exited; warp 1 waits at line {W: mbarrier} for the mbarrier at byte "
       "4096, "
       "phase 0, 32 of 64 arrivals and 0 bytes are pending"},
      {announced, "mbarrier.complete_tx.shared.b64 [bar], 16;\n", "",
       CUDA_ERROR_LAUNCH_TIMEOUT, "phase 0, 0 of 64 arrivals and 1024 bytes are pending"},
      {announced, "complete_tx.shared.b64 [bar], 16", "complete_tx.shared.b64 [bar], 12",
       CUDA_ERROR_LAUNCH_TIMEOUT, "phase 0, 0 of 64 arrivals and 256 bytes are pending"},
  };
  FAULTS(cases, 64);
}

/* ---- what is not PTX ---- */

static void
refused(void **state)
{
  (void)state;
  static const struct {
    const char *text, *part;
  } cases[] = {
      {KIT("mbarrier.try_wait.parity.shared.b64 %p1, [%r1], 0;\n"), "needs .target sm_90"},
      {ASYNC("mbarrier.arrive.shared.b32 %rd9, [bar];\n"), "b32"},
      {ASYNC("mbarrier.arrive.noComplete.shared.b64 %rd9, [bar];\n"), "too few operands"},
      {ASYNC("mbarrier.init.shared.b64 [bar];\n"), "too few operands"},
      {ASYNC("mbarrier.init.global.b64 [bar], 1;\n"), "global"},
      {ASYNC("cp.async.mbarrier.arrive.noinc.shared.b64 [p];\n"), "in another state space"},
      {ASYNC("cp.async.mbarrier.arrive.noinc.b64 [bar];\n"),
       "needs the state space of bar"},
      {ASYNC("mbarrier.arrive.shared::cluster.b64 %rd9, [bar];\n"), "expected '_'"},
  };
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    CUmodule m;
    char log[1000];
    assert_int_equal(kit_load(cases[k].text, &m, log, sizeof log), CUDA_ERROR_INVALID_PTX);
    if (!strstr(log, cases[k].part))
      fail_msg("no '%s' in %s", cases[k].part, log);
  }
}

int
main(void)
{
  kit_start("arch=sm_90");
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(phases),       cmocka_unit_test(ways_to_arrive),
      cmocka_unit_test(invalidated),  cmocka_unit_test(copies),
      cmocka_unit_test(wrong_copies), cmocka_unit_test(misused),
      cmocka_unit_test(overrun),      cmocka_unit_test(unordered),
      cmocka_unit_test(lapped),       cmocka_unit_test(objects),
      cmocka_unit_test(deadlock),     cmocka_unit_test(refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
