/* judge.h: what a verdict is made of, whatever the op. */
#ifndef ATTNC_REFERENCE_JUDGE_H
#define ATTNC_REFERENCE_JUDGE_H

#include "reference/ref.h"

/* Of rows that were judged, merged in an order that no thread changes. */
typedef struct Judge {
  attnc_verdict v;
  attnc_output_verdict of[CALL_SLOTS];
  double worst; /* largest error over its bound so far */
} Judge;

/* One element's or row's error, and what it may be; of an output of a row that is named in
 * `v` (b, h, q). */
double judge_ratio(double error, double bound);
/* |got - want|: infinite where one of them is no number and the other is not so too. */
double judge_distance(double got, double want);
/* Adds an output of a row; the row itself is counted by judge_add. */
void judge_output(Judge *row, int slot, double error, double bound);
void judge_add(Judge *all, const Judge *row);

/* ---- the other ops ---- */

/* new keys and values (ref_append.c) */
attnc_status ref_take_append(Ref *, attnc_error *);
attnc_status ref_append(Ref *, double *const *outputs, uint32_t n, attnc_error *);
/* before: by slot, what k and v held; NULL: not known. */
attnc_status ref_append_judge(Ref *, const void *const *before, size_t n, Judge *,
                              attnc_error *);
/* gradients (ref_bwd.c) */
attnc_status ref_gradients_judge(Ref *, Judge *, attnc_error *);
/* states made one (ref_merge.c) */
attnc_status ref_merge(Ref *, double *const *outputs, uint32_t n, attnc_error *);
attnc_status ref_merge_judge(Ref *, Judge *, attnc_error *);
/* which weights are kept (ref_dropout.c) */
attnc_status ref_dropout_mask(Ref *, double *const *outputs, uint32_t n, attnc_error *);
attnc_status ref_dropout_mask_judge(Ref *, Judge *, attnc_error *);

#endif
