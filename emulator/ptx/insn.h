/* insn.h: kernels as the decoder leaves them and exec/ runs them.
 *
 * A kernel is decoded once into a dense array of Insn.  A warp's registers are rows of 32
 * lanes (128 bytes; a 64-bit register takes two); immediates and special registers are rows
 * as well, written when a warp starts, so that every source operand is a row.  Predicates
 * are one 32-bit mask each.  Most instructions are a LaneFn over whole rows: all 32 lanes
 * are computed, and where not all are active the old lanes are blended back, so that the
 * result of a lane never depends on its neighbours.  The others are a Step. */
#ifndef ATTNC_EMULATOR_INSN_H
#define ATTNC_EMULATOR_INSN_H

#include "emulator/exec/arith.h"
#include "emulator/exec/mma.h"
#include "emulator/ptx/ptx.h"
#include "emulator/exec/video.h"
#include "emulator/exec/wgmma.h"

enum { LANES = 32 };
#define FULL 0xffffffffu

typedef struct Insn Insn;
typedef struct Exec Exec;
typedef struct Warp Warp;
typedef struct Kernel Kernel;

/* Rows and predicates that every kernel has. */
enum { ROW_ZERO = 0, ROW_SINK = 2, ROW_FIRST = 4 };
/* PRED_CLUSTER: %is_explicit_cluster.  PRED_CARRY: CC.CF, carry or borrow. */
enum { PRED_TRUE, PRED_SINK, PRED_FALSE, PRED_CLUSTER, PRED_CARRY, PRED_FIRST };

/* Arguments of forms. */
enum { W_FENCE, W_COMMIT, W_WAIT };
enum { P_AND, P_OR, P_XOR, P_NOT, P_MOV };
/* of cvt: one value, two into one, a pair into a pair, two and random bits, four and those
 */
enum { CVT_ONE, CVT_TWO, CVT_PAIR, CVT_RANDOM, CVT_FOUR };
enum { C_ADD, C_SUB, C_MAD, C_ADD_IN, C_SUB_IN, C_MAD_IN };
enum { B_SYNC, B_ARRIVE };
enum { R_POPC, R_AND, R_OR };
enum {
  A_ADD,
  A_MIN,
  A_MAX,
  A_AND,
  A_OR,
  A_XOR,
  A_EXCH,
  A_INC,
  A_DEC,
  A_CAS,
  A_OPS,
};
enum { MB_ARRIVE, MB_NO_COMPLETE, MB_ARRIVE_EXPECT, MB_EXPECT, MB_COMPLETE };
enum { SHFL_UP, SHFL_DOWN, SHFL_BFLY, SHFL_IDX };
enum { VOTE_ALL, VOTE_ANY, VOTE_UNI, VOTE_BALLOT };

typedef enum Stop {
  GO,     /* to the next instruction */
  JUMPED, /* the step has set pc and active */
  PARK,   /* the group waits here for other lanes */
  BLOCK,  /* the warp waits at a barrier, its pc is set */
  DONE,   /* all lanes have exited */
  SLICE,  /* the turn is over */
  FATAL,
} Stop;

/* The warp's own CTA is w->cta; what works on another CTA of the cluster is handed that. */
typedef Stop Step(Exec *, Warp *w, const Insn *, uint32_t mask);
typedef uint32_t CompareFn(const void *a, const void *b); /* mask of lanes */

typedef enum InsnKind { K_LANE, K_COMPARE, K_STEP } InsnKind;
enum {
  F_LEADER = 1, /* other groups may be waiting here, or come here */
  F_WIDE = 2,   /* d takes two rows */
  F_GUARD_NOT = 4,
  F_SHARED = 8, /* what the counters of this instruction count */
  F_GLOBAL = 16,
  F_MEETS = 32, /* it reads device memory that others may write meanwhile */
};

/* What an instruction keeps busy, for the cost model; UNITS: issue slots alone. */
typedef enum Unit { UNIT_ALU, UNIT_MUFU, UNIT_MMA, UNIT_SHARED, UNIT_GLOBAL, UNITS } Unit;

/* What setp and set do with their result and ps. */
typedef enum Combine { COMBINE_NONE, COMBINE_AND, COMBINE_OR, COMBINE_XOR } Combine;
/* How many bytes of a cp.async are read: all, as many as c says, none where ps holds. */
typedef enum CopyLimit { COPY_ALL, COPY_BYTES, COPY_UNLESS } CopyLimit;

