/* Streams: who the next work of a stream is ordered behind. */
#include "emulator/driver/capture.h"
#include "emulator/driver/graph.h"

#include <stdlib.h>
#include <string.h>

/* ---- handles ---- */

/* A device's default streams are there from the start. */
static void
make_defaults(Device *d)
{
  d->legacy.legacy = d->legacy.blocking = d->per_thread.blocking = true;
  d->legacy.id = 1;
  d->per_thread.id = 2;
}

/* 0 and 1 are the legacy default stream, 2 is the one for each thread (here: of all). */
CUstream
stream_find(Device *d, CUstream handle)
{
  uintptr_t v = (uintptr_t)handle;
  make_defaults(d);
  if (v <= 2)
    return v == 2 ? &d->per_thread : &d->legacy;
  CUstream s = d->streams;
  while (s && s != handle)
    s = s->next;
  return s;
}

CUstream
stream_enter(CUstream handle, Device **d, CUresult *r)
{
  *d = dev_enter(r);
  CUstream s = *d ? stream_find(*d, handle) : NULL;
  if (*d && !s) {
    dev_leave(*d);
    *r = CUDA_ERROR_INVALID_HANDLE;
  }
  return s;
}

static void
free_stream(CUstream s)
{
  if (s->capture)
    s->capture->spoilt = true;
  tips_free(&s->tips);
  free(s);
}

void
stream_free_all(Device *d, CUcontext owner)
{
  capture_free_all(d, owner);
  graph_free_all(d, owner);
  for (CUstream *p = &d->streams, s; (s = *p);) {
    if (s->owner != owner) {
      p = &s->next;
      continue;
    }
    *p = s->next;
    free_stream(s);
  }
  for (CUevent *p = &d->events, e; (e = *p);) {
    if (e->owner != owner) {
      p = &e->next;
      continue;
    }
    *p = e->next;
    tips_free(&e->tips);
    free(e);
  }
}

/* ---- order ---- */

/* The legacy stream is behind what all blocking streams were given, and they are behind
 * what it was given. */
void
stream_ahead(Device *d, CUstream s, bool programmatic, Past *p)
{
  *p = (Past){0};
  past_join(p, &s->past, programmatic && s->kernel);
  if (s->legacy)
    past_join(p, &d->per_thread.past, false);
  for (CUstream t = s->legacy ? d->streams : NULL; t; t = t->next)
    if (t->blocking)
      past_join(p, &t->past, false);
  if (s->blocking && !s->legacy)
    past_join(p, &d->legacy.past, false);
}

static void
set_done(Device *d, CUstream s, const Past *done, bool kernel)
{
  s->past = *done;
  if (s->legacy)
    d->per_thread.kernel = false;
  for (CUstream t = s->legacy ? d->streams : NULL; t; t = t->next)
    if (t->blocking)
      t->kernel = false;
  if (s->blocking && !s->legacy)
    d->legacy.kernel = false;
  s->kernel = kernel;
}

CUresult
stream_do(Device *d, CUstream handle, const Work *w)
{
  CUstream s = stream_find(d, handle);
  Past ahead, done;
  if (!s)
    return CUDA_ERROR_INVALID_HANDLE;
  if (s->capture)
    return capture_do(d, s, w);
  CUresult r = stream_host(d, s->legacy, false);
  if (r)
    return r;
  bool kernel = w->type == CU_GRAPH_NODE_TYPE_KERNEL;
  stream_ahead(d, s, kernel && w->kernel.programmatic, &ahead);
  done = (Past){ahead.all, ahead.all, ahead.all};
  r = work_run(d, w, &ahead, &done);
  set_done(d, s, &done, kernel && !r);
  return r;
}

/* The host knows that all is over which the stream has been given. */
static void
settle(Device *d, CUstream s)
{
  Past p;
  stream_ahead(d, s, false, &p);
  set_join(&d->over, &p.all);
}

void
stream_settle_all(Device *d)
{
  d->over = d->issued;
}

/* The host waits for it: nothing that comes can meet it, and it needs no number. */
CUresult
stream_do_now(Device *d, const Work *w)
{
  Turn t = {0};
  Past ahead;
  CUresult r = stream_host(d, true, true);
  if (r)
    return r;
  stream_ahead(d, stream_find(d, NULL), false, &ahead);
  t.any =
      past_late(&ahead, d->issued.epoch * SHADOW_LAUNCHES, &d->issued, &d->over, t.late);
  r = transfer_do(d, w, &t);
  set_join(&d->over, &ahead.all);
  return r;
}

CUresult
stream_uncaptured(Device *d, CUstream handle)
{
  CUstream s = stream_find(d, handle);
  return !s           ? CUDA_ERROR_INVALID_HANDLE
         : s->capture ? capture_refuse(s->capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)
                      : stream_host(d, s->legacy, false);
}

/* ---- entry points ---- */

