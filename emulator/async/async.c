#include "emulator/async/async.h"

#include <stdlib.h>
#include <string.h>

typedef struct Copy {
  uint32_t left; /* lanes that have not landed */
  uint32_t id;   /* counts the copies of a warp */
  int bytes;
  uint32_t dst[32], n[32];
  const uint8_t *src[32];
} Copy;

/* One commit_group: the copies up to `upto` that these lanes had not committed before. */
typedef struct Commit {
  uint32_t mask, upto;
} Commit;

typedef struct Queue {
  Copy *copies; /* pending, oldest first */
  Commit *commits;
  int n, cap, n_commits, cap_commits;
  uint32_t last; /* id */
} Queue;

struct Async {
  int warps;
  AsyncPolicy policy;
  uint64_t random;
  uint8_t *smem;
  Queue queue[];
};

Async *
async_new(int warps, AsyncPolicy policy)
{
  Async *a = calloc(1, sizeof *a + (size_t)warps * sizeof *a->queue);
  if (!a)
    return NULL;
  a->warps = warps;
  a->policy = policy;
  return a;
}

void
async_free(Async *a)
{
  if (!a)
    return;
  for (int i = 0; i < a->warps; i++) {
    free(a->queue[i].copies);
    free(a->queue[i].commits);
  }
  free(a);
}

void
async_reset(Async *a, uint8_t *smem, uint64_t seed)
{
  a->random = seed * 2 + 1;
  a->smem = smem;
  for (int i = 0; i < a->warps; i++)
    a->queue[i].n = a->queue[i].n_commits = 0, a->queue[i].last = 0;
}

/* Room for one more of `size` bytes; false: out of memory. */
static bool
room(void **at, int n, int *cap, size_t size)
{
  if (n < *cap)
    return true;
  int more = *cap ? *cap * 2 : 16;
  void *p = realloc(*at, (size_t)more * size);
  if (!p)
    return false;
  *at = p;
  *cap = more;
  return true;
}

static void
land(uint8_t *smem, const Copy *c, int lane)
{
  uint8_t *d = smem + c->dst[lane];
  if (c->n[lane] == (uint32_t)c->bytes && c->bytes == 16) { /* nearly all */
    memcpy(d, c->src[lane], 16);
    return;
  }
  if (c->n[lane])
    memcpy(d, c->src[lane], c->n[lane]);
  memset(d + c->n[lane], 0, (size_t)c->bytes - c->n[lane]);
}

static void
land_lanes(Async *a, Copy *c, uint32_t mask)
{
  for (uint32_t m = c->left & mask; m; m &= m - 1)
    land(a->smem, c, __builtin_ctz(m));
  c->left &= ~mask;
}

static bool
lazy(Async *a)
{
  if (a->policy != ASYNC_RANDOM)
    return a->policy == ASYNC_LAZY;
  a->random = a->random * 6364136223846793005u + 1442695040888963407u;
  return a->random >> 63;
}

bool
async_copy(Async *a, int warp, uint32_t mask, int bytes, const uint32_t *dst,
           const uint8_t *const *src, const uint32_t *src_bytes)
{
  Queue *q = &a->queue[warp];
  if (!room((void **)&q->copies, q->n, &q->cap, sizeof *q->copies))
    return false;
  Copy *c = &q->copies[q->n];
  c->left = mask;
  c->id = ++q->last;
  c->bytes = bytes;
  memcpy(c->dst, dst, sizeof c->dst);
  memcpy(c->src, src, sizeof c->src);
  for (int i = 0; i < 32; i++)
    c->n[i] = src_bytes ? src_bytes[i] : (uint32_t)bytes;
  if (!lazy(a)) {
    land_lanes(a, c, mask);
    return true;
  }
  for (uint32_t m = mask; m; m &= m - 1)
    memset(a->smem + dst[__builtin_ctz(m)], 0xff, (size_t)bytes);
  q->n++;
  return true;
}

bool
async_commit(Async *a, int warp, uint32_t mask)
{
  Queue *q = &a->queue[warp];
  if (!q->n) /* nothing of older groups is pending */
    q->n_commits = 0;
  if (!room((void **)&q->commits, q->n_commits, &q->cap_commits, sizeof *q->commits))
    return false;
  q->commits[q->n_commits++] = (Commit){mask, q->last};
  return true;
}

/* The newest copy that a wait for all but n groups must see landed. */
static uint32_t
limit(const Queue *q, int lane, int n)
{
  if (n < 0)
    return q->last;
  for (int i = q->n_commits - 1; i >= 0; i--)
    if (q->commits[i].mask >> lane & 1 && n-- == 0)
      return q->commits[i].upto;
  return 0;
}

/* Landed copies go; commits of which nothing is pending go with them. */
static void
tidy(Queue *q)
{
  int n = 0;
  for (int i = 0; i < q->n; i++)
    if (q->copies[i].left) {
      if (n != i)
        q->copies[n] = q->copies[i];
      n++;
    }
  q->n = n;
  uint32_t oldest = n ? q->copies[0].id : q->last + 1;
  int gone = 0;
  while (gone < q->n_commits && q->commits[gone].upto < oldest)
    gone++;
  q->n_commits -= gone;
  if (gone)
    memmove(q->commits, q->commits + gone, (size_t)q->n_commits * sizeof *q->commits);
}

uint32_t
async_last(const Async *a, int warp)
{
  return a->queue[warp].last;
}

void
async_land(Async *a, int warp, uint32_t mask, uint32_t upto)
{
  Queue *q = &a->queue[warp];
  for (int i = 0; i < q->n && q->copies[i].id <= upto; i++)
    land_lanes(a, &q->copies[i], mask);
  tidy(q);
}

void
async_wait(Async *a, int warp, uint32_t mask, int n)
{
  Queue *q = &a->queue[warp];
  if (!q->n || !mask)
    return;
  uint32_t every = mask;
  for (int i = 0; i < q->n_commits; i++)
    every &= q->commits[i].mask;
  if (every == mask) { /* all lanes committed alike */
    async_land(a, warp, mask, limit(q, __builtin_ctz(mask), n));
    return;
  }
  uint32_t upto[32];
  for (uint32_t m = mask; m; m &= m - 1)
    upto[__builtin_ctz(m)] = limit(q, __builtin_ctz(m), n);
  for (uint32_t m = mask; m; m &= m - 1)
    async_land(a, warp, m & -m, upto[__builtin_ctz(m)]);
}
