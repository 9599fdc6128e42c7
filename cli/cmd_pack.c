/* cmd_pack.c: `attnc pack`: kernels of many specs and targets in one file (base/pack.h),
 * which attnc_bundle_open and attnc_bundle_open_memory launch from.
 *
 * The same specs, targets, device, assembler and version of attnc give the same bytes: no
 * time, path or order of the command line is in a pack. */
#include "cli/assemble.h"
#include "cli/cli.h"
#include "cli/files.h"
#include "cli/minisign.h"
#include "sass/ptxas.h"

#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- create ---- */

typedef struct Pack {
  Cli *c;
  PackFiles files;
  const char **targets;
  attnc_context *device; /* NULL: for none of its own */
  const char *device_name;
  bool ptx, cubin;
  int kernels;
} Pack;

static attnc_status
read_emit(Pack *p, attnc_error *e)
{
  const char *text = p->c->opt.value[OPT_EMIT_PACK];
  bool assembler = ptxas_find(p->c->arena) != NULL;
  p->ptx = !text;
  p->cubin = !text && assembler;
  char *rest = text ? arena_strdup(p->c->arena, text) : NULL, *part;
  while (rest && (part = strsep(&rest, ",")) != NULL) {
    p->ptx = p->ptx || str_eq(part, "ptx");
    p->cubin = p->cubin || str_eq(part, "cubin");
    if (!str_eq(part, "ptx") && !str_eq(part, "cubin"))
      return err_set(e, ATTNC_ERR_USAGE, "--emit: %.40s is not one of ptx,cubin", part);
  }
  if (p->cubin && !assembler)
    return err_set(e, ATTNC_ERR_UNSUPPORTED, "--emit cubin: no ptxas is found");
  return ATTNC_OK;
}

/* A context of the device that the packs are for. */
static attnc_status
open_device(Pack *p, attnc_error *e)
{
  const char *path = p->c->opt.value[OPT_DEVICE_FILE];
  char *text;
  size_t n;
  if (!path)
    return ATTNC_OK;
  TRY(file_read_stream(path, 1 << 20, &text, &n, e));
  const attnc_options options = {.size = sizeof options, .cache = 1, .device = text};
  attnc_status st = attnc_context_create(&options, &p->device, e);
  json_t *root = json_loads(text, 0, NULL);
  const char *name = json_string_value(json_object_get(root, "name"));
  p->device_name = name ? arena_strdup(p->c->arena, name) : NULL;
  json_decref(root);
  free(text);
  return st;
}

static void
add(Pack *p, const char *name, const void *data, size_t n)
{
  PackFile *f = vec_push(p->c->arena, &p->files);
  char *copy = NEW_N(p->c->arena, char, n + 1);
  memcpy(copy, data, n);
  *f = (PackFile){.name = arena_strdup(p->c->arena, name), .data = copy, .n = n};
}

static bool
has(const Pack *p, const char *name)
{
  for (int i = 0; i < p->files.n; i++)
    if (str_eq(p->files.at[i].name, name))
      return true;
  return false;
}

/* "template=fwd_mma,block_m=64,…" of {"template", …}. */
static const char *
pins(json_t *schedule, Arena *arena)
{
  Str s = str_new(arena);
  const char *key;
  json_t *value;
  json_object_foreach(schedule, key, value)
  {
    str_printf(&s, "%s%s=", s.n ? "," : "", key);
    if (json_is_string(value))
      str_put(&s, json_string_value(value));
    else if (json_is_boolean(value))
      str_put(&s, json_is_true(value) ? "true" : "false");
    else
      str_printf(&s, "%lld", (long long)json_integer_value(value));
  }
  return s.p;
}

/* What `attnc run` on the device would take: the kernel's target is the device's own, or
 * one of which it says that it runs. */
static attnc_status
tuned(Pack *p, const LoadedSpec *s, const Asked *asked, const char *target,
      attnc_schedule *out, attnc_error *e)
{
  char *json = NULL;
  TRY(attnc_key_explain(p->device, s->spec, &asked->problem, NULL, &json, e));
  json_t *root = json_loads(json, 0, NULL);
  const char *own =
      json_string_value(json_object_get(json_object_get(root, "fields"), "target"));
  attnc_status st = ATTNC_OK;
  *out = (attnc_schedule){.size = sizeof *out};
  if (own && str_eq(own, target))
    st = schedule_parse(pins(json_object_get(root, "schedule"), p->c->arena), p->c->arena,
                        out, e);
  json_decref(root);
  attnc_text_free(json);
  return st;
}

