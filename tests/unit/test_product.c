/* Products of a warp beyond mma.h's quick ones: fragments as formulae of their own (PTX
 * ISA, "Matrix fragments for mma.m…"), whole numbers exact, floats on small whole numbers
 * exact and on any bits by a slow model. */
#include "emulator/exec/fragment.h"
#include "emulator/exec/product.h"
#include "emulator/exec/simd.h"
#include "tests/unit/mma_kit.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { M = 32, N = 32, K = 32, QUADS = 4 };

typedef struct Case { /* element bits; of m8n8k4 of f16 four products */
  MmaForm f;
  uint64_t a[QUADS][M][K], b[QUADS][K][N], c[QUADS][M][N], d[QUADS][M][N];
} Case;

static Case x, y;
static uint64_t seed = 1;

static uint32_t
rnd(void)
{
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 32);
}

#define PRODUCT(rows, cols, depth, ta, tb, cd)                                             \
  {                                                                                        \
    .a = ta, .b = tb, .c = cd, .d = cd, .m = rows, .n = cols, .k = depth                   \
  }

static const MmaForm whole[] = {
    PRODUCT(8, 8, 16, MMA_S8, MMA_S8, MMA_S32),
    PRODUCT(8, 8, 16, MMA_U8, MMA_S8, MMA_S32),
    PRODUCT(8, 8, 16, MMA_S8, MMA_U8, MMA_S32),
    PRODUCT(8, 8, 16, MMA_U8, MMA_U8, MMA_S32),
    PRODUCT(16, 8, 16, MMA_S8, MMA_U8, MMA_S32),
    PRODUCT(16, 8, 16, MMA_U8, MMA_S8, MMA_S32),
    PRODUCT(16, 8, 32, MMA_S8, MMA_S8, MMA_S32),
    PRODUCT(16, 8, 32, MMA_U8, MMA_U8, MMA_S32),
    PRODUCT(16, 8, 32, MMA_U8, MMA_S8, MMA_S32),
    PRODUCT(16, 8, 32, MMA_S8, MMA_U8, MMA_S32),
};
static const MmaForm doubles[] = {PRODUCT(8, 8, 4, MMA_F64, MMA_F64, MMA_F64),
                                  PRODUCT(16, 8, 4, MMA_F64, MMA_F64, MMA_F64),
                                  PRODUCT(16, 8, 8, MMA_F64, MMA_F64, MMA_F64),
                                  PRODUCT(16, 8, 16, MMA_F64, MMA_F64, MMA_F64)};
#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- layouts, by the figures of the ISA ---- */

typedef struct Place {
  int quad, row, col;
} Place;

/* Quad pairs: the upper four lanes are 16 above. */
static Place
place_pair(const MmaForm *f, char role, int i, int l)
{
  int q = l % 16 / 4, up = l < 16 ? 0 : 4, in = l % 4;
  if (role == 'a')
    return f->col_a ? (Place){q, i % 4 + up, in} : (Place){q, in + up, i};
  if (role == 'b')
    return f->col_b ? (Place){q, i, in + up} : (Place){q, in, i + up};
  if ((role == 'c' ? f->c : f->d) == MMA_F16)
    return (Place){q, in + up, i};
  return (Place){q, (l & 1) + up + (i & 2), (i & 4) + (l & 2) + (i & 1)};
}

static Place
place_bytes(const MmaForm *f, char role, int i, int l)
{
  int group = l >> 2, in = l % 4;
  if (role == 'b')
    return (Place){0, in * 4 + (i & 3) + (i >= 4 ? 16 : 0), group};
  if (f->m == 8)
    return (Place){0, group, in * 4 + i};
  bool high = f->k == 16 ? i >= 4 : (i & 4) != 0;
  return (Place){0, high ? group + 8 : group, in * 4 + (i & 3) + (i >= 8 ? 16 : 0)};
}

