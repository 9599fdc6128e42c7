#include "emulator/dev.h"
#include "emulator/pool.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { HELP_NS = 25000 };

/* An Exec at work; NULL: there is nothing left to do. */
static Exec *
take_one(Launch *l)
{
  uint64_t index = atomic_fetch_add(&l->next, 1);
  if (index >= l->clusters || atomic_load(&l->result))
    return NULL;
  Exec *x = spare_take(l);
  if (x)
    cluster_begin(x, index);
  else
    atomic_store(&l->result, CUDA_ERROR_OUT_OF_MEMORY);
  return x;
}

static void
take_next(Launch *l, Exec *x)
{
  uint64_t index = atomic_fetch_add(&l->next, 1);
  if (index < l->clusters)
    cluster_begin(x, index);
}

/* By turns, while there is something to do; one alone has all turns that it needs. */
static void
run_all(Launch *l, Exec **x, int n)
{
  int busy;
  do {
    busy = 0;
    for (int i = 0; i < n; i++) {
      if (!x[i]->busy && !atomic_load(&l->result))
        take_next(l, x[i]);
      busy += x[i]->busy;
      if (x[i]->busy)
        cluster_advance(x[i], n > 1 ? 1 : UINT64_MAX);
    }
  } while (busy);
}

/* All clusters of a cooperative launch have a place at once, whatever helpers come. */
static void
work(void *arg)
{
  Launch *l = arg;
  Exec *few[MAX_RESIDENT], **x = few;
  int n = 0, most = l->set.resident;
  if (l->cooperative && l->clusters > MAX_RESIDENT) {
    most = (int)l->clusters;
    x = malloc((size_t)most * sizeof *x);
  } else if (l->cooperative) {
    most = MAX_RESIDENT;
  }
  if (!x) {
    atomic_store(&l->result, CUDA_ERROR_OUT_OF_MEMORY);
    return;
  }
  while (n < most && (x[n] = take_one(l)))
    n++;
  run_all(l, x, n);
  while (n--) {
    atomic_fetch_add(&l->barriers, x[n]->barriers);
    spare_give(x[n]);
  }
  if (x != few)
    free(x);
}

/* To wake one takes longer than a kernel that ends at once. */
static int
helper_count(const Launch *l)
{
  long n = l->set.threads ? l->set.threads : sysconf(_SC_NPROCESSORS_ONLN);
  uint64_t most = l->clusters - 1, pace = l->kernel->cluster_ns;
  if (pace && pace < HELP_NS && l->clusters * pace / HELP_NS < most)
    most = l->clusters * pace / HELP_NS;
  n = n < 1 ? 0 : n > POOL_MOST ? POOL_MOST : n - 1;
  return (uint64_t)n > most ? (int)most : (int)n;
}

static ShadowLaunch *
new_shadow(Launch *l)
{
  const Kernel *k = l->kernel;
  int *line = malloc(sizeof *line * (size_t)k->n_code);
  if (!line)
    return NULL;
  for (int i = 0; i < k->n_code; i++)
    line[i] = k->code[i].line;
  uint32_t threads = l->block[0] * l->block[1] * l->block[2];
  uint32_t with_dynamic = k->dynamic_at + l->dynamic;
  ShadowInfo info = {.insns = k->n_code,
                     .line = line,
                     .warps = (int)((threads + LANES - 1) / LANES),
                     .smem_bytes = l->dynamic ? with_dynamic : k->shared_bytes,
                     .ctas = l->ctas,
                     .checks = l->set.checks,
                     .lax = l->set.lax,
                     .number = l->number,
                     .late = l->late,
                     .ahead = l->ahead,
                     .sink = report_shadow,
                     .tell = report_tell,
                     .user = l};
  ShadowLaunch *s = shadow_launch_new(&info);
  free(line);
  return s;
}

static double
now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

CUresult
launch_run(Launch *l)
{
  double start = now();
  l->ctas = (uint64_t)l->grid[0] * l->grid[1] * l->grid[2];
  l->clusters = l->ctas / (uint64_t)launch_cluster_ctas(l);
  l->shadow = new_shadow(l);
  l->cost = calloc(l->ctas * COSTS, sizeof *l->cost);
  l->told = calloc((size_t)l->kernel->n_code, sizeof *l->told);
  if (l->shadow && l->cost && l->told) {
    pool_run(helper_count(l), work, l);
    double took = now() - start;
    l->kernel->cluster_ns = (uint64_t)(1e9 * took / (double)l->clusters) + 1;
    stats_launch(l, took);
    if (l->set.print)
      print_flush();
    l->waited = shadow_launch_waits(l->shadow) == l->ctas;
    l->early = shadow_launch_triggers(l->shadow) == l->ctas;
  } else {
    atomic_store(&l->result, CUDA_ERROR_OUT_OF_MEMORY);
  }
  if (l->shadow)
    shadow_launch_free(l->shadow);
  free(l->cost);
  free((void *)l->told);
  return (CUresult)atomic_load(&l->result);
}
