/* Functions: .func with its parameters and results, and other names of them (.alias). */
#include "emulator/ptx/parse.h"

#include <string.h>

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
