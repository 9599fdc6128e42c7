/* ref.h: the fp64 reference, row by row, for ref.c and the contract of accuracy.c.
 *
 * Each row's scores, softmax and output are computed twice in one walk over the keys that
 * the mask lets it see: in fp64, which is the reference, and *plainly*, as simple correct
 * code of the spec's precision would (fp32 scores, P rounded to v's type, fp32
 * accumulation, O rounded).  A score is an fp32 number in both: beyond their range it is
 * infinite.  Scores of −inf weigh nothing, and a row that has no others comes out as one
 * that sees no key; one of +inf or NaN makes its row NaN.  Heads are shared out to threads;
 * each has a Ref of its own with memory of its own, so nothing is locked, and results are
 * put where the head says. */
#ifndef ATTNC_COMPILER_REF_H
#define ATTNC_COMPILER_REF_H

#include "base/arena.h"
#include "compiler/spec/signature.h"

#include <attnc/attnc.h>

/* A sequence: how many queries and keys it has, and where they stand.  Of a call without
 * `seqlens` as many as its sizes say. */
typedef struct RefSeq {
  int64_t b, sq, sk;
  int64_t q_first, k_first; /* rows of the tensors where it begins; */
  int64_t k_pad;            /* so many rows before its first key */
  int64_t kb; /* its batch of k and v; where they are pages its row of the table */
} RefSeq;

typedef struct Ref {
  const Spec *spec;
  const Signature *call;
  attnc_sizes n;
  attnc_tensor t[CALL_SLOTS];
  Dtype ty[CALL_SLOTS];
  double scalar[CALL_SCALARS];
  Band band;
  /* What expressions read, by the index that their nodes have. */
  ExprTable tables[CALL_SLOTS];
  double numbers[CALL_SCALARS];
  const int64_t *rows; /* of q; NULL: all */
  int64_t n_rows;
  bool fresh;                       /* new keys are not yet where they go: `append` */
  bool sampled;                     /* of a sequence of many rows some are judged */
  size_t row_bytes;                 /* of `per_row` for each row: the caller's */
  bool judged;                      /* rows have slacks */
  bool alone;                       /* one thread does all heads, in their order */
  struct RefTableGrad *table_grads; /* by the index of the spec's grads */
  /* Of a thread. */
  RefSeq seq; /* in hand */
  Arena *arena;
  void *per_row;
  float *keys, *values; /* of the key head: blocks [d][64] of keys, values [sk][dv] */
  float *q;
  double *s64, *o64; /* o64: the reference's row */
  float *s32, *o32;  /* o32: the plain computation's, rounded */
  float *o_fp32;     /* of `return_o_lo`: before; else NULL */
  float lse32;       /* and its LSE */
  double
      *p64;   /* with dropout the weights that V is multiplied by, 0 where dropped; NULL: */
  float *p32; /* they are s64 and s32 */
  bool *kept; /* … by key */
  struct RefExprs *exprs; /* NULL: nothing is asked of each key */
  struct RefLists *lists; /* NULL: the call lists no blocks */
  int64_t n_seen;         /* keys of the row */
  double l64;             /* sums of its weights, … */
  float l32;
  struct RefGrad *grad; /* what gradients need of a row besides; NULL: nobody asks */
  /* What score_mod may be off by; NULL: there is none, or nobody asks. */
  double *score_error;        /* by key */
  double *o_slack, lse_slack; /* of the row: what that is worth */
} Ref;

typedef struct Range {
  int64_t from, to; /* keys [from, to) */
} Range;

/* Checks the arguments; of what must be there. */
typedef enum RefNeed {
  REF_NOTHING, /* a tensor without data, and a number without a value (NaN), are not looked
                  at */
  REF_INPUTS,
  REF_ALL /* inputs and outputs */
} RefNeed;
attnc_status ref_open(Ref *, const Spec *, int op, const attnc_args *, RefNeed,
                      attnc_error *);
/* Calls `head` once for every query head, from several threads, then returns.  Those of a
 * key head follow each other in one thread where `by_key_head` says so. */
