/* wgmma, one instruction at a time: where operands lie by the layouts of the PTX ISA
 * written as shapes and strides ("Canonical Layouts"), sums against a slow model in 128-bit
 * integers, every type, n, major order and swizzle, every SIMD build. */
#include "emulator/exec/simd.h"
#include "tests/unit/emu_kit.h"

__extension__ typedef __int128 Big;
__extension__ typedef unsigned __int128 Ubig;

enum { M = 64, N = 256, K = 32, THREADS = 128 };
enum { IMAGE = 48 << 10, B_AT = 16 << 10, SHARED_START = 1024 };

typedef enum Elem { F16, BF16, TF32, E4M3, E5M2, F32 } Elem;
/* bits of exponent and significand, bytes */
static const struct {
  const char *name;
  int e, m, size;
} types[] = {{"f16", 5, 10, 2}, {"bf16", 8, 7, 2}, {"tf32", 8, 10, 4},
             {"e4m3", 4, 3, 1}, {"e5m2", 5, 2, 1}, {"f32", 8, 23, 4}};

typedef struct Case {
  Elem a, b, d;
  int n, swizzle_a, swizzle_b; /* swizzle: log2 of its chunks, 0 … 3 */
  bool regs, mn_a, mn_b, neg_a, neg_b, zero;
  int base, step; /* of B: lines before the pattern's start; k blocks into its rows */
} Case;

static uint32_t a[M][K], b[K][N], c[M][N], want[M][N], got[M][N]; /* element bits */

static uint64_t seed = 1;

static uint32_t
rnd(void)
{
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 32);
}

static int
depth(const Case *x)
{
  return 32 / types[x->a].size;
}

/* ---- the model ---- */

typedef struct Num { /* mag × 2^lsb */
  int neg, lsb, exp, inf, nan;
  uint32_t mag;
} Num;

static Num
number(Elem t, uint32_t u)
{
  int m = types[t].m, e = types[t].e, top = (1 << e) - 1, bias = top / 2;
  if (t == TF32)
    u >>= 13;
  uint32_t frac = u & ((1u << m) - 1);
  int field = (int)(u >> m) & top;
  Num x = {.neg = (int)(u >> (m + e)) & 1, .mag = frac | (field ? 1u << m : 0)};
  x.exp = (field ? field : 1) - bias;
  x.lsb = x.exp - m;
  if (!x.mag)
    x.exp = -126;
  if (t == E4M3)
    x.nan = (u & 0x7f) == 0x7f;
  else if (field == top)
    x.nan = frac != 0, x.inf = !frac;
  return x;
}

static Big
term(int neg, Big mag, int lsb, int unit)
{
  int s = lsb - unit;
  /* beyond: of zeros, or of what is not finite and told of otherwise */
  mag = s > 100 || s < -120 ? 0 : s >= 0 ? mag << s : mag >> -s;
  return neg ? -mag : mag;
}

/* sum × 2^unit: f16 to nearest even; f32 toward zero, `keep` bits of its fraction. */
static uint32_t
rounded(Big sum, int unit, Elem t, int keep)
{
  int m = types[t].m, bias = (1 << (types[t].e - 1)) - 1, bits = 0;
  Ubig u = sum < 0 ? (Ubig)-sum : (Ubig)sum, q;
  while (u >> bits)
    bits++;
  int e = bits - 1 + unit, lsb = (e < 1 - bias ? 1 - bias : e) - m, cut = lsb - unit;
  q = cut <= 0 ? u << -cut : cut > 120 ? 0 : u >> cut;
  if (t == F16 && cut > 0 && cut < 120) {
    Ubig rest = u - (q << cut), tie = (Ubig)1 << (cut - 1);
    q += rest > tie || (rest == tie && (q & 1));
  }
  q &= ~(Ubig)0 << (m - keep);
  if (!q)
    return 0;
  uint64_t r = (uint64_t)q + ((uint64_t)(lsb + m + bias - 1) << m);
  uint64_t inf = (uint64_t)((1 << types[t].e) - 1) << m;
  return (uint32_t)(r > inf ? inf : r) | (sum < 0 ? 1u << (m + types[t].e) : 0);
}

