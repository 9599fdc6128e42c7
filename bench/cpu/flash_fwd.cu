// Causal attention forward for bf16, head_dim 128, at FlashAttention-2's level of design: what
// a compiler of CUDA C++ is given where attnc is given a spec.  The same work as attnc's kernel
// for `dtype: bf16, head_dim: 128, causal: true` with tiles of 128 x 64 and 8 warps: mma.sync
// fed by ldmatrix from swizzled shared memory, two stages of K and V filled by cp.async, Q in
// registers, softmax in fp32 with the scale folded into exp2, a masked and an unmasked body,
// ragged lengths, sq != sk aligned at the last query and key, grouped heads, any strides.
//
// Includes nothing, so that nvcc and NVRTC read the same text and no headers of ours.
// Grid: (ceil(sq / 128), h, b); 256 threads; 98304 bytes of shared memory.

typedef unsigned short bits16;
typedef long long i64;
enum { BM = 128, BN = 64, D = 128, WARPS = 8, THREADS = WARPS * 32, STAGES = 2 };
enum { CHUNKS = D / 8, NT = BN / 8, DT = D / 8, KT = D / 16 };  // 16-byte chunks; mma tiles

struct Tensor {
  bits16 *at;
  i64 b, h, s;  // strides in elements
};

// ---- instructions ----

static __device__ __forceinline__ void copy16(unsigned to, const bits16 *from, bool there)
{
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :: "r"(to), "l"(from), "r"(there ? 16 : 0) : "memory");
}

static __device__ __forceinline__ void commit()
{
  asm volatile("cp.async.commit_group;" ::: "memory");
}

template <int pending>
static __device__ __forceinline__ void wait_all_but()
{
  asm volatile("cp.async.wait_group %0;" :: "n"(pending) : "memory");
}

static __device__ __forceinline__ void load4(unsigned r[4], unsigned at)
{
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}

static __device__ __forceinline__ void load4_trans(unsigned r[4], unsigned at)
{
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}

static __device__ __forceinline__ void mma(float c[4], const unsigned a[4], unsigned b0,
                                           unsigned b1)
{
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
               "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

static __device__ __forceinline__ float exp2_of(float x)
{
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

static __device__ __forceinline__ unsigned pack(float low, float high)
{
  unsigned r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}

// ---- shared memory: rows of 16 chunks, the chunk's number xor-ed with the row's ----

static __device__ __forceinline__ unsigned chunk_at(unsigned tile, int row, int chunk)
{
  return tile + (unsigned)(row * CHUNKS + (chunk ^ (row & 7))) * 16;
}

template <int ROWS>
static __device__ __forceinline__ void fill(unsigned tile, const bits16 *from, i64 stride,
                                            int row0, int rows)
{
#pragma unroll
  for (int i = 0; i < ROWS * CHUNKS / THREADS; i++) {
    int n = i * THREADS + (int)threadIdx.x, row = n / CHUNKS, chunk = n % CHUNKS;
    bool there = row0 + row < rows;
    copy16(chunk_at(tile, row, chunk), from + (there ? (row0 + row) * stride : 0) + chunk * 8,
           there);
  }
}

// ---- one tile of keys ----

struct State {
  unsigned q[KT][4];   // this warp's 16 rows of Q
  float o[DT][4];      // accumulators: rows r and r + 8 of lane / 4
  float top[2], sum[2];
};

static __device__ __forceinline__ void scores(float s[NT][4], const unsigned q[KT][4],
                                              unsigned k, int lane)
{
#pragma unroll
  for (int n = 0; n < NT; n++)
    s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
#pragma unroll
  for (int kk = 0; kk < KT; kk++)
#pragma unroll
    for (int n = 0; n < NT; n += 2) {
      unsigned b[4];
      load4(b, chunk_at(k, n * 8 + (lane / 16) * 8 + lane % 8, kk * 2 + lane / 8 % 2));
      mma(s[n], q[kk], b[0], b[1]);
      mma(s[n + 1], q[kk], b[2], b[3]);
    }
}

// first: kv_idx of this lane's first score; last: the last key that its two rows see.
static __device__ __forceinline__ void hide(float s[NT][4], int first, const int last[2])
{
#pragma unroll
  for (int n = 0; n < NT; n++)
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (first + n * 8 + i % 2 > last[i / 2])
        s[n][i] = -__int_as_float(0x7f800000);
}

static __device__ __forceinline__ float row_max(float x)
{
  x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xffffffff, x, 2));
}

