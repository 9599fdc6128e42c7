/* decode_mma: few rows, whose keys are read at the memory's speed.  The rows of a block are
 * positions and the heads of a group, up to 32 of them; mma.sync.
 *
 * The warps of a CTA stand side by side on the keys of a tile.  Each has its own 16 or 32
 * keys, which it copies, waits for and multiplies with by itself: in the loop over tiles no
 * warp waits for another one.  Each so has maxima, sums and an O of its own keys; what they
 * have is merged at the end, in the order of the warps (softmax_merge).  Through the memory
 * of the rings, which are empty then.
 *
 * Dao et al., "Flash-Decoding" (2023), has the parts of the keys in CTAs; here they are in
 * warps, as in FlashInfer's decode kernels (Ye et al., arXiv 2501.01005, section 3.2). */
#include "templates/cost.h"
#include "templates/fwd.h"
#include "templates/layout.h"
#include "templates/partition.h"
#include "templates/softmax.h"
#include "templates/units.h"

#include <math.h>

/* ---- options, applicable, space, cost ---- */

#define OPTIONS(X)                                                                         \
  X(q_in_regs, BOOL, 0, 1, NULL, KEEP, "true", "Keep q in registers.")                     \
  X(pack_gqa, BOOL, 0, 1, NULL, KEEP, "true", "Rows are positions and heads of a group.")
SCHED_TYPE(Decode, OPTIONS, decode_of, sched_of)
static const SchedField options[] = {OPTIONS(SCHED_ROW)};

enum { ROWS_MOST = 32 };

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
      {s->head_dim <= 256 && s->head_dim_v <= 256,
       "head_dim or head_dim_v above 256: O does not fit a warp's registers", REASON_DIMS},
      {c->target->cp_async || (s->head_dim <= 192 && s->head_dim_v <= 192),
       "head_dim or head_dim_v above 192: no registers for copies on their way",
       REASON_DIMS},
  };
  return rules_hold(rules, (int)(sizeof rules / sizeof *rules), why);
}

/* Query heads whose rows can stand in one block. */
static int
group_of(const Spec *p)
{
  return p->group_size > 1 && p->group_size <= ROWS_MOST ? p->group_size : 1;
}

/* A block has all rows of a key head. */
static bool
meant(const Case *c)
{
  return c->b > 0 && c->h > 0 && c->sq > 0 && c->sq * group_of(c->spec) <= ROWS_MOST;
}

extern const Template decode_mma;

static const SpaceAxis rows = {{"block_m"}, 2, {{16}, {32}}};
static const SpaceAxis key_tiles = {
    {"block_n", "num_warps"}, 4, {{64, 4}, {128, 4}, {32, 2}, {64, 2}}};
static const SpaceAxis stages = {{"num_stages"}, 4, {{1}, {2}, {3}, {4}}};
static const SpaceAxis q_place = {{"q_in_regs"}, 2, {{false}, {true}}};
static const SpaceAxis packed = {{"pack_gqa"}, 2, {{false}, {true}}};

/* Without cp.async there is one stage. */
static const SpaceAxis *const *
axes(const Case *c)
{
  static const SpaceAxis *const all[2][6] = {
      {&rows, &key_tiles, &q_place, &packed},
      {&rows, &key_tiles, &stages, &q_place, &packed}};
  return all[c->target->cp_async];
}

static Sched
plain(void)
{
  return sched_of((Decode){.tmpl = &decode_mma, .stages = 1});
}

static int
larger(int a, int b)
{
  return a > b ? a : b;
}

static SmemLayout
layout(const Spec *p, const Sched *s)
{
  int wide = larger(p->head_dim, p->head_dim_v);
  SmemLayout l = {.part = {[PART_Q] = layout_rows(p, ATTNC_Q, s->bm, wide),
                           [PART_EXCHANGE] = layout_room(share_bytes(s->warps, s->bm)),
                           [PART_K] = layout_rows(p, ATTNC_K, s->bn, p->head_dim),
                           [PART_V] = layout_rows(p, ATTNC_V, s->bn, p->head_dim_v)}};
  l.part[PART_K].stages = l.part[PART_V].stages = s->stages;
  return l;
}

/* What the warps merge O through: the memory of the rings, and more where that is less. */
static RingArgs
merge_room(const Spec *p, const Sched *s)
{
  return layout_room(merge_bytes(s->warps, p->head_dim_v));
}

static int
shared_bytes(const Spec *p, const Sched *s)
{
  SmemLayout l = layout(p, s);
  RingArgs room = merge_room(p, s);
  int rings = s->stages * (layout_box(&l, PART_K) + layout_box(&l, PART_V));
  int more = s_bytes(room.ty, room.rows, room.cols) - rings;
  return layout_bytes(&l) + (more > 0 ? more : 0);
}

