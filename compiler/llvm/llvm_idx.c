/* Index expressions and the thread's parts of addresses, computed as far out as they are
 * invariant, and remembered. */
#include "compiler/llvm/llvm_lower.h"

#include <limits.h>

/* Does it change in the innermost tile loop, or is it what an operation found? */
static bool
late(const Lo *lo, const Node *n)
{
  return n->depth == LATE || (n->depth && n->depth == lo->loop_id);
}

LLVMBuilderRef
idx_builder(Lo *lo, Idx x)
{
  return x.node && late(lo, x.node) ? lo->b : lo->hb;
}

static V
param_at(Lo *lo, int i)
{
  int place = lo->p->params.at[i].place;
  if (place < 0)
    lower_fail(lo, "parameter %d is read and has no place", i);
  return LLVMGetParam(lo->fn, (unsigned)place);
}

V
param_value(Lo *lo, ParamKind kind, int slot, int dim)
{
  for (int i = 0; i < lo->p->params.n; i++) {
    const Param *p = &lo->p->params.at[i];
    if (p->kind == kind && p->slot == slot && p->dim == dim)
      return param_at(lo, i);
  }
  return NULL;
}

/* Special registers are read through volatile asm, so that a second reading in a later
 * epoch is not folded into the first. */
static V
special(Lo *lo, const char *text)
{
  LLVMBuilderRef b = lo->b;
  lo->b = lo->hb;
  V v = asm_1(lo, ASM_EFFECT, text, "=r", lo->i32, NULL, 0);
  lo->b = b;
  return v;
}

static V
floor_div(LLVMBuilderRef b, V x, V y, bool nonneg)
{
  if (nonneg)
    return LLVMBuildUDiv(b, x, y, "");
  V q = LLVMBuildSDiv(b, x, y, "");
  V back = LLVMBuildMul(b, q, y, "");
  V over = LLVMBuildICmp(b, LLVMIntSGT, back, x, "");
  V less = LLVMBuildSub(b, q, LLVMConstInt(LLVMTypeOf(q), 1, 0), "");
  return LLVMBuildSelect(b, over, less, q, "");
}

/* Skips what takes two dozen instructions. */
static V
rare_div(Lo *lo, LLVMBuilderRef at, V x, V y)
{
  LLVMBuilderRef b = lo->b;
  V in[2] = {x, y};
  lo->b = at;
  V q = asm_1(lo, ASM_PURE,
              "{ .reg .pred p; setp.lt.u32 p, $1, $2; mov.b32 $0, 0; @p bra SKIP_${:uid}; "
              "div.u32 $0, $1, $2; SKIP_${:uid}: }",
              "=&r,r,r", lo->i32, in, 2);
  lo->b = b;
  return q;
}

/* Does it depend on parameters alone? */
static bool
of_entry(Idx x)
{
  if (!x.node || x.node->kind == NODE_PARAM)
    return true;
  const Node *n = x.node;
  bool leaf = n->kind <= NODE_LOOP || n->kind == NODE_ENTRY || n->kind == NODE_ELEMENT;
  return !leaf && of_entry(n->a) && of_entry(n->b) && of_entry(n->c);
}

/* Is there a place before the loops where its reciprocal is computed? */
static bool
has_reciprocal(const Lo *lo, Idx b)
{
  if (!lo->role || !b.node || b.node->wide)
    return false;
  if (b.node->kind == NODE_SELECT && !of_entry(b))
    return has_reciprocal(lo, b.node->a) && has_reciprocal(lo, b.node->b);
  return of_entry(b);
}

/* What `make` computes of x, where the role begins. */
static V
where_role_begins(Lo *lo, V (*make)(Lo *, Idx), Idx x)
{
  int epoch = lo->epoch, quotients = lo->quotients;
  LLVMPositionBuilderBefore(lo->hb, lo->role_at);
  lo->epoch = lo->role_epoch; /* what was computed later is not known there */
  lo->quotients = INT_MAX;
  V v = make(lo, x);
  lo->epoch = epoch;
  lo->quotients = quotients;
  LLVMPositionBuilderBefore(lo->hb, lo->hoist_at);
  return v;
}

/* LLVM must not see a division: of one of two reciprocals it would make the reciprocal of
 * one of two numbers, behind the choice. */
