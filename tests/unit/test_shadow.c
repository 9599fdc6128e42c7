/* Hazard checks on made-up sequences of events: each check fires on the wrong program,
 * names both lines, and stays silent on the right one.  Instruction i has line 100 + i. */
#include "emulator/async/async.h"
#include "emulator/check/shadow_part.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>

#include <cmocka.h>

enum { INSNS = 64, WARPS = 4 };
#define ALL   0xffffffffu
#define EVERY 0xfu /* warps */

typedef struct Log {
  int n;
  ShadowFinding last;
  char text[400];
  int of_kind[SHADOW_KIND_COUNT];
} Log;

typedef struct Bench {
  ShadowLaunch *launch;
  Shadow *s;
  Log log;
} Bench;

static void
sink(void *user, const ShadowFinding *f)
{
  Log *log = user;
  log->n++;
  log->last = *f;
  log->of_kind[f->kind]++;
  snprintf(log->text, sizeof log->text, "%s", f->text);
}

static void
start(Bench *b, bool checks)
{
  int line[INSNS];
  for (int i = 0; i < INSNS; i++)
    line[i] = 100 + i;
  memset(b, 0, sizeof *b);
  ShadowInfo info = {.insns = INSNS,
                     .line = line,
                     .warps = WARPS,
                     .smem_bytes = 4096,
                     .checks = checks,
                     .sink = sink,
                     .user = &b->log};
  b->launch = shadow_launch_new(&info);
  b->s = shadow_new(b->launch);
  assert_non_null(b->s);
  shadow_cta_begin(b->s, 0);
}

/* Ends the launch and says how many errors there were. */
static int
finish(Bench *b)
{
  shadow_cta_end(b->s);
  shadow_free(b->s);
  shadow_launch_free(b->launch);
  return b->log.n;
}

/* Lane l of the warp touches `bytes` at base + l * bytes. */
static void
touch(Bench *b, ShadowOp op, int insn, int warp, uint32_t mask, int bytes, uint32_t base)
{
  uint32_t off[32];
  for (int l = 0; l < 32; l++)
    off[l] = base + (uint32_t)(l * bytes);
  ShadowAccess a = {
      .insn = insn, .warp = warp, .mask = mask, .op = (uint8_t)op, .bytes = (uint8_t)bytes};
  uint32_t unwritten = shadow_shared(b->s, &a, off);
  if (!unwritten)
    return;
  int lane = __builtin_ctz(unwritten);
  ShadowOrigin from =
      shadow_origin(b->s, insn, off[lane], shadow_unwritten(b->s, off[lane], bytes));
  shadow_undefined(b->s, insn, warp, unwritten, &from, "uses");
}

static void
sync_all(Bench *b)
{
  for (int w = 0; w < WARPS; w++)
    shadow_arrive(b->s, w, 0);
  shadow_release(b->s, 0, EVERY);
}

static void
assert_lines(const Bench *b, ShadowKind kind, int line, int other)
{
  assert_int_equal(b->log.last.kind, kind);
  assert_int_equal(b->log.last.line, line);
  assert_int_equal(b->log.last.other_line, other);
}

static void
test_write_then_read(void **state)
{
  (void)state;
  for (int sync = 0; sync < 2; sync++) {
    Bench b;
    start(&b, true);
    touch(&b, SHADOW_WRITE, 1, 0, ALL, 4, 0);
    if (sync)
      sync_all(&b);
    touch(&b, SHADOW_READ, 2, 1, ALL, 4, 0);
    touch(&b, SHADOW_READ, 3, 0, ALL, 4, 0); /* its own */
    if (!sync) {
      assert_lines(&b, SHADOW_RACE, 102, 101);
      assert_int_equal(b.log.last.warp, 1);
      assert_int_equal(b.log.last.other_warp, 0);
      assert_non_null(strstr(b.log.text, "line 101"));
    }
    assert_int_equal(finish(&b), !sync); /* once, not 32 times */
  }
}

static void
test_read_then_write(void **state)
{
  (void)state;
  for (int sync = 0; sync < 2; sync++) {
    Bench b;
    start(&b, true);
    touch(&b, SHADOW_WRITE, 1, 0, ALL, 4, 0);
    sync_all(&b);
    for (int w = 0; w < WARPS; w++)
      touch(&b, SHADOW_READ, 2, w, ALL, 4, 0);
    if (sync)
      sync_all(&b);
    touch(&b, SHADOW_WRITE, 3, 0, ALL, 4, 0);
    if (!sync)
      assert_lines(&b, SHADOW_RACE, 103, 102);
    assert_int_equal(finish(&b), !sync);
  }
}

