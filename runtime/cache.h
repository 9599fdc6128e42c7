/* cache.h: compiled kernels on disk, found by key.
 *
 *   DIR/entries/ab/cdef…   one file an entry (entry.h), named by its key
 *   DIR/tmp/…              being written; swept when an hour old
 *   DIR/corrupt/…          quarantined for inspection; the first to be evicted
 *   DIR/failed/…           requests that were given up (cc_failed.h); kept for a week
 *   DIR/locks              empty; a byte of it is locked while a key is compiled
 *
 * It never fails its caller: a file that cannot be read, or of which anything is doubtful,
 * is a miss, and one that cannot be written is not kept.  Each kind of trouble is told to
 * the log once, all are counted.  An entry is written to a temporary file, synced and
 * renamed, so that readers see all of it or nothing, and two writers of a key write the
 * same kernel.  Nothing of that needs a lock; cache_lock spares processes that want the
 * same key at the same moment all compiles but one, where the file system has locks.
 *
 * A directory that others may write to, or that belongs to another user, is refused, and so
 * is all of that kind below it (below.h), since what is in it is run.  Further directories
 * are read only; they may belong to anyone.  The least recently used entries go when the
 * size is passed; the time of use is a file's modification time, which a hit renews at most
 * hourly. */
#ifndef ATTNC_RUNTIME_CACHE_H
#define ATTNC_RUNTIME_CACHE_H

#include "runtime/entry.h"

#include <attnc/attnc.h>

#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

/* The system calls on which an entry's way to disk and back depends, so that tests can
 * make any of them fail. */
#define CACHE_IO_TABLE(X)                                                                  \
  X(int, openat, (int dir, const char *path, int flags, mode_t mode))                      \
  X(int, fstat, (int fd, struct stat *))                                                   \
  X(ssize_t, read, (int fd, void *, size_t))                                               \
  X(ssize_t, write, (int fd, const void *, size_t))                                        \
  X(int, fsync, (int fd))                                                                  \
  X(int, close, (int fd))                                                                  \
  X(int, futimens, (int fd, const struct timespec[2]))                                     \
  X(int, mkdirat, (int dir, const char *path, mode_t))                                     \
  X(int, renameat, (int dir, const char *from, int to_dir, const char *to))                \
  X(int, unlinkat, (int dir, const char *path, int flags))                                 \
  X(int, lock, (int fd, struct flock *))

typedef struct CacheIo {
#define X(type, name, args) type(*name) args;
  CACHE_IO_TABLE(X)
#undef X
} CacheIo;
extern const CacheIo cache_io; /* the system's own */

typedef enum CacheMode { CACHE_OFF, CACHE_READ, CACHE_WRITE } CacheMode;

typedef struct CacheConfig {
  const char *dir;
  const char *readonly; /* more directories, colon-separated; NULL: none */
  CacheMode mode;
  uint64_t max_bytes;
  const CacheIo *io;                                       /* NULL: cache_io */
  void (*log)(void *user, int level, const char *message); /* NULL: silent */
  void *log_user;
  attnc_stats *stats; /* where it counts; NULL: for itself */
  int level;          /* of zstd, that entries are written with; 0: not packed */
  int lock_ms;        /* that a lock is waited for; 0: LOCK_MS */
} CacheConfig;

typedef struct Cache Cache;

attnc_status cache_open(const CacheConfig *, Cache **, attnc_error *); /* out of memory */
void cache_close(Cache *);

/* The entry of the key, a reference of the caller's, or NULL.  *layer (may be NULL) is
 * "disk" or "readonly". */
Entry *cache_get(Cache *, const unsigned char key[32], const char **layer);
/* As cache_get, not counted. */
Entry *cache_peek(Cache *, const unsigned char key[32]);
void cache_put(Cache *, const Entry *);

/* Keeps other processes from compiling the key at the same time.  It waits for who has the
 * lock, for so long as somebody may be thought to compile, and then goes on without.  A
 * process that ends, however it does, has no lock any more. */
enum { LOCK_MS = 30000 };
typedef struct CacheLock {
  int fd; /* -1: none was to be had */
  off_t at;
  bool look_again; /* who had the lock before may have stored the key */
} CacheLock;
CacheLock cache_lock(Cache *, const unsigned char key[32]);
void cache_unlock(Cache *, CacheLock *);
attnc_stats cache_counters(const Cache *);
const char *cache_dir(const Cache *);
CacheMode cache_mode(const Cache *);
uint64_t cache_max_bytes(const Cache *);
/* Why the directory is not used; NULL if it is. */
const char *cache_refusal(const Cache *);

#endif
