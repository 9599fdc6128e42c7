/* asked.h: what a plan of a case is asked for, with all that it points to. */
#ifndef ATTNC_TESTS_ASKED_H
#define ATTNC_TESTS_ASKED_H

#include "tests/e2e/facts.h"

typedef struct CallAsked {
  attnc_problem problem;
  attnc_sizes sizes;
  attnc_tensor tensors[FACTS_SLOTS];
} CallAsked;
/* Points the problem into its own struct, as is needed after a copy. */
const attnc_problem *asked_problem(CallAsked *);

#endif
