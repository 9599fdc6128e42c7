/* Bulk copies without a tensor: into shared memory on mbarriers, out of it in groups, and
 * reductions; and what is told of wrong ones. */
#include "tests/unit/emu_async_kit.h"

#define LOAD(to, from, bytes, bar)                                                         \
  "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [" to "], [" from     \
  "], " bytes ", [" bar "];\n"
#define STORE(to, from, bytes)                                                             \
  "@%p1 cp.async.bulk.global.shared::cta.bulk_group [" to "], [" from "], " bytes ";\n"
#define COMMIT  "@%p1 cp.async.bulk.commit_group;\n"
#define DONE(n) "@%p1 cp.async.bulk.wait_group " n ";\n"
#define READ(n) "@%p1 cp.async.bulk.wait_group.read " n ";\n"
#define PROXY   "fence.proxy.async.shared::cta;\n"
#define SYNC    "bar.sync 0;\n"
#define PUT     "st.shared.u32 [%r11], %r1;\n"
#define GET     "ld.shared.u32 %r20, [%r11];\n"

/* ---- into shared memory ---- */

/* 64 words, of which every thread finds its own. */
static const char load[] = ASYNC(INIT("1") EXPECT("bar", "256") "@%p1 " LOAD(
    "s", "%rd1+1024", "256", "bar") TRY("W", "bar", "0") GET OUT);

static uint32_t
from_256(uint32_t t)
{
  return t + 256;
}

static uint32_t
sum_of_tiles(uint32_t t)
{
  return 4 * t + 64 * (4 + 5 + 6 + 7);
}

/* A tile of the ring: both warps wait, add, and give the stage back. */
#define TILE(n, at, full, empty, parity)                                                   \
  TRY("F" n, full, parity)                                                                 \
  "T" n ": ld.shared.u32 %r21, [%r11+" at "]; add.u32 %r20, %r20, %r21;\n" ARRIVE(empty)
#define FETCH(n, at, from, full)                                                           \
  EXPECT(full, "256") "@%p1 " LOAD("s+" at, "%rd1+" from, "256", full)
#define GIVEN(n, empty, parity) TRY("E" n, empty, parity)
/* bar, bar+8: stages full; bar+16, bar+24: empty. */
static const char ring[] = ASYNC(
    MAKE("bar", "1") MAKE("bar+8", "1") MAKE("bar+16", "64") MAKE("bar+24", "64") FENCED
    "mov.u32 %r20, 0;\n" FETCH("0", "0", "1024", "bar") FETCH("1", "512", "1280", "bar+8")
        TILE("0", "0", "bar", "bar+16", "0") GIVEN("0", "bar+16", "0")
            FETCH("2", "0", "1536", "bar") TILE("1", "512", "bar+8", "bar+24", "0")
                GIVEN("1", "bar+24", "0") FETCH("3", "512", "1792", "bar+8")
                    TILE("2", "0", "bar", "bar+16", "1")
                        TILE("3", "512", "bar+8", "bar+24", "1") OUT);