typedef void RefHead(Ref *, void *user, int64_t b, int64_t h);
attnc_status ref_each_head(Ref *, bool by_key_head, RefHead *, void *user, attnc_error *);

/* The query of the i-th row of q, -1: it is none of the sequence. */
int64_t ref_row_index(const Ref *, int64_t i);
/* The keys that the band lets row q see; of these a mask_mod may hide more.  All of them
 * where blocks are listed: each key is asked then. */
Range ref_visible(const Ref *, int64_t q);
Range ref_in_band(const Ref *, int64_t q); /* of the band, whatever else there is */
/* Fills o64, o32, lse32 and n_seen; returns the LSE. */
double ref_row(Ref *, int64_t b, int64_t h, int64_t q);
/* After ref_row, of the key with the largest weight: what its score's terms come to without
 * their signs, scaled.  What rounding the products' sum is worth is relative to it. */
double ref_magnitude(const Ref *, Range keys);
/* V of the key head in hand, column i. */
static inline float
ref_value(const Ref *r, int64_t key, int i)
{
  return r->values[key * r->spec->head_dim_v + i];
}
/* K of it, element i. */
float ref_key(const Ref *, int64_t key, int i);
/* An element of q, o or lse of the sequence in hand. */
float ref_of_query(const Ref *, int slot, int64_t h, int64_t q, int64_t d);
/* An element of dq, dk or dv of it, of the sequence's row. */
float ref_of_gradient(const Ref *, int slot, int64_t head, int64_t row, int64_t d);
/* Has a gradient one axis for the rows of all sequences? */
bool ref_rows_are_packed(const Ref *, int slot);

/* The distance of neighbouring numbers of the type at x. */
double ref_ulp(double x, Dtype);
/* To nearest, ties to even; beyond the largest number, infinity. */
float ref_rounded(float, Dtype);
/* n * m elements of zeroed memory; NULL when there are not that many. */
void *ref_room(Arena *, int64_t n, int64_t m, size_t size);

/* ---- sequences (ref_seq.c) ---- */

/* What the call's `seqlens` say, checked; what has no data says nothing. */
attnc_status ref_take_sequences(Ref *, attnc_error *);
RefSeq ref_sequence(const Ref *, int64_t b);
/* Makes a sequence the one in hand. */
void ref_enter(Ref *, int64_t b);
/* Are rows of all sequences in one axis of q? */
bool ref_is_packed(const Ref *);
/* Page i of a row of the table of k's or v's pages. */
int64_t ref_page(const Ref *, int slot, int64_t row, int64_t i);
double ref_pairs(const Ref *); /* a query and a key, over all heads */

/* ---- new keys, and embeddings (ref_append.c) ---- */

/* Rows of sequence b's keys with the new ones that there is room for, and those before. */
int64_t ref_keys_with_new(const Ref *, int64_t b);
int64_t ref_keys_before(const Ref *, int64_t b);
/* Element d of a new key or value (ATTNC_K, ATTNC_V), as it is written: of the one that
 * becomes the sequence's row `row`. */
float ref_new_key(const Ref *, int slot, int64_t b, int64_t hk, int64_t row, int64_t d);
/* Element d of a query of the sequence in hand, turned where the spec has `rope`. */
float ref_query(const Ref *, int64_t h, int64_t q, int64_t d);

/* ---- expressions (ref_expr.c) ---- */

/* What expressions read of a call whose tensors and numbers were checked. */
attnc_status ref_take_tables(Ref *, attnc_error *);
/* Packed axes of tables: as long as the sequence in hand. */
void ref_enter_tables(Ref *);
/* Of a thread, in its arena; false: no memory.  Sets `exprs`. */
bool ref_exprs_open(Ref *);
/* Scaled scores of a row in s64 and s32: changed by score_mod, −inf where mask_mod hides
 * the key, which is marked in `hidden`. */
