/* safetensors.h: reading and writing tensors in the safetensors format.
 *
 * A file is 8 bytes N, little endian, N bytes of JSON (name → dtype, shape, data_offsets
 * into what follows), then the data, which the tensors cover without a gap or an overlap.
 * A file that is anything else is refused with the reason (ATTNC_ERR_IO): nothing about a
 * file's content is trusted before it is checked.
 * Source: the format's description in the safetensors repository's README, "Format". */
#ifndef ATTNC_CLI_SAFETENSORS_H
#define ATTNC_CLI_SAFETENSORS_H

#include "base/arena.h"

#include <attnc/attnc_rt.h>

#include <stdint.h>

/* id, name in files, bytes */
#define ST_DTYPE_TABLE(X)                                                                  \
  X(BOOL, "BOOL", 1)                                                                       \
  X(U8, "U8", 1)                                                                           \
  X(I8, "I8", 1)                                                                           \
  X(I16, "I16", 2)                                                                         \
  X(U16, "U16", 2)                                                                         \
  X(F16, "F16", 2)                                                                         \
  X(BF16, "BF16", 2)                                                                       \
  X(I32, "I32", 4)                                                                         \
  X(U32, "U32", 4)                                                                         \
  X(F32, "F32", 4)                                                                         \
  X(F64, "F64", 8)                                                                         \
  X(I64, "I64", 8)                                                                         \
  X(U64, "U64", 8)

typedef enum StDtype {
#define X(id, name, bytes) ST_##id,
  ST_DTYPE_TABLE(X)
#undef X
      ST_COUNT
} StDtype;

enum { ST_MAX_RANK = 8, ST_MAX_HEADER = 16 << 20, ST_MAX_TENSORS = 4096 };

typedef struct StTensor {
  const char *name;
  StDtype dtype;
  int rank;
  int64_t shape[ST_MAX_RANK];
  const void *data; /* not aligned when read */
  size_t bytes;
} StTensor;

typedef struct StFile {
  Arena *arena;
  char *raw;
  StTensor *at; /* in the order of their data */
  int n;
} StFile;

const char *st_dtype_name(StDtype);
int st_dtype_bytes(StDtype);

/* The tensors of n bytes, which must outlive them; everything else is in the arena. */
attnc_status st_parse(const char *bytes, size_t n, Arena *, StTensor **, int *count,
                      attnc_error *);
attnc_status st_read(const char *path, StFile *, attnc_error *);
void st_free(StFile *);
const StTensor *st_find(const StFile *, const char *name);
/* Atomically; names must be free of quotes and control characters. */
attnc_status st_write(const char *path, const StTensor *, int n, attnc_error *);

#endif
