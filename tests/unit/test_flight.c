#include "tests/unit/rt.h"

#include "runtime/background.h"
#include "runtime/flight.h"

#include <pthread.h>

/* A value that counts its owners. */
static int refs[64];

static void
retain(void *v)
{
  __atomic_add_fetch((int *)v, 1, __ATOMIC_RELAXED);
}

static void
release(void *v)
{
  __atomic_sub_fetch((int *)v, 1, __ATOMIC_RELAXED);
}

static FlightKey
key(int i)
{
  FlightKey k = {{0}};
  memcpy(k.bytes, &i, sizeof i);
  return k;
}

/* Makes value i, whose maker keeps no reference. */
static void
fly(Flights *f, int i)
{
  FlightKey k = key(i);
  void *value = NULL;
  assert_int_equal(flight_begin(f, &k, &value, NULL), FLIGHT_OWN);
  flight_end(f, &k, &refs[i], NULL);
}

static FlightTurn
peek(Flights *f, int i)
{
  FlightKey k = key(i);
  void *value = NULL;
  FlightTurn turn = flight_peek(f, &k, &value);
  if (turn == FLIGHT_HIT)
    release(value);
  return turn;
}

static void
test_values_are_kept_and_dropped(void **state)
{
  (void)state;
  memset(refs, 0, sizeof refs);
  Flights *f = flights_new(3, retain, release);
  for (int i = 0; i < 3; i++)
    fly(f, i);
  assert_int_equal(peek(f, 0), FLIGHT_HIT); /* 1 is the oldest now */
  fly(f, 3);
  assert_int_equal(flights_count(f), 3);
  assert_int_equal(peek(f, 1), FLIGHT_BUSY);
  assert_int_equal(refs[1], 0);
  assert_int_equal(peek(f, 0), FLIGHT_HIT);
  assert_int_equal(refs[0], 1);
  flights_free(f);
  for (int i = 0; i < 4; i++)
    assert_int_equal(refs[i], 0);
}

static void
test_kept_ones_are_not_dropped(void **state)
{
  (void)state;
  memset(refs, 0, sizeof refs);
  Flights *f = flights_new(2, retain, release);
  for (int i = 0; i < 3; i++) {
    fly(f, i);
    assert_true(flight_keep(f, &refs[i]));
    assert_true(flight_keep(f, &refs[i]));
  }
  for (int i = 3; i < 9; i++) /* two are held beside them */
    fly(f, i);
  assert_int_equal(flights_count(f), 5);
  for (int i = 0; i < 9; i++)
    assert_int_equal(peek(f, i), i < 3 || i > 6 ? FLIGHT_HIT : FLIGHT_BUSY);
  assert_false(flight_keep(f, &refs[3]));
  flights_free(f);
  for (int i = 0; i < 9; i++)
    assert_int_equal(refs[i], 0);
}

static void
test_a_failure_is_told_and_forgotten(void **state)
{
  FlightKey k = key(5);
  void *value = NULL;
  attnc_error e = {.status = ATTNC_ERR_COMPILE, .message = "no"};
  (void)state;
  Flights *f = flights_new(3, retain, release);
  assert_int_equal(flight_begin(f, &k, &value, NULL), FLIGHT_OWN);
  assert_int_equal(flight_peek(f, &k, &value), FLIGHT_BUSY);
  flight_end(f, &k, NULL, &e);
  assert_int_equal(flights_count(f), 0);
  assert_int_equal(flight_begin(f, &k, &value, NULL), FLIGHT_OWN);
  flight_end(f, &k, NULL, &e);
  flights_free(f);
}

/* ---- many threads, few keys, some failures ---- */

enum { THREADS = 8, KEYS = 5, TURNS = 20000 };

static struct {
  Flights *f;
  int made[KEYS], in_flight[KEYS]; /* atomic */
  int wrong;
} storm;

static void
own(int i, FlightKey *k, bool fail)
{
  attnc_error e = {.status = ATTNC_ERR_COMPILE};
  if (__atomic_add_fetch(&storm.in_flight[i], 1, __ATOMIC_SEQ_CST) != 1)
    storm.wrong = 1;
  __atomic_add_fetch(&storm.made[i], 1, __ATOMIC_RELAXED);
  __atomic_sub_fetch(&storm.in_flight[i], 1, __ATOMIC_SEQ_CST);
  flight_end(storm.f, k, fail ? NULL : &refs[i], &e);
}

