/* Rows of k and v that are in pages: which page a row is in, and where it is there.
 *
 * A warp that copies rows of a box looks up 32 of its pages at once, a lane each
 * (LAY_COPY_ROW), and multiplies there; in each pass a lane is given the sum of its own row
 * by the lane that has it.  So a row costs two shuffles and an addition, whatever the size
 * of a page, and no copy waits for a table.  Rows that there are none of are not looked up:
 * behind a sequence's end a table may hold anything. */
#include "compiler/llvm/llvm_lower.h"

enum { LANES = 32, PASSES = LANES / COPY_WARP_ROWS };

static V
page_pitch(Lo *lo, const Tensor *x)
{
  MemoKey key = {.what = MEMO_PAGE_PITCH, .x = x};
  V have = memo_find(lo, &key);
  if (have)
    return have;
  V bytes = k64(lo, dtype_bytes(x->ty));
  V pitch = LLVMBuildMul(lo->hb, idx_value64(lo, x->stride[0]), bytes, "");
  return memo_keep(lo, &key, pitch);
}

/* The address of the sequence's row of the table, at its first page. */
static V
page_list(Lo *lo, const View *v)
{
  MemoKey key = {.what = MEMO_PAGE_LIST, .x = v->x, .batch = v->table_row};
  V have = memo_find(lo, &key);
  if (have)
    return have;
  const Lookup *table = v->pages;
  LLVMBuilderRef b = idx_builder(lo, v->table_row);
  V row = idx_value64(lo, v->table_row), pitch = idx_value64(lo, table->stride[0]);
  V first = idx_value64(lo, table->first), at = LLVMBuildMul(b, row, pitch, "");
  at = LLVMBuildAdd(b, at, first, "");
  at = LLVMBuildShl(b, at, k64(lo, 2), "");
  at = LLVMBuildAdd(b, at, param_value(lo, PARAM_TENSOR, table->slot, 0), "");
  return b == lo->hb ? memo_keep(lo, &key, at) : at;
}

/* Counted from the first row of the first page, behind which the first key may stand. */
static V
row_in_pages(Lo *lo, const View *v, V row)
{
  bool moved = v->origin.node || v->origin.k;
  return moved ? LLVMBuildAdd(lo->b, row, idx_value(lo, v->origin), "") : row;
}

/* `none` of a row that is not wanted. */
static V
look_up(Lo *lo, const View *v, V page, V want, int none)
{
  V at = LLVMBuildShl(lo->b, to64(lo->b, lo, page), k64(lo, 2), "");
  V in[2] = {LLVMBuildAdd(lo->b, page_list(lo, v), at, ""),
             want ? as_i32(lo, lo->b, want) : NULL};
  if (!want)
    return asm_1(lo, ASM_EFFECT, "ld.global.nc.b32 $0, [$1];", "=r,l", lo->i32, in, 1);
  const char *text = arena_printf(lo->arena,
                                  "{ .reg .pred p; setp.ne.s32 p, $2, 0; mov.b32 $0, %d; "
                                  "@p ld.global.nc.b32 $0, [$1]; }",
                                  none);
  return asm_1(lo, ASM_EFFECT, text, "=&r,l,r", lo->i32, in, 2);
}

static V
offset_of(Lo *lo, const View *v, V id, V page, V row)
{
  V first = LLVMBuildMul(lo->b, page, idx_value(lo, v->page_size), "");
  V rest = LLVMBuildSub(lo->b, row, first, "");
  V of_page = page_pitch(lo, v->x), of_row = row_pitch(lo, v->x);
  V id64 = LLVMBuildZExt(lo->b, id, lo->i64, ""),
    rest64 = LLVMBuildZExt(lo->b, rest, lo->i64, "");
  V by_page = LLVMBuildMul(lo->b, id64, of_page, "");
  V by_row = LLVMBuildMul(lo->b, rest64, of_row, "");
  return LLVMBuildAdd(lo->b, by_page, by_row, "");
}

V
page_row_address(Lo *lo, const View *v, V at)
{
  const View head = {.x = v->x, .b = i_int(0), .h = v->h};
  V row = LLVMBuildAdd(lo->b, idx_value(lo, v->row), at, ""), base = view_base(lo, &head);
  V want = row_inside(lo, v, at), in_list = row_in_pages(lo, v, row);
  V page = quotient_often(lo, in_list, v->page_size), id = look_up(lo, v, page, want, 0);
  V offset = offset_of(lo, v, id, page, in_list);
  return LLVMBuildAdd(lo->b, base, offset, "");
}

