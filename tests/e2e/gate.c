/* gate: what an assembler makes of every spec.
 *
 *   e2e_gate [--specs i/n | NAME…]
 *                         default schedules on every target against the baselines; for
 *                         sm_90a the cost model's best six too, and the default with each
 *                         boolean field the other way.  Of every n-th spec, from the i-th,
 *                         or of those.  Of a spec with expressions the default schedules
 *                         alone, and where the baselines have none, no baseline
 *   e2e_gate --dims i/n   the default schedules of every head_dim on every target, the i-th
 *                         of n parts (from 0).  At fault is what spills although ptxas is
 *                         told that one block a multiprocessor is enough
 *   e2e_gate --decode i/n the same of one query a sequence, where nothing may spill
 *   e2e_gate --shard i/n [FIELD=VALUE]
 *                         every legal schedule of every spec for sm_90a, or those with that
 *                         field, the i-th of n parts (from 0): a line for each that is at
 *                         fault, and the sums
 *
 * At fault is a kernel that ptxas refuses, or remarks on with C75xx, by which it says that
 * it undid what the kernel asked for.  A default schedule must moreover not spill, hold no
 * more than MOVES_MAX moves a FULL tile on sm_90a (two more where weights go through shared
 * memory), and be no worse than
 * tests/baseline.txt and tests/opcodes.txt say it was; ATTNC_UPDATE=1 rewrites them, or
 * those specs' rows of them, and the diff is reviewed.  What is at fault all the same is
 * listed in `known`, with its reason.  Without ptxas lines of PTX and schedules alone are
 * compared; the exit status is 77. */
#include "tests/e2e/gate.h"

#include "cli/cli.h"
#include "sass/ptxas.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOPPER "sm_90a"
#define TURING "sm_75" /* it has no products of bf16 */
enum { MOVES_MAX = 4, BEST = 6 };

typedef struct Gate {
  Arena *arena;
  const char *version; /* of ptxas, NULL: there is none */
  GateSpec specs[SPECS_MAX];
  int n_specs, bad, notes, workers;
  int shard, shards;        /* of the everyday jobs */
  const char *const *names; /* of their specs; NULL: of all */
  VEC(Job) jobs;
} Gate;

/* ---- jobs ---- */

static Job *
add_job(Gate *g, const GateSpec *s, const char *target)
{
  Job *j = vec_push(g->arena, &g->jobs);
  j->spec = s;
  j->problem = str_eq(target, HOPPER) ? &s->large.problem : &s->problem.problem;
  j->target = target;
  j->what = str_eq(target, TURING) ? s->fp16 : s->spec;
  return j;
}

static const GateSpec *
find_spec(const Gate *g, const char *name)
{
  for (int i = 0; i < g->n_specs; i++)
    if (str_eq(g->specs[i].name, name))
      return &g->specs[i];
  return NULL;
}

/* Is it one of those that are asked for? */
static bool
asked(const Gate *g, int i)
{
  for (const char *const *name = g->names; name && *name; name++)
    if (str_eq(g->specs[i].name, *name))
      return true;
  return !g->names && i % g->shards == g->shard;
}

static void
add_defaults(Gate *g)
{
  for (int i = 0; i < g->n_specs; i++)
    for (const char *const *t = attnc_targets(); *t && asked(g, i); t++)
      if (attnc_spec_check(g->specs[i].spec, *t, NULL))
        printf("note  %s does not run on %s\n", g->specs[i].name, *t);
      else
        snprintf(add_job(g, &g->specs[i], *t)->tag, sizeof g->jobs.at->tag, "default");
}

static void
add_pinned(Gate *g, const GateSpec *s, const json_t *row, const char *tag, int number)
{
  Job *j = add_job(g, s, HOPPER);
  j->pinned = true;
  schedule_read(row, g->arena, &j->schedule);
  snprintf(j->tag, sizeof j->tag, number ? "%s %d" : "%s", tag, number);
}

static json_t *
legal_schedules(const GateSpec *s)
{
  char *text = NULL;
  if (attnc_spec_check(s->spec, HOPPER, NULL) ||
      attnc_schedules(s->spec, &s->large.problem, HOPPER, 0, &text, NULL))
    return json_array();
  json_t *rows = json_loads(text, 0, NULL);
  attnc_text_free(text);
  return rows;
}

/* The schedule that is taken when none is asked for. */
static json_t *
default_schedule(const GateSpec *s)
{
  attnc_kernel *k = NULL;
  if (attnc_compile(s->spec, &s->large.problem, HOPPER, NULL, &k, NULL))
    return NULL;
  json_t *recipe = json_loads(attnc_kernel_json(k), 0, NULL);
  json_t *schedule = json_incref(recipe_schedule(recipe));
  json_decref(recipe);
  attnc_kernel_release(k);
  return schedule;
}

