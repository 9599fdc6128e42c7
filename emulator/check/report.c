#include "emulator/exec/machine.h"
#include "emulator/check/report.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- of an instruction ---- */

static void
where(const Exec *x, const Warp *w, int lane, char *text, size_t n)
{
  const uint32_t *id = w->cta->id;
  int at = snprintf(text, n, "%s, cta %u,%u,%u, warp %d", x->kernel->name, id[0], id[1],
                    id[2], w->id);
  if (lane >= 0 && at > 0 && (size_t)at < n)
    snprintf(text + at, n - (size_t)at, ", lane %d", lane);
}

static uint64_t
key_of(const Exec *x, const Insn *i)
{
  return (uint64_t)(i - x->kernel->code);
}

static void
report(const Exec *x, const Warp *w, const Insn *i, FindingLogKind kind, const char *name,
       int lane, const char *what)
{
  char place[200], line[3200];
  int n;
  const char *text = ptx_line(x->kernel->ptx, i->line, &n);
  where(x, w, lane, place, sizeof place);
  snprintf(line, sizeof line, "ptx:%d: error[%s]: %s (%s): %.*s", i->line, name, what,
           place, n > 150 ? 150 : n, text);
  finding_log_add(x->launch->findings, kind, kind == FINDING_LOG_FATAL ? 0 : key_of(x, i),
                  x->place, line);
}

Stop
report_fatal(Exec *x, const Warp *w, const Insn *i, CUresult result, const char *name,
             int lane, const char *fmt, ...)
{
  char what[2600];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  x->result = result;
  atomic_fetch_add(&x->launch->errors, 1);
  if (launch_fail(x->launch, x->place, result))
    report(x, w, i, FINDING_LOG_FATAL, name, lane, what);
  return FATAL;
}

void
report_error(Exec *x, const Warp *w, const Insn *i, const char *name, int lane,
             const char *fmt, ...)
{
  char what[2600];
  va_list ap;
  if (!x->launch->set.checks ||
      !finding_log_wants(x->launch->findings, FINDING_LOG_ERROR, key_of(x, i), x->place))
    return;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  atomic_fetch_add(&x->launch->errors, 1);
  report(x, w, i, FINDING_LOG_ERROR, name, lane, what);
}

void
report_shadow(void *user, const ShadowFinding *f)
{
  const Launch *l = user;
  char line[1200];
  int n;
  const char *text = ptx_line(l->kernel->ptx, f->line, &n);
  snprintf(line, sizeof line, "ptx:%d: error[%s]: %s (%s, cta %d, warp %d, lane %d): %.*s",
           f->line, f->name, f->text, l->kernel->name, f->cta, f->warp, f->lane,
           n > 150 ? 150 : n, text);
  finding_log_add(l->findings, FINDING_LOG_SHADOW, f->key, f->place, line);
}
