/* wmma in kernels: load, multiply, store, over shapes, types, layouts, strides and state
 * spaces.  Nothing is said of where elements lie in registers; small whole numbers, so that
 * every sum is exact. */
#include "tests/unit/emu_kit.h"

#include <math.h>

enum { TEXT = 16 << 10, SHARED = 32 << 10, PART = 8192, BYTES = 4 * PART, SIDE = 32 };
enum { AT_A = 0, AT_B = PART, AT_C = 2 * PART, AT_D = 3 * PART };

typedef enum El { F16, BF16, TF32, F32, F64, U8, S8, S32 } El;
static const char *const names[] = {"f16", "bf16", "tf32", "f32", "f64", "u8", "s8", "s32"};
static const int sizes[] = {2, 2, 4, 4, 8, 1, 1, 4};

typedef struct Case {
  int m, n, k;
  El ab, c, d;
  bool col_a, col_b, col_c, col_d;
  int pad;           /* of strides; 0: none are given */
  const char *space; /* "", ".global", ".shared", ".shared::cta" */
  const char *more;  /* between load and product */
  bool sat;
} Case;

static uint8_t buffer[BYTES];
static double ma[SIDE][SIDE], mb[SIDE][SIDE], mc[SIDE][SIDE];
static char text[TEXT];
static size_t at;
static uint32_t seed = 1;

static __attribute__((format(printf, 1, 2))) void
say(const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  at += (size_t)vsnprintf(text + at, TEXT - at, fmt, ap);
  va_end(ap);
  assert_true(at < TEXT);
}

static uint32_t
rnd(uint32_t n)
{
  seed = seed * 1664525 + 1013904223;
  return (seed >> 8) % n;
}

/* ---- numbers ---- */

static void
encode(El t, double v, uint8_t *to)
{
  float f = (float)v;
  uint32_t u;
  int32_t whole = (int32_t)v;
  memcpy(&u, &f, 4);
  if (t == F64) {
    memcpy(to, &v, 8);
  } else if (t == U8 || t == S8 || t == S32) {
    memcpy(to, &whole, (size_t)sizes[t]);
  } else if (t == F16) {
    uint16_t h = (uint16_t)(v == 0 ? 0
                                   : (u >> 16 & 0x8000) | (((u >> 23 & 255) - 112) << 10 |
                                                           (u >> 13 & 0x3ff)));
    memcpy(to, &h, 2);
  } else if (t == BF16) {
    u >>= 16;
    memcpy(to, &u, 2);
  } else {
    memcpy(to, &u, 4);
  }
}

static double
decode(El t, const uint8_t *from)
{
  uint16_t h;
  int32_t whole;
  float f;
  double v;
  memcpy(&h, from, 2);
  memcpy(&whole, from, 4);
  memcpy(&f, from, 4);
  if (t == F64) {
    memcpy(&v, from, 8);
    return v;
  }
  if (t == F16) {
    int e = h >> 10 & 31, m = h & 1023;
    v = e ? ldexp(m | 1024, e - 25) : ldexp(m, -24);
    return h >> 15 ? -v : v;
  }
  return t == S32 ? (double)whole : (double)f;
}

/* ---- memory ---- */

static int
stride(const Case *c, int rows, int cols, bool col)
{
  return (col ? rows : cols) + c->pad;
}

static size_t
place(const Case *c, El t, int rows, int cols, bool col, int i, int j)
{
  int ld = stride(c, rows, cols, col);
  return (size_t)((col ? j * ld + i : i * ld + j) * sizes[t]);
}

static void
fill(const Case *c)
{
  memset(buffer, 0x33, sizeof buffer);
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) {
      ma[i][j] = (int)rnd(9) - (c->ab == U8 ? 0 : 4);
      mb[i][j] = (int)rnd(9) - (c->ab == U8 ? 0 : 4);
      mc[i][j] = (int)rnd(201) - 100;
      if (c->sat)
        mc[i][j] = rnd(2) ? 2147483600.0 + rnd(48) : -2147483600.0 - rnd(48);
      if (i < c->m && j < c->k)
        encode(c->ab, ma[i][j],
               buffer + AT_A + place(c, c->ab, c->m, c->k, c->col_a, i, j));
      if (i < c->k && j < c->n)
        encode(c->ab, mb[i][j],
               buffer + AT_B + place(c, c->ab, c->k, c->n, c->col_b, i, j));
      if (i < c->m && j < c->n)
        encode(c->c, mc[i][j], buffer + AT_C + place(c, c->c, c->m, c->n, c->col_c, i, j));
    }
}

/* ---- the kernel ---- */

