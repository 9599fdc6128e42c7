/* emu_async_kit.h: kernels of one CTA with mbarriers and bulk copies, how they are run
 * under every policy, and what must be told of them. */
#ifndef ATTNC_TESTS_EMU_ASYNC_KIT_H
#define ATTNC_TESTS_EMU_ASYNC_KIT_H

#include "tests/unit/emu_kit.h"

/* %rd1 the buffer, %rd2 this thread's word of it, %r1 the thread, %r2 its warp, %r10 = s,
 * %r11 this thread's word of s, %p1: thread 0, %p2: warp 0, %p3: warp 1, %p4: first lane.
 */
#define ASYNC(body)                                                                        \
  KIT_HEAD("8.6", "sm_90a")                                                                \
  ".visible .entry k(.param .u64 p) {\n"                                                   \
  ".reg .pred %p<20>; .reg .b32 %r<60>; .reg .b64 %rd<40>;\n"                              \
  ".shared .align 128 .b8 s[4096]; .shared .align 16 .b8 bar[1024];\n"                     \
  "ld.param.u64 %rd1, [p]; cvta.to.global.u64 %rd1, %rd1; mov.u32 %r1, %tid.x;\n"          \
  "mul.wide.u32 %rd2, %r1, 4; add.s64 %rd2, %rd1, %rd2; shr.u32 %r2, %r1, 5;\n"            \
  "mov.u32 %r10, s; shl.b32 %r11, %r1, 2; add.u32 %r11, %r11, %r10;\n"                     \
  "setp.eq.u32 %p1, %r1, 0; setp.eq.u32 %p2, %r2, 0; setp.eq.u32 %p3, %r2, 1;\n"           \
  "and.b32 %r3, %r1, 31; setp.eq.u32 %p4, %r3, 0;\n" body "ret;\n}\n"

#define MAKE(bar, count) "@%p1 mbarrier.init.shared.b64 [" bar "], " count ";\n"
#define FENCE            "@%p1 fence.mbarrier_init.release.cluster;\n"
#define FENCED           FENCE "bar.sync 0;\n"
#define INIT(count)      MAKE("bar", count) FENCED
#define ARRIVE(bar)      "mbarrier.arrive.shared.b64 %rd9, [" bar "];\n"
#define EXPECT(bar, bytes)                                                                 \
  "@%p1 mbarrier.arrive.expect_tx.shared.b64 %rd9, [" bar "], " bytes ";\n"
#define TRY(label, bar, parity)                                                            \
  label ": mbarrier.try_wait.parity.shared.b64 %p9, [" bar "], " parity ";\n"              \
        "@!%p9 bra " label ";\n"
#define OUT "st.global.u32 [%rd2], %r20;\n"

enum { WORDS = 4096 };
static uint32_t words[WORDS], same[WORDS];

static const char *const modes[] = {
    "sched=block,async=lazy",           "sched=rr,async=eager",
    "sched=random,async=random,seed=1", "sched=block,async=eager",
    "sched=random,async=lazy,seed=2",   "sched=rr,async=random,seed=3"};
enum { MODES = sizeof modes / sizeof *modes };

/* Word i of the buffer is i at first. */
static inline CUresult
kit_words(const char *ptx, unsigned ctas, unsigned threads)
{
  for (uint32_t i = 0; i < WORDS; i++)
    words[i] = i;
  return kit_run(ptx, ctas, threads, 0, words, sizeof words);
}

/* No findings, and the same bits under every mode, which are left in `words`. */
static inline void
clean(const char *ptx, unsigned ctas, unsigned threads)
{
  for (int i = 0; i < MODES; i++) {
    kit_set(modes[i]);
    CUresult r = kit_words(ptx, ctas, threads);
    const char *text = kit_findings();
    if (r || *text)
      fail_msg("%s: %d, %s\n%s", modes[i], r, text, ptx);
    for (uint32_t k = 0; i && k < WORDS; k++)
      if (words[k] != same[k])
        fail_msg("%s: word %u is %x, it was %x\n%s", modes[i], k, words[k], same[k], ptx);
    memcpy(same, words, sizeof same);
  }
}

/* Clean, and word t is want(t) for each of the n first. */
static inline void
right(const char *ptx, unsigned threads, uint32_t n, uint32_t (*want)(uint32_t))
{
  clean(ptx, 1, threads);
  for (uint32_t t = 0; t < n; t++)
    if (words[t] != want(t))
      fail_msg("word %u is %u, not %u\n%s", t, words[t], want(t), ptx);
}

/* A kernel that is clean, and what is told when something in it is replaced: `part` as in
 * kit_tells. */
typedef struct Fault {
  const char *good, *from, *to;
  CUresult result;
  const char *part;
} Fault;

static inline void
told(const Fault *f, unsigned threads)
{
  const char *ptx = replaced(f->good, f->from, f->to);
  for (int i = 0; i < MODES; i++) {
    kit_set(modes[i]);
    CUresult r = kit_words(ptx, 1, threads);
    const char *text = kit_findings();
    if (r != f->result || !kit_tells(text, ptx, f->part))
      fail_msg("%s: %d, no '%s' in: %s\n%s", modes[i], r, f->part, text, ptx);
  }
}

static inline void
faults(const Fault *f, size_t n, unsigned threads)
{
  for (size_t k = 0; k < n; k++) {
    if (!k || strcmp(f[k].good, f[k - 1].good))
      clean(f[k].good, 1, threads);
    told(&f[k], threads);
  }
}
#define FAULTS(cases, threads) faults(cases, sizeof(cases) / sizeof *(cases), threads)

#endif