/* ---- of a copy ---- */

static int
warps_of(const Lo *lo)
{
  return lo->role ? lo->role->warps : lo->p->warps;
}

static int
registers(const Lo *lo, const View *v)
{
  return (copy_passes(v->n, warps_of(lo)) + PASSES - 1) / PASSES;
}

/* The row of the view that the lane keeps in its first register: lane l has row l % 4 of
 * the warp's in pass l / 4, or row l of those that are the warp's own. */
static V
kept_row(Lo *lo, const View *v)
{
  int own = lo->p->by_keys ? v->n / lo->p->warps_n : 0;
  MemoKey key = {.what = MEMO_KEPT_ROW, .n = own};
  V have = memo_find(lo, &key), lane = lane_value(lo, LANE_LANE);
  if (have)
    return have;
  V warp = lane_value(lo, own ? LANE_WARP_N : LANE_WARP);
  V row = LLVMBuildMul(lo->hb, warp, k32(lo, own ? own : COPY_WARP_ROWS), "");
  if (own)
    return memo_keep(lo, &key, LLVMBuildAdd(lo->hb, row, lane, ""));
  V place = LLVMBuildAnd(lo->hb, lane, k32(lo, COPY_WARP_ROWS - 1), "");
  V pass = LLVMBuildUDiv(lo->hb, lane, k32(lo, COPY_WARP_ROWS), "");
  pass = LLVMBuildMul(lo->hb, pass, k32(lo, COPY_WARP_ROWS * warps_of(lo)), "");
  row = LLVMBuildAdd(lo->hb, row, place, "");
  return memo_keep(lo, &key, LLVMBuildAdd(lo->hb, row, pass, ""));
}

/* Is that in register i one of the warp's?  NULL: all lanes' are. */
static V
is_kept(Lo *lo, const View *v, int i, V at)
{
  int own = lo->p->by_keys ? v->n / lo->p->warps_n : 0, rows = LANES * warps_of(lo);
  if (own)
    return own >= LANES ? NULL
                        : LLVMBuildICmp(lo->hb, LLVMIntULT, lane_value(lo, LANE_LANE),
                                        k32(lo, own), "");
  return (i + 1) * rows <= v->n ? NULL
                                : LLVMBuildICmp(lo->b, LLVMIntSLT, at, k32(lo, v->n), "");
}

/* The row of the view that the lane keeps in register i, and whether it is one. */
static V
kept(Lo *lo, const View *v, int i, V when, V *want)
{
  V at =
      LLVMBuildAdd(lo->b, kept_row(lo, v), k32(lo, (int64_t)i * LANES * warps_of(lo)), "");
  V row = LLVMBuildAdd(lo->b, idx_value(lo, v->row), at, "");
  *want = bool_and(lo->b, when, is_kept(lo, v, i, at));
  if (!v->in_bounds) {
    V inside = LLVMBuildICmp(lo->b, LLVMIntSLT, row, idx_value(lo, v->end), "");
    *want = bool_and(lo->b, *want, inside);
  }
  return row_in_pages(lo, v, row);
}

static V
condition(Lo *lo, Idx is)
{
  return !is.node && is.k ? NULL : as_bit(lo, idx_value(lo, is));
}

/* ---- of boxes ---- */

/* min(the lowest bit of a page's rows, of the box's that the map was made of). */
Boxes
page_boxes(Lo *lo, const View *v, int rows)
{
  V page = idx_value(lo, v->page_size), most = k32(lo, map_fitted(rows));
  V low = LLVMBuildAnd(lo->hb, page, LLVMBuildNeg(lo->hb, page, ""), "");
  V box = pick(lo->hb, LLVMIntSLT, low, most);
  V below = LLVMBuildSub(lo->hb, pick(lo->hb, LLVMIntSGT, box, k32(lo, 1)), k32(lo, 1), "");
  LLVMBuilderRef b = lo->b;
  lo->b = lo->hb;
  Boxes x = {.view = v};
  x.shift = asm_1(lo, ASM_PURE, "popc.b32 $0, $1;", "=r,r", lo->i32, &below, 1);
  lo->b = b;
  x.n = LLVMBuildLShr(lo->hb, k32(lo, rows), x.shift, "");
  return x;
}

