/* entry.h: one compiled kernel as the bytes of one file.
 *
 *   offset  bytes
 *        0      8  magic "attncE1\n"
 *        8      8  format version, 1
 *       16     32  key
 *       48     24  lengths of canonical spec, recipe JSON and PTX
 *       72     32  SHA-256 over everything before and after itself
 *      104      …  the three texts, each with a 0 behind it
 *
 * A file may have it packed by zstd (zstd.h):
 *
 *        0      8  magic "attncZ1\n"
 *        8      8  bytes of the entry
 *       16     32  its key
 *       48     32  SHA-256 over everything before and after itself
 *       80      …  a frame of zstd with the entry
 *
 * Numbers are little-endian, 64 bits.  entry_check accepts exactly the bytes that
 * entry_make wrote and says of any others what is wrong with them.  The spec is kept so
 * that a cache can be read by people; what of the recipe is not in the key
 * (spec_defaults.h) is of the spec that was first to write it, and not read from here.  An
 * Entry is immutable once checked and counted by references; its texts point into its
 * bytes. */
#ifndef ATTNC_RUNTIME_ENTRY_H
#define ATTNC_RUNTIME_ENTRY_H

#include <stddef.h>
#include <stdint.h>

enum { ENTRY_HEADER = 104, ENTRY_PACKED = 80, ENTRY_MAX = 256 << 20 };

typedef struct Entry {
  int refs; /* atomic */
  unsigned char key[32];
  const char *spec, *json, *ptx; /* each ends in 0 */
  size_t spec_n, json_n, ptx_n;
  size_t n;
  unsigned char *bytes;
} Entry;

/* NULL: out of memory, or too large. */
Entry *entry_make(const unsigned char key[32], const char *spec, const char *json,
                  const char *ptx, size_t ptx_n);
Entry *entry_room(size_t n); /* unchecked: n bytes to be filled; NULL: out of memory */
/* NULL if the bytes are an entry of this key (NULL: of the key that they say), else why
 * not; fills the texts. */
const char *entry_check(Entry *, const unsigned char key[32]);
/* What a file of the entry has, packed at that level; NULL: that would be no smaller, level
 * is 0, or there is no zstd.  Its bytes alone are of use. */
Entry *entry_packed(const Entry *, int level);
/* entry_check of what a file has: of packed ones *x becomes the entry. */
const char *entry_open(Entry **x, const unsigned char key[32]);
/* The answer of entry_open where a sound file cannot be read for want of zstd. */
extern const char entry_needs_zstd[];
/* The bytes of the entry in a file of which these are the first ENTRY_PACKED. */
uint64_t entry_bytes(const unsigned char *head, uint64_t file_bytes);
void entry_retain(Entry *);
void entry_release(Entry *); /* NULL is fine */

#endif
