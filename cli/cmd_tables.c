/* cmd_tables.c: the tuning tables as a whole: attnc tune list, export, import, merge,
 * forget.  No device is needed. */
#include "cli/cli.h"
#include "cli/table.h"

#include "base/err.h"
#include "base/file.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_TABLE = 64 << 20 };

static void
log_line(void *user, int level, const char *message)
{
  const Cli *c = user;
  if (level <= c->log)
    cli_note(c, "%s", message);
}

static attnc_status
open_context(Cli *c, attnc_context **ctx, attnc_error *e)
{
  attnc_options o = {.size = sizeof o, .cache = 1, .log = log_line, .log_user = c};
  return attnc_context_create(&o, ctx, e);
}

/* What the command line means by its SPEC, --on and --shape. */
typedef struct Meant {
  attnc_tune_filter filter;
  attnc_sizes sizes;
  LoadedSpec spec;
} Meant;

static attnc_status
read_meant(const Cli *c, Meant *m, attnc_error *e)
{
  const char *shape = c->opt.value[OPT_OF_SHAPE];
  Problem p = {.sizes = {.size = sizeof p.sizes}};
  *m = (Meant){.filter = {.size = sizeof m->filter, .device = c->opt.value[OPT_ON]}};
  if (c->opt.n_args) {
    TRY(cli_load(c, c->opt.args[0], &m->spec, NULL, e));
    m->filter.spec_hash = attnc_spec_hash(m->spec.spec);
  }
  if (!shape)
    return ATTNC_OK;
  TRY(problem_parse(shape, &p, e));
  m->sizes = p.sizes;
  m->filter.sizes = &m->sizes;
  if (p.sizes.b && p.sizes.h && p.sizes.sq && p.sizes.sk)
    return ATTNC_OK;
  return err_set(e, ATTNC_ERR_USAGE,
                 "--shape: b, h, sq and sk are needed, as in "
                 "\"b1 h32 s4096\"");
}

typedef attnc_status Ask(attnc_context *, const attnc_tune_filter *, char **,
                         attnc_error *);

/* The text that the library answers, malloc'd. */
static attnc_status
ask(Cli *c, Ask *call, char **text, attnc_error *e)
{
  Meant m;
  attnc_context *ctx = NULL;
  attnc_status st = read_meant(c, &m, e);
  if (st == ATTNC_OK)
    st = open_context(c, &ctx, e);
  if (st == ATTNC_OK)
    st = call(ctx, &m.filter, text, e);
  attnc_context_release(ctx);
  cli_unload(&m.spec);
  return st;
}

/* ---- list ---- */

static const char *
text_of(const json_t *j, const char *key)
{
  const char *text = json_string_value(json_object_get(j, key));
  return text ? text : "";
}

static void
put_record(const Cli *c, const json_t *r, Table *table)
{
  const json_t *z = json_object_get(r, "sizes");
  attnc_sizes sizes = {.size = sizeof sizes};
  Str shape = str_new(c->arena);
  for (int i = 0; i < SIZE_COUNT; i++)
    size_set(&sizes, (SizeId)i, json_integer_value(json_object_get(z, size_names[i])));
  problem_print(&sizes, &shape);
  table_cell(table, "%s", text_of(r, "device"));
  table_cell(table, "%s", *text_of(r, "name") ? text_of(r, "name") : "-");
  table_cell(table, "%.12s", text_of(r, "spec_hash"));
  table_cell(table, "%s", shape.p);
  table_cell(table, "%.6g %s", json_number_value(json_object_get(r, "value")),
             text_of(r, "unit"));
  table_cell(table, "%s", text_of(r, "level"));
  table_cell(table, "%lld", (long long)json_integer_value(json_object_get(r, "layer")) + 1);
  table_cell(table, "%s", schedule_text(json_object_get(r, "schedule"), c->arena));
}

static void
print_list(const Cli *c, const json_t *j)
{
  static const char *const head[] = {"device", "spec",  "hash",  "shape",
                                     "value",  "level", "layer", "schedule"};
  Table *table = table_new(c->arena, "llllrlrl");
  Str s = str_new(c->arena);
  size_t i;
  json_t *x, *records = json_object_get(j, "records"),
             *layers = json_object_get(j, "layers");
  json_array_foreach(layers, i, x)
      str_printf(&s, "layer %zu  %s, %s\n", i + 1, text_of(x, "path"), text_of(x, "kind"));
  for (i = 0; i < sizeof head / sizeof *head; i++)
    table_cell(table, "%s", head[i]);
  json_array_foreach(records, i, x) put_record(c, x, table);
  if (json_array_size(records))
    table_print(table, "  ", &s);
  str_printf(&s, "%zu records, %lld lines not understood, sha256 %.16s\n",
             json_array_size(records),
             (long long)json_integer_value(json_object_get(j, "skipped")),
             text_of(j, "sha256"));
  cli_print(s.p);
}

int
cmd_tune_list(Cli *c)
{
  attnc_error e = {0};
  char *text = NULL;
  attnc_status st = ask(c, attnc_tune_list, &text, &e);
  json_t *j = json_loads(text ? text : "null", JSON_DECODE_ANY, NULL);
  attnc_text_free(text);
  if (st == ATTNC_OK && c->json)
    cli_json(json_incref(j));
  else if (st == ATTNC_OK)
    print_list(c, j);
  json_decref(j);
  return st == ATTNC_OK ? 0 : cli_error(c, &e);
}

