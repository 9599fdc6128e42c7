/* The walk over the program: registers of values, loops with their phis, dispatch. */
#include "compiler/llvm_lower.h"

#include "base/err.h"

#include <llvm-c/DebugInfo.h>

#include <stdio.h>
#include <string.h>

int
lower_count(const Lo *lo, const Val *v)
{
  switch (v->lay) {
  case LAY_FRAG:
    return val_tiles_m(lo->p, v) * (v->cols / 8) * (v->ty == DT_F32 ? 4 : 2);
  case LAY_LANE:
    return 8;
  case LAY_ROW:
    return val_row_values(lo->p, v);
  default:
    return 1;
  }
}

V *
lower_regs(Lo *lo, const Val *v, int *n)
{
  *n = lower_count(lo, v);
  lo->vals[v->id] = NEW_N(lo->arena, V, *n);
  return lo->vals[v->id];
}

/* ---- where invariant code goes ---- */

/* The current block becomes the hoist block: what follows goes to a new one. */
static void
hoist_here(Lo *lo)
{
  LLVMBasicBlockRef next = LLVMAppendBasicBlockInContext(lo->cx, lo->fn, "");
  V br = LLVMBuildBr(lo->b, next);
  LLVMPositionBuilderBefore(lo->hb, br);
  LLVMPositionBuilderAtEnd(lo->b, next);
  lo->epoch++;
  lo->n_memo = 0;
}

/* ---- loops ---- */

typedef struct Loop {
  const Region *r;
  LLVMBasicBlockRef pre, body, exit;
  V *ring_phi;     /* by ring id */
  V *ring_before;
  V n_phi;
} Loop;

static V
phi_of(Lo *lo, LLVMTypeRef type, V from, LLVMBasicBlockRef block)
{
  V phi = LLVMBuildPhi(lo->b, type, "");
  LLVMAddIncoming(phi, &from, &block, 1);
  return phi;
}

static void
body_phis(Lo *lo, Loop *l)
{
  for (int i = 0; i < l->r->n_carry; i++) {
    const Carry *c = &l->r->carry[i];
    int n;
    V *init = lo->vals[c->init->id];
    if (c->yield == c->arg) { /* never assigned: an alias */
      lo->vals[c->arg->id] = lo->vals[c->result->id] = init;
      continue;
    }
    V *arg = lower_regs(lo, c->arg, &n);
    for (int j = 0; j < n; j++)
      arg[j] = phi_of(lo, LLVMTypeOf(init[j]), init[j], l->pre);
  }
  for (int i = 0; i < lo->p->rings.n; i++) {
    int id = lo->p->rings.at[i]->id;
    l->ring_before[id] = lo->ring[id];
    if (lo->p->rings.at[i]->mem.stages > 1)
      lo->ring[id] = l->ring_phi[id] = phi_of(lo, lo->i32, lo->ring[id], l->pre);
  }
}

/* What each phi gets over the back edge, and what leaves the loop. */
static void
close_carry(Lo *lo, const Loop *l, const Carry *c, LLVMBasicBlockRef latch)
{
  int n;
  if (c->yield == c->arg)
    return;
  V *arg = lo->vals[c->arg->id], *yield = lo->vals[c->yield->id];
  V *init = lo->vals[c->init->id], *out = lower_regs(lo, c->result, &n);
  for (int j = 0; j < n; j++) {
    LLVMAddIncoming(arg[j], &yield[j], &latch, 1);
    out[j] = phi_of(lo, LLVMTypeOf(init[j]), init[j], l->pre);
    LLVMAddIncoming(out[j], &yield[j], &latch, 1);
  }
}

static void
close_rings(Lo *lo, const Loop *l, LLVMBasicBlockRef latch)
{
  for (int i = 0; i < lo->p->rings.n; i++) {
    int id = lo->p->rings.at[i]->id;
    if (!l->ring_phi[id])
      continue;
    V now = lo->ring[id];
    LLVMAddIncoming(l->ring_phi[id], &now, &latch, 1);
    lo->ring[id] = phi_of(lo, lo->i32, l->ring_before[id], l->pre);
    LLVMAddIncoming(lo->ring[id], &now, &latch, 1);
  }
}

static void lower_region(Lo *, const Region *);

