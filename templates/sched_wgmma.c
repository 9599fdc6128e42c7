#include "templates/sched_wgmma.h"

#include "templates/cost.h"
#include "templates/fwd.h"
#include "templates/units.h"

#include <limits.h>
#include <math.h>

enum {
  EACH = 32,   /* what a mask that each element is asked for holds beside S, and its walk */
  OTHERS = 32, /* registers besides O, S and P: ptxas 13.0 never spilled with them */
};

extern const Template fwd_wgmma;

/* ---- which schedules there are ---- */

bool
wgmma_applicable(const Case *c, Why *why)
{
  const Spec *s = c->spec;
  Dtype ty = s->dtype[ATTNC_Q];
  const ProductInfo *p = &product_info[WGMMA];
  const Rule rules[] = {
      {c->target->product == WGMMA, "the target has no wgmma", REASON_TARGET},
      {spec_one_dtype(s), "q, k, v and o must have one dtype", REASON_DTYPE},
      {product_takes(p, ty, false) && product_takes(p, ty, true),
       "wgmma does not multiply this dtype in full precision", REASON_DTYPE},
      {s->head_dim <= 256, "head_dim above 256: q and k do not fit shared memory",
       REASON_DIMS},
      {s->head_dim_v <= p->cols_most,
       "head_dim_v above 256: a warpgroup's product has no more columns", REASON_DIMS},
      {!s->rope.dim, "rope: turned queries are in workspace, which has no tensor map",
       REASON_FIELD},
      {!s->return_o_lo, "return_o_lo: fwd_mma and ref_fwd write it", REASON_FIELD},
      {!s->shared_prefix,
       "shared_prefix: states and queries are in workspace, which has no tensor map",
       REASON_FIELD},
  };
  bool takes = rules_hold(rules, (int)(sizeof rules / sizeof *rules), why);
  bool pages = fwd_takes_pages_by_tma(c, why);
  return fwd_takes(s, why) && takes && pages;
}

/* TMA takes rows that are multiples of 16 bytes apart, which `bias` promises. */
static const Expr *
tile_of_bias(const Spec *p)
{
  const Expr *load = spec_score_tile(p);
  return load && p->tables.at[load->i].slot == ATTNC_BIAS ? load : NULL;
}

const Expr *
wgmma_beside(const Spec *p, const Hopper *s)
{
  return s->pack_gqa ? NULL : tile_of_bias(p);
}

static const SpaceAxis rows = {{"block_m", "num_warps", "pingpong"},
                               3,
                               {{128, 12, true}, {192, 16, true}, {64, 8, false}}};
static const SpaceAxis keys = {
    {"block_n"}, 9, {{128}, {176}, {64}, {80}, {96}, {112}, {144}, {160}, {192}}};
static const SpaceAxis stages = {{"num_stages"}, 2, {{2}, {3}}};
static const SpaceAxis p_place = {{"p_in_smem"}, 2, {{false}, {true}}};

/* Who has which blocks, and where O leaves and the next Q arrives meanwhile: one axis, of
 * those that are not refused in any case.  A pair of CTAs only where all blocks are alike:
 * tickets are drawn by one CTA. */
static const SpaceAxis dealing = {{"scheduler", "q_stages", "o_in_v"},
                                  7,
                                  {{SCHED_GRID, 1, false},
                                   {SCHED_PERSISTENT, 1, false},
                                   {SCHED_PERSISTENT, 2, false},
                                   {SCHED_PERSISTENT, 1, true},
                                   {SCHED_DYNAMIC, 1, false},
                                   {SCHED_DYNAMIC, 2, false},
                                   {SCHED_DYNAMIC, 1, true}}};
