/* Which sequence of a packed batch a block of rows belongs to: a search over the rows with
 * which sequences begin, in the device's memory.
 *
 * Where whole warps search, each trip asks 32 of them, a lane each: one round of memory for
 * 32 sequences, two for 1024.  One lane alone halves. */
#include "compiler/llvm/llvm_lower.h"

enum { LANES = 32 };

typedef struct Search {
  const SequenceSearch *s;
  V base, block;
  V first, n; /* phis: the sequence is one of n from `first` on */
  LLVMBasicBlockRef loop;
} Search;

static Search
open_search(Lo *lo, const SequenceSearch *s)
{
  Search x = {.s = s, .block = idx_value(lo, s->block)};
  V from = LLVMBuildMul(lo->b, idx_value64(lo, s->first->first), k64(lo, 4), "");
  V n = idx_value(lo, s->n);
  x.base = LLVMBuildAdd(lo->b, param_value(lo, PARAM_TENSOR, s->first->slot, 0), from, "");
  lane_value(lo, LANE_LANE);
  LLVMBasicBlockRef before = LLVMGetInsertBlock(lo->b);
  x.loop = new_block(lo, "sequence");
  LLVMBuildBr(lo->b, x.loop);
  LLVMPositionBuilderAtEnd(lo->b, x.loop);
  x.first = phi_of(lo, lo->i32, k32(lo, 0), before);
  x.n = phi_of(lo, lo->i32, n, before);
  return x;
}

/* Another trip while `more`, over n from `first` on. */
static V
close_search(Lo *lo, const Search *x, V first, V n, V more)
{
  LLVMBasicBlockRef at = LLVMGetInsertBlock(lo->b);
  LLVMBasicBlockRef done = new_block(lo, "found");
  LLVMAddIncoming(x->first, &first, &at, 1);
  LLVMAddIncoming(x->n, &n, &at, 1);
  no_unrolling(lo, LLVMBuildCondBr(lo->b, more, x->loop, done));
  LLVMPositionBuilderAtEnd(lo->b, done);
  return first;
}

/* Do the blocks of sequence i begin at the number that is looked for, or before? */
static V
begins(Lo *lo, const Search *x, V i)
{
  V at = LLVMBuildAdd(lo->b, x->base,
                      LLVMBuildShl(lo->b, to64(lo->b, lo, i), k64(lo, 2), ""), "");
  V row = asm_1(lo, ASM_PURE, "ld.global.nc.b32 $0, [$1];", "=r,l", lo->i32, &at, 1);
  V first = LLVMBuildUDiv(lo->b, row, k32(lo, x->s->rows), "");
  first = LLVMBuildAdd(lo->b, first, i, "");
  return LLVMBuildICmp(lo->b, LLVMIntULE, first, x->block, "");
}

/* How many lanes of the warp say yes. */
static V
count_lanes(Lo *lo, V yes)
{
  V in = as_i32(lo, lo->b, yes);
  return asm_1(lo, ASM_EFFECT,
               "{ .reg .pred p; .reg .b32 m; setp.ne.s32 p, $1, 0; "
               "vote.sync.ballot.b32 m, p, -1; popc.b32 $0, m; }",
               "=r,r", lo->i32, &in, 1);
}

static V
search_wide(Lo *lo, const SequenceSearch *s)
{
  Search x = open_search(lo, s);
  V step = LLVMBuildAdd(lo->b, x.n, k32(lo, LANES - 1), "");
  step = LLVMBuildUDiv(lo->b, step, k32(lo, LANES), "");
  V mine = LLVMBuildMul(lo->b, lane_value(lo, LANE_LANE), step, "");
  V is = LLVMBuildICmp(lo->b, LLVMIntULT, mine, x.n, "");
  mine = LLVMBuildSelect(lo->b, is, mine, k32(lo, 0), "");
  V yes = begins(lo, &x, LLVMBuildAdd(lo->b, x.first, mine, ""));
  yes = LLVMBuildAnd(lo->b, is, yes, "");
  V last = LLVMBuildSub(lo->b, count_lanes(lo, yes), k32(lo, 1), "");
  V by = LLVMBuildMul(lo->b, last, step, "");
  V n = pick(lo->b, LLVMIntULT, step, LLVMBuildSub(lo->b, x.n, by, ""));
  V more = LLVMBuildICmp(lo->b, LLVMIntUGT, step, k32(lo, 1), "");
  return close_search(lo, &x, LLVMBuildAdd(lo->b, x.first, by, ""), n, more);
}

/* Of one sequence there is nothing to ask: half of it is none, and it begins at once. */
static V
search_alone(Lo *lo, const SequenceSearch *s)
{
  Search x = open_search(lo, s);
  V half = LLVMBuildLShr(lo->b, x.n, k32(lo, 1), "");
  V middle = LLVMBuildAdd(lo->b, x.first, half, "");
  V yes = begins(lo, &x, middle);
  V first = LLVMBuildSelect(lo->b, yes, middle, x.first, "");
  V rest = LLVMBuildSub(lo->b, x.n, half, "");
  V n = LLVMBuildSelect(lo->b, yes, rest, half, "");
  V more = LLVMBuildICmp(lo->b, LLVMIntUGT, n, k32(lo, 1), "");
  return close_search(lo, &x, first, n, more);
}

/* What depends on the sequence is computed behind the search. */
void
lower_sequence(Lo *lo, const Op *op)
{
  const SequenceSearch *s = op->search;
  lo->found[op->found.node->n] = s->alone ? search_alone(lo, s) : search_wide(lo, s);
  hoist_here(lo);
}
