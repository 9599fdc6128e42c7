/* mma.sync: fragment layouts as formulae of their own (PTX ISA, "Matrix fragments for
 * mma.m16n8k…"), sums against a slow model in 128-bit integers, every SIMD build. */
#include "emulator/exec/ldsm.h"
#include "emulator/exec/mma.h"
#include "emulator/exec/simd.h"
#include "tests/unit/mma_kit.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { M = 16, N = 8, K = 16 };

typedef struct Case {
  MmaForm f;
  uint32_t a[M][K], b[K][N], c[M][N], d[M][N]; /* element bits */
} Case;

#define FORM(ab, cd, depth)                                                                \
  {                                                                                        \
    .a = ab, .b = ab, .c = cd, .d = cd, .m = M, .n = N, .k = depth                         \
  }
static const MmaForm forms[] = {
    FORM(MMA_F16, MMA_F32, 8),  FORM(MMA_F16, MMA_F16, 8),  FORM(MMA_F16, MMA_F32, 16),
    FORM(MMA_F16, MMA_F16, 16), FORM(MMA_BF16, MMA_F32, 8), FORM(MMA_BF16, MMA_F32, 16),
    FORM(MMA_TF32, MMA_F32, 4), FORM(MMA_TF32, MMA_F32, 8),
};
enum { FORMS = sizeof forms / sizeof *forms };
static const int ccs[] = {80, 86, 89, 90, 120};

static uint64_t seed = 1;

static uint32_t
rnd(void)
{
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 32);
}

/* Element i of lane l: where it is, by the figures of the ISA. */
static void
place_a(const MmaForm *f, int i, int l, int *row, int *col)
{
  int group = l >> 2, in = l % 4;
  if (f->a == MMA_TF32) {
    *row = i % 2 == 0 ? group : group + 8;
    *col = i < 2 ? in : in + 4;
  } else {
    *row = (i < 2 || (i >= 4 && i < 6)) ? group : group + 8;
    *col = in * 2 + (i & 1) + (i >= 4 ? 8 : 0);
  }
}

static void
place_b(const MmaForm *f, int i, int l, int *row, int *col)
{
  int group = l >> 2, in = l % 4;
  *col = group;
  *row = f->a == MMA_TF32 ? in + (i ? 4 : 0) : in * 2 + (i & 1) + (i >= 2 ? 8 : 0);
}

static void
place_c(int i, int l, int *row, int *col)
{
  *row = i < 2 ? l >> 2 : (l >> 2) + 8;
  *col = l % 4 * 2 + (i & 1);
}

typedef struct Fragments {
  uint32_t a[4][32], b[2][32], c[4][32], d[4][32];
} Fragments;

static void
put(uint32_t (*reg)[32], int i, int l, bool halves, uint32_t v)
{
  if (halves)
    reg[i / 2][l] |= v << 16 * (i % 2);
  else
    reg[i][l] = v;
}

static void
pack(const Case *x, Fragments *g)
{
  MmaRegs regs;
  assert_true(mma_form(&x->f, 90, &regs));
  memset(g, 0, sizeof *g);
  bool halves = x->f.a != MMA_TF32, ch = x->f.c == MMA_F16;
  for (int l = 0; l < 32; l++) {
    int row, col;
    for (int i = 0; i < regs.a * (halves ? 2 : 1); i++) {
      place_a(&x->f, i, l, &row, &col);
      put(g->a, i, l, halves, x->a[row][col]);
    }
    for (int i = 0; i < regs.b * (halves ? 2 : 1); i++) {
      place_b(&x->f, i, l, &row, &col);
      put(g->b, i, l, halves, x->b[row][col]);
    }
    for (int i = 0; i < 4; i++) {
      place_c(i, l, &row, &col);
      put(g->c, i, l, ch, x->c[row][col]);
    }
  }
}

