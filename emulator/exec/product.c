#include "emulator/exec/product.h"

#include "emulator/exec/arith.h"
#include "emulator/exec/fragment.h"
#include "emulator/exec/mma_part.h"

#include <math.h>

enum { LANES = 32, ROW_BYTES = 32, MAX_REGS = 8 };

/* ---- elements of 8 bits: rows of A and columns of B, 32 bytes each, zeros behind k ----
 */

typedef struct Bytes {
  uint8_t a[MMA_M * ROW_BYTES], b[MMA_N * ROW_BYTES];
} Bytes;

static void
gather_bytes(const MmaForm *f, const uint32_t *const *a, const uint32_t *const *b, Bytes *x)
{
  memset(x, 0, sizeof *x);
  for (int r = 0; r < frag_registers(f, FRAG_A); r++)
    for (int l = 0; l < LANES; l++) {
      FragAt at = frag_at(f, FRAG_A, r, l, 0);
      memcpy(x->a + at.row * ROW_BYTES + at.col, &a[r][l], 4);
    }
  for (int r = 0; r < frag_registers(f, FRAG_B); r++)
    for (int l = 0; l < LANES; l++) {
      FragAt at = frag_at(f, FRAG_B, r, l, 0);
      memcpy(x->b + at.col * ROW_BYTES + at.row, &b[r][l], 4);
    }
}

static void
get_rows(int n, const uint32_t *const *from, uint32_t (*to)[LANES])
{
  for (int r = 0; r < n; r++)
    memcpy(to[r], from[r], sizeof *to);
}

/* Results come last: a register of D may be another one of the sources. */
static void
put_rows(int n, uint32_t (*from)[LANES], uint32_t *const *d)
{
  for (int r = 0; r < n; r++)
    memcpy(d[r], from[r], sizeof *from);
}

/* ---- whole numbers ---- */

static void
widen(bool is_signed, int n, const uint8_t *from, int16_t *to)
{
  for (int i = 0; i < n; i++)
    to[i] = (int16_t)(is_signed ? (int8_t)from[i] : from[i]);
}

static int32_t
dot(const int16_t *a, const int16_t *b)
{
  int32_t sum = 0;
  for (int k = 0; k < ROW_BYTES; k++)
    sum += a[k] * b[k];
  return sum;
}

static uint32_t
add_whole(uint32_t c, int32_t sum, bool satfinite)
{
  int64_t s = (int64_t)(int32_t)c + sum;
  if (satfinite)
    s = s > INT32_MAX ? INT32_MAX : s < INT32_MIN ? INT32_MIN : s;
  return (uint32_t)s;
}

static void
run_whole(const MmaForm *f, uint32_t *const *d, const uint32_t *const *a,
          const uint32_t *const *b, const uint32_t *const *c)
{
  Bytes x;
  int16_t left[sizeof x.a], right[sizeof x.b];
  uint32_t acc[4][LANES];
  int n = frag_registers(f, FRAG_C);
  gather_bytes(f, a, b, &x);
  widen(f->a == MMA_S8, sizeof x.a, x.a, left);
  widen(f->b == MMA_S8, sizeof x.b, x.b, right);
  for (int r = 0; r < n; r++)
    for (int l = 0; l < LANES; l++) {
      FragAt at = frag_at(f, FRAG_C, r, l, 0);
      int32_t sum = dot(left + at.row * ROW_BYTES, right + at.col * ROW_BYTES);
      acc[r][l] = add_whole(c[r][l], sum, f->satfinite);
    }
  put_rows(n, acc, d);
}

void
product_whole(bool signed_a, bool signed_b, bool satfinite, int n, const uint8_t *a,
              const uint8_t *b, uint32_t *const *cd_rows)
{
  int16_t left[MMA_M * ROW_BYTES], right[ROW_BYTES];
  widen(signed_a, MMA_M * ROW_BYTES, a, left);
  for (int col = 0; col < n; col++) {
    widen(signed_b, ROW_BYTES, b + (size_t)col * ROW_BYTES, right);
    for (int row = 0; row < MMA_M; row++) {
      uint32_t *to = cd_rows[col / 8 * 4 + row / 8 * 2 + col % 2];
      int lane = row % 8 * 4 + col % 8 / 2;
      to[lane] = add_whole(to[lane], dot(left + row * ROW_BYTES, right), satfinite);
    }
  }
}

/* ---- 8 bits and fewer ----
 * sm_89: F = 13, sixteen products at a time, f32 results of 13 bits; sm_120: F = 25, all of
 * k.  sm_90 and sm_100 have no such product: their assembler (ptxas 13.0) makes f16 of the
 * elements, multiplies those with an even k / 2 and then those with an odd one into a sum
 * from 0, and adds C. */

