/* Lanes of a warp that exchange values: shuffles, votes, matches, reductions, and shared
 * memory between two __syncwarp. */
#include "host.h"

#ifdef __CUDACC__
extern "C" __global__ void
exchange(const unsigned *x, unsigned *out)
{
  __shared__ unsigned swap[4][32];
  unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, v = x[threadIdx.x], all = ~0u;
  unsigned sum = v;
  for (int d = 16; d; d /= 2)
    sum += __shfl_xor_sync(all, sum, d);
  unsigned prefix = v;
  for (int d = 1; d < 32; d *= 2) {
    unsigned below = __shfl_up_sync(all, prefix, d);
    prefix += lane >= (unsigned)d ? below : 0;
  }
  unsigned odd = __ballot_sync(all, v & 1), same = __match_any_sync(all, v % 5);
  unsigned most = __reduce_max_sync(all, v), mixed = 0;
  if (lane < 12) { /* some of them alone */
    mixed = __shfl_sync(0xfff, v, (lane + 3) % 12);
    mixed ^= __reduce_add_sync(0xfff, lane);
  }
  swap[warp][lane] = v;
  __syncwarp();
  unsigned other = swap[warp][31 - lane];
  __syncwarp();
  swap[warp][lane] = other + 1;
  __syncwarp();
  other = swap[warp][lane ^ 1];
  unsigned *o = out + 8 * threadIdx.x;
  o[0] = sum;
  o[1] = prefix;
  o[2] = odd;
  o[3] = same;
  o[4] = most;
  o[5] = mixed;
  o[6] = other;
  o[7] = (unsigned)__all_sync(all, v < 1u << 24) + 2 * (unsigned)__any_sync(all, v == x[0]);
}
#endif

static void
check_lane(const unsigned *x, unsigned lane, const unsigned *got, unsigned first)
{
  unsigned want[8] = {0};
  for (unsigned i = 0; i < 32; i++) {
    want[0] += x[i];
    want[1] += i <= lane ? x[i] : 0;
    want[2] |= (x[i] & 1) << i;
    want[3] |= (unsigned)(x[i] % 5 == x[lane] % 5) << i;
    want[4] = x[i] > want[4] ? x[i] : want[4];
    want[7] |= 1 + 2 * (unsigned)(x[i] == first);
  }
  if (lane < 12)
    want[5] = x[(lane + 3) % 12] ^ 66;
  want[6] = x[31 - (lane ^ 1)] + 1;
  for (int k = 0; k < 8; k++)
    CHECK(got[k] == want[k], "lane %u, value %d: %u, not %u", lane, k, got[k], want[k]);
}

static void
run(void)
{
  enum { THREADS = 128 };
  static unsigned x[THREADS], got[8 * THREADS];
  uint32_t seed = 31;
  for (int i = 0; i < THREADS; i++)
    x[i] = draw(&seed);
  unsigned *dx = (unsigned *)device_copy(x, sizeof x),
           *out = (unsigned *)device_zeros(sizeof got);
  LAUNCH(exchange, 1, THREADS, 0, 0, dx, out);
  OK(cudaDeviceSynchronize());
  take_back(got, out, sizeof got);
  OK(cudaFree(dx));
  for (unsigned t = 0; t < THREADS; t++)
    check_lane(x + t / 32 * 32, t % 32, got + 8 * t, x[0]);
}

PROGRAM(warp, run)
