#include "runtime/kernel.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "runtime/miss.h"

#include <stdio.h>
#include <string.h>

/* What a version of attnc with another reader wrote is no hit. */
static Entry *
readable(Entry *x)
{
  Recipe *r;
  if (!x || recipe_parse(x->json, x->json_n, &r, NULL) == ATTNC_OK) {
    if (x)
      recipe_free(r);
    return x;
  }
  entry_release(x);
  return NULL;
}

/* Where the time went: milliseconds by stage. */
static void
tell_stages(const attnc_context *c, const JitRequest *a, const json_t *notes)
{
  char text[300];
  const char *stage;
  json_t *seconds;
  int n = 0;
  if (!c->log)
    return;
  json_object_foreach(json_object_get(notes, "seconds"), stage, seconds) n +=
      snprintf(text + n, sizeof text - (size_t)n, " %s %.1f", stage,
               json_number_value(seconds) * 1e3);
  if (n)
    context_log(c, 3, "compiling %s took, in ms:%s", attnc_spec_name(a->spec), text);
}

attnc_status
kernel_make(const attnc_context *c, const JitRequest *a, const JitResolved *answer,
            Entry **out, attnc_error *e)
{
  json_t *notes;
  TRY(c->cc ? cc_compile(c->cc, a, answer, out, &notes, e)
            : jit_compile(a, answer, out, &notes, e));
  attnc_status status = jit_write_dumps(a, answer, notes, e);
  tell_stages(c, a, notes);
  json_decref(notes);
  if (status != ATTNC_OK) {
    entry_release(*out);
    *out = NULL;
  }
  return status;
}

static attnc_status
compile(attnc_context *c, const JitRequest *a, const JitResolved *answer, Found *out,
        attnc_error *e)
{
  double start = clock_seconds();
  out->layer = "miss";
  attnc_status status = kernel_make(c, a, answer, &out->entry, e);
  out->compile = clock_seconds() - start;
  stats_since(&c->stats, compile_us, start);
  trace_span(c->trace, "compile", attnc_spec_name(a->spec), answer->fields.schedule, start);
  if (status != ATTNC_OK) {
    stats_add(&c->stats, compile_errors, 1);
    return status;
  }
  stats_add(&c->stats, compiles, 1);
  context_log(c, 2, "compiled %s for %s: %s, %.0f ms", attnc_spec_name(a->spec),
              answer->target, answer->fields.schedule, out->compile * 1e3);
  cache_put(c->cache, out->entry);
  return ATTNC_OK;
}

static bool
hit(attnc_context *c, const JitRequest *a, const JitResolved *answer, const Found *found)
{
  if (found->entry)
    context_log(c, 3, "hit: %s for %s is in the cache (%s)", attnc_spec_name(a->spec),
                answer->target, found->layer);
  return found->entry != NULL;
}

/* What another process stored while this one waited for its lock, or just before it had
 * looked. */
static bool
hit_after_all(attnc_context *c, const JitRequest *a, const JitResolved *answer, Found *out)
{
  out->entry = readable(cache_peek(c->cache, answer->key));
  out->layer = "disk";
  if (out->entry)
    stats_add(&c->stats, lock_hits, 1);
  return hit(c, a, answer, out);
}

static attnc_status
make(attnc_context *c, const JitRequest *a, const JitResolved *answer, Found *out,
     attnc_error *e)
{
  if (c->dumps) /* of which a hit has none */
    return compile(c, a, answer, out, e);
  out->entry = readable(cache_get(c->cache, answer->key, &out->layer));
  if (hit(c, a, answer, out))
    return ATTNC_OK;
  miss_tell(c, attnc_spec_name(a->spec), &answer->fields);
  attnc_status status = ATTNC_OK;
  double start = clock_seconds();
  CacheLock lock = cache_lock(c->cache, answer->key);
  trace_span(c->trace, "lock", attnc_spec_name(a->spec), answer->target, start);
  if (!lock.look_again || !hit_after_all(c, a, answer, out))
    status = compile(c, a, answer, out, e);
  cache_unlock(c->cache, &lock);
  return status;
}

attnc_status
kernel_get(attnc_context *c, const JitRequest *a, const JitResolved *answer, Found *out,
           attnc_error *e)
{
  FlightKey key;
  void *value = NULL;
  memcpy(key.bytes, answer->key, sizeof key.bytes);
  FlightTurn turn = flight_begin(c->kernels, &key, &value, e);
  if (turn == FLIGHT_FAILED)
    return e->status;
  if (turn == FLIGHT_HIT) {
    stats_add(&c->stats, kernel_hits, 1);
    out->entry = value;
    out->layer = "memory";
    return ATTNC_OK;
  }
  attnc_status status = make(c, a, answer, out, e);
  e->status = status;
  flight_end(c->kernels, &key, status == ATTNC_OK ? out->entry : NULL, e);
  return status;
}
