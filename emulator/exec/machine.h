/* machine.h: warps, CTAs, and the Exec that runs a cluster of them.
 *
 * Lanes that part become groups; the group with the lowest pc runs, groups that meet merge.
 * An instruction that needs lanes which are elsewhere parks its group until they come; if
 * no group can move, that is a finding, not a hang.
 *
 * An Exec runs one cluster of CTAs after another, most often of a single CTA.  It has no
 * current warp or CTA: each function is handed those that it works on. */
#ifndef ATTNC_EMULATOR_MACHINE_H
#define ATTNC_EMULATOR_MACHINE_H

#include "emulator/exec/launch.h"

typedef struct Cta Cta;
typedef struct Frame Frame;

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
  uint64_t place;   /* of its cluster among those whose findings are alike: finding_log.h */
  uint32_t idle,
      stuck; /* crowd.c: reads in vain, since anything happened, since anything else */
  const Insn *waits_at; /* the last of them */
  Warp *waiter;
  Exec *next; /* spare.c: behind it in the list */
  size_t bytes;
};

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
  return w->cta == c ? w->id : SHADOW_REMOTE(w->cta->rank, w->id);
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

/* ---- meet.c ---- */
/* A warp has read where CTAs meet (F_MEETS): the turn may end. */
void crowd_meet(Exec *, Warp *, const Insn *, uint32_t mask);

/* ---- stats.c ---- */
void stats_cta(const Exec *, const Cta *,
               float cost[COSTS]); /* before the shadow forgets the CTA */

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
