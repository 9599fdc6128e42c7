/* State spaces, atomics, faults, copies that land later, matrices. */
#include "tests/unit/emu_kit.h"

#define STORE "st.global.u32 [%rd2], %r5;\n"

static uint32_t out[1024];

static void
run_on(const char *ptx, unsigned threads, unsigned smem)
{
  OK(kit_run(ptx, 1, threads, smem, out, sizeof out));
  kit_no_findings();
}

static void
run(const char *ptx, unsigned threads)
{
  memset(out, 0, sizeof out);
  run_on(ptx, threads, 0);
}

/* ---- loads and stores ---- */

static void
widths(void **state)
{
  static const uint8_t bytes[16] = {0x80, 0x01, 0xff, 0x7f, 1,    2,    3,    4,
                                    5,    6,    7,    8,    0xaa, 0xbb, 0xcc, 0xdd};
  (void)state;
  memset(out, 0, sizeof out);
  memcpy(out, bytes, sizeof bytes);
  run_on(KIT("ld.global.u8 %r2, [%rd1]; st.global.u32 [%rd1+64], %r2;\n"
             "ld.global.s8 %r2, [%rd1]; st.global.u32 [%rd1+68], %r2;\n"
             "ld.global.s16 %r2, [%rd1+2]; st.global.u32 [%rd1+72], %r2;\n"
             "ld.global.s8 %rs2, [%rd1]; st.global.u16 [%rd1+76], %rs2;\n"
             "ld.global.s32 %rd3, [%rd1+12]; st.global.u64 [%rd1+80], %rd3;\n"
             "ld.global.v4.u8 {%r2, _, %rs3, %r4}, [%rd1+4];\n"
             "st.global.v2.u32 [%rd1+88], {%r2, %r4};\n"
             "ld.global.v2.b64 {%rd3, %rd4}, [%rd1]; st.global.v2.b64 [%rd1+96], {%rd4, "
             "%rd3};\n"
             "ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd1];\n"
             "st.global.v4.f32 [%rd1+112], {%f4, %f3, %f2, %f1};\n"
             "ld.global.nc.L1::no_allocate.v2.u16 {%rs1, %rs2}, [%rd1];\n"
             "st.global.wt.v2.u16 [%rd1+128], {%rs2, %rs1};\n"
             "ld.volatile.global.u32 %r2, [%rd1+4]; st.relaxed.gpu.global.u32 [%rd1+132], "
             "%r2;\n"),
         1, 0);
  static const uint32_t want[] = {0x80,       0xffffff80, 0x7fff, 0xff80,
                                  0xddccbbaa, 0xffffffff, 1,      4};
  assert_memory_equal(out + 16, want, sizeof want);
  assert_memory_equal(out + 24, bytes + 8, 8);
  assert_memory_equal(out + 26, bytes, 8);
  assert_memory_equal(out + 28, bytes + 12, 4);
  assert_memory_equal(out + 31, bytes, 4);
  assert_int_equal(out[32], 0x01807fff);
  assert_int_equal(out[33], 0x04030201);
}

