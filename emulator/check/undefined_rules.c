/* How undefined sources reach an instruction's results: a rule for each kind of
 * instruction, the tables of the rules, and which one the decoder gives an instruction. */
#include "emulator/check/undefined.h"
#include "emulator/exec/steps.h"

/* ---- what has an effect ---- */

static void
define_results(Warp *w, const uint32_t *list, const Insn *i, uint32_t mask)
{
  w->def[i->d] |= mask;
  w->pdef[i->pd] |= mask;
  w->pdef[i->pq] |= mask;
  for (int j = 0; j < i->n_d; j++)
    w->def[list[j]] |= mask;
}

/* What has an effect, and what has no rule. */
static void
report(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  const uint32_t *list = x->kernel->lists + i->list;
  const char *verb =
      i->kind == K_STEP && i->carry == RULE_BRANCH_INDEX ? "branches on" : "depends on";
  undefined_guard(x, w, i);
  undefined_use_pred(x, w, i, i->ps, mask, verb);
  undefined_use_pred(x, w, i, i->pt, mask, verb);
  undefined_use(x, w, i, i->a, mask, verb);
  undefined_use(x, w, i, i->b, mask, verb);
  undefined_use(x, w, i, i->c, mask, verb);
  for (int j = i->n_d; j < i->n_d + i->n_s; j++)
    undefined_use(x, w, i, list[j], mask, verb);
  define_results(w, list, i, mask);
}

/* ---- arithmetic ---- */

/* Of the first source that is not defined in one of these lanes. */
static Origin
origin_of_sources(const Exec *x, const Warp *w, const Insn *i, uint32_t lanes)
{
  const uint32_t preds[] = {i->guard, i->ps, i->pt}, rows[] = {i->a, i->b, i->c};
  for (int j = 0; j < 3; j++)
    if (lanes & ~w->def[rows[j]])
      return undefined_origin(x, w, i, rows[j]);
  for (int j = i->n_d; j < i->n_d + i->n_s; j++)
    if (lanes & ~w->def[x->kernel->lists[i->list + (uint32_t)j]])
      return undefined_origin(x, w, i, x->kernel->lists[i->list + (uint32_t)j]);
  for (int j = 0; j < 2; j++)
    if (lanes & ~w->pdef[preds[j]])
      return undefined_origin_pred(x, w, i, preds[j]);
  return undefined_origin_pred(x, w, i, preds[2]);
}

static uint32_t
unguarded(const Warp *w, const Insn *i)
{
  return w->active & ~w->pdef[i->guard];
}

/* All of every result is undefined where a bit of a source is. */
static void
whole(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  const uint32_t *list = x->kernel->lists + i->list;
  uint32_t ok =
      w->def[i->a] & w->def[i->b] & w->def[i->c] & w->pdef[i->ps] & w->pdef[i->pt];
  for (int j = i->n_d; j < i->n_d + i->n_s; j++)
    ok &= w->def[list[j]];
  uint32_t lanes = mask | unguarded(w, i), undefined = (mask & ~ok) | unguarded(w, i);
  Origin from = origin_of_sources(x, w, i, undefined);
  undefined_put_whole(w, i->d, i->flags & F_WIDE, lanes, undefined, from);
  undefined_put_pred(w, i->pd, lanes, undefined, from);
  undefined_put_pred(w, i->pq, lanes, undefined, from);
}

typedef union Bits {
  _Alignas(64) uint32_t narrow[2 * LANES];
  uint64_t wide[LANES];
} Bits;

static void
get_bits(const Warp *w, uint32_t row, bool wide, Bits *b)
{
  if (wide)
    undefined_bits64(w, row, b->wide);
  else
    undefined_bits32(w, row, b->narrow);
}

static void
fill(Bits *b, bool wide, uint32_t lanes)
{
  for (uint32_t m = lanes; m; m &= m - 1)
    if (wide)
      b->wide[__builtin_ctz(m)] = UINT64_MAX;
    else
      b->narrow[__builtin_ctz(m)] = UINT32_MAX;
}

