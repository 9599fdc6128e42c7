#include "emulator/ptx/decode.h"
#include "emulator/check/undefined.h"
#include "emulator/exec/lanes.h"
#include "emulator/exec/steps.h"
#include "emulator/ptx/target.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- forms: the table ---- */

const Form forms[] = {
#define SET(name, members)
#define ON(name, list)
#define FORM(mnemonic, opnds, sm, version, build, arg)                                     \
  {mnemonic, opnds, sm, version, build_##build, (int)(arg)},
#include "emulator/ptx/ops.def"
#undef SET
#undef ON
#undef FORM
};
const int n_forms = sizeof forms / sizeof *forms;

void
dec_fail(Dec *d, const char *fmt, ...)
{
  char why[300];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(why, sizeof why, fmt, ap);
  va_end(ap);
  ptx_fail(d->ptx, d->st ? d->st->line : d->ast->line, "%s", why);
}

static void
need_level(Dec *d, const char *what, int n, int sm, int version)
{
  char words[80];
  if (!target_has(d->ptx->sm, d->ptx->sm_suffix, sm))
    dec_fail(d, "%.*s needs .target %s, the module has sm_%d%.1s", n, what,
             target_words(sm, words, sizeof words), d->ptx->sm, &d->ptx->sm_suffix);
  if (d->ptx->version < version)
    dec_fail(d, "%.*s needs .version %d.%d or higher, the module has %d.%d", n, what,
             version / 10, version % 10, d->ptx->version / 10, d->ptx->version % 10);
}

void
dec_need(Dec *d, const char *what, int target, int version)
{
  need_level(d, what, (int)strlen(what), target, version);
}

/* ---- instructions ---- */

Insn *
dec_emit(Dec *d, InsnKind kind)
{
  Insn *i = vec_push(d->ptx->arena, &d->code);
  i->kind = (uint8_t)kind;
  i->line = d->st ? d->st->line : d->ast->end_line;
  i->guard = (uint16_t)d->guard;
  i->flags = d->st && d->st->guard && d->st->guard_not ? F_GUARD_NOT : 0;
  i->pd = i->pq = PRED_SINK;
  return i;
}

Insn *
dec_step(Dec *d, Step *step)
{
  Insn *i = dec_emit(d, K_STEP);
  i->step = step;
  i->carry = undefined_rule(step);
  i->unit = step == step_select || step == step_bfi || step == step_pred ? UNIT_ALU : UNITS;
  return i;
}

void
dec_list(Dec *d, Insn *i, const uint32_t *dst, int n_d, const uint32_t *src, int n_s)
{
  i->list = (uint32_t)d->lists.n;
  i->n_d = (uint16_t)n_d;
  i->n_s = (uint16_t)n_s;
  for (int j = 0; j < n_d + n_s; j++)
    *vec_push(d->ptx->arena, &d->lists) = j < n_d ? dst[j] : src[j - n_d];
}

/* ---- rows ---- */

static uint32_t
new_row(Dec *d, bool wide, const char *name)
{
  uint32_t row = d->rows;
  d->rows += wide ? 2 : 1;
  *vec_push(d->ptx->arena, &d->row_names) = name;
  *vec_push(d->ptx->arena, &d->row_wide) = wide;
  if (wide) {
    *vec_push(d->ptx->arena, &d->row_names) = NULL;
    *vec_push(d->ptx->arena, &d->row_wide) = false;
  }
  return row;
}

uint32_t
dec_temp(Dec *d, bool wide)
{
  return new_row(d, wide, NULL);
}

uint32_t
dec_temp_pred(Dec *d)
{
  *vec_push(d->ptx->arena, &d->pred_names) = NULL;
  return d->preds++;
}

static uint32_t
constant(Dec *d, uint64_t value, bool wide, int special)
{
  Const **bucket =
      &d->consts[(value * 0x9e3779b97f4a7c15u >> 56) ^ (unsigned)(special & 255)];
  for (Const *c = *bucket; c; c = c->next)
    if (c->value == value && c->wide == wide && c->special == special)
      return c->row;
  Const *c = NEW(d->ptx->arena, Const);
  *c = (Const){value, new_row(d, wide, NULL), (int16_t)special, wide, *bucket};
  *bucket = c;
  *vec_push(d->ptx->arena, &d->fills) = (Fill){c->row, (int16_t)special, wide, value};
  return c->row;
}

uint32_t
dec_const(Dec *d, uint64_t value, bool wide)
{
  return value ? constant(d, value, wide, -1) : ROW_ZERO;
}

uint32_t
dec_special(Dec *d, Special s)
{
  static const struct {
    Special first, last;
    int sm, version;
  } later[] = {{SR_CLUSTERID_X, SR_IS_EXPLICIT_CLUSTER, 90, 78},
               {SR_ENVREG0, SR_ENVREG31, 0, 21},
               {SR_PM4, SR_PM7, 20, 30},
               {SR_PM0_64, SR_PM7_64, 50, 40},
               {SR_AGGR_SMEM, SR_AGGR_SMEM, 90, 81},
               {SR_RESERVED_BEGIN, SR_RESERVED_1, 80, 76},
               {SR_GRAPH_EXEC, SR_GRAPH_EXEC, 50, 80}};
  for (size_t i = 0; i < sizeof later / sizeof *later; i++)
    if (s >= later[i].first && s <= later[i].last)
      need_level(d, special_info[s].name, (int)strlen(special_info[s].name), later[i].sm,
                 later[i].version);
  return constant(d, 0, special_info[s].bits == 64, (int)s);
}

/* 128 bits are two rows of 64, the lower half first. */
static uint32_t
reg_row(Dec *d, Reg *r)
{
  if (r->row < 0) {
    r->row = (int)new_row(d, type_info[r->type].bits >= 64, r->name);
    if (type_info[r->type].bits == 128)
      new_row(d, true, r->name);
  }
  return (uint32_t)r->row;
}

static void
check_plain(Dec *d, const Opnd *o)
{
  if ((o->select || o->minus) && !d->selects)
    dec_fail(d, "a sign or selector is not allowed on this operand");
}

uint32_t
dec_pred(Dec *d, const Opnd *o)
{
  if (o->kind == O_SINK)
    return PRED_SINK;
  if (o->kind == O_INT)
    return o->bits ? PRED_TRUE : PRED_FALSE;
  if (o->kind == O_SPECIAL && o->special == SR_IS_EXPLICIT_CLUSTER) {
    dec_special(d, SR_IS_EXPLICIT_CLUSTER);
    return PRED_CLUSTER;
  }
  if (o->kind != O_REG || o->reg->type != T_PRED)
    dec_fail(d, "expected a predicate as operand");
  check_plain(d, o);
  if (o->reg->row < 0) {
    o->reg->row = (int)d->preds++;
    *vec_push(d->ptx->arena, &d->pred_names) = o->reg->name;
  }
  return (uint32_t)o->reg->row;
}

Type
dec_unsigned(int bits)
{
  return bits == 64 ? T_U64 : bits == 32 ? T_U32 : bits == 16 ? T_U16 : T_U8;
}

/* PTX ISA, "Operand type checking": bits fit all, signed and unsigned each other. */
static bool
fits(Type reg, Type want, bool wider)
{
  const TypeInfo *r = &type_info[reg], *w = &type_info[want];
  if (r->class == 'p' || w->class == 'p')
    return r->class == w->class;
  bool integer = r->class != 'f';
  if (r->bits == 128 && w->bits != 128)
    return false;
  if (wider && integer ? r->bits < w->bits : r->bits != w->bits)
    return false;
  if (r->class == 'b' || w->class == 'b')
    return true;
  if (want == T_TF32)
    return reg == T_F32;
  return r->class == 'f' || w->class == 'f' ? reg == want : true;
}

static void
check_reg(Dec *d, const Opnd *o, Type want, bool wider)
{
  check_plain(d, o);
  if (!fits(o->reg->type, want, wider))
    dec_fail(d, "%s is .%s, the instruction needs .%s here", o->reg->name,
             type_info[o->reg->type].name, type_info[want].name);
}

static uint64_t
narrow_double(Type want, uint64_t bits)
{
  double x;
  memcpy(&x, &bits, sizeof x);
  float f = (float)x;
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  return want == T_F32 ? u : bits;
}

static uint64_t
number_bits(Dec *d, const Opnd *o, Type want)
{
  const TypeInfo *w = &type_info[want];
  if (w->bits > 64)
    dec_fail(d, "expected a register of 128 bits as operand");
  uint64_t keep = w->bits == 64 ? UINT64_MAX : (1ull << w->bits) - 1;
  if (o->kind == O_FLOAT32 && (want == T_F32 || want == T_B32))
    return o->bits;
  if (o->kind == O_FLOAT64 && (want == T_F64 || want == T_B64 || want == T_F32))
    return narrow_double(want, o->bits);
  if (o->kind != O_INT || w->class == 'f')
    dec_fail(d, "the number is not of type .%s", w->name);
  int64_t s = (int64_t)o->bits;
  if (o->bits > keep && !(s < 0 && s >= -(int64_t)(keep / 2 + 1)))
    dec_fail(d, "the number does not fit .%s", w->name);
  return o->bits & keep;
}

uint32_t
dec_source(Dec *d, const Opnd *o, Type want, bool wider)
{
  int bits = type_info[want].bits;
  switch (o->kind) {
  case O_REG:
    check_reg(d, o, want, wider);
    return reg_row(d, o->reg);
  case O_INT:
  case O_FLOAT32:
  case O_FLOAT64:
    return dec_const(d, number_bits(d, o, want), bits == 64);
  case O_SPECIAL:
    if (special_info[o->special].bits != bits || type_info[want].class == 'f')
      dec_fail(d, "%s does not fit .%s", special_info[o->special].name,
               type_info[want].name);
    if (o->special >= SR_CLOCK)
      dec_fail(d, "%s is only read by mov", special_info[o->special].name);
    return dec_special(d, (Special)o->special);
  case O_LABEL:
    dec_fail(d, "%s is not declared", o->label);
  case O_FUNC:
    if (bits < 32 || type_info[want].class == 'f')
      dec_fail(d, "the address of a function is not of type .%s", type_info[want].name);
    return dec_const(d, dec_function_address(d, o->func), bits == 64);
  default:
    dec_fail(d, "expected a register or number of type .%s as operand",
             type_info[want].name);
  }
}

uint32_t
dec_dest(Dec *d, const Opnd *o, Type want, bool wider)
{
  if (o->kind == O_SINK)
    return ROW_SINK;
  if (o->kind != O_REG)
    dec_fail(d, "expected a register as destination");
  check_reg(d, o, want, wider);
  return reg_row(d, o->reg);
}

uint64_t
dec_int(Dec *d, const Opnd *o, uint64_t max)
{
  if (o->kind != O_INT)
    dec_fail(d, "expected an integer as operand");
  if (o->bits > max)
    dec_fail(d, "%llu is more than %llu", (unsigned long long)o->bits,
             (unsigned long long)max);
  return o->bits;
}

/* A shared address has the CTA's rank in it. */
uint32_t
dec_address_of(Dec *d, const Var *v, uint64_t more, bool wide)
{
  if (v->space == SPACE_SHARED)
    return constant(d, SHARED_BASE + v->offset + more, wide, FILL_SHARED);
  if (d->function && (v->space == SPACE_LOCAL || v->in_frame))
    return dec_in_frame(d, v->offset + more, wide);
  if (!wide && v->offset + more > UINT32_MAX)
    dec_fail(d, "the address of %s does not fit 32 bits", v->name);
  return dec_const(d, v->offset + more, wide);
}

Space
dec_space(const Mods *m)
{
  static const struct {
    Mod mod;
    Space space;
  } table[] = {
      {M_GLOBAL, SPACE_GLOBAL},     {M_SHARED, SPACE_SHARED},
      {M_SHARED_CTA, SPACE_SHARED}, {M_LOCAL, SPACE_LOCAL},
      {M_CONST, SPACE_CONST},       {M_PARAM, SPACE_PARAM},
      {M_PARAM_ENTRY, SPACE_PARAM}, {M_SHARED_CLUSTER, SPACE_CLUSTER},
      {M_PARAM_FUNC, SPACE_PARAM},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (mod_is(m, table[i].mod))
      return table[i].space;
  return SPACE_GENERIC;
}

/* ---- operands against the form ---- */

/* "=0|p", "f32x4", "[]" …, one operand of the form. */
typedef struct Want {
  const char *text;
  int n;
  bool written, optional, wider, second, selects;
  int elems; /* 0: a scalar */
  Type type;
} Want;

static Type
want_type(Dec *d, const char *s, int n)
{
  if (*s >= '0' && *s <= '3')
    return (Type)d->m.t[*s - '0'];
  if (*s == 'W') {
    Type t = (Type)d->m.t[0];
    bool sign = type_info[t].class == 's';
    return type_info[t].bits == 16 ? (sign ? T_S32 : T_U32) : sign ? T_S64 : T_U64;
  }
  return (Type)type_find(s, n);
}

static int
vector_size(const Mods *m)
{
  return mod_is(m, M_V8) ? 8 : mod_is(m, M_V4) ? 4 : mod_is(m, M_V2) ? 2 : 0;
}

static void
typed_want(Dec *d, Want *w)
{
  const char *s = w->text;
  int n = w->n;
  if (n && *s == 'v') {
    w->elems = vector_size(&d->m);
    s++;
    n--;
  }
  if (n > 2 && s[n - 2] == 'x' && type_find(s, n) < 0) {
    w->elems = s[n - 1] - '0';
    n -= 2;
  }
  w->type = want_type(d, s, n);
}

static Want
next_want(Dec *d, const char **spec)
{
  const char *p = *spec;
  Want w = {.written = *p == '='};
  p += w.written;
  w.selects = *p == '~';
  p += w.selects;
  w.text = p;
  while (*p && *p != ' ')
    p++;
  w.n = (int)(p - w.text);
  *spec = *p ? p + 1 : p;
  if (w.n > 1 && w.text[w.n - 1] == '?')
    w.optional = w.n--;
  if (w.n > 1 && w.text[w.n - 1] == '>')
    w.wider = w.n--;
  if (w.n > 2 && w.text[w.n - 2] == '|') {
    w.second = true;
    w.n -= 2;
  }
  if (!strchr("*[#LTp!", *w.text))
    typed_want(d, &w);
  return w;
}

static void
resolve_vector(Dec *d, Res *r, const Want *w, const Opnd *o)
{
  bool vec = o->kind == O_VEC, sink = w->written && o->kind == O_SINK;
  if (vec ? o->n != w->elems : w->elems != 1 && !sink)
    dec_fail(d, "expected a vector of %d registers as operand", w->elems);
  r->n = w->elems;
  for (int i = 0; i < r->n; i++) {
    const Opnd *e = vec ? &o->at[i] : o;
    r->elem[i] = w->written ? dec_dest(d, e, w->type, w->wider)
                            : dec_source(d, e, w->type, w->wider);
    bool wide = e->kind == O_REG ? type_info[e->reg->type].bits == 64
                                 : type_info[w->type].bits == 64;
    if (i && wide != r->wide && e->kind != O_SINK)
      dec_fail(d, "the registers of a vector must have one width");
    r->wide = wide;
  }
}

static void
resolve_scalar(Dec *d, Res *r, const Want *w, const Opnd *o)
{
  r->row =
      w->written ? dec_dest(d, o, w->type, w->wider) : dec_source(d, o, w->type, w->wider);
  if (o->kind == O_REG)
    r->type = o->reg->type;
  r->wide = type_info[r->type].bits >= 64;
  if (w->type == T_B128) {
    r->n = 2;
    r->elem[0] = r->row;
    r->elem[1] = o->kind == O_SINK ? ROW_SINK : r->row + 2;
  }
}

static void
resolve_address(Dec *d, Res *r, const Want *w, const Opnd *o)
{
  if (o->kind != O_ADDR)
    dec_fail(d, "expected an address in [ ] as operand");
  if (o->n && strncmp(w->text, "[,]", 3))
    dec_fail(d, "coordinates are not expected here");
  r->wide = true;
  if (o->var) {
    r->row = dec_address_of(d, o->var, 0, true);
  } else if (!o->reg) {
    r->row = ROW_ZERO;
  } else {
    const TypeInfo *t = &type_info[o->reg->type];
    if (t->class == 'f' || t->bits < 32)
      dec_fail(d, "%s cannot be an address", o->reg->name);
    r->wide = t->bits == 64;
    r->row = reg_row(d, o->reg);
  }
}

static uint32_t
pred_operand(Dec *d, const Want *w, const Opnd *o)
{
  if (o->kind == (w->written ? O_INT : O_SINK))
    dec_fail(d, "expected a predicate as operand");
  return dec_pred(d, o);
}

static void
resolve(Dec *d, Res *r, const Want *w, const Opnd *o)
{
  /* ld and st take a scalar in braces, as they take a vector. */
  if (o->kind == O_VEC && o->n == 1 && *w->text == 'v' && !w->elems)
    o = &o->at[0];
  r->o = o;
  r->type = w->type;
  d->selects = w->selects;
  r->second = PRED_SINK;
  r->negated = o->negated;
  if (o->negated && *w->text != '!')
    dec_fail(d, "'!' is not allowed on this operand");
  if (o->second && !w->second)
    dec_fail(d, "'|' is not allowed behind this operand");
  if (o->second)
    r->second = dec_pred(d, o->second);
  if (*w->text == 'p' || *w->text == '!')
    r->row = pred_operand(d, w, o);
  else if (*w->text == '[')
    resolve_address(d, r, w, o);
  else if (w->elems)
    resolve_vector(d, r, w, o);
  else if (!strchr("*#LT", *w->text))
    resolve_scalar(d, r, w, o);
}

static int
count_wants(const char *spec, int *required)
{
  int n = 0;
  *required = 0;
  for (const char *p = spec; *p; n++) {
    size_t len = strcspn(p, " ");
    *required += len < 2 || p[len - 1] != '?';
    p += len + (p[len] == ' ');
  }
  return n;
}

/* An optional operand is there if more are given than the required ones behind it. */
static void
check_operands(Dec *d)
{
  const char *spec = d->form->opnds;
  int required, at = 0;
  memset(d->r, 0, sizeof d->r);
  d->n_r = count_wants(spec, &required);
  for (int i = 0; i < d->n_r; i++) {
    Want w = next_want(d, &spec);
    required -= !w.optional;
    if (w.optional && d->st->n - at <= required)
      continue;
    if (at >= d->st->n)
      dec_fail(d, "too few operands");
    resolve(d, &d->r[i], &w, &d->st->opnds[at++]);
  }
  if (at < d->st->n)
    dec_fail(d, "too many operands");
}

/* ---- statements ---- */

/* Modifiers that came later than their instructions. */
static void
check_level(Dec *d)
{
  static const struct {
    Mod mod;
    const char *name;
    int sm, version;
  } later[] = {
      {M_SHARED_CTA, ".shared::cta", 30, 78},
      {M_SHARED_CLUSTER, ".shared::cluster", 90, 78},
      {M_PARAM_ENTRY, ".param::entry", 0, 83},
      {M_PARAM_FUNC, ".param::func", 0, 83},
      {M_CLUSTER, ".cluster", 90, 78},
      {M_WEAK, ".weak", 70, 60},
      {M_RELAXED, ".relaxed", 70, 60},
      {M_ACQUIRE, ".acquire", 70, 60},
      {M_RELEASE, ".release", 70, 60},
      {M_ACQ_REL, ".acq_rel", 70, 60},
      {M_SYS, ".sys", 60, 14},
      {M_L1_NORMAL, ".L1::evict_normal", 70, 74},
      {M_L1_FIRST, ".L1::evict_first", 70, 74},
      {M_L1_LAST, ".L1::evict_last", 70, 74},
      {M_L1_UNCHANGED, ".L1::evict_unchanged", 70, 74},
      {M_L1_NO_ALLOCATE, ".L1::no_allocate", 70, 74},
      {M_L2_HINT, ".L2::cache_hint", 80, 74},
      {M_L2_64B, ".L2::64B", 75, 74},
      {M_L2_128B, ".L2::128B", 75, 74},
      {M_L2_256B, ".L2::256B", 80, 74},
  };
  const Form *f = d->form;
  need_level(d, d->st->op, d->st->op_len, f->sm, f->version);
  if (d->m.nt && d->m.t[0] == T_B128)
    need_level(d, ".b128", 5, 70, mod_is(&d->m, M_SYS) ? 84 : 83);
  for (size_t i = 0; i < sizeof later / sizeof *later; i++)
    if (mod_is(&d->m, later[i].mod))
      need_level(d, later[i].name, (int)strlen(later[i].name), later[i].sm,
                 later[i].version);
}

struct Known { /* mnemonics seen in this kernel */
  const char *op;
  int n;
  const Form *form;
  Mods m;
};

enum { KNOWN = 512 };

static const Form *
lookup(Dec *d, const char *op, int n)
{
  uint32_t h = 2166136261u;
  for (int i = 0; i < n; i++)
    h = (h ^ (uint8_t)op[i]) * 16777619u;
  Known *k = &d->known[(h ^ h >> 16) % KNOWN];
  if (k->op && k->n == n && !memcmp(k->op, op, (size_t)n)) {
    d->m = k->m;
    return k->form;
  }
  char why[200];
  const Form *f = form_find(op, n, &d->m, why, sizeof why);
  if (!f)
    dec_fail(d, "%s", why);
  *k = (Known){op, n, f, d->m};
  return f;
}

static void
decode_stmt(Dec *d, const Stmt *st)
{
  d->st = st;
  d->guard = PRED_TRUE;
  d->form = lookup(d, st->op, st->op_len);
  check_level(d);
  if (st->guard) {
    Opnd o = {.kind = O_REG, .reg = st->guard};
    d->guard = dec_pred(d, &o);
  }
  check_operands(d);
  d->form->build(d);
}

int
dec_target(Dec *d, const char *label)
{
  for (int scope = d->st->scope;; scope = d->ast->scopes.at[scope]) {
    const Label *l = ptx_label(d->ast, label, scope);
    if (l)
      return l->stmt;
    if (!scope)
      dec_fail(d, "the label %s is not there", label);
  }
}

/* Branches hold statements until all instructions of their function are there. */
static void
link_branches(Dec *d, int from)
{
  for (int i = from; i < d->code.n; i++) {
    Insn *in = &d->code.at[i];
    if (in->kind != K_STEP)
      continue;
    if (in->step == step_bra) {
      in->target = d->first[in->target];
      d->code.at[in->target].flags |= F_LEADER;
      d->code.at[i + 1].flags |= F_LEADER;
    } else if (in->step == step_brx) {
      for (int j = 0; j < in->n_d; j++) {
        uint32_t *to = &d->lists.at[in->list + (uint32_t)j];
        *to = (uint32_t)d->first[*to];
        d->code.at[*to].flags |= F_LEADER;
      }
      d->code.at[i + 1].flags |= F_LEADER;
    } else if (in->step == step_call) {
      d->code.at[i + 1].flags |= F_LEADER;
    }
  }
}

/* ---- variables ---- */

static bool
uses(const Ast *a, const Var *v)
{
  for (int i = 0; i < a->stmts.n; i++)
    for (int j = 0; j < a->stmts.at[i].n; j++)
      if (a->stmts.at[i].opnds[j].var == v)
        return true;
  return false;
}

/* The entry uses it, or one of the functions that it may call. */
static bool
kernel_uses(const Dec *d, const Var *v)
{
  bool does = uses(d->ast, v);
  for (int i = 0; i < d->functions.n && !does; i++)
    does = uses(d->functions.at[i].ast, v);
  return does;
}

static void
place_shared(const Ast *a, uint64_t *at)
{
  for (int i = 0; i < a->locals.n; i++)
    if (a->locals.at[i]->space == SPACE_SHARED)
      dec_place(at, a->locals.at[i]);
}

static void
lay_out_shared(Dec *d)
{
  uint64_t shared = 0, dynamic;
  place_shared(d->ast, &shared);
  for (int i = 0; i < d->functions.n; i++)
    place_shared(d->functions.at[i].ast, &shared);
  for (int i = 0; i < d->ptx->vars.n; i++) {
    Var *v = d->ptx->vars.at[i];
    if (v->space == SPACE_SHARED && !v->is_extern && kernel_uses(d, v))
      dec_place(&shared, v);
  }
  d->k->shared_bytes = (uint32_t)shared;
  d->k->dynamic_at = (uint32_t)shared;
  for (int i = 0; i < d->ptx->vars.n; i++) {
    Var *v = d->ptx->vars.at[i];
    if (v->space == SPACE_SHARED && v->is_extern && kernel_uses(d, v)) {
      dynamic = shared;
      d->k->dynamic_at = (uint32_t)dec_place(&dynamic, v);
    }
  }
}

static void
lay_out(Dec *d)
{
  uint32_t align;
  uint64_t local = dec_frame(d->ast, &align);
  lay_out_shared(d);
  if (d->k->shared_bytes > 227 << 10 || local > MAX_LOCAL)
    ptx_fail(d->ptx, d->ast->line, "%s has too many bytes of .shared or .local",
             d->ast->name);
  d->k->frame = d->k->local_bytes = (uint32_t)local;
  for (int i = 0; i < d->ast->params.n; i++) {
    const Var *v = d->ast->params.at[i];
    d->k->param_bytes = (uint32_t)(v->offset + v->bytes);
  }
}

/* ---- the kernel ---- */

static void
finish(Dec *d)
{
  Kernel *k = d->k;
  *vec_push(d->ptx->arena, &d->lists) = ROW_ZERO; /* none is no array */
  k->code = d->code.at;
  k->n_code = d->code.n;
  k->lists = d->lists.at;
  k->fills = d->fills.at;
  k->n_fills = d->fills.n;
  k->rows = d->rows;
  k->preds = d->preds;
  k->row_name = d->row_names.at;
  k->row_wide = d->row_wide.at;
  k->pred_name = d->pred_names.at;
  k->def0 = NEW_N(d->ptx->arena, uint32_t, k->rows);
  for (uint32_t i = 0; i < ROW_FIRST; i++)
    k->def0[i] = FULL;
  for (int i = 0; i < k->n_fills; i++)
    k->def0[k->fills[i].row] = FULL;
}

/* Where the text falls through, the entry exits and a function returns. */
void
dec_code(Dec *d, const Ast *ast)
{
  int from = d->code.n;
  d->ast = ast;
  d->first = NEW_N(d->ptx->arena, int, ast->stmts.n + 1);
  for (int i = 0; i < ast->stmts.n; i++) {
    d->first[i] = d->code.n;
    decode_stmt(d, &ast->stmts.at[i]);
  }
  d->st = NULL;
  d->guard = PRED_TRUE;
  d->first[ast->stmts.n] = d->code.n;
  dec_return(d);
  link_branches(d, from);
}

Kernel *
decode_kernel(Ptx *ptx, const Ast *ast)
{
  Dec *d = NEW(ptx->arena, Dec);
  d->known = NEW_N(ptx->arena, Known, KNOWN);
  d->ptx = ptx;
  d->ast = ast;
  d->k = NEW(ptx->arena, Kernel);
  d->k->ptx = ptx;
  d->k->ast = ast;
  d->k->name = ast->name;
  for (int i = 0; i < ROW_FIRST; i++)
    new_row(d, false, NULL);
  for (int i = 0; i < PRED_FIRST; i++)
    dec_temp_pred(d);
  dec_find_functions(d);
  lay_out(d);
  dec_code(d, ast);
  dec_functions(d);
  if (d->preds > UINT16_MAX)
    ptx_fail(ptx, ast->line, "more than 65535 predicates");
  finish(d);
  return d->k;
}

void
decode_unused(Ptx *ptx)
{
  bool any = false;
  for (int i = 0; i < ptx->funcs.n; i++)
    any |= ptx->funcs.at[i]->has_body && !ptx->funcs.at[i]->used;
  if (!any)
    return;
  Ast *caller = NEW(ptx->arena, Ast);
  caller->name = "functions that nobody calls";
  caller->is_func = true;
  *vec_push(ptx->arena, &caller->scopes) = 0;
  decode_kernel(ptx, caller);
}
