/* tile_prog.h: the tile program: a kernel as data, between the words that append it
 * (tile_words.c) and the passes that read it (verify, plan, count, print, lower).
 *
 * A tree of regions with operations in the order of the calls.  Values are immutable;
 * variables exist only while building: a loop region records for each what enters (arg),
 * what is carried (yield) and what leaves (result), so lowering writes phis.  The program
 * knows nothing of LLVM; the LLVM module knows nothing of templates.  All of it lives in
 * the compile's arena. */
#ifndef ATTNC_COMPILER_TILE_PROG_H
#define ATTNC_COMPILER_TILE_PROG_H

#include "base/call.h"
#include "compiler/expr/idx_graph.h"
#include "compiler/target.h"
#include "compiler/tile/tile_expr.h"
#include "compiler/tile/tile_interval.h"
#include "compiler/tile/walk.h"

#include <attnc/attnc.h>

/* ---- parameters of the kernel, in the order of first use ---- */

typedef enum ParamKind {
  PARAM_TENSOR,
  PARAM_STRIDE,
  PARAM_SIZE,
  PARAM_SCALAR,
  PARAM_WORKSPACE,
  PARAM_MAP
} ParamKind;

typedef struct Param {
  ParamKind kind;
  int slot; /* of a tensor or scalar, SizeId, or number of a region of workspace */
  int dim;  /* STRIDE: 0 batch, 1 head, 2 row; MAP: map_dim() */
  const Node *node;
  int place; /* in the signature of the entry; -1: none, nobody reads it */
} Param;

/* Rows of a box of rows in pages, of a box of so many: the largest power of 2, or fewer
 * where a page has none that large. */
static inline int
map_fitted(int rows)
{
  return rows & -rows;
}
/* A tensor map: boxes of `rows` rows (positions · heads of the group where packed) of one
 * panel of 128 bytes.  Where views are cut, a box slides: see lower_producer_load_tma. */
static inline int
map_dim(const View *v, int rows)
{
  return (v->pages ? map_fitted(rows) | 1 << 29 : rows) |
         (v->pack > 1 ? v->pack : 1) << 16 | (v->cut ? 1 << 30 : 0);
}
static inline int
map_rows(const Param *p)
{
  return p->dim & 0xffff;
}
static inline int
map_pack(const Param *p)
{
  return p->dim >> 16 & 0xff;
}
static inline bool
map_slides(const Param *p)
{
  return p->dim >> 30 & 1;
}
static inline bool
map_fits_pages(const Param *p)
{
  return p->dim >> 29 & 1;
}

/* ---- shared memory ---- */

struct SmemDecl {
  const char *name;
  Dtype ty;
  int rows, cols, panels;
  int stages; /* of a ring, else 1 */
  int bytes;  /* one stage */
  int offset; /* filled by the plan */
  int id;
  const struct SmemDecl *over; /* the memory of this one and those behind it; NULL: own */
  bool copied;                 /* filled by t_copy, and … */
  bool ready;                  /* … waited for */
  bool touched; /* by loads and stores of the team's own since it was waited for */
};

struct Ring {
  SmemDecl mem;
  int id;
  Fill fill;
  int consumers, cluster;
  bool word;                        /* a number goes with each stage */
  int full_at, empty_at;            /* guarded: offsets of the mbarriers, by the plan … */
  int word_at;                      /* … and of the words, as far apart */
  int produced, consumed, released; /* while building: counts along the straight line */
  int barrier_released;             /* of `released`, those before the last block barrier */
  bool closed; /* a block of work has left stages filled: nothing comes behind */
};

/* ---- values ---- */

enum { REG_BYTES = 4 }; /* of a register */

