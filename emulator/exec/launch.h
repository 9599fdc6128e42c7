/* launch.h: a launch: what a kernel is run on and with, and in which order its CTAs start.
 *
 * Where CTAs meet in device memory all clusters run on one host thread, by turns (crowd.c);
 * else each host thread takes one after the other.  Which comes when is a policy (order.c).
 * Device memory lives at fake addresses with gaps between allocations, so that an overrun
 * always faults. */
#ifndef ATTNC_EMULATOR_LAUNCH_H
#define ATTNC_EMULATOR_LAUNCH_H

#include "base/fork.h"
#include "emulator/async/async.h"
#include "emulator/check/shadow.h"
#include "emulator/check/finding_log.h"
#include "emulator/ptx/insn.h"
#include "abi/cuda_more.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
  MAX_WARPS = 32,
  MAX_BARRIERS = 16,
  MAX_CLUSTER = 16,
  MAX_RESIDENT = 64,
  PORTABLE_CLUSTER = 8, /* more needs an attribute of the function */
  SHARED_BASE = 1024, /* as on chips that keep 1 KB for themselves: address 0 is nobody's */
  RANK_SHIFT = 24, /* a shared address has the CTA's rank in its cluster above its offset */
};
/* Windows of the generic address space. */
#define WINDOW_SHARED 0x00007f0000000000u
#define WINDOW_LOCAL  0x00007f1000000000u
#define WINDOW_PARAM  0x00007f2000000000u
#define WINDOW_SIZE   0x0000000100000000u
#define GLOBAL_BASE   0x0000600000000000u
enum { DEVICE_SHIFT = 40 }; /* address bits of one device's memory, above GLOBAL_BASE */
#define DEVICE_MEMORY 0x0000000200000000u /* bytes */

typedef struct Launch Launch;
typedef struct Device Device;

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

typedef enum CtaOrder { CTAS_FORWARD, CTAS_REVERSE, CTAS_RANDOM } CtaOrder;
typedef enum Order { ORDER_BLOCK, ORDER_RR, ORDER_RANDOM } Order;

/* Which node of a graph is next, of those whose dependencies have ended. */
typedef enum NodeOrder { NODES_FORWARD, NODES_REVERSE, NODES_RANDOM } NodeOrder;

typedef struct Settings {
  char arch[16];
  int devices, threads, resident;
  bool checks, lax, fast_mma, print, tell, counters; /* counters: are to be zero */
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
  ShadowDescribe *describe;
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
  FindingLog *findings;
};

/* Of the cost model: the units, and the issue slots. */
enum { COST_ISSUE = UNITS, COSTS };

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
/* ---- order.c ---- */
/* The cluster at a place of the launch's order: each is at one. */
uint64_t order_cluster(const Launch *, uint64_t place);
const char *order_name(CtaOrder);

/* ---- crowd.c ---- */
void crowd_run(Launch *); /* all clusters, by turns */
/* ---- stats.c ---- */
void stats_launch(const Launch *, double seconds);
void stats_found(uint64_t findings);
void stats_fork(ForkStep);
uint64_t stats_cycles(const Launch *);

/* ---- print.c ---- */
void print_flush(void); /* after a launch, where printf=stdout */
void print_fork(ForkStep);

/* ---- spare.c ---- */
void spare_forget(uint64_t module); /* it is unloaded; 0: of all */
void spare_fork(ForkStep);
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

#endif
