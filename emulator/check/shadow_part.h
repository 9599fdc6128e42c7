/* shadow_part.h: what the shadow_*.c files share.
 *
 * Time in a CTA is one counter; it moves when a barrier completes.  A warp knows of each
 * other warp up to which time its accesses happened before (known).  Shared memory has one
 * Word for each 16 bytes: who wrote them last and when, who has read them since; where
 * the four 4-byte words of it have different stories, each has a Word.  Copies of cp.async
 * are counted per warp instead of timed: each warp knows of each other warp up to which
 * copy all have landed and been published. */
#ifndef ATTNC_EMULATOR_SHADOW_PART_H
#define ATTNC_EMULATOR_SHADOW_PART_H

#include "emulator/check/shadow.h"
#include "emulator/check/shadow_lore.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
  SH_WARPS = 32,
  SH_BARRIERS = 16,
  SH_TIME_MAX = (1 << 24) - 1,
  SH_INSN_MAX = (1 << 15) - 2, /* stored plus one, 0: none */
  SH_DEDUP = 512,              /* different findings of one launch */
  SH_MBARS = 64,
  SH_CTAS = 16,   /* of a cluster */
  SH_READERS = 4, /* of other CTAs, that are remembered */
};

/* w: time or copy id 24, warp 5, ASYNC, ATOMIC (or the high bit of an async lane), UNIFORM.
 * r: time 24, bytes written 4 (or the low bits of an async lane), bytes read 4. */
typedef struct Word {
  uint32_t w, r;
  uint32_t readers; /* warps; with INFLATED an index of reader times */
  uint16_t w_insn, r_insn;
  uint16_t w_lane, r_lane; /* LaneKey of the last write, of reads if one warp has read */
} Word;

/* Which lane did it, and after how many meetings of the warp's lanes: meetings 10, MANY,
 * lane 5.  With MANY it is several lanes: all of the same bytes if the lane is 0, else
 * nobody knows which bytes are whose. */
typedef uint16_t LaneKey;
enum { LANE_BITS = 6, LANE_MANY = 32, LANE_MIXED = 63, LANE_MEETINGS = 1024 };

#define W_ASYNC  0x20000000u
#define W_ATOMIC 0x40000000u
#define W_UNIFORM                                                                          \
  0x80000000u              /* in the first word of a chunk: the other three are alike      \
                            */
#define R_INFLATED 0x8000u /* in r_insn */

typedef struct ReaderTimes {
  uint32_t at[SH_WARPS];
  int32_t next; /* in the free list */
} ReaderTimes;

typedef struct Known {
  uint32_t time[SH_WARPS]; /* accesses of that warp up to this time came before */
  uint32_t copy[SH_WARPS]; /* copies of that warp up to this one are visible */
  /* of CTAs that work asynchronously: */
  uint32_t fenced[SH_WARPS]; /* writes of that warp up to this time count for engines */
  uint32_t fenced_copy[SH_WARPS]; /* and copies of that warp up to this one */
  uint32_t group[SH_WARPS]; /* wgmma groups of that warp up to this one are complete */
  uint32_t store[SH_WARPS]; /* bulk stores of that warp up to this one have read */
  uint32_t mbar[SH_MBARS];  /* phases of that mbarrier known to be complete */
} Known;

/* What is known of other CTAs of the grid: shadow_between.h. */
enum { LORE_KNOWN, LORE_FENCED, LORE_SEEN, LORE_FENCED_NEAR, LORE_SEEN_NEAR, LORES };
typedef struct Lores {
  Lore *at[LORES]; /* NEAR: at the scope of the cluster or wider; else of the device */
} Lores;
typedef struct ShadowOrder ShadowOrder;

/* What a warp or a barrier knows: of its own CTA, of each other CTA of the cluster, and of
 * the grid. */
typedef struct Clock {
  Known *own, *far; /* far: by rank; NULL: there is no other */
  Lores *lore;      /* NULL: no order can arise */
  int rank;
} Clock;

/* What another CTA's warp did to 16 bytes. */
typedef struct FarTouch {
  uint32_t time;
  uint16_t who, bytes; /* 32 × rank + warp; mask, 0: nobody */
  int insn;
  bool atomic;
} FarTouch;

