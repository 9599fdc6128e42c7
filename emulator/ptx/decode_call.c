/* Functions: which ones a kernel may call, calls and returns.
 *
 * A function is decoded once for each kernel that may call it, behind the entry's
 * instructions. Its registers are rows of its own; its .local and .param variables lie in a
 * frame of the thread's local memory, whose start is a row as well. PTX ISA, "Calling
 * functions", "Stack manipulation". */
#include "emulator/ptx/decode.h"
#include "emulator/exec/lanes.h"
#include "emulator/exec/steps.h"

#include <string.h>

/* ---- which functions ---- */

static void
want(Dec *d, const Ast *a)
{
  a = dec_aliased(a);
  if (!a->has_body || d->k->function_of[a->number] >= 0)
    return;
  d->k->function_of[a->number] = d->functions.n;
  vec_push(d->ptx->arena, &d->functions)->ast = a;
}

static void
want_operand(Dec *d, const Opnd *o)
{
  if (o->kind == O_FUNC)
    want(d, o->func);
  for (int i = 0; i < o->n; i++)
    want_operand(d, &o->at[i]);
}

/* ( results ), the function, ( arguments ), what it may be: all but it may be left out. */
typedef struct Parts {
  const Opnd *out, *to, *in, *list;
} Parts;

static Parts
parts_of(const Stmt *st)
{
  Parts p = {0};
  int i = 0;
  if (i < st->n && st->opnds[i].kind == O_LIST)
    p.out = &st->opnds[i++];
  if (i < st->n)
    p.to = &st->opnds[i++];
  if (i < st->n && st->opnds[i].kind == O_LIST)
    p.in = &st->opnds[i++];
  if (i < st->n)
    p.list = &st->opnds[i++];
  return p;
}

static bool
is_indirect(const Stmt *st)
{
  if (st->op_len < 4 || memcmp(st->op, "call", 4))
    return false;
  Parts p = parts_of(st);
  return p.to && p.to->kind != O_FUNC;
}

/* Whoever calls through a register may call any function of the module. */
static void
want_those_of(Dec *d, const Ast *a)
{
  for (int i = 0; i < a->stmts.n; i++) {
    const Stmt *st = &a->stmts.at[i];
    for (int j = 0; j < st->n; j++)
      want_operand(d, &st->opnds[j]);
    for (int j = 0; is_indirect(st) && j < d->ptx->funcs.n; j++)
      want(d, d->ptx->funcs.at[j]);
  }
}

void
dec_find_functions(Dec *d)
{
  int n = d->ptx->funcs.n;
  d->k->function_of = NEW_N(d->ptx->arena, int, n + 1);
  for (int i = 0; i < n; i++)
    d->k->function_of[i] = -1;
  want_those_of(d, d->ast);
  for (int i = 0; i < n && d->ast->is_func; i++) /* a stand-in: see decode_unused */
    if (!d->ptx->funcs.at[i]->used)
      want(d, d->ptx->funcs.at[i]);
  for (int i = 0; i < d->functions.n; i++)
    want_those_of(d, d->functions.at[i].ast);
}

/* ---- arguments and results ---- */

uint32_t
dec_formal_bytes(const Formal *f)
{
  return f->var ? (uint32_t)f->var->bytes : (type_info[f->reg->type].bits + 7u) / 8;
}

static Type
formal_type(const Formal *f)
{
  return f->var ? f->var->type : f->reg->type;
}

/* PTX ISA, call: a variable must have the size of the parameter, a register its type. */
static Place
place_of(Dec *d, const Formal *f, const Opnd *o, bool written)
{
  Place p = {.bytes = dec_formal_bytes(f)};
  if (o->kind == O_VAR && o->var->in_frame) {
    if (o->var->bytes != p.bytes)
      dec_fail(d, "%s has %llu bytes, the parameter %u", o->var->name,
               (unsigned long long)o->var->bytes, p.bytes);
    p.at = (uint32_t)o->var->offset;
    return p;
  }
  if (written && o->kind == O_SINK) {
    p.row = ROW_SINK;
    return p;
  }
  Type t = formal_type(f);
  if (p.bytes != type_info[t].bits / 8u || p.bytes > 8)
    dec_fail(d, "expected a variable in .param as argument");
  p.row = written ? dec_dest(d, o, t, false) : dec_source(d, o, t, false);
  if (p.row == ROW_ZERO) /* the number 0 */
    dec_lane(d, L_MOV, T_B64, p.row = dec_temp(d, true), true, ROW_ZERO, 0);
  return p;
}

static Place *
places_of(Dec *d, const Formal *f, int n, const Opnd *list, bool written)
{
  if ((list ? list->n : 0) != n)
    dec_fail(d, "the function has %d %s, the call %d", n,
             written ? "results" : "parameters", list ? list->n : 0);
  Place *p = NEW_N(d->ptx->arena, Place, n + 1);
  uint32_t all = 0;
  for (int i = 0; i < n; i++) {
    p[i] = place_of(d, &f[i], &list->at[i], written);
    all += (p[i].bytes + 15) / 16 * 16;
  }
  d->k->most_args = all > d->k->most_args ? all : d->k->most_args;
  return p;
}

/* ---- call ---- */

