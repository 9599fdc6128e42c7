/* Streams whose work becomes a graph: what is captured, and what is illegal meanwhile. */
#include "tests/unit/emu_kit.h"

#include <pthread.h>

/* p[thread] += 1 */
static const char add_one[] =
    KIT_HEAD("8.0", "sm_90") KIT_ENTRY "ld.global.u32 %r2, [%rd2];\nadd.u32 %r2, %r2, 1;\n"
                                       "st.global.u32 [%rd2], %r2;\nret;\n}\n";
/* the same, as the dependent of another kernel that waits for it */
static const char add_behind[] =
    KIT_HEAD("8.0", "sm_90") KIT_ENTRY "griddepcontrol.wait;\nld.global.u32 %r2, [%rd2];\n"
                                       "add.u32 %r2, %r2, 1;\nst.global.u32 [%rd2], %r2;\n"
                                       "ret;\n}\n";

enum { THREADS = 32, BYTES = 4 * THREADS };

/* s is captured; t is another stream, not blocking, a an event that was recorded before. */
typedef struct Fix {
  CUmodule m;
  CUfunction f;
  CUstream s, t;
  CUevent a, b;
  CUdeviceptr p, q;
  CUgraph g;
} Fix;

static CUresult
launch(CUfunction f, CUstream s, CUdeviceptr p, bool programmatic)
{
  CUlaunchAttribute a = {.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION};
  a.value.programmaticStreamSerializationAllowed = 1;
  CUlaunchConfig c = {.gridDimX = 1,
                      .gridDimY = 1,
                      .gridDimZ = 1,
                      .blockDimX = THREADS,
                      .blockDimY = 1,
                      .blockDimZ = 1,
                      .hStream = s,
                      .attrs = &a,
                      .numAttrs = programmatic};
  return cuLaunchKernelEx(&c, f, (void *[]){&p}, NULL);
}

static void
begin(Fix *x, unsigned flags, CUstreamCaptureMode mode)
{
  *x = (Fix){0};
  x->f = kit_function(add_one, &x->m);
  OK(cuStreamCreate(&x->s, flags));
  OK(cuStreamCreate(&x->t, CU_STREAM_NON_BLOCKING));
  OK(cuEventCreate(&x->a, CU_EVENT_DISABLE_TIMING));
  OK(cuEventCreate(&x->b, CU_EVENT_DISABLE_TIMING));
  OK(cuMemAlloc_v2(&x->p, BYTES));
  OK(cuMemAlloc_v2(&x->q, BYTES));
  OK(cuMemsetD32_v2(x->q, 100, THREADS));
  OK(cuMemsetD32_v2(x->p, 100, THREADS));
  OK(cuEventRecord(x->a, x->t));
  OK(cuCtxSynchronize());
  OK(cuStreamBeginCapture_v2(x->s, mode));
}

static void
finish(Fix *x)
{
  if (x->g)
    OK(cuGraphDestroy(x->g));
  OK(cuStreamDestroy_v2(x->s));
  OK(cuStreamDestroy_v2(x->t));
  OK(cuEventDestroy_v2(x->a));
  OK(cuEventDestroy_v2(x->b));
  OK(cuMemFree_v2(x->p));
  OK(cuMemFree_v2(x->q));
  OK(cuModuleUnload(x->m));
  kit_no_findings();
}

static CUstreamCaptureStatus
status_of(CUstream s)
{
  CUstreamCaptureStatus status;
  OK(cuStreamIsCapturing(s, &status));
  return status;
}

/* What every word at p is. */
static void
is_all(CUdeviceptr p, uint32_t want)
{
  uint32_t words[THREADS];
  OK(cuMemcpyDtoH_v2(words, p, BYTES));
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(words[i], want);
}

static CUgraphExec
instance(CUgraph g)
{
  CUgraphExec x;
  OK(cuGraphInstantiateWithFlags(&x, g, 0));
  return x;
}