static uint32_t
one(const Case *x, int row, int col)
{
  int k = depth(x), fraction = k == 32 ? 13 : 25, top, nan, pos, neg;
  Num y = number(x->d, x->zero ? 0 : c[row][col]), p[K], q[K];
  top = y.exp;
  nan = y.nan;
  pos = y.inf && !y.neg;
  neg = y.inf && y.neg;
  for (int j = 0; j < k; j++) {
    p[j] = number(x->a, a[row][j]);
    q[j] = number(x->b, b[j][col]);
    p[j].neg ^= x->neg_a != x->neg_b;
    top = p[j].exp + q[j].exp > top ? p[j].exp + q[j].exp : top;
    nan |= p[j].nan || q[j].nan || (p[j].inf && !q[j].inf && !q[j].mag) ||
           (q[j].inf && !p[j].inf && !p[j].mag);
    pos |= (p[j].inf || q[j].inf) && p[j].neg == q[j].neg;
    neg |= (p[j].inf || q[j].inf) && p[j].neg != q[j].neg;
  }
  bool half = x->d == F16;
  if (nan || (pos && neg))
    return half ? 0x7fff : 0x7fffffff;
  if (pos || neg)
    return (half ? 0x7c00u : 0x7f800000u) | (neg ? (half ? 0x8000u : 0x80000000u) : 0);
  int unit = top - fraction;
  Big sum = term(y.neg, y.mag, y.lsb, unit);
  for (int j = 0; j < k; j++)
    sum += term(p[j].neg ^ q[j].neg, (Big)p[j].mag * q[j].mag, p[j].lsb + q[j].lsb, unit);
  return rounded(sum, unit, x->d, half ? 10 : k == 32 ? 13 : 23);
}

/* ---- layouts ---- */

/* A layout's function: digits of i in the shape, times their strides. */
static int
at(const int *shape, const int *stride, int digits, int i)
{
  int sum = 0;
  for (int d = 0; d < digits; d++) {
    int n = d == digits - 1 ? i + 1 : shape[d];
    sum += i % n * stride[d];
    i /= n;
  }
  return sum;
}

typedef struct Layout {
  int lead, stride; /* LBO, SBO in bytes */
  int start, step;  /* of the pattern; k blocks of 32 bytes into it */
  int size, swizzle;
  bool mn;
} Layout;

/* Byte of an element, "Canonical Layouts", the table's eight rows. */
static int
place(const Layout *l, int mn, int k)
{
  int t = 16 / l->size, w = 1 << l->swizzle, off;
  int lead = l->lead / l->size, stride = l->stride / l->size;
  if (l->mn && !l->swizzle)
    off = at((int[]){t, 1}, (int[]){1, t, stride}, 3, mn) +
          at((int[]){8}, (int[]){t, lead}, 2, k);
  else if (l->mn)
    off = at((int[]){t, w}, (int[]){1, t, lead}, 3, mn) +
          at((int[]){8}, (int[]){w * t, stride}, 2, k);
  else if (!l->swizzle)
    off =
        at((int[]){8}, (int[]){t, stride}, 2, mn) + at((int[]){t}, (int[]){1, lead}, 2, k);
  else
    off = at((int[]){8}, (int[]){w * t, stride}, 2, mn) +
          at((int[]){t}, (int[]){1, t}, 2, k + l->step * 32 / l->size);
  off *= l->size;
  return l->start + (off ^ (off >> 7 & (w - 1)) << 4); /* Swizzle<B, 4, 3> */
}

/* Room between the atoms, and nothing overlaps. */
static Layout
layout(Elem t, int swizzle, bool mn, int start, int base, int step)
{
  static const int mn_lead[] = {12 << 10, 768, 1536, 3072},
                   mn_stride[] = {272, 256, 512, 1024}, k_stride[] = {272, 768, 1024, 1024};
  return (Layout){.lead = !swizzle ? (start ? 12 << 10 : 4 << 10)
                          : mn     ? mn_lead[swizzle]
                                   : 16,
                  .stride = mn ? mn_stride[swizzle] : k_stride[swizzle],
                  .start = start + 128 * base,
                  .step = step,
                  .size = types[t].size,
                  .swizzle = swizzle,
                  .mn = mn};
}