static void
add_best(Gate *g, const GateSpec *s)
{
  json_t *rows = legal_schedules(s), *row;
  size_t i;
  json_array_foreach(rows, i, row)
  {
    if (i < BEST)
      add_pinned(g, s, row, "best", (int)i + 1);
  }
  json_decref(rows);
}

/* The default with one boolean the other way. */
static void
add_flip(Gate *g, const GateSpec *s, const json_t *base, const char *name)
{
  json_t *other = json_copy((json_t *)(uintptr_t)base);
  json_object_set_new(other, name,
                      json_boolean(!json_is_true(json_object_get(base, name))));
  Job *j = add_job(g, s, HOPPER);
  j->pinned = j->may_refuse = true;
  schedule_read(other, g->arena, &j->schedule);
  snprintf(j->tag, sizeof j->tag, "%s flipped", name);
  json_decref(other);
}

/* Of each that the template has, in the order of attnc_schedule_fields. */
static void
add_flips(Gate *g, const GateSpec *s)
{
  json_t *base = default_schedule(s);
  const json_t *field;
  size_t i;
  json_array_foreach((json_t *)(uintptr_t)schedule_fields(), i, field)
  {
    const char *name = json_string_value(json_object_get(field, "name"));
    if (json_is_boolean(json_object_get(base, name)))
      add_flip(g, s, base, name);
  }
  json_decref(base);
}

/* Has a row the field with the value that only, "narrow_diagonal=true", names?  NULL: any.
 */
static bool
wanted(const json_t *row, const char *only)
{
  char name[64] = "", value[64] = "";
  if (!only)
    return true;
  sscanf(only, "%63[^=]=%63s", name, value);
  const json_t *v = json_object_get(row, name);
  char *text = v ? json_dumps(v, JSON_ENCODE_ANY) : NULL;
  bool same = text && (str_eq(text, value) ||
                       (json_is_string(v) && str_eq(json_string_value(v), value)));
  free(text);
  return same;
}

/* Every shard has schedules of every spec and of every cost. */
static int
add_product(Gate *g, int shard, int shards, const char *only)
{
  int n = 0;
  for (int s = 0; s < g->n_specs; s++) {
    json_t *rows = legal_schedules(&g->specs[s]), *row;
    size_t i;
    json_array_foreach(rows, i, row)
    {
      if (wanted(row, only) && n++ % shards == shard)
        add_pinned(g, &g->specs[s], row, "product", (int)i + 1);
    }
    json_decref(rows);
  }
  return n;
}

/* ---- verdicts ---- */

static void
fault(Gate *g, const Job *j, const Result *r, const char *what, const char *more)
{
  printf("FAIL  %s %s %s (%s): %s%s\n", j->spec->name, j->target, r->schedule, j->tag, what,
         more);
  g->bad++;
}

/* What no kernel may do. */
static bool
judge(Gate *g, const Job *j, const Result *r)
{
  if (r->outcome == PENDING)
    fault(g, j, r, "the process that compiled it died", "");
  else if (r->outcome != DONE)
    fault(g, j, r, r->outcome == ILLEGAL ? "offered, but refused: " : "", r->why);
  else if (*r->why)
    fault(g, j, r, "", r->why);
  else
    return true;
  return false;
}

/* Default schedules that are at fault and stay so, each with its reason.  One that is no
 * longer at fault must go. */
typedef struct Known {
  const char *spec, *target, *fault;
} Known;
static const Known known[] = {
    /* score_mod loads between the products: numbers are moved where loads are waited for */
    {"sandwich_bias", HOPPER, "moves"},
    /* of 62 and 66 one for each element that is loaded: 0, if there are no keys at all */
    {"graphormer_spatial", HOPPER, "moves"},
    {"graphormer_edge", HOPPER, "moves"},
    /* five: a row's distance from the tile is carried from one to the next */
    {"mpt_7b_alibi", HOPPER, "moves"},
    {"dnabert2_padded", HOPPER, "moves"},
};

static void
judge_known(Gate *g, const Job *j, const Result *r, const char *what, bool at_fault,
            const char *text)
{
  bool is_known = false;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    is_known =
        is_known || (str_eq(known[i].spec, j->spec->name) &&
                     str_eq(known[i].target, j->target) && str_eq(known[i].fault, what));
  if (at_fault && is_known)
    printf("note  %s %s: %s, as is known\n", j->spec->name, j->target, text);
  else if (at_fault)
    fault(g, j, r, text, "");
  else if (is_known && g->version)
    fault(g, j, r, what, "is a known fault, and is none any more");
}

