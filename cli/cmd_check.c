/* cmd_check.c: `attnc check`: everything that is wrong with specs, and what each target
 * cannot do.  Without --arch, or with `--arch all`, a spec that at least one target
 * supports is fine; with it each target has a line that says by which template, and why by
 * no faster one. */
#include "cli/cli.h"

#include "base/err.h"

#include <stdio.h>

#define NO_TARGET "A0410" /* the template takes nothing there (compiler/template.h) */

typedef struct Check {
  Cli *c;
  const char **targets;
  bool told;  /* --arch was given: a line for each target */
  bool asked; /* … that named targets: each must support the spec */
  json_t *list;
} Check;

/* Whichever reasons stand beside that one. */
static bool
takes_nothing(const json_t *reasons)
{
  size_t i;
  const json_t *why;
  json_array_foreach(reasons, i, why)
  {
    if (str_eq(json_string_value(json_object_get(why, "code")), NO_TARGET))
      return true;
  }
  return false;
}

/* "  sm_75   ref_fwd", and below it what other templates say, but for those that take
 * nothing on the target. */
static void
put_templates(const char *target, json_t *templates, Str *line)
{
  const json_t *t, *why;
  size_t i, n;
  const char *chosen = "not supported";
  json_array_foreach(templates, i, t)
  {
    if (json_is_true(json_object_get(t, "chosen")))
      chosen = json_string_value(json_object_get(t, "template"));
  }
  str_printf(line, "  %-7s %s\n", target, chosen);
  json_array_foreach(templates, i, t)
  {
    bool none = takes_nothing(json_object_get(t, "reasons"));
    json_array_foreach(json_object_get(t, "reasons"), n, why)
    {
      if (!none)
        str_printf(line, "          %s %s: %s\n",
                   json_string_value(json_object_get(why, "code")),
                   json_string_value(json_object_get(t, "template")),
                   json_string_value(json_object_get(why, "message")));
    }
  }
}

/* NULL: there was no memory. */
static json_t *
templates_of(const attnc_spec *spec, const char *target)
{
  char *text = NULL;
  if (attnc_spec_templates(spec, target, &text, NULL) != ATTNC_OK)
    return NULL;
  json_t *list = json_loads(text, 0, NULL);
  attnc_text_free(text);
  return list;
}

/* One target: its reasons to stderr where it was asked for, and into the JSON. */
static attnc_status
check_target(const Check *k, const attnc_spec *spec, const char *target, json_t *out,
             Str *lines)
{
  attnc_diags *diags;
  attnc_status st = attnc_diags_create(&diags);
  if (st != ATTNC_OK)
    return st;
  st = attnc_spec_check(spec, target, diags);
  if (st != ATTNC_OK && k->asked)
    cli_diags_print(k->c, diags);
  json_t *templates = templates_of(spec, target);
  if (k->told && templates)
    put_templates(target, templates, lines);
  json_array_append_new(out, json_pack("{s:s, s:b, s:o, s:o*}", "name", target, "supported",
                                       st == ATTNC_OK, "reasons", cli_diags_json(diags),
                                       "templates", templates));
  attnc_diags_release(diags);
  return st;
}

static int
check_targets(const Check *k, const LoadedSpec *s, json_t *targets, Str *line)
{
  int good = 0, bad = 0;
  str_printf(line, "%s: %s:", s->path, s->info.name);
  Str refused = str_new(k->c->arena), lines = str_new(k->c->arena);
  for (int i = 0; k->targets[i]; i++) {
    attnc_status st = check_target(k, s->spec, k->targets[i], targets, &lines);
    if (st != ATTNC_OK && st != ATTNC_ERR_UNSUPPORTED)
      return err_exit_code(st);
    str_printf(st == ATTNC_OK ? line : &refused, " %s", k->targets[i]);
    good += st == ATTNC_OK;
    bad += st != ATTNC_OK;
  }
  bool ok = k->asked ? !bad : good > 0;
  if (bad)
    str_printf(line, "%s not supported on%s", good ? ";" : "", refused.p);
  str_printf(line, "\n%s", lines.p);
  return ok ? 0 : err_exit_code(ATTNC_ERR_UNSUPPORTED);
}

static int
check_one(const Check *k, const char *path)
{
  LoadedSpec s;
  json_t *diags, *targets = json_array();
  attnc_error e;
  Str line = str_new(k->c->arena);
  attnc_status st = cli_load(k->c, path, &s, &diags, &e);
  int code = err_exit_code(st);
  if (st == ATTNC_OK)
    code = check_targets(k, &s, targets, &line);
  else if (st == ATTNC_ERR_SPEC)
    str_printf(&line, "%s: not a valid spec\n", path);
  else
    cli_warn(k->c, "%s", e.message);
  json_t *j = json_pack("{s:o, s:b, s:o, s:o}", "file", cli_text(path), "ok", code == 0,
                        "diagnostics", diags ? diags : json_array(), "targets", targets);
  if (st == ATTNC_OK) {
    json_object_set_new(j, "name", json_string(s.info.name));
    json_object_set_new(j, "spec_hash", json_string(attnc_spec_hash(s.spec)));
  } else {
    json_object_set_new(j, "error", cli_error_json(&e));
  }
  json_array_append_new(k->list, j);
  if (!k->c->json)
    cli_print(line.p);
  cli_unload(&s);
  return code;
}

int
cmd_check(Cli *c)
{
  const char *list = c->opt.value[OPT_ARCH_LIST];
  Check k = {.c = c, .told = list != NULL, .asked = list && !str_eq(list, "all")};
  attnc_error e;
  if (cli_targets(c, list, &k.targets, &e) != ATTNC_OK)
    return cli_error(c, &e);
  k.list = json_array();
  Tally tally = {0};
  for (int i = 0; i < c->opt.n_args; i++)
    tally_add(&tally, check_one(&k, c->opt.args[i]));
  if (c->json)
    cli_json(json_pack("{s:s, s:o}", "schema", "attnc.check/1", "specs", k.list));
  else
    json_decref(k.list);
  return tally_code(&tally);
}
