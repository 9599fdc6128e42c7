/* Forms on whole numbers of the PTX ISA that nobody's vector code has: dot products, 24-bit
 * products, pairs of 16 bits, fields.  Every lane of a launch has its own operands, and
 * what comes back is compared with plain arithmetic, bit by bit or byte by byte. */
#include "tests/unit/emu_kit.h"

#include "emulator/exec/simd.h"

#define M1 0xffffffffu

enum { CTAS = 16, VALUES = CTAS * 32 };

typedef uint32_t Ref(uint32_t a, uint32_t b, uint32_t c);

/* A field of x as a signed or unsigned number. */
static int64_t
part(uint32_t x, int from, int bits, bool sign)
{
  int64_t v = 0;
  for (int i = 0; i < bits; i++)
    v += (int64_t)(x >> (from + i) & 1) << i;
  return sign && v >> (bits - 1) ? v - ((int64_t)1 << bits) : v;
}

static int64_t
product24(uint32_t a, uint32_t b, bool sign)
{
  return part(a, 0, 24, sign) * part(b, 0, 24, sign);
}

/* Bits 16 to 47 of a number. */
static int64_t
high24(int64_t x)
{
  return x >= 0 ? x / 65536 : -((-x + 65535) / 65536);
}

static uint32_t
saturated(int64_t x)
{
  return (uint32_t)(x > INT32_MAX ? INT32_MAX : x < INT32_MIN ? INT32_MIN : x);
}

static int64_t
dot(uint32_t a, uint32_t b, int wide, int at, bool sa, bool sb)
{
  int64_t sum = 0;
  for (int i = 0; i < 32 / wide; i++)
    sum += part(a, wide * i, wide, sa) * part(b, at + 8 * i, 8, sb);
  return sum;
}

static uint32_t
halves(uint32_t a, uint32_t b, bool sign, int what)
{
  uint32_t r = 0;
  for (int i = 0; i < 32; i += 16) {
    int64_t x = part(a, i, 16, sign), y = part(b, i, 16, sign);
    int64_t v = what == 0 ? x + y : (what & 1) == (x < y) ? x : y;
    v = what > 2 && v < 0 ? 0 : v;
    r |= ((uint32_t)v & 0xffff) << i;
  }
  return r;
}

static uint32_t
extended(uint32_t a, uint32_t n, bool sign)
{
  uint32_t r = 0;
  for (uint32_t i = 0; i < 32; i++)
    r |= (i < n ? a >> i & 1 : sign && n ? a >> (n - 1) & 1 : 0) << i;
  return r;
}

static uint32_t
ones(uint32_t from, uint32_t n)
{
  uint32_t r = 0;
  for (uint64_t i = from; i < (uint64_t)from + n && i < 32; i++)
    r |= 1u << i;
  return r;
}

/* PTX ISA, fns: its loop, over 32 bits. */
static uint32_t
nth_set(uint32_t mask, uint32_t base, int32_t offset)
{
  if (base > 31)
    return 0xffffffff;
  if (offset == 0)
    return mask >> base & 1 ? base : 0xffffffff;
  uint32_t found[32], n = 0;
  for (int p = (int)base; p >= 0 && p<32; p += offset> 0 ? 1 : -1)
    if (mask >> p & 1)
      found[n++] = (uint32_t)p;
  uint64_t want = (uint64_t)(offset > 0 ? (int64_t)offset : -(int64_t)offset);
  return want <= n ? found[want - 1] : 0xffffffff;
}

#define REF(name, expr)                                                                    \
  static uint32_t name(uint32_t a, uint32_t b, uint32_t c)                                 \
  {                                                                                        \
    (void)a, (void)b, (void)c;                                                             \
    return (uint32_t)(expr);                                                               \
  }