/* PTX ISA, "Matrix fragments for WMMA": registers of a thread. */
static int
registers(const Case *c, El t, int elements, bool multiplicand)
{
  if (multiplicand && t == F16)
    return 8;
  int each = t == F64 ? 8 : 4;
  (void)c;
  return elements * sizes[t] / 32 / each;
}

static const char *
class_of(El t)
{
  return t == F64 ? "d" : t == F32 ? "f" : "r";
}

static void
say_registers(El t, int first, int n)
{
  say("{");
  for (int i = 0; i < n; i++)
    say("%s%%%s%d", i ? ", " : "", class_of(t), first + i);
  say("}");
}

typedef struct Part {
  char name;
  El type;
  int rows, cols, at, reg, n;
  bool col;
} Part;

static Part
part(const Case *c, char name)
{
  switch (name) {
  case 'a':
    return (Part){
        'a', c->ab, c->m, c->k, AT_A, 10, registers(c, c->ab, c->m * c->k, true), c->col_a};
  case 'b':
    return (Part){
        'b', c->ab, c->k, c->n, AT_B, 20, registers(c, c->ab, c->k * c->n, true), c->col_b};
  case 'c':
    return (Part){
        'c', c->c, c->m, c->n, AT_C, 30, registers(c, c->c, c->m * c->n, false), c->col_c};
  default:
    return (Part){
        'd', c->d, c->m, c->n, AT_D, 40, registers(c, c->d, c->m * c->n, false), c->col_d};
  }
}

static bool
is_shared(const Case *c)
{
  return !strncmp(c->space, ".shared", 7);
}

/* [address], and a stride in a register or as a number. */
static void
say_place(const Case *c, const Part *p)
{
  say("[%%rd%d+%d]", is_shared(c) ? 3 : *c->space ? 1 : 4, p->at);
}

static void
say_stride(const Case *c, const Part *p)
{
  if (c->pad && p->name % 2)
    say(", %d", stride(c, p->rows, p->cols, p->col));
  else if (c->pad)
    say(", %%r%d", p->name == 'b' ? 5 : 6);
  say(";\n");
}

static void
say_load(const Case *c, const Part *p)
{
  say("wmma.load.%c.sync.aligned.%s.m%dn%dk%d%s.%s ", p->name, p->col ? "col" : "row", c->m,
      c->n, c->k, c->space, names[p->type]);
  say_registers(p->type, p->reg, p->n);
  say(", ");
  say_place(c, p);
  say_stride(c, p);
}

static void
say_mma(const Case *c)
{
  say("wmma.mma.sync.aligned.%s.%s.m%dn%dk%d", c->col_a ? "col" : "row",
      c->col_b ? "col" : "row", c->m, c->n, c->k);
  if (c->ab == F16)
    say(".%s.%s%s ", names[c->d], names[c->c], c->sat ? ".satfinite" : "");
  else
    say(".%s.%s.%s.%s%s ", names[c->d], names[c->ab], names[c->ab], names[c->c],
        c->sat ? ".satfinite" : "");
  for (const char *name = "dabc"; *name; name++) {
    Part p = part(c, *name);
    say_registers(p.type, p.reg, p.n);
    say(*name == 'c' ? ";\n" : ", ");
  }
}

static void
say_store(const Case *c)
{
  Part p = part(c, 'd');
  say("wmma.store.d.sync.aligned.%s.m%dn%dk%d%s.%s ", p.col ? "col" : "row", c->m, c->n,
      c->k, c->space, names[p.type]);
  say_place(c, &p);
  say(", ");
  say_registers(p.type, p.reg, p.n);
  say_stride(c, &p);
}

static const char to_shared[] =
    "mul.wide.u32 %rd5, %r1, 16; add.u64 %rd6, %rd1, %rd5; add.u64 %rd7, %rd3, %rd5;\n"
    "mov.u32 %r2, 0;\n"
    "L: ld.global.v2.b64 {%rd8, %rd9}, [%rd6]; st.shared.v2.b64 [%rd7], {%rd8, %rd9};\n"
    "add.u64 %rd6, %rd6, 512; add.u64 %rd7, %rd7, 512; add.u32 %r2, %r2, 1;\n"
    "setp.lt.u32 %p1, %r2, 64; @%p1 bra L;\n"
    "bar.sync 0;\n";
static const char from_shared[] =
    "bar.sync 0;\n"
    "mul.wide.u32 %rd5, %r1, 16; add.u64 %rd6, %rd1, %rd5; add.u64 %rd7, %rd3, %rd5;\n"
    "mov.u32 %r2, 0;\n"
    "M: ld.shared.v2.b64 {%rd8, %rd9}, [%rd7]; st.global.v2.b64 [%rd6], {%rd8, %rd9};\n"
    "add.u64 %rd6, %rd6, 512; add.u64 %rd7, %rd7, 512; add.u32 %r2, %r2, 1;\n"
    "setp.lt.u32 %p1, %r2, 64; @%p1 bra M;\n";