struct Insn {
  ArOp op; /* K_LANE */
  union {
    Step *step;
    CompareFn *compare;
  };
  uint8_t kind, flags, unit;
  uint8_t carry;       /* K_LANE: undefined.h */
  uint16_t guard;      /* predicate; 0 is always true */
  bool ps_not;         /* of ps its opposite */
  uint32_t d, a, b, c; /* rows (predicates for what is one); 0: none */
  int32_t target;      /* instruction */
  uint32_t list;       /* first of `lists`: more operands */
  uint16_t n_d, n_s;   /* of the list: rows written, then rows read */
  int32_t line;
  union {
    struct {
      int64_t imm, imm2;
    };
    VideoForm video;
  };
  union {
    MmaForm mma;
    WgmmaForm wgmma;
  };
  uint16_t pd, pq, ps, pt; /* predicates: two written, two read */
  struct {                 /* of what has an address: it is in row a, imm behind it */
    uint8_t space;         /* Space */
    bool addr64;           /* the row is of 64 bits */
    uint8_t bytes, n;      /* of an element, 0: the step says; elements of a lane */
    uint8_t type;          /* Type of an element */
    uint8_t order;         /* SHADOW_SCOPE …: of strong accesses, of fences */
  } mem;
  union { /* what a step needs to know besides; its builder writes the member of its kind */
    struct {
      uint8_t combine; /* Combine */
    } cmp;
    struct {
      uint8_t op; /* P_AND … */
    } pred;
    struct {
      bool subtracts;
    } carries;
    struct {
      uint8_t special;
    } clock;
    struct {
      bool uni;
    } bra, call;
    struct {
      bool breakpoint;
    } trap;
    struct {
      bool restores;
    } stack;
    struct {
      bool inc;
    } maxnreg;
    struct {
      bool counted;      /* b says how many threads it waits for */
      uint8_t mode, red; /* B_SYNC …; bar.red: R_POPC … */
    } bar;
    struct {
      bool aligned, relaxed;
    } cluster;
    struct {
      bool trigger;
    } grid;
    struct {
      uint8_t mode; /* SHFL_UP … */
    } shfl;
    struct {
      uint8_t mode; /* VOTE_ALL … */
    } vote;
    struct {
      bool all;
      uint8_t bytes;
    } match;
    struct {
      uint8_t op; /* A_ADD … */
      bool sign;
    } redux;
    struct {
      bool sign;
      uint8_t keep; /* bits of a destination of 32 that are not 0 */
    } ld;
    struct {
      uint8_t op; /* A_ADD … */
    } atom;
    struct {
      uint8_t limit; /* CopyLimit */
    } copy;
    struct {
      uint8_t n, bits; /* matrices; of an element in memory */
      bool trans;
    } ldsm;
    struct {
      uint8_t a, b; /* registers of a product's factors */
    } regs;
    struct {
      uint8_t role; /* FragRole */
      bool col, strided;
    } wmma;
    struct {
      uint8_t op;           /* MB_ARRIVE … */
      bool counted, drops;  /* b says how many arrive; they arrive no more */
      bool relaxed, parity; /* parity: of a wait, what b is; else a state */
      bool noinc;
    } mbar;
    struct {           /* copies that complete on an mbarrier, or in a group */
      uint8_t op;      /* A_ADD …; A_OPS: none */
      uint8_t element; /* bytes, of a reduction into shared memory */
      bool sign;
      bool mbar64, from64; /* the rows of these addresses are of 64 bits */
      bool multicast;
    } bulk;
    struct {
      bool read;
    } group;
    struct {
      bool mbar_init;
    } proxy;
    struct {
      uint8_t rank, op; /* A_ADD …; A_OPS: none */
      bool gathers, mbar64, multicast;
    } tma;
    struct {
      uint8_t field, ordinal; /* TmaField */
      bool wide;
    } map;
    struct {
      bool range;
    } policy;
    struct {
      uint8_t part; /* 0: is there an answer; 1: all; 2, 3, 4: x, y, z */
    } clc;
  };
};

_Static_assert(sizeof(Insn) <= 112,
               "the loop of exec.c goes through them: a new member joins the union");

enum { FILL_SHARED = SPECIAL_COUNT };
typedef struct Fill { /* a row written when a warp starts */
  uint32_t row;
  int16_t special; /* -1: value; FILL_SHARED: a shared address */
  bool wide;
  uint64_t value;
} Fill;

/* Where an argument, a parameter or a result of a call is. */
typedef struct Place {
  uint32_t row;       /* ROW_ZERO: in memory */
  uint32_t at, bytes; /* in memory: from the start of the frame */
} Place;

typedef struct Function {
  const Ast *ast;
  int entry;               /* instruction */
  uint32_t row, end_row;   /* what is its own in a warp's file */
  uint32_t pred, end_pred; /* likewise */
  uint32_t base;           /* row: where its frame starts in local memory */
  uint32_t frame, align;   /* bytes */
  Place *out, *in;
  int n_out, n_in;
} Function;

typedef struct CallSite {
  int function;  /* -1: the one whose address is in the instruction's row a */
  uint32_t base; /* of the caller; ROW_ZERO in the entry */
  Place *out, *in;
  int n_out, n_in;
} CallSite;

/* Functions have addresses where no memory is. */
enum { FUNCTION_BASE = 1 << 20, FUNCTION_STEP = 16 };

struct Kernel {
  Ptx *ptx;
  const Ast *ast;
  const char *name;
  Insn *code;
  int n_code;
  uint32_t *lists;
  Fill *fills;
  int n_fills;
  uint32_t rows, preds;
  uint32_t *def0;                     /* [rows] lanes defined at the start: constants */
  const char **row_name, **pred_name; /* registers' names; NULL for constants */
  const bool *row_wide;               /* the first of two rows */
  uint32_t param_bytes, local_bytes, shared_bytes; /* of what is declared */
  Function *functions;
  int n_functions;
  int *function_of; /* [functions of the module] -1: none of the kernel's */
  CallSite *sites;
  uint32_t frame;       /* bytes of the entry's own local memory */
  uint32_t most_args;   /* bytes of the arguments or results of a call */
  bool calls, deep;     /* it calls functions; how deep is not known beforehand */
  uint32_t dynamic_at;  /* where .extern .shared starts */
  uint32_t max_dynamic; /* opted in */
  bool large_clusters;  /* as well */
  bool wgmma;           /* it has wgmma instructions */
  bool meets;           /* its CTAs meet in device memory: atomics, strong accesses */
  uint8_t reads_strong; /* device memory, at this ShadowScope */
  int carveout, cluster_policy;
  uint64_t cluster_ns; /* of the host, in its last launch; 0: it had none */
};

/* ---- decode.c ---- */
/* Kernel of one entry, in the module's arena; ptx_fail on what is not known. */
Kernel *decode_kernel(Ptx *, const Ast *);
/* Functions that no entry may call are held to the table as well. */
void decode_unused(Ptx *);

#endif
