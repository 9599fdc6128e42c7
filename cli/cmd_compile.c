/* cmd_compile.c: `attnc compile`: kernels as files, NAME.TARGET.ptx, NAME.TARGET.cubin or
 * both with their recipe NAME.TARGET.json, which attnc_bundle_open launches from. */
#include "cli/assemble.h"
#include "cli/cli.h"
#include "emit/emit_c.h"
#include "cli/files.h"
#include "sass/ptxas.h"

#include "base/err.h"
#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EMIT_TABLE(X) X(PTX, "ptx") X(JSON, "json") X(LL, "ll") X(CUBIN, "cubin") X(C, "c")
typedef enum Emit {
#define X(id, name) EMIT_##id,
  EMIT_TABLE(X)
#undef X
      EMIT_COUNT
} Emit;
static const char *const emit_names[EMIT_COUNT] = {
#define X(id, name) name,
    EMIT_TABLE(X)
#undef X
};

typedef struct Compile {
  Cli *c;
  OutputDir dir;
  bool emit[EMIT_COUNT];
  const char **targets;
  attnc_schedule want;
  bool pinned;
  attnc_compile_options options;
  VEC(const char *) names; /* of specs compiled so far */
  int n_specs;
  Tally tally; /* of the kernels */
  json_t *list;
} Compile;

