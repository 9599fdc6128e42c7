/* Lanes of one warp that exchange data through shared memory: between one lane's access and
 * another's, one of them a write, both must have met at an instruction that waits for lanes
 * (bar.warp.sync, barriers, any collective .sync; a fence is taken for one).  Each warp
 * counts such meetings; each word has the lane and the count of its last write and of its
 * reads.  Two lanes have met since if both have taken part in a later meeting, which need
 * not be the same one: what is reported is certain, and some of what is wrong is not.
 *
 * A count is kept in ten bits.  Every 1024 meetings of a warp the clock moves, and what is
 * older than that is not asked. */
#include "emulator/check/shadow_part.h"

#include <stdio.h>
#include <string.h>

void
shadow_lanes_reset(Shadow *s)
{
  s->lanes = s->checks && !s->launch->info.lax;
  s->ragged = 0;
  for (int w = 0; w < s->warps; w++) {
    s->met[w] = s->met_whole[w] = s->lane_from[w] = 1;
    memset(s->lane_met[w], 0, sizeof s->lane_met[w]);
  }
}

void
shadow_lanes_restart(Shadow *s)
{
  for (int w = 0; w < SH_WARPS; w++)
    s->lane_from[w] = s->time;
}

void
shadow_lanes_met(Shadow *s, int warp, uint32_t mask, bool whole)
{
  if (!s->lanes)
    return;
  uint32_t n = ++s->met[warp];
  if (whole) {
    s->met_whole[warp] = n;
    s->ragged &= ~(1u << warp);
  } else {
    for (uint32_t m = mask; m; m &= m - 1)
      s->lane_met[warp][__builtin_ctz(m)] = n;
    s->ragged |= 1u << warp;
  }
  if (n % LANE_MEETINGS == 0) {
    shadow_tick(s);
    s->lane_from[warp] = s->time;
  }
}

static uint32_t
last_met(const Shadow *s, int warp, int lane)
{
  uint32_t whole = s->met_whole[warp], part = s->lane_met[warp][lane];
  return part > whole ? part : whole;
}

/* Both have met others since the access of the key. */
static bool
met_since(const Shadow *s, int warp, LaneKey key, int lane)
{
  uint32_t now = s->met[warp];
  uint32_t then = now - ((now - (key >> LANE_BITS)) & (LANE_MEETINGS - 1));
  if (last_met(s, warp, lane) <= then)
    return false;
  return key & LANE_MANY || last_met(s, warp, key & 31) > then;
}

/* Does nothing order the access of the key before that of the lane? */
static bool
apart(const Shadow *s, int warp, LaneKey key, uint32_t time, int lane)
{
  bool same = !(key & LANE_MANY) && (int)(key & 31) == lane;
  return !same && (time & SH_TIME_MAX) >= s->lane_from[warp] &&
         !met_since(s, warp, key, lane);
}

static void
report(Shadow *s, const ShadowAccess *a, int lane, uint32_t addr, uint16_t field,
       LaneKey key, const char *did)
{
  static const char *const verbs[] = {"reads", "writes", "updates", "copies into"};
  int insn = (int)(field & ~R_INFLATED) - 1;
  char who[40] = "other lanes";
  if (!(key & LANE_MANY))
    snprintf(who, sizeof who, "lane %d", key & 31);
  Report r = {.kind = SHADOW_LANES,
              .insn = a->insn,
              .other = insn,
              .warp = a->warp,
              .other_warp = a->warp,
              .lane = lane,
              .other_cta = -1,
              .addr = addr};
  shadow_report(
      s, &r,
      "%s shared memory at byte %u, which %s of the warp %s at line %d: they have "
      "not met since at a bar.warp.sync or another instruction that waits for "
      "lanes",
      verbs[a->op], addr, who, did, shadow_line(s, insn));
}

/* Lanes of one store that meet in a word are compared by their values. */
static bool
one_store(const Word *x, const ShadowAccess *a)
{
  return a->op == SHADOW_WRITE && x->w_insn == a->insn + 1;
}

static void
check_write(Shadow *s, const Word *x, const ShadowAccess *a, int lane, uint32_t addr,
            uint32_t bytes)
{
  bool atomics = (x->w & W_ATOMIC) && a->op == SHADOW_ATOMIC;
  bool mine = !(x->w & W_ASYNC) && (x->w >> 24 & 31) == (uint32_t)a->warp;
  if (!mine || atomics || one_store(x, a) || (x->w_lane & LANE_MANY) ||
      !(x->r >> 24 & bytes & 15) || !apart(s, a->warp, x->w_lane, x->w, lane))
    return;
  report(s, a, lane, addr, x->w_insn, x->w_lane, "writes");
}

void
shadow_lane_reads(Shadow *s, const Word *x, const ShadowAccess *a, int lane, uint32_t addr,
                  uint32_t bytes)
{
  if (s->lanes)
    check_write(s, x, a, lane, addr, bytes);
}

void
shadow_lane_writes(Shadow *s, const Word *x, const ShadowAccess *a, int lane, uint32_t addr,
                   uint32_t bytes)
{
  if (!s->lanes)
    return;
  check_write(s, x, a, lane, addr, bytes);
  bool alone = !(x->r_insn & R_INFLATED) && x->readers == 1u << a->warp;
  if (!alone || (x->r_lane & LANE_MIXED) == LANE_MIXED || !(x->r >> 28 & bytes) ||
      !apart(s, a->warp, x->r_lane, x->r, lane))
    return;
  report(s, a, lane, addr, x->r_insn, x->r_lane, "may still be reading");
}
