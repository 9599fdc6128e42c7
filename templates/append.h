/* append.h: what stands ahead of attention where the spec has `append` or `rope`: a step
 * that writes new keys and values into the cache, and turned queries into workspace, from
 * where the entries behind it read them as if they were the caller's.
 *
 * Rows that are not the call's, and entries of page tables that hold none of them, are
 * neither written nor read. */
#ifndef ATTNC_TEMPLATES_APPEND_H
#define ATTNC_TEMPLATES_APPEND_H

#include "compiler/template.h"

/* Nothing where the spec has neither; before the template's own entries. */
void append_ahead(Build *, const Call *host);

#endif
