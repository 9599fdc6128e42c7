/* A stage that one CTA fills in both by multicast, that both give back through the other's
 * mbarrier, and sums that they read from each other's memory; and what is told when any of
 * what orders them is left out. */
#include "tests/unit/emu_cluster_kit.h"

enum { ANY = -1, CTAS = 4, THREADS = 64, SOURCE = 2048 };

/* bar: full, bar + 8 of CTA 0: empty, for all threads of both. */
#define START                                                                              \
  "@%p1 mbarrier.init.shared.b64 [%r12+8], 128;\n" INIT(                                   \
      1) "and.pred %p4, %p1, %p2; mov.u16 %rs1, 3; mov.u32 %r21, 256;\n"
#define EXPECT "@%p1 mbarrier.arrive.expect_tx.shared.b64 _, [%r12], 256;\n"
#define FILL(from)                                                                         \
  "@%p4 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"                 \
  ".multicast::cluster [%r10], [%rd1+" from "], %r21, [%r12], %rs1;\n"
#define GIVE                                                                               \
  "mov.u32 %r22, 0; mapa.shared::cluster.u32 %r23, %r12, %r22;\n"                          \
  "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r23+8];\n"
#define EMPTY "@%p3 bra ON;\n" WAIT("E", "%r12+8", "0") "ON:\n"
#define SUM                                                                                \
  "ld.shared.u32 %r24, [%r11]; add.u32 %r20, %r20, %r24;\n"                                \
  "mad.lo.u32 %r20, %r3, 1000, %r20; st.shared.u32 [%r11+1024], %r20;\n"
#define PEER                                                                               \
  "mapa.shared::cluster.u32 %r25, %r11, %r6;\n"                                            \
  "ld.shared::cluster.u32 %r20, [%r25+1024];\n"
static const char ring[] = PAIR(START EXPECT FILL("8192") WAIT(
    "W0", "%r12", "0") "ld.shared.u32 %r20, [%r11];\n" GIVE EMPTY EXPECT FILL("8448")
                                    WAIT("W1", "%r12", "1") SUM SYNC PEER SYNC OUT);

static CUresult
run(const char *ptx)
{
  for (uint32_t i = 0; i < MOST; i++)
    out[i] = i;
  return kit_run(ptx, CTAS, THREADS, 0, out, sizeof out);
}

static void
clean(void **state)
{
  (void)state;
  for (int i = 0; i < MODES; i++) {
    kit_set(modes[i]);
    OK(run(ring));
    kit_no_findings();
    for (uint32_t k = 0; k < MOST; k++) {
      uint32_t t = k % THREADS, peer = k / THREADS ^ 1;
      uint32_t want = k < CTAS * THREADS ? 2 * (SOURCE + t) + 64 + peer * 1000 : k;
      if (out[k] != want)
        fail_msg("%s: word %u is %u, not %u", modes[i], k, out[k], want);
    }
  }
}