/* The same word through a generic address of each space. */
static void
generic(void **state)
{
  (void)state;
  run(KIT_HEAD(
          "7.8",
          "sm_80") ".const .u32 seven = 7;\n.global .u32 eight = 8;\n" KIT_ENTRY
                   ".shared .align 8 .b8 sh[128]; .local .align 4 .b8 lo[16];\n"
                   "mov.u64 %rd3, sh; cvta.shared.u64 %rd3, %rd3; mov.u64 %rd4, lo; "
                   "cvta.local.u64 %rd4, %rd4;\n"
                   "mov.u64 %rd5, p; cvta.param.u64 %rd5, %rd5; cvta.const.u64 %rd6, "
                   "seven;\n"
                   "mov.u64 %rd7, eight;\n"
                   "mul.wide.u32 %rd8, %r1, 4; add.u64 %rd3, %rd3, %rd8;\n"
                   "add.u32 %r2, %r1, 100; st.u32 [%rd3], %r2; st.u32 [%rd4+4], %r1;\n"
                   "bar.warp.sync -1;\n"
                   "ld.u32 %r3, [%rd3]; ld.u32 %r4, [%rd4+4]; add.u32 %r5, %r3, %r4;\n"
                   "ld.u64 %rd9, [%rd5]; setp.eq.u64 %p1, %rd9, %rd1; selp.u32 %r6, 1000, "
                   "0, %p1;\n"
                   "add.u32 %r5, %r5, %r6; ld.u32 %r6, [%rd6]; add.u32 %r5, %r5, %r6;\n"
                   "ld.u32 %r6, [%rd7]; add.u32 %r5, %r5, %r6;\n"
                   "isspacep.shared %p1, %rd3; selp.u32 %r6, 0x10000, 0, %p1; add.u32 %r5, "
                   "%r5, %r6;\n"
                   "isspacep.global %p1, %rd1; selp.u32 %r6, 0x20000, 0, %p1; add.u32 %r5, "
                   "%r5, %r6;\n"
                   "isspacep.local %p1, %rd3; selp.u32 %r6, 0x40000, 0, %p1; add.u32 %r5, "
                   "%r5, %r6;\n"
                   "cvta.to.shared.u64 %rd3, %rd3; ld.shared.u32 %r6, [%rd3]; setp.ne.u32 "
                   "%p1, %r6, %r3;\n"
                   "selp.u32 %r6, 0x80000, 0, %p1; add.u32 %r5, %r5, %r6;\n" STORE
                   "ret;\n}\n",
      32);
  for (uint32_t t = 0; t < 32; t++)
    assert_int_equal(out[t], 100 + 2 * t + 1015 + 0x30000);
}

/* Lanes of one instruction in different spaces. */
static void
mixed(void **state)
{
  (void)state;
  run(KIT(".shared .align 4 .b8 sh[128]; .local .align 4 .b8 lo[4];\n"
          "mov.u64 %rd3, sh; cvta.shared.u64 %rd3, %rd3; mul.wide.u32 %rd4, %r1, 4;\n"
          "add.u64 %rd3, %rd3, %rd4; mov.u64 %rd5, lo; cvta.local.u64 %rd5, %rd5;\n"
          "setp.lt.u32 %p1, %r1, 10; selp.u64 %rd6, %rd3, %rd5, %p1;\n"
          "setp.lt.u32 %p1, %r1, 20; selp.u64 %rd6, %rd6, %rd2, %p1;\n"
          "st.u32 [%rd6], %r1; ld.u32 %r5, [%rd6]; add.u32 %r5, %r5, 1;\n" STORE),
      32);
  for (uint32_t t = 0; t < 32; t++)
    assert_int_equal(out[t], t + 1);
}

/* Initial values, and addresses among them. */
static void
variables(void **state)
{
  (void)state;
  run(KIT_HEAD("7.0", "sm_80") ".global .align 8 .u64 link[2] = {tab, generic(tab)+4};\n"
                               ".global .align 4 .b8 tab[8] = {1, 2, 3, 4, 5};\n"
                               ".const .f32 list[3] = {1.5, 0f40000000, -3e2};\n" KIT_ENTRY
                               "mov.u64 %rd3, link; ld.global.u64 %rd4, [%rd3]; "
                               "ld.global.u64 %rd5, [link+8];\n"
                               "ld.global.u32 %r2, [%rd4]; st.global.u32 [%rd1], %r2;\n"
                               "ld.global.u32 %r2, [%rd5]; st.global.u32 [%rd1+4], %r2;\n"
                               "ld.const.f32 %f1, [list]; ld.const.f32 %f2, [list+8]; "
                               "add.f32 %f1, %f1, %f2;\n"
                               "st.global.f32 [%rd1+8], %f1;\nret;\n}\n",
      1);
  assert_memory_equal(out, ((uint32_t[]){0x04030201, 5, 0xc3954000}), 12);
}

static void
dynamic_shared(void **state)
{
  (void)state;
  memset(out, 0, sizeof out);
  run_on(
      KIT_HEAD("7.0",
               "sm_80") ".extern .shared .align 16 .b8 dyn[];\n" KIT_ENTRY
                        ".shared .u32 before;\n"
                        "mov.u32 %r2, dyn; mov.u32 %r3, before; sub.u32 %r2, %r2, %r3;\n"
                        "st.global.u32 [%rd1+12], %r2;\n"
                        "mov.u32 %r2, %dynamic_smem_size; mov.u32 %r3, %total_smem_size;\n"
                        "sub.u32 %r3, %r3, %r2; st.global.v2.u32 [%rd1+16], {%r2, %r3};\n"
                        "mov.u32 %r2, 77; st.shared.u32 [dyn+96], %r2; ld.shared.u32 %r2, "
                        "[dyn+96];\n"
                        "st.global.u32 [%rd1+24], %r2;\nret;\n}\n",
      1, 100);
  assert_int_equal(out[3], 16);
  assert_int_equal(out[4], 100);
  assert_int_equal(out[5], 16);
  assert_int_equal(out[6], 77);
}