static void
test_write_write_and_atomics(void **state)
{
  (void)state;
  Bench b;
  start(&b, true);
  touch(&b, SHADOW_WRITE, 1, 0, 1, 4, 0);
  sync_all(&b);
  touch(&b, SHADOW_ATOMIC, 2, 0, 1, 4, 0);
  touch(&b, SHADOW_ATOMIC, 3, 1, 1, 4, 0);
  assert_int_equal(b.log.n, 0);
  touch(&b, SHADOW_WRITE, 4, 2, 1, 4, 0);
  assert_lines(&b, SHADOW_RACE, 104, 103);
  touch(&b, SHADOW_WRITE, 5, 3, 1, 4, 0);
  assert_lines(&b, SHADOW_RACE, 105, 104);
  assert_int_equal(finish(&b), 2);
}

/* Different bytes of a word, whole chunks and single words of them. */
static void
test_granularity(void **state)
{
  (void)state;
  Bench b;
  start(&b, true);
  touch(&b, SHADOW_WRITE, 1, 0, 1, 2, 0);
  touch(&b, SHADOW_WRITE, 2, 1, 1, 2, 2); /* the other half */
  touch(&b, SHADOW_WRITE, 3, 0, 1, 16, 16);
  touch(&b, SHADOW_WRITE, 4, 1, 1, 4, 32);
  touch(&b, SHADOW_WRITE, 5, 2, 1, 8, 40);
  assert_int_equal(b.log.n, 0);
  touch(&b, SHADOW_READ, 6, 1, 1, 4, 24); /* in the chunk that warp 0 wrote whole */
  assert_lines(&b, SHADOW_RACE, 106, 103);
  assert_int_equal(b.log.last.addr, 24);
  sync_all(&b);
  touch(&b, SHADOW_WRITE, 7, 3, 1, 4, 36);
  touch(&b, SHADOW_READ, 8, 3, 1, 16, 32); /* collects the three writers */
  assert_int_equal(b.log.n, 1);
  touch(&b, SHADOW_WRITE, 9, 0, 1, 16, 32);
  assert_lines(&b, SHADOW_RACE, 109, 107); /* after that with the reader of 32 */
  assert_int_equal(finish(&b), 3);
}

/* Two warps, each its own half of the same words. */
static void
test_halves_of_words_are_no_race(void **state)
{
  (void)state;
  Bench b;
  start(&b, true);
  for (int round = 0; round < 3; round++)
    for (int w = 0; w < 2; w++) {
      uint32_t off[32];
      for (int l = 0; l < 32; l++)
        off[l] = (uint32_t)(4 * l + 2 * w);
      ShadowAccess a = {.insn = 1, .warp = w, .mask = ALL, .op = SHADOW_WRITE, .bytes = 2};
      shadow_shared(b.s, &a, off);
      a.insn = 2;
      a.op = SHADOW_READ;
      shadow_shared(b.s, &a, off);
    }
  assert_int_equal(finish(&b), 0);
}

/* A named barrier orders those who take part, and nobody else. */
static void
test_named_barrier(void **state)
{
  (void)state;
  Bench b;
  start(&b, true);
  touch(&b, SHADOW_WRITE, 1, 0, ALL, 4, 0);
  shadow_arrive(b.s, 0, 3);
  shadow_arrive(b.s, 1, 3);
  shadow_release(b.s, 3, 3);
  touch(&b, SHADOW_READ, 2, 1, ALL, 4, 0);
  assert_int_equal(b.log.n, 0);
  touch(&b, SHADOW_READ, 3, 2, ALL, 4, 0);
  assert_lines(&b, SHADOW_RACE, 103, 101);
  assert_int_equal(finish(&b), 1);
}

