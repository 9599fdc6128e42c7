/* Copies: from a tensor into swizzled panels, by cp.async or through registers, stages of
 * rings, and the way out.
 *
 * Eight threads take a 128-byte row of a panel, 16 bytes each (PTX ISA, cp.async with
 * cp-size 16 and an optional src-size: the rest is zero-filled).  Sources past the end of
 * a tensor have src-size 0 and are not read. */
#include "compiler/llvm/llvm_lower.h"

#include <stdio.h>

/* What a copy has: the threads' first row, and how far on the next one is. */
typedef struct Walkers {
  int step, iters; /* rows between one and the next of a thread; how many */
  int own;         /* rows of a stage that each warp has to itself; 0: the team has all */
  V row;           /* this thread's row of the view, i32 */
  V src;           /* its address, i64 */
  V pitch;         /* to its next row, i64 */
  V when;          /* NULL or whether there is a source at all */
  V *kept; /* of rows in pages, or NULL: page_kept_offsets; src is that of their head */
  V below; /* NULL or what the view's row is below where this thread's is there */
  V left;  /* NULL or bytes of its row that there are from its chunk on, of the first panel
            */
} Walkers;

/* This thread's first row; own: Walkers. */
static V
copy_row(Lo *lo, int own)
{
  MemoKey key = {.what = MEMO_OWN_ROW, .n = own};
  if (!own)
    return lane_value(lo, LANE_CROW);
  V have = memo_find(lo, &key);
  if (have)
    return have;
  V row = LLVMBuildLShr(lo->hb, lane_value(lo, LANE_LANE), k32(lo, 3), "");
  V first = LLVMBuildMul(lo->hb, lane_value(lo, LANE_WARP_N), k32(lo, own), "");
  return memo_keep(lo, &key, LLVMBuildAdd(lo->hb, first, row, ""));
}

/* Where its 16 bytes of that row go: chunk ^= row % 8. */
static V
copy_place(Lo *lo, int own)
{
  MemoKey key = {.what = MEMO_OWN_PLACE, .n = own};
  if (!own)
    return lane_value(lo, LANE_CDST);
  V have = memo_find(lo, &key);
  if (have)
    return have;
  V row = copy_row(lo, own), low = LLVMBuildAnd(lo->hb, row, k32(lo, 7), "");
  V chunk = LLVMBuildXor(lo->hb, lane_value(lo, LANE_CHUNK), low, "");
  V at = LLVMBuildShl(lo->hb, row, k32(lo, 7), "");
  at = LLVMBuildOr(lo->hb, at, LLVMBuildShl(lo->hb, chunk, k32(lo, 4), ""), "");
  return memo_keep(lo, &key, LLVMBuildAdd(lo->hb, lane_value(lo, LANE_SMEM), at, ""));
}

/* Address of this thread's chunk in row 0 of (b, h): hoisted. */
static V
thread_base(Lo *lo, const View *v, int own)
{
  MemoKey key = view_key(MEMO_THREAD_BASE, v);
  key.n = own;
  V have = memo_find(lo, &key);
  if (have)
    return have;
  V row = LLVMBuildZExt(lo->hb, copy_row(lo, own), lo->i64, "");
  V col = LLVMBuildZExt(lo->hb, lane_value(lo, LANE_CHUNK), lo->i64, "");
  V at = LLVMBuildMul(lo->hb, row, row_pitch(lo, v->x), "");
  at = LLVMBuildAdd(lo->hb, at, LLVMBuildShl(lo->hb, col, k64(lo, 4), ""), "");
  at = LLVMBuildAdd(lo->hb, at, view_base(lo, v), "");
  return memo_keep(lo, &key, at);
}

/* The same of rows in pages, before what the table says. */
static V
chunk_base(Lo *lo, const View *v)
{
  const View first = {.x = v->x, .b = i_int(0), .h = v->h};
  MemoKey key = {.what = MEMO_CHUNK_BASE, .x = v->x, .head = v->h};
  V have = memo_find(lo, &key);
  if (have)
    return have;
  V col = LLVMBuildZExt(lo->hb, lane_value(lo, LANE_CHUNK), lo->i64, "");
  V base = view_base(lo, &first);
  LLVMBuilderRef b = idx_builder(lo, v->h);
  V at = LLVMBuildAdd(b, base, LLVMBuildShl(lo->hb, col, k64(lo, 4), ""), "");
  return b == lo->hb ? memo_keep(lo, &key, at) : at;
}

static V
step_pitch(Lo *lo, const Tensor *x, int step)
{
  MemoKey key = {.what = MEMO_STEP_PITCH, .x = x, .n = step};
  V have = memo_find(lo, &key);
  if (have)
    return have;
  V pitch = LLVMBuildMul(lo->hb, row_pitch(lo, x), k64(lo, step), "");
  return memo_keep(lo, &key, pitch);
}

