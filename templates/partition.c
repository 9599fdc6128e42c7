#include "templates/partition.h"

#include "templates/fwd.h"

#include <limits.h>

/* Bytes of K and V that stay in the L2 cache of 40 or 50 MB.  Sections of a grid are made
 * of one size: 44 MB at most, they have 33 on average of two or more. */
enum { L2_SECTION = 32 << 20, L2_SECTION_MOST = 44 << 20 };

/* ---- the order of blocks ---- */

/* Queries of the block that a CTA has of one head: positions, where heads are packed.  A
 * block's rows, position x head, would not fit 32 bits for long sequences of many heads. */
static int
queries(const Partition *p)
{
  return p->bm / p->pack;
}

/* Those of a cluster, or of a CTA alone. */
static int
span(const Partition *p)
{
  return queries(p) * p->cluster;
}

/* Of a head: of one batch, or of all where they are packed. */
static Idx
blocks(const Partition *p)
{
  if (!seq_packs_queries(p->call))
    return i_cdiv(p->call->sq, span(p));
  Idx whole = i_cdiv(call_size(p->call, SIZE_TOTAL_Q), span(p));
  return i_add(whole, call_size(p->call, SIZE_B));
}

static Idx
heads(const Partition *p)
{
  return p->pack > 1 ? p->call->hk : p->call->h;
}

/* Those whose blocks follow each other in numbers, head by head. */
static Idx
batches(const Partition *p)
{
  bool one = p->items || seq_packs_queries(p->call);
  return one ? i_int(1) : call_size(p->call, SIZE_B);
}

/* Of few queries a sequence has one block. */
Idx
partition_slots(const Partition *p)
{
  if (p->call->queries == QUERIES_FEW)
    return call_size(p->call, SIZE_B);
  Idx each = blocks(p);
  return seq_packs_queries(p->call) ? each : i_mul(each, call_size(p->call, SIZE_B));
}

/* Of a head those that are numbered: in a list that is no longer than that. */
static Idx
numbered(Tb *t, const Partition *p)
{
  return p->items ? i_length(t, t_region_words(t, p->items->count, 0), i_int(0))
                  : blocks(p);
}

/* All that are. */
static Idx
every_block(Tb *t, const Partition *p)
{
  Idx of_head = numbered(t, p), of_batch = i_mul(of_head, heads(p));
  return i_mul(of_batch, batches(p));
}

bool
partition_one_each(const Partition *p)
{
  Scheduler s = p->scheduler;
  return s == SCHED_GRID || s == SCHED_ASIDE || s == SCHED_SECTIONS;
}

/* Blocks of different lengths: those with most keys are the last of a head. */
static bool
longest_first(const Partition *p)
{
  return mask_cuts_right(p->call->spec);
}

/* Keys of a head that are read at one time at most: what a row sees. */
static int
keys_at_once(Band band)
{
  int64_t width = (int64_t)band.hi - band.lo + 1;
  bool open = band.lo == INT_MIN || width > INT_MAX;
  return open ? INT_MAX : width < 1 ? 1 : (int)width;
}

/* Keys of a head whose K and V fill so much of the L2 cache. */
static int
section_rows(int bytes, int d, int dv, Dtype ty)
{
  return bytes / ((d + dv) * dtype_bytes(ty));
}

/* Those of a head that are read at one time. */
static Idx
keys_of_head(const Call *f)
{
  int seen = keys_at_once(f->mask.band);
  return seen < INT_MAX ? i_min(f->sk, seen) : f->sk;
}

/* Heads (of queries, or packed) whose K and V fill a section of the L2 cache; no product
 * here is larger than the number of heads of all batches. */
static Idx
section(const Partition *p)
{
  const Call *f = p->call;
  int rows = section_rows(L2_SECTION, f->d, f->dv, f->dt);
  Idx fit = i_max(1, i_div(rows, i_max(1, keys_of_head(f))));
  Idx some = i_min(fit, i_mul(f->hk, batches(p)));
  return p->pack > 1 ? some : i_mul(some, fwd_group(f));
}

