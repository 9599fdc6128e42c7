/* Schedules of decode_mma: which are legal, what they take and cost. */
#include "templates/sched_decode.h"

#include "templates/cost.h"
#include "templates/extremes.h"
#include "templates/fwd.h"
#include "templates/item_parts.h"
#include "templates/units.h"

#include <limits.h>
#include <math.h>

static int
widest(const Spec *s)
{
  return largest(s->head_dim, s->head_dim_v);
}

enum {
  OWN_MOST = 256,      /* columns of O that a warp can have by itself */
  ROOM_WIDE = 99 << 10 /* of head_dim 512: 32 rows of q, k and v, and room to exchange */
};

/* Columns of O, or of K, that a warp with keys of its own has room for.  Without cp.async
 * copies on their way take registers: beyond ptxas 13.0 spills, 44 bytes of 192, 8 of 176
 * with 16 heads a group, and 24 of 168 in pages. */
static int
own_most(const Spec *s, const Target *g)
{
  return g->cp_async ? OWN_MOST : s->page_table ? 160 : 168;
}

bool
decode_own_columns(const Case *c)
{
  return widest(c->spec) <= own_most(c->spec, c->target);
}

bool
decode_shares_rows(const Sched *s)
{
  return decode_of(s)->warps_n > 1;
}

bool
decode_applicable(const Case *c, Why *why)
{
  const Spec *s = c->spec;
  Dtype ty = s->dtype[ATTNC_Q];
  const ProductInfo *p = target_product(c->target, false);
  const Rule rules[] = {
      {spec_one_dtype(s), "q, k, v and o must have one dtype", REASON_DTYPE},
      {product_takes(p, ty, false) && product_takes(p, ty, true),
       "the target's mma does not multiply this dtype", REASON_DTYPE},
      {!s->dropout, "dropout: decoding drops no weights", REASON_FIELD},
      {widest(s) <= OWN_MOST || c->target->smem_block >= ROOM_WIDE,
       "head_dim or head_dim_v above 256 takes 99 KB of shared memory", REASON_DIMS},
      {!s->return_o_lo, "return_o_lo: fwd_mma and ref_fwd write it", REASON_FIELD},
      {!spec_has_lists(s), "block_list has no walk of single rows: fwd_mma takes it",
       REASON_FIELD},
  };
  bool takes = rules_hold(rules, (int)(sizeof rules / sizeof *rules), why);
  return fwd_takes(s, why) && takes;
}

/* Query heads whose rows can stand in one block. */
static int
group_of(const Spec *p)
{
  return p->group_size > 1 && p->group_size <= ROWS_MOST ? p->group_size : 1;
}

/* A block has all rows of a key head. */
bool
decode_meant(const Case *c)
{
  return c->b > 0 && c->h > 0 && c->sq > 0 && c->sq * group_of(c->spec) <= ROWS_MOST;
}

extern const Template decode_mma;

static const SpaceAxis block_rows = {{"block_m"}, 2, {{16}, {32}}};
static const SpaceAxis key_tiles = {
    {"block_n", "num_warps"}, 4, {{64, 4}, {128, 4}, {32, 2}, {64, 2}}};
/* Of many columns also warps that share rows, each with 8 or 16 keys. */
static const SpaceAxis wide_tiles = {
    {"block_n", "num_warps", "warps_n"},
    6,
    {{64, 4, 1}, {32, 2, 1}, {64, 4, 4}, {32, 4, 4}, {128, 4, 1}, {32, 8, 4}}};
static const SpaceAxis stages = {{"num_stages"}, 4, {{1}, {2}, {3}, {4}}};
static const SpaceAxis q_place = {{"q_in_regs"}, 2, {{false}, {true}}};
static const SpaceAxis packed = {{"pack_gqa"}, 2, {{false}, {true}}};
const SpaceAxis decode_split_axis = {
    {"split_keys", "combine"},
    5,
    {{0, false}, {512, false}, {1024, false}, {512, true}, {1024, true}}};

/* Up to it warps with keys of their own have room for all that they may have. */
static int
narrow_most(const Target *g)
{
  return g->cp_async ? 128 : 64;
}

/* Without cp.async there is one stage. */
const SpaceAxis *const *
decode_axes(const Case *c)
{
  static const SpaceAxis *const all[2][2][7] = {
      {{&block_rows, &key_tiles, &q_place, &packed, &decode_split_axis},
       {&block_rows, &key_tiles, &stages, &q_place, &packed, &decode_split_axis}},
      {{&block_rows, &wide_tiles, &q_place, &packed, &decode_split_axis},
       {&block_rows, &wide_tiles, &stages, &q_place, &packed, &decode_split_axis}}};
  return all[widest(c->spec) > narrow_most(c->target)][c->target->cp_async];
}

