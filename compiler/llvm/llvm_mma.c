/* Products of warps: ldmatrix from the swizzled panels, mma.sync (PTX ISA, "Matrix
 * fragments for mma.m16n8k16"; a step of depth is two of m16n8k8), and the way of a
 * fragment back to shared memory. */
#include "compiler/llvm/llvm_lower.h"

#include <stdio.h>
#include <string.h>

/* The pattern in the stage of its ring, from its first row on. */
static V
at_stage(Lo *lo, V pattern, const Smem *s)
{
  V stage = s->wait_id ? lo->slot[s->wait_id] : NULL;
  if (stage)
    pattern = LLVMBuildAdd(lo->b, pattern, stage, "");
  if (smem_from_start(s))
    return pattern;
  V at = LLVMBuildShl(lo->b, idx_value(lo, s->row), k32(lo, 7), "");
  return LLVMBuildAdd(lo->b, pattern, at, "");
}

static void
ldmatrix(Lo *lo, V address, int at, bool trans, V out[4])
{
  char text[96];
  snprintf(text, sizeof text,
           "ldmatrix.sync.aligned.m8n8.x4%s.shared.b16 {$0,$1,$2,$3}, [$4+%d];",
           trans ? ".trans" : "", at);
  asm_call(lo, ASM_EFFECT, text, "=r,=r,=r,=r,r", &address, 1, lo->i32, out, 4);
}

static int
panel_at(const SmemDecl *d, int step)
{
  return d->offset + step / PANEL_STEPS * d->rows * PANEL_BYTES;
}

/* The A operand of block m, k-step ks, from shared memory. */
void
load_left(Lo *lo, const Smem *s, int mt, int m, int ks, V out[4])
{
  V address = at_stage(lo, lane_pattern(lo, 'a', mt, ks % PANEL_STEPS), s);
  ldmatrix(lo, address, panel_at(s->mem, ks) + m * 16 * PANEL_BYTES, false, out);
}

void
load_pair(Lo *lo, const Smem *s, int mt, int r, int n8, V out[2])
{
  char text[64];
  V address = at_stage(lo, lane_pattern(lo, 'p', mt, n8 % PANEL_STEPS), s);
  snprintf(text, sizeof text, "ld.shared.v2.b32 {$0,$1}, [$2+%d];",
           panel_at(s->mem, n8) + r * 8 * PANEL_BYTES);
  asm_call(lo, ASM_EFFECT, text, "=r,=r,r", &address, 1, lo->i32, out, 2);
}

/* A column lies in one piece: pairs of the lane's columns are eight bytes. */
void
lower_cols(Lo *lo, const Op *op)
{
  int n;
  char text[64];
  const Smem *s = &op->smem;
  V *out = lower_regs(lo, op->out, &n);
  V at = LLVMBuildShl(lo->b, lane_value(lo, LANE_COL), k32(lo, 2), "");
  at = LLVMBuildAdd(lo->b, lane_value(lo, LANE_SMEM), at, "");
  V stage = s->wait_id ? lo->slot[s->wait_id] : NULL;
  if (stage)
    at = LLVMBuildAdd(lo->b, at, stage, "");
  for (int i = 0; i < n; i += 2) {
    V pair[2];
    snprintf(text, sizeof text, "ld.shared.v2.f32 {$0,$1}, [$2+%d];",
             s->mem->offset + i / 2 * 32);
    asm_call(lo, ASM_EFFECT, text, "=f,=f,r", &at, 1, lo->f32, pair, 2);
    memcpy(out + i, pair, sizeof pair);
  }
}

/* Of the columns of the result that the warp has. */
static V
right_pattern(Lo *lo, const Val *x, const Smem *s, char kind, int ks)
{
  if (x->warps_n == 1)
    return lane_pattern(lo, kind, 0, ks);
  return lane_columns(lo, kind, val_cols(x), ks, s->mem->rows);
}

/* Two B operands (16 columns of the result) of one k-step: {b0, b1} of the first eight
 * columns, {b2, b3} of the others.  Across the rows of the box, its elements are of 16 bits
 * and a step of depth is 16 rows, from the warp's own first one on where it has a part. */