static void
loads(void **state)
{
  (void)state;
  static const char *const ways[] = {
      load,
      ASYNC(INIT("1") EXPECT(
          "bar",
          "256") "@%p1 cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes "
                 "[%r10], "
                 "[%rd1+1024], 256, [bar];\n" TRY("W", "bar", "0") GET OUT),
      ASYNC(INIT("1") EXPECT(
          "bar",
          "256") "mov.b64 %rd5, 0;\n"
                 "@%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".L2::cache_hint [%r10], [%rd1+1024], 256, [bar], %rd5;\n" TRY(
                     "W", "bar", "0") GET OUT),
      /* announced behind the copy */
      ASYNC(INIT("1") "@%p1 " LOAD("s", "%rd1+1024", "256", "bar") EXPECT("bar", "256")
                TRY("W", "bar", "0") GET OUT),
      /* pieces by two warps, of which one announces; the smallest size */
      ASYNC(INIT("1") EXPECT(
          "bar", "256") "setp.eq.u32 %p5, %r1, 32;\n"
                        "@%p1 " LOAD("s", "%rd1+1024", "112", "bar") "@%p5 " LOAD(
                            "s+112", "%rd1+1136", "128",
                            "bar") "@%p5 " LOAD("s+240", "%rd1+1264", "16", "bar")
                            TRY("W", "bar", "0") GET OUT),
      /* a copy by each of 16 lanes */
      ASYNC(INIT("1")
                EXPECT("bar", "256") "setp.lt.u32 %p5, %r1, 16; shl.b32 %r22, %r1, 4;\n"
                                     "add.u32 %r23, %r22, %r10; cvt.u64.u32 %rd5, %r22; "
                                     "add.u64 %rd5, %rd5, %rd1;\n"
                                     "@%p1 fence.proxy.async;\nbar.sync 0;\n"
                                     "@%p5 " LOAD("%r23", "%rd5+1024", "16", "bar")
                                         TRY("W", "bar", "0") GET OUT),
      /* over data of threads, behind their fence */
      ASYNC(INIT("1") PUT PROXY SYNC EXPECT("bar", "256") "@%p1 " LOAD(
          "s", "%rd1+1024", "256", "bar") TRY("W", "bar", "0") GET OUT),
  };
  for (size_t k = 0; k < sizeof ways / sizeof *ways; k++)
    right(ways[k], 64, 64, from_256);
  right(ring, 64, 64, sum_of_tiles);
}

static void
wrong_loads(void **state)
{
  (void)state;
#define COPIES "{cp.async.bulk.shared}"
  static const char over[] =
      ASYNC(INIT("1") PUT PROXY SYNC EXPECT("bar", "256") "@%p1 " LOAD(
          "s", "%rd1+1024", "256", "bar") TRY("W", "bar", "0") GET OUT);
  static const char again[] = ASYNC(INIT("1") EXPECT("bar", "512") "@%p1 " LOAD(
      "s", "%rd1+1024", "256", "bar") "@%p1 " LOAD("s+512", "%rd1+2048", "256", "bar")
                                        TRY("W", "bar", "0") GET OUT);
  static const char written[] = ASYNC(INIT("1") EXPECT("bar", "256") "@%p1 " LOAD(
      "s", "%rd1+1024", "256", "bar") TRY("W", "bar", "0") PUT GET OUT);
  static const char reuse[] =
      ASYNC(MAKE("bar", "1") MAKE("bar+8", "1") MAKE("bar+16", "64")
                FENCED FETCH("0", "0", "1024", "bar") TRY("W", "bar", "0")
                    GET ARRIVE("bar+16") GIVEN("0", "bar+16", "0")
                        FETCH("1", "0", "1280", "bar+8") TRY("V", "bar+8", "0") OUT);
  static const Fault cases[] = {
      /* nobody waits */
      {load, TRY("W", "bar", "0"), "", CUDA_SUCCESS,
       "ptx:{ld.shared}: error[async-read-before-wait]: reads shared memory at byte 0, "
       "which "
       "the bulk copy of line " COPIES " fills"},
      {load, TRY("W", "bar", "0"), "", CUDA_SUCCESS,
       "ptx:" COPIES ": error[bulk-load-unfinished]: its mbarrier's days are over, at byte "
       "4096, and nobody has waited for this copy"},
      {ring, TRY("F2", "bar", "1"), "", CUDA_SUCCESS,
       "ptx:{T2: ld.shared}: error[async-read-before-wait]"},
      /* written too early */
      {written, TRY("W", "bar", "0") PUT, PUT TRY("W", "bar", "0"), CUDA_SUCCESS,
       "ptx:{st.shared}: error[async-overwrite]: writes shared memory at byte 0, which the "
       "bulk copy of line " COPIES " fills"},
      {again, "[s+512]", "[s+240]", CUDA_SUCCESS, "error[async-overwrite]: copies into"},
      {reuse, GIVEN("0", "bar+16", "0"), "", CUDA_SUCCESS,
       "ptx:{ld.shared}: error[async-read-before-wait]|ptx:{[%rd1+1280]}: "
       "error[async-overwrite]: "
       "copies into shared memory at byte 128, which warp 1 reads at line {ld.shared}"},
      {over, SYNC EXPECT("bar", "256"), EXPECT("bar", "256"), CUDA_SUCCESS,
       "ptx:" COPIES
       ": error[async-overwrite]: copies into shared memory at byte 128, which warp "
       "1 writes at line {st.shared}|ptx:{st.shared}: error[async-overwrite]: writes "
       "shared "
       "memory at byte 128, which the bulk copy of line " COPIES " fills"},
      /* fences */
      {load, FENCE, "", CUDA_SUCCESS,
       "ptx:" COPIES ": error[mbarrier-proxy]: no fence.mbarrier_init or fence.proxy.async "
       "makes the mbarrier of line {@%p1 mbarrier.init} known"},
      {over, PROXY, "", CUDA_SUCCESS, "ptx:" COPIES ": error[proxy-fence]"},
      /* mbarriers */
      {load, MAKE("bar", "1"), "", CUDA_ERROR_LAUNCH_FAILED,
       "error[mbarrier-misuse]: there is "
       "no mbarrier: none was initialised, at byte 4096"},
      {load, "256, [bar]", "256, [bar+8]", CUDA_ERROR_LAUNCH_FAILED,
       "ptx:" COPIES ": error[mbarrier-misuse]: there is no mbarrier"},
      {load, "256, [bar]", "256, [bar+4]", CUDA_ERROR_ILLEGAL_ADDRESS,
       "ptx:" COPIES ": error[mbarrier-misuse]: no mbarrier can be at 0x1404"},
  /* sizes and addresses */
#define UNEVEN                                                                             \
  CUDA_ERROR_MISALIGNED_ADDRESS, "ptx:" COPIES ": error[misaligned]: addresses and size "  \
                                 "of a bulk copy are multiples of 16"
      {load, "], 256,", "], 248,", UNEVEN},
      {load, "], 256,", "], 0,", UNEVEN},
      {load, "[s]", "[s+8]", UNEVEN},
      {load, "%rd1+1024", "%rd1+1032", UNEVEN},
      {load, "[s]", "[s+4976]", CUDA_ERROR_ILLEGAL_ADDRESS,
       "ptx:" COPIES
       ": error[out-of-bounds]: 256 bytes at byte 4976 of 5120 bytes of shared"},
      {load, "%rd1+1024", "%rd1+16144", CUDA_ERROR_ILLEGAL_ADDRESS,
       "ptx:" COPIES ": error[out-of-bounds]: "},
  };
  FAULTS(cases, 64);
}

