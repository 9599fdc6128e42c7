/* Schedules of decode_wgmma: which are legal, what they take and cost. */
#include "templates/sched_decode_wgmma.h"

#include "templates/cost.h"
#include "templates/extremes.h"
#include "templates/fwd.h"
#include "templates/units.h"

#include <math.h>

/* Warps of a CTA: the warpgroup, and the one that loads. */
static int
warps(void)
{
  return wgmma_warps() + 1;
}

bool
decode_wgmma_applicable(const Case *c, Why *why)
{
  const Spec *s = c->spec;
  Dtype ty = s->dtype[ATTNC_Q];
  const ProductInfo *p = &product_info[WGMMA];
  const Rule rules[] = {
      {c->target->product == WGMMA, "the target has no wgmma", REASON_TARGET},
      {spec_one_dtype(s), "q, k, v and o must have one dtype", REASON_DTYPE},
      {product_takes(p, ty, false) && product_takes(p, ty, true),
       "wgmma does not multiply this dtype in full precision", REASON_DTYPE},
      {s->head_dim <= 256 && s->head_dim_v <= p->cols_most,
       "head_dim or head_dim_v above 256: a warpgroup's product has no more columns",
       REASON_DIMS},
      {!s->dropout, "dropout: decoding drops no weights", REASON_FIELD},
      {!s->return_o_lo, "return_o_lo: fwd_mma and ref_fwd write it", REASON_FIELD},
      {!spec_has_lists(s), "block_list has no walk of single rows: fwd_wgmma takes it",
       REASON_FIELD},
  };
  bool takes = rules_hold(rules, (int)(sizeof rules / sizeof *rules), why);
  bool pages = fwd_takes_pages_by_tma(c, why);
  return fwd_takes(s, why) && takes && pages;
}

/* Query heads whose rows can stand in one block. */
static int
group_of(const Spec *p)
{
  return p->group_size > 1 && p->group_size <= wgmma_rows() ? p->group_size : 1;
}

enum { ROWS_OF_MMA = 16 }; /* that decode_mma multiplies in the memory's time */

bool
decode_wgmma_meant(const Case *c)
{
  if (c->b <= 0 || c->h <= 0 || c->sq <= 0 || c->sq > wgmma_rows())
    return false;
  int64_t rows = c->sq * group_of(c->spec);
  return rows > ROWS_OF_MMA && rows <= wgmma_rows();
}

extern const Template decode_wgmma;

static const SpaceAxis key_tiles = {
    {"block_n", "num_stages"},
    7,
    {{64, 3}, {64, 2}, {128, 2}, {128, 3}, {32, 4}, {32, 3}, {64, 4}}};
/* Of few columns a tile of 32 keys takes more than 0.6 of the time to issue in which the
 * memory brings it: 0.64 of head_dim 64 in pages, by its code. */
enum { NARROW = 160 };
static const SpaceAxis narrow_tiles = {
    {"block_n", "num_stages"}, 5, {{64, 3}, {64, 2}, {128, 2}, {128, 3}, {64, 4}}};
/* Of two that cost the same the one that reads a group's keys once. */
static const SpaceAxis packed = {{"pack_gqa"}, 2, {{true}, {false}}};

const SpaceAxis *const *
decode_wgmma_axes(const Case *c)
{
  static const SpaceAxis *const all[2][4] = {{&key_tiles, &packed, &decode_split_axis},
                                             {&narrow_tiles, &packed, &decode_split_axis}};
  return all[c->spec->head_dim + c->spec->head_dim_v < NARROW];
}

static Sched
plain(int bn, int stages)
{
  return decode_wgmma_sched((DecodeWgmma){.tmpl = &decode_wgmma,
                                          .bm = wgmma_rows(),
                                          .bn = bn,
                                          .stages = stages,
                                          .warps = warps()});
}

Sched
decode_wgmma_plain(void)
{
  return plain(64, 3);
}

SmemLayout
decode_wgmma_layout(const Spec *p, const Sched *s)
{
  int wide = largest(p->head_dim, p->head_dim_v);
  SmemLayout l = {.part = {[PART_Q] = layout_rows(p, ATTNC_Q, s->bm, wide),
                           [PART_K] = layout_rows(p, ATTNC_K, s->bn, p->head_dim),
                           [PART_V] = layout_rows(p, ATTNC_V, s->bn, p->head_dim_v)}};
  static const int ring[] = {PART_K, PART_V};
  for (int i = 0; i < 2; i++) {
    RingArgs *r = &l.part[ring[i]];
    r->fill = FILL_TMA;
    r->stages = s->stages;
    r->consumers = wgmma_warps();
  }
  l.part[PART_K].word = !mask_is_one_range(p);
  return l;
}