/* bar.arrive publishes what came before it, not after. */
static void
test_arrive_without_waiting(void **state)
{
  (void)state;
  for (int late = 0; late < 2; late++) {
    Bench b;
    start(&b, true);
    if (!late)
      touch(&b, SHADOW_WRITE, 1, 0, ALL, 4, 0);
    shadow_arrive(b.s, 0, 1);
    if (late)
      touch(&b, SHADOW_WRITE, 1, 0, ALL, 4, 0);
    shadow_arrive(b.s, 1, 1);
    shadow_release(b.s, 1, 2); /* warp 1 waited */
    touch(&b, SHADOW_READ, 2, 1, ALL, 4, 0);
    assert_int_equal(b.log.n, late);
    touch(&b, SHADOW_WRITE, 3, 1, ALL, 4, 0); /* warp 0 does not know of warp 1 */
    touch(&b, SHADOW_READ, 4, 0, ALL, 4, 0);
    assert_lines(&b, SHADOW_RACE, 104, 103);
    finish(&b);
  }
}

/* Readers at different times, unordered: each must be waited for. */
static void
test_readers_at_different_times(void **state)
{
  (void)state;
  for (int miss = 0; miss < 2; miss++) {
    Bench b;
    start(&b, true);
    touch(&b, SHADOW_WRITE, 1, 0, 1, 4, 0);
    sync_all(&b);
    touch(&b, SHADOW_READ, 2, 1, 1, 4, 0);
    shadow_arrive(b.s, 2, 5); /* time goes on without warps 0 and 1 */
    shadow_arrive(b.s, 3, 5);
    shadow_release(b.s, 5, 12);
    touch(&b, SHADOW_READ, 3, 2, 1, 4, 0);
    shadow_arrive(b.s, 0, 6);
    shadow_arrive(b.s, miss ? 2 : 1, 6);
    if (!miss)
      shadow_arrive(b.s, 2, 6);
    shadow_release(b.s, 6, miss ? 5 : 7);
    touch(&b, SHADOW_WRITE, 4, 0, 1, 4, 0); /* warp 1 is missing */
    if (miss)
      assert_int_equal(b.log.last.other_warp, 1);
    assert_int_equal(finish(&b), miss);
  }
}

static void
test_uninitialised_shared(void **state)
{
  (void)state;
  Bench b;
  start(&b, true);
  touch(&b, SHADOW_WRITE, 1, 0, ALL, 2, 0);
  touch(&b, SHADOW_READ, 2, 0, ALL, 2, 0);
  touch(&b, SHADOW_READ, 3, 0, 1, 16, 32);
  assert_int_equal(b.log.n, 0);
  touch(&b, SHADOW_READ, 4, 0, 1, 4, 64);
  assert_lines(&b, SHADOW_UNINIT_SHARED, 104, 0);
  touch(&b, SHADOW_WRITE, 5, 0, 1, 1, 100);
  touch(&b, SHADOW_READ, 6, 0, 1, 2, 100);
  assert_lines(&b, SHADOW_UNINIT_SHARED, 106, 0);
  assert_int_equal(finish(&b), 2);
}

static void
test_undefined_register(void **state)
{
  (void)state;
  Bench b;
  start(&b, true);
  ShadowOrigin from = {.insn = 7, .reg = "%r12"};
  shadow_undefined(b.s, 7, 2, 0x30, &from, "stores");
  assert_lines(&b, SHADOW_UNINIT_REG, 107, 0);
  assert_int_equal(b.log.last.lane, 4);
  assert_string_equal(b.log.text,
                      "reads register %r12, which this thread has never written");
  shadow_undefined(b.s, 9, 2, 1, &from, "stores");
  assert_lines(&b, SHADOW_UNINIT_REG, 109, 107);
  assert_non_null(
      strstr(b.log.text, "stores a value that comes from register %r12: line 107"));
  assert_int_equal(finish(&b), 2);
}

static void
copy(Bench *b, int insn, int warp, uint32_t base)
{
  touch(b, SHADOW_COPY, insn, warp, ALL, 16, base);
  shadow_commit(b->s, warp, ALL);
}

/* wait, then barrier: both are needed by another warp, the wait alone by oneself. */
static void
test_copy_needs_wait_and_barrier(void **state)
{
  (void)state;
  for (int wait = 0; wait < 2; wait++)
    for (int sync = 0; sync < 2; sync++)
      for (int reader = 0; reader < 2; reader++) {
        Bench b;
        start(&b, true);
        copy(&b, 1, 0, 0);
        if (wait)
          shadow_wait(b.s, 0, ALL, 0);
        if (sync)
          sync_all(&b);
        touch(&b, SHADOW_READ, 2, reader, ALL, 16, 0);
        bool fine = wait && (sync || reader == 0);
        if (!fine) {
          assert_lines(&b, SHADOW_ASYNC_READ, 102, 101);
          assert_non_null(strstr(b.log.text, wait ? "no barrier" : "in flight"));
        }
        assert_int_equal(finish(&b), !fine);
      }
}