/* A parameter of 12 bytes, by value, through ld.param and through a generic address. */
static void
parameters(void **state)
{
  static const char ptx[] = KIT_HEAD(
      "7.8",
      "sm_80") ".visible .entry k(.param .u64 p, .param .u8 c, "
               ".param .align 4 .b8 s[12]) {\n.reg .b64 %rd<9>; .reg .b32 %r<9>;\n"
               "ld.param.u64 %rd1, [p]; ld.param.u8 %r1, [c]; ld.param.u32 %r2, [s+8];\n"
               "mov.b64 %rd2, s; ld.param.u32 %r3, [%rd2+4]; cvta.param.u64 %rd3, %rd2;\n"
               "ld.u32 %r4, [%rd3]; st.global.v4.u32 [%rd1], {%r1, %r2, %r3, "
               "%r4};\nret;\n}\n";
  CUmodule m;
  CUdeviceptr p;
  uint8_t c = 200;
  uint32_t s[3] = {11, 22, 33}, got[4];
  (void)state;
  CUfunction f = kit_function(ptx, &m);
  OK(cuMemAlloc_v2(&p, 16));
  OK(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, (void *[]){&p, &c, s}, NULL));
  OK(cuMemcpyDtoH_v2(got, p, 16));
  assert_memory_equal(got, ((uint32_t[]){200, 33, 22, 11}), 16);
  OK(cuMemFree_v2(p));
  OK(cuModuleUnload(m));
  kit_no_findings();
}

/* ---- atomics ---- */

typedef struct Atom {
  const char *text; /* on [%rd1+256], by every lane */
  uint64_t before, after;
} Atom;

static const Atom atoms[] = {
    {"atom.global.add.u32 %r5, [%rd3], %r1;", 5, 501},
    {"atom.global.min.s32 %r5, [%rd3], %r7;", 5, 0xffffffe1},
    {"atom.global.max.s32 %r5, [%rd3], %r1;", 0xfffffff0, 31},
    {"atom.global.max.u32 %r5, [%rd3], %r1;", 0xfffffff0, 0xfffffff0},
    {"atom.global.and.b32 %r5, [%rd3], %r7;", 0xff, 0},
    {"atom.global.or.b32 %r5, [%rd3], %r1;", 0x100, 0x11f},
    {"atom.global.xor.b32 %r5, [%rd3], %r1;", 9, 9},
    {"atom.global.exch.b32 %r5, [%rd3], %r1;", 9, 31},
    {"atom.global.inc.u32 %r5, [%rd3], 9;", 0, 2},
    {"atom.global.dec.u32 %r5, [%rd3], 9;", 0, 8},
    {"atom.relaxed.gpu.global.cas.b32 %r5, [%rd3], %r1, %r8;", 0, 32},
    {"atom.global.add.u64 %rd5, [%rd3], %rd4;", 0xfffffff0, 0x1000001e0},
    {"atom.global.add.f32 %f5, [%rd3], 0f3F800000;", 0, 0x42000000},
    {"atom.global.add.f64 %fd5, [%rd3], 0d3FE0000000000000;", 0, 0x4030000000000000},
    {"atom.global.add.noftz.f16x2 %r5, [%rd3], %r9;", 0, 0x50004800},
    {"atom.global.cas.b16 %rs5, [%rd3], %rs1, %rs2;", 0, 32},
    {"red.global.add.u32 [%rd3], %r1;", 5, 501},
    {"red.release.gpu.global.min.u64 [%rd3], %rd4;", 40, 0},
};