Sched
decode_plain(void)
{
  return decode_sched((Decode){.tmpl = &decode_mma, .stages = 1, .warps_n = 1});
}

SmemLayout
decode_layout(const Spec *p, const Sched *s)
{
  RingArgs exchange = decode_shares_rows(s)
                          ? layout_exchange(p, decode_of(s)->warps_n, s->bm, s->bn)
                          : layout_room(share_bytes(s->warps, s->bm));
  SmemLayout l = {.part = {[PART_Q] = layout_rows(p, ATTNC_Q, s->bm, widest(p)),
                           [PART_EXCHANGE] = exchange,
                           [PART_K] = layout_rows(p, ATTNC_K, s->bn, p->head_dim),
                           [PART_V] = layout_rows(p, ATTNC_V, s->bn, p->head_dim_v)}};
  l.part[PART_K].stages = l.part[PART_V].stages = s->stages;
  return l;
}

RingArgs
decode_merge_room(const Spec *p, const Sched *s)
{
  return layout_room(merge_bytes(s->warps, p->head_dim_v));
}

static int
shared_bytes(const Spec *p, const Sched *s)
{
  SmemLayout l = decode_layout(p, s);
  if (decode_shares_rows(s))
    return layout_bytes(&l);
  RingArgs room = decode_merge_room(p, s);
  int rings = s->stages * (layout_box(&l, PART_K) + layout_box(&l, PART_V));
  int more = s_bytes(room.ty, room.rows, room.cols) - rings;
  return layout_bytes(&l) + (more > 0 ? more : 0);
}

/* Warps that share rows may do so in two groups, each with half of them. */
static int
row_groups(const Sched *s)
{
  return decode_shares_rows(s) ? s->warps / decode_of(s)->warps_n : 1;
}

/* Blocks of 16 rows that a warp has. */
static int
blocks_a_warp(const Sched *s)
{
  return s->bm / product_info[MMA_K16].rows / row_groups(s);
}

/* Of 32 rows with 166 of them ptxas 13.0 spills 4 bytes, head_dim 96 on sm_75. */
enum { SECOND_BLOCK = 24 };

/* Without cp.async a thread has the larger of its parts of K and V on their way, beside P.
 */
static int
staged_regs(const Spec *p, const Sched *s)
{
  SmemLayout l = decode_layout(p, s);
  int most = largest(layout_box(&l, PART_K), layout_box(&l, PART_V));
  int second = blocks_a_warp(s) > 1 && !decode_shares_rows(s) ? SECOND_BLOCK : 0;
  return most / (32 * s->warps) / 4 + second;
}

/* Columns of O that a warp has. */
static int
own_cols(const Spec *p, const Sched *s)
{
  int n = decode_of(s)->warps_n;
  return ((p->head_dim_v + n - 1) / n + 15) / 16 * 16;
}

/* Registers a thread of a tile of scores, or where warps share rows of all their weights.
 */
static int
score_regs(const Spec *p, const Sched *s)
{
  bool shared = decode_shares_rows(s);
  int beside = shared ? decode_of(s)->warps_n : s->warps;
  int mt = blocks_a_warp(s), own = mt * (s->bn / beside) / 2;
  return largest(own, shared ? fwd_left_regs(p->dtype[ATTNC_Q], mt, s->bn) : 0);
}

/* Registers a thread of O, S, (if kept there) Q, of the limits that a mask sets to its
 * rows, and of expressions. */
static int
live_regs(const Spec *p, const Target *g, const Sched *s)
{
  int mt = blocks_a_warp(s);
  int q = decode_of(s)->q_in_regs ? fwd_left_regs(p->dtype[ATTNC_Q], mt, p->head_dim) : 0;
  int limits = 2 * mt * (mask_cuts_right(p) + mask_cuts_left(p));
  int o = mt * own_cols(p, s) / 2, scores = score_regs(p, s);
  int mods = g->cp_async ? fwd_mod_regs(p, 2 * mt) : fwd_beside_regs(p);
  return o + scores + q + limits + mods + (g->cp_async ? 0 : staged_regs(p, s));
}

enum { LIVE_MAX = 166 }; /* as in fwd_mma */