static void
run(Case *x, int cc, bool fast)
{
  Fragments g;
  pack(x, &g);
  uint32_t *d[4];
  const uint32_t *a[4], *b[2], *c[4];
  for (int i = 0; i < 4; i++)
    d[i] = g.d[i], a[i] = g.a[i], b[i % 2] = g.b[i % 2], c[i] = g.c[i];
  mma_run(&x->f, cc, fast, d, a, b, c);
  for (int l = 0; l < 32; l++)
    for (int i = 0; i < 4; i++) {
      int row, col;
      place_c(i, l, &row, &col);
      x->d[row][col] =
          x->f.d == MMA_F16 ? (g.d[i / 2][l] >> 16 * (i % 2)) & 0xffff : g.d[i][l];
    }
}

static uint32_t
model_step(const Case *x, int m, int n, int k0, int k, int fraction, uint32_t cbits)
{
  Num a[K], b[K];
  for (int j = 0; j < k; j++) {
    a[j] = number(x->f.a, x->a[m][k0 + j]);
    b[j] = number(x->f.b, x->b[k0 + j][n]);
  }
  return kit_dot(a, b, k, number(x->f.c, cbits), fraction, x->f.d == MMA_F16);
}

static uint32_t
model(const Case *x, int cc, int m, int n)
{
  int k = x->f.k, fraction = cc >= 90 ? 25 : 24;
  bool split = cc < 90 && k == (x->f.a == MMA_TF32 ? 8 : 16);
  if (!split)
    return model_step(x, m, n, 0, k, fraction, x->c[m][n]);
  uint32_t mid = model_step(x, m, n, 0, k / 2, fraction, x->c[m][n]);
  return model_step(x, m, n, k / 2, k / 2, fraction, mid);
}

static uint32_t
of_small_int(uint8_t type, int v)
{
  uint32_t f = bits_of((float)v);
  if (type == MMA_BF16)
    return f >> 16;
  if (type != MMA_F16)
    return f;
  return v == 0
             ? 0
             : (f >> 16 & 0x8000) | ((((f >> 23 & 255) - 112) << 10) | (f >> 13 & 0x3ff));
}

static uint8_t
ctype(const Case *x)
{
  return x->f.c;
}

static void
test_forms(void **state)
{
  (void)state;
  MmaForm no[] = {FORM(MMA_BF16, MMA_F16, 16), FORM(MMA_F16, MMA_F32, 4),
                  FORM(MMA_TF32, MMA_F32, 16), FORM(MMA_F32, MMA_F32, 8),
                  FORM(MMA_F16, MMA_F32, 16),  FORM(MMA_F16, MMA_F32, 16)};
  no[4].d = MMA_F16;
  no[5].m = 8;
  for (size_t i = 0; i < sizeof no / sizeof *no; i++)
    assert_false(mma_form(&no[i], 90, NULL));
  for (int i = 0; i < FORMS; i++) {
    assert_true(mma_form(&forms[i], 80, NULL));
    assert_int_equal(mma_form(&forms[i], 75, NULL),
                     forms[i].a == MMA_F16 && forms[i].k == 8);
  }
}

/* One 1 in A picks a row of B; every element of B and C is its own number. */
static void
test_layout(void **state)
{
  (void)state;
  for (int i = 0; i < FORMS; i++)
    for (int m = 0; m < M; m++)
      for (int k = 0; k < forms[i].k; k++) {
        Case x = {.f = forms[i]};
        x.a[m][k] = of_small_int(x.f.a, 1);
        for (int kk = 0; kk < x.f.k; kk++)
          for (int n = 0; n < N; n++)
            x.b[kk][n] = of_small_int(x.f.a, kk * N + n + 1);
        for (int r = 0; r < M; r++)
          for (int n = 0; n < N; n++)
            x.c[r][n] = of_small_int(ctype(&x), 200 + r * N + n);
        run(&x, 80, k & 1);
        for (int r = 0; r < M; r++)
          for (int n = 0; n < N; n++)
            assert_int_equal(
                x.d[r][n],
                of_small_int(ctype(&x), 200 + r * N + n + (r == m ? k * N + n + 1 : 0)));
      }
}

