#include "harness/append.h"

#include "harness/random.h"
#include "harness/tensors.h"

#include <math.h>
#include <string.h>

enum {
  PARTS = 3,
  BEHIND = 8,
  PAD = 9
}; /* behind: positions of the tables behind the last key */

static bool
has(const CallInfo *call, int slot)
{
  return call->at[slot].t.name != NULL;
}

bool
append_is_in(const CallInfo *call)
{
  return has(call, ATTNC_K_NEW);
}

/* ---- new keys and values ---- */

typedef struct New {
  int64_t n, at, position; /* rows; keys before them; where the first one stands */
  int64_t pad;             /* rows before the first key */
} New;

static int64_t
drawn(Random *r, int64_t most)
{
  return most < 1 ? 0 : (int64_t)(random_bits(r) % (uint64_t)(most + 1));
}

static New
new_of(const CallInfo *call, const attnc_sizes *z, int64_t i)
{
  Random r;
  bool packed = has(call, ATTNC_CU_SEQLENS_K_NEW);
  New x = {.n = packed ? z->sq : z->s_new};
  random_seed(&r, (uint64_t)i * 0x9e3779b97f4a7c15u + (uint64_t)(x.n * 65537 + z->sk));
  if (i && packed)
    x.n = drawn(&r, x.n < z->sk ? x.n : z->sk);
  int64_t room = z->sk > x.n ? z->sk - x.n : 0;
  x.at = i ? drawn(&r, room) : room;
  x.position = z->sp + x.at;
  x.pad = has(call, ATTNC_LEFTPAD_K) ? drawn(&r, x.at < PAD ? x.at : PAD) : 0;
  if (has(call, ATTNC_ROTARY_AT))
    x.position = drawn(&r, z->rotary_len - x.n);
  return x;
}

static bool
has_axis(const CallTensor *t, SizeId size)
{
  for (int i = 0; t->name && i < t->n_axes; i++)
    if (!t->axes[i].n && t->axes[i].size == size)
      return true;
  return false;
}

void
append_sizes(const CallInfo *call, attnc_sizes *z)
{
  bool merges = has(call, ATTNC_LSE_PARTS), adds = append_is_in(call);
  bool packed = merges && has_axis(&call->at[ATTNC_LSE_PARTS].t, SIZE_TOTAL_Q);
  bool each = adds && !has(call, ATTNC_CU_SEQLENS_K_NEW);
  z->s_new = each ? (z->s_new ? z->s_new : z->sq) : 0;
  z->rotary_len = has(call, ATTNC_ROTARY_COS) ? z->sp + z->sk + BEHIND : 0;
  z->parts = merges ? (z->parts ? z->parts : PARTS) : 0;
  z->total_q = packed ? z->b * z->sq : z->total_q;
  z->total_new = 0;
  for (int64_t i = 0; i < z->b && has(call, ATTNC_CU_SEQLENS_K_NEW); i++)
    z->total_new += new_of(call, z, i).n;
}

static void
put(Tensors *t, int slot, int64_t i, int64_t value)
{
  if (has(&t->call, slot))
    ((int32_t *)t->host[slot].data)[i] = (int32_t)value;
}

int64_t
append_count(const Tensors *t)
{
  int64_t n = 0;
  for (int64_t i = 0; i < t->sizes.b; i++) {
    SequenceRows r = append_place(t, i);
    n += r.to - r.from;
  }
  return n;
}

SequenceRows
append_place(const Tensors *t, int64_t i)
{
  const int32_t *offsets = t->host[ATTNC_CU_SEQLENS_K_NEW].data;
  const int32_t *chosen = t->host[ATTNC_CACHE_BATCH_IDX].data;
  int64_t at = ((const int32_t *)t->host[ATTNC_APPEND_AT].data)[i];
  int64_t n = offsets ? offsets[i + 1] - offsets[i] : t->sizes.s_new;
  int64_t end = at + n < t->sizes.sk ? at + n : t->sizes.sk;
  return (SequenceRows){chosen ? chosen[i] : i, at < end ? at : end, end};
}

/* ---- states ---- */

static void
put_lse(Tensors *t, int64_t i, double x)
{
  ((float *)t->host[ATTNC_LSE_PARTS].data)[i] = (float)x;
}

/* Every fourth has seen no key, all of a row's every eighth row: its output is anything. */
static void
fill_states(Tensors *t, uint64_t seed)
{
  HostTensor *lse = &t->host[ATTNC_LSE_PARTS], *o = &t->host[ATTNC_O_PARTS];
  int64_t n = (int64_t)(lse->bytes / sizeof(float)), rows = lse->row;
  size_t row = (size_t)o->row * (size_t)dtype_bytes(o->dtype);
  const int64_t *at = t->view[ATTNC_O_PARTS].stride;
  int64_t inner = t->call.at[ATTNC_LSE_PARTS].t.n_axes;
  Random r;
  random_seed(&r, seed);
  for (int64_t i = 0; i < n; i++) {
    int64_t rest = i, place = (rest % rows) * at[inner - 1];
    rest /= rows;
    for (int64_t k = inner - 2; k >= 0; k--) {
      int64_t length = lse->shape[k];
      place += (rest % length) * at[k];
      rest /= length;
    }
    bool none = random_bits(&r) % 4 == 0 || (i % rows) % 8 == 5;
    put_lse(t, i,
            none ? (random_bits(&r) % 2 ? -INFINITY : INFINITY) : random_normal(&r) * 3);
    if (none)
      memset((char *)o->data + place * dtype_bytes(o->dtype), 0xff, row);
  }
}

void
append_fill(Tensors *t, uint64_t seed)
{
  int64_t rows = 0;
  if (has(&t->call, ATTNC_LSE_PARTS) && t->host[ATTNC_LSE_PARTS].row)
    fill_states(t, seed);
  if (!append_is_in(&t->call))
    return;
  put(t, ATTNC_CU_SEQLENS_K_NEW, 0, 0);
  for (int64_t i = 0; i < t->sizes.b; i++) {
    New x = new_of(&t->call, &t->sizes, i);
    put(t, ATTNC_CU_SEQLENS_K_NEW, i + 1, rows += x.n);
    put(t, ATTNC_APPEND_AT, i, x.at);
    put(t, ATTNC_ROTARY_AT, i, x.position);
    put(t, ATTNC_LEFTPAD_K, i, x.pad);
    put(t, ATTNC_CACHE_BATCH_IDX, i, t->sizes.bc - 1 - i);
  }
}
