/* Copies and memsets that a stream orders. */
#include "emulator/driver/work.h"

#include <string.h>

/* ---- where the rows are ---- */

typedef struct Side {
  uint64_t at; /* the first row */
  size_t pitch, slice;
  bool device;
} Side;

typedef struct Rows {
  Side from, to;
  size_t bytes, rows, slices;
} Rows;

/* An address of unified memory is the device's where the device has it. */
static bool
set_side(Device *d, Side *s, CUmemorytype type, const void *host, CUdeviceptr device)
{
  s->device = type == CU_MEMORYTYPE_DEVICE ||
              (type == CU_MEMORYTYPE_UNIFIED && dev_find(d, device, 1));
  s->at = type == CU_MEMORYTYPE_HOST ? (uintptr_t)host : device;
  return type == CU_MEMORYTYPE_HOST || type == CU_MEMORYTYPE_DEVICE ||
         type == CU_MEMORYTYPE_UNIFIED;
}

static void
move_to(Side *s, size_t x, size_t y, size_t z, size_t pitch, size_t height, const Rows *r)
{
  s->pitch = pitch ? pitch : r->bytes;
  s->slice = s->pitch * (height ? height : r->rows);
  s->at += x + y * s->pitch + z * s->slice;
}

/* Rows without a gap between them are one. */
static void
merge(Rows *r)
{
  if (r->from.pitch == r->bytes && r->to.pitch == r->bytes) {
    r->bytes *= r->rows;
    r->rows = 1;
  }
  if (r->rows == 1 && r->from.slice == r->bytes && r->to.slice == r->bytes) {
    r->bytes *= r->slices;
    r->slices = 1;
  }
}

static CUresult
rows_of(Device *d, const CUDA_MEMCPY3D *c, Rows *r)
{
  *r = (Rows){.bytes = c->WidthInBytes, .rows = c->Height, .slices = c->Depth};
  if (!set_side(d, &r->from, c->srcMemoryType, c->srcHost, c->srcDevice) ||
      !set_side(d, &r->to, c->dstMemoryType, c->dstHost, c->dstDevice))
    return CUDA_ERROR_NOT_SUPPORTED; /* arrays */
  uint64_t most = DEVICE_MEMORY;
  if (r->bytes > most || r->rows > most || r->slices > most || c->srcPitch > most ||
      c->dstPitch > most || c->srcHeight > most || c->dstHeight > most)
    return CUDA_ERROR_INVALID_VALUE;
  if ((r->rows > 1 && ((c->srcPitch && c->srcPitch < r->bytes) ||
                       (c->dstPitch && c->dstPitch < r->bytes))) ||
      c->srcLOD || c->dstLOD)
    return CUDA_ERROR_INVALID_VALUE;
  move_to(&r->from, c->srcXInBytes, c->srcY, c->srcZ, c->srcPitch, c->srcHeight, r);
  move_to(&r->to, c->dstXInBytes, c->dstY, c->dstZ, c->dstPitch, c->dstHeight, r);
  merge(r);
  return CUDA_SUCCESS;
}

static uint64_t
row_at(const Side *s, size_t z, size_t y)
{
  return s->at + z * s->slice + y * s->pitch;
}

static bool
is_there(Device *d, const Side *s, uint64_t at, size_t n)
{
  return s->device ? dev_find(d, at, n) != NULL : at != 0;
}

static CUresult
check_copy(Device *d, const CUDA_MEMCPY3D *c)
{
  Rows r;
  CUresult e = rows_of(d, c, &r);
  for (size_t z = 0; !e && r.bytes && z < r.slices; z++)
    for (size_t y = 0; !e && y < r.rows; y++)
      if (!is_there(d, &r.from, row_at(&r.from, z, y), r.bytes) ||
          !is_there(d, &r.to, row_at(&r.to, z, y), r.bytes))
        e = CUDA_ERROR_INVALID_VALUE;
  return e;
}

static CUresult
check_set(Device *d, const CUDA_MEMSET_NODE_PARAMS *s)
{
  size_t unit = s->elementSize;
  if ((unit != 1 && unit != 2 && unit != 4) || s->dst % unit || !s->height ||
      s->width > DEVICE_MEMORY / unit || s->height > DEVICE_MEMORY ||
      (unit < 4 && s->value >> 8 * unit) ||
      (s->height > 1 && (s->pitch < s->width * unit || s->pitch % unit)))
    return CUDA_ERROR_INVALID_VALUE;
  for (size_t y = 0; s->width && y < s->height; y++)
    if (!dev_find(d, s->dst + y * s->pitch, s->width * unit))
      return CUDA_ERROR_INVALID_VALUE;
  return CUDA_SUCCESS;
}

CUresult
transfer_check(Device *d, const Work *w)
{
  return w->type == CU_GRAPH_NODE_TYPE_MEMCPY ? check_copy(d, &w->copy)
                                              : check_set(d, &w->set);
}

/* ---- it happens ---- */

static uint8_t *
host_of(const Alloc *a, uint64_t at)
{
  return a ? a->host + (at - a->base) : (uint8_t *)(uintptr_t)at;
}

