/* What is told of wrong clusters: order across CTAs, who may have exited or not started,
 * addresses, barriers. */
#include "tests/unit/emu_cluster_kit.h"

#define FILL "mad.lo.u32 %r20, %r3, 1000, %r1; st.shared.u32 [%r11], %r20;\n"
#define PEER                                                                               \
  "mapa.shared::cluster.u32 %r21, %r11, %r6; mapa.shared::cluster.u32 %r22, %r12, %r6;\n"
#define READ    PEER "ld.shared::cluster.u32 %r20, [%r21];\n"
#define WRITE   PEER "st.shared::cluster.u32 [%r21], %r1;\n"
#define ARRIVE  "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r22];\n"
#define RELAXED "barrier.cluster.arrive.relaxed.aligned; barrier.cluster.wait.aligned;\n"
#define SEND                                                                               \
  "@%p1 cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes"            \
  " [%r23], [%r10], %r25, [%r24];\n"
#define SEND_HEAD                                                                          \
  INIT(1)                                                                                  \
  "@%p1 mbarrier.arrive.expect_tx.shared.b64 _, [%r12], 256;\n" FILL                       \
  "mov.u32 %r25, 256; add.u32 %r22, %r10, 1024;\n"                                         \
  "mapa.shared::cluster.u32 %r23, %r22, %r6;\n"                                            \
  "mapa.shared::cluster.u32 %r24, %r12, %r6;\n"

/* From the CTA where p holds to the other; byte 4096 on are flags. */
#define HAND_OVER(p)                                                                       \
  "mul.wide.u32 %rd4, %r1, 4; add.s64 %rd4, %rd1, %rd4; @" p " bra GIVE;\n"                \
  "TAKE: atom.global.add.u32 %r20, [%rd4+4096], 0; setp.eq.u32 %p4, %r20, 0;\n"            \
  "@%p4 bra TAKE; fence.acq_rel.cluster; ld.global.u32 %r20, [%rd4]; bra END;\n"           \
  "GIVE: st.global.u32 [%rd4], %r1; fence.acq_rel.cluster;\n"                              \
  "atom.global.add.u32 %r20, [%rd4+4096], 1; END:\n"

typedef struct Case {
  const char *ptx;
  int result; /* ANY: it depends on the order */
  const char *found[2];
} Case;
enum { ANY = -1 };