static int
team_warps(const Lo *lo)
{
  return lo->role ? lo->role->warps : lo->p->warps;
}

/* Without sources; own: a copy into a ring of whose stages each warp fills its rows. */
static Walkers
places(const Lo *lo, const View *v, bool own)
{
  Walkers w = {.step = own ? 4 : 4 * team_warps(lo),
               .own = own ? v->n / lo->p->warps_n : 0};
  w.iters = ((own ? w.own : v->n) + w.step - 1) / w.step;
  return w;
}

/* Where each row's part begins, and where it ends. */
static void
from_column(Lo *lo, const View *v, Walkers *w)
{
  int64_t bytes = dtype_bytes(v->x->ty);
  V by = LLVMBuildMul(lo->b, idx_value64(lo, v->col), k64(lo, bytes), "");
  w->src = LLVMBuildAdd(lo->b, w->src, by, "");
  if (!v->ragged)
    return;
  V col = idx_value(lo, v->col), end = idx_value(lo, v->behind);
  V left = LLVMBuildMul(lo->b, LLVMBuildSub(lo->b, end, col, ""), k32(lo, bytes), "");
  V chunk = LLVMBuildShl(lo->hb, lane_value(lo, LANE_CHUNK), k32(lo, 4), "");
  w->left = LLVMBuildSub(lo->b, left, chunk, "");
}

/* when: NULL, or whether there are any that are not looked up else. */
static Walkers
page_walkers(Lo *lo, const View *v, bool own, const Idx *when)
{
  int n;
  Walkers w = places(lo, v, own);
  w.when = when && when->node ? as_bit(lo, idx_value(lo, *when)) : NULL;
  w.src = chunk_base(lo, v);
  V first = idx_value(lo, v->row), row = copy_row(lo, w.own);
  w.row = LLVMBuildAdd(lo->b, first, row, "");
  w.kept = page_kept_offsets(lo, v, w.when, &n);
  return w;
}

/* A number that memory holds, as a sequence's length does, is in no uniform register: where
 * a loop has it and the thread's row, their difference is one register instead of two. */
static bool
has_element(Idx x)
{
  const Node *n = x.node;
  if (!n || n->kind == NODE_ELEMENT)
    return n;
  bool leaf = n->kind <= NODE_LOOP || n->kind == NODE_ENTRY;
  return !leaf && (has_element(n->a) || has_element(n->b) || has_element(n->c));
}

static Walkers
walkers(Lo *lo, const View *v, bool own)
{
  Walkers w = places(lo, v, own);
  if (v->pages)
    return page_walkers(lo, v, own, NULL);
  if (v->pack > 1) /* rows are no arithmetic series */
    return w;
  LLVMBuilderRef b = idx_builder(lo, v->row);
  w.pitch = step_pitch(lo, v->x, w.step);
  V row = idx_value64(lo, v->row);
  V first = LLVMBuildMul(b, row, row_pitch(lo, v->x), "");
  w.src = LLVMBuildAdd(b, thread_base(lo, v, w.own), first, "");
  V row32 = idx_value(lo, v->row);
  w.row = LLVMBuildAdd(b, row32, copy_row(lo, w.own), "");
  if (v->cut && b == lo->b && has_element(v->end) && idx_builder(lo, v->end) == lo->hb) {
    V end = idx_value(lo, v->end);
    w.below = LLVMBuildSub(lo->hb, end, copy_row(lo, w.own), "");
  }
  if (v->part)
    from_column(lo, v, &w);
  return w;
}

/* ---- which of the 16-byte pieces are there ---- */

static V
chunk_below(Lo *lo, int n)
{
  MemoKey key = {.what = MEMO_CHUNK_BELOW, .n = n};
  V have = memo_find(lo, &key);
  if (have)
    return have;
  V bit = LLVMBuildICmp(lo->hb, LLVMIntULT, lane_value(lo, LANE_CHUNK), k32(lo, n), "");
  return memo_keep(lo, &key, bit);
}

enum { PANEL_CHUNKS = PANEL_BYTES / CHUNK_BYTES };

static int
in_panel(int x)
{
  return x < 0 ? 0 : x > PANEL_CHUNKS ? PANEL_CHUNKS : x;
}

/* This thread's i-th row is one of the view's (the last pass may be a part). */
static V
row_in_view(Lo *lo, const View *v, const Walkers *w, int i)
{
  if (w->own || (i + 1) * w->step <= v->n)
    return NULL;
  return LLVMBuildICmp(lo->hb, LLVMIntSLT, lane_value(lo, LANE_CROW),
                       k32(lo, v->n - i * w->step), "");
}

static V
row_in_tensor(Lo *lo, const View *v, const Walkers *w, int i)
{
  if (v->in_bounds)
    return NULL;
  V by = k32(lo, i * w->step);
  V row = LLVMBuildAdd(lo->b, w->below ? idx_value(lo, v->row) : w->row, by, "");
  V end = w->below ? w->below : idx_value(lo, v->cut ? v->end : v->x->rows);
  return LLVMBuildICmp(lo->b, LLVMIntSLT, row, end, "");
}

