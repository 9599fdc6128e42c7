/* Schedules of bwd_mma: which are legal, what they take and cost. */
#include "templates/sched_bwd.h"

#include "templates/bwd.h"
#include "templates/bwd_sums.h"
#include "templates/cost.h"
#include "templates/extremes.h"
#include "templates/fwd.h"
#include "templates/partition.h"
#include "templates/units.h"

#include <math.h>

extern const Template bwd_mma;

/* Is any schedule legal? */
static bool
fits(const Case *c)
{
  Sched s = bwd_initial(c);
  return !bwd_refuse(c, &s, NULL);
}

bool
bwd_applicable(const Case *c, Why *why)
{
  const Spec *s = c->spec;
  Dtype ty = s->dtype[ATTNC_Q];
  const ProductInfo *p = target_product(c->target, false);
  const Rule rules[] = {
      {spec_one_dtype(s), "q, k, v and o must have one dtype", REASON_DTYPE},
      {product_takes(p, ty, false) && product_takes(p, ty, true),
       "the target's mma does not multiply this dtype", REASON_DTYPE},
      {s->head_dim <= 256 && s->head_dim_v <= 256, "head_dim or head_dim_v is above 256",
       REASON_DIMS},
      {!s->grads.n, "gradients of tables are not computed", REASON_FIELD},
      {fits(c), "gradients, and what expressions keep, leave no registers for a tile",
       REASON_DIMS},
  };
  bool takes = rules_hold(rules, (int)(sizeof rules / sizeof *rules), why);
  return bwd_takes(s, why) && takes;
}

bool
bwd_has_pass(const Bwd *s, Pass pass)
{
  return bwd_is_of(pass, s->passes);
}

/* Of the pass's block the rows that stay, and of those that go by a tile's. */
static int
stays(const Bwd *s, Pass pass)
{
  return pass == PASS_DQ ? s->dq_block_m : s->bn;
}

static int
passes_by(const Bwd *s, Pass pass)
{
  return pass == PASS_DQ ? s->dq_block_n : s->bm;
}

static int
pass_warps(const Bwd *s, Pass pass)
{
  return pass == PASS_DQ ? s->dq_warps : s->warps;
}

/* Gradients leave through the box of what they are gradients of; dV alone through that of
 * K, as V is not there. */
SmemLayout
bwd_layout(const Spec *p, const Bwd *s, Pass pass)
{
  SmemLayout l = {.part = {{.rows = 0}}};
  int d = p->head_dim, dv = p->head_dim_v, stay = stays(s, pass), by = passes_by(s, pass);
  bool dq = pass == PASS_DQ;
  l.part[PART_Q] = layout_rows(p, ATTNC_Q, dq ? stay : by, d);
  l.part[PART_DO] = layout_rows(p, ATTNC_O, dq ? stay : by, dv);
  l.part[PART_DO].name = "do";
  l.part[PART_K] =
      layout_rows(p, ATTNC_K, dq ? by : stay, pass == PASS_DV ? largest(d, dv) : d);
  if (pass != PASS_DV)
    l.part[PART_V] = layout_rows(p, ATTNC_V, dq ? by : stay, dv);
  if (dq) {
    l.part[PART_K].stages = l.part[PART_V].stages = s->dq_stages;
    return l;
  }
  l.part[PART_LSE] = layout_column("lse", by);
  if (pass != PASS_DV)
    l.part[PART_DELTA] = layout_column("delta", by);
  if (pass == PASS_FUSED) {
    l.part[PART_P] = layout_rows(p, ATTNC_Q, stay, by);
    l.part[PART_P].name = "ds";
  }
  static const int rings[] = {PART_Q, PART_DO, PART_LSE, PART_DELTA};
  for (size_t i = 0; i < sizeof rings / sizeof *rings; i++)
    l.part[rings[i]].stages = s->stages;
  return l;
}

static int
shared_bytes(const Spec *p, const Bwd *s, Pass pass)
{
  SmemLayout l = bwd_layout(p, s, pass);
  int n = 0;
  for (int i = 0; i < LAYOUT_PARTS; i++)
    n += !l.part[i].rows    ? 0
         : l.part[i].stages ? ring_bytes(&l.part[i])
                            : layout_box(&l, i);
  return n;
}