REF(mad_hi_sat, saturated(((int64_t)(int32_t)a * (int32_t)b >> 32) + (int32_t)c))
REF(mul24_lo_u, product24(a, b, false))
REF(mul24_lo_s, product24(a, b, true))
REF(mul24_hi_u, high24(product24(a, b, false)))
REF(mul24_hi_s, high24(product24(a, b, true)))
REF(mad24_lo_u, product24(a, b, false) + c)
REF(mad24_lo_s, product24(a, b, true) + c)
REF(mad24_hi_u, high24(product24(a, b, false)) + c)
REF(mad24_hi_s, high24(product24(a, b, true)) + c)
REF(mad24_hi_sat, saturated(high24(product24(a, b, true)) + (int32_t)c))
REF(dp4a_uu, dot(a, b, 8, 0, false, false) + c)
REF(dp4a_us, dot(a, b, 8, 0, false, true) + c)
REF(dp4a_su, dot(a, b, 8, 0, true, false) + c)
REF(dp4a_ss, dot(a, b, 8, 0, true, true) + c)
REF(dp2a_lo_uu, dot(a, b, 16, 0, false, false) + c)
REF(dp2a_lo_us, dot(a, b, 16, 0, false, true) + c)
REF(dp2a_lo_su, dot(a, b, 16, 0, true, false) + c)
REF(dp2a_lo_ss, dot(a, b, 16, 0, true, true) + c)
REF(dp2a_hi_uu, dot(a, b, 16, 16, false, false) + c)
REF(dp2a_hi_us, dot(a, b, 16, 16, false, true) + c)
REF(dp2a_hi_su, dot(a, b, 16, 16, true, false) + c)
REF(dp2a_hi_ss, dot(a, b, 16, 16, true, true) + c)
REF(add_u, halves(a, b, false, 0))
REF(add_s, halves(a, b, true, 0))
REF(min_u, halves(a, b, false, 1))
REF(min_s, halves(a, b, true, 1))
REF(max_u, halves(a, b, false, 2))
REF(max_s, halves(a, b, true, 2))
REF(min_relu, halves(a, b, true, 3))
REF(max_relu, halves(a, b, true, 4))
REF(szext_wrap_u, extended(a, b % 32, false))
REF(szext_wrap_s, extended(a, b % 32, true))
REF(szext_clamp_u, extended(a, b < 32 ? b : 32, false))
REF(szext_clamp_s, extended(a, b < 32 ? b : 32, true))
REF(bmsk_wrap, ones(a % 32, b % 32))
REF(bmsk_clamp, ones(a, b < 32 ? b : 32))
REF(fns, nth_set(a, b, (int32_t)c))
REF(cnot32, a ? 0 : 1)

static const struct {
  const char *op;
  int operands;
  Ref *ref;
} rows[] = {
    {"mad.hi.sat.s32", 3, mad_hi_sat},
    {"mul24.lo.u32", 2, mul24_lo_u},
    {"mul24.lo.s32", 2, mul24_lo_s},
    {"mul24.hi.u32", 2, mul24_hi_u},
    {"mul24.hi.s32", 2, mul24_hi_s},
    {"mad24.lo.u32", 3, mad24_lo_u},
    {"mad24.lo.s32", 3, mad24_lo_s},
    {"mad24.hi.u32", 3, mad24_hi_u},
    {"mad24.hi.s32", 3, mad24_hi_s},
    {"mad24.hi.sat.s32", 3, mad24_hi_sat},
    {"dp4a.u32.u32", 3, dp4a_uu},
    {"dp4a.u32.s32", 3, dp4a_us},
    {"dp4a.s32.u32", 3, dp4a_su},
    {"dp4a.s32.s32", 3, dp4a_ss},
    {"dp2a.lo.u32.u32", 3, dp2a_lo_uu},
    {"dp2a.lo.u32.s32", 3, dp2a_lo_us},
    {"dp2a.lo.s32.u32", 3, dp2a_lo_su},
    {"dp2a.lo.s32.s32", 3, dp2a_lo_ss},
    {"dp2a.hi.u32.u32", 3, dp2a_hi_uu},
    {"dp2a.hi.u32.s32", 3, dp2a_hi_us},
    {"dp2a.hi.s32.u32", 3, dp2a_hi_su},
    {"dp2a.hi.s32.s32", 3, dp2a_hi_ss},
    {"add.u16x2", 2, add_u},
    {"add.s16x2", 2, add_s},
    {"min.u16x2", 2, min_u},
    {"min.s16x2", 2, min_s},
    {"max.u16x2", 2, max_u},
    {"max.s16x2", 2, max_s},
    {"min.relu.s16x2", 2, min_relu},
    {"max.s16x2.relu", 2, max_relu},
    {"szext.wrap.u32", 2, szext_wrap_u},
    {"szext.wrap.s32", 2, szext_wrap_s},
    {"szext.clamp.u32", 2, szext_clamp_u},
    {"szext.clamp.s32", 2, szext_clamp_s},
    {"bmsk.wrap.b32", 2, bmsk_wrap},
    {"bmsk.clamp.b32", 2, bmsk_clamp},
    {"fns.b32", 3, fns},
    {"cnot.b32", 1, cnot32},
};

