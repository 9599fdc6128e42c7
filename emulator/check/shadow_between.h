/* shadow_between.h: what CTAs of one launch did to device memory, and what orders them.
 *
 * Only launches in which order can arise have this: where a kernel reads another CTA's
 * strong writes (ShadowInfo.orders).  PTX ISA, "Memory consistency model", as clocks:
 * - A Mark is one access, with the time of its CTA.  It came before what a warp does if the
 *   warp knows of its CTA's warp up to that time.
 * - A warp knows of warps of other CTAs what its Lore says (LORE_KNOWN).  Barriers and
 *   mbarriers carry that along, as they do what is known inside the CTA.
 * - A release, or a fence and then a strong write (LORE_FENCED: what was known at the
 *   fence), leaves what its warp knows and did at the location (Flag).  An acquire, or a
 *   strong read and then a fence (LORE_SEEN: what was read since), takes it.  Atomics keep
 *   what is there and add to it, other strong writes replace it, weak ones clear it.
 * - Beside that a strong read tells that the write it read came before: Write.seen.
 * Each 16 bytes have a Cell: the last writes, and who has read.  The readers are lists that
 * share their tails and that are the same number if they are alike: most cells of a tile
 * have the same story. */
#ifndef ATTNC_EMULATOR_SHADOW_BETWEEN_H
#define ATTNC_EMULATOR_SHADOW_BETWEEN_H

#include "emulator/check/shadow_part.h"

enum { CELLS = 256, CELL_BYTES = 16 }; /* of a page */

enum {
  MARK_ATOMIC = 1, /* read, changed and written back */
  MARK_ASYNC = 2,  /* by an engine: time is the number of a store, over once it has one */
  MARK_SAME = 4,   /* other CTAs have written the same values there */
};

typedef struct Mark {
  uint32_t cta, time;
  uint16_t bytes, insn; /* mask of the 16; instruction + 1 */
  uint8_t warp, scope;  /* ShadowScope of a strong access */
  uint8_t unit, kind;   /* bytes of an element; MARK_… */
} Mark;

/* What a strong write or several left at a location: for all CTAs, and for each cluster
 * what its own left. */
typedef struct Near {
  int cluster; /* its first CTA */
  Lore *lore;
  struct Near *next;
} Near;

typedef struct Flag {
  struct Flag *next;
  Lore *wide;
  Near *near;
  /* of the thread that executed the last release operation here: its strong writes that
   * follow release the same */
  Lore *own_wide, *own_near;
  uint32_t own_cta;
  uint8_t own_warp, own_lane;
  uint8_t at, bytes; /* in the cell */
} Flag;

typedef struct Write {
  Mark mark;
  uint32_t seen; /* list of those who have read it by a strong read since */
} Write;

typedef struct More {
  Write *writes; /* last ones of other bytes */
  int n, cap;
  Flag *flags;
} More;

typedef struct Cell {
  Write last;    /* bytes 0: none */
  uint32_t kept; /* list of writes before the last ones that these do not stand for */
  uint32_t readers;
  More *more;
} Cell;

typedef struct CellPage {
  struct CellPage *next;
  const ShadowMem *mem;
  uint64_t number;
  atomic_flag lock;
  Cell at[CELLS];
} CellPage;

typedef struct Reader {
  Mark mark;
  uint32_t next, length; /* of the list that starts here */
} Reader;

enum { PAGE_ROWS = 4096, READER_CHUNK = 1 << 13, READER_CHUNKS = 1 << 13 };
enum { STORE_CHUNK = 1 << 13, STORE_CHUNKS = 1 << 12 };
struct ShadowOrder { /* of a launch */
  int levels;        /* of each Lore */
  _Atomic(CellPage *) page[PAGE_ROWS];
  pthread_mutex_t lock; /* of what follows, to add to it */
  /* lists of readers: entry 0 is the empty one; never changed, found by what they are */
  _Atomic(Reader *) readers[READER_CHUNKS];
  uint32_t n_readers, n_slots, *slot;
  /* bulk stores: the time at which they were over, 0: not yet */
  uint32_t n_stores;
  _Atomic(atomic_uint *) stores[STORE_CHUNKS];
};

/* What a list becomes, remembered: bytes 0 of a mark, nothing is. */
typedef struct ReadStep {
  Mark mark;
  uint32_t list, result;
} ReadStep;

/* An access that conflicts with nothing in the list: what a warp knows only grows. */
typedef struct Clean {
  uint32_t list; /* 0: none */
  uint16_t bytes;
  uint8_t warp, scope, unit;
} Clean;

typedef struct OpenStore {
  int warp;
  uint32_t store, number; /* of the warp, of the launch */
} OpenStore;

enum { NEAR_PAGES = 16, READ_STEPS = 64, CLEANS = 64 };
struct Between { /* of a Shadow */
  CellPage *page[NEAR_PAGES];
  ReadStep reads[READ_STEPS], forgets[READ_STEPS];
  Clean clean[CLEANS]; /* of the CTA */
  OpenStore *open;     /* bulk stores that may still be writing */
  int n_open, cap_open;
};

/* ---- shadow_readers.c ---- */
const Reader *shadow_reader(const ShadowOrder *, uint32_t list);
/* The list with one more; what it makes superfluous is left out.  0: out of memory, and
 * the checks are off. */
uint32_t shadow_read_by(Shadow *, uint32_t list, const Mark *);
/* Without these bytes; strong: those of strong readers stay. */
uint32_t shadow_forget_reads(Shadow *, uint32_t list, uint16_t bytes, bool strong);
void shadow_readers_free(ShadowOrder *);

/* ---- shadow_order.c ---- */
/* Did it come before what the warp does now? */
bool shadow_came_before(const Shadow *, int warp, const Mark *);
uint32_t shadow_now(const Shadow *); /* for a Mark */
/* After a strong access to bytes [at, at + n) of the cell; wrote: and it changed them. */
void shadow_flag_touch(Shadow *, const ShadowAccess *, int lane, Cell *, uint8_t at);
void shadow_flags_clear(Cell *, uint16_t bytes); /* a weak write */
void shadow_flags_free(Flag *);

/* ---- shadow_stores.c ---- */
/* Number of the bulk store that the warp counts as its `store`th; 0: out of memory. */
uint32_t shadow_store_number(Shadow *, int warp, uint32_t store);
uint32_t shadow_store_end(const ShadowOrder *, uint32_t number); /* 0: not yet */
void shadow_stores_free(ShadowOrder *);

/* ---- shadow_cells.c ---- */
void shadow_cells_free(ShadowOrder *);

#endif