/* Blocks of 16 rows, of which every warp has all. */
static int
row_blocks(const Sched *s)
{
  return s->bm / product_info[MMA_K16].rows;
}

/* Without cp.async a thread has the larger of its parts of K and V on their way, beside P.
 */
static int
staged_regs(const Spec *p, const Sched *s)
{
  SmemLayout l = layout(p, s);
  int most = larger(layout_box(&l, PART_K), layout_box(&l, PART_V));
  return most / (32 * s->warps) / 4;
}

/* Registers a thread of O, S, (if kept there) Q, of the limits that a mask sets to its
 * rows, and of expressions. */
static int
live_regs(const Spec *p, const Target *g, const Sched *s)
{
  int mt = row_blocks(s), of = s->bn / s->warps;
  int q = decode_of(s)->q_in_regs ? fwd_left_regs(p->dtype[ATTNC_Q], mt, p->head_dim) : 0;
  int limits = 2 * mt * (mask_cuts_right(p) + mask_cuts_left(p));
  int o = mt * ((p->head_dim_v + 15) / 16 * 8), scores = mt * of / 2;
  int mods = g->cp_async ? fwd_mod_regs(p, 2 * mt) : fwd_beside_regs(p);
  return o + scores + q + limits + mods + (g->cp_async ? 0 : staged_regs(p, s));
}

enum { LIVE_MAX = 166 }; /* as in fwd_mma */

static bool
refuse_rows(const Case *c, const Sched *s, Why *why)
{
  int group = c->spec->group_size;
  if (s->bm != 16 && s->bm != ROWS_MOST)
    return refused(why, "block_m %d is not 16 or %d", s->bm, ROWS_MOST);
  if (s->warps != 2 && s->warps != 4)
    return refused(why, "num_warps %d is not 2 or 4", s->warps);
  if (s->bn != 16 * s->warps && s->bn != 32 * s->warps)
    return refused(why, "block_n %d is not 16 or 32 keys for each of %d warps", s->bn,
                   s->warps);
  if (decode_of(s)->pack_gqa && (group < 2 || group > s->bm))
    return refused(why, "pack_gqa takes a pinned group_size of 2 … %d", s->bm);
  return false;
}

static bool
refuse(const Case *c, const Sched *s, Why *why)
{
  const Target *g = c->target;
  if (refuse_rows(c, s, why) || fwd_refuse_keys(c->spec, s->bn, s->stages, why))
    return true;
  if (s->stages > 1 && !g->cp_async)
    return refused(why, "num_stages %d needs cp.async, which %s has not", s->stages,
                   g->name);
  if (fwd_refuse_shared(c, shared_bytes(c->spec, s), why))
    return true;
  int regs = live_regs(c->spec, g, s);
  if (regs > LIVE_MAX)
    return refused(why,
                   "O, S, Q and row limits take %d registers a thread, %d is the limit",
                   regs, LIVE_MAX);
  return false;
}

static int
smaller(int a, int b)
{
  return a < b ? a : b;
}

static int
resident(const Case *c, const Sched *s, int smem, int regs)
{
  const Target *g = c->target;
  int by_smem = g->smem_sm / (smem + g->smem_reserved);
  int by_regs = g->regs_sm / (regs * 32 * s->warps);
  int by_threads = g->threads_sm / (32 * s->warps);
  return larger(1, smaller(smaller(by_smem, by_regs), smaller(by_threads, g->blocks_sm)));
}

/* Clocks of a warp's way through a tile: its products, softmax and waits one behind the
 * other, of `n` warps on each quarter of a multiprocessor.  Fitted to a simulation of such
 * kernels by the stall counts of ptxas 13.0, sm_80, head_dim 64 to 512: within 15 %. */
static double
way(const Case *c, const Sched *s, double n)
{
  double wide = c->spec->head_dim + c->spec->head_dim_v;
  double clocks = (250 + 3 * wide) * (s->bm > 16 ? 1.45 : 1);
  return clocks * (s->bn / s->warps > 16 ? 1.7 : 1) * (1 + 0.5 * fmax(0, n - 1));
}

/* Bytes on their way to a multiprocessor while a tile is computed. */
static double
in_flight(const Sched *s, double tile, int ctas)
{
  return (s->stages - 0.5) * tile * ctas;
}

static double
memory_clocks(const Target *g, const Sched *s, double tile, int ctas)
{
  double wanted = 1024.0 * g->mem_flight;
  return tile / g->mem_clk * fmax(1, wanted / in_flight(s, tile, ctas));
}

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
                      [UNIT_SHARED] = 2 * kv + q,
                      [UNIT_L2] = kv,
                  }};
  Units unit = units_clocks(c->target, &demand);
  double busy = fmax(units_longest(&unit), memory_clocks(c->target, s, kv, ctas));
  return fmax(busy, way(c, s, s->warps * ctas / 4.0) / ctas);
}