void ref_exprs_apply(Ref *, Range keys, int64_t b, int64_t h, int64_t q);
bool ref_is_hidden(const Ref *, int64_t key);
/* Does query q see key k?  After ref_exprs_open. */
bool ref_sees(Ref *, int64_t b, int64_t h, int64_t q, int64_t k);
bool ref_table_is_empty(const Ref *, int table);
float ref_element(const void *data, int64_t i, Dtype);

/* ---- gradients (ref_bwd.c, ref_slope.c) ---- */

/* What gradients need of a row besides, by key: scores as fp32, and how much a scaled
 * score's change changes what score_mod makes of it.  Filled by ref_row. */
typedef struct RefGrad {
  float *s32;
  double *slope64;
  float *slope32;
  double **by64; /* of each of the spec's grads: by the table's element */
  float **by32;
  struct RefSums *sums;
} RefGrad;
/* A table's gradient, packed in the order of its axes, of all heads. */
typedef struct RefTableGrad {
  int64_t n;
  double *wide, *slack;
  double *variance; /* of what o's roundings are worth, as if they were independent */
  float *plain;
  bool *seen; /* by element: a pair reads it */
} RefTableGrad;
/* Refuses specs that have no gradients. */
attnc_status ref_take_gradients(Ref *, attnc_error *);
/* Of a thread, in its arena; false: no memory. */
bool ref_grad_open(Ref *);
/* The derivative of the list's last value, where the values are known and those of its
 * leaves are: of `score`, and 1 of the loads of a table (-1: of none).  slopes: room for
 * one of each. */
double ref_slope(const ExprList *, const ExprValue *values, double score, int table,
                 double *slopes);

/* A matrix in both precisions; `plain` is rounded to the type of the output. */
typedef struct RefPair {
  double *wide;
  float *plain;
  int cols;
  double *slack;    /* at most so much are roundings of fp32 worth */
  double *variance; /* of what roundings to narrower types are worth */
  bool *seen;       /* by row: it has a pair */
  bool broken;      /* what a pair of the key head reads is no finite number */
} RefPair;
/* Calls `given` with dq of each head and dk and dv of each key head, rows of the sequence,
 * from several threads. */
typedef void RefGiven(Ref *, void *user, int slot, int64_t b, int64_t head, int64_t rows,
                      const RefPair *);
attnc_status ref_gradients(Ref *, double *const *outputs, uint32_t n, attnc_error *);

/* ---- lists of blocks (ref_lists.c) ---- */

typedef enum RefBlock { REF_BLOCK_UNSEEN, REF_BLOCK_PARTIAL, REF_BLOCK_FULL } RefBlock;
/* Of a thread, in its arena; false: no memory. */
bool ref_lists_open(Ref *);
/* The row of blocks of a query becomes the one in hand. */
void ref_lists_enter(Ref *, int64_t b, int64_t h, int64_t q);
/* Of the row of blocks in hand, the one that has the key; PARTIAL: nothing is listed. */
RefBlock ref_block(const Ref *, int64_t key);

/* ---- dropout (ref_dropout.c) ---- */

/* Of a thread, in its arena; false: no memory. */
bool ref_dropout_open(Ref *);
/* Which keys of a row of positions are kept. */
void ref_dropout_row(const Ref *, Range keys, int64_t b, int64_t h, int64_t q, bool *kept);
/* Of the row of weights in s64 and s32: sets p64, p32 and kept. */
void ref_drop(Ref *, Range keys, int64_t b, int64_t h, int64_t q);
/* What the weight of a key of the row in hand is multiplied by: 0, or what kept ones are,
 * which is 1 without dropout. */
double ref_kept(const Ref *, int64_t key);
double ref_dropout_factor(const Ref *);

/* ---- what roundings and functions may be off by (ref_slack.c) ---- */

/* Of a score that was scaled. */
double ref_scaled_error(double score);
/* Of the last value of a list whose values are known, where `score` is off by `before`;
 * errors: room for one of each. */
double ref_score_error(const Ref *, const ExprList *, const ExprValue *values,
                       double before, double *errors);
/* Of the row in s64 (weights, whose sum is l64) and o64: adds to its slacks. */
void ref_row_slack(Ref *, Range keys, double l64);

#endif