/* ---- in ---- */

/* A piece of 16 bytes, this thread's: want: NULL or whether it copies one at all; have:
 * NULL or whether there is a source, else it is zeros. */
typedef struct Piece {
  V dst, src;
  int dst_at, src_at;
  V want, have;
  V bytes;  /* NULL or how many of its 16 there are */
  int each; /* bytes of an element */
} Piece;

/* What is done with the pieces of a copy; `reg`: four registers of each. */
typedef void PieceFn(Lo *, const Piece *, V reg[4]);

/* How many bytes of the piece there are; NULL: all. */
static V
piece_bytes(Lo *lo, const Piece *p)
{
  V all = p->bytes ? p->bytes : k32(lo, CHUNK_BYTES);
  return p->have ? LLVMBuildSelect(lo->b, p->have, all, k32(lo, 0), "") : p->bytes;
}

static void
cp_async(Lo *lo, const Piece *p, V reg[4])
{
  char text[256], size[8] = "", guard[8] = "";
  V in[4] = {p->dst, p->src};
  int n = 2;
  const char *constraints = "r,l";
  (void)reg;
  V bytes = piece_bytes(lo, p);
  if (bytes) {
    in[n] = bytes;
    snprintf(size, sizeof size, ", $%d", n++);
    constraints = "r,l,r";
  }
  if (p->want) {
    in[n] = as_i32(lo, lo->b, p->want);
    snprintf(guard, sizeof guard, "$%d", n++);
    constraints = bytes ? "r,l,r,r" : "r,l,r";
  }
  if (p->want)
    snprintf(text, sizeof text,
             "{ .reg .pred p; setp.ne.s32 p, %s, 0; "
             "@p cp.async.cg.shared.global [$0+%d], [$1+%d], 16%s; }",
             guard, p->dst_at, p->src_at, size);
  else
    snprintf(text, sizeof text, "cp.async.cg.shared.global [$0+%d], [$1+%d], 16%s;",
             p->dst_at, p->src_at, size);
  asm_call(lo, ASM_EFFECT, text, constraints, in, n, lo->none, NULL, 0);
}

/* At once, element by element: of rows that begin anywhere. */
static void
gather_piece(Lo *lo, const Piece *p, V reg[4])
{
  V bytes = piece_bytes(lo, p), want = p->want ? p->want : LLVMConstInt(lo->i1, 1, 0);
  V in[4] = {p->dst, p->src, bytes ? bytes : k32(lo, CHUNK_BYTES)};
  int bits = 8 * p->each, n = CHUNK_BYTES / p->each;
  Str text = str_new(lo->arena);
  (void)reg;
  in[3] = as_i32(lo, lo->b, want);
  str_put(&text, "{ .reg .pred p, q; .reg .b32 w0, w1, w2, w3; setp.ne.s32 q, $3, 0; ");
  for (int i = 0; i < n; i++) {
    str_printf(&text, ".reg .b%d x%d; mov.b%d x%d, 0; ", bits, i, bits, i);
    str_printf(&text, "setp.gt.and.s32 p, $2, %d, q; ", i * p->each);
    str_printf(&text, "@p ld.global.b%d x%d, [$1+%d]; ", bits, i, p->src_at + i * p->each);
  }
  for (int i = 0; i < 4; i++) {
    if (p->each == 2)
      str_printf(&text, "mov.b32 w%d, {x%d, x%d}; ", i, 2 * i, 2 * i + 1);
    else
      str_printf(&text, "mov.b32 w%d, x%d; ", i, i);
  }
  str_printf(&text, "@q st.shared.v4.b32 [$0+%d], {w0, w1, w2, w3}; }", p->dst_at);
  asm_call(lo, ASM_EFFECT, text.p, "r,l,r,r", in, 4, lo->none, NULL, 0);
}

static void
load_piece(Lo *lo, const Piece *p, V reg[4])
{
  char text[256];
  V in[2] = {p->src, bool_and(lo->b, p->want, p->have)};
  if (!in[1]) {
    snprintf(text, sizeof text, "ld.global.v4.b32 {$0,$1,$2,$3}, [$4+%d];", p->src_at);
    asm_call(lo, ASM_EFFECT, text, "=r,=r,=r,=r,l", in, 1, lo->i32, reg, 4);
    return;
  }
  in[1] = as_i32(lo, lo->b, in[1]);
  snprintf(text, sizeof text,
           "{ .reg .pred p; setp.ne.s32 p, $5, 0; mov.b32 $0, 0; mov.b32 $1, 0; "
           "mov.b32 $2, 0; mov.b32 $3, 0; @p ld.global.v4.b32 {$0,$1,$2,$3}, [$4+%d]; }",
           p->src_at);
  asm_call(lo, ASM_EFFECT, text, "=&r,=&r,=&r,=&r,l,r", in, 2, lo->i32, reg, 4);
}

