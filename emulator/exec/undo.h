/* undo.h: what launches write to device memory, page by page, so that it can be put back
 * and compared: a page is kept when it is written first.  Thread-safe while CTAs run. */
#ifndef ATTNC_EMULATOR_UNDO_H
#define ATTNC_EMULATOR_UNDO_H

#include "emulator/exec/machine.h"
#include "emulator/check/report.h"

typedef struct Undo Undo;
Undo *undo_new(const Alloc *, int n); /* NULL: out of memory */
void undo_free(Undo *);
/* Bytes of an allocation are about to be written, in elements of `unit` bytes.  False: out
 * of memory. */
bool undo_write(Undo *, int alloc, uint64_t at, uint64_t bytes, int insn, int unit);
/* What is there now is what others are compared with. */
void undo_keep_image(Undo *);
/* Everything is as it was before anything was written. */
void undo_restore(Undo *);

/* An element that is not as in the image. */
typedef struct Difference {
  int alloc, insn, unit; /* insn: that wrote its 16 bytes last */
  uint64_t at;           /* in the allocation */
  const uint8_t *was, *is;
} Difference;
typedef void OnDifference(void *user, const Difference *);
void undo_compare(Undo *, OnDifference *, void *user); /* by allocation and offset */

#endif
