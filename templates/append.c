#include "templates/append.h"

#include "templates/row_blocks.h"

static const SpaceAxis warps_of_block = {
    {"block_m", "num_warps"}, 2, {{1, 1}, {2, 2}, {4, 4}, {8, 8}}};

enum { DEFAULT_WARPS = 4 };

extern const Template append;

static bool
applicable(const Case *c, Why *why)
{
  const Rule rules[] = {
      {!spec_has_tensor(c->spec, ATTNC_CU_SEQLENS_K),
       "keys that cu_seqlens_k packs are no cache: nothing fits behind them", REASON_FIELD},
  };
  return rules_hold(rules, (int)(sizeof rules / sizeof *rules), why);
}

static const SpaceAxis *const *
axes(const Case *c)
{
  static const SpaceAxis *const all[] = {&warps_of_block, NULL};
  (void)c;
  return all;
}

static Sched
plain(void)
{
  return (Sched){
      .tmpl = &append, .bm = DEFAULT_WARPS, .bn = 1, .stages = 1, .warps = DEFAULT_WARPS};
}

static bool
refuse(const Case *c, const Sched *s, Why *why)
{
  (void)c;
  return row_a_warp(s, why);
}

enum { ROW_SLOTS = 120 }; /* instructions of a row and warp */

static SchedCost
cost(const Case *c, const Sched *s)
{
  double rows = c->s_new ? (double)c->s_new : 1;
  double heads = (double)(c->b ? c->b : 2) * (double)(c->hk ? c->hk : 16);
  SchedCost r = {.regs = 40, .ctas_sm = c->target->threads_sm / (32 * s->warps)};
  r.ctas_sm = r.ctas_sm < c->target->blocks_sm ? r.ctas_sm : c->target->blocks_sm;
  r.cycles = heads * row_blocks_clocks(c, rows, s->warps, ROW_SLOTS);
  return r;
}

static Sched
initial(const Case *c)
{
  (void)c;
  return plain();
}

/* ---- what is written ---- */

RopeArgs
rope_of(const Call *p, Idx at, bool same)
{
  const SpecRope *r = &p->spec->rope;
  return (RopeArgs){.cos = p->lengths[ATTNC_ROTARY_COS],
                    .sin = p->lengths[ATTNC_ROTARY_SIN],
                    .at = at,
                    .same = same,
                    .dim = r->dim,
                    .interleaved = r->interleaved};
}

/* Where a block's rows go. */
typedef struct CachePlace {
  const Call *p;
  Idx at;    /* rows that the sequence had */
  Idx batch; /* its batch of the cache, or row of the page table */
  Idx end;   /* of its rows, the new ones among them */
} CachePlace;

static CachePlace
place_of(Tb *t, const Call *p, const RowBlock *r)
{
  const Lookup *chosen = p->lengths[ATTNC_CACHE_BATCH_IDX];
  CachePlace x = {.p = p, .at = i_length(t, p->lengths[ATTNC_APPEND_AT], r->b)};
  x.batch = chosen ? i_length(t, chosen, r->b) : r->b;
  x.end = i_min(i_add(x.at, r->n), p->sk);
  return x;
}

static View
in_cache(const CachePlace *x, const RowBlock *r, const Tensor *to, int n)
{
  const Call *p = x->p;
  const Lookup *pages = p->lengths[ATTNC_PAGE_TABLE];
  if (to == p->v && p->lengths[ATTNC_PAGE_TABLE_V])
    pages = p->lengths[ATTNC_PAGE_TABLE_V];
  Idx row = i_add(x->at, r->row);
  View v = v_until(v_rows(to, pages ? i_int(0) : x->batch, r->h, row, n), x->end);
  return pages ? v_paged(v, pages, x->batch, call_size(p, SIZE_PAGE_SIZE)) : v;
}

static Idx
position(Tb *t, const Call *p, const RowBlock *r, const CachePlace *x)
{
  const Lookup *own = p->lengths[ATTNC_ROTARY_AT];
  return i_add(own ? i_length(t, own, r->b) : x->at, r->row);
}

static void
write_rows(Tb *t, const Call *p, const RowBlock *r, int n)
{
  CachePlace x = place_of(t, p, r);
  View from = row_view(r, p->at[ATTNC_K_NEW], n);
  Tile k;
  if (p->spec->rope.dim) {
    RopeArgs rope = rope_of(p, position(t, p, r, &x), false);
    k = t_load_rope(t, from, &rope);
  } else {
    k = t_load(t, from);
  }
  Tile v = t_load(t, row_view(r, p->at[ATTNC_V_NEW], n));
  t_store(t, in_cache(&x, r, p->k, n), k);
  t_store(t, in_cache(&x, r, p->v, n), v);
}

void
append_rows(Tb *t, const Call *p, int warps)
{
  static const RowSource new_rows = {.heads = SIZE_HK,
                                     .rows = SIZE_S_NEW,
                                     .total = SIZE_TOTAL_NEW,
                                     .offsets = ATTNC_CU_SEQLENS_K_NEW};
  RowBlock r = row_block(t, p, &new_rows, warps);
  T_WORK (t, r.is)
    write_rows(t, p, &r, warps);
}

static void
emit(Build *b, const Call *call, const Sched *s)
{
  (void)call;
  T_ENTRY (b, t, NULL, .warps = s->warps)
    append_rows(t, t_call(t), s->warps);
}

static void
print(const Sched *s, Str *out)
{
  str_printf(out, "append %d rows, a warp each", s->bm);
}

const Template append = {
    .name = "append",
    .what = "new keys and values into the cache: a row a warp",
    .op = ATTNC_OP_APPEND,
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
