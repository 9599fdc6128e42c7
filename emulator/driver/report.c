#include "emulator/check/findings.h"
#include "emulator/driver/work.h"

#include <stdio.h>

void
report_line(const char *text)
{
  findings_keep(text, settings_get().tell);
}

void
report_describe(void *user, uint64_t number, int insn, ShadowOther *other)
{
  const Launch *l = user;
  turn_tell(l->device, number, insn, other);
}

const char *
report_variable(const Launch *l, uint64_t address)
{
  const char *name = NULL;
  for (const struct CUmod_st *m = l->device->modules; m; m = m->next)
    for (int i = 0; i < m->ptx.vars.n; i++) {
      const Var *v = m->ptx.vars.at[i];
      if (v->offset == address && (v->space == SPACE_GLOBAL || v->space == SPACE_CONST))
        name = v->name;
    }
  return name;
}
