#include "templates/cascade.h"

#include "templates/append.h"
#include "templates/merge.h"
#include "templates/row_blocks.h"
#include "templates/sequence.h"

#include <string.h>

/* What the steps share: where their states are, and what is left of the spec in each. */
typedef struct Cascade {
  const Spec *of_prefix, *of_own;
  const WorkRegion *o[2], *lse[2]; /* of the prefix, of own keys */
} Cascade;
enum { OF_PREFIX, OF_OWN };

Idx
cascade_row_count(const Call *p)
{
  if (seq_packs_queries(p))
    return call_size(p, SIZE_TOTAL_Q);
  return i_mul(call_size(p, SIZE_B), p->sq);
}

const Tensor *
cascade_rows(Tb *t, const Call *p, const Tensor *region)
{
  Tensor *x = NEW(t_arena(t), Tensor);
  *x = *region;
  x->no_batch = seq_packs_queries(p);
  if (x->no_batch)
    return x;
  x->rows = p->sq;
  x->stride[0] = i_mul64(p->sq, x->stride[2]);
  return x;
}

/* ---- the calls of the steps ---- */

/* Every query sees every key of it, and what is once in a row, its sink, is with the own
 * keys. */
static const Spec *
spec_of_prefix(Arena *a, const Spec *s)
{
  Spec *x = NEW(a, Spec);
  *x = *s;
  x->causal = x->append = x->shared_prefix = false;
  x->window[0] = x->window[1] = -1;
  x->rope = (SpecRope){0};
  x->seqlens = 0;
  x->sink = 0;
  x->sink_logit = (SpecExprs){0};
  x->return_lse = true;
  return x;
}

static const Spec *
spec_of_own(Arena *a, const Spec *s)
{
  Spec *x = NEW(a, Spec);
  *x = *s;
  x->return_lse = true;
  return x;
}

/* Of packed queries those behind the last sequence are nobody's: its end is the end of the
 * one that they are. */
static const Lookup *
end_of_queries(Tb *t, const Call *c)
{
  Lookup *end = NEW(t_arena(t), Lookup);
  *end = *c->lengths[ATTNC_CU_SEQLENS_Q];
  end->first = i_add(end->first, i_mul64(call_size(c, SIZE_B), end->stride[0]));
  return end;
}

/* The pages of the prefix as the one row of a table. */
static const Lookup *
table_of_prefix(Tb *t, const Call *c)
{
  const Lookup *pages = c->lengths[ATTNC_PREFIX_PAGES];
  Lookup *x = NEW(t_arena(t), Lookup);
  *x = *pages;
  x->n_axes = 2;
  x->length[0] = i_int(1);
  x->stride[0] = i_int(0);
  x->length[1] = pages->length[0];
  x->stride[1] = pages->stride[0];
  return x;
}

static const Tensor *
rows_of_one(Tb *t, const Tensor *of)
{
  Tensor *x = NEW(t_arena(t), Tensor);
  *x = *of;
  x->no_batch = true;
  return x;
}

/* Entries that stand ahead have no use for them. */
static void
put_states(Tb *t, Call *c, const Cascade *x, int step)
{
  if (!x->o[step])
    return;
  c->o = t_region(t, x->o[step]);
  c->lse = t_region(t, x->lse[step]);
}

static void
change_spec(Call *c, const Spec *s)
{
  c->spec = c->mods.spec = s;
  c->mods.sq = c->mask.sq = c->sq;
  c->mods.sk = c->mask.sk = c->sk;
  c->mask.band = spec_band(s);
  c->end = mask_of_end(&c->mask);
}

static void
to_prefix(Tb *t, Call *c, const void *user)
{
  const Cascade *x = user;
  const Lookup *pages = c->lengths[ATTNC_PREFIX_PAGES] ? table_of_prefix(t, c) : NULL;
  const Lookup *end = seq_packs_queries(c) ? end_of_queries(t, c) : NULL;
  c->sq = cascade_row_count(c);
  c->sk = call_size(c, SIZE_SP);
  memset(c->lengths, 0, sizeof c->lengths);
  c->lengths[ATTNC_SEQUSED_Q] = end;
  c->lengths[ATTNC_PAGE_TABLE] = pages;
  call_set_size(c, SIZE_B, i_int(1));
  call_set_size(c, SIZE_SQ, c->sq);
  call_set_size(c, SIZE_SK, c->sk);
  call_set_size(c, SIZE_MAX_ITEMS, i_int(0)); /* of own keys: here there is room for all */
  c->q = rows_of_one(t, c->q);
  c->k = pages ? c->k : c->at[ATTNC_K_PREFIX];
  c->v = pages ? c->v : c->at[ATTNC_V_PREFIX];
  put_states(t, c, x, OF_PREFIX);
  c->o = rows_of_one(t, c->o);
  c->lse = rows_of_one(t, c->lse);
  change_spec(c, x->of_prefix);
}