static void
copy_row(Device *d, const Turn *t, const Rows *r, size_t z, size_t y)
{
  uint64_t from = row_at(&r->from, z, y), to = row_at(&r->to, z, y);
  const Alloc *source = r->from.device ? dev_find(d, from, r->bytes) : NULL;
  const Alloc *target = r->to.device ? dev_find(d, to, r->bytes) : NULL;
  if (source)
    turn_touch(d, t, from, r->bytes, false);
  if (target)
    turn_touch(d, t, to, r->bytes, true);
  memmove(host_of(target, to), host_of(source, from), r->bytes);
  if (source && target)
    shadow_mem_copy(target->shadow, to - target->base, source->shadow, from - source->base,
                    r->bytes);
  else if (target)
    shadow_mem_init(target->shadow, to - target->base, r->bytes);
}

static void
set_row(Device *d, const Turn *t, const CUDA_MEMSET_NODE_PARAMS *s, size_t y)
{
  uint64_t to = s->dst + y * s->pitch;
  size_t n = s->width * s->elementSize;
  const Alloc *a = dev_find(d, to, n);
  uint8_t *p = host_of(a, to);
  turn_touch(d, t, to, n, true);
  if (s->elementSize == 1)
    memset(p, (int)s->value, n);
  else
    for (size_t i = 0; i < s->width; i++)
      memcpy(p + i * s->elementSize, &s->value, s->elementSize);
  shadow_mem_init(a->shadow, to - a->base, n);
}

CUresult
transfer_do(Device *d, const Work *w, const Turn *t)
{
  Rows r;
  bool copy = w->type == CU_GRAPH_NODE_TYPE_MEMCPY;
  CUresult e = transfer_check(d, w);
  if (e)
    return e;
  if (copy)
    rows_of(d, &w->copy, &r);
  for (size_t z = 0; copy && r.bytes && z < r.slices; z++)
    for (size_t y = 0; y < r.rows; y++)
      copy_row(d, t, &r, z, y);
  for (size_t y = 0; !copy && w->set.width && y < w->set.height; y++)
    set_row(d, t, &w->set, y);
  return CUDA_SUCCESS;
}

CUresult
transfer_run(Device *d, const Work *w, const Past *ahead, Past *done)
{
  Turn t;
  CUresult r = transfer_check(d, w);
  if (r)
    return r;
  turn_take(d, ahead, w->type == CU_GRAPH_NODE_TYPE_MEMCPY ? "a copy" : "a memset", NULL,
            &t);
  r = transfer_do(d, w, &t);
  *done = past_done(ahead, t.number, false, false);
  return r;
}

/* ---- entry points ---- */

/* How it is done: in a stream, or by the host, which waits for it. */
typedef struct How {
  CUstream stream;
  bool now;
} How;
static const How now = {NULL, true}, legacy = {NULL, false};

static How
in(CUstream stream)
{
  return (How){stream, false};
}

static CUresult
submit(How how, const Work *w)
{
  CUresult r;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  r = stream_find(d, how.stream) ? work_check(d, w) : CUDA_ERROR_INVALID_HANDLE;
  if (!r)
    r = how.now ? stream_do_now(d, w) : stream_do(d, how.stream, w);
  dev_leave(d);
  return r;
}

static CUresult
copy_bytes(CUmemorytype to_type, uint64_t to, CUmemorytype from_type, uint64_t from,
           size_t n, How how)
{
  Work w = {.type = CU_GRAPH_NODE_TYPE_MEMCPY,
            .copy = {.srcMemoryType = from_type,
                     .srcHost = (const void *)(uintptr_t)from,
                     .srcDevice = from,
                     .dstMemoryType = to_type,
                     .dstHost = (void *)(uintptr_t)to,
                     .dstDevice = to,
                     .WidthInBytes = n,
                     .Height = 1,
                     .Depth = 1}};
  return submit(how, &w);
}

#define HOST    CU_MEMORYTYPE_HOST
#define DEVICE  CU_MEMORYTYPE_DEVICE
#define UNIFIED CU_MEMORYTYPE_UNIFIED

CUresult
cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t n)
{
  return copy_bytes(UNIFIED, to, UNIFIED, from, n, now);
}

CUresult
cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t n, CUstream stream)
{
  return copy_bytes(UNIFIED, to, UNIFIED, from, n, in(stream));
}

CUresult
cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t n)
{
  return copy_bytes(DEVICE, to, HOST, (uintptr_t)from, n, now);
}

CUresult
cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t n, CUstream stream)
{
  return copy_bytes(DEVICE, to, HOST, (uintptr_t)from, n, in(stream));
}

CUresult
cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t n)
{
  return copy_bytes(HOST, (uintptr_t)to, DEVICE, from, n, now);
}

CUresult
cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t n, CUstream stream)
{
  return copy_bytes(HOST, (uintptr_t)to, DEVICE, from, n, in(stream));
}

/* The host does not wait for a copy within the device. */
CUresult
cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t n)
{
  return copy_bytes(DEVICE, to, DEVICE, from, n, legacy);
}