static V
reciprocal_new(Lo *lo, Idx x)
{
  V y = idx_value(lo, x);
  LLVMBuilderRef b = lo->b;
  lo->b = lo->hb;
  V r = asm_1(lo, ASM_PURE, "div.u32 $0, 0xffffffff, $1;", "=r,r", lo->i32, &y, 1);
  lo->b = b;
  return r;
}

static V
reciprocal(Lo *lo, LLVMBuilderRef at, Idx b)
{
  const Node *n = b.node;
  if (n->kind == NODE_SELECT && !of_entry(b)) {
    V c = idx_value(lo, n->c), x = reciprocal(lo, at, n->a), y = reciprocal(lo, at, n->b);
    return LLVMBuildSelect(at, c, x, y, "");
  }
  if (!lo->reciprocal[n->id])
    lo->reciprocal[n->id] = where_role_begins(lo, reciprocal_new, b);
  return lo->reciprocal[n->id];
}

/* With r = floor((2^32 - 1) / y) the high half of x · r is the quotient or one less, for x
 * below 2^31: x / y - x · r / 2^32 < x / 2^32 · (1 + 1 / y) <= 1. */
static V
often_div(Lo *lo, LLVMBuilderRef at, V r, V x, V y)
{
  V x64 = LLVMBuildZExt(at, x, lo->i64, ""), r64 = LLVMBuildZExt(at, r, lo->i64, "");
  V high = LLVMBuildLShr(at, LLVMBuildMul(at, x64, r64, ""), k64(lo, 32), "");
  V q = LLVMBuildTrunc(at, high, lo->i32, "");
  V rest = LLVMBuildSub(at, x, LLVMBuildMul(at, q, y, ""), "");
  V less = LLVMBuildICmp(at, LLVMIntUGE, rest, y, "");
  return LLVMBuildAdd(at, q, LLVMBuildZExt(at, less, lo->i32, ""), "");
}

/* Where nothing is known before the loops but what is hoisted, there. */
static V
hoisted_reciprocal(Lo *lo, Idx y)
{
  MemoKey key = {.what = MEMO_RECIPROCAL, .batch = y};
  V have = memo_find(lo, &key);
  return have ? have : memo_keep(lo, &key, reciprocal_new(lo, y));
}

V
quotient_often(Lo *lo, V x, Idx y)
{
  if (!y.node)
    return LLVMBuildUDiv(lo->b, x, k32(lo, y.k), "");
  V r = has_reciprocal(lo, y) ? reciprocal(lo, lo->b, y) : hoisted_reciprocal(lo, y);
  return often_div(lo, lo->b, r, x, idx_value(lo, y));
}

static V
quotient(Lo *lo, LLVMBuilderRef at, const Node *n, V x, V y)
{
  if (n->n == DIV_RARE)
    return rare_div(lo, at, x, y);
  if (n->n == DIV_OFTEN && has_reciprocal(lo, n->b))
    return often_div(lo, at, reciprocal(lo, at, n->b), x, y);
  return floor_div(at, x, y, n->n || (idx_nonneg(n->a) && idx_nonneg(n->b)));
}

V
pick(LLVMBuilderRef b, LLVMIntPredicate p, V x, V y)
{
  V c = LLVMBuildICmp(b, p, x, y, "");
  return LLVMBuildSelect(b, c, x, y, "");
}

bool
idx_nonneg(Idx x)
{
  return x.node ? x.node->nonneg : x.k >= 0;
}

static V
compute(Lo *lo, const Node *n, V x, V y)
{
  LLVMBuilderRef b = late(lo, n) ? lo->b : lo->hb;
  switch (n->kind) {
  case NODE_ADD:
    return LLVMBuildAdd(b, x, y, "");
  case NODE_SUB:
    return LLVMBuildSub(b, x, y, "");
  case NODE_MUL:
    return LLVMBuildMul(b, x, y, "");
  case NODE_DIV:
    return quotient(lo, b, n, x, y);
  case NODE_MIN:
    return pick(b, LLVMIntSLT, x, y);
  case NODE_MAX:
    return pick(b, LLVMIntSGT, x, y);
  case NODE_LT:
    return LLVMBuildICmp(b, LLVMIntSLT, x, y, "");
  case NODE_OR:
    return LLVMBuildOr(b, x, y, "");
  case NODE_AND:
    return LLVMBuildAnd(b, x, y, "");
  default:
    lower_fail(lo, "index expression %d has no lowering", (int)n->kind);
  }
}

