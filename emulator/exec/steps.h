/* steps.h: instructions that are more than a function of their rows.  mask: active lanes
 * whose guard holds, never 0 unless the step says so. */
#ifndef ATTNC_EMULATOR_STEPS_H
#define ATTNC_EMULATOR_STEPS_H

#include "emulator/exec/machine.h"
#include "emulator/check/report.h"

/* steps.c */
extern Step step_pred, step_select, step_bfi, step_time, step_isspacep, step_nothing,
    step_carry, step_sleep;
/* video.c */
extern Step step_video;
/* flow.c */
extern Step step_bra, step_brx, step_exit, step_trap, step_bar, step_bar_red,
    step_warp_sync, step_fence;
/* calls.c */
extern Step step_call, step_ret, step_alloca, step_stack;
/* cache.c */
enum { DISCARDED = 128 }; /* bytes of a discard, and their alignment */
extern Step step_policy, step_discard, step_st_bulk;
/* cancel.c */
extern Step step_clc_cancel, step_clc_query;
/* send.c */
extern Step step_bulk_send, step_st_async;
/* print.c */
extern Step step_printf, step_assert;
/* access.c */
extern Step step_ld, step_st, step_prefetch;
/* atom_step.c */
extern Step step_atom, step_atom_vector, step_atom128;
/* strong.c */
extern Step step_ld_strong, step_st_strong;
/* warp.c */
extern Step step_shfl, step_vote, step_match, step_redux, step_activemask, step_elect;
/* tensor.c */
extern Step step_ldmatrix, step_stmatrix, step_ldmatrix_bytes, step_stmatrix_bytes,
    step_movmatrix, step_mma, step_product, step_cp_async, step_cp_commit, step_cp_wait;
/* wmma.c */
extern Step step_wmma_load, step_wmma_store;
/* cluster.c */
extern Step step_mapa, step_ctarank, step_cluster_arrive, step_cluster_wait, step_grid;
/* registers.c */
extern Step step_setmaxnreg;
/* mbarrier_step.c */
extern Step step_mbar_init, step_mbar_inval, step_mbar_arrive, step_mbar_wait,
    step_copy_arrive, step_mbar_count;
/* bulk_step.c */
extern Step step_bulk_load, step_bulk_store, step_bulk_commit, step_bulk_wait,
    step_fence_proxy;
/* wgmma.c */
extern Step step_wgmma, step_wgmma_fence, step_wgmma_commit, step_wgmma_wait;
/* tma_step.c */
extern Step step_tma_load, step_tma_store, step_tma_prefetch, step_tma_fence;
/* tensormap_step.c */
extern Step step_tensormap, step_tensormap_copy;

/* ---- strong.c ---- */
/* A lane of a strong access between its two calls, which nobody else's comes between. */
typedef struct StrongLane {
  ShadowHeld *held; /* NULL: there is nothing to tell */
  int lane;
  uint64_t addr, off;
} StrongLane;
StrongLane strong_hold(Exec *, Warp *, const Reach *, int lane);
void strong_tell(Exec *, Warp *, const Insn *, const StrongLane *, ShadowOp);

/* All live lanes of the warp must be here: GO, or PARK until they come. */
Stop warp_gather_all(Exec *, Warp *, const Insn *, uint32_t mask);
/* PTX ISA, "shfl.sync": from which lane, by operands b and c; valid: its predicate. */
int warp_source_lane(int mode, int lane, uint32_t b, uint32_t c, bool *valid);

#endif
