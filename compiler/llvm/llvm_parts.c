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
#include <string.h>

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

static void
load_piece(Lo *lo, V at, int i, V out[PIECE])
{
  char text[80];
  snprintf(text, sizeof text, "ld.global.v4.f32 {$0,$1,$2,$3}, [$4+%d];", piece_at(lo, i));
  asm_call(lo, ASM_MEMORY, text, "=f,=f,=f,=f,l", &at, 1, lo->f32, out, PIECE);
}

void
lower_load_part(Lo *lo, const Op *op)
{
  int n;
  V at = place(lo, op), *out = lower_regs(lo, op->out, &n);
  for (int i = 0; i < n / PIECE; i++)
    load_piece(lo, at, i, out + PIECE * i);
}

enum { PIECES_AHEAD = 8 }; /* whose loads may be on their way at once */

/* Two numbers of each of two rows.  LLVM 22, and ptxas 13.0, would load all of a part
 * first, and a thread hold it beside the sum, of which it has 128 registers: so it is one
 * piece of text, and no load passes the barrier of the warp. */
static void
add_piece(Lo *lo, V at, int i, V x[PIECE], const V own[2], const V its[2])
{
  char text[400];
  V in[9] = {x[0], x[1], x[2], x[3], at, own[0], own[1], its[0], its[1]};
  snprintf(text, sizeof text,
           "%s{ .reg .f32 a, b, c, d; ld.global.v4.f32 {a,b,c,d}, [$8+%d]; "
           "mul.rn.ftz.f32 a, a, $11; mul.rn.ftz.f32 b, b, $11; "
           "mul.rn.ftz.f32 c, c, $12; mul.rn.ftz.f32 d, d, $12; "
           "fma.rn.ftz.f32 $0, $4, $9, a; fma.rn.ftz.f32 $1, $5, $9, b; "
           "fma.rn.ftz.f32 $2, $6, $10, c; fma.rn.ftz.f32 $3, $7, $10, d; }",
           i && i % PIECES_AHEAD == 0 ? "bar.warp.sync -1; " : "", piece_at(lo, i));
  asm_call(lo, ASM_MEMORY, text, "=f,=f,=f,=f,0,1,2,3,l,f,f,f,f", in, 9, lo->f32, x, PIECE);
}

void
lower_add_part(Lo *lo, const Op *op)
{
  int n, of_block = val_cols(op->out) / 8 * PIECE;
  V at = place(lo, op), *out = lower_regs(lo, op->out, &n);
  memcpy(out, lo->vals[op->in[0]->id], (size_t)n * sizeof *out);
  for (int i = 0; i < n; i += PIECE) {
    int row = 2 * (i / of_block);
    add_piece(lo, at, i / PIECE, out + i, lo->vals[op->in[1]->id] + row,
              lo->vals[op->in[2]->id] + row);
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
