/* cmd_tune.c: `attnc tune`: which of the legal schedules is the fastest here, by
 * attnc_tune; and the process that it runs candidates in, `attnc tune-worker`. */
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/tune.h"

#include "base/clock.h"
#include "base/err.h"

#include <string.h>

typedef struct Tune {
  Cli *c;
  TuneList list;
  int now; /* the item that is being tuned */
  Device device;
  attnc_context *ctx;
  attnc_tune_options options;
  attnc_schedule within;
  double start, budget; /* budget: seconds for all; 0: no limit */
  Progress bar;
  const char *stage; /* of the bar; NULL: none yet */
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

static attnc_status
read_l2(const Options *o, int *l2, attnc_error *e)
{
  const char *word = o->value[OPT_L2];
  *l2 = word && str_eq(word, "cold") ? ATTNC_TUNE_L2_COLD : ATTNC_TUNE_L2_WARM;
  if (!word || *l2 == ATTNC_TUNE_L2_COLD || str_eq(word, "warm"))
    return ATTNC_OK;
  return err_set(e, ATTNC_ERR_USAGE, "--l2: %.40s is neither warm nor cold", word);
}

static attnc_status
read_options(Tune *t, attnc_error *e)
{
  const Options *o = &t->c->opt;
  attnc_tune_options *to = &t->options;
  int64_t seed, timeout, budget;
  TRY(options_int(o, OPT_SEED, 1, 0, INT64_MAX, &seed, e));
  TRY(options_int(o, OPT_PATIENCE, 60, 1, 86400, &timeout, e));
  TRY(options_int(o, OPT_BUDGET, 0, 1, 86400 * 30, &budget, e));
  TRY(read_int(o, OPT_REPEAT, 1, 100000, &to->repeat, e));
  TRY(read_int(o, OPT_TOP, 1, INT32_MAX, &to->top, e));
  TRY(read_int(o, OPT_JOBS, 1, 64, &to->jobs, e));
  TRY(read_level(o, &to->level, e));
  TRY(read_l2(o, &to->l2, e));
  to->seed = (uint64_t)seed;
  to->timeout = (double)timeout;
  t->budget = (double)budget;
  to->dry = options_has(o, OPT_DRY_RUN);
  to->resume = options_has(o, OPT_RESUME);
  to->inject = o->value[OPT_INJECT];
  to->seqlens = o->value[OPT_SEQLENS];
  if (!o->value[OPT_WITHIN])
    return ATTNC_OK;
  to->within = &t->within;
  return schedule_parse(o->value[OPT_WITHIN], t->c->arena, &t->within, e);
}

/* Of a list a shard has whole problems, of one problem a part of its candidates. */
static attnc_status
prepare(Tune *t, attnc_error *e)
{
  attnc_options options;
  Shard shard;
  TRY(tune_shard(t->c, &shard, e));
  TRY(read_options(t, e));
  TRY(tune_list_read(t->c, &shard, &t->list, e));
  if (!t->list.many) {
    t->options.shard = shard.index;
    t->options.shards = shard.count;
  }
  return cli_open(t->c, &t->device, &t->ctx, &options, e);
}

/* ---- how far ---- */

/* "[3/12, 40 s left] " of a list, by what those before took. */
static const char *
place_in_list(const Tune *t)
{
  int n = t->list.items.n;
  double took = clock_seconds() - t->start;
  if (!t->list.many)
    return "";
  if (!t->now)
    return arena_printf(t->c->arena, "[1/%d] ", n);
  return arena_printf(t->c->arena, "[%d/%d, %.0f s left] ", t->now + 1, n,
                      took / t->now * (n - t->now));
}

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
    progress_start(&t->bar, arena_printf(t->c->arena, "%s%s", place_in_list(t), word),
                   p->total, t->c->quiet);
    t->stage = p->stage;
  }
  if (t->bar.on) {
    json_t *j = p->schedule ? schedule_json(p->schedule) : NULL;
    progress_step(&t->bar, p->done, j ? schedule_text(j, t->c->arena) : NULL);
    json_decref(j);
  }
  return interrupt_seen();
}

/* ---- the command ---- */

