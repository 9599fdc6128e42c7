/* emu.h: how a kernel is executed: decoded instructions, warps, CTAs, launches, devices.
 *
 * A kernel is decoded once into a dense array of Insn.  A warp's registers are rows of 32
 * lanes (128 bytes; a 64-bit register takes two); immediates and special registers are rows
 * as well, written when a warp starts, so that every source operand is a row.  Predicates
 * are one 32-bit mask each.  Most instructions are a LaneFn over whole rows: all 32 lanes
 * are computed, and where not all are active the old lanes are blended back, so that the
 * result of a lane never depends on its neighbours.  The others are a Step.
 *
 * Lanes that part become groups; the group with the lowest pc runs, groups that meet merge.
 * An instruction that needs lanes which are elsewhere parks its group until they come; if
 * no group can move, that is a finding, not a hang.
 *
 * An Exec runs one cluster of CTAs after another, most often of a single CTA.  Where CTAs
 * meet in device memory all clusters run on one host thread, by turns (crowd.c); else each
 * host thread takes one after the other.  Which comes when is a policy (order.c).  Device
 * memory lives at fake addresses with gaps between allocations, so that an overrun always
 * faults.
 */
#ifndef ATTNC_EMULATOR_EMU_H
#define ATTNC_EMULATOR_EMU_H

#include "base/fork.h"
#include "emulator/exec/arith.h"
#include "emulator/async/async.h"
#include "emulator/exec/mma.h"
#include "emulator/ptx/ptx.h"
#include "emulator/check/shadow.h"
#include "emulator/check/told.h"
#include "emulator/exec/video.h"
#include "emulator/exec/wgmma.h"
#include "abi/cuda_more.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
  LANES = 32,
  MAX_WARPS = 32,
  MAX_BARRIERS = 16,
  MAX_CLUSTER = 16,
  MAX_RESIDENT = 64,
  PORTABLE_CLUSTER = 8, /* more needs an attribute of the function */
  SHARED_BASE = 1024, /* as on chips that keep 1 KB for themselves: address 0 is nobody's */
  RANK_SHIFT = 24, /* a shared address has the CTA's rank in its cluster above its offset */
};
#define FULL 0xffffffffu
/* Windows of the generic address space. */
#define WINDOW_SHARED 0x00007f0000000000u
#define WINDOW_LOCAL  0x00007f1000000000u
#define WINDOW_PARAM  0x00007f2000000000u
#define WINDOW_SIZE   0x0000000100000000u
#define GLOBAL_BASE   0x0000600000000000u
enum { DEVICE_SHIFT = 40 }; /* address bits of one device's memory, above GLOBAL_BASE */
#define DEVICE_MEMORY 0x0000000200000000u /* bytes */

typedef struct Insn Insn;
typedef struct Exec Exec;
typedef struct Warp Warp;
typedef struct Cta Cta;
typedef struct Kernel Kernel;
typedef struct Launch Launch;
typedef struct Device Device;
typedef struct Frame Frame;

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

enum { TURNS_NOW = 1 << 20 }; /* of spins: groups take turns at once */
typedef struct Group {
  int pc;
  uint32_t mask;
  bool waiting, tried; /* tried: with those who wait here in other frames */
  Frame *frame;        /* NULL: the entry's */
  uint64_t since;      /* instructions of the warp when it was parked */
} Group;

struct Warp {
  uint32_t *file, *def; /* rows × 32, rows */
  uint32_t *pred, *pdef;
  uint8_t *local;              /* 32 × local_bytes */
  struct Undefined *undefined; /* NULL: all that it has read was defined */
  Cta *cta;
  int id, pc;
  uint32_t live, active, born;
  Group parked[LANES];
  int n_parked, spins; /* regroupings since two groups met */
  uint32_t failed;     /* lanes whose wait has failed since anything happened */
  Wgmma *wgmma;        /* NULL: the kernel has none */
  struct Calls *calls; /* NULL: the kernel has none */
  Frame *frame;        /* of the active lanes; NULL: the entry's */
  bool mixed;          /* the active lanes are in several frames */
  int meeting;         /* instruction that they execute together; -1: none */
  int barrier;         /* at which it waits; -1: none */
  bool done;
  bool stalled; /* its wait for an mbarrier failed, and nothing has happened since */
  int stalled_line;
  uint32_t waits_for; /* offset of that mbarrier + 1, or WAITS_… */
  uint32_t met,
      due; /* barrier.cluster: lanes that arrived; whose phase is over, wait due */
  uint32_t registers; /* a thread, setmaxnreg; 0: unknown */
  uint32_t read[8];   /* crowd.c: hashes of what it has read lately where CTAs meet */
  uint32_t n_read;
  uint64_t executed;
};

