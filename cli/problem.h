/* problem.h: problems in one line: "bf16 b2 h8/2 sq128 sk1024 d128 causal".
 *
 * Words in any order, each at most once: bN batches, hN or hN/M query and key heads, sqN,
 * skN, sN (both) lengths, page_sizeN rows of a page of keys, num_splitsN and max_itemsN how
 * keys are split, and, where a whole problem is
 * described, a dtype (fp16 bf16 fp32), dN or dN/M head_dim and head_dim_v, causal or full,
 * top_left, wL,R a window.  What is not said stays as given by the caller, but for hN,
 * which leaves hk at 0 for the caller to fill: h, or what the spec's group_size says.
 * Nothing is rounded or clipped. */
#ifndef ATTNC_CLI_PROBLEM_H
#define ATTNC_CLI_PROBLEM_H

#include "base/str.h"

#include <attnc/attnc.h>

typedef struct Problem {
  attnc_sizes sizes;
  char dtype[8];            /* "": not said */
  int head_dim, head_dim_v; /* 0: not said */
  int causal;               /* 0: not said, 1: full, 2: causal */
  bool top_left;
  bool has_window;
  int64_t window[2];
} Problem;

enum { PROBLEM_MAX_SIZE = 1 << 24 }; /* of b, h, sq, sk: beyond any real problem */

/* ATTNC_ERR_USAGE names the word. */
attnc_status problem_parse(const char *text, Problem *, attnc_error *);
/* The sizes in the notation. */
void problem_print(const attnc_sizes *, Str *);
/* The notation of the spec called `name` in a file of lines "name notation…", `#` begins a
 * comment; in the arena, NULL if the file names it not. */
const char *problem_of(const char *text, const char *name, Arena *);

#endif
