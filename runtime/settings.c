#include "runtime/settings.h"

#include "base/env.h"
#include "base/call.h"
#include "base/err.h"
#include "base/str.h"

#include <dlfcn.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static attnc_status
no_memory(attnc_error *e)
{
  return err_set(e, ATTNC_ERR_NOMEM, "attnc_context_create: out of memory");
}

/* NULL stays NULL. */
static attnc_status
copy(Arena *arena, const char *from, const char **to, attnc_error *e)
{
  *to = from ? arena_strdup(arena, from) : NULL;
  return from && !*to ? no_memory(e) : ATTNC_OK;
}

bool
settings_size(const char *text, uint64_t *bytes)
{
  static const char suffixes[] = "KMGT";
  char *end;
  errno = 0;
  unsigned long long n = strtoull(text, &end, 10);
  if (end == text || errno || *text < '0' || *text > '9')
    return false;
  const char *suffix = *end ? strchr(suffixes, *end) : NULL;
  if (*end && (!suffix || (end[1] && !str_eq(end + 1, "B") && !str_eq(end + 1, "iB"))))
    return false;
  *bytes = n;
  for (const char *s = suffixes; suffix && s <= suffix; s++)
    if (__builtin_mul_overflow(*bytes, 1024u, bytes))
      return false;
  return true;
}

/* ---- directories ---- */

/* $XDG/attnc…, else $HOME/fallback/attnc…; NULL where neither is set.  XDG Base Directory
 * Specification: a relative path there is ignored. */
static attnc_status
user_dir(Arena *arena, const char *xdg, const char *fallback, const char *leaf,
         const char **out, attnc_error *e)
{
  const char *base = secure_getenv(xdg), *home = secure_getenv("HOME");
  *out = NULL;
  if (base && *base == '/')
    *out = arena_printf(arena, "%s/%s", base, leaf);
  else if (home && *home == '/')
    *out = arena_printf(arena, "%s/%s/%s", home, fallback, leaf);
  else
    return ATTNC_OK;
  return *out ? ATTNC_OK : no_memory(e);
}

/* share/attnc/tune of the prefix that the library is installed in, under lib or
 * lib/<machine>; NULL where it is not. */
static attnc_status
shared_tables(Arena *arena, const char **out, attnc_error *e)
{
  static const char *const above[] = {"..", "../.."};
  Dl_info info;
  *out = NULL;
  if (!dladdr(&env_table, &info) || !info.dli_fname)
    return ATTNC_OK;
  const char *slash = strrchr(info.dli_fname, '/');
  int dir = slash ? (int)(slash + 1 - info.dli_fname) : 0;
  for (size_t i = 0; i < sizeof above / sizeof *above; i++) {
    const char *path =
        arena_printf(arena, "%.*s%s/share/attnc/tune", dir, info.dli_fname, above[i]);
    if (!path)
      return no_memory(e);
    if (access(path, R_OK) == 0) {
      *out = path;
      break;
    }
  }
  return ATTNC_OK;
}

static attnc_status
tune_dir(attnc_context *c, const attnc_options *o, attnc_error *e)
{
  const char *dir = o->tune_dir ? o->tune_dir : env_get(ENV_TUNE_DIR);
  return dir ? copy(c->arena, dir, &c->tune_dir, e)
             : user_dir(c->arena, "XDG_DATA_HOME", ".local/share", "attnc/tune",
                        &c->tune_dir, e);
}

/* The tables that came with the library, and the one that stands for all. */
static attnc_status
tune_layers_of(attnc_context *c, const attnc_options *o, attnc_error *e)
{
  const char *table = o->tune_table ? o->tune_table : env_get(ENV_TUNE_TABLE);
  const char *readonly = o->tune_readonly ? o->tune_readonly : env_get(ENV_TUNE_READONLY);
  TRY(copy(c->arena, table, &c->tune_table, e));
  if (!readonly)
    return shared_tables(c->arena, &c->tune_readonly, e);
  return copy(c->arena, readonly, &c->tune_readonly, e);
}

