/* Instructions one by one: results by the PTX ISA, worked out by hand; odd lanes are off
 * and must keep what they had. */
#include "tests/unit/emu_kit.h"

#include "emulator/exec/simd.h"

/* kind of the result: r 32 bits, d 64, h 16, p predicate, f f32, g f64 */
typedef struct Row {
  char kind;
  const char *text;
  uint64_t a, b, c, want;
} Row;

#define F(x) 0x##x##u
#define M1   0xffffffffffffffffu

static const Row rows[] = {
    {'r', "add.s32 %r5, %r2, %r3;", 0x7fffffff, 1, 0, 0x80000000},
    {'r', "add.sat.s32 %r5, %r2, %r3;", 0x7fffffff, 1, 0, 0x7fffffff},
    {'d', "add.u64 %rd5, %rd2, %rd3;", 0xffffffff, 1, 0, 0x100000000},
    {'h', "add.u16 %rs5, %rs2, %rs3;", 0xffff, 2, 0, 1},
    {'h', "sub.s16 %rs5, %rs2, %rs3;", 0, 1, 0, 0xffff},
    {'r', "sub.sat.s32 %r5, %r2, %r3;", 0x80000000, 1, 0, 0x80000000},
    {'r', "mul.lo.s32 %r5, %r2, %r3;", 0xffffffff, 3, 0, 0xfffffffd},
    {'r', "mul.hi.u32 %r5, %r2, %r3;", 0xffffffff, 0xffffffff, 0, 0xfffffffe},
    {'r', "mul.hi.s32 %r5, %r2, %r3;", 0xffffffff, 2, 0, 0xffffffff},
    {'d', "mul.wide.s32 %rd5, %r2, %r3;", 0xffffffff, 2, 0, M1 - 1},
    {'d', "mul.wide.u32 %rd5, %r2, %r3;", 0xffffffff, 2, 0, 0x1fffffffe},
    {'r', "mul.wide.s16 %r5, %rs2, %rs3;", 0xffff, 5, 0, 0xfffffffb},
    {'r', "mul.wide.u16 %r5, %rs2, %rs3;", 0xffff, 0xffff, 0, 0xfffe0001},
    {'d', "mul.hi.u64 %rd5, %rd2, %rd3;", M1, M1, 0, M1 - 1},
    {'d', "mul.hi.s64 %rd5, %rd2, %rd3;", M1, 7, 0, M1},
    {'h', "mul.hi.s16 %rs5, %rs2, %rs3;", 0x8000, 0x8000, 0, 0x4000},
    {'r', "mad.lo.u32 %r5, %r2, %r3, %r4;", 7, 9, 5, 68},
    {'r', "mad.hi.u32 %r5, %r2, %r3, %r4;", 0x80000000, 6, 5, 8},
    {'d', "mad.wide.s32 %rd5, %r2, %r3, %rd4;", 0xfffffffe, 3, 10, 4},
    {'d', "mad.wide.u32 %rd5, %r2, %r3, %rd4;", 0xfffffffe, 2, 10, 0x200000006},
    {'r', "div.s32 %r5, %r2, %r3;", 0xfffffff9, 2, 0, 0xfffffffd},
    {'r', "rem.s32 %r5, %r2, %r3;", 0xfffffff9, 2, 0, 0xffffffff},
    {'r', "div.u32 %r5, %r2, %r3;", 7, 0, 0, 0xffffffff},
    {'d', "div.s64 %rd5, %rd2, %rd3;", 0x8000000000000000, M1, 0, 0x8000000000000000},
    {'d', "rem.u64 %rd5, %rd2, %rd3;", 1000000000007, 10, 0, 7},
    {'r', "sad.s32 %r5, %r2, %r3, %r4;", 0xfffffffe, 3, 10, 15},
    {'r', "min.s32 %r5, %r2, %r3;", 0xffffffff, 1, 0, 0xffffffff},
    {'r', "min.u32 %r5, %r2, %r3;", 0xffffffff, 1, 0, 1},
    {'h', "max.s16 %rs5, %rs2, %rs3;", 0xffff, 1, 0, 1},
    {'d', "max.u64 %rd5, %rd2, %rd3;", M1, 1, 0, M1},
    {'r', "abs.s32 %r5, %r2;", 0xfffffff0, 0, 0, 16},
    {'h', "neg.s16 %rs5, %rs2;", 1, 0, 0, 0xffff},
    {'d', "neg.s64 %rd5, %rd2;", 1, 0, 0, M1},
    {'r', "popc.b32 %r5, %r2;", 0xf0f01, 0, 0, 9},
    {'r', "popc.b64 %r5, %rd2;", M1, 0, 0, 64},
    {'r', "clz.b32 %r5, %r2;", 0, 0, 0, 32},
    {'r', "clz.b64 %r5, %rd2;", 1, 0, 0, 63},
    {'r', "bfind.u32 %r5, %r2;", 0x00010000, 0, 0, 16},
    {'r', "bfind.s32 %r5, %r2;", 0xfffeffff, 0, 0, 16},
    {'r', "bfind.s32 %r5, %r2;", 0xffffffff, 0, 0, 0xffffffff},
    {'r', "bfind.shiftamt.u32 %r5, %r2;", 0x00010000, 0, 0, 15},
    {'r', "bfind.u64 %r5, %rd2;", 0x8000000000000000, 0, 0, 63},
    {'r', "brev.b32 %r5, %r2;", 1, 0, 0, 0x80000000},
    {'d', "brev.b64 %rd5, %rd2;", 2, 0, 0, 0x4000000000000000},
    {'r', "bfe.u32 %r5, %r2, %r3, %r4;", 0x12345678, 8, 8, 0x56},
    {'r', "bfe.s32 %r5, %r2, %r3, %r4;", 0x0000f000, 12, 4, 0xffffffff},
    {'r', "bfe.s32 %r5, %r2, %r3, %r4;", 0x80000000, 28, 8, 0xfffffff8},
    {'r', "bfe.s32 %r5, %r2, %r3, %r4;", 0x80000000, 40, 8, 0xffffffff},
    {'r', "bfe.s32 %r5, %r2, %r3, %r4;", 0x80000000, 4, 0, 0},
    {'d', "bfe.u64 %rd5, %rd2, %r3, %r4;", 0x123456789abcdef0, 60, 16, 1},
    {'r', "bfi.b32 %r5, %r2, %r3, 8, 8;", 0xab, 0x11111111, 0, 0x1111ab11},
    {'r', "bfi.b32 %r5, %r2, %r3, 28, 8;", 0xab, 0, 0, 0xb0000000},
    {'r', "bfi.b32 %r5, %r2, %r3, 32, 8;", 0xab, 5, 0, 5},
    {'d', "bfi.b64 %rd5, %rd2, %rd3, 32, 32;", 7, 1, 0, 0x700000001},
    {'r', "and.b32 %r5, %r2, %r3;", 0xff00ff00, 0x0ff00ff0, 0, 0x0f000f00},
    {'d', "or.b64 %rd5, %rd2, %rd3;", 0xf000000000000000, 1, 0, 0xf000000000000001},
    {'h', "xor.b16 %rs5, %rs2, %rs3;", 0xffff, 0xff, 0, 0xff00},
    {'h', "not.b16 %rs5, %rs2;", 0xff, 0, 0, 0xff00},
    {'r', "shl.b32 %r5, %r2, %r3;", 1, 32, 0, 0},
    {'r', "shl.b32 %r5, %r2, %r3;", 1, 31, 0, 0x80000000},
    {'h', "shl.b16 %rs5, %rs2, %r3;", 0x8001, 1, 0, 2},
    {'d', "shl.b64 %rd5, %rd2, %r3;", 1, 63, 0, 0x8000000000000000},
    {'r', "shr.s32 %r5, %r2, %r3;", 0x80000000, 99, 0, 0xffffffff},
    {'r', "shr.u32 %r5, %r2, %r3;", 0x80000000, 31, 0, 1},
    {'h', "shr.s16 %rs5, %rs2, %r3;", 0x8000, 4, 0, 0xf800},
    {'d', "shr.s64 %rd5, %rd2, %r3;", 0x8000000000000000, 60, 0, M1 - 7},
    {'r', "shf.l.wrap.b32 %r5, %r2, %r3, %r4;", 0x80000001, 0x40000000, 33, 0x80000001},
    {'r', "shf.l.clamp.b32 %r5, %r2, %r3, %r4;", 0x80000001, 0x40000000, 33, 0x80000001},
    {'r', "shf.r.wrap.b32 %r5, %r2, %r3, %r4;", 0x80000001, 0x3, 4, 0x38000000},
    {'r', "shf.r.clamp.b32 %r5, %r2, %r3, %r4;", 0x80000001, 0x3, 32, 3},
    {'r', "lop3.b32 %r5, %r2, %r3, %r4, 0x96;", 0xff00ff00, 0xf0f0f0f0, 0xcccccccc,
     0xc33cc33c},
    {'r', "lop3.b32 %r5, %r2, %r3, %r4, 0xe8;", 0xff00ff00, 0xf0f0f0f0, 0xcccccccc,
     0xfcc0fcc0},
    {'r', "prmt.b32 %r5, %r2, %r3, 0x7531;", 0x33221100, 0x77665544, 0, 0x77553311},
    {'r', "prmt.b32 %r5, %r2, %r3, 0x0009;", 0x00008000, 0, 0, 0x000000ff},
    {'r', "prmt.b32.f4e %r5, %r2, %r3, 1;", 0x33221100, 0x77665544, 0, 0x44332211},
    {'r', "prmt.b32.b4e %r5, %r2, %r3, 1;", 0x33221100, 0x77665544, 0, 0x66770011},
    {'r', "prmt.b32.rc8 %r5, %r2, %r3, 2;", 0x33221100, 0, 0, 0x22222222},
    {'r', "prmt.b32.ecl %r5, %r2, %r3, 1;", 0x33221100, 0, 0, 0x33221111},
    {'r', "prmt.b32.ecr %r5, %r2, %r3, 2;", 0x33221100, 0, 0, 0x22221100},
    {'r', "prmt.b32.rc16 %r5, %r2, %r3, 1;", 0x33221100, 0, 0, 0x33223322},
    {'p', "setp.lt.s32 %p5, %r2, %r3;", 0xffffffff, 1, 0, 1},
    {'p', "setp.lt.u32 %p5, %r2, %r3;", 0xffffffff, 1, 0, 0},
    {'p', "setp.hs.u64 %p5, %rd2, %rd3;", M1, M1, 0, 1},
    {'p', "setp.ge.s16 %p5, %rs2, %rs3;", 0x8000, 0, 0, 0},
    {'p', "setp.eq.b64 %p5, %rd2, %rd3;", 0x100000001, 1, 0, 0},
    {'p', "setp.lt.and.s32 %p5, %r2, %r3, %p4;", 1, 2, 0, 0},
    {'p', "setp.lt.and.s32 %p5, %r2, %r3, !%p4;", 1, 2, 0, 1},
    {'p', "setp.lt.or.s32 %p4|%p5, %r2, %r3, %p4;", 1, 2, 1, 1},
    {'p', "setp.lt.xor.s32 %p4|%p5, %r2, %r3, %p4;", 1, 2, 1, 1},
    {'p', "setp.lt.f32 %p5, %f2, %f3;", F(3f800000), F(7fc00000), 0, 0},
    {'p', "setp.ltu.f32 %p5, %f2, %f3;", F(3f800000), F(7fc00000), 0, 1},
    {'p', "setp.ne.f32 %p5, %f2, %f3;", F(7fc00000), F(7fc00000), 0, 0},
    {'p', "setp.neu.f32 %p5, %f2, %f3;", F(7fc00000), F(7fc00000), 0, 1},
    {'p', "setp.nan.f32 %p5, %f2, %f3;", F(7fc00000), 0, 0, 1},
    {'p', "setp.num.f32 %p5, %f2, %f3;", F(7f800000), 0, 0, 1},
    {'p', "setp.equ.f32 %p5, %f2, %f3;", F(80000000), 0, 0, 1},
    {'p', "setp.gt.f32 %p5, %f2, %f3;", 1, 0, 0, 1},
    {'p', "setp.gt.ftz.f32 %p5, %f2, %f3;", 1, 0, 0, 0},
    {'p', "setp.ge.f64 %p5, %fd2, %fd3;", 0x3ff0000000000000, 0xbff0000000000000, 0, 1},
    {'p', "setp.lt.f16 %p5, %rs2, %rs3;", 0x3c00, 0x4000, 0, 1},
    {'p', "setp.lt.f16x2 %p4|%p5, %r2, %r3;", 0x3c004000, 0x40003c00, 0, 1},
    {'p', "testp.subnormal.f32 %p5, %f2;", 1, 0, 0, 1},
    {'p', "testp.notanumber.f64 %p5, %fd2;", 0x7ff8000000000000, 0, 0, 1},
    {'p', "testp.finite.f32 %p5, %f2;", F(7f800000), 0, 0, 0},
    {'p', "and.pred %p5, %p2, %p3;", 1, 0, 0, 0},
    {'p', "or.pred %p5, %p2, %p3;", 1, 0, 0, 1},
    {'p', "xor.pred %p5, %p2, %p3;", 1, 1, 0, 0},
    {'p', "not.pred %p5, %p2;", 0, 0, 0, 1},
    {'p', "mov.pred %p5, -1;", 0, 0, 0, 1},
    {'r', "selp.b32 %r5, %r2, %r3, %p4;", 10, 20, 1, 10},
    {'d', "selp.b64 %rd5, %rd2, %rd3, %p4;", 10, 20, 0, 20},
    {'h', "selp.u16 %rs5, 7, %rs3, %p4;", 10, 20, 1, 7},
    {'r', "slct.u32.s32 %r5, %r2, %r3, %r4;", 10, 20, 0xffffffff, 20},
    {'r', "set.lt.u32.s32 %r5, %r2, %r3;", 1, 2, 0, 0xffffffff},
    {'f', "set.lt.f32.s32 %f5, %r2, %r3;", 1, 2, 0, F(3f800000)},
    {'r', "set.gt.and.u32.f32 %r5, %f2, %f3, %p4;", F(3f800000), 0, 1, 0xffffffff},
    {'r', "mov.b32 %r5, {%rs2, %rs3};", 0x1234, 0xabcd, 0, 0xabcd1234},
    {'d', "mov.b64 %rd5, {%r2, %r3};", 1, 2, 0, 0x200000001},
    {'d', "mov.b64 %rd5, {%rs2, %rs3, %rs4, %rs2};", 1, 2, 3, 0x1000300020001},
    {'h', "mov.b32 {_, %rs5}, %r2;", 0xabcd1234, 0, 0, 0xabcd},
    {'r', "mov.b64 {%r6, %r5}, %rd2;", 0xabcd123400000000, 0, 0, 0xabcd1234},
    {'h', "mov.b64 {_, _, %rs5, _}, %rd2;", 0x0004000300020001, 0, 0, 3},
    {'r', "mov.b32 %r5, 0f3F800000;", 0, 0, 0, 0x3f800000},
    {'r', "mov.u32 %r5, -2;", 0, 0, 0, 0xfffffffe},
    {'f', "mov.f32 %f5, 1.5;", 0, 0, 0, F(3fc00000)},
    {'g', "mov.f64 %fd5, 0d4000000000000000;", 0, 0, 0, 0x4000000000000000},
    {'r', "mov.u32 %r5, WARP_SZ;", 0, 0, 0, 32},
    {'f', "add.f32 %f5, %f2, %f3;", F(3f800000), F(40000000), 0, F(40400000)},
    {'f', "add.rz.f32 %f5, %f2, %f3;", F(3f800000), F(b3000000), 0, F(3f7fffff)},
    {'f', "add.sat.f32 %f5, %f2, %f3;", F(3f800000), F(40000000), 0, F(3f800000)},
    {'f', "sub.ftz.f32 %f5, %f2, %f3;", 3, 1, 0, 0},
    {'f', "mul.f32 %f5, %f2, 0f40000000;", F(3fc00000), 0, 0, F(40400000)},
    {'f', "fma.rn.f32 %f5, %f2, %f3, %f4;", F(3f800001), F(3f800001), F(bf800002),
     F(28800000)},
    {'f', "mad.rn.f32 %f5, %f2, %f3, %f4;", F(40000000), F(40400000), F(3f800000),
     F(40e00000)},
    {'f', "min.f32 %f5, %f2, %f3;", F(7fc00000), F(40000000), 0, F(40000000)},
    {'f', "max.NaN.f32 %f5, %f2, %f3;", F(7fc00000), F(40000000), 0, F(7fffffff)},
    {'f', "neg.f32 %f5, %f2;", 0, 0, 0, F(80000000)},
    {'f', "abs.f32 %f5, %f2;", F(bf800000), 0, 0, F(3f800000)},
    {'f', "div.rn.f32 %f5, %f2, %f3;", F(3f800000), F(40400000), 0, F(3eaaaaab)},
    {'f', "rcp.rn.f32 %f5, %f2;", F(40800000), 0, 0, F(3e800000)},
    {'f', "sqrt.rn.f32 %f5, %f2;", F(40000000), 0, 0, F(3fb504f3)},
    {'f', "ex2.approx.ftz.f32 %f5, %f2;", F(40400000), 0, 0, F(41000000)},
    {'f', "lg2.approx.f32 %f5, %f2;", F(41000000), 0, 0, F(40400000)},
    {'f', "rsqrt.approx.f32 %f5, %f2;", F(40800000), 0, 0, F(3f000000)},
    {'f', "copysign.f32 %f5, %f2, %f3;", F(80000000), F(3f800000), 0, F(bf800000)},
    {'g', "fma.rn.f64 %fd5, %fd2, %fd3, %fd4;", 0x4000000000000000, 0x4008000000000000,
     0x3ff0000000000000, 0x401c000000000000},
    {'h', "add.f16 %rs5, %rs2, %rs3;", 0x3c00, 0x3c00, 0, 0x4000},
    {'r', "fma.rn.f16x2 %r5, %r2, %r3, %r4;", 0x40003c00, 0x42003c00, 0x3c003c00,
     0x47004000},
    {'r', "fma.rn.relu.bf16x2 %r5, %r2, %r3, %r4;", 0x3f80bf80, 0x3f803f80, 0, 0x3f800000},
    {'r', "max.bf16x2 %r5, %r2, %r3;", 0x3f80c000, 0x40003f80, 0, 0x40003f80},
    {'r', "cvt.rn.bf16x2.f32 %r5, %f2, %f3;", F(3f800000), F(40000000), 0, 0x3f804000},
    {'h', "cvt.rn.bf16.f32 %rs5, %f2;", F(3f808000), 0, 0, 0x3f80},
    {'h', "cvt.rn.f16.f32 %rs5, %f2;", F(3f800000), 0, 0, 0x3c00},
    {'f', "cvt.f32.f16 %f5, %rs2;", 0x3c00, 0, 0, F(3f800000)},
    {'r', "cvt.rzi.s32.f32 %r5, %f2;", F(bfc00000), 0, 0, 0xffffffff},
    {'r', "cvt.rni.s32.f32 %r5, %f2;", F(40200000), 0, 0, 2},
    {'r', "cvt.rpi.u32.f32 %r5, %f2;", F(bfc00000), 0, 0, 0},
    {'f', "cvt.rn.f32.s32 %f5, %r2;", 0xffffffff, 0, 0, F(bf800000)},
    {'f', "cvt.rn.f32.u32 %f5, %r2;", 0xffffffff, 0, 0, F(4f800000)},
    {'r', "cvt.s32.s8 %r5, %r2;", 0x180, 0, 0, 0xffffff80},
    {'d', "cvt.s64.s8 %rd5, %r2;", 0x80, 0, 0, M1 - 127},
    {'d', "cvt.s64.s32 %rd5, %r2;", 0xffffffff, 0, 0, M1},
    {'d', "cvt.u64.u32 %rd5, %r2;", 0xffffffff, 0, 0, 0xffffffff},
    {'d', "cvt.s32.s16 %rd5, %rs2;", 0x8000, 0, 0, 0xffffffffffff8000},
    {'d', "cvt.u16.u32 %rd5, %r2;", 0x18000, 0, 0, 0x8000},
    {'h', "cvt.s8.s32 %rs5, %r2;", 0x80, 0, 0, 0xff80},
    {'r', "cvt.u8.u64 %r5, %rd2;", 0x1234, 0, 0, 0x34},
    {'r', "cvt.u32.u16 %r5, %rd2;", 0x18000, 0, 0, 0x8000},
    {'r', "cvt.sat.s16.s32 %r5, %r2;", 0x12345, 0, 0, 0x7fff},
    {'r', "cvt.sat.u8.s32 %r5, %r2;", 0xffffffff, 0, 0, 0},
    {'f', "cvt.rn.f32.f64 %f5, %fd2;", 0x3ff8000000000000, 0, 0, F(3fc00000)},
    {'g', "cvt.f64.f32 %fd5, %f2;", F(3fc00000), 0, 0, 0x3ff8000000000000},
    {'f', "cvt.rmi.f32.f32 %f5, %f2;", F(bfc00000), 0, 0, F(c0000000)},
};