/* What a thread has of a tile on its way through registers, with its column. */
static int
staged_regs(const Spec *p, const Target *g, const Bwd *s, Pass pass)
{
  SmemLayout l = bwd_layout(p, s, pass);
  bool dq = pass == PASS_DQ;
  int q = layout_box(&l, dq ? PART_K : PART_Q),
      dout = layout_box(&l, dq ? PART_V : PART_DO);
  int most = pass == PASS_FUSED ? q + dout : largest(q, dout);
  return g->cp_async ? 0 : (most / (32 * pass_warps(s, pass)) + 3) / 4 + 2;
}

/* Right operands are loaded for 16 columns: of 8 over, 168/168 on 16x64 spilled 8 bytes. */
static int
pairs_of_8(int cols)
{
  return (cols + 15) / 16 * 16;
}

enum { SLOPE = 12 }; /* 128/128, 48x64 with a softcap spilled 8 bytes */
/* Where rows are keys a mask_mod has no limits of rows, and what a score keeps of a query
 * is a column's: 136/136 on 32x64 with a prefix, on 32x128 with ALiBi, spilled 8 bytes. */
enum { ASKED = 8 };
/* Addresses of a table's elements, which are a row of it apart there: with a bias the pass
 * for dv of 232/232 spilled 80 bytes on sm_90, that for dq of 176/176 16 on sm_75. */
enum { LOADED = 24 };

/* Registers a thread of the gradients that stay, of S and dP, of what of them is the next
 * left operand, of the limits that a mask sets to rows, of expressions and of a sequence.
 * Up to 192 never spilled (ptxas 13.0), 200 spilled 8 bytes. */
static int
live_regs(const Spec *p, const Target *g, const Bwd *s, Pass pass)
{
  int mt = stays(s, pass) / (16 * pass_warps(s, pass)), by = passes_by(s, pass);
  int d = pairs_of_8(p->head_dim), dv = pairs_of_8(p->head_dim_v);
  bool both = pass == PASS_DKDV || pass == PASS_FUSED;
  int sums = both ? d + dv : pass == PASS_DV ? dv : d;
  int scores = pass == PASS_DV ? by / 2 : by;
  int rows = pass == PASS_DQ ? 4 : 0;
  int limits = 2 * (mask_cuts_right(p) + mask_cuts_left(p));
  limits += pass == PASS_FUSED ? 2 : 0; /* the end of the keys */
  bool mods = p->mask_mod.n || !spec_score_is_plain(p);
  int asked = pass != PASS_DQ && mods ? ASKED : 0;
  if (p->score_cost.loads && (pass != PASS_DQ || !g->cp_async))
    asked += LOADED;
  int own = spec_has_lengths(p) ? 4 : 0, slope = spec_score_has_slope(p) ? SLOPE : 0;
  slope *= pass == PASS_FUSED ? 2 : 1; /* 128/128, 32x128 spilled 12 bytes on sm_89 */
  return mt * (sums / 2 + scores + by / 4 + rows + limits + slope) + own + asked +
         fwd_mod_regs(p, 2 * mt) + fwd_drop_regs(p, mt, by) +
         (pass == PASS_FUSED ? 0 : staged_regs(p, g, s, pass));
}

/* While dQ is made: the gradients that stay, its sums and operands, and the next tiles. */
static int
dealt_regs(const Spec *p, const Target *g, const Bwd *s)
{
  int d = pairs_of_8(p->head_dim), dv = pairs_of_8(p->head_dim_v);
  int mt = s->bn / (16 * s->warps), rows = s->bm / deal_rows(s->warps, s->bm, p->head_dim);
  int sums = s->bm * p->head_dim / (32 * s->warps), operands = rows / 2 + 4;
  int own = spec_has_lengths(p) ? 8 : 4; /* 160/160 on 16x64 spilled 12 bytes, packed 16 */
  return mt * (d + dv) / 2 + sums + operands + own + staged_regs(p, g, s, PASS_FUSED);
}

enum { LOADING = 17 };
/* Of warps that have all columns of a tile of dQ: 88/88 on 64x64 spilled 24 bytes. */
enum { WHOLE_ROWS = 16 };
/* At the height of its step.  Without cp.async 56/56 of 64x64 in one pass spilled 4 bytes.
 */
