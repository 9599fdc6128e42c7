/* cmd_tune.c: `attnc tune`: which of the legal schedules is the fastest here. */
#include "cli/interrupt.h"
#include "cli/table.h"
#include "cli/tune.h"

#include "base/err.h"
#include "base/file.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FINALISTS = 3, FINAL_ROUNDS = 7 };

/* ---- what to do ---- */

/* The target that plans for this device are compiled for, which the key says. */
static attnc_status
ask_target(Tune *t, attnc_error *e)
{
  char *text;
  TRY(attnc_key_explain(t->ctx, t->spec.spec, &t->asked.problem, NULL, &text, e));
  json_t *key = json_loads(text, 0, NULL);
  const char *name =
      json_string_value(json_object_get(json_object_get(key, "fields"), "target"));
  t->target = name ? arena_strdup(t->c->arena, name) : NULL;
  json_decref(key);
  attnc_text_free(text);
  return t->target ? ATTNC_OK
                   : err_set(e, ATTNC_ERR_INTERNAL, "attnc_key_explain says no target");
}

static attnc_status
read_options(Tune *t, attnc_error *e)
{
  const Options *o = &t->c->opt;
  long processors = sysconf(_SC_NPROCESSORS_ONLN);
  if (!o->value[OPT_SHAPE])
    return err_set(e, ATTNC_ERR_USAGE,
                   "attnc tune needs --shape, as in \"b1 h32/8 s4096\"");
  TRY(options_int(o, OPT_REPEAT, 20, 1, 100000, &t->repeat, e));
  TRY(options_int(o, OPT_SEED, 1, 0, INT64_MAX, &t->seed, e));
  TRY(options_int(o, OPT_TOP, INT32_MAX, 1, INT32_MAX, &t->top, e));
  TRY(options_int(o, OPT_PATIENCE, 60, 1, 86400, &t->timeout, e));
  return options_int(o, OPT_JOBS, processors > 0 ? processors : 1, 1, 64, &t->jobs, e);
}

static attnc_status
load(Tune *t, attnc_error *e)
{
  const char *path = t->c->opt.args[0];
  TRY(file_read_stream(path, (size_t)4 << 20, &t->spec_text, &t->spec_bytes, e));
  TRY(cli_load_text(t->c, path, t->spec_text, t->spec_bytes, &t->spec, NULL, e));
  TRY(cli_sizes(t->c, &t->spec, &t->sizes, e));
  cli_problem(&t->spec, &t->sizes, &t->asked);
  return ATTNC_OK;
}

static attnc_status
prepare(Tune *t, attnc_options *options, attnc_error *e)
{
  TRY(read_options(t, e));
  TRY(load(t, e));
  TRY(cli_open(t->c, &t->device, &t->ctx, options, e));
  t->target = t->c->opt.value[OPT_ARCH];
  if (!t->target)
    TRY(ask_target(t, e));
  t->unit = t->device.emulated ? "est_cycles" : "ms";
  return tune_candidates(t, e);
}

/* ---- measuring ---- */

static int
by_value(const void *a, const void *b)
{
  const Candidate *x = *(Candidate *const *)a, *y = *(Candidate *const *)b;
  bool mx = x->state == CANDIDATE_MEASURED, my = y->state == CANDIDATE_MEASURED;
  if (mx != my)
    return mx ? -1 : 1;
  if (mx && x->value != y->value)
    return x->value < y->value ? -1 : 1;
  return x->id < y->id ? -1 : x->id > y->id;
}

static Candidate **
sorted(const Tune *t)
{
  Candidate **v = NEW_N(t->c->arena, Candidate *, t->n);
  for (int i = 0; i < t->n; i++)
    v[i] = &t->at[i];
  qsort(v, (size_t)t->n, sizeof *v, by_value);
  return v;
}

