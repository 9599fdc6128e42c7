/* wgmma in kernels: small whole numbers, so that every sum is exact, against the product of
 * the matrices as they are; operands are laid into shared memory element by element, by the
 * canonical layouts of the PTX ISA ("Shared Memory Matrix Layout"). */
#include "tests/unit/emu_kit.h"

#include <math.h>

enum {
  B_AT = 16 << 10,  /* of shared memory, after A */
  IMAGE = 48 << 10, /* of shared memory */
  ROW = 512,        /* bytes of a thread's accumulators */
  A_AT = IMAGE + 128 * ROW,
  BYTES = A_AT + 128 * 16,
  TEXT = 96 << 10
};

typedef enum El { F16, BF16, TF32, E4M3, E5M2, F32, U8, S8, S32 } El;
static const char *const names[] = {"f16", "bf16", "tf32", "e4m3", "e5m2",
                                    "f32", "u8",   "s8",   "s32"};
static const int sizes[] = {2, 2, 4, 1, 1, 4, 1, 1, 4};

typedef enum Scale { ZERO, ONE, BY_FALSE, BY_TRUE, BY_NOT } Scale;

typedef struct Case {
  El a, b, d;
  int n;
  bool regs;       /* A */
  bool mn_a, mn_b; /* major */
  int swa, swb;    /* of the descriptor: 0 none, 1 128B, 2 64B, 3 32B */
  int sa, sb;      /* imm-scale, 0: 1 */
  Scale scale;
  int step; /* of k, in the pattern's row */
} Case;

static uint8_t buffer[BYTES];
static float ma[64][32], mb[32][256], mc[64][256];
static char *text;
static size_t at;

static __attribute__((format(printf, 1, 2))) void
say(const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  at += (size_t)vsnprintf(text + at, TEXT - at, fmt, ap);
  va_end(ap);
  assert_true(at < TEXT);
}

static uint32_t seed = 1;
static uint32_t
rnd(uint32_t n)
{
  seed = seed * 1664525 + 1013904223;
  return (seed >> 8) % n;
}

/* ---- numbers: whole, below 16 in 8 bits ---- */

/* The bits of x in a float of `e` bits of exponent and `m` of mantissa, exactly. */
static uint32_t
bits_in(float x, int e, int m)
{
  int exp;
  float f = frexpf(fabsf(x), &exp); /* in [0.5, 1) */
  uint32_t sign = signbit(x) ? 1u << (e + m) : 0;
  if (f == 0)
    return sign;
  float frac = (f * 2 - 1) * (float)(1 << m);
  assert_true(frac == floorf(frac));
  return sign | (uint32_t)(exp - 1 + (1 << (e - 1)) - 1) << m | (uint32_t)frac;
}

static uint32_t
bits_of(El t, float x)
{
  static const int e[] = {5, 8, 8, 4, 5, 8}, m[] = {10, 7, 23, 3, 2, 23};
  if (t > F32)
    return (uint32_t)(int32_t)x;
  return bits_in(x, e[t], m[t]);
}

static float
f16_of(uint32_t h)
{
  uint32_t e = h >> 10 & 31, m = h & 1023;
  float x = e ? ldexpf((float)(m | 1024), (int)e - 25) : ldexpf((float)m, -24);
  return h >> 15 ? -x : x;
}

/* ---- layouts ---- */

static int
width_of(int sw)
{
  static const int w[4] = {16, 128, 64, 32};
  return w[sw];
}

static uint32_t
swizzle(int sw, uint32_t a)
{
  static const uint32_t lines[4] = {0, 7, 3, 1};
  return a ^ ((a >> 7 & lines[sw]) << 4);
}

static int
k_of(const Case *c)
{
  return 32 / sizes[c->a];
}

/* LBO, SBO in bytes. */
static uint32_t
leading(bool mn, int sw)
{
  return mn ? (sw ? 16u * (uint32_t)width_of(sw) : 128) : sw ? 16 : 128;
}

static uint32_t
stride(bool mn, int sw)
{
  return mn && !sw ? 256 : !sw ? 256 : 8u * (uint32_t)width_of(sw);
}

