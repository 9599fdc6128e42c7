/* wgmma_body.h: the sums of wgmma, included behind mma_body.h once per kind of CPU.
 *
 * Eight columns at a time: their elements are unpacked and split, C comes from the
 * registers, which have the fragments of mma.sync's m16n8 side by side.  One pass takes all
 * of k: 16 products of 16 bits, 8 of tf32, 32 of 8 bits. */

/* The elements of eight columns, as `split` wants them. */
static inline void
unpack_halves(uint8_t type, int n, const uint8_t *from, uint32_t *to)
{
  uint16_t h[MMA_N * MMA_K];
  memcpy(h, from, (size_t)n * sizeof *h);
  if (type == MMA_BF16)
    for (int i = 0; i < n; i++)
      to[i] = (uint32_t)h[i] << 16;
  else
    for (int i = 0; i < n; i++)
      to[i] = h[i];
}

static inline void
unpack_bytes(uint8_t type, const uint8_t *from, uint32_t *to)
{
  int up = type == MMA_E5M2 ? 8 : 0;
  for (int i = 0; i < MMA_N * WIDE_K; i++)
    to[i] = (uint32_t)from[i] << up;
}

static inline void
unpack_b(const MmaWide *w, int n0, uint32_t *b)
{
  if (w->rows) {
    for (int k = 0; k < w->k; k++)
      unpack_halves(w->tb, MMA_N, w->b + 2 * (k * w->n + n0), b + k * MMA_N);
    return;
  }
  const uint8_t *from = w->b + (size_t)n0 * 32;
  if (w->k == WIDE_K) {
    unpack_bytes(w->tb, from, b);
  } else if (w->tb == MMA_TF32) {
    memcpy(b, from, MMA_N * 32);
    for (int i = 0; i < MMA_N * 8; i++)
      b[i] &= 0xffffe000;
  } else {
    unpack_halves(w->tb, MMA_N * MMA_K, from, b);
  }
}

typedef struct WideSplit {
  float a[WIDE_K * MMA_M], b[WIDE_K * MMA_N], c[MMA_N * MMA_M];
  int32_t ea[WIDE_K * MMA_M], eb[WIDE_K * MMA_N], ec[MMA_N * MMA_M];
} WideSplit;

static inline __attribute__((always_inline)) void
wide_sums(const WideSplit *s, int k, int layout, int fraction, double *d)
{
  for (int n = 0; n < MMA_N; n++) {
    int b = layout == B_ROWS ? n : n * k, c = n * MMA_M;
    one_sum(s->a, s->ea, s->b + b, s->eb + b, s->c + c, s->ec + c, k, layout, fraction,
            d + c);
  }
}

static void
wide_not_finite(const MmaWide *w, const uint32_t *b, const uint32_t *c, uint32_t *out)
{
  for (int m = 0; m < MMA_M * MMA_N; m++) {
    int n = m / MMA_M;
    double sum = 0;
    for (int k = 0; k < w->k; k++)
      sum += (double)value(w->ta, w->a[k * MMA_M + m % MMA_M]) *
             (double)value(w->tb, b[w->rows ? k * MMA_N + n : n * w->k + k]);
    not_finite(sum + (double)value(w->cd, c[m]), w->cd == MMA_F16, &out[m]);
  }
}

/* Toward zero to `fraction` bits; what becomes zero is +0. */
static inline void
cut_f32(int fraction, int n, uint32_t *out)
{
  uint32_t keep = ~0u << (23 - fraction);
  for (int i = 0; i < n; i++) {
    uint32_t u = out[i] & keep;
    out[i] = (u & 0x7fffffff) ? u : 0;
  }
}

static inline void
wide_round(const MmaWide *w, const double *d, uint32_t *out)
{
  if (w->cd == MMA_F16)
    for (int i = 0; i < MMA_N * MMA_M; i++)
      out[i] = f16_of_double(d[i]);
  else
    round_f32(MMA_N * MMA_M, d, out);
  if (w->cd != MMA_F16 && w->cut)
    cut_f32(w->fraction, MMA_N * MMA_M, out);
}

