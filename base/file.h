/* file.h: reading and writing whole files, so that a reader never sees half of one. */
#ifndef ATTNC_BASE_FILE_H
#define ATTNC_BASE_FILE_H

#include "base/arena.h"

#include <attnc/attnc_rt.h>

/* The whole file with a 0 behind it, in malloc'd memory that the caller frees; refuses more
 * than `max` bytes.  "-" is standard input. */
attnc_status file_read(const char *path, size_t max, char **text, size_t *n, attnc_error *);
/* To a temporary file beside `path`, fsync, rename. */
attnc_status file_write(const char *path, const void *, size_t n, attnc_error *);
/* Create the directory and those above it, mode 0700 for new ones. */
attnc_status file_mkdirs(const char *path, attnc_error *);

#endif
