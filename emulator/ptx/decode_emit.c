/* What builders emit: instructions, rows, constants; and the errors of a line. */
#include "emulator/ptx/decode_emit.h"
#include "emulator/check/undefined.h"
#include "emulator/exec/steps.h"
#include "emulator/ptx/target.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- errors ---- */

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

void
dec_need_n(Dec *d, const char *what, int n, int sm, int version)
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
  dec_need_n(d, what, (int)strlen(what), target, version);
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

Insn *
emit_fn(Dec *d, ArFn *fn, uint32_t dst, bool wide, uint32_t a, uint32_t b, uint32_t c)
{
  Insn *i = dec_emit(d, K_LANE);
  i->op.fn = fn;
  i->d = dst;
  i->a = a;
  i->b = b;
  i->c = c;
  i->flags |= wide ? F_WIDE : 0;
  return i;
}

Insn *
emit_lane(Dec *d, LaneOp op, Type t, uint32_t dst, bool wide, uint32_t a, uint32_t b,
          uint32_t c)
{
  ArFn *fn = lanes_find(op, t);
  if (!fn)
    dec_fail(d, "this operation is not there for .%s", type_info[t].name);
  Insn *i = emit_fn(d, fn, dst, wide, a, b, c);
  i->carry = undefined_carry(op, t);
  return i;
}

Insn *
dec_lane(Dec *d, int op, Type t, uint32_t dst, bool wide, uint32_t a, uint32_t b)
{
  return emit_lane(d, (LaneOp)op, t, dst, wide, a, b, 0);
}

void
dec_return(Dec *d)
{
  dec_step(d, d->function ? step_ret : step_exit);
}

/* ---- rows ---- */

uint32_t
dec_row(Dec *d, bool wide, const char *name)
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
  return dec_row(d, wide, NULL);
}

uint32_t
dec_temp_pred(Dec *d)
{
  *vec_push(d->ptx->arena, &d->pred_names) = NULL;
  return d->preds++;
}

uint32_t
dec_fill(Dec *d, uint64_t value, bool wide, int fill)
{
  Const **bucket = &d->consts[(value * 0x9e3779b97f4a7c15u >> 56) ^ (unsigned)(fill & 255)];
  for (Const *c = *bucket; c; c = c->next)
    if (c->value == value && c->wide == wide && c->fill == fill)
      return c->row;
  Const *c = NEW(d->ptx->arena, Const);
  *c = (Const){value, dec_row(d, wide, NULL), (int16_t)fill, wide, *bucket};
  *bucket = c;
  *vec_push(d->ptx->arena, &d->fills) = (Fill){c->row, (int16_t)fill, wide, value};
  return c->row;
}

uint32_t
dec_const(Dec *d, uint64_t value, bool wide)
{
  return value ? dec_fill(d, value, wide, -1) : ROW_ZERO;
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
      dec_need_n(d, special_info[s].name, (int)strlen(special_info[s].name), later[i].sm,
                 later[i].version);
  return dec_fill(d, 0, special_info[s].bits == 64, (int)s);
}