/* The e4m3 of the same value: a magnitude in sixteenths, below 512. */
static uint8_t
e4m3_of(bool negative, uint32_t sixteenths)
{
  if (!sixteenths)
    return negative ? 0x80 : 0;
  int top = 31 - __builtin_clz(sixteenths);
  uint32_t mantissa = (sixteenths << 3 >> top) & 7;
  return (uint8_t)((negative ? 0x80u : 0) | (uint32_t)(top - 4 + 7) << 3 | mantissa);
}

/* e bits of exponent, m of mantissa. */
static uint32_t
sixteenths(uint32_t bits, int e, int m)
{
  int field = (int)(bits >> m) & ((1 << e) - 1), bias = (1 << (e - 1)) - 1;
  uint32_t mantissa = bits & ((1u << m) - 1);
  uint32_t whole = field ? 1u << m | mantissa : mantissa;
  return whole << (4 + (field ? field : 1) - bias - m);
}

static uint8_t
narrow_element(uint8_t type, uint8_t u)
{
  if (type == MMA_E3M2)
    return e4m3_of(u & 0x20, sixteenths(u & 0x1f, 3, 2));
  if (type == MMA_E2M3)
    return e4m3_of(u & 0x20, sixteenths(u & 0x1f, 2, 3));
  return e4m3_of(u & 0x20, sixteenths(u >> 2 & 7, 2, 1));
}

static uint8_t
as_byte_float(uint8_t type, int n, uint8_t *x)
{
  if (type == MMA_E4M3 || type == MMA_E5M2)
    return type;
  for (int i = 0; i < n; i++)
    x[i] = narrow_element(type, x[i]);
  return MMA_E4M3;
}

/* Products k0 … k0+15 or, with k0 < 0, all of them. */
static void
wide_step(MmaWide *w, const Bytes *x, int k0, bool fast)
{
  uint32_t a[WIDE_K * MMA_M];
  uint8_t b[MMA_N * ROW_BYTES] = {0};
  int first = k0 < 0 ? 0 : k0, end = k0 < 0 ? WIDE_K : k0 + 16;
  for (int k = 0; k < WIDE_K; k++)
    for (int m = 0; m < MMA_M; m++) {
      uint32_t u = x->a[m * ROW_BYTES + k];
      a[k * MMA_M + m] = k < first || k >= end ? 0 : w->ta == MMA_E5M2 ? u << 8 : u;
    }
  for (int n = 0; n < MMA_N; n++)
    memcpy(b + n * ROW_BYTES + first, x->b + n * ROW_BYTES + first, (size_t)(end - first));
  w->a = a;
  w->b = b;
  mma_wide(w, fast);
}

static void
run_wide(const MmaForm *f, int cc, bool fast, uint32_t *const *d, const uint32_t *const *a,
         const uint32_t *const *b, const uint32_t *const *c)
{
  Bytes x;
  uint32_t acc[4][LANES], *rows[4] = {acc[0], acc[1], acc[2], acc[3]};
  int n = frag_registers(f, FRAG_C);
  bool in_steps = cc < 90 && !fast;
  gather_bytes(f, a, b, &x);
  get_rows(n, c, acc);
  MmaWide w = {.ta = as_byte_float(f->a, sizeof x.a, x.a),
               .tb = as_byte_float(f->b, sizeof x.b, x.b),
               .cd = f->d,
               .n = MMA_N,
               .k = WIDE_K,
               .fraction = cc < 90 ? 13 : 25,
               .cut = cc < 90,
               .cd_rows = rows};
  for (int k0 = 0; in_steps && k0 < f->k; k0 += 16)
    wide_step(&w, &x, k0, false);
  if (!in_steps)
    wide_step(&w, &x, -1, fast);
  put_rows(n, acc, d);
}

/* Exact. */
static uint32_t
f16_of_byte(uint8_t type, uint32_t u)
{
  uint32_t sign = (u & 0x80) << 8, mag = u & 0x7f;
  if (type == MMA_E5M2)
    return u << 8;
  if (mag == 0x7f)
    return 0x7fff;
  if (mag >= 8)
    return sign | ((mag << 7) + (8 << 10));
  if (!mag)
    return sign;
  int top = 31 - __builtin_clz(mag); /* of so many 2^-9 */
  return sign | (uint32_t)(top - 9 + 15) << 10 | (mag << (10 - top) & 0x3ff);
}

