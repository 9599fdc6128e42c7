/* bwd_sums.h: dQ as a sum over blocks of keys, to which their CTAs add in whatever order
 * they come: fp32 in workspace, zeroed ahead of them, of which a last entry makes dq.
 *
 * Rows of queries are kept in sixteens of each sequence, counted from its first query on,
 * as the threads of a product hold them (t_reduce_out): tiles of queries begin at multiples
 * of that.  Where sequences are packed each begins with a sixteen of its own: sequence b,
 * whose rows are those of q from q_row on, with the one of number q_row / 16 + b. */
#ifndef ATTNC_TEMPLATES_BWD_SUMS_H
#define ATTNC_TEMPLATES_BWD_SUMS_H

#include "compiler/template.h"
#include "templates/sequence.h"

enum { SUM_ROWS = 16 };

/* Declares it, and fills it with zeros. */
const WorkRegion *bwd_sums(Build *, const Call *host);
/* n rows of batch b and head h from `row` on, a multiple of 16. */
View bwd_sum_rows(const Seq *, const Tensor *sums, Idx b, Idx h, Idx row, int n);
/* The entry "dq". */
void bwd_sums_out(Build *, const WorkRegion *);
/* What zeros and that entry take of a multiprocessor, in clocks. */
double bwd_sums_clocks(const Case *);

#endif
