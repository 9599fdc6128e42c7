#include "templates/append.h"

#include "templates/cascade.h"
#include "templates/row_blocks.h"
#include "templates/sequence.h"

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

static Sched
plain(void)
{
  return row_plain(&append);
}

enum { ROW_SLOTS = 120 }; /* instructions of a row and warp */

static SchedCost
cost(const Case *c, const Sched *s)
{
  return row_cost(c, s, c->hk, c->s_new, ROW_SLOTS);
}

static Sched
initial(const Case *c)
{
  (void)c;
  return plain();
}

/* ---- what is written ---- */

static RopeArgs
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

/* Keys of a prefix that all sequences share stand before a sequence's own: of op append,
 * which has no prefix, the caller says positions. */
static Idx
behind_prefix(const Call *p, Idx row)
{
  bool shares = p->spec->shared_prefix && p->q;
  return shares ? i_add(call_size(p, SIZE_SP), row) : row;
}

static Idx
position(Tb *t, const Call *p, const RowBlock *r, const CachePlace *x)
{
  const Lookup *own = p->lengths[ATTNC_ROTARY_AT];
  return i_add(own ? i_length(t, own, r->b) : behind_prefix(p, x->at), r->row);
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

static const RowSource new_rows = {.heads = SIZE_HK,
                                   .rows = SIZE_S_NEW,
                                   .total = SIZE_TOTAL_NEW,
                                   .offsets = ATTNC_CU_SEQLENS_K_NEW};
static const RowSource query_rows = {
    .heads = SIZE_H, .rows = SIZE_SQ, .total = SIZE_TOTAL_Q, .offsets = ATTNC_CU_SEQLENS_Q};

static void
append_rows(Tb *t, const Call *p, int warps)
{
  RowBlock r = row_block_of_cta(t, p, &new_rows, warps);
  T_WORK (t, r.is)
    write_rows(t, p, &r, warps);
}

/* ---- ahead of attention ---- */

/* Query i stands behind the keys that there were, or where the caller says. */
static Idx
query_position(Tb *t, const Call *p, const Seq *s, Idx b)
{
  const Lookup *own = p->lengths[ATTNC_ROTARY_AT], *had = p->lengths[ATTNC_APPEND_AT];
  if (own)
    return i_length(t, own, b);
  if (had)
    return behind_prefix(p, i_length(t, had, b));
  Idx first = i_add(i_sub(s->call->sk, s->call->sq), s->k_pad);
  return behind_prefix(p, first);
}

/* As in FlashAttention: where no mask asks for positions all rows stand at the first one's.
 */
static bool
stand_alike(const Spec *s)
{
  return !s->causal && s->window[0] < 0 && s->window[1] < 0;
}

/* Where queries share a prefix, those that no sequence counts too: as rows of one they are
 * read. */
static View
queries_of(const Call *p, const Seq *s, const Tensor *q, const RowBlock *r, int n)
{
  return p->spec->shared_prefix ? row_view(r, q, n) : seq_queries(s, q, r->h, r->row, n);
}

static Tile
turned_rows(Tb *t, const Call *p, const Seq *s, const RowBlock *r, int n)
{
  View own = queries_of(p, s, p->q, r, n);
  if (!p->spec->rope.dim)
    return t_load(t, own);
  bool same = stand_alike(p->spec);
  Idx first = query_position(t, p, s, r->b);
  RopeArgs rope = rope_of(p, same ? first : i_add(first, r->row), same);
  return t_load_rope(t, own, &rope);
}

static void
turn_rows(Tb *t, const Call *p, const WorkRegion *turned, const RowBlock *r, int n)
{
  Seq s = sequence(t, p, r->b);
  Tile q = turned_rows(t, p, &s, r, n);
  const Tensor *to = t_region(t, turned);
  if (p->spec->shared_prefix)
    to = cascade_rows(t, p, to);
  t_store(t, queries_of(p, &s, to, r, n), q);
}

/* Blocks of new rows, then those of queries. */
static void
ahead(Tb *t, const Call *p, const WorkRegion *turned, int warps)
{
  Idx i = i_cta(t, 0), none = i_int(0);
  Idx new = p->spec->append ? row_blocks(p, &new_rows, warps) : none;
  Idx of_host = p->spec->append ? row_blocks(p->host, &new_rows, warps) : none;
  if (turned)
    of_host = i_add(of_host, row_blocks(p->host, &query_rows, warps));
  t_grid(t, of_host, 1, 1);
  if (p->spec->append) {
    RowBlock r = row_block(t, p, &new_rows, warps, turned ? i_min(i, i_sub(new, 1)) : i);
    T_WORK (t, i_and(r.is, i_lt(i, new)))
      write_rows(t, p, &r, warps);
  }
  if (turned) {
    Idx rest = i_sub(i, new);
    RowBlock r = row_block(t, p, &query_rows, warps, i_max(0, rest));
    T_WORK (t, i_and(r.is, i_le(new, i)))
      turn_rows(t, p, turned, &r, warps);
  }
}

void
append_ahead(Build *b, const Call *host)
{
  const Spec *s = host->spec;
  const WorkRegion *turned = NULL;
  bool packed = host->q->no_batch, gathers = s->shared_prefix && !packed;
  if (!s->append && !s->rope.dim && !gathers)
    return;
  if (gathers) {
    turned = b_region(b, .name = "queries", .ty = s->dtype[ATTNC_Q], .h = host->h,
                      .rows = cascade_row_count(host), .cols = s->head_dim);
  } else if (s->rope.dim) {
    Idx batches = packed ? i_int(1) : call_size(host, SIZE_B);
    Idx rows = call_size(host, packed ? SIZE_TOTAL_Q : SIZE_SQ);
    turned = b_region(b, .name = "turned_q", .ty = s->dtype[ATTNC_Q], .b = batches,
                      .h = host->h, .rows = rows, .cols = s->head_dim);
  }
  T_ENTRY (b, t, "append", .warps = ROW_WARPS)
    ahead(t, t_call(t), turned, ROW_WARPS);
  b_turned(b, turned);
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
    .axes = row_axes,
    .plain = plain,
    .refuse = row_refuse,
    .cost = cost,
    .initial = initial,
    .emit = emit,
    .print = print,
    .codegen_level = 2,
};
