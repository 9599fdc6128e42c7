/* target.h: the architectures that kernels are made for, and their limits: one table,
 * target.def.  Limits are of compute capability (CUDA programming guide, "Compute
 * Capabilities"), PTX floors those of LLVM 22 and the PTX ISA's release notes. */
#ifndef ATTNC_COMPILER_TARGET_H
#define ATTNC_COMPILER_TARGET_H

#include "compiler/product.h"

#include <stdbool.h>
#include <stddef.h>

enum { RED_FOUR_PTX = 81 }; /* PTX ISA, red: 8.1 */

typedef struct Target {
  const char *name; /* "sm_80", "sm_90a" */
  int cc;           /* 80, 86, 90 … */
  bool exact;       /* an `a` target: runs on this capability only */
  int ptx;          /* lowest PTX version that the target needs: 70 is 7.0 */
  ProductKind product;
  int smem_block;    /* bytes a block may opt in to */
  int smem_sm;       /* bytes per multiprocessor */
  int smem_reserved; /* bytes the system takes from each block */
  int regs_sm;       /* 32-bit registers per multiprocessor */
  int threads_sm, blocks_sm;
  bool cp_async;  /* else copies go through registers */
  bool cvt_pair;  /* cvt of two fp32 numbers to a pair of 16 bits */
  bool max_nan;   /* max that is NaN where one of its numbers is */
  bool dependent; /* a launch may begin before the one ahead of it has ended */
  bool stmatrix;  /* a warp stores four 8 x 8 matrices at once */
  bool red_four;  /* red of four fp32 numbers, from RED_FOUR_PTX on */
  /* Peak rates, per clock and multiprocessor: */
  int mma_macs_clk;   /* multiply-adds of mma.sync, dense and of 16 bits */
  int wgmma_macs_clk; /* of wgmma; 0: it has none */
  int mufu_clk;       /* ex2 */
  int fp32_clk;       /* fp32 lanes */
  int shared_clk;     /* bytes of shared memory */
  int l2_clk;         /* bytes from the L2 cache, all multiprocessors reading */
  double mem_clk;     /* bytes from device memory … */
  int mem_flight;     /* … and KB of them on their way, for that rate, under load */
  int sms;            /* multiprocessors of the part that is tuned for by default */
} Target;

/* How code multiplies there: that of a role, or of a kernel without roles. */
static inline const ProductInfo *
target_product(const Target *t, bool role)
{
  return &product_info[role ? t->product : product_info[t->product].alone];
}

extern const Target targets[];
extern const int n_targets;
const Target *target_find(const char *name); /* NULL if unknown */
/* The one that a device of that capability prefers: its exact target, else the highest
 * plain one that is not above it; NULL if it is below all. */
const Target *target_for_cc(int cc);
/* What is wrong with a name that target_find does not know, and which to take instead: the
 * target of the device that it names, else the nearest in spelling. */
void target_unknown(const char *name, char *text, size_t n);

#endif
