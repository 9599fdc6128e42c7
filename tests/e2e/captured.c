/* captured: attnc_launch in a stream that is captured, on the emulated device.
 *
 *   e2e_captured TARGET
 *
 * What the graph does, launched with one content of the inputs after another, is what the
 * launch itself does with them, bit by bit; and a graph whose edges are too few is found
 * out. */
#include "tests/e2e/call.h"
#include "tests/e2e/graph.h"
#include "tests/e2e/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static GraphCalls graph;

static Session session;
static Call call;
static attnc_plan *plan;
static attnc_spec *spec;
static CallAsked asked;
static CUstream stream, other;
static CUevent event;

static void
die(const char *what, const char *why)
{
  fprintf(stderr, "e2e_captured: %s: %s\n", what, why);
  exit(1);
}

#define OK(r) ok((r), #r)
static void
ok(CUresult r, const char *what)
{
  if (r)
    die(what, device_result(&session.device, r));
}

static void
find_functions(void)
{
  const char *missing = graph_calls(&graph, session.device.lib);
  if (missing)
    die(missing, "is missing");
}

static void
open_all(const char *target)
{
  char why[1000] = "", text[200];
  static Case c;
  attnc_error e = {0};
  snprintf(text, sizeof text,
           "{dtype: bf16, head_dim: 64, causal: true, return_lse: true} h4/2 sq130 sk200 "
           "%s seed=3",
           target);
  if (!session_open(&session, NULL, target, why, sizeof why) ||
      !case_parse(text, &c, why, sizeof why) ||
      !call_load(&call, &c, &spec, why, sizeof why) ||
      !call_upload(&call, &session.device, why, sizeof why))
    die(text, why);
  call_problem(&call, &asked);
  if (attnc_plan_get(session.context, spec, &asked.problem, &plan, &e))
    die("attnc_plan_get", e.message);
  find_functions();
  OK(session.device.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  OK(session.device.cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
  OK(session.device.cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
}

/* The inputs, turned by some rows; outputs as if nothing had been written. */
static void
fill(int turn)
{
  for (int i = 0; i < call.n_buffers; i++) {
    const Buffer *b = &call.buffers[i];
    size_t at = (size_t)turn * 128, guard = call.start[ATTNC_Q];
    bool input =
        i == call.home[ATTNC_Q] || i == call.home[ATTNC_K] || i == call.home[ATTNC_V];
    unsigned char *turned = malloc(b->bytes);
    if (!turned)
      die("malloc", "no memory");
    memcpy(turned, b->sent, b->bytes);
    if (input) {
      size_t n = b->bytes - 2 * guard;
      memcpy(turned + guard, b->sent + guard + at, n - at);
      memcpy(turned + guard + n - at, b->sent + guard, at);
    }
    OK(session.device.cuMemcpyHtoD_v2(b->at, turned, b->bytes));
    free(turned);
  }
}

static void
launch(CUstream in)
{
  attnc_error e = {0};
  if (attnc_launch(plan, &call.device_args, in, NULL, &e))
    die("attnc_launch", e.message);
}

static void
no_findings(const char *of)
{
  char text[4000];
  if (device_findings(&session.device, text, sizeof text))
    die(of, text);
}

/* Everything on the device after what was done, malloc'd. */
static unsigned char *
take(size_t *n)
{
  unsigned char *all = NULL;
  *n = 0;
  OK(session.device.cuStreamSynchronize(stream));
  for (int i = 0; i < call.n_buffers; i++) {
    const Buffer *b = &call.buffers[i];
    all = realloc(all, *n + b->bytes);
    if (!all)
      die("realloc", "no memory");
    OK(session.device.cuMemcpyDtoH_v2(all + *n, b->at, b->bytes));
    *n += b->bytes;
  }
  return all;
}

static CUgraphExec
captured(void)
{
  CUgraph g;
  CUgraphExec x;
  OK(graph.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  launch(stream);
  OK(graph.cuStreamEndCapture(stream, &g));
  OK(graph.cuGraphInstantiateWithFlags(&x, g, 0));
  OK(graph.cuGraphDestroy(g));
  return x;
}

static void
same_as_eager(void)
{
  unsigned char *first = NULL;
  CUgraphExec x = captured();
  for (int turn = 0; turn < 3; turn++) {
    size_t n, m;
    fill(turn);
    launch(stream);
    unsigned char *eager = take(&n);
    fill(turn);
    OK(graph.cuGraphLaunch(x, stream));
    unsigned char *replayed = take(&m);
    no_findings("a launch");
    if (n != m || memcmp(eager, replayed, n))
      die("the graph", "gives other bits than the launch");
    if (first && !memcmp(first, eager, n))
      die("the contents", "make no difference");
    free(replayed);
    free(first);
    first = eager;
  }
  free(first);
  OK(graph.cuGraphExecDestroy(x));
}

/* A memset of an input beside the launch, with an edge between the two and without. */
static void
missing_edge(bool ordered)
{
  CUgraph g;
  CUgraphExec x;
  char text[4000] = "";
  const Buffer *q = &call.buffers[call.home[ATTNC_Q]];
  OK(graph.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  OK(session.device.cuEventRecord(event, stream));
  OK(graph.cuStreamWaitEvent(other, event, 0));
  OK(session.device.cuMemsetD8Async(q->at, 0, q->bytes, other));
  OK(session.device.cuEventRecord(event, other));
  if (ordered)
    OK(graph.cuStreamWaitEvent(stream, event, 0));
  launch(stream);
  OK(graph.cuStreamWaitEvent(stream, event, 0));
  OK(graph.cuStreamEndCapture(stream, &g));
  OK(graph.cuGraphInstantiateWithFlags(&x, g, 0));
  OK(graph.cuGraphLaunch(x, stream));
  OK(session.device.cuStreamSynchronize(stream));
  device_findings(&session.device, text, sizeof text);
  if (ordered ? *text : !strstr(text, "error[stream-order]"))
    die(ordered ? "with the edge" : "without the edge", text);
  OK(graph.cuGraphExecDestroy(x));
  OK(graph.cuGraphDestroy(g));
}

/* A plan that is asked for while its stream is captured, loaded and not, and one that is
 * loaded meanwhile for another stream: the capture goes on. */
static void
planned(void)
{
  CUgraph g;
  attnc_plan *p = NULL;
  attnc_error e = {0};
  attnc_problem for_stream = asked.problem, elsewhere = asked.problem;
  attnc_schedule want = {.size = sizeof want, .num_stages = 1};
  for_stream.stream = stream;
  elsewhere.stream = other;
  OK(graph.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  if (attnc_plan_get(session.context, spec, &for_stream, &p, &e) || p != plan)
    die("a plan that is loaded", e.message);
  attnc_plan_release(p);
  if (attnc_plan_get_with(session.context, spec, &for_stream, &want, &p, &e) !=
      ATTNC_ERR_NOT_PREPARED)
    die("a plan that is not loaded", "was given");
  if (attnc_plan_get_with(session.context, spec, &elsewhere, &want, &p, &e))
    die("a plan for another stream", e.message);
  attnc_plan_release(p);
  launch(stream);
  OK(graph.cuStreamEndCapture(stream, &g));
  OK(graph.cuGraphDestroy(g));
}

int
main(int argc, char **argv)
{
  if (argc != 2)
    die("usage", "e2e_captured TARGET");
  open_all(argv[1]);
  same_as_eager();
  planned();
  missing_edge(true);
  missing_edge(false);
  OK(session.device.cuStreamDestroy_v2(stream));
  OK(session.device.cuStreamDestroy_v2(other));
  OK(session.device.cuEventDestroy_v2(event));
  call_free(&call, &session.device);
  attnc_plan_release(plan);
  attnc_spec_release(spec);
  session_close(&session);
  puts("the graph does what the launch does");
  return 0;
}