/* Where element (i of M or N, k) is: by the canonical layouts, in units of elements. */
static uint32_t
place(bool mn, int sw, int es, int i, int k, int step)
{
  uint32_t L = leading(mn, sw), S = stride(mn, sw), w = (uint32_t)width_of(sw);
  uint32_t ui = (uint32_t)i, uk = (uint32_t)k, e = (uint32_t)es;
  if (!mn && !sw)
    return ui % 8 * 16 + ui / 8 * S + uk * e / 16 * L + uk * e % 16;
  if (!mn)
    return swizzle(sw, ui % 8 * w + ui / 8 * S + uk * e + 32u * (uint32_t)step);
  if (!sw)
    return ui / 8 * S + ui % 8 * e + uk % 8 * 16 + uk / 8 * L;
  return swizzle(sw, ui * e % w + ui * e / w * L + uk % 8 * w + uk / 8 * S);
}

static void
put(uint32_t to, El t, float x)
{
  uint32_t u = bits_of(t, x);
  memcpy(buffer + to, &u, (size_t)sizes[t]);
}

/* Accumulator i of thread t: PTX ISA, "Register Fragments for wgmma": D. */
static float *
acc(float (*m)[256], int t, int i)
{
  int row = 16 * (t / 32) + t % 32 / 4 + 8 * (i / 2 % 2);
  return &m[row][8 * (i / 4) + t % 4 * 2 + i % 2];
}

static void
put_a_registers(const Case *c)
{
  int es = sizes[c->a], each = 4 / es;
  for (int t = 0; t < 128; t++)
    for (int r = 0; r < 4; r++)
      for (int j = 0; j < each; j++) {
        int row = 16 * (t / 32) + t % 32 / 4 + 8 * (r % 2);
        int k = t % 4 * each + j + r / 2 * 4 * each;
        put((uint32_t)(A_AT + t * 16 + r * 4 + j * es), c->a, ma[row][k]);
      }
}

static float
small(El t)
{
  if (t > F32)
    return (float)((int)rnd(7) - (t == U8 ? 0 : 3));
  return (float)((int)rnd(7) - 3) * (t == F16 || t == BF16 ? 1.0f : 0.5f);
}

static void
fill(const Case *c)
{
  int K = k_of(c), ea = sizes[c->a], eb = sizes[c->b];
  memset(buffer, 0x77, sizeof buffer);
  for (int k = 0; k < K; k++) {
    for (int i = 0; i < 64; i++)
      put(place(c->mn_a, c->swa, ea, i, k, c->step), c->a, ma[i][k] = small(c->a));
    for (int j = 0; j < c->n; j++)
      put(B_AT + place(c->mn_b, c->swb, eb, j, k, c->step), c->b, mb[k][j] = small(c->b));
  }
  put_a_registers(c);
  for (int t = 0; t < 128; t++)
    for (int i = 0; i < c->n / 2; i++) {
      float *x = acc(mc, t, i);
      *x = small(c->d == S32 ? S32 : F16);
      put((uint32_t)(IMAGE + t * ROW + i * (c->d == F16 ? 2 : 4)), c->d, *x);
    }
}

/* ---- the kernel ---- */

static const char head[] =
    ".visible .entry k(.param .u64 p) {\n"
    ".reg .pred %p<20>; .reg .b32 %r<300>; .reg .b64 %rd<40>;\n"
    ".shared .align 1024 .b8 sh[49152];\n"
    "ld.param.u64 %rd1, [p]; cvta.to.global.u64 %rd1, %rd1; mov.u32 %r1, %tid.x;\n"
    "mov.u64 %rd10, sh;\n"
    "mul.wide.u32 %rd2, %r1, 16; add.u64 %rd3, %rd10, %rd2; add.u64 %rd2, %rd1, %rd2;\n"
    "mov.u64 %rd4, 0;\n"
    "L: ld.global.v4.b32 {%r2, %r3, %r4, %r5}, [%rd2];\n"
    "st.shared.v4.b32 [%rd3], {%r2, %r3, %r4, %r5};\n"
    "add.u64 %rd2, %rd2, 2048; add.u64 %rd3, %rd3, 2048; add.u64 %rd4, %rd4, 1;\n"
    "setp.lt.u64 %p1, %rd4, 24; @%p1 bra L;\n"
    "fence.proxy.async; bar.sync 0;\n"
    "mul.wide.u32 %rd2, %r1, 512; add.u64 %rd2, %rd1, %rd2;\n"
    "mul.wide.u32 %rd3, %r1, 16; add.u64 %rd3, %rd1, %rd3;\n"
    "shr.u64 %rd11, %rd10, 4;\n"
    "setp.ne.u32 %p2, 0, 0; not.pred %p3, %p2;\n";

