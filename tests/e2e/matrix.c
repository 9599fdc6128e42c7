/* matrix: the cases of cases.txt, or of the command line, from YAML to a judged result.
 *
 *   e2e_matrix [--device emu|cuda] [--cases FILE] [--shard I/N] [--filter TEXT]
 *              [--jobs N] [-v] ["CASE" …]
 *
 * One line per failure, with the notation that reproduces it, then a summary.  Cases run in
 * processes, each for one target, because a device is made once per process: a crash costs
 * one case.  Exit 0, 1 if a case failed, 2 usage, 77 no such device. */
#include "tests/e2e/run.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_JOBS = 64, MAX_TARGETS = 16 };

typedef struct Options {
  const char *lib, *cases, *filter;
  int shard, shards, jobs;
  bool verbose, cuda;
} Options;

/* Shared by the processes. */
typedef struct Board {
  atomic_int next[MAX_TARGETS]; /* position in the target's queue */
  atomic_int counts[4];         /* by Outcome */
  atomic_int doing[MAX_JOBS];   /* index of the case + 1 */
} Board;

typedef struct Matrix {
  Options o;
  Case *cases;
  int n;
  const char *targets[MAX_TARGETS]; /* of the cases */
  int n_targets, *queue[MAX_TARGETS], queued[MAX_TARGETS];
  Board *board;
  pid_t child[MAX_JOBS];
} Matrix;

static double
now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- a process ---- */

/* One write, so that lines of several processes do not mix. */
static void
report(const char *what, const Case *c, const char *why, double seconds)
{
  char line[4096];
  int n = seconds < 0 ? snprintf(line, sizeof line, "%s  %s  (%s)\n", what, c->text, why)
                      : snprintf(line, sizeof line, "%s  %6.2f s  %s%s%s\n", what, seconds,
                                 c->text, *why ? "  " : "", why);
  if (n > 0 && write(1, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1) < 0)
    _exit(3);
}

static int
work(Matrix *m, int target, int slot)
{
  static const char *const words[] = {"pass", "FAIL", "skip", "FAIL"};
  Session s;
  char why[2400] = "";
  if (!session_open(&s, m->o.lib, m->targets[target], why, sizeof why)) {
    fprintf(stderr, "%s\n", why);
    return m->o.cuda ? 77 : 2;
  }
  for (;;) {
    int at = atomic_fetch_add(&m->board->next[target], 1);
    if (at >= m->queued[target])
      break;
    int i = m->queue[target][at];
    atomic_store(&m->board->doing[slot], i + 1);
    double start = now();
    why[0] = 0;
    Outcome r = run_case(&s, &m->cases[i], why, sizeof why);
    atomic_store(&m->board->doing[slot], 0);
    atomic_fetch_add(&m->board->counts[r], 1);
    if (m->o.verbose)
      report(words[r], &m->cases[i], why, now() - start);
    else if (r == RUN_FAIL || r == RUN_BROKEN)
      report(words[r], &m->cases[i], why, -1);
    if (r == RUN_BROKEN)
      return 0; /* the next process starts with a new device */
  }
  session_close(&s);
  return 0;
}

/* ---- the processes ---- */

static int
busiest(const Matrix *m)
{
  int best = -1, most = 0;
  for (int t = 0; t < m->n_targets; t++) {
    int left = m->queued[t] - atomic_load(&m->board->next[t]);
    if (left > most) {
      most = left;
      best = t;
    }
  }
  return best;
}

static bool
start(Matrix *m, int slot)
{
  int target = busiest(m);
  if (target < 0)
    return false;
  fflush(NULL);
  pid_t p = fork();
  if (p < 0)
    return false;
  if (p == 0)
    _exit(work(m, target, slot));
  m->child[slot] = p;
  return true;
}

