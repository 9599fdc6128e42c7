/* dtype.h: element types, as data. */
#ifndef ATTNC_BASE_DTYPE_H
#define ATTNC_BASE_DTYPE_H

/* id, name, bytes, type of a tensor map's elements (CUtensorMapDataType), name in the
 * instructions of tensor cores.  The words of the spec field `dtype` are the first ones, in
 * this order. */
#define DTYPE_TABLE(X)                                                                     \
  X(F16, "fp16", 2, FLOAT16, "f16")                                                        \
  X(BF16, "bf16", 2, BFLOAT16, "bf16")                                                     \
  X(F32, "fp32", 4, FLOAT32, "tf32")                                                       \
  X(E4M3, "e4m3", 1, UINT8, "e4m3")                                                        \
  X(E5M2, "e5m2", 1, UINT8, "e5m2")                                                        \
  X(I32, "i32", 4, INT32, "s32")                                                           \
  X(U32, "u32", 4, UINT32, "u32")                                                          \
  X(U64, "u64", 8, UINT64, "u64")                                                          \
  X(U8, "u8", 1, UINT8, "u8")
typedef enum Dtype {
#define X(id, ...) DT_##id,
  DTYPE_TABLE(X)
#undef X
      DT_COUNT
} Dtype;

typedef struct DtypeInfo {
  const char *name, *mma, *map;
  int bytes;
} DtypeInfo;
extern const DtypeInfo dtype_info[DT_COUNT];

const char *dtype_name(Dtype);
int dtype_bytes(Dtype);
/* Elements in so many bytes. */
static inline int
dtype_in(Dtype d, int bytes)
{
  return bytes / dtype_info[d].bytes;
}
/* -1: there is none of that name. */
int dtype_find(const char *name);

#endif
