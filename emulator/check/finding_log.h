/* finding_log.h: what a launch has found, until it ends.
 *
 * Clusters run on several host threads, and which of them meets a fault first is chance; so
 * of findings that are alike that of the cluster which comes first in the order of CTAs is
 * kept, and where the launch fails nothing that comes behind the failure: what one thread
 * alone would have told. */
#ifndef ATTNC_EMULATOR_FINDING_LOG_H
#define ATTNC_EMULATOR_FINDING_LOG_H

#include <stdbool.h>
#include <stdint.h>

typedef struct FindingLog FindingLog;
/* Findings of one kind are alike if their keys are. */
typedef enum FindingLogKind {
  FINDING_LOG_FATAL,
  FINDING_LOG_ERROR,
  FINDING_LOG_SHADOW
} FindingLogKind;

FindingLog *finding_log_new(void); /* NULL: out of memory */
void finding_log_free(FindingLog *);
/* Would a finding of the cluster at that place be kept? */
bool finding_log_wants(FindingLog *, FindingLogKind, uint64_t key, uint64_t place);
void finding_log_add(FindingLog *, FindingLogKind, uint64_t key, uint64_t place,
                     const char *text);
/* Reports what is kept of places up to `last`, in order; tell: to stderr besides. */
void finding_log_report(FindingLog *, uint64_t last, bool tell);

#endif
