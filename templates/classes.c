#include "templates/classes.h"

#include "templates/fwd.h"

#include <limits.h>

enum { WARP = 32, STRIP = 16, COUNTERS = 256 };
enum { CLASS_EMPTY, CLASS_PARTIAL, CLASS_FULL }; /* as the first entry writes them */

/* ---- where a tile, and a row of the lists, stands ---- */

/* Tiles of the keys, and one more, so that there is one without any. */
static Idx
tiles_of(const Call *p, int bn)
{
  return i_add(i_cdiv(p->sk, bn), 1);
}

/* Masks of one batch: for each head, or one for all; of so many batches. */
static Idx
heads_of(const Call *p, const TileLists *l)
{
  return l->by_h ? p->h : i_int(1);
}

static Idx
batches_of(const Call *p, const TileLists *l)
{
  return l->by_b ? call_size(p, SIZE_B) : i_int(1);
}

/* The row of the lists that a block of queries has. */
static Idx
row_of(const Partition *p, const TileLists *l, const WorkTile *w)
{
  const Call *call = p->call;
  Idx b = l->by_b ? w->b : i_int(0), h = l->by_h ? w->h : i_int(0);
  Idx head = i_add(i_mul(b, heads_of(call, l)), h);
  Idx block = i_div(w->all, p->bm);
  return i_add(i_mul(head, partition_blocks(p)), block);
}

/* A row of one of the regions that have an element for each tile. */
static const Lookup *
row_words(Tb *t, const Partition *p, const WorkRegion *region, Idx row)
{
  Lookup *x = NEW(t_arena(t), Lookup);
  *x = *t_region_words(t, region, 0);
  x->first = i_mul64(row, tiles_of(p->call, p->bn));
  return x;
}

/* ---- the class of each tile ---- */

/* A tile of a block, as a CTA of one warp has it. */
typedef struct AtTile {
  WorkTile w;
  Idx n; /* which tile */
} AtTile;

/* Masks of both kinds are along y and z as far as those reach, as in partition_alone. */
static void
grid_of_tiles(Tb *t, const Partition *host, const TileLists *l)
{
  const Call *call = host->call;
  Idx h = heads_of(call, l), b = batches_of(call, l);
  Idx blocks = partition_blocks(host), each = i_mul(tiles_of(call, host->bn), blocks);
  if (l->by_h && l->by_b) {
    Idx along = i_mul(each, i_along(h, b)), y = i_aside(h, b);
    t_grid(t, along, y, i_aside(b, h));
  } else {
    t_grid(t, i_mul(each, i_mul(h, b)), 1, 1);
  }
}

static AtTile
place_of(Tb *t, const Partition *p, const TileLists *l)
{
  const Call *call = p->call;
  Idx tiles = tiles_of(call, p->bn), blocks = partition_blocks(p), i = i_cta(t, 0);
  Idx above = i_div(i, tiles), head = i_div_rare(above, blocks);
  AtTile x = {.n = i_mod(i, tiles)};
  Idx heads = heads_of(call, l);
  Idx h = i_mod_rare(head, heads), b = i_div_rare(head, heads);
  x.w.h = i_add(h, i_cta(t, 1));
  x.w.b = i_add(b, i_cta(t, 2));
  x.w.hk = i_div(x.w.h, fwd_group(call));
  x.w.q0 = x.w.all = i_mul(i_mod_rare(above, blocks), p->bm);
  x.w.seq = sequence(t, call, x.w.b);
  return x;
}

/* 1 for the rows of a strip that there are, 0 for those behind the last query: of a mask
 * under which row `left` − 1 is the last one that sees a key. */
static Tile
there_are(Tb *t, Idx left)
{
  Mask *m = NEW(t_arena(t), Mask);
  *m = (Mask){.band = {.lo = 0, .hi = INT_MAX}, .sq = i_int(STRIP), .sk = i_int(STRIP)};
  At at = {.q = i_sub(STRIP, left), .k = i_int(0), .b = i_int(0), .h = i_int(0)};
  at.hk = i_int(0);
  Tile none = t_zero(t, STRIP, STRIP), x = t_mask(t, m, none, at);
  Tile seen = t_row_max(t, x), least = t_const(t, -1), one = t_const(t, 1);
  seen = t_max(t, seen, least);
  return t_add(t, seen, one);
}

