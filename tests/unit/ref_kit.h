/* ref_kit.h: a call of attnc_reference with random tensors, the same for the oracle, and
 * what attnc_verify makes of results. */
#ifndef ATTNC_TESTS_REF_KIT_H
#define ATTNC_TESTS_REF_KIT_H

#include "compiler/spec/spec.h"
#include "tests/oracle.h"

#include <attnc/attnc.h>

/* A case with no mask and no score of a spec's own: the members before. */
#define ORACLE(...)                                                                        \
  {                                                                                        \
    __VA_ARGS__, .sees = NULL                                                              \
  }

typedef struct Problem {
  OracleCase c;
  OracleType type; /* of all four */
  bool bhsd;       /* else bshd */
  int pad;         /* elements more between rows */
  attnc_spec *spec;
  double *q, *k, *v, *o, *lse; /* contiguous; o, lse: what the oracle says */
  attnc_tensor t[ATTNC_SLOT_COUNT];
  attnc_sizes sizes;
  attnc_args args;
} Problem;

/* attnc_verify's answer, of o and the LSE. */
typedef struct Found {
  int pass, slot;
  double max_error, bound, lse_error;
  int64_t rows, bad_rows, b, h, q;
} Found;

attnc_spec *load(const char *text);
void load_spec(Problem *p, const char *more);
void put(const attnc_tensor *t, OracleType type, int64_t i, double v);
int64_t at(const attnc_tensor *t, int b, int h, int s, int d);
void set_output(Problem *p, int b, int h, int s, int d, double v);
float *lse_at(Problem *p, int b, int h, int s);
void write_right_outputs(Problem *p);
void problem_open(Problem *p, uint64_t seed, const char *more);
void problem_solve(Problem *p);
void problem_close(Problem *p);
attnc_status judge(const attnc_spec *spec, const attnc_args *args, Found *f,
                   attnc_error *e);
Found verify(Problem *p);
attnc_status solve(const Problem *p, const int64_t *rows, size_t n, double *o, double *lse);
void check_close(double got, double want, double tolerance);
void check_reference(Problem *p);

#endif
