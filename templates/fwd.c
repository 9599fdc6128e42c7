#include "templates/fwd.h"

/* −inf where the mask hides a score: in a tile of a block that is listed to be seen whole
 * where the keys have ended. */
static void
hide(Tb *t, const Call *p, Tile *x, At at, TileIter j)
{
  T_IF (t, i_not(j.whole))
    *x = t_mask(t, &p->mask, *x, at);
  T_IF (t, j.whole)
    *x = t_mask(t, &p->end, *x, at);
}

Tile
fwd_scores(Tb *t, const Call *p, Tile x, At at, TileIter j, const TableTile *beside)
{
  if (!spec_score_is_plain(p->spec))
    x = t_score_beside(t, &p->mods, x, at, beside);
  if (!j.masked)
    return x;
  Tile *seen = t_var(t, x);
  T_PARTIAL (t, j)
    hide(t, p, seen, at, j);
  return *seen;
}

Tile
fwd_drop_state(Tb *t, const Call *p, Idx b, Idx h)
{
  if (!p->spec->dropout)
    return NULL;
  return t_drop_state(t, p->lengths[ATTNC_RNG_STATE], b, h, call_size(p, SIZE_H));
}

Tile
fwd_drop(Tb *t, Tile state, int rows, int cols, At at)
{
  return state ? t_drop(t, state, rows, cols, at) : NULL;
}

Tile
fwd_keep(Tb *t, Tile drop, Tile w)
{
  return drop ? t_keep(t, drop, w) : w;
}

Tile
fwd_end(Tb *t, const Call *p, Softmax *s, int rows, At at, Tile *lse)
{
  SoftmaxEnd e = {.base_2 = p->spec->lse_base == LSE_BASE_2};
  if (p->spec->sink_logit.n)
    e.sink = t_sink(t, &p->mods, rows, at);
  Tile inv = softmax_end(t, s, &e, lse);
  if (!p->spec->dropout)
    return inv;
  Tile kept = t_kept_factor(t);
  return t_mul(t, inv, kept);
}

bool
fwd_state_out(Tb *t, const Call *p, View rows, Tile o)
{
  bool state = p->o->workspace && p->o->ty == DT_F32;
  if (state)
    t_store_sums(t, rows, o);
  return state;
}

bool
fwd_may_hide(const Call *p, TileIter j)
{
  return j.masked || !spec_score_is_plain(p->spec);
}

Idx
fwd_group(const Call *p)
{
  int group = p->spec->group_size;
  return group ? i_int(group) : i_div(p->h, p->hk);
}

/* ptxas 13.0 has so many loads' results on their way, whatever the registers, and besides
 * so many addresses that such results tell, and so many of each table more that a score
 * reads beside the two; and with so many registers in all, addresses aside, there is a
 * legal schedule left for every head_dim: what is above spills. */
enum { LOADS_AHEAD = 12, CHAINED = 24, BESIDE = 16, MOD_REGS = 24 };

/* The state's words, what is added to them for a block, and a block's own. */
enum { DROP_REGS = 18 };

int
fwd_drop_regs(const Spec *p, int blocks, int cols)
{
  return p->dropout ? DROP_REGS + blocks * cols / 8 : 0;
}

/* Instructions an element (docs/dropout.md). */
static const double DROP_SLOTS = 4.5;

double
fwd_drop_slots(const Spec *p)
{
  return p->dropout ? DROP_SLOTS : 0;
}

int
fwd_beside_regs(const Spec *p)
{
  const ExprCost *b = &p->score_cost;
  return b->chained && b->loads > 2 ? BESIDE * (b->loads - 2) : 0;
}