/* The phase waits for as many bytes as were announced, no more and no fewer. */
static void
bytes_due(void **state)
{
  (void)state;
#define HANGS(phase, arrivals, bytes)                                                      \
  CUDA_ERROR_LAUNCH_TIMEOUT,                                                               \
      "error[deadlock]: no warp can go on; warp 0 waits at line {W: mbarrier} for the "    \
      "mbarrier at byte 4096, phase " phase ", " arrivals " arrivals and " bytes           \
      " bytes are pending; warp 1 waits at line {W: mbarrier} for the mbarrier at byte "   \
      "4096, "
  static const Fault cases[] = {
      {load, "[bar], 256", "[bar], 272", HANGS("0", "0 of 1", "16")},
      {load, "[bar], 256", "[bar], 240", HANGS("0", "0 of 1", "-16")},
      {load, "[bar], 1;", "[bar], 2;", HANGS("0", "1 of 2", "0")},
      {load, EXPECT("bar", "256"), "", HANGS("0", "1 of 1", "-256")},
      {load, "256, [bar]", "240, [bar]", HANGS("0", "0 of 1", "16")},
      {load, "@%p1 " LOAD("s", "%rd1+1024", "256", "bar"), "", HANGS("0", "0 of 1", "256")},
      {load, LOAD("s", "%rd1+1024", "256", "bar"),
       LOAD("s", "%rd1+1024", "256", "bar") "@%p1 " LOAD("s+256", "%rd1+1024", "256",
                                                         "bar"),
       CUDA_SUCCESS,
       "ptx:{@%p1 mbarrier.init}: error[mbarrier-bytes]: the CTA has ended; the "
       "mbarrier at byte 4096 still expects -256 bytes"},
      {ring, EXPECT("bar+8", "256"), EXPECT("bar+8", "512"), CUDA_ERROR_LAUNCH_TIMEOUT,
       "waits at line {F1: mbarrier} for the mbarrier at byte 4104, phase 0, 0 of 1 "
       "arrivals "
       "and 256 bytes are pending"},
  };
  FAULTS(cases, 64);
  /* an arrival that announces nothing ends the phase without the copy, or the copy is ahead
   */
  static const Fault silent = {load, EXPECT("bar", "256"), "@%p1 " ARRIVE("bar"),
                               CUDA_SUCCESS, "error[mbarrier-bytes]"};
  told(&silent, 64);
}