typedef struct Val {
  int id; /* from 1, as printed */
  int rows, cols;
  Dtype ty;
  Lay lay;
  int warps;   /* of the team that holds it: among them are its rows dealt out, … */
  int warps_n; /* … and so many have the same rows, each a part of their columns: … */
  bool narrow; /* … eight of them, not pairs of eight */
  bool per_thread;
  bool in_flight; /* a product that was not waited for */
  bool unset;     /* without a value */
  bool same;      /* LANE: every warp holds the same row (t_load_one) */
  const struct Region *home;
} Val;

/* ---- operations: id, text ---- */

#define OP_TABLE(X)                                                                        \
  X(LOOP, "for tiles")                                                                     \
  X(SEEK, "seek tile")                                                                     \
  X(FOR, "for")                                                                            \
  X(ROLE, "role")                                                                          \
  X(WARP, "warp")                                                                          \
  X(IF, "if")                                                                              \
  X(PRODUCER_LOAD, "producer_load")                                                        \
  X(PRODUCER_LEND, "producer_lend")                                                        \
  X(CONSUMER_WAIT, "consumer_wait")                                                        \
  X(CONSUMER_PEEK, "consumer_peek")                                                        \
  X(CONSUMER_EITHER, "consumer_either")                                                    \
  X(CONSUMER_RELEASE, "consumer_release")                                                  \
  X(STAGE_WORD, "stage_word")                                                              \
  X(PAGE_IDS, "page_ids")                                                                  \
  X(PREFETCH, "prefetch")                                                                  \
  X(COPY, "copy")                                                                          \
  X(COPY_WAIT, "copy_wait")                                                                \
  X(COPY_OUT, "copy_out")                                                                  \
  X(SEND_OUT, "send_out")                                                                  \
  X(OUT_WAIT, "out_wait")                                                                  \
  X(GRID_WAIT, "grid wait")                                                                \
  X(GRID_TRIGGER, "grid trigger")                                                          \
  X(TICKET, "ticket")                                                                      \
  X(SEQUENCE, "sequence of block")                                                         \
  X(BINS, "bins")                                                                          \
  X(BINS_ADD, "bins add")                                                                  \
  X(BINS_SCAN, "bins scan")                                                                \
  X(BINS_TAKE, "bins take")                                                                \
  X(STORE_WORD, "store_word")                                                              \
  X(SYNC, "sync")                                                                          \
  X(SYNC_ROLE, "sync_role")                                                                \
  X(FENCE_ASYNC, "fence_async")                                                            \
  X(ORDER_INIT, "order init")                                                              \
  X(ORDER_WAIT, "order wait")                                                              \
  X(ORDER_ARRIVE, "order arrive")                                                          \
  X(WAIT, "wait")                                                                          \
  X(ANY_NOT1, "any_not1")                                                                  \
  X(ANY_ABS_GT, "any_abs_gt")                                                              \
  X(UNSET, "unset")                                                                        \
  X(CONST, "const")                                                                        \
  X(SCALAR, "scalar")                                                                      \
  X(ADD, "add")                                                                            \
  X(SUB, "sub")                                                                            \
  X(MUL, "mul")                                                                            \
  X(MAX, "max")                                                                            \
  X(MIN, "min")                                                                            \
  X(FMA, "fma")                                                                            \
  X(FMS, "fms")                                                                            \
  X(EXP2, "exp2")                                                                          \
  X(EXP2_NEAR, "exp2_near")                                                                \
  X(RESIDUAL, "residual")                                                                  \
  X(LOG2, "log2")                                                                          \
  X(RCP, "rcp")                                                                            \
  X(SELECT_NONZERO, "select_nonzero")                                                      \
  X(SELECT_GT, "select_gt")                                                                \
  X(SELECT_ABS_GT, "select_abs_gt")                                                        \
  X(ROW_MAX, "row_max")                                                                    \
  X(ROW_THREAD_SUM, "row_thread_sum")                                                      \
  X(ROW_ALLREDUCE, "row_allreduce")                                                        \
  X(ALLGATHER_COLS, "allgather_cols")                                                      \
  X(SHARE_ROWS, "share_rows")                                                              \
  X(PEER_ROWS, "peer_rows")                                                                \
  X(MERGE_COLS, "merge_cols")                                                              \
  X(STORE_PART, "store_part")                                                              \
  X(LOAD_PART, "load_part")                                                                \
  X(ADD_PART, "add_part")                                                                  \
  X(LAST, "last")                                                                          \
  X(CONCAT_COLS, "concat_cols")                                                            \
  X(CVT, "cvt")                                                                            \
  X(GET, "get")                                                                            \
  X(PUT, "put")                                                                            \
  X(COLS, "cols")                                                                          \
  X(DOT, "dot")                                                                            \
  X(DOT_ACC, "dot_acc")                                                                    \
  X(DOT_DEALT, "dot_dealt")                                                                \
  X(REDUCE_OUT, "reduce_out")                                                              \
  X(LOAD_SUMS, "load_sums")                                                                \
  X(SCORE, "score")                                                                        \
  X(SINK, "sink")                                                                          \
  X(SLOPE, "slope")                                                                        \
  X(MASK, "mask")                                                                          \
  X(DROP_STATE, "drop_state")                                                              \
  X(DROP, "drop")                                                                          \
  X(KEEP, "keep")                                                                          \
  X(STORE_KEEP, "store_keep")                                                              \
  X(STORE_ROWS, "store_rows")                                                              \
  X(STORE_SUMS, "store_sums")                                                              \
  X(LOAD_ROWS, "load_rows")                                                                \
  X(LOAD, "load")                                                                          \
  X(LOAD_ROPE, "load_rope")                                                                \
  X(LOAD_ONE, "load_one")                                                                  \
  X(STORE, "store")                                                                        \
  X(ROW_DOT, "row_dot")

