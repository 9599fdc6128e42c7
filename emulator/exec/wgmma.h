/* wgmma.h: products of a warpgroup's matrices, in flight.
 *
 * Each warp of the warpgroup does its own sixteen rows.  A product is issued, joins the
 * group of the next commit_group, and is over when a wait_group covers it; until then
 * nobody but another product of the same shape may touch its accumulators, and nobody may
 * write the registers that hold A.  When it reads its operands and computes is the policy:
 * EAGER at issue, LAZY when the wait comes, RANDOM one or the other; in order within a
 * warp.  Its accumulators read as NaN until the wait, whichever it is.
 *
 * A warp's state is there only for kernels with such instructions (Kernel.wgmma).  For each
 * row of registers it knows the last group that uses it, and the last wgmma.fence before
 * an ordinary instruction touched it: what costs is one comparison per row. */
#ifndef ATTNC_EMULATOR_WGMMA_H
#define ATTNC_EMULATOR_WGMMA_H

#include "emulator/async/async.h"
#include "emulator/exec/mma.h"

struct Insn;
struct Exec;
struct Warp;
struct Cta;

typedef struct WgmmaForm {
  uint8_t a, b, d, k; /* MmaType; products of a pass */
  uint16_t n;
  uint8_t regs; /* accumulators of a thread */
  bool a_regs;  /* A is in registers */
  bool negate;  /* of imm-scale-a and imm-scale-b just one is -1 */
  bool trans_a, trans_b;
  bool satfinite;
} WgmmaForm;

typedef struct WgmmaReg {    /* a row of registers */
  uint32_t touched, written; /* fences before the last ordinary access, 0: never */
  uint32_t acc, a;           /* last group that uses it as accumulator, as A */
  uint32_t product;          /* fences before the last product that accumulated here */
  uint16_t shape;            /* of that product */
} WgmmaReg;

typedef struct WgmmaOp {
  const struct Insn *insn;
  uint64_t a, b; /* descriptors */
  uint32_t group;
  bool zero, done;
} WgmmaOp;

typedef struct Wgmma {
  WgmmaReg *reg;  /* [rows] */
  uint32_t *hold; /* [rows × 32] accumulators in flight, as their products see them */
  WgmmaOp *queue; /* not waited for, oldest first */
  int n, cap;
  uint32_t fences, committed, waited; /* groups */
  uint64_t steps;                     /* wgmma instructions that the warp has executed */
  struct WgmmaLog *log;               /* of the warpgroup, in its first warp */
  AsyncPolicy policy;
  uint64_t random;
} Wgmma;

/* NULL: out of memory. */
Wgmma *wgmma_new(uint32_t rows, AsyncPolicy);
void wgmma_free(Wgmma *);
void wgmma_reset(Wgmma *, uint32_t rows, uint64_t seed); /* a new CTA */
/* An ordinary instruction is about to run: does it touch what is in flight? */
void wgmma_touch(struct Exec *, struct Warp *, const struct Insn *);
/* The CTA has ended: has every product been waited for, by warps that agree? */
void wgmma_end(struct Exec *, struct Cta *);
/* ---- wgmma_run.c ---- */
struct UndefinedTile;
/* The descriptors of a product that is issued: what it will read, told to the shadow, and
 * what of A in shared memory and of B is undefined; false: a finding has ended the launch.
 */
bool wgmma_check(struct Exec *, struct Warp *, const WgmmaOp *, struct UndefinedTile *a,
                 struct UndefinedTile *b);
/* Reads the operands and computes, into the accumulators of `hold`. */
void wgmma_run(struct Exec *, struct Warp *, WgmmaOp *);
/* ---- wgmma_agree.c ---- */
/* The warp's next step is op, of a fence or a group with its insn alone: is it the one of
 * the other warps of its warpgroup?  False: out of memory. */
bool wgmma_agree(struct Exec *, struct Warp *, const WgmmaOp *);
void wgmma_agree_end(struct Exec *, const struct Cta *,
                     int first);      /* warp of a warpgroup */
struct WgmmaLog *wgmma_log_new(void); /* NULL: out of memory */
void wgmma_log_reset(struct WgmmaLog *);
void wgmma_log_free(struct WgmmaLog *);

#endif