static void
atomics(void **state)
{
  char ptx[2000];
  (void)state;
  for (size_t i = 0; i < sizeof atoms / sizeof *atoms; i++) {
    const Atom *a = &atoms[i];
    uint64_t got;
    memset(out, 0, sizeof out);
    memcpy(out + 64, &a->before, 8);
    snprintf(ptx, sizeof ptx, "%s%s%s\nret;\n}\n", KIT_HEAD("7.0", "sm_80") KIT_ENTRY,
             "add.u64 %rd3, %rd1, 256; neg.s32 %r7, %r1; add.u32 %r8, %r1, 1;\n"
             "cvt.u64.u32 %rd4, %r1; mov.b32 %r9, 0x3c003400; cvt.u16.u32 %rs1, %r1;\n"
             "add.u16 %rs2, %rs1, 1;\n",
             a->text);
    run_on(ptx, 32, 0);
    memcpy(&got, out + 64, 8);
    if (got != a->after)
      fail_msg("%s gives %llx", a->text, (unsigned long long)got);
  }
}

/* The old values are those of lanes in order; shared memory as well. */
static void
old_values(void **state)
{
  (void)state;
  run(KIT(".shared .u32 s;\nsetp.eq.u32 %p1, %r1, 0; mov.u32 %r2, 50;\n"
          "@%p1 st.shared.u32 [s], %r2; bar.sync 0; atom.shared.add.u32 %r5, [s], "
          "2;\n" STORE),
      32);
  for (uint32_t t = 0; t < 32; t++)
    assert_int_equal(out[t], 50 + 2 * t);
}

/* ---- faults ---- */

typedef struct Fault {
  const char *ptx;
  CUresult result;
  const char *found;
} Fault;

#define FAULT(body)                                                                        \
  KIT_HEAD("7.8", "sm_80") ".const .u32 c = 1;\n" KIT_ENTRY body "ret;\n}\n"

/* The buffer has 4096 bytes. */
static const Fault faults[] = {
    {FAULT("add.u64 %rd2, %rd2, 4096; ld.global.u32 %r5, [%rd2];\n"),
     CUDA_ERROR_ILLEGAL_ADDRESS, "byte 4096 of an allocation of 4096"},
    {FAULT("st.global.v2.u32 [%rd1+4088], {%r1, %r1}; ld.global.u64 %rd5, [%rd1+4089];\n"),
     CUDA_ERROR_MISALIGNED_ADDRESS, "is no multiple of 8"},
    {FAULT("ld.global.v4.u32 {%r2, %r3, %r4, %r5}, [%rd1+8];\n"),
     CUDA_ERROR_MISALIGNED_ADDRESS, "is no multiple of 16"},
    {FAULT("ld.global.u32 %r5, [%rd1+-4];\n"), CUDA_ERROR_ILLEGAL_ADDRESS,
     "error[out-of-bounds]"},
    {FAULT("mov.u64 %rd3, 0; ld.u32 %r5, [%rd3];\n"), CUDA_ERROR_ILLEGAL_ADDRESS,
     "4 bytes at 0x0, where nothing is allocated"},
    {FAULT(".shared .b32 s[4]; st.shared.u32 [s+16], %r1;\n"), CUDA_ERROR_ILLEGAL_ADDRESS,
     "4 bytes at byte 16 of 16 bytes of shared memory"},
    {FAULT(".shared .b32 s[4]; mov.u32 %r2, 0; ld.shared.u32 %r5, [%r2];\n"),
     CUDA_ERROR_ILLEGAL_ADDRESS, "at byte -1024 of 16 bytes of shared memory"},
    {FAULT(".shared .align 16 .b8 s[64]; ld.shared.u32 %r5, [s+2];\n"),
     CUDA_ERROR_MISALIGNED_ADDRESS, "error[misaligned]"},
    {FAULT(".local .b32 l[4]; st.local.u32 [l+16], %r1;\n"), CUDA_ERROR_ILLEGAL_ADDRESS,
     "byte 16 of 16 bytes of local memory"},
    {FAULT("ld.param.u64 %rd5, [p+8];\n"), CUDA_ERROR_ILLEGAL_ADDRESS,
     "byte 8 of 8 bytes of parameters"},
    {FAULT("mov.u64 %rd3, p; cvta.param.u64 %rd3, %rd3; st.u32 [%rd3], %r1;\n"),
     CUDA_ERROR_ILLEGAL_ADDRESS, "a write to the parameters"},
    {FAULT("cvta.const.u64 %rd3, c; st.u32 [%rd3], %r1;\n"), CUDA_ERROR_ILLEGAL_ADDRESS,
     "a write to .const memory"},
    {FAULT("atom.global.add.u32 %r5, [%rd1+4096], 1;\n"), CUDA_ERROR_ILLEGAL_ADDRESS,
     "byte 4096"},
    {FAULT(".shared .align 16 .b8 s[64]; mov.u32 %r2, s;\n"
           "cp.async.cg.shared.global [%r2+64], [%rd1], 16;\n"),
     CUDA_ERROR_ILLEGAL_ADDRESS, "byte 64 of 64 bytes of shared memory"},
    {FAULT(".shared .align 16 .b8 s[64]; mov.u32 %r2, s;\n"
           "cp.async.cg.shared.global [%r2], [%rd1+4088], 16, 12;\n"),
     CUDA_ERROR_MISALIGNED_ADDRESS, "is no multiple of 16"},
    {FAULT(".shared .align 16 .b8 s[64]; mov.u32 %r2, s;\n"
           "cp.async.ca.shared.global [%r2], [%rd1], 8, 9;\n"),
     CUDA_ERROR_LAUNCH_FAILED, "error[copy-size]: a source of 9 bytes for a copy of 8"},
    {FAULT(".shared .align 16 .b8 s[64]; mov.u32 %r2, s;\n"
           "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r5}, [%r2+8];\n"),
     CUDA_ERROR_MISALIGNED_ADDRESS, "is no multiple of 16"},
};