static int
shared_bytes(const Spec *p, const Sched *s)
{
  SmemLayout l = decode_wgmma_layout(p, s);
  return layout_bytes(&l);
}

/* ---- what they take ---- */

enum {
  EACH = 32,   /* what a mask that each element is asked for holds beside S, and its walk */
  OTHERS = 56, /* registers besides O, S and P */
  MOST_REGS = 255
};

/* Registers a thread of O, S, P, and of expressions. */
static int
live_regs(const Spec *p, const Sched *s)
{
  int pw = fwd_left_regs(p->dtype[ATTNC_Q], 1, s->bn), mods = fwd_mod_regs(p, 2);
  if (p->mask.rest && mods < EACH)
    mods = EACH;
  return p->head_dim_v / 2 + s->bn / 2 + pw + mods;
}

static DecodeItems
items_of(const Sched *s)
{
  return (DecodeItems){decode_wgmma_of(s)->split_keys, decode_wgmma_of(s)->combine};
}

/* Where parts of a row meet a thread has O and one of them (ptxas 13.0 spilled 96 bytes of
 * head_dim_v 176 in 168 registers, none of 160). */
static int
registers(const Spec *p, const Sched *s)
{
  DecodeItems items = items_of(s);
  int meeting = items.keys && !items.combine ? p->head_dim_v + 8 : 0;
  return least(MOST_REGS, largest(live_regs(p, s) + OTHERS, meeting));
}

/* Registers that a thread of so many CTAs may have: each quarter of a multiprocessor has
 * its part of them, and of warps; in eights. */
static int
regs_of(const Target *g, int ctas)
{
  int of_quarter = (ctas * warps() + 3) / 4;
  return least(MOST_REGS, g->regs_sm / 4 / (32 * of_quarter) / 8 * 8);
}

int
decode_wgmma_resident(const Spec *p, const Target *g, const Sched *s)
{
  int n = g->smem_sm / (shared_bytes(p, s) + g->smem_reserved);
  while (n > 1 && regs_of(g, n) < registers(p, s))
    n--;
  return largest(1, n);
}

static bool
refuse_shape(const Case *c, const Sched *s, Why *why)
{
  int keys = decode_wgmma_of(s)->split_keys;
  if (s->bm != wgmma_rows())
    return refused(why, "block_m %d is not %d", s->bm, wgmma_rows());
  if (s->warps != warps())
    return refused(why, "num_warps %d is not %d, one of which loads", s->warps, warps());
  if (keys % s->bn)
    return refused(why, "split_keys %d is not a multiple of block_n %d", keys, s->bn);
  return decode_refuse_items(c, items_of(s), s->bm, decode_wgmma_of(s)->pack_gqa, why);
}

bool
decode_wgmma_refuse(const Case *c, const Sched *s, Why *why)
{
  int regs = live_regs(c->spec, s), most = MOST_REGS - OTHERS;
  if (refuse_shape(c, s, why) || fwd_refuse_keys(c->spec, s->bn, s->stages, why))
    return true;
  if (fwd_refuse_shared(c, shared_bytes(c->spec, s), why))
    return true;
  if (regs > most)
    return refused(why, "O, S and P take %d registers a thread, %d is the limit", regs,
                   most);
  return false;
}

Partition
decode_wgmma_partition(const Call *call, const Spec *p, const Sched *s)
{
  Partition part = partition_aside(call, s);
  bool packs = decode_wgmma_of(s)->pack_gqa && group_of(p) > 1;
  part.pack = packs ? p->group_size : 1;
  part.in_step = p->page_table;
  return part;
}

/* ---- what they cost ---- */

/* Clocks of a tile in which the warpgroup's products wait for its softmax and the softmax
 * for them: barriers, and a chain of a row's maximum, exponentials and conversions for each
 * key of the tile.  Estimated. */
static double
softmax_way(const Sched *s, double mods)
{
  return 300 + (2 + mods / 4) * s->bn;
}

