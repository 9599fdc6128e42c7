/* What the asynchronous engines need: mbarriers and TMA (PTX ISA, "Asynchronous barriers",
 * "cp.async.bulk.tensor"). */
#include "compiler/llvm/llvm_lower.h"

static void
effect(Lo *lo, const char *text, const char *constraints, V *in, int n)
{
  asm_call(lo, ASM_MEMORY, text, constraints, in, n, lo->none, NULL, 0);
}

/* In a whole warp: what stands between is one lane's, and the others wait for it, so that
 * none is ever a phase of a barrier behind.  NULL: there is one lane. */
static LLVMBasicBlockRef
one_lane_begins(Lo *lo)
{
  if (!lo->one)
    return NULL;
  LLVMBasicBlockRef mine = new_block(lo, "one"), on = new_block(lo, "on");
  LLVMBuildCondBr(lo->b, lo->one, mine, on);
  LLVMPositionBuilderAtEnd(lo->b, mine);
  return on;
}

static void
one_lane_ends(Lo *lo, LLVMBasicBlockRef on)
{
  if (!on)
    return;
  LLVMBuildBr(lo->b, on);
  LLVMPositionBuilderAtEnd(lo->b, on);
  warp_barrier(lo);
  lo->late++;
}

/* ---- setup ---- */

static bool
guarded(const Program *p)
{
  for (int i = 0; i < p->rings.n; i++)
    if (fill_is_guarded(p->rings.at[i]->fill))
      return true;
  return false;
}

enum { LANES = 32 };

/* Full: one arrival that says how many bytes come, or one of each lane that copies. */
static void
init_ring(Str *text, const Ring *r)
{
  int filled = r->fill == FILL_LANES ? LANES : 1;
  int per_stage = r->consumers * (r->cluster > 1 ? r->cluster : 1);
  for (int i = 0; i < r->mem.stages; i++) {
    str_printf(text, "mbarrier.init.shared::cta.b64 [$1+%d], %d; ", r->full_at + 8 * i,
               filled);
    str_printf(text, "mbarrier.init.shared::cta.b64 [$1+%d], %d; ", r->empty_at + 8 * i,
               per_stage);
  }
}

/* The tensor maps are on their way while the mbarriers are made, or the first copy by each
 * would wait for its own.  How many operands, which are $2, $3 … */
static int
prefetch_maps(Lo *lo, Str *text, Str *constraints, V *in)
{
  int n = 0;
  for (int i = 0; i < lo->p->params.n; i++) {
    const Param *p = &lo->p->params.at[i];
    if (p->kind != PARAM_MAP || p->place < 0)
      continue;
    str_printf(text, "prefetch.tensormap [$%d]; ", 2 + n);
    str_put(constraints, ",l");
    V map = param_value(lo, PARAM_MAP, p->slot, p->dim);
    in[n++] = LLVMBuildPtrToInt(lo->b, map, lo->i64, "");
  }
  return n;
}

/* One thread makes the mbarriers; nobody goes on before they are seen.  One branch around
 * all of it: ptxas 13.0 makes one of each guarded mbarrier.init, with a fence and its count
 * computed again.  In a cluster the fence is the release, and the barrier needs none (PTX
 * ISA, "fence.mbarrier_init"); a release there waits for all memory. */
void
lower_setup(Lo *lo)
{
  if (!guarded(lo->p) || lo->set_up)
    return;
  lo->set_up = true;
  Str text = str_new(lo->arena), in_regs = str_new(lo->arena);
  V *in = NEW_N(lo->arena, V, 2 + lo->p->params.n);
  in[0] = lane_value(lo, LANE_TID);
  in[1] = lane_value(lo, LANE_SMEM);
  str_put(&in_regs, "r,r");
  str_put(&text, "{ .reg .pred p; setp.ne.u32 p, $0, 0; @p bra MADE_${:uid}; ");
  int n = 2 + prefetch_maps(lo, &text, &in_regs, in + 2);
  for (int i = 0; i < lo->p->rings.n; i++)
    if (fill_is_guarded(lo->p->rings.at[i]->fill))
      init_ring(&text, lo->p->rings.at[i]);
  str_put(&text, "fence.mbarrier_init.release.cluster; MADE_${:uid}: }");
  effect(lo, text.p, in_regs.p, in, n);
  if (lo->p->cluster > 1)
    effect(lo,
           "barrier.cluster.arrive.relaxed.aligned; barrier.cluster.wait.acquire.aligned;",
           "", NULL, 0);
  else
    effect(lo, "bar.sync 0;", "", NULL, 0);
}

