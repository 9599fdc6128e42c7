/* load.c: specs, sizes and contexts, as most commands need them. */
#include "cli/cli.h"

#include "base/err.h"
#include "base/file.h"
#include "harness/append.h"
#include "harness/seqlens.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_SPEC_BYTES = 4 << 20, MAX_SHAPES_BYTES = 1 << 20 };

/* ---- diagnostics ---- */

json_t *
cli_diags_json(const attnc_diags *diags)
{
  json_t *list = json_array();
  for (size_t i = 0; i < attnc_diags_count(diags); i++) {
    const attnc_diag *d = attnc_diags_get(diags, i);
    char code[16];
    snprintf(code, sizeof code, "A%04d", d->code);
    json_t *j =
        json_pack("{s:s, s:s, s:o, s:i, s:i, s:i}", "level", d->error ? "error" : "warning",
                  "code", code, "file", cli_text(d->file), "line", d->line, "column",
                  d->col, "width", d->width);
    json_object_set_new(j, "message", cli_text(d->message));
    if (d->help)
      json_object_set_new(j, "help", cli_text(d->help));
    json_array_append_new(list, j);
  }
  return list;
}

void
cli_diags_print(const Cli *c, const attnc_diags *diags)
{
  size_t n = attnc_diags_format(diags, c->color, NULL, 0);
  char *text = arena_alloc(c->arena, n + 1);
  attnc_diags_format(diags, c->color, text, n + 1);
  fputs(text, stderr);
}

/* ---- what is known of a spec: a reader a type of the field table ---- */

static void
read_text(const json_t *j, Arena *arena, const char **out)
{
  *out = arena_strdup(arena, json_is_string(j) ? json_string_value(j) : "");
}

static void
read_words(const json_t *j, Arena *arena, const char *out[ATTNC_SLOT_COUNT])
{
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    read_text(json_object_get(j, tensor_info[i].name), arena, &out[i]);
}

static void
read_window(const json_t *j, int64_t out[2])
{
  for (size_t i = 0; i < 2; i++)
    out[i] = json_integer_value(json_array_get(j, i));
}

#define READ_VERSION(value, key)
#define READ_NAME(value, key)    read_text(value, c->arena, &info->key);
#define READ_TEXT(value, key)    read_text(value, c->arena, &info->key);
#define READ_ENUM(value, key)    read_text(value, c->arena, &info->key);
#define READ_DTYPES(value, key)  read_words(value, c->arena, info->key);
#define READ_LAYOUTS(value, key) read_words(value, c->arena, info->key);
#define READ_INT(value, key)     info->key = (int)json_integer_value(value);
#define READ_BOOL(value, key)    info->key = json_is_true(value);
#define READ_WINDOW(value, key)  read_window(value, info->key);
#define READ_SCALE(value, key)                                                             \
  info->key = json_is_number(value) ? json_number_value(value) : NAN;
#define READ_NAMES(value, key)
#define READ_PINS(value, key)
#define READ_EXPRS(value, key)
#define READ_TABLES(value, key)
#define READ_BIAS(value, key)
#define READ_SWITCH(value, key)
#define READ_BLOCKS(value, key)
#define READ_ROPE(value, key)
#define READ_SCALARS(value, key)
#define READ_TENSORS(value, key)
#define READ_GRADS(value, key)

/* --op, by its name. */
static attnc_status
asked_op(const Cli *c, int *op, attnc_error *e)
{
  const char *name = c->opt.value[OPT_OP];
  *op = ATTNC_OP_FWD;
  for (int i = 0; name && i < ATTNC_OP_COUNT; i++)
    if (str_eq(name, op_words[i])) {
      *op = i;
      return ATTNC_OK;
    }
  return name ? err_set(e, ATTNC_ERR_USAGE, "--op: there is no op %.40s", name) : ATTNC_OK;
}

static attnc_status
spec_info(const Cli *c, const attnc_spec *spec, SpecInfo *info, attnc_error *e)
{
  json_t *j = json_loads(attnc_spec_json(spec), 0, NULL);
  if (!j)
    return err_set(e, ATTNC_ERR_INTERNAL, "attnc_spec_json: not JSON");
#define SPEC_FIELD(key, type, ...) READ_##type(json_object_get(j, #key), key)
#include "compiler/spec/spec_fields.def"
#undef SPEC_FIELD
  json_decref(j);
  int op;
  TRY(asked_op(c, &op, e));
  return signature_read(spec, op, c->arena, &info->call, e);
}

/* ---- loading ---- */

static attnc_status
parse_spec(const Cli *c, const char *name, const char *text, size_t n, attnc_spec **out,
           json_t **diags_json, attnc_error *e)
{
  attnc_diags *diags;
  attnc_status st = attnc_diags_create(&diags);
  if (st != ATTNC_OK)
    return err_set(e, st, "out of memory");
  st = attnc_spec_load(text, n, str_eq(name, "-") ? "<stdin>" : name, out, diags);
  cli_diags_print(c, diags);
  if (diags_json)
    *diags_json = cli_diags_json(diags);
  if (st != ATTNC_OK)
    err_set(e, st, "%.300s: %s", name, attnc_status_string(st));
  attnc_diags_release(diags);
  return st;
}