/* Half h of each register's four elements, as f16. */
static void
halves_as_f16(uint8_t type, int n, int h, const uint32_t *const *from,
              uint32_t (*to)[LANES], const uint32_t **row)
{
  for (int r = 0; r < n; r++) {
    for (int l = 0; l < LANES; l++) {
      uint32_t pair = from[r][l] >> 16 * h;
      to[r][l] = f16_of_byte(type, pair & 0xff) | f16_of_byte(type, pair >> 8 & 0xff) << 16;
    }
    row[r] = to[r];
  }
}

static void
run_as_f16(const MmaForm *f, int cc, uint32_t *const *d, const uint32_t *const *a,
           const uint32_t *const *b, const uint32_t *const *c)
{
  uint32_t ha[4][LANES], hb[2][LANES], sum[4][LANES] = {{0}}, *rows[4];
  const uint32_t *ra[4], *rb[2], *rc[4];
  MmaForm half = {.a = MMA_F16, .b = MMA_F16, .c = f->c, .d = f->d};
  int n = frag_registers(f, FRAG_C);
  ArOp add;
  half.m = MMA_M;
  half.n = MMA_N;
  half.k = f->k / 2;
  for (int r = 0; r < n; r++)
    rc[r] = rows[r] = sum[r];
  for (int h = 0; h < 2; h++) {
    halves_as_f16(f->a, frag_registers(f, FRAG_A), h, a, ha, ra);
    halves_as_f16(f->b, frag_registers(f, FRAG_B), h, b, hb, rb);
    mma_run(&half, cc, false, rows, ra, rb, rc);
  }
  ar_math(&add, AR_ADD, f->d == MMA_F16 ? AR_F16X2 : AR_F32, AR_RN);
  for (int r = 0; r < n; r++)
    add.fn(&add, sum[r], c[r], sum[r], NULL);
  put_rows(n, sum, d);
}

static void
run_bytes(const MmaForm *f, int cc, bool fast, uint32_t *const *d, const uint32_t *const *a,
          const uint32_t *const *b, const uint32_t *const *c)
{
  if (cc >= 90 && cc < 120 && !fast)
    run_as_f16(f, cc, d, a, b, c);
  else
    run_wide(f, cc, fast, d, a, b, c);
}

/* ---- f64 ---- */

static const uint64_t *
wide_row(const uint32_t *row)
{
  return (const uint64_t *)(const void *)row;
}

/* Each register of D at once: 32 elements, a step of k after another. */
static void
run_f64(const MmaForm *f, uint32_t *const *d, const uint32_t *const *a,
        const uint32_t *const *b, const uint32_t *const *c)
{
  uint64_t left[MMA_M][MMA_K], right[MMA_K][MMA_N], sum[4][LANES], x[LANES], y[LANES];
  ArOp fma64;
  ar_math(&fma64, AR_FMA, AR_F64, f->rounding);
  for (int l = 0; l < LANES; l++) {
    for (int r = 0; r < frag_registers(f, FRAG_A); r++) {
      FragAt at = frag_at(f, FRAG_A, r, l, 0);
      left[at.row][at.col] = wide_row(a[r])[l];
    }
    for (int r = 0; r < frag_registers(f, FRAG_B); r++) {
      FragAt at = frag_at(f, FRAG_B, r, l, 0);
      right[at.row][at.col] = wide_row(b[r])[l];
    }
  }
  int n = frag_registers(f, FRAG_C);
  for (int r = 0; r < n; r++) {
    memcpy(sum[r], c[r], sizeof sum[r]);
    for (int k = 0; k < f->k; k++) {
      for (int l = 0; l < LANES; l++) {
        FragAt at = frag_at(f, FRAG_C, r, l, 0);
        x[l] = left[at.row][k];
        y[l] = right[k][at.col];
      }
      fma64.fn(&fma64, sum[r], x, y, sum[r]);
    }
  }
  for (int r = 0; r < n; r++)
    memcpy(d[r], sum[r], sizeof sum[r]);
}

/* ---- m8n8k4 of f16 ----
 * The chips from sm_80 on have no such product: their assembler (ptxas 13.0) makes f32
 * arithmetic of it. */

enum { QUADS = 4, SIDE = 8, DEPTH = 4 };
typedef struct Pair { /* a product of a quad pair, element bits; c as D's type wants it */
  uint32_t a[SIDE][DEPTH], b[DEPTH][SIDE], c[SIDE][SIDE];
} Pair;

static uint32_t
element(const MmaForm *f, FragRole role, const uint32_t *const *reg, int l, int i)
{
  int per = frag_elements(f, role);
  return per == 1 ? reg[i][l] : reg[i / 2][l] >> 16 * (i % 2) & 0xffff;
}