static uint64_t
descriptor(const Layout *l, int base)
{
  static const uint64_t mode[] = {0, 3, 2, 1};
  uint64_t start = (uint64_t)(SHARED_START + l->start + 32 * l->step);
  return start >> 4 | (uint64_t)(l->lead >> 4) << 16 | (uint64_t)(l->stride >> 4) << 32 |
         (uint64_t)base << 49 | mode[l->swizzle] << 62;
}

/* ---- the kernel ---- */

typedef struct Buffer {
  uint8_t image[IMAGE];
  uint32_t a[4][THREADS], d[128][THREADS];
  uint64_t desc[2];
} Buffer;
static Buffer buffer;

static char text[40000];
static size_t text_n;

static void
put(const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  text_n += (size_t)vsnprintf(text + text_n, sizeof text - text_n, fmt, ap);
  va_end(ap);
}

static void
put_regs(const char *name, int n)
{
  for (int i = 0; i < n; i++)
    put("%s%s%d", i ? ", " : "{", name, i);
  put("}");
}

static void
move_regs(const char *op, const char *name, int n, size_t at)
{
  for (int i = 0; i < n; i++)
    if (*op == 'l')
      put("ld.global.b32 %s%d, [%%rd2+%zu];\n", name, i, at + (size_t)i * THREADS * 4);
    else
      put("st.global.b32 [%%rd2+%zu], %s%d;\n", at + (size_t)i * THREADS * 4, name, i);
}

static void
product(const Case *x, int n)
{
  put("wgmma.mma_async.sync.aligned.m64n%dk%d.%s.%s.%s ", x->n, depth(x), types[x->d].name,
      types[x->a].name, types[x->b].name);
  put_regs("%d", n);
  put(", ");
  if (x->regs)
    put_regs("%a", 4);
  else
    put("%%rd3");
  put(", %%rd4, %s, %d, %d", x->zero ? "0" : "1", x->neg_a ? -1 : 1, x->neg_b ? -1 : 1);
  if (depth(x) == 16 && !x->regs)
    put(", %d", x->mn_a);
  if (depth(x) == 16)
    put(", %d", x->mn_b);
  put(";\n");
}

static const char *
kernel(const Case *x)
{
  int n = x->d == F16 ? x->n / 4 : x->n / 2;
  text_n = 0;
  put(".version 8.0\n.target sm_90a\n.address_size 64\n"
      ".extern .shared .align 1024 .b8 sm[];\n"
      ".visible .entry k(.param .u64 p) {\n"
      ".reg .pred %%p; .reg .b32 %%r<9>, %%a<4>, %%d<128>; .reg .b64 %%rd<9>;\n"
      "ld.param.u64 %%rd1, [p]; cvta.to.global.u64 %%rd1, %%rd1; mov.u32 %%r1, %%tid.x;\n"
      "mul.wide.u32 %%rd2, %%r1, 4; add.s64 %%rd2, %%rd1, %%rd2;\n"
      "shl.b32 %%r2, %%r1, 4; mov.u32 %%r3, sm; add.u32 %%r3, %%r3, %%r2;\n"
      "cvt.u64.u32 %%rd5, %%r2; add.s64 %%rd5, %%rd1, %%rd5;\n"
      "COPY: ld.global.v4.b32 {%%r4, %%r5, %%r6, %%r7}, [%%rd5];\n"
      "st.shared.v4.b32 [%%r3], {%%r4, %%r5, %%r6, %%r7};\n"
      "add.u32 %%r2, %%r2, 2048; add.u32 %%r3, %%r3, 2048; add.s64 %%rd5, %%rd5, 2048;\n"
      "setp.lt.u32 %%p, %%r2, %d; @%%p bra COPY;\n"
      "fence.proxy.async.shared::cta; bar.sync 0;\n"
      "ld.global.b64 %%rd3, [%%rd1+%zu]; ld.global.b64 %%rd4, [%%rd1+%zu];\n",
      IMAGE, offsetof(Buffer, desc), offsetof(Buffer, desc) + 8);
  if (x->regs)
    move_regs("ld", "%a", 4, offsetof(Buffer, a));
  if (!x->zero)
    move_regs("ld", "%d", n, offsetof(Buffer, d));
  put("wgmma.fence.sync.aligned;\n");
  product(x, n);
  put("wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;\n");
  move_regs("st", "%d", n, offsetof(Buffer, d));
  put("ret;\n}\n");
  return text;
}

