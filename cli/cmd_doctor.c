/* cmd_doctor.c: `attnc doctor`: what is found on this machine, and a kernel made, launched
 * and verified on it. */
#include "cli/execute.h"
#include "cli/ptxas.h"
#include "cli/table.h"

#include "base/env.h"
#include "base/err.h"

#include "code_id.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char self_test_spec[] = "attnc: 1\n"
                                     "name: self_test\n"
                                     "dtype: bf16\n"
                                     "head_dim: 64\n"
                                     "causal: true\n"
                                     "return_lse: true\n";

typedef struct Doctor {
  Cli *c;
  json_t *json; /* what was found, by name */
  Table *table;
  int code;
} Doctor;

/* One line: mark is "ok", "no" (absent, which may be fine) or "bad". */
static void tell(Doctor *d, const char *mark, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void
tell(Doctor *d, const char *mark, const char *name, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  const char *text = arena_vprintf(d->c->arena, fmt, ap);
  va_end(ap);
  table_cell(d->table, "%s", mark);
  table_cell(d->table, "%s", name);
  table_cell(d->table, "%s", text);
  json_object_set_new(d->json, name, json_pack("{s:s, s:s}", "state", mark, "text", text));
}

static void
about_attnc(Doctor *d)
{
  int v = attnc_version();
  tell(d, "ok", "attnc", "%d.%d.%d, code %.12s, built with LLVM %s", v / 10000,
       v / 100 % 100, v % 100, ATTNC_CODE_ID, ATTNC_LLVM_VERSION);
}

static void
about_device(Doctor *d, const char *name, const char *which)
{
  Device dev;
  attnc_error e;
  if (device_open(&dev, which, NULL, &e) != ATTNC_OK) {
    tell(d, "no", name, "%s", e.message);
    return;
  }
  tell(d, "ok", name, "%s, sm_%d, %d multiprocessors, %.1f GiB; driver for CUDA %d.%d; %s",
       dev.name, dev.cc, dev.sms, (double)dev.memory / (1 << 30), dev.driver / 1000,
       dev.driver % 1000 / 10, dev.path);
  device_close(&dev);
}

static void
about_ptxas(Doctor *d)
{
  const char *path = ptxas_find(d->c->arena);
  const char *version = path ? ptxas_version(path, d->c->arena) : NULL;
  if (path)
    tell(d, "ok", "ptxas", "%s, %s", version ? version : "version unknown", path);
  else
    tell(d, "no", "ptxas", "not found; needed for --sass and --emit cubin only");
}

static void
about_environment(Doctor *d)
{
  json_t *set = json_object();
  Str text = str_new(d->c->arena);
  for (int i = 0; i < ENV_COUNT; i++) {
    const char *value = env_get((EnvVar)i);
    if (!value)
      continue;
    str_printf(&text, "%s%s=%s", text.n ? " " : "", env_table[i].name, value);
    json_object_set_new(set, env_table[i].name, json_string(value));
  }
  tell(d, text.n ? "ok" : "no", "environment", "%s", text.n ? text.p : "nothing is set");
  json_object_set_new(d->json, "variables", set);
}

static void
about_cache(Doctor *d)
{
  attnc_options o = {.size = sizeof o};
  attnc_context *ctx;
  attnc_error e;
  char *text = NULL;
  attnc_status st = attnc_context_create(&o, &ctx, &e);
  if (st == ATTNC_OK) {
    st = attnc_cache_stat(ctx, &text, &e);
    attnc_context_release(ctx);
  }
  if (st != ATTNC_OK) {
    tell(d, "bad", "cache", "%s", e.message);
    d->code = cli_worse(d->code, err_exit_code(st));
    return;
  }
  json_t *j = json_loads(text, 0, NULL);
  const char *dir = json_string_value(json_object_get(j, "dir"));
  tell(d, "ok", "cache", "%s: %lld entries, %.1f MiB", dir ? dir : "off",
       (long long)json_integer_value(json_object_get(j, "entries")),
       json_number_value(json_object_get(j, "bytes")) / (1 << 20));
  json_decref(j);
  attnc_text_free(text);
}

/* ---- the self-test ---- */

typedef struct SelfTest {
  LoadedSpec spec;
  Device device;
  attnc_context *ctx;
  attnc_plan *plan;
  Tensors host;
  DeviceTensors tensors;
  Execution x;
  Verdict verdict;
} SelfTest;

static attnc_status
self_test_steps(Doctor *d, SelfTest *t, attnc_error *e)
{
  attnc_options o;
  attnc_sizes z = {sizeof z, 1, 2, 1, 100, 100};
  TRY(cli_load_text(d->c, "self-test", self_test_spec, strlen(self_test_spec), &t->spec,
                    NULL, e));
  TRY(cli_open(d->c, &t->device, &t->ctx, &o, e));
  TRY(tensors_new(&t->spec.info, &z, &t->host, e));
  tensors_random(&t->host, 1);
  tensors_poison(&t->host);
  Asked asked;
  cli_problem(&t->spec, &z, &asked);
  TRY(attnc_plan_get(t->ctx, t->spec.spec, &asked.problem, &t->plan, e));
  TRY(device_tensors_new(&t->device, &t->host, &t->tensors, e));
  TRY(device_tensors_upload(&t->tensors, &t->host, e));
  attnc_args args = device_tensors_args(&t->tensors, &t->host);
  TRY(execution_new(&t->device, t->plan, &args, &t->x, e));
  TRY(execute(&t->x, e));
  TRY(device_tensors_download(&t->tensors, &t->host, e));
  TRY(tensors_verify(&t->host, t->spec.spec, &t->verdict, e));
  return verdict_error(&t->verdict, e);
}

static void
tell_self_test(Doctor *d, const SelfTest *t)
{
  json_t *j = json_loads(attnc_plan_json(t->plan), 0, NULL);
  const json_t *s = json_object_get(j, "seconds");
  const char *layer = json_string_value(json_object_get(j, "layer"));
  tell(d, "ok", "self-test",
       "%s on %s: error %.1e, bound %.1e; %s: look-up %.1f ms, compile %.0f ms, load %.1f "
       "ms",
       schedule_text(recipe_schedule(j), d->c->arena), t->device.name,
       t->verdict.of[ATTNC_O].max_error, t->verdict.of[ATTNC_O].bound, layer ? layer : "?",
       json_number_value(json_object_get(s, "lookup")) * 1e3,
       json_number_value(json_object_get(s, "compile")) * 1e3,
       json_number_value(json_object_get(s, "load")) * 1e3);
  json_decref(j);
}

static void
self_test(Doctor *d)
{
  SelfTest t = {0};
  attnc_error e;
  attnc_status st = self_test_steps(d, &t, &e);
  char *findings = t.device.library ? device_findings(&t.device) : NULL;
  if (findings && st == ATTNC_OK)
    st = err_set(&e, ATTNC_ERR_CHECK, "%.*s", (int)strcspn(findings, "\n"), findings);
  if (st == ATTNC_OK)
    tell_self_test(d, &t);
  else
    tell(d, "bad", "self-test", "%s", e.message);
  d->code = cli_worse(d->code, err_exit_code(st));
  free(findings);
  execution_free(&t.x);
  attnc_plan_release(t.plan);
  device_tensors_free(&t.tensors);
  tensors_free(&t.host);
  attnc_context_release(t.ctx);
  device_close(&t.device);
  cli_unload(&t.spec);
}

int
cmd_doctor(Cli *c)
{
  Doctor d = {.c = c, .json = json_object(), .table = table_new(c->arena, "lll")};
  about_attnc(&d);
  about_device(&d, "gpu", "cuda");
  about_device(&d, "emulator", "emu");
  about_ptxas(&d);
  about_environment(&d);
  about_cache(&d);
  self_test(&d);
  if (c->json) {
    cli_json(json_pack("{s:s, s:b, s:o}", "schema", "attnc.doctor/1", "ok", d.code == 0,
                       "found", d.json));
    return d.code;
  }
  Str s = str_new(c->arena);
  table_print(d.table, "", &s);
  cli_print(s.p);
  json_decref(d.json);
  return d.code;
}
