/* bulk_part.h: what the files of mbarriers and bulk copies share: mbarrier.c, which knows
 * of their state, bulk.c above it, which lands copies, and the steps above both. */
#ifndef ATTNC_EMULATOR_BULK_PART_H
#define ATTNC_EMULATOR_BULK_PART_H

#include "emulator/async/bulk.h"

/* A copy that has been issued. */
typedef struct Pending {
  const Insn *insn;
  Land *land;
  void *data;
  size_t bytes_of_data;
  Warp *by;
  int warp, lane;
  uint32_t off, bytes;
  int mbar;            /* number; -1: in a group */
  uint32_t number;     /* of a store, among those of its warp */
  uint32_t group;      /* of its thread; 0: not committed */
  uint64_t first, end; /* of a store, with `writes`: what it writes */
  Writes *writes;
  bool reduces;
  bool read; /* wait_group.read has told that shared memory is free again */
  bool landed;
} Pending;

/* An arrival that comes when the cp.async of its lane have landed. */
typedef struct PendingArrive {
  const Insn *insn;
  Warp *by;
  int lane, mbar;
  uint32_t upto, copies; /* ids of the last of them: of its Async, of the shadow */
} PendingArrive;

/* Groups of one thread. */
typedef struct Groups {
  uint32_t last; /* number of the group committed last */
} Groups;

struct Bulk {
  AsyncPolicy policy;
  uint64_t random;
  Mbar mbar[MBARS];
  int n_mbars;
  Pending *at;            /* in order of issue */
  int n, cap, n_read;     /* n_read: stores that have been read, and may still be writing */
  PendingArrive *arrives; /* in order of issue */
  int n_trusts, cap_trusts;
  uint32_t stores[MAX_WARPS]; /* numbers given */
  Groups groups[MAX_WARPS][LANES];
};

/* The mbarrier at an address, which may be in another CTA if the instruction's space is
 * SPACE_CLUSTER.  NULL: *stop says so. */
Mbar *mbar_find(Exec *, Warp *, const Insn *, int lane, uint64_t addr, Stop *stop);
/* The one at that offset of a CTA's shared memory. */
Mbar *mbar_at(Exec *, Warp *, Cta *, const Insn *, int lane, uint32_t off, Stop *stop);
/* The CTA where one can be at this address, and its offset there; NULL: *stop says so. */
Cta *mbar_place(Exec *, Warp *, const Insn *, int lane, uint64_t addr, uint32_t *off,
                Stop *stop);
/* A finding that ends the launch: `what`, at byte off of shared memory. */
Stop mbar_misuse(Exec *, Warp *, const Insn *, int lane, const char *what, uint32_t off);
int mbar_number(const Mbar *); /* in its CTA */
/* Its eight bytes in shared memory are written, with what nobody should look at. */
void mbar_scribble(const Mbar *);
/* Where nothing is pending the phase is over. */
void mbar_try_complete(Exec *, Mbar *);
/* The cp.async of a lane land, and arrive. */
void mbar_deliver_one(Exec *, Cta *, const PendingArrive *);
/* Does the warp know of its init? */
void mbar_check_known(Exec *, Warp *, const Insn *, int lane, const Mbar *);
uint64_t mbar_address(const Warp *, const Insn *, int lane);
void mbar_complete_tx(Exec *, Mbar *, uint32_t bytes);
/* A load's mbarrier, from the list of its rows. */
uint64_t bulk_listed_mbar(const Exec *, const Warp *, const Insn *, int lane);
/* Lands the copies that complete on this mbarrier: a wait for it forces them. */
void bulk_force(Exec *, const Mbar *);
/* Of a CTA's copies, this one lands. */
void bulk_land(Exec *, Cta *, Pending *);
/* LAZY: later. */
bool bulk_lazy(Bulk *);
/* Lands cp.async, and their arrival, that were left to this mbarrier; -1: the first of any.
 * False: there are none. */
bool mbar_deliver(Exec *, Cta *, int mbar);
/* Nobody has seen its last copy complete: tells. */
void mbar_check_seen(Exec *, const Mbar *);

#endif
