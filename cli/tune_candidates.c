/* tune_candidates.c: what there is to try, and compiling it. */
#include "cli/tune.h"

#include "cli/interrupt.h"

#include "base/err.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* ---- candidates ---- */

static Candidate *
add(Tune *t)
{
  Candidate *c = &t->at[t->n];
  c->id = t->n++;
  c->cost = NAN;
  return c;
}

static attnc_status
plant(Tune *t, const char *kind, attnc_error *e)
{
  static const char *const kinds[] = {"wrong", "oversized", "hang"};
  bool known = false;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    known = known || str_eq(kind, kinds[i]);
  if (!known)
    return err_set(e, ATTNC_ERR_USAGE,
                   "--plant: %.40s is not one of wrong, oversized, hang", kind);
  if (!t->n)
    return err_set(e, ATTNC_ERR_UNSUPPORTED, "--plant: there is no schedule to change");
  Candidate *c = add(t);
  c->schedule = str_eq(kind, "oversized") ? t->oversized : t->at[0].schedule;
  c->plant = arena_strdup(t->c->arena, kind);
  if (!c->schedule.template_name)
    return err_set(e, ATTNC_ERR_UNSUPPORTED, "--plant: no schedule needs too much memory");
  return ATTNC_OK;
}

static attnc_status
plant_all(Tune *t, attnc_error *e)
{
  const char *text = t->c->opt.value[OPT_PLANT];
  char *rest = text ? arena_strdup(t->c->arena, text) : NULL, *kind;
  for (int n = 0; (kind = strsep(&rest, ",")) != NULL; n++) {
    if (n == 3)
      return err_set(e, ATTNC_ERR_USAGE, "--plant: at most three");
    TRY(plant(t, kind, e));
  }
  return ATTNC_OK;
}

static void
read_candidates(Tune *t, const json_t *list, const json_t *pin)
{
  size_t i, n = json_array_size(list);
  json_t *item;
  t->at = NEW_N(t->c->arena, Candidate, n + 3); /* and the planted ones */
  json_array_foreach((json_t *)(uintptr_t)list, i, item)
  {
    const char *reason = json_string_value(json_object_get(item, "reason"));
    if (reason) {
      t->refused++;
      if (!t->oversized.template_name && strstr(reason, "shared memory"))
        schedule_read(item, t->c->arena, &t->oversized);
      continue;
    }
    if (!pin_allows(pin, item)) {
      t->pinned_away++;
      continue;
    }
    if (t->n >= t->top) {
      t->left_out++;
      continue;
    }
    Candidate *c = add(t);
    schedule_read(item, t->c->arena, &c->schedule);
    const json_t *cost = json_object_get(item, "cost");
    c->cost = json_is_number(cost) ? json_number_value(cost) : NAN;
  }
}

attnc_status
tune_candidates(Tune *t, attnc_error *e)
{
  char *text;
  TRY(attnc_schedules(t->spec.spec, &t->asked.problem, t->target, 1, &text, e));
  json_t *list = json_loads(text, 0, NULL);
  attnc_text_free(text);
  if (!json_is_array(list)) {
    json_decref(list);
    return err_set(e, ATTNC_ERR_INTERNAL, "attnc_schedules: not a JSON array");
  }
  json_t *spec = json_loads(attnc_spec_json(t->spec.spec), 0, NULL);
  read_candidates(t, list, spec_pin_for(spec, t->target));
  json_decref(spec);
  json_decref(list);
  if (!t->n)
    return err_set(e, ATTNC_ERR_UNSUPPORTED, "no legal schedule for %s", t->target);
  TRY(plant_all(t, e));
  for (int i = 0; i < t->n; i++) {
    json_t *j = schedule_json(&t->at[i].schedule);
    const char *base = schedule_text(j, t->c->arena);
    const char *planted = t->at[i].plant;
    t->at[i].text =
        planted ? arena_printf(t->c->arena, "%s (planted: %s)", base, planted) : base;
    json_decref(j);
  }
  return ATTNC_OK;
}

/* ---- planted faults ---- */

static const char *
replace_all(const char *text, const char *from, const char *to, Arena *arena)
{
  Str s = str_new(arena);
  const char *hit;
  while ((hit = strstr(text, from)) != NULL) {
    str_putn(&s, text, (size_t)(hit - text));
    str_put(&s, to);
    text = hit + strlen(from);
  }
  str_put(&s, text);
  return s.p;
}

/* 2^x becomes 2^x's relative, the reciprocal: a kernel that runs as before, and is wrong.
 */
const char *
plant_wrong(const char *ptx, Arena *arena)
{
  return replace_all(ptx, "ex2.approx", "rcp.approx", arena);
}

/* The first statement of the first entry jumps to itself. */
const char *
plant_hang(const char *ptx, Arena *arena)
{
  const char *entry = strstr(ptx, ".entry"), *body = entry ? strchr(entry, '{') : NULL;
  if (!body)
    return ptx;
  return arena_printf(arena, "%.*s\n$planted:\n\tbra $planted;\n%s", (int)(body + 1 - ptx),
                      ptx, body + 1);
}

/* ---- compiling ---- */

typedef struct Pool {
  Tune *t;
  atomic_int next, done;
} Pool;

static void *
compile_some(void *arg)
{
  Pool *p = arg;
  int i;
  while ((i = atomic_fetch_add(&p->next, 1)) < p->t->n && !interrupt_seen()) {
    Candidate *c = &p->t->at[i];
    attnc_status st = attnc_compile(p->t->spec.spec, &p->t->asked.problem, p->t->target,
                                    &c->schedule, &c->kernel, &c->error);
    if (st != ATTNC_OK)
      c->state = CANDIDATE_REFUSED;
    else
      c->ptx = attnc_kernel_ptx(c->kernel, NULL);
    atomic_fetch_add(&p->done, 1);
  }
  return NULL;
}

static void
watch(Pool *p, int threads, pthread_t *ids)
{
  Progress bar;
  progress_start(&bar, "compiling", p->t->n, p->t->c->quiet);
  const struct timespec pause = {0, 50000000};
  while (bar.on && atomic_load(&p->done) < p->t->n && !interrupt_seen()) {
    progress_step(&bar, atomic_load(&p->done), NULL);
    nanosleep(&pause, NULL);
  }
  for (int i = 0; i < threads; i++)
    pthread_join(ids[i], NULL);
  progress_end(&bar);
}

void
tune_compile(Tune *t)
{
  Pool p = {.t = t};
  pthread_t ids[64];
  int threads = 0;
  while (threads < t->jobs && threads < t->n && threads < 64 &&
         pthread_create(&ids[threads], NULL, compile_some, &p) == 0)
    threads++;
  if (!threads)
    compile_some(&p); /* no thread to be had: here, one after the other */
  watch(&p, threads, ids);
  for (int i = 0; i < t->n; i++) {
    Candidate *c = &t->at[i];
    if (c->ptx && c->plant && str_eq(c->plant, "wrong"))
      c->ptx = plant_wrong(c->ptx, t->c->arena);
    if (c->ptx && c->plant && str_eq(c->plant, "hang"))
      c->ptx = plant_hang(c->ptx, t->c->arena);
  }
}
