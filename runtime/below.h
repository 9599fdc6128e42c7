/* below.h: what is below a cache's directory, reached without following a link and through
 * nothing that somebody else may change.
 *
 * Of the user's own cache every directory and every file must be the user's, and writable
 * by nobody else: what is in it is run.  Of a layer, whose owner is trusted by who named
 * it, only what everybody may write to is refused.  Paths are relative to the root, without
 * "." and "..". */
#ifndef ATTNC_RUNTIME_BELOW_H
#define ATTNC_RUNTIME_BELOW_H

#include "runtime/cache.h"

/* Things that are kept in corrupt/ for inspection. */
enum { BELOW_CORRUPT = 32 };

typedef struct Below {
  const CacheIo *io;
  int root; /* -1: none */
  bool own; /* the user's cache; else a layer */
} Below;

/* A descriptor of the root; -1: refused or absent, *why says so (static). */
int below_root(const char *dir, bool own, const char **why);

/* A descriptor of the directory that holds the path's last name, *leaf.  -1: *why, and
 * errno is ENOENT if it is not there. */
int below_parent(const Below *, const char *path, const char **leaf, const char **why);
/* A descriptor of the directory itself; -1 as above. */
int below_dir(const Below *, const char *path, const char **why);

/* BAD: there is something that no cache has written so: it is to be quarantined. */
typedef enum BelowRead { BELOW_READ, BELOW_ABSENT, BELOW_FAILED, BELOW_BAD } BelowRead;
typedef struct BelowFile {
  Entry *entry;    /* READ: the whole file, unchecked */
  const char *why; /* FAILED, BAD: static */
  time_t stamp;    /* of its modification */
} BelowFile;
BelowRead below_read(const Below *, const char *path, BelowFile *);

/* Moves whatever is there to corrupt/, of which the oldest goes when there are too many;
 * removes it where that fails. */
void below_quarantine(const Below *, const char *path);
/* Removes a name of an open directory, with all below it.  False: it is still there. */
bool below_remove(int at, const char *name);

#endif
