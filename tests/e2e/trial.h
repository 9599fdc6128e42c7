/* trial.h: one end-to-end case, and its notation, one line:
 *
 *   bf16 b2 h8/2 sq128 sk1024 d128/64 causal top_left window=31,0 padded nolse
 *   special=sizes scale=arg sm_86 fwd_mma:128x64s2w8q seed=7
 *
 * dtype, batches, query heads / key heads, queries, keys, head_dim / head_dim_v (the second
 * of a pair is left out where it is the first), mask words, layout, `nolse` where no LSE is
 * written, what is specialised, where the scale comes from, the target, and the schedule:
 * block_m x block_n, stages, warps, q: Q in registers, Q: not; for templates with more
 * fields all of them, as `attnc run --schedule` takes them:
 * fwd_wgmma:block_m=128,block_n=96,…  A template's name alone leaves the choice of a legal
 * schedule to whoever runs the case.  What is left out has the first value of its table.
 * Printing what was parsed gives the same text back. */
#ifndef ATTNC_TESTS_TRIAL_H
#define ATTNC_TESTS_TRIAL_H

#include <attnc/attnc.h>

#include <stdbool.h>
#include <stddef.h>

#define TRIAL_DTYPES(X) X(FP16, "fp16") X(BF16, "bf16")
#define TRIAL_LAYOUTS(X)                                                                   \
  X(BSHD, "bshd")     /* [b, s, h, d], dense */                                            \
  X(BHSD, "bhsd")     /* [b, h, s, d], dense */                                            \
  X(PADDED, "padded") /* gaps behind every row, head, plane and batch */                   \
  X(PACKED, "packed") /* q, k, v in one buffer where sq = sk, else k and v in one */
#define TRIAL_SPECIALS(X)                                                                  \
  X(NONE, "none") X(SIZES, "sizes") X(STRIDES, "strides") X(ALL, "all")
#define TRIAL_SCALES(X)                                                                    \
  X(DEFAULT, "default")                                                                    \
  X(SPEC, "spec") X(ARG, "arg") /* 1/sqrt(d), in the spec, at launch */
#define TRIAL_TARGETS(X)                                                                   \
  X(SM_80, "sm_80")                                                                        \
  X(SM_86, "sm_86")                                                                        \
  X(SM_89, "sm_89") X(SM_90, "sm_90") X(SM_90A, "sm_90a") X(SM_120, "sm_120")
#define TRIAL_TEMPLATES(X)                                                                 \
  X(REF_FWD, "ref_fwd") X(FWD_MMA, "fwd_mma") X(FWD_WGMMA, "fwd_wgmma")

#define X(id, name) TRIAL_##id,
enum { TRIAL_DTYPES(X) TRIAL_DTYPE_COUNT };
enum { TRIAL_LAYOUTS(X) TRIAL_LAYOUT_COUNT };
#undef X
#define X(id, name) SPECIAL_##id,
enum { TRIAL_SPECIALS(X) TRIAL_SPECIAL_COUNT };
#undef X
#define X(id, name) SCALE_##id,
enum { TRIAL_SCALES(X) TRIAL_SCALE_COUNT };
#undef X
#define X(id, name) TRIAL_##id,
enum { TRIAL_TARGETS(X) TRIAL_TARGET_COUNT };
enum { TRIAL_TEMPLATES(X) TRIAL_TEMPLATE_COUNT };
#undef X

typedef struct Trial {
  int dtype;
  int b, h, hk, sq, sk, d, dv;
  bool causal, top_left;
  int left, right; /* window, inclusive; -1: unbounded */
  int layout;
  bool lse;
  int special, scale, target, template_id;
  attnc_schedule how; /* its fields all 0: any legal schedule of the template */
  unsigned seed;
} Trial;

enum { TRIAL_TEXT = 640 };

const char *trial_dtype(const Trial *);
const char *trial_target(const Trial *);
const char *trial_template(const Trial *);
/* false and a reason naming the word that is wrong. */
bool trial_parse(const char *text, Trial *, char *why, size_t n);
void trial_print(const Trial *, char text[TRIAL_TEXT]);
/* Multiply-adds of both products, without regard to the mask. */
double trial_macs(const Trial *);
/* The spec as YAML, and the problem and the schedule that go with it. */
void trial_spec(const Trial *, char *yaml, size_t n);
attnc_sizes trial_sizes(const Trial *);
attnc_schedule trial_schedule(const Trial *); /* static strings inside */
bool trial_pinned(const Trial *);             /* does it name more than a template? */
/* "fwd_mma:128x64s2w8q" */
void trial_print_schedule(const Trial *, char *text, size_t n);
double trial_softmax_scale(const Trial *); /* NaN: the default */

/* The cases of a file: lines in the notation, blank lines and # comments.  malloc'd; -1 and
 * a reason with the line's number. */
int trial_read(const char *path, Trial **, char *why, size_t n);

#endif