static void
store_piece(Lo *lo, const Piece *p, V reg[4])
{
  char text[160];
  V in[6] = {p->dst, reg[0], reg[1], reg[2], reg[3], p->want};
  if (p->want)
    in[5] = as_i32(lo, lo->b, p->want);
  snprintf(text, sizeof text, "%sst.shared.v4.b32 [$0+%d], {$1,$2,$3,$4};%s",
           p->want ? "{ .reg .pred p; setp.ne.s32 p, $5, 0; @p " : "", p->dst_at,
           p->want ? " }" : "");
  asm_call(lo, ASM_EFFECT, text, p->want ? "r,r,r,r,r,r" : "r,r,r,r,r", in, p->want ? 6 : 5,
           lo->none, NULL, 0);
}

static void
move_piece(Lo *lo, const Piece *p, V reg[4])
{
  load_piece(lo, p, reg);
  store_piece(lo, p, reg);
}

/* Pieces of a tensor's row that are in a panel. */
static int
there_chunks(const View *v, int panel)
{
  return in_panel(v->x->cols / dtype_in(v->x->ty, CHUNK_BYTES) - PANEL_CHUNKS * panel);
}

/* Pieces of a panel's row that are written: whole steps, of each of the warps that have
 * parts of the columns, what is past the tensor's columns with zeros, as a product must not
 * meet what is not a number. */
static int
used_chunks(const Lo *lo, const View *v, int panel)
{
  int bytes = round_up(v->x->cols * dtype_bytes(v->x->ty), STEP_BYTES * lo->p->warps_n);
  return in_panel(bytes / CHUNK_BYTES - PANEL_CHUNKS * panel);
}

/* 0 … 16. */
static V
within_chunk(Lo *lo, V bytes)
{
  return pick(lo->b, LLVMIntSGT, pick(lo->b, LLVMIntSLT, bytes, k32(lo, CHUNK_BYTES)),
              k32(lo, 0));
}

/* The chunk of row i of a thread, where rows are (position, head). */
static V
packed_source(Lo *lo, const View *v, const Walkers *w, int i, V *inside)
{
  V row = LLVMBuildAdd(lo->b, copy_row(lo, w->own), k32(lo, i * w->step), "");
  V chunk = LLVMBuildZExt(lo->b, lane_value(lo, LANE_CHUNK), lo->i64, "");
  V column = LLVMBuildShl(lo->b, chunk, k64(lo, 4), "");
  *inside = row_inside(lo, v, row);
  return LLVMBuildAdd(lo->b, row_address(lo, v, row), column, "");
}

/* Rows that are four apart swap the halves of a panel's row. */
static V
swapped(Lo *lo, const Walkers *w, V dst, int i)
{
  bool odd = w->own && i % 2;
  return odd ? LLVMBuildXor(lo->b, dst, k32(lo, PANEL_BYTES / 2), "") : dst;
}

/* Passes `from` to `to` of a panel, whose rows are a pitch apart; `at`: of the first. */
static void
copy_panel(Lo *lo, const View *v, const SmemDecl *d, const Walkers *w, const Piece *at,
           int panel, int from, int to, PieceFn *fn, V *reg)
{
  int used = used_chunks(lo, v, panel), there = there_chunks(v, panel);
  V cols_used = used < PANEL_CHUNKS ? chunk_below(lo, used) : NULL;
  bool sources = w->src || v->pack > 1;
  V cols_there = sources && there < used ? chunk_below(lo, there) : NULL;
  Piece p = {.src = at->src, .src_at = panel * PANEL_BYTES};
  p.each = dtype_bytes(v->x->ty);
  if (w->left)
    p.bytes = within_chunk(lo, LLVMBuildSub(lo->b, w->left, k32(lo, p.src_at), ""));
  for (int i = from; used && i < to; i++) {
    p.want = bool_and(lo->b, cols_used, row_in_view(lo, v, w, i));
    p.dst = swapped(lo, w, at->dst, i);
    if (v->pack > 1) {
      V inside;
      p.src = packed_source(lo, v, w, i, &inside);
      p.have = bool_and(lo->b, cols_there, inside);
    } else if (w->src) {
      p.have = bool_and(lo->b, cols_there, row_in_tensor(lo, v, w, i));
      p.have = bool_and(lo->b, p.have, w->when);
      p.src = i > from ? LLVMBuildAdd(lo->b, p.src, w->pitch, "") : p.src;
    }
    p.dst_at = d->offset + (panel * d->rows + i * w->step) * PANEL_BYTES;
    fn(lo, &p, reg + 4 * (panel * w->iters + i));
  }
}