/* The block of a number: its head, counted over the batches, and which of the head's. */
typedef struct Block {
  Idx head, block;
} Block;

/* Where a CTA has many blocks, b is what all their numbers are divided by. */
static Idx
div_by(const Partition *p, Idx a, Idx b)
{
  bool often = p->scheduler == SCHED_PERSISTENT || p->scheduler == SCHED_DYNAMIC;
  return often ? i_div_often(a, b) : i_div(a, b);
}

static Idx
mod_by(const Partition *p, Idx a, Idx b)
{
  return idx_rest(a, b, div_by(p, a, b));
}

/* Heads of the section that begins with `first`: the last one may have fewer. */
static Idx
heads_here(const Partition *p, Idx first, Idx some, Idx all)
{
  if (partition_one_each(p)) /* a quotient less, and the registers of what is whole */
    return i_max(1, i_min(some, i_sub(all, first)));
  Idx whole = i_mul(i_div(i_max(0, i_sub(all, 1)), some), some);
  Idx last = i_max(1, i_sub(all, whole));
  return i_select(i_lt(i_sub(all, some), first), last, some); /* first + some may not fit */
}

/* The grid's check at launch bounds heads x blocks, and with it every product here. */
static Block
place(Tb *t, const Partition *p, Idx i)
{
  Idx m = p->items ? i_max(1, numbered(t, p)) : blocks(p);
  if (!p->items && (!longest_first(p) || seq_packs_queries(p->call))) {
    Idx head = div_by(p, i, m), block = mod_by(p, i, m);
    return (Block){head, longest_first(p) ? i_sub(i_sub(m, 1), block) : block};
  }
  Idx all = i_mul(heads(p), batches(p)), some = section(p);
  Idx each = i_mul(some, m), first = i_mul(div_by(p, i, each), some);
  Idx here = heads_here(p, first, some, all), rest = mod_by(p, i, each);
  Idx down = div_by(p, rest, here), head = i_add(first, mod_by(p, rest, here));
  return (Block){head, p->items ? down : i_sub(m, i_add(down, 1))};
}

static int64_t
larger(int64_t a, int64_t b)
{
  return a > b ? a : b;
}

