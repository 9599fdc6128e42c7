/* Trials: what sweeps measured, each in a line of its own, beside the tuning table.
 *
 * A line is appended as soon as a candidate has its value, or its reason, so that a sweep
 * that ends early is resumed and shards of one meet by concatenating their files.  It
 * counts for a candidate of the same PTX on the same device, driver and sizes. */
#include "runtime/tune/tune.h"

#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "runtime/jsonl.h"
#include "schedule/schedule_json.h"

#include <string.h>

#define SCHEMA "attnc.trial/1"

/* DIR/DEVICE.trials.jsonl, in the arena. */
static const char *
trials_path(const Sweep *s)
{
  return tune_path(s->table, s->device->name, ".trials.jsonl", s->t->arena);
}

/* What all trials of a sweep have in common. */
static json_t *
problem_json(const Sweep *s)
{
  TuneProblem p = jit_tune_problem(s->spec, &s->copy, s->drv, s->device);
  json_t *sizes = json_object();
  for (int i = 0; i < SIZE_COUNT; i++)
    if (size_is_there(&s->copy.sizes, (SizeId)i))
      json_object_set_new(sizes, size_names[i],
                          json_integer(size_get(&s->copy.sizes, (SizeId)i)));
  json_t *j =
      json_pack("{s:s, s:s, s:i, s:s, s:s, s:o, s:s, s:s}", "schema", SCHEMA, "device",
                s->device->name, "driver", s->drv->version, "spec_hash", p.spec_hash, "op",
                p.op, "sizes", sizes, "target", s->t->target, "unit", s->t->unit);
  if (s->options.seqlens)
    json_object_set_new(j, "seqlens", json_string(s->options.seqlens));
  return j;
}

static void
ptx_hash(const Candidate *c, char hex[65])
{
  sha256_hex(c->ptx, strlen(c->ptx), hex);
}

/* ---- writing ---- */

static json_t *
trial_json(const Sweep *s, const Candidate *c)
{
  const attnc_tuned *x = &c->told;
  char hash[65];
  json_t *j = problem_json(s), *schedule = json_object();
  ptx_hash(c, hash);
  sched_write_json(schedule, &c->named);
  json_object_set_new(j, "ptx", json_string(hash));
  json_object_set_new(j, "schedule", schedule);
  if (x->reason) {
    json_object_set_new(j, "reason", json_string(x->reason));
    return j;
  }
#define X(name) json_object_set_new(j, #name, json_real(x->name));
  TRIAL_TABLE(X)
#undef X
  return j;
}

void
trial_keep(Sweep *s, const Candidate *c)
{
  attnc_error e = {0};
  if (s->options.dry || c->fault)
    return;
  attnc_status st = file_mkdirs(s->ctx->tune_dir, &e);
  if (st == ATTNC_OK)
    st = jsonl_append(trials_path(s), trial_json(s, c), &e);
  if (st != ATTNC_OK && !s->mute) {
    context_log(s->ctx, 1, "what is measured cannot be kept for later: %s", e.message);
    s->mute = true;
  }
}

/* ---- reading ---- */

typedef struct Resume {
  Sweep *sweep;
  json_t *problem;
  char (*hashes)[65]; /* of the candidates; "": not compiled */
} Resume;

static bool
same_problem(const json_t *problem, const json_t *line)
{
  const char *key;
  json_t *value;
  if (!json_object_get(problem, "seqlens") != !json_object_get(line, "seqlens"))
    return false; /* of other lengths */
  json_object_foreach(
      (json_t *)(uintptr_t)problem, key,
      value) if (!json_equal(value, json_object_get(line, key))) return false;
  return true;
}

static void
take_trial(Candidate *c, const json_t *line)
{
  attnc_tuned *x = &c->told;
  const char *reason = json_string_value(json_object_get(line, "reason"));
  if (!reason && !(json_number_value(json_object_get(line, "value")) > 0))
    return;
  x->resumed = 1;
  x->reason = NULL;
  x->state = reason ? ATTNC_TUNED_REJECTED : ATTNC_TUNED_MEASURED;
  if (reason) {
    err_set(&c->error, ATTNC_ERR_CHECK, "%s", reason);
    x->reason = c->error.message;
    return;
  }
#define X(name)                                                                            \
  x->name = (__typeof__(x->name))json_number_value(json_object_get(line, #name));
  TRIAL_TABLE(X)
#undef X
}

static void
on_line(void *user, const JsonlLine *line)
{
  Resume *r = user;
  const char *hash = json_string_value(json_object_get(line->json, "ptx"));
  if (!hash || !same_problem(r->problem, line->json))
    return; /* a line that is torn is a trial that is run again */
  for (int i = 0; i < r->sweep->t->n_tried; i++)
    if (!strcmp(hash, r->hashes[i]))
      take_trial(&r->sweep->t->at[i], line->json);
}

attnc_status
trials_resume(Sweep *s, attnc_error *e)
{
  if (!s->options.resume || tune_writable(s->table, NULL) != ATTNC_OK)
    return ATTNC_OK;
  const int n = s->t->n_tried;
  Resume r = {.sweep = s, .hashes = arena_alloc(s->t->arena, (size_t)n * sizeof *r.hashes)};
  for (int i = 0; i < n; i++)
    if (s->t->at[i].ptx)
      ptx_hash(&s->t->at[i], r.hashes[i]);
  const char *path = trials_path(s);
  r.problem = problem_json(s);
  attnc_status st = jsonl_read(path, on_line, &r, e);
  json_decref(r.problem);
  return st;
}
