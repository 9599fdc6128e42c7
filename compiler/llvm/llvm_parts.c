/* Between CTAs that have parts of a row's keys: sums in workspace, and who is the last to
 * have stored its own (PTX ISA, "Memory Consistency Model").
 *
 * A part lies as the threads hold it, [four numbers of each][thread]: whoever reads it is
 * the same thread of another CTA.
 *
 * By the letter a barrier, an atomic that releases and acquires, and a barrier order what
 * all threads stored before what those of the last CTA read: causality goes through
 * barriers.  Every thread that has stored fences besides, as XQA found sm_121 to need
 * (TensorRT-LLM).  The atomic is written out: LLVM 22 prints its own without order. */
#include "compiler/llvm/llvm_lower.h"

#include <stdio.h>

enum { PIECE = 4 }; /* numbers that a thread moves at once */

/* Of this thread's first four. */
static V
place(Lo *lo, const Op *op)
{
  V tid = LLVMBuildZExt(lo->b, lane_value(lo, LANE_TID), lo->i64, "");
  V at = LLVMBuildShl(lo->b, tid, k64(lo, 4), "");
  return LLVMBuildAdd(lo->b, row_address(lo, &op->view, k32(lo, 0)), at, "");
}

static int
piece_at(const Lo *lo, int i)
{
  int warps = lo->role ? lo->role->warps : lo->p->warps;
  return i * 32 * warps * PIECE * REG_BYTES;
}

void
lower_store_part(Lo *lo, const Op *op)
{
  const Val *x = op->in[0];
  V at = place(lo, op), *regs = lo->vals[x->id];
  char text[80];
  for (int i = 0; i < lower_count(x) / PIECE; i++) {
    const V *r = regs + PIECE * i;
    V in[5] = {at, r[0], r[1], r[2], r[3]};
    snprintf(text, sizeof text, "st.global.v4.f32 [$0+%d], {$1,$2,$3,$4};",
             piece_at(lo, i));
    asm_call(lo, ASM_MEMORY, text, "l,f,f,f,f", in, 5, lo->none, NULL, 0);
  }
}

void
lower_load_part(Lo *lo, const Op *op)
{
  int n;
  V at = place(lo, op), *out = lower_regs(lo, op->out, &n);
  char text[80];
  for (int i = 0; i < n / PIECE; i++) {
    snprintf(text, sizeof text, "ld.global.v4.f32 {$0,$1,$2,$3}, [$4+%d];",
             piece_at(lo, i));
    asm_call(lo, ASM_MEMORY, text, "=f,=f,=f,=f,l", &at, 1, lo->f32, out + PIECE * i, 4);
  }
}

/* Four numbers of two rows. */
static const char add_text[] =
    "{ .reg .f32 a, b, c, d; ld.global.v4.f32 {a, b, c, d}, [$4+%d]; "
    "mul.rn.ftz.f32 a, a, $6; mul.rn.ftz.f32 b, b, $6; mul.rn.ftz.f32 c, c, $8; "
    "mul.rn.ftz.f32 d, d, $8; fma.rn.ftz.f32 $0, $9, $5, a; fma.rn.ftz.f32 $1, $10, $5, b; "
    "fma.rn.ftz.f32 $2, $11, $7, c; fma.rn.ftz.f32 $3, $12, $7, d; }";

void
lower_add_part(Lo *lo, const Op *op)
{
  int n, of_rows = val_cols(op->out) / 8; /* pieces of 16 rows */
  V at = place(lo, op), *out = lower_regs(lo, op->out, &n);
  V *o = lo->vals[op->in[0]->id], *own = lo->vals[op->in[1]->id],
    *its = lo->vals[op->in[2]->id];
  for (int i = 0; i < n / PIECE; i++) {
    int row = i / of_rows * 2;
    V *x = o + PIECE * i;
    V in[9] = {at, own[row], its[row], own[row + 1], its[row + 1], x[0], x[1], x[2], x[3]};
    asm_call(lo, ASM_MEMORY, arena_printf(lo->arena, add_text, piece_at(lo, i)),
             "=f,=f,=f,=f,l,f,f,f,f,0,1,2,3", in, 9, lo->f32, out + PIECE * i, 4);
  }
}

void
lower_last(Lo *lo, const Op *op)
{
  V n = idx_value(lo, op->bound);
  V flag =
      LLVMBuildAdd(lo->b, lane_value(lo, LANE_SMEM), k32(lo, op->smem.mem->offset), "");
  V counter = row_address(lo, &op->view, k32(lo, 0));
  V in[4] = {counter, n, flag, lane_value(lo, LANE_TID)};
  asm_call(lo, ASM_MEMORY, "{ .reg .pred p; setp.gt.s32 p, $0, 1; @p fence.acq_rel.gpu; }",
           "r", &n, 1, lo->none, NULL, 0);
  team_barrier(lo);
  asm_call(lo, ASM_MEMORY,
           "{ .reg .pred me, p; .reg .b32 last, old; setp.eq.s32 me, $3, 0; "
           "setp.gt.and.s32 p, $1, 1, me; sub.s32 last, $1, 1; mov.b32 old, last; "
           "@p atom.acq_rel.gpu.global.inc.u32 old, [$0], last; "
           "setp.eq.s32 p, old, last; selp.b32 old, 1, 0, p; "
           "@me st.shared.b32 [$2], old; }",
           "l,r,r,r", in, 4, lo->none, NULL, 0);
  team_barrier(lo);
  lo->found[op->found.node->n] =
      asm_1(lo, ASM_MEMORY, "ld.shared.b32 $0, [$1];", "=r,r", lo->i32, &flag, 1);
}