static int
pass_regs(const Spec *p, const Target *g, const Bwd *s, Pass pass)
{
  int regs = live_regs(p, g, s, pass);
  if (pass != PASS_FUSED)
    return regs;
  bool whole = deal_rows(s->warps, s->bm, p->head_dim) == s->warps;
  regs = largest(regs + (g->cp_async ? 0 : LOADING), dealt_regs(p, g, s));
  return regs + (whole ? WHOLE_ROWS : 0);
}

enum { LIVE_MAX = 192, LIVE_STAGED = 166 };

static bool
refuse_pass(const Case *c, const Bwd *s, Pass pass, Why *why)
{
  const Target *g = c->target;
  int stay = stays(s, pass), by = passes_by(s, pass), warps = pass_warps(s, pass);
  int mt = stay / (16 * warps), smem = shared_bytes(c->spec, s, pass);
  int most = g->cp_async ? LIVE_MAX : LIVE_STAGED;
  if (stay % (16 * warps) || mt < 1 || mt > 2)
    return refused(why, "%s: %d rows are not 16 or 32 for each of %d warps",
                   bwd_pass_names[pass], stay, warps);
  if (by % 16 || by < 16 || by > 128)
    return refused(why, "%s: a tile of %d is not a multiple of 16 up to 128",
                   bwd_pass_names[pass], by);
  if (pass == PASS_FUSED && (stay % 32 || !deal_is_even(warps, by, c->spec->head_dim)))
    return refused(why, "%s: %d x %d of dq do not come out even for %d warps",
                   bwd_pass_names[pass], by, c->spec->head_dim, warps);
  int regs = pass_regs(c->spec, g, s, pass);
  if (smem > g->smem_block)
    return refused(why, "%s needs %d bytes of shared memory, %s has %d a block",
                   bwd_pass_names[pass], smem, g->name, g->smem_block);
  if (regs > most)
    return refused(why, "%s takes %d registers a thread, %d is the limit",
                   bwd_pass_names[pass], regs, most);
  return false;
}

bool
bwd_refuse(const Case *c, const Sched *sched, Why *why)
{
  const Bwd *s = bwd_of(sched);
  const Target *g = c->target;
  if (s->passes == 1 && c->spec->deterministic)
    return refused(why, "passes 1: dq is a sum in no order, and the spec is deterministic");
  bool none = !s->dq_block_m && !s->dq_block_n && !s->dq_stages && !s->dq_warps;
  bool all = s->dq_block_m && s->dq_block_n && s->dq_stages && s->dq_warps;
  if (s->passes == 1 ? !none : !all)
    return refused(why, "passes %d: dq_block_m, dq_block_n, dq_stages, dq_warps are %s",
                   s->passes, s->passes == 1 ? "0, of no pass" : "those of a pass");
  if (s->passes == 2 && s->stages < 2)
    return refused(why, "num_stages %d: dk and dv in one pass hold q and do to its end",
                   s->stages);
  if (s->stages < 1 || s->stages > 4)
    return refused(why, "num_stages %d is not in 1 … 4", s->stages);
  if (!g->cp_async && (s->stages > 1 || s->dq_stages > 1))
    return refused(why, "more than one stage needs cp.async, which %s has not", g->name);
  if (s->warps < 1 || s->warps > 16)
    return refused(why, "num_warps %d is not in 1 … 16", s->warps);
  for (int i = 0; i < PASS_COUNT; i++)
    if (bwd_has_pass(s, (Pass)i) && refuse_pass(c, s, (Pass)i, why))
      return true;
  return false;
}

static const SpaceAxis keys_axis = {{"block_m", "block_n", "num_warps"},
                                    12,
                                    {{64, 128, 8},
                                     {48, 128, 8},
                                     {32, 128, 8},
                                     {16, 128, 8},
                                     {64, 64, 4},
                                     {48, 64, 4},
                                     {32, 64, 4},
                                     {16, 64, 4},
                                     {32, 128, 4},
                                     {16, 128, 4},
                                     {32, 32, 2},
                                     {16, 32, 2}}};
static const SpaceAxis passes_axis = {
    {"passes", "num_stages"}, 5, {{2, 2}, {3, 1}, {3, 2}, {1, 1}, {1, 2}}};
