/* Lanes that part and meet, barriers, lanes with each other, and what cannot go on. */
#include "tests/unit/emu_kit.h"

#define KIT90(body) KIT_HEAD("8.0", "sm_90") KIT_ENTRY body "ret;\n}\n"
#define STORE       "st.global.u32 [%rd2], %r5;\n"

enum { MOST = 256 };
static uint32_t out[MOST];

static void
run(const char *ptx, unsigned threads)
{
  memset(out, 0, sizeof out);
  OK(kit_run(ptx, 1, threads, 0, out, sizeof out));
  kit_no_findings();
}

static void
expect(unsigned threads, uint32_t (*want)(uint32_t))
{
  for (uint32_t t = 0; t < threads; t++)
    if (out[t] != want(t))
      fail_msg("thread %u: %x, not %x", t, out[t], want(t));
}

/* ---- divergence ---- */

static uint32_t
two_sides_want(uint32_t t)
{
  return (t % 32 < 10 ? 100 : 200) + __builtin_popcount(0xfffffc00u);
}

static void
two_sides(void **state)
{
  (void)state;
  run(KIT("and.b32 %r2, %r1, 31; setp.lt.u32 %p1, %r2, 10;\n"
          "@%p1 bra LOW;\n mov.u32 %r5, 200; bra MEET;\n"
          "LOW: mov.u32 %r5, 100;\n"
          "MEET: setp.gt.u32 %p2, %r5, 150;\n"
          "vote.sync.ballot.b32 %r6, %p2, 0xffffffff; popc.b32 %r6, %r6;\n"
          "add.u32 %r5, %r5, %r6;\n" STORE),
      64);
  expect(64, two_sides_want);
}

static uint32_t
triangle(uint32_t t)
{
  return t * (t + 1) / 2;
}

static void
trip_counts(void **state)
{
  (void)state;
  run(KIT("mov.u32 %r5, 0; mov.u32 %r2, %r1;\n"
          "setp.eq.u32 %p1, %r2, 0; @%p1 bra DONE;\n"
          "LOOP: add.u32 %r5, %r5, %r2; sub.u32 %r2, %r2, 1;\n"
          "setp.ne.u32 %p1, %r2, 0; @%p1 bra LOOP;\n"
          "DONE: bar.warp.sync 0xffffffff;\n" STORE),
      96);
  expect(96, triangle);
}

static uint32_t
nested_want(uint32_t t)
{
  t %= 32;
  if (t >= 28)
    return 0; /* has gone */
  return t < 16 ? (t < 8 ? 0xff : 0xff00) : 0x0fff0000;
}

static void
nested(void **state)
{
  (void)state;
  run(KIT("and.b32 %r2, %r1, 31; setp.ge.u32 %p1, %r2, 28; @%p1 exit;\n"
          "setp.ge.u32 %p1, %r2, 16; @%p1 bra HIGH;\n"
          "setp.ge.u32 %p2, %r2, 8; @%p2 bra MIDDLE;\n"
          "activemask.b32 %r5; bra OUT;\n"
          "MIDDLE: activemask.b32 %r5; bra OUT;\n"
          "HIGH: activemask.b32 %r5;\n"
          "OUT: " STORE),
      32);
  expect(32, nested_want);
}

static uint32_t
table_want(uint32_t t)
{
  static const uint32_t arms[3] = {30, 10, 20};
  return arms[t % 3] + 1;
}

static void
jump_table(void **state)
{
  (void)state;
  run(KIT("rem.u32 %r2, %r1, 3;\nlist: .branchtargets C, A, B;\nbrx.idx %r2, list;\n"
          "A: mov.u32 %r5, 10; bra OUT;\nB: mov.u32 %r5, 20; bra OUT;\n"
          "C: mov.u32 %r5, 30;\nOUT: add.u32 %r5, %r5, 1;\n" STORE),
      64);
  expect(64, table_want);
}

/* Lane 0 comes last to the flag that the others of its warp wait for. */
static void
lanes_wait_for_lane(void **state)
{
  (void)state;
  run(KIT(".shared .u32 flag;\nsetp.ne.u32 %p1, %r1, 0;\n"
          "@!%p1 st.shared.u32 [flag], 0; bar.warp.sync 0xffffffff;\n"
          "@!%p1 bra SET;\n"
          "WAIT: atom.shared.add.u32 %r3, [flag], 0; setp.eq.u32 %p2, %r3, 0;\n"
          "@%p2 bra WAIT; bra GO;\n"
          "SET: atom.shared.exch.b32 %r3, [flag], 1;\n"
          "GO: mov.u32 %r5, 7;\n" STORE),
      32);
  assert_int_equal(out[0], 7);
  assert_int_equal(out[31], 7);
}

