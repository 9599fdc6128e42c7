/* append.h: new keys and values written into the cache that k and v are, dense or in pages,
 * keys with their rotary embedding; a row a warp, straight from memory to memory.
 *
 * It is an op of its own, and a step ahead of attention.  Rows that are not the call's, and
 * entries of page tables that hold none of them, are neither written nor read. */
#ifndef ATTNC_TEMPLATES_APPEND_H
#define ATTNC_TEMPLATES_APPEND_H

#include "compiler/template.h"

/* The embedding of rows of which the first stands at `at`; `same`: all do. */
RopeArgs rope_of(const Call *, Idx at, bool same);
/* A block of `warps` rows of new keys and values; declares the grid. */
void append_rows(Tb *, const Call *, int warps);

#endif
