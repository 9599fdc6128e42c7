#include "emulator/ptx/parse.h"

#include <stdio.h>
#include <string.h>

static void
parameters(Parse *s, Ast *a)
{
  uint64_t at = 0;
  if (!lex_take(&s->lex, "(") || lex_take(&s->lex, ")"))
    return;
  do {
    lex_need(&s->lex, ".param");
    Var *v = parse_var(s, SPACE_PARAM, false);
    at = (at + v->align - 1) / v->align * v->align;
    v->offset = at;
    at += v->bytes;
    if (at > 32764)
      ptx_fail(s->ptx, v->line, "more than 32764 bytes of parameters");
    *vec_push(s->ptx->arena, &a->params) = v;
  } while (lex_take(&s->lex, ","));
  lex_need(&s->lex, ")");
}

/* PTX ISA, "Cluster dimension directives". */
static void
check_cluster(Parse *s, const Ast *a)
{
  if ((a->cluster[0] || a->max_rank || a->explicit_cluster) &&
      (s->ptx->sm < 90 || s->ptx->version < 78))
    ptx_fail(s->ptx, a->line, "clusters need .target sm_90 and .version 7.8 or higher");
  if (a->cluster[0] && a->max_rank)
    ptx_fail(s->ptx, a->line, ".reqnctapercluster and .maxclusterrank exclude each other");
}

static void
entry(Parse *s)
{
  Ast *a = NEW(s->ptx->arena, Ast);
  a->line = s->lex.now.line;
  a->name = lex_name(&s->lex);
  for (int i = 0; i < s->ptx->entries.n; i++)
    if (!strcmp(s->ptx->entries.at[i]->name, a->name))
      ptx_fail(s->ptx, a->line, "a second entry %s", a->name);
  s->ast = a;
  parameters(s, a);
  parse_directives(s, a);
  if (lex_take(&s->lex, ";"))
    ptx_fail(s->ptx, a->line, "entry %s has no body", a->name);
  check_cluster(s, a);
  if (!lex_is(&s->lex, "{"))
    lex_fail(&s->lex, "'{'");
  parse_body(s);
  *vec_push(s->ptx->arena, &s->ptx->entries) = a;
  s->ast = NULL;
}

/* ---- the module ---- */

static int
version_number(Parse *s)
{
  Token t = s->lex.now;
  double d;
  if (t.kind != TK_FLOAT64)
    lex_fail(&s->lex, "a version such as 7.0");
  memcpy(&d, &t.bits, 8);
  if (!(d >= 0 && d < 1000))
    lex_fail(&s->lex, "a version such as 7.0");
  lex_next(&s->lex);
  return (int)(d * 10 + 0.5);
}

static void
target(Parse *s)
{
  Token t = s->lex.now;
  int sm = 0, i = 3;
  if (t.kind != TK_NAME || t.n < 5 || memcmp(t.p, "sm_", 3))
    lex_fail(&s->lex, "a target such as sm_80");
  for (; i < t.n && t.p[i] >= '0' && t.p[i] <= '9' && sm < 1000; i++)
    sm = sm * 10 + t.p[i] - '0';
  if (i + 1 < t.n || (i < t.n && t.p[i] != 'a' && t.p[i] != 'f'))
    lex_fail(&s->lex, "a target such as sm_80");
  s->ptx->sm = sm;
  s->ptx->sm_suffix = i < t.n ? t.p[i] : 0;
  lex_next(&s->lex);
  while (lex_take(&s->lex, ","))
    if (!lex_take(&s->lex, "debug") && !lex_take(&s->lex, "texmode_independent") &&
        !lex_take(&s->lex, "texmode_unified"))
      lex_fail(&s->lex, "'debug'");
}

static bool
module_variable(Parse *s, bool is_extern)
{
  Space space;
  if (lex_take(&s->lex, ".global"))
    space = SPACE_GLOBAL;
  else if (lex_take(&s->lex, ".const"))
    space = SPACE_CONST;
  else if (lex_take(&s->lex, ".shared"))
    space = SPACE_SHARED;
  else
    return false;
  Var *v = parse_var(s, space, is_extern);
  if (is_extern && space != SPACE_SHARED)
    ptx_fail(s->ptx, v->line, "%s is in another module: there is no linker", v->name);
  if (parse_find_var(s, v->name, (int)strlen(v->name)))
    ptx_fail(s->ptx, v->line, "a second %s", v->name);
  lex_need(&s->lex, ";");
  *vec_push(s->ptx->arena, &s->ptx->vars) = v;
  return true;
}

static void
linkage(Parse *s)
{
  bool is_extern = false;
  for (;;) {
    if (lex_take(&s->lex, ".extern"))
      is_extern = true;
    else if (!lex_take(&s->lex, ".visible") && !lex_take(&s->lex, ".weak") &&
             !lex_take(&s->lex, ".common"))
      break;
  }
  if (lex_take(&s->lex, ".func"))
    parse_function(s, is_extern);
  else if (!is_extern && lex_take(&s->lex, ".entry"))
    entry(s);
  else if (!module_variable(s, is_extern))
    lex_fail(&s->lex, "a directive of the module");
}

static void
module_item(Parse *s)
{
  if (lex_is(&s->lex, ".file") || lex_is(&s->lex, ".loc")) {
    lex_skip_line(&s->lex);
  } else if (lex_take(&s->lex, ".section")) {
    while (!lex_is(&s->lex, "{") && s->lex.now.kind != TK_END)
      lex_next(&s->lex);
    lex_skip_braces(&s->lex);
  } else if (lex_take(&s->lex, ".pragma")) {
    lex_skip_statement(&s->lex);
  } else if (lex_take(&s->lex, ".alias")) {
    parse_alias(s);
  } else {
    linkage(s);
  }
}

static void
module(Parse *s)
{
  lex_start(&s->lex, s->ptx);
  lex_need(&s->lex, ".version");
  s->ptx->version = version_number(s);
  lex_need(&s->lex, ".target");
  target(s);
  if (lex_take(&s->lex, ".address_size") && lex_int(&s->lex, 64) != 64)
    ptx_fail(s->ptx, s->lex.now.line, "only addresses of 64 bits are emulated");
  while (s->lex.now.kind != TK_END)
    module_item(s);
}

void
ptx_index(Ptx *p, const char *text, size_t n)
{
  p->text = arena_strndup(p->arena, text, n);
  p->n_lines = p->text ? 1 : 0;
  if (!p->text)
    return;
  for (const char *c = p->text; *c; c++)
    p->n_lines += *c == '\n';
  p->lines = NEW_N(p->arena, const char *, p->n_lines + 1);
  int line = 1;
  if (!p->lines) {
    p->text = NULL;
    return;
  }
  p->lines[1] = p->text;
  for (const char *c = p->text; *c; c++)
    if (*c == '\n')
      p->lines[++line] = c + 1;
}

static void
parse_all(Ptx *p, const char *text, size_t n)
{
  Parse *s = NEW(p->arena, Parse);
  s->ptx = p;
  ptx_index(p, text, n);
  module(s);
}

bool
ptx_parse(Ptx *p, const char *text, size_t n)
{
  jmp_buf fail;
  p->fail = &fail;
  arena_catch(p->arena, &fail);
  int why = setjmp(fail);
  if (!why)
    parse_all(p, text, n);
  p->no_memory = why == 1;
  if (p->no_memory)
    snprintf(p->error, sizeof p->error, "out of memory\n");
  p->fail = NULL;
  arena_catch(p->arena, NULL);
  return !why;
}
