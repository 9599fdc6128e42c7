/* file.h: reading and writing whole files, so that a reader never sees half of one. */
#ifndef ATTNC_BASE_FILE_H
#define ATTNC_BASE_FILE_H

#include "base/arena.h"

#include <attnc/attnc_rt.h>

/* How to open for reading what others may have made: a FIFO does not wait for a writer, a
 * terminal does not become ours. */
#define FILE_READ_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

/* The whole of a regular file with a 0 behind it, in malloc'd memory that the caller frees;
 * refuses more than `max` bytes.  Never waits: a pipe or a device in the file's place,
 * which somebody else may have put there, is refused. */
attnc_status file_read(const char *path, size_t max, char **text, size_t *n, attnc_error *);
/* The same of what a user names: "-" is standard input, and a pipe is read to its end; one
 * that nobody opens for writing is refused after two seconds. */
attnc_status file_read_stream(const char *path, size_t max, char **text, size_t *n,
                              attnc_error *);
/* As much of it as is wanted, and no more where it goes on for ever.  Asked with the `n`
 * bytes that are there, how many are wanted in all; again once they are, until it is no
 * more. */
typedef size_t FileWanted(const char *bytes, size_t n);
attnc_status file_read_wanted(const char *path, FileWanted *, size_t max, char **text,
                              size_t *n, attnc_error *);
/* To a temporary file beside `path`, fsync, rename.  Links are followed, but not those that
 * another user left in a directory that all may write to; a pipe or a device in the file's
 * place is replaced. */
attnc_status file_write(const char *path, const void *, size_t n, attnc_error *);
/* The same to what a user names: a pipe or a device is written to. */
attnc_status file_write_stream(const char *path, const void *, size_t n, attnc_error *);
/* Create the directory and those above it, mode 0700 for new ones. */
attnc_status file_mkdirs(const char *path, attnc_error *);

#endif
