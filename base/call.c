#include "base/call.h"

#include "base/err.h"
#include "base/rules.h"

#include <string.h>

/* ---- structs of other versions ---- */

/* No version of a struct is larger: a size beyond it was not set. */
enum { MAX_STRUCT = 4096 };

static attnc_status
check_size(size_t size, size_t least, const char *name, attnc_error *e)
{
  if (size < least || size > MAX_STRUCT || size % sizeof(int))
    return err_set(e, ATTNC_ERR_USAGE, "%s.size is not set", name);
  return ATTNC_OK;
}

static bool
all_zero(const char *bytes, size_t from, size_t to)
{
  for (size_t i = from; i < to; i++)
    if (bytes[i])
      return false;
  return true;
}

attnc_status
struct_take(void *to, size_t size, const void *from, size_t least, const char *name,
            attnc_error *e)
{
  size_t its;
  if (!from)
    return err_set(e, ATTNC_ERR_USAGE, "%s is NULL", name);
  memcpy(&its, from, sizeof its);
  TRY(check_size(its, least, name, e));
  if (!all_zero(from, size, its))
    return err_set(e, ATTNC_ERR_USAGE, "%s sets a field that this library does not know",
                   name);
  memset(to, 0, size);
  memcpy(to, from, its < size ? its : size);
  memcpy(to, &size, sizeof size);
  return ATTNC_OK;
}

attnc_status
struct_give(void *to, const void *from, size_t size, size_t least, const char *name,
            attnc_error *e)
{
  size_t its;
  if (!to)
    return err_set(e, ATTNC_ERR_USAGE, "%s is NULL", name);
  memcpy(&its, to, sizeof its);
  TRY(check_size(its, least, name, e));
  memset(to, 0, its);
  memcpy(to, from, its < size ? its : size);
  memcpy(to, &its, sizeof its);
  return ATTNC_OK;
}

const void *
array_at(const void *array, size_t step, size_t i)
{
  return (const char *)array + i * step;
}

/* ---- sizes ---- */

static const size_t size_offsets[SIZE_COUNT] = {
#define X(id, name, what) offsetof(attnc_sizes, name),
    ATTNC_SIZE_TABLE(X)
#undef X
};

const char *const size_names[SIZE_COUNT] = {
#define X(id, name, what) #name,
    ATTNC_SIZE_TABLE(X)
#undef X
};

int64_t
size_get(const attnc_sizes *s, SizeId id)
{
  return *(const int64_t *)array_at(s, 1, size_offsets[id]);
}

void
size_set(attnc_sizes *s, SizeId id, int64_t value)
{
  memcpy((char *)s + size_offsets[id], &value, sizeof value);
}

attnc_status
sizes_take(attnc_sizes *to, const attnc_sizes *from, attnc_error *e)
{
  return struct_take(to, sizeof *to, from, SIZE_UPTO(attnc_sizes, sk), "attnc_sizes", e);
}

static attnc_status
size_fault(const RuleSizes *r, const int64_t *size, const RuleFault *f, attnc_error *e)
{
  const char *name = size_names[f->at];
  long long v = size[f->at], h = size[SIZE_H], hk = size[SIZE_HK];
  switch (f->what) {
  case RULE_SIZE_NEGATIVE:
    return err_set(e, ATTNC_ERR_SHAPE, "%s is %lld", name, v);
  case RULE_SIZE_LARGE:
    return err_set(e, ATTNC_ERR_SHAPE, "%s is %lld, more than the %lld that a kernel takes",
                   name, v, (long long)r->most);
  case RULE_HEADS:
    return err_set(e, ATTNC_ERR_SHAPE, "h is %lld, not a multiple of hk, %lld", h, hk);
  case RULE_GROUP:
    return err_set(e, ATTNC_ERR_SHAPE,
                   "h is %lld and hk %lld; group_size is pinned to %lld", h, hk,
                   (long long)r->group);
  case RULE_SIZE_CONSTANT:
    if (size_is_choice((SizeId)f->at) && !r->constant[f->at])
      return err_set(e, ATTNC_ERR_SHAPE,
                     "%s is %lld; this kernel does not split keys so: it must be 0", name,
                     v);
    return err_set(e, ATTNC_ERR_SHAPE, "%s is %lld; this kernel is specialised for %lld",
                   name, v, (long long)r->constant[f->at]);
  default:
    return err_set(e, ATTNC_ERR_INTERNAL, "rule %d of sizes is broken", (int)f->what);
  }
}

attnc_status
sizes_check(const attnc_sizes *s, const SizeRules *rules, attnc_error *e)
{
  const RuleSizes r = {.n = SIZE_COUNT,
                       .h = SIZE_H,
                       .hk = SIZE_HK,
                       .most = rules->most,
                       .group = rules->group,
                       .hints = rules->hints,
                       .constant = rules->constant};
  int64_t size[SIZE_COUNT];
  RuleFault f;
  for (int i = 0; i < SIZE_COUNT; i++)
    size[i] = size_get(s, (SizeId)i);
  return rule_sizes(&r, size, &f) ? ATTNC_OK : size_fault(&r, size, &f, e);
}

static bool
tensor_has(const CallTensor *t, SizeId id)
{
  for (int i = 0; t->name && i < t->n_axes; i++)
    if (!t->axes[i].n && t->axes[i].size == id)
      return true;
  return false;
}

bool
size_is_had(const CallTensor *t, int n, SizeId id)
{
  bool had = id <= SIZE_SK || size_is_choice(id);
  for (int i = 0; i < n && !had; i++) /* of pages sp is what counts of them */
    had = tensor_has(&t[i], id) ||
          (id == SIZE_SP && tensor_has(&t[i], SIZE_MAX_PREFIX_PAGES));
  return had;
}

