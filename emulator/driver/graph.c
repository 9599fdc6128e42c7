/* Graphs as they are built: nodes, edges, copies. */
#include "emulator/driver/graph.h"

#include "emulator/driver/capture.h"

#include <stdlib.h>
#include <string.h>

static uint64_t
new_id(void)
{
  static atomic_uint_fast64_t ids = 1;
  return atomic_fetch_add(&ids, 1);
}

/* ---- handles ---- */

CUgraph
graph_new(void)
{
  CUgraph g = calloc(1, sizeof *g);
  if (g) {
    g->id = new_id();
    g->owner = context_current();
  }
  return g;
}

/* With the graphs of its nodes. */
void
graph_list(Device *d, CUgraph g)
{
  g->listed = true;
  g->next = d->graphs;
  d->graphs = g;
  for (size_t i = 0; i < g->n; i++)
    if (g->nodes[i]->work.type == CU_GRAPH_NODE_TYPE_GRAPH)
      graph_list(d, g->nodes[i]->work.child);
}

static void
unlist(Device *d, CUgraph g)
{
  CUgraph *p = &d->graphs;
  while (*p && *p != g)
    p = &(*p)->next;
  if (*p)
    *p = g->next;
}

bool
graph_is(const Device *d, CUgraph graph)
{
  CUgraph g = d->graphs;
  while (g && g != graph)
    g = g->next;
  return g && graph;
}

bool
graph_has(CUgraph g, const CUgraphNode *nodes, size_t n)
{
  size_t found = 0;
  for (size_t i = 0; i < n; i++)
    for (size_t j = g->n; j-- > 0;)
      if (g->nodes[j] == nodes[i]) {
        found++;
        break;
      }
  return found == n;
}

bool
graph_is_node(const Device *d, CUgraphNode node)
{
  for (CUgraph g = d->graphs; g; g = g->next)
    if (graph_has(g, &node, 1))
      return true;
  return false;
}

static void
free_node(Device *d, CUgraphNode n)
{
  work_free(d, &n->work);
  free(n->deps);
  free(n->addresses);
  free(n);
}

void
graph_free(Device *d, CUgraph g)
{
  if (g->capture) /* its context goes */
    capture_end(d, g->capture);
  if (g->listed)
    unlist(d, g);
  for (size_t i = 0; i < g->n; i++)
    free_node(d, g->nodes[i]);
  free(g->nodes);
  free(g);
}

static void
free_execs(Device *d, CUcontext owner)
{
  for (CUgraphExec *p = &d->execs, x; (x = *p);) {
    if (x->graph->owner != owner) {
      p = &x->next;
      continue;
    }
    *p = x->next;
    graph_free(d, x->graph);
    free(x);
  }
}

void
graph_free_all(Device *d, CUcontext owner)
{
  CUgraph g;
  free_execs(d, owner);
  do { /* what a graph has embedded goes with it: the list changes */
    g = d->graphs;
    while (g && (g->embedded || g->owner != owner))
      g = g->next;
    if (g)
      graph_free(d, g);
  } while (g);
}

/* ---- nodes ---- */

CUresult
graph_check_edge(const Work *from, const Work *to, CUgraphEdgeData e)
{
  bool kernels =
      from->type == CU_GRAPH_NODE_TYPE_KERNEL && to->type == CU_GRAPH_NODE_TYPE_KERNEL;
  if (e.to_port || e.type > CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC)
    return CUDA_ERROR_INVALID_VALUE;
  if (e.type == CU_GRAPH_DEPENDENCY_TYPE_DEFAULT)
    return e.from_port ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
  if (!kernels)
    return CUDA_ERROR_INVALID_VALUE;
  return e.from_port == KERNEL_PORT_PROGRAMMATIC   ? CUDA_SUCCESS
         : e.from_port == KERNEL_PORT_LAUNCH_ORDER ? CUDA_ERROR_NOT_SUPPORTED
                                                   : CUDA_ERROR_INVALID_VALUE;
}

static bool
has_dep(CUgraphNode n, CUgraphNode from)
{
  for (size_t i = 0; i < n->n_deps; i++)
    if (n->deps[i].from == from)
      return true;
  return false;
}

static bool
add_dep(CUgraphNode n, CUgraphNode from, CUgraphEdgeData data)
{
  Dep *deps = realloc(n->deps, (n->n_deps + 1) * sizeof *deps);
  if (!deps)
    return false;
  n->deps = deps;
  n->deps[n->n_deps++] = (Dep){from, data};
  return true;
}

