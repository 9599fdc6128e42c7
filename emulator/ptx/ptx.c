#include "emulator/ptx/ptx.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const TypeInfo type_info[TYPE_COUNT] = {
#define X(id, name, bits, class) {name, bits, class},
    PTX_TYPES(X)
#undef X
};

const SpecialInfo special_info[SPECIAL_COUNT] = {
#define X(id, name, bits) {name, bits},
    PTX_SPECIALS(X)
#undef X
};

const char *
ptx_line(const Ptx *p, int line, int *n)
{
  *n = 0;
  if (line < 1 || line > p->n_lines)
    return "";
  const char *s = p->lines[line], *e = s;
  while (*s == ' ' || *s == '\t')
    s++;
  for (e = s; *e && *e != '\n' && *e != '\r'; e++)
    ;
  while (e > s && (e[-1] == ' ' || e[-1] == '\t'))
    e--;
  *n = (int)(e - s);
  return s;
}

void
ptx_fail(Ptx *p, int line, const char *fmt, ...)
{
  char why[300];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(why, sizeof why, fmt, ap);
  va_end(ap);
  int n;
  const char *text = ptx_line(p, line, &n);
  snprintf(p->error, sizeof p->error, "ptx:%d: error: %s\n    %.*s\n", line, why,
           n > 150 ? 150 : n, text);
  longjmp(*p->fail, 2);
}

Ast *
ptx_func(const Ptx *p, const char *name, int n)
{
  for (int i = 0; i < p->funcs.n; i++)
    if ((int)strlen(p->funcs.at[i]->name) == n &&
        !memcmp(p->funcs.at[i]->name, name, (size_t)n))
      return p->funcs.at[i];
  return NULL;
}