/* Bits at random, small numbers, and those at the ends of a range. */
static uint32_t
draw(uint64_t *state)
{
  static const uint32_t ends[] = {0,          1,          0xffffffff, 0x80000000,
                                  0x7fffffff, 0x80008000, 0x7fff7fff, 0x00800000,
                                  0x80808080, 31,         32,         33};
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  uint32_t bits = (uint32_t)(*state >> 32);
  switch (*state >> 20 & 3) {
  case 0:
    return ends[bits % (sizeof ends / sizeof *ends)];
  case 1:
    return bits % 40;
  case 2:
    return 0 - bits % 40;
  default:
    return bits;
  }
}

static const char head[] = KIT_HEAD("8.6", "sm_90") KIT_ENTRY,
                  before[] = KIT_HEAD("8.6", "sm_90") KIT_ENTRY
                  "mov.u32 %r2, %ctaid.x; mad.lo.u32 %r1, %r2, 32, %r1;\n"
                  "mul.wide.u32 %rd2, %r1, 16; add.s64 %rd6, %rd1, %rd2;\n"
                  "ld.global.v2.b32 {%r2, %r3}, [%rd6]; ld.global.b32 {%r4}, [%rd6+8];\n";

static void
check(const char *op, int operands, Ref *ref)
{
  char ptx[2000];
  static uint32_t data[VALUES][4];
  uint64_t state = 1;
  snprintf(ptx, sizeof ptx,
           "%s%s %%r5, %%r2%s;\nst.global.b32 [%%rd6+12], {%%r5};\nret;\n}\n", before, op,
           operands == 1   ? ""
           : operands == 2 ? ", %r3"
                           : ", %r3, %r4");
  for (int i = 0; i < VALUES; i++)
    for (int k = 0; k < 3; k++)
      data[i][k] = draw(&state);
  OK(kit_run(ptx, CTAS, 32, 0, data, sizeof data));
  kit_no_findings();
  for (int i = 0; i < VALUES; i++) {
    uint32_t want = ref(data[i][0], data[i][1], data[i][2]);
    if (data[i][3] != want)
      fail_msg("%s of %x %x %x: %x, not %x", op, data[i][0], data[i][1], data[i][2],
               data[i][3], want);
  }
}

/* The same from the code for every kind of CPU. */
static void
values(void **state)
{
  (void)state;
  Simd best = simd_current();
  for (Simd s = SIMD_BASE; s < SIMD_COUNT; s++)
    for (size_t i = 0; simd_force(s) && i < sizeof rows / sizeof *rows; i++)
      check(rows[i].op, rows[i].operands, rows[i].ref);
  simd_force(best);
}

__extension__ typedef unsigned __int128 u128;