static const SpaceAxis dealing_alike = {{"scheduler", "q_stages", "o_in_v", "cluster"},
                                        10,
                                        {{SCHED_GRID, 1, false, 1},
                                         {SCHED_PERSISTENT, 1, false, 1},
                                         {SCHED_PERSISTENT, 2, false, 1},
                                         {SCHED_PERSISTENT, 1, true, 1},
                                         {SCHED_PERSISTENT, 1, false, 2},
                                         {SCHED_PERSISTENT, 2, false, 2},
                                         {SCHED_PERSISTENT, 1, true, 2},
                                         {SCHED_DYNAMIC, 1, false, 1},
                                         {SCHED_DYNAMIC, 2, false, 1},
                                         {SCHED_DYNAMIC, 1, true, 1}}};

static const SpaceAxis order = {{"device_items"}, 2, {{false}, {true}}};
static const SpaceAxis lists = {{"classes"}, 2, {{CLASSES_INTERVALS}, {CLASSES_STEP}}};

/* What the cost model can tell apart.  Of keys with a table beside them a pair of CTAs
 * shares the lesser part. */
const SpaceAxis *const *
wgmma_axes(const Case *c)
{
  bool alike = mask_is_full(c->spec) && !tile_of_bias(c->spec);
  static const SpaceAxis *const all[3][2][7] = {
      {{&rows, &keys, &stages, &p_place, &dealing},
       {&rows, &keys, &stages, &p_place, &dealing_alike}},
      {{&rows, &keys, &stages, &p_place, &dealing, &order},
       {&rows, &keys, &stages, &p_place, &dealing_alike, &order}},
      {{&rows, &keys, &stages, &p_place, &dealing, &lists},
       {&rows, &keys, &stages, &p_place, &dealing_alike, &lists}}};
  int ahead = spec_has_lengths(c->spec) ? 1 : classes_are_open(c->spec) ? 2 : 0;
  return all[ahead][alike];
}

static Hopper
plain(int bm, int bn, int depth)
{
  return (Hopper){.tmpl = &fwd_wgmma,
                  .bm = bm,
                  .bn = bn,
                  .stages = depth,
                  .warps = 4 + wgmma_warps() * (bm / wgmma_rows()),
                  .intra_wg_overlap = true,
                  .pingpong = bm > 64,
                  .scheduler = SCHED_GRID,
                  .cluster = 1,
                  .tma_store = true,
                  .q_stages = 1,
                  .private_epilogue = true};
}

Sched
wgmma_plain(void)
{
  return hopper_sched(plain(128, 128, 2));
}

/* ---- what they take ---- */

/* The loading lane needs more than 24 registers where it walks over blocks of work, or
 * where a mask says with which key a block begins or ends. */
static bool
busy_loader(const Spec *p, const Hopper *s)
{
  bool walks = !mask_is_full(p) || spec_has_seqlens(p);
  return s->bm < 192 && (walks || s->scheduler != SCHED_GRID || s->cluster > 1);
}

/* One warpgroup that computes leaves no more to a thread than it may have anyway. */
static bool
moves_registers(const Hopper *s)
{
  return s->bm > 64;
}

/* Expressions of a mask take most, lists of blocks, ids of pages, and half of each tile's
 * keys with a table beside (192 rows, 32 registers: ptxas 13.0 spilled 8 bytes). */
static bool
crowded_loader(const Spec *p, const Hopper *s)
{
  bool asks = p->mask_mod.n || spec_has_lists(p) || p->page_table;
  return asks || (s->cluster > 1 && wgmma_beside(p, s));
}

/* Of the loading lane, and of those who compute: together what the block begins with. */
int
load_regs(const Spec *p, const Hopper *s)
{
  if (!moves_registers(s))
    return 0;
  if (crowded_loader(p, s))
    return 56;
  return s->bm == 192 ? 32 : busy_loader(p, s) ? 40 : 24;
}

int
mma_regs(const Spec *p, const Hopper *s)
{
  if (!moves_registers(s))
    return 0;
  if (crowded_loader(p, s))
    return s->bm == 192 ? 152 : 224;
  return s->bm == 192 ? 160 : busy_loader(p, s) ? 232 : 240;
}

/* Registers that a thread of the computing warpgroups may have. */
static int
most_regs(const Spec *p, const Hopper *s)
{
  return moves_registers(s) ? mma_regs(p, s) : 248;
}