/* No block of a cluster ends while another may still write or arrive in its shared memory.
 */
void
lower_end(Lo *lo)
{
  if (guarded(lo->p) && lo->p->cluster > 1)
    effect(lo, "barrier.cluster.arrive.release; barrier.cluster.wait.acquire;", "", NULL,
           0);
}

/* ---- rings ---- */

/* The address of the barrier of a stage. */
static V
barrier_at(Lo *lo, int at, V stage)
{
  V base = lane_value(lo, LANE_SMEM);
  base = LLVMBuildAdd(lo->b, base, k32(lo, at), "");
  if (!stage)
    return base;
  V offset = LLVMBuildShl(lo->b, stage, k32(lo, 3), "");
  return LLVMBuildAdd(lo->b, base, offset, "");
}

static void
wait_barrier(Lo *lo, V at, V parity)
{
  V in[2] = {at, parity};
  effect(
      lo,
      "{ .reg .pred p; WAIT_${:uid}: mbarrier.try_wait.parity.shared::cta.b64 p, [$0], $1; "
      "@!p bra WAIT_${:uid}; }",
      "r,r", in, 2);
}

/* The next stage; the parity turns where the ring begins again. */
static void
advance(Lo *lo, const Ring *r, RingPos *pos)
{
  int stages = r->mem.stages;
  if (stages == 1) {
    pos->parity = LLVMBuildXor(lo->b, pos->parity, k32(lo, 1), "");
    return;
  }
  if (stages == 2) {
    pos->parity = LLVMBuildXor(lo->b, pos->parity, pos->stage, "");
    pos->stage = LLVMBuildXor(lo->b, pos->stage, k32(lo, 1), "");
    return;
  }
  V next = LLVMBuildAdd(lo->b, pos->stage, k32(lo, 1), "");
  V wrap = LLVMBuildICmp(lo->b, LLVMIntEQ, next, k32(lo, stages), "");
  V turned = LLVMBuildXor(lo->b, pos->parity, k32(lo, 1), "");
  pos->stage = LLVMBuildSelect(lo->b, wrap, k32(lo, 0), next, "");
  pos->parity = LLVMBuildSelect(lo->b, wrap, turned, pos->parity, "");
}

static V
stage_bytes(Lo *lo, const Ring *r, V stage)
{
  return stage ? LLVMBuildMul(lo->b, stage, k32(lo, r->mem.bytes), "") : NULL;
}

/* ---- TMA ---- */

static int
view_panels(const View *v)
{
  int width = dtype_in(v->x->ty, PANEL_BYTES);
  return (v->x->cols + width - 1) / width;
}

static V
map_value(Lo *lo, const View *v, int rows)
{
  V map = param_value(lo, PARAM_MAP, v->x->slot, map_dim(v, rows));
  return LLVMBuildPtrToInt(lo->b, map, lo->i64, "");
}

/* {column, row, head, batch}, or {column, 0, position, key head, batch}.  Of whole rows the
 * column is written into the text; heads and batches are left out of it where the tensor
 * has none. */
static int
coordinates(Lo *lo, const View *v, V row, V *out)
{
  int n = 0;
  out[n++] = row;
  out[n++] = idx_value(lo, v->h);
  out[n++] = idx_value(lo, v->b);
  return n;
}

/* Column `col` and operands $n, $n+1, $n+2 as the coordinates of an instruction; `more`
 * stands before them. */
static const char *
coordinate_text(Lo *lo, const View *v, int col, int n, const char *more)
{
  const char *head = v->x->no_head ? "" : arena_printf(lo->arena, ", $%d", n + 1);
  const char *batch = v->x->no_batch ? "" : arena_printf(lo->arena, ", $%d", n + 2);
  const char *at = v->part ? "$7" : arena_printf(lo->arena, "%d", col);
  return arena_printf(lo->arena, "{%s, %s%s$%d%s%s}", at, v->pack > 1 ? "0, " : "", more, n,
                      head, batch);
}

