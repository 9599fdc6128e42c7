/* fwd_mma: one block of queries per CTA, mma.sync, K and V in rings of cp.async stages, or
 * on their way through registers where there is no cp.async (sm_75).
 * Dao, FlashAttention-2 (2023), algorithm 1.  S and P never leave the registers. */
#include "templates/beside.h"
#include "templates/cascade.h"
#include "templates/classes.h"
#include "templates/cost.h"
#include "templates/extremes.h"
#include "templates/fwd.h"
#include "templates/items.h"
#include "templates/layout.h"
#include "templates/partition.h"
#include "templates/softmax.h"
#include "templates/units.h"

#include <math.h>

/* ---- options, applicable, space, cost ---- */

#define OPTIONS(X)                                                                         \
  X(q_in_regs, BOOL, 0, 1, NULL, KEEP, "true", "Keep q in registers.")                     \
  X(warps_n, INT, 1, 4, NULL, KEEP, "2",                                                   \
    "Warps that have the same rows: parts of a tile's keys, and of head_dim_v.")           \
  ITEMS_OPTION(X)                                                                          \
  CLASSES_OPTION(X)
SCHED_TYPE(Mma, OPTIONS, mma_of, sched_of)
static const SchedField options[] = {OPTIONS(SCHED_ROW)};

/* Of head_dim 512: 32 rows of q, k and v, and room to exchange. */
enum { ROOM_WIDE = 99 << 10 };

/* Has O, or S, more columns than one warp can have of it? */
static bool
wide(const Spec *s)
{
  return s->head_dim > 256 || s->head_dim_v > 256;
}

static bool
applicable(const Case *c, Why *why)
{
  const Spec *s = c->spec;
  Dtype ty = s->dtype[ATTNC_Q];
  const ProductInfo *p = target_product(c->target, false);
  const Rule rules[] = {
      {spec_one_dtype(s), "q, k, v and o must have one dtype", REASON_DTYPE},
      {product_takes(p, ty, false) && product_takes(p, ty, true),
       "the target's mma does not multiply this dtype", REASON_DTYPE},
      {!wide(s) || c->target->smem_block >= ROOM_WIDE,
       "head_dim or head_dim_v above 256 takes 99 KB of shared memory", REASON_DIMS},
  };
  bool takes = rules_hold(rules, (int)(sizeof rules / sizeof *rules), why);
  return fwd_takes(s, why) && takes;
}

extern const Template fwd_mma;

static const SpaceAxis rows = {
    {"block_m", "num_warps"}, 5, {{64, 4}, {128, 4}, {128, 8}, {32, 2}, {64, 2}}};
/* Where it has, warps share rows, each with 16 keys of a tile. */
static const SpaceAxis shared = {
    {"block_m", "block_n", "num_warps", "warps_n"},
    4,
    {{64, 32, 8, 2}, {32, 32, 4, 2}, {64, 64, 8, 4}, {32, 64, 4, 4}}};
/* Without cp.async, of more columns of O than FEW_COLUMNS: others take too many registers.
 * Of half the columns there is room for what masks ask of each element. */
enum { FEW_COLUMNS = 192 };
static const SpaceAxis broad = {{"block_m", "block_n", "num_warps", "warps_n"},
                                7,
                                {{64, 32, 4, 1},
                                 {128, 32, 8, 1},
                                 {32, 32, 2, 1},
                                 {64, 16, 4, 1},
                                 {128, 16, 8, 1},
                                 {32, 16, 2, 1},
                                 {32, 32, 4, 2}}};
static const SpaceAxis keys_ahead = {{"block_n"}, 4, {{32}, {64}, {96}, {128}}};
static const SpaceAxis keys_at_once = {{"block_n"}, 5, {{32}, {64}, {96}, {128}, {16}}};
static const SpaceAxis stages = {{"num_stages"}, 3, {{1}, {2}, {3}}};
static const SpaceAxis q_place = {{"q_in_regs"}, 2, {{false}, {true}}};
static const SpaceAxis order = {{"device_items"}, 2, {{false}, {true}}};
static const SpaceAxis lists = {{"classes"}, 2, {{CLASSES_INTERVALS}, {CLASSES_STEP}}};

