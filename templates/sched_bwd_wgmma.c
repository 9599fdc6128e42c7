#include "templates/sched_bwd_wgmma.h"

#include "templates/bwd_sums.h"
#include "templates/cost.h"
#include "templates/extremes.h"
#include "templates/fwd.h"
#include "templates/partition.h"
#include "templates/units.h"

#include <math.h>

enum { ROWS = 64, WARPS = 4 }; /* of a warpgroup */

extern const Template bwd_wgmma;

static bool
fits(const Case *c)
{
  Sched s = bwd_wgmma_initial(c);
  return !bwd_wgmma_refuse(c, &s, NULL);
}

bool
bwd_wgmma_applicable(const Case *c, Why *why)
{
  const Spec *s = c->spec;
  Dtype ty = s->dtype[ATTNC_Q];
  const ProductInfo *p = &product_info[WGMMA];
  const Rule rules[] = {
      {c->target->product == WGMMA, "the target has no wgmma", REASON_TARGET},
      {spec_one_dtype(s), "q, k, v and o must have one dtype", REASON_DTYPE},
      {product_takes(p, ty, false) && product_takes(p, ty, true),
       "wgmma does not multiply this dtype in full precision", REASON_DTYPE},
      {s->head_dim <= 256 && s->head_dim_v <= 256, "head_dim or head_dim_v is above 256",
       REASON_DIMS},
      {!s->grads.n, "gradients of tables are not computed", REASON_FIELD},
      {fits(c), "gradients, and what expressions keep, leave no registers for a tile",
       REASON_DIMS},
  };
  bool takes = rules_hold(rules, (int)(sizeof rules / sizeof *rules), why);
  return bwd_takes(s, why) && takes;
}

/* ---- shapes ---- */

int
bwd_wgmma_stays(const BwdHopper *s, Pass pass)
{
  return pass == PASS_DQ ? s->dq_block_m : s->bn;
}

int
bwd_wgmma_passes_by(const BwdHopper *s, Pass pass)
{
  return pass == PASS_DQ ? s->dq_block_n : s->bm;
}

int
bwd_wgmma_teams(const BwdHopper *s, Pass pass)
{
  return bwd_wgmma_stays(s, pass) / ROWS;
}

bool
bwd_wgmma_tells(const Spec *p, Pass pass)
{
  return pass == PASS_DQ ? !mask_is_one_range(p) : p->mask_mod.n > 0;
}

static void
guard(SmemLayout *l, int part, Fill fill, int stages, int consumers)
{
  l->part[part].fill = fill;
  l->part[part].stages = stages;
  l->part[part].consumers = consumers;
}

SmemLayout
bwd_wgmma_layout(const Spec *p, const BwdHopper *s, Pass pass)
{
  SmemLayout l = {.part = {{.rows = 0}}};
  int stay = bwd_wgmma_stays(s, pass), by = bwd_wgmma_passes_by(s, pass);
  int d = p->head_dim, dv = p->head_dim_v;
  bool dq = pass == PASS_DQ, has_v = pass != PASS_DV;
  int warps = WARPS * bwd_wgmma_teams(s, pass), stages = dq ? s->dq_stages : s->stages;
  l.part[PART_Q] = layout_rows(p, ATTNC_Q, dq ? stay : by, d);
  l.part[PART_DO] = layout_rows(p, ATTNC_O, dq ? stay : by, dv);
  l.part[PART_DO].name = "do";
  l.part[PART_K] = layout_rows(p, ATTNC_K, dq ? by : stay, has_v ? d : largest(d, dv));
  guard(&l, PART_Q, FILL_TMA, dq ? 1 : stages, warps);
  guard(&l, PART_DO, FILL_TMA, dq ? 1 : stages, warps);
  guard(&l, PART_K, FILL_TMA, dq ? stages : 1, warps);
  if (has_v) {
    l.part[PART_V] = layout_rows(p, ATTNC_V, dq ? by : stay, dv);
    guard(&l, PART_V, FILL_TMA, dq ? stages : 1, warps);
  }
  l.part[dq ? PART_K : PART_Q].word = bwd_wgmma_tells(p, pass);
  if (dq)
    return l;
  if (pass == PASS_FUSED) {
    l.part[PART_P] = layout_rows(p, ATTNC_Q, stay, by);
    l.part[PART_P].name = "ds";
  }
  l.part[PART_LSE] = layout_column("lse", by);
  guard(&l, PART_LSE, FILL_LANES, stages, warps);
  if (has_v) {
    l.part[PART_DELTA] = layout_column("delta", by);
    guard(&l, PART_DELTA, FILL_LANES, stages, warps);
  }
  return l;
}

static int
shared_bytes(const Spec *p, const BwdHopper *s, Pass pass)
{
  SmemLayout l = bwd_wgmma_layout(p, s, pass);
  return layout_bytes(&l);
}