static void
make(const Case *c)
{
  bool late = c->ab != F16 && c->ab != U8 && c->ab != S8;
  Part a = part(c, 'a'), b = part(c, 'b'), cc = part(c, 'c'), d = part(c, 'd');
  at = 0;
  say(".version 7.8\n.target %s\n.address_size 64\n", late ? "sm_80" : "sm_75");
  say(".visible .entry k(.param .u64 p) {\n"
      ".reg .pred %%p<4>; .reg .b32 %%r<50>; .reg .f32 %%f<50>; .reg .f64 %%d<50>;\n"
      ".reg .b64 %%rd<20>; .shared .align 128 .b8 sh[%d];\n",
      SHARED);
  say("ld.param.u64 %%rd4, [p]; cvta.to.global.u64 %%rd1, %%rd4; mov.u32 %%r1, %%tid.x;\n"
      "mov.u64 %%rd3, sh;\n");
  say("mov.u32 %%r5, %d; mov.u32 %%r6, %d;\n", stride(c, b.rows, b.cols, b.col),
      stride(c, d.rows, d.cols, d.col));
  if (is_shared(c))
    say("%s", to_shared);
  say_load(c, &a);
  say_load(c, &b);
  say_load(c, &cc);
  say("%s", c->more ? c->more : "");
  say_mma(c);
  say_store(c);
  if (is_shared(c))
    say("%s", from_shared);
  say("ret;\n}\n");
}

static double
want(const Case *c, int i, int j)
{
  double sum = mc[i][j];
  for (int k = 0; k < c->k; k++)
    sum += ma[i][k] * mb[k][j];
  if (c->sat)
    sum = sum > 2147483647 ? 2147483647 : sum < -2147483648.0 ? -2147483648.0 : sum;
  return sum;
}

static void
check(const Case *c)
{
  for (int i = 0; i < c->m; i++)
    for (int j = 0; j < c->n; j++) {
      double got = decode(c->d, buffer + AT_D + place(c, c->d, c->m, c->n, c->col_d, i, j));
      if (got != want(c, i, j))
        fail_msg("m%dn%dk%d %s %s %s%s: (%d, %d) is %g, not %g\n%s", c->m, c->n, c->k,
                 names[c->ab], names[c->c], names[c->d], c->space, i, j, got, want(c, i, j),
                 text);
    }
}

static void
one(const Case *c)
{
  fill(c);
  make(c);
  CUresult r = kit_run(text, 1, 32, 0, buffer, sizeof buffer);
  kit_no_findings();
  OK(r);
  check(c);
}

/* Layouts, strides and spaces, all of them over the calls. */
static void
several(Case c, int n)
{
  static const char *const spaces[] = {"", ".global", ".shared", ".shared::cta"};
  static int turn;
  for (int i = 0; i < n; i++, turn++) {
    c.col_a = turn & 1;
    c.col_b = turn & 2;
    c.col_c = turn & 4;
    c.col_d = turn & 8;
    c.pad = turn / 3 % 3 * 16;
    c.space = spaces[turn / 16 % 4];
    one(&c);
  }
}

static const int shapes[][3] = {{16, 16, 16}, {32, 8, 16}, {8, 32, 16}};

static void
halves(void **state)
{
  (void)state;
  for (int s = 0; s < 3; s++)
    for (int types = 0; types < 4; types++)
      several((Case){shapes[s][0], shapes[s][1], shapes[s][2], F16,
                     .c = types & 1 ? F16 : F32, .d = types & 2 ? F16 : F32},
              24);
}

static void
other_floats(void **state)
{
  (void)state;
  for (int s = 0; s < 3; s++)
    several((Case){shapes[s][0], shapes[s][1], shapes[s][2], BF16, .c = F32, .d = F32}, 24);
  several((Case){16, 16, 8, TF32, .c = F32, .d = F32}, 24);
  several((Case){8, 8, 4, F64, .c = F64, .d = F64}, 24);
}

static void
whole_numbers(void **state)
{
  (void)state;
  for (int s = 0; s < 3; s++)
    for (int kind = 0; kind < 4; kind++)
      several((Case){shapes[s][0], shapes[s][1], shapes[s][2], kind & 1 ? U8 : S8, S32, S32,
                     .sat = kind & 2},
              24);
}