/* Without cp.async there is one stage, and room for 16 keys alone. */
static const SpaceAxis *const *
axes(const Case *c)
{
  static const SpaceAxis *const of_broad[3][4] = {
      {&broad, &q_place}, {&broad, &q_place, &order}, {&broad, &q_place, &lists}};
  static const SpaceAxis *const all[3][2][2][6] = {
      {{{&rows, &keys_at_once, &q_place}, {&rows, &keys_ahead, &stages, &q_place}},
       {{&shared, &q_place}, {&shared, &stages, &q_place}}},
      {{{&rows, &keys_at_once, &q_place, &order},
        {&rows, &keys_ahead, &stages, &q_place, &order}},
       {{&shared, &q_place, &order}, {&shared, &stages, &q_place, &order}}},
      {{{&rows, &keys_at_once, &q_place, &lists},
        {&rows, &keys_ahead, &stages, &q_place, &lists}},
       {{&shared, &q_place, &lists}, {&shared, &stages, &q_place, &lists}}}};
  int ahead = spec_has_lengths(c->spec) ? 1 : classes_are_open(c->spec) ? 2 : 0;
  if (!c->target->cp_async && c->spec->head_dim_v > FEW_COLUMNS)
    return of_broad[ahead];
  return all[ahead][wide(c->spec)][c->target->cp_async];
}

static Sched
plain(void)
{
  return sched_of((Mma){.tmpl = &fwd_mma, .stages = 1, .warps_n = 1});
}

/* The load whose table comes tile by tile, with V; NULL: there is none, or each element is
 * read where it stands: cp.async alone brings what is not aligned, warps that share rows
 * have parts of the columns, and tiles that begin with a row's first key begin anywhere. */
static const Expr *
beside(const Spec *p, const Target *g, const Sched *s)
{
  bool aligned = !mask_cuts_left(p) || !mask_is_one_range(p) || p->dropout;
  bool copied = g->cp_async && mma_of(s)->warps_n == 1;
  return aligned && copied ? spec_score_tile(p) : NULL;
}

static SmemLayout
layout(const Spec *p, const Target *g, const Sched *s)
{
  SmemLayout l = {.part = {[PART_Q] = layout_rows(p, ATTNC_Q, s->bm,
                                                  largest(p->head_dim, p->head_dim_v)),
                           [PART_K] = layout_rows(p, ATTNC_K, s->bn, p->head_dim),
                           [PART_V] = layout_rows(p, ATTNC_V, s->bn, p->head_dim_v)}};
  l.part[PART_K].stages = l.part[PART_V].stages = s->stages;
  const Expr *table = beside(p, g, s);
  if (table) {
    l.part[PART_TABLE] = layout_table(p, table, s->bm, s->bn);
    l.part[PART_TABLE].stages = s->stages;
  }
  if (mma_of(s)->warps_n > 1)
    l.part[PART_EXCHANGE] = layout_exchange(p, mma_of(s)->warps_n, s->bm, s->bn);
  return l;
}

static int
shared_bytes(const Spec *p, const Target *g, const Sched *s)
{
  SmemLayout l = layout(p, g, s);
  return layout_bytes(&l);
}

/* Blocks of rows of the product that a warp has. */
static int
warp_blocks(const Sched *s)
{
  return s->bm * mma_of(s)->warps_n / (product_info[MMA_K16].rows * s->warps);
}

/* Of so many columns of a tile those that a warp has. */
static int
warp_cols(const Sched *s, int cols)
{
  int n = mma_of(s)->warps_n;
  return n == 1 ? cols : ((cols + n - 1) / n + 15) / 16 * 16;
}

/* What a thread has of the larger tile of K and V on its way through registers, beside P: a
 * few less than 166 together, or ptxas spills (13.0, sm_75). */
