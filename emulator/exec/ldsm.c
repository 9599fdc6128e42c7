#include "emulator/exec/ldsm.h"

#include <string.h>

/* Lane l of the result holds elements 2(l % 4) and 2(l % 4)+1 of row l / 4. */
static void
load_rows(const uint8_t *mem, const uint32_t *off, uint32_t *d)
{
  for (int r = 0; r < 8; r++)
    memcpy(d + 4 * r, mem + off[r], 16);
}

typedef uint16_t Half8 __attribute__((vector_size(16)));
#define LOW(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)

/* 8×8 halves: three rounds of interleaving row r with row r + 4. */
static void
transpose(uint32_t *d, const uint32_t *a)
{
  Half8 v[8], w[8];
  memcpy(v, a, sizeof v);
  for (int round = 0; round < 3; round++) {
    for (int r = 0; r < 4; r++) {
      w[2 * r] = LOW(v[r], v[r + 4]);
      w[2 * r + 1] = HIGH(v[r], v[r + 4]);
    }
    memcpy(v, w, sizeof v);
  }
  memcpy(d, v, sizeof v);
}

void
ldsm_load(int num, bool trans, const uint8_t *mem, const uint32_t *off, uint32_t *const *d)
{
  uint32_t rows[32];
  for (int q = 0; q < num; q++)
    if (trans) {
      load_rows(mem, off + 8 * q, rows);
      transpose(d[q], rows);
    } else {
      load_rows(mem, off + 8 * q, d[q]);
    }
}

void
ldsm_store(int num, bool trans, uint8_t *mem, const uint32_t *off, const uint32_t *const *a)
{
  uint32_t rows[32];
  for (int q = 0; q < num; q++) {
    const uint32_t *from = a[q];
    if (trans) {
      transpose(rows, a[q]);
      from = rows;
    }
    for (int r = 0; r < 8; r++)
      memcpy(mem + off[8 * q + r], from + 4 * r, 16);
  }
}

void
ldsm_move_trans(uint32_t *d, const uint32_t *a)
{
  transpose(d, a);
}

/* ---- elements of 8 bits and fewer ---- */

enum { ROW = 16 };

static void
unpack(int bits, const uint8_t *row, uint8_t *out)
{
  for (int e = 0; e < ROW; e++) {
    int at = e * bits, high = at % 8 + bits > 8 ? row[at / 8 + 1] : 0;
    out[e] = (uint8_t)((row[at / 8] | high << 8) >> at % 8 & ((1 << bits) - 1));
  }
}

void
ldsm_load_bytes(int num, int bits, const uint8_t *mem, const uint32_t *off,
                uint32_t *const *d)
{
  uint8_t row[ROW];
  for (int q = 0; q < num; q++)
    for (int r = 0; r < 8; r++) {
      unpack(bits, mem + off[8 * q + r], row);
      memcpy(d[q] + 4 * r, row, ROW);
    }
}

void
ldsm_load_bytes_trans(int num, int bits, const uint8_t *mem, const uint32_t *off,
                      uint32_t *const *d)
{
  uint8_t rows[ROW][ROW], four[4];
  for (int q = 0; q < num; q++) {
    for (int r = 0; r < ROW; r++)
      unpack(bits, mem + off[ROW * q + r], rows[r]);
    for (int half = 0; half < 2; half++)
      for (int l = 0; l < 32; l++) {
        for (int k = 0; k < 4; k++)
          four[k] = rows[l % 4 * 4 + k][l / 4 + 8 * half];
        memcpy(&d[2 * q + half][l], four, sizeof four);
      }
  }
}

void
ldsm_store_bytes_trans(int num, uint8_t *mem, const uint32_t *off, const uint32_t *const *a)
{
  for (int q = 0; q < num; q++)
    for (int l = 0; l < 32; l++)
      for (int k = 0; k < 4; k++)
        mem[off[8 * q + l % 4 * 2 + k % 2] + (uint32_t)(l / 4 + k / 2 * 8)] =
            (uint8_t)(a[q][l] >> 8 * k);
}