static Place
place_double(const MmaForm *f, char role, int i, int l)
{
  int group = l >> 2, in = l % 4;
  if (role == 'b')
    return (Place){0, in + i * 4, group};
  if (f->m == 8)
    return (Place){0, group, in};
  return (Place){0, i % 2 ? group + 8 : group, (i % 2 ? i * 2 - 2 : i * 2) + in};
}

static Place
place(const MmaForm *f, char role, int i, int l)
{
  if (f->a == MMA_F16)
    return place_pair(f, role, i, l);
  if (role == 'c' || role == 'd')
    return (Place){0, i < 2 ? l >> 2 : (l >> 2) + 8, l % 4 * 2 + (i & 1)};
  return f->a == MMA_F64 ? place_double(f, role, i, l) : place_bytes(f, role, i, l);
}

/* ---- a product ---- */

static int
bits_in(uint8_t type)
{
  switch (type) {
  case MMA_F64:
    return 64;
  case MMA_F16:
    return 16;
  case MMA_F32:
  case MMA_S32:
    return 32;
  default:
    return 8;
  }
}

/* Elements of one lane: those of the matrix, of four of them for quad pairs. */
static int
elements(const MmaForm *f, char role)
{
  int all = role == 'a' ? f->m * f->k : role == 'b' ? f->k * f->n : f->m * f->n;
  return all * (f->a == MMA_F16 ? QUADS : 1) / 32;
}

static uint8_t
type_in(const MmaForm *f, char role)
{
  return role == 'a' ? f->a : role == 'b' ? f->b : role == 'c' ? f->c : f->d;
}

static uint64_t *
element(Case *k, char role, Place p)
{
  return role == 'a'   ? &k->a[p.quad][p.row][p.col]
         : role == 'b' ? &k->b[p.quad][p.row][p.col]
         : role == 'c' ? &k->c[p.quad][p.row][p.col]
                       : &k->d[p.quad][p.row][p.col];
}

typedef union Fragment {
  uint8_t bytes[8 * 32 * 8];
  uint32_t narrow[8][32];
  uint64_t wide[8][32];
} Fragment;

/* Between the matrix and its fragment: element i of lane l. */
static void
move(Case *k, char role, bool out, Fragment *g)
{
  int bits = bits_in(type_in(&k->f, role)), per = bits < 32 ? 32 / bits : 1;
  for (int l = 0; l < 32; l++)
    for (int i = 0; i < elements(&k->f, role); i++) {
      uint64_t *e = element(k, role, place(&k->f, role, i, l));
      int size = bits / 8, reg = bits == 64 ? 256 : 128;
      uint8_t *at = g->bytes + i / per * reg + l * (reg / 32) + i % per * size;
      if (out)
        *e = 0;
      memcpy(out ? (void *)e : at, out ? (void *)at : e, (size_t)size);
    }
}

static void
run_at(Case *k, int cc, bool fast, bool in_place)
{
  Fragment a, b, c, d, *to = in_place ? &c : &d;
  const uint32_t *ra[8], *rb[8], *rc[8];
  uint32_t *rd[8];
  move(k, 'a', false, &a);
  move(k, 'b', false, &b);
  move(k, 'c', false, &c);
  memset(&d, 0x55, sizeof d);
  for (int r = 0; r < 8; r++) {
    bool wide = k->f.a == MMA_F64;
    ra[r] = wide ? (uint32_t *)(void *)a.wide[r] : a.narrow[r];
    rb[r] = wide ? (uint32_t *)(void *)b.wide[r] : b.narrow[r];
    rc[r] = wide ? (uint32_t *)(void *)c.wide[r] : c.narrow[r];
    rd[r] = wide ? (uint32_t *)(void *)to->wide[r] : to->narrow[r];
  }
  product_run(&k->f, cc, fast, rd, ra, rb, rc);
  move(k, 'd', true, to);
}

static void
run(Case *k, int cc, bool fast)
{
  run_at(k, cc, fast, false);
}