/* The best few once more, in turns, so that a drifting clock favours none. */
static void
final(const Tune *t, Worker *w)
{
  Candidate **v = sorted(t);
  double times[FINALISTS][FINAL_ROUNDS];
  int n = 0;
  while (n < FINALISTS && n < t->n && v[n]->state == CANDIDATE_MEASURED)
    n++;
  if (t->device.emulated || n < 2)
    return;
  for (int round = 0; round < FINAL_ROUNDS; round++)
    for (int i = 0; i < n; i++)
      if (interrupt_seen() || !worker_again(w, v[i], &times[i][round]))
        return; /* the first measurements stand */
  for (int i = 0; i < n; i++) {
    Timing timing;
    timing_of(times[i], FINAL_ROUNDS, &timing);
    v[i]->value = timing.median;
    v[i]->spread = timing.spread;
  }
}

static void
measure_all(Tune *t)
{
  Worker w = {.tune = t};
  Progress bar;
  progress_start(&bar, "measuring", t->n, t->c->quiet);
  for (int i = 0; i < t->n && !interrupt_seen(); i++) {
    Candidate *c = &t->at[i];
    progress_step(&bar, i, c->text);
    if (c->state == CANDIDATE_OPEN && c->ptx && !worker_measure(&w, c))
      break;
  }
  progress_end(&bar);
  final(t, &w);
  worker_end(&w);
  Candidate *first = sorted(t)[0];
  t->best = first->state == CANDIDATE_MEASURED ? first->id : -1;
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

static double
rank_correlation(const Tune *t, int *n)
{
  double *cost = NEW_N(t->c->arena, double, t->n),
         *value = NEW_N(t->c->arena, double, t->n);
  *n = 0;
  for (int i = 0; i < t->n; i++)
    if (t->at[i].state == CANDIDATE_MEASURED && !t->at[i].plant && !isnan(t->at[i].cost)) {
      cost[*n] = t->at[i].cost;
      value[(*n)++] = t->at[i].value;
    }
  return spearman(cost, value, *n);
}

static const char *
state_word(const Tune *t, const Candidate *c)
{
  if (c->state == CANDIDATE_MEASURED)
    return c->id == t->best ? "best" : "ok";
  return c->state == CANDIDATE_OPEN      ? "not reached"
         : c->state == CANDIDATE_REFUSED ? "refused"
                                         : "rejected";
}

static void
put_row(const Tune *t, const Candidate *c, Table *table)
{
  bool measured = c->state == CANDIDATE_MEASURED;
  bool known = measured || c->state == CANDIDATE_REJECTED;
  table_cell(table, "%s", c->text);
  table_cell(table, measured ? (t->device.emulated ? "%.0f" : "%.4f") : "-", c->value);
  table_cell(table, measured && !t->device.emulated ? "%.4f" : "-", c->spread);
  table_cell(table, known && c->registers ? "%d" : "-", c->registers);
  table_cell(table, (measured || c->max_error > 0) ? "%.1e" : "-", c->max_error);
  if (c->state == CANDIDATE_REFUSED || c->state == CANDIDATE_REJECTED)
    table_cell(table, "%s: %s", state_word(t, c), c->error.message);
  else
    table_cell(table, "%s", state_word(t, c));
}

static void
print_table(const Tune *t)
{
  Table *table = table_new(t->c->arena, "lrrrrl");
  static const char *const head[] = {"schedule",  NULL,    "±",
                                     "registers", "error", "verdict"};
  Candidate **v = sorted(t);
  for (int i = 0; i < 6; i++)
    table_cell(table, "%s", head[i] ? head[i] : t->unit);
  for (int i = 0; i < t->n; i++)
    put_row(t, v[i], table);
  Str s = str_new(t->c->arena);
  Str shape = str_new(t->c->arena);
  problem_print(&t->sizes, &shape);
  str_printf(&s, "%s  %s  %s on %s\n", t->spec.info.name, shape.p, t->target,
             t->device.name);
  table_print(table, "  ", &s);
  if (t->refused)
    str_printf(&s, "  %d more were refused by the limits of %s: attnc explain --all\n",
               t->refused, t->target);
  if (t->pinned_away)
    str_printf(&s, "  %d more are not what the spec pins\n", t->pinned_away);
  if (t->left_out)
    str_printf(&s, "  %d more were left out by --top\n", t->left_out);
  if (options_has(&t->c->opt, OPT_RANK)) {
    int n;
    double r = rank_correlation(t, &n);
    str_printf(&s, "  rank correlation of the cost model over %d schedules: ", n);
    str_printf(&s, isnan(r) ? "not defined\n" : "%.3f\n", r);
  }
  cli_print(s.p);
}

static json_t *
candidate_json(const Tune *t, const Candidate *c)
{
  json_t *j = json_pack("{s:o, s:s}", "schedule", schedule_json(&c->schedule), "verdict",
                        state_word(t, c));
  if (c->plant)
    json_object_set_new(j, "planted", json_string(c->plant));
  if (!isnan(c->cost))
    json_object_set_new(j, "cost", json_real(c->cost));
  if (c->state == CANDIDATE_MEASURED) {
    json_object_set_new(j, t->unit, json_real(c->value));
    json_object_set_new(j, "spread", json_real(c->spread));
    json_object_set_new(j, "registers", json_integer(c->registers));
    json_object_set_new(j, "spilled_bytes", json_integer(c->spilled));
    json_object_set_new(j, "max_error", json_real(c->max_error));
    json_object_set_new(j, "bound", json_real(c->bound));
  } else if (c->state != CANDIDATE_OPEN) {
    json_object_set_new(j, "reason", json_string(c->error.message));
  }
  return j;
}

static void
print_json(const Tune *t)
{
  json_t *list = json_array();
  Str shape = str_new(t->c->arena);
  problem_print(&t->sizes, &shape);
  Candidate **v = sorted(t);
  for (int i = 0; i < t->n; i++)
    json_array_append_new(list, candidate_json(t, v[i]));
  json_t *j =
      json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:o}", "schema", "attnc.tune/1",
                "name", t->spec.info.name, "shape", shape.p, "target", t->target, "device",
                t->device.name, "unit", t->unit, "refused", t->refused, "candidates", list);
  json_object_set_new(j, "pinned_away", json_integer(t->pinned_away));
  json_object_set_new(j, "left_out", json_integer(t->left_out));
  if (options_has(&t->c->opt, OPT_RANK)) {
    int n;
    double r = rank_correlation(t, &n);
    json_object_set_new(j, "rank_correlation", isnan(r) ? json_null() : json_real(r));
    json_object_set_new(j, "ranked", json_integer(n));
  }
  cli_json(j);
}