CUresult
cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t n, CUstream stream)
{
  return copy_bytes(DEVICE, to, DEVICE, from, n, in(stream));
}

/* Within one device alone: no device reaches the memory of another. */
static CUresult
peers(CUcontext to, CUcontext from)
{
  return !to || !from                 ? CUDA_ERROR_INVALID_CONTEXT
         : to->device != from->device ? CUDA_ERROR_NOT_SUPPORTED
                                      : CUDA_SUCCESS;
}

CUresult
cuMemcpyPeer(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context,
             size_t n)
{
  CUresult r = peers(to_context, from_context);
  return r ? r : copy_bytes(DEVICE, to, DEVICE, from, n, legacy);
}

CUresult
cuMemcpyPeerAsync(CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                  CUcontext from_context, size_t n, CUstream stream)
{
  CUresult r = peers(to_context, from_context);
  return r ? r : copy_bytes(DEVICE, to, DEVICE, from, n, in(stream));
}

static CUresult
copy_3d(const CUDA_MEMCPY3D *c, How how)
{
  if (!c)
    return CUDA_ERROR_INVALID_VALUE;
  return submit(how, &(Work){.type = CU_GRAPH_NODE_TYPE_MEMCPY, .copy = *c});
}

CUresult
cuMemcpy3D_v2(const CUDA_MEMCPY3D *c)
{
  return copy_3d(c, now);
}

CUresult
cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D *c, CUstream stream)
{
  return copy_3d(c, in(stream));
}

static CUresult
copy_peer(const CUDA_MEMCPY3D_PEER *c, How how)
{
  CUDA_MEMCPY3D within;
  CUresult r = c ? peers(c->dstContext, c->srcContext) : CUDA_ERROR_INVALID_VALUE;
  if (r)
    return r;
  memcpy(&within, c, sizeof within); /* contexts are where the other has nothing */
  return copy_3d(&within, how);
}

CUresult
cuMemcpy3DPeer(const CUDA_MEMCPY3D_PEER *c)
{
  return copy_peer(c, now);
}

CUresult
cuMemcpy3DPeerAsync(const CUDA_MEMCPY3D_PEER *c, CUstream stream)
{
  return copy_peer(c, in(stream));
}

static CUresult
copy_2d(const CUDA_MEMCPY2D *c, How how)
{
  if (!c)
    return CUDA_ERROR_INVALID_VALUE;
  const CUDA_MEMCPY3D all = {.srcXInBytes = c->srcXInBytes,
                             .srcY = c->srcY,
                             .srcMemoryType = c->srcMemoryType,
                             .srcHost = c->srcHost,
                             .srcDevice = c->srcDevice,
                             .srcPitch = c->srcPitch,
                             .dstXInBytes = c->dstXInBytes,
                             .dstY = c->dstY,
                             .dstMemoryType = c->dstMemoryType,
                             .dstHost = c->dstHost,
                             .dstDevice = c->dstDevice,
                             .dstPitch = c->dstPitch,
                             .WidthInBytes = c->WidthInBytes,
                             .Height = c->Height,
                             .Depth = 1};
  return copy_3d(&all, how);
}

CUresult
cuMemcpy2D_v2(const CUDA_MEMCPY2D *c)
{
  return copy_2d(c, now);
}

CUresult
cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *c)
{
  return copy_2d(c, now);
}

CUresult
cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *c, CUstream stream)
{
  return copy_2d(c, in(stream));
}

/* ---- entry points: memsets ---- */

static CUresult
set_rows(CUdeviceptr to, size_t pitch, unsigned value, unsigned unit, size_t width,
         size_t height, CUstream stream)
{
  const CUDA_MEMSET_NODE_PARAMS s = {to, pitch, value, unit, width, height};
  return submit(in(stream), &(Work){.type = CU_GRAPH_NODE_TYPE_MEMSET, .set = s});
}

/* Without a stream a memset is the legacy stream's, and the host does not wait for it. */
#define MEMSETS(unit, type, suffix)                                                        \
  CUresult cuMemsetD##suffix##_v2(CUdeviceptr to, type value, size_t n)                    \
  {                                                                                        \
    return set_rows(to, 0, value, unit, n, 1, NULL);                                       \
  }                                                                                        \
  CUresult cuMemsetD##suffix##Async(CUdeviceptr to, type value, size_t n, CUstream stream) \
  {                                                                                        \
    return set_rows(to, 0, value, unit, n, 1, stream);                                     \
  }                                                                                        \
  CUresult cuMemsetD2D##suffix##_v2(CUdeviceptr to, size_t pitch, type value,              \
                                    size_t width, size_t height)                           \
  {                                                                                        \
    return set_rows(to, pitch, value, unit, width, height, NULL);                          \
  }                                                                                        \
  CUresult cuMemsetD2D##suffix##Async(CUdeviceptr to, size_t pitch, type value,            \
                                      size_t width, size_t height, CUstream stream)        \
  {                                                                                        \
    return set_rows(to, pitch, value, unit, width, height, stream);                        \
  }
MEMSETS(1, unsigned char, 8)
MEMSETS(2, unsigned short, 16)
MEMSETS(4, unsigned, 32)
