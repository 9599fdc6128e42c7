#include "emulator/ptx/parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const TypeInfo type_info[TYPE_COUNT] = {
#define X(id, name, bits, class) {name, bits, class},
    PTX_TYPES(X)
#undef X
};

const SpecialInfo special_info[SPECIAL_COUNT] = {
#define X(id, name, bits) {name, bits},
    PTX_SPECIALS(X)
#undef X
};

enum { MAX_SHARED = 1 << 20, MAX_BYTES = 1 << 30 };

int
type_find(const char *name, int n)
{
  for (int i = 0; i < TYPE_COUNT; i++)
    if ((int)strlen(type_info[i].name) == n && !memcmp(type_info[i].name, name, (size_t)n))
      return i;
  return -1;
}

const char *
ptx_line(const Ptx *p, int line, int *n)
{
  *n = 0;
  if (line < 1 || line > p->n_lines)
    return "";
  const char *s = p->lines[line], *e = s;
  while (*s == ' ' || *s == '\t')
    s++;
  for (e = s; *e && *e != '\n' && *e != '\r'; e++)
    ;
  while (e > s && (e[-1] == ' ' || e[-1] == '\t'))
    e--;
  *n = (int)(e - s);
  return s;
}

void
ptx_fail(Ptx *p, int line, const char *fmt, ...)
{
  char why[300];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(why, sizeof why, fmt, ap);
  va_end(ap);
  int n;
  const char *text = ptx_line(p, line, &n);
  snprintf(p->error, sizeof p->error, "ptx:%d: error: %s\n    %.*s\n", line, why,
           n > 150 ? 150 : n, text);
  longjmp(*p->fail, 2);
}

Type
parse_type(Parse *s, const char *what)
{
  const Token *t = &s->lex.now;
  int type = t->kind == TK_DIRECTIVE ? type_find(t->p + 1, t->n - 1) : -1;
  if (type < 0)
    lex_fail(&s->lex, what);
  lex_next(&s->lex);
  return (Type)type;
}

uint32_t
parse_align(Parse *s)
{
  int line = s->lex.now.line;
  uint32_t a = (uint32_t)lex_int(&s->lex, 4096);
  if (!a || (a & (a - 1)))
    ptx_fail(s->ptx, line, ".align needs a power of two");
  return a;
}

/* ---- variables ---- */

typedef struct Init {
  Var *var;
  uint64_t at, cap; /* cap: bytes that there is room for */
  uint32_t unit;
} Init;

/* A variable or function, its generic address, and more: all of it, or what a mask of 8
 * bits leaves (PTX ISA, "Initializers"). */
static void
init_symbol(Parse *s, Init *in, uint64_t mask)
{
  Patch *p = NEW(s->ptx->arena, Patch);
  p->line = s->lex.now.line;
  p->generic = lex_take(&s->lex, "generic");
  if (p->generic)
    lex_need(&s->lex, "(");
  p->name = lex_name(&s->lex);
  if (p->generic)
    lex_need(&s->lex, ")");
  p->at = in->at;
  p->mask = mask;
  p->bytes = in->unit;
  p->add = parse_offset(s);
  if (in->unit != (mask ? 1 : 8))
    ptx_fail(s->ptx, p->line,
             mask ? "a mask needs an element of 8 bits"
                  : "an address needs an element of 64 bits");
  p->next = in->var->patches;
  in->var->patches = p;
}

static uint64_t
init_bits(Parse *s, const Var *v)
{
  int line = s->lex.now.line;
  Constant c = parse_constant(s, 0);
  bool is_float = type_info[v->type].class == 'f';
  if (is_float != (c.kind != TK_INT))
    ptx_fail(s->ptx, line, "%s cannot initialise .%s", is_float ? "an integer" : "a float",
             type_info[v->type].name);
  if (is_float && (type_info[v->type].bits < 32 || type_info[v->type].bits == 32) &&
      v->type != T_F32)
    ptx_fail(s->ptx, line, "a float cannot initialise .%s", type_info[v->type].name);
  if (c.kind == TK_FLOAT64 && v->type == T_F32) {
    double d;
    memcpy(&d, &c.bits, 8);
    float f = (float)d;
    c.bits = 0;
    memcpy(&c.bits, &f, 4);
  }
  return c.bits;
}