static attnc_status
pack_kernel(Pack *p, const LoadedSpec *s, const char *target, attnc_error *e)
{
  Arena *a = p->c->arena;
  attnc_kernel *kernel;
  attnc_schedule want = {.size = sizeof want};
  KernelFiles f;
  attnc_sizes z;
  Asked asked = {.problem = {.size = sizeof asked.problem, /* open: a default is assumed */
                             .op = s->info.call.op}};
  if (options_has(&p->c->opt, OPT_SHAPE)) {
    TRY(cli_sizes(p->c, s, &z, e));
    cli_problem(s, &z, &asked);
  }
  if (p->device)
    TRY(tuned(p, s, &asked, target, &want, e));
  TRY(attnc_compile_with(s->spec, &asked.problem, target, p->device ? &want : NULL, NULL,
                         &kernel, e));
  const char *base = arena_printf(a, "%s.%s", cli_kernel_name(p->c, s, '.'), target);
  attnc_status st = kernel_files(kernel, target, p->cubin, a, &f, e);
  if (st == ATTNC_OK) {
    add(p, arena_printf(a, "%s.json", base), f.json, f.json_n);
    if (p->ptx)
      add(p, arena_printf(a, "%s.ptx", base), f.ptx, f.ptx_n);
    if (p->cubin)
      add(p, arena_printf(a, "%s.cubin", base), f.cubin, f.cubin_n);
    p->kernels++;
  }
  attnc_kernel_release(kernel);
  return st;
}

static attnc_status
pack_spec(Pack *p, const char *path, attnc_error *e)
{
  LoadedSpec s;
  attnc_status st = cli_load(p->c, path, &s, NULL, e);
  for (int i = 0; st == ATTNC_OK && p->targets[i]; i++) {
    if (has(p, arena_printf(p->c->arena, "%s.%s.json", cli_kernel_name(p->c, &s, '.'),
                            p->targets[i])))
      st = err_set(e, ATTNC_ERR_USAGE, "%.300s: another spec before this is named %s", path,
                   s.info.name);
    else
      st = pack_kernel(p, &s, p->targets[i], e);
  }
  cli_unload(&s);
  return st;
}

/* What its tuning tables know of the device. */
static attnc_status
pack_table(Pack *p, attnc_error *e)
{
  const attnc_tune_filter of = {.size = sizeof of, .device = p->device_name};
  char *lines;
  TRY(attnc_tune_export(p->device, &of, &lines, e));
  if (*lines)
    add(p, "tune.jsonl", lines, strlen(lines));
  attnc_text_free(lines);
  return ATTNC_OK;
}

/* Everything that goes into the pack. */
static attnc_status
collect(Pack *p, attnc_error *e)
{
  const Options *o = &p->c->opt;
  TRY(cli_targets(p->c, o->value[OPT_ARCH_LIST], &p->targets, e));
  TRY(read_emit(p, e));
  TRY(open_device(p, e));
  for (int i = 1; i < o->n_args; i++)
    TRY(pack_spec(p, o->args[i], e));
  return p->device ? pack_table(p, e) : ATTNC_OK;
}

static attnc_status
create(Pack *p, attnc_error *e)
{
  const Options *o = &p->c->opt;
  char *bytes;
  size_t n;
  if (!o->value[OPT_OUTPUT_PACK] || !o->value[OPT_ARCH_LIST])
    return err_set(e, ATTNC_ERR_USAGE, "attnc pack create needs --arch and -o PACK");
  attnc_status st = collect(p, e);
  attnc_context_release(p->device);
  if (st != ATTNC_OK)
    return st;
  TRY(pack_write(&p->files, p->c->arena, &bytes, &n, e));
  TRY(file_write(o->value[OPT_OUTPUT_PACK], bytes, n, e));
  char hash[65];
  sha256_hex(bytes, n, hash);
  if (p->c->json)
    cli_json(json_pack("{s:s, s:o, s:i, s:i, s:I, s:s}", "schema", "attnc.pack/1", "pack",
                       cli_text(o->value[OPT_OUTPUT_PACK]), "kernels", p->kernels, "files",
                       p->files.n, "bytes", (json_int_t)n, "sha256", hash));
  else
    printf("%s: %d kernels in %d files, %zu bytes, sha256 %s\n", o->value[OPT_OUTPUT_PACK],
           p->kernels, p->files.n, n, hash);
  return ATTNC_OK;
}

/* ---- verify, ls, unpack ---- */