typedef struct FarWord {
  FarTouch write, read[SH_READERS];
  uint32_t next;
} FarWord;

/* When a warp of another CTA reached into this one last; time 0: never. */
typedef struct FarUse {
  uint32_t time, arrived;
  int insn;
} FarUse;

/* 16 bytes as the engines see them: shadow_async.c. */
typedef struct Agent {
  uint32_t bulk;  /* phase + 1 of the mbarrier that tells when they are filled; 0: nobody */
  uint32_t store; /* number of the bulk store that read last; 0: none */
  uint32_t readers; /* warps whose wgmma read, in … */
  uint32_t group[SH_WARPS];
  int insn, store_insn, wgmma_insn;
  uint16_t warp;
  uint8_t mbar, store_warp;
  /* a copy into another CTA that reads them: over with that phase of its mbarrier */
  uint8_t send_rank, send_mbar;
  uint8_t object; /* halves that are an mbarrier */
  uint32_t send;  /* phase + 1; 0: nobody */
  int send_insn;
} Agent;

typedef struct ShadowMbar {
  Known next, done; /* of who arrives in this phase, of all who arrived in complete ones */
  uint32_t phases, at; /* complete; time of its init */
  uint32_t off;
  int warp, insn;
  uint32_t told; /* phase of the cluster's barrier, + 1, that tells of it; 0: none */
  bool made, fenced;
} ShadowMbar;

typedef struct CopyLanes {
  uint32_t last;       /* id issued last */
  uint32_t issued[32]; /* last id per lane */
  uint32_t done[32];   /* waited for by the lane */
  uint32_t left[32];   /* to an mbarrier, by the lane */
  uint32_t seen;       /* by all lanes of the warp: published by a barrier or warp sync */
  struct {
    uint32_t mask, upto;
  } * commits;
  int n, cap;
} CopyLanes;

/* Bytes of 16 that hold undefined values although they were written, and whose. */
typedef struct Carried {
  uint32_t bytes;
  ShadowOrigin from;
} Carried;

struct ShadowLaunch {
  ShadowInfo info;
  int *line;
  uint64_t number; /* of the launch in this process */
  ShadowCount *counts;
  pthread_mutex_t lock;
  uint64_t seen[SH_DEDUP], place[SH_DEDUP]; /* findings, where in order they were found */
  int n_seen;
  atomic_uint_fast64_t errors;
  atomic_uint_fast64_t waits, triggers;
  ShadowOrder *order; /* NULL: none can arise */
};

/* shadow_between.h: what a Shadow keeps for the order between CTAs. */
typedef struct Between Between;

struct Shadow {
  ShadowLaunch *launch;
  ShadowCount *counts;
  uint64_t place;
  int cta, warps;
  bool checks;
  uint32_t time;
  uint32_t pending; /* warps that arrived and have not accessed since */
  Known known[SH_WARPS];
  uint32_t least[SH_WARPS]; /* of known[w].time over the other warps */
  Known barrier[SH_BARRIERS];
  int n_barriers; /* that anybody has come to */
  CopyLanes copies[SH_WARPS];
  uint32_t n_chunks;
  Word *chunks;   /* [n_chunks] while uniform */
  Word *words;    /* [4 * n_chunks] while not */
  uint16_t *init; /* [n_chunks] a bit for each byte ever written; 0: chunk is stale */
  bool lanes;     /* those of a warp are checked against each other: shadow_lanes.c */
  uint32_t met[SH_WARPS];          /* meetings of the warp's lanes */
  uint32_t met_whole[SH_WARPS];    /* the last one of all lanes */
  uint32_t lane_met[SH_WARPS][32]; /* the last one of a lane, if it is later */
  uint32_t lane_from[SH_WARPS]; /* LaneKeys of this time and later are of the last 1024 */
  uint32_t ragged;  /* warps with a meeting of some lanes since the last one of all */
  Carried *carried; /* [n_chunks] */
  bool carries;     /* it is in use */
  ReaderTimes *times;
  bool async;         /* agents and mbarriers are in use */
  Agent *async_proxy; /* [n_chunks] */
  ShadowMbar mbar[SH_MBARS];
  int n_times, cap_times;
  int32_t free_times;
  /* order between CTAs; NULL: none can arise */
  Between *between;
  Lores *lore;   /* of warps, barriers, mbarriers twice, the cluster's barrier twice */
  uint32_t base; /* what `time` has counted before it started again */
  /* of a cluster: shadow_cluster.c */
  Shadow *peers[SH_CTAS];
  int rank, n_peers;       /* 0: alone */
  Known *far;              /* [warps, barriers, mbarriers twice][n_peers] */
  Known *next, *done;      /* of the first CTA: the cluster's barrier, [n_peers] */
  uint32_t cluster_phases; /* of the first CTA: complete phases of it */
  uint32_t arrived[SH_WARPS], waited[SH_WARPS]; /* of a warp: phases + 1, complete phases */
  uint32_t fences;              /* warps that have fenced since they arrived */
  FarWord *words_far;           /* [n_chunks] */
  bool touched_far;             /* it is in use */
  bool sends;                   /* so is send of agents */
  FarUse *uses;                 /* [n_peers × SH_WARPS] */
  uint32_t grid_wait[SH_WARPS]; /* time of a warp's griddepcontrol.wait; 0: none */
  bool grid_waited, grid_triggered;
};

