/* legal.h: which schedules a case may have, asked of the library, and which were used.
 *
 * Of a template with few schedules a case gets the one that was used least so far, of those
 * the first by cost; so a long list uses all of them.  Of one with more than LEGAL_FEW the
 * case's seed draws. */
#ifndef ATTNC_TESTS_LEGAL_H
#define ATTNC_TESTS_LEGAL_H

#include "tests/e2e/call.h"

enum { LEGAL_FEW = 200 };

typedef struct Legal Legal;
Legal *legal_new(void);
void legal_free(Legal *);
/* Pins a legal schedule of the template that the case names.  false: there is none. */
bool legal_pick(Legal *, Case *);
/* Has the library a plan for the case with its schedule?  false: it is refused, and why. */
bool legal_plan(const Case *, char *why, size_t n);
/* Is the schedule of the case legal?  It counts as used. */
bool legal_has(Legal *, const Case *);
/* Gives the case a legal schedule where its own is none: one that says the same and more,
 * as where a template has a new option, else any. */
typedef enum LegalMend { LEGAL_AS_IT_WAS, LEGAL_MENDED, LEGAL_NOT } LegalMend;
LegalMend legal_mend(Legal *, Case *);
/* A case that could have a schedule which none has, with it; false: there is none.
 */
bool legal_unused_case(Legal *, Case *);
/* Schedules of templates with few that were legal somewhere and used nowhere; `tell`: on
 * stdout. */
int legal_unused(const Legal *, bool tell);

#endif
