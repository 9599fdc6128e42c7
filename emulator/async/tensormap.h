/* tensormap.h: tensor maps: what cuTensorMapEncodeTiled checks and writes, and reads back.
 *
 * A map is 128 opaque bytes; the layout in them is the emulator's own, with a mark and a
 * sum so that bytes that nobody encoded, or of which some were overwritten, are told from a
 * map. The checks are those of the CUDA Driver API reference 13.0, in its order; why says
 * what is wrong in one sentence.  Refused though a driver takes them
 * (CUDA_ERROR_NOT_SUPPORTED, never guessed at): interleaved layouts, the element types that
 * are converted on the way (FLOAT32_FTZ, TFLOAT32, TFLOAT32_FTZ), and a swizzle wider than
 * the box, for which the ISA does not say how far apart rows lie.  Pure: no device, no
 * allocation. */
#ifndef ATTNC_EMULATOR_TENSORMAP_H
#define ATTNC_EMULATOR_TENSORMAP_H

#include "abi/cuda.h"

#include <stdbool.h>

enum { TMA_RANK = 5 };

/* The arguments of cuTensorMapEncodeTiled behind the map. */
typedef struct TmaArgs {
  CUtensorMapDataType type;
  uint32_t rank;
  uint64_t address;
  const uint64_t *dims, *byte_strides; /* rank, rank - 1 */
  const uint32_t *box, *element_strides;
  CUtensorMapInterleave interleave;
  CUtensorMapSwizzle swizzle;
  CUtensorMapL2promotion promotion;
  CUtensorMapFloatOOBfill fill;
} TmaArgs;

typedef struct TmaMap {
  uint64_t address;
  uint64_t dim[TMA_RANK];    /* 1 behind the rank */
  uint64_t stride[TMA_RANK]; /* bytes; [0]: of an element */
  uint32_t count[TMA_RANK];  /* elements of the box in shared memory; 1 behind the rank */
  uint32_t step[TMA_RANK];   /* elements of the tensor from one of them to the next */
  uint8_t rank, type, elem;  /* elem: bytes */
  uint8_t swizzle;           /* CUtensorMapSwizzle */
  bool nan_fill;
  bool gather; /* four rows, each at a coordinate of its own: count[1] is 4 */
} TmaMap;

CUresult tma_encode(CUtensorMap *, const TmaArgs *, char *why, size_t n);
/* False: these 128 bytes are not a map. */
bool tma_decode(TmaMap *, const void *bytes);
/* PTX ISA, tensormap.replace: the fields, and the values as it numbers them. */
typedef enum TmaField {
  TMA_ADDRESS,
  TMA_RANK_LESS_1,
  TMA_BOX,
  TMA_DIM,
  TMA_STRIDE,
  TMA_STEP,
  TMA_TYPE,
  TMA_INTERLEAVE,
  TMA_SWIZZLE,
  TMA_FILL,
} TmaField;

/* False: these 128 bytes are not a map.  What no map may have is kept, and is not decoded.
 */
bool tma_replace(void *bytes, TmaField, uint32_t ordinal, uint64_t value);
/* The bytes are a map, of which a replaced field is wrong: why says what. */
bool tma_is_wrong(const void *bytes, char *why, size_t n);
/* Of one box, parts that lie outside the tensor included: what an mbarrier is told. */
uint32_t tma_box_bytes(const TmaMap *);
const char *tma_type_name(int type); /* "FLOAT16" */
bool tma_type_is_float(int type);

#endif
