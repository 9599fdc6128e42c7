/* host.h: what the programs here have in common.  Each is one file: nvcc makes all of it,
 * and a C compiler its host part alone (no __CUDACC__), which then launches the kernels of
 * the committed PTX; so the host part is C and C++ at once, and has macros where they
 * differ.
 *
 *   LAUNCH(kernel, grid, block, shared, stream, arguments…)   arguments are variables
 *   KERNEL(kernel), SYMBOL(variable)   for functions of the runtime that take either
 *   OK(call)     ends the program where it fails
 *   CHECK(condition, format…)   ends it, and says why
 *   PROGRAM(name, function)   is main: the function, then a look at what the emulator found
 */
#ifndef ATTNC_TESTS_CUDA_HOST_H
#define ATTNC_TESTS_CUDA_HOST_H

#include <dlfcn.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __CUDACC__

#include <cuda_runtime.h>
#define LAUNCH(kernel, grid, block, shared, stream, ...)                                   \
  kernel<<<(grid), (block), (shared), (stream)>>>(__VA_ARGS__);                            \
  OK(cudaGetLastError())
#define KERNEL(kernel)        (const void *)kernel
#define SYMBOL(variable)      variable
#define MANAGED(type, symbol) symbol
#define START(name)

#else

#include "tests/cuda/rt.h"
#define RT_1(a)                                    a
#define RT_ARGS_1(a)                               &(a)
#define RT_ARGS_2(a, ...)                          &(a), RT_ARGS_1(__VA_ARGS__)
#define RT_ARGS_3(a, ...)                          &(a), RT_ARGS_2(__VA_ARGS__)
#define RT_ARGS_4(a, ...)                          &(a), RT_ARGS_3(__VA_ARGS__)
#define RT_ARGS_5(a, ...)                          &(a), RT_ARGS_4(__VA_ARGS__)
#define RT_ARGS_6(a, ...)                          &(a), RT_ARGS_5(__VA_ARGS__)
#define RT_ARGS_7(a, ...)                          &(a), RT_ARGS_6(__VA_ARGS__)
#define RT_ARGS_8(a, ...)                          &(a), RT_ARGS_7(__VA_ARGS__)
#define RT_PICK(a, b, c, d, e, f, g, h, name, ...) name
#define RT_ARGS(...)                                                                       \
  RT_PICK(__VA_ARGS__, RT_ARGS_8, RT_ARGS_7, RT_ARGS_6, RT_ARGS_5, RT_ARGS_4, RT_ARGS_3,   \
          RT_ARGS_2, RT_ARGS_1, )                                                          \
  (__VA_ARGS__)
#define LAUNCH(kernel, grid, block, shared, stream, ...)                                   \
  OK(cudaLaunchKernel(rt_kernel(#kernel), (dim3){(unsigned)(grid), 1, 1},                  \
                      (dim3){(unsigned)(block), 1, 1}, (void *[]){RT_ARGS(__VA_ARGS__)},   \
                      (shared), (stream)))
#define KERNEL(kernel)        rt_kernel(#kernel)
#define SYMBOL(variable)      rt_symbol(#variable)
#define MANAGED(type, symbol) (*(type *)managed_address(#symbol))
#define START(name)           rt_program(PROGRAMS "/" name ".ptx")

static inline void *
managed_address(const char *name)
{
  void *p = NULL;
  if (cudaGetSymbolAddress(&p, rt_symbol(name)))
    exit(1);
  return p;
}

#endif

#define OK(call)                                                                           \
  do {                                                                                     \
    int error_ = (int)(call);                                                              \
    if (error_) {                                                                          \
      fprintf(stderr, "%s:%d: %s: %d\n", __FILE__, __LINE__, #call, error_);               \
      found();                                                                             \
      exit(1);                                                                             \
    }                                                                                      \
  } while (0)

#define CHECK(condition, ...)                                                              \
  do {                                                                                     \
    if (!(condition)) {                                                                    \
      fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                      \
      fprintf(stderr, __VA_ARGS__);                                                        \
      fprintf(stderr, "\n");                                                               \
      found();                                                                             \
      exit(1);                                                                             \
    }                                                                                      \
  } while (0)

/* What the emulator has to say, on stderr; 0: nothing, or there is no emulator. */
static inline int
found(void)
{
  static char text[1 << 16];
  typedef size_t Take(char *, size_t);
  void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  Take *take = driver ? (Take *)dlsym(driver, "attncEmuTakeFindings") : NULL;
  if (!take || !take(text, sizeof text))
    return 0;
  fprintf(stderr, "%s", text);
  return 1;
}

#define PROGRAM(name, run)                                                                 \
  int main(void)                                                                           \
  {                                                                                        \
    START(#name);                                                                          \
    run();                                                                                 \
    if (found())                                                                           \
      return 1;                                                                            \
    printf("%s: right\n", #name);                                                          \
    return 0;                                                                              \
  }

/* Numbers that look random, the same everywhere. */
static inline uint32_t
draw(uint32_t *state)
{
  *state = *state * 1664525u + 1013904223u;
  return *state >> 8;
}

/* From -1 to 1, with few bits, so that small sums of products are exact in f32. */
static inline float
draw_float(uint32_t *state)
{
  return (float)((int)(draw(state) % 257) - 128) / 128.0f;
}

/* Device memory that holds n bytes of the host's. */
static inline void *
device_copy(const void *from, size_t n)
{
  void *p = NULL;
  OK(cudaMalloc(&p, n));
  OK(cudaMemcpy(p, from, n, cudaMemcpyHostToDevice));
  return p;
}

static inline void *
device_zeros(size_t n)
{
  void *p = NULL;
  OK(cudaMalloc(&p, n));
  OK(cudaMemset(p, 0, n));
  return p;
}

static inline void
take_back(void *to, void *device, size_t n)
{
  OK(cudaMemcpy(to, device, n, cudaMemcpyDeviceToHost));
  OK(cudaFree(device));
}

#endif