static int
staged_regs(const Spec *p, const Target *g, const Sched *s)
{
  SmemLayout l = layout(p, g, s);
  int most = largest(layout_box(&l, PART_K), layout_box(&l, PART_V));
  int pw = fwd_left_regs(p->dtype[ATTNC_Q], warp_blocks(s), s->bn);
  return (most / (32 * s->warps) + 3) / 4 + pw + 6;
}

/* A sequence's end and first row: more where copies on their way have them too; and where
 * pages are what finds them, the offsets of those that are being copied and, without
 * cp.async, of those that were: 128x128 on 8 warps of sm_75 spilled with less. */
static int
seqlens_regs(const Spec *p, const Target *g)
{
  int own = spec_has_seqlens(p) || p->page_table ? (g->cp_async ? 4 : 2) : 0;
  return own + (!p->page_table ? 0 : g->cp_async ? 6 : 16);
}

/* Registers a thread of O, S, (if kept there) Q, of the limits that a mask sets to its
 * rows, and of a sequence.  Up to 166 never spilled on sm_80, 86, 89, 90 and 120 alike
 * (ptxas 13.0); a window at head_dim 96, 128x64 on 4 warps, is 168 and spilled 24 bytes. */
static int
live_regs(const Spec *p, const Target *g, const Sched *s)
{
  int mt = warp_blocks(s);
  int q = mma_of(s)->q_in_regs ? fwd_left_regs(p->dtype[ATTNC_Q], mt, p->head_dim) : 0;
  int limits = 2 * mt * (mask_cuts_right(p) + mask_cuts_left(p));
  int staged = g->cp_async ? 0 : staged_regs(p, g, s);
  int whole = mma_of(s)->warps_n > 1 ? fwd_left_regs(p->dtype[ATTNC_Q], mt, s->bn) : 0;
  int scores = largest(mt * warp_cols(s, s->bn) / 2, whole);
  /* With copies on their way head_dim 256 has none left: expressions spill there. */
  int mods = g->cp_async ? fwd_mod_regs(p, 2 * mt) : fwd_beside_regs(p);
  return mt * warp_cols(s, p->head_dim_v) / 2 + scores + q + limits + staged + mods +
         seqlens_regs(p, g) + fwd_drop_regs(p, mt, warp_cols(s, s->bn));
}

enum { LIVE_MAX = 166 };

static bool
refuse(const Case *c, const Sched *s, Why *why)
{
  const Target *g = c->target;
  const ProductInfo *p = target_product(g, false);
  int smem, regs, n = mma_of(s)->warps_n;
  if (s->warps < 2 || s->warps > 16)
    return refused(why, "num_warps %d is not in 2 … 16", s->warps);
  if (n < 1 || n == 3 || n > 4 || s->warps % n)
    return refused(why, "warps_n %d is not 1, 2 or 4 of %d warps", n, s->warps);
  if (s->bm % (p->rows * s->warps / n) || warp_blocks(s) < 1 || warp_blocks(s) > 4)
    return refused(why, "block_m %d is not 1 to 4 times %d rows for each of %d warps",
                   s->bm, p->rows, s->warps / n);
  if (fwd_refuse_keys(c->spec, s->bn, s->stages, why) || fwd_refuse_lists(c->spec, s, why))
    return true;
  if (n > 1 && s->bn != 16 * n) /* with 32 keys ptxas 13.0 spilled 8 to 16 bytes */
    return refused(why, "block_n %d is not %d: 16 keys for each of the %d warps of a row",
                   s->bn, 16 * n, n);
  if (items_refuse(c->spec, mma_of(s)->device_items, why) ||
      classes_refuse(c->spec, s, (Classes)mma_of(s)->classes, 1, why))
    return true;
  smem = shared_bytes(c->spec, c->target, s);
  regs = live_regs(c->spec, g, s);
  if (s->stages > 1 && !g->cp_async)
    return refused(why, "num_stages %d needs cp.async, which %s has not", s->stages,
                   g->name);
  if (fwd_refuse_shared(c, smem, why))
    return true;
  if (regs > LIVE_MAX)
    return refused(why,
                   "O, S, Q and row limits take %d registers a thread, %d is the limit",
                   regs, LIVE_MAX);
  return false;
}

