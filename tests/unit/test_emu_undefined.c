/* Which lanes of which registers are undefined behind matrix instructions: of one undefined
 * element of an operand, against the layouts of the PTX ISA as formulas.  A lane's register
 * is undefined where storing it is a finding; each store has a line of its own. */
#include "tests/unit/emu_kit.h"

enum { LANES_ALL = 32, REGS = 4, THREADS = 128 };

#define HEAD                                                                               \
  KIT_HEAD("8.0", "sm_90a")                                                                \
  ".visible .entry k(.param .u64 p) {\n"                                                   \
  ".reg .pred %p<20>; .reg .b16 %h<20>; .reg .b32 %r<60>; .reg .b64 %rd<40>;\n"            \
  ".reg .f32 %f<20>; .shared .align 128 .b8 s[4096];\n"                                    \
  "ld.param.u64 %rd1, [p]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 4;\n"              \
  "add.s64 %rd2, %rd1, %rd2; mov.u32 %r2, s;\n"

static char text[65536];
static bool undefined[THREADS][REGS];

static int
line_count(const char *s)
{
  int n = 1;
  for (; *s; s++)
    n += *s == '\n';
  return n;
}

/* The body, then each thread stores each register by itself. */
static void
probe(const char *body, const char *const *regs, int n, int threads)
{
  static uint32_t out[THREADS];
  size_t at = (size_t)snprintf(text, sizeof text, "%s%s", HEAD, body);
  int first = line_count(text);
  for (int j = 0; j < n; j++)
    for (int t = 0; t < threads; t++)
      at += (size_t)snprintf(
          text + at, sizeof text - at,
          "setp.eq.u32 %%p19, %%r1, %d; @%%p19 st.global.b32 [%%rd2], %s;\n", t, regs[j]);
  snprintf(text + at, sizeof text - at, "ret;\n}\n");
  OK(kit_run(text, 1, (unsigned)threads, 0, out, sizeof out));
  memset(undefined, 0, sizeof undefined);
  const char *found = kit_findings();
  for (const char *p = found; (p = strstr(p, "ptx:")); p++) {
    int line = atoi(p + 4) - first;
    if (line < 0 || line >= n * threads || !strstr(p, "error[uninitialised-"))
      fail_msg("%s\n%s", found, text);
    undefined[line % threads][line / threads] = true;
  }
}

static void
expect(bool is, int thread, int reg, const char *what)
{
  if (undefined[thread][reg] != is)
    fail_msg("%s: register %d of thread %d is %s\n%s", what, reg, thread,
             is ? "defined" : "undefined", text);
}

/* ---- mma.sync ---- */

typedef struct Mma {
  const char *name;
  int a, b, d; /* registers */
  bool packed; /* two columns of D in one */
} Mma;

static const Mma mmas[] = {
    {"m16n8k16.row.col.f32.f16.f16.f32", 4, 2, 4, false},
    {"m16n8k16.row.col.f16.f16.f16.f16", 4, 2, 2, true},
    {"m16n8k8.row.col.f32.bf16.bf16.f32", 2, 1, 4, false},
    {"m16n8k8.row.col.f32.tf32.tf32.f32", 4, 2, 4, false},
};

static size_t
list(char *to, size_t n, const char *reg, int first, int count)
{
  size_t at = (size_t)snprintf(to, n, "{");
  for (int i = 0; i < count; i++)
    at += (size_t)snprintf(to + at, n - at, "%s%s%d", i ? "," : "", reg, first + i);
  return at + (size_t)snprintf(to + at, n - at, "}");
}

/* Registers %r10 on are A, %r20 on B, %f0 on or %r40 on C and D. */
static void
mma_body(char *body, size_t n, const Mma *m, const char *missing, int lane)
{
  char a[80], b[80], d[80];
  const char *acc = m->packed ? "%r" : "%f";
  int first = m->packed ? 40 : 0;
  size_t at = (size_t)snprintf(body, n, "setp.ne.u32 %%p2, %%r1, %d;\n", lane);
  for (int i = 0; i < m->a + m->b + m->d; i++) {
    char reg[16];
    int j = i - m->a - m->b;
    snprintf(reg, sizeof reg, "%s%d", j < 0 ? "%r" : acc,
             i < m->a ? 10 + i
             : j < 0  ? 20 + i - m->a
                      : first + j);
    at += (size_t)snprintf(body + at, n - at, "%smov.b32 %s, 0;\n",
                           strcmp(reg, missing) ? "" : "@%p2 ", reg);
  }
  list(a, sizeof a, "%r", 10, m->a);
  list(b, sizeof b, "%r", 20, m->b);
  list(d, sizeof d, acc, first, m->d);
  snprintf(body + at, n - at, "mma.sync.aligned.%s %s, %s, %s, %s;\n", m->name, d, a, b, d);
}

