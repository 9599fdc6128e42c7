/* Which tiles a walk with a test visits: the mask's intervals are asked on the way, from
 * the highest tile down.
 *
 * Where whole warps search, each lane asks about a tile of its own: the words of those that
 * are to be visited are gathered in the lanes of one register, in order, and a trip takes
 * the next one by a shuffle.  That is asked again after as many trips, by code that stands
 * aside. A lane that is alone asks tile after tile. */
#include "compiler/llvm/llvm_lower.h"

enum { LANES = 32 };
enum { NEXT_TILE, TAKEN, FILLED, QUEUE }; /* the state; of a lane that is alone the first */

int
seek_state(const Seek *s)
{
  return s->lanes ? SEEK_STATE : NEXT_TILE + 1;
}

static V
number_of(Lo *lo, const Region *r, V n)
{
  return LLVMBuildShl(lo->b, n, seek_flags(lo, r), "");
}

V
seek_end(Lo *lo, const Region *r)
{
  V least = idx_value(lo, r->span.lo);
  return LLVMBuildShl(idx_builder(lo, r->span.lo), least, seek_flags(lo, r), "");
}

/* The word of tile n, or of the tile at place n of lists; *empty: it is not to be visited.
 */
static V
ask(Lo *lo, const Region *r, V n, V *empty)
{
  int outer = lo->loop_id;
  lo->loop_id = r->id;
  lo->loop_var[r->id] = n;
  lo->late++;
  *empty = as_bit(lo, idx_value(lo, r->cond));
  V partial = as_i32(lo, lo->b, as_bit(lo, idx_value(lo, r->is_partial)));
  V word = number_of(lo, r, r->listed ? idx_value(lo, r->tile) : n);
  if (r->has_whole) {
    V whole = as_i32(lo, lo->b, as_bit(lo, idx_value(lo, r->is_whole)));
    word = LLVMBuildOr(lo->b, word, LLVMBuildShl(lo->b, whole, k32(lo, 1), ""), "");
  }
  lo->loop_id = outer;
  lo->late++;
  return LLVMBuildOr(lo->b, word, partial, "");
}

static V
next_alone(Lo *lo, const Region *r)
{
  Seek *s = &lo->seek[r->id];
  LLVMBasicBlockRef at = new_block(lo, "seek"), in = new_block(lo, "ask"),
                    done = new_block(lo, "found"), pre = LLVMGetInsertBlock(lo->b);
  V empty, least = idx_value(lo, r->span.lo);
  LLVMBuildBr(lo->b, at);
  LLVMPositionBuilderAtEnd(lo->b, at);
  V n = phi_of(lo, lo->i32, s->state[NEXT_TILE], pre), none = number_of(lo, r, n);
  V some = LLVMBuildICmp(lo->b, LLVMIntSLE, least, n, "");
  LLVMBuildCondBr(lo->b, some, in, done);
  LLVMPositionBuilderAtEnd(lo->b, in);
  V word = ask(lo, r, n, &empty), next = LLVMBuildSub(lo->b, n, k32(lo, 1), "");
  LLVMBasicBlockRef back = LLVMGetInsertBlock(lo->b);
  no_unrolling(lo, LLVMBuildCondBr(lo->b, empty, at, done));
  LLVMAddIncoming(n, &next, &back, 1);
  LLVMPositionBuilderAtEnd(lo->b, done);
  V found = phi_of(lo, lo->i32, none, at);
  LLVMAddIncoming(found, &word, &back, 1);
  s->state[NEXT_TILE] = LLVMBuildSub(lo->b, n, k32(lo, 1), "");
  return found;
}

/* ---- whole warps ---- */

static V
count_bits(Lo *lo, V x)
{
  return asm_1(lo, ASM_PURE, "popc.b32 $0, $1;", "=r,r", lo->i32, &x, 1);
}