/* Of each row whether it sees a key of the tile, and whether one is hidden from it: 1 or 0,
 * of rows that there are. */
typedef struct Seen {
  Tile *some, *hidden;
} Seen;

/* Keys that are looked at together: few, as each element's part of the mask is code. */
enum { KEYS = STRIP };

/* Scores of 0 that the mask has turned into −inf are −1 here, and those that are left 0. */
static void
look_at_part(Tb *t, const Partition *p, At at, Tile is, const Seen *seen)
{
  Tile least = t_const(t, -1), one = t_const(t, 1);
  Tile scores = t_zero(t, STRIP, KEYS);
  scores = t_mask(t, &p->call->mask, scores, at);
  scores = t_max(t, scores, least);
  Tile some = t_row_max(t, scores);
  some = t_add(t, some, one);
  some = t_mul(t, some, is);
  *seen->some = t_max(t, *seen->some, some);
  Tile turned = t_mul(t, scores, least);
  Tile hidden = t_row_max(t, turned);
  hidden = t_mul(t, hidden, is);
  *seen->hidden = t_max(t, *seen->hidden, hidden);
}

static Idx
is_any(Tb *t, Tile rows)
{
  Tile half = t_const(t, 0.5);
  return t_any_abs_gt(t, rows, half);
}

static void
look_at_strip(Tb *t, const Partition *p, const AtTile *x, Idx strip, const Seen *seen)
{
  Idx q = i_add(x->w.q0, i_mul(strip, STRIP)), first = i_mul(x->n, p->bn);
  At at = {.q = q, .b = x->w.b, .h = x->w.h, .hk = x->w.hk};
  Tile is = there_are(t, i_sub(p->call->sq, q));
  T_FOR (t, i, ((Span){i_int(0), i_int(p->bn / KEYS), i_int(1)})) {
    at.k = i_add(first, i_mul(i, KEYS));
    look_at_part(t, p, at, is, seen);
  }
}

/* The class by intervals where they know it, else by all elements. */
static Idx
class_of(Tb *t, const Partition *p, const AtTile *x)
{
  Walk kv = partition_keys(t, p, &x->w);
  Idx below = i_lt(x->n, kv.tiles.lo);
  Idx out = i_or(below, i_le(kv.tiles.hi, x->n));
  Idx empty = i_or(out, w_empty(&kv, x->n));
  Idx full = i_not(w_partial(&kv, x->n));
  Idx open = i_not(i_or(empty, full));
  Idx strips = i_min(p->bm / STRIP, i_cdiv(i_sub(p->call->sq, x->w.q0), STRIP));
  Tile none = t_rows(t, STRIP, 0);
  Tile no = t_rows(t, STRIP, 0);
  Seen seen = {.some = t_var(t, none)};
  seen.hidden = t_var(t, no);
  T_WORK (t, open)
    T_FOR (t, i, ((Span){i_int(0), strips, i_int(1)}))
      look_at_strip(t, p, x, i, &seen);
  Idx some = is_any(t, *seen.some);
  Idx hidden = is_any(t, *seen.hidden);
  Idx found = i_sub(CLASS_FULL, hidden);
  found = i_mul(some, found);
  Idx known = i_select(empty, CLASS_EMPTY, CLASS_FULL);
  return i_select(open, found, known);
}

static void
classify(Tb *t, const Partition *host, const TileLists *l)
{
  Partition own = *host, *p = &own;
  own.call = t_call(t);
  grid_of_tiles(t, host, l);
  AtTile x = place_of(t, p, l);
  Idx row = row_of(p, l, &x.w), its = class_of(t, p, &x);
  const Lookup *words = row_words(t, p, l->classes, row);
  t_store_word(t, words, x.n, its, i_lt(i_thread(t), 1));
}

/* ---- the lists ---- */

/* Which tile a lane looks at; is it to be visited; its word. */
typedef struct Found {
  Idx is, word;
} Found;

