/* cache_gc.h: maintenance of a cache directory: what is in it, is it sound, making room.
 *
 * Works on a directory whether or not a Cache uses it, beside any number of processes that
 * read and write it: an entry that disappears meanwhile is no error, and a reader keeps
 * the file that it has open. */
#ifndef ATTNC_RUNTIME_CACHE_GC_H
#define ATTNC_RUNTIME_CACHE_GC_H

#include "runtime/below.h"

#include <jansson.h>

typedef struct CacheUsage {
  uint64_t entries, bytes;     /* left after the work; bytes of all files, as allocated on
                                  disk, those in corrupt/, failed/ and tmp/ too */
  uint64_t corrupt, temporary; /* files in corrupt/ and tmp/ */
  uint64_t removed;            /* files, by this call */
  uint64_t evicted;            /* of those, entries */
  uint64_t packed, contents;   /* of gc_stat: compressed entries; bytes of all, unpacked */
} CacheUsage;

/* `root` is a descriptor of the cache's directory. */
void gc_count(int root, CacheUsage *);
void gc_stat(int root, CacheUsage *);
/* Drops corrupt and stale temporary files and what is in an entry's place and none, then
 * least recently used entries until at most max_bytes remain. */
void gc_evict(int root, uint64_t max_bytes, CacheUsage *);
/* Reads every entry; quarantines the bad ones, and what is no file, and appends {path,
 * reason} to `bad`. */
void gc_verify(int root, const char *dir, json_t *bad, CacheUsage *);
void gc_clear(int root, CacheUsage *);

#endif
