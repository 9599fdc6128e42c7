/* Nodes from the driver's arguments, and back. */
#include "emulator/driver/graph.h"

#include <stdlib.h>
#include <string.h>

/* ---- new nodes ---- */

static CUresult
add(CUgraphNode *node, CUgraph g, const CUgraphNode *deps, size_t n, const Work *w)
{
  CUresult r;
  Device *d = node && (deps || !n) ? dev_enter(&r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  Tips t = {(CUgraphNode *)(uintptr_t)deps, n ? calloc(n, sizeof *t.edge) : NULL, n};
  bool child = w->type == CU_GRAPH_NODE_TYPE_GRAPH;
  bool ok = graph_is(d, g) && graph_has(g, deps, n) && (!child || graph_is(d, w->child));
  r = !ok            ? CUDA_ERROR_INVALID_VALUE
      : n && !t.edge ? CUDA_ERROR_OUT_OF_MEMORY
                     : work_check(d, w);
  if (!r)
    r = graph_add(d, g, &t, w, node);
  free(t.edge);
  dev_leave(d);
  return r;
}

CUresult
cuGraphAddEmptyNode(CUgraphNode *node, CUgraph g, const CUgraphNode *deps, size_t n)
{
  return add(node, g, deps, n, &(Work){.type = CU_GRAPH_NODE_TYPE_EMPTY});
}

CUresult
cuGraphAddMemcpyNode(CUgraphNode *node, CUgraph g, const CUgraphNode *deps, size_t n,
                     const CUDA_MEMCPY3D *c, CUcontext context)
{
  (void)context;
  if (!c)
    return CUDA_ERROR_INVALID_VALUE;
  return add(node, g, deps, n, &(Work){.type = CU_GRAPH_NODE_TYPE_MEMCPY, .copy = *c});
}

CUresult
cuGraphAddMemsetNode(CUgraphNode *node, CUgraph g, const CUgraphNode *deps, size_t n,
                     const CUDA_MEMSET_NODE_PARAMS *s, CUcontext context)
{
  (void)context;
  if (!s)
    return CUDA_ERROR_INVALID_VALUE;
  return add(node, g, deps, n, &(Work){.type = CU_GRAPH_NODE_TYPE_MEMSET, .set = *s});
}

CUresult
cuGraphAddHostNode(CUgraphNode *node, CUgraph g, const CUgraphNode *deps, size_t n,
                   const CUDA_HOST_NODE_PARAMS *h)
{
  if (!h)
    return CUDA_ERROR_INVALID_VALUE;
  return add(node, g, deps, n, &(Work){.type = CU_GRAPH_NODE_TYPE_HOST, .host = *h});
}

CUresult
cuGraphAddEventRecordNode(CUgraphNode *node, CUgraph g, const CUgraphNode *deps, size_t n,
                          CUevent e)
{
  return add(node, g, deps, n,
             &(Work){.type = CU_GRAPH_NODE_TYPE_EVENT_RECORD, .event = e});
}

CUresult
cuGraphAddEventWaitNode(CUgraphNode *node, CUgraph g, const CUgraphNode *deps, size_t n,
                        CUevent e)
{
  return add(node, g, deps, n, &(Work){.type = CU_GRAPH_NODE_TYPE_WAIT_EVENT, .event = e});
}

/* The child is copied as it is now. */
CUresult
cuGraphAddChildGraphNode(CUgraphNode *node, CUgraph g, const CUgraphNode *deps, size_t n,
                         CUgraph child)
{
  return add(node, g, deps, n, &(Work){.type = CU_GRAPH_NODE_TYPE_GRAPH, .child = child});
}

/* ---- kernels ---- */

typedef struct KernelNode {
  _Alignas(PARAM_ALIGN) uint8_t params[PARAM_BYTES];
  Work work;
} KernelNode;

/* A kernel node's attributes stay when its parameters are set: from `old`, if it has one.
 */
static CUresult
read_kernel(Device *d, const CUDA_KERNEL_NODE_PARAMS_v2 *p, const KernelWork *old,
            KernelNode *k)
{
  const CUlaunchConfig c = {.gridDimX = p->gridDimX,
                            .gridDimY = p->gridDimY,
                            .gridDimZ = p->gridDimZ,
                            .blockDimX = p->blockDimX,
                            .blockDimY = p->blockDimY,
                            .blockDimZ = p->blockDimZ,
                            .sharedMemBytes = p->sharedMemBytes};
  CUfunction f = p->func ? p->func : (CUfunction)(void *)p->kern;
  CUresult r = kernel_work(d, f, &c, p->kernelParams, p->extra, k->params, &k->work);
  if (r || !old)
    return r;
  memcpy(k->work.kernel.cluster, old->cluster, sizeof old->cluster);
  k->work.kernel.cooperative = old->cooperative;
  k->work.kernel.programmatic = old->programmatic;
  k->work.kernel.priority = old->priority;
  return kernel_check(d, &k->work.kernel);
}

static CUDA_KERNEL_NODE_PARAMS_v2
newer(const CUDA_KERNEL_NODE_PARAMS_v1 *p)
{
  CUDA_KERNEL_NODE_PARAMS_v2 v = {0};
  memcpy(&v, p, sizeof *p);
  return v;
}

CUresult
cuGraphAddKernelNode_v2(CUgraphNode *node, CUgraph g, const CUgraphNode *deps, size_t n,
                        const CUDA_KERNEL_NODE_PARAMS_v2 *p)
{
  CUresult r;
  KernelNode k;
  Device *d = p ? dev_enter(&r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  r = read_kernel(d, p, NULL, &k);
  dev_leave(d);
  return r ? r : add(node, g, deps, n, &k.work);
}

CUresult
cuGraphAddKernelNode(CUgraphNode *node, CUgraph g, const CUgraphNode *deps, size_t n,
                     const CUDA_KERNEL_NODE_PARAMS_v1 *p)
{
  if (!p)
    return CUDA_ERROR_INVALID_VALUE;
  CUDA_KERNEL_NODE_PARAMS_v2 v = newer(p);
  return cuGraphAddKernelNode_v2(node, g, deps, n, &v);
}

/* ---- what a node has ---- */

static Device *
enter(CUgraphNode node, CUgraphNodeType type, const void *out, CUresult *r)
{
  *r = CUDA_ERROR_INVALID_VALUE;
  Device *d = out ? dev_enter(r) : NULL;
  if (d && (!graph_is_node(d, node) || node->work.type != type)) {
    dev_leave(d);
    *r = CUDA_ERROR_INVALID_VALUE;
    return NULL;
  }
  return d;
}

/* The addresses of the parameters are those of the node's own copy, and stay until it is
 * set again or gone. */
static void **
addresses(CUgraphNode n)
{
  const KernelWork *k = &n->work.kernel;
  const Ast *a = k->function->kernel->ast;
  free(n->addresses);
  n->addresses = calloc((size_t)a->params.n + 1, sizeof *n->addresses);
  for (int i = 0; n->addresses && i < a->params.n; i++)
    n->addresses[i] = k->params + a->params.at[i]->offset;
  return n->addresses;
}

CUresult
cuGraphKernelNodeGetParams_v2(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS_v2 *p)
{
  CUresult r;
  Device *d = enter(node, CU_GRAPH_NODE_TYPE_KERNEL, p, &r);
  if (!d)
    return r;
  const KernelWork *k = &node->work.kernel;
  r = kernel_check(d, k);
  if (!r)
    *p = (CUDA_KERNEL_NODE_PARAMS_v2){.func = k->function,
                                      .gridDimX = k->grid[0],
                                      .gridDimY = k->grid[1],
                                      .gridDimZ = k->grid[2],
                                      .blockDimX = k->block[0],
                                      .blockDimY = k->block[1],
                                      .blockDimZ = k->block[2],
                                      .sharedMemBytes = k->dynamic,
                                      .kernelParams = addresses(node),
                                      .ctx = &d->context};
  dev_leave(d);
  return r;
}

CUresult
cuGraphKernelNodeGetParams(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS_v1 *p)
{
  CUDA_KERNEL_NODE_PARAMS_v2 v;
  CUresult r = p ? cuGraphKernelNodeGetParams_v2(node, &v) : CUDA_ERROR_INVALID_VALUE;
  if (!r)
    memcpy(p, &v, sizeof *p);
  return r;
}

CUresult
cuGraphMemcpyNodeGetParams(CUgraphNode node, CUDA_MEMCPY3D *c)
{
  CUresult r;
  Device *d = enter(node, CU_GRAPH_NODE_TYPE_MEMCPY, c, &r);
  if (!d)
    return r;
  *c = node->work.copy;
  dev_leave(d);
  return CUDA_SUCCESS;
}

CUresult
cuGraphMemsetNodeGetParams(CUgraphNode node, CUDA_MEMSET_NODE_PARAMS *s)
{
  CUresult r;
  Device *d = enter(node, CU_GRAPH_NODE_TYPE_MEMSET, s, &r);
  if (!d)
    return r;
  *s = node->work.set;
  dev_leave(d);
  return CUDA_SUCCESS;
}

CUresult
cuGraphHostNodeGetParams(CUgraphNode node, CUDA_HOST_NODE_PARAMS *h)
{
  CUresult r;
  Device *d = enter(node, CU_GRAPH_NODE_TYPE_HOST, h, &r);
  if (!d)
    return r;
  *h = node->work.host;
  dev_leave(d);
  return CUDA_SUCCESS;
}

/* ---- what a node, or its copy in an instance, is given ---- */

/* A node of the graph, or (x) the node of the instance that was made from it. */
static CUgraphNode
find_node(Device *d, CUgraphExec x, bool of_exec, CUgraphNode node, CUgraphNodeType type)
{
  if (!graph_is_node(d, node) || (of_exec && !graph_exec_is(d, x)))
    return NULL;
  node = of_exec ? graph_find_copy(x->graph, node->id) : node;
  return node && node->work.type == type ? node : NULL;
}

static CUresult
replace(Device *d, CUgraphNode node, const Work *w)
{
  Work copy;
  CUresult r = work_check(d, w);
  if (r)
    return r;
  if (!work_copy(d, &copy, w))
    return CUDA_ERROR_OUT_OF_MEMORY;
  work_free(d, &node->work);
  node->work = copy;
  return CUDA_SUCCESS;
}

CUresult
graph_set(CUgraphExec x, bool of_exec, CUgraphNode node, const Work *w)
{
  CUresult r;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  CUgraphNode n = find_node(d, x, of_exec, node, w->type);
  r = n ? replace(d, n, w) : CUDA_ERROR_INVALID_VALUE;
  dev_leave(d);
  return r;
}

static CUresult
set_kernel(CUgraphExec x, bool of_exec, CUgraphNode node,
           const CUDA_KERNEL_NODE_PARAMS_v2 *p)
{
  CUresult r;
  KernelNode k;
  Device *d = p ? dev_enter(&r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  CUgraphNode n = find_node(d, x, of_exec, node, CU_GRAPH_NODE_TYPE_KERNEL);
  r = n ? read_kernel(d, p, &n->work.kernel, &k) : CUDA_ERROR_INVALID_VALUE;
  r = r ? r : replace(d, n, &k.work);
  dev_leave(d);
  return r;
}

CUresult
cuGraphKernelNodeSetParams_v2(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v2 *p)
{
  return set_kernel(NULL, false, node, p);
}

CUresult
cuGraphKernelNodeSetParams(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v1 *p)
{
  if (!p)
    return CUDA_ERROR_INVALID_VALUE;
  CUDA_KERNEL_NODE_PARAMS_v2 v = newer(p);
  return set_kernel(NULL, false, node, &v);
}

CUresult
cuGraphExecKernelNodeSetParams_v2(CUgraphExec x, CUgraphNode node,
                                  const CUDA_KERNEL_NODE_PARAMS_v2 *p)
{
  return set_kernel(x, true, node, p);
}

CUresult
cuGraphExecKernelNodeSetParams(CUgraphExec x, CUgraphNode node,
                               const CUDA_KERNEL_NODE_PARAMS_v1 *p)
{
  if (!p)
    return CUDA_ERROR_INVALID_VALUE;
  CUDA_KERNEL_NODE_PARAMS_v2 v = newer(p);
  return set_kernel(x, true, node, &v);
}

CUresult
cuGraphMemcpyNodeSetParams(CUgraphNode node, const CUDA_MEMCPY3D *c)
{
  if (!c)
    return CUDA_ERROR_INVALID_VALUE;
  return graph_set(NULL, false, node,
                   &(Work){.type = CU_GRAPH_NODE_TYPE_MEMCPY, .copy = *c});
}

CUresult
cuGraphExecMemcpyNodeSetParams(CUgraphExec x, CUgraphNode node, const CUDA_MEMCPY3D *c,
                               CUcontext context)
{
  (void)context;
  if (!c)
    return CUDA_ERROR_INVALID_VALUE;
  return graph_set(x, true, node, &(Work){.type = CU_GRAPH_NODE_TYPE_MEMCPY, .copy = *c});
}

CUresult
cuGraphMemsetNodeSetParams(CUgraphNode node, const CUDA_MEMSET_NODE_PARAMS *s)
{
  if (!s)
    return CUDA_ERROR_INVALID_VALUE;
  return graph_set(NULL, false, node,
                   &(Work){.type = CU_GRAPH_NODE_TYPE_MEMSET, .set = *s});
}

CUresult
cuGraphExecMemsetNodeSetParams(CUgraphExec x, CUgraphNode node,
                               const CUDA_MEMSET_NODE_PARAMS *s, CUcontext context)
{
  (void)context;
  if (!s)
    return CUDA_ERROR_INVALID_VALUE;
  return graph_set(x, true, node, &(Work){.type = CU_GRAPH_NODE_TYPE_MEMSET, .set = *s});
}

CUresult
cuGraphHostNodeSetParams(CUgraphNode node, const CUDA_HOST_NODE_PARAMS *h)
{
  if (!h)
    return CUDA_ERROR_INVALID_VALUE;
  return graph_set(NULL, false, node, &(Work){.type = CU_GRAPH_NODE_TYPE_HOST, .host = *h});
}

CUresult
cuGraphExecHostNodeSetParams(CUgraphExec x, CUgraphNode node,
                             const CUDA_HOST_NODE_PARAMS *h)
{
  if (!h)
    return CUDA_ERROR_INVALID_VALUE;
  return graph_set(x, true, node, &(Work){.type = CU_GRAPH_NODE_TYPE_HOST, .host = *h});
}

CUresult
cuGraphNodeSetEnabled(CUgraphExec x, CUgraphNode node, unsigned enabled)
{
  CUresult r;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  CUgraphNode n =
      graph_is_node(d, node) ? find_node(d, x, true, node, node->work.type) : NULL;
  bool can = n && (n->work.type == CU_GRAPH_NODE_TYPE_KERNEL ||
                   n->work.type == CU_GRAPH_NODE_TYPE_MEMSET ||
                   n->work.type == CU_GRAPH_NODE_TYPE_MEMCPY);
  if (can)
    n->disabled = !enabled;
  dev_leave(d);
  return can ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult
cuGraphNodeGetEnabled(CUgraphExec x, CUgraphNode node, unsigned *enabled)
{
  CUresult r;
  Device *d = enabled ? dev_enter(&r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  CUgraphNode n =
      graph_is_node(d, node) ? find_node(d, x, true, node, node->work.type) : NULL;
  if (n)
    *enabled = !n->disabled;
  dev_leave(d);
  return n ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
