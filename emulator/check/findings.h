/* findings.h: what has been found, a line each, until attncEmuTakeFindings takes it;
 * repeated lines are dropped.  Thread-safe. */
#ifndef ATTNC_EMULATOR_FINDINGS_H
#define ATTNC_EMULATOR_FINDINGS_H

#include "base/fork.h"

#include <stdbool.h>

void findings_keep(const char *text, bool tell); /* tell: to stderr besides */
void findings_fork(ForkStep);

#endif