static int
dimensions(const View *v)
{
  return 4 - v->x->no_batch - v->x->no_head + (v->pack > 1 || v->cut);
}

/* CUTLASS's names of the L2 policies: EVICT_FIRST, EVICT_LAST. */
static int64_t
policy(Hint h)
{
  return h == HINT_ONCE ? 0x12F0000000000000 : 0x14F0000000000000;
}

static V
cluster_rank(Lo *lo)
{
  return asm_1(lo, ASM_PURE, "mov.u32 $0, %cluster_ctarank;", "=r", lo->i32, NULL, 0);
}

/* $0 where to, $1 the map, $2 row, $3 head, $4 batch, $5 the barrier, $6 what L2 shall do,
 * $7 how far a box has slid, or the column where rows have parts. */
static void
load_panel(Lo *lo, const Op *op, int panel, V *in)
{
  const View *v = &op->view;
  const Ring *r = op->ring;
  int width = dtype_in(v->x->ty, PANEL_BYTES), many = r->cluster > 1;
  bool more = v->cut || v->part;
  if (v->part)
    in[7] = LLVMBuildAdd(lo->b, idx_value(lo, v->col), k32(lo, panel * width), "");
  const char *text = arena_printf(
      lo->arena,
      "cp.async.bulk.tensor.%dd.shared::cluster.global.tile.mbarrier::complete_tx::bytes%s%"
      "s "
      "[$0+%d], [$1, %s], [$5]%s%s;",
      dimensions(v), many ? ".multicast::cluster" : "", op->hint ? ".L2::cache_hint" : "",
      r->mem.offset + panel * r->mem.rows * PANEL_BYTES,
      coordinate_text(lo, v, panel * width, 2, v->cut ? "$7, " : ""), many ? ", 3" : "",
      op->hint ? ", $6" : "");
  effect(lo, text, more ? "r,l,r,r,r,r,l,r" : "r,l,r,r,r,r,l", in, more ? 8 : 7);
}

/* Of the tensor, whose map knows no view. */
static V
map_row(Lo *lo, const View *v, V row)
{
  if (!v->origin.node && !v->origin.k)
    return row;
  return LLVMBuildAdd(lo->b, idx_value(lo, v->origin), row, "");
}

/* How many of a box's last rows are past the end. */
static V
past_end(Lo *lo, const View *v, V row, V rows)
{
  V past = LLVMBuildAdd(lo->b, row, rows, "");
  past = LLVMBuildSub(lo->b, past, idx_value(lo, v->end), "");
  past = pick(lo->b, LLVMIntSGT, past, k32(lo, 0));
  return pick(lo->b, LLVMIntSLT, past, rows);
}

/* Those of a view that is cut.  Its map has rows twice: the inner dimension is as long as a
 * box, and the box that begins so far inside it leaves its last rows out of bounds, which
 * are zeros; the outer one, which is counted from a box before the tensor, makes up for
 * that. */
static V
slide(Lo *lo, const View *v, V row, int rows, V *outer)
{
  V past = past_end(lo, v, row, k32(lo, rows));
  V from = LLVMBuildAdd(lo->b, row, k32(lo, rows), "");
  *outer = LLVMBuildSub(lo->b, from, past, "");
  return past;
}

/* Whoever sees the stage's phase complete sees its word: the arrival behind it releases. */
static void
store_word(Lo *lo, const Op *op, V stage)
{
  V in[2];
  if (!op->ring->word)
    return;
  in[0] = barrier_at(lo, op->ring->word_at, stage);
  in[1] = idx_value(lo, op->word);
  effect(lo, "st.shared::cta.b32 [$0], $1;", "r,r", in, 2);
}

void
lower_stage_word(Lo *lo, const Op *op)
{
  V at = barrier_at(lo, op->ring->word_at, lo->stage[op->wait_id]);
  lo->found[op->found.node->n] =
      asm_1(lo, ASM_MEMORY, "ld.shared::cta.b32 $0, [$1];", "=r,r", lo->i32, &at, 1);
}

