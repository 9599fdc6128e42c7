/* walk.h: the mask decides the loops: which key tiles a block of queries sees, and which of
 * them need the mask.
 *
 * The w_ words are pure: they describe a walk in index expressions and append nothing. What
 * appends is below them: the loop over a walk (T_FOR_TILES) and, within it, the branch for
 * PARTIAL tiles (T_PARTIAL).  The arithmetic is in tile_walk.c, the loop in tile_loop.c. */
#ifndef ATTNC_COMPILER_WALK_H
#define ATTNC_COMPILER_WALK_H

#include "compiler/tile/tile.h"

typedef enum TileClass { TILE_PARTIAL, TILE_FULL } TileClass;

/* Key tiles [lo, hi), of which those in [full_lo, full_hi) are FULL and the others PARTIAL.
 */
typedef struct TileSpan {
  Idx lo, hi, full_lo, full_hi;
} TileSpan;
bool span_has(const TileSpan *, TileClass); /* may it have such a tile? */

/* The queries of a block: n from q0 on, of batch b, of `heads` heads from h on.  Of a walk
 * over queries its keys. */
typedef struct WalkRows {
  Idx q0, b, h, hk;
  int n, heads; /* heads 0: one */
} WalkRows;

enum { WALK_AHEAD = 4 }; /* tiles that a template looks ahead */

/* The key tiles that a block of queries sees, visited from the highest down.  They are
 * counted from the first key that some row sees, so that only the highest one holds keys
 * that none does, and those at its end (w_seen).  There is at least one tile, wholly masked
 * if need be, so that a block that sees no key comes out as o = 0, lse = −inf by itself. */
typedef struct Walk {
  TileSpan tiles; /* 0 is that of `start` */
  Idx start, end; /* keys that some row of the block sees: none if end <= start */
  int bn;
  bool even_k;        /* sk is proved a multiple of bn, and start is 0: no tile is ragged */
  bool cut;           /* the highest tile may end behind `end`, before the tensor does */
  bool single_ragged; /* above the FULL ones: one tile at most, the ragged last one */
  /* A row's keys are not one range: tiles begin at multiples of bn, the class of each is
   * asked of the mask's intervals besides, and those that are EMPTY are left out, but for
   * a first one of a block without any other.  NULL: they are one range. */
  struct WalkTest *test;
  /* Its tiles are those of blocks that the call lists, and `tiles` counts their places in
   * the lists: PARTIAL ones have the highest.  It has a test, too. */
  const struct ListRow *listed;
  /* Its tiles are those of a list that an entry ahead has made; likewise. */
  const struct TileList *places;
  const struct Region *seek; /* t_walk: the search that finds them; … */
  int skip, ahead;           /* … its finds that the walk begins behind, and has ahead */
  bool told;                 /* which tiles are visited comes with their stages, and … */
  Idx more;                  /* … is there another one */
} Walk;

/* One tile of a walk. */
typedef struct TileIter {
  Idx n, k0;   /* its index; its first key, or query of a walk over those */
  Idx is;      /* is there such a tile */
  Idx partial; /* is it PARTIAL */
  Idx whole;   /* and is that for the end of the keys alone: it is of a block seen whole */
  bool masked; /* it may be */
  bool in_bounds;            /* not the ragged last one */
  bool cut;                  /* may be the highest one of a walk that is cut */
  bool open;                 /* the loop over it is being built */
  const struct Region *loop; /* this one; NULL: it stands before its loop */
  const Walk *walk;
} TileIter;

Idx w_end(const Mask *, Idx q); /* one past the last key that query q sees */
Walk w_keys(Tb *, const Mask *, const WalkRows *, int bn);
/* The tiles of queries that see a block of keys, of which `rows` has the first as q0: the
 * same walk with queries and keys in each other's place.  It is of mask_turned. */
Walk w_queries(Tb *, const Mask *turned, const WalkRows *keys, int bm);
bool w_has(const Walk *, TileClass); /* may it have such a tile? */
Idx w_partial(const Walk *, Idx n);  /* is tile n PARTIAL, or not known to be FULL? */
Idx w_empty(const Walk *, Idx n); /* is tile n of a walk with a test known to be EMPTY? */
/* May a tile be PARTIAL for the end of the keys alone, though the spec has masks? */
bool w_has_whole(const Walk *);
/* The walk over a mask with a test whose tiles an entry ahead has listed: n words, from the
 * lowest tile up, of the tile's number and whether it is PARTIAL. */
enum { LISTED_WORD = 2 }; /* times the number */
Walk w_listed(Tb *, const Walk *, const Lookup *words, Idx n);
TileIter w_first(const Walk *);
Walk w_rest(const Walk *);                    /* all but the first */
Walk w_between(const Walk *, Idx lo, Idx hi); /* tiles lo to hi - 1 of it: at least one */
Walk w_plain(const Walk *); /* all FULL, for who does not look at their class */
TileIter w_ahead(const Walk *, TileIter, int by); /* the tile `by` visits after this one */
TileIter w_last(const Walk *);
/* The rows of K or V that are a tile, as far as they are there: all, where that is known.
 * Lists may begin with a tile behind all keys. */
View w_tile(View, TileIter);
/* Rows of V that no row of the block sees are zeros: a weight of 0 does not make nothing of
 * a NaN or an infinity.  (K needs no such care: masked scores are replaced.) */
View w_seen(View, TileIter);

/* The walk, ready to be visited: where it has a test, its first tiles are found.  `ahead`
 * of w_ahead is at most so many visits, in the loop too. */
Walk t_walk(Tb *, const Walk *, int ahead);

/* A walk with a test, for who is told each tile by the word that goes with a stage: its
 * number, whether it is PARTIAL, whether it is the last.  A word says `last` where w_ahead
 * reaches one visit further. */
Walk w_told(const Walk *);
Idx w_word(const Walk *, TileIter);
/* The tile that came with the stage: that of this trip of a loop over the walk, or the
 * first one, before w_rest. */
TileIter t_told(Tb *, Walk *, Slot, TileIter);

/* for (every tile of the walk): one body for both classes; what PARTIAL tiles alone need
 * stands in T_PARTIAL. */
#define T_FOR_TILES(t, j, walk)                                                            \
  for (TileIter j = t_tiles_begin((t), (walk)); j.open; t_tiles_end((t), &j))
TileIter t_tiles_begin(Tb *, const Walk *);
void t_tiles_end(Tb *, TileIter *);
/* if (the tile is PARTIAL): there is no else. */
#define T_PARTIAL(t, j)                                                                    \
  for (int T_NAME(open_, __LINE__) = t_partial_begin((t), (j)); T_NAME(open_, __LINE__);   \
       T_NAME(open_, __LINE__) = t_if_end((t), T_NAME(open_, __LINE__)))
int t_partial_begin(Tb *, TileIter);

#endif