/* ---- fragments, by the figures of "Register Fragments" ---- */

static void
poke(uint8_t *to, Elem t, uint32_t bits)
{
  memcpy(to, &bits, (size_t)types[t].size);
}

/* Register r of thread i: the row, and the first of the elements in it. */
static void
fragment_a(int r, int i, int per, int *row, int *k)
{
  *row = i / 32 * 16 + i % 32 / 4 + (r == 1 || r == 3 ? 8 : 0);
  *k = i % 4 * per + (r >= 2 ? 4 * per : 0);
}

static void
fragment_d(int e, int i, int *row, int *col)
{
  *row = i / 32 * 16 + i % 32 / 4 + e / 2 % 2 * 8;
  *col = i % 4 * 2 + e % 2 + e / 4 * 8;
}

/* Element e of thread i's accumulators, wherever it is kept. */
static uint8_t *
element_d(const Case *x, int e, int i)
{
  uint32_t *reg = x->d == F16 ? &buffer.d[e / 2][i] : &buffer.d[e][i];
  return (uint8_t *)reg + (x->d == F16 ? e % 2 * 2 : 0);
}

static void
fill(const Case *x)
{
  Layout la = layout(x->a, x->swizzle_a, x->mn_a, 0, 0, 0);
  Layout lb = layout(x->b, x->swizzle_b, x->mn_b, B_AT, x->base, x->step);
  int per = 4 / types[x->a].size, row, k;
  memset(&buffer, 0x35, sizeof buffer);
  for (int j = 0; j < depth(x); j++) {
    for (int m = 0; m < M; m++)
      poke(buffer.image + place(&la, m, j), x->a, a[m][j]);
    for (int n = 0; n < x->n; n++)
      poke(buffer.image + place(&lb, n, j), x->b, b[j][n]);
  }
  for (int i = 0; i < THREADS; i++) {
    for (int r = 0; r < 4; r++) {
      fragment_a(r, i, per, &row, &k);
      for (int e = 0; e < per; e++)
        poke((uint8_t *)&buffer.a[r][i] + e * types[x->a].size, x->a, a[row][k + e]);
    }
    for (int e = 0; e < x->n / 2; e++) {
      fragment_d(e, i, &row, &k);
      poke(element_d(x, e, i), x->d, c[row][k]);
    }
  }
  buffer.desc[0] = descriptor(&la, 0);
  buffer.desc[1] = descriptor(&lb, x->base);
}

static void
run(const Case *x)
{
  int row, col;
  fill(x);
  OK(kit_run(kernel(x), 1, THREADS, IMAGE, &buffer, sizeof buffer));
  kit_no_findings();
  memset(got, 0, sizeof got);
  for (int i = 0; i < THREADS; i++)
    for (int e = 0; e < x->n / 2; e++) {
      fragment_d(e, i, &row, &col);
      memcpy(&got[row][col], element_d(x, e, i), (size_t)types[x->d].size);
    }
}

static void
compare(const Case *x)
{
  for (int m = 0; m < M; m++)
    for (int n = 0; n < x->n; n++)
      if (got[m][n] != want[m][n])
        fail_msg(
            "%s %s %s n%d regs %d mn %d %d swizzle %d %d: row %d column %d is %08x, not "
            "%08x",
            types[x->d].name, types[x->a].name, types[x->b].name, x->n, x->regs, x->mn_a,
            x->mn_b, x->swizzle_a, x->swizzle_b, m, n, got[m][n], want[m][n]);
}

static void
run_model(const Case *x)
{
  run(x);
  for (int m = 0; m < M; m++)
    for (int n = 0; n < x->n; n++)
      want[m][n] = one(x, m, n);
  compare(x);
}

/* ---- values ---- */

