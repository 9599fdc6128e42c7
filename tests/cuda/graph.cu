/* A graph of three steps, captured from a stream: a memset, a kernel that adds into it, a
 * kernel that reads what was added.  It is launched again and again. */
#include "host.h"

#ifdef __CUDACC__
extern "C" __global__ void
histogram(const unsigned *x, int n, unsigned *bins, int n_bins)
{
  for (int i = (int)(blockIdx.x * blockDim.x + threadIdx.x); i < n;
       i += (int)(gridDim.x * blockDim.x))
    atomicAdd(&bins[x[i] % (unsigned)n_bins], 1u);
}

extern "C" __global__ void
prefix(const unsigned *bins, unsigned *ends, int n_bins)
{
  if (threadIdx.x == 0)
    for (int i = 0, sum = 0; i < n_bins; i++)
      ends[i] = (unsigned)(sum += (int)bins[i]);
}
#endif

static void
run(void)
{
  enum { N = 3000, BINS = 17, BLOCKS = 4, THREADS = 96 };
  static unsigned x[N], got[BINS], want[BINS];
  uint32_t seed = 11;
  int n = N, n_bins = BINS;
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  for (int i = 0; i < N; i++) {
    x[i] = draw(&seed);
    want[x[i] % BINS]++;
  }
  for (int i = 1; i < BINS; i++)
    want[i] += want[i - 1];
  unsigned *dx = (unsigned *)device_copy(x, sizeof x),
           *bins = (unsigned *)device_zeros(sizeof got),
           *ends = (unsigned *)device_zeros(sizeof got);
  OK(cudaStreamCreate(&stream));
  OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  OK(cudaMemsetAsync(bins, 0, sizeof got, stream));
  LAUNCH(histogram, BLOCKS, THREADS, 0, stream, dx, n, bins, n_bins);
  LAUNCH(prefix, 1, 32, 0, stream, bins, ends, n_bins);
  OK(cudaStreamEndCapture(stream, &graph));
  OK(cudaGraphInstantiate(&exec, graph, 0));
  for (int again = 0; again < 3; again++) {
    OK(cudaGraphLaunch(exec, stream));
    OK(cudaStreamSynchronize(stream));
    OK(cudaMemcpy(got, ends, sizeof got, cudaMemcpyDeviceToHost));
    for (int i = 0; i < BINS; i++)
      CHECK(got[i] == want[i], "bin %d ends at %u, not %u", i, got[i], want[i]);
  }
  OK(cudaGraphExecDestroy(exec));
  OK(cudaGraphDestroy(graph));
  OK(cudaStreamDestroy(stream));
  OK(cudaFree(dx));
  OK(cudaFree(bins));
  OK(cudaFree(ends));
}

PROGRAM(graph, run)
