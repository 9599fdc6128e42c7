/* A fuzzer of streams, captures and graphs, in process and deterministic: calls of the
 * driver in random order, with handles that are there, are gone, or never were.
 *
 *   fuzz_graph [--runs N] [--seed N]
 *
 * Whatever the order: nothing crashes, every result is one that the driver has, a capture
 * that ends well leaves a graph that has an instance, and in the end everything can be
 * destroyed and the device still works. */
#include "emulator/driver/device.h"

#include <attnc/attnc_emu.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 5, NODES = 12, BYTES = 256 };

static const char text[] =
    ".version 8.0\n.target sm_90\n.address_size 64\n"
    ".visible .entry k(.param .u64 p) {\n.reg .b32 %r<5>; .reg .b64 %rd<5>;\n"
    "ld.param.u64 %rd1, [p]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 4;\n"
    "add.s64 %rd2, %rd1, %rd2; griddepcontrol.wait;\nld.global.u32 %r2, [%rd2];\n"
    "add.u32 %r2, %r2, 1;\nst.global.u32 [%rd2], %r2;\nret;\n}\n";

static uint64_t state = 1;
static CUstream streams[SLOTS];
static CUevent events[SLOTS];
static CUgraph graphs[SLOTS];
static CUgraphExec execs[SLOTS];
static CUgraphNode nodes[NODES];
static CUmodule modules[2];
static CUfunction functions[2];
static CUdeviceptr memory[2];

static size_t
draw(size_t n)
{
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (size_t)(state % n);
}

static void
die(const char *what, CUresult r)
{
  fprintf(stderr, "fuzz_graph: %s: %d\n", what, r);
  exit(1);
}

/* One of them; now and then something that is none. */
#define PICK(type, from, n)                                                                \
  (draw(20) ? (from)[draw(n)] : (type)(draw(2) ? NULL : (void *)&state))

static CUstream
a_stream(void)
{
  uintptr_t special = draw(12);
  return special < 3 ? (CUstream)special : PICK(CUstream, streams, SLOTS);
}

static CUresult
new_stream(void)
{
  CUstream *s = &streams[draw(SLOTS)];
  CUresult r = *s ? cuStreamDestroy_v2(*s) : CUDA_SUCCESS;
  return r && r != CUDA_ERROR_INVALID_HANDLE ? r : cuStreamCreate(s, (unsigned)draw(2));
}

static CUresult
new_event(void)
{
  CUevent *e = &events[draw(SLOTS)];
  if (*e)
    cuEventDestroy_v2(*e);
  return cuEventCreate(e, CU_EVENT_DISABLE_TIMING);
}

static CUresult
new_graph(void)
{
  CUgraph *g = &graphs[draw(SLOTS)];
  if (*g)
    cuGraphDestroy(*g);
  return draw(2) ? cuGraphCreate(g, 0) : cuGraphClone(g, PICK(CUgraph, graphs, SLOTS));
}

static CUresult
drop_graph(void)
{
  return cuGraphDestroy(PICK(CUgraph, graphs, SLOTS));
}

static CUresult
new_exec(void)
{
  CUgraphExec *x = &execs[draw(SLOTS)];
  if (*x)
    cuGraphExecDestroy(*x);
  return cuGraphInstantiateWithFlags(x, PICK(CUgraph, graphs, SLOTS), 0);
}

static CUresult
drop_exec(void)
{
  return cuGraphExecDestroy(PICK(CUgraphExec, execs, SLOTS));
}

static CUresult
swap_module(void)
{
  size_t i = draw(2);
  if (modules[i])
    cuModuleUnload(modules[i]);
  CUresult r = cuModuleLoadDataEx(&modules[i], text, 0, NULL, NULL);
  return r ? r : cuModuleGetFunction(&functions[i], modules[i], "k");
}

static CUresult
launch(void)
{
  CUlaunchAttribute a[2] = {{.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION},
                            {.id = CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT}};
  a[0].value.programmaticStreamSerializationAllowed = (int)draw(2);
  a[1].value.launchCompletionEvent.event = PICK(CUevent, events, SLOTS);
  CUlaunchConfig c = {.gridDimX = (unsigned)draw(3),
                      .gridDimY = 1,
                      .gridDimZ = 1,
                      .blockDimX = 32,
                      .blockDimY = 1,
                      .blockDimZ = 1,
                      .hStream = a_stream(),
                      .attrs = a,
                      .numAttrs = draw(8) ? 1 : 2};
  return cuLaunchKernelEx(&c, PICK(CUfunction, functions, 2), (void *[]){&memory[draw(2)]},
                          NULL);
}

static CUresult
set_memory(void)
{
  return cuMemsetD32Async(memory[draw(2)], 1, draw(BYTES / 4 + 2), a_stream());
}

static CUresult
copy_memory(void)
{
  return cuMemcpyDtoDAsync_v2(memory[draw(2)], memory[draw(2)], draw(BYTES + 2),
                              a_stream());
}

