#include "emulator/driver/capture.h"

#include <stdlib.h>

bool
event_is(const Device *d, CUevent event)
{
  CUevent e = d->events;
  while (e && e != event)
    e = e->next;
  return e && event;
}

static Device *
enter(CUevent event, CUresult *r)
{
  Device *d = dev_enter(r);
  if (d && !event_is(d, event)) {
    dev_leave(d);
    *r = CUDA_ERROR_INVALID_HANDLE;
    return NULL;
  }
  return d;
}

CUresult
cuEventCreate(CUevent *event, unsigned flags)
{
  CUresult r;
  unsigned known = CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS;
  if (!event || flags & ~known ||
      ((flags & CU_EVENT_INTERPROCESS) && !(flags & CU_EVENT_DISABLE_TIMING)))
    return CUDA_ERROR_INVALID_VALUE;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  CUevent e = calloc(1, sizeof *e);
  if (e) {
    e->owner = context_current();
    e->timing = !(flags & CU_EVENT_DISABLE_TIMING);
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
  Device *d = enter(event, &r);
  if (!d)
    return r;
  CUevent *p = &d->events;
  while (*p != event)
    p = &(*p)->next;
  *p = event->next;
  tips_free(&event->tips);
  free(event);
  dev_leave(d);
  return CUDA_SUCCESS;
}

static CUresult
record(Device *d, CUevent e, CUstream s, bool external)
{
  Past ahead;
  if (s->capture)
    return capture_record(d, e, s, external);
  CUresult r = stream_host(d, s->legacy, false);
  if (r)
    return r;
  stream_ahead(d, s, false, &ahead);
  e->past = ahead;
  e->captured = false;
  tips_free(&e->tips);
  return CUDA_SUCCESS;
}

CUresult
cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned flags)
{
  CUresult r;
  if (flags > CU_EVENT_RECORD_EXTERNAL)
    return CUDA_ERROR_INVALID_VALUE;
  Device *d = enter(event, &r);
  if (!d)
    return r;
  CUstream s = stream_find(d, stream);
  r = s ? record(d, event, s, flags == CU_EVENT_RECORD_EXTERNAL)
        : CUDA_ERROR_INVALID_HANDLE;
  dev_leave(d);
  return r;
}

CUresult
cuEventRecord(CUevent event, CUstream stream)
{
  return cuEventRecordWithFlags(event, stream, CU_EVENT_RECORD_DEFAULT);
}

/* The stream's next work does not overlap what it had: the wait is between. */
static CUresult
wait_event(Device *d, CUstream s, CUevent e, bool external)
{
  if (s->capture || e->captured)
    return capture_wait(d, s, e, external);
  CUresult r = stream_host(d, s->legacy, false);
  if (r)
    return r;
  past_join(&s->past, &e->past, false);
  s->kernel = false;
  return CUDA_SUCCESS;
}

/* The device of an event, locked, whichever is current: what waits for it may be another's.
 */
static Device *
enter_any(CUevent event, CUresult *r)
{
  Device *d = dev_enter(r);
  if (!d)
    return NULL;
  dev_leave(d);
  for (int i = 0; i < dev_count(); i++) {
    d = dev_get(i);
    pthread_mutex_lock(&d->busy);
    if (event_is(d, event))
      return d;
    dev_leave(d);
  }
  *r = CUDA_ERROR_INVALID_HANDLE;
  return NULL;
}

static CUresult
wait_for(CUevent event)
{
  CUresult r;
  Device *d = enter_any(event, &r);
  if (!d)
    return r;
  r = event->captured ? capture_query(d, event) : stream_host(d, false, true);
  if (!r)
    set_join(&d->over, &event->past.all);
  if (!r)
    report_counters(d);
  dev_leave(d);
  return r;
}

/* What another device has been given is done, and touches nothing of this one.  Captures
 * stay within a device. */
static CUresult
wait_elsewhere(CUevent event)
{
  CUresult r;
  Device *d = enter_any(event, &r);
  if (!d)
    return r;
  r = event->captured ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
  dev_leave(d);
  return r;
}

CUresult
cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags)
{
  CUresult r;
  if (flags > CU_EVENT_WAIT_EXTERNAL)
    return CUDA_ERROR_INVALID_VALUE;
  Device *d;
  CUstream s = stream_enter(stream, &d, &r);
  if (!s)
    return r;
  bool here = event_is(d, event);
  if (here)
    r = wait_event(d, s, event, flags == CU_EVENT_WAIT_EXTERNAL);
  else if (s->capture)
    r = capture_refuse(s->capture, CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
  dev_leave(d);
  return r || here ? r : wait_elsewhere(event);
}

CUresult
cuEventSynchronize(CUevent event)
{
  return wait_for(event);
}

CUresult
cuEventQuery(CUevent event)
{
  return wait_for(event);
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
  r = event_is(d, from) && event_is(d, to) && from->timing && to->timing
          ? CUDA_ERROR_NOT_SUPPORTED
          : CUDA_ERROR_INVALID_HANDLE;
  if (r == CUDA_ERROR_NOT_SUPPORTED && from->captured)
    r = capture_query(d, from);
  else if (r == CUDA_ERROR_NOT_SUPPORTED && to->captured)
    r = capture_query(d, to);
  dev_leave(d);
  return r;
}

CUresult
cuEventElapsedTime_v2(float *ms, CUevent from, CUevent to)
{
  return cuEventElapsedTime(ms, from, to);
}