static void
test_small_integers_exact(void **state)
{
  (void)state;
  for (int i = 0; i < FORMS; i++)
    for (int rep = 0; rep < 50; rep++) {
      Case x = {.f = forms[i]};
      int a[M][K], b[K][N], c[M][N];
      for (int k = 0; k < x.f.k; k++) {
        for (int m = 0; m < M; m++)
          x.a[m][k] = of_small_int(x.f.a, a[m][k] = (int)(rnd() % 13) - 6);
        for (int n = 0; n < N; n++)
          x.b[k][n] = of_small_int(x.f.a, b[k][n] = (int)(rnd() % 13) - 6);
      }
      for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++)
          x.c[m][n] = of_small_int(ctype(&x), c[m][n] = (int)(rnd() % 201) - 100);
      for (int mode = 0; mode < 4; mode++) {
        run(&x, mode & 1 ? 90 : 80, mode & 2);
        for (int m = 0; m < M; m++)
          for (int n = 0; n < N; n++) {
            int want = c[m][n];
            for (int k = 0; k < x.f.k; k++)
              want += a[m][k] * b[k][n];
            assert_int_equal(x.d[m][n], of_small_int(ctype(&x), want));
          }
      }
    }
}

/* kind 0: any bits; 1: no Inf or NaN; 2: near one exponent; 3: subnormals and zeros too */
static uint32_t
random_element(uint8_t type, int kind)
{
  int width = type == MMA_F16 ? 10 : type == MMA_BF16 ? 7 : 23;
  uint32_t total = type == MMA_F16 || type == MMA_BF16 ? 16 : 32;
  uint32_t u = total == 16 ? rnd() & 0xffff : rnd();
  uint32_t top = type == MMA_F16 ? 31 : 255, bias = top / 2;
  uint32_t e = u >> width & top, rest = u & ~(top << width);
  if (kind == 1 && e == top)
    e = top - 1;
  if (kind == 2)
    e = bias - 3 + rnd() % 7;
  if (kind == 3)
    e = rnd() % 3, rest = rnd() % 4 ? rest : rest & 1u << (total - 1);
  return rest | e << width;
}

static void
random_case(Case *x, int form, int kind)
{
  *x = (Case){.f = forms[form]};
  for (int k = 0; k < x->f.k; k++) {
    for (int m = 0; m < M; m++)
      x->a[m][k] = random_element(x->f.a, kind);
    for (int n = 0; n < N; n++)
      x->b[k][n] = random_element(x->f.a, rnd() % 8 ? kind : 2);
  }
  for (int m = 0; m < M; m++)
    for (int n = 0; n < N; n++)
      x->c[m][n] = random_element(x->f.c, rnd() % 4 ? kind : 3);
}

static void
test_bit_level_model(void **state)
{
  (void)state;
  for (int s = SIMD_BASE; s < SIMD_COUNT; s++) {
    if (!simd_force((Simd)s))
      continue;
    seed = 7;
    for (int i = 0; i < FORMS; i++)
      for (int rep = 0; rep < 160; rep++) {
        Case x;
        random_case(&x, i, rep % 4);
        int cc = ccs[rep / 4 % 5];
        run(&x, cc, false);
        for (int m = 0; m < M; m++)
          for (int n = 0; n < N; n++)
            assert_int_equal(x.d[m][n], model(&x, cc, m, n));
      }
  }
  simd_force(simd_best());
}

/* All 17 terms at their largest: the sum must not wrap. */
static void
test_largest_sum(void **state)
{
  (void)state;
  for (int i = 0; i < FORMS; i++)
    for (size_t j = 0; j < sizeof ccs / sizeof *ccs; j++) {
      Case x = {.f = forms[i]};
      uint32_t top = x.f.a == MMA_F16 ? 0x3fff : x.f.a == MMA_BF16 ? 0x3fff : 0x3fffffff;
      for (int k = 0; k < K; k++) {
        for (int m = 0; m < M; m++)
          x.a[m][k] = top | (m & 1 ? (x.f.a == MMA_TF32 ? 0x80000000 : 0x8000) : 0);
        for (int n = 0; n < N; n++)
          x.b[k][n] = top;
      }
      for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++)
          x.c[m][n] = x.f.c == MMA_F16 ? 0x3fff | (uint32_t)(m & 1) << 15
                                       : 0x3fffffff | (uint32_t)(m & 1) << 31;
      run(&x, ccs[j], false);
      for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++)
          assert_int_equal(x.d[m][n], model(&x, ccs[j], m, n));
    }
}

