/* mixed: a batch of which some sequences have prompts of many queries and others a few, as
 * a serving engine's: those of one block of decode_mma's rows are decoded, all others are
 * fwd_mma's.  The entries are theirs, of two other calls (b_other_call): of each only the
 * sequences of its class have queries.
 *
 * One plan on the device lists the items of those with few queries; blocks of the others
 * find their sequence by the offsets, as fwd_mma does by itself.  Lengths are read on the
 * device alone, so that a captured graph serves any batch. */
#include "templates/cascade.h"
#include "templates/fwd.h"
#include "templates/lengths.h"
#include "templates/partition.h"
#include "templates/sched_decode.h"

extern const Template decode_mma, fwd_mma, mixed;

/* ---- options ---- */

/* Part, name in the part, and a row of its table: the common members are the prefill's. */
#define OPTIONS(X)                                                                         \
  X(prefill, q_in_regs, BOOL, 0, 1, "true", "Prompts: keep q in registers.")               \
  X(decode, block_m, INT, 16, 32, "16", "Few queries: rows of a block.")                   \
  X(decode, block_n, INT, 32, 128, "64", "Few queries: keys of a tile.")                   \
  X(decode, num_stages, INT, 1, 4, "2", "Few queries: depth of the rings.")                \
  X(decode, num_warps, INT, 2, 8, "4", "Few queries: warps of a block.")                   \
  X(decode, warps_n, INT, 1, 4, "4", "Few queries: warps that have the same rows.")        \
  X(decode, q_in_regs, BOOL, 0, 1, "true", "Few queries: keep q in registers.")            \
  X(decode, pack_gqa, BOOL, 0, 1, "true", "Few queries: rows are positions and heads.")    \
  X(decode, split_keys, INT, 32, 65536, "512", "Few queries: keys of an item, at first.")
