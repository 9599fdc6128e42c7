#include "tests/e2e/call.h"
#include "tests/e2e/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 512, GUARD_ROWS = 70, DEAD_ROWS = 5 };

/* ---- strides ----
 *
 * Where memory is shared, all batches of an input have the rows of the last: their stride
 * is 0. */

/* Axes of length 1 have strides that mean nothing, as slicing leaves them. */
static void
make_odd(const Shape *x, int64_t st[5])
{
  const int64_t length[] = {x->b, x->h, x->s};
  static const int64_t odd[] = {449, 33, 65};
  for (int i = 0; i < 3; i++)
    if (length[i] == 1)
      st[i] = odd[i];
}

/* Strides of (b, h, s, d) become those of the tensor's axes. */
static void
drop_batches(const Call *c, int slot, int64_t st[5])
{
  if (facts_packed(&c->facts, slot))
    memmove(st, st + 1, 4 * sizeof *st);
}

static size_t
element(const Call *c, int slot)
{
  return (size_t)facts_bytes(c->facts.tensor[slot].type);
}

/* Of a table: dense as far as its alignment lets it, or with a gap along every axis but the
 * last; the elements that it spans are returned. */
static int64_t
table_strides(const Call *c, int slot, int64_t st[5])
{
  const TensorFacts *t = &c->facts.tensor[slot];
  const Shape x = facts_shape(&c->facts, &c->c.sizes, slot);
  const int64_t length[] = {x.b, x.h, x.s, x.d};
  int64_t step = 1, size = (int64_t)element(c, slot);
  int64_t unit = t->align > size && !t->contiguous ? t->align / size : 1;
  bool padded = c->c.memory == MEMORY_PADDED && !t->contiguous;
  memset(st, 0, 5 * sizeof *st);
  for (int i = t->rank - 1; i >= 0; i--) {
    st[i] = step;
    step = step * length[i] + (padded ? 1 + (c->c.seed + (unsigned)i) % 3 : 0);
    step = (step + unit - 1) / unit * unit;
  }
  if (c->c.memory == MEMORY_SHARED && t->rank > 1 && strcmp(t->axis[0], "b") == 0 &&
      !t->contiguous && !drawn_has(c->drawn, slot))
    st[0] = 0;
  return step;
}

/* Of (b, h, s); the elements that the tensor spans are returned. */
static int64_t
strides(const Call *c, int slot, int64_t st[5])
{
  if (!facts_is_main(slot))
    return table_strides(c, slot, st);
  const Shape x = facts_shape(&c->facts, &c->c.sizes, slot);
  int64_t gap = 0, plane = 0, dead = 0;
  unsigned draw = c->c.seed + (unsigned)slot;
  bool heads_first = c->facts.tensor[slot].heads_first;
  if (c->c.memory == MEMORY_PADDED) {
    gap = 8 * (1 + draw % 3);
    plane = 8 * (1 + draw % 2);
    dead = DEAD_ROWS;
    heads_first = draw % 2 != 0;
  }
  memset(st, 0, 5 * sizeof *st);
  st[3] = 1;
  if (heads_first) {
    st[2] = x.d + gap;
    st[1] = (x.s + dead) * st[2];
    st[0] = x.h * st[1] + plane;
  } else {
    st[1] = x.d + gap;
    st[2] = x.h * st[1] + plane;
    st[0] = (x.s + dead) * st[2];
  }
  int64_t n = x.b * st[0];
  if (c->c.memory == MEMORY_PADDED)
    make_odd(&x, st);
  if (c->c.memory == MEMORY_SHARED && !c->facts.tensor[slot].output)
    st[0] = 0;
  drop_batches(c, slot, st);
  return n;
}

/* ---- buffers ---- */

static bool
buffer_new(Call *c, int64_t elements, int64_t row, size_t each)
{
  Buffer *u = &c->buffers[c->n_buffers++];
  size_t tail = (size_t)(GUARD_ROWS * row) * each;
  u->bytes = GUARD + (size_t)elements * each + (tail > GUARD ? tail : GUARD);
  u->bytes = (u->bytes + 15) & ~(size_t)15;
  u->host = malloc(u->bytes);
  u->sent = malloc(u->bytes);
  return u->host && u->sent;
}

