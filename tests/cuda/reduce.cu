// Sum, maximum and histogram of unsigned numbers, and block sums of floats: shuffles,
// shared memory between barriers, atomics on shared and on global memory.
// Blocks of 256 threads, any number of blocks.

enum { WARPS = 8, BINS = 61 };

static __device__ unsigned warp_sum(unsigned x)
{
  for (int d = 16; d > 0; d >>= 1)
    x += __shfl_xor_sync(0xffffffffu, x, d);
  return x;
}

static __device__ unsigned warp_max(unsigned x)
{
  for (int d = 16; d > 0; d >>= 1)
    x = max(x, __shfl_down_sync(0xffffffffu, x, d));
  return x;
}

extern "C" __global__ void __launch_bounds__(256)
reduce_u32(const unsigned *x, unsigned n, unsigned long long *sum, unsigned *top,
           unsigned *histogram)
{
  __shared__ unsigned sums[WARPS], tops[WARPS], bins[BINS];
  unsigned t = threadIdx.x, lane = t % 32, warp = t / 32, s = 0, m = 0;
  for (unsigned i = t; i < BINS; i += blockDim.x)
    bins[i] = 0;
  __syncthreads();
  for (unsigned i = blockIdx.x * blockDim.x + t; i < n; i += gridDim.x * blockDim.x) {
    s += x[i];
    m = max(m, x[i]);
    atomicAdd(&bins[x[i] % BINS], 1u);
  }
  s = warp_sum(s);
  m = warp_max(m);
  if (lane == 0) {
    sums[warp] = s;
    tops[warp] = m;
  }
  __syncthreads();
  if (warp == 0) {
    s = warp_sum(lane < WARPS ? sums[lane] : 0);
    m = warp_max(lane < WARPS ? tops[lane] : 0);
    if (lane == 0) {
      atomicAdd(sum, (unsigned long long)s);
      atomicMax(top, m);
    }
  }
  for (unsigned i = t; i < BINS; i += blockDim.x)
    if (bins[i] != 0)
      atomicAdd(&histogram[i], bins[i]);
}

// One float per block, added in a fixed order: a tree in shared memory, every level behind
// a barrier.
extern "C" __global__ void __launch_bounds__(256)
reduce_f32(const float *x, unsigned n, float *out)
{
  extern __shared__ float part[];
  unsigned t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
  part[t] = i < n ? x[i] : 0.0f;
  for (unsigned d = blockDim.x / 2; d > 0; d /= 2) {
    __syncthreads();
    if (t < d)
      part[t] += part[t + d];
  }
  if (t == 0)
    out[blockIdx.x] = part[0];
}