/* A thread's, with what ptxas 13.0 gives it besides. */
static int
thread_regs(const Spec *p, const Target *g, const Sched *s)
{
  return least(255, live_regs(p, g, s) + 64);
}

/* Blocks of a multiprocessor, were there registers enough. */
static int
resident_but_for_regs(const Spec *p, const Target *g, const Sched *s)
{
  int by_smem = g->smem_sm / (shared_bytes(p, g, s) + g->smem_reserved);
  int by_threads = g->threads_sm / (32 * s->warps);
  return largest(1, least(by_smem, least(by_threads, g->blocks_sm)));
}

static int
resident(const Spec *p, const Target *g, const Sched *s)
{
  int by_regs = g->regs_sm / (thread_regs(p, g, s) * 32 * s->warps);
  return largest(1, least(by_regs, resident_but_for_regs(p, g, s)));
}

/* ptxas does not know how many blocks shared memory lets in: where a few registers less
 * would make room for one more it spills 4 to 32 bytes for it.  There it is told how many
 * there are.  Not elsewhere: with a word it takes all registers that leaves, and spilled
 * where those were short; nor where expressions take registers that are not counted. */
static void
say_resident(Tb *t, const Spec *p, const Sched *s)
{
  enum { FEW = 16, UNIT = 8 }; /* registers are given out by eights */
  const Target *g = t_target(t);
  int regs = thread_regs(p, g, s), threads = 32 * s->warps;
  int given = (regs + UNIT - 1) / UNIT * UNIT, more = g->regs_sm / (given * threads) + 1;
  int n = resident_but_for_regs(p, g, s);
  bool tempting = regs - g->regs_sm / (more * threads) <= FEW || p->dropout;
  bool counted = spec_score_is_plain(p) && !p->mask_mod.n;
  if (g->cp_async && n < more && tempting && counted)
    t_resident(t, n);
}

/* Which CTA has which block.  sm_75 has so few multiprocessors that head after head they
 * have 2 % less than the busiest one, and no registers to spare for a quotient; blocks that
 * a first launch lists have that one's order. */
static Scheduler
scheduler(const Spec *p, const Target *g, const Sched *s)
{
  bool listed = mma_of(s)->device_items || mma_of(s)->classes == CLASSES_STEP;
  bool sections = g->cp_async && !listed && partition_has_sections(p);
  return sections ? SCHED_SECTIONS : SCHED_ASIDE;
}

/* Clocks of a tile's barriers and first bytes, and what one stage adds; and how much of
 * what the less busy units do is not hidden behind the busiest, by who else is resident.
 * Fitted to the simulation that cost.h names: within 16 % of it for 28 kernels, sm_80. */
enum { BUBBLE = 160, ONE_STAGE = 50 };
enum { EXCHANGE = 120 }; /* two barriers more where warps share rows, estimated */
static const double SHOWS_OF_MANY = 0.1, SHOWS_OF_EIGHT_WARPS = 0.17, SHOWS_OF_FEW = 0.3;

static double
shows(const Sched *s, int ctas)
{
  return ctas > 1 ? SHOWS_OF_MANY : s->warps >= 8 ? SHOWS_OF_EIGHT_WARPS : SHOWS_OF_FEW;
}

/* Clocks of one tile.  A warp reads all of K and V from shared memory for its 16 · mt rows,
 * so that two blocks of rows a warp halve the traffic. */