static const SpaceAxis queries_axis = {{"dq_block_m", "dq_block_n", "dq_warps"},
                                       13,
                                       {{0, 0, 0},
                                        {128, 64, 8},
                                        {128, 48, 8},
                                        {128, 32, 8},
                                        {128, 16, 8},
                                        {64, 64, 4},
                                        {64, 48, 4},
                                        {64, 32, 4},
                                        {64, 16, 4},
                                        {128, 32, 4},
                                        {128, 64, 4},
                                        {32, 32, 2},
                                        {32, 16, 2}}};
static const SpaceAxis stages_axis = {{"dq_stages"}, 3, {{0}, {1}, {2}}};

const SpaceAxis *const *
bwd_axes(const Case *c)
{
  static const SpaceAxis *const all[] = {&keys_axis, &passes_axis, &queries_axis,
                                         &stages_axis, NULL};
  (void)c;
  return all;
}

Sched
bwd_plain(void)
{
  return bwd_sched((Bwd){.tmpl = &bwd_mma, .stages = 2, .passes = 2, .dq_stages = 1});
}

/* A thread's, with what ptxas 13.0 gives it besides. */
static int
thread_regs(const Spec *p, const Target *g, const Bwd *s, Pass pass)
{
  return least(255, pass_regs(p, g, s, pass) + 60);
}

/* CTAs whose threads have so many registers: each of the four schedulers has a quarter of
 * them for its warps. */
static int
by_registers(const Target *g, int warps, int regs)
{
  int n = 1;
  while ((n + 1) * warps <= g->threads_sm / 32 &&
         g->regs_sm / (32 * 4 * (((n + 1) * warps + 3) / 4)) / 8 * 8 >= regs)
    n++;
  return n;
}

int
bwd_resident(const Spec *p, const Target *g, const Bwd *s, Pass pass)
{
  int threads = 32 * pass_warps(s, pass);
  int by_smem = g->smem_sm / (shared_bytes(p, s, pass) + g->smem_reserved);
  int by_regs = by_registers(g, pass_warps(s, pass), thread_regs(p, g, s, pass));
  int by_threads = g->threads_sm / threads;
  return largest(1, least(least(by_smem, by_regs), least(by_threads, g->blocks_sm)));
}

/* Clocks of a tile's barriers and first bytes, and what one stage adds, as in fwd_mma; and
 * how much of what the less busy units do shows. */
enum { BUBBLE = 160, ONE_STAGE = 50 };
static const double SHOWS = 0.2;

/* Of a tile of dQ: the barrier ahead of it, dS from and to shared memory, K once more, and
 * what is added, which L2 reads and writes.  FlashAttention-3's backward at head_dim 256
 * went from 471 to 747 TFLOP/s on an H200 without its reductions of 64x80 tiles
 * (FlashAttention issues 2888, 2889): 2.4 TB/s if they bound it, half of what L2 reads. */
enum { REDUCE_COST = 2, BARRIER = 40 };

static double
dealt_bytes(const Spec *p, const Bwd *s)
{
  double put = 1.0 * s->bn * s->bm;
  int along = deal_rows(s->warps, s->bm, p->head_dim); /* warps, of the rows */
  double reads = (s->bm * (double)s->warps / along + p->head_dim * along) * s->bn;
  return (put + reads) * dtype_bytes(p->dtype[ATTNC_Q]);
}

static double
tile_clocks(const Case *c, const Bwd *s, Pass pass, bool masked, int ctas)
{
  const Spec *p = c->spec;
  double m = stays(s, pass), n = passes_by(s, pass), warps = pass_warps(s, pass);
  int bytes = dtype_bytes(p->dtype[ATTNC_Q]);
  bool fused = pass == PASS_FUSED;
  double right = n * (bwd_depth(p, pass) - (fused ? p->head_dim : 0)) * bytes;
  double dealt = fused ? dealt_bytes(p, s) : 0;
  double added = fused ? REDUCE_COST * n * p->head_dim * dtype_bytes(DT_F32) : 0;
  double left = m * (p->head_dim + (pass == PASS_DV ? 0 : p->head_dim_v)) * bytes;
  double come = n * (p->head_dim + p->head_dim_v) * bytes;
  double idle = fmax(1, 4.0 / (warps * ctas));
  double per = (masked ? 8 : 4.5) + (pass == PASS_DV ? 0 : 2.5);
  per += 1.5 * fwd_mod_slots(p, masked, NULL) + fwd_drop_slots(p); /* scores, and slopes */
  Units demand = {.of = {
                      [UNIT_MMA] = idle * m * n * bwd_depth(p, pass),
                      [UNIT_MUFU] = idle * m * n,
                      [UNIT_FP32] = idle * m * n * per,
                      [UNIT_SHARED] = warps * right + left + come + dealt,
                      [UNIT_L2] = come + added,
                  }};
  Units unit = units_clocks(c->target, &demand);
  double longest = units_longest(&unit), rest = units_sum(&unit) - longest;
  int stages = pass == PASS_DQ ? s->dq_stages : s->stages;
  double wait = BUBBLE + (fused ? BARRIER : 0) + (stages > 1 ? 0 : ONE_STAGE);
  return longest + SHOWS * rest + wait;
}