static bool
add_node(CUgraph g, CUgraphNode n)
{
  CUgraphNode *nodes = realloc(g->nodes, (g->n + 1) * sizeof *nodes);
  if (!nodes)
    return false;
  g->nodes = nodes;
  n->graph = g;
  n->id = new_id();
  n->at = g->n;
  g->nodes[g->n++] = n;
  return true;
}

/* As it was before: the last node goes. */
static void
drop_last(Device *d, CUgraph g)
{
  free_node(d, g->nodes[--g->n]);
}

static CUresult
check_deps(const Tips *t, const Work *w)
{
  CUresult r = CUDA_SUCCESS;
  for (size_t i = 0; i < t->n && !r; i++) {
    r = graph_check_edge(&t->node[i]->work, w, t->edge[i]);
    for (size_t j = 0; j < i; j++)
      if (t->node[j] == t->node[i])
        r = CUDA_ERROR_INVALID_VALUE;
  }
  return r;
}

CUresult
graph_add(Device *d, CUgraph g, const Tips *t, const Work *w, CUgraphNode *node)
{
  CUresult r = check_deps(t, w);
  if (r)
    return r;
  CUgraphNode n = calloc(1, sizeof *n);
  bool ok = n && work_copy(d, &n->work, w);
  if (!ok || !add_node(g, n)) {
    if (ok)
      work_free(d, &n->work);
    free(n);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  for (size_t i = 0; i < t->n; i++)
    if (!add_dep(n, t->node[i], t->edge[i])) {
      drop_last(d, g);
      return CUDA_ERROR_OUT_OF_MEMORY;
    }
  if (w->type == CU_GRAPH_NODE_TYPE_GRAPH) {
    n->work.child->embedded = true;
    if (g->listed)
      graph_list(d, n->work.child);
  }
  *node = n;
  return CUDA_SUCCESS;
}

void
graph_mark_ahead(CUgraph g, const CUgraphNode *ends, size_t n)
{
  bool more = true;
  for (size_t i = 0; i < g->n; i++)
    g->nodes[i]->mark = false;
  for (size_t i = 0; i < n; i++)
    ends[i]->mark = true;
  while (more) {
    more = false;
    for (size_t i = g->n; i-- > 0;)
      for (size_t k = 0; g->nodes[i]->mark && k < g->nodes[i]->n_deps; k++) {
        more |= !g->nodes[i]->deps[k].from->mark;
        g->nodes[i]->deps[k].from->mark = true;
      }
  }
}

/* ---- copies ---- */

static bool
clone_nodes(Device *d, CUgraph to, CUgraph from)
{
  for (size_t i = 0; i < from->n; i++) {
    CUgraphNode n, old = from->nodes[i];
    if (graph_add(d, to, &(Tips){0}, &old->work, &n))
      return false;
    n->origin = old->id;
    n->disabled = old->disabled;
  }
  for (size_t i = 0; i < from->n; i++)
    for (size_t k = 0; k < from->nodes[i]->n_deps; k++) {
      const Dep *dep = &from->nodes[i]->deps[k];
      if (!add_dep(to->nodes[i], to->nodes[dep->from->at], dep->data))
        return false;
    }
  return true;
}

CUgraph
graph_clone(Device *d, CUgraph g)
{
  CUgraph to = graph_new();
  if (!to)
    return NULL;
  to->origin = g->id;
  if (clone_nodes(d, to, g))
    return to;
  graph_free(d, to);
  return NULL;
}

CUgraphNode
graph_find_copy(CUgraph g, uint64_t origin)
{
  CUgraphNode found = NULL;
  for (size_t i = 0; i < g->n && !found; i++) {
    CUgraphNode n = g->nodes[i];
    found = n->origin == origin ? n : NULL;
    if (!found && n->work.type == CU_GRAPH_NODE_TYPE_GRAPH)
      found = graph_find_copy(n->work.child, origin);
  }
  return found;
}

/* A capture fills the graph, or one that is embedded in it. */
static bool
is_captured(CUgraph g)
{
  bool is = g->capture != 0;
  for (size_t i = 0; i < g->n && !is; i++)
    is = g->nodes[i]->work.type == CU_GRAPH_NODE_TYPE_GRAPH &&
         is_captured(g->nodes[i]->work.child);
  return is;
}

/* ---- entry points: graphs ---- */

CUresult
cuGraphCreate(CUgraph *graph, unsigned flags)
{
  CUresult r;
  Device *d = graph && !flags ? dev_enter(&r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  *graph = graph_new();
  if (*graph)
    graph_list(d, *graph);
  dev_leave(d);
  return *graph ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static Device *
enter(CUgraph g, CUresult *r)
{
  Device *d = dev_enter(r);
  if (d && !graph_is(d, g)) {
    dev_leave(d);
    *r = CUDA_ERROR_INVALID_VALUE;
    return NULL;
  }
  return d;
}

CUresult
cuGraphDestroy(CUgraph g)
{
  CUresult r;
  Device *d = enter(g, &r);
  if (!d)
    return r;
  r = g->embedded || is_captured(g) ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
  if (!r)
    graph_free(d, g);
  dev_leave(d);
  return r;
}

CUresult
cuGraphClone(CUgraph *copy, CUgraph g)
{
  CUresult r;
  Device *d = copy ? enter(g, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  *copy = graph_clone(d, g);
  if (*copy)
    graph_list(d, *copy);
  dev_leave(d);
  return *copy ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult
cuGraphNodeFindInClone(CUgraphNode *copy, CUgraphNode node, CUgraph clone)
{
  CUresult r;
  Device *d = copy ? enter(clone, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  *copy = graph_is_node(d, node) ? graph_find_copy(clone, node->id) : NULL;
  dev_leave(d);
  return *copy ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* ---- entry points: edges ---- */

static CUresult
edge_ok(CUgraph g, CUgraphNode from, CUgraphNode to, CUgraphEdgeData e)
{
  const CUgraphNode both[2] = {from, to};
  if (!graph_has(g, both, 2) || from == to || has_dep(to, from))
    return CUDA_ERROR_INVALID_VALUE;
  return graph_check_edge(&from->work, &to->work, e);
}

CUresult
cuGraphAddDependencies_v2(CUgraph g, const CUgraphNode *from, const CUgraphNode *to,
                          const CUgraphEdgeData *edges, size_t n)
{
  CUresult r;
  Device *d = !n || (from && to) ? enter(g, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  for (size_t i = 0; i < n && !r; i++) {
    CUgraphEdgeData e = edges ? edges[i] : (CUgraphEdgeData){0};
    r = edge_ok(g, from[i], to[i], e);
    if (!r && !add_dep(to[i], from[i], e))
      r = CUDA_ERROR_OUT_OF_MEMORY;
  }
  dev_leave(d);
  return r;
}

CUresult
cuGraphAddDependencies(CUgraph g, const CUgraphNode *from, const CUgraphNode *to, size_t n)
{
  return cuGraphAddDependencies_v2(g, from, to, NULL, n);
}

static void
remove_dep(CUgraphNode n, CUgraphNode from)
{
  size_t kept = 0;
  for (size_t i = 0; i < n->n_deps; i++)
    if (n->deps[i].from != from)
      n->deps[kept++] = n->deps[i];
  n->n_deps = kept;
}

CUresult
cuGraphRemoveDependencies_v2(CUgraph g, const CUgraphNode *from, const CUgraphNode *to,
                             const CUgraphEdgeData *edges, size_t n)
{
  CUresult r;
  Device *d = !n || (from && to) ? enter(g, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  (void)edges; /* two nodes have one edge */
  for (size_t i = 0; i < n && !r; i++) {
    const CUgraphNode both[2] = {from[i], to[i]};
    if (!graph_has(g, both, 2) || !has_dep(to[i], from[i]))
      r = CUDA_ERROR_INVALID_VALUE;
    else
      remove_dep(to[i], from[i]);
  }
  dev_leave(d);
  return r;
}

CUresult
cuGraphRemoveDependencies(CUgraph g, const CUgraphNode *from, const CUgraphNode *to,
                          size_t n)
{
  return cuGraphRemoveDependencies_v2(g, from, to, NULL, n);
}

CUresult
cuGraphDestroyNode(CUgraphNode node)
{
  CUresult r;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  CUgraph g = graph_is_node(d, node) ? node->graph : NULL;
  r = !g || is_captured(g) ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
  if (!r) {
    for (size_t i = node->at; i + 1 < g->n; i++) {
      g->nodes[i] = g->nodes[i + 1];
      g->nodes[i]->at = i;
    }
    g->n--;
    for (size_t i = 0; i < g->n; i++)
      remove_dep(g->nodes[i], node);
    free_node(d, node);
  }
  dev_leave(d);
  return r;
}