typedef enum OpKind {
#define X(id, text) OP_##id,
  OP_TABLE(X)
#undef X
      OP_COUNT
} OpKind;
extern const char *const op_names[OP_COUNT];

/* The search for the sequence that has a block of rows (t_sequence). */
typedef struct SequenceSearch {
  const Lookup *first; /* row of each sequence's first */
  Idx n, block;        /* sequences; number of the block */
  int rows;            /* of a block */
  bool alone;          /* by one lane, not by whole warps */
} SequenceSearch;

/* Counters, bin by bin, of each bin one for each warp of the block; behind them room for a
 * sum of each warp. */
struct Bins {
  const SmemDecl *mem;
  int n, warps;
};
enum {
  BINS_MOST = 1024,
  BINS_TRIP = 128, /* counters that a warp adds up at once, four a lane */
  BINS_SUMS = 8    /* rows of shared memory for the sums */
};

typedef struct Op {
  struct Op *next;
  OpKind kind;
  const Val *out; /* NULL: none */
  const Val *in[3];
  Smem smem;                  /* the operand in shared memory */
  Smem left;                  /* left operand of a product when in[1] is NULL */
  const ProductInfo *product; /* DOT, DOT_ACC */
  View view;
  Ring *ring;
  int wait_id; /* CONSUMER_WAIT, CONSUMER_RELEASE: id of the wait */
  int of[2];   /* CONSUMER_EITHER: ids of the waits; when: is it the second */
  int pending; /* TAKE, COPY_WAIT, WAIT: groups that may still be in flight */
  int ahead;   /* PRODUCER_LOAD: stages filled and not yet waited for when it is issued */
  Idx when;    /* PUSH, PAGE_IDS, PREFETCH */
  const Idx *set;                /* DOT_ACC: is there an accumulator?  NULL: there is */
  double k;                      /* CONST, SCALAR, SELECT_GT, SELECT_ABS_GT */
  int poly;                      /* EXP2: of 16 registers */
  Dtype narrow;                  /* RESIDUAL */
  int value, peer;               /* PEER_ROWS: which of what it shares, which warp */
  int slot;                      /* SCALAR */
  const Mask *mask;              /* MASK */
  const struct ExprSteps *steps; /* SCORE, SINK, SLOPE; MASK: of its mask_mod, or NULL */
  At at;
  Hint hint; /* PUSH */
  const OrderBarrier *order;
  bool fence; /* RELEASE: the team has read or written the stage by itself */
  bool tie;   /* CVT: not before the last wait */
  bool whole; /* DROP: its keys are whole blocks of random bytes */
  Idx cond;   /* ANY_NOT1, ANY_ABS_GT: the node that it defines */
  Idx found;  /* STAGE_WORD, TICKET, SEQUENCE, BINS_SCAN, BINS_TAKE: likewise */
  const SequenceSearch *search; /* SEQUENCE */
  const Bins *bins;             /* BINS, BINS_ADD, BINS_SCAN, BINS_TAKE */
  const RopeArgs *rope;         /* LOAD_ROPE */
  const Lookup *list;           /* STORE_WORD, DROP_STATE, STORE_KEEP */
  Idx at_word; /* BINS_ADD, BINS_TAKE: the bin; STORE_WORD: the element.  What is added or
                  stored is `word`, `when` says by whom. */
  Idx word;    /* PRODUCER_LOAD: what goes with the stage, if the ring has words */
  Idx first;   /* REDUCE_OUT: the column of the sums that is the tile's first */
  Idx bound;   /* TICKET: drawings that leave the counter at 0 */
  struct Region *body; /* regions */
} Op;

