/* shadow.h: what a program may not do, watched beside the memory it does it to.
 *
 * Independent of the interpreter: the core tells each memory access and each
 * synchronisation, in the order in which it executes them, and findings come out through a
 * callback.  Order between warps is judged by vector clocks, not by the schedule that
 * happened: a race is found although the values came out right.
 * - ShadowMem: one device allocation; which bytes were ever written, which CTA touched
 * what. Lives as long as the allocation.  Thread-safe.
 * - ShadowLaunch: one grid; instruction counters, findings (one per kind and pair of lines,
 *   capped).  Thread-safe.
 * - Shadow: one CTA after another on one host thread; those of a cluster know each other.
 *   A warp is known by its number; to the Shadow of another CTA as SHADOW_REMOTE(rank,
 * warp). Out of bounds and misaligned accesses are the core's: it must not tell them here.
 * Nothing here stops the program; memory exhaustion turns checks off and is a finding. */
#ifndef ATTNC_EMULATOR_SHADOW_H
#define ATTNC_EMULATOR_SHADOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* id, name in messages, what happened */
#define SHADOW_KINDS(X)                                                                    \
  X(UNINIT_SHARED, "uninitialised-shared",                                                 \
    "a value matters that comes from shared bytes nobody has written")                     \
  X(UNINIT_GLOBAL, "uninitialised-global", "device bytes read, never written")             \
  X(UNINIT_REG, "uninitialised-register",                                                  \
    "a value matters that comes from a register nobody has written")                       \
  X(RACE, "race", "two warps, one writes shared bytes, no order")                          \
  X(LANES, "lane-race",                                                                    \
    "two lanes of a warp, one writes shared bytes, no warp-level sync")                    \
  X(ASYNC_READ, "async-read-before-wait", "a copy is read too early")                      \
  X(ASYNC_OVERWRITE, "async-overwrite", "a copy lands on bytes in use")                    \
  X(PROXY, "proxy-fence", "an engine meets a write without fence.proxy.async")             \
  X(CROSS_CTA, "cross-cta-conflict", "two CTAs, one writes, no order")                     \
  X(OBJECT, "mbarrier-object", "an mbarrier's eight bytes are used as data")               \
  X(START, "cluster-start", "a CTA of the cluster is reached that may not have started")   \
  X(EXIT, "cluster-exit", "a CTA of the cluster is reached that may have exited")          \
  X(GRID, "grid-dependency",                                                               \
    "two kernels of a stream, one writes, no griddepcontrol.wait")                         \
  X(STREAM, "stream-order", "two launches, copies or memsets, one writes, no order")       \
  X(NO_MEMORY, "checks-off", "out of memory, the CTA goes unchecked")

typedef enum ShadowKind {
#define X(id, name, text) SHADOW_##id,
  SHADOW_KINDS(X)
#undef X
      SHADOW_KIND_COUNT
} ShadowKind;

typedef struct ShadowFinding {
  ShadowKind kind;
  const char *name;     /* of the kind */
  int insn, other;      /* instruction indices; other < 0: there is none */
  int line, other_line; /* PTX lines, 0: none */
  int cta, other_cta;   /* linear; other_cta < 0: the same one */
  int warp, other_warp, lane;
  uint64_t addr;    /* shared: offset; global: as given to shadow_global */
  const char *text; /* one sentence; valid during the call */
  uint64_t key;     /* alike: of the same kind, at the same lines */
  uint64_t place;
} ShadowFinding;

/* Called under the launch's lock: short, and no shadow_ call from within. */
typedef void ShadowSink(void *user, const ShadowFinding *);

/* Per instruction; the core adds to count and threads itself. */
typedef struct ShadowCount {
  uint64_t count, threads; /* warp instructions, active lanes */
  uint64_t phases, ideal;  /* shared: passes needed and without conflicts;
                              global: 32-byte sectors touched and the least for the bytes */
} ShadowCount;

typedef struct ShadowMem ShadowMem;
typedef struct ShadowLaunch ShadowLaunch;
typedef struct Shadow Shadow;

ShadowMem *shadow_mem_new(size_t bytes); /* NULL: out of memory */
void shadow_mem_free(ShadowMem *);
void shadow_mem_init(ShadowMem *, size_t at, size_t n); /* the host wrote these bytes */
void shadow_mem_copy(ShadowMem *to, size_t at, const ShadowMem *from, size_t from_at,
                     size_t n);