static const Branches *
find_list(Dec *d, const char *name)
{
  for (int scope = d->st->scope;; scope = d->ast->scopes.at[scope]) {
    for (int i = 0; i < d->ast->branches.n; i++) {
      const Branches *b = &d->ast->branches.at[i];
      if (b->kind != LIST_BRANCHES && b->scope == scope && !strcmp(b->name, name))
        return b;
    }
    if (!scope)
      dec_fail(d, "the prototype or list of functions %s is not there", name);
  }
}

/* What is known of a function that a register names. */
static const Proto *
proto_of(Dec *d, const Opnd *list)
{
  if (!list || list->kind != O_LABEL)
    dec_fail(d, "expected a prototype or list of functions as operand");
  const Branches *b = find_list(d, list->label);
  const Proto *p = &b->proto;
  for (int i = 0; i < b->n; i++) {
    const Ast *a = ptx_func(d->ptx, b->labels[i], (int)strlen(b->labels[i]));
    if (!a)
      dec_fail(d, "%s is no function", b->labels[i]);
    p = &a->proto;
  }
  return p;
}

static Insn *
emit_call(Dec *d, Step *step, const Parts *p, const Proto *proto, int function)
{
  CallSite site = {.function = function,
                   .base = d->function ? d->function->base : ROW_ZERO,
                   .n_in = proto->in.n,
                   .n_out = proto->out.n};
  site.in = places_of(d, proto->in.at, proto->in.n, p->in, false);
  site.out = places_of(d, proto->out.at, proto->out.n, p->out, true);
  Insn *i = dec_step(d, step);
  i->imm = d->sites.n;
  i->call.uni = mod_is(&d->m, M_UNI);
  *vec_push(d->ptx->arena, &d->sites) = site;
  return i;
}

static void
add_edge(Dec *d, int to)
{
  int from = d->function ? (int)(d->function - d->functions.at) : -1;
  *vec_push(d->ptx->arena, &d->edges) = (CallEdge){from, to};
}

static void
call_register(Dec *d, const Parts *p)
{
  const Proto *proto = proto_of(d, p->list);
  bool wide = type_info[p->to->reg->type].bits == 64;
  uint32_t target = dec_source(d, p->to, wide ? T_U64 : T_U32, false);
  Insn *i = emit_call(d, step_call, p, proto, -1);
  i->a = target;
  i->mem.addr64 = wide;
  add_edge(d, -1);
}

/* Functions that every device has; the sizes of their parameters and of the result. */
typedef struct System {
  const char *name;
  Step *step; /* NULL: not emulated */
  uint8_t in[6], out;
} System;

static const System systems[] = {
    {"vprintf", step_printf, {8, 8}, 4},
    {"__assertfail", step_assert, {8, 8, 4, 8, 8}, 0},
    {"malloc", NULL, {8}, 8},
    {"free", NULL, {8}, 0},
};

static void
call_system(Dec *d, const Parts *p, const Ast *a)
{
  const System *s = NULL;
  for (size_t i = 0; i < sizeof systems / sizeof *systems; i++)
    if (!strcmp(systems[i].name, a->name))
      s = &systems[i];
  if (!s)
    dec_fail(d, "%s is in another module: there is no linker", a->name);
  if (!s->step)
    dec_fail(d, "%s on the device is not emulated", a->name);
  bool right = a->proto.out.n == (s->out != 0);
  for (int i = 0; i < a->proto.in.n && right; i++)
    right = i < 5 && dec_formal_bytes(&a->proto.in.at[i]) == s->in[i];
  if (!right || s->in[a->proto.in.n] ||
      (s->out && dec_formal_bytes(a->proto.out.at) != s->out))
    dec_fail(d, "%s has other parameters on the device", a->name);
  d->k->meets |= s->step == step_printf; /* texts come in one order */
  emit_call(d, s->step, p, &a->proto, -1);
}

void
build_call(Dec *d)
{
  Parts p = parts_of(d->st);
  if (!p.to || (p.to->kind != O_FUNC && p.to->kind != O_REG))
    dec_fail(d, "expected a function or a register with its address as operand");
  if (p.to->kind == O_REG) {
    call_register(d, &p);
    return;
  }
  const Ast *a = dec_aliased(p.to->func);
  if (p.list)
    dec_fail(d, "too many operands");
  if (!a->has_body) {
    call_system(d, &p, a);
    return;
  }
  int function = d->k->function_of[a->number];
  emit_call(d, step_call, &p, &p.to->func->proto, function);
  add_edge(d, function);
}

void
build_ret(Dec *d)
{
  dec_return(d);
}

/* ---- the stack ---- */

void
build_alloca(Dec *d)
{
  Insn *i = dec_step(d, step_alloca);
  i->d = d->r[0].row;
  i->a = d->r[1].row;
  i->flags |= d->r[0].wide ? F_WIDE : 0;
  i->imm = d->r[2].o ? (int64_t)dec_int(d, d->r[2].o, 1 << 16) : 8;
  if (i->imm & (i->imm - 1) || !i->imm)
    dec_fail(d, "the alignment is no power of two");
  d->k->deep = true;
}

void
build_stack(Dec *d)
{
  Insn *i = dec_step(d, step_stack);
  bool restores = d->form->arg;
  i->stack.restores = restores;
  i->d = restores ? 0 : d->r[0].row;
  i->a = restores ? d->r[0].row : 0;
  i->flags |= d->r[0].wide ? F_WIDE : 0;
  d->k->deep = true;
}