static void
fill(Case *k, uint64_t (*draw)(uint8_t type))
{
  MmaForm f = k->f;
  memset(k, 0, sizeof *k);
  k->f = f;
  for (int q = 0; q < (f.a == MMA_F16 ? QUADS : 1); q++)
    for (int i = 0; i < M; i++)
      for (int j = 0; j < N; j++) {
        if (i < f.m && j < f.k)
          k->a[q][i][j] = draw(f.a);
        if (i < f.k && j < f.n)
          k->b[q][i][j] = draw(f.b);
        if (i < f.m && j < f.n)
          k->c[q][i][j] = draw(f.c);
      }
}

/* ---- registers that fragment.h counts ---- */

static void
fragments_are_the_figures(void **state)
{
  (void)state;
  MmaForm all[32];
  int n = 0;
  for (size_t i = 0; i < COUNT(whole); i++)
    all[n++] = whole[i];
  for (size_t i = 0; i < COUNT(doubles); i++)
    all[n++] = doubles[i];
  for (int layouts = 0; layouts < 8; layouts++) {
    all[n] = (MmaForm)PRODUCT(8, 8, 4, MMA_F16, MMA_F16, MMA_F32);
    all[n].col_a = layouts & 1;
    all[n].col_b = layouts & 2;
    all[n++].c = layouts & 4 ? MMA_F16 : MMA_F32;
  }
  for (int i = 0; i < n; i++)
    for (int role = FRAG_A; role <= FRAG_D; role++) {
      char name = "abcd"[role];
      int per = frag_elements(&all[i], (FragRole)role);
      assert_int_equal(frag_registers(&all[i], (FragRole)role) * per,
                       elements(&all[i], name));
      for (int e = 0; e < elements(&all[i], name); e++)
        for (int l = 0; l < 32; l++) {
          FragAt at = frag_at(&all[i], (FragRole)role, e / per, l, e % per);
          Place p = place(&all[i], name, e, l);
          assert_int_equal(at.row, p.row);
          assert_int_equal(at.col, p.col);
        }
    }
}

/* ---- whole numbers ---- */

static uint64_t
any_bits(uint8_t type)
{
  uint64_t u = rnd() | (uint64_t)rnd() << 32;
  int bits = bits_in(type);
  return bits == 64 ? u : u & ((1ull << bits) - 1);
}

/* Now and then at an end of the range. */
static uint64_t
whole_bits(uint8_t type)
{
  uint64_t u = any_bits(type);
  if (type == MMA_S32 && rnd() % 2)
    return (uint32_t)(rnd() % 2 ? INT32_MAX - (int32_t)(u % 100000)
                                : INT32_MIN + (int32_t)(u % 100000));
  if (type != MMA_S32 && rnd() % 8 == 0)
    return rnd() % 2 ? 0x80 : 0x7f | (rnd() & 0x80);
  return u;
}

static int64_t
as_whole(uint8_t type, uint64_t u)
{
  return type == MMA_U8 ? (uint8_t)u : type == MMA_S8 ? (int8_t)u : (int32_t)u;
}

static void
check_whole(const char *what)
{
  for (int m = 0; m < x.f.m; m++)
    for (int n = 0; n < x.f.n; n++) {
      int64_t want = as_whole(MMA_S32, x.c[0][m][n]);
      for (int k = 0; k < x.f.k; k++)
        want += as_whole(x.f.a, x.a[0][m][k]) * as_whole(x.f.b, x.b[0][k][n]);
      if (x.f.satfinite)
        want = want > INT32_MAX ? INT32_MAX : want < INT32_MIN ? INT32_MIN : want;
      if ((uint32_t)x.d[0][m][n] != (uint32_t)want)
        fail_msg("%s m%dn%dk%d: (%d, %d) is %d, not %d", what, x.f.m, x.f.n, x.f.k, m, n,
                 (int32_t)x.d[0][m][n], (int32_t)want);
    }
}