static const Case cases[] = {
    /* order */
    {PAIR(FILL RELAXED READ SYNC), CUDA_SUCCESS, {"error[race]", "which warp"}},
    {PAIR(FILL "fence.acq_rel.cluster;\n" RELAXED READ SYNC), CUDA_SUCCESS, {0}},
    {PAIR(FILL SYNC READ "st.shared.u32 [%r11], %r1;\n" SYNC),
     CUDA_SUCCESS,
     {"error[race]"}},
    {PAIR(FILL SYNC READ SYNC "st.shared.u32 [%r11], %r1;\n"), CUDA_SUCCESS, {0}},
    {PAIR(FILL SYNC WRITE "ld.shared.u32 %r20, [%r11];\n" SYNC),
     CUDA_SUCCESS,
     {"error[race]"}},
    {PAIR(SYNC WRITE RELAXED "ld.shared.u32 %r20, [%r11];\n"),
     CUDA_SUCCESS,
     {"error[race]"}},
    {PAIR(SYNC READ SYNC), CUDA_SUCCESS, {0}},
    {PAIR(SYNC READ SYNC "st.global.u32 [%rd1], %r20;\n"),
     CUDA_SUCCESS,
     {"error[uninitialised-shared]", "stores a value that comes from"}},
    /* a write that only a thread of the warp tells the other CTA of */
    {PAIR(INIT(1) WRITE
          "@%p1 " ARRIVE WAIT("W", "%r12", "0") "ld.shared.u32 %r20, [%r11];\n" SYNC),
     CUDA_SUCCESS,
     {"error[race]"}},
    {PAIR(INIT(64)
              WRITE ARRIVE WAIT("W", "%r12", "0") "ld.shared.u32 %r20, [%r11];\n" SYNC),
     CUDA_SUCCESS,
     {0}},
    {PAIR(INIT(1) WRITE "bar.sync 0;\n@%p1 " ARRIVE WAIT(
         "W", "%r12", "0") "ld.shared.u32 %r20, [%r11];\n" SYNC),
     CUDA_SUCCESS,
     {0}},
    /* start and end */
    {PAIR(FILL PEER "ld.shared::cluster.u32 %r20, [%r21];\n" SYNC),
     CUDA_SUCCESS,
     {"error[cluster-start]", "nothing tells that it has started"}},
    {PAIR(FILL SYNC READ),
     ANY,
     {"error[cluster-exit]", "nothing keeps that from exiting before"}},
    {PAIR(FILL SYNC READ RELAXED), CUDA_SUCCESS, {0}},
    {PAIR(INIT(64) PEER ARRIVE WAIT("W", "%r12", "0")), CUDA_SUCCESS, {0}},
    {PAIR(INIT(65) PEER ARRIVE), ANY, {"error[cluster-exit]"}},
    /* CTA 1 has gone, whatever the order, when it is asked */
    {PAIR(FILL SYNC
          "@%p3 exit; mov.u32 %r30, 0;\n"
          "L: add.u32 %r30, %r30, 1; setp.lt.u32 %p4, %r30, 40000; @%p4 bra L;\n" READ),
     CUDA_ERROR_ILLEGAL_ADDRESS,
     {"error[exited-cta]", "which has exited"}},
    /* mbarriers */
    {PAIR("@%p1 mbarrier.init.shared.b64 [%r12], 64;\n" RELAXED PEER ARRIVE WAIT(
         "W", "%r12", "0") SYNC),
     CUDA_SUCCESS,
     {"error[mbarrier-race]", "nothing orders the mbarrier.init"}},
    {PAIR(SYNC PEER ARRIVE SYNC), CUDA_ERROR_LAUNCH_FAILED, {"error[mbarrier-misuse]"}},
    /* addresses */
    {PAIR(FILL SYNC
          "mapa.shared::cluster.u32 %r21, %r11, %r6; ld.shared.u32 %r20, [%r21];\n" SYNC),
     CUDA_ERROR_ILLEGAL_ADDRESS,
     {"error[other-cta]", "reaches its own CTA's alone"}},
    {PAIR(FILL SYNC "mov.u32 %r22, 2; mapa.shared::cluster.u32 %r21, %r11, %r22;\n"
                    "ld.shared::cluster.u32 %r20, [%r21];\n" SYNC),
     CUDA_ERROR_ILLEGAL_ADDRESS,
     {"error[out-of-bounds]", "CTA 2 of a cluster of 2"}},
    {PAIR(FILL SYNC PEER "ld.shared::cluster.u32 %r20, [%r21+4160];\n" SYNC),
     CUDA_ERROR_ILLEGAL_ADDRESS,
     {"error[out-of-bounds]", "of shared memory"}},
    {PAIR(FILL SYNC PEER "ld.shared::cluster.u32 %r20, [%r21+1];\n" SYNC),
     CUDA_ERROR_MISALIGNED_ADDRESS,
     {"error[misaligned]"}},
    {PAIR("mapa.u64 %rd4, %rd1, %r6;\n"),
     CUDA_ERROR_ILLEGAL_ADDRESS,
     {"error[out-of-bounds]", "is not in shared memory"}},
    {PAIR(SYNC "mov.u32 %r22, 5; mapa.shared::cluster.u32 %r21, %r11, %r22;\n" SYNC),
     CUDA_SUCCESS,
     {0}},
    /* copies */
    {PAIR(SEND_HEAD SYNC SEND WAIT("W", "%r12", "0") SYNC),
     CUDA_SUCCESS,
     {"error[proxy-fence]"}},
    {PAIR(SEND_HEAD "fence.proxy.async;\n" SYNC SEND
                    "st.shared.u32 [%r11], %r1;\n" WAIT("W", "%r12", "0") SYNC),
     CUDA_SUCCESS,
     {"error[async-overwrite]", "the bulk copy of line"}},
    {PAIR(SEND_HEAD "fence.proxy.async;\n" SYNC SEND
                    "ld.shared.u32 %r20, [%r11+1024];\n" WAIT("W", "%r12", "0") SYNC),
     CUDA_SUCCESS,
     {"error[async-read-before-wait]"}},
    {PAIR(SEND_HEAD
          "fence.proxy.async;\n" SYNC
          "@%p1 cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes"
          " [%r23], [%r10], %r25, [%r12];\n" WAIT("W", "%r12", "0") SYNC),
     CUDA_ERROR_LAUNCH_FAILED,
     {"error[mbarrier-misuse]", "its mbarrier is in CTA"}},
    {PAIR(INIT(1) "mov.u16 %rs1, 6; mov.u32 %r25, 16;\n"
                  "@%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
                  ".multicast::cluster [%r10], [%rd1], %r25, [%r12], %rs1;\n"),
     CUDA_ERROR_LAUNCH_FAILED,
     {"error[multicast]", "the mask 0x6"}},
    {PAIR(SEND_HEAD "fence.proxy.async;\n" SYNC SEND WAIT("W", "%r12", "0")),
     ANY,
     {"error[cluster-exit]", "its own CTA may exit before"}},
    /* the barrier */
    {PAIR("barrier.cluster.wait.aligned;\n"),
     CUDA_ERROR_LAUNCH_FAILED,
     {"error[barrier-misuse]", "without barrier.cluster.arrive before"}},
    {PAIR("barrier.cluster.arrive.aligned; barrier.cluster.arrive.aligned;\n"),
     CUDA_ERROR_LAUNCH_FAILED,
     {"error[barrier-misuse]", "a second barrier.cluster.arrive"}},
    {PAIR("@%p1 bra OUT; barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned; "
          "OUT:\n"),
     CUDA_ERROR_LAUNCH_FAILED,
     {"error[partial-warp]"}},
    {PAIR("@%p2 bra OUT;\n" SYNC "bra END;\nOUT: bar.sync 1, 96; END:\n"),
     CUDA_ERROR_LAUNCH_FAILED,
     {"error[barrier-misuse]"}},
    {PAIR("@%p3 bra OUT;\n" SYNC "bra END;\n"
          "OUT: setp.lt.u32 %p4, %r1, 32; @%p4 bar.sync 1, 64;\n"
          "@!%p4 barrier.cluster.arrive.aligned;\n@!%p4 barrier.cluster.wait.aligned; "
          "END:\n"),
     CUDA_ERROR_LAUNCH_TIMEOUT,
     {"CTA 1 of the cluster:; warp 0 waits at line",
      "warp 0 waits at line 14 for the cluster"}},
    /* threads that have exited are not waited for */
    {PAIR("@%p3 exit;\n" SYNC), CUDA_SUCCESS, {0}},
    {PAIR("setp.lt.u32 %p4, %r1, 32; @%p4 exit;\n" SYNC), CUDA_SUCCESS, {0}},
    /* lanes that come one after another */
    {PAIR("and.b32 %r20, %r1, 1; setp.eq.u32 %p4, %r20, 0; @%p4 bra EVEN;\n"
          "barrier.cluster.arrive; barrier.cluster.wait; bra OUT;\n"
          "EVEN: barrier.cluster.arrive; barrier.cluster.wait; OUT:\n"),
     CUDA_SUCCESS,
     {0}},
    /* global memory: what comes before and after a meeting is ordered */
    {PAIR("mul.wide.u32 %rd4, %r1, 4; add.s64 %rd4, %rd1, %rd4;\n"
          "@%p2 st.global.u32 [%rd4], %r1; " SYNC "@%p3 ld.global.u32 %r20, [%rd4];\n"),
     CUDA_SUCCESS,
     {0}},
    {PAIR(SYNC "mul.wide.u32 %rd4, %r1, 4; add.s64 %rd4, %rd1, %rd4;\n"
               "@%p2 st.global.u32 [%rd4], %r1;\n@%p3 ld.global.u32 %r20, [%rd4];\n"),
     CUDA_SUCCESS,
     {"error[cross-cta-conflict]"}},
    /* handed over with a flag: among a cluster a fence of its scope will do */
    {PAIR(HAND_OVER("%p2")), CUDA_SUCCESS, {0}},
    {HEAD("") "setp.eq.u32 %p2, %r3, 0;\n" HAND_OVER("%p2") "ret; }",
     CUDA_SUCCESS,
     {"error[cross-cta-conflict]"}},
};

