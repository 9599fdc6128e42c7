/* units.h: how long each unit of a multiprocessor is busy with what a tile asks of it, at
 * the peak rates of the target (compiler/target.def): what all cost models begin with. */
#ifndef ATTNC_TEMPLATES_UNITS_H
#define ATTNC_TEMPLATES_UNITS_H

#include "compiler/template.h"

/* X(unit, its rate's column, what is counted) */
#define UNIT_TABLE(X)                                                                      \
  X(MMA, mma_macs_clk, "multiply-adds of mma.sync")                                        \
  X(WGMMA, wgmma_macs_clk, "multiply-adds of wgmma")                                       \
  X(MUFU, mufu_clk, "ex2 of a lane")                                                       \
  X(FP32, fp32_clk, "other arithmetic of a lane: as many lanes as are issued to")          \
  X(SHARED, shared_clk, "bytes of shared memory, read and written")                        \
  X(L2, l2_clk, "bytes from the L2 cache")

typedef enum Unit {
#define X(unit, column, what) UNIT_##unit,
  UNIT_TABLE(X)
#undef X
      UNIT_COUNT
} Unit;

/* By unit: what is asked of it, or the clocks for which that keeps it busy. */
typedef struct Units {
  double of[UNIT_COUNT];
} Units;

Units units_clocks(const Target *, const Units *demand);
double units_longest(const Units *clocks);
double units_sum(const Units *clocks);

#endif