/* ---- registers ---- */

/* One warpgroup that computes leaves no more to a thread than it may have anyway. */
static bool
moves_registers(const BwdHopper *s, Pass pass)
{
  return bwd_wgmma_teams(s, pass) > 1;
}

/* Expressions of a mask take most of the loading warp's. */
static bool
crowded_loader(const Spec *p)
{
  return p->mask_mod.n || spec_has_seqlens(p);
}

int
bwd_wgmma_load_regs(const Spec *p, const BwdHopper *s, Pass pass)
{
  if (!moves_registers(s, pass))
    return 0;
  if (crowded_loader(p))
    return 56;
  return bwd_wgmma_teams(s, pass) == 3 ? 32 : 40;
}

int
bwd_wgmma_mma_regs(const Spec *p, const BwdHopper *s, Pass pass)
{
  bool three = bwd_wgmma_teams(s, pass) == 3;
  if (!moves_registers(s, pass))
    return 0;
  if (crowded_loader(p))
    return three ? 152 : 224;
  return three ? 160 : 232;
}

/* Beside the values of a slope a quarter: of what it shares with the score; and as in
 * bwd_mma where tables are read. */
enum { SLOPE = 16, LOADED = 24 };

/* Registers a thread of the gradients that stay, of S and dP, of Pᵀ in 16 bits, which is
 * ready while dP is in flight, and of expressions. */
static int
live_regs(const Spec *p, const BwdHopper *s, Pass pass)
{
  int by = bwd_wgmma_passes_by(s, pass);
  int d = p->head_dim, dv = p->head_dim_v;
  bool both = pass == PASS_DKDV || pass == PASS_FUSED;
  int sums = both ? d + dv : pass == PASS_DV ? dv : d;
  int scores = pass == PASS_DV ? by / 2 : by;
  int left = both || pass == PASS_DV ? by / 4 : by / 8;
  int loads = p->score_cost.loads ? LOADED : 0;
  int slope = spec_score_has_slope(p) && pass != PASS_DV ? SLOPE + by / 4 : 0;
  return sums / 2 + scores + left + slope + loads + fwd_mod_regs(p, 2) +
         fwd_drop_regs(p, 1, by);
}

enum { OTHERS = 24 }; /* registers besides those: ptxas 13.0 never spilled with them */

static int
most_regs(const Spec *p, const BwdHopper *s, Pass pass)
{
  return (moves_registers(s, pass) ? bwd_wgmma_mma_regs(p, s, pass) : 248) - OTHERS;
}

static bool
refuse_pass(const Case *c, const BwdHopper *s, Pass pass, Why *why)
{
  const Target *g = c->target;
  const char *name = bwd_pass_names[pass];
  int stay = bwd_wgmma_stays(s, pass), by = bwd_wgmma_passes_by(s, pass);
  int smem = shared_bytes(c->spec, s, pass);
  int regs = live_regs(c->spec, s, pass), most = most_regs(c->spec, s, pass);
  if (stay % ROWS || stay < ROWS || stay > 3 * ROWS)
    return refused(why, "%s: %d rows are not 64, 128 or 192: a warpgroup has 64", name,
                   stay);
  if (by % 16 || by < 16 || by > 192)
    return refused(why, "%s: a tile of %d is not a multiple of 16 up to 192", name, by);
  if (smem > g->smem_block)
    return refused(why, "%s needs %d bytes of shared memory, %s has %d a block", name, smem,
                   g->name, g->smem_block);
  if (regs > most)
    return refused(why, "%s takes %d registers a thread, %d is the limit", name, regs,
                   most);
  return false;
}

/* Warpgroups have 64 queries of a tile of dQ each, or those that share them a panel of its
 * columns each. */
static bool
refuse_fused(const Case *c, const BwdHopper *s, Why *why)
{
  int teams = bwd_wgmma_teams(s, PASS_FUSED), tiles = s->bm / ROWS, d = c->spec->head_dim;
  if (s->passes != 1)
    return false;
  if (c->spec->deterministic)
    return refused(why, "passes 1: dq is a sum in no order, and the spec is deterministic");
  if (s->bm % ROWS || tiles < 1 || teams % tiles)
    return refused(why, "passes 1: %d queries are not 64 for each of %d warpgroups", s->bm,
                   teams);
  if (teams > tiles && d != teams / tiles * ROWS)
    return refused(why,
                   "passes 1: %d warpgroups that share 64 queries take head_dim %d, not %d",
                   teams / tiles, teams / tiles * ROWS, d);
  return false;
}

