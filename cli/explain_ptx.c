/* explain_ptx.c: `attnc explain FILE.ptx`: what ptxas makes of any PTX, ours or another's.
 */
#include "cli/explain_ptx.h"
#include "sass/ptxas.h"
#include "cli/sass_print.h"

#include "base/err.h"
#include "base/file.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_PTX = 64 << 20 };

typedef struct Assembly {
  Cli *c;
  const char *path, *target;
  Assembled as;
  Sass *kernels;
  int n;
} Assembly;

bool
is_ptx(const char *path)
{
  size_t n = strlen(path);
  return n > 4 && str_eq(path + n - 4, ".ptx");
}

/* What only a spec can answer. */
static attnc_status
refuse_options(const Cli *c, attnc_error *e)
{
  static const struct {
    OptionId id;
    const char *name;
  } of_specs[] = {{OPT_SHAPE, "shape"},
                  {OPT_SCHEDULE, "schedule"},
                  {OPT_ALL, "all"},
                  {OPT_DUMP, "dump"}};
  for (size_t i = 0; i < sizeof of_specs / sizeof *of_specs; i++)
    if (options_has(&c->opt, of_specs[i].id))
      return err_set(e, ATTNC_ERR_USAGE, "--%s is about a spec, not about PTX",
                     of_specs[i].name);
  return ATTNC_OK;
}

static attnc_status
assemble(Assembly *a, attnc_error *e)
{
  char *text;
  size_t n;
  a->path = a->c->opt.args[0];
  a->target = a->c->opt.value[OPT_ARCH];
  TRY(refuse_options(a->c, e));
  if (!a->target)
    return err_set(e, ATTNC_ERR_USAGE, "%s: --arch must say for which target", a->path);
  TRY(attnc_target_check(a->target, e));
  TRY(file_read_stream(a->path, MAX_PTX, &text, &n, e));
  attnc_status st = ptxas_run(text, n, a->target, a->c->arena, &a->as, e);
  free(text);
  return st == ATTNC_OK ? sass_kernels(&a->as, a->c->arena, &a->kernels, &a->n, e) : st;
}

static int
print_text(const Assembly *a)
{
  Str s = str_new(a->c->arena);
  str_printf(&s, "%-10s %s\n%-10s %s\n", "file", a->path, "target", a->target);
  str_printf(&s, "%-10s %d registers, %d bytes of spill stores, %d of loads\n", "ptxas",
             a->as.registers, a->as.spill_stores, a->as.spill_loads);
  sass_print_figures(&a->as, a->c->arena, &s);
  for (int i = 0; i < a->n; i++)
    sass_print(&a->kernels[i], a->c->arena, &s);
  cli_print(s.p);
  return 0;
}

static int
print_json(const Assembly *a)
{
  cli_json(json_pack("{s:s, s:o, s:s, s:o}", "schema", "attnc.explain_ptx/1", "file",
                     cli_text(a->path), "target", a->target, "sass",
                     sass_json(&a->as, a->kernels, a->n, a->c->arena)));
  return 0;
}

int
explain_ptx(Cli *c)
{
  Assembly a = {.c = c};
  attnc_error e;
  int code = assemble(&a, &e) != ATTNC_OK ? cli_error(c, &e)
             : c->json                    ? print_json(&a)
                                          : print_text(&a);
  free(a.as.cubin);
  return code;
}
