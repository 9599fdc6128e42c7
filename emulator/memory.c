#include "emulator/dev.h"

#include <stdlib.h>
#include <string.h>

/* Between allocations nothing is mapped: an overrun always faults. */
enum { ALIGNMENT = 512, GAP = 1 << 20 };

/* ---- allocations ---- */

static int
position(const Device *d, uint64_t address)
{
  int lo = 0, hi = d->n_allocs;
  while (lo < hi) {
    int mid = (lo + hi) / 2;
    if (d->allocs[mid].base <= address)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo - 1;
}

Alloc *
dev_find(Device *d, uint64_t address, uint64_t n)
{
  int i = position(d, address);
  Alloc *a = i < 0 ? NULL : &d->allocs[i];
  if (!a || address - a->base > a->bytes || a->bytes - (address - a->base) < n)
    return NULL;
  return a;
}

static bool
room(Device *d)
{
  if (d->n_allocs < d->cap_allocs)
    return true;
  int cap = d->cap_allocs ? 2 * d->cap_allocs : 64;
  Alloc *more = realloc(d->allocs, (size_t)cap * sizeof *more);
  if (!more)
    return false;
  d->allocs = more;
  d->cap_allocs = cap;
  return true;
}

/* Addresses are never given out twice, so the new one is the highest. */
CUresult
dev_alloc(Device *d, uint64_t bytes, bool read_only, uint64_t *address)
{
  if (!bytes)
    return CUDA_ERROR_INVALID_VALUE;
  if (bytes > DEVICE_MEMORY - d->allocated || !room(d))
    return CUDA_ERROR_OUT_OF_MEMORY;
  uint64_t size = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  Alloc a = {.base = d->next_address,
             .bytes = bytes,
             .read_only = read_only,
             .owner = context_current()};
  a.host = aligned_alloc(ALIGNMENT, size);
  a.shadow = shadow_mem_new(bytes);
  if (!a.host || !a.shadow) {
    free(a.host);
    shadow_mem_free(a.shadow);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  memset(a.host, 0xff, size); /* NaN, whatever the type */
  d->allocs[d->n_allocs++] = a;
  d->allocated += bytes;
  d->next_address += (size + GAP + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  *address = a.base;
  return CUDA_SUCCESS;
}

static void
drop(Alloc *a)
{
  free(a->host);
  shadow_mem_free(a->shadow);
}

CUresult
dev_free(Device *d, uint64_t address)
{
  int i = position(d, address);
  if (i < 0 || d->allocs[i].base != address)
    return CUDA_ERROR_INVALID_VALUE;
  d->allocated -= d->allocs[i].bytes;
  drop(&d->allocs[i]);
  d->n_allocs--;
  memmove(&d->allocs[i], &d->allocs[i + 1], (size_t)(d->n_allocs - i) * sizeof *d->allocs);
  return CUDA_SUCCESS;
}

static void
free_allocs(Device *d, CUcontext owner)
{
  int n = 0;
  for (int i = 0; i < d->n_allocs; i++)
    if (d->allocs[i].owner == owner) {
      d->allocated -= d->allocs[i].bytes;
      drop(&d->allocs[i]);
    } else {
      d->allocs[n++] = d->allocs[i];
    }
  d->n_allocs = n;
  if (!n) {
    free(d->allocs);
    d->allocs = NULL;
    d->cap_allocs = 0;
  }
}

void
dev_free_all(Device *d, CUcontext owner)
{
  module_free_all(d, owner);
  free_allocs(d, owner);
  stream_free_all(d, owner);
}

/* ---- entry points ---- */

CUresult
cuMemAlloc_v2(CUdeviceptr *p, size_t bytes)
{
  CUresult r;
  uint64_t address = 0;
  Device *d = p ? dev_enter(&r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  r = dev_alloc(d, bytes, false, &address);
  dev_leave(d);
  if (!r)
    *p = address;
  return r;
}

CUresult
cuMemFree_v2(CUdeviceptr p)
{
  CUresult r;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  r = p ? dev_free(d, p) : CUDA_SUCCESS;
  dev_leave(d);
  return r;
}

CUresult
cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t n)
{
  CUresult r;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  stream_settle_all(d);
  Alloc *a = n ? dev_find(d, to, n) : NULL;
  if (n && (!a || !from))
    r = CUDA_ERROR_INVALID_VALUE;
  if (n && !r) {
    memcpy(a->host + (to - a->base), from, n);
    shadow_mem_init(a->shadow, to - a->base, n);
  }
  dev_leave(d);
  return r;
}

CUresult
cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t n)
{
  CUresult r;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  stream_settle_all(d);
  Alloc *a = n ? dev_find(d, from, n) : NULL;
  if (n && (!a || !to))
    r = CUDA_ERROR_INVALID_VALUE;
  if (n && !r)
    memcpy(to, a->host + (from - a->base), n);
  dev_leave(d);
  return r;
}

static CUresult
set(CUdeviceptr to, uint32_t value, size_t unit, size_t n)
{
  CUresult r;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  bool fits = n <= DEVICE_MEMORY / unit;
  Alloc *a = n && fits ? dev_find(d, to, n * unit) : NULL;
  if (n && (!a || to % unit))
    r = CUDA_ERROR_INVALID_VALUE;
  if (n && !r) {
    uint8_t *p = a->host + (to - a->base);
    if (unit == 1)
      memset(p, (int)value, n);
    for (size_t i = 0; unit == 4 && i < n; i++)
      memcpy(p + 4 * i, &value, 4);
    shadow_mem_init(a->shadow, to - a->base, n * unit);
  }
  dev_leave(d);
  return r;
}

CUresult
cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t n)
{
  return set(to, value, 1, n);
}

CUresult
cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t n)
{
  return set(to, value, 4, n);
}
