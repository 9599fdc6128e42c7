#include "runtime/context.h"

#include "base/call.h"
#include "base/err.h"
#include "base/fork.h"
#include "runtime/cache_gc.h"
#include "runtime/settings.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
context_log(const attnc_context *c, int level, const char *fmt, ...)
{
  char text[640];
  va_list args;
  if (!c->log)
    return;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  c->log(c->log_user, level, text);
}

/* ---- all contexts, so that a fork finds them whole ---- */

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static attnc_context *all; /* guarded by all_lock */

static void
enlist(attnc_context *c)
{
  pthread_mutex_lock(&all_lock);
  c->next = all;
  all = c;
  pthread_mutex_unlock(&all_lock);
}

static void
delist(const attnc_context *c)
{
  pthread_mutex_lock(&all_lock);
  for (attnc_context **p = &all; *p; p = &(*p)->next)
    if (*p == c) {
      *p = c->next;
      break;
    }
  pthread_mutex_unlock(&all_lock);
}

static void
fork_one(attnc_context *c, ForkStep step)
{
  if (step == FORK_PREPARE)
    pthread_mutex_lock(&c->lock);
  cc_fork(c->cc, step);
  tune_fork(c->table, step);
  memo_fork(c->memo, step);
  flights_fork(c->plans, step);
  flights_fork(c->kernels, step);
  background_fork(c->background, step);
  if (step != FORK_PREPARE)
    pthread_mutex_unlock(&c->lock);
}

static void
on_fork(ForkStep step)
{
  if (step == FORK_PREPARE)
    pthread_mutex_lock(&all_lock);
  for (attnc_context *c = all; c; c = c->next)
    fork_one(c, step);
  if (step != FORK_PREPARE)
    pthread_mutex_unlock(&all_lock);
}
FORK_HANDLER(on_fork);

/* ---- create and release ---- */

static void
retain_plan(void *plan)
{
  attnc_plan_retain(plan);
}

static void
release_plan(void *plan)
{
  attnc_plan_release(plan);
}

static void
retain_entry(void *entry)
{
  entry_retain(entry);
}

static void
release_entry(void *entry)
{
  entry_release(entry);
}

static void
on_table(void *user, const char *message)
{
  context_log(user, 3, "%s", message);
}

static attnc_status
open_table(attnc_context *c, attnc_error *e)
{
  TuneConfig config = {.dir = c->tune_dir,
                       .readonly = c->tune_readonly,
                       .pinned = c->tune_table,
                       .told = {on_table, c}};
  return tune_open(&config, &c->table, e);
}

static attnc_status
open_cc(attnc_context *c, attnc_error *e)
{
  CcConfig config = {.program = c->cc_program,
                     .limits = c->cc_limits,
                     .cache = c->cache,
                     .log = c->log,
                     .log_user = c->log_user,
                     .stats = &c->stats};
  return c->cc_program ? cc_new(&config, &c->cc, e) : ATTNC_OK;
}

static attnc_status
create_here(attnc_context *c, const attnc_options *o, attnc_error *e)
{
  CacheConfig config = {0};
  TRY(settings_read(c, o, &config, e));
  config.stats = &c->stats;
  TRY(cache_open(&config, &c->cache, e));
  TRY(open_table(c, e));
  TRY(open_cc(c, e));
  c->plans = flights_new(KEPT_PLANS, retain_plan, release_plan);
  c->kernels = flights_new(KEPT_KERNELS, retain_entry, release_entry);
  c->background = background_new();
  c->memo = memo_new();
  c->launches = launches_new();
  if (!c->plans || !c->kernels || !c->background || !c->memo || !c->launches)
    return err_set(e, ATTNC_ERR_NOMEM, "attnc_context_create: out of memory");
  return ATTNC_OK;
}

static void
context_free(attnc_context *c)
{
  background_free(c->background);
  memo_free(c->memo);
  flights_free(c->plans);
  flights_free(c->kernels);
  cc_free(c->cc);
  cache_close(c->cache);
  trace_release(c->trace);
  launches_release(c->launches);
  tune_close(c->table);
  drv_close(c->drv);
  for (Text *t = c->texts, *next; t; t = next) {
    next = t->next;
    free(t->json);
    free(t);
  }
  pthread_mutex_destroy(&c->lock);
  arena_free(c->arena);
  free(c);
}