/* Warp 0 waits for a flag that warp 1 sets. */
static void
warps_wait_for_warp(void **state)
{
  (void)state;
  run(KIT(".shared .u32 flag;\nsetp.eq.u32 %p1, %r1, 0; @%p1 st.shared.u32 [flag], 0;\n"
          "bar.sync 0; setp.ge.u32 %p1, %r1, 32; @%p1 bra SET;\n"
          "WAIT: atom.shared.add.u32 %r3, [flag], 0; setp.eq.u32 %p2, %r3, 0;\n"
          "@%p2 bra WAIT; bra GO;\n"
          "SET: atom.shared.exch.b32 %r3, [flag], 1;\n"
          "GO: mov.u32 %r5, 9;\n" STORE),
      64);
  assert_int_equal(out[0], 9);
  assert_int_equal(out[63], 9);
}

/* ---- lanes with each other ---- */

typedef struct Shuffle {
  const char *text;
  unsigned width; /* of CUDA's __shfl functions: c is made of it */
  char mode;
  int by;
} Shuffle;

static int
shuffle_source(const Shuffle *s, int lane)
{
  int w = (int)s->width, base = lane / w * w, j = lane;
  switch (s->mode) {
  case 'u':
    j = lane - s->by;
    return j < base ? lane : j;
  case 'd':
    j = lane + s->by;
    return j >= base + w ? lane : j;
  case 'x':
    j = lane ^ s->by;
    return j >= base + w ? lane : j;
  default:
    return base + s->by % w;
  }
}

static void
shuffles(void **state)
{
  static const Shuffle rows[] = {
      {"shfl.sync.up.b32 %r4|%p1, %r3, 3, 0, -1;", 32, 'u', 3},
      {"shfl.sync.up.b32 %r4|%p1, %r3, 3, 0x1800, -1;", 8, 'u', 3},
      {"shfl.sync.down.b32 %r4|%p1, %r3, 5, 31, -1;", 32, 'd', 5},
      {"shfl.sync.down.b32 %r4|%p1, %r3, 5, 0x101f, -1;", 16, 'd', 5},
      {"shfl.sync.bfly.b32 %r4|%p1, %r3, 9, 31, -1;", 32, 'x', 9},
      {"shfl.sync.bfly.b32 %r4|%p1, %r3, 1, 0x1c1f, -1;", 4, 'x', 1},
      {"shfl.sync.idx.b32 %r4|%p1, %r3, 6, 31, -1;", 32, 'i', 6},
      {"shfl.sync.idx.b32 %r4|%p1, %r3, 6, 0x181f, -1;", 8, 'i', 6},
  };
  char ptx[2000];
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const Shuffle *s = &rows[i];
    snprintf(ptx, sizeof ptx, "%sadd.u32 %%r3, %%r1, 1000; %s\n%s%sret;\n}\n",
             KIT_HEAD("7.0", "sm_80") KIT_ENTRY, s->text,
             "selp.u32 %r5, 0, 0x10000, %p1; add.u32 %r5, %r5, %r4;\n", STORE);
    run(ptx, 32);
    for (int l = 0; l < 32; l++) {
      int j = shuffle_source(s, l);
      bool kept = j == l && !(s->mode == 'i' && s->by % (int)s->width == l % (int)s->width);
      uint32_t want = (uint32_t)j + 1000 + (kept ? 0x10000 : 0);
      if (out[l] != want)
        fail_msg("%s lane %d: %x, not %x", s->text, l, out[l], want);
    }
  }
}

/* Two halves shuffle within their own member masks, at the same instruction. */
static void
halves(void **state)
{
  (void)state;
  run(KIT("setp.lt.u32 %p1, %r1, 16; selp.b32 %r2, 0xffff, 0xffff0000, %p1;\n"
          "shfl.sync.bfly.b32 %r5, %r1, 1, 31, %r2;\n"
          "@%p1 bra A; shfl.sync.idx.b32 %r6, %r5, 20, 31, 0xffff0000; bra B;\n"
          "A: shfl.sync.idx.b32 %r6, %r5, 2, 31, 0x0000ffff;\n"
          "B: mad.lo.u32 %r5, %r6, 100, %r5;\n" STORE),
      32);
  assert_int_equal(out[0], 301);
  assert_int_equal(out[31], 2130);
}