static bool
refuse_rows(const Sched *s, Why *why)
{
  if (s->bm != 16 && s->bm != ROWS_MOST)
    return refused(why, "block_m %d is not 16 or %d", s->bm, ROWS_MOST);
  int n = decode_of(s)->warps_n, beside = decode_shares_rows(s) ? n : s->warps;
  if (beside != 2 && beside != 4)
    return refused(why, "num_warps %d is not 2 or 4 on one tile", s->warps);
  if (s->warps % beside || row_groups(s) > 2 || blocks_a_warp(s) < 1)
    return refused(why, "%d warps are not one or two times %d, with 16 rows each", s->warps,
                   beside);
  int least = decode_shares_rows(s) ? 8 : 16;
  if (s->bn != least * beside && s->bn != 2 * least * beside)
    return refused(why, "block_n %d is not %d or %d keys for each of %d warps", s->bn,
                   least, 2 * least, beside);
  if (decode_of(s)->split_keys % s->bn)
    return refused(why, "split_keys %d is not a multiple of block_n %d",
                   decode_of(s)->split_keys, s->bn);
  return false;
}

/* Two blocks of 16 rows of which warps have parts: of more columns ptxas 13.0 spills 16 to
 * 64 bytes, though no more than 166 registers are counted. */
enum { TWO_BLOCKS_MOST = 80 };

static bool
refuse_two_blocks(const Case *c, const Sched *s, Why *why)
{
  if (!decode_shares_rows(s) || blocks_a_warp(s) < 2)
    return false;
  if (!c->target->cp_async && c->spec->page_table)
    return refused(why, "32 rows leave copies from pages no registers to be on their way");
  int cols = own_cols(c->spec, s);
  if (cols > TWO_BLOCKS_MOST)
    return refused(why, "32 rows and %d columns of O a warp are too many registers", cols);
  return false;
}

bool
decode_refuse_items(const Case *c, DecodeItems x, int bm, bool packs, Why *why)
{
  int group = c->spec->group_size;
  if (c->num_splits && !x.keys)
    return refused(why, "num_splits %lld is for schedules with split_keys",
                   (long long)c->num_splits);
  if (packs && (group < 2 || group > bm))
    return refused(why, "pack_gqa takes a pinned group_size of 2 … %d", bm);
  if (x.combine && !x.keys)
    return refused(why, "combine is for schedules with split_keys");
  if (x.combine && packs && group > ITEM_PARTS_HEADS_MOST)
    return refused(why, "combine takes groups of %d heads at most", ITEM_PARTS_HEADS_MOST);
  return false;
}

bool
decode_refuse(const Case *c, const Sched *s, Why *why)
{
  const Target *g = c->target;
  DecodeItems items = {decode_of(s)->split_keys, decode_of(s)->combine};
  if (decode_refuse_items(c, items, s->bm, decode_of(s)->pack_gqa, why))
    return true;
  if (!decode_shares_rows(s) && !decode_own_columns(c))
    return refused(why, "a warp has no room for more than %d columns: warps_n is 1",
                   own_most(c->spec, g));
  if (refuse_rows(s, why) || fwd_refuse_keys(c->spec, s->bn, s->stages, why))
    return true;
  if (s->stages > 1 && !g->cp_async)
    return refused(why, "num_stages %d needs cp.async, which %s has not", s->stages,
                   g->name);
  if (fwd_refuse_shared(c, shared_bytes(c->spec, s), why))
    return true;
  if (refuse_two_blocks(c, s, why))
    return true;
  int regs = live_regs(c->spec, g, s);
  if (regs > LIVE_MAX)
    return refused(why,
                   "O, S, Q and row limits take %d registers a thread, %d is the limit",
                   regs, LIVE_MAX);
  return false;
}

/* Addresses and what ptxas 13.0 moves ahead; warps that share rows have the exchange's
 * besides. */
static int
registers(const Spec *p, const Target *g, const Sched *s)
{
  return least(255, live_regs(p, g, s) + (decode_shares_rows(s) ? 80 : 64));
}

int
decode_resident(const Spec *p, const Target *g, const Sched *s)
{
  int smem = shared_bytes(p, s), regs = registers(p, g, s);
  int by_smem = g->smem_sm / (smem + g->smem_reserved);
  int by_regs = g->regs_sm / (regs * 32 * s->warps);
  int by_threads = g->threads_sm / (32 * s->warps);
  return largest(1, least(least(by_smem, by_regs), least(by_threads, g->blocks_sm)));
}

int
decode_told(const Spec *p, const Target *g, const Sched *s)
{
  enum { FOUR = 128, FEW = 16 }; /* registers a thread of four blocks of four warps; more */
  int regs = registers(p, g, s);
  bool tempting =
      decode_shares_rows(s) && s->warps == 4 && regs > FOUR && regs <= FOUR + FEW;
  return g->cp_async && tempting ? 3 : 0;
}

