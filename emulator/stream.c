#include "emulator/dev.h"

#include <stdlib.h>
#include <string.h>

/* 1 and 2 are the legacy and the per-thread default stream. */
Tail *
stream_tail(Device *d, CUstream stream)
{
  uintptr_t v = (uintptr_t)stream;
  if (v < DEFAULT_STREAMS)
    return &d->tails[v];
  struct CUstream_st *s = d->streams;
  while (s && s != stream)
    s = s->next;
  return s ? &s->tail : NULL;
}

static bool
is_stream(Device *d, CUstream stream)
{
  return stream_tail(d, stream) != NULL;
}

void
stream_settle_all(Device *d)
{
  for (int i = 0; i < DEFAULT_STREAMS; i++)
    d->tails[i].n = 0;
  for (struct CUstream_st *s = d->streams; s; s = s->next)
    s->tail.n = 0;
}

void
stream_begin(const Tail *t, Launch *l)
{
  l->n_pending = l->programmatic ? t->n : 0;
  l->n_beyond = l->programmatic ? t->n_beyond : 0;
  memcpy(l->pending, t->pending, sizeof l->pending);
}

/* What this one may have overlapped the next one may too: even behind its wait if this one
 * has not waited itself, and up to its wait if this one let it start before it waited. */
void
stream_end(Tail *t, const Launch *l, CUresult r)
{
  int n = l->waited && !l->early ? 0 : l->n_pending;
  if (!l->number) /* it was refused */
    return;
  n = n < SHADOW_PENDING ? n : SHADOW_PENDING - 1;
  t->n = r ? 0 : n + 1;
  t->n_beyond = l->waited ? 0 : n;
  t->pending[0] = l->number;
  memcpy(t->pending + 1, l->pending, (size_t)n * sizeof *t->pending);
}

static bool
is_event(const Device *d, CUevent event)
{
  const struct CUevent_st *e = d->events;
  while (e && e != event)
    e = e->next;
  return e != NULL;
}

static CUresult
leave(Device *d, bool ok)
{
  dev_leave(d);
  return ok ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult
cuStreamCreate(CUstream *stream, unsigned flags)
{
  CUresult r;
  if (!stream || flags > CU_STREAM_NON_BLOCKING)
    return CUDA_ERROR_INVALID_VALUE;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  struct CUstream_st *s = calloc(1, sizeof *s);
  if (s) {
    s->owner = context_current();
    s->next = d->streams;
    d->streams = s;
    *stream = s;
  }
  dev_leave(d);
  return s ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult
cuStreamDestroy_v2(CUstream stream)
{
  CUresult r;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  struct CUstream_st **p = &d->streams;
  while (*p && *p != stream)
    p = &(*p)->next;
  bool found = *p != NULL;
  if (found) {
    *p = stream->next;
    free(stream);
  }
  return leave(d, found);
}

CUresult
cuStreamSynchronize(CUstream stream)
{
  CUresult r;
  Device *d = dev_enter(&r);
  Tail *t = d ? stream_tail(d, stream) : NULL;
  if (t)
    t->n = 0;
  return d ? leave(d, t) : r;
}

CUresult
cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status)
{
  CUresult r;
  if (!status)
    return CUDA_ERROR_INVALID_VALUE;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  *status = CU_STREAM_CAPTURE_STATUS_NONE;
  return leave(d, is_stream(d, stream));
}

CUresult
cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t n, CUstream stream)
{
  CUresult r = cuStreamSynchronize(stream);
  return r ? r : cuMemsetD8_v2(to, value, n);
}

CUresult
cuEventCreate(CUevent *event, unsigned flags)
{
  CUresult r;
  if (!event || flags & ~7u)
    return CUDA_ERROR_INVALID_VALUE;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  struct CUevent_st *e = calloc(1, sizeof *e);
  if (e) {
    e->timing = !(flags & CU_EVENT_DISABLE_TIMING);
    e->owner = context_current();
    e->next = d->events;
    d->events = e;
    *event = e;
  }
  dev_leave(d);
  return e ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult
cuEventDestroy_v2(CUevent event)
{
  CUresult r;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  struct CUevent_st **p = &d->events;
  while (*p && *p != event)
    p = &(*p)->next;
  bool found = *p != NULL;
  if (found) {
    *p = event->next;
    free(event);
  }
  return leave(d, found);
}

CUresult
cuEventRecord(CUevent event, CUstream stream)
{
  CUresult r;
  Device *d = dev_enter(&r);
  return d ? leave(d, is_event(d, event) && is_stream(d, stream)) : r;
}

CUresult
cuEventSynchronize(CUevent event)
{
  CUresult r;
  Device *d = dev_enter(&r);
  return d ? leave(d, is_event(d, event)) : r;
}

/* An emulated device has no time. */
CUresult
cuEventElapsedTime(float *ms, CUevent from, CUevent to)
{
  CUresult r;
  if (!ms)
    return CUDA_ERROR_INVALID_VALUE;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  bool ok = is_event(d, from) && is_event(d, to) && from->timing && to->timing;
  r = leave(d, ok);
  return r ? r : CUDA_ERROR_NOT_SUPPORTED;
}

void
stream_free_all(Device *d, CUcontext owner)
{
  for (struct CUstream_st **p = &d->streams, *s; (s = *p);) {
    if (s->owner != owner) {
      p = &s->next;
      continue;
    }
    *p = s->next;
    free(s);
  }
  for (struct CUevent_st **p = &d->events, *e; (e = *p);) {
    if (e->owner != owner) {
      p = &e->next;
      continue;
    }
    *p = e->next;
    free(e);
  }
}