int
fwd_mod_regs(const Spec *p, int rows)
{
  const ExprCost *a = &p->mask_cost, *b = &p->score_cost;
  int limits = (p->mask.first != NULL) + (p->mask.last != NULL);
  int of_row = a->kept[GRADE_ROW] + b->kept[GRADE_ROW] + limits;
  int once = a->kept[GRADE_NEITHER] + b->kept[GRADE_NEITHER];
  int regs = rows * of_row + once + (a->loads || b->loads ? LOADS_AHEAD : 0);
  int chained = a->chained || b->chained ? CHAINED : 0;
  return (regs < MOD_REGS ? regs : MOD_REGS) + chained + fwd_beside_regs(p);
}

enum { LOADED = 7 }; /* slots of a load where it stands, above one from its tile */

double
fwd_mod_slots(const Spec *p, bool masked, const Expr *beside)
{
  double slots = p->score_cost.slots[GRADE_BOTH] - (beside ? LOADED : 0);
  return slots + (masked ? p->mask_cost.slots[GRADE_BOTH] : 0);
}

int
fwd_table_bytes(const Spec *p, const Expr *load)
{
  return dtype_bytes(spec_table_dtype(&p->tables.at[load->i]));
}

bool
fwd_takes(const Spec *s, Why *why)
{
  const Rule rules[] = {
      {!spec_has_lists(s) || !spec_has_seqlens(s),
       "block_list takes sequences of one length, not seqlens", REASON_FIELD},
      {!spec_has_lists(s) || !spec_has_tensor(s, ATTNC_PAGE_TABLE),
       "block_list takes k and v in one piece, not page_table", REASON_FIELD},
      {!s->return_o_lo || !s->shared_prefix,
       "return_o_lo: with shared_prefix o is made of states, by a step that writes none",
       REASON_FIELD},
  };
  return rules_hold(rules, (int)(sizeof rules / sizeof *rules), why);
}

enum { BOX_ROWS = 8 };

bool
fwd_takes_pages_by_tma(const Case *c, Why *why)
{
  bool pages = spec_has_tensor(c->spec, ATTNC_PAGE_TABLE);
  const Rule rules[] = {
      {!pages || !spec_has_tensor(c->spec, ATTNC_LEFTPAD_K),
       "page_table with leftpad_k: a tile begins inside of a box of rows in pages",
       REASON_FIELD},
      {!pages || c->page_size % BOX_ROWS == 0,
       "page_size is not a multiple of 8: TMA's boxes of rows in pages have fewer",
       REASON_FIELD},
  };
  return rules_hold(rules, (int)(sizeof rules / sizeof *rules), why);
}

bool
fwd_refuse_lists(const Spec *p, const Sched *s, Why *why)
{
  const int *rows = p->block_list.rows;
  if (!spec_has_lists(p))
    return false;
  if (rows[0] % s->bm)
    return refused(why,
                   "block_m %d does not divide the %d queries of a block of block_list",
                   s->bm, rows[0]);
  if (rows[1] % s->bn)
    return refused(why, "block_n %d does not divide the %d keys of a block of block_list",
                   s->bn, rows[1]);
  return false;
}

bool
fwd_refuse_keys(const Spec *p, int bn, int stages, Why *why)
{
  int step = dtype_in(p->dtype[ATTNC_V], STEP_BYTES); /* of depth, in P V */
  int of = step > 16 ? step : 16;                     /* columns of S come in pairs of 8 */
  if (bn < of || bn % of || bn > 256)
    return refused(why, "block_n %d is not a multiple of %d up to 256", bn, of);
  if (stages < 1 || stages > 4)
    return refused(why, "num_stages %d is not in 1 … 4", stages);
  return false;
}

int
fwd_left_regs(Dtype ty, int blocks, int cols)
{
  int step = dtype_in(ty, STEP_BYTES), steps = (cols + step - 1) / step;
  return blocks * steps * 16 * STEP_BYTES / (32 * 4); /* bytes over the lanes of a warp */
}

bool
fwd_refuse_shared(const Case *c, int bytes, Why *why)
{
  const Target *g = c->target;
  if (bytes <= g->smem_block)
    return false;
  return refused(why, "needs %d bytes of shared memory, %s has %d a block", bytes, g->name,
                 g->smem_block);
}
