/* case.h: one end-to-end case, and its notation, one line:
 *
 *   {dtype: bf16, head_dim: 128, head_dim_v: 64, causal: true, return_lse: true}
 *   b2 h8/2 sq128 sk1024 padded softmax_scale=0.078125 sm_86
 *   template=fwd_mma,block_m=128,block_n=64,num_stages=2,num_warps=8,q_in_regs=true seed=7
 *
 * In braces the fields of a spec as YAML has them; `attnc` and `name` are added.  Behind
 * them, in any order: sizes as `attnc run --shape` has them; `padded` or `packed` where
 * tensors are not dense in the spec's layout; numbers that are given at launch, by the name
 * of their scalar; the target; the schedule as `--schedule` has it; a seed.  What is left
 * out: b1 h1 s64, sm_80, the default schedule, seed 1.
 *
 * Nothing here knows a field of specs or of schedules: the library reads the first, with
 * the second as its pins.  A case's name is its line, blanks made single. */
#ifndef ATTNC_TESTS_CASE_H
#define ATTNC_TESTS_CASE_H

#include <attnc/attnc.h>

#include <stdbool.h>
#include <stddef.h>

enum { CASE_TEXT = 1536, CASE_PART = 768 };

/* How tensors lie: [b, s, h, d] or as `layout` says, without gaps; with gaps behind every
 * row, head, plane and batch; q, k, v in one buffer where sq = sk, else k and v in one. */
typedef enum Memory { MEMORY_DENSE, MEMORY_PADDED, MEMORY_PACKED, MEMORY_SHARED } Memory;

typedef struct Case {
  char text[CASE_TEXT];
  char spec[CASE_TEXT];                        /* a YAML document, the schedule in it */
  char fields[CASE_PART], schedule[CASE_PART]; /* "{…}", "template=…" or "" */
  char target[16];
  attnc_sizes sizes;
  Memory memory;
  double scalars[ATTNC_SCALAR_COUNT]; /* NaN: the spec's */
  bool has_scalars;
  unsigned seed;
} Case;

/* false and a reason naming what is wrong.  The spec is not looked at. */
bool case_parse(const char *text, Case *, char *why, size_t n);
/* The same case with this schedule. */
bool case_pin(Case *, const char *schedule, char *why, size_t n);
/* The spec of the case without pins. */
void case_open(Case *);
/* The value of a name in a schedule text, 0 if it has none. */
int case_pinned(const Case *, const char *name);
/* "fwd_mma"; "" where no template is named. */
void case_template(const Case *, char *name, size_t n);

/* The cases of a file: lines in the notation, blank lines and # comments.  malloc'd; -1 and
 * a reason with the line's number. */
int case_read(const char *path, Case **, char *why, size_t n);

#endif