static void
whole_numbers(void **state)
{
  (void)state;
  for (size_t i = 0; i < COUNT(whole); i++)
    for (int rep = 0; rep < 200; rep++) {
      x.f = whole[i];
      x.f.satfinite = rep & 1;
      fill(&x, whole_bits);
      run_at(&x, 80, false, rep & 2);
      check_whole("product");
    }
}

/* Rows of 32 bytes as wgmma hands them over; accumulators of n columns. */
static void
whole_numbers_of_a_warpgroup(void **state)
{
  (void)state;
  uint8_t a[16 * 32], b[64 * 32];
  uint32_t acc[32][32], *rows[32];
  for (int rep = 0; rep < 64; rep++) {
    int n = 8 * (1 + rep % 8);
    bool sa = rep & 8, sb = rep & 16, sat = rep & 32;
    int64_t want[16][64];
    for (size_t i = 0; i < sizeof a; i++)
      a[i] = (uint8_t)whole_bits(MMA_S8);
    for (size_t i = 0; i < sizeof b; i++)
      b[i] = (uint8_t)whole_bits(MMA_S8);
    for (int r = 0; r < n / 2; r++)
      for (int l = 0; l < 32; l++) {
        int row = l / 4 + 8 * (r / 2 % 2), col = 8 * (r / 4) + l % 4 * 2 + r % 2;
        acc[r][l] = (uint32_t)whole_bits(MMA_S32);
        rows[r] = acc[r];
        want[row][col] = (int32_t)acc[r][l];
        for (int k = 0; k < 32; k++)
          want[row][col] += as_whole(sa ? MMA_S8 : MMA_U8, a[row * 32 + k]) *
                            as_whole(sb ? MMA_S8 : MMA_U8, b[col * 32 + k]);
        if (sat && want[row][col] > INT32_MAX)
          want[row][col] = INT32_MAX;
        if (sat && want[row][col] < INT32_MIN)
          want[row][col] = INT32_MIN;
      }
    product_whole(sa, sb, sat, n, a, b, rows);
    for (int r = 0; r < n / 2; r++)
      for (int l = 0; l < 32; l++)
        assert_int_equal(
            acc[r][l],
            (uint32_t)want[l / 4 + 8 * (r / 2 % 2)][8 * (r / 4) + l % 4 * 2 + r % 2]);
  }
}

/* ---- f64 ---- */

static uint64_t
double_bits(uint8_t type)
{
  uint64_t u = any_bits(type);
  return rnd() % 16 ? (u & 0x800fffffffffffff) | (1000ull + rnd() % 48) << 52 : u;
}

static double
value64(uint64_t u)
{
  double d;
  memcpy(&d, &u, sizeof d);
  return d;
}

static void
doubles_are_a_chain(void **state)
{
  (void)state;
  for (size_t i = 0; i < COUNT(doubles); i++)
    for (int rep = 0; rep < 50; rep++) {
      x.f = doubles[i];
      fill(&x, double_bits);
      run_at(&x, 90, false, rep & 1);
      for (int m = 0; m < x.f.m; m++)
        for (int n = 0; n < x.f.n; n++) {
          double want = value64(x.c[0][m][n]), got = value64(x.d[0][m][n]);
          for (int k = 0; k < x.f.k; k++)
            want = fma(value64(x.a[0][m][k]), value64(x.b[0][k][n]), want);
          if (want == want)
            assert_memory_equal(&got, &want, sizeof got);
          else
            assert_true(got != got);
        }
    }
}

/* ---- 8 bits and fewer ---- */

static const uint8_t narrow[] = {MMA_E4M3, MMA_E5M2, MMA_E3M2, MMA_E2M3, MMA_E2M1};