static void
lower_once(Lo *lo, const Region *r)
{
  for (int i = 0; i < r->n_carry; i++)
    lo->vals[r->carry[i].arg->id] = lo->vals[r->carry[i].init->id];
  lower_region(lo, r);
  for (int i = 0; i < r->n_carry; i++)
    lo->vals[r->carry[i].result->id] = lo->vals[r->carry[i].yield->id];
}

static void
no_unrolling(Lo *lo, V branch)
{
  LLVMMetadataRef text = LLVMMDStringInContext2(lo->cx, "llvm.loop.unroll.disable", 24);
  LLVMMetadataRef disable = LLVMMDNodeInContext2(lo->cx, &text, 1);
  LLVMMetadataRef temp = LLVMTemporaryMDNode(lo->cx, NULL, 0);
  LLVMMetadataRef both[2] = { temp, disable };
  LLVMMetadataRef loop = LLVMMDNodeInContext2(lo->cx, both, 2);
  LLVMMetadataReplaceAllUsesWith(temp, loop); /* the node is its own first operand */
  unsigned kind = LLVMGetMDKindIDInContext(lo->cx, "llvm.loop", 9);
  LLVMSetMetadata(branch, kind, LLVMMetadataAsValue(lo->cx, loop));
}

static void
lower_loop(Lo *lo, const Region *r)
{
  int rings = lo->p->rings.n + 1;
  Loop l = { .r = r };
  l.ring_phi = NEW_N(lo->arena, V, rings);
  l.ring_before = NEW_N(lo->arena, V, rings);
  V from = idx_value(lo, r->span.lo), to = idx_value(lo, r->span.hi);
  V last = LLVMBuildSub(lo->b, to, k32(lo, 1), "");
  l.body = LLVMAppendBasicBlockInContext(lo->cx, lo->fn, "tiles");
  l.exit = LLVMAppendBasicBlockInContext(lo->cx, lo->fn, "done");
  LLVMBuildCondBr(lo->b, LLVMBuildICmp(lo->b, LLVMIntSLT, from, to, ""), l.body, l.exit);
  l.pre = LLVMGetInsertBlock(lo->b);
  LLVMPositionBuilderAtEnd(lo->b, l.body);
  l.n_phi = phi_of(lo, lo->i32, last, l.pre);
  body_phis(lo, &l);
  lo->loop_id = r->id;
  lo->loop_var = l.n_phi;
  lower_region(lo, r);
  lo->loop_id = 0;
  LLVMBasicBlockRef latch = LLVMGetInsertBlock(lo->b);
  V next = LLVMBuildSub(lo->b, l.n_phi, k32(lo, 1), "");
  LLVMAddIncoming(l.n_phi, &next, &latch, 1);
  V more = LLVMBuildICmp(lo->b, LLVMIntSGE, next, from, "");
  no_unrolling(lo, LLVMBuildCondBr(lo->b, more, l.body, l.exit));
  LLVMPositionBuilderAtEnd(lo->b, l.exit);
  for (int i = 0; i < r->n_carry; i++)
    close_carry(lo, &l, &r->carry[i], latch);
  close_rings(lo, &l, latch);
}

/* ---- dispatch ---- */

static void
lower_op(Lo *lo, const Op *op)
{
  switch (op->kind) {
  case OP_LOOP:
    if (op->body->once)
      lower_once(lo, op->body);
    else
      lower_loop(lo, op->body);
    if (op->body->final)
      hoist_here(lo);
    break;
  case OP_PUSH:
    lower_push(lo, op);
    break;
  case OP_TAKE:
    lower_take(lo, op);
    break;
  case OP_RELEASE:
    break; /* the next barrier of the block frees the stage */
  case OP_COPY:
    lower_copy(lo, op);
    break;
  case OP_COPY_WAIT:
    lower_copy_wait(lo, op);
    break;
  case OP_COPY_OUT:
    lower_copy_out(lo, op);
    break;
  case OP_CONST:
    lower_const(lo, op);
    break;
  case OP_SCALAR:
    lower_scalar(lo, op);
    break;
  case OP_ROW_MAX:
    lower_row_max(lo, op);
    break;
  case OP_ROW_PART:
    lower_row_part(lo, op);
    break;
  case OP_ROW_JOIN:
    lower_row_join(lo, op);
    break;
  case OP_ROW_DOT:
    lower_row_dot(lo, op);
    break;
  case OP_CVT:
    lower_cvt(lo, op);
    break;
  case OP_GET:
    lower_get(lo, op);
    break;
  case OP_PUT:
    lower_put(lo, op);
    break;
  case OP_DOT:
  case OP_DOT_ACC:
    lower_product(lo, op);
    break;
  case OP_MASK:
    lower_mask(lo, op);
    break;
  case OP_STORE_ROWS:
    lower_store_rows(lo, op);
    break;
  case OP_LOAD:
  case OP_LOAD_ONE:
    lower_load(lo, op);
    break;
  case OP_STORE:
    lower_store(lo, op);
    break;
  default:
    lower_elementwise(lo, op);
  }
}