static void
put_bits(Exec *x, Warp *w, const Insn *i, uint32_t mask, Bits *b)
{
  uint32_t lanes = mask | unguarded(w, i);
  Origin from = origin_of_sources(x, w, i, lanes);
  fill(b, i->flags & F_WIDE, unguarded(w, i));
  if (i->flags & F_WIDE)
    undefined_put64(w, i->d, lanes, b->wide, from);
  else
    undefined_put32(w, i->d, lanes, b->narrow, from);
}

/* What moves values moves their undefined bits; by what it moves must be defined. */
static void
moved(Exec *x, Warp *w, const Insn *i, uint32_t mask, bool two)
{
  Bits a, b, r;
  bool wide = i->carry & CARRY_FROM_WIDE;
  uint32_t ok = w->def[i->c] & (two ? FULL : w->def[i->b]);
  get_bits(w, i->a, wide, &a);
  if (two)
    get_bits(w, i->b, wide, &b);
  i->op.fn(&i->op, &r, &a, two ? (const void *)&b : row32(w, i->b), row32(w, i->c));
  fill(&r, i->flags & F_WIDE, ~ok);
  put_bits(x, w, i, mask, &r);
}

/* Undefined bits of a Boolean operation, for values va, vb and undefined bits ua, ub. */
#define U_AND(ua, va, ub, vb) (((ua) & (ub)) | ((ua) & (vb)) | ((ub) & (va)))
#define U_OR(ua, va, ub, vb)  (((ua) & (ub)) | ((ua) & ~(vb)) | ((ub) & ~(va)))

static uint64_t
boolean(int carry, uint64_t ua, uint64_t va, uint64_t ub, uint64_t vb)
{
  return carry == CARRY_AND  ? U_AND(ua, va, ub, vb)
         : carry == CARRY_OR ? U_OR(ua, va, ub, vb)
                             : ua | ub;
}

static void
bitwise(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Bits a, b, c, r;
  bool wide = i->flags & F_WIDE;
  get_bits(w, i->a, wide, &a);
  get_bits(w, i->b, wide, &b);
  get_bits(w, i->c, wide, &c);
  for (int l = 0; l < LANES; l++)
    if (wide)
      r.wide[l] = boolean(i->carry & 15, a.wide[l], row64(w, i->a)[l], b.wide[l],
                          row64(w, i->b)[l]) |
                  c.wide[l];
    else
      r.narrow[l] = (uint32_t)boolean(i->carry & 15, a.narrow[l], row32(w, i->a)[l],
                                      b.narrow[l], row32(w, i->b)[l]) |
                    c.narrow[l];
  put_bits(x, w, i, mask, &r);
}

static uint64_t
bits_of(const Bits *b, bool wide, int l)
{
  return wide ? b->wide[l] : b->narrow[l];
}

/* Two results in one: of the halves of a, b and c, or the upper one of a and the lower one
 * of b. */
static void
halves(Exec *x, Warp *w, const Insn *i, uint32_t mask, bool pair)
{
  Bits a, b, c, r;
  bool wide = i->flags & F_WIDE;
  uint64_t low = wide ? UINT32_MAX : UINT16_MAX, high = wide ? low << 32 : low << 16;
  get_bits(w, i->a, wide, &a);
  get_bits(w, i->b, wide, &b);
  get_bits(w, i->c, wide, &c);
  for (int l = 0; l < LANES; l++) {
    uint64_t of_a = bits_of(&a, wide, l), of_b = bits_of(&b, wide, l);
    uint64_t all = of_a | of_b | bits_of(&c, wide, l);
    uint64_t up = pair ? of_a : all & high, down = pair ? of_b : all & low;
    uint64_t undefined = (up ? high : 0) | (down ? low : 0);
    if (wide)
      r.wide[l] = undefined;
    else
      r.narrow[l] = (uint32_t)undefined;
  }
  put_bits(x, w, i, mask, &r);
}

static void
lane(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  switch ((Carry)(i->carry & 15)) {
  case CARRY_MOVE:
  case CARRY_MOVE_2:
    moved(x, w, i, mask, (i->carry & 15) == CARRY_MOVE_2);
    return;
  case CARRY_UNION:
  case CARRY_AND:
  case CARRY_OR:
    bitwise(x, w, i, mask);
    return;
  case CARRY_HALVES:
  case CARRY_PAIR:
    halves(x, w, i, mask, (i->carry & 15) == CARRY_PAIR);
    return;
  case CARRY_WHOLE:
    break;
  }
  whole(x, w, i, mask);
}

