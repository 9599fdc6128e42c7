/* Index expressions: built folded and shared, so that equal expressions are one node and
 * a known size leaves no arithmetic behind. */
#include "compiler/expr/idx_graph.h"

/* That of both; constants are of none. */
static IdxGraph *
graph_of(Idx a, Idx b)
{
  IdxGraph *g = a.node ? a.node->graph : b.node->graph;
  if (b.node && b.node->graph != g)
    g->fail(g->owner, "an index expression of two programs");
  return g;
}

static bool
nonneg(Idx x)
{
  return x.node ? x.node->nonneg : x.k >= 0;
}

static bool
same(Idx a, Idx b)
{
  return a.node == b.node && (a.node || a.k == b.k);
}

static bool
is_const(Idx x, int64_t k)
{
  return !x.node && x.k == k;
}

static int
depth(Idx x)
{
  return x.node ? x.node->depth : 0;
}

static bool
leaf_node(const Node *n)
{
  return n->kind <= NODE_LOOP;
}

Idx
idx_share(IdxGraph *g, const Node *want)
{
  for (int i = 0; i < g->nodes.n; i++) {
    const Node *n = g->nodes.at[i];
    if (n->kind == want->kind && n->n == want->n && n->wide == want->wide &&
        same(n->a, want->a) && same(n->b, want->b) && same(n->c, want->c))
      return (Idx){.node = n};
  }
  Node *n = NEW(g->arena, Node);
  *n = *want;
  n->graph = g;
  n->id = g->nodes.n + 1;
  *vec_push(g->arena, &g->nodes) = n;
  return (Idx){.node = n};
}

static Idx
binary_of(NodeKind kind, Idx a, Idx b, bool is_nonneg, bool wide)
{
  Node n = {.kind = kind, .a = a, .b = b, .nonneg = is_nonneg};
  n.wide = wide || (a.node && a.node->wide) || (b.node && b.node->wide);
  n.depth = depth(a) > depth(b) ? depth(a) : depth(b);
  return idx_share(graph_of(a, b), &n);
}

static Idx
binary(NodeKind kind, Idx a, Idx b, bool is_nonneg)
{
  return binary_of(kind, a, b, is_nonneg, false);
}

static int64_t
floor_div(int64_t a, int64_t b)
{
  int64_t q = a / b;
  return q * b > a ? q - 1 : q;
}

Idx
idx_add(Idx a, Idx b)
{
  if (!a.node && !b.node)
    return i_int(a.k + b.k);
  if (!a.node) {
    Idx swap = a;
    a = b;
    b = swap;
  }
  if (is_const(b, 0))
    return a;
  if (!b.node && a.node->kind == NODE_ADD && !a.node->b.node)
    return idx_add(a.node->a, i_int(a.node->b.k + b.k));
  if (b.node && b.node->kind == NODE_ADD && !b.node->b.node)
    return idx_add(idx_add(a, b.node->a), b.node->b);
  return binary(NODE_ADD, a, b, nonneg(a) && nonneg(b));
}

Idx
idx_sub(Idx a, Idx b)
{
  if (!b.node)
    return idx_add(a, i_int(-b.k));
  if (same(a, b))
    return i_int(0);
  if (a.node && a.node->kind == NODE_ADD && same(a.node->a, b))
    return a.node->b;
  return binary(NODE_SUB, a, b, false);
}

static Idx
mul(Idx a, Idx b, bool wide)
{
  if (!a.node && !b.node)
    return i_int(a.k * b.k);
  if (!a.node)
    return mul(b, a, wide);
  if (is_const(b, 0))
    return b;
  if (is_const(b, 1))
    return a;
  return binary_of(NODE_MUL, a, b, nonneg(a) && nonneg(b), wide);
}

Idx
idx_mul(Idx a, Idx b)
{
  return mul(a, b, false);
}

Idx
idx_mul64(Idx a, Idx b)
{
  return mul(a, b, true);
}

Idx
idx_div(Idx a, Idx b)
{
  if (!a.node && !b.node)
    return i_int(floor_div(a.k, b.k));
  if (is_const(b, 1))
    return a;
  return binary(NODE_DIV, a, b, nonneg(a) && nonneg(b));
}

static Idx
div_as(DivKind how, Idx a, Idx b)
{
  if (!a.node || !b.node) /* a shift, or a product */
    return idx_div(a, b);
  Node n = {.kind = NODE_DIV, .a = a, .b = b, .n = (int)how, .nonneg = true};
  n.depth = depth(a) > depth(b) ? depth(a) : depth(b);
  return idx_share(graph_of(a, b), &n);
}

