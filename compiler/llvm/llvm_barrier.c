/* Named barriers (PTX ISA, "bar"): of the block, of a team, of a role, and the turns of a
 * role's teams. */
#include "compiler/llvm/llvm_lower.h"

static void
barrier(Lo *lo, const char *text, const char *constraints, V *in, int n)
{
  asm_call(lo, ASM_MEMORY, text, constraints, in, n, lo->none, NULL, 0);
}

static void
named(Lo *lo, const char *what, V id, int threads)
{
  const char *text = arena_printf(lo->arena, "bar.%s $0, %d;", what, threads);
  barrier(lo, text, "r", &id, 1);
}

static void
numbered(Lo *lo, const char *what, int id, int threads)
{
  const char *text = arena_printf(lo->arena, "bar.%s %d, %d;", what, id, threads);
  barrier(lo, text, "", NULL, 0);
}

void
team_barrier(Lo *lo)
{
  const Role *r = lo->role;
  if (!r)
    barrier(lo, "bar.sync 0;", "", NULL, 0);
  else if (r->teams == 1)
    numbered(lo, "sync", r->bar, 32 * r->warps);
  else
    named(lo, "sync", LLVMBuildAdd(lo->b, team_value(lo), k32(lo, r->bar), ""),
          32 * r->warps);
}

void
warp_barrier(Lo *lo)
{
  barrier(lo, "bar.warp.sync -1;", "", NULL, 0);
}

/* The team, or all teams of the role. */
void
lower_sync(Lo *lo, const Op *op)
{
  const Role *r = lo->role;
  if (op->kind == OP_SYNC || r->teams == 1)
    team_barrier(lo);
  else
    numbered(lo, "sync", r->bar + r->teams, 32 * r->warps * r->teams);
}

/* A turn is a barrier of two teams: who waits for it, and who passes it on. */
void
lower_order(Lo *lo, const Op *op)
{
  const OrderBarrier *t = op->order;
  int threads = 64 * lo->role->warps;
  V mine = team_value(lo), last = k32(lo, t->teams - 1);
  if (op->kind == OP_ORDER_WAIT) {
    named(lo, "sync", LLVMBuildAdd(lo->hb, mine, k32(lo, t->bar), ""), threads);
    return;
  }
  V is_last = LLVMBuildICmp(lo->hb, LLVMIntEQ, mine, last, "");
  if (op->kind == OP_ORDER_ARRIVE) {
    V next = LLVMBuildAdd(lo->hb, mine, k32(lo, t->bar + 1), "");
    V id = LLVMBuildSelect(lo->hb, is_last, k32(lo, t->bar), next, "");
    named(lo, "arrive", id, threads);
    return;
  }
  V bit = as_i32(lo, lo->b, is_last);
  const char *text = arena_printf(
      lo->arena, "{ .reg .pred p; setp.ne.u32 p, $0, 0; @p bar.arrive %d, %d; }", t->bar,
      threads);
  barrier(lo, text, "r", &bit, 1);
}
