/* What is known of an address. */
#include "emulator/driver/device.h"

#include <attnc/attnc_emu.h>

#include <string.h>

/* The allocation that the address is in, and whose it is. */
typedef struct Found {
  Alloc alloc;
  Device *device;
} Found;

static bool
find(uint64_t address, Found *f)
{
  CUcontext c = context_current();
  Device *d = dev_of(address);
  d = d ? d : c ? c->device : NULL;
  if (!d)
    return false;
  pthread_mutex_lock(&d->busy);
  const Alloc *a = dev_find(d, address, 1);
  if (a)
    *f = (Found){*a, d};
  dev_leave(d);
  return a != NULL;
}

EXPORT int
attncEmuSectorsRead(uint64_t address, uint64_t *sectors)
{
  CUresult r;
  Device *d = dev_enter(&r);
  const Alloc *a = d ? dev_find(d, address, 1) : NULL;
  if (a && sectors)
    *sectors = shadow_mem_sectors_read(a->shadow);
  if (d)
    dev_leave(d);
  return a && sectors ? 0 : -1;
}

static CUmemorytype
type_of(const Found *f)
{
  bool host = f->alloc.kind == ALLOC_HOST || f->alloc.kind == ALLOC_REGISTERED;
  return host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
}

#define PUT(T, v) *(T *)data = (T)(v)

static CUresult
get_more(const Found *f, CUpointer_attribute attribute, void *data)
{
  switch (attribute) {
  case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
    PUT(unsigned, 1); /* everything has happened when a call returns */
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_BUFFER_ID:
    PUT(unsigned long long, f->alloc.id);
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
  case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
    PUT(CUdeviceptr, f->alloc.base);
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
  case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
    PUT(size_t, f->alloc.bytes);
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
    PUT(uint64_t, 0);
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
    PUT(CUmemAccess_flags, CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
    PUT(CUmemoryPool, f->alloc.pool);
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
    PUT(unsigned long long, f->alloc.id);
    return CUDA_SUCCESS;
  default:
    return CUDA_ERROR_NOT_SUPPORTED;
  }
}

static CUresult
get(const Found *f, uint64_t address, CUpointer_attribute attribute, void *data)
{
  bool host = f->alloc.kind != ALLOC_DEVICE;
  switch (attribute) {
  case CU_POINTER_ATTRIBUTE_CONTEXT:
    PUT(CUcontext, f->alloc.owner ? f->alloc.owner : context_current());
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
    PUT(unsigned, type_of(f));
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
    PUT(CUdeviceptr, address);
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_HOST_POINTER:
    PUT(void *, host ? address : 0);
    return host ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    PUT(bool, f->alloc.kind == ALLOC_MANAGED);
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
    PUT(int, f->device->ordinal);
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_MAPPED:
    PUT(bool, true);
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
  case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
    PUT(bool, false);
    return CUDA_SUCCESS;
  default:
    return get_more(f, attribute, data);
  }
}

static CUresult
need_context(void)
{
  CUdevice device;
  return cuCtxGetDevice(&device);
}

CUresult
cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr p)
{
  Found f;
  CUresult r = data ? need_context() : CUDA_ERROR_INVALID_VALUE;
  if (r)
    return r;
  return find(p, &f) ? get(&f, p, attribute, data) : CUDA_ERROR_INVALID_VALUE;
}

/* Of an address that the driver does not know most are 0, and none is an error. */
static CUresult
get_nothing(CUpointer_attribute attribute, void *data)
{
  switch (attribute) {
  case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
    PUT(unsigned, 0);
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
    PUT(int, -2); /* the guide of cudaPointerGetAttributes: no device */
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_IS_MANAGED:
  case CU_POINTER_ATTRIBUTE_MAPPED:
    PUT(bool, false);
    return CUDA_SUCCESS;
  case CU_POINTER_ATTRIBUTE_CONTEXT:
  case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
  case CU_POINTER_ATTRIBUTE_HOST_POINTER:
  case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
  case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
  case CU_POINTER_ATTRIBUTE_BUFFER_ID:
  case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
    PUT(uint64_t, 0);
    return CUDA_SUCCESS;
  default:
    return CUDA_ERROR_NOT_SUPPORTED;
  }
}

CUresult
cuPointerGetAttributes(unsigned n, CUpointer_attribute *attributes, void **data,
                       CUdeviceptr p)
{
  Found f;
  CUresult r = attributes && data ? need_context() : CUDA_ERROR_INVALID_VALUE;
  bool found = !r && find(p, &f);
  for (unsigned i = 0; !r && i < n; i++) {
    r = found ? get(&f, p, attributes[i], data[i]) : get_nothing(attributes[i], data[i]);
    if (r == CUDA_ERROR_INVALID_VALUE) /* a device pointer has no host pointer */
      r = CUDA_SUCCESS;
  }
  return r;
}

/* Copies have happened when a call returns: that is what the attribute asks for. */
CUresult
cuPointerSetAttribute(const void *value, CUpointer_attribute attribute, CUdeviceptr p)
{
  Found f;
  CUresult r = value ? need_context() : CUDA_ERROR_INVALID_VALUE;
  if (r)
    return r;
  return attribute == CU_POINTER_ATTRIBUTE_SYNC_MEMOPS && find(p, &f)
             ? CUDA_SUCCESS
             : CUDA_ERROR_INVALID_VALUE;
}