int
wgmma_o_stages(const Hopper *s)
{
  int teams = s->bm / wgmma_rows(), each = s->bn / wgmma_rows();
  return each ? (teams + each - 1) / each : INT_MAX;
}

SmemLayout
wgmma_layout(const Spec *p, const Hopper *s)
{
  const Expr *table = wgmma_beside(p, s);
  int d = p->head_dim, dv = p->head_dim_v;
  SmemLayout l = {
      .part = {[PART_Q] = layout_rows(p, ATTNC_Q, s->bm, d > dv || s->o_in_v ? d : dv),
               [PART_K] = layout_rows(p, ATTNC_K, s->bn, d),
               [PART_V] = layout_rows(p, ATTNC_V, s->bn, dv)}};
  if (table)
    l.part[PART_TABLE] = layout_table(p, table, s->bm, s->bn);
  static const int ring[] = {PART_Q, PART_K, PART_V, PART_TABLE};
  for (int i = 0; i < (table ? 4 : 3); i++) {
    RingArgs *r = &l.part[ring[i]];
    r->fill = FILL_TMA;
    r->stages = ring[i] == PART_Q ? s->q_stages : s->stages;
    r->consumers = wgmma_warps() * (s->bm / wgmma_rows());
    r->cluster = ring[i] == PART_K || ring[i] == PART_V ? s->cluster : 1;
  }
  l.part[PART_Q].word = s->scheduler == SCHED_DYNAMIC;
  l.part[PART_K].word = !mask_is_one_range(p);
  if (s->p_in_smem) {
    l.part[PART_P] = layout_rows(p, ATTNC_Q, s->bm, s->bn);
    l.part[PART_P].name = "p";
  }
  return l;
}

Partition
wgmma_partition(const Spec *p, const Hopper *s)
{
  return (Partition){.bm = s->bm,
                     .bn = s->bn,
                     .pack = s->pack_gqa ? p->group_size : 1,
                     .cluster = s->cluster,
                     .scheduler = (Scheduler)s->scheduler,
                     .listed = s->device_items,
                     .by_step = s->classes == CLASSES_STEP,
                     .in_step = p->page_table};
}

static int
shared_bytes(const Spec *p, const Hopper *s)
{
  SmemLayout l = wgmma_layout(p, s);
  return layout_bytes(&l);
}

/* Registers a thread of a sequence's end and first rows, block after block, and of O's rows
 * that threads send where it ends among them: none where a CTA has one block, as all is
 * dead by then, or where there are two warpgroups, which have enough.  (ptxas 13.0 spills 4
 * to 68 bytes of 192x112 and 192x128 of head_dim 64, 192x96 of 96 and 192x64 of 128
 * without.) */
static int
own_regs(const Spec *p, const Hopper *s)
{
  bool own = spec_has_tensor(p, ATTNC_CU_SEQLENS_Q) || spec_has_tensor(p, ATTNC_SEQUSED_Q);
  if (!own || s->scheduler == SCHED_GRID || s->bm < 192)
    return 0;
  return 3 * p->head_dim_v / 16 + 2 * (mask_cuts_right(p) + mask_cuts_left(p));
}

/* Of three warpgroups, which have the fewest, and of one with most keys: 192x64 of head_dim
 * 96, causal and packed, and 64x192 of head_dim 40, a window and packed, spilled 16 bytes
 * without (ptxas 13.0). */
enum { DROP_MORE = 16 };

static int
drop_regs(const Spec *p, const Hopper *s)
{
  bool few = p->dropout && (s->bm >= 192 || s->bn >= 192);
  return fwd_drop_regs(p, 1, s->bn) + (few ? DROP_MORE : 0);
}

