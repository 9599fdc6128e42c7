#include "emulator/ptx/parse.h"

#include <string.h>

/* ---- registers ---- */

enum { MAX_REGS = 1000000 };

static Reg *
in_decl(const RegDecl *d, const char *name, int n)
{
  if (n < d->name_len || memcmp(d->name, name, (size_t)d->name_len))
    return NULL;
  if (d->n < 0)
    return n == d->name_len ? d->regs : NULL;
  int k = 0, i = d->name_len;
  if (i == n || (name[i] == '0' && n > i + 1))
    return NULL;
  for (; i < n; i++) {
    if (name[i] < '0' || name[i] > '9' || k > MAX_REGS)
      return NULL;
    k = k * 10 + name[i] - '0';
  }
  return k < d->n ? &d->regs[k] : NULL;
}

static Reg *
find_reg(Parse *s, const char *name, int n)
{
  for (int scope = s->scope;; scope = s->ast->scopes.at[scope]) {
    for (RegDecl *d = s->decls.at[scope]; d; d = d->next) {
      Reg *r = in_decl(d, name, n);
      if (r) {
        if (!r->name)
          r->name = arena_strndup(s->ptx->arena, name, (size_t)n);
        return r;
      }
    }
    if (!scope)
      return NULL;
  }
}

static void
declare_one(Parse *s, Type type)
{
  RegDecl *d = NEW(s->ptx->arena, RegDecl);
  d->name = lex_name(&s->lex);
  d->name_len = (int)strlen(d->name);
  d->n = -1;
  if (lex_take(&s->lex, "<")) {
    d->n = (int)lex_int(&s->lex, MAX_REGS);
    lex_need(&s->lex, ">");
  }
  int n = d->n < 0 ? 1 : d->n;
  d->regs = NEW_N(s->ptx->arena, Reg, n);
  for (int i = 0; i < n; i++)
    d->regs[i] = (Reg){.type = type, .row = -1};
  d->next = s->decls.at[s->scope];
  s->decls.at[s->scope] = d;
  *vec_push(s->ptx->arena, &s->ast->regs) = (RegSpan){d->regs, n};
}

static void
declare_regs(Parse *s)
{
  Type type = parse_type(s, "the type of registers");
  if (type == T_TF32 || type == T_U16X2 || type == T_S16X2)
    ptx_fail(s->ptx, s->lex.now.line, "registers cannot be .%s", type_info[type].name);
  do
    declare_one(s, type);
  while (lex_take(&s->lex, ","));
  lex_need(&s->lex, ";");
}

/* ---- operands ---- */

static int
find_special(const Token *t)
{
  for (int i = 0; i < SPECIAL_COUNT; i++)
    if ((int)strlen(special_info[i].name) == t->n &&
        !memcmp(special_info[i].name, t->p, (size_t)t->n))
      return i;
  return -1;
}

static void
named(Parse *s, Opnd *o)
{
  Token t = s->lex.now;
  lex_next(&s->lex);
  if (t.n == 1 && *t.p == '_') {
    o->kind = O_SINK;
  } else if ((o->reg = find_reg(s, t.p, t.n)) != NULL) {
    o->kind = O_REG;
    o->reg->named++;
  } else if (*t.p == '%' && (o->special = find_special(&t)) >= 0) {
    o->kind = O_SPECIAL;
  } else if (t.n == 7 && !memcmp(t.p, "WARP_SZ", 7)) {
    o->kind = O_INT;
    o->bits = 32;
  } else if ((o->var = parse_find_var(s, t.p, t.n)) != NULL) {
    o->kind = O_VAR;
  } else if ((o->func = ptx_func(s->ptx, t.p, t.n)) != NULL) {
    o->kind = O_FUNC;
  } else if (*t.p == '%') {
    ptx_fail(s->ptx, t.line, "%.*s is not declared", t.n, t.p);
  } else {
    o->kind = O_LABEL;
    o->label = arena_strndup(s->ptx->arena, t.p, (size_t)t.n);
  }
}

static void operand(Parse *, Opnd *);
static void vector(Parse *, Opnd *);

/* [map, {x, y}]: a tensor map and coordinates in it. */
static void
coordinates(Parse *s, Opnd *o)
{
  if (!lex_take(&s->lex, "{"))
    lex_fail(&s->lex, "coordinates");
  vector(s, o);
  o->kind = O_ADDR;
}

static void
address(Parse *s, Opnd *o)
{
  o->kind = O_ADDR;
  if (s->lex.now.kind == TK_INT) {
    o->off = (int64_t)parse_constant(s, 0).bits;
  } else {
    int line = s->lex.now.line;
    Opnd base = {0};
    if (s->lex.now.kind != TK_NAME)
      lex_fail(&s->lex, "an address");
    named(s, &base);
    if (base.kind != O_REG && base.kind != O_VAR)
      ptx_fail(s->ptx, line, "%s is not declared", base.label ? base.label : "the address");
    o->reg = base.reg;
    o->var = base.var;
    if (lex_take(&s->lex, ","))
      coordinates(s, o);
    else
      o->off = parse_offset(s);
  }
  lex_need(&s->lex, "]");
}

