/* facts.h: what a spec says, read from its JSON by code of the tests' own: shapes, dtypes
 * and layouts of its tensors, and the mask and scale for the oracle.  A field that no test
 * computes with needs nothing here. */
#ifndef ATTNC_TESTS_FACTS_H
#define ATTNC_TESTS_FACTS_H

#include "tests/oracle.h"

#include <attnc/attnc.h>

#include <stdbool.h>

typedef struct Facts {
  int d, dv;
  OracleType dtype[ATTNC_SLOT_COUNT];
  bool heads_first[ATTNC_SLOT_COUNT]; /* layout bhsd */
  bool present[ATTNC_SLOT_COUNT];
  bool causal, top_left;
  int left, right; /* window, -1: unbounded */
  double scale;
} Facts;

extern const char *const slot_names[ATTNC_SLOT_COUNT];

/* false: a field is not as it must be. */
bool facts_read(const attnc_spec *, Facts *);

/* Lengths of the axes of a tensor of a call, 1 past its rank. */
typedef struct Shape {
  int64_t b, h, s, d;
  int rank;
} Shape;
Shape facts_shape(const Facts *, const attnc_sizes *, int slot);
bool facts_output(int slot);
bool facts_strided(int slot); /* else contiguous in the order of its axes */
int facts_bytes(OracleType);  /* of an element */
/* Multiply-adds of both products, without regard to the mask. */
double facts_macs(const Facts *, const attnc_sizes *);

#endif
