/* Instances of graphs: their order, their launch, their update. */
#include "emulator/driver/capture.h"
#include "emulator/driver/graph.h"

#include <stdlib.h>
#include <string.h>

/* ---- order ---- */

typedef struct Run {
  CUgraph graph;
  Past *done;  /* [n] */
  bool *ended; /* [n] */
  NodeOrder order;
  uint64_t random;
} Run;

static bool
is_ready(const Run *r, CUgraphNode n)
{
  bool ready = !r->ended[n->at];
  for (size_t k = 0; k < n->n_deps; k++)
    ready = ready && r->ended[n->deps[k].from->at];
  return ready;
}

static uint64_t
next_random(uint64_t *x)
{
  *x ^= *x << 13;
  *x ^= *x >> 7;
  *x ^= *x << 17;
  return *x;
}

/* One of those whose dependencies have ended; NULL: none has. */
static CUgraphNode
choose(Run *r)
{
  CUgraphNode found = NULL;
  uint64_t ready = 0;
  for (size_t i = 0; i < r->graph->n; i++) {
    CUgraphNode n = r->graph->nodes[i];
    if (!is_ready(r, n))
      continue;
    ready++;
    if (!found || r->order == NODES_REVERSE ||
        (r->order == NODES_RANDOM && next_random(&r->random) % ready == 0))
      found = n;
  }
  return found;
}

static CUresult
run_node(Device *d, const Run *r, CUgraphNode n, const Past *ahead)
{
  static const Work nothing = {.type = CU_GRAPH_NODE_TYPE_EMPTY};
  Past mine = {0};
  past_join(&mine, ahead, false);
  for (size_t k = 0; k < n->n_deps; k++)
    past_join(&mine, &r->done[n->deps[k].from->at],
              n->deps[k].data.type == CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC);
  r->done[n->at] = (Past){mine.all, mine.all, mine.all};
  r->ended[n->at] = true;
  return work_run(d, n->disabled ? &nothing : &n->work, &mine, &r->done[n->at]);
}

static CUresult
run_all(Device *d, Run *r, const Past *ahead, Past *done)
{
  CUresult e = CUDA_SUCCESS;
  for (CUgraphNode n; !e && (n = choose(r));) {
    e = run_node(d, r, n, ahead);
    past_join(done, &r->done[n->at], false);
  }
  return e;
}

/* Another order each time, all of them by the seed. */
CUresult
graph_run(Device *d, CUgraph g, const Past *ahead, Past *done)
{
  Settings s = settings_get();
  Run r = {.graph = g,
           .done = calloc(g->n + 1, sizeof *r.done),
           .ended = calloc(g->n + 1, sizeof *r.ended),
           .order = s.nodes,
           .random = (s.seed + ++d->graph_runs) * 0x9e3779b97f4a7c15u | 1};
  *done = (Past){ahead->all, ahead->all, ahead->all};
  CUresult e = r.done && r.ended ? run_all(d, &r, ahead, done) : CUDA_ERROR_OUT_OF_MEMORY;
  free(r.done);
  free(r.ended);
  return e;
}

/* Does every node have its turn? */
static bool
has_order(CUgraph g, CUgraphNode *stuck)
{
  Run r = {.graph = g, .ended = calloc(g->n + 1, sizeof *r.ended)};
  size_t left = g->n;
  for (CUgraphNode n; r.ended && (n = choose(&r)); left--)
    r.ended[n->at] = true;
  for (size_t i = 0; r.ended && left && i < g->n; i++)
    if (!r.ended[i])
      *stuck = g->nodes[i];
  for (size_t i = 0; r.ended && !left && i < g->n; i++)
    if (g->nodes[i]->work.type == CU_GRAPH_NODE_TYPE_GRAPH &&
        !has_order(g->nodes[i]->work.child, stuck))
      left++;
  free(r.ended);
  return !left;
}

/* ---- instances ---- */

bool
graph_exec_is(const Device *d, CUgraphExec exec)
{
  CUgraphExec x = d->execs;
  while (x && x != exec)
    x = x->next;
  return x && exec;
}

