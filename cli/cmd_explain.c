/* cmd_explain.c: `attnc explain`: how a spec will be computed, and why so. */
#include "cli/cli.h"
#include "cli/explain_ptx.h"
#include "cli/mask_picture.h"
#include "sass/ptxas.h"
#include "cli/sass_print.h"
#include "cli/table.h"

#include "base/err.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAGE_TABLE(X) X("spec") X("spans") X("sched") X("tile") X("ll") X("opt") X("ptx")
static const char *const stage_names[] = {
#define X(name) name,
    STAGE_TABLE(X)
#undef X
};
enum { N_STAGES = sizeof stage_names / sizeof *stage_names };

typedef struct Explain {
  Cli *c;
  LoadedSpec spec;
  attnc_sizes sizes;
  Asked asked;
  const char *target;
  attnc_schedule want, resolved; /* asked for; of the plan */
  bool pinned;
  bool dump[N_STAGES];
  attnc_kernel *kernel;
  json_t *recipe, *schedules, *chosen; /* chosen: in the recipe */
  json_t *key, *spec_json;
  int block_m, block_n;
  attnc_tile_counts tiles, dq; /* dq: of the pass that gives it, where it has its own */
  bool has_tiles, listed;      /* listed: by a first launch */
  MaskPicture picture;
  Assembled sass;
  bool has_sass;
  Sass *kernels; /* with --sass-stats */
  int n_kernels;
} Explain;

/* ---- finding out ---- */