/* Bytes on their way to a multiprocessor while a tile is computed. */
static double
in_flight(const Sched *s, double tile, int ctas)
{
  return (s->stages - 0.5) * tile * ctas;
}

static double
tile_bytes(const Spec *p, const Sched *s)
{
  return (double)s->bn * (p->head_dim + p->head_dim_v) * dtype_bytes(p->dtype[ATTNC_K]);
}

/* Of two that the memory feeds equally the one whose products have more time. */
static const double LESS_COUNTS = 0.1;

/* Clocks of a tile of one of so many CTAs that share a multiprocessor. */
static double
tile_clocks(const Case *c, const Sched *s, bool masked, int ctas)
{
  const Spec *p = c->spec;
  double m = s->bm, n = s->bn, d = p->head_dim, dv = p->head_dim_v;
  double kv = tile_bytes(p, s), mods = fwd_mod_slots(p, masked, NULL);
  double per = (masked ? 8 : 5.5) + mods;
  Units demand = {.of = {
                      [UNIT_WGMMA] = m * n * (d + dv),
                      [UNIT_MUFU] = m * n,
                      [UNIT_FP32] = m * n * per + m * dv,
                      [UNIT_SHARED] = 2 * kv + m * d * 2,
                      [UNIT_L2] = kv,
                  }};
  Units unit = units_clocks(c->target, &demand);
  double memory = decode_memory_clocks(c->target, kv, in_flight(s, kv, ctas));
  double busy = fmax(units_longest(&unit), memory);
  double way = (unit.of[UNIT_WGMMA] + softmax_way(s, mods)) / ctas;
  return fmax(busy, way) + LESS_COUNTS * fmin(busy, way);
}

/* Of a multiprocessor for each warp's part of an instruction of wgmma: of those of S and of
 * PV, which have other shapes, the mean of a tile. */
static double
product_clocks(const Case *c, const Sched *s)
{
  const Spec *p = c->spec;
  int depth = product_depth(&product_info[WGMMA], p->dtype[ATTNC_Q]);
  double of_s = ceil(p->head_dim / (double)depth), of_pv = s->bn / (double)depth;
  double macs = (double)s->bm * depth * (of_s * s->bn + of_pv * p->head_dim_v);
  return macs / c->target->wgmma_macs_clk / (of_s + of_pv) / wgmma_warps();
}

SchedCost
decode_wgmma_cost(const Case *c, const Sched *s)
{
  DecodeItems items = items_of(s);
  Case k = decode_assume(c, items.keys);
  Partition p = decode_wgmma_partition(NULL, c->spec, s);
  SchedCost r = {.smem = shared_bytes(c->spec, s)};
  r.regs = registers(c->spec, s);
  r.ctas_sm = decode_wgmma_resident(c->spec, c->target, s);
  int ctas = cost_resident(&k, &p, r.ctas_sm);
  r.flight = in_flight(s, tile_bytes(c->spec, s), r.ctas_sm) / 1024;
  r.flight_wanted = c->target->mem_flight;
  r.key_clocks = tile_bytes(c->spec, s) / s->bn / c->target->mem_clk;
  r.product_clocks = product_clocks(c, s);
  BlockClocks clocks = {.full = tile_clocks(&k, s, false, ctas),
                        .partial = tile_clocks(&k, s, true, ctas),
                        .block = decode_block_waits(items) / (double)ctas,
                        .start = (COST_LAUNCH + COST_TMA) / (double)ctas};
  double end = decode_items_end(c, items);
  r.cycles = cost_clocks(&k, &p, &clocks) + end;
  return r;
}

/* 64 keys and three stages where two CTAs share a multiprocessor; else as many as fit. */
Sched
decode_wgmma_initial(const Case *c)
{
  static const int wish[][2] = {{64, 3}, {64, 2}, {32, 3}, {32, 2}, {32, 1}, {16, 1}};
  Sched s = plain(16, 1);
  for (size_t i = 0; i < sizeof wish / sizeof *wish; i++) {
    s = plain(wish[i][0], wish[i][1]);
    DecodeWgmma x = *decode_wgmma_of(&s);
    x.pack_gqa = group_of(c->spec) > 1;
    x.split_keys = 512;
    s = decode_wgmma_sched(x);
    if (!decode_wgmma_refuse(c, &s, NULL))
      break;
  }
  return s;
}