static MmaForm
byte_form(int depth, int ta, int tb, bool half)
{
  MmaForm f = PRODUCT(16, 8, 0, narrow[ta], narrow[tb], MMA_F32);
  f.k = (uint8_t)depth;
  f.c = f.d = half ? MMA_F16 : MMA_F32;
  return f;
}

/* Whole numbers from -2 to 2, which all types have. */
static uint64_t
small_whole(uint8_t type)
{
  static const struct {
    uint8_t type;
    uint32_t one, two, sign;
  } known[] = {{MMA_E4M3, 0x38, 0x40, 0x80},
               {MMA_E5M2, 0x3c, 0x40, 0x80},
               {MMA_E3M2, 0x0c, 0x10, 0x20},
               {MMA_E2M3, 0x08, 0x10, 0x20},
               {MMA_E2M1, 0x08, 0x10, 0x20},
               {MMA_F16, 0x3c00, 0x4000, 0x8000},
               {MMA_F32, 0x3f800000, 1u << 30, 1u << 31}};
  uint32_t v = rnd() % 5;
  for (size_t i = 0; i < COUNT(known); i++)
    if (known[i].type == type)
      return v == 0   ? 0
             : v == 1 ? known[i].one
             : v == 2 ? known[i].two
                      : (v == 3 ? known[i].one : known[i].two) | known[i].sign;
  fail_msg("no integers in type %d", type);
  return 0;
}

static double
value_of(uint8_t type, uint64_t u)
{
  Num n = number(type, (uint32_t)u);
  double v = ldexp(n.mag, n.lsb);
  return n.neg ? -v : v;
}

static void
check_exact(const char *what)
{
  for (int q = 0; q < (x.f.a == MMA_F16 ? QUADS : 1); q++)
    for (int m = 0; m < x.f.m; m++)
      for (int n = 0; n < x.f.n; n++) {
        double want = value_of(x.f.c, x.c[q][m][n]), got = value_of(x.f.d, x.d[q][m][n]);
        for (int k = 0; k < x.f.k; k++)
          want += value_of(x.f.a, x.a[q][m][k]) * value_of(x.f.b, x.b[q][k][n]);
        if (got != want)
          fail_msg("%s %d %d: (%d, %d) is %g, not %g", what, x.f.a, x.f.b, m, n, got, want);
      }
}

static const int ccs[] = {89, 90, 100, 120};

static void
bytes_on_small_whole_numbers(void **state)
{
  (void)state;
  for (int ta = 0; ta < 5; ta++)
    for (int tb = 0; tb < 5; tb++)
      for (int kind = 0; kind < 8; kind++) {
        bool old = ta < 2 && tb < 2;
        if (!old && kind & 4) /* m16n8k32 on sm_120 alone */
          continue;
        x.f = byte_form(kind & 4 ? 16 : 32, ta, tb, kind & 1);
        fill(&x, small_whole);
        for (size_t c = 0; c < COUNT(ccs); c++)
          if (old || ccs[c] == 120) {
            run_at(&x, ccs[c], kind & 2, kind & 1);
            check_exact("bytes");
          }
      }
}

static void
dot_of(const Case *k, int m, int n, int count, const int *order, Num *a, Num *b)
{
  for (int j = 0; j < count; j++) {
    a[j] = number(k->f.a, (uint32_t)k->a[0][m][order[j]]);
    b[j] = number(k->f.b, (uint32_t)k->b[0][order[j]][n]);
  }
}

/* c + s to nearest, of f16 or f32. */
static uint32_t
sum_of_two(uint32_t c, uint32_t s, bool half)
{
  float f, g;
  if (half) {
    Num n = number(MMA_F16, c), o = number(MMA_F16, s), one = {.mag = 1};
    Num a[2] = {n, o}, b[2] = {one, one};
    uint32_t u = kit_dot(a, b, 2, (Num){.exp = -126}, 60, true);
    return u ? u : c & s & 0x8000;
  }
  memcpy(&f, &c, 4);
  memcpy(&g, &s, 4);
  f += g;
  memcpy(&c, &f, 4);
  return f != f ? 0x7fffffff : c;
}

