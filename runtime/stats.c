#include "runtime/stats.h"

#include "base/call.h"
#include "base/err.h"
#include "runtime/context.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct Counter {
  const char *name, *text;
  size_t at; /* in attnc_stats */
} Counter;

static const Counter counters[] = {
#define X(name, text) {#name, text, offsetof(attnc_stats, name)},
    ATTNC_STATS_TABLE(X)
#undef X
};
enum { COUNTERS = sizeof counters / sizeof *counters };

static const uint64_t *
counter_of(const attnc_stats *s, const Counter *c)
{
  return (const uint64_t *)(const void *)((const char *)s + c->at);
}

attnc_stats
stats_read(const attnc_stats *s)
{
  attnc_stats now = {.size = sizeof now};
#define X(name, text) now.name = __atomic_load_n(&s->name, __ATOMIC_RELAXED);
  ATTNC_STATS_TABLE(X)
#undef X
  return now;
}

static attnc_stats
read_all(const attnc_context *c)
{
  attnc_stats now = stats_read(&c->stats);
  now.launches = launches_read(c->launches);
  return now;
}

json_t *
stats_json(const attnc_context *c)
{
  const attnc_stats now = read_all(c);
  json_t *o = json_object();
  for (int i = 0; i < COUNTERS; i++)
    json_object_set_new(o, counters[i].name,
                        json_integer((json_int_t)*counter_of(&now, &counters[i])));
  return o;
}

attnc_status
attnc_context_stats(attnc_context *c, attnc_stats *out, attnc_error *e)
{
  if (!c)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_context_stats: the context is NULL");
  const attnc_stats now = read_all(c);
  return struct_give(out, &now, sizeof now, SIZE_UPTO(attnc_stats, plan_hits),
                     "attnc_stats", e);
}

/* ---- Prometheus, "Text-based format" version 0.0.4 ---- */

typedef struct Page {
  char *at;
  size_t room, used; /* used: what all of it needs */
} Page;

static void add(Page *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void
add(Page *t, const char *fmt, ...)
{
  va_list args;
  const size_t left = t->used < t->room ? t->room - t->used : 0;
  va_start(args, fmt);
  int n = vsnprintf(left ? t->at + t->used : NULL, left, fmt, args);
  va_end(args);
  t->used += n > 0 ? (size_t)n : 0;
}

/* A time is told in seconds there, whatever it was counted in. */
static void
add_counter(Page *t, const Counter *c, uint64_t value)
{
  const size_t n = strlen(c->name);
  const bool time = n > 3 && !strcmp(c->name + n - 3, "_us");
  const int kept = (int)(time ? n - 3 : n);
  const char *unit = time ? "_seconds" : "";
  add(t, "# HELP attnc_%.*s%s_total %s\n", kept, c->name, unit, c->text);
  add(t, "# TYPE attnc_%.*s%s_total counter\n", kept, c->name, unit);
  add(t, "attnc_%.*s%s_total %llu", kept, c->name, unit,
      (unsigned long long)(time ? value / 1000000 : value));
  if (time)
    add(t, ".%06llu", (unsigned long long)(value % 1000000));
  add(t, "\n");
}

size_t
attnc_stats_prometheus(const attnc_stats *s, char *buf, size_t n)
{
  attnc_stats own = {.size = sizeof own};
  Page t = {.at = buf, .room = buf ? n : 0};
  if (!s || struct_take(&own, sizeof own, s, SIZE_UPTO(attnc_stats, plan_hits),
                        "attnc_stats", NULL) != ATTNC_OK)
    return 0;
  for (int i = 0; i < COUNTERS; i++)
    add_counter(&t, &counters[i], *counter_of(&own, &counters[i]));
  return t.used;
}