static void *
fly_about(void *arg)
{
  unsigned seed = *(unsigned *)arg;
  for (int n = 0; n < TURNS; n++) {
    int i = rand_r(&seed) % KEYS;
    FlightKey k = key(i);
    void *value = NULL;
    attnc_error e = {0};
    switch (flight_begin(storm.f, &k, &value, &e)) {
    case FLIGHT_OWN:
      own(i, &k, rand_r(&seed) % 2);
      break;
    case FLIGHT_HIT:
      if (value != &refs[i])
        storm.wrong = 2;
      release(value);
      break;
    case FLIGHT_FAILED:
      if (e.status != ATTNC_ERR_COMPILE)
        storm.wrong = 3;
      break;
    case FLIGHT_BUSY:
      storm.wrong = 4;
    }
  }
  return NULL;
}

static void
test_one_at_a_time(void **state)
{
  pthread_t threads[THREADS];
  unsigned seeds[THREADS];
  (void)state;
  memset(refs, 0, sizeof refs);
  storm.f = flights_new(2, retain, release); /* fewer than keys: they are dropped, too */
  for (unsigned i = 0; i < THREADS; i++) {
    seeds[i] = i + 1;
    assert_int_equal(pthread_create(&threads[i], NULL, fly_about, &seeds[i]), 0);
  }
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  assert_int_equal(storm.wrong, 0);
  flights_free(storm.f);
  for (int i = 0; i < KEYS; i++)
    assert_int_equal(refs[i], 0);
}

/* ---- work behind ---- */

typedef struct Task {
  int ran, dropped; /* atomic */
  int ms;
  attnc_status answer;
} Task;

static attnc_status
run_task(void *user, attnc_error *e)
{
  Task *t = user;
  usleep((unsigned)t->ms * 1000);
  __atomic_add_fetch(&t->ran, 1, __ATOMIC_SEQ_CST);
  if (t->answer != ATTNC_OK)
    snprintf(e->message, sizeof e->message, "as told");
  return t->answer;
}

static void
drop_task(void *user)
{
  Task *t = user;
  __atomic_add_fetch(&t->dropped, 1, __ATOMIC_SEQ_CST);
}

static attnc_status
start(Background *b, int i, Task *t)
{
  FlightKey k = key(i);
  return background_start(b, &k, (BackgroundTask){run_task, drop_task, t}, NULL);
}

static BackgroundState
settle(Background *b, int i, attnc_error *e)
{
  FlightKey k = key(i);
  BackgroundState s;
  while ((s = background_poll(b, &k, e)) == BACKGROUND_PENDING)
    usleep(500);
  return s;
}

static void
test_behind(void **state)
{
  attnc_error e = {0};
  Task ok = {.ms = 20}, twice = {0}, bad = {.answer = ATTNC_ERR_COMPILE};
  FlightKey k = key(1);
  (void)state;
  Background *b = background_new();
  assert_int_equal(background_poll(b, &k, &e), BACKGROUND_IDLE);
  assert_int_equal(start(b, 1, &ok), ATTNC_OK);
  assert_int_equal(start(b, 1, &twice), ATTNC_OK); /* queued already: dropped */
  assert_int_equal(twice.dropped, 1);
  assert_int_equal(background_poll(b, &k, &e), BACKGROUND_PENDING);
  assert_int_equal(settle(b, 1, &e), BACKGROUND_IDLE);
  assert_int_equal(ok.ran, 1);
  assert_int_equal(ok.dropped, 1);
  assert_int_equal(twice.ran, 0);
  assert_int_equal(start(b, 2, &bad), ATTNC_OK);
  assert_int_equal(settle(b, 2, &e), BACKGROUND_FAILED);
  assert_int_equal(e.status, ATTNC_ERR_COMPILE);
  assert_string_equal(e.message, "as told");
  k = key(2);
  assert_int_equal(background_poll(b, &k, &e), BACKGROUND_IDLE);
  background_free(b);
  background_free(NULL);
}

static void
test_behind_ends_with_work_queued(void **state)
{
  Task tasks[20];
  int ran = 0, dropped = 0;
  (void)state;
  Background *b = background_new();
  for (int i = 0; i < 20; i++) {
    tasks[i] = (Task){.ms = 10, .answer = i % 2 ? ATTNC_ERR_IO : ATTNC_OK};
    assert_int_equal(start(b, i, &tasks[i]), ATTNC_OK);
  }
  usleep(15000);
  background_free(b);
  for (int i = 0; i < 20; i++) {
    ran += tasks[i].ran;
    dropped += tasks[i].dropped;
  }
  assert_true(ran >= 1 && ran < 20);
  assert_int_equal(dropped, 20);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_values_are_kept_and_dropped),
      cmocka_unit_test(test_kept_ones_are_not_dropped),
      cmocka_unit_test(test_a_failure_is_told_and_forgotten),
      cmocka_unit_test(test_one_at_a_time),
      cmocka_unit_test(test_behind),
      cmocka_unit_test(test_behind_ends_with_work_queued),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