/* sm_90, sm_100: as f16, the pairs of k by turns, then C. */
static uint32_t
by_halves(const Case *k, int m, int n)
{
  bool half = k->f.d == MMA_F16;
  uint32_t s = 0;
  Num a[16], b[16];
  for (int h = 0; h < 2; h++) {
    int order[16], count = 0;
    for (int j = 0; j < k->f.k; j++)
      if ((j / 2 & 1) == h)
        order[count++] = j;
    dot_of(k, m, n, count, order, a, b);
    for (int j = 0; j < count; j++) { /* e4m3 has no subnormals that f16 has */
      a[j] = k->f.a == MMA_E4M3 && !a[j].nan ? normalised(a[j]) : a[j];
      b[j] = k->f.b == MMA_E4M3 && !b[j].nan ? normalised(b[j]) : b[j];
    }
    s = kit_dot(a, b, count, number(k->f.d, s), 25, half);
  }
  return sum_of_two((uint32_t)k->c[0][m][n], s, half);
}

static uint32_t
by_steps(const Case *k, int m, int n, int step, int fraction)
{
  Num a[K], b[K];
  uint32_t s = (uint32_t)k->c[0][m][n];
  for (int k0 = 0; k0 < k->f.k; k0 += step) {
    int order[K];
    for (int j = 0; j < step; j++)
      order[j] = k0 + j;
    dot_of(k, m, n, step, order, a, b);
    s = kit_dot(a, b, step, number(k->f.c, s), fraction, k->f.d == MMA_F16);
  }
  return s;
}

static uint32_t
byte_model(const Case *k, int cc, int m, int n)
{
  if (cc == 89)
    return by_steps(k, m, n, 16, 13);
  return cc == 120 ? by_steps(k, m, n, k->f.k, 25) : by_halves(k, m, n);
}

static uint64_t
byte_bits(uint8_t type)
{
  uint64_t u = any_bits(type);
  if (type == MMA_F32 && rnd() % 8)
    return (u & 0x807fffff) | (117ull + rnd() % 20) << 23;
  if (type == MMA_F16 && rnd() % 8)
    return (u & 0x83ff) | (5ull + rnd() % 20) << 10;
  if (type == MMA_E2M1)
    return u & 0x3c;
  if (type == MMA_E3M2 || type == MMA_E2M3)
    return u & 0x3f;
  return rnd() % 64 ? u & 0xbf : u; /* few NaN */
}

static void
bytes_by_the_model(void **state)
{
  (void)state;
  for (int ta = 0; ta < 5; ta++)
    for (int tb = 0; tb < 5; tb++)
      for (int rep = 0; rep < 48; rep++) {
        bool old = ta < 2 && tb < 2;
        int cc = old ? ccs[rep % 4] : 120;
        x.f = byte_form(old && rep & 4 ? 16 : 32, ta, tb, rep & 8);
        fill(&x, byte_bits);
        run(&x, cc, false);
        for (int m = 0; m < 16; m++)
          for (int n = 0; n < 8; n++) {
            uint32_t want = byte_model(&x, cc, m, n);
            if ((uint32_t)x.d[0][m][n] != want)
              fail_msg("sm_%d k%d %d %d%s: (%d, %d) is %08x, not %08x", cc, x.f.k, x.f.a,
                       x.f.b, x.f.d == MMA_F16 ? " f16" : "", m, n, (uint32_t)x.d[0][m][n],
                       want);
          }
      }
}

/* What lies in a byte beside an element of fewer bits is nothing to the product. */
static void
bits_beside_narrow_elements(void **state)
{
  (void)state;
  for (int t = 2; t < 5; t++) {
    x.f = byte_form(32, t, t, false);
    fill(&x, byte_bits);
    y = x;
    for (int m = 0; m < 16; m++)
      for (int k = 0; k < 32; k++)
        y.a[0][m][k] |= narrow[t] == MMA_E2M1 ? 0xc3 : 0xc0;
    run(&x, 120, false);
    run(&y, 120, false);
    assert_memory_equal(x.d, y.d, sizeof x.d);
  }
}

