/* told.h: what a launch has found, until it ends.
 *
 * Clusters run on several host threads, and which of them meets a fault first is chance; so
 * of findings that are alike that of the cluster which comes first in the order of CTAs is
 * kept, and where the launch fails nothing that comes behind the failure: what one thread
 * alone would have told. */
#ifndef ATTNC_EMULATOR_TOLD_H
#define ATTNC_EMULATOR_TOLD_H

#include <stdbool.h>
#include <stdint.h>

typedef struct Told Told;
/* Findings of one kind are alike if their keys are. */
typedef enum ToldKind { TOLD_FATAL, TOLD_ERROR, TOLD_SHADOW } ToldKind;

Told *told_new(void); /* NULL: out of memory */
void told_free(Told *);
/* Would a finding of the cluster at that place be kept? */
bool told_wants(Told *, ToldKind, uint64_t key, uint64_t place);
void told_keep(Told *, ToldKind, uint64_t key, uint64_t place, const char *text);
/* Reports what is kept of places up to `last`, in order; tell: to stderr besides. */
void told_report(Told *, uint64_t last, bool tell);

#endif
