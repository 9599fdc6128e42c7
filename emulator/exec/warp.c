#include "emulator/exec/steps.h"

Stop
warp_gather_all(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  if (mask == FULL) {
    shadow_lanes_met(w->cta->shadow, w->id, FULL, true);
    return GO;
  }
  if (w->active != w->live)
    return PARK;
  return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "partial-warp", -1,
                      "an aligned instruction is executed by lanes %08x alone", mask);
}

/* The lanes of `mask` and all that their member masks (row c) name must be here. */
static Stop
gather(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  const uint32_t *members = row32(w, i->c);
  uint32_t needed = 0;
  for (int l = 0; l < LANES; l++) {
    if (!(mask >> l & 1))
      continue;
    if (!(members[l] >> l & 1))
      return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "member-mask", l,
                          "the lane is not in its own member mask %08x", members[l]);
    needed |= members[l];
  }
  uint32_t absent = needed & w->live & ~mask;
  if (!absent) {
    shadow_lanes_met(w->cta->shadow, w->id, needed & mask, !(w->live & ~needed));
    return GO;
  }
  if (absent & ~w->active)
    return PARK;
  return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "partial-warp", -1,
                      "the member masks name lanes %08x, whose guard is false", absent);
}

Stop
step_warp_sync(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = gather(x, w, i, mask);
  if (s == GO)
    shadow_warp_sync(w->cta->shadow, w->id, mask);
  return s;
}

/* ---- shfl: PTX ISA, "shfl.sync" ---- */

int
warp_source_lane(int mode, int lane, uint32_t b, uint32_t c, bool *valid)
{
  int by = (int)(b & 31), clamp = (int)(c & 31), seg = (int)(c >> 8 & 31);
  int top = (lane & seg) | (clamp & ~seg), low = lane & seg, j = lane;
  switch (mode) {
  case SHFL_UP:
    j = lane - by;
    *valid = j >= top;
    break;
  case SHFL_DOWN:
    j = lane + by;
    *valid = j <= top;
    break;
  case SHFL_BFLY:
    j = lane ^ by;
    *valid = j <= top;
    break;
  default:
    j = low | (by & ~seg);
    *valid = j <= top;
    break;
  }
  return *valid ? j : lane;
}

static void
set_pred(Warp *w, uint16_t p, uint32_t value, uint32_t mask)
{
  w->pred[p] = (w->pred[p] & ~mask) | (value & mask);
}

Stop
step_shfl(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = gather(x, w, i, mask);
  if (s != GO)
    return s;
  const uint32_t *a = row32(w, i->a), *b = row32(w, i->b);
  const uint32_t *c = row32(w, x->kernel->lists[i->list]);
  uint32_t d[LANES], valid = 0;
  int missing = -1;
  for (int l = 0; l < LANES; l++) {
    bool ok;
    int j = warp_source_lane(i->shfl.mode, l, b[l], c[l], &ok);
    valid |= (uint32_t)ok << l;
    d[l] = a[j];
    if ((mask >> l & 1) && !(mask >> j & 1))
      missing = l;
  }
  if (missing >= 0)
    report_error(x, w, i, "inactive-lane", missing,
                 "the value is read from an inactive lane");
  exec_put32(x, w, i->d, d, mask);
  set_pred(w, i->pd, valid, mask);
  return GO;
}

/* ---- votes ---- */

Stop
step_vote(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = gather(x, w, i, mask);
  if (s != GO)
    return s;
  uint32_t p = (w->pred[i->ps] ^ (i->ps_not ? FULL : 0)) & mask, r = 0, d[LANES];
  const uint32_t *members = row32(w, i->c);
  for (int l = 0; l < LANES; l++) {
    uint32_t m = members[l] & mask, yes = p & m;
    bool holds = i->vote.mode == VOTE_ALL   ? yes == m
                 : i->vote.mode == VOTE_ANY ? yes != 0
                                            : yes == m || !yes;
    d[l] = yes;
    r |= (uint32_t)holds << l;
  }
  if (i->vote.mode == VOTE_BALLOT)
    exec_put32(x, w, i->d, d, mask);
  else
    set_pred(w, i->pd, r, mask);
  return GO;
}