struct OrderBarrier {
  int bar, teams; /* first of its named barriers */
};

/* What a variable is before, in and after a loop. */
typedef struct Carry {
  int var;
  const Val *init, *arg, *yield, *result;
} Carry;

typedef struct Role {
  const char *name;
  int first, teams, warps, regs; /* first: warp of the block */
  int bar;                       /* first of the teams' named barriers, then the role's */
} Role;

typedef struct Region {
  struct Region *parent;
  OpKind kind;  /* LOOP, SEEK, FOR, ROLE, WARP, IF */
  Role *role;   /* in which it lies; NULL: none */
  int warp;     /* WARP */
  bool whole;   /* WARP: all lanes, not one */
  Idx cond;     /* IF */
  bool rare;    /* IF: hardly ever true */
  bool partial; /* IF: in PARTIAL tiles */
  bool work;    /* IF: a block of work, which may be none */
  Span loop;    /* FOR */
  Idx next;     /* FOR of step 0: after the loop's variable */
  bool has_next;
  Op *first, *last;
  int id;        /* 0: the kernel itself */
  TileSpan span; /* of a loop; visited from hi - 1 down to lo */
  Idx var;       /* the tile index */
  bool once;     /* exactly one trip: no loop (FOR, tiles) */
  /* LOOP over a walk with a test: visited is what `seek` has found, but for the first
   * `skip`, and goes on to find, of which `ahead` are known in advance. */
  const struct Region *seek;
  int skip, ahead;
  bool told, has_more; /* LOOP: a trip is made while `more`, the first if `entered` */
  Idx entered, more;
  Idx visited; /* LOOP with `seek`: the last one */
  /* SEEK: from span.hi down, not below span.lo, those for which `cond` is false, and
   * whether each of them `is_partial`.  The first few are `found`: below span.lo where
   * there are no more; but the first is span.lo then, and PARTIAL. */
  Idx is_partial;
  /* Of places in lists: the tile of each, whether the end of the keys alone hides any of
   * it, which may be known of all (`has_whole`), and the tile behind all keys that is first
   * where there is none. */
  bool listed, has_whole;
  Idx tile, is_whole, none;
  Idx first_whole; /* that of the first one */
  Idx found[WALK_AHEAD + 1];
  int n_found;
  Carry *carry;
  int n_carry;
} Region;