/* A barrier before the wait publishes nothing. */
static void
test_copy_wait_after_barrier(void **state)
{
  (void)state;
  Bench b;
  start(&b, true);
  copy(&b, 1, 0, 0);
  sync_all(&b);
  shadow_wait(b.s, 0, ALL, 0);
  touch(&b, SHADOW_READ, 2, 1, ALL, 16, 0);
  assert_lines(&b, SHADOW_ASYNC_READ, 102, 101);
  assert_int_equal(finish(&b), 1);
}

/* Another lane of the same warp needs a warp sync after the wait. */
static void
test_copy_other_lane(void **state)
{
  (void)state;
  for (int sync = 0; sync < 2; sync++) {
    Bench b;
    start(&b, true);
    copy(&b, 1, 0, 0);
    shadow_wait(b.s, 0, ALL, 0);
    if (sync)
      shadow_warp_sync(b.s, 0, ALL);
    uint32_t off[32];
    for (int l = 0; l < 32; l++)
      off[l] = (uint32_t)(16 * (l ^ 21));
    ShadowAccess a = {.insn = 2, .mask = ALL, .op = SHADOW_READ, .bytes = 16};
    shadow_shared(b.s, &a, off);
    assert_int_equal(finish(&b), !sync);
  }
}

/* A ring of two stages: wait_group 1 covers the older one only. */
static void
test_copy_groups(void **state)
{
  (void)state;
  Bench b;
  start(&b, true);
  for (int w = 0; w < WARPS; w++) {
    touch(&b, SHADOW_COPY, 1, w, ALL, 16, (uint32_t)w * 512);
    shadow_commit(b.s, w, ALL);
    touch(&b, SHADOW_COPY, 2, w, ALL, 16, 2048 + (uint32_t)w * 512);
    shadow_commit(b.s, w, ALL);
    shadow_wait(b.s, w, ALL, 1);
  }
  sync_all(&b);
  touch(&b, SHADOW_READ, 3, 0, ALL, 16, 512);
  assert_int_equal(b.log.n, 0);
  touch(&b, SHADOW_READ, 4, 0, ALL, 16, 2048 + 512);
  assert_lines(&b, SHADOW_ASYNC_READ, 104, 102);
  assert_int_equal(finish(&b), 1);
}

/* Into the stage that is still being read; and a store into one still being filled. */
static void
test_copy_overwrites(void **state)
{
  (void)state;
  for (int sync = 0; sync < 2; sync++) {
    Bench b;
    start(&b, true);
    copy(&b, 1, 0, 0);
    shadow_wait(b.s, 0, ALL, 0);
    sync_all(&b);
    touch(&b, SHADOW_READ, 2, 1, ALL, 16, 0);
    if (sync)
      sync_all(&b);
    copy(&b, 3, 0, 0);
    if (!sync)
      assert_lines(&b, SHADOW_ASYNC_OVERWRITE, 103, 102);
    assert_int_equal(b.log.n, !sync);
    touch(&b, SHADOW_WRITE, 4, 0, ALL, 16, 0);
    assert_lines(&b, SHADOW_ASYNC_OVERWRITE, 104, 103);
    finish(&b);
  }
}

/* Each lane counts its own groups. */
static void
test_copy_lanes_apart(void **state)
{
  (void)state;
  Bench b;
  start(&b, true);
  touch(&b, SHADOW_COPY, 1, 0, 0x0000ffff, 16, 0);
  shadow_commit(b.s, 0, 0x0000ffff);
  touch(&b, SHADOW_COPY, 2, 0, 0xffff0000, 16, 0);
  shadow_commit(b.s, 0, ALL); /* the second group of the low lanes is empty */
  shadow_wait(b.s, 0, ALL, 1);
  touch(&b, SHADOW_READ, 3, 0, 0x0000ffff, 16, 0);
  assert_int_equal(b.log.n, 0);
  touch(&b, SHADOW_READ, 4, 0, 0xffff0000, 16, 0);
  assert_lines(&b, SHADOW_ASYNC_READ, 104, 102);
  assert_int_equal(finish(&b), 1);
}

/* ---- device memory ---- */

