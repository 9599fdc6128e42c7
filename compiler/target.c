#include "compiler/target.h"

#include "base/str.h"

#include <attnc/attnc.h>

const Target targets[] = {
#define TARGET(name, ...) {#name, __VA_ARGS__},
#include "compiler/target.def"
#undef TARGET
};
const int n_targets = (int)(sizeof targets / sizeof *targets);

static const char *const target_names[] = {
#define TARGET(name, ...) #name,
#include "compiler/target.def"
#undef TARGET
    NULL};

const Target *
target_find(const char *name)
{
  for (int i = 0; i < n_targets; i++)
    if (str_eq(targets[i].name, name))
      return &targets[i];
  return NULL;
}

const Target *
target_for_cc(int cc)
{
  const Target *best = NULL;
  for (int i = 0; i < n_targets; i++) {
    const Target *t = &targets[i];
    if (t->exact ? t->cc != cc : t->cc > cc)
      continue;
    if (!best || t->cc > best->cc || (t->cc == best->cc && t->exact))
      best = t;
  }
  return best;
}

const char *const *
attnc_targets(void)
{
  return target_names;
}
