/* Kernels of another compiler, through the bare driver functions: tests/cuda/README.md.
 * On the emulator, or on the driver that ATTNC_LIBCUDA names. */
#include "tests/e2e/device.h"
#include "tests/e2e/mutant.h"
#include "tests/e2e/number.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static Device dev;

#define OK(call) assert_int_equal(dev.call, CUDA_SUCCESS)

/* The committed PTX, malloc'd. */
static char *
ptx(const char *name)
{
  char path[1024];
  snprintf(path, sizeof path, SOURCE_DIR "/tests/cuda/%s.ptx", name);
  FILE *f = fopen(path, "rb");
  assert_non_null(f);
  char *text = calloc(1, 1 << 20);
  assert_non_null(text);
  assert_true(fread(text, 1, (1 << 20) - 1, f) > 0);
  fclose(f);
  return text;
}

static CUmodule
load(const char *text)
{
  char said[2000] = "";
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {said, (void *)(uintptr_t)sizeof said};
  CUmodule m = NULL;
  CUresult r = dev.cuModuleLoadDataEx(&m, text, 2, options, values);
  if (r)
    fail_msg("cuModuleLoadDataEx: %s: %s", device_result(&dev, r), said);
  return m;
}

static CUmodule
module(const char *name)
{
  char *text = ptx(name);
  CUmodule m = load(text);
  free(text);
  return m;
}

static CUfunction
function(CUmodule m, const char *name)
{
  CUfunction f = NULL;
  OK(cuModuleGetFunction(&f, m, name));
  return f;
}

/* Device memory holding n bytes of `from`; NULL: n bytes of 0. */
static CUdeviceptr
put(const void *from, size_t n)
{
  CUdeviceptr p = 0;
  OK(cuMemAlloc_v2(&p, n));
  if (from)
    OK(cuMemcpyHtoD_v2(p, from, n));
  else
    OK(cuMemsetD8_v2(p, 0, n));
  return p;
}

static void
take(void *to, CUdeviceptr p, size_t n)
{
  OK(cuMemcpyDtoH_v2(to, p, n));
  OK(cuMemFree_v2(p));
}

static void
launch(CUfunction f, unsigned gx, unsigned gy, unsigned threads, unsigned shared,
       void **params)
{
  char text[4096];
  OK(cuLaunchKernel(f, gx, gy, 1, threads, 1, 1, shared, NULL, params, NULL));
  OK(cuCtxSynchronize());
  if (device_findings(&dev, text, sizeof text))
    fail_msg("findings:\n%s", text);
}

/* ---- reduce.cu ---- */

enum { BINS = 61 };

static void
reduce_one(CUfunction f, unsigned n, unsigned blocks)
{
  Random r = {n};
  uint32_t *x = malloc(4 * (size_t)n), top = 0, bins[BINS] = {0}, got_top, got[BINS];
  uint64_t sum = 0, got_sum;
  assert_non_null(x);
  for (unsigned i = 0; i < n; i++) {
    x[i] = (uint32_t)number_bits(&r) >> 20; /* a block sums them in 32 bits */
    sum += x[i];
    top = x[i] > top ? x[i] : top;
    bins[x[i] % BINS]++;
  }
  CUdeviceptr dx = put(x, 4 * (size_t)n), ds = put(NULL, 8), dt = put(NULL, 4),
              db = put(NULL, sizeof bins);
  launch(f, blocks, 1, 256, 0, (void *[]){&dx, &n, &ds, &dt, &db});
  take(x, dx, 4 * (size_t)n);
  take(&got_sum, ds, 8);
  take(&got_top, dt, 4);
  take(got, db, sizeof got);
  assert_true(got_sum == sum);
  assert_int_equal(got_top, top);
  assert_memory_equal(got, bins, sizeof bins);
  free(x);
}

static void
reduce_integers(void **state)
{
  static const unsigned sizes[] = {1, 31, 256, 1000, 100003}, blocks[] = {1, 3, 8};
  CUmodule m = module("reduce");
  (void)state;
  for (int i = 0; i < 5; i++)
    for (int j = 0; j < 3; j++)
      reduce_one(function(m, "reduce_u32"), sizes[i], blocks[j]);
  OK(cuModuleUnload(m));
}

