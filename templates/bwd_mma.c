/* bwd_mma: gradients by mma.sync, without atomics: a pass over blocks of keys, which keep
 * dK and dV of their rows in registers while queries go by, and one over blocks of queries
 * for dQ, each of which computes the scores again (Dao, FlashAttention-2, 2023, algorithm
 * 2, in two).  Each element is the sum of one thread in one order.
 *
 * A warp has 16 rows, or a multiple, of its block: keys in the pass over keys, where scores
 * are Sᵀ = K Qᵀ, so that Pᵀ and dSᵀ are left operands as they stand, and no warp needs what
 * another one has.  Query heads that share a key head follow each other in one CTA. */
#include "templates/bwd.h"
#include "templates/cost.h"
#include "templates/extremes.h"
#include "templates/fwd.h"
#include "templates/layout.h"
#include "templates/partition.h"
#include "templates/units.h"

#include <math.h>

/* ---- options, applicable, space, cost ---- */

#define OPTIONS(X)                                                                         \
  X(passes, INT, 2, 3, NULL, KEEP, "2",                                                    \
    "Passes over q, k and v: dk and dv in one, or in one each, and dq.")                   \
  X(dq_block_m, INT, 16, 256, NULL, KEEP, "128",                                           \
    "Rows of q of a block of the pass for dq.")                                            \
  X(dq_block_n, INT, 16, 256, NULL, KEEP, "64", "Keys of a tile of the pass for dq.")      \
  X(dq_stages, INT, 1, 4, NULL, KEEP, "1", "Depth of the rings of the pass for dq.")       \
  X(dq_warps, INT, 1, 16, NULL, KEEP, "8", "Warps of a block of the pass for dq.")
SCHED_TYPE(Bwd, OPTIONS, bwd_of, sched_of)
static const SchedField options[] = {OPTIONS(SCHED_ROW)};

extern const Template bwd_mma;

static Sched initial(const Case *);
static bool refuse(const Case *, const Sched *, Why *);

/* Is any schedule legal? */
static bool
fits(const Case *c)
{
  Sched s = initial(c);
  return !refuse(c, &s, NULL);
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
      {s->head_dim <= 256 && s->head_dim_v <= 256, "head_dim or head_dim_v is above 256",
       REASON_DIMS},
      {!s->grads.n, "gradients of tables are not computed", REASON_FIELD},
      {fits(c), "gradients, and what expressions keep, leave no registers for a tile",
       REASON_DIMS},
  };
  bool takes = rules_hold(rules, (int)(sizeof rules / sizeof *rules), why);
  return bwd_takes(s, why) && takes;
}

/* A pass, by what it gives. */
typedef enum Pass { PASS_DKDV, PASS_DV, PASS_DK, PASS_DQ, PASS_COUNT } Pass;
static const char *const pass_names[PASS_COUNT] = {"dkdv", "dv", "dk", "dq"};

static bool
has_pass(const Bwd *s, Pass pass)
{
  return pass == PASS_DQ || (pass == PASS_DKDV) == (s->passes == 2);
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
static SmemLayout
layout(const Spec *p, const Bwd *s, Pass pass)
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
  static const int rings[] = {PART_Q, PART_DO, PART_LSE, PART_DELTA};
  for (size_t i = 0; i < sizeof rings / sizeof *rings; i++)
    l.part[rings[i]].stages = s->stages;
  return l;
}

static int
shared_bytes(const Spec *p, const Bwd *s, Pass pass)
{
  SmemLayout l = layout(p, s, pass);
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
  SmemLayout l = layout(p, s, pass);
  bool dq = pass == PASS_DQ;
  int most =
      largest(layout_box(&l, dq ? PART_K : PART_Q), layout_box(&l, dq ? PART_V : PART_DO));
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
  int sums = pass == PASS_DKDV ? d + dv : pass == PASS_DV ? dv : d;
  int scores = pass == PASS_DV ? by / 2 : by;
  int rows = pass == PASS_DQ ? 4 : 0;
  int limits = 2 * (mask_cuts_right(p) + mask_cuts_left(p));
  bool mods = p->mask_mod.n || !spec_score_is_plain(p);
  int asked = pass != PASS_DQ && mods ? ASKED : 0;
  if (p->score_cost.loads && (pass != PASS_DQ || !g->cp_async))
    asked += LOADED;
  int own = spec_has_lengths(p) ? 4 : 0, slope = spec_score_has_slope(p) ? SLOPE : 0;
  return mt * (sums / 2 + scores + by / 4 + rows + limits + slope) + own + asked +
         fwd_mod_regs(p, 2 * mt) + fwd_drop_regs(p, mt, by) + staged_regs(p, g, s, pass);
}