static CUresult
copy_host(void)
{
  static uint32_t words[BYTES / 4];
  return draw(2) ? cuMemcpyDtoH_v2(words, memory[0], BYTES)
                 : cuMemcpyHtoDAsync_v2(memory[1], words, BYTES, a_stream());
}

static void
nothing(void *data)
{
  (void)data;
}

static CUresult
host_function(void)
{
  return cuLaunchHostFunc(a_stream(), nothing, NULL);
}

static CUresult
record(void)
{
  return cuEventRecordWithFlags(PICK(CUevent, events, SLOTS), a_stream(), draw(6) == 0);
}

static CUresult
wait_event(void)
{
  return cuStreamWaitEvent(a_stream(), PICK(CUevent, events, SLOTS), draw(6) == 0);
}

static CUresult
wait_host(void)
{
  return draw(8) == 0 ? cuCtxSynchronize()
         : draw(2)    ? cuStreamSynchronize(a_stream())
                      : cuEventQuery(PICK(CUevent, events, SLOTS));
}

static CUresult
begin(void)
{
  return cuStreamBeginCapture_v2(a_stream(), (CUstreamCaptureMode)draw(4));
}

static CUresult
begin_into(void)
{
  CUgraphNode deps[2] = {PICK(CUgraphNode, nodes, NODES), PICK(CUgraphNode, nodes, NODES)};
  return cuStreamBeginCaptureToGraph(a_stream(), PICK(CUgraph, graphs, SLOTS), deps, NULL,
                                     draw(3), CU_STREAM_CAPTURE_MODE_RELAXED);
}

static CUresult
end(void)
{
  CUgraph g = NULL;
  CUgraphExec x;
  CUresult r = cuStreamEndCapture(a_stream(), &g);
  if (!r != (g != NULL))
    die("a graph of a capture that failed, or none of one that did not", r);
  if (r)
    return r;
  r = cuGraphInstantiateWithFlags(&x, g, 0);
  if (!r)
    r = cuGraphExecDestroy(x);
  graphs[draw(SLOTS)] = g; /* what was there stays: it may be this one */
  return r;
}

static CUresult
info(void)
{
  CUstreamCaptureStatus status;
  uint64_t id;
  CUgraph g;
  const CUgraphNode *deps;
  const CUgraphEdgeData *edges;
  size_t n = 0;
  CUresult r = cuStreamGetCaptureInfo_v3(a_stream(), &status, &id, &g, &deps, &edges, &n);
  if (!r && status == CU_STREAM_CAPTURE_STATUS_ACTIVE && n)
    nodes[draw(NODES)] = deps[draw(n)];
  return r;
}

static CUresult
update_tips(void)
{
  CUgraphNode deps[2] = {PICK(CUgraphNode, nodes, NODES), PICK(CUgraphNode, nodes, NODES)};
  return cuStreamUpdateCaptureDependencies(a_stream(), deps, draw(3), (unsigned)draw(2));
}

static CUresult
add_node(void)
{
  CUgraph g = PICK(CUgraph, graphs, SLOTS);
  CUgraphNode *to = &nodes[draw(NODES)];
  CUgraphNode deps[2] = {PICK(CUgraphNode, nodes, NODES), PICK(CUgraphNode, nodes, NODES)};
  size_t n = draw(3);
  const CUDA_MEMSET_NODE_PARAMS s = {memory[draw(2)], 0, 1, 4, draw(BYTES / 4 + 2), 1};
  const CUDA_HOST_NODE_PARAMS h = {nothing, NULL};
  CUDA_KERNEL_NODE_PARAMS_v2 k = {.func = PICK(CUfunction, functions, 2),
                                  .gridDimX = 1,
                                  .gridDimY = 1,
                                  .gridDimZ = 1,
                                  .blockDimX = 32,
                                  .blockDimY = 1,
                                  .blockDimZ = 1,
                                  .kernelParams = (void *[]){&memory[draw(2)]}};
  switch (draw(7)) {
  case 0:
    return cuGraphAddMemsetNode(to, g, deps, n, &s, NULL);
  case 1:
    return cuGraphAddHostNode(to, g, deps, n, &h);
  case 2:
    return cuGraphAddChildGraphNode(to, g, deps, n, PICK(CUgraph, graphs, SLOTS));
  case 3:
    return cuGraphAddEventRecordNode(to, g, deps, n, PICK(CUevent, events, SLOTS));
  case 4:
    return cuGraphAddEventWaitNode(to, g, deps, n, PICK(CUevent, events, SLOTS));
  case 5:
    return cuGraphAddEmptyNode(to, g, deps, n);
  default:
    return cuGraphAddKernelNode_v2(to, g, deps, n, &k);
  }
}

static CUresult
edges(void)
{
  CUgraph g = PICK(CUgraph, graphs, SLOTS);
  CUgraphNode a = PICK(CUgraphNode, nodes, NODES), b = PICK(CUgraphNode, nodes, NODES);
  const CUgraphEdgeData e = {.from_port = (unsigned char)draw(3),
                             .type = (unsigned char)draw(2)};
  return draw(3) ? cuGraphAddDependencies_v2(g, &a, &b, &e, 1)
                 : cuGraphRemoveDependencies(g, &a, &b, 1);
}

