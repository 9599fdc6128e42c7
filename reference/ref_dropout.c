/* Dropout: which weights of a row are kept, by FlashAttention-2's definition
 * (csrc/flash_attn/src/dropout.h, philox.cuh; docs/dropout.md), position by position.
 *
 * The generator is Philox 4x32 (Salmon et al., "Parallel random numbers: as easy as 1, 2,
 * 3", 2011) with 7 rounds.  Its 16 bytes are those of 16 positions of a block of 16 queries
 * and 32 keys. */
#include "reference/judge.h"

#include "base/err.h"

#include <string.h>

enum { ROUNDS = 7, BLOCK_Q = 16, BLOCK_K = 32, LANES = 32, BYTES = 16 };

typedef struct Words {
  uint32_t at[4];
} Words;

static Words
philox(uint64_t seed, uint64_t low, uint64_t high)
{
  const uint64_t by_0 = 0xd2511f53u, by_2 = 0xcd9e8d57u;
  uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
  Words c = {
      {(uint32_t)low, (uint32_t)(low >> 32), (uint32_t)high, (uint32_t)(high >> 32)}};
  for (int i = 0; i < ROUNDS; i++) {
    uint64_t a = by_0 * c.at[0], b = by_2 * c.at[2];
    c = (Words){{(uint32_t)(b >> 32) ^ c.at[1] ^ key[0], (uint32_t)b,
                 (uint32_t)(a >> 32) ^ c.at[3] ^ key[1], (uint32_t)a}};
    key[0] += 0x9e3779b9u;
    key[1] += 0xbb67ae85u;
  }
  return c;
}

/* rng_state: the seed, the offset. */
static uint64_t
state(const Ref *r, int i)
{
  uint64_t x;
  memcpy(&x, (const char *)r->t[ATTNC_RNG_STATE].data + (size_t)i * sizeof x, sizeof x);
  return x;
}

/* What a weight's byte must be at most; FlashAttention-2 computes it so, in fp32, and then
 * in fp64. */
static int
most(const Ref *r)
{
  float kept = 1.0f - (float)r->scalar[ATTNC_DROPOUT_P];
  return (int)((double)kept * 255.0);
}

/* The block's random words that the lane of a position has: it holds two rows and, of each
 * 8 columns, two. */
static Words
words_of(const Ref *r, int64_t b, int64_t h, int64_t q, int64_t k)
{
  uint64_t lane = (uint64_t)(q % 8 * 4 + k % 8 / 2);
  uint64_t head = (uint64_t)(b * r->n.h + h);
  uint64_t low = state(r, 1) + head * LANES + lane;
  uint64_t high = (uint64_t)(q / BLOCK_Q) | (uint64_t)(k / BLOCK_K) << 32;
  return philox(state(r, 0), low, high);
}

static bool
keeps(const Words *w, int most_byte, int64_t q, int64_t k)
{
  int byte = (int)(k % BLOCK_K / 8 * 4 + q % BLOCK_Q / 8 * 2 + k % 2);
  return (int)(w->at[byte / 4] >> byte % 4 * 8 & 0xff) <= most_byte;
}

bool
ref_dropout_open(Ref *r)
{
  if (!r->spec->dropout)
    return true;
  return (r->kept = ref_room(r->arena, r->n.sk, 1, sizeof *r->kept)) &&
         (r->p64 = ref_room(r->arena, r->n.sk, 1, sizeof *r->p64)) &&
         (r->p32 = ref_room(r->arena, r->n.sk, 1, sizeof *r->p32));
}

/* The keys of a block have four lanes a row, each the words of eight of them. */
void
ref_dropout_row(const Ref *r, Range keys, int64_t b, int64_t h, int64_t q, bool *kept)
{
  int most_byte = most(r);
  for (int64_t from = keys.from / BLOCK_K * BLOCK_K; from < keys.to; from += BLOCK_K)
    for (int lane = 0; lane < 4; lane++) {
      Words w = words_of(r, b, h, q, from + 2 * lane);
      for (int i = 0; i < BYTES / 2; i++) {
        int64_t k = from + i / 2 * 8 + 2 * lane + i % 2;
        if (k >= keys.from && k < keys.to)
          kept[k] = keeps(&w, most_byte, q, k);
      }
    }
}

double
ref_dropout_factor(const Ref *r)
{
  return r->spec->dropout ? 1 / (double)(1.0f - (float)r->scalar[ATTNC_DROPOUT_P]) : 1;
}

double
ref_kept(const Ref *r, int64_t key)
{
  return !r->kept ? 1 : r->kept[key] ? ref_dropout_factor(r) : 0;
}

void
ref_drop(Ref *r, Range keys, int64_t b, int64_t h, int64_t q)
{
  ref_dropout_row(r, keys, b, h, q, r->kept);
  for (int64_t j = keys.from; j < keys.to; j++) {
    r->p64[j] = r->kept[j] ? r->s64[j] : r->s64[j] * 0; /* a NaN is one, dropped or not */
    r->p32[j] = r->kept[j] ? r->s32[j] : r->s32[j] * 0;
  }
}

/* ---- op dropout_mask ---- */

/* Calls `row` for every row of positions that is asked for, with its number and what is
 * kept of it. */
typedef void MaskRow(const Ref *, void *user, int64_t i, const attnc_verdict *at,
                     const bool *kept);

static attnc_status
each_row(Ref *r, MaskRow *row, void *user, attnc_error *e)
{
  Arena *arena = arena_new(0);
  bool *kept = arena ? ref_room(arena, r->n.sk + 1, 1, sizeof *kept) : NULL;
  if (!kept) {
    arena_free(arena);
    return err_set(e, ATTNC_ERR_NOMEM, "reference: out of memory for sk %lld",
                   (long long)r->n.sk);
  }
  int64_t at = 0;
  for (int64_t b = 0; b < r->n.b; b++)
    for (int64_t h = 0; h < r->n.h; h++)
      for (int64_t i = 0; i < r->n_rows; i++, at++) {
        attnc_verdict v = {.b = b, .h = h, .q = r->rows ? r->rows[i] : i};
        ref_dropout_row(r, (Range){0, r->n.sk}, b, h, v.q, kept);
        row(r, user, at, &v, kept);
      }
  arena_free(arena);
  return ATTNC_OK;
}

static void
write_row(const Ref *r, void *user, int64_t i, const attnc_verdict *at, const bool *kept)
{
  double *to = user;
  (void)at;
  for (int64_t k = 0; k < r->n.sk; k++)
    to[i * r->n.sk + k] = kept[k];
}

attnc_status
ref_dropout_mask(Ref *r, double *const *outputs, uint32_t n, attnc_error *e)
{
  double *keep = outputs && n > ATTNC_KEEP ? outputs[ATTNC_KEEP] : NULL;
  return keep ? each_row(r, write_row, keep, e) : ATTNC_OK;
}

static void
judge_row(const Ref *r, void *user, int64_t i, const attnc_verdict *at, const bool *kept)
{
  const uint8_t *got = (const uint8_t *)r->t[ATTNC_KEEP].data + i * r->n.sk;
  Judge row = {.v = {.rows = 1, .b = at->b, .h = at->h, .q = at->q}};
  for (int64_t k = 0; k < r->n.sk; k++)
    judge_output(&row, ATTNC_KEEP, judge_distance(got[k], kept[k]), 0);
  judge_add(user, &row);
}

attnc_status
ref_dropout_mask_judge(Ref *r, Judge *all, attnc_error *e)
{
  return each_row(r, judge_row, all, e);
}