static void
place_slot(Call *c, int slot, int64_t offset)
{
  c->home[slot] = c->n_buffers - 1;
  c->start[slot] = GUARD + (size_t)offset * element(c, slot);
  c->host[slot].data = c->buffers[c->home[slot]].host + c->start[slot];
}

static bool
alone(Call *c, int slot)
{
  int64_t n = strides(c, slot, c->host[slot].stride);
  int64_t row =
      facts_is_main(slot) ? c->host[slot].stride[2 - facts_packed(&c->facts, slot)] : 1;
  if (!buffer_new(c, n, row, element(c, slot)))
    return false;
  place_slot(c, slot, 0);
  return true;
}

/* Slots first … V in one buffer: a row of it has all heads of each, side by side. */
static bool
packed(Call *c, int first)
{
  const attnc_sizes *z = &c->c.sizes;
  const Shape k = facts_shape(&c->facts, z, ATTNC_K);
  int64_t row = 0, offset = 0;
  for (int slot = first; slot <= ATTNC_V; slot++) {
    Shape x = facts_shape(&c->facts, z, slot);
    row += x.h * x.d;
  }
  if (!buffer_new(c, k.b * k.s * row, row, element(c, first)))
    return false;
  for (int slot = first; slot <= ATTNC_V; slot++) {
    Shape x = facts_shape(&c->facts, z, slot);
    int64_t st[5] = {x.s * row, x.d, row, 1, 0};
    drop_batches(c, slot, st);
    memcpy(c->host[slot].stride, st, sizeof st);
    place_slot(c, slot, offset);
    offset += x.h * x.d;
  }
  return true;
}

/* The first tensor that shares a buffer with V; -1: none does. */
static int
first_packed(const Call *c)
{
  const TensorFacts *t = c->facts.tensor;
  const Shape q = facts_shape(&c->facts, &c->c.sizes, ATTNC_Q);
  const Shape k = facts_shape(&c->facts, &c->c.sizes, ATTNC_K);
  bool alike = t[ATTNC_Q].type == t[ATTNC_K].type && q.b == k.b && q.s == k.s;
  if (c->c.memory != MEMORY_PACKED || t[ATTNC_K].type != t[ATTNC_V].type)
    return -1;
  return alike ? ATTNC_Q : ATTNC_K;
}

static bool
place_all(Call *c)
{
  int first = first_packed(c);
  bool ok = true;
  for (int slot = 0; slot < FACTS_SLOTS; slot++)
    if (slot == first)
      ok = ok && packed(c, first);
    else if (c->facts.tensor[slot].present &&
             !(first >= 0 && slot > first && slot <= ATTNC_V))
      ok = ok && alone(c, slot);
  return ok;
}

/* ---- contents ---- */

static unsigned char *
at(const Call *c, int slot, int64_t b, int64_t h, int64_t s)
{
  const int64_t *st = c->host[slot].stride;
  int packed = facts_packed(&c->facts, slot);
  int64_t batch = packed ? 0 : b * st[0];
  return (unsigned char *)c->host[slot].data +
         (batch + h * st[1 - packed] + s * st[2 - packed]) * (int64_t)element(c, slot);
}

/* By type: NaN, infinity, a NaN that no arithmetic makes (signalling, with a payload). */
typedef struct Bits {
  uint32_t nan, inf, untouched, sign;
} Bits;
static const Bits special[] = {
    [ORACLE_FP16] = {0x7fff, 0x7c00, 0x7c95, 0x8000},
    [ORACLE_BF16] = {0x7fff, 0x7f80, 0x7f95, 0x8000},
    [ORACLE_FP32] = {0x7fffffff, 0x7f800000, 0x7f959595, 0x80000000},
    [FACTS_I32] = {0x7fffffff, 0x7f800000, 0x7f959595,
                   0x80000000}, /* huge, of both signs */
    [FACTS_U32] = {0x7fffffff, 0x7f800000, 0x7f959595, 0x80000000},
};

