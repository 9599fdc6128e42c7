/* dropout_mask: which weights are kept, of all positions of a call: 16 queries a warp, 32
 * keys at a time.  For who tests what dropout drops; attention itself draws its own. */
#include "templates/row_blocks.h"

#include "base/call.h"

enum { KEYS = 32 };

extern const Template dropout_mask;

static bool
applicable(const Case *c, Why *why)
{
  const Rule rules[] = {
      {c->spec->dropout, "op dropout_mask: the spec has no dropout", REASON_FIELD}};
  return rules_hold(rules, (int)(sizeof rules / sizeof *rules), why);
}

static const SpaceAxis *const *
axes(const Case *c)
{
  static const SpaceAxis warps = {
      {"block_m", "num_warps"}, 3, {{16, 1}, {64, 4}, {128, 8}}};
  static const SpaceAxis *const all[] = {&warps, NULL};
  (void)c;
  return all;
}

static Sched
plain(void)
{
  return (Sched){.tmpl = &dropout_mask, .bm = 64, .bn = KEYS, .stages = 1, .warps = 4};
}

static bool
refuse(const Case *c, const Sched *s, Why *why)
{
  (void)c;
  if (s->warps < 1 || s->warps > 32)
    return refused(why, "num_warps %d is not in 1 … 32", s->warps);
  if (s->bm != 16 * s->warps)
    return refused(why, "block_m must be 16 for each of %d warps", s->warps);
  if (s->bn != KEYS)
    return refused(why, "block_n must be %d: keys whose bytes are drawn at once", KEYS);
  if (s->stages != 1)
    return refused(why, "num_stages must be 1: nothing is staged");
  return false;
}

/* Instructions of a warp for 16 queries and 32 keys. */
enum { BLOCK_SLOTS = 150 };

static SchedCost
cost(const Case *c, const Sched *s)
{
  double keys = c->sk ? (double)c->sk : 1024;
  int64_t rows = ((c->sq ? c->sq : 1024) + 15) / 16;
  return row_cost(c, s, c->h, rows, keys / KEYS * BLOCK_SLOTS);
}

static Sched
initial(const Case *c)
{
  (void)c;
  return plain();
}

static void
block(Tb *t, const Call *p, const RowBlock *r, const Sched *s)
{
  Tile state =
      t_drop_state(t, p->lengths[ATTNC_RNG_STATE], r->b, r->h, call_size(p, SIZE_H));
  const Span keys = {i_int(0), i_cdiv(p->sk, KEYS), i_int(1)};
  T_FOR (t, i, keys) {
    At at = {.q = r->row, .k = i_mul(i, KEYS), .b = r->b, .h = r->h};
    Tile drop = t_drop(t, state, s->bm, KEYS, at);
    t_store_keep(t, p->lengths[ATTNC_KEEP], drop, at);
  }
}

static void
forward(Tb *t, const Call *p, const Sched *s)
{
  const RowSource rows = {/* nothing packs positions: this op has no such offsets */
                          .heads = SIZE_H,
                          .rows = SIZE_SQ,
                          .offsets = ATTNC_CU_SEQLENS_Q};
  RowBlock r = row_block_of_cta(t, p, &rows, s->bm);
  T_WORK (t, r.is)
    block(t, p, &r, s);
}

static void
emit(Build *b, const Call *call, const Sched *s)
{
  (void)call;
  T_ENTRY (b, t, NULL, .warps = s->warps)
    forward(t, t_call(t), s);
}

static void
print(const Sched *s, Str *out)
{
  str_printf(out, "dropout_mask %dx%d, %d warps", s->bm, s->bn, s->warps);
}

const Template dropout_mask = {
    .name = "dropout_mask",
    .what = "which weights dropout keeps: 16 queries a warp",
    .op = ATTNC_OP_DROPOUT_MASK,
    .revision = 1,
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