static void
every_fault(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
    CUresult r =
        kit_run(faults[i].ptx, 1, 1 + 31 * (strstr(faults[i].ptx, "matrix") != NULL), 0,
                out, sizeof out);
    const char *text = kit_findings();
    if (r != faults[i].result || !strstr(text, faults[i].found))
      fail_msg("%s gives %d: %s", faults[i].ptx, r, text);
  }
}

static void
freed(void **state)
{
  CUmodule m;
  CUdeviceptr p;
  (void)state;
  CUfunction f = kit_function(KIT("ld.global.u32 %r5, [%rd1];\n"), &m);
  OK(cuMemAlloc_v2(&p, 64));
  OK(cuMemsetD8_v2(p, 0, 64));
  OK(cuMemFree_v2(p));
  assert_int_equal(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, (void *[]){&p}, NULL),
                   CUDA_ERROR_ILLEGAL_ADDRESS);
  kit_found("error[out-of-bounds]");
  OK(cuModuleUnload(m));
}

/* ---- cp.async ---- */

static void
copies(void **state)
{
  static const char *const policies[] = {"async=lazy", "async=eager",
                                         "async=random,seed=3"};
  static const char ptx[] =
      KIT(".shared .align 16 .b8 s[1024]; mov.u32 %r2, s; shl.b32 %r3, %r1, 4;\n"
          "add.u32 %r2, %r2, %r3; cvt.u64.u32 %rd3, %r3; add.u64 %rd3, %rd1, %rd3;\n"
          "setp.eq.u32 %p1, %r1, 3; setp.eq.u32 %p2, %r1, 5;\n"
          "selp.u32 %r4, 6, 16, %p1;\n"
          "cp.async.cg.shared.global [%r2], [%rd3], 16, %r4; cp.async.commit_group;\n"
          "cp.async.ca.shared.global [%r2+512], [%rd3+4], 4, %p2;\n"
          "cp.async.ca.shared.global [%r2+520], [%rd3+8], 8; cp.async.commit_group;\n"
          "cp.async.wait_group 1; ld.shared.v4.u32 {%r5, %r6, %r7, %r8}, [%r2];\n"
          "st.global.v4.u32 [%rd3+1024], {%r5, %r6, %r7, %r8};\n"
          "cp.async.wait_all; ld.shared.u32 %r5, [%r2+512]; ld.shared.v2.u32 {%r6, %r7}, "
          "[%r2+520];\n"
          "st.global.v2.u32 [%rd3+2048], {%r6, %r7}; st.global.u32 [%rd3+2056], %r5;\n");
  (void)state;
  for (int i = 0; i < 3; i++) {
    kit_set(policies[i]);
    memset(out, 0, sizeof out);
    for (uint32_t j = 0; j < 128; j++)
      out[j] = 0x01010101 * (j + 1);
    run_on(ptx, 32, 0);
    for (uint32_t t = 0; t < 32; t++) {
      uint32_t want[4];
      memcpy(want, out + 4 * t, 16);
      if (t == 3)
        memset((uint8_t *)want + 6, 0, 10);
      assert_memory_equal(out + 256 + 4 * t, want, 16);
      assert_memory_equal(out + 512 + 4 * t, out + 4 * t + 2, 8);
      assert_int_equal(out[512 + 4 * t + 2], t == 5 ? 0 : out[4 * t + 1]);
    }
  }
  kit_set("async=lazy,seed=0");
}

