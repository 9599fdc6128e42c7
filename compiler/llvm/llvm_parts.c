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

/* ---- sums that any CTAs add to ---- */

/* A row of the region is 16 rows of the tile: of each eight columns the four numbers of a
 * lane, side by side where the target adds four at once, else
 * each of them those of all lanes, so that an instruction is of 128 bytes in a row. */
enum { BLOCK_BYTES = 4 * 32 * REG_BYTES };

static bool
adds_four(const Lo *lo)
{
  return lo->p->target->red_four && lo->ptx >= RED_FOUR_PTX;
}

static V
lane_place(Lo *lo, V address)
{
  V lane = LLVMBuildZExt(lo->b, lane_value(lo, LANE_LANE), lo->i64, "");
  lane = LLVMBuildShl(lo->b, lane, k64(lo, adds_four(lo) ? 4 : 2), "");
  return LLVMBuildAdd(lo->b, address, lane, "");
}

/* Of a row that is not there: nothing. */
static V
there(Lo *lo, const View *v, V row)
{
  V is = row_inside(lo, v, row);
  return is ? as_i32(lo, lo->b, is) : k32(lo, 1);
}

/* The lane's four numbers of eight columns, from byte `from` of its address on. */
static void
add_block(Lo *lo, V at, V is, int from, const V r[4])
{
  V in[6] = {at, r[0], r[1], r[2], r[3], is};
  Str text = str_new(lo->arena);
  str_put(&text, "{ .reg .pred p; setp.ne.s32 p, $5, 0; ");
  if (adds_four(lo))
    str_printf(&text, "@p red.relaxed.gpu.global.add.v4.f32 [$0+%d], {$1,$2,$3,$4}; ",
               from);
  for (int i = 0; i < 4 && !adds_four(lo); i++)
    str_printf(&text, "@p red.relaxed.gpu.global.add.f32 [$0+%d], $%d; ",
               from + i * 32 * REG_BYTES, i + 1);
  str_put(&text, "}");
  asm_call(lo, ASM_MEMORY, text.p, "l,f,f,f,f,r", in, 6, lo->none, NULL, 0);
}

/* A dealt tile's blocks are each warp's n-th; of an accumulator a warp has whole rows. */
void
lower_reduce_out(Lo *lo, const Op *op)
{
  const Val *x = op->in[0];
  bool dealt = x->lay == LAY_DEALT;
  int n8s = val_dealt_cols(x) / 8, mt = val_tiles_m(x);
  V column = dealt ? dealt_column(lo, x)
                   : LLVMBuildLShr(lo->hb, idx_value(lo, op->first), k32(lo, 3), "");
  column = LLVMBuildMul(lo->hb, column, k32(lo, BLOCK_BYTES), "");
  column = LLVMBuildZExt(lo->hb, column, lo->i64, "");
  V own = dealt ? dealt_row(lo, x)
                : LLVMBuildMul(lo->hb, lane_value(lo, LANE_WARP), k32(lo, mt), "");
  for (int m = 0; m < mt; m++) {
    V row = LLVMBuildAdd(lo->b, own, k32(lo, dealt ? m * x->warps : m), "");
    V at = lane_place(lo, row_address(lo, &op->view, row));
    V is = there(lo, &op->view, row);
    at = LLVMBuildAdd(lo->b, at, column, "");
    for (int n8 = 0; n8 < n8s; n8++)
      add_block(lo, at, is, n8 * x->warps_n * BLOCK_BYTES,
                lo->vals[x->id] + (m * n8s + n8) * 4);
  }
}

static void
load_block(Lo *lo, V at, V is, int from, V out[4])
{
  V in[2] = {at, is};
  Str text = str_new(lo->arena);
  str_put(&text, "{ .reg .pred p; setp.ne.s32 p, $5, 0; "
                 "mov.b32 $0, 0; mov.b32 $1, 0; mov.b32 $2, 0; mov.b32 $3, 0; ");
  if (adds_four(lo))
    str_printf(&text, "@p ld.global.v4.f32 {$0,$1,$2,$3}, [$4+%d]; ", from);
  for (int i = 0; i < 4 && !adds_four(lo); i++)
    str_printf(&text, "@p ld.global.f32 $%d, [$4+%d]; ", i, from + i * 32 * REG_BYTES);
  str_put(&text, "}");
  asm_call(lo, ASM_MEMORY, text.p, "=&f,=&f,=&f,=&f,l,r", in, 2, lo->f32, out, 4);
}

void
lower_load_sums(Lo *lo, const Op *op)
{
  int n, mt = val_tiles_m(op->out), n8s = op->out->cols / 8;
  V *out = lower_regs(lo, op->out, &n);
  V first = LLVMBuildMul(lo->b, lane_value(lo, LANE_WARP), k32(lo, mt), "");
  for (int m = 0; m < mt; m++) {
    V row = LLVMBuildAdd(lo->b, first, k32(lo, m), "");
    V at = lane_place(lo, row_address(lo, &op->view, row));
    V is = there(lo, &op->view, row);
    for (int n8 = 0; n8 < n8s; n8++)
      load_block(lo, at, is, n8 * BLOCK_BYTES, out + (m * n8s + n8) * 4);
  }
}