static Found
look(Tb *t, const Lookup *classes, Idx tiles, Idx first)
{
  Idx n = i_add(first, i_thread(t)), there = i_lt(n, tiles);
  Idx its = i_length(t, classes, i_min(n, i_sub(tiles, 1)));
  Idx partial = i_select(i_lt(its, CLASS_FULL), 1, 0);
  Found f = {.is = i_and(there, i_lt(CLASS_EMPTY, its))};
  f.word = i_add(i_mul(n, LISTED_WORD), partial);
  return f;
}

/* A row a CTA of one warp: counts, then places. */
static void
make_lists(Tb *t, const Partition *host, const TileLists *l)
{
  Partition own = *host, *p = &own;
  own.call = t_call(t);
  Idx row = i_cta(t, 0), tiles = tiles_of(p->call, p->bn);
  const Lookup *count = t_region_words(t, l->count, 0);
  const Lookup *classes = row_words(t, p, l->classes, row);
  const Lookup *list = row_words(t, p, l->tile, row);
  const Bins *bins = t_bins(t, COUNTERS);
  Span all = {i_int(0), tiles, i_int(WARP)};
  Idx lists = i_mul(heads_of(host->call, l), batches_of(host->call, l));
  t_grid(t, i_mul(lists, partition_blocks(host)), 1, 1);
  T_FOR (t, i, all) {
    Found f = look(t, classes, tiles, i);
    t_bins_add(t, bins, i_int(0), i_int(1), f.is);
  }
  Idx n = t_bins_scan(t, bins);
  t_store_word(t, count, row, n, i_lt(i_thread(t), 1));
  T_FOR (t, i, all) {
    Found f = look(t, classes, tiles, i);
    Idx at = t_bins_take(t, bins, i_int(0), f.is);
    t_store_word(t, list, at, f.word, f.is);
  }
}

/* ---- both ---- */

static const TileLists *
regions(Build *b, const Partition *host)
{
  const Call *call = host->call;
  const Spec *s = call->spec;
  TileLists *l = NEW(t_arena(call->tb), TileLists);
  l->by_b = spec_mask_asks(s, EXPR_B);
  l->by_h = spec_mask_asks(s, EXPR_H) || spec_mask_asks(s, EXPR_HK);
  Idx n = batches_of(call, l), h = heads_of(call, l), rows = partition_blocks(host);
  Idx all = i_mul(rows, tiles_of(call, host->bn));
  l->classes = b_region(b, .name = "tile_classes", .ty = DT_I32, .b = n, .h = h,
                        .rows = all, .cols = 1);
  l->tile =
      b_region(b, .name = "tiles", .ty = DT_I32, .b = n, .h = h, .rows = all, .cols = 1);
  l->count = b_region(b, .name = "tile_count", .ty = DT_I32, .b = n, .h = h, .rows = rows,
                      .cols = 1);
  return l;
}

const TileLists *
classes_entries(Build *b, const Partition *host, Classes how)
{
  if (how != CLASSES_STEP)
    return NULL;
  const TileLists *l = regions(b, host);
  T_ENTRY (b, t, "classes", .warps = 1)
    classify(t, host, l);
  T_ENTRY (b, t, "lists", .warps = 1)
    make_lists(t, host, l);
  return l;
}

Walk
classes_walk(Tb *t, const Partition *p, const WorkTile *w, const Walk *kv)
{
  const TileLists *l = p->classes;
  Idx row = row_of(p, l, w);
  Idx n = i_length(t, t_region_words(t, l->count, 0), row);
  return w_listed(t, kv, row_words(t, p, l->tile, row), n);
}

/* ---- which masks ---- */

static bool
takes(const Spec *s)
{
  return !mask_is_one_range(s) && !spec_has_lists(s) && !spec_has_lengths(s);
}

bool
classes_are_open(const Spec *s)
{
  return takes(s) && spec_mask_is_open(s);
}

bool
classes_refuse(const Spec *s, const Sched *sched, Classes how, int pack, Why *why)
{
  if (how != CLASSES_STEP)
    return false;
  if (!takes(s))
    return refused(why, "classes: step takes a mask whose rows' keys are not one range, "
                        "without block_list and lengths of sequences");
  if (pack > 1)
    return refused(why, "classes: step takes rows of one head, not pack_gqa");
  if (sched->bm % STRIP)
    return refused(why, "classes: step takes rows by %d, not block_m %d", STRIP, sched->bm);
  return false;
}