static CUresult
instantiate(Device *d, CUgraph g, CUDA_GRAPH_INSTANTIATE_PARAMS *p, CUgraphExec *out)
{
  const uint64_t known = CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH |
                         CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD |
                         CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH |
                         CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY;
  p->result_out = CUDA_GRAPH_INSTANTIATE_ERROR;
  p->hErrNode_out = NULL;
  if (!graph_is(d, g) || p->flags & ~known)
    return CUDA_ERROR_INVALID_VALUE;
  if (p->flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH) {
    p->result_out = CUDA_GRAPH_INSTANTIATE_NODE_OPERATION_NOT_SUPPORTED;
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  if (!has_order(g, &p->hErrNode_out)) {
    p->result_out = CUDA_GRAPH_INSTANTIATE_INVALID_STRUCTURE;
    return CUDA_ERROR_INVALID_VALUE;
  }
  CUgraphExec x = calloc(1, sizeof *x);
  CUgraph copy = x ? graph_clone(d, g) : NULL;
  if (!copy) {
    free(x);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  *x = (struct CUgraphExec_st){.graph = copy, .flags = p->flags, .next = d->execs};
  d->execs = x;
  *out = x;
  p->result_out = CUDA_GRAPH_INSTANTIATE_SUCCESS;
  return CUDA_SUCCESS;
}

CUresult
cuGraphInstantiateWithParams(CUgraphExec *exec, CUgraph g, CUDA_GRAPH_INSTANTIATE_PARAMS *p)
{
  CUresult r;
  Device *d = exec && p ? dev_enter(&r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  r = instantiate(d, g, p, exec);
  dev_leave(d);
  return r;
}

CUresult
cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph g, unsigned long long flags)
{
  CUDA_GRAPH_INSTANTIATE_PARAMS p = {.flags = flags};
  if (flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD)
    return CUDA_ERROR_INVALID_VALUE; /* there is no stream to do it in */
  return cuGraphInstantiateWithParams(exec, g, &p);
}

static Device *
enter(CUgraphExec x, CUresult *r)
{
  Device *d = dev_enter(r);
  if (d && !graph_exec_is(d, x)) {
    dev_leave(d);
    *r = CUDA_ERROR_INVALID_VALUE;
    return NULL;
  }
  return d;
}

CUresult
cuGraphExecGetFlags(CUgraphExec x, uint64_t *flags)
{
  CUresult r;
  Device *d = flags ? enter(x, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  *flags = x->flags;
  dev_leave(d);
  return CUDA_SUCCESS;
}

CUresult
cuGraphExecDestroy(CUgraphExec x)
{
  CUresult r;
  Device *d = enter(x, &r);
  if (!d)
    return r;
  CUgraphExec *p = &d->execs;
  while (*p != x)
    p = &(*p)->next;
  *p = x->next;
  graph_free(d, x->graph);
  free(x);
  dev_leave(d);
  return CUDA_SUCCESS;
}

/* There is nothing to load ahead of a launch. */
CUresult
cuGraphUpload(CUgraphExec x, CUstream stream)
{
  CUresult r;
  Device *d = enter(x, &r);
  if (!d)
    return r;
  CUstream s = stream_find(d, stream);
  r = !s           ? CUDA_ERROR_INVALID_HANDLE
      : s->capture ? capture_refuse(s->capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)
                   : CUDA_SUCCESS;
  dev_leave(d);
  return r;
}

/* Launches of one instance follow each other, in whatever streams.  In a stream that is
 * captured it becomes a node with a copy of the graph. */
CUresult
cuGraphLaunch(CUgraphExec x, CUstream stream)
{
  CUresult r;
  Device *d = enter(x, &r);
  if (!d)
    return r;
  CUstream s = stream_find(d, stream);
  bool captured = s && s->capture;
  if (s && !captured)
    past_join(&s->past, &x->past, false);
  r = s ? stream_do(d, stream, &(Work){.type = CU_GRAPH_NODE_TYPE_GRAPH, .child = x->graph})
        : CUDA_ERROR_INVALID_HANDLE;
  if (s && !captured)
    x->past = s->past;
  dev_leave(d);
  return r;
}

/* ---- update ---- */

typedef struct Change {
  CUgraphExecUpdateResult result;
  CUgraphNode node, from; /* of the new graph; the one that it depends on */
} Change;

static Change
compare_deps(CUgraphNode is, CUgraphNode becomes)
{
  const CUgraphExecUpdateResult topology = CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
  if (is->n_deps != becomes->n_deps)
    return (Change){topology, becomes, NULL};
  for (size_t k = 0; k < becomes->n_deps; k++) {
    bool same = false;
    for (size_t j = 0; j < is->n_deps; j++)
      same |= is->deps[j].from->at == becomes->deps[k].from->at &&
              is->deps[j].data.type == becomes->deps[k].data.type;
    if (!same)
      return (Change){topology, becomes, becomes->deps[k].from};
  }
  return (Change){0};
}

static CUgraphExecUpdateResult
compare_work(const Work *is, const Work *becomes)
{
  if (is->type != becomes->type)
    return CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
  if (is->type == CU_GRAPH_NODE_TYPE_KERNEL &&
      is->kernel.cooperative != becomes->kernel.cooperative)
    return CU_GRAPH_EXEC_UPDATE_ERROR_ATTRIBUTES_CHANGED;
  if (is->type == CU_GRAPH_NODE_TYPE_MEMCPY &&
      (is->copy.srcMemoryType != becomes->copy.srcMemoryType ||
       is->copy.dstMemoryType != becomes->copy.dstMemoryType))
    return CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED;
  return CU_GRAPH_EXEC_UPDATE_SUCCESS;
}

/* Node by node, in the order in which they were added. */
static Change
compare(CUgraph is, CUgraph becomes)
{
  Change c = {0};
  if (is->n != becomes->n)
    return (Change){.result = CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED};
  for (size_t i = 0; i < is->n && !c.result; i++) {
    CUgraphNode node = becomes->nodes[i];
    c = compare_deps(is->nodes[i], node);
    if (!c.result)
      c = (Change){compare_work(&is->nodes[i]->work, &node->work), node, NULL};
    if (!c.result && node->work.type == CU_GRAPH_NODE_TYPE_GRAPH)
      c = compare(is->nodes[i]->work.child, node->work.child);
  }
  if (!c.result)
    c.node = NULL;
  return c;
}

static void
swap_works(CUgraph a, CUgraph b)
{
  for (size_t i = 0; i < a->n; i++) {
    Work w = a->nodes[i]->work;
    if (w.type == CU_GRAPH_NODE_TYPE_GRAPH) {
      swap_works(w.child, b->nodes[i]->work.child);
      continue;
    }
    a->nodes[i]->work = b->nodes[i]->work;
    b->nodes[i]->work = w;
  }
}

/* All of it or nothing. */
static bool
take_works(Device *d, CUgraph to, CUgraph from)
{
  CUgraph copy = graph_clone(d, from);
  if (!copy)
    return false;
  swap_works(to, copy);
  graph_free(d, copy);
  return true;
}

CUresult
cuGraphExecUpdate_v2(CUgraphExec x, CUgraph g, CUgraphExecUpdateResultInfo *info)
{
  CUresult r;
  Device *d = info ? enter(x, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  Change c = {.result = CU_GRAPH_EXEC_UPDATE_ERROR};
  if (graph_is(d, g))
    c = compare(x->graph, g);
  *info = (CUgraphExecUpdateResultInfo){c.result, c.node, c.from};
  r = !graph_is(d, g)              ? CUDA_ERROR_INVALID_VALUE
      : c.result                   ? CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE
      : take_works(d, x->graph, g) ? CUDA_SUCCESS
                                   : CUDA_ERROR_OUT_OF_MEMORY;
  dev_leave(d);
  return r;
}

CUresult
cuGraphExecUpdate(CUgraphExec x, CUgraph g, CUgraphNode *node,
                  CUgraphExecUpdateResult *result)
{
  CUgraphExecUpdateResultInfo info = {0};
  CUresult r = cuGraphExecUpdate_v2(x, g, &info);
  if (node)
    *node = info.errorNode;
  if (result)
    *result = info.result;
  return r;
}

CUresult
cuGraphExecChildGraphNodeSetParams(CUgraphExec x, CUgraphNode node, CUgraph child)
{
  CUresult r;
  Device *d = enter(x, &r);
  if (!d)
    return r;
  CUgraphNode n = graph_is_node(d, node) && graph_is(d, child)
                      ? graph_find_copy(x->graph, node->id)
                      : NULL;
  if (!n || n->work.type != CU_GRAPH_NODE_TYPE_GRAPH ||
      compare(n->work.child, child).result)
    r = CUDA_ERROR_INVALID_VALUE;
  else if (!take_works(d, n->work.child, child))
    r = CUDA_ERROR_OUT_OF_MEMORY;
  dev_leave(d);
  return r;
}
