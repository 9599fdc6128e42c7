/* facts.h: what a spec says, read from its JSON by code of the tests' own: shapes, dtypes
 * and layouts of the tensors of a call, and the mask and scale for the oracle.  A field
 * that no test computes with needs nothing here. */
#ifndef ATTNC_TESTS_FACTS_H
#define ATTNC_TESTS_FACTS_H

#include "tests/oracle.h"

#include <attnc/attnc.h>

#include <stdbool.h>

/* Tensors that a spec declares have slots behind the fixed ones. */
enum { FACTS_DECLARED = 4, FACTS_SLOTS = ATTNC_SLOT_COUNT + FACTS_DECLARED };
enum { FACTS_I32 = ORACLE_FP32 + 1, FACTS_U32 }; /* of tables: no types of the oracle's */

/* Lengths of the axes of a tensor of a call, 1 past its rank; b is 1 of packed rows. */
typedef struct Shape {
  int64_t b, h, s, d;
  int rank;
} Shape;

/* A tensor of a call.  Axes: a size's name, so many of a size in one ("sk/32"), a size and
 * more ("b+1"), or a length. */
typedef struct TensorFacts {
  char name[32], axis[4][16];
  int rank, align; /* of strides, in bytes */
  int type;        /* OracleType, FACTS_I32 or FACTS_U32 */
  bool present, output, contiguous, heads_first, monotone;
} TensorFacts;

typedef struct Facts {
  int d, dv;
  TensorFacts tensor[FACTS_SLOTS];
  bool causal, top_left;
  int left, right; /* window, -1: unbounded */
  double scale;
  bool plain; /* nothing else changes masks, scores and results */
} Facts;

extern const char *const slot_names[ATTNC_SLOT_COUNT];

/* false: a field is not as it must be. */
bool facts_read(const attnc_spec *, Facts *);

Shape facts_shape(const Facts *, const attnc_sizes *, int slot);
/* Has the tensor axes b, h, s, d of which the layout decides? */
bool facts_is_main(int slot);
/* 1: its rows are those of all sequences, without an axis b. */
int facts_packed(const Facts *, int slot);
int facts_bytes(int type); /* of an element */
/* Multiply-adds of both products, without regard to the mask. */
double facts_macs(const Facts *, const attnc_sizes *);

#endif