typedef enum Kind { NEAR, SPARSE, ANY, SMALL, TINY, HUGE_, WHOLE, ODD, ODD_C, KINDS } Kind;

/* NEAR: exponents about 1's; SPARSE: and zeros; ANY: any bits; SMALL: with subnormals;
 * TINY, HUGE_: at the ends of f32's range, where the type reaches them; WHOLE: 1, 2, -1,
 * -2. */
static uint32_t
value(Elem t, Kind kind)
{
  int e = types[t].e, m = types[t].m, bias = (1 << (e - 1)) - 1;
  int low = t == TF32 ? 13 : 0, range = 1 << e;
  uint32_t u = rnd() & ((2u << (e + m)) - 1), sign = u >> (e + m) & 1,
           frac = u & ((1u << m) - 1);
  int field = bias - 3 + (int)(rnd() % 7);
  if (kind == SPARSE && rnd() % 3)
    return 0;
  if (kind == SMALL)
    field = (int)(rnd() % 3);
  if (kind == TINY)
    field = range / 4 - 4 + (int)(rnd() % 8);
  if (kind == HUGE_)
    field = range - 2 - (int)(rnd() % 4);
  if (kind == ODD && !(rnd() % 80)) {
    field = rnd() % 2 ? range - 1 : 0;
    frac = rnd() % 2 ? frac : 0;
  }
  if (kind == WHOLE) {
    field = bias + (int)(rnd() % 2);
    frac = 0;
  }
  if (kind != ANY)
    u = sign << (e + m) | (uint32_t)field << m | frac;
  return u << low | (rnd() & ((1u << low) - 1));
}

static void
draw(const Case *x, Kind kind)
{
  for (int j = 0; j < depth(x); j++) {
    for (int m = 0; m < M; m++)
      a[m][j] = value(x->a, kind == ODD_C ? NEAR : kind);
    for (int n = 0; n < x->n; n++)
      b[j][n] = value(x->b, kind == ODD_C ? NEAR : kind);
  }
  for (int m = 0; m < M; m++)
    for (int n = 0; n < x->n; n++)
      c[m][n] = kind == TINY && n % 2 ? 0
                                      : value(x->d, kind == TINY    ? SMALL
                                                    : kind == ODD_C ? ODD
                                                                    : kind);
}

static const Case every[] = {
    {.a = F16, .b = F16, .d = F32},   {.a = F16, .b = F16, .d = F16},
    {.a = BF16, .b = BF16, .d = F32}, {.a = TF32, .b = TF32, .d = F32},
    {.a = E4M3, .b = E4M3, .d = F32}, {.a = E4M3, .b = E5M2, .d = F32},
    {.a = E5M2, .b = E4M3, .d = F32}, {.a = E5M2, .b = E5M2, .d = F32},
    {.a = E4M3, .b = E4M3, .d = F16}, {.a = E5M2, .b = E4M3, .d = F16},
};
enum { EVERY = sizeof every / sizeof *every };

static void
test_every_n(void **state)
{
  (void)state;
  for (int i = 0; i < EVERY; i++)
    for (int n = 8; n <= N; n += i == 2 ? 8 : 56) {
      Case x = every[i];
      x.n = n;
      x.swizzle_a = n / 8 % 4;
      x.swizzle_b = (n / 8 + 1) % 4;
      draw(&x, NEAR);
      run_model(&x);
    }
}

/* K- and MN-major, all swizzles, A from either place. */
static void
test_layouts(void **state)
{
  (void)state;
  for (int i = 0; i < EVERY; i++)
    for (int how = 0; how < 16; how++)
      for (int majors = 0; majors < (types[every[i].a].size == 2 ? 4 : 1); majors++) {
        Case x = every[i];
        x.swizzle_a = how % 4;
        x.swizzle_b = how / 4;
        x.mn_a = majors & 1;
        x.mn_b = majors >> 1;
        x.regs = how % 4 == 0 && !x.mn_a && how;
        x.n = how % 3 == 0 ? 80 : 24;
        x.neg_a = how & 1;
        x.neg_b = how >> 1 & 1;
        x.zero = how % 5 == 4;
        draw(&x, NEAR);
        run_model(&x);
      }
}