/* %r100 … accumulators, %r20 … %r23 A, %rd20, %rd21 descriptors. */
static uint64_t
descriptor(bool mn, int sw, uint32_t base)
{
  return (uint64_t)sw << 62 | (uint64_t)(stride(mn, sw) >> 4) << 32 |
         (uint64_t)(leading(mn, sw) >> 4) << 16 | base >> 4;
}

static int
accumulators(const Case *c)
{
  return c->n / (c->d == F16 ? 4 : 2);
}

static void
say_accumulators(const Case *c)
{
  say("{");
  for (int i = 0; i < accumulators(c); i++)
    say("%s%%r%d", i ? ", " : "", 100 + i);
  say("}");
}

static void
say_product(const Case *c)
{
  static const char *const scales[] = {"0", "1", "%p2", "%p3", "!%p2"};
  say("wgmma.mma_async.sync.aligned.m64n%dk%d.%s.%s.%s%s ", c->n, k_of(c), names[c->d],
      names[c->a], names[c->b], c->d == S32 && c->step ? ".satfinite" : "");
  say_accumulators(c);
  say(c->regs ? ", {%%r20, %%r21, %%r22, %%r23}" : ", %%rd20");
  say(", %%rd21, %s", scales[c->scale]);
  if (c->d != S32)
    say(", %d, %d", c->sa ? c->sa : 1, c->sb ? c->sb : 1);
  if (sizes[c->a] == 2 && !c->regs)
    say(", %d", c->mn_a);
  if (sizes[c->a] == 2)
    say(", %d", c->mn_b);
  say(";\n");
}

static void
begin(const Case *c)
{
  at = 0;
  say("%s%s", KIT_HEAD("8.4", "sm_90a"), head);
  for (int i = 0; i < accumulators(c); i++)
    say("ld.global.b32 %%r%d, [%%rd2+%d];\n", 100 + i, IMAGE + 4 * i);
  for (int i = 0; i < 4; i++)
    say("ld.global.b32 %%r%d, [%%rd3+%d];\n", 20 + i, A_AT + 4 * i);
  uint32_t k = 32u * (uint32_t)c->step;
  say("add.u64 %%rd20, %%rd11, %llu;\n",
      (unsigned long long)descriptor(c->mn_a, c->swa, c->mn_a || !c->swa ? 0 : k));
  say("add.u64 %%rd21, %%rd11, %llu;\n",
      (unsigned long long)descriptor(c->mn_b, c->swb, B_AT + (c->mn_b || !c->swb ? 0 : k)));
}

static void
end(const Case *c)
{
  for (int i = 0; i < accumulators(c); i++)
    say("st.global.b32 [%%rd2+%d], %%r%d;\n", IMAGE + 4 * i, 100 + i);
  say("ret;\n}\n");
}

#define FENCE  "wgmma.fence.sync.aligned;\n"
#define COMMIT "wgmma.commit_group.sync.aligned;\n"
#define WAIT   "wgmma.wait_group.sync.aligned 0;\n"

static void
check(const Case *c)
{
  float s = (float)((c->sa ? c->sa : 1) * (c->sb ? c->sb : 1));
  for (int t = 0; t < 128; t++)
    for (int i = 0; i < c->n / 2; i++) {
      uint32_t u = 0;
      int row = (int)((acc(mc, t, i) - mc[0]) / 256),
          col = (int)((acc(mc, t, i) - mc[0]) % 256);
      memcpy(&u, buffer + IMAGE + t * ROW + i * (c->d == F16 ? 2 : 4), c->d == F16 ? 2 : 4);
      float got, want = c->scale == ZERO || c->scale == BY_FALSE ? 0 : mc[row][col];
      memcpy(&got, &u, 4);
      got = c->d == F16 ? f16_of(u) : c->d == S32 ? (float)(int32_t)u : got;
      for (int k = 0; k < k_of(c); k++)
        want += s * ma[row][k] * mb[k][col];
      if (got != want)
        fail_msg("m64n%dk%d %s %s %s%s major %d %d swizzle %d %d step %d: (%d, %d) is %g, "
                 "not %g",
                 c->n, k_of(c), names[c->d], names[c->a], names[c->b],
                 c->regs ? " registers" : "", c->mn_a, c->mn_b, c->swa, c->swb, c->step,
                 row, col, (double)got, (double)want);
    }
}

