/* llvm_lower.h: from a tile program to LLVM IR: what the lowering files share.
 *
 * Every value of the program becomes a small array of LLVM values, the registers of one
 * thread.  Index expressions and lane parts of addresses that the innermost tile loop does
 * not change are computed in the `hoist` block, the maximal invariant part only: one at the
 * start of the kernel, of each role and of each block of work, and one after the last loop
 * of a walk, so that addresses of the epilogue do not live across it.  A memo keeps them
 * until the next hoist block (`epoch`).
 *
 * Layout of fp32 FRAG (PTX ISA, mma.m16n8k16, C and D): element [m][n8][half][e] is row
 * 16·m + 8·half + lane/4, column 8·n8 + 2·(lane%4) + e; 16-bit FRAG [m][n8][half] packs
 * the two e, and four consecutive are the A operand of one k-step. */
#ifndef ATTNC_COMPILER_LLVM_LOWER_H
#define ATTNC_COMPILER_LLVM_LOWER_H

#include "compiler/llvm/llvm_module.h"

#include <llvm-c/Core.h>

typedef LLVMValueRef V;

enum { MEMO_MAX = 512 };
enum { PANEL_STEPS = PANEL_BYTES / STEP_BYTES };

/* What the memo keeps, and which members of the key tell one from another. */
typedef enum Memoised {
  MEMO_LANE,        /* n: Lane */
  MEMO_PATTERN,     /* n: kind of pattern; mt, ks */
  MEMO_COLUMNS,     /* n: kind of pattern; mt: columns a warp; ks; pack: rows of the box */
  MEMO_VIEW_BASE,   /* x, batch, head, origin, pack */
  MEMO_THREAD_BASE, /* x, batch, head, origin, pack; n: rows a warp has of a stage, or 0 */
  MEMO_ROW_PITCH,   /* x */
  MEMO_STEP_PITCH,  /* x; n: rows of a step */
  MEMO_CHUNK_BELOW, /* n: chunks */
  MEMO_OWN_ROW,     /* n: rows a warp has of a stage */
  MEMO_OWN_PLACE,   /* n: likewise */
  MEMO_CHUNK_BASE,  /* x, head */
  MEMO_PAGE_PITCH,  /* x */
  MEMO_RECIPROCAL,  /* batch */
  MEMO_KEPT_ROW,    /* n: rows a warp has of a stage */
  MEMO_PAGE_LIST,   /* x; batch: row of its table */
  MEMO_DEALT        /* n: left or right; mt: warps along it; pack: rows of the box */
} Memoised;

/* An index expression is its node, or its constant where it has none: both tell heads and
 * batches apart. */
typedef struct MemoKey {
  Memoised what;
  int n, mt, ks, pack;
  const Tensor *x;
  Idx batch, head, origin, nth;
} MemoKey;

typedef struct Memo {
  MemoKey key;
  V value;
} Memo;

typedef struct NodeMemo {
  V value;
  int tag; /* epoch, or −late for what is computed where it is used */
} NodeMemo;

/* Where a role is in a ring that mbarriers guard: stage (NULL: it has one) and parity. */
typedef struct RingPos {
  V stage, parity;
} RingPos;

/* Of a ring that is filled through registers: what was loaded and is not yet stored. */
typedef struct Staged {
  V *reg; /* [n], i32, four a piece of 16 bytes; NULL each: nothing is on its way */
  int n;
  const View *view;
} Staged;