static void
test_fast_equal_on_all_builds(void **state)
{
  (void)state;
  for (int i = 0; i < FORMS; i++)
    for (int rep = 0; rep < 60; rep++) {
      Case x, y;
      random_case(&x, i, rep % 4);
      y = x;
      assert_true(simd_force(SIMD_BASE));
      run(&x, 80, true);
      for (int s = SIMD_AVX2; s < SIMD_COUNT; s++)
        if (simd_force((Simd)s)) {
          run(&y, 80, true);
          assert_memory_equal(x.d, y.d, sizeof x.d);
        }
      simd_force(simd_best());
    }
}

static void
test_in_place(void **state)
{
  (void)state;
  Case x;
  random_case(&x, 5, 2);
  run(&x, 80, false);
  Fragments g, h;
  pack(&x, &g);
  h = g;
  uint32_t *d[4] = {h.c[0], h.c[1], h.c[2], h.c[3]};
  const uint32_t *a[4] = {h.a[0], h.a[1], h.a[2], h.a[3]}, *b[2] = {h.b[0], h.b[1]};
  const uint32_t *c[4] = {h.c[0], h.c[1], h.c[2], h.c[3]};
  mma_run(&x.f, 80, false, d, a, b, c);
  for (int l = 0; l < 32; l++)
    for (int i = 0; i < 4; i++) {
      int row, col;
      place_c(i, l, &row, &col);
      assert_int_equal(h.c[i][l], x.d[row][col]);
    }
}

/* Row r of matrix q at an odd place; element (q, r, e) is its own number. */
static void
test_ldmatrix(void **state)
{
  (void)state;
  uint8_t mem[4096], back[4096];
  uint32_t off[32], reg[4][32];
  uint32_t *d[4] = {reg[0], reg[1], reg[2], reg[3]};
  const uint32_t *s[4] = {reg[0], reg[1], reg[2], reg[3]};
  for (int num = 1; num <= 4; num *= 2)
    for (int trans = 0; trans < 2; trans++) {
      memset(mem, 0xee, sizeof mem);
      memset(back, 0xee, sizeof back);
      for (int l = 0; l < 32; l++) {
        off[l] = (uint32_t)((l * 37 + 5) % 128) * 32 % 4096;
        for (int e = 0; e < 8 && l < 8 * num; e++) {
          uint16_t v = (uint16_t)(l * 8 + e);
          memcpy(mem + off[l] + 2 * e, &v, 2);
        }
      }
      ldsm_load(num, trans, mem, off, d);
      for (int q = 0; q < num; q++)
        for (int l = 0; l < 32; l++)
          for (int h = 0; h < 2; h++) {
            int row = trans ? 2 * (l % 4) + h : l / 4, e = trans ? l / 4 : 2 * (l % 4) + h;
            assert_int_equal(reg[q][l] >> 16 * h & 0xffff, (q * 8 + row) * 8 + e);
          }
      ldsm_store(num, trans, back, off, s);
      assert_memory_equal(mem, back, sizeof mem);
    }
}

/* Element e of row r of matrix q: PTX ISA, "ldmatrix", 6 and 4 bits, packed. */
static uint32_t
packed(int q, int r, int e, int bits)
{
  return (uint32_t)(q * 83 + r * 29 + e * 7 + r * e) & ((1u << bits) - 1);
}

