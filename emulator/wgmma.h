/* wgmma.h: matrix products of a warpgroup, of which each warp computes its own 16 rows (PTX
 * ISA, "Asynchronous warpgroup level matrix instructions").
 *
 * A product waits in its warp's queue until the policy computes it: EAGER at issue, LAZY at
 * the wait_group that covers it, RANDOM one or the other; then it reads shared memory and
 * the registers of A.  Its accumulators live in `hold` from issue to that wait, and the
 * registers hold NaN meanwhile.  Any touch of registers in flight is a finding, as is a
 * product over registers that were touched behind the last wgmma.fence; products of one
 * shape may follow each other on the same accumulators. */
#ifndef ATTNC_EMULATOR_WGMMA_H
#define ATTNC_EMULATOR_WGMMA_H

#include "emulator/async.h"

#include <stdbool.h>
#include <stdint.h>

struct Exec;
struct Insn;
struct Warp;

typedef struct WgmmaForm {
  uint8_t a, b, d; /* MmaType */
  uint8_t k, regs; /* regs: of accumulators */
  uint16_t n;
  bool a_regs, negate, trans_a, trans_b;
} WgmmaForm;

/* Groups and fences are counted from 1; 0: never. */
typedef struct WgmmaReg {
  uint32_t acc, a;                    /* group of the last product that has it */
  uint32_t touched, written, product; /* fences so far when that happened last */
  uint16_t shape;                     /* of that product */
} WgmmaReg;

typedef struct WgmmaOp {
  const struct Insn *insn;
  uint64_t a, b; /* descriptors */
  uint32_t group;
  bool zero, done;
} WgmmaOp;

typedef struct Wgmma { /* of one warp */
  WgmmaReg *reg;  /* [rows] */
  uint32_t *hold; /* [rows × 32] accumulators in flight */
  WgmmaOp *queue; /* oldest first */
  int n, cap;
  uint32_t fences, committed, waited;
  AsyncPolicy policy;
  uint64_t random;
} Wgmma;

Wgmma *wgmma_new(uint32_t rows, AsyncPolicy, uint64_t seed); /* NULL: out of memory */
void wgmma_free(Wgmma *);
void wgmma_reset(Wgmma *, uint32_t rows); /* a new CTA */
/* An instruction that is no product touches registers. */
void wgmma_touch(struct Exec *, struct Warp *, const struct Insn *);
/* Computes one product; false: a finding that ends the launch. */
bool wgmma_run(struct Exec *, struct Warp *, WgmmaOp *);
/* Tells the shadow of n pieces of 16 bytes. */
void wgmma_reads(struct Exec *, const struct Insn *, const uint32_t *off, int n);

#endif
