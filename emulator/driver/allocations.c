#include "emulator/driver/device.h"
#include "emulator/driver/pages.h"

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

/* By address: device memory is never given out twice at one, so that it comes last but for
 * what the host has mapped above. */
static CUresult
insert(Device *d, Alloc a)
{
  static atomic_uint_fast64_t ids;
  a.shadow = room(d) ? shadow_mem_new(a.bytes) : NULL;
  if (!a.shadow)
    return CUDA_ERROR_OUT_OF_MEMORY;
  a.id = atomic_fetch_add(&ids, 1) + 1;
  int i = position(d, a.base) + 1;
  memmove(&d->allocs[i + 1], &d->allocs[i], (size_t)(d->n_allocs - i) * sizeof a);
  d->allocs[i] = a;
  d->n_allocs++;
  return CUDA_SUCCESS;
}

uint64_t
dev_free_bytes(const Device *d)
{
  return DEVICE_MEMORY - d->allocated;
}

CUresult
dev_alloc(Device *d, uint64_t bytes, unsigned how, uint64_t *address)
{
  if (!bytes)
    return CUDA_ERROR_INVALID_VALUE;
  if (bytes > dev_free_bytes(d))
    return CUDA_ERROR_OUT_OF_MEMORY;
  uint64_t size = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  Alloc a = {.base = d->next_address,
             .bytes = bytes,
             .read_only = how & DEV_READ_ONLY,
             .owner = context_current()};
  a.host = pages_new(bytes, how & DEV_ZEROS);
  CUresult r = a.host ? insert(d, a) : CUDA_ERROR_OUT_OF_MEMORY;
  if (r) {
    if (a.host)
      pages_free(a.host, bytes);
    return r;
  }
  if (how & DEV_ZEROS)
    shadow_mem_init(dev_find(d, a.base, bytes)->shadow, 0, bytes);
  d->allocated += bytes;
  d->next_address += (size + GAP + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  *address = a.base;
  return CUDA_SUCCESS;
}

/* The host may write there whenever it likes, so nothing of it counts as unwritten. */
CUresult
dev_map(Device *d, void *host, uint64_t bytes, AllocKind kind, CUcontext owner)
{
  Alloc a = {.base = (uintptr_t)host,
             .bytes = bytes,
             .host = host,
             .kind = (uint8_t)kind,
             .owner = owner};
  CUresult r = insert(d, a);
  if (!r)
    shadow_mem_init(dev_find(d, a.base, bytes)->shadow, 0, bytes);
  return r;
}

static void
drop(Device *d, Alloc *a)
{
  if (a->kind == ALLOC_DEVICE) {
    d->allocated -= a->bytes;
    pages_free(a->host, a->bytes);
  } else if (a->owner) {
    host_unmap(a->host, a->bytes);
  }
  if (a->pool)
    pool_freed(a->pool, a->bytes);
  shadow_mem_free(a->shadow);
}

CUresult
dev_free(Device *d, uint64_t address)
{
  int i = position(d, address);
  if (i < 0 || d->allocs[i].base != address)
    return CUDA_ERROR_INVALID_VALUE;
  drop(d, &d->allocs[i]);
  d->n_allocs--;
  memmove(&d->allocs[i], &d->allocs[i + 1], (size_t)(d->n_allocs - i) * sizeof *d->allocs);
  return CUDA_SUCCESS;
}

Device *
dev_of(uint64_t address)
{
  uint64_t ordinal = (address - GLOBAL_BASE) >> DEVICE_SHIFT;
  return address < GLOBAL_BASE || ordinal >= MAX_DEVICES ? NULL : dev_get((int)ordinal);
}

static void
free_allocs(Device *d, CUcontext owner)
{
  int n = 0;
  for (int i = 0; i < d->n_allocs; i++)
    if (d->allocs[i].owner == owner) {
      drop(d, &d->allocs[i]);
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
  r = stream_host(d, false, true);
  if (!r)
    r = dev_alloc(d, bytes, 0, &address);
  dev_leave(d);
  if (!r)
    *p = address;
  return r;
}

/* Managed memory is of all devices. */
CUresult
cuMemFree_v2(CUdeviceptr p)
{
  CUresult r;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  r = stream_host(d, false, true);
  if (!r) /* it waits for the device */
    stream_settle_all(d);
  Alloc *a = p && !r ? dev_find(d, p, 1) : NULL;
  bool shared = a && !a->owner, mine = a && a->kind == ALLOC_DEVICE;
  if (!r)
    r = mine ? dev_free(d, p) : p && !shared ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
  dev_leave(d);
  return shared ? host_free(p, ALLOC_MANAGED) : r;
}

/* Rows are as far apart as makes each of them start as an allocation does. */
CUresult
cuMemAllocPitch_v2(CUdeviceptr *p, size_t *pitch, size_t width, size_t height,
                   unsigned element)
{
  if (!p || !pitch || !width || !height || width > DEVICE_MEMORY ||
      height > DEVICE_MEMORY || (element != 4 && element != 8 && element != 16))
    return CUDA_ERROR_INVALID_VALUE;
  size_t row = (width + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  if (height > DEVICE_MEMORY / row)
    return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult r = cuMemAlloc_v2(p, row * height);
  if (!r)
    *pitch = row;
  return r;
}

CUresult
cuMemGetInfo_v2(size_t *free_bytes, size_t *total)
{
  CUresult r;
  Device *d = free_bytes && total ? dev_enter(&r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  *free_bytes = dev_free_bytes(d);
  *total = DEVICE_MEMORY;
  dev_leave(d);
  return CUDA_SUCCESS;
}

CUresult
cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes, CUdeviceptr p)
{
  CUresult r;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  const Alloc *a = dev_find(d, p, 1);
  if (a && base)
    *base = a->base;
  if (a && bytes)
    *bytes = a->bytes;
  dev_leave(d);
  return a ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