static void
repeat(Buffer *u, size_t size, const uint32_t *bits, size_t n)
{
  for (size_t i = 0; i + size <= u->bytes; i += size) /* little-endian */
    memcpy(u->host + i, &bits[(i / size + i / 64) % n], size);
}

/* Dead memory of inputs holds NaN of both signs and infinity, in turn; outputs what no
 * kernel writes. */
static void
fill_with_traps(Call *c, int slot)
{
  const Bits *x = &special[c->facts.tensor[slot].type];
  const uint32_t traps[] = {x->nan, x->inf, x->nan | x->sign, x->inf | x->sign};
  Buffer *u = &c->buffers[c->home[slot]];
  if (c->facts.tensor[slot].output)
    repeat(u, element(c, slot), &x->untouched, 1);
  else
    repeat(u, element(c, slot), traps, 4);
}

static void
put_number(int type, unsigned char *to, float f)
{
  uint16_t half = type == ORACLE_BF16 ? bf16_of(f) : f16_of(f);
  uint32_t bits = (uint32_t)(int32_t)f;
  if (type == FACTS_U32 && f > 0) /* of a word all bits are drawn, of f 24 */
    bits *= 0x9e3779b1u;
  const void *from = type >= FACTS_I32     ? (const void *)&bits
                     : type == ORACLE_FP32 ? (const void *)&f
                                           : &half;
  memcpy(to, from, (size_t)facts_bytes(type));
}

/* Slopes are small, a bias and a sink may hide (-inf), a prefix may be below 0 and beyond
 * the keys, a monotone table has runs of one length, another i32 is one of four. */
static float
number_for(const Call *c, int slot, int64_t i, Random *r)
{
  const TensorFacts *t = &c->facts.tensor[slot];
  uint32_t most = (uint32_t)c->c.sizes.sk + 8;
  if (slot == ATTNC_PREFIX_LEN)
    return (float)number_below(r, most) - 4;
  if (t->monotone)
    return (float)(i / (5 + c->c.seed % 60));
  if (t->type == FACTS_I32)
    return (float)number_below(r, 4);
  if (t->type == FACTS_U32) /* words of bits, some of them all the same */
    return number_below(r, 4) ? (float)number_below(r, 1u << 24)
                              : -(float)number_below(r, 2);
  float x = number_normal(r);
  if ((slot == ATTNC_BIAS || slot == ATTNC_SINK) && number_below(r, 16) == 0)
    return -INFINITY;
  return slot == ATTNC_ALIBI_SLOPES ? x / 8 : x;
}

/* One row along the last axis of four. */
static void
fill_row(const Call *c, int slot, const int64_t row[3], int64_t n, Random *r)
{
  size_t size = element(c, slot);
  unsigned char *p = at(c, slot, row[0], row[1], row[2]);
  for (int64_t d = 0; d < n; d++)
    if (drawn_has(c->drawn, slot)) {
      int32_t whole = drawn_at(c->drawn, slot, (int64_t[4]){row[0], row[1], row[2], d});
      memcpy(p + (size_t)d * size, &whole, sizeof whole);
    } else
      put_number(c->facts.tensor[slot].type, p + (size_t)d * size,
                 number_for(c, slot, row[1] + row[2] + d, r));
}

/* Rows that are nobody's keep their traps. */
static void
fill(const Call *c, int slot, Random *r)
{
  const Shape x = facts_shape(&c->facts, &c->c.sizes, slot);
  for (int64_t b = 0; b < x.b; b++)
    for (int64_t h = 0; h < x.h; h++)
      for (int64_t s = 0; s < x.s; s++) {
        const int64_t row[] = {b, h, s};
        if (!facts_is_main(slot) || !drawn_dead(c->drawn, slot, row))
          fill_row(c, slot, row, x.d, r);
      }
}