/* 0xff00(symbol) */
static bool
masked_symbol(Parse *s, Init *in)
{
  Token t = s->lex.now;
  const char *p = s->lex.p;
  while (p < s->lex.end && (*p == ' ' || *p == '\t'))
    p++;
  if (t.kind != TK_INT || p == s->lex.end || *p != '(')
    return false;
  int low = t.bits ? __builtin_ctzll(t.bits) : 1;
  if (low % 8 || t.bits >> low != 0xff)
    ptx_fail(s->ptx, t.line, "the mask of an address is one byte of it");
  lex_next(&s->lex);
  lex_need(&s->lex, "(");
  init_symbol(s, in, t.bits);
  lex_need(&s->lex, ")");
  return true;
}

/* What is given, not all that a large variable has. */
static void
init_number(Parse *s, Init *in, uint64_t bits)
{
  Var *v = in->var;
  if (in->at + in->unit > in->cap) {
    uint64_t cap = 2 * in->cap + 64;
    uint8_t *more = NEW_N(s->ptx->arena, uint8_t, cap);
    if (in->cap)
      memcpy(more, v->init, in->cap);
    v->init = more;
    in->cap = cap;
  }
  memcpy(v->init + in->at, &bits, in->unit);
  v->init_bytes = in->at + in->unit;
}

static void
init_value(Parse *s, Init *in, int depth)
{
  if (depth < 4 && lex_take(&s->lex, "{")) {
    while (!lex_is(&s->lex, "}")) {
      init_value(s, in, depth + 1);
      if (!lex_take(&s->lex, ","))
        break;
    }
    lex_need(&s->lex, "}");
    return;
  }
  if (in->at + in->unit > in->var->bytes)
    ptx_fail(s->ptx, s->lex.now.line, "more initial values than %s has room for",
             in->var->name);
  if (s->lex.now.kind == TK_NAME) {
    init_symbol(s, in, 0);
  } else if (!masked_symbol(s, in)) {
    init_number(s, in, init_bits(s, in->var));
  }
  in->at += in->unit;
}

static void
initialise(Parse *s, Var *v)
{
  if (v->space != SPACE_GLOBAL && v->space != SPACE_CONST)
    ptx_fail(s->ptx, v->line, "only .global and .const may have initial values");
  Init in = {v, 0, 0, type_info[v->type].bits / 8u};
  init_value(s, &in, 0);
}

static void
dimensions(Parse *s, Var *v)
{
  bool first = true;
  while (lex_take(&s->lex, "[")) {
    uint64_t n = 0;
    if (!lex_is(&s->lex, "]"))
      n = lex_int(&s->lex, MAX_BYTES);
    else if (!first || !(v->is_extern || v->space == SPACE_PARAM))
      ptx_fail(s->ptx, v->line, "only .extern arrays may leave their size open");
    lex_need(&s->lex, "]");
    v->bytes *= n;
    if (v->bytes > MAX_BYTES)
      ptx_fail(s->ptx, v->line, "%s is too large", v->name);
    first = false;
  }
}

/* .ptr .global .align 16: what the parameter points to; a promise nobody reads. */
static void
pointer_hints(Parse *s)
{
  if (!lex_take(&s->lex, ".ptr"))
    return;
  while (s->lex.now.kind == TK_DIRECTIVE) {
    if (lex_take(&s->lex, ".align"))
      parse_align(s);
    else if (!lex_take(&s->lex, ".global") && !lex_take(&s->lex, ".shared") &&
             !lex_take(&s->lex, ".const") && !lex_take(&s->lex, ".local"))
      lex_fail(&s->lex, "a state space");
  }
}

/* .attribute(.managed): the host reaches it too. */
static void
variable_attributes(Parse *s, Var *v)
{
  if (!lex_take(&s->lex, ".attribute"))
    return;
  if (v->space != SPACE_GLOBAL || s->ast)
    ptx_fail(s->ptx, v->line, ".attribute is for .global variables of the module");
  lex_need(&s->lex, "(");
  lex_need(&s->lex, ".managed");
  lex_need(&s->lex, ")");
  v->managed = true;
}

