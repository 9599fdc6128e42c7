// C = A * B in f32, A [m, k] and B [k, n] row by row in f16 or bf16, k and n multiples of 8:
// mma.sync m16n8k16 fed by ldmatrix (A) and ldmatrix.trans (B) from two stages of shared
// memory, which cp.async fills and pads with zeros.
// A block of 128 threads makes 64 x 64 of C, each warp 32 x 32.

typedef unsigned short half_bits;
enum { BM = 64, BN = 64, BK = 32, AP = BK + 8, BP = BN + 8 }; // AP, BP: padded rows

static __device__ unsigned shared_at(const void *p)
{
  return (unsigned)__cvta_generic_to_shared(p);
}

static __device__ void copy16(half_bits *to, const half_bits *from, bool there)
{
  int bytes = there ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :: "r"(shared_at(to)), "l"(from), "r"(bytes) : "memory");
}

static __device__ void load_a(unsigned r[4], const half_bits *p)
{
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_at(p)) : "memory");
}

static __device__ void load_b(unsigned r[4], const half_bits *p)
{
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_at(p)) : "memory");
}

template <bool bf16>
static __device__ void mma(float c[4], const unsigned a[4], const unsigned b[2])
{
  if (bf16)
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

struct Stage {
  half_bits a[BM * AP], b[BK * BP];
};

static __device__ void fill(Stage *s, const half_bits *a, const half_bits *b, int m, int n,
                            int k, int m0, int n0, int k0)
{
  for (int i = threadIdx.x; i < BM * BK / 8; i += 128) {
    int r = i / (BK / 8), c = i % (BK / 8) * 8;
    bool there = m0 + r < m && k0 + c < k;
    copy16(&s->a[r * AP + c], there ? a + (long long)(m0 + r) * k + k0 + c : a, there);
  }
  for (int i = threadIdx.x; i < BK * BN / 8; i += 128) {
    int r = i / (BN / 8), c = i % (BN / 8) * 8;
    bool there = k0 + r < k && n0 + c < n;
    copy16(&s->b[r * BP + c], there ? b + (long long)(k0 + r) * n + n0 + c : b, there);
  }
}

template <bool bf16>
static __device__ void use(const Stage *s, float c[2][4][4])
{
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int row = warp / 2 * 32 + lane % 16, col = warp % 2 * 32 + lane / 16 * 8;
#pragma unroll
  for (int k = 0; k < BK; k += 16) {
    unsigned a[2][4], b[2][4];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      load_a(a[i], &s->a[(row + 16 * i) * AP + k + lane / 16 * 8]);
      load_b(b[i], &s->b[(k + lane % 16) * BP + col + 16 * i]);
    }
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
      for (int j = 0; j < 4; j++)
        mma<bf16>(c[i][j], a[i], &b[j / 2][j % 2 * 2]);
  }
}

template <bool bf16>
static __device__ void gemm(const half_bits *a, const half_bits *b, float *out, int m, int n,
                            int k)
{
  __shared__ __align__(16) Stage stage[2];
  int m0 = blockIdx.y * BM, n0 = blockIdx.x * BN, steps = (k + BK - 1) / BK;
  float c[2][4][4] = {};
  fill(&stage[0], a, b, m, n, k, m0, n0, 0);
  asm volatile("cp.async.commit_group;" ::: "memory");
  for (int i = 0; i < steps; i++) {
    if (i + 1 < steps)
      fill(&stage[(i + 1) % 2], a, b, m, n, k, m0, n0, (i + 1) * BK);
    asm volatile("cp.async.commit_group;" ::: "memory");
    asm volatile("cp.async.wait_group 1;" ::: "memory");
    __syncthreads();
    use<bf16>(&stage[i % 2], c);
    __syncthreads();
  }
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int i = 0; i < 2; i++)
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        int r = m0 + warp / 2 * 32 + 16 * i + lane / 4 + e / 2 * 8;
        int col = n0 + warp % 2 * 32 + 8 * j + lane % 4 * 2 + e % 2;
        if (r < m && col < n)
          out[(long long)r * n + col] = c[i][j][e];
      }
}

extern "C" __global__ void __launch_bounds__(128)
gemm_f16(const half_bits *a, const half_bits *b, float *c, int m, int n, int k)
{
  gemm<false>(a, b, c, m, n, k);
}

extern "C" __global__ void __launch_bounds__(128)
gemm_bf16(const half_bits *a, const half_bits *b, float *c, int m, int n, int k)
{
  gemm<true>(a, b, c, m, n, k);
}
