/* Counters in shared memory by which a block of threads sorts (t_bins).
 *
 * Each warp has a counter of its own in each bin, so that places do not depend on which
 * warp comes first: the list is the same at every launch.  Counters lie bin by bin, in a
 * bin by warps; a scan over all of them in this order makes places of them.  For that each
 * warp has n of them that follow each other, four a lane and trip. */
#include "compiler/llvm/llvm_lower.h"

enum { LANES = 32, QUAD = 4, WORD = 4 };

static V
at_word(Lo *lo, const Bins *bins, V word)
{
  V base = LLVMBuildAdd(lo->b, lane_value(lo, LANE_SMEM), k32(lo, bins->mem->offset), "");
  return LLVMBuildAdd(lo->b, base, LLVMBuildShl(lo->b, word, k32(lo, 2), ""), "");
}

/* The sum of a warp's counters. */
static V
at_sum(Lo *lo, const Bins *bins, V warp)
{
  return at_word(lo, bins, LLVMBuildAdd(lo->b, warp, k32(lo, bins->n * bins->warps), ""));
}

/* This lane's first four of the warp's counters. */
static V
at_mine(Lo *lo, const Bins *bins)
{
  V first = LLVMBuildMul(lo->b, lane_value(lo, LANE_WARP), k32(lo, bins->n), "");
  V lane = LLVMBuildShl(lo->b, lane_value(lo, LANE_LANE), k32(lo, 2), "");
  return at_word(lo, bins, LLVMBuildAdd(lo->b, first, lane, ""));
}

static V
trip_at(Lo *lo, V mine, int trip)
{
  return LLVMBuildAdd(lo->b, mine, k32(lo, trip * BINS_TRIP * WORD), "");
}

static void
load_quad(Lo *lo, V at, V x[QUAD])
{
  asm_call(lo, ASM_MEMORY, "ld.shared.v4.b32 {$0,$1,$2,$3}, [$4];", "=r,=r,=r,=r,r", &at, 1,
           lo->i32, x, QUAD);
}

static void
store_quad(Lo *lo, V at, const V x[QUAD])
{
  V in[1 + QUAD] = {at, x[0], x[1], x[2], x[3]};
  asm_call(lo, ASM_MEMORY, "st.shared.v4.b32 [$0], {$1,$2,$3,$4};", "r,r,r,r,r", in,
           1 + QUAD, lo->none, NULL, 0);
}

/* Counters of 0, before anybody adds. */
void
lower_bins(Lo *lo, const Op *op)
{
  V mine = at_mine(lo, op->bins), zero = k32(lo, 0), none[QUAD] = {zero, zero, zero, zero};
  for (int i = 0; i < op->bins->n / BINS_TRIP; i++)
    store_quad(lo, trip_at(lo, mine, i), none);
  team_barrier(lo);
}

/* This warp's counter of the operation's bin. */
static V
at_bin(Lo *lo, const Op *op)
{
  V first = LLVMBuildMul(lo->b, idx_value(lo, op->at_word), k32(lo, op->bins->warps), "");
  return at_word(lo, op->bins, LLVMBuildAdd(lo->b, first, lane_value(lo, LANE_WARP), ""));
}

static V
when_bit(Lo *lo, const Op *op)
{
  return as_i32(lo, lo->b, as_bit(lo, idx_value(lo, op->when)));
}

void
lower_bins_add(Lo *lo, const Op *op)
{
  V at = at_bin(lo, op), more = idx_value(lo, op->word), when = when_bit(lo, op);
  V in[3] = {at, more, when};
  asm_call(lo, ASM_MEMORY,
           "{ .reg .pred p; setp.ne.s32 p, $2, 0; @p red.shared.add.u32 [$0], $1; }",
           "r,r,r", in, 3, lo->none, NULL, 0);
}

/* ---- the scan ---- */

static V
plus(Lo *lo, V x, V y)
{
  return LLVMBuildAdd(lo->b, x, y, "");
}

