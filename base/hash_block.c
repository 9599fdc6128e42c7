#include "base/hash_block.h"

#include <pthread.h>
#include <stdbool.h>

/* FIPS 180-4, 4.2.2: fractions of the cube roots of the primes. */
static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
    0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
    0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
    0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
    0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
    0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
    0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
    0xc67178f2,
};

/* ---- plain C ---- */

static inline uint32_t
rotr(uint32_t x, int n)
{
  return x >> n | x << (32 - n);
}

static inline uint32_t
load32(const unsigned char *p)
{
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint32_t
expand(const uint32_t w[16], int i)
{
  uint32_t a = w[(i + 1) & 15], b = w[(i + 14) & 15];
  uint32_t s0 = rotr(a, 7) ^ rotr(a, 18) ^ a >> 3, s1 = rotr(b, 17) ^ rotr(b, 19) ^ b >> 10;
  return w[i & 15] + s0 + w[(i + 9) & 15] + s1;
}

/* FIPS 180-4, 6.2.2, with the letters turning instead of moving: a is v[-i], and so on, all
 * modulo 8, which an unrolled loop knows. */
static inline void
round_at(uint32_t v[8], int i, uint32_t word)
{
#define V(letter) v[((letter)-i) & 7]
  uint32_t s1 = rotr(V(4), 6) ^ rotr(V(4), 11) ^ rotr(V(4), 25);
  uint32_t choice = V(6) ^ (V(4) & (V(5) ^ V(6)));
  uint32_t t1 = V(7) + s1 + choice + word;
  uint32_t s0 = rotr(V(0), 2) ^ rotr(V(0), 13) ^ rotr(V(0), 22);
  uint32_t majority = (V(0) & V(1)) | (V(2) & (V(0) | V(1)));
  V(3) += t1;
  V(7) = t1 + s0 + majority;
#undef V
}

static void
one_block(uint32_t h[8], const unsigned char *p)
{
  uint32_t w[16], v[8];
  for (int i = 0; i < 8; i++)
    v[i] = h[i];
  for (int i = 0; i < 16; i++)
    w[i] = load32(p + 4 * i);
  for (int i = 0; i < 64; i += 8)
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
      if (i >= 16)
        w[(i + j) & 15] = expand(w, i + j);
      round_at(v, j, w[(i + j) & 15] + constants[i + j]);
    }
  for (int i = 0; i < 8; i++)
    h[i] += v[i];
}

void
sha256_blocks_plain(uint32_t h[8], const unsigned char *p, size_t blocks)
{
  for (; blocks; blocks--, p += 64)
    one_block(h, p);
}

/* ---- the SHA instructions of x86-64 ---- */

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

/* Intel SDM, volume 1, "SHA extensions": two rounds an instruction on the state as ABEF and
 * CDGH; four words of the schedule at a time. */
__attribute__((target("sha,sse4.1,ssse3"))) static void
rounds_x86(__m128i *abef, __m128i *cdgh, __m128i words, const uint32_t *k)
{
  __m128i sum = _mm_add_epi32(words, _mm_loadu_si128((const __m128i *)(const void *)k));
  *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, sum);
  *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32(sum, 0x0e));
}

__attribute__((target("sha,sse4.1,ssse3"))) static void
block_x86(__m128i *abef, __m128i *cdgh, const unsigned char *p)
{
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
  __m128i w[4];
  for (int i = 0; i < 4; i++) {
    w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i)),
                            swap);
    rounds_x86(abef, cdgh, w[i], constants + 4 * i);
  }
  for (int i = 4; i < 16; i++) {
    __m128i back = _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4);
    __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[i & 3], w[(i + 1) & 3]), back);
    w[i & 3] = _mm_sha256msg2_epu32(sum, w[(i + 3) & 3]);
    rounds_x86(abef, cdgh, w[i & 3], constants + 4 * i);
  }
}

__attribute__((target("sha,sse4.1,ssse3"))) static void
blocks_x86(uint32_t h[8], const unsigned char *p, size_t blocks)
{
  __m128i *to = (__m128i *)(void *)h;
  __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128(to), 0xb1);
  __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128(to + 1), 0x1b);
  __m128i abef = _mm_alignr_epi8(cdab, hgfe, 8);
  __m128i cdgh = _mm_blend_epi16(hgfe, cdab, 0xf0);
  for (; blocks; blocks--, p += 64) {
    __m128i abef_was = abef, cdgh_was = cdgh;
    block_x86(&abef, &cdgh, p);
    abef = _mm_add_epi32(abef, abef_was);
    cdgh = _mm_add_epi32(cdgh, cdgh_was);
  }
  __m128i feba = _mm_shuffle_epi32(abef, 0x1b), dchg = _mm_shuffle_epi32(cdgh, 0xb1);
  _mm_storeu_si128(to, _mm_blend_epi16(feba, dchg, 0xf0));
  _mm_storeu_si128(to + 1, _mm_alignr_epi8(dchg, feba, 8));
}

/* CPUID leaf 7, EBX bit 29: SHA; leaf 1, ECX bit 19: SSE4.1. */
static bool
has_instructions(void)
{
  unsigned a, b, c, d, e;
  return __get_cpuid(1, &a, &b, &c, &d) && (c >> 19 & 1) &&
         __get_cpuid_count(7, 0, &a, &e, &c, &d) && (e >> 29 & 1);
}
#else
static void
blocks_x86(uint32_t h[8], const unsigned char *p, size_t blocks)
{
  sha256_blocks_plain(h, p, blocks);
}

static bool
has_instructions(void)
{
  return false;
}
#endif

/* ---- the choice ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool instructions;

static void
detect(void)
{
  instructions = has_instructions();
}

void
sha256_blocks(uint32_t h[8], const unsigned char *p, size_t blocks)
{
  pthread_once(&once, detect);
  if (instructions)
    blocks_x86(h, p, blocks);
  else
    sha256_blocks_plain(h, p, blocks);
}
