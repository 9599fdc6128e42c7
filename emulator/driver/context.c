/* Contexts: what owns memory, modules, streams and events of a device.  The primary one is
 * the device's, created ones are added; all of a device share its address space and its
 * lock, and with a context goes what it owns.  The current context is a stack per thread.
 */
#include "emulator/driver/capture.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_STACK = 32 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static CUcontext created; /* destroyed ones stay: no handle ever comes back as another's */

static _Thread_local CUcontext stack[MAX_STACK];
static _Thread_local int depth;
static _Thread_local bool in_host_function;

void
context_fork(ForkStep step)
{
  fork_mutex(&lock, step);
}

void
context_init(CUcontext c, Device *d)
{
  static atomic_uint_fast64_t ids;
  c->device = d;
  c->id = atomic_fetch_add(&ids, 1) + 1;
  c->version = DRIVER_VERSION;
  c->limit[CU_LIMIT_STACK_SIZE] = 1024;
  c->limit[CU_LIMIT_PRINTF_FIFO_SIZE] = 1 << 20;
  c->limit[CU_LIMIT_MALLOC_HEAP_SIZE] = 8 << 20;
  c->limit[CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH] = 2;
  c->limit[CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT] = 2048;
  c->limit[CU_LIMIT_MAX_L2_FETCH_GRANULARITY] = 128;
}

/* ---- which are there ---- */

static bool
is_there(CUcontext c)
{
  bool is = false;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < dev_count(); i++)
    is |= c == &dev_get(i)->context && c->retained;
  for (CUcontext p = created; p; p = p->next)
    is |= c == p && c->retained;
  pthread_mutex_unlock(&lock);
  return is;
}

CUcontext
context_current(void)
{
  return depth ? stack[depth - 1] : NULL;
}

/* The one that is meant, NULL: the current one. */
static CUresult
need(CUcontext *c)
{
  if (!dev_started())
    return CUDA_ERROR_NOT_INITIALIZED;
  *c = *c ? *c : context_current();
  return *c && is_there(*c) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

void
dev_call_host(CUhostFn f, void *data)
{
  in_host_function = true;
  f(data);
  in_host_function = false;
}

Device *
context_enter(CUcontext c, CUresult *r)
{
  *r = in_host_function ? CUDA_ERROR_NOT_PERMITTED : need(&c);
  if (*r)
    return NULL;
  pthread_mutex_lock(&c->device->busy);
  return c->device;
}

Device *
dev_enter(CUresult *r)
{
  return context_enter(NULL, r);
}

void
dev_leave(Device *d)
{
  pthread_mutex_unlock(&d->busy);
}

/* ---- the primary one ---- */

CUresult
cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
  Device *d;
  CUresult r = context ? dev_need(device, &d) : CUDA_ERROR_INVALID_VALUE;
  if (r)
    return r;
  pthread_mutex_lock(&lock);
  d->context.retained++;
  pthread_mutex_unlock(&lock);
  *context = &d->context;
  return CUDA_SUCCESS;
}

static void
lose_all(CUcontext c)
{
  host_free_all(c);
  pthread_mutex_lock(&c->device->busy);
  dev_free_all(c->device, c);
  pthread_mutex_unlock(&c->device->busy);
}

/* With the last release everything that the context had is gone. */
CUresult
cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
  Device *d;
  CUresult r = dev_need(device, &d);
  if (r)
    return r;
  pthread_mutex_lock(&lock);
  bool was = d->context.retained > 0, last = d->context.retained == 1;
  d->context.retained -= was;
  pthread_mutex_unlock(&lock);
  if (last)
    lose_all(&d->context);
  return was ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

/* It stays retained, and is as if new. */
CUresult
cuDevicePrimaryCtxReset_v2(CUdevice device)
{
  Device *d;
  CUresult r = dev_need(device, &d);
  if (!r)
    lose_all(&d->context);
  return r;
}

CUresult
cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active)
{
  Device *d;
  CUresult r = flags && active ? dev_need(device, &d) : CUDA_ERROR_INVALID_VALUE;
  if (r)
    return r;
  pthread_mutex_lock(&lock);
  *flags = d->context.flags;
  *active = d->context.retained > 0;
  pthread_mutex_unlock(&lock);
  return CUDA_SUCCESS;
}

/* How a thread waits for the device is all that they say, and nobody waits here. */
static bool
flags_ok(unsigned flags)
{
  unsigned wait = flags & CU_CTX_SCHED_MASK;
  return !(flags & ~(unsigned)CU_CTX_FLAGS_MASK) && !(wait & (wait - 1));
}

