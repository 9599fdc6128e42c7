/* expr_dump: random well-typed expressions, an input of each, and what attnc's evaluator
 * makes of it, a line of JSON each: for judges that are no part of attnc.
 *
 *   expr_dump SEED RUNS */
#include "tests/unit/expr_random.h"

#include <stdio.h>
#include <stdlib.h>

enum { DEPTH = 6 };

static void
put_text(const ExprGraph *g, const Expr *e, const char *name)
{
  Str s = str_new(g->arena);
  expr_print(g, e, &s);
  printf("\"%s\": \"%s\", ", name, s.p);
}

static void
put_value(ExprType type, ExprValue v)
{
  if (type == EXPR_F32)
    printf("\"%.17g\"", v.f);
  else
    printf("\"%d\"", (int)v.i);
}

static void
put_variables(const RandomInput *in)
{
  printf("\"variables\": {");
  for (int v = 0; v < EXPR_VARS; v++)
    if (expr_vars[v].type == EXPR_I32)
      printf("%s\"%s\": %d", v ? ", " : "", expr_vars[v].name, (int)in->in.var[v]);
  printf("}, \"reals\": {\"score\": \"%.17g\"", in->in.score);
  for (int i = 0; i < random_names.n_scalars; i++)
    printf(", \"%s\": \"%.17g\"", random_names.scalars[i], in->scalars[i]);
  printf("}, ");
}

/* Elements in the order of their indices. */
static void
put_table(const RandomInput *in, int tensor)
{
  const ExprTensor *t = &random_names.tensors[tensor];
  const ExprTable *x = &in->tables[tensor];
  int64_t n[2] = {x->length[0], t->n_axes == 2 ? x->length[1] : 1};
  printf("%s\"%s\": {\"type\": \"%s\", \"shape\": [%d", tensor ? ", " : "", t->name,
         expr_type_names[t->type], (int)n[0]);
  if (t->n_axes == 2)
    printf(", %d", (int)n[1]);
  printf("], \"data\": [");
  for (int64_t i = 0; i < n[0] * n[1]; i++) {
    int64_t at = i / n[1] * x->stride[0] + i % n[1] * x->stride[1];
    printf("%s", i ? ", " : "");
    put_value(t->type, in->in.element(NULL, tensor, x->data, at));
  }
  printf("]}");
}

static void
put(Random *r, ExprType type)
{
  Arena *arena = arena_new(0);
  if (!arena)
    abort();
  ExprGraph *g = expr_graph(arena, &random_names);
  const Expr *e = random_expr(r, g, type, DEPTH, type == EXPR_F32);
  RandomInput in;
  random_input(r, &in);
  in.in.width = EXPR_WIDE;
  printf("{");
  put_text(g, e, "text");
  put_text(g, expr_normal(g, e), "normal");
  put_variables(&in);
  printf("\"tables\": {");
  for (int t = 0; t < random_names.n_tensors; t++)
    put_table(&in, t);
  printf("}, \"type\": \"%s\", \"value\": ", expr_type_names[type]);
  put_value(type, expr_eval(g, e, &in.in));
  printf("}\n");
  arena_free(arena);
}

int
main(int argc, char **argv)
{
  if (argc != 3) {
    fprintf(stderr, "usage: expr_dump SEED RUNS\n");
    return 2;
  }
  Random r = {.seed = strtoull(argv[1], NULL, 10)};
  for (long i = 0; i < atol(argv[2]); i++)
    put(&r, (ExprType)(i % 3));
  return ferror(stdout) ? 1 : 0;
}
