/* The walk over the program: dispatch, the kernel. */
#include "compiler/llvm/llvm_lower.h"

#include "base/err.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

static void
flow(Lo *lo, const Op *op)
{
  lower_flow(lo, op->body);
}

static void
producer_load(Lo *lo, const Op *op)
{
  if (op->ring->fill == FILL_TMA)
    lower_producer_load_tma(lo, op);
  else if (op->ring->fill == FILL_LANES)
    lower_producer_load_lanes(lo, op);
  else
    lower_producer_load(lo, op);
}

static void
consumer_wait(Lo *lo, const Op *op)
{
  if (fill_is_guarded(op->ring->fill))
    lower_consumer_wait_guarded(lo, op);
  else
    lower_consumer_wait(lo, op);
}

/* FILL_COPY: the next barrier of the block frees the stage. */
static void
release(Lo *lo, const Op *op)
{
  if (fill_is_guarded(op->ring->fill))
    lower_consumer_release(lo, op);
}

static void
product(Lo *lo, const Op *op)
{
  if (op->product->async)
    lower_wgmma(lo, op);
  else
    lower_product(lo, op);
}

typedef void Lowering(Lo *, const Op *);

/* Every operation and its lowering: one that is forgotten does not compile. */
#define LOWERINGS(X)                                                                       \
  X(LOOP, flow)                                                                            \
  X(SEEK, flow)                                                                            \
  X(FOR, flow)                                                                             \
  X(ROLE, flow)                                                                            \
  X(WARP, flow)                                                                            \
  X(IF, flow)                                                                              \
  X(PRODUCER_LOAD, producer_load)                                                          \
  X(PRODUCER_LEND, lower_producer_lend)                                                    \
  X(CONSUMER_WAIT, consumer_wait)                                                          \
  X(CONSUMER_PEEK, lower_consumer_wait_guarded)                                            \
  X(CONSUMER_EITHER, lower_consumer_either)                                                \
  X(CONSUMER_RELEASE, release)                                                             \
  X(STAGE_WORD, lower_stage_word)                                                          \
  X(PAGE_IDS, lower_page_ids)                                                              \
  X(PREFETCH, lower_prefetch)                                                              \
  X(COPY, lower_copy)                                                                      \
  X(COPY_WAIT, lower_copy_wait)                                                            \
  X(COPY_OUT, lower_copy_out)                                                              \
  X(SEND_OUT, lower_send_out)                                                              \
  X(OUT_WAIT, lower_out_wait)                                                              \
  X(GRID_WAIT, lower_grid_wait)                                                            \
  X(GRID_TRIGGER, lower_grid_trigger)                                                      \
  X(TICKET, lower_ticket)                                                                  \
  X(SEQUENCE, lower_sequence)                                                              \
  X(BINS, lower_bins)                                                                      \
  X(BINS_ADD, lower_bins_add)                                                              \
  X(BINS_SCAN, lower_bins_scan)                                                            \
  X(BINS_TAKE, lower_bins_take)                                                            \
  X(STORE_WORD, lower_store_word)                                                          \
  X(SYNC, lower_sync)                                                                      \
  X(SYNC_ROLE, lower_sync)                                                                 \
  X(FENCE_ASYNC, lower_fence_async)                                                        \
  X(ORDER_INIT, lower_order)                                                               \
  X(ORDER_WAIT, lower_order)                                                               \
  X(ORDER_ARRIVE, lower_order)                                                             \
  X(WAIT, lower_wait)                                                                      \
  X(ANY_NOT1, lower_any)                                                                   \
  X(ANY_ABS_GT, lower_any)                                                                 \
  X(UNSET, lower_unset)                                                                    \
  X(CONST, lower_const)                                                                    \
  X(SCALAR, lower_scalar)                                                                  \
  X(ADD, lower_elementwise)                                                                \
  X(SUB, lower_elementwise)                                                                \
  X(MUL, lower_elementwise)                                                                \
  X(MAX, lower_elementwise)                                                                \
  X(MIN, lower_elementwise)                                                                \
  X(FMA, lower_elementwise)                                                                \
  X(FMS, lower_elementwise)                                                                \
  X(EXP2, lower_elementwise)                                                               \
  X(EXP2_NEAR, lower_elementwise)                                                          \
  X(RESIDUAL, lower_elementwise)                                                           \
  X(LOG2, lower_elementwise)                                                               \
  X(RCP, lower_elementwise)                                                                \
  X(SELECT_NONZERO, lower_elementwise)                                                     \
  X(SELECT_GT, lower_elementwise)                                                          \
  X(SELECT_ABS_GT, lower_elementwise)                                                      \
  X(ROW_MAX, lower_row_max)                                                                \
  X(ROW_THREAD_SUM, lower_row_thread_sum)                                                  \
  X(ROW_ALLREDUCE, lower_row_allreduce)                                                    \
  X(ALLGATHER_COLS, lower_allgather_cols)                                                  \
  X(SHARE_ROWS, lower_share_rows)                                                          \
  X(PEER_ROWS, lower_peer_rows)                                                            \
  X(MERGE_COLS, lower_merge_cols)                                                          \
  X(STORE_PART, lower_store_part)                                                          \
  X(LOAD_PART, lower_load_part)                                                            \
  X(ADD_PART, lower_add_part)                                                              \
  X(LAST, lower_last)                                                                      \
  X(CONCAT_COLS, lower_concat_cols)                                                        \
  X(CVT, lower_cvt)                                                                        \
  X(GET, lower_get)                                                                        \
  X(PUT, lower_put)                                                                        \
  X(COLS, lower_cols)                                                                      \
  X(DOT, product)                                                                          \
  X(DOT_ACC, product)                                                                      \
  X(DOT_DEALT, lower_dot_dealt)                                                            \
  X(REDUCE_OUT, lower_reduce_out)                                                          \
  X(LOAD_SUMS, lower_load_sums)                                                            \
  X(SCORE, lower_score)                                                                    \
  X(SINK, lower_score)                                                                     \
  X(SLOPE, lower_score)                                                                    \
  X(MASK, lower_mask)                                                                      \
  X(DROP_STATE, lower_drop_state)                                                          \
  X(DROP, lower_drop)                                                                      \
  X(KEEP, lower_keep)                                                                      \
  X(STORE_KEEP, lower_store_keep)                                                          \
  X(STORE_ROWS, lower_store_rows)                                                          \
  X(STORE_SUMS, lower_store_sums)                                                          \
  X(LOAD_ROWS, lower_load_rows)                                                            \
  X(LOAD, lower_load)                                                                      \
  X(LOAD_ROPE, lower_load_rope)                                                            \
  X(LOAD_ONE, lower_load)                                                                  \
  X(STORE, lower_store)                                                                    \
  X(ROW_DOT, lower_row_dot)

