#include "templates/sequence.h"

/* Number i of a list of the call; NULL: `other`. */
static Idx
length(Tb *t, const Call *p, int slot, Idx i, Idx other)
{
  return p->lengths[slot] ? i_length(t, p->lengths[slot], i) : other;
}

static Idx
between(Tb *t, const Call *p, int slot, Idx b, Idx other)
{
  if (!p->lengths[slot])
    return other;
  Idx first = i_length(t, p->lengths[slot], b);
  Idx behind = i_length(t, p->lengths[slot], i_add(b, 1));
  return i_max(0, i_sub(behind, first));
}

bool
seq_packs_queries(const Call *p)
{
  return p->lengths[ATTNC_CU_SEQLENS_Q] != NULL;
}

bool
seq_has_queries(const Call *p)
{
  return seq_packs_queries(p) || p->lengths[ATTNC_SEQUSED_Q];
}

static bool
has_keys(const Call *p)
{
  static const int slots[] = {ATTNC_CU_SEQLENS_K, ATTNC_SEQUSED_K, ATTNC_LEFTPAD_K,
                              ATTNC_APPEND_AT};
  bool has = false;
  for (size_t i = 0; i < sizeof slots / sizeof *slots; i++)
    has = has || p->lengths[slots[i]];
  return has;
}

/* ---- the call as the sequence sees it ---- */

/* A table whose rows stand one behind the other begins with the sequence's. */
static Lookup
own_table(const Lookup *x, const SpecTable *table, const Call *own, Idx q_first,
          Idx k_first)
{
  Lookup r = *x;
  for (int i = 0; i < table->axes.n; i++) {
    SizeId size = table->axes.at[i].size;
    bool named = table->axes.at[i].name, q = named && size == SIZE_TOTAL_Q;
    bool k = named && size == SIZE_TOTAL_K;
    if (!q && !k)
      continue;
    r.length[i] = q ? own->sq : own->sk;
    r.first = i_add(r.first, i_mul64(q ? q_first : k_first, r.stride[i]));
  }
  return r;
}

static const Lookup *
own_tables(Tb *t, const Call *own, Idx q_first, Idx k_first)
{
  const Spec *s = own->spec;
  Lookup *all = NEW_N(t_arena(t), Lookup, s->tables.n + 1);
  for (int i = 0; i < s->tables.n; i++)
    all[i] = own->tables[i].name
                 ? own_table(&own->tables[i], &s->tables.at[i], own, q_first, k_first)
                 : own->tables[i];
  return all;
}

static const Call *
own_call(Tb *t, const Call *p, Idx sq, Idx sk, Idx q_first, Idx k_first)
{
  Call *own = NEW(t_arena(t), Call);
  *own = *p;
  own->sq = own->mods.sq = own->mask.sq = sq;
  own->sk = own->mods.sk = own->mask.sk = sk;
  own->tables = own->mods.tables = own_tables(t, own, q_first, k_first);
  own->mask.mods = p->mask.mods ? &own->mods : NULL;
  own->mask.cut = has_keys(p) || seq_has_pages(p);
  own->end = mask_of_end(&own->mask);
  return own;
}

bool
seq_has_pages(const Call *p)
{
  return p->lengths[ATTNC_PAGE_TABLE] != NULL;
}

bool
seq_shares_pages(const Call *p)
{
  return seq_has_pages(p) && !p->lengths[ATTNC_PAGE_TABLE_V];
}

/* The keys that there were, and the new ones that there is room for. */
static Idx
with_new(Tb *t, const Call *p, Idx b)
{
  Idx had = i_length(t, p->lengths[ATTNC_APPEND_AT], b);
  Idx each = p->lengths[ATTNC_CU_SEQLENS_K_NEW] ? i_int(0) : call_size(p, SIZE_S_NEW);
  Idx new = between(t, p, ATTNC_CU_SEQLENS_K_NEW, b, each);
  return i_min(i_add(had, new), p->sk);
}

Seq
sequence(Tb *t, const Call *p, Idx b)
{
  Seq s = {.call = p, .q_own = seq_has_queries(p), .k_own = has_keys(p)};
  Idx q_first = length(t, p, ATTNC_CU_SEQLENS_Q, b, i_int(0));
  Idx k_first = length(t, p, ATTNC_CU_SEQLENS_K, b, i_int(0));
  Idx pad = length(t, p, ATTNC_LEFTPAD_K, b, i_int(0));
  s.q_row = q_first;
  s.k_row = i_add(k_first, pad);
  s.k_pad = pad;
  s.k_first = k_first;
  s.q_b = seq_packs_queries(p) ? i_int(0) : b;
  s.k_b =
      p->lengths[ATTNC_CU_SEQLENS_K] ? i_int(0) : length(t, p, ATTNC_CACHE_BATCH_IDX, b, b);
  if (!s.q_own && !s.k_own && !seq_has_pages(p))
    return s;
  Idx sq = between(t, p, ATTNC_CU_SEQLENS_Q, b, p->sq);
  Idx sk = between(t, p, ATTNC_CU_SEQLENS_K, b, p->sk);
  sq = length(t, p, ATTNC_SEQUSED_Q, b, sq);
  sk = length(t, p, ATTNC_SEQUSED_K, b, sk);
  if (p->lengths[ATTNC_APPEND_AT])
    sk = with_new(t, p, b);
  sk = p->lengths[ATTNC_LEFTPAD_K] ? i_max(0, i_sub(sk, pad)) : sk;
  s.call = own_call(t, p, sq, sk, q_first, k_first);
  return s;
}

/* ---- its rows ---- */

static View
from(View v, Idx row, bool own, Idx end)
{
  return own ? v_until(v_from(v, row), end) : v;
}

View
seq_queries(const Seq *s, const Tensor *x, Idx h, Idx row, int n)
{
  return from(v_rows(x, s->q_b, h, row, n), s->q_row, s->q_own, s->call->sq);
}

View
seq_keys(const Seq *s, const Tensor *x, Idx hk, Idx row, int n)
{
  const Call *p = s->call;
  if (!seq_has_pages(p))
    return from(v_rows(x, s->k_b, hk, row, n), s->k_row, s->k_own, p->sk);
  const Lookup *own = x == p->v ? p->lengths[ATTNC_PAGE_TABLE_V] : NULL;
  View v = from(v_rows(x, i_int(0), hk, row, n), s->k_row, true, p->sk);
  return v_paged(v, own ? own : p->lengths[ATTNC_PAGE_TABLE], s->k_b,
                 call_size(p, SIZE_PAGE_SIZE));
}

/* A tensor without keys is mapped as one of a single row, which nobody may see. */
View
seq_keys_by_tma(const Seq *s, const Tensor *x, Idx hk, Idx row, int n)
{
  if (seq_has_pages(s->call))
    return seq_keys(s, x, hk, row, n);
  Idx first = i_max(row, i_sub(1, x->rows));
  return v_uncut(seq_keys(s, x, hk, first, n));
}
