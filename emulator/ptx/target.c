#include "emulator/ptx/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const lists[] = {
#define ON(name, list) [ON_##name - ON_FIRST - 1] = list,
#define SET(name, members)
#define FORM(mnemonic, opnds, sm, version, build, arg)
#include "emulator/ptx/ops.def"
#undef ON
#undef SET
#undef FORM
};

/* The first PTX versions that have it, and its own and its family's features; 0: none has.
 * family: its number, 0: none.  PTX ISA, release notes; ptxas agrees. */
typedef struct Target {
  int sm, family, version, own, of_family;
} Target;

static const Target targets[] = {
    {50, 0, 40, 0, 0},      {52, 0, 41, 0, 0},      {53, 0, 42, 0, 0},
    {60, 0, 50, 0, 0},      {61, 0, 50, 0, 0},      {62, 0, 50, 0, 0},
    {70, 0, 60, 0, 0},      {72, 0, 61, 0, 0},      {75, 0, 63, 0, 0},
    {80, 0, 70, 0, 0},      {86, 0, 71, 0, 0},      {87, 0, 74, 0, 0},
    {88, 0, 90, 0, 0},      {89, 0, 78, 0, 0},      {90, 0, 78, 80, 0},
    {100, 100, 86, 86, 88}, {101, 110, 86, 86, 88}, /* what sm_110 was called at first */
    {103, 100, 88, 88, 88}, {110, 110, 90, 90, 90}, {120, 120, 87, 87, 88},
    {121, 120, 88, 88, 88},
};

static const Target *
find(int sm)
{
  for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
    if (targets[i].sm == sm)
      return &targets[i];
  return NULL;
}

bool
target_exists(int sm, char suffix, int version)
{
  const Target *t = find(sm);
  int since = !t ? 0 : suffix == 'a' ? t->own : suffix == 'f' ? t->of_family : t->version;
  return since && version >= since;
}

static int
renamed(int sm)
{
  return sm == 101 ? 110 : sm;
}

static bool
in_family(int sm, int of)
{
  const Target *t = find(sm), *f = find(of);
  return t && f && t->family && t->family == f->family && renamed(sm) >= renamed(of);
}

bool
target_runs_on(int sm, char suffix, int cc)
{
  switch (suffix) {
  case 'a':
    return renamed(sm) == cc;
  case 'f':
    return in_family(cc, sm);
  default:
    return sm <= cc;
  }
}

bool
target_has(int sm, char suffix, int needs)
{
  if (needs < ON_FIRST)
    return sm >= needs;
  for (const char *p = lists[needs - ON_FIRST - 1]; *p; p += *p == '|') {
    char *end;
    int least = (int)strtol(p, &end, 10);
    if (*end == 'a'   ? suffix == 'a' && renamed(sm) == least
        : *end == 'f' ? suffix && in_family(sm, least)
                      : sm >= least)
      return true;
    p = end + (*end == 'a' || *end == 'f');
  }
  return false;
}

const char *
target_words(int needs, char *text, size_t n)
{
  if (needs < ON_FIRST) {
    snprintf(text, n, "sm_%d or higher", needs);
    return text;
  }
  size_t at = 0;
  *text = 0;
  for (const char *p = lists[needs - ON_FIRST - 1]; *p && at < n; p += *p == '|') {
    int len = (int)strcspn(p, "|");
    at += (size_t)snprintf(text + at, n - at, "%ssm_%.*s", at ? " or " : "", len, p);
    p += len;
  }
  return text;
}