CUresult
cuStreamCreateWithPriority(CUstream *stream, unsigned flags, int priority)
{
  static atomic_uint_fast64_t ids = 3;
  CUresult r;
  if (!stream || flags > CU_STREAM_NON_BLOCKING)
    return CUDA_ERROR_INVALID_VALUE;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  CUstream s = calloc(1, sizeof *s);
  if (s) {
    s->owner = context_current();
    s->id = atomic_fetch_add(&ids, 1);
    s->blocking = flags != CU_STREAM_NON_BLOCKING;
    s->priority = priority > 0                   ? 0
                  : priority < GREATEST_PRIORITY ? GREATEST_PRIORITY
                                                 : priority;
    s->next = d->streams;
    d->streams = s;
    *stream = s;
  }
  dev_leave(d);
  return s ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult
cuStreamCreate(CUstream *stream, unsigned flags)
{
  return cuStreamCreateWithPriority(stream, flags, 0);
}

CUresult
cuStreamDestroy_v2(CUstream stream)
{
  CUresult r;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  CUstream *p = &d->streams;
  while (*p && *p != stream)
    p = &(*p)->next;
  if (!*p)
    r = CUDA_ERROR_INVALID_HANDLE;
  else if (stream->capture)
    r = capture_refuse(stream->capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  if (!r) {
    *p = stream->next;
    free(stream);
  }
  dev_leave(d);
  return r;
}

/* Everything has happened: the host only learns of it. */
static CUresult
wait_for(CUstream stream)
{
  CUresult r;
  Device *d;
  CUstream s = stream_enter(stream, &d, &r);
  if (!s)
    return r;
  r = s->capture ? capture_refuse(s->capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)
                 : stream_host(d, s->legacy, true);
  if (!r)
    settle(d, s);
  if (!r)
    report_counters(d);
  dev_leave(d);
  return r;
}

CUresult
cuStreamSynchronize(CUstream stream)
{
  return wait_for(stream);
}

CUresult
cuStreamQuery(CUstream stream)
{
  return wait_for(stream);
}

CUresult
cuStreamGetPriority(CUstream stream, int *priority)
{
  CUresult r;
  Device *d;
  CUstream s =
      priority ? stream_enter(stream, &d, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!s)
    return r;
  *priority = s->priority;
  dev_leave(d);
  return CUDA_SUCCESS;
}

CUresult
cuStreamGetFlags(CUstream stream, unsigned *flags)
{
  CUresult r;
  Device *d;
  CUstream s = flags ? stream_enter(stream, &d, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!s)
    return r;
  *flags = s->blocking ? 0 : CU_STREAM_NON_BLOCKING;
  dev_leave(d);
  return CUDA_SUCCESS;
}

CUresult
cuStreamGetId(CUstream stream, unsigned long long *id)
{
  CUresult r;
  Device *d;
  CUstream s = id ? stream_enter(stream, &d, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!s)
    return r;
  *id = s->id;
  dev_leave(d);
  return CUDA_SUCCESS;
}

CUresult
cuStreamGetCtx(CUstream stream, CUcontext *context)
{
  CUresult r;
  Device *d;
  CUstream s =
      context ? stream_enter(stream, &d, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!s)
    return r;
  *context = s->owner ? s->owner : context_current();
  dev_leave(d);
  return CUDA_SUCCESS;
}

CUresult
cuStreamGetDevice(CUstream stream, CUdevice *device)
{
  CUresult r;
  Device *d;
  CUstream s = device ? stream_enter(stream, &d, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!s)
    return r;
  *device = d->ordinal;
  dev_leave(d);
  return CUDA_SUCCESS;
}

CUresult
cuLaunchHostFunc(CUstream stream, CUhostFn f, void *data)
{
  CUresult r;
  const Work w = {.type = CU_GRAPH_NODE_TYPE_HOST, .host = {f, data}};
  Device *d = f ? dev_enter(&r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  r = stream_do(d, stream, &w);
  dev_leave(d);
  return r;
}

typedef struct Callback {
  CUstreamCallback f;
  CUstream stream;
  void *data;
} Callback;

static void
call_back(void *data)
{
  const Callback *c = data;
  c->f(c->stream, CUDA_SUCCESS, c->data);
}

/* Unlike a host function it cannot be captured. */
CUresult
cuStreamAddCallback(CUstream stream, CUstreamCallback f, void *data, unsigned flags)
{
  CUresult r;
  Device *d;
  Callback c = {f, stream, data};
  const Work w = {.type = CU_GRAPH_NODE_TYPE_HOST, .host = {call_back, &c}};
  if (!f || flags)
    return CUDA_ERROR_INVALID_VALUE;
  CUstream s = stream_enter(stream, &d, &r);
  if (!s)
    return r;
  r = s->capture ? capture_refuse(s->capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)
                 : stream_do(d, stream, &w);
  dev_leave(d);
  return r;
}

/* Managed memory is everybody's at all times. */
CUresult
cuStreamAttachMemAsync(CUstream stream, CUdeviceptr p, size_t n, unsigned flags)
{
  CUresult r;
  Device *d;
  unsigned known = CU_MEM_ATTACH_GLOBAL | CU_MEM_ATTACH_HOST | CU_MEM_ATTACH_SINGLE;
  CUstream s = stream_enter(stream, &d, &r);
  if (!s)
    return r;
  Alloc *a = dev_find(d, p, n ? n : 1);
  if (s->capture)
    r = capture_refuse(s->capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  else if (!a || a->kind != ALLOC_MANAGED || !flags || flags & ~known ||
           flags & (flags - 1))
    r = CUDA_ERROR_INVALID_VALUE;
  dev_leave(d);
  return r;
}
