/* Memory in the order of a stream, and the pools that it is from.  It is there at once, and
 * gone at once: what is freed is given back to the device, so a pool keeps nothing. */
#include "emulator/driver/device.h"

#include <stdlib.h>

static CUmemoryPool
pool_default(Device *d)
{
  CUmemoryPool p = &d->pool;
  if (!p->device) /* the first time */
    *p = (struct CUmemPoolHandle_st){
        .device = d, .reuse = {1, 1, 1}, .access = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  return p;
}

static CUmemoryPool
current(Device *d)
{
  return d->pool_now ? d->pool_now : pool_default(d);
}

static bool
is_pool_of(Device *d, CUmemoryPool pool)
{
  CUmemoryPool p = d->pools;
  while (p && p != pool)
    p = p->next;
  return pool == pool_default(d) || (p && pool && !p->gone);
}

/* Its device, locked; NULL: r says why not. */
static Device *
enter(CUmemoryPool pool, CUresult *r)
{
  *r = dev_started() ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_NOT_INITIALIZED;
  for (int i = 0; i < dev_count(); i++) {
    Device *d = dev_get(i);
    pthread_mutex_lock(&d->busy);
    if (is_pool_of(d, pool)) {
      *r = CUDA_SUCCESS;
      return d;
    }
    pthread_mutex_unlock(&d->busy);
  }
  return NULL;
}

void
pool_freed(CUmemoryPool pool, uint64_t bytes)
{
  pool->used -= bytes;
}

/* ---- allocations ---- */

static CUresult
take(Device *d, CUmemoryPool pool, size_t bytes, uint64_t *address)
{
  if (pool->most && bytes > pool->most - pool->used)
    return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult r = dev_alloc(d, bytes, 0, address);
  if (r)
    return r;
  dev_find(d, *address, 1)->pool = pool;
  pool->used += bytes;
  pool->used_high = pool->used > pool->used_high ? pool->used : pool->used_high;
  return CUDA_SUCCESS;
}

CUresult
cuMemAllocFromPoolAsync(CUdeviceptr *p, size_t bytes, CUmemoryPool pool, CUstream stream)
{
  uint64_t address = 0;
  CUresult r;
  Device *d = p ? enter(pool, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  r = stream_uncaptured(d, stream);
  r = r ? r : take(d, pool, bytes, &address);
  dev_leave(d);
  if (!r)
    *p = address;
  return r;
}

CUresult
cuMemAllocAsync(CUdeviceptr *p, size_t bytes, CUstream stream)
{
  CUresult r;
  Device *d = p ? dev_enter(&r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  CUmemoryPool pool = current(d);
  dev_leave(d);
  return cuMemAllocFromPoolAsync(p, bytes, pool, stream);
}

CUresult
cuMemFreeAsync(CUdeviceptr p, CUstream stream)
{
  CUresult r;
  Device *d = p ? dev_enter(&r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  Alloc *a = dev_find(d, p, 1);
  r = stream_uncaptured(d, stream);
  if (!r)
    r = a && a->kind == ALLOC_DEVICE ? dev_free(d, p) : CUDA_ERROR_INVALID_VALUE;
  dev_leave(d);
  return r;
}

/* ---- pools ---- */

CUresult
cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice device)
{
  Device *d;
  CUresult r = pool ? dev_need(device, &d) : CUDA_ERROR_INVALID_VALUE;
  if (r)
    return r;
  pthread_mutex_lock(&d->busy);
  *pool = pool_default(d);
  dev_leave(d);
  return CUDA_SUCCESS;
}

CUresult
cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice device)
{
  Device *d;
  CUresult r = pool ? dev_need(device, &d) : CUDA_ERROR_INVALID_VALUE;
  if (r)
    return r;
  pthread_mutex_lock(&d->busy);
  *pool = current(d);
  dev_leave(d);
  return CUDA_SUCCESS;
}

CUresult
cuDeviceSetMemPool(CUdevice device, CUmemoryPool pool)
{
  Device *d;
  CUresult r = dev_need(device, &d);
  if (r)
    return r;
  pthread_mutex_lock(&d->busy);
  bool ok = is_pool_of(d, pool);
  if (ok)
    d->pool_now = pool;
  dev_leave(d);
  return ok ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult
cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *props)
{
  Device *d;
  if (!pool || !props || props->allocType != CU_MEM_ALLOCATION_TYPE_PINNED)
    return CUDA_ERROR_INVALID_VALUE;
  if (props->handleTypes || props->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
    return CUDA_ERROR_NOT_SUPPORTED;
  CUresult r = dev_need(props->location.id, &d);
  CUmemoryPool p = r ? NULL : calloc(1, sizeof *p);
  if (!p)
    return r ? r : CUDA_ERROR_OUT_OF_MEMORY;
  pthread_mutex_lock(&d->busy);
  *p = *pool_default(d);
  p->threshold = p->used = p->used_high = 0;
  p->most = props->maxSize;
  p->next = d->pools;
  d->pools = p;
  dev_leave(d);
  *pool = p;
  return CUDA_SUCCESS;
}

/* Of a device's current pool the default one takes the place. */
CUresult
cuMemPoolDestroy(CUmemoryPool pool)
{
  CUresult r;
  Device *d = enter(pool, &r);
  if (!d)
    return r;
  if (pool == &d->pool)
    r = CUDA_ERROR_INVALID_VALUE;
  else
    pool->gone = true;
  if (d->pool_now == pool)
    d->pool_now = NULL;
  dev_leave(d);
  return r;
}

CUresult
cuMemPoolTrimTo(CUmemoryPool pool, size_t keep)
{
  CUresult r;
  Device *d = enter(pool, &r);
  (void)keep; /* it has nothing that is not in use */
  if (d)
    dev_leave(d);
  return r;
}

/* What an attribute is, for who sets it and who asks. */
static bool
is_reuse(CUmemPool_attribute a)
{
  return a >= CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES &&
         a <= CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES;
}

static CUresult
set(CUmemoryPool p, CUmemPool_attribute a, const void *value)
{
  if (is_reuse(a)) {
    p->reuse[a - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES] = *(const int *)value;
    return CUDA_SUCCESS;
  }
  uint64_t v = *(const uint64_t *)value;
  if (a == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) {
    p->threshold = v;
    return CUDA_SUCCESS;
  }
  bool high = a == CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH || a == CU_MEMPOOL_ATTR_USED_MEM_HIGH;
  if (!high || v)
    return CUDA_ERROR_INVALID_VALUE;
  p->used_high = p->used;
  return CUDA_SUCCESS;
}

static CUresult
get(CUmemoryPool p, CUmemPool_attribute a, void *value)
{
  if (is_reuse(a)) {
    *(int *)value = p->reuse[a - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES];
    return CUDA_SUCCESS;
  }
  uint64_t *v = value;
  switch (a) {
  case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
    *v = p->threshold;
    return CUDA_SUCCESS;
  case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
  case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
    *v = p->used;
    return CUDA_SUCCESS;
  case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
  case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
    *v = p->used_high;
    return CUDA_SUCCESS;
  default:
    return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult
cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute a, void *value)
{
  CUresult r;
  Device *d = value ? enter(pool, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  r = set(pool, a, value);
  dev_leave(d);
  return r;
}

CUresult
cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute a, void *value)
{
  CUresult r;
  Device *d = value ? enter(pool, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  r = get(pool, a, value);
  dev_leave(d);
  return r;
}

/* A pool's own device reads and writes it always; others never reach it. */
CUresult
cuMemPoolSetAccess(CUmemoryPool pool, const CUmemAccessDesc *map, size_t n)
{
  CUresult r;
  Device *d = map || !n ? enter(pool, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  for (size_t i = 0; !r && i < n; i++) {
    bool own = map[i].location.type == CU_MEM_LOCATION_TYPE_DEVICE &&
               map[i].location.id == d->ordinal;
    bool all = map[i].flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    bool none = map[i].flags == CU_MEM_ACCESS_FLAGS_PROT_NONE;
    r = own == all && (all || none) ? CUDA_SUCCESS
        : own                       ? CUDA_ERROR_NOT_SUPPORTED
                                    : CUDA_ERROR_INVALID_DEVICE;
  }
  dev_leave(d);
  return r;
}

CUresult
cuMemPoolGetAccess(CUmemAccess_flags *flags, CUmemoryPool pool, CUmemLocation *where)
{
  CUresult r;
  Device *d = flags && where ? enter(pool, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  bool own = where->type == CU_MEM_LOCATION_TYPE_DEVICE && where->id == d->ordinal;
  *flags = own ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE : CU_MEM_ACCESS_FLAGS_PROT_NONE;
  dev_leave(d);
  return CUDA_SUCCESS;
}