/* Blocks of keys see as many tiles of queries as blocks of queries of the same size see of
 * keys, give or take a tile: the forward's count of tiles serves for both. */
static double
pass_clocks(const Case *c, const Sched *sched, Pass pass)
{
  const Bwd *s = bwd_of(sched);
  Sched like = *sched;
  like.bm = stays(s, pass);
  like.bn = passes_by(s, pass);
  Partition part = partition_aside(NULL, &like);
  int ctas = cost_resident(c, &part, bwd_resident(c->spec, c->target, s, pass));
  double row = (double)dtype_bytes(c->spec->dtype[ATTNC_Q]) / c->target->l2_clk;
  double ends = 2 * like.bm * (c->spec->head_dim + c->spec->head_dim_v) * row;
  BlockClocks clocks = {.full = tile_clocks(c, s, pass, false, ctas),
                        .partial = tile_clocks(c, s, pass, true, ctas),
                        .block = COST_BLOCK / (double)ctas,
                        .start = (COST_LAUNCH + COST_GLOBAL + ends) / ctas,
                        .empty = (COST_LAUNCH + COST_GLOBAL) / (double)ctas};
  return cost_clocks(c, &part, &clocks);
}

SchedCost
bwd_cost(const Case *c, const Sched *sched)
{
  const Bwd *s = bwd_of(sched);
  Case k = cost_assume(c);
  SchedCost r = {.ctas_sm = 32};
  if (bwd_refuse(c, sched, NULL)) /* whose tiles no warps may have */
    return r;
  for (int i = 0; i < PASS_COUNT; i++) {
    if (!bwd_has_pass(s, (Pass)i))
      continue;
    r.smem = largest(r.smem, shared_bytes(c->spec, s, (Pass)i));
    r.regs = largest(r.regs, thread_regs(c->spec, c->target, s, (Pass)i));
    r.ctas_sm = least(r.ctas_sm, bwd_resident(c->spec, c->target, s, (Pass)i));
    r.cycles += pass_clocks(&k, sched, (Pass)i);
  }
  if (bwd_has_pass(s, PASS_FUSED))
    r.cycles += bwd_sums_clocks(&k);
  return r;
}

Sched
bwd_initial(const Case *c)
{
  /* block_m, block_n, warps, stages, passes; dq_block_m, dq_block_n, dq_warps */
  static const int wish[][8] = {
      {64, 128, 8, 2, 2, 128, 64, 8}, {48, 128, 8, 2, 2, 128, 64, 8},
      {32, 128, 8, 2, 2, 128, 64, 8}, {16, 128, 8, 2, 2, 128, 32, 8},
      {32, 64, 4, 2, 2, 64, 64, 4},   {16, 64, 4, 2, 2, 64, 32, 4},
      {32, 64, 4, 2, 3, 64, 32, 4},   {32, 64, 4, 1, 3, 64, 32, 4},
      {16, 64, 4, 1, 3, 64, 16, 4},   {16, 32, 2, 1, 3, 32, 16, 2},
  };
  Sched s = bwd_plain();
  for (size_t i = 0; i < sizeof wish / sizeof *wish; i++) {
    const int *w = wish[i];
    Bwd b = {.tmpl = &bwd_mma, .bm = w[0], .bn = w[1], .warps = w[2], .stages = w[3]};
    b.passes = w[4];
    b.dq_block_m = w[5];
    b.dq_block_n = w[6];
    b.dq_warps = w[7];
    b.dq_stages = 1;
    s = bwd_sched(b);
    if (!bwd_refuse(c, &s, NULL))
      break;
  }
  return s;
}