static CUresult
launch(void)
{
  return kit_run(text, 1, 128, 0, buffer, sizeof buffer);
}

static void
one(const Case *c)
{
  fill(c);
  begin(c);
  say(FENCE);
  say_product(c);
  say(COMMIT WAIT);
  end(c);
  CUresult r = launch();
  kit_no_findings();
  OK(r);
  check(c);
}

static void
sizes_of_n(void **state)
{
  (void)state;
  for (int n = 8; n <= 256; n += 8) {
    one(&(Case){BF16, BF16, F32, .n = n, .swa = 1, .swb = 1, .scale = n % 16 ? ONE : ZERO});
    if (n % 16 == 0 || n < 32)
      one(&(Case){S8, U8, S32, .n = n, .regs = n % 32 != 0, .swa = 1, .swb = 1,
                  .scale = ONE});
    one(&(Case){F16, F16, F16, .n = n, .regs = true, .swb = 1, .mn_b = n % 64 == 0});
  }
}

static const struct {
  El a, b, d;
} kinds[] = {
    {F16, F16, F32},   {F16, F16, F16},   {BF16, BF16, F32}, {TF32, TF32, F32},
    {E4M3, E4M3, F32}, {E4M3, E5M2, F32}, {E5M2, E4M3, F32}, {E5M2, E5M2, F32},
    {E4M3, E4M3, F16}, {E4M3, E5M2, F16}, {E5M2, E4M3, F16}, {E5M2, E5M2, F16},
    {S8, S8, S32},     {S8, U8, S32},     {U8, S8, S32},     {U8, U8, S32},
};

/* Every kind of elements, from both sources, with every swizzle and step in its row. */
static void
kinds_and_swizzles(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    for (int sw = 0; sw < 4; sw++)
      for (int step = 0; step < width_of(sw) / 32 || !step; step++) {
        Case c = {kinds[i].a, kinds[i].b, kinds[i].d, .n = 40, .swa = sw, .swb = sw};
        c.n = c.d == S32 ? 48 : 40;
        c.step = step;
        c.scale = (Scale)rnd(5);
        one(&c);
        c.regs = true;
        c.swa = (sw + 1) % 4;
        one(&c);
      }
}

static void
majors(void **state)
{
  (void)state;
  for (int i = 0; i < 3; i++)
    for (int m = 0; m < 4; m++)
      for (int sw = 0; sw < 16; sw++) {
        Case c = {kinds[i].a, kinds[i].b,    kinds[i].d,
                  .n = 72,    .swa = sw % 4, .swb = sw / 4};
        c.mn_a = m & 1;
        c.mn_b = m >> 1;
        c.scale = ONE;
        one(&c);
        c.regs = true;
        if (!c.mn_a)
          one(&c);
      }
}

static void
scales(void **state)
{
  (void)state;
  for (int i = 0; i < 12; i++)
    for (int s = 0; s < 20; s++) {
      Case c = {kinds[i].a, kinds[i].b, kinds[i].d, .n = 24, .swa = 1, .swb = 2};
      c.scale = (Scale)(s / 4);
      c.sa = s & 1 ? -1 : 1;
      c.sb = s & 2 ? -1 : 1;
      c.regs = s % 3 == 0;
      one(&c);
    }
}

/* ---- in flight ---- */

static const char *const policies[] = {"async=lazy", "async=eager", "async=random"};
static const Case plain = {BF16, BF16, F32, .n = 64, .swa = 1, .swb = 1, .scale = ONE};
static const Case in_regs = {BF16,         BF16,     F32,         .n = 64,
                             .regs = true, .swb = 1, .scale = ONE};

/* The kernel of `before`, a product, `after`; what is found under every policy. */
static void
finds(const Case *c, const char *before, const char *after, const char *want)
{
  for (int p = 0; p < 3; p++) {
    kit_set(policies[p]);
    fill(c);
    begin(c);
    say("%s", before);
    say_product(c);
    say("%s", after);
    end(c);
    launch();
    if (want)
      kit_found(want);
    else
      kit_no_findings();
    if (!want)
      check(c);
  }
  kit_set(policies[0]);
}

