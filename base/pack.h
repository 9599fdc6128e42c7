/* pack.h: named files in one file, and the list of them with their SHA-256, as sha256sum
 * writes it.
 *
 *   offset  bytes
 *        0      8  magic "attncP1\n"
 *        8      8  bytes of the whole
 *       16      8  bytes of the list
 *       24     32  SHA-256 over everything before and after itself
 *       56      8  0
 *       64      …  the list, then each file in its order behind 64 bytes that begin with
 * its length; list and files are filled up with zeros, at least one, to a multiple of 64
 *
 * Numbers are little-endian, 64 bits.  The same files in the same order give the same
 * bytes.  pack_read accepts no others than pack_write wrote: any byte that is changed,
 * missing or too many is refused. */
#ifndef ATTNC_BASE_PACK_H
#define ATTNC_BASE_PACK_H

#include "base/arena.h"

#include <attnc/attnc_rt.h>

typedef struct PackFile {
  const char *name;
  char hash[65];
  const char *data; /* n bytes and a 0; NULL: of a list alone */
  size_t n;
} PackFile;
typedef VEC(PackFile) PackFiles;

enum { PACK_MOST = 1 << 30 }; /* bytes */

/* The lines of a list, named `what` in messages: names beside it, none twice. */
attnc_status pack_list(const char *text, size_t n, const char *what, Arena *, PackFiles *,
                       attnc_error *);
/* The files of the n bytes at `bytes`, into which they point. */
attnc_status pack_read(const void *bytes, size_t n, const char *what, Arena *, PackFiles *,
                       attnc_error *);
/* Their hashes are set, and they are sorted by name; the bytes are in the arena. */
attnc_status pack_write(PackFiles *, Arena *, char **bytes, size_t *n, attnc_error *);
/* Do bytes begin as a pack does? */
int pack_is(const void *bytes, size_t n);

#endif