enum { LIVE_MAX = 192, LIVE_STAGED = 166 };

static bool
refuse_pass(const Case *c, const Bwd *s, Pass pass, Why *why)
{
  const Target *g = c->target;
  int stay = stays(s, pass), by = passes_by(s, pass), warps = pass_warps(s, pass);
  int mt = stay / (16 * warps), smem = shared_bytes(c->spec, s, pass);
  int regs = live_regs(c->spec, g, s, pass), most = g->cp_async ? LIVE_MAX : LIVE_STAGED;
  if (stay % (16 * warps) || mt < 1 || mt > 2)
    return refused(why, "%s: %d rows are not 16 or 32 for each of %d warps",
                   pass_names[pass], stay, warps);
  if (by % 16 || by < 16 || by > 128)
    return refused(why, "%s: a tile of %d is not a multiple of 16 up to 128",
                   pass_names[pass], by);
  if (smem > g->smem_block)
    return refused(why, "%s needs %d bytes of shared memory, %s has %d a block",
                   pass_names[pass], smem, g->name, g->smem_block);
  if (regs > most)
    return refused(why, "%s takes %d registers a thread, %d is the limit", pass_names[pass],
                   regs, most);
  return false;
}

static bool
refuse(const Case *c, const Sched *sched, Why *why)
{
  const Bwd *s = bwd_of(sched);
  const Target *g = c->target;
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
    if (has_pass(s, (Pass)i) && refuse_pass(c, s, (Pass)i, why))
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
    {"passes", "num_stages"}, 3, {{2, 2}, {3, 1}, {3, 2}}};