/* The place of the bit that has `rank` others below it. */
static V
place_of_rank(Lo *lo, V bits, V rank)
{
  V at = k32(lo, 0), none = at;
  for (int half = LANES / 2; half; half /= 2) {
    V low = LLVMBuildAnd(lo->b, bits, k32(lo, (1 << half) - 1), "");
    V below = count_bits(lo, low);
    V up = LLVMBuildICmp(lo->b, LLVMIntULE, below, rank, "");
    V less = LLVMBuildSelect(lo->b, up, below, none, "");
    V high = LLVMBuildLShr(lo->b, bits, k32(lo, half), "");
    rank = LLVMBuildSub(lo->b, rank, less, "");
    bits = LLVMBuildSelect(lo->b, up, high, bits, "");
    at = LLVMBuildAdd(lo->b, at, LLVMBuildSelect(lo->b, up, k32(lo, half), none, ""), "");
  }
  return at;
}

static V
from_lane(Lo *lo, V x, V lane)
{
  V in[2] = {x, lane};
  return asm_1(lo, ASM_EFFECT, "shfl.sync.idx.b32 $0, $1, $2, 31, -1;", "=r,r,r", lo->i32,
               in, 2);
}

/* The lanes' tiles from `top` down: which are to be visited, by lane.  A lane below the
 * least tile asks about that one: what a number of a tile indexes relies on its bounds. */
static V
ask_lanes(Lo *lo, const Region *r, V top, V *word)
{
  V empty, n = LLVMBuildSub(lo->b, top, lane_value(lo, LANE_LANE), "");
  V least = idx_value(lo, r->span.lo);
  V in = LLVMBuildICmp(lo->b, LLVMIntSLE, least, n, "");
  *word = ask(lo, r, LLVMBuildSelect(lo->b, in, n, least, ""), &empty);
  V visit = LLVMBuildAnd(lo->b, in, LLVMBuildNot(lo->b, empty, ""), "");
  V bit = as_i32(lo, lo->b, visit);
  return asm_1(lo, ASM_EFFECT,
               "{ .reg .pred p; setp.ne.u32 p, $1, 0; vote.sync.ballot.b32 $0, p, -1; }",
               "=r,r", lo->i32, &bit, 1);
}

/* Adds what comes from `now` over to the phis of what is carried there. */
static void
come_from(LLVMBasicBlockRef from, V *phi, V *now)
{
  for (int i = 0; i < SEEK_STATE; i++)
    LLVMAddIncoming(phi[i], &now[i], &from, 1);
}

/* Fills the queue, and goes to `full`; where no tile is left, with words that say so.  What
 * `full` is to have of the state are its phis. */
static void
fill(Lo *lo, const Region *r, LLVMBasicBlockRef full, V *phi)
{
  Seek *s = &lo->seek[r->id];
  LLVMBasicBlockRef at = new_block(lo, "seek"), in = new_block(lo, "ask"),
                    some = new_block(lo, "gather"), none = new_block(lo, "end"),
                    pre = LLVMGetInsertBlock(lo->b);
  V word, least = idx_value(lo, r->span.lo);
  LLVMBuildBr(lo->b, at);
  LLVMPositionBuilderAtEnd(lo->b, at);
  V top = phi_of(lo, lo->i32, s->state[NEXT_TILE], pre);
  LLVMBuildCondBr(lo->b, LLVMBuildICmp(lo->b, LLVMIntSLE, least, top, ""), in, none);
  LLVMPositionBuilderAtEnd(lo->b, in);
  V visit = ask_lanes(lo, r, top, &word);
  V next = LLVMBuildSub(lo->b, top, k32(lo, LANES), "");
  LLVMBasicBlockRef back = LLVMGetInsertBlock(lo->b);
  V any = LLVMBuildICmp(lo->b, LLVMIntNE, visit, k32(lo, 0), "");
  no_unrolling(lo, LLVMBuildCondBr(lo->b, any, some, at));
  LLVMAddIncoming(top, &next, &back, 1);
  LLVMPositionBuilderAtEnd(lo->b, some);
  V lane = place_of_rank(lo, visit, lane_value(lo, LANE_LANE));
  V gathered[SEEK_STATE] = {[NEXT_TILE] = next, [TAKEN] = k32(lo, 0)};
  gathered[FILLED] = count_bits(lo, visit);
  gathered[QUEUE] = from_lane(lo, word, lane);
  LLVMBuildBr(lo->b, full);
  come_from(some, phi, gathered);
  LLVMPositionBuilderAtEnd(lo->b, none);
  V below = number_of(lo, r, LLVMBuildSub(lo->b, least, k32(lo, 1), ""));
  V ended[SEEK_STATE] = {top, k32(lo, 0), k32(lo, INT32_MAX), below};
  LLVMBuildBr(lo->b, full);
  come_from(none, phi, ended);
}

