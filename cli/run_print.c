#include "cli/run_print.h"

#include "cli/table.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* member of attncEmuStats, what it is called */
#define STATS_TABLE(X)                                                                     \
  X(launches, "launches")                                                                  \
  X(ctas, "blocks")                                                                        \
  X(warp_instructions, "warp instructions")                                                \
  X(thread_instructions, "thread instructions")                                            \
  X(mma, "mma instructions")                                                               \
  X(macs, "multiply-adds of mma")                                                          \
  X(shared_accesses, "shared memory accesses")                                             \
  X(bank_conflicts, "bank conflicts")                                                      \
  X(global_sectors, "global sectors")                                                      \
  X(global_sectors_ideal, "of which needed")                                               \
  X(barriers, "barriers")                                                                  \
  X(est_cycles, "est_cycles")                                                              \
  X(findings, "findings")

int
run_exit_code(const RunResult *r)
{
  if (r->findings)
    return EXIT_CHECK;
  if (r->status != ATTNC_OK)
    return err_exit_code(r->status);
  return r->verified && !r->verdict.all.pass ? EXIT_CHECK : 0;
}

void
run_free(RunResult *r)
{
  json_decref(r->plan);
  json_decref(r->sectors_read);
  free(r->findings);
  free(r->profile);
  *r = (RunResult){0};
}

static int64_t
plan_int(const RunResult *r, const char *key)
{
  return json_integer_value(json_object_get(r->plan, key));
}

static const char *
plan_text(const RunResult *r, const char *key)
{
  const char *s = json_string_value(json_object_get(r->plan, key));
  return s ? s : "?";
}

static const char *
verdict_word(const RunResult *r)
{
  if (r->findings)
    return "FINDINGS";
  if (r->status != ATTNC_OK)
    return "ERROR";
  return !r->verified ? "not verified" : r->verdict.all.pass ? "PASS" : "FAIL";
}

/* ---- text ---- */

static void
print_tiles(const RunResult *r)
{
  const attnc_tile_counts *t = &r->tiles;
  printf("  tiles      %lld empty, %lld partial, %lld full of %lld a head\n",
         (long long)t->empty, (long long)t->partial, (long long)t->full,
         (long long)(t->q_tiles * t->kv_tiles));
}

/* o, or of keys and values, or of gradients, the worst. */
static int
output_of(const RunResult *r)
{
  int worst = r->verdict.all.slot;
  return worst == ATTNC_LSE ? ATTNC_O : worst;
}

static void
print_verdict(const RunResult *r)
{
  const attnc_verdict *v = &r->verdict.all;
  const attnc_output_verdict *o = &r->verdict.of[output_of(r)];
  const attnc_output_verdict *lse = &r->verdict.of[ATTNC_LSE];
  bool gradient = output_of(r) >= ATTNC_DQ;
  printf("  error      %.3g%s%s at b%lld h%lld q%lld, bound %.3g", o->max_error,
         gradient ? " of " : "", gradient ? r->verdict.worst : "", (long long)v->b,
         (long long)v->h, (long long)v->q, o->bound);
  if (r->has_lse)
    printf("; lse %.3g", lse->max_error);
  printf("\n  verified   %lld of %lld rows%s", (long long)v->rows, (long long)r->all_rows,
         v->rows < r->all_rows ? " (a sample: the problem is large)" : "");
  if (v->bad_rows)
    printf(", %lld wrong", (long long)v->bad_rows);
  printf("\n");
}

static void
print_stats(const RunResult *r)
{
#define X(member, text) printf("  %-24s %llu\n", text, (unsigned long long)r->stats.member);
  STATS_TABLE(X)
#undef X
  double s = r->stats.host_seconds;
  printf("  %-24s %.3f, %.1f million thread instructions a second\n", "seconds emulating",
         s, s > 0 ? (double)r->stats.thread_instructions / s * 1e-6 : 0.0);
  const char *name;
  json_t *n;
  json_object_foreach(r->sectors_read, name, n)
      printf("  sectors read of %-8s %lld\n", name, (long long)json_integer_value(n));
}

static void
print_profile(const Cli *c, const char *text)
{
  static const char *const columns[] = {"line", "count", "conflicts", "sectors", "ideal"};
  json_t *list = json_loads(text, 0, NULL), *item;
  Table *t = table_new(c->arena, "rrrrrl");
  size_t i;
  for (int k = 0; k < 5; k++)
    table_cell(t, "%s", columns[k]);
  table_cell(t, "instruction");
  json_array_foreach(list, i, item)
  {
    for (int k = 0; k < 5; k++)
      table_cell(t, "%lld",
                 (long long)json_integer_value(json_object_get(item, columns[k])));
    const char *line = json_string_value(json_object_get(item, "text"));
    table_cell(t, "%s", line ? line + strspn(line, " \t") : "");
  }
  Str s = str_new(c->arena);
  table_print(t, "  ", &s);
  cli_print(s.p);
  json_decref(list);
}

static void
print_findings(const RunResult *r)
{
  for (const char *p = r->findings; *p;) {
    size_t n = strcspn(p, "\n");
    printf("  finding    %.*s\n", (int)n, p);
    p += n + (p[n] == '\n');
  }
}

static void
print_notes(const RunResult *r)
{
  size_t i;
  json_t *note;
  json_array_foreach(json_object_get(r->plan, "notes"), i, note)
      printf("  note       %s\n", json_string_value(note));
}

/* Registers are the driver's compiler's: an emulator allots none. */
static void
print_resources(const RunResult *r)
{
  if (!r->emulated)
    printf("  registers  %lld a thread, %lld bytes spilled\n",
           (long long)plan_int(r, "registers"), (long long)plan_int(r, "spilled_bytes"));
  printf("  shared     %lld bytes\n", (long long)plan_int(r, "shared_bytes"));
}