static Partition
partition_of(const Call *call, const Spec *p, const Sched *s)
{
  Partition part = partition_aside(call, s);
  bool packs = decode_of(s)->pack_gqa && p->group_size > 1 && p->group_size <= s->bm;
  part.pack = packs ? p->group_size : 1;
  return part;
}

/* A block's start waits for Q and its first tile, and its end for the merge. */
enum { BLOCK_WAITS = 1500 };

static SchedCost
cost(const Case *c, const Sched *s)
{
  Case k = *c;
  k.sq = c->sq ? c->sq : 1;
  k.sk = c->sk ? c->sk : 8192;
  k = cost_assume(&k);
  Partition p = partition_of(NULL, c->spec, s);
  SchedCost r = {.smem = shared_bytes(c->spec, s)};
  r.regs = smaller(255, live_regs(c->spec, c->target, s) + 64);
  r.ctas_sm = resident(c, s, r.smem, r.regs);
  int ctas = cost_resident(&k, &p, r.ctas_sm);
  BlockClocks clocks = {.full = tile_clocks(&k, s, false, ctas),
                        .partial = tile_clocks(&k, s, true, ctas),
                        .block = BLOCK_WAITS / (double)ctas,
                        .start = (COST_LAUNCH + COST_GLOBAL) / (double)ctas};
  r.cycles = cost_clocks(&k, &p, &clocks);
  return r;
}

/* Rings as deep as the memory's latency asks for, at the head_dim that is usual: spike's
 * table of designs that ptxas takes without spills. */
static Sched
initial(const Case *c)
{
  static const Decode wish[] = {
      {.bm = 16, .bn = 64, .stages = 4, .warps = 4, .q_in_regs = true},
      {.bm = 16, .bn = 64, .stages = 2, .warps = 4, .q_in_regs = true},
      {.bm = 16, .bn = 64, .stages = 2, .warps = 4},
      {.bm = 16, .bn = 32, .stages = 2, .warps = 2},
      {.bm = 16, .bn = 64, .stages = 1, .warps = 4, .q_in_regs = true},
      {.bm = 16, .bn = 64, .stages = 1, .warps = 4},
      {.bm = 16, .bn = 32, .stages = 1, .warps = 2},
  };
  int n = (int)(sizeof wish / sizeof *wish), group = group_of(c->spec);
  Sched s = {0};
  for (int i = 0; i < n; i++) {
    Decode x = wish[i];
    x.tmpl = &decode_mma;
    x.pack_gqa = group > 1;
    x.bm = group > 16 ? ROWS_MOST : 16;
    s = sched_of(x);
    if (!refuse(c, &s, NULL))
      break;
  }
  return s;
}

/* ---- emit ---- */

typedef struct Cta {
  const Call *p; /* as the block's sequence sees it */
  const Sched *s;
  int pack;   /* heads of a row's position, or 1 */
  WorkTile w; /* which block: batch, heads, first query */
  Walk kv;    /* the key tiles that it sees */
  Ring *k, *v;
  Smem qs;   /* Q in shared memory; O leaves through it */
  Smem room; /* what the warps merge O through */
  Opnd q;    /* qs, or registers */
  Softmax sm;
  Tile *acc;
} Cta;

static View
keys_of(const Cta *c, const Tensor *x, TileIter j)
{
  View v = seq_keys(&c->w.seq, x, c->w.hk, j.k0, c->s->bn);
  return j.in_bounds ? v_in_bounds(v) : v;
}

/* Rows behind the last whole position are nobody's. */
static View
rows_of(const Cta *c, const Tensor *x)
{
  View v = seq_queries(&c->w.seq, x, c->w.h, c->w.q0, c->s->bm);
  if (c->pack == 1)
    return v;
  Idx behind = i_add(c->w.q0, c->s->bm / c->pack);
  if (c->s->bm % c->pack)
    v = v_until(v, i_min(behind, c->p->sq));
  return v_pack(v, c->pack);
}

static At
place(const Cta *c, Idx k0)
{
  return (At){
      .q = c->w.q0, .k = k0, .b = c->w.b, .h = c->w.h, .hk = c->w.hk, .pack = c->pack};
}

static void
fetch_k(Tb *t, const Cta *c, TileIter j)
{
  t_producer_load(t, c->k, .src = keys_of(c, c->p->k, j), .when = &j.is);
}

static void
fetch_v(Tb *t, const Cta *c, TileIter j)
{
  t_producer_load(t, c->v, .src = w_seen(keys_of(c, c->p->v, j), j), .when = &j.is);
}

/* S = QKᵀ, online softmax, O += PV, of each warp's keys of a tile: as in fwd_mma, but that
 * no warp waits for another one. */