attnc_status
attnc_context_create(const attnc_options *options, attnc_context **out, attnc_error *e)
{
  attnc_options o = {.size = sizeof o};
  if (!out)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_context_create: out is NULL");
  *out = NULL;
  if (options)
    TRY(struct_take(&o, sizeof o, options, SIZE_UPTO(attnc_options, target),
                    "attnc_options", e));
  attnc_context *c = calloc(1, sizeof *c);
  if (c)
    c->arena = arena_new(0);
  if (!c || !c->arena) {
    free(c);
    return err_set(e, ATTNC_ERR_NOMEM, "attnc_context_create: out of memory");
  }
  c->pid = (int)getpid();
  pthread_mutex_init(&c->lock, NULL);
  attnc_status status = create_here(c, &o, e);
  if (status != ATTNC_OK) {
    context_free(c);
    return status;
  }
  enlist(c);
  *out = c;
  return ATTNC_OK;
}

void
attnc_context_release(attnc_context *c)
{
  if (!c)
    return;
  delist(c);
  context_free(c);
}

/* ---- the driver ---- */

attnc_status
context_driver(attnc_context *c, const Driver **out, attnc_error *e)
{
  pthread_mutex_lock(&c->lock);
  const Driver *d = c->drv;
  pthread_mutex_unlock(&c->lock);
  if (!d) {
    const Driver *extra = NULL;
    TRY(drv_open(c->libcuda, &d, e));
    pthread_mutex_lock(&c->lock);
    if (c->drv)
      extra = d; /* another thread was here first: the same driver, one reference more */
    else
      c->drv = d;
    pthread_mutex_unlock(&c->lock);
    drv_close(extra);
  }
  *out = d;
  return ATTNC_OK;
}

/* ---- as JSON ---- */

static json_t *
driver_json(attnc_context *c)
{
  pthread_mutex_lock(&c->lock);
  const Driver *d = c->drv;
  pthread_mutex_unlock(&c->lock);
  if (!d)
    return json_null();
  json_t *devices = json_array();
  for (int i = 0; i < d->n_devices; i++)
    json_array_append_new(devices,
                          json_pack("{s:s, s:i, s:i, s:i}", "name", d->devices[i].name,
                                    "cc", d->devices[i].cc, "sms", d->devices[i].sms,
                                    "smem_block", d->devices[i].smem_block));
  return json_pack("{s:s, s:i, s:b, s:o}", "path", d->path, "version", d->version,
                   "emulated", (int)d->emulated, "devices", devices);
}

static json_t *
cache_json(const Cache *cache)
{
  static const char *const modes[] = {"off", "ro", "rw"};
  const char *refusal = cache_refusal(cache);
  json_t *o = json_object();
  json_object_set_new(o, "dir", json_string(cache_dir(cache)));
  json_object_set_new(o, "mode", json_string(modes[cache_mode(cache)]));
  json_object_set_new(o, "refused", refusal ? json_string(refusal) : json_null());
  json_object_set_new(o, "max_bytes", json_integer((json_int_t)cache_max_bytes(cache)));
  return o;
}

/* Null, or the pinned table: the hash says whether two processes have the same. */
static json_t *
table_json(const TuneTable *t)
{
  int n;
  const char *hash = tune_pinned_hash(t);
  return hash ? json_pack("{s:s, s:s}", "path", tune_layers(t, &n)->path, "sha256", hash)
              : json_null();
}

static char *
describe(attnc_context *c)
{
  json_t *root = json_object();
  json_object_set_new(root, "version", json_integer(attnc_version()));
  json_object_set_new(root, "driver", driver_json(c));
  json_object_set_new(root, "cache", cache_json(c->cache));
  json_object_set_new(root, "cc", c->cc ? json_string(cc_program(c->cc)) : json_null());
  json_object_set_new(root, "tune_dir",
                      c->tune_dir ? json_string(c->tune_dir) : json_null());
  json_object_set_new(root, "tune_table", table_json(c->table));
  json_object_set_new(root, "plans", json_integer((json_int_t)flights_count(c->plans)));
  json_object_set_new(root, "kernels", json_integer((json_int_t)flights_count(c->kernels)));
  json_object_set_new(root, "stats", stats_json(c));
  char *text = json_dumps(root, JSON_INDENT(2));
  json_decref(root);
  return text;
}