static V
table_global(Lo *lo, const Table *x)
{
  if (lo->table[x->id])
    return lo->table[x->id];
  V *at = NEW_N(lo->arena, V, x->n + 1);
  for (int i = 0; i < x->n; i++)
    at[i] = k32(lo, x->at[i]);
  LLVMTypeRef type = LLVMArrayType2(lo->i32, (uint64_t)x->n);
  V g = LLVMAddGlobalInAddressSpace(lo->m, type,
                                    arena_printf(lo->arena, "attnc_table%d", x->id), 1);
  LLVMSetInitializer(g, LLVMConstArray2(lo->i32, at, (uint64_t)x->n));
  LLVMSetGlobalConstant(g, 1);
  LLVMSetLinkage(g, LLVMInternalLinkage);
  LLVMSetAlignment(g, 4);
  return lo->table[x->id] = g;
}

static V
entry_value(Lo *lo, const Node *n)
{
  LLVMBuilderRef b = late(lo, n) ? lo->b : lo->hb;
  V i = to64(b, lo, idx_value(lo, n->a));
  V at = LLVMBuildGEP2(b, lo->i32, table_global(lo, lo->p->idx.tables.at[n->n]), &i, 1, "");
  return LLVMBuildLoad2(b, lo->i32, at, "");
}

/* A table without elements has no place to read. */
static V
element_value(Lo *lo, const Node *n)
{
  LLVMBuilderRef at = late(lo, n) ? lo->b : lo->hb, b = lo->b;
  V place = to64(at, lo, idx_value(lo, n->a)), in[2];
  V base = LLVMBuildPtrToInt(at, idx_value(lo, n->b), lo->i64, "");
  place = LLVMBuildShl(at, place, k64(lo, 2), "");
  in[0] = LLVMBuildAdd(at, base, place, "");
  if (!n->c.node) {
    V p = LLVMBuildIntToPtr(at, in[0], LLVMPointerTypeInContext(lo->cx, 1), "");
    return LLVMBuildLoad2(at, lo->i32, p, "");
  }
  in[1] = as_i32(lo, at, idx_value(lo, n->c));
  lo->b = at;
  V x = asm_1(lo, ASM_PURE,
              "{ .reg .pred p; setp.ne.s32 p, $2, 0; mov.b32 $0, 0; "
              "@p ld.global.nc.b32 $0, [$1]; }",
              "=&r,l,r", lo->i32, in, 2);
  lo->b = b;
  return x;
}

/* Which of its role's teams this thread is in. */
V
team_value(Lo *lo)
{
  const Role *r = lo->role;
  V warp = LLVMBuildSub(lo->hb, lane_value(lo, LANE_WARPS), k32(lo, r->first), "");
  return LLVMBuildUDiv(lo->hb, warp, k32(lo, r->warps), "");
}

/* ---- tiles of a walk with a test ---- */

/* Bits of a word below its number. */
V
seek_flags(Lo *lo, const Region *seek)
{
  return k32(lo, seek->has_whole ? 2 : 1);
}

V
seek_tile(Lo *lo, const Region *seek, V word)
{
  return LLVMBuildAShr(lo->b, word, seek_flags(lo, seek), "");
}

V
seek_whole(Lo *lo, V word)
{
  V bit = LLVMBuildLShr(lo->b, word, k32(lo, 1), "");
  return LLVMBuildTrunc(lo->b, bit, lo->i1, "");
}

static V
tile_fact(Lo *lo, const Node *n)
{
  const Seek *s = &lo->seek[n->n];
  V word = s->word[n->a.k + 1];
  switch ((TileFact)n->b.k) {
  case TILE_NUMBER:
    return seek_tile(lo, s->of, word);
  case TILE_IS_PARTIAL:
    return LLVMBuildTrunc(lo->b, word, lo->i1, "");
  case TILE_IS_WHOLE:
    return seek_whole(lo, word);
  case TILE_IS_THERE:
    return LLVMBuildICmp(lo->b, LLVMIntSLE, s->end, word, "");
  }
  lower_fail(lo, "fact %d of a tile has no lowering", (int)n->b.k);
}