static void
votes(void **state)
{
  (void)state;
  run(KIT90(
          "setp.lt.u32 %p1, %r1, 32; mov.u32 %r5, 0;\n"
          "vote.sync.all.pred %p2, %p1, -1; selp.u32 %r6, 1, 0, %p2; or.b32 %r5, %r5, "
          "%r6;\n"
          "setp.eq.u32 %p1, %r1, 3;\n"
          "vote.sync.any.pred %p2, %p1, -1; selp.u32 %r6, 2, 0, %p2; or.b32 %r5, %r5, "
          "%r6;\n"
          "vote.sync.uni.pred %p2, %p1, -1; selp.u32 %r6, 4, 0, %p2; or.b32 %r5, %r5, "
          "%r6;\n"
          "vote.sync.all.pred %p2, !%p1, -1; selp.u32 %r6, 8, 0, %p2; or.b32 %r5, %r5, "
          "%r6;\n"
          "vote.sync.ballot.b32 %r7, %p1, -1; shl.b32 %r7, %r7, 4; or.b32 %r5, %r5, %r7;\n"
          "and.b32 %r8, %r1, 1; match.any.sync.b32 %r9, %r8, -1;\n"
          "and.b32 %r9, %r9, 3; shl.b32 %r9, %r9, 8; or.b32 %r5, %r5, %r9;\n"
          "match.all.sync.b32 %r9|%p3, 5, -1; selp.u32 %r6, 0x400, 0, %p3;\n"
          "or.b32 %r5, %r5, %r6;\n"
          "elect.sync %r9|%p3, 0xffffffff; selp.u32 %r6, 0x800, 0, %p3;\n"
          "or.b32 %r5, %r5, %r6;\n"
          "redux.sync.add.u32 %r9, %r1, -1; shl.b32 %r9, %r9, 12; or.b32 %r5, %r5, %r9;\n"
          "neg.s32 %r10, %r1; redux.sync.min.s32 %r9, %r10, -1; neg.s32 %r9, %r9;\n"
          "shl.b32 %r9, %r9, 24; or.b32 %r5, %r5, %r9;\n" STORE),
      32);
  uint32_t both = 1 | 2 | 8 << 4 | 0x400 | 496 << 12 | 31u << 24;
  assert_int_equal(out[0], both | 1 << 8 | 0x800);
  assert_int_equal(out[1], both | 2 << 8);
}

/* ---- barriers ---- */

static uint32_t
neighbour(uint32_t t)
{
  return (t + 32) % 128 + 5;
}

static const char exchange[] =
    KIT(".shared .u32 s[128];\n"
        "mov.u32 %r2, s; shl.b32 %r3, %r1, 2; add.u32 %r3, %r2, %r3;\n"
        "add.u32 %r4, %r1, 5; st.shared.u32 [%r3], %r4;\n"
        "bar.sync 0;\n"
        "add.u32 %r4, %r1, 32; and.b32 %r4, %r4, 127; shl.b32 %r4, %r4, 2;\n"
        "add.u32 %r4, %r2, %r4; ld.shared.u32 %r5, [%r4];\n" STORE);

static void
every_schedule(void **state)
{
  static const char *const settings[] = {"sched=block", "sched=rr", "sched=random,seed=1",
                                         "sched=random,seed=2"};
  (void)state;
  for (int i = 0; i < 4; i++) {
    kit_set(settings[i]);
    run(exchange, 128);
    expect(128, neighbour);
  }
  kit_set("sched=block,seed=0");
}

static uint32_t
handed_over(uint32_t t)
{
  return t < 64 ? 0 : t - 64 + 11;
}

/* Two warps fill, two take: bar.arrive and bar.sync of 128 threads, number in a register.
 */
static void
named_barrier(void **state)
{
  (void)state;
  run(KIT(".shared .u32 s[64];\nmov.u32 %r2, s; and.b32 %r3, %r1, 63; shl.b32 %r3, %r3, "
          "2;\n"
          "add.u32 %r3, %r2, %r3; mov.u32 %r5, 0; mov.u32 %r8, 3;\n"
          "setp.ge.u32 %p1, %r1, 64; @%p1 bra TAKE;\n"
          "add.u32 %r4, %r1, 11; st.shared.u32 [%r3], %r4; bar.arrive %r8, 128; bra OUT;\n"
          "TAKE: bar.sync %r8, 128; ld.shared.u32 %r5, [%r3];\n"
          "OUT: " STORE),
      128);
  expect(128, handed_over);
}

