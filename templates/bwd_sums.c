#include "templates/bwd_sums.h"

#include "templates/bwd.h"
#include "templates/partition.h"

const WorkRegion *
bwd_sums(Build *b, const Call *host)
{
  bool packed = seq_packs_queries(host);
  Idx n = i_cdiv(call_size(host, packed ? SIZE_TOTAL_Q : SIZE_SQ), SUM_ROWS);
  if (packed)
    n = i_add(n, call_size(host, SIZE_B));
  const WorkRegion *r =
      b_region(b, .name = "dq_sums", .ty = DT_F32, .h = host->h, .rows = n,
               .b = packed ? i_int(1) : call_size(host, SIZE_B), .cols = sum_cols(host->d));
  b_memset(b, r, 0);
  return r;
}

View
bwd_sum_rows(const Seq *s, const Tensor *sums, Idx b, Idx h, Idx row, int n)
{
  View v = v_rows(sums, s->q_b, h, i_div(row, SUM_ROWS), n / SUM_ROWS);
  if (!s->q_own)
    return v;
  if (seq_packs_queries(s->call))
    v = v_from(v, i_add(i_div(s->q_row, SUM_ROWS), b));
  return v_until(v, i_cdiv(s->call->sq, SUM_ROWS));
}

enum { OUT_WARPS = 4, OUT_ROWS = OUT_WARPS * 16 };

static void
rows_out(Tb *t, const Call *p, const WorkTile *w, const Tensor *sums, Smem box)
{
  View v = bwd_sum_rows(&w->seq, sums, w->b, w->h, w->q0, OUT_ROWS);
  Tile x = t_load_sums(t, v, OUT_ROWS, p->d);
  x = bwd_scaled(t, x);
  x = t_cvt(t, x, p->dt);
  t_put(t, box, x);
  t_copy_out(t, seq_queries(&w->seq, p->at[ATTNC_DQ], w->h, w->q0, OUT_ROWS), box);
}

void
bwd_sums_out(Build *b, const WorkRegion *region)
{
  T_ENTRY (b, t, "dq", .warps = OUT_WARPS) {
    const Call *p = t_call(t);
    Partition part = {.call = p,
                      .bm = OUT_ROWS,
                      .bn = SUM_ROWS,
                      .pack = 1,
                      .cluster = 1,
                      .scheduler = SCHED_ASIDE};
    WorkTile w = partition_alone(t, &part);
    Smem box = t_smem(t, "dq", p->dt, OUT_ROWS, p->d);
    const Tensor *sums = t_region(t, region);
    T_WORK (t, w.is)
      rows_out(t, p, &w, sums, box);
  }
}

/* ---- what they cost ---- */

/* Zeros, and dQ of the sums, at the rate of memory: of each element 4 bytes written, 4
 * read, and those of dq; and the gap of one step more than passes have, an estimate as
 * COST_ITEMS is. */
enum { GAP = 3000 };

double
bwd_sums_clocks(const Case *c)
{
  const Target *g = c->target;
  double each = 2 * dtype_bytes(DT_F32) + dtype_bytes(c->spec->dtype[ATTNC_Q]);
  double n = (double)c->b * (double)c->h * (double)c->sq * c->spec->head_dim;
  return n * each / (g->mem_clk * c->sms) + GAP;
}