static const char chain[] =
    /* 128 bits: %rd4:%rd3 and %rd6:%rd5 make %rd8:%rd7, in 64 and in 32 bits */
    "mov.u32 %r2, %ctaid.x; mad.lo.u32 %r1, %r2, 32, %r1;\n"
    "mul.wide.u32 %rd2, %r1, 112; add.s64 %rd2, %rd1, %rd2;\n"
    "ld.global.v2.b64 {%rd3, %rd4}, [%rd2]; ld.global.v2.b64 {%rd5, %rd6}, [%rd2+16];\n"
    "mov.b64 {%r3, %r4}, %rd3; mov.b64 {%r5, %r6}, %rd4;\n"
    "mov.b64 {%r7, %r8}, %rd5; mov.b64 {%r9, %r10}, %rd6;\n"
    "add.cc.u64 %rd7, %rd3, %rd5; addc.s64 %rd8, %rd4, %rd6;\n"
    "st.global.v2.b64 [%rd2+32], {%rd7, %rd8};\n"
    "sub.cc.s64 %rd7, %rd3, %rd5; subc.u64 %rd8, %rd4, %rd6;\n"
    "st.global.v2.b64 [%rd2+48], {%rd7, %rd8};\n"
    "add.cc.u32 %r11, %r3, %r7; addc.cc.s32 %r12, %r4, %r8;\n"
    "addc.cc.u32 %r13, %r5, %r9; addc.u32 %r14, %r6, %r10;\n"
    "st.global.v4.b32 [%rd2+64], {%r11, %r12, %r13, %r14};\n"
    "sub.cc.u32 %r11, %r3, %r7; subc.cc.u32 %r12, %r4, %r8;\n"
    "subc.cc.s32 %r13, %r5, %r9; subc.u32 %r14, %r6, %r10;\n"
    "st.global.v4.b32 [%rd2+80], {%r11, %r12, %r13, %r14};\n"
    /* %rd3 * %rd5 + %rd4 */
    "mad.lo.cc.u64 %rd7, %rd3, %rd5, %rd4; madc.hi.u64 %rd8, %rd3, %rd5, 0;\n"
    "st.global.v2.b64 [%rd2+96], {%rd7, %rd8};\nret;\n}\n";

/* Sums, differences and products of 128 bits by the carry flag of each thread. */
static void
carries(void **state)
{
  (void)state;
  enum { A, B, SUM, DIFFERENCE, SUM32, DIFFERENCE32, PRODUCT, EACH };
  static uint64_t data[VALUES][EACH][2];
  char ptx[4000];
  uint64_t seed = 7;
  snprintf(ptx, sizeof ptx, "%s%s", head, chain);
  for (int i = 0; i < VALUES; i++)
    for (int k = 0; k < 4; k++)
      data[i][k / 2][k % 2] = (uint64_t)draw(&seed) << 32 | draw(&seed);
  OK(kit_run(ptx, CTAS, 32, 0, data, sizeof data));
  kit_no_findings();
  for (int i = 0; i < VALUES; i++) {
    uint64_t(*v)[2] = data[i];
    u128 a = (u128)v[A][1] << 64 | v[A][0], b = (u128)v[B][1] << 64 | v[B][0];
    u128 want[EACH] = {[SUM] = a + b,
                       [DIFFERENCE] = a - b,
                       [SUM32] = a + b,
                       [DIFFERENCE32] = a - b,
                       [PRODUCT] = (u128)v[A][0] * v[B][0] + v[A][1]};
    for (int k = SUM; k < EACH; k++)
      if (v[k][0] != (uint64_t)want[k] || v[k][1] != (uint64_t)(want[k] >> 64))
        fail_msg("thread %d, result %d: %llx %llx", i, k, (unsigned long long)v[k][1],
                 (unsigned long long)v[k][0]);
  }
}

/* By hand, for a, b, c in %r2, %r3, %r4, their low halves in %rs2 … and the floats %f2 …;
 * the result in %r5, which held 0x5a5a5a5a. */