/* Rows in pages lie anywhere: of each pass all panels. */
static void
copy_pages(Lo *lo, const View *v, const SmemDecl *d, const Walkers *w, V dst, PieceFn *fn,
           V *reg)
{
  for (int i = 0; i < w->iters; i++) {
    V row = page_pass_offset(lo, w->kept, i);
    const Piece at = {.dst = dst, .src = LLVMBuildAdd(lo->b, w->src, row, "")};
    for (int p = 0; p < d->panels; p++)
      copy_panel(lo, v, d, w, &at, p, i, i + 1, fn, reg);
  }
}

static void
copy_in(Lo *lo, const View *v, const SmemDecl *d, const Walkers *w, V stage, PieceFn *fn,
        V *reg)
{
  V dst = copy_place(lo, w->own);
  if (stage)
    dst = LLVMBuildAdd(lo->b, dst, stage, "");
  if (w->kept) {
    copy_pages(lo, v, d, w, dst, fn, reg);
    return;
  }
  const Piece at = {.dst = dst, .src = w->src};
  for (int p = 0; p < d->panels; p++)
    copy_panel(lo, v, d, w, &at, p, 0, w->iters, fn, reg);
}

static V *
registers_of(Lo *lo, const SmemDecl *d, const Walkers *w, int *n)
{
  *n = 4 * d->panels * w->iters;
  return NEW_N(lo->arena, V, *n);
}

/* ---- columns: an element of four bytes a row, a row a thread ---- */

/* What of a column is done at once: copied, or brought into a register, or from there. */
typedef void CellFn(Lo *, const Piece *, V *reg);

static V
whether(Lo *lo, V bit)
{
  return as_i32(lo, lo->b, bit ? bit : LLVMConstInt(lo->i1, 1, 0));
}

static void
cell_async(Lo *lo, const Piece *p, V *reg)
{
  char text[160];
  V bytes = p->have ? LLVMBuildSelect(lo->b, p->have, k32(lo, REG_BYTES), k32(lo, 0), "")
                    : k32(lo, REG_BYTES);
  V in[4] = {p->dst, p->src, bytes, whether(lo, p->want)};
  (void)reg;
  snprintf(text, sizeof text,
           "{ .reg .pred p; setp.ne.s32 p, $3, 0; "
           "@p cp.async.ca.shared.global [$0+%d], [$1], %d, $2; }",
           p->dst_at, REG_BYTES);
  asm_call(lo, ASM_EFFECT, text, "r,l,r,r", in, 4, lo->none, NULL, 0);
}

static void
cell_load(Lo *lo, const Piece *p, V *reg)
{
  V in[2] = {p->src, whether(lo, bool_and(lo->b, p->want, p->have))};
  *reg = asm_1(lo, ASM_EFFECT,
               "{ .reg .pred p; setp.ne.s32 p, $2, 0; mov.b32 $0, 0; "
               "@p ld.global.b32 $0, [$1]; }",
               "=&r,l,r", lo->i32, in, 2);
}

static void
cell_store(Lo *lo, const Piece *p, V *reg)
{
  char text[128];
  V in[3] = {p->dst, *reg, whether(lo, p->want)};
  snprintf(text, sizeof text,
           "{ .reg .pred p; setp.ne.s32 p, $2, 0; @p st.shared.b32 [$0+%d], $1; }",
           p->dst_at);
  asm_call(lo, ASM_EFFECT, text, "r,r,r", in, 3, lo->none, NULL, 0);
}

/* Those who copy a column: the threads of a block, or the lanes of a warp. */
static int
column_threads(const Lo *lo)
{
  return lo->role ? 32 : 32 * lo->p->warps;
}

/* Rows of a column that a thread has. */
static int
cells(const Lo *lo, const SmemDecl *d)
{
  int threads = column_threads(lo);
  return (d->rows + threads - 1) / threads;
}

/* view NULL: nothing is read; when: NULL, or whether there is a source at all. */
static void
copy_column(Lo *lo, const View *v, const SmemDecl *d, V stage, V when, CellFn *fn, V *reg)
{
  V tid = lane_value(lo, lo->role ? LANE_LANE : LANE_TID);
  V dst = LLVMBuildShl(lo->b, tid, k32(lo, 2), "");
  dst = LLVMBuildAdd(lo->b, dst, lane_value(lo, LANE_SMEM), "");
  if (stage)
    dst = LLVMBuildAdd(lo->b, dst, stage, "");
  for (int i = 0; i < cells(lo, d); i++) {
    int first = column_threads(lo) * i;
    V row = LLVMBuildAdd(lo->b, tid, k32(lo, first), "");
    Piece p = {.dst = dst, .dst_at = d->offset + REG_BYTES * first};
    if (d->rows < first + column_threads(lo))
      p.want = LLVMBuildICmp(lo->b, LLVMIntULT, row, k32(lo, d->rows), "");
    if (v) {
      p.have = bool_and(lo->b, when, row_inside(lo, v, row));
      p.src = row_address(lo, v, row);
    }
    fn(lo, &p, reg + i);
  }
}