/* Row and columns of register j in a lane's part of D. */
static int
row_of(const Mma *m, int lane, int j)
{
  return lane / 4 + 8 * (m->packed ? j : j / 2);
}

static bool
has_column(const Mma *m, int lane, int j, int column)
{
  return column / 2 == lane % 4 && (m->packed || column % 2 == j % 2);
}

static void
one_mma(const Mma *m, char operand, int reg, int lane)
{
  static const char *const f32[] = {"%f0", "%f1", "%f2", "%f3"};
  static const char *const f16[] = {"%r40", "%r41"};
  char body[2000], missing[16];
  snprintf(missing, sizeof missing, "%s%d", operand != 'c' || m->packed ? "%r" : "%f",
           reg + (operand == 'a'   ? 10
                  : operand == 'b' ? 20
                  : m->packed      ? 40
                                   : 0));
  mma_body(body, sizeof body, m, missing, lane);
  probe(body, m->packed ? f16 : f32, m->d, LANES_ALL);
  for (int l = 0; l < LANES_ALL; l++)
    for (int j = 0; j < m->d; j++) {
      bool is = operand == 'a'   ? row_of(m, l, j) == lane / 4 + 8 * (reg % 2)
                : operand == 'b' ? has_column(m, l, j, lane / 4)
                                 : l == lane && j == reg;
      expect(is, l, j, m->name);
    }
}

static void
mma(void **state)
{
  (void)state;
  for (size_t k = 0; k < sizeof mmas / sizeof *mmas; k++) {
    const Mma *m = &mmas[k];
    for (int i = 0; i < m->a; i++)
      one_mma(m, 'a', i, 7 * i + 3);
    for (int i = 0; i < m->b; i++)
      one_mma(m, 'b', i, 9 * i + 6);
    for (int i = 0; i < m->d; i++)
      one_mma(m, 'c', i, 11 * i % 32);
  }
}

/* ---- matrices of 8 × 8 ---- */

static const char *const four[] = {"%r10", "%r11", "%r12", "%r13"};
#define FOUR "{%%r10,%%r11,%%r12,%%r13}"

/* Element (row, column) of a matrix in shared memory was not written. */
static void
ldmatrix(void **state)
{
  char body[2000];
  (void)state;
  for (int k = 0; k < 16; k++) {
    bool trans = k % 2;
    int matrix = k / 2 % 4, row = 5 * k % 8, column = 3 * k % 8;
    size_t at = (size_t)snprintf(body, sizeof body,
                                 "shl.b32 %%r3, %%r1, 4; add.u32 %%r3, %%r3, %%r2;\n"
                                 "mov.b16 %%h1, 0; setp.ne.u32 %%p2, %%r1, %d;\n",
                                 8 * matrix + row);
    for (int c = 0; c < 8; c++)
      at += (size_t)snprintf(body + at, sizeof body - at,
                             "%sst.shared.b16 [%%r3+%d], %%h1;\n",
                             c == column ? "@%p2 " : "", 2 * c);
    snprintf(body + at, sizeof body - at,
             "bar.warp.sync -1; ldmatrix.sync.aligned.m8n8.x4%s.shared.b16 " FOUR
             ", [%%r3];\n",
             trans ? ".trans" : "");
    probe(body, four, 4, LANES_ALL);
    int lane = trans ? column * 4 + row / 2 : row * 4 + column / 2;
    for (int l = 0; l < LANES_ALL; l++)
      for (int j = 0; j < 4; j++)
        expect(l == lane && j == matrix, l, j, "ldmatrix");
  }
}

