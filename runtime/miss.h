/* miss.h: why a kernel is in no cache, for the log.
 *
 * A context remembers the keys of its latest misses, each field as a hash.  Of the next
 * miss of a spec of that name it tells in which fields the key differs from the nearest of
 * them: who compiles over and over reads there which size, tensor or option is at fault. */
#ifndef ATTNC_RUNTIME_MISS_H
#define ATTNC_RUNTIME_MISS_H

#include "runtime/key.h"

#define X(field, text) +1
enum { MISS_FIELDS = 0 KEY_TABLE(X), MISS_KEPT = 64 };
#undef X

typedef struct Miss {
  uint64_t name, field[MISS_FIELDS];
} Miss;

typedef struct Misses {
  Miss at[MISS_KEPT];
  unsigned n; /* all that there were: the latest MISS_KEPT are kept */
} Misses;

/* Says it at level 3, and remembers it. */
void miss_tell(attnc_context *, const char *name, const KeyFields *);

#endif
