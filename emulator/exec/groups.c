/* Groups of a warp's lanes: those that run, those that are parked; and what they write. */
#include "emulator/exec/calls.h"
#include "emulator/exec/lanes.h"

#include <string.h>

/* Regroupings without a merge after which groups take turns: a lane that waits for another
 * of its warp in a loop would keep it from ever coming. */
enum { SPINS = 4096 };

const uint32_t *
exec_expand(Exec *x, uint32_t mask)
{
  if (x->blend_mask != mask) {
    x->code->expand(x->blend, mask);
    x->blend_mask = mask;
  }
  return x->blend;
}

void
exec_put32(Exec *x, Warp *w, uint32_t row, const uint32_t *lanes, uint32_t mask)
{
  uint32_t *d = row32(w, row);
  if (mask == FULL)
    memcpy(d, lanes, LANES * sizeof *d);
  else
    x->code->blend32(d, lanes, exec_expand(x, mask));
}

void
exec_put64(Exec *x, Warp *w, uint32_t row, const uint64_t *lanes, uint32_t mask)
{
  uint64_t *d = row64(w, row);
  if (mask == FULL)
    memcpy(d, lanes, LANES * sizeof *d);
  else
    x->code->blend64(d, lanes, exec_expand(x, mask));
}

void
exec_wake(Exec *x, Cta *c)
{
  x->asked = 0;
  for (int j = 0; j < c->n_warps; j++) {
    c->warp[j].stalled = false;
    c->warp[j].failed = 0;
  }
}

static void
park_in(Warp *w, Frame *frame, int pc, uint32_t mask, bool waiting)
{
  for (int i = 0; i < w->n_parked; i++)
    if (w->parked[i].pc == pc && w->parked[i].frame == frame) {
      w->parked[i].mask |= mask;
      w->parked[i].waiting = w->parked[i].tried = false;
      w->spins = 0;
      return;
    }
  w->parked[w->n_parked++] =
      (Group){pc, mask, waiting, w->mixed && waiting, frame, w->executed};
}

/* Each with those of its own frame. */
void
exec_park(Warp *w, int pc, uint32_t mask, bool waiting)
{
  while (w->mixed && mask) {
    uint32_t own;
    Frame *frame = calls_frame(w, mask, &own);
    park_in(w, frame, pc, own, waiting);
    mask &= ~own;
  }
  if (mask)
    park_in(w, w->frame, pc, mask, waiting);
}

/* The one that is least far, as if calls were the text of what they call; in turns, who has
 * not run for longest; -1: all wait. */
static int
choose(const Warp *w)
{
  int best = -1;
  bool turns = w->spins > SPINS;
  for (int i = 0; i < w->n_parked; i++) {
    const Group *g = &w->parked[i], *b = &w->parked[best < 0 ? i : best];
    bool before = g->frame == b->frame ? g->pc < b->pc : calls_before(g, b);
    if (!g->waiting && (best < 0 || (turns ? g->since < b->since : before)))
      best = i;
  }
  return best;
}

static void
take(Warp *w, int i)
{
  w->pc = w->parked[i].pc;
  w->active = w->parked[i].mask;
  w->frame = w->parked[i].frame;
  w->mixed = false;
  w->parked[i] = w->parked[--w->n_parked];
}

bool
exec_take(Warp *w)
{
  int i = w->n_parked ? choose(w) : -1;
  if (i >= 0)
    take(w, i);
  return i >= 0;
}

Stop
exec_block(Exec *x, Warp *w, const Insn *i, uint32_t mask, uint32_t waits_for)
{
  ShadowCount *count = &shadow_counts(w->cta->shadow)[i - x->kernel->code];
  count->count--;
  count->threads -= (uint32_t)__builtin_popcount(mask);
  w->stalled = true;
  w->stalled_line = i->line;
  w->waits_for = waits_for;
  return BLOCK;
}
