/* Tuning tables as a whole: listed, exported, imported, merged, told to forget. */
#include "runtime/context.h"

#include "base/call.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/str.h"
#include "runtime/jsonl.h"
#include "schedule/schedule_json.h"

#include <stdlib.h>
#include <string.h>

/* A call: what it looks at, and what is told meanwhile. */
typedef struct Tables {
  TuneSnapshot *s;
  const TuneLine **at; /* of its lines those that are meant, sorted */
  int n;
  Arena *arena;
  json_t *notes;
} Tables;

static attnc_status
no_memory(attnc_error *e)
{
  return err_set(e, ATTNC_ERR_NOMEM, "tuning tables: out of memory");
}

static void
on_note(void *user, const char *message)
{
  json_array_append_new(user, json_string(message));
}

/* ---- which lines ---- */

static bool
is_meant(const TuneLine *x, const attnc_tune_filter *f)
{
  int bucket[3];
  if (x->gone)
    return false;
  if (f->sizes)
    tune_bucket(f->sizes, bucket);
  return (!f->device || str_eq(f->device, x->device)) &&
         (!f->spec_hash || str_eq(f->spec_hash, x->spec_hash)) &&
         (!f->sizes || (!x->any_bucket && !memcmp(bucket, x->bucket, sizeof bucket)));
}

/* Those that forget stand first: what they hid of this table is gone, and what stands
 * before it where it is put behind others is still to go. */
static int
place_of(const TuneLine *x)
{
  return x->kind == TUNE_FORGET ? 0 : x->kind == TUNE_RECORD ? 1 : 2;
}

/* Trials have no bucket: one kernel may be measured at several sizes. */
static int
by_sizes(const attnc_sizes *x, const attnc_sizes *y)
{
  for (int i = 0; i < SIZE_COUNT; i++) {
    int64_t a = size_get(x, (SizeId)i), b = size_get(y, (SizeId)i);
    if (a != b)
      return a < b ? -1 : 1;
  }
  return 0;
}

/* By problem, those of one problem as they came: lines of different problems do not bear on
 * each other. */
static int
by_problem(const void *a, const void *b)
{
  const TuneLine *x = *(const TuneLine *const *)a, *y = *(const TuneLine *const *)b;
  const char *const texts[][2] = {{x->device, y->device},
                                  {x->name, y->name},
                                  {x->spec_hash, y->spec_hash},
                                  {x->op, y->op},
                                  {x->ptx, y->ptx}};
  if (x->kind != y->kind)
    return place_of(x) - place_of(y);
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    if (strcmp(texts[i][0], texts[i][1]) != 0)
      return strcmp(texts[i][0], texts[i][1]);
  int c = x->kind == TUNE_TRIAL ? by_sizes(&x->sizes, &y->sizes)
                                : memcmp(x->bucket, y->bucket, sizeof x->bucket);
  return c ? c : x < y ? -1 : x > y;
}

/* A trial that was measured by two says the same twice. */
static void
drop_repeated(Tables *t)
{
  int kept = 0;
  for (int i = 0; i < t->n; i++)
    if (!kept || !str_eq(t->at[kept - 1]->text, t->at[i]->text))
      t->at[kept++] = t->at[i];
  t->n = kept;
}

static attnc_status
choose(Tables *t, const attnc_tune_filter *f, bool forgets, attnc_error *e)
{
  if (t->s)
    t->at = calloc((size_t)t->s->lines.n + 1, sizeof *t->at);
  if (!t->at)
    return no_memory(e);
  for (int i = 0; i < t->s->lines.n; i++)
    if ((forgets || t->s->lines.at[i].kind != TUNE_FORGET) &&
        is_meant(&t->s->lines.at[i], f))
      t->at[t->n++] = &t->s->lines.at[i];
  qsort(t->at, (size_t)t->n, sizeof *t->at, by_problem);
  drop_repeated(t);
  return ATTNC_OK;
}

static attnc_status
lines_of(const Tables *t, char **out, attnc_error *e)
{
  size_t bytes = 1;
  for (int i = 0; i < t->n; i++)
    bytes += strlen(t->at[i]->text) + 1;
  char *p = *out = malloc(bytes);
  if (!p)
    return no_memory(e);
  for (int i = 0; i < t->n; i++) {
    size_t n = strlen(t->at[i]->text);
    memcpy(p, t->at[i]->text, n);
    p += n;
    *p++ = '\n';
  }
  *p = 0;
  return ATTNC_OK;
}

/* ---- opening ---- */

static attnc_status
take_filter(attnc_tune_filter *to, const attnc_tune_filter *from, attnc_error *e)
{
  *to = (attnc_tune_filter){.size = sizeof *to};
  return from ? struct_take(to, sizeof *to, from, SIZE_UPTO(attnc_tune_filter, sizes),
                            "attnc_tune_filter", e)
              : ATTNC_OK;
}

