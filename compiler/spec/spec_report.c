/* What is wrong with a spec, as diagnostics with their place. */
#include "compiler/spec/spec_load.h"

#include <stdarg.h>
#include <string.h>

const SpecErrorInfo spec_errors[SE_COUNT] = {
#define SPEC_ERROR(id, code, meaning, help) [SE_##id] = {code, meaning, help},
#include "compiler/spec/spec_errors.def"
#undef SPEC_ERROR
};

void
spec_fault(SpecLoad *l, Place at, SpecError e, const char *help, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  const char *message = arena_vprintf(l->arena, fmt, args);
  va_end(args);
  l->errors++;
  diags_error(l->diags, at, spec_errors[e].code, help ? help : spec_errors[e].help, "%s",
              message);
}

void
spec_warn(SpecLoad *l, Place at, SpecError e, const char *help, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  const char *message = arena_vprintf(l->arena, fmt, args);
  va_end(args);
  diags_warning(l->diags, at, spec_errors[e].code, help ? help : spec_errors[e].help, "%s",
                message);
}

const char *
spec_shown(SpecLoad *l, const char *text)
{
  enum { MOST = 40 };
  size_t n = strlen(text), cut = n;
  if (n > MOST)
    for (cut = MOST; cut && ((unsigned char)text[cut] & 0xc0) == 0x80; cut--)
      ;
  char *shown = arena_printf(l->arena, "%.*s%s", (int)cut, text, cut < n ? "…" : "");
  for (char *p = shown; *p; p++)
    if ((unsigned char)*p < 0x20 || *p == 0x7f)
      *p = ' ';
  return shown;
}
