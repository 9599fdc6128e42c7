/* Clusters: who is who, each other's shared memory, their barrier, mbarriers and copies
 * across CTAs; under every order and policy; and what is told of wrong ones. */
#include "tests/unit/emu_cluster_kit.h"

/* ---- who is who ---- */

static void
names(void **state)
{
  static const char *const specials[] = {
      "%cluster_ctaid.x",  "%cluster_ctaid.y",  "%cluster_ctaid.z", "%cluster_nctaid.x",
      "%cluster_nctaid.y", "%cluster_nctaid.z", "%clusterid.x",     "%clusterid.y",
      "%clusterid.z",      "%nclusterid.x",     "%nclusterid.y",    "%nclusterid.z",
      "%cluster_ctarank",  "%cluster_nctarank", "%ctaid.x",         "%ctaid.y",
      "%ctaid.z"};
  enum { N = sizeof specials / sizeof *specials + 1, GX = 6, GY = 4, GZ = 2 };
  static uint32_t all[GX * GY * GZ][N];
  char ptx[4000];
  (void)state;
  strcpy(
      ptx,
      KIT_HEAD(
          "8.0",
          "sm_90") ".visible .entry k(.param .u64 p) {\n"
                   ".reg .pred %p<9>; .reg .b32 %r<40>; .reg .b64 %rd<9>; ld.param.u64 "
                   "%rd1, [p];\n"
                   "mov.u32 %r1, %ctaid.z; mov.u32 %r2, %nctaid.y; mov.u32 %r3, %ctaid.y;\n"
                   "mad.lo.u32 %r1, %r1, %r2, %r3; mov.u32 %r2, %nctaid.x; mov.u32 %r3, "
                   "%ctaid.x;\n"
                   "mad.lo.u32 %r1, %r1, %r2, %r3; mul.wide.u32 %rd2, %r1, 72;\n"
                   "add.s64 %rd1, %rd1, %rd2;\n");
  for (int i = 0; i < N - 1; i++)
    sprintf(ptx + strlen(ptx), "mov.u32 %%r4, %s; st.global.u32 [%%rd1+%d], %%r4;\n",
            specials[i], 4 * i);
  sprintf(ptx + strlen(ptx),
          "mov.pred %%p1, %%is_explicit_cluster; selp.u32 %%r4, 7, 9, %%p1;\n"
          "st.global.u32 [%%rd1+%d], %%r4; ret; }",
          4 * (N - 1));
  assert_int_equal(N * 4, 72);
  CUlaunchAttribute a = cluster_of(3, 2, 1);
  CUlaunchConfig c = {.gridDimX = GX,
                      .gridDimY = GY,
                      .gridDimZ = GZ,
                      .blockDimX = 1,
                      .blockDimY = 1,
                      .blockDimZ = 1,
                      .attrs = &a,
                      .numAttrs = 1};
  for (int with = 0; with < 2; with++) {
    c.numAttrs = (unsigned)with;
    OK(launch_with(ptx, &c, all, sizeof all));
    kit_no_findings();
    unsigned cx = with ? 3 : 1, cy = with ? 2 : 1;
    for (uint32_t i = 0; i < GX * GY * GZ; i++) {
      uint32_t x = i % GX, y = i / GX % GY, z = i / GX / GY;
      const uint32_t want[N] = {x % cx,
                                y % cy,
                                0,
                                cx,
                                cy,
                                1,
                                x / cx,
                                y / cy,
                                z,
                                GX / cx,
                                GY / cy,
                                GZ,
                                x % cx + y % cy * cx,
                                cx * cy,
                                x,
                                y,
                                z,
                                with ? 7 : 9};
      for (int k = 0; k < N; k++)
        if (all[i][k] != want[k])
          fail_msg("CTA %u: %s is %u, not %u", i,
                   k < N - 1 ? specials[k] : "%is_explicit_cluster", all[i][k], want[k]);
    }
  }
}

/* ---- launches ---- */

typedef struct Try {
  const char *directives;
  unsigned x, y, z; /* of the attribute; 0: none */
  unsigned grid;
  CUresult result;
} Try;

