/* cc_failed.h: compiles that were given up, remembered for a while.
 *
 * The request of each is written to a file that attnc-cc --replay reads: failed/KEY.json in
 * the cache, where that may be written to, else a file of its own in $TMPDIR or /tmp.
 * Until CC_FAILED_SECONDS have passed, whoever asks for the same key is given the same
 * reason at once: in this process, and, through the file, in others with the same cache.
 * The key has the compiler's code in it, so that a new attnc tries anew. */
#ifndef ATTNC_RUNTIME_CC_FAILED_H
#define ATTNC_RUNTIME_CC_FAILED_H

#include "runtime/cache.h"

#include <jansson.h>

enum { CC_FAILED_SECONDS = 600, CC_FAILED_KEPT = 64 };

typedef struct CcFailed CcFailed;
/* NULL: out of memory.  Both live as long; program: attnc-cc's path. */
CcFailed *cc_failed_new(const Cache *, const char *program);
void cc_failed_free(CcFailed *); /* NULL is fine */

/* True: it failed a while ago, for the reason in *e. */
bool cc_failed_find(CcFailed *, const unsigned char key[32], attnc_error *e);
/* Keeps the request with the reason in "failed" as a file, the reason with the command that
 * repeats it (PROGRAM --replay FILE) in *e. */
void cc_failed_add(CcFailed *, const unsigned char key[32], json_t *request,
                   attnc_error *e);

#endif
