/* softmax.h: one step of the online softmax, shared by the forward templates.
 *
 * Milakov & Gimelshein (2018), as in Dao, FlashAttention-2 (2023), algorithm 1, with the
 * scale and log2 e folded into one multiplier c, which is positive.
 *
 * Reference.  Each row has one, r = c·g + b in units of log2: weights are 2^(c·x − r), the
 * row's sum l and O are relative to 2^r, and a step that moves r multiplies both by the
 * correction, the power of 2 of the difference, which is exactly 1 where r stays.  In a
 * usual row g is 0 and b is c·m rounded, m the highest score: weights are 2^(c·x − b), one
 * fused multiply-add and one exp2 an element, exact but for the last rounding whatever b's
 * rounding was.  That rounding is what the highest weight differs from 1 by: 2^(1/4) at
 * most up to |b| = 2^22; far beyond it would overflow 16 bits.  A row beyond is far: g is m
 * and b is 0, so that x − m is taken before the multiplication.  Where a warp finds a far
 * row, by a vote, it takes the far step, and from there to the end of its block of work:
 * only that step moves rows from one form to the other and back.
 *
 * Scores that are no numbers.  Those of −inf weigh nothing: b starts finite, so that they
 * never meet −inf.  One of +inf or NaN makes its row NaN, as it does in the reference.
 *
 * The sum l is kept in parts, one a lane, and reduced once, at the end. */
#ifndef ATTNC_TEMPLATES_SOFTMAX_H
#define ATTNC_TEMPLATES_SOFTMAX_H

#include "compiler/tile/tile.h"

typedef struct Softmax {
  bool scaled; /* scores come multiplied by softmax_scale */
  Tile c;      /* softmax_scale · log2 e, or log2 e of scaled scores */
  Tile *g, *b; /* the row's reference is c·g + b */
  Tile *most;  /* a row whose |b| is above is far; below 0 after the first far step */
  Tile *l;     /* row sum */
  Tile *lost;  /* near: what its roundings left out */
  bool lazy;   /* a reference stays while it is too low by 8 at most */
  bool near;   /* for fp32: every row is far, and exp2 right to an ulp */
  int poly;    /* of 16 exp2, by polynomial */
} Softmax;

Softmax softmax_new(Tb *, int rows, bool scaled);
/* A lazy softmax takes any reference that keeps weights below 2^8, so that most steps have
 * a correction of exactly 1, which costs nothing where who rescales looks
 * (FlashAttention-4, arXiv 2603.05451, section on rescaling).  Set lazy, near and poly
 * before the first step.
 */

/* sum + x; *lost is added what its rounding leaves out (Knuth's TwoSum). */
Tile softmax_add(Tb *, Tile sum, Tile x, Tile *lost);
/* Scores become weights, where `masked` of rows that may have seen no key; *correction is
 * what earlier sums must be multiplied by. */
Tile softmax_step(Tb *, Softmax *, Tile x, bool masked, Tile *correction);
/* Warps that have keys of their own each have a part of the rows' weights: one reference
 * and one sum for all of them, by EntryArgs.warps_k warps in their order, the same in each.
 * What each warp's O is to be multiplied by before they are added up. */
Tile softmax_merge(Tb *, Softmax *, int warps);
/* Of a team whose every warp has all keys of its rows: the sums, the same in each lane. */
void softmax_reduce(Tb *, Softmax *);
/* Rows of which several have parts of the weights: their references, c·g + b, and sums. */
typedef struct SoftmaxPart {
  Tile g, b, l;
} SoftmaxPart;
/* The rows of both; *own and *its: what the O of each is to be multiplied by.  Behind
 * softmax_merge or softmax_reduce. */
void softmax_add_part(Tb *, Softmax *, const SoftmaxPart *, Tile *own, Tile *its);
/* 1 / l (0 for a row without keys); *lse is the logarithm of the row's sum.  A sink (NULL:
 * none) is one more logit of the row, in natural units. */
typedef struct SoftmaxEnd {
  Tile sink;
  bool base_2; /* of the logarithm; else e */
} SoftmaxEnd;
Tile softmax_end(Tb *, Softmax *, const SoftmaxEnd *, Tile *lse);

#endif