/* Clocks of a warp's way through a tile: its products, softmax and waits one behind the
 * other, of `n` warps on each quarter of a multiprocessor.  Fitted to a simulation of such
 * kernels by the stall counts of ptxas 13.0, sm_80, head_dim 64 to 512: within 15 %; of
 * warps that share rows within 8 %, with their two exchanges of a tile.  With few stages
 * the way of a tile's bytes is seen besides, but for what stands beside it. */
static double
way(const Case *c, const Sched *s, double n)
{
  double wide = c->spec->head_dim + c->spec->head_dim_v;
  double clocks = (250 + 3 * wide) * (s->bm > 16 ? 1.45 : 1);
  clocks *= s->bn / s->warps > 16 ? 1.7 : 1;
  if (decode_shares_rows(s))
    clocks = (350 + 0.05 * s->bn * wide) * (blocks_a_warp(s) > 1 ? 1.35 : 1);
  double seen = s->stages == 1   ? 2 * COST_GLOBAL - clocks / 2
                : s->stages == 2 ? COST_GLOBAL - clocks
                                 : 0;
  return (clocks + fmax(0, seen)) * (1 + 0.5 * fmax(0, n - 1));
}

/* Bytes on their way to a multiprocessor while a tile is computed. */
static double
in_flight(const Sched *s, double tile, int ctas)
{
  return (s->stages - 0.5) * tile * ctas;
}

double
decode_memory_clocks(const Target *g, double tile, double flight)
{
  double wanted = 1024.0 * g->mem_flight;
  return tile / g->mem_clk * fmax(1, wanted / flight);
}

/* Of two that the memory feeds equally the one whose warps have more time. */
static const double LESS_COUNTS = 0.1;

/* Clocks of a tile of one of so many CTAs that share a multiprocessor. */
static double
tile_clocks(const Case *c, const Sched *s, bool masked, int ctas)
{
  double m = s->bm, n = s->bn, d = c->spec->head_dim, dv = c->spec->head_dim_v;
  double kv = n * (d + dv) * dtype_bytes(c->spec->dtype[ATTNC_Q]);
  double per = masked ? 8 : 5.5, mods = fwd_mod_slots(c->spec, masked, NULL);
  double q = decode_of(s)->q_in_regs ? 0 : s->warps * m * d * 2;
  Units demand = {.of = {
                      [UNIT_MMA] = m * n * (d + dv),
                      [UNIT_MUFU] = m * n,
                      [UNIT_FP32] = m * n * (per + mods) + s->warps * m * dv,
                      [UNIT_SHARED] = (1 + row_groups(s)) * kv + q,
                      [UNIT_L2] = kv,
                  }};
  Units unit = units_clocks(c->target, &demand);
  double busy = fmax(units_longest(&unit),
                     decode_memory_clocks(c->target, kv, in_flight(s, kv, ctas)));
  double warps = way(c, s, s->warps * ctas / 4.0) / ctas;
  return fmax(busy, warps) + LESS_COUNTS * fmin(busy, warps);
}

Partition
decode_partition(const Call *call, const Spec *p, const Sched *s)
{
  Partition part = partition_aside(call, s);
  bool packs = decode_of(s)->pack_gqa && p->group_size > 1 && p->group_size <= s->bm;
  part.pack = packs ? p->group_size : 1;
  return part;
}

/* A block's start waits for Q and its first tile, and its end for the merge of warps; where
 * keys are split for parts on their way to memory, the counter, and back. */
enum { BLOCK_WAITS = 1500, PART_WAITS = 2500, PART_STORED = 500 };

double
decode_block_waits(DecodeItems x)
{
  return BLOCK_WAITS + (!x.keys ? 0 : x.combine ? PART_STORED : PART_WAITS);
}

/* The last CTA loads a part's rows, and with what they say its O, each from the L2 cache,
 * then the next one's; a step begins when all else has ended, finds its block, and has four
 * parts on their way at once. */
enum { MEET_PART = 1000, MEET_STEP = 5000, MEET_AT_ONCE = 4 };

static double
meeting(double parts, DecodeItems x)
{
  if (!x.keys)
    return 0;
  if (x.combine)
    return MEET_STEP + (parts > 1 ? ceil(parts / MEET_AT_ONCE) * MEET_PART : 0);
  return parts > 1 ? parts * MEET_PART : 0;
}

static double
parts_of(const Case *c, int split_keys)
{
  int64_t each = split_keys, n = each ? (c->sk + each - 1) / each : 1;
  n = n < 1 ? 1 : n > SPLITS_MOST ? SPLITS_MOST : n;
  return split_keys && c->num_splits ? (double)c->num_splits : (double)n;
}

