/* cmd_tune.c: `attnc tune`: which of the legal schedules is the fastest here, by
 * attnc_tune; and the process that it runs candidates in, `attnc tune-worker`. */
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "cli/tune.h"

#include "base/err.h"
#include "base/file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Tune {
  Cli *c;
  LoadedSpec spec;
  attnc_sizes sizes;
  Device device;
  attnc_context *ctx;
  attnc_tune_options options;
  attnc_schedule within;
  Progress bar;
  const char *stage; /* of the bar; NULL: none yet */
  attnc_tuning *tuning;
  json_t *json; /* of the tuning */
} Tune;

/* ---- what to do ---- */

static attnc_status
read_int(const Options *o, OptionId id, int64_t least, int64_t most, int *to,
         attnc_error *e)
{
  int64_t value;
  if (!o->value[id])
    return ATTNC_OK;
  TRY(options_int(o, id, 0, least, most, &value, e));
  *to = (int)value;
  return ATTNC_OK;
}

static attnc_status
read_level(const Options *o, int *level, attnc_error *e)
{
  static const char *const names[] = {NULL,
#define X(id, name, percent, least) name,
                                      ATTNC_TUNE_LEVEL_TABLE(X)
#undef X
  };
  const char *name = o->value[OPT_LEVEL];
  *level = ATTNC_TUNE_EXHAUSTIVE;
  if (!name)
    return ATTNC_OK;
  for (int i = 1; i < ATTNC_TUNE_LEVEL_COUNT; i++)
    if (str_eq(name, names[i])) {
      *level = i;
      return ATTNC_OK;
    }
  return err_set(e, ATTNC_ERR_USAGE,
                 "--level: %.40s is not one of estimate, measure, patient, exhaustive",
                 name);
}

/* Which of how many a program is, as its launcher says: the index, the count, NULL or the
 * index of the first. */
static const char *const launchers[][3] = {
    {"SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"},
    {"JOB_COMPLETION_INDEX", "JOB_COMPLETIONS",
     NULL}, /* the count is the job file's to set */
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", NULL},
    {"PMI_RANK", "PMI_SIZE", NULL},
    {"SLURM_PROCID", "SLURM_NTASKS", NULL},
    {"RANK", "WORLD_SIZE", NULL},
};

static bool
number_in(const char *name, int64_t *out)
{
  const char *text = name ? getenv(name) : NULL;
  return text && str_whole(&text, out) && !*text;
}

static bool
launcher_shard(int64_t *shard, int64_t *shards)
{
  for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
    int64_t first = 0;
    number_in(launchers[i][2], &first);
    if (number_in(launchers[i][0], shard) && number_in(launchers[i][1], shards)) {
      *shard -= first;
      return true;
    }
  }
  return false;
}

static attnc_status
read_shard(const char *text, attnc_tune_options *to, attnc_error *e)
{
  const char *p = text;
  int64_t shard = 0, shards = 1;
  if (!text)
    return ATTNC_OK;
  if (str_eq(text, "auto")) {
    if (!launcher_shard(&shard, &shards))
      return err_set(e, ATTNC_ERR_USAGE,
                     "--shard auto: no variables of Slurm, Kubernetes or MPI say which");
  } else if (!str_whole(&p, &shard) || *p++ != '/' || !str_whole(&p, &shards) || *p) {
    return err_set(e, ATTNC_ERR_USAGE, "--shard: %.40s is not I/N or auto", text);
  }
  if (shard < 0 || shard >= shards || shards > INT32_MAX)
    return err_set(e, ATTNC_ERR_USAGE, "--shard: there is no part %lld of %lld",
                   (long long)shard, (long long)shards);
  to->shard = (int)shard;
  to->shards = (int)shards;
  return ATTNC_OK;
}

static attnc_status
read_options(Tune *t, attnc_error *e)
{
  const Options *o = &t->c->opt;
  attnc_tune_options *to = &t->options;
  int64_t seed, timeout, budget;
  if (!o->value[OPT_SHAPE])
    return err_set(e, ATTNC_ERR_USAGE,
                   "attnc tune needs --shape, as in \"b1 h32/8 s4096\"");
  TRY(options_int(o, OPT_SEED, 1, 0, INT64_MAX, &seed, e));
  TRY(options_int(o, OPT_PATIENCE, 60, 1, 86400, &timeout, e));
  TRY(options_int(o, OPT_BUDGET, 0, 1, 86400 * 30, &budget, e));
  TRY(read_int(o, OPT_REPEAT, 1, 100000, &to->repeat, e));
  TRY(read_int(o, OPT_TOP, 1, INT32_MAX, &to->top, e));
  TRY(read_int(o, OPT_JOBS, 1, 64, &to->jobs, e));
  TRY(read_level(o, &to->level, e));
  TRY(read_shard(o->value[OPT_SHARD], to, e));
  to->seed = (uint64_t)seed;
  to->timeout = (double)timeout;
  to->budget = (double)budget;
  to->dry = options_has(o, OPT_DRY_RUN);
  to->resume = options_has(o, OPT_RESUME);
  to->inject = o->value[OPT_INJECT];
  if (!o->value[OPT_WITHIN])
    return ATTNC_OK;
  to->within = &t->within;
  return schedule_parse(o->value[OPT_WITHIN], t->c->arena, &t->within, e);
}