/* Sectors of 32 bytes that loads and copies of kernels have touched so far, by warp
 * instruction: what two instructions read counts twice. */
uint64_t shadow_mem_sectors_read(const ShadowMem *);
bool shadow_mem_is_init(const ShadowMem *, size_t at, size_t n);
/* Which bytes of [at, at + n) were ever written, 16 to a number; at: a multiple of 16. */
void shadow_mem_save(const ShadowMem *, size_t at, size_t n, uint16_t *written);
void shadow_mem_restore(ShadowMem *, size_t at, size_t n, const uint16_t *written);

/* A number for each launch, copy and memset of the process, from 1 on. */
uint64_t shadow_number(void);
/* Some of them, all of one epoch: number / SHADOW_LAUNCHES. */
enum { SHADOW_LAUNCHES = 1024 };
typedef struct ShadowSet {
  uint64_t epoch, bits[SHADOW_LAUNCHES / 64];
} ShadowSet;

/* Who that number is, for messages; insn < 0: it has none. */
typedef struct ShadowOther {
  char who[80]; /* "kernel k" */
  int line;     /* of the instruction; 0: unknown */
} ShadowOther;
typedef void ShadowDescribe(void *user, uint64_t number, int insn, ShadowOther *);

/* The bytes [at, at + n) are touched by a copy, a memset, or (number 0) the host: the
 * number of one that touches them too and may still be running, one of them writes; 0:
 * there is none. */
typedef struct ShadowSpan {
  uint64_t number;
  size_t at, n;
  bool writes;
} ShadowSpan;
uint64_t shadow_mem_span(ShadowMem *, const ShadowSpan *, const ShadowSet *late, int *insn);

typedef struct ShadowInfo {
  int insns;              /* instructions of the kernel */
  const int *line;        /* [insns] PTX line; copied */
  int warps;              /* per CTA, at most 32 */
  uint32_t smem_bytes;    /* static + dynamic */
  uint64_t ctas;          /* of the grid; 0: unknown */
  uint64_t number;        /* of the launch; 0: one is drawn */
  const ShadowSet *late;  /* [2] of the launch's epoch: who may still be running when it
                             starts, and behind griddepcontrol.wait; NULL: nobody */
  const ShadowSet *ahead; /* of these, who is ahead of it on its stream, in its graph */
  bool checks;            /* false: counters alone, every hazard call returns at once */
  /* engines see what cp.async wrote without a fence, fences of other threads count, CTAs
   * may write the same values */
  bool lax;
  bool orders; /* the kernel reads what other CTAs write with strong operations */
  ShadowSink *sink;
  ShadowDescribe *describe;
  void *user; /* of both */
} ShadowInfo;

ShadowLaunch *shadow_launch_new(const ShadowInfo *); /* NULL: out of memory */
void shadow_launch_free(ShadowLaunch *);
/* Sums of all CTAs that have ended. */
const ShadowCount *shadow_launch_counts(const ShadowLaunch *);
uint64_t shadow_launch_number(const ShadowLaunch *);
/* CTAs with a griddepcontrol.wait; with launch_dependents before or without it. */
uint64_t shadow_launch_waits(const ShadowLaunch *);
uint64_t shadow_launch_triggers(const ShadowLaunch *);
uint64_t shadow_launch_errors(const ShadowLaunch *); /* with repeated ones */

Shadow *shadow_new(ShadowLaunch *); /* one per host thread; NULL: out of memory */
void shadow_free(Shadow *);
/* It is for CTAs of another launch, which is as the one that it was made for. */
void shadow_renew(Shadow *, ShadowLaunch *);
size_t shadow_bytes(const Shadow *);  /* of memory, about */
ShadowCount *shadow_counts(Shadow *); /* [insns], of this thread */
/* s[0 … n) are of one cluster, in order of rank, from now on; false: out of memory. */
bool shadow_join(Shadow *const *s, int n);
#define SHADOW_REMOTE(rank, warp) (32 * ((rank) + 1) + (warp))
void shadow_cta_begin(Shadow *, int cta);
/* Of findings that are alike those of the lowest place count; 0 until told. */
void shadow_place(Shadow *, uint64_t place);
/* All its warps have exited; others of the cluster may not have. */
void shadow_cta_exit(Shadow *);
void shadow_cta_end(Shadow *); /* adds the counters to the launch and zeroes them */