static attnc_status
open_tables(Tables *t, attnc_context *c, const attnc_tune_filter *filter, attnc_error *e)
{
  attnc_tune_filter f;
  *t = (Tables){.s = NULL};
  TRY(take_filter(&f, filter, e));
  t->s = tune_texts(c->table);
  return choose(t, &f, false, e);
}

static attnc_status
parse_tables(Tables *t, const char *text, size_t n, bool forgets, attnc_error *e)
{
  attnc_tune_filter all = {.size = sizeof all};
  size_t rest;
  *t = (Tables){.notes = json_array()};
  t->s = tune_snapshot_parse(text, n, "given", &rest, (TuneTold){on_note, t->notes});
  if (rest)
    on_note(t->notes, "the last line is torn, and left out");
  return choose(t, &all, forgets, e);
}

/* c: of the snapshot; NULL: it was parsed. */
static void
close_tables(Tables *t, attnc_context *c)
{
  if (c)
    tune_drop(c->table, t->s);
  else
    tune_snapshot_free(t->s);
  free(t->at);
  json_decref(t->notes);
}

static attnc_status
print(json_t *j, char **out, attnc_error *e)
{
  *out = json_dumps(j, JSON_INDENT(2));
  json_decref(j);
  return *out ? ATTNC_OK : no_memory(e);
}

/* ---- list, export ---- */

static json_t *
line_json(const TuneLine *x)
{
  Schedule s = {.n = 0};
  json_t *schedule = json_object(), *sizes = json_object();
  if (sched_parse(&s, x->schedule, NULL) == ATTNC_OK)
    sched_write_json(schedule, &s);
  for (int i = 0; i < SIZE_COUNT; i++)
    json_object_set_new(sizes, size_names[i], json_integer(size_get(&x->sizes, (SizeId)i)));
  return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:f, s:s, s:s, s:i}", "device",
                   x->device, "name", x->name, "spec_hash", x->spec_hash, "op", x->op,
                   "sizes", sizes, "schedule", schedule, "value", x->value, "unit", x->unit,
                   "level", tune_level_names[x->level], "layer", x->layer);
}

static json_t *
layers_json(const TuneTable *table)
{
  int n;
  json_t *list = json_array();
  const TuneLayer *layers = tune_layers(table, &n);
  for (int i = 0; i < n; i++)
    json_array_append_new(list, json_pack("{s:s, s:s}", "path", layers[i].path, "kind",
                                          layers[i].is_file ? "pinned"
                                          : layers[i].user  ? "user"
                                                            : "system"));
  return list;
}

static attnc_status
list(attnc_context *c, const Tables *t, char **out, attnc_error *e)
{
  char *lines, hash[65];
  TRY(lines_of(t, &lines, e));
  sha256_hex(lines, strlen(lines), hash);
  free(lines);
  json_t *records = json_array();
  for (int i = 0; i < t->n; i++)
    json_array_append_new(records, line_json(t->at[i]));
  return print(json_pack("{s:s, s:o, s:i, s:s, s:o}", "schema", "attnc.tune_list/1",
                         "layers", layers_json(c->table), "skipped", t->s->skipped,
                         "sha256", hash, "records", records),
               out, e);
}

static attnc_status
check_call(const attnc_context *c, char *const *out, const char *name, attnc_error *e)
{
  return c && out
             ? ATTNC_OK
             : err_set(e, ATTNC_ERR_USAGE, "%s: the context or the result is NULL", name);
}

attnc_status
attnc_tune_list(attnc_context *c, const attnc_tune_filter *filter, char **json,
                attnc_error *e)
{
  Tables t;
  TRY(check_call(c, json, "attnc_tune_list", e));
  attnc_status st = open_tables(&t, c, filter, e);
  if (st == ATTNC_OK)
    st = list(c, &t, json, e);
  close_tables(&t, c);
  return st;
}

attnc_status
attnc_tune_export(attnc_context *c, const attnc_tune_filter *filter, char **lines,
                  attnc_error *e)
{
  Tables t;
  TRY(check_call(c, lines, "attnc_tune_export", e));
  attnc_status st = open_tables(&t, c, filter, e);
  if (st == ATTNC_OK)
    st = lines_of(&t, lines, e);
  close_tables(&t, c);
  return st;
}

/* ---- merge ---- */

static json_t *
report(const Tables *t, const char *schema)
{
  return json_pack("{s:s, s:i, s:O}", "schema", schema, "skipped", t->s->skipped, "notes",
                   t->notes);
}

attnc_status
attnc_tune_merge(const char *lines, size_t n, char **merged, char **json, attnc_error *e)
{
  Tables t;
  if (!lines || !merged || !json)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_tune_merge: a text or a result is NULL");
  attnc_status st = parse_tables(&t, lines, n, true, e);
  if (st == ATTNC_OK)
    st = lines_of(&t, merged, e);
  if (st == ATTNC_OK) {
    json_t *j = report(&t, "attnc.tune_merge/1");
    json_object_set_new(j, "lines", json_integer(t.n));
    if ((st = print(j, json, e)) != ATTNC_OK)
      free(*merged);
  }
  close_tables(&t, NULL);
  return st;
}

