/* tile.h: the vocabulary in which kernel templates are written.
 *
 * A template says which memory holds what, how many stages there are and in which order
 * asynchronous work is issued and waited for.  It never names a register, a thread, a
 * fragment index, a swizzle or a count of outstanding copies.
 *
 * Two kinds of word.  Pure words (i_ index expressions, v_ views of tensors, s_ views of
 * shared memory, w_ walks over tiles: walk.h) describe; they append nothing and nest
 * freely. Emitting words (t_) append one operation to the tile program in the order in
 * which they are called: at most one of them in an argument list or initialiser, since C
 * leaves the order of evaluation open (linted).  T_ROLE, T_WARP, T_FOR, T_FOR_TILES and
 * T_IF open a region of the program; plain C `if` and `for` decide while generating.
 *
 * Team.  The warps that hold a tile together: all of a kernel without roles, else `warps`
 * of its role, which has `teams` such teams.  On a target with wgmma the products of a role
 * are wgmma's: they are in flight until t_wait, and a team is a warpgroup.
 *
 * Nothing here fails visibly: a misuse ends the compile through t_fail, caught in gen.c.
 * Everything lives in the arena of the compile.  Rules for what may stand where are in
 * docs/templates.md; the checks are in tile_verify.c. */
#ifndef ATTNC_COMPILER_TILE_H
#define ATTNC_COMPILER_TILE_H

#include "compiler/expr/idx.h"
#include "compiler/spec/spec.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Tb Tb; /* the builder of one tile program */