static void
print_error(const Cli *c, const RunResult *r)
{
  if (r->status == ATTNC_OK)
    return;
  if (strstr(r->error.message, r->path)) /* a file that could not be read */
    cli_warn(c, "%s", r->error.message);
  else
    cli_warn(c, "%s: %s", r->name, r->error.message);
}

void
run_print(const Cli *c, const RunResult *r)
{
  print_error(c, r);
  if (!r->plan)
    return;
  printf("%s  %s  %s\n", r->name, r->shape ? r->shape : "", verdict_word(r));
  printf("  schedule   %s (%s), %s\n", schedule_text(recipe_schedule(r->plan), c->arena),
         plan_text(r, "source"), plan_text(r, "target"));
  if (r->has_tiles)
    print_tiles(r);
  print_resources(r);
  print_notes(r);
  if (r->timed)
    printf("  time       %.4f ms, median of %d (%.4f to %.4f)\n", r->timing.median,
           r->timing.n, r->timing.least, r->timing.most);
  if (r->verified)
    print_verdict(r);
  if (r->findings)
    print_findings(r);
  if (r->has_stats)
    print_stats(r);
  if (r->profile)
    print_profile(c, r->profile);
}

void
run_print_brief(const Cli *c, const RunResult *r, int width)
{
  printf("%-*s", width, r->name);
  if (r->plan)
    printf("  %-27s", schedule_text(recipe_schedule(r->plan), c->arena));
  if (r->has_tiles)
    printf("  tiles %lld/%lld/%lld", (long long)r->tiles.empty, (long long)r->tiles.partial,
           (long long)r->tiles.full);
  if (r->timed)
    printf("  %.4f ms", r->timing.median);
  if (r->verified)
    printf("  max error %.1e (bound %.1e)", r->verdict.of[output_of(r)].max_error,
           r->verdict.of[output_of(r)].bound);
  printf("  %s\n", verdict_word(r));
  fflush(stdout);
  print_error(c, r);
  if (r->findings)
    fprintf(stderr, "%s%s", r->findings,
            r->findings[strlen(r->findings) - 1] == '\n' ? "" : "\n");
}

/* ---- JSON ---- */

static json_t *
stats_json(const attncEmuStats *stats, json_t *sectors_read)
{
  json_t *j = json_object();
  if (sectors_read)
    json_object_set(j, "sectors_read", sectors_read);
#define X(member, text)                                                                    \
  json_object_set_new(j, #member, json_integer((json_int_t)stats->member));
  STATS_TABLE(X)
#undef X
  json_object_set_new(j, "host_seconds", json_real(stats->host_seconds));
  return j;
}

/* JSON has no NaN and no infinity: those become null. */
static json_t *
number(double v)
{
  json_t *j = json_real(v);
  return j ? j : json_null();
}

static json_t *
verdict_json(const RunResult *r)
{
  const attnc_verdict *v = &r->verdict.all;
  const attnc_output_verdict *o = &r->verdict.of[output_of(r)];
  const attnc_output_verdict *lse = &r->verdict.of[ATTNC_LSE];
  return json_pack("{s:b, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I}", "pass", v->pass,
                   "max_error", number(o->max_error), "bound", number(o->bound),
                   "lse_error", r->has_lse ? number(lse->max_error) : json_null(), "rows",
                   (json_int_t)v->rows, "bad_rows", (json_int_t)v->bad_rows, "b",
                   (json_int_t)v->b, "h", (json_int_t)v->h, "q", (json_int_t)v->q);
}

static json_t *
findings_json(const char *text)
{
  json_t *list = json_array();
  for (const char *p = text ? text : ""; *p;) {
    size_t n = strcspn(p, "\n");
    json_array_append_new(list, json_stringn(p, n));
    p += n + (p[n] == '\n');
  }
  return list;
}

json_t *
run_json(const RunResult *r)
{
  json_t *j = json_pack("{s:o, s:o, s:s, s:i, s:o}", "file", cli_text(r->path), "name",
                        cli_text(r->name), "verdict", verdict_word(r), "exit",
                        run_exit_code(r), "findings", findings_json(r->findings));
  if (r->shape)
    json_object_set_new(j, "shape", json_string(r->shape));
  if (r->device)
    json_object_set_new(j, "device", json_string(r->device));
  json_object_set_new(j, "emulated", json_boolean(r->emulated));
  if (r->status != ATTNC_OK)
    json_object_set_new(j, "error", cli_error_json(&r->error));
  if (r->plan)
    json_object_set(j, "plan", r->plan);
  if (r->has_tiles)
    json_object_set_new(j, "tiles",
                        json_pack("{s:I, s:I, s:I}", "empty", (json_int_t)r->tiles.empty,
                                  "partial", (json_int_t)r->tiles.partial, "full",
                                  (json_int_t)r->tiles.full));
  if (r->verified)
    json_object_set_new(j, "verify", verdict_json(r));
  if (r->timed)
    json_object_set_new(j, "ms",
                        json_pack("{s:f, s:f, s:f, s:f, s:i}", "median", r->timing.median,
                                  "least", r->timing.least, "most", r->timing.most,
                                  "spread", r->timing.spread, "n", r->timing.n));
  if (r->has_stats)
    json_object_set_new(j, "stats", stats_json(&r->stats, r->sectors_read));
  if (r->profile)
    json_object_set_new(j, "profile", json_loads(r->profile, 0, NULL));
  return j;
}