/* One register of one lane has an undefined lower half; each lane reads a row back. */
static void
stmatrix(void **state)
{
  char body[2000];
  (void)state;
  for (int k = 0; k < 16; k++) {
    bool trans = k % 2;
    int matrix = k / 2 % 4, lane = 13 * k % 32;
    snprintf(body, sizeof body,
             "shl.b32 %%r3, %%r1, 4; add.u32 %%r3, %%r3, %%r2;\n"
             "mov.b16 %%h1, 0; setp.ne.u32 %%p2, %%r1, %d; @%%p2 mov.b16 %%h2, 0;\n"
             "mov.b32 %%r10, 0; mov.b32 %%r11, 0; mov.b32 %%r12, 0; mov.b32 %%r13, 0;\n"
             "mov.b32 %%r%d, {%%h2, %%h1};\n"
             "stmatrix.sync.aligned.m8n8.x4%s.shared.b16 [%%r3], " FOUR ";\n"
             "bar.warp.sync -1; ld.shared.v4.b32 " FOUR ", [%%r3];\n",
             lane, 10 + matrix, trans ? ".trans" : "");
    probe(body, four, 4, LANES_ALL);
    int row = trans ? 2 * (lane % 4) : lane / 4, column = trans ? lane / 4 : 2 * (lane % 4);
    for (int l = 0; l < LANES_ALL; l++)
      for (int j = 0; j < 4; j++)
        expect(l == 8 * matrix + row && j == column / 2, l, j, "stmatrix");
  }
}

static void
movmatrix(void **state)
{
  char body[2000];
  (void)state;
  for (int lane = 0; lane < LANES_ALL; lane += 3) {
    snprintf(body, sizeof body,
             "setp.ne.u32 %%p2, %%r1, %d; @%%p2 mov.b32 %%r3, 0;\n"
             "movmatrix.sync.aligned.m8n8.trans.b16 %%r10, %%r3;\n",
             lane);
    probe(body, four, 1, LANES_ALL);
    for (int l = 0; l < LANES_ALL; l++) /* elements of column l / 4 */
      expect(lane % 4 == l / 4 / 2 && lane / 4 / 2 == l % 4, l, 0, "movmatrix");
  }
}

/* ---- wgmma ---- */

#define DESC(reg, at, trans)                                                               \
  "add.u32 %%r4, %%r2, " at "; shr.u32 %%r4, %%r4, 4; cvt.u64.u32 " reg ", %%r4;\n"        \
  "or.b64 " reg ", " reg ", " trans ";\n"
/* leading 128 bytes, stride 256; no swizzle */
#define PIECES "0x0000001000080000"
#define MULTIPLY(a, flags)                                                                 \
  "fence.proxy.async.shared::cta; bar.sync 0; wgmma.fence.sync.aligned;\n"                 \
  "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%%f0,%%f1,%%f2,%%f3}, " a            \
  ", %%rd6, 0, 1, 1" flags ";\n"                                                           \
  "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;\n"
/* 128 pieces of A, of row t / 2, by a thread each, then 128 elements of B; one thread
 * leaves its piece out, one its element. */
#define FILL                                                                               \
  "mov.b32 %%r3, 0; mov.b16 %%h1, 0; setp.ne.u32 %%p2, %%r1, %d;\n"                        \
  "shr.u32 %%r5, %%r1, 1; and.b32 %%r6, %%r1, 1; shl.b32 %%r6, %%r6, 7;\n"                 \
  "and.b32 %%r7, %%r5, 7; shl.b32 %%r7, %%r7, 4; add.u32 %%r6, %%r6, %%r7;\n"              \
  "shr.u32 %%r7, %%r5, 3; shl.b32 %%r7, %%r7, 8; add.u32 %%r6, %%r6, %%r7;\n"              \
  "add.u32 %%r6, %%r6, %%r2; @%%p2 st.shared.v4.b32 [%%r6], {%%r3,%%r3,%%r3,%%r3};\n"      \
  "setp.ne.u32 %%p4, %%r1, %d; shl.b32 %%r8, %%r1, 1;\n"                                   \
  "add.u32 %%r8, %%r8, %%r2; @%%p4 st.shared.b16 [%%r8+2048], %%h1;\n"

static const char *const sums[] = {"%f0", "%f1", "%f2", "%f3"};