/* The same tree on the CPU: additions in the same order, so the same bits. */
static float
tree(const float *x, unsigned n, unsigned block, unsigned threads)
{
  float part[512];
  for (unsigned t = 0; t < threads; t++)
    part[t] = block * threads + t < n ? x[block * threads + t] : 0.0f;
  for (unsigned d = threads / 2; d > 0; d /= 2)
    for (unsigned t = 0; t < d; t++)
      part[t] += part[t + d];
  return part[0];
}

static void
reduce_floats(void **state)
{
  enum { N = 5000 };
  CUmodule m = module("reduce");
  float x[N], got[N];
  Random r = {7};
  (void)state;
  for (int i = 0; i < N; i++)
    x[i] = number_normal(&r);
  for (unsigned threads = 32; threads <= 256; threads *= 2) {
    unsigned n = N - threads / 3, blocks = (n + threads - 1) / threads;
    CUdeviceptr dx = put(x, sizeof x), out = put(NULL, 4 * blocks);
    launch(function(m, "reduce_f32"), blocks, 1, threads, 4 * threads,
           (void *[]){&dx, &n, &out});
    take(got, out, 4 * blocks);
    OK(cuMemFree_v2(dx));
    for (unsigned b = 0; b < blocks; b++)
      assert_true(got[b] == tree(x, n, b, threads));
  }
  OK(cuModuleUnload(m));
}

/* ---- divergent.cu ---- */

typedef struct Walked {
  uint32_t steps, peak, turn, jump;
} Walked;

static uint32_t
turn(uint32_t kind, uint32_t x, uint32_t s)
{
  uint32_t r = 0;
  switch (kind) {
  case 0:
    return x + s;
  case 1:
    return x ^ s << 7;
  case 2:
    return x * 2654435761u;
  case 3:
    return (uint32_t)__builtin_popcount(x) + s;
  case 4:
    for (int i = 0; i < 32; i++)
      r |= (x >> i & 1) << (31 - i);
    return r - s;
  case 5:
    return (uint32_t)__builtin_clz(x | 1) * s;
  case 6:
    return s & 31 ? x >> (s & 31) | x << (32 - (s & 31)) : x;
  case 7:
    return x / (s + 1);
  case 8:
    return x % (s + 3);
  case 9:
    return x > s ? x - s : s - x;
  case 10:
    return x < s * s * s ? x : s * s * s;
  default:
    return ~x;
  }
}

/* The jump table's arms, from the PTX ISA's definitions; A3 leaves to A1 or A4. */
static uint32_t
jump(uint32_t arm, uint32_t x, uint32_t s)
{
  uint64_t pool = (uint64_t)s << 32 | x;
  uint32_t k = s & 31, r = 0;
  if (arm == 0)
    return x * s + 17;
  if (arm == 1 || (arm == 3 && x > 0x10000))
    return k ? s << k | x >> (32 - k) : s;
  if (arm == 2)
    return x ^ s ^ 0x0f0f0f0fu;
  for (int i = 0; i < 4; i++)
    r |= (uint32_t)(pool >> 8 * (0x2514 >> 4 * i & 7) & 255) << 8 * i;
  return r;
}

static Walked
walk(uint32_t start, uint32_t limit)
{
  Walked w = {.peak = start};
  uint32_t v = start;
  while (v > 1) {
    if (v & 1 && v > 0x55555554u)
      break;
    v = v & 1 ? 3 * v + 1 : v >> 1;
    w.peak = v > w.peak ? v : w.peak;
    if (++w.steps == limit || (start % 7 == 3 && w.steps > start % 64))
      break;
  }
  w.turn = turn((start + w.steps) % 13, v ^ start, w.steps);
  w.jump = jump((start ^ w.steps) % 5, v ^ start, w.steps);
  return w;
}

static void
divergent_one(CUfunction f, uint32_t n, uint32_t limit)
{
  enum { MAX = 2048 };
  uint32_t x[MAX], steps[MAX], peak[MAX], turned[MAX], jumped[MAX], odd[MAX / 32];
  Random r = {n + limit};
  for (uint32_t i = 0; i < n; i++)
    x[i] = (uint32_t)number_bits(&r) >> (i % 32);
  CUdeviceptr dx = put(x, 4 * n), ds = put(NULL, 4 * n), dp = put(NULL, 4 * n),
              dt = put(NULL, 4 * n), dj = put(NULL, 4 * n), dodd = put(NULL, sizeof odd);
  launch(f, (n + 127) / 128, 1, 128, 0,
         (void *[]){&dx, &n, &limit, &ds, &dp, &dt, &dj, &dodd});
  take(x, dx, 4 * n);
  take(steps, ds, 4 * n);
  take(peak, dp, 4 * n);
  take(turned, dt, 4 * n);
  take(jumped, dj, 4 * n);
  take(odd, dodd, sizeof odd);
  for (uint32_t i = 0; i < n; i++) {
    Walked w = walk(x[i], limit);
    assert_int_equal(steps[i], w.steps);
    assert_int_equal(peak[i], w.peak);
    assert_int_equal(turned[i], w.turn);
    assert_int_equal(jumped[i], w.jump);
    assert_int_equal(odd[i / 32] >> i % 32 & 1, w.steps & 1);
  }
}

