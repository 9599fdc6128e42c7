/* mixed, mixed_wgmma: a batch of which some sequences have prompts of many queries and
 * others a few, as a serving engine's: those of one block of decode_mma's rows are decoded,
 * all others are fwd_mma's, or fwd_wgmma's.  The entries are theirs, of two other calls
 * (b_other_call): of each only the sequences of its class have queries.
 *
 * One plan on the device lists the items of those with few queries; blocks of the others
 * find their sequence by the offsets, as fwd_mma does by itself.  Lengths are read on the
 * device alone, so that a captured graph serves any batch. */
#include "templates/cascade.h"
#include "templates/fwd.h"
#include "templates/lengths.h"
#include "templates/partition.h"
#include "templates/sched_decode.h"

extern const Template decode_mma, fwd_mma, fwd_wgmma, mixed, mixed_wgmma;

/* ---- options ---- */

/* The common members are the prompts'; a row's name says whose it is. */
#define PART(name, kind, min, max, names, example, what)                                   \
  {                                                                                        \
    name, SK_##kind, min, max, names, SCHED_KEEP, example, what                            \
  }
#define FEW_QUERIES                                                                        \
  PART("decode.block_m", INT, 16, 32, NULL, "16", "Few queries: rows of a block."),        \
      PART("decode.block_n", INT, 32, 128, NULL, "64", "Few queries: keys of a tile."),    \
      PART("decode.num_stages", INT, 1, 4, NULL, "2", "Few queries: depth of the rings."), \
      PART("decode.num_warps", INT, 2, 8, NULL, "4", "Few queries: warps of a block."),    \
      PART("decode.warps_n", INT, 1, 4, NULL, "4",                                         \
           "Few queries: warps that have the same rows."),                                 \
      PART("decode.q_in_regs", BOOL, 0, 1, NULL, "true",                                   \
           "Few queries: keep q in registers."),                                           \
      PART("decode.pack_gqa", BOOL, 0, 1, NULL, "true",                                    \
           "Few queries: rows are positions and heads."),                                  \
      PART("decode.split_keys", INT, 32, 65536, NULL, "512",                               \
           "Few queries: keys of an item, at first.")

static const SchedField options_mma[] = {
    PART("prefill.q_in_regs", BOOL, 0, 1, NULL, "true", "Prompts: keep q in registers."),
    FEW_QUERIES};
static const SchedField options_wgmma[] = {
    PART("prefill.p_in_smem", BOOL, 0, 1, NULL, "false",
         "Prompts: weights go through shared memory, not registers."),
    PART("prefill.pingpong", BOOL, 0, 1, NULL, "true",
         "Prompts: warpgroups take turns at the tensor cores."),
    PART("prefill.scheduler", ENUM, SCHED_GRID, SCHED_PERSISTENT, "grid persistent",
         "persistent", "Prompts: blocks of work: one a CTA; as a CTA strides over them."),
    PART("prefill.q_stages", INT, 1, 2, NULL, "2",
         "Prompts: blocks of q in shared memory."),
    PART("prefill.pack_gqa", BOOL, 0, 1, NULL, "true",
         "Prompts: rows are positions and heads of a group."),
    FEW_QUERIES};

/* One of the templates of this file: who has the prompts. */
typedef struct Mix {
  const Template *self, *prompts;
} Mix;
static const Mix of_mma = {&mixed, &fwd_mma}, of_wgmma = {&mixed_wgmma, &fwd_wgmma};

static const Mix *
mix_of(const Sched *s)
{
  return s->tmpl == &mixed_wgmma ? &of_wgmma : &of_mma;
}

static int
value(const Sched *s, const char *name)
{
  Sched own = *s;
  return *sched_at(&own, sched_find(s->tmpl, name));
}

static void
set(Sched *s, const char *name, int to)
{
  *sched_at(s, sched_find(s->tmpl, name)) = to;
}

/* The schedule of one part, as its template has it. */
static Sched
part(const Template *of, const char *name, const Sched *s)
{
  Sched x = of->plain();
  size_t n = strlen(name);
  for (int i = 0; i < s->tmpl->n_options; i++) {
    const char *full = s->tmpl->options[i].name;
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
  Sched x = part(mix_of(s)->prompts, "prefill", s);
  x.bm = s->bm;
  x.bn = s->bn;
  x.stages = s->stages;
  x.warps = s->warps;
  return x;
}

/* ---- applicable, space, cost ---- */

static bool
applicable(const Mix *m, const Case *c, Why *why)
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
  takes = m->prompts->applicable(c, why) && takes;
  return decode_mma.applicable(c, why) && takes;
}