static void
run(CUgraphExec x, CUstream s)
{
  OK(cuGraphLaunch(x, s));
  OK(cuStreamSynchronize(s));
}

/* Nothing happens while it is captured; then all of it, as often as it is launched, with
 * the parameters as they were. */
static void
steps(void **state)
{
  Fix x;
  size_t n = 0, edges = 0;
  (void)state;
  begin(&x, CU_STREAM_NON_BLOCKING, CU_STREAM_CAPTURE_MODE_GLOBAL);
  assert_int_equal(status_of(x.s), CU_STREAM_CAPTURE_STATUS_ACTIVE);
  OK(cuMemsetD32Async(x.p, 5, THREADS, x.s));
  OK(launch(x.f, x.s, x.p, false));
  OK(launch(x.f, x.s, x.p, false));
  OK(cuStreamEndCapture(x.s, &x.g));
  assert_int_equal(status_of(x.s), CU_STREAM_CAPTURE_STATUS_NONE);
  is_all(x.p, 100);
  OK(cuGraphGetNodes(x.g, NULL, &n));
  OK(cuGraphGetEdges(x.g, NULL, NULL, &edges));
  assert_int_equal(n, 3);
  assert_int_equal(edges, 2);
  CUgraphExec e = instance(x.g);
  for (uint32_t i = 0; i < 3; i++) {
    OK(cuMemsetD32Async(x.p, i, THREADS, x.s));
    run(e, x.s);
    is_all(x.p, 7);
  }
  OK(cuGraphExecDestroy(e));
  finish(&x);
}

/* s: memset p, kernel p, join; t: kernel q behind the memset.  Copies of the host are read
 * and written when the graph is launched. */
