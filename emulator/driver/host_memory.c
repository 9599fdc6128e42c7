/* Memory of the host that kernels reach: page-locked, registered and managed.  Its address
 * is the same for both sides, so it lies where no device memory and no window of the
 * generic address space is.  Every device knows it, each with its own shadow. */
#include "emulator/driver/device.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Where blocks are mapped, one behind the other with gaps, so that an overrun faults on
 * both sides.  User space of 64-bit Linux leaves this range alone unless it is asked for
 * it. */
#define HOST_BASE 0x0000300000000000u
#define HOST_END  0x0000400000000000u
enum { HOST_GAP = 1 << 20, TRIES = 64 };

typedef struct Block {
  uint64_t base;
  size_t bytes;
  AllocKind kind;
  unsigned flags;
  CUcontext owner;
  struct Block *next;
} Block;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Block *blocks;
static uint64_t next_base = HOST_BASE;

void
host_fork(ForkStep step)
{
  fork_mutex(&lock, step);
}

/* ---- pages ---- */

static size_t
whole_pages(size_t bytes)
{
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  return (bytes + page - 1) / page * page;
}

void *
host_map(size_t bytes)
{
  void *p = MAP_FAILED;
  if (!bytes || bytes > DEVICE_MEMORY)
    return NULL;
  size_t n = whole_pages(bytes);
  pthread_mutex_lock(&lock);
  for (int i = 0; p == MAP_FAILED && i < TRIES && next_base + n < HOST_END; i++) {
    p = mmap((void *)next_base, n, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    next_base += n + HOST_GAP;
  }
  pthread_mutex_unlock(&lock);
  return p == MAP_FAILED ? NULL : p;
}

void
host_unmap(void *p, size_t bytes)
{
  munmap(p, whole_pages(bytes));
}

/* ---- blocks ---- */

/* It has this block, or the first n of them. */
static void
forget(uint64_t base, int n)
{
  for (int i = 0; i < n; i++) {
    Device *d = dev_get(i);
    pthread_mutex_lock(&d->busy);
    dev_free(d, base);
    pthread_mutex_unlock(&d->busy);
  }
}

static CUresult
tell_devices(const Block *b)
{
  CUresult r = CUDA_SUCCESS;
  for (int i = 0; !r && i < dev_count(); i++) {
    Device *d = dev_get(i);
    pthread_mutex_lock(&d->busy);
    r = dev_map(d, (void *)b->base, b->bytes, b->kind, NULL);
    pthread_mutex_unlock(&d->busy);
    if (r)
      forget(b->base, i);
  }
  return r;
}

static CUresult
add(void *p, size_t bytes, AllocKind kind, unsigned flags)
{
  Block *b = malloc(sizeof *b);
  if (!b)
    return CUDA_ERROR_OUT_OF_MEMORY;
  *b = (Block){(uintptr_t)p, bytes, kind, flags, context_current(), NULL};
  CUresult r = tell_devices(b);
  if (r) {
    free(b);
    return r;
  }
  pthread_mutex_lock(&lock);
  b->next = blocks;
  blocks = b;
  pthread_mutex_unlock(&lock);
  return CUDA_SUCCESS;
}

static void
end(Block *b)
{
  forget(b->base, dev_count());
  if (b->kind != ALLOC_REGISTERED)
    host_unmap((void *)b->base, b->bytes);
  free(b);
}

CUresult
host_free(uint64_t address, AllocKind kind)
{
  pthread_mutex_lock(&lock);
  Block **p = &blocks;
  while (*p && ((*p)->base != address || (*p)->kind != kind))
    p = &(*p)->next;
  Block *b = *p;
  if (b)
    *p = b->next;
  pthread_mutex_unlock(&lock);
  if (b)
    end(b);
  return b ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

void
host_free_all(CUcontext owner)
{
  for (;;) {
    pthread_mutex_lock(&lock);
    Block *b = blocks;
    while (b && b->owner != owner)
      b = b->next;
    uint64_t base = b ? b->base : 0;
    AllocKind kind = b ? b->kind : ALLOC_HOST;
    pthread_mutex_unlock(&lock);
    if (!b || host_free(base, kind))
      return;
  }
}

static CUresult
find(uint64_t address, Block *out)
{
  pthread_mutex_lock(&lock);
  const Block *b = blocks;
  while (b && (address < b->base || address - b->base >= b->bytes))
    b = b->next;
  if (b)
    *out = *b;
  pthread_mutex_unlock(&lock);
  return b ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* ---- entry points ---- */

static CUresult
need_context(void)
{
  CUdevice device;
  return cuCtxGetDevice(&device);
}

static CUresult
make(void **p, size_t bytes, AllocKind kind, unsigned flags)
{
  CUresult r = p && bytes ? need_context() : CUDA_ERROR_INVALID_VALUE;
  if (r)
    return r;
  void *host = host_map(bytes);
  r = host ? add(host, bytes, kind, flags) : CUDA_ERROR_OUT_OF_MEMORY;
  if (r && host)
    host_unmap(host, bytes);
  if (!r)
    *p = host;
  return r;
}

CUresult
cuMemHostAlloc(void **p, size_t bytes, unsigned flags)
{
  const unsigned known =
      CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
  return flags & ~known ? CUDA_ERROR_INVALID_VALUE : make(p, bytes, ALLOC_HOST, flags);
}

/* With one address space it is mapped and portable anyway; so its flags say. */
CUresult
cuMemAllocHost_v2(void **p, size_t bytes)
{
  return make(p, bytes, ALLOC_HOST, CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP);
}

CUresult
cuMemFreeHost(void *p)
{
  CUresult r = need_context();
  return r || !p ? r : host_free((uintptr_t)p, ALLOC_HOST);
}

static bool
in_windows(uint64_t base, size_t bytes)
{
  bool device = base < GLOBAL_BASE + ((uint64_t)MAX_DEVICES << DEVICE_SHIFT) &&
                base + bytes > GLOBAL_BASE;
  return device || (base < WINDOW_PARAM + WINDOW_SIZE && base + bytes > WINDOW_SHARED);
}

/* What is mapped already may not overlap it. */
static bool
is_mapped(uint64_t base, size_t bytes)
{
  bool is = false;
  pthread_mutex_lock(&lock);
  for (const Block *b = blocks; b; b = b->next)
    is |= b->base < base + bytes && base < b->base + b->bytes;
  pthread_mutex_unlock(&lock);
  return is;
}

CUresult
cuMemHostRegister_v2(void *p, size_t bytes, unsigned flags)
{
  uint64_t base = (uintptr_t)p;
  const unsigned known = CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP;
  if (!p || !bytes || bytes > DEVICE_MEMORY)
    return CUDA_ERROR_INVALID_VALUE;
  if (flags & ~known || in_windows(base, bytes))
    return CUDA_ERROR_NOT_SUPPORTED;
  CUresult r = need_context();
  if (!r && is_mapped(base, bytes))
    r = CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  return r ? r : add(p, bytes, ALLOC_REGISTERED, flags);
}

CUresult
cuMemHostUnregister(void *p)
{
  CUresult r = p ? need_context() : CUDA_ERROR_INVALID_VALUE;
  if (!r && host_free((uintptr_t)p, ALLOC_REGISTERED))
    r = CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
  return r;
}

CUresult
cuMemHostGetDevicePointer_v2(CUdeviceptr *device, void *p, unsigned flags)
{
  Block b;
  CUresult r = device && p && !flags ? need_context() : CUDA_ERROR_INVALID_VALUE;
  r = r ? r : find((uintptr_t)p, &b);
  if (!r)
    *device = (uintptr_t)p;
  return r;
}

CUresult
cuMemHostGetFlags(unsigned *flags, void *p)
{
  Block b;
  CUresult r = flags && p ? need_context() : CUDA_ERROR_INVALID_VALUE;
  r = r ? r : find((uintptr_t)p, &b);
  if (!r && b.kind != ALLOC_HOST)
    r = CUDA_ERROR_INVALID_VALUE;
  if (!r)
    *flags = b.flags;
  return r;
}

/* ---- managed memory ---- */

CUresult
cuMemAllocManaged(CUdeviceptr *p, size_t bytes, unsigned flags)
{
  void *host = NULL;
  if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST)
    return CUDA_ERROR_INVALID_VALUE;
  CUresult r = p ? make(&host, bytes, ALLOC_MANAGED, flags) : CUDA_ERROR_INVALID_VALUE;
  if (!r)
    *p = (uintptr_t)host;
  return r;
}

/* Where its pages are is one place here: advice and prefetches are only held against what
 * they name. */
static CUresult
check_managed(CUdeviceptr p, size_t n, CUmemLocation where)
{
  Block b;
  Device *d;
  if (!n)
    return CUDA_ERROR_INVALID_VALUE;
  CUresult r = need_context();
  r = r ? r : find(p, &b);
  if (!r && (b.kind != ALLOC_MANAGED || b.bytes - (p - b.base) < n))
    r = CUDA_ERROR_INVALID_VALUE;
  if (!r && where.type == CU_MEM_LOCATION_TYPE_DEVICE)
    r = dev_need(where.id, &d);
  return r;
}

CUresult
cuMemAdvise_v2(CUdeviceptr p, size_t n, CUmem_advise advice, CUmemLocation where)
{
  if (advice < CU_MEM_ADVISE_SET_READ_MOSTLY || advice > CU_MEM_ADVISE_UNSET_ACCESSED_BY)
    return CUDA_ERROR_INVALID_VALUE;
  return check_managed(p, n, where);
}

CUresult
cuMemPrefetchAsync_v2(CUdeviceptr p, size_t n, CUmemLocation where, unsigned flags,
                      CUstream stream)
{
  if (flags)
    return CUDA_ERROR_INVALID_VALUE;
  CUresult r = check_managed(p, n, where);
  Device *d = r ? NULL : dev_enter(&r);
  if (!d)
    return r;
  r = stream_uncaptured(d, stream);
  dev_leave(d);
  return r;
}

/* As before 13.0: a device is the place, or the host by a number of its own. */
static CUmemLocation
place_of(CUdevice device)
{
  enum { CPU = -1 };
  return device == CPU ? (CUmemLocation){CU_MEM_LOCATION_TYPE_HOST, 0}
                       : (CUmemLocation){CU_MEM_LOCATION_TYPE_DEVICE, device};
}

CUresult
cuMemAdvise(CUdeviceptr p, size_t n, CUmem_advise advice, CUdevice device)
{
  return cuMemAdvise_v2(p, n, advice, place_of(device));
}

CUresult
cuMemPrefetchAsync(CUdeviceptr p, size_t n, CUdevice device, CUstream stream)
{
  return cuMemPrefetchAsync_v2(p, n, place_of(device), 0, stream);
}