static void
load_right(Lo *lo, const Op *op, int n16, int ks, V out[4])
{
  const Val *x = op->out;
  const Smem *s = &op->smem;
  if (s->trans) { /* columns of the result are rows of the box */
    V address = at_stage(lo, right_pattern(lo, x, s, 'k', ks % PANEL_STEPS), s);
    ldmatrix(lo, address, panel_at(s->mem, ks) + n16 * 16 * PANEL_BYTES, false, out);
    return;
  }
  V pattern = val_part_depth(op->in[1]) ? lane_columns(lo, 'd', val_cols(op->in[1]),
                                                       n16 % PANEL_STEPS, s->mem->rows)
                                        : right_pattern(lo, x, s, 'v', n16 % PANEL_STEPS);
  ldmatrix(lo, at_stage(lo, pattern, s), panel_at(s->mem, n16) + ks * 16 * PANEL_BYTES,
           true, out);
}

/* One B operand (the warp's 8 columns of the result) of two k-steps, or of the last one
 * alone: {b0, b1} of the first, {b2, b3} of the second. */
static void
load_narrow(Lo *lo, const Op *op, int ks, bool both, V out[4])
{
  const Smem *s = &op->smem;
  V address = at_stage(lo, right_pattern(lo, op->out, s, 'n', ks % PANEL_STEPS), s);
  if (both) {
    ldmatrix(lo, address, panel_at(s->mem, ks), false, out);
    return;
  }
  char text[80];
  snprintf(text, sizeof text, "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {$0,$1}, [$2+%d];",
           panel_at(s->mem, ks));
  asm_call(lo, ASM_EFFECT, text, "=r,=r,r", &address, 1, lo->i32, out, 2);
}

typedef struct Mma {
  const Op *op;
  int mt, n8;                     /* blocks of 16 rows a warp, of 8 columns */
  int each, n_a, n_b;             /* instructions of a step; registers of one's operands */
  const char *text, *constraints; /* of an instruction */
  V *out;
} Mma;

/* D, A, B and C in this order, so that C is the accumulator as it stands. */
static void
instruction(Lo *lo, Mma *p, const ProductInfo *info, Dtype ty)
{
  Str text = str_new(lo->arena), how = str_new(lo->arena);
  const char *name = dtype_info[ty].mma;
  str_put(&text, "mma.sync.aligned.");
  str_printf(&text, info->shape, info->cols_most, product_depth(info, ty));
  str_printf(&text, ".row.col.f32.%s.%s.f32 ", name, name);
  const struct {
    const char *what;
    int n;
  } part[] = {{"=f", 4}, {"r", p->n_a}, {"r", p->n_b}, {"f", 4}};
  for (int i = 0, at = 0; i < 4; at += part[i++].n) {
    str_put(&text, i ? ", " : "");
    asm_registers(&text, at, part[i].n);
    asm_constraint(&how, part[i].what, part[i].n);
  }
  str_put(&text, ";");
  p->text = text.p;
  p->constraints = how.p;
}

/* One step of depth. */
static void
mma(Lo *lo, const Mma *p, V *acc, const V *a, const V *b)
{
  for (int i = 0; i < p->each; i++) {
    V in[4 + 2 + 4];
    memcpy(in, a + i * p->n_a, (size_t)p->n_a * sizeof *in);
    memcpy(in + p->n_a, b + i * p->n_b, (size_t)p->n_b * sizeof *in);
    memcpy(in + p->n_a + p->n_b, acc, 4 * sizeof *in);
    asm_call(lo, ASM_PURE, p->text, p->constraints, in, p->n_a + p->n_b + 4, lo->f32, acc,
             4);
  }
}

static void
left(Lo *lo, const Mma *p, int m, int ks, V a[4])
{
  const Val *tile = p->op->in[1];
  if (!tile)
    load_left(lo, &p->op->left, p->mt, m, ks, a);
  else
    memcpy(a, lo->vals[tile->id] + (m * op_steps(p->op) + ks) * 4, 4 * sizeof *a);
}