/* ---- the command ---- */

static attnc_status
keep_best(Tune *t, attnc_error *e)
{
  if (t->best < 0)
    return err_set(e, ATTNC_ERR_CHECK, "no schedule passed");
  const Candidate *c = &t->at[t->best];
  return attnc_tune_record(t->ctx, t->spec.spec, &t->asked.problem, &c->schedule, c->value,
                           t->unit, e);
}

static int
tune(Tune *t)
{
  attnc_error e;
  interrupt_soft();
  tune_compile(t);
  measure_all(t);
  if (t->c->json)
    print_json(t);
  else
    print_table(t);
  if (interrupt_seen()) {
    cli_note(t->c, "interrupted: nothing was kept");
    return EXIT_INTERRUPTED;
  }
  attnc_status st = keep_best(t, &e);
  if (st != ATTNC_OK)
    cli_warn(t->c, "%s", e.message);
  else
    cli_note(t->c, "kept %s for plans like this one", t->at[t->best].text);
  return err_exit_code(st);
}

int
cmd_tune(Cli *c)
{
  Tune *t = NEW(c->arena, Tune);
  attnc_options options;
  attnc_error e;
  t->c = c;
  t->best = -1;
  signal(SIGPIPE, SIG_IGN); /* a worker may die while it is spoken to */
  int code = prepare(t, &options, &e) == ATTNC_OK ? tune(t) : cli_error(c, &e);
  for (int i = 0; i < t->n; i++)
    attnc_kernel_release(t->at[i].kernel);
  attnc_context_release(t->ctx);
  device_close(&t->device);
  cli_unload(&t->spec);
  free(t->spec_text);
  return code;
}
