/* What a graph answers about its nodes and edges. */
#include "emulator/driver/graph.h"

/* A list that the caller has room for: *n of it, or how many there are where it gives no
 * room.  What is left of the room is emptied. */
typedef struct List {
  CUgraphNode *nodes, *to;
  CUgraphEdgeData *edges;
  size_t room, n;
  bool lossy; /* an edge that is not plain, and nobody asks for it */
} List;

static void
put(List *l, CUgraphNode node, CUgraphNode to, CUgraphEdgeData edge)
{
  bool plain = !edge.from_port && !edge.type;
  if (l->nodes && l->n < l->room)
    l->nodes[l->n] = node;
  if (l->to && l->n < l->room)
    l->to[l->n] = to;
  if (l->edges && l->n < l->room)
    l->edges[l->n] = edge;
  l->lossy |= !plain && l->nodes && !l->edges;
  l->n++;
}

static CUresult
answer(List *l, size_t *n)
{
  if (l->lossy)
    return CUDA_ERROR_LOSSY_QUERY;
  if (!l->nodes)
    *n = l->n;
  for (size_t i = l->n; l->nodes && i < l->room; i++) {
    l->nodes[i] = NULL;
    if (l->to)
      l->to[i] = NULL;
  }
  if (l->nodes && l->n < l->room)
    *n = l->n;
  return CUDA_SUCCESS;
}

static CUresult
list_nodes(CUgraph g, CUgraphNode *nodes, size_t *n, bool roots)
{
  CUresult r;
  Device *d = n ? dev_enter(&r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  List l = {.nodes = nodes, .room = *n};
  r = graph_is(d, g) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  for (size_t i = 0; !r && i < g->n; i++)
    if (!roots || !g->nodes[i]->n_deps)
      put(&l, g->nodes[i], NULL, (CUgraphEdgeData){0});
  r = r ? r : answer(&l, n);
  dev_leave(d);
  return r;
}

CUresult
cuGraphGetNodes(CUgraph g, CUgraphNode *nodes, size_t *n)
{
  return list_nodes(g, nodes, n, false);
}

CUresult
cuGraphGetRootNodes(CUgraph g, CUgraphNode *nodes, size_t *n)
{
  return list_nodes(g, nodes, n, true);
}

/* Edges of the graph, of those that end at `to` or start at `from`, if one is given. */
static void
put_edges(List *l, CUgraph g, CUgraphNode from, CUgraphNode to)
{
  for (size_t i = 0; i < g->n; i++)
    for (size_t k = 0; k < g->nodes[i]->n_deps; k++) {
      const Dep *dep = &g->nodes[i]->deps[k];
      if ((!from || dep->from == from) && (!to || g->nodes[i] == to))
        put(l, from ? g->nodes[i] : dep->from, g->nodes[i], dep->data);
    }
}

CUresult
cuGraphGetEdges_v2(CUgraph g, CUgraphNode *from, CUgraphNode *to, CUgraphEdgeData *edges,
                   size_t *n)
{
  CUresult r;
  Device *d = n && !from == !to ? dev_enter(&r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  List l = {.nodes = from, .to = to, .edges = edges, .room = *n};
  r = graph_is(d, g) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  if (!r) {
    put_edges(&l, g, NULL, NULL);
    r = answer(&l, n);
  }
  dev_leave(d);
  return r;
}

CUresult
cuGraphGetEdges(CUgraph g, CUgraphNode *from, CUgraphNode *to, size_t *n)
{
  return cuGraphGetEdges_v2(g, from, to, NULL, n);
}

static CUresult
list_of_node(CUgraphNode node, bool ahead, CUgraphNode *nodes, CUgraphEdgeData *edges,
             size_t *n)
{
  CUresult r;
  Device *d = n ? dev_enter(&r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  List l = {.nodes = nodes, .edges = edges, .room = *n};
  r = graph_is_node(d, node) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  if (!r) {
    put_edges(&l, node->graph, ahead ? NULL : node, ahead ? node : NULL);
    r = answer(&l, n);
  }
  dev_leave(d);
  return r;
}

CUresult
cuGraphNodeGetDependencies_v2(CUgraphNode node, CUgraphNode *nodes, CUgraphEdgeData *edges,
                              size_t *n)
{
  return list_of_node(node, true, nodes, edges, n);
}

CUresult
cuGraphNodeGetDependencies(CUgraphNode node, CUgraphNode *nodes, size_t *n)
{
  return list_of_node(node, true, nodes, NULL, n);
}

CUresult
cuGraphNodeGetDependentNodes_v2(CUgraphNode node, CUgraphNode *nodes,
                                CUgraphEdgeData *edges, size_t *n)
{
  return list_of_node(node, false, nodes, edges, n);
}

CUresult
cuGraphNodeGetDependentNodes(CUgraphNode node, CUgraphNode *nodes, size_t *n)
{
  return list_of_node(node, false, nodes, NULL, n);
}

CUresult
cuGraphNodeGetType(CUgraphNode node, CUgraphNodeType *type)
{
  CUresult r;
  Device *d = type ? dev_enter(&r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  r = graph_is_node(d, node) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  if (!r)
    *type = node->work.type;
  dev_leave(d);
  return r;
}

CUresult
cuGraphChildGraphNodeGetGraph(CUgraphNode node, CUgraph *graph)
{
  CUresult r;
  Device *d = graph ? dev_enter(&r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  r = graph_is_node(d, node) && node->work.type == CU_GRAPH_NODE_TYPE_GRAPH
          ? CUDA_SUCCESS
          : CUDA_ERROR_INVALID_VALUE;
  if (!r)
    *graph = node->work.child;
  dev_leave(d);
  return r;
}