static CUresult
drop_node(void)
{
  return cuGraphDestroyNode(PICK(CUgraphNode, nodes, NODES));
}

static CUresult
look(void)
{
  CUgraphNode found[NODES], to[NODES];
  size_t n = NODES;
  CUgraph inside;
  CUDA_KERNEL_NODE_PARAMS_v2 k;
  CUgraphNode node = PICK(CUgraphNode, nodes, NODES);
  CUgraph g = PICK(CUgraph, graphs, SLOTS);
  switch (draw(6)) {
  case 0:
    return cuGraphKernelNodeGetParams_v2(node, &k);
  case 1:
    return cuGraphChildGraphNodeGetGraph(node, &inside);
  case 2:
    return cuGraphNodeGetDependencies(node, found, &n);
  case 3:
    return cuGraphNodeGetDependentNodes(node, found, &n);
  case 4:
    return cuGraphGetEdges(g, found, to, &n);
  default:
    return cuGraphNodeFindInClone(&found[0], node, g);
  }
}

static CUresult
run(void)
{
  return cuGraphLaunch(PICK(CUgraphExec, execs, SLOTS), a_stream());
}

static CUresult
update(void)
{
  CUgraphExecUpdateResultInfo why;
  return cuGraphExecUpdate_v2(PICK(CUgraphExec, execs, SLOTS), PICK(CUgraph, graphs, SLOTS),
                              &why);
}

static CUresult
set_params(void)
{
  CUgraphNode node = PICK(CUgraphNode, nodes, NODES);
  CUgraphExec x = PICK(CUgraphExec, execs, SLOTS);
  const CUDA_MEMSET_NODE_PARAMS s = {memory[draw(2)], 0, 1, 4, draw(BYTES / 4 + 2), 1};
  switch (draw(4)) {
  case 0:
    return cuGraphExecMemsetNodeSetParams(x, node, &s, NULL);
  case 1:
    return cuGraphMemsetNodeSetParams(node, &s);
  case 2:
    return cuGraphExecChildGraphNodeSetParams(x, node, PICK(CUgraph, graphs, SLOTS));
  default:
    return cuGraphNodeSetEnabled(x, node, (unsigned)draw(2));
  }
}

static CUresult (*const calls[])(void) = {
    new_stream, new_event,  new_graph,    drop_graph, new_exec,   drop_exec,   swap_module,
    launch,     launch,     launch,       set_memory, set_memory, copy_memory, copy_host,
    record,     record,     wait_event,   wait_event, wait_host,  begin,       begin,
    begin_into, end,        end,          end,        info,       update_tips, add_node,
    add_node,   add_node,   edges,        drop_node,  look,       run,         run,
    update,     set_params, host_function};

/* Captures that nobody ends would forbid more and more. */
static void
end_all(void)
{
  CUgraph g;
  for (int i = 0; i < SLOTS; i++)
    if (streams[i] && !cuStreamEndCapture(streams[i], &g))
      cuGraphDestroy(g);
  if (!cuStreamEndCapture((CUstream)2, &g))
    cuGraphDestroy(g);
}

static void
start(void)
{
  CUcontext c;
  char why[200];
  if (attncEmuConfigure("arch=sm_90,threads=1,nodes=random", why, sizeof why) ||
      cuInit(0) || cuDevicePrimaryCtxRetain(&c, 0) || cuCtxSetCurrent(c) || swap_module() ||
      swap_module())
    die("start", 1);
  for (int i = 0; i < 2; i++)
    if (cuMemAlloc_v2(&memory[i], BYTES) || cuMemsetD8_v2(memory[i], 0, BYTES))
      die("memory", 1);
}

static long
number(int argc, char **argv, const char *name, long n)
{
  for (int i = 1; i + 1 < argc; i++)
    if (!strcmp(argv[i], name))
      n = strtol(argv[i + 1], NULL, 10);
  return n;
}

int
main(int argc, char **argv)
{
  long runs = number(argc, argv, "--runs", 20000), good = 0;
  state = (uint64_t)number(argc, argv, "--seed", 1) * 0x9e3779b97f4a7c15u | 1;
  start();
  for (long i = 0; i < runs; i++) {
    const char *name;
    CUresult r = calls[draw(sizeof calls / sizeof *calls)]();
    if (cuGetErrorName(r, &name))
      die("a result that the driver does not have", r);
    good += !r;
    if (i % 64 == 63)
      end_all();
    if (i % 1024 == 1023)
      attncEmuTakeFindings((char[1 << 16]){0}, 1 << 16);
  }
  end_all();
  CUresult r = cuCtxSynchronize();
  if (r || cuDevicePrimaryCtxRelease_v2(0))
    die("the end", r);
  printf("%ld calls, %ld of them good\n", runs, good);
  return good > runs / 20 ? 0 : 1;
}