static void
global(Shadow *s, ShadowMem *m, ShadowOp op, int insn, uint32_t mask, int bytes,
       uint64_t base)
{
  uint64_t off[32];
  for (int l = 0; l < 32; l++)
    off[l] = base + (uint64_t)(l * bytes);
  ShadowAccess a = {.insn = insn,
                    .mask = mask,
                    .op = (uint8_t)op,
                    .bytes = (uint8_t)bytes,
                    .order = op == SHADOW_ATOMIC ? SHADOW_GPU : SHADOW_WEAK,
                    .unit = (uint8_t)bytes};
  shadow_global(s, &a, m, 0x1000, off);
}

static void
test_uninitialised_global(void **state)
{
  (void)state;
  Bench b;
  start(&b, true);
  ShadowMem *m = shadow_mem_new(10000), *n = shadow_mem_new(10000);
  shadow_mem_init(m, 100, 1000);
  assert_true(shadow_mem_is_init(m, 100, 1000));
  assert_false(shadow_mem_is_init(m, 99, 2));
  assert_false(shadow_mem_is_init(m, 1099, 2));
  global(b.s, m, SHADOW_READ, 1, ALL, 4, 100);
  assert_int_equal(b.log.n, 0);
  global(b.s, m, SHADOW_READ, 2, ALL, 4, 1000);
  assert_lines(&b, SHADOW_UNINIT_GLOBAL, 102, 0);
  assert_int_equal(b.log.last.addr, 0x1000 + 1100);
  global(b.s, m, SHADOW_WRITE, 3, ALL, 16, 4096);
  assert_true(shadow_mem_is_init(m, 4096, 512));
  assert_false(shadow_mem_is_init(m, 4096, 513));
  shadow_mem_copy(n, 0, m, 90, 20);
  assert_false(shadow_mem_is_init(n, 9, 1));
  assert_true(shadow_mem_is_init(n, 10, 10));
  shadow_mem_copy(m, 4096, n, 0, 20); /* and back: what was written is so no more */
  assert_false(shadow_mem_is_init(m, 4096, 1));
  shadow_mem_init(n, 0, 10000);
  global(b.s, n, SHADOW_READ, 4, ALL, 16, 8000);
  assert_int_equal(finish(&b), 1);
  shadow_mem_free(m);
  shadow_mem_free(n);
}

/* CTA 0, then CTA 1 at its place.  1: a conflict was found. */
static int
two_ctas(ShadowOp first, ShadowOp second, uint64_t at, bool new_launch)
{
  ShadowMem *m = shadow_mem_new(1 << 16);
  shadow_mem_init(m, 0, 1 << 16);
  Bench b;
  start(&b, true);
  global(b.s, m, first, 1, ALL, 4, 4096);
  if (new_launch) {
    assert_int_equal(finish(&b), 0);
    start(&b, true);
  }
  shadow_cta_end(b.s);
  shadow_cta_begin(b.s, 1);
  global(b.s, m, second, 2, ALL, 4, at);
  int n = finish(&b);
  shadow_mem_free(m);
  return n;
}

static void
test_cross_cta(void **state)
{
  (void)state;
  const struct {
    ShadowOp first, second;
    int conflict;
  } rows[] = {
      {SHADOW_WRITE, SHADOW_WRITE, 1},   {SHADOW_WRITE, SHADOW_READ, 1},
      {SHADOW_READ, SHADOW_WRITE, 1},    {SHADOW_READ, SHADOW_READ, 0},
      {SHADOW_ATOMIC, SHADOW_ATOMIC, 0}, {SHADOW_ATOMIC, SHADOW_READ, 1},
      {SHADOW_WRITE, SHADOW_ATOMIC, 1},  {SHADOW_READ, SHADOW_ATOMIC, 1},
      {SHADOW_WRITE, SHADOW_COPY, 1},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    assert_int_equal(two_ctas(rows[i].first, rows[i].second, 4096, false),
                     rows[i].conflict);
    assert_int_equal(two_ctas(rows[i].first, rows[i].second, 4096 + 128, false), 0);
    assert_int_equal(two_ctas(rows[i].first, rows[i].second, 4096, true), 0);
  }
}

/* Each CTA its own 4 bytes of the same 16: no conflict, in any order of reads and writes.
 */
