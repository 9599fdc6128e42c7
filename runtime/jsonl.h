/* jsonl.h: files of JSON lines that many processes append to.
 *
 * A line is one object, whose last member "sum" is the beginning of the SHA-256 of what is
 * before it; it is appended with one write, so that concatenating two files merges them,
 * and a line that is torn or changed is seen.  No lock is held, none is needed. */
#ifndef ATTNC_RUNTIME_JSONL_H
#define ATTNC_RUNTIME_JSONL_H

#include <attnc/attnc_rt.h>

#include <jansson.h>
#include <stddef.h>

typedef struct JsonlLine {
  int number;       /* from 1 */
  const char *text; /* without its end */
  size_t n;
  const json_t *json; /* NULL where `why` says what is wrong with it */
  const char *why;
} JsonlLine;
typedef void JsonlEach(void *user, const JsonlLine *);

/* Every line that is ended; the bytes of those, below n where the last line is torn. */
size_t jsonl_parse(const char *text, size_t n, JsonlEach *, void *user);
/* The same of a file; one that is absent is an empty one. */
attnc_status jsonl_read(const char *path, JsonlEach *, void *user, attnc_error *);
/* Takes the reference; NULL is a text that is not UTF-8. */
attnc_status jsonl_append(const char *path, json_t *, attnc_error *);
/* A line that was read: as it is. */
attnc_status jsonl_append_text(const char *path, const char *text, size_t n, attnc_error *);

#endif