static void
divergence(void **state)
{
  static const uint32_t sizes[] = {1, 33, 128, 1000, 2048}, limits[] = {3, 40, 5000};
  CUmodule m = module("divergent");
  (void)state;
  for (int i = 0; i < 5; i++)
    for (int j = 0; j < 3; j++)
      divergent_one(function(m, "divergent"), sizes[i], limits[j]);
  OK(cuModuleUnload(m));
}

/* ---- gemm.cu ---- */

typedef struct Kind {
  const char *entry;
  uint16_t (*of)(float);
  float (*back)(uint16_t);
} Kind;
static const Kind kinds[] = {
    {"gemm_f16", f16_of, f32_of_f16},
    {"gemm_bf16", bf16_of, f32_of_bf16},
};

static void
fill(const Kind *k, Random *r, bool integers, uint16_t *x, size_t n)
{
  for (size_t i = 0; i < n; i++)
    x[i] = k->of(integers ? (float)((int)number_below(r, 9) - 4) : number_normal(r));
}

/* Products of 16-bit floats are exact in f32; k additions, each within one unit of f32 (the
 * tensor cores truncate), of sums at most `size`: k * 2^-22 * size bounds them. */
static void
gemm_check(const Kind *kind, const uint16_t *a, const uint16_t *b, const float *c, int m,
           int n, int k, bool integers)
{
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) {
      double sum = 0, size = 0;
      for (int l = 0; l < k; l++) {
        double p = (double)kind->back(a[i * k + l]) * (double)kind->back(b[l * n + j]);
        sum += p;
        size += fabs(p);
      }
      double bound = integers ? 0 : k * 0x1p-22 * size;
      if (!(fabs((double)c[i * n + j] - sum) <= bound))
        fail_msg("%s %dx%dx%d [%d, %d]: %.9g, expected %.9g within %.3g", kind->entry, m, n,
                 k, i, j, (double)c[i * n + j], sum, bound);
    }
}

static void
gemm_one(CUmodule mod, const Kind *kind, int m, int n, int k, bool integers)
{
  Random r = {(uint64_t)(m + n + k)};
  size_t na = (size_t)(m * k), nb = (size_t)(k * n), nc = (size_t)(m * n);
  uint16_t *a = malloc(2 * na), *b = malloc(2 * nb);
  float *c = malloc(4 * nc);
  unsigned gx = (unsigned)(n + 63) / 64, gy = (unsigned)(m + 63) / 64;
  assert_true(a && b && c);
  fill(kind, &r, integers, a, na);
  fill(kind, &r, integers, b, nb);
  CUdeviceptr da = put(a, 2 * na), db = put(b, 2 * nb), dc = put(NULL, 4 * nc);
  if (dev.emulator)
    dev.reset();
  launch(function(mod, kind->entry), gx, gy, 128, 0, (void *[]){&da, &db, &dc, &m, &n, &k});
  if (dev.emulator) { /* 4 warps, 2 steps of 16, 2 x 4 products each */
    attncEmuStats s = {.size = sizeof s};
    dev.stats(&s);
    assert_int_equal(s.mma, 64 * gx * gy * (unsigned)((k + 31) / 32));
  }
  take(a, da, 2 * na);
  take(b, db, 2 * nb);
  take(c, dc, 4 * nc);
  gemm_check(kind, a, b, c, m, n, k, integers);
  free(a);
  free(b);
  free(c);
}

