/* diag.h: what is wrong with a text the user wrote, collected and printed with its place.
 *
 * The collection owns its arena; messages are copied.  At most DIAG_CAP are kept; what
 * comes after is counted. */
#ifndef ATTNC_BASE_DIAG_H
#define ATTNC_BASE_DIAG_H

#include "base/str.h"

#include <attnc/attnc.h>

enum { DIAG_CAP = 50 };

typedef struct Place {
  int line, col; /* from 1; 0: the whole file */
  int width;     /* columns to underline */
} Place;

/* The text that the next diagnostics speak of; both copied.  n may be 0. */
void diags_source(attnc_diags *, const char *file, const char *text, size_t n);
/* NULL diags is fine: the report is dropped.  help may be NULL. */
void diags_error(attnc_diags *, Place, int code, const char *help, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void diags_warning(attnc_diags *, Place, int code, const char *help, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
size_t diags_errors(const attnc_diags *); /* errors, with those past the cap */

#endif