static V
quad_sum(Lo *lo, const V x[QUAD])
{
  V low = plus(lo, x[0], x[1]), high = plus(lo, x[2], x[3]);
  return plus(lo, low, high);
}

/* Over the lanes of the warp. */
static V
lanes_sum(Lo *lo, V x)
{
  for (int by = 1; by < LANES; by *= 2) {
    V in[2] = {x, k32(lo, by)};
    V other = asm_1(lo, ASM_EFFECT, "shfl.sync.bfly.b32 $0, $1, $2, 0x1f, -1;", "=r,r,n",
                    lo->i32, in, 2);
    x = plus(lo, x, other);
  }
  return x;
}

/* Of each lane the sum of those up to it. */
static V
lanes_scan(Lo *lo, V x)
{
  for (int by = 1; by < LANES; by *= 2) {
    V in[2] = {x, k32(lo, by)};
    x = asm_1(lo, ASM_EFFECT,
              "{ .reg .pred p; .reg .b32 x; shfl.sync.up.b32 x|p, $1, $2, 0, -1; "
              "mov.b32 $0, $1; @p add.s32 $0, $1, x; }",
              "=&r,r,n", lo->i32, in, 2);
  }
  return x;
}

static V
last_lane(Lo *lo, V x)
{
  return asm_1(lo, ASM_EFFECT, "shfl.sync.idx.b32 $0, $1, 31, 0x1f, -1;", "=r,r", lo->i32,
               &x, 1);
}

/* What the warp's own counters come to, for all to see. */
static void
tell_sum(Lo *lo, const Bins *bins)
{
  V mine = at_mine(lo, bins), sum = k32(lo, 0), x[QUAD];
  for (int i = 0; i < bins->n / BINS_TRIP; i++) {
    load_quad(lo, trip_at(lo, mine, i), x);
    sum = plus(lo, sum, quad_sum(lo, x));
  }
  sum = lanes_sum(lo, sum);
  V at = at_sum(lo, bins, lane_value(lo, LANE_WARP)), lane = lane_value(lo, LANE_LANE);
  V in[3] = {at, sum, lane};
  asm_call(lo, ASM_MEMORY,
           "{ .reg .pred p; setp.eq.s32 p, $2, 0; @p st.shared.b32 [$0], $1; }", "r,r,r",
           in, 3, lo->none, NULL, 0);
  team_barrier(lo);
}

/* Of the warps before this one; *all: of all warps. */
static V
sum_before(Lo *lo, const Bins *bins, V *all)
{
  V before = k32(lo, 0), warp = lane_value(lo, LANE_WARP);
  *all = before;
  for (int i = 0; i < bins->warps; i++) {
    V at = at_sum(lo, bins, k32(lo, i));
    V x = asm_1(lo, ASM_MEMORY, "ld.shared.b32 $0, [$1];", "=r,r", lo->i32, &at, 1);
    V is = LLVMBuildICmp(lo->b, LLVMIntULT, k32(lo, i), warp, "");
    before = plus(lo, before, LLVMBuildSelect(lo->b, is, x, k32(lo, 0), ""));
    *all = plus(lo, *all, x);
  }
  return before;
}

void
lower_bins_scan(Lo *lo, const Op *op)
{
  const Bins *bins = op->bins;
  V x[QUAD], all;
  team_barrier(lo);
  tell_sum(lo, bins);
  V mine = at_mine(lo, bins), before = sum_before(lo, bins, &all);
  for (int i = 0; i < bins->n / BINS_TRIP; i++) {
    V at = trip_at(lo, mine, i);
    load_quad(lo, at, x);
    V own = quad_sum(lo, x), up_to = lanes_scan(lo, own);
    V place = plus(lo, before, LLVMBuildSub(lo->b, up_to, own, ""));
    for (int k = 0; k < QUAD; k++) {
      V n = x[k];
      x[k] = place;
      place = plus(lo, place, n);
    }
    store_quad(lo, at, x);
    before = plus(lo, before, last_lane(lo, up_to));
  }
  team_barrier(lo);
  lo->found[op->found.node->n] = all;
}

/* ---- places ---- */

