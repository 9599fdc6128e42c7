/* Kernels that may overlap.  On one stream, or by an edge of a graph: a programmatic launch
 * may start before the one in front of it has ended, and what that one does is only there
 * for those who executed griddepcontrol.wait, or to whom they have told of it (PTX ISA,
 * "griddepcontrol").  Others: nothing orders streams and nodes of a graph but events,
 * synchronisation and edges. */
#include "emulator/check/shadow_part.h"

#include <stdio.h>

void
shadow_grid_wait(Shadow *s, int warp)
{
  if (!s->grid_waited)
    atomic_fetch_add(&s->launch->waits, 1);
  s->grid_waited = true;
  if (!s->checks || s->grid_wait[warp])
    return;
  shadow_after_arrival(s, warp); /* who heard of the warp before has not heard of this */
  s->grid_wait[warp] = s->time;
}

void
shadow_grid_trigger(Shadow *s)
{
  if (!s->grid_waited && !s->grid_triggered)
    atomic_fetch_add(&s->launch->triggers, 1);
  s->grid_triggered = true;
}

static bool
told(const Shadow *of, const Shadow *s, int warp)
{
  const Known *k = s == of ? &s->known[warp] : shadow_known(s, warp, of->rank);
  for (int w = 0; w < of->warps; w++)
    if (of->grid_wait[w] && k->time[w] >= of->grid_wait[w])
      return true;
  return false;
}

bool
shadow_grid_waited(const Shadow *s, int warp)
{
  bool waited = told(s, s, warp);
  for (int i = 0; i < s->n_peers && !waited; i++)
    waited = told(s->peers[i], s, warp);
  return waited;
}

void
shadow_grid_report(Shadow *s, const ShadowAccess *a, int lane, uint64_t addr,
                   uint64_t number, int insn, const char *does)
{
  static const char *const verbs[] = {"reads", "writes", "updates", "copies from",
                                      "writes"};
  const ShadowInfo *info = &s->launch->info;
  ShadowOther other = {"another launch", 0};
  char line[24] = "";
  uint64_t n = number % SHADOW_LAUNCHES;
  bool ahead = info->ahead && (info->ahead->bits[n / 64] >> n % 64 & 1);
  if (info->describe)
    info->describe(info->user, number, insn, &other);
  if (other.line)
    snprintf(line, sizeof line, " at line %d", other.line);
  Report r = {
      ahead ? SHADOW_GRID : SHADOW_STREAM, a->insn, -1, a->warp, -1, lane, -1, addr};
  if (ahead)
    shadow_report(s, &r,
                  "%s global memory at 0x%llx, which %s before it %s%s, and may still be "
                  "running: no griddepcontrol.wait that waits for it came before",
                  verbs[a->op], (unsigned long long)addr, other.who, does, line);
  else
    shadow_report(s, &r,
                  "%s global memory at 0x%llx, which %s %s%s: no stream, event, "
                  "synchronisation or edge of a graph orders the two",
                  verbs[a->op], (unsigned long long)addr, other.who, does, line);
}