Idx
idx_div_rare(Idx a, Idx b)
{
  return div_as(DIV_RARE, a, b);
}

Idx
idx_div_often(Idx a, Idx b)
{
  return div_as(DIV_OFTEN, a, b);
}

Idx
idx_rest(Idx a, Idx b, Idx quotient)
{
  Idx down = idx_mul(quotient, b);
  if (!down.node && (!a.node || down.k == 0))
    return idx_sub(a, down);
  return same(a, down) ? i_int(0) : binary(NODE_SUB, a, down, nonneg(b));
}

Idx
idx_cdiv(Idx a, Idx b)
{
  return idx_div(idx_add(a, idx_sub(b, i_int(1))), b);
}

/* b is a + k with k <= 0. */
static bool
below(Idx a, Idx b)
{
  return b.node && b.node->kind == NODE_ADD && same(b.node->a, a) && !b.node->b.node &&
         b.node->b.k <= 0;
}

Idx
idx_min(Idx a, Idx b)
{
  if (!a.node && !b.node)
    return a.k < b.k ? a : b;
  if (same(a, b) || below(b, a))
    return a;
  if (below(a, b))
    return b;
  if (is_const(a, 0) && nonneg(b))
    return a;
  if (is_const(b, 0) && nonneg(a))
    return b;
  return binary(NODE_MIN, a, b, nonneg(a) && nonneg(b));
}

Idx
idx_max(Idx a, Idx b)
{
  if (!a.node && !b.node)
    return a.k > b.k ? a : b;
  if (same(a, b))
    return a;
  if (!a.node && a.k <= 0 && nonneg(b))
    return b;
  if (!b.node && b.k <= 0 && nonneg(a))
    return a;
  return binary(NODE_MAX, a, b, nonneg(a) || nonneg(b));
}

Idx
idx_lt(Idx a, Idx b)
{
  if (!a.node && !b.node)
    return i_int(a.k < b.k);
  if (same(a, b))
    return i_int(0);
  return binary(NODE_LT, a, b, true);
}

Idx
idx_or(Idx a, Idx b)
{
  if (!a.node)
    return a.k ? i_int(1) : b;
  if (!b.node)
    return b.k ? i_int(1) : a;
  return same(a, b) ? a : binary(NODE_OR, a, b, true);
}

Idx
idx_and(Idx a, Idx b)
{
  if (!a.node)
    return a.k ? b : i_int(0);
  if (!b.node)
    return b.k ? a : i_int(0);
  return same(a, b) ? a : binary(NODE_AND, a, b, true);
}

Idx
idx_not(Idx a)
{
  if (!a.node)
    return i_int(!a.k);
  if (a.node->kind == NODE_NOT)
    return a.node->a;
  return binary(NODE_NOT, a, i_int(0), true);
}

Idx
idx_select(Idx c, Idx a, Idx b)
{
  if (!c.node)
    return c.k ? a : b;
  if (same(a, b))
    return a;
  int deepest = depth(a) > depth(b) ? depth(a) : depth(b);
  Node n = {.kind = NODE_SELECT, .a = a, .b = b, .c = c};
  n.nonneg = nonneg(a) && nonneg(b);
  n.wide = (a.node && a.node->wide) || (b.node && b.node->wide);
  n.depth = depth(c) > deepest ? depth(c) : deepest;
  return idx_share(a.node ? graph_of(a, c) : graph_of(c, b), &n);
}

bool
i_known(Idx x, int64_t *k)
{
  if (x.node)
    return false;
  *k = x.k;
  return true;
}

bool
i_multiple(Idx x, int64_t m)
{
  if (!x.node)
    return x.k % m == 0;
  switch (x.node->kind) {
  case NODE_ADD:
  case NODE_SUB:
    return i_multiple(x.node->a, m) && i_multiple(x.node->b, m);
  case NODE_MUL:
    return i_multiple(x.node->a, m) || i_multiple(x.node->b, m);
  default:
    return false;
  }
}

Idx
idx_of_host(NodeKind kind, Idx one, Idx other)
{
  return binary(kind, one, other, true);
}