static void
vector(Parse *s, Opnd *o)
{
  VEC(Opnd) v = {0};
  o->kind = O_VEC;
  do {
    if (lex_is(&s->lex, "{"))
      lex_fail(&s->lex, "an element");
    operand(s, vec_push(s->ptx->arena, &v));
  } while (lex_take(&s->lex, ","));
  lex_need(&s->lex, "}");
  o->at = v.at;
  o->n = v.n;
}

/* ( … ) of a call; it may be empty. */
static void
list(Parse *s, Opnd *o)
{
  VEC(Opnd) v = {0};
  o->kind = O_LIST;
  if (!lex_take(&s->lex, ")")) {
    do {
      if (lex_is(&s->lex, "("))
        lex_fail(&s->lex, "an argument");
      operand(s, vec_push(s->ptx->arena, &v));
    } while (lex_take(&s->lex, ","));
    lex_need(&s->lex, ")");
  }
  o->at = v.at;
  o->n = v.n;
}

static void
number(Parse *s, Opnd *o, char before)
{
  Constant c = parse_constant(s, before);
  o->bits = c.bits;
  o->kind = c.kind == TK_INT ? O_INT : c.kind == TK_FLOAT32 ? O_FLOAT32 : O_FLOAT64;
}

/* x[2]: the address of an element. */
static void
element(Parse *s, Opnd *o)
{
  o->kind = O_ADDR;
  o->off = (int64_t)lex_int(&s->lex, INT32_MAX) * (type_info[o->var->type].bits / 8);
  lex_need(&s->lex, "]");
}

/* Does a constant start here? */
static bool
is_constant(const Parse *s)
{
  TokenKind k = s->lex.now.kind;
  return k == TK_INT || k == TK_FLOAT32 || k == TK_FLOAT64 || lex_is(&s->lex, "(") ||
         lex_is(&s->lex, "~") || lex_is(&s->lex, "+") || lex_is(&s->lex, "-") ||
         lex_is(&s->lex, "!");
}

/* The operands of video instructions: a sign before a register, a selector behind it. */
static void
register_or_name(Parse *s, Opnd *o, bool minus)
{
  Token from = s->lex.now;
  named(s, o);
  if (minus && o->kind != O_REG)
    ptx_fail(s->ptx, from.line, "'-' is not allowed on %.*s", from.n, from.p);
  o->minus = minus;
  Token t = s->lex.now;
  if (o->kind != O_REG || t.kind != TK_DIRECTIVE || t.n < 3 ||
      (t.p[1] != 'b' && t.p[1] != 'h'))
    return;
  o->select = t.p + 1;
  o->n_select = t.n - 1;
  lex_next(&s->lex);
}

static void
operand(Parse *s, Opnd *o)
{
  if (lex_take(&s->lex, "[")) {
    address(s, o);
    return;
  }
  if (lex_take(&s->lex, "{")) {
    vector(s, o);
    return;
  }
  if (s->call && lex_take(&s->lex, "(")) {
    list(s, o);
    return;
  }
  bool no = lex_take(&s->lex, "!"), minus = !no && lex_take(&s->lex, "-");
  if (is_constant(s)) {
    number(s, o, no ? '!' : minus ? '-' : 0);
  } else if (s->lex.now.kind == TK_NAME) {
    register_or_name(s, o, minus);
    o->negated |= no;
  } else {
    lex_fail(&s->lex, "an operand");
  }
  if (o->kind == O_VAR && lex_take(&s->lex, "["))
    element(s, o);
  else if (o->kind == O_VAR)
    o->off = parse_offset(s);
  if (lex_take(&s->lex, "|")) {
    o->second = NEW(s->ptx->arena, Opnd);
    operand(s, o->second);
  }
}

/* ---- statements ---- */

static int
label_chain(const char *name, int scope)
{
  uint32_t h = 2166136261u ^ (uint32_t)scope; /* FNV-1a */
  for (; *name; name++)
    h = (h ^ (unsigned char)*name) * 16777619u;
  return (int)(h % LABEL_CHAINS);
}

const Label *
ptx_label(const Ast *a, const char *name, int scope)
{
  for (int i = a->label_chains[label_chain(name, scope)]; i; i = a->labels.at[i - 1].next)
    if (a->labels.at[i - 1].scope == scope && !strcmp(a->labels.at[i - 1].name, name))
      return &a->labels.at[i - 1];
  return NULL;
}

static void
add_label(Parse *s, const char *name)
{
  Ast *a = s->ast;
  int *chain = &a->label_chains[label_chain(name, s->scope)];
  *vec_push(s->ptx->arena, &a->labels) =
      (Label){.name = name, .scope = s->scope, .stmt = a->stmts.n, .next = *chain};
  *chain = a->labels.n;
}

static void
names(Parse *s, Branches *b)
{
  VEC(const char *) to = {0};
  do
    *vec_push(s->ptx->arena, &to) = lex_name(&s->lex);
  while (lex_take(&s->lex, ","));
  b->labels = to.at;
  b->n = to.n;
}