static void
gather_pairs(const MmaForm *f, const uint32_t *const *a, const uint32_t *const *b,
             const uint32_t *const *c, Pair *p)
{
  for (int l = 0; l < LANES; l++) {
    Pair *own = &p[l % 16 / 4];
    for (int i = 0; i < DEPTH; i++) {
      FragAt at = frag_at(f, FRAG_A, i / 2, l, i % 2);
      own->a[at.row][at.col] = element(f, FRAG_A, a, l, i);
      at = frag_at(f, FRAG_B, i / 2, l, i % 2);
      own->b[at.row][at.col] = element(f, FRAG_B, b, l, i);
    }
    int per = frag_elements(f, FRAG_C);
    for (int i = 0; i < SIDE; i++) {
      FragAt at = frag_at(f, FRAG_C, i / per, l, i % per);
      uint32_t u = element(f, FRAG_C, c, l, i);
      own->c[at.row][at.col] = f->c != f->d ? bits_of((float)ar_to_double(AR_F16, u)) : u;
    }
  }
}

static void
scatter_pairs(const MmaForm *f, const Pair *p, uint32_t *const *d)
{
  int per = frag_elements(f, FRAG_D);
  for (int l = 0; l < LANES; l++)
    for (int i = 0; i < SIDE; i++) {
      FragAt at = frag_at(f, FRAG_D, i / per, l, i % per);
      uint32_t u = p[l % 16 / 4].c[at.row][at.col], *to = &d[i / per][l];
      *to = per == 1 ? u : i % 2 ? (*to & 0xffff) | u << 16 : u;
    }
}

/* Rows 8 to 15 and products 4 to 7 are 0. */
static void
tensor_pair(const MmaForm *f, bool fast, Pair *p)
{
  MmaOperands o = {0};
  MmaStep s = {.ab = MMA_F16, .cd = f->d, .k = 8, .fraction = 24};
  for (int k = 0; k < DEPTH; k++)
    for (int i = 0; i < SIDE; i++) {
      o.a[k * MMA_M + i] = p->a[i][k];
      o.b[mma_b_at(false, k, i)] = p->b[k][i];
    }
  for (int m = 0; m < SIDE; m++)
    for (int n = 0; n < SIDE; n++)
      o.c[n * MMA_M + m] = p->c[m][n];
  mma_step(&o, &s, fast);
  for (int m = 0; m < SIDE; m++)
    for (int n = 0; n < SIDE; n++)
      p->c[m][n] = o.c[n * MMA_M + m];
}

static float
half_value(uint32_t u)
{
  return (float)ar_to_double(AR_F16, u);
}

static uint32_t
plain_output(const MmaForm *f, const uint32_t *a, const float *b, uint32_t c)
{
  float x[DEPTH], sum;
  for (int k = 0; k < DEPTH; k++)
    x[k] = half_value(a[k]);
  if (f->d == MMA_F16) {
    float low = fmaf(x[1], b[1], x[0] * b[0]), high = fmaf(x[3], b[3], x[2] * b[2]);
    sum = high + (half_value(c) + low);
    return (uint32_t)ar_from_double(AR_F16, (double)sum, AR_RN);
  }
  sum = fmaf(x[0], b[0], 0);
  for (int k = 1; k < DEPTH; k++)
    sum = fmaf(x[k], b[k], sum);
  sum += float_of(c);
  return sum != sum ? 0x7fffffff : bits_of(sum);
}

static void
plain_pair(const MmaForm *f, Pair *p)
{
  for (int n = 0; n < SIDE; n++) {
    float b[DEPTH];
    for (int k = 0; k < DEPTH; k++)
      b[k] = half_value(p->b[k][n]);
    for (int m = 0; m < SIDE; m++)
      p->c[m][n] = plain_output(f, p->a[m], b, p->c[m][n]);
  }
}

static void
run_pairs(const MmaForm *f, int cc, bool fast, uint32_t *const *d, const uint32_t *const *a,
          const uint32_t *const *b, const uint32_t *const *c)
{
  Pair p[QUADS];
  gather_pairs(f, a, b, c, p);
  for (int q = 0; q < QUADS; q++)
    if (cc < 80)
      tensor_pair(f, fast, &p[q]);
    else
      plain_pair(f, &p[q]);
  scatter_pairs(f, p, d);
}

/* ---- wmma ---- */

typedef struct Piece { /* a product of mma.sync within */
  MmaForm form;
  int a, b, c; /* registers of its operands that are there: of m8 half of them */
  bool low;    /* m8: registers of rows 8 to 15 are missing */
} Piece;