Box
page_box(Lo *lo, const Boxes *x, V first, V when, V have)
{
  const View *v = x->view;
  V at = LLVMBuildAdd(lo->b, first, lane_value(lo, LANE_LANE), "");
  V is = LLVMBuildICmp(lo->b, LLVMIntULT, at, x->n, "");
  V row = LLVMBuildShl(lo->b, at, x->shift, "");
  row = LLVMBuildAdd(lo->b, idx_value(lo, v->row), row, "");
  V inside = LLVMBuildICmp(lo->b, LLVMIntSLT, row, idx_value(lo, v->end), "");
  V want = bool_and(lo->b, bool_and(lo->b, when, is), inside);
  row = row_in_pages(lo, v, row);
  V page = quotient_often(lo, row, v->page_size);
  V before = LLVMBuildMul(lo->b, page, idx_value(lo, v->page_size), "");
  Box r = {.row = LLVMBuildSub(lo->b, row, before, "")};
  r.id = have ? have : look_up(lo, v, page, want, -1);
  return r;
}

static V
shuffled(Lo *lo, V x, V lane)
{
  V in[2] = {x, lane};
  return asm_1(lo, ASM_EFFECT, "shfl.sync.idx.b32 $0, $1, $2, 31, -1;", "=r,r,r", lo->i32,
               in, 2);
}

Box
page_box_of(Lo *lo, const Box *x, V lane)
{
  Box r = {.id = shuffled(lo, x->id, lane)};
  r.row = shuffled(lo, x->row, lane);
  return r;
}

static V
box_id(Lo *lo, const View *v, Idx when)
{
  Boxes x = page_boxes(lo, v, v->n);
  return page_box(lo, &x, k32(lo, 0), condition(lo, when), NULL).id;
}

void
lower_page_ids(Lo *lo, const Op *op)
{
  int n;
  const View *v = &op->view;
  V *out = lower_regs(lo, op->out, &n), want, when = condition(lo, op->when);
  if (op->out->lay == LAY_BOX) {
    out[0] = box_id(lo, v, op->when);
    return;
  }
  for (int i = 0; i < n; i++) {
    V row = kept(lo, v, i, when, &want);
    out[i] = look_up(lo, v, quotient_often(lo, row, v->page_size), want, 0);
  }
}

V *
page_kept_offsets(Lo *lo, const View *v, V when, int *n)
{
  *n = registers(lo, v);
  V *out = NEW_N(lo->arena, V, *n), want;
  for (int i = 0; i < *n; i++) {
    V row = kept(lo, v, i, when, &want), page = quotient_often(lo, row, v->page_size);
    V id = v->ids ? lo->vals[v->ids->id][i] : look_up(lo, v, page, want, 0);
    out[i] = offset_of(lo, v, id, page, row);
  }
  return out;
}

V
page_pass_offset(Lo *lo, V *kept, int pass)
{
  V x = kept[pass / PASSES], half = k64(lo, 32);
  V lane = LLVMBuildLShr(lo->hb, lane_value(lo, LANE_LANE), k32(lo, 3), "");
  lane = LLVMBuildAdd(lo->b, lane, k32(lo, pass % PASSES * COPY_WARP_ROWS), "");
  V high = LLVMBuildTrunc(lo->b, LLVMBuildLShr(lo->b, x, half, ""), lo->i32, "");
  V low = shuffled(lo, LLVMBuildTrunc(lo->b, x, lo->i32, ""), lane);
  high = LLVMBuildZExt(lo->b, shuffled(lo, high, lane), lo->i64, "");
  low = LLVMBuildZExt(lo->b, low, lo->i64, "");
  return LLVMBuildOr(lo->b, LLVMBuildShl(lo->b, high, half, ""), low, "");
}

void
page_prepare(Lo *lo, const View *v)
{
  kept_row(lo, v);
  page_list(lo, v);
  page_pitch(lo, v->x);
  row_pitch(lo, v->x);
  idx_value(lo, v->row);
  idx_value(lo, v->origin);
  idx_value(lo, v->page_size);
  quotient_often(lo, k32(lo, 0), v->page_size);
}
