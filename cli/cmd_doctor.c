/* cmd_doctor.c: `attnc doctor`: what is found on this machine, and a kernel made, launched
 * and verified on it. */
#include "cli/cli.h"
#include "cli/table.h"

#include "base/env.h"
#include "base/err.h"
#include "harness/execute.h"
#include "sass/ptxas.h"

#include "code_id.h"

#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
  json_object_set_new(d->json, name,
                      json_pack("{s:s, s:o}", "state", mark, "text", cli_text(text)));
}

/* The exit code is that of the first fault. */
static void
fail(Doctor *d, attnc_status st)
{
  if (!d->code)
    d->code = err_exit_code(st);
}

static void
about_attnc(Doctor *d)
{
  int v = attnc_version();
  tell(d, "ok", "attnc", "%d.%d.%d, code %.12s, built with LLVM %s", v / 10000,
       v / 100 % 100, v % 100, ATTNC_CODE_ID, ATTNC_LLVM_VERSION);
}

/* Not there is no fault; there and not to be used is one. */
static void
about_device(Doctor *d, const char *name, const char *which)
{
  Device dev;
  attnc_error e;
  attnc_status st = device_open(&dev, which, NULL, &e);
  if (st != ATTNC_OK) {
    bool none = st == ATTNC_ERR_NO_DEVICE;
    tell(d, none ? "no" : "bad", name, "%s", e.message);
    fail(d, none ? ATTNC_OK : st);
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

/* The program of another process to compile in, and whether it is used. */
static void
about_cc(Doctor *d)
{
  const char *chosen = env_get(ENV_CC);
  bool used = chosen && !str_eq(chosen, "0");
  attnc_options o = {.size = sizeof o, .cache = 1, .cc = used ? NULL : "1"};
  attnc_context *ctx;
  attnc_error e;
  attnc_status st = attnc_context_create(&o, &ctx, &e);
  if (st != ATTNC_OK) {
    tell(d, used ? "bad" : "no", "attnc-cc", "%s", e.message);
    fail(d, used ? st : ATTNC_OK);
    return;
  }
  json_t *j = json_loads(attnc_context_json(ctx), 0, NULL);
  tell(d, "ok", "attnc-cc", "%s%s", json_string_value(json_object_get(j, "cc")),
       used ? "" : "; not used: kernels are compiled in the process");
  json_decref(j);
  attnc_context_release(ctx);
}

/* What `python3` finds, and which library that loads. */
static void
about_python(Doctor *d)
{
  static const char script[] =
      "exec python3 -c 'import attnc\n"
      "print(attnc.__version__, attnc.__file__, attnc._lib.library()._name, sep=\", \")'";
  char *argv[] = {arena_strdup(d->c->arena, "/bin/sh"), arena_strdup(d->c->arena, "-c"),
                  arena_strdup(d->c->arena, script), NULL};
  const char *log;
  int rc = program_run(argv, d->c->arena, &log);
  size_t n = strlen(log);
  while (n && log[n - 1] == '\n')
    n--;
  const char *line = log + n; /* the last one: an exception's reason */
  while (line > log && line[-1] != '\n')
    line--;
  tell(d, rc ? "no" : "ok", "python", "%.*s", (int)(log + n - line), line);
}

/* ---- libraries ---- */

static int
add_library(struct dl_phdr_info *info, size_t size, void *user)
{
  static const char *const ours[] = {"libattnc", "libLLVM", "libyaml", "libjansson",
                                     "libcuda"};
  const char *slash = strrchr(info->dlpi_name, '/');
  (void)size;
  for (size_t i = 0; slash && i < sizeof ours / sizeof *ours; i++)
    if (str_starts(slash + 1, ours[i]))
      str_printf(user, "%s%s", ((Str *)user)->n ? " " : "", info->dlpi_name);
  return 0;
}

/* Those of attnc's that are loaded, once everything has run that loads one. */
static void
about_libraries(Doctor *d)
{
  Str list = str_new(d->c->arena);
  dl_iterate_phdr(add_library, &list);
  tell(d, "ok", "libraries", "%s", list.n ? list.p : "inside the program");
}

/* ---- the environment and the cache ---- */

static void
about_environment(Doctor *d)
{
  json_t *all = json_object();
  for (int i = 0; i < ENV_COUNT; i++) {
    const char *value = env_get((EnvVar)i), *initial = env_table[i].initial;
    table_cell(d->table, value ? "ok" : "no");
    table_cell(d->table, "%s", env_table[i].name);
    table_cell(d->table, "%s%s",
               value      ? value
               : *initial ? initial
                          : "not set",
               !value && *initial ? " (not set)" : "");
    json_object_set_new(
        all, env_table[i].name,
        json_pack("{s:o, s:s}", "value", cli_text(value), "default", initial));
  }
  json_object_set_new(d->json, "variables", all);
}

/* The directory, or the nearest one above it that is there, can be written to. */
static bool
writable(const char *dir, Arena *arena)
{
  char *at = arena_strdup(arena, dir), *slash;
  while (access(at, F_OK) != 0 && (slash = strrchr(at, '/')) != NULL && slash > at)
    *slash = 0;
  struct stat st;
  return stat(at, &st) == 0 && S_ISDIR(st.st_mode) && access(at, W_OK | X_OK) == 0;
}

static void
tell_cache(Doctor *d, const json_t *j)
{
  const char *dir = json_string_value(json_object_get(j, "dir"));
  const char *mode = env_get(ENV_CACHE);
  bool written = !mode || str_eq(mode, "rw") || str_eq(mode, "1");
  if (!dir || !*dir) {
    tell(d, "no", "cache", "off");
    return;
  }
  bool bad = written && !writable(dir, d->c->arena);
  tell(d, bad ? "bad" : "ok", "cache", "%s: %lld entries, %.1f MiB%s", dir,
       (long long)json_integer_value(json_object_get(j, "entries")),
       json_number_value(json_object_get(j, "bytes")) / (1 << 20),
       bad ? "; it cannot be written to" : "");
  fail(d, bad ? ATTNC_ERR_CACHE : ATTNC_OK);
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
    fail(d, st);
    return;
  }
  json_t *j = json_loads(text, 0, NULL);
  tell_cache(d, j);
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

/* Program and library are of one build? */
static attnc_status
check_code(const SelfTest *t, attnc_error *e)
{
  json_t *j = json_loads(attnc_plan_json(t->plan), 0, NULL);
  const char *id = json_string_value(json_object_get(j, "code_id"));
  attnc_status st = id && str_eq(id, ATTNC_CODE_ID)
                        ? ATTNC_OK
                        : err_set(e, ATTNC_ERR_COMPILE,
                                  "libattnc is of other code, %.12s, than this program",
                                  id ? id : "unknown");
  json_decref(j);
  return st;
}

static attnc_status
self_test_steps(Doctor *d, SelfTest *t, attnc_error *e)
{
  attnc_options o;
  attnc_sizes z = {.size = sizeof z, .b = 1, .h = 2, .hk = 1, .sq = 100, .sk = 100};
  TRY(cli_load_text(d->c, "self-test", self_test_spec, strlen(self_test_spec), &t->spec,
                    NULL, e));
  TRY(cli_open(d->c, &t->device, &t->ctx, &o, e));
  TRY(tensors_new(&t->spec.info.call, &z, &t->host, e));
  TRY(tensors_random(&t->host, 1, e));
  tensors_poison(&t->host);
  Asked asked;
  cli_problem(&t->spec, &z, &asked);
  TRY(attnc_plan_get(t->ctx, t->spec.spec, &asked.problem, &t->plan, e));
  TRY(check_code(t, e));
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
  fail(d, st);
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
  c->opt.value[OPT_NO_CACHE] = ""; /* the self-test compiles, whatever is in a cache */
  about_attnc(&d);
  about_device(&d, "gpu", "cuda");
  about_device(&d, "emulator", "emu");
  about_ptxas(&d);
  about_cc(&d);
  about_python(&d);
  about_cache(&d);
  self_test(&d);
  about_libraries(&d);
  about_environment(&d);
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
