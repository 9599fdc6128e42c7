/* bundle_files.h: the files of a bundle: of a directory with a MANIFEST.sha256, of a pack
 * (base/pack.h) on disk, of a pack in memory.
 *
 * Opening reads the list and checks everything that is listed; reading checks the bytes
 * that it hands out once more, so that nothing unlisted or changed since is ever run. */
#ifndef ATTNC_RUNTIME_BUNDLE_FILES_H
#define ATTNC_RUNTIME_BUNDLE_FILES_H

#include "base/pack.h"

#include <stdbool.h>

typedef struct BundleFiles {
  Arena *arena;
  const char *name; /* in messages: of the directory, of the pack */
  bool pack;
  char *own;       /* a pack that was read from a file */
  PackFiles files; /* sorted as they are listed */
} BundleFiles;

/* A directory, or a pack. */
attnc_status bundle_files_open(BundleFiles *, Arena *, const char *path, attnc_error *);
/* A pack, which stays where it is until bundle_files_close. */
attnc_status bundle_files_view(BundleFiles *, Arena *, const void *pack, size_t n,
                               attnc_error *);
void bundle_files_close(BundleFiles *);

/* The bytes of a file, with a 0 behind them. */
typedef struct BundleText {
  const char *bytes;
  size_t n;
  char *own; /* what bundle_text_free gives back */
} BundleText;
attnc_status bundle_files_read(const BundleFiles *, const PackFile *, BundleText *,
                               attnc_error *);
void bundle_text_free(BundleText *);

/* The file whose name is that of `other` with `end` in the place of ".json"; NULL: none. */
const PackFile *bundle_files_beside(const BundleFiles *, const PackFile *other,
                                    const char *end);

#endif