static __device__ __forceinline__ float row_sum(float x)
{
  x += __shfl_xor_sync(0xffffffff, x, 1);
  return x + __shfl_xor_sync(0xffffffff, x, 2);
}

static __device__ __forceinline__ void softmax(State *st, float s[NT][4], float scale)
{
#pragma unroll
  for (int r = 0; r < 2; r++) {
    float top = st->top[r];
#pragma unroll
    for (int n = 0; n < NT; n++)
      top = fmaxf(top, fmaxf(s[n][2 * r], s[n][2 * r + 1]));
    top = row_max(top);
    float base = top == -__int_as_float(0x7f800000) ? 0 : top * scale;  // nothing seen yet
    float keep = exp2_of(st->top[r] * scale - base), sum = 0;
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
      for (int i = 2 * r; i < 2 * r + 2; i++) {
        s[n][i] = exp2_of(s[n][i] * scale - base);
        sum += s[n][i];
      }
    st->sum[r] = st->sum[r] * keep + sum;
    st->top[r] = top;
#pragma unroll
    for (int n = 0; n < DT; n++) {
      st->o[n][2 * r] *= keep;
      st->o[n][2 * r + 1] *= keep;
    }
  }
}

static __device__ __forceinline__ void values(State *st, const float p[NT][4], unsigned v,
                                              int lane)
{
#pragma unroll
  for (int kk = 0; kk < BN / 16; kk++) {
    unsigned a[4] = {pack(p[2 * kk][0], p[2 * kk][1]), pack(p[2 * kk][2], p[2 * kk][3]),
                     pack(p[2 * kk + 1][0], p[2 * kk + 1][1]),
                     pack(p[2 * kk + 1][2], p[2 * kk + 1][3])};
#pragma unroll
    for (int n = 0; n < DT; n += 2) {
      unsigned b[4];
      load4_trans(b, chunk_at(v, kk * 16 + lane % 16, n + lane / 16));
      mma(st->o[n], a, b[0], b[1]);
      mma(st->o[n + 1], a, b[2], b[3]);
    }
  }
}

struct Walk {
  unsigned k, v;  // the first stages
  const bits16 *from_k, *from_v;
  i64 stride_k, stride_v;
  int sk, lane;
  float scale;
};

static __device__ __forceinline__ unsigned stage(unsigned first, int j)
{
  return first + (unsigned)(j % STAGES) * (BN * D * 2);
}

template <bool masked>
static __device__ __forceinline__ void visit(State *st, const Walk *w, int j, const int last[2])
{
  float s[NT][4];
  wait_all_but<1>();  // K of this tile is there, its V may be on the way
  __syncthreads();
  scores(s, st->q, stage(w->k, j), w->lane);
  if (j > 0)
    fill<BN>(stage(w->k, j - 1), w->from_k, w->stride_k, (j - 1) * BN, w->sk);
  commit();
  if (masked)
    hide(s, j * BN + w->lane % 4 * 2, last);
  softmax(st, s, w->scale);
  wait_all_but<1>();
  __syncthreads();
  values(st, s, stage(w->v, j), w->lane);
  if (j > 0)
    fill<BN>(stage(w->v, j - 1), w->from_v, w->stride_v, (j - 1) * BN, w->sk);
  commit();
}

// ---- the end: through shared memory, so that rows are written 16 bytes a lane ----

