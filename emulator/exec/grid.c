#include "emulator/exec/machine.h"
#include "emulator/check/report.h"
#include "emulator/exec/pool.h"

#include "base/clock.h"

#include <stdlib.h>
#include <unistd.h>

enum { HELP_NS = 50000 };

/* On this host thread; another one may be at it as well. */
static void
work(void *arg)
{
  Launch *l = arg;
  Exec *x = NULL;
  for (;;) {
    uint64_t place = atomic_fetch_add(&l->next, 1);
    if (place >= l->clusters || launch_failed(l))
      break;
    x = x ? x : spare_take(l);
    if (!x) {
      launch_fail(l, place, CUDA_ERROR_OUT_OF_MEMORY);
      break;
    }
    cluster_begin(x, place);
    cluster_advance(x, UINT64_MAX);
  }
  if (x) {
    atomic_fetch_add(&l->barriers, x->barriers);
    spare_give(x);
  }
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

/* Without a strong read of what other CTAs write nothing can order them. */
static bool
orders_ctas(const Launch *l)
{
  uint8_t scope = l->kernel->reads_strong;
  return scope == SHADOW_GPU || (scope == SHADOW_CLUSTER && launch_cluster_ctas(l) > 1);
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
                     .checks = l->set.checks,
                     .lax = l->set.lax,
                     .number = l->number,
                     .late = l->late,
                     .ahead = l->ahead,
                     .orders = orders_ctas(l),
                     .ctas = l->ctas,
                     .sink = report_shadow,
                     .describe = l->describe,
                     .user = l};
  ShadowLaunch *s = shadow_launch_new(&info);
  free(line);
  return s;
}

CUresult
launch_in_order(Launch *l)
{
  double start = clock_seconds();
  l->ctas = (uint64_t)l->grid[0] * l->grid[1] * l->grid[2];
  l->clusters = l->ctas / (uint64_t)launch_cluster_ctas(l);
  l->shadow = new_shadow(l);
  l->cost = calloc(l->ctas * COSTS, sizeof *l->cost);
  l->findings = finding_log_new();
  atomic_store(&l->failed, UINT64_MAX);
  l->by_turns = l->kernel->meets || l->cooperative || l->set.resident > 1;
  if (l->shadow && l->cost && l->findings) {
    if (l->by_turns)
      crowd_run(l);
    else
      pool_run(helper_count(l), work, l);
    double took = clock_seconds() - start;
    l->kernel->cluster_ns = (uint64_t)(1e9 * took / (double)l->clusters) + 1;
    if (l->again)
      stats_found(shadow_launch_errors(l->shadow) + atomic_load(&l->errors));
    else
      stats_launch(l, took);
    finding_log_report(l->findings, atomic_load(&l->failed), l->set.tell);
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
  finding_log_free(l->findings);
  return (CUresult)atomic_load(&l->result);
}
