#include "runtime/miss.h"

#include "base/str.h"
#include "runtime/context.h"

#include <stdio.h>
#include <string.h>

static const char *const labels[MISS_FIELDS] = {
#define X(field, text) #field,
    KEY_TABLE(X)
#undef X
};

/* FNV-1a: to tell texts apart that nobody chose to be alike. */
static uint64_t
hash_of(const char *text)
{
  uint64_t h = 14695981039346656037u;
  for (; text && *text; text++)
    h = (h ^ (unsigned char)*text) * 1099511628211u;
  return h;
}

static int
alike(const Miss *a, const Miss *b)
{
  int n = 0;
  for (int i = 0; i < MISS_FIELDS; i++)
    n += a->field[i] == b->field[i];
  return n;
}

/* The latest of those with the most fields in common; NULL: none of that name. */
static const Miss *
nearest(const Misses *m, const Miss *now)
{
  const Miss *best = NULL;
  for (unsigned i = 0; i < m->n && i < MISS_KEPT; i++) {
    const Miss *one = &m->at[(m->n - 1 - i) % MISS_KEPT];
    if (one->name == now->name && (!best || alike(one, now) > alike(best, now)))
      best = one;
  }
  return best;
}

/* "values=[h=8], target=[sm_80]" */
static void
put_differences(const Miss *a, const Miss *b, const char *const *texts, char *out, size_t n)
{
  size_t used = 0;
  out[0] = 0;
  for (int i = 0; i < MISS_FIELDS && used < n; i++)
    if (a->field[i] != b->field[i])
      used += (size_t)snprintf(out + used, n - used, "%s%s=[%.80s]", used ? ", " : "",
                               labels[i], texts[i] ? texts[i] : "");
}

void
miss_tell(attnc_context *c, const char *name, const KeyFields *f)
{
  const char *const texts[MISS_FIELDS] = {
#define X(field, text) f->field,
      KEY_TABLE(X)
#undef X
  };
  Miss now = {.name = hash_of(name)}, before;
  char differ[400];
  if (!c->log)
    return;
  for (int i = 0; i < MISS_FIELDS; i++)
    now.field[i] = hash_of(texts[i]);
  pthread_mutex_lock(&c->lock);
  const Miss *found = nearest(&c->misses, &now);
  if (found)
    before = *found;
  c->misses.at[c->misses.n++ % MISS_KEPT] = now;
  pthread_mutex_unlock(&c->lock);
  if (!found) {
    context_log(c, 3, "miss: %s for %s is in no cache, the first of that name here", name,
                f->target);
    return;
  }
  put_differences(&before, &now, texts, differ, sizeof differ);
  context_log(c, 3, "miss: %s for %s is in no cache; unlike the last that was not: %s",
              name, f->target, *differ ? differ : "nothing, it was evicted or not stored");
}