static __device__ __forceinline__ void finish(State *st, unsigned tile, bits16 *to, i64 stride,
                                              int row0, int rows, int lane)
{
  float inverse[2];
#pragma unroll
  for (int r = 0; r < 2; r++) {
    float sum = row_sum(st->sum[r]);
    inverse[r] = sum > 0 ? 1 / sum : 0;
  }
#pragma unroll
  for (int n = 0; n < DT; n++)
#pragma unroll
    for (int r = 0; r < 2; r++)
      asm volatile("st.shared.b32 [%0], %1;"
                   :: "r"(chunk_at(tile, lane / 4 + 8 * r, n) + lane % 4 * 4),
                      "r"(pack(st->o[n][2 * r] * inverse[r], st->o[n][2 * r + 1] * inverse[r]))
                   : "memory");
  __syncwarp();
#pragma unroll
  for (int i = 0; i < 16 * CHUNKS / 32; i++) {
    int row = i * 2 + lane / 16, chunk = lane % 16;
    unsigned x[4];
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(chunk_at(tile, row, chunk)) : "memory");
    if (row0 + row < rows)
      asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};"
                   :: "l"(to + (row0 + row) * stride + chunk * 8), "r"(x[0]), "r"(x[1]),
                      "r"(x[2]), "r"(x[3]) : "memory");
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
flash_fwd(Tensor q, Tensor k, Tensor v, Tensor o, int h, int hk, int sq, int sk, float scale)
{
  extern __shared__ __align__(128) char memory[];
  const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
  const int row0 = (int)blockIdx.x * BM, head = (int)blockIdx.y, batch = (int)blockIdx.z;
  const int head_k = head / (h / hk), mine = row0 + warp * 16, shift = sk - sq;
  const unsigned base = (unsigned)__cvta_generic_to_shared(memory);
  const unsigned tile_q = base + STAGES * 2 * BN * D * 2;
  State st;
  Walk w;
  w.k = base;
  w.v = base + STAGES * BN * D * 2;
  w.from_k = k.at + batch * k.b + head_k * k.h;
  w.from_v = v.at + batch * v.b + head_k * v.h;
  w.stride_k = k.s;
  w.stride_v = v.s;
  w.sk = sk;
  w.lane = lane;
  w.scale = scale * 1.4426950408889634f;

  const int seen = min(sk, row0 + BM + shift);            // keys that the last row sees
  const int whole = max(0, min(sk, row0 + 1 + shift)) / BN;  // tiles that every row sees all of
  int j = seen > 0 ? (seen + BN - 1) / BN - 1 : -1;
  fill<BM>(tile_q, q.at + batch * q.b + head * q.h, q.s, row0, sq);
  if (j >= 0)
    fill<BN>(stage(w.k, j), w.from_k, w.stride_k, j * BN, sk);
  commit();
  if (j >= 0)
    fill<BN>(stage(w.v, j), w.from_v, w.stride_v, j * BN, sk);
  commit();
  wait_all_but<1>();
  __syncthreads();
#pragma unroll
  for (int kk = 0; kk < KT; kk++)
    load4(st.q[kk], chunk_at(tile_q, warp * 16 + lane % 16, kk * 2 + lane / 16));
#pragma unroll
  for (int n = 0; n < DT; n++)
    st.o[n][0] = st.o[n][1] = st.o[n][2] = st.o[n][3] = 0;
  st.top[0] = st.top[1] = -__int_as_float(0x7f800000);
  st.sum[0] = st.sum[1] = 0;
  const int last[2] = {min(sk - 1, mine + lane / 4 + shift),
                       min(sk - 1, mine + lane / 4 + 8 + shift)};
  for (; j >= whole; j--)
    visit<true>(&st, &w, j, last);
  for (; j >= 0; j--)
    visit<false>(&st, &w, j, last);
  wait_all_but<0>();
  finish(&st, tile_q + warp * 16 * D * 2, o.at + batch * o.b + head * o.h, o.s, mine, sq, lane);
}
