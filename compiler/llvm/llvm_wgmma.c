/* Products of a warpgroup (PTX ISA, "Asynchronous warpgroup level matrix instructions"):
 * one asm statement for all steps along the depth, the accumulators tied through it.
 *
 * Both operands in shared memory are given by descriptors: address, leading and stride byte
 * offsets in units of 16 bytes, 128-byte swizzle.  K-major boxes have their depth along the
 * 128-byte rows of a panel: a step is 32 bytes on.  MN-major ones have it across the rows:
 * a step is as many rows as those have elements, and the leading offset is the distance of
 * panels. */
#include "compiler/llvm/llvm_lower.h"

enum {
  UNIT = 16,     /* bytes: of what a descriptor counts in */
  LEFT_REGS = 4, /* of a step of the left operand: 64 rows of 32 bytes over 128 threads */
};

typedef struct Operand {
  V desc;
  bool mn; /* MN-major: the transpose bit of the instruction */
  const SmemDecl *d;
} Operand;

/* Where step ks begins, from the descriptor, in units of 16 bytes. */
static int
step_at(const Operand *o, int ks)
{
  if (o->mn)
    return ks * dtype_in(o->d->ty, STEP_BYTES) * PANEL_BYTES / UNIT;
  int panel = PANEL_BYTES / STEP_BYTES;
  return ks / panel * (o->d->rows * PANEL_BYTES / UNIT) + ks % panel * STEP_BYTES / UNIT;
}

static V
descriptor(Lo *lo, const Smem *s, bool mn)
{
  const int64_t high = (int64_t)1 << 62 | (int64_t)(1024 / UNIT) << 32;
  int lead = mn ? s->mem->rows * PANEL_BYTES / UNIT : 1;
  V row = idx_value(lo, s->row);
  LLVMBuilderRef hb = idx_builder(lo, s->row);
  hb = hb == lo->b ? hb : idx_builder(lo, s->panel);
  V at = LLVMBuildShl(hb, row, k32(lo, 7), "");
  at = LLVMBuildAdd(hb, at, lane_value(lo, LANE_SMEM), "");
  at = LLVMBuildAdd(hb, at, k32(lo, s->mem->offset), "");
  if (s->panel.node || s->panel.k) {
    V on =
        LLVMBuildMul(hb, idx_value(lo, s->panel), k32(lo, s->mem->rows * PANEL_BYTES), "");
    at = LLVMBuildAdd(hb, at, on, "");
  }
  if (lo->p->cluster > 1) /* above are the bits that tell CTAs of a cluster apart */
    at = LLVMBuildAnd(hb, at, k32(lo, 0x3ffff), "");
  at = LLVMBuildLShr(hb, at, k32(lo, 4), "");
  at = LLVMBuildOr(hb, at, k32(lo, (int64_t)lead << 16), "");
  V stage = s->wait_id ? lo->stage[s->wait_id] : NULL;
  if (stage) {
    V on = LLVMBuildMul(lo->b, stage, k32(lo, s->mem->bytes / UNIT), "");
    at = LLVMBuildAdd(lo->b, at, on, "");
  }
  LLVMBuilderRef b = stage ? lo->b : hb;
  V low = LLVMBuildZExt(b, at, lo->i64, "");
  return LLVMBuildOr(b, low, k64(lo, high), "");
}

typedef struct Wgmma {
  const Op *op;
  int n, steps;
  bool acc;                /* has an accumulator */
  int left_at, a_at, b_at; /* operand numbers: registers of A; descriptors */
  int set_at;              /* that of whether the accumulator is set; 0: it is */
  Operand a, b;
} Wgmma;

/* A descriptor of step ks: operand $at, or a register that has it. */
static void
step_operand(Str *s, const char *name, int at, int by)
{
  if (by)
    str_printf(s, "add.s64 %s, $%d, %d; ", name, at, by);
}