static void
launches(void **state)
{
  static const Try tries[] = {
      {"", 2, 1, 1, 4, CUDA_SUCCESS},
      {"", 2, 1, 1, 5, CUDA_ERROR_INVALID_CLUSTER_SIZE},
      {"", 8, 1, 1, 16, CUDA_SUCCESS},
      {"", 16, 1, 1, 16, CUDA_ERROR_INVALID_CLUSTER_SIZE},
      {"", 0, 1, 1, 4, CUDA_SUCCESS},
      {".reqnctapercluster 2, 1, 1", 0, 0, 0, 4, CUDA_SUCCESS},
      {".explicitcluster .reqnctapercluster 2", 0, 0, 0, 4, CUDA_SUCCESS},
      {".reqnctapercluster 2, 1, 1", 2, 1, 1, 4, CUDA_SUCCESS},
      {".reqnctapercluster 2, 1, 1", 4, 1, 1, 4, CUDA_ERROR_INVALID_CLUSTER_SIZE},
      {".reqnctapercluster 4, 1, 1", 0, 0, 0, 6, CUDA_ERROR_INVALID_CLUSTER_SIZE},
      {".explicitcluster", 0, 0, 0, 4, CUDA_ERROR_INVALID_CLUSTER_SIZE},
      {".explicitcluster", 1, 1, 1, 4, CUDA_SUCCESS},
      {".maxclusterrank 2", 2, 1, 1, 4, CUDA_SUCCESS},
      {".maxclusterrank 2", 4, 1, 1, 4, CUDA_ERROR_INVALID_CLUSTER_SIZE},
  };
  char ptx[500];
  (void)state;
  for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
    const Try *t = &tries[i];
    CUlaunchAttribute a = cluster_of(t->x, t->y, t->z);
    CUlaunchConfig c = {.gridDimX = t->grid,
                        .gridDimY = 1,
                        .gridDimZ = 1,
                        .blockDimX = 32,
                        .blockDimY = 1,
                        .blockDimZ = 1,
                        .attrs = &a,
                        .numAttrs = t->x != 0};
    snprintf(ptx, sizeof ptx,
             KIT_HEAD("8.0", "sm_90") ".visible .entry k(.param .u64 p) %s "
                                      "{ ret; }",
             t->directives);
    CUresult r = launch_with(ptx, &c, out, 4);
    if (r != t->result)
      fail_msg("%s, %u %u %u in %u: %d, not %d", t->directives, t->x, t->y, t->z, t->grid,
               r, t->result);
  }
  kit_no_findings();
}

static void
large(void **state)
{
  CUmodule m;
  CUdeviceptr p;
  int v = -1;
  CUfunction f =
      kit_function(HEAD("") SYNC "mov.u32 %r20, %cluster_nctarank;\n" OUT "ret; }", &m);
  CUlaunchAttribute a = cluster_of(16, 1, 1);
  CUlaunchConfig c = {.gridDimX = 32,
                      .gridDimY = 1,
                      .gridDimZ = 1,
                      .blockDimX = 128,
                      .blockDimY = 1,
                      .blockDimZ = 1,
                      .attrs = &a,
                      .numAttrs = 1};
  (void)state;
  OK(cuMemAlloc_v2(&p, sizeof out));
  assert_int_equal(cuLaunchKernelEx(&c, f, (void *[]){&p}, NULL),
                   CUDA_ERROR_INVALID_CLUSTER_SIZE);
  OK(cuFuncGetAttribute(&v, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, f));
  assert_int_equal(v, 0);
  OK(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1));
  OK(cuLaunchKernelEx(&c, f, (void *[]){&p}, NULL));
  OK(cuMemcpyDtoH_v2(out, p, sizeof out));
  kit_no_findings();
  for (int i = 0; i < MOST; i++)
    assert_int_equal(out[i], 16);
  OK(cuMemFree_v2(p));
  OK(cuModuleUnload(m));
}

/* ---- each other's shared memory ---- */

static uint32_t
from_peer(uint32_t cta, uint32_t t)
{
  return (cta ^ 1) * 1000 + t;
}