/* Waits until the stage is empty; its barrier. */
static V
empty_stage(Lo *lo, const Ring *r)
{
  const RingPos *pos = &lo->produce[r->id];
  V full = barrier_at(lo, r->full_at, pos->stage);
  wait_barrier(lo, barrier_at(lo, r->empty_at, pos->stage), pos->parity);
  return full;
}

/* Tells the barrier how much will come. */
static void
open_stage(Lo *lo, const Op *op, V full, int bytes)
{
  store_word(lo, op, lo->produce[op->ring->id].stage);
  const char *expect = arena_printf(
      lo->arena, "mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [$0], %d;",
      bytes);
  effect(lo, bytes ? expect : "mbarrier.arrive.release.cta.shared::cta.b64 _, [$0];", "r",
         &full, 1);
}

/* A word goes alone. */
static void
load_nothing(Lo *lo, const Op *op)
{
  V full = empty_stage(lo, op->ring);
  LLVMBasicBlockRef on = one_lane_begins(lo);
  open_stage(lo, op, full, 0);
  one_lane_ends(lo, on);
  advance(lo, op->ring, &lo->produce[op->ring->id]);
}

/* Where the stage is that is filled. */
static V
stage_at(Lo *lo, const Ring *r)
{
  V dst = lane_value(lo, LANE_SMEM), stage = stage_bytes(lo, r, lo->produce[r->id].stage);
  return stage ? LLVMBuildAdd(lo->b, dst, stage, "") : dst;
}

/* Starts the copies, one for each panel. */
static void
load_panels(Lo *lo, const Op *op)
{
  const Ring *r = op->ring;
  const View *v = &op->view;
  int panels = view_panels(v), rows = r->mem.rows / (r->cluster > 1 ? r->cluster : 1);
  V in[8], full = empty_stage(lo, r);
  LLVMBasicBlockRef on = one_lane_begins(lo);
  open_stage(lo, op, full, panels * r->mem.rows * PANEL_BYTES);
  V dst = stage_at(lo, r), row = idx_value(lo, v->row);
  if (r->cluster > 1) {
    V part = LLVMBuildMul(lo->b, cluster_rank(lo), k32(lo, rows), "");
    V bytes = LLVMBuildShl(lo->b, part, k32(lo, 7), "");
    row = LLVMBuildAdd(lo->b, row, part, "");
    dst = LLVMBuildAdd(lo->b, dst, bytes, "");
  }
  if (v->cut)
    in[7] = slide(lo, v, row, rows, &row);
  row = map_row(lo, v, row);
  in[0] = dst;
  in[1] = map_value(lo, v, rows);
  coordinates(lo, v, row, in + 2);
  in[5] = full;
  in[6] = k64(lo, policy(op->hint));
  for (int p = 0; p < panels; p++)
    load_panel(lo, op, p, in);
  one_lane_ends(lo, on);
  advance(lo, r, &lo->produce[r->id]);
}

/* One box, all its panels; `first` is the stage's own place. */
static void
load_box(Lo *lo, const Op *op, const Boxes *x, V i, const Box *box, V first, V full)
{
  const View *v = &op->view;
  V in[8], above = LLVMBuildShl(lo->b, i, x->shift, "");
  V rows = LLVMBuildShl(lo->b, k32(lo, 1), x->shift, "");
  V row = LLVMBuildAdd(lo->b, idx_value(lo, v->row), above, "");
  LLVMBasicBlockRef on = one_lane_begins(lo);
  in[7] = past_end(lo, v, row, rows);
  in[0] = LLVMBuildAdd(lo->b, first, LLVMBuildShl(lo->b, above, k32(lo, 7), ""), "");
  in[1] = map_value(lo, v, op->ring->mem.rows);
  in[2] = LLVMBuildSub(lo->b, LLVMBuildAdd(lo->b, box->row, rows, ""), in[7], "");
  in[3] = idx_value(lo, v->h);
  in[4] = box->id;
  in[5] = full;
  in[6] = k64(lo, policy(op->hint));
  for (int p = 0; p < view_panels(v); p++)
    load_panel(lo, op, p, in);
  one_lane_ends(lo, on);
}

