/* Undefined elements of a product, where fragment.h says that they are: an undefined one of
 * A makes its row of D undefined, one of B its column, one of C itself. */
#include "emulator/exec/fragment.h"
#include "emulator/exec/steps.h"
#include "emulator/check/undefined.h"

#include <string.h>

enum { QUADS = 4, SIDE = 32 };

typedef struct Holes {               /* a bit each; of m8n8k4 of f16 four products */
  uint32_t rows[QUADS], cols[QUADS]; /* of A and of B */
  uint32_t c[QUADS][SIDE];           /* row by row */
} Holes;

/* The undefined element e of register r, of a lane. */
static void
note(const MmaForm *f, FragRole role, int r, int l, int e, Holes *h)
{
  FragAt at = frag_at(f, role, r, l, e);
  int quad = frag_product(f, l);
  if (role == FRAG_A)
    h->rows[quad] |= 1u << at.row;
  else if (role == FRAG_B)
    h->cols[quad] |= 1u << at.col;
  else
    h->c[quad][at.row] |= 1u << at.col;
}

static uint64_t
element_mask(const MmaForm *f, FragRole role, int e)
{
  int bits = mma_type_bits(frag_type(f, role));
  return bits == 64 ? UINT64_MAX : ((1ull << bits) - 1) << e * bits;
}

static void
note_operand(const Warp *w, const MmaForm *f, FragRole role, const uint32_t *row, Holes *h)
{
  for (int r = 0; r < frag_registers(f, role); r++) {
    uint32_t narrow[LANES];
    uint64_t bits[LANES];
    if (w->def[row[r]] == FULL)
      continue;
    if (frag_type(f, role) == MMA_F64)
      undefined_bits64(w, row[r], bits);
    else
      undefined_bits32(w, row[r], narrow);
    for (int l = 0; l < LANES; l++) {
      uint64_t u = frag_type(f, role) == MMA_F64 ? bits[l] : narrow[l];
      for (int e = 0; u && e < frag_elements(f, role); e++)
        if (u & element_mask(f, role, e))
          note(f, role, r, l, e, h);
    }
  }
}

static uint64_t
result_bits(const MmaForm *f, const Holes *h, int r, int l)
{
  int quad = frag_product(f, l);
  uint64_t bits = 0;
  for (int e = 0; e < frag_elements(f, FRAG_D); e++) {
    FragAt at = frag_at(f, FRAG_D, r, l, e);
    uint32_t row = h->rows[quad] >> at.row, col = h->cols[quad] | h->c[quad][at.row];
    bits |= (row | col >> at.col) & 1 ? element_mask(f, FRAG_D, e) : 0;
  }
  return bits;
}

/* The list holds d, a, b, c; regs.a registers of a, regs.b of b. */
void
undefined_frag_product(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  const MmaForm *f = &i->mma;
  const uint32_t *d = x->kernel->lists + i->list, *a = d + i->n_d, *b = a + i->regs.a;
  Holes h = {0};
  int first = 0;
  undefined_guard(x, w, i);
  if (mask != FULL)
    return;
  note_operand(w, f, FRAG_A, a, &h);
  note_operand(w, f, FRAG_B, b, &h);
  note_operand(w, f, FRAG_C, b + i->regs.b, &h);
  while (first < i->n_s - 1 && w->def[a[first]] == FULL)
    first++;
  Origin from = undefined_origin(x, w, i, a[first]);
  for (int r = 0; r < i->n_d; r++) {
    uint32_t narrow[LANES];
    uint64_t wide[LANES];
    for (int l = 0; l < LANES; l++)
      narrow[l] = (uint32_t)(wide[l] = result_bits(f, &h, r, l));
    if (f->d == MMA_F64)
      undefined_put64(w, d[r], FULL, wide, from);
    else
      undefined_put32(w, d[r], FULL, narrow, from);
  }
}
