#include "templates/row_blocks.h"

#include <math.h>

static bool
is_packed(const Call *p, const RowSource *s)
{
  return p->lengths[s->offsets] != NULL;
}

/* Of one head: of a batch, or of all sequences. */
static Idx
blocks(const Call *p, const RowSource *s, int rows)
{
  if (!is_packed(p, s))
    return i_cdiv(call_size(p, s->rows), rows);
  Idx whole = i_cdiv(call_size(p, s->total), rows);
  return i_add(whole, call_size(p, SIZE_B));
}

static Idx
batches(const Call *p, const RowSource *s)
{
  return s->all || is_packed(p, s) ? i_int(1) : call_size(p, SIZE_B);
}

static void
find_sequence(Tb *t, const Call *p, const RowSource *s, int rows, Idx block, RowBlock *r)
{
  const Lookup *offsets = p->lengths[s->offsets];
  r->b = t_sequence(t, offsets, call_size(p, SIZE_B), block, rows);
  r->first = i_length(t, offsets, r->b);
  Idx behind = i_length(t, offsets, i_add(r->b, 1));
  r->n = i_max(0, i_sub(behind, r->first));
  Idx before = i_add(i_div(r->first, rows), r->b);
  r->row = i_mul(i_sub(block, before), rows);
  r->batch = i_int(0);
}

RowBlock
row_block(Tb *t, const Call *p, const RowSource *s, int rows, Idx number)
{
  RowBlock r = {.first = i_int(0)};
  Idx heads = call_size(p, s->heads);
  Idx m = blocks(p, s, rows);
  Idx head = i_div_rare(number, m), block = i_mod_rare(number, m);
  Idx batch = i_div_rare(head, heads);
  Idx rest = i_mod_rare(head, heads);
  r.h = i_add(rest, i_cta(t, 1));
  if (is_packed(p, s)) {
    find_sequence(t, p, s, rows, block, &r);
  } else {
    r.b = r.batch = s->all ? i_int(0) : i_add(batch, i_cta(t, 2));
    r.row = i_mul(block, rows);
    r.n = call_size(p, s->rows);
  }
  r.is = i_lt(r.row, r.n);
  return r;
}

Idx
row_blocks(const Call *p, const RowSource *s, int rows)
{
  Idx of_head = blocks(p, s, rows);
  Idx heads = call_size(p, s->heads);
  Idx of_batch = i_mul(of_head, heads);
  return i_mul(of_batch, batches(p, s));
}

RowBlock
row_block_of_cta(Tb *t, const Call *p, const RowSource *s, int rows)
{
  const Call *host = p->host;
  Idx heads = call_size(host, s->heads);
  Idx b = batches(host, s);
  Idx each = blocks(host, s, rows);
  bool along = s->all || is_packed(p, s);
  Idx of_x = along ? heads : i_along(heads, b);
  Idx x = i_mul(each, of_x);
  Idx y = along ? i_int(1) : i_aside(heads, b);
  Idx z = along ? i_int(1) : i_aside(b, heads);
  t_grid(t, x, y, z);
  Idx number = i_cta(t, 0);
  return row_block(t, p, s, rows, number);
}

View
row_view(const RowBlock *r, const Tensor *x, int n)
{
  View v = v_from(v_rows(x, r->batch, r->h, r->row, n), r->first);
  return v_until(v, r->n);
}

/* ---- schedules ---- */

const SpaceAxis *const *
row_axes(const Case *c)
{
  static const SpaceAxis warps = {
      {"block_m", "num_warps"}, 2, {{1, 1}, {2, 2}, {4, 4}, {8, 8}}};
  static const SpaceAxis *const all[] = {&warps, NULL};
  (void)c;
  return all;
}

Sched
row_plain(const Template *tmpl)
{
  return (Sched){.tmpl = tmpl, .bm = ROW_WARPS, .bn = 1, .stages = 1, .warps = ROW_WARPS};
}

bool
row_refuse(const Case *c, const Sched *s, Why *why)
{
  (void)c;
  if (s->bm != s->warps)
    return refused(why, "block_m must be num_warps (%d): a row a warp", s->warps);
  if (s->warps < 1 || s->warps > 32)
    return refused(why, "num_warps %d is not in 1 … 32", s->warps);
  if (s->bn != 1)
    return refused(why, "block_n must be 1: nothing is multiplied");
  if (s->stages != 1)
    return refused(why, "num_stages must be 1: nothing is staged");
  return false;
}

enum { BLOCK_SLOTS = 60, ROW_REGS = 40 }; /* of starting a warp; a thread's */

SchedCost
row_cost(const Case *c, const Sched *s, int64_t heads, int64_t rows, double slots)
{
  double all = (double)(c->b ? c->b : 2) * (double)(heads ? heads : 16);
  double blocks = all * ceil((double)(rows ? rows : 1) / s->warps);
  double sms = c->sms ? c->sms : 108;
  SchedCost r = {.regs = ROW_REGS, .ctas_sm = c->target->threads_sm / (32 * s->warps)};
  r.ctas_sm = r.ctas_sm < c->target->blocks_sm ? r.ctas_sm : c->target->blocks_sm;
  r.cycles = blocks * s->warps * (slots + BLOCK_SLOTS) / (4 * sms);
  return r;
}
