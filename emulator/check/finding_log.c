#include "emulator/check/finding_log.h"

#include "emulator/check/findings.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1024 };

typedef struct Entry {
  FindingLogKind kind;
  uint64_t key, place, number; /* number: in the order in which they came */
  char *text;
} Entry;

struct FindingLog {
  pthread_mutex_t lock;
  Entry *at;
  int n, cap;
  uint64_t number;
};

FindingLog *
finding_log_new(void)
{
  FindingLog *t = calloc(1, sizeof *t);
  if (t)
    pthread_mutex_init(&t->lock, NULL);
  return t;
}

void
finding_log_free(FindingLog *t)
{
  if (!t)
    return;
  for (int i = 0; i < t->n; i++)
    free(t->at[i].text);
  free(t->at);
  pthread_mutex_destroy(&t->lock);
  free(t);
}

static Entry *
find(const FindingLog *t, FindingLogKind kind, uint64_t key)
{
  for (int i = 0; i < t->n; i++)
    if (t->at[i].kind == kind && t->at[i].key == key)
      return &t->at[i];
  return NULL;
}

bool
finding_log_wants(FindingLog *t, FindingLogKind kind, uint64_t key, uint64_t place)
{
  pthread_mutex_lock(&t->lock);
  const Entry *e = find(t, kind, key);
  bool wants = e ? place < e->place : t->n < MOST;
  pthread_mutex_unlock(&t->lock);
  return wants;
}

static Entry *
fresh(FindingLog *t)
{
  if (t->n == t->cap) {
    int cap = t->cap ? 2 * t->cap : 16;
    Entry *more = cap > MOST ? NULL : realloc(t->at, (size_t)cap * sizeof *more);
    if (!more)
      return NULL;
    t->at = more;
    t->cap = cap;
  }
  t->at[t->n] = (Entry){.place = UINT64_MAX};
  return &t->at[t->n++];
}

void
finding_log_add(FindingLog *t, FindingLogKind kind, uint64_t key, uint64_t place,
                const char *text)
{
  char *copy = strdup(text);
  pthread_mutex_lock(&t->lock);
  Entry *e = find(t, kind, key);
  e = e || !copy ? e : fresh(t);
  if (e && copy && place < e->place) {
    free(e->text);
    *e = (Entry){kind, key, place, t->number++, copy};
    copy = NULL;
  }
  pthread_mutex_unlock(&t->lock);
  free(copy);
}

static int
by_place(const void *a, const void *b)
{
  const Entry *x = a, *y = b;
  uint64_t p = x->place != y->place ? x->place : x->number;
  uint64_t q = x->place != y->place ? y->place : y->number;
  return (p > q) - (p < q);
}

void
finding_log_report(FindingLog *t, uint64_t last, bool tell)
{
  if (t->n)
    qsort(t->at, (size_t)t->n, sizeof *t->at, by_place);
  for (int i = 0; i < t->n; i++)
    if (t->at[i].place <= last)
      findings_keep(t->at[i].text, tell);
}