static void
gemm(void **state)
{
  static const int shapes[][3] = {{64, 64, 32},    {1, 8, 8},      {100, 72, 40},
                                  {130, 136, 200}, {64, 192, 256}, {65, 64, 16}};
  CUmodule m = module("gemm");
  (void)state;
  for (int i = 0; i < 6; i++)
    for (int k = 0; k < 2; k++)
      for (int integers = 0; integers < 2; integers++)
        gemm_one(m, &kinds[k], shapes[i][0], shapes[i][1], shapes[i][2], integers != 0);
  OK(cuModuleUnload(m));
}

/* ---- a lost barrier, wait or commit is found out ---- */

enum { OUT_MAX = 100 * 72 * 4 };

/* One launch of an entry of a text on fixed inputs: what was found, else its output. */
static bool
quiet(const char *text, const char *entry, unsigned char out[OUT_MAX])
{
  enum { M = 100, N = 72, K = 200 };
  static uint32_t in[M * K];
  int m = M, n = N, k = K;
  unsigned count = 2000;
  char found[2000];
  Random r = {5};
  for (int i = 0; i < M * K; i++)
    in[i] = (uint32_t)number_bits(&r) & 0x3fff3fff; /* as f16 or f32: finite */
  CUmodule mod = load(text);
  CUdeviceptr a = put(in, sizeof in), b = put(in, sizeof in), c = put(NULL, OUT_MAX),
              d = put(NULL, 64), e = put(NULL, 64);
  bool gemm = strncmp(entry, "gemm", 4) == 0, whole = strcmp(entry, "reduce_u32") == 0;
  void *all[3][6] = {{&a, &b, &c, &m, &n, &k}, {&a, &count, &d, &e, &c}, {&a, &count, &c}};
  CUresult s =
      dev.cuLaunchKernel(function(mod, entry), gemm || !whole ? 2 : 3, gemm ? 2 : 1, 1,
                         gemm ? 128 : 256, 1, 1, gemm ? 0 : 1024, NULL,
                         all[gemm    ? 0
                             : whole ? 1
                                     : 2],
                         NULL);
  CUresult t = dev.cuCtxSynchronize();
  bool ok = device_findings(&dev, found, sizeof found) == 0 && !s && !t;
  take(out, c, OUT_MAX);
  const CUdeviceptr rest[] = {a, b, d, e};
  for (int i = 0; i < 4; i++)
    OK(cuMemFree_v2(rest[i]));
  OK(cuModuleUnload(mod));
  return ok;
}

/* Mutants of the entry, by the lines it has in the text. */
static void
lose_each(const char *text, const char *entry, int expected)
{
  static unsigned char want[OUT_MAX], got[OUT_MAX];
  static Mutant m[MUTANT_MAX];
  char head[64];
  int n = mutant_list(text, m), met = 0;
  snprintf(head, sizeof head, ".entry %s(", entry);
  size_t from = (size_t)(strstr(text, head) - text);
  const char *next = strstr(text + from + 1, ".entry");
  size_t to = next ? (size_t)(next - text) : strlen(text);
  assert_true(quiet(text, entry, want));
  for (int i = 0; i < n; i++) {
    if (m[i].start < from || m[i].start > to)
      continue;
    char *mutant = mutant_make(text, &m[i]);
    bool found = !quiet(mutant, entry, got) || memcmp(want, got, OUT_MAX) != 0;
    if (!found)
      fail_msg("%s: nothing noticed: %s %s, line %d", entry, mutant_word(&m[i]), m[i].what,
               m[i].line);
    free(mutant);
    met++;
  }
  assert_int_equal(met, expected);
}

static void
lost_synchronisation(void **state)
{
  (void)state;
  if (!dev.emulator)
    skip(); /* a GPU may well be right by luck */
  char *gemm = ptx("gemm"), *reduce = ptx("reduce");
  lose_each(gemm, "gemm_f16", 6);
  lose_each(gemm, "gemm_bf16", 6);
  lose_each(reduce, "reduce_u32", 2);
  lose_each(reduce, "reduce_f32", 1);
  free(gemm);
  free(reduce);
}

static int
setup(void **state)
{
  char why[600] = "";
  (void)state;
  if (device_open(&dev, NULL, "arch=sm_80", why, sizeof why))
    return 0;
  print_error("%s\n", why);
  return -1;
}

static int
teardown(void **state)
{
  (void)state;
  device_close(&dev);
  return 0;
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reduce_integers),      cmocka_unit_test(reduce_floats),
      cmocka_unit_test(divergence),           cmocka_unit_test(gemm),
      cmocka_unit_test(lost_synchronisation),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