static void
k_step(Lo *lo, const Mma *p, int ks)
{
  V *a = NEW_N(lo->arena, V, 4 * p->mt), b[4];
  for (int m = 0; m < p->mt; m++)
    left(lo, p, m, ks, a + 4 * m);
  for (int n16 = 0; n16 < (p->n8 + 1) / 2; n16++) {
    load_right(lo, p->op, n16, ks, b);
    for (int e = 0; e < 2 && 2 * n16 + e < p->n8; e++)
      for (int m = 0; m < p->mt; m++)
        mma(lo, p, p->out + (m * p->n8 + 2 * n16 + e) * 4, a + 4 * m, b + 2 * e);
  }
}

/* Of 8 columns a step of depth has one product a block of rows: of one block every other
 * step has a sum of its own, or each would wait for the one before. */
static void
narrow_steps(Lo *lo, const Mma *p)
{
  int steps = op_steps(p->op);
  bool two = p->mt == 1 && steps > 1;
  V odd[4] = {kf(lo, 0), kf(lo, 0), kf(lo, 0), kf(lo, 0)}, a[4], b[4];
  for (int ks = 0; ks < steps; ks++) {
    if (ks % 2 == 0)
      load_narrow(lo, p->op, ks, ks + 1 < steps, b);
    for (int m = 0; m < p->mt; m++) {
      left(lo, p, m, ks, a);
      mma(lo, p, two && ks % 2 ? odd : p->out + 4 * m, a, b + ks % 2 * 2);
    }
  }
  for (int i = 0; i < 4 && two; i++)
    p->out[i] = LLVMBuildFAdd(lo->b, p->out[i], odd[i], "");
}

void
lower_product(Lo *lo, const Op *op)
{
  int n;
  Mma p = {.op = op, .out = lower_regs(lo, op->out, &n)};
  p.mt = val_tiles_m(op->out);
  p.n8 = val_cols(op->out) / 8;
  p.each = STEP_BYTES / op->product->depth_bytes;
  p.n_a = 4 / p.each;
  p.n_b = 2 / p.each;
  instruction(lo, &p, op->product, op->smem.mem->ty);
  for (int i = 0; i < n; i++)
    p.out[i] = op->in[0] ? lo->vals[op->in[0]->id][i] : kf(lo, 0);
  for (int ks = 0; ks < op_steps(op) && !op->out->narrow; ks++)
    k_step(lo, &p, ks);
  if (op->out->narrow)
    narrow_steps(lo, &p);
}

/* ---- of two boxes, dealt to the warps ---- */

V
dealt_row(Lo *lo, const Val *x)
{
  return LLVMBuildAnd(lo->hb, lane_value(lo, LANE_WARP), k32(lo, x->warps - 1), "");
}

V
dealt_column(Lo *lo, const Val *x)
{
  return LLVMBuildUDiv(lo->hb, lane_value(lo, LANE_WARP), k32(lo, x->warps), "");
}

/* Where lanes address 8 x 8 matrices of a box: row `row`, and of its chunks that which is
 * `chunk`. */
static V
chunk_at(Lo *lo, V row, V chunk, int rows)
{
  LLVMBuilderRef b = lo->hb;
  V low = LLVMBuildAnd(b, row, k32(lo, 7), "");
  V within = LLVMBuildXor(b, LLVMBuildAnd(b, chunk, k32(lo, 7), ""), low, "");
  V panel = LLVMBuildLShr(b, chunk, k32(lo, 3), "");
  panel = LLVMBuildMul(b, panel, k32(lo, rows * PANEL_BYTES), "");
  V at = LLVMBuildAdd(b, LLVMBuildShl(b, row, k32(lo, 7), ""), panel, "");
  at = LLVMBuildAdd(b, at, LLVMBuildShl(b, within, k32(lo, 4), ""), "");
  return LLVMBuildAdd(b, at, lane_value(lo, LANE_SMEM), "");
}