/* Registers a thread of O, S and P, as kernels measured with ptxas show them to count. */
static int
live_regs(const Spec *p, const Hopper *s)
{
  int pw = s->p_in_smem ? 0 : fwd_left_regs(p->dtype[ATTNC_Q], 1, s->bn);
  int mods = fwd_mod_regs(p, 2);
  if (p->mask.rest && mods < EACH)
    mods = EACH;
  if (p->mask.rest && p->mask_cost.loads)
    mods += 4;
  return p->head_dim_v / 2 + s->bn / 2 + pw + mods + own_regs(p, s) + drop_regs(p, s);
}

static bool
refuse_shape(const Case *c, const Hopper *s, Why *why)
{
  int each = wgmma_rows(), teams = s->bm / each, warps = 4 + wgmma_warps() * teams;
  if (s->bm % each || teams < 1 || teams > 3)
    return refused(why, "block_m %d is not %d, %d or %d: a warpgroup has %d rows", s->bm,
                   each, 2 * each, 3 * each, each);
  if (s->warps != warps)
    return refused(why, "num_warps %d: block_m %d takes %d, four of which load", s->warps,
                   s->bm, warps);
  if (fwd_refuse_keys(c->spec, s->bn, s->stages, why))
    return true;
  if (s->q_stages < 1 || s->q_stages > 2)
    return refused(why, "q_stages %d is not 1 or 2", s->q_stages);
  if (s->pingpong && teams == 1)
    return refused(why, "pingpong takes two warpgroups: block_m %d has one", each);
  if (s->cluster != 1 && s->cluster != 2)
    return refused(why, "cluster %d is not 1 or 2", s->cluster);
  if (s->poly_exp2 < 0 || s->poly_exp2 > 16)
    return refused(why, "poly_exp2 %d is not in 0 … 16", s->poly_exp2);
  if (s->cross_tile && (!s->intra_wg_overlap || s->q_stages < 2))
    return refused(why, "cross_tile takes intra_wg_overlap and q_stages 2");
  if (s->narrow_diagonal && (!s->intra_wg_overlap || s->cross_tile))
    return refused(why,
                   "narrow_diagonal takes intra_wg_overlap, and a first tile of its own");
  if (s->narrow_diagonal && s->bn % 32)
    return refused(why, "narrow_diagonal takes a block_n of a multiple of 32, not %d",
                   s->bn);
  if (s->scheduler == SCHED_DYNAMIC && (s->cluster > 1 || s->cross_tile))
    return refused(why, "a dynamic schedule takes cluster 1, and no cross_tile");
  if (!s->private_epilogue && (teams == 1 || !s->tma_store))
    return refused(why, "private_epilogue=false takes two warpgroups and tma_store");
  if (s->o_in_v && (!s->tma_store || !s->private_epilogue || s->cross_tile))
    return refused(why, "o_in_v takes tma_store, private_epilogue and no cross_tile");
  if (s->o_in_v && s->scheduler == SCHED_GRID)
    return refused(why, "o_in_v has no use where a CTA has one block of queries");
  if (s->o_in_v && wgmma_o_stages(s) > (s->stages < 2 ? s->stages : 2))
    return refused(why, "o_in_v: %d rows do not fit into two stages of %d keys", s->bm,
                   s->bn);
  if (s->q_stages > 1 && s->scheduler == SCHED_GRID)
    return refused(why, "q_stages 2 has no use where a CTA has one block of queries");
  return false;
}

/* Sizes that the compile knows, and few enough blocks for a list. */
static bool
all_known(const Case *c)
{
  for (int i = SPECIALIZE_B; i <= SPECIALIZE_SK; i++)
    if (!spec_specializes(c->spec, (Specialize)i))
      return false;
  return ((double)c->sq / wgmma_rows() + 1) * (double)c->h * (double)c->b < 1 << 16;
}

/* What takes blocks of work that may be none, and end anywhere. */
static bool
refuse_seqlens(const Case *c, const Hopper *s, Why *why)
{
  if (!spec_has_seqlens(c->spec))
    return false;
  if (s->scheduler == SCHED_LPT)
    return refused(why, "an lpt schedule takes sequences of one length, not seqlens");
  if (s->cross_tile)
    return refused(why, "cross_tile takes blocks that all have work, which seqlens do not "
                        "promise");
  if (s->o_in_v)
    return refused(why,
                   "o_in_v sends whole boxes of O: a sequence of seqlens may end in one");
  if (!s->private_epilogue)
    return refused(why,
                   "a joined epilogue sends whole boxes of O: a sequence of seqlens may "
                   "end in one");
  return false;
}