static Piece
piece_of(const MmaForm *f)
{
  Piece p = {.form = *f, .low = f->m == 8};
  bool wide = f->c == MMA_F32 || f->d == MMA_F32;
  p.form.wmma = false;
  p.form.m = MMA_M;
  p.form.n = MMA_N;
  if (f->a == MMA_F16) /* mixed accumulators: sums in f32 */
    p.form.c = p.form.d = wide ? MMA_F32 : MMA_F16;
  p.a = frag_registers(&p.form, FRAG_A) / (p.low ? 2 : 1);
  p.b = frag_registers(&p.form, FRAG_B);
  p.c = frag_registers(&p.form, FRAG_C) / (p.low ? 2 : 1);
  return p;
}

/* b as its registers are; of a and c those of rows that are missing are 0. */
static void
run_piece(const Piece *p, int cc, bool fast, uint32_t (*a)[LANES], uint32_t (*b)[LANES],
          uint32_t (*cd)[LANES])
{
  uint32_t none[LANES] = {0}, unused[MAX_REGS][LANES];
  const uint32_t *ra[MAX_REGS], *rb[MAX_REGS], *rc[MAX_REGS];
  uint32_t *rd[MAX_REGS];
  for (int r = 0; r < MAX_REGS; r++) {
    ra[r] = rc[r] = none;
    rd[r] = unused[r];
  }
  for (int r = 0; r < p->a; r++) /* rows 0 to 7 and 8 to 15 have registers by turns */
    ra[p->low ? 2 * r : r] = a[r];
  for (int r = 0; r < p->b; r++)
    rb[r] = b[r];
  for (int r = 0; r < p->c; r++)
    rc[r] = rd[r] = cd[r];
  if (mma_form(&p->form, 90, NULL))
    mma_run(&p->form, cc, fast, rd, ra, rb, rc);
  else
    product_run(&p->form, cc, fast, rd, ra, rb, rc);
}

/* From f16 to f32, two registers for one: elements lie as fragment.h has them. */
static void
widen_half(int n, const uint32_t *const *c, uint32_t (*acc)[LANES])
{
  for (int r = 0; r < n; r++)
    for (int l = 0; l < LANES; l++)
      for (int h = 0; h < 2; h++)
        acc[2 * r + h][l] = bits_of(half_value(c[r][l] >> 16 * h & 0xffff));
}

static uint32_t
half_of(uint32_t u)
{
  return (uint32_t)ar_from_double(AR_F16, (double)float_of(u), AR_RN);
}

static void
narrow_half(int n, uint32_t (*acc)[LANES], uint32_t *const *d)
{
  for (int r = 0; r < n; r++)
    for (int l = 0; l < LANES; l++)
      d[r][l] = half_of(acc[2 * r][l]) | half_of(acc[2 * r + 1][l]) << 16;
}

static void
run_wmma(const MmaForm *f, int cc, bool fast, uint32_t *const *d, const uint32_t *const *a,
         const uint32_t *const *b, const uint32_t *const *c)
{
  Piece p = piece_of(f);
  uint32_t left[MAX_REGS][LANES], right[MAX_REGS][LANES], acc[MAX_REGS][LANES];
  get_rows(frag_registers(f, FRAG_A), a, left);
  get_rows(frag_registers(f, FRAG_B), b, right);
  if (p.form.c != f->c)
    widen_half(frag_registers(f, FRAG_C), c, acc);
  else
    get_rows(frag_registers(f, FRAG_C), c, acc);
  int across = f->n / MMA_N, down = f->m < MMA_M ? 1 : f->m / MMA_M;
  for (int i = 0; i < across * down; i++)
    run_piece(&p, cc, fast, left + i / across * p.a, right + i % across * p.b,
              acc + i * p.c);
  if (p.form.d != f->d)
    narrow_half(frag_registers(f, FRAG_D), acc, d);
  else
    put_rows(frag_registers(f, FRAG_D), acc, d);
}

/* ---- all ---- */

bool
product_form(const MmaForm *f)
{
  ArOp op;
  return f->a != MMA_F64 || ar_math(&op, AR_FMA, AR_F64, f->rounding);
}

void
product_run(const MmaForm *f, int cc, bool fast, uint32_t *const *d,
            const uint32_t *const *a, const uint32_t *const *b, const uint32_t *const *c)
{
  if (f->a == MMA_F64)
    run_f64(f, d, a, b, c);
  else if (f->wmma)
    run_wmma(f, cc, fast, d, a, b, c);
  else if (f->d == MMA_S32)
    run_whole(f, d, a, b, c);
  else if (f->a == MMA_F16)
    run_pairs(f, cc, fast, d, a, b, c);
  else
    run_bytes(f, cc, fast, d, a, b, c);
}