/* CTAs come in any order: what is reached may be there by chance, then a result is ANY. */
static void
faults(void **state)
{
#define STAGE "{[%rd1+8448]}"
  static const struct {
    const char *from, *to;
    int result;
    const char *part;
  } cases[] = {
      /* CTA 1 exits while the other may still read its memory */
      {SYNC OUT, OUT, ANY,
       "ptx:{ld.shared::cluster}: error[cluster-exit]: |ptx:{ld.shared::cluster}: "
       "error[exited-cta]: "},
      /* the sums are not there, or nothing tells that they are */
      {SUM SYNC, SUM, CUDA_SUCCESS,
       "ptx:{ld.shared::cluster}: error[race]|ptx:{ld.shared::cluster}: "
       "error[uninitialised-shared]"},
      {SUM "barrier.cluster.arrive.aligned", SUM "barrier.cluster.arrive.relaxed.aligned",
       CUDA_SUCCESS, "ptx:{ld.shared::cluster}: error[race]"},
      /* filled again before both have given the stage back */
      {EMPTY, "", ANY,
       "ptx:" STAGE ": error[async-overwrite]: copies into shared memory at byte 0"},
      {GIVE EMPTY, EMPTY, CUDA_ERROR_LAUNCH_TIMEOUT,
       "; warp 0 waits at line {E: mbarrier} for the mbarrier at byte 4104, phase 0, 128 "
       "of 128 "
       "arrivals and 0 bytes are pending"},
      {"mbarrier.arrive.release.cluster", "@%p2 mbarrier.arrive.release.cluster",
       CUDA_ERROR_LAUNCH_TIMEOUT,
       "; CTA 0 of the cluster:; warp 0 waits at line {E: mbarrier} for the mbarrier at "
       "byte "
       "4104, phase 0, 64 of 128 arrivals and 0 bytes are pending"},
      /* to the own CTA's mbarrier, of which nobody knows in the other */
      {"mov.u32 %r22, 0;", "mov.u32 %r22, %r2;", CUDA_ERROR_LAUNCH_TIMEOUT,
       "phase 0, 64 of 128 arrivals and 0 bytes are pending"},
      /* into one CTA alone; fewer bytes than both expect */
      {"mov.u16 %rs1, 3", "mov.u16 %rs1, 1", CUDA_ERROR_LAUNCH_TIMEOUT,
       "; CTA 1 of the cluster:; warp 0 waits at line {W0: mbarrier} for the mbarrier at "
       "byte "
       "4096, phase 0, 0 of 1 arrivals and 256 bytes are pending"},
      {"[%r12], 256;", "[%r12], 272;", CUDA_ERROR_LAUNCH_TIMEOUT,
       "; CTA 1 of the cluster:; warp 0 waits at line {W0: mbarrier} for the mbarrier at "
       "byte "
       "4096, phase 0, 0 of 1 arrivals and 16 bytes are pending"},
      {"mov.u16 %rs1, 3", "mov.u16 %rs1, 7", CUDA_ERROR_LAUNCH_FAILED,
       "ptx:{[%rd1+8192]}: error[multicast]: the mask 0x7 names no CTA, or one that"},
      /* nobody waits for the other's mbarriers */
      {"barrier.cluster.arrive.relaxed.aligned; barrier.cluster.wait.acquire.aligned;",
       "bar.sync 0;", ANY,
       "ptx:{[%rd1+8192]}: error[mbarrier-race]|ptx:{[%rd1+8192]}: error[mbarrier-misuse]"},
      {"@%p1 fence.mbarrier_init.release.cluster;\n", "", CUDA_SUCCESS,
       "ptx:{[%rd1+8192]}: error[mbarrier-proxy]"},
  };
  (void)state;
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    const char *ptx = replaced(ring, cases[k].from, cases[k].to);
    for (int i = 0; i < MODES; i++) {
      kit_set(modes[i]);
      CUresult r = run(ptx);
      const char *text = kit_findings();
      bool as_due = cases[k].result == ANY || (int)r == cases[k].result;
      if (!as_due || !kit_tells(text, ptx, cases[k].part))
        fail_msg("%s: %d, no '%s' in: %s\n%s", modes[i], r, cases[k].part, text, ptx);
    }
  }
}

/* What is copied into a CTA need not keep it from exiting: it waits for the bytes itself.
 */
static void
waited_for(void **state)
{
  (void)state;
  for (int i = 0; i < MODES; i++) {
    kit_set(modes[i]);
    OK(run(PAIR(START EXPECT FILL("8192")
                    WAIT("W0", "%r12", "0") "ld.shared.u32 %r20, [%r11];\n" OUT)));
    kit_no_findings();
    for (uint32_t k = 0; k < CTAS * THREADS; k++)
      assert_int_equal(out[k], SOURCE + k % THREADS);
  }
}

int
main(void)
{
  kit_start("arch=sm_90a");
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(clean),
      cmocka_unit_test(faults),
      cmocka_unit_test(waited_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
