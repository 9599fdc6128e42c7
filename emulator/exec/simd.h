/* simd.h: one source, compiled for three kinds of x86-64 CPU and chosen at run time.
 *
 * A body header with the lane loops is included by three small .c files, after one of the
 * pragmas below; each gives its own table of functions.  Loops are plain C which the
 * compiler vectorises; no build may contract a*b+c (-ffp-contract=off), so that all give
 * the same bits.  System headers are included before the pragma.  On other machines the
 * wider bodies are compiled like the baseline and never chosen. */
#ifndef ATTNC_EMULATOR_SIMD_H
#define ATTNC_EMULATOR_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum Simd { SIMD_BASE, SIMD_AVX2, SIMD_AVX512, SIMD_COUNT } Simd;

Simd simd_best(void);    /* what the CPU has */
Simd simd_current(void); /* what is used: the best unless forced */
bool simd_force(Simd); /* false: the CPU lacks it.  For tests, before other threads start */
const char *simd_name(Simd);

#define SIMD_PRAGMA(text) _Pragma(#text)
#if defined(__x86_64__) && defined(__clang__)
#define SIMD_TARGET(features)                                                              \
  SIMD_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define SIMD_TARGET_END _Pragma("clang attribute pop")
#elif defined(__x86_64__)
#define SIMD_TARGET(features) _Pragma("GCC push_options") SIMD_PRAGMA(GCC target(features))
#define SIMD_TARGET_END       _Pragma("GCC pop_options")
#else
#define SIMD_TARGET(features)
#define SIMD_TARGET_END
#endif
#define SIMD_TARGET_AVX2   SIMD_TARGET("avx2,fma")
#define SIMD_TARGET_AVX512 SIMD_TARGET("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")

/* The bits of a float or a double, and back. */
static inline uint32_t
bits_of(float x)
{
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}

static inline float
float_of(uint32_t u)
{
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}

static inline uint64_t
bits_of_d(double x)
{
  uint64_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}

static inline double
double_of(uint64_t u)
{
  double x;
  memcpy(&x, &u, sizeof x);
  return x;
}

#endif