static void
registers(void **state)
{
  (void)state;
  finds(&plain, FENCE, COMMIT WAIT, NULL);
  finds(&plain, "", COMMIT WAIT, "error[wgmma-no-fence]");
  finds(&plain, FENCE "mov.b32 %r100, %r100;\n", COMMIT WAIT, "error[wgmma-no-fence]");
  finds(&plain, FENCE "mov.b32 %r30, %r101;\n", COMMIT WAIT, "error[wgmma-no-fence]");
  finds(&plain, FENCE "mov.b32 %r30, 1;\n", COMMIT "mov.b32 %r31, %r30;\n" WAIT, NULL);
  finds(&plain, FENCE, COMMIT "mov.b32 %r30, %r100;\n" WAIT, "error[wgmma-accumulator]");
  finds(&plain, FENCE, COMMIT "mov.b32 %r131, 0;\n" WAIT, "error[wgmma-accumulator]");
  finds(&plain, FENCE, COMMIT, "error[wgmma-accumulator]");
  finds(&plain, FENCE, WAIT, "error[wgmma-accumulator]"); /* no group */
  finds(&plain, FENCE, COMMIT "wgmma.wait_group.sync.aligned 1;\n",
        "error[wgmma-accumulator]");
  finds(&plain, FENCE, COMMIT COMMIT "wgmma.wait_group.sync.aligned 1;\n", NULL);
  finds(&in_regs, FENCE, COMMIT WAIT, NULL);
  finds(&in_regs, FENCE "mov.b32 %r20, %r20;\n", COMMIT WAIT, "error[wgmma-no-fence]");
  finds(&in_regs, FENCE "mov.b32 %r30, %r20;\n", COMMIT "mov.b32 %r30, %r21;\n" WAIT, NULL);
  finds(&in_regs, FENCE, COMMIT "mov.b32 %r20, 0;\n" WAIT, "error[wgmma-operand]");
}

/* Of the other kinds: the first of them ends the launch. */
static void
others(void **state)
{
  (void)state;
  const char *apart = "mov.u32 %r31, %tid.x; setp.lt.u32 %p5, %r31, 32; @%p5 bra M;\n";
  char text_of[200];
  finds(&plain, FENCE "setp.ne.u32 %p4, %r1, 5; @%p4 add.u64 %rd20, %rd20, 2;\n",
        COMMIT WAIT, "error[wgmma-descriptor]"); /* lanes */
  finds(&plain, FENCE "or.b64 %rd20, %rd20, 16384;\n", COMMIT WAIT,
        "error[wgmma-descriptor]: the descriptor 0x"); /* reserved bits */
  finds(&plain, FENCE "add.u64 %rd20, %rd20, 8;\n", COMMIT WAIT, "in line 1 of its");
  finds(&plain, FENCE "add.u64 %rd21, %rd21, 2560;\n", COMMIT WAIT, "error[out-of-bounds]");
  snprintf(text_of, sizeof text_of, "%sadd.u64 %%rd21, %%rd21, 2; M:\n", apart);
  finds(&plain, FENCE, COMMIT WAIT, NULL);
  char before[300];
  snprintf(before, sizeof before, "%s" FENCE, text_of);
  finds(&plain, before, COMMIT WAIT, "error[wgmma-warpgroup]");
  snprintf(before, sizeof before, "%s" FENCE "M:\n", apart);
  finds(&plain, before, COMMIT WAIT, "error[wgmma-warpgroup]");
  const Case pred = {BF16, BF16, F32, .n = 64, .swa = 1, .swb = 1, .scale = BY_TRUE};
  finds(&pred, FENCE "setp.ne.u32 %p3, %r1, 9;\n", COMMIT WAIT, "error[wgmma-scale]");
  finds(&plain, FENCE "setp.ne.u32 %p4, %r1, 9; @%p4 ", COMMIT WAIT, "error[partial-warp]");
  finds(&plain, FENCE "st.shared.b32 [sh], %r1; bar.sync 0;\n", COMMIT WAIT,
        "error[proxy-fence]"); /* no proxy fence */
  finds(&plain, FENCE "setp.lt.u32 %p4, %r1, 7; @%p4 bra M;\n", COMMIT WAIT "M:\n",
        "error[partial-warp]");
}

