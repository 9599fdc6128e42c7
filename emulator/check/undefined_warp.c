/* Undefined values that lanes of a warp hand each other, and products of a warpgroup.
 *
 * A group that waits for the others of its warp executes its instruction again when they
 * are there: before that nothing may change. */
#include "emulator/exec/ldsm.h"
#include "emulator/exec/steps.h"
#include "emulator/check/undefined.h"

/* All that the lanes' member masks (row c) name are here. */
static bool
together(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t needed = 0;
  undefined_guard(x, w, i);
  undefined_use(x, w, i, i->c, mask, "uses as a member mask");
  for (uint32_t m = mask; m; m &= m - 1)
    needed |= row32(w, i->c)[__builtin_ctz(m)];
  return !(needed & w->live & ~mask);
}

void
undefined_shfl(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t clamp = x->kernel->lists[i->list], a[LANES], d[LANES];
  uint32_t unknown = ~(w->def[i->b] & w->def[clamp]);
  Origin from = undefined_origin(x, w, i, i->a);
  if (!together(x, w, i, mask))
    return;
  if (mask & unknown)
    from = undefined_origin(x, w, i, mask & ~w->def[i->b] ? i->b : clamp);
  undefined_bits32(w, i->a, a);
  for (int l = 0; l < LANES; l++) {
    bool valid;
    int j =
        warp_source_lane(i->shfl.mode, l, row32(w, i->b)[l], row32(w, clamp)[l], &valid);
    d[l] = unknown >> l & 1 ? FULL : a[j];
  }
  undefined_put32(w, i->d, mask, d, from);
  undefined_put_pred(w, i->pd, mask, unknown, from);
}

/* A lane that has a false predicate decides all, one that has a true one decides any. */
void
undefined_vote(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t p = w->pred[i->ps] ^ (i->ps_not ? FULL : 0), d[LANES], undefined = 0;
  uint32_t known = w->pdef[i->ps];
  Origin from = undefined_origin_pred(x, w, i, i->ps);
  if (!together(x, w, i, mask))
    return;
  for (int l = 0; l < LANES; l++) {
    uint32_t m = row32(w, i->c)[l] & mask;
    bool decided = (i->vote.mode == VOTE_ALL && (m & known & ~p)) ||
                   (i->vote.mode == VOTE_ANY && (m & known & p));
    d[l] = m & ~known;
    undefined |= (uint32_t)(d[l] && !decided) << l;
  }
  if (i->vote.mode == VOTE_BALLOT)
    undefined_put32(w, i->d, mask, d, from);
  else
    undefined_put_pred(w, i->pd, mask, undefined, from);
}

/* match and redux: of all lanes in the member mask. */
void
undefined_match(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t undefined = 0;
  Origin from = undefined_origin(x, w, i, i->a);
  if (!together(x, w, i, mask))
    return;
  for (int l = 0; l < LANES; l++)
    if (row32(w, i->c)[l] & mask & ~w->def[i->a])
      undefined |= 1u << l;
  undefined_put_whole(w, i->d, false, mask, mask & undefined, from);
  undefined_put_pred(w, i->pd, mask, undefined, from);
}

/* ---- matrices ---- */

void
undefined_movmatrix(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t a[LANES], d[LANES];
  Origin from = undefined_origin(x, w, i, i->a);
  undefined_guard(x, w, i);
  if (mask != FULL)
    return;
  undefined_bits32(w, i->a, a);
  ldsm_move_trans(d, a);
  undefined_put32(w, i->d, FULL, d, from);
}

/* ---- products of a warpgroup ---- */

/* Lanes 4g … 4g + 3 that are undefined, as a bit g of eight. */
static uint32_t
quads(uint32_t undefined)
{
  uint32_t rows = 0;
  for (int g = 0; g < 8; g++)
    rows |= (uint32_t)(undefined >> 4 * g & 15 ? 1 : 0) << g;
  return rows;
}

/* PTX ISA, "Register Fragments" of wgmma: register r of A has row l / 4 of lane l, and 8
 * more if r is odd. */
static uint32_t
rows_of_a(const Warp *w, const uint32_t *row)
{
  uint32_t rows = 0;
  for (int r = 0; r < 4; r++)
    rows |= quads(~w->def[row[r]]) << 8 * (r & 1);
  return rows;
}

/* Register j of D, rows and columns a bit each: columns 2(l % 4) and one more, as two
 * registers or as halves of one. */
static uint32_t
product_bits(int l, int j, bool packed, uint32_t rows, uint32_t columns)
{
  int g = l / 4, t = l % 4;
  uint32_t row = rows >> (g + 8 * (packed ? j & 1 : j >> 1 & 1)) & 1;
  uint32_t low = columns >> 2 * t & 1, high = columns >> (2 * t + 1) & 1;
  if (packed)
    return (row | low ? 0xffff : 0) | (row | high ? 0xffff0000 : 0);
  return row | (j & 1 ? high : low) ? FULL : 0;
}

static Origin
first_origin(const Exec *x, const Warp *w, const Insn *i, const uint32_t *row, int n)
{
  int r = 0;
  while (r < n - 1 && w->def[row[r]] == FULL)
    r++;
  return undefined_origin(x, w, i, row[r]);
}

void
undefined_fragment(Exec *x, Warp *w, const Insn *i, UndefinedTile *a)
{
  const uint32_t *row = x->kernel->lists + i->list + i->wgmma.regs;
  uint32_t rows = rows_of_a(w, row);
  if (!rows)
    return;
  a->bit[0] = rows;
  a->from = first_origin(x, w, i, row, 4);
}

static bool
any(const UndefinedTile *t)
{
  return t->bit[0] | t->bit[1] | t->bit[2] | t->bit[3];
}

/* In pieces of eight columns. */
static void
product(Exec *x, Warp *w, const Insn *i, int j, bool zero, const UndefinedTile *a,
        const UndefinedTile *b)
{
  bool packed = i->wgmma.d == MMA_F16;
  uint32_t row = x->kernel->lists[i->list + (uint32_t)j], bits[LANES];
  int piece = j / (packed ? 2 : 4);
  uint32_t columns = b->bit[piece / 8] >> piece % 8 * 8 & 0xff;
  Origin from = any(a) ? a->from : any(b) ? b->from : undefined_origin(x, w, i, row);
  undefined_bits32(w, row, bits);
  for (int l = 0; l < LANES; l++)
    bits[l] =
        (zero ? 0 : bits[l]) | product_bits(l, j, packed, (uint32_t)a->bit[0], columns);
  undefined_put32(w, row, FULL, bits, from);
}

void
undefined_product(Exec *x, Warp *w, const Insn *i, bool zero, const UndefinedTile *a,
                  const UndefinedTile *b)
{
  uint32_t *def = w->def, ok = FULL;
  const uint32_t *list = x->kernel->lists + i->list;
  for (int j = 0; j < i->wgmma.regs && !zero; j++)
    ok &= def[list[j]];
  bool carries = (ok != FULL || any(a) || any(b)) && undefined_of(x, w);
  for (int j = 0; j < i->wgmma.regs; j++)
    if (carries)
      product(x, w, i, j, zero, a, b);
    else
      def[list[j]] = FULL;
}
