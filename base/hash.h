/* hash.h: SHA-256 (FIPS 180-4), whole or in pieces. */
#ifndef ATTNC_BASE_HASH_H
#define ATTNC_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct Sha256 {
  uint32_t h[8];
  uint64_t bytes;
  unsigned char block[64];
} Sha256;

void sha256_start(Sha256 *);
void sha256_add(Sha256 *, const void *, size_t);
void sha256_end(Sha256 *, unsigned char digest[32]);
void sha256_hex(const void *, size_t, char hex[65]); /* whole, as text */
void sha256_digest_hex(const unsigned char digest[32], char hex[65]);
/* One labelled, length-prefixed field: shifted borders never give the same hash. */
void sha256_field(Sha256 *, const char *label, const void *, size_t);

#endif