#define MEMBER(part, name, ...) int part##_##name;
#define ROW(part, name, kind, min, max, example, what)                                     \
  {#part "." #name, SK_##kind, min, max, NULL, SCHED_KEEP, example, what},
typedef struct Mixed {
  const Template *tmpl;
  int bm, bn, stages, warps;
  OPTIONS(MEMBER)
} Mixed;
_Static_assert(sizeof(Mixed) <= sizeof(Sched), "SCHED_OPTIONS");
static const SchedField options[] = {OPTIONS(ROW)};

static Sched
sched_of(const Mixed *own)
{
  Sched s = {0};
  memcpy(&s, own, sizeof *own);
  return s;
}

static void
set(Sched *s, const char *name, int value)
{
  *sched_at(s, sched_find(s->tmpl, name)) = value;
}

/* The schedule of one part, as its template has it. */
static Sched
part(const Template *of, const char *name, const Sched *s)
{
  Sched x = of->plain();
  size_t n = strlen(name);
  for (int i = 0; i < mixed.n_options; i++) {
    const char *full = options[i].name;
    if (!strncmp(full, name, n) && full[n] == '.')
      set(&x, full + n + 1, s->option[i]);
  }
  return x;
}

static Sched
decode_part(const Sched *s)
{
  return part(&decode_mma, "decode", s);
}

static Sched
prefill_part(const Sched *s)
{
  Sched x = part(&fwd_mma, "prefill", s);
  x.bm = s->bm;
  x.bn = s->bn;
  x.stages = s->stages;
  x.warps = s->warps;
  return x;
}

/* ---- applicable, space, cost ---- */

static bool
applicable(const Case *c, Why *why)
{
  const Spec *s = c->spec;
  const Rule rules[] = {
      {spec_has_tensor(s, ATTNC_CU_SEQLENS_Q),
       "sequences of few and of many queries are packed: seqlens has no cu_seqlens_q",
       REASON_FIELD},
      {!spec_has_lists(s), "block_list has no walk of single rows", REASON_FIELD},
      {decode_own_columns(c),
       "head_dim or head_dim_v above 256, or without cp.async 176 and of "
       "pages 160: prompts have no warps that share rows",
       REASON_DIMS},
  };
  bool takes = rules_hold(rules, (int)(sizeof rules / sizeof *rules), why);
  takes = fwd_mma.applicable(c, why) && takes;
  return decode_mma.applicable(c, why) && takes;
}

/* Queries of a block that is decoded: positions, where heads of a group are packed. */
static int
few(const Spec *p, const Sched *s)
{
  const Mixed *m = (const Mixed *)(const void *)s;
  bool packs = m->decode_pack_gqa && p->group_size > 1;
  return packs ? m->decode_block_m / p->group_size : m->decode_block_m;
}

/* So many queries are few, whatever the schedule: what decode_mma is meant for. */
enum { ROWS_LEAST = 16 };

static int
few_at_least(const Spec *p)
{
  int group = p->group_size;
  return group > 1 && group <= ROWS_LEAST ? ROWS_LEAST / group : ROWS_LEAST;
}

/* Sequences of a class, and what they have in the mean. */
typedef struct Share {
  double n, q;
  int64_t longest;
} Share;

static void
share(const Case *c, int most, Share *of_few, Share *of_many)
{
  Lengths x = lengths_assumed(c);
  *of_few = *of_many = (Share){0};
  for (int i = 0; i < x.n; i++) {
    Share *s = x.of[i].q <= most ? of_few : of_many;
    s->n += x.each;
    s->q += x.each * (double)x.of[i].q;
    s->longest = x.of[i].q > s->longest ? x.of[i].q : s->longest;
  }
}

/* Half of the sequences have few queries by the rows that the batch has, and some more. */
static bool
meant(const Case *c)
{
  Share a, b;
  if (c->b < 2 || c->h < 1 || c->sq < 1 || c->sk < 1 || c->mean_q < 1)
    return false;
  share(c, few_at_least(c->spec), &a, &b);
  return b.n > 0 && a.n >= b.n;
}

static const SpaceAxis rows = {{"block_m", "num_warps"}, 3, {{64, 4}, {128, 4}, {128, 8}}};
static const SpaceAxis keys = {{"block_n"}, 4, {{32}, {64}, {128}, {16}}};
static const SpaceAxis stages = {{"num_stages"}, 2, {{1}, {2}}};
static const SpaceAxis q_place = {{"prefill.q_in_regs"}, 2, {{false}, {true}}};
static const SpaceAxis decode_rows = {{"decode.block_m"}, 2, {{16}, {32}}};
/* 16 keys a warp: with 32, and 32 rows of head_dim 128, ptxas 13.0 spills 8 bytes. */
static const SpaceAxis decode_keys = {
    {"decode.block_n", "decode.num_warps"}, 2, {{64, 4}, {32, 2}}};
static const SpaceAxis decode_stages = {{"decode.num_stages"}, 3, {{1}, {2}, {4}}};
static const SpaceAxis decode_q = {{"decode.q_in_regs"}, 2, {{false}, {true}}};
static const SpaceAxis packed = {{"decode.pack_gqa"}, 2, {{false}, {true}}};

/* Without cp.async there is one stage. */
static const SpaceAxis *const *
axes(const Case *c)
{
  static const SpaceAxis *const all[2][10] = {
      {&rows, &keys, &q_place, &decode_rows, &decode_keys, &decode_q, &packed},
      {&rows, &keys, &stages, &q_place, &decode_rows, &decode_keys, &decode_stages,
       &decode_q, &packed}};
  return all[c->target->cp_async];
}

static Sched
plain(void)
{
  const Mixed x = {.tmpl = &mixed,
                   .stages = 1,
                   .decode_num_stages = 1,
                   .decode_warps_n = 1,
                   .decode_split_keys = 512};
  return sched_of(&x);
}

static bool
refuse(const Case *c, const Sched *s, Why *why)
{
  Sched decode = decode_part(s), prefill = prefill_part(s);
  Case prompts = *c;
  prompts.num_splits = 0; /* is of what is decoded */
  return decode_mma.refuse(c, &decode, why) || fwd_mma.refuse(&prompts, &prefill, why);
}

/* Of a class of sequences alone. */
static Case
case_of(const Case *c, const Share *s)
{
  Case k = *c;
  k.b = s->n < 1 ? 1 : (int64_t)s->n;
  k.sq = s->longest < 1 ? 1 : s->longest;
  k.mean_q = s->n > 0 ? (int64_t)(s->q / s->n) : 0;
  k.memo = NULL;
  return k;
}

static SchedCost
cost(const Case *c, const Sched *s)
{
  Share a, b;
  Sched decode = decode_part(s), prefill = prefill_part(s);
  Case k = *c;
  k.b = k.b ? k.b : 2;
  k.sq = k.sq ? k.sq : 2048;
  k.sk = k.sk ? k.sk : k.sq;
  share(&k, few(c->spec, s), &a, &b);
  Case of_few = case_of(&k, &a), of_many = case_of(&k, &b);
  SchedCost one = decode_mma.cost(&of_few, &decode);
  SchedCost other = fwd_mma.cost(&of_many, &prefill);
  SchedCost r = other.smem > one.smem ? other : one;
  r.flight = one.flight;
  r.flight_wanted = one.flight_wanted;
  r.cycles = one.cycles * (a.n > 0) + other.cycles * (b.n > 0);
  return r;
}

/* What each part takes where nothing is known. */
static Sched
initial(const Case *c)
{
  Sched decode = decode_mma.initial(c), prefill = fwd_mma.initial(c), s = plain();
  s.bm = prefill.bm;
  s.bn = prefill.bn;
  s.stages = prefill.stages;
  s.warps = prefill.warps;
  for (int i = 0; i < mixed.n_options; i++) {
    const char *name = options[i].name, *own = strchr(name, '.') + 1;
    Sched *of = name[0] == 'd' ? &decode : &prefill;
    s.option[i] = *sched_at(of, sched_find(of->tmpl, own));
  }
  return s;
}

/* ---- emit ---- */

static void
to_class(Tb *t, Call *c, const void *user)
{
  const Call *which = user;
  (void)t;
  c->queries = which->queries;
  c->few = which->few;
}

static void
attend(Build *b, const Call *call, const Sched *s, Ahead *ahead)
{
  Arena *a = t_arena(call->tb);
  Sched *decode = NEW(a, Sched), *prefill = NEW(a, Sched);
  Call *of_few = NEW(a, Call), *of_many = NEW(a, Call);
  OtherCall *outer = NEW(a, OtherCall);
  *outer = *b_call_now(b);
  *decode = decode_part(s);
  *prefill = prefill_part(s);
  of_few->few = of_many->few = few(call->spec, s);
  of_few->queries = QUERIES_FEW;
  of_many->queries = QUERIES_MANY;
  OtherCall one = {.name = outer->name, .change = to_class, .user = of_few};
  OtherCall other = {.name = outer->name, .change = to_class, .user = of_many};
  one.inside = other.inside = outer;
  decode_mma.attend(b, b_other_call(b, &one), decode, ahead);
  fwd_mma.attend(b, b_other_call(b, &other), prefill, ahead);
}

static void
print(const Sched *s, Str *out)
{
  Sched decode = decode_part(s), prefill = prefill_part(s);
  str_put(out, "mixed: few queries ");
  decode_mma.print(&decode, out);
  str_put(out, "; others ");
  fwd_mma.print(&prefill, out);
}

const Template mixed = {
    .name = "mixed",
    .what = "packed batches of prompts and decodes: fwd_mma and decode_mma in one plan",
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
    .emit = cascade_emit,
    .attend = attend,
    .print = print,
    .codegen_level = 2,
};
