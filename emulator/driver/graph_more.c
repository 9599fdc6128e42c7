/* Events and attributes of nodes, and a graph as a picture. */
#include "emulator/driver/graph.h"

#include <stdio.h>
#include <string.h>

/* ---- events ---- */

static CUresult
get_event(CUgraphNode node, CUgraphNodeType type, CUevent *event)
{
  CUresult r;
  Device *d = event ? dev_enter(&r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  bool is = graph_is_node(d, node) && node->work.type == type;
  if (is)
    *event = node->work.event;
  dev_leave(d);
  return is ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult
cuGraphEventRecordNodeGetEvent(CUgraphNode node, CUevent *event)
{
  return get_event(node, CU_GRAPH_NODE_TYPE_EVENT_RECORD, event);
}

CUresult
cuGraphEventWaitNodeGetEvent(CUgraphNode node, CUevent *event)
{
  return get_event(node, CU_GRAPH_NODE_TYPE_WAIT_EVENT, event);
}

CUresult
cuGraphEventRecordNodeSetEvent(CUgraphNode node, CUevent event)
{
  return graph_set(NULL, false, node,
                   &(Work){.type = CU_GRAPH_NODE_TYPE_EVENT_RECORD, .event = event});
}

CUresult
cuGraphEventWaitNodeSetEvent(CUgraphNode node, CUevent event)
{
  return graph_set(NULL, false, node,
                   &(Work){.type = CU_GRAPH_NODE_TYPE_WAIT_EVENT, .event = event});
}

CUresult
cuGraphExecEventRecordNodeSetEvent(CUgraphExec x, CUgraphNode node, CUevent event)
{
  return graph_set(x, true, node,
                   &(Work){.type = CU_GRAPH_NODE_TYPE_EVENT_RECORD, .event = event});
}

CUresult
cuGraphExecEventWaitNodeSetEvent(CUgraphExec x, CUgraphNode node, CUevent event)
{
  return graph_set(x, true, node,
                   &(Work){.type = CU_GRAPH_NODE_TYPE_WAIT_EVENT, .event = event});
}

/* ---- attributes of kernels ---- */

static Device *
enter(CUgraphNode node, CUresult *r)
{
  Device *d = dev_enter(r);
  if (d && (!graph_is_node(d, node) || node->work.type != CU_GRAPH_NODE_TYPE_KERNEL)) {
    dev_leave(d);
    *r = CUDA_ERROR_INVALID_VALUE;
    return NULL;
  }
  return d;
}

static CUresult
get(const KernelWork *k, CUlaunchAttributeID id, CUlaunchAttributeValue *v)
{
  memset(v, 0, sizeof *v);
  switch (id) {
  case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
    v->cooperative = k->cooperative;
    return CUDA_SUCCESS;
  case CU_LAUNCH_ATTRIBUTE_PRIORITY:
    v->priority = k->priority;
    return CUDA_SUCCESS;
  case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
    v->clusterDim.x = k->cluster[0];
    v->clusterDim.y = k->cluster[1];
    v->clusterDim.z = k->cluster[2];
    return CUDA_SUCCESS;
  default:
    return CUDA_ERROR_NOT_SUPPORTED;
  }
}

CUresult
cuGraphKernelNodeGetAttribute(CUgraphNode node, CUlaunchAttributeID id,
                              CUlaunchAttributeValue *v)
{
  CUresult r;
  Device *d = v ? enter(node, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  r = get(&node->work.kernel, id, v);
  dev_leave(d);
  return r;
}

/* How a launch follows another is said by edges. */
CUresult
cuGraphKernelNodeSetAttribute(CUgraphNode node, CUlaunchAttributeID id,
                              const CUlaunchAttributeValue *v)
{
  CUresult r;
  Device *d = v && id != CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION &&
                      id != CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT
                  ? enter(node, &r)
                  : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  KernelWork k = node->work.kernel;
  r = kernel_attribute(id, v, &k);
  r = r ? r : kernel_check(d, &k);
  if (!r)
    node->work.kernel = k;
  dev_leave(d);
  return r;
}

CUresult
cuGraphKernelNodeCopyAttributes(CUgraphNode to, CUgraphNode from)
{
  CUresult r;
  Device *d = enter(to, &r);
  if (!d)
    return r;
  KernelWork k = to->work.kernel;
  if (!graph_is_node(d, from) || from->work.type != CU_GRAPH_NODE_TYPE_KERNEL) {
    r = CUDA_ERROR_INVALID_VALUE;
  } else {
    k.cooperative = from->work.kernel.cooperative;
    k.priority = from->work.kernel.priority;
    memcpy(k.cluster, from->work.kernel.cluster, sizeof k.cluster);
    r = kernel_check(d, &k);
  }
  if (!r)
    to->work.kernel = k;
  dev_leave(d);
  return r;
}

/* ---- a picture ---- */

static void
print(const Device *d, FILE *f, CUgraph g)
{
  static const char *const names[] = {"kernel", "copy",  "memset", "host function",
                                      "graph",  "empty", "wait",   "record"};
  for (size_t i = 0; i < g->n; i++) {
    const Work *w = &g->nodes[i]->work;
    bool kernel = w->type == CU_GRAPH_NODE_TYPE_KERNEL &&
                  module_has_function(d, w->kernel.function) &&
                  w->kernel.function->kernel->ptx->id == w->kernel.module;
    fprintf(f, "  n%llu [label=\"%s%s%s\"];\n", (unsigned long long)g->nodes[i]->id,
            names[w->type], kernel ? " " : "",
            kernel ? w->kernel.function->kernel->name : "");
    for (size_t k = 0; k < g->nodes[i]->n_deps; k++)
      fprintf(f, "  n%llu -> n%llu%s;\n", (unsigned long long)g->nodes[i]->deps[k].from->id,
              (unsigned long long)g->nodes[i]->id,
              g->nodes[i]->deps[k].data.type ? " [style=dashed]" : "");
    if (w->type == CU_GRAPH_NODE_TYPE_GRAPH)
      print(d, f, w->child);
  }
}

/* For Graphviz; the flags only ask for more than this. */
CUresult
cuGraphDebugDotPrint(CUgraph g, const char *path, unsigned flags)
{
  CUresult r;
  (void)flags;
  Device *d = path ? dev_enter(&r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  FILE *f = graph_is(d, g) ? fopen(path, "w") : NULL;
  if (!graph_is(d, g))
    r = CUDA_ERROR_INVALID_VALUE;
  else if (!f)
    r = CUDA_ERROR_OPERATING_SYSTEM;
  if (f) {
    fprintf(f, "digraph g%llu {\n", (unsigned long long)g->id);
    print(d, f, g);
    fputs("}\n", f);
    if (fclose(f))
      r = CUDA_ERROR_OPERATING_SYSTEM;
  }
  dev_leave(d);
  return r;
}