/* Whose fields are those of the pass for dq: it has all of them, or there is none. */
static bool
refuse_dq(const BwdHopper *s, Why *why)
{
  bool none = !s->dq_block_m && !s->dq_block_n && !s->dq_stages;
  bool all = s->dq_block_m && s->dq_block_n && s->dq_stages;
  if (s->passes == 1 ? none : all)
    return false;
  return refused(why, "passes %d: dq_block_m, dq_block_n, dq_stages are %s", s->passes,
                 s->passes == 1 ? "0, of no pass" : "those of a pass");
}

bool
bwd_wgmma_refuse(const Case *c, const Sched *sched, Why *why)
{
  const BwdHopper *s = bwd_hopper_of(sched);
  int warps = WARPS * (1 + s->bn / ROWS);
  if (s->stages < 1 || s->stages > 4)
    return refused(why, "num_stages %d is not in 1 … 4", s->stages);
  if (refuse_dq(s, why) || refuse_fused(c, s, why))
    return true;
  if (s->warps != warps)
    return refused(why, "num_warps %d: block_n %d takes %d, four of which load", s->warps,
                   s->bn, warps);
  for (int i = 0; i < PASS_COUNT; i++)
    if (bwd_is_of((Pass)i, s->passes) && refuse_pass(c, s, (Pass)i, why))
      return true;
  return false;
}

/* ---- which schedules there are ---- */

static const SpaceAxis keys_axis = {{"block_m", "block_n", "num_warps"},
                                    12,
                                    {{128, 128, 12},
                                     {96, 128, 12},
                                     {80, 128, 12},
                                     {64, 128, 12},
                                     {48, 128, 12},
                                     {32, 128, 12},
                                     {16, 128, 12},
                                     {64, 192, 16},
                                     {64, 64, 8},
                                     {32, 64, 8},
                                     {16, 64, 8},
                                     {112, 128, 12}}};
static const SpaceAxis passes_axis = {
    {"passes", "num_stages"}, 6, {{2, 2}, {2, 1}, {3, 2}, {3, 1}, {1, 2}, {1, 1}}};
static const SpaceAxis queries_axis = {{"dq_block_m", "dq_block_n"},
                                       11,
                                       {{0, 0},
                                        {128, 128},
                                        {128, 96},
                                        {128, 112},
                                        {128, 80},
                                        {128, 64},
                                        {128, 48},
                                        {128, 32},
                                        {192, 64},
                                        {64, 64},
                                        {64, 32}}};
static const SpaceAxis stages_axis = {{"dq_stages"}, 3, {{2}, {1}, {0}}};

const SpaceAxis *const *
bwd_wgmma_axes(const Case *c)
{
  static const SpaceAxis *const all[] = {&keys_axis, &passes_axis, &queries_axis,
                                         &stages_axis, NULL};
  (void)c;
  return all;
}

Sched
bwd_wgmma_plain(void)
{
  return bwd_hopper_sched((BwdHopper){.tmpl = &bwd_wgmma,
                                      .stages = 2,
                                      .warps = 12,
                                      .passes = 2,
                                      .dq_block_m = 128,
                                      .dq_stages = 2});
}

Sched
bwd_wgmma_initial(const Case *c)
{
  /* block_m, block_n, stages, passes; dq_block_m, dq_block_n, dq_stages */
  static const int wish[][7] = {{64, 128, 2, 2, 128, 128, 2}, {64, 128, 2, 2, 128, 64, 2},
                                {48, 128, 2, 2, 128, 64, 2},  {32, 128, 2, 2, 128, 64, 2},
                                {64, 128, 2, 3, 128, 64, 2},  {64, 128, 1, 3, 128, 48, 2},
                                {48, 128, 1, 3, 128, 48, 1},  {32, 128, 1, 3, 128, 32, 1},
                                {16, 128, 1, 3, 128, 16, 1},  {16, 64, 1, 3, 64, 16, 1}};
  Sched s = bwd_wgmma_plain();
  for (size_t i = 0; i < sizeof wish / sizeof *wish; i++) {
    const int *w = wish[i];
    BwdHopper b = *bwd_hopper_of(&s);
    b.bm = w[0];
    b.bn = w[1];
    b.warps = WARPS * (1 + w[1] / ROWS);
    b.stages = w[2];
    b.passes = w[3];
    b.dq_block_m = w[4];
    b.dq_block_n = w[5];
    b.dq_stages = w[6];
    s = bwd_hopper_sched(b);
    if (!bwd_wgmma_refuse(c, &s, NULL))
      break;
  }
  return s;
}

/* ---- what they cost ---- */

/* Two blocks share a multiprocessor where registers were not moved between warpgroups. */
static int
thread_regs(const Spec *p, const BwdHopper *s, Pass pass)
{
  return moves_registers(s, pass) ? 65536 / (32 * WARPS * (1 + bwd_wgmma_teams(s, pass)))
                                  : least(248, live_regs(p, s, pass) + OTHERS);
}

