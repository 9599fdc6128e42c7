/* Expressions as text. */
#include "compiler/expr/expr.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers, as in the C locale: a host application may have set another ---- */

void
expr_print_float(float f, Str *out)
{
  char text[40] = "";
  bool plain = fabsf(f) >= 1e-4f && fabsf(f) < 1e9f; /* no exponent */
  locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  locale_t before = uselocale(c);
  for (int digits = 1; digits <= 9; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, (double)f);
    if ((float)strtod(text, NULL) == f && !(plain && strchr(text, 'e')))
      break;
  }
  uselocale(before);
  if (c)
    freelocale(c);
  str_put(out, text);
  if (!strpbrk(text, ".ein"))
    str_put(out, ".0");
}

/* ---- expressions ---- */

enum { PRECEDENCE_MOST = 14 };

static int
precedence(const Expr *e)
{
  int p = expr_ops[e->op].precedence;
  return p ? p : PRECEDENCE_MOST;
}

static void print(const ExprGraph *, const Expr *, Str *);

static void
print_part(const ExprGraph *g, const Expr *e, bool bracketed, Str *out)
{
  str_put(out, bracketed ? "(" : "");
  print(g, e, out);
  str_put(out, bracketed ? ")" : "");
}

/* Comparisons are bracketed in comparisons, though C would not need it. */
static void
print_infix(const ExprGraph *g, const Expr *e, Str *out)
{
  int p = precedence(e), a = precedence(e->arg[0]), b = precedence(e->arg[1]);
  int compare = expr_ops[EXPR_OP_EQ].precedence;
  bool comparing = p == compare || p == compare + 1;
  print_part(g, e->arg[0], a < p || (comparing && a <= compare + 1), out);
  str_printf(out, " %s ", expr_ops[e->op].text);
  print_part(g, e->arg[1], b <= p || (comparing && b <= compare + 1), out);
}

static void
print_choice(const ExprGraph *g, const Expr *e, Str *out)
{
  print_part(g, e->arg[0], e->arg[0]->op == EXPR_OP_COND, out);
  str_put(out, " ? ");
  print_part(g, e->arg[1], e->arg[1]->op == EXPR_OP_COND, out);
  str_put(out, " : ");
  print(g, e->arg[2], out);
}

static void
print_list(const ExprGraph *g, const Expr *e, const char *name, const char *brackets,
           Str *out)
{
  str_printf(out, "%s%c", name, brackets[0]);
  for (int i = 0; i < e->n; i++) {
    str_put(out, i ? ", " : "");
    print(g, e->arg[i], out);
  }
  str_printf(out, "%c", brackets[1]);
}

static void
print_const(const Expr *e, Str *out)
{
  if (e->type == EXPR_F32)
    expr_print_float(e->f, out);
  else if (e->type == EXPR_I32)
    str_printf(out, "%d", e->i);
  else
    str_put(out, e->i ? "true" : "false");
}

static void
print(const ExprGraph *g, const Expr *e, Str *out)
{
  switch (e->op) {
  case EXPR_OP_CONST:
    print_const(e, out);
    return;
  case EXPR_OP_VAR:
    str_put(out, expr_vars[e->i].name);
    return;
  case EXPR_OP_SCALAR:
    str_put(out, g->names->scalars[e->i]);
    return;
  case EXPR_OP_LOAD:
    print_list(g, e, g->names->tensors[e->i].name, "[]", out);
    return;
  default:
    break;
  }
  switch (expr_ops[e->op].form) {
  case FORM_CALL:
    print_list(g, e, expr_ops[e->op].text, "()", out);
    return;
  case FORM_PREFIX:
    str_put(out, expr_ops[e->op].text);
    print_part(g, e->arg[0], precedence(e->arg[0]) < precedence(e), out);
    return;
  case FORM_TERNARY:
    print_choice(g, e, out);
    return;
  default:
    print_infix(g, e, out);
  }
}

void
expr_print(const ExprGraph *g, const Expr *e, Str *out)
{
  print(g, e, out);
}