static attnc_status
read_dump(Explain *x, attnc_error *e)
{
  const char *text = x->c->opt.value[OPT_DUMP];
  char *rest = text ? arena_strdup(x->c->arena, text) : NULL, *part;
  while ((part = strsep(&rest, ",")) != NULL) {
    bool known = false;
    for (int i = 0; i < N_STAGES; i++)
      if (str_eq(part, stage_names[i]) || str_eq(part, "all"))
        known = x->dump[i] = true;
    if (known)
      continue;
    const char *near = str_nearest(part, stage_names, N_STAGES);
    return err_set(e, ATTNC_ERR_USAGE,
                   "--dump: %.40s is not one of spec,spans,sched,tile,ll,opt,ptx,all%s%s%s",
                   part, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
  }
  return ATTNC_OK;
}

static attnc_status
read_schedules(Explain *x, attnc_error *e)
{
  char *text;
  TRY(attnc_schedules(x->spec.spec, &x->asked.problem, x->target, 1, &text, e));
  x->schedules = json_loads(text, 0, NULL);
  attnc_text_free(text);
  return json_is_array(x->schedules)
             ? ATTNC_OK
             : err_set(e, ATTNC_ERR_INTERNAL, "attnc_schedules: not a JSON array");
}

/* What run would launch: the target, the schedule, and where it comes from. */
static attnc_status
read_key(Explain *x, attnc_error *e)
{
  char *text;
  TRY(cli_plan_key(x->c, &x->spec, &x->sizes, x->pinned ? &x->want : NULL, &text, e));
  x->key = json_loads(text, 0, NULL);
  attnc_text_free(text);
  const char *target =
      json_string_value(json_object_get(json_object_get(x->key, "fields"), "target"));
  if (!target)
    return err_set(e, ATTNC_ERR_INTERNAL, "attnc_key_explain: no target in its JSON");
  x->target = arena_strdup(x->c->arena, target);
  schedule_read(json_object_get(x->key, "schedule"), x->c->arena, &x->resolved);
  return ATTNC_OK;
}

static attnc_status
assemble(Explain *x, attnc_error *e)
{
  size_t n;
  bool stats = options_has(&x->c->opt, OPT_SASS_STATS);
  const char *ptx = attnc_kernel_ptx(x->kernel, &n);
  if (!stats && !options_has(&x->c->opt, OPT_SASS))
    return ATTNC_OK;
  TRY(ptxas_run(ptx, n, x->target, x->c->arena, &x->sass, e));
  x->has_sass = true;
  return stats ? sass_kernels(&x->sass, x->c->arena, &x->kernels, &x->n_kernels, e)
               : ATTNC_OK;
}

/* Tiles of the pass for dq, of op bwd in passes. */
static attnc_status
count_dq(Explain *x, attnc_error *e)
{
  int m = (int)json_integer_value(json_object_get(x->chosen, "dq_block_m"));
  int n = (int)json_integer_value(json_object_get(x->chosen, "dq_block_n"));
  x->dq.size = sizeof x->dq;
  if (m <= 0 || n <= 0)
    return ATTNC_OK;
  return attnc_tiles(x->spec.spec, &x->sizes, m, n, &x->dq, NULL, 0, e);
}

static attnc_status
compile(Explain *x, attnc_error *e)
{
  attnc_compile_options o = {.size = sizeof o, .dump = x->c->opt.value[OPT_DUMP]};
  TRY(attnc_compile_with(x->spec.spec, &x->asked.problem, x->target, &x->resolved, &o,
                         &x->kernel, e));
  x->recipe = json_loads(attnc_kernel_json(x->kernel), 0, NULL);
  x->chosen = recipe_schedule(x->recipe);
  x->block_m = (int)json_integer_value(json_object_get(x->chosen, "block_m"));
  x->block_n = (int)json_integer_value(json_object_get(x->chosen, "block_n"));
  if (x->block_m > 0 && x->block_n > 0) {
    x->has_tiles = true;
    x->tiles.size = sizeof x->tiles;
    TRY(attnc_tiles(x->spec.spec, &x->sizes, x->block_m, x->block_n, &x->tiles, NULL, 0,
                    e));
    TRY(count_dq(x, e));
    TRY(mask_picture_open(&x->picture, x->c, &x->spec, &x->sizes, x->block_m, x->block_n,
                          e));
    const char *how = json_string_value(json_object_get(x->chosen, "classes"));
    x->listed = how && str_eq(how, "step");
    if (x->listed && mask_picture_exact(&x->picture))
      x->tiles = x->picture.truth;
    TRY(mask_write_svg(&x->picture, e));
  }
  return assemble(x, e);
}

static attnc_status
find_out(Explain *x, attnc_error *e)
{
  TRY(read_dump(x, e));
  TRY(cli_schedule(x->c, &x->want, &x->pinned, e));
  TRY(cli_load(x->c, x->c->opt.args[0], &x->spec, NULL, e));
  TRY(cli_sizes(x->c, &x->spec, &x->sizes, e));
  cli_problem(&x->spec, &x->sizes, &x->asked);
  cli_assume(x->c, &x->asked);
  x->spec_json = json_loads(attnc_spec_json(x->spec.spec), 0, NULL);
  TRY(read_key(x, e));
  TRY(read_schedules(x, e));
  return compile(x, e);
}

/* ---- schedules ---- */

static bool
same_schedule(const json_t *a, const json_t *b)
{
  return pin_allows(a, b) && pin_allows(b, a);
}

static const json_t *
chosen_row(const Explain *x, int *place, int *legal)
{
  size_t i;
  json_t *row;
  const json_t *found = NULL;
  *place = *legal = 0;
  json_array_foreach(x->schedules, i, row)
  {
    if (json_object_get(row, "reason"))
      continue;
    ++*legal;
    if (same_schedule(row, x->chosen)) {
      found = row;
      *place = *legal;
    }
  }
  return found;
}

static const char *
why_chosen(const Explain *x, int place, int legal)
{
  static const char *const words[][2] = {
      {"exact", "the tuning table's for these sizes"},
      {"near", "the tuning table's for sizes near these"},
      {"family", "the tuning table's for another device of its family"},
      {"model", "the cost model's"},
      {"default", "the template's default"},
  };
  const char *said = json_string_value(json_object_get(x->key, "source"));
  const char *source = x->pinned ? "pinned by --schedule" : "pinned by the spec";
  for (size_t i = 0; said && i < sizeof words / sizeof *words; i++)
    if (str_eq(said, words[i][0]))
      source = words[i][1];
  if (!place)
    return source;
  return arena_printf(x->c->arena, "%s, number %d of %d legal ones by cost", source, place,
                      legal);
}

static void
put_number(Table *t, const json_t *row, const char *key)
{
  const json_t *v = json_object_get(row, key);
  if (json_is_integer(v))
    table_cell(t, "%lld", (long long)json_integer_value(v));
  else if (json_is_number(v))
    table_cell(t, json_number_value(v) < 1000 ? "%.4g" : "%.0f", json_number_value(v));
  else
    table_cell(t, "-");
}

static void
put_schedules(const Explain *x, Str *s)
{
  Table *t = table_new(x->c->arena, "lrrrl");
  static const char *const head[] = {"schedule", "shared", "regs", "cost", ""};
  size_t i;
  json_t *row;
  for (int k = 0; k < 5; k++)
    table_cell(t, "%s", head[k]);
  json_array_foreach(x->schedules, i, row)
  {
    const char *reason = json_string_value(json_object_get(row, "reason"));
    table_cell(t, "%s", schedule_text(row, x->c->arena));
    put_number(t, row, "shared");
    put_number(t, row, "regs");
    put_number(t, row, "cost");
    table_cell(t, "%s", reason ? reason : "");
  }
  str_put(s, "\nSchedules, best first by the cost model:\n");
  table_print(t, "  ", s);
}

/* ---- text ---- */

static void
put_line(Str *s, const char *name, const char *value)
{
  str_printf(s, "%-10s %s\n", name, value);
}

static const char *
amount(const Explain *x, const json_t *row, const char *key, const char *unit)
{
  const json_t *v = json_object_get(row, key);
  if (!json_is_number(v))
    return arena_printf(x->c->arena, "unknown");
  return arena_printf(x->c->arena, "%.6g%s", json_number_value(v), unit);
}

/* Bytes on their way from memory, where a template's schedules have a number for them. */
static const char *
in_flight(const Explain *x, const json_t *row)
{
  double has = json_number_value(json_object_get(row, "in_flight_kb"));
  double wants = json_number_value(json_object_get(row, "in_flight_wanted_kb"));
  return arena_printf(x->c->arena,
                      "%.4g KB a multiprocessor, the target's memory asks for %.4g", has,
                      wants);
}

/* What the code of the main loop takes of a multiprocessor, and memory, in clocks a key, of
 * such templates: an instruction a clock for each quarter; all of it, but what a vote of
 * the warp leads around.  Where a warp of its own loads, its loop besides. */
typedef struct KeyClocks {
  double issue, products, memory;
} KeyClocks;

static const SassLoop *
main_loop(const Sass *s)
{
  for (int i = 0; i < s->n_loops; i++)
    if (s->loops[i].main)
      return &s->loops[i];
  return NULL;
}

/* The loop over tiles of a warp that loads by TMA: of those that have all its copies and
 * multiply nothing the inmost. */
static const SassLoop *
copy_loop(const Sass *s)
{
  const SassLoop *best = NULL;
  int most = 1;
  for (int i = 0; i < s->n_loops; i++) {
    const SassLoop *l = &s->loops[i];
    int n = sass_total(&l->counts, "UTMALDG");
    if (sass_class_total(&l->counts, SASS_TENSOR) || n < most)
      continue;
    if (!best || n > most || l->depth > best->depth)
      best = l;
    most = n;
  }
  return best;
}

static bool
key_clocks(const Explain *x, const json_t *row, KeyClocks *k)
{
  enum { QUARTERS = 4 };
  double memory = json_number_value(json_object_get(row, "key_clocks"));
  double product = json_number_value(json_object_get(row, "product_clocks"));
  double warps = json_number_value(json_object_get(x->chosen, "num_warps"));
  for (int i = 0; i < x->n_kernels && memory > 0; i++) {
    const SassLoop *loop = main_loop(&x->kernels[i]);
    if (!loop)
      continue;
    const SassLoop *copies = copy_loop(&x->kernels[i]);
    double a_key = (copies ? warps - 1 : warps) / x->block_n;
    k->issue = loop->counts.total * a_key / QUARTERS;
    k->issue += copies ? (double)copies->counts.total / x->block_n / QUARTERS : 0;
    k->products = sass_class_total(&loop->counts, SASS_TENSOR) * a_key * product;
    k->memory = memory;
    return true;
  }
  return false;
}

static void
put_key_clocks(const Explain *x, const json_t *row, Str *s)
{
  KeyClocks k;
  if (!key_clocks(x, row, &k))
    return;
  put_line(s, "main loop",
           arena_printf(x->c->arena,
                        "%.3g clocks a key to issue, %.3g of products, %.3g of the memory: "
                        "%.2f of its time",
                        k.issue, k.products, k.memory,
                        fmax(k.issue, k.products) / k.memory));
}

static void
put_chosen(const Explain *x, Str *s)
{
  const char *lengths = lengths_text(json_object_get(x->key, "lengths"), x->c->arena);
  int place, legal;
  const json_t *row = chosen_row(x, &place, &legal);
  put_line(s, "schedule", schedule_text(x->chosen, x->c->arena));
  put_line(s, "  why", why_chosen(x, place, legal));
  if (lengths)
    put_line(s, "lengths", lengths);
  put_line(s, "shared", amount(x, row, "shared", " bytes"));
  put_line(s, "registers", amount(x, row, "regs", " a thread, by the model"));
  put_line(s, "cost", amount(x, row, "cost", " cycles, by the model"));
  if (json_object_get(row, "in_flight_kb"))
    put_line(s, "in flight", in_flight(x, row));
  if (x->has_sass)
    put_line(s, "ptxas",
             arena_printf(x->c->arena,
                          "%d registers, %d bytes of spill stores, %d of loads",
                          x->sass.registers, x->sass.spill_stores, x->sass.spill_loads));
  if (x->kernels)
    sass_print_figures(&x->sass, x->c->arena, s);
  put_key_clocks(x, row, s);
}

static void
put_counts(const Explain *x, const char *name, const attnc_tile_counts *n, const char *m,
           const char *k, Str *s)
{
  double all = (double)(n->q_tiles * n->kv_tiles);
  put_line(s, name,
           arena_printf(x->c->arena,
                        "%lld x %lld of %lldx%lld: %lld empty, %lld partial, %lld full; "
                        "%lld are computed (%.0f %%)",
                        (long long)n->q_tiles, (long long)n->kv_tiles,
                        json_integer_value(json_object_get(x->chosen, m)),
                        json_integer_value(json_object_get(x->chosen, k)),
                        (long long)n->empty, (long long)n->partial, (long long)n->full,
                        (long long)n->visited,
                        all > 0 ? 100 * (double)n->visited / all : 0.0));
}

static void
put_tiles(const Explain *x, Str *s)
{
  put_counts(x, "tiles", &x->tiles, "block_m", "block_n", s);
  if (x->dq.q_tiles)
    put_counts(x, "  of dq", &x->dq, "dq_block_m", "dq_block_n", s);
  if (x->listed)
    put_line(
        s, "  listed",
        x->picture.has_truth
            ? "by a first launch, which asks each element where intervals do not decide"
            : "by a first launch; these are what intervals decide, too many pairs to try");
}

static void
put_canonical(const Explain *x, Str *s)
{
  str_put(s, "\nCanonical text:\n");
  for (const char *p = attnc_spec_canonical(x->spec.spec); *p;) {
    size_t n = strcspn(p, "\n");
    str_printf(s, "  %.*s\n", (int)n, p);
    p += n + (p[n] == '\n');
  }
}

static void
put_dumps(const Explain *x, Str *s)
{
  int asked = 0;
  for (int i = 0; i < N_STAGES; i++)
    asked += x->dump[i];
  for (int i = 0; i < N_STAGES; i++) {
    const char *text = x->dump[i] ? attnc_kernel_dump(x->kernel, stage_names[i]) : NULL;
    if (!text)
      continue;
    if (asked > 1)
      str_printf(s, "==== %s ====\n", stage_names[i]);
    str_put(s, text);
    if (*text && text[strlen(text) - 1] != '\n')
      str_put(s, "\n");
  }
}

static int
print_text(const Explain *x)
{
  Str s = str_new(x->c->arena), shape = str_new(x->c->arena);
  attnc_error e;
  if (x->c->opt.value[OPT_DUMP]) {
    put_dumps(x, &s);
    cli_print(s.p);
    return 0;
  }
  const char *key = json_string_value(json_object_get(x->key, "key"));
  problem_print(&x->sizes, &shape);
  put_line(&s, "spec", x->spec.info.name);
  put_line(&s, "sizes", shape.p);
  put_line(&s, "target", x->target);
  put_chosen(x, &s);
  if (x->has_tiles) {
    put_tiles(x, &s);
    mask_put_why(&x->picture, &s);
  }
  put_line(&s, "key", key ? key : "?");
  if (x->has_tiles && mask_put_picture(&x->picture, &s, &e) != ATTNC_OK)
    return cli_error(x->c, &e);
  if (options_has(&x->c->opt, OPT_ALL))
    put_schedules(x, &s);
  for (int i = 0; i < x->n_kernels; i++)
    sass_print(&x->kernels[i], x->c->arena, &s);
  put_canonical(x, &s);
  cli_print(s.p);
  return 0;
}

/* ---- JSON ---- */

static json_t *
json_dumps_of(const Explain *x)
{
  json_t *j = json_object();
  for (int i = 0; i < N_STAGES; i++) {
    const char *text = x->dump[i] ? attnc_kernel_dump(x->kernel, stage_names[i]) : NULL;
    if (text)
      json_object_set_new(j, stage_names[i], json_string(text));
  }
  return j;
}

static json_t *
json_counts(const attnc_tile_counts *n)
{
  return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "q_tiles", (json_int_t)n->q_tiles,
                   "kv_tiles", (json_int_t)n->kv_tiles, "empty", (json_int_t)n->empty,
                   "partial", (json_int_t)n->partial, "full", (json_int_t)n->full,
                   "visited", (json_int_t)n->visited);
}