/* ---- what is read ---- */

/* Of 4096 bytes: a load of 128, which are 4 sectors; one of 32 words that are 64 bytes
 * apart, 32; copies of 16 bytes a lane, of which 8 lanes have a source, 4; of all, 16; what
 * is stored is not read. */
static void
sectors_read(void **state)
{
  static const char ptx[] =
      KIT(".shared .align 16 .b8 s[1024]; mov.u32 %r2, s; shl.b32 %r3, %r1, 4;\n"
          "add.u32 %r2, %r2, %r3; cvt.u64.u32 %rd3, %r3; add.u64 %rd3, %rd1, %rd3;\n"
          "ld.global.u32 %r5, [%rd2]; shl.b32 %r6, %r1, 6; cvt.u64.u32 %rd4, %r6;\n"
          "add.u64 %rd4, %rd1, %rd4; ld.global.u32 %r7, [%rd4];\n"
          "setp.lt.u32 %p1, %r1, 8; selp.u32 %r4, 16, 0, %p1;\n"
          "cp.async.cg.shared.global [%r2], [%rd3], 16, %r4;\n"
          "cp.async.cg.shared.global [%r2+512], [%rd3+512], 16;\n"
          "cp.async.wait_all; st.global.u32 [%rd2], %r5;\n");
  CUmodule m;
  CUfunction f = kit_function(ptx, &m);
  CUdeviceptr p, other;
  uint64_t n = 1, none = 1;
  (void)state;
  OK(cuMemAlloc_v2(&p, sizeof out));
  OK(cuMemAlloc_v2(&other, 64));
  OK(cuMemsetD8_v2(p, 1, sizeof out));
  assert_int_equal(attncEmuSectorsRead(p, &n), 0);
  assert_int_equal(n, 0);
  for (uint64_t times = 1; times <= 2; times++) {
    OK(cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, 0, NULL, (void *[]){&p}, NULL));
    OK(cuCtxSynchronize());
    assert_int_equal(attncEmuSectorsRead(p + 100, &n), 0);
    assert_int_equal(n, times * (4 + 32 + 4 + 16));
  }
  assert_int_equal(attncEmuSectorsRead(other, &none), 0);
  assert_int_equal(none, 0);
  OK(cuMemFree_v2(p));
  OK(cuMemFree_v2(other));
  assert_int_equal(attncEmuSectorsRead(p, &n), -1);
  OK(cuModuleUnload(m));
  kit_no_findings();
}

/* ---- matrices ---- */

/* Element (r, c) of matrix m is 64 m + 8 r + c; a lane has (lane/4, 2 (lane%4) + {0, 1}).
 */
