/* The walk over the program: registers of values, the kernel, dispatch. */
#include "compiler/llvm_lower.h"

#include "base/err.h"

#include <stdio.h>
#include <string.h>

int
lower_count(const Val *v)
{
  switch (v->lay) {
  case LAY_FRAG:
    return val_tiles_m(v) * (v->cols / 8) * (v->ty == DT_F32 ? 4 : 2);
  case LAY_LANE:
    return 8;
  case LAY_ROW:
    return val_row_values(v);
  default:
    return 1;
  }
}

V *
lower_regs(Lo *lo, const Val *v, int *n)
{
  *n = lower_count(v);
  lo->vals[v->id] = NEW_N(lo->arena, V, *n);
  return lo->vals[v->id];
}

/* ---- dispatch ---- */

static void
flow(Lo *lo, const Op *op)
{
  lower_flow(lo, op->body);
}

static void
push(Lo *lo, const Op *op)
{
  if (op->ring->fill == FILL_TMA)
    lower_push_tma(lo, op);
  else
    lower_push(lo, op);
}

static void
take(Lo *lo, const Op *op)
{
  if (op->ring->fill == FILL_TMA)
    lower_take_tma(lo, op);
  else
    lower_take(lo, op);
}

/* FILL_COPY: the next barrier of the block frees the stage. */
static void
release(Lo *lo, const Op *op)
{
  if (op->ring->fill == FILL_TMA)
    lower_release(lo, op);
}

static void
product(Lo *lo, const Op *op)
{
  if (op->out->flying)
    lower_wgmma(lo, op);
  else
    lower_product(lo, op);
}

typedef void Lowering(Lo *, const Op *);

/* What is not here is elementwise. */
static Lowering *const lowerings[OP_COUNT] = {
    [OP_LOOP] = flow,
    [OP_FOR] = flow,
    [OP_ROLE] = flow,
    [OP_WARP] = flow,
    [OP_IF] = flow,
    [OP_PUSH] = push,
    [OP_TAKE] = take,
    [OP_PEEK] = lower_take_tma,
    [OP_RELEASE] = release,
    [OP_COPY] = lower_copy,
    [OP_COPY_WAIT] = lower_copy_wait,
    [OP_COPY_OUT] = lower_copy_out,
    [OP_SEND_OUT] = lower_send_out,
    [OP_OUT_WAIT] = lower_out_wait,
    [OP_SYNC] = lower_sync,
    [OP_SYNC_ROLE] = lower_sync,
    [OP_FENCE_ASYNC] = lower_fence_async,
    [OP_TURN_START] = lower_turn,
    [OP_TURN_TAKE] = lower_turn,
    [OP_TURN_PASS] = lower_turn,
    [OP_WAIT] = lower_wait,
    [OP_ANY_NOT1] = lower_any_not1,
    [OP_CONST] = lower_const,
    [OP_SCALAR] = lower_scalar,
    [OP_ROW_MAX] = lower_row_max,
    [OP_ROW_PART] = lower_row_part,
    [OP_ROW_JOIN] = lower_row_join,
    [OP_ROW_DOT] = lower_row_dot,
    [OP_BESIDE] = lower_beside,
    [OP_CVT] = lower_cvt,
    [OP_GET] = lower_get,
    [OP_PUT] = lower_put,
    [OP_DOT] = product,
    [OP_DOT_ACC] = product,
    [OP_MASK] = lower_mask,
    [OP_STORE_ROWS] = lower_store_rows,
    [OP_LOAD] = lower_load,
    [OP_LOAD_ONE] = lower_load,
    [OP_STORE] = lower_store,
};

void
lower_region(Lo *lo, const Region *r)
{
  for (const Op *op = r->first; op; op = op->next) {
    Lowering *lower = lowerings[op->kind];
    (lower ? lower : lower_elementwise)(lo, op);
  }
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
  case PARAM_MAP:
    return LLVMPointerTypeInContext(lo->cx, 0);
  default:
    return lo->i64;
  }
}

static void
text_attribute(Lo *lo, const char *name, const char *value)
{
  LLVMAttributeRef a = LLVMCreateStringAttribute(lo->cx, name, (unsigned)strlen(name),
                                                 value, (unsigned)strlen(value));
  LLVMAddAttributeAtIndex(lo->fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, a);
}

/* A tensor map stays in the parameter space: CUDA's __grid_constant__. */
static void
map_attributes(Lo *lo, unsigned param)
{
  LLVMAttributeIndex at = param + 1;
  LLVMTypeRef map = LLVMArrayType2(LLVMInt8TypeInContext(lo->cx), 128);
  unsigned byval = LLVMGetEnumAttributeKindForName("byval", 5);
  unsigned align = LLVMGetEnumAttributeKindForName("align", 5);
  LLVMAddAttributeAtIndex(lo->fn, at, LLVMCreateTypeAttribute(lo->cx, byval, map));
  LLVMAddAttributeAtIndex(lo->fn, at, LLVMCreateEnumAttribute(lo->cx, align, 64));
  LLVMAttributeRef constant =
      LLVMCreateStringAttribute(lo->cx, "nvvm.grid_constant", 18, "", 0);
  LLVMAddAttributeAtIndex(lo->fn, at, constant);
}

static void
cluster_attributes(Lo *lo)
{
  char text[32];
  if (lo->p->grid.cluster < 2)
    return;
  snprintf(text, sizeof text, "%d,1,1", lo->p->grid.cluster);
  text_attribute(lo, "nvvm.cluster_dim", text);
}

/* What setmaxnreg starts from must be known to ptxas: it does not always take the most that
 * the threads leave (C7508). */
static void
register_attributes(Lo *lo)
{
  char text[16];
  bool moved = false;
  for (int i = 0; i < lo->p->roles.n; i++)
    moved = moved || lo->p->roles.at[i]->regs;
  if (!moved)
    return;
  snprintf(text, sizeof text, "%d", tile_entry_regs(lo->p));
  text_attribute(lo, "nvvm.maxnreg", text);
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
  cluster_attributes(lo);
  register_attributes(lo);
  for (int i = 0; i < p->params.n; i++)
    if (p->params.at[i].kind == PARAM_MAP)
      map_attributes(lo, (unsigned)i);
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
  lo->stage = NEW_N(lo->arena, V, p->n_takes + 1);
  lo->fill = NEW_N(lo->arena, RingPos, p->rings.n + 1);
  lo->take = NEW_N(lo->arena, RingPos, p->rings.n + 1);
  lo->loop_var = NEW_N(lo->arena, V, p->n_regions + 1);
  lo->any = NEW_N(lo->arena, V, p->n_any + 1);
  lo->table = NEW_N(lo->arena, V, p->tables.n + 1);
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
  lower_setup(lo);
  lower_region(lo, lo->p->top);
  lower_end(lo);
  LLVMBuildRetVoid(lo->b);
  LLVMDisposeBuilder(lo->b);
  LLVMDisposeBuilder(lo->hb);
  return ATTNC_OK;
}
