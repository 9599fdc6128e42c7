/* Where groups of lanes are in the calls of a warp: whose frame, and who is less far. */
#include "emulator/exec/calls.h"

Frame *
calls_frame(const Warp *w, uint32_t mask, uint32_t *own)
{
  Frame *frame = w->calls->of[__builtin_ctz(mask)];
  *own = 0;
  for (uint32_t m = mask; m; m &= m - 1)
    *own |= (uint32_t)(w->calls->of[__builtin_ctz(m)] == frame) << __builtin_ctz(m);
  return frame;
}

static int
depth_of(const Frame *f)
{
  return f ? f->depth : 0;
}

/* Out of one call: where it was made. */
static void
rise(const Frame **f, int *pc, int *inside)
{
  *pc = (*f)->back - 1;
  *inside = 1 + (*f)->function;
  *f = (*f)->up;
}

/* Compares where both are in the innermost frame that they share; of two who are at the
 * same call there, the one who has not made it yet is less far. */
bool
calls_before(const Group *a, const Group *b)
{
  const Frame *f = a->frame, *g = b->frame;
  int pc = a->pc, other = b->pc, inside = 0, other_inside = 0;
  while (depth_of(f) > depth_of(g))
    rise(&f, &pc, &inside);
  while (depth_of(g) > depth_of(f))
    rise(&g, &other, &other_inside);
  while (f != g) {
    rise(&f, &pc, &inside);
    rise(&g, &other, &other_inside);
  }
  return pc != other ? pc < other : inside < other_inside;
}