typedef struct Lo {
  Arena *arena;
  jmp_buf *fail; /* where lower_fail goes */
  attnc_error *err;
  const Program *p;
  LLVMContextRef cx;
  LLVMModuleRef m;
  LLVMBuilderRef b;  /* where code is appended */
  LLVMBuilderRef hb; /* before the terminator of the hoist block */
  V hoist_at;        /* that terminator */
  LLVMTypeRef i1, i16, i32, i64, f32, none;
  V fn, smem;
  int ptx; /* version of the PTX ISA, 81: 8.1 */
  int epoch;
  int quotients; /* the first epoch whose quotients are still known */
  int loop_id;   /* the open tile loop, 0: none */
  int late; /* counts the places after which what was computed in a loop is forgotten */
  const Role *role; /* NULL: none */
  V one;            /* in a whole warp: is this its elected lane?  NULL: there is one */
  V role_at;      /* where it begins: what is computed before this is known in all of it */
  int role_epoch; /* the epoch there */
  V *reciprocal, *quotient; /* by node id: computed there; NULL: not */
  bool set_up;              /* lower_setup is done */
  V *loop_var;              /* by region id */
  struct Seek *seek;        /* by region id: of a walk with a test (llvm_seek.c) */
  V *any;                   /* by id: what a vote found */
  V *found;                 /* by id: the number that an operation found */
  V *table;                 /* by id: the constant array, NULL before its first use */
  V **vals;                 /* by id: registers */
  V *ring; /* by ring id: byte offset of the stage that is waited for next (FILL_COPY) */
  Staged *staged;             /* by ring id (FILL_COPY without cp.async) */
  RingPos *produce, *consume; /* by ring id (guarded) */
  V *slot;                    /* by id of the consumer_wait: byte offset of that stage */
  V *stage; /* by id of the consumer_wait: its number (guarded), NULL: the only one */
  NodeMemo *node;
  Memo memo[MEMO_MAX];
  int n_memo;
} Lo;