/* Two warps are no warpgroup. */
static void
half_a_group(void **state)
{
  (void)state;
  fill(&plain);
  begin(&plain);
  say(FENCE);
  end(&plain);
  assert_int_equal(kit_run(text, 1, 64, 0, buffer, sizeof buffer),
                   CUDA_ERROR_LAUNCH_FAILED);
  kit_found("error[wgmma-warpgroup]");
}

/* Without checks nothing is told, and correct programs compute the same. */
static void
unchecked(void **state)
{
  (void)state;
  kit_set("checks=none");
  one(&plain);
  finds(&plain, "", COMMIT WAIT, NULL);
  for (int p = 0; p < 3; p++) {
    kit_set(policies[p]);
    fill(&plain);
    begin(&plain);
    say(FENCE);
    say_product(&plain);
    say(COMMIT);
    end(&plain);
    OK(launch());
    for (int i = 0; i < 32 * 4; i++) /* nobody has waited */
      assert_int_equal(buffer[IMAGE + 77 * ROW + i], 0xff);
  }
  kit_set(policies[0]);
  kit_set("checks=all");
}

/* Nobody reads the result: told at the end. */
static void
unfinished(void **state)
{
  (void)state;
  for (int commit = 0; commit < 2; commit++) {
    fill(&plain);
    begin(&plain);
    say(FENCE);
    say_product(&plain);
    say("%sret;\n}\n", commit ? COMMIT : "");
    OK(launch());
    kit_found("error[wgmma-in-flight]");
  }
}

/* The same product several times: chained in a group, over groups, waited for late. */
static void
chains(void **state)
{
  (void)state;
  for (int p = 0; p < 3; p++)
    for (int how = 0; how < 4; how++) {
      kit_set(policies[p]);
      fill(&plain);
      begin(&plain);
      say(FENCE);
      for (int i = 0; i < 3; i++) {
        say_product(&plain);
        say("%s", how & 1 ? COMMIT : "");
        say("%s", how & 2 ? "wgmma.wait_group.sync.aligned 1;\n" : "");
      }
      say(COMMIT WAIT);
      end(&plain);
      OK(launch());
      kit_no_findings();
      for (int row = 0; row < 64; row++) /* the other two, as a C */
        for (int col = 0; col < 64; col++)
          for (int k = 0; k < 16; k++)
            mc[row][col] += 2 * ma[row][k] * mb[k][col];
      check(&plain);
    }
  kit_set(policies[0]);
}

/* Where one warp has waited and overwrites B: its group is its own, by the ISA's words, or
 * its warpgroup's, as CUTLASS has it, and then the wait is for all four warps' products. */
static void
lax(void **state)
{
  static const char over[] = "mov.u32 %r31, %tid.x; setp.eq.u32 %p5, %r31, 0;\n"
                             "@%p5 st.shared.b32 [sh+16384], %r31;\n";
  (void)state;
  for (int p = 0; p < 6; p++) {
    kit_set(policies[p % 3]);
    kit_set(p < 3 ? "checks=lax" : "checks=all");
    fill(&plain);
    begin(&plain);
    say(FENCE);
    say_product(&plain);
    say(COMMIT WAIT "%s", over);
    end(&plain);
    OK(launch());
    if (p < 3)
      kit_no_findings();
    else
      kit_found("error[async-overwrite]");
    if (p < 3)
      check(&plain);
  }
  kit_set(policies[0]);
}

/* A warp that never comes to the products that the others wait for. */
static void
never_whole(void **state)
{
  (void)state;
  kit_set("checks=lax");
  fill(&plain);
  begin(&plain);
  say(FENCE "mov.u32 %%r31, %%tid.x; setp.lt.u32 %%p5, %%r31, 32; @%%p5 bra M;\n");
  say_product(&plain);
  say(COMMIT WAIT "M: bar.sync 0;\n");
  end(&plain);
  assert_int_equal(launch(), CUDA_ERROR_LAUNCH_TIMEOUT);
  kit_found("for its warpgroup's products");
  kit_set("checks=all");
}

