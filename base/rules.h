/* rules.h: what a call must fulfil before a kernel is launched with it: the device, sizes,
 * scalars, addresses and strides.
 *
 * Plain C which C++ takes too, without a type or a function of attnc: the library checks
 * with it (base/call*.c gives the faults their words), and what `attnc compile --emit c`
 * writes has this very text in it.  Pure; nothing is printed, a fault is data. */
#ifndef ATTNC_RULES_H
#define ATTNC_RULES_H

#include <float.h>
#include <stdint.h>

enum { RULE_AXES = 5 };

typedef enum RuleBroken {
  RULE_KEPT,
  RULE_SIZE_NEGATIVE,
  RULE_SIZE_LARGE,
  RULE_HEADS,         /* h is not a multiple of hk */
  RULE_GROUP,         /* h / hk is pinned to another number */
  RULE_SIZE_CONSTANT, /* a constant of the kernel is another */
  RULE_PAGE_SIZE,     /* a page without rows */
  RULE_PAGES,         /* more keys than a sequence's pages have */
  RULE_PREFIX,        /* more queries than may share a prefix */
  RULE_SCALAR,        /* none that a kernel can multiply by */
  RULE_SCALAR_FINITE, /* not finite as fp32 */
  RULE_NULL,
  RULE_ADDRESS,         /* not aligned */
  RULE_STRIDE_LAST,     /* that of the last axis is not 1 */
  RULE_STRIDE_RESERVED, /* past the last axis and not 0 */
  RULE_STRIDE_ALIGN,
  RULE_STRIDE_SPAN,     /* leaves the address space */
  RULE_STRIDE_ZERO,     /* an output's, along which something steps */
  RULE_STRIDE_TWICE,    /* an output's: with `other` one address for two elements */
  RULE_STRIDE_CONSTANT, /* a constant of the kernel is another */
  RULE_SCALAR_SHARE     /* not from 0 to below 1 */
} RuleBroken;

typedef struct RuleFault {
  RuleBroken what;
  int at, other; /* index of the size; of the axis */
} RuleFault;

static inline int
rule_broken(RuleFault *f, RuleBroken what, int at, int other)
{
  f->what = what;
  f->at = at;
  f->other = other;
  return 0;
}

/* ---- devices ---- */

/* Does a kernel for capability `made_for` (90 is 9.0) run on a device of capability `cc`?
 * That of an exact target runs on its own alone, another on later ones too. */
static inline int
rule_runs(int made_for, int exact, int cc)
{
  return exact ? made_for == cc : made_for <= cc;
}

/* And its machine code, on those of its generation from its own on. */
static inline int
rule_runs_cubin(int made_for, int exact, int cc)
{
  return exact ? made_for == cc : made_for <= cc && made_for / 10 == cc / 10;
}

/* Of those that run on a device the greatest suits it best. */
static inline int
rule_suits(int made_for, int exact)
{
  return 2 * made_for + !!exact;
}

/* Capabilities from which on there are tensor maps, and clusters of blocks. */
enum { RULE_CC_MAPS = 90, RULE_CC_CLUSTERS = 90 };
static inline int
rule_has(int since, int cc)
{
  return since <= cc;
}

/* ---- sizes ---- */

typedef struct RuleSizes {
  int n, h, hk;            /* how many; which of them the heads are */
  int64_t most;            /* of each */
  int64_t group;           /* h / hk; 0: any */
  int hints;               /* 0 is not a size but one that is open */
  const int64_t *constant; /* of the kernel, each -1: none; NULL: none at all */
} RuleSizes;

static inline int
rule_heads(const RuleSizes *r, int64_t h, int64_t hk, RuleFault *f)
{
  if (r->hints && (h == 0 || hk == 0))
    return 1;
  if (hk == 0 ? h != 0 : h % hk != 0)
    return rule_broken(f, RULE_HEADS, r->h, r->hk);
  if (r->group && (hk == 0 || h / hk != r->group))
    return rule_broken(f, RULE_GROUP, r->h, r->hk);
  return 1;
}