typedef enum ShadowOp {
  SHADOW_READ,
  SHADOW_WRITE,
  SHADOW_ATOMIC,  /* reads and writes, never races with another atomic */
  SHADOW_COPY,    /* shared: destination of cp.async; global: its source */
  SHADOW_REWRITE, /* global: writes what is there already */
} ShadowOp;

/* How an operation orders those of its warp with others (PTX ISA, "Memory consistency
 * model"): its scope, and with fences, and strong operations, what it is besides. */
typedef enum ShadowScope {
  SHADOW_WEAK,
  SHADOW_CTA,
  SHADOW_CLUSTER,
  SHADOW_GPU, /* or wider */
} ShadowScope;
enum {
  SHADOW_SCOPE = 3, /* of an order: its ShadowScope */
  SHADOW_ACQUIRE = 4,
  SHADOW_RELEASE = 8,
  SHADOW_BLIND = 16, /* an atomic of which nobody learns what it has read */
};

/* In `one`: the first or the second 16 of 32 bytes a lane. */
enum { SHADOW_FIRST_HALF = 64, SHADOW_SECOND_HALF = 128, SHADOW_HALVES = 192 };
typedef struct ShadowAccess {
  int insn, warp;
  uint32_t mask; /* lanes; ldmatrix and stmatrix: lanes that give row addresses */
  uint8_t op;    /* ShadowOp */
  uint8_t bytes; /* per lane: 1 2 4 8 16; ldmatrix and stmatrix: 16 */
  uint8_t one;   /* global: 1 + the lane whose pieces these all are; 0: each is its own */
  uint8_t order; /* global: how it orders; SHADOW_WEAK: it does not */
  uint8_t unit;  /* bytes of an element of a strong access */
  uint32_t
      store; /* global: number of the bulk store that it is, in its warp; 0: it is none */
} ShadowAccess;

/* A warp of another CTA reaches into this one, which must not exit before. */
void shadow_remote_use(Shadow *, int insn, int warp, int lane, bool check_start);
/* In bounds and aligned; off[l] is an offset into the CTA's shared memory.  Lanes that read
 * bytes which nobody has written, or which hold an undefined value. */
uint32_t shadow_shared(Shadow *, const ShadowAccess *, const uint32_t *off);
/* off[l] is an offset into the allocation, base its device address (for messages).  Lanes
 * in different allocations: one call for each, with its mask. */
void shadow_global(Shadow *, const ShadowAccess *, ShadowMem *, uint64_t base,
                   const uint64_t *off);
/* Where shadow_orders, each lane of a strong access is told again, as it happens: hold,
 * then the access, then tell, so that what it orders goes the way of the values.  NULL:
 * there is nothing to tell. */
typedef struct ShadowHeld ShadowHeld;
bool shadow_orders(const Shadow *);
ShadowHeld *shadow_hold(Shadow *, const ShadowMem *, uint64_t off);
void shadow_notify(Shadow *, ShadowHeld *, const ShadowAccess *, int lane, uint64_t addr,
                   uint64_t off);

/* bar.sync and bar.arrive alike tell their arrival; when the barrier completes, released is
 * the set of warps that were waiting (not those that only arrived). */
void shadow_arrive(Shadow *, int warp, int barrier);
void shadow_release(Shadow *, int barrier, uint32_t released);
void shadow_warp_sync(Shadow *, int warp, uint32_t mask); /* bar.warp.sync */
/* Lanes of a warp have met at an instruction that waits for all of them; whole: all that
 * have not exited. */
void shadow_lanes_met(Shadow *, int warp, uint32_t mask, bool whole);
/* barrier.cluster: complete is told once, to any CTA of the cluster.  Without release an
 * arrival tells that the warp came, and the mbarriers that it has fenced. */
void shadow_cluster_arrive(Shadow *, int warp, bool release);
void shadow_cluster_complete(Shadow *);
void shadow_cluster_wait(Shadow *, int warp);
/* The asynchronous proxy: shadow_async.c.  mbarriers go by number, copies by the phase that
 * they complete in, stores and wgmma groups by their numbers in their warp. */
