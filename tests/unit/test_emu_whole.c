/* Forms on whole numbers of the PTX ISA that nobody's vector code has: dot products, 24-bit
 * products, pairs of 16 bits, fields.  Every lane of a launch has its own operands, and
 * what comes back is compared with plain arithmetic, bit by bit or byte by byte. */
#include "tests/unit/emu_kit.h"

#include "emulator/simd.h"

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

static const char head[] = KIT_HEAD("8.0", "sm_90") KIT_ENTRY,
                  before[] = KIT_HEAD("8.0", "sm_90") KIT_ENTRY
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
      cmocka_unit_test(values),
      cmocka_unit_test(orders),
  };
  kit_start("arch=sm_90");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
