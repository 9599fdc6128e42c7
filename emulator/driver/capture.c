#include "emulator/driver/capture.h"

#include "emulator/driver/graph.h"

#include <stdlib.h>
#include <string.h>

static _Thread_local CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

/* ---- tips ---- */

void
tips_free(Tips *t)
{
  free(t->node);
  free(t->edge);
  *t = (Tips){0};
}

bool
tips_add(Tips *t, CUgraphNode node, CUgraphEdgeData edge)
{
  for (size_t i = 0; i < t->n; i++)
    if (t->node[i] == node)
      return true;
  CUgraphNode *nodes = realloc(t->node, (t->n + 1) * sizeof *nodes);
  t->node = nodes ? nodes : t->node;
  CUgraphEdgeData *edges = nodes ? realloc(t->edge, (t->n + 1) * sizeof *edges) : NULL;
  t->edge = edges ? edges : t->edge;
  if (!edges)
    return false;
  t->node[t->n] = node;
  t->edge[t->n++] = edge;
  return true;
}

bool
tips_copy(Tips *to, const Tips *from)
{
  *to = (Tips){0};
  for (size_t i = 0; i < from->n; i++)
    if (!tips_add(to, from->node[i], from->edge[i])) {
      tips_free(to);
      return false;
    }
  return true;
}

bool
tips_set(Tips *t, CUgraphNode node)
{
  t->n = 0;
  return tips_add(t, node, (CUgraphEdgeData){0});
}

/* ---- what is illegal ---- */

static Capture *
find_capture(const Device *d, uint64_t id)
{
  Capture *c = d->captures;
  while (c && c->id != id)
    c = c->next;
  return c;
}

CUresult
capture_refuse(Capture *c, CUresult r)
{
  if (c->spoilt)
    return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  c->spoilt = true;
  return r;
}

/* Is a blocking stream captured, for which the legacy stream would wait?  Its capture is
 * spoilt by that, if asked for. */
static bool
blocks(const Device *d, bool spoil)
{
  bool any = d->per_thread.capture;
  if (any && spoil)
    d->per_thread.capture->spoilt = true;
  for (CUstream s = d->streams; s; s = s->next)
    if (s->blocking && s->capture) {
      any = true;
      s->capture->spoilt |= spoil;
    }
  return any;
}

/* CUDA Driver API, cuThreadExchangeStreamCaptureMode: whose captures forbid this thread
 * what is potentially unsafe. */
static bool
forbids(const Capture *c)
{
  bool mine = pthread_equal(c->thread, pthread_self());
  if (thread_mode == CU_STREAM_CAPTURE_MODE_RELAXED)
    return false;
  return mine ? c->mode != CU_STREAM_CAPTURE_MODE_RELAXED
              : c->mode == CU_STREAM_CAPTURE_MODE_GLOBAL &&
                    thread_mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
}

