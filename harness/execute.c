#include "harness/execute.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

/* Counters are zero before the first launch. */
static attnc_status
workspace_new(const Device *d, const attnc_plan *plan, size_t bytes, CUdeviceptr *out,
              attnc_error *e)
{
  size_t zeroed = attnc_plan_zeroed_bytes(plan);
  TRY(device_alloc(d, bytes, out, e));
  if (!zeroed)
    return ATTNC_OK;
  return device_result(d, "cuMemsetD8", d->cuMemsetD8_v2(*out, 0, zeroed), e);
}

attnc_status
execution_new(const Device *d, attnc_plan *plan, const attnc_args *args, Execution *x,
              attnc_error *e)
{
  size_t bytes = 0;
  *x = (Execution){.device = d, .plan = plan, .args = *args};
  if (attnc_plan_workspace(plan, args->sizes, &bytes) != ATTNC_OK)
    return err_set(e, ATTNC_ERR_SHAPE,
                   "the sizes are too large for the kernel's workspace");
  if (bytes)
    TRY(workspace_new(d, plan, bytes, &x->workspace, e));
  x->args.workspace = (void *)(uintptr_t)x->workspace;
  x->args.workspace_bytes = bytes;
  size_t n = (attnc_plan_state_bytes(plan) + 63) / 64 * 64;
  x->state = aligned_alloc(64, n ? n : 64);
  if (!x->state) {
    execution_free(x);
    return err_set(e, ATTNC_ERR_NOMEM, "out of memory");
  }
  memset(x->state, 0, n ? n : 64);
  return ATTNC_OK;
}

void
execution_free(Execution *x)
{
  if (x->workspace)
    x->device->cuMemFree_v2(x->workspace);
  free(x->state);
  x->workspace = 0;
  x->state = NULL;
}

attnc_status
execute(Execution *x, attnc_error *e)
{
  uint32_t items = 0;
  TRY(attnc_launch(x->plan, &x->args, NULL, x->state, e));
  TRY(device_sync(x->device, e));
  TRY(attnc_plan_faults(x->plan, x->args.workspace, &items, e));
  if (items)
    return err_set(e, ATTNC_ERR_SHAPE,
                   "%u items of keys of a head had no room: max_items is %lld", items,
                   (long long)x->args.sizes->max_items);
  return ATTNC_OK;
}

/* Memory that is nobody's, as large as what it is to push out of L2, twice. */
typedef struct Flush {
  CUdeviceptr at; /* 0: nothing is pushed out */
  size_t bytes;
} Flush;

enum { L2_UNKNOWN = 128 << 20 };

static attnc_status
flush_new(const Device *d, bool cold, Flush *f, attnc_error *e)
{
  int bytes = 0;
  *f = (Flush){0};
  if (!cold)
    return ATTNC_OK;
  if (d->cuDeviceGetAttribute(&bytes, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, d->ordinal) ||
      bytes <= 0)
    bytes = L2_UNKNOWN;
  f->bytes = 2 * (size_t)bytes;
  return device_alloc(d, f->bytes, &f->at, e);
}

/* One launch between two events. */
static attnc_status
time_one(Execution *x, const Flush *f, CUevent from, CUevent to, double *ms, attnc_error *e)
{
  const Device *d = x->device;
  float elapsed = 0;
  if (f->at)
    TRY(device_result(d, "cuMemsetD8Async", d->cuMemsetD8Async(f->at, 0, f->bytes, NULL),
                      e));
  TRY(device_result(d, "cuEventRecord", d->cuEventRecord(from, NULL), e));
  TRY(attnc_launch(x->plan, &x->args, NULL, x->state, e));
  TRY(device_result(d, "cuEventRecord", d->cuEventRecord(to, NULL), e));
  TRY(device_result(d, "cuEventSynchronize", d->cuEventSynchronize(to), e));
  TRY(device_result(d, "cuEventElapsedTime", d->cuEventElapsedTime(&elapsed, from, to), e));
  *ms = elapsed;
  return ATTNC_OK;
}

static attnc_status
time_all(Execution *x, int warm_up, int repeat, bool cold, double *ms, attnc_error *e)
{
  const Device *d = x->device;
  CUevent from = NULL, to = NULL;
  Flush flush;
  attnc_status st = flush_new(d, cold, &flush, e);
  for (int i = 0; i < warm_up && st == ATTNC_OK; i++)
    st = attnc_launch(x->plan, &x->args, NULL, x->state, e);
  if (st == ATTNC_OK)
    st = device_result(d, "cuEventCreate", d->cuEventCreate(&from, CU_EVENT_DEFAULT), e);
  if (st == ATTNC_OK)
    st = device_result(d, "cuEventCreate", d->cuEventCreate(&to, CU_EVENT_DEFAULT), e);
  for (int i = 0; i < repeat && st == ATTNC_OK; i++)
    st = time_one(x, &flush, from, to, &ms[i], e);
  if (from)
    d->cuEventDestroy_v2(from);
  if (to)
    d->cuEventDestroy_v2(to);
  if (flush.at)
    d->cuMemFree_v2(flush.at);
  return st;
}

attnc_status
execute_timed(Execution *x, int warm_up, int repeat, bool cold, Timing *t, attnc_error *e)
{
  double *ms = malloc((size_t)repeat * sizeof *ms);
  if (!ms)
    return err_set(e, ATTNC_ERR_NOMEM, "out of memory");
  attnc_status st = time_all(x, warm_up, repeat, cold, ms, e);
  if (st == ATTNC_OK)
    timing_of(ms, repeat, t);
  free(ms);
  return st;
}
