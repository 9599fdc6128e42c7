/* The compiler's public face: attnc_compile and what a kernel answers, attnc_schedules,
 * attnc_tiles, attnc_spec_check. */
#include "compiler/gen.h"
#include "compiler/kernel.h"
#include "compiler/sched.h"
#include "compiler/space.h"
#include "compiler/tile/tile_prog.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/ptx.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const time_names[TIME_COUNT] = {
#define X(id, name) name,
    TIME_TABLE(X)
#undef X
};

static attnc_status
target_named(const char *name, const Target **out, attnc_error *err)
{
  *out = name ? target_find(name) : NULL;
  return attnc_target_check(name, err);
}

/* ---- options ---- */

static attnc_status
dump_bits(const char *list, unsigned *bits, attnc_error *err)
{
  for (const char *p = list; p && *p;) {
    size_t n = strcspn(p, ",");
    int hit = -1;
    for (int i = 0; i < DUMP_COUNT; i++)
      if (strlen(dump_names[i]) == n && strncmp(dump_names[i], p, n) == 0)
        hit = i;
    if (n == 3 && strncmp(p, "all", 3) == 0)
      *bits = (1u << DUMP_COUNT) - 1;
    else if (hit >= 0)
      *bits |= 1u << hit;
    else
      return err_set(err, ATTNC_ERR_USAGE, "there is no stage '%.*s' to dump", (int)n, p);
    p += n + (p[n] == ',');
  }
  return ATTNC_OK;
}

static attnc_status
entered(const attnc_compile_options *o, GenRequest *r, attnc_error *err)
{
  if (!o || !o->from)
    return ATTNC_OK;
  if (!o->text)
    return err_set(err, ATTNC_ERR_USAGE, "from '%s' needs its text", o->from);
  if (str_eq(o->from, "ll"))
    r->from_ll = o->text;
  else if (str_eq(o->from, "ptx"))
    r->from_ptx = o->text;
  else
    return err_set(err, ATTNC_ERR_USAGE, "a compile can be entered at ll or ptx, not '%s'",
                   o->from);
  return ATTNC_OK;
}

/* A PTX text says its version by itself, and the recipe's driver is of that. */
static attnc_status
entered_version(GenRequest *r, attnc_error *err)
{
  int version = r->from_ptx ? ptx_text_version(r->from_ptx) : 0;
  if (!version)
    return ATTNC_OK; /* what has none is refused by its mark or its entry */
  if (!ptx_driver(version))
    return err_set(err, ATTNC_ERR_USAGE,
                   "the PTX given: .version %d.%d is not one whose driver attnc knows",
                   version / 10, version % 10);
  r->ptx = version;
  return ATTNC_OK;
}

/* ---- compile ---- */

static attnc_status
check_values(const Spec *s, const ProblemCopy *p, attnc_error *err)
{
  Arena *a = arena_new(0);
  if (!a)
    return err_set(err, ATTNC_ERR_NOMEM, "values of a problem");
  Str text = str_new(a);
  attnc_status st = gen_values(s, p, &text, err);
  arena_free(a);
  return st;
}

static attnc_status
compile(GenRequest *r, const attnc_compile_options *o, attnc_kernel **out, attnc_error *err)
{
  double t0 = clock_seconds();
  TRY(dump_bits(o ? o->dump : NULL, &r->dumps, err));
  TRY(entered(o, r, err));
  TRY(check_values(r->spec, r->problem, err));
  TRY(ptx_version_read(o ? o->ptx_version : NULL, gen_ptx_version(r->target, &r->sched),
                       &r->ptx, err));
  TRY(entered_version(r, err));
  r->front += clock_seconds() - t0;
  return gen_kernel(r, out, err);
}

attnc_status
gen_compile(const Spec *spec, const ProblemCopy *problem, const Target *target,
            const Sched *sched, const attnc_compile_options *o, attnc_kernel **out,
            attnc_error *err)
{
  GenRequest r = {.spec = spec, .problem = problem, .target = target, .sched = *sched};
  return compile(&r, o, out, err);
}

/* Of what was taken out of the caller's structs. */
static attnc_status
compile_chosen(const Spec *spec, const ProblemCopy *problem, const char *target,
               const Schedule *want, const attnc_compile_options *o, attnc_kernel **out,
               attnc_error *err)
{
  double t0 = clock_seconds();
  GenRequest r = {.spec = spec, .problem = problem};
  const char *source;
  TRY(target_named(target, &r.target, err));
  TRY(gen_schedule(spec, problem, r.target, want, &r.sched, &source, err));
  r.front = clock_seconds() - t0;
  return compile(&r, o, out, err);
}