static uint64_t
value(const Warp *w, const Insn *i, int lane)
{
  return i->match.bytes == 8 ? row64(w, i->a)[lane] : row32(w, i->a)[lane];
}

Stop
step_match(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = gather(x, w, i, mask);
  if (s != GO)
    return s;
  const uint32_t *members = row32(w, i->c);
  uint32_t d[LANES] = {0}, all = 0;
  for (int l = 0; l < LANES; l++) {
    if (!(mask >> l & 1))
      continue;
    uint32_t m = members[l] & mask;
    for (int j = 0; j < LANES; j++)
      d[l] |= (uint32_t)((m >> j & 1) && value(w, i, j) == value(w, i, l)) << j;
    if (i->match.all && d[l] != m)
      d[l] = 0;
    all |= (uint32_t)(d[l] == m) << l;
  }
  exec_put32(x, w, i->d, d, mask);
  set_pred(w, i->pd, all, mask);
  return GO;
}

static uint32_t
reduce(const Insn *i, uint32_t a, uint32_t b)
{
  bool less = i->redux.sign ? (int32_t)a < (int32_t)b : a < b;
  switch (i->redux.op) {
  case A_ADD:
    return a + b;
  case A_MIN:
    return less ? a : b;
  case A_MAX:
    return less ? b : a;
  case A_AND:
    return a & b;
  case A_OR:
    return a | b;
  default:
    return a ^ b;
  }
}

/* Floating point through the code for 32 lanes; an operation with itself is what one lane
 * gives. */
static uint32_t
reduce_float(const Insn *i, const uint32_t *a, uint32_t members)
{
  uint32_t r[LANES], b[LANES];
  bool first = true;
  for (int j = 0; j < LANES; j++) {
    if (!(members >> j & 1))
      continue;
    for (int l = 0; l < LANES; l++)
      b[l] = a[j];
    i->op.fn(&i->op, r, first ? b : r, b, NULL);
    first = false;
  }
  return r[0];
}

static uint32_t
reduce_all(const Insn *i, const uint32_t *a, uint32_t members)
{
  uint32_t d = 0;
  bool first = true;
  if (i->op.fn)
    return reduce_float(i, a, members);
  for (int j = 0; j < LANES; j++)
    if (members >> j & 1) {
      d = first ? a[j] : reduce(i, d, a[j]);
      first = false;
    }
  return d;
}

Stop
step_redux(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = gather(x, w, i, mask);
  if (s != GO)
    return s;
  const uint32_t *members = row32(w, i->c), *a = row32(w, i->a);
  uint32_t d[LANES] = {0};
  for (int l = 0; l < LANES; l++)
    if (mask >> l & 1)
      d[l] = reduce_all(i, a, members[l] & mask);
  exec_put32(x, w, i->d, d, mask);
  return GO;
}

Stop
step_activemask(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t d[LANES];
  for (int l = 0; l < LANES; l++)
    d[l] = w->active;
  exec_put32(x, w, i->d, d, mask);
  return GO;
}

/* Which lane is elected is the chip's choice; here the lowest. */
Stop
step_elect(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = gather(x, w, i, mask);
  if (s != GO)
    return s;
  const uint32_t *members = row32(w, i->c);
  uint32_t d[LANES] = {0}, p = 0;
  for (int l = 0; l < LANES; l++) {
    if (!(mask >> l & 1))
      continue;
    d[l] = (uint32_t)__builtin_ctz(members[l] & mask);
    p |= (uint32_t)(d[l] == (uint32_t)l) << l;
  }
  exec_put32(x, w, i->d, d, mask);
  set_pred(w, i->pd, p, mask);
  return GO;
}