static Box
box_phis(Lo *lo, const Box *box, LLVMBasicBlockRef from)
{
  Box r = {.id = phi_of(lo, lo->i32, box->id, from)};
  r.row = phi_of(lo, lo->i32, box->row, from);
  return r;
}

/* A loop over the boxes, of which each lane knows one; behind each 32 those of the next. */
static void
load_boxes(Lo *lo, const Op *op, const Boxes *x, V first, V full)
{
  V have = op->in[0] ? lo->vals[op->in[0]->id][0] : NULL;
  Box known = page_box(lo, x, k32(lo, 0), NULL, have);
  LLVMBasicBlockRef body = new_block(lo, "box"), more = new_block(lo, "ids"),
                    latch = new_block(lo, "next"), done = new_block(lo, "done");
  LLVMBasicBlockRef pre = LLVMGetInsertBlock(lo->b);
  LLVMBuildBr(lo->b, body);
  LLVMPositionBuilderAtEnd(lo->b, body);
  V i = phi_of(lo, lo->i32, k32(lo, 0), pre);
  Box now = box_phis(lo, &known, pre);
  Box box = page_box_of(lo, &now, LLVMBuildAnd(lo->b, i, k32(lo, LANES - 1), ""));
  load_box(lo, op, x, i, &box, first, full);
  V next = LLVMBuildAdd(lo->b, i, k32(lo, 1), "");
  V low = LLVMBuildAnd(lo->b, next, k32(lo, LANES - 1), "");
  V on = LLVMBuildICmp(lo->b, LLVMIntULT, next, x->n, "");
  V turn = LLVMBuildICmp(lo->b, LLVMIntEQ, low, k32(lo, 0), "");
  turn = LLVMBuildAnd(lo->b, turn, on, "");
  LLVMBasicBlockRef from = LLVMGetInsertBlock(lo->b);
  hardly_ever(lo, LLVMBuildCondBr(lo->b, turn, more, latch));
  LLVMPositionBuilderAtEnd(lo->b, more);
  Box others = page_box(lo, x, next, NULL, NULL);
  LLVMBasicBlockRef behind = LLVMGetInsertBlock(lo->b);
  LLVMBuildBr(lo->b, latch);
  LLVMPositionBuilderAtEnd(lo->b, latch);
  Box then = box_phis(lo, &now, from);
  LLVMAddIncoming(then.id, &others.id, &behind, 1);
  LLVMAddIncoming(then.row, &others.row, &behind, 1);
  LLVMAddIncoming(i, &next, &latch, 1);
  LLVMAddIncoming(now.id, &then.id, &latch, 1);
  LLVMAddIncoming(now.row, &then.row, &latch, 1);
  no_unrolling(lo, LLVMBuildCondBr(lo->b, on, body, done));
  LLVMPositionBuilderAtEnd(lo->b, done);
  lo->late++;
}

/* Page by page: boxes of rows that lie in one. */
static void
load_pages(Lo *lo, const Op *op)
{
  const Ring *r = op->ring;
  const View *v = &op->view;
  page_prepare(lo, v);
  idx_value(lo, v->end);
  idx_value(lo, v->h);
  Boxes x = page_boxes(lo, v, r->mem.rows);
  V first = stage_at(lo, r), full = empty_stage(lo, r);
  LLVMBasicBlockRef on = one_lane_begins(lo);
  open_stage(lo, op, full, view_panels(v) * r->mem.rows * PANEL_BYTES);
  one_lane_ends(lo, on);
  load_boxes(lo, op, &x, first, full);
  advance(lo, r, &lo->produce[r->id]);
}

/* The consumers wait for it as for a stage that was filled: one arrival, no bytes. */
void
lower_producer_lend(Lo *lo, const Op *op)
{
  const Ring *r = op->ring;
  V full = empty_stage(lo, r);
  LLVMBasicBlockRef on = one_lane_begins(lo);
  effect(lo, "mbarrier.arrive.release.cta.shared::cta.b64 _, [$0];", "r", &full, 1);
  one_lane_ends(lo, on);
  advance(lo, r, &lo->produce[r->id]);
}