/* ---- out of shared memory ---- */

/* Thread 0 sends what all have written; then the first half is used again. */
static const char store[] =
    ASYNC(PUT PROXY SYNC STORE("%rd1+256", "s", "256") COMMIT READ("0") SYNC
          "add.u32 %r20, %r1, 7; st.shared.u32 [%r11], %r20;\n"
          "st.global.u32 [%rd2], %r20;\n");
/* Two groups: one is still in flight when the first half is used again. */
#define HALVES(wait)                                                                       \
  ASYNC(PUT PROXY SYNC STORE("%rd1+256", "s", "128")                                       \
            COMMIT STORE("%rd1+384", "s+128", "128") COMMIT wait SYNC                      \
        "add.u32 %r20, %r1, 7;\n@%p2 st.shared.u32 [%r11], %r20;\n"                        \
        "st.global.u32 [%rd2], %r20;\n" READ("0"))

static uint32_t
sent(uint32_t t)
{
  return t < 64 ? t + 7 : t < 128 ? t - 64 : t;
}

static void
stores(void **state)
{
  (void)state;
  static const char *const ways[] = {
      store,
      HALVES(READ("1")),
      HALVES(DONE("1")),
      /* one group of two, the wait covers both; an empty group is no news */
      ASYNC(PUT PROXY SYNC STORE("%rd1+256", "s", "128") STORE("%rd1+384", "s+128", "128")
                COMMIT COMMIT READ("1") SYNC
            "add.u32 %r20, %r1, 7; st.shared.u32 [%r11], %r20;\n" OUT),
      /* each warp's first lane sends its own, behind the warp's barrier */
      ASYNC(PUT PROXY
            "bar.warp.sync 0xffffffff;\n"
            "shl.b32 %r22, %r2, 7; cvt.u64.u32 %rd5, %r22; add.u64 %rd5, %rd5, %rd1;\n"
            "@%p4 cp.async.bulk.global.shared::cta.bulk_group [%rd5+256], [%r11], 128;\n"
            "@%p4 cp.async.bulk.commit_group;\n@%p4 cp.async.bulk.wait_group 0;\n"
            "bar.warp.sync 0xffffffff;\nadd.u32 %r20, %r1, 7; st.shared.u32 [%r11], "
            "%r20;\n" OUT),
  };
  for (size_t k = 0; k < sizeof ways / sizeof *ways; k++)
    right(ways[k], 64, WORDS, sent);
}