static void
matrices(void **state)
{
  static const char ptx[] = KIT_HEAD("7.8", "sm_90") KIT_ENTRY
      ".shared .align 16 .b8 s[1024]; mov.u32 %r2, s; shl.b32 %r3, %r1, 4;\n"
      "add.u32 %r2, %r2, %r3; cvt.u64.u32 %rd3, %r3; add.u64 %rd3, %rd1, %rd3;\n"
      "ld.global.v4.u32 {%r5, %r6, %r7, %r8}, [%rd3];\n"
      "st.shared.v4.u32 [%r2], {%r5, %r6, %r7, %r8}; bar.warp.sync -1;\n"
      "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r5, %r6, %r7, %r8}, [%r2];\n"
      "st.global.v4.u32 [%rd3+512], {%r5, %r6, %r7, %r8};\n"
      "movmatrix.sync.aligned.m8n8.trans.b16 %r9, %r6; st.global.u32 [%rd2+3072], %r9;\n"
      "ldmatrix.sync.aligned.x2.trans.m8n8.shared.b16 {%r9, %r10}, [%r2];\n"
      "st.global.u32 [%rd2+3200], %r9; st.global.u32 [%rd2+3328], %r10;\n"
      "stmatrix.sync.aligned.x4.trans.m8n8.shared.b16 [%r2+512], {%r5, %r6, %r7, %r8};\n"
      "bar.warp.sync -1; ld.shared.v4.u32 {%r5, %r6, %r7, %r8}, [%r2+512];\n"
      "st.global.v4.u32 [%rd3+1024], {%r5, %r6, %r7, %r8};\nret;\n}\n";
  uint16_t *h = (uint16_t *)(void *)out;
  (void)state;
  memset(out, 0, sizeof out);
  for (uint16_t i = 0; i < 256; i++)
    h[i] = i;
  run_on(ptx, 32, 0);
  for (int l = 0; l < 32; l++)
    for (int e = 0; e < 2; e++) {
      int r = l / 4, c = 2 * (l % 4) + e;
      for (int m = 0; m < 4; m++)
        assert_int_equal(h[256 + 8 * l + 2 * m + e], 64 * m + 8 * r + c);
      assert_int_equal(h[1536 + 2 * l + e], 64 + 8 * c + r);
      assert_int_equal(h[1600 + 2 * l + e], 8 * c + r);
      assert_int_equal(h[1664 + 2 * l + e], 64 + 8 * c + r);
    }
  for (int m = 0; m < 4; m++)
    for (int r = 0; r < 8; r++)
      for (int c = 0; c < 8; c++)
        assert_int_equal(h[512 + 64 * m + 8 * r + c], 64 * m + 8 * c + r);
}

/* Ones times ones plus the thread's number, every type and accumulator. */
static void
products(void **state)
{
  static const char ptx[] = KIT(
      "cvt.rn.f32.u32 %f1, %r1; mov.u32 %r2, 0x3c003c00; mov.u32 %r3, 0x3f803f80;\n"
      "mov.u32 %r4, 0x3f800000; cvt.rn.f16x2.f32 %r6, %f1, %f1; mov.f32 %f0, 0f00000000;\n"
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f2,%f3,%f4,%f5}, "
      "{%r2,%r2,%r2,%r2}, {%r2,%r2}, {%f1,%f1,%f1,%f1};\n"
      "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%f2,%f3,%f4,%f5}, "
      "{%r3,%r3}, {%r3}, {%f2,%f3,%f4,%f5};\n"
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f2,%f3,%f4,%f5}, "
      "{%r4,%r4,%r4,%r4}, {%r4,%r4}, {%f2,%f3,%f4,%f5};\n"
      "mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%r7,%r8}, "
      "{%r2,%r2,%r2,%r2}, {%r2,%r2}, {%r6,%r6};\n"
      "cvt.rzi.u32.f32 %r5, %f5; and.b32 %r8, %r8, 0xffff; shl.b32 %r8, %r8, 16;\n"
      "or.b32 %r5, %r5, %r8;\n" STORE);
  static const char *const modes[] = {"mma=bit", "mma=fast"};
  (void)state;
  for (int i = 0; i < 2; i++) {
    kit_set(modes[i]);
    run(ptx, 32);
    for (uint32_t t = 0; t < 32; t++) {
      uint32_t sum = 16 + t, e = 4; /* as f16: (1024 + m) 2^(e - 10) */
      while (sum >> (e + 1))
        e++;
      uint32_t half = (e + 15) << 10 | ((sum << (10 - e)) & 0x3ff);
      assert_int_equal(out[t], (t + 32) | half << 16);
    }
  }
  kit_set("mma=bit");
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(widths),         cmocka_unit_test(generic),
      cmocka_unit_test(mixed),          cmocka_unit_test(variables),
      cmocka_unit_test(dynamic_shared), cmocka_unit_test(parameters),
      cmocka_unit_test(atomics),        cmocka_unit_test(old_values),
      cmocka_unit_test(every_fault),    cmocka_unit_test(freed),
      cmocka_unit_test(copies),         cmocka_unit_test(sectors_read),
      cmocka_unit_test(matrices),       cmocka_unit_test(products),
  };
  kit_start("arch=sm_90");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
