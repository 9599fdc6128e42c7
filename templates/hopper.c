#include "templates/hopper.h"

#include <limits.h>

enum {
  L2_SECTION = 32 << 20, /* bytes of K and V that stay in the L2 cache of 50 MB */
  OTHERS = 36,           /* registers besides O, S and P: ptxas 13.0 never spilled with them */
};

extern const Template fwd_wgmma;

/* ---- which schedules there are ---- */

bool
hopper_applicable(const Case *c, void (*reason)(void *, const char *), void *user)
{
  const Spec *s = c->spec;
  bool same = s->q == s->k && s->k == s->v && s->v == s->o;
  const struct {
    bool ok;
    const char *why;
  } rules[] = {
    { c->target->exact && c->target->cc == 90, "fwd_wgmma: the target has no wgmma" },
    { same, "fwd_wgmma: q, k, v and o must have one dtype" },
    { s->q != DT_F32, "fwd_wgmma: fp32 has no wgmma of full precision" },
  };
  bool all = true;
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
    if (!rules[i].ok)
      reason(user, rules[i].why);
    all = all && rules[i].ok;
  }
  return all;
}

static Sched
plain(int bm, int bn, int stages)
{
  return (Sched){ .tmpl = &fwd_wgmma, .bm = bm, .bn = bn, .stages = stages,
                  .warps = 4 + bm / 16, .overlap = true, .pingpong = bm > 64,
                  .scheduler = SCHED_GRID, .cluster = 1, .tma_store = true, .q_stages = 1 };
}

/* The n-th of the mixed-radix number whose digits are the fields. */
static int
digit(int *n, int radix)
{
  int d = *n % radix;
  *n /= radix;
  return d;
}

bool
hopper_space(const Case *c, int n, Sched *s)
{
  static const int rows[] = { 128, 192, 64 };
  static const int keys[] = { 128, 176, 64, 80, 96, 112, 144, 160, 192 };
  (void)c;
  int bm = rows[digit(&n, 3)], bn = keys[digit(&n, 9)], stages = 2 + digit(&n, 2);
  *s = plain(bm, bn, stages);
  s->overlap = !digit(&n, 2);
  s->pingpong = !digit(&n, 2) && bm > 64;
  s->p_smem = digit(&n, 2);
  s->scheduler = digit(&n, 2) ? SCHED_PERSISTENT : SCHED_GRID;
  s->q_stages = 1 + digit(&n, 2);
  return n == 0;
}

/* ---- what they take ---- */

/* The loading lane needs more than 24 registers where it walks over blocks of work or over
 * both ends of a window. */
static bool
busy_loader(const Spec *p, const Sched *s)
{
  return s->bm < 192 && (spec_band(p).lo != INT_MIN || s->scheduler != SCHED_GRID);
}

int
load_regs(const Spec *p, const Sched *s)
{
  return s->bm == 192 ? 32 : busy_loader(p, s) ? 40 : 24;
}

int
mma_regs(const Spec *p, const Sched *s)
{
  return s->bm == 192 ? 160 : busy_loader(p, s) ? 232 : 240;
}

static int
largest(int a, int b)
{
  return a > b ? a : b;
}

/* Exactly what the tile program declares (a test compares): rings, P, mbarriers. */
static int
shared_bytes(const Spec *p, const Sched *s)
{
  int q = s->q_stages * s_bytes(p->q, s->bm, largest(p->head_dim, p->head_dim_v));
  int kv = s->stages * (s_bytes(p->k, s->bn, p->head_dim) + s_bytes(p->v, s->bn, p->head_dim_v));
  int pw = s->p_smem ? s_bytes(p->q, s->bm, s->bn) : 0;
  return q + kv + pw + 16 * (s->q_stages + 2 * s->stages);
}

/* Registers a thread of O, S and P, as kernels measured with ptxas show them to count. */
static int
live_regs(const Spec *p, const Sched *s)
{
  int pw = s->p_smem ? 0 : s->bn / 4;
  return p->head_dim_v / 2 + s->bn / 2 + pw;
}