static int64_t
smaller(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

/* section() in numbers. */
static int64_t
section_of(const Case *c, const Partition *p)
{
  const Spec *s = c->spec;
  int rows = section_rows(L2_SECTION, s->head_dim, s->head_dim_v, s->dtype[ATTNC_K]);
  int64_t keys = smaller(c->sk, keys_at_once(spec_band(s)));
  int64_t some = smaller(larger(1, rows / larger(1, keys)), c->hk * c->b);
  return p->pack > 1 ? some : some * larger(1, c->h / c->hk);
}

static int64_t
cdiv(int64_t a, int64_t b)
{
  return (a + b - 1) / b;
}

/* Heads along x: those of grid_of_sections(). */
static int64_t
heads_along(const Case *c, int64_t heads)
{
  const Spec *s = c->spec;
  int rows = section_rows(L2_SECTION_MOST, s->head_dim, s->head_dim_v, s->dtype[ATTNC_K]);
  int64_t kv = smaller(c->hk * c->b, INT_MAX);
  int64_t n = cdiv(kv * smaller(c->sk, keys_at_once(spec_band(s))), rows);
  return smaller(GRID_ASIDE, cdiv(heads, larger(1, smaller(n, GRID_ASIDE))));
}

/* No more than 2^31 heads, so that no number of a block is past 2^63. */
Tickets
partition_order(const Case *c, const Partition *p)
{
  int64_t every = c->b * (p->pack > 1 ? c->hk : c->h);
  Tickets x = {.heads = smaller(every, INT_MAX), .section = 1, .step = 1};
  x.blocks = (c->sq + span(p) - 1) / span(p);
  x.last_first = mask_cuts_right(c->spec);
  x.short_first = p->scheduler == SCHED_SECTIONS;
  if (x.short_first)
    x.section = heads_along(c, x.heads);
  else if (x.last_first && p->scheduler != SCHED_ASIDE)
    x.section = smaller(section_of(c, p), x.heads);
  return x;
}

Idx
partition_rows_there(const Partition *p, const WorkTile *w)
{
  Idx positions = i_sub(w->seq.call->sq, w->q0);
  return i_min(p->bm / p->pack * p->pack, i_mul(positions, p->pack));
}

View
partition_rows(const Partition *p, const WorkTile *w, const Tensor *x)
{
  View v = seq_queries(&w->seq, x, w->h, w->q0, p->bm);
  if (p->pack == 1)
    return v;
  Idx behind = i_add(w->q0, p->bm / p->pack);
  if (p->bm % p->pack)
    v = v_until(v, i_min(behind, w->seq.call->sq));
  return v_pack(v, p->pack);
}

Walk
partition_keys(Tb *t, const Partition *p, const WorkTile *w)
{
  WalkRows rows = {.q0 = w->all, .b = w->b, .h = w->h, .hk = w->hk, .n = span(p)};
  rows.heads = p->pack;
  if (p->pack > 1 && p->call->mask.mods)
    rows.h = i_mul(w->hk, p->pack);
  Mask mask = w->seq.call->mask;
  mask.aligned = mask.aligned || p->in_step;
  Walk kv = w_keys(t, &mask, &rows, p->bn);
  return p->classes ? classes_walk(t, p, w, &kv) : kv;
}

/* ---- lpt schedules ---- */

/* The value of a size that an lpt schedule takes to be constant. */
static int64_t
known(Tb *t, Idx x)
{
  int64_t k;
  if (!i_known(x, &k))
    t_fail(t, "an lpt schedule of sizes that are not constants");
  return k;
}

/* Key tiles of a block, and what beginning and ending it costs, in tiles. */
static double
weight(Tb *t, const Partition *p, int64_t block)
{
  WorkTile w = {.all = i_int(block * span(p)), .seq = {.call = p->call}};
  Walk kv = partition_keys(t, p, &w);
  int64_t from = known(t, kv.tiles.lo);
  return (double)(known(t, kv.tiles.hi) - from + 1);
}

/* The order of place(). */
Tickets
partition_tickets(Tb *t, const Partition *p)
{
  Idx all = i_mul(heads(p), batches(p));
  Tickets x = {.heads = known(t, all), .section = 1, .step = 1};
  x.blocks = known(t, blocks(p));
  x.last_first = longest_first(p);
  if (x.last_first)
    x.section = known(t, section(p));
  double *each = NEW_N(t_arena(t), double, x.blocks);
  for (int64_t i = 0; i < x.blocks; i++)
    each[i] = weight(t, p, i);
  x.weight = each;
  return x;
}

/* Blocks in the order of their numbers; list = where each CTA's share starts, then head and
 * block of each. */
static TileScheduler
deal(Tb *t, const Partition *p)
{
  int sms = t_target(t)->sms;
  Arena *a = t_arena(t);
  Idx some = i_mul(heads(p), batches(p)), every = i_mul(blocks(p), some);
  int n = (int)known(t, every);
  int ctas = n * p->cluster < sms ? n : sms / p->cluster, head = ctas + 1;
  int32_t *list = NEW_N(a, int32_t, head + 2 * n), *next = NEW_N(a, int32_t, ctas);
  int32_t *owner = NEW_N(a, int32_t, n);
  Tickets order = partition_tickets(t, p);
  deal_owners(&order, ctas, owner);
  for (int i = 0; i < n; i++)
    list[owner[i] + 1]++;
  for (int i = 0; i < ctas; i++)
    list[i + 1] += list[i];
  for (int i = 0; i < n; i++) {
    Block where = place(t, p, i_int(i));
    int32_t *at = list + head + 2 * (list[owner[i]] + next[owner[i]]++);
    at[0] = (int32_t)known(t, where.head);
    at[1] = (int32_t)known(t, where.block);
  }
  const Table *table = t_table(t, list, head + 2 * n);
  Idx me = i_div(i_cta(t, 0), p->cluster);
  Idx from = i_entry(table, me), to = i_entry(table, i_add(me, 1));
  t_grid(t, ctas * p->cluster, 1, 1);
  return (TileScheduler){.span = {from, to, i_int(1)}, .list = table, .first = head};
}

/* ---- the blocks of this CTA ---- */

/* The same partition in expressions of the host, of which grids are made. */
static Partition
of_host(const Partition *p)
{
  Partition host = *p;
  host.call = p->call->host;
  return host;
}

/* CTAs that have a block each: as many in each head as make whole clusters. */
static Idx
one_each(const Partition *p)
{
  Partition host = of_host(p);
  Idx of_head = i_mul(partition_slots(&host), p->cluster);
  return i_mul(of_head, heads(&host));
}

TileScheduler
partition_scheduler(Tb *t, const Partition *p)
{
  bool dynamic = p->scheduler == SCHED_DYNAMIC;
  bool persistent = p->scheduler == SCHED_PERSISTENT || dynamic;
  if (p->scheduler == SCHED_LPT)
    return deal(t, p);
  Idx mine = i_div(i_cta(t, 0), p->cluster), ctas = one_each(p);
  t_grid(t, persistent ? i_min(i_sms(p->call->host, p->cluster), ctas) : ctas, 1, 1);
  if (dynamic && !p->items && !p->classes)
    t_grid_without_workspace(t, ctas, 1, 1);
  if (!persistent)
    return (TileScheduler){.span = {mine, i_add(mine, 1), i_int(1)}};
  Idx all = every_block(t, p), step = i_div(i_ctas(t, 0), p->cluster);
  return (TileScheduler){.span = {mine, all, dynamic ? i_int(0) : step}, .draws = dynamic};
}

const WorkRegion *
partition_counter(Build *b, Scheduler scheduler)
{
  if (scheduler != SCHED_DYNAMIC)
    return NULL;
  return b_region(b, .name = "tickets", .ty = DT_F32, .cols = 1, .zero = true);
}

/* The first blocks are given out by the CTAs' own numbers, so that nobody waits for a
 * ticket before it begins.  Each CTA draws until its number is past the end: as many
 * drawings as there are blocks, behind which the counter is 0 again.  Without workspace
 * every block has a CTA, and the ticket is 0: past the end. */
void
partition_draw(Tb *t, const Partition *p, const TileScheduler *all)
{
  if (!all->draws)
    return;
  Idx ticket = t_ticket(t, p->tickets, all->span.hi);
  t_for_next(t, i_add(ticket, i_ctas(t, 0)));
}

static Block
listed(const TileScheduler *all, Idx i)
{
  Idx at = i_add(i_mul(i, 2), all->first);
  Idx head = i_entry(all->list, at), block = i_entry(all->list, i_add(at, 1));
  return (Block){head, block};
}

Partition
partition_aside(const Call *p, const Sched *s)
{
  return (Partition){.call = p,
                     .bm = s->bm,
                     .bn = s->bn,
                     .pack = 1,
                     .cluster = 1,
                     .scheduler = SCHED_ASIDE};
}

bool
partition_has_sections(const Spec *s)
{
  return spec_band(s).hi != INT_MAX && !spec_has_lengths(s);
}

/* The block from row w->all of sequence w->b on; and is there one? */
static void
in_sequence(Tb *t, const Partition *p, WorkTile *w)
{
  w->seq = sequence(t, p->call, w->b);
  Idx n = w->seq.call->sq, few = i_int(p->call->few);
  w->is = seq_has_queries(p->call) ? i_lt(w->all, n) : i_int(1);
  if (p->call->queries != QUERIES_ALL)
    w->is = i_and(w->is, p->call->queries == QUERIES_FEW ? i_le(n, few) : i_lt(few, n));
}

/* Which of the blocks of its sequence the block is, of b's, or where they are packed of
 * whoever has the block of this number. */
static void
place_rows(Tb *t, const Partition *p, Idx block, WorkTile *w)
{
  const Lookup *first = p->call->lengths[ATTNC_CU_SEQLENS_Q];
  if (first) {
    w->b = t_sequence(t, first, call_size(p->call, SIZE_B), block, span(p));
    Idx before = i_add(i_div(i_length(t, first, w->b), span(p)), w->b);
    block = i_sub(block, before);
  }
  w->all = i_mul(block, span(p));
  in_sequence(t, p, w);
}

Idx
partition_heads(const Partition *p)
{
  return i_mul(heads(p), batches(p));
}

Idx
partition_blocks(const Partition *p)
{
  return blocks(p);
}

Idx
partition_heads_of_batch(const Partition *p)
{
  return heads(p);
}

WorkTile
partition_rows_from(Tb *t, const Partition *p, Idx b, Idx row, Idx head)
{
  WorkTile w = {.b = b, .h = head, .all = row, .q0 = row};
  in_sequence(t, p, &w);
  w.hk = p->pack > 1 ? head : i_div(head, fwd_group(p->call));
  return w;
}

/* The n-th of the list, which a CTA that has several blocks does not ask past its end. */
static void
listed_rows(Tb *t, const Partition *p, Idx n, Idx i, WorkTile *w)
{
  w->b = i_length(t, t_region_words(t, p->items->list, ITEM_B), n);
  w->all = i_length(t, t_region_words(t, p->items->list, ITEM_ROW), n);
  in_sequence(t, p, w);
  w->is = partition_one_each(p) ? i_lt(i, every_block(t, p)) : i_int(1);
}

WorkTile
partition_slot(Tb *t, const Partition *p, Idx slot)
{
  WorkTile w = {.h = i_int(0), .hk = i_int(0)};
  if (p->call->queries == QUERIES_FEW) {
    w.b = slot;
    w.all = w.q0 = i_int(0);
    in_sequence(t, p, &w);
    return w;
  }
  if (!seq_packs_queries(p->call)) {
    w.b = i_div(slot, blocks(p));
    slot = i_mod(slot, blocks(p));
  }
  place_rows(t, p, slot, &w);
  return w;
}

/* Packed: blocks of a head, then of the next one, along x; or as the list has them. */
static WorkTile
alone_numbered(Tb *t, const Partition *p)
{
  WorkTile w = {.b = i_int(0)};
  Idx i = i_cta(t, 0);
  Block at = place(t, p, i);
  w.h = at.head;
  if (p->items)
    listed_rows(t, p, at.block, i, &w);
  else
    place_rows(t, p, at.block, &w);
  t_grid(t, one_each(p), 1, 1);
  return w;
}

/* Along x head and batch are 0 unless there are more of them than y and z take. */
static WorkTile
alone_batched(Tb *t, const Partition *p)
{
  WorkTile w = {.b = i_int(0)};
  Idx m = blocks(p), i = i_cta(t, 0);
  Idx head = i_div_rare(i, m), block = i_mod_rare(i, m);
  Idx batch = i_div_rare(head, heads(p)), rest = i_mod_rare(head, heads(p));
  if (longest_first(p))
    block = i_sub(i_sub(m, 1), block);
  w.b = i_add(batch, i_cta(t, 2));
  w.h = i_add(rest, i_cta(t, 1));
  place_rows(t, p, block, &w);
  Partition host = of_host(p);
  Idx h = heads(&host), b = batches(&host);
  Idx each = blocks(&host);
  if (!b.node) { /* a constant, and no size that may stand aside */
    t_grid(t, i_mul(each, i_mul(h, b)), 1, 1);
    return w;
  }
  Idx x = i_mul(each, i_along(h, b)), y = i_aside(h, b);
  t_grid(t, x, y, i_aside(b, h));
  return w;
}

/* Heads of a section, blocks, sections; where y does not take a head's blocks, parts of
 * them along x, and one head a section.  The minimum is for its check: heads are counted in
 * 32 bits. */
static void
grid_of_sections(Tb *t, const Partition *p)
{
  Partition host = of_host(p);
  const Call *f = host.call;
  Idx b = batches(&host), all = i_mul(heads(&host), b), m = blocks(&host);
  int rows = section_rows(L2_SECTION_MOST, f->d, f->dv, f->dt);
  Idx each = keys_of_head(f), kv = i_mul(i_mul(f->hk, b), each);
  Idx fit = i_quotient(all, i_min(GRID_ASIDE, i_quotient(kv, rows)));
  Idx some = i_aside(i_min(GRID_ASIDE, fit), m);
  Idx parts = i_quotient(m, GRID_ASIDE), x = i_mul(some, parts);
  Idx z = i_quotient(all, some), y = i_quotient(m, parts);
  t_grid(t, i_min(x, i_mul(all, parts)), y, z);
}

/* The first section has what is over of heads: its CTAs of others' numbers have no block.
 */
static WorkTile
alone_in_section(Tb *t, const Partition *p)
{
  Idx m = blocks(p), y = i_ctas(t, 1), b = batches(p), all = i_mul(heads(p), b);
  Idx parted = i_lt(y, m), x = i_cta(t, 0), along = i_ctas(t, 0);
  Idx some = i_select(parted, 1, along);
  Idx missing = i_sub(i_mul(i_ctas(t, 2), some), all);
  Idx at = i_select(parted, 0, x), first = i_mul(i_cta(t, 2), some);
  Idx head = i_sub(i_add(first, at), missing);
  Idx above = i_mul(y, i_select(parted, x, 0)), down = i_add(i_cta(t, 1), above);
  Idx block = i_sub(i_sub(m, 1), down);
  Idx n = i_max(0, head), of_head = i_max(0, block);
  WorkTile w = {.b = i_div(n, heads(p))};
  w.h = i_mod(n, heads(p));
  place_rows(t, p, of_head, &w);
  Idx is = i_lt(-1, block);
  w.is = i_and(i_lt(-1, head), is);
  grid_of_sections(t, p);
  return w;
}

WorkTile
partition_alone(Tb *t, const Partition *p)
{
  bool numbers = p->items || seq_packs_queries(p->call);
  WorkTile w = p->scheduler == SCHED_SECTIONS ? alone_in_section(t, p)
               : numbers                      ? alone_numbered(t, p)
                                              : alone_batched(t, p);
  w.hk = p->pack > 1 ? w.h : i_div(w.h, fwd_group(p->call));
  w.q0 = w.all;
  return w;
}

WorkTile
partition_work_tile(Tb *t, const Partition *p, const TileScheduler *all, Idx i)
{
  Block at = all->list ? listed(all, i) : place(t, p, i);
  Idx n = heads(p), rank = i_mod(i_cta(t, 0), p->cluster);
  WorkTile w = {.b = i_int(0), .h = at.head};
  if (!p->items && !seq_packs_queries(p->call)) {
    w.b = div_by(p, at.head, n);
    w.h = mod_by(p, at.head, n);
  }
  if (p->items)
    listed_rows(t, p, at.block, i, &w);
  else
    place_rows(t, p, at.block, &w);
  w.q0 = i_add(w.all, i_mul(rank, queries(p)));
  w.hk = p->pack > 1 ? w.h : div_by(p, w.h, fwd_group(p->call));
  return w;
}

Idx
partition_next_tile(const TileScheduler *all, Idx i)
{
  Idx rest = i_sub(i_sub(all->span.hi, 1), i); /* i + step may be past 2^31 */
  return i_add(i, i_min(all->span.step, rest));
}