static int
print_json(const Explain *x)
{
  int place, legal;
  const json_t *row = chosen_row(x, &place, &legal);
  Str shape = str_new(x->c->arena);
  problem_print(&x->sizes, &shape);
  json_t *j =
      json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "schema", "attnc.explain/1", "name",
                x->spec.info.name, "shape", shape.p, "target", x->target, "canonical",
                attnc_spec_canonical(x->spec.spec), "why", why_chosen(x, place, legal));
  json_object_set(j, "kernel", x->recipe);
  json_object_set(j, "source", json_object_get(x->key, "source"));
  json_object_set(j, "lengths", json_object_get(x->key, "lengths"));
  if (row)
    json_object_set(j, "model", (json_t *)(uintptr_t)row);
  json_object_set(j, "key", json_object_get(x->key, "key"));
  if (x->has_tiles)
    json_object_set_new(j, "tiles", json_counts(&x->tiles));
  if (x->dq.q_tiles)
    json_object_set_new(j, "dq_tiles", json_counts(&x->dq));
  if (x->has_tiles)
    json_object_set_new(j, "mask", mask_json(&x->picture));
  if (options_has(&x->c->opt, OPT_ALL))
    json_object_set(j, "schedules", x->schedules);
  if (x->c->opt.value[OPT_DUMP])
    json_object_set_new(j, "dump", json_dumps_of(x));
  if (x->has_sass)
    json_object_set_new(j, "ptxas",
                        json_pack("{s:i, s:i, s:i}", "registers", x->sass.registers,
                                  "spill_stores", x->sass.spill_stores, "spill_loads",
                                  x->sass.spill_loads));
  KeyClocks k;
  if (key_clocks(x, row, &k))
    json_object_set_new(j, "main_loop",
                        json_pack("{s:f, s:f, s:f}", "issue_clocks_key", k.issue,
                                  "product_clocks_key", k.products, "memory_clocks_key",
                                  k.memory));
  if (x->kernels)
    json_object_set_new(j, "sass",
                        sass_json(&x->sass, x->kernels, x->n_kernels, x->c->arena));
  cli_json(j);
  return 0;
}

int
cmd_explain(Cli *c)
{
  if (is_ptx(c->opt.args[0]))
    return explain_ptx(c);
  Explain *x = NEW(c->arena, Explain);
  attnc_error e;
  x->c = c;
  int code = find_out(x, &e) != ATTNC_OK ? cli_error(c, &e)
             : c->json                   ? print_json(x)
                                         : print_text(x);
  json_decref(x->recipe);
  json_decref(x->schedules);
  json_decref(x->key);
  json_decref(x->spec_json);
  mask_picture_close(&x->picture);
  free(x->sass.cubin);
  attnc_kernel_release(x->kernel);
  cli_unload(&x->spec);
  return code;
}