static double
product_clocks(const Case *c)
{
  const ProductInfo *p = target_product(c->target, false);
  int depth = product_depth(p, c->spec->dtype[ATTNC_Q]);
  return (double)(p->rows * p->cols_most * depth) / c->target->mma_macs_clk;
}

/* Each part costs what a batch of so many keys would.  Of more heads than a grid has parts
 * make no difference. */
static Case
split_case(const Case *c, int split_keys)
{
  Case k = *c;
  int64_t parts = (int64_t)parts_of(c, split_keys);
  if ((double)c->b * (double)c->h * (double)parts > INT_MAX)
    return k;
  k.b *= parts;
  k.sk = (c->sk + parts - 1) / parts;
  return k;
}

/* The sizes that are not known. */
static Case
sizes_assumed(const Case *c)
{
  Case k = *c;
  k.sq = c->sq ? c->sq : 1;
  k.sk = c->sk ? c->sk : 8192;
  k = cost_assume(&k);
  if (c->spec->group_size && !c->hk)
    k.hk = k.h / c->spec->group_size > 0 ? k.h / c->spec->group_size : 1;
  return k;
}

Case
decode_assume(const Case *c, int split_keys)
{
  Case k = sizes_assumed(c);
  return split_case(&k, split_keys);
}

double
decode_items_end(const Case *c, DecodeItems x)
{
  Case k = sizes_assumed(c);
  return meeting(parts_of(&k, x.keys), x);
}

SchedCost
decode_cost(const Case *c, const Sched *s)
{
  Case k = decode_assume(c, decode_of(s)->split_keys);
  Partition p = decode_partition(NULL, c->spec, s);
  SchedCost r = {.smem = shared_bytes(c->spec, s)};
  r.regs = registers(c->spec, c->target, s);
  r.ctas_sm = decode_resident(c->spec, c->target, s);
  int ctas = cost_resident(&k, &p, r.ctas_sm);
  double d = c->spec->head_dim + c->spec->head_dim_v;
  double tile = s->bn * d * dtype_bytes(c->spec->dtype[ATTNC_K]);
  r.flight = in_flight(s, tile, r.ctas_sm) / 1024;
  r.flight_wanted = c->target->mem_flight;
  r.key_clocks = tile / s->bn / c->target->mem_clk;
  r.product_clocks = product_clocks(c);
  DecodeItems items = {decode_of(s)->split_keys, decode_of(s)->combine};
  double waits = decode_block_waits(items);
  BlockClocks clocks = {.full = tile_clocks(&k, s, false, ctas),
                        .partial = tile_clocks(&k, s, true, ctas),
                        .block = waits / (double)ctas,
                        .start = (COST_LAUNCH + COST_GLOBAL) / (double)ctas};
  double end = decode_items_end(c, items);
  r.cycles = cost_clocks(&k, &p, &clocks) + end;
  return r;
}

/* Rings as deep as the memory's latency asks for, at the head_dim that is usual: spike's
 * table of designs that ptxas takes without spills. */
Sched
decode_initial(const Case *c)
{
  static const Decode wish[] = {
      {.bm = 16, .bn = 64, .stages = 4, .warps = 4, .q_in_regs = true},
      {.bm = 16, .bn = 64, .stages = 2, .warps = 4, .q_in_regs = true},
      {.bm = 16, .bn = 64, .stages = 2, .warps = 4},
      {.bm = 16, .bn = 32, .stages = 2, .warps = 2},
      {.bm = 16, .bn = 64, .stages = 1, .warps = 4, .q_in_regs = true},
      {.bm = 16, .bn = 64, .stages = 1, .warps = 4},
      {.bm = 16, .bn = 32, .stages = 1, .warps = 2},
      {.bm = 16, .bn = 32, .stages = 2, .warps = 4, .warps_n = 4},
      {.bm = 16, .bn = 32, .stages = 1, .warps = 4, .warps_n = 4},
      {.bm = 16, .bn = 32, .stages = 1, .warps = 8, .warps_n = 4},
  };
  int n = (int)(sizeof wish / sizeof *wish), group = group_of(c->spec);
  Sched s = {0};
  for (int i = 0; i < 2 * n; i++) {
    Decode x = wish[i % n];
    bool packs = group > 1 && i < n; /* one head's rows are 16 at most */
    x.tmpl = &decode_mma;
    x.warps_n = largest(1, x.warps_n);
    x.pack_gqa = packs;
    x.split_keys = 512;
    x.bm = packs && group > 16 ? ROWS_MOST : 16;
    s = decode_sched(x);
    if (!decode_refuse(c, &s, NULL))
      break;
  }
  return s;
}
