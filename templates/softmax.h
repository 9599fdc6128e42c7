/* softmax.h: one step of the online softmax, shared by the forward templates.
 *
 * Milakov & Gimelshein (2018), as in Dao, FlashAttention-2 (2023), algorithm 1, with the
 * scale and log2 e folded into one multiplier c: weights are 2^(c·x − c·m), one fused
 * multiply-add and one exp2 an element.  c is positive.  m starts at −inf; `masked` steps
 * may have rows that see no key yet, whose m must not meet itself in −inf − −inf.  The sum
 * l is kept as shares of each lane and joined once, at the end. */
#ifndef ATTNC_TEMPLATES_SOFTMAX_H
#define ATTNC_TEMPLATES_SOFTMAX_H

#include "compiler/tile.h"

typedef struct Softmax {
  Tile c;      /* softmax_scale · log2 e */
  Tile *m, *l; /* row maximum of the raw scores; row sum */
  bool lazy;   /* m stays while it is too low by a factor of 2^8 at most */
  int poly;    /* of 16 exp2, by polynomial */
} Softmax;

Softmax softmax_new(Tb *, int rows);
/* A lazy softmax takes any m that keeps weights below 2^8, so that most steps have a shrink
 * of exactly 1, which costs nothing where who rescales looks (FlashAttention-4, arXiv
 * 2603.05451, section on rescaling).  Set lazy and poly before the first step. */

/* Scores become weights; *shrink is what earlier sums must be multiplied by. */
Tile softmax_step(Tb *, Softmax *, Tile x, bool masked, Tile *shrink);
/* 1 / l (0 for a row without keys); *lse is the natural logarithm of the row's sum. */
Tile softmax_end(Tb *, Softmax *, Tile *lse);

#endif