/* (results) _ (parameters) .noreturn: the name says nothing. */
static void
prototype(Parse *s, Branches *b)
{
  parse_formals(s, &b->proto, true);
  lex_name(&s->lex);
  parse_formals(s, &b->proto, false);
  lex_take(&s->lex, ".noreturn");
}

static void
label(Parse *s, const Token *t)
{
  Ast *a = s->ast;
  Branches b = {.name = arena_strndup(s->ptx->arena, t->p, (size_t)t->n),
                .scope = s->scope,
                .line = t->line};
  bool calls = lex_take(&s->lex, ".calltargets");
  if (calls || lex_take(&s->lex, ".branchtargets")) {
    b.kind = calls ? LIST_CALLS : LIST_BRANCHES;
    names(s, &b);
  } else if (lex_take(&s->lex, ".callprototype")) {
    b.kind = LIST_PROTO;
    prototype(s, &b);
  } else {
    if (ptx_label(a, b.name, s->scope))
      ptx_fail(s->ptx, t->line, "a second label %s", b.name);
    add_label(s, b.name);
    return;
  }
  lex_need(&s->lex, ";");
  *vec_push(s->ptx->arena, &a->branches) = b;
}

static void
guard(Parse *s, Stmt *st)
{
  st->guard_not = lex_take(&s->lex, "!");
  Token t = s->lex.now;
  st->guard = t.kind == TK_NAME ? find_reg(s, t.p, t.n) : NULL;
  if (!st->guard || st->guard->type != T_PRED)
    lex_fail(&s->lex, "a predicate register");
  lex_next(&s->lex);
}

static void
statement(Parse *s)
{
  Stmt st = {.line = s->lex.now.line, .scope = s->scope};
  if (lex_take(&s->lex, "@"))
    guard(s, &st);
  if (s->lex.now.kind != TK_NAME)
    lex_fail(&s->lex, "an instruction");
  Token first = s->lex.now;
  st.line = first.line;
  st.op = lex_mnemonic(&s->lex, &st.op_len);
  if (!st.guard && st.op_len == first.n && lex_take(&s->lex, ":")) {
    label(s, &first);
    return;
  }
  VEC(Opnd) v = {0};
  s->call = st.op_len >= 4 && !memcmp(st.op, "call", 4);
  if (!lex_is(&s->lex, ";")) {
    do
      operand(s, vec_push(s->ptx->arena, &v));
    while (lex_take(&s->lex, ","));
  }
  lex_need(&s->lex, ";");
  st.opnds = v.at;
  st.n = v.n;
  *vec_push(s->ptx->arena, &s->ast->stmts) = st;
}

static void
body_variable(Parse *s, Space space)
{
  Var *v = parse_var(s, space, false);
  v->scope = s->scope;
  v->in_frame = space == SPACE_PARAM;
  lex_need(&s->lex, ";");
  v->next = s->scope_vars.at[s->scope];
  s->scope_vars.at[s->scope] = v;
  *vec_push(s->ptx->arena, &s->ast->locals) = v;
}

static int
open_scope(Parse *s, int parent)
{
  int id = s->ast->scopes.n;
  *vec_push(s->ptx->arena, &s->ast->scopes) = parent;
  *vec_push(s->ptx->arena, &s->decls) = NULL;
  *vec_push(s->ptx->arena, &s->scope_vars) = NULL;
  return id;
}

static void
item(Parse *s)
{
  Lex *x = &s->lex;
  if (x->now.kind != TK_DIRECTIVE)
    statement(s);
  else if (lex_take(x, ".reg"))
    declare_regs(s);
  else if (lex_take(x, ".local"))
    body_variable(s, SPACE_LOCAL);
  else if (lex_take(x, ".shared"))
    body_variable(s, SPACE_SHARED);
  else if (lex_take(x, ".param"))
    body_variable(s, SPACE_PARAM);
  else if (lex_is(x, ".loc") || lex_is(x, ".file"))
    lex_skip_line(x);
  else if (lex_take(x, ".pragma"))
    lex_skip_statement(x);
  else
    lex_fail(x, "an instruction");
}

void
parse_body(Parse *s)
{
  s->decls.n = s->scope_vars.n = 0;
  s->scope = open_scope(s, 0);
  s->decls.at[0] = s->formals;
  for (const RegDecl *d = s->formals; d; d = d->next)
    *vec_push(s->ptx->arena, &s->ast->regs) = (RegSpan){d->regs, 1};
  s->formals = NULL;
  s->ast->has_body = true;
  lex_need(&s->lex, "{");
  for (int depth = 1; depth;) {
    s->ast->end_line = s->lex.now.line;
    if (s->lex.now.kind == TK_END)
      ptx_fail(s->ptx, s->ast->line, "the body of %s has no '}'", s->ast->name);
    if (lex_take(&s->lex, "{")) {
      s->scope = open_scope(s, s->scope);
      depth++;
    } else if (lex_take(&s->lex, "}")) {
      s->scope = s->ast->scopes.at[s->scope];
      depth--;
    } else {
      item(s);
    }
  }
}
