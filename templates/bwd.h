/* bwd.h: what fast templates of op bwd have in common: the statistics of rows that a first
 * entry makes, and the steps from scores to what is multiplied again.
 *
 * With P = 2^(score · log2 e − LSE · log2 e) and D = Σ dO ∘ O − dLSE: dV = Pᵀ dO,
 * dS = P ∘ (dO Vᵀ − D), dQ = scale · dS K, dK = scale · dSᵀ Q (Dao, FlashAttention-2, 2023,
 * algorithm 2); with dropout P of dV, and dO Vᵀ, are 0 where dropped, else times 1 / (1 −
 * p).  Where rows are keys (At.turned) LSE and D are values of columns. */
#ifndef ATTNC_TEMPLATES_BWD_H
#define ATTNC_TEMPLATES_BWD_H

#include "compiler/template.h"
#include "compiler/tile/walk.h"
#include "templates/sequence.h"

/* A pass, by what it gives. */
typedef enum Pass {
  PASS_DKDV,
  PASS_DV,
  PASS_DK,
  PASS_FUSED, /* all */
  PASS_DQ,
  PASS_COUNT
} Pass;
extern const char *const bwd_pass_names[PASS_COUNT];
bool bwd_is_of(Pass, int passes); /* is it one of so many? */
/* Its products, as columns of depth: of the scores, and of what is made of them. */
double bwd_depth(const Spec *, Pass);

/* Options of schedules that templates of passes share. */
#define BWD_PASSES_OPTION(X)                                                               \
  X(passes, INT, 1, 3, NULL, KEEP, "2",                                                    \
    "Passes over q, k and v: dk and dv in one, or in one each, and dq; 1: all in one, "    \
    "which adds to dq from many blocks.")
#define BWD_QUERIES_OPTIONS(X)                                                             \
  X(dq_block_m, INT, 0, 256, NULL, KEEP, "128",                                            \
    "Rows of q of a block of the pass for dq; 0 where it has none.")                       \
  X(dq_block_n, INT, 0, 256, NULL, KEEP, "64", "Keys of a tile of the pass for dq.")       \
  X(dq_stages, INT, 0, 4, NULL, KEEP, "1", "Depth of the rings of the pass for dq.")

/* Of each row of queries, fp32, in workspace: its LSE in log2, so high where it sees no key
 * that no weight is left; D. */
typedef struct BwdRows {
  const WorkRegion *lse, *delta;
} BwdRows;

/* Declares them, and opens the entry "delta" that computes them: a row a warp. */
BwdRows bwd_rows(Build *, const Call *);

/* A block of keys: batch, key head, first key.  T_WORK (t, is) stands around what is done
 * of it. */
typedef struct KeyBlock {
  Idx b, hk, k0, is;
  Seq seq;
} KeyBlock;
KeyBlock bwd_keys_of_cta(Tb *, const Call *, int bn); /* declares the grid */

/* Weights of a tile, as they are multiplied with V but for the factor of those that are
 * kept, in 16 bits; and in fp32 what dS is made of, times the slope of scores that the spec
 * changes. */
typedef struct BwdWeights {
  Tile p, steep;
} BwdWeights;

/* Of scores of which `mask` hides some; rows or columns of LSEs; which are dropped (NULL:
 * none). */
BwdWeights bwd_weights(Tb *, const Call *, const Mask *, Tile x, At, TileIter, Tile lse,
                       Tile drop);
/* dS of `steep` and dO Vᵀ: of what is hidden 0, be it NaN. */
Tile bwd_slopes(Tb *, Tile steep, Tile dp, Tile delta, TileIter, Tile drop);
/* Where dQ is a sum over a block of keys that ends at `behind`: past the last key K is
 * zeros, but a weight may be anything, and 0 times what is finite is nothing. */
Tile bwd_finite_behind(Tb *, const Call *, Tile ds, Idx behind);
/* Times softmax_scale. */
Tile bwd_scaled(Tb *, Tile);
Tile bwd_kept(Tb *, const Call *, Tile); /* times the factor of weights that are kept */

/* Rules that templates share. */
bool bwd_takes(const Spec *, Why *);
bool bwd_takes_lists(const Spec *, Why *); /* of who has a walk for lists of blocks */

#endif
