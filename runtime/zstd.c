#include "runtime/zstd.h"

#include <dlfcn.h>
#include <pthread.h>

/* zstd.h of libzstd 1.x, "Simple API". */
#define ZSTD_TABLE(X)                                                                      \
  X(size_t, ZSTD_compress, (void *, size_t, const void *, size_t, int level))              \
  X(size_t, ZSTD_decompress, (void *, size_t, const void *, size_t))                       \
  X(unsigned, ZSTD_isError, (size_t))

static struct {
  bool there;
#define X(type, name, args) type(*name) args;
  ZSTD_TABLE(X)
#undef X
} zstd;

static void
find(void)
{
  void *handle = dlopen("libzstd.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!handle)
    return;
  zstd.there = true;
#define X(type, name, args)                                                                \
  *(void **)&zstd.name = dlsym(handle, #name);                                             \
  zstd.there = zstd.there && zstd.name;
  ZSTD_TABLE(X)
#undef X
  dlclose(handle); /* stays mapped: RTLD_NODELETE */
}

bool
zstd_there(void)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, find);
  return zstd.there;
}

size_t
zstd_pack(void *to, size_t room, const void *from, size_t n, int level)
{
  size_t out = zstd_there() ? zstd.ZSTD_compress(to, room, from, n, level) : 0;
  return out && !zstd.ZSTD_isError(out) ? out : 0;
}

size_t
zstd_unpack(void *to, size_t room, const void *from, size_t n)
{
  size_t out = zstd_there() ? zstd.ZSTD_decompress(to, room, from, n) : 0;
  return out && !zstd.ZSTD_isError(out) ? out : 0;
}
