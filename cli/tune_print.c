#include "cli/table.h"
#include "cli/tune.h"

#include <math.h>

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

bool
tune_is_measured(const attnc_tuned *x)
{
  return x->state == ATTNC_TUNED_MEASURED || x->state == ATTNC_TUNED_BEST;
}

static double
rank_correlation(const Cli *c, const TuneItem *t, int *n)
{
  size_t count = attnc_tuning_count(t->tuning);
  double *cost = NEW_N(c->arena, double, count + 1);
  double *value = NEW_N(c->arena, double, count + 1);
  *n = 0;
  for (size_t i = 0; i < count; i++) {
    const attnc_tuned *x = attnc_tuning_get(t->tuning, i);
    if (tune_is_measured(x) && !x->injected && !isnan(x->cost)) {
      cost[*n] = x->cost;
      value[(*n)++] = x->value;
    }
  }
  return spearman(cost, value, *n);
}

static const char *
text_of(const TuneItem *t, const char *key)
{
  return json_string_value(json_object_get(t->json, key));
}

static int
number_of(const TuneItem *t, const char *key)
{
  return (int)json_integer_value(json_object_get(t->json, key));
}

const char *
tune_candidate_text(const attnc_tuned *x, Arena *arena)
{
  json_t *j = schedule_json(x->schedule);
  const char *text = schedule_text(j, arena);
  json_decref(j);
  return x->injected ? arena_printf(arena, "%s (injected: %s)", text, x->injected) : text;
}

static void
put_row(const Cli *c, const TuneItem *t, size_t i, bool ms, Table *table)
{
  const attnc_tuned *x = attnc_tuning_get(t->tuning, i);
  const char *verdict = json_string_value(json_object_get(
      json_array_get(json_object_get(t->json, "candidates"), i), "verdict"));
  bool measured = tune_is_measured(x);
  table_cell(table, "%s", tune_candidate_text(x, c->arena));
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
put_rest(const Cli *c, const TuneItem *t, Str *s)
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
               c->opt.value[OPT_TOP] ? "--top" : "--level");
}

void
tune_print_table(const Cli *c, const TuneItem *t, const Device *device)
{
  Table *table = table_new(c->arena, "lrrrrl");
  static const char *const head[] = {"schedule",  NULL,    "±",
                                     "registers", "error", "verdict"};
  Str s = str_new(c->arena);
  for (int i = 0; i < 6; i++)
    table_cell(table, "%s", head[i] ? head[i] : text_of(t, "unit"));
  for (size_t i = 0; i < attnc_tuning_count(t->tuning); i++)
    put_row(c, t, i, !device->emulated, table);
  str_printf(&s, "%s  %s  %s on %s\n", t->spec->info.name, t->shape, text_of(t, "target"),
             device->name);
  table_print(table, "  ", &s);
  put_rest(c, t, &s);
  if (options_has(&c->opt, OPT_RANK)) {
    int n;
    double r = rank_correlation(c, t, &n);
    str_printf(&s, "  rank correlation of the cost model over %d schedules: ", n);
    str_printf(&s, isnan(r) ? "not defined\n" : "%.3f\n", r);
  }
  cli_print(s.p);
}

json_t *
tune_item_json(const Cli *c, const TuneItem *t)
{
  json_t *j =
      t->json ? json_incref(t->json) : json_pack("{s:s}", "name", t->spec->info.name);
  json_object_set_new(j, "shape", json_string(t->shape));
  if (t->status != ATTNC_OK)
    json_object_set_new(j, "error", json_string(t->error.message));
  if (t->tuning && options_has(&c->opt, OPT_RANK)) {
    int n;
    double r = rank_correlation(c, t, &n);
    json_object_set_new(j, "rank_correlation", isnan(r) ? json_null() : json_real(r));
    json_object_set_new(j, "ranked", json_integer(n));
  }
  return j;
}
