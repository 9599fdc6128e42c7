/* What is declared: types, variables and their values, directives of entries and functions,
 * formal parameters. */
#include "emulator/ptx/parse.h"

#include <string.h>

enum { MAX_BYTES = 1 << 30 };

int
type_find(const char *name, int n)
{
  for (int i = 0; i < TYPE_COUNT; i++)
    if ((int)strlen(type_info[i].name) == n && !memcmp(type_info[i].name, name, (size_t)n))
      return i;
  return -1;
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

/* ---- formal parameters ---- */

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