static void
all_cases(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int j = 0; j < MODES; j++) {
      const Case *c = &cases[i];
      kit_set(modes[j]);
      memset(out, 0, sizeof out);
      CUresult r = kit_run(c->ptx, 2, 64, 0, out, sizeof out);
      const char *text = kit_findings();
      if ((c->result != ANY && (int)r != c->result) || (!c->found[0] && *text))
        fail_msg("%s: %s: %d, %s", modes[j], c->ptx, r, text);
      for (int k = 0; k < 2 && c->found[k]; k++)
        if (!strstr(text, c->found[k]))
          fail_msg("%s: %s: no '%s' in %s", modes[j], c->ptx, c->found[k], text);
    }
}

/* A copy whose mbarrier is misaligned, and in another CTA besides, is one finding. */
static void
counted_once(void **state)
{
  (void)state;
  attncEmuStats s = {.size = sizeof s};
  kit_set(modes[0]);
  attncEmuResetStats();
  CUresult r = kit_run(
      PAIR(SEND_HEAD
           "fence.proxy.async;\n" SYNC "and.pred %p4, %p1, %p2;\n"
           "@%p4 cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes"
           " [%r23], [%r10], %r25, [%r12+4];\n" WAIT("W", "%r12", "0") SYNC),
      2, 64, 0, out, sizeof out);
  attncEmuGetStats(&s);
  const char *text = kit_findings();
  assert_int_equal(r, CUDA_ERROR_LAUNCH_FAILED);
  assert_non_null(strstr(text, "its mbarrier is in CTA 0"));
  assert_int_equal(s.findings, 1);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_cases),
      cmocka_unit_test(counted_once),
  };
  kit_start("arch=sm_90,threads=2");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
