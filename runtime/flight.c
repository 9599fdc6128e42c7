#include "runtime/flight.h"

#include <stdlib.h>
#include <string.h>

typedef enum State { FLYING, LANDED, LOST } State;

typedef struct Slot {
  FlightKey key;
  State state;
  void *value;       /* LANDED */
  attnc_error error; /* LOST */
  uint64_t asked;    /* stamp of the last time */
  int waiters;
  bool kept;
  struct Slot *next;
} Slot;

struct Flights {
  pthread_mutex_t lock;
  pthread_cond_t landed;
  Slot *slots;   /* LOST ones are not in the list */
  size_t n, max; /* LANDED ones; so many that are not kept */
  size_t n_kept;
  uint64_t clock;
  void (*retain)(void *);
  void (*release)(void *);
};

Flights *
flights_new(size_t max, void (*retain)(void *), void (*release)(void *))
{
  Flights *f = calloc(1, sizeof *f);
  if (!f)
    return NULL;
  pthread_mutex_init(&f->lock, NULL);
  pthread_cond_init(&f->landed, NULL);
  f->max = max;
  f->retain = retain;
  f->release = release;
  return f;
}

void
flights_free(Flights *f)
{
  if (!f)
    return;
  for (Slot *s = f->slots, *next; s; s = next) {
    next = s->next;
    f->release(s->value);
    free(s);
  }
  pthread_cond_destroy(&f->landed);
  pthread_mutex_destroy(&f->lock);
  free(f);
}

/* ---- with the lock held ---- */

static Slot *
find(Flights *f, const FlightKey *key)
{
  for (Slot *s = f->slots; s; s = s->next)
    if (!memcmp(&s->key, key, sizeof *key))
      return s;
  return NULL;
}

static void
unlink_slot(Flights *f, const Slot *slot)
{
  for (Slot **p = &f->slots; *p; p = &(*p)->next)
    if (*p == slot) {
      *p = slot->next;
      return;
    }
}

static void
hand_out(Flights *f, Slot *s, void **value)
{
  s->asked = ++f->clock;
  f->retain(s->value);
  *value = s->value;
}

static FlightTurn
take_off(Flights *f, const FlightKey *key, attnc_error *e)
{
  Slot *s = calloc(1, sizeof *s);
  if (!s) {
    if (e)
      *e = (attnc_error){.status = ATTNC_ERR_NOMEM, .message = "out of memory"};
    return FLIGHT_FAILED;
  }
  s->key = *key;
  s->next = f->slots;
  f->slots = s;
  return FLIGHT_OWN;
}

static FlightTurn
wait_for(Flights *f, Slot *s, void **value, attnc_error *e)
{
  s->waiters++;
  while (s->state == FLYING)
    pthread_cond_wait(&f->landed, &f->lock);
  s->waiters--;
  if (s->state == LANDED) {
    hand_out(f, s, value);
    return FLIGHT_HIT;
  }
  if (e)
    *e = s->error;
  if (!s->waiters)
    free(s);
  return FLIGHT_FAILED;
}

/* The least recently asked for goes when there are too many; those that a waiter is about
 * to take stay.  Its value, to be released without the lock, or NULL. */
static void *
make_room(Flights *f)
{
  Slot *oldest = NULL;
  if (f->n - f->n_kept <= f->max)
    return NULL;
  for (Slot *s = f->slots; s; s = s->next)
    if (s->state == LANDED && !s->waiters && !s->kept &&
        (!oldest || s->asked < oldest->asked))
      oldest = s;
  if (!oldest)
    return NULL;
  void *value = oldest->value;
  unlink_slot(f, oldest);
  free(oldest);
  f->n--;
  return value;
}

/* ---- the four verbs ---- */

FlightTurn
flight_begin(Flights *f, const FlightKey *key, void **value, attnc_error *e)
{
  pthread_mutex_lock(&f->lock);
  Slot *s = find(f, key);
  FlightTurn turn = s ? wait_for(f, s, value, e) : take_off(f, key, e);
  pthread_mutex_unlock(&f->lock);
  return turn;
}

FlightTurn
flight_peek(Flights *f, const FlightKey *key, void **value)
{
  FlightTurn turn = FLIGHT_BUSY;
  pthread_mutex_lock(&f->lock);
  Slot *s = find(f, key);
  if (s && s->state == LANDED) {
    hand_out(f, s, value);
    turn = FLIGHT_HIT;
  }
  pthread_mutex_unlock(&f->lock);
  return turn;
}

void
flight_end(Flights *f, const FlightKey *key, void *value, const attnc_error *error)
{
  void *dropped = NULL;
  if (value)
    f->retain(value);
  pthread_mutex_lock(&f->lock);
  Slot *s = find(f, key);
  if (!s) { /* a fork came between, and this is the child */
    pthread_mutex_unlock(&f->lock);
    return;
  }
  s->state = value ? LANDED : LOST;
  s->value = value;
  s->asked = ++f->clock;
  if (value) {
    f->n++;
    dropped = make_room(f);
  } else {
    s->error = *error;
    unlink_slot(f, s);
    if (!s->waiters)
      free(s);
  }
  pthread_cond_broadcast(&f->landed);
  pthread_mutex_unlock(&f->lock);
  if (dropped)
    f->release(dropped);
}

bool
flight_keep(Flights *f, const void *value)
{
  pthread_mutex_lock(&f->lock);
  Slot *s = f->slots;
  while (s && s->value != value)
    s = s->next;
  if (s && !s->kept) {
    s->kept = true;
    f->n_kept++;
  }
  pthread_mutex_unlock(&f->lock);
  return s != NULL;
}

size_t
flights_count(Flights *f)
{
  pthread_mutex_lock(&f->lock);
  size_t n = f->n;
  pthread_mutex_unlock(&f->lock);
  return n;
}

void
flights_fork(Flights *f, ForkStep step)
{
  for (Slot **p = &f->slots; step == FORK_CHILD && *p;) {
    Slot *s = *p;
    s->waiters = 0;
    if (s->state == LANDED) {
      p = &s->next;
    } else {
      *p = s->next;
      free(s);
    }
  }
  fork_cond(&f->landed, step);
  fork_mutex(&f->lock, step);
}
