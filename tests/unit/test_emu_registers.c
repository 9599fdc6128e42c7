/* setmaxnreg: the pool of a CTA, who waits for it, and what is told of wrong uses. */
#include "tests/unit/emu_kit.h"

#define HEAD(directives)                                                                   \
  KIT_HEAD("8.0", "sm_90a")                                                                \
  ".visible .entry k(.param .u64 p) " directives " {\n"                                    \
  ".reg .pred %p<4>; .reg .b32 %r<9>; .reg .b64 %rd<4>;\n"                                 \
  "ld.param.u64 %rd1, [p]; cvta.to.global.u64 %rd1, %rd1; mov.u32 %r1, %tid.x;\n"          \
  "mul.wide.u32 %rd2, %r1, 4; add.s64 %rd2, %rd1, %rd2; shr.u32 %r2, %r1, 7;\n"            \
  "setp.eq.u32 %p1, %r2, 0; setp.eq.u32 %p2, %r2, 1;\n"
/* Warpgroup 0 does one thing, the others another. */
#define ROLES(directives, first, others)                                                   \
  HEAD(directives)                                                                         \
  "@%p1 bra A;\n" others " mov.u32 %r3, 2; bra OUT;\n"                                     \
  "A: " first " mov.u32 %r3, 1;\nOUT: st.global.u32 [%rd2], %r3; ret;\n}\n"
#define DEC(n) "setmaxnreg.dec.sync.aligned.u32 " #n ";\n"
#define INC(n) "setmaxnreg.inc.sync.aligned.u32 " #n ";\n"

enum { MOST = 512 };
static uint32_t out[MOST];

typedef struct Case {
  const char *ptx;
  unsigned threads;
  CUresult result;
  const char *found[2];
} Case;

/* 384 threads have 168 registers each: 128 × 24 + 256 × 240 is all of it. */
static const Case cases[] = {
    {ROLES(".reqntid 384", DEC(24), INC(240)), 384, CUDA_SUCCESS, {0}},
    {ROLES(".reqntid 384", INC(240), DEC(128)), 384, CUDA_SUCCESS, {0}},
    {ROLES(".reqntid 512 .minnctapersm 1", DEC(32), INC(160)), 512, CUDA_SUCCESS, {0}},
    {ROLES(".maxntid 256", DEC(56), INC(256)), 256, CUDA_SUCCESS, {0}},
    {ROLES(".maxnreg 64", DEC(24), INC(104)), 256, CUDA_SUCCESS, {0}},
    {ROLES(".reqntid 256 .minnctapersm 2", DEC(40), INC(216)), 256, CUDA_SUCCESS, {0}},
    {ROLES(".reqntid 384", DEC(24), INC(248)),
     384,
     CUDA_ERROR_LAUNCH_TIMEOUT,
     {"error[deadlock]", "more registers, the pool of the CTA has"}},
    {ROLES(".reqntid 384", DEC(32), INC(240)),
     384,
     CUDA_ERROR_LAUNCH_TIMEOUT,
     {"deadlock"}},
    {ROLES(".reqntid 384", DEC(176), INC(240)),
     384,
     CUDA_ERROR_LAUNCH_FAILED,
     {"error[setmaxnreg-misuse]", "has 168 registers a thread"}},
    {ROLES(".reqntid 384", DEC(24), INC(160)),
     384,
     CUDA_ERROR_LAUNCH_FAILED,
     {"error[setmaxnreg-misuse]", "cannot make 160"}},
    {ROLES("", DEC(24), INC(240)), 384, CUDA_SUCCESS, {"error[setmaxnreg-ignored]"}},
    /* warps 0 and 1 of a warpgroup one, 2 and 3 the other */
    {HEAD(".reqntid 128") "and.b32 %r3, %r1, 64; setp.eq.u32 %p3, %r3, 0;\n"
                          "@%p3 bra B; " DEC(48) "bra OUT; B: " DEC(40) "OUT: ret; }",
     128,
     CUDA_ERROR_LAUNCH_FAILED,
     {"error[setmaxnreg-misuse]", "other warps of the warpgroup execute the one of line"}},
    {HEAD(".reqntid 128") "and.b32 %r3, %r1, 64; setp.eq.u32 %p3, %r3, 0;\n"
                          "@%p3 bra OUT;" DEC(48) "OUT: ret; }",
     128,
     CUDA_SUCCESS,
     {"error[setmaxnreg-misuse]", "have ended without executing it"}},
    {HEAD(".reqntid 128") "mov.u32 %r3, 0;\nL: " DEC(
         48) "add.u32 %r3, %r3, 1; setp.lt.u32 %p3, %r3, 2; @%p3 bra L; ret; }",
     128,
     CUDA_ERROR_LAUNCH_FAILED,
     {"error[setmaxnreg-misuse]", "again before its warpgroup is through"}},
    {HEAD(".reqntid 128") "and.b32 %r3, %r1, 1; setp.eq.u32 %p3, %r3, 0;\n"
                          "@%p3 bra OUT; " DEC(48) "OUT: ret; }",
     128,
     CUDA_ERROR_LAUNCH_FAILED,
     {"error[partial-warp]"}},
};