attnc_status
cli_load_text(const Cli *c, const char *name, const char *text, size_t n, LoadedSpec *out,
              json_t **diags, attnc_error *e)
{
  *out = (LoadedSpec){.path = name};
  TRY(parse_spec(c, name, text, n, &out->spec, diags, e));
  return spec_info(c, out->spec, &out->info, e);
}

attnc_status
cli_load(const Cli *c, const char *path, LoadedSpec *out, json_t **diags, attnc_error *e)
{
  char *text;
  size_t n;
  *out = (LoadedSpec){.path = path};
  if (diags)
    *diags = NULL;
  TRY(file_read_stream(path, MAX_SPEC_BYTES, &text, &n, e));
  attnc_status st = cli_load_text(c, path, text, n, out, diags, e);
  free(text);
  return st;
}

void
cli_unload(LoadedSpec *s)
{
  attnc_spec_release(s->spec);
  s->spec = NULL;
}

/* ---- sizes ---- */

/* The line of shapes.txt beside the spec, NULL if there is none; a file that is there but
 * cannot be read is an error. */
static attnc_status
shape_beside(const Cli *c, const LoadedSpec *s, const char **shape, attnc_error *e)
{
  const char *slash = strrchr(s->path, '/');
  int dir = slash ? (int)(slash + 1 - s->path) : 0;
  const char *path = arena_printf(c->arena, "%.*sshapes.txt", dir, s->path);
  char *text;
  size_t n;
  *shape = NULL;
  if (str_eq(s->path, "-") || access(path, F_OK) != 0)
    return ATTNC_OK;
  TRY(file_read(path, MAX_SHAPES_BYTES, &text, &n, e));
  *shape = problem_of(text, s->info.name, c->arena);
  free(text);
  return ATTNC_OK;
}

/* A problem may say again what the spec says, and must then say the same. */
static attnc_status
check_agreement(const Problem *p, const SpecInfo *s, attnc_error *e)
{
  if (p->dtype[0] && !str_eq(p->dtype, s->dtype[0]))
    return err_set(e, ATTNC_ERR_USAGE, "the shape says %s, %s is %s", p->dtype, s->name,
                   s->dtype[0]);
  if (p->head_dim && (p->head_dim != s->head_dim || p->head_dim_v != s->head_dim_v))
    return err_set(e, ATTNC_ERR_USAGE, "the shape says head_dim %d/%d, %s has %d/%d",
                   p->head_dim, p->head_dim_v, s->name, s->head_dim, s->head_dim_v);
  if (p->causal && (p->causal == 2) != s->causal)
    return err_set(e, ATTNC_ERR_USAGE, "the shape says %s, %s is %s",
                   p->causal == 2 ? "causal" : "full", s->name,
                   s->causal ? "causal" : "not causal");
  if (p->top_left && !str_eq(s->align, "top_left"))
    return err_set(e, ATTNC_ERR_USAGE,
                   "the shape says top_left, %s is aligned bottom_right", s->name);
  if (p->has_window && (p->window[0] != s->window[0] || p->window[1] != s->window[1]))
    return err_set(e, ATTNC_ERR_USAGE, "the shape's window is not that of %s", s->name);
  return ATTNC_OK;
}

/* Lengths are the shape, or fit into one that was given. */
static attnc_status
take_seqlens(const Cli *c, const CallInfo *call, attnc_sizes *z, attnc_error *e)
{
  const char *text = c->opt.value[OPT_SEQLENS];
  attnc_sizes own = *z;
  if (text) {
    TRY(seqlens_check(call, text, e));
    seqlens_shape(text, &own);
    if (c->opt.value[OPT_SHAPE] && (own.b != z->b || own.sq > z->sq || own.sk > z->sk))
      return err_set(e, ATTNC_ERR_SHAPE,
                     "seqlens: %lld sequences of up to %lld queries and %lld keys do not "
                     "fit the shape",
                     (long long)own.b, (long long)own.sq, (long long)own.sk);
    if (!c->opt.value[OPT_SHAPE])
      *z = own;
  }
  seqlens_sizes(call, text, z);
  return ATTNC_OK;
}

attnc_status
cli_sizes(const Cli *c, const LoadedSpec *s, attnc_sizes *out, attnc_error *e)
{
  return cli_sizes_of(c, s, c->opt.value[OPT_SHAPE], out, e);
}

/* Of an op's call: a spec's own sizes are those of all its ops. */
static void
leave_out_others(const CallInfo *call, attnc_sizes *z)
{
  for (int id = SIZE_SK + 1; id < SIZE_COUNT; id++) {
    bool had = false;
    for (int i = 0; i < call->n_slots && !had; i++)
      had = call->at[i].t.name && size_is_had(&call->at[i].t, 1, (SizeId)id);
    if (!had)
      size_set(z, (SizeId)id, 0);
  }
}