static void
wrong_stores(void **state)
{
  (void)state;
#define SENDS "{@%p1 cp.async.bulk.global}"
#define REUSE                                                                              \
  "ptx:{add.u32 %r20, %r1, 7}: error[async-overwrite]: writes shared memory at byte "
#define REUSED                                                                             \
  ", which the bulk store of line " SENDS " may still be reading: its group has not "      \
  "been waited for"
  static const Fault cases[] = {
      {store, PROXY, "", CUDA_SUCCESS, "ptx:" SENDS ": error[proxy-fence]"},
      {store, PROXY SYNC, SYNC "@%p3 " PROXY, CUDA_SUCCESS,
       "ptx:" SENDS ": error[proxy-fence]"},
      {store, READ("0"), "", CUDA_SUCCESS, REUSE},
      {store, READ("0"), "", CUDA_SUCCESS, REUSED},
      {store, READ("0"), "", CUDA_SUCCESS,
       "ptx:" SENDS ": error[bulk-store-unfinished]: the CTA has ended before"},
      {store, READ("0"), READ("1"), CUDA_SUCCESS, REUSE},
      {store, COMMIT, "", CUDA_SUCCESS, REUSE},
      {store, COMMIT, "", CUDA_SUCCESS, "ptx:" SENDS ": error[bulk-store-unfinished]"},
      /* another thread's groups are not its own */
      {store, READ("0"), "@%p3 cp.async.bulk.wait_group.read 0;\n", CUDA_SUCCESS, REUSE},
      /* thread 0 has waited, nobody tells warp 1 */
      {store, READ("0") SYNC, SYNC READ("0"), CUDA_SUCCESS, REUSE},
      {store, SYNC "add.u32", "add.u32", CUDA_SUCCESS,
       REUSE "|ptx:" SENDS
             ": error[race]: reads shared memory at byte 128, which warp 1 writes at line "
             "{add.u32 %r20, %r1, 7}"},
      {store, PUT PROXY SYNC, PUT PROXY, CUDA_SUCCESS,
       "ptx:" SENDS
       ": error[race]: reads shared memory at byte 128, which warp 1 writes at line "
       "{st.shared}|ptx:" SENDS ": error[uninitialised-shared]"},
      {store, PUT, "", CUDA_SUCCESS, "ptx:" SENDS ": error[uninitialised-shared]"},
#define ODD                                                                                \
  CUDA_ERROR_MISALIGNED_ADDRESS, "ptx:" SENDS ": error[misaligned]: addresses and size "   \
                                 "of a bulk copy are multiples of 16"
      {store, "[s], 256", "[s], 8", ODD},
      {store, "[s], 256", "[s], 0", ODD},
      {store, "[s], 256", "[s+4], 256", ODD},
      {store, "%rd1+256", "%rd1+260", ODD},
      {store, "[s], 256", "[s+4976], 256", CUDA_ERROR_ILLEGAL_ADDRESS,
       "ptx:" SENDS
       ": error[out-of-bounds]: 256 bytes at byte 4976 of 5120 bytes of shared"},
      {store, "%rd1+256", "%rd1+16384", CUDA_ERROR_ILLEGAL_ADDRESS,
       "ptx:" SENDS ": error[out-of-bounds]"},
      {HALVES(READ("1")), READ("1"), READ("2"), CUDA_SUCCESS, "error[async-overwrite]"},
  };
  FAULTS(cases, 64);
}

