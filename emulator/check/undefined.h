/* undefined.h: values that nobody has written, carried to where they matter.
 *
 * Warp.def has the lanes of a row that are defined.  While all sources of an instruction
 * are, nothing here runs.  Where a lane is not, `bits` says which of its bits are not, in
 * the layout of the registers, so that what moves bits moves these alike: a half of a pair
 * may be defined and the other not.  Any other arithmetic with one undefined bit has an
 * undefined result, whatever the values are.  Shared memory knows of its bytes (shadow.h),
 * local memory here.
 *
 * Reported is where such a value matters: stored to device memory, branched on, used as an
 * address, a mask or a size, handed to an atomic, to a barrier or to an engine.  An
 * instruction that undefined_rules.c has no rule for reports whatever undefined it reads. A
 * value that was reported counts as defined from then on. */
#ifndef ATTNC_EMULATOR_UNDEFINED_H
#define ATTNC_EMULATOR_UNDEFINED_H

#include "emulator/exec/machine.h"
#include "emulator/check/report.h"
#include "emulator/exec/lanes.h"

/* How a K_LANE instruction carries undefined bits: Insn.carry. */
typedef enum Carry {
  CARRY_WHOLE,  /* one undefined bit of a source, and all of the result is undefined */
  CARRY_MOVE,   /* the bits of a move as the values do, by b and c */
  CARRY_MOVE_2, /* those of a and b do, by c */
  CARRY_UNION,  /* bit by bit: undefined where a, b or c is */
  CARRY_AND,    /* the same, but a 0 decides */
  CARRY_OR,     /* but a 1 decides */
  CARRY_HALVES, /* two halves of 16 or 32 bits, each by itself */
  CARRY_PAIR,   /* a gives the upper half, b the lower one */
} Carry;
enum { CARRY_FROM_WIDE = 0x80 }; /* a, and b if it is moved, are rows of 64 bits */

/* How a K_STEP instruction does: Insn.carry. */
typedef enum UndefinedRuleId {
  RULE_REPORT, /* undefined sources are reported */
  RULE_BRANCH, /* so they are, as what it branches on */
  RULE_BRANCH_INDEX,
  RULE_PRED,
  RULE_SELECT,
  RULE_WHOLE,
  RULE_LD,
  RULE_LDMATRIX,
  RULE_ST,
  RULE_STMATRIX,
  RULE_SHFL,
  RULE_VOTE,
  RULE_MATCH,
  RULE_MOVMATRIX,
  RULE_PRODUCT,
  RULE_LDMATRIX_BYTES,
  RULE_STMATRIX_BYTES,
} UndefinedRuleId;

uint8_t undefined_carry(LaneOp, Type); /* Insn.carry */
uint8_t undefined_rule(Step *);        /* Insn.carry */

/* Where what is undefined was read first; none: insn < 0. */
typedef ShadowOrigin Origin;

struct Undefined { /* of a warp */
  uint32_t *bits;  /* [rows × 32], of lanes that are not defined */
  Origin *row, *pred;
  uint8_t *local; /* a byte for each of the warp's local memory, 0xff: undefined; or NULL */
  Origin local_from;
  bool used; /* since the CTA started */
};

void undefined_free(struct Undefined *);
void undefined_reset(Warp *, const Kernel *); /* a new CTA */
size_t undefined_bytes(const Warp *, const Kernel *);

/* The sources of an instruction are not all defined in the lanes of mask, or its guard is
 * not: reports or carries, and says of the rows that it writes which lanes are defined. */
void undefined_step(Exec *, Warp *, const Insn *, uint32_t mask);
/* A row is read by what has an effect: reports lanes of mask that are not defined. */
void undefined_use(Exec *, Warp *, const Insn *, uint32_t row, uint32_t mask,
                   const char *verb);

/* ---- undefined_memory.c ---- */
/* These lanes have read undefined bytes of a CTA's shared memory, `bytes` each at off. */
void undefined_read(Exec *, Warp *, const Cta *, const Insn *, uint32_t lanes,
                    const uint32_t *off, int bytes);
/* After a store while x->carries: its values are not all defined. */
void undefined_store(Exec *, Warp *, const Insn *, uint32_t mask, uint8_t *const *host);
void undefined_stmatrix(Exec *, Warp *, const Insn *, const uint32_t *off);
/* Local memory, where the warp has stored undefined values. */
void undefined_local(Exec *, Warp *, const Insn *, uint32_t mask, uint8_t *const *host,
                     int bytes, bool reads);

/* Which of these bytes of local memory are not; any? */
bool undefined_take_local(const Warp *, const uint8_t *host, size_t n, uint8_t *undefined);
/* They are from now on; NULL: none is. */
void undefined_give_local(Exec *, Warp *, const uint8_t *host, size_t n,
                          const uint8_t *undefined, Origin from);

/* ---- undefined_warp.c, undefined_product.c ---- */
typedef void UndefinedRule(Exec *, Warp *, const Insn *, uint32_t mask);
extern UndefinedRule undefined_shfl, undefined_vote, undefined_match, undefined_movmatrix;
extern UndefinedRule undefined_frag_product; /* of step_mma and step_product */

/* A product of a warpgroup: rows of A and columns of B with undefined elements, a bit each.
 */
typedef struct UndefinedTile {
  uint64_t bit[4];
  Origin from;
} UndefinedTile;
/* Rows of A in registers. */
void undefined_fragment(Exec *, Warp *, const Insn *, UndefinedTile *a);
/* The accumulators from now on; zero: what they held is not read. */
void undefined_product(Exec *, Warp *, const Insn *, bool zero, const UndefinedTile *a,
                       const UndefinedTile *b);

/* ---- for those files ---- */
/* Of the warp whose turn it is; NULL: out of memory, the checks are off. */
struct Undefined *undefined_of(Exec *, Warp *);
/* Undefined bits of a row, 0 in lanes that are defined. */
void undefined_bits32(const Warp *, uint32_t row, uint32_t *bits);
void undefined_bits64(const Warp *, uint32_t row, uint64_t *bits);
/* What a row holds in these lanes from now on. */
void undefined_put32(Warp *, uint32_t row, uint32_t lanes, const uint32_t *bits, Origin);
void undefined_put64(Warp *, uint32_t row, uint32_t lanes, const uint64_t *bits, Origin);
void undefined_put_pred(Warp *, uint32_t pred, uint32_t lanes, uint32_t undefined, Origin);
/* All of it is undefined in `undefined`, defined in the others of lanes. */
void undefined_put_whole(Warp *, uint32_t row, bool wide, uint32_t lanes,
                         uint32_t undefined, Origin);
/* Of the row in lanes that are not defined. */
Origin undefined_origin(const Exec *, const Warp *, const Insn *, uint32_t row);
Origin undefined_origin_pred(const Exec *, const Warp *, const Insn *, uint32_t pred);
/* The same as undefined_use of a predicate. */
void undefined_use_pred(Exec *, Warp *, const Insn *, uint32_t pred, uint32_t mask,
                        const char *verb);
/* Lanes that are active, and nobody knows whether their guard holds: reported. */
void undefined_guard(Exec *, Warp *, const Insn *);

#endif
