/* Functions: .func with its parameters and results, and other names of them (.alias). */
#include "emulator/ptx/parse.h"

#include <string.h>

Ast *
ptx_func(const Ptx *p, const char *name, int n)
{
  for (int i = 0; i < p->funcs.n; i++)
    if ((int)strlen(p->funcs.at[i]->name) == n &&
        !memcmp(p->funcs.at[i]->name, name, (size_t)n))
      return p->funcs.at[i];
  return NULL;
}

/* ---- parameters and results ---- */

/* .reg .b32 x: a register of the body. */
static Formal
register_formal(Parse *s)
{
  RegDecl *d = NEW(s->ptx->arena, RegDecl);
  Type type = parse_type(s, "the type of a register");
  d->name = lex_name(&s->lex);
  d->name_len = (int)strlen(d->name);
  d->n = -1;
  d->regs = NEW(s->ptx->arena, Reg);
  *d->regs = (Reg){.type = type, .name = d->name, .row = -1};
  d->next = s->formals;
  s->formals = d;
  return (Formal){.reg = d->regs};
}

static Formal
formal(Parse *s)
{
  if (lex_take(&s->lex, ".reg"))
    return register_formal(s);
  lex_need(&s->lex, ".param");
  Var *v = parse_var(s, SPACE_PARAM, false);
  if (!v->bytes)
    ptx_fail(s->ptx, v->line, "parameters of any size are not emulated");
  v->in_frame = true;
  return (Formal){.var = v};
}

void
parse_formals(Parse *s, Proto *p, bool out)
{
  if (!lex_take(&s->lex, "(") || lex_take(&s->lex, ")"))
    return;
  do {
    Formal f = formal(s);
    if (out)
      *vec_push(s->ptx->arena, &p->out) = f;
    else
      *vec_push(s->ptx->arena, &p->in) = f;
  } while (lex_take(&s->lex, ","));
  lex_need(&s->lex, ")");
}

/* ---- the function ---- */

static Ast *
declare(Parse *s, char *name)
{
  Ast *a = ptx_func(s->ptx, name, (int)strlen(name));
  if (a)
    return a;
  a = NEW(s->ptx->arena, Ast);
  a->name = name;
  a->is_func = true;
  a->number = s->ptx->funcs.n;
  *vec_push(s->ptx->arena, &s->ptx->funcs) = a;
  return a;
}

/* A declaration may come before, and another one after it. */
void
parse_function(Parse *s, bool is_extern)
{
  Proto proto = {0};
  s->formals = NULL;
  parse_formals(s, &proto, true);
  int line = s->lex.now.line;
  Ast *a = declare(s, lex_name(&s->lex));
  parse_formals(s, &proto, false);
  bool again = a->has_body;
  if (!again) {
    a->proto = proto;
    a->line = line;
  }
  parse_directives(s, a);
  if (!lex_take(&s->lex, ";")) {
    if (again)
      ptx_fail(s->ptx, line, "a second function %s", a->name);
    if (is_extern || !lex_is(&s->lex, "{"))
      lex_fail(&s->lex, is_extern ? "';'" : "'{'");
    s->ast = a;
    parse_body(s);
    s->ast = NULL;
  }
  s->formals = NULL;
}

static Ast *
function_named(Parse *s)
{
  Token t = s->lex.now;
  Ast *a = ptx_func(s->ptx, t.p, t.n);
  if (!a)
    ptx_fail(s->ptx, t.line, "%.*s is no function", t.n, t.p);
  lex_next(&s->lex);
  return a;
}

/* .alias name, function; */
void
parse_alias(Parse *s)
{
  int line = s->lex.now.line;
  Ast *name = function_named(s);
  lex_need(&s->lex, ",");
  Ast *of = function_named(s);
  lex_need(&s->lex, ";");
  while (of->alias)
    of = of->alias;
  if (name->has_body || name->alias || of == name)
    ptx_fail(s->ptx, line, "%s cannot be another name of %s", name->name, of->name);
  name->alias = of;
}