static double
tile_clocks(const Case *c, const Sched *s, bool masked, int ctas)
{
  double m = s->bm, n = s->bn, d = c->spec->head_dim, dv = c->spec->head_dim_v;
  int bytes = dtype_bytes(c->spec->dtype[ATTNC_Q]);
  int share = mma_of(s)->warps_n; /* of K and V a warp reads its part, of Q its rows */
  double kv = n * (d + dv) * bytes, q = mma_of(s)->q_in_regs ? 0 : share * m * d * bytes;
  double p = share > 1 ? (share + 1) * m * n * bytes : 0;
  double idle = fmax(1, 4.0 / (s->warps * ctas)); /* a warp has a quarter's units */
  const Expr *load = beside(c->spec, c->target, s);
  double per = masked ? 8 : 5.5, mods = fwd_mod_slots(c->spec, masked, load);
  double table = load ? m * n * fwd_table_bytes(c->spec, load) : 0;
  double drop = fwd_drop_slots(c->spec);
  Units demand = {.of = {
                      [UNIT_MMA] = idle * m * n * (d + dv),
                      [UNIT_MUFU] = idle * m * n,
                      [UNIT_FP32] = idle * (m * n * (per + mods + drop) + m * dv),
                      [UNIT_SHARED] = s->warps * kv / share + kv + q + p + 2 * table,
                      [UNIT_L2] = kv + table,
                  }};
  Units unit = units_clocks(c->target, &demand);
  double longest = units_longest(&unit), rest = units_sum(&unit) - longest;
  double bubble = BUBBLE + (s->stages > 1 ? 0 : ONE_STAGE) + (share > 1 ? EXCHANGE : 0);
  return longest + shows(s, ctas) * rest + bubble;
}

static BlockClocks
block_clocks(const Case *c, const Sched *s, int ctas)
{
  const Spec *p = c->spec;
  double row = (double)dtype_bytes(p->dtype[ATTNC_Q]) / c->target->l2_clk;
  double q = s->bm * p->head_dim * row, o = s->bm * p->head_dim_v * row;
  double k = s->bn * p->head_dim * row;
  return (BlockClocks){.full = tile_clocks(c, s, false, ctas),
                       .partial = tile_clocks(c, s, true, ctas),
                       .block = COST_BLOCK / (double)ctas,
                       .start = (COST_LAUNCH + COST_GLOBAL + q + k + o) / ctas,
                       .empty = (COST_LAUNCH + COST_GLOBAL) / (double)ctas};
}

/* With copies on their way what a score reads by what another table holds may be spilled:
 * T5's 32x96 on 2 warps, 32 bytes; and what a mask reads for each element: Gemma 3's
 * images, 64x16 at head_dim 256, 156 bytes (ptxas 13.0, sm_75).  Estimated. */
enum { STAGED_CHAINED = 24, STAGED_ASKED = 8 };
static const double SPILLED = 1.5;

static double
spilled(const Case *c, const Sched *s)
{
  const Spec *p = c->spec;
  int more = p->score_cost.chained ? STAGED_CHAINED : p->mask_cost.loads ? STAGED_ASKED : 0;
  bool staged = !c->target->cp_async && more;
  return staged && live_regs(p, c->target, s) + more > LIVE_MAX ? SPILLED : 1;
}

static SchedCost
cost(const Case *c, const Sched *s)
{
  Case k = cost_assume(c);
  Partition p = partition_aside(NULL, s);
  p.scheduler = scheduler(c->spec, c->target, s);
  p.listed = mma_of(s)->device_items;
  p.by_step = mma_of(s)->classes == CLASSES_STEP;
  SchedCost r = {.smem = shared_bytes(c->spec, c->target, s)};
  r.regs = thread_regs(c->spec, c->target, s);
  r.ctas_sm = resident(c->spec, c->target, s);
  BlockClocks clocks = block_clocks(&k, s, cost_resident(&k, &p, r.ctas_sm));
  r.cycles = cost_clocks(&k, &p, &clocks);
  r.cycles *= spilled(c, s);
  return r;
}