static attnc_status
prepare(Tune *t, attnc_error *e)
{
  attnc_options options;
  TRY(read_options(t, e));
  TRY(cli_load(t->c, t->c->opt.args[0], &t->spec, NULL, e));
  TRY(cli_sizes(t->c, &t->spec, &t->sizes, e));
  return cli_open(t->c, &t->device, &t->ctx, &options, e);
}

/* ---- how far ---- */

static int
on_progress(void *user, const attnc_tune_progress *p)
{
  static const char *const words[][2] = {
      {"compile", "compiling"}, {"measure", "measuring"}, {"confirm", "measuring again"}};
  Tune *t = user;
  if (!t->stage || !str_eq(t->stage, p->stage)) {
    const char *word = p->stage;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
      word = str_eq(p->stage, words[i][0]) ? words[i][1] : word;
    progress_end(&t->bar);
    progress_start(&t->bar, word, p->total, t->c->quiet);
    t->stage = p->stage;
  }
  if (t->bar.on) {
    json_t *j = p->schedule ? schedule_json(p->schedule) : NULL;
    progress_step(&t->bar, p->done, j ? schedule_text(j, t->c->arena) : NULL);
    json_decref(j);
  }
  return interrupt_seen();
}

/* ---- telling ---- */

double
spearman(const double *x, const double *y, int n)
{
  double sx = 0, sy = 0, sxx = 0, syy = 0, sxy = 0;
  for (int i = 0; i < n; i++) {
    double rx = 0.5, ry = 0.5; /* an element counts half against itself */
    for (int k = 0; k < n; k++) {
      rx += x[k] < x[i] ? 1 : x[k] == x[i] ? 0.5 : 0;
      ry += y[k] < y[i] ? 1 : y[k] == y[i] ? 0.5 : 0;
    }
    sx += rx, sy += ry, sxx += rx * rx, syy += ry * ry, sxy += rx * ry;
  }
  double vx = n * sxx - sx * sx, vy = n * syy - sy * sy;
  return vx > 0 && vy > 0 ? (n * sxy - sx * sy) / sqrt(vx * vy) : NAN;
}

static bool
is_measured(const attnc_tuned *x)
{
  return x->state == ATTNC_TUNED_MEASURED || x->state == ATTNC_TUNED_BEST;
}

static double
rank_correlation(const Tune *t, int *n)
{
  size_t count = attnc_tuning_count(t->tuning);
  double *cost = NEW_N(t->c->arena, double, count + 1);
  double *value = NEW_N(t->c->arena, double, count + 1);
  *n = 0;
  for (size_t i = 0; i < count; i++) {
    const attnc_tuned *x = attnc_tuning_get(t->tuning, i);
    if (is_measured(x) && !x->injected && !isnan(x->cost)) {
      cost[*n] = x->cost;
      value[(*n)++] = x->value;
    }
  }
  return spearman(cost, value, *n);
}

static const char *
text_of(const Tune *t, const char *key)
{
  return json_string_value(json_object_get(t->json, key));
}

static int
number_of(const Tune *t, const char *key)
{
  return (int)json_integer_value(json_object_get(t->json, key));
}

static const char *
candidate_text(const Tune *t, const attnc_tuned *x)
{
  json_t *j = schedule_json(x->schedule);
  const char *text = schedule_text(j, t->c->arena);
  json_decref(j);
  return x->injected ? arena_printf(t->c->arena, "%s (injected: %s)", text, x->injected)
                     : text;
}

static void
put_row(const Tune *t, size_t i, Table *table)
{
  const attnc_tuned *x = attnc_tuning_get(t->tuning, i);
  const char *verdict = json_string_value(json_object_get(
      json_array_get(json_object_get(t->json, "candidates"), i), "verdict"));
  bool measured = is_measured(x), ms = !t->device.emulated;
  table_cell(table, "%s", candidate_text(t, x));
  table_cell(table, measured ? (ms ? "%.4f" : "%.0f") : "-", x->value);
  table_cell(table, measured && ms ? "%.4f" : "-", x->spread);
  table_cell(table, x->registers ? "%d" : "-", x->registers);
  table_cell(table, measured || x->max_error > 0 ? "%.1e" : "-", x->max_error);
  table_cell(table, x->reason ? "%s: %s" : "%s%s", verdict,
             x->reason       ? x->reason
             : x->is_default ? " (default)"
                             : "");
}