/* The warp's region around this one, or itself; NULL: none. */
static inline const Region *
region_warp(const Region *r)
{
  while (r && r->kind != OP_WARP)
    r = r->parent;
  return r;
}

typedef struct Var {
  Tile now;
  const struct Region *home;
  int id;
} Var;

/* A copy group in flight, while building. */
typedef struct Group {
  Ring *ring;     /* NULL: a plain copy … */
  SmemDecl *dest; /* … into this */
} Group;

/* A product in flight, while building. */
typedef struct InFlight {
  const Val *x;
  bool from_regs; /* its left operand is read from registers */
  int wait_id[2]; /* the stages that it reads */
} InFlight;

typedef struct Program {
  const char *entry; /* name of the kernel */
  int warps;
  int warps_n;  /* of them have the same rows … */
  bool by_keys; /* … and each its own keys: sums are a warp's, until they are merged */
  const Target *target;
  Region *top;
  IdxGraph idx; /* its owner is the Tb */
  VEC(Param) params;
  int n_places; /* of the signature */
  VEC(SmemDecl *) smem;
  VEC(Ring *) rings;
  VEC(Role *) roles;
  Idx grid[3], grid_without_workspace[3]; /* of the host */
  bool has_grid, has_grid_without_workspace;
  int cluster;    /* blocks, along x */
  int resident;   /* of a multiprocessor at least; 0: nothing is said */
  bool dependent; /* may begin before the step ahead of it has ended */
  bool waits;     /* … and waits for it */
  int bars;       /* named barriers in use; 0 is the whole block's */
  int n_any, n_found;
  int smem_bytes; /* by the plan */
  int n_vals, n_waits, n_regions;
  double scalar[CALL_SCALARS]; /* constants of specialised scalars, else NaN */
} Program;

/* Words of t_drop_state: Philox's key; the lower half of its counter but for the lane; of a
 * comparison of four bytes what is added to each, and whether the sum's bit alone decides.
 */
enum {
  DROP_KEY,
  DROP_COUNTER = DROP_KEY + 2,
  DROP_ADDEND = DROP_COUNTER + 2,
  DROP_EITHER,
  DROP_WORDS
};

/* Parts of the room of t_exchange: a value a row of each warp, and a tile of 16 bits. */
typedef enum ExchangePart { EXCHANGE_ROWS, EXCHANGE_COLS, EXCHANGE_PARTS } ExchangePart;
enum { SHARED_ROWS = 3 }; /* values a row of each warp that t_share_rows takes */

struct Tb {
  Arena *arena;
  jmp_buf *fail;
  attnc_error *err;
  Program *prog;
  Region *here;
  VEC(Var *) vars;
  VEC(Group) groups;
  VEC(InFlight) in_flight;        /* products in flight, in order of issue */
  bool waited;                    /* a product has been waited for */
  Val *last;                      /* result of the last word */
  int64_t known[SIZE_COUNT];      /* specialised sizes, -1: run-time */
  unsigned scalars;               /* that the call has: bits 1u << slot */
  const attnc_tensor *strides;    /* specialised, by slot; NULL: run-time */
  Smem exchange;                  /* room of t_exchange */
  bool exchanged[EXCHANGE_PARTS]; /* a warp may still read the part: no barrier since */
  struct Entry *entry;            /* the innermost open region */
  struct Build *build;            /* of whose kernel it is an entry; NULL: built by hand */
  const struct Call *call;        /* as the entry sees it; NULL: it does not look */
};

Tb *tile_new(Arena *, jmp_buf *fail, attnc_error *, const Target *, int warps);
Idx tile_size(Tb *, SizeId);
Idx tile_stride(Tb *, int slot, int dim);
Idx tile_param(Tb *, ParamKind, int slot, int dim);
Idx tile_loop_var(Tb *, const Region *);
/* Of a loop over a walk with a test: the tile of so many visits from this one on (from −1
 * on), and what of it; behind it, the last one that was visited. */
