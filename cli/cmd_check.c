/* cmd_check.c: `attnc check`: everything that is wrong with specs, and what each target
 * cannot do.  Without --arch a spec that at least one target supports is fine. */
#include "cli/cli.h"

#include "base/err.h"

#include <stdio.h>

typedef struct Check {
  Cli *c;
  const char **targets;
  bool asked; /* --arch was given: every target must support the spec */
  json_t *list;
} Check;

/* One target: its reasons to stderr where it was asked for, and into the JSON. */
static attnc_status
check_target(const Check *k, const attnc_spec *spec, const char *target, json_t *out)
{
  attnc_diags *diags;
  attnc_status st = attnc_diags_create(&diags);
  if (st != ATTNC_OK)
    return st;
  st = attnc_spec_check(spec, target, diags);
  if (st != ATTNC_OK && k->asked)
    cli_diags_print(k->c, diags);
  json_array_append_new(out, json_pack("{s:s, s:b, s:o}", "name", target, "supported",
                                       st == ATTNC_OK, "reasons", cli_diags_json(diags)));
  attnc_diags_release(diags);
  return st;
}

static int
check_targets(const Check *k, const LoadedSpec *s, json_t *targets, Str *line)
{
  int good = 0, bad = 0;
  str_printf(line, "%s: %s:", s->path, s->info.name);
  Str refused = str_new(k->c->arena);
  for (int i = 0; k->targets[i]; i++) {
    attnc_status st = check_target(k, s->spec, k->targets[i], targets);
    if (st != ATTNC_OK && st != ATTNC_ERR_UNSUPPORTED)
      return err_exit_code(st);
    str_printf(st == ATTNC_OK ? line : &refused, " %s", k->targets[i]);
    good += st == ATTNC_OK;
    bad += st != ATTNC_OK;
  }
  bool ok = k->asked ? !bad : good > 0;
  if (bad)
    str_printf(line, "%s not supported on%s", good ? ";" : "", refused.p);
  str_put(line, "\n");
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
  Check k = {.c = c, .asked = options_has(&c->opt, OPT_ARCH_LIST)};
  attnc_error e;
  if (cli_targets(c, c->opt.value[OPT_ARCH_LIST], &k.targets, &e) != ATTNC_OK)
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