/* ---- the cache ---- */

static attnc_status
cache_mode_of(const attnc_options *o, CacheMode *out, attnc_error *e)
{
  static const struct {
    const char *text;
    CacheMode mode;
  } modes[] = {{"0", CACHE_OFF},
               {"off", CACHE_OFF},
               {"ro", CACHE_READ},
               {"rw", CACHE_WRITE},
               {"1", CACHE_WRITE}};
  const char *text = env_get(ENV_CACHE);
  if (o->cache < 0 || o->cache > 3)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_options.cache: %d is not 0 to 3", o->cache);
  *out = o->cache ? (CacheMode)(o->cache - 1) : CACHE_WRITE;
  if (o->cache || !text)
    return ATTNC_OK;
  for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
    if (str_eq(text, modes[i].text)) {
      *out = modes[i].mode;
      return ATTNC_OK;
    }
  return err_set(e, ATTNC_ERR_USAGE, "ATTNC_CACHE: '%s' is not 0, ro or rw", text);
}

static attnc_status
zstd_level(int *out, attnc_error *e)
{
  enum { MOST = 19 }; /* those above take more memory than a kernel is worth */
  const char *text = env_get(ENV_CACHE_ZSTD);
  char *end;
  text = text ? text : env_table[ENV_CACHE_ZSTD].initial;
  long level = strtol(text, &end, 10);
  if (end == text || *end || level < 0 || level > MOST)
    return err_set(e, ATTNC_ERR_USAGE, "ATTNC_CACHE_ZSTD: '%s' is not a level of 0 to %d",
                   text, MOST);
  *out = (int)level;
  return ATTNC_OK;
}

static attnc_status
cache_settings(attnc_context *c, const attnc_options *o, CacheConfig *config,
               attnc_error *e)
{
  const char *dir = o->cache_dir ? o->cache_dir : env_get(ENV_CACHE_DIR);
  const char *max = env_get(ENV_CACHE_MAX);
  TRY(cache_mode_of(o, &config->mode, e));
  if (dir)
    TRY(copy(c->arena, dir, &config->dir, e));
  else
    TRY(user_dir(c->arena, "XDG_CACHE_HOME", ".cache", "attnc", &config->dir, e));
  if (!config->dir) { /* no home: in memory only */
    config->dir = "";
    config->mode = CACHE_OFF;
  }
  TRY(copy(c->arena, env_get(ENV_CACHE_READONLY), &config->readonly, e));
  if (!max)
    max = env_table[ENV_CACHE_MAX].initial;
  if (!settings_size(max, &config->max_bytes))
    return err_set(e, ATTNC_ERR_USAGE, "ATTNC_CACHE_MAX_SIZE: '%s' is not a size like 2G",
                   max);
  TRY(zstd_level(&config->level, e));
  config->log = o->log;
  config->log_user = o->log_user;
  return ATTNC_OK;
}

/* ---- a device that is elsewhere ---- */

static int
number_of(const json_t *o, const char *key)
{
  return (int)json_integer_value(json_object_get(o, key));
}

static attnc_status
elsewhere(attnc_context *c, const char *text, attnc_error *e)
{
  json_t *root = text ? json_loads(text, 0, NULL) : NULL;
  const char *schema = json_string_value(json_object_get(root, "schema"));
  const char *name = json_string_value(json_object_get(root, "name"));
  Device *device = NEW(c->arena, Device);
  Driver *drv = NEW(c->arena, Driver);
  bool good = schema && str_eq(schema, "attnc.device/1") && name && device && drv;
  if (good) {
    snprintf(device->name, sizeof device->name, "%s", name);
    device->cc = number_of(root, "capability");
    device->sms = number_of(root, "multiprocessors");
    drv->path = "the driver of another machine";
    drv->version = number_of(root, "driver");
    drv->emulated = json_is_true(json_object_get(root, "emulated"));
    c->elsewhere = device;
    c->elsewhere_drv = drv;
  }
  json_decref(root);
  return good || !text ? ATTNC_OK
                       : err_set(e, ATTNC_ERR_USAGE,
                                 "attnc_options.device: not what attnc device dump prints");
}