/* ---- shadow.c ---- */
typedef struct Report {
  ShadowKind kind;
  int insn, other; /* other < 0: none */
  int warp, other_warp, lane, other_cta;
  uint64_t addr;
} Report;
void shadow_report(Shadow *, const Report *, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int shadow_line(const Shadow *, int insn); /* 0: unknown */

/* ---- shadow_shared.c ---- */
/* A read or write of 16 bytes by an engine, against what warps did before: ordered, and
 * fenced for its proxy. */
void shadow_word_async(Shadow *, int insn, int warp, int lane, uint32_t off, bool writes,
                       bool engine);

/* ---- shadow_async.c ---- */
bool shadow_async_begin(Shadow *);
void shadow_async_touch(Shadow *, const ShadowAccess *, int lane, uint32_t off);

/* An access of a warp of another CTA against what this one's did; does it read what nobody
 * has written? */
bool shadow_word_far(Shadow *, const ShadowAccess *, int lane, uint32_t off);

/* ---- shadow_grid.c ---- */
/* Does the warp know of a griddepcontrol.wait? */
bool shadow_grid_waited(const Shadow *, int warp);
/* An access meets what another launch does, which may still be running. */
void shadow_grid_report(Shadow *, const ShadowAccess *, int lane, uint64_t addr,
                        uint64_t number, int insn, const char *does);

/* ---- shadow_cluster.c ---- */
typedef struct Name {
  char text[40];
} Name;
Name shadow_name(const Shadow *, int warp); /* "warp 3", "warp 3 of CTA 1" */
/* The Shadow of a warp's CTA; *warp becomes its number there. */
Shadow *shadow_home(Shadow *, int *warp);
/* What a warp, also a far one, knows of the CTA of that rank. */
const Known *shadow_known(const Shadow *, int warp, int rank);
Clock shadow_clock_of_mbar(Shadow *, int mbar, bool done);
Clock shadow_clock_of_barrier(Shadow *, int barrier);
Clock shadow_clock_of_warp(Shadow *, int warp);
void shadow_clock_raise(const Shadow *, const Clock *to, const Clock *from);
void shadow_clock_clear(const Shadow *, const Clock *);
void shadow_cluster_reset(Shadow *);
void shadow_cluster_restart(Shadow *); /* the clock of this CTA starts again */
uint32_t shadow_far_access(Shadow *, const ShadowAccess *, const uint32_t *off);
/* An access of this CTA's warp, or of an engine, against those of others. */
void shadow_far_touch(Shadow *, const ShadowAccess *, int lane, uint32_t off);
void shadow_far_engine(Shadow *, int insn, int warp, int lane, uint32_t off, bool writes);
/* Another CTA of the cluster; NULL: of another cluster. */
const Shadow *shadow_peer(const Shadow *, uint32_t cta);
uint32_t shadow_meetings(const Shadow *); /* mod 4, for tags of global memory */

/* What a warp knows of this CTA. */
static inline const Known *
shadow_known_here(const Shadow *s, int warp)
{
  return warp < SH_WARPS ? &s->known[warp] : shadow_known(s, warp, s->rank);
}

/* ---- shadow_order.c ---- */
bool shadow_order_new(ShadowLaunch *); /* if order can arise; false: out of memory */
void shadow_order_free(ShadowLaunch *);
bool shadow_between_new(Shadow *); /* the same */
void shadow_between_free(Shadow *);
void shadow_between_renew(Shadow *); /* a new launch, of the same kernel */
void shadow_between_reset(Shadow *); /* a new CTA */
void shadow_lore_raise(const Shadow *, Lores *to, const Lores *from);
void shadow_lore_clear(Lores *);

/* ---- shadow_cells.c ---- */
/* Accesses against those of other CTAs, where order can arise. */
void shadow_cells(Shadow *, const ShadowAccess *, const ShadowMem *, uint64_t base,
                  const uint64_t *off);

/* ---- shadow_sync.c ---- */
void shadow_update_least(Shadow *, int warp);
void shadow_raise(Known *to, const Known *from);
/* What the warp knows and did goes into a clock; what a clock has, into what it knows. */
void shadow_publish(Shadow *, int warp, const Clock *to);
void shadow_learn(Shadow *, int warp, const Clock *from);
/* Before an access: it is later than the warp's last arrival. */
void shadow_after_arrival(Shadow *, int warp);
void shadow_sync_reset(Shadow *);
void shadow_tick(Shadow *);
/* Is the copy landed and visible for this lane of this warp?  waited: landed for somebody.
 */
bool shadow_copy_visible(const Shadow *, int warp, int lane, int from, int from_lane,
                         uint32_t id);
bool shadow_copy_waited(const Shadow *, int from, int from_lane, uint32_t id);
uint32_t shadow_copy_issue(Shadow *, int warp, uint32_t mask);
/* Copies of warp `from` up to this one are known to have landed by `warp`. */
uint32_t shadow_copies_known(const Shadow *, int warp, int from);
/* ---- shadow_lanes.c ---- */
void shadow_lanes_reset(Shadow *);
void shadow_lanes_restart(Shadow *); /* the clock of this CTA starts again */
/* An access of one lane to bytes (a mask) of a word against those of other lanes of its
 * warp. */
void shadow_lane_reads(Shadow *, const Word *, const ShadowAccess *, int lane,
                       uint32_t addr, uint32_t bytes);
void shadow_lane_writes(Shadow *, const Word *, const ShadowAccess *, int lane,
                        uint32_t addr, uint32_t bytes);

/* Of a lane's access; where lanes are not checked, all are lane 0. */
static inline LaneKey
shadow_lane_key(const Shadow *s, int warp, int lane)
{
  return (LaneKey)(s->met[warp] << LANE_BITS | (s->lanes ? (uint32_t)lane : 0));
}

/* Another lane, or several, and no meeting between. */
static inline bool
shadow_lane_other(LaneKey a, LaneKey b)
{
  return (uint32_t)(a ^ b) - 1 < LANE_MIXED;
}

/* After one more read or write, with nobody but this warp's lanes before; alike: of the
 * same bytes. */
static inline LaneKey
shadow_lane_joined(LaneKey before, LaneKey now, bool alike)
{
  if (before == now)
    return now;
  if (!alike)
    return (LaneKey)(now | LANE_MIXED);
  if (!shadow_lane_other(before, now))
    return now;
  return before & LANE_MANY ? before : (LaneKey)((now & ~31) | LANE_MANY);
}

/* ---- shadow_undefined.c ---- */
/* An access where bytes hold undefined values: a write ends that; lanes that read them. */
uint32_t shadow_carried_touch(Shadow *, const ShadowAccess *, int lane, uint32_t off);
void shadow_carried_end(Shadow *, uint32_t chunk); /* all 16 bytes are written */

#endif
