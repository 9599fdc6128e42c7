#include "templates/splits.h"

/* Parts that a block has at most, by the size of k. */
static Idx
parts_most(const Partition *p, const Splits *x)
{
  Idx by_rule = i_add(i_min(SPLITS_MOST - 1, i_cdiv(p->call->sk, x->keys)), 1);
  return i_or_else(call_size(p->call, SIZE_NUM_SPLITS), by_rule);
}

/* Of a head; and those of all heads. */
static Idx
room_of_head(const Partition *p, const Splits *x)
{
  Idx blocks = partition_slots(p), parts = parts_most(p, x);
  Idx any = i_mul(blocks, parts);
  return i_min(any, i_or_else(call_size(p->call, SIZE_MAX_ITEMS), any));
}

Idx
splits_room(const Partition *p, const Splits *x)
{
  return i_mul(room_of_head(p, x), partition_heads_of_batch(p));
}

/* The least power of 2 that is x or more; of x up to 2^20. */
static Idx
power_of_2(Idx x)
{
  Idx p = i_int(1);
  for (int k = 0; k < 20; k++)
    p = i_select(i_lt(1 << k, x), i_int(2 << k), p);
  return p;
}

/* Key tiles of a part of a block that has so many, at least one. */
static Idx
tiles_of_part(const Partition *p, const Splits *x, Idx tiles)
{
  int each = x->keys / p->bn;
  Idx forced = call_size(p->call, SIZE_NUM_SPLITS);
  Idx by_rule = i_mul(power_of_2(i_cdiv(i_cdiv(tiles, each), SPLITS_MOST)), each);
  Idx equal = i_max(1, i_cdiv(tiles, i_max(1, forced)));
  return i_select(i_lt(0, forced), equal, by_rule);
}

/* ---- the plan ---- */

/* A block's parts. */
typedef struct Parts {
  Idx n, tiles, class;
} Parts;

static Parts
parts_of(const Partition *p, const Splits *x, Idx tiles)
{
  Parts r = {.tiles = tiles_of_part(p, x, tiles)};
  r.n = i_max(1, i_cdiv(tiles, r.tiles));
  r.class = items_class(p, i_min(tiles, r.tiles));
  return r;
}

typedef struct Plan {
  const Partition *part;
  const Splits *splits;
  const Lookup *word[SPLIT_WORDS], *come;
  Idx room, most, heads;
} Plan;

static Plan
plan_of(Tb *t, const Partition *p, const Splits *x)
{
  Plan r = {.part = p, .splits = x};
  r.room = room_of_head(p, x);
  r.most = parts_most(p, x);
  for (int i = 0; i < SPLIT_WORDS; i++)
    r.word[i] = t_region_words(t, x->list, i);
  r.come = t_region_words(t, x->come, 0);
  r.heads = partition_heads_of_batch(p);
  return r;
}

/* A block's parts from place `at` on, as far as there is room, and its counters. */
static void
list_parts(Tb *t, const Plan *x, const ItemsFound *f, const Parts *parts, Idx at)
{
  Idx fits = i_le(i_add(at, parts->n), x->room);
  Idx n = i_select(fits, parts->n, i_int(0)); /* nobody's in the room that is left */
  Span all = {i_int(0), x->most, i_int(1)};
  T_FOR (t, i, all) {
    Idx place = i_add(at, i), is = i_and(f->is, i_lt(i, parts->n));
    Idx there = i_lt(place, x->room);
    is = i_and(is, there);
    t_store_word(t, x->word[SPLIT_B], place, f->w.b, is);
    t_store_word(t, x->word[SPLIT_ROW], place, f->w.all, is);
    t_store_word(t, x->word[SPLIT_PART], place, i, is);
    t_store_word(t, x->word[SPLIT_PARTS], place, n, is);
    t_store_word(t, x->word[SPLIT_TILES], place, parts->tiles, is);
  }
  Idx counts = i_and(f->is, i_and(fits, i_lt(1, parts->n)));
  Span heads = {i_int(0), x->heads, i_int(1)};
  T_FOR (t, i, heads)
    t_store_word(t, x->come, i_add(i_mul(at, x->heads), i), i_int(0), counts);
}

/* The block among those that had no room: one part without tiles, or nobody's. */
static void
mark_block(Tb *t, const Plan *x, const ItemsFound *f, const Parts *parts, Idx at, Idx own)
{
  Idx past = i_and(f->is, i_lt(x->room, i_add(at, parts->n)));
  Idx place = i_add(x->room, f->slot);
  t_store_word(t, x->word[SPLIT_B], place, f->w.b, own);
  t_store_word(t, x->word[SPLIT_ROW], place, f->w.all, own);
  t_store_word(t, x->word[SPLIT_PART], place, i_int(0), own);
  t_store_word(t, x->word[SPLIT_PARTS], place, i_select(past, i_int(1), i_int(0)), own);
  t_store_word(t, x->word[SPLIT_TILES], place, i_int(0), own);
}