/* Matrix lane / 8: depths 0 … 7 of rows 0 … 7, of rows 8 … 15, then depths 8 … 15. */
static V
dealt_left(Lo *lo, const Val *x, int rows)
{
  LLVMBuilderRef b = lo->hb;
  V lane = lane_value(lo, LANE_LANE), low = LLVMBuildAnd(b, lane, k32(lo, 7), "");
  V deep = LLVMBuildLShr(b, lane, k32(lo, 4), "");
  V row = LLVMBuildAdd(b, LLVMBuildShl(b, deep, k32(lo, 3), ""), low, "");
  V second = LLVMBuildAnd(b, LLVMBuildLShr(b, lane, k32(lo, 3), ""), k32(lo, 1), "");
  V first = LLVMBuildShl(b, dealt_row(lo, x), k32(lo, 1), "");
  return chunk_at(lo, row, LLVMBuildAdd(b, first, second, ""), rows);
}

/* kind: 'l' left, 'r' right: 32 rows of depth, eight columns. */
static V
dealt_pattern(Lo *lo, const Val *x, char kind, int rows)
{
  int by = kind == 'l' ? x->warps : x->warps_n;
  MemoKey key = {.what = MEMO_DEALT, .n = kind, .mt = by, .pack = rows};
  V have = memo_find(lo, &key);
  if (have)
    return have;
  V first = kind == 'l' ? NULL : dealt_column(lo, x);
  V made = first ? chunk_at(lo, lane_value(lo, LANE_LANE), first, rows)
                 : dealt_left(lo, x, rows);
  return memo_keep(lo, &key, made);
}

/* From step ks of depth on, `chunk` chunks behind the warp's first, whose bits `chunk` has
 * not.  Shared memory begins at a multiple of 1024, and so the bits are the address's; one
 * instruction where it is used costs less than a register in the loop. */
static void
dealt_load(Lo *lo, const Op *op, char kind, int chunk, int ks, V out[4])
{
  const Smem *s = kind == 'l' ? &op->left : &op->smem;
  int rows = s->mem->rows, panel = chunk / 8;
  V address = at_stage(lo, dealt_pattern(lo, op->out, kind, rows), s);
  address = LLVMBuildXor(lo->b, address, k32(lo, chunk % 8 * CHUNK_BYTES), "");
  ldmatrix(lo, address, s->mem->offset + (panel * rows + ks * 16) * PANEL_BYTES, true, out);
}

/* Two steps of depth. */
static void
dealt_steps(Lo *lo, const Mma *p, int ks)
{
  const Val *x = p->op->out;
  V *a = NEW_N(lo->arena, V, 8 * p->mt), b[4];
  for (int i = 0; i < 2 * p->mt; i++)
    dealt_load(lo, p->op, 'l', i / 2 * 2 * x->warps, ks + i % 2, a + 4 * i);
  for (int n8 = 0; n8 < p->n8; n8++) {
    dealt_load(lo, p->op, 'r', n8 * x->warps_n, ks, b);
    for (int i = 0; i < 2 * p->mt; i++)
      mma(lo, p, p->out + (i / 2 * p->n8 + n8) * 4, a + 4 * i, b + i % 2 * 2);
  }
}

void
lower_dot_dealt(Lo *lo, const Op *op)
{
  int n;
  Mma p = {.op = op, .out = lower_regs(lo, op->out, &n)};
  p.mt = val_tiles_m(op->out);
  p.n8 = val_dealt_cols(op->out) / 8;
  p.each = STEP_BYTES / op->product->depth_bytes;
  p.n_a = 4 / p.each;
  p.n_b = 2 / p.each;
  instruction(lo, &p, op->product, op->smem.mem->ty);
  for (int i = 0; i < n; i++)
    p.out[i] = kf(lo, 0);
  for (int ks = 0; ks < op->smem.rows / dtype_in(op->smem.mem->ty, STEP_BYTES); ks += 2)
    dealt_steps(lo, &p, ks);
}

void
lower_get(Lo *lo, const Op *op)
{
  int n, mt = val_tiles_m(op->out), steps = val_steps(op->out);
  V *out = lower_regs(lo, op->out, &n);
  for (int m = 0; m < mt; m++)
    for (int ks = 0; ks < steps; ks++)
      load_left(lo, &op->smem, mt, m, ks, out + (m * steps + ks) * 4);
}

/* Where the warp's n8-th 8 columns are in a row of a panel, n8 below 8; and, where it has
 * not the first columns, in which panel from that of its first ones on. */