static V
node_new(Lo *lo, const Node *n)
{
  static const char *const cta[] = {"mov.u32 $0, %ctaid.x;", "mov.u32 $0, %ctaid.y;",
                                    "mov.u32 $0, %ctaid.z;"};
  static const char *const ctas[] = {"mov.u32 $0, %nctaid.x;", "mov.u32 $0, %nctaid.y;",
                                     "mov.u32 $0, %nctaid.z;"};
  if (n->kind == NODE_PARAM)
    return param_at(lo, n->n);
  if (n->kind == NODE_CTA)
    return special(lo, cta[n->n]);
  if (n->kind == NODE_CTAS)
    return special(lo, ctas[n->n]);
  if (n->kind == NODE_TEAM)
    return team_value(lo);
  if (n->kind == NODE_THREAD)
    return lane_value(lo, LANE_TID);
  if (n->kind == NODE_ANY)
    return lo->any[n->n];
  if (n->kind == NODE_FOUND)
    return lo->found[n->n];
  if (n->kind == NODE_LOOP)
    return lo->loop_var[n->n];
  if (n->kind == NODE_AHEAD)
    return tile_fact(lo, n);
  if (n->kind == NODE_ENTRY)
    return entry_value(lo, n);
  if (n->kind == NODE_ELEMENT)
    return element_value(lo, n);
  LLVMBuilderRef b = late(lo, n) ? lo->b : lo->hb;
  V x = idx_value(lo, n->a);
  if (n->kind == NODE_NOT)
    return LLVMBuildNot(b, x, "");
  V y = idx_value(lo, n->b);
  if (n->wide || LLVMTypeOf(x) != LLVMTypeOf(y)) {
    x = to64(b, lo, x);
    y = to64(b, lo, y);
  }
  if (n->kind == NODE_SELECT)
    return LLVMBuildSelect(b, idx_value(lo, n->c), x, y, "");
  return compute(lo, n, x, y);
}

/* A division takes two dozen instructions, a register over a loop is cheaper: where it is
 * there.  Warps that multiply by themselves have none to spare (fwd_mma on sm_75 and sm_86
 * spilled for it); a warpgroup keeps it in a uniform register. */
static bool
known_still(const Lo *lo, const Node *n, int tag)
{
  return lo->role && n->kind == NODE_DIV && n->b.node && !late(lo, n) &&
         tag >= lo->quotients;
}

/* A division of the entry's numbers: once, where the role begins. */
static bool
of_role(const Lo *lo, const Node *n)
{
  return lo->role && lo->epoch != lo->role_epoch && n->kind == NODE_DIV && n->b.node &&
         of_entry((Idx){.node = n});
}

static V
role_quotient(Lo *lo, const Node *n)
{
  if (!lo->quotient[n->id])
    lo->quotient[n->id] = where_role_begins(lo, idx_value, (Idx){.node = n});
  return lo->quotient[n->id];
}

V
idx_value(Lo *lo, Idx x)
{
  if (!x.node)
    return x.k == (int32_t)x.k ? k32(lo, x.k) : k64(lo, x.k);
  if (x.node->graph != &lo->p->idx)
    lower_fail(lo, "an index expression of another program");
  if (of_role(lo, x.node))
    return role_quotient(lo, x.node);
  NodeMemo *memo = &lo->node[x.node->id];
  int tag = late(lo, x.node) ? -lo->late : lo->epoch;
  if (memo->value && (memo->tag == tag || known_still(lo, x.node, memo->tag)))
    return memo->value;
  memo->value = node_new(lo, x.node);
  memo->tag = tag;
  return memo->value;
}

V
idx_value64(Lo *lo, Idx x)
{
  if (!x.node)
    return k64(lo, x.k);
  return to64(idx_builder(lo, x), lo, idx_value(lo, x));
}

static bool
same_idx(Idx x, Idx y)
{
  return x.node == y.node && (x.node || x.k == y.k);
}

static bool
same_key(const MemoKey *x, const MemoKey *y)
{
  return x->what == y->what && x->n == y->n && x->mt == y->mt && x->ks == y->ks &&
         x->pack == y->pack && x->x == y->x && same_idx(x->batch, y->batch) &&
         same_idx(x->head, y->head) && same_idx(x->origin, y->origin) &&
         same_idx(x->nth, y->nth);
}

V
memo_find(const Lo *lo, const MemoKey *key)
{
  for (int i = 0; i < lo->n_memo; i++)
    if (same_key(&lo->memo[i].key, key))
      return lo->memo[i].value;
  return NULL;
}

/* A full memo only costs a second computation. */
V
memo_keep(Lo *lo, const MemoKey *key, V value)
{
  if (lo->n_memo < MEMO_MAX)
    lo->memo[lo->n_memo++] = (Memo){*key, value};
  return value;
}

