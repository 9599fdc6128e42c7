/* build.h: how a template builds a kernel: its entries, the order in which they run, and
 * the workspace between them.
 *
 * A kernel is one module with one or more entries.  T_ENTRY opens one: a tile program with
 * its own warps, shared memory, parameters and grid.  Each entry is launched once, in the
 * order in which they were opened, and begins when the step ahead of it has ended.
 *
 * There are two kinds of index expression, and they never meet: a word that is given both
 * ends the compile.  Those of an entry are arithmetic of the device.  Those of the host
 * are written into the recipe and evaluated at every launch, in 64 bits: products and sums
 * of sizes, constants, i_cdiv of a size by a constant, i_min, i_sms, i_along, i_aside and
 * i_or_else and i_quotient.
 * The grid of an entry is three of them.  An expression that a recipe cannot say ends the
 * compile with its text. */
#ifndef ATTNC_COMPILER_BUILD_H
#define ATTNC_COMPILER_BUILD_H

#include "base/call.h"
#include "compiler/tile/tile.h"

typedef struct Build Build; /* the builder of one kernel */

/* Sequences of a call by how many queries they have: all, those of `few` at most, those of
 * more. */
typedef enum QueryClass { QUERIES_ALL, QUERIES_FEW, QUERIES_MANY } QueryClass;

/* What a call is given, in the expressions of the host or of one entry. */
typedef struct Call {
  const struct Call *host; /* the same call in expressions of the host; itself there */
  Tb *tb;
  const Spec *spec;
  const Tensor *at[ATTNC_SLOT_COUNT]; /* by slot; NULL: not of this call */
  /* What expressions read, by the index that their loads have (spec->tables); one that
   * none reads has no name and no parameters. */
  const Lookup *tables;
  const Lookup *gradients; /* by the index of spec->grads, where they are written */
  const Tensor *q, *k, *v, *o, *lse; /* of them */
  /* By slot: where sequences begin and how long they are; NULL: not of this call. */
  const Lookup *lengths[ATTNC_SLOT_COUNT];
  int d, dv;
  Dtype dt; /* of q, k and v where they are equal */
  Mask mask;
  Mask end;  /* of tiles that are seen whole */
  Mods mods; /* what mask and scores read */
  Idx h, hk, sq, sk;
  QueryClass queries;   /* whose queries count: sequences of others have none … */
  int few;              /* … by this number */
  unsigned set;         /* bits 1u << SizeId: sizes that call_set_size gave, … */
  Idx size[SIZE_COUNT]; /* … which are these */
} Call;
Idx call_size(const Call *, SizeId); /* any other size */
/* From now on `size` of this call is x. */
void call_set_size(Call *, SizeId, Idx x);

typedef struct EntryArgs {
  int warps; /* of a block */
  /* So many of them, 1, 2 or 4, have the same rows of a tile, each a part of its columns;
   * 0:
   * 1.  The kernel has no roles, and what the warps exchange takes room (t_exchange). */
  int warps_n;
  /* So many of them, 2 or 4, have the same rows, and each its own keys; 0: 1.  Of scores a
   * warp has a part of the columns, of rings the rows that they are made of, and their
   * maxima, sums and products with V are its own, until t_merge_cols adds them up.  A warp
   * waits for no other one between t_copy_wait and t_share_rows.  Instead of warps_n. */
  int warps_k;
  int cluster; /* blocks along x that reach each other's shared memory; 0: 1 */
  /* May begin before the step ahead of it has ended (programmatic dependent launch), where
   * the target has that.  It calls t_grid_wait in every role that looks at memory, before
   * it does: the first entry of a kernel too, whose step ahead is the caller's. */
  bool dependent;
} EntryArgs;
/* name: of the entry among those of its kernel, in its symbol; NULL where the template has
 * no other one ("forward", where steps stand before it).  Within, `t` is its builder. */
#define T_ENTRY(b, t, name, ...)                                                           \
  for (Tb *t = b_entry_begin((b), (name), &(EntryArgs){__VA_ARGS__}); t; t = b_entry_end(t))
Tb *b_entry_begin(Build *, const char *name, const EntryArgs *);
Tb *b_entry_end(Tb *); /* NULL */
/* The call as this entry sees it.  An entry without a name thereby has all parameters of
 * the call, one of several those that its operations read. */
const Call *t_call(Tb *);