/* ---- import ---- */

/* What there is already: the hashes of lines, as keys. */
static void
on_known(void *user, const JsonlLine *line)
{
  char hash[65];
  sha256_hex(line->text, line->n, hash);
  json_object_set_new(user, hash, json_true());
}

static const char *
end_of(const TuneLine *x)
{
  return x->kind == TUNE_TRIAL ? ".trials.jsonl" : ".jsonl";
}

/* Records that count, of all layers, and the trials of the devices that the text is about.
 */
static attnc_status
read_known(attnc_context *c, const Tables *given, Arena *arena, json_t *known,
           attnc_error *e)
{
  Tables have;
  attnc_status st = open_tables(&have, c, NULL, e);
  for (int i = 0; st == ATTNC_OK && i < have.n; i++)
    on_known(known, &(JsonlLine){.text = have.at[i]->text, .n = strlen(have.at[i]->text)});
  close_tables(&have, c);
  for (int i = 0; st == ATTNC_OK && i < given->n; i++) {
    const TuneLine *x = given->at[i], *before = i ? given->at[i - 1] : NULL;
    bool read = before && before->kind == x->kind && str_eq(before->device, x->device);
    if (x->kind == TUNE_TRIAL && !read)
      st = jsonl_read(tune_path(c->table, x->device, end_of(x), arena), on_known, known, e);
  }
  return st;
}

static attnc_status
append_unknown(attnc_context *c, const Tables *t, Arena *arena, const json_t *known,
               json_t *told, attnc_error *e)
{
  int added = 0;
  attnc_status st = file_mkdirs(c->tune_dir, e);
  for (int i = 0; i < t->n && st == ATTNC_OK; i++) {
    const TuneLine *x = t->at[i];
    char hash[65];
    sha256_hex(x->text, strlen(x->text), hash);
    if (json_object_get(known, hash))
      continue;
    st = jsonl_append_text(tune_path(c->table, x->device, end_of(x), arena), x->text,
                           strlen(x->text), e);
    added += st == ATTNC_OK;
  }
  json_object_set_new(told, "added", json_integer(added));
  json_object_set_new(told, "known", json_integer(t->n - added));
  return st;
}

static attnc_status
import(attnc_context *c, Tables *t, char **json, attnc_error *e)
{
  Arena *arena = arena_new(0);
  json_t *known = json_object(), *told = report(t, "attnc.tune_import/1");
  attnc_status st = arena ? read_known(c, t, arena, known, e) : no_memory(e);
  if (st == ATTNC_OK)
    st = append_unknown(c, t, arena, known, told, e);
  if (st == ATTNC_OK)
    st = print(json_incref(told), json, e);
  json_decref(told);
  json_decref(known);
  arena_free(arena);
  return st;
}

attnc_status
attnc_tune_import(attnc_context *c, const char *lines, size_t n, char **json,
                  attnc_error *e)
{
  Tables t;
  TRY(check_call(c, json, "attnc_tune_import", e));
  if (!lines)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_tune_import: there is no text");
  TRY(tune_writable(c->table, e));
  attnc_status st = parse_tables(&t, lines, n, false, e);
  if (st == ATTNC_OK)
    st = import(c, &t, json, e);
  close_tables(&t, NULL);
  return st;
}

/* ---- forget ---- */

/* A line for each device: its file is where others look for it. */
static attnc_status
forget(attnc_context *c, const Tables *t, const attnc_tune_filter *f, Arena *arena,
       attnc_error *e)
{
  attnc_status st = file_mkdirs(c->tune_dir, e);
  for (int i = 0; i < t->n && st == ATTNC_OK; i++) {
    const char *device = t->at[i]->device;
    if (!i || !str_eq(t->at[i - 1]->device, device))
      st = jsonl_append(tune_path(c->table, device, ".jsonl", arena),
                        tune_line_forget(device, f->spec_hash, f->sizes), e);
  }
  return st;
}

attnc_status
attnc_tune_forget(attnc_context *c, const attnc_tune_filter *filter, char **json,
                  attnc_error *e)
{
  Tables t;
  attnc_tune_filter f;
  TRY(check_call(c, json, "attnc_tune_forget", e));
  TRY(take_filter(&f, filter, e));
  TRY(tune_writable(c->table, e));
  attnc_status st = open_tables(&t, c, &f, e);
  Arena *arena = arena_new(0);
  if (st == ATTNC_OK)
    st = arena ? forget(c, &t, &f, arena, e) : no_memory(e);
  if (st == ATTNC_OK)
    st = print(json_pack("{s:s, s:i}", "schema", "attnc.tune_forget/1", "forgotten", t.n),
               json, e);
  arena_free(arena);
  close_tables(&t, c);
  return st;
}