attnc_status
cli_sizes_of(const Cli *c, const LoadedSpec *s, const char *shape, attnc_sizes *out,
             attnc_error *e)
{
  Problem p = {
      .sizes = {.size = sizeof p.sizes, .b = 1, .h = 8, .hk = 0, .sq = 256, .sk = 256}};
  const char *line;
  int group = s->info.group_size;
  if (group > 8)
    p.sizes.h = group;
  TRY(shape_beside(c, s, &line, e));
  if (line)
    TRY(problem_parse(line, &p, e));
  leave_out_others(&s->info.call, &p.sizes);
  if (shape)
    TRY(problem_parse(shape, &p, e));
  TRY(check_agreement(&p, &s->info, e));
  if (!p.sizes.hk)
    p.sizes.hk = group && p.sizes.h % group == 0 ? p.sizes.h / group : p.sizes.h;
  if (p.sizes.h % p.sizes.hk)
    return err_set(e, ATTNC_ERR_SHAPE, "h is %lld, not a multiple of hk, %lld",
                   (long long)p.sizes.h, (long long)p.sizes.hk);
  *out = p.sizes;
  append_sizes(&s->info.call, out);
  return seqlens_leave_open(&s->info.call) || c->opt.value[OPT_SEQLENS]
             ? take_seqlens(c, &s->info.call, out, e)
             : ATTNC_OK;
}

const char *
cli_kernel_name(const Cli *c, const LoadedSpec *s, char dot)
{
  int op = s->info.call.op;
  return op == ATTNC_OP_FWD
             ? s->info.name
             : arena_printf(c->arena, "%s%c%s", s->info.name, dot, op_words[op]);
}

void
cli_problem(const LoadedSpec *s, const attnc_sizes *z, Asked *a)
{
  *a = (Asked){.sizes = *z};
  a->problem = (attnc_problem){.size = sizeof a->problem,
                               .op = s->info.call.op,
                               .sizes = &a->sizes,
                               .tensors = a->tensors,
                               .tensor_size = sizeof *a->tensors,
                               .n_tensors = (uint32_t)s->info.call.n_slots};
  for (int slot = 0; slot < s->info.call.n_slots; slot++)
    signature_pack(&s->info.call.at[slot], z, a->tensors[slot].stride);
}

void
cli_assume(const Cli *c, Asked *a)
{
  const char *text = c->opt.value[OPT_SEQLENS];
  if (text)
    seqlens_means(text, &a->problem.mean_q, &a->problem.mean_k);
}

/* ---- contexts ---- */

/* May be called from a thread of the library. */
static void
log_line(void *user, int level, const char *message)
{
  const Cli *c = user;
  if (level <= c->log)
    cli_note(c, "%s", message);
}

attnc_status
cli_open(const Cli *c, Device *d, attnc_context **ctx, attnc_options *o, attnc_error *e)
{
  const char *arch = c->opt.value[OPT_ARCH];
  if (arch)
    TRY(attnc_target_check(arch, e));
  TRY(device_open(d, c->opt.value[OPT_DEVICE], arch, e));
  *o = (attnc_options){.size = sizeof *o, .libcuda = d->path, .target = arch};
  if (options_has(&c->opt, OPT_NO_CACHE))
    o->cache = 1;
  o->log = log_line;
  o->log_user = (void *)(uintptr_t)c;
  attnc_status st = attnc_context_create(o, ctx, e);
  if (st != ATTNC_OK) {
    device_close(d);
    return st;
  }
  cli_note(c, "device: %s (%s, sm_%d)", d->name, d->emulated ? "emulated" : "GPU", d->cc);
  return ATTNC_OK;
}

attnc_status
cli_plan_key(const Cli *c, const LoadedSpec *s, const attnc_sizes *z,
             const attnc_schedule *want, char **json, attnc_error *e)
{
  const char *arch = c->opt.value[OPT_ARCH];
  attnc_options o = {.size = sizeof o, .target = arch, .cache = 1};
  attnc_context *ctx;
  Device d;
  Asked asked;
  if (arch)
    TRY(attnc_target_check(arch, e));
  cli_problem(s, z, &asked);
  cli_assume(c, &asked);
  attnc_status st = device_open(&d, c->opt.value[OPT_DEVICE], arch, e);
  if (st != ATTNC_OK && c->opt.value[OPT_DEVICE])
    return st;
  if (st == ATTNC_OK)
    o.libcuda = d.path;
  else if (!arch)
    o.target = CLI_TARGET;
  st = attnc_context_create(&o, &ctx, e);
  if (st == ATTNC_OK) {
    st = attnc_key_explain(ctx, s->spec, &asked.problem, want, json, e);
    attnc_context_release(ctx);
  }
  device_close(&d);
  return st;
}