const Table *
idx_table(IdxGraph *g, const int32_t *at, int n)
{
  Table *x = NEW(g->arena, Table);
  int32_t *own = NEW_N(g->arena, int32_t, n + 1);
  for (int i = 0; i < n; i++)
    own[i] = at[i];
  *x = (Table){.graph = g, .id = g->tables.n, .n = n, .at = own};
  *vec_push(g->arena, &g->tables) = x;
  return x;
}

Idx
i_entry(const Table *x, Idx i)
{
  Node n = {.kind = NODE_ENTRY, .a = i, .n = x->id, .depth = depth(i)};
  n.nonneg = true;
  for (int k = 0; k < x->n; k++)
    n.nonneg = n.nonneg && x->at[k] >= 0;
  if (!i.node && i.k >= 0 && i.k < x->n)
    return i_int(x->at[i.k]);
  return idx_share(x->graph, &n);
}

int64_t
idx_eval(Idx x, int64_t (*leaf)(void *, const Node *), void *user)
{
  if (!x.node)
    return x.k;
  const Node *n = x.node;
  if (leaf_node(n) || n->kind == NODE_ELEMENT)
    return leaf(user, n);
  int64_t a = idx_eval(n->a, leaf, user), b = idx_eval(n->b, leaf, user);
  if (n->kind == NODE_ENTRY) {
    const Table *list = n->graph->tables.at[n->n];
    return a >= 0 && a < list->n ? list->at[a] : 0;
  }
  switch (n->kind) {
  case NODE_ADD:
    return a + b;
  case NODE_SUB:
    return a - b;
  case NODE_MUL:
    return a * b;
  case NODE_DIV:
    return floor_div(a, b);
  case NODE_MIN:
    return a < b ? a : b;
  case NODE_MAX:
    return a > b ? a : b;
  case NODE_OR:
    return a || b;
  case NODE_AND:
    return a && b;
  case NODE_NOT:
    return !a;
  case NODE_SELECT:
    return idx_eval(n->c, leaf, user) ? a : b;
  case NODE_ASIDE:
    return a <= GRID_ASIDE && b <= GRID_ASIDE ? a : 1;
  case NODE_ALONG:
    return a <= GRID_ASIDE && b <= GRID_ASIDE ? 1 : a * b;
  case NODE_QUOTIENT:
    return b > 1 ? (a + b - 1) / b : a;
  default:
    return a < b;
  }
}

bool
idx_simple(Idx x)
{
  if (!x.node || leaf_node(x.node))
    return true;
  const Node *a = x.node->a.node, *b = x.node->b.node, *c = x.node->c.node;
  return (!a || leaf_node(a)) && (!b || leaf_node(b)) && (!c || leaf_node(c));
}

/* A part of an expression: itself if it is short, else its name. */
static void
print_part(Str *s, Idx x, LeafPrint *leaf)
{
  if (idx_simple(x))
    idx_print(s, x, leaf);
  else
    str_printf(s, "i%d", x.node->id);
}

void
idx_print(Str *s, Idx x, LeafPrint *leaf)
{
  static const char *const text[] = {
#define X(id, name, n) name,
      NODE_TABLE(X)
#undef X
  };
  if (!x.node) {
    str_printf(s, "%lld", (long long)x.k);
    return;
  }
  const Node *n = x.node;
  bool call = n->kind == NODE_MIN || n->kind == NODE_MAX || n->kind == NODE_ASIDE ||
              n->kind == NODE_ALONG || n->kind == NODE_QUOTIENT;
  if (leaf_node(n)) {
    leaf(s, n);
    return;
  }
  if (n->kind == NODE_ENTRY || n->kind == NODE_ELEMENT) {
    if (n->kind == NODE_ENTRY)
      str_printf(s, "table%d[", n->n);
    else
      print_part(s, n->b, leaf), str_put(s, "[");
    print_part(s, n->a, leaf);
    str_put(s, "]");
    return;
  }
  if (n->kind == NODE_NOT) {
    str_put(s, "not ");
    print_part(s, n->a, leaf);
    return;
  }
  str_put(s, call ? text[n->kind] : "");
  str_put(s, "(");
  if (n->kind == NODE_SELECT) {
    print_part(s, n->c, leaf);
    str_put(s, " ? ");
    print_part(s, n->a, leaf);
    str_put(s, " : ");
    print_part(s, n->b, leaf);
    str_put(s, ")");
    return;
  }
  print_part(s, n->a, leaf);
  str_printf(s, call ? ", " : " %s ", text[n->kind]);
  print_part(s, n->b, leaf);
  str_put(s, ")");
}