/* ---- m8n8k4 of f16 ---- */

static uint64_t
half_bits(uint8_t type)
{
  uint64_t u = any_bits(type);
  if (type == MMA_F16)
    return rnd() % 32 ? (u & 0x83ff) | (9ull + rnd() % 12) << 10 : u;
  return rnd() % 8 ? (u & 0x807fffff) | (117ull + rnd() % 20) << 23 : u;
}

static MmaForm
pair_form(int layouts, int types)
{
  MmaForm f = PRODUCT(8, 8, 4, MMA_F16, MMA_F16, MMA_F32);
  f.col_a = layouts & 1;
  f.col_b = layouts & 2;
  f.c = types ? MMA_F16 : MMA_F32;
  f.d = types == 2 ? MMA_F16 : MMA_F32;
  return f;
}

/* sm_75: the tensor core, F = 24; later ones: what their assembler makes of it. */
static uint32_t
pair_model(int cc, int q, int m, int n)
{
  Num a[4], b[4];
  float va[4], vb[4], c = (float)value_of(x.f.c, x.c[q][m][n]);
  for (int k = 0; k < 4; k++) {
    a[k] = number(MMA_F16, (uint32_t)x.a[q][m][k]);
    b[k] = number(MMA_F16, (uint32_t)x.b[q][k][n]);
    va[k] = (float)value_of(MMA_F16, x.a[q][m][k]);
    vb[k] = (float)value_of(MMA_F16, x.b[q][k][n]);
  }
  if (cc == 75) {
    Num start = number(x.f.c, (uint32_t)x.c[q][m][n]);
    bool widened = x.f.c == MMA_F16 && x.f.d == MMA_F32;
    return kit_dot(a, b, 4, widened ? normalised(start) : start, 24, x.f.d == MMA_F16);
  }
  if (x.f.d == MMA_F32) {
    float s = va[0] * vb[0];
    for (int k = 1; k < 4; k++)
      s = fmaf(va[k], vb[k], s);
    s += c;
    uint32_t u;
    memcpy(&u, &s, 4);
    return u;
  }
  float low = fmaf(va[1], vb[1], va[0] * vb[0]), high = fmaf(va[3], vb[3], va[2] * vb[2]);
  float s = high + (c + low);
  uint32_t u;
  memcpy(&u, &s, 4);
  Num sum = number(MMA_F32, u), one = {.mag = 1};
  uint32_t h = kit_dot(&sum, &one, 1, (Num){.exp = -126}, 60, true);
  return h ? h : u >> 16 & 0x8000;
}

static bool
has_special(int q, int m, int n)
{
  bool bad = (x.c[q][m][n] & (x.f.c == MMA_F16 ? 0x7c00 : 0x7f800000)) ==
             (x.f.c == MMA_F16 ? 0x7c00 : 0x7f800000);
  for (int k = 0; k < 4; k++)
    bad |= (x.a[q][m][k] & 0x7c00) == 0x7c00 || (x.b[q][k][n] & 0x7c00) == 0x7c00;
  return bad;
}

static void
check_pairs(int cc)
{
  for (int q = 0; q < QUADS; q++)
    for (int m = 0; m < 8; m++)
      for (int n = 0; n < 8; n++) {
        if (cc != 75 && has_special(q, m, n))
          continue;
        uint32_t want = pair_model(cc, q, m, n), got = (uint32_t)x.d[q][m][n];
        if (got != want)
          fail_msg("sm_%d pair %d, c %d d %d: (%d, %d) is %08x, not %08x", cc, q, x.f.c,
                   x.f.d, m, n, got, want);
      }
}

