/* What came out of a sweep, in order and as JSON. */
#include "runtime/tune/tune.h"

#include "base/err.h"
#include "schedule/schedule_json.h"

#include <math.h>
#include <stdlib.h>

static const char *const state_words[] = {
    [ATTNC_TUNED_NOT_REACHED] = "not reached",
    [ATTNC_TUNED_REFUSED] = "refused",
    [ATTNC_TUNED_REJECTED] = "rejected",
    [ATTNC_TUNED_MEASURED] = "ok",
    [ATTNC_TUNED_BEST] = "best",
};

/* ---- the order ---- */

/* The best, those measured, the rest. */
static int
rank(const Candidate *c)
{
  return c->told.state == ATTNC_TUNED_BEST       ? 0
         : c->told.state == ATTNC_TUNED_MEASURED ? 1
                                                 : 2;
}

static int
by_merit(const void *a, const void *b)
{
  const Candidate *x = *(Candidate *const *)a, *y = *(Candidate *const *)b;
  if (rank(x) != rank(y))
    return rank(x) - rank(y);
  if (rank(x) < 2 && (x->told.value < y->told.value || x->told.value > y->told.value))
    return x->told.value < y->told.value ? -1 : 1;
  return x->id < y->id ? -1 : x->id > y->id;
}

static void
sort(attnc_tuning *t)
{
  const Candidate **v = NEW_N(t->arena, const Candidate *, t->n);
  t->order = NEW_N(t->arena, const attnc_tuned *, t->n);
  for (int i = 0; i < t->n; i++)
    v[i] = &t->at[i];
  qsort(v, (size_t)t->n, sizeof *v, by_merit);
  for (int i = 0; i < t->n; i++)
    t->order[i] = &v[i]->told;
}

size_t
attnc_tuning_count(const attnc_tuning *t)
{
  return t ? (size_t)t->n : 0;
}

const attnc_tuned *
attnc_tuning_get(const attnc_tuning *t, size_t i)
{
  return t && i < (size_t)t->n ? t->order[i] : NULL;
}

const char *
attnc_tuning_json(const attnc_tuning *t)
{
  return t ? t->json : NULL;
}

/* ---- as JSON ---- */

static json_t *
schedule_of(const attnc_schedule *from)
{
  Schedule s = {.n = 0};
  json_t *j = json_object();
  if (sched_read(&s, from, NULL) == ATTNC_OK)
    sched_write_json(j, &s);
  return j;
}

static void
put_measured(json_t *j, const attnc_tuned *c, const char *unit)
{
  json_object_set_new(j, unit, json_real(c->value));
  json_object_set_new(j, "spread", json_real(c->spread));
  json_object_set_new(j, "samples", json_integer(c->samples));
  json_object_set_new(j, "registers", json_integer(c->registers));
  json_object_set_new(j, "spilled_bytes", json_integer(c->spilled_bytes));
  json_object_set_new(j, "max_error", json_real(c->max_error));
  json_object_set_new(j, "bound", json_real(c->bound));
}

static json_t *
candidate_json(const attnc_tuned *c, const char *unit)
{
  json_t *j = json_pack("{s:o, s:s}", "schedule", schedule_of(c->schedule), "verdict",
                        state_words[c->state]);
  if (c->is_default)
    json_object_set_new(j, "default", json_true());
  if (c->resumed)
    json_object_set_new(j, "resumed", json_true());
  if (c->injected)
    json_object_set_new(j, "injected", json_string(c->injected));
  if (!isnan(c->cost))
    json_object_set_new(j, "cost", json_real(c->cost));
  if (c->state == ATTNC_TUNED_MEASURED || c->state == ATTNC_TUNED_BEST)
    put_measured(j, c, unit);
  if (c->reason)
    json_object_set_new(j, "reason", json_string(c->reason));
  return j;
}

static json_t *
tuning_object(const attnc_tuning *t)
{
  json_t *list = json_array(), *sizes = json_object();
  for (int i = 0; i < t->n; i++)
    json_array_append_new(list, candidate_json(t->order[i], t->unit));
  for (int i = 0; i < SIZE_COUNT; i++)
    if (size_is_there(&t->sizes, (SizeId)i))
      json_object_set_new(sizes, size_names[i],
                          json_integer(size_get(&t->sizes, (SizeId)i)));
  json_t *j = json_pack("{s:s, s:s, s:o, s:s, s:s, s:s, s:s, s:b}", "schema",
                        "attnc.tune/1", "name", t->name, "sizes", sizes, "target",
                        t->target, "device", t->device, "unit", t->unit, "level",
                        tune_level_names[t->level], "recorded", (int)t->recorded);
  if (t->kept)
    json_object_set_new(j, "why_not", json_string(t->kept));
  json_object_set_new(j, "refused", json_integer(t->refused));
  json_object_set_new(j, "pinned_away", json_integer(t->pinned_away));
  json_object_set_new(j, "outside", json_integer(t->outside));
  json_object_set_new(j, "left_out", json_integer(t->left_out));
  json_object_set_new(j, "elsewhere", json_integer(t->elsewhere));
  json_object_set_new(j, "candidates", list);
  return j;
}

attnc_status
tuning_report(attnc_tuning *t, attnc_error *e)
{
  sort(t);
  json_t *j = tuning_object(t);
  t->json = json_dumps(j, JSON_INDENT(2));
  json_decref(j);
  return t->json ? ATTNC_OK : err_set(e, ATTNC_ERR_NOMEM, "attnc_tune: out of memory");
}