/* setmaxnreg in a warpgroup: the warps that have executed it while others have not. */
typedef struct Setting {
  const Insn *insn;
  uint32_t came;
} Setting;
enum { WAITS_REGISTERS = 0x7ffffffd, WAITS_CLUSTER, WAITS_PRODUCTS };

typedef struct Barrier {
  uint32_t expected, arrived; /* threads; 0: nobody is here */
  uint32_t waiting;           /* warps */
  uint32_t members;           /* warps that arrived or wait in this phase */
  uint32_t votes, voters;     /* bar.red: predicates that held, of how many */
  int line;                   /* of the first to come */
} Barrier;

/* A tensor map in global memory as fence.proxy.tensormap found it. */
typedef struct FencedMap {
  uint64_t addr;
  uint8_t bytes[CUDA_TENSOR_MAP_BYTES];
} FencedMap;
enum { FENCED_MAPS = 16 };

struct Cta {
  int index; /* in the grid */
  int rank;  /* in the cluster */
  int left;  /* warps that have not exited */
  uint32_t id[3];
  Shadow *shadow;
  Async *async;
  struct Bulk *bulk;
  uint8_t *memory; /* what the warps' pointers point into */
  Warp warp[MAX_WARPS];
  int n_warps;
  uint8_t *shared;
  uint64_t base;   /* its address, in the window of shared memory */
  uint8_t *layout; /* layout.h: a byte for each line of shared memory */
  bool laid_out;   /* one of them is not 0 */
  uint32_t shared_bytes;
  Barrier barrier[MAX_BARRIERS];
  uint32_t pool; /* registers that no warp has */
  Setting setting[MAX_WARPS / 4];
  FencedMap fenced[FENCED_MAPS]; /* the last ones */
  uint32_t n_fenced;
};

/* Device memory; memory of the host at its own address: page-locked, registered, managed.
 */
typedef enum AllocKind {
  ALLOC_DEVICE,
  ALLOC_HOST,
  ALLOC_REGISTERED,
  ALLOC_MANAGED
} AllocKind;

typedef struct Alloc {
  uint64_t base, bytes;
  uint8_t *host;
  ShadowMem *shadow;
  bool read_only;
  uint8_t kind;      /* AllocKind */
  CUcontext owner;   /* with which it goes; NULL: with the block of host_memory.c */
  CUmemoryPool pool; /* from which it is; NULL: none */
  uint64_t id;       /* no two have the same in a process */
} Alloc;

/* What an Exec is made for: launches that agree in it may use it one after another. */
typedef struct ExecShape {
  const Kernel *kernel;
  uint64_t module;                  /* its text's number: kernels' addresses come again */
  uint32_t threads, dynamic, local; /* local: bytes of a thread */
  int ctas;
  AsyncPolicy async;
  bool checks;
} ExecShape;

/* Runs clusters of a launch, one after another, on one host thread. */
struct Exec {
  Launch *launch;
  ExecShape shape;
  const Kernel *kernel;
  const struct LaneCode *code;
  Cta *ctas; /* of the cluster */
  int n_ctas;
  const Alloc *last; /* allocation found last */
  uint64_t slice, fuel;
  uint64_t random;
  uint64_t executed;
  int asked; /* rounds of waits for mbarriers since anything happened */
  CUresult result;
  uint32_t blend[LANES]; /* lane mask of the last partial instruction */
  uint32_t blend_mask;
  _Alignas(32) uint8_t scratch[32];
  uint64_t barriers;
  bool carries;     /* the store at hand has values that are not all defined */
  bool meeting;     /* somebody has arrived at the cluster's barrier */
  bool busy, met;   /* met: the turn ends because CTAs meet */
  bool fresh;       /* it has not run a cluster of this launch */
  uint8_t unit;     /* bytes of an element of what is written; 0: the instruction says */
  int left, latest; /* warps that have not exited; the one that had the last turn */
  uint64_t place;   /* of its cluster among those whose findings are alike: told.h */
  uint32_t idle,
      stuck; /* crowd.c: reads in vain, since anything happened, since anything else */
  const Insn *waits_at; /* the last of them */
  Warp *waiter;
  Exec *next; /* spare.c: behind it in the list */
  size_t bytes;
};

