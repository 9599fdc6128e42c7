#include "emulator/check/shadow_part.h"

#include <string.h>

/* Distinct words of one phase, by bank. */
typedef struct Banks {
  uint32_t word[32][32];
  uint8_t n[32];
} Banks;

static int
most_in_a_bank(uint32_t lanes, int shift, const uint32_t *off)
{
  Banks b;
  memset(b.n, 0, sizeof b.n);
  int most = 1;
  for (uint32_t m = lanes; m; m &= m - 1) {
    uint32_t word = off[__builtin_ctz(m)] >> shift, bank = word & ((128u >> shift) - 1);
    int i = 0;
    while (i < b.n[bank] && b.word[bank][i] != word)
      i++;
    if (i < b.n[bank])
      continue;
    b.word[bank][i] = word;
    b.n[bank]++;
    most = b.n[bank] > most ? b.n[bank] : most;
  }
  return most;
}

/* All lanes of the phase in different banks? */
static bool
spread(uint32_t lanes, int shift, const uint32_t *off)
{
  uint32_t used = 0, twice = 0, width = (128u >> shift) - 1;
  for (uint32_t m = lanes; m; m &= m - 1) {
    uint32_t bank = 1u << (off[__builtin_ctz(m)] >> shift & width);
    twice |= used & bank;
    used |= bank;
  }
  return !twice;
}

static bool
consecutive(int bytes, const uint32_t *off)
{
  uint32_t differ = 0;
  for (int i = 0; i < 32; i++)
    differ |= off[i] ^ (off[0] + (uint32_t)(i * bytes));
  return !differ;
}

/* 4 bytes and less: one phase of 32 lanes; 8: two of 16; 16: four of 8. */
void
shadow_banks(uint32_t mask, int bytes, const uint32_t *off, int *phases, int *ideal)
{
  int shift = bytes == 16 ? 4 : bytes == 8 ? 3 : 2, unit = 1 << shift, lanes = 128 >> shift;
  *phases = *ideal = 0;
  if (mask == 0xffffffff && bytes >= 4 && consecutive(bytes, off)) {
    *phases = *ideal = unit / 4;
    return;
  }
  for (int first = 0; first < 32; first += lanes) {
    uint32_t part =
        lanes == 32 ? mask : mask >> first << first & ((1u << lanes) - 1) << first;
    if (!part)
      continue;
    ++*ideal;
    *phases += spread(part, shift, off) ? 1 : most_in_a_bank(part, shift, off);
  }
}

void
shadow_sectors(uint32_t mask, int bytes, const uint64_t *off, int *sectors, int *ideal)
{
  uint64_t seen[32], most = 0;
  int n = 0, lanes = 0;
  for (uint32_t m = mask; m; m &= m - 1, lanes++) {
    uint64_t s = off[__builtin_ctz(m)] / 32;
    int i = n - 1;
    while (s <= most && i >= 0 && seen[i] != s) /* rising addresses need no search */
      i--;
    if (s > most || i < 0)
      seen[n++] = s;
    most = s > most ? s : most;
  }
  int least = (lanes * bytes + 31) / 32;
  *sectors = n;
  *ideal = least < n ? least : n;
}
