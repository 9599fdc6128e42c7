#include "templates/layout.h"

RingArgs
layout_rows(const Spec *p, int slot, int rows, int cols)
{
  return (RingArgs){
      .name = tensor_info[slot].name, .ty = p->dtype[slot], .rows = rows, .cols = cols};
}

RingArgs
layout_column(const char *name, int rows)
{
  return (RingArgs){.name = name, .ty = DT_F32, .rows = rows, .cols = 1};
}

RingArgs
layout_table(const Spec *p, const Expr *load, int rows, int cols)
{
  const SpecTable *x = &p->tables.at[load->i];
  return (RingArgs){.name = x->name, .ty = spec_table_dtype(x), .rows = rows, .cols = cols};
}

RingArgs
layout_exchange(const Spec *p, int warps_n, int rows, int cols)
{
  return layout_room(exchange_bytes(warps_n, rows, cols, p->dtype[ATTNC_Q]));
}

RingArgs
layout_room(int bytes)
{
  int lines = (bytes + PANEL_BYTES - 1) / PANEL_BYTES;
  return (RingArgs){.name = "exchange",
                    .ty = DT_F32,
                    .rows = (lines + 7) / 8 * 8,
                    .cols = dtype_in(DT_F32, PANEL_BYTES)};
}

int
layout_box(const SmemLayout *l, int i)
{
  const RingArgs *part = &l->part[i];
  return part->rows ? s_bytes(part->ty, part->rows, part->cols) : 0;
}

int
layout_bytes(const SmemLayout *l)
{
  int n = 0;
  for (int i = 0; i < LAYOUT_PARTS; i++)
    n += l->part[i].stages ? ring_bytes(&l->part[i]) : layout_box(l, i);
  return n;
}

Ring *
layout_ring(Tb *t, const SmemLayout *l, int i)
{
  return t_ring_(t, &l->part[i]);
}

Smem
layout_smem(Tb *t, const SmemLayout *l, int i)
{
  const RingArgs *part = &l->part[i];
  return t_smem(t, part->name, part->ty, part->rows, part->cols);
}