/* wait_group tells that global memory has been written, wait_group.read does not. */
static void
read_back(void **state)
{
  (void)state;
#define BACK "ld.global.u32 %r20, [%rd2+256];\n"
  static const char back[] =
      ASYNC(PUT PROXY SYNC STORE("%rd1+256", "s", "256") COMMIT DONE("0") SYNC BACK OUT);
  static const char halves[] = ASYNC(PUT PROXY SYNC STORE("%rd1+256", "s", "128")
                                         COMMIT STORE("%rd1+384", "s+128", "128")
                                             COMMIT DONE("1") SYNC "@%p2 " BACK READ("0"));
  static const char counted[] = ASYNC(
      PUT PROXY SYNC "@%p1 cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 "
                     "[%rd1+256], [s], 256;\n" COMMIT READ("0") SYNC
      "red.global.add.u32 [%rd2+256], 1;\n");
  /* a hundred, one after another out of the same 16 bytes */
  static const char hundred[] = ASYNC(
      "mov.u32 %r22, 0; mov.u64 %rd6, %rd1;\nMORE: add.u32 %r23, %r22, %r1;\n"
      "st.shared.u32 [%r11], %r23;\n" PROXY SYNC STORE("%rd6+256", "s", "16")
          COMMIT READ("0") SYNC "add.u64 %rd6, %rd6, 16; add.u32 %r22, %r22, 1;\n"
                                "setp.lt.u32 %p5, %r22, 100;\n@%p5 bra MORE;\nHOLE:\n");
  static const char fetched[] = ASYNC(
      INIT("1") PUT PROXY SYNC STORE("%rd1+256", "s", "256")
          COMMIT DONE("0") "@%p1 fence.proxy.async;\n" EXPECT("bar", "16") "@%p1 " LOAD(
              "s+1024", "%rd1+496", "16", "bar") TRY("W", "bar", "0"));
#define EARLY                                                                              \
  "ptx:{ld.global.u32 %r20}: error[async-read-before-wait]: reads global memory at 0x"
#define LATE                                                                               \
  ", which the bulk store of line " SENDS " may still be writing: no wait_group "          \
  "without .read has confirmed that it is complete"
  static const Fault cases[] = {
      {back, DONE("0"), READ("0"), CUDA_SUCCESS, EARLY},
      {back, DONE("0"), READ("0"), CUDA_SUCCESS, LATE},
      {back, DONE("0"), "", CUDA_SUCCESS, EARLY},
      {back, DONE("0"), DONE("1"), CUDA_SUCCESS, EARLY},
      {back, DONE("0") SYNC BACK, READ("0") SYNC "@%p1 st.global.u32 [%rd1+508], 0;\n",
       CUDA_SUCCESS,
       "ptx:{@%p1 st.global}: error[async-overwrite]: writes global memory at 0x"},
      {back, DONE("0") SYNC BACK, READ("0") SYNC "@%p1 red.global.add.u32 [%rd1+508], 1;\n",
       CUDA_SUCCESS,
       "ptx:{@%p1 red.global}: error[async-overwrite]: updates global memory"},
      {halves, "@%p2 " BACK, BACK, CUDA_SUCCESS, EARLY},
      {counted, "red.global.add.u32 [%rd2+256], 1;", "ld.global.u32 %r20, [%rd2+256];",
       CUDA_SUCCESS, EARLY},
      {hundred, "HOLE:", "ld.global.u32 %r20, [%rd1+1852];", CUDA_SUCCESS, EARLY},
      {fetched, DONE("0"), READ("0"), CUDA_SUCCESS,
       "ptx:{cp.async.bulk.shared}: error[async-read-before-wait]: copies from global "
       "memory"},
  };
  FAULTS(cases, 64);
  clean(hundred, 1, 64);
  for (uint32_t k = 0; k < WORDS; k++)
    assert_int_equal(words[k], k < 64 || k >= 464 ? k : (k - 64) / 4 + k % 4);
  /* next to what is written, on both sides */
  clean(replaced(back, DONE("0") SYNC BACK,
                 READ("0") SYNC
                 "@%p1 ld.global.u32 %r21, [%rd1+252];\n"
                 "@%p1 ld.global.u32 %r22, [%rd1+512];\nadd.u32 %r20, %r1, 0;\n"),
        1, 64);
}

/* ---- reductions ---- */

/* Of four words, or of two pairs; old and by as they lie in global and in shared memory. */
typedef struct Reduction {
  const char *op;
  uint32_t old[4], by[4], want[4];
} Reduction;