static uint32_t
doubled(uint32_t t)
{
  return t < 64 ? 2 * t : t;
}

/* What warps arrive for themselves is theirs to take: the first turn of a ring. */
static void
own_arrivals(void **state)
{
  (void)state;
  run(KIT("mov.u32 %r5, %r1; setp.ge.u32 %p1, %r1, 64; @%p1 bra OUT;\n"
          "bar.arrive 1, 128; bar.sync 1, 128; add.u32 %r5, %r5, %r1;\n"
          "OUT: " STORE),
      128);
  expect(128, doubled);
}

static uint32_t
reduced(uint32_t t)
{
  (void)t;
  return 3 + 64 * 10 + 4096 * 0 + 8192 * 1;
}

static void
barrier_reductions(void **state)
{
  (void)state;
  run(KIT("setp.lt.u32 %p1, %r1, 67; bar.red.popc.u32 %r5, 0, !%p1;\n"
          "sub.u32 %r5, 96, %r5; sub.u32 %r5, %r5, 64;\n"
          "setp.lt.u32 %p1, %r1, 10; bar.red.popc.u32 %r6, 1, 96, %p1;\n"
          "shl.b32 %r6, %r6, 6; add.u32 %r5, %r5, %r6;\n"
          "bar.red.and.pred %p2, 0, %p1; selp.u32 %r6, 4096, 0, %p2;\n"
          "add.u32 %r5, %r5, %r6;\n"
          "bar.red.or.pred %p2, 0, %p1; selp.u32 %r6, 8192, 0, %p2;\n"
          "add.u32 %r5, %r5, %r6;\n" STORE),
      96);
  expect(96, reduced);
}

/* ---- what cannot go on ---- */

typedef struct Stuck {
  const char *ptx;
  unsigned threads;
  CUresult result;
  const char *found[3];
} Stuck;

static const Stuck stuck[] = {
    {KIT("setp.lt.u32 %p1, %r1, 32;\n@%p1 bra OUT;\nbar.sync 0;\nOUT:\n"),
     96,
     CUDA_ERROR_LAUNCH_TIMEOUT,
     {"ptx:11: error[deadlock]: no warp can go on",
      "warp 0 has exited; warp 1 waits at line 11 for barrier 0, 64 of 96",
      "warp 2 waits at line 11"}},
    {KIT("LOOP: bra LOOP;\n"),
     64,
     CUDA_ERROR_LAUNCH_TIMEOUT,
     {"ptx:9: error[fuel]", "warp 0 is at line 9", NULL}},
    {KIT("trap;\n"),
     32,
     CUDA_ERROR_LAUNCH_FAILED,
     {"ptx:9: error[trap]", "warp 0, lane 0", NULL}},
    {KIT("bar.sync 16;\n"),
     32,
     CUDA_ERROR_LAUNCH_FAILED,
     {"ptx:9: error[barrier-misuse]", "(16)", NULL}},
    {KIT("bar.sync 1, 33;\n"),
     64,
     CUDA_ERROR_LAUNCH_FAILED,
     {"error[barrier-misuse]: a barrier of an impossible number of threads (33)", "",
      NULL}},
    {KIT("bar.sync 1, 96;\n"),
     64,
     CUDA_ERROR_LAUNCH_FAILED,
     {"error[barrier-misuse]", "", NULL}},
    {KIT("bar.sync %r1;\n"),
     32,
     CUDA_ERROR_LAUNCH_FAILED,
     {"error[barrier-misuse]: the barrier's operands differ between lanes", "", NULL}},
    {KIT("setp.lt.u32 %p1, %r1, 32;\n@%p1 bar.sync 1, 64;\n@!%p1 bar.sync 1, 96;\n"),
     96,
     CUDA_ERROR_LAUNCH_FAILED,
     {"ptx:11: error[barrier-misuse]: barrier 1 is awaited by 96 threads here and by 64 at "
      "line 10",
      "", NULL}},
    {KIT("bar.arrive 1, 64;\nbar.arrive 1, 64;\nbar.sync 0;\n"),
     64,
     CUDA_ERROR_LAUNCH_FAILED,
     {"ptx:10: error[barrier-misuse]: the warp arrives twice", "", NULL}},
    {KIT("setp.lt.u32 %p1, %r1, 9;\n@%p1 bar.sync 0;\n"),
     32,
     CUDA_ERROR_LAUNCH_FAILED,
     {"ptx:10: error[partial-warp]: only lanes 000001ff of ffffffff", "", NULL}},
    {KIT("setp.lt.u32 %p1, %r1, 9;\n@%p1 bra A;\nbar.sync 0;\nbra B;\nA: bar.sync "
         "0;\nB:\n"),
     32,
     CUDA_ERROR_LAUNCH_FAILED,
     {"ptx:11: error[partial-warp]: lanes fffffe00 wait here for others of their warp, "
      "which "
      "wait at line 13",
      "", NULL}},
    {KIT("setp.lt.u32 %p1, %r1, 9;\n@%p1 shfl.sync.idx.b32 %r2, %r1, 0, 31, -1;\n"),
     32,
     CUDA_ERROR_LAUNCH_FAILED,
     {"error[partial-warp]: the member masks name lanes fffffe00, whose guard is false", "",
      NULL}},
    {KIT("bar.warp.sync 0xfffffffe;\n"),
     32,
     CUDA_ERROR_LAUNCH_FAILED,
     {"error[member-mask]", "lane 0", NULL}},
    {KIT("setp.lt.u32 %p1, %r1, 9;\n@%p1 bra.uni A;\nA:\n"),
     32,
     CUDA_ERROR_LAUNCH_FAILED,
     {"error[divergent-uni]: bra.uni is taken by lanes 000001ff of ffffffff", "", NULL}},
    {KIT("list: .branchtargets A;\nbrx.idx %r1, list;\nA:\n"),
     32,
     CUDA_ERROR_LAUNCH_FAILED,
     {"error[branch-index]: index 1 of 1", "lane 1", NULL}},
    {KIT("setp.lt.u32 %p1, %r1, 9; @%p1 exit;\n"
         "movmatrix.sync.aligned.m8n8.trans.b16 %r2, %r1;\n"),
     32,
     CUDA_ERROR_LAUNCH_FAILED,
     {"ptx:10: error[partial-warp]: an aligned instruction is executed by lanes fffffe00",
      "", NULL}},
};