/* llvm_lower.c */
/* One more entry of lo's module; nothing of an earlier one stays in lo. */
attnc_status lower_program(Lo *, const Program *, attnc_error *);
void lower_region(Lo *, const Region *);
/* llvm_value.c */
/* Ends the lowering with ATTNC_ERR_INTERNAL: the program has what cannot be lowered. */
_Noreturn void lower_fail(Lo *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void lower_missing(Lo *, const Op *); /* … an operation without a lowering */
V *lower_regs(Lo *, const Val *, int *n);       /* allocates the registers of a result */
int lower_count(const Val *);                   /* how many there are */
V k32(Lo *, int64_t);
V k64(Lo *, int64_t);
V kf(Lo *, double);
V to64(LLVMBuilderRef, Lo *, V);
V bool_and(LLVMBuilderRef, V a, V b); /* NULL is true */
V as_i32(Lo *, LLVMBuilderRef, V bit);
V seek_flags(Lo *, const Region *seek); /* how many bits of a tile's word are flags */
V seek_tile(Lo *, const Region *seek, V word); /* its number */
V seek_whole(Lo *, V word);                    /* is it whole, where that is told */
/* llvm_block.c */
LLVMBasicBlockRef new_block(Lo *, const char *name);
V phi_of(Lo *, LLVMTypeRef, V from, LLVMBasicBlockRef);
V as_bit(Lo *, V); /* an i1, of what may be an integer */
void no_unrolling(Lo *, V branch);
void hardly_ever(Lo *, V branch);
/* llvm_flow.c: loops, roles, branches */
void lower_flow(Lo *, const Region *);
void hoist_here(Lo *); /* the current block becomes the hoist block */

/* llvm_seek.c: walks with a test.  A tile is a word: its number, whether it is whole where
 * lists tell that, and whether it is PARTIAL. */
enum { SEEK_STATE = 4 };
typedef struct Seek {
  bool lanes; /* whole warps search: 32 tiles at once */
  V state[SEEK_STATE];
  V found[WALK_AHEAD + 1]; /* SEEK: words of its finds */
  V word[WALK_AHEAD + 2];  /* LOOP: of the tiles from −1 on */
  V end;                   /* LOOP: words below it are of no tile */
  const Region *of;        /* LOOP: the search */
} Seek;
void lower_seek(Lo *, const Region *);
V seek_next(Lo *, const Region *seek); /* the word of the next one */
int seek_state(const Seek *);          /* how much of it there is */
V seek_end(Lo *, const Region *seek);

/* llvm_asm.c: inline PTX.  `pure` statements may be moved and shared. */
typedef enum AsmKind { ASM_PURE, ASM_EFFECT, ASM_MEMORY } AsmKind;
/* ret NULL: no result; n_out > 1: results into out. */
void asm_call(Lo *, AsmKind, const char *text, const char *constraints, V *in, int n_in,
              LLVMTypeRef out_type, V *out, int n_out);
V asm_1(Lo *, AsmKind, const char *text, const char *constraints, LLVMTypeRef, V *in,
        int n_in);
/* Appends n operands from $`from` on as a list, and n constraints. */
void asm_registers(Str *, int from, int n);
void asm_constraint(Str *, const char *what, int n);

/* llvm_idx.c: scalars */
V idx_value(Lo *, Idx); /* i32, or i64 where a stride takes part */
V idx_value64(Lo *, Idx);
bool idx_nonneg(Idx);                  /* proved */
LLVMBuilderRef idx_builder(Lo *, Idx); /* where code that depends on it belongs */
V pick(LLVMBuilderRef, LLVMIntPredicate, V x, V y); /* x where it is, else y */
V param_value(Lo *, ParamKind, int slot, int dim);  /* NULL: the program has none */
/* x / y for numbers of a thread, y one for the whole entry: 0 <= x < 2^31, y > 0. */
V quotient_often(Lo *, V x, Idx y);
/* Parts of addresses that depend on the thread; hoisted, remembered. */
typedef enum Lane {
  LANE_TID,    /* of the team */
  LANE_LANE,   /* tid % 32 */
  LANE_WARP,   /* tid / 32 */
  LANE_WARP_M, /* which rows the warp has, of those of all … */
  LANE_WARP_N, /* … and which columns, where several have the same rows */
  LANE_WARPS,  /* the warp's number in the block, uniform to ptxas */
  LANE_SMEM,   /* address of shared memory */
  LANE_CHUNK,  /* tid % 8 */
  LANE_CROW,   /* tid / 8 */
  LANE_CDST,   /* shared memory + where this thread's 16 bytes of a copy go */
  LANE_ROW,    /* lane / 4 */
  LANE_COL,    /* 2 · (lane % 4) */
  LANE_PUT     /* shared memory + place of an element pair of FRAG */
} Lane;
V lane_value(Lo *, Lane);
V team_value(Lo *); /* which of its role's teams this thread is in */
/* Address pattern of ldmatrix for k-step ks (0 … 3 within a panel); kind 'a' (left
 * operand, mt blocks of rows a warp), 'v' (rows are the depth), 'k' (columns are); 'p': of
 * pairs of 32 bits where the accumulator has them, ks of a panel's four times 8 columns. */
V lane_pattern(Lo *, char kind, int mt, int ks);
/* That of a right operand ('v', 'k') in a box of so many rows, for the warp's own columns
 * of the result; cols: how many it has.  Of 'v' ks is a pair of 8 columns; 'd' is 'v' for
 * the warp's own `cols` rows of the depth. */
V lane_columns(Lo *, char kind, int cols, int ks, int rows);
/* The first of this warp's columns of a tile; NULL: 0. */
V first_column(Lo *, const Val *);
V memo_find(const Lo *, const MemoKey *); /* NULL: not there */
V memo_keep(Lo *, const MemoKey *, V);

/* llvm_addr.c: rows of tensors */
/* The address of (b, h, row 0), hoisted where b and h allow. */
V view_base(Lo *, const View *);
MemoKey view_key(Memoised, const View *); /* by its tensor, batch and head */
V row_pitch(Lo *, const Tensor *);        /* bytes from one row to the next, i64 */
/* Address of a row, packed or not, and whether the tensor has it (NULL: it has). */
V row_address(Lo *, const View *, V at); /* at: which of the view's rows */
V row_inside(Lo *, const View *, V at);

/* llvm_pages.c: rows that are in pages */
void lower_page_ids(Lo *, const Op *);
V page_row_address(Lo *, const View *, V at); /* as row_address */
/* Of a copy: bytes to the rows that the lane keeps, i64, one of each register of ids; and
 * of those the one that this thread has in a pass. */
V *page_kept_offsets(Lo *, const View *, V when, int *n);
V page_pass_offset(Lo *, V *kept, int pass);
/* What is computed once of boxes of a paged view, of `rows` rows at most, and of each: the
 * page's id, −1: it has none; and its first row in the page. */
typedef struct Boxes {
  const View *view;
  V shift, n; /* log2 of a box's rows; boxes */
} Boxes;
typedef struct Box {
  V id, row;
} Box;
Boxes page_boxes(Lo *, const View *, int rows);
/* Of box first + lane, if `when` (NULL: true); have: NULL or its id. */
Box page_box(Lo *, const Boxes *, V first, V when, V have);
Box page_box_of(Lo *, const Box *, V lane); /* that of a lane, in all */
void page_prepare(Lo *, const View *);      /* what outlives a branch in which they stand */

/* llvm_exchange.c: between warps that have the same rows */
/* Of each row of the operand all warps' values, folded in the order of the warps. */
void exchange_rows(Lo *, const Op *, V *x, V (*fold)(Lo *, V, V));
void lower_allgather_cols(Lo *, const Op *);
void lower_share_rows(Lo *, const Op *);
void lower_peer_rows(Lo *, const Op *);
void lower_merge_cols(Lo *, const Op *);
/* llvm_parts.c: between CTAs that have parts of the keys */
void lower_store_part(Lo *, const Op *);
void lower_load_part(Lo *, const Op *);
void lower_add_part(Lo *, const Op *);
void lower_last(Lo *, const Op *);
void lower_reduce_out(Lo *, const Op *);
void lower_load_sums(Lo *, const Op *);

/* llvm_barrier.c */
void team_barrier(Lo *);
void warp_barrier(Lo *);
void lower_sync(Lo *, const Op *);
void lower_order(Lo *, const Op *);

/* llvm_mem.c */
void lower_producer_load(Lo *, const Op *);
void lower_consumer_wait(Lo *, const Op *);
void lower_copy(Lo *, const Op *);
void lower_copy_wait(Lo *, const Op *);
void lower_copy_out(Lo *, const Op *);
V ring_advance(Lo *, const Ring *, V pos, int n);
/* llvm_async.c: mbarriers, TMA */
void lower_setup(Lo *); /* before the first role; then nothing */
void lower_end(Lo *);   /* at the end of a kernel */
void lower_producer_load_tma(Lo *, const Op *);
void lower_producer_load_lanes(Lo *, const Op *);
/* Of a column by cp.async: a thread's elements of the block's, or a lane's of the warp's.
 */
void lower_copy_column(Lo *, const View *, const SmemDecl *, V stage);
void lower_producer_lend(Lo *, const Op *);
void lower_consumer_wait_guarded(Lo *, const Op *);
void lower_stage_word(Lo *, const Op *);
void lower_consumer_either(Lo *, const Op *);
void lower_consumer_release(Lo *, const Op *);
void lower_send_out(Lo *, const Op *);
void lower_out_wait(Lo *, const Op *);
void lower_fence_async(Lo *, const Op *);
void lower_grid_wait(Lo *, const Op *);
void lower_grid_trigger(Lo *, const Op *);
void lower_ticket(Lo *, const Op *);
/* llvm_sequence.c */
void lower_sequence(Lo *, const Op *);
/* llvm_bins.c */
void lower_bins(Lo *, const Op *);
void lower_bins_add(Lo *, const Op *);
void lower_bins_scan(Lo *, const Op *);
void lower_bins_take(Lo *, const Op *);
void lower_store_word(Lo *, const Op *);
/* llvm_wgmma.c */
void lower_wgmma(Lo *, const Op *);
void lower_wait(Lo *, const Op *);
void lower_tie(Lo *, const Val *); /* nothing of it moves above this place */
/* llvm_rows.c: straight to and from global memory */
void lower_store_rows(Lo *, const Op *);
void lower_prefetch(Lo *, const Op *);
void lower_store_sums(Lo *, const Op *);
void lower_load_rows(Lo *, const Op *);
void lower_load(Lo *, const Op *);
void lower_store(Lo *, const Op *);
/* Does the lane have columns of this group of 256? */
V lane_has_columns(Lo *, int cols, int group);
/* n columns that lie one behind the other, 4 or 8, from byte `at` of the address on, as
 * fp32; zeros where `bit`, an i32, is 0. */
void lane_load(Lo *, Dtype, V address, int at, int n, V bit, V *out);
/* llvm_dropout.c */
void lower_drop_state(Lo *, const Op *);
void lower_drop(Lo *, const Op *);
void lower_keep(Lo *, const Op *);
void lower_store_keep(Lo *, const Op *);
/* llvm_rope.c */
void lower_load_rope(Lo *, const Op *);

/* llvm_mma.c */
void lower_product(Lo *, const Op *);
void lower_dot_dealt(Lo *, const Op *);
/* Which of the blocks of 16 rows, and of 8 columns, that are dealt this warp has first. */
V dealt_row(Lo *, const Val *);
V dealt_column(Lo *, const Val *);
/* A step of a left operand from panels: 16 rows, of each lane four registers. */
void load_left(Lo *, const Smem *, int mt, int m, int ks, V out[4]);
/* Two elements of 32 bits side by side, of row r of the thread and columns 8 · n8 on. */
void load_pair(Lo *, const Smem *, int mt, int r, int n8, V out[2]);
void lower_get(Lo *, const Op *);
void lower_put(Lo *, const Op *);
void lower_cols(Lo *, const Op *);

/* llvm_math.c */
void lower_const(Lo *, const Op *);
void lower_unset(Lo *, const Op *);
void lower_scalar(Lo *, const Op *);
void lower_elementwise(Lo *, const Op *);
void lower_row_max(Lo *, const Op *);
void lower_row_thread_sum(Lo *, const Op *);
void lower_row_allreduce(Lo *, const Op *);
void lower_row_dot(Lo *, const Op *);
void lower_cvt(Lo *, const Op *);
V pack_pair(Lo *, Dtype, V low, V high); /* two fp32 numbers as 16 bits, in one register */
void lower_concat_cols(Lo *, const Op *);
V f32_exp2_near(Lo *, V x); /* to an ulp; of what is below 127 */
V f32_call(Lo *, const char *intrinsic, V *in, int n_in); /* "llvm.fma" and its like */
void lower_any(Lo *, const Op *);

/* llvm_place.c: where a thread's elements of a tile of scores are */
V place_row(Lo *, const Op *, int r);  /* the query, or key, that row r of the thread is */
V place_head(Lo *, const Op *, int r); /* … its query head */
V place_origin(Lo *, const Op *);      /* … that its first column is */
Idx place_rows(const Op *);            /* … that the tile's first row is */
int place_columns(const Val *);        /* of a row */
int place_column(int c);               /* keys from the first column to column c */
int place_register(const Val *, int r, int c); /* which of the tile's registers it is */

/* llvm_expr.c: expressions, step by step: those of rows when they are opened, then column
 * by column, and in a column element by element. */
typedef struct Exprs Exprs;
Exprs *exprs_open(Lo *, const Op *, V from); /* from: place_origin */
LLVMBuilderRef exprs_outer(const Exprs *);   /* where what moves with no tile belongs */
void exprs_column(Exprs *, int c);
void exprs_element(Exprs *, int r, V score); /* of the column at hand */
V exprs_root(Exprs *, ExprRoot, int r);      /* NULL: there is none */
void lower_score(Lo *, const Op *);
/* llvm_expr_ops.c: one operator.  nonneg: of each operand, whether it is proved. */
V expr_operator(Lo *, const Expr *, V *x, const bool *nonneg, bool near);
/* llvm_expr_real.c: one of f32 */
V expr_real(Lo *, const Expr *, V *x);
V expr_real_near(Lo *, const Expr *, V *x);
V expr_inverse(Lo *, V x);                  /* 1 / x */
V expr_product(Lo *, V x, V y, bool small); /* small: it may be subnormal, and counts */
V expr_tanh_part(Lo *, V x);                /* 1 / (1 + 2^x) */
V expr_size(Lo *, V x);                     /* |x| as f32, of an i32 or f32 */
/* llvm_mask.c */
void lower_mask(Lo *, const Op *);

#endif
