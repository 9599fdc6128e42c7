/* jsonl.h: files of JSON lines that many processes append to.
 *
 * A line is one object, whose last member "sum" is the beginning of the SHA-256 of what is
 * before it; it is appended with one write, so that concatenating two files merges them,
 * and a line that is torn or changed is seen.  No lock is held, none is needed. */
#ifndef ATTNC_RUNTIME_JSONL_H
#define ATTNC_RUNTIME_JSONL_H

#include <attnc/attnc_rt.h>

#include <jansson.h>
#include <stdint.h>

/* The line of that number, from 1; json is NULL where `why` says what is wrong with it. */
typedef void JsonlLine(void *user, int number, const json_t *json, const char *why);
/* Every line that is ended; *bytes (may be NULL): of the file.  A file that is absent is an
 * empty one. */
attnc_status jsonl_read(const char *path, JsonlLine *, void *user, int64_t *bytes,
                        attnc_error *);
/* Takes the reference; NULL is a text that is not UTF-8. */
attnc_status jsonl_append(const char *path, json_t *, attnc_error *);

#endif