static Sched
first_legal(const Case *c, const Mma *wish, int n)
{
  Sched s = {0};
  for (int i = 0; i < n; i++) {
    Mma m = wish[i];
    m.tmpl = &fwd_mma;
    m.warps_n = m.warps_n ? m.warps_n : 1;
    s = sched_of(m);
    if (!refuse(c, &s, NULL))
      break;
  }
  return s;
}

/* As FlashAttention-2's tables, within this register model: 128 rows where they fit. */
static Sched
initial(const Case *c)
{
  static const Mma wish[] = {
      {.bm = 128, .bn = 64, .stages = 2, .warps = 4, .q_in_regs = true},
      {.bm = 128, .bn = 64, .stages = 1, .warps = 4, .q_in_regs = false},
      {.bm = 128, .bn = 64, .stages = 1, .warps = 8, .q_in_regs = true},
      {.bm = 128, .bn = 64, .stages = 1, .warps = 8, .q_in_regs = false},
      {.bm = 64, .bn = 64, .stages = 1, .warps = 4, .q_in_regs = true},
      {.bm = 64, .bn = 64, .stages = 1, .warps = 4, .q_in_regs = false},
      {.bm = 64, .bn = 32, .stages = 1, .warps = 4, .q_in_regs = false},
      {.bm = 32, .bn = 32, .stages = 1, .warps = 2, .q_in_regs = false},
      {.bm = 32, .bn = 16, .stages = 1, .warps = 2, .q_in_regs = false},
      {.bm = 64, .bn = 16, .stages = 1, .warps = 4, .q_in_regs = false},
      /* Of head_dim 256, where expressions and pages leave O no registers but half. */
      {.bm = 64, .bn = 32, .stages = 1, .warps = 8, .warps_n = 2},
      {.bm = 32, .bn = 32, .stages = 1, .warps = 4, .warps_n = 2},
  };
  static const Mma sharing[] = {
      {.bm = 64, .bn = 32, .stages = 1, .warps = 8, .warps_n = 2},
      {.bm = 32, .bn = 32, .stages = 1, .warps = 4, .warps_n = 2},
  };
  return wide(c->spec) ? first_legal(c, sharing, (int)(sizeof sharing / sizeof *sharing))
                       : first_legal(c, wish, (int)(sizeof wish / sizeof *wish));
}

/* ---- emit ---- */

typedef struct Cta {
  const Call *p; /* as the block's sequence sees it */
  const Sched *s;
  WorkTile w; /* which block: batch, heads, first query */
  Walk kv;    /* the key tiles that it sees */
  Ring *k, *v;
  Tile *ids; /* of pages of the last tile of K that was fetched; NULL: there are none */
  Beside beside;
  Smem qs; /* Q in shared memory; O leaves through it */
  Opnd q;  /* qs, or registers */
  Softmax sm;
  Tile *acc;
  Tile drops; /* NULL: no weight is dropped */
} Cta;

static View
keys(const Cta *c, const Tensor *x, TileIter j)
{
  return w_tile(seq_keys(&c->w.seq, x, c->w.hk, j.k0, c->s->bn), j);
}

static View
queries(const Cta *c, const Tensor *x)
{
  return seq_queries(&c->w.seq, x, c->w.h, c->w.q0, c->s->bm);
}

/* Of rows in pages these are known before they are copied. */
static Tile
page_ids(Tb *t, const Cta *c, const Tensor *x, TileIter j)
{
  return seq_has_pages(c->p) ? t_page_ids(t, keys(c, x, j), j.is) : NULL;
}

static void
fetch_k(Tb *t, const Cta *c, TileIter j, Tile ids)
{
  t_producer_load(t, c->k, .src = v_page_ids(keys(c, c->p->k, j), ids), .when = &j.is);
  if (ids && c->ids)
    *c->ids = ids;
}

static void
fetch_table(Tb *t, const Cta *c, TileIter j)
{
  if (!c->beside.load)
    return;
  View v = beside_view(&c->beside, &c->w, j.k0, c->s->bm);
  if (!j.in_bounds)
    v = v_cols_until(v, c->p->sk);
  t_producer_load(t, c->beside.ring, .src = v, .when = &j.is);
}