/* The same where each lane takes as many places as it says: a lane's begin behind those of
 * the lanes before it, which are added up one by one, in a loop: lists are short. */
static void
take_several(Lo *lo, const Op *op, V at, V bin, V when)
{
  V in[4] = {at, bin, when, idx_value(lo, op->word)};
  lo->found[op->found.node->n] =
      asm_1(lo, ASM_MEMORY,
            "{ .reg .pred p, q; .reg .b32 bin, same, n, lane, j, x, is, sum; "
            "setp.ne.s32 p, $3, 0; selp.b32 bin, $2, -1, p; selp.b32 n, $4, 0, p; "
            "match.any.sync.b32 same, bin, -1; mov.u32 lane, %laneid; "
            "mov.b32 j, 0; mov.b32 $0, 0; mov.b32 sum, 0; "
            "NEXT: shfl.sync.idx.b32 x, n, j, 0x1f, -1; "
            "shr.u32 is, same, j; and.b32 is, is, 1; mul.lo.s32 x, x, is; "
            "add.s32 sum, sum, x; setp.lt.u32 q, j, lane; @q add.s32 $0, $0, x; "
            "add.s32 j, j, 1; setp.lt.u32 q, j, 32; @q bra NEXT; "
            "mov.u32 lane, %lanemask_lt; and.b32 lane, lane, same; mov.b32 x, 0; "
            "@p ld.shared.b32 x, [$1]; add.s32 sum, sum, x; "
            "setp.eq.and.s32 q, lane, 0, p; bar.warp.sync -1; "
            "@q st.shared.b32 [$1], sum; bar.warp.sync -1; add.s32 $0, $0, x; }",
            "=&r,r,r,r,r", lo->i32, in, 4);
}

/* Lanes of one bin have places side by side, in their order; the first of them moves the
 * counter on.  A warp's lanes alone look at it, and wait for each other. */
void
lower_bins_take(Lo *lo, const Op *op)
{
  V at = at_bin(lo, op), bin = idx_value(lo, op->at_word), when = when_bit(lo, op);
  V in[3] = {at, bin, when};
  if (op->word.node || op->word.k != 1) {
    take_several(lo, op, at, bin, when);
    return;
  }
  lo->found[op->found.node->n] =
      asm_1(lo, ASM_MEMORY,
            "{ .reg .pred p, q; .reg .b32 bin, same, lower, n; "
            "setp.ne.s32 p, $3, 0; selp.b32 bin, $2, -1, p; "
            "match.any.sync.b32 same, bin, -1; "
            "mov.u32 lower, %lanemask_lt; and.b32 lower, lower, same; "
            "popc.b32 lower, lower; popc.b32 n, same; mov.b32 $0, 0; "
            "@p ld.shared.b32 $0, [$1]; add.s32 n, n, $0; "
            "setp.eq.and.s32 q, lower, 0, p; bar.warp.sync -1; "
            "@q st.shared.b32 [$1], n; bar.warp.sync -1; add.s32 $0, $0, lower; }",
            "=&r,r,r,r", lo->i32, in, 3);
}

void
lower_store_word(Lo *lo, const Op *op)
{
  const Lookup *x = op->list;
  V base = param_value(lo, PARAM_WORKSPACE, x->slot, 0);
  V row = to64(lo->b, lo, idx_value(lo, op->at_word));
  V at = LLVMBuildMul(lo->b, row, idx_value64(lo, x->stride[0]), "");
  at = LLVMBuildAdd(lo->b, at, idx_value64(lo, x->first), "");
  at = LLVMBuildShl(lo->b, at, k64(lo, 2), "");
  at = LLVMBuildAdd(lo->b, base, at, "");
  V value = idx_value(lo, op->word), when = when_bit(lo, op);
  V in[3] = {at, value, when};
  asm_call(lo, ASM_MEMORY,
           "{ .reg .pred p; setp.ne.s32 p, $2, 0; @p st.global.b32 [$0], $1; }", "l,r,r",
           in, 3, lo->none, NULL, 0);
}