static inline void
wide_c(const MmaWide *w, uint32_t *const *regs, uint32_t *c)
{
  if (w->zero)
    memset(c, 0, MMA_N * MMA_M * sizeof *c);
  else
    gather_c(w->cd, (const uint32_t *const *)regs, c);
}

static void
wide_block(const MmaWide *w, WideSplit *s, uint32_t bad, int n0, uint32_t *const *regs)
{
  uint32_t b[WIDE_K * MMA_N], c[MMA_N * MMA_M], out[MMA_N * MMA_M];
  double d[MMA_N * MMA_M];
  unpack_b(w, n0, b);
  wide_c(w, regs, c);
  bad |= worst(w->tb, w->k * MMA_N, b) | worst(w->cd, MMA_N * MMA_M, c);
  split(w->tb, w->k * MMA_N, b, s->b, s->eb);
  split(w->cd, MMA_N * MMA_M, c, s->c, s->ec);
  if (w->k == 8)
    wide_sums(s, 8, B_FLAT, w->fraction, d);
  else if (w->k == WIDE_K)
    wide_sums(s, WIDE_K, B_FLAT, w->fraction, d);
  else if (w->rows)
    wide_sums(s, MMA_K, B_ROWS, w->fraction, d);
  else
    wide_sums(s, MMA_K, B_FLAT, w->fraction, d);
  wide_round(w, d, out);
  if (bad)
    wide_not_finite(w, b, c, out);
  scatter_c(w->cd, out, regs);
}

static void
wide(const MmaWide *w)
{
  WideSplit s;
  int each = w->cd == MMA_F16 ? 2 : 4;
  uint32_t bad = worst(w->ta, w->k * MMA_M, w->a);
  split(w->ta, w->k * MMA_M, w->a, s.a, s.ea);
  for (int n = 0; n < w->n; n += MMA_N)
    wide_block(w, &s, bad, n, w->cd_rows + n / MMA_N * each);
}

/* ---- fast ---- */

static inline __attribute__((always_inline)) void
wide_fast_sums(const float *a, const float *b, float *c, int k, int layout)
{
  for (int n = 0; n < MMA_N; n++)
    ROWS
    {
      const float *from = b + (layout == B_ROWS ? n : n * k);
      float sum = c[n * MMA_M + i];
#pragma GCC unroll 32
      for (int j = 0; j < k; j++)
        sum += a[j * MMA_M + i] * from[mma_in_column(layout, j)];
      c[n * MMA_M + i] = sum;
    }
}

static void
wide_fast_block(const MmaWide *w, const float *a, int n0, uint32_t *const *regs)
{
  uint32_t u[WIDE_K * MMA_N], out[MMA_N * MMA_M];
  float b[WIDE_K * MMA_N], c[MMA_N * MMA_M];
  unpack_b(w, n0, u);
  wide_c(w, regs, out);
  values(w->tb, w->k * MMA_N, u, b);
  values(w->cd, MMA_N * MMA_M, out, c);
  if (w->k == 8)
    wide_fast_sums(a, b, c, 8, B_FLAT);
  else if (w->k == WIDE_K)
    wide_fast_sums(a, b, c, WIDE_K, B_FLAT);
  else if (w->rows)
    wide_fast_sums(a, b, c, MMA_K, B_ROWS);
  else
    wide_fast_sums(a, b, c, MMA_K, B_FLAT);
  if (w->cd == MMA_F16)
    for (int i = 0; i < MMA_N * MMA_M; i++)
      out[i] = c[i] != c[i] ? 0x7fff : f16_of_double((double)c[i]);
  else
    for (int i = 0; i < MMA_N * MMA_M; i++)
      out[i] = c[i] != c[i] ? 0x7fffffff : bits_of(c[i]);
  scatter_c(w->cd, out, regs);
}

static void
wide_fast(const MmaWide *w)
{
  float a[WIDE_K * MMA_M];
  int each = w->cd == MMA_F16 ? 2 : 4;
  values(w->ta, w->k * MMA_M, w->a, a);
  for (int n = 0; n < w->n; n += MMA_N)
    wide_fast_block(w, a, n, w->cd_rows + n / MMA_N * each);
}
