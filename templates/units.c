#include "templates/units.h"

static double
rate(const Target *g, Unit u)
{
  const int rates[UNIT_COUNT] = {
#define X(unit, column, what) [UNIT_##unit] = g->column,
      UNIT_TABLE(X)
#undef X
  };
  return rates[u];
}

Units
units_clocks(const Target *g, const Units *demand)
{
  Units clocks = {{0}};
  for (int u = 0; u < UNIT_COUNT; u++)
    if (demand->of[u] > 0)
      clocks.of[u] = demand->of[u] / rate(g, (Unit)u);
  return clocks;
}

double
units_longest(const Units *clocks)
{
  double longest = 0;
  for (int u = 0; u < UNIT_COUNT; u++)
    longest = clocks->of[u] > longest ? clocks->of[u] : longest;
  return longest;
}

double
units_sum(const Units *clocks)
{
  double sum = 0;
  for (int u = 0; u < UNIT_COUNT; u++)
    sum += clocks->of[u];
  return sum;
}