/* With its tile of the table, which is there when it is: that is the older copy. */
static void
fetch_v(Tb *t, const Cta *c, TileIter j, Tile ids)
{
  fetch_table(t, c, j);
  View v = v_page_ids(w_seen(keys(c, c->p->v, j), j), ids);
  t_producer_load(t, c->v, .src = v, .when = &j.is);
}

/* The pages of V's tile are those of K's, which is fetched next before it, or its own. */
static Tile
v_ids(Tb *t, const Cta *c, TileIter j)
{
  return c->ids ? *c->ids : page_ids(t, c, c->p->v, j);
}

/* S = QKᵀ, online softmax, O += PV for one tile of keys, while later tiles are on their
 * way: once K(j) is here, V(j+n−1) may go where V(j−1) was, and so on. */
static void
step(Tb *t, Cta *c, TileIter j)
{
  int n = c->s->stages;
  TileIter jv = w_ahead(&c->kv, j, n - 1), jk = w_ahead(&c->kv, j, n);
  At at = {.q = c->w.q0, .k = j.k0, .b = c->w.b, .h = c->w.h, .hk = c->w.hk};
  Tile correction;

  Tile of_v = v_ids(t, c, jv);
  Tile of_k = page_ids(t, c, c->p->k, jk);
  Slot k = t_consumer_wait(t, c->k);
  fetch_v(t, c, jv, of_v);
  Tile x = t_dot(t, c->q, s_trans(k.s));
  t_consumer_release(t, k);
  Slot v = t_consumer_wait(t, c->v);
  fetch_k(t, c, jk, of_k);
  x = beside_scores(t, &c->beside, c->p, x, at, j, i_int(0), c->s->bm);
  Tile w = softmax_step(t, &c->sm, x, fwd_may_hide(c->p, j), &correction);
  Tile o = t_mul(t, *c->acc, correction);
  w = t_cvt(t, w, c->p->dt);
  Tile drop = fwd_drop(t, c->drops, c->s->bm, c->s->bn, at);
  w = fwd_keep(t, drop, w);
  w = t_allgather_cols(t, w);
  *c->acc = t_dot_acc(t, o, w, v.s);
  t_consumer_release(t, v);
}

/* Q, and the first tiles: K(0), V(0), K(1), V(1), … as far as there are stages. */
static void
start(Tb *t, Cta *c)
{
  TileIter j = w_first(&c->kv);
  Tile ids = page_ids(t, c, c->p->k, j);
  if (seq_shares_pages(c->p))
    c->ids = t_var(t, ids);
  t_copy(t, c->qs, queries(c, c->p->q));
  fetch_k(t, c, j, ids);
  for (int i = 1; i < c->s->stages; i++) {
    TileIter jv = w_ahead(&c->kv, j, i - 1), jk = w_ahead(&c->kv, j, i);
    Tile of_v = v_ids(t, c, jv);
    Tile of_k = page_ids(t, c, c->p->k, jk);
    fetch_v(t, c, jv, of_v);
    fetch_k(t, c, jk, of_k);
  }
  c->q = OP(s_cols(c->qs, c->p->d));
  if (mma_of(c->s)->q_in_regs) {
    t_copy_wait(t);
    Tile q = t_get(t, s_cols(c->qs, c->p->d));
    c->q = OP(q);
  }
}

/* Over its own rows of Q, which no other warp reads. */
static void
put_out(Tb *t, const Cta *c, const Tensor *to, Tile o)
{
  o = t_cvt(t, o, c->p->dt);
  t_put(t, c->qs, o);
  t_copy_out(t, queries(c, to), c->qs);
}