static const Reduction reductions[] = {
    {"add.u32", {1, 0xffffffff, 7, 0}, {2, 2, 0, 0}, {3, 1, 7, 0}},
    {"add.s32", {1, 0xffffffff, 7, 0}, {0xfffffffe, 2, 0, 0}, {0xffffffff, 1, 7, 0}},
    {"add.u64", {0xffffffff, 1, 5, 0}, {1, 2, 6, 0x80000000}, {0, 4, 11, 0x80000000}},
    /* 1.5 + 2.25; infinities; ties to even: 2^24 + 1 and 2^24 + 3 */
    {"add.f32",
     {0x3fc00000, 0x7f800000, 0x4b800000, 0x4b800001},
     {0x40100000, 0x3f800000, 0x3f800000, 0x3f800000},
     {0x40700000, 0x7f800000, 0x4b800000, 0x4b800002}},
    /* 1 + 2, -0.5 + 0.5 */
    {"add.f64",
     {0, 0x3ff00000, 0, 0xbfe00000},
     {0, 0x40000000, 0, 0x3fe00000},
     {0, 0x40080000, 0, 0}},
    /* halves: 1 + 2^-24; subnormals stay; 65504 + 65504; 2048 + 1 and 2050 + 1 */
    {"add.noftz.f16",
     {0x3c003c00, 0x00010400, 0x7bff7bff, 0x68006801},
     {0x00010001, 0x00018001, 0x7bff8001, 0x3c003c00},
     {0x3c003c00, 0x000203ff, 0x7c007bff, 0x68006802}},
    {"add.noftz.bf16",
     {0x3f803f80, 0x00010080, 0x7f7f4040, 0x43804381},
     {0x00013f80, 0x00018001, 0x7f7f3f80, 0x3f803f80},
     {0x3f804000, 0x0002007f, 0x7f804080, 0x43804382}},
    {"min.u32", {5, 0xfffffff0, 0, 9}, {0xfffffff0, 5, 1, 9}, {5, 5, 0, 9}},
    {"max.u32",
     {5, 0xfffffff0, 0, 9},
     {0xfffffff0, 5, 1, 9},
     {0xfffffff0, 0xfffffff0, 1, 9}},
    {"min.s32",
     {5, 0xfffffff0, 0, 9},
     {0xfffffff0, 5, 1, 9},
     {0xfffffff0, 0xfffffff0, 0, 9}},
    {"max.s32", {5, 0xfffffff0, 0, 9}, {0xfffffff0, 5, 1, 9}, {5, 5, 1, 9}},
    {"min.u64", {0, 2, 1, 0xf0000000}, {9, 1, 2, 0}, {9, 1, 2, 0}},
    {"max.s64", {0, 2, 1, 0xf0000000}, {9, 1, 2, 0}, {0, 2, 2, 0}},
    {"min.f16",
     {0x3c00bc00, 0x04000001, 0x7c00fc00, 0x40004200},
     {0xbc003c00, 0x00010400, 0x3c003c00, 0x42004000},
     {0xbc00bc00, 0x00010001, 0x3c00fc00, 0x40004000}},
    {"max.bf16",
     {0x3f80bf80, 0x00800001, 0x7f80ff80, 0x40004040},
     {0xbf803f80, 0x00010080, 0x3f803f80, 0x40404000},
     {0x3f803f80, 0x00800080, 0x7f803f80, 0x40404040}},
    {"inc.u32", {3, 4, 5, 0}, {4, 4, 4, 0}, {4, 0, 0, 0}},
    {"dec.u32", {3, 0, 5, 1}, {4, 4, 4, 4}, {2, 4, 4, 0}},
    {"and.b32", {0xff00ff00, 1, 3, 0}, {0x0ff00ff0, 1, 6, 9}, {0x0f000f00, 1, 2, 0}},
    {"or.b64", {0xff00ff00, 1, 3, 0}, {0x0ff00ff0, 1, 6, 9}, {0xfff0fff0, 1, 7, 9}},
    {"xor.b32", {0xff00ff00, 1, 3, 0}, {0x0ff00ff0, 1, 6, 9}, {0xf0f0f0f0, 0, 5, 9}},
};

/* Words 0 … are reduced by words 64 …; 36 of them, so that the last row of 32 is a part. */
#define REDUCES(op, lane)                                                                  \
  ASYNC("ld.global.u32 %r20, [%rd2+256]; st.shared.u32 [%r11], %r20;\n" PROXY SYNC         \
        "setp.eq.u32 %p5, %r1, " lane ";\n"                                                \
        "@%p5 cp.reduce.async.bulk.global.shared::cta.bulk_group." op                      \
        " [%rd1], [s], 144;\n@%p5 cp.async.bulk.commit_group;\n"                           \
        "@%p5 cp.async.bulk.wait_group 0;\n")

static void
reduces(void **state)
{
  (void)state;
  enum { N = 36 };
  for (size_t k = 0; k < sizeof reductions / sizeof *reductions; k++)
    for (int i = 0; i < MODES; i++) {
      const Reduction *r = &reductions[k];
      for (int w = 0; w < 64; w++) {
        words[w] = r->old[w % 4];
        words[64 + w] = r->by[w % 4];
      }
      kit_set(modes[i]);
      OK(kit_run(replaced(REDUCES("?", "33"), "?", r->op), 1, 64, 0, words, 512));
      kit_no_findings();
      for (int w = 0; w < 64; w++) {
        uint32_t want = w < N ? r->want[w % 4] : r->old[w % 4];
        if (words[w] != want)
          fail_msg("%s: %s: word %d is %x, not %x", modes[i], r->op, w, words[w], want);
      }
    }
}

static uint32_t
added_thrice(uint32_t t)
{
  return t < 36 ? t + 2 * 3 * (t + 64) : t;
}