static const struct {
  const char *text;
  uint32_t a, b, c, want;
} given[] = {
    {"set.le.u32.f16x2 %r5, %r2, %r3;", 0x3c004000, 0x3c003c00, 0, 0xffff0000},
    {"set.ne.s32.f16x2 %r5, %r2, %r3;", 0x7e003c00, 0x3c004000, 0, 0x0000ffff},
    {"set.neu.u32.f16x2 %r5, %r2, %r3;", 0x7e003c00, 0x3c003c00, 0, 0xffff0000},
    {"set.gt.f16x2.f16x2 %r5, %r2, %r3;", 0x40004000, 0x3c004000, 0, 0x3c000000},
    {"set.gt.or.f16x2.f16x2 %r5, %r2, %r3, %p1;", 0x40004000, 0x3c004000, 1, 0x3c003c00},
    {"set.gt.and.u32.f16x2 %r5, %r2, %r3, !%p1;", 0x40004000, 0x3c003c00, 1, 0},
    {"set.gt.u32.f16x2 %r2, %r2, %r3; mov.b32 %r5, %r2;", 0x40004000, 0x3c003c00, 0, M1},
    {"set.eq.f16.f16 %rs5, %rs2, %rs3; mov.b32 %r5, {%rs5, %rs2};", 0x3c00, 0x3c00, 0,
     0x3c003c00},
    {"set.lt.u16.f16 %rs5, %rs2, %rs3; mov.b32 %r5, {%rs5, %rs2};", 0x3c00, 0x4000, 0,
     0x3c00ffff},
    {"set.ge.u32.f16 %r5, %rs2, %rs3;", 0x4000, 0x3c00, 0, M1},
    {"set.gt.ftz.u32.f16 %r5, %rs2, %rs3;", 1, 0, 0, 0},
    {"set.gt.u32.f16 %r5, %rs2, %rs3;", 1, 0, 0, M1},
    {"set.gt.bf16x2.bf16x2 %r5, %r2, %r3;", 0x40003f80, 0x3f803f80, 0, 0x3f800000},
    {"set.lt.u32.bf16x2 %r5, %r2, %r3;", 0x3f803f80, 0x3f804000, 0, 0x0000ffff},
    {"set.le.bf16.bf16 %rs5, %rs2, %rs3; mov.b32 %r5, {%rs5, %rs2};", 0x3f80, 0x3f80, 0,
     0x3f803f80},
    {"set.lt.s16.bf16 %rs5, %rs2, %rs3; mov.b32 %r5, {%rs5, %rs2};", 0x3f80, 0x4000, 0,
     0x3f80ffff},
    /* 1 + 2^-10 has no bf16, ties and directed ones apart; 2^17 no f16 */
    {"cvt.rn.bf16.f16 %rs5, %rs2; mov.b32 %r5, {%rs5, %rs2};", 0x3c01, 0, 0, 0x3c013f80},
    {"cvt.rp.bf16.f16 %rs5, %rs2; mov.b32 %r5, {%rs5, %rs2};", 0x3c01, 0, 0, 0x3c013f81},
    {"cvt.rn.f16.bf16 %rs5, %rs2; mov.b32 %r5, {%rs5, %rs2};", 0x4800, 0, 0, 0x48007c00},
    {"cvt.rz.f16.bf16 %rs5, %rs2; mov.b32 %r5, {%rs5, %rs2};", 0x4800, 0, 0, 0x48007bff},
    {"cvt.rn.f16.bf16 %rs5, %rs2; mov.b32 %r5, {%rs5, %rs2};", 0x3380, 0, 0, 0x33800001},
    {"cvt.f64.bf16 %fd1, %rs2; cvt.rn.f32.f64 %f1, %fd1; mov.b32 %r5, %f1;", 0xc049, 0, 0,
     0xc0490000},
    /* just above a tie in f64, which f32 would have made one */
    {"mov.b64 %fd1, 0x3ff0100000000001; cvt.rn.bf16.f64 %rs5, %fd1; mov.b32 %r5, {%rs5, "
     "%rs2};",
     7, 0, 0, 0x00073f81},
    {"mov.b64 %fd1, 0x3ff0100000000000; cvt.rn.bf16.f64 %rs5, %fd1; mov.b32 %r5, {%rs5, "
     "%rs2};",
     7, 0, 0, 0x00073f80},
    {"cvt.rni.bf16.bf16 %rs5, %rs2; mov.b32 %r5, {%rs5, %rs2};", 0x4020, 0, 0, 0x40204000},
    {"cvt.rpi.bf16.bf16 %rs5, %rs2; mov.b32 %r5, {%rs5, %rs2};", 0x4020, 0, 0, 0x40204040},
    {"cvt.rna.satfinite.tf32.f32 %r5, %f4;", 0, 0, 0x7f7fffff, 0x7f7fe000},
    {"cvt.rna.satfinite.tf32.f32 %r5, %f4;", 0, 0, 0x3f801000, 0x3f802000},
    {"slct.u32.f32 %r5, %r2, %r3, %f4;", 10, 20, 0x80000000, 10},
    {"slct.u32.f32 %r5, %r2, %r3, %f4;", 10, 20, 0x80000001, 20},
    {"slct.ftz.u32.f32 %r5, %r2, %r3, %f4;", 10, 20, 0x80000001, 10},
    {"slct.ftz.u32.f32 %r5, %r2, %r3, %f4;", 10, 20, 0x7fc00000, 20},
    {"lop3.or.b32 %r5|%p2, %r2, %r3, %r4, 0x96, %p1;", 0xff00, 0xf0f0, 0xcccc, 0xc33c},
    {"lop3.or.b32 %r6|%p2, %r2, %r3, %r4, 0x96, %p3; selp.b32 %r5, 1, 2, %p2;", 5, 5, 0, 2},
    {"lop3.or.b32 %r6|%p2, %r2, %r3, %r4, 0x96, %p3; selp.b32 %r5, 1, 2, %p2;", 5, 4, 0, 1},
    {"lop3.and.b32 %r6|%p2, %r2, %r3, %r4, 0x96, %p1; selp.b32 %r5, 1, 2, %p2;", 5, 4, 1,
     2},
    {"lop3.and.b32 %r6|%p2, %r2, %r3, %r4, 0x96, %p1; selp.b32 %r5, 1, 2, %p2;", 5, 4, 3,
     1},
    {"lop3.or.b32 %r2|%p2, %r2, %r3, %r4, 0x96, %p3; mov.b32 %r5, %r2;", 5, 4, 2, 3},
};

