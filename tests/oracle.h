/* oracle.h: attention and its masks a second time, straight from the definition, in long
 * double and without a line of compiler/, so that the reference has a judge of its own.
 * Tensors are contiguous [b, h, s, d]; slow by design. */
#ifndef ATTNC_TESTS_ORACLE_H
#define ATTNC_TESTS_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

/* A query and a key; positions count from 0 within the sequence. */
typedef struct OracleAt {
  int b, h, q_idx, kv_idx;
} OracleAt;

typedef struct OracleCase {
  int b, h, hk, sq, sk, d, dv;
  bool causal, top_left;
  int left, right; /* window, -1: unbounded */
  double scale;    /* 0: 1 / sqrt(d) */
  /* What else a spec says, NULL: nothing: a mask that is and-ed to the one above, and a
   * score in the place of x, the scaled product. */
  bool (*sees)(const void *user, OracleAt);
  long double (*score)(const void *user, OracleAt, long double x);
  const void *user;
} OracleCase;

/* Without `sees`. */
bool oracle_sees(const OracleCase *, int q_idx, int kv_idx);
/* o [b, h, sq, dv] and lse [b, h, sq]. */
void oracle_attention(const OracleCase *, const double *q, const double *k, const double *v,
                      double *o, double *lse);

typedef enum OracleType { ORACLE_FP16, ORACLE_BF16, ORACLE_FP32 } OracleType;
/* The value of an element's bits, and the bits nearest to a value (ties to even). */
double oracle_decode(OracleType, uint32_t bits);
uint32_t oracle_encode(OracleType, double);

/* Deterministic numbers: 64 random bits, and a standard normal. */
uint64_t oracle_random(uint64_t *state);
double oracle_normal(uint64_t *state);

#endif