static V
next_of_lanes(Lo *lo, const Region *r)
{
  Seek *s = &lo->seek[r->id];
  LLVMBasicBlockRef empty = new_block(lo, "empty"), full = new_block(lo, "full"),
                    pre = LLVMGetInsertBlock(lo->b);
  V phi[SEEK_STATE];
  V gone = LLVMBuildICmp(lo->b, LLVMIntEQ, s->state[TAKEN], s->state[FILLED], "");
  hardly_ever(lo, LLVMBuildCondBr(lo->b, gone, empty, full));
  LLVMPositionBuilderAtEnd(lo->b, full);
  for (int i = 0; i < SEEK_STATE; i++)
    phi[i] = phi_of(lo, lo->i32, s->state[i], pre);
  LLVMPositionBuilderAtEnd(lo->b, empty);
  fill(lo, r, full, phi);
  LLVMPositionBuilderAtEnd(lo->b, full);
  lo->late++;
  for (int i = 0; i < SEEK_STATE; i++)
    s->state[i] = phi[i];
  s->state[TAKEN] = LLVMBuildAdd(lo->b, phi[TAKEN], k32(lo, 1), "");
  return from_lane(lo, phi[QUEUE], phi[TAKEN]);
}

V
seek_next(Lo *lo, const Region *r)
{
  return lo->seek[r->id].lanes ? next_of_lanes(lo, r) : next_alone(lo, r);
}

static bool
alone(const Region *r)
{
  const Region *warp = region_warp(r);
  return warp && !warp->whole;
}

/* The first tile: where there is none, one that is visited all the same, PARTIAL: the
 * lowest, or of lists one behind all keys, of which nothing is seen. */
static V
first_word(Lo *lo, const Region *r, V word)
{
  V end = seek_end(lo, r);
  if (!r->listed) {
    V one = LLVMBuildOr(idx_builder(lo, r->span.lo), end, k32(lo, 1), "");
    return pick(lo->b, LLVMIntSGT, word, one);
  }
  V none = number_of(lo, r, idx_value(lo, r->none));
  none = LLVMBuildOr(lo->b, none, k32(lo, r->has_whole ? 3 : 1), "");
  V is = LLVMBuildICmp(lo->b, LLVMIntSLE, end, word, "");
  return LLVMBuildSelect(lo->b, is, word, none, "");
}

void
lower_seek(Lo *lo, const Region *r)
{
  Seek *s = &lo->seek[r->id];
  s->lanes = !alone(r);
  for (int i = 0; i < SEEK_STATE; i++)
    s->state[i] = k32(lo, 0);
  s->state[NEXT_TILE] = idx_value(lo, r->span.hi);
  for (int i = 0; i < r->n_found; i++) {
    V word = seek_next(lo, r);
    s->found[i] = i ? word : first_word(lo, r, word);
    lo->found[r->found[i].node->n] = seek_tile(lo, r, s->found[i]);
  }
  if (r->has_whole)
    lo->found[r->first_whole.node->n] = seek_whole(lo, s->found[0]);
}