static void
judge_moves(Gate *g, const Job *j, const Result *r)
{
  char text[80];
  int full = gate_full(r), tiles = gate_tiles(r, full);
  if (!full || !str_eq(j->target, HOPPER) || !r->parts[full].n[COLUMN_warpgroup])
    return;
  int most = MOVES_MAX + (strstr(r->schedule, ":p_in_smem") ? 2 : 0);
  snprintf(text, sizeof text, "%d moves in the loop of %d FULL tiles",
           r->parts[full].n[COLUMN_mov], tiles);
  judge_known(g, j, r, "moves", r->parts[full].n[COLUMN_mov] > most * tiles, text);
}

static void
judge_default(Gate *g, const Baseline *b, const Job *j, const Result *r)
{
  char why[200];
  bool same = g->version && str_eq(g->version, baseline_assembler(b));
  printf("%-26s %-7s %-34s %4d registers %3d spilled %6d lines\n", j->spec->name, j->target,
         r->schedule, r->regs, r->spills, r->lines);
  if (!judge(g, j, r))
    return;
  judge_known(g, j, r, "spills", r->spills > 0, "spills");
  judge_moves(g, j, r);
  if (j->spec->expressions && !baseline_has(b, j))
    return;
  if (baseline_worse(b, j, r, same, why, sizeof why))
    fault(g, j, r, why, "");
  else if (baseline_note(b, j, r, why, sizeof why))
    printf("note  %s\n", why);
}

static void
judge_other(Gate *g, const Job *j, const Result *r)
{
  if (r->outcome == ILLEGAL && j->may_refuse)
    printf("note  %s (%s): %s\n", j->spec->name, j->tag, r->why);
  else if (judge(g, j, r) && r->spills > 0) {
    printf("note  %s %s (%s): %d bytes spilled\n", j->spec->name, r->schedule, j->tag,
           r->spills);
    g->notes++;
  }
}

/* ---- modes ---- */

static void
tell_progress(int done, int n)
{
  static int told = -1;
  if (done * 20 / n == told)
    return;
  told = done * 20 / n;
  fprintf(stderr, "%d of %d\n", done, n);
}

static Result *
do_jobs(Gate *g, bool tell)
{
  Result *r =
      gate_pool(g->jobs.at, g->jobs.n, g->workers, g->version, tell ? tell_progress : NULL);
  if (!r)
    fprintf(stderr, "no memory for the results\n");
  return r;
}

/* "3/10" */
static bool
read_shard(const char *text, int *i, int *n)
{
  return sscanf(text, "%d/%d", i, n) == 2 && *i >= 0 && *i < *n;
}

static int
product(Gate *g, const char *shard, const char *only)
{
  int i = -1, n = 0;
  if (!read_shard(shard, &i, &n) || !g->version)
    return fprintf(stderr, "--shard i/n needs 0 <= i < n, and ptxas\n"), 2;
  int all = add_product(g, i, n, only);
  printf("# %s, shard %d of %d: %d of %d legal schedules%s%s of %d specs, ptxas %s\n",
         HOPPER, i, n, g->jobs.n, all, only ? " with " : "", only ? only : "", g->n_specs,
         g->version);
  Result *r = do_jobs(g, true);
  for (int k = 0; r && k < g->jobs.n; k++)
    judge_other(g, &g->jobs.at[k], &r[k]);
  printf("# %d kernels, %d faults, %d that spill\n", g->jobs.n, g->bad, g->notes);
  int code = !r || g->bad ? 1 : 0;
  free(r);
  return code;
}

/* No baseline is kept of them. */
static int
dims(Gate *g, const char *shard, bool decode)
{
  static GateSpec specs[SPECS_MAX];
  int i = -1, n = 0, all = 0;
  if (!read_shard(shard, &i, &n))
    return fprintf(stderr, "--dims and --decode i/n need 0 <= i < n\n"), 2;
  if (!g->version)
    return printf("SKIPPED: ptxas is not found\n"), 77;
  int n_specs = (decode ? gate_decode : gate_dims)(specs, &g->bad);
  for (int s = 0; s < n_specs; s++)
    for (const char *const *t = attnc_targets(); *t; t++)
      if (all++ % n == i)
        snprintf(add_job(g, &specs[s], *t)->tag, sizeof g->jobs.at->tag, "default");
  Result *r = do_jobs(g, n == 1);
  for (int k = 0; r && k < g->jobs.n; k++) {
    const Job *j = &g->jobs.at[k];
    printf("%-10s %-7s %-40s %4d registers %3d spilled\n", j->spec->name, j->target,
           r[k].schedule, r[k].regs, r[k].spills);
    if (!judge(g, j, &r[k]) || r[k].spills <= 0)
      continue;
    if (decode || r[k].least_spills)
      fault(g, j, &r[k], "spills", "");
    else
      printf("note  %s %s: %d bytes spilled for one block more, none without\n",
             j->spec->name, j->target, r[k].spills);
  }
  printf("%d of %d default schedules of %d specs, %d faults\n", g->jobs.n, all, n_specs,
         g->bad);
  free(r);
  for (int s = 0; s < n_specs; s++) {
    attnc_spec_release(specs[s].spec);
    attnc_spec_release(specs[s].fp16);
  }
  return !r || g->bad ? 1 : 0;
}