void
lower_consumer_either(Lo *lo, const Op *op)
{
  V second = idx_value(lo, op->when);
  lo->stage[op->wait_id] =
      LLVMBuildSelect(lo->b, second, lo->stage[op->of[1]], lo->stage[op->of[0]], "");
  lo->slot[op->wait_id] =
      LLVMBuildSelect(lo->b, second, lo->slot[op->of[1]], lo->slot[op->of[0]], "");
}

void
lower_producer_load_tma(Lo *lo, const Op *op)
{
  if (op->view.pages)
    load_pages(lo, op);
  else if (op->view.x)
    load_panels(lo, op);
  else
    load_nothing(lo, op);
}

/* The lanes' copies, and behind them the arrival of each. */
void
lower_producer_load_lanes(Lo *lo, const Op *op)
{
  const Ring *r = op->ring;
  RingPos *pos = &lo->produce[r->id];
  V full = empty_stage(lo, r);
  lower_copy_column(lo, &op->view, &r->mem, stage_bytes(lo, r, pos->stage));
  effect(lo, "cp.async.mbarrier.arrive.noinc.shared::cta.b64 [$0];", "r", &full, 1);
  advance(lo, r, pos);
}

void
lower_consumer_wait_guarded(Lo *lo, const Op *op)
{
  const Ring *r = op->ring;
  RingPos *pos = &lo->consume[r->id];
  wait_barrier(lo, barrier_at(lo, r->full_at, pos->stage), pos->parity);
  lo->stage[op->wait_id] = pos->stage;
  lo->slot[op->wait_id] = stage_bytes(lo, r, pos->stage);
  if (op->kind == OP_CONSUMER_WAIT)
    advance(lo, r, pos);
}

/* One lane a warp arrives; in a cluster at the barriers of both blocks.
 *
 * What the other CTA waits for there is the end of this warp's reads, and a stage that only
 * products read is read by the async proxy: wgmma.wait_group has told that those reads are
 * complete (PTX ISA, "wgmma.wait_group"), and the arrival stands behind it.  A release adds
 * nothing to that: it orders what threads read and write (PTX ISA, "Memory Consistency
 * Model"), and nobody in the other CTA asks for any of this warp's.  So the default scope
 * of mbarrier.arrive does, .cta, which a remote address takes too; that of the cluster
 * makes ptxas 13.0 wait for all memory (MEMBAR.ALL.GPU) twice a tile.  Where threads have
 * read or written the stage themselves, the order is theirs, and of the scope of the
 * cluster. */
void
lower_consumer_release(Lo *lo, const Op *op)
{
  const Ring *r = op->ring;
  V in[2];
  in[0] = barrier_at(lo, r->empty_at, lo->stage[op->wait_id]);
  in[1] = lane_value(lo, LANE_LANE);
  if (op->fence) /* the warp has read or written it by itself */
    effect(lo, "bar.warp.sync -1;", "", NULL, 0);
  if (r->cluster > 1)
    effect(lo,
           arena_printf(lo->arena,
                        "{ .reg .pred p; .reg .b32 a; setp.lt.u32 p, $1, 2; "
                        "mapa.shared::cluster.u32 a, $0, $1; "
                        "@p mbarrier.arrive.release.%s.shared::cluster.b64 _, [a]; }",
                        op->fence ? "cluster" : "cta"),
           "r,r", in, 2);
  else
    effect(lo,
           "{ .reg .pred p; setp.eq.u32 p, $1, 0; "
           "@p mbarrier.arrive.release.cta.shared::cta.b64 _, [$0]; }",
           "r,r", in, 2);
}

/* ---- out ---- */

static void
fence_async(Lo *lo)
{
  effect(lo, "fence.proxy.async.shared::cta;", "", NULL, 0);
}

void
lower_fence_async(Lo *lo, const Op *op)
{
  (void)op; /* of all of shared memory */
  fence_async(lo);
}

/* Elsewhere a launch begins when the step ahead of it has ended, and nothing is to be said
 * (PTX ISA, "griddepcontrol"). */