static void
step(Tb *t, Cta *c, TileIter j)
{
  int n = c->s->stages;
  Tile correction;

  Slot k = t_consumer_wait(t, c->k);
  fetch_v(t, c, w_ahead(&c->kv, j, n - 1));
  Tile x = t_dot(t, c->q, s_trans(k.s));
  t_consumer_release(t, k);
  Slot v = t_consumer_wait(t, c->v);
  fetch_k(t, c, w_ahead(&c->kv, j, n));
  x = fwd_scores(t, c->p, x, place(c, j.k0), j, NULL);
  Tile w = softmax_step(t, &c->sm, x, fwd_may_hide(c->p, j), &correction);
  Tile o = t_mul(t, *c->acc, correction);
  w = t_cvt(t, w, c->p->dt);
  *c->acc = t_dot_acc(t, o, w, v.s);
  t_consumer_release(t, v);
}

/* Q, and the first tiles: K(0), V(0), K(1), V(1), … as far as there are stages. */
static void
start(Tb *t, Cta *c)
{
  TileIter j = w_first(&c->kv);
  Smem q = s_cols(c->qs, c->p->d);
  t_copy(t, c->qs, rows_of(c, c->p->q));
  fetch_k(t, c, j);
  for (int i = 1; i < c->s->stages; i++) {
    fetch_v(t, c, w_ahead(&c->kv, j, i - 1));
    fetch_k(t, c, w_ahead(&c->kv, j, i));
  }
  t_copy_wait(t);
  c->q = OP(q);
  if (decode_of(c->s)->q_in_regs) {
    Tile x = t_get(t, q);
    c->q = OP(x);
  }
}

/* The sum over all warps' keys, of which each warp then has a part of the columns. */
static Tile
merge(Tb *t, Cta *c)
{
  Tile by = softmax_merge(t, &c->sm, c->s->warps);
  Tile o = t_mul(t, *c->acc, by);
  return t_merge_cols(t, o, c->room);
}

static void
finish(Tb *t, Cta *c)
{
  Tile o = merge(t, c);
  Tile lse, inv = fwd_end(t, c->p, &c->sm, c->s->bm, place(c, i_int(0)), &lse);
  o = t_mul(t, o, inv);
  o = t_cvt(t, o, c->p->dt);
  t_put(t, c->qs, o);
  t_copy_out(t, rows_of(c, c->p->o), c->qs);
  if (c->p->lse)
    t_store_rows(t, rows_of(c, c->p->lse), lse);
}

static void
block(Tb *t, const Partition *part, Cta *c)
{
  Walk keys = partition_keys(t, part, &c->w);
  c->kv = t_walk(t, &keys, c->s->stages);
  start(t, c);
  c->sm = softmax_new(t, c->s->bm, !spec_score_is_plain(c->p->spec));
  Tile zero = t_zero(t, c->s->bm, c->p->dv);
  c->acc = t_var(t, zero);
  T_FOR_TILES (t, j, &c->kv)
    step(t, c, j);
  finish(t, c);
}

static void
decode(Tb *t, const Call *p, const Sched *s)
{
  Partition part = partition_of(p, p->spec, s);
  Cta c = {.s = s, .pack = part.pack, .w = partition_alone(t, &part)};
  c.p = c.w.seq.call;
  SmemLayout l = layout(p->spec, s);
  RingArgs room = merge_room(p->spec, s);
  c.qs = layout_smem(t, &l, PART_Q);
  t_exchange(t, layout_smem(t, &l, PART_EXCHANGE));
  c.k = layout_ring(t, &l, PART_K);
  c.v = layout_ring(t, &l, PART_V);
  c.room = t_smem_over(t, c.k, "sums", room.ty, room.rows, room.cols);
  T_WORK (t, c.w.is)
    block(t, &part, &c);
}

static void
emit(Build *b, const Call *call, const Sched *s)
{
  (void)call;
  T_ENTRY (b, t, NULL, .warps = s->warps, .warps_k = s->warps)
    decode(t, t_call(t), s);
}

static void
print(const Sched *s, Str *out)
{
  str_printf(out, "decode_mma %dx%d, %d warps on keys, %d stage%s, Q in %s", s->bm, s->bn,
             s->warps, s->stages, s->stages == 1 ? "" : "s",
             decode_of(s)->q_in_regs ? "registers" : "shared memory");
  if (decode_of(s)->pack_gqa)
    str_printf(out, ", packed heads");
}

const Template decode_mma = {
    .name = "decode_mma",
    .what = "few rows, whose keys warps share out: sm_75 and up",
    .revision = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .applicable = applicable,
    .meant = meant,
    .axes = axes,
    .plain = plain,
    .refuse = refuse,
    .cost = cost,
    .initial = initial,
    .emit = emit,
    .print = print,
    .codegen_level = 2,
};