/* Some rows by another assembler than the others would compare with nothing. */
static bool
write_rows(const Gate *g, Baseline *b, const Result *r, int n)
{
  if (g->names && !str_eq(g->version, baseline_assembler(b)))
    return fprintf(stderr, "ptxas is %s, the baseline's was %s\n", g->version,
                   baseline_assembler(b)),
           false;
  baseline_put(b, g->version, g->jobs.at, r, n);
  return baseline_write(b) || (fprintf(stderr, "the baselines cannot be written\n"), false);
}

static int
everyday(Gate *g, bool update)
{
  add_defaults(g);
  int defaults = g->jobs.n;
  for (int i = 0; i < g->n_specs && !update && g->version; i++) {
    if (g->specs[i].expressions || !asked(g, i))
      continue;
    add_best(g, &g->specs[i]);
    add_flips(g, &g->specs[i]);
  }
  Result *r = do_jobs(g, false);
  Baseline *b = update && !g->names ? baseline_new() : baseline_read();
  if (!r || !b || (update && !write_rows(g, b, r, defaults)))
    return 1;
  if (g->version && !str_eq(g->version, baseline_assembler(b)))
    printf("note  ptxas is %s, the baseline's was %s\n", g->version, baseline_assembler(b));
  for (int i = 0; i < g->jobs.n; i++)
    if (i < defaults)
      judge_default(g, b, &g->jobs.at[i], &r[i]);
    else
      judge_other(g, &g->jobs.at[i], &r[i]);
  printf("%d default schedules, %d others, %d faults%s\n", defaults, g->jobs.n - defaults,
         g->bad, g->version ? "" : "; SKIPPED: registers, spills, ptxas is not found");
  baseline_free(b);
  free(r);
  return g->bad ? 1 : g->version ? 0 : 77;
}

/* Not those of specs/. */
static bool
has_own_specs(const char *mode)
{
  return str_eq(mode, "--dims") || str_eq(mode, "--decode");
}

static int
run(Gate *g, int argc, char **argv, bool update)
{
  if (argc == 3 && has_own_specs(argv[1]))
    return dims(g, argv[2], str_eq(argv[1], "--decode"));
  g->n_specs = gate_specs(g->specs, &g->bad);
  if (!g->n_specs)
    return fprintf(stderr, "there are no specs\n"), 1;
  if ((argc == 3 || argc == 4) && str_eq(argv[1], "--shard"))
    return product(g, argv[2], argc > 3 ? argv[3] : NULL);
  if (argc == 3 && str_eq(argv[1], "--specs") && !update &&
      read_shard(argv[2], &g->shard, &g->shards))
    return everyday(g, false);
  for (int i = 1; i < argc; i++)
    if (!find_spec(g, argv[i]))
      return fprintf(stderr,
                     "there is no spec %s\nusage: e2e_gate "
                     "[--specs i/n | --dims i/n | --decode i/n | --shard i/n "
                     "[FIELD=VALUE] | NAME…]\n",
                     argv[i]),
             2;
  g->names = argc > 1 ? (const char *const *)argv + 1 : NULL;
  return everyday(g, update);
}

/* "V13.0.88" */
static const char *
version(Arena *arena)
{
  const char *path = ptxas_find(arena), *text = path ? ptxas_version(path, arena) : NULL;
  const char *v = text ? strstr(text, ", V") : NULL;
  return v ? v + 2 : text;
}

int
main(int argc, char **argv)
{
  static Gate g;
  const char *set = getenv("ATTNC_UPDATE");
  bool update = set && str_eq(set, "1");
  long processors = sysconf(_SC_NPROCESSORS_ONLN);
  g.arena = arena_new(0);
  g.shards = 1;
  g.version = version(g.arena);
  g.workers = processors > 1 ? (int)processors : 1;
  if (update && !g.version)
    return fprintf(stderr, "ptxas is not found\n"), 2;
  int code = run(&g, argc, argv, update);
  for (int i = 0; i < g.n_specs; i++)
    attnc_spec_release(g.specs[i].spec);
  arena_free(g.arena);
  return code;
}