/* and: a false one decides; or: a true one. */
static uint32_t
combined(uint8_t how, uint32_t up, uint32_t p, uint32_t us, uint32_t s)
{
  return how == COMBINE_AND  ? U_AND(up, p, us, s)
         : how == COMBINE_OR ? U_OR(up, p, us, s)
                             : up | us;
}

static void
compare(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t p = i->compare(row32(w, i->a), row32(w, i->b));
  uint32_t s = w->pred[i->ps] ^ (i->ps_not ? FULL : 0), us = ~w->pdef[i->ps];
  uint32_t up = ~(w->def[i->a] & w->def[i->b]), lanes = mask | unguarded(w, i);
  uint32_t uq = combined(i->cmp.combine, up, ~p, us, s) | unguarded(w, i);
  Origin from = origin_of_sources(x, w, i, lanes);
  up = combined(i->cmp.combine, up, p, us, s) | unguarded(w, i);
  undefined_put_pred(w, i->pd, lanes, up, from);
  undefined_put_pred(w, i->pq, lanes, uq, from);
}

/* ---- steps ---- */

static void
predicates(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t a = w->pred[i->ps], ua = ~w->pdef[i->ps], lanes = mask | unguarded(w, i);
  uint32_t b = w->pred[i->pt], ub = ~w->pdef[i->pt];
  uint32_t u = i->pred.op == P_AND   ? U_AND(ua, a, ub, b)
               : i->pred.op == P_OR  ? U_OR(ua, a, ub, b)
               : i->pred.op == P_XOR ? ua | ub
                                     : ua;
  undefined_put_pred(w, i->pd, lanes, u | unguarded(w, i),
                     origin_of_sources(x, w, i, lanes));
}

static void
selection(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Bits a, b;
  bool wide = i->flags & F_WIDE;
  get_bits(w, i->a, wide, &a);
  get_bits(w, i->b, wide, &b);
  for (int l = 0; l < LANES; l++) {
    if (w->pred[i->ps] >> l & 1)
      continue;
    if (wide)
      a.wide[l] = b.wide[l];
    else
      a.narrow[l] = b.narrow[l];
  }
  fill(&a, wide, ~w->pdef[i->ps]);
  put_bits(x, w, i, mask, &a);
}

/* What is loaded undefined_read tells; here what an unknown guard leaves. */
static void
load(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t unknown = unguarded(w, i);
  Origin from = undefined_origin_pred(x, w, i, i->guard);
  undefined_use(x, w, i, i->a, mask, "uses as an address");
  for (int j = 0; j < i->n_d; j++)
    undefined_put_whole(w, x->kernel->lists[i->list + (uint32_t)j], i->flags & F_WIDE,
                        mask | unknown, unknown, from);
}

/* The values are for undefined_store, which knows where they go. */
static void
store(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  undefined_guard(x, w, i);
  undefined_use(x, w, i, i->a, mask, "uses as an address");
  for (int j = 0; j < i->n_s; j++)
    if (mask & ~w->def[x->kernel->lists[i->list + (uint32_t)j]])
      x->carries = true;
}

static UndefinedRule *
rule_of(const Insn *i)
{
  static UndefinedRule *const rules[] = {
      [RULE_REPORT] = report,
      [RULE_BRANCH] = report,
      [RULE_BRANCH_INDEX] = report,
      [RULE_PRED] = predicates,
      [RULE_SELECT] = selection,
      [RULE_WHOLE] = whole,
      [RULE_LD] = load,
      [RULE_LDMATRIX] = load,
      [RULE_ST] = store,
      [RULE_STMATRIX] = store,
      [RULE_SHFL] = undefined_shfl,
      [RULE_VOTE] = undefined_vote,
      [RULE_MATCH] = undefined_match,
      [RULE_MOVMATRIX] = undefined_movmatrix,
      [RULE_PRODUCT] = undefined_frag_product,
      [RULE_LDMATRIX_BYTES] = load,
      [RULE_STMATRIX_BYTES] = store,
  };
  return i->kind == K_LANE ? lane : i->kind == K_COMPARE ? compare : rules[i->carry];
}