/* Waits for one process; 77 or 2 when it could not work at all. */
static int
reap(Matrix *m)
{
  int status = 0, slot = 0;
  pid_t p = wait(&status);
  if (p < 0)
    return errno == EINTR ? 0 : 2;
  while (slot < MAX_JOBS && m->child[slot] != p)
    slot++;
  if (slot == MAX_JOBS)
    return 0;
  m->child[slot] = 0;
  int i = atomic_exchange(&m->board->doing[slot], 0) - 1;
  if (WIFSIGNALED(status) && i >= 0) {
    char why[64];
    snprintf(why, sizeof why, "signal %d: %s", WTERMSIG(status),
             strsignal(WTERMSIG(status)));
    report("FAIL", &m->cases[i], why, -1);
    atomic_fetch_add(&m->board->counts[RUN_FAIL], 1);
    return 0;
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0
         : WEXITSTATUS(status) == 77                   ? 77
                                                       : 2;
}

static int
run_all(Matrix *m)
{
  int live = 0, bad = 0;
  do {
    for (int slot = 0; slot < m->o.jobs && !bad; slot++)
      if (!m->child[slot] && start(m, slot))
        live++;
    if (live) {
      int r = reap(m);
      live--;
      bad = bad ? bad : r;
    }
  } while (live || (!bad && busiest(m) >= 0));
  return bad;
}

/* ---- the list ---- */

static bool
wanted(const Matrix *m, int i)
{
  return i % m->o.shards == m->o.shard &&
         (!m->o.filter || strstr(m->cases[i].text, m->o.filter));
}

/* -1: more targets than there is room for, or no memory. */
static int
target_of(Matrix *m, const Case *c)
{
  int t = 0;
  while (t < m->n_targets && strcmp(m->targets[t], c->target) != 0)
    t++;
  if (t == MAX_TARGETS)
    return -1;
  if (t == m->n_targets) {
    m->targets[m->n_targets++] = c->target;
    m->queue[t] = calloc((size_t)m->n + 1, sizeof *m->queue[t]);
  }
  return m->queue[t] ? t : -1;
}

static bool
enqueue(Matrix *m)
{
  for (int i = 0; i < m->n; i++) {
    int t = wanted(m, i) ? target_of(m, &m->cases[i]) : 0;
    if (t < 0)
      return false;
    if (wanted(m, i))
      m->queue[t][m->queued[t]++] = i;
  }
  m->board = mmap(NULL, sizeof *m->board, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return m->board != MAP_FAILED;
}

static int
finish(Matrix *m, int bad, double seconds)
{
  const atomic_int *c = m->board->counts;
  int failed = c[RUN_FAIL] + c[RUN_BROKEN];
  printf("%d passed, %d failed, %d skipped on %s; %.1f s\n", c[RUN_PASS], failed,
         c[RUN_SKIP], m->o.cuda ? "the GPU" : "the emulator", seconds);
  return failed ? 1 : bad;
}

static bool
option(Options *o, int argc, char **argv, int *i)
{
  const char *a = argv[*i], *x = *i + 1 < argc ? argv[*i + 1] : NULL;
  if (strcmp(a, "-v") == 0)
    return o->verbose = true;
  if (!x)
    return false;
  ++*i;
  if (strcmp(a, "--device") == 0 && (strcmp(x, "emu") == 0 || strcmp(x, "cuda") == 0))
    o->cuda = x[0] == 'c';
  else if (strcmp(a, "--cases") == 0)
    o->cases = x;
  else if (strcmp(a, "--filter") == 0)
    o->filter = x;
  else if (strcmp(a, "--jobs") == 0)
    o->jobs = atoi(x);
  else if (strcmp(a, "--shard") != 0 || sscanf(x, "%d/%d", &o->shard, &o->shards) != 2)
    return false;
  return o->jobs >= 1 && o->jobs <= MAX_JOBS && o->shard >= 0 && o->shard < o->shards;
}

static int
usage(void)
{
  fprintf(stderr, "usage: e2e_matrix [--device emu|cuda] [--cases FILE] [--shard I/N]\n"
                  "                  [--filter TEXT] [--jobs N] [-v] [\"CASE\" ...]\n");
  return 2;
}

static bool
from_words(Matrix *m, int n, char **words, char *why, size_t size)
{
  m->cases = calloc((size_t)n, sizeof *m->cases);
  m->n = n;
  for (int i = 0; i < n; i++)
    if (!m->cases || !case_parse(words[i], &m->cases[i], why, size))
      return false;
  return true;
}

int
main(int argc, char **argv)
{
  static Matrix m;
  long cpus = sysconf(_SC_NPROCESSORS_ONLN);
  char why[1100];
  int i = 1;
  m.o = (Options){.shards = 1, .cases = SOURCE_DIR "/tests/e2e/cases.txt"};
  m.o.jobs = cpus < 1 ? 1 : cpus > 16 ? 16 : (int)cpus;
  for (; i < argc && argv[i][0] == '-'; i++)
    if (!option(&m.o, argc, argv, &i))
      return usage();
  m.o.lib = m.o.cuda ? "libcuda.so.1" : device_emulator();
  if (i < argc ? !from_words(&m, argc - i, argv + i, why, sizeof why)
               : (m.n = case_read(m.o.cases, &m.cases, why, sizeof why)) < 0) {
    fprintf(stderr, "%s\n", why);
    return 2;
  }
  double begin = now();
  if (!enqueue(&m))
    return 2;
  int bad = run_all(&m);
  return finish(&m, bad, now() - begin);
}