/* ---- the thread's parts ---- */

static V
band_k(Lo *lo, V x, int k)
{
  return LLVMBuildAnd(lo->hb, x, k32(lo, k), "");
}

static V
shr_k(Lo *lo, V x, int k)
{
  return LLVMBuildLShr(lo->hb, x, k32(lo, k), "");
}

static V
shl_k(Lo *lo, V x, int k)
{
  return LLVMBuildShl(lo->hb, x, k32(lo, k), "");
}

static V
sum(Lo *lo, V x, V y)
{
  return LLVMBuildAdd(lo->hb, x, y, "");
}

static V
xor_(Lo *lo, V x, V y)
{
  return LLVMBuildXor(lo->hb, x, y, "");
}

static V
copy_place(Lo *lo)
{
  V c = lane_value(lo, LANE_CHUNK), r = lane_value(lo, LANE_CROW);
  V swizzled = shl_k(lo, xor_(lo, c, band_k(lo, r, 7)), 4);
  V in_smem = sum(lo, shl_k(lo, r, 7), swizzled);
  return sum(lo, lane_value(lo, LANE_SMEM), in_smem);
}

static V
put_place(Lo *lo)
{
  V g = lane_value(lo, LANE_ROW), pair = shl_k(lo, lane_value(lo, LANE_COL), 1);
  V within = sum(lo, shl_k(lo, g, 4), pair);
  return sum(lo, shl_k(lo, g, 7), within);
}

/* The thread's number in its team. */
static V
team_thread(Lo *lo)
{
  V tid = special(lo, "mov.u32 $0, %tid.x;");
  const Role *r = lo->role;
  if (!r)
    return tid;
  if (r->first)
    tid = LLVMBuildSub(lo->hb, tid, k32(lo, 32 * r->first), "");
  return r->teams > 1 ? LLVMBuildURem(lo->hb, tid, k32(lo, 32 * r->warps), "") : tid;
}

/* redux leaves its result in a uniform register, so that what is built on it (descriptors,
 * barrier numbers) stays on the uniform path; a shuffle does not (ptxas 13.0: 16 moves a
 * tile). */
static V
warp_number(Lo *lo)
{
  V tid = special(lo, "mov.u32 $0, %tid.x;"), warp = shr_k(lo, tid, 5);
  LLVMBuilderRef b = lo->b;
  lo->b = lo->hb;
  V same =
      asm_1(lo, ASM_EFFECT, "redux.sync.or.b32 $0, $1, -1;", "=r,r", lo->i32, &warp, 1);
  lo->b = b;
  return same;
}

static V
warp_m(Lo *lo)
{
  V warp = lane_value(lo, LANE_WARP);
  for (int n = lo->p->warps_n; n > 1; n /= 2)
    warp = shr_k(lo, warp, 1);
  return warp;
}

static V
lane_new(Lo *lo, Lane what)
{
  switch (what) {
  case LANE_TID:
    return team_thread(lo);
  case LANE_WARPS:
    return warp_number(lo);
  case LANE_LANE:
    return band_k(lo, lane_value(lo, LANE_TID), 31);
  case LANE_WARP:
    return shr_k(lo, lane_value(lo, LANE_TID), 5);
  case LANE_WARP_M:
    return warp_m(lo);
  case LANE_WARP_N:
    return band_k(lo, lane_value(lo, LANE_WARP), lo->p->warps_n - 1);
  case LANE_SMEM:
    return LLVMBuildPtrToInt(lo->hb, lo->smem, lo->i32, "");
  case LANE_CHUNK:
    return band_k(lo, lane_value(lo, LANE_TID), 7);
  case LANE_CROW:
    return shr_k(lo, lane_value(lo, LANE_TID), 3);
  case LANE_CDST:
    return copy_place(lo);
  case LANE_ROW:
    return shr_k(lo, lane_value(lo, LANE_LANE), 2);
  case LANE_COL:
    return shl_k(lo, band_k(lo, lane_value(lo, LANE_LANE), 3), 1);
  case LANE_PUT:
    return put_place(lo);
  }
  lower_fail(lo, "part %d of a thread's addresses has no lowering", (int)what);
}

V
lane_value(Lo *lo, Lane what)
{
  MemoKey key = {.what = MEMO_LANE, .n = (int)what};
  V have = memo_find(lo, &key);
  if (have)
    return have;
  V made = lane_new(lo, what);
  return memo_keep(lo, &key, made);
}