static int
wgmma_row(int thread, int j)
{
  return thread / 32 * 16 + thread % 32 / 4 + 8 * (j / 2);
}

/* Two bytes of B by each of the 128 threads: element t % 8 of piece t / 8; pieces 0 to 7
 * are of the first half of k, or of its first eight rows. */
static void
wgmma(void **state)
{
  char body[4000];
  (void)state;
  for (int k = 0; k < 12; k++) {
    int a = k % 3 == 0 ? 37 * k % 128 : 999, b = k % 3 == 0 ? 999 : 31 * k % 128;
    bool mn = k % 3 == 2;
    snprintf(body, sizeof body,
             FILL DESC("%%rd5", "0", PIECES) DESC("%%rd6", "2048", PIECES)
                 MULTIPLY("%%rd5", ", 0, %d"),
             a, b, mn);
    probe(body, sums, 4, THREADS);
    int column = mn ? b % 8 : b / 8 % 8;
    for (int t = 0; t < THREADS; t++)
      for (int j = 0; j < 4; j++)
        expect(a < 128 ? wgmma_row(t, j) == a / 2 : column == 2 * (t % 4) + j % 2, t, j,
               "wgmma");
  }
}

/* A in registers: one of one thread; and an accumulator that is added to. */
static void
wgmma_registers(void **state)
{
  char body[4000];
  (void)state;
  for (int k = 0; k < 8; k++) {
    int thread = 29 * k % 128, reg = k % 4;
    snprintf(body, sizeof body,
             FILL
             "setp.ne.u32 %%p5, %%r1, %d;\n"
             "mov.b32 %%r10, 0; mov.b32 %%r11, 0; mov.b32 %%r12, 0; mov.b32 %%r13, 0;\n"
             "mov.b32 %%r14, %%r15; @%%p5 mov.b32 %%r14, 0; mov.b32 %%r1%d, %%r14;\n" DESC(
                 "%%rd6", "2048", PIECES) MULTIPLY(FOUR, ", 0"),
             999, 999, thread, reg);
    probe(body, sums, 4, THREADS);
    int row = thread / 32 * 16 + thread % 32 / 4 + 8 * (reg % 2);
    for (int t = 0; t < THREADS; t++)
      for (int j = 0; j < 4; j++)
        expect(wgmma_row(t, j) == row, t, j, "wgmma, A in registers");
  }
}

/* ---- launches ---- */

/* A launch that ends at a store of what is undefined leaves nothing to the next one. */
static void
after_a_failure(void **state)
{
  static const char ptx[] =
      KIT("mov.u32 %r5, %nctaid.x; setp.eq.u32 %p1, %r5, 2; @%p1 mov.u32 %r6, 3;\n"
          "mov.u64 %rd5, 0; @%p1 mov.u64 %rd5, %rd2; st.global.u32 [%rd5], %r6;\n");
  uint32_t out[32] = {0};
  CUmodule m;
  CUdeviceptr p;
  (void)state;
  CUfunction f = kit_function(ptx, &m);
  OK(cuMemAlloc_v2(&p, sizeof out));
  OK(cuMemcpyHtoD_v2(p, out, sizeof out));
  assert_int_equal(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, (void *[]){&p}, NULL),
                   CUDA_ERROR_ILLEGAL_ADDRESS);
  kit_found("error[out-of-bounds]");
  kit_set("checks=lax");
  OK(cuLaunchKernel(f, 2, 1, 1, 1, 1, 1, 0, NULL, (void *[]){&p}, NULL));
  kit_findings(); /* two CTAs write one word */
  OK(cuMemcpyDtoH_v2(out, p, sizeof out));
  assert_int_equal(out[0], 3);
  kit_set("checks=all");
  OK(cuMemFree_v2(p));
  OK(cuModuleUnload(m));
}

static int
start(void **state)
{
  (void)state;
  kit_start("arch=sm_90,threads=1,checks=all");
  return 0;
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(mma),
      cmocka_unit_test(ldmatrix),
      cmocka_unit_test(stmatrix),
      cmocka_unit_test(movmatrix),
      cmocka_unit_test(wgmma),
      cmocka_unit_test(wgmma_registers),
      cmocka_unit_test(after_a_failure),
  };
  return cmocka_run_group_tests(tests, start, NULL);
}
