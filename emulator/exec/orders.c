/* A launch under several orders of CTAs, each from the same device memory, and what comes
 * out differently.
 *
 * The order that the settings name runs last: memory, and what later launches are held
 * against, is as after that one alone. */
#include "emulator/check/findings.h"
#include "emulator/exec/machine.h"
#include "emulator/check/report.h"
#include "emulator/async/tensormap.h"
#include "emulator/exec/undo.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TENSORS = 64, NAME = 120 };

/* What of the differences belongs together: of one parameter's memory. */
typedef struct Tensor {
  uint64_t base;
  char name[NAME];
  uint64_t first, count; /* offset from base; elements of the first order that differs */
  int insn, unit, orders;
  int order; /* that differed first */
  uint8_t was[8], is[8];
} Tensor;

typedef struct Orders {
  Launch *l;
  Undo *undo;
  Tensor tensor[TENSORS];
  int n_tensors;
  int now,
      compared; /* the order that has just run; the one that others are compared with */
  bool counted[TENSORS];
  CUresult *result;
} Orders;

/* ---- which orders ---- */

/* 0 is that of the settings, 1 and 2 the others of forward and reverse. */
static void
choose(const Launch *l, int k, CtaOrder *order, uint64_t *seed)
{
  CtaOrder rest[2] = {CTAS_REVERSE, CTAS_RANDOM};
  if (l->set.ctas == CTAS_REVERSE)
    rest[0] = CTAS_FORWARD;
  if (l->set.ctas == CTAS_RANDOM) {
    rest[0] = CTAS_FORWARD;
    rest[1] = CTAS_REVERSE;
  }
  *order = !k ? l->set.ctas : k <= 2 ? rest[k - 1] : CTAS_RANDOM;
  *seed = l->set.seed + (uint64_t)k;
}

static const char *
name_of(const Launch *l, int k, char text[NAME])
{
  CtaOrder order;
  uint64_t seed;
  choose(l, k, &order, &seed);
  if (order == CTAS_RANDOM)
    snprintf(text, NAME, "ctas=random (%" PRIu64 ")", seed);
  else
    snprintf(text, NAME, "ctas=%s", order_name(order));
  return text;
}

/* ---- whose memory it is ---- */

/* Pointers in a parameter: the one that is nearest below an address. */
static void
nearest_in(const Launch *l, int index, const Alloc *a, uint64_t address, Tensor *t)
{
  const Var *v = l->kernel->ast->params.at[index];
  TmaMap map;
  for (uint64_t at = 0; at + 8 <= v->bytes; at += 8) {
    uint64_t p;
    memcpy(&p, l->params + v->offset + at, sizeof p);
    if (at == 0 && v->bytes >= CUDA_TENSOR_MAP_BYTES &&
        tma_decode(&map, l->params + v->offset))
      p = map.address;
    if (p < a->base || p > address || (t->base && p <= t->base))
      continue;
    t->base = p;
    if (at)
      snprintf(t->name, sizeof t->name, "parameter %d (%s, byte %" PRIu64 ")", index,
               v->name, at);
    else
      snprintf(t->name, sizeof t->name, "parameter %d (%s)", index, v->name);
  }
}

static void
find_variable(const Launch *l, const Alloc *a, Tensor *t)
{
  t->base = a->base;
  const char *name = l->variable(l, a->base);
  if (name)
    snprintf(t->name, sizeof t->name, "variable %s", name);
  else
    snprintf(t->name, sizeof t->name, "device memory at 0x%llx",
             (unsigned long long)a->base);
}

static Tensor
tensor_of(const Launch *l, const Alloc *a, uint64_t address)
{
  Tensor t = {0};
  for (int i = 0; i < l->kernel->ast->params.n; i++)
    nearest_in(l, i, a, address, &t);
  if (!t.base)
    find_variable(l, a, &t);
  return t;
}

/* ---- what differs ---- */

static void
on_difference(void *user, const Difference *d)
{
  Orders *o = user;
  const Alloc *a = &o->l->allocs[d->alloc];
  Tensor t = tensor_of(o->l, a, a->base + d->at);
  int i = 0;
  while (i < o->n_tensors && o->tensor[i].base != t.base)
    i++;
  if (i == TENSORS)
    return;
  if (i == o->n_tensors) {
    o->n_tensors++;
    t.first = a->base + d->at - t.base;
    t.insn = d->insn;
    t.unit = d->unit;
    t.order = o->now;
    memcpy(t.was, d->was, (size_t)(d->unit < 8 ? d->unit : 8));
    memcpy(t.is, d->is, (size_t)(d->unit < 8 ? d->unit : 8));
    o->tensor[i] = t;
  }
  o->tensor[i].count += o->tensor[i].order == o->now;
  o->tensor[i].orders += !o->counted[i];
  o->counted[i] = true;
}