static void
fork_and_join(void **state)
{
  Fix x;
  uint32_t in[THREADS], out[THREADS];
  size_t n = 0, edges = 0;
  (void)state;
  begin(&x, 0, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  OK(cuMemcpyHtoDAsync_v2(x.p, in, BYTES, x.s));
  OK(cuEventRecord(x.b, x.s));
  OK(cuStreamWaitEvent(x.t, x.b, 0));
  assert_int_equal(status_of(x.t), CU_STREAM_CAPTURE_STATUS_ACTIVE);
  OK(launch(x.f, x.t, x.q, false));
  OK(launch(x.f, x.s, x.p, false));
  OK(cuEventRecord(x.b, x.t));
  OK(cuStreamWaitEvent(x.s, x.b, 0));
  OK(cuMemcpyDtoDAsync_v2(x.q, x.p, 4, x.s));
  OK(cuMemcpyDtoHAsync_v2(out, x.q, BYTES, x.s));
  OK(cuStreamEndCapture(x.s, &x.g));
  assert_int_equal(status_of(x.t), CU_STREAM_CAPTURE_STATUS_NONE);
  OK(cuGraphGetNodes(x.g, NULL, &n));
  OK(cuGraphGetEdges(x.g, NULL, NULL, &edges));
  assert_int_equal(n, 5);
  assert_int_equal(edges, 5);
  CUgraphExec e = instance(x.g);
  for (uint32_t i = 1; i <= 3; i++) {
    for (uint32_t k = 0; k < THREADS; k++)
      in[k] = 1000 * i + k;
    run(e, x.s);
    assert_int_equal(out[0], 1000 * i + 1);
    assert_int_equal(out[1], 100 + i);
  }
  OK(cuGraphExecDestroy(e));
  finish(&x);
}

/* The same without the wait: the join is there, but the order is not. */
static void
missing_order(void **state)
{
  Fix x;
  (void)state;
  begin(&x, CU_STREAM_NON_BLOCKING, CU_STREAM_CAPTURE_MODE_GLOBAL);
  OK(cuEventRecord(x.b, x.s));
  OK(cuStreamWaitEvent(x.t, x.b, 0));
  OK(cuMemsetD8Async(x.p, 0, BYTES, x.s));
  OK(launch(x.f, x.t, x.p, false));
  OK(cuEventRecord(x.b, x.t));
  OK(cuStreamWaitEvent(x.s, x.b, 0));
  OK(launch(x.f, x.s, x.p, false));
  OK(cuStreamEndCapture(x.s, &x.g));
  CUgraphExec e = instance(x.g);
  run(e, x.s);
  kit_found("error[stream-order]: reads global memory at");
  OK(cuGraphExecDestroy(e));
  finish(&x);
}

/* Programmatic launches become programmatic edges. */
static void
programmatic(void **state)
{
  (void)state;
  for (int waits = 0; waits < 2; waits++) {
    Fix x;
    CUmodule m;
    CUgraphNode from[2], to[2];
    CUgraphEdgeData edges[2];
    size_t n = 2;
    begin(&x, CU_STREAM_NON_BLOCKING, CU_STREAM_CAPTURE_MODE_GLOBAL);
    CUfunction f = kit_function(waits ? add_behind : add_one, &m);
    OK(launch(x.f, x.s, x.p, true));
    OK(launch(f, x.s, x.p, true));
    OK(cuStreamEndCapture(x.s, &x.g));
    assert_int_equal(cuGraphGetEdges(x.g, from, to, &n), CUDA_ERROR_LOSSY_QUERY);
    OK(cuGraphGetEdges_v2(x.g, from, to, edges, &n));
    assert_int_equal(n, 1);
    assert_int_equal(edges[0].type, CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC);
    CUgraphExec e = instance(x.g);
    run(e, x.s);
    if (!waits)
      kit_found("error[grid-dependency]");
    kit_no_findings();
    is_all(x.p, 102);
    OK(cuGraphExecDestroy(e));
    OK(cuModuleUnload(m));
    finish(&x);
  }
}

static void
info(void **state)
{
  Fix x;
  CUstreamCaptureStatus status;
  uint64_t id = 0, same = 0;
  CUgraph g = NULL;
  const CUgraphNode *nodes;
  CUgraphNode added;
  size_t n;
  (void)state;
  begin(&x, CU_STREAM_NON_BLOCKING, CU_STREAM_CAPTURE_MODE_RELAXED);
  OK(launch(x.f, x.s, x.p, false));
  OK(cuStreamGetCaptureInfo_v2(x.s, &status, &id, &g, &nodes, &n));
  assert_true(id && g && n == 1);
  OK(cuStreamGetCaptureInfo(x.s, &status, &same));
  assert_int_equal(id, same);
  /* a node of one's own in between */
  OK(cuGraphAddEmptyNode(&added, g, nodes, n));
  OK(cuStreamUpdateCaptureDependencies(x.s, &added, 1, CU_STREAM_SET_CAPTURE_DEPENDENCIES));
  OK(launch(x.f, x.s, x.p, false));
  assert_int_equal(cuGraphDestroy(g), CUDA_ERROR_INVALID_VALUE);
  OK(cuStreamEndCapture(x.s, &x.g));
  assert_true(x.g == g);
  n = 0;
  OK(cuGraphNodeGetDependentNodes(added, NULL, &n));
  assert_int_equal(n, 1);
  OK(cuStreamGetCaptureInfo(x.s, &status, &same));
  assert_int_equal(status, CU_STREAM_CAPTURE_STATUS_NONE);
  finish(&x);
}

/* A graph that is launched into a capture is a node of it; a host function as well. */
static void
count_call(void *data)
{
  CUdeviceptr p;
  ++*(int *)data;
  assert_int_equal(cuMemAlloc_v2(&p, 4), CUDA_ERROR_NOT_PERMITTED);
}

static void
nested(void **state)
{
  Fix x;
  CUgraph outer;
  CUgraphNode nodes[2];
  CUgraphNodeType type;
  int calls = 0;
  size_t n = 2;
  (void)state;
  begin(&x, CU_STREAM_NON_BLOCKING, CU_STREAM_CAPTURE_MODE_GLOBAL);
  OK(launch(x.f, x.s, x.p, false));
  OK(cuStreamEndCapture(x.s, &x.g));
  CUgraphExec inner = instance(x.g);
  OK(cuStreamBeginCapture_v2(x.s, CU_STREAM_CAPTURE_MODE_GLOBAL));
  OK(cuGraphLaunch(inner, x.s));
  OK(cuLaunchHostFunc(x.s, count_call, &calls));
  OK(cuGraphLaunch(inner, x.s));
  OK(cuStreamEndCapture(x.s, &outer));
  assert_int_equal(calls, 0);
  OK(cuGraphGetNodes(outer, nodes, &n));
  OK(cuGraphNodeGetType(nodes[0], &type));
  assert_int_equal(type, CU_GRAPH_NODE_TYPE_GRAPH);
  CUgraphExec e = instance(outer);
  OK(cuGraphExecDestroy(inner));
  run(e, x.s);
  run(e, x.s);
  is_all(x.p, 104);
  assert_int_equal(calls, 2);
  OK(cuGraphExecDestroy(e));
  OK(cuGraphDestroy(outer));
  finish(&x);
}

/* ---- what is illegal ---- */

typedef CUresult Act(Fix *);

static CUresult
stream_synchronize(Fix *x)
{
  return cuStreamSynchronize(x->s);
}

static CUresult
stream_query(Fix *x)
{
  return cuStreamQuery(x->s);
}

static CUresult
context_synchronize(Fix *x)
{
  (void)x;
  return cuCtxSynchronize();
}

static CUresult
captured_event_synchronize(Fix *x)
{
  OK(cuEventRecord(x->b, x->s));
  return cuEventSynchronize(x->b);
}

static CUresult
captured_event_query(Fix *x)
{
  OK(cuEventRecord(x->b, x->s));
  return cuEventQuery(x->b);
}

static CUresult
other_event_query(Fix *x)
{
  return cuEventQuery(x->a);
}

static CUresult
other_stream_synchronize(Fix *x)
{
  return cuStreamSynchronize(x->t);
}

static CUresult
allocate(Fix *x)
{
  CUdeviceptr p;
  (void)x;
  CUresult r = cuMemAlloc_v2(&p, 16);
  return r ? r : cuMemFree_v2(p);
}

static CUresult
free_memory(Fix *x)
{
  (void)x;
  return cuMemFree_v2(0);
}

static CUresult
copy_now(Fix *x)
{
  uint32_t word;
  return cuMemcpyDtoH_v2(&word, x->p, 4);
}

static CUresult
launch_legacy(Fix *x)
{
  return launch(x->f, NULL, x->q, false);
}

static CUresult
set_legacy(Fix *x)
{
  return cuMemsetD8_v2(x->q, 0, BYTES);
}

static CUresult
record_legacy(Fix *x)
{
  return cuEventRecord(x->a, NULL);
}

static CUresult
legacy_waits(Fix *x)
{
  OK(cuEventRecord(x->b, x->s));
  return cuStreamWaitEvent(NULL, x->b, 0);
}

static CUresult
legacy_is_captured(Fix *x)
{
  CUstreamCaptureStatus status;
  (void)x;
  return cuStreamIsCapturing(NULL, &status);
}

static CUresult
wait_for_outside(Fix *x)
{
  return cuStreamWaitEvent(x->s, x->a, 0);
}

static CUresult
merge(Fix *x)
{
  CUgraph g;
  OK(cuStreamBeginCapture_v2(x->t, CU_STREAM_CAPTURE_MODE_GLOBAL));
  OK(cuEventRecord(x->b, x->t));
  CUresult r = cuStreamWaitEvent(x->s, x->b, 0);
  assert_int_equal(cuStreamEndCapture(x->t, &g), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  return r;
}

static void
fork_to_other(Fix *x)
{
  OK(cuEventRecord(x->b, x->s));
  OK(cuStreamWaitEvent(x->t, x->b, 0));
}

static CUresult
leave_unjoined(Fix *x)
{
  fork_to_other(x);
  return launch(x->f, x->t, x->q, false);
}

/* A fork without work of its own is behind the origin as it is. */
static CUresult
leave_empty_fork(Fix *x)
{
  fork_to_other(x);
  return launch(x->f, x->s, x->p, false);
}

static CUresult
end_elsewhere(Fix *x)
{
  CUgraph g;
  fork_to_other(x);
  return cuStreamEndCapture(x->t, &g);
}

static CUresult
end_not_begun(Fix *x)
{
  CUgraph g;
  return cuStreamEndCapture(x->t, &g);
}

typedef struct There {
  CUcontext context;
  Act *act;
  Fix *x;
  CUresult r;
} There;

static void *
there(void *arg)
{
  There *t = arg;
  OK(cuCtxSetCurrent(t->context));
  t->r = t->act(t->x);
  return NULL;
}

static CUresult
in_thread(Fix *x, Act *act)
{
  pthread_t thread;
  There t = {.act = act, .x = x};
  OK(cuCtxGetCurrent(&t.context));
  OK(pthread_create(&thread, NULL, there, &t));
  OK(pthread_join(thread, NULL));
  return t.r;
}

static CUresult
end_now(Fix *x)
{
  CUgraph g;
  return cuStreamEndCapture(x->s, &g);
}

static CUresult
end_in_thread(Fix *x)
{
  return in_thread(x, end_now);
}

static CUresult
allocate_in_thread(Fix *x)
{
  return in_thread(x, allocate);
}

static CUresult
query_in_thread(Fix *x)
{
  return in_thread(x, other_event_query);
}

static CUresult
allocate_relaxed(Fix *x)
{
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
  OK(cuThreadExchangeStreamCaptureMode(&mode));
  assert_int_equal(mode, CU_STREAM_CAPTURE_MODE_GLOBAL);
  CUresult r = allocate(x);
  OK(cuThreadExchangeStreamCaptureMode(&mode));
  assert_int_equal(mode, CU_STREAM_CAPTURE_MODE_RELAXED);
  return r;
}

static CUresult
begin_again(Fix *x)
{
  return cuStreamBeginCapture_v2(x->s, CU_STREAM_CAPTURE_MODE_GLOBAL);
}

static CUresult
begin_legacy(Fix *x)
{
  (void)x;
  return cuStreamBeginCapture_v2(NULL, CU_STREAM_CAPTURE_MODE_GLOBAL);
}

static void
never(CUstream s, CUresult r, void *data)
{
  (void)s;
  (void)r;
  (void)data;
  fail_msg("called while it is captured");
}

static CUresult
add_callback(Fix *x)
{
  return cuStreamAddCallback(x->s, never, NULL, 0);
}

static CUresult
destroy_stream(Fix *x)
{
  return cuStreamDestroy_v2(x->s);
}

static CUresult
launch_wrong(Fix *x)
{
  return cuLaunchKernel(x->f, 0, 1, 1, 1, 1, 1, 0, x->s, NULL, NULL);
}

typedef struct Case {
  Act *act;
  CUresult want, end; /* what cuStreamEndCapture says then */
  unsigned flags;     /* of the stream */
  CUstreamCaptureMode mode;
} Case;

#define GLOBAL       CU_STREAM_CAPTURE_MODE_GLOBAL
#define THREAD_LOCAL CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
#define RELAXED      CU_STREAM_CAPTURE_MODE_RELAXED
#define FREE         CU_STREAM_NON_BLOCKING
#define BLOCKING     0
#define E(name)      CUDA_ERROR_STREAM_CAPTURE_##name
#define SPOILT       E(INVALIDATED)
#define FINE         CUDA_SUCCESS

static const Case cases[] = {
    {stream_synchronize, E(UNSUPPORTED), SPOILT, FREE, RELAXED},
    {stream_query, E(UNSUPPORTED), SPOILT, FREE, RELAXED},
    {context_synchronize, E(UNSUPPORTED), SPOILT, FREE, RELAXED},
    {captured_event_synchronize, CUDA_ERROR_CAPTURED_EVENT, SPOILT, FREE, RELAXED},
    {captured_event_query, CUDA_ERROR_CAPTURED_EVENT, SPOILT, FREE, RELAXED},
    {other_event_query, E(UNSUPPORTED), SPOILT, FREE, GLOBAL},
    {other_event_query, FINE, FINE, FREE, RELAXED},
    {other_stream_synchronize, E(UNSUPPORTED), SPOILT, FREE, THREAD_LOCAL},
    {other_stream_synchronize, FINE, FINE, FREE, RELAXED},
    {allocate, E(UNSUPPORTED), SPOILT, FREE, GLOBAL},
    {allocate, E(UNSUPPORTED), SPOILT, FREE, THREAD_LOCAL},
    {allocate, FINE, FINE, FREE, RELAXED},
    {allocate_in_thread, E(UNSUPPORTED), SPOILT, FREE, GLOBAL},
    {allocate_in_thread, FINE, FINE, FREE, THREAD_LOCAL},
    {allocate_in_thread, FINE, FINE, FREE, RELAXED},
    {allocate_relaxed, FINE, FINE, FREE, GLOBAL},
    {query_in_thread, E(UNSUPPORTED), SPOILT, FREE, GLOBAL},
    {query_in_thread, FINE, FINE, FREE, THREAD_LOCAL},
    {free_memory, E(UNSUPPORTED), SPOILT, FREE, GLOBAL},
    {copy_now, E(UNSUPPORTED), SPOILT, FREE, GLOBAL},
    {copy_now, FINE, FINE, FREE, RELAXED},
    {copy_now, E(IMPLICIT), SPOILT, BLOCKING, RELAXED},
    {launch_legacy, E(IMPLICIT), SPOILT, BLOCKING, RELAXED},
    {launch_legacy, FINE, FINE, FREE, GLOBAL},
    {set_legacy, E(IMPLICIT), SPOILT, BLOCKING, RELAXED},
    {set_legacy, FINE, FINE, FREE, GLOBAL},
    {record_legacy, E(IMPLICIT), SPOILT, BLOCKING, RELAXED},
    {record_legacy, FINE, FINE, FREE, GLOBAL},
    {legacy_waits, E(IMPLICIT), SPOILT, FREE, GLOBAL},
    {legacy_is_captured, E(IMPLICIT), FINE, BLOCKING, GLOBAL},
    {legacy_is_captured, FINE, FINE, FREE, GLOBAL},
    {wait_for_outside, E(ISOLATION), SPOILT, FREE, GLOBAL},
    {merge, E(MERGE), SPOILT, FREE, GLOBAL},
    {leave_unjoined, FINE, E(UNJOINED), FREE, GLOBAL},
    {leave_empty_fork, FINE, FINE, FREE, GLOBAL},
    {end_elsewhere, E(UNMATCHED), SPOILT, FREE, GLOBAL},
    {end_not_begun, CUDA_ERROR_ILLEGAL_STATE, FINE, FREE, GLOBAL},
    {end_in_thread, E(WRONG_THREAD), SPOILT, FREE, GLOBAL},
    {end_in_thread, E(WRONG_THREAD), SPOILT, FREE, THREAD_LOCAL},
    {begin_again, CUDA_ERROR_ILLEGAL_STATE, FINE, FREE, GLOBAL},
    {begin_legacy, E(UNSUPPORTED), FINE, FREE, GLOBAL},
    {add_callback, E(UNSUPPORTED), SPOILT, FREE, GLOBAL},
    {destroy_stream, E(UNSUPPORTED), SPOILT, FREE, GLOBAL},
    {launch_wrong, CUDA_ERROR_INVALID_VALUE, FINE, FREE, GLOBAL},
};

/* Once it is spoilt nothing but its end is possible. */
static void
is_spoilt(Fix *x)
{
  assert_int_equal(status_of(x->s), CU_STREAM_CAPTURE_STATUS_INVALIDATED);
  assert_int_equal(launch(x->f, x->s, x->p, false), SPOILT);
  assert_int_equal(cuMemsetD8Async(x->p, 0, 4, x->s), SPOILT);
  assert_int_equal(cuEventRecord(x->b, x->s), SPOILT);
  assert_int_equal(cuStreamSynchronize(x->s), SPOILT);
}

static void
illegal(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const Case *c = &cases[i];
    Fix x;
    begin(&x, c->flags, c->mode);
    CUresult r = c->act(&x);
    if (r != c->want)
      fail_msg("case %zu: %d", i, r);
    if (c->end == SPOILT)
      is_spoilt(&x);
    r = cuStreamEndCapture(x.s, &x.g);
    if (r != c->end || (r != FINE) != !x.g)
      fail_msg("case %zu: the capture ends with %d", i, r);
    /* and everything is as before it */
    assert_int_equal(status_of(x.s), CU_STREAM_CAPTURE_STATUS_NONE);
    assert_int_equal(status_of(x.t), CU_STREAM_CAPTURE_STATUS_NONE);
    OK(launch(x.f, x.s, x.p, false));
    OK(cuCtxSynchronize());
    finish(&x);
  }
}

/* An event of a capture that has ended is nobody's. */
static void
stale_event(void **state)
{
  Fix x;
  (void)state;
  begin(&x, FREE, GLOBAL);
  OK(cuEventRecord(x.b, x.s));
  OK(cuStreamEndCapture(x.s, &x.g));
  assert_int_equal(cuEventQuery(x.b), CUDA_ERROR_CAPTURED_EVENT);
  assert_int_equal(cuStreamWaitEvent(x.t, x.b, 0), CUDA_ERROR_CAPTURED_EVENT);
  OK(cuEventRecord(x.b, x.s));
  OK(cuStreamWaitEvent(x.t, x.b, 0));
  OK(cuEventQuery(x.b));
  finish(&x);
}

/* A capture into a graph that is there already. */
static void
into_graph(void **state)
{
  Fix x;
  CUgraphNode first;
  CUgraph g;
  size_t n = 0;
  (void)state;
  begin(&x, FREE, GLOBAL);
  OK(cuStreamEndCapture(x.s, &x.g));
  OK(cuGraphAddEmptyNode(&first, x.g, NULL, 0));
  OK(cuStreamBeginCaptureToGraph(x.s, x.g, &first, NULL, 1, GLOBAL));
  OK(launch(x.f, x.s, x.p, false));
  OK(cuStreamEndCapture(x.s, &g));
  assert_true(g == x.g);
  OK(cuGraphNodeGetDependentNodes(first, NULL, &n));
  assert_int_equal(n, 1);
  /* into one that is embedded: neither it nor what has it goes meanwhile */
  CUgraph inside;
  CUgraphNode child;
  OK(cuGraphAddChildGraphNode(&child, x.g, NULL, 0, x.g));
  OK(cuGraphChildGraphNodeGetGraph(child, &inside));
  OK(cuStreamBeginCaptureToGraph(x.s, inside, NULL, NULL, 0, GLOBAL));
  assert_int_equal(cuGraphDestroyNode(child), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuGraphDestroy(x.g), CUDA_ERROR_INVALID_VALUE);
  OK(launch(x.f, x.s, x.p, false));
  OK(cuStreamEndCapture(x.s, &g));
  assert_true(g == inside);
  OK(cuGraphDestroyNode(child));
  finish(&x);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(steps),         cmocka_unit_test(fork_and_join),
      cmocka_unit_test(missing_order), cmocka_unit_test(programmatic),
      cmocka_unit_test(info),          cmocka_unit_test(nested),
      cmocka_unit_test(illegal),       cmocka_unit_test(stale_event),
      cmocka_unit_test(into_graph),
  };
  kit_start("arch=sm_90");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