/* Past the last tensor that is there; every second case names its scalars all the same. */
static attnc_args
args_of(Call *c, const attnc_tensor *tensors)
{
  uint32_t n = FACTS_SLOTS;
  while (n && c->home[n - 1] < 0)
    n--;
  return (attnc_args){.size = sizeof(attnc_args),
                      .sizes = &c->sizes,
                      .tensors = tensors,
                      .tensor_size = sizeof *tensors,
                      .n_tensors = n,
                      .n_scalars =
                          c->c.has_scalars || c->c.seed % 2 ? ATTNC_SCALAR_COUNT : 0,
                      .scalars = c->scalars};
}

/* `draws`: what memory holds is asked for, too. */
static bool
place(Call *c, const Case *from, const attnc_spec *spec, bool draws)
{
  memset(c, 0, sizeof *c);
  c->c = *from;
  attnc_sizes *z = &c->c.sizes;
  if (draws ? !drawn_new(spec, from->seed, z, &c->drawn) : !drawn_sizes(spec, z))
    return false;
  c->sizes = c->c.sizes;
  memcpy(c->scalars, from->scalars, sizeof c->scalars);
  for (int slot = 0; slot < FACTS_SLOTS; slot++)
    c->home[slot] = -1;
  return facts_read(spec, &c->facts) && place_all(c);
}

static void
fill_call(Call *c)
{
  Random r = {0x1000003u * (uint64_t)c->c.seed};
  for (int slot = 0; slot < FACTS_SLOTS; slot++)
    if (c->home[slot] >= 0)
      fill_with_traps(c, slot);
  for (int slot = 0; slot < FACTS_SLOTS; slot++)
    if (c->home[slot] >= 0 && !c->facts.tensor[slot].output)
      fill(c, slot, &r);
  for (int i = 0; i < c->n_buffers; i++)
    memcpy(c->buffers[i].sent, c->buffers[i].host, c->buffers[i].bytes);
  memcpy(c->device, c->host, sizeof c->device);
  c->host_args = args_of(c, c->host);
  c->device_args = args_of(c, c->device);
}

bool
call_build(Call *c, const Case *from, const attnc_spec *spec)
{
  bool ok = place(c, from, spec, true);
  if (ok)
    fill_call(c);
  return ok;
}

static bool
load(Call *c, const Case *from, attnc_spec **spec, bool draws, char *why, size_t n)
{
  attnc_diags *said = NULL;
  *c = (Call){.n_buffers = 0};
  attnc_diags_create(&said);
  attnc_status s = attnc_spec_load(from->spec, strlen(from->spec), "case", spec, said);
  if (s)
    snprintf(why, n, "the spec of the case is refused: %s",
             attnc_diags_count(said) ? attnc_diags_get(said, 0)->message : "no reason");
  attnc_diags_release(said);
  if (s)
    return false;
  if (place(c, from, *spec, draws))
    return true;
  snprintf(why, n, "the call cannot be built");
  return false;
}

bool
call_load(Call *c, const Case *from, attnc_spec **spec, char *why, size_t n)
{
  bool ok = load(c, from, spec, true, why, n);
  if (ok)
    fill_call(c);
  return ok;
}

bool
call_place(Call *c, const Case *from, attnc_spec **spec, char *why, size_t n)
{
  return load(c, from, spec, false, why, n);
}

const attnc_problem *
asked_problem(CallAsked *a)
{
  a->problem = (attnc_problem){.size = sizeof a->problem,
                               .sizes = &a->sizes,
                               .tensors = a->tensors,
                               .tensor_size = sizeof *a->tensors,
                               .n_tensors = FACTS_SLOTS};
  return &a->problem;
}

void
call_problem(const Call *c, CallAsked *a)
{
  *a = (CallAsked){.sizes = c->sizes};
  memcpy(a->tensors, c->host, sizeof a->tensors);
  asked_problem(a);
}

/* ---- the device ---- */

bool
call_upload(Call *c, const Device *d, char *why, size_t n)
{
  for (int i = 0; i < c->n_buffers; i++) {
    Buffer *u = &c->buffers[i];
    CUresult r = u->at ? CUDA_SUCCESS : d->cuMemAlloc_v2(&u->at, u->bytes);
    if (!r)
      r = d->cuMemcpyHtoD_v2(u->at, u->sent, u->bytes);
    if (r) {
      snprintf(why, n, "memory: %s", device_result(d, r));
      return false;
    }
  }
  for (int slot = 0; slot < FACTS_SLOTS; slot++)
    if (c->home[slot] >= 0)
      c->device[slot].data =
          (void *)(uintptr_t)(c->buffers[c->home[slot]].at + c->start[slot]);
  return true;
}