/* Queries of a block that is decoded: positions, where heads of a group are packed. */
static int
few(const Spec *p, const Sched *s)
{
  bool packs = value(s, "decode.pack_gqa") && p->group_size > 1;
  int rows = value(s, "decode.block_m");
  return packs ? rows / p->group_size : rows;
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
/* Of fwd_wgmma's own fewer, as they stand beside decode_mma's. */
static const SpaceAxis team_rows = {{"block_m", "num_warps", "prefill.pingpong"},
                                    3,
                                    {{128, 12, true}, {192, 16, true}, {64, 8, false}}};
static const SpaceAxis team_keys = {
    {"block_n"}, 6, {{128}, {176}, {64}, {80}, {96}, {112}}};
static const SpaceAxis dealing = {
    {"prefill.scheduler", "prefill.q_stages"},
    3,
    {{SCHED_GRID, 1}, {SCHED_PERSISTENT, 1}, {SCHED_PERSISTENT, 2}}};
static const SpaceAxis decode_rows = {{"decode.block_m"}, 2, {{16}, {32}}};
/* 16 keys a warp: with 32, and 32 rows of head_dim 128, ptxas 13.0 spills 8 bytes. */
static const SpaceAxis decode_keys = {
    {"decode.block_n", "decode.num_warps"}, 2, {{64, 4}, {32, 2}}};
static const SpaceAxis decode_stages = {{"decode.num_stages"}, 3, {{1}, {2}, {4}}};
static const SpaceAxis decode_q = {{"decode.q_in_regs"}, 2, {{false}, {true}}};
static const SpaceAxis packed = {{"decode.pack_gqa"}, 2, {{false}, {true}}};

static const SpaceAxis *const *
axes_wgmma(const Case *c)
{
  static const SpaceAxis *const all[] = {&team_rows,   &team_keys,   &dealing,
                                         &decode_rows, &decode_keys, &decode_stages,
                                         &decode_q,    &packed,      NULL};
  (void)c;
  return all;
}

/* Without cp.async there is one stage. */
static const SpaceAxis *const *
axes_mma(const Case *c)
{
  static const SpaceAxis *const all[2][10] = {
      {&rows, &keys, &q_place, &decode_rows, &decode_keys, &decode_q, &packed},
      {&rows, &keys, &stages, &q_place, &decode_rows, &decode_keys, &decode_stages,
       &decode_q, &packed}};
  return all[c->target->cp_async];
}

static Sched
plain(const Mix *m)
{
  Sched s = {.tmpl = m->self, .stages = 1};
  Sched of_many = m->prompts->plain();
  for (int i = 0; i < m->self->n_options; i++) {
    const char *full = m->self->options[i].name, *own = strchr(full, '.') + 1;
    if (*full == 'p')
      s.option[i] = *sched_at(&of_many, sched_find(m->prompts, own));
  }
  s.stages = of_many.stages;
  set(&s, "decode.num_stages", 1);
  set(&s, "decode.warps_n", 1);
  set(&s, "decode.split_keys", 512);
  return s;
}

static bool
refuse(const Case *c, const Sched *s, Why *why)
{
  Sched decode = decode_part(s), prefill = prefill_part(s);
  Case prompts = *c;
  prompts.num_splits = 0; /* is of what is decoded */
  return decode_mma.refuse(c, &decode, why) ||
         mix_of(s)->prompts->refuse(&prompts, &prefill, why);
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
  SchedCost other = mix_of(s)->prompts->cost(&of_many, &prefill);
  SchedCost r = other.smem > one.smem ? other : one;
  r.flight = one.flight;
  r.flight_wanted = one.flight_wanted;
  r.cycles = one.cycles * (a.n > 0) + other.cycles * (b.n > 0);
  return r;
}

/* What each part takes where nothing is known. */
static Sched
initial(const Mix *m, const Case *c)
{
  Sched decode = decode_mma.initial(c), prefill = m->prompts->initial(c), s = plain(m);
  s.bm = prefill.bm;
  s.bn = prefill.bn;
  s.stages = prefill.stages;
  s.warps = prefill.warps;
  for (int i = 0; i < m->self->n_options; i++) {
    const char *name = m->self->options[i].name, *own = strchr(name, '.') + 1;
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
  mix_of(s)->prompts->attend(b, b_other_call(b, &other), prefill, ahead);
}

static void
print(const Sched *s, Str *out)
{
  Sched decode = decode_part(s), prefill = prefill_part(s);
  str_printf(out, "%s: few queries ", s->tmpl->name);
  decode_mma.print(&decode, out);
  str_put(out, "; others ");
  mix_of(s)->prompts->print(&prefill, out);
}

static bool
applicable_mma(const Case *c, Why *why)
{
  return applicable(&of_mma, c, why);
}

static Sched
plain_mma(void)
{
  return plain(&of_mma);
}

static Sched
initial_mma(const Case *c)
{
  return initial(&of_mma, c);
}

const Template mixed = {
    .name = "mixed",
    .what = "packed batches of prompts and decodes: fwd_mma and decode_mma in one plan",
    .revision = 1,
    .options = options_mma,
    .n_options = sizeof options_mma / sizeof *options_mma,
    .applicable = applicable_mma,
    .meant = meant,
    .axes = axes_mma,
    .plain = plain_mma,
    .refuse = refuse,
    .cost = cost,
    .initial = initial_mma,
    .emit = cascade_emit,
    .attend = attend,
    .print = print,
    .codegen_level = 2,
};

static bool
applicable_wgmma(const Case *c, Why *why)
{
  return applicable(&of_wgmma, c, why);
}

static Sched
plain_wgmma(void)
{
  return plain(&of_wgmma);
}

static Sched
initial_wgmma(const Case *c)
{
  return initial(&of_wgmma, c);
}

const Template mixed_wgmma = {
    .name = "mixed_wgmma",
    .what = "the same with fwd_wgmma: sm_90a",
    .revision = 1,
    .options = options_wgmma,
    .n_options = sizeof options_wgmma / sizeof *options_wgmma,
    .applicable = applicable_wgmma,
    .meant = meant,
    .axes = axes_wgmma,
    .plain = plain_wgmma,
    .refuse = refuse,
    .cost = cost,
    .initial = initial_wgmma,
    .emit = cascade_emit,
    .attend = attend,
    .print = print,
    .codegen_level = 2,
};