static void
test_neighbours_in_a_chunk(void **state)
{
  (void)state;
  ShadowMem *m = shadow_mem_new(64);
  shadow_mem_init(m, 0, 64);
  Bench b;
  start(&b, true);
  for (int round = 0; round < 2; round++)
    for (int cta = 0; cta < 4; cta++) {
      shadow_cta_end(b.s);
      shadow_cta_begin(b.s, cta);
      global(b.s, m, SHADOW_READ, 1, 1, 4, (uint64_t)cta * 4);
      global(b.s, m, SHADOW_WRITE, 2, 1, 4, (uint64_t)cta * 4);
      global(b.s, m, SHADOW_READ, 3, 1, 4, (uint64_t)cta * 4);
    }
  assert_int_equal(finish(&b), 0);
  shadow_mem_free(m);
}

typedef struct Worker {
  ShadowLaunch *launch;
  ShadowMem *m;
  int cta;
  uint64_t apart; /* bytes between the CTAs' parts */
} Worker;

static void *
work(void *arg)
{
  Worker *w = arg;
  Shadow *s = shadow_new(w->launch);
  for (int i = w->cta; i < 200; i += 2) {
    shadow_cta_begin(s, i);
    for (uint64_t at = 0; at < 4096; at += 512)
      global(s, w->m, SHADOW_WRITE, 1, ALL, 16, at + (uint64_t)i * w->apart);
    shadow_cta_end(s);
  }
  shadow_free(s);
  return NULL;
}

/* CTAs on two host threads: whoever comes second sees the first. */
static void
test_two_host_threads(void **state)
{
  (void)state;
  for (uint64_t apart = 0; apart <= 4096; apart += 4096) {
    Bench b;
    start(&b, true);
    ShadowMem *m = shadow_mem_new(4096 * 200);
    Worker w[2] = {{b.launch, m, 0, apart}, {b.launch, m, 1, apart}};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, work, &w[1]), 0);
    work(&w[0]);
    pthread_join(t, NULL);
    assert_int_equal(shadow_launch_counts(b.launch)[1].phases, 200 * 8 * 16);
    assert_int_equal(shadow_launch_errors(b.launch), apart ? 0 : 199 * 8 * 32);
    assert_true(shadow_mem_is_init(m, 0, apart ? 4096 * 200 : 4096));
    shadow_mem_free(m);
    assert_int_equal(finish(&b), !apart);
  }
}

/* What the CTA before did is forgotten. */
static void
test_next_cta_starts_afresh(void **state)
{
  (void)state;
  Bench b;
  start(&b, true);
  touch(&b, SHADOW_WRITE, 1, 0, ALL, 4, 0);
  touch(&b, SHADOW_COPY, 2, 1, ALL, 16, 1024);
  shadow_cta_end(b.s);
  shadow_cta_begin(b.s, 1);
  touch(&b, SHADOW_WRITE, 3, 2, 1, 2, 0);
  touch(&b, SHADOW_WRITE, 4, 2, ALL, 16, 1024);
  assert_int_equal(b.log.n, 0);
  touch(&b, SHADOW_READ, 5, 2, 1, 4, 0);
  assert_lines(&b, SHADOW_UNINIT_SHARED, 105, 0);
  assert_int_equal(finish(&b), 1);
}

/* Past the last time that fits, what happened before is forgotten and nothing is made up; a
 * copy in flight is not forgotten. */
static void
test_clock_restarts(void **state)
{
  (void)state;
  Bench b;
  start(&b, true);
  b.s->time = SH_TIME_MAX - 2;
  touch(&b, SHADOW_WRITE, 1, 0, ALL, 4, 0);
  touch(&b, SHADOW_WRITE, 1, 0, 1, 16, 512);
  touch(&b, SHADOW_COPY, 2, 1, ALL, 16, 1024);
  touch(&b, SHADOW_READ, 3, 0, ALL, 4, 0);
  for (int i = 0; i < 4; i++)
    sync_all(&b);
  assert_true(b.s->time < 10);
  touch(&b, SHADOW_READ, 4, 2, ALL, 4, 0);
  touch(&b, SHADOW_WRITE, 5, 3, 1, 16, 512);
  assert_int_equal(b.log.n, 0);
  touch(&b, SHADOW_READ, 6, 0, 0xf, 4, 512);
  assert_lines(&b, SHADOW_RACE, 106, 105);
  touch(&b, SHADOW_READ, 7, 2, ALL, 16, 1024);
  assert_lines(&b, SHADOW_ASYNC_READ, 107, 102);
  finish(&b);
}