void
lower_copy_column(Lo *lo, const View *v, const SmemDecl *d, V stage)
{
  copy_column(lo, v, d, stage, NULL, cell_async, NEW_N(lo->arena, V, cells(lo, d)));
}

/* Rows that begin anywhere: by cp.async where all of their parts are aligned as it takes
 * them, else element by element, which is slow and stands aside. */
static void
copy_part(Lo *lo, const View *v, const SmemDecl *d, V stage)
{
  int n;
  Walkers w = walkers(lo, v, false);
  V *reg = registers_of(lo, d, &w, &n);
  V bits = LLVMBuildOr(lo->b, w.src, row_pitch(lo, v->x), "");
  bits = LLVMBuildAnd(lo->b, bits, k64(lo, CHUNK_BYTES - 1), "");
  V astray = LLVMBuildICmp(lo->b, LLVMIntNE, bits, k64(lo, 0), "");
  LLVMBasicBlockRef slow = new_block(lo, "gather"), fast = new_block(lo, "copy"),
                    on = new_block(lo, "on");
  hardly_ever(lo, LLVMBuildCondBr(lo->b, astray, slow, fast));
  LLVMPositionBuilderAtEnd(lo->b, slow);
  copy_in(lo, v, d, &w, stage, gather_piece, reg);
  LLVMBuildBr(lo->b, on);
  LLVMPositionBuilderAtEnd(lo->b, fast);
  copy_in(lo, v, d, &w, stage, cp_async, reg);
  LLVMBuildBr(lo->b, on);
  LLVMPositionBuilderAtEnd(lo->b, on);
}

/* At once, whatever the target has. */
static void
copy_now(Lo *lo, const View *v, const SmemDecl *d, V stage, bool own)
{
  int n;
  if (smem_is_column(d)) {
    lower_copy_column(lo, v, d, stage);
    return;
  }
  if (v->part && !v->aligned) {
    copy_part(lo, v, d, stage);
    return;
  }
  Walkers w = walkers(lo, v, own);
  copy_in(lo, v, d, &w, stage, lo->p->target->cp_async ? cp_async : move_piece,
          registers_of(lo, d, &w, &n));
}

static void
commit(Lo *lo)
{
  if (lo->p->target->cp_async)
    asm_call(lo, ASM_MEMORY, "cp.async.commit_group;", "", NULL, 0, lo->none, NULL, 0);
}

/* What arrived is visible to whoever is to read it: of a ring of whose stages each warp has
 * its rows, that is the warp. */
static void
arrive(Lo *lo, bool own)
{
  if (own)
    warp_barrier(lo);
  else
    team_barrier(lo);
}

static void
wait_group(Lo *lo, int pending, bool own)
{
  char text[48];
  snprintf(text, sizeof text, "cp.async.wait_group %d;", pending);
  if (lo->p->target->cp_async)
    asm_call(lo, ASM_MEMORY, text, "", NULL, 0, lo->none, NULL, 0);
  arrive(lo, own);
}

/* ---- rings ---- */

/* The byte offset n stages on. */
V
ring_advance(Lo *lo, const Ring *r, V pos, int n)
{
  int bytes = r->mem.bytes, stages = r->mem.stages;
  n %= stages;
  if (n == 0)
    return pos;
  if (stages == 2)
    return LLVMBuildSub(lo->b, k32(lo, bytes), pos, "");
  V next = LLVMBuildAdd(lo->b, pos, k32(lo, (int64_t)n * bytes), "");
  V end = k32(lo, (int64_t)stages * bytes);
  V over = LLVMBuildICmp(lo->b, LLVMIntSGE, next, end, "");
  return LLVMBuildSelect(lo->b, over, LLVMBuildSub(lo->b, next, end, ""), next, "");
}

static void
push_now(Lo *lo, const Op *op)
{
  const Ring *r = op->ring;
  V stage = r->mem.stages > 1 ? ring_advance(lo, r, lo->ring[r->id], op->ahead) : NULL;
  copy_now(lo, &op->view, &r->mem, stage, lo->p->by_keys);
}

/* Everything that the copy's addresses need and that outlives it is made before the
 * branch, so that the memo holds only what dominates its uses. */
static void
prepare(Lo *lo, const View *v)
{
  bool own = lo->p->by_keys;
  if (v->x->cols == 1) {
    row_address(lo, v, k32(lo, 0));
    row_inside(lo, v, k32(lo, 0));
    return;
  }
  Walkers w = v->pages ? places(lo, v, own) : walkers(lo, v, own);
  if (v->pages) {
    copy_row(lo, w.own);
    chunk_base(lo, v);
    page_prepare(lo, v);
  }
  copy_place(lo, w.own);
  idx_value(lo, v->cut ? v->end : v->x->rows);
}