static const char *
refuse_shape(const Sched *s, Arena *a)
{
  if (s->bm != 64 && s->bm != 128 && s->bm != 192)
    return arena_printf(a, "block_m %d is not 64, 128 or 192: a warpgroup has 64 rows", s->bm);
  if (s->warps != 4 + s->bm / 16)
    return arena_printf(a, "num_warps %d: block_m %d takes %d, four of which load", s->warps,
                        s->bm, 4 + s->bm / 16);
  if (s->bn < 16 || s->bn % 16 || s->bn > 256)
    return arena_printf(a, "block_n %d is not a multiple of 16 up to 256", s->bn);
  if (s->stages < 1 || s->stages > 4)
    return arena_printf(a, "num_stages %d is not in 1 … 4", s->stages);
  if (s->q_stages < 1 || s->q_stages > 2)
    return arena_printf(a, "q_stages %d is not 1 or 2", s->q_stages);
  if (s->pingpong && s->bm == 64)
    return arena_strdup(a, "pingpong takes two warpgroups: block_m 64 has one");
  if (s->q_stages > 1 && s->scheduler == SCHED_GRID)
    return arena_strdup(a, "q_stages 2 has no use where a CTA has one block of queries");
  return NULL;
}

const char *
hopper_refuse(const Case *c, const Sched *s, Arena *a)
{
  const char *why = refuse_shape(s, a);
  int group = c->spec->group_size, smem = shared_bytes(c->spec, s);
  int regs = live_regs(c->spec, s), most = mma_regs(c->spec, s) - OTHERS;
  if (why)
    return why;
  if (s->pack && (group < 2 || s->bm % group || 64 % group))
    return arena_printf(a, "pack_gqa takes a pinned group_size that divides 64, not %d", group);
  if (smem > c->target->smem_block)
    return arena_printf(a, "needs %d bytes of shared memory, %s has %d a block", smem,
                        c->target->name, c->target->smem_block);
  if (regs > most)
    return arena_printf(a, "O, S and P take %d registers a thread, %d is the limit", regs, most);
  return NULL;
}

/* ---- what they cost ---- */

/* Clocks of one tile on a multiprocessor (all warpgroups): the tensor cores (1024 fp16
 * multiply-adds a clock and sub-core quarter, 4096 FLOP in all), exp2 (16 a clock), what is
 * issued besides (four schedulers, a warp each), and the way from L2. */
typedef struct Clocks {
  double mma, mufu, issue, load;
} Clocks;

static Clocks
tile_clocks(const Case *c, const Sched *s, bool masked)
{
  double m = s->bm, n = s->bn, d = c->spec->head_dim, dv = c->spec->head_dim_v;
  double per = masked ? 7.2 : 5.2;
  return (Clocks){
    .mma = m * n * (d + dv) / 2048,
    .mufu = m * n / 16,
    .issue = m * n * per / 128 + m * dv / 128,
    .load = n * (d + dv) * 2 / 64,
  };
}

/* With overlap and turns, softmax hides behind the products of the other warpgroup and of
 * the next tile; what neither hides is added. */
static double
tile_time(const Sched *s, Clocks k)
{
  double soft = largest(1, 0) * (k.mufu > k.issue ? k.mufu : k.issue);
  double longest = k.mma > soft ? k.mma : soft, other = k.mma > soft ? soft : k.mma;
  double hidden = s->overlap && s->pingpong ? 0.85
                  : s->overlap              ? 0.75
                  : s->bm > 64              ? 0.65
                                            : 0.15;
  double t = longest + (1 - hidden) * other + (s->p_smem ? 60 : 0);
  return t > k.load ? t : k.load;
}

SchedCost
hopper_cost(const Case *c, const Sched *s)
{
  Case k = fwd_assume(c);
  SchedCost r = { .smem = shared_bytes(c->spec, s), .regs = mma_regs(c->spec, s), .ctas_sm = 1 };
  FwdTiles n = fwd_tiles(&k, s->bm, s->bn);
  double full = tile_time(s, tile_clocks(&k, s, false));
  double part = tile_time(s, tile_clocks(&k, s, true));
  double begin = s->scheduler == SCHED_PERSISTENT ? (s->q_stages > 1 ? 900 : 1200) : 2200;
  double each = (n.full * full + n.partial * part) / n.blocks + begin;
  double rounds = n.blocks / k.sms, whole = (double)(int64_t)(rounds + 0.999);
  bool sorted = spec_band(c->spec).hi != INT_MAX; /* the last wave is of short blocks */
  r.cycles = each * (sorted ? rounds + 0.3 : rounds < 1 ? 1 : whole);
  return r;
}