/* Of a lane's pairs of 32 bits: rows and columns as FRAG has them (llvm_lower.h). */
static V
pair_offset(Lo *lo, int mt)
{
  V row = lane_value(lo, LANE_ROW), quad = band_k(lo, lane_value(lo, LANE_LANE), 3);
  V chunk = xor_(lo, shr_k(lo, quad, 1), row);
  V half = shl_k(lo, band_k(lo, quad, 1), 3), within = sum(lo, shl_k(lo, chunk, 4), half);
  V first = LLVMBuildMul(lo->hb, lane_value(lo, LANE_WARP_M), k32(lo, 16 * mt), "");
  return sum(lo, shl_k(lo, sum(lo, first, row), 7), within);
}

/* Byte offset inside a panel of the row that this lane addresses, and its chunk bit:
 * 'a', 'v': row lane % 16, chunk lane / 16; 'k': row (lane / 16) · 8 + lane % 8, chunk
 * (lane / 8) % 2; 'n': row lane % 8, chunk lane / 8 (PTX ISA, ldmatrix: lanes 8i … 8i + 7
 * address the rows of matrix i). */
static V
pattern_offset(Lo *lo, char kind, int mt)
{
  V lane = lane_value(lo, LANE_LANE), low = band_k(lo, lane, 7), row, chunk;
  if (kind == 'k') {
    row = sum(lo, shl_k(lo, shr_k(lo, lane, 4), 3), low);
    chunk = band_k(lo, shr_k(lo, lane, 3), 1);
  } else if (kind == 'n') {
    row = low;
    chunk = shr_k(lo, lane, 3);
  } else {
    row = band_k(lo, lane, 15);
    chunk = shr_k(lo, lane, 4);
  }
  if (kind == 'a')
    row = sum(lo, row,
              LLVMBuildMul(lo->hb, lane_value(lo, LANE_WARP_M), k32(lo, 16 * mt), ""));
  V column = shl_k(lo, xor_(lo, chunk, low), 4);
  return sum(lo, shl_k(lo, row, 7), column);
}

V
lane_pattern(Lo *lo, char kind, int mt, int ks)
{
  MemoKey key = {.what = MEMO_PATTERN, .n = kind, .mt = mt, .ks = ks};
  V have = memo_find(lo, &key);
  if (have)
    return have;
  V lane = kind == 'p' ? pair_offset(lo, mt) : pattern_offset(lo, kind, mt);
  V offset = xor_(lo, lane, k32(lo, ks * STEP_BYTES));
  V made = sum(lo, lane_value(lo, LANE_SMEM), offset);
  return memo_keep(lo, &key, made);
}

V
first_column(Lo *lo, const Val *x)
{
  if (x->warps_n == 1)
    return NULL;
  return LLVMBuildMul(lo->hb, lane_value(lo, LANE_WARP_N), k32(lo, val_cols(x)), "");
}

/* Columns are rows of the box ('k', 'n'), or pairs of 8 along its panels ('v'); of 'd' they
 * are rows of the box that a warp has of a product's depth. */
V
lane_columns(Lo *lo, char kind, int cols, int ks, int rows)
{
  MemoKey key = {.what = MEMO_COLUMNS, .n = kind, .mt = cols, .ks = ks, .pack = rows};
  V have = memo_find(lo, &key);
  if (have)
    return have;
  V warp = lane_value(lo, LANE_WARP_N);
  if (kind != 'v') {
    V at = LLVMBuildMul(lo->hb, warp, k32(lo, cols * PANEL_BYTES), "");
    V first = lane_pattern(lo, kind == 'd' ? 'v' : kind, 0, ks);
    return memo_keep(lo, &key, sum(lo, first, at));
  }
  V pair = LLVMBuildMul(lo->hb, warp, k32(lo, cols / 16), "");
  pair = sum(lo, pair, k32(lo, ks));
  V within = shl_k(lo, band_k(lo, pair, PANEL_STEPS - 1), 5);
  V panel = LLVMBuildMul(lo->hb, shr_k(lo, pair, 2), k32(lo, rows * PANEL_BYTES), "");
  V offset = xor_(lo, pattern_offset(lo, kind, 0), within);
  V made = sum(lo, sum(lo, lane_value(lo, LANE_SMEM), offset), panel);
  return memo_keep(lo, &key, made);
}