static V
put_at(Lo *lo, const Val *x, const SmemDecl *d, int n8)
{
  if (x->warps_n == 1)
    return LLVMBuildXor(lo->b, lane_value(lo, LANE_PUT), k32(lo, n8 * CHUNK_BYTES), "");
  V at = LLVMBuildLShr(lo->b, first_column(lo, x), k32(lo, 3), "");
  at = LLVMBuildAdd(lo->b, at, k32(lo, n8), "");
  V chunk = LLVMBuildAnd(lo->b, at, k32(lo, PANEL_BYTES / CHUNK_BYTES - 1), "");
  V place = LLVMBuildShl(lo->b, chunk, k32(lo, 4), "");
  place = LLVMBuildXor(lo->b, lane_value(lo, LANE_PUT), place, "");
  V panel = LLVMBuildLShr(lo->b, at, k32(lo, 3), "");
  panel = LLVMBuildMul(lo->b, panel, k32(lo, d->rows * PANEL_BYTES), "");
  return LLVMBuildAdd(lo->b, place, panel, "");
}

/* Rows g and g + 8 of each block, a pair of columns a lane: 8 rows x 4 lanes hit 32
 * different banks. */
static void
put_pairs(Lo *lo, const Op *op)
{
  const Val *x = op->in[0];
  const SmemDecl *d = op->smem.mem;
  int mt = val_tiles_m(x), n8s = val_cols(x) / 8;
  V warp =
      LLVMBuildMul(lo->b, lane_value(lo, LANE_WARP_M), k32(lo, 16 * PANEL_BYTES * mt), "");
  V base = LLVMBuildAdd(lo->b, lane_value(lo, LANE_SMEM), warp, "");
  base = at_stage(lo, base, &op->smem);
  char text[64];
  for (int n8 = 0; n8 < n8s; n8++) {
    V place = put_at(lo, x, d, n8 % 8);
    V address = LLVMBuildAdd(lo->b, base, place, "");
    for (int i = 0; i < 2 * mt; i++) {
      int at = d->offset + n8 / 8 * d->rows * PANEL_BYTES + i * 8 * PANEL_BYTES;
      V in[2] = {address, lo->vals[x->id][(i / 2 * n8s + n8) * 2 + i % 2]};
      snprintf(text, sizeof text, "st.shared.b32 [$0+%d], $1;", at);
      asm_call(lo, ASM_EFFECT, text, "r,r", in, 2, lo->none, NULL, 0);
    }
  }
}

/* n matrices of 8 x 8: rows g of eight columns, rows g + 8, and the same of the next eight.
 */
static void
stmatrix(Lo *lo, V address, int at, const V *regs, int n)
{
  V in[5] = {address};
  memcpy(in + 1, regs, (size_t)n * sizeof *in);
  Str text = str_new(lo->arena), how = str_new(lo->arena);
  str_printf(&text, "stmatrix.sync.aligned.m8n8.x%d.shared.b16 [$0+%d], ", n, at);
  asm_registers(&text, 1, n);
  str_put(&text, ";");
  asm_constraint(&how, "r", 1 + n);
  asm_call(lo, ASM_EFFECT, text.p, how.p, in, 1 + n, lo->none, NULL, 0);
}

/* What lanes address is what load_left reads (PTX ISA, "stmatrix"). */
static void
put_matrices(Lo *lo, const Op *op)
{
  const Val *x = op->in[0];
  int mt = val_tiles_m(x), n8s = x->cols / 8;
  for (int n8 = 0; n8 < n8s; n8 += 2) {
    V address = at_stage(lo, lane_pattern(lo, 'a', mt, n8 / 2 % PANEL_STEPS), &op->smem);
    for (int m = 0; m < mt; m++)
      stmatrix(lo, address, panel_at(op->smem.mem, n8 / 2) + m * 16 * PANEL_BYTES,
               lo->vals[x->id] + (m * n8s + n8) * 2, n8 + 1 < n8s ? 4 : 2);
  }
}

void
lower_put(Lo *lo, const Op *op)
{
  if (lo->p->target->stmatrix && op->in[0]->warps_n == 1)
    put_matrices(lo, op);
  else
    put_pairs(lo, op);
}