void shadow_mbar_init(Shadow *, int mbar, int insn, int warp, int lane, uint32_t off);
void shadow_mbar_inval(Shadow *, int mbar);
bool shadow_mbar_known(const Shadow *, int mbar, int warp); /* is its init ordered before */
bool shadow_mbar_fenced(const Shadow *, int mbar);
void shadow_mbar_arrive(Shadow *, int mbar, int warp);
void shadow_mbar_complete(Shadow *, int mbar);
void shadow_mbar_wait(Shadow *, int mbar, int warp); /* a wait that succeeded */
/* cp.async.mbarrier.arrive: the copies of the warp that these lanes, or all that issued
 * any, have entrusted to mbarriers so far; and their arrival. */
uint32_t shadow_copy_track(Shadow *, int warp, uint32_t mask);
void shadow_copy_arrive(Shadow *, int mbar, int warp, uint32_t copies);
void shadow_mbar_fence(Shadow *, int warp); /* fence.mbarrier_init */
void shadow_proxy_fence(Shadow *, int warp);
/* SUM: others of the same phase change the same bytes.  OWN: st.async and red.async, which
 * are no engine's, and of which several fill the same 16 bytes. */
typedef enum ShadowBulk { SHADOW_BULK_COPY, SHADOW_BULK_SUM, SHADOW_BULK_OWN } ShadowBulk;
void shadow_bulk_write(Shadow *, int insn, int warp, int lane, uint32_t off, uint32_t bytes,
                       int mbar, uint32_t phase, ShadowBulk);
void shadow_bulk_read(Shadow *, int insn, int warp, int lane, uint32_t off, uint32_t bytes,
                      uint32_t number);
/* Into another CTA, whose mbarrier tells when it has read. */
void shadow_bulk_send(Shadow *, int insn, int warp, int lane, uint32_t off, uint32_t bytes,
                      int rank, int mbar, uint32_t phase);
void shadow_bulk_done(Shadow *, int warp, uint32_t number);
/* Stores of the warp from `first` on, below `end`, have written device memory. */
void shadow_bulk_written(Shadow *, int warp, uint32_t first, uint32_t end);
/* 16 bytes; those that are undefined. */
uint32_t shadow_wgmma_read(Shadow *, int insn, int warp, uint32_t off, uint32_t group);
void shadow_wgmma_done(Shadow *, int warp, int of, uint32_t group); /* warp knows of's */
/* After SHADOW_COPY accesses; n < 0: wait_all. */
void shadow_commit(Shadow *, int warp, uint32_t mask);
void shadow_wait(Shadow *, int warp, uint32_t mask, int n);
void shadow_fence(Shadow *, int warp, uint8_t order); /* fence, membar */
void shadow_grid_wait(Shadow *, int warp);            /* griddepcontrol */
void shadow_grid_trigger(Shadow *);

/* ---- shadow_undefined.c: values that nobody has written ---- */
/* The instruction that read them first: a register by its name, or the byte of shared
 * memory. */
typedef struct ShadowOrigin {
  int insn;
  uint32_t at;
  const char *reg; /* NULL: shared memory */
} ShadowOrigin;
/* The instruction needs such a value in these lanes; verb: what it does with it. */
void shadow_undefined(Shadow *, int insn, int warp, uint32_t lanes, const ShadowOrigin *,
                      const char *verb);
/* Which of these bytes, of one chunk of 16, hold nothing defined; a bit each. */
uint32_t shadow_unwritten(const Shadow *, uint32_t off, int bytes);
/* Where those came from that the instruction reads; bytes: shadow_unwritten's. */
ShadowOrigin shadow_origin(const Shadow *, int insn, uint32_t off, uint32_t bytes);
/* These bytes (a bit each) of one chunk have just been written with undefined values. */
void shadow_carry(Shadow *, uint32_t off, uint32_t bytes, ShadowOrigin);
void shadow_out_of_memory(Shadow *);

/* Words in different rows of a bank, summed over the phases of an access: what
 * shadow_shared counts; here for tests. */
void shadow_banks(uint32_t mask, int bytes, const uint32_t *off, int *phases, int *ideal);
void shadow_sectors(uint32_t mask, int bytes, const uint64_t *off, int *sectors,
                    int *ideal);

#endif