static void
put_rows(int num, int rows, int bits, uint8_t *mem, uint32_t *off)
{
  memset(mem, 0xee, 2048);
  for (int l = 0; l < 32; l++)
    off[l] = (uint32_t)(l * 13 + 5) % 32 * 48;
  for (int q = 0; q < num; q++)
    for (int r = 0; r < rows; r++)
      for (int e = 0; e < 16; e++)
        for (int b = 0; b < bits; b++) {
          int at = e * bits + b;
          uint8_t *byte = mem + off[q * rows + r] + at / 8;
          uint32_t bit = packed(q, r, e, bits) >> b & 1;
          *byte = (uint8_t)((*byte & ~(1 << at % 8)) | (int)bit << at % 8);
        }
}

static void
test_ldmatrix_bytes(void **state)
{
  (void)state;
  uint8_t mem[2048];
  uint32_t off[32], reg[4][32], *d[4] = {reg[0], reg[1], reg[2], reg[3]};
  for (int bits = 4; bits <= 8; bits += 2) {
    for (int num = 1; num <= 4; num *= 2) {
      put_rows(num, 8, bits, mem, off);
      ldsm_load_bytes(num, bits, mem, off, d);
      for (int q = 0; q < num; q++)
        for (int l = 0; l < 32; l++)
          for (int b = 0; b < 4; b++)
            assert_int_equal(reg[q][l] >> 8 * b & 0xff,
                             packed(q, l >> 2, (l & 3) * 4 + b, bits));
    }
    for (int num = 1; num <= 2; num++) {
      put_rows(num, 16, bits, mem, off);
      ldsm_load_bytes_trans(num, bits, mem, off, d);
      for (int i = 0; i < 2 * num; i++)
        for (int l = 0; l < 32; l++)
          for (int b = 0; b < 4; b++)
            assert_int_equal(reg[i][l] >> 8 * b & 0xff,
                             packed(i / 2, (l & 3) * 4 + b, (l >> 2) + 8 * (i & 1), bits));
    }
  }
}

static void
test_stmatrix_bytes(void **state)
{
  (void)state;
  uint8_t mem[2048], want[2048];
  uint32_t off[32], reg[4][32];
  const uint32_t *a[4] = {reg[0], reg[1], reg[2], reg[3]};
  for (int num = 1; num <= 4; num *= 2) {
    put_rows(num, 8, 8, want, off);
    memset(mem, 0xee, sizeof mem);
    for (int q = 0; q < num; q++)
      for (int l = 0; l < 32; l++) { /* rows 2t, 2t + 1 of columns g, g, g + 8, g + 8 */
        int t = l & 3, g = l >> 2;
        reg[q][l] = packed(q, 2 * t, g, 8) | packed(q, 2 * t + 1, g, 8) << 8 |
                    packed(q, 2 * t, g + 8, 8) << 16 | packed(q, 2 * t + 1, g + 8, 8) << 24;
      }
    ldsm_store_bytes_trans(num, mem, off, a);
    assert_memory_equal(mem, want, sizeof mem);
  }
}

static void
test_movmatrix(void **state)
{
  (void)state;
  uint32_t a[32], d[32];
  for (int l = 0; l < 32; l++)
    a[l] = (uint32_t)(l * 2) | (uint32_t)(l * 2 + 1) << 16; /* element r*8+c */
  ldsm_move_trans(d, a);
  for (int l = 0; l < 32; l++)
    for (int h = 0; h < 2; h++) {
      int r = l / 4, c = 2 * (l % 4) + h;
      assert_int_equal(d[l] >> 16 * h & 0xffff, c * 8 + r);
    }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_forms),
      cmocka_unit_test(test_layout),
      cmocka_unit_test(test_small_integers_exact),
      cmocka_unit_test(test_bit_level_model),
      cmocka_unit_test(test_largest_sum),
      cmocka_unit_test(test_fast_equal_on_all_builds),
      cmocka_unit_test(test_in_place),
      cmocka_unit_test(test_ldmatrix),
      cmocka_unit_test(test_ldmatrix_bytes),
      cmocka_unit_test(test_stmatrix_bytes),
      cmocka_unit_test(test_movmatrix),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
