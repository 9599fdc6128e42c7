/* minisign.h: signatures of files as minisign writes them (Ed25519 over BLAKE2b-512, or
 * over the file itself), checked by libsodium where the build found one. */
#ifndef ATTNC_CLI_MINISIGN_H
#define ATTNC_CLI_MINISIGN_H

#include "base/arena.h"

#include <attnc/attnc_rt.h>

/* key: minisign's public key, or the path of a file with it.  `signature` is the path of a
 * file that was signed as `what`, whose n bytes are at `bytes`; *comment is the trusted
 * one, in the arena.  ATTNC_ERR_CHECK: it is not the signature of these bytes by that key.
 */
attnc_status minisign_check(const char *key, const char *signature, const void *bytes,
                            size_t n, Arena *, const char **comment, attnc_error *);

#endif
