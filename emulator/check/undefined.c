#include "emulator/check/undefined.h"
#include "emulator/exec/steps.h"

#include <stdlib.h>
#include <string.h>

/* ---- state ---- */

void
undefined_free(struct Undefined *u)
{
  if (!u)
    return;
  free(u->bits);
  free(u->row);
  free(u->pred);
  free(u->local);
  free(u);
}

static void
clear(struct Undefined *u, const Kernel *k)
{
  memset(u->bits, 0xff, (size_t)k->rows * LANES * 4);
  for (uint32_t i = 0; i < k->rows; i++)
    u->row[i].insn = -1;
  for (uint32_t i = 0; i < k->preds; i++)
    u->pred[i].insn = -1;
  free(u->local);
  u->local = NULL;
}

void
undefined_reset(Warp *w, const Kernel *k)
{
  struct Undefined *u = w->undefined;
  if (!u || !u->used)
    return;
  u->used = false;
  clear(u, k);
}

size_t
undefined_bytes(const Warp *w, const Kernel *k)
{
  size_t origins = (size_t)k->rows + k->preds;
  return w->undefined ? (size_t)k->rows * LANES * 4 + origins * sizeof(Origin) : 0;
}

struct Undefined *
undefined_of(Exec *x, Warp *w)
{
  const Kernel *k = x->kernel;
  if (w->undefined) {
    w->undefined->used = true;
    return w->undefined;
  }
  struct Undefined *u = calloc(1, sizeof *u);
  if (u) {
    u->bits = malloc((size_t)k->rows * LANES * 4);
    u->row = malloc((size_t)k->rows * sizeof *u->row);
    u->pred = malloc((size_t)k->preds * sizeof *u->pred);
  }
  if (!u || !u->bits || !u->row || !u->pred) {
    undefined_free(u);
    shadow_out_of_memory(w->cta->shadow);
    return NULL;
  }
  w->undefined = u;
  u->used = true;
  clear(u, k);
  return u;
}

void
undefined_bits32(const Warp *w, uint32_t row, uint32_t *bits)
{
  const uint32_t *from = w->undefined->bits + (size_t)row * LANES;
  for (int l = 0; l < LANES; l++)
    bits[l] = w->def[row] >> l & 1 ? 0 : from[l];
}

void
undefined_bits64(const Warp *w, uint32_t row, uint64_t *bits)
{
  memcpy(bits, w->undefined->bits + (size_t)row * LANES, LANES * sizeof *bits);
  for (int l = 0; l < LANES; l++)
    bits[l] = w->def[row] >> l & 1 ? 0 : bits[l];
}

static void
put_lanes(Warp *w, uint32_t row, uint32_t lanes, uint32_t undefined, Origin from)
{
  w->def[row] = (w->def[row] & ~lanes) | (lanes & ~undefined);
  if (undefined)
    w->undefined->row[row] = from;
}

void
undefined_put32(Warp *w, uint32_t row, uint32_t lanes, const uint32_t *bits, Origin from)
{
  uint32_t *to = w->undefined->bits + (size_t)row * LANES, undefined = 0;
  if (row < ROW_FIRST)
    return;
  for (uint32_t m = lanes; m; m &= m - 1) {
    int l = __builtin_ctz(m);
    to[l] = bits[l];
    undefined |= (uint32_t)(bits[l] != 0) << l;
  }
  put_lanes(w, row, lanes, undefined, from);
}

void
undefined_put64(Warp *w, uint32_t row, uint32_t lanes, const uint64_t *bits, Origin from)
{
  uint64_t *to = (uint64_t *)(void *)(w->undefined->bits + (size_t)row * LANES);
  uint32_t undefined = 0;
  if (row < ROW_FIRST)
    return;
  for (uint32_t m = lanes; m; m &= m - 1) {
    int l = __builtin_ctz(m);
    to[l] = bits[l];
    undefined |= (uint32_t)(bits[l] != 0) << l;
  }
  put_lanes(w, row, lanes, undefined, from);
}

void
undefined_put_pred(Warp *w, uint32_t pred, uint32_t lanes, uint32_t undefined, Origin from)
{
  if (pred < PRED_CARRY)
    return;
  w->pdef[pred] = (w->pdef[pred] & ~lanes) | (lanes & ~undefined);
  if (lanes & undefined)
    w->undefined->pred[pred] = from;
}

void
undefined_put_whole(Warp *w, uint32_t row, bool wide, uint32_t lanes, uint32_t undefined,
                    Origin from)
{
  uint64_t bits[LANES];
  uint32_t narrow[LANES];
  for (int l = 0; l < LANES; l++) {
    bits[l] = undefined >> l & 1 ? UINT64_MAX : 0;
    narrow[l] = (uint32_t)bits[l];
  }
  if (wide)
    undefined_put64(w, row, lanes, bits, from);
  else
    undefined_put32(w, row, lanes, narrow, from);
}

/* ---- where it was read first ---- */

static int
number(const Exec *x, const Insn *i)
{
  return (int)(i - x->kernel->code);
}

Origin
undefined_origin(const Exec *x, const Warp *w, const Insn *i, uint32_t row)
{
  const struct Undefined *u = w->undefined;
  const char *name = x->kernel->row_name[row];
  if (u && u->row[row].insn >= 0)
    return u->row[row];
  return (Origin){.insn = number(x, i), .reg = name ? name : "a part of a register"};
}

Origin
undefined_origin_pred(const Exec *x, const Warp *w, const Insn *i, uint32_t pred)
{
  const struct Undefined *u = w->undefined;
  const char *name = x->kernel->pred_name[pred];
  if (u && u->pred[pred].insn >= 0)
    return u->pred[pred];
  return (Origin){.insn = number(x, i), .reg = name ? name : "a predicate"};
}

/* ---- reports ---- */

void
undefined_use(Exec *x, Warp *w, const Insn *i, uint32_t row, uint32_t mask,
              const char *verb)
{
  uint32_t lanes = mask & ~w->def[row];
  if (!lanes)
    return;
  Origin from = undefined_origin(x, w, i, row);
  w->def[row] |= lanes; /* tell once */
  shadow_undefined(w->cta->shadow, number(x, i), w->id, lanes, &from, verb);
}

void
undefined_use_pred(Exec *x, Warp *w, const Insn *i, uint32_t pred, uint32_t mask,
                   const char *verb)
{
  uint32_t lanes = mask & ~w->pdef[pred];
  if (!lanes)
    return;
  Origin from = undefined_origin_pred(x, w, i, pred);
  w->pdef[pred] |= lanes;
  shadow_undefined(w->cta->shadow, number(x, i), w->id, lanes, &from, verb);
}

void
undefined_guard(Exec *x, Warp *w, const Insn *i)
{
  bool branch =
      i->kind == K_STEP && (i->carry == RULE_BRANCH || i->carry == RULE_BRANCH_INDEX);
  undefined_use_pred(x, w, i, i->guard, w->active,
                     branch ? "branches on" : "is guarded by");
}
