/* cmd_small.c: the commands that print what a library function says: key, schema, cache,
 * completion. */
#include "cli/cli.h"
#include "cli/table.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>

int
cmd_schema(Cli *c)
{
  (void)c; /* the schema is JSON already */
  cli_print(attnc_spec_schema());
  return 0;
}

int
cmd_completion(Cli *c)
{
  Str s = str_new(c->arena);
  const char *shell = c->opt.args[0];
  if (!options_completion(shell, &s))
    return cli_fail(c, ATTNC_ERR_USAGE, "no completion for %.40s", shell);
  if (c->json)
    cli_json(json_pack("{s:s, s:s, s:s}", "schema", "attnc.completion/1", "shell", shell,
                       "script", s.p));
  else
    cli_print(s.p);
  return 0;
}

/* ---- targets ---- */

static void
put_target(Table *t, const json_t *row)
{
  const char *cc = json_string_value(json_object_get(row, "capability"));
  table_cell(t, "%s", json_string_value(json_object_get(row, "name")));
  table_cell(t, "%s %s", cc,
             json_is_true(json_object_get(row, "exact")) ? "alone" : "and above");
  table_cell(t, "%s", json_string_value(json_object_get(row, "ptx")));
  table_cell(t, "%s", json_string_value(json_object_get(row, "cuda")));
}

int
cmd_targets(Cli *c)
{
  static const char *const head[] = {"target", "devices of capability", "PTX",
                                     "CUDA driver"};
  json_t *list = json_loads(attnc_target_table(), 0, NULL), *row;
  size_t i;
  if (c->json) {
    cli_json(json_pack("{s:s, s:o}", "schema", "attnc.targets/1", "targets", list));
    return 0;
  }
  Table *t = table_new(c->arena, "llrr");
  Str s = str_new(c->arena);
  for (i = 0; i < sizeof head / sizeof *head; i++)
    table_cell(t, "%s", head[i]);
  json_array_foreach(list, i, row) put_target(t, row);
  table_print(t, "", &s);
  str_put(&s, "A device takes its exact target, else the highest that it runs.\n");
  cli_print(s.p);
  json_decref(list);
  return 0;
}

/* ---- key ---- */

static int
print_key(const Cli *c, const char *text)
{
  json_t *j = json_loads(text, 0, NULL), *fields = json_object_get(j, "fields"), *value;
  const char *name, *key = json_string_value(json_object_get(j, "key"));
  const char *lengths = lengths_text(json_object_get(j, "lengths"), c->arena);
  if (!key) {
    json_decref(j);
    return cli_fail(c, ATTNC_ERR_INTERNAL, "attnc_key_explain: no key in its JSON");
  }
  if (c->json) {
    json_object_set_new(j, "schema", json_string("attnc.key/1"));
    cli_json(j);
    return 0;
  }
  printf("%s\n", key);
  if (options_has(&c->opt, OPT_EXPLAIN)) {
    size_t i;
    json_t *field;
    printf("  %-16s %s\n", "source", json_string_value(json_object_get(j, "source")));
    if (lengths)
      printf("  %-16s %s\n", "lengths", lengths);
    json_object_foreach(fields, name, value)
        printf("  %-16s %s\n", name, json_string_value(value));
    json_array_foreach(fields, i, field)
    {
      value = json_object_get(field, "value");
      const char *label = json_string_value(json_object_get(field, "label"));
      printf("  %-16s %s\n", label ? label : "?",
             json_is_string(value) ? json_string_value(value) : "");
    }
  }
  json_decref(j);
  return 0;
}

static attnc_status
explain_key(Cli *c, const LoadedSpec *s, char **json, attnc_error *e)
{
  attnc_schedule want;
  attnc_sizes z;
  bool given;
  TRY(cli_sizes(c, s, &z, e));
  TRY(cli_schedule(c, &want, &given, e));
  return cli_plan_key(c, s, &z, given ? &want : NULL, json, e);
}

int
cmd_key(Cli *c)
{
  LoadedSpec s;
  attnc_error e;
  char *text = NULL;
  attnc_status st = cli_load(c, c->opt.args[0], &s, NULL, &e);
  if (st == ATTNC_OK)
    st = explain_key(c, &s, &text, &e);
  cli_unload(&s);
  if (st != ATTNC_OK)
    return cli_error(c, &e);
  int code = print_key(c, text);
  attnc_text_free(text);
  return code;
}

/* ---- cache ---- */

typedef attnc_status CacheCall(attnc_context *, char **, attnc_error *);
static const struct {
  const char *name;
  CacheCall *call;
} cache_calls[] = {
    {"stat", attnc_cache_stat},
    {"verify", attnc_cache_verify},
    {"gc", attnc_cache_gc},
    {"clear", attnc_cache_clear},
};

static void
print_value(const char *key, const json_t *v)
{
  size_t i;
  json_t *item;
  if (json_is_array(v)) {
    json_array_foreach(v, i, item)
    {
      char *text = json_dumps(item, JSON_ENCODE_ANY | JSON_COMPACT);
      printf("%-12s  %s\n", key, text ? text : "");
      free(text);
    }
    return;
  }
  char *text = json_is_string(v) ? NULL : json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
  printf("%-12s  %s\n", key, text ? text : json_string_value(v));
  free(text);
}

static int
print_cache(const Cli *c, const char *what, const char *text)
{
  json_t *j = json_loads(text, 0, NULL), *value;
  const char *key;
  if (!j)
    return cli_fail(c, ATTNC_ERR_INTERNAL, "attnc_cache_%s: not JSON", what);
  if (c->json) {
    json_object_set_new(j, "schema", json_string("attnc.cache/1"));
    cli_json(j);
    return 0;
  }
  json_object_foreach(j, key, value) print_value(key, value);
  json_decref(j);
  return 0;
}

int
cmd_cache(Cli *c)
{
  const char *what = c->opt.args[0];
  attnc_options o = {.size = sizeof o};
  attnc_context *ctx;
  attnc_error e;
  attnc_status st = attnc_context_create(&o, &ctx, &e);
  if (st != ATTNC_OK)
    return cli_error(c, &e);
  char *text = NULL;
  for (size_t i = 0; i < sizeof cache_calls / sizeof *cache_calls; i++)
    if (str_eq(cache_calls[i].name, what))
      st = cache_calls[i].call(ctx, &text, &e);
  attnc_context_release(ctx);
  int code = text ? print_cache(c, what, text) : 0;
  attnc_text_free(text);
  if (st == ATTNC_OK || code)
    return code;
  if (!c->json || st != ATTNC_ERR_CHECK)
    return cli_error(c, &e);
  cli_warn(c, "%s", e.message);
  return err_exit_code(st);
}