/* Blocks of the entry along x, y and z, by expressions of the host.  Above 2^31 - 1 along
 * x and 65535 along y and z, the minima's parts included, a launch is refused: kernels
 * count the work that a smaller grid shares in as many bits. */
#define t_grid(t, x, y, z) t_grid_((t), I(x), I(y), I(z))
void t_grid_(Tb *, Idx x, Idx y, Idx z);
/* The grid of a launch without workspace, which is then allowed: t_ticket gives 0 in it.
 * Of all entries that have workspace, or of none. */
#define t_grid_without_workspace(t, x, y, z)                                               \
  t_grid_without_workspace_((t), I(x), I(y), I(z))
void t_grid_without_workspace_(Tb *, Idx x, Idx y, Idx z);

/* So many blocks of the entry are to share a multiprocessor: the assembler leaves each
 * thread as many registers as that allows.  It does not know what shared memory allows, and
 * without a word may spill for blocks that will not come.  1 … what is left of a
 * multiprocessor. */
void t_resident(Tb *, int blocks);

/* ---- workspace ---- */

/* Memory of the caller's, by which the entries of one launch reach each other: regions,
 * each from a multiple of 256 bytes on, of a size by expressions of the host that grow with
 * the call's sizes.  What a region holds when the first entry begins is not known, unless
 * it is `zero`.  Of rows x cols elements for each b and h, packed; an axis left out is 1.
 */
typedef struct RegionArgs {
  const char *name;
  Dtype ty;
  Idx b, h, rows;
  int cols;
  /* All bytes are 0 when the first entry begins: the caller makes them so once, and the
   * kernel leaves them so at the end of each launch.  Of a constant size, and ahead of all
   * other regions: where they lie must not depend on the sizes of a call. */
  bool zero;
} RegionArgs;
typedef struct WorkRegion WorkRegion;
#define b_region(b, ...) b_region_((b), &(RegionArgs){__VA_ARGS__})
const WorkRegion *b_region_(Build *, const RegionArgs *);
/* What entries that are opened from now on have for q: rows of each batch and head, or of
 * each head where they are packed. */
void b_turned(Build *, const WorkRegion *);
/* Entries that are opened from now on compute another call than the caller's: what `change`
 * makes of it, in the host's expressions and in each entry's.  Their names begin with
 * `name` unless it is NULL.  Returns the host's call.  A change of NULL: the caller's
 * again.
 */
typedef void CallChange(Tb *, Call *, const void *user);
typedef struct OtherCall {
  const char *name;
  CallChange *change;
  const void *user;
  const struct OtherCall *inside; /* of this other call; NULL: of the caller's */
} OtherCall;
const Call *b_other_call(Build *, const OtherCall *);
const OtherCall *b_call_now(const Build *);
/* Fills it, behind the entries that were opened before. */
void b_memset(Build *, const WorkRegion *, int byte);
/* The region as a tensor of this entry, for the ordinary loads and stores. */
const Tensor *t_region(Tb *, const WorkRegion *);
/* A column of an i32 region, for i_length and t_store_word: an element a row. */
const Lookup *t_region_words(Tb *, const WorkRegion *, int col);
/* Draws from the counter that a `zero` region of four bytes is: 0, 1, … n - 1 over all CTAs
 * of the launch, and from 0 again, so that n drawings leave it at 0.  0 where the launch
 * has no workspace.  One lane draws; nothing else is ordered by it. */
#define t_ticket(t, region, n) t_ticket_((t), (region), I(n))
Idx t_ticket_(Tb *, const WorkRegion *, Idx n);

/* ---- expressions of the host ---- */

/* Multiprocessors of the device, rounded down to a multiple, which is the least. */
Idx i_sms(const Call *host, int multiple);
/* Sizes of which a grid has one along y and another along z where neither is above 65535,
 * and along x otherwise: i_aside is `one` or 1, i_along 1 or their product.  i_aside takes
 * any expressions. */
Idx i_aside(Idx one, Idx other);
Idx i_along(Idx one, Idx other);
/* A size that is a choice where it is not 0, else `other`; in an entry too. */
Idx i_or_else(Idx size, Idx other);
/* a / b, rounded up, of any such expressions; by 0 it is a. */
#define i_quotient(a, b) i_quotient_(I(a), I(b))
Idx i_quotient_(Idx a, Idx b);

#endif