bool
call_download(Call *c, const Device *d, char *why, size_t n)
{
  for (int i = 0; i < c->n_buffers; i++) {
    CUresult r =
        d->cuMemcpyDtoH_v2(c->buffers[i].host, c->buffers[i].at, c->buffers[i].bytes);
    if (r) {
      snprintf(why, n, "cuMemcpyDtoH: %s", device_result(d, r));
      return false;
    }
  }
  return true;
}

void
call_free(Call *c, const Device *d)
{
  for (int i = 0; i < c->n_buffers; i++) {
    if (d && c->buffers[i].at)
      d->cuMemFree_v2(c->buffers[i].at);
    free(c->buffers[i].host);
    free(c->buffers[i].sent);
  }
  drawn_free(c->drawn);
  memset(c, 0, sizeof *c);
}

/* ---- judging ---- */

/* Is an output's row nobody's?  A packed LSE has axes h and rows alone. */
static bool
nobodys(const Call *c, int slot, int64_t b, int64_t h, int64_t s)
{
  if (facts_is_main(slot) || c->facts.tensor[slot].rank == 3)
    return drawn_dead(c->drawn, slot, (int64_t[3]){b, h, s});
  return drawn_dead(c->drawn, slot, (int64_t[3]){0, b, h});
}

/* Every element of an output written that is somebody's; in `copy` they become what was
 * sent, so that the rest can be compared. */
static bool
written(const Call *c, int slot, unsigned char *copy, char *why, size_t n)
{
  const Shape x = facts_shape(&c->facts, &c->c.sizes, slot);
  const Buffer *u = &c->buffers[c->home[slot]];
  const void *no = &special[c->facts.tensor[slot].type].untouched;
  size_t size = element(c, slot);
  for (int64_t b = 0; b < x.b; b++)
    for (int64_t h = 0; h < x.h; h++)
      for (int64_t s = 0; s < x.s; s++) {
        const unsigned char *p = at(c, slot, b, h, s);
        if (nobodys(c, slot, b, h, s))
          continue;
        for (int64_t d = 0; d < x.d; d++)
          if (memcmp(p + (size_t)d * size, no, size) == 0) {
            snprintf(why, n, "%s[b%lld, h%lld, s%lld, d%lld] was not written",
                     c->facts.tensor[slot].name, (long long)b, (long long)h, (long long)s,
                     (long long)d);
            return false;
          }
        memcpy(copy + (p - u->host), u->sent + (p - u->host), (size_t)x.d * size);
      }
  return true;
}

static bool
same(const Call *c, int buffer, const unsigned char *copy, char *why, size_t n)
{
  const Buffer *u = &c->buffers[buffer];
  int slot = 0;
  while (c->home[slot] != buffer)
    slot++;
  for (size_t j = 0; j < u->bytes; j++)
    if (copy[j] != u->sent[j]) {
      snprintf(why, n, "byte %lld from the start of %s was written",
               (long long)j - (long long)c->start[slot], c->facts.tensor[slot].name);
      return false;
    }
  return true;
}

bool
call_intact(const Call *c, char *why, size_t n)
{
  bool ok = true;
  for (int i = 0; i < c->n_buffers && ok; i++) {
    unsigned char *copy = malloc(c->buffers[i].bytes);
    if (!copy) {
      snprintf(why, n, "out of memory");
      return false;
    }
    memcpy(copy, c->buffers[i].host, c->buffers[i].bytes);
    for (int slot = 0; slot < FACTS_SLOTS; slot++)
      if (c->home[slot] == i && c->facts.tensor[slot].output)
        ok = ok && written(c, slot, copy, why, n);
    ok = ok && same(c, i, copy, why, n);
    free(copy);
  }
  return ok;
}