Var *
parse_var(Parse *s, Space space, bool is_extern)
{
  Var *v = NEW(s->ptx->arena, Var);
  v->space = space;
  v->is_extern = is_extern;
  v->line = s->lex.now.line;
  variable_attributes(s, v);
  if (lex_take(&s->lex, ".align"))
    v->align = parse_align(s);
  uint32_t vector = lex_take(&s->lex, ".v4") ? 4 : lex_take(&s->lex, ".v2") ? 2 : 1;
  v->type = parse_type(s, "a type");
  if (v->type == T_U16X2 || v->type == T_S16X2)
    ptx_fail(s->ptx, v->line, "a variable cannot be .%s", type_info[v->type].name);
  if (v->type == T_PRED)
    ptx_fail(s->ptx, v->line, "a predicate cannot be a variable");
  if (space == SPACE_PARAM)
    pointer_hints(s);
  v->bytes = type_info[v->type].bits / 8u * vector;
  if (!v->align)
    v->align = (uint32_t)v->bytes;
  v->name = lex_name(&s->lex);
  dimensions(s, v);
  if (lex_take(&s->lex, "="))
    initialise(s, v);
  return v;
}

static bool
is_named(const Var *v, const char *name, int n)
{
  return (int)strlen(v->name) == n && !memcmp(v->name, name, (size_t)n);
}

static Var *
find_formal(const Proto *p, const char *name, int n)
{
  for (int i = 0; i < p->out.n + p->in.n; i++) {
    Var *v = i < p->out.n ? p->out.at[i].var : p->in.at[i - p->out.n].var;
    if (v && is_named(v, name, n))
      return v;
  }
  return NULL;
}

Var *
parse_find_var(Parse *s, const char *name, int n)
{
  for (int scope = s->scope; s->ast && s->ast->scopes.n; scope = s->ast->scopes.at[scope]) {
    for (Var *v = s->scope_vars.at[scope]; v; v = v->next)
      if (is_named(v, name, n))
        return v;
    if (!scope)
      break;
  }
  for (int i = 0; s->ast && i < s->ast->params.n; i++)
    if (is_named(s->ast->params.at[i], name, n))
      return s->ast->params.at[i];
  Var *formal = s->ast ? find_formal(&s->ast->proto, name, n) : NULL;
  if (formal)
    return formal;
  for (int i = 0; i < s->ptx->vars.n; i++)
    if (is_named(s->ptx->vars.at[i], name, n))
      return s->ptx->vars.at[i];
  return NULL;
}

/* ---- entries ---- */

static void
three(Parse *s, uint32_t n[3])
{
  n[0] = n[1] = n[2] = 1;
  for (int i = 0; i < 3; i++) {
    n[i] = (uint32_t)lex_int(&s->lex, 65535);
    if (!lex_take(&s->lex, ","))
      return;
  }
}

static void
cluster_directive(Parse *s, Ast *a)
{
  three(s, a->cluster);
  for (int i = 0; i < 3; i++)
    if (!a->cluster[i])
      ptx_fail(s->ptx, a->line, "a cluster without CTAs");
}

void
parse_directives(Parse *s, Ast *a)
{
  for (;;) {
    if (lex_take(&s->lex, ".maxntid"))
      three(s, a->maxntid);
    else if (lex_take(&s->lex, ".reqntid"))
      three(s, a->reqntid);
    else if (lex_take(&s->lex, ".minnctapersm") || lex_take(&s->lex, ".maxnctapersm"))
      a->minnctapersm = (uint32_t)lex_int(&s->lex, 64);
    else if (lex_take(&s->lex, ".maxnreg"))
      a->maxnreg = (uint32_t)lex_int(&s->lex, 1024);
    else if (lex_take(&s->lex, ".reqnctapercluster"))
      cluster_directive(s, a);
    else if (lex_take(&s->lex, ".maxclusterrank"))
      a->max_rank = (uint32_t)lex_int(&s->lex, 64);
    else if (lex_take(&s->lex, ".explicitcluster"))
      a->explicit_cluster = true;
    else if (lex_take(&s->lex, ".pragma"))
      lex_skip_statement(&s->lex);
    else if (lex_take(&s->lex, ".blocksareclusters"))
      ptx_fail(s->ptx, a->line, "grids of clusters (.blocksareclusters) are not emulated");
    else if (!lex_take(&s->lex, ".noreturn"))
      return;
  }
}

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