#define FILL "mad.lo.u32 %r20, %r3, 1000, %r1; st.shared.u32 [%r11], %r20;\n"
#define READ                                                                               \
  "mapa.shared::cluster.u32 %r21, %r11, %r6; ld.shared::cluster.u32 %r20, [%r21];\n"

static void
reads(void **state)
{
  (void)state;
  right(PAIR(FILL SYNC READ SYNC OUT), 8, 96, from_peer);
  /* through 64 bits, through a variable, through a generic address */
  right(PAIR(FILL SYNC "cvt.u64.u32 %rd3, %r11; mapa.shared::cluster.u64 %rd4, %rd3, %r6;\n"
                       "ld.shared::cluster.u32 %r20, [%rd4];\n" SYNC OUT),
        8, 96, from_peer);
  right(
      PAIR(FILL SYNC
           "mapa.shared::cluster.u32 %r21, s+16, %r6; shl.b32 %r22, %r1, 2;\n"
           "add.u32 %r21, %r21, %r22; ld.shared::cluster.u32 %r20, [%r21+-16];\n" SYNC OUT),
      8, 96, from_peer);
  right(PAIR(FILL SYNC "cvt.u64.u32 %rd3, %r11; cvta.shared.u64 %rd3, %rd3;\n"
                       "mapa.u64 %rd4, %rd3, %r6; ld.u32 %r20, [%rd4];\n" SYNC OUT),
        8, 96, from_peer);
  right(PAIR(FILL SYNC
             "mapa.shared::cluster.u32 %r21, %r11, %r6; cvt.u64.u32 %rd3, %r21;\n"
             "cvta.shared::cluster.u64 %rd3, %rd3; ld.u32 %r20, [%rd3];\n" SYNC OUT),
        8, 96, from_peer);
}

static uint32_t
ranks_want(uint32_t cta, uint32_t t)
{
  (void)t;
  return cta % 2 == 0 ? 0x10 + 1 + 0x100 + 0x400 : 0x01 + 2 * 0 + 0x100 + 0x400;
}

/* The rank of an address, and the windows that it is in. */
static void
windows(void **state)
{
  (void)state;
  right(
      PAIR(
          "mapa.shared::cluster.u32 %r21, %r10, %r6;\n"
          "getctarank.shared::cluster.u32 %r22, %r21; getctarank.shared::cluster.u32 %r23, "
          "%r10;\n"
          "shl.b32 %r22, %r22, 4; add.u32 %r20, %r22, %r23;\n"
          "cvt.u64.u32 %rd3, %r21; cvta.shared::cluster.u64 %rd3, %rd3;\n"
          "getctarank.u64 %r24, %rd3; add.u32 %r20, %r20, %r24;\n"
          "setp.eq.u32 %p7, %r2, 1; @%p7 sub.u32 %r20, %r20, %r24;\n"
          "isspacep.shared::cluster %p4, %rd3; isspacep.shared::cta %p5, %rd3;\n"
          "selp.u32 %r25, 0x100, 0, %p4; add.u32 %r20, %r20, %r25;\n"
          "selp.u32 %r25, 0x200, 0, %p5; add.u32 %r20, %r20, %r25;\n"
          "cvt.u64.u32 %rd4, %r10; cvta.shared.u64 %rd4, %rd4; isspacep.shared %p5, %rd4;\n"
          "selp.u32 %r25, 0x400, 0, %p5; add.u32 %r20, %r20, %r25;\n"
          "isspacep.global %p5, %rd3; selp.u32 %r25, 0x800, 0, %p5; add.u32 %r20, %r20, "
          "%r25;\n" OUT),
      4, 32, ranks_want);
}

static uint32_t
written_want(uint32_t cta, uint32_t t)
{
  return (cta ^ 1) * 7 + t;
}

static uint32_t
sum_want(uint32_t cta, uint32_t t)
{
  (void)cta;
  (void)t;
  return 2 * 64;
}