/* ---- assemblers ---- */

static attnc_status
assemblers(attnc_context *c, const attnc_options *o, attnc_error *e)
{
  const char *text = o->assembler ? o->assembler : env_get(ENV_ASSEMBLER), *bad;
  int n;
  c->n_assemblers = assemblers_read(text ? text : env_table[ENV_ASSEMBLER].initial,
                                    c->assemblers, &bad, &n);
  if (c->n_assemblers >= 0)
    return ATTNC_OK;
  c->n_assemblers = 0;
  return err_set(e, ATTNC_ERR_USAGE,
                 "%s: '%.*s' is not one of driver, nvjitlink, ptxas and none",
                 o->assembler ? "attnc_options.assembler" : "ATTNC_ASSEMBLER", n, bad);
}

/* ---- compile options ---- */

static attnc_status
compile_options(attnc_context *c, const attnc_compile_options *theirs, attnc_error *e)
{
  attnc_compile_options from = {.size = sizeof from}, own = from;
  const char *dump = env_get(ENV_DUMP);
  if (theirs)
    TRY(compile_options_take(&from, theirs, e));
  if (!theirs && !dump)
    return ATTNC_OK;
  attnc_compile_options *to = NEW(c->arena, attnc_compile_options);
  if (!to)
    return no_memory(e);
  TRY(copy(c->arena, from.dump ? from.dump : dump, &own.dump, e));
  TRY(copy(c->arena, from.from, &own.from, e));
  TRY(copy(c->arena, from.text, &own.text, e));
  TRY(copy(c->arena, from.ptx_version, &own.ptx_version, e));
  *to = own;
  c->compile = to;
  c->dumps = own.dump != NULL;
  if (!dump)
    return ATTNC_OK;
  const char *dir = env_get(ENV_DUMP_DIR);
  return copy(c->arena, dir ? dir : env_table[ENV_DUMP_DIR].initial, &c->dump_dir, e);
}

/* ---- where kernels are compiled ---- */

static attnc_status
compile_where(attnc_context *c, const attnc_options *o, attnc_error *e)
{
  const char *program = o->cc ? o->cc : env_get(ENV_CC);
  const char *limits = o->cc_limits ? o->cc_limits : env_get(ENV_CC_LIMITS);
  TRY(cc_limits_read(limits, &c->cc_limits, e));
  if (!program || str_eq(program, "0"))
    return ATTNC_OK;
  if (!str_eq(program, "1") && !strchr(program, '/'))
    return err_set(e, ATTNC_ERR_USAGE,
                   "ATTNC_CC, attnc_options.cc: '%.100s' is not 0, 1 or a path", program);
  return copy(c->arena, program, &c->cc_program, e);
}

attnc_status
settings_read(attnc_context *c, const attnc_options *o, CacheConfig *config, attnc_error *e)
{
  c->log = o->log;
  c->log_user = o->log_user;
  TRY(copy(c->arena, o->libcuda, &c->libcuda, e));
  TRY(copy(c->arena, o->target, &c->target, e));
  TRY(elsewhere(c, o->device, e));
  TRY(assemblers(c, o, e));
  TRY(trace_open(env_get(ENV_TRACE), &c->trace, e));
  TRY(copy(c->arena, env_get(ENV_LOAD_PTX), &c->load_ptx, e));
  TRY(tune_dir(c, o, e));
  TRY(tune_layers_of(c, o, e));
  TRY(compile_options(c, o->compile, e));
  TRY(compile_where(c, o, e));
  return cache_settings(c, o, config, e);
}