typedef enum CtaOrder { CTAS_FORWARD, CTAS_REVERSE, CTAS_RANDOM } CtaOrder;
typedef enum Order { ORDER_BLOCK, ORDER_RR, ORDER_RANDOM } Order;

/* Which node of a graph is next, of those whose dependencies have ended. */
typedef enum NodeOrder { NODES_FORWARD, NODES_REVERSE, NODES_RANDOM } NodeOrder;

typedef struct Settings {
  char arch[16];
  int devices, threads, resident;
  bool checks, lax, fast_mma, print, tell;
  Order order;
  int orders; /* of CTAs, under which a launch is run */
  NodeOrder nodes;
  CtaOrder ctas;
  uint64_t seed, fuel;
  AsyncPolicy async;
  uint32_t regs; /* of a thread at its start; 0: by the directives */
} Settings;

typedef struct Chip { /* one emulated architecture */
  const char *name;
  int cc, sms, smem_block, smem_optin, smem_sm, regs_sm, threads_sm, blocks_sm;
  int mma_macs, mufu, fp32, l2_bytes; /* per SM and clock; bytes of global traffic too */
  int l2_size;
} Chip;

/* Bytes of shared memory that each CTA costs beside its own. */
static inline int
chip_reserved(const Chip *c)
{
  return c->smem_sm - c->smem_optin;
}

struct Launch {
  Kernel *kernel;
  Device *device;
  /* Of its device: who a launch number is; the variable at an address, NULL: none. */
  ShadowTell *tell;
  const char *(*variable)(const Launch *, uint64_t address);
  const Chip *chip;
  uint32_t per_sm; /* CTAs that a multiprocessor holds, by threads and shared memory */
  Settings set;
  uint32_t grid[3], block[3], cluster[3];
  bool explicit_cluster;
  bool cooperative;              /* all CTAs are there at once */
  uint64_t number;               /* of this launch */
  const ShadowSet *late, *ahead; /* as in ShadowInfo */
  bool waited;                   /* every CTA has executed griddepcontrol.wait */
  bool early;                    /* every CTA has executed launch_dependents before */
  uint32_t dynamic;
  uint32_t envreg[3]; /* %envreg0 … 2, in which a driver tells kernels things; the others
                         are 0 */
  uint32_t local_bytes; /* of a thread */
  uint64_t ctas, clusters;
  uint8_t *params;
  ShadowLaunch *shadow;
  const Alloc *allocs;
  int n_allocs;
  bool by_turns;       /* on one host thread: crowd.c */
  uint64_t random;     /* of its turns */
  CtaOrder ctas_order; /* of this run, and the seed of what is random in it */
  uint64_t order_seed;
  struct Undo *undo; /* NULL: what it writes stays */
  bool again;        /* it has run, or will, under another order: nobody counts this one */
  atomic_uint_fast64_t next;   /* place of the next cluster */
  atomic_uint_fast64_t failed; /* place of the cluster that failed, the first in order */
  atomic_int result;           /* CUresult of that; success: none has */
  float *cost;                 /* [ctas][COSTS], clocks */
  atomic_uint_fast64_t barriers, errors;
  Told *told;
};

/* Of the cost model: the units, and the issue slots. */
enum { COST_ISSUE = UNITS, COSTS };

/* ---- decode.c ---- */
/* Kernel of one entry, in the module's arena; ptx_fail on what is not known. */
Kernel *decode_kernel(Ptx *, const Ast *);
/* Functions that no entry may call are held to the table as well. */
void decode_unused(Ptx *);

/* ---- exec.c ---- */
Stop exec_warp(Exec *, Warp *); /* until it blocks, ends, or its slice is over */
/* The warp waits, and executes the instruction again when it is no longer stalled. */
Stop exec_block(Exec *, Warp *, const Insn *, uint32_t mask, uint32_t waits_for);
/* Something has happened that a warp of the CTA may wait for: all look again. */
void exec_wake(Exec *, Cta *);
/* Write a row under a mask. */
void exec_put32(Exec *, Warp *, uint32_t row, const uint32_t *lanes, uint32_t mask);
void exec_put64(Exec *, Warp *, uint32_t row, const uint64_t *lanes, uint32_t mask);
/* Lanes of mask go on at pc, in w->frame, when it is their turn. */
void exec_park(Warp *, int pc, uint32_t mask, bool waiting);
/* The group that is due runs; false: all wait. */
bool exec_take(Warp *);
const uint32_t *exec_expand(Exec *, uint32_t mask); /* 0 or all ones a lane */

