#include "emulator/check/counters.h"
#include "emulator/check/findings.h"
#include "emulator/driver/work.h"

#include <stdio.h>
#include <string.h>

void
report_line(const char *text)
{
  findings_keep(text, settings_get().tell);
}

static bool
is_of(const Counter *c, void *device)
{
  return dev_of(c->address) == device;
}

/* Of memory that is gone nobody can say. */
void
report_counters(Device *d)
{
  Counter c;
  char line[300];
  while (settings_get().counters && counters_take(is_of, d, &c)) {
    uint64_t value = 0;
    const Alloc *a = dev_find(d, c.address, (uint64_t)c.bytes);
    if (a)
      memcpy(&value, a->host + (c.address - a->base), (size_t)c.bytes);
    if (!value)
      continue;
    snprintf(
        line, sizeof line,
        "ptx:%d: error[counter-left]: the counter at 0x%llx is %llu and not 0, now that "
        "the host waits (%s)",
        c.line, (unsigned long long)c.address, (unsigned long long)value, c.kernel);
    report_line(line);
  }
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
