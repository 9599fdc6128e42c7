/* async.h: cp.async, non-bulk: copies that are issued now and land later.
 *
 * One queue per CTA.  When a copy lands is the policy: EAGER at issue, LAZY when a wait
 * forces it (until then its destination reads as NaN poison, 0xff bytes), RANDOM one or the
 * other per copy from the seed.  A correct kernel gives the same bits under all three.
 * Groups are counted per thread, as the ISA says.  Copies still pending when the CTA ends
 * land nowhere.  Not thread-safe: a queue belongs to the host thread that runs the CTA. */
#ifndef ATTNC_EMULATOR_ASYNC_H
#define ATTNC_EMULATOR_ASYNC_H

#include <stdbool.h>
#include <stdint.h>

typedef struct Async Async;
typedef enum AsyncPolicy { ASYNC_LAZY, ASYNC_EAGER, ASYNC_RANDOM } AsyncPolicy;

Async *async_new(int warps, AsyncPolicy); /* NULL: out of memory */
void async_free(Async *);
/* A new CTA, with its shared memory; the seed is of what is random. */
void async_reset(Async *, uint8_t *smem, uint64_t seed);
/* bytes 4, 8, 16; src[l] is host memory and may be NULL where src_bytes[l] is 0; the rest
 * of the destination is zero-filled.  src_bytes NULL: all.  False: out of memory. */
bool async_copy(Async *, int warp, uint32_t mask, int bytes, const uint32_t *dst,
                const uint8_t *const *src, const uint32_t *src_bytes);
bool async_commit(Async *, int warp, uint32_t mask);
/* All but the newest n groups have landed; n < 0: wait_all, committed or not. */
void async_wait(Async *, int warp, uint32_t mask, int n);
uint32_t async_last(const Async *, int warp); /* id of the copy issued last */
/* Copies up to this id have landed, committed or not. */
void async_land(Async *, int warp, uint32_t mask, uint32_t upto);

#endif