/* ---- cta.c ---- */
/* NULL: out of memory.  An Exec runs one cluster after another. */
Exec *exec_new(Launch *);
void exec_free(Exec *);
bool exec_fits(const Exec *, const Launch *);
void exec_renew(Exec *, Launch *);        /* it fits: what it runs next is of that launch */
size_t exec_bytes(const Exec *);          /* of memory, about */
void cta_start(Exec *, uint64_t cluster); /* all CTAs of the cluster */
/* ---- spare.c ---- */
Exec *spare_take(Launch *); /* kept since an earlier launch, or new; NULL: out of memory */
void spare_give(Exec *);
void spare_forget(uint64_t module); /* it is unloaded; 0: of all */
void spare_fork(ForkStep);
/* ---- turns.c ---- */
/* The Exec is busy from then on, until its cluster has ended or the launch has failed. */
void cluster_begin(Exec *, uint64_t place);
/* Until it has ended, CTAs meet, or so many instructions are executed. */
void cluster_advance(Exec *, uint64_t most);

/* ---- cluster.c ---- */
/* Lanes have exited: those that are left may be all there. */
void cluster_exit(Exec *);
/* What a warp waits for, for a report of a deadlock; returns its length. */
int cluster_describe(const Warp *, char *text, size_t n);
/* The CTA of an address in the window of shared memory, and where there; NULL: *stop says
 * what is wrong.  A CTA other than the warp's own only where `far` allows it. */
Cta *cluster_find(Exec *, Warp *, const Insn *, int lane, uint64_t addr, bool far,
                  uint64_t bytes, uint32_t *off, Stop *stop);
/* A warp, as the shadow of a CTA of its cluster knows it. */
static inline int
cta_who(const Warp *w, const Cta *c)
{
  return w->cta == c ? w->id : SHADOW_FAR(w->cta->rank, w->id);
}

/* ---- registers.c ---- */
void registers_start(Cta *, const Launch *);
uint32_t registers_at_entry(const Launch *); /* of a thread; 0: no directive says */
void registers_end(Exec *, Cta *);
/* What a warp waits for, for a report of a deadlock; returns its length. */
int registers_describe(const Exec *, const Warp *, char *text, size_t n);

/* ---- access.c ---- */
typedef struct Reach {  /* where the active lanes of an access are */
  uint64_t addr[LANES]; /* as computed */
  uint8_t *host[LANES]; /* inactive lanes: a scratch of 32 bytes */
  Space space;          /* of all of them, or SPACE_GENERIC for a mixture */
} Reach;
/* Bounds and alignment of `bytes` a lane, told to the shadow; anything but GO is a finding.
 */
Stop mem_reach(Exec *, Warp *, const Insn *, uint32_t mask, ShadowOp, int bytes, Reach *);
/* The same at addresses that the caller has written there. */
Stop mem_reach_at(Exec *, Warp *, const Insn *, uint32_t mask, ShadowOp, int bytes,
                  Reach *);
void mem_addresses(Warp *, const Insn *,
                   uint64_t *addr); /* [LANES], as the operand has them */
/* Offsets into shared memory of the lanes in mask, 16-byte rows or copies. */
Stop mem_shared(Exec *, Warp *, const Insn *, uint32_t mask, ShadowOp, int bytes,
                uint32_t *off);
/* `at` bytes behind the addresses. */
Stop mem_shared_at(Exec *, Warp *, const Insn *, uint32_t mask, ShadowOp, int at, int bytes,
                   uint32_t *off);
/* Sources of cp.async: bytes[l] of them, 0: none. */
Stop mem_sources(Exec *, Warp *, const Insn *, uint32_t mask, const uint32_t *bytes,
                 const uint8_t **host);

/* n bytes of global memory for one lane, in one allocation: bounds, told to the shadow;
 * host is where they are. */