/* Lists are of one head each, and no band says what is on a diagonal. */
static bool
refuse_lists(const Case *c, const Sched *sched, Why *why)
{
  const Hopper *s = hopper_of(sched);
  if (!spec_has_lists(c->spec))
    return false;
  if (s->pack_gqa)
    return refused(why, "pack_gqa takes heads of one mask: block_list has one for each");
  if (s->narrow_diagonal)
    return refused(why, "narrow_diagonal takes a mask without block_list");
  if (s->scheduler == SCHED_LPT)
    return refused(why, "an lpt schedule takes a mask without block_list");
  return fwd_refuse_lists(c->spec, sched, why);
}

bool
wgmma_refuse(const Case *c, const Sched *sched, Why *why)
{
  const Hopper *s = hopper_of(sched);
  int group = c->spec->group_size, smem = shared_bytes(c->spec, s);
  int regs = live_regs(c->spec, s), most = most_regs(c->spec, s) - OTHERS;
  if (s->cross_tile && s->bm < 192) /* 164 were too many (C7511), 160 never */
    most = 160;
  if (refuse_shape(c, s, why) || refuse_seqlens(c, s, why) || refuse_lists(c, sched, why) ||
      items_refuse(c->spec, s->device_items, why) ||
      classes_refuse(c->spec, sched, (Classes)s->classes, s->pack_gqa ? group : 1, why))
    return true;
  if (c->spec->mask_mod.n && s->narrow_diagonal)
    return refused(why, "narrow_diagonal takes a mask without mask_mod");
  if (c->spec->page_table && s->cluster > 1)
    return refused(why, "cluster %d: CTAs share no boxes of rows in pages", s->cluster);
  if (!mask_is_one_range(c->spec) && (s->cross_tile || s->cluster > 1))
    return refused(why, "a mask of several ranges takes cluster 1, and no cross_tile");
  if (s->scheduler == SCHED_LPT && c->spec->mask_mod.n)
    return refused(why, "an lpt schedule takes a mask without mask_mod");
  if (s->scheduler == SCHED_LPT && !all_known(c))
    return refused(why,
                   "an lpt schedule takes sizes that are specialised: b, h, hk, sq, sk");
  if (c->spec->dropout && s->bn % 32)
    return refused(why,
                   "block_n %d is not a multiple of the 32 keys whose random bytes are "
                   "drawn at once",
                   s->bn);
  if (s->pack_gqa && c->spec->dropout)
    return refused(why, "pack_gqa takes weights of which none is dropped: rows of several "
                        "heads have random bytes of their own");
  if (s->pack_gqa && (group < 2 || s->bm % group || wgmma_rows() % group))
    return refused(why, "pack_gqa takes a pinned group_size that divides %d, not %d",
                   wgmma_rows(), group);
  if (fwd_refuse_shared(c, smem, why))
    return true;
  if (regs > most)
    return refused(why, "O, S and P take %d registers a thread, %d is the limit", regs,
                   most);
  return false;
}

/* ---- what they cost ---- */

/* What fields change of COST_BLOCK, in clocks, estimated.  Of a ticket: which block it is
 * comes with Q, and its place is computed after.  Of O through V: stages change hands. */
enum { CROSS_TILE = -400, JOINED_END = 200, TICKET = 200, LENT = 100 };

/* Of a pair of CTAs, a tile: a stage is free when both have read it, so that each waits for
 * the slower one, and says so across the cluster.  Estimated. */
enum { PAIRED = 60 };

/* Instructions of a warp and tile whatever its size: addresses, barriers. */
enum { PER_TILE = 90 };