/* What is done to each register of C is done to each element. */
static void
element_by_element(void **state)
{
  (void)state;
  Case c = {16, 16, 16, F16, F32, F32, .space = ".global"};
  c.more = "mul.f32 %f30, %f30, 0f40400000; mul.f32 %f31, %f31, 0f40400000;\n"
           "mul.f32 %f32, %f32, 0f40400000; mul.f32 %f33, %f33, 0f40400000;\n"
           "mul.f32 %f34, %f34, 0f40400000; mul.f32 %f35, %f35, 0f40400000;\n"
           "mul.f32 %f36, %f36, 0f40400000; mul.f32 %f37, %f37, 0f40400000;\n";
  fill(&c);
  make(&c);
  OK(kit_run(text, 1, 32, 0, buffer, sizeof buffer));
  kit_no_findings();
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++)
      mc[i][j] *= 3;
  check(&c);
}

/* Eight registers for as many elements as four hold: the others hold them again. */
static void
registers_left_over(void **state)
{
  (void)state;
  Case c = {16, 16, 16, F16, F32, F32, .space = ".shared"};
  c.more = "mov.b32 %r10, %r14; mov.b32 %r11, %r15; mov.b32 %r12, %r16;\n"
           "mov.b32 %r13, %r17; mov.b32 %r20, %r24; mov.b32 %r21, %r25;\n"
           "mov.b32 %r22, %r26; mov.b32 %r23, %r27;\n";
  one(&c);
}

/* Sums in f32 toward zero, then to f16, to nearest even: 2051 becomes 2052. */
static void
f16_of_f32(void **state)
{
  (void)state;
  Case c = {16, 16, 16, F16, .c = F32, .d = F16, .space = ".global"};
  fill(&c);
  for (int i = 0; i < 16; i++)
    for (int j = 0; j < 16; j++) {
      ma[i][j] = i == j, mb[i][j] = 1, mc[i][j] = 2050 + 2 * j;
      encode(F16, ma[i][j], buffer + AT_A + place(&c, F16, 16, 16, false, i, j));
      encode(F16, mb[i][j], buffer + AT_B + place(&c, F16, 16, 16, false, i, j));
      encode(F32, mc[i][j], buffer + AT_C + place(&c, F32, 16, 16, false, i, j));
    }
  make(&c);
  OK(kit_run(text, 1, 32, 0, buffer, sizeof buffer));
  kit_no_findings();
  for (int i = 0; i < 16; i++)
    for (int j = 0; j < 16; j++) {
      double due = 2051 + 2 * j;
      due = due / 2 == floor(due / 2) ? due : fmod(due, 4) == 3 ? due + 1 : due - 1;
      assert_true(decode(F16, buffer + AT_D + place(&c, F16, 16, 16, false, i, j)) == due);
    }
}

static void
what_is_wrong(void **state)
{
  (void)state;
  Case c = {16, 16, 16, F16, F32, F32, .space = ".global", .pad = 16, .col_b = true};
  fill(&c);
  make(&c);
  const char *mine = replaced(text, "mov.u32 %r5, 32;", "add.u32 %r5, %r1, 32;");
  assert_int_equal(kit_run(mine, 1, 32, 0, buffer, sizeof buffer),
                   CUDA_ERROR_LAUNCH_FAILED);
  kit_found("error[wmma-address]: the lanes of a warp have different strides");
  mine = replaced(text, "mov.u32 %r5, 32;",
                  "mov.u32 %r5, 32; cvt.u64.u32 %rd5, %r1; add.u64 %rd1, %rd1, %rd5;");
  assert_int_equal(kit_run(mine, 1, 32, 0, buffer, sizeof buffer),
                   CUDA_ERROR_LAUNCH_FAILED);
  kit_found("error[wmma-address]: the lanes of a warp have different addresses");
  mine = replaced(text, "mov.u32 %r5, 32;", "mov.u32 %r5, 33;");
  assert_int_equal(kit_run(mine, 1, 32, 0, buffer, sizeof buffer),
                   CUDA_ERROR_MISALIGNED_ADDRESS);
  kit_found("error[misaligned]");
  mine = replaced(text, "mov.u32 %r5, 32;", "mov.u32 %r5, 4096;");
  assert_int_equal(kit_run(mine, 1, 32, 0, buffer, sizeof buffer),
                   CUDA_ERROR_ILLEGAL_ADDRESS);
  kit_found("error[out-of-bounds]");
}

static int
start(void **state)
{
  (void)state;
  kit_start("arch=sm_80,checks=all,threads=1");
  return 0;
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(halves),
      cmocka_unit_test(other_floats),
      cmocka_unit_test(whole_numbers),
      cmocka_unit_test(element_by_element),
      cmocka_unit_test(registers_left_over),
      cmocka_unit_test(f16_of_f32),
      cmocka_unit_test(what_is_wrong),
  };
  return cmocka_run_group_tests(tests, start, NULL);
}