void
lower_grid_wait(Lo *lo, const Op *op)
{
  (void)op; /* for all of the step ahead */
  if (lo->p->dependent)
    effect(lo, "griddepcontrol.wait;", "", NULL, 0);
}

void
lower_grid_trigger(Lo *lo, const Op *op)
{
  (void)op; /* for whatever is behind */
  if (lo->p->target->dependent)
    effect(lo, "griddepcontrol.launch_dependents;", "", NULL, 0);
}

/* What one lane has found, 0 in the others, for all. */
static V
from_one_lane(Lo *lo, V found, LLVMBasicBlockRef before, LLVMBasicBlockRef on)
{
  LLVMBasicBlockRef mine = LLVMGetInsertBlock(lo->b);
  if (!on)
    return found;
  LLVMBuildBr(lo->b, on);
  LLVMPositionBuilderAtEnd(lo->b, on);
  V all = phi_of(lo, lo->i32, k32(lo, 0), before);
  LLVMAddIncoming(all, &found, &mine, 1);
  lo->late++;
  return asm_1(lo, ASM_EFFECT, "redux.sync.or.b32 $0, $1, -1;", "=r,r", lo->i32, &all, 1);
}

/* inc is 0 again behind its bound: the last drawing leaves the counter as the first found
 * it.  Written out, since LLVM 22 prints its own atomics without order and scope. */
void
lower_ticket(Lo *lo, const Op *op)
{
  V in[2];
  in[0] = param_value(lo, PARAM_WORKSPACE, op->view.x->slot, 0);
  in[1] = LLVMBuildSub(lo->b, idx_value(lo, op->bound), k32(lo, 1), "");
  const char *text = lo->p->has_grid_without_workspace
                         ? "{ .reg .pred p; mov.b32 $0, 0; setp.ne.u64 p, $1, 0; "
                           "@p atom.relaxed.gpu.global.inc.u32 $0, [$1], $2; }"
                         : "atom.relaxed.gpu.global.inc.u32 $0, [$1], $2;";
  LLVMBasicBlockRef before = LLVMGetInsertBlock(lo->b), on = one_lane_begins(lo);
  V drawn = asm_1(lo, ASM_MEMORY, text, "=&r,l,r", lo->i32, in, 2);
  lo->found[op->found.node->n] = from_one_lane(lo, drawn, before, on);
}

/* The team's first thread sends one box for each panel. */
void
lower_send_out(Lo *lo, const Op *op)
{
  const View *v = &op->view;
  const SmemDecl *d = op->smem.mem;
  int width = dtype_in(v->x->ty, PANEL_BYTES), panels = view_panels(v);
  V in[6];
  fence_async(lo);
  team_barrier(lo);
  V row = LLVMBuildShl(lo->b, idx_value(lo, op->smem.row), k32(lo, 7), "");
  in[0] = LLVMBuildAdd(lo->b, lane_value(lo, LANE_SMEM), row, "");
  if (op->smem.wait_id && lo->slot[op->smem.wait_id])
    in[0] = LLVMBuildAdd(lo->b, in[0], lo->slot[op->smem.wait_id], "");
  in[1] = map_value(lo, v, op->smem.rows);
  coordinates(lo, v, map_row(lo, v, idx_value(lo, v->row)), in + 2);
  in[5] = lane_value(lo, LANE_TID);
  Str text = str_new(lo->arena);
  str_put(&text, "{ .reg .pred p; setp.eq.u32 p, $5, 0; ");
  for (int p = 0; p < panels; p++)
    str_printf(&text,
               "@p cp.async.bulk.tensor.%dd.global.shared::cta.tile.bulk_group [$1, %s], "
               "[$0+%d]; ",
               dimensions(v), coordinate_text(lo, v, p * width, 2, ""),
               d->offset + p * d->rows * PANEL_BYTES);
  str_put(&text, "@p cp.async.bulk.commit_group; }");
  effect(lo, text.p, "r,l,r,r,r,r", in, 6);
}

/* Only the thread that sent has a group to wait for. */
void
lower_out_wait(Lo *lo, const Op *op)
{
  (void)op;
  effect(lo, "cp.async.bulk.wait_group.read 0;", "", NULL, 0);
  team_barrier(lo);
}