void
undefined_step(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  UndefinedRule *rule = undefined_of(x, w) ? rule_of(i) : report;
  rule(x, w, i, mask);
}

/* ---- of the decoder ---- */

uint8_t
undefined_carry(LaneOp op, Type t)
{
  static const uint8_t carries[LANE_OPS] = {
      [L_ADD_X2] = CARRY_HALVES,
      [L_MIN_X2] = CARRY_HALVES,
      [L_MAX_X2] = CARRY_HALVES,
      [L_MIN_RELU_X2] = CARRY_HALVES,
      [L_MAX_RELU_X2] = CARRY_HALVES,
      [L_BREV] = CARRY_MOVE,
      [L_BFE] = CARRY_MOVE,
      [L_AND] = CARRY_AND,
      [L_OR] = CARRY_OR,
      [L_XOR] = CARRY_UNION,
      [L_NOT] = CARRY_UNION,
      [L_SHL] = CARRY_MOVE,
      [L_SHR] = CARRY_MOVE,
      [L_SHF_L_WRAP] = CARRY_MOVE_2,
      [L_SHF_L_CLAMP] = CARRY_MOVE_2,
      [L_SHF_R_WRAP] = CARRY_MOVE_2,
      [L_SHF_R_CLAMP] = CARRY_MOVE_2,
      [L_LOP3] = CARRY_UNION,
      [L_PRMT] = CARRY_MOVE_2,
      [L_PRMT_F4E] = CARRY_MOVE_2,
      [L_PRMT_B4E] = CARRY_MOVE_2,
      [L_PRMT_RC8] = CARRY_MOVE_2,
      [L_PRMT_ECL] = CARRY_MOVE_2,
      [L_PRMT_ECR] = CARRY_MOVE_2,
      [L_PRMT_RC16] = CARRY_MOVE_2,
      [L_MOV] = CARRY_MOVE,
      [L_SEXT8] = CARRY_MOVE,
      [L_SEXT16] = CARRY_MOVE,
      [L_WIDEN] = CARRY_MOVE,
      [L_NARROW] = CARRY_MOVE,
      [L_PACK] = CARRY_MOVE_2,
      [L_PART0] = CARRY_MOVE,
      [L_PART1] = CARRY_MOVE,
      [L_PART2] = CARRY_MOVE,
      [L_PART3] = CARRY_MOVE,
      [L_HIGH] = CARRY_MOVE,
  };
  uint8_t carry = carries[op];
  bool moves = carry == CARRY_MOVE || carry == CARRY_MOVE_2;
  bool wide = type_info[t].bits == 64 && op != L_PACK && op != L_WIDEN;
  return (uint8_t)(carry | (moves && wide ? CARRY_FROM_WIDE : 0));
}

uint8_t
undefined_rule(Step *step)
{
  static const struct {
    Step *step;
    UndefinedRuleId rule;
  } table[] = {
      {step_bra, RULE_BRANCH},
      {step_brx, RULE_BRANCH_INDEX},
      {step_pred, RULE_PRED},
      {step_select, RULE_SELECT},
      {step_bfi, RULE_WHOLE},
      {step_carry, RULE_WHOLE},
      {step_isspacep, RULE_WHOLE},
      {step_mapa, RULE_WHOLE},
      {step_ctarank, RULE_WHOLE},
      {step_ld, RULE_LD},
      {step_ld_strong, RULE_LD},
      {step_ldmatrix, RULE_LDMATRIX},
      {step_st, RULE_ST},
      {step_st_strong, RULE_ST},
      {step_stmatrix, RULE_STMATRIX},
      {step_shfl, RULE_SHFL},
      {step_vote, RULE_VOTE},
      {step_match, RULE_MATCH},
      {step_redux, RULE_MATCH},
      {step_movmatrix, RULE_MOVMATRIX},
      {step_mma, RULE_PRODUCT},
      {step_ldmatrix_bytes, RULE_LDMATRIX_BYTES},
      {step_stmatrix_bytes, RULE_STMATRIX_BYTES},
      {step_product, RULE_PRODUCT},
  };
  for (size_t k = 0; k < sizeof table / sizeof *table; k++)
    if (table[k].step == step)
      return (uint8_t)table[k].rule;
  return RULE_REPORT;
}