/* What is not in the table, and why. */
static void
put_rest(const Tune *t, Str *s)
{
  if (number_of(t, "refused"))
    str_printf(s, "  %d more were refused by the limits of %s: attnc explain --all\n",
               number_of(t, "refused"), text_of(t, "target"));
  if (number_of(t, "pinned_away"))
    str_printf(s, "  %d more are not what the spec pins\n", number_of(t, "pinned_away"));
  if (number_of(t, "outside"))
    str_printf(s, "  %d more are not what --schedule says\n", number_of(t, "outside"));
  if (number_of(t, "elsewhere"))
    str_printf(s, "  %d more are measured by other shards\n", number_of(t, "elsewhere"));
  if (number_of(t, "left_out"))
    str_printf(s, "  %d more were left out by %s\n", number_of(t, "left_out"),
               t->c->opt.value[OPT_TOP] ? "--top" : "--level");
}

static void
print_table(const Tune *t)
{
  Table *table = table_new(t->c->arena, "lrrrrl");
  static const char *const head[] = {"schedule",  NULL,    "±",
                                     "registers", "error", "verdict"};
  Str s = str_new(t->c->arena);
  for (int i = 0; i < 6; i++)
    table_cell(table, "%s", head[i] ? head[i] : text_of(t, "unit"));
  for (size_t i = 0; i < attnc_tuning_count(t->tuning); i++)
    put_row(t, i, table);
  str_printf(&s, "%s  ", t->spec.info.name);
  problem_print(&t->sizes, &s);
  str_printf(&s, "  %s on %s\n", text_of(t, "target"), t->device.name);
  table_print(table, "  ", &s);
  put_rest(t, &s);
  if (options_has(&t->c->opt, OPT_RANK)) {
    int n;
    double r = rank_correlation(t, &n);
    str_printf(&s, "  rank correlation of the cost model over %d schedules: ", n);
    str_printf(&s, isnan(r) ? "not defined\n" : "%.3f\n", r);
  }
  cli_print(s.p);
}

static void
print_json(const Tune *t)
{
  Str shape = str_new(t->c->arena);
  problem_print(&t->sizes, &shape);
  json_object_set_new(t->json, "shape", json_string(shape.p));
  if (options_has(&t->c->opt, OPT_RANK)) {
    int n;
    double r = rank_correlation(t, &n);
    json_object_set_new(t->json, "rank_correlation", isnan(r) ? json_null() : json_real(r));
    json_object_set_new(t->json, "ranked", json_integer(n));
  }
  cli_json(json_incref(t->json));
}

/* ---- the command ---- */

static void
note_end(const Tune *t, attnc_status st, const attnc_error *e)
{
  const char *why_not = text_of(t, "why_not");
  if (st == ATTNC_ERR_CANCELLED)
    cli_note(t->c, "interrupted: nothing was kept; --resume goes on from here");
  else if (st != ATTNC_OK)
    cli_warn(t->c, "%s", e->message);
  else if (why_not)
    cli_note(t->c, "nothing was kept: %s", why_not);
  else
    cli_note(t->c, "kept %s for plans like this one",
             candidate_text(t, attnc_tuning_get(t->tuning, 0)));
}

static int
tune(Tune *t)
{
  static const char *const worker[] = {"/proc/self/exe", "tune-worker", NULL};
  Asked asked;
  attnc_error e = {0};
  cli_problem(&t->spec, &t->sizes, &asked);
  t->options.size = sizeof t->options;
  t->options.worker = worker;
  t->options.progress = on_progress;
  t->options.user = t;
  interrupt_soft();
  attnc_status st =
      attnc_tune(t->ctx, t->spec.spec, &asked.problem, &t->options, &t->tuning, &e);
  progress_end(&t->bar);
  t->json = json_loads(t->tuning ? attnc_tuning_json(t->tuning) : "{}", 0, NULL);
  if (!t->tuning)
    return cli_error(t->c, &e);
  if (t->c->json)
    print_json(t);
  else
    print_table(t);
  note_end(t, st, &e);
  return err_exit_code(st);
}

int
cmd_tune(Cli *c)
{
  Tune *t = NEW(c->arena, Tune);
  attnc_error e;
  t->c = c;
  int code = prepare(t, &e) == ATTNC_OK ? tune(t) : cli_error(c, &e);
  json_decref(t->json);
  attnc_tuning_release(t->tuning);
  attnc_context_release(t->ctx);
  device_close(&t->device);
  cli_unload(&t->spec);
  return code;
}

int
cmd_tune_worker(Cli *c)
{
  attnc_error e;
  c->quiet = true;
  return attnc_tune_worker(&e) == ATTNC_OK ? 0 : cli_error(c, &e);
}
