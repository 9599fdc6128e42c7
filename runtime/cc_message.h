/* cc_message.h: what a context and a worker say to each other.
 *
 * A message is a head, JSON of json_n bytes and bytes_n bytes behind it (of an entry; else
 * none).  The head is the magic "attnc-cc" and the two lengths, 64 bits, little-endian.
 *
 *   worker, first   {"hello": {attnc, code_id, llvm}}
 *   context         a request: everything that the compile depends on, and its limits
 *   worker          {"taken": true}, once it has read the request
 *   worker          {"status", "message", "notes", "resident" (bytes)} and the entry
 *
 * A request that was given up is kept as a file of the same JSON, with the reason in
 * "failed"; attnc-cc --replay reads that. */
#ifndef ATTNC_RUNTIME_CC_MESSAGE_H
#define ATTNC_RUNTIME_CC_MESSAGE_H

#include "runtime/cc.h"

#define CC_SCHEMA "attnc.compile/1"

enum { CC_HEAD = 24, CC_JSON_MAX = 64 << 20 };

typedef struct CcHead {
  uint64_t json_n, bytes_n;
} CcHead;
void cc_head_put(unsigned char to[CC_HEAD], const CcHead *);
/* False: not the head of a message, or of one that is too long. */
bool cc_head_get(const unsigned char from[CC_HEAD], CcHead *);

/* The request; ATTNC_ERR_USAGE: a text of it is not UTF-8. */
attnc_status cc_request(const JitRequest *, const JitResolved *, const CcLimits *,
                        json_t **, attnc_error *);
json_t *cc_hello(void);
/* Of another build of attnc, or of none? */
attnc_status cc_hello_check(const json_t *, const char *program, attnc_error *);

#endif
