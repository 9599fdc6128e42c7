/* graph.h: the driver's calls that capture and launch graphs, which attnc itself never
 * makes. */
#ifndef ATTNC_TESTS_E2E_GRAPH_H
#define ATTNC_TESTS_E2E_GRAPH_H

#include "abi/cuda_graph.h"

#include <dlfcn.h>
#include <string.h>

#define GRAPH_FUNCTIONS(X)                                                                 \
  X(cuStreamBeginCapture_v2, (CUstream, CUstreamCaptureMode))                              \
  X(cuStreamEndCapture, (CUstream, CUgraph *))                                             \
  X(cuStreamWaitEvent, (CUstream, CUevent, unsigned))                                      \
  X(cuGraphInstantiateWithFlags, (CUgraphExec *, CUgraph, unsigned long long))             \
  X(cuGraphLaunch, (CUgraphExec, CUstream))                                                \
  X(cuGraphExecDestroy, (CUgraphExec))                                                     \
  X(cuGraphDestroy, (CUgraph))

typedef struct GraphCalls {
#define X(name, args) CUresult(*name) args;
  GRAPH_FUNCTIONS(X)
#undef X
} GraphCalls;

/* NULL, or the name of one that the library lacks. */
static inline const char *
graph_calls(GraphCalls *to, void *library)
{
  void *p;
#define X(name, args)                                                                      \
  p = dlsym(library, #name);                                                               \
  if (!p)                                                                                  \
    return #name;                                                                          \
  memcpy(&to->name, &p, sizeof p);
  GRAPH_FUNCTIONS(X)
#undef X
  return NULL;
}

#endif
