/* Kernels of one stream that may overlap: a launch with programmatic serialization may
 * start before the one in front of it has ended, and what that one does is only there for
 * those who executed griddepcontrol.wait, or to whom they have told of it (PTX ISA,
 * "griddepcontrol"). */
#include "emulator/shadow_part.h"

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