static void
by_hand(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
    char ptx[2000];
    uint32_t data[32][4];
    snprintf(ptx, sizeof ptx,
             "%smov.b32 {%%rs2, _}, %%r2; mov.b32 {%%rs3, _}, %%r3;\n"
             "mov.b32 %%f4, %%r4; setp.ne.b32 %%p1, %%r4, 0; mov.pred %%p3, 0;\n"
             "mov.b32 %%r5, 0x5a5a5a5a;\n%s\n"
             "st.global.b32 [%%rd6+12], {%%r5};\nret;\n}\n",
             before, given[i].text);
    for (int l = 0; l < 32; l++)
      memcpy(data[l], (uint32_t[4]){given[i].a, given[i].b, given[i].c, 0}, 16);
    OK(kit_run(ptx, 1, 32, 0, data, sizeof data));
    kit_no_findings();
    for (int l = 0; l < 32; l++)
      if (data[l][3] != given[i].want)
        fail_msg("%s: %x, not %x", given[i].text, data[l][3], given[i].want);
  }
}

static float
bf16_value(uint32_t h)
{
  uint32_t u = h << 16;
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}

/* f32 with bf16 operands: the sums and fused products of C. */
static void
mixed(void **state)
{
  (void)state;
  static const char body[] =
      "mov.u32 %r2, %ctaid.x; mad.lo.u32 %r1, %r2, 32, %r1;\n"
      "mul.wide.u32 %rd2, %r1, 28; add.s64 %rd2, %rd1, %rd2;\n"
      "ld.global.b32 %r2, [%rd2]; ld.global.b32 %r3, [%rd2+4]; ld.global.f32 %f3, "
      "[%rd2+8];\n"
      "mov.b32 {%rs2, _}, %r2; mov.b32 {%rs3, _}, %r3;\n"
      "add.f32.bf16 %f4, %rs2, %f3; st.global.f32 [%rd2+12], %f4;\n"
      "sub.rn.f32.bf16 %f4, %rs2, %f3; st.global.f32 [%rd2+16], %f4;\n"
      "fma.rn.f32.bf16 %f4, %rs2, %rs3, %f3; st.global.f32 [%rd2+20], %f4;\n"
      "add.rz.sat.f32.f16 %f4, %rs2, %f3; st.global.f32 [%rd2+24], %f4;\nret;\n}\n";
  static uint32_t data[VALUES][7];
  char ptx[3000];
  uint64_t seed = 3;
  snprintf(ptx, sizeof ptx, "%s%s", KIT_HEAD("8.8", "sm_120") KIT_ENTRY, body);
  for (int i = 0; i < VALUES; i++) {
    for (int k = 0; k < 2; k++) /* from 2^-8 to 2^8 */
      data[i][k] = (draw(&seed) & 0x80ff) | (119 + draw(&seed) % 16) << 7;
    data[i][2] = (draw(&seed) & 0x807fffff) | (119 + draw(&seed) % 16) << 23;
  }
  data[0][0] = 0x3c00; /* as f16: 1, and nothing is left of 1 - 2^-25 below it but zeros */
  data[0][2] = 0xb3000000;
  OK(kit_run(ptx, CTAS, 32, 0, data, sizeof data));
  kit_no_findings();
  assert_int_equal(data[0][6], 0x3f7fffff);
  for (int i = 0; i < VALUES; i++) {
    float a = bf16_value(data[i][0]), b = bf16_value(data[i][1]), c, got[3];
    memcpy(&c, &data[i][2], sizeof c);
    memcpy(got, &data[i][3], sizeof got);
    /* products of bf16 are floats, and their sum with c a double: then one rounding */
    float fused = (float)((double)a * (double)b + (double)c);
    if (got[0] != a + c || got[1] != a - c || got[2] != fused)
      fail_msg("thread %d: %a %a %a: %a %a %a", i, (double)a, (double)b, (double)c,
               (double)got[0], (double)got[1], (double)got[2]);
  }
}