attnc_status
attnc_compile_with(const attnc_spec *spec, const attnc_problem *problem, const char *target,
                   const attnc_schedule *want, const attnc_compile_options *options,
                   attnc_kernel **out, attnc_error *err)
{
  ProblemCopy p;
  Schedule named = {.n = 0};
  attnc_compile_options o = {.size = sizeof o};
  err_clear(err);
  if (out)
    *out = NULL;
  if (!out || !spec)
    return err_set(err, ATTNC_ERR_USAGE, "attnc_compile: %s is NULL",
                   out ? "the spec" : "out");
  TRY(gen_problem(spec, problem, &p, err));
  if (want)
    TRY(sched_read(&named, want, err));
  if (options)
    TRY(compile_options_take(&o, options, err));
  return compile_chosen(spec, &p, target, &named, &o, out, err);
}

attnc_status
attnc_compile(const attnc_spec *spec, const attnc_problem *problem, const char *target,
              const attnc_schedule *want, attnc_kernel **out, attnc_error *err)
{
  return attnc_compile_with(spec, problem, target, want, NULL, out, err);
}

void
attnc_kernel_release(attnc_kernel *k)
{
  if (k)
    arena_free(k->arena);
}

const char *
attnc_kernel_ptx(const attnc_kernel *k, size_t *bytes)
{
  if (bytes)
    *bytes = k ? k->ptx_bytes : 0;
  return k ? k->ptx : NULL;
}

const char *
attnc_kernel_json(const attnc_kernel *k)
{
  return k ? k->json : NULL;
}

const char *
attnc_kernel_dump(const attnc_kernel *k, const char *stage)
{
  for (int i = 0; k && stage && i < DUMP_COUNT; i++)
    if (str_eq(dump_names[i], stage))
      return k->dump[i];
  return NULL;
}

double
attnc_kernel_seconds(const attnc_kernel *k, const char *stage)
{
  for (int i = 0; k && stage && i < TIME_COUNT; i++)
    if (str_eq(time_names[i], stage))
      return k->seconds[i];
  return 0;
}

void
attnc_text_free(char *text)
{
  free(text);
}

/* ---- what runs where ---- */

typedef struct Reasons {
  attnc_diags *diags;
  int n;
} Reasons;

static void
report(void *user, const char *why)
{
  Reasons *r = user;
  diags_error(r->diags, (Place){0, 0, 1}, 401, NULL, "%s", why);
  r->n++;
}

attnc_status
attnc_spec_check(const attnc_spec *spec, const char *target, attnc_diags *diags)
{
  const Target *t;
  attnc_error err = {0};
  Sched s;
  const char *source;
  Reasons r = {.diags = diags};
  if (!spec || !target)
    return ATTNC_ERR_USAGE;
  if (target_named(target, &t, &err) != ATTNC_OK) {
    report(&r, err.message);
    return ATTNC_ERR_UNSUPPORTED;
  }
  attnc_status st = gen_schedule(spec, NULL, t, NULL, &s, &source, &err);
  if (st == ATTNC_ERR_UNSUPPORTED)
    report(&r, err.message);
  return st;
}

/* ---- the space of schedules ---- */

typedef struct Entry {
  Sched s;
  SchedCost cost;
  const char *why;
  int n;    /* of the space */
  int rank; /* by template: first those that are meant for such sizes */
} Entry;

typedef struct List {
  Arena *arena;
  Case c;
  CaseMemo memo;
  int all;
  VEC(Entry) v;
} List;

static int
template_rank(const Template *t)
{
  int i = 0;
  while (template_table[i] != t)
    i++;
  return i;
}

static bool
meant(const Template *t, const Case *c)
{
  return !t->meant || t->meant(c);
}

static void
list_template(List *l, const Template *t)
{
  Sched s;
  bool suits = meant(t, &l->c);
  if (!template_is_asked(t, &l->c) || !t->applicable(&l->c, NULL))
    return;
  for (int n = 0; space_point(t, &l->c, n, &s); n++) {
    Why why = {.text = ""};
    bool illegal = t->refuse(&l->c, &s, &why);
    illegal =
        illegal || (!suits && refused(&why, "%s is not meant for such sizes", t->name));
    if (illegal && !l->all)
      continue;
    const char *text = illegal ? arena_strdup(l->arena, why.text) : NULL;
    *vec_push(l->arena, &l->v) =
        (Entry){.s = s,
                .cost = t->cost(&l->c, &s),
                .why = text,
                .n = n,
                .rank = template_rank(t) + (suits ? 0 : n_templates)};
  }
}

/* Legal before refused, then by template, then by estimated cycles; ties by the tiles, so
 * that the order never depends on the sort. */
static int
compare(const void *pa, const void *pb)
{
  const Entry *a = pa, *b = pb;
  const double ka[] = {a->why != NULL, a->rank,    a->cost.cycles, a->s.bm,
                       a->s.bn,        a->s.warps, a->s.stages};
  const double kb[] = {b->why != NULL, b->rank,    b->cost.cycles, b->s.bm,
                       b->s.bn,        b->s.warps, b->s.stages};
  for (size_t i = 0; i < sizeof ka / sizeof *ka; i++)
    if (ka[i] < kb[i] || ka[i] > kb[i])
      return ka[i] < kb[i] ? -1 : 1;
  return a->n - b->n;
}