/* The pack of the command line, whole, in the arena. */
static attnc_status
open_pack(Pack *p, const char **bytes, size_t *n, attnc_error *e)
{
  const char *path = p->c->opt.args[1];
  char *text;
  if (p->c->opt.n_args != 2)
    return err_set(e, ATTNC_ERR_USAGE, "attnc pack %s takes one pack", p->c->opt.args[0]);
  TRY(file_read(path, PACK_MOST, &text, n, e));
  char *copy = NEW_N(p->c->arena, char, *n + 1);
  memcpy(copy, text, *n);
  free(text);
  *bytes = copy;
  return pack_read(copy, *n, path, p->c->arena, &p->files, e);
}

static attnc_status
check_signature(Pack *p, const char *bytes, size_t n, const char **comment, attnc_error *e)
{
  const Options *o = &p->c->opt;
  const char *key = o->value[OPT_PUBLIC_KEY], *signature = o->value[OPT_SIGNATURE];
  *comment = NULL;
  if (!key && signature)
    return err_set(e, ATTNC_ERR_USAGE, "--signature needs --public-key");
  if (!key)
    return ATTNC_OK;
  if (!signature)
    signature = arena_printf(p->c->arena, "%s.minisig", o->args[1]);
  return minisign_check(key, signature, bytes, n, p->c->arena, comment, e);
}

static attnc_status
verify(Pack *p, attnc_error *e)
{
  const char *bytes, *comment;
  char hash[65];
  size_t n;
  TRY(open_pack(p, &bytes, &n, e));
  for (int i = 0; i < p->files.n; i++) {
    const PackFile *f = &p->files.at[i];
    sha256_hex(f->data, f->n, hash);
    if (!str_eq(hash, f->hash))
      return err_set(e, ATTNC_ERR_CHECK, "%s: %s is not what its list says",
                     p->c->opt.args[1], f->name);
  }
  TRY(check_signature(p, bytes, n, &comment, e));
  if (p->c->json)
    cli_json(json_pack("{s:s, s:o, s:i, s:b, s:o}", "schema", "attnc.pack/1", "pack",
                       cli_text(p->c->opt.args[1]), "files", p->files.n, "signed",
                       comment != NULL, "comment", cli_text(comment)));
  else
    printf("%s: %d files as listed%s%s\n", p->c->opt.args[1], p->files.n,
           comment ? "; signed: " : "", comment ? comment : "");
  return ATTNC_OK;
}

static attnc_status
list(Pack *p, attnc_error *e)
{
  const char *bytes;
  size_t n;
  TRY(open_pack(p, &bytes, &n, e));
  json_t *rows = json_array();
  for (int i = 0; i < p->files.n; i++) {
    const PackFile *f = &p->files.at[i];
    json_array_append_new(rows, json_pack("{s:s, s:I, s:s}", "name", f->name, "bytes",
                                          (json_int_t)f->n, "sha256", f->hash));
    if (!p->c->json)
      printf("%s %9zu  %s\n", f->hash, f->n, f->name);
  }
  if (p->c->json)
    cli_json(json_pack("{s:s, s:o}", "schema", "attnc.pack/1", "files", rows));
  else
    json_decref(rows);
  return ATTNC_OK;
}

static attnc_status
unpack(Pack *p, attnc_error *e)
{
  const char *bytes, *dir = p->c->opt.value[OPT_OUTPUT_PACK];
  OutputDir out;
  size_t n;
  if (!dir)
    return err_set(e, ATTNC_ERR_USAGE, "attnc pack unpack needs -o DIR");
  TRY(open_pack(p, &bytes, &n, e));
  TRY(output_open(&out, p->c->arena, dir, e));
  for (int i = 0; i < p->files.n; i++)
    TRY(output_write(&out, p->files.at[i].name, p->files.at[i].data, p->files.at[i].n, e));
  TRY(output_manifest(&out, e));
  if (p->c->json)
    return list(p, e);
  printf("%s: %d files in %s\n", p->c->opt.args[1], p->files.n, dir);
  return ATTNC_OK;
}

int
cmd_pack(Cli *c)
{
  static const struct {
    const char *word;
    attnc_status (*run)(Pack *, attnc_error *);
  } words[] = {{"create", create}, {"verify", verify}, {"ls", list}, {"unpack", unpack}};
  Pack p = {.c = c};
  attnc_error e;
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (str_eq(c->opt.args[0], words[i].word) && words[i].run(&p, &e) != ATTNC_OK)
      return cli_error(c, &e);
  return 0;
}