static int
resident(const Spec *p, const Target *g, const BwdHopper *s, Pass pass)
{
  int threads = 32 * WARPS * (1 + bwd_wgmma_teams(s, pass));
  int by_smem = g->smem_sm / (shared_bytes(p, s, pass) + g->smem_reserved);
  int by_regs = g->regs_sm / (thread_regs(p, s, pass) * threads);
  return largest(1, least(by_smem, by_regs));
}

/* Clocks of a tile's barriers and of starting products, as in fwd_wgmma; what one stage
 * adds; and how much of what the less busy units do shows. */
enum { BUBBLE = 220, ONE_STAGE = 400, BARRIER = 40, ADDED = 2 };
static const double SHOWS = 0.33;

static double
tile_clocks(const Case *c, const BwdHopper *s, Pass pass, bool masked, int ctas)
{
  const Spec *p = c->spec;
  double m = bwd_wgmma_stays(s, pass), n = bwd_wgmma_passes_by(s, pass);
  double teams = bwd_wgmma_teams(s, pass);
  int bytes = dtype_bytes(p->dtype[ATTNC_Q]);
  double come = n * (p->head_dim + p->head_dim_v) * bytes;
  double left = m * (p->head_dim + (pass == PASS_DV ? 0 : p->head_dim_v)) * bytes;
  bool fused = pass == PASS_FUSED;
  double shared = n * bwd_depth(p, pass) * bytes * teams;
  if (fused) /* dS there and back, and K, of which each reads its part */
    shared += (2 * m * n - (teams - 1) * n * p->head_dim) * bytes;
  double added = fused ? ADDED * n * p->head_dim * dtype_bytes(DT_F32) : 0;
  double per = (masked ? 6 : 4.5) + (pass == PASS_DV ? 0 : 2.5);
  per += 1.5 * fwd_mod_slots(p, masked, NULL) + fwd_drop_slots(p); /* scores, and slopes */
  Units demand = {.of = {
                      [UNIT_WGMMA] = m * n * bwd_depth(p, pass),
                      [UNIT_MUFU] = m * n,
                      [UNIT_FP32] = m * n * per,
                      [UNIT_SHARED] = shared + left + come,
                      [UNIT_L2] = come + added,
                  }};
  Units unit = units_clocks(c->target, &demand);
  double longest = units_longest(&unit), rest = units_sum(&unit) - longest;
  int stages = pass == PASS_DQ ? s->dq_stages : s->stages;
  return longest + SHOWS * rest / ctas + BUBBLE + (stages > 1 ? 0 : ONE_STAGE) +
         (fused ? 2 * BARRIER : 0);
}

/* Blocks of keys see as many tiles of queries as blocks of queries of the same size see of
 * keys, give or take a tile: the forward's count of tiles serves for both. */
static double
pass_clocks(const Case *c, const Sched *sched, Pass pass)
{
  const BwdHopper *s = bwd_hopper_of(sched);
  Sched like = *sched;
  like.bm = bwd_wgmma_stays(s, pass);
  like.bn = bwd_wgmma_passes_by(s, pass);
  Partition part = partition_aside(NULL, &like);
  int ctas = cost_resident(c, &part, resident(c->spec, c->target, s, pass));
  double row = (double)dtype_bytes(c->spec->dtype[ATTNC_Q]) / c->target->l2_clk;
  double ends = 2 * like.bm * (c->spec->head_dim + c->spec->head_dim_v) * row;
  BlockClocks clocks = {.full = tile_clocks(c, s, pass, false, ctas),
                        .partial = tile_clocks(c, s, pass, true, ctas),
                        .block = COST_BLOCK / (double)ctas,
                        .start = (COST_LAUNCH + COST_TMA + ends) / ctas,
                        .empty = (COST_LAUNCH + COST_GLOBAL) / (double)ctas};
  return cost_clocks(c, &part, &clocks);
}

SchedCost
bwd_wgmma_cost(const Case *c, const Sched *sched)
{
  const BwdHopper *s = bwd_hopper_of(sched);
  Case k = cost_assume(c);
  SchedCost r = {.ctas_sm = 32};
  if (bwd_wgmma_refuse(c, sched, NULL)) /* whose tiles no warpgroup may have */
    return r;
  for (int i = 0; i < PASS_COUNT; i++) {
    Pass pass = (Pass)i;
    if (!bwd_is_of(pass, s->passes))
      continue;
    int regs = moves_registers(s, pass) ? bwd_wgmma_mma_regs(c->spec, s, pass)
                                        : thread_regs(c->spec, s, pass);
    r.smem = largest(r.smem, shared_bytes(c->spec, s, pass));
    r.regs = largest(r.regs, regs);
    r.ctas_sm = least(r.ctas_sm, resident(c->spec, c->target, s, pass));
    r.cycles += pass_clocks(&k, sched, pass);
  }
  if (s->passes == 1)
    r.cycles += bwd_sums_clocks(&k);
  return r;
}