CUresult
cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned flags)
{
  Device *d;
  CUresult r = flags_ok(flags) ? dev_need(device, &d) : CUDA_ERROR_INVALID_VALUE;
  if (r)
    return r;
  pthread_mutex_lock(&lock);
  d->context.flags = flags;
  pthread_mutex_unlock(&lock);
  return CUDA_SUCCESS;
}

/* ---- created ones ---- */

static CUresult
push(CUcontext c)
{
  if (depth == MAX_STACK)
    return CUDA_ERROR_OUT_OF_MEMORY;
  stack[depth++] = c;
  return CUDA_SUCCESS;
}

static CUresult
create(CUcontext *context, unsigned flags, CUdevice device, unsigned version)
{
  Device *d;
  CUresult r = context && flags_ok(flags) ? dev_need(device, &d) : CUDA_ERROR_INVALID_VALUE;
  if (r)
    return r;
  CUcontext c = calloc(1, sizeof *c);
  r = c ? push(c) : CUDA_ERROR_OUT_OF_MEMORY;
  if (r) {
    free(c);
    return r;
  }
  context_init(c, d);
  c->retained = 1;
  c->flags = flags;
  c->version = version;
  pthread_mutex_lock(&lock);
  c->next = created;
  created = c;
  pthread_mutex_unlock(&lock);
  *context = c;
  return CUDA_SUCCESS;
}

CUresult
cuCtxCreate_v2(CUcontext *context, unsigned flags, CUdevice device)
{
  return create(context, flags, device, 3020);
}

/* Affinity to some SMs is for MPS, graphics is for Windows: neither is here. */
CUresult
cuCtxCreate_v3(CUcontext *context, CUexecAffinityParam *affinity, int n, unsigned flags,
               CUdevice device)
{
  if (n < 0 || (n && !affinity))
    return CUDA_ERROR_INVALID_VALUE;
  return n ? CUDA_ERROR_NOT_SUPPORTED : create(context, flags, device, 11040);
}

CUresult
cuCtxCreate_v4(CUcontext *context, CUctxCreateParams *p, unsigned flags, CUdevice device)
{
  if (p && (p->execAffinityParams || p->numExecAffinityParams || p->cigParams))
    return CUDA_ERROR_NOT_SUPPORTED;
  return create(context, flags, device, 12050);
}

CUresult
cuCtxDestroy_v2(CUcontext context)
{
  if (!dev_started())
    return CUDA_ERROR_NOT_INITIALIZED;
  bool was = false;
  pthread_mutex_lock(&lock);
  for (CUcontext p = created; p; p = p->next)
    was |= p == context && p->retained;
  if (was)
    context->retained = 0;
  pthread_mutex_unlock(&lock);
  if (!was)
    return CUDA_ERROR_INVALID_CONTEXT;
  lose_all(context);
  if (context_current() == context)
    depth--;
  return CUDA_SUCCESS;
}

/* ---- which is current ---- */

CUresult
cuCtxGetCurrent(CUcontext *context)
{
  if (!context)
    return CUDA_ERROR_INVALID_VALUE;
  if (!dev_started())
    return CUDA_ERROR_NOT_INITIALIZED;
  *context = context_current();
  return CUDA_SUCCESS;
}

/* NULL is a context as well: none. */
CUresult
cuCtxSetCurrent(CUcontext context)
{
  if (!dev_started())
    return CUDA_ERROR_NOT_INITIALIZED;
  if (context && !is_there(context))
    return CUDA_ERROR_INVALID_CONTEXT;
  if (!depth)
    depth = 1;
  stack[depth - 1] = context;
  return CUDA_SUCCESS;
}

