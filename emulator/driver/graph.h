/* graph.h: graphs of work.
 *
 * A node knows whom it is behind.  A graph is launched as an instance, a copy of its own,
 * in any order that the edges allow (the setting `nodes`), and what nodes that no path
 * orders do to the same bytes is a finding. */
#ifndef ATTNC_EMULATOR_GRAPH_H
#define ATTNC_EMULATOR_GRAPH_H

#include "emulator/driver/work.h"

typedef struct Dep {
  CUgraphNode from;
  CUgraphEdgeData data;
} Dep;

struct CUgraphNode_st {
  uint64_t id, origin; /* origin: id of the node that it is a copy of; 0: of none */
  CUgraph graph;
  Work work;
  Dep *deps;
  size_t n_deps;
  void **addresses; /* of a kernel's parameters, for who asked */
  size_t at;        /* in its graph */
  bool disabled;    /* in an instance */
  bool mark;
};

struct CUgraph_st {
  CUcontext owner;
  uint64_t id, origin;
  CUgraphNode *nodes; /* in the order in which they were added */
  size_t n;
  uint64_t capture; /* that is filling it; 0: none */
  bool embedded;    /* of a node */
  bool listed;      /* its handle is known */
  struct CUgraph_st *next;
};

struct CUgraphExec_st {
  CUgraph graph; /* a copy */
  uint64_t flags;
  Past past; /* of its last launch: one runs at a time */
  struct CUgraphExec_st *next;
};

CUgraph graph_new(void);
void graph_list(Device *, CUgraph); /* its handle is known from now on */
/* A copy that is not listed; NULL: out of memory. */
CUgraph graph_clone(Device *, CUgraph);
void graph_free(Device *, CUgraph);
void graph_free_all(Device *, CUcontext owner);
bool graph_is(const Device *, CUgraph);
bool graph_is_node(const Device *, CUgraphNode);
bool graph_has(CUgraph, const CUgraphNode *, size_t n); /* all of them are its nodes */
/* A new node behind those tips, with a copy of the work. */
CUresult graph_add(Device *, CUgraph, const Tips *, const Work *, CUgraphNode *);
CUgraphNode graph_find_copy(CUgraph, uint64_t origin); /* or in its children; NULL */
/* mark: the nodes that those are behind, and they themselves. */
void graph_mark_ahead(CUgraph, const CUgraphNode *, size_t n);
/* Is an edge like that possible? */
CUresult graph_check_edge(const Work *from, const Work *to, CUgraphEdgeData);
/* ---- graph_node.c ---- */
/* The node, or the one that an instance has of it, is to do this: not locked. */
CUresult graph_set(CUgraphExec, bool of_exec, CUgraphNode, const Work *);
/* ---- graph_exec.c ---- */
CUresult graph_run(Device *, CUgraph, const Past *ahead, Past *done);
bool graph_exec_is(const Device *, CUgraphExec);

#endif