/* Two threads of each of three CTAs reduce into the same words. */
static void
reduced_together(void **state)
{
  (void)state;
  static const char two[] = ASYNC(
      "ld.global.u32 %r20, [%rd2+256]; st.shared.u32 [%r11], %r20;\n" PROXY SYNC
      "@%p4 cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [%rd1], [s], 144;\n"
      "@%p4 cp.async.bulk.commit_group;\n@%p4 cp.async.bulk.wait_group.read 0;\n");
  clean(two, 3, 64);
  for (uint32_t t = 0; t < WORDS; t++)
    assert_int_equal(words[t], added_thrice(t));
  /* plain stores into what others store are a conflict */
  kit_words(replaced(two, "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32",
                     "cp.async.bulk.global.shared::cta.bulk_group"),
            3, 64);
  kit_found("error[cross-cta-conflict]");
}

static void
wrong_reductions(void **state)
{
  (void)state;
  static const char add[] = REDUCES("add.u32", "0");
#define REDUCER "{@%p5 cp.reduce}"
  static const Fault cases[] = {
      {add, PROXY, "", CUDA_SUCCESS, "ptx:" REDUCER ": error[proxy-fence]"},
      {add, "@%p5 cp.async.bulk.wait_group 0;", "", CUDA_SUCCESS,
       "ptx:" REDUCER ": error[bulk-store-unfinished]"},
      {add, "@%p5 cp.async.bulk.wait_group 0;", "@%p5 st.shared.u32 [s], 0;", CUDA_SUCCESS,
       "ptx:{@%p5 st.shared}: error[async-overwrite]"},
      {add, "[s], 144", "[s], 140", CUDA_ERROR_MISALIGNED_ADDRESS,
       "ptx:" REDUCER ": error[misaligned]"},
      {add, "[%rd1], [s]", "[%rd1+4], [s]", CUDA_ERROR_MISALIGNED_ADDRESS,
       "ptx:" REDUCER ": error[misaligned]"},
  };
  FAULTS(cases, 64);
}

/* ---- what is not PTX ---- */

static void
refused(void **state)
{
  (void)state;
  static const struct {
    const char *good, *from, *to, *part;
  } cases[] = {
      {load, "[bar];\n", "bar;\n", ""},
      {load, "], 256, [bar]", "], 256", ""},
      {load, "[%rd1+1024]", "[%r1]", "a register of 64 bits"},
      {load, "[%rd1+1024]", "[s]", "in another state space"},
      {load, "bytes [s]", "bytes [p]", "in another state space"},
      {load, "bytes [s]", "bytes.L2::cache_hint [s]", "go together"},
      {load, "mbarrier::complete_tx::bytes", "bulk_group", ""},
      {load, ".target sm_90a", ".target sm_89", "needs .target sm_90"},
      {load, "8.6\n.target sm_90a", "7.8\n.target sm_90", "needs .version 8.0"},
      {store, "shared::cta.bulk_group", "shared::cta", ""},
      {store, "wait_group.read 0", "wait_group.read %r1", ""},
      {REDUCES("add.f16", "0"), "noop", "noop", ""},
      {REDUCES("min.f32", "0"), "noop", "noop", ""},
      {REDUCES("add.noftz.f32", "0"), "noop", "noop", ""},
      {REDUCES("add.s64", "0"), "noop", "noop", ""},
      {REDUCES("inc.s32", "0"), "noop", "noop", ""},
  };
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    CUmodule m;
    char log[1000];
    bool whole = !strcmp(cases[k].from, "noop");
    const char *ptx =
        whole ? cases[k].good : replaced(cases[k].good, cases[k].from, cases[k].to);
    if (kit_load(ptx, &m, log, sizeof log) != CUDA_ERROR_INVALID_PTX ||
        !strstr(log, cases[k].part))
      fail_msg("no '%s' in '%s':\n%s", cases[k].part, log, ptx);
  }
}

int
main(void)
{
  kit_start("arch=sm_90");
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(loads),
      cmocka_unit_test(wrong_loads),
      cmocka_unit_test(bytes_due),
      cmocka_unit_test(stores),
      cmocka_unit_test(wrong_stores),
      cmocka_unit_test(read_back),
      cmocka_unit_test(reduces),
      cmocka_unit_test(reduced_together),
      cmocka_unit_test(wrong_reductions),
      cmocka_unit_test(refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