CUresult
cuCtxPushCurrent_v2(CUcontext context)
{
  if (!dev_started())
    return CUDA_ERROR_NOT_INITIALIZED;
  return context && is_there(context) ? push(context) : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult
cuCtxPopCurrent_v2(CUcontext *context)
{
  if (!dev_started())
    return CUDA_ERROR_NOT_INITIALIZED;
  if (!depth)
    return CUDA_ERROR_INVALID_CONTEXT;
  depth--;
  if (context)
    *context = stack[depth];
  return CUDA_SUCCESS;
}

/* ---- what is known of one ---- */

CUresult
cuCtxGetDevice_v2(CUdevice *device, CUcontext c)
{
  CUresult r = device ? need(&c) : CUDA_ERROR_INVALID_VALUE;
  if (!r)
    *device = c->device->ordinal;
  return r;
}

CUresult
cuCtxGetDevice(CUdevice *device)
{
  return cuCtxGetDevice_v2(device, NULL);
}

CUresult
cuCtxSynchronize_v2(CUcontext c)
{
  CUresult r;
  Device *d = context_enter(c, &r);
  if (!d)
    return r;
  r = capture_settle(d);
  if (!r)
    stream_settle_all(d);
  report_counters(d);
  dev_leave(d);
  return r;
}

CUresult
cuCtxSynchronize(void)
{
  return cuCtxSynchronize_v2(NULL);
}

CUresult
cuCtxGetFlags(unsigned *flags)
{
  CUcontext c = NULL;
  CUresult r = flags ? need(&c) : CUDA_ERROR_INVALID_VALUE;
  if (!r)
    *flags = c->flags;
  return r;
}

CUresult
cuCtxSetFlags(unsigned flags)
{
  CUcontext c = NULL;
  CUresult r = flags_ok(flags) ? need(&c) : CUDA_ERROR_INVALID_VALUE;
  if (!r)
    c->flags = flags;
  return r;
}

CUresult
cuCtxGetId(CUcontext c, unsigned long long *id)
{
  CUresult r = id ? need(&c) : CUDA_ERROR_INVALID_VALUE;
  if (!r)
    *id = c->id;
  return r;
}

CUresult
cuCtxGetApiVersion(CUcontext c, unsigned *version)
{
  CUresult r = version ? need(&c) : CUDA_ERROR_INVALID_VALUE;
  if (!r)
    *version = c->version;
  return r;
}

/* Kept and told; the stack and the heap of a kernel are as large as it needs. */
CUresult
cuCtxGetLimit(size_t *value, CUlimit which)
{
  CUcontext c = NULL;
  if (!value)
    return CUDA_ERROR_INVALID_VALUE;
  if ((unsigned)which >= CONTEXT_LIMITS)
    return CUDA_ERROR_NOT_SUPPORTED;
  CUresult r = need(&c);
  if (!r)
    *value = c->limit[which];
  return r;
}

CUresult
cuCtxSetLimit(CUlimit which, size_t value)
{
  CUcontext c = NULL;
  if ((unsigned)which >= CONTEXT_LIMITS)
    return CUDA_ERROR_NOT_SUPPORTED;
  CUresult r = need(&c);
  if (!r)
    c->limit[which] = value;
  return r;
}

static bool
cache_ok(CUfunc_cache v)
{
  return (unsigned)v <= CU_FUNC_CACHE_PREFER_EQUAL;
}

CUresult
cuCtxGetCacheConfig(CUfunc_cache *value)
{
  CUcontext c = NULL;
  CUresult r = value ? need(&c) : CUDA_ERROR_INVALID_VALUE;
  if (!r)
    *value = c->cache;
  return r;
}

CUresult
cuCtxSetCacheConfig(CUfunc_cache value)
{
  CUcontext c = NULL;
  CUresult r = cache_ok(value) ? need(&c) : CUDA_ERROR_INVALID_VALUE;
  if (!r)
    c->cache = value;
  return r;
}

CUresult
cuCtxGetStreamPriorityRange(int *least, int *greatest)
{
  CUcontext c = NULL;
  CUresult r = need(&c);
  if (!r && least)
    *least = 0;
  if (!r && greatest)
    *greatest = GREATEST_PRIORITY;
  return r;
}

CUresult
cuCtxResetPersistingL2Cache(void)
{
  CUcontext c = NULL;
  return need(&c);
}

/* No device reaches the memory of another (cuDeviceCanAccessPeer). */
CUresult
cuCtxEnablePeerAccess(CUcontext peer, unsigned flags)
{
  CUcontext c = NULL;
  CUresult r = flags || !peer ? CUDA_ERROR_INVALID_VALUE : need(&c);
  r = r ? r : need(&peer);
  return r                           ? r
         : peer->device == c->device ? CUDA_ERROR_INVALID_DEVICE
                                     : CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
}

CUresult
cuCtxDisablePeerAccess(CUcontext peer)
{
  CUcontext c = NULL;
  CUresult r = peer ? need(&c) : CUDA_ERROR_INVALID_CONTEXT;
  r = r ? r : need(&peer);
  return r ? r : CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
}

/* A program that says what of it a profiler is to see; none is there. */
CUresult
cuProfilerStart(void)
{
  CUcontext c = NULL;
  return need(&c);
}

CUresult
cuProfilerStop(void)
{
  CUcontext c = NULL;
  return need(&c);
}
