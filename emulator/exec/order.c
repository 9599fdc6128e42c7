/* In which order the clusters of a grid start: a policy, as the machine promises none. */
#include "emulator/exec/machine.h"
#include "emulator/check/report.h"

enum { ROUNDS = 4 };

static uint64_t
mixed(uint64_t v)
{
  v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9u;
  v = (v ^ v >> 27) * 0x94d049bb133111ebu;
  return v ^ v >> 31;
}

/* One of the permutations of 2^(2 * half) numbers: a Feistel network. */
static uint64_t
scramble(uint64_t v, int half, uint64_t seed)
{
  uint64_t mask = (1ull << half) - 1, left = v >> half, right = v & mask;
  for (uint64_t round = 0; round < ROUNDS; round++) {
    uint64_t was = right;
    right = left ^ (mixed(right + mixed(seed + round)) & mask);
    left = was;
  }
  return left << half | right;
}

/* Of n numbers: the network's, as often as it leads out of them (a cycle comes back). */
static uint64_t
shuffled(uint64_t place, uint64_t n, uint64_t seed)
{
  int half = 1;
  while (half < 32 && n > 1ull << 2 * half)
    half++;
  do
    place = scramble(place, half, seed);
  while (place >= n);
  return place;
}

const char *
order_name(CtaOrder order)
{
  static const char *const names[] = {"forward", "reverse", "random"};
  return names[order];
}

uint64_t
order_cluster(const Launch *l, uint64_t place)
{
  switch (l->ctas_order) {
  case CTAS_REVERSE:
    return l->clusters - 1 - place;
  case CTAS_RANDOM:
    return shuffled(place, l->clusters, l->order_seed);
  case CTAS_FORWARD:
    break;
  }
  return place;
}