Stop mem_span(Exec *, Warp *, const Insn *, int lane, uint64_t addr, uint64_t bytes,
              ShadowOp, uint8_t **host);
/* Where a generic address of a lane is, and how many bytes there are from there on; NULL:
 * nothing is there. */
const uint8_t *mem_peek(Exec *, Warp *, int lane, uint64_t addr, uint64_t *bytes);
/* Of an address that has been checked. */
uint8_t *mem_host(Exec *, uint64_t addr);
const Alloc *mem_alloc(Exec *, uint64_t addr); /* NULL: nothing is there */
/* An access as the shadow is told of it. */
ShadowAccess mem_access(const Exec *, const Warp *, const Insn *, uint32_t mask, ShadowOp,
                        int bytes);
/* Of ld and st, once it is known where the lanes are. */
void mem_load(Exec *, Warp *, const Insn *, uint32_t mask, const Reach *);
void mem_store_lane(const Exec *, const Warp *, const Insn *, const Reach *, int lane);
bool mem_is_const(Exec *, uint64_t addr); /* of a .const variable */

/* ---- report.c ---- */
/* A finding that ends the launch: "ptx:LINE: error[name]: …, warp 1, lane 3".  lane < 0:
 * the whole warp. */
Stop report_fatal(Exec *, const Warp *, const Insn *, CUresult, const char *name, int lane,
                  const char *fmt, ...) __attribute__((format(printf, 7, 8)));
/* One that does not. */
void report_error(Exec *, const Warp *, const Insn *, const char *name, int lane,
                  const char *fmt, ...) __attribute__((format(printf, 6, 7)));
ShadowSink report_shadow; /* user: the Launch */
/* ---- print.c ---- */
void print_flush(void); /* after a launch, where printf=stdout */
void print_fork(ForkStep);

/* ---- order.c ---- */
/* The cluster at a place of the launch's order: each is at one. */
uint64_t order_cluster(const Launch *, uint64_t place);
const char *order_name(CtaOrder);

/* ---- crowd.c ---- */
void crowd_run(Launch *); /* all clusters, by turns */
/* ---- meet.c ---- */
/* A warp has read where CTAs meet (F_MEETS): the turn may end. */
void crowd_meet(Exec *, Warp *, const Insn *, uint32_t mask);

/* ---- launch.c ---- */
const char *launch_result_name(CUresult); /* NULL: it is none */
/* The cluster at a place fails, and with it the launch: what comes behind it stops.  False:
 * one before it has. */
bool launch_fail(Launch *, uint64_t place, CUresult);
/* Runs the grid; everything up to `dynamic` and allocs is the caller's. */
CUresult launch_run(Launch *);
CUresult launch_in_order(Launch *); /* in one order */
/* A cluster that has not started never will; false: all have. */
bool launch_cancel(Launch *, uint64_t *cluster);
/* ---- stats.c ---- */
void stats_cta(const Exec *, const Cta *,
               float cost[COSTS]); /* before the shadow forgets the CTA */
void stats_launch(const Launch *, double seconds);
void stats_found(uint64_t findings);
void stats_fork(ForkStep);
uint64_t stats_cycles(const Launch *);

/* ---- settings.c ---- */
const Chip *chip_find(const char *name); /* NULL: not emulated */
Settings settings_get(void);
bool
settings_freeze(void); /* arch and devices stay from now on; false: ATTNC_EMU is wrong */
/* What is wrong with ATTNC_EMU as of its last reading, NULL: nothing. */
const char *settings_wrong(void);
void settings_fork(ForkStep);

/* Of a launch's turns. */
static inline uint64_t
launch_random(Launch *l)
{
  l->random ^= l->random << 13;
  l->random ^= l->random >> 7;
  l->random ^= l->random << 17;
  return l->random >> 16;
}

static inline int
launch_cluster_ctas(const Launch *l)
{
  return (int)(l->cluster[0] * l->cluster[1] * l->cluster[2]);
}

static inline bool
launch_failed(Launch *l)
{
  return atomic_load_explicit(&l->failed, memory_order_relaxed) != UINT64_MAX;
}

static inline uint32_t *
row32(const Warp *w, uint32_t row)
{
  return w->file + (size_t)row * LANES;
}

static inline uint64_t *
row64(const Warp *w, uint32_t row)
{
  return (uint64_t *)(void *)(w->file + (size_t)row * LANES);
}

#endif
