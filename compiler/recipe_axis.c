/* Expressions of the host as the axes of a recipe, which runtime/axis.c evaluates: products
 * of constants, sizes, ceil_div(size, constant), quotients, minima, sums, multiprocessors,
 * the pair of sizes that stands aside or along, and a choice, or else an axis. */
#include "compiler/kernel.h"

#include "compiler/tile/tile_prog.h"

#include <limits.h>

enum { MOST_FACTORS = 16, MOST_CONSTANT = INT_MAX }; /* the reader's limits */

/* A product, taken apart. */
typedef struct Product {
  int64_t k; /* of its constants */
  const Node *at[MOST_FACTORS];
  int n;
} Product;

static void
whole_text(Str *s, Idx x)
{
  if (!x.node || idx_simple(x)) {
    idx_print(s, x, tile_leaf_print);
    return;
  }
  const Node *n = x.node;
  static const char *const text[] = {
#define X(id, name, args) name,
      NODE_TABLE(X)
#undef X
  };
  bool call = n->kind == NODE_MIN || n->kind == NODE_MAX || n->kind == NODE_ASIDE ||
              n->kind == NODE_ALONG || n->kind == NODE_QUOTIENT;
  str_printf(s, "%s(", call ? text[n->kind] : "");
  whole_text(s, n->a);
  str_printf(s, call ? ", " : " %s ", text[n->kind]);
  whole_text(s, n->b);
  str_put(s, ")");
}

static _Noreturn void
cannot(const Node *n, const char *why)
{
  Idx x = {.node = n};
  Tb *t = n->graph->owner;
  Str s = str_new(t->arena);
  whole_text(&s, x);
  t_fail(t, "a recipe cannot say %s: %s", s.p, why);
}

/* The size that a node is; -1: it is none. */
static int
size_of(Idx x)
{
  if (!x.node || x.node->kind != NODE_PARAM)
    return -1;
  const Tb *t = x.node->graph->owner;
  const Param *p = &t->prog->params.at[x.node->n];
  return p->kind == PARAM_SIZE ? p->slot : -1;
}

static void
take_apart(Idx x, const Node *whole, Product *out)
{
  if (!x.node) {
    if (x.k < 0 || __builtin_mul_overflow(out->k, x.k, &out->k) || out->k > MOST_CONSTANT)
      cannot(whole, "a constant is negative or too large");
    return;
  }
  if (x.node->kind == NODE_MUL) {
    take_apart(x.node->a, whole, out);
    take_apart(x.node->b, whole, out);
    return;
  }
  if (out->n == MOST_FACTORS)
    cannot(whole, "it has too many factors");
  out->at[out->n++] = x.node;
}

/* Of a size, or of what is made of sizes, by a constant, rounded up. */
static void
ceil_div(Str *s, const Node *n)
{
  const Node *up = n->a.node;
  bool is_sum = up && up->kind == NODE_ADD && !up->b.node;
  if (n->b.node || !is_sum || n->b.k < 1 || up->b.k != n->b.k - 1)
    cannot(n, "of quotients it knows those by a constant, rounded up");
  int size = size_of(up->a);
  if (size >= 0) {
    str_printf(s, "{\"ceil_div\":[\"%s\",%lld]}", size_names[size], (long long)n->b.k);
    return;
  }
  str_put(s, "{\"quotient\":[");
  recipe_axis(s, up->a);
  str_put(s, ",");
  recipe_axis(s, n->b);
  str_put(s, "]}");
}

/* Of a minimum or a sum of several its members. */
static void
members(Str *s, Idx x, const Node *whole, bool first)
{
  if (x.node && x.node->kind == whole->kind) {
    members(s, x.node->a, whole, first);
    members(s, x.node->b, whole, false);
    return;
  }
  if (!x.node && x.k < 0)
    cannot(whole, "a constant is negative or too large");
  str_put(s, first ? "" : ",");
  recipe_axis(s, x);
}

static void
along(Str *s, const Node *n)
{
  int one = size_of(n->a), other = size_of(n->b);
  if (one < 0 || other < 0)
    cannot(n, "these are no sizes");
  str_printf(s, "{\"along\":[\"%s\",\"%s\"]}", size_names[one], size_names[other]);
}

/* A size by its name alone. */
static void
either(Str *s, Idx x)
{
  int size = size_of(x);
  if (size < 0)
    recipe_axis(s, x);
  else
    str_printf(s, "\"%s\"", size_names[size]);
}

static void
aside(Str *s, const Node *n)
{
  str_put(s, "{\"aside\":[");
  either(s, n->a);
  str_put(s, ",");
  either(s, n->b);
  str_put(s, "]}");
}

static void
quotient(Str *s, const Node *n)
{
  if (!n->b.node && n->b.k < 1)
    cannot(n, "a divisor is not positive");
  str_put(s, "{\"quotient\":[");
  recipe_axis(s, n->a);
  str_put(s, ",");
  recipe_axis(s, n->b);
  str_put(s, "]}");
}

/* i_or_else. */
static void
or_else(Str *s, const Node *n)
{
  const Node *is = n->c.node;
  int size = size_of(n->a);
  bool known = size >= 0 && is && is->kind == NODE_LT && !is->a.node && is->a.k == 0;
  if (!known || size_of(is->b) != size || !size_is_choice((SizeId)size))
    cannot(n, "of selections it knows a size that is a choice, or else an axis");
  str_printf(s, "{\"or\":[\"%s\",", size_names[size]);
  recipe_axis(s, n->b);
  str_put(s, "]}");
}

static void
factor(Str *s, const Node *n)
{
  Idx x = {.node = n};
  switch (n->kind) {
  case NODE_PARAM:
    if (size_of(x) < 0)
      cannot(n, "it is no size");
    str_printf(s, "{\"size\":\"%s\"}", size_names[size_of(x)]);
    break;
  case NODE_SMS:
    str_printf(s, "{\"sms\":%d}", n->n);
    break;
  case NODE_DIV:
    ceil_div(s, n);
    break;
  case NODE_QUOTIENT:
    quotient(s, n);
    break;
  case NODE_MIN:
  case NODE_ADD:
    str_put(s, n->kind == NODE_MIN ? "{\"min\":[" : "{\"add\":[");
    members(s, x, n, true);
    str_put(s, "]}");
    break;
  case NODE_ASIDE:
    aside(s, n);
    break;
  case NODE_ALONG:
    along(s, n);
    break;
  case NODE_SELECT:
    or_else(s, n);
    break;
  default:
    cannot(n, "there is no such factor");
  }
}

void
recipe_axis(Str *s, Idx x)
{
  Product p = {.k = 1};
  const char *comma = "";
  take_apart(x, x.node, &p);
  str_put(s, "{\"mul\":[");
  if (p.k != 1 || !p.n) {
    str_printf(s, "%lld", (long long)p.k);
    comma = ",";
  }
  for (int i = 0; i < p.n; i++) {
    str_put(s, comma);
    factor(s, p.at[i]);
    comma = ",";
  }
  str_put(s, "]}");
}