static void
print_entry(Str *s, const Entry *e)
{
  Schedule x = sched_named(&e->s);
  str_printf(s, "{\"template\":\"%s\",", e->s.tmpl->name);
  sched_list(s, &x, true);
  str_printf(s, ",\"shared\":%d,\"regs\":%d,\"blocks_per_sm\":%d,\"cost\":%.6g",
             e->cost.smem, e->cost.regs, e->cost.ctas_sm, e->cost.cycles);
  if (!e->why && e->cost.flight_wanted > 0)
    str_printf(s, ",\"in_flight_kb\":%.4g,\"in_flight_wanted_kb\":%.4g", e->cost.flight,
               e->cost.flight_wanted);
  if (!e->why && e->cost.key_clocks > 0)
    str_printf(s, ",\"key_clocks\":%.4g,\"product_clocks\":%.4g", e->cost.key_clocks,
               e->cost.product_clocks);
  if (e->why) {
    str_put(s, ",\"reason\":");
    str_json(s, e->why);
  }
  str_put(s, "}");
}

static char *
list_json(List *l)
{
  Str s = str_new(l->arena);
  for (int i = 0; i < n_templates; i++)
    list_template(l, template_table[i]);
  if (l->v.n)
    qsort(l->v.at, (size_t)l->v.n, sizeof *l->v.at, compare);
  str_put(&s, "[");
  for (int i = 0; i < l->v.n; i++) {
    str_put(&s, i ? "," : "");
    print_entry(&s, &l->v.at[i]);
  }
  str_put(&s, "]");
  return strdup(s.p);
}

/* ---- the fields there are ---- */

static void
put_templates(Str *s, const char *field)
{
  const char *comma = "";
  str_put(s, ",\"templates\":[");
  for (int i = 0; i < n_templates; i++)
    if (sched_has(template_table[i], field)) {
      str_printf(s, "%s\"%s\"", comma, template_table[i]->name);
      comma = ",";
    }
  str_put(s, "]}");
}

static void
put_field(Str *s, const SchedField *f)
{
  static const char *const kinds[] = {
      [SK_INT] = "int", [SK_BOOL] = "bool", [SK_ENUM] = "enum"};
  str_printf(s, "{\"name\":\"%s\",\"kind\":\"%s\"", f->name, kinds[f->kind]);
  if (f->kind == SK_INT)
    str_printf(s, ",\"min\":%d,\"max\":%d", f->min, f->max);
  for (const char *p = f->names, *comma = ",\"names\":["; p && *p; comma = ",") {
    size_t n = strcspn(p, " ");
    str_printf(s, "%s\"%.*s\"%s", comma, (int)n, p, p[n] ? "" : "]");
    p += n + (p[n] == ' ');
  }
  str_printf(s, ",\"example\":\"%s\",\"what\":", f->example);
  str_json(s, f->what);
  put_templates(s, f->name);
}

/* Made once, kept for the life of the process. */
static char fields_text[16 << 10];
static pthread_once_t fields_once = PTHREAD_ONCE_INIT;

static void
make_fields(void)
{
  Arena *arena = arena_new(0);
  const SchedField *list[SCHED_MAX];
  int n = sched_fields(list);
  if (!arena)
    return;
  Str s = str_new(arena);
  for (int i = 0; i < n; i++) {
    str_put(&s, i ? ",\n" : "[");
    put_field(&s, list[i]);
  }
  str_put(&s, "]\n");
  if (s.n < sizeof fields_text)
    memcpy(fields_text, s.p, s.n + 1);
  arena_free(arena);
}

const char *
attnc_schedule_fields(void)
{
  pthread_once(&fields_once, make_fields);
  return fields_text;
}

attnc_status
attnc_schedule_check(const attnc_schedule *schedule, attnc_error *err)
{
  Schedule named;
  TRY(sched_read(&named, schedule, err));
  return sched_check(&named, err);
}

attnc_status
attnc_schedules(const attnc_spec *spec, const attnc_problem *problem, const char *target,
                int all, char **json, attnc_error *err)
{
  const Target *t;
  ProblemCopy p;
  if (json)
    *json = NULL;
  if (!json || !spec)
    return err_set(err, ATTNC_ERR_USAGE, "attnc_schedules: %s is NULL",
                   json ? "the spec" : "json");
  TRY(target_named(target, &t, err));
  TRY(gen_problem(spec, problem, &p, err));
  List l = {.arena = arena_new(0), .c = sched_case(spec, &p, t), .all = all};
  jmp_buf full;
  if (!l.arena)
    return err_set(err, ATTNC_ERR_NOMEM, "list of schedules");
  l.memo.arena = l.arena;
  l.c.memo = &l.memo;
  if (setjmp(full) == 0) {
    arena_catch(l.arena, &full);
    *json = list_json(&l);
  }
  arena_free(l.arena);
  return *json ? ATTNC_OK : err_set(err, ATTNC_ERR_NOMEM, "list of schedules");
}