/* While products run, each other instruction of a warp keeps them waiting on its quarter of
 * a multiprocessor, an exponential longer: clocks, fitted to the six figures that
 * FlashAttention-3's paper has for head_dim 64, 128 and 256 (16 k, H100; within 5 %). */
static const double PER_INSTRUCTION = 0.4, PER_EXP2 = 4.5;
enum { ISSUED = 4 * 32 }; /* lanes a clock: a warp on each quarter */

/* What nobody hides: bubbles of barriers and of starting products, and of the softmax a
 * share where nothing else runs beside it.  Of 12 % and 9 … 12 % that FlashAttention-3's
 * paper and the simulation have for kernels without the one or the other. */
typedef struct Idle {
  double share, clocks;
} Idle;
static const Idle idle[2][2] = {/* [intra_wg_overlap][pingpong] */
                                {{0.66, 220}, {0.33, 220}},
                                {{0.33, 110}, {0, 70}}};
enum { THROUGH_SMEM = 250, ONE_STAGE = 400 }; /* clocks of p_in_smem, num_stages 1 */

static double
idle_clocks(const Case *c, const Hopper *s, const Units *k)
{
  Idle x = idle[s->intra_wg_overlap][s->pingpong];
  double soft = fmax(k->of[UNIT_MUFU], k->of[UNIT_FP32]);
  if (s->bm == 192 && !s->p_in_smem && c->spec->head_dim_v > 64)
    x.share = 1; /* FlashAttention-4's notes: 300 TFLOP/s at head_dim 96 instead of 600 */
  return x.share * fmin(k->of[UNIT_WGMMA], soft) + x.clocks +
         (s->p_in_smem ? THROUGH_SMEM : 0) + (s->stages > 1 ? 0 : ONE_STAGE);
}

/* One tile, where `ctas` CTAs share the multiprocessor: one fills the gaps of the other.
 * Each warpgroup reads K, V and its Q from shared memory, into which TMA writes K and V.
 * Maxima and conversions have half the rate of other instructions. */
static double
tile_clocks(const Case *c, const Hopper *s, bool masked, int ctas)
{
  double m = s->bm, n = s->bn, d = c->spec->head_dim, dv = c->spec->head_dim_v;
  double bytes = dtype_bytes(c->spec->dtype[ATTNC_Q]), teams = m / wgmma_rows();
  double kv = n * (d + dv) * bytes, poly = s->poly_exp2 / 16.0;
  const Expr *load = wgmma_beside(c->spec, s);
  double mods = fwd_mod_slots(c->spec, masked, load);
  double table = load ? m * n * fwd_table_bytes(c->spec, load) : 0;
  double per = (masked ? 5.5 : 3.5) + 8 * poly + mods + fwd_drop_slots(c->spec);
  double rescale = s->lazy_rescale ? 0.2 : 1;
  double instructions =
      m * n * per + rescale * m * dv + teams * wgmma_warps() * 32 * PER_TILE;
  Units demand = {.of = {
                      [UNIT_WGMMA] = m * n * (d + dv),
                      [UNIT_MUFU] = m * n * (1 - poly),
                      [UNIT_FP32] = instructions + m * n * 1.5,
                      [UNIT_SHARED] = m * d * bytes + (teams + 1) * kv +
                                      (s->p_in_smem ? 2 * m * n * bytes : 0) + 2 * table,
                  }};
  Units k = units_clocks(c->target, &demand);
  double waits = PER_INSTRUCTION * instructions + PER_EXP2 * demand.of[UNIT_MUFU];
  double products = k.of[UNIT_WGMMA] + waits / ISSUED;
  return fmax(products, units_longest(&k)) + idle_clocks(c, s, &k) / ctas +
         (s->cluster > 1 ? PAIRED : 0);
}

/* What a block waits for, of what was loaded for it, where a CTA has others before it.  Q
 * has no second place: O leaves through its rows.  O leaves through all stages of V: the
 * first tile of V comes behind it, beside this block's first scores. */
