#include "tests/e2e/call.h"
#include "tests/e2e/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 512, GUARD_ROWS = 70, DEAD_ROWS = 5 };

static const char *const names[ATTNC_SLOT_COUNT] = {"q", "k", "v", "o", "lse"};

/* ---- shapes and strides ---- */

typedef struct Shape {
  int64_t b, h, s, d;
} Shape;

static Shape
shape(const Trial *t, int slot)
{
  bool query = slot == ATTNC_Q || slot == ATTNC_O || slot == ATTNC_LSE;
  Shape s = {t->b, query ? t->h : t->hk, query ? t->sq : t->sk, t->d};
  if (slot == ATTNC_V || slot == ATTNC_O)
    s.d = t->dv;
  if (slot == ATTNC_LSE)
    s.d = 1;
  return s;
}

static int
element(int slot)
{
  return slot == ATTNC_LSE ? 4 : 2;
}

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

/* Strides of (b, h, s); the elements that the tensor spans are returned. */
static int64_t
strides(const Trial *t, int slot, int64_t st[5])
{
  Shape x = shape(t, slot);
  int64_t gap = 0, plane = 0, dead = 0;
  bool heads_first = t->layout == TRIAL_BHSD;
  if (t->layout == TRIAL_PADDED && slot != ATTNC_LSE) {
    gap = 8 * (1 + (t->seed + (unsigned)slot) % 3);
    plane = 8 * (1 + (t->seed + (unsigned)slot) % 2);
    dead = DEAD_ROWS;
    heads_first = (t->seed + (unsigned)slot) % 2 != 0;
  }
  if (slot == ATTNC_LSE)
    heads_first = true;
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
  if (t->layout == TRIAL_PADDED && slot != ATTNC_LSE)
    make_odd(&x, st);
  return n;
}

/* ---- buffers ---- */

static bool
buffer_new(Call *c, int64_t elements, int64_t row, int bytes_each)
{
  Buffer *u = &c->buffers[c->n_buffers++];
  size_t tail = (size_t)(GUARD_ROWS * row * bytes_each);
  u->bytes = GUARD + (size_t)(elements * bytes_each) + (tail > GUARD ? tail : GUARD);
  u->bytes = (u->bytes + 15) & ~(size_t)15;
  u->host = malloc(u->bytes);
  u->sent = malloc(u->bytes);
  return u->host && u->sent;
}

static void
place(Call *c, int slot, int64_t offset)
{
  c->home[slot] = c->n_buffers - 1;
  c->start[slot] = GUARD + (size_t)(offset * element(slot));
  c->host[slot].data = c->buffers[c->home[slot]].host + c->start[slot];
}

static bool
alone(Call *c, int slot)
{
  int64_t n = strides(&c->trial, slot, c->host[slot].stride);
  if (!buffer_new(c, n, c->host[slot].stride[2], element(slot)))
    return false;
  place(c, slot, 0);
  return true;
}

/* Slots first … V in one buffer: a row of it has all heads of each, side by side. */
static bool
packed(Call *c, int first)
{
  const Trial *t = &c->trial;
  int64_t row = 0, offset = 0;
  for (int slot = first; slot <= ATTNC_V; slot++)
    row += shape(t, slot).h * shape(t, slot).d;
  if (!buffer_new(c, t->b * t->sk * row, row, 2))
    return false;
  for (int slot = first; slot <= ATTNC_V; slot++) {
    Shape x = shape(t, slot);
    const int64_t st[5] = {x.s * row, x.d, row, 1, 0};
    memcpy(c->host[slot].stride, st, sizeof st);
    place(c, slot, offset);
    offset += x.h * x.d;
  }
  return true;
}

static bool
place_all(Call *c)
{
  const Trial *t = &c->trial;
  bool ok = true;
  int first = t->layout != TRIAL_PACKED ? ATTNC_O : t->sq == t->sk ? ATTNC_Q : ATTNC_K;
  for (int slot = 0; slot < first && slot < ATTNC_O; slot++)
    ok = ok && alone(c, slot);
  if (first < ATTNC_O)
    ok = ok && packed(c, first);
  ok = ok && alone(c, ATTNC_O);
  if (t->lse)
    ok = ok && alone(c, ATTNC_LSE);
  return ok;
}

/* ---- contents ---- */

static unsigned char *
at(const Call *c, int slot, int64_t b, int64_t h, int64_t s)
{
  const int64_t *st = c->host[slot].stride;
  return (unsigned char *)c->host[slot].data +
         (b * st[0] + h * st[1] + s * st[2]) * element(slot);
}

/* NaN of both signs and infinity, in turn: what dead memory of inputs holds. */
static void
plant(const Call *c, Buffer *u)
{
  const uint16_t inf = c->trial.dtype == TRIAL_BF16 ? 0x7f80 : 0x7c00;
  const uint16_t traps[4] = {0x7fff, inf, 0xffff, (uint16_t)(inf | 0x8000)};
  for (size_t i = 0; i + 1 < u->bytes; i += 2)
    memcpy(u->host + i, &traps[(i / 2 + i / 64) % 4], 2);
}