static void
write_o(Tb *t, const Cta *c, Tile o)
{
  const Tensor *lo = c->p->at[ATTNC_O_LO];
  put_out(t, c, c->p->o, o);
  if (!lo)
    return;
  Tile rest = t_residual(t, o, c->p->dt);
  t_sync(t); /* rows of o leave by any warp */
  put_out(t, c, lo, rest);
}

static void
finish(Tb *t, Cta *c)
{
  WorkTile w = c->w;
  At at = {.q = w.q0, .b = w.b, .h = w.h, .hk = w.hk};
  Tile lse, inv = fwd_end(t, c->p, &c->sm, c->s->bm, at, &lse);
  Tile o = t_mul(t, *c->acc, inv);
  if (!fwd_state_out(t, c->p, queries(c, c->p->o), o))
    write_o(t, c, o);
  if (c->p->lse)
    t_store_rows(t, queries(c, c->p->lse), lse);
}

static void
block(Tb *t, const Partition *part, Cta *c)
{
  const Sched *s = c->s;
  Walk keys = partition_keys(t, part, &c->w);
  c->kv = t_walk(t, &keys, s->stages);
  start(t, c);
  c->sm = softmax_new(t, s->bm, !spec_score_is_plain(c->p->spec));
  Tile zero = t_zero(t, s->bm, c->p->dv);
  c->acc = t_var(t, zero);
  c->drops = fwd_drop_state(t, c->p, c->w.b, c->w.h);
  T_FOR_TILES (t, j, &c->kv)
    step(t, c, j);
  finish(t, c);
}

static void
forward(Tb *t, const Call *p, const Sched *s, const Partition *host)
{
  Cta c = {.s = s};
  Partition part = *host;
  part.call = p;
  part.scheduler = scheduler(p->spec, t_target(t), s);
  say_resident(t, p->spec, s);
  c.w = partition_alone(t, &part);
  c.p = c.w.seq.call;
  SmemLayout l = layout(p->spec, t_target(t), s);
  c.qs = layout_smem(t, &l, PART_Q);
  c.k = layout_ring(t, &l, PART_K);
  c.v = layout_ring(t, &l, PART_V);
  c.beside = beside_new(t, p, beside(p->spec, t_target(t), s), &l);
  if (mma_of(s)->warps_n > 1)
    t_exchange(t, layout_smem(t, &l, PART_EXCHANGE));
  T_WORK (t, c.w.is)
    block(t, &part, &c);
}

static void
attend(Build *b, const Call *call, const Sched *s, Ahead *ahead)
{
  attend_ahead(b, call, ahead);
  Partition host = partition_aside(call, s);
  host.items =
      items_entry(b, &host, mma_of(s)->device_items && spec_has_lengths(call->spec));
  host.classes = classes_entries(b, &host, (Classes)mma_of(s)->classes);
  const char *name = host.items || host.classes ? "forward" : NULL;
  T_ENTRY (b, t, name, .warps = s->warps, .warps_n = mma_of(s)->warps_n)
    forward(t, t_call(t), s, &host);
}

static void
print(const Sched *s, Str *out)
{
  str_printf(out, "fwd_mma %dx%d, %d warps, %d stage%s, Q in %s", s->bm, s->bn, s->warps,
             s->stages, s->stages == 1 ? "" : "s",
             mma_of(s)->q_in_regs ? "registers" : "shared memory");
  if (mma_of(s)->warps_n > 1)
    str_printf(out, ", %d warps a row", mma_of(s)->warps_n);
  if (mma_of(s)->device_items)
    str_put(out, ", longest blocks first");
  if (mma_of(s)->classes == CLASSES_STEP)
    str_put(out, ", tiles listed by a first step");
}

const Template fwd_mma = {
    .name = "fwd_mma",
    .what = "FlashAttention-2 on mma.sync: sm_75 and up",
    .revision = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .applicable = applicable,
    .axes = axes,
    .plain = plain,
    .refuse = refuse,
    .cost = cost,
    .initial = initial,
    .emit = cascade_emit,
    .attend = attend,
    .print = print,
    .codegen_level = 2,
};
