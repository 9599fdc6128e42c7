/* Products on tensor cores: ldmatrix from the swizzled panels, mma.m16n8k16 (PTX ISA,
 * "Matrix fragments for mma.m16n8k16"), and the way of a fragment back to shared memory. */
#include "compiler/llvm/llvm_lower.h"

#include <stdio.h>
#include <string.h>

/* The pattern in the stage of its ring, from its first row on. */
static V
at_stage(Lo *lo, V pattern, const Smem *s)
{
  V stage = s->take ? lo->slot[s->take] : NULL;
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
panel_at(const SmemDecl *d, int k16)
{
  return d->offset + k16 / 4 * d->rows * 128;
}

/* The A operand of block m, k-step ks, from shared memory. */
static void
load_left(Lo *lo, const Smem *s, int mt, int m, int ks, V out[4])
{
  V address = at_stage(lo, lane_pattern(lo, 'a', mt, ks % 4), s);
  ldmatrix(lo, address, panel_at(s->mem, ks) + m * 16 * 128, false, out);
}

/* Two B operands (16 columns of the result) of one k-step: {b0, b1} of the first eight
 * columns, {b2, b3} of the others. */
static void
load_right(Lo *lo, const Smem *s, int n16, int ks, V out[4])
{
  if (s->trans) { /* columns of the result are rows of the box */
    V address = at_stage(lo, lane_pattern(lo, 'k', 0, ks % 4), s);
    ldmatrix(lo, address, panel_at(s->mem, ks) + n16 * 16 * 128, false, out);
    return;
  }
  V address = at_stage(lo, lane_pattern(lo, 'v', 0, n16 % 4), s);
  ldmatrix(lo, address, panel_at(s->mem, n16) + ks * 16 * 128, true, out);
}

/* Half the depth: a k-step of 16 is two of them, on the halves of its operands. */
static void
mma_k8(Lo *lo, Dtype ty, V *acc, const V *a, V b)
{
  const char *name = dtype_info[ty].mma;
  char text[192];
  V in[7] = {a[0], a[1], b, acc[0], acc[1], acc[2], acc[3]};
  snprintf(text, sizeof text,
           "mma.sync.aligned.m16n8k8.row.col.f32.%s.%s.f32 {$0,$1,$2,$3}, {$4,$5}, {$6}, "
           "{$7,$8,$9,$10};",
           name, name);
  asm_call(lo, ASM_PURE, text, "=f,=f,=f,=f,r,r,r,f,f,f,f", in, 7, lo->f32, acc, 4);
}

static void
mma(Lo *lo, Dtype ty, V *acc, const V *a, const V *b)
{
  const char *name = dtype_info[ty].mma;
  char text[192];
  if (lo->p->target->product == MMA_K8) {
    mma_k8(lo, ty, acc, a, b[0]);
    mma_k8(lo, ty, acc, a + 2, b[1]);
    return;
  }
  V in[10] = {a[0], a[1], a[2], a[3], b[0], b[1], acc[0], acc[1], acc[2], acc[3]};
  snprintf(text, sizeof text,
           "mma.sync.aligned.m16n8k16.row.col.f32.%s.%s.f32 {$0,$1,$2,$3}, {$4,$5,$6,$7}, "
           "{$8,$9}, {$10,$11,$12,$13};",
           name, name);
  asm_call(lo, ASM_PURE, text, "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f", in, 10, lo->f32, acc, 4);
}

typedef struct Product {
  const Op *op;
  Dtype ty;
  int mt, n8, steps; /* blocks of 16 rows a warp, of 8 columns, k-steps of 16 */
  V *out;
} Product;

static void
left(Lo *lo, const Product *p, int m, int ks, V a[4])
{
  const Val *tile = p->op->in[1];
  if (!tile) {
    load_left(lo, &p->op->left, p->mt, m, ks, a);
    return;
  }
  V *regs = lo->vals[tile->id] + (m * (tile->cols / 8) + 2 * ks) * 2;
  memcpy(a, regs, 4 * sizeof *a);
}

static void
k_step(Lo *lo, const Product *p, int ks)
{
  V a[8][4], b[4];
  for (int m = 0; m < p->mt; m++)
    left(lo, p, m, ks, a[m]);
  for (int n16 = 0; n16 < (p->n8 + 1) / 2; n16++) {
    load_right(lo, &p->op->smem, n16, ks, b);
    for (int e = 0; e < 2 && 2 * n16 + e < p->n8; e++)
      for (int m = 0; m < p->mt; m++)
        mma(lo, p->ty, p->out + (m * p->n8 + 2 * n16 + e) * 4, a[m], b + 2 * e);
  }
}

void
lower_product(Lo *lo, const Op *op)
{
  int n;
  Product p = {.op = op, .ty = op->smem.mem->ty, .out = lower_regs(lo, op->out, &n)};
  p.mt = val_tiles_m(op->out);
  p.n8 = op->out->cols / 8;
  p.steps = op->smem.trans ? round_up(op->smem.cols, 16) / 16 : op->smem.rows / 16;
  for (int i = 0; i < n; i++)
    p.out[i] = op->in[0] ? lo->vals[op->in[0]->id][i] : kf(lo, 0);
  for (int ks = 0; ks < p.steps; ks++)
    k_step(lo, &p, ks);
}

void
lower_get(Lo *lo, const Op *op)
{
  int n, mt = val_tiles_m(op->out), steps = op->out->cols / 16;
  V *out = lower_regs(lo, op->out, &n);
  for (int m = 0; m < mt; m++)
    for (int ks = 0; ks < steps; ks++)
      load_left(lo, &op->smem, mt, m, ks, out + (m * steps + ks) * 4);
}

/* Rows g and g + 8 of each block, a pair of columns a lane: 8 rows x 4 lanes hit 32
 * different banks. */
void
lower_put(Lo *lo, const Op *op)
{
  const Val *x = op->in[0];
  const SmemDecl *d = op->smem.mem;
  int mt = val_tiles_m(x), n8s = x->cols / 8;
  V warp = LLVMBuildMul(lo->b, lane_value(lo, LANE_WARP), k32(lo, 16 * 128 * mt), "");
  V base = LLVMBuildAdd(lo->b, lane_value(lo, LANE_SMEM), warp, "");
  base = at_stage(lo, base, &op->smem);
  char text[64];
  for (int n8 = 0; n8 < n8s; n8++) {
    V place = LLVMBuildXor(lo->b, lane_value(lo, LANE_PUT), k32(lo, n8 % 8 * 16), "");
    V address = LLVMBuildAdd(lo->b, base, place, "");
    for (int i = 0; i < 2 * mt; i++) {
      int at = d->offset + n8 / 8 * d->rows * 128 + i * 8 * 128;
      V in[2] = {address, lo->vals[x->id][(i / 2 * n8s + n8) * 2 + i % 2]};
      snprintf(text, sizeof text, "st.shared.b32 [$0+%d], $1;", at);
      asm_call(lo, ASM_EFFECT, text, "r,r", in, 2, lo->none, NULL, 0);
    }
  }
}