typedef enum TileFact {
  TILE_NUMBER,
  TILE_IS_PARTIAL,
  TILE_IS_THERE,
  TILE_IS_WHOLE
} TileFact;
Idx tile_ahead(const Region *, int by, TileFact);
Idx tile_visited(const Region *);
struct WalkTest {
  Tb *t;
  const Spec *spec;
  IdxBox box;    /* but for … */
  ExprVar along; /* … what a tile has several of: keys, or queries */
  Idx sk;
  const struct Region *loop; /* the last one over it */
};
/* A row of blocks whose lists are walked (tile_lists.c). */
typedef struct ListRow {
  Tb *t;
  const BlockLists *lists;
  Idx at[EXPR_AXES]; /* batch, head, row of blocks */
  Idx full;          /* blocks in the list of those seen whole */
  Idx blocks, sk;    /* of keys that there are; keys */
  int bn, each;      /* keys of a tile, tiles of a block */
  bool masks;        /* has the spec masks of its own? */
  Walk by_masks;     /* the walk that they make by themselves */
} ListRow;
/* A list of tiles that the call's mask leaves (w_listed). */
typedef struct TileList {
  Tb *t;
  const Lookup *words;
  Idx least; /* the tile that a block visits which has none */
} TileList;
Idx place_word(const TileList *, Idx n);
/* What is at place n of the lists; empty, partial: by the lists and the end of the keys
 * alone. */
typedef struct ListTile {
  Idx tile, empty, partial, whole;
} ListTile;
/* Of the walk that the masks of the spec make by themselves, with tiles from key 0 on. */
Walk walk_lists(Tb *, const Mask *, const WalkRows *, const Walk *by_masks);
ListTile list_tile(const ListRow *, Idx n);
void walk_loop(const Walk *, const Region *); /* the loop over it is this */
Idx walk_first_key(const Walk *, Idx n);      /* of tile n */
/* In a loop over a walk that is told, and before it: is there another tile? */
void tile_more(Tb *, Walk *, const Region *, Idx more);
Idx tile_any(Tb *, int id);
Idx tile_found(Tb *, bool nonneg);     /* a number that an operation finds */
Idx tile_found_early(Tb *, int depth); /* … before all that depends on it is hoisted */
Idx tile_sms(Tb *, int multiple);      /* of the host */
const Role *tile_role(const Tb *);     /* NULL: the kernel has none here */
int tile_warps(const Tb *);            /* of the team … */
int tile_warps_n(const Tb *);          /* … that have the same rows */
const ProductInfo *tile_product(const Tb *); /* how the team multiplies */
void tile_leaf_print(Str *, const Node *);   /* for idx_print */

/* Gives the operation its part of the room of t_exchange, where the team's warps have parts
 * of its operand's columns. */
void tile_exchange(Tb *, Op *, ExchangePart);

void tile_reachable(Tb *, Tile); /* the compile ends where its value is not at hand */
void tile_readable(Tb *, Smem);  /* … where the box is not, yet; it is read */
void tile_barrier_passed(Tb *);  /* a barrier of the block */

/* Passes. */
void tile_verify(Tb *);
/* Takes their places from the parameters that no operation reads. */
void tile_drop_params(Tb *);
void tile_plan(Tb *);
typedef struct TileCount {
  int64_t mma, ldmatrix, ex2, fp32, cp_async, shuffles, barriers; /* per warp */
  int64_t wgmma; /* instructions, of a warpgroup */
  bool partial;  /* of a PARTIAL tile too */
} TileCount;
/* Of one trip through a body for a FULL or a PARTIAL tile (the whole kernel: cls < 0). */
TileCount tile_count(const Program *, int cls);
void tile_print(const Program *, Str *);
void tile_print_spans(const Program *, const Walk *, Str *);

