/* Statements to instructions: the form of each, its operands against the form, and its
 * builder. */
#include "emulator/ptx/decode.h"
#include "emulator/exec/steps.h"

#include <string.h>

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
    r->row = dec_reg(d, o->reg);
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
  dec_need_n(d, d->st->op, d->st->op_len, f->sm, f->version);
  if (d->m.nt && d->m.t[0] == T_B128)
    dec_need_n(d, ".b128", 5, 70, mod_is(&d->m, M_SYS) ? 84 : 83);
  for (size_t i = 0; i < sizeof later / sizeof *later; i++)
    if (mod_is(&d->m, later[i].mod))
      dec_need_n(d, later[i].name, (int)strlen(later[i].name), later[i].sm,
                 later[i].version);
}

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

/* ---- an entry or a function ---- */

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