static void
lower_region(Lo *lo, const Region *r)
{
  for (const Op *op = r->first; op; op = op->next)
    lower_op(lo, op);
}

/* ---- the kernel ---- */

static LLVMTypeRef
param_type(const Lo *lo, const Param *p)
{
  switch (p->kind) {
  case PARAM_SIZE:
    return lo->i32;
  case PARAM_SCALAR:
    return lo->f32;
  default:
    return lo->i64;
  }
}

static void
text_attribute(Lo *lo, const char *name, const char *value)
{
  LLVMAttributeRef a = LLVMCreateStringAttribute(lo->cx, name, (unsigned)strlen(name), value,
                                                 (unsigned)strlen(value));
  LLVMAddAttributeAtIndex(lo->fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, a);
}

static void
declare_kernel(Lo *lo)
{
  const Program *p = lo->p;
  LLVMTypeRef *types = NEW_N(lo->arena, LLVMTypeRef, p->params.n + 1);
  char threads[32];
  for (int i = 0; i < p->params.n; i++)
    types[i] = param_type(lo, &p->params.at[i]);
  LLVMTypeRef type = LLVMFunctionType(lo->none, types, (unsigned)p->params.n, 0);
  lo->fn = LLVMAddFunction(lo->m, p->entry, type);
  LLVMSetFunctionCallConv(lo->fn, 71); /* ptx_kernel */
  snprintf(threads, sizeof threads, "%d,1,1", 32 * p->warps);
  text_attribute(lo, "nvvm.reqntid", threads);
  text_attribute(lo, "denormal-fp-math-f32", "preserve-sign,preserve-sign");
  LLVMTypeRef bytes = LLVMArrayType2(LLVMInt8TypeInContext(lo->cx), 0);
  lo->smem = LLVMAddGlobalInAddressSpace(lo->m, bytes, "attnc_shared", 3);
  LLVMSetAlignment(lo->smem, 1024);
}

static void
tables(Lo *lo)
{
  const Program *p = lo->p;
  lo->i1 = LLVMInt1TypeInContext(lo->cx);
  lo->i16 = LLVMInt16TypeInContext(lo->cx);
  lo->i32 = LLVMInt32TypeInContext(lo->cx);
  lo->i64 = LLVMInt64TypeInContext(lo->cx);
  lo->f32 = LLVMFloatTypeInContext(lo->cx);
  lo->none = LLVMVoidTypeInContext(lo->cx);
  lo->vals = NEW_N(lo->arena, V *, p->n_vals + 1);
  lo->ring = NEW_N(lo->arena, V, p->rings.n + 1);
  lo->slot = NEW_N(lo->arena, V, p->n_takes + 1);
  lo->node = NEW_N(lo->arena, NodeMemo, p->n_nodes + 1);
  for (int i = 0; i <= p->rings.n; i++)
    lo->ring[i] = k32(lo, 0);
}

attnc_status
lower_program(Lo *lo, attnc_error *err)
{
  tables(lo);
  declare_kernel(lo);
  if (lo->p->warps < 1 || lo->p->warps > 32)
    return err_set(err, ATTNC_ERR_INTERNAL, "%d warps", lo->p->warps);
  lo->b = LLVMCreateBuilderInContext(lo->cx);
  lo->hb = LLVMCreateBuilderInContext(lo->cx);
  LLVMPositionBuilderAtEnd(lo->b, LLVMAppendBasicBlockInContext(lo->cx, lo->fn, "entry"));
  hoist_here(lo);
  lower_region(lo, lo->p->top);
  LLVMBuildRetVoid(lo->b);
  LLVMDisposeBuilder(lo->b);
  LLVMDisposeBuilder(lo->hb);
  return ATTNC_OK;
}