/* ptxas takes modifiers in any order, but not operands' types, spaces and layouts. */
static void
orders(void **state)
{
  (void)state;
  static const struct {
    const char *text;
    bool taken;
  } lines[] = {
      {"st.global.release.gpu.b32 [%rd1], %r1;", true},
      {"atom.add.release.gpu.u32 %r2, [%rd1], %r1;", true},
      {"atom.global.gpu.acq_rel.add.u32 %r2, [%rd1], %r1;", true},
      {"add.f32.sat.ftz.rn %f1, %f2, %f3;", true},
      {"setp.and.lt.s32 %p1, %r1, %r2, %p2;", true},
      {"ld.global.b32 {%r1}, [%rd1];", true},
      {"mov.b32 {%r1}, {%r2};", true},
      {"fence.acquire.gpu;", true},
      {"fence.release.cluster;", true},
      {"mad.hi.cc.u64 %rd1, %rd2, %rd3, %rd4;", true},
      {"mad.cc.hi.u64 %rd1, %rd2, %rd3, %rd4;", false},
      {"lop3.or.b32 %r1, %r2, %r3, %r4, 0x96, %p1;", false},
      {"add.f32.f32 %f1, %f2, %f3;", false},
      {"cvt.f32.rn.f16 %f1, %rs1;", false},
      {"cvt.f16.f32.rn %f1, %rs1;", false},
      {"add.u32 {%r1}, %r2, %r3;", false},
      {"mov.b32 {%r1, %r2}, {%r2};", false},
      {"cp.async.bulk.shared::cta.global.bulk_group [%rd1], [%r1], %r2;", false},
  };
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    char ptx[1000], log[1000];
    CUmodule m;
    snprintf(ptx, sizeof ptx, "%s%s\nret;\n}\n", head, lines[i].text);
    CUresult r = kit_load(ptx, &m, log, sizeof log);
    if (!r != lines[i].taken)
      fail_msg("%s %s", lines[i].text, r ? log : "is taken");
    if (!r)
      OK(cuModuleUnload(m));
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values), cmocka_unit_test(carries), cmocka_unit_test(by_hand),
      cmocka_unit_test(mixed),  cmocka_unit_test(orders),
  };
  kit_start("arch=sm_120");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