static void
note_end(const Tune *t, const TuneItem *x)
{
  const char *why_not = json_string_value(json_object_get(x->json, "why_not"));
  const char *at = t->list.many
                       ? arena_printf(t->c->arena, "%s %s: ", x->spec->info.name, x->shape)
                       : "";
  if (x->status == ATTNC_ERR_CANCELLED)
    cli_note(t->c, "%sinterrupted: nothing was kept; --resume goes on from here", at);
  else if (x->status != ATTNC_OK)
    cli_warn(t->c, "%s%s", at, x->error.message);
  else if (why_not)
    cli_note(t->c, "%snothing was kept: %s", at, why_not);
  else
    cli_note(t->c, "%skept %s for plans like this one", at,
             tune_candidate_text(attnc_tuning_get(x->tuning, 0), t->c->arena));
}

/* What is left of the budget, in equal parts for those that are left. */
static double
share_of_budget(const Tune *t)
{
  double left = t->budget - (clock_seconds() - t->start);
  if (!(t->budget > 0))
    return 0;
  return (left > 1e-3 ? left : 1e-3) / (t->list.items.n - t->now);
}

static void
tune_item(Tune *t, TuneItem *x)
{
  Asked asked;
  cli_problem(x->spec, &x->sizes, &asked);
  cli_assume(t->c, &asked);
  t->options.budget = share_of_budget(t);
  t->stage = NULL;
  x->status =
      attnc_tune(t->ctx, x->spec->spec, &asked.problem, &t->options, &x->tuning, &x->error);
  progress_end(&t->bar);
  if (x->tuning)
    x->json = json_loads(attnc_tuning_json(x->tuning), 0, NULL);
  if (!t->c->json && x->tuning)
    tune_print_table(t->c, x, &t->device);
  if (x->tuning || t->list.many)
    note_end(t, x);
}

static json_t *
list_json(const Tune *t)
{
  json_t *problems = json_array();
  for (int i = 0; i < t->list.items.n && i <= t->now; i++)
    json_array_append_new(problems, tune_item_json(t->c, &t->list.items.at[i]));
  return json_pack("{s:s, s:o, s:i}", "schema", "attnc.sweeps/1", "problems", problems,
                   "elsewhere", t->list.elsewhere);
}

/* Of a list that of its problems together, unless it was interrupted. */
static int
exit_code(const Tune *t)
{
  Tally tally = {0};
  for (int i = 0; i < t->list.items.n && i <= t->now; i++) {
    attnc_status st = t->list.items.at[i].status;
    if (st == ATTNC_ERR_CANCELLED)
      return err_exit_code(st);
    tally_add(&tally, err_exit_code(st));
  }
  return tally_code(&tally);
}

static int
tell(Tune *t)
{
  attnc_error e = {0};
  const TuneItem *one = t->list.items.at;
  if (!t->list.many && !one->tuning)
    return cli_error(t->c, &one->error);
  if (t->c->json)
    cli_json(t->list.many ? list_json(t) : tune_item_json(t->c, one));
  if (tune_write_files(t->c, &t->list, &e) == ATTNC_OK)
    return exit_code(t);
  cli_warn(t->c, "%s", e.message);
  return err_exit_code(e.status);
}

static int
tune(Tune *t)
{
  static const char *const worker[] = {"/proc/self/exe", "tune-worker", NULL};
  TuneList *l = &t->list;
  t->options.size = sizeof t->options;
  t->options.worker = worker;
  t->options.progress = on_progress;
  t->options.user = t;
  t->start = clock_seconds();
  interrupt_soft();
  for (t->now = 0; t->now < l->items.n; t->now++) {
    tune_item(t, &l->items.at[t->now]);
    if (l->items.at[t->now].status == ATTNC_ERR_CANCELLED)
      break;
  }
  if (l->elsewhere)
    cli_note(t->c, "%d problems are of other shards", l->elsewhere);
  return tell(t);
}

int
cmd_tune(Cli *c)
{
  Tune *t = NEW(c->arena, Tune);
  attnc_error e;
  t->c = c;
  int code = prepare(t, &e) == ATTNC_OK ? tune(t) : cli_error(c, &e);
  tune_list_free(&t->list);
  attnc_context_release(t->ctx);
  device_close(&t->device);
  return code;
}

int
cmd_tune_worker(Cli *c)
{
  attnc_error e;
  c->quiet = true;
  return attnc_tune_worker(&e) == ATTNC_OK ? 0 : cli_error(c, &e);
}