static void
writes(void **state)
{
  (void)state;
  right(PAIR(SYNC
             "mad.lo.u32 %r20, %r3, 7, %r1; mapa.shared::cluster.u32 %r21, %r11, %r6;\n"
             "st.shared::cluster.u32 [%r21], %r20;\n" SYNC
             "ld.shared.u32 %r20, [%r11];\n" OUT),
        6, 64, written_want);
  /* both count in CTA 0 */
  right(PAIR("mov.u32 %r20, 0; @%p1 st.shared.u32 [s], %r20;\n" SYNC
             "mov.u32 %r22, 0; mapa.shared::cluster.u32 %r21, %r10, %r22;\n"
             "atom.shared::cluster.add.u32 %r20, [%r21], 1;\n" SYNC
             "ld.shared::cluster.u32 %r20, [%r21];\n" SYNC OUT),
        4, 64, sum_want);
}

/* ---- mbarriers ---- */

/* Each thread fills the peer's memory, and arrives at the peer's mbarrier. */
static void
arrivals(void **state)
{
  (void)state;
  right(PAIR(INIT(
            64) "mad.lo.u32 %r20, %r3, 7, %r1; mapa.shared::cluster.u32 %r21, %r11, %r6;\n"
                "st.shared::cluster.u32 [%r21], %r20; mapa.shared::cluster.u32 %r22, %r12, "
                "%r6;\n"
                "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r22];\n" WAIT(
                    "W", "%r12", "0") "ld.shared.u32 %r20, [%r11];\n" SYNC OUT),
        6, 64, written_want);
}

/* ---- copies ---- */

#define EXPECT(bytes) "@%p1 mbarrier.arrive.expect_tx.shared.b64 _, [%r12], " #bytes ";\n"

/* CTA 0 brings 256 bytes to both. */
static uint32_t
multicast_want(uint32_t cta, uint32_t t)
{
  return cta / 2 * 0 + 0xabc0 + t;
}

static const char *const multicast = PAIR(INIT(1) EXPECT(
    256) "and.pred %p4, %p1, %p2; mov.u32 %r21, 256; mov.u16 %rs1, 3; add.s64 %rd3, %rd1, "
         "8192;\n"
         "@%p4 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
         ".multicast::cluster [%r10], [%rd3], %r21, [%r12], %rs1;\n" WAIT(
             "W", "%r12", "0") "ld.shared.u32 %r20, [%r11];\n" SYNC OUT);

static void
multicasts(void **state)
{
  (void)state;
  for (int i = 0; i < MODES; i++) {
    kit_set(modes[i]);
    for (uint32_t j = 0; j < MOST; j++)
      out[j] = 0xabc0 + j - 2048;
    OK(kit_run(multicast, 8, 64, 0, out, sizeof out));
    kit_no_findings();
    for (uint32_t t = 0; t < 8 * 64; t++)
      assert_int_equal(out[t], multicast_want(t / 64, t % 64));
  }
}

/* Each CTA sends its memory to the other, and changes it when that has come. */
static void
sends(void **state)
{
  (void)state;
  right(
      PAIR(INIT(1) EXPECT(
          256) "mad.lo.u32 %r20, %r3, 7, %r1; st.shared.u32 [%r11], %r20;\n"
               "fence.proxy.async.shared::cta; " SYNC
               "mov.u32 %r21, 256; add.u32 %r22, %r10, 1024;\n"
               "mapa.shared::cluster.u32 %r23, %r22, %r6; mapa.shared::cluster.u32 %r24, "
               "%r12, %r6;\n"
               "@%p1 cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes"
               " [%r23], [%r10], %r21, [%r24];\n" WAIT(
                   "W", "%r12", "0") "ld.shared.u32 %r20, [%r11+1024];\n" SYNC
                                     "st.shared.u32 [%r11], %r1;\n" OUT),
      6, 64, written_want);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names),    cmocka_unit_test(launches),   cmocka_unit_test(large),
      cmocka_unit_test(reads),    cmocka_unit_test(windows),    cmocka_unit_test(writes),
      cmocka_unit_test(arrivals), cmocka_unit_test(multicasts), cmocka_unit_test(sends),
  };
  kit_start("arch=sm_90");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
