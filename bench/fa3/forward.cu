/* One of FlashAttention-3's forward kernels, launched by its own host code over random
 * input and held against fp64: what bench/fa3/emulate compiles once for each case, behind
 *   #define KERNEL …   the arguments of run_flash_fwd
 *   #define ELEMENT …  cutlass::bfloat16_t, cutlass::half_t or cutlass::float_e4m3_t
 * and runs as
 *   forward PTX DIM DIM_V CAUSAL LEFT B H HK SQ SK SEED
 * with the kernel's own PTX.  It prints one line of JSON, then the emulator's findings.
 * Tensors are [b][s][h][d]; FP8 ones have scales of 1, as none are given. */
#include "flash_fwd_launch_template.h"

#include "bench/fa3/cudart.h"

#include <attnc/attnc_emu.h>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

using Element = ELEMENT;
using Output = std::conditional_t<sizeof(Element) == 1, cutlass::bfloat16_t, Element>;

struct Problem {
  int dim, dim_v;
  bool causal;
  int left; /* keys before its own that a row sees; -1: all */
  int b, h, hk, sq, sk, seed;
};

[[noreturn]] static void
fail(const char *what, int status, const std::string &more = "")
{
  fprintf(stderr, "forward: %s: error %d%s%s\n", what, status, more.empty() ? "" : "\n",
          more.c_str());
  exit(2);
}

template <typename T> struct Array {
  std::vector<T> host;
  CUdeviceptr device = 0;

  explicit Array(size_t n) : host(n)
  {
    if (int r = cuMemAlloc(&device, bytes()))
      fail("cuMemAlloc", r);
  }

  size_t
  bytes() const
  {
    return host.size() * sizeof(T);
  }
  T *
  pointer() const
  {
    return reinterpret_cast<T *>(device);
  }

  void
  send()
  {
    if (int r = cuMemcpyHtoD(device, host.data(), bytes()))
      fail("cuMemcpyHtoD", r);
  }

  void
  fetch()
  {
    if (int r = cuMemcpyDtoH(host.data(), device, bytes()))
      fail("cuMemcpyDtoH", r);
  }

  void
  random(std::mt19937 &bits)
  {
    std::normal_distribution<float> normal;
    for (T &x : host)
      x = T(normal(bits));
    send();
  }
};

struct Tensors {
  Array<Element> q, k, v;
  Array<Output> o;
  Array<float> lse;
  Array<int> counter;

  explicit Tensors(const Problem &p)
      : q(size_t(p.b) * p.sq * p.h * p.dim), k(size_t(p.b) * p.sk * p.hk * p.dim),
        v(size_t(p.b) * p.sk * p.hk * p.dim_v), o(size_t(p.b) * p.sq * p.h * p.dim_v),
        lse(size_t(p.b) * p.h * p.sq), counter(1)
  {
    std::mt19937 bits(p.seed);
    q.random(bits), k.random(bits), v.random(bits);
    for (Output &x : o.host)
      x = Output(NAN);
    for (float &x : lse.host)
      x = NAN;
    o.send(), lse.send(), counter.send();
  }
};

/* Their host code ends the program where a launch fails; the findings say why. */
static std::string
findings()
{
  std::string text(attncEmuTakeFindings(nullptr, 0) + 1, 0);
  attncEmuTakeFindings(&text[0], text.size());
  return text.c_str();
}

static void
print_findings()
{
  fputs(findings().c_str(), stderr);
}

/* What its Python and flash_api.cpp fill in for fixed lengths. */
static Flash_fwd_params
params_of(const Problem &p, const Tensors &t)
{
  Flash_fwd_params f = {};
  f.q_ptr = t.q.pointer(), f.k_ptr = t.k.pointer(), f.v_ptr = t.v.pointer();
  f.o_ptr = t.o.pointer(), f.softmax_lse_ptr = t.lse.pointer();
  f.q_head_stride = f.k_head_stride = p.dim, f.v_head_stride = f.o_head_stride = p.dim_v;
  f.q_row_stride = int64_t(p.h) * p.dim, f.k_row_stride = int64_t(p.hk) * p.dim;
  f.v_row_stride = int64_t(p.hk) * p.dim_v, f.o_row_stride = int64_t(p.h) * p.dim_v;
  f.q_batch_stride = f.q_row_stride * p.sq, f.k_batch_stride = f.k_row_stride * p.sk;
  f.v_batch_stride = f.v_row_stride * p.sk, f.o_batch_stride = f.o_row_stride * p.sq;
  f.v_dim_stride = 1;
  f.b = f.b_k = p.b, f.h = p.h, f.h_k = p.hk, f.d = p.dim, f.dv = p.dim_v;
  f.seqlen_q = p.sq, f.seqlen_k = p.sk, f.total_q = p.b * p.sq, f.total_k = p.b * p.sk;
  f.scale_softmax = float(1 / std::sqrt(double(p.dim)));
  f.is_causal = p.causal, f.is_local = p.left >= 0;
  f.window_size_left = p.left >= 0 ? p.left : p.sk - 1;
  f.window_size_right = p.causal || p.left >= 0 ? 0 : p.sq - 1;
  f.num_splits = 1, f.arch = 90;
  f.tile_count_semaphore = t.counter.pointer();
  cuDeviceGetAttribute(&f.num_sm, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 0);
  return f;
}

/* A part of its bound; more than any where it is none. */
static double
worse(double worst, double now)
{
  return now >= 0 && now < 1e30 ? std::max(worst, now) : 1e30;
}

