#include "templates/bwd.h"

#include "templates/fwd.h"
#include "templates/row_blocks.h"

#include <float.h>

static const double LOG2E = 1.4426950408889634;

const char *const bwd_pass_names[PASS_COUNT] = {"dkdv", "dv", "dk", "fused", "dq"};

bool
bwd_is_of(Pass pass, int passes)
{
  static const unsigned of[] = {
      [1] = 1u << PASS_FUSED,
      [2] = 1u << PASS_DKDV | 1u << PASS_DQ,
      [3] = 1u << PASS_DV | 1u << PASS_DK | 1u << PASS_DQ,
  };
  return of[passes] >> pass & 1u;
}

double
bwd_depth(const Spec *p, Pass pass)
{
  double d = p->head_dim, dv = p->head_dim_v;
  return pass == PASS_FUSED  ? 3 * d + 2 * dv
         : pass == PASS_DKDV ? 2 * (d + dv)
         : pass == PASS_DV   ? d + dv
                             : 2 * d + dv;
}

bool
bwd_takes(const Spec *s, Why *why)
{
  const Rule lists = {!spec_has_lists(s),
                      "gradients of block_list: lists of the keys' blocks are not made",
                      REASON_FIELD};
  bool takes = rules_hold(&lists, 1, why);
  return bwd_takes_lists(s, why) && takes;
}

bool
bwd_takes_lists(const Spec *s, Why *why)
{
  const Rule rules[] = {
      {!spec_has_tensor(s, ATTNC_PAGE_TABLE),
       "k and v in pages have no gradients: page_table", REASON_FIELD},
      {!spec_has_tensor(s, ATTNC_CACHE_BATCH_IDX),
       "k and v that sequences share have no gradients: cache_batch_idx", REASON_FIELD},
      {!s->append, "a cache that is written has no gradients: append", REASON_FIELD},
      {!s->shared_prefix, "gradients of a prefix that is shared are not computed",
       REASON_FIELD},
      {!s->rope.dim, "gradients of rope are not computed", REASON_FIELD},
  };
  return rules_hold(rules, (int)(sizeof rules / sizeof *rules), why);
}

/* ---- statistics of rows ---- */

enum { DELTA_WARPS = 4, DELTA_ROWS = 4 }; /* rows of a warp, all of them on their way */

static View
shifted(View v, int rows)
{
  v.row = i_add(v.row, rows);
  return v;
}

/* ln or log2, as the spec has it, to log2. */
static Tile
in_log2(Tb *t, const Call *p, Tile x)
{
  Tile unit = t_const(t, p->spec->lse_base == LSE_BASE_2 ? 1 : LOG2E);
  return t_mul(t, x, unit);
}

/* That of a row without keys becomes infinite upwards; NaN stays. */
static Tile
usable(Tb *t, const Call *p, Tile lse)
{
  Tile none = t_const(t, 0), most = t_const(t, FLT_MAX);
  Tile below = t_sub(t, none, lse);
  lse = t_select_gt(t, below, most, lse, FLT_MAX);
  return in_log2(t, p, lse);
}

/* With a base-2 LSE its gradient counts log2 e times. */
static Tile
less_dlse(Tb *t, const Call *p, const RowBlock *r, int from, Tile sum)
{
  const Tensor *x = p->at[ATTNC_DLSE];
  if (!x)
    return sum;
  Tile dlse = t_load_rows(t, shifted(row_view(r, x, DELTA_WARPS), from));
  Tile unit = t_const(t, p->spec->lse_base == LSE_BASE_2 ? LOG2E : 1);
  dlse = t_mul(t, dlse, unit);
  return t_sub(t, sum, dlse);
}

static void
make_rows(Tb *t, const Call *p, const BwdRows *rows, const RowBlock *r)
{
  const Tensor *to_lse = t_region(t, rows->lse), *to_delta = t_region(t, rows->delta);
  const Tensor *lo = p->at[ATTNC_O_LO];
  Tile o[DELTA_ROWS], dout[DELTA_ROWS], rest[DELTA_ROWS];
  for (int i = 0; i < DELTA_ROWS; i++) {
    int from = i * DELTA_WARPS;
    o[i] = t_load(t, shifted(row_view(r, p->o, DELTA_WARPS), from));
    dout[i] = t_load(t, shifted(row_view(r, p->at[ATTNC_DO], DELTA_WARPS), from));
    if (lo)
      rest[i] = t_load(t, shifted(row_view(r, lo, DELTA_WARPS), from));
  }
  for (int i = 0; i < DELTA_ROWS; i++) {
    int from = i * DELTA_WARPS;
    Tile sum = t_row_dot(t, dout[i], o[i]);
    if (lo) {
      Tile more = t_row_dot(t, dout[i], rest[i]);
      sum = t_add(t, sum, more);
    }
    sum = less_dlse(t, p, r, from, sum);
    t_store_rows(t, shifted(row_view(r, to_delta, DELTA_WARPS), from), sum);
    Tile lse = t_load_rows(t, shifted(row_view(r, p->lse, DELTA_WARPS), from));
    lse = usable(t, p, lse);
    t_store_rows(t, shifted(row_view(r, to_lse, DELTA_WARPS), from), lse);
  }
}

