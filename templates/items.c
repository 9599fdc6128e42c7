#include "templates/items.h"

enum { WARP = 32 };

ItemsScan
items_scan(Tb *t, const Partition *p)
{
  Idx thread = i_thread(t), warp = i_div(thread, WARP);
  ItemsScan x = {.part = p, .slots = partition_slots(p)};
  x.lane = i_mod(thread, WARP);
  Idx each = i_mul(i_cdiv(x.slots, WARP * ITEMS_WARPS), WARP);
  Idx from = i_mul(warp, each), to = i_min(i_add(from, each), x.slots);
  x.mine = (Span){from, to, i_int(WARP)};
  return x;
}

/* Classes are as wide as lets the longest sequence of the call into the first. */
Idx
items_class(const Partition *p, Idx tiles)
{
  Idx width = i_add(i_div(i_cdiv(p->call->sk, p->bn), ITEMS_CLASSES), 1);
  Idx rank = i_min(i_div(tiles, width), ITEMS_CLASSES - 1);
  return i_sub(ITEMS_CLASSES - 1, i_max(0, rank));
}

ItemsFound
items_look(Tb *t, const ItemsScan *x, Idx first)
{
  Idx slot = i_add(first, x->lane), last = i_sub(x->slots, 1);
  ItemsFound f = {.slot = i_min(slot, last)};
  f.w = partition_slot(t, x->part, f.slot);
  f.is = i_and(i_lt(slot, x->slots), f.w.is);
  Walk kv = partition_keys(t, x->part, &f.w);
  f.tiles = i_sub(kv.tiles.hi, kv.tiles.lo);
  return f;
}

/* Counts, then places: what a warp has looked at it looks at again, in the same order. */
static void
make_list(Tb *t, const Partition *p, const WorkItems *items)
{
  ItemsScan x = items_scan(t, p);
  const Lookup *count = t_region_words(t, items->count, 0);
  const Lookup *b = t_region_words(t, items->list, ITEM_B);
  const Lookup *row = t_region_words(t, items->list, ITEM_ROW);
  const Bins *bins = t_bins(t, ITEMS_CLASSES);
  t_grid(t, 1, 1, 1);
  T_FOR (t, i, x.mine) {
    ItemsFound f = items_look(t, &x, i);
    t_bins_add(t, bins, items_class(p, f.tiles), i_int(1), f.is);
  }
  Idx all = t_bins_scan(t, bins);
  t_store_word(t, count, i_int(0), all, i_lt(i_thread(t), 1));
  T_FOR (t, i, x.mine) {
    ItemsFound f = items_look(t, &x, i);
    Idx at = t_bins_take(t, bins, items_class(p, f.tiles), f.is);
    t_store_word(t, b, at, f.w.b, f.is);
    t_store_word(t, row, at, f.w.all, f.is);
  }
}

const WorkItems *
items_entry(Build *b, const Partition *host, bool wanted)
{
  if (!wanted)
    return NULL;
  WorkItems *items = NEW(t_arena(host->call->tb), WorkItems);
  items->count = b_region(b, .name = "item_count", .ty = DT_I32, .cols = 1);
  items->list = b_region(b, .name = "items", .ty = DT_I32, .rows = partition_slots(host),
                         .cols = ITEM_WORDS);
  T_ENTRY (b, t, "items", .warps = ITEMS_WARPS) {
    Partition own = *host;
    own.call = t_call(t);
    make_list(t, &own, items);
  }
  return items;
}

bool
items_refuse(const Spec *s, bool wanted, Why *why)
{
  if (!wanted || spec_has_lengths(s))
    return false;
  return refused(why, "device_items sorts blocks by their keys: without seqlens that give "
                      "lengths the order is known");
}