/* Of P and of O each is rounded to nearest. */
static double
roundings()
{
  return sizeof(Element) == 1                       ? 1.0 / 16 + 1.0 / 256
         : std::is_same_v<Element, cutlass::half_t> ? 1.0 / 1024
                                                    : 1.0 / 128;
}

/* A row of O in fp64, what its terms' sizes sum to, and its LSE. */
struct Row {
  std::vector<double> o, size;
  double lse = -INFINITY;
};

static std::vector<double>
scores(const Problem &p, const Tensors &t, int b, int h, int row, int first, int end)
{
  const Element *q = &t.q.host[((size_t(b) * p.sq + row) * p.h + h) * p.dim];
  std::vector<double> s;
  for (int j = first; j < end; j++) {
    const Element *k =
        &t.k.host[((size_t(b) * p.sk + j) * p.hk + h / (p.h / p.hk)) * p.dim];
    double x = 0;
    for (int i = 0; i < p.dim; i++)
      x += double(float(q[i])) * double(float(k[i]));
    s.push_back(x / std::sqrt(double(p.dim)));
  }
  return s;
}

static Row
reference(const Problem &p, const Tensors &t, int b, int h, int row)
{
  const int last = row + p.sk - p.sq, first = p.left >= 0 ? std::max(0, last - p.left) : 0;
  const int end = p.causal || p.left >= 0 ? std::min(p.sk, last + 1) : p.sk;
  Row r = {std::vector<double>(p.dim_v), std::vector<double>(p.dim_v)};
  if (first >= end)
    return r;
  const std::vector<double> s = scores(p, t, b, h, row, first, end);
  const double top = *std::max_element(s.begin(), s.end());
  double total = 0;
  for (double x : s)
    total += std::exp(x - top);
  for (int j = first; j < end; j++) {
    const Element *v =
        &t.v.host[((size_t(b) * p.sk + j) * p.hk + h / (p.h / p.hk)) * p.dim_v];
    for (int i = 0; i < p.dim_v; i++) {
      const double term = std::exp(s[j - first] - top) / total * double(float(v[i]));
      r.o[i] += term, r.size[i] += std::fabs(term);
    }
  }
  r.lse = top + std::log(total);
  return r;
}

struct Worst {
  double o = 0, lse = 0; /* of its bound; in units of 1e-4 */
};

static Worst
compare(const Problem &p, const Tensors &t)
{
  Worst w;
  for (int b = 0; b < p.b; b++)
    for (int h = 0; h < p.h; h++)
      for (int row = 0; row < p.sq; row++) {
        const Row r = reference(p, t, b, h, row);
        const Output *o = &t.o.host[((size_t(b) * p.sq + row) * p.h + h) * p.dim_v];
        for (int i = 0; i < p.dim_v; i++)
          w.o = worse(w.o, std::fabs(double(float(o[i])) - r.o[i]) /
                               (roundings() * r.size[i] + 1e-6));
        const double lse = t.lse.host[(size_t(b) * p.h + h) * p.sq + row];
        const bool none = std::isinf(r.lse) && std::isinf(lse);
        w.lse = worse(w.lse, none ? 0 : std::fabs(lse - r.lse) / 1e-4);
      }
  return w;
}

template <typename T>
static uint64_t
hashed(uint64_t h, const std::vector<T> &v) /* FNV-1a of its bytes */
{
  const unsigned char *bytes = reinterpret_cast<const unsigned char *>(v.data());
  for (size_t i = 0; i < v.size() * sizeof(T); i++)
    h = (h ^ bytes[i]) * 1099511628211u;
  return h;
}

static void
print_quoted(const std::string &text)
{
  for (char c : text)
    if (c == '\n')
      printf("\\n");
    else if (c)
      printf(c == '"' || c == '\\' ? "\\%c" : "%c", c);
}

int
main(int argc, char **argv)
{
  if (argc != 12)
    fail("usage: forward PTX DIM DIM_V CAUSAL LEFT B H HK SQ SK SEED", argc);
  int a[10];
  for (int i = 0; i < 10; i++)
    a[i] = atoi(argv[i + 2]);
  const Problem p = {a[0], a[1], a[2] != 0, a[3], a[4], a[5], a[6], a[7], a[8], a[9]};
  std::stringstream text;
  text << std::ifstream(argv[1]).rdbuf();
  atexit(print_findings);
  char log[4096] = "";
  if (int r = cudart_open(text.str().c_str(), log, sizeof log))
    fail("the module", r, log);
  Tensors t(p);
  Flash_fwd_params f = params_of(p, t);
  run_flash_fwd<KERNEL>(f, nullptr);
  if (int r = cuCtxSynchronize())
    fail("the kernel", r);
  t.o.fetch(), t.lse.fetch();
  const Worst w = compare(p, t);
  attncEmuStats stats = {};
  stats.size = sizeof stats;
  attncEmuGetStats(&stats);
  const uint64_t bits = hashed(hashed(1469598103934665603u, t.o.host), t.lse.host);
  printf("{\"error\": %.4f, \"lse_error\": %.4f, \"bits\": \"%016llx\", "
         "\"instructions\": %llu, \"seconds\": %.3f, \"findings\": \"",
         w.o, w.lse, (unsigned long long)bits, (unsigned long long)stats.warp_instructions,
         stats.host_seconds);
  print_quoted(findings());
  printf("\"}\n");
  return 0;
}