/* Reports are one for each pair of lines; the count knows of all. */
static void
test_reports_once(void **state)
{
  (void)state;
  Bench b;
  start(&b, true);
  for (int i = 0; i < 100; i++)
    touch(&b, SHADOW_READ, 1, 0, 1, 4, (uint32_t)i * 4);
  assert_int_equal(b.log.n, 1);
  assert_int_equal(shadow_launch_errors(b.launch), 100);
  finish(&b);
}

static void
test_off(void **state)
{
  (void)state;
  Bench b;
  start(&b, false);
  touch(&b, SHADOW_READ, 1, 0, ALL, 4, 0);
  touch(&b, SHADOW_WRITE, 1, 1, ALL, 4, 0);
  copy(&b, 2, 0, 0);
  touch(&b, SHADOW_READ, 1, 2, ALL, 16, 0);
  ShadowMem *m = shadow_mem_new(4096);
  global(b.s, m, SHADOW_READ, 3, ALL, 4, 0);
  shadow_cta_end(b.s);
  shadow_cta_begin(b.s, 1);
  assert_int_equal(shadow_launch_counts(b.launch)[1].phases, 1 + 1 + 4);
  assert_int_equal(shadow_launch_counts(b.launch)[3].phases, 4);
  assert_int_equal(finish(&b), 0);
  shadow_mem_free(m);
}

/* ---- counters ---- */

static int
conflicts(int bytes, uint32_t mask, int stride, int swizzle)
{
  uint32_t off[32];
  for (int l = 0; l < 32; l++) {
    off[l] = (uint32_t)(l * stride);
    if (swizzle)
      off[l] ^= (uint32_t)(l % 8) << 4;
  }
  int phases, ideal;
  shadow_banks(mask, bytes, off, &phases, &ideal);
  return phases * 100 + ideal;
}

static void
test_banks(void **state)
{
  (void)state;
  assert_int_equal(conflicts(4, ALL, 4, 0), 101);
  assert_int_equal(conflicts(4, ALL, 8, 0), 201);
  assert_int_equal(conflicts(4, ALL, 128, 0), 3201);
  assert_int_equal(conflicts(4, ALL, 0, 0), 101); /* all the same word */
  assert_int_equal(conflicts(2, ALL, 2, 0), 101);
  assert_int_equal(conflicts(1, ALL, 1, 0), 101);
  assert_int_equal(conflicts(4, ALL, 132, 0), 101);
  assert_int_equal(conflicts(8, ALL, 8, 0), 202);
  assert_int_equal(conflicts(8, ALL, 16, 0), 402);
  assert_int_equal(conflicts(8, 0xffff, 8, 0), 101);
  assert_int_equal(conflicts(16, ALL, 16, 0), 404);
  assert_int_equal(conflicts(16, ALL, 128, 0), 3204); /* rows of 128 bytes, ldmatrix */
  assert_int_equal(conflicts(16, ALL, 128, 1), 404);  /* swizzled */
  assert_int_equal(conflicts(16, 0xff, 128, 0), 801);
  assert_int_equal(conflicts(16, ALL, 144, 0), 404); /* padded */
  assert_int_equal(conflicts(4, 0, 4, 0), 0);
}

static void
test_sectors(void **state)
{
  (void)state;
  uint64_t off[32];
  int s, ideal;
  for (int l = 0; l < 32; l++)
    off[l] = (uint64_t)l * 4 + 4;
  shadow_sectors(ALL, 4, off, &s, &ideal);
  assert_int_equal(s, 5);
  assert_int_equal(ideal, 4);
  for (int l = 0; l < 32; l++)
    off[l] = (uint64_t)(31 - l) * 128;
  shadow_sectors(ALL, 16, off, &s, &ideal);
  assert_int_equal(s, 32);
  assert_int_equal(ideal, 16);
  for (int l = 0; l < 32; l++)
    off[l] = 64;
  shadow_sectors(ALL, 4, off, &s, &ideal);
  assert_int_equal(s, 1);
  assert_int_equal(ideal, 1);
}

/* ---- async.h ---- */

static void
issue(Async *a, int warp, uint32_t mask, uint32_t dst, const uint8_t *from, uint32_t n)
{
  uint32_t d[32], size[32];
  const uint8_t *src[32];
  for (int l = 0; l < 32; l++)
    d[l] = dst + (uint32_t)l * 16, src[l] = n ? from + l * 16 : NULL, size[l] = n;
  assert_true(async_copy(a, warp, mask, 16, d, src, size));
}

