/* tile.h: the vocabulary in which kernel templates are written.
 *
 * A template says which memory holds what, how many stages there are and in which order
 * asynchronous work is issued and waited for.  It never names a register, a thread, a
 * fragment index, a swizzle or a count of outstanding copies.
 *
 * Two kinds of word.  Pure words (i_ index expressions, v_ views of tensors, s_ views of
 * shared memory, w_ walks over tiles) describe; they append nothing and nest freely.
 * Emitting words (t_) append one operation to the tile program in the order in which they
 * are called: at most one of them in an argument list or initialiser, since C leaves the
 * order of evaluation open (linted).  T_FOR_TILES opens a region of the program; plain C
 * `if` and `for` decide while generating.
 *
 * Nothing here fails visibly: a misuse ends the compile through t_fail, caught in gen.c.
 * Everything lives in the arena of the compile.  Rules for what may stand where are in
 * docs/templates.md; the checks are in tile_verify.c. */
#ifndef ATTNC_COMPILER_TILE_H
#define ATTNC_COMPILER_TILE_H

#include "compiler/spec.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Tb Tb; /* the builder of one tile program */

_Noreturn void t_fail(Tb *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- index expressions: scalar integers and conditions, equal for the whole block ---- */

typedef struct Node Node;
typedef struct Idx {
  const Node *node; /* NULL: the constant k */
  int64_t k;
} Idx;

static inline Idx
i_int(int64_t k)
{
  return (Idx){ .node = NULL, .k = k };
}
static inline Idx
idx_itself(Idx x)
{
  return x;
}
/* Lets an int stand where an Idx is due. */
#define I(x) _Generic((x), Idx : idx_itself, default : i_int)(x)

#define i_add(a, b) idx_add(I(a), I(b))
#define i_sub(a, b) idx_sub(I(a), I(b))
#define i_mul(a, b) idx_mul(I(a), I(b))
#define i_div(a, b) idx_div(I(a), I(b))   /* floor */
#define i_cdiv(a, b) idx_cdiv(I(a), I(b)) /* ceiling; a >= 0 */
#define i_min(a, b) idx_min(I(a), I(b))
#define i_max(a, b) idx_max(I(a), I(b))
#define i_lt(a, b) idx_lt(I(a), I(b))
#define i_le(a, b) i_lt(a, i_add(b, 1))
Idx idx_add(Idx, Idx);
Idx idx_sub(Idx, Idx);
Idx idx_mul(Idx, Idx);
Idx idx_div(Idx, Idx);
Idx idx_cdiv(Idx, Idx);
Idx idx_min(Idx, Idx);
Idx idx_max(Idx, Idx);
Idx idx_lt(Idx, Idx);
bool i_known(Idx, int64_t *k);          /* is it a constant, and which */
bool i_multiple(Idx, int64_t m);        /* is it proved to be a multiple of m */
Idx i_cta(Tb *, int axis);              /* this block's place in the grid, axis 0 … 2 */

/* ---- tensors of the call, and boxes of them ---- */

typedef struct Tensor {
  const char *name;
  int slot;      /* ATTNC_Q … */
  Dtype ty;
  int cols;      /* elements of a row; 1 for lse */
  Idx rows;      /* sq or sk */
  Idx stride[3]; /* of batch, head and row, in elements */
} Tensor;

typedef struct View {
  const Tensor *x;
  Idx b, h, row; /* its batch, head and first row */
  int n;         /* rows */
  bool whole;    /* no row is past the end: a promise */
} View;

/* Rows past the end are zeros on the way in and not written on the way out. */
View v_rows(const Tensor *, Idx b, Idx h, Idx row, int n);
View v_whole(View);

/* ---- shared memory ---- */

typedef struct SmemDecl SmemDecl;
typedef struct Ring Ring;

/* A box of shared memory: rows x cols of one type, kept as panels of 128 bytes x rows in
 * the 128-byte swizzle (16-byte chunk ^= row % 8), columns padded to whole panels. */
typedef struct Smem {
  const SmemDecl *mem;
  int rows, cols;
  bool trans; /* the mathematics reads it transposed; nothing moves */
  int take;   /* id of the take that gave this stage of a ring, 0: no ring */
} Smem;

/* One stage of a ring in hand. */
typedef struct Slot {
  Smem s;
  Ring *ring;
  int take;
} Slot;

Smem s_trans(Smem);
Smem s_cols(Smem, int cols);               /* its first columns */
int s_bytes(Dtype, int rows, int cols); /* what a box takes */

Smem t_smem(Tb *, const char *name, Dtype, int rows, int cols);
typedef struct RingArgs {
  const char *name;
  Dtype ty;
  int rows, cols, stages;
} RingArgs;
Ring *t_ring_(Tb *, const RingArgs *);
#define t_ring(t, ...) t_ring_((t), &(RingArgs){ __VA_ARGS__ })

typedef struct PushArgs {
  View src;
  const Idx *when; /* only if true, yet the stage counts; NULL: always */
} PushArgs;
void t_push_(Tb *, Ring *, const PushArgs *);
#define t_push(t, r, ...) t_push_((t), (r), &(PushArgs){ __VA_ARGS__ })
Slot t_take(Tb *, Ring *);       /* the oldest filled stage, visible to the whole block */
void t_release(Tb *, Slot);      /* I shall not read it again */
void t_copy(Tb *, Smem, View);   /* a copy that is in no ring … */
void t_copy_wait(Tb *);          /* … has arrived, visible to the whole block */
void t_copy_out(Tb *, View, Smem); /* shared memory → tensor, after a block barrier */

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
  return (Opnd){ .tile = x };
}
static inline Opnd
opnd_smem(Smem x)
{
  return (Opnd){ .tile = NULL, .smem = x };
}
#define OP(x) _Generic((x), Tile : opnd_tile, Smem : opnd_smem)(x)

