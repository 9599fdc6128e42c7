/* Attention, forward, in the manner of FlashAttention-2: one warp has 16 queries, keys come in
 * blocks of 16, products are mma.sync, the softmax is kept up to date block by block. */
#include "host.h"

enum { D = 32, BLOCK = 16 };

#ifdef __CUDACC__
#include <cuda_fp16.h>

__device__ static void
mma(float d[4], const unsigned a[4], const unsigned b[2])
{
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
      "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ static unsigned
pair(float low, float high)
{
  __half2 h = __floats2half2_rn(low, high);
  return *(unsigned *)&h;
}

/* Over the four lanes that share a row. */
__device__ static float
row_max(float v)
{
  v = fmaxf(v, __shfl_xor_sync(~0u, v, 1));
  return fmaxf(v, __shfl_xor_sync(~0u, v, 2));
}

__device__ static float
row_sum(float v)
{
  v += __shfl_xor_sync(~0u, v, 1);
  return v + __shfl_xor_sync(~0u, v, 2);
}

/* Query, key and value are rows of D floats; causal. */
extern "C" __global__ void
attend(const float *q, const float *k, const float *v, float *o, int n, float scale)
{
  int group = (int)threadIdx.x / 4, member = (int)threadIdx.x % 4 * 2;
  int first = (int)blockIdx.x * BLOCK;
  unsigned qa[D / 16][4], pa[4];
  float acc[D / 8][4] = {}, m[2] = {-INFINITY, -INFINITY}, l[2] = {0, 0};
  for (int c = 0; c < D / 16; c++)
    for (int i = 0; i < 4; i++) {
      const float *p = q + (first + group + i % 2 * 8) * D + 16 * c + member + i / 2 * 8;
      qa[c][i] = pair(p[0] * scale, p[1] * scale);
    }
  for (int key = 0; key <= first; key += BLOCK) {
    float s[2][4] = {};
    for (int h = 0; h < 2; h++)
      for (int c = 0; c < D / 16; c++) {
        const float *p = k + (key + 8 * h + group) * D + 16 * c + member;
        const unsigned b[2] = {pair(p[0], p[1]), pair(p[8], p[9])};
        mma(s[h], qa[c], b);
      }
    for (int r = 0; r < 2; r++) { /* rows group and group + 8 */
      float most = m[r];
      for (int h = 0; h < 2; h++)
        for (int i = 0; i < 2; i++) {
          float *x = &s[h][2 * r + i];
          if (key + 8 * h + member + i > first + group + 8 * r)
            *x = -INFINITY;
          most = fmaxf(most, *x);
        }
      most = row_max(most);
      float shrink = exp2f(m[r] - most), sum = 0;
      for (int h = 0; h < 2; h++)
        for (int i = 0; i < 2; i++)
          sum += s[h][2 * r + i] = exp2f(s[h][2 * r + i] - most);
      l[r] = l[r] * shrink + row_sum(sum);
      m[r] = most;
      for (int c = 0; c < D / 8; c++)
        for (int i = 0; i < 2; i++)
          acc[c][2 * r + i] *= shrink;
    }
    for (int h = 0; h < 2; h++)
      for (int r = 0; r < 2; r++)
        pa[2 * h + r] = pair(s[h][2 * r], s[h][2 * r + 1]);
    for (int c = 0; c < D / 8; c++) {
      const float *p = v + (key + member) * D + 8 * c + group;
      const unsigned b[2] = {pair(p[0], p[D]), pair(p[8 * D], p[9 * D])};
      mma(acc[c], pa, b);
    }
  }
  for (int r = 0; r < 2; r++)
    for (int c = 0; c < D / 8; c++)
      for (int i = 0; i < 2; i++)
        if (first + group + 8 * r < n)
          o[(first + group + 8 * r) * D + 8 * c + member + i] = acc[c][2 * r + i] / l[r];
}
#endif

/* The largest error of one row, in double precision. */
static double
row_error(const float *q, const float *k, const float *v, const float *o, int row,
          double scale)
{
  double out[D] = {0}, sum = 0, worst = 0;
  for (int j = 0; j <= row; j++) {
    double s = 0;
    for (int c = 0; c < D; c++)
      s += (double)q[row * D + c] * (double)k[j * D + c];
    s = exp2(s * scale);
    sum += s;
    for (int c = 0; c < D; c++)
      out[c] += s * (double)v[j * D + c];
  }
  for (int c = 0; c < D; c++) {
    double e = fabs(out[c] / sum - (double)o[row * D + c]);
    worst = e > worst || e != e ? e : worst;
  }
  return worst;
}

static void
run(void)
{
  enum { N = 80 };
  static float q[N * D], k[N * D], v[N * D], o[N * D];
  uint32_t seed = 41;
  int n = N;
  float scale = 1.4426950f / 5.6568542f; /* log2 e / sqrt D */
  for (int i = 0; i < N * D; i++) {
    q[i] = 2 * draw_float(&seed);
    k[i] = 2 * draw_float(&seed);
    v[i] = draw_float(&seed);
  }
  float *dq = (float *)device_copy(q, sizeof q), *dk = (float *)device_copy(k, sizeof k),
        *dv = (float *)device_copy(v, sizeof v), *out = (float *)device_zeros(sizeof o);
  LAUNCH(attend, N / BLOCK, 32, 0, 0, dq, dk, dv, out, n, scale);
  OK(cudaDeviceSynchronize());
  take_back(o, out, sizeof o);
  OK(cudaFree(dq));
  OK(cudaFree(dk));
  OK(cudaFree(dv));
  for (int i = 0; i < N; i++) {
    /* Halves round queries and weights by 2^-11 each; |v| <= 1 and scores are below 12. */
    double e = row_error(q, k, v, o, i, (double)scale);
    CHECK(e < 8e-3, "row %d is off by %g", i, e);
  }
}

PROGRAM(attention, run)