/* Signalling NaNs with a payload of their own: arithmetic gives 0x7fff, never these. */
static uint16_t
untouched16(const Trial *t)
{
  return t->dtype == TRIAL_BF16 ? 0x7f95 : 0x7c95;
}
static const uint32_t untouched32 = 0x7f959595;

static void
poison(const Call *c, int slot)
{
  Buffer *u = (Buffer *)&c->buffers[c->home[slot]];
  const uint16_t x = untouched16(&c->trial);
  size_t size = (size_t)element(slot);
  for (size_t i = 0; i + size <= u->bytes; i += size)
    memcpy(u->host + i, slot == ATTNC_LSE ? (const void *)&untouched32 : &x, size);
}

static void
fill(const Call *c, int slot, Random *r)
{
  const Shape x = shape(&c->trial, slot);
  for (int64_t b = 0; b < x.b; b++)
    for (int64_t h = 0; h < x.h; h++)
      for (int64_t s = 0; s < x.s; s++) {
        unsigned char *p = at(c, slot, b, h, s);
        for (int64_t d = 0; d < x.d; d++) {
          float f = random_normal(r);
          uint16_t u = c->trial.dtype == TRIAL_BF16 ? bf16_of(f) : f16_of(f);
          memcpy(p + 2 * d, &u, 2);
        }
      }
}

static attnc_args
args_of(Call *c, const attnc_tensor *tensors)
{
  double scale = trial_softmax_scale(&c->trial);
  bool given = c->trial.scale == SCALE_ARG;
  c->scalars[ATTNC_SOFTMAX_SCALE] = given ? scale : NAN;
  return (attnc_args){.size = sizeof(attnc_args),
                      .sizes = &c->sizes,
                      .tensors = tensors,
                      .tensor_size = sizeof *tensors,
                      .n_tensors = c->trial.lse ? ATTNC_LSE + 1 : ATTNC_O + 1,
                      .n_scalars = given || c->trial.seed % 2 ? ATTNC_SCALAR_COUNT : 0,
                      .scalars = c->scalars};
}

bool
call_build(Call *c, const Trial *t)
{
  Random r = {0x1000003u * (uint64_t)t->seed};
  memset(c, 0, sizeof *c);
  c->trial = *t;
  c->sizes = trial_sizes(t);
  for (int slot = 0; slot < ATTNC_SLOT_COUNT; slot++)
    c->home[slot] = -1;
  if (!place_all(c))
    return false;
  for (int i = 0; i < c->n_buffers; i++)
    plant(c, &c->buffers[i]);
  for (int slot = ATTNC_Q; slot <= ATTNC_V; slot++)
    fill(c, slot, &r);
  poison(c, ATTNC_O);
  if (t->lse)
    poison(c, ATTNC_LSE);
  for (int i = 0; i < c->n_buffers; i++)
    memcpy(c->buffers[i].sent, c->buffers[i].host, c->buffers[i].bytes);
  memcpy(c->device, c->host, sizeof c->device);
  c->host_args = args_of(c, c->host);
  c->device_args = args_of(c, c->device);
  return true;
}

const attnc_problem *
asked_problem(CallAsked *a)
{
  a->problem = (attnc_problem){.size = sizeof a->problem,
                               .sizes = &a->sizes,
                               .tensors = a->tensors,
                               .tensor_size = sizeof *a->tensors,
                               .n_tensors = ATTNC_SLOT_COUNT};
  return &a->problem;
}

void
call_problem(const Call *c, CallAsked *a)
{
  *a = (CallAsked){.sizes = trial_sizes(&c->trial)};
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
  for (int slot = 0; slot < ATTNC_SLOT_COUNT; slot++)
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
  memset(c, 0, sizeof *c);
}

/* ---- judging ---- */

/* Every element of an output written; in `copy` they become what was sent, so that the rest
 * can be compared. */
static bool
written(const Call *c, int slot, unsigned char *copy, char *why, size_t n)
{
  const Shape x = shape(&c->trial, slot);
  const Buffer *u = &c->buffers[c->home[slot]];
  const uint16_t no16 = untouched16(&c->trial);
  size_t size = (size_t)element(slot);
  const void *no = slot == ATTNC_LSE ? (const void *)&untouched32 : &no16;
  for (int64_t b = 0; b < x.b; b++)
    for (int64_t h = 0; h < x.h; h++)
      for (int64_t s = 0; s < x.s; s++) {
        const unsigned char *p = at(c, slot, b, h, s);
        for (int64_t d = 0; d < x.d; d++)
          if (memcmp(p + (size_t)d * size, no, size) == 0) {
            snprintf(why, n, "%s[b%lld, h%lld, s%lld, d%lld] was not written", names[slot],
                     (long long)b, (long long)h, (long long)s, (long long)d);
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
               (long long)j - (long long)c->start[slot], names[slot]);
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
    for (int slot = ATTNC_O; slot < ATTNC_SLOT_COUNT; slot++)
      if (c->home[slot] == i)
        ok = ok && written(c, slot, copy, why, n);
    ok = ok && same(c, i, copy, why, n);
    free(copy);
  }
  return ok;
}