/* ---- a table that is written ---- */

/* To --output, else to standard output; with --json `j`, which says where it is, or has it.
 * Takes the reference. */
static attnc_status
write_table(const Cli *c, const char *text, json_t *j, attnc_error *e)
{
  const char *path = c->opt.value[OPT_TABLE_OUT];
  attnc_status st = path ? file_write_stream(path, text, strlen(text), e) : ATTNC_OK;
  json_object_set_new(j, path ? "path" : "text", cli_text(path ? path : text));
  if (st == ATTNC_OK && c->json)
    cli_json(json_incref(j));
  else if (st == ATTNC_OK && !path)
    cli_print(text);
  json_decref(j);
  return st;
}

static int
lines_in(const char *text)
{
  int n = 0;
  for (; *text; text++)
    n += *text == '\n';
  return n;
}

int
cmd_tune_export(Cli *c)
{
  attnc_error e = {0};
  char *text = NULL;
  attnc_status st = ask(c, attnc_tune_export, &text, &e);
  if (st == ATTNC_OK)
    st = write_table(
        c, text,
        json_pack("{s:s, s:i}", "schema", "attnc.tune_export/1", "lines", lines_in(text)),
        &e);
  attnc_text_free(text);
  return st == ATTNC_OK ? 0 : cli_error(c, &e);
}

/* ---- tables that are read ---- */

/* The files behind one another, a torn end of one on a line of its own. */
static attnc_status
read_tables(const Cli *c, Str *all, attnc_error *e)
{
  for (int i = 0; i < c->opt.n_args; i++) {
    char *text;
    size_t n;
    TRY(file_read_stream(c->opt.args[i], MAX_TABLE, &text, &n, e));
    bool zero = memchr(text, 0, n) != NULL;
    if (n && text[n - 1] != '\n')
      cli_note(c, "%s: the last line is torn, and left out", c->opt.args[i]);
    str_putn(all, text, n);
    if (n && text[n - 1] != '\n')
      str_put(all, "\n");
    free(text);
    if (zero)
      return err_set(e, ATTNC_ERR_USAGE, "%.300s: not a table of lines", c->opt.args[i]);
  }
  return ATTNC_OK;
}

static void
note_all(const Cli *c, const json_t *told)
{
  size_t i;
  json_t *note;
  json_array_foreach(json_object_get(told, "notes"), i, note)
      cli_note(c, "%s", json_string_value(note));
}

static attnc_status
merge(const Cli *c, const Str *all, attnc_error *e)
{
  char *text, *json;
  TRY(attnc_tune_merge(all->p, all->n, &text, &json, e));
  json_t *j = json_loads(json, 0, NULL);
  note_all(c, j);
  attnc_status st = write_table(c, text, j, e);
  attnc_text_free(text);
  attnc_text_free(json);
  return st;
}

int
cmd_tune_merge(Cli *c)
{
  attnc_error e = {0};
  Str all = str_new(c->arena);
  attnc_status st = read_tables(c, &all, &e);
  if (st == ATTNC_OK)
    st = merge(c, &all, &e);
  return st == ATTNC_OK ? 0 : cli_error(c, &e);
}

static int
print_import(const Cli *c, const char *text)
{
  json_t *j = json_loads(text, 0, NULL);
  note_all(c, j);
  if (c->json) {
    cli_json(j);
    return 0;
  }
  Str s = str_new(c->arena);
  str_printf(&s, "%lld added, %lld known, %lld not understood\n",
             (long long)json_integer_value(json_object_get(j, "added")),
             (long long)json_integer_value(json_object_get(j, "known")),
             (long long)json_integer_value(json_object_get(j, "skipped")));
  cli_print(s.p);
  json_decref(j);
  return 0;
}

int
cmd_tune_import(Cli *c)
{
  attnc_error e = {0};
  attnc_context *ctx = NULL;
  char *json = NULL;
  Str all = str_new(c->arena);
  attnc_status st = read_tables(c, &all, &e);
  if (st == ATTNC_OK)
    st = open_context(c, &ctx, &e);
  if (st == ATTNC_OK)
    st = attnc_tune_import(ctx, all.p, all.n, &json, &e);
  int code = st == ATTNC_OK ? print_import(c, json) : cli_error(c, &e);
  attnc_text_free(json);
  attnc_context_release(ctx);
  return code;
}

/* ---- forget ---- */

static int
print_forget(const Cli *c, const char *text)
{
  json_t *j = json_loads(text, 0, NULL);
  if (c->json) {
    cli_json(j);
    return 0;
  }
  Str s = str_new(c->arena);
  str_printf(&s, "%lld forgotten\n",
             (long long)json_integer_value(json_object_get(j, "forgotten")));
  cli_print(s.p);
  json_decref(j);
  return 0;
}

int
cmd_tune_forget(Cli *c)
{
  attnc_error e = {0};
  char *text = NULL;
  bool some = c->opt.n_args || c->opt.value[OPT_ON] || c->opt.value[OPT_OF_SHAPE];
  if (some == options_has(&c->opt, OPT_FORGET_ALL))
    return cli_fail(c, ATTNC_ERR_USAGE,
                    "attnc tune forget needs SPEC, --on or --shape, or --all alone");
  attnc_status st = ask(c, attnc_tune_forget, &text, &e);
  int code = st == ATTNC_OK ? print_forget(c, text) : cli_error(c, &e);
  attnc_text_free(text);
  return code;
}