attnc_status
sizes_check_had(const attnc_sizes *s, const CallTensor *t, int n, attnc_error *e)
{
  for (int i = SIZE_SK + 1; i < SIZE_COUNT; i++)
    if (size_get(s, (SizeId)i) && !size_is_had(t, n, (SizeId)i))
      return err_set(e, ATTNC_ERR_SHAPE,
                     "%s is %lld; it must be 0: no tensor of the call has such an axis",
                     size_names[i], (long long)size_get(s, (SizeId)i));
  return ATTNC_OK;
}

/* The queries of all sequences are rows of one. */
static attnc_status
check_prefix(const attnc_sizes *s, const CallTensor *t, int n, attnc_error *e)
{
  RuleFault f;
  bool paged = size_is_had(t, n, SIZE_MAX_PREFIX_PAGES);
  if (paged && !rule_pages(s->sp, s->page_size, s->max_prefix_pages, &f))
    return err_set(e, ATTNC_ERR_SHAPE,
                   "sp is %lld, more than the %lld rows of max_prefix_pages, %lld, of "
                   "page_size, %lld",
                   (long long)s->sp, (long long)(s->max_prefix_pages * s->page_size),
                   (long long)s->max_prefix_pages, (long long)s->page_size);
  if (rule_prefix(s->b, size_is_had(t, n, SIZE_TOTAL_Q) ? 0 : s->sq, &f))
    return ATTNC_OK;
  return err_set(e, ATTNC_ERR_SHAPE,
                 "b is %lld and sq %lld: more than the 2^30 queries that share a prefix",
                 (long long)s->b, (long long)s->sq);
}

attnc_status
sizes_check_pages(const attnc_sizes *s, const CallTensor *t, int n, attnc_error *e)
{
  RuleFault f;
  if (size_is_had(t, n, SIZE_SP))
    TRY(check_prefix(s, t, n, e));
  if (!size_is_had(t, n, SIZE_MAX_PAGES) ||
      rule_pages(s->sk, s->page_size, s->max_pages, &f))
    return ATTNC_OK;
  if (f.what == RULE_PAGE_SIZE)
    return err_set(e, ATTNC_ERR_SHAPE, "page_size is 0; a page has at least one row");
  return err_set(
      e, ATTNC_ERR_SHAPE,
      "sk is %lld, more than the %lld rows of max_pages, %lld, of page_size, %lld",
      (long long)s->sk, (long long)(s->max_pages * s->page_size), (long long)s->max_pages,
      (long long)s->page_size);
}

/* ---- tensors ---- */

attnc_status
tensors_take(attnc_tensor *to, size_t room, const attnc_tensor *from, size_t step, size_t n,
             attnc_error *e)
{
  enum { LEAST = SIZE_UPTO(attnc_tensor, stride) };
  memset(to, 0, room * sizeof *to);
  if (!n)
    return ATTNC_OK;
  if (!from)
    return err_set(e, ATTNC_ERR_USAGE, "tensors is NULL");
  if (step < LEAST || step > MAX_STRUCT || step % sizeof(void *))
    return err_set(e, ATTNC_ERR_USAGE, "tensor_size is %zu, not sizeof(attnc_tensor)",
                   step);
  for (size_t i = 0; i < n && i < room; i++) {
    const void *one = array_at(from, step, i);
    if (!all_zero(one, sizeof *to, step))
      return err_set(e, ATTNC_ERR_USAGE,
                     "tensors[%zu] sets a field that this library does not know", i);
    memcpy(&to[i], one, step < sizeof *to ? step : sizeof *to);
  }
  return ATTNC_OK;
}

/* ---- problems ---- */

attnc_status
problem_take(ProblemCopy *to, const attnc_problem *from, int64_t group, attnc_error *e)
{
  const SizeRules rules = {.most = CALL_MAX_SIZE, .group = group, .hints = true};
  attnc_problem p;
  *to = (ProblemCopy){.sizes.size = sizeof to->sizes};
  if (!from)
    return ATTNC_OK;
  TRY(struct_take(&p, sizeof p, from, SIZE_UPTO(attnc_problem, flags), "attnc_problem", e));
  if (p.op < 0 || p.op >= ATTNC_OP_COUNT)
    return err_set(e, ATTNC_ERR_UNSUPPORTED, "op %d is not one that attnc knows", p.op);
  if (p.device < 0 || p.flags & ~ATTNC_NOWAIT)
    return err_set(e, ATTNC_ERR_USAGE,
                   "attnc_problem: device or flags are not as documented");
  to->op = p.op;
  to->device = p.device;
  to->flags = p.flags;
  to->stream = p.stream;
  if (p.mean_q < 0 || p.mean_k < 0)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_problem: mean_q or mean_k is negative");
  to->mean_q = p.mean_q;
  to->mean_k = p.mean_k;
  if (p.sizes)
    TRY(sizes_take(&to->sizes, p.sizes, e));
  TRY(sizes_check(&to->sizes, &rules, e));
  return tensors_take(to->tensors, CALL_SLOTS, p.tensors, p.tensor_size, p.n_tensors, e);
}

attnc_status
compile_options_take(attnc_compile_options *to, const attnc_compile_options *from,
                     attnc_error *e)
{
  return struct_take(to, sizeof *to, from, SIZE_UPTO(attnc_compile_options, ptx_version),
                     "attnc_compile_options", e);
}