static const SpaceAxis queries_axis = {{"dq_block_m", "dq_block_n", "dq_warps"},
                                       12,
                                       {{128, 64, 8},
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
static const SpaceAxis stages_axis = {{"dq_stages"}, 2, {{1}, {2}}};

static const SpaceAxis *const *
axes(const Case *c)
{
  static const SpaceAxis *const all[] = {&keys_axis, &passes_axis, &queries_axis,
                                         &stages_axis, NULL};
  (void)c;
  return all;
}

static Sched
plain(void)
{
  return sched_of((Bwd){.tmpl = &bwd_mma, .stages = 2, .passes = 2, .dq_stages = 1});
}

/* A thread's, with what ptxas 13.0 gives it besides. */
static int
thread_regs(const Spec *p, const Target *g, const Bwd *s, Pass pass)
{
  return least(255, live_regs(p, g, s, pass) + 60);
}

/* CTAs of a pass that share a multiprocessor.  ptxas is told: it does not know what shared
 * memory allows, and spilled a few bytes to make room for one more. */
static int
resident(const Spec *p, const Target *g, const Bwd *s, Pass pass)
{
  int threads = 32 * pass_warps(s, pass);
  int by_smem = g->smem_sm / (shared_bytes(p, s, pass) + g->smem_reserved);
  int by_regs = g->regs_sm / (thread_regs(p, g, s, pass) * threads);
  int by_threads = g->threads_sm / threads;
  return largest(1, least(least(by_smem, by_regs), least(by_threads, g->blocks_sm)));
}

/* Clocks of a tile's barriers and first bytes, and what one stage adds, as in fwd_mma; and
 * how much of what the less busy units do shows. */
enum { BUBBLE = 160, ONE_STAGE = 50 };
static const double SHOWS = 0.2;

/* Products of a pass, as columns of depth: of the scores, and of what is made of them. */
static double
depth(const Spec *p, Pass pass)
{
  double d = p->head_dim, dv = p->head_dim_v;
  return pass == PASS_DKDV ? 2 * (d + dv) : pass == PASS_DV ? d + dv : 2 * d + dv;
}

static double
tile_clocks(const Case *c, const Bwd *s, Pass pass, bool masked, int ctas)
{
  const Spec *p = c->spec;
  double m = stays(s, pass), n = passes_by(s, pass), warps = pass_warps(s, pass);
  int bytes = dtype_bytes(p->dtype[ATTNC_Q]);
  double right = n * depth(p, pass) * bytes;
  double left = m * (p->head_dim + (pass == PASS_DV ? 0 : p->head_dim_v)) * bytes;
  double come = n * (p->head_dim + p->head_dim_v) * bytes;
  double idle = fmax(1, 4.0 / (warps * ctas));
  double per = (masked ? 8 : 4.5) + (pass == PASS_DV ? 0 : 2.5);
  per += 1.5 * fwd_mod_slots(p, masked, NULL) + fwd_drop_slots(p); /* scores, and slopes */
  Units demand = {.of = {
                      [UNIT_MMA] = idle * m * n * depth(p, pass),
                      [UNIT_MUFU] = idle * m * n,
                      [UNIT_FP32] = idle * m * n * per,
                      [UNIT_SHARED] = warps * right + left + come,
                      [UNIT_L2] = come,
                  }};
  Units unit = units_clocks(c->target, &demand);
  double longest = units_longest(&unit), rest = units_sum(&unit) - longest;
  int stages = pass == PASS_DQ ? s->dq_stages : s->stages;
  return longest + SHOWS * rest + BUBBLE + (stages > 1 ? 0 : ONE_STAGE);
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
  int ctas = cost_resident(c, &part, resident(c->spec, c->target, s, pass));
  double row = (double)dtype_bytes(c->spec->dtype[ATTNC_Q]) / c->target->l2_clk;
  double ends = 2 * like.bm * (c->spec->head_dim + c->spec->head_dim_v) * row;
  BlockClocks clocks = {.full = tile_clocks(c, s, pass, false, ctas),
                        .partial = tile_clocks(c, s, pass, true, ctas),
                        .block = COST_BLOCK / (double)ctas,
                        .start = (COST_LAUNCH + COST_GLOBAL + ends) / ctas,
                        .empty = (COST_LAUNCH + COST_GLOBAL) / (double)ctas};
  return cost_clocks(c, &part, &clocks);
}

static SchedCost
cost(const Case *c, const Sched *sched)
{
  const Bwd *s = bwd_of(sched);
  Case k = cost_assume(c);
  SchedCost r = {.ctas_sm = 32};
  for (int i = 0; i < PASS_COUNT; i++) {
    if (!has_pass(s, (Pass)i))
      continue;
    r.smem = largest(r.smem, shared_bytes(c->spec, s, (Pass)i));
    r.regs = largest(r.regs, thread_regs(c->spec, c->target, s, (Pass)i));
    r.ctas_sm = least(r.ctas_sm, resident(c->spec, c->target, s, (Pass)i));
    r.cycles += pass_clocks(&k, sched, (Pass)i);
  }
  return r;
}

static Sched
initial(const Case *c)
{
  /* block_m, block_n, warps, stages, passes; dq_block_m, dq_block_n, dq_warps */
  static const int wish[][8] = {
      {64, 128, 8, 2, 2, 128, 64, 8}, {48, 128, 8, 2, 2, 128, 64, 8},
      {32, 128, 8, 2, 2, 128, 64, 8}, {16, 128, 8, 2, 2, 128, 32, 8},
      {32, 64, 4, 2, 2, 64, 64, 4},   {16, 64, 4, 2, 2, 64, 32, 4},
      {32, 64, 4, 2, 3, 64, 32, 4},   {32, 64, 4, 1, 3, 64, 32, 4},
      {16, 64, 4, 1, 3, 64, 16, 4},   {16, 32, 2, 1, 3, 32, 16, 2},
  };
  Sched s = plain();
  for (size_t i = 0; i < sizeof wish / sizeof *wish; i++) {
    const int *w = wish[i];
    Bwd b = {.tmpl = &bwd_mma, .bm = w[0], .bn = w[1], .warps = w[2], .stages = w[3]};
    b.passes = w[4];
    b.dq_block_m = w[5];
    b.dq_block_n = w[6];
    b.dq_warps = w[7];
    b.dq_stages = 1;
    s = sched_of(b);
    if (!refuse(c, &s, NULL))
      break;
  }
  return s;
}

/* ---- what goes by: a tensor's tiles, and a column of its rows' statistics beside each
 * ---- */

typedef struct Stream {
  const Tensor *x, *column; /* column NULL: none */
  Ring *ring, *columns;
} Stream;

/* A tile of it in hand. */
typedef struct Held {
  Slot box, column;
  bool both;
} Held;

static Held
take(Tb *t, const Stream *s)
{
  Held h = {.box = t_consumer_wait(t, s->ring), .both = s->columns != NULL};
  if (h.both) /* the older copy */
    h.column = t_consumer_wait(t, s->columns);
  return h;
}

static void
give(Tb *t, const Held *h)
{
  if (h->both)
    t_consumer_release(t, h->column);
  t_consumer_release(t, h->box);
}

/* ---- dK and dV ---- */

typedef struct Keys {
  const Call *p; /* as the block's sequence sees it */
  const Bwd *s;
  Pass pass;
  KeyBlock w;
  Idx h; /* the query head at hand */
  Mask mask;
  Walk walk; /* the tiles of queries that see the block */
  Stream q, dout;
  Smem k, v;
  Tile *dk, *dv;
  Tile drops; /* NULL: no weight is dropped */
} Keys;

static void
fetch_rows(Tb *t, const Keys *c, const Stream *s, TileIter j)
{
  int n = c->s->bm;
  const Seq *seq = &c->w.seq;
  if (s->columns) {
    View v = w_tile(seq_queries(seq, s->column, c->h, j.k0, n), j);
    t_producer_load(t, s->columns, .src = w_seen(v, j), .when = &j.is);
  }
  View v = w_tile(seq_queries(seq, s->x, c->h, j.k0, n), j);
  t_producer_load(t, s->ring, .src = w_seen(v, j), .when = &j.is);
}

static At
place(const Keys *c, TileIter j)
{
  return (At){
      .q = j.k0, .k = c->w.k0, .b = c->w.b, .h = c->h, .hk = c->w.hk, .turned = true};
}

static Tile
dropped(Tb *t, const Keys *c, TileIter j)
{
  return fwd_drop(t, c->drops, c->s->bn, c->s->bm, place(c, j));
}

/* Of a tile of queries. */
static BwdWeights
weights(Tb *t, const Keys *c, const Held *q, TileIter j, Tile drop)
{
  Tile x = t_dot(t, c->k, s_trans(q->box.s));
  Tile lse = t_cols(t, q->column.s);
  return bwd_weights(t, c->p, &c->mask, x, place(c, j), j, lse, drop);
}

static void
add_dk(Tb *t, const Keys *c, Tile ds, const Held *q)
{
  Tile w = t_cvt(t, ds, c->p->dt);
  *c->dk = t_dot_acc(t, *c->dk, w, q->box.s);
}

/* Both at once, from tiles that are held to the end of the step: the next ones are on their
 * way into the stages of those before. */
static void
step_both(Tb *t, const Keys *c, TileIter j)
{
  TileIter ahead = w_ahead(&c->walk, j, c->s->stages - 1);
  Held dout = take(t, &c->dout); /* the younger copy: with it Q is here */
  Held q = take(t, &c->q);
  fetch_rows(t, c, &c->q, ahead);
  fetch_rows(t, c, &c->dout, ahead);
  Tile drop = dropped(t, c, j);
  BwdWeights w = weights(t, c, &q, j, drop);
  *c->dv = t_dot_acc(t, *c->dv, w.p, dout.box.s);
  Tile dp = t_dot(t, c->v, s_trans(dout.box.s));
  Tile delta = t_cols(t, dout.column.s);
  Tile ds = bwd_slopes(t, w.steep, dp, delta, j, drop);
  add_dk(t, c, ds, &q);
  give(t, &q);
  give(t, &dout);
}

/* Once Q(j) is here, dO(j+n−1) may go where dO(j−1) was, and so on. */
static void
step_dv(Tb *t, const Keys *c, TileIter j)
{
  int n = c->s->stages;
  TileIter near = w_ahead(&c->walk, j, n - 1), far = w_ahead(&c->walk, j, n);
  Held q = take(t, &c->q);
  fetch_rows(t, c, &c->dout, near);
  Tile drop = dropped(t, c, j);
  BwdWeights w = weights(t, c, &q, j, drop);
  give(t, &q);
  Held dout = take(t, &c->dout);
  fetch_rows(t, c, &c->q, far);
  *c->dv = t_dot_acc(t, *c->dv, w.p, dout.box.s);
  give(t, &dout);
}

static void
step_dk(Tb *t, const Keys *c, TileIter j)
{
  int n = c->s->stages;
  TileIter near = w_ahead(&c->walk, j, n - 1), far = w_ahead(&c->walk, j, n);
  Held dout = take(t, &c->dout);
  fetch_rows(t, c, &c->q, near);
  Tile dp = t_dot(t, c->v, s_trans(dout.box.s));
  Tile delta = t_cols(t, dout.column.s);
  give(t, &dout);
  Held q = take(t, &c->q);
  fetch_rows(t, c, &c->dout, far);
  Tile drop = dropped(t, c, j);
  BwdWeights w = weights(t, c, &q, j, NULL);
  Tile ds = bwd_slopes(t, w.steep, dp, delta, j, drop);
  add_dk(t, c, ds, &q);
  give(t, &q);
}

static void
step_keys(Tb *t, const Keys *c, TileIter j)
{
  static void (*const steps[])(Tb *, const Keys *, TileIter) = {
      [PASS_DKDV] = step_both, [PASS_DV] = step_dv, [PASS_DK] = step_dk};
  steps[c->pass](t, c, j);
}

/* Of a pass that gives one of the two: the stream that its steps wait for first. */
static void
streams(const Keys *c, const Stream **first, const Stream **second)
{
  *first = c->pass == PASS_DV ? &c->q : &c->dout;
  *second = c->pass == PASS_DV ? &c->dout : &c->q;
}

/* The first tiles, as far as there are stages; of both at once Q first, and a stage is left
 * free. */
static void
start_head(Tb *t, const Keys *c)
{
  const Stream *first, *second;
  TileIter j = w_first(&c->walk);
  streams(c, &first, &second);
  bool both = c->pass == PASS_DKDV;
  if (!both)
    fetch_rows(t, c, first, j);
  for (int i = 0; i < c->s->stages - 1; i++) {
    fetch_rows(t, c, second, w_ahead(&c->walk, j, i));
    fetch_rows(t, c, first, w_ahead(&c->walk, j, both ? i : i + 1));
  }
}

/* Stages that were filled with nothing: the next head finds the rings as this one did. */
static void
drop(Tb *t, const Stream *s)
{
  Held h = take(t, s);
  give(t, &h);
}

static void
end_head(Tb *t, const Keys *c)
{
  const Stream *first, *second;
  streams(c, &first, &second);
  if (c->pass != PASS_DKDV)
    drop(t, first);
  for (int i = 0; i < c->s->stages - 1; i++) {
    drop(t, c->pass == PASS_DKDV ? first : second);
    drop(t, c->pass == PASS_DKDV ? second : first);
  }
}

static void
head(Tb *t, Keys *c)
{
  const WalkRows keys = {
      .q0 = c->w.k0, .b = c->w.b, .h = c->h, .hk = c->w.hk, .n = c->s->bn};
  Walk walk = w_queries(t, &c->mask, &keys, c->s->bm);
  c->walk = t_walk(t, &walk, c->s->stages);
  c->drops = fwd_drop_state(t, c->p, c->w.b, c->h);
  start_head(t, c);
  T_FOR_TILES (t, j, &c->walk)
    step_keys(t, c, j);
  end_head(t, c);
}

static void
put_out(Tb *t, const Keys *c, const Tensor *to, Smem through, Tile x)
{
  x = t_cvt(t, x, c->p->dt);
  t_put(t, through, x); /* over its own rows, which no other warp reads */
  t_copy_out(t, seq_keys(&c->w.seq, to, c->w.hk, c->w.k0, c->s->bn), through);
}

static void
finish_keys(Tb *t, const Keys *c)
{
  const Call *p = c->p;
  if (c->pass != PASS_DV) {
    Tile dk = bwd_scaled(t, *c->dk);
    put_out(t, c, p->at[ATTNC_DK], s_cols(c->k, p->d), dk);
  }
  if (c->pass != PASS_DK) {
    Tile dv = bwd_kept(t, p, *c->dv);
    put_out(t, c, p->at[ATTNC_DV], s_cols(c->pass == PASS_DV ? c->k : c->v, p->dv), dv);
  }
}

static void
block_of_keys(Tb *t, Keys *c)
{
  const Call *p = c->p;
  c->mask = mask_turned(&p->mask);
  t_copy(t, c->k, seq_keys(&c->w.seq, p->k, c->w.hk, c->w.k0, c->s->bn));
  if (c->pass != PASS_DV)
    t_copy(t, c->v, seq_keys(&c->w.seq, p->v, c->w.hk, c->w.k0, c->s->bn));
  if (c->pass != PASS_DV) {
    Tile zero = t_zero(t, c->s->bn, p->d);
    c->dk = t_var(t, zero);
  }
  if (c->pass != PASS_DK) {
    Tile zero = t_zero(t, c->s->bn, p->dv);
    c->dv = t_var(t, zero);
  }
  Idx group = fwd_group(p), first = i_mul(c->w.hk, group);
  const Span heads = {first, i_add(first, group), i_int(1)};
  c->k = s_cols(c->k, p->d);
  T_FOR (t, i, heads) {
    c->h = i;
    t_sync(t); /* the rings are empty */
    head(t, c);
  }
  finish_keys(t, c);
}

static void
of_keys(Tb *t, const Call *p, const Bwd *s, Pass pass, const BwdRows *rows)
{
  Keys c = {.s = s, .pass = pass, .w = bwd_keys_of_cta(t, p, s->bn)};
  SmemLayout l = layout(p->spec, s, pass);
  t_resident(t, resident(p->spec, t_target(t), s, pass));
  c.k = layout_smem(t, &l, PART_K);
  if (pass != PASS_DV)
    c.v = layout_smem(t, &l, PART_V);
  c.q = (Stream){.x = p->q, .column = t_region(t, rows->lse)};
  c.q.ring = layout_ring(t, &l, PART_Q);
  c.dout = (Stream){.x = p->at[ATTNC_DO]};
  c.dout.ring = layout_ring(t, &l, PART_DO);
  c.q.columns = layout_ring(t, &l, PART_LSE);
  if (pass != PASS_DV) {
    c.dout.column = t_region(t, rows->delta);
    c.dout.columns = layout_ring(t, &l, PART_DELTA);
  }
  T_WORK (t, c.w.is) {
    c.w.seq = sequence(t, p, c.w.b);
    c.p = c.w.seq.call;
    block_of_keys(t, &c);
  }
}

/* ---- dQ ---- */

typedef struct Queries {
  const Call *p; /* as the block's sequence sees it */
  const Bwd *s;
  WorkTile w;
  Walk walk; /* the tiles of keys that the block sees */
  Stream k, v;
  Smem q, dout;
  Tile lse, delta; /* one a row */
  Tile *dq;
  Tile drops; /* NULL: no weight is dropped */
} Queries;

static void
fetch_keys(Tb *t, const Queries *c, const Stream *s, TileIter j)
{
  View v = w_tile(seq_keys(&c->w.seq, s->x, c->w.hk, j.k0, c->s->dq_block_n), j);
  t_producer_load(t, s->ring, .src = w_seen(v, j), .when = &j.is);
}

static View
queries(const Queries *c, const Tensor *x)
{
  return seq_queries(&c->w.seq, x, c->w.h, c->w.q0, c->s->dq_block_m);
}

/* Once V(j) is here, K(j+n−1) may go where K(j−1) was, and so on. */
static void
step_queries(Tb *t, const Queries *c, TileIter j)
{
  int n = c->s->dq_stages;
  TileIter near = w_ahead(&c->walk, j, n - 1), far = w_ahead(&c->walk, j, n);
  At at = {.q = c->w.q0, .k = j.k0, .b = c->w.b, .h = c->w.h, .hk = c->w.hk};
  Held v = take(t, &c->v);
  fetch_keys(t, c, &c->k, near);
  Tile dp = t_dot(t, c->dout, s_trans(v.box.s));
  give(t, &v);
  Held k = take(t, &c->k);
  fetch_keys(t, c, &c->v, far);
  Tile x = t_dot(t, c->q, s_trans(k.box.s));
  Tile drop = fwd_drop(t, c->drops, c->s->dq_block_m, c->s->dq_block_n, at);
  BwdWeights p = bwd_weights(t, c->p, &c->p->mask, x, at, j, c->lse, NULL);
  Tile ds = bwd_slopes(t, p.steep, dp, c->delta, j, drop);
  Tile w = t_cvt(t, ds, c->p->dt);
  *c->dq = t_dot_acc(t, *c->dq, w, k.box.s);
  give(t, &k);
}

static void
start_queries(Tb *t, const Queries *c)
{
  TileIter j = w_first(&c->walk);
  t_copy(t, c->q, queries(c, c->p->q));
  t_copy(t, c->dout, queries(c, c->p->at[ATTNC_DO]));
  fetch_keys(t, c, &c->v, j);
  for (int i = 0; i < c->s->dq_stages - 1; i++) {
    fetch_keys(t, c, &c->k, w_ahead(&c->walk, j, i));
    fetch_keys(t, c, &c->v, w_ahead(&c->walk, j, i + 1));
  }
}

static void
block_of_queries(Tb *t, const Partition *part, Queries *c, const BwdRows *rows)
{
  const Call *p = c->p;
  Walk keys = partition_keys(t, part, &c->w);
  c->walk = t_walk(t, &keys, c->s->dq_stages);
  start_queries(t, c);
  c->lse = t_load_rows(t, queries(c, t_region(t, rows->lse)));
  c->delta = t_load_rows(t, queries(c, t_region(t, rows->delta)));
  Tile zero = t_zero(t, c->s->dq_block_m, p->d);
  c->dq = t_var(t, zero);
  c->drops = fwd_drop_state(t, p, c->w.b, c->w.h);
  T_FOR_TILES (t, j, &c->walk)
    step_queries(t, c, j);
  Tile dq = bwd_scaled(t, *c->dq);
  dq = t_cvt(t, dq, p->dt);
  t_put(t, c->q, dq);
  t_copy_out(t, queries(c, p->at[ATTNC_DQ]), c->q);
}

static void
of_queries(Tb *t, const Call *p, const Bwd *s, const BwdRows *rows)
{
  Queries c = {.s = s};
  Partition part = {.call = p,
                    .bm = s->dq_block_m,
                    .bn = s->dq_block_n,
                    .pack = 1,
                    .cluster = 1,
                    .scheduler = SCHED_ASIDE};
  c.w = partition_alone(t, &part);
  c.p = c.w.seq.call;
  SmemLayout l = layout(p->spec, s, PASS_DQ);
  t_resident(t, resident(p->spec, t_target(t), s, PASS_DQ));
  c.q = layout_smem(t, &l, PART_Q);
  c.dout = layout_smem(t, &l, PART_DO);
  c.k = (Stream){.x = p->k};
  c.k.ring = layout_ring(t, &l, PART_K);
  c.v = (Stream){.x = p->v};
  c.v.ring = layout_ring(t, &l, PART_V);
  T_WORK (t, c.w.is)
    block_of_queries(t, &part, &c, rows);
}

/* ---- emit ---- */

static void
emit(Build *b, const Call *call, const Sched *sched)
{
  const Bwd *s = bwd_of(sched);
  BwdRows rows = bwd_rows(b, call);
  for (int i = PASS_DKDV; i <= PASS_DK; i++)
    if (has_pass(s, (Pass)i))
      T_ENTRY (b, t, pass_names[i], .warps = s->warps)
        of_keys(t, t_call(t), s, (Pass)i, &rows);
  T_ENTRY (b, t, pass_names[PASS_DQ], .warps = s->dq_warps)
    of_queries(t, t_call(t), s, &rows);
}

static void
print(const Sched *sched, Str *out)
{
  const Bwd *s = bwd_of(sched);
  str_printf(out, "bwd_mma %s %dx%d, %d warps, %d stage%s; dq %dx%d, %d warps, %d stage%s",
             s->passes == 2 ? "dk and dv" : "dv, dk", s->bm, s->bn, s->warps, s->stages,
             s->stages == 1 ? "" : "s", s->dq_block_m, s->dq_block_n, s->dq_warps,
             s->dq_stages, s->dq_stages == 1 ? "" : "s");
}

const Template bwd_mma = {
    .name = "bwd_mma",
    .what =
        "gradients, FlashAttention-2 on mma.sync in passes without atomics: sm_75 and up",
    .op = ATTNC_OP_BWD,
    .revision = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .applicable = applicable,
    .axes = axes,
    .plain = plain,
    .refuse = refuse,
    .cost = cost,
    .initial = initial,
    .emit = emit,
    .print = print,
    .codegen_level = 2,
};
