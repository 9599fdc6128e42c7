/* idx.h: index expressions: scalar integers and conditions, equal for the whole block.
 *
 * An Idx is a constant or a node of a graph (idx_graph.h), two words, passed by value.
 * Words build it folded and shared: equal expressions are one node, and what is known
 * leaves no arithmetic behind.  They append nothing to a program, so they nest freely.
 * Leaves come from who owns the graph.  Everything lives in the graph's arena; two graphs
 * in one expression are a fault of the caller, reported by the graph's `fail`. */
#ifndef ATTNC_COMPILER_IDX_H
#define ATTNC_COMPILER_IDX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Node Node;
typedef struct Idx {
  const Node *node; /* NULL: the constant k */
  int64_t k;
} Idx;

/* Blocks that a grid takes along y and z (CUDA programming guide, compute capabilities). */
enum { GRID_ASIDE = 65535 };

static inline Idx
i_int(int64_t k)
{
  return (Idx){.node = NULL, .k = k};
}
static inline Idx
idx_itself(Idx x)
{
  return x;
}
/* Lets an int stand where an Idx is due. */
#define I(x) _Generic((x), Idx : idx_itself, default : i_int)(x)

#define i_add(a, b)  idx_add(I(a), I(b))
#define i_sub(a, b)  idx_sub(I(a), I(b))
#define i_mul(a, b)  idx_mul(I(a), I(b))
#define i_div(a, b)  idx_div(I(a), I(b))  /* floor */
#define i_cdiv(a, b) idx_cdiv(I(a), I(b)) /* ceiling; a >= 0 */
/* The same, a branch instead of the division where it is 0: a >= 0, b > 0, and a is hardly
 * ever as large as b. */
#define i_div_rare(a, b) idx_div_rare(I(a), I(b))
/* The same, b one number for the whole entry, by which many are divided: its reciprocal is
 * computed once, where a role begins.  a >= 0, b > 0. */
#define i_div_often(a, b) idx_div_often(I(a), I(b))
#define i_min(a, b)       idx_min(I(a), I(b))
#define i_max(a, b)       idx_max(I(a), I(b))
#define i_lt(a, b)        idx_lt(I(a), I(b))
#define i_le(a, b)        i_lt(a, i_add(b, 1))
#define i_or(a, b)        idx_or(I(a), I(b)) /* of conditions */
#define i_and(a, b)       idx_and(I(a), I(b))
#define i_not(a)          idx_not(I(a))
#define i_select(c, a, b)                                                                  \
  idx_select(I(c), I(a), I(b)) /* a where the condition is true, else b */
Idx idx_add(Idx, Idx);
Idx idx_sub(Idx, Idx);
Idx idx_mul(Idx, Idx);
Idx idx_div(Idx, Idx);
Idx idx_cdiv(Idx, Idx);
Idx idx_div_rare(Idx, Idx);
Idx idx_div_often(Idx, Idx);
Idx idx_min(Idx, Idx);
Idx idx_max(Idx, Idx);
Idx idx_lt(Idx, Idx);
Idx idx_or(Idx, Idx);
Idx idx_and(Idx, Idx);
Idx idx_not(Idx);
Idx idx_select(Idx c, Idx a, Idx b);
/* The product of two sizes, which 32 bits may not hold.  Every other expression fits: no
 * size is above 2^30, no number of blocks above 2^31 - 1, and a window's bound is at most
 * 2^30. */
#define i_mul64(a, b) idx_mul64(I(a), I(b))
Idx idx_mul64(Idx, Idx);
bool i_known(Idx, int64_t *k);   /* is it a constant, and which */
bool i_multiple(Idx, int64_t m); /* is it proved to be a multiple of m */
#define i_mod(a, b)       idx_rest(I(a), I(b), i_div(a, b))
#define i_mod_rare(a, b)  idx_rest(I(a), I(b), i_div_rare(a, b))
#define i_mod_often(a, b) idx_rest(I(a), I(b), i_div_often(a, b))
Idx idx_rest(Idx a, Idx b, Idx quotient); /* a - b * quotient, 0 … b - 1 */
/* Entry i of a list of numbers; 0 outside it on the CPU. */
typedef struct Table Table;
Idx i_entry(const Table *, Idx i);

#endif