/* Building, for tile_words.c and tile_loop.c. */
Op *tile_op(Tb *, OpKind);
Val *tile_val(Tb *, int rows, int cols, Dtype, Lay);
SmemDecl *tile_decl(Tb *, Smem);
bool tile_in(const Tb *, OpKind);            /* inside a region of this kind */
int tile_bars(Tb *, int n);                  /* first of n named barriers */
void tile_map(Tb *, const View *, int rows); /* declares the view's tensor map */

/* Shapes that words and lowering share. */

/* Of a lane tile a lane has eight columns of each 256. */
enum { LANE_COLS = 8, WARP_COLS = 32 * LANE_COLS, LANE_COLS_MOST = 2 * WARP_COLS };

static inline int
round_up(int x, int m)
{
  return (x + m - 1) / m * m;
}
static inline int
lane_groups(int cols)
{
  return (cols + WARP_COLS - 1) / WARP_COLS;
}
static inline int
val_tiles_m(const Val *v) /* blocks of 16 rows that a warp has */
{
  return v->rows / (16 * v->warps);
}
/* Columns that a warp has: of those of several warps whole pairs of 8, the last warps' past
 * the end of a tile whose columns do not come out even. */
static inline int
val_cols(const Val *v)
{
  int n = v->warps_n;
  return n == 1 ? v->cols : round_up((v->cols + n - 1) / n, v->narrow ? 8 : 16);
}
/* Of a dealt tile: columns of a warp, blocks of 8, of which the warps have every n-th. */
static inline int
val_dealt_cols(const Val *v)
{
  return v->cols / v->warps_n;
}
static inline int
val_col_values(const Val *v) /* values of COL that a thread holds */
{
  return v->cols / 8 * 2;
}
static inline bool
smem_is_column(const SmemDecl *d)
{
  return d->cols == 1;
}
static inline int
val_steps(const Val *v) /* of a left operand */
{
  return v->cols / dtype_in(v->ty, STEP_BYTES);
}
/* Does each warp multiply with the part of the depth that it has? */
static inline bool
val_part_depth(const Val *left)
{
  return left && left->warps_n > 1;
}
/* Passes of a copy of so many rows, of which a warp takes four in each; and registers of 32
 * rows, a lane each, of those that are its. */
enum { COPY_WARP_ROWS = 4 };
static inline int
copy_passes(int rows, int warps)
{
  return (rows + COPY_WARP_ROWS * warps - 1) / (COPY_WARP_ROWS * warps);
}
static inline int
val_copy_values(const Val *v)
{
  int passes = 32 / COPY_WARP_ROWS;
  return (copy_passes(v->rows, v->warps) + passes - 1) / passes;
}
static inline int
val_row_values(const Val *v) /* values of ROW that a thread holds */
{
  return v->rows == v->warps ? 1 : 2 * val_tiles_m(v);
}
/* Registers a thread with which a kernel that moves them between roles starts. */
static inline int
tile_entry_regs(const Program *p)
{
  return 65536 / (32 * p->warps) / 8 * 8;
}
static inline int
tile_exchange_rows(int warps_n, int rows) /* bytes of EXCHANGE_ROWS */
{
  return warps_n * rows * dtype_bytes(DT_F32);
}
static inline bool
smem_from_start(const Smem *s) /* its rows are the first ones */
{
  return !s->row.node && s->row.k == 0;
}
/* The depth of a product whose right operand is this, or of a left one that has so many
 * columns, in whole steps. */
static inline int
smem_depth(const Smem *right)
{
  int step = dtype_in(right->mem->ty, STEP_BYTES);
  return right->trans ? round_up(right->cols, step) : right->rows;
}
static inline int
op_steps(const Op *product) /* of a warp */
{
  const Smem *right = &product->smem;
  int depth = val_part_depth(product->in[1]) ? val_cols(product->in[1]) : smem_depth(right);
  return depth / dtype_in(right->mem->ty, STEP_BYTES);
}

#endif