/* Counts, then places, as the list of items.c. */
static void
plan(Tb *t, const Partition *p, const Splits *splits)
{
  Plan x = plan_of(t, p, splits);
  ItemsScan scan = items_scan(t, p);
  const Lookup *count = t_region_words(t, splits->count, 0);
  const Lookup *faults = t_region_words(t, splits->faults, 0);
  const Bins *bins = t_bins(t, ITEMS_CLASSES);
  Idx one = i_lt(i_thread(t), 1);
  t_grid(t, 1, 1, 1);
  T_FOR (t, i, scan.mine) {
    ItemsFound f = items_look(t, &scan, i);
    Parts parts = parts_of(p, splits, f.tiles);
    t_bins_add(t, bins, parts.class, parts.n, f.is);
  }
  Idx all = t_bins_scan(t, bins);
  t_store_word(t, count, i_int(0), i_min(all, x.room), one);
  t_store_word(t, faults, i_int(0), i_max(0, i_sub(all, x.room)), one);
  T_FOR (t, i, scan.mine) {
    ItemsFound f = items_look(t, &scan, i);
    Parts parts = parts_of(p, splits, f.tiles);
    Idx at = t_bins_take_n(t, bins, parts.class, parts.n, f.is);
    Idx own = i_lt(i_add(i, scan.lane), scan.slots);
    list_parts(t, &x, &f, &parts, at);
    mark_block(t, &x, &f, &parts, at, own);
  }
}

const Splits *
splits_entry(Build *b, const Partition *host, int keys)
{
  Splits *x = NEW(t_arena(host->call->tb), Splits);
  x->keys = keys;
  Idx room = room_of_head(host, x);
  x->faults = b_region(b, .name = "faults", .ty = DT_I32, .cols = 1);
  x->count = b_region(b, .name = "item_count", .ty = DT_I32, .cols = 1);
  x->list = b_region(b, .name = "items", .ty = DT_I32,
                     .rows = i_add(room, partition_slots(host)), .cols = SPLIT_WORDS);
  x->come = b_region(b, .name = "parts_come", .ty = DT_I32, .rows = splits_room(host, x),
                     .cols = 1);
  T_ENTRY (b, t, "plan", .warps = ITEMS_WARPS) {
    Partition own = *host;
    own.call = t_call(t);
    plan(t, &own, x);
  }
  return x;
}

/* ---- items ---- */

/* Behind the items that there are, if some had no room, come the blocks that are marked. */
Span
splits_mine(Tb *t, const Partition *p, const Splits *x, const SplitsGrid *grid)
{
  Partition host = *p;
  host.call = p->call->host;
  Idx heads = partition_heads_of_batch(p);
  Idx count = i_length(t, t_region_words(t, x->count, 0), i_int(0));
  Idx faults = i_length(t, t_region_words(t, x->faults, 0), i_int(0));
  Idx blocks = partition_slots(p), marked = i_select(i_lt(0, faults), blocks, i_int(0));
  Idx room = room_of_head(&host, x), every = partition_slots(&host);
  Idx most = i_mul(i_add(room, every), partition_heads_of_batch(&host));
  Idx held = i_mul(i_sms(host.call, 1), grid->ctas);
  t_grid(t, i_min(held, most), grid->beside, 1);
  Span mine = {.hi = i_mul(i_add(count, marked), heads)};
  mine.lo = i_cta(t, 0);
  mine.step = i_ctas(t, 0);
  return mine;
}

SplitItem
splits_item(Tb *t, const Partition *p, const Splits *x, Idx i)
{
  Idx heads = partition_heads_of_batch(p), n = i_div_often(i, heads), word[SPLIT_WORDS];
  Idx head = idx_rest(i, heads, n);
  Idx count = i_length(t, t_region_words(t, x->count, 0), i_int(0));
  Idx room = room_of_head(p, x), marked = i_add(room, i_sub(n, count));
  n = i_select(i_lt(n, count), n, marked);
  for (int k = 0; k < SPLIT_WORDS; k++)
    word[k] = i_length(t, t_region_words(t, x->list, k), n);
  SplitItem r = {.is = i_lt(0, word[SPLIT_PARTS]), .part = word[SPLIT_PART]};
  r.has_room = i_lt(0, word[SPLIT_TILES]);
  r.parts = word[SPLIT_PARTS];
  r.tiles = word[SPLIT_TILES];
  r.w = partition_rows_from(t, p, word[SPLIT_B], word[SPLIT_ROW], head);
  r.own = i_add(i_mul(n, heads), head);
  r.first = i_add(i_mul(i_sub(n, r.part), heads), head);
  return r;
}

/* A walk has a tile at least: a block that is marked has its first one. */
Walk
splits_walk(const SplitItem *x, const Walk *all)
{
  Idx lo = all->tiles.lo, hi = all->tiles.hi;
  Idx first = i_add(lo, i_mul(x->part, x->tiles));
  return w_between(all, first, i_min(i_add(first, i_max(1, x->tiles)), hi));
}