static Lowering *const lowerings[OP_COUNT] = {
#define X(id, lower) [OP_##id] = lower,
    LOWERINGS(X)
#undef X
};
#define X(id, lower) +1
_Static_assert(LOWERINGS(X) == OP_COUNT, "an operation without a lowering");
#undef X

void
lower_region(Lo *lo, const Region *r)
{
  for (const Op *op = r->first; op; op = op->next) {
    if ((unsigned)op->kind >= OP_COUNT || !lowerings[op->kind])
      lower_missing(lo, op);
    lowerings[op->kind](lo, op);
  }
}

/* ---- the kernel ---- */

static LLVMTypeRef
param_type(Lo *lo, const Param *p)
{
  switch (p->kind) {
  case PARAM_SIZE:
    return lo->i32;
  case PARAM_SCALAR:
    return lo->f32;
  case PARAM_MAP:
    return LLVMPointerTypeInContext(lo->cx, 0);
  case PARAM_TENSOR:
  case PARAM_STRIDE:
  case PARAM_WORKSPACE:
    return lo->i64;
  }
  lower_fail(lo, "parameter of kind %d has no type", (int)p->kind);
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
  if (lo->p->cluster < 2)
    return;
  snprintf(text, sizeof text, "%d,1,1", lo->p->cluster);
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

/* One name for all entries: each launch says how much of it there is. */
static V
shared_memory(Lo *lo)
{
  V have = LLVMGetNamedGlobal(lo->m, "attnc_shared");
  if (have)
    return have;
  LLVMTypeRef bytes = LLVMArrayType2(LLVMInt8TypeInContext(lo->cx), 0);
  V smem = LLVMAddGlobalInAddressSpace(lo->m, bytes, "attnc_shared", 3);
  LLVMSetAlignment(smem, 1024);
  return smem;
}

static void
declare_kernel(Lo *lo)
{
  const Program *p = lo->p;
  LLVMTypeRef *types = NEW_N(lo->arena, LLVMTypeRef, p->n_places + 1);
  char threads[32];
  for (int i = 0; i < p->params.n; i++)
    if (p->params.at[i].place >= 0)
      types[p->params.at[i].place] = param_type(lo, &p->params.at[i]);
  LLVMTypeRef type = LLVMFunctionType(lo->none, types, (unsigned)p->n_places, 0);
  lo->fn = LLVMAddFunction(lo->m, p->entry, type);
  LLVMSetFunctionCallConv(lo->fn, 71); /* ptx_kernel */
  snprintf(threads, sizeof threads, "%d,1,1", 32 * p->warps);
  text_attribute(lo, "nvvm.reqntid", threads);
  if (lo->p->resident)
    text_attribute(lo, "nvvm.minctasm", arena_printf(lo->arena, "%d", lo->p->resident));
  else if (!lo->p->target->cp_async) /* or ptxas leaves small blocks too few registers */
    text_attribute(lo, "nvvm.minctasm", "1");
  cluster_attributes(lo);
  register_attributes(lo);
  for (int i = 0; i < p->params.n; i++)
    if (p->params.at[i].kind == PARAM_MAP)
      map_attributes(lo, (unsigned)p->params.at[i].place);
  text_attribute(lo, "denormal-fp-math-f32", "preserve-sign,preserve-sign");
  lo->smem = shared_memory(lo);
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
  lo->slot = NEW_N(lo->arena, V, p->n_waits + 1);
  lo->stage = NEW_N(lo->arena, V, p->n_waits + 1);
  lo->staged = NEW_N(lo->arena, Staged, p->rings.n + 1);
  lo->produce = NEW_N(lo->arena, RingPos, p->rings.n + 1);
  lo->consume = NEW_N(lo->arena, RingPos, p->rings.n + 1);
  lo->loop_var = NEW_N(lo->arena, V, p->n_regions + 1);
  lo->seek = NEW_N(lo->arena, Seek, p->n_regions + 1);
  lo->any = NEW_N(lo->arena, V, p->n_any + 1);
  lo->found = NEW_N(lo->arena, V, p->n_found + 1);
  lo->table = NEW_N(lo->arena, V, p->idx.tables.n + 1);
  lo->node = NEW_N(lo->arena, NodeMemo, p->idx.nodes.n + 1);
  lo->reciprocal = NEW_N(lo->arena, V, p->idx.nodes.n + 1);
  lo->quotient = NEW_N(lo->arena, V, p->idx.nodes.n + 1);
  for (int i = 0; i <= p->rings.n; i++)
    lo->ring[i] = k32(lo, 0);
}

static void
lower_kernel(Lo *lo)
{
  tables(lo);
  declare_kernel(lo);
  if (lo->p->warps < 1 || lo->p->warps > 32)
    lower_fail(lo, "%d warps", lo->p->warps);
  lo->b = LLVMCreateBuilderInContext(lo->cx);
  lo->hb = LLVMCreateBuilderInContext(lo->cx);
  LLVMPositionBuilderAtEnd(lo->b, LLVMAppendBasicBlockInContext(lo->cx, lo->fn, "entry"));
  hoist_here(lo);
  lower_region(lo, lo->p->top);
  lower_end(lo);
  LLVMBuildRetVoid(lo->b);
}

attnc_status
lower_program(Lo *lo, const Program *p, attnc_error *err)
{
  jmp_buf fail;
  attnc_error own; /* the message's, where the caller wants none */
  *lo = (Lo){.arena = lo->arena, .cx = lo->cx, .m = lo->m, .p = p, .ptx = lo->ptx};
  lo->err = err ? err : &own;
  lo->err->status = ATTNC_OK;
  lo->fail = &fail;
  if (setjmp(fail) == 0)
    lower_kernel(lo);
  if (lo->b)
    LLVMDisposeBuilder(lo->b);
  if (lo->hb)
    LLVMDisposeBuilder(lo->hb);
  lo->b = lo->hb = NULL;
  return (attnc_status)lo->err->status;
}
