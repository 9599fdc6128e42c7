#include "base/hash.h"

#include <string.h>

/* FIPS 180-4, 4.2.2 and 5.3.3: fractions of the cube and square roots of the primes. */
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
static const uint32_t initial[8] = {
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static uint32_t
rotr(uint32_t x, int n)
{
  return x >> n | x << (32 - n);
}

static uint32_t
load32(const unsigned char *p)
{
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void
schedule(uint32_t w[64], const unsigned char *p)
{
  for (int i = 0; i < 16; i++)
    w[i] = load32(p + 4 * i);
  for (int i = 16; i < 64; i++) {
    uint32_t s0 = rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
    uint32_t s1 = rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
}

/* FIPS 180-4, 6.2.2; v is a…h. */
static void
compress(uint32_t h[8], const unsigned char *p)
{
  uint32_t w[64], v[8];
  schedule(w, p);
  memcpy(v, h, sizeof v);
  for (int i = 0; i < 64; i++) {
    uint32_t s1 = rotr(v[4], 6) ^ rotr(v[4], 11) ^ rotr(v[4], 25);
    uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
    uint32_t t1 = v[7] + s1 + choice + constants[i] + w[i];
    uint32_t s0 = rotr(v[0], 2) ^ rotr(v[0], 13) ^ rotr(v[0], 22);
    uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
    memmove(v + 1, v, 7 * sizeof *v);
    v[4] += t1;
    v[0] = t1 + s0 + majority;
  }
  for (int i = 0; i < 8; i++)
    h[i] += v[i];
}

void
sha256_start(Sha256 *s)
{
  memset(s, 0, sizeof *s);
  memcpy(s->h, initial, sizeof s->h);
}

void
sha256_add(Sha256 *s, const void *data, size_t n)
{
  const unsigned char *p = data;
  while (n) {
    size_t at = s->bytes % sizeof s->block;
    size_t take = sizeof s->block - at < n ? sizeof s->block - at : n;
    memcpy(s->block + at, p, take);
    s->bytes += take;
    p += take;
    n -= take;
    if (at + take == sizeof s->block)
      compress(s->h, s->block);
  }
}

void
sha256_end(Sha256 *s, unsigned char digest[32])
{
  uint64_t bits = s->bytes * 8;
  unsigned char length[8];
  for (int i = 0; i < 8; i++)
    length[i] = (unsigned char)(bits >> (56 - 8 * i));
  sha256_add(s, "\x80", 1);
  while (s->bytes % sizeof s->block != sizeof s->block - sizeof length)
    sha256_add(s, "", 1);
  sha256_add(s, length, sizeof length);
  for (int i = 0; i < 32; i++)
    digest[i] = (unsigned char)(s->h[i / 4] >> (24 - 8 * (i % 4)));
}

void
sha256_digest_hex(const unsigned char digest[32], char hex[65])
{
  for (int i = 0; i < 32; i++) {
    hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
    hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
  }
  hex[64] = 0;
}

void
sha256_hex(const void *data, size_t n, char hex[65])
{
  Sha256 s;
  unsigned char digest[32];
  sha256_start(&s);
  sha256_add(&s, data, n);
  sha256_end(&s, digest);
  sha256_digest_hex(digest, hex);
}

static void
add_counted(Sha256 *s, const void *data, size_t n)
{
  unsigned char length[8];
  for (int i = 0; i < 8; i++)
    length[i] = (unsigned char)((uint64_t)n >> (8 * i));
  sha256_add(s, length, sizeof length);
  if (n)
    sha256_add(s, data, n);
}

void
sha256_field(Sha256 *s, const char *label, const void *data, size_t n)
{
  add_counted(s, label, strlen(label));
  add_counted(s, data, n);
}