static void
push_column(Lo *lo, const Op *op, Staged *s)
{
  const SmemDecl *d = &op->ring->mem;
  V when = op->when.node ? as_bit(lo, idx_value(lo, op->when)) : NULL;
  s->n = cells(lo, d);
  s->view = &op->view;
  if (!s->reg)
    s->reg = NEW_N(lo->arena, V, s->n);
  if (op->when.node || op->when.k)
    copy_column(lo, &op->view, d, NULL, when, cell_load, s->reg);
  for (int i = 0; i < s->n && !s->reg[i]; i++)
    s->reg[i] = k32(lo, 0);
}

/* Without cp.async: the loads now, and the stores when the stage is waited for, so that
 * what is between them hides the way.  What is not there is zeros. */
static void
push_staged(Lo *lo, const Op *op)
{
  Staged *s = &lo->staged[op->ring->id];
  const View *v = &op->view;
  if (smem_is_column(&op->ring->mem)) {
    push_column(lo, op, s);
    return;
  }
  bool own = lo->p->by_keys;
  Walkers w = v->pages ? page_walkers(lo, v, own, &op->when) : walkers(lo, v, own);
  if (!s->reg)
    s->reg = registers_of(lo, &op->ring->mem, &w, &s->n);
  for (int i = 0; i < s->n; i++)
    s->reg[i] = k32(lo, 0);
  s->view = &op->view;
  if (op->when.node && !w.when)
    w.when = idx_value(lo, op->when);
  if (op->when.node || op->when.k)
    copy_in(lo, &op->view, &op->ring->mem, &w, NULL, load_piece, s->reg);
}

static void
take_staged(Lo *lo, const Op *op)
{
  Staged *s = &lo->staged[op->ring->id];
  const SmemDecl *d = &op->ring->mem;
  if (smem_is_column(d)) {
    copy_column(lo, NULL, d, NULL, NULL, cell_store, s->reg);
  } else {
    Walkers w = places(lo, s->view, lo->p->by_keys);
    copy_in(lo, s->view, d, &w, NULL, store_piece, s->reg);
  }
  for (int i = 0; i < s->n; i++)
    s->reg[i] = NULL;
  arrive(lo, lo->p->by_keys);
}

static bool
staged(const Lo *lo, const Ring *r)
{
  return r->fill == FILL_COPY && !lo->p->target->cp_async;
}

void
lower_producer_load(Lo *lo, const Op *op)
{
  if (staged(lo, op->ring)) {
    push_staged(lo, op);
    return;
  }
  if (!op->when.node) {
    if (op->when.k)
      push_now(lo, op);
  } else {
    prepare(lo, &op->view);
    V when = idx_value(lo, op->when);
    LLVMBasicBlockRef yes = LLVMAppendBasicBlockInContext(lo->cx, lo->fn, "load");
    LLVMBasicBlockRef on = LLVMAppendBasicBlockInContext(lo->cx, lo->fn, "on");
    LLVMBuildCondBr(lo->b, when, yes, on);
    LLVMPositionBuilderAtEnd(lo->b, yes);
    push_now(lo, op);
    LLVMBuildBr(lo->b, on);
    LLVMPositionBuilderAtEnd(lo->b, on);
  }
  commit(lo);
}

void
lower_consumer_wait(Lo *lo, const Op *op)
{
  const Ring *r = op->ring;
  if (staged(lo, r))
    take_staged(lo, op);
  else if (op->pending >= 0)
    wait_group(lo, op->pending, lo->p->by_keys);
  lo->slot[op->wait_id] = r->mem.stages > 1 ? lo->ring[r->id] : NULL;
  lo->ring[r->id] = ring_advance(lo, r, lo->ring[r->id], 1);
}

void
lower_copy(Lo *lo, const Op *op)
{
  copy_now(lo, &op->view, op->smem.mem, NULL, false);
  commit(lo);
}

void
lower_copy_wait(Lo *lo, const Op *op)
{
  wait_group(lo, op->pending, false);
}

/* ---- out ---- */

/* 16 bytes from shared memory to a tensor; want: NULL or whether at all. */
static void
move_out(Lo *lo, V src, int src_at, V dst, int dst_at, V want)
{
  char text[256];
  const char *p = want ? "@p " : "";
  V in[3] = {dst, src};
  if (want)
    in[2] = as_i32(lo, lo->b, want);
  snprintf(
      text, sizeof text,
      "{ .reg .pred p; .reg .b32 a, b, c, d; %s%sld.shared.v4.b32 {a, b, c, d}, [$1+%d]; "
      "%sst.global.v4.b32 [$0+%d], {a, b, c, d}; }",
      want ? "setp.ne.s32 p, $2, 0; " : "", p, src_at, p, dst_at);
  asm_call(lo, ASM_EFFECT, text, want ? "l,r,r" : "l,r", in, want ? 3 : 2, lo->none, NULL,
           0);
}