Tile t_zero(Tb *, int rows, int cols);    /* fp32 zeros in the accumulator layout */
Tile t_zero_lanes(Tb *, int rows, int cols); /* the same in the layout of t_load */
Tile t_rows(Tb *, int rows, double k);    /* one value a row */
Tile t_shares(Tb *, int rows);            /* zero row sums, of which each lane has a part */
Tile t_const(Tb *, double k);              /* one value */
/* A numeric argument of the call times k: the spec's constant where it is specialised. */
Tile t_scalar(Tb *, int slot, double k);
Tile *t_var(Tb *, Tile);                  /* a variable: assign through the pointer */

/* Elementwise, fp32; a row or scalar operand is broadcast. */
Tile t_add(Tb *, Tile a, Tile b);
Tile t_sub(Tb *, Tile a, Tile b);
Tile t_mul(Tb *, Tile a, Tile b);
Tile t_max(Tb *, Tile a, Tile b);
Tile t_fma(Tb *, Tile a, Tile b, Tile c); /* a·b + c */
Tile t_fms(Tb *, Tile a, Tile b, Tile c); /* a·b − c */
Tile t_exp2(Tb *, Tile);
Tile t_log2(Tb *, Tile);
Tile t_rcp(Tb *, Tile);
Tile t_finite(Tb *, Tile);                /* −inf → 0 */
Tile t_sel0(Tb *, Tile c, Tile a);        /* 0 where c is 0, else a */
Tile t_row_max(Tb *, Tile);
Tile t_row_part(Tb *, Tile);              /* each lane's share of the row sums */
Tile t_row_join(Tb *, Tile);              /* shares added up */
Tile t_cvt(Tb *, Tile, Dtype);            /* to 16 bits: becomes a left operand */

Tile t_get(Tb *, Smem);                   /* a left operand in registers */
void t_put(Tb *, Smem, Tile);             /* 16-bit tile → shared memory */
/* a·b, acc + a·b; b is in shared memory, s_trans where the mathematics transposes. */
Tile t_dot_(Tb *, Opnd a, Smem b);
Tile t_dot_acc_(Tb *, Tile acc, Opnd a, Smem b);
#define t_dot(t, a, b) t_dot_((t), I_OPND(a), (b))
#define t_dot_acc(t, acc, a, b) t_dot_acc_((t), (acc), I_OPND(a), (b))
static inline Opnd
opnd_itself(Opnd x)
{
  return x;
}
#define I_OPND(x)                                                                        \
  _Generic((x), Opnd : opnd_itself, Tile : opnd_tile, Smem : opnd_smem)(x)

void t_store_rows(Tb *, View, Tile);      /* one fp32 a row, out */
/* The slow road of ref_fwd: a row a warp, eight columns a lane, fp32 in registers. */
Tile t_load(Tb *, View);
void t_store(Tb *, View, Tile);
Tile t_row_dot(Tb *, Tile a, Tile b);     /* Σ over columns, one value a row */
/* One row of a tensor, the same for every warp. */
Tile t_load_one(Tb *, View);

/* ---- the mask decides the loops ---- */

typedef struct Mask {
  Band band;
  Idx sq, sk;
} Mask;

/* Where a tile of scores lies: first query, first key. */
typedef struct At {
  Idx q, k;
} At;

Tile t_mask(Tb *, const Mask *, Tile x, At); /* −inf where masked */

typedef enum TileClass { TILE_PARTIAL, TILE_FULL } TileClass;

typedef struct TileSpan {
  Idx lo, hi; /* key tiles [lo, hi) */
  TileClass cls;
} TileSpan;

enum { WALK_SPANS = 3 };

/* The key tiles that a block of queries sees, in spans of one class, highest first.  There
 * is at least one tile, wholly masked if need be, so that a block that sees no key comes
 * out as o = 0, lse = −inf by itself. */
typedef struct Walk {
  Idx lo, hi;     /* tiles */
  Idx start, end; /* keys that some row of the block sees: none if end <= start */
  TileSpan span[WALK_SPANS];
  int n, bn;
  bool even; /* sk is proved a multiple of bn: no tile is ragged */
} Walk;

/* One tile of a walk. */
typedef struct Visit {
  Idx n, k0;   /* its index; its first key */
  Idx is;      /* is there such a tile */
  bool masked; /* PARTIAL */
  bool whole;  /* not the ragged last one */
  const Walk *walk;
  int span;
} Visit;

Walk w_keys(const Mask *, Idx q0, int bm, int bn);
Visit w_first(const Walk *);
Visit w_ahead(const Walk *, Visit, int by); /* the tile `by` visits after this one */

/* for (every tile of the walk): the body is emitted once for each span. */
#define T_FOR_TILES(t, j, walk)                                                          \
  for (Visit j = t_tiles_begin((t), (walk)); t_tiles_more(&j); t_tiles_next((t), &j))
Visit t_tiles_begin(Tb *, const Walk *);
bool t_tiles_more(const Visit *);
void t_tiles_next(Tb *, Visit *);

#endif