/* FlashAttention-3's tiles, as far as padded panels let them fit. */
Sched
hopper_initial(const Case *c)
{
  static const int wish[][3] = { { 192, 128, 2 }, { 128, 176, 2 }, { 128, 128, 2 },
                                 { 128, 112, 2 }, { 128, 96, 2 },  { 128, 80, 2 },
                                 { 128, 64, 2 },  { 128, 64, 1 },  { 128, 32, 1 },
                                 { 64, 32, 1 },   { 64, 16, 1 } };
  const Spec *p = c->spec;
  Band band = spec_band(p);
  Arena *scratch = arena_new(1 << 16);
  Sched s = plain(64, 16, 1);
  for (size_t i = 0; scratch && i < sizeof wish / sizeof *wish; i++) {
    s = plain(wish[i][0], wish[i][1], wish[i][2]);
    bool wide = wish[i][1] > 128; /* pays where few tiles are masked */
    if (wide && (band.hi != INT_MAX || band.lo != INT_MIN))
      continue;
    if (!hopper_refuse(c, &s, scratch))
      break;
  }
  arena_free(scratch);
  return s;
}

/* ---- how the work is shared out ---- */

static int
packed(const Fwd *p, const Sched *s)
{
  return s->pack ? p->spec->group_size : 1;
}

/* Blocks of rows of one head. */
static Idx
blocks(const Fwd *p, const Sched *s)
{
  return i_cdiv(p->sq, s->bm / packed(p, s));
}

static Idx
heads(const Fwd *p, const Sched *s)
{
  return s->pack ? p->hk : p->h;
}

Span
works(Tb *t, const Fwd *p, const Sched *s)
{
  Grid g = { .linear = true, .persistent = s->scheduler == SCHED_PERSISTENT, .rows = s->bm,
             .pack = packed(p, s), .cluster = s->cluster };
  Idx cta = i_cta(t, 0);
  t_grid(t, g);
  if (!g.persistent)
    return (Span){ cta, i_add(cta, 1), i_int(1) };
  Idx all = i_mul(blocks(p, s), heads(p, s));
  all = i_mul(all, i_batches(t));
  return (Span){ cta, all, i_ctas(t) };
}

/* Heads (of queries, or packed) whose K and V fill a section of the L2 cache; no product here
 * is larger than the number of heads. */
static Idx
section(const Fwd *p, const Sched *s, Idx all)
{
  int row = (p->d + p->dv) * dtype_bytes(p->dt);
  Idx fit = i_max(1, i_div(L2_SECTION / row, i_max(1, p->sk)));
  if (s->pack)
    return i_min(fit, all);
  Idx group = p->spec->group_size ? i_int(p->spec->group_size)
                                  : i_max(1, i_div(p->h, i_max(1, p->hk)));
  return i_min(i_mul(i_min(fit, all), group), all);
}

static Work
place(const Fwd *p, const Sched *s, Idx head, Idx block)
{
  Idx n = i_max(1, heads(p, s));
  int group = p->spec->group_size;
  Work w = { .b = i_div(head, n) };
  w.q0 = i_mul(block, s->bm);
  w.h = i_mod(head, n);
  w.hk = w.h;
  if (s->pack)
    return w;
  Idx all = i_max(1, p->h), by = i_mul(w.h, p->hk);
  w.hk = group ? i_div(w.h, group) : i_div(by, all);
  return w;
}

Work
work(Tb *t, const Fwd *p, const Sched *s, Idx i)
{
  Idx m = i_max(1, blocks(p, s));
  if (p->mask.band.hi == INT_MAX) {
    Idx head = i_div(i, m), block = i_mod(i, m);
    return place(p, s, head, block);
  }
  Idx all = i_max(1, i_mul(heads(p, s), i_batches(t))), some = section(p, s, all);
  Idx each = i_mul(some, m), first = i_mul(i_div(i, each), some);
  Idx here = i_max(1, i_min(some, i_sub(all, first))), rest = i_mod(i, each);
  Idx down = i_div(rest, here), block = i_sub(m, i_add(down, 1));
  Idx head = i_add(first, i_mod(rest, here));
  return place(p, s, head, block);
}

Walk
work_keys(const Fwd *p, const Sched *s, const Work *w)
{
  int group = packed(p, s);
  return w_keys(&p->mask, i_div(w->q0, group), s->bm / group, s->bn);
}
