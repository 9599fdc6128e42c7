#include "base/hash.h"

#include "base/hash_block.h"

#include <string.h>

/* FIPS 180-4, 5.3.3: fractions of the square roots of the primes. */
static const uint32_t initial[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

void
sha256_start(Sha256 *s)
{
  memset(s, 0, sizeof *s);
  memcpy(s->h, initial, sizeof s->h);
}

/* What does not fill a block waits in it. */
static size_t
fill_block(Sha256 *s, const unsigned char *p, size_t n)
{
  size_t at = s->bytes % sizeof s->block;
  size_t take = sizeof s->block - at < n ? sizeof s->block - at : n;
  memcpy(s->block + at, p, take);
  if (at + take == sizeof s->block)
    sha256_blocks(s->h, s->block, 1);
  s->bytes += take;
  return take;
}

void
sha256_add(Sha256 *s, const void *data, size_t n)
{
  const unsigned char *p = data;
  if (n && s->bytes % sizeof s->block) {
    size_t took = fill_block(s, p, n);
    p += took;
    n -= took;
  }
  size_t blocks = n / sizeof s->block, whole = blocks * sizeof s->block;
  if (blocks) { /* here nothing waits, or n is 0 */
    sha256_blocks(s->h, p, blocks);
    s->bytes += whole;
  }
  if (n > whole)
    fill_block(s, p + whole, n - whole);
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
