/* Do the four warps of a warpgroup execute the same sequence of wgmma instructions, with
 * the same descriptors?  The warp that comes first to a step writes it down, the others
 * compare; a step that all have done is forgotten. */
#include "emulator/exec/machine.h"
#include "emulator/check/report.h"

#include <stdlib.h>
#include <string.h>

enum { GROUP = 4, KEPT = 64 };

typedef struct First {
  WgmmaOp op;
  int warp; /* that came first */
} First;

struct WgmmaLog {
  First *at;
  uint64_t base; /* number of at[0] */
  size_t n, cap;
  bool told; /* of a difference: what follows says nothing new */
};

struct WgmmaLog *
wgmma_log_new(void)
{
  return calloc(1, sizeof(struct WgmmaLog));
}

void
wgmma_log_free(struct WgmmaLog *l)
{
  if (l)
    free(l->at);
  free(l);
}

void
wgmma_log_reset(struct WgmmaLog *l)
{
  l->base = 0;
  l->n = 0;
  l->told = false;
}

static bool
append(struct WgmmaLog *l, const WgmmaOp *op, int warp)
{
  if (l->n == l->cap) {
    size_t cap = l->cap ? 2 * l->cap : KEPT;
    First *at = realloc(l->at, cap * sizeof *at);
    if (!at)
      return false;
    l->at = at;
    l->cap = cap;
  }
  l->at[l->n++] = (First){*op, warp};
  return true;
}

static void
forget(struct WgmmaLog *l, const Warp *first)
{
  uint64_t done = first->wgmma->steps;
  for (int j = 1; j < GROUP; j++)
    done = first[j].wgmma->steps < done ? first[j].wgmma->steps : done;
  size_t n = (size_t)(done - l->base);
  if (n < KEPT || n < l->n / 2)
    return;
  l->n -= n;
  l->base = done;
  memmove(l->at, l->at + n, l->n * sizeof *l->at);
}

static void
compare(Exec *x, Warp *w, struct WgmmaLog *l, const First *s, const WgmmaOp *op)
{
  const WgmmaOp *o = &s->op;
  if (o->insn == op->insn && o->a == op->a && o->b == op->b && o->zero == op->zero)
    return;
  l->told = true;
  if (o->insn != op->insn)
    report_error(x, w, op->insn, "wgmma-warpgroup", -1,
                 "warp %d of the warpgroup executes line %d instead", s->warp,
                 o->insn->line);
  else
    report_error(x, w, op->insn, "wgmma-warpgroup", -1,
                 "warp %d of the warpgroup executes it with %s", s->warp,
                 o->zero != op->zero ? "another scale-d" : "other descriptors");
}

bool
wgmma_agree(Exec *x, Warp *w, const WgmmaOp *op)
{
  Warp *first = &w->cta->warp[w->id / GROUP * GROUP];
  struct WgmmaLog *l = first->wgmma->log;
  if (!x->launch->set.checks || l->told)
    return true;
  size_t n = (size_t)(w->wgmma->steps++ - l->base);
  if (n == l->n)
    return append(l, op, w->id);
  compare(x, w, l, &l->at[n], op);
  forget(l, first);
  return true;
}

void
wgmma_agree_end(Exec *x, const Cta *c, int first)
{
  const Warp *w = &c->warp[first];
  struct WgmmaLog *l = w->wgmma->log;
  for (int j = 0; j < GROUP && first + j < c->n_warps && !l->told; j++) {
    size_t n = (size_t)(w[j].wgmma->steps - l->base);
    if (n >= l->n)
      continue;
    l->told = true;
    report_error(x, &w[j], l->at[n].op.insn, "wgmma-warpgroup", -1,
                 "warp %d executes this, the warp has ended without", l->at[n].warp);
  }
}