static attnc_status
read_emit(Compile *k, attnc_error *e)
{
  const char *text = k->c->opt.value[OPT_EMIT];
  char *rest = arena_strdup(k->c->arena, text ? text : "ptx,json"), *part;
  while ((part = strsep(&rest, ",")) != NULL) {
    int i = 0;
    while (i < EMIT_COUNT && !str_eq(part, emit_names[i]))
      i++;
    if (i == EMIT_COUNT) {
      const char *near = str_nearest(part, emit_names, EMIT_COUNT);
      return err_set(e, ATTNC_ERR_USAGE,
                     "--emit: %.40s is not one of ptx,json,ll,cubin,c%s%s%s", part,
                     near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    k->emit[i] = true;
  }
  if (k->emit[EMIT_CUBIN] && !ptxas_find(k->c->arena))
    return err_set(e, ATTNC_ERR_UNSUPPORTED,
                   "--emit cubin: no ptxas on PATH, in $CUDA_HOME/bin or in "
                   "/usr/local/cuda/bin");
  return ATTNC_OK;
}

/* --from=ll|ptx: the last argument is the text to start from. */
static attnc_status
read_from(Compile *k, attnc_error *e)
{
  const char *from = k->c->opt.value[OPT_FROM];
  char *text;
  size_t n;
  k->n_specs = k->c->opt.n_args;
  if (!from)
    return ATTNC_OK;
  if (!str_eq(from, "ll") && !str_eq(from, "ptx"))
    return err_set(e, ATTNC_ERR_USAGE, "--from: %.40s is not one of ll, ptx", from);
  if (k->n_specs != 2 || k->targets[1])
    return err_set(e, ATTNC_ERR_USAGE, "--from=%s takes one spec, its FILE and one target",
                   from);
  k->n_specs = 1;
  TRY(file_read_stream(k->c->opt.args[1], (size_t)64 << 20, &text, &n, e));
  k->options.from = from;
  k->options.text = arena_strndup(k->c->arena, text, n);
  free(text);
  return ATTNC_OK;
}

static attnc_status
prepare(Compile *k, attnc_error *e)
{
  const Options *o = &k->c->opt;
  if (!o->value[OPT_OUTPUT_DIR])
    return err_set(e, ATTNC_ERR_USAGE, "attnc compile needs -o DIR");
  if (!o->value[OPT_ARCH_LIST])
    return err_set(e, ATTNC_ERR_USAGE,
                   "attnc compile needs --arch, as in --arch sm_80,sm_90");
  TRY(cli_targets(k->c, o->value[OPT_ARCH_LIST], &k->targets, e));
  TRY(read_emit(k, e));
  k->options = (attnc_compile_options){.size = sizeof k->options,
                                       .dump = k->emit[EMIT_LL] ? "ll" : NULL,
                                       .ptx_version = o->value[OPT_PTX_VERSION]};
  TRY(read_from(k, e));
  TRY(cli_schedule(k->c, &k->want, &k->pinned, e));
  return output_open(&k->dir, k->c->arena, o->value[OPT_OUTPUT_DIR], e);
}

static attnc_status
write_kernel(Compile *k, const char *base, const KernelFiles *f, const char *ll,
             attnc_error *e)
{
  Arena *a = k->c->arena;
  if (k->emit[EMIT_PTX])
    TRY(output_write(&k->dir, arena_printf(a, "%s.ptx", base), f->ptx, f->ptx_n, e));
  if (k->emit[EMIT_JSON])
    TRY(output_write(&k->dir, arena_printf(a, "%s.json", base), f->json, f->json_n, e));
  if (k->emit[EMIT_LL]) {
    if (!ll)
      return err_set(e, ATTNC_ERR_USAGE, "--emit ll: there is none with --from=ptx");
    TRY(output_write(&k->dir, arena_printf(a, "%s.ll", base), ll, strlen(ll), e));
  }
  if (k->emit[EMIT_CUBIN])
    TRY(output_write(&k->dir, arena_printf(a, "%s.cubin", base), f->cubin, f->cubin_n, e));
  return ATTNC_OK;
}

/* C has the images that are asked for by name beside it, PTX where none is. */
static attnc_status
write_c_kernel(const Compile *k, EmitC *c_file, const KernelFiles *f, attnc_error *e)
{
  const EmitImages images = {.ptx = k->emit[EMIT_PTX] || !f->cubin ? f->ptx : NULL,
                             .cubin = f->cubin,
                             .cubin_n = f->cubin_n};
  return emit_c_kernel(c_file, f->json, &images, e);
}

static void
report(Compile *k, const LoadedSpec *s, const char *target, const attnc_kernel *kernel,
       const attnc_error *e)
{
  json_t *j = json_pack("{s:o, s:s, s:s}", "file", cli_text(s->path), "name", s->info.name,
                        "target", target);
  if (kernel) {
    json_t *recipe = json_loads(attnc_kernel_json(kernel), 0, NULL);
    json_t *schedule = recipe_schedule(recipe);
    size_t n;
    const char *ptx = attnc_kernel_ptx(kernel, &n);
    int lines = 0;
    for (size_t i = 0; i < n; i++)
      lines += ptx[i] == '\n';
    double ms = attnc_kernel_seconds(kernel, "total") * 1e3;
    json_object_set(j, "schedule", schedule);
    json_object_set_new(j, "ptx_lines", json_integer(lines));
    json_object_set_new(j, "compile_ms", json_real(ms));
    if (!k->c->json)
      printf("%s %s  %s  %d lines of PTX  %.0f ms\n", s->info.name, target,
             schedule_text(schedule, k->c->arena), lines, ms);
    json_decref(recipe);
  } else {
    json_object_set_new(j, "error", cli_error_json(e));
    cli_warn(k->c, "%s for %s: %s", s->info.name, target, e->message);
  }
  json_array_append_new(k->list, j);
}

/* A spec that could not be read: the message names the file. */
static void
report_unread(Compile *k, const char *path, const attnc_error *e)
{
  json_array_append_new(
      k->list, json_pack("{s:o, s:o}", "file", cli_text(path), "error", cli_error_json(e)));
  cli_warn(k->c, "%s", e->message);
}

static attnc_status
compile_target(Compile *k, const LoadedSpec *s, const char *target, EmitC *c_file,
               attnc_error *e)
{
  attnc_kernel *kernel;
  Asked asked = {.problem = {.size = sizeof asked.problem, /* open: a default is assumed */
                             .op = s->info.call.op}};
  attnc_sizes z;
  if (options_has(&k->c->opt, OPT_SHAPE)) {
    TRY(cli_sizes(k->c, s, &z, e));
    cli_problem(s, &z, &asked);
  }
  TRY(attnc_compile_with(s->spec, &asked.problem, target, k->pinned ? &k->want : NULL,
                         &k->options, &kernel, e));
  const char *base =
      arena_printf(k->c->arena, "%s.%s", cli_kernel_name(k->c, s, '.'), target);
  KernelFiles f;
  attnc_status st = kernel_files(kernel, target, k->emit[EMIT_CUBIN], k->c->arena, &f, e);
  if (st == ATTNC_OK)
    st = write_kernel(k, base, &f, attnc_kernel_dump(kernel, "ll"), e);
  if (st == ATTNC_OK && k->emit[EMIT_C])
    st = write_c_kernel(k, c_file, &f, e);
  if (st == ATTNC_OK)
    report(k, s, target, kernel, NULL);
  attnc_kernel_release(kernel);
  return st;
}

static attnc_status
write_c(Compile *k, EmitC *c_file, const char *name, attnc_error *e)
{
  Str source = str_new(k->c->arena), header = str_new(k->c->arena);
  emit_c_finish(c_file, &source, &header);
  TRY(output_write(&k->dir, arena_printf(k->c->arena, "%s.c", name), source.p, source.n,
                   e));
  return output_write(&k->dir, arena_printf(k->c->arena, "%s.h", name), header.p, header.n,
                      e);
}

/* Two specs of one name would write the same files. */
static attnc_status
load(Compile *k, const char *path, LoadedSpec *s, attnc_error *e)
{
  TRY(cli_load(k->c, path, s, NULL, e));
  for (int i = 0; i < k->names.n; i++)
    if (str_eq(k->names.at[i], s->info.name))
      return err_set(e, ATTNC_ERR_USAGE, "%.300s: another spec before this is named %s",
                     path, s->info.name);
  *vec_push(k->c->arena, &k->names) = arena_strdup(k->c->arena, s->info.name);
  return ATTNC_OK;
}

static void
compile_spec(Compile *k, const char *path)
{
  LoadedSpec s;
  attnc_error e;
  attnc_status st = load(k, path, &s, &e);
  if (st != ATTNC_OK) {
    cli_unload(&s);
    report_unread(k, path, &e);
    tally_add(&k->tally, err_exit_code(st));
    return;
  }
  EmitC c_file;
  emit_c_start(&c_file, k->c->arena, cli_kernel_name(k->c, &s, '_'));
  for (int i = 0; k->targets[i]; i++) {
    st = compile_target(k, &s, k->targets[i], &c_file, &e);
    if (st != ATTNC_OK)
      report(k, &s, k->targets[i], NULL, &e);
    tally_add(&k->tally, err_exit_code(st));
  }
  if (k->emit[EMIT_C] && c_file.n > 0 &&
      (st = write_c(k, &c_file, cli_kernel_name(k->c, &s, '_'), &e)) != ATTNC_OK) {
    report(k, &s, "c", NULL, &e);
    tally_add(&k->tally, err_exit_code(st));
  }
  cli_unload(&s);
}

static void
print_list(Compile *k)
{
  if (!k->c->json) {
    json_decref(k->list);
    return;
  }
  json_t *files = json_array();
  for (int i = 0; i < k->dir.files.n; i++) {
    const WrittenFile *f = &k->dir.files.at[i];
    json_array_append_new(files,
                          json_pack("{s:s, s:s}", "name", f->name, "sha256", f->hash));
  }
  cli_json(json_pack("{s:s, s:o, s:o, s:o}", "schema", "attnc.compile/1", "directory",
                     cli_text(k->dir.path), "kernels", k->list, "files", files));
}

int
cmd_compile(Cli *c)
{
  Compile k = {.c = c};
  attnc_error e;
  if (prepare(&k, &e) != ATTNC_OK)
    return cli_error(c, &e);
  k.list = json_array();
  for (int i = 0; i < k.n_specs; i++)
    compile_spec(&k, c->opt.args[i]);
  if (k.tally.good > 0 && output_manifest(&k.dir, &e) != ATTNC_OK) {
    json_decref(k.list);
    return cli_error(c, &e);
  }
  print_list(&k);
  return tally_code(&k.tally);
}