/* What stands ahead of it is of the caller's queries still. */
static void
to_own(Tb *t, Call *c, const void *user)
{
  const Cascade *x = user;
  if (c->q->workspace)
    c->q = cascade_rows(t, c, c->q);
  put_states(t, c, x, OF_OWN);
  if (x->o[OF_OWN]) {
    c->o = cascade_rows(t, c, c->o);
    c->lse = cascade_rows(t, c, c->lse);
  }
  change_spec(c, x->of_own);
}

/* ---- both states made one ---- */

static void
merge_rows(Tb *t, const Call *p, const Cascade *x, const RowBlock *r, int n)
{
  Seq s = sequence(t, p, r->b);
  MergeState all = merge_new(t, p, n);
  for (int i = OF_PREFIX; i <= OF_OWN; i++) {
    const Tensor *of_lse = cascade_rows(t, p, t_region(t, x->lse[i]));
    const Tensor *of_o = cascade_rows(t, p, t_region(t, x->o[i]));
    Tile lse = t_load_rows(t, seq_queries(&s, of_lse, r->h, r->row, n));
    Tile o = t_load(t, seq_queries(&s, of_o, r->h, r->row, n));
    merge_part(t, &all, lse, o);
  }
  Tile o = merge_output(t, &all);
  t_store(t, seq_queries(&s, p->o, r->h, r->row, n), o);
  if (p->lse) {
    Tile lse = merge_lse(t, p, &all);
    t_store_rows(t, seq_queries(&s, p->lse, r->h, r->row, n), lse);
  }
}

static void
merge_entry(Build *b, const Cascade *x)
{
  static const RowSource queries = {.heads = SIZE_H,
                                    .rows = SIZE_SQ,
                                    .total = SIZE_TOTAL_Q,
                                    .offsets = ATTNC_CU_SEQLENS_Q};
  T_ENTRY (b, t, "merge", .warps = ROW_WARPS) {
    const Call *p = t_call(t);
    RowBlock r = row_block_of_cta(t, p, &queries, ROW_WARPS);
    T_WORK (t, r.is)
      merge_rows(t, p, x, &r, ROW_WARPS);
  }
}

/* ---- the steps ---- */

static void
make_regions(Build *b, const Call *host, Cascade *x)
{
  Idx rows = cascade_row_count(host);
  for (int i = OF_PREFIX; i <= OF_OWN; i++) {
    x->o[i] = b_region(b, .name = i ? "own_o" : "prefix_o", .ty = DT_F32, .h = host->h,
                       .rows = rows, .cols = host->dv);
    x->lse[i] = b_region(b, .name = i ? "own_lse" : "prefix_lse", .ty = DT_F32,
                         .h = host->h, .rows = rows, .cols = 1);
  }
}

void
attend_ahead(Build *b, const Call *host, Ahead *ahead)
{
  if (ahead->done)
    return;
  ahead->done = true;
  if (ahead->steps) /* behind those of the template, of which one may be the first */
    make_regions(b, host, ahead->steps);
  append_ahead(b, host);
}

void
cascade_emit(Build *b, const Call *host, const Sched *s)
{
  const Template *of = s->tmpl;
  Ahead ahead = {.steps = NULL};
  if (!host->spec->shared_prefix) {
    of->attend(b, host, s, &ahead);
    return;
  }
  Arena *a = t_arena(host->tb);
  Cascade *x = ahead.steps = NEW(a, Cascade);
  x->of_prefix = spec_of_prefix(a, host->spec);
  x->of_own = spec_of_own(a, host->spec);
  OtherCall own = {.change = to_own, .user = x};
  OtherCall prefix = {.name = "prefix", .change = to_prefix, .user = x};
  of->attend(b, b_other_call(b, &own), s, &ahead);
  of->attend(b, b_other_call(b, &prefix), s, &ahead);
  b_other_call(b, &(OtherCall){.name = NULL});
  merge_entry(b, x);
}
