/* zstd.h: libzstd where it is installed, found when it is first needed (libzstd.so.1): what
 * is written without it is read everywhere, so that nothing has to link it. */
#ifndef ATTNC_RUNTIME_ZSTD_H
#define ATTNC_RUNTIME_ZSTD_H

#include <stdbool.h>
#include <stddef.h>

bool zstd_there(void);
/* Bytes written, 0: they did not fit, or there is no zstd. */
size_t zstd_pack(void *to, size_t room, const void *from, size_t n, int level);
size_t zstd_unpack(void *to, size_t room, const void *from, size_t n);

#endif