/* Four words of 8 bytes a thread: a, b, c, result. */
static void
program(const Row *r, char *ptx, size_t n)
{
  static const char *const give[128] = {
      ['r'] = "cvt.u64.u32 %rd5, %r5;",
      ['d'] = "",
      ['h'] = "cvt.u64.u16 %rd5, %rs5;",
      ['p'] = "selp.u64 %rd5, 1, 0, %p5;",
      ['f'] = "mov.b32 %r5, %f5; cvt.u64.u32 %rd5, %r5;",
      ['g'] = "mov.b64 %rd5, %fd5;",
  };
  static const char before[] = KIT_HEAD("7.8", "sm_80") KIT_ENTRY
      "mul.wide.u32 %rd2, %r1, 32; add.s64 %rd6, %rd1, %rd2;\n"
      "ld.global.v2.u64 {%rd2, %rd3}, [%rd6]; ld.global.u64 %rd4, [%rd6+16];\n"
      "cvt.u32.u64 %r2, %rd2; cvt.u32.u64 %r3, %rd3; cvt.u32.u64 %r4, %rd4;\n"
      "cvt.u16.u64 %rs2, %rd2; cvt.u16.u64 %rs3, %rd3; cvt.u16.u64 %rs4, %rd4;\n"
      "mov.b32 %f2, %r2; mov.b32 %f3, %r3; mov.b32 %f4, %r4;\n"
      "mov.b64 %fd2, %rd2; mov.b64 %fd3, %rd3; mov.b64 %fd4, %rd4;\n"
      "setp.ne.u64 %p2, %rd2, 0; setp.ne.u64 %p3, %rd3, 0;\n"
      "setp.ne.u64 %p4, %rd4, 0;\n"
      "mov.u64 %rd5, 0x5a5a5a5a5a5a5a5a; cvt.u32.u64 %r5, %rd5;\n"
      "cvt.u16.u64 %rs5, %rd5; mov.b32 %f5, %r5; mov.b64 %fd5, %rd5;\n"
      "mov.pred %p5, 0; and.b32 %r7, %r1, 1; setp.eq.u32 %p7, %r7, 0;\n";
  snprintf(ptx, n, "%s@%%p7 %s\n%s\nst.global.u64 [%%rd6+24], %%rd5;\nret;\n}\n", before,
           r->text, give[(int)r->kind]);
}

