/* emu_cluster_kit.h: kernels for clusters of two CTAs, and how they are run. */
#ifndef ATTNC_TESTS_EMU_CLUSTER_KIT_H
#define ATTNC_TESTS_EMU_CLUSTER_KIT_H

#include "tests/unit/emu_kit.h"

#define HEAD(directives)                                                                   \
  KIT_HEAD("8.0", "sm_90a")                                                                \
  ".visible .entry k(.param .u64 p) " directives " {\n"                                    \
  ".reg .pred %p<9>; .reg .b16 %rs<4>; .reg .b32 %r<40>; .reg .b64 %rd<20>;\n"             \
  ".shared .align 128 .b8 s[4096]; .shared .align 8 .b8 bar[64];\n"                        \
  "ld.param.u64 %rd1, [p]; cvta.to.global.u64 %rd1, %rd1; mov.u32 %r1, %tid.x;\n"          \
  "mov.u32 %r2, %cluster_ctarank; mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x;\n"          \
  "mad.lo.u32 %r5, %r3, %r4, %r1; mul.wide.u32 %rd2, %r5, 4; add.s64 %rd2, %rd1, %rd2;\n"  \
  "mov.u32 %r10, s; shl.b32 %r11, %r1, 2; add.u32 %r11, %r11, %r10; mov.u32 %r12, bar;\n"  \
  "xor.b32 %r6, %r2, 1; setp.eq.u32 %p1, %r1, 0; setp.eq.u32 %p2, %r2, 0;\n"               \
  "setp.eq.u32 %p3, %r2, 1;\n"
#define PAIR(body) HEAD(".reqnctapercluster 2, 1, 1") body "ret;\n}\n"
#define SYNC       "barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;\n"
#define INIT(count)                                                                        \
  "@%p1 mbarrier.init.shared.b64 [%r12], " #count ";\n"                                    \
  "@%p1 fence.mbarrier_init.release.cluster;\n"                                            \
  "barrier.cluster.arrive.relaxed.aligned; barrier.cluster.wait.acquire.aligned;\n"
#define WAIT(label, bar, parity)                                                           \
  label ": mbarrier.try_wait.parity.shared.b64 %p8, [" bar "], " parity                    \
        ";\n@!%p8 bra " label ";\n"

#define OUT "st.global.u32 [%rd2], %r20;\n"

enum { MOST = 4096 };
static uint32_t out[MOST];

static const char *const modes[] = {
    "sched=block,async=lazy",           "sched=rr,async=eager",
    "sched=random,async=random,seed=1", "sched=random,async=lazy,seed=2",
    "sched=rr,async=random,seed=3",     "sched=block,async=eager"};
enum { MODES = sizeof modes / sizeof *modes };

static inline CUresult
launch_with(const char *ptx, CUlaunchConfig *c, void *buffer, size_t n)
{
  CUmodule m;
  CUdeviceptr p;
  CUfunction f = kit_function(ptx, &m);
  OK(cuMemAlloc_v2(&p, n));
  OK(cuMemcpyHtoD_v2(p, buffer, n));
  CUresult r = cuLaunchKernelEx(c, f, (void *[]){&p}, NULL);
  OK(cuMemcpyDtoH_v2(buffer, p, n));
  OK(cuMemFree_v2(p));
  OK(cuModuleUnload(m));
  return r;
}

static inline CUlaunchAttribute
cluster_of(unsigned x, unsigned y, unsigned z)
{
  CUlaunchAttribute a = {.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION};
  a.value.clusterDim.x = x;
  a.value.clusterDim.y = y;
  a.value.clusterDim.z = z;
  return a;
}

/* Under every mode: right, and nothing found. */
static inline void
right(const char *ptx, unsigned ctas, unsigned threads,
      uint32_t (*want)(uint32_t cta, uint32_t thread))
{
  for (int i = 0; i < MODES; i++) {
    kit_set(modes[i]);
    memset(out, 0, sizeof out);
    CUresult r = kit_run(ptx, ctas, threads, 0, out, sizeof out);
    const char *text = kit_findings();
    if (r || *text)
      fail_msg("%s: %d, %s\n%s", modes[i], r, text, ptx);
    for (uint32_t t = 0; t < ctas * threads; t++)
      if (out[t] != want(t / threads, t % threads))
        fail_msg("%s: thread %u has %x, not %x\n%s", modes[i], t, out[t],
                 want(t / threads, t % threads), ptx);
  }
}

#endif
