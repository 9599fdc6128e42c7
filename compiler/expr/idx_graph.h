/* idx_graph.h: the nodes of index expressions, for who makes leaves, lowers or prints them.
 *
 * The graph gives a leaf's kind and number no meaning: those are its owner's. */
#ifndef ATTNC_COMPILER_IDX_GRAPH_H
#define ATTNC_COMPILER_IDX_GRAPH_H

#include "base/arena.h"
#include "base/str.h"
#include "compiler/expr/idx.h"

/* id, text of the print, arguments; the leaves first, LOOP last of them */
#define NODE_TABLE(X)                                                                      \
  X(PARAM, "param", 0)                                                                     \
  X(CTA, "cta", 0)                                                                         \
  X(SMS, "sms", 0)                                                                         \
  X(CTAS, "ctas", 0)                                                                       \
  X(TEAM, "team", 0)                                                                       \
  X(THREAD, "thread", 0)                                                                   \
  X(ANY, "any", 0)                                                                         \
  X(FOUND, "found", 0)                                                                     \
  X(AHEAD, "ahead", 0)                                                                     \
  X(LOOP, "loop", 0)                                                                       \
  X(ADD, "+", 2)                                                                           \
  X(SUB, "-", 2)                                                                           \
  X(MUL, "*", 2)                                                                           \
  X(DIV, "/", 2)                                                                           \
  X(MIN, "min", 2)                                                                         \
  X(MAX, "max", 2)                                                                         \
  X(LT, "<", 2)                                                                            \
  X(OR, "or", 2)                                                                           \
  X(AND, "and", 2)                                                                         \
  X(NOT, "not", 1)                                                                         \
  X(SELECT, "?", 3)                                                                        \
  X(ASIDE, "aside", 2)                                                                     \
  X(ALONG, "along", 2)                                                                     \
  X(QUOTIENT, "quotient", 2)                                                               \
  X(ENTRY, "entry", 1)                                                                     \
  X(ELEMENT, "element", 3)

typedef enum NodeKind {
#define X(id, text, n) NODE_##id,
  NODE_TABLE(X)
#undef X
      NODE_COUNT
} NodeKind;

typedef enum DivKind {
  DIV_PLAIN,
  DIV_RARE,  /* a is hardly ever as large as b */
  DIV_OFTEN, /* by a number of the whole entry */
} DivKind;

typedef struct IdxGraph IdxGraph;
struct Node {
  IdxGraph *graph;
  NodeKind kind;
  int id; /* order of birth */
  Idx a, b;
  Idx c;     /* SELECT: the condition; ELEMENT: 0 where there is none */
  int n;     /* PARAM: index of the parameter; CTA, CTAS: axis; LOOP: region id; AHEAD: the
                same,     a: how many visits, b: what of that tile; ANY, FOUND: its op; ENTRY:
                id of     the     table;     ELEMENT: slot of the tensor, whose pointer is b,
                and     its place in     it     a;     DIV: a DivKind; SMS: the multiple */
  bool wide; /* 64 bits */
  bool nonneg;
  int depth; /* id of the innermost loop region it depends on, 0: none; LATE: an op's */
};
enum {
  LATE = 1 << 30
}; /* depth of what an operation computes: it stays where it is used */

struct Table {
  IdxGraph *graph;
  int id, n;
  const int32_t *at;
};

struct IdxGraph {
  Arena *arena;
  void *owner;
  void (*fail)(void *owner, const char *what); /* does not return */
  VEC(Node *) nodes;                           /* by id - 1 */
  VEC(Table *) tables;                         /* by id */
};

/* The node of the graph that is like it (kind, arguments, n, wide), made if there is none.
 */
Idx idx_share(IdxGraph *, const Node *like);
const Table *idx_table(IdxGraph *, const int32_t *, int n); /* copies the numbers */
/* ASIDE, ALONG, of two sizes, and QUOTIENT: of the host (compiler/build.h). */
Idx idx_of_host(NodeKind, Idx one, Idx other);
/* Evaluates an index expression on the CPU; `leaf` gives the value of PARAM, CTA, LOOP and
 * of an ELEMENT. */
int64_t idx_eval(Idx, int64_t (*leaf)(void *, const Node *), void *user);
/* One level of an expression; parts that are not simple by their names, i1, i2, … */
typedef void LeafPrint(Str *, const Node *);
void idx_print(Str *, Idx, LeafPrint *);
bool idx_simple(Idx); /* a leaf, or an operation on leaves */

#endif