_Noreturn void t_fail(Tb *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- leaves of index expressions (compiler/expr/idx.h) ---- */

Idx i_cta(Tb *, int axis);  /* this block's place in the grid, axis 0 … 2 */
Idx i_ctas(Tb *, int axis); /* blocks along it */
Idx i_team(Tb *);           /* which team of its role this is */
/* Which thread of its block, in an entry without roles.  What depends on it is no number of
 * the block's: it is for lists that a block makes (below), for t_sequence, and for T_FOR
 * with as many trips for each thread of a warp. */
Idx i_thread(Tb *);
/* An i32 element of a table, the nearest where an index is out of range; 0 of an empty
 * axis. */
struct Lookup;
Idx i_element(Tb *, const struct Lookup *, const Idx *index);
/* An element of an i32 table of one axis that is 0 or more: what callers promise of lengths
 * and of where they begin.  The index is in range. */
Idx i_length(Tb *, const struct Lookup *, Idx index);
/* A list of numbers that the kernel carries; the numbers are copied. */
const Table *t_table(Tb *, const int32_t *, int n);

/* ---- tensors of the call, and boxes of them ---- */

typedef struct Tensor {
  const char *name;
  int slot;       /* ATTNC_Q …, or the number of a region of workspace */
  bool workspace; /* it is such a region (compiler/build.h) */
  Dtype ty;
  int cols;      /* elements of a row; 1 for lse */
  Idx rows;      /* sq or sk */
  Idx stride[3]; /* of batch, head and row, in elements */
  Idx each;      /* … and from one of several to the next (v_nth) */
  bool no_batch; /* it has no such axis: sequences stand one behind the other, or … */
  bool no_head;  /* … all have the same, as of a table */
} Tensor;

/* A table that expressions read.  Of an axis that is a size of the call the length is that
 * size; what is behind is not read. */
typedef struct Lookup {
  const char *name;
  int slot;
  Dtype ty;       /* i32, fp32, fp16, bf16 */
  bool workspace; /* it is a region of workspace, `slot` its number (compiler/build.h) */
  int n_axes;
  Idx length[EXPR_AXES], stride[EXPR_AXES]; /* in elements; that of the last axis is 1 */
  Idx first;                                /* elements of the tensor before its first */
} Lookup;

/* Lists of blocks that the call has (`block_list`): of each batch, head and row of blocks
 * how many there are, and which.  Blocks of the one list are seen whole, of the other as
 * the mask says. */
typedef enum ListKind { LIST_FULL, LIST_PARTIAL, LIST_KINDS } ListKind;
typedef struct BlockLists {
  int rows, keys; /* of a block */
  Lookup n[LIST_KINDS], at[LIST_KINDS];
} BlockLists;

typedef struct View {
  const Tensor *x;
  Idx b, h;
  Idx nth;         /* which of several that the tensor has */
  Idx origin, row; /* the row of the tensor from which rows are counted; the first row
                      (packed heads: position) */
  int n;           /* rows */
  bool in_bounds;  /* no row is past the end: a promise */
  int pack;        /* > 1: rows are (position, head of the group), `h` is the key head */
  bool cut;        /* rows from `end` on count as past the end of the tensor, too */
  Idx end;
  const Lookup *pages; /* NULL, or x is pages, rows are of a sequence, and its row
                          `table_row` lists the pages in which they are, … */
  Idx table_row, page_size;
  const struct Val *ids; /* … of which these are known; NULL: they are looked up */
  bool part;    /* of each row the elements from `col` on, as many as x->cols … */
  bool ragged;  /* … of which those from `behind` on count as past the end */
  bool aligned; /* each row's part begins at a multiple of 16 bytes: a promise */
  Idx col, behind;
} View;

/* Rows past the end are zeros on the way in and not written on the way out. */
View v_rows(const Tensor *, Idx b, Idx h, Idx row, int n);
View v_in_bounds(View);
View v_predicated(View); /* takes a promise back: some or all rows may be past the end */
View v_pack(View, int group);
View v_until(View, Idx end); /* end: at most the tensor's rows */
View v_uncut(View);          /* takes v_until back: rows behind the end come as they are */
/* Counts rows from this row of the tensor on.  The tensor's end is then not the view's,
 * which v_until or v_in_bounds says. */
View v_from(View, Idx origin);
/* Its rows are counted through the pages that row `b` of the table lists, of page_size rows
 * each.  Rows past the end are in no page: what the table has of them is not read.  Of
 * loads, and of rings; by TMA, which a whole warp does (T_WHOLE_WARP), boxes have as many
 * rows as the largest power of 2 that divides a page and the view, `row` is a multiple of
 * that, and nothing was counted from another row (v_from). */
View v_paged(View, const Lookup *table, Idx b, Idx page_size);
View v_nth(View, Idx i); /* of a tensor that has several of what others have once: that */
View v_page_ids(View, const struct Val *ids); /* by t_page_ids, of the same rows or more */
/* Of rings.  By cp.async what is not aligned comes element by element; by TMA `col` may be
 * any, and the end is the tensor's. */
View v_cols(View, Idx col, bool aligned);
View v_cols_until(View, Idx behind);

/* ---- shared memory ---- */

typedef struct SmemDecl SmemDecl;
typedef struct Ring Ring;

/* A box of shared memory: rows x cols of one type, kept as panels of 128 bytes x rows in
 * the 128-byte swizzle (16-byte chunk ^= row % 8), columns padded to whole panels.  One of
 * a single column lies in one piece, row after row: t_cols reads it. */
typedef struct Smem {
  const SmemDecl *mem;
  int rows, cols;
  bool trans;  /* the mathematics reads it transposed; nothing moves */
  int wait_id; /* id of the consumer_wait that gave this stage of a ring, 0: no ring */
  Idx row;     /* its first row in the box that was declared; a multiple of 8 */
  Idx panel;   /* its first panel: of operands of products alone */
} Smem;

/* One stage of a ring in hand. */
typedef struct Slot {
  Smem s;
  Ring *ring;
  int wait_id;
} Slot;

/* Parts of a row: what a thread copies, what a step of a product reads, what a panel has.
 */
enum { CHUNK_BYTES = 16, STEP_BYTES = 32, PANEL_BYTES = 128 };

Smem s_trans(Smem);
Smem s_cols(Smem, int cols);             /* its first columns */
Smem s_rows(Smem, Idx row, int n);       /* n rows of it from `row` on */
Smem s_panel(Smem, Idx panel, int cols); /* columns of it from one of its panels on */
int s_bytes(Dtype, int rows, int cols);  /* what a box takes */

Smem t_smem(Tb *, const char *name, Dtype, int rows, int cols);
/* The memory of a ring, of what was declared behind it, and more if it needs more: for when
 * a barrier of the block stands behind all that was read of them, and nothing is on its
 * way. */
Smem t_smem_over(Tb *, const Ring *first, const char *name, Dtype, int rows, int cols);
/* Who fills the stages: the threads of the block by cp.async; one lane by TMA; of a box of
 * one column all lanes of a warp (T_WHOLE_WARP), element by element.  Of the last two
 * mbarriers guard the stages, and whoever fills is not who consumes. */
typedef enum Fill { FILL_COPY, FILL_TMA, FILL_LANES } Fill;
static inline bool
fill_is_guarded(Fill fill)
{
  return fill != FILL_COPY;
}
/* What the L2 cache shall do with the lines of a producer_load. */
typedef enum Hint { HINT_NONE, HINT_ONCE, HINT_KEEP } Hint;

typedef struct RingArgs {
  const char *name;
  Fill fill;
  Dtype ty;
  int rows, cols, stages;
  int consumers; /* guarded: warps that release each stage */
  int cluster;   /* FILL_TMA: 2: two blocks of a cluster fetch half of the rows each */
  bool word;     /* FILL_TMA: a number goes with each stage */
} RingArgs;
int ring_bytes(const RingArgs *); /* what its stages and mbarriers take */
Ring *t_ring_(Tb *, const RingArgs *);
#define t_ring(t, ...) t_ring_((t), &(RingArgs){__VA_ARGS__})

typedef struct ProducerArgs {
  View src;
  const Idx *when; /* FILL_COPY: only if true, yet the stage counts; NULL: always */
  Hint hint;       /* FILL_TMA */
  const Idx *word; /* of the stage, if the ring has words; without `src` it goes alone */
} ProducerArgs;
void t_producer_load_(Tb *, Ring *, const ProducerArgs *);
#define t_producer_load(t, r, ...) t_producer_load_((t), (r), &(ProducerArgs){__VA_ARGS__})
/* FILL_TMA: the next stage, once it is empty, is the consumers' to write; it counts. */
void t_producer_lend(Tb *, Ring *);
/* The oldest filled stage, visible to the whole block. */
Slot t_consumer_wait(Tb *, Ring *);
/* FILL_TMA: the same stage, which t_consumer_wait will still give. */
Slot t_consumer_peek(Tb *, Ring *);
Idx t_stage_word(Tb *, Slot); /* the number that goes with the stage */
/* `second` or else `first`, of two stages that are held: to use, not to release. */
Slot t_consumer_either(Tb *, Idx is_second, Slot first, Slot second);
void t_consumer_release(Tb *, Slot); /* I shall not read it again */
/* The ids of the pages of a paged view's rows, as the threads that will copy them need
 * them, if `is`: a load for 32 rows of a warp, in flight until they are needed, so that
 * they are there when the copy is due.  In a whole warp that loads by TMA: of the first 32
 * boxes. */
const struct Val *t_page_ids(Tb *, View, Idx is);
/* The rows into the L2 cache, if `is`, by all threads of the block: a hint, of which
 * nothing is waited for. */
void t_prefetch(Tb *, View, Idx is);
void t_copy(Tb *, Smem, View);     /* a copy that is in no ring … */
void t_copy_wait(Tb *);            /* … has arrived, visible to the whole block */
void t_copy_out(Tb *, View, Smem); /* shared memory → tensor, after a barrier of the team */
void t_send_out(Tb *, View, Smem); /* the same by TMA: in flight until … */
void t_out_wait(Tb *);             /* … it has been read */

/* Room through which warps that have the same rows exchange what they have of them: bytes
 * for `rows` x `cols` of a tile that t_allgather_cols makes whole; 0 for one warp. */
int exchange_bytes(int warps_n, int rows, int cols, Dtype);
int share_bytes(int warps_k, int rows); /* of t_share_rows … */
int merge_bytes(int warps_k, int cols); /* … and room of t_merge_cols */
void t_exchange(Tb *, Smem);

/* ---- the launch ahead, and the one behind (EntryArgs.dependent in compiler/build.h) ----
 */

/* All that the step ahead did is done and seen; first in whoever looks at its results. */
void t_grid_wait(Tb *);
void t_grid_trigger(Tb *); /* the step behind may begin: a hint, where the target has it */

/* ---- sequences of a packed batch ---- */

/* Blocks of so many rows are numbered through a batch of n sequences, of which `first` says
 * each one's first row: those of sequence b from first[b] / rows + b on, which leaves each
 * one enough, and some none.  The sequence that has the block of a number: the last one
 * whose blocks begin there or before. */
Idx t_sequence(Tb *, const Lookup *first, Idx n, Idx block, int rows);

/* ---- lists that a block of threads makes, sorted by counting ---- */

/* n counters of each warp, all 0: n * warps is a multiple of 128 for each warp.  With
 * barriers of the block, as t_bins_scan has them: neither stands in a loop or a branch. */
typedef struct Bins Bins;
Bins *t_bins(Tb *, int n);
/* Of the threads of which `when` is true: so many more in the bin. */
void t_bins_add(Tb *, const Bins *, Idx bin, Idx by, Idx when);
/* Each counter becomes the sum of those before it: of lower bins, and of the same bin those
 * of lower warps.  The sum of all. */
Idx t_bins_scan(Tb *, const Bins *);
/* The next place in the bin, of each thread of which `when` is true.  A warp that takes as
 * it has added has its places in the order of its trips and lanes. */
Idx t_bins_take(Tb *, const Bins *, Idx bin, Idx when);
Idx t_bins_take_n(Tb *, const Bins *, Idx bin, Idx n, Idx when); /* the first of n places */
/* Element `at` of a column of an i32 region, by each thread of which `when` is true. */
void t_store_word(Tb *, const Lookup *, Idx at, Idx value, Idx when);

/* ---- barriers ---- */

typedef struct OrderBarrier OrderBarrier; /* passed round between the teams of a role */

void t_sync(Tb *);        /* the team */
void t_sync_role(Tb *);   /* all teams of the role */
void t_fence_async(Tb *); /* my writes to shared memory, before TMA or wgmma sees them */
OrderBarrier *t_order_barrier(Tb *, int teams);
void t_order_init(Tb *, OrderBarrier *);   /* once in each team: the first team's turn */
void t_order_wait(Tb *, OrderBarrier *);   /* waits for my turn at the tensor cores */
void t_order_arrive(Tb *, OrderBarrier *); /* the next team's turn */

/* ---- tiles: immutable values in the registers of the block ---- */

typedef const struct Val *Tile;

/* Left operand of a product: registers or shared memory. */
typedef struct Opnd {
  Tile tile; /* NULL: smem */
  Smem smem;
} Opnd;
static inline Opnd
opnd_tile(Tile x)
{
  return (Opnd){.tile = x};
}
static inline Opnd
opnd_smem(Smem x)
{
  return (Opnd){.tile = NULL, .smem = x};
}
#define OP(x) _Generic((x), Tile : opnd_tile, Smem : opnd_smem)(x)

Tile t_zero(Tb *, int rows, int cols);       /* fp32 zeros in the accumulator layout */
Tile t_zero_lanes(Tb *, int rows, int cols); /* the same in the layout of t_load */
Tile t_rows(Tb *, int rows, double k);       /* one value a row */
Tile t_unset(Tb *, int rows, int cols);      /* no value yet, for t_dot_acc_if alone */
Tile t_thread_sums(Tb *, int rows); /* zero row sums, of which each lane has a part */
Tile t_const(Tb *, double k);       /* one value */
/* A numeric argument of the call times k: the spec's constant where it is specialised. */
Tile t_scalar(Tb *, int slot, double k);
bool t_has_scalar(const Tb *, int slot); /* does the call have it? */
Tile *t_var(Tb *, Tile);                 /* a variable: assign through the pointer */

/* Elementwise, fp32; a row, column or scalar operand is broadcast. */
Tile t_add(Tb *, Tile a, Tile b);
Tile t_sub(Tb *, Tile a, Tile b);
Tile t_mul(Tb *, Tile a, Tile b);
Tile t_max(Tb *, Tile a, Tile b);
Tile t_min(Tb *, Tile a, Tile b);
Tile t_fma(Tb *, Tile a, Tile b, Tile c); /* a·b + c */
Tile t_fms(Tb *, Tile a, Tile b, Tile c); /* a·b − c */
Tile t_exp2(Tb *, Tile);
/* The same, `poly` of each 16 registers by a polynomial on the multiply-add units. */
Tile t_exp2_mixed(Tb *, Tile, int poly);
Tile t_exp2_near(Tb *, Tile);       /* within an ulp of fp32 */
Tile t_residual(Tb *, Tile, Dtype); /* less what it is in 16 bits */
Tile t_log2(Tb *, Tile);
Tile t_rcp(Tb *, Tile);
Tile t_select_nonzero(Tb *, Tile c, Tile a);                  /* 0 where c is 0, else a */
Tile t_select_gt(Tb *, Tile c, Tile a, Tile b, double k);     /* a where c > k, else b */
Tile t_select_abs_gt(Tb *, Tile c, Tile a, Tile b, double k); /* a where |c| > k, else b */
/* Of rows whose columns several warps have (EntryArgs.warps_n) all of these are of the
 * whole rows: the warps exchange what they have, with a barrier of the block. */
Tile t_row_max(Tb *, Tile);
Tile t_row_thread_sum(Tb *, Tile); /* each lane's share of the row sums */
Tile t_row_allreduce(Tb *, Tile);  /* the lanes' parts added up */
Tile t_cvt(Tb *, Tile, Dtype);     /* to 16 bits: becomes a left operand */
/* All columns in each of the warps that have parts of them, itself where a warp has all: a
 * left operand has its whole depth. */
Tile t_allgather_cols(Tb *, Tile);

/* Of warps that have keys of their own (EntryArgs.warps_k): up to three values a row of
 * each, for all of them, with a barrier of the block … */
typedef struct SharedRows {
  int n;
  Tile of[3];
} SharedRows;
void t_share_rows(Tb *, const SharedRows *);
Tile t_peer_rows(Tb *, const SharedRows *, int value, int warp); /* … those of one warp */
/* The sum over the warps, in their order, of which each has a part of the columns; through
 * room for 16 rows of each warp, with barriers of the block. */
Tile t_merge_cols(Tb *, Tile, Smem room);

/* What t_merge_cols gave, as the threads hold it, in one row of a region of workspace: for
 * the same threads of any CTA.  part_cols: fp32 numbers of it. */
int part_cols(int warps_k, int rows, int cols);
void t_store_part(Tb *, View, Tile);
Tile t_load_part(Tb *, View, int rows, int cols);
/* x · own + part · its, a value a row each: piece by piece, so that a thread need not have
 * both at once. */
Tile t_add_part(Tb *, View, Tile x, Tile own, Tile its);
/* Is this the last of n CTAs that come to the counter, which is 0 before the first and
 * behind the last?  It then sees whatever the others stored before they came.  Of 1 it is,
 * and nothing is asked.  With barriers of the block. */
Idx t_last(Tb *, View counter, Idx n);

Tile t_get(Tb *, Smem);       /* a left operand in registers */
void t_put(Tb *, Smem, Tile); /* 16-bit tile → shared memory */
Tile t_cols(Tb *, Smem); /* of a box of one column: one value a column of accumulators */
/* a·b, acc + a·b; b is in shared memory, s_trans where the mathematics transposes.  In
 * flight where the team's products are wgmma's: t_wait gives the value. */
Tile t_dot_(Tb *, Opnd a, Smem b);
Tile t_dot_acc_(Tb *, Tile acc, Opnd a, Smem b);
/* acc + a·b where acc is `set`, else a·b: wgmma's alone. */
Tile t_dot_acc_if_(Tb *, Tile acc, Idx set, Opnd a, Smem b);
#define t_dot(t, a, b)                  t_dot_((t), I_OPND(a), (b))
#define t_dot_acc(t, acc, a, b)         t_dot_acc_((t), (acc), I_OPND(a), (b))
#define t_dot_acc_if(t, acc, set, a, b) t_dot_acc_if_((t), (acc), (set), I_OPND(a), (b))
static inline Opnd
opnd_itself(Opnd x)
{
  return x;
}
#define I_OPND(x) _Generic((x), Opnd : opnd_itself, Tile : opnd_tile, Smem : opnd_smem)(x)

/* a·b of two boxes that any warp may have written, ahead of a barrier; a is s_trans. Blocks
 * of 16 rows and of 8 columns are dealt to the warps, which rows x cols must allow: what
 * comes out is for t_reduce_out alone. */
bool deal_is_even(int warps, int rows, int cols);
int deal_rows(int warps, int rows,
              int cols); /* warps along the rows, the others along the columns */
Tile t_dot_dealt(Tb *, Smem a, Smem b);
/* Sums of fp32 in a region of workspace, to which any CTAs add: in an order that nobody
 * knows.  16 rows of a tile, as threads hold them, are a row of the region, of sum_cols. */
int sum_cols(int cols);
void t_reduce_out(Tb *, View, Tile);
/* The same of a part of the columns, from `first` on, which a team of a role has. */
void t_reduce_cols(Tb *, View, Tile, Idx first);
Tile t_load_sums(Tb *, View, int rows, int cols); /* an accumulator; zeros past the end */

Tile t_concat_cols(Tb *, Tile a, Tile b); /* the columns of a, then those of b */
Tile t_wait(Tb *, Tile);                  /* x, ready; itself if it is */
Idx t_any_not1(Tb *, Tile); /* does a lane of the warp hold a value that is not 1 */
Idx t_any_abs_gt(Tb *, Tile, Tile k); /* … one beyond k (one value) on either side of 0 */

void t_store_rows(Tb *, View, Tile); /* one number a row, out, rounded to the tensor's */
void t_store_sums(Tb *, View, Tile); /* accumulators into a tensor of fp32, as they are */
Tile t_load_rows(Tb *, View);        /* … and in; 0 past the end */
/* The slow road of ref_fwd: a row a warp, eight columns of each 256 a lane, fp32 in
 * registers. */
Tile t_load(Tb *, View);
void t_store(Tb *, View, Tile);
/* Rows of which the first `dim` elements come turned, by the cosines and sines of their
 * positions: pairs are elements i and i + dim / 2, or 2i and 2i + 1.  The position nearest
 * in the tables is taken of one that is out of range. */
typedef struct RopeArgs {
  const Lookup *cos, *sin; /* [positions, dim / 2] */
  Idx at;                  /* position of the view's first row … */
  bool same;               /* … and of all */
  int dim;
  bool interleaved;
} RopeArgs;
Tile t_load_rope(Tb *, View, const RopeArgs *);
Tile t_row_dot(Tb *, Tile a, Tile b); /* Σ over columns, one value a row */
/* One row of a tensor, the same for every warp. */
Tile t_load_one(Tb *, View);

/* ---- masks and scores ---- */

/* The expressions of a spec in one call, which computes them (compiler/tile/tile_expr.h).
 */
typedef struct Mods {
  const Spec *spec;
  bool near; /* functions of f32 are right to a few ulp: for kernels of fp32 */
  Idx sq, sk;
  const Lookup *tables; /* by the index that loads have */
} Mods;

typedef struct Mask {
  Band band;
  Idx sq, sk;
  const Mods *mods; /* whose mask_mod hides keys besides; NULL: the band alone decides */
  bool cut;         /* K and V may have rows behind the sk keys */
  bool aligned;     /* walks' tiles begin at multiples of their keys, … */
  int step;         /* … or of so many; 0: anywhere */
  const BlockLists *lists; /* of the blocks that are seen at all; NULL: all of them are */
  /* Rows are keys and columns are queries: `sq` and `sk` have changed places, and the band
   * with them. */
  bool turned;
  /* Rows from `sq` on hide all: what is made of a row goes into sums of several.  A block
   * that has some has no FULL tile. */
  bool rows_end;
} Mask;
/* The same mask for tiles of scores whose rows are keys, and for walks over queries. */
Mask mask_turned(const Mask *);
/* The same mask of a tile that is seen whole: the end of the keys alone hides any. */
Mask mask_of_end(const Mask *);

/* Where a tile of scores lies: first query, first key, batch and heads. */
typedef struct At {
  Idx q, k, b;
  Idx h, hk;   /* query head (of packed rows: nobody asks), key head */
  int pack;    /* > 1: row r is query q + r / pack of head hk · pack + r % pack */
  bool turned; /* its rows are keys, its columns queries */
} At;

Tile t_mask(Tb *, const Mask *, Tile x, At);  /* −inf where masked */
Tile t_score(Tb *, const Mods *, Tile x, At); /* x · softmax_scale after every score_mod */
/* What a change of x · softmax_scale is worth in t_score(x), of the same x: where
 * spec_score_has_slope.  What both compute is computed once where both stand in one place.
 */
Tile t_score_slope(Tb *, const Mods *, Tile x, At);
/* What a change of the element of a table is, that of one of spec->grads but the sink. */
Tile t_score_slope_by(Tb *, const Mods *, Tile x, At, int grad);
/* The elements of a table that one load of the score_mod reads in this tile, in shared
 * memory: spec_score_tile. */
typedef struct TableTile {
  const Expr *load;
  Smem s;
} TableTile;
Tile t_score_beside(Tb *, const Mods *, Tile x, At, const TableTile *);
Tile t_sink(Tb *, const Mods *, int rows, At); /* the sink's logit, one a row */

/* ---- dropout: random bytes, as FlashAttention-2 has them (docs/dropout.md) ---- */

/* What tells which weights of a batch and query head, of so many heads, are dropped: seed
 * and offset are read here. */
Tile t_drop_state(Tb *, const Lookup *rng_state, Idx b, Idx h, Idx heads);
/* A byte for each weight of a tile, turned or not, whose highest bit says that it is
 * dropped. Its first key is a multiple of 16, and so is its first query, which is a
 * promise; of a row a warp and one column they may be any. */
Tile t_drop(Tb *, Tile state, int rows, int cols, At);
Tile t_keep(Tb *, Tile drop, Tile x); /* 0 where dropped, else x; fp32 or 16 bits */
Tile t_kept_factor(Tb *);             /* 1 / (1 − dropout_p), one value */
/* 1 where it is kept, 0 where dropped, as bytes of [b, h, q, kv]. */
void t_store_keep(Tb *, const Lookup *keep, Tile drop, At);

/* ---- regions: roles, loops, branches ---- */

typedef struct RoleArgs {
  const char *name;
  int teams, warps; /* a team's */
  int regs;         /* registers a thread (setmaxnreg); 0: as launched */
} RoleArgs;
#define T_NAME_(a, b) a##b
#define T_NAME(a, b)  T_NAME_(a, b)
/* The next teams · warps warps of the block do this, no other role does. */
#define T_ROLE(t, ...)                                                                     \
  for (bool T_NAME(open_, __LINE__) = t_role_begin((t), &(RoleArgs){__VA_ARGS__});         \
       T_NAME(open_, __LINE__); T_NAME(open_, __LINE__) = t_region_end((t)))
/* All lanes of warp i of the role: TMA is the work of one of them, and each has the id of a
 * page (t_page_ids). */
#define T_WHOLE_WARP(t, i)                                                                 \
  for (bool T_NAME(open_, __LINE__) = t_whole_warp_begin((t), (i));                        \
       T_NAME(open_, __LINE__); T_NAME(open_, __LINE__) = t_region_end((t)))
/* One elected lane of warp i of the role. */
#define T_WARP(t, i)                                                                       \
  for (bool T_NAME(open_, __LINE__) = t_warp_begin((t), (i)); T_NAME(open_, __LINE__);     \
       T_NAME(open_, __LINE__) = t_region_end((t)))
/* if (c): there is no else.  Nothing is emitted where c is known to be false. */
#define T_IF(t, c)                                                                         \
  for (int T_NAME(open_, __LINE__) = t_if_begin((t), (c)); T_NAME(open_, __LINE__);        \
       T_NAME(open_, __LINE__) = t_if_end((t), T_NAME(open_, __LINE__)))
/* The same where c is hardly ever true: the code is out of the way of what always runs. */
#define T_RARE(t, c)                                                                       \
  for (int T_NAME(open_, __LINE__) = t_rare_begin((t), (c)); T_NAME(open_, __LINE__);      \
       T_NAME(open_, __LINE__) = t_if_end((t), T_NAME(open_, __LINE__)))
/* if (c): a block of work that there is.  Whatever it needs is computed inside, and c is
 * the same for all of the block of threads, so that barriers may stand there.  Rings may be
 * left with stages filled, if it is the last that looks at them. */
#define T_WORK(t, c)                                                                       \
  for (int T_NAME(open_, __LINE__) = t_work_begin((t), (c)); T_NAME(open_, __LINE__);      \
       T_NAME(open_, __LINE__) = t_if_end((t), T_NAME(open_, __LINE__)))
/* for (i = lo; i < hi; i += step) */
#define T_FOR(t, i, span)                                                                  \
  for (ForState T_NAME(for_, __LINE__) = t_for_begin((t), (span));                         \
       T_NAME(for_, __LINE__).open; t_for_end((t), &T_NAME(for_, __LINE__)))               \
    for (Idx i = T_NAME(for_, __LINE__).i; T_NAME(for_, __LINE__).fresh;                   \
         T_NAME(for_, __LINE__).fresh = false)

/* Of step 0: t_for_next says in the loop's body, once, what comes after i. */
typedef struct Span {
  Idx lo, hi, step;
} Span;
void t_for_next(Tb *, Idx);
typedef struct ForState {
  Idx i;
  bool open, fresh, region;
} ForState;
bool t_role_begin(Tb *, const RoleArgs *);
bool t_warp_begin(Tb *, int warp);
bool t_whole_warp_begin(Tb *, int warp);
bool t_region_end(Tb *);
int t_if_begin(Tb *, Idx);
int t_rare_begin(Tb *, Idx);
int t_work_begin(Tb *, Idx);
int t_if_end(Tb *, int);
ForState t_for_begin(Tb *, Span);
void t_for_end(Tb *, ForState *);

const struct Target *t_target(const Tb *);
Arena *t_arena(const Tb *); /* of the compile: what is made there lives as long */

#endif