/* What products of e4m3 and e5m2 are made of: which source goes where. */
static void
pairs_of_f8(void **state)
{
  static const char ptx[] = KIT_HEAD("8.1", "sm_90") KIT_ENTRY
      ".reg .b16 %h<9>; .reg .f32 %f<9>;\n"
      "mov.f32 %f1, 0f3fc00000; mov.f32 %f2, 0fc3f00000;\n" /* 1.5, -480 */
      "cvt.rn.satfinite.e4m3x2.f32 %h1, %f1, %f2; cvt.rn.f16x2.e4m3x2 %r2, %h1;\n"
      "cvt.rn.satfinite.e5m2x2.f32 %h2, %f1, %f2; cvt.rn.relu.f16x2.e5m2x2 %r3, %h2;\n"
      "cvt.rn.satfinite.relu.e4m3x2.f16x2 %h3, %r2; mov.b32 %r4, {%h1, %h2};\n"
      "cvt.u32.u16 %r5, %h3; st.global.v4.u32 [%rd1], {%r2, %r3, %r4, %r5};\nret;\n}\n";
  uint32_t out[4] = {0};
  (void)state;
  OK(kit_run(ptx, 1, 1, 0, out, sizeof out));
  kit_no_findings();
  assert_int_equal(out[0], 0x3e00df00); /* 1.5, -448 */
  assert_int_equal(out[1], 0x3e000000);
  assert_int_equal(out[2], 0x3ee03cfe); /* of e5m2: to the even of -448 and -512 */
  assert_int_equal(out[3], 0x3c00);
}

static void
refused(const char *target, const char *statement, const char *why)
{
  CUmodule m;
  char log[1000];
  at = 0;
  say(".version 8.0\n.target %s\n.address_size 64\n.visible .entry k(.param .u64 p) {\n"
      ".reg .pred %%p<4>; .reg .b32 %%r<300>; .reg .b64 %%rd<4>;\n%s\nret;\n}\n",
      target, statement);
  assert_int_not_equal(kit_load(text, &m, log, sizeof log), CUDA_SUCCESS);
  if (!strstr(log, why))
    fail_msg("no '%s' in: %s", why, log);
}

#define FOUR "{%r0, %r1, %r2, %r3}"
#define N8   "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 "

static void
forms(void **state)
{
  (void)state;
  refused("sm_90", FENCE, "sm_90a");
  refused("sm_90", N8 FOUR ", %rd1, %rd2, 1, 1, 1, 0, 0;", "sm_90a");
  refused("sm_90a", N8 "{%r0, %r1}, %rd1, %rd2, 1, 1, 1, 0, 0;", "4 registers");
  refused("sm_90a", N8 FOUR ", %rd1, %rd2, 1, 1, 1, 0;", "trans-a and trans-b");
  refused("sm_90a", N8 FOUR ", " FOUR ", %rd2, 1, 1, 1, 0, 0;", "cannot be transposed");
  refused("sm_90a", N8 FOUR ", %rd1, %rd2, 1, 2, 1, 0, 0;", "scale of 1 or -1");
  refused("sm_90a", N8 FOUR ", %rd1, %rd2, 1, 1, 1, 2, 0;", "2 is more than 1");
  refused("sm_90a",
          "wgmma.mma_async.sync.aligned.m64n12k16.f32.bf16.bf16 " FOUR
          ", %rd1, %rd2, 1, 1, 1, 0, 0;",
          "m64n12k16");
  refused("sm_90a",
          "wgmma.mma_async.sync.aligned.m64n8k32.f32.bf16.bf16 " FOUR
          ", %rd1, %rd2, 1, 1, 1;",
          "bf16");
  refused(
      "sm_90a",
      "wgmma.mma_async.sync.aligned.m64n40k32.s32.s8.s8 {%r1, %r2, %r3, %r4, %r5, %r6, "
      "%r7, %r8, %r9, %r10, %r11, %r12, %r13, %r14, %r15, %r16, %r17, %r18, %r19, %r20}, "
      "%rd1, %rd2, 1;",
      "integers have no product of 40 columns");
}

static int
start(void **state)
{
  (void)state;
  text = malloc(TEXT);
  kit_start("arch=sm_90,threads=1");
  return !text;
}

static int
stop(void **state)
{
  (void)state;
  free(text);
  return 0;
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sizes_of_n),  cmocka_unit_test(kinds_and_swizzles),
      cmocka_unit_test(majors),      cmocka_unit_test(scales),
      cmocka_unit_test(registers),   cmocka_unit_test(chains),
      cmocka_unit_test(forms),       cmocka_unit_test(others),
      cmocka_unit_test(unfinished),  cmocka_unit_test(half_a_group),
      cmocka_unit_test(unchecked),   cmocka_unit_test(lax),
      cmocka_unit_test(never_whole), cmocka_unit_test(pairs_of_f8),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
