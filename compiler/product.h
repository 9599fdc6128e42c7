/* product.h: the instructions that multiply tiles on tensor cores, one row each: what a
 * target has (target.def), what words check, lowering writes and counts are made of.
 *
 * All read the depth of their operands as bytes of a row, so that its elements follow from
 * their type.  Sources: PTX ISA, "mma.sync", "wgmma.mma_async". */
#ifndef ATTNC_COMPILER_PRODUCT_H
#define ATTNC_COMPILER_PRODUCT_H

#include "base/dtype.h"

#include <stdbool.h>

/* How the registers of a team hold a tile. */
typedef enum Lay {
  LAY_FRAG,     /* accumulator layout of m16n8: rows over the warps in blocks of 16 */
  LAY_ROW,      /* one value a row, equal in the lanes that have it, or a part in each
                   (per_thread) */
  LAY_WARP_ROW, /* a row a warp, eight columns of each 256 a lane */
  LAY_SCALAR,   /* one value */
  LAY_COPY_ROW, /* one value a row, in a lane of the warp that copies it */
  LAY_COL,      /* one value a column of LAY_FRAG, in the lanes that have the column */
  LAY_WORDS,    /* so many words as it has columns, the same in all threads */
  LAY_BOX,      /* one value a box of rows, in a lane of the warp that loads them */
  LAY_DEALT     /* blocks of m16n8 dealt to the warps by rows and by columns */
} Lay;

/* Where an instruction takes an operand from. */
enum { FROM_REGS = 1, FROM_SHARED = 2 };

/* id, instruction; of one: its shape (of columns and depth), rows of the result, warps that
 * issue it together, least and most columns, bytes of depth; types that it multiplies, and
 * those of them whose right operand it also reads across the rows of shared memory; places
 * of the left and the right operand; layout of the accumulator; is it in flight until it is
 * waited for; what multiplies in code that is no role's. */
#define PRODUCT_TYPE(id) (1u << DT_##id)
#define PRODUCT_HALVES   (PRODUCT_TYPE(F16) | PRODUCT_TYPE(BF16))
#define PRODUCT_TABLE(X)                                                                   \
  X(MMA_K8, "mma", "m16n%dk%d", 16, 1, 8, 8, 16, PRODUCT_TYPE(F16), PRODUCT_TYPE(F16),     \
    FROM_REGS, FROM_REGS, LAY_FRAG, false, MMA_K8)                                         \
  X(MMA_K16, "mma", "m16n%dk%d", 16, 1, 8, 8, 32, PRODUCT_HALVES, PRODUCT_HALVES,          \
    FROM_REGS, FROM_REGS, LAY_FRAG, false, MMA_K16)                                        \
  X(WGMMA, "wgmma", "m64n%dk%d", 64, 4, 8, 256, 32, PRODUCT_HALVES, PRODUCT_HALVES,        \
    FROM_REGS | FROM_SHARED, FROM_SHARED, LAY_FRAG, true, MMA_K16)

typedef enum ProductKind {
#define X(id, ...) id,
  PRODUCT_TABLE(X)
#undef X
      PRODUCT_COUNT
} ProductKind;

typedef struct ProductInfo {
  const char *name, *shape;
  int rows, warps;
  int cols_least, cols_most; /* a multiple of the least */
  int depth_bytes;
  unsigned types, across;
  unsigned left, right;
  Lay acc;
  bool async;
  ProductKind alone;
} ProductInfo;
extern const ProductInfo product_info[PRODUCT_COUNT];

/* Elements of depth of one. */
static inline int
product_depth(const ProductInfo *p, Dtype ty)
{
  return dtype_in(ty, p->depth_bytes);
}
/* Does it multiply elements of the type; along the rows of the right operand's box, or
 * (across) along its columns? */
static inline bool
product_takes(const ProductInfo *p, Dtype ty, bool across)
{
  return ((across ? p->across : p->types) >> ty & 1u) != 0;
}

#endif