static void
step(Str *s, const Wgmma *p, int ks)
{
  Dtype type = p->op->smem.mem->ty;
  const ProductInfo *info = p->op->product;
  const char *ty = dtype_info[type].mma;
  int by_a = p->op->in[1] ? 0 : step_at(&p->a, ks), by_b = step_at(&p->b, ks);
  step_operand(s, "a", p->a_at, by_a);
  step_operand(s, "b", p->b_at, by_b);
  str_put(s, "wgmma.mma_async.sync.aligned.");
  str_printf(s, info->shape, p->op->out->cols, product_depth(info, type));
  str_printf(s, ".f32.%s.%s ", ty, ty);
  asm_registers(s, 0, p->n);
  str_put(s, ", ");
  if (p->op->in[1])
    asm_registers(s, p->left_at + LEFT_REGS * ks, LEFT_REGS);
  else if (by_a)
    str_put(s, "a");
  else
    str_printf(s, "$%d", p->a_at);
  if (by_b)
    str_put(s, ", b");
  else
    str_printf(s, ", $%d", p->b_at);
  if (p->set_at && !ks)
    str_put(s, ", set, 1, 1");
  else
    str_printf(s, ", %d, 1, 1", p->acc || ks ? 1 : 0);
  if (!p->op->in[1])
    str_printf(s, ", %d", p->a.mn);
  str_printf(s, ", %d; ", p->b.mn);
}

static const char *
product_text(Lo *lo, const Wgmma *p)
{
  Str s = str_new(lo->arena);
  str_put(&s, "wgmma.fence.sync.aligned; { .reg .b64 a, b; ");
  if (p->set_at)
    str_printf(&s, ".reg .pred set; setp.ne.b32 set, $%d, 0; ", p->set_at);
  for (int ks = 0; ks < p->steps; ks++)
    step(&s, p, ks);
  str_put(&s, "} wgmma.commit_group.sync.aligned;");
  return s.p;
}

static void
ties(Str *s, int n)
{
  for (int i = 0; i < n; i++)
    str_printf(s, "%s%d", s->n ? "," : "", i);
}

void
lower_wgmma(Lo *lo, const Op *op)
{
  Wgmma p = {.op = op, .acc = op->in[0] != NULL};
  V *out = lower_regs(lo, op->out, &p.n);
  p.steps = op_steps(op);
  V *in = NEW_N(lo->arena, V, p.n + LEFT_REGS * p.steps + 3);
  int n_in = 0;
  Str how = str_new(lo->arena);
  asm_constraint(&how, "=&f", p.n);
  for (int i = 0; p.acc && i < p.n; i++)
    in[n_in++] = lo->vals[op->in[0]->id][i];
  if (p.acc)
    ties(&how, p.n);
  p.left_at = p.n + n_in;
  for (int i = 0; op->in[1] && i < LEFT_REGS * p.steps; i++)
    in[n_in++] = lo->vals[op->in[1]->id][i];
  if (op->in[1])
    asm_constraint(&how, "r", LEFT_REGS * p.steps);
  p.a_at = p.n + n_in;
  if (!op->in[1]) {
    p.a = (Operand){.mn = op->left.trans, .d = op->left.mem};
    in[n_in++] = descriptor(lo, &op->left, op->left.trans);
    asm_constraint(&how, "l", 1);
  }
  p.b_at = p.n + n_in;
  p.b = (Operand){.mn = !op->smem.trans, .d = op->smem.mem};
  in[n_in++] = descriptor(lo, &op->smem, !op->smem.trans);
  asm_constraint(&how, "l", 1);
  if (op->set) {
    p.set_at = p.n + n_in;
    in[n_in++] = as_i32(lo, lo->b, idx_value(lo, *op->set));
    asm_constraint(&how, "r", 1);
  }
  asm_call(lo, ASM_MEMORY, product_text(lo, &p), how.p, in, n_in, lo->f32, out, p.n);
}

/* Only the tie keeps arithmetic on the result behind the wait. */
static void
tied(Lo *lo, const char *text, V *regs, V *out, int n, LLVMTypeRef type, AsmKind kind)
{
  Str how = str_new(lo->arena);
  asm_constraint(&how, type == lo->f32 ? "=f" : "=r", n);
  ties(&how, n);
  asm_call(lo, kind, text, how.p, regs, n, type, out, n);
}

void
lower_wait(Lo *lo, const Op *op)
{
  int n;
  V *out = lower_regs(lo, op->out, &n);
  const char *text =
      arena_printf(lo->arena, "wgmma.wait_group.sync.aligned %d;", op->pending);
  tied(lo, text, lo->vals[op->in[0]->id], out, n, lo->f32, ASM_MEMORY);
}

void
lower_tie(Lo *lo, const Val *x)
{
  V *regs = lo->vals[x->id], *out = NEW_N(lo->arena, V, lower_count(x));
  tied(lo, "", regs, out, lower_count(x), lo->f32, ASM_EFFECT);
  lo->vals[x->id] = out;
}