static void
delta(Tb *t, const Call *p, const BwdRows *rows)
{
  const RowSource of = {.heads = SIZE_H,
                        .rows = SIZE_SQ,
                        .total = SIZE_TOTAL_Q,
                        .offsets = ATTNC_CU_SEQLENS_Q};
  RowBlock r = row_block_of_cta(t, p, &of, DELTA_WARPS * DELTA_ROWS);
  T_WORK (t, r.is)
    make_rows(t, p, rows, &r);
}

/* As the LSE is: rows of a batch and head, of all sequences where they are packed. */
static const WorkRegion *
region(Build *b, const Call *host, const char *name)
{
  bool packed = seq_packs_queries(host);
  Idx batches = packed ? i_int(1) : call_size(host, SIZE_B);
  Idx rows = call_size(host, packed ? SIZE_TOTAL_Q : SIZE_SQ);
  return b_region(b, .name = name, .ty = DT_F32, .b = batches, .h = host->h, .rows = rows,
                  .cols = 1);
}

BwdRows
bwd_rows(Build *b, const Call *host)
{
  BwdRows rows = {.lse = region(b, host, "lse_log2")};
  rows.delta = region(b, host, "delta");
  T_ENTRY (b, t, "delta", .warps = DELTA_WARPS)
    delta(t, t_call(t), &rows);
  return rows;
}

/* ---- blocks of keys ---- */

KeyBlock
bwd_keys_of_cta(Tb *t, const Call *p, int bn)
{
  const RowSource of = {.heads = SIZE_HK,
                        .rows = SIZE_SK,
                        .total = SIZE_TOTAL_K,
                        .offsets = ATTNC_CU_SEQLENS_K};
  RowBlock r = row_block_of_cta(t, p, &of, bn);
  return (KeyBlock){.b = r.b, .hk = r.h, .k0 = r.row, .is = r.is};
}

/* ---- from scores to what is multiplied again ---- */

static Tile
hidden(Tb *t, const Mask *m, Tile x, At at, TileIter j)
{
  if (!j.masked)
    return x;
  Tile *seen = t_var(t, x);
  T_PARTIAL (t, j)
    *seen = t_mask(t, m, *seen, at);
  return *seen;
}

/* 2^(score · log2 e − lse). */
static Tile
weights(Tb *t, const Call *p, Tile x, Tile lse)
{
  bool plain = spec_score_is_plain(p->spec);
  Tile c = plain ? t_scalar(t, ATTNC_SOFTMAX_SCALE, LOG2E) : t_const(t, LOG2E);
  Tile e = t_fms(t, x, c, lse);
  return t_exp2(t, e);
}

BwdWeights
bwd_weights(Tb *t, const Call *p, const Mask *m, Tile x, At at, TileIter j, Tile lse,
            Tile drop)
{
  bool plain = spec_score_is_plain(p->spec);
  Tile slope = NULL, score = plain ? x : t_score(t, &p->mods, x, at);
  if (!plain && spec_score_has_slope(p->spec))
    slope = t_score_slope(t, &p->mods, x, at);
  score = hidden(t, m, score, at, j);
  Tile w = weights(t, p, score, lse);
  BwdWeights r = {.p = t_cvt(t, w, p->dt), .steep = w};
  r.p = fwd_keep(t, drop, r.p);
  if (slope) {
    slope = t_select_nonzero(t, w, slope); /* what is hidden may have any */
    r.steep = t_mul(t, w, slope);
  }
  return r;
}

/* A weight of 0 is asked for in PARTIAL tiles alone: elsewhere all that is multiplied is
 * seen. */
Tile
bwd_slopes(Tb *t, Tile steep, Tile dp, Tile delta, TileIter j, Tile drop)
{
  Tile one = drop ? t_kept_factor(t) : NULL;
  dp = fwd_keep(t, drop, dp);
  Tile over = drop ? t_fms(t, dp, one, delta) : t_sub(t, dp, delta);
  Tile ds = t_mul(t, steep, over);
  if (!j.masked)
    return ds;
  Tile *seen = t_var(t, ds);
  T_PARTIAL (t, j)
    *seen = t_select_nonzero(t, steep, *seen);
  return *seen;
}

Tile
bwd_finite_behind(Tb *t, const Call *p, Tile ds, Idx behind)
{
  double most = p->dt == DT_F16 ? 65504 : 0x1p127;
  Tile *x = t_var(t, ds);
  T_IF (t, i_lt(p->sk, behind)) {
    Tile above = t_const(t, most), below = t_const(t, -most);
    Tile some = t_min(t, *x, above);
    *x = t_max(t, some, below);
  }
  return *x;
}

Tile
bwd_scaled(Tb *t, Tile x)
{
  Tile scale = t_scalar(t, ATTNC_SOFTMAX_SCALE, 1);
  return t_mul(t, x, scale);
}

Tile
bwd_kept(Tb *t, const Call *p, Tile x)
{
  if (!p->spec->dropout)
    return x;
  Tile kept = t_kept_factor(t);
  return t_mul(t, x, kept);
}