static double
waits_between(const Hopper *s, double q, double o, double v, double tile)
{
  if (s->scheduler == SCHED_GRID)
    return 0;
  if (s->o_in_v) {
    bool all = wgmma_o_stages(s) == s->stages;
    return LENT + (all ? fmax(0, o + COST_TMA + v - tile) : 0);
  }
  return s->q_stages == 1 ? o + COST_TMA + q : 0;
}

/* A block that is nobody's starts its CTA, or is a trip of one that has several. */
static double
empty_clocks(const Hopper *s, int ctas)
{
  if (s->scheduler == SCHED_GRID)
    return (COST_LAUNCH + COST_GLOBAL) / (double)ctas;
  return COST_GLOBAL + (s->scheduler == SCHED_DYNAMIC ? TICKET : 0);
}

/* A cluster shares what it fetches from L2.  A CTA begins with its first Q and K and ends
 * when O has left. */
static BlockClocks
block_clocks(const Case *c, const Hopper *s, int ctas)
{
  const Spec *p = c->spec;
  double row = (double)dtype_bytes(p->dtype[ATTNC_Q]) / c->target->l2_clk;
  double q = s->bm * p->head_dim * row, o = s->bm * p->head_dim_v * row;
  double k = p->head_dim * row / s->cluster, v = p->head_dim_v * row / s->cluster;
  const Expr *load = wgmma_beside(p, s);
  double table = load ? s->bm * fwd_table_bytes(p, load) / (double)c->target->l2_clk : 0;
  double full = tile_clocks(c, s, false, ctas);
  double block = COST_BLOCK + waits_between(s, q, o, s->bn * v, full);
  block += (s->cross_tile ? CROSS_TILE : 0) + (s->private_epilogue ? 0 : JOINED_END);
  block += s->scheduler == SCHED_DYNAMIC ? TICKET : 0;
  return (BlockClocks){.full = full,
                       .partial = tile_clocks(c, s, true, ctas),
                       .key = k + v + table,
                       .block = block / ctas,
                       .start = (COST_LAUNCH + COST_TMA + q + s->bn * k + o) / ctas,
                       .empty = empty_clocks(s, ctas)};
}

/* Two blocks share a multiprocessor where registers were not moved between warpgroups. */
static int
resident(const Case *c, const Hopper *s, int smem, int regs)
{
  bool twice = !moves_registers(s) && regs <= 128 &&
               2 * (smem + c->target->smem_reserved) <= c->target->smem_sm;
  return twice ? 2 : 1;
}

SchedCost
wgmma_cost(const Case *c, const Sched *sched)
{
  const Hopper *s = hopper_of(sched);
  Case k = cost_assume(c);
  Partition p = wgmma_partition(c->spec, s);
  SchedCost r = {.smem = shared_bytes(c->spec, s)};
  r.regs = moves_registers(s) ? mma_regs(c->spec, s) : live_regs(c->spec, s) + OTHERS;
  r.ctas_sm = resident(c, s, r.smem, r.regs);
  BlockClocks clocks = block_clocks(&k, s, cost_resident(&k, &p, r.ctas_sm));
  r.cycles = cost_clocks(&k, &p, &clocks);
  return r;
}

/* FlashAttention-3's tiles, as far as padded panels let them fit. */
Sched
wgmma_initial(const Case *c)
{
  static const int wish[][3] = {{192, 128, 2}, {128, 176, 2}, {128, 128, 2}, {128, 112, 2},
                                {128, 96, 2},  {128, 80, 2},  {128, 64, 2},  {128, 64, 1},
                                {128, 32, 1},  {64, 32, 1},   {64, 16, 1}};
  const Spec *p = c->spec;
  Sched s = hopper_sched(plain(64, 16, 1));
  for (size_t i = 0; i < sizeof wish / sizeof *wish; i++) {
    s = hopper_sched(plain(wish[i][0], wish[i][1], wish[i][2]));
    bool wide = wish[i][1] > 128; /* pays where few tiles are masked */
    if (wide && !mask_is_full(p))
      continue;
    if (!wgmma_refuse(c, &s, NULL))
      break;
  }
  return s;
}
