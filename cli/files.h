/* files.h: what a compile leaves in a directory: files written by rename, and
 * MANIFEST.sha256, which `sha256sum -c` reads and attnc_bundle_open checks.
 *
 * The manifest is written last, with the directory locked, so that compiles at the same
 * time keep each other's lines.  Lines of earlier compiles into the same directory stay,
 * those of files written again are replaced; lines are sorted by name. */
#ifndef ATTNC_CLI_FILES_H
#define ATTNC_CLI_FILES_H

#include "base/arena.h"

#include <attnc/attnc_rt.h>

typedef struct WrittenFile {
  const char *name; /* within the directory */
  char hash[65];
  size_t bytes;
} WrittenFile;

typedef struct OutputDir {
  Arena *arena;
  const char *path;
  VEC(WrittenFile) files;
} OutputDir;

attnc_status output_open(OutputDir *, Arena *, const char *path, attnc_error *);
attnc_status output_write(OutputDir *, const char *name, const void *, size_t n,
                          attnc_error *);
attnc_status output_manifest(OutputDir *, attnc_error *);

#endif