CUresult
stream_host(Device *d, bool legacy, bool unsafe)
{
  CUresult r = CUDA_SUCCESS;
  if (!d->captures)
    return r;
  if (legacy && blocks(d, true))
    r = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
  for (Capture *c = d->captures; unsafe && c; c = c->next)
    if (forbids(c)) {
      c->spoilt = true;
      r = r ? r : CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
  return r;
}

CUresult
capture_settle(Device *d)
{
  for (Capture *c = d->captures; c; c = c->next)
    c->spoilt = true;
  return d->captures ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
}

/* ---- work ---- */

/* A programmatic launch right behind a kernel has a programmatic edge. */
static void
set_edges(const Tips *t, const Work *w)
{
  bool programmatic = w->type == CU_GRAPH_NODE_TYPE_KERNEL && w->kernel.programmatic;
  if (!programmatic || t->n != 1 || t->node[0]->work.type != CU_GRAPH_NODE_TYPE_KERNEL)
    return;
  t->edge[0].type = CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC;
  t->edge[0].from_port = KERNEL_PORT_PROGRAMMATIC;
}

CUresult
capture_do(Device *d, CUstream s, const Work *w)
{
  CUgraphNode node;
  Capture *c = s->capture;
  if (c->spoilt)
    return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (w->type == CU_GRAPH_NODE_TYPE_KERNEL && w->kernel.started)
    return capture_refuse(c, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  set_edges(&s->tips, w);
  CUresult r = graph_add(d, c->graph, &s->tips, w, &node);
  if (!r && !tips_set(&s->tips, node))
    r = CUDA_ERROR_OUT_OF_MEMORY;
  c->spoilt = r != CUDA_SUCCESS;
  return r;
}

/* ---- events ---- */

static CUresult
event_node(Device *d, CUstream s, CUgraphNodeType type, CUevent e)
{
  return capture_do(d, s, &(Work){.type = type, .event = e});
}

CUresult
capture_record(Device *d, CUevent e, CUstream s, bool external)
{
  Tips tips;
  if (s->capture->spoilt)
    return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (external)
    return event_node(d, s, CU_GRAPH_NODE_TYPE_EVENT_RECORD, e);
  if (!tips_copy(&tips, &s->tips))
    return CUDA_ERROR_OUT_OF_MEMORY;
  tips_free(&e->tips);
  e->tips = tips;
  e->captured = true;
  e->capture = s->capture->id;
  return CUDA_SUCCESS;
}

/* The stream comes into the capture in which the event was recorded. */
static CUresult
join(Device *d, CUstream s, CUevent e)
{
  Capture *c = find_capture(d, e->capture);
  if (!c)
    return CUDA_ERROR_CAPTURED_EVENT;
  if (c->spoilt)
    return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (s->legacy)
    return capture_refuse(c, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
  if (!tips_copy(&s->tips, &e->tips))
    return CUDA_ERROR_OUT_OF_MEMORY;
  s->capture = c;
  return CUDA_SUCCESS;
}

CUresult
capture_wait(Device *d, CUstream s, CUevent e, bool external)
{
  Capture *c = s->capture, *other = e->captured ? find_capture(d, e->capture) : NULL;
  if (!c)
    return join(d, s, e);
  if (c->spoilt)
    return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (external)
    return event_node(d, s, CU_GRAPH_NODE_TYPE_WAIT_EVENT, e);
  if (!other)
    return capture_refuse(c, CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
  if (other != c) {
    other->spoilt = true;
    return capture_refuse(c, CUDA_ERROR_STREAM_CAPTURE_MERGE);
  }
  for (size_t i = 0; i < e->tips.n; i++)
    if (!tips_add(&s->tips, e->tips.node[i], e->tips.edge[i]))
      return CUDA_ERROR_OUT_OF_MEMORY;
  return CUDA_SUCCESS;
}

CUresult
capture_query(Device *d, CUevent e)
{
  Capture *c = find_capture(d, e->capture);
  if (c)
    c->spoilt = true;
  return CUDA_ERROR_CAPTURED_EVENT;
}

/* ---- begin and end ---- */

static CUresult
begin(Device *d, CUstream s, CUgraph into, CUstreamCaptureMode mode)
{
  static atomic_uint_fast64_t ids = 1;
  if (s->legacy)
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (s->capture)
    return CUDA_ERROR_ILLEGAL_STATE;
  Capture *c = malloc(sizeof *c);
  CUgraph g = into ? into : graph_new();
  if (!c || !g) {
    free(c);
    if (!into && g)
      graph_free(d, g);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  *c = (Capture){.id = atomic_fetch_add(&ids, 1),
                 .mode = mode,
                 .thread = pthread_self(),
                 .origin = s,
                 .graph = g,
                 .lent = into,
                 .next = d->captures};
  if (!into)
    graph_list(d, g);
  g->capture = c->id;
  d->captures = c;
  s->capture = c;
  s->tips = (Tips){0};
  return CUDA_SUCCESS;
}

static void
leave(CUstream s, const Capture *c)
{
  if (s->capture != c)
    return;
  s->capture = NULL;
  s->kernel = false;
  tips_free(&s->tips);
}

/* All streams that took part execute again. */
static void
end(Device *d, Capture *c)
{
  Capture **p = &d->captures;
  for (CUstream s = d->streams; s; s = s->next)
    leave(s, c);
  leave(&d->per_thread, c);
  while (*p != c)
    p = &(*p)->next;
  *p = c->next;
  c->graph->capture = 0;
  free(c);
}

void
capture_end(Device *d, uint64_t id)
{
  Capture *c = find_capture(d, id);
  if (c)
    end(d, c);
}

void
capture_free_all(Device *d, CUcontext owner)
{
  for (Capture *c = d->captures, *next; c; c = next) {
    next = c->next;
    if (c->graph->owner == owner)
      end(d, c);
  }
}

/* What every stream did last must be behind the stream in which the capture began. */
static bool
joined(const Device *d, const Capture *c)
{
  bool ok = true;
  const Tips *ends = &c->origin->tips;
  graph_mark_ahead(c->graph, ends->node, ends->n);
  for (CUstream s = d->streams; s; s = s->next)
    for (size_t i = 0; s->capture == c && i < s->tips.n; i++)
      ok &= s->tips.node[i]->mark;
  for (size_t i = 0; d->per_thread.capture == c && i < d->per_thread.tips.n; i++)
    ok &= d->per_thread.tips.node[i]->mark;
  return ok;
}

static CUresult
finish(Device *d, CUstream s, CUgraph *out)
{
  Capture *c = s->capture;
  if (!c)
    return CUDA_ERROR_ILLEGAL_STATE;
  if (c->origin != s)
    return capture_refuse(c, CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
  if (c->mode != CU_STREAM_CAPTURE_MODE_RELAXED &&
      !pthread_equal(c->thread, pthread_self()))
    return capture_refuse(c, CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
  CUresult r = c->spoilt       ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
               : !joined(d, c) ? CUDA_ERROR_STREAM_CAPTURE_UNJOINED
                               : CUDA_SUCCESS;
  CUgraph g = c->graph;
  bool lent = c->lent;
  end(d, c);
  if (r && !lent)
    graph_free(d, g);
  *out = r ? NULL : g;
  return r;
}

/* ---- entry points ---- */

CUresult
cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode)
{
  CUresult r;
  Device *d;
  if (mode > CU_STREAM_CAPTURE_MODE_RELAXED)
    return CUDA_ERROR_INVALID_VALUE;
  CUstream s = stream_enter(stream, &d, &r);
  if (!s)
    return r;
  r = begin(d, s, NULL, mode);
  dev_leave(d);
  return r;
}

CUresult
cuStreamBeginCaptureToGraph(CUstream stream, CUgraph g, const CUgraphNode *nodes,
                            const CUgraphEdgeData *edges, size_t n,
                            CUstreamCaptureMode mode)
{
  CUresult r;
  Device *d;
  if (mode > CU_STREAM_CAPTURE_MODE_RELAXED || (n && !nodes))
    return CUDA_ERROR_INVALID_VALUE;
  CUstream s = stream_enter(stream, &d, &r);
  if (!s)
    return r;
  r = graph_is(d, g) && !g->capture && graph_has(g, nodes, n) ? begin(d, s, g, mode)
                                                              : CUDA_ERROR_INVALID_VALUE;
  for (size_t i = 0; !r && i < n; i++)
    if (!tips_add(&s->tips, nodes[i], edges ? edges[i] : (CUgraphEdgeData){0})) {
      end(d, s->capture);
      r = CUDA_ERROR_OUT_OF_MEMORY;
    }
  dev_leave(d);
  return r;
}

CUresult
cuStreamEndCapture(CUstream stream, CUgraph *graph)
{
  CUresult r;
  Device *d;
  CUstream s = graph ? stream_enter(stream, &d, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!s)
    return r;
  *graph = NULL;
  r = finish(d, s, graph);
  dev_leave(d);
  return r;
}

CUresult
cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
  if (!mode || *mode > CU_STREAM_CAPTURE_MODE_RELAXED)
    return CUDA_ERROR_INVALID_VALUE;
  CUstreamCaptureMode was = thread_mode;
  thread_mode = *mode;
  *mode = was;
  return CUDA_SUCCESS;
}

static CUstreamCaptureStatus
status_of(const Capture *c)
{
  return !c          ? CU_STREAM_CAPTURE_STATUS_NONE
         : c->spoilt ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                     : CU_STREAM_CAPTURE_STATUS_ACTIVE;
}

static bool
lossy(const Tips *t)
{
  static const CUgraphEdgeData plain;
  for (size_t i = 0; i < t->n; i++)
    if (memcmp(&t->edge[i], &plain, sizeof plain))
      return true;
  return false;
}

CUresult
cuStreamGetCaptureInfo_v3(CUstream stream, CUstreamCaptureStatus *status, uint64_t *id,
                          CUgraph *graph, const CUgraphNode **nodes,
                          const CUgraphEdgeData **edges, size_t *n)
{
  CUresult r;
  Device *d;
  CUstream s = status ? stream_enter(stream, &d, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!s)
    return r;
  const Capture *c = s->capture;
  r = s->legacy && blocks(d, false)             ? CUDA_ERROR_STREAM_CAPTURE_IMPLICIT
      : c && nodes && !edges && lossy(&s->tips) ? CUDA_ERROR_LOSSY_QUERY
                                                : CUDA_SUCCESS;
  *status = status_of(c);
  if (!r && c && !c->spoilt) {
    if (id)
      *id = c->id;
    if (graph)
      *graph = c->graph;
    if (nodes)
      *nodes = s->tips.node;
    if (edges)
      *edges = s->tips.edge;
    if (n)
      *n = s->tips.n;
  }
  dev_leave(d);
  return r;
}

CUresult
cuStreamGetCaptureInfo_v2(CUstream stream, CUstreamCaptureStatus *status, uint64_t *id,
                          CUgraph *graph, const CUgraphNode **nodes, size_t *n)
{
  return cuStreamGetCaptureInfo_v3(stream, status, id, graph, nodes, NULL, n);
}

CUresult
cuStreamGetCaptureInfo(CUstream stream, CUstreamCaptureStatus *status, uint64_t *id)
{
  return cuStreamGetCaptureInfo_v3(stream, status, id, NULL, NULL, NULL, NULL);
}

CUresult
cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status)
{
  return cuStreamGetCaptureInfo_v3(stream, status, NULL, NULL, NULL, NULL, NULL);
}

static CUresult
update(CUstream s, const CUgraphNode *nodes, const CUgraphEdgeData *edges, size_t n,
       unsigned flags)
{
  if (!s->capture)
    return CUDA_ERROR_ILLEGAL_STATE;
  if (s->capture->spoilt)
    return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (!graph_has(s->capture->graph, nodes, n))
    return CUDA_ERROR_INVALID_VALUE;
  if (flags == CU_STREAM_SET_CAPTURE_DEPENDENCIES)
    s->tips.n = 0;
  for (size_t i = 0; i < n; i++)
    if (!tips_add(&s->tips, nodes[i], edges ? edges[i] : (CUgraphEdgeData){0}))
      return CUDA_ERROR_OUT_OF_MEMORY;
  return CUDA_SUCCESS;
}

CUresult
cuStreamUpdateCaptureDependencies_v2(CUstream stream, CUgraphNode *nodes,
                                     const CUgraphEdgeData *edges, size_t n, unsigned flags)
{
  CUresult r;
  Device *d;
  if (flags > CU_STREAM_SET_CAPTURE_DEPENDENCIES || (n && !nodes))
    return CUDA_ERROR_INVALID_VALUE;
  CUstream s = stream_enter(stream, &d, &r);
  if (!s)
    return r;
  r = update(s, nodes, edges, n, flags);
  dev_leave(d);
  return r;
}

CUresult
cuStreamUpdateCaptureDependencies(CUstream stream, CUgraphNode *nodes, size_t n,
                                  unsigned flags)
{
  return cuStreamUpdateCaptureDependencies_v2(stream, nodes, NULL, n, flags);
}