static void
test_async_policies(void **state)
{
  (void)state;
  uint8_t smem[2048], from[1024];
  for (int i = 0; i < 1024; i++)
    from[i] = (uint8_t)(i * 7 + 1);
  for (int p = ASYNC_LAZY; p <= ASYNC_RANDOM; p++)
    for (int rep = 0; rep < 20; rep++) {
      Async *a = async_new(2, (AsyncPolicy)p);
      memset(smem, 0, sizeof smem);
      async_reset(a, smem, (uint64_t)rep);
      issue(a, 0, ALL, 0, from, 16);
      assert_true(async_commit(a, 0, ALL));
      issue(a, 0, ALL, 512, from + 512, 16);
      assert_true(async_commit(a, 0, ALL));
      if (p != ASYNC_RANDOM)
        assert_int_equal(smem[5], p == ASYNC_LAZY ? 0xff : from[5]);
      async_wait(a, 1, ALL, 0); /* another warp's wait does nothing */
      async_wait(a, 0, ALL, 1);
      assert_memory_equal(smem, from, 512);
      if (p != ASYNC_RANDOM)
        assert_int_equal(smem[512], p == ASYNC_LAZY ? 0xff : from[512]);
      async_wait(a, 0, ALL, 0);
      assert_memory_equal(smem, from, 1024);
      issue(a, 0, ALL, 0, NULL, 0); /* zero fill, not committed */
      async_wait(a, 0, ALL, 0);
      if (p == ASYNC_LAZY)
        assert_int_equal(smem[0], 0xff);
      async_wait(a, 0, ALL, -1);
      for (int i = 0; i < 512; i++)
        assert_int_equal(smem[i], 0);
      async_free(a);
    }
}

/* Lanes commit apart and wait apart; a short source is filled up with zeros. */
static void
test_async_lanes(void **state)
{
  (void)state;
  uint8_t smem[1024], from[512];
  memset(from, 0x11, sizeof from);
  memset(smem, 0, sizeof smem);
  Async *a = async_new(1, ASYNC_LAZY);
  async_reset(a, smem, 1);
  issue(a, 0, ALL, 0, from, 12);
  async_commit(a, 0, 0x0000ffff);
  async_wait(a, 0, ALL, 0);
  assert_int_equal(smem[0], 0x11);
  assert_int_equal(smem[12], 0);
  assert_int_equal(smem[16 * 16], 0xff);
  async_commit(a, 0, ALL);
  async_wait(a, 0, ALL, 1);
  assert_int_equal(smem[16 * 16], 0xff);
  async_wait(a, 0, 0xfffe0000, 0);
  assert_int_equal(smem[16 * 16], 0xff);
  assert_int_equal(smem[17 * 16], 0x11);
  async_wait(a, 0, 0x00010000, 0);
  assert_int_equal(smem[16 * 16], 0x11);
  async_free(a);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_write_then_read),
      cmocka_unit_test(test_read_then_write),
      cmocka_unit_test(test_write_write_and_atomics),
      cmocka_unit_test(test_granularity),
      cmocka_unit_test(test_halves_of_words_are_no_race),
      cmocka_unit_test(test_named_barrier),
      cmocka_unit_test(test_arrive_without_waiting),
      cmocka_unit_test(test_readers_at_different_times),
      cmocka_unit_test(test_uninitialised_shared),
      cmocka_unit_test(test_undefined_register),
      cmocka_unit_test(test_copy_needs_wait_and_barrier),
      cmocka_unit_test(test_copy_wait_after_barrier),
      cmocka_unit_test(test_copy_other_lane),
      cmocka_unit_test(test_copy_groups),
      cmocka_unit_test(test_copy_overwrites),
      cmocka_unit_test(test_copy_lanes_apart),
      cmocka_unit_test(test_uninitialised_global),
      cmocka_unit_test(test_cross_cta),
      cmocka_unit_test(test_neighbours_in_a_chunk),
      cmocka_unit_test(test_two_host_threads),
      cmocka_unit_test(test_next_cta_starts_afresh),
      cmocka_unit_test(test_clock_restarts),
      cmocka_unit_test(test_reports_once),
      cmocka_unit_test(test_off),
      cmocka_unit_test(test_banks),
      cmocka_unit_test(test_sectors),
      cmocka_unit_test(test_async_policies),
      cmocka_unit_test(test_async_lanes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