static void
stuck_kernels(void **state)
{
  (void)state;
  kit_set("fuel=20000");
  for (size_t i = 0; i < sizeof stuck / sizeof *stuck; i++) {
    CUresult r = kit_run(stuck[i].ptx, 1, stuck[i].threads, 0, out, sizeof out);
    if (r != stuck[i].result)
      fail_msg("%s: %d, %s", stuck[i].ptx, r, kit_findings());
    const char *text = kit_findings();
    for (int j = 0; j < 3 && stuck[i].found[j]; j++)
      if (!strstr(text, stuck[i].found[j]))
        fail_msg("no '%s' in %s", stuck[i].found[j], text);
  }
  kit_set("fuel=100000000");
}

/* Wrong, but it can go on; the device goes on after a failure too. */
static void
found_and_done(void **state)
{
  (void)state;
  OK(kit_run(KIT("setp.lt.u32 %p1, %r1, 9; @%p1 exit;\nbar.sync 0;\n"), 1, 32, 0, out,
             sizeof out));
  kit_found("ptx:10: error[barrier-divergence]: lanes 000001ff have exited before");
  OK(kit_run(KIT("shfl.sync.idx.b32 %r5, %r1, 20, 31, 0xffff;\n" STORE), 1, 16, 0, out,
             sizeof out));
  kit_found("ptx:9: error[inactive-lane]");
  OK(kit_run(KIT("add.u32 %r5, %r6, %r1;\n" STORE), 1, 32, 0, out, sizeof out));
  kit_found("ptx:10: error[uninitialised-register]: stores a value that comes from "
            "register %r6: line 9 reads it");
  OK(kit_run(KIT("@%p3 st.global.u32 [%rd2], %r1;\n"), 1, 32, 0, out, sizeof out));
  kit_found("reads register %p3");
  kit_set("checks=none");
  OK(kit_run(KIT("add.u32 %r5, %r6, %r1;\n" STORE), 1, 32, 0, out, sizeof out));
  kit_no_findings();
  kit_set("checks=all");
}