/* A text lives as long as the context; one that says the same as the last is not kept. */
const char *
attnc_context_json(attnc_context *c)
{
  char *json = c ? describe(c) : NULL;
  Text *text = json ? calloc(1, sizeof *text) : NULL;
  if (!text) {
    free(json);
    return NULL;
  }
  pthread_mutex_lock(&c->lock);
  bool same = c->texts && !strcmp(c->texts->json, json);
  if (!same) {
    text->json = json;
    text->next = c->texts;
    c->texts = text;
  }
  const char *out = c->texts->json;
  pthread_mutex_unlock(&c->lock);
  if (same) {
    free(json);
    free(text);
  }
  return out;
}

/* ---- looking after the cache ---- */

typedef void Keep(const Cache *, int root, json_t *bad, CacheUsage *);

static void
do_stat(const Cache *cache, int root, json_t *bad, CacheUsage *u)
{
  (void)cache;
  (void)bad;
  gc_stat(root, u);
}

static void
do_verify(const Cache *cache, int root, json_t *bad, CacheUsage *u)
{
  gc_verify(root, cache_dir(cache), bad, u);
}

static void
do_gc(const Cache *cache, int root, json_t *bad, CacheUsage *u)
{
  (void)bad;
  gc_evict(root, cache_max_bytes(cache), u);
}

static void
do_clear(const Cache *cache, int root, json_t *bad, CacheUsage *u)
{
  (void)cache;
  (void)bad;
  gc_clear(root, u);
}

static attnc_status
upkeep_json(const Cache *cache, const CacheUsage *u, json_t *bad, char **out,
            attnc_error *e)
{
  if (!out)
    return ATTNC_OK;
  json_t *root = json_pack(
      "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:O}", "dir", cache_dir(cache), "entries",
      (json_int_t)u->entries, "bytes", (json_int_t)u->bytes, "max_bytes",
      (json_int_t)cache_max_bytes(cache), "corrupt", (json_int_t)u->corrupt, "temporary",
      (json_int_t)u->temporary, "removed", (json_int_t)u->removed, "bad", bad);
  if (u->contents) {
    json_object_set_new(root, "compressed", json_integer((json_int_t)u->packed));
    json_object_set_new(root, "contents", json_integer((json_int_t)u->contents));
  }
  *out = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
  json_decref(root);
  return *out ? ATTNC_OK : err_set(e, ATTNC_ERR_NOMEM, "cache: out of memory");
}

/* A directory that is not there yet is an empty cache. */
static attnc_status
keep(attnc_context *c, Keep *fn, char **json, attnc_error *e)
{
  CacheUsage u = {0};
  const char *why;
  if (!c)
    return err_set(e, ATTNC_ERR_USAGE, "the context is NULL");
  const char *dir = cache_dir(c->cache);
  if (!*dir)
    return err_set(e, ATTNC_ERR_CACHE, "there is no cache directory: set ATTNC_CACHE_DIR");
  int root = below_root(dir, true, &why);
  if (root < 0 && access(dir, F_OK) == 0)
    return err_set(e, ATTNC_ERR_CACHE, "cache %s: %s", dir, why);
  json_t *bad = json_array();
  if (root >= 0) {
    fn(c->cache, root, bad, &u);
    close(root);
  }
  size_t n_bad = json_array_size(bad);
  attnc_status status = upkeep_json(c->cache, &u, bad, json, e);
  json_decref(bad);
  if (status == ATTNC_OK && n_bad)
    return err_set(e, ATTNC_ERR_CHECK, "cache %s: %zu entries were bad", dir, n_bad);
  return status;
}

attnc_status
attnc_cache_stat(attnc_context *c, char **json, attnc_error *e)
{
  return keep(c, do_stat, json, e);
}

attnc_status
attnc_cache_verify(attnc_context *c, char **json, attnc_error *e)
{
  return keep(c, do_verify, json, e);
}

attnc_status
attnc_cache_gc(attnc_context *c, char **json, attnc_error *e)
{
  return keep(c, do_gc, json, e);
}

attnc_status
attnc_cache_clear(attnc_context *c, char **json, attnc_error *e)
{
  return keep(c, do_clear, json, e);
}
