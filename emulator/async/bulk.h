/* bulk.h: what the asynchronous engines of Hopper do in a CTA: mbarriers, and bulk copies
 * between global and shared memory that complete on them or in groups (PTX ISA,
 * "Asynchronous operations", "mbarrier", "cp.async.bulk").
 *
 * A copy is issued with a record of what it is and a function that moves the bytes; when
 * that function runs is the policy: EAGER at issue, LAZY when somebody waits for it (what
 * it will write reads as NaN until then), RANDOM one or the other.  The shadow hears of
 * reads and writes at issue, so that findings do not depend on the policy.  Stores land at
 * the latest when their thread waits for them; a CTA that ends before is a finding, as is a
 * load of which nobody has seen the end.
 *
 * An mbarrier's state is kept beside shared memory, by offset; its eight bytes hold an
 * opaque pattern, and who touches them as data is told.  Not thread-safe: a CTA belongs to
 * one host thread. */
#ifndef ATTNC_EMULATOR_BULK_H
#define ATTNC_EMULATOR_BULK_H

#include "emulator/exec/machine.h"
#include "emulator/check/report.h"

enum { MBARS = 64 }; /* of a CTA */

typedef struct Mbar {
  Cta *cta;          /* where it is */
  uint32_t off;      /* in its shared memory */
  uint32_t expected; /* arrivals of a phase */
  uint32_t pending;  /* of them, still due */
  int64_t tx;        /* bytes still due, or ahead of their expect_tx if negative */
  uint64_t phase;    /* number of the incomplete one */
  int warp;          /* that made it */
  bool live, fenced; /* fenced: made visible to other proxies since */
  const Insn *made;
  uint64_t seen[MAX_WARPS]; /* phases that each warp has seen complete */
  /* the last copy that completes on it, and how many phases are complete when it has */
  uint64_t filled;
  const Insn *filling;
  Warp *filler;
  int lane;
} Mbar;

typedef struct Bulk Bulk;
Bulk *bulk_new(AsyncPolicy); /* NULL: out of memory */
void bulk_free(Bulk *);
void bulk_reset(Bulk *, uint64_t seed); /* a new CTA */
/* Is anything left undone at the end of a CTA?  Tells so. */
void bulk_end(Exec *, Cta *);
/* Lands what may land although nobody waits for it; false: there is nothing. */
bool bulk_progress(Exec *, Cta *);
/* One line on what a warp waits for, for a report of a deadlock; returns its length. */
int bulk_describe(const Warp *, char *text, size_t n);

/* Moves the bytes of a copy, into the shared memory of this CTA or, of a store, from there;
 * data is the copy made at issue. */
typedef void Land(Exec *, Cta *, const void *data);
/* Is any of these bytes of global memory what the store writes? */
typedef bool Writes(const void *data, uint64_t addr, uint64_t bytes);
typedef struct BulkCopy BulkCopy;
/* Calls bulk_reads with each part of shared memory that the store writes out. */
typedef void Reads(Exec *, Warp *, const BulkCopy *, uint32_t number);
struct BulkCopy {
  const Insn *insn;
  int lane;
  uint32_t off, bytes; /* in shared memory */
  Land *land;
  const void *data; /* copied, data_bytes of it */
  size_t data_bytes;
  Cta *from; /* whose shared memory it reads; NULL: none's */
  uint32_t from_off;
  /* of a store: it writes global memory from first to end, all of it if writes is NULL */
  uint64_t first, end;
  Writes *writes;
  Reads *reads; /* of a store; NULL: all that it may read */
  bool reduces;
  bool lanes_own; /* st.async: the thread's own store, not an engine's */
};
/* Into the shared memory of a CTA of the cluster; completes on the mbarrier at this
 * address, which is there too. */
Stop bulk_load(Exec *, Warp *, Cta *to, const BulkCopy *, uint64_t mbar);
/* Into the CTA of the address `to`, which becomes off. */
Stop bulk_load_at(Exec *, Warp *, BulkCopy *, uint64_t to, bool far, uint64_t mbar);
/* Into all CTAs of a mask of ranks, and on the mbarriers at the same offset there. */
Stop bulk_multicast(Exec *, Warp *, const BulkCopy *, uint64_t mbar, uint32_t ctas);
/* Shared to global memory, completes in the thread's next group. */
Stop bulk_store(Exec *, Warp *, const BulkCopy *);
void bulk_reads(Exec *, Warp *, const BulkCopy *, uint32_t number, uint32_t off,
                uint32_t bytes);
/* May stores of the CTA still be writing global memory?  Only a wait_group without .read
 * tells that they are not. */
bool bulk_writing(const Bulk *);
uint32_t bulk_next_store(const Warp *); /* the number that the warp's next one will have */
/* Tells if one of them may be writing what this access touches. */
void bulk_check_global(Exec *, Warp *, const Insn *, int lane, uint64_t addr,
                       uint64_t bytes, ShadowOp);

#endif