static void
products_of_quad_pairs(void **state)
{
  (void)state;
  for (int layouts = 0; layouts < 4; layouts++)
    for (int types = 0; types < 3; types++)
      for (int rep = 0; rep < 40; rep++) {
        int cc = rep % 2 ? 80 : 75;
        x.f = pair_form(layouts, types);
        fill(&x, rep < 4 ? small_whole : half_bits);
        run_at(&x, cc, rep & 2 && cc == 80, rep & 1 && types != 1);
        if (rep < 4)
          check_exact("pairs");
        else
          check_pairs(cc);
      }
}

/* C and the first two products lose the second of them, the others take C away again. */
static void
order_in_quad_pairs(void **state)
{
  (void)state;
  x.f = pair_form(0, 2);
  fill(&x, small_whole);
  memset(x.a, 0, sizeof x.a);
  for (int q = 0; q < QUADS; q++)
    for (int i = 0; i < 8; i++) {
      x.a[q][i][0] = x.b[q][0][i] = 0x2400; /* 2^-6 */
      x.a[q][i][2] = 0xd800;                /* -128 */
      x.b[q][2][i] = 0x5c00;                /* 256 */
      for (int j = 0; j < 8; j++)
        x.c[q][i][j] = 0x7800; /* 32768 */
    }
  run(&x, 80, false);
  for (int i = 0; i < 8; i++)
    assert_int_equal(x.d[1][i][i], 0);
}

/* ---- registers of D that are others of C ---- */

static void
swapped_registers(void **state)
{
  (void)state;
  x.f = whole[6];
  fill(&x, whole_bits);
  Fragment a, b, c;
  move(&x, 'a', false, &a);
  move(&x, 'b', false, &b);
  move(&x, 'c', false, &c);
  run(&x, 80, false);
  const uint32_t *ra[4], *rb[4], *rc[4];
  uint32_t *rd[4];
  for (int r = 0; r < 4; r++) {
    ra[r] = a.narrow[r];
    rb[r] = b.narrow[r];
    rc[r] = c.narrow[r];
    rd[r] = c.narrow[3 - r];
  }
  product_run(&x.f, 80, false, rd, ra, rb, rc);
  y = x;
  for (int r = 0; r < 2; r++)
    for (int l = 0; l < 32; l++) {
      uint32_t u = c.narrow[r][l];
      c.narrow[r][l] = c.narrow[3 - r][l];
      c.narrow[3 - r][l] = u;
    }
  move(&y, 'd', true, &c);
  assert_memory_equal(x.d, y.d, sizeof x.d);
}

/* ---- every build ---- */

static void
same_on_all_builds(void **state)
{
  (void)state;
  for (int rep = 0; rep < 20; rep++) {
    x.f = byte_form(32, rep % 2, rep / 2 % 2, rep & 4);
    fill(&x, byte_bits);
    y = x;
    assert_true(simd_force(SIMD_BASE));
    run(&x, ccs[rep % 4], rep & 8);
    for (int s = SIMD_AVX2; s < SIMD_COUNT; s++)
      if (simd_force((Simd)s)) {
        run(&y, ccs[rep % 4], rep & 8);
        assert_memory_equal(x.d, y.d, sizeof x.d);
      }
    simd_force(simd_best());
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fragments_are_the_figures),
      cmocka_unit_test(whole_numbers),
      cmocka_unit_test(whole_numbers_of_a_warpgroup),
      cmocka_unit_test(doubles_are_a_chain),
      cmocka_unit_test(bytes_on_small_whole_numbers),
      cmocka_unit_test(bytes_by_the_model),
      cmocka_unit_test(bits_beside_narrow_elements),
      cmocka_unit_test(products_of_quad_pairs),
      cmocka_unit_test(order_in_quad_pairs),
      cmocka_unit_test(swapped_registers),
      cmocka_unit_test(same_on_all_builds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