static void
check(const Row *r)
{
  static const uint64_t kept[128] = {['r'] = 0x5a5a5a5a,
                                     ['d'] = 0x5a5a5a5a5a5a5a5a,
                                     ['h'] = 0x5a5a,
                                     ['f'] = 0x5a5a5a5a,
                                     ['g'] = 0x5a5a5a5a5a5a5a5a};
  char ptx[4000];
  uint64_t data[32][4];
  program(r, ptx, sizeof ptx);
  for (int l = 0; l < 32; l++)
    memcpy(data[l], (uint64_t[4]){r->a, r->b, r->c, 0}, sizeof data[l]);
  OK(kit_run(ptx, 1, 32, 0, data, sizeof data));
  kit_no_findings();
  for (int l = 0; l < 32; l++) {
    uint64_t want = l % 2 ? kept[(int)r->kind] : r->want;
    if (data[l][3] != want)
      fail_msg("%s lane %d: %llx, not %llx", r->text, l, (unsigned long long)data[l][3],
               (unsigned long long)want);
  }
}

static void
every_row(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    check(&rows[i]);
}

/* The same bits from the code for every kind of CPU. */
static void
every_cpu(void **state)
{
  (void)state;
  Simd best = simd_current();
  for (Simd s = SIMD_BASE; s < SIMD_COUNT; s++)
    if (simd_force(s))
      every_row(NULL);
  simd_force(best);
}

/* A guard that the instruction itself changes decides for all of it. */
static void
guard_is_result(void **state)
{
  (void)state;
  uint32_t out[32] = {0};
  OK(kit_run(KIT("setp.lt.u32 %p1, %r1, 16;\n"
                 "mov.b32 %r2, 0x3c003c00; mov.b32 %r3, 0x40003800;\n"
                 "mov.pred %p2, 0;\n"
                 "@%p1 setp.lt.f16x2 %p1|%p2, %r2, %r3;\n"
                 "selp.u32 %r4, 1, 0, %p1; selp.u32 %r5, 2, 0, %p2; or.b32 %r4, %r4, %r5;\n"
                 "st.global.u32 [%rd2], %r4;\n"),
             1, 32, 0, out, sizeof out));
  for (int l = 0; l < 32; l++)
    assert_int_equal(out[l], l < 16 ? 2 : 0);
  kit_no_findings();
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_row),
      cmocka_unit_test(every_cpu),
      cmocka_unit_test(guard_is_result),
  };
  kit_start("");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