/* 1, or 0 and what is broken; so all of them. */
static inline int
rule_sizes(const RuleSizes *r, const int64_t *size, RuleFault *f)
{
  for (int i = 0; i < r->n; i++) {
    if (size[i] < 0)
      return rule_broken(f, RULE_SIZE_NEGATIVE, i, 0);
    if (size[i] > r->most)
      return rule_broken(f, RULE_SIZE_LARGE, i, 0);
  }
  if (!rule_heads(r, size[r->h], size[r->hk], f))
    return 0;
  for (int i = 0; r->constant && i < r->n; i++)
    if (r->constant[i] >= 0 && size[i] != r->constant[i])
      return rule_broken(f, RULE_SIZE_CONSTANT, i, 0);
  return 1;
}

/* Of a call whose k and v are pages. */
static inline int
rule_pages(int64_t sk, int64_t page_size, int64_t max_pages, RuleFault *f)
{
  if (page_size < 1)
    return rule_broken(f, RULE_PAGE_SIZE, 0, 0);
  if (sk / page_size + (sk % page_size != 0) > max_pages)
    return rule_broken(f, RULE_PAGES, 0, 0);
  return 1;
}

/* Of a call whose sequences share a prefix: so many batches of so many queries each are
 * rows of one. */
static inline int
rule_prefix(int64_t b, int64_t sq, RuleFault *f)
{
  if (sq > 0 && b > (INT64_C(1) << 30) / sq)
    return rule_broken(f, RULE_PREFIX, 0, 0);
  return 1;
}

/* ---- scalars ---- */

/* What a scalar must be: finite; above zero; a share, from 0 to below 1. */
typedef enum RuleBounds { RULE_ANY, RULE_POSITIVE, RULE_SHARE } RuleBounds;

/* As the fp32 that kernels get.  NaN is none: the default is taken then.  A positive one is
 * a normal number up to 2^127, whose product with log2 e is finite. */
static inline int
rule_scalar(double value, int bounds, RuleFault *f)
{
  float stored = (float)value;
  if (bounds == RULE_SHARE && !(stored >= 0 && stored < 1))
    return rule_broken(f, RULE_SCALAR_SHARE, 0, 0);
  if (bounds == RULE_POSITIVE && !(stored >= FLT_MIN && stored <= FLT_MAX / 2))
    return rule_broken(f, RULE_SCALAR, 0, 0);
  if (!(stored >= -FLT_MAX && stored <= FLT_MAX))
    return rule_broken(f, RULE_SCALAR_FINITE, 0, 0);
  return 1;
}

/* ---- tensors ---- */

typedef struct RuleTensor {
  int n;                   /* axes */
  int bytes;               /* of an element */
  int align;               /* bytes, of its address and of its strides */
  int out;                 /* it is written */
  int contiguous;          /* its strides are not the caller's */
  const int64_t *constant; /* strides that are constants of the kernel; NULL: none are */
} RuleTensor;

/* Device addresses have 49 bits (CUDA C++ programming guide, unified addressing): a tensor
 * that spans more bytes than this is none. */
#define RULE_MOST_SPAN ((int64_t)1 << 48)

static inline int
rule_is_empty(const RuleTensor *t, const int64_t *length)
{
  for (int i = 0; i < t->n; i++)
    if (length[i] == 0)
      return 1;
  return 0;
}

static inline uint64_t
rule_magnitude(int64_t x)
{
  return x < 0 ? 0 - (uint64_t)x : (uint64_t)x;
}

/* Strides without gaps; of a tensor that nobody has the largest that there is. */
static inline void
rule_pack(const RuleTensor *t, const int64_t *length, int64_t *stride)
{
  int64_t step = 1;
  for (int i = RULE_AXES - 1; i >= 0; i--) {
    stride[i] = i < t->n ? step : 0;
    if (i < t->n)
      step = length[i] && step > INT64_MAX / length[i] ? INT64_MAX : step * length[i];
  }
}

/* Divisions are what a check of strides costs: those of two are done without. */
static inline int
rule_is_aligned(int64_t stride, int bytes, int align)
{
  if (align & (align - 1))
    return stride % align * bytes % align == 0;
  return ((uint64_t)stride * (uint64_t)bytes & (uint64_t)(align - 1)) == 0;
}