/* 40 CTAs on several host threads, and special registers. */
static void
many_ctas(void **state)
{
  static const char ptx[] =
      KIT("mov.u32 %r2, %ctaid.x; mov.u32 %r3, %nctaid.x; mov.u32 %r4, %ntid.x;\n"
          "mad.lo.u32 %r6, %r2, %r4, %r1; mul.wide.u32 %rd3, %r6, 4;\n"
          "add.s64 %rd3, %rd1, %rd3; mad.lo.u32 %r5, %r3, 1000, %r6;\n"
          "st.global.u32 [%rd3], %r5;\n"
          "atom.global.add.u32 %r7, [%rd1+5120], %r6;\n");
  static const char *const settings[] = {"threads=1", "threads=3", "threads=0"};
  (void)state;
  for (int i = 0; i < 3; i++) {
    uint32_t all[40 * 32 + 1] = {0};
    kit_set(settings[i]);
    OK(kit_run(ptx, 40, 32, 0, all, sizeof all));
    kit_no_findings();
    for (uint32_t j = 0; j < 1280; j++)
      assert_int_equal(all[j], 40000 + j);
    assert_int_equal(all[1280], 1280 * 1279 / 2);
  }
}

/* Each CTA waits for the one behind it, by reads that nothing tells from others: they wait
 * for ever where one runs at a time. */
static void
resident(void **state)
{
  static const char *const ptx =
      KIT("mov.u32 %r2, %ctaid.x; mov.u32 %r3, %nctaid.x; add.u32 %r4, %r2, 1;\n"
          "mov.u32 %r5, 0;\n"
          "mul.wide.u32 %rd3, %r4, 4; add.s64 %rd3, %rd1, %rd3;\n"
          "setp.eq.u32 %p1, %r4, %r3; @%p1 bra GO;\n"
          "WAIT: ld.global.u32 %r5, [%rd3]; setp.eq.u32 %p2, %r5, 0;\n"
          "@%p2 bra WAIT; GO: add.u32 %r5, %r5, 1; @%p1 mov.u32 %r5, 1;\n"
          "st.global.u32 [%rd3+-4], %r5;\n");
  static const char *const orders[] = {"sched=block", "sched=rr", "sched=random"};
  (void)state;
  for (int i = 0; i < 3; i++) {
    kit_set(orders[i]);
    kit_set("threads=1,resident=8");
    memset(out, 0, sizeof out);
    OK(kit_run(ptx, 8, 1, 0, out, sizeof out));
    kit_found("error[cross-cta-conflict]");
    for (uint32_t j = 0; j < 8; j++)
      assert_int_equal(out[j], 8 - j);
    memset(out, 0, sizeof out);
    kit_set("resident=7,fuel=10000");
    assert_int_equal(kit_run(ptx, 8, 1, 0, out, sizeof out), CUDA_ERROR_LAUNCH_TIMEOUT);
    kit_found("error[fuel]");
    kit_set("resident=1,fuel=100000000,threads=0,sched=block");
  }
}

static uint32_t
specials_want(uint32_t t)
{
  uint32_t l = t % 32;
  return l ^ (t / 32) << 8 ^ (1u << l) ^ ((2u << l) - 1) ^ ((1u << l) - 1) ^ (~0u << l) ^
         (l == 31 ? 0 : ~0u << (l + 1));
}

static void
specials(void **state)
{
  static const char *const names[] = {"%lanemask_eq", "%lanemask_le", "%lanemask_lt",
                                      "%lanemask_ge", "%lanemask_gt"};
  char ptx[3000];
  (void)state;
  strcpy(ptx, KIT_HEAD("7.0", "sm_80") KIT_ENTRY
         "mov.u32 %r5, %laneid; mov.u32 %r6, %warpid; shl.b32 %r6, %r6, 8;\n"
         "xor.b32 %r5, %r5, %r6;\n");
  for (int i = 0; i < 5; i++)
    sprintf(ptx + strlen(ptx), "mov.u32 %%r6, %s; xor.b32 %%r5, %%r5, %%r6;\n", names[i]);
  strcat(ptx, STORE "mov.u64 %rd5, %clock64; mov.u32 %r7, %clock;\nret;\n}\n");
  run(ptx, 64);
  expect(64, specials_want);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(two_sides),
      cmocka_unit_test(trip_counts),
      cmocka_unit_test(nested),
      cmocka_unit_test(jump_table),
      cmocka_unit_test(lanes_wait_for_lane),
      cmocka_unit_test(warps_wait_for_warp),
      cmocka_unit_test(shuffles),
      cmocka_unit_test(halves),
      cmocka_unit_test(votes),
      cmocka_unit_test(every_schedule),
      cmocka_unit_test(named_barrier),
      cmocka_unit_test(own_arrivals),
      cmocka_unit_test(barrier_reductions),
      cmocka_unit_test(stuck_kernels),
      cmocka_unit_test(found_and_done),
      cmocka_unit_test(many_ctas),
      cmocka_unit_test(resident),
      cmocka_unit_test(specials),
  };
  kit_start("arch=sm_90");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