static void
pools(void **state)
{
  static const char *const orders[] = {"sched=block", "sched=rr", "sched=random,seed=5"};
  (void)state;
  for (int o = 0; o < 3; o++)
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
      kit_set(orders[o]);
      CUresult r = kit_run(cases[i].ptx, 1, cases[i].threads, 0, out, sizeof out);
      const char *text = kit_findings();
      if (r != cases[i].result || (!cases[i].found[0] && *text))
        fail_msg("%s: %d, %s", cases[i].ptx, r, text);
      for (int j = 0; j < 2 && cases[i].found[j]; j++)
        if (!strstr(text, cases[i].found[j]))
          fail_msg("%s: no '%s' in %s", cases[i].ptx, cases[i].found[j], text);
      for (unsigned t = 0; !cases[i].found[0] && t < cases[i].threads; t++)
        assert_int_equal(out[t], t < 128 ? 1 : 2);
    }
  kit_set("sched=block");
}

/* The setting says what the directives do not. */
static void
at_entry(void **state)
{
  const char *ptx = ROLES("", DEC(24), INC(240));
  (void)state;
  kit_set("regs=168");
  OK(kit_run(ptx, 1, 384, 0, out, sizeof out));
  kit_no_findings();
  kit_set("regs=160");
  assert_int_equal(kit_run(ptx, 1, 384, 0, out, sizeof out), CUDA_ERROR_LAUNCH_TIMEOUT);
  kit_found("deadlock");
  kit_set("regs=0");
}

static void
refused(void **state)
{
  static const char *const bodies[][2] = {
      {HEAD("") DEC(20) "ret; }", "a multiple of 8 from 24 to 256"},
      {HEAD("") INC(100) "ret; }", "a multiple of 8 from 24 to 256"},
      {HEAD("") INC(264) "ret; }", "256"},
      {KIT_HEAD("8.0", "sm_90") ".visible .entry k() { " DEC(24) "ret; }", "sm_90a"},
  };
  char log[1000];
  (void)state;
  for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
    CUmodule m;
    assert_int_equal(kit_load(bodies[i][0], &m, log, sizeof log), CUDA_ERROR_INVALID_PTX);
    if (!strstr(log, bodies[i][1]))
      fail_msg("no '%s' in %s", bodies[i][1], log);
  }
}

/* A warp that looks at a flag and sleeps lets the one that sets it go on. */
static void
sleepers(void **state)
{
  (void)state;
  kit_set("fuel=4000");
  OK(kit_run(
      KIT(".shared .u32 flag;\nsetp.eq.u32 %p1, %r1, 0; @%p1 st.shared.u32 [flag], 0;\n"
          "bar.sync 0; setp.ge.u32 %p1, %r1, 32; @%p1 bra SET;\n"
          "WAIT: nanosleep.u32 20; atom.shared.add.u32 %r3, [flag], 0;\n"
          "setp.eq.u32 %p2, %r3, 0; @%p2 bra WAIT; bra GO;\n"
          "SET: atom.shared.exch.b32 %r3, [flag], 1;\n"
          "GO: mov.u32 %r5, 9; st.global.u32 [%rd2], %r5;\n"),
      1, 64, 0, out, sizeof out));
  kit_no_findings();
  assert_int_equal(out[0], 9);
  assert_int_equal(out[63], 9);
  kit_set("fuel=100000000");
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pools),
      cmocka_unit_test(at_entry),
      cmocka_unit_test(refused),
      cmocka_unit_test(sleepers),
  };
  kit_start("arch=sm_90");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
