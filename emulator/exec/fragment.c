#include "emulator/exec/fragment.h"

uint8_t
frag_type(const MmaForm *f, FragRole role)
{
  return role == FRAG_A ? f->a : role == FRAG_B ? f->b : role == FRAG_C ? f->c : f->d;
}

int
mma_type_bits(uint8_t type)
{
  static const uint8_t bits[] = {
      [MMA_F16] = 16, [MMA_BF16] = 16, [MMA_TF32] = 32, [MMA_F32] = 32, [MMA_E4M3] = 8,
      [MMA_E5M2] = 8, [MMA_E3M2] = 8,  [MMA_E2M3] = 8,  [MMA_E2M1] = 8, [MMA_U8] = 8,
      [MMA_S8] = 8,   [MMA_S32] = 32,  [MMA_F64] = 64};
  return bits[type];
}

int
frag_elements(const MmaForm *f, FragRole role)
{
  int bits = mma_type_bits(frag_type(f, role));
  return bits < 32 ? 32 / bits : 1;
}

static bool
quad_pairs(const MmaForm *f)
{
  return f->m == 8 && f->k == 4 && f->a == MMA_F16;
}

int
frag_distinct(const MmaForm *f, FragRole role)
{
  int elements = role == FRAG_A ? f->m * f->k : role == FRAG_B ? f->k * f->n : f->m * f->n;
  return elements * (quad_pairs(f) ? 4 : 1) / 32 / frag_elements(f, role);
}

/* wmma's matrices A and B of f16 have eight registers whatever their size. */
int
frag_registers(const MmaForm *f, FragRole role)
{
  bool eight = f->wmma && role <= FRAG_B && frag_type(f, role) == MMA_F16;
  return eight ? 8 : frag_distinct(f, role);
}

/* ---- m8n8k4 of f16 ---- */

int
frag_product(const MmaForm *f, int lane)
{
  return quad_pairs(f) ? lane % 16 / 4 : 0;
}

/* x: of the eight lanes of a quad pair; high: the upper four. */
static FragAt
at_a_of_pair(const MmaForm *f, int lane, int i)
{
  int high = lane >= 16 ? 4 : 0;
  if (f->col_a)
    return (FragAt){(uint8_t)(i + high), (uint8_t)(lane % 4)};
  return (FragAt){(uint8_t)(lane % 4 + high), (uint8_t)i};
}

static FragAt
at_b_of_pair(const MmaForm *f, int lane, int i)
{
  int high = lane >= 16 ? 4 : 0;
  if (f->col_b)
    return (FragAt){(uint8_t)i, (uint8_t)(lane % 4 + high)};
  return (FragAt){(uint8_t)(lane % 4), (uint8_t)(i + high)};
}

static FragAt
at_c_of_pair(uint8_t type, int lane, int i)
{
  int high = lane >= 16 ? 4 : 0;
  if (type == MMA_F16)
    return (FragAt){(uint8_t)(lane % 4 + high), (uint8_t)i};
  return (FragAt){(uint8_t)((lane & 1) + (i & 2) + high),
                  (uint8_t)((i & 4) + (lane & 2) + (i & 1))};
}

/* ---- the others: groups of four lanes have a row, or a column of B ---- */

/* A piece of at most 16 rows. */
static FragAt
at_a(const MmaForm *f, int reg, int lane, int per, int e)
{
  int halves = f->m >= 16 ? 2 : 1, rows = f->m >= 16 ? 16 : 8;
  int each = rows * f->k / 32 / per, piece = reg / each, r = reg % each;
  return (FragAt){(uint8_t)(16 * piece + lane / 4 + r % halves * 8),
                  (uint8_t)((r / halves * 4 + lane % 4) * per + e)};
}

static FragAt
at_b(const MmaForm *f, int reg, int lane, int per, int e)
{
  int each = 8 * f->k / 32 / per, piece = reg / each, r = reg % each;
  return (FragAt){(uint8_t)((r * 4 + lane % 4) * per + e), (uint8_t)(8 * piece + lane / 4)};
}

static FragAt
at_c(const MmaForm *f, int reg, int lane, int per, int e)
{
  int rows = f->m >= 16 ? 16 : 8, each = rows * 8 / 32 / per;
  int piece = reg / each, r = reg % each, across = f->n / 8;
  int half = r / (2 / per), first = per == 2 ? e : r % 2;
  return (FragAt){(uint8_t)(16 * (piece / across) + lane / 4 + 8 * half),
                  (uint8_t)(8 * (piece % across) + 2 * (lane % 4) + first)};
}

FragAt
frag_at(const MmaForm *f, FragRole role, int reg, int lane, int e)
{
  int per = frag_elements(f, role), i = reg * per + e;
  uint8_t type = frag_type(f, role);
  if (quad_pairs(f))
    return role == FRAG_A   ? at_a_of_pair(f, lane, i)
           : role == FRAG_B ? at_b_of_pair(f, lane, i)
                            : at_c_of_pair(type, lane, i);
  reg %= frag_distinct(f, role);
  return role == FRAG_A   ? at_a(f, reg, lane, per, e)
         : role == FRAG_B ? at_b(f, reg, lane, per, e)
                          : at_c(f, reg, lane, per, e);
}