/* This thread's 16 bytes of the first row. */
static V
out_of(Lo *lo, const Smem *s)
{
  V from = lane_value(lo, LANE_CDST);
  if (s->wait_id && lo->slot[s->wait_id])
    from = LLVMBuildAdd(lo->b, from, lo->slot[s->wait_id], "");
  if (smem_from_start(s))
    return from;
  V at = LLVMBuildShl(lo->b, idx_value(lo, s->row), k32(lo, 7), "");
  return LLVMBuildAdd(lo->b, from, at, "");
}

/* Of one row of this thread's, its pieces in all panels; there: NULL or whether at all. */
static void
move_row(Lo *lo, const Op *op, V src, int src_at, V dst, V there)
{
  const SmemDecl *d = op->smem.mem;
  V column = LLVMBuildZExt(lo->b, lane_value(lo, LANE_CHUNK), lo->i64, "");
  dst = LLVMBuildAdd(lo->b, dst, LLVMBuildShl(lo->b, column, k64(lo, 4), ""), "");
  for (int p = 0; p < d->panels; p++) {
    int chunks = there_chunks(&op->view, p);
    V cols = chunks < PANEL_CHUNKS ? chunk_below(lo, chunks) : NULL;
    V want = bool_and(lo->b, there, cols);
    if (chunks)
      move_out(lo, src, d->offset + p * d->rows * PANEL_BYTES + src_at, dst,
               p * PANEL_BYTES, want);
  }
}

/* Rows of (position, head) are no arithmetic series: each has its address computed. */
static void
copy_out_packed(Lo *lo, const Op *op, V from)
{
  const View *v = &op->view;
  int step = 4 * team_warps(lo);
  for (int i = 0; i * step < v->n; i++) {
    V row = LLVMBuildAdd(lo->b, lane_value(lo, LANE_CROW), k32(lo, i * step), "");
    V there = row_inside(lo, v, row);
    move_row(lo, op, from, i * step * PANEL_BYTES, row_address(lo, v, row), there);
  }
}

/* The same in a loop, where a sequence ends among the rows.  Of rows side by side ptxas
 * 13.0 loads many before it stores the first, three registers for each 16 bytes, and spills
 * where a CTA has O and S of another block besides. */
static void
copy_out_rolled(Lo *lo, const Op *op, V from)
{
  const View *v = &op->view;
  int step = 4 * team_warps(lo);
  V mine = lane_value(lo, LANE_CROW);
  row_inside(lo, v, mine); /* what they need is known in front of the loop */
  row_address(lo, v, mine);
  LLVMBasicBlockRef before = LLVMGetInsertBlock(lo->b), loop = new_block(lo, "rows"),
                    on = new_block(lo, "on");
  LLVMBuildBr(lo->b, loop);
  LLVMPositionBuilderAtEnd(lo->b, loop);
  V i = phi_of(lo, lo->i32, k32(lo, 0), before), row = LLVMBuildAdd(lo->b, mine, i, "");
  V src = LLVMBuildAdd(lo->b, from, LLVMBuildShl(lo->b, i, k32(lo, 7), ""), "");
  V there = row_inside(lo, v, row);
  if (v->n % step)
    there =
        bool_and(lo->b, there, LLVMBuildICmp(lo->b, LLVMIntULT, row, k32(lo, v->n), ""));
  move_row(lo, op, src, 0, row_address(lo, v, row), there);
  V next = LLVMBuildAdd(lo->b, i, k32(lo, step), "");
  V more = LLVMBuildICmp(lo->b, LLVMIntULT, next, k32(lo, v->n), "");
  LLVMAddIncoming(i, &next, &loop, 1);
  no_unrolling(lo, LLVMBuildCondBr(lo->b, more, loop, on));
  LLVMPositionBuilderAtEnd(lo->b, on);
}

void
lower_copy_out(Lo *lo, const Op *op)
{
  const SmemDecl *d = op->smem.mem;
  const View *v = &op->view;
  team_barrier(lo);
  V from = out_of(lo, &op->smem);
  if (v->cut || v->pack > 1) {
    (v->cut ? copy_out_rolled : copy_out_packed)(lo, op, from);
    return;
  }
  Walkers w = walkers(lo, v, false);
  for (int p = 0; p < d->panels; p++) {
    int there = there_chunks(v, p);
    V cols = there < PANEL_CHUNKS ? chunk_below(lo, there) : NULL, dst = w.src;
    for (int i = 0; there && i < w.iters; i++) {
      V want = bool_and(lo->b, cols, row_in_view(lo, v, &w, i));
      want = bool_and(lo->b, want, row_in_tensor(lo, v, &w, i));
      if (i)
        dst = LLVMBuildAdd(lo->b, dst, w.pitch, "");
      move_out(lo, from, d->offset + (p * d->rows + i * w.step) * PANEL_BYTES, dst,
               p * PANEL_BYTES, want);
    }
  }
}