static void
compare(Orders *o)
{
  memset(o->counted, 0, sizeof o->counted);
  undo_compare(o->undo, on_difference, o);
}

static void
put_value(const Insn *i, int unit, const uint8_t *bytes, char *text, size_t n)
{
  uint64_t v = 0;
  float f;
  memcpy(&v, bytes, (size_t)(unit < 8 ? unit : 8));
  memcpy(&f, bytes, sizeof f);
  int at = snprintf(text, n, "0x%0*" PRIx64, 2 * (unit < 8 ? unit : 8), v);
  if (unit == 4 && i->mem.type == T_F32)
    snprintf(text + at, n - (size_t)at, " (%.9g)", (double)f);
}

static void
report(const Orders *o, const Tensor *t)
{
  const Launch *l = o->l;
  const Insn *i = &l->kernel->code[t->insn];
  char is[60], was[60], one[NAME], other[NAME], line[1000];
  int n, runs = l->set.orders - 1;
  const char *text = ptx_line(l->kernel->ptx, i->line, &n);
  put_value(i, t->unit, t->is, is, sizeof is);
  put_value(i, t->unit, t->was, was, sizeof was);
  snprintf(line, sizeof line,
           "ptx:%d: error[order-dependent]: %s, byte %" PRIu64 ", element %" PRIu64
           " of %d bytes: %s under %s, %s under %s; %" PRIu64
           " elements of it differ, and under %d of %d other orders some do (%s): %.*s",
           i->line, t->name, t->first, t->first / (uint64_t)t->unit, t->unit, is,
           name_of(l, t->order, one), was, name_of(l, o->compared, other), t->count,
           t->orders, runs, l->kernel->name, n > 150 ? 150 : n, text);
  findings_keep(line, l->set.tell);
}

/* It ends in some orders only. */
static void
report_results(const Orders *o)
{
  const Launch *l = o->l;
  char one[NAME], other[NAME], line[500];
  int k = 1;
  while (k < l->set.orders && o->result[k] == o->result[0])
    k++;
  if (k == l->set.orders)
    return;
  const char *was = launch_result_name(o->result[0]);
  const char *is = launch_result_name(o->result[k]);
  snprintf(
      line, sizeof line,
      "ptx:%d: error[order-dependent]: the kernel ends with %s under %s, with %s under "
      "%s (%s)",
      l->kernel->ast->line, was ? was : "", name_of(l, 0, one), is ? is : "",
      name_of(l, k, other), l->kernel->name);
  findings_keep(line, l->set.tell);
}

/* ---- the runs ---- */

static CUresult
run(Orders *o, const Launch *input, int k)
{
  Launch *l = o->l;
  *l = *input;
  l->undo = o->undo;
  l->again = k > 0;
  l->number = k ? shadow_number() : input->number;
  choose(input, k, &l->ctas_order, &l->order_seed);
  o->now = k;
  return o->result[k] = launch_in_order(l);
}

/* From the second to the last order, then the first. */
static void
run_all(Orders *o, const Launch *input)
{
  int n = input->set.orders;
  for (int j = 1; j <= n; j++) {
    bool ok = !run(o, input, j % n);
    if (ok && o->compared < 0) {
      o->compared = j % n;
      undo_keep_image(o->undo);
    } else if (ok) {
      compare(o);
    }
    if (j < n)
      undo_restore(o->undo);
  }
}

static CUresult
run_orders(Launch *l)
{
  const Launch input = *l;
  Orders *o = calloc(1, sizeof *o);
  CUresult *result = calloc((size_t)l->set.orders, sizeof *result);
  Undo *u = undo_new(l->allocs, l->n_allocs);
  CUresult r = CUDA_ERROR_OUT_OF_MEMORY;
  if (o && result && u) {
    *o = (Orders){.l = l, .undo = u, .compared = -1, .result = result};
    run_all(o, &input);
    r = result[0];
    report_results(o);
    for (int i = 0; i < o->n_tensors; i++)
      report(o, &o->tensor[i]);
    stats_found((uint64_t)o->n_tensors);
  }
  undo_free(u);
  free(result);
  free(o);
  return r;
}

CUresult
launch_run(Launch *l)
{
  l->ctas_order = l->set.ctas;
  l->order_seed = l->set.seed;
  return l->set.orders > 1 ? run_orders(l) : launch_in_order(l);
}