static inline int
rule_stride(const RuleTensor *t, int i, int64_t length, int64_t stride, uint64_t *span,
            RuleFault *f)
{
  const uint64_t step = rule_magnitude(stride), steps = (uint64_t)(length - 1);
  const uint64_t most = (uint64_t)RULE_MOST_SPAN;
  if (!rule_is_aligned(stride, t->bytes, t->align))
    return rule_broken(f, RULE_STRIDE_ALIGN, i, 0);
  if ((step | steps) >> 31 && step > most / steps)
    return rule_broken(f, RULE_STRIDE_SPAN, i, 0);
  *span += step * steps;
  if (*span > most || *span * (uint64_t)t->bytes > most)
    return rule_broken(f, RULE_STRIDE_SPAN, i, 0);
  return 1;
}

/* Axes by the length of their steps: each steps over all that the shorter ones reach, as in
 * every tensor that was cut out of a dense one. */
static inline int
rule_is_nested(const RuleTensor *t, const int64_t *length, const int64_t *stride)
{
  uint64_t step[RULE_AXES], reach = 0;
  int64_t its[RULE_AXES];
  int n = 0;
  for (int i = 0; i < t->n; i++) {
    int at = n;
    if (length[i] < 2)
      continue;
    for (; at > 0 && step[at - 1] > rule_magnitude(stride[i]); at--) {
      step[at] = step[at - 1];
      its[at] = its[at - 1];
    }
    step[at] = rule_magnitude(stride[i]);
    its[at] = length[i];
    n++;
  }
  for (int i = 0; i < n; i++) {
    if (step[i] <= reach)
      return 0;
    reach += (uint64_t)(its[i] - 1) * step[i];
  }
  return 1;
}

/* Steps along two axes lead to one address twice: i * a == j * b with 0 < i < length of a,
 * 0 < j < length of b. */
static inline int
rule_meet(uint64_t a, int64_t length_a, uint64_t b, int64_t length_b)
{
  uint64_t g = a, rest = b;
  if (length_a < 2 || length_b < 2)
    return 0;
  while (rest) { /* the greatest common divisor */
    uint64_t next = g % rest;
    g = rest;
    rest = next;
  }
  return g == 0 || (b / g < (uint64_t)length_a && a / g < (uint64_t)length_b);
}

static inline int
rule_output(const RuleTensor *t, const int64_t *length, const int64_t *stride, RuleFault *f)
{
  if (rule_is_nested(t, length, stride))
    return 1;
  for (int i = 0; i < t->n; i++) {
    if (length[i] > 1 && stride[i] == 0)
      return rule_broken(f, RULE_STRIDE_ZERO, i, 0);
    for (int j = 0; j < i; j++)
      if (rule_meet(rule_magnitude(stride[i]), length[i], rule_magnitude(stride[j]),
                    length[j]))
        return rule_broken(f, RULE_STRIDE_TWICE, i, j);
  }
  return 1;
}

/* The strides of a tensor of a call.  That of an axis along which nothing steps is not
 * looked at and becomes 0; those of a contiguous tensor become the packed ones. */
static inline int
rule_strides(const RuleTensor *t, const int64_t *length, int64_t *stride, RuleFault *f)
{
  uint64_t span = 0;
  if (t->contiguous) {
    rule_pack(t, length, stride);
    return 1;
  }
  if (stride[t->n - 1] != 1)
    return rule_broken(f, RULE_STRIDE_LAST, t->n - 1, 0);
  for (int i = t->n; i < RULE_AXES; i++)
    if (stride[i] != 0)
      return rule_broken(f, RULE_STRIDE_RESERVED, i, 0);
  for (int i = 0; i + 1 < t->n; i++)
    if (length[i] < 2)
      stride[i] = 0;
    else if (!rule_stride(t, i, length[i], stride[i], &span, f))
      return 0;
  if (t->out && !rule_is_empty(t, length) && !rule_output(t, length, stride, f))
    return 0;
  for (int i = 0; t->constant && i < t->n; i++)
    if (length[i] > 1 && stride[i] != t->constant[i])
      return rule_broken(f, RULE_STRIDE_CONSTANT, i, 0);
  return 1;
}

/* Address and strides.  A tensor without elements has no data to point to. */
static inline int
rule_tensor(const RuleTensor *t, const int64_t *length, uint64_t address, int64_t *stride,
            RuleFault *f)
{
  if (address == 0)
    return rule_is_empty(t, length) ? 1 : rule_broken(f, RULE_NULL, 0, 0);
  if (!rule_is_aligned((int64_t)address, 1, t->align))
    return rule_broken(f, RULE_ADDRESS, 0, 0);
  return rule_strides(t, length, stride, f);
}

#endif
