/* hash_block.h: SHA-256's work on whole blocks of 64 bytes, with the CPU's instructions for
 * it where it has them: a disk hit is checked by hash, and has a millisecond in all. */
#ifndef ATTNC_BASE_HASH_BLOCK_H
#define ATTNC_BASE_HASH_BLOCK_H

#include <stddef.h>
#include <stdint.h>

void sha256_blocks(uint32_t h[8], const unsigned char *, size_t blocks);
/* In plain C, whatever the CPU has; the same result. */
void sha256_blocks_plain(uint32_t h[8], const unsigned char *, size_t blocks);

#endif