/* Where in the pattern an operand begins: k steps of a 128-byte row, and patterns that do
 * not start at a multiple of their size. */
static void
test_starts(void **state)
{
  (void)state;
  for (int i = 0; i < EVERY; i++)
    for (int step = 0; step < 4; step++)
      for (int base = 0; base < 8; base += 3) {
        Case x = every[i];
        x.n = 40;
        x.swizzle_a = 3;
        x.swizzle_b = 3;
        x.step = step;
        x.base = base;
        draw(&x, NEAR);
        run_model(&x);
      }
}

/* One element of A picks a row of B. */
static void
test_one_hot(void **state)
{
  (void)state;
  static const uint32_t ones[] = {0x3c00, 0x3f80, 0x3f800000, 0x38, 0x3c};
  for (int i = 0; i < EVERY; i++) {
    Case x = every[i];
    x.n = 16;
    x.swizzle_a = x.swizzle_b = 3;
    for (int hot = 0; hot < depth(&x); hot += 3) {
      draw(&x, NEAR);
      memset(a, 0, sizeof a);
      x.zero = true;
      x.regs = hot & 1;
      int row = (hot * 7 + i) % M;
      a[row][hot] = ones[x.a];
      run(&x);
      for (int m = 0; m < M; m++)
        for (int n = 0; n < x.n; n++) {
          Num v = number(x.b, b[hot][n]);
          want[m][n] =
              m == row ? rounded(term(v.neg, v.mag, v.lsb, v.lsb), v.lsb, x.d, types[x.d].m)
                       : 0;
        }
      compare(&x);
    }
  }
}

/* Inf, NaN, subnormals, sums that overflow and sums that vanish, on every SIMD build. */
static void
test_values(void **state)
{
  (void)state;
  Simd best = simd_current();
  for (int simd = SIMD_BASE; simd <= (int)simd_best(); simd++) {
    assert_true(simd_force((Simd)simd));
    for (int i = 0; i < EVERY; i++)
      for (int kind = 0; kind < KINDS; kind++)
        for (int zero = 0; zero < 2; zero++) {
          Case x = every[i];
          x.n = 32;
          x.swizzle_a = x.swizzle_b = 2;
          x.zero = zero;
          x.regs = kind & 1;
          draw(&x, (Kind)kind);
          run_model(&x);
        }
  }
  assert_true(simd_force(best));
}

/* Where all products are 0 but one, which is 0 × Inf (e4m3 has NaN alone). */
static void
test_zero_times_inf(void **state)
{
  (void)state;
  static const uint32_t inf[] = {0x7c00, 0x7f80, 0x7f800000, 0x7f, 0x7c};
  for (int i = 0; i < EVERY; i++) {
    Case x = every[i];
    x.n = 16;
    x.swizzle_a = x.swizzle_b = 1;
    x.zero = true;
    draw(&x, NEAR);
    memset(a, 0, sizeof a);
    b[3][5] = inf[x.b];
    run_model(&x);
    assert_int_equal(got[7][5], x.d == F16 ? 0x7fff : 0x7fffffff);
    assert_int_equal(got[7][4], 0);
  }
}

/* Small whole numbers, which both ways of computing have exactly. */
static void
test_fast(void **state)
{
  (void)state;
  kit_set("mma=fast");
  for (int i = 0; i < EVERY; i++)
    for (int rep = 0; rep < 4; rep++) {
      Case x = every[i];
      x.n = 64;
      x.swizzle_a = x.swizzle_b = rep;
      x.mn_a = x.mn_b = types[x.a].size == 2 && rep == 3;
      x.regs = rep & 1 && !x.mn_a;
      draw(&x, WHOLE);
      run_model(&x);
    }
  kit_set("mma=bit");
}

static int
start(void **state)
{
  (void)state;
  kit_start("arch=sm_90");
  return 0;
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_n), cmocka_unit_test(test_layouts),
      cmocka_unit_test(test_starts),  cmocka_unit_test(test_one_hot),
      cmocka_unit_test(test_values),  cmocka_unit_test(test_zero_times_inf),
      cmocka_unit_test(test_fast),
  };
  return cmocka_run_group_tests(tests, start, NULL);
}
